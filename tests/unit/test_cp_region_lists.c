/* links: cp sy_test_etcd */
/* Questions about everything, in a region where each shard has a part of it: what they find while
 * shards die, stand still, leave and come back. */
#include "tests/unit/cp_region_world.h"

#include "flyteidl2/project/project_service.pb-c.h"
#include "flyteidl2/task/task_service.pb-c.h"
#include "switchyard/v1/queue_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

#define RUNS "/flyteidl2.workflow.RunService/"
#define TASKS "/flyteidl2.task.TaskService/"
#define PROJECTS "/flyteidl2.project.ProjectService/"
#define QUEUES "/switchyard.v1.QueueService/"
#define REGION "/switchyard.v1.RegionService/"

/* ---- one call ---- */

/* Until it ends; the answer lies in `arena`. NULL: it failed; see last_code and last_text. */
static enum sy_code last_code;
static char last_text[160];
static int64_t last_took_ns;

static void *ended(struct world *w, struct call *c, const ProtobufCMessageDescriptor *type,
                   struct sy_arena *arena)
{
    UNTIL(w, c->call == NULL);
    last_code = c->code;
    last_took_ns = c->ended_ns - c->begun_ns;
    snprintf(last_text, sizeof(last_text), "%s", c->text);
    void *answer = NULL;
    if (c->code == SY_CODE_OK) {
        answer = pb_unpack(type, arena, sy_buf_span(&c->answer));
        ck_assert_ptr_nonnull(answer);
    }
    ck_assert_ptr_eq(c, &w->calls[w->call_count - 1]);
    forget_call(w);
    return answer;
}

static struct call *read_by(struct world *w, size_t shard, const char *method,
                            const ProtobufCMessage *request)
{
    struct call *c = send_call(w, shard, method, request);
    c->reads = true;
    return c;
}

static void *ask(struct world *w, size_t shard, const char *method, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *type, struct sy_arena *arena)
{
    return ended(w, read_by(w, shard, method, request), type, arena);
}

static void expect_code(enum sy_code code, const char *text)
{
    ck_assert_msg(last_code == code, "%s: %s", sy_code_name(last_code), last_text);
    ck_assert_msg(strstr(last_text, text) != NULL, "'%s' is not in: %s", text, last_text);
}

/* ---- lists of runs ---- */

struct listing {
    bool ascending;
    char names[CALLS][32];
    size_t count, pages;
    int64_t last_ns; /* when the last one was made */
    char token[256];
    bool done;
};

static struct call *send_page(struct world *w, size_t shard, struct listing *l, uint32_t limit,
                              int64_t timeout_ns)
{
    Flyteidl2__Workflow__ListRunsRequest m = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    Flyteidl2__Common__Sort sort = FLYTEIDL2__COMMON__SORT__INIT;
    list.limit = limit;
    list.token = l->token;
    sort.direction = FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    list.sort_by = l->ascending ? &sort : NULL;
    m.request = &list;
    project.name = text_of("p");
    project.domain = text_of("d");
    m.scope_by_case = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_PROJECT_ID;
    m.project_id = &project;
    w->timeout_ns = timeout_ns;
    struct call *c = read_by(w, shard, RUNS "ListRuns", &m.base);
    w->timeout_ns = 0;
    return c;
}

static void take_page(struct listing *l, const Flyteidl2__Workflow__ListRunsResponse *page)
{
    for (size_t i = 0; i < page->n_runs; i++) {
        const Flyteidl2__Workflow__Action *root = page->runs[i]->action;
        int64_t made_ns = root->status->start_time->seconds * SY_NS_PER_S +
                          root->status->start_time->nanos;
        bool first = l->count == 0;
        ck_assert(first || (l->ascending ? made_ns >= l->last_ns : made_ns <= l->last_ns));
        l->last_ns = made_ns;
        ck_assert_uint_lt(l->count, CALLS);
        snprintf(l->names[l->count++], sizeof(l->names[0]), "%s", root->id->run->name);
    }
    snprintf(l->token, sizeof(l->token), "%s", page->token);
    l->done = page->token[0] == '\0';
    l->pages++;
}

