#include "controlplane/partition_impl.h"

#include <stdatomic.h>

SY_LOG_TABLE_DEFINE(cp_partition_events, "partition", CP_PARTITION_EVENTS)

/* ---- the table: the diagram is in partition_impl.h ---- */

static bool partition_invariant(const void *owner, unsigned state)
{
    const struct cp_partition *p = owner;
    switch (state) {
    case CP_PARTITION_SERVING:
        return p->core && p->store && p->epoch > 0;
    case CP_PARTITION_AWAY:
    case CP_PARTITION_STOPPED:
        return !p->core && !p->store && !p->closing;
    default:
        return true;
    }
}

#define IDS_KEPT (1u << 24) /* more than one turn can take */
#define STATE_BIT(state) SM_BIT(CP_PARTITION_##state)
static const struct sm_state partition_states[CP_PARTITION_STATES] = {
    [CP_PARTITION_AWAY] = {.name = "away",
                           .initial = true,
                           .next = STATE_BIT(OPENING) | STATE_BIT(STOPPING)},
    [CP_PARTITION_OPENING] = {.name = "opening",
                              .initial = true,
                              .next = STATE_BIT(CLAIMING) | STATE_BIT(WAITING) | STATE_BIT(FAILED) |
                                      STATE_BIT(STOPPING) | STATE_BIT(AWAY)},
    [CP_PARTITION_CLAIMING] = {.name = "claiming",
                               .next = STATE_BIT(SERVING) | STATE_BIT(WAITING) | STATE_BIT(FAILED) |
                                       STATE_BIT(STOPPING) | STATE_BIT(AWAY)},
    [CP_PARTITION_SERVING] = {.name = "serving",
                              .next = STATE_BIT(WAITING) | STATE_BIT(STOPPING) | STATE_BIT(AWAY)},
    [CP_PARTITION_WAITING] = {.name = "waiting",
                              .next = STATE_BIT(OPENING) | STATE_BIT(STOPPING) | STATE_BIT(AWAY)},
    [CP_PARTITION_FAILED] = {.name = "failed", .next = STATE_BIT(STOPPING) | STATE_BIT(AWAY)},
    [CP_PARTITION_STOPPING] = {.name = "stopping", .next = STATE_BIT(STOPPED) | STATE_BIT(AWAY)},
    [CP_PARTITION_STOPPED] = {.name = "stopped", .final = true},
};
const struct sm_table cp_partition_table = {
    .name = "partition",
    .states = partition_states,
    .count = CP_PARTITION_STATES,
    .invariant = partition_invariant,
};

void cp_partition_move(struct cp_partition *p, enum cp_partition_state to)
{
    sm_move(&p->sm, &cp_partition_table, to, p);
}

/* Asked after a sync has ended, in a turn that began after that: the loop reads its clock when it
 * has collected what is ready. So when the answer is no, the sync had ended while the right was
 * ours, however late what follows is sent; whoever takes the partition claims it after that, and
 * copies the log after he has claimed it: what is acknowledged is in his copy. */
bool cp_lapsed(const struct cp_partition *p)
{
    const _Atomic int64_t *until_ns = p->options.right_until_ns;
    return until_ns && sy_loop_now_ns(p->loop) >= atomic_load(until_ns);
}

static bool is_ours(const struct cp_partition *p)
{
    return cp_state(p) != CP_PARTITION_AWAY && cp_state(p) != CP_PARTITION_STOPPED;
}

/* One that stops without a store had nothing, or has closed it. */
static bool may_act(const struct cp_partition *p)
{
    return is_ours(p) && (p->store || cp_state(p) != CP_PARTITION_STOPPING);
}

/* ---- turns ---- */

void cp_make_turn(void *arg)
{
    (void)arg;
}

/* Something waits for the turn's end: if the caller is not inside a turn, one is made. */
void cp_touch(struct cp_partition *p)
{
    if (!sy_timer_running(&p->touch))
        sy_timer_start_in(p->loop, &p->touch, 0);
}

static void start_tick(struct cp_partition *p)
{
    int64_t next_ns = p->core ? sch_partition_next_ns(p->core) : SY_TIME_NEVER;
    if (next_ns == SY_TIME_NEVER)
        sy_timer_stop(p->loop, &p->tick);
    else if (!sy_timer_running(&p->tick) || p->tick.deadline_ns != next_ns)
        sy_timer_start(p->loop, &p->tick, next_ns);
}

static void on_tick(void *arg)
{
    struct cp_partition *p = arg;
    if (p->core)
        cp_step(p, &(struct sch_event){.type = SCH_EVENT_TICK});
}

