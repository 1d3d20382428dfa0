/* links: dp */
/* Which shards an operator knows, and how soon it finds a partition. */
#include "dataplane/events.h"
#include "proto/pb.h"
#include "tests/unit/test_dp_world.h"

#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"

/* `count` shards that follow; the first is configured, and is told of by none. */
static void follow_init(struct world *w, struct fake_shard **shards, size_t count)
{
    world_init(w);
    struct sy_clock clock = {world_clock, world_realtime, w};
    w->log = sy_log_new(-1, SY_LOG_INFO, &clock);
    for (size_t i = 0; i < count; i++) {
        shards[i] = shard_new(w, (uint32_t)i, 1, 5);
        shards[i]->follows = true;
    }
    w->targets[1] = NULL;
}

static void follow_deinit(struct world *w)
{
    world_deinit(w);
    sy_log_free(w->log);
}

static void tell_of(struct fake_shard *teller, size_t count, struct fake_shard *const *shards)
{
    teller->endpoint_count = 0;
    for (size_t i = 0; i < count; i++)
        teller->endpoints[teller->endpoint_count++] = shards[i]->name;
    shard_tell(teller);
}

static uint64_t logged(const struct world *w, unsigned event)
{
    return sy_log_count(w->log, &dp_events, event);
}

static bool has_stream(const struct fake_shard *shard)
{
    return shard->partitions[0].call != NULL;
}

START_TEST(others_are_found_through_the_first_contact)
{
    struct world w;
    struct fake_shard *s[3];
    follow_init(&w, s, 3);
    tell_of(s[0], 2, s);
    world_start(&w);
    world_run(&w, 50 * MS);
    ck_assert(has_stream(s[0]) && has_stream(s[1]) && !has_stream(s[2]));
    tell_of(s[1], 3, s); /* one joins; the second knows of it first */
    world_run(&w, 50 * MS);
    ck_assert(has_stream(s[2]));
    ck_assert_uint_eq(logged(&w, DP_EV_SHARD_FOUND), 2);
    world_run(&w, 60 * SEC); /* and nobody is asked again */
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(s[i]->described, 1);
        ck_assert_uint_eq(s[i]->partitions[0].opened, 1);
    }
    follow_deinit(&w);
}
END_TEST

/* In less than the time for which nobody serves it. */
START_TEST(a_partition_that_moves_is_found_at_once)
{
    struct world w;
    struct fake_shard *s[2];
    follow_init(&w, s, 2);
    tell_of(s[0], 2, s);
    s[1]->partition_count = 0;
    world_start(&w);
    world_run(&w, 20 * SEC);
    s[0]->partition_count = 0;
    sy_call_finish(s[0]->partitions[0].call, NULL);
    shard_tell(s[0]);
    world_run(&w, 80 * MS);
    s[1]->partitions[0].id = 0;
    s[1]->partitions[0].epoch = 6;
    s[1]->partition_count = 1;
    shard_tell(s[1]);
    world_run(&w, 5 * MS);
    ck_assert(has_stream(s[1]));
    ck_assert_uint_eq(s[1]->partitions[0].hello_max_epoch, 5);
    world_run(&w, 20 * SEC);
    ck_assert_uint_eq(s[0]->partitions[0].opened, 1);
    follow_deinit(&w);
}
END_TEST

START_TEST(a_stream_that_is_lost_is_opened_again_while_its_shard_has_the_partition)
{
    struct world w;
    struct fake_shard *s[1];
    follow_init(&w, s, 1);
    world_start(&w);
    world_run(&w, 10 * SEC);
    sy_call_finish(s[0]->partitions[0].call, NULL);
    world_run(&w, 150 * MS);
    ck_assert(has_stream(s[0]));
    ck_assert_uint_eq(s[0]->partitions[0].opened, 2);
    ck_assert_uint_eq(s[0]->described, 1);
    follow_deinit(&w);
}
END_TEST

