/* links: sch */
/*
 * Cordon, drain, fence and trust: every (state, event) pair of both, and what is placed meanwhile.
 */
#include "base/mem.h"
#include "scheduler/operator_impl.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE (15 * SY_NS_PER_S)

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t action;
    size_t blobs;
    char placed[8]; /* where the last assignment went; "" = nowhere */
    size_t cancels, give_backs, acks, inventories;
    size_t outcomes, given_up; /* of these without a word of an agent */
};

static void release(void *data)
{
    --*(size_t *)data;
}

static struct sch_blob blob(struct world *w)
{
    w->blobs++;
    return (struct sch_blob){.data = &w->blobs, .release = release};
}

static bool given_up(const struct sch_op_effect *outcome)
{
    const char *reason = outcome->u.report.reason;
    return !outcome->u.report.blob && reason && strstr(reason, "fenced");
}

static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    w->placed[0] = '\0';
    w->cancels = w->give_backs = w->acks = w->inventories = w->outcomes = w->given_up = 0;
    sch_operator_step(w->op, &event, &w->fx);
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct sch_op_effect *effect = &w->fx.items[i];
        w->cancels += effect->type == SCH_OP_SEND_CANCEL;
        w->give_backs += effect->type == SCH_OP_SEND_GIVE_BACK;
        w->acks += effect->type == SCH_OP_SEND_ACK;
        w->inventories += effect->type == SCH_OP_SEND_INVENTORY;
        w->outcomes += effect->type == SCH_OP_SEND_OUTCOME;
        w->given_up += effect->type == SCH_OP_SEND_OUTCOME && given_up(effect);
        if (effect->type != SCH_OP_SEND_ASSIGN)
            continue;
        release(effect->u.assign.blob.data);
        snprintf(w->placed, sizeof(w->placed), "%s", effect->u.assign.node);
    }
    sch_operator_check(w->op);
}

static void run_for(struct world *w, int64_t ns)
{
    int64_t until = w->now + ns, next;
    while ((next = sch_operator_next_ns(w->op)) <= until) {
        w->now = next > w->now ? next : w->now;
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
    w->now = until;
}

static struct sch_attempt_key key(uint64_t action)
{
    return (struct sch_attempt_key){.action = action, .partition = 1, .number = 1, .epoch = 1};
}

static void node_up(struct world *w, const char *name)
{
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    event.u.node.name = name;
    event.u.node.capacity.cpu_milli = 4000;
    step(w, event);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = name});
}

static void verb(struct world *w, enum sch_op_event_type type, int64_t deadline_ns)
{
    step(w, (struct sch_op_event){.type = type, .u.verb = {"n", deadline_ns}});
}

static void assign(struct world *w)
{
    struct sch_op_event demand = {.type = SCH_OP_DEMAND};
    demand.u.demand.partition = demand.u.demand.class_id = 1;
    demand.u.demand.request.cpu_milli = 1000;
    demand.u.demand.waiting = 100;
    step(w, demand);
    run_for(w, SY_NS_PER_MS);
    step(w, (struct sch_op_event){
                .type = SCH_OP_ASSIGN,
                .u.assign = {.key = key(++w->action), .class_id = 1, .blob = blob(w)}});
}

static void report(struct world *w, enum sch_op_event_type type, uint64_t action, bool fault)
{
    struct sch_op_event event = {.type = type};
    const char *node = sch_operator_node_of(w->op, &(struct sch_attempt_key){action, 1, 1, 1});
    event.u.report.node = node ? node : "n";
    event.u.report.key = key(action);
    event.u.report.fault = fault;
    if (type == SCH_OP_OUTCOME)
        event.u.report.blob = blob(w);
    step(w, event);
}

static struct world *world_new(void)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = SY_NS_PER_S, .node_lease_ns = LEASE, .join_grace_ns = 0};
    w->now = SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    node_up(w, "n");
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP,
                                  .u.partition = {.partition = 1, .epoch = 1}});
    return w;
}

static void world_free(struct world *w)
{
    sch_operator_free(w->op);
    ck_assert_uint_eq(w->blobs, 0);
    sch_op_effects_deinit(&w->fx);
    free(w);
}

static int service(const struct world *w)
{
    const struct sch_op_service *found = sch_service_find(w->op, "n");
    return found ? (int)found->sm.state : SCH_SERVICE_OPEN;
}

/* ---- every pair of the service ---- */

