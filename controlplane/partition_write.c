/* create_run, record and abort. */
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"

#include <stdio.h>

/* ---- create_run ---- */

struct create {
    struct cp_partition *p;
    const struct cp_create_run *request;
    struct cp_spec *spec;
    bool repeated; /* the same request made it already */
    char queue[SCH_QUEUE_NAME_MAX];
    enum sy_code code;
    struct sy_error_text error;
};

static bool fail(struct create *c, enum sy_code code)
{
    c->code = code;
    return false;
}

static bool same_request(const struct create *c, const char *request_id)
{
    const char *mine = c->request->request_id;
    return mine && mine[0] && request_id && strcmp(mine, request_id) == 0;
}

/* The request id of the run that has the name, in *ret_taken_by. 0: taken; NOT_FOUND: free. */
static int find_taken(struct create *c, const char **ret_taken_by)
{
    struct cp_partition *p = c->p;
    const struct cp_create_run *r = c->request;
    const struct sch_run *run = sch_partition_find_run(p->core, r->project, r->domain, r->name);
    if (run) {
        *ret_taken_by = ((const struct cp_live_run *)run->shell)->request_id;
        return 0;
    }
    char path[3 * SCH_NAME_MAX];
    snprintf(path, sizeof(path), "%s/%s/%s", r->project, r->domain, r->name);
    const struct cp_ended *ended = cp_find_ended(p, 0, path);
    if (ended) {
        *ret_taken_by = ended->detail;
        return 0;
    }
    struct cp_key key = cp_key_run_name(r->project, r->domain, r->name);
    int e = cp_store_get(p->store, CP_FAMILY_RUN_NAMES, cp_key_span(&key), &p->scratch);
    if (e != 0)
        return e;
    if (p->scratch.len != 8)
        return -EBADMSG;
    struct cp_key run_key = cp_key_run(sy_get_be64(p->scratch.data));
    Switchyard__Internal__Store__RunRow *row;
    e = cp_row_get(p->store, CP_FAMILY_RUNS, &run_key,
                   &switchyard__internal__store__run_row__descriptor, &p->open->arena, &p->scratch,
                   (void *)&row);
    if (e != 0)
        return e < 0 ? e : -EBADMSG;
    *ret_taken_by = row->request_id;
    return 0;
}

static bool check_free(struct create *c)
{
    const struct cp_create_run *r = c->request;
    const char *taken_by = NULL;
    int e = find_taken(c, &taken_by);
    if (e == CP_STORE_E_NOT_FOUND)
        return true;
    if (e < 0) {
        cp_fail_later(c->p, e);
        sy_error_text_set(&c->error, "the store of partition %u failed", c->p->options.partition);
        return fail(c, SY_CODE_UNAVAILABLE);
    }
    c->repeated = same_request(c, taken_by);
    if (c->repeated)
        return true;
    sy_error_text_set(&c->error, "run %s/%s/%s exists already", r->project, r->domain, r->name);
    return fail(c, SY_CODE_ALREADY_EXISTS);
}

static bool check_create(struct create *c)
{
    const struct cp_create_run *r = c->request;
    struct sy_error_text *error = &c->error;
    if (cp_name_check("project", r->project, error) < 0 ||
        cp_name_check("domain", r->domain, error) < 0 ||
        cp_name_check("run name", r->name, error) < 0 ||
        cp_text_check("request id", r->request_id, CP_REQUEST_ID_LENGTH_MAX, error) < 0 ||
        cp_flyte_queue(r->run_spec, c->queue, error) < 0 ||
        cp_check_input(c->p, &r->root, error) < 0)
        return fail(c, SY_CODE_INVALID_ARGUMENT);
    if (!check_free(c) || c->repeated)
        return c->repeated;
    if (cp_flyte_concurrency(r->run_spec) == 1) {
        sy_error_text_set(error, "run_spec.max_action_concurrency 1: a parent needs one place and "
                                 "its children another; give 2 or more, or 0 for no limit");
        return fail(c, SY_CODE_INVALID_ARGUMENT);
    }
    if (cp_is_recovery(r->run_spec) && !cp_recovers(c->p, r->run_spec)) {
        sy_error_text_set(error, "run_spec.relation: the run to recover was not found");
        return fail(c, SY_CODE_NOT_FOUND);
    }
    if (!cp_has_room(c->p, 1, error))
        return fail(c, SY_CODE_RESOURCE_EXHAUSTED);
    if (cp_use_spec(c->p, r->task_spec, &c->spec, error) < 0)
        return fail(c, SY_CODE_INVALID_ARGUMENT);
    return true;
}

