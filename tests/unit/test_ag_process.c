/* links: ag */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_exec_util.h"

#include <fcntl.h>
#include <signal.h>

/* Cold processes through the production executor. */

struct run {
    const char *script; /* for sh -c; or */
    const char *const *args;
    const char *input;
    uint64_t memory_bytes;
    int64_t timeout_ns;
    size_t inline_max;
    const char *gpus;
    const struct ag_gang *gang;
};

static uint64_t start(const struct run *run)
{
    const char *shell[] = {"/bin/sh", "-c", run->script, NULL};
    static const char *const env[] = {"COLOUR=green", NULL};
    struct ag_work work = {
        .id = ++bench->next_id,
        .run = "p/d/r1",
        .name = "a0",
        .number = 3,
        .epoch = 3,
        .attempt = 2, /* the first was given back unstarted */
        .gpus = run->gpus ? run->gpus : "",
        .type = "switchyard.process",
        .args = run->args ? run->args : shell,
        .env = env,
        .timeout_ns = run->timeout_ns,
        .gang = run->gang,
        .inline_bytes_max = run->inline_max ? run->inline_max : 65536,
    };
    work.request.memory_bytes = run->memory_bytes;
    work.request.cpu_milli = 100;
    if (run->input != NULL)
        work.input = (struct sy_span){(const uint8_t *)run->input, strlen(run->input)};
    bench->executor->ops->start(bench->executor, &work);
    return work.id;
}

static struct bench_attempt *shell(const char *script)
{
    return bench_wait(start(&(struct run){.script = script}));
}

START_TEST(ends)
{
    bench_open(NULL, 0, AG_CGROUP_NONE);
    struct bench_attempt *a = shell("exit 0");
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert(a->started);
    a = shell("echo first >&2; echo 'what went wrong' >&2; exit 4");
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_str_eq(a->code, "ExitCode");
    ck_assert_str_eq(a->message, "the process exited with status 4: what went wrong");
    a = shell("kill -SEGV $$");
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_ptr_nonnull(strstr(a->message, "signal 11 (SIGSEGV)"));
    a = shell("kill -KILL $$");
    ck_assert_int_eq(a->result.kind, AG_RESULT_LOST);
    ck_assert_int_eq(a->result.death, AG_DEATH_ALONE);
    const char *missing[] = {"no-such-program", NULL};
    a = bench_wait(start(&(struct run){.args = missing}));
    ck_assert_int_eq(a->result.kind, AG_RESULT_REFUSED);
    ck_assert_ptr_nonnull(strstr(a->message, "cannot be executed: No such file"));
    bench_close();
}
END_TEST

START_TEST(streams_input_and_output)
{
    bench_open(NULL, 0, AG_CGROUP_NONE);
    uint64_t id = start(&(struct run){
        .script = "cat; cat $SWITCHYARD_INPUT_PATH >&2; printf result > $SWITCHYARD_OUTPUT_PATH",
        .input = "the input"});
    struct bench_attempt *a = bench_wait(id);
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert_str_eq(bench_log(id, 1), "the input");
    ck_assert_str_eq(bench_log(id, 2), "the input");
    ck_assert_str_eq(a->output, "result");
    id = start(&(struct run){.script = "head -c 5000 /dev/zero > $SWITCHYARD_OUTPUT_PATH",
                             .inline_max = 4999});
    a = bench_wait(id);
    struct stat stat_;
    ck_assert_int_eq(stat(a->output_path, &stat_), 0);
    ck_assert_int_eq(stat_.st_size, 5000);
    id = start(&(struct run){.script = "seq 1 100000"});
    bench_wait(id);
    ck_assert_ptr_nonnull(strstr(bench_log(id, 1), "\n100\n101\n"));
    bench_close();
}
END_TEST

/* Each turn of its loop takes more than a second: what lies in the pipes is read all the same. */
START_TEST(a_slow_agent_hears_the_last_words)
{
    bench_open(NULL, 0, AG_CGROUP_NONE);
    uint64_t id = start(&(struct run){
        .script = "head -c 60000 /dev/zero | tr '\\0' x >&2; printf '\nthe end\n' >&2; exit 4"});
    for (int i = 0; i < 60 && !bench->attempts[id - 1].ended; i++) {
        sy_loop_turn(bench->loop);
        nanosleep(&(struct timespec){1, 100000000}, NULL);
    }
    ck_assert_str_eq(bench_wait(id)->message, "the process exited with status 4: the end");
    bench_close();
}
END_TEST

