/*
 * flyteidl2.actions.ActionsService: what a running parent task calls.
 *
 * Enqueue is idempotent: an action that exists below the same parent is OK, alive or ended. The SDK
 * takes ALREADY_EXISTS for success too, so that code is never sent for a name that lies below
 * another parent; INVALID_ARGUMENT fails the child at once, as does ABORTED, which says that the
 * parent has ended.
 *
 * WatchForUpdates sends what has ended (the parent's child log), then what lives, then the traces
 * of a run that is recovered (a parent looks for those here and nowhere else), then the sentinel,
 * then what ends from now on, at least once. It tells of ends only: the SDK acts on nothing else,
 * and a parent with 100,000 children would otherwise read every event of the run for each of its
 * watches.
 */
#include "base/mem.h"
#include "controlplane/flyte.h"
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/workflow/queue_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_A_READ 32

/* ---- Enqueue ---- */

typedef Flyteidl2__Actions__Action flyte_action;

static const char *parent_name(const flyte_action *action)
{
    bool given = action->_parent_action_name_case ==
                 FLYTEIDL2__ACTIONS__ACTION___PARENT_ACTION_NAME_PARENT_ACTION_NAME;
    return given ? action->parent_action_name : "";
}

static int enqueue_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Actions__EnqueueRequest *m = req->message;
    const flyte_action *action = m->action;
    if (action == NULL) {
        sy_error_text_set(error, "action: missing");
        return -EINVAL;
    }
    if (cp_address_action(req, action->action_id, error) < 0)
        return -EINVAL;
    if (parent_name(action)[0] == '\0') {
        sy_error_text_set(error, "parent_action_name: missing; the root of a run is made by "
                                 "RunService.CreateRun");
        return -EINVAL;
    }
    if (cp_name_check("parent_action_name", parent_name(action), error) < 0 ||
        cp_text_check("input_uri", action->input_uri, CP_TEXT_MAX, error) < 0 ||
        cp_text_check("run_output_base", action->run_output_base, CP_TEXT_MAX, error) < 0 ||
        cp_text_check("group", action->group, 255, error) < 0 ||
        cp_text_check("subject", action->subject, 255, error) < 0)
        return -EINVAL;
    return 0;
}

/* What Flyte's API wants back and no row of ours has: the action without its TaskSpec, and without
 * what the row holds already. */
static struct sy_span pack_stored(struct cp_request *req, const flyte_action *action)
{
    struct sy_buf *buf = &req->lane->buf;
    sy_buf_clear(buf);
    flyte_action stored = FLYTEIDL2__ACTIONS__ACTION__INIT;
    Flyteidl2__Workflow__TaskAction task = FLYTEIDL2__WORKFLOW__TASK_ACTION__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    Flyteidl2__Common__ActionIdentifier id = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    if (req->address.org[0] != '\0') {
        run.org = (char *)(uintptr_t)req->address.org;
        id.run = &run;
        stored.action_id = &id;
    }
    stored.run_output_base = action->run_output_base;
    stored.subject = action->subject;
    stored.spec_case = action->spec_case;
    if (action->spec_case == FLYTEIDL2__ACTIONS__ACTION__SPEC_TASK) {
        task.id = action->task->id;
        task.cache_key = action->task->cache_key;
        stored.task = &task;
    } else if (action->spec_case == FLYTEIDL2__ACTIONS__ACTION__SPEC_TRACE) {
        stored.trace = action->trace;
    } else {
        stored.condition = action->condition;
    }
    pb_pack(&stored.base, buf);
    return sy_buf_span(buf);
}

static void enqueue_failed(struct cp_request *req, const struct sy_status *status)
{
    enum sy_code code = status->code;
    if (code == SY_CODE_ALREADY_EXISTS)
        code = SY_CODE_INVALID_ARGUMENT;
    else if (code == SY_CODE_FAILED_PRECONDITION)
        code = SY_CODE_ABORTED;
    cp_fail(req, code, "%s", status->message.text);
}

