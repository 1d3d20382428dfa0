/* links: cp sy_test_etcd */
/* What a shard makes of another one's part of a list, when that one answers nonsense: a member of
 * the region that owns partitions, and answers what a test says. */
#include "tests/unit/cp_region_world.h"

#include "controlplane/region.h"
#include "controlplane/registry.h"

#include "flyteidl2/cluster/payload.pb-c.h"
#include "flyteidl2/task/task_service.pb-c.h"
#include "switchyard/internal/parts.pb-c.h"
#include "switchyard/v1/queue_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

#include <math.h>

#define RUNS "/flyteidl2.workflow.RunService/"
#define TASKS "/flyteidl2.task.TaskService/"
#define QUEUES "/switchyard.v1.QueueService/"
#define REGION "/switchyard.v1.RegionService/"
#define CLUSTERS "/flyteidl2.cluster.ClusterService/"

typedef Switchyard__Internal__PartReply PartReply;

/* ---- the member ---- */

struct member {
    struct world *world;
    struct cp_region *region;
    struct sy_server *server;
    struct sy_timer timer;
    struct sy_rng rng;
    uint32_t open[PARTITIONS]; /* epochs */
    bool opening[PARTITIONS], closing[PARTITIONS];
    struct sy_buf answer;
    bool silent; /* ends calls without an answer */
    size_t asked;
    uint32_t part; /* the last one that it was asked for */
};

static struct member member;

static void on_open(void *ctx, uint32_t partition, uint32_t epoch)
{
    struct member *m = ctx;
    m->open[partition] = epoch;
    m->opening[partition] = true;
}

static void on_close(void *ctx, uint32_t partition)
{
    ((struct member *)ctx)->closing[partition] = true;
}

static void on_misfit(void *ctx, const char *why)
{
    (void)ctx;
    ck_abort_msg("%s", why);
}

static void report(void *arg)
{
    struct member *m = arg;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        if (m->opening[i]) {
            m->opening[i] = false;
            cp_region_opened(m->region, i, m->open[i]);
        } else if (m->closing[i]) {
            m->closing[i] = false;
            cp_region_closed(m->region, i, m->open[i], m->open[i]);
            m->open[i] = 0;
        }
    }
    sy_timer_start_in(m->world->loop, &m->timer, MS);
}

static void answer(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct member *m = ctx;
    const char *part = sy_call_metadata(call, CP_PART_KEY);
    (void)request;
    ck_assert_ptr_nonnull(part);
    ck_assert_str_eq(sy_call_metadata(call, CP_FORWARDED_KEY), "1");
    m->asked++;
    m->part = (uint32_t)strtoul(part, NULL, 10);
    ck_assert_uint_ne(m->open[m->part], 0);
    if (m->silent) {
        sy_call_finish(call, NULL);
        sy_call_unref(call);
        return;
    }
    struct sy_buf copy = sy_buf_copy(m->answer.data, m->answer.len);
    sy_call_reply(call, &copy);
}

static bool joined(const struct member *m)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        if (m->open[i] != 0 && !m->opening[i] && cp_region_ours(m->region, i))
            return true;
    }
    return false;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void join(struct member *m, struct world *w)
{
    static const char *const methods[] = {RUNS "ListRuns",          RUNS "CreateRun",
                                          TASKS "ListTasks",        QUEUES "GetQueue",
                                          REGION "GetRegionStatus", CLUSTERS "SelectCluster"};
    static const struct cp_coord_etcd_options etcd = {.endpoints = members,
                                                      .endpoint_count = MEMBERS,
                                                      .region = "eu",
                                                      .session_ttl_ns = 2 * SY_NS_PER_S,
                                                      .timeout_ns = 500 * MS};
    struct cp_region_options options = {.name = "eu",
                                        .shard = "member",
                                        .endpoint = "member:8090",
                                        .version = "another",
                                        .partitions = PARTITIONS,
                                        .etcd = &etcd};
    struct cp_region_sink sink = {.open = on_open,
                                  .give = on_close,
                                  .lose = on_close,
                                  .changed = nothing,
                                  .misfit = on_misfit,
                                  .ctx = m};
    *m = (struct member){.world = w};
    sy_rng_init(&m->rng, 1);
    sy_rpc_mem_set_origin(w->rpc, "member");
    struct sy_server_options listen = {.address = "member:8090"};
    ck_assert_int_eq(sy_server_new(&m->server, w->rpc, &listen, NULL), 0);
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++)
        sy_server_add(m->server, &(struct sy_method){.path = methods[i],
                                                     .kind = SY_METHOD_UNARY,
                                                     .handler = answer,
                                                     .ctx = m,
                                                     .loop = w->loop});
    ck_assert_int_eq(sy_server_start(m->server, NULL), 0);
    cp_region_new(&m->region, w->rpc, w->loop, &m->rng, NULL, &options, &sink);
    sy_timer_init(&m->timer, report, m);
    sy_timer_start_in(w->loop, &m->timer, MS);
    UNTIL(w, joined(m));
    run_for(w, SY_NS_PER_S);
}

