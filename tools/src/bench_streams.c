/*
 * Open watch streams: processes of clients open them on one live run (bench_watchers.h), the
 * region's memory and idle CPU are looked at, then the run is aborted and every stream hears it.
 */
#include "tools/src/bench.h"

#include "base/mem.h"

#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 2
#define PROGRAM "switchyard-bench-watchers"
#define PATH_BYTES 4096
#define IDLE_NS (10 * SY_NS_PER_S)

extern char **environ;

struct clients {
    struct bench *bench;
    struct client_process {
        pid_t pid; /* 0: it does not run */
        FILE *output;
        int64_t count;
    } processes[PROCESSES];
    int64_t aborted_ns; /* CLOCK_MONOTONIC */
};

/* ---- processes ---- */

static int spawn(struct client_process *process, const struct cl_options *options, const char *run)
{
    char self[PATH_BYTES], path[PATH_BYTES + sizeof(PROGRAM) + 1], count[32];
    int ends[2];
    posix_spawn_file_actions_t actions;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    snprintf(path, sizeof(path), "%s/%s", dirname(self), PROGRAM);
    snprintf(count, sizeof(count), "%lld", (long long)process->count);
    char *argv[] = {path,
                    cl_unconst(options->endpoint),
                    cl_unconst(options->project),
                    cl_unconst(options->domain),
                    cl_unconst(run),
                    count,
                    NULL};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int r = -posix_spawn(&process->pid, path, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    process->output = r == 0 ? fdopen(ends[0], "r") : NULL;
    if (process->output == NULL)
        close(ends[0]);
    return r;
}

static void stop(struct clients *clients)
{
    for (int i = 0; i < PROCESSES; i++) {
        struct client_process *process = &clients->processes[i];
        if (process->output != NULL)
            fclose(process->output);
        if (process->pid > 0) {
            kill(process->pid, SIGTERM);
            (void)waitpid(process->pid, NULL, 0);
        }
    }
}

/* Blocks; the process itself has said what went wrong. */
static bool read_line(struct client_process *process, char *line, int size, struct cl_error *error)
{
    if (fgets(line, size, process->output) != NULL)
        return true;
    cl_fail(error, CL_FAILED, "a process of clients ended early");
    return false;
}

/* ---- the bench ---- */

static enum cl_exit open_all(struct clients *clients, const char *run, struct cl_error *error)
{
    struct bench *bench = clients->bench;
    int64_t begin_ns = cl_monotonic_ns(), left = bench->options.count;
    char line[64];
    for (int i = 0; i < PROCESSES; i++) {
        struct client_process *process = &clients->processes[i];
        process->count = left / (PROCESSES - i);
        left -= process->count;
        int r = process->count > 0 ? spawn(process, &bench->client->options, run) : 0;
        if (r < 0)
            return cl_fail(error, CL_INTERNAL, "cannot start %s: %s", PROGRAM, strerror(-r));
    }
    for (int i = 0; i < PROCESSES; i++) {
        struct client_process *process = &clients->processes[i];
        if (process->count > 0 && !read_line(process, line, sizeof(line), error))
            return error->exit;
    }
    bench->streams.open_ns = cl_monotonic_ns() - begin_ns;
    return CL_OK;
}

static uint64_t cpu_us(const struct bench *bench)
{
    uint64_t total = 0;
    for (size_t i = 0; i < bench->usage.count; i++)
        total += bench_usage_cpu_us(&bench->usage, i);
    return total;
}

/* What it costs that they are open. */
static void look(struct bench *bench)
{
    size_t shard = bench_usage_find(&bench->usage, "shard");
    bench_settle(bench);
    bench_measure_end(bench);
    bench->streams.shard_bytes = (double)bench_usage_rss_growth(&bench->usage, shard) /
                                 (double)bench->options.count;
    bench_measure_begin(bench);
    cl_sleep(bench->client, IDLE_NS);
    bench_measure_end(bench);
    bench->streams.idle_cpu_percent = (double)cpu_us(bench) * 1e5 / (double)IDLE_NS;
}

static enum cl_exit change(struct clients *clients, const char *run, struct cl_error *error)
{
    struct bench *bench = clients->bench;
    char line[64];
    bench_measure_begin(bench);
    clients->aborted_ns = cl_monotonic_ns();
    bench->first_ns = bench->last_ns = clients->aborted_ns;
    if (cl_run_abort(bench->client, run, "the benchmark wants it", error) != CL_OK)
        return error->exit;
    for (int i = 0; i < PROCESSES; i++) {
        struct client_process *process = &clients->processes[i];
        for (int64_t k = 0; k < process->count; k++) {
            if (!read_line(process, line, sizeof(line), error))
                return error->exit;
            int64_t told_ns = strtoll(line, NULL, 10);
            cl_hist_record(bench->latency, told_ns - clients->aborted_ns);
            if (told_ns > bench->last_ns)
                bench->last_ns = told_ns;
        }
    }
    bench_measure_end(bench);
    return CL_OK;
}

enum cl_exit bench_run_streams(struct bench *bench, struct cl_error *error)
{
    struct clients clients = {.bench = bench};
    char run[CL_RUN_NAME_MAX];
    if (bench_usage_find(&bench->usage, "shard") == SIZE_MAX)
        return cl_fail(error, CL_USAGE, "streams: whose? Expected --pids with shard=PID");
    if (bench_group_create(bench, run, error) != CL_OK)
        return error->exit;
    bench_settle(bench);
    bench_measure_begin(bench);
    enum cl_exit exit_code = open_all(&clients, run, error);
    if (exit_code == CL_OK) {
        look(bench);
        exit_code = change(&clients, run, error);
    }
    stop(&clients);
    if (exit_code != CL_OK) {
        struct cl_error ignored;
        cl_run_abort(bench->client, run, "the benchmark failed", &ignored);
    }
    return exit_code;
}
