/*
 * From the store to the core, in slices with turns between, so that a large partition does not stop
 * its loop: other calls there, and the end of its own right, are heard meanwhile. It does not serve
 * until all is there, and nothing else sees the core before.
 */
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"

/* A row takes some 10 us, a run some rows' time. */
#define SLICE_ROWS 256
#define ROWS_OF_A_RUN 4
#define ARENA_MAX ((size_t)256 << 20)
/* The index and the rows are both in order; so many steps cost as much as one seek. */
#define STEPS_BEFORE_SEEK 8

struct cp_recovery {
    struct cp_partition *p;
    struct sch_partition *core; /* between two slices */
    struct sy_arena arena;
    struct sch_run *run;
    uint64_t foreign;      /* a run that is another partition's; its actions follow */
    bool cache_in_project; /* the run looks for cached results in its project only */
    struct cp_iter *live;
    struct cp_iter *rows; /* of the run's actions */
    struct sy_error_text error;
};

static int damaged(struct cp_recovery *restore, const char *what, uint64_t run_id, const char *name)
{
    sy_error_text_set(&restore->error, "the store is damaged: %s of run %llx action '%s'", what,
                      (unsigned long long)run_id, name);
    return -EBADMSG;
}

/* Where the event log of a run ends. */
static int last_event(struct cp_recovery *restore, uint64_t run_id, uint64_t *ret_sequence,
                      uint64_t *ret_actions_total)
{
    struct cp_key from = cp_key_event(run_id, 0), to = cp_key_event(run_id, UINT64_MAX);
    struct cp_iter *iter = cp_iter_new(restore->p->store, CP_FAMILY_EVENTS, cp_key_span(&from),
                                       cp_key_span(&to), true);
    int r = 0;
    if (cp_iter_valid(iter) && cp_iter_key(iter).len == 16) {
        uint64_t count = 0;
        r = cp_chunk_count(cp_iter_value(iter), &count, ret_actions_total);
        *ret_sequence = sy_get_be64(cp_iter_key(iter).data + 8) + count - 1;
    } else {
        r = cp_iter_error(iter);
        if (r == 0)
            r = -EBADMSG; /* its creation is an event */
    }
    cp_iter_free(iter);
    return r;
}

static int restore_run(struct cp_recovery *restore, uint64_t run_id)
{
    struct cp_partition *p = restore->p;
    struct cp_key key = cp_key_run(run_id);
    Switchyard__Internal__Store__RunRow *row;
    int r = cp_row_get(p->store, CP_FAMILY_RUNS, &key,
                       &switchyard__internal__store__run_row__descriptor, &restore->arena,
                       &p->scratch, (void *)&row);
    uint64_t sequence = 0, total = 0;
    if (r == 0)
        r = last_event(restore, run_id, &sequence, &total);
    if (r != 0)
        return r == -EIO ? r : damaged(restore, "the row or the events", run_id, "");
    if (strlen(row->project) >= SCH_NAME_MAX || strlen(row->domain) >= SCH_NAME_MAX ||
        strlen(row->name) >= SCH_NAME_MAX || run_id >> 40 >= p->epoch)
        return damaged(restore, "a name", run_id, "");
    if (cp_run_is_foreign(p, sy_buf_span(&p->scratch))) {
        restore->foreign = run_id;
        return 0;
    }
    struct cp_live_run *live = sy_new(struct cp_live_run);
    live->refs = 1;
    live->id = run_id;
    live->request_id = row->request_id[0] ? sy_strdup(row->request_id) : NULL;
    if (p->scratch.len <= CP_RUN_ROW_KEPT_MAX)
        sy_buf_append(&live->row, p->scratch.data, p->scratch.len);
    struct sy_span run_spec = {row->run_spec.data, row->run_spec.len};
    restore->cache_in_project = cp_cache_in_project(run_spec);
    r = cp_flyte_queue(run_spec, live->queue, NULL);
    if (r < 0)
        live->queue[0] = '\0'; /* of a time when any text would do */
    restore->run = sch_partition_restore_run(p->core, run_id, row->project, row->domain, row->name,
                                             row->created_ns, sequence, total,
                                             cp_flyte_concurrency(run_spec));
    restore->run->shell = live;
    sch_partition_restore_place(restore->run,
                                cp_place_of(cp_name_hash(row->project, row->domain, row->name)));
    memcpy(live->project, restore->run->project, sizeof(live->project));
    memcpy(live->domain, restore->run->domain, sizeof(live->domain));
    cp_iter_free(restore->rows);
    struct cp_key to = cp_key_run(run_id + 1);
    restore->rows = cp_iter_new(p->store, CP_FAMILY_ACTIONS, cp_key_span(&key), cp_key_span(&to),
                                false);
    return 0;
}

