/*
 * switchyard.v1.ActionService: batched enqueue, waiting for children page by page, and the event
 * log of a run from any sequence number.
 */
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "switchyard/v1/action_service.pb-c.h"

#include <string.h>

#define ACTIONS_A_REQUEST_MAX 10000
#define CHILDREN_DEFAULT 1000
#define CHILDREN_MAX 10000
#define WAIT_NS (30 * SY_NS_PER_S)
/* An answer comes this much before the caller's own deadline. */
#define WAIT_MARGIN_NS (100 * SY_NS_PER_MS)
#define READS_A_TURN 8

/* ---- EnqueueActions ---- */

static int enqueue_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__EnqueueActionsRequest *m = req->message;
    if (cp_address_native(req, m->run, error) < 0 ||
        cp_name_check("parent", m->parent, error) < 0 ||
        cp_text_check("group", m->group, 255, error) < 0)
        return -EINVAL;
    if (m->n_actions > ACTIONS_A_REQUEST_MAX) {
        sy_error_text_set(error, "actions: %zu, at most %d are allowed in one request",
                          m->n_actions, ACTIONS_A_REQUEST_MAX);
        return -EINVAL;
    }
    if (m->n_actions == 0 && !m->seal) {
        sy_error_text_set(error, "actions: empty, and seal is not set");
        return -EINVAL;
    }
    return 0;
}

static void enqueued(void *arg, const struct sy_status *status, const struct cp_enqueued *result)
{
    struct cp_request *req = arg;
    if (status->code != SY_CODE_OK) {
        cp_fail_status(req, status);
        return;
    }
    Switchyard__V1__EnqueueActionsResponse response =
        SWITCHYARD__V1__ENQUEUE_ACTIONS_RESPONSE__INIT;
    response.created = result->created;
    size_t count = result->existing_count;
    if (count > 0) {
        Switchyard__V1__ExistingAction **existing = cp_request_alloc(req, count * sizeof(void *));
        Switchyard__V1__ExistingAction *items = cp_request_alloc(req, count * sizeof(*items));
        for (size_t i = 0; i < count; i++) {
            switchyard__v1__existing_action__init(&items[i]);
            items[i].index = result->existing[i].index;
            items[i].phase = result->existing[i].phase;
            existing[i] = &items[i];
        }
        response.existing = existing;
        response.n_existing = count;
    }
    cp_reply_message(req, &response.base);
}

static void enqueue_actions(struct cp_request *req)
{
    const Switchyard__V1__EnqueueActionsRequest *m = req->message;
    const struct cp_address *a = &req->address;
    struct cp_new_action *actions = cp_request_alloc(req, m->n_actions * sizeof(*actions));
    for (size_t i = 0; i < m->n_actions; i++) {
        const Switchyard__V1__NewAction *from = m->actions[i];
        struct sy_error_text error;
        if (cp_name_check("name", from->name, &error) < 0 ||
            cp_text_check("input_uri", from->input_uri, CP_TEXT_MAX, &error) < 0) {
            cp_fail(req, SY_CODE_INVALID_ARGUMENT, "actions[%zu].%s", i, error.text);
            return;
        }
        actions[i] = (struct cp_new_action){
            from->name, {from->input.data, from->input.len}, from->input_uri};
    }
    struct cp_enqueue enqueue = {
        .project = a->project,
        .domain = a->domain,
        .run = a->run,
        .parent = m->parent,
        .task_spec = {m->task_spec.data, m->task_spec.len},
        .actions = actions,
        .count = m->n_actions,
        .priority = m->priority,
        .seal = m->seal,
        .group = m->group,
        .queue = m->queue,
    };
    struct cp_gang gang;
    struct sy_error_text wrong;
    if (m->gang && cp_gang_read(&gang, m->gang, m->n_actions, &wrong) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", wrong.text);
        return;
    }
    enqueue.gang = m->gang ? &gang : NULL;
    if (m->n_actions > 0 && m->task_spec.len == 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "task_spec: missing");
        return;
    }
    cp_partition_enqueue(req->lane->partition, &enqueue, enqueued, req);
    cp_request_trim(req); /* it was copied; thousands of requests may wait for their batch */
}

/* ---- WaitChildren ---- */

struct children_wait {
    struct cp_watch *watch;
    uint64_t run_id, after;
    size_t max;
    int64_t give_up_ns;
};

static int wait_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__WaitChildrenRequest *m = req->message;
    if (cp_address_native(req, m->run, error) < 0)
        return -EINVAL;
    req->address.action = m->parent;
    return cp_name_check("parent", m->parent, error);
}

/* Adds one child to the answer; 0, or what a read returns. */
static int add_child(struct cp_request *req, const char *name, struct sy_buf *response)
{
    const struct children_wait *w = req->state;
    struct cp_action_view view;
    int r = cp_partition_get_action(req->lane->partition, &req->lane->scratch, w->run_id, name,
                                    &view);
    if (r != 0)
        return r;
    Switchyard__V1__ChildOutcome child = SWITCHYARD__V1__CHILD_OUTCOME__INIT;
    Switchyard__V1__ChildOutcome *children[] = {&child};
    child.name = (char *)(uintptr_t)name;
    child.phase = view.phase;
    if (view.outcome != NULL) {
        child.output = view.outcome->output;
        child.output_uri = view.outcome->output_uri;
        child.error = view.outcome->error;
    }
    Switchyard__V1__WaitChildrenResponse part = SWITCHYARD__V1__WAIT_CHILDREN_RESPONSE__INIT;
    part.n_children = 1;
    part.children = children;
    pb_pack(&part.base, response); /* parts joined are one answer with all children */
    return 0;
}

