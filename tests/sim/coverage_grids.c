/* The state tables, and what goes through them: the wrapped functions of coverage.h. */
#include "agent/agent_impl.h"
#include "controlplane/ownership.h"
#include "controlplane/standby.h"
#include "dataplane/operator_impl.h"
#include "scheduler/action_impl.h"
#include "scheduler/operator_impl.h"
#include "tests/sim/coverage.h"

#include <string.h>

/* ---- moves ---- */

extern const struct sm_table cp_partition_table; /* its header and dataplane/ have other hashes */

static const struct move_table {
    const char *name;
    const struct sm_table *table;
} move_tables[] = {
    {"action moves", &sch_action_table},      {"cluster moves", &sch_cluster_table},
    {"attempt moves", &sch_attempt_table},    {"node moves", &sch_node_table},
    {"service moves", &sch_service_table},    {"health moves", &sch_health_table},
    {"partition moves", &cp_partition_table}, {"owned moves", &cp_owned_table},
    {"shard moves", &cp_ownership_table},     {"standby moves", &cp_standby_table},
    {"shard stream moves", &dp_stream_table}, {"agent stream moves", &dp_agent_table},
    {"operator moves", &dp_operator_table},   {"agent attempt moves", &ag_attempt_table},
};

/* ---- events ---- */

enum { EV_FIRST = SY_COUNT_OF(move_tables) };
enum grid_of_events {
    ACTION = EV_FIRST,
    MEMBER,
    CLUSTER,
    ATTEMPT,
    NODE,
    SERVICE,
    HEALTH,
    OWNED,
    SHARD,
    GRIDS,
};
_Static_assert(GRIDS <= SIM_GRIDS_MAX, "room for all");

#define OUTCOMES 9
enum { /* of an action, and of a member of a gang */
       A_ENQUEUE,
       A_GANG,
       A_RECORD,
       A_CONDITION,
       A_SEAL,
       A_SIGNAL,
       A_ABORT,
       A_PLACED,
       A_RUNNING,
       A_OLD_INVENTORY,
       A_STARTED,
       A_OLD_STARTED,
       A_RETURNED,
       A_OLD_RETURNED,
       A_OUTCOME,
       A_OLD_OUTCOME = A_OUTCOME + OUTCOMES,
       A_EVENTS,
};
static const char *const action_states[] = {"queued",     "assigned",  "running", "backoff",
                                            "recovering", "group",     "paused",  "held",
                                            "cache_wait", "gang_wait", "ended"};
static const char *const action_events[A_EVENTS] = {"enqueue",
                                                    "enqueue gang",
                                                    "record",
                                                    "condition",
                                                    "seal",
                                                    "signal",
                                                    "abort",
                                                    "inventory placed",
                                                    "inventory started",
                                                    "old inventory",
                                                    "started",
                                                    "old started",
                                                    "returned",
                                                    "old returned",
                                                    "outcome succeeded",
                                                    "outcome failed",
                                                    "outcome failed_final",
                                                    "outcome out_of_memory",
                                                    "outcome timed_out",
                                                    "outcome cancelled",
                                                    "outcome lost",
                                                    "outcome refused",
                                                    "outcome preempted",
                                                    "old outcome"};
#define ACTION_ENDED 10u
_Static_assert(SCH_ACTION_GANG_WAIT + 1 == ACTION_ENDED, "the same order");

enum {
    C_UP,
    C_DRAINED,
    C_DOWN,
    C_DELETED,
    C_FENCED,
    C_INVENTORY,
    C_COMPLETE,
    C_GRANT,
    C_ROOM,
    C_STARTED,
    C_OUTCOME,
    C_RETURNED,
    C_EVENTS
};
static const char *const cluster_states[] = {"expected", "joining", "ready",
                                             "down",     "gone",    "unknown"};
static const char *const cluster_events[C_EVENTS] = {"up",     "drained",   "down",     "deleted",
                                                     "fenced", "inventory", "complete", "grant",
                                                     "room",   "started",   "outcome",  "returned"};
