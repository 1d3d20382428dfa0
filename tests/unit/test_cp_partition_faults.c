/* links: cp */
/* The partition shell when its process dies at any moment, its disk fails at any commit, its store
 * cannot be opened, and its operator stops or lies. */
#include "controlplane/partition_impl.h"
#include "cp_partition_job.h"
#include "scheduler/partition_impl.h"

/* The process dies after k turns, for every k; what was in flight is lost, or kept. */
static unsigned crash_sweep(bool keep_in_flight)
{
    for (unsigned k = 0;; k++) {
        struct job job;
        struct world *w = job_start(&job);
        cp_mem_disk_keep_in_flight(w->disk, keep_in_flight);
        unsigned steps = 0;
        for (; steps < k && !job_ended(w); steps++)
            job_step(w);
        bool over = job_ended(w);
        world_crash(w);
        world_start(w);
        world_run(w, 20 * MS);
        ck_assert(cp_partition_serving(w->p));
        if (job.created) /* acknowledged: it is there, nobody asks again */
            ck_assert_uint_ne(run_id(w, "r1"), 0);
        else
            job_create(w);
        job_finish(w);
        ck_assert_uint_ge(cp_partition_epoch(w->p), 1);
        world_free(w);
        if (over)
            return k;
    }
}

START_TEST(test_crash_loses_what_was_in_flight)
{
    ck_assert_uint_gt(crash_sweep(false), 20);
}
END_TEST

START_TEST(test_crash_after_the_sync)
{
    ck_assert_uint_gt(crash_sweep(true), 20);
}
END_TEST

/* Lost twice, then it is held. */
static void lost_root(struct world *w, struct attempt *root)
{
    if (root->number < 3)
        operator_end(w, root, SCH_OUTCOME_LOST);
}

/* At least what was told before, if anybody can read now. */
static void tell_attempt(struct world *w, uint32_t *told)
{
    struct sy_arena arena;
    struct cp_run_view run;
    struct cp_action_view view;
    sy_arena_init(&arena, 1 << 20);
    if (cp_partition_get_run(w->p, &arena, "p", "d", "r", &run) == 0 &&
        cp_partition_get_action(w->p, &arena, run.id, "a0", &view) == 0) {
        uint32_t shown = view.number > 0 ? view.number : 1; /* as in ActionStatus.attempts */
        ck_assert_uint_ge(shown, *told);
        *told = shown;
    }
    sy_arena_deinit(&arena);
}

/* A client asks all the time, and the process dies after k turns, for every k: which attempt it is
 * was not told before it was so for good. */
START_TEST(test_what_is_told_of_attempts_never_shrinks)
{
    uint32_t most = 0;
    for (unsigned k = 0; most < 3; k++) {
        ck_assert_uint_lt(k, 500);
        struct world *w = world_new();
        struct answer answer;
        uint32_t told = 0;
        w->on_root = lost_root;
        world_run(w, 20 * MS);
        create_run(w, "r", "", "switchyard.process", &answer);
        expect(w, &answer, SY_CODE_OK, "");
        for (unsigned steps = 0; steps < k && told < 3; steps++) {
            world_step(w, w->now_ns + MS);
            tell_attempt(w, &told);
        }
        most = told;
        world_crash(w);
        world_start(w);
        for (unsigned steps = 0; steps < 5000 && told < 3; steps++) {
            world_step(w, w->now_ns + MS);
            tell_attempt(w, &told);
        }
        ck_assert_uint_eq(told, 3);
        world_free(w);
    }
}
END_TEST

START_TEST(test_each_commit_fails)
{
    unsigned k = 0;
    for (bool failed = true; failed; k++) {
        struct job job;
        struct world *w = job_start(&job);
        cp_mem_disk_set(w->disk, 100 * SY_NS_PER_US, k);
        job_finish(w);
        failed = w->opens > 1;
        world_free(w);
    }
    ck_assert_uint_gt(k, 8);
}
END_TEST