static void create(struct create *c)
{
    struct cp_partition *p = c->p;
    const struct cp_create_run *r = c->request;
    struct cp_creating creating = {
        .run = r,
        .row = {.input = r->root.input, .input_uri = r->root.input_uri, .flyte = r->flyte}};
    bool has_input = r->root.input.len > 0 || (r->root.input_uri && r->root.input_uri[0]);
    struct sch_event event = {.type = SCH_EVENT_CREATE_RUN};
    event.u.create.project = r->project;
    event.u.create.domain = r->domain;
    event.u.create.name = r->name;
    event.u.create.spec = &c->spec->uses[has_input].base;
    event.u.create.priority = r->priority;
    event.u.create.place = cp_place_of(cp_name_hash(r->project, r->domain, r->name));
    event.u.create.queue = c->queue;
    event.u.create.concurrency_max = cp_flyte_concurrency(r->run_spec);
    event.u.create.shell = &creating;
    struct cp_result_query query = {.project = r->project,
                                    .domain = r->domain,
                                    .name = SCH_ROOT_NAME,
                                    .run_spec = r->run_spec,
                                    .spec = c->spec,
                                    .flyte = r->flyte,
                                    .in_project = cp_cache_in_project(r->run_spec),
                                    .inputs_hash = r->inputs_hash};
    struct cp_ending ending;
    struct cp_key key;
    if (c->spec->traits.flyte) {
        event.u.create.cache_key = cp_serial_key(&query, &key);
        event.u.create.instant = cp_find_result(p, &query, &ending);
    }
    c->spec->pins++;
    if (event.u.create.instant)
        cp_step_ending(p, &event, &ending);
    else
        cp_step(p, &event);
    c->spec->pins--;
    if (p->was_rejected)
        c->code = cp_explain_rejection(p, &c->error);
    else
        cp_store_spec(p, c->spec);
}

enum sy_code cp_create_run_now(struct cp_partition *p, const struct cp_create_run *request,
                               struct sy_error_text *error)
{
    struct create c = {.p = p, .request = request};
    c.code = cp_refused(p, &c.error);
    if (c.code == SY_CODE_OK && check_create(&c) && !c.repeated)
        create(&c);
    *error = c.error;
    return c.code;
}

void cp_partition_create_run(struct cp_partition *p, const struct cp_create_run *request,
                             cp_done_fn done, void *ctx)
{
    struct sy_error_text error;
    enum sy_code code = cp_create_run_now(p, request, &error);
    if (code == SY_CODE_OK)
        cp_add_done(p, done, ctx);
    else
        cp_add_failed(p, done, ctx, code, error.text);
}

/* ---- records and conditions ---- */

/* Where a new child without a spec goes. OK with *ret_parent NULL: it exists already. */
static enum sy_code find_place(struct cp_partition *p, const struct cp_new_child *child,
                               struct sch_action **ret_parent, bool *ret_again,
                               struct sy_error_text *error)
{
    enum sy_code code;
    *ret_parent = NULL;
    *ret_again = false;
    if (cp_name_check("action name", child->name, error) < 0 ||
        cp_text_check("group", child->group, CP_GROUP_BYTES_MAX, error) < 0)
        return SY_CODE_INVALID_ARGUMENT;
    struct sch_run *run = cp_find_live_run(p, child->project, child->domain, child->run, &code,
                                           error);
    if (!run)
        return code;
    struct sch_action *parent = cp_find_live_parent(p, run, child->parent, &code, error);
    if (!parent)
        return code;
    if (strcmp(child->name, cp_name_high(p, run)) <= 0) {
        struct cp_lookup found = cp_lookup_name(p, parent, child->name);
        *ret_again = found.state == CP_LOOKUP_AGAIN;
        if (found.state == CP_LOOKUP_SAME)
            return SY_CODE_OK; /* repeated by a retried parent */
        if (found.state == CP_LOOKUP_FAILED)
            return SY_CODE_UNAVAILABLE;
        if (found.state == CP_LOOKUP_CONFLICT) {
            sy_error_text_set(error, "action '%s' exists already, with another parent than '%s'",
                              child->name, child->parent);
            return SY_CODE_ALREADY_EXISTS;
        }
    }
    if (!cp_has_room(p, 1, error))
        return SY_CODE_RESOURCE_EXHAUSTED;
    *ret_parent = parent;
    return SY_CODE_OK;
}

