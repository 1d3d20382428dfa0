/*
 * What a partition is after it, or one that it came from, was split. Both halves begin with the
 * rows of the whole. Each shows its own: rows of deployed tasks and projects of others are deleted
 * with the claim, before it serves; runs of others are passed over, and deleted in slices while it
 * serves. What every partition has (queues, clusters, specs, cached results) both keep.
 *
 * Attempts keep the name under which they were issued: by the epoch it is known which that is.
 */
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"
#include "controlplane/registry.h"

#define PLACE_SHIFT 56   /* of a hash: its first bits */
#define EPOCH_SHIFT 40   /* of an id */
#define ORIGINS_MAX 256u /* as operators have it: there are no more partitions */
#define SWEEP_NS (20 * SY_NS_PER_MS)
#define SWEEP_RUNS 256u  /* that are looked at in one slice */
#define SWEEP_ROWS 1024u /* that are deleted in one */

typedef Switchyard__Internal__Store__Meta Meta;
typedef Switchyard__Internal__Store__Origin Origin;

void cp_partition_set_lot(struct cp_partition *p, const struct cp_partition_lot *lot)
{
    SY_ASSERT(cp_partition_away(p));
    SY_ASSERT(lot->range.first <= lot->range.last);
    p->lot = *lot;
}

uint8_t cp_place_of(uint64_t hash)
{
    return (uint8_t)(hash >> PLACE_SHIFT);
}

/* ---- where it comes from ---- */

static void add_origin(struct cp_descent *d, uint32_t partition, uint32_t epoch)
{
    d->origins = sy_realloc(d->origins, (d->origin_count + 1) * sizeof(*d->origins));
    d->origins[d->origin_count++] = (struct cp_origin){partition, epoch};
}

static int read_origins(struct cp_descent *d, const Meta *meta)
{
    uint32_t before = 0;
    for (size_t i = 0; i < meta->n_origins; i++) {
        const Origin *origin = meta->origins[i];
        if (origin->epoch <= before || origin->epoch > meta->epoch || i >= ORIGINS_MAX)
            return -EBADMSG;
        add_origin(d, origin->partition, origin->epoch);
        before = origin->epoch;
    }
    return 0;
}

int cp_descent_read(struct cp_partition *p, const Meta *meta, struct sy_error_text *error)
{
    struct cp_descent *d = &p->descent;
    const struct cp_partition_lot *lot = &p->lot;
    d->origin_count = 0;
    d->swept = 0;
    d->mixed = false;
    d->placed_epoch = meta != NULL ? meta->placed_epoch : 0;
    d->stored = lot->range;
    if (meta == NULL && lot->split) {
        sy_error_text_set(error, "it was split from partition %u, and its store is empty",
                          lot->parent);
        return -EUCLEAN;
    }
    if (meta == NULL)
        return 0;
    bool begins = lot->split && meta->partition == lot->parent && meta->epoch >= lot->parent_epoch;
    if (meta->partition != p->options.partition && !begins) {
        sy_error_text_set(error, "its store belongs to partition %u", meta->partition);
        return -EPROTO;
    }
    if (read_origins(d, meta) < 0) {
        sy_error_text_set(error, "the store's first row is damaged");
        return -EBADMSG;
    }
    if (begins)
        add_origin(d, lot->parent, meta->epoch);
    if (meta->last_hash != 0)
        d->stored = (struct cp_range){meta->first_hash, meta->last_hash};
    if (p->options.ranges == NULL) /* nobody says what it has */
        p->lot.range = d->stored;
    d->mixed = d->stored.first != lot->range.first || d->stored.last != lot->range.last;
    if (d->stored.first > lot->range.first || d->stored.last < lot->range.last) {
        sy_error_text_set(error,
                          "it was split, and the region's records give it more than its store has: "
                          "they are of before the split, or were made anew; restore later ones");
        return -EPROTO;
    }
    return 0;
}

