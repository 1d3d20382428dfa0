/*
 * flyteidl2.trigger.TriggerService. Every change is a revision, kept in a history. A call that
 * names several triggers changes all of them or none: they must be of one task, so that they lie
 * together.
 */
#include "base/mem.h"
#include "controlplane/registry_list.h"
#include "controlplane/rows.h"
#include "controlplane/shard_impl.h"
#include "controlplane/triggers.h"
#include "proto/pb.h"

#include <string.h>

#define NAMES_MAX 100

typedef Switchyard__Internal__Store__TriggerRow TriggerRow;
typedef Flyteidl2__Common__TriggerName TriggerName;
typedef Flyteidl2__Trigger__TriggerDetails TriggerDetails;

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* generated structs have no const; packing does not write */
}

static int address(struct cp_request *req, const TriggerName *name, struct sy_error_text *error)
{
    if (name == NULL) {
        sy_error_text_set(error, "name: missing");
        return -EINVAL;
    }
    if (cp_text_check("name.org", name->org, 255, error) < 0 ||
        cp_name_check("name.project", name->project, error) < 0 ||
        cp_name_check("name.domain", name->domain, error) < 0 ||
        cp_registry_name_check("name.task_name", name->task_name, error) < 0 ||
        cp_registry_name_check("name.name", name->name, error) < 0)
        return -EINVAL;
    req->address = (struct cp_address){.org = name->org,
                                       .project = name->project,
                                       .domain = name->domain,
                                       .task = name->task_name};
    return 0;
}

static struct cp_trigger_id id_of(const TriggerName *name)
{
    return (struct cp_trigger_id){name->project, name->domain, name->task_name, name->name};
}

static void fail_lookup(struct cp_request *req, int r, const TriggerName *name)
{
    if (r == CP_PARTITION_E_NOT_FOUND)
        cp_fail(req, SY_CODE_NOT_FOUND, "task %s/%s/%s has no trigger '%s'", name->project,
                name->domain, name->task_name, name->name);
    else
        cp_fail_read(req, r);
}

/* Of an errno inside a change. */
static enum sy_code explain(struct cp_partition *p, int r, const char *trigger,
                            struct sy_error_text *error)
{
    if (r == 0)
        return SY_CODE_OK;
    if (r == CP_PARTITION_E_NOT_FOUND) {
        sy_error_text_set(error, "trigger '%s' does not exist", trigger);
        return SY_CODE_NOT_FOUND;
    }
    sy_error_text_set(error, "reading from the store failed");
    cp_partition_registry_fail(p, r < 0 ? r : -EIO);
    return SY_CODE_UNAVAILABLE;
}

/* ---- messages ---- */

struct shown {
    Flyteidl2__Common__TriggerName name;
    Flyteidl2__Common__TriggerIdentifier id;
    Flyteidl2__Trigger__TriggerMetadata metadata;
    Flyteidl2__Trigger__TriggerStatus status;
    Flyteidl2__Trigger__TriggerSpec *spec;
    Flyteidl2__Task__TriggerAutomationSpec *automation;
    TriggerDetails details;
};

/* What all messages of a trigger have; NULL: the row is damaged. */
static struct shown *show(struct sy_arena *arena, const char *org, const char *const names[4],
                          const TriggerRow *row)
{
    struct shown *s = sy_arena_alloc(arena, sizeof(*s));
    SY_ASSERT(s != NULL);
    flyteidl2__common__trigger_name__init(&s->name);
    flyteidl2__common__trigger_identifier__init(&s->id);
    flyteidl2__trigger__trigger_metadata__init(&s->metadata);
    flyteidl2__trigger__trigger_status__init(&s->status);
    flyteidl2__trigger__trigger_details__init(&s->details);
    s->name.org = text(org);
    s->name.project = text(names[0]);
    s->name.domain = text(names[1]);
    s->name.task_name = text(names[2]);
    s->name.name = text(names[3]);
    s->id.name = &s->name;
    s->id.revision = row->revision;
    s->metadata.deployed_by = s->metadata.updated_by = cp_anonymous(arena);
    s->status.deployed_at = cp_flyte_time(arena, row->deployed_ns);
    s->status.updated_at = cp_flyte_time(arena, row->updated_ns);
    s->status.triggered_at = cp_flyte_time(arena, row->fired_ns);
    s->status.deleted_at = cp_flyte_time(arena, row->deleted_ns);
    s->spec = pb_unpack(&flyteidl2__trigger__trigger_spec__descriptor, arena,
                        (struct sy_span){row->spec.data, row->spec.len});
    s->automation = pb_unpack(&flyteidl2__task__trigger_automation_spec__descriptor, arena,
                              (struct sy_span){row->automation.data, row->automation.len});
    if (s->spec == NULL || s->automation == NULL)
        return NULL;
    s->details.id = &s->id;
    s->details.metadata = &s->metadata;
    s->details.spec = s->spec;
    s->details.status = &s->status;
    s->details.automation_spec = s->automation;
    s->details._description_case = FLYTEIDL2__TRIGGER__TRIGGER_DETAILS___DESCRIPTION_DESCRIPTION;
    s->details.description = s->spec->description;
    return s;
}

