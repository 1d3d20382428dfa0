/*
 * flyteidl2.project.ProjectService, and who is asking: IdentityService, AuthMetadataService.
 *
 * A project is a name in front of runs and tasks; nothing has to be registered before it is used.
 * What is registered gets a description, labels, and a place in the list. DEFAULT is always there.
 */
#include "base/mem.h"
#include "controlplane/names.h"
#include "controlplane/registry_list.h"
#include "controlplane/rows.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "flyteidl2/auth/identity.pb-c.h"
#include "flyteidl2/project/project_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT "default"
#define PROJECT_BYTES_MAX ((size_t)64 << 10)

typedef Switchyard__Internal__Store__ProjectRow ProjectRow;
typedef Flyteidl2__Project__Project Project;

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* generated structs have no const; packing does not write */
}

static int address(struct cp_request *req, const char *id, struct sy_error_text *error)
{
    req->address = (struct cp_address){.org = "", .project = "", .domain = "", .task = id};
    return cp_name_check("project id", id, error);
}

static int check_project(const Project *project, struct sy_error_text *error)
{
    if (cp_text_check("project.name", project->name, 255, error) < 0 ||
        cp_text_check("project.description", project->description, CP_TEXT_MAX, error) < 0)
        return -EINVAL;
    if (protobuf_c_message_get_packed_size(&project->base) <= PROJECT_BYTES_MAX)
        return 0;
    sy_error_text_set(error, "project: more than %zu bytes", PROJECT_BYTES_MAX);
    return -EINVAL;
}

static struct cp_registry_key row_key(const char *id)
{
    return CP_REGISTRY_KEY(CP_REGISTRY_PROJECT, id, NULL);
}

/* As it is shown: with the domains, which are the same for all. NULL: damaged. */
static Project *show(struct sy_arena *arena, const ProtobufCBinaryData *bytes)
{
    static const char *const ids[] = {"development", "staging", "production"};
    enum { DOMAINS = SY_COUNT_OF(ids) };
    struct {
        Flyteidl2__Project__Domain domains[DOMAINS], *pointers[DOMAINS];
    } *all = sy_arena_alloc(arena, sizeof(*all));
    Project *project = pb_unpack(&flyteidl2__project__project__descriptor, arena,
                                 (struct sy_span){bytes->data, bytes->len});
    if (project == NULL || all == NULL)
        return NULL;
    for (size_t i = 0; i < DOMAINS; i++) {
        flyteidl2__project__domain__init(&all->domains[i]);
        all->domains[i].id = all->domains[i].name = text(ids[i]);
        all->pointers[i] = &all->domains[i];
    }
    project->n_domains = DOMAINS;
    project->domains = all->pointers;
    return project;
}

static Project *show_default(struct sy_arena *arena)
{
    Project project = FLYTEIDL2__PROJECT__PROJECT__INIT;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    project.id = project.name = text(DEFAULT);
    project.description = text("always there; any other may be used without being created");
    pb_pack(&project.base, &buf);
    const ProtobufCBinaryData bytes = {buf.len, buf.data};
    return show(arena, &bytes);
}

/* ---- CreateProject, UpdateProject: both have the project in field 1 ---- */

static int write_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Project__CreateProjectRequest *m = req->message;
    if (m->project == NULL) {
        sy_error_text_set(error, "project: missing");
        return -EINVAL;
    }
    if (address(req, m->project->id, error) < 0)
        return -EINVAL;
    return check_project(m->project, error);
}

static enum sy_code write_project(struct cp_request *req, struct cp_partition *p, bool create,
                                  struct sy_error_text *error)
{
    const Flyteidl2__Project__CreateProjectRequest *m = req->message;
    struct cp_registry_key key = row_key(m->project->id);
    struct sy_buf *buf = &req->lane->buf;
    ProjectRow row = SWITCHYARD__INTERNAL__STORE__PROJECT_ROW__INIT, *old = NULL;
    int r = cp_partition_registry_get(p, cp_registry_span(&key), buf);
    if (r == 0)
        old = CP_UNPACK(ProjectRow, switchyard__internal__store__project_row__descriptor,
                        cp_scratch(req->lane), sy_buf_span(buf));
    if (r != 0 && r != CP_PARTITION_E_NOT_FOUND) {
        sy_error_text_set(error, "reading from the store failed");
        return SY_CODE_UNAVAILABLE;
    }
    bool is_default = strcmp(m->project->id, DEFAULT) == 0;
    if (create && (r == 0 || is_default)) {
        sy_error_text_set(error, "project '%s' exists already", m->project->id);
        return SY_CODE_ALREADY_EXISTS;
    }
    if (!create && r != 0 && !is_default) {
        sy_error_text_set(error, "project '%s' was not created", m->project->id);
        return SY_CODE_NOT_FOUND;
    }
    Project copy = *m->project;
    copy.n_domains = 0;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) bytes = {0};
    pb_pack(&copy.base, &bytes);
    row.created_ns = old != NULL ? old->created_ns : sy_loop_realtime_ns(req->lane->loop);
    row.project = (ProtobufCBinaryData){bytes.len, bytes.data};
    sy_buf_clear(buf);
    pb_pack(&row.base, buf);
    cp_partition_registry_put(p, &key, sy_buf_span(buf));
    return SY_CODE_OK;
}

