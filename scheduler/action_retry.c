/*
 * What follows the end of an attempt: by its outcome another one, at once or after a back-off, or
 * the end of the action; and what a timer says of one that waits.
 */
#include "scheduler/action_impl.h"
#include "scheduler/partition_drain.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_route.h"

const char *sch_retry_code(const char *message, const struct sch_report *report)
{
    if (report && report->outcome == SCH_OUTCOME_PREEMPTED)
        return "Preempted";
    return message ? "Lost" : NULL;
}

/* The attempt has ended without ending the action. The next one has so much memory; 0: the same. */
static void retry(struct sch_partition *p, struct sch_action_impl *a, int64_t delay_ns, bool front,
                  uint64_t memory_bytes, const char *message, const struct sch_report *report)
{
    if (sch_action_gang_of(a)) {
        sch_gang_retry(p, a, delay_ns, front, memory_bytes, message, report);
        return;
    }
    sch_action_detach(p, a);
    a->base.queued_at_ns = p->now_ns + delay_ns;
    sch_action_move(p, a, delay_ns > 0 ? SCH_ACTION_BACKOFF : sch_gate_next(a));
    if (memory_bytes > 0)
        sch_action_change_memory(p, a, memory_bytes);
    sch_action_end_attempt(a);
    const struct sch_cluster *cluster = sy_take(a->base.cluster);
    sch_effect_add(p, SCH_EFFECT_UPDATED)->u.action = &a->base;
    struct sch_effect *event = sch_action_event(p, a, sch_retry_code(message, report), message,
                                                report);
    event->u.event.tried = sch_action_attempt(&a->base);
    event->u.event.tried_on = cluster ? sch_cluster_name(cluster) : "";
    if (delay_ns == 0)
        sch_action_place(p, a, front);
}

/* min(first * factor^n, max) in integers: a float of another machine might round otherwise. */
static int64_t backoff_ns(int64_t first_ns, uint32_t factor_milli, unsigned n, int64_t max_ns)
{
    SY_ASSERT(first_ns >= 0 && max_ns > 0 && max_ns <= SCH_USER_BACKOFF_MAX_NS);
    int64_t delay = first_ns < max_ns ? first_ns : max_ns;
    int64_t factor = factor_milli < 1000 ? 1000 : factor_milli;
    for (; n > 0 && factor > 1000 && delay > 0 && delay < max_ns; n--) {
        int64_t whole = delay / 1000, rest = delay % 1000; /* no overflow: delay < 2^47 */
        if (whole > max_ns / factor)
            return max_ns;
        delay = whole * factor + rest * factor / 1000;
        delay = delay < max_ns ? delay : max_ns;
    }
    return delay;
}

static void count_failure(uint16_t *failures)
{
    if (*failures < UINT16_MAX)
        ++*failures;
}

/* A node that cannot start it (no such library, no such environment) is rarely cured by trying
 * again: each refusal takes more than half of the budget, so that a second node gets a try, and no
 * third. */
static void count_refusal(const struct sch_partition *p, struct sch_action_impl *a)
{
    for (uint32_t i = 0; i < p->options.system_retries / 2; i++)
        count_failure(&a->base.system_failures);
}

/* What is in no gang may. */
static bool gang_may_restart(const struct sch_action_impl *a)
{
    const struct sch_gang *gang = sch_action_gang_of(a);
    return !gang || sch_gang_may_restart(gang);
}

void sch_action_lost(struct sch_partition *p, struct sch_action_impl *a, const char *message,
                     const struct sch_report *report)
{
    if (!gang_may_restart(a)) {
        sch_action_end(p, a, SCH_ACTION_FAILED, "Lost", message, report);
        return;
    }
    count_failure(&a->base.system_failures);
    unsigned failures = a->base.system_failures;
    if (failures > p->options.system_retries || failures == UINT16_MAX) {
        sch_action_end(p, a, SCH_ACTION_FAILED, "SystemRetriesExhausted", message, report);
        return;
    }
    int64_t delay = failures < 2 ? 0
                                 : backoff_ns(SCH_SYSTEM_BACKOFF_NS, 2000, failures - 2,
                                              SCH_SYSTEM_BACKOFF_MAX_NS);
    retry(p, a, delay, true, 0, message, report);
}