static void on_turn_end(void *arg)
{
    struct cp_partition *p = arg;
    sy_timer_stop(p->loop, &p->touch);
    if (may_act(p) && cp_lapsed(p))
        cp_abandon_lapsed(p);
    if (p->core && sch_partition_ids_left(p->core) < IDS_KEPT)
        cp_fail_later(p, -EOVERFLOW); /* it is opened again, with an epoch that has all */
    if (p->failing)
        cp_step_down(p, p->failing);
    cp_commit(p);
    cp_watch_run_ready(p);
    for (struct cp_operator *o = p->operators; o; o = o->next)
        cp_operator_flush(o);
    start_tick(p);
    cp_check_stopped(p);
}

/* ---- what fails ---- */

static void say_lapsed(struct cp_partition *p)
{
    p->reason_code = -ESHUTDOWN;
    sy_error_text_set(&p->reason,
                      "the session of shard %s has lapsed: partition %u may be another's",
                      p->options.shard, p->options.partition);
}

enum sy_code cp_refusal(struct cp_partition *p)
{
    if (cp_state(p) == CP_PARTITION_SERVING && !p->failing) {
        if (!cp_lapsed(p))
            return SY_CODE_OK;
        say_lapsed(p); /* the end of the turn abandons it */
    }
    return p->reason_code == -ENOSPC ? SY_CODE_RESOURCE_EXHAUSTED : SY_CODE_UNAVAILABLE;
}

enum sy_code cp_refused(struct cp_partition *p, struct sy_error_text *error)
{
    enum sy_code code = cp_refusal(p);
    bool passes = code == SY_CODE_UNAVAILABLE && cp_state(p) != CP_PARTITION_FAILED;
    if (code != SY_CODE_OK)
        sy_error_text_set(error, "%s%s", p->reason.text, passes ? "; try again" : "");
    return code;
}

void cp_fail_later(struct cp_partition *p, int error)
{
    SY_ASSERT(error < 0);
    if (!p->failing) {
        p->failing = error;
        p->reason_code = error;
        sy_error_text_set(&p->reason, "the store of partition %u failed", p->options.partition);
    }
    cp_touch(p);
}

static bool drop_live_run(void *ctx, struct sch_run *run)
{
    (void)ctx;
    if (run->shell)
        cp_live_run_unref(sy_take(run->shell));
    return true;
}

void cp_drop_core(struct cp_partition *p)
{
    cp_recovery_end(p);
    if (!p->core)
        return;
    sch_partition_each_run(p->core, drop_live_run, NULL);
    sch_partition_free(sy_take(p->core));
    cp_specs_deinit(&p->specs);
    cp_places_deinit(&p->places);
    cp_clusters_drop(p);
}

static void explain_failure(struct cp_partition *p, int error, struct sy_status *ret_status)
{
    uint32_t id = p->options.partition;
    const char *said = p->store ? cp_store_error(p->store) : "";
    ret_status->code = error == -ENOSPC ? SY_CODE_RESOURCE_EXHAUSTED : SY_CODE_UNAVAILABLE;
    if (error == -EOVERFLOW)
        sy_error_text_set(&ret_status->message,
                          "the ids of partition %u's epoch are used up; it begins another, retry",
                          id);
    else if (error == -ENOSPC)
        sy_error_text_set(
            &ret_status->message,
            "the disk of partition %u is full; nothing that was acknowledged is lost, "
            "retry when there is room (%s)",
            id, said);
    else
        sy_error_text_set(&ret_status->message,
                          "the store of partition %u failed and is opened again, retry (%s)", id,
                          said[0] ? said : strerrordesc_np(-error));
}

/* All that is pending ends with `status`; the state is the caller's. */
static void take_down(struct cp_partition *p, const struct sy_status *status)
{
    struct cp_group *sealed = sy_take(p->sealed);
    cp_replica_end(p);
    /* Each step of the core may go on with what others left, and assign: into the group that goes.
     */
    cp_operators_close_all(p, status->code, status->message.text);
    struct cp_group *open = p->open;
    p->open = cp_group_new(p);
    if (p->open->rows)
        cp_batch_free(sy_take(p->open->rows)); /* nothing is written from here on */
    cp_watch_detach_all(p);
    /* References to actions go before the core; the replies run when all is down. */
    cp_group_drop_refs(open);
    if (sealed)
        cp_group_drop_refs(sealed);
    SY_ASSERT(p->open->item_count == 0);
    cp_drop_core(p);
    if (sealed)
        cp_group_fail(p, sealed, status);
    cp_group_fail(p, open, status);
}

