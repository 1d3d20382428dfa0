/* links: cp */
#include "tests/unit/cp_world.h"

#include "controlplane/config.h"
#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "tests/unit/cp_requests.h"

struct list_request {
    Flyteidl2__Workflow__ListRunsRequest request;
    Flyteidl2__Common__ListRequest list;
    Flyteidl2__Common__ProjectIdentifier project;
};

static void list_init(struct list_request *l, uint32_t limit)
{
    flyteidl2__workflow__list_runs_request__init(&l->request);
    flyteidl2__common__list_request__init(&l->list);
    flyteidl2__common__project_identifier__init(&l->project);
    l->list.limit = limit;
    l->request.request = &l->list;
    l->project.organization = text_of("acme");
    l->project.name = text_of("p");
    l->project.domain = text_of("d");
    l->request.scope_by_case = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_PROJECT_ID;
    l->request.project_id = &l->project;
}

static Flyteidl2__Workflow__ListRunsResponse *list_runs(struct world *w,
                                                        const struct list_request *l)
{
    return call_ok(w, RUN "ListRuns", &l->request.base,
                   &flyteidl2__workflow__list_runs_response__descriptor);
}

static void create_runs(struct world *w, unsigned count)
{
    char name[16];
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "run-%03u", i);
        create_run(w, name, "switchyard.group");
        world_for(w, SY_NS_PER_MS); /* so that creation times differ */
    }
}

/* Pages through everything: newest first, each run once, whatever the page size. */
START_TEST(runs_are_paged_newest_first)
{
    struct world w;
    world_init_for(&w, _i);
    create_runs(&w, 70);
    static const uint32_t limits[] = {1, 7, 33, 70, 1000};
    for (size_t n = 0; n < SY_COUNT_OF(limits); n++) {
        struct list_request l;
        list_init(&l, limits[n]);
        unsigned seen = 0;
        for (;;) {
            Flyteidl2__Workflow__ListRunsResponse *page = list_runs(&w, &l);
            ck_assert_uint_le(page->n_runs, limits[n]);
            for (size_t i = 0; i < page->n_runs; i++) {
                char expect[16];
                snprintf(expect, sizeof(expect), "run-%03u", 69 - seen);
                ck_assert_str_eq(page->runs[i]->action->id->run->name, expect);
                ck_assert_str_eq(page->runs[i]->action->metadata->task->task_type,
                                 "switchyard.group");
                seen++;
            }
            if (page->token[0] == '\0')
                break;
            ck_assert_uint_eq(page->n_runs, limits[n]);
            l.list.token = page->token;
        }
        ck_assert_uint_eq(seen, 70);
    }
    world_deinit(&w);
}
END_TEST

