/* links: ag */
#include "agent/spawner.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tests/unit/test_ag_util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

struct process {
    struct ag_child child;
    bool started, failed, exited;
    int error, status;
    bool spawner_died;
    char what[128];
    int output; /* read end of its stdout; -1 */
};

static unsigned ended_count;

static void on_started(struct ag_child *child, pid_t pid)
{
    struct process *p = (struct process *)child;
    ck_assert(!p->started && !p->exited && !p->failed);
    ck_assert_int_gt(pid, 1);
    p->started = true;
}

static void on_failed(struct ag_child *child, int error, const char *what)
{
    struct process *p = (struct process *)child;
    p->failed = true;
    p->error = error;
    snprintf(p->what, sizeof(p->what), "%s", what);
    ended_count++;
}

static void on_exited(struct ag_child *child, const struct ag_child_exit *exit)
{
    struct process *p = (struct process *)child;
    ck_assert(!p->exited && !p->failed);
    p->exited = true;
    p->status = exit->status;
    p->spawner_died = exit->spawner_died;
    ended_count++;
}

static const struct ag_child_events events = {on_started, on_failed, on_exited};

static struct sy_loop *loop;
static struct ag_spawner *spawner;

static void setup(void)
{
    struct sy_error_text error;
    ck_assert_int_eq(sy_loop_new(&loop, NULL), 0);
    int r = ag_spawner_new(&spawner, loop, beside("switchyard-spawner"), NULL, &error);
    ck_assert_msg(r == 0, "%s", r < 0 ? error.text : "");
    ended_count = 0;
}

static void teardown(void)
{
    ag_spawner_free(spawner);
    sy_loop_free(loop);
}

static int start(struct process *p, const char *const *argv, const char *const *env)
{
    static const char *const no_env[] = {"PATH=/usr/bin:/bin", NULL};
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    memset(p, 0, sizeof(*p));
    p->child.events = &events;
    p->output = fds[0];
    const struct ag_spawn_fd list[] = {{fds[1], 1}, {fds[1], 2}};
    struct ag_spawn spawn = {.argv = argv, .env = env ? env : no_env, .fds = list, .fd_count = 2};
    int r = ag_spawner_start(spawner, &p->child, &spawn);
    close(fds[1]);
    return r;
}

static void run_shell(struct process *p, const char *script)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    ck_assert_int_eq(start(p, argv, NULL), 0);
}

START_TEST(exit_codes_and_signals)
{
    setup();
    struct process ok, three, killed;
    run_shell(&ok, "exit 0");
    run_shell(&three, "exit 3");
    run_shell(&killed, "kill -SEGV $$");
    ck_assert(RUN_UNTIL(loop, ended_count == 3));
    ck_assert(ok.started && ok.exited && WIFEXITED(ok.status) && WEXITSTATUS(ok.status) == 0);
    ck_assert_int_eq(three.status, 3 << 8);
    ck_assert(WIFSIGNALED(killed.status) && WTERMSIG(killed.status) == SIGSEGV);
    close(ok.output), close(three.output), close(killed.output);
    teardown();
}
END_TEST

START_TEST(what_cannot_be_started)
{
    setup();
    struct process missing, no_dir;
    const char *argv[] = {"no-such-program-anywhere", NULL};
    ck_assert_int_eq(start(&missing, argv, NULL), 0);
    memset(&no_dir, 0, sizeof(no_dir));
    no_dir.child.events = &events;
    const char *true_argv[] = {"/bin/true", NULL}, *env[] = {NULL};
    struct ag_spawn spawn = {.argv = true_argv, .env = env, .cwd = "/no/such/directory"};
    ck_assert_int_eq(ag_spawner_start(spawner, &no_dir.child, &spawn), 0);
    ck_assert(RUN_UNTIL(loop, ended_count == 2));
    ck_assert(missing.failed && !missing.started && missing.error == ENOENT);
    ck_assert_ptr_nonnull(strstr(missing.what, "executed"));
    ck_assert(no_dir.failed && no_dir.error == ENOENT);
    ck_assert_ptr_nonnull(strstr(no_dir.what, "directory"));
    close(missing.output);
    teardown();
}
END_TEST

START_TEST(too_many_arguments)
{
    setup();
    char *big = sy_malloc(300000);
    memset(big, 'a', 299999);
    big[299999] = '\0';
    const char *argv[] = {"/bin/true", big, NULL};
    struct process p;
    ck_assert_int_eq(start(&p, argv, NULL), E2BIG);
    ck_assert(!RUN_WITHIN(loop, ended_count > 0, 50));
    free(big);
    close(p.output);
    teardown();
}
END_TEST