static void enqueued(void *arg, const struct sy_status *status, const struct cp_enqueued *result)
{
    (void)result;
    struct cp_request *req = arg;
    if (status->code == SY_CODE_OK)
        cp_done_empty(req, status);
    else
        enqueue_failed(req, status);
}

static void recorded(void *arg, const struct sy_status *status)
{
    enqueued(arg, status, NULL);
}

static void enqueue_task(struct cp_request *req, const flyte_action *action)
{
    const struct cp_address *a = &req->address;
    struct cp_new_action child = {.name = a->action, .input_uri = action->input_uri};
    struct cp_enqueue enqueue = {
        .project = a->project,
        .domain = a->domain,
        .run = a->run,
        .parent = parent_name(action),
        .task_spec = {action->task->spec.data, action->task->spec.len},
        .actions = &child,
        .count = 1,
        .patient = true,
        .group = action->group,
        .queue = action->task->queue,
    };
    if (enqueue.task_spec.len == 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "task.spec: missing");
        return;
    }
    enqueue.flyte = pack_stored(req, action);
    cp_partition_enqueue(req->lane->partition, &enqueue, enqueued, req);
}

static struct cp_new_child new_child(struct cp_request *req, const flyte_action *action)
{
    const struct cp_address *a = &req->address;
    return (struct cp_new_child){.project = a->project,
                                 .domain = a->domain,
                                 .run = a->run,
                                 .parent = parent_name(action),
                                 .name = a->action,
                                 .group = action->group};
}

static void enqueue_condition(struct cp_request *req, const flyte_action *action)
{
    const Flyteidl2__Workflow__ConditionAction *condition = action->condition;
    const Google__Protobuf__Duration *timeout = condition->timeout;
    struct cp_new_child child = new_child(req, action);
    struct sy_error_text error;
    if (cp_text_check("condition.name", condition->name, 255, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    if (timeout != NULL && (timeout->seconds < 0 || timeout->nanos < 0 ||
                            timeout->seconds > CP_CONDITION_TIMEOUT_S_MAX)) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "condition.timeout of %lld s: expected 0 to %u s",
                (long long)timeout->seconds, CP_CONDITION_TIMEOUT_S_MAX);
        return;
    }
    child.flyte = pack_stored(req, action);
    cp_partition_condition(req->lane->partition, &child, recorded, req);
}