START_TEST(test_commit_fails_twice_and_reads_go_on)
{
    struct job job;
    struct world *w = job_start(&job);
    while (!job.created)
        job_step(w);
    cp_mem_disk_set(w->disk, 100 * SY_NS_PER_US, 0);
    struct answer answer;
    create_run(w, "r2", "", "switchyard.process", &answer);
    await(w, &answer);
    ck_assert_int_eq(answer.code, SY_CODE_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull(strstr(answer.text, "the disk of partition 0 is full"));
    ck_assert(!cp_partition_serving(w->p));
    ck_assert_ptr_nonnull(strstr(cp_partition_reason(w->p), "is full"));
    ck_assert_str_eq(cp_partition_state_word(w->p), "reopening");
    ck_assert_uint_ne(run_id(w, "r1"), 0); /* a read */
    create_run(w, "r2", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_RESOURCE_EXHAUSTED, "is full");
    cp_mem_disk_set(w->disk, 100 * SY_NS_PER_US, 0); /* the claim of the next open fails as well */
    world_run(w, 2 * SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p));
    ck_assert_uint_ge(w->opens, 3);
    job_finish(w);
    world_free(w);
}
END_TEST

/* 4 x 10^9 ids are an epoch's: with few left it begins another, and what was acknowledged goes on.
 */
START_TEST(test_ids_run_out)
{
    struct job job;
    struct world *w = job_start(&job);
    while (!job.created)
        job_step(w);
    uint32_t epoch = cp_partition_epoch(w->p);
    w->p->core->last_id |= (uint64_t)(UINT32_MAX - (1u << 24)) << SCH_ID_PLACE_BITS;
    struct answer answer;
    create_run(w, "r2", "", "switchyard.process", &answer);
    await(w, &answer);
    ck_assert_int_eq(answer.code, SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(answer.text, "the ids of partition 0's epoch are used up"));
    world_run(w, 2 * SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p));
    ck_assert_uint_gt(cp_partition_epoch(w->p), epoch);
    ck_assert_uint_gt(sch_partition_ids_left(w->p->core), 1u << 31);
    job_finish(w);
    world_free(w);
}
END_TEST

/* ---- stores that do not open ---- */

/* What the store said of it outlives the store, which is closed then. */
START_TEST(test_claim_fails)
{
    struct world *w = world_new();
    world_crash(w);
    cp_mem_disk_set(w->disk, 100 * SY_NS_PER_US, 0);
    world_start(w);
    world_run(w, 10 * MS);
    ck_assert(!cp_partition_serving(w->p));
    ck_assert_str_eq(cp_partition_reason(w->p),
                     "the disk of partition 0 is full (No space left on device (memory store))");
    world_run(w, 2 * SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p));
    ck_assert_str_eq(cp_partition_reason(w->p), "");
    world_free(w);
}
END_TEST

START_TEST(test_damaged_store)
{
    struct world *w = world_new();
    struct answer answer;
    world_crash(w);
    w->open_error = -EUCLEAN;
    world_start(w);
    world_run(w, 5 * SY_NS_PER_S);
    ck_assert(!cp_partition_serving(w->p));
    ck_assert_ptr_nonnull(strstr(cp_partition_reason(w->p),
                                 "partition 0 does not serve: the database /data/p0 is damaged"));
    ck_assert_str_eq(cp_partition_state_word(w->p), "failed");
    ck_assert_uint_eq(w->opens, 1); /* trying again would not help */
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "/data/p0 is damaged");
    world_crash(w);
    w->open_error = -EBUSY;
    w->opens = 0;
    world_start(w);
    world_run(w, SY_NS_PER_S);
    ck_assert_uint_gt(w->opens, 1);
    w->open_error = 0;
    world_run(w, 10 * SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p));
    world_free(w);
}
END_TEST

static void ignore_commit(void *ctx, int error)
{
    (void)ctx;
    (void)error;
}

