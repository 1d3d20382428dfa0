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
#include "switchyard/internal/parts.pb-c.h"

#include <stdlib.h>
#include <string.h>

typedef Flyteidl2__Task__TaskIdentifier TaskIdentifier;

/* In the request's memory. */
struct resolve {
    void (*again)(struct cp_request *req);
    const TaskIdentifier *id;
    const Flyteidl2__Common__TriggerName *trigger; /* or */
};

/* What it stands for; in the part's memory. */
struct resolved {
    struct sy_span task_spec, trigger_spec;
};

/* ---- in the task's lane ---- */

/* Appended to part->buf. 0, or what a read returns. */
static int read_spec(struct cp_gather_part *part, const TaskIdentifier *id)
{
    struct cp_lane *lane = part->lane;
    struct cp_registry_key key = CP_REGISTRY_KEY(CP_REGISTRY_SPEC, id->project, id->domain,
                                                 id->name, id->version, NULL);
    int r = cp_partition_registry_get(lane->partition, cp_registry_span(&key), &lane->buf);
    if (r == 0)
        sy_buf_append(&part->buf, lane->buf.data, lane->buf.len);
    return r;
}

/* Its spec, *ret_len bytes long, and then that of the task. */
static int read_trigger(struct cp_gather_part *part, const Flyteidl2__Common__TriggerName *name,
                        size_t *ret_len)
{
    struct cp_trigger_id id = {name->project, name->domain, name->task_name, name->name};
    Switchyard__Internal__Store__TriggerRow *row;
    const Flyteidl2__Trigger__TriggerSpec *spec = NULL;
    int r = cp_trigger_get(part->lane->partition, &part->arena, &id, &row);
    if (r == 0) {
        sy_buf_append(&part->buf, row->spec.data, row->spec.len);
        spec = pb_unpack(&flyteidl2__trigger__trigger_spec__descriptor, &part->arena,
                         sy_buf_span(&part->buf));
        r = spec != NULL ? 0 : -EBADMSG;
    }
    *ret_len = part->buf.len;
    if (r == 0) {
        TaskIdentifier task = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
        task.project = name->project;
        task.domain = name->domain;
        task.name = name->task_name;
        task.version = spec->task_version;
        r = read_spec(part, &task);
    }
    return r;
}

static void explain(struct cp_gather_part *part, int r)
{
    const struct resolve *resolve = part->gather->query;
    const Flyteidl2__Common__TriggerName *trigger = resolve->trigger;
    const TaskIdentifier *id = resolve->id;
    if (r == CP_PARTITION_E_NOT_SERVING)
        cp_status_not_serving(&part->status, part->lane);
    else if (r != CP_PARTITION_E_NOT_FOUND)
        sy_status_set(&part->status, SY_CODE_INTERNAL, "reading from the store failed: %s",
                      strerror(r < 0 ? -r : EIO));
    else if (trigger != NULL)
        sy_status_set(&part->status, SY_CODE_NOT_FOUND,
                      "task %s/%s/%s has no trigger '%s', or not its version", trigger->project,
                      trigger->domain, trigger->task_name, trigger->name);
    else
        sy_status_set(&part->status, SY_CODE_NOT_FOUND, "task %s/%s/%s has no version '%s'",
                      id->project, id->domain, id->name, id->version);
}

static struct resolved *new_result(struct cp_gather_part *part)
{
    struct resolved *result = sy_arena_alloc(&part->arena, sizeof(*result));
    SY_ASSERT(result != NULL);
    *result = (struct resolved){0};
    part->result = result;
    return result;
}

static bool look_up(struct cp_gather_part *part)
{
    const struct resolve *resolve = part->gather->query;
    struct resolved *result = new_result(part);
    size_t trigger_len = 0;
    int r = resolve->trigger != NULL ? read_trigger(part, resolve->trigger, &trigger_len)
                                     : read_spec(part, resolve->id);
    const uint8_t *at = part->buf.data;
    if (r == 0)
        *result = (struct resolved){{at + trigger_len, part->buf.len - trigger_len},
                                    {at, trigger_len}};
    else
        explain(part, r);
    return true;
}

/* ---- a part that another shard has ---- */

static ProtobufCBinaryData bytes_of(struct sy_span span)
{
    return (ProtobufCBinaryData){span.len, (uint8_t *)(uintptr_t)span.data};
}