static void enqueue_trace(struct cp_request *req, const flyte_action *action)
{
    const Flyteidl2__Workflow__TraceAction *trace = action->trace;
    struct cp_record record = {
        .child = new_child(req, action),
        .started_ns = cp_flyte_time_ns(trace->start_time),
        .finished_ns = cp_flyte_time_ns(trace->end_time),
        .output_uri = trace->outputs != NULL ? trace->outputs->output_uri : "",
    };
    struct sy_error_text error;
    if (cp_text_check("trace.name", trace->name, 255, &error) < 0 ||
        cp_text_check("trace.outputs.output_uri", record.output_uri, CP_TEXT_MAX, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    if (trace->phase == FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_SUCCEEDED) {
        record.phase = SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    } else if (trace->phase == FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_FAILED) {
        record.phase = SWITCHYARD__V1__PHASE__PHASE_FAILED;
        record.error_code = "TraceFailed";
        record.error_message = "the traced call raised an error";
    } else {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT,
                "trace.phase %d: a trace is recorded when it has ended, as SUCCEEDED or FAILED",
                (int)trace->phase);
        return;
    }
    record.child.flyte = pack_stored(req, action);
    cp_partition_record(req->lane->partition, &record, recorded, req);
}

static void enqueue(struct cp_request *req)
{
    const Flyteidl2__Actions__EnqueueRequest *m = req->message;
    switch (m->action->spec_case) {
    case FLYTEIDL2__ACTIONS__ACTION__SPEC_TASK:
        enqueue_task(req, m->action);
        return;
    case FLYTEIDL2__ACTIONS__ACTION__SPEC_TRACE:
        enqueue_trace(req, m->action);
        return;
    case FLYTEIDL2__ACTIONS__ACTION__SPEC_CONDITION:
        enqueue_condition(req, m->action);
        return;
    default:
        cp_fail(req, SY_CODE_INVALID_ARGUMENT,
                "action: one of task, trace and condition is needed");
    }
}

/* QueueService's form of the same: it becomes the other one. */
static int enqueue_queue_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__EnqueueActionRequest *from = req->message;
    Flyteidl2__Actions__EnqueueRequest *to = cp_request_alloc(req, sizeof(*to));
    flyte_action *action = cp_request_alloc(req, sizeof(*action));
    flyteidl2__actions__enqueue_request__init(to);
    flyteidl2__actions__action__init(action);
    to->action = action;
    action->action_id = from->action_id;
    if (from->_parent_action_name_case ==
        FLYTEIDL2__WORKFLOW__ENQUEUE_ACTION_REQUEST___PARENT_ACTION_NAME_PARENT_ACTION_NAME) {
        action->_parent_action_name_case =
            FLYTEIDL2__ACTIONS__ACTION___PARENT_ACTION_NAME_PARENT_ACTION_NAME;
        action->parent_action_name = from->parent_action_name;
    }
    action->input_uri = from->input_uri;
    action->run_output_base = from->run_output_base;
    action->group = from->group;
    action->subject = from->subject;
    switch (from->spec_case) {
    case FLYTEIDL2__WORKFLOW__ENQUEUE_ACTION_REQUEST__SPEC_TASK:
        action->spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TASK;
        action->task = from->task;
        break;
    case FLYTEIDL2__WORKFLOW__ENQUEUE_ACTION_REQUEST__SPEC_TRACE:
        action->spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TRACE;
        action->trace = from->trace;
        break;
    case FLYTEIDL2__WORKFLOW__ENQUEUE_ACTION_REQUEST__SPEC_CONDITION:
        action->spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_CONDITION;
        action->condition = from->condition;
        break;
    default:
        break;
    }
    req->message = to;
    return enqueue_address(req, error);
}

/* ---- WatchForUpdates ----
 *
 *   ENDED --> ALIVE --> RECOVERED --> SENTINEL --> LIVE
 *
 * A child that failed under an earlier attempt of its parent is left out: it will be made again
 * when it is enqueued (docs/flyte.md).
 */
enum updates_step { UPDATES_ENDED, UPDATES_ALIVE, UPDATES_RECOVERED, UPDATES_LIVE };

struct updates_watch {
    struct cp_watch *watch;
    enum updates_step step;
    uint64_t run_id;
    uint64_t source;               /* the run that this one recovers, 0: none */
    struct cp_watch *source_watch; /* its child log */
    struct sy_span run_spec;       /* in the request's arena */
    char **alive;                  /* names of the children that live, at the time of ALIVE */
    size_t alive_count, alive_cap, alive_next;
};

static void send_update(struct cp_request *req, const struct cp_action_view *view)
{
    struct cp_flyte f = cp_request_flyte(req);
    Flyteidl2__Actions__WatchForUpdatesResponse response =
        FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_RESPONSE__INIT;
    response.message_case = FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_RESPONSE__MESSAGE_ACTION_UPDATE;
    response.action_update = cp_flyte_update(&f, view);
    cp_stream_send_message(req, &response.base);
}

static void send_sentinel(struct cp_request *req)
{
    Flyteidl2__Workflow__ControlMessage control = FLYTEIDL2__WORKFLOW__CONTROL_MESSAGE__INIT;
    control.sentinel = true;
    Flyteidl2__Actions__WatchForUpdatesResponse response =
        FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_RESPONSE__INIT;
    response.message_case = FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_RESPONSE__MESSAGE_CONTROL_MESSAGE;
    response.control_message = &control;
    cp_stream_send_message(req, &response.base);
}

