#include "agent/setup.h"

#include "agent/events.h"
#include "agent/node_facts.h"
#include "base/file.h"
#include "base/mem.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define PATH_BYTES 4096

/* ---- what the machine is ---- */

static void beside_us(const char *name, char ret[PATH_BYTES])
{
    char self[PATH_BYTES - 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    snprintf(ret, PATH_BYTES, "%s/%s", dirname(self), name);
}

static void read_boot_id(char *ret, size_t size)
{
    struct sy_buf text = {0};
    int r = sy_file_read("/proc/sys/kernel/random/boot_id", 256, &text);
    snprintf(ret, size, "%.*s", r == 0 ? (int)strcspn((char *)text.data, "\n") : 0,
             r == 0 ? (char *)text.data : "");
    sy_buf_deinit(&text);
}

/* ---- the parts ---- */

static void open_cgroups(struct ag_setup *s)
{
    /* Two agents of one machine must not take each other's groups for left-overs. */
    char name[128], real[PATH_BYTES];
    const char *dir = s->config->data_dir;
    if (realpath(dir, real) != NULL)
        dir = real;
    snprintf(name, sizeof(name), "switchyard-%.63s-%08llx", s->node,
             (unsigned long long)(XXH3_64bits(dir, strlen(dir)) & 0xffffffff));
    struct ag_cgroup_options options = {
        .mode = (enum ag_cgroup_mode)s->config->cgroup,
        .name = name,
        .cpu_quota = s->config->cpu_quota,
    };
    s->cgroups = ag_cgroups_new(&options, s->log);
}

static const char **pool_env(const struct ag_config_pool *pool)
{
    const char **env = sy_calloc(pool->env.count + 1, sizeof(*env));
    for (size_t i = 0; i < pool->env.count; i++) {
        char *item = NULL;
        int n = asprintf(&item, "%s=%s", pool->env.pairs[i].key, pool->env.pairs[i].value);
        SY_ASSERT(n >= 0);
        env[i] = item;
    }
    return env;
}

static int open_executor(struct ag_setup *s, struct sy_error_text *error)
{
    const struct ag_config *config = s->config;
    const struct ag_config_pool *pools = config->pools.items;
    size_t count = config->pools.count;
    char work[PATH_BYTES], worker[PATH_BYTES];
    snprintf(work, sizeof(work), "%s/work", config->data_dir);
    beside_us("switchyard-worker", worker);
    struct ag_pool_options *list = sy_calloc(count, sizeof(*list));
    const char ***commands = sy_calloc(count, sizeof(*commands));
    for (size_t i = 0; i < count; i++) {
        size_t words = pools[i].command.count;
        commands[i] = sy_calloc(words + 2, sizeof(const char *));
        for (size_t w = 0; w < words; w++)
            commands[i][w] = ((char *const *)pools[i].command.items)[w];
        if (words == 0)
            commands[i][0] = worker;
        list[i] = (struct ag_pool_options){
            .environment = pools[i].environment,
            .command = commands[i],
            .env = pool_env(&pools[i]),
            .min = (uint32_t)pools[i].min,
            .max = (uint32_t)pools[i].max,
            .concurrency = (uint32_t)pools[i].concurrency,
            .idle_ns = pools[i].idle_ns,
            .memory_bytes = (uint64_t)pools[i].memory_bytes,
        };
    }
    struct ag_exec_options options = {
        .work_dir = work,
        .node = s->node,
        .pools = list,
        .pool_count = count,
        .cancel_grace_ns = config->cancel_grace_ns,
        .pids_max = (uint32_t)config->processes_max,
        .files_max = (uint64_t)config->files_max,
    };
    struct ag_exec_ports ports = {s->loop, s->spawner, s->cgroups, s->io, s->journal, s->log};
    int r = ag_exec_new(&s->executor, &options, &ports, error);
    for (size_t i = 0; i < count; i++) {
        for (const char *const *item = list[i].env; *item != NULL; item++)
            free((char *)(uintptr_t)*item);
        free((const char **)(uintptr_t)list[i].env);
        free(commands[i]);
    }
    free(commands);
    free(list);
    return r;
}

static int open_logs(struct ag_setup *s, struct sy_error_text *error)
{
    char dir[PATH_BYTES];
    snprintf(dir, sizeof(dir), "%s/logs", s->config->data_dir);
    struct ag_logs_options options = {
        .dir = dir,
        .attempt_bytes_max = s->config->log_bytes_max,
        .retention_ns = s->config->log_retention_ns,
    };
    return ag_logs_new(&s->logs, s->loop, s->io, &options, s->log, error);
}

static int open_objects(struct ag_setup *s, uint64_t seed, struct sy_error_text *error)
{
    char dir[PATH_BYTES];
    snprintf(dir, sizeof(dir), "%s/cache", s->config->data_dir);
    struct ag_objects_options options = {
        .target = ag_config_operator(s->config),
        .bearer = s->bearer,
        .cache_dir = dir,
        .cache_bytes_max = s->config->cache_bytes_max,
        .object_bytes_max = s->config->object_bytes_max,
    };
    return ag_objects_new(&s->objects, s->rpc, s->loop, &options, seed, s->log, error);
}

static void on_operator(void *ctx, const char *target)
{
    struct ag_setup *s = ctx;
    if (s->operators_met++ == 0 && strcmp(target, ag_config_operator(s->config)) == 0)
        return; /* as it was set up */
    ag_objects_use(s->objects, target);
    sy_channel_free(s->secrets); /* calls under way keep it */
    s->secrets = sy_channel_new(s->rpc, target);
}

static int open_agent(struct ag_setup *s, uint64_t seed, struct sy_error_text *error)
{
    const struct ag_config_pool *pools = s->config->pools.items;
    struct sch_environment environments[16] = {0};
    char boot_id[64];
    SY_ASSERT(s->config->pools.count <= SY_COUNT_OF(environments));
    for (size_t i = 0; i < s->config->pools.count; i++) {
        snprintf(environments[i].name, sizeof(environments[i].name), "%s", pools[i].environment);
        environments[i].slots = (uint32_t)(pools[i].max * pools[i].concurrency);
    }
    read_boot_id(boot_id, sizeof(boot_id));
    const struct sy_config_list *list = &s->config->operators;
    const char **operators SY_AUTOFREE = sy_calloc(list->count + 2, sizeof(*operators));
    operators[0] = ag_config_operator(s->config);
    for (size_t i = 1; i < list->count; i++)
        operators[i] = ((char *const *)list->items)[i];
    struct ag_agent_options options = {
        .node = s->node,
        .boot_id = boot_id,
        .operators = operators,
        .address = s->config->address,
        .bearer = s->bearer,
        .environments = environments,
        .environment_count = s->config->pools.count,
        .inline_bytes_max = (size_t)s->config->inline_bytes_max,
    };
    struct ag_node_facts facts;
    int r = ag_node_facts_init(&facts, s->config, s->log, error);
    options.capacity = facts.capacity;
    options.traits = &facts.traits;
    options.gpu_groups = facts.grouped ? facts.gpu_groups : NULL;
    options.slice_names = facts.slice_names;
    struct ag_agent_ports ports = {
        .rpc = s->rpc,
        .loop = s->loop,
        .executor = s->executor,
        .journal = s->journal,
        .logs = s->logs,
        .objects = s->objects,
        .on_operator = on_operator,
        .on_operator_ctx = s,
        .seed = seed,
        .log = s->log,
    };
    return r == 0 ? ag_agent_new(&s->agent, &options, &ports, error) : r;
}

int ag_setup_open(struct ag_setup *s, struct sy_error_text *error)
{
    char path[PATH_BYTES];
    char host[256] = "node";
    if (s->config->node[0] == '\0')
        (void)gethostname(host, sizeof(host) - 1);
    s->node = sy_strdup(s->config->node[0] != '\0' ? s->config->node : host);
    if (s->config->spawner[0] != '\0')
        snprintf(path, sizeof(path), "%s", s->config->spawner);
    else
        beside_us("switchyard-spawner", path);
    int r = sy_bearer_load(&s->bearer, "agent_token_file", s->config->agent_token_file, error);
    if (r == 0)
        r = ag_spawner_new(&s->spawner, s->loop, path, s->log, error);
    if (r < 0)
        return r;
    open_cgroups(s);
    s->io = ag_io_new(s->loop, s->config->io_uring);
    if (s->config->io_uring && ag_io_is_plain(s->io))
        sy_log(s->log, &ag_events, AG_EV_IO_URING_MISSING);
    struct sy_rng rng;
    sy_rng_init_from_system(&rng);
    snprintf(path, sizeof(path), "%s/journal", s->config->data_dir);
    r = ag_journal_file_new(&s->journal, path, s->log, error);
    if (r == 0)
        r = open_executor(s, error);
    if (r == 0)
        r = open_logs(s, error);
    if (r == 0)
        r = sy_rpc_grpc_new(&s->rpc, error);
    if (r == 0)
        r = ag_setup_flyte(s, error);
    if (r == 0)
        r = open_objects(s, sy_rng_u64(&rng), error);
    if (r == 0)
        r = open_agent(s, sy_rng_u64(&rng), error);
    return r;
}

void ag_setup_close(struct ag_setup *s)
{
    ag_agent_free(s->agent);
    ag_objects_free(s->objects);
    if (s->executor != NULL)
        s->executor->ops->free(s->executor);
    sy_blobs_free(s->blobs);
    if (s->secrets != NULL)
        sy_channel_free(s->secrets);
    ag_logs_free(s->logs);
    ag_journal_free(s->journal);
    ag_spawner_free(s->spawner);
    ag_cgroups_free(s->cgroups);
    ag_io_free(s->io);
    if (s->rpc != NULL)
        sy_rpc_settle(s->rpc, &s->loop, 1);
    sy_rpc_free(s->rpc);
    sy_bearer_deinit(&s->bearer);
    free(s->node);
}