static void pack(const struct cp_gather_part *part, cp_part_reply *reply)
{
    const struct resolved *result = part->result;
    Switchyard__Internal__TaskPart *to = cp_request_alloc(part->gather->req, sizeof(*to));
    switchyard__internal__task_part__init(to);
    to->task_spec = bytes_of(result->task_spec);
    to->trigger_spec = bytes_of(result->trigger_spec);
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_TASK;
    reply->task = to;
}

static int unpack(struct cp_gather_part *part, const cp_part_reply *reply)
{
    if (reply->part_case != SWITCHYARD__INTERNAL__PART_REPLY__PART_TASK ||
        reply->task->task_spec.len == 0)
        return -EBADMSG;
    const Switchyard__Internal__TaskPart *from = reply->task;
    *new_result(part) = (struct resolved){{from->task_spec.data, from->task_spec.len},
                                          {from->trigger_spec.data, from->trigger_spec.len}};
    return 0;
}

/* ---- back in the request's lane ---- */

/* What the request itself does not say is as when the trigger fires. False: it cannot be read. */
static bool fill_from_trigger(struct cp_request *req, struct sy_span bytes)
{
    Flyteidl2__Workflow__CreateRunRequest *m = (void *)(uintptr_t)req->message;
    req->arena.max_bytes += bytes.len * 16 + ((size_t)1 << 20);
    Flyteidl2__Trigger__TriggerSpec *spec = pb_unpack(&flyteidl2__trigger__trigger_spec__descriptor,
                                                      &req->arena, bytes);
    if (spec == NULL)
        return false;
    if (m->run_spec == NULL)
        m->run_spec = spec->run_spec;
    if (m->input_wrapper_case != FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER__NOT_SET)
        return true;
    if (spec->input_wrapper_case == FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_INPUTS) {
        m->input_wrapper_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_INPUTS;
        m->inputs = spec->inputs;
    } else if (spec->input_wrapper_case ==
               FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_OFFLOADED_INPUT_DATA) {
        m->input_wrapper_case =
            FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INPUT_WRAPPER_OFFLOADED_INPUT_DATA;
        m->offloaded_input_data = spec->offloaded_input_data;
    }
    return true;
}

static void resolved(struct cp_gather *gather)
{
    const struct resolve *resolve = gather->query;
    const struct resolved *result = gather->parts[0].result;
    struct cp_request *req = gather->req;
    Flyteidl2__Workflow__CreateRunRequest *m = (void *)(uintptr_t)req->message;
    if (resolve->trigger != NULL && !fill_from_trigger(req, result->trigger_spec)) {
        cp_fail(req, SY_CODE_INTERNAL, "what trigger '%s' stands for cannot be read",
                resolve->trigger->name);
        return;
    }
    /* It lies in the gather, which lives as long as the request. */
    m->task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_SPEC;
    m->task_spec = bytes_of(result->task_spec);
    resolve->again(req);
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
    static const struct cp_gather_kind kind = {
        .collect = look_up, .pack = pack, .unpack = unpack, .finish = resolved};
    const Flyteidl2__Workflow__CreateRunRequest *m = req->message;
    bool by_trigger = m->task_case == FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TRIGGER_NAME;
    bool by_task = m->task_case == FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_ID;
    if (!by_trigger && !by_task && !req->of_part)
        return false;
    struct sy_error_text error = {0};
    if (!by_trigger && !by_task) /* who asks for a part makes no run */
        sy_error_text_set(&error, "task: neither a task_id nor a trigger_name");
    if (error.text[0] != '\0' || check_resolve(m, by_trigger, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return true;
    }
    struct resolve *resolve = cp_request_alloc(req, sizeof(*resolve));
    *resolve = (struct resolve){again, by_trigger ? NULL : m->task_id,
                                by_trigger ? m->trigger_name : NULL};
    const Flyteidl2__Common__TriggerName *trigger = resolve->trigger;
    const TaskIdentifier *id = resolve->id;
    uint64_t hash = by_trigger
                        ? cp_registry_hash(trigger->project, trigger->domain, trigger->task_name)
                        : cp_registry_hash(id->project, id->domain, id->name);
    cp_gather_one(req, resolve, &kind, cp_shard_find(req->lane->shard, hash));
    return true;
}
