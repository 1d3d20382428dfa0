#include "agent/flyte_impl.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define ATTEMPT_ARENA_BYTES ((size_t)64 << 20)
#define ERROR_BYTES_MAX ((size_t)1 << 20)
#define BUNDLES_MAX 64
#define AG_FLYTE_PATH_BYTES 4096
#define CHECKPOINTS_LOOKED_AT 16

#define TO SM_BIT
static const struct sm_state states[AG_FLYTE_STATES] = {
    [AG_FLYTE_PREPARING] = {"preparing", TO(AG_FLYTE_RUNNING) | TO(AG_FLYTE_ENDED),
                            .initial = true},
    [AG_FLYTE_RUNNING] = {"running", TO(AG_FLYTE_COLLECTING) | TO(AG_FLYTE_ENDED)},
    [AG_FLYTE_COLLECTING] = {"collecting", TO(AG_FLYTE_ENDED)},
    [AG_FLYTE_ENDED] = {"ended", 0, .final = true},
};
#undef TO
const struct sm_table ag_flyte_table = {"flyte attempt", states, AG_FLYTE_STATES, NULL};

void ag_flyte_move(struct ag_flyte_attempt *a, enum ag_flyte_state state)
{
    sm_move(&a->sm, &ag_flyte_table, state, a);
}

/* ---- copies ---- */

static const char *copy(struct ag_flyte_attempt *a, const char *text)
{
    return sy_arena_strdup(&a->arena, text != NULL ? text : "");
}

static const char *const *copy_list(struct sy_arena *arena, const char *const *list)
{
    size_t count = 0;
    while (list != NULL && list[count] != NULL)
        count++;
    const char **copies = sy_arena_alloc(arena, (count + 1) * sizeof(*copies));
    for (size_t i = 0; i < count; i++)
        copies[i] = sy_arena_strdup(arena, list[i]);
    copies[count] = NULL;
    return copies;
}

static void copy_secrets(struct ag_flyte_attempt *a, const struct ag_spec_flyte *spec)
{
    struct ag_spec_secret *secrets = sy_arena_alloc(&a->arena,
                                                    spec->secret_count * sizeof(*secrets) + 1);
    for (size_t i = 0; i < spec->secret_count; i++)
        secrets[i] = (struct ag_spec_secret){copy(a, spec->secrets[i].group),
                                             copy(a, spec->secrets[i].key),
                                             copy(a, spec->secrets[i].env_var)};
    a->spec.secrets = secrets;
}

/* What was borrowed for the call to start() is wanted for longer. */
static void copy_work(struct ag_flyte_attempt *a, const struct ag_work *work)
{
    a->work = *work;
    a->work.run = copy(a, work->run);
    a->work.name = copy(a, work->name);
    a->work.gpus = copy(a, work->gpus);
    a->work.type = copy(a, work->type);
    a->work.args = copy_list(&a->arena, work->args);
    a->work.env = copy_list(&a->arena, work->env);
    a->work.input = (struct sy_span){0};
    a->work.input_path = NULL;
    a->context = *work->flyte;
    a->context.org = copy(a, work->flyte->org);
    a->context.input_uri = copy(a, work->flyte->input_uri);
    a->context.run_output_base = copy(a, work->flyte->run_output_base);
    a->context.raw_data_prefix = copy(a, work->flyte->raw_data_prefix);
    a->context.endpoint = copy(a, work->flyte->endpoint);
    a->context.envs = copy_list(&a->arena, work->flyte->envs);
    a->spec = *work->flyte->spec;
    a->spec.image = copy(a, a->spec.image);
    a->spec.pool_version = copy(a, a->spec.pool_version);
    copy_secrets(a, work->flyte->spec);
    a->context.spec = &a->spec;
    a->work.flyte = &a->context;
}

/* ---- the end ---- */

