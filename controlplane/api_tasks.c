/*
 * flyteidl2.task.TaskService: deployed tasks. A version never changes: deploying it again with the
 * same spec is fine (its triggers are taken), with another one it is ALREADY_EXISTS, which the SDK
 * takes for success.
 */
#include "base/mem.h"
#include "controlplane/names.h"
#include "controlplane/registry_list.h"
#include "controlplane/rows.h"
#include "controlplane/shard_impl.h"
#include "controlplane/spec.h"
#include "controlplane/triggers.h"
#include "proto/pb.h"

#include "flyteidl2/task/task_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

typedef Switchyard__Internal__Store__TaskRow TaskRow;
typedef Flyteidl2__Task__TaskIdentifier TaskIdentifier;

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* generated structs have no const; packing does not write */
}

int cp_task_name_check(const char *org, const char *project, const char *domain, const char *name,
                       struct sy_error_text *error)
{
    return cp_text_check("task_id.org", org, 255, error) < 0 ||
                   cp_name_check("task_id.project", project, error) < 0 ||
                   cp_name_check("task_id.domain", domain, error) < 0 ||
                   cp_registry_name_check("task_id.name", name, error) < 0
               ? -EINVAL
               : 0;
}

int cp_task_id_check(const TaskIdentifier *id, struct sy_error_text *error)
{
    if (id == NULL) {
        sy_error_text_set(error, "task_id: missing");
        return -EINVAL;
    }
    if (cp_task_name_check(id->org, id->project, id->domain, id->name, error) < 0)
        return -EINVAL;
    return cp_registry_name_check("task_id.version", id->version, error);
}

static int address(struct cp_request *req, const TaskIdentifier *id, struct sy_error_text *error)
{
    if (cp_task_id_check(id, error) < 0)
        return -EINVAL;
    req->address = (struct cp_address){
        .org = id->org, .project = id->project, .domain = id->domain, .task = id->name};
    return 0;
}

static struct cp_registry_key row_key(enum cp_registry_kind kind, const TaskIdentifier *id)
{
    return CP_REGISTRY_KEY(kind, id->project, id->domain, id->name, id->version, NULL);
}

/* ---- DeployTask ---- */

static int deploy_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Task__DeployTaskRequest *m = req->message;
    return address(req, m->task_id, error);
}

static void pack_row(struct cp_request *req, const Flyteidl2__Task__TaskSpec *spec,
                     struct sy_buf *buf)
{
    TaskRow row = SWITCHYARD__INTERNAL__STORE__TASK_ROW__INIT;
    row.created_ns = sy_loop_realtime_ns(req->lane->loop);
    row.short_name = spec->short_name;
    row.environment = spec->environment != NULL ? spec->environment->name : text("");
    if (spec->documentation != NULL)
        row.short_description = spec->documentation->short_description;
    const Flyteidl2__Core__TaskTemplate *template = spec->task_template;
    row.entrypoint = template != NULL && template->metadata != NULL &&
                     template->metadata->is_entrypoint;
    cp_text_clean(row.short_name);
    cp_text_clean(row.environment);
    cp_text_clean(row.short_description);
    pb_pack(&row.base, buf);
}

/* Triggers that come with a task replace those that it had; without any, they stay. */
static int deploy_triggers(struct cp_request *req, struct cp_partition *p, struct sy_arena *arena)
{
    const Flyteidl2__Task__DeployTaskRequest *m = req->message;
    const char *names[CP_TRIGGERS_OF_TASK_MAX];
    int64_t now_ns = sy_loop_realtime_ns(req->lane->loop);
    struct cp_trigger_id id = {m->task_id->project, m->task_id->domain, m->task_id->name, NULL};
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n_triggers; i++) {
        const Flyteidl2__Task__TaskTriggerSpec *from = m->triggers[i]->spec;
        Flyteidl2__Trigger__TriggerSpec spec = FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INIT;
        spec.active = from->active;
        spec.run_spec = from->run_spec;
        spec.description = from->description;
        spec.task_version = m->task_id->version;
        if (from->input_wrapper_case == FLYTEIDL2__TASK__TASK_TRIGGER_SPEC__INPUT_WRAPPER_INPUTS) {
            spec.input_wrapper_case = FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_INPUTS;
            spec.inputs = from->inputs;
        } else if (from->input_wrapper_case ==
                   FLYTEIDL2__TASK__TASK_TRIGGER_SPEC__INPUT_WRAPPER_OFFLOADED_INPUT_DATA) {
            spec.input_wrapper_case =
                FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_OFFLOADED_INPUT_DATA;
            spec.offloaded_input_data = from->offloaded_input_data;
        }
        id.name = names[i] = m->triggers[i]->name;
        r = cp_trigger_deploy(p, arena, &id, &spec, m->triggers[i]->automation_spec, now_ns);
    }
    if (r == 0 && m->n_triggers > 0)
        r = cp_triggers_prune(p, arena, &id, names, m->n_triggers, now_ns);
    return r;
}