static bool at_key(struct cp_iter *iter, struct sy_span key)
{
    struct sy_span at = cp_iter_key(iter);
    return at.len == key.len && memcmp(at.data, key.data, key.len) == 0;
}

/* The ActionRow of this key: mostly it is among the next ones. */
static bool find_row(struct cp_recovery *restore, struct sy_span key)
{
    struct cp_iter *rows = restore->rows;
    for (int i = 0; i < STEPS_BEFORE_SEEK && cp_iter_valid(rows); i++) {
        if (at_key(rows, key))
            return true;
        cp_iter_next(rows);
    }
    cp_iter_seek_for_prev(rows, key);
    return cp_iter_valid(rows) && at_key(rows, key);
}

static int restore_spec(struct cp_recovery *restore,
                        const Switchyard__Internal__Store__ActionRow *row, struct sch_spec **ret)
{
    struct cp_partition *p = restore->p;
    *ret = NULL;
    if (row->spec_digest.len == 0)
        return 0; /* a condition */
    if (row->spec_digest.len != CP_SPEC_DIGEST_BYTES)
        return -EBADMSG;
    struct cp_spec *spec = cp_specs_find(&p->specs, row->spec_digest.data);
    if (!spec) {
        struct sy_span key = {row->spec_digest.data, row->spec_digest.len};
        int r = cp_store_get(p->store, CP_FAMILY_SPECS, key, &p->scratch);
        if (r == 0)
            r = cp_specs_intern(&p->specs, sy_buf_span(&p->scratch), &spec, &restore->error);
        if (r != 0)
            return r < 0 ? r : -EBADMSG;
        if (memcmp(spec->digest, key.data, key.len) != 0)
            return -EBADMSG;
        spec->stored = true;
    }
    bool has_input = row->input.len > 0 || row->input_uri[0];
    *ret = &spec->uses[has_input].base;
    return 0;
}

static bool restore_gang(const Switchyard__Internal__Store__GangMember *row,
                         struct sch_gang_shape *ret_shape, struct sch_gang_view *ret)
{
    if (sch_gang_shape_init(ret_shape, row->size, row->topology, row->topology_key, row->on_loss,
                            NULL) < 0)
        return false;
    *ret = (struct sch_gang_view){row->id, row->rank, ret_shape, (enum sch_on_loss)row->on_loss};
    return row->rank < row->size;
}

static bool restore_out(const struct cp_recovery *restore,
                        const Switchyard__Internal__Store__LiveRow *live, struct sch_out *ret)
{
    const Switchyard__Internal__Store__OutRow *row = live->out;
    size_t size = strlen(row->cluster) + 1;
    *ret = (struct sch_out){.number = row->number, .epoch = row->epoch, .started = row->started};
    if (size > sizeof(ret->cluster) || row->number <= live->number ||
        row->epoch >= restore->p->epoch)
        return false;
    memcpy(ret->cluster, row->cluster, size);
    return true;
}

