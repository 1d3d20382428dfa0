#include "dataplane/config.h"

#include "base/clock.h"
#include "base/http.h"
#include "base/mem.h"
#include "scheduler/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN_BEATS 3

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};

static const struct sy_config_key keys[] = {
    SY_CONFIG_STRING("cluster", struct dp_config, cluster, "",
                     "name of this cluster in its region; empty = that of the token it joined by"),
    SY_CONFIG_STRING("listen", struct dp_config, listen, "127.0.0.1:8091",
                     "where agents, object store and logs are served"),
    SY_CONFIG_STRINGS("allow_origins", struct dp_config, allow_origins, "",
                      "web pages that browsers let call it, like https://console.example; \"*\" = "
                      "all pages, which then do what their visitors could"),
    SY_CONFIG_STRING("endpoint", struct dp_config, endpoint, "",
                     "how clients reach it; empty = as listen says"),
    SY_CONFIG_STRINGS("shards", struct dp_config, shards, NULL,
                      "shards of the control plane to ask first, host:port each; they "
                      "tell of the others"),
    SY_CONFIG_STRING("region", struct dp_config, region, "",
                     "where this cluster is, as queues name the regions of their work: \"eu\"; "
                     "it is the label region of its nodes too; empty = not said"),
    SY_CONFIG_MAP("labels", struct dp_config, labels, "",
                  "of all nodes of this cluster, for tasks to ask for: \"region: eu\""),
    SY_CONFIG_STRING("data_dir", struct dp_config, data_dir, NULL,
                     "directory of this operator alone: its identity and the pid file; without a "
                     "shared_dir also objects, keys and secrets"),
    SY_CONFIG_STRING("shared_dir", struct dp_config, shared_dir, "",
                     "directory that the operators of a cluster share, when there are several: "
                     "objects, keys, secrets, what was said of nodes; empty = DATA_DIR"),
    SY_CONFIG_DURATION("operator_lease", struct dp_config, operator_lease_ns, "5s", "300ms", "1h",
                       "another operator of the cluster takes over when this one has not been "
                       "heard of for so long; well below the shards' cluster_lease"),
    SY_CONFIG_STRING("secrets_key_file", struct dp_config, secrets_key_file, "",
                     "32 bytes that seal the secrets, made when missing; empty = secrets.key in "
                     "the shared_dir, or in DATA_DIR"),
    SY_CONFIG_STRING("agent_token_file", struct dp_config, agent_token_file, "",
                     "mode 0600; holds the token that agents must send, 16 to 256 characters; "
                     "empty = any may attach, and secrets are handed to none"),
    SY_BLOB_CONFIG(
        struct dp_config, storage, "storage",
        "inputs, outputs and code of Flyte programs: /DIRECTORY that all nodes share, or "
        "s3://BUCKET/PREFIX; empty = store in the shared_dir, or in DATA_DIR"),
    SY_CONFIG_INT("core_price_micros", struct dp_config, core_price_micros, 0, 0, 1000000000,
                  "price of a core here, in millionths of a currency an hour, for queues that look "
                  "for the cheapest cluster; 0 = not known"),
    SY_CONFIG_DURATION("heartbeat", struct dp_config, heartbeat_ns, "1s", "10ms", "60s",
                       "between signs of life to agents"),
    SY_CONFIG_DURATION("node_lease", struct dp_config, node_lease_ns, "15s", "100ms", "24h",
                       "after a node is gone so long its attempts are lost; at least 3 heartbeats"),
    SY_CONFIG_DURATION(
        "join_grace", struct dp_config, join_grace_ns, "5s", "1ms", "1h",
        "after the start, how long to wait for agents before the inventory counts as complete"),
    SY_CONFIG_DURATION("hold", struct dp_config, hold_ns, "2s", "1ms", "1h",
                       "how long a task without room waits here before it goes back"),
    SY_CONFIG_DURATION("gang_hold", struct dp_config, gang_hold_ns, "60s", "1ms", "24h",
                       "how long a gang waits here for room for all of it before it goes back"),
    SY_CONFIG_INT("gang_port", struct dp_config, gang_port, 29500, 1, 65535,
                  "the first port where rank 0 of a gang may listen; below those that the kernel "
                  "gives by itself"),
    SY_CONFIG_INT("gang_ports", struct dp_config, gang_ports, 1000, 1, 60000,
                  "how many there are, given in turns on each host"),
    SY_CONFIG_SIZE("object_bytes_max", struct dp_config, object_bytes_max, "1GiB", "1KiB", "1TiB",
                   "largest object"),
    SY_CONFIG_SIZE("peer_bytes_max", struct dp_config, peer_bytes_max, "256MiB", "1MiB", "64GiB",
                   "most bytes that may wait for one slow agent or shard"),
    SY_CONFIG_INT("streams_max", struct dp_config, streams_max, 20000, 16, 1000000,
                  "most calls at a time, agents among them"),
    SY_CONFIG_ENUM("log_level", struct dp_config, log_level, "info", log_levels, "what is logged"),
};

