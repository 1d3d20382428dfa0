/*
 * The commands of `switchyard`, one file each. A command parses its own arguments, talks to the
 * region, prints, and returns the program's exit code; it has reported its own errors.
 */
#pragma once

#include "tools/src/cl_args.h"
#include "tools/src/cl_methods.h"

#define CL_PROGRAM "switchyard"
#define CL_RUN_COLUMNS 21 /* the names that the region makes: never cut while a column can go */

struct cl_command {
    const char *name, *usage; /* one line of help */
    enum cl_exit (*run)(const struct cl_args *defaults, int argc, char **argv);
};
/* NULL: there is none of that name. `nearest` may be NULL: what the user may have meant. */
const struct cl_command *cl_command_find(const char *name, const char **nearest);
/* The whole program, for main.c. */
enum cl_exit cl_switchyard(int argc, char **argv);

enum cl_exit cl_cmd_run(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_get(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_create(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_update(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_pause(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_resume(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_delete(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_watch(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_explain(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_logs(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_abort(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_cordon(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_uncordon(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_drain(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_node(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_cluster(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_region(const struct cl_args *defaults, int argc, char **argv);
enum cl_exit cl_cmd_status(const struct cl_args *defaults, int argc, char **argv);

/* ---- run ---- */

struct cl_run_options {
    struct cl_args common;
    const char *function, *input, *input_file;
    char **command;
    size_t command_count;
    char **each;
    size_t each_count;
    char **variables; /* --env */
    size_t variable_count;
    const char *lines;
    const char *cpu, *memory, *environment, *name, *queue, *gpu_model, *node_labels, *tolerations;
    const char *on_partition;
    uint32_t gpu_milli, retries;
    uint32_t gang; /* members; 0: none */
    int gang_topology, gang_on_loss;
    const char *gang_key;
    int32_t priority;
    int64_t timeout_ns;
    bool has_each, has_priority, has_on_loss, detach, logs, dry_run;
};
/* Allocates `command`, `each` and `variables`. */
enum cl_parse cl_run_parse(struct cl_run_options *options, const struct cl_args *defaults, int argc,
                           char **argv);
void cl_run_options_deinit(struct cl_run_options *options);

/* ---- which queue ---- */

enum cl_queue_scope { CL_SCOPE_DOMAIN, CL_SCOPE_PROJECT, CL_SCOPE_REGION };
struct cl_queue_target {
    struct cl_args *common; /* of the command: where its sentences go */
    const char *name;       /* NULL with `level` */
    enum cl_queue_scope scope;
    bool level; /* not a queue: what is above the queues of the scope */
    bool given; /* any of these but the name */
};
/* --scope and --level; its input is the target. */
extern const struct argp cl_queue_target_argp;
/* When all has been read: `verb` is what is done ("get"). */
error_t cl_queue_target_check(const struct cl_queue_target *target, const char *verb);

/* ---- get ---- */

struct cl_get_options {
    struct cl_args common;
    const char *what, *name;
    int64_t limit;
    int phase; /* 0 = any */
    const char *cluster;
    struct cl_queue_target queue;
    bool all; /* queues: of all projects */
};
enum cl_parse cl_get_parse(struct cl_get_options *options, const struct cl_args *defaults, int argc,
                           char **argv);
enum cl_exit cl_get_runs(struct cl_client *client, const struct cl_get_options *options,
                         struct cl_error *error);
enum cl_exit cl_get_run(struct cl_client *client, const struct cl_get_options *options,
                        struct cl_error *error);
enum cl_exit cl_get_actions(struct cl_client *client, const struct cl_get_options *options,
                            struct cl_error *error);
/* Of a cluster, as tables show it. */
struct cl_cluster_cells {
    char nodes[32], running[32], backlog[32], cpu[64], memory[64], gpus[32], price[32];
    const char *region, *labels; /* the cluster's */
};
void cl_cluster_cells(const Switchyard__V1__Cluster *cluster, struct cl_cluster_cells *ret);
struct json_t *cl_cluster_json(const Switchyard__V1__Cluster *cluster);
enum cl_exit cl_get_clusters(struct cl_client *client, const struct cl_get_options *options,
                             struct cl_error *error);
enum cl_exit cl_get_nodes(struct cl_client *client, const struct cl_get_options *options,
                          struct cl_error *error);
enum cl_exit cl_get_queues(struct cl_client *client, const struct cl_get_options *options,
                           struct cl_error *error);
enum cl_exit cl_get_queue(struct cl_client *client, const struct cl_get_options *options,
                          struct cl_error *error);

/* ---- logs ---- */

struct cl_logs_request {
    const char *run, *action; /* action "" = a0 */
    uint32_t attempt;         /* 0 = the newest */
    bool follow, json, timestamps;
};
/* Prints the log: what a task wrote to stdout goes to stdout, the rest to stderr. */
enum cl_exit cl_logs_print(struct cl_client *client, const struct cl_logs_request *request,
                           struct cl_error *error);

/* ---- shared ---- */

/* A NOT_FOUND in the words of the command line: "run 'x' not found in default/development". */
enum cl_exit cl_not_found(const struct cl_client *client, struct cl_error *error, const char *run,
                          const char *action);
/* First wrong character of a run's or action's name, as a sentence. */
bool cl_name_ok(struct cl_args *common, const char *what, const char *name);
/* The arguments of commands on RUN [ACTION]: what argp says that is not an option of theirs. */
error_t cl_run_action_parse(struct cl_args *common, int key, char *arg,
                            const struct argp_state *state, const char **run, const char **action);
