/* A region of one shard: the records are its own, and live as long as it does. What must outlive it
 * lies in its partitions. */
#include "base/mem.h"
#include "controlplane/coord_impl.h"

#include <stdlib.h>

/* What is to be told in a turn of its own. */
struct answer {
    struct answer *next;
    cp_coord_done_fn done; /* or left */
    sy_fn left;
    void *ctx;
    enum cp_coord_result result;
};

struct none {
    struct cp_coord base;
    struct answer *answers, **tail;
    struct sy_timer answering;
};

static void on_answering(void *arg)
{
    struct none *none = arg;
    struct answer *answer = none->answers, *next;
    none->answers = NULL;
    none->tail = &none->answers;
    for (; answer != NULL; answer = next) {
        next = answer->next;
        if (answer->done != NULL)
            answer->done(answer->ctx, answer->result);
        else
            answer->left(answer->ctx);
        free(answer);
    }
}

static void add_answer(struct none *none, const struct answer *what)
{
    struct answer *answer = sy_new(struct answer);
    *answer = *what;
    *none->tail = answer;
    none->tail = &answer->next;
    sy_timer_start_in(none->base.loop, &none->answering, 0);
}

static bool holds(const struct none *none, const struct cp_coord_op *op)
{
    if (op->kind == CP_COORD_PUT_BOUND && none->base.session == 0)
        return false;
    const struct cp_coord_record *record = cp_coord_find(&none->base, op->key);
    return op->if_revision == CP_COORD_ANY ||
           op->if_revision == (record != NULL ? record->revision : CP_COORD_ABSENT);
}

static bool apply(struct none *none, const struct cp_coord_op *op, int64_t revision)
{
    struct cp_coord *coord = &none->base;
    switch (op->kind) {
    case CP_COORD_CHECK:
        break;
    case CP_COORD_PUT:
        cp_coord_put(coord, op->key, op->value, revision, 0);
        return true;
    case CP_COORD_PUT_BOUND:
        cp_coord_put(coord, op->key, op->value, revision, coord->session);
        return true;
    case CP_COORD_DELETE:
        if (cp_coord_find(coord, op->key) == NULL)
            break;
        cp_coord_drop(coord, op->key);
        return true;
    }
    return false;
}

static void none_write(struct cp_coord *coord, const struct cp_coord_op *ops, size_t count,
                       cp_coord_done_fn done, void *ctx)
{
    struct none *none = (struct none *)coord;
    bool all = true, changed = false;
    for (size_t i = 0; i < count; i++)
        all = all && holds(none, &ops[i]);
    for (size_t i = 0; all && i < count; i++)
        changed |= apply(none, &ops[i], coord->revision + 1);
    if (changed) {
        coord->revision++;
        cp_coord_tell(coord);
    }
    add_answer(none, &(struct answer){.done = done,
                                      .ctx = ctx,
                                      .result = all ? CP_COORD_DONE : CP_COORD_CONFLICT});
}

static void none_leave(struct cp_coord *coord, sy_fn done, void *ctx)
{
    struct none *none = (struct none *)coord;
    const struct cp_coord_record *record = cp_coord_next(coord, "", NULL);
    while (record != NULL) {
        const struct cp_coord_record *next = cp_coord_next(coord, "", record->key);
        if (record->session != 0)
            cp_coord_drop(coord, record->key);
        record = next;
    }
    coord->revision++;
    coord->session = 0;
    cp_coord_tell(coord);
    add_answer(none, &(struct answer){.left = done, .ctx = ctx});
}

static void none_free(struct cp_coord *coord)
{
    struct none *none = (struct none *)coord;
    struct answer *next;
    for (struct answer *answer = none->answers; answer != NULL; answer = next) {
        next = answer->next;
        free(answer);
    }
    sy_timer_stop(coord->loop, &none->answering);
    cp_coord_deinit(coord);
    free(none);
}

void cp_coord_none_new(struct cp_coord **ret_coord, struct sy_loop *loop,
                       const struct cp_coord_sink *sink)
{
    static const struct cp_coord_adapter adapter = {none_write, none_leave, none_free};
    struct none *none = sy_new(struct none);
    cp_coord_init(&none->base, &adapter, loop, sink);
    none->tail = &none->answers;
    sy_timer_init(&none->answering, on_answering, none);
    none->base.revision = 1;
    none->base.session = 1;
    none->base.held_until_ns = SY_TIME_NEVER;
    cp_coord_tell(&none->base);
    *ret_coord = &none->base;
}