void cp_descent_pack(struct cp_partition *p, struct sy_buf *buf)
{
    const struct cp_descent *d = &p->descent;
    Meta meta;
    switchyard__internal__store__meta__init(&meta);
    meta.format = CP_FORMAT;
    meta.partition = p->options.partition;
    meta.epoch = p->epoch;
    meta.region = (char *)(uintptr_t)p->options.region;
    meta.placed_epoch = d->placed_epoch;
    meta.first_hash = d->mixed ? d->stored.first : p->lot.range.first;
    meta.last_hash = d->mixed ? d->stored.last : p->lot.range.last;
    SY_AUTOFREE Origin *origins = sy_calloc(d->origin_count + 1, sizeof(*origins));
    SY_AUTOFREE Origin **list = sy_calloc(d->origin_count + 1, sizeof(Origin *));
    for (size_t i = 0; i < d->origin_count; i++) {
        switchyard__internal__store__origin__init(&origins[i]);
        origins[i].partition = d->origins[i].partition;
        origins[i].epoch = d->origins[i].epoch;
        list[i] = &origins[i];
    }
    meta.n_origins = d->origin_count;
    meta.origins = list;
    Switchyard__Internal__Store__LogEpoch rows[CP_LOG_EPOCHS_MAX], *history[CP_LOG_EPOCHS_MAX];
    meta.n_history = p->history.count;
    meta.history = history;
    for (size_t i = 0; i < p->history.count; i++) {
        history[i] = &rows[i];
        switchyard__internal__store__log_epoch__init(history[i]);
        rows[i].epoch = p->history.epochs[i].epoch;
        rows[i].after = p->history.epochs[i].after;
    }
    sy_buf_clear(buf);
    cp_row_pack(buf, &meta.base);
}

uint32_t cp_issued_as(const struct cp_partition *p, uint32_t epoch)
{
    const struct cp_descent *d = &p->descent;
    for (size_t i = 0; i < d->origin_count; i++) {
        if (epoch <= d->origins[i].epoch)
            return d->origins[i].partition;
    }
    return p->options.partition;
}

bool cp_range_has_place(const struct cp_range *range, uint8_t place)
{
    uint64_t first = (uint64_t)place << PLACE_SHIFT;
    return (first | (UINT64_MAX >> 8)) >= range->first && first <= range->last;
}

bool cp_issued(const struct cp_partition *p, uint32_t partition, uint64_t action, uint32_t epoch)
{
    if (action == 0 || partition != cp_issued_as(p, epoch))
        return false;
    bool placed = action >> EPOCH_SHIFT >= p->descent.placed_epoch;
    return !placed || cp_range_has_place(&p->lot.range, (uint8_t)action);
}

bool cp_partition_splits(const struct cp_partition *p, struct sy_error_text *error)
{
    if (!p->core)
        return false;
    if (p->opener.fork == NULL) {
        sy_error_text_set(error, "its storage cannot be split");
        return false;
    }
    if (cp_partition_oldest_run(p) >> EPOCH_SHIFT < p->descent.placed_epoch) {
        sy_error_text_set(error,
                          "runs are live that an older version of this program began; it can "
                          "be split when these have ended");
        return false;
    }
    for (const struct cp_operator *o = p->operators; o; o = o->next) {
        if (o->cluster && !o->splits) {
            sy_error_text_set(error,
                              "the operator of cluster %s is of a version that does not know of "
                              "partitions that were split: update it first",
                              o->cluster->name);
            return false;
        }
    }
    return true;
}

bool cp_descent_is_plain(const struct cp_partition *p)
{
    const struct cp_ranges_now *now = p->options.ranges;
    return p->descent.origin_count == 0 &&
           (now == NULL || cp_ranges_count(cp_ranges_get(now)) <= p->options.partitions);
}