/* With the region, of which they may say nothing else; `base`: what it was registered with. */
static int read_labels(char ret[SCH_NODE_LABELS_MAX], const struct dp_config *config,
                       const char *base, struct sy_error_text *error)
{
    const struct sy_config_map *labels = &config->labels;
    memset(ret, 0, SCH_NODE_LABELS_MAX);
    memcpy(ret, base, strlen(base) + 1);
    int r = 0;
    for (size_t i = 0; i < labels->count; i++) {
        struct sy_span said = sch_label_value(ret, labels->pairs[i].key);
        const char *value = labels->pairs[i].value;
        if (!said.data || (said.len == strlen(value) && memcmp(said.data, value, said.len) == 0))
            continue;
        sy_error_text_set(error, "labels: %s is '%s', but the cluster was registered with '%.*s'",
                          labels->pairs[i].key, value, (int)said.len, (const char *)said.data);
        return -EINVAL;
    }
    for (size_t i = 0; r == 0 && i < labels->count; i++)
        r = sch_labels_put(ret, SCH_NODE_LABELS_MAX, labels->pairs[i].key, labels->pairs[i].value,
                           error);
    if (r < 0)
        return -EINVAL;
    if (!config->region[0])
        return 0;
    struct sy_span said = sch_label_value(ret, "region");
    if (said.data &&
        (said.len != strlen(config->region) || memcmp(said.data, config->region, said.len) != 0)) {
        sy_error_text_set(error, "region: '%s', but the label region says '%.*s'", config->region,
                          (int)said.len, (const char *)said.data);
        return -EINVAL;
    }
    r = sch_labels_put(ret, SCH_NODE_LABELS_MAX, "region", config->region, error);
    if (r == 0 && strchr(config->region, '/')) { /* more than a label it is a name */
        sy_error_text_set(error, "region: '%s': letters, digits, '-', '_' and '.' make a name",
                          config->region);
        r = -EINVAL;
    }
    return r < 0 ? -EINVAL : 0;
}

/* What no single key can say. */
static int check(const struct dp_config *config, const char *name, struct sy_error_text *error)
{
    if (config->node_lease_ns < MARGIN_BEATS * config->heartbeat_ns) {
        sy_error_text_set(
            error,
            "%s: node_lease: %lld ms is too short for a heartbeat of %lld ms; expected "
            "at least %d heartbeats",
            name, (long long)(config->node_lease_ns / SY_NS_PER_MS),
            (long long)(config->heartbeat_ns / SY_NS_PER_MS), MARGIN_BEATS);
        return -EINVAL;
    }
    char labels[SCH_NODE_LABELS_MAX];
    int r = read_labels(labels, config, "", error);
    if (r < 0)
        return r;
    if (config->gang_port + config->gang_ports - 1 > UINT16_MAX) {
        sy_error_text_set(error, "%s: gang_ports: %lld from %lld on is beyond port 65535", name,
                          (long long)config->gang_ports, (long long)config->gang_port);
        return -EINVAL;
    }
    char *const *shards = config->shards.items;
    if (config->shards.count == 0) {
        sy_error_text_set(error, "%s: shards: the list is empty; expected at least one host:port",
                          name);
        return -EINVAL;
    }
    for (size_t i = 0; i < config->shards.count; i++) {
        if (!strchr(shards[i], ':')) {
            sy_error_text_set(error, "%s: shards: '%s' is not host:port", name, shards[i]);
            return -EINVAL;
        }
    }
    return sy_http_check_origins(config->allow_origins.items, config->allow_origins.count, error);
}

static int checked(struct dp_config *config, int r, const char *name, struct sy_error_text *error)
{
    if (r == 0)
        r = check(config, name, error);
    else
        return r;
    if (r < 0)
        dp_config_free(config);
    return r;
}

int dp_config_load(struct dp_config *ret_config, const char *path, struct sy_error_text *error)
{
    int r = sy_config_load(ret_config, sizeof(*ret_config), keys, SY_COUNT_OF(keys), path, error);
    return checked(ret_config, r, path ? path : "defaults", error);
}

int dp_config_parse(struct dp_config *ret_config, const char *name, const char *text, size_t len,
                    struct sy_error_text *error)
{
    int r = sy_config_parse(ret_config, sizeof(*ret_config), keys, SY_COUNT_OF(keys), name, text,
                            len, error);
    return checked(ret_config, r, name, error);
}

void dp_config_free(struct dp_config *config)
{
    sy_config_free(config, keys, SY_COUNT_OF(keys));
}

void dp_config_print(int fd)
{
    sy_config_print(keys, SY_COUNT_OF(keys), fd);
}

