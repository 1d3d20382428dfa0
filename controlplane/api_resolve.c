/*
 * A CreateRun that names a deployed task or a trigger: what it stands for is fetched from the
 * partition of the task, put into the message, and the request goes on as if it had come so.
 */
#include "base/mem.h"
#include "controlplane/registry.h"
#include "controlplane/shard_impl.h"
#include "controlplane/triggers.h"
#include "proto/pb.h"

#include "flyteidl2/task/task_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

typedef Flyteidl2__Task__TaskIdentifier TaskIdentifier;

/* On its way to the task's lane and back. The request waits in its own lane. */
struct resolve {
    struct cp_post post;
    struct cp_request *req;
    void (*again)(struct cp_request *req);
    struct cp_lane *lane; /* the task's */
    const TaskIdentifier *id;
    const Flyteidl2__Common__TriggerName *trigger; /* or */
    struct sy_buf trigger_spec;
    struct sy_buf spec;
    int r;
};

static void resolve_free(struct resolve *resolve)
{
    sy_buf_deinit(&resolve->spec);
    sy_buf_deinit(&resolve->trigger_spec);
    free(resolve);
}

static void resolve_drop(struct cp_post *post)
{
    resolve_free(sy_container_of(post, struct resolve, post));
}

static void fail_resolve(struct resolve *resolve)
{
    struct cp_request *req = resolve->req;
    const Flyteidl2__Common__TriggerName *trigger = resolve->trigger;
    if (trigger == NULL)
        cp_fail_task(req, resolve->r, resolve->id);
    else if (resolve->r == CP_PARTITION_E_NOT_FOUND)
        cp_fail(req, SY_CODE_NOT_FOUND, "task %s/%s/%s has no trigger '%s', or not its version",
                trigger->project, trigger->domain, trigger->task_name, trigger->name);
    else
        cp_fail_read(req, resolve->r);
}

/* What the request itself does not say is as when the trigger fires. */
static void fill_from_trigger(struct resolve *resolve, Flyteidl2__Workflow__CreateRunRequest *m)
{
    struct cp_request *req = resolve->req;
    struct sy_span bytes = sy_buf_span(&resolve->trigger_spec);
    req->arena.max_bytes += bytes.len * 16 + ((size_t)1 << 20);
    Flyteidl2__Trigger__TriggerSpec *spec = pb_unpack(&flyteidl2__trigger__trigger_spec__descriptor,
                                                      &req->arena, bytes);
    if (spec == NULL)
        return; /* it was read a moment ago */
    if (m->run_spec == NULL)
        m->run_spec = spec->run_spec;
    if (m->input_wrapper_case != FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER__NOT_SET)
        return;
    if (spec->input_wrapper_case == FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_INPUTS) {
        m->input_wrapper_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_INPUTS;
        m->inputs = spec->inputs;
    } else if (spec->input_wrapper_case ==
               FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_OFFLOADED_INPUT_DATA) {
        m->input_wrapper_case =
            FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_OFFLOADED_INPUT_DATA;
        m->offloaded_input_data = spec->offloaded_input_data;
    }
}

/* In the request's lane. */
static void resolved(struct cp_post *post)
{
    struct resolve *resolve = sy_container_of(post, struct resolve, post);
    struct cp_request *req = resolve->req;
    if (resolve->r != 0) {
        fail_resolve(resolve);
        resolve_free(resolve);
        return;
    }
    Flyteidl2__Workflow__CreateRunRequest *m = (void *)(uintptr_t)req->message;
    if (resolve->trigger != NULL)
        fill_from_trigger(resolve, m);
    m->task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_SPEC;
    m->task_spec.len = resolve->spec.len;
    m->task_spec.data = cp_request_alloc(req, resolve->spec.len + 1);
    memcpy(m->task_spec.data, resolve->spec.data, resolve->spec.len);
    void (*again)(struct cp_request *) = resolve->again;
    resolve_free(resolve);
    again(req);
}