static void user_failure(struct sch_partition *p, struct sch_action_impl *a,
                         enum sch_action_state when_exhausted, const struct sch_report *report)
{
    count_failure(&a->base.user_failures);
    unsigned failures = a->base.user_failures;
    if (failures > a->base.spec->retries || failures == UINT16_MAX || !gang_may_restart(a)) {
        sch_action_end(p, a, when_exhausted, NULL, NULL, report);
        return;
    }
    const struct sch_spec *spec = a->base.spec;
    bool capped = spec->backoff_cap_ns > 0 && spec->backoff_cap_ns < SCH_USER_BACKOFF_MAX_NS;
    int64_t delay = backoff_ns(spec->backoff_ns, spec->backoff_factor_milli, failures - 1,
                               capped ? spec->backoff_cap_ns : SCH_USER_BACKOFF_MAX_NS);
    retry(p, a, delay, false, 0, NULL, report);
}

/* How much the next attempt gets after one ran out of memory; 0: there is no more for it. */
static uint64_t more_memory(struct sch_partition *p, const struct sch_action_impl *a)
{
    const struct sch_spec *spec = a->base.spec;
    struct sch_resources request = sch_action_class(a)->request;
    uint64_t most = spec->oom_memory_bytes_max, now = request.memory_bytes;
    if (now == 0 || now >= most)
        return 0;
    uint32_t factor = spec->oom_factor_milli < 1100 ? 1100 : spec->oom_factor_milli;
    double more = (double)now * factor / 1000;
    request.memory_bytes = more < (double)most ? (uint64_t)more : most;
    const struct sch_class *class = sch_action_class(a);
    return sch_is_runnable(p, &request, &class->gang, class->rule) ? request.memory_bytes : 0;
}

static void out_of_memory(struct sch_partition *p, struct sch_action_impl *a,
                          const struct sch_report *report)
{
    uint64_t memory_bytes = gang_may_restart(a) ? more_memory(p, a) : 0;
    if (memory_bytes > 0)
        retry(p, a, 0, true, memory_bytes, NULL, report);
    else
        user_failure(p, a, SCH_ACTION_FAILED, report);
}

/* What the cluster did with it: a task's own error is no fault of its cluster. Nor are the later
 * losses of a suspect: one that kills its workers counts once, many of a class count. */
static void note_cluster(struct sch_partition *p, const struct sch_action_impl *a,
                         enum sch_outcome outcome)
{
    bool lost = outcome == SCH_OUTCOME_LOST, fault = lost || outcome == SCH_OUTCOME_REFUSED;
    if (a->base.cluster && !(lost && a->base.suspect))
        sch_pair_report(p, sch_action_class(a), a->base.cluster, !fault);
}

/* Only what ran alone in what died is counted: others that ran there are suspects, and run in
 * workers of their own from then on. */
static void lost_there(struct sch_partition *p, struct sch_action_impl *a,
                       const struct sch_report *report)
{
    uint32_t most = p->options.worker_deaths_max;
    a->base.suspect |= report->death != SCH_DEATH_NONE;
    if (report->death == SCH_DEATH_ALONE && a->base.deaths < UINT8_MAX)
        a->base.deaths++;
    if (report->death == SCH_DEATH_ALONE && most > 0 && a->base.deaths >= most) {
        count_failure(&a->base.system_failures);
        sch_action_end(p, a, SCH_ACTION_FAILED, "PoisonTask",
                       "what it ran in died under it, and nothing else ran there", report);
        return;
    }
    sch_action_lost(p, a, "its worker or node died under it", report);
}

/* A gang is granted by a cluster whatever the room is for: it would be back before those for whom
 * it was stopped. A cluster that is drained takes none back. */
