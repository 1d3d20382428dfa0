/* links: cp */
#include "tests/unit/cp_requests.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/task/task_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"

#define TASK "/flyteidl2.task.TaskService/"

static void id_init(Flyteidl2__Task__TaskIdentifier *id, const char *name, const char *version)
{
    flyteidl2__task__task_identifier__init(id);
    id->org = text_of("acme");
    id->project = text_of("p");
    id->domain = text_of("d");
    id->name = text_of(name);
    id->version = text_of(version);
}

struct deploy {
    Flyteidl2__Task__DeployTaskRequest request;
    Flyteidl2__Task__TaskIdentifier id;
};

static void deploy_init(struct world *w, struct deploy *d, const char *name, const char *version,
                        const char *cpu)
{
    flyteidl2__task__deploy_task_request__init(&d->request);
    id_init(&d->id, name, version);
    d->request.task_id = &d->id;
    d->request.spec = bytes_of(task_spec(w, "switchyard.process", cpu));
}

static void deploy(struct world *w, const char *name, const char *version, const char *cpu)
{
    struct deploy d;
    deploy_init(w, &d, name, version, cpu);
    call_ok(w, TASK "DeployTask", &d.request.base, NULL);
    world_for(w, SY_NS_PER_MS); /* so that creation times differ */
}

static Flyteidl2__Task__TaskDetails *details(struct world *w, const char *name, const char *version)
{
    Flyteidl2__Task__GetTaskDetailsRequest request =
        FLYTEIDL2__TASK__GET_TASK_DETAILS_REQUEST__INIT;
    Flyteidl2__Task__TaskIdentifier id;
    id_init(&id, name, version);
    request.task_id = &id;
    Flyteidl2__Task__GetTaskDetailsResponse *response = call_ok(
        w, TASK "GetTaskDetails", &request.base,
        &flyteidl2__task__get_task_details_response__descriptor);
    return response->details;
}

START_TEST(a_version_is_deployed_once)
{
    struct world w;
    world_init_for(&w, _i);
    deploy(&w, "env.one", "v1", "1");
    deploy(&w, "env.one", "v1", "1"); /* the same again */
    struct deploy d;
    deploy_init(&w, &d, "env.one", "v1", "2");
    call_fails(&w, TASK "DeployTask", &d.request.base, SY_CODE_ALREADY_EXISTS, "another spec");
    deploy(&w, "env.one", "v2", "2");
    struct sy_span one = task_spec(&w, "switchyard.process", "1");
    const Flyteidl2__Task__TaskDetails *got = details(&w, "env.one", "v1");
    ck_assert_uint_eq(got->spec.len, one.len);
    ck_assert_int_eq(memcmp(got->spec.data, one.data, one.len), 0);
    ck_assert_str_eq(got->task_id->org, "acme");
    ck_assert_str_eq(got->metadata->short_name, "task");
    ck_assert_str_eq(got->metadata->deployed_by->user->id->subject, "anonymous");
    ck_assert_int_ge(got->metadata->deployed_at->seconds, 1700000000);
    world_deinit(&w);
}
END_TEST

START_TEST(bad_deployments)
{
    struct world w;
    world_init_for(&w, _i);
    struct deploy d;
    deploy_init(&w, &d, "", "v1", "1");
    call_fails(&w, TASK "DeployTask", &d.request.base, SY_CODE_INVALID_ARGUMENT, "task_id.name");
    deploy_init(&w, &d, "env.one", "", "1");
    call_fails(&w, TASK "DeployTask", &d.request.base, SY_CODE_INVALID_ARGUMENT, "version");
    deploy_init(&w, &d, "env.one", "v1", "lots");
    call_fails(&w, TASK "DeployTask", &d.request.base, SY_CODE_INVALID_ARGUMENT, "spec: ");
    d.request.task_id = NULL;
    call_fails(&w, TASK "DeployTask", &d.request.base, SY_CODE_INVALID_ARGUMENT, "task_id");
    Flyteidl2__Task__GetTaskDetailsRequest get = FLYTEIDL2__TASK__GET_TASK_DETAILS_REQUEST__INIT;
    id_init(&d.id, "env.one", "v1");
    get.task_id = &d.id;
    call_fails(&w, TASK "GetTaskDetails", &get.base, SY_CODE_NOT_FOUND, "env.one");
    char name[300];
    memset(name, 'x', sizeof(name));
    name[255] = '\0';
    deploy(&w, name, "v1", "1"); /* the longest */
    ck_assert_str_eq(details(&w, name, "v1")->task_id->name, name);
    name[255] = 'x';
    name[256] = '\0';
    deploy_init(&w, &d, name, "v1", "1");
    call_fails(&w, TASK "DeployTask", &d.request.base, SY_CODE_INVALID_ARGUMENT, "256");
    world_deinit(&w);
}
END_TEST