enum { OPEN, CORD, DRNG, DRND, FNCD };
enum event {
    CORDON,
    UNCORDON,
    DRAIN,
    LAST_ENDS,
    NODE_DOWN,
    NODE_GONE,
    NODE_AGAIN,
    FENCE,
    UNFENCE,
    EVENTS,
};

/* One attempt runs there but in DRAINED. NODE_AGAIN: its inventory names one that runs. */
static const int service_after[][EVENTS] = {
    [OPEN] = {CORD, OPEN, DRNG, OPEN, OPEN, OPEN, OPEN, FNCD, OPEN},
    [CORD] = {CORD, OPEN, DRNG, CORD, CORD, CORD, CORD, FNCD, CORD},
    [DRNG] = {CORD, OPEN, DRNG, DRND, DRNG, DRND, DRNG, FNCD, DRNG},
    [DRND] = {CORD, OPEN, DRND, DRND, DRND, DRND, DRNG, FNCD, DRND},
    [FNCD] = {FNCD, FNCD, FNCD, FNCD, FNCD, FNCD, FNCD, FNCD, OPEN},
};

static void prepare(struct world *w, int state)
{
    if (state != DRND) {
        assign(w);
        report(w, SCH_OP_STARTED, 1, false);
    }
    if (state == CORD)
        verb(w, SCH_OP_NODE_CORDON, 0);
    if (state == DRNG || state == DRND)
        verb(w, SCH_OP_NODE_DRAIN, SY_TIME_NEVER);
    if (state == FNCD)
        verb(w, SCH_OP_NODE_FENCE, 0);
    ck_assert_int_eq(service(w), state);
}

static void node_again(struct world *w)
{
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    event.u.node.name = "n";
    event.u.node.capacity.cpu_milli = 4000;
    step(w, event);
    struct sch_op_event entry = {.type = SCH_OP_NODE_INVENTORY};
    entry.u.inventory.node = "n";
    entry.u.inventory.key = key(1);
    entry.u.inventory.request.cpu_milli = 1000;
    entry.u.inventory.started = true;
    step(w, entry);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n"});
}

static void apply(struct world *w, enum event event)
{
    switch (event) {
    case CORDON:
        verb(w, SCH_OP_NODE_CORDON, 0);
        break;
    case UNCORDON:
        verb(w, SCH_OP_NODE_UNCORDON, 0);
        break;
    case DRAIN:
        verb(w, SCH_OP_NODE_DRAIN, SY_TIME_NEVER);
        break;
    case FENCE:
        verb(w, SCH_OP_NODE_FENCE, 0);
        break;
    case UNFENCE:
        verb(w, SCH_OP_NODE_UNFENCE, 0);
        break;
    case LAST_ENDS:
        report(w, SCH_OP_OUTCOME, 1, false);
        break;
    case NODE_AGAIN:
        node_again(w);
        break;
    default:
        step(w, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n"});
        if (event == NODE_GONE)
            run_for(w, LEASE);
        break;
    }
}

START_TEST(every_pair_of_the_service)
{
    for (int state = OPEN; state <= FNCD; state++) {
        for (int event = 0; event < EVENTS; event++) {
            struct world *w = world_new();
            prepare(w, state);
            apply(w, (enum event)event);
            ck_assert_msg(service(w) == service_after[state][event], "state %d, event %d: %d",
                          state, event, service(w));
            for (int again = 0; again < EVENTS; again++)
                apply(w, (enum event)again);
            world_free(w);
        }
    }
}
END_TEST

/* ---- what is placed ---- */

START_TEST(a_closed_node_takes_nothing_and_an_open_one_takes_what_waited)
{
    struct world *w = world_new();
    assign(w);
    ck_assert_str_eq(w->placed, "n");
    verb(w, SCH_OP_NODE_CORDON, 0);
    ck_assert_uint_eq(w->give_backs, 0); /* what it has may start */
    assign(w);
    ck_assert_str_eq(w->placed, "");
    verb(w, SCH_OP_NODE_UNCORDON, 0);
    ck_assert_uint_eq(sch_fit_count(&w->op->nodes[0]->all.group->tiers[0].fit), 1);
    assign(w);
    ck_assert_str_eq(w->placed, "n");
    verb(w, SCH_OP_NODE_DRAIN, SY_TIME_NEVER);
    ck_assert_uint_eq(w->give_backs, 1);
    report(w, SCH_OP_NODE_RETURNED, 1, false); /* as the agent does then */
    assign(w);
    ck_assert_str_eq(w->placed, "");
    world_free(w);
}
END_TEST

START_TEST(an_end_says_how_long_it_was_held)
{
    struct world *w = world_new();
    assign(w); /* more is granted meanwhile */
    report(w, SCH_OP_OUTCOME, w->action, false);
    verb(w, SCH_OP_NODE_CORDON, 0);
    assign(w);
    ck_assert_str_eq(w->placed, "");
    run_for(w, SY_NS_PER_S / 2);
    verb(w, SCH_OP_NODE_UNCORDON, 0);
    ck_assert_str_eq(w->placed, "n");
    run_for(w, 3 * SY_NS_PER_S); /* on its node */
    report(w, SCH_OP_OUTCOME, w->action, false);
    int64_t held_ns = -1;
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == SCH_OP_SEND_OUTCOME)
            held_ns = w->fx.items[i].u.report.held_ns;
    }
    ck_assert_int_eq(held_ns, SY_NS_PER_S / 2);
    world_free(w);
}
END_TEST

