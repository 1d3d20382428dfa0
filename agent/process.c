/*
 * Cold processes: one for each attempt, in a control group of its own.
 *
 * What it gets: its own empty working directory, the input on stdin and at SWITCHYARD_INPUT_PATH, a
 * place for its output at SWITCHYARD_OUTPUT_PATH, and who it is in SWITCHYARD_{RUN,ACTION,ATTEMPT,
 * FENCING_TOKEN}. Exit status 0 is success.
 *
 * It is over when it has exited and its pipes are drained; whatever it left running is killed.
 */
#include "agent/exec_impl.h"

#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_BYTES 16384u
#define TAIL_BYTES 1024
#define DRAIN_LOOK_NS (500 * SY_NS_PER_MS)
#define DRAIN_LOOKS_MAX 10 /* what is left behind may hold the pipes for ever, and write */
#define DIR_BYTES AG_OUTPUT_PATH_MAX
#define PATH_BYTES (DIR_BYTES + 8)

struct stream {
    struct ag_process *process;
    struct ag_io_op *op; /* a read is in flight */
    int fd;              /* -1: at its end */
    uint32_t number;     /* 1 stdout, 2 stderr */
};

struct ag_process {
    struct ag_exec_task base; /* first */
    struct ag_exec *exec;
    struct ag_child child;
    struct ag_cgroup *cgroup;
    struct stream streams[2];
    struct sy_timer timer; /* time limit, then grace; after the exit: draining */
    bool cancelled, timed_out, exited, out_of_memory;
    bool read_of_late; /* after the exit: something, since the last look */
    unsigned drain_looks;
    int refused; /* errno: it could not be started */
    char program[128], why[256];
    struct ag_child_exit exit;
    uint64_t memory_peak_bytes, memory_limit_bytes;
    int64_t timeout_ns, started_ns;
    size_t inline_bytes_max;
    const char *cwd; /* not its own: left as it is; NULL: dir */
    char dir[DIR_BYTES], input[PATH_BYTES], output[PATH_BYTES];
    uint8_t tail[TAIL_BYTES + 1]; /* the end of stderr, for the error's text */
    size_t tail_size;
};

static struct ag_process *of_child(struct ag_child *child)
{
    return sy_container_of(child, struct ag_process, child);
}

/* ---- the end ---- */

static void close_streams(struct ag_process *p)
{
    for (unsigned i = 0; i < 2; i++) {
        struct stream *stream = &p->streams[i];
        if (stream->op != NULL)
            ag_io_abandon(p->exec->io, stream->op);
        stream->op = NULL;
        if (stream->fd >= 0)
            close(stream->fd);
        stream->fd = -1;
    }
}

void ag_process_free(struct ag_exec_task *base)
{
    struct ag_process *p = (struct ag_process *)base;
    ag_spawner_abandon(p->exec->spawner, &p->child);
    sy_timer_stop(p->exec->loop, &p->timer);
    close_streams(p);
    ag_cgroup_put(p->exec->cgroups, p->cgroup);
    if (p->cwd == NULL)
        sy_remove_tree(p->dir);
    if (p->input[0] != '\0')
        unlink(p->input);
    free(p);
}

/* The last line of stderr that says something. */
static const char *last_words(struct ag_process *p)
{
    size_t end = p->tail_size, start = 0;
    while (end > 0 && (p->tail[end - 1] == '\n' || p->tail[end - 1] == ' '))
        end--;
    for (size_t i = 0; i < end; i++) {
        if (p->tail[i] == '\n')
            start = i + 1;
    }
    p->tail[end] = '\0';
    return (const char *)p->tail + start;
}