/* Deploy, Get and GetRevision answer alike: `trigger`, field 1. */
static void reply_details(struct cp_request *req, const TriggerName *name, const TriggerRow *row)
{
    const char *names[4] = {name->project, name->domain, name->task_name, name->name};
    const struct shown *s = show(&req->lane->scratch, name->org, names, row);
    if (s == NULL) {
        cp_fail_read(req, -EBADMSG);
        return;
    }
    Flyteidl2__Trigger__GetTriggerDetailsResponse response =
        FLYTEIDL2__TRIGGER__GET_TRIGGER_DETAILS_RESPONSE__INIT;
    response.trigger = (TriggerDetails *)(uintptr_t)&s->details;
    cp_reply_message(req, &response.base);
}

static void reply_current(struct cp_request *req, const TriggerName *name)
{
    TriggerRow *row;
    struct cp_trigger_id id = id_of(name);
    int r = cp_trigger_get(req->lane->partition, cp_scratch(req->lane), &id, &row);
    if (r == 0)
        reply_details(req, name, row);
    else
        fail_lookup(req, r, name);
}

/* ---- DeployTrigger ---- */

static int deploy_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Trigger__DeployTriggerRequest *m = req->message;
    return address(req, m->name, error);
}

static enum sy_code deploy_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    struct cp_request *req = ctx;
    const Flyteidl2__Trigger__DeployTriggerRequest *m = req->message;
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_trigger_id id = id_of(m->name);
    struct cp_registry_key key = CP_REGISTRY_KEY(CP_REGISTRY_TASK, id.project, id.domain, id.task,
                                                 m->spec->task_version, NULL);
    int r = cp_partition_registry_get(p, cp_registry_span(&key), &req->lane->buf);
    if (r == CP_PARTITION_E_NOT_FOUND) {
        sy_error_text_set(error, "task %s/%s/%s has no version '%s'", id.project, id.domain,
                          id.task, m->spec->task_version);
        return SY_CODE_NOT_FOUND;
    }
    TriggerRow *row = NULL;
    if (r == 0 && m->revision != 0)
        r = cp_trigger_get(p, arena, &id, &row);
    if (row != NULL && row->revision != m->revision) {
        sy_error_text_set(error, "trigger '%s' has revision %llu, not %llu", id.name,
                          (unsigned long long)row->revision, (unsigned long long)m->revision);
        return SY_CODE_FAILED_PRECONDITION;
    }
    if (r == 0)
        r = cp_trigger_deploy(p, arena, &id, m->spec, m->automation_spec,
                              sy_loop_realtime_ns(req->lane->loop));
    return explain(p, r, id.name, error);
}

static void deployed(void *arg, const struct sy_status *status)
{
    struct cp_request *req = arg;
    const Flyteidl2__Trigger__DeployTriggerRequest *m = req->message;
    if (status->code == SY_CODE_OK)
        reply_current(req, m->name);
    else
        cp_fail_status(req, status);
}

static void deploy_trigger(struct cp_request *req)
{
    const Flyteidl2__Trigger__DeployTriggerRequest *m = req->message;
    struct sy_error_text error = {0};
    size_t inline_max = req->lane->shard->options.partition.inline_bytes_max;
    int r = -EINVAL;
    if (m->spec == NULL)
        sy_error_text_set(&error, "spec: missing");
    else if (m->spec->input_wrapper_case ==
                 FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_INPUTS &&
             m->spec->inputs.len > inline_max)
        sy_error_text_set(&error, "spec.inputs: %zu bytes, at most %zu may be inline",
                          m->spec->inputs.len, inline_max);
    else if (cp_registry_name_check("spec.task_version", m->spec->task_version, &error) == 0)
        r = cp_trigger_check(m->name->name, m->automation_spec, &error);
    if (r < 0)
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
    else
        cp_partition_registry_change(req->lane->partition, deploy_change, deployed, req);
}

