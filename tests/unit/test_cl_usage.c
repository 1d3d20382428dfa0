/* links: cl */
#include "base/clock.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/bench_usage.h"
#include "tools/src/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

START_TEST(test_names)
{
    struct bench_usage usage;
    struct sy_error_text error = {""};
    ck_assert_int_eq(bench_usage_parse(&usage, "client=self,shard=123,agent=456", &error), 0);
    ck_assert_uint_eq(usage.count, 3);
    ck_assert_int_eq(usage.processes[0].pid, getpid());
    ck_assert_str_eq(usage.processes[2].name, "agent");
    ck_assert_int_eq(usage.processes[2].pid, 456);
    ck_assert_int_eq(bench_usage_parse(&usage, NULL, &error), 0);
    ck_assert_uint_eq(usage.count, 1); /* the client is always there */
    ck_assert_int_eq(bench_usage_parse(&usage, "shard=1", &error), 0);
    ck_assert_uint_eq(usage.count, 2);
    ck_assert_str_eq(usage.processes[1].name, "client");
    static const char *const wrong[] = {
        "shard", "shard=", "=1", "shard=x", "shard=-1", "a=1,,b=2", "shard=99999999999999999999"};
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        ck_assert_msg(bench_usage_parse(&usage, wrong[i], &error) == -EINVAL, "%s", wrong[i]);
        ck_assert_ptr_nonnull(strstr(error.text, "--pids"));
    }
}
END_TEST

/* So much of a processor, however long it takes to get it. */
static void burn(int64_t cpu_ns)
{
    struct timespec now = {0};
    while (now.tv_sec * SY_NS_PER_S + now.tv_nsec < cpu_ns)
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
}

START_TEST(test_own_time_and_that_of_reaped_children_count)
{
    struct bench_usage usage;
    struct sy_error_text error;
    ck_assert_int_eq(bench_usage_parse(&usage, "client=self", &error), 0);
    bench_usage_begin(&usage);
    pid_t pid = fork();
    if (pid == 0) {
        burn(200 * SY_NS_PER_MS);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    bench_usage_end(&usage);
    ck_assert_uint_gt(bench_usage_cpu_us(&usage, 0), 150000); /* it counts in ticks */
    ck_assert_uint_gt(bench_usage_rss_peak(&usage), 500000);
}
END_TEST

START_TEST(test_a_living_child_counts_for_its_named_parent)
{
    struct bench_usage usage;
    struct sy_error_text error;
    ck_assert_int_eq(bench_usage_parse(&usage, "client=self", &error), 0);
    bench_usage_begin(&usage);
    pid_t pid = fork();
    if (pid == 0) {
        burn(300 * SY_NS_PER_MS);
        pause();
        _exit(0);
    }
    uint64_t seen_us = 0;
    for (int i = 0; i < 5000 && seen_us < 50000; i++) { /* bounded, not timed */
        usleep(20000);
        bench_usage_end(&usage);
        seen_us = bench_usage_cpu_us(&usage, 0);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ck_assert_uint_ge(seen_us, 50000);
}
END_TEST

START_TEST(test_a_process_that_is_gone_counts_nothing)
{
    struct bench_usage usage;
    struct sy_error_text error;
    ck_assert_int_eq(bench_usage_parse(&usage, "ghost=2147483600", &error), 0);
    bench_usage_begin(&usage);
    bench_usage_end(&usage);
    ck_assert_uint_eq(bench_usage_cpu_us(&usage, 0), 0);
}
END_TEST

START_TEST(test_folder_bytes)
{
    char dir[] = "/tmp/test_cl_usage.XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    uint64_t empty = bench_folder_bytes(dir);
    snprintf(path, sizeof(path), "%s/file", dir);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 100000; i++)
        fputs("0123456789", file);
    fflush(file);
    ck_assert_int_eq(fsync(fileno(file)), 0);
    fclose(file);
    ck_assert_uint_ge(bench_folder_bytes(dir), empty + 900000);
    unlink(path);
    rmdir(dir);
    ck_assert_uint_eq(bench_folder_bytes("/no/such/folder"), 0);
}
END_TEST

START_TEST(test_memory_that_grows)
{
    struct bench_usage usage;
    struct sy_error_text error;
    const size_t size = (size_t)32 << 20;
    ck_assert_int_eq(bench_usage_parse(&usage, "shard=self", &error), 0);
    ck_assert_uint_eq(bench_usage_find(&usage, "shard"), 0);
    ck_assert_uint_eq(bench_usage_find(&usage, "agent"), SIZE_MAX);
    bench_usage_begin(&usage);
    uint8_t *memory = sy_malloc(size);
    for (size_t i = 0; i < size; i += 512)
        ((volatile uint8_t *)memory)[i] = 1;
    bench_usage_end(&usage);
    ck_assert_uint_gt(bench_usage_rss_growth(&usage, 0), size / 2);
    bench_usage_begin(&usage);
    free(memory);
    bench_usage_end(&usage);
    ck_assert_uint_lt(bench_usage_rss_growth(&usage, 0), size / 2);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_names,
        test_own_time_and_that_of_reaped_children_count,
        test_a_living_child_counts_for_its_named_parent,
        test_a_process_that_is_gone_counts_nothing,
        test_folder_bytes,
        test_memory_that_grows,
        NULL,
    };
    return sy_test_run("cl_usage", tests);
}
