#include "agent/config.h"

#include "agent/worker_page.h"
#include "base/clock.h"
#include "scheduler/resources.h"

#include <string.h>

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const cgroup_modes[] = {"auto", "v1", "v2", "none", NULL};

static const struct sy_config_key pool_keys[] = {
    SY_CONFIG_STRING("environment", struct ag_config_pool, environment, NULL,
                     "name that tasks give as container.image"),
    SY_CONFIG_STRINGS("command", struct ag_config_pool, command, "",
                      "how a worker is started; empty = switchyard-worker beside the agent"),
    SY_CONFIG_MAP("env", struct ag_config_pool, env, "", "environment variables of its workers"),
    SY_CONFIG_INT("min", struct ag_config_pool, min, 0, 0, 1024, "workers that are always there"),
    SY_CONFIG_INT("max", struct ag_config_pool, max, 1, 1, 1024, "most workers"),
    SY_CONFIG_INT("concurrency", struct ag_config_pool, concurrency, 1, 1, 200,
                  "tasks at a time in one worker"),
    SY_CONFIG_DURATION("idle", struct ag_config_pool, idle_ns, "60s", "10ms", "24h",
                       "a worker beyond min that did nothing for so long is stopped"),
    SY_CONFIG_SIZE("memory", struct ag_config_pool, memory_bytes, "0", "0", "1TiB",
                   "memory limit of one worker; 0 = none"),
};

static const struct sy_config_key slices_keys[] = {
    SY_CONFIG_STRING("profile", struct ag_config_slices, profile, NULL,
                     "MIG profile, as tasks ask for it: 1g.5gb"),
    SY_CONFIG_STRINGS("devices", struct ag_config_slices, devices, NULL,
                      "the slices, as nvidia-smi -L names them: MIG-..."),
};

static const struct sy_config_key keys[] = {
    SY_CONFIG_STRING("node", struct ag_config, node, "",
                     "name of this node in its cluster; empty = the host's name"),
    SY_CONFIG_STRING("operator", struct ag_config, operator_target, "",
                     "the cluster's operator, host:port"),
    SY_CONFIG_STRINGS("operators", struct ag_config, operators, "",
                      "in place of operator, of a cluster that has several: all of them"),
    SY_CONFIG_STRING("address", struct ag_config, address, "",
                     "host name or address by which other nodes reach this one, for gangs; empty = "
                     "as the operator sees it"),
    SY_CONFIG_STRING("agent_token_file", struct ag_config, agent_token_file, "",
                     "mode 0600; holds the token that the operator asks agents for; empty = none"),
    SY_CONFIG_STRING("data_dir", struct ag_config, data_dir, NULL,
                     "directory for journal, logs, cache and scratch files"),
    SY_CONFIG_INT("cpu_milli", struct ag_config, cpu_milli, 0, 0, 100000000,
                  "thousandths of cores to give to tasks; 0 = all there are"),
    SY_CONFIG_SIZE("memory", struct ag_config, memory_bytes, "0", "0", "1TiB",
                   "memory to give to tasks; 0 = nine tenths of what there is"),
    SY_CONFIG_INT("gpus", struct ag_config, gpus, -1, -1, 1024, "GPUs to give; -1 = all found"),
    SY_CONFIG_STRING("gpu_model", struct ag_config, gpu_model, "",
                     "their model, as tasks ask for it; empty = as found"),
    SY_CONFIG_BOOL("gpu_sharing", struct ag_config, gpu_sharing, "false",
                   "tasks may ask for a part of a GPU (they are trusted to keep to it)"),
    SY_CONFIG_STRINGS("gpu_groups", struct ag_config, gpu_groups, "",
                      "GPUs that NVLink or a NUMA node joins, such as 0-3 or 0,2: a task gets its "
                      "GPUs from one group when it can"),
    SY_CONFIG_LIST("gpu_slices", struct ag_config, gpu_slices, "", struct ag_config_slices,
                   slices_keys, "MIG slices, beside the whole GPUs"),
    SY_CONFIG_MAP("labels", struct ag_config, labels, "",
                  "what tasks may ask of a node: \"disk: ssd\""),
    SY_CONFIG_STRINGS("taints", struct ag_config, taints, "",
                      "KEY or KEY=VALUE: only tasks that tolerate them all are placed here"),
    SY_CONFIG_BOOL("spot", struct ag_config, spot, "false",
                   "the node may be taken away at short notice: only interruptible tasks come"),
    SY_CONFIG_LIST("pools", struct ag_config, pools, "", struct ag_config_pool, pool_keys,
                   "warm workers, one pool for each environment"),
    SY_CONFIG_SIZE("inline_bytes_max", struct ag_config, inline_bytes_max, "64KiB", "0", "1MiB",
                   "larger outputs go to the object store"),
    SY_CONFIG_ENUM("cgroup", struct ag_config, cgroup, "auto", cgroup_modes,
                   "which control groups limit tasks"),
    SY_CONFIG_BOOL("cpu_quota", struct ag_config, cpu_quota, "false",
                   "processes may not use more cpu than asked, even when it is free"),
    SY_CONFIG_SIZE("log_bytes_max", struct ag_config, log_bytes_max, "64MiB", "1KiB", "1TiB",
                   "most log of one attempt"),
    SY_CONFIG_DURATION("log_retention", struct ag_config, log_retention_ns, "7d", "1m", "3650d",
                       "logs older than this are removed"),
    SY_CONFIG_SIZE("cache_bytes_max", struct ag_config, cache_bytes_max, "10GiB", "1MiB", "1TiB",
                   "most bytes of cached inputs"),
    SY_CONFIG_SIZE("object_bytes_max", struct ag_config, object_bytes_max, "1GiB", "1KiB", "1TiB",
                   "largest output or input"),
    SY_CONFIG_DURATION("cancel_grace", struct ag_config, cancel_grace_ns, "10s", "1ms", "1h",
                       "between asking a task to stop and killing it"),
    SY_CONFIG_DURATION("stop_grace", struct ag_config, stop_grace_ns, "5s", "0", "24h",
                       "when the agent stops: how long tasks may go on"),
    SY_CONFIG_INT("processes_max", struct ag_config, processes_max, 4096, 16, 4194304,
                  "most processes and threads of one attempt"),
    SY_CONFIG_INT("files_max", struct ag_config, files_max, 1024, 64, 1048576,
                  "soft limit of open files of a task"),
    SY_CONFIG_BOOL("io_uring", struct ag_config, io_uring, "true",
                   "write logs through io_uring where it is permitted"),
    SY_CONFIG_STRING("spawner", struct ag_config, spawner, "",
                     "program; empty = switchyard-spawner beside the agent"),
    SY_CONFIG_ENUM("log_level", struct ag_config, log_level, "info", log_levels, "what is logged"),
    SY_BLOB_CONFIG(struct ag_config, storage, "storage",
                   "where Flyte's files lie, as the operator has it: /DIR or s3://BUCKET/PREFIX; "
                   "empty = Flyte's tasks are refused"),
    SY_CONFIG_STRING("flyte_endpoint", struct ag_config, flyte_endpoint, "",
                     "the shards as Flyte's tasks reach them, host:port; empty = the endpoint of "
                     "the shard that assigned the task, localhost:8090 where that has none"),
    SY_CONFIG_MAP("environments", struct ag_config, environments, "",
                  "container.image of Flyte's tasks: a virtual environment's directory, or a "
                  "command that theirs is appended to; \"*\" = every image that is not named"),
    SY_CONFIG_MAP("flyte_env", struct ag_config, flyte_env, "",
                  "environment variables of all Flyte tasks"),
    SY_CONFIG_BOOL("python_fork", struct ag_config, python_fork, "false",
                   "ordinary Flyte tasks run in forks of a preloaded interpreter"),
    SY_CONFIG_STRING("python_worker", struct ag_config, python_worker, "",
                     "switchyard_worker.py; empty = the one beside the agent"),
    SY_CONFIG_INT("bundles_max", struct ag_config, bundles_max, 64, 1, 100000,
                  "unpacked code bundles that are kept"),
};

