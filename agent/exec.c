#include "agent/exec_impl.h"

#include "agent/events.h"
#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANCEL_GRACE_NS (10 * SY_NS_PER_S)
#define START_TIMEOUT_NS (30 * SY_NS_PER_S)
#define PIDS_MAX 4096
#define FILES_MAX 1024
#define FRAME_ARENA_BYTES ((size_t)1 << 30)

extern char **environ;

/* ---- environment variables ---- */

static void env_push(struct ag_env *env, char *item)
{
    if (env->count + 2 > env->cap) {
        env->cap = env->cap ? env->cap * 2 : 32;
        env->items = sy_realloc(env->items, env->cap * sizeof(*env->items));
    }
    env->items[env->count++] = item;
    env->items[env->count] = NULL;
}

void ag_env_add(struct ag_env *env, const char *key, const char *format, ...)
{
    struct sy_buf item = {0};
    va_list args;
    sy_buf_printf(&item, "%s=", key);
    va_start(args, format);
    char *value = NULL;
    int n = vasprintf(&value, format, args);
    va_end(args);
    SY_ASSERT(n >= 0);
    sy_buf_append(&item, value, (size_t)n + 1);
    free(value);
    env_push(env, (char *)item.data);
}

void ag_env_add_all(struct ag_env *env, const char *const *items)
{
    for (; items != NULL && *items != NULL; items++)
        env_push(env, sy_strdup(*items));
}

static char **env_find(const struct ag_env *env, const char *item)
{
    size_t key = strcspn(item, "=");
    for (size_t i = 0; i < env->count; i++) {
        if (strncmp(env->items[i], item, key + 1) == 0)
            return &env->items[i];
    }
    return NULL;
}

void ag_env_set_all(struct ag_env *env, const char *const *items)
{
    for (; items != NULL && *items != NULL; items++) {
        char **old = env_find(env, *items);
        if (old == NULL) {
            env_push(env, sy_strdup(*items));
        } else {
            free(*old);
            *old = sy_strdup(*items);
        }
    }
}

void ag_env_add_base(struct ag_env *env, const struct ag_exec *exec, const char *gpus)
{
    ag_env_add_all(env, (const char *const *)exec->base_env);
    ag_env_add(env, "SWITCHYARD_NODE", "%s", exec->node);
    /* Empty hides every device: a task sees what it asked for. */
    ag_env_add(env, "CUDA_VISIBLE_DEVICES", "%s", gpus);
    ag_env_add(env, "SWITCHYARD_GPUS", "%s", gpus);
}

void ag_gang_address(char ret[AG_GANG_ADDRESS_MAX], const struct ag_gang *gang)
{
    bool v6 = strchr(gang->host, ':') != NULL;
    snprintf(ret, AG_GANG_ADDRESS_MAX, v6 ? "[%s]:%u" : "%s:%u", gang->host, gang->port);
}

/* The names below are torchrun's, and so read by most that call themselves distributed. */
static void add_gang(struct ag_env *env, const struct ag_gang *gang)
{
    char address[AG_GANG_ADDRESS_MAX];
    ag_gang_address(address, gang);
    ag_env_add(env, "SWITCHYARD_GANG_ID", "%016" PRIx64, gang->id);
    ag_env_add(env, "SWITCHYARD_GANG_RANK", "%u", gang->rank);
    ag_env_add(env, "SWITCHYARD_GANG_SIZE", "%u", gang->size);
    ag_env_add(env, "SWITCHYARD_GANG_ADDRESS", "%s", address);
    ag_env_add(env, "SWITCHYARD_GANG_SECRET", "%s", gang->secret);
    ag_env_add(env, "RANK", "%u", gang->rank);
    ag_env_add(env, "WORLD_SIZE", "%u", gang->size);
    ag_env_add(env, "MASTER_ADDR", "%s", gang->host);
    ag_env_add(env, "MASTER_PORT", "%u", gang->port);
}

void ag_env_add_task(struct ag_env *env, const struct ag_exec *exec, const struct ag_work *work)
{
    char token[AG_FENCING_TOKEN_MAX];
    ag_fencing_token(token, work->epoch, work->number);
    ag_env_add_base(env, exec, work->gpus != NULL ? work->gpus : "");
    ag_env_add(env, "SWITCHYARD_RUN", "%s", work->run);
    ag_env_add(env, "SWITCHYARD_ACTION", "%s", work->name);
    ag_env_add(env, "SWITCHYARD_ATTEMPT", "%u", work->attempt);
    ag_env_add(env, "SWITCHYARD_FENCING_TOKEN", "%s", token);
    if (work->gang != NULL)
        add_gang(env, work->gang);
}

void ag_env_deinit(struct ag_env *env)
{
    for (size_t i = 0; i < env->count; i++)
        free(env->items[i]);
    free(env->items);
    *env = (struct ag_env){0};
}