_Static_assert(SY_COUNT_OF(cluster_states) == SCH_CLUSTER_STATES + 1, "and one for none");

enum {
    T_ASSIGN,
    T_CANCEL,
    T_PREEMPT,
    T_GIVE_BACK,
    T_CANCEL_ALL,
    T_ACK,
    T_PLACED,
    T_RUNNING,
    T_STARTED,
    T_OUTCOME,
    T_CANCELLED,
    T_FAULT,
    T_RETURNED,
    T_EVENTS
};
static const char *const attempt_states[] = {"held", "placed",   "started",
                                             "done", "returned", "unknown"};
static const char *const attempt_events[T_EVENTS] = {
    "assign",     "cancel",  "preempt",           "give back",
    "cancel all", "ack",     "inventory placed",  "inventory started",
    "started",    "outcome", "outcome cancelled", "outcome fault",
    "returned"};
_Static_assert(SY_COUNT_OF(attempt_states) == SCH_ATTEMPT_STATES + 1, "and one for none");

/* One whose node is listing is ready, and not complete. */
enum { N_UP, N_INVENTORY, N_COMPLETE, N_DOWN, N_STARTED, N_OUTCOME, N_RETURNED, N_EVENTS };
enum { NODE_READY, NODE_LISTING, NODE_LOST, NODE_UNKNOWN, NODE_ROWS };
static const char *const node_states[NODE_ROWS] = {"ready", "listing", "lost", "unknown"};
static const char *const node_events[N_EVENTS] = {"up",      "inventory", "complete", "down",
                                                  "started", "outcome",   "returned"};
static const char *const health_states[] = {"trusted", "avoided"};

enum {
    S_CORDON,
    S_UNCORDON,
    S_DRAIN,
    S_FENCE,
    S_UNFENCE,
    S_UP,
    S_INVENTORY,
    S_COMPLETE,
    S_DOWN,
    S_STARTED,
    S_OUTCOME,
    S_RETURNED,
    S_EVENTS
};
static const char *const service_states[] = {"open", "cordoned", "draining", "drained", "fenced"};
static const char *const service_events[S_EVENTS] = {
    "cordon",    "uncordon", "drain", "fence",   "unfence", "up",
    "inventory", "complete", "down",  "started", "outcome", "returned"};

enum { O_LOOK, O_WROTE, O_CONFLICT, O_UNKNOWN, O_OPENED, O_CLOSED, O_SPLIT, O_FORKED, O_EVENTS };
static const char *const owned_states[] = {"not_ours", "claiming", "opening",  "serving",
                                           "giving",   "lost",     "splitting"};
_Static_assert(SY_COUNT_OF(owned_states) == CP_OWNED_STATES, "all of them");
static const char *const owned_events[O_EVENTS] = {
    "look", "wrote done", "wrote conflict", "wrote unknown", "opened", "closed", "split", "forked"};

enum {
    M_TAKES,
    M_DRAINS,
    M_STOPS,
    M_LOOK,
    M_WROTE,
    M_OPENED,
    M_CLOSED,
    M_SPLIT,
    M_FORKED,
    M_EVENTS
};
static const char *const mode_states[] = {"takes", "drains", "stops", "gone"};
static const char *const mode_events[M_EVENTS] = {"takes",  "drains", "stops", "look",  "wrote own",
                                                  "opened", "closed", "split", "forked"};

