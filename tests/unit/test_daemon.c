/* links: sy_base */
#include "base/daemon.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define TEST_EVENTS(X) X(EV_WORKING, INFO, "working")
SY_LOG_TABLE_DECLARE(test_events, TEST_EVENTS)
SY_LOG_TABLE_DEFINE(test_events, "test", TEST_EVENTS)

struct signals {
    struct sy_loop *loop;
    struct sy_daemon daemon;
    int got[8];
    unsigned count;
};

static void on_signal(void *arg, int signal)
{
    struct signals *s = arg;
    s->got[s->count++] = signal;
}

static void signals_init(struct signals *s)
{
    *s = (struct signals){0};
    ck_assert_int_eq(sy_loop_new(&s->loop, NULL), 0);
    ck_assert_int_eq(sy_daemon_init(&s->daemon, s->loop, on_signal, s), 0);
}

static void signals_deinit(struct signals *s)
{
    sy_daemon_deinit(&s->daemon);
    sy_daemon_deinit(&s->daemon); /* again: nothing */
    sy_loop_free(s->loop);
    sy_daemon_reset_signals();
}

START_TEST(test_signals_arrive_on_the_loop)
{
    struct signals s;
    signals_init(&s);
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGINT);
    kill(getpid(), SIGHUP);
    ck_assert_uint_eq(s.count, 0); /* not before the loop turns */
    for (int i = 0; i < 4; i++)
        sy_loop_turn(s.loop);
    ck_assert_uint_eq(s.count, 3);
    int sum = s.got[0] + s.got[1] + s.got[2];
    ck_assert_int_eq(sum, SIGTERM + SIGINT + SIGHUP);
    signals_deinit(&s);
}
END_TEST

static void stop_on_signal(void *arg, int signal)
{
    struct signals *s = arg;
    on_signal(arg, signal);
    sy_loop_stop(s->loop);
}

START_TEST(test_run_ends_by_a_signal)
{
    struct signals s;
    signals_init(&s);
    s.daemon.on_signal = stop_on_signal;
    kill(getpid(), SIGTERM);
    ck_assert_int_eq(sy_loop_run(s.loop), 0);
    ck_assert_int_eq(s.got[0], SIGTERM);
    signals_deinit(&s);
}
END_TEST

START_TEST(test_broken_pipe_is_an_error_code)
{
    struct signals s;
    int fds[2];
    signals_init(&s);
    ck_assert_int_eq(pipe(fds), 0);
    close(fds[0]);
    ck_assert_int_eq(write(fds[1], "x", 1), -1);
    ck_assert_int_eq(errno, EPIPE);
    close(fds[1]);
    signals_deinit(&s);
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    ck_assert_int_eq(sigismember(&blocked, SIGTERM), 0);
    struct sigaction action;
    sigaction(SIGPIPE, NULL, &action);
    ck_assert(action.sa_handler == SIG_DFL);
}
END_TEST

