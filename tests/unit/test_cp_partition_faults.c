/* links: cp */
/* The partition shell when its process dies at any moment, its disk fails at any commit, its store
 * cannot be opened, and its operator stops or lies. */
#include "cp_partition_world.h"

#define CHILDREN 10

/* ---- a job: a root task that makes children in two calls and waits for them ---- */

struct job {
    uint64_t round; /* each start of the root's program; answers to an older one are ignored */
    uint64_t got;   /* children that the current root attempt was told */
    struct answer create;
    bool created; /* it was acknowledged */
};

static void job_enqueue(struct world *w, const struct attempt *root, uint64_t call, unsigned first)
{
    Switchyard__V1__EnqueueActionsRequest m = SWITCHYARD__V1__ENQUEUE_ACTIONS_REQUEST__INIT;
    Switchyard__V1__NewAction actions[CHILDREN / 2], *list[CHILDREN / 2];
    char names[CHILDREN / 2][8];
    SY_CLEANUP(sy_buf_deinit) struct sy_buf spec = make_spec("switchyard.process", 0, "100m");
    for (unsigned i = 0; i < CHILDREN / 2; i++) {
        switchyard__v1__new_action__init(&actions[i]);
        snprintf(names[i], sizeof(names[i]), "c%02u", first + i);
        actions[i].name = names[i];
        actions[i].input.data = (uint8_t *)names[i];
        actions[i].input.len = strlen(names[i]);
        list[i] = &actions[i];
    }
    m.task_spec.data = spec.data;
    m.task_spec.len = spec.len;
    m.actions = list;
    m.n_actions = CHILDREN / 2;
    operator_call(w, root, call, "switchyard.v1.ActionService/EnqueueActions", &m.base);
}

static void job_wait(struct world *w, const struct attempt *root, uint64_t after)
{
    Switchyard__V1__WaitChildrenRequest m = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    m.after = after;
    m.max = 4;
    operator_call(w, root, ((const struct job *)w->ctx)->round * 4 + 3, "WaitChildren", &m.base);
}

static void job_root(struct world *w, struct attempt *root)
{
    struct job *job = w->ctx;
    job->got = 0;
    job->round++;
    job_enqueue(w, root, job->round * 4 + 1, 0);
}

static void job_waited(struct world *w, struct attempt *root, const ProtobufCBinaryData *body)
{
    struct job *job = w->ctx;
    Switchyard__V1__WaitChildrenResponse *m = switchyard__v1__wait_children_response__unpack(
        NULL, body->len, body->data);
    ck_assert_ptr_nonnull(m);
    for (size_t i = 0; i < m->n_children; i++) {
        const Switchyard__V1__ChildOutcome *child = m->children[i];
        ck_assert_int_eq(child->phase, PHASE(SUCCEEDED));
        ck_assert_uint_eq(child->output.len, 3);
        ck_assert_mem_eq(child->output.data, child->name, 3);
    }
    job->got += m->n_children;
    ck_assert_uint_eq(m->next, job->got);
    ck_assert(m->n_children > 0 || m->running > 0 || job->got == CHILDREN);
    if (job->got == CHILDREN)
        operator_end(w, root, SCH_OUTCOME_SUCCEEDED);
    else
        job_wait(w, root, m->next);
    switchyard__v1__wait_children_response__free_unpacked(m, NULL);
}

static void job_reply(struct world *w, const Switchyard__Internal__TaskReply *reply)
{
    struct attempt *root = operator_find(w, reply->action, reply->number, reply->epoch);
    ck_assert_ptr_nonnull(root);
    const struct job *job = w->ctx;
    if (root->ended || reply->call / 4 != job->round)
        return;
    if (reply->code != SY_CODE_OK) {
        ck_assert(reply->code == SY_CODE_UNAVAILABLE || reply->code == SY_CODE_RESOURCE_EXHAUSTED ||
                  reply->code == SY_CODE_FAILED_PRECONDITION);
        w->retry_root = true;
        return;
    }
    if (reply->call % 4 == 1)
        job_enqueue(w, root, reply->call + 1, CHILDREN / 2);
    else if (reply->call % 4 == 2)
        job_wait(w, root, 0);
    else
        job_waited(w, root, &reply->body);
}

