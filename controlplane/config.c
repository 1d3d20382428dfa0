#include "controlplane/config.h"

#include "base/http.h"
#include "base/mem.h"
#include "controlplane/names.h"

#include <stdlib.h>
#include <string.h>

enum coordination { COORDINATION_NONE, COORDINATION_ETCD };
static const char *const coordinations[] = {"none", "etcd", NULL};
enum registration { REGISTRATION_OPEN, REGISTRATION_REQUIRED };
static const char *const registrations[] = {"open", "required", NULL};
enum storage { STORAGE_SHARED, STORAGE_LOCAL };
static const char *const storages[] = {"shared", "local", NULL};
/* By enum sch_infeasible: INHERIT is no word, for nothing is above. */
static const char *const infeasibles[] = {"hold", "fail", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};

static const struct sy_config_key keys[] = {
    SY_CONFIG_STRING("name", struct cp_config, name, "shard-1", "unique in the region"),
    SY_CONFIG_STRING("region", struct cp_config, region, "local", "name of the region"),
    SY_CONFIG_STRING("listen", struct cp_config, listen, "127.0.0.1:8090",
                     "host:port, or unix:/path, of every service; port 0 takes a free one"),
    SY_CONFIG_STRING(
        "console_listen", struct cp_config, console_listen, "127.0.0.1:8080",
        "host:port, or unix:/path, of the pages of runs and of /metrics; empty = none"),
    SY_CONFIG_STRINGS("allow_origins", struct cp_config, allow_origins, "",
                      "web pages that browsers let call it, like https://console.example; \"*\" = "
                      "all pages, which then do what their visitors could"),
    SY_CONFIG_STRING(
        "data_dir", struct cp_config, data_dir, NULL,
        "one RocksDB for each partition goes below it; with etcd and shared storage all "
        "shards of the region mount it"),
    SY_CONFIG_STRING("pid_file", struct cp_config, pid_file, "", "locked while the shard lives"),
    SY_CONFIG_INT("partitions", struct cp_config, partitions, 1, 1, 256,
                  "of the region, the same for all its shards; each has its thread, store and "
                  "queue; cannot be changed once there is data"),
    SY_CONFIG_INT("partitions_max", struct cp_config, partitions_max, 0, 0, 256,
                  "with etcd: as many as the region may come to have by splits; "
                  "at least as many threads; 0: as `partitions`"),
    SY_CONFIG_ENUM("coordination", struct cp_config, coordination, "none", coordinations,
                   "who owns which partition; none: this shard owns them all; etcd: the shards of "
                   "the region share them"),
    SY_CONFIG_STRINGS("etcd", struct cp_config, etcd, "",
                      "members of the etcd that holds the region's records, host:port each"),
    SY_CONFIG_STRING("endpoint", struct cp_config, endpoint, "",
                     "host:port where other shards, operators and clients reach this one; needed "
                     "with etcd"),
    SY_CONFIG_DURATION("session_ttl", struct cp_config, session_ttl_ns, "2s", "1s", "60s",
                       "with etcd: so long after its last sign of life others take a shard's "
                       "partitions; whole seconds"),
    SY_CONFIG_ENUM("registration", struct cp_config, registration, "open", registrations,
                   "of clusters; open: an operator need not join by a token, unless its cluster's "
                   "has; required: it must; the same for all shards of the region"),
    SY_CONFIG_ENUM(
        "storage", struct cp_config, storage, "shared", storages,
        "with etcd, the same for all its shards; shared: all mount data_dir; local: each "
        "has its own, and of each partition two shards have a copy"),
    SY_CONFIG_DURATION("standby_patience", struct cp_config, standby_patience_ns, "1s", "100ms",
                       "60s",
                       "with local storage: so long answers wait for a standby that says nothing, "
                       "before the partition goes on without it"),
    SY_CONFIG_DURATION("standby_wait", struct cp_config, standby_wait_ns, "30s", "1s", "24h",
                       "with local storage: so long a standby's shard may be away before another "
                       "shard gets a copy instead"),
    SY_CONFIG_DURATION("disk_patience", struct cp_config, disk_patience_ns, "5s", "1s", "1h",
                       "with etcd: a partition that has waited so long for its disk goes to "
                       "another shard, if one is there whose disk is well"),
    SY_CONFIG_SIZE("store_memory", struct cp_config, store_memory_bytes, "1GiB", "16MiB", "1TiB",
                   "of the stores of all partitions, should all of them be here; each has its "
                   "part of it, 16 MiB to 320 MiB"),
    SY_CONFIG_INT("streams_max", struct cp_config, streams_max, 20000, 16, 1000000,
                  "open calls of all kinds; beyond, clients hear RESOURCE_EXHAUSTED"),
    SY_CONFIG_ENUM("log_level", struct cp_config, log_level, "info", log_levels,
                   "what is written to stderr"),
    SY_CONFIG_INT("actions_max", struct cp_config, actions_max, 4000000, 1, 1000000000,
                  "live actions of one partition; beyond, RESOURCE_EXHAUSTED"),
    SY_CONFIG_INT("queues_max", struct cp_config, queues_max, 10000, 1, 100000,
                  "queues of the region; beyond, RESOURCE_EXHAUSTED"),
    SY_CONFIG_SIZE("inline_bytes_max", struct cp_config, inline_bytes_max, "64KiB", "0", "1MiB",
                   "inputs and outputs that travel with their action; 0: references only"),
    SY_CONFIG_SIZE("batch_bytes_max", struct cp_config, batch_bytes_max, "64MiB", "1MiB", "1GiB",
                   "what may wait for one commit; beyond, RESOURCE_EXHAUSTED"),
    SY_CONFIG_INT("system_retries", struct cp_config, system_retries, 10, 1, 1000,
                  "attempts of an action that may be lost before it fails"),
    SY_CONFIG_INT("worker_deaths_max", struct cp_config, worker_deaths_max, 3, 0, 255,
                  "so many times its worker, or its node, dies with nothing but the action in it, "
                  "and the action fails as PoisonTask; 0 = never"),
    SY_CONFIG_DURATION(
        "reclaim_delay", struct cp_config, reclaim_delay_ns, "5s", "100ms", "1h",
        "so long, or twice, work waits for room before preemptible work is stopped for it"),
    SY_CONFIG_DURATION("reserve_after", struct cp_config, reserve_after_ns, "60s", "1s", "24h",
                       "so long large work waits for room before a node is kept for it"),
    SY_CONFIG_DURATION("ageing", struct cp_config, ageing_ns, "60s", "1s", "24h",
                       "an action gains one in priority for each so long that it waits"),
    SY_CONFIG_DURATION("infeasible_grace", struct cp_config, infeasible_grace_ns, "5m", "1s", "24h",
                       "so long no cluster could ever run what waits before it fails, in queues "
                       "that say so"),
    SY_CONFIG_ENUM("infeasible", struct cp_config, infeasible, "hold", infeasibles,
                   "what waits when no cluster is left that could ever run it, in queues that do "
                   "not say: hold waits for one to come, fail ends after infeasible_grace"),
    SY_CONFIG_DURATION("heartbeat", struct cp_config, heartbeat_ns, "1s", "10ms", "60s",
                       "operators send something at least this often"),
    SY_CONFIG_DURATION("cluster_lease", struct cp_config, cluster_lease_ns, "15s", "30ms", "1h",
                       "silence after which a cluster's attempts go elsewhere; 3 heartbeats or "
                       "more; while all are "
                       "silent nothing is lost"),
    SY_CONFIG_DURATION("recovery_wait", struct cp_config, recovery_wait_ns, "10s", "0", "10m",
                       "after a start, how long to wait for clusters to say what they run, once "
                       "one of them is there"),
    SY_CONFIG_DURATION("drain", struct cp_config, drain_ns, "10s", "0", "10m",
                       "on SIGTERM, how long calls may take to end"),
    SY_BLOB_CONFIG(
        struct cp_config, backup, "backup",
        "where `switchyard-shard backup` puts backups: /DIR or s3://BUCKET/PREFIX, which "
        "gets them through DATA_DIR/backups; empty = none can be made"),
    SY_CONFIG_INT("backups_kept", struct cp_config, backups_kept, 7, 1, 10000,
                  "of each partition; in a bucket nothing is deleted"),
};