static void leave(struct member *m)
{
    sy_timer_stop(m->world->loop, &m->timer);
    sy_server_free(m->server);
    cp_region_free(m->region);
    sy_buf_deinit(&m->answer);
    close_world(m->world);
}

static void will_answer(struct member *m, const PartReply *reply)
{
    sy_buf_clear(&m->answer);
    pb_pack(&reply->base, &m->answer);
}

/* ---- questions, and a good answer to each ---- */

/* Sends the question to a shard that has to ask the member; the last call of the world. */
struct question {
    struct call *(*send)(struct world *w);
    void (*answer)(PartReply *reply); /* what it points to lives on */
};

static struct call *send_list(struct world *w)
{
    Flyteidl2__Workflow__ListRunsRequest m = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    list.limit = 3;
    m.request = &list;
    return send_call(w, 0, RUNS "ListRuns", &m.base);
}

static Switchyard__Internal__ListedRuns runs;
static Switchyard__Internal__ListedRun listed[5], *listed_pointers[5];
static uint8_t an_item[64];

static void answer_runs(PartReply *reply)
{
    Flyteidl2__Workflow__ListRunsResponse item = FLYTEIDL2__WORKFLOW__LIST_RUNS_RESPONSE__INIT;
    Flyteidl2__Workflow__Run run = FLYTEIDL2__WORKFLOW__RUN__INIT, *run_pointers[] = {&run};
    item.n_runs = 1;
    item.runs = run_pointers;
    size_t len = protobuf_c_message_pack(&item.base, an_item);
    switchyard__internal__listed_runs__init(&runs);
    for (size_t i = 0; i < SY_COUNT_OF(listed); i++) {
        switchyard__internal__listed_run__init(&listed[i]);
        listed[i].created_ns = 1700000000 * SY_NS_PER_S - (int64_t)i;
        listed[i].id = 1000 - i;
        listed[i].response = (ProtobufCBinaryData){len, an_item};
        listed_pointers[i] = &listed[i];
    }
    runs.n_runs = 3;
    runs.runs = listed_pointers;
    runs.from = 997;
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_RUNS;
    reply->runs = &runs;
}

static struct call *send_tasks(struct world *w)
{
    Flyteidl2__Task__ListTasksRequest m = FLYTEIDL2__TASK__LIST_TASKS_REQUEST__INIT;
    return send_call(w, 0, TASKS "ListTasks", &m.base);
}

static Switchyard__Internal__RegistryPart rows;
static Switchyard__Internal__RegistryItem row, *row_pointers[1] = {&row};

static void answer_tasks(PartReply *reply)
{
    switchyard__internal__registry_part__init(&rows);
    switchyard__internal__registry_item__init(&row);
    row.order = text_of("0000000000000001/demo.task/p/d/v1");
    rows.n_items = 1;
    rows.items = row_pointers;
    rows.total = 1;
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_REGISTRY;
    reply->registry = &rows;
}

