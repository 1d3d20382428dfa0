/*
 * RunService's watches of one run: WatchRunDetails, WatchActionDetails, WatchActions. WatchRuns,
 * which spans partitions, is in api_watch_runs.c.
 *
 * A watch holds no queue: its pump reads the store when the client can take a message, and sends
 * the state as it is then. A client that stops reading costs its request and nothing more; changes
 * in between are joined, and the last state is always sent.
 */
#include "controlplane/filter.h"
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "flyteidl2/workflow/run_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Events read at a time: each may lead to a row with its input and output. */
#define EVENTS_BYTES_MAX ((size_t)16 * 1024)
/* Looks at an action that found nothing new are spaced out, so that watching one action of a busy
 * run does not cost a read for each commit of the run. */
#define QUIET_LOOKS 4
#define QUIET_DELAY_NS (1 * SY_NS_PER_MS)
#define QUIET_DELAY_MAX_NS (16 * SY_NS_PER_MS)

/* ---- details of one action ---- */

struct details_watch {
    struct cp_watch *watch;
    const char *action;
    uint64_t run_id;
    bool of_run;
    bool more;      /* something of the run changed since the last look */
    unsigned quiet; /* looks since the last change of this action */
    /* what was sent last */
    bool sent;
    Switchyard__V1__Phase phase;
    uint32_t number;
    int64_t started_ns;
    char node[SCH_NAME_MAX];
};

static bool details_changed(struct details_watch *w, const struct cp_action_view *view)
{
    const char *node = view->node != NULL ? view->node : "";
    if (w->sent && w->phase == view->phase && w->number == view->number &&
        w->started_ns == view->started_ns && strncmp(w->node, node, sizeof(w->node) - 1) == 0)
        return false;
    w->sent = true;
    w->phase = view->phase;
    w->number = view->number;
    w->started_ns = view->started_ns;
    snprintf(w->node, sizeof(w->node), "%s", node);
    return true;
}

static void send_details(struct cp_request *req)
{
    struct details_watch *w = req->state;
    struct cp_details details = {0};
    if (cp_details_read(req, w->action, &details)) {
        struct sy_buf message = {0};
        if (w->of_run)
            cp_details_pack_run(req, &details, &message);
        else
            cp_details_pack_action(req, &details, &message);
        details_changed(w, &details.action); /* what is sent, not what was looked at */
        cp_stream_send(req, &message);
        if (cp_phase_final(details.action.phase))
            cp_stream_end(req);
    }
    sy_buf_deinit(&details.spec);
}

static void details_more(void *arg)
{
    struct cp_request *req = arg;
    struct details_watch *w = req->state;
    w->more = true;
    cp_stream_more(req);
}

static void pump_details(struct cp_request *req)
{
    struct details_watch *w = req->state;
    if (!cp_partition_serving(req->lane->partition)) {
        cp_fail_not_serving(req); /* its watch is detached: it would hear nothing any more */
        return;
    }
    if (!cp_stream_ready(req) || sy_timer_running(&req->timer))
        return;
    if (w->sent && !w->more) {
        w->quiet = 0;
        return;
    }
    w->more = false;
    struct cp_action_view view;
    if (!cp_view_action(req, cp_scratch(req->lane), w->run_id, w->action, &view))
        return;
    if (details_changed(w, &view)) {
        w->quiet = 0;
        send_details(req);
    } else if (++w->quiet > QUIET_LOOKS) {
        unsigned doublings = w->quiet - QUIET_LOOKS - 1;
        cp_stream_again_in(req, doublings < 4 ? QUIET_DELAY_NS << doublings : QUIET_DELAY_MAX_NS);
    }
}

static void release_details(struct cp_request *req)
{
    struct details_watch *w = req->state;
    cp_watch_free(w->watch);
}

static void watch_details(struct cp_request *req, const char *action, bool of_run)
{
    struct cp_run_view run;
    struct cp_action_view view;
    struct sy_arena *arena = cp_scratch(req->lane);
    if (!cp_view_run(req, arena, &run) || !cp_view_action(req, arena, run.id, action, &view))
        return;
    struct details_watch *w = cp_request_alloc(req, sizeof(*w));
    w->action = action;
    w->run_id = run.id;
    w->of_run = of_run;
    w->watch = cp_watch_run(req->lane->partition, run.id, UINT64_MAX, details_more, req);
    req->state = w;
    cp_stream_start(req, pump_details, release_details);
}

static int details_of_run(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__WatchRunDetailsRequest *m = req->message;
    return cp_address_run(req, m->run_id, error);
}

static void watch_run_details(struct cp_request *req)
{
    watch_details(req, SCH_ROOT_NAME, true);
}

