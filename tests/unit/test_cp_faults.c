/* links: cp */
#include "tests/unit/cp_world.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/cluster/payload.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"
#include "tests/unit/cp_requests.h"

/* ---- input ---- */

START_TEST(malformed_and_oversized_messages)
{
    struct world w;
    world_init_for(&w, _i);
    static const uint8_t nonsense[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f};
    static const char *const methods[] = {
        RUN "CreateRun",          RUN "GetRunDetails",     RUN "GetActionDetails",
        RUN "ListRuns",           RUN "ListActions",       RUN "AbortRun",
        RUN "AbortAction",        ACTIONS "Enqueue",       ACTIONS "Abort",
        ACTIONS "Update",         NATIVE "EnqueueActions", NATIVE "WaitChildren",
        REGION "GetRegionStatus", REGION "ListNodes",      CLUSTER "SelectCluster"};
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++) {
        struct call call = {.method = methods[i], .bytes = {nonsense, sizeof(nonsense)}};
        struct sy_error_text text;
        ck_assert_int_eq(call_full(&w, &call, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
        ck_assert_msg(strstr(text.text, "is not a valid") != NULL, "%s: %s", methods[i], text.text);
    }
    struct sy_buf large = {0};
    sy_buf_reserve(&large, (size_t)17 << 20);
    memset(large.data, 0, (size_t)17 << 20);
    large.len = (size_t)17 << 20;
    struct call call = {.method = NATIVE "EnqueueActions", .bytes = sy_buf_span(&large)};
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, NULL), SY_CODE_RESOURCE_EXHAUSTED);
    /* A megabyte of empty sub-messages would be a hundred megabytes of structs. */
    for (size_t i = 0; i < ((size_t)4 << 20); i += 2)
        large.data[i] = 0x22; /* field 4, length 0 */
    large.len = (size_t)4 << 20;
    call.bytes = sy_buf_span(&large);
    struct sy_error_text text;
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, &text), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(text.text, "more than 64 MiB"));
    sy_buf_deinit(&large);
    world_deinit(&w);
}
END_TEST

START_TEST(unknown_fields_are_tolerated)
{
    struct world w;
    world_init_for(&w, _i);
    struct create_request c;
    create_init(&w, &c, NULL, "switchyard.process");
    struct sy_buf buf = {0};
    pb_pack(&c.request.base, &buf);
    sy_buf_append(&buf, "\xa2\x06\x03xyz", 6); /* field 100 */
    struct call call = {.method = RUN "CreateRun", .bytes = sy_buf_span(&buf)};
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, NULL), SY_CODE_OK);
    sy_buf_deinit(&buf);
    world_deinit(&w);
}
END_TEST

START_TEST(a_full_queue)
{
    struct world w;
    world_init_stopped(&w, 1);
    w.options.partition.actions_max = 10;
    world_connect(&w);
    operator_connect(&w);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 9);
    enqueue_batch(&w, &b);
    batch_init(&w, &b, "r", "a0", 9, 1);
    call_fails(&w, NATIVE "EnqueueActions", &b.request.base, SY_CODE_RESOURCE_EXHAUSTED, "");
    struct create_request c;
    create_init(&w, &c, NULL, "switchyard.process");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_RESOURCE_EXHAUSTED, "");
    finish_task(&w, "n-000000", OUTCOME(SUCCEEDED));
    world_for(&w, 10 * SY_NS_PER_MS);
    enqueue_batch(&w, &b);
    world_deinit(&w);
}
END_TEST

/* ---- faults ---- */