static int restore_action(struct cp_recovery *restore, struct sy_span key, struct sy_span value)
{
    uint64_t run_id;
    char name[SCH_NAME_MAX];
    if (!cp_key_action_name(key, &run_id, name))
        return damaged(restore, "a live key", 0, "");
    if (!restore->run || restore->run->id != run_id || !find_row(restore, key))
        return damaged(restore, "the row", run_id, name);
    const Switchyard__Internal__Store__ActionRow *row = CP_UNPACK(
        Switchyard__Internal__Store__ActionRow, switchyard__internal__store__action_row__descriptor,
        &restore->arena, cp_iter_value(restore->rows));
    const Switchyard__Internal__Store__LiveRow *live = CP_UNPACK(
        Switchyard__Internal__Store__LiveRow, switchyard__internal__store__live_row__descriptor,
        &restore->arena, value);
    bool root = strcmp(name, SCH_ROOT_NAME) == 0;
    if (!row || !live || root != (row->parent[0] == '\0') || row->id >> 40 >= restore->p->epoch ||
        strlen(row->parent) >= SCH_NAME_MAX)
        return damaged(restore, "the row", run_id, name);
    struct sch_restore action = {
        .run_id = run_id,
        .action_id = row->id,
        .name = name,
        .parent = row->parent,
        .created_ns = row->created_ns,
        .realtime_ns = sy_loop_realtime_ns(restore->p->loop),
        .timeout_ns = cp_flyte_condition_timeout((struct sy_span){row->flyte.data, row->flyte.len}),
        .priority = row->priority,
        .number = live->number,
        .attempts = live->attempts,
        .memory_bytes = live->memory_bytes,
        .user_failures = (uint16_t)live->user_failures,
        .system_failures = (uint16_t)live->system_failures,
        .deaths = (uint8_t)live->deaths,
        .suspect = live->suspect,
        .children_failed = live->children_failed,
        .child_sequence = live->child_sequence,
        .sealed = live->sealed};
    struct sch_out out;
    if (live->out && !restore_out(restore, live, &out))
        return damaged(restore, "where its attempt is", run_id, name);
    action.out = live->out ? &out : NULL;
    int r = restore_spec(restore, row, &action.spec);
    if (r < 0)
        return r == -EIO ? r : damaged(restore, "the task spec", run_id, name);
    struct cp_key serial;
    struct cp_result_query query = {.project = restore->run->project,
                                    .domain = restore->run->domain,
                                    .spec = action.spec ? cp_spec_use_of(action.spec)->spec : NULL,
                                    .in_project = restore->cache_in_project,
                                    .flyte = {row->flyte.data, row->flyte.len}};
    action.cache_key = cp_serial_key(&query, &serial);
    struct sch_gang_shape shape;
    struct sch_gang_view gang;
    if (row->gang && !restore_gang(row->gang, &shape, &gang))
        return damaged(restore, "the gang", run_id, name);
    action.gang = row->gang ? &gang : NULL;
    const struct cp_live_run *of = restore->run->shell;
    action.queue = row->queue[0] != '\0' ? row->queue : of->queue;
    if (row->queue_reach >= SCH_REACHES)
        return damaged(restore, "the reach of its queue", run_id, name);
    action.queue_reach = (enum sch_queue_reach)row->queue_reach;
    (void)sch_partition_restore_action(restore->p->core, &action);
    return 0;
}

/* So many of them, or to the end: 0. 1: there are more. */
static int restore_live(struct cp_recovery *restore, int rows)
{
    int r = 0;
    for (; r == 0 && rows > 0 && cp_iter_valid(restore->live); cp_iter_next(restore->live)) {
        struct sy_span key = cp_iter_key(restore->live);
        sy_arena_reset(&restore->arena);
        rows -= key.len == 8 ? ROWS_OF_A_RUN : 1;
        if (key.len > 8 && restore->foreign != 0 && sy_get_be64(key.data) == restore->foreign)
            continue;
        r = key.len == 8 ? restore_run(restore, sy_get_be64(key.data))
                         : restore_action(restore, key, cp_iter_value(restore->live));
    }
    if (r == 0)
        r = cp_iter_error(restore->live);
    return r == 0 && cp_iter_valid(restore->live) ? 1 : r;
}