static void job_create(struct world *w)
{
    struct job *job = w->ctx;
    create_run(w, "r1", "request-1", "switchyard.process", &job->create);
}

static bool job_ended(struct world *w)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct cp_run_view run;
    bool ended = w->p && cp_partition_serving(w->p) &&
                 cp_partition_get_run(w->p, &arena, "p", "d", "r1", &run) == 0 &&
                 run.row->phase != PHASE(UNSPECIFIED);
    sy_arena_deinit(&arena);
    return ended;
}

/* One step, with the client's retries. */
static void job_step(struct world *w)
{
    struct job *job = w->ctx;
    ck_assert(world_step(w, w->now_ns + 10 * SY_NS_PER_S));
    if (job->created)
        return;
    if (job->create.calls == 1 && job->create.code == SY_CODE_OK) {
        job->created = true;
    } else if (job->create.calls == 1) {
        ck_assert(job->create.code == SY_CODE_UNAVAILABLE ||
                  job->create.code == SY_CODE_RESOURCE_EXHAUSTED);
        world_run(w, 10 * MS);
        job_create(w);
    }
}

static struct world *job_start(struct job *job)
{
    struct world *w = world_new();
    *job = (struct job){.got = 0};
    w->ctx = job;
    w->on_root = job_root;
    w->on_reply = job_reply;
    job_create(w);
    return w;
}

static void ignore(void *ctx)
{
    (void)ctx;
}

/* Every child ended well, exactly once, and the log says so without a gap. */
static void job_check(struct world *w)
{
    world_run(w, 300 * MS);
    for (size_t i = 0; i < w->attempt_count; i++)
        ck_assert_msg(!w->attempts[i].ended || w->attempts[i].acked, "%s", w->attempts[i].name);
    struct sy_arena arena;
    sy_arena_init(&arena, 16 << 20);
    struct cp_watch *watch = cp_watch_run(w->p, run_id(w, "r1"), 0, ignore, NULL);
    Switchyard__V1__Event **events;
    size_t count;
    bool ended;
    ck_assert_int_eq(cp_watch_read_events(watch, &arena, 1 << 20, &events, &count, &ended), 0);
    ck_assert(ended);
    unsigned finals[CHILDREN + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(events[i]->sequence, i + 1);
        unsigned index = strcmp(events[i]->action, "a0") == 0
                             ? CHILDREN
                             : (unsigned)strtoul(events[i]->action + 1, NULL, 10);
        ck_assert_uint_le(index, CHILDREN);
        ck_assert_uint_eq(finals[index], 0);
        if (events[i]->phase >= PHASE(SUCCEEDED)) {
            ck_assert_int_eq(events[i]->phase, PHASE(SUCCEEDED));
            finals[index]++;
        }
    }
    for (unsigned i = 0; i <= CHILDREN; i++)
        ck_assert_uint_eq(finals[i], 1);
    cp_watch_free(watch);
    sy_arena_deinit(&arena);
    ck_assert_uint_eq(cp_partition_counts(w->p).runs_live, 0);
}

static void job_finish(struct world *w)
{
    int64_t give_up_ns = w->now_ns + 60 * SY_NS_PER_S;
    while (!job_ended(w)) {
        job_step(w);
        ck_assert_int_lt(w->now_ns, give_up_ns);
    }
    job_check(w);
}

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

/* ---- it is given to another shard, or lost to one, and comes back ---- */

static void on_given(void *ctx)
{
    *(bool *)ctx = true;
}