/* Puts a row into the store behind the partition's back. */
static void tamper(struct world *w, enum cp_family family, struct sy_span key, struct sy_span value)
{
    struct cp_store *store;
    ck_assert_int_eq(cp_store_mem_open(&store, w->disk, 0, w->loop, NULL, NULL), 0);
    struct cp_batch *batch = cp_batch_new(store);
    cp_batch_put(batch, family, key, value);
    cp_mem_disk_keep_in_flight(w->disk, true);
    cp_store_commit(store, batch, ignore_commit, NULL);
    cp_store_close(store);
    cp_mem_disk_keep_in_flight(w->disk, false);
}

static void check_refuses(struct world *w, const char *text)
{
    world_start(w);
    world_run(w, 2 * SY_NS_PER_S);
    ck_assert(!cp_partition_serving(w->p));
    ck_assert_msg(strstr(cp_partition_reason(w->p), text) != NULL, "%s", cp_partition_reason(w->p));
    world_crash(w);
}

START_TEST(test_strange_rows)
{
    struct world *w = world_new();
    struct answer answer;
    w->offline = true;
    world_run(w, 10 * MS);
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    uint64_t id = run_id(w, "r1");
    world_crash(w);

    Switchyard__Internal__Store__Meta meta = SWITCHYARD__INTERNAL__STORE__META__INIT;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf row = {0};
    struct cp_key key = cp_key_meta();
    meta.format = 2;
    cp_row_pack(&row, &meta.base);
    tamper(w, CP_FAMILY_META, cp_key_span(&key), sy_buf_span(&row));
    check_refuses(w, "its store has format 2, this program reads format 1");
    meta.format = 1;
    meta.partition = 7;
    sy_buf_clear(&row);
    cp_row_pack(&row, &meta.base);
    tamper(w, CP_FAMILY_META, cp_key_span(&key), sy_buf_span(&row));
    check_refuses(w, "belongs to partition 7");
    tamper(w, CP_FAMILY_META, cp_key_span(&key), (struct sy_span){(const uint8_t *)"\xff", 1});
    check_refuses(w, "first row is damaged");
    meta.partition = 0;
    meta.epoch = 5;
    sy_buf_clear(&row);
    cp_row_pack(&row, &meta.base);
    tamper(w, CP_FAMILY_META, cp_key_span(&key), sy_buf_span(&row));
    key = cp_key_action(id, "ghost");
    tamper(w, CP_FAMILY_LIVE, cp_key_span(&key), (struct sy_span){NULL, 0});
    char said[64];
    snprintf(said, sizeof(said), "the row of run %llx action 'ghost'", (unsigned long long)id);
    check_refuses(w, said);
    world_free(w);
}
END_TEST

/* ---- operators ---- */

START_TEST(test_operator_restarts)
{
    struct job job;
    struct world *w = job_start(&job);
    while (w->attempt_count < 4)
        job_step(w);
    sy_call_finish(w->call, NULL);
    world_run(w, 10 * MS);
    memset(w->attempts, 0, sizeof(w->attempts)); /* it lost everything */
    w->attempt_count = 0;
    job_finish(w);
    world_free(w);
}
END_TEST

START_TEST(test_operator_freezes)
{
    struct job job;
    struct world *w = job_start(&job);
    while (w->attempt_count < 3)
        job_step(w);
    w->frozen = true;
    world_run(w, 5 * SY_NS_PER_S);
    struct sch_partition_counts counts = cp_partition_counts(w->p);
    ck_assert_uint_ge(counts.assigned + counts.running, 3); /* nobody else is there: kept */
    ck_assert_uint_ge(w->streams, 1);
    w->frozen = false;
    job_finish(w);
    ck_assert_uint_ge(w->streams, 2);
    world_free(w);
}
END_TEST