static bool is_host_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || strcspn(text, "/ \t") != strlen(text))
        return false;
    size_t digits = strspn(colon + 1, "0123456789");
    long port = digits > 0 && digits <= 5 ? strtol(colon + 1, NULL, 10) : 0;
    return colon[1 + digits] == '\0' && port >= 1 && port <= UINT16_MAX;
}

/* Addresses to listen on, which lead nowhere from elsewhere. */
static bool is_any_host(const char *endpoint)
{
    return strncmp(endpoint, "0.0.0.0:", 8) == 0 || strncmp(endpoint, "[::]:", 5) == 0;
}

/* What belongs to a region of several shards. */
static int check_etcd(const struct cp_config *config, struct sy_error_text *error)
{
    char *const *members = config->etcd.items;
    int r = 0;
    for (size_t i = 0; i < config->etcd.count; i++) {
        if (is_host_port(members[i]))
            continue;
        sy_error_text_add(error, "etcd: '%s' is not host:port", members[i]);
        r = -EINVAL;
    }
    if (config->etcd.count == 0) {
        sy_error_text_add(error, "etcd: the list is empty; expected host:port of at least one "
                                 "member, as coordination says etcd");
        r = -EINVAL;
    }
    if (!is_host_port(config->endpoint) || is_any_host(config->endpoint) ||
        strlen(config->endpoint) >= CP_MAP_TEXT_SIZE) {
        sy_error_text_add(error,
                          "endpoint: '%s'; expected host:port where other shards, operators and "
                          "clients reach this one, as coordination says etcd",
                          config->endpoint);
        r = -EINVAL;
    }
    if (config->partitions_max != 0 && config->partitions_max < config->partitions) {
        sy_error_text_add(error, "partitions_max: %lld; expected 0, or at least partitions, %lld",
                          (long long)config->partitions_max, (long long)config->partitions);
        r = -EINVAL;
    }
    if (config->session_ttl_ns % SY_NS_PER_S != 0) {
        sy_error_text_add(error, "session_ttl: %lld ms; expected whole seconds",
                          (long long)(config->session_ttl_ns / SY_NS_PER_MS));
        r = -EINVAL;
    }
    return r;
}