START_TEST(runs_by_scope_filter_and_order)
{
    struct world w;
    world_init_for(&w, _i);
    create_runs(&w, 10);
    struct run_ids ids;
    ids_init(&ids, "run-004", "a0");
    Flyteidl2__Workflow__AbortRunRequest abort_run = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST__INIT;
    abort_run.run_id = &ids.run;
    call_ok(&w, RUN "AbortRun", &abort_run.base, NULL);
    struct list_request l;
    list_init(&l, 0);
    ck_assert_uint_eq(list_runs(&w, &l)->n_runs, 10);
    l.project.name = text_of("elsewhere");
    ck_assert_uint_eq(list_runs(&w, &l)->n_runs, 0);
    l.request.scope_by_case = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_ORG;
    l.request.org = text_of("any");
    ck_assert_uint_eq(list_runs(&w, &l)->n_runs, 10);
    Flyteidl2__Task__TaskName task = FLYTEIDL2__TASK__TASK_NAME__INIT;
    l.request.scope_by_case = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_TASK_NAME;
    l.request.task_name = &task;
    task.name = text_of("demo.task");
    ck_assert_uint_eq(list_runs(&w, &l)->n_runs, 10);
    task.name = text_of("other.task");
    ck_assert_uint_eq(list_runs(&w, &l)->n_runs, 0);

    Flyteidl2__Common__Filter filter = FLYTEIDL2__COMMON__FILTER__INIT, *filters[] = {&filter};
    char *seven[] = {text_of("7")};
    filter.field = text_of("phase");
    filter.values = seven;
    filter.n_values = 1;
    list_init(&l, 0);
    l.list.n_filters = 1;
    l.list.filters = filters;
    Flyteidl2__Workflow__ListRunsResponse *page = list_runs(&w, &l);
    ck_assert_uint_eq(page->n_runs, 1);
    ck_assert_str_eq(page->runs[0]->action->id->run->name, "run-004");
    filter.function = FLYTEIDL2__COMMON__FILTER__FUNCTION__NOT_EQUAL;
    ck_assert_uint_eq(list_runs(&w, &l)->n_runs, 9);

    list_init(&l, 4); /* the SDK's default */
    Flyteidl2__Common__Sort sort = FLYTEIDL2__COMMON__SORT__INIT;
    sort.key = text_of("created_at");
    sort.direction = FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    l.list.sort_by = &sort;
    unsigned seen = 0;
    do {
        page = list_runs(&w, &l);
        for (size_t i = 0; i < page->n_runs; i++, seen++) {
            char expect[16];
            snprintf(expect, sizeof(expect), "run-%03u", seen);
            ck_assert_str_eq(page->runs[i]->action->id->run->name, expect);
        }
        l.list.token = page->token;
    } while (page->token[0] != '\0');
    ck_assert_uint_eq(seen, 10);
    world_deinit(&w);
}
END_TEST

/* By labels, times, version and who made them, as the SDK filters. */
START_TEST(runs_by_the_filters_of_the_sdk)
{
    struct world w;
    world_init_for(&w, _i);
    Flyteidl2__Task__Labels labels = FLYTEIDL2__TASK__LABELS__INIT;
    Flyteidl2__Task__Labels__ValuesEntry team = FLYTEIDL2__TASK__LABELS__VALUES_ENTRY__INIT;
    Flyteidl2__Task__Labels__ValuesEntry *entries[] = {&team};
    team.key = text_of("team");
    team.value = text_of("ml");
    labels.n_values = 1;
    labels.values = entries;
    struct create_request c;
    create_init(&w, &c, "labelled", "switchyard.group");
    c.run_spec.labels = &labels;
    call_ok(&w, RUN "CreateRun", &c.request.base, NULL);
    world_for(&w, 10 * SY_NS_PER_S);
    create_run(&w, "plain", "switchyard.group");
    static const struct {
        const char *field, *value;
        Flyteidl2__Common__Filter__Function function;
        size_t count;
    } cases[] = {
        {"labels.team", "ml", FLYTEIDL2__COMMON__FILTER__FUNCTION__EQUAL, 1},
        {"labels.team", "web", FLYTEIDL2__COMMON__FILTER__FUNCTION__EQUAL, 0},
        {"labels.team", NULL, FLYTEIDL2__COMMON__FILTER__FUNCTION__EXISTS, 1},
        {"labels.other", NULL, FLYTEIDL2__COMMON__FILTER__FUNCTION__EXISTS, 0},
        {"created_by", "anonymous", FLYTEIDL2__COMMON__FILTER__FUNCTION__EQUAL, 2},
        {"created_by", "somebody", FLYTEIDL2__COMMON__FILTER__FUNCTION__EQUAL, 0},
        {"task_version", "v1", FLYTEIDL2__COMMON__FILTER__FUNCTION__EQUAL, 0},
        {"created_at", "2023-11-14T22:13:26+00:00", FLYTEIDL2__COMMON__FILTER__FUNCTION__LESS_THAN,
         1},
        {"created_at", "2023-11-14T22:13:26+00:00",
         FLYTEIDL2__COMMON__FILTER__FUNCTION__GREATER_THAN_OR_EQUAL, 1},
        {"updated_at", "2023-11-14T22:13:20Z",
         FLYTEIDL2__COMMON__FILTER__FUNCTION__GREATER_THAN_OR_EQUAL, 2},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        struct list_request l;
        Flyteidl2__Common__Filter filter = FLYTEIDL2__COMMON__FILTER__INIT, *filters[] = {&filter};
        char *values[] = {text_of(cases[i].value)};
        list_init(&l, 0);
        filter.field = text_of(cases[i].field);
        filter.function = cases[i].function;
        filter.values = values;
        filter.n_values = cases[i].value != NULL;
        l.list.n_filters = 1;
        l.list.filters = filters;
        ck_assert_msg(list_runs(&w, &l)->n_runs == cases[i].count, "case %zu", i);
    }
    world_deinit(&w);
}
END_TEST