static int check_triggers(const Flyteidl2__Task__DeployTaskRequest *m, size_t inline_max,
                          struct sy_error_text *error)
{
    if (m->n_triggers > CP_TRIGGERS_OF_TASK_MAX) {
        sy_error_text_set(error, "triggers: %zu, at most %d are allowed", m->n_triggers,
                          CP_TRIGGERS_OF_TASK_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < m->n_triggers; i++) {
        const Flyteidl2__Task__TaskTrigger *trigger = m->triggers[i];
        if (cp_trigger_check(trigger->name, trigger->automation_spec, error) < 0)
            return -EINVAL;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(m->triggers[j]->name, trigger->name) == 0) {
                sy_error_text_set(error, "triggers: '%s' twice", trigger->name);
                return -EINVAL;
            }
        }
        const Flyteidl2__Task__TaskTriggerSpec *spec = trigger->spec;
        if (spec == NULL ||
            (spec->input_wrapper_case == FLYTEIDL2__TASK__TASK_TRIGGER_SPEC__INPUT_WRAPPER_INPUTS &&
             spec->inputs.len > inline_max)) {
            sy_error_text_set(error, "trigger '%s': %s", trigger->name,
                              spec == NULL ? "no spec" : "its inline inputs are too large");
            return -EINVAL;
        }
    }
    return 0;
}

static enum sy_code deploy_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    struct cp_request *req = ctx;
    const Flyteidl2__Task__DeployTaskRequest *m = req->message;
    struct sy_span bytes = {m->spec.data, m->spec.len};
    struct cp_registry_key key = row_key(CP_REGISTRY_SPEC, m->task_id);
    struct sy_buf *buf = &req->lane->buf;
    int r = cp_partition_registry_get(p, cp_registry_span(&key), buf);
    if (r == 0 && (buf->len != bytes.len || memcmp(buf->data, bytes.data, bytes.len) != 0)) {
        sy_error_text_set(error, "task '%s' has a version '%s' already, with another spec",
                          m->task_id->name, m->task_id->version);
        return SY_CODE_ALREADY_EXISTS;
    }
    if (r != 0 && r != CP_PARTITION_E_NOT_FOUND) {
        sy_error_text_set(error, "reading from the store failed");
        return SY_CODE_UNAVAILABLE;
    }
    struct sy_arena *arena = cp_scratch(req->lane);
    if (r != 0) {
        const Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor,
                                                          arena, bytes);
        SY_ASSERT(spec != NULL); /* cp_spec_parse() took it */
        cp_partition_registry_put(p, &key, bytes);
        sy_buf_clear(buf);
        pack_row(req, spec, buf);
        key = row_key(CP_REGISTRY_TASK, m->task_id);
        cp_partition_registry_put(p, &key, sy_buf_span(buf));
    }
    r = deploy_triggers(req, p, arena);
    if (r != 0) /* the store fails, so that nothing of the batch is kept */
        cp_partition_registry_fail(p, r < 0 ? r : -EIO);
    return SY_CODE_OK;
}

