/* links: sch */
/*
 * Every (state, event) pair of the action and of the attempt. A row is a state, a column an event
 * that concerns it; a cell is the state after. The checkers walk the whole core after each.
 */
#include "base/mem.h"
#include "scheduler/operator_impl.h"
#include "scheduler/partition_impl.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

/* ---- the action ---- */

#define EPOCH 5u
#define LEASE (15 * SY_NS_PER_S)

/* Where an action may be, and where it may go. */
enum place { QUE, ASG, RUN, BCK, REC, GRP, PAU, HLD, CAW, GWT, SUC, FAI, ABO, TIM, PLACES };
_Static_assert((int)QUE == SCH_ACTION_QUEUED && (int)TIM == SCH_ACTION_TIMED_OUT &&
                   (int)PLACES == SCH_ACTION_STATES,
               "the same order");

enum action_event {
    A_CREATE,  /* another run */
    A_ENQUEUE, /* a child */
    A_RECORD,  /* a child */
    A_CONDITION,
    A_INSTANT, /* a child */
    A_SEAL,
    A_ABORT,
    A_UP, /* new shapes */
    A_DOWN,
    A_GONE,      /* and its lease has passed */
    A_REOPEN,    /* down, up, empty inventory, complete */
    A_RECONNECT, /* down, up, named by the inventory, complete */
    A_STALE,     /* an older attempt is named */
    A_COMPLETE,
    A_GRANT,
    A_STARTED,
    A_SUCCEEDED,
    A_FAILED,
    A_FINAL,
    A_OOM,
    A_TIMED_OUT,
    A_CANCELLED,
    A_LOST,
    A_REFUSED,
    A_UNKNOWN,    /* an outcome that this version does not know */
    A_OLD_REPORT, /* of an attempt that has ended */
    A_RETURNED,
    A_TICK,  /* soon */
    A_LATER, /* ticks until every timer has passed */
    A_SIGNAL,
    A_OTHER_SUCCEEDS, /* the one that has the slot, or the same cache key */
    A_OTHER_FAILS,
    A_PREEMPTED,
    A_DRAINED, /* its deadline is over */
    ACTION_EVENTS,
};

/* The system budget is 1 and one loss is used; user retries: one left, with a backoff of 1 s. The
 * queue has a timeout of 1 hour, and so has the condition; the recovery waits for "east" and
 * "west". What is held or waits for another's result has a sibling before it that is queued; so has
 * what waits in a gang: its first member. "East" joins, so that an attempt has started does not
 * mean that it is still there. */