static int64_t preempted_ns(const struct sch_partition *p, const struct sch_action_impl *a)
{
    int64_t wait_ns = 2 * p->options.reclaim_delay_ns;
    if (!sch_action_gang_of(a) || wait_ns == 0 || a->base.cluster->stops)
        return 0;
    return wait_ns > SY_NS_PER_S ? wait_ns : SY_NS_PER_S;
}

void sch_action_outcome(struct sch_partition *p, struct sch_action_impl *a,
                        const struct sch_report *report)
{
    SY_ASSERT(a->lane && a->base.number == report->number);
    note_cluster(p, a, report->outcome);
    switch (report->outcome) {
    case SCH_OUTCOME_SUCCEEDED:
        sch_action_end(p, a, SCH_ACTION_SUCCEEDED, NULL, NULL, report);
        break;
    case SCH_OUTCOME_OUT_OF_MEMORY:
        out_of_memory(p, a, report);
        break;
    case SCH_OUTCOME_FAILED:
        user_failure(p, a, SCH_ACTION_FAILED, report);
        break;
    case SCH_OUTCOME_FAILED_FINAL:
        count_failure(&a->base.user_failures);
        sch_action_end(p, a, SCH_ACTION_FAILED, NULL, NULL, report);
        break;
    case SCH_OUTCOME_TIMED_OUT:
        user_failure(p, a, SCH_ACTION_TIMED_OUT, report);
        break;
    case SCH_OUTCOME_PREEMPTED:
        a->base.cluster->preempted++;
        if (gang_may_restart(a))
            retry(p, a, preempted_ns(p, a), true, 0, sch_preempted_why(a->base.cluster), report);
        else
            sch_action_lost(p, a, sch_preempted_why(a->base.cluster), report);
        break;
    case SCH_OUTCOME_REFUSED:
        count_refusal(p, a);
        sch_action_lost(p, a, "the node could not start it", report);
        break;
    case SCH_OUTCOME_CANCELLED: /* somebody else stopped it: we did not ask */
        sch_action_lost(p, a, "the attempt was stopped on its node", report);
        break;
    case SCH_OUTCOME_LOST:
    default: /* a kind from a newer operator: not an answer, so try again */
        lost_there(p, a, report);
        break;
    }
}

void sch_action_returned(struct sch_partition *p, struct sch_action_impl *a)
{
    SY_ASSERT(sch_action_state(a) == SCH_ACTION_ASSIGNED);
    if (sch_action_gang_of(a)) {
        sch_gang_returned(p, a);
        return;
    }
    sch_action_detach(p, a);
    sch_action_move(p, a, SCH_ACTION_QUEUED);
    a->base.ended = a->base.number; /* and attempts stays: nobody saw it */
    a->base.cluster = NULL;
    sch_action_out_changed(p, a);
    sch_action_place(p, a, true);
}

static const char *waits_for(enum sch_action_state state)
{
    if (state == SCH_ACTION_HELD)
        return "the limit of its run's concurrency left no room in time";
    if (state == SCH_ACTION_CACHE_WAIT)
        return "the action with the same cache key did not end in time";
    return "no room came in time";
}

void sch_action_timer(struct sch_partition *p, struct sch_action_impl *a)
{
    enum sch_action_state state = sch_action_state(a);
    SY_ASSERT(sch_heap_has(&a->timer));
    if (a->rare && a->rare->end_ns <= p->now_ns) {
        bool condition = state == SCH_ACTION_PAUSED;
        sch_action_end(p, a, SCH_ACTION_TIMED_OUT,
                       condition ? "ConditionTimeout" : "DeadlineExceeded",
                       condition ? "no signal came in time" : "its deadline has passed", NULL);
        return;
    }
    if (state != SCH_ACTION_BACKOFF) {
        sch_action_end(p, a, SCH_ACTION_TIMED_OUT, "QueuedTimeout", waits_for(state), NULL);
        return;
    }
    if (sch_action_gang_of(a)) {
        sch_gang_again(p, a);
        return;
    }
    sch_action_detach(p, a);
    a->base.queued_at_ns = p->now_ns;
    sch_action_move(p, a, sch_gate_next(a));
    sch_action_event(p, a, NULL, NULL, NULL);
    sch_action_place(p, a, false);
}
