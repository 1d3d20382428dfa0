/*
 * The shard's configuration file: one table in config.c gives names, limits, defaults and help;
 * `switchyard-shard
 * --print-config` prints it. Checked as a whole before anything starts.
 */
#pragma once

#include "base/blob_config.h"
#include "base/config.h"
#include "base/log.h"
#include "controlplane/data_dir.h"
#include "controlplane/shard.h"

struct cp_config {
    char *name, *region, *listen, *console_listen, *data_dir, *pid_file, *endpoint;
    struct sy_config_list allow_origins, etcd; /* of char * */
    int64_t partitions, partitions_max, coordination, registration, session_ttl_ns,
        store_memory_bytes, streams_max, log_level;
    int64_t storage, standby_patience_ns, standby_wait_ns, disk_patience_ns;
    int64_t actions_max, queues_max, inline_bytes_max, batch_bytes_max;
    int64_t system_retries, worker_deaths_max, ageing_ns, reclaim_delay_ns, infeasible_grace_ns;
    int64_t reserve_after_ns, infeasible;
    int64_t heartbeat_ns, cluster_lease_ns, recovery_wait_ns, drain_ns;
    struct sy_blob_config backup;
    int64_t backups_kept;
};

/* -EINVAL with every problem in `error`, or the errors of reading `path`. */
int cp_config_load(struct cp_config *ret_config, const char *path,
                   struct sy_error_text *error) SY_MUST_USE;
int cp_config_parse(struct cp_config *ret_config, const char *text, size_t len,
                    struct sy_error_text *error) SY_MUST_USE;
void cp_config_free(struct cp_config *config);
void cp_config_print(int fd);

/* Whether the region is shared with other shards, through an etcd. */
bool cp_config_shares(const struct cp_config *config);
/* And each of them has a disk of its own. */
bool cp_config_local(const struct cp_config *config);
/* The shard's; see cp_data_dir_init(). */
int cp_config_data_dir(const struct cp_config *config, struct cp_data_dir *ret_dir,
                       struct sy_error_text *error) SY_MUST_USE;
/* For how many partitions there is room. */
size_t cp_config_lanes(const struct cp_config *config);
/* Borrows the strings of `config`, as the next one does, which leaves this out. NULL: it does not
 * share. */
const struct cp_coord_etcd_options *cp_config_etcd(const struct cp_config *config,
                                                   struct cp_coord_etcd_options *ret);
struct cp_shard_options cp_config_shard(const struct cp_config *config);
enum sy_log_level cp_config_log_level(const struct cp_config *config);

struct cp_config_backups {
    struct cp_backup_options options; /* points into the rest, and into the configuration */
    struct sy_blob_options storage;
    struct sy_buf secret, dir;
    bool configured;
};
int cp_config_backups_init(struct cp_config_backups *ret, const struct cp_config *config,
                           struct sy_error_text *error) SY_MUST_USE;
void cp_config_backups_deinit(struct cp_config_backups *backups); /* zeroed is fine */