/* False: it failed, and may be asked for again. */
static bool read_page(struct world *w, size_t shard, struct listing *l, uint32_t limit)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 22);
    const Flyteidl2__Workflow__ListRunsResponse *page = ended(
        w, send_page(w, shard, l, limit, 0), &flyteidl2__workflow__list_runs_response__descriptor,
        &arena);
    if (page != NULL) {
        ck_assert_uint_le(page->n_runs, limit);
        take_page(l, page);
    }
    sy_arena_deinit(&arena);
    return page != NULL;
}

static size_t times_in(const struct listing *l, const char *name)
{
    size_t times = 0;
    for (size_t i = 0; i < l->count; i++)
        times += strcmp(l->names[i], name) == 0;
    return times;
}

/* Each run that was acknowledged before `before_ns` once, and none twice. */
static void check_listing(const struct world *w, const struct listing *l, int64_t before_ns)
{
    for (size_t i = 0; i < w->call_count; i++) {
        const struct call *c = &w->calls[i];
        if (!c->reads && c->call == NULL && c->code == SY_CODE_OK && c->ended_ns < before_ns)
            ck_assert_msg(times_in(l, c->run) == 1, "%s is listed %zu times", c->run,
                          times_in(l, c->run));
    }
    for (size_t i = 0; i < l->count; i++)
        ck_assert_msg(times_in(l, l->names[i]) == 1, "%s is listed twice", l->names[i]);
}

static void create_many(struct world *w, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        create_some(w, some_shard(w));
        run_for(w, (int64_t)sy_rng_below(&w->rng, 4 * MS));
    }
    for (size_t i = 0; i < w->call_count; i++)
        expect_ok(w, &w->calls[i]);
}

/* ---- tests of lists of runs ---- */

START_TEST(any_shard_lists_all_runs)
{
    struct world *w = &world;
    open_world(w, 1);
    create_many(w, 70);
    for (size_t shard = 0; shard < SHARDS; shard++) {
        static const uint32_t limits[] = {1, 7, 69, 70, 1000};
        for (size_t n = 0; n < 2 * SY_COUNT_OF(limits); n++) {
            struct listing l = {.ascending = n % 2 == 1};
            uint32_t limit = limits[n / 2];
            while (!l.done)
                ck_assert_msg(read_page(w, shard, &l, limit), "%s", last_text);
            check_listing(w, &l, w->now_ns);
            ck_assert_uint_eq(l.count, 70);
            ck_assert_uint_le(l.pages, 70 / limit + 2);
        }
    }
    close_world(w);
}
END_TEST

/* Pages go on at other shards, with the partitions at others than before. */
START_TEST(tokens_survive_moves)
{
    struct world *w = &world;
    open_world(w, 2);
    create_many(w, 60);
    struct listing l = {0};
    ck_assert(read_page(w, 0, &l, 11));
    kill_shard(w, 1);
    UNTIL(w, even(w, 2));
    ck_assert(read_page(w, 2, &l, 11));
    struct shard *s = &w->shards[0];
    cp_shard_stop(s->shard, SY_NS_PER_S, on_stopped, s);
    UNTIL(w, s->stopped);
    cp_shard_free(sy_take(s->shard));
    start_shard(w, 1);
    UNTIL(w, even(w, 2));
    create_many(w, 5); /* newer than where the list is: it goes on in order, without them */
    ck_assert(read_page(w, 1, &l, 11));
    start_shard(w, 0);
    UNTIL(w, even(w, 3));
    while (!l.done)
        ck_assert(read_page(w, 0, &l, 11));
    for (size_t i = 0; i < 60; i++)
        ck_assert_uint_eq(times_in(&l, w->calls[i].run), 1);
    ck_assert_uint_eq(l.count, 60);
    close_world(w);
}
END_TEST

/* Shards leave and come back one after the other, as when a version is rolled out: who lists
 * meanwhile sees none of it. */
START_TEST(a_rolling_restart_is_not_seen)
{
    struct world *w = &world;
    open_world(w, 3);
    create_many(w, 50);
    int64_t longest_ns = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &w->shards[i];
        cp_shard_stop(s->shard, SY_NS_PER_S, on_stopped, s);
        for (int step = 0; step < 200; step++) {
            if (s->stopped && s->shard != NULL && step < 100)
                cp_shard_free(sy_take(s->shard));
            if (s->shard == NULL && step == 120)
                start_shard(w, i);
            struct listing l = {0};
            while (!l.done) {
                ck_assert_msg(read_page(w, (i + 1 + step % 2) % SHARDS, &l, 30), "%s", last_text);
                longest_ns = last_took_ns > longest_ns ? last_took_ns : longest_ns;
            }
            check_listing(w, &l, w->now_ns);
            run_for(w, 10 * MS);
        }
        UNTIL(w, even(w, SHARDS));
    }
    ck_assert_int_lt(longest_ns, SY_NS_PER_S);
    close_world(w);
}
END_TEST