/* The agent's secrets are not the tasks': only these are handed on. */
static void collect_base_env(struct ag_exec *e)
{
    static const char *const keys[] = {
        "PATH=", "HOME=", "LANG=", "LC_ALL=", "TZ=", "TMPDIR=", "LD_LIBRARY_PATH="};
    struct ag_env env = {0};
    for (char **item = environ; *item != NULL; item++) {
        for (size_t i = 0; i < SY_COUNT_OF(keys); i++) {
            if (strncmp(*item, keys[i], strlen(keys[i])) == 0)
                env_push(&env, sy_strdup(*item));
        }
    }
    e->base_env = env.items;
    e->base_env_count = env.count;
}

/* ---- helpers ---- */

/* Ten digits, zero-padded. By hand: it is done for each task. */
static void put_ten_digits(char *ret, uint32_t value)
{
    for (unsigned i = 10; i-- > 0; value /= 10)
        ret[i] = (char)('0' + value % 10);
}

void ag_fencing_token(char *ret, uint32_t epoch, uint32_t number)
{
    put_ten_digits(ret, epoch);
    ret[10] = '.';
    put_ten_digits(ret + 11, number);
    ret[21] = '\0';
}

void ag_exec_output_path(const struct ag_exec *e, uint64_t id, char ret[AG_OUTPUT_PATH_MAX])
{
    char digits[24];
    size_t n = sizeof(digits);
    for (; id > 0 || n == sizeof(digits); id /= 10)
        digits[--n] = (char)('0' + id % 10);
    size_t dir = strlen(e->work_dir), count = sizeof(digits) - n;
    SY_ASSERT(dir + count + 6 <= AG_OUTPUT_PATH_MAX);
    memcpy(ret, e->work_dir, dir);
    ret[dir] = '/';
    memcpy(ret + dir + 1, digits + n, count);
    memcpy(ret + dir + 1 + count, ".out", 5);
}

void ag_describe_exit(char *ret, size_t size, const struct ag_child_exit *exit)
{
    if (exit->spawner_died)
        snprintf(ret, size, "died with the spawner");
    else if (WIFSIGNALED(exit->status))
        snprintf(ret, size, "was killed by signal %d (SIG%s)", WTERMSIG(exit->status),
                 sigabbrev_np(WTERMSIG(exit->status)) ? sigabbrev_np(WTERMSIG(exit->status)) : "?");
    else
        snprintf(ret, size, "exited with status %d", WEXITSTATUS(exit->status));
}

void ag_exec_started(struct ag_exec *e, uint64_t id, int64_t started_ns)
{
    if (!e->freeing)
        e->events->on_started(e->events_ctx, id, started_ns);
}

void ag_exec_log(struct ag_exec *e, uint64_t id, uint32_t stream, struct sy_span data)
{
    if (!e->freeing && data.len > 0)
        e->events->on_log(e->events_ctx, id, stream, data);
}

void ag_exec_result(struct ag_exec *e, const struct ag_result *result)
{
    if (!e->freeing)
        e->events->on_result(e->events_ctx, result);
}

void ag_exec_classify(const struct ag_exec_end *end, const char *last_words, struct ag_result *ret,
                      char *text, size_t size)
{
    char how[128];
    int status = end->exit.status;
    ag_describe_exit(how, sizeof(how), &end->exit);
    snprintf(text, size, "the process %s%s%s", how, last_words[0] != '\0' ? ": " : "", last_words);
    ret->exit_status = status;
    ret->error_message = text;
    if (end->exit.spawner_died) {
        ret->kind = AG_RESULT_LOST;
        ret->error_code = "SpawnerDied";
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        ret->kind = AG_RESULT_SUCCEEDED;
        ret->error_message = "";
    } else if (end->timed_out) {
        ret->kind = AG_RESULT_TIMED_OUT;
        ret->error_code = "TimedOut";
        snprintf(text, size, "it ran longer than its time limit");
    } else if (end->cancelled) {
        ret->kind = AG_RESULT_CANCELLED;
        ret->error_code = "Cancelled";
    } else if (end->out_of_memory) {
        ret->kind = AG_RESULT_OUT_OF_MEMORY;
        ret->error_code = "OutOfMemory";
        snprintf(text, size, "it reached its limit of %llu MiB",
                 (unsigned long long)(end->memory_limit_bytes >> 20));
    } else if (WIFSIGNALED(status)) {
        /* SIGKILL comes from outside: the machine's own memory shortage, or a person. */
        bool killed = WTERMSIG(status) == SIGKILL;
        ret->kind = killed ? AG_RESULT_LOST : AG_RESULT_FAILED;
        ret->death = killed ? AG_DEATH_ALONE : AG_DEATH_NONE;
        ret->error_code = "Signal";
    } else {
        ret->kind = AG_RESULT_FAILED;
        ret->error_code = "ExitCode";
    }
}

