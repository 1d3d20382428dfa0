/* Rows of the registry: reads, and changes one after the other. */
#include "controlplane/registry.h"

#include "controlplane/partition_impl.h"

struct cp_change {
    struct cp_change *next;
    struct cp_partition *p;
    cp_change_fn change;
    cp_done_fn done;
    void *ctx;
};

/* ---- reads ---- */

int cp_partition_registry_get(struct cp_partition *p, struct sy_span key, struct sy_buf *ret)
{
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    int r = cp_store_get(p->store, CP_FAMILY_REGISTRY, key, ret);
    return r == CP_STORE_E_NOT_FOUND ? CP_PARTITION_E_NOT_FOUND : r;
}

int cp_registry_scan(struct cp_partition *p, struct sy_span from, struct sy_span to,
                     bool (*fn)(void *ctx, struct sy_span key, struct sy_span value), void *ctx)
{
    struct cp_iter *iter = cp_iter_new(p->store, CP_FAMILY_REGISTRY, from, to, false);
    while (cp_iter_valid(iter) && fn(ctx, cp_iter_key(iter), cp_iter_value(iter)))
        cp_iter_next(iter);
    int r = cp_iter_error(iter);
    cp_iter_free(iter);
    return sy_trace(r);
}

int cp_partition_registry_scan(struct cp_partition *p, struct sy_span from, struct sy_span to,
                               bool (*fn)(void *ctx, struct sy_span key, struct sy_span value),
                               void *ctx)
{
    return cp_can_read(p) ? cp_registry_scan(p, from, to, fn, ctx) : CP_PARTITION_E_NOT_SERVING;
}

/* ---- changes ---- */

static void start_next(struct cp_partition *p);

static void on_changed(void *arg, const struct sy_status *status)
{
    struct cp_change *change = arg;
    struct cp_partition *p = change->p;
    SY_ASSERT(p->changing == change);
    p->changing = NULL;
    change->done(change->ctx, status);
    free(change);
    start_next(p);
    cp_triggers_arm(p);
}

static void start(struct cp_partition *p, struct cp_change *change)
{
    struct sy_error_text error = {0};
    enum sy_code code = cp_refused(p, &error);
    p->changing = change;
    if (code == SY_CODE_OK)
        code = change->change(change->ctx, p, &error);
    if (code == SY_CODE_OK)
        cp_add_done(p, on_changed, change);
    else
        cp_add_failed(p, on_changed, change, code, error.text);
}

static void start_next(struct cp_partition *p)
{
    struct cp_change *change = p->changes;
    if (change == NULL || p->changing != NULL)
        return;
    LL_DELETE(p->changes, change);
    start(p, change);
}

void cp_partition_registry_change(struct cp_partition *p, cp_change_fn change, cp_done_fn done,
                                  void *ctx)
{
    struct cp_change *item = sy_new(struct cp_change);
    *item = (struct cp_change){.p = p, .change = change, .done = done, .ctx = ctx};
    LL_APPEND(p->changes, item);
    start_next(p);
}

void cp_partition_registry_put(struct cp_partition *p, const struct cp_registry_key *key,
                               struct sy_span value)
{
    SY_ASSERT(p->changing != NULL);
    cp_batch_put(p->open->rows, CP_FAMILY_REGISTRY, cp_registry_span(key), value);
}

void cp_partition_registry_delete(struct cp_partition *p, const struct cp_registry_key *key)
{
    SY_ASSERT(p->changing != NULL);
    cp_batch_delete(p->open->rows, CP_FAMILY_REGISTRY, cp_registry_span(key));
}

void cp_partition_registry_fail(struct cp_partition *p, int error)
{
    cp_fail_later(p, error);
}

void cp_registry_forget(struct cp_partition *p)
{
    free(sy_take(p->changing));
    while (p->changes != NULL) {
        struct cp_change *change = p->changes;
        p->changes = change->next;
        free(change);
    }
}