static const struct {
    const char *name;
    const char *const *states, *const *events;
    unsigned rows, columns;
} event_grids[GRIDS - EV_FIRST] = {
    {"action", action_states, action_events, SY_COUNT_OF(action_states), A_EVENTS},
    {"gang member", action_states, action_events, SY_COUNT_OF(action_states), A_EVENTS},
    {"cluster", cluster_states, cluster_events, SY_COUNT_OF(cluster_states), C_EVENTS},
    {"attempt", attempt_states, attempt_events, SY_COUNT_OF(attempt_states), T_EVENTS},
    {"node", node_states, node_events, NODE_ROWS, N_EVENTS},
    {"service", service_states, service_events, SCH_SERVICE_STATES, S_EVENTS},
    {"health", health_states, node_events, SCH_HEALTH_STATES, N_EVENTS},
    {"owned partition", owned_states, owned_events, CP_OWNED_STATES, O_EVENTS},
    {"shard", mode_states, mode_events, CP_OWNERSHIP_MODES, M_EVENTS},
};

struct sim_grid *sim_grids(unsigned *ret_count)
{
    static struct sim_grid grids[GRIDS];
    for (unsigned i = 0; i < GRIDS && !grids[0].name; i++) {
        unsigned at = GRIDS - 1 - i; /* the first one is the last: it says that all are there */
        struct sim_grid *grid = &grids[at];
        if (at < EV_FIRST) {
            grid->table = move_tables[at].table;
            grid->rows = grid->table->count + 1;
            grid->columns = grid->table->count;
            grid->name = move_tables[at].name;
        } else {
            grid->states = event_grids[at - EV_FIRST].states;
            grid->events = event_grids[at - EV_FIRST].events;
            grid->rows = event_grids[at - EV_FIRST].rows;
            grid->columns = event_grids[at - EV_FIRST].columns;
            grid->name = event_grids[at - EV_FIRST].name;
        }
        SY_ASSERT(grid->rows <= SIM_GRID_ROWS_MAX && grid->columns <= SIM_GRID_COLUMNS_MAX);
    }
    *ret_count = GRIDS;
    return grids;
}

static void meet(unsigned grid, unsigned row, unsigned column)
{
    unsigned count;
    sim_coverage_meet(&sim_grids(&count)[grid], row, column);
}

/* ---- base/sm.c ---- */

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's own names */
void __real_sm_init(struct sm *sm, const struct sm_table *table, unsigned state);
void __wrap_sm_init(struct sm *sm, const struct sm_table *table, unsigned state);
void __real_sm_move(struct sm *sm, const struct sm_table *table, unsigned to, const void *owner);
void __wrap_sm_move(struct sm *sm, const struct sm_table *table, unsigned to, const void *owner);
void __real_sch_partition_step(struct sch_partition *p, const struct sch_event *event,
                               struct sch_effects *fx);
void __wrap_sch_partition_step(struct sch_partition *p, const struct sch_event *event,
                               struct sch_effects *fx);
void __real_sch_operator_step(struct sch_operator *op, const struct sch_op_event *event,
                              struct sch_op_effects *fx);
void __wrap_sch_operator_step(struct sch_operator *op, const struct sch_op_event *event,
                              struct sch_op_effects *fx);
void __real_cp_ownership_step(struct cp_ownership *o, const struct cp_ownership_view *view,
                              const struct cp_ownership_event *event,
                              struct cp_ownership_effects *fx);
void __wrap_cp_ownership_step(struct cp_ownership *o, const struct cp_ownership_view *view,
                              const struct cp_ownership_event *event,
                              struct cp_ownership_effects *fx);

static void met_move(const struct sm_table *table, unsigned row, unsigned to)
{
    for (unsigned i = 0; i < SY_COUNT_OF(move_tables); i++) {
        if (move_tables[i].table == table)
            meet(i, row, to);
    }
}

void __wrap_sm_init(struct sm *sm, const struct sm_table *table, unsigned state)
{
    met_move(table, 0, state);
    __real_sm_init(sm, table, state);
}

void __wrap_sm_move(struct sm *sm, const struct sm_table *table, unsigned to, const void *owner)
{
    unsigned from = sm->state;
    __real_sm_move(sm, table, to, owner);
    met_move(table, from + 1, to);
}

/* ---- the partition's core ---- */