static void read_text(int fd, char *ret_text, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len < size - 1 && (n = read(fd, ret_text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    ret_text[len] = 0;
}

START_TEST(test_pid_file)
{
    struct signals s;
    struct sy_error_text error = {""};
    char dir[] = "/tmp/sy_test_daemon_XXXXXX", path[64], text[64], expected[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/pid", dir);
    FILE *stale = fopen(path, "w"); /* of a crashed process, and longer than ours */
    ck_assert_ptr_nonnull(stale);
    fputs("123456789012345678\n", stale);
    fclose(stale);
    signals_init(&s);
    ck_assert_int_eq(sy_daemon_write_pid(&s.daemon, path, &error), 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    read_text(fd, text, sizeof(text));
    close(fd);
    snprintf(expected, sizeof(expected), "%d\n", (int)getpid());
    ck_assert_str_eq(text, expected);
    signals_deinit(&s);
    ck_assert_int_eq(access(path, F_OK), -1);
    rmdir(dir);
}
END_TEST

START_TEST(test_pid_file_held_by_another)
{
    struct signals s;
    struct sy_error_text error = {""};
    char path[] = "/tmp/sy_test_daemon_XXXXXX";
    int fd = mkstemp(path); /* a lock of another open file is as good as another process's */
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "4711\n", 5), 5);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    signals_init(&s);
    ck_assert_int_eq(sy_daemon_write_pid(&s.daemon, path, &error), -EBUSY);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    ck_assert_ptr_nonnull(strstr(error.text, "4711"));
    signals_deinit(&s);
    ck_assert_int_eq(access(path, F_OK), 0); /* it is not ours to remove */
    unlink(path);
    close(fd);
}
END_TEST

START_TEST(test_pid_file_that_cannot_be)
{
    struct signals s;
    struct sy_error_text error = {""};
    signals_init(&s);
    ck_assert_int_eq(sy_daemon_write_pid(&s.daemon, "/nonexistent/pid", &error), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "/nonexistent/pid"));
    signals_deinit(&s);
}
END_TEST

START_TEST(test_ready_line)
{
    int fds[2], saved = dup(STDOUT_FILENO);
    char text[64];
    ck_assert_int_eq(pipe(fds), 0);
    fflush(stdout);
    dup2(fds[1], STDOUT_FILENO);
    close(fds[1]);
    sy_daemon_ready("shard 127.0.0.1:8090");
    dup2(saved, STDOUT_FILENO);
    close(saved);
    read_text(fds[0], text, sizeof(text));
    close(fds[0]);
    ck_assert_str_eq(text, "ready shard 127.0.0.1:8090\n");
}
END_TEST

static void overflow_stack(volatile char *above)
{
    volatile char frame[4096];
    frame[0] = *above;
    if (*above) /* always; the compiler must not see that it never ends */
        overflow_stack(frame);
    frame[1] = frame[0];
}

enum crash { CRASH_ASSERT, CRASH_SIGNAL, CRASH_STACK };

static void crash_in_child(enum crash crash, int signal, int stderr_fd)
{
    struct sy_log *log = sy_log_new(open("/dev/null", O_WRONLY), SY_LOG_INFO, NULL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    dup2(stderr_fd, STDERR_FILENO);
    sy_daemon_dump_on_abort(log);
    sy_log(log, &test_events, EV_WORKING, SY_STR("on", "the-last-thing"));
    if (crash == CRASH_ASSERT)
        SY_ASSERT(signal == 0);
    if (crash == CRASH_STACK)
        overflow_stack((volatile char[]){1});
    kill(getpid(), signal);
    _exit(0);
}

/* The status of a child that crashes, and what it wrote to stderr. */
static int crash_status(enum crash crash, int signal, char *ret_text, size_t size)
{
    int fds[2], status = 0;
    ck_assert_int_eq(pipe(fds), 0);
    fflush(stdout);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        crash_in_child(crash, signal, fds[1]);
    close(fds[1]);
    read_text(fds[0], ret_text, size);
    close(fds[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

START_TEST(test_fatal_signals_dump_the_log)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    char text[4096], expected[32];
    for (size_t i = 0; i < SY_COUNT_OF(signals); i++) {
        int status = crash_status(CRASH_SIGNAL, signals[i], text, sizeof(text));
        ck_assert(WIFSIGNALED(status));
        ck_assert_int_eq(WTERMSIG(status), signals[i]);
        snprintf(expected, sizeof(expected), "fatal signal %02d;", signals[i]);
        ck_assert_ptr_nonnull(strstr(text, expected));
        ck_assert_uint_eq(count_of(text, "on=the-last-thing"), 1);
    }
}
END_TEST

START_TEST(test_assertion_dumps_the_log)
{
    char text[4096];
    int status = crash_status(CRASH_ASSERT, SIGTERM, text, sizeof(text));
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
    ck_assert_ptr_nonnull(strstr(text, "assertion failed: signal == 0"));
    ck_assert_uint_eq(count_of(text, "on=the-last-thing"), 1);
}
END_TEST

START_TEST(test_stack_overflow_dumps_the_log)
{
    char text[4096];
    int status = crash_status(CRASH_STACK, 0, text, sizeof(text));
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_uint_eq(count_of(text, "on=the-last-thing"), 1);
}
END_TEST

START_TEST(test_raise_nofile)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max / 2;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    uint64_t files = 0;
    ck_assert_int_eq(sy_daemon_raise_nofile(&files), 0);
    ck_assert_uint_eq(files, limit.rlim_max);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(limit.rlim_cur, limit.rlim_max);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_signals_arrive_on_the_loop,
        test_run_ends_by_a_signal,
        test_broken_pipe_is_an_error_code,
        test_pid_file,
        test_pid_file_held_by_another,
        test_pid_file_that_cannot_be,
        test_ready_line,
        test_fatal_signals_dump_the_log,
        test_assertion_dumps_the_log,
        test_stack_overflow_dumps_the_log,
        test_raise_nofile,
        NULL,
    };
    return sy_test_run("daemon", tests);
}