START_TEST(a_list_waits_for_what_a_dead_shard_had)
{
    struct world *w = &world;
    open_world(w, 4);
    create_many(w, 40);
    struct listing l = {0};
    struct call *c = send_page(w, 0, &l, 100, 0);
    run_for(w, MS); /* it is under way */
    kill_shard(w, 1);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 22);
    take_page(&l, ended(w, c, &flyteidl2__workflow__list_runs_response__descriptor, &arena));
    sy_arena_deinit(&arena);
    ck_assert_int_lt(last_took_ns, 4 * SY_NS_PER_S);
    check_listing(w, &l, w->now_ns);
    ck_assert_uint_eq(l.count, 40);
    close_world(w);
}
END_TEST

/* It has the call, and says nothing until long after others have its partitions. */
START_TEST(a_list_does_not_wait_for_who_stands_still)
{
    struct world *w = &world;
    open_world(w, 5);
    create_many(w, 40);
    w->shards[1].paused = true;
    struct listing l = {0};
    ck_assert_msg(read_page(w, 0, &l, 100), "%s", last_text);
    ck_assert_int_lt(last_took_ns, 4 * SY_NS_PER_S);
    check_listing(w, &l, w->now_ns);
    run_for(w, 2 * SY_NS_PER_S);
    w->shards[1].paused = false; /* its late answers are nobody's */
    run_for(w, SY_NS_PER_S);
    UNTIL(w, even(w, 3));
    l = (struct listing){0};
    ck_assert_msg(read_page(w, 1, &l, 100), "%s", last_text);
    check_listing(w, &l, w->now_ns);
    close_world(w);
}
END_TEST

START_TEST(the_deadline_of_a_list_is_kept)
{
    struct world *w = &world;
    open_world(w, 6);
    create_many(w, 10);
    w->shards[1].paused = true;
    struct listing l = {0};
    ended(w, send_page(w, 0, &l, 100, 700 * MS), NULL, NULL);
    expect_code(SY_CODE_DEADLINE_EXCEEDED, "");
    ck_assert_int_lt(last_took_ns, 720 * MS);
    w->shards[1].paused = false;
    UNTIL(w, even(w, 3));
    ck_assert(read_page(w, 0, &l, 100));
    check_listing(w, &l, w->now_ns);
    close_world(w);
}
END_TEST

START_TEST(what_nobody_has_cannot_be_listed)
{
    struct world *w = &world;
    open_world(w, 7);
    create_many(w, 10);
    fake_etcd_set_quorum(w->etcd, false);
    UNTIL(w, owned_by(w, 0) + owned_by(w, 1) + owned_by(w, 2) == 0);
    struct listing l = {0};
    ck_assert(!read_page(w, 0, &l, 100));
    expect_code(SY_CODE_UNAVAILABLE, "partition");
    ck_assert_int_lt(last_took_ns, CP_ASK_WAIT_NS + SY_NS_PER_S);
    fake_etcd_set_quorum(w->etcd, true);
    UNTIL(w, even(w, 3));
    ck_assert(read_page(w, 0, &l, 100));
    check_listing(w, &l, w->now_ns);
    close_world(w);
}
END_TEST

/* ---- what is over all partitions besides runs ---- */

static void deploy_task(struct world *w, size_t shard, const char *name)
{
    Flyteidl2__Task__DeployTaskRequest m = FLYTEIDL2__TASK__DEPLOY_TASK_REQUEST__INIT;
    Flyteidl2__Task__TaskIdentifier id = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf spec = {0};
    pack_task_spec(&spec);
    id.project = text_of("p");
    id.domain = text_of("d");
    id.name = text_of(name);
    id.version = text_of("v1");
    m.task_id = &id;
    m.spec = (ProtobufCBinaryData){spec.len, spec.data};
    expect_ok(w, read_by(w, shard, TASKS "DeployTask", &m.base));
    forget_call(w);
}

