/* links: dp */
/* core-sleep: the operator carries it out itself, without any agent. */
#include "dataplane/sleep_input.h"
#include "tests/unit/test_dp_agents.h"

#include <ftw.h>
#include <unistd.h>

#define KIND(name) SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_##name
#define ENVIRONMENT "core-sleep"

/* {name: "t", value: {scalar: {primitive: {duration: {seconds: 1, nanos: 5}}}}} */
#define DURATION "\x0a\x0f\x0a\x01t\x12\x0a\x0a\x08\x0a\x06\x32\x04\x08\x01\x10\x05"
/* An integer, 0; a string. */
#define NOTHING "\x0a\x0b\x0a\x01t\x12\x06\x0a\x04\x0a\x02\x08\x00"
#define STRING "\x0a\x0c\x0a\x01t\x12\x07\x0a\x05\x0a\x03\x1a\x01x"

static struct sy_span span_of(const char *bytes, size_t len)
{
    return (struct sy_span){(const uint8_t *)bytes, len};
}
#define SPAN(literal) span_of(literal, sizeof(literal) - 1)

START_TEST(durations_are_read)
{
    struct sy_error_text error = {0};
    int64_t ns = 0;
    struct sy_span bytes = SPAN(DURATION);
    ck_assert_int_eq(dp_sleep_read(bytes, &ns, &error), 0);
    ck_assert_int_eq(ns, SEC + 5);
    for (size_t len = 0; len < bytes.len; len++)
        ck_assert_int_eq(dp_sleep_read((struct sy_span){bytes.data, len}, &ns, &error), -EINVAL);
    ck_assert_int_eq(
        dp_sleep_read(SPAN("\x0a\x0b\x0a\x01t\x12\x06\x0a\x04\x0a\x02\x08\x03"), &ns, &error), 0);
    ck_assert_int_eq(ns, 3 * SEC);
    /* a float, 0.5; then -1 */
    ck_assert_int_eq(
        dp_sleep_read(SPAN("\x0a\x12\x0a\x01t\x12\x0d\x0a\x0b\x0a\x09\x11\0\0\0\0\0\0\xe0\x3f"),
                      &ns, &error),
        0);
    ck_assert_int_eq(ns, SEC / 2);
    ck_assert_int_eq(
        dp_sleep_read(SPAN("\x0a\x12\x0a\x01t\x12\x0d\x0a\x0b\x0a\x09\x11\0\0\0\0\0\0\xf0\xbf"),
                      &ns, &error),
        -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "no time from 0"));
}
END_TEST

/* ---- a cluster without agents ---- */

struct bed {
    struct world w;
    struct fake_shard *shard;
    struct fake_partition *p;
    char dir[64], store[80], key_file[80];
    struct sy_blob_options storage;
};

static void bed_write(const struct bed *bed, const char *name, struct sy_span bytes)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", bed->store, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    fclose(file);
}

static void bed_demand(struct bed *bed)
{
    bed->p = &bed->shard->partitions[0];
    ck_assert_ptr_nonnull(bed->p->call);
    shard_demand(bed->p, CLASS, 0, ENVIRONMENT, 8);
    world_run(&bed->w, 50 * MS);
    ck_assert_uint_ge(bed->p->granted[CLASS], 8);
    shard_spec(bed->p, SPEC);
}

