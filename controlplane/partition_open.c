/* Open: the store, its format, our epoch (written and synced before anything is served), and the
 * state from the live index. */
#include "controlplane/partition_impl.h"

#define BACKOFF_FIRST_NS (100 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * SY_NS_PER_S)
#define RESTORE_ARENA_MAX ((size_t)256 << 20)
/* The index and the rows are both in order; so many steps cost as much as one seek. */
#define STEPS_BEFORE_SEEK 8

/* ---- failing ---- */

void cp_wait_and_reopen(struct cp_partition *p, int error, const char *text)
{
    int64_t delay = BACKOFF_FIRST_NS;
    for (unsigned i = 0; i < p->failures && delay < BACKOFF_MAX_NS; i++)
        delay *= 2;
    delay = delay < BACKOFF_MAX_NS ? delay : BACKOFF_MAX_NS;
    delay = delay / 2 + (int64_t)sy_rng_below(p->rng, (uint64_t)delay);
    p->failures++;
    p->reason_code = error;
    sy_error_text_set(&p->reason, "%s", text);
    cp_partition_move(p, CP_PARTITION_WAITING);
    sy_timer_start_in(p->loop, &p->reopen, delay);
}

/* True: it is closed. */
static bool drop_store(struct cp_partition *p)
{
    if (p->open->rows)
        cp_batch_free(sy_take(p->open->rows));
    return cp_close_store(p);
}

/* Nothing that time could mend. */
static void fail_for_good(struct cp_partition *p, int error, const char *text)
{
    p->reason_code = error;
    sy_error_text_set(&p->reason, "partition %u does not serve: %s", p->options.partition, text);
    cp_partition_move(p, CP_PARTITION_FAILED);
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_OPEN_FAILED,
           SY_U64("partition", p->options.partition), SY_STR("reason", p->reason.text));
}

static void open_failed(struct cp_partition *p, int error, const char *text)
{
    (void)drop_store(p);
    cp_drop_core(p);
    bool for_good = error == -EUCLEAN || error == -EBADMSG || error == -EPROTO;
    if (for_good) {
        fail_for_good(p, error, text);
        return;
    }
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_OPEN_FAILED,
           SY_U64("partition", p->options.partition), SY_STR("reason", text));
    struct sy_error_text reason = {0};
    if (error == -ENOSPC)
        sy_error_text_set(&reason, "the disk of partition %u is full (%s)", p->options.partition,
                          text);
    else
        sy_error_text_set(&reason, "partition %u cannot be opened yet: %s", p->options.partition,
                          text);
    cp_wait_and_reopen(p, error, reason.text);
}

/* ---- recovery ---- */

struct restore {
    struct cp_partition *p;
    struct sy_arena arena;
    struct sch_run *run;
    bool cache_in_project; /* the run looks for cached results in its project only */
    struct cp_iter *rows;  /* of the run's actions */
    struct sy_error_text error;
};

static int damaged(struct restore *restore, const char *what, uint64_t run_id, const char *name)
{
    sy_error_text_set(&restore->error, "the store is damaged: %s of run %llx action '%s'", what,
                      (unsigned long long)run_id, name);
    return -EBADMSG;
}

/* Where the event log of a run ends. */
static int last_event(struct restore *restore, uint64_t run_id, uint64_t *ret_sequence,
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

static int restore_run(struct restore *restore, uint64_t run_id)
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
static bool find_row(struct restore *restore, struct sy_span key)
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

static int restore_spec(struct restore *restore, const Switchyard__Internal__Store__ActionRow *row,
                        struct sch_spec **ret)
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

static int restore_action(struct restore *restore, struct sy_span key, struct sy_span value)
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

static int restore_live(struct restore *restore)
{
    struct cp_iter *iter = cp_iter_new(restore->p->store, CP_FAMILY_LIVE, (struct sy_span){0},
                                       (struct sy_span){0}, false);
    int r = 0;
    for (; r == 0 && cp_iter_valid(iter); cp_iter_next(iter)) {
        struct sy_span key = cp_iter_key(iter);
        sy_arena_reset(&restore->arena);
        r = key.len == 8 ? restore_run(restore, sy_get_be64(key.data))
                         : restore_action(restore, key, cp_iter_value(iter));
    }
    if (r == 0)
        r = cp_iter_error(iter);
    cp_iter_free(iter);
    cp_iter_free(restore->rows);
    return r;
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
        if (row)
            cluster->endpoint = sy_strdup(row->endpoint);
        names = sy_realloc(names, (count + 1) * sizeof(*names));
        names[count++] = cluster->name;
    }
    int r = cp_iter_error(iter);
    cp_iter_free(iter);
    *ret_names = names;
    *ret_count = count;
    return r;
}

