/* A parent of a Flyte program, as tests play it: the run p/d/r, its root a0. */
#pragma once

#include "tests/unit/cp_requests.h"

typedef Flyteidl2__Workflow__ActionUpdate update_msg;

/* ---- what a parent hears ---- */

/* The last update of this child so far, NULL when there is none. */
UNUSED static const update_msg *last_update(const struct stream *s, const char *name)
{
    const update_msg *last = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const Flyteidl2__Actions__WatchForUpdatesResponse *m = s->messages[i];
        if (m->message_case ==
                FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_RESPONSE__MESSAGE_ACTION_UPDATE &&
            strcmp(m->action_update->action_id->name, name) == 0)
            last = m->action_update;
    }
    return last;
}

UNUSED static bool heard(const struct stream *s, const char *name, int phase)
{
    const update_msg *update = last_update(s, name);
    return update != NULL && (int)update->phase == phase;
}

UNUSED static void watch(struct world *w, struct stream *s, struct run_ids *ids)
{
    Flyteidl2__Actions__WatchForUpdatesRequest request =
        FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_REQUEST__INIT;
    request.filter_case = FLYTEIDL2__ACTIONS__WATCH_FOR_UPDATES_REQUEST__FILTER_PARENT_ACTION_ID;
    ids_init(ids, "r", "a0");
    request.parent_action_id = &ids->action;
    stream_open(w, s, ACTIONS "WatchForUpdates", &request.base,
                &flyteidl2__actions__watch_for_updates_response__descriptor, true);
}

UNUSED static void enqueue_flyte(struct world *w, const char *name)
{
    struct enqueue_request e;
    enqueue_init(w, &e, "r", "a0", name);
    e.task.spec = bytes_of(task_spec(w, "python", "1"));
    call_ok(w, ACTIONS "Enqueue", &e.request.base, NULL);
}

UNUSED static void end_child(struct world *w, const char *name,
                             Switchyard__Internal__OutcomeKind kind, const char *code,
                             Switchyard__Internal__ErrorKind error_kind)
{
    struct fake_stream *s;
    struct fake_attempt *a = assigned(w, name, &s);
    Switchyard__Internal__Outcome outcome = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    outcome.kind = kind;
    outcome.error_kind = error_kind;
    if (kind == OUTCOME(SUCCEEDED)) {
        outcome.output_uri = text_of("/data/kid/1");
    } else {
        outcome.error_code = text_of(code);
        outcome.error_message = text_of("it went wrong");
    }
    fake_end(s, a, &outcome);
}