START_TEST(lists_that_are_refused)
{
    struct world w;
    world_init_for(&w, _i);
    struct list_request l;
    list_init(&l, 0);
    static const char *const tokens[] = {"x", "r", "r00", "rzzzzzzzzzzzzzzzz"};
    for (size_t i = 0; i < SY_COUNT_OF(tokens); i++) {
        l.list.token = text_of(tokens[i]);
        call_fails(&w, RUN "ListRuns", &l.request.base, SY_CODE_INVALID_ARGUMENT, "token");
    }
    list_init(&l, 0);
    l.project.name = text_of("a\x1f");
    call_fails(&w, RUN "ListRuns", &l.request.base, SY_CODE_INVALID_ARGUMENT, "project");
    list_init(&l, 0);
    Flyteidl2__Common__Filter filter = FLYTEIDL2__COMMON__FILTER__INIT, *filters[] = {&filter};
    char *values[] = {text_of("me")};
    filter.field = text_of("started_by");
    filter.values = values;
    filter.n_values = 1;
    l.list.n_filters = 1;
    l.list.filters = filters;
    call_fails(&w, RUN "ListRuns", &l.request.base, SY_CODE_INVALID_ARGUMENT, "started_by");
    list_init(&l, 0);
    char *raw[] = {text_of("eq(a,b)")};
    l.list.n_raw_filters = 1;
    l.list.raw_filters = raw;
    call_fails(&w, RUN "ListRuns", &l.request.base, SY_CODE_INVALID_ARGUMENT, "raw_filters");
    world_deinit(&w);
}
END_TEST

START_TEST(actions_are_paged)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 500);
    enqueue_batch(&w, &b);
    finish_task(&w, "n-000003", OUTCOME(FAILED_FINAL));
    finish_task(&w, "n-000100", OUTCOME(FAILED_FINAL));
    world_for(&w, 10 * SY_NS_PER_MS);
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    Flyteidl2__Workflow__ListActionsRequest request =
        FLYTEIDL2__WORKFLOW__LIST_ACTIONS_REQUEST__INIT;
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    request.run_id = &ids.run;
    request.request = &list;
    const ProtobufCMessageDescriptor *d = &flyteidl2__workflow__list_actions_response__descriptor;
    static const uint32_t limits[] = {1, 64, 100, 501, 1000};
    for (size_t n = 0; n < SY_COUNT_OF(limits); n++) {
        unsigned seen = 0;
        list.limit = limits[n];
        list.token = text_of("");
        for (;;) {
            Flyteidl2__Workflow__ListActionsResponse *page = call_ok(&w, RUN "ListActions",
                                                                     &request.base, d);
            for (size_t i = 0; i < page->n_actions; i++, seen++)
                ck_assert_str_eq(page->actions[i]->id->name, seen == 0 ? "a0" : b.names[seen - 1]);
            if (page->token[0] == '\0')
                break;
            list.token = page->token;
        }
        ck_assert_uint_eq(seen, 501);
    }
    Flyteidl2__Common__Filter filter = FLYTEIDL2__COMMON__FILTER__INIT, *filters[] = {&filter};
    char *six[] = {text_of("6")};
    filter.field = text_of("phase");
    filter.values = six;
    filter.n_values = 1;
    list.limit = 0;
    list.token = text_of("");
    list.n_filters = 1;
    list.filters = filters;
    Flyteidl2__Workflow__ListActionsResponse *page = call_ok(&w, RUN "ListActions", &request.base,
                                                             d);
    ck_assert_uint_eq(page->n_actions, 2);
    ck_assert_str_eq(page->actions[1]->id->name, "n-000100");
    list.token = text_of("what");
    call_fails(&w, RUN "ListActions", &request.base, SY_CODE_INVALID_ARGUMENT, "token 'what'");
    world_deinit(&w);
}
END_TEST

