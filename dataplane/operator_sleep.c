/*
 * core-sleep: a task that only waits. Its duration lies in the cluster's storage and needs neither
 * a process nor a node, so the operator carries it out itself. To the core it is one more node,
 * DP_OWN_NODE, which has nothing but slots of the environment DP_SLEEP_ENVIRONMENT: placement,
 * grants, cancels, outcomes that are kept until acknowledged, all of that is the core's as for any
 * node.
 *
 * Sleeps die with the operator: its successor's inventory lacks them, so their partitions take them
 * for lost and have them slept again, which uses none of the task's retries.
 */
#include "base/mem.h"
#include "dataplane/operator_impl.h"
#include "dataplane/sleep_input.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES_MAX ((size_t)64 << 10)
#define SLOTS 65536u
/* Of struct sch_attempt_key, without the padding behind it. */
#define KEY_BYTES (offsetof(struct sch_attempt_key, epoch) + sizeof(uint32_t))

#define KIND(name) SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_##name
#define FAULT(name) SWITCHYARD__INTERNAL__ERROR_KIND__ERROR_KIND_##name

/*   READING (its input) --> SLEEPING --> gone
 *      |       |               |           ^  ^
 *      |       +---------------|-----------+  |   nothing to wait for
 *      +--> CANCELLED <--------+              |
 *              +-- told in a later turn ------+
 */
enum sleep_state { SLEEP_READING, SLEEP_SLEEPING, SLEEP_CANCELLED, SLEEP_STATES };

static const struct sm_table sleep_table = {
    .name = "sleep",
    .states =
        (const struct sm_state[]){
            [SLEEP_READING] = {.name = "reading",
                               .next = SM_BIT(SLEEP_SLEEPING) | SM_BIT(SLEEP_CANCELLED),
                               .initial = true},
            [SLEEP_SLEEPING] = {.name = "sleeping", .next = SM_BIT(SLEEP_CANCELLED)},
            [SLEEP_CANCELLED] = {.name = "cancelled", .next = 0},
        },
    .count = SLEEP_STATES,
};

struct sleep {
    struct dp_sleeps *sleeps;
    struct sch_attempt_key key;
    struct sm sm;
    struct sy_timer timer; /* the end */
    int64_t timeout_ns, started_ns;
    bool timed_out;      /* its time limit cuts it off */
    char *cancel_reason; /* CANCELLED */
    UT_hash_handle hh;   /* by key */
};

struct dp_sleeps {
    struct dp_operator *op;
    struct sy_blobs *blobs; /* on the operator's loop: small files are read, none is synced */
    struct sleep *by_key;
};

/* ---- what the core is told ---- */

static void sleep_free(struct sleep *sleep)
{
    struct dp_sleeps *sleeps = sleep->sleeps;
    sy_timer_stop(sleeps->op->loop, &sleep->timer);
    HASH_DEL(sleeps->by_key, sleep);
    free(sleep->cancel_reason);
    free(sleep);
}

static void tell_started(const struct sleep *sleep)
{
    struct sch_op_event event = {.type = SCH_OP_STARTED};
    event.u.report.node = DP_OWN_NODE;
    event.u.report.key = sleep->key;
    event.u.report.started_ns = sleep->started_ns;
    dp_step(sleep->sleeps->op, &event);
}

/* An Outcome; `code` NULL: it succeeded. */
static void tell_outcome(const struct sleep *sleep, uint64_t kind, uint64_t fault, const char *code,
                         const char *message)
{
    struct dp_operator *op = sleep->sleeps->op;
    struct sy_buf *record = dp_scratch_key(op, &sleep->key);
    dp_wire_put_u64(record, 5, kind);
    if (code) {
        dp_wire_put_text(record, 8, code);
        dp_wire_put_text(record, 9, message);
    }
    dp_wire_put_u64(record, 10, (uint64_t)sleep->started_ns);
    dp_wire_put_u64(record, 11, (uint64_t)sy_loop_realtime_ns(op->loop));
    dp_wire_put_text(record, 12, DP_OWN_NODE);
    dp_wire_put_u64(record, 15, fault);
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = DP_OWN_NODE;
    event.u.report.key = sleep->key;
    event.u.report.started_ns = sleep->started_ns;
    event.u.report.blob = dp_outcome_blob(sy_buf_span(record));
    dp_step(op, &event);
}

/* ---- a sleep ---- */

static void wake(struct sleep *sleep)
{
    if (sleep->sm.state == SLEEP_CANCELLED)
        tell_outcome(sleep, KIND(CANCELLED), FAULT(UNKNOWN), "Cancelled", sleep->cancel_reason);
    else if (sleep->timed_out)
        tell_outcome(sleep, KIND(TIMED_OUT), FAULT(USER), "TimedOut",
                     "it ran longer than its time limit");
    else
        tell_outcome(sleep, KIND(SUCCEEDED), FAULT(UNKNOWN), NULL, NULL);
    sleep_free(sleep);
}

static void on_timer(void *arg)
{
    struct sleep *sleep = arg;
    dp_touch(sleep->sleeps->op);
    wake(sleep);
}

