/*
 * The coordination port of a region: a few thousand small records that all its shards see alike:
 * who is there, who owns which partition under which epoch, clusters, settings. Nothing of a run
 * or task is here.
 *
 * Adapters: coord_none (the shard is the region; it can keep records) and coord_etcd. Both pass
 * tests/unit/test_cp_coord.c; the simulator runs coord_etcd against an etcd of its own
 * (tests/etcd).
 *
 * The copy. All records lie in memory, as of one revision. The copy may be behind; it shows whole
 * changes, in order, and skips none but when it was behind for so long that it is read anew.
 *
 * The session says that this shard is there. It is renewed by itself; records that are bound to it
 * go when it ends. Others may see it end only after cp_coord_held_until_ns(), which is reckoned on
 * our monotonic clock from the moment that the last renewal was sent: who acts on what such a
 * record gives him stops before that.
 *
 * Threads: everything is called on the loop. No callback runs inside a call into this port.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/rng.h"
#include "base/rpc.h"

#include <stdbool.h>
#include <stdint.h>

struct cp_coord;

struct cp_coord_record {
    char *key; /* "shards/a": below the region's prefix */
    struct sy_buf value;
    int64_t revision; /* of its last change; > 0, and larger than that of any change before */
    int64_t session;  /* it goes with that session; 0: with none */
};

/* Something is new: the copy, the session, or until when it is held. Several changes may be one
 * call. */
struct cp_coord_sink {
    void (*on_changed)(void *ctx);
    void *ctx;
};

/* ---- reading: borrowed until the loop's next turn ---- */

/* As of which revision; 0: nothing was read yet. */
int64_t cp_coord_revision(const struct cp_coord *coord);
const struct cp_coord_record *cp_coord_find(const struct cp_coord *coord, const char *key);
/* In order of keys, those that begin with `prefix`: the first one after `after`, or at all (NULL).
 */
const struct cp_coord_record *cp_coord_next(const struct cp_coord *coord, const char *prefix,
                                            const char *after);

/* ---- the session ---- */

/* 0: there is none now; another begins by itself. */
int64_t cp_coord_session(const struct cp_coord *coord);
int64_t cp_coord_held_until_ns(const struct cp_coord *coord);
/* Ends it, so that others need not wait for that; no other begins. `done` runs when that is so, or
 * when it could not be told in time. */
void cp_coord_leave(struct cp_coord *coord, sy_fn done, void *ctx);

/* ---- writing ---- */

enum cp_coord_op_kind {
    CP_COORD_CHECK, /* the condition only */
    CP_COORD_PUT,
    CP_COORD_PUT_BOUND, /* to the session */
    CP_COORD_DELETE,
};
#define CP_COORD_ABSENT 0
#define CP_COORD_ANY (-1)
/* Keys within one write differ. */
struct cp_coord_op {
    enum cp_coord_op_kind kind;
    const char *key;
    struct sy_span value;
    int64_t if_revision; /* what the record has: its revision, or one of the above */
};

enum cp_coord_result {
    CP_COORD_DONE,     /* and the copy shows it */
    CP_COORD_CONFLICT, /* a condition did not hold, or the session was over; nothing is changed */
    CP_COORD_UNKNOWN,  /* no answer in time: it may have happened, or happen yet */
};
typedef void (*cp_coord_done_fn)(void *ctx, enum cp_coord_result result);

#define CP_COORD_OPS_MAX 64
#define CP_COORD_KEY_MAX 256
#define CP_COORD_VALUE_MAX ((size_t)64 << 10)
/* All of it or nothing, when every condition holds. PUT_BOUND without a session is a CONFLICT. */
void cp_coord_write(struct cp_coord *coord, const struct cp_coord_op *ops, size_t count,
                    cp_coord_done_fn done, void *ctx);

/* ---- adapters ---- */

/* Where its records outlive it. One write at a time; another one meanwhile is a CONFLICT. */
struct cp_coord_keep {
    /* All of it or nothing; cp_coord_none_kept() follows, in a later turn. Only PUT and DELETE. */
    void (*write)(void *ctx, const struct cp_coord_op *ops, size_t count);
    void *ctx;
};
/* `keep` NULL: nothing does. Else nothing is read until cp_coord_none_read(), and records that are
 * bound are not for it. */
void cp_coord_none_new(struct cp_coord **ret_coord, struct sy_loop *loop,
                       const struct cp_coord_keep *keep, const struct cp_coord_sink *sink);
/* False: it may have been kept. Then what is kept must be read again. */
void cp_coord_none_kept(struct cp_coord *coord, bool kept);
/* Reads anew: `each` calls cp_coord_none_add() for each record that is kept. */
void cp_coord_none_read(struct cp_coord *coord, void (*each)(void *ctx, struct cp_coord *coord),
                        void *ctx);
void cp_coord_none_add(struct cp_coord *coord, const char *key, struct sy_span value);

struct cp_coord_etcd_options {
    const char *const *endpoints; /* "127.0.0.1:2379": members of one etcd, tried in turn */
    size_t endpoint_count;
    const char *region;     /* records lie below "/switchyard/REGION/" */
    int64_t session_ttl_ns; /* whole seconds; etcd may grant more */
    int64_t timeout_ns;     /* of one question; 0: 2 s */
};
void cp_coord_etcd_new(struct cp_coord **ret_coord, struct sy_rpc *rpc, struct sy_loop *loop,
                       struct sy_rng *rng, struct sy_log *log,
                       const struct cp_coord_etcd_options *options,
                       const struct cp_coord_sink *sink);

/* Nothing is told any more; writes in flight may yet happen. The session is not ended (a crash
 * does not either). */
void cp_coord_free(struct cp_coord *coord);
/* Why nothing is heard, in words; "" when all is well. */
const char *cp_coord_trouble(const struct cp_coord *coord);