START_TEST(its_environment)
{
    bench_open(NULL, 0, AG_CGROUP_NONE);
    uint64_t id = start(&(struct run){
        .script = "echo $SWITCHYARD_RUN $SWITCHYARD_ACTION $SWITCHYARD_ATTEMPT "
                  "$SWITCHYARD_FENCING_TOKEN $SWITCHYARD_NODE $COLOUR $CUDA_VISIBLE_DEVICES; "
                  "test -z \"$(ls -A)\" && echo empty; touch x; mkdir y; touch y/z",
        .gpus = "1,2"});
    bench_wait(id);
    ck_assert_str_eq(bench_log(id, 1), "p/d/r1 a0 2 0000000003.0000000003 n1 green 1,2\nempty\n");
    char dir[160];
    snprintf(dir, sizeof(dir), "%s/work/%d", bench->dir, (int)id);
    ck_assert_int_ne(access(dir, F_OK), 0); /* its directory went with it */
    bench_close();
}
END_TEST

START_TEST(its_gang)
{
    struct ag_gang gang = {
        .id = 0x10000000002, .rank = 1, .size = 4, .host = "h1", .port = 29501, .secret = "5ec7e7"};
    const char *script = "echo $SWITCHYARD_GANG_ID $SWITCHYARD_GANG_RANK $SWITCHYARD_GANG_SIZE "
                         "$SWITCHYARD_GANG_ADDRESS $SWITCHYARD_GANG_SECRET $RANK $WORLD_SIZE "
                         "$MASTER_ADDR $MASTER_PORT";
    bench_open(NULL, 0, AG_CGROUP_NONE);
    uint64_t id = start(&(struct run){.script = script, .gang = &gang});
    bench_wait(id);
    ck_assert_str_eq(bench_log(id, 1), "0000010000000002 1 4 h1:29501 5ec7e7 1 4 h1 29501\n");
    gang.host = "fd00::7";
    id = start(&(struct run){.script = "echo $SWITCHYARD_GANG_ADDRESS", .gang = &gang});
    bench_wait(id);
    ck_assert_str_eq(bench_log(id, 1), "[fd00::7]:29501\n");
    id = start(&(struct run){.script = "echo ${SWITCHYARD_GANG_ID-none} ${RANK-none}"});
    bench_wait(id);
    ck_assert_str_eq(bench_log(id, 1), "none none\n");
    bench_close();
}
END_TEST

/* Once it has said something; what it said. */
static const char *cancelled(const char *script)
{
    uint64_t id = start(&(struct run){.script = script});
    ck_assert(RUN_UNTIL(bench->loop, bench_log(id, 1)[0] != '\0'));
    bench->executor->ops->cancel(bench->executor, id, "test");
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_CANCELLED);
    return bench_log(id, 1);
}

START_TEST(cancel_and_time_limit)
{
    bench_open(NULL, 0, AG_CGROUP_NONE);
    const char *last = cancelled("trap 'echo stopping; exit 1' TERM; echo set; sleep 1000 & wait");
    ck_assert_str_eq(last, "set\nstopping\n");
    uint64_t id = start(&(struct run){.script = "sleep 1000", .timeout_ns = 50 * SY_NS_PER_MS});
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_TIMED_OUT);
    bench_close();
    bench_grace_ns = 100 * SY_NS_PER_MS;
    bench_open(NULL, 0, AG_CGROUP_NONE);
    cancelled("trap '' TERM; echo set; sleep 1000 & wait; sleep 1000");
    bench_close();
}
END_TEST

static int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SY_NS_PER_S + now.tv_nsec;
}