/* Clusters that were registered: we wait for their inventories. */
static int restore_clusters(struct cp_partition *p, const char ***ret_names, size_t *ret_count)
{
    struct cp_key from = cp_key_cluster("");
    struct cp_iter *iter = cp_iter_new(p->store, CP_FAMILY_META, cp_key_span(&from),
                                       (struct sy_span){0}, false);
    const char **names = NULL;
    size_t count = 0;
    for (; cp_iter_valid(iter); cp_iter_next(iter)) {
        struct sy_span key = cp_iter_key(iter);
        if (key.len <= from.len || key.len - from.len >= SCH_NAME_MAX ||
            memcmp(key.data, from.data, from.len) != 0)
            continue;
        char name[SCH_NAME_MAX] = {0};
        memcpy(name, key.data + from.len, key.len - from.len);
        struct cp_cluster *cluster = cp_cluster_get(p, name);
        if (!cluster)
            break;
        cluster->expected = true;
        cluster->lost_ns = sy_loop_now_ns(p->loop);
        sy_arena_reset(&p->message_arena);
        const Switchyard__Internal__Store__ClusterRow *row = CP_UNPACK(
            Switchyard__Internal__Store__ClusterRow,
            switchyard__internal__store__cluster_row__descriptor, &p->message_arena,
            cp_iter_value(iter));
        if (row) {
            cluster->endpoint = sy_strdup(row->endpoint);
            cluster->term = row->term;
        }
        names = sy_realloc(names, (count + 1) * sizeof(*names));
        names[count++] = cluster->name;
    }
    int r = cp_iter_error(iter);
    cp_iter_free(iter);
    *ret_names = names;
    *ret_count = count;
    return r;
}

/* Of the region, by now. */
static uint32_t partitions_of(const struct cp_partition *p)
{
    const struct cp_ranges_now *ranges = p->options.ranges;
    return ranges != NULL ? cp_ranges_count(cp_ranges_get(ranges)) : p->options.partitions;
}

static int begin(struct cp_partition *p, struct sy_error_text *error)
{
    struct sch_partition_options options = {.partition = p->options.partition,
                                            .partitions = partitions_of(p),
                                            .epoch = p->epoch,
                                            .actions_max = p->options.actions_max,
                                            .system_retries = p->options.system_retries,
                                            .worker_deaths_max = p->options.worker_deaths_max,
                                            .cluster_lease_ns = p->options.cluster_lease_ns,
                                            .recovery_wait_ns = p->options.recovery_wait_ns,
                                            .ageing_ns = p->options.ageing_ns,
                                            .reserve_after_ns = p->options.reserve_after_ns,
                                            .infeasible_grace_ns = p->options.infeasible_grace_ns,
                                            .infeasible = p->options.infeasible,
                                            .reclaim_delay_ns = p->options.reclaim_delay_ns};
    p->core = sch_partition_new(&options, sy_loop_now_ns(p->loop));
    p->durable_id_high = (uint64_t)p->epoch << 40;
    struct cp_recovery *restore = sy_new(struct cp_recovery);
    restore->p = p;
    sy_arena_init(&restore->arena, ARENA_MAX);
    p->recovery = restore;
    int r = cp_queues_restore(p, error);
    if (r == 0)
        restore->live = cp_iter_new(p->store, CP_FAMILY_LIVE, (struct sy_span){0},
                                    (struct sy_span){0}, false);
    return r;
}

static int complete(struct cp_partition *p)
{
    SY_AUTOFREE const char **names = NULL;
    size_t count = 0;
    int r = restore_clusters(p, &names, &count);
    if (r == 0)
        sch_partition_restored(p->core, names, count, sy_loop_now_ns(p->loop));
    return r;
}

int cp_recover(struct cp_partition *p, struct sy_error_text *error)
{
    SY_ASSERT(!p->core && cp_state(p) == CP_PARTITION_CLAIMING);
    int r = 0;
    if (!p->recovery)
        r = begin(p, error);
    else
        p->core = sy_take(p->recovery->core);
    if (r < 0)
        return r;
    r = restore_live(p->recovery, SLICE_ROWS);
    if (r > 0) {
        p->recovery->core = sy_take(p->core);
        return r;
    }
    if (r == 0)
        r = complete(p);
    if (r < 0)
        sy_error_text_set(error, "%s",
                          p->recovery->error.text[0] ? p->recovery->error.text
                                                     : cp_store_error(p->store));
    else
        cp_recovery_end(p);
    return r;
}

void cp_recovery_end(struct cp_partition *p)
{
    struct cp_recovery *restore = sy_take(p->recovery);
    if (!restore)
        return;
    if (restore->core)
        p->core = restore->core;
    cp_iter_free(restore->live);
    cp_iter_free(restore->rows);
    sy_arena_deinit(&restore->arena);
    free(restore);
}