/* ---- the configuration ---- */

static int parse(struct cp_config *config, const char *text, struct sy_error_text *error)
{
    return cp_config_parse(config, text, strlen(text), error);
}

START_TEST(configuration)
{
    struct cp_config config;
    struct sy_error_text error = {0};
    ck_assert_msg(
        parse(&config,
              "data_dir: /var/lib/x\npartitions: 4\ninline_bytes_max: 0\nallow_origins: [\"*\"]\n",
              &error) == 0,
        "%s", error.text);
    struct cp_shard_options options = cp_config_shard(&config);
    ck_assert_uint_eq(options.partitions, 4);
    ck_assert_uint_eq(options.partition.inline_bytes_max, 0);
    ck_assert_str_eq(options.listen, "127.0.0.1:8090");
    ck_assert_uint_eq(options.allow_origin_count, 1);
    ck_assert_str_eq(options.allow_origins[0], "*");
    ck_assert_int_eq(options.partition.cluster_lease_ns, 15 * SY_NS_PER_S);
    cp_config_free(&config);
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"partitions: 1\n", "data_dir"},
        {"data_dir: /x\npartitons: 4\n", "partitions"},
        {"data_dir: /x\npartitions: 0\n", "partitions"},
        {"data_dir: /x\ncoordination: zookeeper\n", "etcd"},
        {"data_dir: /x\nname: a b\n", "name"},
        {"data_dir: ''\n", "data_dir"},
        {"data_dir: /x\nheartbeat: 10s\n", "three heartbeats"},
        {"data_dir: /x\ninline_bytes_max: 2MiB\n", "inline_bytes_max"},
        {"data_dir: [/x]\n", "data_dir"},
        {"data_dir: /x\nallow_origins: [console.example]\n", "console.example"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        error.text[0] = '\0';
        ck_assert_int_eq(parse(&config, bad[i].text, &error), -EINVAL);
        ck_assert_msg(strstr(error.text, bad[i].says) != NULL, "%zu: %s", i, error.text);
    }
}
END_TEST

#define ETCD "data_dir: /x\ncoordination: etcd\n"
#define MEMBERS "etcd: [\"e-1:2379\", \"e-2:2379\"]\n"
#define ENDPOINT "endpoint: shard-1.example:8090\n"

static void backups(const char *root, const char *expected)
{
    struct cp_config config;
    struct cp_config_backups backups;
    struct sy_error_text error = {0};
    char text[256];
    snprintf(text, sizeof(text), "data_dir: /var/lib/x\nbackup_root: %s\n", root);
    ck_assert_msg(parse(&config, text, &error) == 0, "%s", error.text);
    int r = cp_config_backups_init(&backups, &config, &error);
    ck_assert_int_eq(r, expected != NULL ? -EINVAL : 0);
    ck_assert_msg(expected == NULL || strstr(error.text, expected) != NULL, "%s", error.text);
    ck_assert(r < 0 || backups.configured);
    cp_config_backups_deinit(&backups);
    cp_config_free(&config);
}

START_TEST(configuration_of_backups)
{
    backups("/var/backups", NULL);
    backups("/var/lib/x-backups", NULL);
    backups("backups", "backup_root: 'backups'; expected /DIRECTORY or s3://BUCKET/PREFIX");
    backups("/var/lib/x", "backup_root: /var/lib/x is in data_dir, and would be lost with it");
    backups("/var/lib/x/backups", "would be lost with it; expected another place");
    backups("s3://bucket", "needs backup_access_key and backup_secret_key_file");
}
END_TEST