/* The attempt that the parent is in; 0: it has ended. */
static uint32_t parent_number(struct cp_request *req)
{
    const struct updates_watch *w = req->state;
    return cp_partition_attempt(req->lane->partition, w->run_id, req->address.action);
}

/* Reads and sends one of the names; false when the request has failed. One that is not durable yet
 * is left out: it comes when it ends. */
static bool send_child(struct cp_request *req, const char *name)
{
    struct updates_watch *w = req->state;
    struct cp_action_view view;
    int r = cp_partition_get_action(req->lane->partition, &req->lane->scratch, w->run_id, name,
                                    &view);
    if (r == CP_PARTITION_E_NOT_FOUND)
        return true;
    if (r != 0) {
        cp_fail_read(req, r);
        return false;
    }
    bool failed = cp_phase_final(view.phase) &&
                  view.phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    if (!failed || view.outcome == NULL || view.outcome->parent_number == 0 ||
        view.outcome->parent_number >= parent_number(req))
        send_update(req, &view);
    return true;
}

static void free_alive(struct updates_watch *w)
{
    for (size_t i = 0; i < w->alive_count; i++)
        free(w->alive[i]);
    free(w->alive);
    w->alive = NULL;
    w->alive_count = w->alive_cap = w->alive_next = 0;
}

static bool take_child(void *ctx, struct sch_action *child)
{
    struct updates_watch *w = ctx;
    if (w->alive_count == w->alive_cap) {
        w->alive_cap = w->alive_cap > 0 ? w->alive_cap * 2 : 64;
        w->alive = sy_realloc(w->alive, w->alive_cap * sizeof(*w->alive));
    }
    w->alive[w->alive_count++] = sy_strdup(child->name);
    return true;
}

/* False: the request has failed. *ret_parent_lives as of now. */
static bool look_at_parent(struct cp_request *req, bool list, bool *ret_parent_lives)
{
    struct cp_action_view parent;
    if (!cp_view_action(req, cp_scratch(req->lane), ((struct updates_watch *)req->state)->run_id,
                        req->address.action, &parent))
        return false;
    *ret_parent_lives = !cp_phase_final(parent.phase);
    if (list && parent.live != NULL)
        sch_action_each_child(parent.live, take_child, req->state);
    return true;
}

/* Sends what ended since the last read. False: nothing was there, or the request has failed. */
static bool send_ended(struct cp_request *req)
{
    struct updates_watch *w = req->state;
    const char **names;
    size_t count = 0;
    uint64_t next, running;
    int r = cp_watch_read_children(w->watch, cp_scratch(req->lane), NAMES_A_READ, &names, &count,
                                   &next, &running);
    if (r != 0)
        cp_fail_read(req, r);
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (!send_child(req, names[i]))
            return false;
    }
    return r == 0 && count > 0;
}

static void send_alive(struct cp_request *req)
{
    struct updates_watch *w = req->state;
    cp_scratch(req->lane);
    for (int i = 0; i < NAMES_A_READ && w->alive_next < w->alive_count; i++) {
        if (!send_child(req, w->alive[w->alive_next++]))
            return;
    }
    if (w->alive_next < w->alive_count)
        return;
    free_alive(w);
    w->step = UPDATES_RECOVERED;
}