static void attempt_free(struct ag_flyte_attempt *a)
{
    sy_map_remove(&a->flyte->attempts, &a->link);
    sy_timer_stop(a->flyte->ports.loop, &a->timer);
    ag_flyte_forget_secrets(a);
    if (a->cwd != NULL)
        ag_bundles_put(a->flyte->bundles, a->cwd);
    sy_arena_deinit(&a->arena);
    free(a);
}

void ag_flyte_end(struct ag_flyte_attempt *a, enum ag_result_kind kind,
                  enum ag_error_kind error_kind, const char *code, const char *message)
{
    struct sy_loop *loop = a->flyte->ports.loop;
    ag_flyte_move(a, AG_FLYTE_ENDED);
    a->result.id = a->id;
    a->result.kind = kind;
    a->result.error_kind = error_kind;
    a->result.error_code = copy(a, code);
    a->result.error_message = copy(a, message);
    a->result.output_uri = kind == AG_RESULT_SUCCEEDED ? a->paths.attempt_dir : NULL;
    if (a->result.finished_ns == 0)
        a->result.finished_ns = sy_loop_realtime_ns(loop);
    sy_timer_start_in(loop, &a->timer, 0);
}

bool ag_flyte_cancelled(struct ag_flyte_attempt *a)
{
    if (a->cancelled)
        ag_flyte_end(a, AG_RESULT_CANCELLED, AG_ERROR_UNKNOWN, "Cancelled",
                     "cancelled before it started");
    return a->cancelled;
}

static void on_timer(void *arg)
{
    struct ag_flyte_attempt *a = arg;
    struct ag_flyte *f = a->flyte;
    SY_ASSERT(a->sm.state == AG_FLYTE_ENDED);
    struct ag_result result = a->result;
    struct sy_arena texts = a->arena; /* outlives the attempt, for the callback */
    a->arena = (struct sy_arena){0};
    attempt_free(a);
    f->events->on_result(f->events_ctx, &result);
    sy_arena_deinit(&texts);
}

/* ---- what came of it ---- */

/* The process said nothing in Flyte's way: how it ended, and its last lines. */
static void end_by_exit(struct ag_flyte_attempt *a)
{
    struct ag_child_exit exit = {.status = a->result.exit_status};
    char how[128], message[AG_FLYTE_TAIL_BYTES + 256];
    size_t size = a->tail_size;
    while (size > 0 && (a->tail[size - 1] == '\n' || a->tail[size - 1] == ' '))
        size--;
    ag_describe_exit(how, sizeof(how), &exit);
    snprintf(message, sizeof(message), "the task's process %s%s%.*s", how, size > 0 ? ":\n" : "",
             (int)size, (const char *)a->tail);
    ag_flyte_end(a, AG_RESULT_FAILED, AG_ERROR_USER,
                 WIFSIGNALED(a->result.exit_status) ? "Signal" : "ExitCode", message);
}

static void on_error_file(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct ag_flyte_attempt *a = ctx;
    struct ag_result told;
    if (r == 0 && ag_flyte_read_error(&a->arena, bytes, &told))
        ag_flyte_end(a, told.kind, told.error_kind, told.error_code, told.error_message);
    else if (r == 0)
        ag_flyte_end(a, AG_RESULT_FAILED, AG_ERROR_UNKNOWN, "BadErrorFile",
                     "the task failed, and its error.pb cannot be read");
    else if (r != -ENOENT)
        ag_flyte_end(a, AG_RESULT_LOST, AG_ERROR_SYSTEM, "OutputNotRead", error->text);
    else if (a->result.kind == AG_RESULT_SUCCEEDED)
        ag_flyte_end(a, AG_RESULT_SUCCEEDED, AG_ERROR_UNKNOWN, "", "");
    else
        end_by_exit(a);
}

/* Codes and kinds by which the SDK makes its own exceptions: "OOM" and "Interrupted" count when the
 * kind is USER. */