/* Returns when there is a line in the file, which is removed. */
static long take_number(const char *path)
{
    for (;;) {
        FILE *file = fopen(path, "re");
        char line[32] = "";
        const char *got = file != NULL ? fgets(line, sizeof(line), file) : NULL;
        if (file != NULL)
            fclose(file);
        if (got != NULL && strchr(line, '\n') != NULL) {
            unlink(path);
            return strtol(line, NULL, 10);
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* The agent stands still from before the end until after the time limit. Where it took the machine
 * longer than the limit to get there, either is right. */
START_TEST(what_ended_in_time_is_not_timed_out)
{
    bench_open(NULL, 0, AG_CGROUP_NONE);
    const char *dir = scratch();
    char pid_file[600], script[1500];
    snprintf(pid_file, sizeof(pid_file), "%s/pid", dir);
    snprintf(script, sizeof(script), "echo $$ > %s; while [ -e %s ]; do :; done; exit 3", pid_file,
             pid_file);
    int64_t limit_ns = SY_NS_PER_S, began_ns = monotonic_ns();
    uint64_t id = start(&(struct run){.script = script, .timeout_ns = limit_ns});
    bench->executor->ops->flush(bench->executor);
    ck_assert(RUN_UNTIL(bench->loop, bench->attempts[id - 1].started));
    long pid = take_number(pid_file);
    while (kill((pid_t)pid, 0) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    int64_t ended_ns = monotonic_ns();
    nanosleep(&(struct timespec){1, 100000000}, NULL); /* since it was heard of its start */
    enum ag_result_kind kind = bench_wait(id)->result.kind;
    ck_assert_msg(kind == AG_RESULT_FAILED || ended_ns - began_ns >= limit_ns, "%d", (int)kind);
    remove_scratch(dir);
    bench_close();
}
END_TEST

/* Whether it was asked before or not, and whatever its grace is. */
START_TEST(it_is_killed_at_once)
{
    bench_open(NULL, 0, AG_CGROUP_NONE);
    for (int asked = 0; asked < 2; asked++) {
        uint64_t id = start(&(struct run){.script = "trap '' TERM; sleep 100 & wait; sleep 100"});
        ck_assert(RUN_UNTIL(bench->loop, bench->attempts[id - 1].started));
        if (asked)
            bench->executor->ops->cancel(bench->executor, id, "test");
        bench->executor->ops->kill(bench->executor, id);
        ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_CANCELLED);
        bench->executor->ops->kill(bench->executor, id); /* it has ended */
    }
    bench_close();
}
END_TEST

/* Ends once it has left one that has a session of its own, and says which. */
#define LEAVES(what)                                                                               \
    "setsid sh -c 'echo $$; > it_has; " what "' & until test -e it_has; do sleep 0.01; done"
#define LEAVES_ONE LEAVES("exec sleep 1000")

START_TEST(what_is_left_running_does_not_hold_it_up)
{
    const char *const scripts[] = {LEAVES_ONE, LEAVES("while echo x; do sleep 0.05; done")};
    bench_open(NULL, 0, AG_CGROUP_NONE);
    for (size_t i = 0; i < SY_COUNT_OF(scripts); i++) {
        uint64_t id = start(&(struct run){.script = scripts[i]});
        struct bench_attempt *a = bench_wait(id);
        ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
        pid_t left = (pid_t)strtol(bench_log(id, 1), NULL, 10);
        ck_assert(left > 1 && !process_gone(left));
        kill(left, SIGKILL);
    }
    bench_close();
}
END_TEST

START_TEST(a_group_kills_what_has_left_the_session)
{
    bench_open(NULL, 0, AG_CGROUP_AUTO);
    if (!ag_cgroups_can_kill(bench->cgroups)) {
        printf("skipped: no control group can be written here\n");
        bench_close();
        return;
    }
    uint64_t id = start(&(struct run){.script = LEAVES_ONE});
    bench_wait(id);
    pid_t left = (pid_t)strtol(bench_log(id, 1), NULL, 10);
    ck_assert_int_gt(left, 1);
    ck_assert(RUN_UNTIL(bench->loop, process_gone(left)));
    bench_close();
}
END_TEST

START_TEST(out_of_memory)
{
    bench_open(NULL, 0, AG_CGROUP_AUTO);
    if (!ag_cgroups_limit_memory(bench->cgroups)) {
        printf("skipped: no control group limits memory here\n");
        bench_close();
        return;
    }
    uint64_t id = start(
        &(struct run){.script = "head -c 200000000 /dev/zero | tail -c 150000000 > /dev/null",
                      .memory_bytes = 32 << 20});
    struct bench_attempt *a = bench_wait(id);
    ck_assert_int_eq(a->result.kind, AG_RESULT_OUT_OF_MEMORY);
    ck_assert_str_eq(a->message, "it reached its limit of 32 MiB");
    ck_assert_uint_ge(a->result.memory_peak_bytes, 30 << 20);
    ck_assert_uint_le(a->result.memory_peak_bytes, 32 << 20);
    /* The group is used again, with another limit: nothing of the first is left. */
    id = start(&(struct run){.script = "head -c 20000000 /dev/zero | tail -c 20000000 > /dev/null",
                             .memory_bytes = 256 << 20});
    a = bench_wait(id);
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    ck_assert_uint_gt(a->result.memory_peak_bytes, 10 << 20);
    bench_close();
}
END_TEST

START_TEST(many_processes)
{
    static const char *const argv[] = {"/bin/true", NULL};
    for (int groups = 0; groups < 2; groups++) {
        bench_open(NULL, 0, groups ? AG_CGROUP_AUTO : AG_CGROUP_NONE);
        for (int i = 0; i < 300; i++) {
            start(&(struct run){.args = argv, .memory_bytes = 64 << 20});
            while (bench->next_id - bench->ended >= 8)
                sy_loop_turn(bench->loop);
        }
        for (uint64_t id = 1; id <= 300; id++)
            ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
        bench_close();
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        ends,
        streams_input_and_output,
        a_slow_agent_hears_the_last_words,
        its_environment,
        its_gang,
        cancel_and_time_limit,
        what_ended_in_time_is_not_timed_out,
        it_is_killed_at_once,
        what_is_left_running_does_not_hold_it_up,
        a_group_kills_what_has_left_the_session,
        out_of_memory,
        many_processes,
        NULL,
    };
    return sy_test_run("ag_process", tests);
}
