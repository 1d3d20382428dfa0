/* The methods that the programs call, and short names for the types of their messages. */
#pragma once

#include "tools/src/client.h"

#include "flyteidl2/cluster/service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "switchyard/v1/cluster_service.pb-c.h"
#include "switchyard/v1/explain_service.pb-c.h"
#include "switchyard/v1/log_service.pb-c.h"
#include "switchyard/v1/queue_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

extern const struct cl_method cl_create_run;
extern const struct cl_method cl_abort_run;
extern const struct cl_method cl_abort_action;
extern const struct cl_method cl_get_run_details;
extern const struct cl_method cl_get_action_details;
extern const struct cl_method cl_get_action_data;
extern const struct cl_method cl_get_action_data_uris;
extern const struct cl_method cl_get_object;
extern const struct cl_method cl_list_runs;
extern const struct cl_method cl_list_actions;
extern const struct cl_method cl_watch_runs;
extern const struct cl_method cl_select_cluster;
extern const struct cl_method cl_enqueue_actions;
extern const struct cl_method cl_wait_children;
extern const struct cl_method cl_watch_run;
extern const struct cl_method cl_read_logs;
extern const struct cl_method cl_get_region_status;
extern const struct cl_method cl_list_clusters;
extern const struct cl_method cl_list_nodes;
extern const struct cl_method cl_create_cluster, cl_create_join_token, cl_revoke_join_token;
extern const struct cl_method cl_delete_cluster;
extern const struct cl_method cl_cordon_cluster, cl_uncordon_cluster, cl_drain_cluster;
extern const struct cl_method cl_fence_cluster, cl_unfence_cluster;
extern const struct cl_method cl_cordon_node, cl_uncordon_node, cl_drain_node;
extern const struct cl_method cl_fence_node, cl_unfence_node;
extern const struct cl_method cl_get_region_map, cl_move_partition, cl_split_partition,
    cl_undrain_shard, cl_use_copy;
extern const struct cl_method cl_rebalance_region, cl_drain_shard; /* streams of moves */
extern const struct cl_method cl_watch_region_map;
/* The first five answer alike: with the queue in field 1. */
extern const struct cl_method cl_create_queue;
extern const struct cl_method cl_update_queue;
extern const struct cl_method cl_pause_queue;
extern const struct cl_method cl_resume_queue;
extern const struct cl_method cl_describe_queue;
extern const struct cl_method cl_delete_queue;
extern const struct cl_method cl_list_queues;
extern const struct cl_method cl_explain_action;
extern const struct cl_method cl_dry_run;

/* A run of the client's project and domain, in the form each API wants. `ret` points into the
 * client's options and to `name`. */
void cl_run_id(const struct cl_client *client, const char *name, Switchyard__V1__RunId *ret);
void cl_run_identifier(const struct cl_client *client, const char *name,
                       Flyteidl2__Common__RunIdentifier *ret);

struct cl_new_run {
    struct sy_span task_spec; /* of the root */
    struct sy_span input;     /* goes to the root as it is */
    const char *queue;        /* of all its actions; NULL: the default one */
};
/* Creates a run. *name is used when it is not empty, and filled with what the run is called.
 * Repeats itself while the answer is unknown: the request id makes that harmless. */
#define CL_RUN_NAME_MAX 64
enum cl_exit cl_run_create(struct cl_client *client, const struct cl_new_run *run,
                           char name[CL_RUN_NAME_MAX], struct cl_error *error);
/* The request of the above, for those who send it by themselves. `name` "" = the server makes one.
 */
void cl_run_pack_create(struct cl_client *client, const struct cl_new_run *run, const char *name,
                        struct sy_buf *append);
enum cl_exit cl_run_abort(struct cl_client *client, const char *name, const char *reason,
                          struct cl_error *error);
/* ---- cl_output.c ---- */

/* Where the operator of an action's cluster listens: appended with a NUL; "" = at the endpoint
 * itself. */
enum cl_exit cl_find_operator(struct cl_client *client, const char *run, const char *action,
                              struct sy_buf *ret, struct cl_error *error);
/* The output of an action that has ended, inline or from its cluster's object store; appended. */
#define CL_OUTPUT_BYTES_MAX ((size_t)256 * 1024 * 1024)
enum cl_exit cl_action_output(struct cl_client *client, const char *run, const char *action,
                              struct sy_buf *ret, struct cl_error *error);

/* google.protobuf.Timestamp; 0 when NULL. */
int64_t cl_timestamp_ns(const Google__Protobuf__Timestamp *timestamp);