static char *below(const char *dir, const char *name)
{
    struct sy_buf text = {0};
    sy_buf_printf(&text, "%s/%s", dir, name);
    return (char *)text.data; /* printf has put a NUL behind it */
}

/* What was registered holds where the configuration says nothing, and may not contradict it. */
static int merge_text(const char *key, const char **ret, const char *configured,
                      const char *registered, struct sy_error_text *error)
{
    *ret = configured[0] ? configured : registered;
    if (!configured[0] || !registered[0] || strcmp(configured, registered) == 0)
        return 0;
    sy_error_text_set(error, "%s: '%s', but this operator has joined as '%s'", key, configured,
                      registered);
    return -EINVAL;
}

static int merge(struct dp_config_options *options, const struct dp_config *config,
                 const struct dp_identity *identity, struct sy_error_text *error)
{
    static const struct dp_identity none = {0};
    const struct dp_identity *known = identity ? identity : &none;
    struct dp_operator_options *to = &options->options;
    int r = merge_text("cluster", &to->cluster, config->cluster, known->cluster, error);
    if (r == 0)
        r = merge_text("region", &to->region, config->region, known->region, error);
    if (r == 0)
        r = read_labels(options->labels, config, known->labels, error);
    if (r == 0 && to->region[0] && !config->region[0])
        r = sch_labels_put(options->labels, sizeof(options->labels), "region", to->region, error);
    if (r == 0 && !to->cluster[0]) {
        sy_error_text_set(error, "cluster: empty; expected its name, or to join by --join TOKEN");
        r = -EINVAL;
    }
    to->labels = options->labels;
    to->core_price_micros = config->core_price_micros > 0 ? config->core_price_micros
                                                          : known->core_price_micros;
    if (identity) {
        dp_identity_authorization(identity, options->authorization);
        to->authorization = options->authorization;
    }
    return r < 0 ? -EINVAL : 0;
}

const char *dp_config_shared_dir(const struct dp_config *config)
{
    return config->shared_dir[0] ? config->shared_dir : config->data_dir;
}

int dp_config_options_init(struct dp_config_options *options, const struct dp_config *config,
                           const struct dp_identity *identity, const char *kept_dir,
                           struct sy_error_text *error)
{
    const char *dir = dp_config_shared_dir(config);
    *options = (struct dp_config_options){
        .objects_dir = below(dir, "objects"),
        .store_dir = below(dir, "store"),
        .nodes_file = below(kept_dir ? kept_dir : dir, "nodes"),
        .secrets_key_file = config->secrets_key_file[0] ? sy_strdup(config->secrets_key_file)
                                                        : below(dir, "secrets.key"),
        .shards = sy_calloc(config->shards.count + 1, sizeof(*options->shards)),
    };
    char *const *shards = config->shards.items;
    for (size_t i = 0; i < config->shards.count; i++)
        options->shards[i] = shards[i];
    options->options = (struct dp_operator_options){
        .listen = config->listen,
        .allow_origins = config->allow_origins.items,
        .allow_origin_count = config->allow_origins.count,
        .endpoint = config->endpoint,
        .shards = options->shards,
        .streams_max = (size_t)config->streams_max,
        .heartbeat_ns = config->heartbeat_ns,
        .gang_port = (uint32_t)config->gang_port,
        .gang_ports = (uint32_t)config->gang_ports,
        .core = {.hold_ns = config->hold_ns,
                 .gang_hold_ns = config->gang_hold_ns,
                 .node_lease_ns = config->node_lease_ns,
                 .join_grace_ns = config->join_grace_ns},
        .objects_dir = options->objects_dir,
        .nodes_file = options->nodes_file,
        .data_dir = dir,
        .secrets_dir = kept_dir,
        .secrets_key_file = options->secrets_key_file,
        .storage = &options->storage,
        .object_bytes_max = config->object_bytes_max,
        .peer_bytes_max = (size_t)config->peer_bytes_max,
    };
    int r = merge(options, config, identity, error);
    if (r < 0)
        return r;
    r = sy_blob_config_options(&config->storage, "storage", options->store_dir, &options->storage,
                               &options->secret, error);
    if (r == 0)
        r = sy_bearer_load(&options->options.bearer, "agent_token_file", config->agent_token_file,
                           error);
    return sy_trace(r);
}

void dp_config_options_deinit(struct dp_config_options *options)
{
    free(options->objects_dir);
    free(options->store_dir);
    free(options->nodes_file);
    free(options->secrets_key_file);
    free(options->shards);
    if (options->secret.len > 0)
        explicit_bzero(options->secret.data, options->secret.len);
    sy_buf_deinit(&options->secret);
    explicit_bzero(options->authorization, sizeof(options->authorization));
    sy_bearer_deinit(&options->options.bearer);
    *options = (struct dp_config_options){0};
}