/* ---- processes of an earlier agent ---- */

/* Field 22 of /proc/PID/stat: a pid may be given again, this does not repeat with it. 0: no such
 * process. */
static uint64_t start_time_of(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    for (unsigned field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

void ag_exec_note_process(struct ag_exec *e, pid_t pid, bool running)
{
    if (e->journal == NULL || pid <= 0)
        return;
    uint64_t start_time = running ? start_time_of(pid) : 0;
    if (!running || start_time != 0)
        e->journal->ops->process(e->journal, pid, start_time);
}

struct left_overs {
    pid_t pids[4096];
    size_t count;
};

static void on_left_over(void *ctx, pid_t pid, uint64_t start_time)
{
    struct left_overs *found = ctx;
    if (start_time_of(pid) == start_time)
        kill(-pid, SIGKILL); /* each is the leader of its group */
    if (found->count < SY_COUNT_OF(found->pids))
        found->pids[found->count++] = pid;
}

static void kill_left_overs(struct ag_exec *e)
{
    if (e->journal == NULL)
        return;
    struct left_overs *found = sy_new(struct left_overs);
    struct ag_journal_visitor visitor = {.on_process = on_left_over, .ctx = found};
    e->journal->ops->replay(e->journal, &visitor);
    for (size_t i = 0; i < found->count; i++)
        e->journal->ops->process(e->journal, found->pids[i], 0);
    free(found);
}

/* ---- the port ---- */

static struct ag_pool *find_pool(const struct ag_exec *e, const char *environment)
{
    for (size_t i = 0; i < e->pool_count; i++) {
        if (strcmp(ag_pool_environment(e->pools[i]), environment) == 0)
            return e->pools[i];
    }
    return NULL;
}

/* The pool of that name, made when it lacks; NULL: there are too many. */
static struct ag_pool *demand_pool(struct ag_exec *e, const struct ag_pool_options *options)
{
    struct ag_pool *pool = find_pool(e, options->environment);
    if (pool != NULL || e->pool_count - e->configured_count >= AG_EXEC_POOLS_MAX)
        return pool;
    pool = ag_pool_new(e, options);
    e->pools = sy_realloc(e->pools, (e->pool_count + 1) * sizeof(struct ag_pool *));
    e->pools[e->pool_count++] = pool;
    return pool;
}

static void remove_expired(struct ag_exec *e)
{
    for (size_t i = e->pool_count; i-- > e->configured_count;) {
        if (!ag_pool_expired(e->pools[i]))
            continue;
        ag_pool_free(e->pools[i]);
        e->pools[i] = e->pools[--e->pool_count];
    }
}

static void exec_bind(struct ag_executor *base, const struct ag_executor_events *events, void *ctx)
{
    struct ag_exec *e = (struct ag_exec *)base;
    e->events = events;
    e->events_ctx = ctx;
}

static uint32_t exec_pipeline(struct ag_executor *base, const struct sch_resources *request)
{
    const struct ag_exec *e = (const struct ag_exec *)base;
    const struct ag_pool *pool = request->environment[0] != '\0'
                                     ? find_pool(e, request->environment)
                                     : NULL;
    return pool != NULL ? ag_pool_pipeline(pool, request) : 0;
}

static void exec_start(struct ag_executor *base, const struct ag_work *work)
{
    struct ag_exec *e = (struct ag_exec *)base;
    SY_ASSERT(e->events != NULL);
    struct ag_exec_task *task;
    struct ag_pool *on_demand = work->pool != NULL ? demand_pool(e, work->pool) : NULL;
    if (on_demand != NULL) {
        task = ag_pool_start(on_demand, work);
    } else if (work->pool == NULL && strcmp(work->type, "switchyard.function") == 0) {
        struct ag_pool *pool = find_pool(e, work->request.environment);
        SY_ASSERT(pool != NULL); /* admission knows the environments */
        task = ag_pool_start(pool, work);
    } else {
        task = ag_process_start(e, work);
    }
    sy_map_add(&e->tasks, &task->link, &task->id, sizeof(task->id));
}

static void exec_cancel(struct ag_executor *base, uint64_t id, const char *reason)
{
    (void)reason;
    struct ag_exec_task *task = ag_exec_find((struct ag_exec *)base, id);
    if (task == NULL)
        return; /* its result is on the way */
    if (task->pooled)
        ag_pool_cancel(task);
    else
        ag_process_cancel(task);
}

static void exec_kill(struct ag_executor *base, uint64_t id)
{
    struct ag_exec_task *task = ag_exec_find((struct ag_exec *)base, id);
    if (task == NULL)
        return; /* its result is on the way */
    if (task->pooled)
        ag_pool_kill(task);
    else
        ag_process_kill(task);
}

static void exec_reply(struct ag_executor *base, uint64_t id, uint64_t call, uint32_t code,
                       const char *message, struct sy_span body)
{
    struct ag_exec_task *task = ag_exec_find((struct ag_exec *)base, id);
    if (task != NULL && task->pooled)
        ag_pool_reply(task, call, code, message, body);
}

static void flush_all(struct ag_exec *e)
{
    for (size_t i = 0; i < e->pool_count; i++)
        ag_pool_flush(e->pools[i]);
}

static void exec_flush(struct ag_executor *base)
{
    flush_all((struct ag_exec *)base);
}

static void on_turn_end(void *arg)
{
    flush_all(arg);
    remove_expired(arg);
}

static void exec_free(struct ag_executor *base)
{
    struct ag_exec *e = (struct ag_exec *)base;
    e->freeing = true;
    sy_loop_remove_turn_end(e->loop, &e->turn_end);
    SY_MAP_EACH(&e->tasks, at, next)
    {
        struct ag_exec_task *task = sy_map_entry(at, struct ag_exec_task, link);
        sy_map_remove(&e->tasks, at);
        if (task->pooled)
            ag_pool_task_free(task);
        else
            ag_process_free(task);
    }
    sy_map_deinit(&e->tasks);
    for (size_t i = 0; i < e->pool_count; i++)
        ag_pool_free(e->pools[i]);
    free(e->pools);
    for (size_t i = 0; i < e->base_env_count; i++)
        free(e->base_env[i]);
    free(e->base_env);
    sy_arena_deinit(&e->arena);
    close(e->null_fd);
    free(e->work_dir);
    free(e->node);
    free(e);
}

static const struct ag_executor_ops exec_ops = {
    .bind = exec_bind,
    .pipeline = exec_pipeline,
    .start = exec_start,
    .cancel = exec_cancel,
    .kill = exec_kill,
    .reply = exec_reply,
    .flush = exec_flush,
    .free = exec_free,
};

bool ag_exec_pool_status(struct ag_executor *base, const char *environment,
                         struct ag_pool_status *ret)
{
    SY_ASSERT(base->ops == &exec_ops);
    const struct ag_pool *pool = find_pool((struct ag_exec *)base, environment);
    if (pool != NULL)
        ag_pool_status(pool, ret);
    return pool != NULL;
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value != 0 ? value : fallback;
}

int ag_exec_new(struct ag_executor **ret_executor, const struct ag_exec_options *options,
                const struct ag_exec_ports *ports, struct sy_error_text *error)
{
    if (strlen(options->work_dir) > AG_OUTPUT_PATH_MAX - 40) {
        sy_error_text_set(error, "work directory '%.80s...': at most %d characters are allowed",
                          options->work_dir, AG_OUTPUT_PATH_MAX - 40);
        return -ENAMETOOLONG;
    }
    sy_remove_tree(options->work_dir);
    int r = sy_mkdir_p(options->work_dir, 0755);
    int null_fd = r < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    if (r < 0 || null_fd < 0) {
        r = r < 0 ? r : -errno;
        sy_error_text_set(error, "work directory '%s': %s", options->work_dir, strerror(-r));
        return r;
    }
    struct ag_exec *e = sy_new(struct ag_exec);
    e->base.ops = &exec_ops;
    e->loop = ports->loop;
    e->spawner = ports->spawner;
    e->cgroups = ports->cgroups;
    e->io = ports->io;
    e->journal = ag_cgroups_can_kill(ports->cgroups) ? NULL : ports->journal;
    e->log = ports->log;
    e->work_dir = sy_strdup(options->work_dir);
    e->node = sy_strdup(options->node);
    e->cancel_grace_ns = or_default(options->cancel_grace_ns, CANCEL_GRACE_NS);
    e->start_timeout_ns = or_default(options->start_timeout_ns, START_TIMEOUT_NS);
    e->pids_max = options->pids_max ? options->pids_max : PIDS_MAX;
    e->files_max = options->files_max ? options->files_max : FILES_MAX;
    e->null_fd = null_fd;
    sy_arena_init(&e->arena, FRAME_ARENA_BYTES);
    collect_base_env(e);
    kill_left_overs(e);
    e->turn_end = (struct sy_turn_end){.fn = on_turn_end, .arg = e};
    sy_loop_add_turn_end(e->loop, &e->turn_end);
    e->pools = sy_calloc(options->pool_count, sizeof(struct ag_pool *));
    for (size_t i = 0; i < options->pool_count; i++)
        e->pools[e->pool_count++] = ag_pool_new(e, &options->pools[i]);
    e->configured_count = e->pool_count;
    *ret_executor = &e->base;
    return 0;
}