struct list_request {
    Flyteidl2__Task__ListTasksRequest request;
    Flyteidl2__Common__ListRequest list;
    Flyteidl2__Common__Sort sort;
    Flyteidl2__Common__ProjectIdentifier project;
    Flyteidl2__Common__Filter filter, *filters[1];
    char *values[1];
};

/* As the SDK does it; `name` NULL: without a filter. */
static void list_init(struct list_request *l, uint32_t limit, const char *key, bool ascending,
                      const char *name)
{
    flyteidl2__task__list_tasks_request__init(&l->request);
    flyteidl2__common__list_request__init(&l->list);
    flyteidl2__common__sort__init(&l->sort);
    flyteidl2__common__project_identifier__init(&l->project);
    flyteidl2__common__filter__init(&l->filter);
    l->project.name = text_of("p");
    l->project.domain = text_of("d");
    l->request.scope_by_case = FLYTEIDL2__TASK__LIST_TASKS_REQUEST__SCOPE_BY_PROJECT_ID;
    l->request.project_id = &l->project;
    l->request.request = &l->list;
    l->sort.key = text_of(key);
    l->sort.direction = ascending ? FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING
                                  : FLYTEIDL2__COMMON__SORT__DIRECTION__DESCENDING;
    l->list.sort_by = &l->sort;
    l->list.limit = limit;
    l->values[0] = text_of(name != NULL ? name : "");
    l->filter.field = text_of("name");
    l->filter.values = l->values;
    l->filter.n_values = 1;
    l->filters[0] = &l->filter;
    l->list.filters = l->filters;
    l->list.n_filters = name != NULL;
}

static Flyteidl2__Task__ListTasksResponse *list_tasks(struct world *w, const struct list_request *l)
{
    return call_ok(w, TASK "ListTasks", &l->request.base,
                   &flyteidl2__task__list_tasks_response__descriptor);
}

/* "name/version name/version ..." of all pages. */
static const char *all_tasks(struct world *w, struct list_request *l)
{
    static char text[8192];
    text[0] = '\0';
    for (int pages = 0;; pages++) {
        const Flyteidl2__Task__ListTasksResponse *page = list_tasks(w, l);
        ck_assert_int_lt(pages, 100);
        ck_assert_uint_le(page->n_tasks, l->list.limit);
        for (size_t i = 0; i < page->n_tasks; i++) {
            size_t len = strlen(text);
            snprintf(text + len, sizeof(text) - len, "%s%s/%s", len > 0 ? " " : "",
                     page->tasks[i]->task_id->name, page->tasks[i]->task_id->version);
        }
        if (page->token[0] == '\0')
            return text;
        ck_assert_uint_eq(page->n_tasks, l->list.limit);
        l->list.token = page->token;
    }
}

START_TEST(lists_show_the_latest_version)
{
    struct world w;
    world_init_for(&w, _i);
    deploy(&w, "env.b", "v1", "1");
    deploy(&w, "env.a", "v2", "1");
    deploy(&w, "env.c", "v1", "1");
    deploy(&w, "env.b", "v0", "2");
    struct list_request l;
    for (uint32_t limit = 1; limit < 5; limit++) {
        list_init(&l, limit, "created_at", true, NULL);
        ck_assert_str_eq(all_tasks(&w, &l), "env.a/v2 env.c/v1 env.b/v0");
        list_init(&l, limit, "created_at", false, NULL);
        ck_assert_str_eq(all_tasks(&w, &l), "env.b/v0 env.c/v1 env.a/v2");
        list_init(&l, limit, "name", true, NULL);
        ck_assert_str_eq(all_tasks(&w, &l), "env.a/v2 env.b/v0 env.c/v1");
    }
    list_init(&l, 1, "created_at", false, "env.b"); /* auto_version="latest" */
    ck_assert_str_eq(all_tasks(&w, &l), "env.b/v0");
    list_init(&l, 10, "created_at", false, "env.none");
    ck_assert_str_eq(all_tasks(&w, &l), "");
    list_init(&l, 10, "name", true, ".a");
    l.filter.function = FLYTEIDL2__COMMON__FILTER__FUNCTION__CONTAINS;
    ck_assert_str_eq(all_tasks(&w, &l), "env.a/v2");
    list_init(&l, 10, "created_at", false, NULL);
    l.project.name = text_of("elsewhere");
    ck_assert_str_eq(all_tasks(&w, &l), "");
    list_init(&l, 10, "size", false, NULL);
    call_fails(&w, TASK "ListTasks", &l.request.base, SY_CODE_INVALID_ARGUMENT, "size");

    Flyteidl2__Task__TaskName name = FLYTEIDL2__TASK__TASK_NAME__INIT;
    Flyteidl2__Task__ListVersionsRequest versions = FLYTEIDL2__TASK__LIST_VERSIONS_REQUEST__INIT;
    name.project = text_of("p");
    name.domain = text_of("d");
    name.name = text_of("env.b");
    versions.task_name = &name;
    const Flyteidl2__Task__ListVersionsResponse *got = call_ok(
        &w, TASK "ListVersions", &versions.base,
        &flyteidl2__task__list_versions_response__descriptor);
    ck_assert_uint_eq(got->n_versions, 2);
    ck_assert_str_eq(got->versions[0]->version, "v0");
    ck_assert_str_eq(got->versions[1]->version, "v1");
    world_deinit(&w);
}
END_TEST