/* Reads go on from the store that failed until it is opened again. */
void cp_step_down(struct cp_partition *p, int error)
{
    struct sy_status status = {0};
    explain_failure(p, error, &status);
    p->failing = 0;
    if (!p->core)
        return; /* it is down already */
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_FAILED,
           SY_U64("partition", p->options.partition), SY_STR("reason", status.message.text));
    if (cp_state(p) != CP_PARTITION_STOPPING)
        cp_wait_and_reopen(p, error, status.message.text);
    take_down(p, &status);
}

/* ---- set-up ---- */

static void copy_options(struct cp_partition *p, const struct cp_partition_options *options)
{
    struct cp_partition_options *o = &p->options;
    *o = *options;
    o->shard = sy_strdup(options->shard ? options->shard : "");
    o->region = sy_strdup(options->region ? options->region : "");
    o->endpoint = sy_strdup(options->endpoint ? options->endpoint : "");
    if (o->actions_max == 0)
        o->actions_max = 4000000;
    if (o->batch_bytes_max == 0)
        o->batch_bytes_max = (size_t)64 << 20;
    if (o->heartbeat_ns == 0)
        o->heartbeat_ns = SY_NS_PER_S;
    if (o->cluster_lease_ns == 0)
        o->cluster_lease_ns = 15 * SY_NS_PER_S;
    if (o->recovery_wait_ns == 0)
        o->recovery_wait_ns = 10 * SY_NS_PER_S;
    if (o->cluster_forget_ns == 0)
        o->cluster_forget_ns = 600 * SY_NS_PER_S;
    if (o->system_retries == 0)
        o->system_retries = 10;
}

static void on_reopen(void *arg)
{
    struct cp_partition *p = arg;
    if (cp_state(p) == CP_PARTITION_WAITING)
        cp_partition_move(p, CP_PARTITION_OPENING);
    if (cp_state(p) == CP_PARTITION_OPENING)
        cp_open(p);
    else if (cp_state(p) == CP_PARTITION_CLAIMING)
        cp_open_further(p);
}

static void on_forget(void *arg)
{
    struct cp_partition *p = arg;
    cp_clusters_forget(p);
    sy_timer_start_in(p->loop, &p->forget, p->options.cluster_lease_ns);
}

int cp_partition_new(struct cp_partition **ret_partition,
                     const struct cp_partition_options *options, struct sy_loop *loop,
                     struct sy_rng *rng, struct sy_log *log, const struct cp_store_opener *opener,
                     struct sy_error_text *error)
{
    if (options->cluster_lease_ns > 0 && options->heartbeat_ns * 3 > options->cluster_lease_ns) {
        sy_error_text_set(error,
                          "cluster_lease of %lld ms: expected at least three heartbeats of %lld ms",
                          (long long)(options->cluster_lease_ns / SY_NS_PER_MS),
                          (long long)(options->heartbeat_ns / SY_NS_PER_MS));
        return -EINVAL;
    }
    struct cp_partition *p = sy_new(struct cp_partition);
    copy_options(p, options);
    p->loop = loop;
    p->rng = rng;
    p->log = log;
    p->opener = *opener;
    sm_init(&p->sm, &cp_partition_table, options->away ? CP_PARTITION_AWAY : CP_PARTITION_OPENING);
    sy_error_text_set(&p->reason, "partition %u is %s", options->partition,
                      options->away ? "not of this shard" : "being opened");
    sy_arena_init(&p->message_arena, CP_MESSAGE_ARENA_MAX);
    p->open = cp_group_new(p);
    p->turn_end = (struct sy_turn_end){.fn = on_turn_end, .arg = p};
    sy_loop_add_turn_end(loop, &p->turn_end);
    sy_timer_init(&p->tick, on_tick, p);
    sy_timer_init(&p->reopen, on_reopen, p);
    sy_timer_init(&p->touch, cp_make_turn, p);
    sy_timer_init(&p->linger, cp_make_turn, p);
    sy_timer_init(&p->forget, on_forget, p);
    cp_triggers_init(p);
    cp_descent_init(p);
    if (!options->away)
        sy_timer_start_in(loop, &p->reopen, 0);
    sy_timer_start_in(loop, &p->forget, p->options.cluster_lease_ns);
    *ret_partition = p;
    return 0;
}