static size_t count_tasks(struct world *w, size_t shard, uint32_t limit)
{
    size_t count = 0;
    char token[400] = "", last[64] = "";
    do {
        Flyteidl2__Task__ListTasksRequest m = FLYTEIDL2__TASK__LIST_TASKS_REQUEST__INIT;
        Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
        Flyteidl2__Common__Sort sort = FLYTEIDL2__COMMON__SORT__INIT;
        sort.key = text_of("name");
        sort.direction = FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
        list.sort_by = &sort;
        list.limit = limit;
        list.token = token;
        m.request = &list;
        struct sy_arena arena;
        sy_arena_init(&arena, 1 << 22);
        const Flyteidl2__Task__ListTasksResponse *page = ask(
            w, shard, TASKS "ListTasks", &m.base, &flyteidl2__task__list_tasks_response__descriptor,
            &arena);
        ck_assert_msg(page != NULL, "%s", last_text);
        for (size_t i = 0; i < page->n_tasks; i++) {
            ck_assert_int_lt(strcmp(last, page->tasks[i]->task_id->name), 0); /* none twice */
            snprintf(last, sizeof(last), "%s", page->tasks[i]->task_id->name);
        }
        count += page->n_tasks;
        ck_assert_uint_eq(page->metadata->total, 20);
        snprintf(token, sizeof(token), "%s", page->token);
        sy_arena_deinit(&arena);
    } while (token[0] != '\0');
    return count;
}

static struct call *create_of_task(struct world *w, size_t shard, const char *task)
{
    Flyteidl2__Workflow__CreateRunRequest m = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    Flyteidl2__Task__TaskIdentifier id = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    id.project = project.name = text_of("p");
    id.domain = project.domain = text_of("d");
    id.name = text_of(task);
    id.version = text_of("v1");
    m.id_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_PROJECT_ID;
    m.project_id = &project;
    m.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_ID;
    m.task_id = &id;
    return send_call(w, shard, RUNS "CreateRun", &m.base);
}

/* Tasks lie in the partition of their name, runs in that of theirs. */
START_TEST(deployed_tasks_are_listed_and_run_from_anywhere)
{
    struct world *w = &world;
    open_world(w, 8);
    char name[16];
    for (size_t i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "demo.t%02zu", i);
        deploy_task(w, i % SHARDS, name);
    }
    for (size_t shard = 0; shard < SHARDS; shard++) {
        ck_assert_uint_eq(count_tasks(w, shard, 3), 20);
        ck_assert_uint_eq(count_tasks(w, shard, 100), 20);
    }
    for (size_t i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "demo.t%02zu", i % 20);
        create_of_task(w, i % SHARDS, name);
    }
    run_for(w, 20 * MS);
    struct shard *s = &w->shards[1]; /* while they wait for specs from its partitions */
    cp_shard_stop(s->shard, SY_NS_PER_S, on_stopped, s);
    for (size_t i = 0; i < 60; i++)
        expect_ok(w, &w->calls[i]);
    UNTIL(w, s->stopped);
    cp_shard_free(sy_take(s->shard));
    check_runs(w);
    struct call *c = create_of_task(w, 0, "demo.none");
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(c->text, "task p/d/demo.none has no version 'v1'"));
    close_world(w);
}
END_TEST

static size_t count_projects(struct world *w, size_t shard, uint32_t limit)
{
    size_t count = 0, defaults = 0;
    char token[400] = "";
    do {
        Flyteidl2__Project__ListProjectsRequest m = FLYTEIDL2__PROJECT__LIST_PROJECTS_REQUEST__INIT;
        m.limit = limit;
        m.token = token;
        struct sy_arena arena;
        sy_arena_init(&arena, 1 << 22);
        const Flyteidl2__Project__ListProjectsResponse *page = ask(
            w, shard, PROJECTS "ListProjects", &m.base,
            &flyteidl2__project__list_projects_response__descriptor, &arena);
        ck_assert_msg(page != NULL, "%s", last_text);
        for (size_t i = 0; i < page->projects->n_projects; i++)
            defaults += strcmp(page->projects->projects[i]->id, "default") == 0;
        count += page->projects->n_projects;
        snprintf(token, sizeof(token), "%s", page->projects->token);
        sy_arena_deinit(&arena);
    } while (token[0] != '\0');
    ck_assert_uint_eq(defaults, 1);
    return count;
}