static struct call *send_queue(struct world *w)
{
    Switchyard__V1__GetQueueRequest m = SWITCHYARD__V1__GET_QUEUE_REQUEST__INIT;
    Switchyard__V1__QueueId id = SWITCHYARD__V1__QUEUE_ID__INIT;
    id.project = text_of("p");
    id.domain = text_of("d");
    id.name = text_of("default");
    m.id = &id;
    return send_call(w, 0, QUEUES "GetQueue", &m.base);
}

static Switchyard__Internal__QueuesPart queues;
static Switchyard__Internal__QueueNumbers queue, *queue_pointers[1] = {&queue};

static void answer_queue(PartReply *reply)
{
    switchyard__internal__queues_part__init(&queues);
    switchyard__internal__queue_numbers__init(&queue);
    queue.project = text_of("p");
    queue.domain = text_of("d");
    queue.name = text_of("default");
    queue.actions = 5;
    queue.share = 0.5;
    queues.n_queues = 1;
    queues.queues = queue_pointers;
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_QUEUES;
    reply->queues = &queues;
}

/* By a task of the member's, a run of somebody else's. */
static struct call *send_create(struct world *w)
{
    Flyteidl2__Workflow__CreateRunRequest m = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    Flyteidl2__Task__TaskIdentifier id = FLYTEIDL2__TASK__TASK_IDENTIFIER__INIT;
    char run_name[16], task_name[16];
    do
        snprintf(run_name, sizeof(run_name), "by-task-%zu", w->made++);
    while (member.open[cp_range_even_of(cp_name_hash("p", "d", run_name), PARTITIONS)] != 0);
    for (int i = 0;; i++) {
        snprintf(task_name, sizeof(task_name), "demo.t%d", i);
        if (member.open[cp_range_even_of(cp_registry_hash("p", "d", task_name), PARTITIONS)] != 0)
            break;
    }
    id.project = run.project = text_of("p");
    id.domain = run.domain = text_of("d");
    run.name = run_name;
    id.name = task_name;
    id.version = text_of("v1");
    m.id_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_RUN_ID;
    m.run_id = &run;
    m.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_ID;
    m.task_id = &id;
    return send_call(w, 0, RUNS "CreateRun", &m.base);
}

static Switchyard__Internal__TaskPart task;
static struct sy_buf task_spec;

static void answer_task(PartReply *reply)
{
    switchyard__internal__task_part__init(&task);
    sy_buf_clear(&task_spec);
    pack_task_spec(&task_spec);
    task.task_spec = (ProtobufCBinaryData){task_spec.len, task_spec.data};
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_TASK;
    reply->task = &task;
}

static struct call *send_status(struct world *w)
{
    Switchyard__V1__GetRegionStatusRequest m = SWITCHYARD__V1__GET_REGION_STATUS_REQUEST__INIT;
    return send_call(w, 0, REGION "GetRegionStatus", &m.base);
}

static Switchyard__Internal__RegionPart region;
static Switchyard__V1__Partition partition;
static Switchyard__V1__Cluster cluster;
static Switchyard__Internal__ClusterReport cluster_report, *cluster_reports[1] = {&cluster_report};

static void answer_status(PartReply *reply)
{
    switchyard__internal__region_part__init(&region);
    switchyard__v1__partition__init(&partition);
    switchyard__v1__cluster__init(&cluster);
    switchyard__internal__cluster_report__init(&cluster_report);
    for (partition.id = 0; member.open[partition.id] == 0;)
        partition.id++;
    partition.shard = text_of("member");
    partition.state = text_of("serving");
    cluster.name = text_of("c");
    cluster.state = text_of("ready");
    cluster.nodes = 1000; /* of which none are there */
    cluster_report.cluster = &cluster;
    region.partition = &partition;
    region.n_clusters = 1;
    region.clusters = cluster_reports;
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_REGION;
    reply->region = &region;
}

/* Of a region without clusters. */
static struct call *send_select(struct world *w)
{
    Flyteidl2__Cluster__SelectClusterRequest m = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__INIT;
    return send_call(w, 0, CLUSTERS "SelectCluster", &m.base);
}