/* A trace that succeeded in the run that is recovered, as if it were this run's. */
static bool send_recovered(struct cp_request *req, const char *name)
{
    enum { ACTION_TRACE = 8 };
    struct updates_watch *w = req->state;
    struct cp_partition *p = req->lane->partition;
    struct cp_action_view view, own;
    int r = cp_partition_get_action(p, &req->lane->scratch, w->source, name, &view);
    if (r == CP_PARTITION_E_NOT_FOUND)
        return true;
    struct sy_span flyte = {0};
    if (r == 0)
        flyte = (struct sy_span){view.row->flyte.data, view.row->flyte.len};
    bool wanted = r == 0 && view.phase == SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED &&
                  cp_row_bytes(flyte, ACTION_TRACE).len > 0 &&
                  cp_partition_recovers(p, w->run_spec, name) == w->source;
    if (wanted)
        r = cp_partition_get_action(p, &req->lane->scratch, w->run_id, name, &own);
    if (r != 0 && r != CP_PARTITION_E_NOT_FOUND) {
        cp_fail_read(req, r);
        return false;
    }
    if (wanted && r == CP_PARTITION_E_NOT_FOUND) {
        view.outcome->recovered = true;
        send_update(req, &view);
    }
    return true;
}

/* True: there may be more. */
static bool send_traces(struct cp_request *req)
{
    struct updates_watch *w = req->state;
    const char **names;
    size_t count = 0;
    uint64_t next, running;
    if (w->source_watch == NULL)
        return false;
    int r = cp_watch_read_children(w->source_watch, cp_scratch(req->lane), NAMES_A_READ, &names,
                                   &count, &next, &running);
    if (r == CP_PARTITION_E_NOT_FOUND)
        return false; /* that run had no such parent */
    if (r != 0)
        cp_fail_read(req, r);
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (!send_recovered(req, names[i]))
            return false;
    }
    return r == 0 && count > 0;
}

static void pump_updates(struct cp_request *req)
{
    struct updates_watch *w = req->state;
    bool parent_lives = true;
    if (!cp_stream_ready(req))
        return;
    if (w->step == UPDATES_ENDED && !send_ended(req) && !req->finished) {
        if (!look_at_parent(req, true, &parent_lives))
            return;
        w->step = UPDATES_ALIVE;
    }
    if (w->step == UPDATES_ALIVE) {
        send_alive(req);
    } else if (w->step == UPDATES_RECOVERED) {
        if (!send_traces(req) && !req->finished) {
            w->step = UPDATES_LIVE;
            send_sentinel(req);
        }
    } else if (w->step == UPDATES_LIVE && !send_ended(req)) {
        if (!req->finished && look_at_parent(req, false, &parent_lives) && !parent_lives)
            cp_stream_end(req); /* nothing more can come */
        return;                 /* on_more follows */
    }
    cp_stream_go_on(req);
}

static void release_updates(struct cp_request *req)
{
    struct updates_watch *w = req->state;
    cp_watch_free(w->watch);
    cp_watch_free(w->source_watch);
    free_alive(w);
}

static int updates_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Actions__WatchForUpdatesRequest *m = req->message;
    if (m->filter_case != FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_REQUEST__FILTER_PARENT_ACTION_ID) {
        sy_error_text_set(error, "parent_action_id: missing");
        return -EINVAL;
    }
    return cp_address_action(req, m->parent_action_id, error);
}

static void watch_for_updates(struct cp_request *req)
{
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_run_view run;
    struct cp_action_view parent;
    if (!cp_view_run(req, arena, &run) ||
        !cp_view_action(req, arena, run.id, req->address.action, &parent))
        return;
    struct updates_watch *w = cp_request_alloc(req, sizeof(*w));
    w->run_id = run.id;
    struct sy_span run_spec = {run.row->run_spec.data, run.row->run_spec.len};
    w->source = cp_partition_recovers(req->lane->partition, run_spec, NULL);
    if (w->source != 0) {
        uint8_t *copy = cp_request_alloc(req, run_spec.len);
        memcpy(copy, run_spec.data, run_spec.len);
        w->run_spec = (struct sy_span){copy, run_spec.len};
        w->source_watch = cp_watch_children(req->lane->partition, w->source, req->address.action, 0,
                                            cp_stream_more, req);
    }
    w->watch = cp_watch_children(req->lane->partition, run.id, req->address.action, 0,
                                 cp_stream_more, req);
    req->state = w;
    cp_stream_start(req, pump_updates, release_updates);
}