static enum sy_code create_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    return write_project(ctx, p, true, error);
}

static enum sy_code update_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    return write_project(ctx, p, false, error);
}

static void create_project(struct cp_request *req)
{
    cp_partition_registry_change(req->lane->partition, create_change, cp_done_empty, req);
}

static void update_project(struct cp_request *req)
{
    cp_partition_registry_change(req->lane->partition, update_change, cp_done_empty, req);
}

/* ---- GetProject ---- */

static int get_address(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Project__GetProjectRequest *m = req->message;
    return address(req, m->id, error);
}

static void get_project(struct cp_request *req)
{
    const Flyteidl2__Project__GetProjectRequest *m = req->message;
    struct cp_lane *lane = req->lane;
    struct sy_arena *arena = cp_scratch(lane);
    struct cp_registry_key key = row_key(m->id);
    Flyteidl2__Project__GetProjectResponse response =
        FLYTEIDL2__PROJECT__GET_PROJECT_RESPONSE__INIT;
    int r = cp_partition_registry_get(lane->partition, cp_registry_span(&key), &lane->buf);
    if (r == CP_PARTITION_E_NOT_FOUND && strcmp(m->id, DEFAULT) == 0) {
        response.project = show_default(arena);
        cp_reply_message(req, &response.base);
        return;
    }
    if (r == CP_PARTITION_E_NOT_FOUND) {
        cp_fail(req, SY_CODE_NOT_FOUND,
                "project '%s' was not created (runs and tasks may use its name all the same)",
                m->id);
        return;
    }
    if (r == 0) {
        const ProjectRow *row = CP_UNPACK(ProjectRow,
                                          switchyard__internal__store__project_row__descriptor,
                                          arena, sy_buf_span(&lane->buf));
        response.project = row != NULL ? show(arena, &row->project) : NULL;
        r = response.project != NULL ? 0 : -EBADMSG;
    }
    if (r == 0)
        cp_reply_message(req, &response.base);
    else
        cp_fail_read(req, r);
}

/* ---- ListProjects ---- */

struct query {
    struct cp_registry_list list;
    int state; /* -1: any */
};

/* The SDK's only filter, perhaps after a person's own, joined by '+': eq(state, 0). */
static int read_filters(struct query *query, const char *filters, struct sy_error_text *error)
{
    int state, end = 0;
    query->state = -1;
    if (filters[0] == '\0')
        return 0;
    if (sscanf(filters, "eq(state, %d)%n", &state, &end) < 1 || end == 0 || filters[end] != '\0') {
        sy_error_text_set(error, "filters '%.64s': only eq(state, 0) and its like are served",
                          filters);
        return -EINVAL;
    }
    query->state = state;
    return 0;
}

static const char *order_project(struct cp_registry_list *list, struct sy_arena *arena,
                                 struct sy_span key, struct sy_span value, const char **ret_group)
{
    const struct query *query = list->query;
    const char *name;
    (void)ret_group;
    const ProjectRow *row = CP_UNPACK(
        ProjectRow, switchyard__internal__store__project_row__descriptor, arena, value);
    if (row == NULL || !cp_registry_names(key, &name, 1))
        return NULL;
    const Project *project = pb_unpack(&flyteidl2__project__project__descriptor, arena,
                                       (struct sy_span){row->project.data, row->project.len});
    if (strcmp(name, DEFAULT) == 0)
        atomic_store(&list->marked, true); /* it was changed, so it has a row */
    if (project == NULL || (query->state >= 0 && query->state != (int)project->state))
        return NULL;
    return cp_registry_order(list, arena, row->created_ns, name, "");
}