/* Names are such that the run and the task lie in different partitions, for some. */
START_TEST(a_run_by_task_id)
{
    struct world w;
    world_init_for(&w, _i);
    w.automatic = true;
    deploy(&w, "env.one", "v1", "1");
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof(name), "run-%d", i);
        struct create_request c;
        create_init(&w, &c, name, "switchyard.process");
        Flyteidl2__Task__TaskIdentifier id;
        id_init(&id, "env.one", "v1");
        c.request.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_ID;
        c.request.task_id = &id;
        const Flyteidl2__Workflow__CreateRunResponse *response = call_ok(
            &w, RUN "CreateRun", &c.request.base,
            &flyteidl2__workflow__create_run_response__descriptor);
        ck_assert_str_eq(response->run->action->id->run->name, name);
        ck_assert_str_eq(response->run->action->metadata->task->id->name, "demo.task");
        id.version = text_of("v2");
        call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_NOT_FOUND, "no version 'v2'");
        id.name = text_of("");
        call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "task_id.name");
    }
    world_until(&w, runs_live(&w) == 0);
    world_deinit(&w);
}
END_TEST

START_TEST(tasks_outlive_the_shard)
{
    struct world w;
    world_init_for(&w, _i);
    deploy(&w, "env.one", "v1", "1");
    struct deploy d;
    struct reply lost;
    deploy_init(&w, &d, "env.two", "v1", "1");
    struct call call = {.method = TASK "DeployTask", .request = &d.request.base};
    call_start(&w, &call, &lost); /* in flight when the shard dies */
    world_turn(&w);
    world_turn(&w);
    cp_shard_free(w.shard);
    world_start_shard(&w);
    world_until(&w, lost.done);
    ck_assert_int_eq(lost.code, SY_CODE_UNAVAILABLE);
    sy_buf_deinit(&lost.bytes);
    ck_assert_str_eq(details(&w, "env.one", "v1")->task_id->name, "env.one");
    deploy(&w, "env.two", "v1", "1");
    struct list_request l;
    list_init(&l, 10, "name", true, NULL);
    ck_assert_str_eq(all_tasks(&w, &l), "env.one/v1 env.two/v1");
    world_deinit(&w);
}
END_TEST

/* Many at once: each is made, one after the other. */
START_TEST(deployments_queue)
{
    struct world w;
    world_init_for(&w, _i);
    enum { MANY = 40 };
    static struct deploy d[MANY];
    static struct reply replies[MANY];
    char names[MANY][16];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "env.t%02d", i / 2);
        deploy_init(&w, &d[i], names[i], "v1", i % 2 == 0 ? "1" : "2");
        struct call call = {.method = TASK "DeployTask", .request = &d[i].request.base};
        call_start(&w, &call, &replies[i]);
    }
    for (int i = 0; i < MANY; i++) {
        world_until(&w, replies[i].done);
        ck_assert_int_eq(replies[i].code, i % 2 == 0 ? SY_CODE_OK : SY_CODE_ALREADY_EXISTS);
        sy_buf_deinit(&replies[i].bytes);
    }
    world_deinit(&w);
}
END_TEST

/* The disk is full: what waits is refused, and goes when there is room again. */
START_TEST(a_full_disk_refuses_deployments)
{
    struct world w;
    world_init(&w, 1);
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, 0);
    static struct deploy d[3];
    static struct reply replies[3];
    static const char *const names[] = {"env.a", "env.b", "env.c"};
    for (int i = 0; i < 3; i++) {
        deploy_init(&w, &d[i], names[i], "v1", "1");
        struct call call = {.method = TASK "DeployTask", .request = &d[i].request.base};
        call_start(&w, &call, &replies[i]);
    }
    for (int i = 0; i < 3; i++) {
        world_until(&w, replies[i].done);
        ck_assert_int_eq(replies[i].code, SY_CODE_RESOURCE_EXHAUSTED);
        sy_buf_deinit(&replies[i].bytes);
    }
    world_until(&w, cp_partition_serving(cp_shard_partition(w.shard, 0)));
    deploy(&w, "env.a", "v1", "1");
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {a_version_is_deployed_once,
                                 bad_deployments,
                                 lists_show_the_latest_version,
                                 a_run_by_task_id,
                                 tasks_outlive_the_shard,
                                 deployments_queue,
                                 NULL};
    const TTest *const once[] = {a_full_disk_refuses_deployments, NULL};
    return world_tests("cp_tasks", each, once);
}