/* Given in vain, they were meant to do something. */
static int check_alone(const struct cp_config *config, struct sy_error_text *error)
{
    if (config->storage != STORAGE_SHARED) {
        sy_error_text_add(error, "storage: local, but coordination is none; expected coordination: "
                                 "etcd");
        return -EINVAL;
    }
    const char *given = config->etcd.count > 0        ? "etcd"
                        : config->endpoint[0] != '\0' ? "endpoint"
                        : config->partitions_max != 0 ? "partitions_max"
                                                      : NULL;
    if (given == NULL)
        return 0;
    sy_error_text_add(error, "%s: given, but coordination is none; expected coordination: etcd",
                      given);
    return -EINVAL;
}

static int check_names(const struct cp_config *config, struct sy_error_text *error)
{
    struct sy_error_text text;
    int r = 0;
    if (cp_name_check("name", config->name, &text) < 0) {
        sy_error_text_add(error, "%s", text.text);
        r = -EINVAL;
    }
    if (cp_name_check("region", config->region, &text) < 0) {
        sy_error_text_add(error, "%s", text.text);
        r = -EINVAL;
    }
    if (sy_http_check_origins(config->allow_origins.items, config->allow_origins.count, &text) <
        0) {
        sy_error_text_add(error, "%s", text.text);
        r = -EINVAL;
    }
    if (config->data_dir[0] == '\0') {
        sy_error_text_add(error, "data_dir: empty; expected a directory");
        r = -EINVAL;
    }
    return r;
}

static int check(const struct cp_config *config, struct sy_error_text *error)
{
    error->text[0] = '\0';
    int r = check_names(config, error);
    int s = cp_config_shares(config) ? check_etcd(config, error) : check_alone(config, error);
    if (config->cluster_lease_ns < 3 * config->heartbeat_ns) {
        sy_error_text_add(error, "cluster_lease: %lld ms is less than three heartbeats of %lld ms",
                          (long long)(config->cluster_lease_ns / SY_NS_PER_MS),
                          (long long)(config->heartbeat_ns / SY_NS_PER_MS));
        r = -EINVAL;
    }
    return r < 0 ? r : s;
}

static int checked(struct cp_config *config, int r, struct sy_error_text *error)
{
    if (r < 0)
        return r;
    r = check(config, error);
    if (r < 0)
        cp_config_free(config);
    return r;
}

int cp_config_load(struct cp_config *ret_config, const char *path, struct sy_error_text *error)
{
    SY_ASSERT(path != NULL && error != NULL);
    int r = sy_config_load(ret_config, sizeof(*ret_config), keys, SY_COUNT_OF(keys), path, error);
    return sy_trace(checked(ret_config, r, error));
}

int cp_config_parse(struct cp_config *ret_config, const char *text, size_t len,
                    struct sy_error_text *error)
{
    SY_ASSERT(error != NULL);
    int r = sy_config_parse(ret_config, sizeof(*ret_config), keys, SY_COUNT_OF(keys), "shard.yaml",
                            text, len, error);
    return sy_trace(checked(ret_config, r, error));
}

void cp_config_free(struct cp_config *config)
{
    sy_config_free(config, keys, SY_COUNT_OF(keys));
}

void cp_config_print(int fd)
{
    sy_config_print(keys, SY_COUNT_OF(keys), fd);
}

bool cp_config_shares(const struct cp_config *config)
{
    return config->coordination == COORDINATION_ETCD;
}

bool cp_config_local(const struct cp_config *config)
{
    return cp_config_shares(config) && config->storage == STORAGE_LOCAL;
}