START_TEST(a_full_disk)
{
    struct world w;
    world_init(&w, 1);
    create_run(&w, "before", "switchyard.group");
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, 0);
    struct create_request c;
    create_init(&w, &c, "lost", "switchyard.group");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_RESOURCE_EXHAUSTED, "disk");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_RESOURCE_EXHAUSTED, "disk");
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, -1);
    world_until(&w, cp_partition_serving(cp_shard_partition(w.shard, 0)));
    struct run_ids ids;
    ids_init(&ids, "before", "a0");
    Flyteidl2__Workflow__GetRunDetailsRequest get =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
    get.run_id = &ids.run;
    call_ok(&w, RUN "GetRunDetails", &get.base, NULL);
    ids_init(&ids, "lost", "a0");
    call_fails(&w, RUN "GetRunDetails", &get.base, SY_CODE_NOT_FOUND, "lost");
    create_run(&w, "lost", "switchyard.group");
    world_deinit(&w);
}
END_TEST

/* The partition was closed and is open again before the client goes on reading: it hears that it
 * may have missed something. */
START_TEST(a_reader_that_sleeps_through_a_reopen)
{
    struct world w;
    world_init(&w, 1);
    char name[16];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "run-%u", i);
        create_run(&w, name, "switchyard.group");
    }
    Flyteidl2__Workflow__WatchRunsRequest runs = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__INIT;
    struct stream *s = sy_new(struct stream);
    stream_open(&w, s, RUN "WatchRuns", &runs.base,
                &flyteidl2__workflow__watch_runs_response__descriptor, false);
    world_for(&w, SY_NS_PER_S); /* the way to it is full */
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, 0);
    struct create_request c;
    create_init(&w, &c, "lost", "switchyard.group");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_RESOURCE_EXHAUSTED, "disk");
    cp_mem_disk_set(w.disks[0], 100 * SY_NS_PER_US, -1);
    world_until(&w, cp_partition_serving(cp_shard_partition(w.shard, 0)));
    stream_resume(s);
    world_until(&w, s->closed);
    ck_assert_uint_gt(s->count, 1);
    ck_assert_int_eq(s->code, SY_CODE_UNAVAILABLE);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

static int health_of(struct world *w)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse *r = call_ok(
        w, "/grpc.health.v1.Health/Check", &request.base,
        &grpc__health__v1__health_check_response__descriptor);
    return (int)r->status;
}

static void count_call(void *arg)
{
    ++*(unsigned *)arg;
}

START_TEST(health_follows_the_partitions)
{
    struct world w;
    unsigned told = 0;
    world_init_stopped(&w, 3);
    w.one_loop = _i == 1;
    world_connect(&w);
    cp_shard_on_serving(w.shard, count_call, &told);
    world_until(&w, told == 1);
    ck_assert_int_eq(health_of(&w), 1);
    cp_mem_disk_set(w.disks[1], 100 * SY_NS_PER_US, 0);
    char name[16];
    struct create_request c;
    for (unsigned i = 0; i < 50; i++) { /* until one meets the partition that fails */
        snprintf(name, sizeof(name), "run-%u", i);
        create_init(&w, &c, name, "switchyard.group");
        struct call call = {.method = RUN "CreateRun", .request = &c.request.base};
        if (call_full(&w, &call, NULL, NULL, NULL) != SY_CODE_OK)
            break;
    }
    for (int i = 0; i < 1000 && health_of(&w) != 2; i++) { /* each new start fails as well */
        cp_mem_disk_set(w.disks[1], 100 * SY_NS_PER_US, 0);
        world_for(&w, 10 * SY_NS_PER_MS);
    }
    ck_assert_int_eq(health_of(&w), 2);
    cp_mem_disk_set(w.disks[1], 100 * SY_NS_PER_US, -1);
    world_until(&w, health_of(&w) == 1);
    ck_assert_uint_eq(told, 1);
    world_deinit(&w);
}
END_TEST

START_TEST(a_deadline_that_passes)
{
    struct world w;
    world_init(&w, 1);
    cp_mem_disk_set(w.disks[0], 10 * SY_NS_PER_S, -1); /* a slow disk */
    struct create_request c;
    create_init(&w, &c, "slow", "switchyard.group");
    struct call call = {
        .method = RUN "CreateRun", .request = &c.request.base, .timeout_ns = SY_NS_PER_S};
    ck_assert_int_eq(call_full(&w, &call, NULL, NULL, NULL), SY_CODE_DEADLINE_EXCEEDED);
    world_for(&w, 30 * SY_NS_PER_S);
    struct run_ids ids; /* it was accepted all the same: a retry finds it */
    ids_init(&ids, "slow", "a0");
    Flyteidl2__Workflow__GetRunDetailsRequest get =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
    get.run_id = &ids.run;
    call_ok(&w, RUN "GetRunDetails", &get.base, NULL);
    world_deinit(&w);
}
END_TEST