static int recover(struct cp_partition *p, struct sy_error_text *error)
{
    struct sch_partition_options options = {.partition = p->options.partition,
                                            .partitions = p->options.partitions,
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
    int r = cp_queues_restore(p, error);
    if (r < 0)
        return r;
    struct restore restore = {.p = p};
    sy_arena_init(&restore.arena, RESTORE_ARENA_MAX);
    r = restore_live(&restore);
    sy_arena_deinit(&restore.arena);
    SY_AUTOFREE const char **names = NULL;
    size_t count = 0;
    if (r == 0)
        r = restore_clusters(p, &names, &count);
    if (r < 0) {
        sy_error_text_set(error, "%s",
                          restore.error.text[0] ? restore.error.text : cp_store_error(p->store));
        return r;
    }
    sch_partition_restored(p->core, names, count, sy_loop_now_ns(p->loop));
    return 0;
}

/* ---- open ---- */

static void on_claimed(void *ctx, int error)
{
    struct cp_partition *p = ctx;
    if (cp_state(p) == CP_PARTITION_STOPPING)
        return;
    if (cp_lapsed(p)) {
        cp_abandon_lapsed(p);
        return;
    }
    struct sy_error_text text = {0};
    int r = error;
    if (r < 0)
        sy_error_text_set(&text, "%s", cp_store_error(p->store));
    else
        r = recover(p, &text);
    if (r == 0) {
        SY_ASSERT(!p->open->rows);
        p->open->rows = cp_batch_new(p->store);
        r = cp_queues_restored(p);
    }
    if (r < 0) {
        open_failed(p, r, text.text[0] ? text.text : cp_store_error(p->store));
        return;
    }
    p->failures = 0;
    p->reason_code = 0;
    p->reason.text[0] = '\0';
    cp_partition_move(p, CP_PARTITION_SERVING);
    cp_triggers_arm(p);
    struct sch_partition_counts counts = sch_partition_counts(p->core);
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_OPENED,
           SY_U64("partition", p->options.partition), SY_U64("epoch", p->epoch),
           SY_U64("runs", counts.runs_live),
           SY_U64("actions", counts.recovering + counts.groups + counts.queued));
    cp_touch(p);
}

/* Reads Meta and raises the epoch. */
static int check_meta(struct cp_partition *p, struct sy_error_text *error)
{
    struct cp_key key = cp_key_meta();
    Switchyard__Internal__Store__Meta *meta = NULL;
    sy_arena_reset(&p->message_arena);
    int r = cp_row_get(p->store, CP_FAMILY_META, &key,
                       &switchyard__internal__store__meta__descriptor, &p->message_arena,
                       &p->scratch, (void *)&meta);
    if (r < 0) {
        sy_error_text_set(error, "the store's first row is damaged (%s)", cp_store_error(p->store));
        return r;
    }
    uint32_t epoch = r == 0 ? meta->epoch : 0;
    if (r == 0 && meta->format != CP_FORMAT) {
        sy_error_text_set(error, "its store has format %u, this program reads format %d",
                          meta->format, CP_FORMAT);
        return -EPROTO;
    }
    if (r == 0 && meta->partition != p->options.partition) {
        sy_error_text_set(error, "its store belongs to partition %u", meta->partition);
        return -EPROTO;
    }
    if (epoch < p->epoch)
        epoch = p->epoch; /* the store came back older than what we have served */
    if (epoch + 1 < p->epoch_min)
        epoch = p->epoch_min - 1; /* others have */
    if (epoch + 1 >= 1u << 24) {
        sy_error_text_set(error, "its store was opened 2^24 times");
        return -EPROTO;
    }
    p->epoch = epoch + 1;
    return 0;
}

static void claim(struct cp_partition *p)
{
    Switchyard__Internal__Store__Meta meta;
    switchyard__internal__store__meta__init(&meta);
    meta.format = CP_FORMAT;
    meta.partition = p->options.partition;
    meta.epoch = p->epoch;
    meta.region = (char *)(uintptr_t)p->options.region;
    struct cp_key key = cp_key_meta();
    sy_buf_clear(&p->scratch);
    cp_row_pack(&p->scratch, &meta.base);
    struct cp_batch *batch = cp_batch_new(p->store);
    cp_batch_put(batch, CP_FAMILY_META, cp_key_span(&key), sy_buf_span(&p->scratch));
    cp_partition_move(p, CP_PARTITION_CLAIMING);
    cp_store_commit(p->store, batch, on_claimed, p);
}

void cp_open(struct cp_partition *p)
{
    SY_ASSERT(!p->core && !p->sealed);
    if (p->closing || !drop_store(p))
        return;
    struct sy_error_text error = {0};
    uint32_t newer = 0;
    int r = p->opener.open(p->opener.ctx, &p->store, p->epoch_min, p->loop, &newer, &error);
    if (r == CP_STORE_E_NEWER) { /* our claim is over, or the region's records were lost */
        p->epoch = newer > p->epoch ? newer : p->epoch;
        (void)cp_partition_abandon(p, error.text, NULL, NULL);
        return;
    }
    if (r == 0)
        r = check_meta(p, &error);
    if (r < 0) {
        open_failed(p, r, error.text);
        return;
    }
    claim(p);
}