static void deploy_task(struct cp_request *req)
{
    const Flyteidl2__Task__DeployTaskRequest *m = req->message;
    struct sch_spec spec;
    struct sy_error_text error = {0};
    if (cp_spec_parse(&spec, (struct sy_span){m->spec.data, m->spec.len}, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "spec: %s", error.text);
        return;
    }
    if (check_triggers(m, req->lane->shard->options.partition.inline_bytes_max, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    cp_partition_registry_change(req->lane->partition, deploy_change, cp_done_empty, req);
}

/* ---- what is shown ---- */

Flyteidl2__Common__EnrichedIdentity *cp_anonymous(struct sy_arena *arena)
{
    struct {
        Flyteidl2__Common__EnrichedIdentity identity;
        Flyteidl2__Common__User user;
        Flyteidl2__Common__UserIdentifier id;
    } *all = sy_arena_alloc(arena, sizeof(*all));
    SY_ASSERT(all != NULL);
    flyteidl2__common__enriched_identity__init(&all->identity);
    flyteidl2__common__user__init(&all->user);
    flyteidl2__common__user_identifier__init(&all->id);
    all->id.subject = text(CP_ANONYMOUS);
    all->user.id = &all->id;
    all->identity.principal_case = FLYTEIDL2__COMMON__ENRICHED_IDENTITY__PRINCIPAL_USER;
    all->identity.user = &all->user;
    return &all->identity;
}

static Flyteidl2__Task__TaskMetadata *make_metadata(struct sy_arena *arena, const TaskRow *row)
{
    Flyteidl2__Task__TaskMetadata *metadata = sy_arena_alloc(arena, sizeof(*metadata));
    SY_ASSERT(metadata != NULL);
    flyteidl2__task__task_metadata__init(metadata);
    metadata->deployed_by = cp_anonymous(arena);
    metadata->short_name = row->short_name;
    metadata->environment_name = row->environment;
    metadata->short_description = row->short_description;
    metadata->deployed_at = cp_flyte_time(arena, row->created_ns);
    return metadata;
}

/* ---- GetTaskDetails ---- */

static int details_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Task__GetTaskDetailsRequest *m = req->message;
    return address(req, m->task_id, error);
}

static void fail_task(struct cp_request *req, int r, const TaskIdentifier *id)
{
    if (r == CP_PARTITION_E_NOT_FOUND)
        cp_fail(req, SY_CODE_NOT_FOUND, "task %s/%s/%s has no version '%s'", id->project,
                id->domain, id->name, id->version);
    else
        cp_fail_read(req, r);
}

static void get_task_details(struct cp_request *req)
{
    const Flyteidl2__Task__GetTaskDetailsRequest *m = req->message;
    struct cp_lane *lane = req->lane;
    struct sy_arena *arena = cp_scratch(lane);
    struct cp_registry_key key = row_key(CP_REGISTRY_TASK, m->task_id);
    struct sy_buf SY_CLEANUP(sy_buf_deinit) spec = {0};
    const TaskRow *row = NULL;
    int r = cp_partition_registry_get(lane->partition, cp_registry_span(&key), &lane->buf);
    if (r == 0) {
        row = CP_UNPACK(TaskRow, switchyard__internal__store__task_row__descriptor, arena,
                        sy_buf_span(&lane->buf));
        key = row_key(CP_REGISTRY_SPEC, m->task_id);
        r = cp_partition_registry_get(lane->partition, cp_registry_span(&key), &spec);
    }
    if (r == 0 && row == NULL)
        r = -EBADMSG;
    if (r != 0) {
        fail_task(req, r, m->task_id);
        return;
    }
    Flyteidl2__Task__TaskDetails details = FLYTEIDL2__TASK__TASK_DETAILS__INIT;
    Flyteidl2__Task__GetTaskDetailsResponse response =
        FLYTEIDL2__TASK__GET_TASK_DETAILS_RESPONSE__INIT;
    details.task_id = m->task_id;
    details.metadata = make_metadata(arena, row);
    details.spec = (ProtobufCBinaryData){spec.len, spec.data};
    response.details = &details;
    cp_reply_message(req, &response.base);
}

/* ---- ListTasks, ListVersions ---- */

static const struct cp_list_rules tasks_rules = {
    .fields = CP_FILTER_BIT(NAME) | CP_FILTER_BIT(VERSION) | CP_FILTER_BIT(ENVIRONMENT) |
              CP_FILTER_BIT(CREATED_BY) | CP_FILTER_BIT(CREATED_AT),
    .sort_by_name = true};

struct tasks_query {
    struct cp_registry_list list;
    const char *org;
    bool latest; /* one version of each task */
    bool entrypoint_known, entrypoint;
    const char *deployed_by; /* NULL: anybody */
};

static const char *order_task(struct cp_registry_list *list, struct sy_arena *arena,
                              struct sy_span key, struct sy_span value, const char **ret_group)
{
    const struct tasks_query *query = list->query;
    const TaskRow *row = CP_UNPACK(TaskRow, switchyard__internal__store__task_row__descriptor,
                                   arena, value);
    const char *names[4];
    if (row == NULL || !cp_registry_names(key, names, 4))
        return NULL;
    struct cp_filter_subject subject = {.created_ns = row->created_ns};
    subject.texts[CP_FILTER_NAME] = names[2];
    subject.texts[CP_FILTER_VERSION] = names[3];
    subject.texts[CP_FILTER_ENVIRONMENT] = row->environment;
    subject.texts[CP_FILTER_CREATED_BY] = CP_ANONYMOUS;
    if (!cp_filters_match(&list->options.filters, &subject) ||
        (query->entrypoint_known && query->entrypoint != row->entrypoint) ||
        (query->deployed_by != NULL && strcmp(query->deployed_by, CP_ANONYMOUS) != 0))
        return NULL;
    if (query->latest)
        *ret_group = sy_arena_printf(arena, "%s/%s/%s", names[0], names[1], names[2]);
    const char *path = sy_arena_printf(arena, "%s/%s/%s", names[0], names[1], names[3]);
    return cp_registry_order(list, arena, row->created_ns, names[2], path);
}

static void pack_task(const struct cp_registry_list *list, struct cp_lane *lane, struct sy_span key,
                      struct sy_span value, struct sy_buf *buf)
{
    const struct tasks_query *query = list->query;
    struct sy_arena *arena = cp_scratch(lane);
    const TaskRow *row = CP_UNPACK(TaskRow, switchyard__internal__store__task_row__descriptor,
                                   arena, value);
    const char *names[4];
    if (row == NULL || !cp_registry_names(key, names, 4))
        return;
    TaskIdentifier id = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    Flyteidl2__Task__Task task = FLYTEIDL2__TASK__TASK__INIT, *tasks[] = {&task};
    Flyteidl2__Task__ListTasksResponse response = FLYTEIDL2__TASK__LIST_TASKS_RESPONSE__INIT;
    id.org = text(query->org);
    id.project = text(names[0]);
    id.domain = text(names[1]);
    id.name = text(names[2]);
    id.version = text(names[3]);
    task.task_id = &id;
    task.metadata = make_metadata(arena, row);
    response.n_tasks = 1;
    response.tasks = tasks;
    pb_pack(&response.base, buf);
}

static void reply_tasks(struct cp_request *req, const struct cp_registry_list *list, size_t total,
                        const char *token, struct sy_buf *response)
{
    Flyteidl2__Task__ListTasksResponse tail = FLYTEIDL2__TASK__LIST_TASKS_RESPONSE__INIT;
    Flyteidl2__Task__ListTasksResponse__ListTasksMetadata counts =
        FLYTEIDL2__TASK__LIST_TASKS_RESPONSE__LIST_TASKS_METADATA__INIT;
    (void)list;
    counts.total = counts.filtered_total = (uint32_t)total;
    tail.metadata = &counts;
    tail.token = text(token);
    pb_pack(&tail.base, response);
    cp_reply(req, response);
}

static int read_known_filters(struct tasks_query *query, const Flyteidl2__Task__ListTasksRequest *m,
                              struct sy_error_text *error)
{
    for (size_t i = 0; i < m->n_known_filters; i++) {
        const Flyteidl2__Task__ListTasksRequest__KnownFilter *filter = m->known_filters[i];
        switch (filter->filter_by_case) {
        case FLYTEIDL2__TASK__LIST_TASKS_REQUEST__KNOWN_FILTER__FILTER_BY_DEPLOYED_BY:
            query->deployed_by = filter->deployed_by;
            break;
        case FLYTEIDL2__TASK__LIST_TASKS_REQUEST__KNOWN_FILTER__FILTER_BY_IS_ENTRYPOINT:
            query->entrypoint_known = true;
            query->entrypoint = filter->is_entrypoint;
            break;
        default:
            sy_error_text_set(error, "known_filters: expected deployed_by or is_entrypoint");
            return -EINVAL;
        }
    }
    return 0;
}

static void list_tasks(struct cp_request *req)
{
    const Flyteidl2__Task__ListTasksRequest *m = req->message;
    struct tasks_query *query = cp_request_alloc(req, sizeof(*query));
    *query = (struct tasks_query){.org = "", .latest = true};
    query->list = (struct cp_registry_list){.prefix = CP_REGISTRY_KEY(CP_REGISTRY_TASK, NULL),
                                            .order = order_task,
                                            .pack = pack_task,
                                            .reply = reply_tasks,
                                            .query = query};
    struct sy_error_text error = {0};
    int r = cp_list_options_read(&query->list.options, &tasks_rules, m->request, &error);
    if (r == 0)
        r = read_known_filters(query, m, &error);
    const Flyteidl2__Common__ProjectIdentifier *id =
        m->scope_by_case == FLYTEIDL2__TASK__LIST_TASKS_REQUEST__SCOPE_BY_PROJECT_ID ? m->project_id
                                                                                     : NULL;
    if (r == 0 && id != NULL) {
        r = cp_name_check("project_id.name", id->name, &error) < 0 ||
                    cp_name_check("project_id.domain", id->domain, &error) < 0
                ? -EINVAL
                : cp_text_check("project_id.organization", id->organization, 255, &error);
        if (r == 0)
            query->list.prefix = CP_REGISTRY_KEY(CP_REGISTRY_TASK, id->name, id->domain, NULL);
        query->org = id->organization;
    }
    if (r < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    cp_registry_list_start(req, &query->list);
}

static void pack_version(const struct cp_registry_list *list, struct cp_lane *lane,
                         struct sy_span key, struct sy_span value, struct sy_buf *buf)
{
    (void)list;
    struct sy_arena *arena = cp_scratch(lane);
    const TaskRow *row = CP_UNPACK(TaskRow, switchyard__internal__store__task_row__descriptor,
                                   arena, value);
    const char *names[4];
    if (row == NULL || !cp_registry_names(key, names, 4))
        return;
    Flyteidl2__Task__ListVersionsResponse__VersionResponse item =
        FLYTEIDL2__TASK__LIST_VERSIONS_RESPONSE__VERSION_RESPONSE__INIT;
    Flyteidl2__Task__ListVersionsResponse__VersionResponse *items[] = {&item};
    Flyteidl2__Task__ListVersionsResponse response = FLYTEIDL2__TASK__LIST_VERSIONS_RESPONSE__INIT;
    item.version = text(names[3]);
    item.deployed_at = cp_flyte_time(arena, row->created_ns);
    item.deployed_by = cp_anonymous(arena);
    response.n_versions = 1;
    response.versions = items;
    pb_pack(&response.base, buf);
}

static void reply_versions(struct cp_request *req, const struct cp_registry_list *list,
                           size_t total, const char *token, struct sy_buf *response)
{
    Flyteidl2__Task__ListVersionsResponse tail = FLYTEIDL2__TASK__LIST_VERSIONS_RESPONSE__INIT;
    (void)list;
    (void)total;
    tail.token = text(token);
    pb_pack(&tail.base, response);
    cp_reply(req, response);
}

static void list_versions(struct cp_request *req)
{
    const Flyteidl2__Task__ListVersionsRequest *m = req->message;
    const Flyteidl2__Task__TaskName *name = m->task_name;
    struct tasks_query *query = cp_request_alloc(req, sizeof(*query));
    struct sy_error_text error = {0};
    *query = (struct tasks_query){.org = ""};
    if (name == NULL) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "task_name: missing");
        return;
    }
    if (cp_task_name_check(name->org, name->project, name->domain, name->name, &error) < 0 ||
        cp_list_options_read(&query->list.options, &tasks_rules, m->request, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    query->list.prefix = CP_REGISTRY_KEY(CP_REGISTRY_TASK, name->project, name->domain, name->name,
                                         NULL);
    query->list.order = order_task;
    query->list.pack = pack_version;
    query->list.reply = reply_versions;
    query->list.query = query;
    cp_registry_list_start(req, &query->list);
}

#define TASK_SERVICE "/flyteidl2.task.TaskService/"

const struct cp_method cp_task_methods[] = {
    {.path = TASK_SERVICE "DeployTask",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__task__deploy_task_request__descriptor,
     .address = deploy_address,
     .serve = deploy_task},
    {.path = TASK_SERVICE "GetTaskDetails",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__task__get_task_details_request__descriptor,
     .address = details_address,
     .serve = get_task_details},
    {.path = TASK_SERVICE "ListTasks",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__task__list_tasks_request__descriptor,
     .serve = list_tasks,
     .parts = true},
    {.path = TASK_SERVICE "ListVersions",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__task__list_versions_request__descriptor,
     .serve = list_versions,
     .parts = true},
    {0},
};