static const enum place after[10][ACTION_EVENTS] = {
    [QUE] = {QUE, QUE, QUE, QUE, QUE, QUE, ABO, QUE, QUE, QUE, QUE, QUE, QUE, QUE, ASG, QUE, QUE,
             QUE, QUE, QUE, QUE, QUE, QUE, QUE, QUE, QUE, QUE, QUE, TIM, QUE, QUE, QUE, QUE, QUE},
    [ASG] = {ASG, ASG, ASG, ASG, ASG, ASG, ABO, ASG, ASG, FAI, FAI, RUN, ASG, ASG, ASG, RUN, SUC,
             BCK, FAI, BCK, BCK, FAI, FAI, FAI, FAI, ASG, QUE, ASG, TIM, ASG, ASG, ASG, QUE, ASG},
    [RUN] = {RUN, RUN, RUN, RUN, RUN, RUN, ABO, RUN, RUN, FAI, FAI, RUN, RUN, RUN, RUN, RUN, SUC,
             BCK, FAI, BCK, BCK, FAI, FAI, FAI, FAI, RUN, FAI, RUN, RUN, RUN, RUN, RUN, QUE, RUN},
    [BCK] = {BCK, BCK, BCK, BCK, BCK, BCK, ABO, BCK, BCK, BCK, BCK, BCK, BCK, BCK, BCK, BCK, BCK,
             BCK, BCK, BCK, BCK, BCK, BCK, BCK, BCK, BCK, BCK, BCK, TIM, BCK, BCK, BCK, BCK, BCK},
    [REC] = {REC, REC, REC, REC, REC, REC, ABO, REC, REC, QUE, REC, RUN, REC, REC, REC, REC, SUC,
             BCK, FAI, BCK, BCK, FAI, FAI, FAI, FAI, REC, REC, REC, TIM, REC, REC, REC, QUE, REC},
    [GRP] = {GRP, GRP, GRP, GRP, GRP, SUC, ABO, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP,
             GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP, GRP},
    [PAU] = {PAU, PAU, PAU, PAU, PAU, PAU, ABO, PAU, PAU, PAU, PAU, PAU, PAU, PAU, PAU, PAU, PAU,
             PAU, PAU, PAU, PAU, PAU, PAU, PAU, PAU, PAU, PAU, PAU, TIM, SUC, PAU, PAU, PAU, PAU},
    [HLD] = {HLD, HLD, HLD, HLD, HLD, HLD, ABO, HLD, HLD, HLD, HLD, HLD, HLD, HLD, HLD, HLD, HLD,
             HLD, HLD, HLD, HLD, HLD, HLD, HLD, HLD, HLD, HLD, HLD, TIM, HLD, QUE, QUE, HLD, HLD},
    [CAW] = {CAW, CAW, CAW, CAW, CAW, CAW, ABO, CAW, CAW, CAW, CAW, CAW, CAW, CAW, CAW, CAW, CAW,
             CAW, CAW, CAW, CAW, CAW, CAW, CAW, CAW, CAW, CAW, CAW, TIM, CAW, SUC, QUE, CAW, CAW},
    [GWT] = {GWT, GWT, GWT, GWT, GWT, GWT, ABO, GWT, GWT, GWT, GWT, GWT, GWT, GWT, ASG, GWT, GWT,
             GWT, GWT, GWT, GWT, GWT, GWT, GWT, GWT, GWT, GWT, GWT, TIM, GWT, ASG, FAI, GWT, GWT},
};

struct actions {
    struct sch_partition *p;
    struct sch_effects fx;
    int64_t now;
    struct sch_spec spec, group;
    struct sch_action *a;
    uint32_t number, epoch; /* of the attempt that reports are about */
};

static void step(struct actions *w, struct sch_event event)
{
    event.now_ns = event.realtime_ns = w->now;
    sch_partition_step(w->p, &event, &w->fx);
    sch_partition_check(w->p);
    if (sch_partition_next_ns(w->p) != SY_TIME_NEVER)
        ck_assert_int_ge(sch_partition_next_ns(w->p), 0);
}

static const struct sch_shape shape = {.capacity = {.cpu_milli = 8000}, .nodes = 1};

static void cluster_event(struct actions *w, enum sch_event_type type, const char *name)
{
    step(w, (struct sch_event){.type = type,
                               .u.cluster = {.name = name, .shapes = &shape, .shape_count = 1}});
}

static void report_as(struct actions *w, enum sch_event_type type, int outcome, uint32_t number)
{
    step(w, (struct sch_event){.type = type,
                               .u.report = {.cluster = "east",
                                            .action_id = w->a->id,
                                            .number = number,
                                            .epoch = w->epoch,
                                            .outcome = (enum sch_outcome)outcome}});
}

static void inventory(struct actions *w, uint32_t number)
{
    step(w, (struct sch_event){.type = SCH_EVENT_INVENTORY,
                               .u.inventory = {.cluster = "east",
                                               .action_id = w->a->id,
                                               .number = number,
                                               .epoch = w->epoch,
                                               .started = true}});
}

static void grant(struct actions *w, uint64_t granted)
{
    step(w, (struct sch_event){.type = SCH_EVENT_GRANT,
                               .u.grant = {.cluster = "east", .class_id = 1, .granted = granted}});
}

