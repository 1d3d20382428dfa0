/* The agent's configuration file. */
#pragma once

#include "base/blob_config.h"
#include "base/config.h"

struct ag_config_pool {
    char *environment;
    struct sy_config_list command; /* of char * ; empty: switchyard-worker beside the agent */
    struct sy_config_map env;
    int64_t min, max, concurrency, idle_ns, memory_bytes;
};

struct ag_config_slices {
    char *profile;
    struct sy_config_list devices; /* of char * */
};

struct ag_config {
    char *node;                      /* "" = the host's name */
    char *operator_target;           /* "" = see operators */
    struct sy_config_list operators; /* of char * */
    char *address;                   /* "" = as the operator sees it */
    char *agent_token_file;          /* "" = none */
    char *data_dir;
    int64_t cpu_milli, memory_bytes;  /* 0 = what the machine has */
    int64_t gpus;                     /* -1 = what is found */
    char *gpu_model;                  /* "" = as found */
    struct sy_config_list gpu_groups; /* of char * : "0-3" */
    struct sy_config_list gpu_slices; /* of struct ag_config_slices */
    struct sy_config_map labels;
    struct sy_config_list taints; /* of char * */
    struct sy_config_list pools;  /* of struct ag_config_pool */
    int64_t inline_bytes_max;
    int64_t cgroup; /* enum ag_cgroup_mode */
    bool cpu_quota, gpu_sharing, spot;
    int64_t log_bytes_max, log_retention_ns;
    int64_t cache_bytes_max, object_bytes_max;
    int64_t cancel_grace_ns, stop_grace_ns;
    int64_t processes_max, files_max;
    bool io_uring;
    char *spawner; /* "" = switchyard-spawner beside the agent */
    int64_t log_level;

    /* Flyte programs */
    struct sy_blob_config storage; /* root "" = none: Flyte's actions are refused */
    char *flyte_endpoint;
    struct sy_config_map environments; /* image -> virtual environment, or command */
    struct sy_config_map flyte_env;
    bool python_fork;
    char *python_worker; /* "" = the one that was installed */
    int64_t bundles_max;
};

/* The one to begin with. */
const char *ag_config_operator(const struct ag_config *config);

/* -EINVAL with all problems in error. NULL: all defaults, for what has one. */
int ag_config_load(struct ag_config *ret, const char *path,
                   struct sy_error_text *error) SY_MUST_USE;
int ag_config_parse(struct ag_config *ret, const char *name, const char *text, size_t len,
                    struct sy_error_text *error) SY_MUST_USE;
void ag_config_free(struct ag_config *config);
void ag_config_print(int fd);