static void classify(struct ag_process *p, struct ag_result *result, char *text, size_t size)
{
    if (p->refused != 0) {
        result->kind = AG_RESULT_REFUSED;
        result->error_code = "NotStarted";
        result->error_message = text;
        snprintf(text, size, "%s: %s", p->why, strerror(p->refused));
        return;
    }
    const struct ag_exec_end end = {
        .exit = p->exit,
        .cancelled = p->cancelled,
        .timed_out = p->timed_out,
        .out_of_memory = p->out_of_memory,
        .memory_limit_bytes = p->memory_limit_bytes,
    };
    ag_exec_classify(&end, last_words(p), result, text, size);
}

/* The output file: into memory when it may travel inline, else by its path. */
static void collect_output(struct ag_process *p, struct ag_result *result, struct sy_buf *output)
{
    struct stat stat_;
    if (result->kind != AG_RESULT_SUCCEEDED || stat(p->output, &stat_) < 0)
        return;
    if ((uint64_t)stat_.st_size > p->inline_bytes_max) {
        result->output_path = p->output;
        return;
    }
    if (sy_file_read(p->output, p->inline_bytes_max, output) == 0)
        result->output = sy_buf_span(output);
}

static void finish(struct ag_process *p)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf output = {0};
    char text[SY_ERROR_TEXT_MAX * 2];
    struct ag_exec *exec = p->exec;
    struct ag_result result = {
        .id = p->base.id,
        .started_ns = p->started_ns,
        .finished_ns = sy_loop_realtime_ns(exec->loop),
        .memory_peak_bytes = p->memory_peak_bytes,
    };
    classify(p, &result, text, sizeof(text));
    collect_output(p, &result, &output);
    sy_map_remove(&exec->tasks, &p->base.link);
    ag_exec_result(exec, &result);
    if (result.output_path == NULL)
        unlink(p->output);
    ag_process_free(&p->base);
}

static bool drained(const struct ag_process *p)
{
    return p->streams[0].fd < 0 && p->streams[1].fd < 0;
}

static void kill_all(struct ag_process *p)
{
    ag_spawner_kill(p->exec->spawner, &p->child, SIGKILL);
    if (p->cgroup != NULL)
        ag_cgroup_kill(p->cgroup);
}

static void on_timer(void *arg)
{
    struct ag_process *p = arg;
    struct ag_exec *exec = p->exec;
    if (p->exited && p->read_of_late && ++p->drain_looks < DRAIN_LOOKS_MAX) {
        p->read_of_late = false;
        sy_timer_start_in(exec->loop, &p->timer, DRAIN_LOOK_NS);
        return;
    }
    if (p->refused != 0 || p->exited) {
        finish(p);
        return;
    }
    if (p->cancelled || p->timed_out) {
        kill_all(p);
        return;
    }
    p->timed_out = true;
    ag_spawner_kill(exec->spawner, &p->child, SIGTERM);
    sy_timer_start_in(exec->loop, &p->timer, exec->cancel_grace_ns);
}

/* ---- output ---- */

static void keep_tail(struct ag_process *p, const uint8_t *data, size_t size)
{
    if (size >= TAIL_BYTES) {
        memcpy(p->tail, data + size - TAIL_BYTES, TAIL_BYTES);
        p->tail_size = TAIL_BYTES;
        return;
    }
    size_t keep = p->tail_size + size > TAIL_BYTES ? TAIL_BYTES - size : p->tail_size;
    memmove(p->tail, p->tail + p->tail_size - keep, keep);
    memcpy(p->tail + keep, data, size);
    p->tail_size = keep + size;
}

static void on_read(struct ag_io_op *op, int result)
{
    struct stream *stream = op->owner;
    struct ag_process *p = stream->process;
    uint8_t *data = (uint8_t *)(op + 1);
    if (result > 0) {
        ag_exec_log(p->exec, p->base.id, stream->number, (struct sy_span){data, (size_t)result});
        p->read_of_late = true;
        if (stream->number == 2)
            keep_tail(p, data, (size_t)result);
        ag_io_read(p->exec->io, op, stream->fd, data, READ_BYTES);
        return;
    }
    free(op);
    stream->op = NULL;
    close(stream->fd);
    stream->fd = -1;
    if (p->exited && drained(p))
        finish(p);
}