static void met_action(const struct sch_action *action, unsigned column)
{
    unsigned row = ACTION_ENDED;
    struct sch_gang_view gang;
    if (action && !sch_action_is_final(action))
        row = action->sm.state;
    meet(ACTION, row, column);
    if (action && sch_action_gang(action, &gang))
        meet(MEMBER, row, column);
}

/* Whether it is about the attempt that is out, or that recovery would adopt. */
static bool is_current(const struct sch_action *a, uint32_t number, uint32_t epoch)
{
    if (!a || number <= a->ended)
        return false;
    return a->sm.state == SCH_ACTION_RECOVERING ||
           (number == a->number && epoch == a->attempt_epoch);
}

static void met_report(struct sch_partition *p, const struct sch_event *event)
{
    const struct sch_report *report = &event->u.report;
    struct sch_action_impl *impl = sch_action_find(p, report->action_id);
    const struct sch_action *a = impl ? &impl->base : NULL;
    bool current = is_current(a, report->number, report->epoch);
    if (event->type == SCH_EVENT_STARTED)
        met_action(a, current ? A_STARTED : A_OLD_STARTED);
    else if (event->type == SCH_EVENT_RETURNED)
        met_action(a, current ? A_RETURNED : A_OLD_RETURNED);
    else if (!current)
        met_action(a, A_OLD_OUTCOME);
    else if (report->outcome >= 1 && report->outcome <= OUTCOMES)
        met_action(a, A_OUTCOME + (unsigned)report->outcome - 1);
}

static void met_inventory(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *impl = sch_action_find(p, event->u.inventory.action_id);
    const struct sch_action *a = impl ? &impl->base : NULL;
    if (!is_current(a, event->u.inventory.number, event->u.inventory.epoch))
        met_action(a, A_OLD_INVENTORY);
    else
        met_action(a, event->u.inventory.started ? A_RUNNING : A_PLACED);
}

static void met_cluster(struct sch_partition *p, const char *name, unsigned column)
{
    const struct sch_cluster *cluster = sch_cluster_find(p, name);
    meet(CLUSTER, cluster ? cluster->sm.state : (unsigned)SCH_CLUSTER_STATES, column);
}

/* What of it concerns a cluster. */
static void look_at_cluster(struct sch_partition *p, const struct sch_event *event)
{
    static const int columns[SCH_EVENT_TYPES] = {
        [SCH_EVENT_CLUSTER_UP] = C_UP + 1,
        [SCH_EVENT_CLUSTER_DOWN] = C_DOWN + 1,
        [SCH_EVENT_CLUSTER_DELETED] = C_DELETED + 1,
        [SCH_EVENT_CLUSTER_FENCED] = C_FENCED + 1,
        [SCH_EVENT_INVENTORY] = C_INVENTORY + 1,
        [SCH_EVENT_INVENTORY_COMPLETE] = C_COMPLETE + 1,
        [SCH_EVENT_GRANT] = C_GRANT + 1,
        [SCH_EVENT_ROOM] = C_ROOM + 1,
        [SCH_EVENT_STARTED] = C_STARTED + 1,
        [SCH_EVENT_OUTCOME] = C_OUTCOME + 1,
        [SCH_EVENT_RETURNED] = C_RETURNED + 1,
    };
    if (columns[event->type] == 0)
        return;
    unsigned column = (unsigned)columns[event->type] - 1;
    switch (event->type) {
    case SCH_EVENT_INVENTORY:
        met_cluster(p, event->u.inventory.cluster, column);
        break;
    case SCH_EVENT_GRANT:
        met_cluster(p, event->u.grant.cluster, column);
        break;
    case SCH_EVENT_ROOM:
        met_cluster(p, event->u.room.cluster, column);
        break;
    case SCH_EVENT_STARTED:
    case SCH_EVENT_OUTCOME:
    case SCH_EVENT_RETURNED:
        met_cluster(p, event->u.report.cluster, column);
        break;
    default:
        met_cluster(p, event->u.cluster.name,
                    column == C_UP && event->u.cluster.draining ? (unsigned)C_DRAINED : column);
    }
}

