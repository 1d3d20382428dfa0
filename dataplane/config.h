/* The operator's configuration file. */
#pragma once

#include "base/blob_config.h"
#include "dataplane/identity.h"
#include "dataplane/operator.h"

struct dp_config {
    char *cluster, *listen, *endpoint, *data_dir, *secrets_key_file, *agent_token_file;
    char *shared_dir;
    struct sy_config_list shards, allow_origins; /* of char * */
    struct sy_config_map labels;
    int64_t core_price_micros;
    char *region;
    int64_t operator_lease_ns;
    int64_t heartbeat_ns, node_lease_ns, join_grace_ns, hold_ns, gang_hold_ns;
    int64_t gang_port, gang_ports;
    int64_t object_bytes_max, peer_bytes_max, streams_max;
    int64_t log_level;
    struct sy_blob_config storage;
};

/* -EINVAL and errors of reading, with all problems in `error`. */
int dp_config_load(struct dp_config *ret_config, const char *path,
                   struct sy_error_text *error) SY_MUST_USE;
int dp_config_parse(struct dp_config *ret_config, const char *name, const char *text, size_t len,
                    struct sy_error_text *error) SY_MUST_USE;
void dp_config_free(struct dp_config *config);
void dp_config_print(int fd);

/* Where it keeps what operators of its cluster share. */
const char *dp_config_shared_dir(const struct dp_config *config);

/* The same as an operator wants it; valid while `config` is. */
struct dp_config_options {
    struct dp_operator_options options;
    const char **shards;
    char *objects_dir, *store_dir, *secrets_key_file, *nodes_file;
    char labels[SCH_NODE_LABELS_MAX];
    char authorization[DP_AUTHORIZATION_SIZE];
    struct sy_blob_options storage;
    struct sy_buf secret; /* of the storage */
};
/* Reads the storage's secret and the agents' token: errors of their files, with a sentence. Deinit
 * in any case. `identity`: of an operator that has joined; NULL: it has not. `kept_dir`: where what
 * changes of what is shared lies (shared.h), borrowed; NULL: it has no term. */
int dp_config_options_init(struct dp_config_options *options, const struct dp_config *config,
                           const struct dp_identity *identity, const char *kept_dir,
                           struct sy_error_text *error) SY_MUST_USE;
void dp_config_options_deinit(struct dp_config_options *options);