/* ---- Abort, Update ---- */

static int abort_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Actions__AbortRequest *m = req->message;
    if (m->_reason_case == FLYTEIDL2__ACTIONS__ABORT_REQUEST___REASON_REASON &&
        cp_text_check("reason", m->reason, CP_TEXT_MAX, error) < 0)
        return -EINVAL;
    return cp_address_action(req, m->action_id, error);
}

static void abort_action(struct cp_request *req)
{
    const Flyteidl2__Actions__AbortRequest *m = req->message;
    const struct cp_address *a = &req->address;
    bool given = m->_reason_case == FLYTEIDL2__ACTIONS__ABORT_REQUEST___REASON_REASON;
    cp_partition_abort(req->lane->partition, a->project, a->domain, a->run, a->action,
                       given ? m->reason : "", cp_done_empty, req);
}

static int update_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Actions__UpdateRequest *m = req->message;
    return cp_address_action(req, m->action_id, error);
}

/* An action's state comes from its cluster alone. An update that says what is known already is
 * answered OK, so that a caller that repeats what it saw does no harm. */
static void update_action(struct cp_request *req)
{
    const Flyteidl2__Actions__UpdateRequest *m = req->message;
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_run_view run;
    struct cp_action_view action;
    if (!cp_view_run(req, arena, &run) ||
        !cp_view_action(req, arena, run.id, req->address.action, &action))
        return;
    static const struct sy_status ok = {.code = SY_CODE_OK};
    if (m->status != NULL && m->status->phase == cp_flyte_phase(action.phase))
        cp_done_empty(req, &ok);
    else
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "Update: the state of a task comes from the cluster that runs it; record a trace "
                "with Enqueue");
}

#define ACTIONS_SERVICE "/flyteidl2.actions.ActionsService/"
#define QUEUE_SERVICE "/flyteidl2.workflow.QueueService/"
#define STATE_SERVICE "/flyteidl2.workflow.StateService/"

const struct cp_method cp_actions_methods[] = {
    {.path = ACTIONS_SERVICE "Enqueue",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__actions__enqueue_request__descriptor,
     .address = enqueue_address,
     .serve = enqueue,
     .routable = true},
    {.path = ACTIONS_SERVICE "WatchForUpdates",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &flyteidl2__actions__watch_for_updates_request__descriptor,
     .address = updates_address,
     .serve = watch_for_updates,
     .routable = true},
    {.path = ACTIONS_SERVICE "Abort",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__actions__abort_request__descriptor,
     .address = abort_address,
     .serve = abort_action,
     .routable = true},
    {.path = ACTIONS_SERVICE "Update",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__actions__update_request__descriptor,
     .address = update_address,
     .serve = update_action,
     .routable = true},
    /* The older twins. Watch and AbortQueuedAction have the same form on the wire. */
    {.path = QUEUE_SERVICE "EnqueueAction",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__enqueue_action_request__descriptor,
     .address = enqueue_queue_address,
     .serve = enqueue,
     .routable = true},
    {.path = QUEUE_SERVICE "AbortQueuedAction",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__actions__abort_request__descriptor,
     .address = abort_address,
     .serve = abort_action,
     .routable = true},
    {.path = STATE_SERVICE "Watch",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &flyteidl2__actions__watch_for_updates_request__descriptor,
     .address = updates_address,
     .serve = watch_for_updates,
     .routable = true},
    {.path = STATE_SERVICE "Put",
     .kind = SY_METHOD_UNARY,
     .unimplemented = "Put: the state of an action comes from the cluster that runs it"},
    {.path = STATE_SERVICE "Get",
     .kind = SY_METHOD_UNARY,
     .unimplemented = "Get is not served; use RunService.GetActionDetails"},
    {0},
};