/* ---- reading ---- */

static int details_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Trigger__GetTriggerDetailsRequest *m = req->message;
    return address(req, m->name, error);
}

static void get_details(struct cp_request *req)
{
    const Flyteidl2__Trigger__GetTriggerDetailsRequest *m = req->message;
    reply_current(req, m->name);
}

static int revision_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Trigger__GetTriggerRevisionDetailsRequest *m = req->message;
    return address(req, m->id != NULL ? m->id->name : NULL, error);
}

static void get_revision(struct cp_request *req)
{
    const Flyteidl2__Trigger__GetTriggerRevisionDetailsRequest *m = req->message;
    const TriggerName *name = m->id->name;
    struct cp_registry_key key = CP_REGISTRY_KEY(CP_REGISTRY_REVISION, name->project, name->domain,
                                                 name->task_name, name->name, NULL);
    cp_registry_add_u64(&key, m->id->revision);
    struct sy_arena *arena = cp_scratch(req->lane);
    struct sy_buf *buf = &req->lane->buf;
    TriggerRow *row;
    int r = cp_partition_registry_get(req->lane->partition, cp_registry_span(&key), buf);
    if (r == 0)
        r = cp_trigger_row_read(arena, sy_buf_span(buf), &row);
    if (r == 0)
        reply_details(req, name, row);
    else
        fail_lookup(req, r, name);
}

/* ---- lists ---- */

static const struct cp_list_rules rules = {
    .fields = CP_FILTER_BIT(NAME) | CP_FILTER_BIT(TASK_NAME) | CP_FILTER_BIT(CREATED_AT) |
              CP_FILTER_BIT(UPDATED_AT),
    .sort_by_name = true};

struct query {
    struct cp_registry_list list;
    const char *org, *version; /* NULL: of any version */
};

/* The names of a trigger's key, or of a revision's, which has eight bytes more. */
static bool key_names(struct sy_span key, const char *names[4])
{
    if (key.len > 8 && key.data[0] == CP_REGISTRY_REVISION)
        key.len -= 8;
    return cp_registry_names(key, names, 4);
}

static const char *order_trigger(struct cp_registry_list *list, struct sy_arena *arena,
                                 struct sy_span key, struct sy_span value, const char **ret_group)
{
    const struct query *query = list->query;
    const char *names[4];
    TriggerRow *row;
    (void)ret_group;
    if (!key_names(key, names) || cp_trigger_row_read(arena, value, &row) < 0)
        return NULL;
    if (query->version != NULL) {
        const Flyteidl2__Trigger__TriggerSpec *spec = pb_unpack(
            &flyteidl2__trigger__trigger_spec__descriptor, arena,
            (struct sy_span){row->spec.data, row->spec.len});
        if (spec == NULL || strcmp(spec->task_version, query->version) != 0)
            return NULL;
    }
    struct cp_filter_subject subject = {.created_ns = row->deployed_ns,
                                        .updated_ns = row->updated_ns};
    subject.texts[CP_FILTER_NAME] = names[3];
    subject.texts[CP_FILTER_TASK_NAME] = names[2];
    if (!cp_filters_match(&list->options.filters, &subject))
        return NULL;
    bool history = key.data[0] == CP_REGISTRY_REVISION;
    const char *detail = sy_arena_printf(arena, "%s/%s/%s/%016llx", names[0], names[1], names[2],
                                         history ? (unsigned long long)row->revision : 0);
    if (detail == NULL)
        return NULL;
    return cp_registry_order(list, arena, history ? row->updated_ns : row->deployed_ns, names[3],
                             detail);
}