static enum sy_code record(struct cp_partition *p, const struct cp_record *request,
                           struct sy_error_text *error)
{
    struct sch_action *parent;
    bool again, failed = request->phase == SWITCHYARD__V1__PHASE__PHASE_FAILED;
    if (cp_text_check("output_uri", request->output_uri, CP_URI_BYTES_MAX, error) < 0)
        return SY_CODE_INVALID_ARGUMENT;
    if (!failed && request->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED) {
        sy_error_text_set(error, "phase %d of '%s': expected SUCCEEDED or FAILED", request->phase,
                          request->child.name);
        return SY_CODE_INVALID_ARGUMENT;
    }
    enum sy_code code = find_place(p, &request->child, &parent, &again, error);
    if (!parent)
        return code;
    struct cp_creating creating = {
        .row = {.group = request->child.group, .flyte = request->child.flyte}, .again = again};
    struct cp_ending ending = {
        .started_ns = request->started_ns,
        .finished_ns = request->finished_ns,
        .output_uri = request->output_uri,
        .error = {.code = request->error_code ? request->error_code : "Failed",
                  .message = request->error_message}};
    struct sch_event event = {.type = SCH_EVENT_RECORD};
    event.u.record.parent = parent;
    event.u.record.name = request->child.name;
    event.u.record.failed = failed;
    event.u.record.shell = &creating;
    cp_step_ending(p, &event, &ending);
    return p->was_rejected ? cp_explain_rejection(p, error) : SY_CODE_OK;
}

/* One that was answered in the run that is recovered is answered already. */
static enum sy_code condition(struct cp_partition *p, const struct cp_new_child *request,
                              struct sy_error_text *error)
{
    struct sch_action *parent;
    bool again;
    enum sy_code code = find_place(p, request, &parent, &again, error);
    if (!parent)
        return code;
    struct cp_creating creating = {.row = {.group = request->group, .flyte = request->flyte},
                                   .again = again};
    struct cp_result_query query = {.name = request->name,
                                    .run_spec = cp_run_spec(p, parent->run),
                                    .again_in = again ? parent->run->id : 0};
    struct cp_ending ending;
    struct sch_event event = {.type = SCH_EVENT_CONDITION};
    if (cp_find_result(p, &query, &ending)) {
        event.type = SCH_EVENT_RECORD;
        event.u.record.parent = parent;
        event.u.record.name = request->name;
        event.u.record.shell = &creating;
        cp_step_ending(p, &event, &ending);
    } else {
        event.u.condition.parent = parent;
        event.u.condition.name = request->name;
        event.u.condition.timeout_ns = cp_flyte_condition_timeout(request->flyte);
        event.u.condition.shell = &creating;
        cp_step(p, &event);
    }
    return p->was_rejected ? cp_explain_rejection(p, error) : SY_CODE_OK;
}

static void reply(struct cp_partition *p, enum sy_code code, const struct sy_error_text *error,
                  cp_done_fn done, void *ctx)
{
    if (code == SY_CODE_OK)
        cp_add_done(p, done, ctx);
    else
        cp_add_failed(p, done, ctx, code, error->text);
}

void cp_partition_record(struct cp_partition *p, const struct cp_record *request, cp_done_fn done,
                         void *ctx)
{
    struct sy_error_text error = {0};
    enum sy_code code = cp_refused(p, &error);
    if (code == SY_CODE_OK)
        code = record(p, request, &error);
    reply(p, code, &error, done, ctx);
}