static int details_of_action(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__WatchActionDetailsRequest *m = req->message;
    return cp_address_action(req, m->action_id, error);
}

static void watch_action_details(struct cp_request *req)
{
    watch_details(req, req->address.action, false);
}

/* ---- all actions of a run ----
 *
 *   SETTLE --> LIST --> CHANGES --> (the run has ended)
 *
 * No change is lost between the list and the changes: the log is followed from the last event that
 * existed when the watch began, and the list is read only once that event is durable. What the list
 * does not show therefore comes later in the log.
 */
enum actions_step { ACTIONS_SETTLE, ACTIONS_LIST, ACTIONS_CHANGES };

struct actions_watch {
    struct cp_watch *watch;
    enum actions_step step;
    uint64_t run_id;
    bool run_ended;  /* nothing follows the list, or what was read of the log */
    bool all_events; /* SETTLE: the whole log has to be passed */
    char after[CP_NAME_LENGTH_MAX + 1];
    struct cp_filters filters;
};

/* Adds one action to `buf`; `list`: only when it meets the filter. */
static int add_enriched(struct cp_request *req, const struct cp_action_view *view, bool list,
                        struct sy_buf *buf)
{
    const struct actions_watch *w = req->state;
    const struct cp_task_names *names;
    int r = cp_view_names(req->lane, view, &names);
    if (r != 0)
        return r;
    struct cp_filter_subject subject;
    cp_list_subject(&subject, view, names);
    bool meets = cp_filters_match(&w->filters, &subject);
    if (list && !meets)
        return 0;
    struct cp_flyte f = cp_request_flyte(req);
    Flyteidl2__Workflow__EnrichedAction item = FLYTEIDL2__WORKFLOW__ENRICHED_ACTION__INIT;
    Flyteidl2__Workflow__EnrichedAction *items[] = {&item};
    item.action = cp_flyte_action(&f, view, names);
    item.meets_filter = meets;
    Flyteidl2__Workflow__WatchActionsResponse response =
        FLYTEIDL2__WORKFLOW__WATCH_ACTIONS_RESPONSE__INIT;
    response.n_enriched_actions = 1;
    response.enriched_actions = items;
    pb_pack(&response.base, buf); /* responses joined are one response with all items */
    return 0;
}

/* True when the list may be read. */
static bool settle(struct cp_request *req)
{
    struct actions_watch *w = req->state;
    Switchyard__V1__Event **events;
    size_t count = 0;
    bool last = false;
    int r = cp_watch_read_events(w->watch, cp_scratch(req->lane), EVENTS_BYTES_MAX, &events, &count,
                                 &last);
    if (r != 0) {
        cp_fail_read(req, r);
        return false;
    }
    w->run_ended = last;
    if (last || (count > 0 && !w->all_events))
        return true;
    if (count > 0)
        cp_stream_go_on(req);
    return false;
}

struct list_chunk {
    struct cp_action_view actions[CP_CHUNK_ROWS];
    size_t count;
};

static bool take_action(void *ctx, const struct cp_action_view *action)
{
    struct list_chunk *chunk = ctx;
    chunk->actions[chunk->count++] = *action;
    return chunk->count < CP_CHUNK_ROWS;
}

/* Reads one chunk of the list into `buf`. 0, or what a read returns. */
static int list_some(struct cp_request *req, struct sy_buf *buf)
{
    struct actions_watch *w = req->state;
    struct list_chunk chunk = {0};
    int r = cp_partition_list_actions(req->lane->partition, cp_scratch(req->lane), w->run_id,
                                      w->after, take_action, &chunk);
    for (size_t i = 0; r == 0 && i < chunk.count; i++) {
        r = add_enriched(req, &chunk.actions[i], true, buf);
        snprintf(w->after, sizeof(w->after), "%s", chunk.actions[i].name);
    }
    if (r == 0 && chunk.count < CP_CHUNK_ROWS)
        w->step = ACTIONS_CHANGES;
    return r;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Reads the next events and adds the actions that they are about. */
static int changes_some(struct cp_request *req, struct sy_buf *buf, size_t *ret_events)
{
    struct actions_watch *w = req->state;
    struct sy_arena *arena = cp_scratch(req->lane);
    Switchyard__V1__Event **events;
    int r = cp_watch_read_events(w->watch, arena, EVENTS_BYTES_MAX, &events, ret_events,
                                 &w->run_ended);
    if (r != 0 || *ret_events == 0)
        return r;
    size_t count = *ret_events;
    const char **names = sy_arena_alloc(arena, count * sizeof(*names));
    SY_ASSERT(names != NULL);
    for (size_t i = 0; i < count; i++)
        names[i] = events[i]->action;
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 0; i < count && r == 0; i++) {
        if (names[i][0] == '\0' || (i > 0 && strcmp(names[i - 1], names[i]) == 0))
            continue;
        struct cp_action_view view;
        r = cp_partition_get_action(req->lane->partition, arena, w->run_id, names[i], &view);
        if (r == 0)
            r = add_enriched(req, &view, false, buf);
    }
    return r;
}