static void pack_trigger(const struct cp_registry_list *list, struct cp_lane *lane,
                         struct sy_span key, struct sy_span value, struct sy_buf *buf)
{
    const struct query *query = list->query;
    struct sy_arena *arena = cp_scratch(lane);
    const char *names[4];
    TriggerRow *row;
    struct shown *s = NULL;
    if (key_names(key, names) && cp_trigger_row_read(arena, value, &row) == 0)
        s = show(arena, query->org, names, row);
    if (s == NULL)
        return;
    if (key.data[0] == CP_REGISTRY_REVISION) {
        Flyteidl2__Trigger__TriggerRevision item = FLYTEIDL2__TRIGGER__TRIGGER_REVISION__INIT;
        Flyteidl2__Trigger__TriggerRevision *items[] = {&item};
        Flyteidl2__Trigger__GetTriggerRevisionHistoryResponse response =
            FLYTEIDL2__TRIGGER__GET_TRIGGER_REVISION_HISTORY_RESPONSE__INIT;
        item.id = &s->id;
        item.metadata = &s->metadata;
        item.status = &s->status;
        item.action = (Flyteidl2__Trigger__TriggerRevisionAction)row->action;
        item.created_at = cp_flyte_time(arena, row->updated_ns);
        response.n_triggers = 1;
        response.triggers = items;
        pb_pack(&response.base, buf);
        return;
    }
    Flyteidl2__Trigger__Trigger item = FLYTEIDL2__TRIGGER__TRIGGER__INIT, *items[] = {&item};
    Flyteidl2__Trigger__ListTriggersResponse response =
        FLYTEIDL2__TRIGGER__LIST_TRIGGERS_RESPONSE__INIT;
    item.id = &s->id;
    item.metadata = &s->metadata;
    item.status = &s->status;
    item.active = s->spec->active;
    item.automation_spec = s->automation;
    response.n_triggers = 1;
    response.triggers = items;
    pb_pack(&response.base, buf);
}

/* Both lists have their token in field 2. */
static void reply_list(struct cp_request *req, const struct cp_registry_list *list, size_t total,
                       const char *token, struct sy_buf *response)
{
    Flyteidl2__Trigger__ListTriggersResponse tail =
        FLYTEIDL2__TRIGGER__LIST_TRIGGERS_RESPONSE__INIT;
    (void)list;
    (void)total;
    tail.token = text(token);
    pb_pack(&tail.base, response);
    cp_reply(req, response);
}

/* Fails the request when the scope is wrong: `project` NULL is everything. */
static void start_list(struct cp_request *req, enum cp_registry_kind kind,
                       const Flyteidl2__Common__ListRequest *list, const char *const scope[5],
                       const char *version)
{
    struct query *query = cp_request_alloc(req, sizeof(*query));
    struct sy_error_text error = {0};
    *query = (struct query){.org = scope[0] != NULL ? scope[0] : "", .version = version};
    const char *names[5] = {0};
    int r = cp_list_options_read(&query->list.options, &rules, list, &error);
    for (size_t i = 1; r == 0 && i < 5 && scope[i] != NULL; i++) {
        names[i - 1] = scope[i];
        r = i <= 2
                ? cp_name_check(i == 1 ? "project" : "domain", scope[i], &error)
                : cp_registry_name_check(i == 3 ? "task name" : "trigger name", scope[i], &error);
    }
    if (r < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    query->list.prefix = cp_registry_key(kind, names);
    query->list.order = order_trigger;
    query->list.pack = pack_trigger;
    query->list.reply = reply_list;
    query->list.query = query;
    cp_registry_list_start(req, &query->list);
}

static void list_triggers(struct cp_request *req)
{
    const Flyteidl2__Trigger__ListTriggersRequest *m = req->message;
    const char *scope[5] = {0}, *version = NULL;
    switch (m->scope_by_case) {
    case FLYTEIDL2__TRIGGER__LIST_TRIGGERS_REQUEST__SCOPE_BY_PROJECT_ID:
        scope[0] = m->project_id->organization;
        scope[1] = m->project_id->name;
        scope[2] = m->project_id->domain;
        break;
    case FLYTEIDL2__TRIGGER__LIST_TRIGGERS_REQUEST__SCOPE_BY_TASK_ID:
        scope[0] = m->task_id->org;
        scope[1] = m->task_id->project;
        scope[2] = m->task_id->domain;
        scope[3] = m->task_id->name;
        version = m->task_id->version;
        break;
    case FLYTEIDL2__TRIGGER__LIST_TRIGGERS_REQUEST__SCOPE_BY_TASK_NAME:
        scope[0] = m->task_name->org;
        scope[1] = m->task_name->project;
        scope[2] = m->task_name->domain;
        scope[3] = m->task_name->name;
        break;
    default:
        break;
    }
    start_list(req, CP_REGISTRY_TRIGGER, m->request, scope, version);
}

static void get_history(struct cp_request *req)
{
    const Flyteidl2__Trigger__GetTriggerRevisionHistoryRequest *m = req->message;
    const TriggerName *name = m->name;
    if (name == NULL) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "name: missing");
        return;
    }
    const char *const scope[5] = {name->org, name->project, name->domain, name->task_name,
                                  name->name};
    start_list(req, CP_REGISTRY_REVISION, m->request, scope, NULL);
}

/* ---- UpdateTriggers, DeleteTriggers ---- */