START_TEST(test_operator_of_a_later_owner)
{
    struct world *w = world_new();
    w->offline = true;
    world_run(w, 10 * MS);
    w->epoch = 9;
    operator_connect(w);
    world_run(w, 20 * MS);
    ck_assert_int_eq(w->closed_code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_ptr_nonnull(
        strstr(w->closed_text, "cluster c1 has seen epoch 9 of partition 0, this shard has 1"));
    world_free(w);
}
END_TEST

/* What a cluster asks for a core: nothing below 0, and any number above. */
START_TEST(test_prices_of_operators)
{
    struct world *w = world_new();
    w->offline = true;
    world_run(w, 10 * MS);
    w->price = -1;
    operator_connect(w);
    world_run(w, 20 * MS);
    ck_assert_int_eq(w->closed_code, SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(w->closed_text, "price"));
    ck_assert(!w->welcomed);
    w->price = INT64_MIN;
    operator_connect(w);
    world_run(w, 20 * MS);
    ck_assert_int_eq(w->closed_code, SY_CODE_INVALID_ARGUMENT);
    w->price = INT64_MAX;
    operator_connect(w);
    world_run(w, 20 * MS);
    ck_assert(w->welcomed);
    world_free(w);
}
END_TEST

struct refusal {
    struct attempt old;
    unsigned refused;
    char text[256];
};

static void refused_reply(struct world *w, const Switchyard__Internal__TaskReply *reply)
{
    struct refusal *refusal = w->ctx;
    ck_assert_uint_eq(reply->call, 9);
    ck_assert_int_eq(reply->code, SY_CODE_FAILED_PRECONDITION);
    snprintf(refusal->text, sizeof(refusal->text), "%s", reply->message);
    refusal->refused++;
}

static void no_root(struct world *w, struct attempt *root)
{
    (void)w;
    (void)root;
}

START_TEST(test_old_attempts_may_not_call)
{
    struct world *w = world_new();
    struct answer answer;
    struct refusal refusal = {.refused = 0};
    w->ctx = &refusal;
    w->on_root = no_root;
    w->on_reply = refused_reply;
    world_run(w, 20 * MS);
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 20 * MS);
    Switchyard__V1__EnqueueActionsRequest m = SWITCHYARD__V1__ENQUEUE_ACTIONS_REQUEST__INIT;
    refusal.old = *operator_find_name(w, "a0");
    refusal.old.number++;
    operator_call(w, &refusal.old, 9, "EnqueueActions", &m.base);
    refusal.old.number--;
    refusal.old.epoch++;
    operator_call(w, &refusal.old, 9, "WaitChildren", &m.base);
    refusal.old.action++;
    operator_call(w, &refusal.old, 9, "WaitChildren", &m.base);
    world_run(w, 20 * MS);
    ck_assert_uint_eq(refusal.refused, 3);
    ck_assert_ptr_nonnull(strstr(refusal.text, "not the current one"));
    world_free(w);
}
END_TEST

static void on_stopped(void *arg)
{
    ++*(int *)arg;
}

START_TEST(test_stop)
{
    struct job job;
    struct world *w = job_start(&job);
    while (!job.created)
        job_step(w);
    struct answer before, after;
    int stopped = 0;
    create_run(w, "r2", "", "switchyard.group", &before);
    cp_partition_stop(w->p, on_stopped, &stopped);
    create_run(w, "r3", "", "switchyard.process", &after);
    expect(w, &before, SY_CODE_OK, ""); /* the last batch is made durable */
    expect(w, &after, SY_CODE_UNAVAILABLE, "being stopped");
    world_run(w, 100 * MS);
    ck_assert_int_eq(stopped, 1);
    world_crash(w);
    world_start(w);
    world_run(w, 20 * MS);
    struct answer aborted = {0};
    cp_partition_abort(w->p, "p", "d", "r2", "a0", "", on_answer, &aborted);
    expect(w, &aborted, SY_CODE_OK, ""); /* it was there */
    job_finish(w);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_crash_loses_what_was_in_flight,
        test_crash_after_the_sync,
        test_what_is_told_of_attempts_never_shrinks,
        test_each_commit_fails,
        test_commit_fails_twice_and_reads_go_on,
        test_ids_run_out,
        test_claim_fails,
        test_damaged_store,
        test_strange_rows,
        test_operator_restarts,
        test_operator_freezes,
        test_operator_of_a_later_owner,
        test_prices_of_operators,
        test_old_attempts_may_not_call,
        test_stop,
        NULL,
    };
    return sy_test_run("cp_partition_faults", tests);
}