/* The default project is shown once, also when another shard knows that somebody has changed it. */
START_TEST(projects_are_listed_once)
{
    struct world *w = &world;
    open_world(w, 9);
    char name[16];
    Flyteidl2__Project__Project project = FLYTEIDL2__PROJECT__PROJECT__INIT;
    Flyteidl2__Project__CreateProjectRequest create =
        FLYTEIDL2__PROJECT__CREATE_PROJECT_REQUEST__INIT;
    create.project = &project;
    for (size_t i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "project-%zu", i);
        project.id = project.name = name;
        expect_ok(w, read_by(w, i % SHARDS, PROJECTS "CreateProject", &create.base));
        forget_call(w);
    }
    for (size_t shard = 0; shard < SHARDS; shard++)
        ck_assert_uint_eq(count_projects(w, shard, 5), 13);
    Flyteidl2__Project__UpdateProjectRequest update =
        FLYTEIDL2__PROJECT__UPDATE_PROJECT_REQUEST__INIT;
    update.project = &project;
    project.id = text_of("default");
    project.description = text_of("ours");
    expect_ok(w, read_by(w, 0, PROJECTS "UpdateProject", &update.base));
    forget_call(w);
    for (size_t shard = 0; shard < SHARDS; shard++)
        ck_assert_uint_eq(count_projects(w, shard, 5), 13);
    close_world(w);
}
END_TEST

static uint64_t queued(struct world *w, size_t shard)
{
    Switchyard__V1__GetQueueRequest m = SWITCHYARD__V1__GET_QUEUE_REQUEST__INIT;
    Switchyard__V1__QueueId id = SWITCHYARD__V1__QUEUE_ID__INIT;
    id.project = text_of("p");
    id.domain = text_of("d");
    id.name = text_of("default");
    m.id = &id;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 22);
    const Switchyard__V1__GetQueueResponse *r = ask(w, shard, QUEUES "GetQueue", &m.base,
                                                    &switchyard__v1__get_queue_response__descriptor,
                                                    &arena);
    ck_assert_msg(r != NULL, "%s", last_text);
    uint64_t actions = r->queue->status->actions;
    sy_arena_deinit(&arena);
    return actions;
}

START_TEST(what_waits_in_a_queue_is_added_up)
{
    struct world *w = &world;
    open_world(w, 10);
    create_many(w, 30);
    for (size_t shard = 0; shard < SHARDS; shard++)
        ck_assert_uint_eq(queued(w, shard), 30);
    kill_shard(w, 2);
    ck_assert_uint_eq(queued(w, 0), 30);
    close_world(w);
}
END_TEST

/* ---- the region's status ---- */

static const Switchyard__V1__GetRegionStatusResponse *status_of(struct world *w, size_t shard,
                                                                struct sy_arena *arena)
{
    Switchyard__V1__GetRegionStatusRequest m = SWITCHYARD__V1__GET_REGION_STATUS_REQUEST__INIT;
    const Switchyard__V1__GetRegionStatusResponse *r = ask(
        w, shard, REGION "GetRegionStatus", &m.base,
        &switchyard__v1__get_region_status_response__descriptor, arena);
    ck_assert_msg(r != NULL, "%s", last_text);
    ck_assert_uint_eq(r->n_partitions, PARTITIONS);
    for (uint32_t i = 0; i < PARTITIONS; i++)
        ck_assert_uint_eq(r->partitions[i]->id, i);
    return r;
}

static size_t count_state(const Switchyard__V1__GetRegionStatusResponse *r, const char *state,
                          const char *shard)
{
    size_t count = 0;
    for (size_t i = 0; i < r->n_partitions; i++)
        count += strcmp(r->partitions[i]->state, state) == 0 &&
                 strcmp(r->partitions[i]->shard, shard) == 0;
    return count;
}

