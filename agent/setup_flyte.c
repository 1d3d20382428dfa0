/* What an agent needs for Flyte programs, from its configuration. */
#include "agent/setup.h"

#include "base/mem.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA_BYTES ((size_t)16 << 20)
#define PATH_BYTES 4096

static bool is_directory(const char *path)
{
    struct stat stat_;
    return stat(path, &stat_) == 0 && S_ISDIR(stat_.st_mode);
}

/* The words of a command; blanks between them. */
static const char *const *split(struct sy_arena *arena, const char *command)
{
    char *text = sy_arena_strdup(arena, command), *rest = NULL;
    const char **words = sy_arena_alloc(arena, (strlen(command) / 2 + 2) * sizeof(*words));
    size_t count = 0;
    for (char *word = strtok_r(text, " \t", &rest); word != NULL;
         word = strtok_r(NULL, " \t", &rest))
        words[count++] = word;
    words[count] = NULL;
    return words;
}

static int read_environments(struct sy_arena *arena, const struct sy_config_map *map,
                             struct ag_flyte_options *ret, struct sy_error_text *error)
{
    struct ag_flyte_environment *list = sy_arena_alloc(arena, map->count * sizeof(*list) + 1);
    for (size_t i = 0; i < map->count; i++) {
        const char *value = map->pairs[i].value;
        list[i] = (struct ag_flyte_environment){.image = map->pairs[i].key};
        if (is_directory(value))
            list[i].venv = value;
        else
            list[i].command = split(arena, value);
        if (list[i].venv == NULL && (list[i].command[0] == NULL || value[0] == '/') &&
            strpbrk(value, " \t") == NULL && access(value, X_OK) < 0) {
            sy_error_text_set(error,
                              "environments: image '%s': '%s' is neither a virtual environment's "
                              "directory nor a command",
                              map->pairs[i].key, value);
            return -EINVAL;
        }
    }
    ret->environments = list;
    ret->environment_count = map->count;
    return 0;
}

/* Every Flyte task's variables: what the SDK needs to reach the storage, and the configured ones.
 */
static const char *const *read_env(struct sy_arena *arena, const struct sy_config_map *map,
                                   const struct sy_blob_options *storage)
{
    const char **env = sy_arena_alloc(arena, (map->count + 6) * sizeof(*env));
    size_t count = 0;
    if (strncmp(storage->root, "s3://", 5) == 0) {
        if (storage->endpoint[0] != '\0')
            env[count++] = sy_arena_printf(arena, "FLYTE_AWS_ENDPOINT=%s", storage->endpoint);
        env[count++] = sy_arena_printf(arena, "FLYTE_AWS_ACCESS_KEY_ID=%s", storage->access_key);
        env[count++] = sy_arena_printf(arena, "FLYTE_AWS_SECRET_ACCESS_KEY=%s",
                                       storage->secret_key);
        env[count++] = sy_arena_printf(arena, "AWS_REGION=%s", storage->region);
        if (storage->path_style)
            env[count++] = "FLYTE_AWS_S3_ADDRESSING_STYLE=path";
    }
    for (size_t i = 0; i < map->count; i++)
        env[count++] = sy_arena_printf(arena, "%s=%s", map->pairs[i].key, map->pairs[i].value);
    env[count] = NULL;
    return env;
}

static const char *find_worker(const struct ag_config *config, char ret[PATH_BYTES])
{
    char self[PATH_BYTES - 64];
    if (config->python_worker[0] != '\0')
        return config->python_worker;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    snprintf(ret, PATH_BYTES, "%s/switchyard_worker.py", dirname(self));
    return ret;
}

int ag_setup_flyte(struct ag_setup *s, struct sy_error_text *error)
{
    const struct ag_config *config = s->config;
    char dir[PATH_BYTES], worker[PATH_BYTES];
    SY_CLEANUP(sy_arena_deinit) struct sy_arena arena;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf secret = {0};
    struct sy_blob_options storage;
    sy_arena_init(&arena, ARENA_BYTES);
    snprintf(dir, sizeof(dir), "%s/flyte", config->data_dir);
    s->secrets = sy_channel_new(s->rpc, ag_config_operator(config));
    struct ag_flyte_options options = {
        .dir = dir,
        .endpoint = config->flyte_endpoint,
        .worker = find_worker(config, worker),
        .fork = config->python_fork,
        .bundles_max = (size_t)config->bundles_max,
    };
    int r = sy_blob_config_options(&config->storage, "storage", "", &storage, &secret, error);
    if (r == 0 && storage.root[0] != '\0')
        r = sy_blobs_new(&s->blobs, s->loop, &storage, error);
    if (r == 0)
        r = read_environments(&arena, &config->environments, &options, error);
    if (r < 0)
        return r;
    options.env = read_env(&arena, &config->flyte_env, &storage);
    struct ag_flyte_ports ports = {s->executor, s->loop, s->blobs, &s->secrets, s->bearer, s->log};
    return ag_flyte_new(&s->executor, &options, &ports, error);
}