START_TEST(its_descriptors_and_environment)
{
    setup();
    struct process p;
    const char *argv[] = {"/bin/sh", "-c", "ls /proc/self/fd | tr '\\n' ' '; echo $GREETING; pwd",
                          NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", "GREETING=good day", NULL};
    ck_assert_int_eq(start(&p, argv, env), 0);
    ck_assert(RUN_UNTIL(loop, ended_count == 1));
    char text[256] = "";
    ck_assert_int_gt(read(p.output, text, sizeof(text) - 1), 0);
    /* 1, 2 and the directory that ls reads: stdin was not given, nothing leaked */
    ck_assert_msg(strncmp(text, "0 1 2 good day", 14) == 0, "%s", text);
    close(p.output);
    teardown();
}
END_TEST

START_TEST(kill_reaches_the_whole_group)
{
    setup();
    struct process p;
    run_shell(&p, "sleep 100 & echo $!; wait");
    char text[32] = "";
    ck_assert(RUN_UNTIL(loop, p.started && read(p.output, text, sizeof(text) - 1) > 0));
    pid_t grandchild = (pid_t)strtol(text, NULL, 10);
    ck_assert(!process_gone(grandchild));
    ag_spawner_kill(spawner, &p.child, SIGKILL);
    ck_assert(RUN_UNTIL(loop, p.exited));
    ck_assert(WIFSIGNALED(p.status) && WTERMSIG(p.status) == SIGKILL);
    ck_assert(RUN_UNTIL(loop, process_gone(grandchild)));
    close(p.output);
    teardown();
}
END_TEST

START_TEST(what_a_leader_leaves_behind_is_killed)
{
    setup();
    struct process p;
    run_shell(&p, "sleep 100 & echo $!");
    ck_assert(RUN_UNTIL(loop, p.exited));
    ck_assert(WIFEXITED(p.status));
    char text[32] = "";
    ck_assert_int_gt(read(p.output, text, sizeof(text) - 1), 0);
    pid_t left = (pid_t)strtol(text, NULL, 10);
    ck_assert(RUN_UNTIL(loop, process_gone(left)));
    close(p.output);
    teardown();
}
END_TEST

START_TEST(many)
{
    setup();
    enum { MANY = 400 };
    struct process *all = sy_calloc(MANY, sizeof(*all));
    for (int i = 0; i < MANY; i++) {
        const char *argv[] = {"/bin/true", NULL};
        ck_assert_int_eq(start(&all[i], argv, NULL), 0);
    }
    ck_assert(RUN_UNTIL(loop, ended_count == MANY));
    for (int i = 0; i < MANY; i++) {
        ck_assert_msg(all[i].exited, "process %d: %s: %s", i, all[i].what, strerror(all[i].error));
        ck_assert(all[i].started);
        ck_assert_int_eq(all[i].status, 0);
        close(all[i].output);
    }
    free(all);
    teardown();
}
END_TEST

START_TEST(its_end_is_the_end_of_all)
{
    setup();
    struct process p;
    run_shell(&p, "sleep 100 & echo $!; wait");
    char text[32] = "";
    ck_assert(RUN_UNTIL(loop, p.started && read(p.output, text, sizeof(text) - 1) > 0));
    pid_t leader = p.child.pid;
    ag_spawner_free(spawner);
    ck_assert(RUN_UNTIL(loop, process_gone(leader)));
    close(p.output);
    sy_loop_free(loop);
}
END_TEST

START_TEST(a_dead_spawner_is_replaced)
{
    setup();
    struct process p, later;
    run_shell(&p, "sleep 100");
    ck_assert(RUN_UNTIL(loop, p.started));
    char command[64], text[64] = "";
    snprintf(command, sizeof(command), "ps -o ppid= -p %d", (int)p.child.pid);
    FILE *ps = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), ps));
    pclose(ps);
    pid_t leader = p.child.pid;
    kill((pid_t)strtol(text, NULL, 10), SIGKILL);
    ck_assert(RUN_UNTIL(loop, p.exited));
    ck_assert(p.spawner_died);
    const char *argv[] = {"/bin/true", NULL};
    ck_assert_int_eq(start(&later, argv, NULL), EAGAIN);
    close(later.output);
    ck_assert(RUN_UNTIL(loop, process_gone(leader))); /* PDEATHSIG */
    int r = EAGAIN;
    ck_assert(
        RUN_UNTIL(loop, (r = start(&later, argv, NULL)) == 0 || (close(later.output), false)));
    ck_assert_int_eq(r, 0);
    ck_assert(RUN_UNTIL(loop, later.exited));
    close(p.output);
    close(later.output);
    teardown();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        exit_codes_and_signals,
        what_cannot_be_started,
        too_many_arguments,
        its_descriptors_and_environment,
        kill_reaches_the_whole_group,
        what_a_leader_leaves_behind_is_killed,
        many,
        its_end_is_the_end_of_all,
        a_dead_spawner_is_replaced,
        NULL,
    };
    return sy_test_run("ag_spawner", tests);
}
