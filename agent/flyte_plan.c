#include "agent/flyte_plan.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* ---- paths ---- */

static const char *attempt_name(struct sy_arena *arena, const struct ag_work *work,
                                uint32_t attempt)
{
    return sy_arena_printf(arena, "%llx/%u", (unsigned long long)work->flyte->action, attempt);
}

void ag_flyte_paths(struct ag_flyte_paths *ret, struct sy_arena *arena, const struct ag_work *work,
                    const char *root)
{
    const struct ag_flyte_work *f = work->flyte;
    const char *attempt = attempt_name(arena, work, work->flyte->attempt);
    ret->run_base = f->run_output_base[0] != '\0'
                        ? sy_arena_strdup(arena, f->run_output_base)
                        : sy_arena_printf(arena, "%s/%s", root, work->run);
    ret->attempt_dir = sy_arena_printf(arena, "%s/%s/%s", ret->run_base, work->name, attempt);
    ret->checkpoint = ag_flyte_checkpoint(arena, ret, work, work->flyte->attempt);
    ret->raw_data = f->raw_data_prefix[0] != '\0'
                        ? sy_arena_printf(arena, "%s/%s/%s/%s", f->raw_data_prefix, work->run,
                                          work->name, attempt)
                        : sy_arena_printf(arena, "%s/data", ret->attempt_dir);
}

const char *ag_flyte_checkpoint(struct sy_arena *arena, const struct ag_flyte_paths *paths,
                                const struct ag_work *work, uint32_t attempt)
{
    return sy_arena_printf(arena, "%s/%s/%s/_flytecheckpoints", paths->run_base, work->name,
                           attempt_name(arena, work, attempt));
}

/* ---- templates ---- */

struct template
{
    const char *name, *value;
};

static const char *value_of(const struct ag_flyte_values *v, const char *name, size_t len)
{
    const struct template known[] = {
        {"input", v->input},
        {"outputPrefix", v->output_prefix},
        {"rawOutputDataPrefix", v->raw_data},
        {"checkpointOutputPrefix", v->checkpoint},
        {"prevCheckpointPrefix", v->previous_checkpoint},
        {"runName", v->run},
        {"actionName", v->action},
        {"runStartTime", v->run_start},
    };
    for (size_t i = 0; i < SY_COUNT_OF(known); i++) {
        if (strlen(known[i].name) == len && strncasecmp(known[i].name, name, len) == 0)
            return known[i].value;
    }
    return NULL;
}

static const char *skip_space(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* At "{{": the value, and *ret_end behind "}}"; NULL: it is no template of ours. */
static const char *read_template(const char *at, const struct ag_flyte_values *values,
                                 const char **ret_end)
{
    at = skip_space(at + 2);
    if (*at != '.' && *at != '$')
        return NULL;
    const char *name = ++at;
    while (isalnum((unsigned char)*at))
        at++;
    const char *value = value_of(values, name, (size_t)(at - name));
    at = skip_space(at);
    if (value == NULL || at[0] != '}' || at[1] != '}')
        return NULL;
    *ret_end = at + 2;
    return value;
}

const char *ag_flyte_fill_in(struct sy_arena *arena, const char *text,
                             const struct ag_flyte_values *values)
{
    struct sy_buf out = {0};
    for (const char *open; (open = strstr(text, "{{")) != NULL;) {
        const char *end = open + 2;
        const char *value = read_template(open, values, &end);
        sy_buf_append(&out, text, (size_t)(open - text));
        if (value != NULL)
            sy_buf_append_str(&out, value);
        else
            sy_buf_append(&out, open, 2);
        text = end;
    }
    sy_buf_append(&out, text, strlen(text) + 1);
    const char *filled = sy_arena_strdup(arena, (const char *)out.data);
    sy_buf_deinit(&out);
    return filled;
}

/* ---- the command line ---- */

const struct ag_flyte_environment *
ag_flyte_environment_find(const struct ag_flyte_environment *environments, size_t count,
                          const char *image)
{
    const struct ag_flyte_environment *any = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(environments[i].image, image) == 0)
            return &environments[i];
        if (strcmp(environments[i].image, "*") == 0)
            any = &environments[i];
    }
    return any;
}

static const char *run_name(const struct ag_work *work)
{
    const char *slash = strrchr(work->run, '/');
    return slash != NULL ? slash + 1 : work->run;
}

static const char *run_start(struct sy_arena *arena, int64_t ns)
{
    time_t seconds = (time_t)(ns / SY_NS_PER_S);
    struct tm tm = {0};
    char text[32];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    return sy_arena_printf(arena, "%s.%06dZ", text, (int)(ns % SY_NS_PER_S / 1000));
}

static const char *find_program(struct sy_arena *arena, const char *venv, const char *name)
{
    if (venv == NULL || strchr(name, '/') != NULL)
        return name;
    const char *path = sy_arena_printf(arena, "%s/bin/%s", venv, name);
    return access(path, X_OK) == 0 ? path : name;
}