START_TEST(configuration_of_a_region)
{
    struct cp_config config;
    struct cp_coord_etcd_options etcd;
    struct sy_error_text error = {0};
    ck_assert_int_eq(parse(&config, "data_dir: /x\n", &error), 0);
    ck_assert(!cp_config_shares(&config) && cp_config_etcd(&config, &etcd) == NULL);
    cp_config_free(&config);
    int r = parse(&config, ETCD MEMBERS ENDPOINT "region: eu\nsession_ttl: 3s\n", &error);
    ck_assert_msg(r == 0, "%s", error.text);
    ck_assert(cp_config_shares(&config));
    ck_assert_ptr_eq(cp_config_etcd(&config, &etcd), &etcd);
    ck_assert_uint_eq(etcd.endpoint_count, 2);
    ck_assert_str_eq(etcd.endpoints[1], "e-2:2379");
    ck_assert_str_eq(etcd.region, "eu");
    ck_assert_int_eq(etcd.session_ttl_ns, 3 * SY_NS_PER_S);
    ck_assert_str_eq(cp_config_shard(&config).endpoint, "shard-1.example:8090");
    cp_config_free(&config);
    static const struct {
        const char *text, *says;
    } bad[] = {
        {ETCD ENDPOINT, "etcd: the list is empty"},
        {ETCD MEMBERS, "endpoint: ''"},
        {ETCD ENDPOINT "etcd: [http://e-1:2379]\n", "'http://e-1:2379' is not host:port"},
        {ETCD ENDPOINT "etcd: [e-1]\n", "'e-1' is not host:port"},
        {ETCD MEMBERS "endpoint: shard-1\n", "endpoint: 'shard-1'"},
        {ETCD MEMBERS "endpoint: shard-1:0\n", "endpoint: 'shard-1:0'"},
        {ETCD MEMBERS "endpoint: shard-1:65536\n", "endpoint: 'shard-1:65536'"},
        {ETCD MEMBERS "endpoint: shard-1:80x\n", "endpoint: 'shard-1:80x'"},
        {ETCD MEMBERS "endpoint: 0.0.0.0:8090\n", "endpoint: '0.0.0.0:8090'"},
        {ETCD MEMBERS "endpoint: '[::]:8090'\n", "endpoint: '[::]:8090'"},
        {ETCD MEMBERS "endpoint: unix:/tmp/x\n", "endpoint: 'unix:/tmp/x'"},
        {ETCD MEMBERS ENDPOINT "session_ttl: 2500ms\n", "whole seconds"},
        {ETCD MEMBERS ENDPOINT "session_ttl: 500ms\n", "session_ttl"},
        {"data_dir: /x\n" MEMBERS, "coordination is none"},
        {"data_dir: /x\n" ENDPOINT, "coordination is none"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        error.text[0] = '\0';
        ck_assert_int_eq(parse(&config, bad[i].text, &error), -EINVAL);
        ck_assert_msg(strstr(error.text, bad[i].says) != NULL, "%zu: %s", i, error.text);
    }
}
END_TEST

START_TEST(options_are_checked)
{
    struct world w;
    world_init_stopped(&w, 1);
    struct cp_shard_ports ports = {.rpc = w.rpc, .loops = w.loops, .openers = w.openers, .seed = 1};
    struct sy_error_text error = {0};
    w.options.partitions = 0;
    ck_assert_int_eq(cp_shard_new(&w.shard, &w.options, &ports, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "partitions"));
    w.options.partitions = 1;
    w.options.name = "a b";
    ck_assert_int_eq(cp_shard_new(&w.shard, &w.options, &ports, &error), -EINVAL);
    w.options.name = "s";
    w.options.listen = "";
    ck_assert_int_eq(cp_shard_new(&w.shard, &w.options, &ports, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "address"));
    w.shard = NULL;
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {runs_are_paged_newest_first,
                                 runs_by_scope_filter_and_order,
                                 runs_by_the_filters_of_the_sdk,
                                 lists_that_are_refused,
                                 actions_are_paged,
                                 NULL};
    const TTest *const once[] = {configuration, configuration_of_backups, configuration_of_a_region,
                                 options_are_checked, NULL};
    return world_tests("cp_list", each, once);
}