static void inner_ended(struct ag_flyte_attempt *a, const struct ag_result *result)
{
    a->result.started_ns = result->started_ns;
    a->result.finished_ns = result->finished_ns;
    a->result.memory_peak_bytes = result->memory_peak_bytes;
    a->result.exit_status = result->exit_status;
    a->result.death = result->death;
    a->result.kind = result->kind;
    switch (result->kind) {
    case AG_RESULT_SUCCEEDED:
    case AG_RESULT_FAILED:
    case AG_RESULT_FAILED_FINAL:
        ag_flyte_move(a, AG_FLYTE_COLLECTING);
        sy_blob_get(a->flyte->ports.blobs,
                    sy_arena_printf(&a->arena, "%s/error.pb", a->paths.attempt_dir),
                    ERROR_BYTES_MAX, on_error_file, a);
        return;
    case AG_RESULT_OUT_OF_MEMORY:
        ag_flyte_end(a, result->kind, AG_ERROR_USER, "OOMKilled", result->error_message);
        return;
    case AG_RESULT_LOST:
        ag_flyte_end(a, result->kind, AG_ERROR_USER, "Interrupted", result->error_message);
        return;
    case AG_RESULT_TIMED_OUT:
    case AG_RESULT_CANCELLED:
        ag_flyte_end(a, result->kind, AG_ERROR_USER, result->error_code, result->error_message);
        return;
    default:
        ag_flyte_end(a, result->kind, AG_ERROR_SYSTEM, result->error_code, result->error_message);
        return;
    }
}

/* ---- the inner executor's events ---- */

static struct ag_flyte_attempt *find(const struct ag_flyte *f, uint64_t id)
{
    return sy_map_entry(sy_map_find(&f->attempts, &id, sizeof(id)), struct ag_flyte_attempt, link);
}

static void inner_started(void *ctx, uint64_t id, int64_t started_ns)
{
    struct ag_flyte *f = ctx;
    f->events->on_started(f->events_ctx, id, started_ns);
}

static void inner_result(void *ctx, const struct ag_result *result)
{
    struct ag_flyte *f = ctx;
    struct ag_flyte_attempt *a = find(f, result->id);
    if (a != NULL)
        inner_ended(a, result);
    else
        f->events->on_result(f->events_ctx, result);
}

static void keep_tail(struct ag_flyte_attempt *a, struct sy_span data)
{
    if (data.len > AG_FLYTE_TAIL_BYTES)
        data = (struct sy_span){data.data + data.len - AG_FLYTE_TAIL_BYTES, AG_FLYTE_TAIL_BYTES};
    size_t room = AG_FLYTE_TAIL_BYTES - data.len;
    size_t keep = a->tail_size < room ? a->tail_size : room;
    memmove(a->tail, a->tail + a->tail_size - keep, keep);
    memcpy(a->tail + keep, data.data, data.len);
    a->tail_size = keep + data.len;
}

static void inner_log(void *ctx, uint64_t id, uint32_t stream, struct sy_span data)
{
    struct ag_flyte *f = ctx;
    struct ag_flyte_attempt *a = stream == 2 ? find(f, id) : NULL;
    if (a != NULL)
        keep_tail(a, data);
    f->events->on_log(f->events_ctx, id, stream, data);
}

static void inner_call(void *ctx, uint64_t id, uint64_t call, const char *method,
                       struct sy_span body)
{
    struct ag_flyte *f = ctx;
    f->events->on_call(f->events_ctx, id, call, method, body);
}

static const struct ag_executor_events inner_events = {inner_started, inner_result, inner_log,
                                                       inner_call};

/* ---- the start ---- */

static void look_for_checkpoint(struct ag_flyte_attempt *a);

static void on_checkpoint(void *ctx, int r, uint64_t size, const struct sy_error_text *error)
{
    (void)size;
    (void)error; /* one that cannot be read is none: the task starts from its beginning */
    struct ag_flyte_attempt *a = ctx;
    if (ag_flyte_cancelled(a))
        return;
    if (r == 0) {
        a->previous_checkpoint = ag_flyte_checkpoint(&a->arena, &a->paths, &a->work, a->looked_at);
        ag_flyte_read_secrets(a);
    } else {
        look_for_checkpoint(a);
    }
}

