/* links: ag */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_exec_util.h"

#include "base/file.h"

#include <fcntl.h>
#include <signal.h>

/* The warm Python interpreter, with a package in place of Flyte's SDK: its a0 runs its argument. */

static const char *const package[][2] = {
    {"certifi.py", "def where(): return '/authorities'\n"},
    {"flyte/__init__.py", "import threading, asyncio, ssl\n"
                          "contexts = []\n"
                          "def make(**options):\n"
                          "  contexts.append(options)\n"
                          "  return object()\n"
                          "ssl.create_default_context = make\n"
                          "class Loop:\n"
                          "  def __init__(self):\n"
                          "    self.loop = asyncio.new_event_loop()\n"
                          "    threading.Thread(target=self.run, daemon=True).start()\n"
                          "  def run(self): self.loop.run_forever()\n"
                          "background = Loop()\n"
                          "async def where(): return threading.current_thread().name\n"},
    {"flyte/_bin/runtime.py", "import sys\ndef main(): exec(sys.argv[1])\n"},
    {"flyte/_internal/runtime/rusty.py",
     "import asyncio\n"
     "loads = 0\n"
     "class Controller:\n"
     "  async def watch_for_errors(self): await asyncio.Event().wait()\n"
     "async def create_controller(endpoint, insecure): return Controller()\n"
     "async def download_tgz(dest, version, tgz): return tgz\n"
     "def load_task_from_code_bundle(resolver, args):\n"
     "  global loads\n"
     "  loads += 1\n"
     "  return args[0]\n"
     "async def run_task(task, controller, org, project, domain, run, name, raw, outputs, base,\n"
     "                   version, **more):\n"
     "  scope = dict(outputs=outputs, name=name, loads=loads, asyncio=asyncio)\n"
     "  exec('async def body():\\n ' + task, scope)\n"
     "  await scope['body']()\n"},
    {"flyte/_internal/runtime/convert.py",
     "class Told: pass\n"
     "def convert_from_native_to_error(error):\n"
     "  told = Told(); told.err = str(error); told.recoverable = True\n"
     "  return told\n"},
    {"flyte/_internal/runtime/io.py",
     "async def upload_error(error, path, recoverable): open(path, 'w').write(error)\n"},
};

static char cwd[200];

static void open_python(enum ag_cgroup_mode cgroups)
{
    bench_open(NULL, 0, cgroups);
    snprintf(cwd, sizeof(cwd), "%s/cwd", bench->dir);
    ck_assert_int_eq(sy_mkdir_p(cwd, 0755), 0);
    for (size_t i = 0; i < SY_COUNT_OF(package); i++) {
        char path[300];
        snprintf(path, sizeof(path), "%s/%s", bench->dir, package[i][0]);
        *strrchr(path, '/') = '\0';
        ck_assert_int_eq(sy_mkdir_p(path, 0755), 0);
        path[strlen(path)] = '/';
        ck_assert_int_eq(sy_file_write_atomic(path, package[i][1], strlen(package[i][1])), 0);
    }
}

struct program {
    const char *code;
    bool reuse;
    uint32_t concurrency;
    int64_t timeout_ns, remove_ns;
    uint64_t memory_bytes;
    bool leaks; /* its worker may hold one byte */
};

