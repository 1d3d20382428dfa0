/* A region of one shard: the records are its own. They live as long as it does, or are kept. */
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
    struct cp_coord_keep keep; /* .write NULL: none */
    struct writing {
        struct cp_coord_op *ops; /* copied; NULL: none is in flight */
        size_t count;
        cp_coord_done_fn done;
        void *ctx;
    } writing;
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

static bool apply_all(struct none *none, const struct cp_coord_op *ops, size_t count)
{
    bool changed = false;
    for (size_t i = 0; i < count; i++)
        changed |= apply(none, &ops[i], none->base.revision + 1);
    if (changed) {
        none->base.revision++;
        cp_coord_tell(&none->base);
    }
    return changed;
}

/* ---- what is kept ---- */

static void drop_writing(struct none *none)
{
    struct writing *writing = &none->writing;
    for (size_t i = 0; i < writing->count; i++) {
        free((void *)(uintptr_t)writing->ops[i].key);
        free((void *)(uintptr_t)writing->ops[i].value.data);
    }
    free(writing->ops);
    *writing = (struct writing){0};
}

static void keep(struct none *none, const struct cp_coord_op *ops, size_t count,
                 cp_coord_done_fn done, void *ctx)
{
    struct writing *writing = &none->writing;
    *writing = (struct writing){sy_calloc(count, sizeof(*ops)), 0, done, ctx};
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == CP_COORD_CHECK)
            continue;
        SY_ASSERT(ops[i].kind != CP_COORD_PUT_BOUND);
        struct cp_coord_op *copy = &writing->ops[writing->count++];
        *copy = ops[i];
        copy->key = sy_strdup(ops[i].key);
        copy->value.data = ops[i].value.len > 0 ? sy_memdup(ops[i].value.data, ops[i].value.len)
                                                : NULL;
    }
    SY_ASSERT(writing->count > 0);
    none->keep.write(none->keep.ctx, writing->ops, writing->count);
}

void cp_coord_none_kept(struct cp_coord *coord, bool kept)
{
    struct none *none = (struct none *)coord;
    struct writing *writing = &none->writing;
    SY_ASSERT(writing->ops != NULL);
    if (kept)
        (void)apply_all(none, writing->ops, writing->count);
    add_answer(none, &(struct answer){.done = writing->done,
                                      .ctx = writing->ctx,
                                      .result = kept ? CP_COORD_DONE : CP_COORD_UNKNOWN});
    drop_writing(none);
}

void cp_coord_none_add(struct cp_coord *coord, const char *key, struct sy_span value)
{
    cp_coord_put(coord, key, value, coord->revision, 0);
}

void cp_coord_none_read(struct cp_coord *coord, void (*each)(void *ctx, struct cp_coord *coord),
                        void *ctx)
{
    SY_ASSERT(((struct none *)coord)->keep.write != NULL);
    cp_coord_drop_all(coord);
    coord->revision++; /* it may be another than what was shown */
    each(ctx, coord);
    cp_coord_tell(coord);
}

/* ---- the port ---- */

static bool only_checks(const struct cp_coord_op *ops, size_t count)
{
    size_t i = 0;
    while (i < count && ops[i].kind == CP_COORD_CHECK)
        i++;
    return i == count;
}

static void none_write(struct cp_coord *coord, const struct cp_coord_op *ops, size_t count,
                       cp_coord_done_fn done, void *ctx)
{
    struct none *none = (struct none *)coord;
    bool all = none->writing.ops == NULL && coord->revision > 0;
    for (size_t i = 0; i < count; i++)
        all = all && holds(none, &ops[i]);
    if (all && none->keep.write != NULL && !only_checks(ops, count)) {
        keep(none, ops, count, done, ctx);
        return;
    }
    if (all)
        (void)apply_all(none, ops, count);
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
    drop_writing(none);
    cp_coord_deinit(coord);
    free(none);
}

void cp_coord_none_new(struct cp_coord **ret_coord, struct sy_loop *loop,
                       const struct cp_coord_keep *keep, const struct cp_coord_sink *sink)
{
    static const struct cp_coord_adapter adapter = {none_write, none_leave, none_free};
    struct none *none = sy_new(struct none);
    cp_coord_init(&none->base, &adapter, loop, sink);
    none->tail = &none->answers;
    sy_timer_init(&none->answering, on_answering, none);
    none->base.session = 1;
    none->base.held_until_ns = SY_TIME_NEVER;
    if (keep != NULL) {
        none->keep = *keep;
    } else {
        none->base.revision = 1;
        cp_coord_tell(&none->base);
    }
    *ret_coord = &none->base;
}
