#include "agent/agent_impl.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES ((size_t)1 << 30)
#define STARTED_DELAY_DEFAULT_NS (20 * SY_NS_PER_MS)
#define STOP_CANCEL_NS (15 * SY_NS_PER_S) /* after the grace: for cancelled attempts to end */
#define STOP_ACK_NS (2 * SY_NS_PER_S)     /* then: for outcomes to be acknowledged */

/* First what must be safe, then what depends on it. */
static void on_turn_end(void *arg)
{
    struct ag_agent *agent = arg;
    struct ag_executor *executor = agent->ports.executor;
    ag_proofs_look(agent);
    if (agent->admit_due)
        ag_admit(agent);
    int r = agent->ports.journal->ops->flush(agent->ports.journal);
    (void)r; /* the journal has logged it; what it could not write goes with the next turn */
    executor->ops->flush(executor);
    ag_stream_send(agent);
}

/* ---- what an earlier agent left ---- */

struct left_overs {
    struct ag_agent *agent;
    struct ag_attempt_key *running;
    size_t count, cap;
};

static void on_running(void *ctx, const struct ag_attempt_key *key)
{
    struct left_overs *left = ctx;
    if (left->count == left->cap) {
        left->cap = left->cap ? left->cap * 2 : 64;
        left->running = sy_realloc(left->running, left->cap * sizeof(*left->running));
    }
    left->running[left->count++] = *key;
}

static void on_outcome(void *ctx, const struct ag_attempt_key *key, struct sy_span outcome)
{
    const struct left_overs *left = ctx;
    ag_report_kept(left->agent, key, outcome);
}

static void take_over(struct ag_agent *agent)
{
    struct left_overs left = {.agent = agent};
    struct ag_journal_visitor visitor = {
        .on_running = on_running, .on_outcome = on_outcome, .ctx = &left};
    agent->ports.journal->ops->replay(agent->ports.journal, &visitor);
    for (size_t i = 0; i < left.count; i++) /* the journal is written to: not while it is read */
        ag_report_left_over(agent, &left.running[i], left.count == 1);
    if (left.count > 0)
        sy_log(agent->ports.log, &ag_events, AG_EV_LEFT_OVER, SY_U64("attempts", left.count));
    free(left.running);
}

/* ---- life ---- */

int ag_agent_new(struct ag_agent **ret_agent, const struct ag_agent_options *options,
                 const struct ag_agent_ports *ports, struct sy_error_text *error)
{
    if (options->environment_count > AG_ROOM_ENVIRONMENTS_MAX) {
        sy_error_text_set(error, "%zu environments, at most %d are allowed",
                          options->environment_count, AG_ROOM_ENVIRONMENTS_MAX);
        return -EINVAL;
    }
    struct ag_agent *agent = sy_new(struct ag_agent);
    agent->ports = *ports;
    agent->node = sy_strdup(options->node);
    agent->boot_id = sy_strdup(options->boot_id);
    agent->address = sy_strdup(options->address ? options->address : "");
    agent->bearer = options->bearer;
    agent->inline_bytes_max = options->inline_bytes_max;
    agent->started_report_delay_ns = options->started_report_delay_ns
                                         ? options->started_report_delay_ns
                                         : STARTED_DELAY_DEFAULT_NS;
    sy_rng_init(&agent->rng, ports->seed);
    sy_rng_name(&agent->rng, agent->session, 16);
    agent->next_call = sy_rng_u64(&agent->rng) >> 1; /* not the numbers of an earlier agent */
    sy_arena_init(&agent->arena, ARENA_BYTES);
    agent->slice_names = options->slice_names;
    ag_room_init(&agent->room, &options->capacity, options->traits, options->gpu_groups,
                 options->environments, options->environment_count);
    sy_timer_init(&agent->start_timer, ag_report_start_timer, agent);
    sy_timer_init(&agent->admit_timer, ag_admit_timer, agent);
    ag_proofs_init(agent);
    ports->executor->ops->bind(ports->executor, &ag_report_events, agent);
    if (ports->logs != NULL)
        ag_logs_bind(ports->logs, ag_relay_chunk, agent);
    take_over(agent);
    const char *one[] = {options->operator_target, NULL};
    ag_stream_init(agent, options->operators != NULL ? options->operators : one);
    agent->turn_end = (struct sy_turn_end){.fn = on_turn_end, .arg = agent};
    sy_loop_add_turn_end(ports->loop, &agent->turn_end);
    *ret_agent = agent;
    return 0;
}