#define COUNT (sizeof(keys) / sizeof(keys[0]))

const char *ag_config_operator(const struct ag_config *config)
{
    return config->operators.count > 0 ? ((char *const *)config->operators.items)[0]
                                       : config->operator_target;
}

static int check_operators(const struct ag_config *config, const char *name,
                           struct sy_error_text *error)
{
    char *const *operators = config->operators.items;
    bool one = config->operator_target[0] != '\0';
    if (one && config->operators.count > 0) {
        sy_error_text_set(error, "%s: operator and operators: expected one of them", name);
        return -EINVAL;
    }
    if (config->operators.count == 0 && strchr(config->operator_target, ':') == NULL) {
        sy_error_text_set(error, "%s: operator: '%s' is not host:port", name,
                          config->operator_target);
        return -EINVAL;
    }
    for (size_t i = 0; i < config->operators.count; i++) {
        if (strchr(operators[i], ':') == NULL) {
            sy_error_text_set(error, "%s: operators: '%s' is not host:port", name, operators[i]);
            return -EINVAL;
        }
    }
    return 0;
}

/* What no single key can say. */
static int check(const struct ag_config *config, const char *name, struct sy_error_text *error)
{
    const struct ag_config_pool *pools = config->pools.items;
    if (check_operators(config, name, error) < 0)
        return -EINVAL;
    if (config->pools.count > 16) {
        sy_error_text_set(error, "%s: pools: %zu, at most 16 are allowed", name,
                          config->pools.count);
        return -EINVAL;
    }
    for (size_t i = 0; i < config->pools.count; i++) {
        const struct ag_config_pool *pool = &pools[i];
        if (pool->environment[0] == '\0' || strlen(pool->environment) >= SCH_ENVIRONMENT_MAX) {
            sy_error_text_set(error, "%s: pools: environment '%s': expected 1 to %d characters",
                              name, pool->environment, SCH_ENVIRONMENT_MAX - 1);
            return -EINVAL;
        }
        if (pool->min > pool->max) {
            sy_error_text_set(error, "%s: pools: environment '%s': min %lld is above max %lld",
                              name, pool->environment, (long long)pool->min, (long long)pool->max);
            return -EINVAL;
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(pools[j].environment, pool->environment) == 0) {
                sy_error_text_set(error, "%s: pools: environment '%s' is there twice", name,
                                  pool->environment);
                return -EINVAL;
            }
        }
    }
    return 0;
}

static int checked(struct ag_config *config, int r, const char *name, struct sy_error_text *error)
{
    if (r < 0)
        return r;
    r = check(config, name, error);
    if (r < 0)
        ag_config_free(config);
    return r;
}

int ag_config_load(struct ag_config *ret, const char *path, struct sy_error_text *error)
{
    int r = sy_config_load(ret, sizeof(*ret), keys, COUNT, path, error);
    return checked(ret, r, path != NULL ? path : "defaults", error);
}

int ag_config_parse(struct ag_config *ret, const char *name, const char *text, size_t len,
                    struct sy_error_text *error)
{
    int r = sy_config_parse(ret, sizeof(*ret), keys, COUNT, name, text, len, error);
    return checked(ret, r, name, error);
}

void ag_config_free(struct ag_config *config)
{
    sy_config_free(config, keys, COUNT);
}

void ag_config_print(int fd)
{
    sy_config_print(keys, COUNT, fd);
}
