/* Requests that the tests of the shard's services send; after cp_world.h and the services' headers.
 */
#pragma once

#include "tests/unit/cp_world.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"

#define RUN "/flyteidl2.workflow.RunService/"
#define ACTIONS "/flyteidl2.actions.ActionsService/"
#define NATIVE "/switchyard.v1.ActionService/"
#define REGION "/switchyard.v1.RegionService/"
#define CLUSTER "/flyteidl2.cluster.ClusterService/"

UNUSED static ProtobufCBinaryData bytes_of(struct sy_span span)
{
    return (ProtobufCBinaryData){span.len, (uint8_t *)(uintptr_t)span.data};
}

/* The run p/d/NAME and an action of it, as each API names them. */
struct run_ids {
    Flyteidl2__Common__RunIdentifier run;
    Flyteidl2__Common__ActionIdentifier action;
    Switchyard__V1__RunId native;
};

UNUSED static void ids_init(struct run_ids *ids, const char *run, const char *action)
{
    flyteidl2__common__run_identifier__init(&ids->run);
    flyteidl2__common__action_identifier__init(&ids->action);
    switchyard__v1__run_id__init(&ids->native);
    ids->run.org = text_of("acme");
    ids->run.project = ids->native.project = text_of("p");
    ids->run.domain = ids->native.domain = text_of("d");
    ids->run.name = ids->native.name = text_of(run);
    ids->action.run = &ids->run;
    ids->action.name = text_of(action);
}

struct create_request {
    Flyteidl2__Workflow__CreateRunRequest request;
    Flyteidl2__Common__ProjectIdentifier project;
    Flyteidl2__Task__RunSpec run_spec;
    struct run_ids ids;
    struct sy_span spec;
};

/* `name` NULL: the server makes one. */
UNUSED static void create_init(struct world *w, struct create_request *c, const char *name,
                               const char *type)
{
    flyteidl2__workflow__create_run_request__init(&c->request);
    flyteidl2__common__project_identifier__init(&c->project);
    flyteidl2__task__run_spec__init(&c->run_spec);
    c->project.organization = text_of("acme");
    c->project.name = text_of("p");
    c->project.domain = text_of("d");
    c->run_spec.queue = text_of("default");
    if (name != NULL) {
        ids_init(&c->ids, name, "a0");
        c->request.id_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_RUN_ID;
        c->request.run_id = &c->ids.run;
    } else {
        c->request.id_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_PROJECT_ID;
        c->request.project_id = &c->project;
    }
    c->spec = task_spec(w, type, "1");
    c->request.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_SPEC;
    c->request.task_spec = bytes_of(c->spec);
    c->request.run_spec = &c->run_spec;
}

UNUSED static char *create_run(struct world *w, const char *name, const char *type)
{
    struct create_request c;
    create_init(w, &c, name, type);
    Flyteidl2__Workflow__CreateRunResponse *response = call_ok(
        w, RUN "CreateRun", &c.request.base, &flyteidl2__workflow__create_run_response__descriptor);
    return response->run->action->id->run->name;
}

struct enqueue_request {
    Flyteidl2__Actions__EnqueueRequest request;
    Flyteidl2__Actions__Action action;
    Flyteidl2__Workflow__TaskAction task;
    struct run_ids ids;
};

UNUSED static void enqueue_init(struct world *w, struct enqueue_request *e, const char *run,
                                const char *parent, const char *name)
{
    flyteidl2__actions__enqueue_request__init(&e->request);
    flyteidl2__actions__action__init(&e->action);
    flyteidl2__workflow__task_action__init(&e->task);
    ids_init(&e->ids, run, name);
    e->action.action_id = &e->ids.action;
    e->action._parent_action_name_case =
        FLYTEIDL2__ACTIONS__ACTION___PARENT_ACTION_NAME_PARENT_ACTION_NAME;
    e->action.parent_action_name = text_of(parent);
    e->action.input_uri = text_of("/data/inputs.pb");
    e->action.run_output_base = text_of("/data");
    e->action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TASK;
    e->action.task = &e->task;
    e->task.spec = bytes_of(task_spec(w, "switchyard.process", "1"));
    e->request.action = &e->action;
}

/* n-FIRST, n-FIRST+1, ...: at most 1,000. */
struct batch {
    Switchyard__V1__EnqueueActionsRequest request;
    struct run_ids ids;
    Switchyard__V1__NewAction actions[1000], *pointers[1000];
    char names[1000][16];
};

UNUSED static void batch_init(struct world *w, struct batch *b, const char *run, const char *parent,
                              unsigned first, unsigned count)
{
    switchyard__v1__enqueue_actions_request__init(&b->request);
    ids_init(&b->ids, run, parent);
    b->request.run = &b->ids.native;
    b->request.parent = b->ids.action.name;
    b->request.task_spec = bytes_of(task_spec(w, "switchyard.process", "1"));
    b->request.n_actions = count;
    b->request.actions = b->pointers;
    for (unsigned i = 0; i < count; i++) {
        snprintf(b->names[i], sizeof(b->names[i]), "n-%06u", first + i);
        switchyard__v1__new_action__init(&b->actions[i]);
        b->actions[i].name = b->names[i];
        b->pointers[i] = &b->actions[i];
    }
}

UNUSED static Switchyard__V1__EnqueueActionsResponse *enqueue_batch(struct world *w,
                                                                    const struct batch *b)
{
    return call_ok(w, NATIVE "EnqueueActions", &b->request.base,
                   &switchyard__v1__enqueue_actions_response__descriptor);
}