/* Requests and streams are under way when everything is freed: nothing leaks, nothing is called. */
START_TEST(a_crash_leaks_nothing)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct batch b;
    batch_init(&w, &b, "r", "a0", 0, 5);
    enqueue_batch(&w, &b);
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    struct reply replies[3];
    Switchyard__V1__WaitChildrenRequest wait = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    wait.run = &ids.native;
    wait.parent = ids.action.name;
    call_start(&w, &(struct call){.method = NATIVE "WaitChildren", .request = &wait.base},
               &replies[0]);
    struct stream *s = sy_calloc(2, sizeof(*s));
    Switchyard__V1__WatchRunRequest watch = SWITCHYARD__V1__WATCH_RUN_REQUEST__INIT;
    watch.run = &ids.native;
    stream_open(&w, &s[0], NATIVE "WatchRun", &watch.base,
                &switchyard__v1__watch_run_response__descriptor, true);
    Flyteidl2__Workflow__WatchRunsRequest runs = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__INIT;
    stream_open(&w, &s[1], RUN "WatchRuns", &runs.base,
                &flyteidl2__workflow__watch_runs_response__descriptor, true);
    world_for(&w, 10 * SY_NS_PER_MS);
    struct create_request c;
    create_init(&w, &c, "never", "switchyard.group");
    call_start(&w, &(struct call){.method = RUN "CreateRun", .request = &c.request.base},
               &replies[1]);
    Flyteidl2__Workflow__ListRunsRequest list = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    call_start(&w, &(struct call){.method = RUN "ListRuns", .request = &list.base}, &replies[2]);
    for (int i = 0; i < 3; i++) { /* in the middle of it */
        for (uint32_t n = 0; n < (w.one_loop ? 1 : w.partitions); n++)
            sy_loop_turn(w.loops[n]);
    }
    sy_rpc_mem_kill(w.rpc, "shard:1");
    cp_shard_free(w.shard);
    w.shard = NULL;
    for (int i = 0; i < 3; i++) {
        world_until(&w, replies[i].done);
        sy_buf_deinit(&replies[i].bytes);
    }
    stream_close(&s[0]);
    stream_close(&s[1]);
    free(s);
    world_deinit(&w);
}
END_TEST

START_TEST(a_drain_ends_streams)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "r", "switchyard.group");
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    struct stream *s = sy_new(struct stream);
    Flyteidl2__Workflow__WatchActionDetailsRequest watch =
        FLYTEIDL2__WORKFLOW__WATCH_ACTION_DETAILS_REQUEST__INIT;
    watch.action_id = &ids.action;
    stream_open(&w, s, RUN "WatchActionDetails", &watch.base,
                &flyteidl2__workflow__watch_action_details_response__descriptor, true);
    world_until(&w, s->count == 1);
    int64_t before_ns = w.now_ns;
    world_stop(&w);
    ck_assert_int_lt(w.now_ns - before_ns, SY_NS_PER_S); /* not the whole grace */
    world_until(&w, s->closed);
    ck_assert_int_eq(s->code, SY_CODE_UNAVAILABLE);
    stream_close(s);
    free(s);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {malformed_and_oversized_messages,
                                 unknown_fields_are_tolerated,
                                 a_crash_leaks_nothing,
                                 a_drain_ends_streams,
                                 health_follows_the_partitions,
                                 NULL};
    const TTest *const once[] = {a_full_queue, a_full_disk, a_deadline_that_passes,
                                 a_reader_that_sleeps_through_a_reopen, NULL};
    return world_tests("cp_faults", each, once);
}