static void fall_asleep(struct sleep *sleep, int64_t ns)
{
    struct sy_loop *loop = sleep->sleeps->op->loop;
    sleep->started_ns = sy_loop_realtime_ns(loop);
    if (ns == 0) { /* its outcome says when it started */
        wake(sleep);
        return;
    }
    sm_move(&sleep->sm, &sleep_table, SLEEP_SLEEPING, sleep);
    sleep->timed_out = sleep->timeout_ns > 0 && ns > sleep->timeout_ns;
    sy_timer_start_in(loop, &sleep->timer, sleep->timed_out ? sleep->timeout_ns : ns);
    tell_started(sleep);
}

static void fail(struct sleep *sleep, uint64_t kind, uint64_t fault, const char *code,
                 const char *message)
{
    tell_outcome(sleep, kind, fault, code, message);
    sleep_free(sleep);
}

static void on_input(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct sleep *sleep = ctx;
    struct sy_error_text text = {0};
    int64_t ns = 0;
    dp_touch(sleep->sleeps->op);
    if (sleep->sm.state == SLEEP_CANCELLED)
        wake(sleep);
    else if (r < 0)
        fail(sleep, KIND(REFUSED), FAULT(SYSTEM), "InputNotRead", error->text);
    else if (dp_sleep_read(bytes, &ns, &text) < 0)
        fail(sleep, KIND(FAILED_FINAL), FAULT(USER), "BadInput", text.text);
    else
        fall_asleep(sleep, ns);
}

/* ---- for operator_effects.c: inside of a step ---- */

/* Of an Assignment that was checked when it came. */
static char *read_assignment(struct sy_span record, int64_t *ret_timeout_ns)
{
    struct dp_wire_field field;
    struct sy_span uri = {0};
    while (dp_wire_next(&record, &field) == 0) {
        if (field.number == 10 && field.type == DP_WIRE_BYTES)
            uri = field.bytes;
        else if (field.number == 11 && field.type == DP_WIRE_VARINT)
            *ret_timeout_ns = (int64_t)field.value;
    }
    return sy_strndup((const char *)uri.data, uri.len);
}

void dp_sleep_assign(struct dp_sleeps *sleeps, const struct sch_attempt_key *key,
                     struct sy_span record)
{
    struct sleep *sleep = sy_new(struct sleep);
    sleep->sleeps = sleeps;
    sleep->key = *key;
    sm_init(&sleep->sm, &sleep_table, SLEEP_READING);
    sy_timer_init(&sleep->timer, on_timer, sleep);
    HASH_ADD(hh, sleeps->by_key, key, KEY_BYTES, sleep);
    SY_AUTOFREE char *uri = read_assignment(record, &sleep->timeout_ns);
    sy_blob_get(sleeps->blobs, uri, INPUT_BYTES_MAX, on_input, sleep);
}

void dp_sleep_cancel(struct dp_sleeps *sleeps, const struct sch_attempt_key *key,
                     const char *reason)
{
    struct sleep *sleep;
    HASH_FIND(hh, sleeps->by_key, key, KEY_BYTES, sleep);
    if (!sleep || sleep->sm.state == SLEEP_CANCELLED)
        return;
    sleep->cancel_reason = sy_strdup(reason);
    if (sleep->sm.state == SLEEP_SLEEPING)
        sy_timer_start_in(sleeps->op->loop, &sleep->timer, 0);
    sm_move(&sleep->sm, &sleep_table, SLEEP_CANCELLED, sleep);
}

/* ---- for operator.c ---- */

/* As an agent says hello. */
static void join(struct dp_operator *op)
{
    struct sch_environment environment = {.name = DP_SLEEP_ENVIRONMENT, .slots = SLOTS};
    struct sch_op_event up = {.type = SCH_OP_NODE_UP};
    up.u.node.name = DP_OWN_NODE;
    up.u.node.environments = &environment;
    up.u.node.environment_count = 1;
    dp_step(op, &up);
    struct sch_op_event complete = {.type = SCH_OP_NODE_INVENTORY_COMPLETE};
    complete.u.node.name = DP_OWN_NODE;
    dp_step(op, &complete);
}

int dp_sleeps_new(struct dp_sleeps **ret, struct dp_operator *op,
                  const struct sy_blob_options *storage, struct sy_error_text *error)
{
    struct sy_blobs *blobs;
    int r = sy_blobs_new(&blobs, op->loop, storage, error);
    if (r < 0)
        return r;
    struct dp_sleeps *sleeps = sy_new(struct dp_sleeps);
    sleeps->op = op;
    sleeps->blobs = blobs;
    *ret = sleeps;
    join(op);
    return 0;
}

void dp_sleeps_free(struct dp_sleeps *sleeps)
{
    if (!sleeps)
        return;
    sy_blobs_free(sleeps->blobs); /* nothing comes back from there any more */
    struct sleep *sleep = NULL, *next = NULL;
    HASH_ITER(hh, sleeps->by_key, sleep, next)
    {
        sleep_free(sleep);
    }
    free(sleeps);
}