static uint64_t start(const struct program *program)
{
    char path[300], name[32];
    snprintf(path, sizeof(path), "PYTHONPATH=%s", bench->dir);
    snprintf(name, sizeof(name), "action-%d", (int)bench->next_id + 1);
    const char *pool_env[] = {path, "SHAPE=round", program->leaks ? "SWITCHYARD_RSS_MAX=1" : NULL,
                              NULL};
    const char *command[] = {"python3", beside("switchyard_worker.py"),
                             program->reuse ? "reuse" : "fork", NULL};
    const struct ag_pool_options pool = {
        .environment = program->reuse ? "reuse" : "fork",
        .command = command,
        .env = pool_env,
        .max = 1,
        .concurrency = program->concurrency ? program->concurrency : 8,
        .idle_ns = BENCH_PATIENCE_NS,
        .remove_ns = program->remove_ns ? program->remove_ns : BENCH_PATIENCE_NS,
        .forks = !program->reuse};
    const char *env[] = {path,
                         "COLOUR=blue",
                         "_U_EP_OVERRIDE=localhost:1",
                         "_U_ORG_NAME=o",
                         "_U_RUN_BASE=/r",
                         "FLYTE_INTERNAL_EXECUTION_PROJECT=p",
                         "FLYTE_INTERNAL_EXECUTION_DOMAIN=d",
                         NULL};
    char outputs[300];
    snprintf(outputs, sizeof(outputs), "%s/outputs", cwd);
    const char *fork_args[] = {"/venv/bin/a0", program->code, NULL};
    const char *reuse_args[] = {"a0",
                                "--inputs",
                                "/i",
                                "--outputs-path",
                                outputs,
                                "--version",
                                "v",
                                "--run-name",
                                "r1",
                                "--name",
                                name,
                                "--run-start-time",
                                "2020-01-01T00:00:00Z",
                                "--tgz",
                                "/x.tgz",
                                "--dest",
                                ".",
                                "--resolver",
                                "a.b",
                                program->code,
                                NULL};
    struct ag_work work = {.id = ++bench->next_id,
                           .run = "p/d/r1",
                           .name = name,
                           .number = 1,
                           .epoch = 1,
                           .gpus = "",
                           .type = "python",
                           .args = program->reuse ? reuse_args : fork_args,
                           .env = env,
                           .cwd = cwd,
                           .pool = &pool,
                           .timeout_ns = program->timeout_ns};
    work.request.memory_bytes = program->memory_bytes;
    bench->executor->ops->start(bench->executor, &work);
    bench->executor->ops->flush(bench->executor);
    return work.id;
}

static struct bench_attempt *fork_(const char *code)
{
    return bench_wait(start(&(struct program){.code = code}));
}

static uint64_t fork_started(const char *code, int64_t timeout_ns)
{
    uint64_t id = start(&(struct program){.code = code, .timeout_ns = timeout_ns});
    ck_assert(RUN_UNTIL(bench->loop, bench->attempts[id - 1].started));
    return id;
}

START_TEST(forks)
{
    open_python(AG_CGROUP_NONE);
    uint64_t id = start(&(struct program){
        .code = "import os; print(os.environ['COLOUR'], 'SHAPE' in os.environ, os.getcwd(), "
                "os.environ['SWITCHYARD_ACTION'], sys.argv[0]); print('hm', file=sys.stderr)"});
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
    char expected[300];
    snprintf(expected, sizeof(expected), "blue False %s action-1 /venv/bin/a0\n", cwd);
    ck_assert_str_eq(bench_log(id, 1), expected);
    ck_assert_str_eq(bench_log(id, 2), "hm\n");
    struct bench_attempt *a = fork_("sys.exit(7)");
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_str_eq(a->message, "the process exited with status 7");
    a = fork_("raise ValueError('no')");
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_ptr_nonnull(strstr(bench_log(bench->next_id, 2), "ValueError: no"));
    a = fork_("import os; os.kill(os.getpid(), 9)");
    ck_assert_int_eq(a->result.kind, AG_RESULT_LOST);
    ck_assert_int_eq(a->result.death, AG_DEATH_ALONE);
    a = fork_("import os; os.kill(os.getpid(), 11)");
    ck_assert_str_eq(a->message, "the process was killed by signal 11 (SIGSEGV)");
    a = fork_("import os; os.write(1, b'x' * 300000)");
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    struct ag_pool_status status;
    ck_assert(ag_exec_pool_status(bench->executor, "fork", &status));
    ck_assert_uint_eq(status.started, 1);
    ck_assert_uint_eq(status.died, 0);
    bench_close();
}
END_TEST

START_TEST(threads_of_the_sdk_start_in_the_child)
{
    open_python(AG_CGROUP_NONE);
    for (int i = 0; i < 3; i++) {
        uint64_t id = start(&(struct program){
            .code = "import flyte, asyncio; print(asyncio.run_coroutine_threadsafe("
                    "flyte.where(), flyte.background.loop).result(60) != 'MainThread')"});
        bench_wait(id);
        ck_assert_str_eq(bench_log(id, 1), "True\n");
    }
    bench_close();
}
END_TEST

START_TEST(certificates_are_read_before_the_fork)
{
    open_python(AG_CGROUP_NONE);
    const struct program program = {
        .code = "import ssl, certifi, flyte\n"
                "contexts = []\n"
                "for file in (certifi.where(), '/own', certifi.where(), certifi.where()):\n"
                "  contexts.append(ssl.create_default_context(cafile=file))\n"
                "  print(len(flyte.contexts), end=' ')\n"
                "print(contexts[0] is contexts[2])\n"};
    for (int i = 0; i < 2; i++) { /* each child finds its own two */
        uint64_t id = start(&program);
        ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
        ck_assert_str_eq(bench_log(id, 1), "2 3 3 4 False\n");
    }
    bench_close();
}
END_TEST