static void run_for(struct actions *w, int64_t ns)
{
    int64_t until = w->now + ns, next;
    while ((next = sch_partition_next_ns(w->p)) <= until) {
        w->now = next > w->now ? next : w->now;
        step(w, (struct sch_event){.type = SCH_EVENT_TICK});
    }
    w->now = until;
}

static void recover(struct actions *w)
{
    const char *clusters[] = {"east", "west"};
    uint64_t run = (4ull << 40) | 1;
    struct sch_restore r = {.run_id = run,
                            .action_id = run + 1,
                            .name = "a0",
                            .spec = &w->spec,
                            .number = 2,
                            .system_failures = 1};
    sch_partition_restore_run(w->p, run, "p", "d", "run", 0, 9, 1, 0);
    w->a = sch_partition_restore_action(w->p, &r);
    sch_partition_restored(w->p, clusters, 2, w->now);
    w->number = 3;
    w->epoch = 4;
}

static struct sch_action *find(struct actions *w, const char *name)
{
    const struct sch_run *run = sch_partition_find_run(w->p, "p", "d", "run");
    return run ? sch_partition_find_action(w->p, run, name) : NULL;
}

static struct sch_action *child(struct actions *w, struct sch_action *parent, const char *name,
                                const uint8_t *key)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_ENQUEUE,
                .u.enqueue = {.parent = parent, .name = name, .spec = &w->spec, .cache_key = key}});
    return find(w, name);
}

static void condition(struct actions *w, struct sch_action *parent)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_CONDITION,
                .u.condition = {.parent = parent, .name = "if", .timeout_ns = 3600 * SY_NS_PER_S}});
}

static void enqueue_gang(struct actions *w, struct sch_action *parent)
{
    static const struct sch_gang_shape pair = {.size = 2};
    const struct sch_gang_member members[] = {{.name = "other", .spec = &w->spec},
                                              {.name = "it", .spec = &w->spec}};
    step(w, (struct sch_event){.type = SCH_EVENT_ENQUEUE_GANG,
                               .u.gang = {.parent = parent, .shape = &pair, .members = members}});
}

/* Below a group: the second of two children, or a condition. */
static void prepare_child(struct actions *w, enum place state)
{
    static const uint8_t key[SCH_CACHE_KEY_BYTES] = {1};
    struct sch_action *root = w->a;
    if (state == PAU) {
        condition(w, root);
        w->a = find(w, "if");
        return;
    }
    if (state == GWT) {
        enqueue_gang(w, root);
        w->a = find(w, "it");
        return;
    }
    (void)child(w, root, "other", state == CAW ? key : NULL);
    w->a = child(w, root, "it", state == CAW ? key : NULL);
}

/* Brings an action, mostly the root of a run, to the state. */
static void prepare(struct actions *w, enum place state)
{
    struct sch_partition_options options = {.epoch = EPOCH,
                                            .actions_max = 100,
                                            .system_retries = 1,
                                            .cluster_lease_ns = LEASE,
                                            .recovery_wait_ns = LEASE};
    *w = (struct actions){.now = SY_NS_PER_S, .number = 2, .epoch = EPOCH};
    w->group.group = true;
    w->spec = (struct sch_spec){.request = {.cpu_milli = 1},
                                .retries = 1,
                                .backoff_ns = 2 * LEASE,
                                .queued_timeout_ns = 3600 * SY_NS_PER_S};
    w->p = sch_partition_new(&options, w->now);
    if (state == REC) {
        recover(w);
        cluster_event(w, SCH_EVENT_CLUSTER_UP, "east");
        return;
    }
    cluster_event(w, SCH_EVENT_CLUSTER_UP, "east");
    cluster_event(w, SCH_EVENT_INVENTORY_COMPLETE, "east");
    step(w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                               .u.create = {.project = "p",
                                            .domain = "d",
                                            .name = "run",
                                            .concurrency_max = state == HLD,
                                            .spec = state >= GRP ? &w->group : &w->spec}});
    w->a = w->fx.items[1].u.created.action;
    if (state > GRP)
        prepare_child(w, state);
    if (state >= GRP)
        return;
    grant(w, 1);
    report_as(w, SCH_EVENT_OUTCOME, SCH_OUTCOME_LOST, 1);
    ck_assert_int_eq(w->a->sm.state, SCH_ACTION_QUEUED);
    if (state == QUE)
        return;
    grant(w, 2);
    if (state == RUN)
        report_as(w, SCH_EVENT_STARTED, 0, 2);
    if (state == BCK)
        report_as(w, SCH_EVENT_OUTCOME, SCH_OUTCOME_FAILED, 2);
}