const char *const *ag_flyte_args(struct sy_arena *arena, const struct ag_work *work,
                                 const struct ag_flyte_paths *paths,
                                 const struct ag_flyte_plan_options *options)
{
    const struct ag_flyte_values values = {
        .input = work->flyte->input_uri,
        .output_prefix = paths->attempt_dir,
        .raw_data = paths->raw_data,
        .checkpoint = paths->checkpoint,
        .previous_checkpoint = options->previous_checkpoint,
        .run = run_name(work),
        .action = work->name,
        .run_start = run_start(arena, work->flyte->run_start_ns),
    };
    const struct ag_flyte_environment *environment = options->environment;
    size_t prefix = 0, count = 0;
    while (environment->venv == NULL && environment->command[prefix] != NULL)
        prefix++;
    while (work->args[count] != NULL)
        count++;
    const char **args = sy_arena_alloc(arena, (prefix + count + 1) * sizeof(*args));
    for (size_t i = 0; i < prefix; i++)
        args[i] = environment->command[i];
    for (size_t i = 0; i < count; i++)
        args[prefix + i] = ag_flyte_fill_in(arena, work->args[i], &values);
    if (prefix == 0)
        args[0] = find_program(arena, environment->venv, args[0]);
    args[prefix + count] = NULL;
    return args;
}

const char *ag_flyte_bundle(const char *const *args)
{
    for (; args[0] != NULL && args[1] != NULL; args++) {
        if (strcmp(args[0], "--tgz") == 0 || strcmp(args[0], "--pkl") == 0)
            return args[1];
    }
    return NULL;
}

/* ---- the environment ---- */

struct env_list {
    struct sy_arena *arena;
    const char **items;
    size_t count, cap;
};

static void put(struct env_list *env, const char *item)
{
    const char *equals = strchr(item, '=');
    if (equals == NULL || equals == item)
        return;
    size_t key = (size_t)(equals - item) + 1;
    for (size_t i = 0; i < env->count; i++) {
        if (strncmp(env->items[i], item, key) == 0) {
            env->items[i] = item;
            return;
        }
    }
    if (env->count + 1 >= env->cap) {
        size_t cap = env->cap ? env->cap * 2 : 64;
        const char **items = sy_arena_alloc(env->arena, cap * sizeof(*items));
        if (env->count > 0)
            memcpy(items, env->items, env->count * sizeof(*items));
        env->items = items;
        env->cap = cap;
    }
    env->items[env->count++] = item;
    env->items[env->count] = NULL;
}

static void put_all(struct env_list *env, const char *const *items)
{
    for (; items != NULL && *items != NULL; items++)
        put(env, sy_arena_strdup(env->arena, *items));
}

static void put_pair(struct env_list *env, const char *key, const char *value)
{
    put(env, sy_arena_printf(env->arena, "%s=%s", key, value));
}

/* Who it is: after what users set, so that they cannot break it. */
static void put_identity(struct env_list *env, const struct ag_work *work,
                         const struct ag_flyte_paths *paths, const char *endpoint)
{
    const char *domain = strchr(work->run, '/'), *run = strrchr(work->run, '/');
    SY_ASSERT(domain != NULL && run > domain); /* "project/domain/run" */
    put(env, sy_arena_printf(env->arena, "FLYTE_INTERNAL_EXECUTION_PROJECT=%.*s",
                             (int)(domain - work->run), work->run));
    put(env, sy_arena_printf(env->arena, "FLYTE_INTERNAL_EXECUTION_DOMAIN=%.*s",
                             (int)(run - domain - 1), domain + 1));
    put_pair(env, "RUN_NAME", run + 1);
    put_pair(env, "ACTION_NAME", work->name);
    put_pair(env, "_U_ORG_NAME", work->flyte->org[0] != '\0' ? work->flyte->org : "local");
    put_pair(env, "_U_RUN_BASE", paths->run_base);
    put_pair(env, "_U_EP_OVERRIDE", endpoint);
    uint32_t attempt = work->flyte->attempt;
    put(env, sy_arena_printf(env->arena, "FLYTE_ATTEMPT_NUMBER=%u", attempt > 0 ? attempt - 1 : 0));
}

static void put_common(struct env_list *env, const struct ag_flyte_plan_options *options)
{
    static const char *const always[] = {"_U_INSECURE=true",         "_U_USE_ACTIONS=1",
                                         "FSSPEC_FILE_AUTO_MKDIR=1", "FLYTE_DISABLE_SENTRY=1",
                                         "PYTHONUNBUFFERED=1",       NULL};
    const char *venv = options->environment->venv;
    if (venv != NULL) {
        put(env, sy_arena_printf(env->arena, "PATH=%s/bin:%s", venv, options->path));
        put_pair(env, "VIRTUAL_ENV", venv);
    }
    put_all(env, always);
    put_all(env, options->env);
}

const char *const *ag_flyte_worker_env(struct sy_arena *arena,
                                       const struct ag_flyte_plan_options *options)
{
    struct env_list env = {.arena = arena};
    put_common(&env, options);
    put_pair(&env, "FLYTE_INTERNAL_EXECUTION_PROJECT", ""); /* imported as in a task */
    return env.items;
}

const char *const *ag_flyte_env(struct sy_arena *arena, const struct ag_work *work,
                                const struct ag_flyte_paths *paths,
                                const struct ag_flyte_plan_options *options,
                                const char *const *secrets)
{
    struct env_list env = {.arena = arena};
    put_common(&env, options);
    put_all(&env, work->flyte->envs);
    put_all(&env, work->env);
    put_identity(&env, work, paths, options->endpoint);
    put_all(&env, secrets);
    return env.items;
}