static int address_names(struct cp_request *req, size_t count, TriggerName *const *names,
                         struct sy_error_text *error)
{
    if (count == 0 || count > NAMES_MAX) {
        sy_error_text_set(error, "names: %zu of them, expected 1 to %d", count, NAMES_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (address(req, names[i], error) < 0)
            return -EINVAL;
        if (strcmp(names[i]->project, names[0]->project) != 0 ||
            strcmp(names[i]->domain, names[0]->domain) != 0 ||
            strcmp(names[i]->task_name, names[0]->task_name) != 0) {
            sy_error_text_set(error, "names: of several tasks; change one task's in a call");
            return -EINVAL;
        }
    }
    return 0;
}

static int update_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Trigger__UpdateTriggersRequest *m = req->message;
    return address_names(req, m->n_names, m->names, error);
}

/* All of them exist, so that nothing is refused after something was put. */
static enum sy_code check_all(struct cp_request *req, struct cp_partition *p, size_t count,
                              TriggerName *const *names, struct sy_error_text *error)
{
    for (size_t i = 0; i < count; i++) {
        TriggerRow *row;
        struct cp_trigger_id id = id_of(names[i]);
        int r = cp_trigger_get(p, cp_scratch(req->lane), &id, &row);
        for (size_t j = 0; r == 0 && j < i; j++) {
            if (strcmp(names[j]->name, id.name) == 0) {
                sy_error_text_set(error, "names: '%s' twice", id.name);
                return SY_CODE_INVALID_ARGUMENT;
            }
        }
        if (r != 0)
            return explain(p, r, id.name, error);
    }
    return SY_CODE_OK;
}

static enum sy_code update_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    struct cp_request *req = ctx;
    const Flyteidl2__Trigger__UpdateTriggersRequest *m = req->message;
    enum sy_code code = check_all(req, p, m->n_names, m->names, error);
    for (size_t i = 0; code == SY_CODE_OK && i < m->n_names; i++) {
        struct cp_trigger_id id = id_of(m->names[i]);
        code = explain(p,
                       cp_trigger_set_active(p, cp_scratch(req->lane), &id, m->active,
                                             sy_loop_realtime_ns(req->lane->loop)),
                       id.name, error);
    }
    return code;
}

static void update_triggers(struct cp_request *req)
{
    cp_partition_registry_change(req->lane->partition, update_change, cp_done_empty, req);
}

static int delete_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Trigger__DeleteTriggersRequest *m = req->message;
    return address_names(req, m->n_names, m->names, error);
}

static enum sy_code delete_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    struct cp_request *req = ctx;
    const Flyteidl2__Trigger__DeleteTriggersRequest *m = req->message;
    enum sy_code code = check_all(req, p, m->n_names, m->names, error);
    for (size_t i = 0; code == SY_CODE_OK && i < m->n_names; i++) {
        struct cp_trigger_id id = id_of(m->names[i]);
        code = explain(
            p,
            cp_trigger_delete(p, cp_scratch(req->lane), &id, sy_loop_realtime_ns(req->lane->loop)),
            id.name, error);
    }
    return code;
}

static void delete_triggers(struct cp_request *req)
{
    cp_partition_registry_change(req->lane->partition, delete_change, cp_done_empty, req);
}

#define TRIGGER_SERVICE "/flyteidl2.trigger.TriggerService/"

const struct cp_method cp_trigger_methods[] = {
    {.path = TRIGGER_SERVICE "DeployTrigger",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__trigger__deploy_trigger_request__descriptor,
     .address = deploy_address,
     .serve = deploy_trigger},
    {.path = TRIGGER_SERVICE "GetTriggerDetails",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__trigger__get_trigger_details_request__descriptor,
     .address = details_address,
     .serve = get_details},
    {.path = TRIGGER_SERVICE "GetTriggerRevisionDetails",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__trigger__get_trigger_revision_details_request__descriptor,
     .address = revision_address,
     .serve = get_revision},
    {.path = TRIGGER_SERVICE "GetTriggerRevisionHistory",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__trigger__get_trigger_revision_history_request__descriptor,
     .serve = get_history,
     .parts = true},
    {.path = TRIGGER_SERVICE "ListTriggers",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__trigger__list_triggers_request__descriptor,
     .serve = list_triggers,
     .parts = true},
    {.path = TRIGGER_SERVICE "UpdateTriggers",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__trigger__update_triggers_request__descriptor,
     .address = update_address,
     .serve = update_triggers},
    {.path = TRIGGER_SERVICE "DeleteTriggers",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__trigger__delete_triggers_request__descriptor,
     .address = delete_address,
     .serve = delete_triggers},
    {0},
};