static void pump_list(struct cp_request *req)
{
    struct actions_watch *w = req->state;
    struct sy_buf message = {0};
    int r = 0;
    for (int i = 0; i < 4 && r == 0 && w->step == ACTIONS_LIST; i++)
        r = list_some(req, &message);
    if (r != 0) {
        sy_buf_deinit(&message);
        cp_fail_read(req, r);
        return;
    }
    if (message.len > 0)
        cp_stream_send(req, &message);
    if (w->step == ACTIONS_CHANGES && w->run_ended)
        cp_stream_end(req);
    else
        cp_stream_go_on(req);
}

static void pump_changes(struct cp_request *req)
{
    struct actions_watch *w = req->state;
    struct sy_buf message = {0};
    size_t events = 0;
    int r = changes_some(req, &message, &events);
    if (r != 0) {
        sy_buf_deinit(&message);
        cp_fail_read(req, r);
        return;
    }
    if (message.len > 0)
        cp_stream_send(req, &message);
    if (w->run_ended)
        cp_stream_end(req);
    else if (events > 0)
        cp_stream_go_on(req);
}

static void pump_actions(struct cp_request *req)
{
    struct actions_watch *w = req->state;
    if (!cp_stream_ready(req))
        return;
    if (w->step == ACTIONS_SETTLE) {
        if (!settle(req))
            return;
        w->step = ACTIONS_LIST;
    }
    if (w->step == ACTIONS_LIST)
        pump_list(req);
    else
        pump_changes(req);
}

static void release_actions(struct cp_request *req)
{
    struct actions_watch *w = req->state;
    cp_watch_free(w->watch);
}

static int actions_of_run(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__WatchActionsRequest *m = req->message;
    return cp_address_run(req, m->run_id, error);
}

static void watch_actions(struct cp_request *req)
{
    const Flyteidl2__Workflow__WatchActionsRequest *m = req->message;
    struct actions_watch *w = cp_request_alloc(req, sizeof(*w));
    struct sy_error_text error = {0};
    if (cp_filters_read(&w->filters, CP_LIST_ACTION_FIELDS, m->filter, m->n_filter, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    struct cp_run_view run;
    if (!cp_view_run(req, cp_scratch(req->lane), &run))
        return;
    w->run_id = run.id;
    w->run_ended = cp_phase_final(run.row->phase);
    uint64_t last = run.live != NULL ? run.live->event_sequence : 0;
    w->all_events = run.live == NULL;
    w->step = w->run_ended ? ACTIONS_LIST : ACTIONS_SETTLE;
    w->watch = cp_watch_run(req->lane->partition, run.id, last > 0 ? last - 1 : 0, cp_stream_more,
                            req);
    req->state = w;
    cp_stream_start(req, pump_actions, release_actions);
}

/* ---- WatchClusterEvents: no cluster reports any, so the stream ends at once ---- */

static int action_of_events(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__WatchClusterEventsRequest *m = req->message;
    return cp_address_action(req, m->id, error);
}

static void watch_cluster_events(struct cp_request *req)
{
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_run_view run;
    struct cp_action_view action;
    if (cp_view_run(req, arena, &run) &&
        cp_view_action(req, arena, run.id, req->address.action, &action))
        cp_stream_start(req, cp_stream_end, NULL);
}

#define RUN_SERVICE "/flyteidl2.workflow.RunService/"

const struct cp_method cp_watch_methods[] = {
    {.path = RUN_SERVICE "WatchClusterEvents",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &flyteidl2__workflow__watch_cluster_events_request__descriptor,
     .address = action_of_events,
     .serve = watch_cluster_events},
    {.path = RUN_SERVICE "WatchRunDetails",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &flyteidl2__workflow__watch_run_details_request__descriptor,
     .address = details_of_run,
     .serve = watch_run_details},
    {.path = RUN_SERVICE "WatchActionDetails",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &flyteidl2__workflow__watch_action_details_request__descriptor,
     .address = details_of_action,
     .serve = watch_action_details},
    {.path = RUN_SERVICE "WatchActions",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &flyteidl2__workflow__watch_actions_request__descriptor,
     .address = actions_of_run,
     .serve = watch_actions},
    {.path = RUN_SERVICE "WatchRuns",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &flyteidl2__workflow__watch_runs_request__descriptor,
     .serve = cp_runs_watch_serve,
     .parts = true},
    {0},
};