static void bed_init(struct bed *bed)
{
    *bed = (struct bed){.dir = "/tmp/switchyard-test.XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(bed->dir));
    snprintf(bed->store, sizeof(bed->store), "%s/store", bed->dir);
    snprintf(bed->key_file, sizeof(bed->key_file), "%s/secrets.key", bed->dir);
    bed->storage.root = bed->store;
    world_init(&bed->w);
    bed->w.options.data_dir = bed->dir;
    bed->w.options.secrets_key_file = bed->key_file;
    bed->w.options.storage = &bed->storage;
    bed->shard = shard_new(&bed->w, 0, 1, 5);
    world_start(&bed->w);
    bed_write(bed, "second.pb", SPAN(DURATION));
    bed_write(bed, "nothing.pb", SPAN(NOTHING));
    bed_write(bed, "string.pb", SPAN(STRING));
    world_run(&bed->w, SEC);
    bed_demand(bed);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void bed_deinit(struct bed *bed)
{
    world_deinit(&bed->w);
    ck_assert_int_eq(nftw(bed->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void sleep_for(struct bed *bed, uint64_t action, const char *input, int64_t timeout_ns)
{
    char uri[160];
    PB(Assignment) assignment = PB_INIT(ASSIGNMENT), *list[] = {&assignment};
    snprintf(uri, sizeof(uri), "%s/%s", bed->store, input);
    assignment.action = action;
    assignment.number = 1;
    assignment.epoch = bed->p->epoch;
    assignment.class_ = CLASS;
    assignment.spec = SPEC;
    assignment.run = (char *)(uintptr_t) "p/d/r";
    assignment.name = (char *)(uintptr_t) "a1";
    assignment.input_uri = uri;
    assignment.timeout_ns = timeout_ns;
    PB(ShardMessage) message = PB_INIT(SHARD_MESSAGE);
    message.assignments = list;
    message.n_assignments = 1;
    shard_send(bed->p, &message);
}

/* Assigns, and waits `for_ns` for exactly this outcome. */
static void expect(struct bed *bed, uint64_t action, const char *input, int64_t timeout_ns,
                   int64_t for_ns, int kind)
{
    size_t before = bed->p->outcomes;
    sleep_for(bed, action, input, timeout_ns);
    world_run(&bed->w, for_ns);
    ck_assert_uint_eq(bed->p->outcomes, before + 1);
    ck_assert_uint_eq(bed->p->last_action, action);
    ck_assert_int_eq(bed->p->last_kind, kind);
    ck_assert_str_eq(bed->p->last_outcome_node, "operator");
}

START_TEST(sleeps_without_any_agent)
{
    struct bed bed;
    bed_init(&bed);
    ck_assert_uint_eq(bed.p->shapes, 1);
    ck_assert_uint_eq(bed.p->nodes, 0); /* which are machines */
    expect(&bed, 1, "nothing.pb", 0, MS, KIND(SUCCEEDED));
    ck_assert_uint_eq(bed.p->started, 0); /* its outcome says it */
    ck_assert_int_eq(bed.p->last_slept_ns, 0);
    sleep_for(&bed, 2, "second.pb", 0);
    world_run(&bed.w, SEC - MS);
    ck_assert_uint_eq(bed.p->started, 1);
    ck_assert_uint_eq(bed.p->outcomes, 1);
    world_run(&bed.w, 2 * MS);
    ck_assert_uint_eq(bed.p->outcomes, 2);
    ck_assert_int_eq(bed.p->last_kind, KIND(SUCCEEDED));
    ck_assert_int_eq(bed.p->last_slept_ns, SEC + 5);
    expect(&bed, 3, "second.pb", 20 * MS, 21 * MS, KIND(TIMED_OUT));
    bed_deinit(&bed);
}
END_TEST

START_TEST(bad_inputs)
{
    struct bed bed;
    bed_init(&bed);
    expect(&bed, 1, "string.pb", 0, MS, KIND(FAILED_FINAL));
    ck_assert_ptr_nonnull(strstr(bed.p->last_error, "BadInput: core-sleep: none of its inputs"));
    expect(&bed, 2, "missing.pb", 0, MS, KIND(REFUSED));
    ck_assert_ptr_nonnull(strstr(bed.p->last_error, "InputNotRead: "));
    expect(&bed, 3, "../outside.pb", 0, MS, KIND(REFUSED));
    bed_deinit(&bed);
}
END_TEST

START_TEST(cancels)
{
    struct bed bed;
    bed_init(&bed);
    sleep_for(&bed, 1, "second.pb", 0);
    world_run(&bed.w, 100 * MS);
    shard_cancel(bed.p, 1);
    world_run(&bed.w, MS);
    ck_assert_uint_eq(bed.p->outcomes, 1);
    ck_assert_int_eq(bed.p->last_kind, KIND(CANCELLED));
    ck_assert_str_eq(bed.p->last_error, "Cancelled: aborted");
    sleep_for(&bed, 2, "second.pb", 0); /* its input has not been read yet */
    shard_cancel(bed.p, 2);
    world_run(&bed.w, 2 * SEC);
    ck_assert_uint_eq(bed.p->outcomes, 2);
    ck_assert_int_eq(bed.p->last_kind, KIND(CANCELLED));
    bed_deinit(&bed);
}
END_TEST

START_TEST(a_new_stream_hears_of_them)
{
    struct bed bed;
    bed_init(&bed);
    sleep_for(&bed, 1, "second.pb", 0);
    world_run(&bed.w, 100 * MS);
    shard_kill(bed.shard);
    world_run(&bed.w, 10 * MS);
    shard_listen(bed.shard);
    world_run(&bed.w, 800 * MS);
    bed.p = &bed.shard->partitions[0];
    ck_assert_uint_eq(bed.p->inventory, 1);
    ck_assert(bed.p->complete);
    world_run(&bed.w, SEC);
    ck_assert_uint_eq(bed.p->outcomes, 1);
    ck_assert_int_eq(bed.p->last_kind, KIND(SUCCEEDED));
    bed_deinit(&bed);
}
END_TEST

/* What its predecessor slept is in no inventory: the partition gives it out again. */
START_TEST(a_new_operator_knows_none)
{
    struct bed bed;
    bed_init(&bed);
    sleep_for(&bed, 1, "second.pb", 0);
    world_run(&bed.w, 100 * MS);
    world_crash(&bed.w);
    world_run(&bed.w, 10 * MS);
    world_start(&bed.w);
    world_run(&bed.w, 2 * SEC);
    bed_demand(&bed);
    ck_assert(bed.p->complete);
    ck_assert_uint_eq(bed.p->inventory, 0);
    ck_assert_uint_eq(bed.p->outcomes, 0);
    expect(&bed, 1, "nothing.pb", 0, MS, KIND(SUCCEEDED));
    sleep_for(&bed, 2, "second.pb", 0); /* freed while it sleeps; and while it is read */
    world_run(&bed.w, 100 * MS);
    sleep_for(&bed, 3, "second.pb", 0);
    bed_deinit(&bed);
}
END_TEST

static void check_refused(struct bed *bed, const char *node, const char *environment)
{
    struct fake_agent *agent = agent_new(&bed->w, node, "s1");
    PB(Resources) capacity = PB_INIT(RESOURCES);
    PB(Environment) pool = PB_INIT(ENVIRONMENT), *pools[] = {&pool};
    PB(AgentHello) hello = PB_INIT(AGENT_HELLO);
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    pool.name = (char *)(uintptr_t)environment;
    pool.slots = 1;
    hello.node = agent->node;
    hello.session = agent->session;
    hello.capacity = &capacity;
    hello.environments = pools;
    hello.n_environments = 1;
    message.hello = &hello;
    agent_open(agent);
    agent_send(agent, &message);
    world_run(&bed->w, 10 * MS);
    ck_assert_int_eq(agent->closed, SY_CODE_INVALID_ARGUMENT);
    agent_free(agent);
}

START_TEST(its_names_are_no_agents)
{
    struct bed bed;
    bed_init(&bed);
    check_refused(&bed, "operator", "py");
    check_refused(&bed, "node1", ENVIRONMENT);
    bed_deinit(&bed);
}
END_TEST

int main(void)
{
    return sy_test_run("dp_sleep", (const TTest *const[]){
                                       durations_are_read, sleeps_without_any_agent, bad_inputs,
                                       cancels, a_new_stream_hears_of_them,
                                       a_new_operator_knows_none, its_names_are_no_agents, NULL});
}