static void cluster_column(struct actions *w, enum action_event event)
{
    if (event == A_UP || event == A_COMPLETE) {
        bool up = event == A_UP;
        cluster_event(w, up ? SCH_EVENT_CLUSTER_UP : SCH_EVENT_INVENTORY_COMPLETE, "east");
        return;
    }
    if (event == A_GONE)
        cluster_event(w, SCH_EVENT_CLUSTER_UP, "south"); /* so that somebody is seen */
    cluster_event(w, SCH_EVENT_CLUSTER_DOWN, "east");
    if (event == A_GONE)
        run_for(w, LEASE);
    if (event == A_DOWN || event == A_GONE)
        return;
    cluster_event(w, SCH_EVENT_CLUSTER_UP, "east");
    if (event == A_RECONNECT)
        inventory(w, w->number);
    cluster_event(w, SCH_EVENT_INVENTORY_COMPLETE, "east");
}

static void call_column(struct actions *w, enum action_event event)
{
    if (event == A_CREATE)
        step(w,
             (struct sch_event){
                 .type = SCH_EVENT_CREATE_RUN,
                 .u.create = {.project = "p", .domain = "d", .name = "other", .spec = &w->spec}});
    else if (event == A_ENQUEUE)
        step(w, (struct sch_event){.type = SCH_EVENT_ENQUEUE,
                                   .u.enqueue = {.parent = w->a, .name = "x", .spec = &w->spec}});
    else if (event == A_RECORD)
        step(w, (struct sch_event){.type = SCH_EVENT_RECORD,
                                   .u.record = {.parent = w->a, .name = "x", .failed = true}});
    else if (event == A_INSTANT)
        step(w, (struct sch_event){
                    .type = SCH_EVENT_ENQUEUE,
                    .u.enqueue = {.parent = w->a, .name = "x", .spec = &w->spec, .instant = true}});
    else if (event == A_CONDITION)
        condition(w, w->a);
    else if (event == A_SIGNAL)
        step(w, (struct sch_event){.type = SCH_EVENT_SIGNAL, .u.signal.action = w->a});
    else if (event == A_SEAL)
        step(w, (struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = w->a});
    else
        step(w, (struct sch_event){.type = SCH_EVENT_ABORT, .u.abort.action = w->a});
}

static void report_column(struct actions *w, enum action_event event)
{
    static const int outcomes[ACTION_EVENTS] = {
        [A_SUCCEEDED] = SCH_OUTCOME_SUCCEEDED, [A_FAILED] = SCH_OUTCOME_FAILED,
        [A_FINAL] = SCH_OUTCOME_FAILED_FINAL,  [A_OOM] = SCH_OUTCOME_OUT_OF_MEMORY,
        [A_TIMED_OUT] = SCH_OUTCOME_TIMED_OUT, [A_CANCELLED] = SCH_OUTCOME_CANCELLED,
        [A_LOST] = SCH_OUTCOME_LOST,           [A_REFUSED] = SCH_OUTCOME_REFUSED,
        [A_PREEMPTED] = SCH_OUTCOME_PREEMPTED, [A_UNKNOWN] = 99};
    if (event == A_STALE)
        inventory(w, w->number - 1);
    else if (event == A_STARTED)
        report_as(w, SCH_EVENT_STARTED, 0, w->number);
    else if (event == A_RETURNED)
        report_as(w, SCH_EVENT_RETURNED, 0, w->number);
    else if (event == A_OLD_REPORT)
        report_as(w, SCH_EVENT_OUTCOME, SCH_OUTCOME_SUCCEEDED, w->number - 1);
    else
        report_as(w, SCH_EVENT_OUTCOME, outcomes[event], w->number);
}