void cp_partition_condition(struct cp_partition *p, const struct cp_new_child *request,
                            cp_done_fn done, void *ctx)
{
    struct sy_error_text error = {0};
    enum sy_code code = cp_refused(p, &error);
    if (code == SY_CODE_OK)
        code = condition(p, request, &error);
    reply(p, code, &error, done, ctx);
}

/* ---- of a live action ---- */

struct action_name {
    const char *project, *domain, *run, *action;
};

/* NULL, with *ret_code. */
static struct sch_action *find_live(struct cp_partition *p, const struct action_name *of,
                                    enum sy_code *ret_code, struct sy_error_text *error)
{
    *ret_code = SY_CODE_INVALID_ARGUMENT;
    if (cp_name_check("action name", of->action, error) < 0)
        return NULL;
    struct sch_run *run = cp_find_live_run(p, of->project, of->domain, of->run, ret_code, error);
    if (!run)
        return NULL;
    struct sch_action *action = sch_partition_find_action(p->core, run, of->action);
    if (action)
        return action;
    struct cp_key key = cp_key_action(run->id, of->action);
    int r = cp_store_get(p->store, CP_FAMILY_ACTIONS, cp_key_span(&key), &p->scratch);
    if (r < 0)
        cp_fail_later(p, r);
    bool ended = r == 0 || cp_find_ended(p, run->id, of->action);
    sy_error_text_set(error, "action '%s' of run %s/%s/%s: %s", of->action, of->project, of->domain,
                      of->run, ended ? "has ended" : "not found");
    *ret_code = ended ? SY_CODE_FAILED_PRECONDITION : SY_CODE_NOT_FOUND;
    return NULL;
}

static enum sy_code signal_action(struct cp_partition *p, const struct cp_signal *request,
                                  struct sy_error_text *error)
{
    const struct action_name of = {request->project, request->domain, request->run,
                                   request->action};
    enum sy_code code;
    struct sch_action *action = find_live(p, &of, &code, error);
    if (!action)
        return code;
    if (action->sm.state != SCH_ACTION_PAUSED) {
        sy_error_text_set(error, "action '%s' is not a condition that waits", of.action);
        return SY_CODE_FAILED_PRECONDITION;
    }
    struct cp_ending ending = {
        .started_ns = action->created_ns, .output = request->value, .signalled = true};
    struct sch_event event = {.type = SCH_EVENT_SIGNAL};
    event.u.signal.action = action;
    p->ending_action = action;
    cp_step_ending(p, &event, &ending);
    return SY_CODE_OK;
}

static enum sy_code abort_action(struct cp_partition *p, const struct action_name *of,
                                 const char *reason, struct sy_error_text *error)
{
    enum sy_code code;
    if (cp_text_check("reason", reason, CP_ERROR_MESSAGE_MAX, error) < 0)
        return SY_CODE_INVALID_ARGUMENT;
    struct sch_action *action = find_live(p, of, &code, error);
    if (!action)
        return code;
    struct sch_event event = {.type = SCH_EVENT_ABORT};
    event.u.abort.action = action;
    event.u.abort.reason = reason && reason[0] ? reason : NULL;
    cp_step(p, &event);
    return SY_CODE_OK;
}

void cp_partition_signal(struct cp_partition *p, const struct cp_signal *request, cp_done_fn done,
                         void *ctx)
{
    struct sy_error_text error = {0};
    enum sy_code code = cp_refused(p, &error);
    if (code == SY_CODE_OK)
        code = signal_action(p, request, &error);
    reply(p, code, &error, done, ctx);
}

void cp_partition_abort(struct cp_partition *p, const char *project, const char *domain,
                        const char *run, const char *action, const char *reason, cp_done_fn done,
                        void *ctx)
{
    const struct action_name of = {project, domain, run, action};
    struct sy_error_text error = {0};
    enum sy_code code = cp_refused(p, &error);
    if (code == SY_CODE_OK)
        code = abort_action(p, &of, reason, &error);
    reply(p, code, &error, done, ctx);
}