/* Of the newest earlier attempt that has one. */
static void look_for_checkpoint(struct ag_flyte_attempt *a)
{
    if (a->looked_at <= 1 || a->context.attempt - a->looked_at >= CHECKPOINTS_LOOKED_AT) {
        ag_flyte_read_secrets(a);
        return;
    }
    a->looked_at--;
    sy_blob_stat(a->flyte->ports.blobs,
                 ag_flyte_checkpoint(&a->arena, &a->paths, &a->work, a->looked_at), on_checkpoint,
                 a);
}

static void refuse_environment(struct ag_flyte_attempt *a)
{
    char message[SY_ERROR_TEXT_MAX];
    snprintf(message, sizeof(message),
             "image '%.200s': this agent's configuration has no environment for it; add it (or "
             "\"*\") under the key `environments`",
             a->spec.image);
    ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_USER, "InvalidImageName", message);
}

static void refuse_storage(struct ag_flyte_attempt *a)
{
    char message[SY_ERROR_TEXT_MAX];
    snprintf(message, sizeof(message),
             "its files would lie at %.200s, outside of the storage %.200s", a->paths.attempt_dir,
             sy_blobs_root(a->flyte->ports.blobs));
    ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "NoStorage", message);
}

static void start(struct ag_flyte *f, const struct ag_work *work)
{
    struct ag_flyte_attempt *a = sy_new(struct ag_flyte_attempt);
    a->flyte = f;
    a->id = work->id;
    a->looked_at = work->flyte->attempt;
    a->previous_checkpoint = "";
    sy_arena_init(&a->arena, ATTEMPT_ARENA_BYTES);
    sy_timer_init(&a->timer, on_timer, a);
    sm_init(&a->sm, &ag_flyte_table, AG_FLYTE_PREPARING);
    sy_map_add(&f->attempts, &a->link, &a->id, sizeof(a->id));
    copy_work(a, work);
    if (f->ports.blobs == NULL) {
        ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "NoStorage",
                     "this agent's configuration names no `storage`, which Flyte's tasks need");
        return;
    }
    ag_flyte_paths(&a->paths, &a->arena, &a->work, sy_blobs_root(f->ports.blobs));
    a->environment = ag_flyte_environment_find(f->environments, f->environment_count,
                                               a->spec.image);
    if (!sy_blobs_owns(f->ports.blobs, a->paths.attempt_dir))
        refuse_storage(a);
    else if (a->environment == NULL)
        refuse_environment(a);
    else
        look_for_checkpoint(a);
}

/* ---- the port ---- */

static void flyte_bind(struct ag_executor *base, const struct ag_executor_events *events, void *ctx)
{
    struct ag_flyte *f = (struct ag_flyte *)base;
    f->events = events;
    f->events_ctx = ctx;
    f->ports.inner->ops->bind(f->ports.inner, &inner_events, f);
}

static uint32_t flyte_pipeline(struct ag_executor *base, const struct sch_resources *request)
{
    struct ag_flyte *f = (struct ag_flyte *)base;
    return f->ports.inner->ops->pipeline(f->ports.inner, request);
}

static void flyte_start(struct ag_executor *base, const struct ag_work *work)
{
    struct ag_flyte *f = (struct ag_flyte *)base;
    if (work->flyte == NULL)
        f->ports.inner->ops->start(f->ports.inner, work);
    else
        start(f, work);
}

static void flyte_cancel(struct ag_executor *base, uint64_t id, const char *reason)
{
    struct ag_flyte *f = (struct ag_flyte *)base;
    struct ag_flyte_attempt *a = find(f, id);
    if (a == NULL || a->sm.state == AG_FLYTE_RUNNING) {
        f->ports.inner->ops->cancel(f->ports.inner, id, reason);
        return;
    }
    a->cancelled = true; /* while it prepares: what it waits for comes first */
}