int cp_partition_fork(struct cp_partition *p, uint32_t epoch, struct sy_error_text *error)
{
    SY_ASSERT(cp_partition_away(p) && p->opener.fork != NULL);
    return sy_trace(p->opener.fork(p->opener.ctx, epoch, error));
}

/* ---- whose a row is ---- */

static bool hash_of_row(struct sy_span row, uint64_t *ret)
{
    char names[3][CP_NAME_LENGTH_MAX + 1];
    for (uint32_t i = 0; i < 3; i++) {
        struct sy_span name = cp_row_bytes(row, i + 1);
        if (name.len == 0 || name.len > CP_NAME_LENGTH_MAX)
            return false;
        memcpy(names[i], name.data, name.len);
        names[i][name.len] = '\0';
    }
    *ret = cp_name_hash(names[0], names[1], names[2]);
    return true;
}

bool cp_run_is_foreign(const struct cp_partition *p, struct sy_span row)
{
    uint64_t hash;
    return p->descent.mixed && hash_of_row(row, &hash) && !cp_range_has(&p->lot.range, hash);
}

/* Its hash by its first names; false: every partition has it. */
static bool hash_of_key(struct sy_span key, uint64_t *ret)
{
    const char *names[3] = {"", "", ""};
    size_t at = 1;
    if (key.data[0] == CP_REGISTRY_DUE) {
        if (key.len < 10)
            return false;
        key = (struct sy_span){key.data + 9, key.len - 9};
    }
    bool project = key.data[0] == CP_REGISTRY_PROJECT;
    if (!project && key.data[0] != CP_REGISTRY_TASK && key.data[0] != CP_REGISTRY_SPEC &&
        key.data[0] != CP_REGISTRY_TRIGGER && key.data[0] != CP_REGISTRY_REVISION)
        return false;
    for (size_t i = project ? 2 : 0; i < 3; i++) {
        const uint8_t *end = at < key.len ? memchr(key.data + at, 0, key.len - at) : NULL;
        if (end == NULL)
            return false;
        names[i] = (const char *)key.data + at;
        at = (size_t)(end - key.data) + 1;
    }
    *ret = cp_registry_hash(names[0], names[1], names[2]);
    return true;
}

struct disowned {
    struct cp_partition *p;
    struct cp_batch *batch;
};

static bool disown(void *ctx, struct sy_span key, struct sy_span value)
{
    struct disowned *d = ctx;
    uint64_t hash;
    (void)value;
    if (hash_of_key(key, &hash) && !cp_range_has(&d->p->lot.range, hash))
        cp_batch_delete(d->batch, CP_FAMILY_REGISTRY, key);
    return true;
}

int cp_descent_claim(struct cp_partition *p, struct cp_batch *batch)
{
    struct disowned disowned = {p, batch};
    struct sy_span all = {0};
    if (p->descent.placed_epoch == 0)
        p->descent.placed_epoch = p->epoch;
    return p->descent.mixed ? cp_registry_scan(p, all, all, disown, &disowned) : 0;
}

/* ---- runs of others ---- */

/* So many rows more of one run; 0: none is left. */
static size_t delete_rows(struct cp_partition *p, uint64_t run_id, size_t max)
{
    static const enum cp_family families[] = {CP_FAMILY_LIVE,     CP_FAMILY_ACTIONS,
                                              CP_FAMILY_OUTCOMES, CP_FAMILY_ATTEMPTS,
                                              CP_FAMILY_CHILDREN, CP_FAMILY_EVENTS};
    struct cp_key from = cp_key_run(run_id), to = cp_key_run(run_id + 1);
    size_t count = 0;
    for (size_t i = 0; i < SY_COUNT_OF(families) && count < max; i++) {
        struct cp_iter *iter = cp_iter_new(p->store, families[i], cp_key_span(&from),
                                           cp_key_span(&to), false);
        for (; cp_iter_valid(iter) && count < max; cp_iter_next(iter), count++)
            cp_batch_delete(p->open->rows, families[i], cp_iter_key(iter));
        int r = cp_iter_error(iter);
        cp_iter_free(iter);
        if (r < 0)
            cp_fail_later(p, r);
    }
    return count;
}