START_TEST(many_forks_at_a_time)
{
    open_python(AG_CGROUP_NONE);
    for (int i = 0; i < 20; i++)
        start(&(struct program){.code = "import time; time.sleep(0.05); print('done')"});
    for (uint64_t id = 1; id <= 20; id++) {
        ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
        ck_assert_str_eq(bench_log(id, 1), "done\n");
    }
    bench_close();
}
END_TEST

static void cancel(uint64_t id)
{
    bench->executor->ops->cancel(bench->executor, id, "test");
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_CANCELLED);
}

START_TEST(forks_are_cancelled)
{
    open_python(AG_CGROUP_NONE);
    cancel(fork_started("import time; time.sleep(100)", 0));
    uint64_t id = fork_started("import time; time.sleep(100)", 100 * SY_NS_PER_MS);
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_TIMED_OUT);
    bench_close();
}
END_TEST

#define DEAF                                                                                       \
    "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getppid()); "            \
    "time.sleep(1000)"

/* Also when the one that it came from is not heard of for longer than the grace, as on a node
 * without CPU: nothing befalls the others. */
START_TEST(a_deaf_fork_dies_alone)
{
    bench_grace_ns = 50 * SY_NS_PER_MS;
    open_python(AG_CGROUP_NONE);
    uint64_t other = fork_started("import time; time.sleep(1000)", 0);
    for (int frozen = 0; frozen < 2; frozen++) {
        uint64_t id = fork_started(DEAF, 0);
        ck_assert(RUN_UNTIL(bench->loop, strchr(bench_log(id, 1), '\n')));
        pid_t forker = (pid_t)atoi(bench_log(id, 1));
        if (frozen)
            kill(forker, SIGSTOP);
        bench->executor->ops->cancel(bench->executor, id, "test");
        bench->executor->ops->flush(bench->executor);
        if (frozen) {
            RUN_FOR(bench->loop, 500);
            kill(forker, SIGCONT);
        }
        ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_CANCELLED);
        ck_assert(!bench->attempts[other - 1].ended);
    }
    struct ag_pool_status status;
    ck_assert(ag_exec_pool_status(bench->executor, "fork", &status));
    ck_assert_uint_eq(status.died, 0);
    bench_close();
}
END_TEST

START_TEST(forks_are_killed_at_once)
{
    open_python(AG_CGROUP_NONE);
    uint64_t id = fork_started("import signal, time; signal.signal(15, signal.SIG_IGN); "
                               "time.sleep(100)",
                               0);
    bench->executor->ops->kill(bench->executor, id);
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_CANCELLED);
    bench_close();
}
END_TEST

START_TEST(its_death_is_not_the_tasks)
{
    open_python(AG_CGROUP_NONE);
    uint64_t sleeper = fork_started("import time; time.sleep(100)", 0);
    uint64_t id = start(
        &(struct program){.code = "import os, time; print(os.getppid()); time.sleep(100)"});
    ck_assert(RUN_UNTIL(bench->loop, strchr(bench_log(id, 1), '\n')));
    kill((pid_t)atoi(bench_log(id, 1)), SIGKILL);
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_LOST);
    ck_assert_int_eq(bench_wait(sleeper)->result.kind, AG_RESULT_LOST);
    ck_assert_int_eq(bench_wait(sleeper)->result.death, AG_DEATH_SHARED);
    ck_assert_int_eq(fork_("print(1)")->result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
}
END_TEST

START_TEST(limits_are_each_childs_own)
{
    open_python(AG_CGROUP_AUTO);
    if (!ag_cgroups_limit_memory(bench->cgroups)) {
        printf("skipped: memory cannot be limited here\n");
        bench_close();
        return;
    }
    uint64_t id = start(
        &(struct program){.code = "x = bytearray(200 << 20)", .memory_bytes = 64 << 20});
    uint64_t other = start(&(struct program){.code = "import time; time.sleep(0.5)"});
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_OUT_OF_MEMORY);
    ck_assert_int_eq(bench_wait(other)->result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
}
END_TEST

static uint64_t reuse(const char *code, uint32_t concurrency)
{
    return start(&(struct program){.code = code, .reuse = true, .concurrency = concurrency});
}