/* After k turns; closing its store takes some of them. */
static unsigned away_sweep(bool give, bool keep_in_flight, int64_t close_ns)
{
    for (unsigned k = 0;; k++) {
        struct job job;
        struct world *w = job_start(&job);
        bool given = false;
        bool away = true;
        cp_mem_disk_keep_in_flight(w->disk, keep_in_flight);
        cp_mem_disk_set_close(w->disk, close_ns);
        for (unsigned steps = 0; steps < k && !job_ended(w); steps++)
            job_step(w);
        bool over = job_ended(w);
        uint32_t epoch = cp_partition_epoch(w->p);
        if (give)
            cp_partition_give(w->p, on_given, &given);
        else
            away = cp_partition_abandon(w->p, "the session of shard s1 may be over", on_given,
                                        &given);
        ck_assert(give || cp_partition_away(w->p) == away);
        ck_assert(give || away || close_ns > 0);
        if (!give && !away && k % 2) /* both at once */
            cp_partition_give(w->p, on_given, &given);
        ck_assert(!given);
        for (unsigned turns = 0; turns < 50; turns++)
            job_step(w);
        ck_assert(given == (give || !away) && cp_partition_away(w->p));
        ck_assert_str_eq(cp_partition_state_word(w->p), "away");
        struct cp_store *store; /* it has let go of it */
        ck_assert_int_eq(cp_store_mem_open(&store, w->disk, 0, w->loop, NULL, NULL), 0);
        cp_store_close(store);
        cp_partition_take(w->p, epoch + 10);
        job_finish(w);
        ck_assert_uint_eq(cp_partition_epoch(w->p), epoch + 10);
        world_free(w);
        if (over)
            return k;
    }
}

START_TEST(what_is_given_is_whole)
{
    ck_assert_uint_gt(away_sweep(true, false, 0), 20);
    ck_assert_uint_gt(away_sweep(true, false, 3 * MS), 20);
}
END_TEST

START_TEST(what_is_abandoned_keeps_what_was_answered)
{
    ck_assert_uint_gt(away_sweep(false, false, 0), 20);
    ck_assert_uint_gt(away_sweep(false, true, 0), 20);
    ck_assert_uint_gt(away_sweep(false, true, 3 * MS), 20);
}
END_TEST