static void other_ends(struct actions *w, enum sch_outcome outcome)
{
    struct sch_action *it = w->a;
    w->a = find(w, "other");
    if (w->a) {
        grant(w, 1);
        report_as(w, SCH_EVENT_OUTCOME, (int)outcome, 1);
    }
    w->a = it;
}

static void apply(struct actions *w, enum action_event event)
{
    switch (event) {
    case A_CREATE:
    case A_ENQUEUE:
    case A_RECORD:
    case A_CONDITION:
    case A_INSTANT:
    case A_SIGNAL:
    case A_SEAL:
    case A_ABORT:
        call_column(w, event);
        break;
    case A_UP:
    case A_DOWN:
    case A_GONE:
    case A_REOPEN:
    case A_RECONNECT:
    case A_COMPLETE:
        cluster_column(w, event);
        break;
    case A_OTHER_SUCCEEDS:
    case A_OTHER_FAILS:
        other_ends(w, event == A_OTHER_SUCCEEDS ? SCH_OUTCOME_SUCCEEDED : SCH_OUTCOME_FAILED_FINAL);
        break;
    case A_DRAINED:
        step(w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                                   .u.cluster = {.name = "east",
                                                 .keep_shapes = true,
                                                 .cordoned = true,
                                                 .draining = true,
                                                 .drain_ns = w->now}});
        break;
    case A_GRANT:
        grant(w, 5);
        break;
    case A_TICK:
        run_for(w, SY_NS_PER_MS);
        break;
    case A_LATER:
        run_for(w, 7200 * SY_NS_PER_S);
        break;
    default:
        report_column(w, event);
        break;
    }
}

START_TEST(every_pair_of_the_action)
{
    for (int state = QUE; state < SUC; state++) {
        for (int event = 0; event < ACTION_EVENTS; event++) {
            struct actions w;
            prepare(&w, (enum place)state);
            ck_assert_int_eq(w.a->sm.state, state);
            struct sch_action *a = sch_action_ref(w.a);
            apply(&w, (enum action_event)event);
            enum place want = after[state][event];
            ck_assert_msg((int)want == a->sm.state, "%s, event %d: %s",
                          sch_action_table.states[state].name, event,
                          sm_name(&a->sm, &sch_action_table));
            /* And what has ended stays so, whatever comes. */
            for (int again = A_SEAL; again < ACTION_EVENTS && want >= SUC; again++)
                apply(&w, (enum action_event)again);
            ck_assert(want < SUC || (int)want == a->sm.state);
            sch_action_unref(a);
            sch_partition_free(w.p);
            sch_effects_deinit(&w.fx);
        }
    }
}
END_TEST

/* ---- the attempt ---- */

enum stage { HELD, ROOM, BACK, STAR, DONE, LOST, STAGES, GONE = STAGES };

enum attempt_event {
    B_PARTITION_UP,
    B_PARTITION_DOWN,
    B_DEMAND,
    B_ASSIGN, /* the same again */
    B_CANCEL,
    B_ACK,
    B_UP_NAMED,   /* the node's stream is replaced; its inventory names it as placed */
    B_UP_STARTED, /* as started */
    B_UP_UNNAMED,
    B_DOWN,
    B_DOWN_LONG, /* and its lease has passed */
    B_STARTED,
    B_OUTCOME,
    B_RETURNED,
    B_TICK,
    B_LATER, /* ticks for a minute */
    B_CORDON,
    B_UNCORDON,
    B_DRAIN,
    B_DRAIN_DUE, /* its deadline passes, and the agent says CANCELLED */
    B_FENCE,
    B_UNFENCE,
    B_GIVE_BACK, /* its partition asks for it */
    B_PREEMPT,   /* or stops it for now */
    ATTEMPT_EVENTS,
};