static int read_spec(struct cp_partition *p, const TaskIdentifier *id, struct sy_buf *ret)
{
    struct cp_registry_key key = CP_REGISTRY_KEY(CP_REGISTRY_SPEC, id->project, id->domain,
                                                 id->name, id->version, NULL);
    return cp_partition_registry_get(p, cp_registry_span(&key), ret);
}

static int look_up_trigger(struct resolve *resolve)
{
    struct cp_partition *p = resolve->lane->partition;
    const Flyteidl2__Common__TriggerName *name = resolve->trigger;
    struct cp_trigger_id id = {name->project, name->domain, name->task_name, name->name};
    struct sy_arena arena;
    sy_arena_init(&arena, (size_t)16 << 20);
    Switchyard__Internal__Store__TriggerRow *row;
    const Flyteidl2__Trigger__TriggerSpec *spec = NULL;
    int r = cp_trigger_get(p, &arena, &id, &row);
    if (r == 0) {
        sy_buf_append(&resolve->trigger_spec, row->spec.data, row->spec.len);
        spec = pb_unpack(&flyteidl2__trigger__trigger_spec__descriptor, &arena,
                         sy_buf_span(&resolve->trigger_spec));
        r = spec != NULL ? 0 : -EBADMSG;
    }
    if (r == 0) {
        TaskIdentifier task = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
        task.project = name->project;
        task.domain = name->domain;
        task.name = name->task_name;
        task.version = spec->task_version;
        r = read_spec(p, &task, &resolve->spec);
    }
    sy_arena_deinit(&arena);
    return r;
}

/* In the task's lane. */
static void look_up(struct cp_post *post)
{
    struct resolve *resolve = sy_container_of(post, struct resolve, post);
    struct cp_partition *p = resolve->lane->partition;
    resolve->r = resolve->trigger != NULL ? look_up_trigger(resolve)
                                          : read_spec(p, resolve->id, &resolve->spec);
    post->run = resolved;
    if (resolve->lane->loop == resolve->req->lane->loop)
        resolved(post);
    else
        cp_lane_post(resolve->lane, resolve->req->lane, post);
}

static int check_resolve(const Flyteidl2__Workflow__CreateRunRequest *m, bool by_trigger,
                         struct sy_error_text *error)
{
    if (!by_trigger)
        return cp_task_id_check(m->task_id, error);
    const Flyteidl2__Common__TriggerName *name = m->trigger_name;
    if (name == NULL) {
        sy_error_text_set(error, "trigger_name: missing");
        return -EINVAL;
    }
    if (cp_task_name_check(name->org, name->project, name->domain, name->task_name, error) < 0)
        return -EINVAL;
    return cp_registry_name_check("trigger_name.name", name->name, error);
}

bool cp_task_resolve(struct cp_request *req, void (*again)(struct cp_request *req))
{
    const Flyteidl2__Workflow__CreateRunRequest *m = req->message;
    bool by_trigger = m->task_case == FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TRIGGER_NAME;
    if (!by_trigger && m->task_case != FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_ID)
        return false;
    struct sy_error_text error = {0};
    if (check_resolve(m, by_trigger, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return true;
    }
    struct cp_shard *shard = req->lane->shard;
    const Flyteidl2__Common__TriggerName *trigger = by_trigger ? m->trigger_name : NULL;
    const TaskIdentifier *id = by_trigger ? NULL : m->task_id;
    uint32_t partition = cp_registry_partition(
        by_trigger ? trigger->project : id->project, by_trigger ? trigger->domain : id->domain,
        by_trigger ? trigger->task_name : id->name, shard->options.partitions);
    struct resolve *resolve = sy_new(struct resolve);
    *resolve = (struct resolve){.post = {.run = look_up, .drop = resolve_drop},
                                .req = req,
                                .again = again,
                                .lane = &shard->lanes[partition],
                                .trigger = trigger,
                                .id = id};
    if (resolve->lane->loop == req->lane->loop)
        look_up(&resolve->post);
    else
        cp_lane_post(req->lane, resolve->lane, &resolve->post);
    return true;
}