START_TEST(the_status_is_of_all_shards)
{
    struct world *w = &world;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 22);
    open_world(w, 11);
    create_many(w, 20);
    for (size_t shard = 0; shard < SHARDS; shard++) {
        const Switchyard__V1__GetRegionStatusResponse *r = status_of(w, shard, &arena);
        uint64_t runs = 0;
        for (size_t i = 0; i < PARTITIONS; i++)
            runs += r->partitions[i]->runs_live;
        ck_assert_uint_eq(runs, 20);
        for (size_t i = 0; i < SHARDS; i++)
            ck_assert_uint_eq(count_state(r, "serving", w->shards[i].name), PARTITIONS / SHARDS);
    }
    /* Not yet known to be gone: who asks does not wait for it to be. */
    w->shards[1].paused = true;
    const Switchyard__V1__GetRegionStatusResponse *r = status_of(w, 0, &arena);
    ck_assert_int_lt(last_took_ns, 2500 * MS);
    ck_assert_uint_ge(count_state(r, "serving", "shard-0") + count_state(r, "serving", "shard-2"),
                      4);
    ck_assert_uint_eq(count_state(r, "serving", "shard-1"), 0);
    w->shards[1].paused = false;
    run_for(w, SY_NS_PER_S);
    UNTIL(w, even(w, 3));
    ck_assert_uint_eq(count_state(status_of(w, 0, &arena), "serving", "shard-1"), 2);
    sy_arena_deinit(&arena);
    close_world(w);
}
END_TEST

START_TEST(the_status_tells_of_what_nobody_has)
{
    struct world *w = &world;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 22);
    open_world(w, 12);
    fake_etcd_set_quorum(w->etcd, false);
    kill_shard(w, 1);
    UNTIL(w, owned_by(w, 0) + owned_by(w, 2) == 0);
    const Switchyard__V1__GetRegionStatusResponse *r = status_of(w, 0, &arena);
    ck_assert_int_lt(last_took_ns, 2100 * MS);
    ck_assert_uint_eq(count_state(r, "away", ""), PARTITIONS);
    for (size_t i = 0; i < PARTITIONS; i++)
        ck_assert_str_ne(r->partitions[i]->reason, "");
    Switchyard__V1__ListClustersRequest m = SWITCHYARD__V1__LIST_CLUSTERS_REQUEST__INIT;
    ck_assert_ptr_null(ask(w, 0, REGION "ListClusters", &m.base,
                           &switchyard__v1__list_clusters_response__descriptor, &arena));
    expect_code(SY_CODE_UNAVAILABLE, "no partition of region eu is serving");
    fake_etcd_set_quorum(w->etcd, true);
    UNTIL(w, even(w, 2));
    ck_assert_ptr_nonnull(ask(w, 2, REGION "ListClusters", &m.base,
                              &switchyard__v1__list_clusters_response__descriptor, &arena));
    sy_arena_deinit(&arena);
    close_world(w);
}
END_TEST

/* ---- bad input ---- */

static void expect_refused(struct world *w, const char *method, const char *forwarded,
                           const char *part, const char *text)
{
    Flyteidl2__Workflow__ListRunsRequest m = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    const struct sy_metadata metadata[] = {{CP_PART_KEY, part}, {CP_FORWARDED_KEY, forwarded}};
    w->metadata = metadata;
    w->metadata_count = forwarded != NULL ? 2 : 1;
    ended(w, read_by(w, 0, method, &m.base), NULL, NULL);
    w->metadata_count = 0;
    expect_code(SY_CODE_INVALID_ARGUMENT, text);
}

START_TEST(bad_metadata_is_refused)
{
    struct world *w = &world;
    open_world(w, 13);
    expect_refused(w, RUNS "ListRuns", NULL, "1", "is for shards, with");
    expect_refused(w, RUNS "ListRuns", "1", "", "expected a partition, 0 to 5");
    expect_refused(w, RUNS "ListRuns", "1", "6", "'6': expected a partition, 0 to 5");
    expect_refused(w, RUNS "ListRuns", "1", "-1", "expected a partition");
    expect_refused(w, RUNS "ListRuns", "1", "1,2", "expected a partition");
    expect_refused(w, RUNS "ListRuns", "1", "18446744073709551617", "expected a partition");
    expect_refused(w, RUNS "AbortRun", "1", "1", "AbortRun is not asked of single partitions");
    expect_refused(w, RUNS "CreateRun", "1", "1", "id: missing");
    close_world(w);
}
END_TEST