/* The lease lapses while it is being given. */
START_TEST(a_give_that_takes_too_long_ends_at_once)
{
    struct job job;
    struct world *w = job_start(&job);
    bool given = false;
    while (!job.created)
        job_step(w);
    cp_mem_disk_set(w->disk, SY_NS_PER_S, -1);
    struct answer answer;
    create_run(w, "r2", "", "switchyard.process", &answer);
    world_run(w, 10 * MS);
    cp_partition_give(w->p, on_given, &given);
    world_run(w, 10 * MS);
    ck_assert(!given && answer.calls == 0); /* it is being written */
    (void)cp_partition_abandon(w->p, "the session of shard s1 may be over", NULL, NULL);
    world_run(w, 1 * MS);
    ck_assert(given && cp_partition_away(w->p));
    ck_assert_int_eq(answer.code, SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(answer.text, "the session of shard s1 may be over; try again");
    cp_mem_disk_set(w->disk, 100 * SY_NS_PER_US, -1);
    cp_partition_take(w->p, 0);
    job_finish(w);
    world_free(w);
}
END_TEST

/* The disk hangs: our loop does not. It is not ours to take again before it is closed. */
START_TEST(a_store_that_is_slow_to_close_holds_nobody_up)
{
    struct job job;
    struct world *w = job_start(&job);
    bool gone = false;
    while (!job.created)
        job_step(w);
    cp_mem_disk_set(w->disk, SY_NS_PER_S, -1);
    cp_mem_disk_set_close(w->disk, 10 * SY_NS_PER_S);
    struct answer answer;
    create_run(w, "r2", "", "switchyard.process", &answer);
    world_run(w, 10 * MS);
    ck_assert(!cp_partition_abandon(w->p, "gone", on_given, &gone));
    world_run(w, 1 * MS);
    ck_assert_int_eq(answer.code, SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(cp_partition_state_word(w->p), "stopping");
    world_run(w, 5 * SY_NS_PER_S);
    ck_assert(!gone && !cp_partition_away(w->p));
    world_run(w, 6 * SY_NS_PER_S);
    ck_assert(gone && cp_partition_away(w->p));
    cp_partition_take(w->p, 0);
    world_run(w, 5 * SY_NS_PER_S);
    ck_assert(!cp_partition_abandon(w->p, "gone", NULL, NULL));
    world_free(w); /* while it is being closed */
}
END_TEST

static void job_steps(struct world *w, int64_t ns)
{
    int64_t until_ns = w->now_ns + ns;
    while (w->now_ns < until_ns)
        job_step(w);
}

/* After a commit, or an opening, that failed; then nothing comes between, or it is given, or
 * abandoned. */
static void slow_close_sweep(bool opening)
{
    for (int given_up = 0; given_up < 3; given_up++) {
        struct job job;
        struct world *w = job_start(&job);
        bool gone = false;
        while (!job.created)
            job_step(w);
        if (opening)
            world_crash(w);
        cp_mem_disk_set_close(w->disk, 10 * SY_NS_PER_S);
        cp_mem_disk_set(w->disk, MS, 0);
        if (opening)
            world_start(w);
        job_steps(w, 5 * SY_NS_PER_S);
        ck_assert_str_eq(cp_partition_state_word(w->p), "opening");
        cp_mem_disk_set_close(w->disk, 0);
        if (given_up == 1)
            cp_partition_give(w->p, on_given, &gone);
        if (given_up == 2)
            ck_assert(!cp_partition_abandon(w->p, "gone", on_given, &gone));
        job_steps(w, 4 * SY_NS_PER_S);
        ck_assert(!gone && !cp_partition_serving(w->p));
        job_steps(w, 2 * SY_NS_PER_S);
        ck_assert(gone == (given_up > 0) && cp_partition_away(w->p) == gone);
        if (gone)
            cp_partition_take(w->p, 0);
        job_finish(w);
        world_free(w);
    }
}

START_TEST(a_store_that_failed_is_opened_when_it_is_closed)
{
    slow_close_sweep(false);
    slow_close_sweep(true);
}
END_TEST

/* No turn after the other is made of that. */
START_TEST(what_lapses_and_is_slow_to_close_is_abandoned_once)
{
    struct world *w = world_new();
    _Atomic int64_t until_ns = INT64_MAX;
    world_crash(w);
    w->options.right_until_ns = &until_ns;
    world_start(w);
    world_run(w, 100 * MS);
    cp_mem_disk_set_close(w->disk, SY_NS_PER_S);
    bool given = false;
    until_ns = w->now_ns + 10 * MS;
    world_run(w, 50 * MS);
    struct answer answer; /* makes a turn */
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "has lapsed");
    ck_assert_str_eq(cp_partition_state_word(w->p), "stopping");
    cp_partition_give(w->p, on_given, &given); /* the region has heard of it too */
    world_run(w, 500 * MS);
    ck_assert(!given && sy_loop_next_ns(w->loop) > w->now_ns);
    world_run(w, SY_NS_PER_S);
    ck_assert(given && cp_partition_away(w->p));
    world_free(w);
}
END_TEST

static void on_told(void *ctx)
{
    ++*(int *)ctx;
}

/* Its process stands still while a commit is in flight, beyond what it has a right to. */
START_TEST(what_lapses_while_it_is_written_is_not_answered)
{
    struct world *w = world_new();
    _Atomic int64_t until_ns = INT64_MAX;
    struct answer answer;
    world_crash(w);
    w->options.right_until_ns = &until_ns;
    world_start(w);
    world_run(w, 100 * MS);
    ck_assert(cp_partition_serving(w->p));
    cp_mem_disk_set(w->disk, 100 * MS, -1);
    cp_mem_disk_keep_in_flight(w->disk, true);
    create_run(w, "r1", "", "switchyard.process", &answer);
    world_run(w, 10 * MS);
    ck_assert_uint_eq(answer.calls, 0);
    until_ns = w->now_ns + 50 * MS;
    w->now_ns += SY_NS_PER_S; /* and goes on */
    ck_assert(!cp_partition_away(w->p));
    world_run(w, 1 * MS);
    ck_assert(cp_partition_away(w->p));
    ck_assert_int_eq(answer.code, SY_CODE_UNAVAILABLE);
    ck_assert_str_eq(answer.text, "the session of shard s1 has lapsed: partition 0 may be "
                                  "another's; try again");
    until_ns = INT64_MAX;
    cp_partition_take(w->p, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p) && run_id(w, "r1") != 0);
    int told = 0;
    struct cp_watch *watch = cp_watch_runs(w->p, "", "", on_told, &told);
    world_run(w, MS);
    ck_assert(told == 1 && cp_watch_can_read(watch));
    until_ns = sy_loop_now_ns(w->loop);   /* nothing wakes it: what it is asked, it does not know */
    ck_assert(!cp_watch_can_read(watch)); /* nor that nothing has changed */
    cp_watch_free(watch);
    struct sy_arena arena;
    struct cp_run_view run;
    sy_arena_init(&arena, 1 << 20);
    ck_assert_int_eq(cp_partition_get_run(w->p, &arena, "p", "d", "r1", &run),
                     CP_PARTITION_E_NOT_SERVING);
    create_run(w, "r2", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "another's");
    sy_arena_deinit(&arena);
    world_free(w);
}
END_TEST