static void flyte_kill(struct ag_executor *base, uint64_t id)
{
    struct ag_flyte *f = (struct ag_flyte *)base;
    struct ag_flyte_attempt *a = find(f, id);
    if (a == NULL || a->sm.state == AG_FLYTE_RUNNING)
        f->ports.inner->ops->kill(f->ports.inner, id);
    else
        a->cancelled = true;
}

static void flyte_reply(struct ag_executor *base, uint64_t id, uint64_t call, uint32_t code,
                        const char *message, struct sy_span body)
{
    struct ag_flyte *f = (struct ag_flyte *)base;
    f->ports.inner->ops->reply(f->ports.inner, id, call, code, message, body);
}

static void flyte_flush(struct ag_executor *base)
{
    struct ag_flyte *f = (struct ag_flyte *)base;
    f->ports.inner->ops->flush(f->ports.inner);
}

static void flyte_free(struct ag_executor *base)
{
    struct ag_flyte *f = (struct ag_flyte *)base;
    f->ports.inner->ops->free(f->ports.inner);
    SY_MAP_EACH(&f->attempts, at, next)
    {
        attempt_free(sy_map_entry(at, struct ag_flyte_attempt, link));
    }
    sy_map_deinit(&f->attempts);
    ag_bundles_free(f->bundles);
    sy_arena_deinit(&f->arena);
    free(f);
}

static const struct ag_executor_ops flyte_ops = {
    .bind = flyte_bind,
    .pipeline = flyte_pipeline,
    .start = flyte_start,
    .cancel = flyte_cancel,
    .kill = flyte_kill,
    .reply = flyte_reply,
    .flush = flyte_flush,
    .free = flyte_free,
};

static void copy_environments(struct ag_flyte *f, const struct ag_flyte_options *options)
{
    size_t count = options->environment_count;
    struct ag_flyte_environment *list = sy_arena_alloc(&f->arena, count * sizeof(*list) + 1);
    for (size_t i = 0; i < count; i++) {
        const struct ag_flyte_environment *from = &options->environments[i];
        list[i] = (struct ag_flyte_environment){
            .image = sy_arena_strdup(&f->arena, from->image),
            .venv = from->venv != NULL ? sy_arena_strdup(&f->arena, from->venv) : NULL,
            .command = copy_list(&f->arena, from->command),
        };
    }
    f->environments = list;
    f->environment_count = count;
}

int ag_flyte_new(struct ag_executor **ret_executor, const struct ag_flyte_options *options,
                 const struct ag_flyte_ports *ports, struct sy_error_text *error)
{
    struct ag_bundles *bundles;
    char dir[AG_FLYTE_PATH_BYTES];
    snprintf(dir, sizeof(dir), "%s/secrets", options->dir);
    sy_remove_tree(dir); /* of an agent that died */
    snprintf(dir, sizeof(dir), "%s/bundles", options->dir);
    int r = ag_bundles_new(&bundles, dir,
                           options->bundles_max != 0 ? options->bundles_max : BUNDLES_MAX, error);
    if (r < 0)
        return r;
    struct ag_flyte *f = sy_new(struct ag_flyte);
    const char *path = getenv("PATH");
    f->base.ops = &flyte_ops;
    f->ports = *ports;
    f->bundles = bundles;
    f->fork = options->fork;
    sy_arena_init(&f->arena, ATTEMPT_ARENA_BYTES);
    f->endpoint = sy_arena_strdup(&f->arena, options->endpoint);
    f->secrets_dir = sy_arena_printf(&f->arena, "%s/secrets", options->dir);
    f->worker = sy_arena_strdup(&f->arena, options->worker);
    f->path = sy_arena_strdup(&f->arena, path != NULL ? path : "/usr/local/bin:/usr/bin:/bin");
    f->env = copy_list(&f->arena, options->env);
    copy_environments(f, options);
    *ret_executor = &f->base;
    return 0;
}