START_TEST(a_drain_cancels_what_runs_at_its_deadline)
{
    struct world *w = world_new();
    assign(w);
    report(w, SCH_OP_STARTED, 1, false);
    verb(w, SCH_OP_NODE_DRAIN, w->now + SY_NS_PER_S);
    run_for(w, SY_NS_PER_S - 1);
    ck_assert_uint_eq(w->cancels, 0);
    w->now++;
    step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    ck_assert_uint_eq(w->cancels, 1);
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = "n";
    event.u.report.key = key(1);
    event.u.report.cancelled = true;
    event.u.report.blob = blob(w);
    step(w, event);
    const struct sch_op_effect *told = NULL;
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == SCH_OP_SEND_OUTCOME)
            told = &w->fx.items[i];
    }
    ck_assert_ptr_nonnull(told);
    ck_assert_ptr_null(told->u.report.blob); /* LOST: a system failure, no retry of the user's */
    ck_assert_ptr_nonnull(strstr(told->u.report.reason, "preempted"));
    ck_assert_int_eq(service(w), SCH_SERVICE_DRAINED);
    world_free(w);
}
END_TEST

START_TEST(a_node_that_comes_later_is_closed_too)
{
    struct world *w = world_new();
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_CORDON, .u.verb.node = "m"});
    node_up(w, "m");
    for (int i = 0; i < 6; i++) {
        assign(w);
        ck_assert_str_ne(w->placed, "m");
    }
    world_free(w);
}
END_TEST

/* ---- all at once ---- */

/* What runs, what waits there or here; what has ended is on its way as ever. */
START_TEST(all_that_is_here_can_be_cancelled)
{
    struct sch_op_event event = {.type = SCH_OP_CANCEL_ALL, .u.reason = "deleted"};
    struct world *w = world_new();
    for (int i = 0; i < 6; i++)
        assign(w);
    report(w, SCH_OP_STARTED, 1, false);
    report(w, SCH_OP_OUTCOME, 2, false);
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = 1});
    step(w, event); /* whether its shard is there or not */
    size_t told = w->cancels;
    ck_assert_uint_ge(told, 3);
    step(w, event);
    ck_assert_uint_eq(w->cancels, 0); /* they were told */
    for (uint64_t i = 1; i <= 6; i++) {
        if (i != 2 && sch_operator_node_of(w->op, &(struct sch_attempt_key){i, 1, 1, 1}))
            report(w, SCH_OP_OUTCOME, i, false);
    }
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 2}});
    ck_assert_uint_eq(w->outcomes, told + 1); /* no other is left */
    world_free(w);
}
END_TEST

/* What has a node stays, also what waits there; what waits here is gone, and nobody hears of it. */
START_TEST(what_has_no_node_can_be_forgotten)
{
    struct world *w = world_new();
    assign(w);
    assign(w);
    ck_assert_uint_eq(w->blobs, 0); /* both have a node */
    verb(w, SCH_OP_NODE_CORDON, SY_TIME_NEVER);
    for (int i = 0; i < 2; i++) /* they were granted before */
        step(w, (struct sch_op_event){
                    .type = SCH_OP_ASSIGN,
                    .u.assign = {.key = key(++w->action), .class_id = 1, .blob = blob(w)}});
    ck_assert_uint_eq(w->blobs, 2);
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = 1});
    step(w, (struct sch_op_event){.type = SCH_OP_FORGET_HELD});
    ck_assert_uint_eq(w->blobs, 0);
    ck_assert_uint_eq(w->fx.count, 0);
    verb(w, SCH_OP_NODE_UNCORDON, SY_TIME_NEVER);
    ck_assert_str_eq(w->placed, ""); /* there is room, and nothing for it */
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 1}});
    ck_assert_uint_eq(w->inventories, 2);
    world_free(w);
}
END_TEST