/* Another attempt has the node's only core for ever; the node's backlog is full when it is HELD. */
static const enum stage attempt_after[STAGES][ATTEMPT_EVENTS] = {
    [HELD] = {HELD, HELD, HELD, HELD, GONE, HELD, ROOM, ROOM, ROOM, HELD, GONE, HELD,
              HELD, HELD, HELD, GONE, HELD, HELD, HELD, HELD, HELD, HELD, GONE, GONE},
    [ROOM] = {ROOM, ROOM, ROOM, ROOM, ROOM, ROOM, ROOM, STAR, LOST, ROOM, LOST, STAR,
              DONE, GONE, ROOM, ROOM, ROOM, ROOM, ROOM, LOST, LOST, ROOM, ROOM, ROOM},
    [BACK] = {BACK, BACK, BACK, BACK, BACK, BACK, ROOM, STAR, LOST, BACK, LOST, STAR,
              DONE, GONE, BACK, BACK, BACK, BACK, BACK, LOST, LOST, BACK, BACK, BACK},
    [STAR] = {STAR, STAR, STAR, STAR, STAR, STAR, STAR, STAR, LOST, STAR, LOST, STAR,
              DONE, LOST, STAR, STAR, STAR, STAR, STAR, LOST, LOST, STAR, STAR, STAR},
    [DONE] = {DONE, DONE, DONE, DONE, DONE, GONE, DONE, DONE, DONE, DONE, DONE, DONE,
              DONE, DONE, DONE, DONE, DONE, DONE, DONE, DONE, DONE, DONE, DONE, DONE},
    [LOST] = {LOST, LOST, LOST, LOST, LOST, GONE, LOST, LOST, LOST, LOST, LOST, LOST,
              LOST, LOST, LOST, LOST, LOST, LOST, LOST, LOST, LOST, LOST, LOST, LOST},
};

struct attempts {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    size_t blobs;
};

static void release(void *data)
{
    --*(size_t *)data;
}

static struct sch_blob blob(struct attempts *w)
{
    w->blobs++;
    return (struct sch_blob){.data = &w->blobs, .release = release};
}

static void op_step(struct attempts *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    sch_operator_step(w->op, &event, &w->fx);
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == SCH_OP_SEND_ASSIGN)
            release(w->fx.items[i].u.assign.blob.data);
    }
    sch_operator_check(w->op);
    ck_assert_int_gt(sch_operator_next_ns(w->op), 0);
}

static const struct sch_resources core = {.cpu_milli = 1000};

static struct sch_attempt_key key(uint64_t action)
{
    return (struct sch_attempt_key){.action = action, .partition = 1, .number = 1, .epoch = 1};
}

static void assign(struct attempts *w, uint64_t action)
{
    op_step(
        w, (struct sch_op_event){.type = SCH_OP_ASSIGN,
                                 .u.assign = {.key = key(action), .class_id = 1, .blob = blob(w)}});
}

static void op_report(struct attempts *w, enum sch_op_event_type type, uint64_t action)
{
    struct sch_op_event event = {.type = type, .u.report = {.node = "n", .key = key(action)}};
    if (type == SCH_OP_OUTCOME)
        event.u.report.blob = blob(w);
    op_step(w, event);
}

static void demand_of(struct attempts *w, uint32_t partition, uint64_t waiting)
{
    op_step(w, (struct sch_op_event){.type = SCH_OP_DEMAND,
                                     .u.demand = {.partition = partition,
                                                  .class_id = 1,
                                                  .request = core,
                                                  .waiting = waiting}});
}

static void demand(struct attempts *w)
{
    demand_of(w, 1, 9);
}

