/* links: cp */
/* Whether a process has ended: real processes of this machine. */
#include "base/mem.h"
#include "controlplane/witness.h"
#include "tests/lib/test.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct world {
    struct sy_loop *loop;
    struct cp_witness *witness;
    struct sy_timer limit;
    bool told;
};

static void on_limit(void *arg)
{
    sy_loop_stop(((struct world *)arg)->loop);
}

static void on_ended(void *arg)
{
    struct world *w = arg;
    w->told = true;
    sy_loop_stop(w->loop);
}

static void open_world(struct world *w)
{
    *w = (struct world){0};
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    w->witness = cp_witness_proc_new(w->loop);
    w->witness->on_ended = on_ended;
    w->witness->ctx = w;
    sy_timer_init(&w->limit, on_limit, w);
}

static void close_world(struct world *w)
{
    sy_timer_stop(w->loop, &w->limit);
    cp_witness_proc_free(w->witness);
    sy_loop_free(w->loop);
}

static void run_for(struct world *w, int64_t ns)
{
    sy_timer_start_in(w->loop, &w->limit, ns);
    ck_assert_int_eq(sy_loop_run(w->loop), 0);
}

static bool has_ended(struct world *w, const char *process)
{
    return w->witness->ops->has_ended(w->witness, process);
}

static pid_t spawn(void)
{
    char name[] = "sleep", time[] = "100", *args[] = {name, time, NULL}, *none[] = {NULL};
    pid_t pid;
    ck_assert_int_eq(posix_spawnp(&pid, "sleep", NULL, NULL, args, none), 0);
    return pid;
}

static unsigned long long start_of(pid_t pid)
{
    char path[64], text[1024] = "";
    unsigned long long start = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, file), 0);
    fclose(file);
    const char *at = strrchr(text, ')');
    for (int field = 2; field < 22; field++)
        at = strchr(at + 1, ' ');
    ck_assert_int_eq(sscanf(at, " %llu", &start), 1);
    return start;
}

struct name {
    char boot[64];
    unsigned long long processes, times;
};

static struct name our_name(const struct world *w)
{
    struct name name;
    int pid;
    ck_assert_int_eq(sscanf(cp_witness_proc_self(w->witness), "%63s %llu %llu %d", name.boot,
                            &name.processes, &name.times, &pid),
                     4);
    ck_assert_int_eq(pid, getpid());
    return name;
}

static const char *text_of(const struct name *name, pid_t pid, unsigned long long start)
{
    static char text[CP_WITNESS_TEXT_SIZE];
    snprintf(text, sizeof(text), "%s %llu %llu %d %llu", name->boot, name->processes, name->times,
             pid, start);
    return text;
}

static void end(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* ---- tests ---- */

START_TEST(the_end_of_a_process_is_told)
{
    struct world w;
    open_world(&w);
    struct name name = our_name(&w);
    pid_t pid = spawn();
    char process[CP_WITNESS_TEXT_SIZE];
    snprintf(process, sizeof(process), "%s", text_of(&name, pid, start_of(pid)));
    ck_assert(!has_ended(&w, process));
    ck_assert_int_eq(kill(pid, SIGSTOP), 0); /* it stands still: that is no end */
    run_for(&w, 50 * SY_NS_PER_MS);
    ck_assert(!w.told && !has_ended(&w, process));
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    run_for(&w, 60 * SY_NS_PER_S);
    ck_assert(w.told); /* nobody has waited for it yet */
    ck_assert(has_ended(&w, process));
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    close_world(&w);
}
END_TEST

START_TEST(who_ended_before_is_known_at_once)
{
    struct world w;
    open_world(&w);
    struct name name = our_name(&w);
    pid_t pid = spawn();
    unsigned long long start = start_of(pid);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert(has_ended(&w, text_of(&name, pid, start)));
    end(pid);
    w.witness->ops->forget(w.witness);
    w.witness->ops->forget(w.witness);
    ck_assert(has_ended(&w, text_of(&name, pid, start)));
    close_world(&w);
}
END_TEST

/* The number goes on under another process. */
START_TEST(a_number_is_not_a_process)
{
    struct world w;
    open_world(&w);
    struct name name = our_name(&w);
    ck_assert(has_ended(&w, text_of(&name, getpid(), start_of(getpid()) - 1)));
    ck_assert(!has_ended(&w, text_of(&name, getpid(), start_of(getpid()))));
    ck_assert(!has_ended(&w, cp_witness_proc_self(w.witness)));
    close_world(&w);
}
END_TEST

/* Another kernel, or other namespaces: what is not to be seen here has not ended for that. */
START_TEST(of_who_is_elsewhere_nothing_is_known)
{
    struct world w;
    open_world(&w);
    struct name name = our_name(&w), other = name;
    pid_t pid = spawn();
    end(pid);
    ck_assert(has_ended(&w, text_of(&name, pid, 1)));
    other.boot[0] = other.boot[0] == '0' ? '1' : '0';
    ck_assert(!has_ended(&w, text_of(&other, pid, 1)));
    other = name;
    other.processes++;
    ck_assert(!has_ended(&w, text_of(&other, pid, 1)));
    other = name;
    other.times++;
    ck_assert(!has_ended(&w, text_of(&other, pid, 1)));
    close_world(&w);
}
END_TEST

START_TEST(nonsense_has_not_ended)
{
    struct world w;
    open_world(&w);
    struct name name = our_name(&w);
    char text[2 * CP_WITNESS_TEXT_SIZE];
    ck_assert(!has_ended(&w, ""));
    ck_assert(!has_ended(&w, "1 2 3 4 5"));
    ck_assert(!has_ended(&w, text_of(&name, 0, 1)));
    ck_assert(!has_ended(&w, text_of(&name, -5, 1)));
    snprintf(text, sizeof(text), "%s x", text_of(&name, getpid(), 1));
    ck_assert(!has_ended(&w, text));
    memset(text, '1', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ck_assert(!has_ended(&w, text));
    close_world(&w);
}
END_TEST

START_TEST(who_is_not_asked_about_is_not_watched)
{
    struct world w;
    open_world(&w);
    struct name name = our_name(&w);
    pid_t pid = spawn();
    ck_assert(!has_ended(&w, text_of(&name, pid, start_of(pid))));
    w.witness->ops->forget(w.witness); /* it was asked about since the last time */
    w.witness->ops->forget(w.witness);
    end(pid);
    run_for(&w, 50 * SY_NS_PER_MS);
    ck_assert(!w.told);
    close_world(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {the_end_of_a_process_is_told,
                                  who_ended_before_is_known_at_once,
                                  a_number_is_not_a_process,
                                  of_who_is_elsewhere_nothing_is_known,
                                  nonsense_has_not_ended,
                                  who_is_not_asked_about_is_not_watched,
                                  NULL};
    return sy_test_run("cp_witness", tests);
}