/* ---- a drained cluster: a partition asks for its own ---- */

static void give_back(struct world *w, uint64_t action)
{
    step(w, (struct sch_op_event){.type = SCH_OP_GIVE_BACK, .u.key = key(action)});
}

static void preempt(struct world *w, uint64_t action)
{
    step(w, (struct sch_op_event){.type = SCH_OP_CANCEL,
                                  .u.cancel = {key(action), "drained", .preempts = true}});
}

static size_t count_returned(const struct world *w)
{
    size_t count = 0;
    for (size_t i = 0; i < w->fx.count; i++)
        count += w->fx.items[i].type == SCH_OP_SEND_RETURNED;
    return count;
}

/* One waits here, one at its node; the third runs. */
START_TEST(what_has_not_started_comes_back_when_it_is_asked_for)
{
    struct world *w = world_new();
    for (int i = 0; i < 2; i++)
        assign(w);
    report(w, SCH_OP_STARTED, 1, false);
    verb(w, SCH_OP_NODE_CORDON, SY_TIME_NEVER);
    step(w, (struct sch_op_event){
                .type = SCH_OP_ASSIGN,
                .u.assign = {.key = key(++w->action), .class_id = 1, .blob = blob(w)}});
    give_back(w, 3); /* it waits here */
    ck_assert_uint_eq(count_returned(w), 1);
    ck_assert_uint_eq(w->give_backs, 0);
    ck_assert_uint_eq(w->blobs, 0);
    give_back(w, 2);
    ck_assert_uint_eq(w->give_backs, 1);
    give_back(w, 2);
    ck_assert_uint_eq(w->give_backs, 0); /* its agent was asked */
    give_back(w, 1);                     /* it runs */
    give_back(w, 7);                     /* nobody knows it */
    ck_assert_uint_eq(w->fx.count, 0);
    report(w, SCH_OP_NODE_RETURNED, 2, false);
    ck_assert_uint_eq(count_returned(w), 1);
    ck_assert_uint_eq(sch_node_find(w->op, "n")->faults, 0); /* that is no fault of it */
    world_free(w);
}
END_TEST

START_TEST(an_agent_that_is_away_is_asked_when_it_is_back)
{
    struct world *w = world_new();
    assign(w);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n"});
    give_back(w, 1);
    ck_assert_uint_eq(w->give_backs, 0);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                  .u.node = {.name = "n", .capacity = {.cpu_milli = 4000}}});
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY,
                                  .u.inventory = {.node = "n", .key = key(1)}});
    ck_assert_uint_eq(w->give_backs, 1);
    world_free(w);
}
END_TEST

START_TEST(what_a_partition_preempts_ends_so)
{
    struct world *w = world_new();
    for (int i = 0; i < 4; i++) {
        assign(w);
        report(w, SCH_OP_STARTED, w->action, false);
    }
    preempt(w, 1);
    ck_assert_uint_eq(w->cancels, 1);
    preempt(w, 1);
    ck_assert_uint_eq(w->cancels, 0); /* once */
    struct sch_op_event end = {.type = SCH_OP_OUTCOME};
    end.u.report.node = "n";
    end.u.report.key = key(1);
    end.u.report.cancelled = true;
    end.u.report.blob = blob(w);
    step(w, end);
    ck_assert_uint_eq(w->outcomes, 1);
    const struct sch_op_effect *told = &w->fx.items[0];
    while (told->type != SCH_OP_SEND_OUTCOME)
        told++;
    ck_assert_ptr_null(told->u.report.blob);
    ck_assert_str_eq(told->u.report.reason, "preempted: its cluster is drained");
    preempt(w, 2); /* it had ended by itself when it heard of that */
    report(w, SCH_OP_OUTCOME, 2, false);
    for (told = &w->fx.items[0]; told->type != SCH_OP_SEND_OUTCOME;)
        told++;
    ck_assert_ptr_nonnull(told->u.report.blob);
    step(w, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel = {key(3), "a person"}});
    preempt(w, 3);
    ck_assert_uint_eq(w->cancels, 0); /* it ends as its partition said before */
    end.u.report.key = key(3);
    end.u.report.blob = blob(w);
    step(w, end);
    for (told = &w->fx.items[0]; told->type != SCH_OP_SEND_OUTCOME;)
        told++;
    ck_assert_ptr_nonnull(told->u.report.blob);
    world_free(w);
}
END_TEST