void cp_partition_free(struct cp_partition *p)
{
    if (!p)
        return;
    sy_timer_stop(p->loop, &p->tick);
    sy_timer_stop(p->loop, &p->reopen);
    sy_timer_stop(p->loop, &p->touch);
    sy_timer_stop(p->loop, &p->linger);
    sy_timer_stop(p->loop, &p->forget);
    sy_timer_stop(p->loop, &p->fire_timer);
    cp_descent_deinit(p);
    sy_loop_remove_turn_end(p->loop, &p->turn_end);
    while (p->operators)
        cp_operator_free(p->operators);
    cp_task_calls_free_orphans(p);
    cp_registry_forget(p);
    cp_watch_forget_all(p);
    if (p->sealed)
        cp_group_discard(p, p->sealed);
    cp_group_discard(p, p->open);
    cp_drop_core(p);
    cp_clusters_drop(p);
    cp_roll_unref(p->roll);
    while (p->pool) {
        struct cp_group *group = p->pool;
        p->pool = group->next;
        cp_group_free(group);
    }
    cp_replica_end(p);
    cp_store_close(p->store);
    cp_store_close(p->closing);
    sch_effects_deinit(&p->effects);
    cp_specs_deinit(&p->specs);
    cp_places_deinit(&p->places);
    sy_buf_deinit(&p->scratch);
    sy_buf_deinit(&p->scratch2);
    sy_buf_deinit(&p->produced);
    sy_arena_deinit(&p->message_arena);
    free((void *)(uintptr_t)p->options.shard);
    free((void *)(uintptr_t)p->options.endpoint);
    free((void *)(uintptr_t)p->options.region);
    free(p);
}

/* ---- stop, take and give ---- */

static void stopped(struct cp_partition *p)
{
    bool giving = p->giving;
    p->giving = false;
    cp_partition_move(p, giving ? CP_PARTITION_AWAY : CP_PARTITION_STOPPED);
    if (giving)
        sy_error_text_set(&p->reason, "partition %u is not of this shard", p->options.partition);
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_STOPPED,
           SY_U64("partition", p->options.partition));
    sy_fn done = sy_take(p->on_stopped);
    if (done)
        done(p->stopped_ctx);
}

static void on_store_closed(void *arg)
{
    struct cp_partition *p = arg;
    p->closing = NULL;
    if (cp_state(p) == CP_PARTITION_OPENING)
        cp_open(p);
    else
        cp_touch(p); /* the end of the turn ends the stop */
}

bool cp_close_store(struct cp_partition *p)
{
    SY_ASSERT(!p->closing);
    cp_replica_end(p);
    struct cp_store *store = sy_take(p->store);
    if (store && !cp_store_committing(store))
        p->disk_since_ns = sy_loop_now_ns(p->loop);
    if (store && !cp_store_close_begin(store, on_store_closed, p))
        p->closing = store;
    return !p->closing;
}

void cp_check_stopped(struct cp_partition *p)
{
    if (cp_state(p) != CP_PARTITION_STOPPING || p->ready_watches || p->closing)
        return;
    if (p->sealed || p->open->item_count > 0 || p->open->chunk_count > 0 ||
        (p->open->rows && cp_batch_count(p->open->rows) > 0))
        return;
    if (p->open->rows)
        cp_batch_free(sy_take(p->open->rows));
    cp_drop_core(p);
    if (cp_close_store(p))
        stopped(p);
}

static void begin_stop(struct cp_partition *p, bool giving, sy_fn done, void *ctx)
{
    SY_ASSERT(cp_state(p) != CP_PARTITION_STOPPING && cp_state(p) != CP_PARTITION_STOPPED);
    p->giving = giving;
    p->on_stopped = done;
    p->stopped_ctx = ctx;
    p->reason_code = -ESHUTDOWN;
    sy_error_text_set(&p->reason, "partition %u is being %s", p->options.partition,
                      giving ? "given to another shard" : "stopped");
    cp_partition_move(p, CP_PARTITION_STOPPING);
    sy_timer_stop(p->loop, &p->reopen);
    cp_operators_close_all(p, SY_CODE_UNAVAILABLE, p->reason.text);
    cp_watch_detach_all(p);
    cp_touch(p);
}

void cp_partition_stop(struct cp_partition *p, sy_fn done, void *ctx)
{
    begin_stop(p, false, done, ctx);
}

static void tell_when_stopped(struct cp_partition *p, sy_fn done, void *ctx)
{
    if (p->on_stopped)
        return; /* whoever stops or gives it is told */
    p->on_stopped = done;
    p->stopped_ctx = ctx;
}

void cp_partition_give(struct cp_partition *p, sy_fn done, void *ctx)
{
    SY_ASSERT(cp_state(p) != CP_PARTITION_AWAY);
    if (cp_state(p) == CP_PARTITION_STOPPING)
        tell_when_stopped(p, done, ctx); /* it was abandoned, and is being closed */
    else
        begin_stop(p, true, done, ctx);
}

