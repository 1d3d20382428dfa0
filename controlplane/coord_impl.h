/* Inside the coordination port: what its adapters share. coord.c keeps the copy. */
#pragma once

#include "controlplane/coord.h"

struct cp_coord_adapter {
    void (*write)(struct cp_coord *coord, const struct cp_coord_op *ops, size_t count,
                  cp_coord_done_fn done, void *ctx);
    void (*leave)(struct cp_coord *coord, sy_fn done, void *ctx);
    void (*free)(struct cp_coord *coord);
};

struct cp_coord {
    const struct cp_coord_adapter *adapter;
    struct sy_loop *loop;
    struct cp_coord_sink sink;
    struct cp_coord_record **records; /* in order of keys */
    size_t count, cap;
    int64_t revision, session, held_until_ns;
    struct sy_timer tell; /* on_changed, in a turn of its own */
    struct sy_error_text trouble;
};

void cp_coord_init(struct cp_coord *coord, const struct cp_coord_adapter *adapter,
                   struct sy_loop *loop, const struct cp_coord_sink *sink);
void cp_coord_deinit(struct cp_coord *coord);

/* The copy. What changes it ends in cp_coord_tell(). */
void cp_coord_put(struct cp_coord *coord, const char *key, struct sy_span value, int64_t revision,
                  int64_t session);
void cp_coord_drop(struct cp_coord *coord, const char *key);
void cp_coord_drop_all(struct cp_coord *coord);
void cp_coord_tell(struct cp_coord *coord);