/* A part of the response's `projects`: parts joined are the whole. */
static void pack_one(Project *project, struct sy_buf *buf)
{
    Flyteidl2__Project__Projects projects = FLYTEIDL2__PROJECT__PROJECTS__INIT;
    projects.n_projects = 1;
    projects.projects = &project;
    pb_pack(&projects.base, buf);
}

static void pack_project(const struct cp_registry_list *list, struct cp_lane *lane,
                         struct sy_span key, struct sy_span value, struct sy_buf *buf)
{
    (void)list;
    (void)key;
    struct sy_arena *arena = cp_scratch(lane);
    const ProjectRow *row = CP_UNPACK(
        ProjectRow, switchyard__internal__store__project_row__descriptor, arena, value);
    Project *project = row != NULL ? show(arena, &row->project) : NULL;
    if (project != NULL)
        pack_one(project, buf);
}

static void reply_projects(struct cp_request *req, const struct cp_registry_list *list,
                           size_t total, const char *token, struct sy_buf *response)
{
    const struct query *query = list->query;
    (void)total;
    /* On the last page, and beside its limit: the default one, when nobody has changed it. */
    if (token[0] == '\0' && !atomic_load(&list->marked) && query->state <= 0)
        pack_one(show_default(cp_scratch(req->lane)), response);
    Flyteidl2__Project__Projects tail = FLYTEIDL2__PROJECT__PROJECTS__INIT;
    tail.token = text(token);
    pb_pack(&tail.base, response);
    struct sy_buf whole = {0};
    SY_ASSERT(response->len <= UINT32_MAX);
    cp_put_bytes_always(&whole, 1, response->data, response->len);
    sy_buf_deinit(response);
    cp_reply(req, &whole);
}

static void list_projects(struct cp_request *req)
{
    static const struct cp_list_rules rules = {.sort_by_name = true};
    const Flyteidl2__Project__ListProjectsRequest *m = req->message;
    struct query *query = cp_request_alloc(req, sizeof(*query));
    struct cp_list_options *options = &query->list.options;
    struct sy_error_text error = {0};
    options->limit = m->limit == 0                  ? CP_LIST_LIMIT_DEFAULT
                     : m->limit < CP_LIST_LIMIT_MAX ? m->limit
                                                    : CP_LIST_LIMIT_MAX;
    options->token = m->token;
    if (read_filters(query, m->filters, &error) < 0 ||
        (m->sort_by != NULL && cp_list_sort_read(options, &rules, m->sort_by, &error) < 0)) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    query->list.prefix = CP_REGISTRY_KEY(CP_REGISTRY_PROJECT, NULL);
    query->list.order = order_project;
    query->list.pack = pack_project;
    query->list.reply = reply_projects;
    query->list.query = query;
    cp_registry_list_start(req, &query->list);
}

/* ---- who is asking: nobody is asked ---- */

static void user_info(struct cp_request *req)
{
    Flyteidl2__Auth__UserInfoResponse response = FLYTEIDL2__AUTH__USER_INFO_RESPONSE__INIT;
    response.subject = response.name = response.preferred_username = text(CP_ANONYMOUS);
    cp_reply_message(req, &response.base);
}

#define PROJECT_SERVICE "/flyteidl2.project.ProjectService/"
#define AUTH_SERVICE "/flyteidl2.auth.AuthMetadataService/"
#define NO_AUTH "this server has no authentication: connect with insecure=True"

const struct cp_method cp_project_methods[] = {
    {.path = PROJECT_SERVICE "CreateProject",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__project__create_project_request__descriptor,
     .address = write_address,
     .serve = create_project},
    {.path = PROJECT_SERVICE "UpdateProject",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__project__update_project_request__descriptor,
     .address = write_address,
     .serve = update_project},
    {.path = PROJECT_SERVICE "GetProject",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__project__get_project_request__descriptor,
     .address = get_address,
     .serve = get_project},
    {.path = PROJECT_SERVICE "ListProjects",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__project__list_projects_request__descriptor,
     .serve = list_projects,
     .parts = true},
    {.path = "/flyteidl2.auth.IdentityService/UserInfo",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__auth__user_info_request__descriptor,
     .serve = user_info},
    {.path = AUTH_SERVICE "GetOAuth2Metadata",
     .kind = SY_METHOD_UNARY,
     .unimplemented = "GetOAuth2Metadata: " NO_AUTH},
    {.path = AUTH_SERVICE "GetPublicClientConfig",
     .kind = SY_METHOD_UNARY,
     .unimplemented = "GetPublicClientConfig: " NO_AUTH},
    {0},
};