static void free_tables(struct ag_agent *agent)
{
    SY_MAP_EACH(&agent->by_key, at, next)
    {
        ag_attempt_free(agent, sy_map_entry(at, struct ag_attempt, by_key));
    }
    SY_MAP_EACH(&agent->specs, at, next)
    {
        ag_spec_drop(agent, sy_map_entry(at, struct ag_spec_entry, link));
    }
    SY_MAP_EACH(&agent->epochs, at, next)
    {
        free(sy_map_entry(at, struct ag_epoch, link));
    }
    ag_proofs_deinit(agent);
    SY_ASSERT(agent->calls.count == 0); /* each went with its attempt */
    sy_map_deinit(&agent->by_key);
    sy_map_deinit(&agent->by_id);
    sy_map_deinit(&agent->specs);
    sy_map_deinit(&agent->epochs);
    sy_map_deinit(&agent->calls);
    while (agent->classes != NULL) {
        struct ag_class *class = agent->classes;
        agent->classes = class->next;
        free(class);
    }
}

void ag_agent_free(struct ag_agent *agent)
{
    if (agent == NULL)
        return;
    sy_loop_remove_turn_end(agent->ports.loop, &agent->turn_end);
    sy_timer_stop(agent->ports.loop, &agent->start_timer);
    sy_timer_stop(agent->ports.loop, &agent->admit_timer);
    if (agent->stopping)
        sy_timer_stop(agent->ports.loop, &agent->stop_timer);
    ag_stream_deinit(agent);
    if (agent->ports.logs != NULL)
        ag_logs_bind(agent->ports.logs, NULL, NULL);
    free_tables(agent);
    sy_arena_deinit(&agent->arena);
    free(agent->node);
    free(agent->boot_id);
    free(agent->address);
    free(agent);
}

/* ---- stop ---- */

void ag_agent_return_waiting(struct ag_agent *agent, const char *reason)
{
    SY_MAP_EACH(&agent->by_key, at, next)
    {
        struct ag_attempt *a = sy_map_entry(at, struct ag_attempt, by_key);
        if (a->sm.state > AG_ATTEMPT_WAITING)
            continue;
        if (a->sm.state == AG_ATTEMPT_WAITING)
            ag_admit_withdraw(agent, a);
        ag_stream_return(agent, &a->key, reason);
        ag_attempt_move(agent, a, AG_ATTEMPT_RETURNED);
        ag_attempt_free(agent, a);
    }
}

static void cancel_running(struct ag_agent *agent)
{
    struct ag_executor *executor = agent->ports.executor;
    SY_MAP_EACH(&agent->by_key, at, next)
    {
        struct ag_attempt *a = sy_map_entry(at, struct ag_attempt, by_key);
        if (a->sm.state == AG_ATTEMPT_RUNNING)
            executor->ops->cancel(executor, a->id, "the node is stopping");
    }
}

static void on_stop_timer(void *arg)
{
    struct ag_agent *agent = arg;
    int64_t now_ns = sy_loop_now_ns(agent->ports.loop);
    if (agent->unfinished > 0 && now_ns >= agent->stop_cancel_ns && !agent->cancelled_rest) {
        agent->cancelled_rest = true;
        cancel_running(agent);
    }
    if (agent->unfinished > 0 && now_ns < agent->stop_cancel_ns + STOP_CANCEL_NS) {
        sy_timer_start_in(agent->ports.loop, &agent->stop_timer, 10 * SY_NS_PER_MS);
        return;
    }
    if (agent->stop_end_ns == 0)
        agent->stop_end_ns = now_ns + STOP_ACK_NS;
    bool told = ag_stream_idle(agent) && (agent->link != AG_LINK_UP || agent->sent.first == NULL);
    if (!told && now_ns < agent->stop_end_ns) {
        sy_timer_start_in(agent->ports.loop, &agent->stop_timer, 10 * SY_NS_PER_MS);
        return;
    }
    ag_stream_close(agent);
    agent->stop_done(agent->stop_ctx);
}

void ag_agent_stop(struct ag_agent *agent, int64_t grace_ns, sy_fn done, void *ctx)
{
    SY_ASSERT(!agent->stopping);
    sy_log(agent->ports.log, &ag_events, AG_EV_STOPPING, SY_U64("running", agent->unfinished));
    agent->stopping = true;
    agent->stop_done = done;
    agent->stop_ctx = ctx;
    agent->stop_cancel_ns = sy_loop_now_ns(agent->ports.loop) + grace_ns;
    ag_agent_return_waiting(agent, "the node is stopping");
    sy_timer_init(&agent->stop_timer, on_stop_timer, agent);
    sy_timer_start_in(agent->ports.loop, &agent->stop_timer, 0);
}
