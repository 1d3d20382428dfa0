/* links: ag */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_exec_util.h"

#include <fcntl.h>
#include <signal.h>

#define FOR_EVER_MS "600000"

static void open_pool(uint32_t max, uint32_t concurrency)
{
    struct ag_pool_options pool = bench_pool(max, concurrency);
    bench_open(&pool, 1, AG_CGROUP_NONE);
}

static uint64_t run_started(const char *function)
{
    uint64_t id = bench_run_function(function, FOR_EVER_MS);
    bench->executor->ops->flush(bench->executor);
    ck_assert(RUN_UNTIL(bench->loop, bench->attempts[id - 1].started));
    return id;
}

/* What would run for ever ends as it is asked to. */
static void cancel(uint64_t id)
{
    bench->executor->ops->cancel(bench->executor, id, "test");
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_CANCELLED);
}

/* Runs what ends at once until so many may wait behind one: one that was interrupted for some time
 * looks long, and it takes a few to forget it. */
static void warm_up(uint32_t behind)
{
    const struct sch_resources request = {.cpu_milli = 100, .environment = "native"};
    for (bool warm = false; !warm;) {
        uint64_t id = bench_run_function("noop", "");
        warm = bench->executor->ops->pipeline(bench->executor, &request) >= behind;
        bench_wait(id);
    }
}