/* ---- fences ---- */

static void ack(struct world *w, uint64_t action)
{
    step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = key(action)});
}

START_TEST(a_fence_gives_up_at_once_what_a_node_has)
{
    struct world *w = world_new();
    for (int i = 0; i < 6; i++) { /* four run, two wait there */
        assign(w);
        if (i < 4)
            report(w, SCH_OP_STARTED, w->action, false);
    }
    step(w, (struct sch_op_event){.type = SCH_OP_CANCEL, .u.cancel = {key(1), "a person"}});
    verb(w, SCH_OP_NODE_FENCE, 0);
    uint64_t there = w->cancels;
    ck_assert_uint_ge(there, 4);
    ck_assert_uint_eq(w->outcomes, there);
    ck_assert_uint_eq(w->given_up, there - 1); /* one ends as its partition has said */
    verb(w, SCH_OP_NODE_FENCE, 0);
    ck_assert_uint_eq(w->outcomes, 0);
    assign(w);
    ck_assert_str_eq(w->placed, "");
    world_free(w);
}
END_TEST

START_TEST(a_fence_does_not_wait_for_the_lease_of_a_node_that_is_away)
{
    struct world *w = world_new();
    assign(w);
    report(w, SCH_OP_STARTED, 1, false);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n"});
    ck_assert_uint_eq(w->outcomes, 0);
    verb(w, SCH_OP_NODE_FENCE, 0);
    ck_assert_uint_eq(w->given_up, 1);
    ck_assert_uint_eq(w->cancels, 0); /* there is nobody to tell */
    run_for(w, LEASE);
    ck_assert_int_eq(service(w), SCH_SERVICE_FENCED);
    node_again(w);
    ck_assert_int_eq(service(w), SCH_SERVICE_FENCED);
    world_free(w);
}
END_TEST

START_TEST(nothing_that_a_fenced_node_says_counts)
{
    struct world *w = world_new();
    assign(w);
    assign(w);
    report(w, SCH_OP_STARTED, 1, false);
    verb(w, SCH_OP_NODE_FENCE, 0);
    report(w, SCH_OP_STARTED, 2, false);
    report(w, SCH_OP_OUTCOME, 1, false); /* before the partition knows */
    ck_assert_uint_eq(w->outcomes, 0);
    ack(w, 1);
    ack(w, 2);
    ck_assert_uint_eq(w->acks, 1);
    report(w, SCH_OP_OUTCOME, 2, false); /* and when it has forgotten */
    ck_assert_uint_eq(w->outcomes, 0);
    ck_assert_uint_eq(w->acks, 1); /* else its agent would say it for ever */
    struct sch_op_event event = {.type = SCH_OP_NODE_UP};
    event.u.node.name = "n";
    event.u.node.capacity.cpu_milli = 4000;
    step(w, event);
    struct sch_op_event entry = {.type = SCH_OP_NODE_INVENTORY};
    entry.u.inventory.node = "n";
    entry.u.inventory.key = key(1);
    entry.u.inventory.started = true;
    step(w, entry);
    ck_assert_uint_eq(w->cancels, 1); /* it is told to stop */
    ck_assert_uint_eq(w->inventories, 0);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n"});
    assign(w);
    ck_assert_str_eq(w->placed, "");
    verb(w, SCH_OP_NODE_UNFENCE, 0);
    ck_assert_str_eq(w->placed, "n");
    world_free(w);
}
END_TEST

START_TEST(an_operator_that_was_told_of_a_fence_at_its_start_adopts_nothing_from_there)
{
    struct world *w = world_new();
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_FENCE, .u.verb.node = "m"});
    node_up(w, "m");
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = "m";
    event.u.report.key = key(77);
    event.u.report.blob = blob(w);
    step(w, event);
    ck_assert_uint_eq(w->outcomes, 0);
    ck_assert_uint_eq(w->acks, 1);
    world_free(w);
}
END_TEST

/* ---- trust ---- */

static enum sch_health_state health(const struct world *w, const char *name)
{
    return (enum sch_health_state)sch_node_find(w->op, name)->health.state;
}