static Switchyard__Internal__ClustersPart clusters;
static Switchyard__Internal__KnownCluster known, *known_pointers[1] = {&known};

static void answer_select(PartReply *reply)
{
    switchyard__internal__clusters_part__init(&clusters);
    switchyard__internal__known_cluster__init(&known);
    known.name = text_of("c");
    known.endpoint = text_of("c:9000");
    known.ready = true;
    clusters.n_clusters = 1;
    clusters.clusters = known_pointers;
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_CLUSTERS;
    reply->clusters = &clusters;
}

static const struct question questions[] = {
    {send_list, answer_runs},   {send_tasks, answer_tasks},   {send_queue, answer_queue},
    {send_create, answer_task}, {send_status, answer_status}, {send_select, answer_select}};
enum { STATUS = 4, SELECT = 5, QUESTIONS = SY_COUNT_OF(questions) };

static void expect(struct world *w, const struct question *q, enum sy_code code, const char *text)
{
    struct call *c = q->send(w);
    c->reads = true;
    size_t asked = member.asked;
    UNTIL(w, c->call == NULL);
    ck_assert_uint_gt(member.asked, asked);
    ck_assert_msg(c->code == code, "%s: %s", sy_code_name(c->code), c->text);
    ck_assert_msg(strstr(c->text, text) != NULL, "'%s' is not in: %s", text, c->text);
    forget_call(w);
}