START_TEST(reuses)
{
    open_python(AG_CGROUP_NONE);
    for (int i = 0; i < 3; i++) {
        uint64_t id = reuse("print(name, loads)", 1);
        ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
        char expected[64];
        snprintf(expected, sizeof(expected), "action-%d 1\n", (int)id); /* loaded once */
        ck_assert_str_eq(bench_log(id, 1), expected);
    }
    char path[300];
    struct sy_buf text = {0};
    struct bench_attempt *a = bench_wait(reuse("raise ValueError('no luck')", 1));
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED); /* the file tells more */
    snprintf(path, sizeof(path), "%s/outputs", cwd);
    ck_assert_int_eq(sy_file_read(path, 100, &text), 0);
    ck_assert_int_eq(memcmp(text.data, "no luck", 7), 0);
    sy_buf_deinit(&text);
    struct ag_pool_status status;
    ck_assert(ag_exec_pool_status(bench->executor, "reuse", &status));
    ck_assert_uint_eq(status.started, 1);
    bench_close();
}
END_TEST

START_TEST(output_of_tasks_at_a_time_is_told_apart)
{
    open_python(AG_CGROUP_NONE);
    for (int i = 0; i < 4; i++)
        reuse("[(print(name), await asyncio.sleep(0.02)) for _ in range(1)] if 0 else print(name); "
              "await asyncio.sleep(0.1); print(name)",
              4);
    for (uint64_t id = 1; id <= 4; id++) {
        char expected[64];
        snprintf(expected, sizeof(expected), "action-%d\naction-%d\n", (int)id, (int)id);
        ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
        ck_assert_str_eq(bench_log(id, 1), expected);
    }
    bench_close();
}
END_TEST

START_TEST(reused_ones_are_cancelled_or_replaced)
{
    bench_grace_ns = 100 * SY_NS_PER_MS;
    open_python(AG_CGROUP_NONE);
    uint64_t id = reuse("await asyncio.sleep(100)", 1);
    ck_assert(RUN_UNTIL(bench->loop, bench->attempts[id - 1].started));
    cancel(id);
    id = reuse("import time; time.sleep(100)", 1); /* it hangs, and its worker with it */
    uint64_t waiting = reuse("print('after')", 1);
    ck_assert(RUN_UNTIL(bench->loop, bench->attempts[id - 1].started));
    cancel(id);
    ck_assert_int_eq(bench_wait(waiting)->result.kind, AG_RESULT_SUCCEEDED);
    id = reuse("import os; os._exit(3)", 1);
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_LOST);
    ck_assert_int_eq(bench_wait(id)->result.death, AG_DEATH_ALONE);
    bench_close();
}
END_TEST

START_TEST(one_that_grew_is_replaced_between_tasks)
{
    open_python(AG_CGROUP_NONE);
    struct ag_pool_status status = {0};
    for (int i = 0; i < 3; i++) {
        uint64_t id = start(&(struct program){
            .code = "print(loads)", .reuse = true, .concurrency = 1, .leaks = true});
        ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
        ck_assert_str_eq(bench_log(id, 1), "1\n");
    }
    ck_assert(ag_exec_pool_status(bench->executor, "reuse", &status));
    ck_assert_uint_eq(status.started, 3);
    bench_close();
}
END_TEST

START_TEST(a_pool_without_work_goes)
{
    open_python(AG_CGROUP_NONE);
    bench_wait(start(
        &(struct program){.code = "print(1)", .reuse = true, .remove_ns = 200 * SY_NS_PER_MS}));
    struct ag_pool_status status;
    ck_assert(ag_exec_pool_status(bench->executor, "reuse", &status));
    ck_assert(RUN_UNTIL(bench->loop, !ag_exec_pool_status(bench->executor, "reuse", &status)));
    ck_assert_int_eq(bench_wait(reuse("print(1)", 1))->result.kind, AG_RESULT_SUCCEEDED);
    bench_close();
}
END_TEST

int main(void)
{
    return sy_test_run(
        "ag_python",
        (const TTest *const[]){
            forks, threads_of_the_sdk_start_in_the_child, certificates_are_read_before_the_fork,
            many_forks_at_a_time, forks_are_cancelled, a_deaf_fork_dies_alone,
            forks_are_killed_at_once, its_death_is_not_the_tasks, limits_are_each_childs_own,
            reuses, output_of_tasks_at_a_time_is_told_apart, reused_ones_are_cancelled_or_replaced,
            one_that_grew_is_replaced_between_tasks, a_pool_without_work_goes, NULL});
}