static void begin_reading(struct stream *stream)
{
    struct ag_io_op *op = ag_io_op_new(sizeof(*op) + READ_BYTES, on_read, stream);
    stream->op = op;
    ag_io_read(stream->process->exec->io, op, stream->fd, op + 1, READ_BYTES);
}

/* ---- from the spawner ---- */

static void on_child_started(struct ag_child *child, pid_t pid)
{
    struct ag_process *p = of_child(child);
    p->started_ns = sy_loop_realtime_ns(p->exec->loop);
    ag_exec_note_process(p->exec, pid, true);
    if (p->timeout_ns > 0 && !p->cancelled)
        sy_timer_start_in(p->exec->loop, &p->timer, p->timeout_ns);
    ag_exec_started(p->exec, p->base.id, p->started_ns);
}

static void on_child_failed(struct ag_child *child, int error, const char *what)
{
    struct ag_process *p = of_child(child);
    p->refused = error != 0 ? error : EIO;
    snprintf(p->why, sizeof(p->why), "%s: %s", p->program, what);
    finish(p);
}

static void on_child_exited(struct ag_child *child, const struct ag_child_exit *exit)
{
    struct ag_process *p = of_child(child);
    p->exited = p->read_of_late = true; /* two looks at least: this process may be the slow one */
    p->exit = *exit;
    if (exit->ran_ns > 0 && exit->ran_ns < p->timeout_ns)
        p->timed_out = false; /* it was over by then: this process stood still */
    p->memory_peak_bytes = exit->memory_peak_bytes;
    if (p->cgroup != NULL) {
        struct ag_cgroup_usage usage;
        ag_cgroup_usage(p->cgroup, &usage);
        if (usage.memory_peak_bytes > 0)
            p->memory_peak_bytes = usage.memory_peak_bytes;
        p->out_of_memory = usage.oom_kills > 0;
        ag_cgroup_kill(p->cgroup);
    }
    ag_exec_note_process(p->exec, child->pid, false);
    sy_timer_stop(p->exec->loop, &p->timer);
    if (drained(p))
        finish(p);
    else
        sy_timer_start_in(p->exec->loop, &p->timer, DRAIN_LOOK_NS);
}

static const struct ag_child_events child_events = {
    .on_started = on_child_started,
    .on_failed = on_child_failed,
    .on_exited = on_child_exited,
};

/* ---- the start ---- */

static int write_input(struct ag_process *p, const struct ag_work *work)
{
    if (work->input_path != NULL || work->input.len == 0)
        return 0;
    snprintf(p->input, sizeof(p->input), "%s.in", p->dir);
    int fd = open(p->input, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    ssize_t n = write(fd, work->input.data, work->input.len);
    int r = n == (ssize_t)work->input.len ? 0 : n < 0 ? errno : ENOSPC;
    close(fd);
    return r;
}

static int make_pipe(struct stream *stream, int *ret_write)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return errno;
    stream->fd = fds[0];
    *ret_write = fds[1];
    return fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? errno : 0;
}

static void build_env(const struct ag_process *p, const struct ag_work *work, struct ag_env *env)
{
    const char *input = work->input_path != NULL ? work->input_path : p->input;
    ag_env_add_task(env, p->exec, work);
    ag_env_add(env, "SWITCHYARD_INPUT_PATH", "%s", input);
    ag_env_add(env, "SWITCHYARD_OUTPUT_PATH", "%s", p->output);
    ag_env_set_all(env, work->env);
}

