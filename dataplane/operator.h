/*
 * An operator: one for each cluster. The shell round the operator core (scheduler/operator.h): it
 * dials every shard, takes the agents that dial it, and serves the cluster's objects and logs. A
 * library without globals.
 *
 * Threads: everything belongs to ports->loop, but the object store and the data service,
 * whose files block, to ports->objects_loop. dp_operator_new(), _free() may be called while neither
 * loop runs.
 */
#pragma once

#include "base/bearer.h"
#include "base/blob.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/rpc.h"
#include "scheduler/operator.h"

struct dp_operator;

struct dp_operator_options {
    const char *cluster;
    const char *listen;               /* agents, objects, logs: "127.0.0.1:8091" */
    const char *labels;               /* "region=eu,tier=gold": of all its nodes; NULL = none */
    const char *region;               /* where it is, for queues; NULL or "" = not said */
    const char *const *allow_origins; /* as in struct sy_server_options */
    size_t allow_origin_count;
    const char *endpoint;      /* how clients reach `listen`; "" = the same */
    int64_t core_price_micros; /* of a core, in millionths of a currency an hour; 0 = not known */
    const char *const *shards; /* targets to dial; NULL-terminated */
    uint64_t term; /* under which it is the active one of its cluster; 0: it was not told */
    const char *authorization;      /* what its calls to shards show: "Bearer HEX"; NULL: it has not
                                       joined by a token */
    uint32_t gang_port, gang_ports; /* where rank 0 of a gang listens: the first of so many;
                                       default 29500, 1,000 */
    size_t streams_max;             /* open calls, agents among them; default 20,000 */
    int64_t heartbeat_ns;           /* default 1 s; agents are given up after 5 silent ones */
    struct sch_operator_options core;
    const char *objects_dir;      /* NULL: no object store (simulator) */
    const char *nodes_file;       /* keeps what was said of nodes; NULL: forgotten at a restart */
    const char *data_dir;         /* keys, half uploads; NULL: no data service (simulator) */
    const char *secrets_dir;      /* NULL: data_dir */
    const char *secrets_key_file; /* with data_dir */
    struct sy_bearer bearer;      /* the agents' token, copied; zeroed: none */
    /* With data_dir; borrowed until dp_operator_new() returns. */
    const struct sy_blob_options *storage;
    int64_t object_bytes_max; /* default 1 GiB */
    size_t peer_bytes_max;    /* queued for one peer that reads slowly; default 256 MiB */
};

struct dp_operator_ports {
    struct sy_rpc *rpc;
    struct sy_loop *loop;
    struct sy_loop *objects_loop; /* NULL: the same */
    uint64_t seed;
    struct sy_log *log;
};

/* Listens and starts dialling. -EINVAL, -EADDRINUSE and errors of the file system, with a sentence.
 */
int dp_operator_new(struct dp_operator **ret_operator, const struct dp_operator_options *options,
                    const struct dp_operator_ports *ports, struct sy_error_text *error) SY_MUST_USE;
/* Until when it is certain that it is the active one, on its loop's clock; SY_TIME_NEVER: as long
 * as nothing else is heard, which it begins with. From then on it says nothing to shards, forgets
 * what has no node yet, and changes nothing that operators share, until it is told of a later time.
 * Agents, and what runs there, stay as they are. */
void dp_operator_set_right(struct dp_operator *op, int64_t until_ns);
int dp_operator_port(const struct dp_operator *op);
const char *dp_operator_cluster(const struct dp_operator *op);
/* Ends all streams; `done` runs on the loop when nothing of the operator is under way any more. */
void dp_operator_stop(struct dp_operator *op, int64_t grace_ns, sy_fn done, void *ctx);
/* After stop, or instead of it (a crash in the simulator). */
void dp_operator_free(struct dp_operator *op);
/* Aborts when an invariant of the core does not hold. For tests and the simulator. */
void dp_operator_check(const struct dp_operator *op);
/* The same: its core. */
const struct sch_operator *dp_operator_core(const struct dp_operator *op);