void __wrap_sch_partition_step(struct sch_partition *p, const struct sch_event *event,
                               struct sch_effects *fx)
{
    look_at_cluster(p, event);
    switch (event->type) {
    case SCH_EVENT_ENQUEUE:
        met_action(event->u.enqueue.parent, A_ENQUEUE);
        break;
    case SCH_EVENT_ENQUEUE_GANG:
        met_action(event->u.gang.parent, A_GANG);
        break;
    case SCH_EVENT_RECORD:
        met_action(event->u.record.parent, A_RECORD);
        break;
    case SCH_EVENT_CONDITION:
        met_action(event->u.condition.parent, A_CONDITION);
        break;
    case SCH_EVENT_SEAL:
        met_action(event->u.seal.action, A_SEAL);
        break;
    case SCH_EVENT_SIGNAL:
        met_action(event->u.signal.action, A_SIGNAL);
        break;
    case SCH_EVENT_ABORT:
        met_action(event->u.abort.action, A_ABORT);
        break;
    case SCH_EVENT_INVENTORY:
        met_inventory(p, event);
        break;
    case SCH_EVENT_STARTED:
    case SCH_EVENT_OUTCOME:
    case SCH_EVENT_RETURNED:
        met_report(p, event);
        break;
    default:
        break;
    }
    __real_sch_partition_step(p, event, fx);
}

/* ---- the operator's core ---- */

static void met_attempt(const struct sch_operator *op, const struct sch_attempt_key *key,
                        unsigned column)
{
    const struct sch_attempt *a = sch_attempt_find(op, key);
    meet(ATTEMPT, a ? a->sm.state : (unsigned)SCH_ATTEMPT_STATES, column);
}

/* The columns of a node's service are those of the node, after the verbs. */
static void met_node(const struct sch_operator *op, const char *name, unsigned column)
{
    const struct sch_node *node = sch_node_find(op, name);
    unsigned row = !node                                   ? NODE_UNKNOWN
                   : sch_node_state(node) == SCH_NODE_LOST ? NODE_LOST
                   : node->listing                         ? NODE_LISTING
                                                           : NODE_READY;
    meet(NODE, row, column);
    meet(SERVICE, sch_operator_service_of(op, name), S_UP + column);
    if (node)
        meet(HEALTH, node->health.state, column);
}

static void met_verb(const struct sch_operator *op, const char *name, unsigned column)
{
    meet(SERVICE, sch_operator_service_of(op, name), column);
}

static void look_at_node(const struct sch_operator *op, const struct sch_op_event *event)
{
    switch (event->type) {
    case SCH_OP_NODE_UP:
        met_node(op, event->u.node.name, N_UP);
        break;
    case SCH_OP_NODE_INVENTORY:
        met_node(op, event->u.inventory.node, N_INVENTORY);
        met_attempt(op, &event->u.inventory.key, event->u.inventory.started ? T_RUNNING : T_PLACED);
        break;
    case SCH_OP_NODE_INVENTORY_COMPLETE:
        met_node(op, event->u.node.name, N_COMPLETE);
        break;
    case SCH_OP_NODE_DOWN:
        met_node(op, event->u.node.name, N_DOWN);
        break;
    case SCH_OP_NODE_CORDON:
        met_verb(op, event->u.verb.node, S_CORDON);
        break;
    case SCH_OP_NODE_UNCORDON:
        met_verb(op, event->u.verb.node, S_UNCORDON);
        break;
    case SCH_OP_NODE_DRAIN:
        met_verb(op, event->u.verb.node, S_DRAIN);
        break;
    case SCH_OP_NODE_FENCE:
        met_verb(op, event->u.verb.node, S_FENCE);
        break;
    case SCH_OP_NODE_UNFENCE:
        met_verb(op, event->u.verb.node, S_UNFENCE);
        break;
    default:
        break;
    }
}