/* Reads the next children, as many as fit into one answer. */
static int read_children(struct cp_request *req, struct sy_buf *response,
                         Switchyard__V1__WaitChildrenResponse *tail, size_t *ret_count)
{
    struct children_wait *w = req->state;
    const char **names;
    size_t count = 0, i = 0;
    uint64_t next = w->after, running = 0;
    int r = cp_watch_read_children(w->watch, cp_scratch(req->lane), w->max, &names, &count, &next,
                                   &running);
    while (r == 0 && i < count && response->len < CP_STREAM_BYTES_MAX)
        r = add_child(req, names[i++], response);
    /* Entries of a child log are numbered without gaps, so the cursor after a part is known. */
    tail->next = next - (count - i);
    tail->running = running;
    *ret_count = i;
    return r;
}

static void pump_wait(struct cp_request *req)
{
    struct children_wait *w = req->state;
    struct sy_buf response = {0};
    Switchyard__V1__WaitChildrenResponse tail = SWITCHYARD__V1__WAIT_CHILDREN_RESPONSE__INIT;
    size_t count = 0;
    int r = read_children(req, &response, &tail, &count);
    int64_t now = sy_loop_now_ns(req->lane->loop);
    if (r != 0) {
        sy_buf_deinit(&response);
        cp_fail_read(req, r);
    } else if (count > 0 || tail.running == 0 || now >= w->give_up_ns) {
        pb_pack(&tail.base, &response);
        cp_reply(req, &response);
    } else if (!sy_timer_running(&req->timer)) {
        cp_stream_again_in(req, w->give_up_ns - now);
    }
}

static void release_wait(struct cp_request *req)
{
    struct children_wait *w = req->state;
    cp_watch_free(w->watch);
}

static void wait_children(struct cp_request *req)
{
    const Switchyard__V1__WaitChildrenRequest *m = req->message;
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_run_view run;
    struct cp_action_view parent;
    if (!cp_view_run(req, arena, &run) || !cp_view_action(req, arena, run.id, m->parent, &parent))
        return;
    struct children_wait *w = cp_request_alloc(req, sizeof(*w));
    w->run_id = run.id;
    w->after = m->after;
    w->max = m->max == 0 ? CHILDREN_DEFAULT : m->max < CHILDREN_MAX ? m->max : CHILDREN_MAX;
    w->give_up_ns = sy_loop_now_ns(req->lane->loop) + WAIT_NS;
    int64_t deadline = sy_call_deadline_ns(req->call) - WAIT_MARGIN_NS;
    if (deadline < w->give_up_ns)
        w->give_up_ns = deadline;
    w->watch = cp_watch_children(req->lane->partition, run.id, m->parent, m->after, cp_stream_more,
                                 req);
    req->state = w;
    cp_stream_start(req, pump_wait, release_wait);
}

/* ---- WatchRun ---- */

struct run_watch {
    struct cp_watch *watch;
    bool final_only, caught_up;
};

static int watch_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__WatchRunRequest *m = req->message;
    return cp_address_native(req, m->run, error);
}

/* Keeps the events that the client wants. */
static size_t wanted_events(const struct run_watch *w, Switchyard__V1__Event **events, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!w->final_only || cp_phase_final(events[i]->phase))
            events[kept++] = events[i];
    }
    return kept;
}

static void pump_run(struct cp_request *req)
{
    struct run_watch *w = req->state;
    for (int reads = 0; reads < READS_A_TURN; reads++) {
        if (!cp_stream_ready(req))
            return;
        Switchyard__V1__Event **events = NULL;
        size_t count = 0;
        bool ended = false;
        int r = cp_watch_read_events(w->watch, cp_scratch(req->lane), CP_STREAM_BYTES_MAX, &events,
                                     &count, &ended);
        if (r != 0) {
            cp_fail_read(req, r);
            return;
        }
        Switchyard__V1__WatchRunResponse response = SWITCHYARD__V1__WATCH_RUN_RESPONSE__INIT;
        response.events = events;
        response.n_events = wanted_events(w, events, count);
        response.caught_up = !w->caught_up && (count == 0 || ended);
        w->caught_up = w->caught_up || response.caught_up;
        if (response.n_events > 0 || response.caught_up)
            cp_stream_send_message(req, &response.base);
        if (ended)
            cp_stream_end(req);
        if (ended || count == 0)
            return; /* on_more follows */
    }
    cp_stream_go_on(req);
}

static void release_run(struct cp_request *req)
{
    struct run_watch *w = req->state;
    cp_watch_free(w->watch);
}

static void watch_run(struct cp_request *req)
{
    const Switchyard__V1__WatchRunRequest *m = req->message;
    struct cp_run_view run;
    if (!cp_view_run(req, cp_scratch(req->lane), &run))
        return;
    struct run_watch *w = cp_request_alloc(req, sizeof(*w));
    w->final_only = m->final_only;
    w->watch = cp_watch_run(req->lane->partition, run.id, m->after_sequence, cp_stream_more, req);
    req->state = w;
    cp_stream_start(req, pump_run, release_run);
}

#define ACTION_SERVICE "/switchyard.v1.ActionService/"

const struct cp_method cp_native_methods[] = {
    {.path = ACTION_SERVICE "EnqueueActions",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__enqueue_actions_request__descriptor,
     .address = enqueue_address,
     .serve = enqueue_actions,
     .routable = true},
    {.path = ACTION_SERVICE "WaitChildren",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__wait_children_request__descriptor,
     .address = wait_address,
     .serve = wait_children,
     .routable = true},
    {.path = ACTION_SERVICE "WatchRun",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &switchyard__v1__watch_run_request__descriptor,
     .address = watch_address,
     .serve = watch_run,
     .routable = true},
    {0},
};