static int spawn(struct ag_process *p, const struct ag_work *work, int stdin_fd, const int *writes)
{
    struct ag_env env = {0};
    build_env(p, work, &env);
    const struct ag_spawn_fd fds[] = {{stdin_fd, 0}, {writes[0], 1}, {writes[1], 2}};
    struct ag_spawn spawn = {
        .argv = work->args,
        .env = (const char *const *)env.items,
        .joins = p->cgroup != NULL ? ag_cgroup_joins(p->cgroup) : NULL,
        .cwd = p->cwd != NULL ? p->cwd : p->dir,
        .fds = fds,
        .fd_count = SY_COUNT_OF(fds),
        .files_max = p->exec->files_max,
    };
    snprintf(p->program, sizeof(p->program), "%s", work->args[0]);
    int r = ag_spawner_start(p->exec->spawner, &p->child, &spawn);
    ag_env_deinit(&env);
    return r;
}

static int start(struct ag_process *p, const struct ag_work *work)
{
    int writes[2] = {-1, -1};
    int stdin_fd = -1;
    int r = p->cwd == NULL && mkdir(p->dir, 0755) < 0 ? errno : 0;
    if (r == 0)
        r = write_input(p, work);
    for (unsigned i = 0; r == 0 && i < 2; i++)
        r = make_pipe(&p->streams[i], &writes[i]);
    const char *input = work->input_path != NULL ? work->input_path : p->input;
    if (r == 0 && input[0] != '\0') {
        stdin_fd = open(input, O_RDONLY | O_CLOEXEC);
        r = stdin_fd < 0 ? errno : 0;
    }
    if (r == 0)
        r = spawn(p, work, stdin_fd >= 0 ? stdin_fd : p->exec->null_fd, writes);
    int used[] = {writes[0], writes[1], stdin_fd};
    for (size_t i = 0; i < SY_COUNT_OF(used); i++) {
        if (used[i] >= 0)
            close(used[i]);
    }
    return r;
}

struct ag_exec_task *ag_process_start(struct ag_exec *exec, const struct ag_work *work)
{
    struct ag_process *p = sy_new(struct ag_process);
    p->base.id = work->id;
    p->exec = exec;
    p->child.events = &child_events;
    p->cwd = work->cwd;
    p->timeout_ns = work->timeout_ns;
    p->inline_bytes_max = work->inline_bytes_max;
    p->memory_limit_bytes = work->request.memory_bytes;
    snprintf(p->dir, sizeof(p->dir), "%s/%llu", exec->work_dir, (unsigned long long)work->id);
    ag_exec_output_path(exec, work->id, p->output);
    for (unsigned i = 0; i < 2; i++)
        p->streams[i] = (struct stream){.process = p, .fd = -1, .number = i + 1};
    sy_timer_init(&p->timer, on_timer, p);
    struct ag_cgroup_limits limits = {
        .memory_bytes = work->request.memory_bytes,
        .cpu_milli = work->request.cpu_milli,
        .pids = exec->pids_max,
    };
    p->cgroup = ag_cgroup_take(exec->cgroups, &limits);
    p->refused = start(p, work);
    if (p->refused != 0) {
        snprintf(p->why, sizeof(p->why), "it cannot be started");
        close_streams(p);
        sy_timer_start_in(exec->loop, &p->timer, 0); /* the result comes in a later turn */
        return &p->base;
    }
    for (unsigned i = 0; i < 2; i++)
        begin_reading(&p->streams[i]);
    return &p->base;
}

void ag_process_cancel(struct ag_exec_task *base)
{
    struct ag_process *p = (struct ag_process *)base;
    if (p->cancelled || p->exited || p->refused != 0)
        return;
    p->cancelled = true;
    ag_spawner_kill(p->exec->spawner, &p->child, SIGTERM);
    sy_timer_start_in(p->exec->loop, &p->timer, p->exec->cancel_grace_ns);
}

void ag_process_kill(struct ag_exec_task *base)
{
    struct ag_process *p = (struct ag_process *)base;
    if (p->exited || p->refused != 0)
        return;
    p->cancelled = true;
    sy_timer_stop(p->exec->loop, &p->timer);
    kill_all(p);
}