/* The status tells of what cannot be read instead of failing; a cluster is chosen without it. */
static void expect_unreadable(struct world *w, size_t q)
{
    if (q == SELECT) {
        expect(w, &questions[q], SY_CODE_OK, "");
        return;
    }
    if (q != STATUS) {
        expect(w, &questions[q], SY_CODE_INTERNAL, "cannot be read");
        return;
    }
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct call *c = send_status(w);
    c->reads = true;
    expect_ok(w, c);
    const Switchyard__V1__GetRegionStatusResponse *r = pb_unpack(
        &switchyard__v1__get_region_status_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(r);
    ck_assert_str_eq(r->partitions[member.part]->state, "away");
    ck_assert_ptr_nonnull(strstr(r->partitions[member.part]->reason, "cannot be read"));
    forget_call(w);
    sy_arena_deinit(&arena);
}

/* ---- tests ---- */

START_TEST(what_is_right_is_taken)
{
    struct world *w = &world;
    open_world(w, 1);
    join(&member, w);
    for (size_t i = 0; i < QUESTIONS; i++) {
        PartReply reply = SWITCHYARD__INTERNAL__PART_REPLY__INIT;
        questions[i].answer(&reply);
        will_answer(&member, &reply);
        expect(w, &questions[i], SY_CODE_OK, "");
    }
    leave(&member);
}
END_TEST

START_TEST(a_failure_is_passed_on)
{
    struct world *w = &world;
    open_world(w, 2);
    join(&member, w);
    PartReply reply = SWITCHYARD__INTERNAL__PART_REPLY__INIT;
    reply.code = SY_CODE_RESOURCE_EXHAUSTED;
    reply.message = text_of("more than enough rows");
    will_answer(&member, &reply);
    for (size_t i = 0; i < STATUS; i++)
        expect(w, &questions[i], SY_CODE_RESOURCE_EXHAUSTED, "more than enough rows");
    leave(&member);
}
END_TEST

START_TEST(nonsense_is_an_error)
{
    struct world *w = &world;
    open_world(w, 3);
    join(&member, w);
    for (size_t i = 0; i < QUESTIONS; i++) {
        PartReply reply = SWITCHYARD__INTERNAL__PART_REPLY__INIT;
        will_answer(&member, &reply); /* nothing is set */
        expect_unreadable(w, i);
        questions[(i + 1) % QUESTIONS].answer(&reply); /* to another question */
        will_answer(&member, &reply);
        expect_unreadable(w, i);
        reply.code = 99;
        will_answer(&member, &reply);
        expect_unreadable(w, i);
        sy_buf_clear(&member.answer);
        sy_buf_append_str(&member.answer, "this is text");
        expect_unreadable(w, i);
        member.silent = true;
        if (i < STATUS)
            expect(w, &questions[i], SY_CODE_INTERNAL, "no response message");
        member.silent = false;
    }
    leave(&member);
}
END_TEST

/* Right in form, and yet what no shard would say. */
START_TEST(what_cannot_be_is_an_error)
{
    struct world *w = &world;
    open_world(w, 4);
    join(&member, w);
    for (int i = 0; i < 10; i++) {
        static const size_t of[] = {0, 0, 1, 2, 2, 3, STATUS, STATUS, STATUS, 1};
        static char long_name[100];
        Switchyard__Internal__RegistryItem *many[102];
        PartReply reply = SWITCHYARD__INTERNAL__PART_REPLY__INIT;
        questions[of[i]].answer(&reply);
        memset(long_name, 'x', sizeof(long_name) - 1);
        for (size_t k = 0; k < SY_COUNT_OF(many); k++)
            many[k] = &row;
        switch (i) {
        case 0:
            runs.n_runs = 5; /* than were asked for */
            break;
        case 1:
            runs.from = 0; /* the next page would begin anew */
            break;
        case 2:
            row.order = text_of("");
            break;
        case 3:
            queue.name = long_name;
            break;
        case 4:
            queue.share = NAN;
            break;
        case 5:
            task.task_spec.len = 0;
            break;
        case 6:
            region.partition = NULL;
            break;
        case 7:
            partition.id = PARTITIONS;
            break;
        case 8:
            cluster_report.cluster = NULL;
            break;
        default:
            rows.n_items = SY_COUNT_OF(many);
            rows.items = many;
            break;
        }
        will_answer(&member, &reply);
        expect_unreadable(w, of[i]);
    }
    leave(&member);
}
END_TEST

/* Small as a message and large in memory: what is made of it has no room any more, or itself. */
START_TEST(an_answer_that_is_too_large_is_an_error)
{
    struct world *w = &world;
    open_world(w, 6);
    join(&member, w);
    for (size_t count = 250000; count <= 500000; count += 250000) {
        PartReply reply = SWITCHYARD__INTERNAL__PART_REPLY__INIT;
        answer_status(&reply);
        switchyard__v1__cluster__init(&cluster);
        region.n_clusters = count;
        region.clusters = sy_calloc(count, sizeof(*region.clusters));
        for (size_t i = 0; i < count; i++)
            region.clusters[i] = &cluster_report;
        will_answer(&member, &reply);
        free(region.clusters);
        expect_unreadable(w, STATUS);
    }
    leave(&member);
}
END_TEST

/* Bytes that are changed, cut off or added: whatever comes of it, the call ends. */
START_TEST(damaged_answers_do_no_harm)
{
    struct world *w = &world;
    open_world(w, 5);
    join(&member, w);
    struct sy_rng *rng = &member.rng;
    for (int round = 0; round < 400; round++) {
        const struct question *q = &questions[sy_rng_below(rng, QUESTIONS)];
        PartReply reply = SWITCHYARD__INTERNAL__PART_REPLY__INIT;
        q->answer(&reply);
        will_answer(&member, &reply);
        for (uint64_t k = sy_rng_below(rng, 4); k > 0; k--)
            member.answer.data[sy_rng_below(rng, member.answer.len)] = (uint8_t)sy_rng_u64(rng);
        if (sy_rng_chance(rng, 1, 4))
            member.answer.len = sy_rng_below(rng, member.answer.len + 1);
        if (sy_rng_chance(rng, 1, 4))
            sy_buf_append_str(&member.answer, "and more");
        struct call *c = q->send(w);
        c->reads = true;
        UNTIL(w, c->call == NULL);
        forget_call(w);
    }
    leave(&member);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_is_right_is_taken,
                                  a_failure_is_passed_on,
                                  nonsense_is_an_error,
                                  what_cannot_be_is_an_error,
                                  an_answer_that_is_too_large_is_an_error,
                                  damaged_answers_do_no_harm,
                                  NULL};
    int r = sy_test_run("region_parts", tests);
    sy_buf_deinit(&task_spec);
    return r;
}