int cp_config_data_dir(const struct cp_config *config, struct cp_data_dir *ret_dir,
                       struct sy_error_text *error)
{
    size_t partitions = (size_t)config->partitions, memory = (size_t)config->store_memory_bytes;
    if (cp_config_local(config))
        return cp_data_dir_init_local(ret_dir, config->data_dir, partitions,
                                      cp_config_lanes(config), memory, error);
    bool shares = cp_config_shares(config);
    int r = cp_data_dir_init(ret_dir, config->data_dir, partitions, memory,
                             shares ? config->region : NULL, error);
    if (r == 0 && shares)
        cp_data_dir_widen(ret_dir, cp_config_lanes(config));
    return r;
}

const struct cp_coord_etcd_options *cp_config_etcd(const struct cp_config *config,
                                                   struct cp_coord_etcd_options *ret)
{
    if (!cp_config_shares(config))
        return NULL;
    *ret = (struct cp_coord_etcd_options){.endpoints = config->etcd.items,
                                          .endpoint_count = config->etcd.count,
                                          .region = config->region,
                                          .session_ttl_ns = config->session_ttl_ns};
    return ret;
}

size_t cp_config_lanes(const struct cp_config *config)
{
    int64_t max = config->partitions_max > 0 ? config->partitions_max : config->partitions;
    return (size_t)max;
}

struct cp_shard_options cp_config_shard(const struct cp_config *config)
{
    return (struct cp_shard_options){
        .name = config->name,
        .region = config->region,
        .listen = config->listen,
        .console_listen = config->console_listen,
        .allow_origins = config->allow_origins.items,
        .allow_origin_count = config->allow_origins.count,
        .endpoint = config->endpoint,
        .partitions = (uint32_t)config->partitions,
        .partitions_max = (uint32_t)config->partitions_max,
        .streams_max = (size_t)config->streams_max,
        .queues_max = (size_t)config->queues_max,
        .registration_required = config->registration == REGISTRATION_REQUIRED,
        .standby_patience_ns = config->standby_patience_ns,
        .standby_wait_ns = config->standby_wait_ns,
        .disk_patience_ns = config->disk_patience_ns,
        .partition = {.actions_max = (uint64_t)config->actions_max,
                      .inline_bytes_max = (size_t)config->inline_bytes_max,
                      .batch_bytes_max = (size_t)config->batch_bytes_max,
                      .heartbeat_ns = config->heartbeat_ns,
                      .cluster_lease_ns = config->cluster_lease_ns,
                      .recovery_wait_ns = config->recovery_wait_ns,
                      .system_retries = (uint32_t)config->system_retries,
                      .worker_deaths_max = (uint32_t)config->worker_deaths_max,
                      .ageing_ns = config->ageing_ns,
                      .reserve_after_ns = config->reserve_after_ns,
                      .infeasible_grace_ns = config->infeasible_grace_ns,
                      .infeasible = (enum sch_infeasible)(SCH_INFEASIBLE_HOLD + config->infeasible),
                      .reclaim_delay_ns = config->reclaim_delay_ns},
    };
}

/* ---- backups ---- */

/* Or the same. */
static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

int cp_config_backups_init(struct cp_config_backups *ret, const struct cp_config *config,
                           struct sy_error_text *error)
{
    const char *root = config->backup.root;
    *ret = (struct cp_config_backups){0};
    if (root[0] == '\0')
        return 0;
    if (is_below(root, config->data_dir)) {
        sy_error_text_set(error,
                          "backup_root: %s is in data_dir, and would be lost with it; expected "
                          "another place",
                          root);
        return -EINVAL;
    }
    int r = sy_blob_config_options(&config->backup, "backup", "", &ret->storage, &ret->secret,
                                   error);
    if (r < 0)
        return sy_trace(r);
    bool s3 = root[0] != '/';
    sy_buf_printf(&ret->dir, s3 ? "%s/backups" : "%s", s3 ? config->data_dir : root);
    ret->options = (struct cp_backup_options){.dir = (const char *)ret->dir.data,
                                              .storage = s3 ? &ret->storage : NULL,
                                              .keep = (uint32_t)config->backups_kept};
    ret->configured = true;
    return 0;
}

void cp_config_backups_deinit(struct cp_config_backups *backups)
{
    if (backups->secret.len > 0)
        explicit_bzero(backups->secret.data, backups->secret.len);
    sy_buf_deinit(&backups->secret);
    sy_buf_deinit(&backups->dir);
}

enum sy_log_level cp_config_log_level(const struct cp_config *config)
{
    static const enum sy_log_level levels[] = {SY_LOG_DEBUG, SY_LOG_INFO, SY_LOG_WARN,
                                               SY_LOG_ERROR};
    SY_ASSERT(config->log_level >= 0 && (size_t)config->log_level < SY_COUNT_OF(levels));
    return levels[config->log_level];
}