static void stream_event(struct attempts *w, enum sch_op_event_type type, uint32_t partition)
{
    op_step(w, (struct sch_op_event){.type = type,
                                     .u.partition = {.partition = partition, .epoch = 1}});
}

static void partition_event(struct attempts *w, enum sch_op_event_type type)
{
    stream_event(w, type, 1);
}

/* Tasks end so fast that a round trip is worth a backlog of two. */
static void be_fast(struct attempts *w)
{
    for (uint64_t i = 100; i < 110; i++) {
        assign(w, i);
        op_report(w, SCH_OP_OUTCOME, i);
        op_step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = key(i)});
        w->now += SY_NS_PER_MS;
        op_step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
}

/* Another partition's, which was promised one while there was room. */
static void assign_other(struct attempts *w)
{
    struct sch_op_event event = {.type = SCH_OP_ASSIGN};
    event.u.assign.key = (struct sch_attempt_key){1, 2, 1, 1};
    event.u.assign.class_id = 1;
    event.u.assign.blob = blob(w);
    op_step(w, event);
}

static void node_event(struct attempts *w, enum sch_op_event_type type)
{
    op_step(w, (struct sch_op_event){.type = type, .u.node = {.name = "n", .capacity = core}});
}

static void op_run_for(struct attempts *w, int64_t ns)
{
    int64_t until = w->now + ns, next;
    while ((next = sch_operator_next_ns(w->op)) <= until) {
        w->now = next > w->now ? next : w->now;
        op_step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
    w->now = until;
}

#define SUBJECT 50u

static void op_prepare(struct attempts *w, enum stage stage)
{
    struct sch_operator_options options = {
        .hold_ns = SY_NS_PER_S, .node_lease_ns = LEASE, .join_grace_ns = 0};
    w->now = SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    node_event(w, SCH_OP_NODE_UP);
    node_event(w, SCH_OP_NODE_INVENTORY_COMPLETE);
    partition_event(w, SCH_OP_PARTITION_UP);
    demand(w);
    be_fast(w);
    demand(w); /* three are granted: one with room, two behind it */
    stream_event(w, SCH_OP_PARTITION_UP, 2);
    demand_of(w, 2, 1); /* and one more */
    uint64_t others = stage == HELD ? 2 : stage == BACK ? 1 : 0;
    for (uint64_t i = 1; i <= others; i++) {
        assign(w, i);
        if (i == 1)
            op_report(w, SCH_OP_STARTED, 1);
    }
    if (stage == HELD)
        assign_other(w);
    assign(w, SUBJECT);
    if (stage == STAR || stage == LOST)
        op_report(w, SCH_OP_STARTED, SUBJECT);
    if (stage == DONE)
        op_report(w, SCH_OP_OUTCOME, SUBJECT);
    if (stage == LOST)
        op_report(w, SCH_OP_NODE_RETURNED, SUBJECT);
}

static enum stage op_stage(const struct attempts *w)
{
    struct sch_attempt_key subject = key(SUBJECT);
    const struct sch_attempt *a = sch_attempt_find(w->op, &subject);
    if (!a)
        return GONE;
    switch (sch_attempt_state(a)) {
    case SCH_ATTEMPT_HELD:
        return HELD;
    case SCH_ATTEMPT_PLACED:
        return sch_link_in_list(&a->queue) ? BACK : ROOM;
    case SCH_ATTEMPT_STARTED:
        return STAR;
    default:
        return a->blob.data ? DONE : LOST;
    }
}

static void op_node_column(struct attempts *w, enum attempt_event event)
{
    node_event(w, SCH_OP_NODE_UP);
    if (event != B_UP_UNNAMED)
        op_step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY,
                                         .u.inventory = {.node = "n",
                                                         .key = key(SUBJECT),
                                                         .request = core,
                                                         .started = event == B_UP_STARTED}});
    node_event(w, SCH_OP_NODE_INVENTORY_COMPLETE);
}