/* Our claim is over, or the records of the region were lost: it says which epoch it has seen. */
START_TEST(what_was_taken_under_a_later_epoch_is_not_ours)
{
    struct world *w = world_new();
    struct cp_store *store;
    uint32_t newer;
    world_crash(w);
    ck_assert_int_eq(cp_store_mem_open(&store, w->disk, 30, w->loop, &newer, NULL), 0);
    w->options.away = true;
    world_start(w);
    cp_partition_take(w->p, 29);
    world_run(w, SY_NS_PER_S);
    ck_assert(cp_partition_away(w->p));
    ck_assert_uint_eq(cp_partition_epoch(w->p), 30);
    cp_partition_take(w->p, 31); /* from whoever has it open */
    world_run(w, SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p));
    ck_assert_uint_eq(cp_partition_epoch(w->p), 31);
    cp_store_close(store);
    world_free(w);
}
END_TEST

START_TEST(what_is_away_is_refused_until_it_is_taken)
{
    struct world *w = world_new();
    struct answer answer;
    world_crash(w);
    w->opens = 0;
    w->options.away = true;
    world_start(w);
    world_run(w, SY_NS_PER_S);
    ck_assert_uint_eq(w->opens, 0);
    ck_assert_int_eq(w->closed_code, SY_CODE_UNAVAILABLE);
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_UNAVAILABLE, "partition 0 is not of this shard");
    cp_partition_take(w->p, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert(cp_partition_serving(w->p) && w->welcomed);
    (void)cp_partition_abandon(w->p, "gone", NULL, NULL);
    w->open_error = -EUCLEAN; /* FAILED, and then no longer ours */
    cp_partition_take(w->p, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert_str_eq(cp_partition_state_word(w->p), "failed");
    (void)cp_partition_abandon(w->p, "gone", NULL, NULL);
    w->open_error = -EBUSY; /* WAITING */
    cp_partition_take(w->p, 0);
    world_run(w, SY_NS_PER_S);
    ck_assert_str_eq(cp_partition_state_word(w->p), "reopening");
    (void)cp_partition_abandon(w->p, "gone", NULL, NULL);
    w->opens = 0;
    world_run(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(w->opens, 0);
    world_free(w);
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

/* ---- stores that do not open ---- */

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
    check_refuses(w, "the row of run 10000000001 action 'ghost'");
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
    ck_assert_uint_eq(counts.assigned + counts.running, 0); /* given up after its lease */
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
        what_is_given_is_whole,
        what_is_abandoned_keeps_what_was_answered,
        a_give_that_takes_too_long_ends_at_once,
        a_store_that_is_slow_to_close_holds_nobody_up,
        a_store_that_failed_is_opened_when_it_is_closed,
        what_lapses_and_is_slow_to_close_is_abandoned_once,
        what_lapses_while_it_is_written_is_not_answered,
        what_was_taken_under_a_later_epoch_is_not_ours,
        what_is_away_is_refused_until_it_is_taken,
        test_each_commit_fails,
        test_commit_fails_twice_and_reads_go_on,
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