START_TEST(who_has_left_is_let_go_of)
{
    struct world w;
    struct fake_shard *s[3];
    follow_init(&w, s, 3);
    tell_of(s[0], 3, s);
    tell_of(s[1], 3, s);
    world_start(&w);
    world_run(&w, SEC);
    shard_kill(s[2]);
    world_run(&w, 60 * SEC);
    ck_assert_uint_eq(logged(&w, DP_EV_SHARD_GONE), 0); /* the others still name it */
    tell_of(s[0], 2, s);
    world_run(&w, 60 * SEC);
    ck_assert_uint_eq(logged(&w, DP_EV_SHARD_GONE), 0); /* one does */
    tell_of(s[1], 2, s);
    world_run(&w, 60 * SEC);
    ck_assert_uint_eq(logged(&w, DP_EV_SHARD_GONE), 1);
    shard_listen(s[2]);
    world_run(&w, 60 * SEC);
    ck_assert_uint_eq(s[2]->described, 1); /* nobody knows of it */
    tell_of(s[1], 3, s);
    world_run(&w, 50 * MS);
    ck_assert(has_stream(s[2]));
    follow_deinit(&w);
}
END_TEST

/* Word that it is back is better than a back-off. */
START_TEST(who_is_back_is_asked_at_once)
{
    struct world w;
    struct fake_shard *s[2];
    follow_init(&w, s, 2);
    tell_of(s[0], 2, s);
    world_start(&w);
    world_run(&w, SEC);
    shard_kill(s[1]);
    tell_of(s[0], 1, s);
    world_run(&w, 3 * SEC);
    shard_listen(s[1]);
    tell_of(s[0], 2, s);
    world_run(&w, 30 * MS);
    ck_assert(has_stream(s[1]));
    follow_deinit(&w);
}
END_TEST

START_TEST(a_shard_that_is_wrong_takes_none_away)
{
    struct world w;
    struct fake_shard *s[3];
    follow_init(&w, s, 3);
    tell_of(s[0], 3, s);
    world_start(&w);
    world_run(&w, SEC);
    tell_of(s[1], 0, s);
    world_run(&w, 60 * SEC);
    for (size_t i = 0; i < 3; i++)
        ck_assert(has_stream(s[i]) && s[i]->partitions[0].opened == 1);
    tell_of(s[0], 0, s); /* all of them are, but what works goes on */
    world_run(&w, 60 * SEC);
    for (size_t i = 0; i < 3; i++)
        ck_assert(has_stream(s[i]) && s[i]->partitions[0].opened == 1);
    follow_deinit(&w);
}
END_TEST

static void on_asked(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    *(enum sy_code *)ctx = status->code;
}

/* What a client of the data service hears: these shards know nothing of actions. */
static enum sy_code ask_for_data(struct world *w)
{
    Flyteidl2__Dataproxy__GetActionDataRequest request =
        FLYTEIDL2__DATAPROXY__GET_ACTION_DATA_REQUEST__INIT;
    Flyteidl2__Common__ActionIdentifier action = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    struct sy_call_options options = {
        .method = "/flyteidl2.dataproxy.DataProxyService/GetActionData"};
    struct sy_buf bytes = {0};
    enum sy_code code = SY_CODE_OK;
    action.run = &run;
    request.action_id = &action;
    pb_pack(&request.base, &bytes);
    sy_rpc_mem_set_origin(w->rpc, "client");
    struct sy_channel *channel = sy_channel_new(w->rpc, "operator");
    sy_channel_call(channel, w->loop, &options, &bytes, on_asked, &code);
    world_run(w, SEC);
    sy_channel_free(channel);
    return code;
}