void __wrap_sch_operator_step(struct sch_operator *op, const struct sch_op_event *event,
                              struct sch_op_effects *fx)
{
    look_at_node(op, event);
    switch (event->type) {
    case SCH_OP_ASSIGN:
        met_attempt(op, &event->u.assign.key, T_ASSIGN);
        break;
    case SCH_OP_CANCEL:
        met_attempt(op, &event->u.cancel.key, event->u.cancel.preempts ? T_PREEMPT : T_CANCEL);
        break;
    case SCH_OP_GIVE_BACK:
        met_attempt(op, &event->u.key, T_GIVE_BACK);
        break;
    case SCH_OP_ACK:
        met_attempt(op, &event->u.key, T_ACK);
        break;
    case SCH_OP_STARTED:
        met_node(op, event->u.report.node, N_STARTED);
        met_attempt(op, &event->u.report.key, T_STARTED);
        break;
    case SCH_OP_OUTCOME:
        met_node(op, event->u.report.node, N_OUTCOME);
        met_attempt(op, &event->u.report.key,
                    event->u.report.fault       ? T_FAULT
                    : event->u.report.cancelled ? T_CANCELLED
                                                : T_OUTCOME);
        break;
    case SCH_OP_NODE_RETURNED:
        met_node(op, event->u.report.node, N_RETURNED);
        met_attempt(op, &event->u.report.key, T_RETURNED);
        break;
    default:
        break;
    }
    __real_sch_operator_step(op, event, fx);
}

/* ---- who owns a partition ---- */

void __wrap_cp_ownership_step(struct cp_ownership *o, const struct cp_ownership_view *view,
                              const struct cp_ownership_event *event,
                              struct cp_ownership_effects *fx)
{
    static const unsigned wrote[] = {[CP_COORD_DONE] = O_WROTE,
                                     [CP_COORD_CONFLICT] = O_CONFLICT,
                                     [CP_COORD_UNKNOWN] = O_UNKNOWN};
    static const unsigned modes[] = {
        [CP_OWNERSHIP_LOOK] = M_LOOK,     [CP_OWNERSHIP_WROTE] = M_WROTE,
        [CP_OWNERSHIP_OPENED] = M_OPENED, [CP_OWNERSHIP_CLOSED] = M_CLOSED,
        [CP_OWNERSHIP_SPLIT] = M_SPLIT,   [CP_OWNERSHIP_FORKED] = M_FORKED};
    static const unsigned told[] = {[CP_OWNERSHIP_OPENED] = O_OPENED,
                                    [CP_OWNERSHIP_CLOSED] = O_CLOSED,
                                    [CP_OWNERSHIP_SPLIT] = O_SPLIT,
                                    [CP_OWNERSHIP_FORKED] = O_FORKED};
    unsigned mode = cp_ownership_mode(o);
    if (event->type == CP_OWNERSHIP_MODE)
        meet(SHARD, mode, M_TAKES + (unsigned)event->mode);
    else if (event->type != CP_OWNERSHIP_WROTE || event->partition == CP_OWNERSHIP_MEMBER)
        meet(SHARD, mode, modes[event->type]);
    if (event->type == CP_OWNERSHIP_LOOK) {
        for (size_t i = 0; i < view->map->partition_count; i++)
            meet(OWNED, cp_ownership_state(o, view->map->partitions[i].number), O_LOOK);
    } else if (event->type != CP_OWNERSHIP_MODE && event->partition != CP_OWNERSHIP_MEMBER) {
        bool write = event->type == CP_OWNERSHIP_WROTE;
        meet(OWNED, cp_ownership_state(o, event->partition),
             write ? wrote[event->result] : told[event->type]);
    }
    __real_cp_ownership_step(o, view, event, fx);
}
/* NOLINTEND(bugprone-reserved-identifier) */