START_TEST(results)
{
    open_pool(1, 1);
    uint64_t echo = bench_run_function("echo", "hello");
    struct bench_attempt *a = bench_wait(echo);
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert_str_eq(a->output, "hello");
    ck_assert_int_gt(a->result.started_ns, 0);
    ck_assert_int_ge(a->result.finished_ns, a->result.started_ns);
    a = bench_wait(bench_run_function("fail_soft", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_str_eq(a->code, "Soft");
    ck_assert_str_eq(a->message, "3 apples");
    a = bench_wait(bench_run_function("fail_hard", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED_FINAL);
    a = bench_wait(bench_run_function("fail_silent", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_str_eq(a->message, "fail_silent returned -1");
    a = bench_wait(bench_run_function("who", ""));
    ck_assert_str_eq(a->output, "p/d/r1 t-5 1 0000000007.0000000001 ");
    ck_assert_str_eq(bench_wait(bench_run_function("gang", ""))->output, "none");
    const struct ag_gang gang = {
        .id = 7, .rank = 1, .size = 4, .host = "h1", .port = 29501, .secret = "5ec7e7"};
    a = bench_wait(bench_start(&(struct bench_task){.function = "gang", .gang = &gang}));
    ck_assert_str_eq(a->output, "0000000000000007 1 4 h1:29501 5ec7e7");
    ck_assert_uint_eq(bench_status().started, 1); /* all in one worker */
    bench_close();
}
END_TEST

START_TEST(what_cannot_be_loaded_is_refused)
{
    open_pool(1, 1);
    struct bench_attempt *a = bench_wait(bench_run_function("no_such_function", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_REFUSED);
    ck_assert_ptr_nonnull(strstr(a->message, "no function 'no_such_function'"));
    a = bench_wait(bench_start(&(struct bench_task){.function = "noop", .library = "/no/lib.so"}));
    ck_assert_int_eq(a->result.kind, AG_RESULT_REFUSED);
    a = bench_wait(bench_start(&(struct bench_task){.function = "noop", .library = "lib.so"}));
    ck_assert_ptr_nonnull(strstr(a->message, "absolute path"));
    bench_close();
}
END_TEST

START_TEST(large_outputs_go_to_a_file)
{
    open_pool(1, 1);
    uint64_t id = bench_start(
        &(struct bench_task){.function = "big_output", .input = "5000", .inline_max = 4999});
    struct bench_attempt *a = bench_wait(id);
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert_str_eq(a->output, "");
    struct stat stat_;
    ck_assert_int_eq(stat(a->output_path, &stat_), 0);
    ck_assert_int_eq(stat_.st_size, 5000);
    a = bench_wait(bench_start(
        &(struct bench_task){.function = "big_output", .input = "5000", .inline_max = 5000}));
    ck_assert_str_eq(a->output_path, "");
    ck_assert_uint_eq(strlen(a->output), 5000);
    bench_close();
}
END_TEST

START_TEST(output_is_attributed_exactly)
{
    open_pool(1, 1);
    enum { N = 200 };
    uint64_t first = 0;
    for (int i = 0; i < N; i++) {
        const char *functions[] = {"print", "print_raw", "noop"};
        uint64_t id = bench_start(
            &(struct bench_task){.function = functions[i % 3], .pipelined = i > 0});
        first = first ? first : id;
    }
    bench_wait(first + N - 1);
    for (int i = 0; i < N; i++) {
        char out[64] = "", err[64] = "";
        if (i % 3 == 0) {
            snprintf(out, sizeof(out), "out of t-%d\n", i + 1);
            snprintf(err, sizeof(err), "err of t-%d\n", i + 1);
        } else if (i % 3 == 1) {
            snprintf(out, sizeof(out), "raw of t-%d", i + 1);
        }
        ck_assert_str_eq(bench_log(first + (uint64_t)i, 1), out);
        ck_assert_str_eq(bench_log(first + (uint64_t)i, 2), err);
    }
    uint64_t logged = bench_run_function("log_lines", "");
    bench_wait(logged);
    ck_assert_str_eq(bench_log(logged, 3), "first 1\nsecond two\n");
    bench_close();
}
END_TEST

START_TEST(a_task_that_prints_more_than_a_pipe_holds)
{
    open_pool(1, 1);
    struct bench_attempt *a = bench_wait(bench_run_function("print_much", "40000"));
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert_uint_eq(strlen(a->log[0]), BENCH_LOG_BYTES - 1); /* what the bench keeps */
    bench_close();
}
END_TEST

START_TEST(a_crash_is_lost_and_the_rest_runs)
{
    open_pool(1, 1);
    uint64_t before = bench_run_function("noop", "");
    bench_wait(before);
    /* The average is short now: these wait in the worker behind the crash. */
    uint64_t crash = bench_run_function("print_and_crash", "");
    uint64_t behind[5];
    for (int i = 0; i < 5; i++)
        behind[i] = bench_start(
            &(struct bench_task){.function = "echo", .input = "x", .pipelined = true});
    struct bench_attempt *a = bench_wait(crash);
    ck_assert_int_eq(a->result.kind, AG_RESULT_LOST);
    ck_assert_int_eq(a->result.death, AG_DEATH_ALONE); /* what waits behind is no suspect */
    ck_assert_int_gt(a->result.started_ns, 0);
    ck_assert_int_le(a->result.started_ns, a->result.finished_ns);
    ck_assert_ptr_nonnull(strstr(a->message, "signal 11 (SIGSEGV)"));
    ck_assert_str_eq(bench_log(crash, 1), "last words\n");
    ck_assert_str_eq(bench_log(crash, 3), "logged words\n");
    for (int i = 0; i < 5; i++) {
        a = bench_wait(behind[i]);
        ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    }
    ck_assert_uint_eq(bench_status().died, 1);
    ck_assert_uint_eq(bench_status().started, 2);
    bench_close();
}
END_TEST

START_TEST(all_that_ran_in_it_are_suspects)
{
    bench_grace_ns = 100 * SY_NS_PER_MS;
    open_pool(1, 2);
    uint64_t innocent = run_started("sleep_ms");
    struct bench_attempt *a = bench_wait(bench_run_function("print_and_crash", ""));
    ck_assert_int_eq(a->result.death, AG_DEATH_SHARED);
    a = bench_wait(innocent);
    ck_assert_int_eq(a->result.kind, AG_RESULT_LOST);
    ck_assert_int_eq(a->result.death, AG_DEATH_SHARED);
    innocent = run_started("sleep_ms");
    uint64_t deaf = run_started("sleep_deaf"); /* we kill its worker, and know for whose sake */
    bench->executor->ops->cancel(bench->executor, deaf, "test");
    ck_assert_int_eq(bench_wait(deaf)->result.death, AG_DEATH_NONE);
    a = bench_wait(innocent);
    ck_assert_int_eq(a->result.kind, AG_RESULT_LOST);
    ck_assert_int_eq(a->result.death, AG_DEATH_NONE);
    ck_assert_uint_eq(bench_status().died, 2);
    bench_close();
}
END_TEST

START_TEST(exit_of_a_task_is_the_workers_end)
{
    open_pool(1, 1);
    struct bench_attempt *a = bench_wait(bench_run_function("exit_three", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_LOST);
    ck_assert_ptr_nonnull(strstr(a->message, "exited with status 3"));
    a = bench_wait(bench_run_function("noop", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
}
END_TEST

START_TEST(cancellation)
{
    open_pool(1, 1);
    uint64_t polite = run_started("sleep_ms");
    uint64_t waiting = bench_run_function("noop", ""); /* no room in the only worker */
    cancel(waiting);
    cancel(polite);
    ck_assert_uint_eq(bench_status().died, 0);
    bench_close();
}
END_TEST

START_TEST(cancellation_of_the_deaf)
{
    bench_grace_ns = 100 * SY_NS_PER_MS;
    open_pool(1, 1);
    cancel(run_started("sleep_deaf"));
    ck_assert_uint_eq(bench_status().died, 1);
    struct bench_attempt *a = bench_wait(bench_run_function("noop", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
}
END_TEST

/* A task that runs, and one that waits for it. */
START_TEST(tasks_are_killed_at_once)
{
    open_pool(1, 1);
    for (int asked = 0; asked < 2; asked++) {
        uint64_t deaf = run_started("sleep_deaf");
        uint64_t waiting = bench_run_function("noop", "");
        if (asked)
            bench->executor->ops->cancel(bench->executor, deaf, "test");
        bench->executor->ops->kill(bench->executor, waiting);
        ck_assert_int_eq(bench_wait(waiting)->result.kind, AG_RESULT_CANCELLED);
        bench->executor->ops->kill(bench->executor, deaf);
        ck_assert_int_eq(bench_wait(deaf)->result.kind, AG_RESULT_CANCELLED);
    }
    ck_assert_uint_eq(bench_status().died, 2);
    bench_close();
}
END_TEST

static struct bench_attempt *run_for_50_ms(const char *function)
{
    return bench_wait(bench_start(&(struct bench_task){
        .function = function, .input = FOR_EVER_MS, .timeout_ns = 50 * SY_NS_PER_MS}));
}

START_TEST(time_limits)
{
    open_pool(1, 1);
    ck_assert_int_eq(run_for_50_ms("sleep_ms")->result.kind, AG_RESULT_TIMED_OUT);
    ck_assert_uint_eq(bench_status().died, 0);
    uint64_t id = bench_start(&(struct bench_task){
        .function = "sleep_ms", .input = "20", .timeout_ns = 600 * SY_NS_PER_S});
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
    bench_grace_ns = 100 * SY_NS_PER_MS;
    open_pool(1, 1);
    ck_assert_int_eq(run_for_50_ms("sleep_deaf")->result.kind, AG_RESULT_TIMED_OUT);
    ck_assert_uint_eq(bench_status().died, 1);
    bench_close();
}
END_TEST

START_TEST(concurrency_runs_that_many)
{
    open_pool(1, 4);
    uint64_t ids[4];
    for (int i = 0; i < 4; i++)
        ids[i] = run_started("sleep_ms");
    for (int i = 0; i < 4; i++) /* all at the same time */
        ck_assert(!bench->attempts[ids[i] - 1].ended);
    for (int i = 0; i < 4; i++)
        cancel(ids[i]);
    ck_assert_uint_eq(bench_status().started, 1);
    bench_close();
}
END_TEST

START_TEST(workers_come_by_demand_and_idle_ones_go)
{
    struct ag_pool_options pool = bench_pool(3, 1);
    pool.min = 1;
    pool.idle_ns = 100 * SY_NS_PER_MS;
    bench_open(&pool, 1, AG_CGROUP_NONE);
    ck_assert(RUN_UNTIL(bench->loop, bench_status().ready == 1));
    uint64_t ids[5];
    for (int i = 0; i < 5; i++)
        ids[i] = bench_run_function("sleep_ms", FOR_EVER_MS);
    bench->executor->ops->flush(bench->executor);
    ck_assert(RUN_UNTIL(bench->loop, bench_status().ready == 3));
    ck_assert_uint_le(bench_status().started, 3);
    for (int i = 0; i < 5; i++)
        cancel(ids[i]);
    ck_assert(RUN_UNTIL(bench->loop, bench_status().ready == 1 && bench_status().retiring == 0));
    ck_assert_uint_eq(bench_status().died, 0);
    bench_close();
}
END_TEST

START_TEST(short_tasks_are_pipelined)
{
    open_pool(1, 1);
    struct sch_resources request = {.cpu_milli = 100, .environment = "native"};
    ck_assert_uint_eq(bench->executor->ops->pipeline(bench->executor, &request), 0);
    warm_up(4);
    uint64_t running = run_started("sleep_ms");
    uint32_t more = bench->executor->ops->pipeline(bench->executor, &request);
    ck_assert_uint_ge(more, 1);
    ck_assert_uint_le(more, 63); /* 64, less the one that runs */
    struct sch_resources other = {.cpu_milli = 200, .environment = "native"};
    ck_assert_uint_eq(bench->executor->ops->pipeline(bench->executor, &other), 0);
    cancel(running);
    bench_close();
}
END_TEST

START_TEST(a_long_task_does_not_hold_up_those_behind_it)
{
    open_pool(2, 1);
    warm_up(8);
    /* Room for two. The long one takes the first worker, and eight are put behind it. */
    uint64_t slow = bench_run_function("sleep_ms", FOR_EVER_MS);
    uint64_t behind[8];
    for (int i = 0; i < 8; i++)
        behind[i] = bench_start(
            &(struct bench_task){.function = "echo", .input = "x", .pipelined = true});
    bench_wait(bench_run_function("sleep_ms", "1"));
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(bench_wait(behind[i])->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert(!bench->attempts[slow - 1].ended);
    ck_assert_uint_ge(bench_status().taken_back, 1);
    ck_assert(RUN_UNTIL(bench->loop, bench->attempts[slow - 1].started)); /* told while it runs */
    cancel(slow);
    bench_close();
}
END_TEST

START_TEST(never_more_than_was_admitted)
{
    /* Four workers, but room for one: the others must not take what waits. */
    struct ag_pool_options pool = bench_pool(4, 1);
    pool.min = 4;
    bench_open(&pool, 1, AG_CGROUP_NONE);
    ck_assert(RUN_UNTIL(bench->loop, bench_status().ready == 4));
    warm_up(10);
    uint64_t first = bench_run_function("sleep_ms", "50");
    uint64_t last = first;
    for (int i = 0; i < 10; i++)
        last = bench_start(
            &(struct bench_task){.function = "sleep_ms", .input = "5", .pipelined = true});
    bench_wait(last);
    for (uint64_t id = first + 1; id <= last; id++) { /* one after the other */
        bench_wait(id);
        for (uint64_t other = first; other < id; other++) {
            const struct ag_result *a = &bench->attempts[id - 1].result;
            const struct ag_result *b = &bench->attempts[other - 1].result;
            ck_assert_msg(a->started_ns >= b->finished_ns || b->started_ns >= a->finished_ns,
                          "%d and %d ran at the same time", (int)id, (int)other);
        }
    }
    bench_close();
}
END_TEST

START_TEST(devices_are_fixed_for_a_worker)
{
    open_pool(2, 1);
    uint64_t a = bench_start(&(struct bench_task){.function = "who", .gpus = "0"});
    uint64_t b = bench_start(&(struct bench_task){.function = "who", .gpus = "1"});
    ck_assert_ptr_nonnull(strstr(bench_wait(a)->output, " 0"));
    ck_assert_ptr_nonnull(strstr(bench_wait(b)->output, " 1"));
    ck_assert_uint_eq(bench_status().started, 2);
    uint64_t c = bench_start(&(struct bench_task){.function = "who", .gpus = "0"});
    bench_wait(c);
    ck_assert_uint_eq(bench_status().started, 2); /* the same worker again */
    uint64_t d = bench_start(&(struct bench_task){.function = "who", .gpus = "2,3"});
    ck_assert_ptr_nonnull(strstr(bench_wait(d)->output, " 2,3"));
    ck_assert_uint_eq(bench_status().started, 3); /* an idle one has made room */
    bench_close();
}
END_TEST

START_TEST(an_environment_without_a_program)
{
    struct ag_pool_options pool = bench_pool(2, 1);
    static const char *const command[] = {"/no/such/worker", NULL};
    pool.command = command;
    bench_open(&pool, 1, AG_CGROUP_NONE);
    struct bench_attempt *a = bench_wait(bench_run_function("noop", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_REFUSED);
    ck_assert_ptr_nonnull(strstr(a->message, "No such file"));
    bench_close();
}
END_TEST

START_TEST(a_worker_that_sends_garbage)
{
    struct ag_pool_options pool = bench_pool(1, 1);
    static const char *const command[] = {"/bin/sh", "-c",
                                          "printf '\\377\\377\\377\\377xxxx' >&3; sleep 100", NULL};
    pool.command = command;
    bench_open(&pool, 1, AG_CGROUP_NONE);
    struct bench_attempt *a = bench_wait(bench_run_function("noop", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_REFUSED);
    bench_close();
}
END_TEST

START_TEST(a_worker_that_never_speaks)
{
    struct ag_pool_options pool = bench_pool(1, 1);
    static const char *const command[] = {"/bin/sh", "-c", "echo why >&2; sleep 0.1; exit 9", NULL};
    pool.command = command;
    bench_open(&pool, 1, AG_CGROUP_NONE);
    struct bench_attempt *a = bench_wait(bench_run_function("noop", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_REFUSED);
    ck_assert_ptr_nonnull(strstr(a->message, "exited with status 9 before it was ready: why"));
    bench_close();
}
END_TEST

START_TEST(a_killed_worker_is_replaced)
{
    open_pool(1, 1);
    pid_t worker = (pid_t)strtol(bench_wait(bench_run_function("pid", ""))->output, NULL, 10);
    ck_assert_int_gt(worker, 1);
    uint64_t id = run_started("sleep_ms");
    kill(worker, SIGKILL);
    struct bench_attempt *a = bench_wait(id);
    ck_assert_int_eq(a->result.kind, AG_RESULT_LOST);
    ck_assert_ptr_nonnull(strstr(a->message, "SIGKILL"));
    ck_assert_int_eq(bench_wait(bench_run_function("noop", ""))->result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
}
END_TEST

START_TEST(a_frozen_worker_is_replaced)
{
    bench_start_ns = 3 * SY_NS_PER_S;
    open_pool(1, 1);
    pid_t worker = (pid_t)strtol(bench_wait(bench_run_function("pid", ""))->output, NULL, 10);
    kill(worker, SIGSTOP);
    struct bench_attempt *a = bench_wait(bench_run_function("noop", ""));
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED); /* it never began in the first one */
    ck_assert_uint_ge(bench_status().died, 1);
    bench_close();
}
END_TEST

/* Time that the agent itself stands still in is none in which it could have heard its workers. */
START_TEST(a_frozen_agent_does_not_blame_its_workers)
{
    bench_start_ns = 3 * SY_NS_PER_S;
    open_pool(1, 1);
    bench_wait(bench_run_function("noop", ""));
    uint64_t id = bench_run_function("noop", "");
    bench->executor->ops->flush(bench->executor);
    sleep(4); /* the result comes meanwhile */
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert_int_eq(bench_wait(bench_run_function("noop", ""))->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert_uint_eq(bench_status().died, 0);
    ck_assert_uint_eq(bench_status().started, 1);
    bench_close();
}
END_TEST

START_TEST(out_of_memory)
{
    struct ag_pool_options pool = bench_pool(1, 1);
    pool.memory_bytes = 64 << 20;
    bench_open(&pool, 1, AG_CGROUP_AUTO);
    if (!ag_cgroups_limit_memory(bench->cgroups)) {
        printf("skipped: no control group limits memory here\n");
        bench_close();
        return;
    }
    ck_assert_int_eq(bench_wait(bench_run_function("eat_memory", "16"))->result.kind,
                     AG_RESULT_SUCCEEDED);
    struct bench_attempt *a = bench_wait(bench_run_function("eat_memory", "200"));
    ck_assert_int_eq(a->result.kind, AG_RESULT_OUT_OF_MEMORY);
    ck_assert_ptr_nonnull(strstr(a->message, "its limit of 64 MiB"));
    ck_assert_uint_gt(a->result.memory_peak_bytes, 60 << 20);
    ck_assert_int_eq(bench_wait(bench_run_function("noop", ""))->result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
}
END_TEST

START_TEST(a_rebuilt_library_is_seen)
{
    open_pool(1, 1);
    char path[256], command[1024];
    snprintf(path, sizeof(path), "%s/lib.so", bench->dir);
    for (int v = 1; v <= 3; v++) {
        char version[16];
        snprintf(version, sizeof(version), "v%d", v);
        snprintf(command, sizeof(command),
                 "cc -shared -fPIC -DVERSION='\"%s\"' -o %s.new -xc - && mv %s.new %s", version,
                 path, path, path);
        FILE *cc = popen(command, "w");
        fputs(
            "struct sy_task; int sy_task_output(struct sy_task *t, const void *d, unsigned long s);"
            "int version(struct sy_task *t) { return sy_task_output(t, VERSION, 2); }\n",
            cc);
        ck_assert_int_eq(pclose(cc), 0);
        struct bench_attempt *a = bench_wait(
            bench_start(&(struct bench_task){.function = "version", .library = path}));
        ck_assert_str_eq(a->output, version);
    }
    ck_assert_uint_eq(bench_status().started, 1);
    bench_close();
}
END_TEST

START_TEST(many_tasks)
{
    open_pool(2, 1);
    enum { N = 20000 };
    struct sch_resources request = {.cpu_milli = 100, .environment = "native"};
    for (int i = 0; i < 100; i++)
        bench_wait(bench_run_function("noop", ""));
    uint64_t first = bench->next_id;
    uint64_t charged = 0;
    while (bench->ended < N) {
        uint64_t live = bench->next_id - bench->ended;
        charged = live < 2 ? live : 2;
        for (; charged < 2 && bench->next_id < N; charged++)
            bench_run_function("noop", "");
        uint32_t more = bench->executor->ops->pipeline(bench->executor, &request);
        for (; more > 0 && bench->next_id < N; more--)
            bench_start(&(struct bench_task){.function = "noop", .pipelined = true});
        bench->executor->ops->flush(bench->executor);
        sy_loop_turn(bench->loop);
    }
    for (uint64_t id = first + 1; id <= N; id++)
        ck_assert_int_eq(bench->attempts[id - 1].result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        results,
        what_cannot_be_loaded_is_refused,
        large_outputs_go_to_a_file,
        output_is_attributed_exactly,
        a_task_that_prints_more_than_a_pipe_holds,
        a_crash_is_lost_and_the_rest_runs,
        all_that_ran_in_it_are_suspects,
        exit_of_a_task_is_the_workers_end,
        cancellation,
        cancellation_of_the_deaf,
        tasks_are_killed_at_once,
        time_limits,
        concurrency_runs_that_many,
        workers_come_by_demand_and_idle_ones_go,
        short_tasks_are_pipelined,
        a_long_task_does_not_hold_up_those_behind_it,
        never_more_than_was_admitted,
        devices_are_fixed_for_a_worker,
        an_environment_without_a_program,
        a_worker_that_sends_garbage,
        a_worker_that_never_speaks,
        a_killed_worker_is_replaced,
        a_frozen_worker_is_replaced,
        a_frozen_agent_does_not_blame_its_workers,
        out_of_memory,
        a_rebuilt_library_is_seen,
        many_tasks,
        NULL,
    };
    return sy_test_run("ag_pool", tests);
}