static void end_there(struct world *w, int times, bool fault)
{
    for (int i = 0; i < times; i++) {
        assign(w);
        report(w, SCH_OP_OUTCOME, w->action, fault);
    }
}

START_TEST(a_node_that_fails_attempts_is_avoided_for_a_while)
{
    struct world *w = world_new();
    end_there(w, 4, true);
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_TRUSTED);
    run_for(w, SCH_OP_FAULT_WINDOW_NS); /* too long ago */
    end_there(w, 4, true);
    end_there(w, 5, false);
    end_there(w, 1, true); /* half of them are no majority */
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_TRUSTED);
    end_there(w, 1, true);
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_AVOIDED);
    assign(w);
    ck_assert_str_eq(w->placed, "n"); /* there is no other */
    node_up(w, "other");
    for (int i = 0; i < 4; i++) {
        assign(w);
        ck_assert_str_eq(w->placed, "other");
    }
    run_for(w, SCH_OP_AVOID_NS);
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_TRUSTED);
    assign(w);
    ck_assert_str_eq(w->placed, "n");
    world_free(w);
}
END_TEST

START_TEST(what_was_asked_back_is_no_fault)
{
    struct world *w = world_new();
    for (uint64_t i = 0; i < 6; i += 3) {
        for (int k = 0; k < 3; k++)
            assign(w);
        verb(w, SCH_OP_NODE_DRAIN, SY_TIME_NEVER);
        verb(w, SCH_OP_NODE_UNCORDON, 0); /* somebody changed their mind: they come back anyway */
        for (uint64_t k = 1; k <= 3; k++)
            report(w, SCH_OP_NODE_RETURNED, i + k, false);
    }
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_TRUSTED);
    for (int i = 0; i < 5; i++) { /* sent before it heard of that: they come back at once */
        assign(w);
        report(w, SCH_OP_NODE_RETURNED, w->action, false);
    }
    ck_assert_uint_eq(sch_node_find(w->op, "n")->faults, 0);
    run_for(w, SCH_OP_GIVE_BACK_NS + 1);
    for (int i = 0; i < 11; i++) {
        ck_assert_int_eq(health(w, "n"), SCH_HEALTH_TRUSTED);
        assign(w);
        report(w, SCH_OP_NODE_RETURNED, w->action, false);
    }
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_TRUSTED); /* 11 of 22 */
    assign(w);
    report(w, SCH_OP_NODE_RETURNED, w->action, false);
    assign(w);
    report(w, SCH_OP_NODE_RETURNED, w->action, false);
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_AVOIDED);
    world_free(w);
}
END_TEST

START_TEST(trust_survives_every_event_and_an_agent_that_restarts_has_it)
{
    struct world *w = world_new();
    end_there(w, 5, true);
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_AVOIDED);
    end_there(w, 3, true); /* is not counted meanwhile */
    verb(w, SCH_OP_NODE_CORDON, 0);
    verb(w, SCH_OP_NODE_UNCORDON, 0);
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_AVOIDED);
    node_up(w, "n");
    ck_assert_int_eq(health(w, "n"), SCH_HEALTH_TRUSTED);
    end_there(w, 5, true);
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = "n"});
    run_for(w, LEASE);
    ck_assert_ptr_null(sch_node_find(w->op, "n"));
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_pair_of_the_service,
        a_closed_node_takes_nothing_and_an_open_one_takes_what_waited,
        an_end_says_how_long_it_was_held,
        a_drain_cancels_what_runs_at_its_deadline,
        a_node_that_comes_later_is_closed_too,
        all_that_is_here_can_be_cancelled,
        what_has_no_node_can_be_forgotten,
        what_has_not_started_comes_back_when_it_is_asked_for,
        an_agent_that_is_away_is_asked_when_it_is_back,
        what_a_partition_preempts_ends_so,
        a_fence_gives_up_at_once_what_a_node_has,
        a_fence_does_not_wait_for_the_lease_of_a_node_that_is_away,
        nothing_that_a_fenced_node_says_counts,
        an_operator_that_was_told_of_a_fence_at_its_start_adopts_nothing_from_there,
        a_node_that_fails_attempts_is_avoided_for_a_while,
        what_was_asked_back_is_no_fault,
        trust_survives_every_event_and_an_agent_that_restarts_has_it,
        NULL,
    };
    return sy_test_run("sch_verbs", tests);
}