/* A part of what makes a run makes none. */
START_TEST(a_part_changes_nothing)
{
    struct world *w = &world;
    open_world(w, 14);
    for (size_t shard = 0; shard < SHARDS; shard++) {
        for (uint32_t i = 0; i < PARTITIONS; i++) {
            char number[8];
            snprintf(number, sizeof(number), "%u", i);
            const struct sy_metadata metadata[] = {{CP_PART_KEY, number}, {CP_FORWARDED_KEY, "1"}};
            w->metadata = metadata;
            w->metadata_count = 2;
            struct call *c = create(w, shard, "not-made");
            w->metadata_count = 0;
            UNTIL(w, c->call == NULL);
            ck_assert_int_ne(c->code, SY_CODE_OK);
            forget_call(w);
        }
    }
    struct call *c = read_run(w, 0, "not-made");
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_NOT_FOUND);
    close_world(w);
}
END_TEST

/* ---- storms ---- */

/* Pages are read while everything fails: a page is right, or it fails and says why. */
static void storm(uint64_t seed)
{
    struct world *w = &world;
    open_world(w, seed);
    size_t lists = 0, failures = 0;
    struct listing l = {0};
    int64_t begun_ns = w->now_ns;
    for (int step = 0; step < 120; step++) {
        if (sy_rng_chance(&w->rng, 1, 4))
            storm_step(w);
        bool any = false;
        for (size_t i = 0; i < SHARDS; i++)
            any = any || (w->shards[i].shard != NULL && !w->shards[i].paused);
        if (any && w->call_count < CALLS / 2)
            create_some(w, some_shard(w));
        run_for(w, (int64_t)sy_rng_below(&w->rng, 300 * MS));
        if (!any)
            continue;
        struct call *c = send_page(w, some_shard(w), &l, 1 + (uint32_t)sy_rng_below(&w->rng, 20),
                                   8 * SY_NS_PER_S);
        for (int k = 0; k < 3 && c->call != NULL; k++) {
            run_for(w, (int64_t)sy_rng_below(&w->rng, 20 * MS));
            if (sy_rng_chance(&w->rng, 1, 4))
                storm_step(w);
        }
        struct sy_arena arena;
        sy_arena_init(&arena, 1 << 22);
        const Flyteidl2__Workflow__ListRunsResponse *page = ended(
            w, c, &flyteidl2__workflow__list_runs_response__descriptor, &arena);
        if (page != NULL)
            take_page(&l, page);
        else
            failures++;
        ck_assert_msg(page != NULL || last_code == SY_CODE_UNAVAILABLE ||
                          last_code == SY_CODE_DEADLINE_EXCEEDED,
                      "seed %llu: %s: %s", (unsigned long long)seed, sy_code_name(last_code),
                      last_text);
        sy_arena_deinit(&arena);
        if (!l.done)
            continue;
        check_listing(w, &l, begun_ns);
        lists++;
        l = (struct listing){.ascending = sy_rng_chance(&w->rng, 1, 2)};
        begun_ns = w->now_ns;
    }
    heal(w);
    while (!l.done)
        ck_assert_msg(read_page(w, 0, &l, 50), "seed %llu: %s", (unsigned long long)seed,
                      last_text);
    check_listing(w, &l, begun_ns);
    if (getenv("REGION_VERBOSE") != NULL)
        printf("seed %llu: %zu lists, %zu pages failed\n", (unsigned long long)seed, lists,
               failures);
    close_world(w);
}

START_TEST(lists_are_right_whatever_fails)
{
    struct seeds seeds = storm_seeds(10);
    for (uint64_t i = 0; i < seeds.count; i++)
        storm(seeds.first + i);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {any_shard_lists_all_runs,
                                  tokens_survive_moves,
                                  a_rolling_restart_is_not_seen,
                                  a_list_waits_for_what_a_dead_shard_had,
                                  a_list_does_not_wait_for_who_stands_still,
                                  the_deadline_of_a_list_is_kept,
                                  what_nobody_has_cannot_be_listed,
                                  deployed_tasks_are_listed_and_run_from_anywhere,
                                  projects_are_listed_once,
                                  what_waits_in_a_queue_is_added_up,
                                  the_status_is_of_all_shards,
                                  the_status_tells_of_what_nobody_has,
                                  bad_metadata_is_refused,
                                  a_part_changes_nothing,
                                  lists_are_right_whatever_fails,
                                  NULL};
    return sy_test_run("region_lists", tests);
}