/* The first contact is gone; what it told of is asked. */
START_TEST(the_data_service_asks_whom_the_operator_knows)
{
    struct world w;
    struct fake_shard *s[2];
    char dir[] = "/tmp/test_dp_dial.XXXXXX", command[64], key_file[64];
    struct sy_blob_options storage = {.root = dir};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(key_file, sizeof(key_file), "%s/secrets.key", dir);
    follow_init(&w, s, 2);
    w.options.data_dir = dir;
    w.options.secrets_key_file = key_file;
    w.options.storage = &storage;
    tell_of(s[0], 1, s);
    world_start(&w);
    world_run(&w, SEC);
    ck_assert_int_eq(ask_for_data(&w), SY_CODE_UNIMPLEMENTED);
    tell_of(s[0], 2, s);
    world_run(&w, SEC);
    shard_kill(s[0]);
    ck_assert_int_eq(ask_for_data(&w), SY_CODE_UNIMPLEMENTED);
    shard_kill(s[1]);
    ck_assert_int_eq(ask_for_data(&w), SY_CODE_UNAVAILABLE);
    follow_deinit(&w);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(nonsense_is_bounded)
{
    static char bad[][16] = {"", "no-port", "a b:1", "tab\there:1", "\xc3\xa9:1"};
    static char names[WORLD_ENDPOINTS][16], longest[300];
    struct world w;
    struct fake_shard *s[3];
    follow_init(&w, s, 3);
    world_start(&w);
    world_run(&w, SEC);
    memset(longest, 'x', sizeof(longest) - 1);
    memcpy(longest + 200, ":1", 2);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++)
        s[0]->endpoints[s[0]->endpoint_count++] = bad[i];
    s[0]->endpoints[s[0]->endpoint_count++] = longest;
    shard_tell(s[0]);
    world_run(&w, SEC);
    ck_assert_uint_eq(logged(&w, DP_EV_SHARD_FOUND), 0);
    for (size_t i = 0; i < WORLD_ENDPOINTS; i++) {
        snprintf(names[i], sizeof(names[i]), "nobody%zu:1", i);
        s[0]->endpoints[i] = names[i];
    }
    s[0]->endpoint_count = WORLD_ENDPOINTS;
    shard_tell(s[0]);
    world_run(&w, SEC);
    ck_assert_uint_eq(logged(&w, DP_EV_SHARD_FOUND), 256);
    tell_of(s[0], 3,
            s); /* what it said before is forgotten, and its own stream never was touched */
    world_run(&w, 60 * SEC);
    ck_assert_uint_eq(logged(&w, DP_EV_SHARD_GONE), 256);
    for (size_t i = 0; i < 3; i++)
        ck_assert(has_stream(s[i]) && s[i]->partitions[0].opened == 1);
    follow_deinit(&w);
}
END_TEST

/* Configured by one address, told by another: one stream for each partition, by either. */
START_TEST(a_shard_may_have_two_addresses)
{
    struct world w;
    struct fake_shard *s[1];
    follow_init(&w, s, 1);
    struct sy_server *alias;
    sy_rpc_mem_set_origin(w.rpc, "alias:1");
    ck_assert_int_eq(
        sy_server_new(&alias, w.rpc, &(struct sy_server_options){.address = "alias:1"}, NULL), 0);
    sy_server_add(alias, &(struct sy_method){.path = "/switchyard.internal.ControlPlane/Describe",
                                             .kind = SY_METHOD_SERVER_STREAM,
                                             .handler = shard_describe,
                                             .ctx = s[0],
                                             .loop = w.peers});
    sy_server_add(alias, &(struct sy_method){.path = "/switchyard.internal.ControlPlane/Operate",
                                             .kind = SY_METHOD_BIDI,
                                             .handler = shard_operate,
                                             .ctx = s[0],
                                             .loop = w.peers});
    ck_assert_int_eq(sy_server_start(alias, NULL), 0);
    w.targets[0] = "alias:1";
    tell_of(s[0], 1, s);
    world_start(&w);
    world_run(&w, 20 * SEC);
    ck_assert(has_stream(s[0]));
    ck_assert_uint_eq(s[0]->described, 2);
    ck_assert_uint_eq(s[0]->partitions[0].opened, 1);
    ck_assert_uint_eq(logged(&w, DP_EV_STALE_EPOCH), 0);
    sy_rpc_mem_kill(w.rpc, "alias:1"); /* the one that is in use */
    s[0]->partitions[0].epoch = 6;
    world_run(&w, 300 * MS);
    ck_assert_uint_eq(s[0]->partitions[0].opened, 2);
    sy_server_free(alias);
    follow_deinit(&w);
}
END_TEST

START_TEST(a_shard_that_says_nothing_is_asked_again)
{
    struct world w;
    struct fake_shard *s[2];
    follow_init(&w, s, 2);
    w.targets[1] = s[1]->name;
    w.targets[2] = NULL;
    w.cut_shard = true;
    world_start(&w);
    world_run(&w, 30 * SEC);
    ck_assert(!has_stream(s[0]) && has_stream(s[1]));
    w.cut_shard = false;
    world_run(&w, 11 * SEC);
    ck_assert(has_stream(s[0]));
    follow_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        others_are_found_through_the_first_contact,
        a_partition_that_moves_is_found_at_once,
        a_stream_that_is_lost_is_opened_again_while_its_shard_has_the_partition,
        who_has_left_is_let_go_of,
        who_is_back_is_asked_at_once,
        a_shard_that_is_wrong_takes_none_away,
        the_data_service_asks_whom_the_operator_knows,
        nonsense_is_bounded,
        a_shard_may_have_two_addresses,
        a_shard_that_says_nothing_is_asked_again,
        NULL,
    };
    return sy_test_run("dp_dial", tests);
}