void cp_partition_take(struct cp_partition *p, uint32_t epoch_min)
{
    SY_ASSERT(cp_state(p) == CP_PARTITION_AWAY);
    p->epoch_min = epoch_min;
    p->failures = 0;
    sy_error_text_set(&p->reason, "partition %u is being opened", p->options.partition);
    cp_partition_move(p, CP_PARTITION_OPENING);
    sy_timer_start_in(p->loop, &p->reopen, 0);
}

bool cp_partition_abandon(struct cp_partition *p, const char *why, sy_fn done, void *ctx)
{
    SY_ASSERT(is_ours(p));
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_UNAVAILABLE, "%s; try again", why);
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_ABANDONED,
           SY_U64("partition", p->options.partition), SY_STR("reason", why));
    sy_timer_stop(p->loop, &p->reopen);
    p->failing = 0;
    bool stopping = cp_state(p) == CP_PARTITION_STOPPING;
    if (!stopping)
        begin_stop(p, true, NULL, NULL);
    p->reason_code = -ESHUTDOWN;
    sy_error_text_set(&p->reason, "%s", why);
    take_down(p, &status);
    bool closed = p->closing == NULL && cp_close_store(p);
    if (closed && !stopping) {
        stopped(p);
        return true;
    }
    tell_when_stopped(p, done, ctx);
    cp_touch(p); /* the end of a turn ends the stop */
    return false;
}

void cp_abandon_lapsed(struct cp_partition *p)
{
    say_lapsed(p);
    struct sy_error_text why = p->reason;
    (void)cp_partition_abandon(p, why.text, NULL, NULL);
}

/* ---- reading ---- */

uint32_t cp_partition_of(const struct cp_partition *p, uint64_t hash)
{
    const struct cp_ranges_now *ranges = p->options.ranges;
    return ranges != NULL ? cp_ranges_find(cp_ranges_get(ranges), hash) : p->options.partition;
}

bool cp_partition_away(const struct cp_partition *p)
{
    return cp_state(p) == CP_PARTITION_AWAY;
}

bool cp_partition_ours(const struct cp_partition *p)
{
    return is_ours(p) && !cp_lapsed(p);
}

int64_t cp_partition_disk_waited_ns(const struct cp_partition *p)
{
    bool waits = p->closing || (p->store && cp_store_committing(p->store));
    return waits ? sy_loop_now_ns(p->loop) - p->disk_since_ns : 0;
}

bool cp_partition_tried(const struct cp_partition *p)
{
    return cp_state(p) == CP_PARTITION_WAITING || cp_state(p) == CP_PARTITION_FAILED;
}

bool cp_partition_serving(const struct cp_partition *p)
{
    return cp_state(p) == CP_PARTITION_SERVING;
}

const char *cp_partition_state_word(const struct cp_partition *p)
{
    static const char *const words[CP_PARTITION_STATES] = {
        [CP_PARTITION_OPENING] = "opening",  [CP_PARTITION_CLAIMING] = "opening",
        [CP_PARTITION_SERVING] = "serving",  [CP_PARTITION_WAITING] = "reopening",
        [CP_PARTITION_FAILED] = "failed",    [CP_PARTITION_STOPPING] = "stopping",
        [CP_PARTITION_STOPPED] = "stopping", [CP_PARTITION_AWAY] = "away",
    };
    SY_ASSERT(words[cp_state(p)]);
    return words[cp_state(p)];
}

const char *cp_partition_reason(const struct cp_partition *p)
{
    return cp_partition_serving(p) ? "" : p->reason.text;
}

uint32_t cp_partition_epoch(const struct cp_partition *p)
{
    return p->epoch;
}

uint64_t cp_partition_commits(const struct cp_partition *p)
{
    return p->commits;
}

struct cp_store_source *cp_partition_source(struct cp_partition *p)
{
    return cp_partition_serving(p) ? cp_store_source(p->store) : NULL;
}

struct sch_partition_counts cp_partition_counts(struct cp_partition *p)
{
    return p->core ? sch_partition_counts(p->core) : (struct sch_partition_counts){0};
}

void cp_partition_check(const struct cp_partition *p)
{
    if (p->core != NULL)
        sch_partition_check(p->core);
}

struct sch_partition *cp_partition_core(struct cp_partition *p)
{
    return cp_partition_serving(p) ? p->core : NULL;
}

bool cp_partition_settled(const struct cp_partition *p)
{
    return cp_partition_serving(p) && !p->failing && !p->sealed && p->open->rows &&
           cp_batch_count(p->open->rows) == 0 && p->open->chunk_count == 0 &&
           p->open->item_count == 0;
}