static void verb(struct attempts *w, enum sch_op_event_type type, int64_t deadline_ns)
{
    op_step(w, (struct sch_op_event){.type = type,
                                     .u.verb = {.node = "n", .deadline_ns = deadline_ns}});
}

static void drain_until_due(struct attempts *w)
{
    verb(w, SCH_OP_NODE_DRAIN, w->now + SY_NS_PER_MS);
    op_run_for(w, 2 * SY_NS_PER_MS);
    struct sch_op_event event = {
        .type = SCH_OP_OUTCOME,
        .u.report = {.node = "n", .key = key(SUBJECT), .cancelled = true, .blob = blob(w)}};
    op_step(w, event);
}

static void op_apply(struct attempts *w, enum attempt_event event)
{
    switch (event) {
    case B_PARTITION_UP:
    case B_PARTITION_DOWN:
        partition_event(w, event == B_PARTITION_UP ? SCH_OP_PARTITION_UP : SCH_OP_PARTITION_DOWN);
        break;
    case B_DEMAND:
        demand(w);
        break;
    case B_ASSIGN:
        assign(w, SUBJECT);
        break;
    case B_CANCEL:
        op_step(w, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel.key = key(SUBJECT)});
        break;
    case B_ACK:
        op_step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = key(SUBJECT)});
        break;
    case B_DOWN:
    case B_DOWN_LONG:
        node_event(w, SCH_OP_NODE_DOWN);
        if (event == B_DOWN_LONG)
            op_run_for(w, LEASE);
        break;
    case B_STARTED:
        op_report(w, SCH_OP_STARTED, SUBJECT);
        break;
    case B_OUTCOME:
        op_report(w, SCH_OP_OUTCOME, SUBJECT);
        break;
    case B_RETURNED:
        op_report(w, SCH_OP_NODE_RETURNED, SUBJECT);
        break;
    case B_TICK:
        op_run_for(w, SY_NS_PER_MS);
        break;
    case B_LATER:
        op_run_for(w, 60 * SY_NS_PER_S);
        break;
    case B_CORDON:
        verb(w, SCH_OP_NODE_CORDON, 0);
        break;
    case B_UNCORDON:
        verb(w, SCH_OP_NODE_UNCORDON, 0);
        break;
    case B_DRAIN:
        verb(w, SCH_OP_NODE_DRAIN, SY_TIME_NEVER);
        break;
    case B_DRAIN_DUE:
        drain_until_due(w);
        break;
    case B_FENCE:
        verb(w, SCH_OP_NODE_FENCE, 0);
        break;
    case B_UNFENCE:
        verb(w, SCH_OP_NODE_UNFENCE, 0);
        break;
    case B_GIVE_BACK:
        op_step(w, (struct sch_op_event){.type = SCH_OP_GIVE_BACK, .u.key = key(SUBJECT)});
        break;
    case B_PREEMPT:
        op_step(w, (struct sch_op_event){.type = SCH_OP_CANCEL,
                                         .u.cancel = {.key = key(SUBJECT), .preempts = true}});
        break;
    default:
        op_node_column(w, event);
        break;
    }
}

START_TEST(every_pair_of_the_attempt)
{
    for (int stage = 0; stage < STAGES; stage++) {
        for (int event = 0; event < ATTEMPT_EVENTS; event++) {
            struct attempts w = {0};
            op_prepare(&w, (enum stage)stage);
            ck_assert_int_eq(op_stage(&w), stage);
            op_apply(&w, (enum attempt_event)event);
            ck_assert_msg(op_stage(&w) == attempt_after[stage][event], "stage %d, event %d: %d",
                          stage, event, op_stage(&w));
            for (int again = 0; again < ATTEMPT_EVENTS; again++)
                op_apply(&w, (enum attempt_event)again);
            sch_operator_free(w.op);
            ck_assert_uint_eq(w.blobs, 0);
            sch_op_effects_deinit(&w.fx);
        }
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {every_pair_of_the_action, every_pair_of_the_attempt, NULL};
    return sy_test_run("sch_pairs", tests);
}