static void delete_name(struct cp_partition *p, struct sy_span row)
{
    struct sy_span names[3] = {cp_row_bytes(row, 1), cp_row_bytes(row, 2), cp_row_bytes(row, 3)};
    char text[3][CP_NAME_LENGTH_MAX + 1] = {{0}};
    for (int i = 0; i < 3; i++)
        memcpy(text[i], names[i].data, names[i].len); /* hash_of_row() has looked */
    struct cp_key key = cp_key_run_name(text[0], text[1], text[2]);
    cp_delete(p, CP_FAMILY_RUN_NAMES, &key);
}

/* One slice; true: none of others is left. */
static bool sweep_runs(struct cp_partition *p)
{
    struct cp_descent *d = &p->descent;
    struct cp_key from = cp_key_run(d->swept);
    struct cp_iter *iter = cp_iter_new(p->store, CP_FAMILY_RUNS, cp_key_span(&from),
                                       (struct sy_span){0}, false);
    size_t rows = 0, looked = 0;
    for (; cp_iter_valid(iter) && looked < SWEEP_RUNS && rows < SWEEP_ROWS; cp_iter_next(iter)) {
        struct sy_span key = cp_iter_key(iter);
        uint64_t id = key.len == 8 ? sy_get_be64(key.data) : 0;
        if (id != 0 && cp_run_is_foreign(p, cp_iter_value(iter))) {
            size_t deleted = delete_rows(p, id, SWEEP_ROWS);
            rows += deleted + 1;
            if (deleted == SWEEP_ROWS)
                break; /* there may be more: it is found again */
            delete_name(p, cp_iter_value(iter));
            cp_batch_delete(p->open->rows, CP_FAMILY_RUNS, key);
        }
        d->swept = id + 1;
        looked++;
    }
    bool done = !cp_iter_valid(iter);
    int r = cp_iter_error(iter);
    cp_iter_free(iter);
    if (r < 0)
        cp_fail_later(p, r);
    return done && r == 0;
}

static void sweep(void *arg)
{
    struct cp_partition *p = arg;
    struct cp_descent *d = &p->descent;
    if (cp_state(p) != CP_PARTITION_SERVING || !d->mixed || cp_lapsed(p))
        return;
    if (sweep_runs(p) && p->failing == 0) {
        d->mixed = false;
        cp_descent_pack(p, &p->scratch);
        struct cp_key key = cp_key_meta();
        cp_put(p, CP_FAMILY_META, &key, &p->scratch);
    }
    sy_timer_start_in(p->loop, &d->sweep, SWEEP_NS);
    cp_touch(p);
}

void cp_descent_begin(struct cp_partition *p)
{
    const struct cp_partition_lot *lot = &p->lot;
    if (p->opener.drop_forks != NULL && lot->forks_before != 0)
        p->opener.drop_forks(p->opener.ctx, lot->forks_before, lot->forks, lot->fork_count);
    if (p->descent.mixed)
        sy_timer_start_in(p->loop, &p->descent.sweep, SWEEP_NS);
}

void cp_descent_init(struct cp_partition *p)
{
    sy_timer_init(&p->descent.sweep, sweep, p);
    p->lot.range = (struct cp_range){0, UINT64_MAX};
    const struct cp_ranges_now *now = p->options.ranges;
    const struct cp_ranges *ranges = now != NULL ? cp_ranges_get(now) : NULL;
    if (ranges != NULL && p->options.partition < cp_ranges_count(ranges))
        p->lot.range = cp_ranges_of(ranges, p->options.partition);
}

void cp_descent_deinit(struct cp_partition *p)
{
    sy_timer_stop(p->loop, &p->descent.sweep);
    free(p->descent.origins);
}
