/* How an attempt is run: its command line and environment, and who carries them out. */
#include "agent/flyte_impl.h"

#include "agent/exec.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>

/* False: it has ended. */
static bool make_directories(struct ag_flyte_attempt *a, const char *bundle)
{
    char message[SY_ERROR_TEXT_MAX];
    if (a->paths.attempt_dir[0] == '/') {
        int r = sy_mkdir_p(a->paths.attempt_dir, 0755);
        if (r < 0) {
            snprintf(message, sizeof(message), "the attempt's directory %.300s: %s",
                     a->paths.attempt_dir, strerror(-r));
            ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "NotStarted", message);
            return false;
        }
    }
    a->cwd = bundle != NULL ? ag_bundles_take(a->flyte->bundles, bundle) : NULL;
    if (bundle != NULL && a->cwd == NULL) {
        snprintf(message, sizeof(message), "a directory for the code bundle: %s", strerror(errno));
        ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "NotStarted", message);
        return false;
    }
    return true;
}

/* ---- warm interpreters ---- */

#define FORKS_MAX 200 /* children of one interpreter */
#define FORKER_IDLE_NS (3600 * SY_NS_PER_S)
#define REUSE_IDLE_NS (60 * SY_NS_PER_S)

/* The SDK's own entry point, in a virtual environment whose interpreter we can start. */
static bool is_a0(const struct ag_flyte_attempt *a, const char *program)
{
    const char *slash = strrchr(program, '/');
    return a->environment->venv != NULL && strcmp(slash != NULL ? slash + 1 : program, "a0") == 0;
}

static const char *const *worker_command(struct ag_flyte_attempt *a, const char *mode)
{
    const char **command = sy_arena_alloc(&a->arena, 4 * sizeof(*command));
    command[0] = sy_arena_printf(&a->arena, "%s/bin/python", a->environment->venv);
    command[1] = a->flyte->worker;
    command[2] = mode;
    command[3] = NULL;
    return command;
}

/* Workers of one version serve one project and domain, whose secrets and settings they hold. */
static void reuse_pool(struct ag_flyte_attempt *a, const char *const *env,
                       struct ag_pool_options *ret)
{
    const struct ag_spec_flyte *spec = &a->spec;
    const char *run = a->work.run;
    int scope = spec->per_run ? (int)strlen(run) : (int)(strrchr(run, '/') - run);
    *ret = (struct ag_pool_options){
        .environment = sy_arena_printf(&a->arena, "reuse %s %.*s %s", spec->pool_version, scope,
                                       run, a->environment->venv),
        .command = worker_command(a, "reuse"),
        .env = env,
        .min = spec->min,
        .max = spec->max,
        .concurrency = spec->concurrency,
        .idle_ns = spec->scaledown_ns > 0 ? spec->scaledown_ns : REUSE_IDLE_NS,
        .remove_ns = spec->idle_ns > 0 ? spec->idle_ns : REUSE_IDLE_NS,
        .memory_bytes = a->work.request.memory_bytes * spec->concurrency,
    };
}

static void fork_pool(struct ag_flyte_attempt *a, const char *const *env,
                      struct ag_pool_options *ret)
{
    *ret = (struct ag_pool_options){
        .environment = sy_arena_printf(&a->arena, "fork %s", a->environment->venv),
        .command = worker_command(a, "fork"),
        .env = env,
        .max = 1,
        .concurrency = FORKS_MAX,
        .idle_ns = FORKER_IDLE_NS,
        .remove_ns = FORKER_IDLE_NS,
        .forks = true,
    };
}

/* What its worker would have, which is for several: it may need most of that. */
static void give_all(struct ag_work *work, const struct ag_spec_flyte *spec)
{
    work->request.memory_bytes *= spec->concurrency;
    work->request.cpu_milli *= spec->concurrency;
}

/* As it is configured, else as the shard says that assigned it; that of one machine knows no name.
 */
static const char *endpoint_of(const struct ag_flyte_attempt *a)
{
    if (a->flyte->endpoint[0] != '\0')
        return a->flyte->endpoint;
    return a->context.endpoint[0] != '\0' ? a->context.endpoint : "localhost:8090";
}

void ag_flyte_launch(struct ag_flyte_attempt *a)
{
    const struct ag_flyte *f = a->flyte;
    const struct ag_flyte_plan_options options = {
        .endpoint = endpoint_of(a),
        .env = f->env,
        .previous_checkpoint = a->previous_checkpoint,
        .path = f->path,
        .environment = a->environment,
    };
    struct ag_pool_options pool;
    struct ag_work work = a->work;
    work.args = ag_flyte_args(&a->arena, &a->work, &a->paths, &options);
    work.env = ag_flyte_env(&a->arena, &a->work, &a->paths, &options, a->secrets);
    work.flyte = NULL;
    if (is_a0(a, work.args[0]) && !work.suspect && (a->spec.reusable || f->fork))
        work.pool = &pool;
    const char *bundle = ag_flyte_bundle(work.args);
    if (bundle == NULL && work.pool != NULL)
        bundle = ""; /* code of the image: they share a directory too */
    if (!make_directories(a, bundle))
        return;
    if (work.pool != NULL && a->spec.reusable)
        reuse_pool(a, work.env, &pool);
    else if (work.pool != NULL)
        fork_pool(a, ag_flyte_worker_env(&a->arena, &options), &pool);
    else if (work.suspect && a->spec.reusable)
        give_all(&work, &a->spec);
    work.cwd = a->cwd;
    ag_flyte_move(a, AG_FLYTE_RUNNING);
    f->ports.inner->ops->start(f->ports.inner, &work);
}
