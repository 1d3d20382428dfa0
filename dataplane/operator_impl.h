/*
 * What the files of the operator share. Nobody else includes this header.
 *
 *     operator.c          set-up, stop, turns: one core step for each event, timers
 *     operator_effects.c  what the core decided becomes records on links
 *     operator_dial.c     dialling shards: Describe, then a stream for each partition, again and
 *                         again
 *     operator_shard.c    such a stream: what a shard says
 *     operator_right.c    until when it is the active one of its cluster
 *     operator_status.c   what shards are told about nodes
 *     operator_agent.c    DataPlane.Attend: the agents
 *     operator_proof.c    proof for agents that shards hear of what they run
 *     operator_sleep.c    core-sleep
 *     operator_calls.c    calls of running tasks and their replies
 *     operator_logs.c     LogService.ReadLogs
 *     objects.c           ObjectStore, on its own loop
 */
#pragma once

#include "base/arena.h"
#include "base/hash.h"
#include "base/rng.h"
#include "dataplane/calls.h"
#include "dataplane/data.h"
#include "dataplane/events.h"
#include "dataplane/link.h"
#include "dataplane/objects.h"
#include "dataplane/operator.h"
#include "dataplane/secret_service.h"
#include "dataplane/specs.h"
#include "proto/rpc_health.h"

#define DP_NAME_MAX 64 /* nodes, shards, sessions; with the NUL */
#define DP_PARTITIONS_MAX 4096
/* That agents may name before a shard serves them: none of these takes the place of a real one. */
#define DP_PARTITIONS_NAMED_MAX 1024
#define DP_CLASSES_MAX 65536 /* resource classes of a partition */
#define DP_GREETING_NS (10 * SY_NS_PER_S)
#define DP_SILENT_BEATS 5
#define DP_GANG_TURNS 1024u

/* Field numbers of dataplane.proto: ShardMessage is read, OperatorMessage written, ... */
enum {
    DP_FROM_SHARD_WELCOME = 1,
    DP_FROM_SHARD_DEMANDS = 2,
    DP_FROM_SHARD_SPECS = 3,
    DP_FROM_SHARD_DROPPED_SPECS = 4,
    DP_FROM_SHARD_ASSIGNMENTS = 5,
    DP_FROM_SHARD_ACKS = 6,
    DP_FROM_SHARD_CANCELS = 7,
    DP_FROM_SHARD_REPLIES = 8,
    DP_FROM_SHARD_NODE_ORDERS = 10,
    DP_FROM_SHARD_RECLAIMS = 11,
    DP_FROM_SHARD_SURVEYS = 12,
    DP_FROM_SHARD_GIVE_BACKS = 13,
    DP_FROM_SHARD_ECHO = 14,
    DP_FROM_SHARD_FIELDS = 14,

    DP_TO_SHARD_HELLO = 1,
    DP_TO_SHARD_SHAPES = 2,
    DP_TO_SHARD_SHAPES_SET = 3,
    DP_TO_SHARD_INVENTORY = 4,
    DP_TO_SHARD_INVENTORY_COMPLETE = 5,
    DP_TO_SHARD_STARTED = 6,
    DP_TO_SHARD_OUTCOMES = 7,
    DP_TO_SHARD_RETURNED = 8,
    DP_TO_SHARD_CALLS = 9,
    DP_TO_SHARD_GRANTS = 10,
    DP_TO_SHARD_NODES = 11,
    DP_TO_SHARD_NODES_SET = 12,
    DP_TO_SHARD_HEARTBEAT = 13,
    DP_TO_SHARD_NODE_ORDERS = 14,
    DP_TO_SHARD_ROOM = 15,
    DP_TO_SHARD_SURVEYS = 16,
    DP_TO_SHARD_ELSEWHERE = 17,
    DP_TO_SHARD_INVENTORY_OWED = 18,
    DP_TO_SHARD_PROBE = 19,

    /* ... AgentMessage is read, NodeMessage written. */
    DP_FROM_NODE_HELLO = 1,
    DP_FROM_NODE_INVENTORY = 2,
    DP_FROM_NODE_STARTED = 3,
    DP_FROM_NODE_OUTCOMES = 4,
    DP_FROM_NODE_RETURNED = 5,
    DP_FROM_NODE_CALLS = 6,
    DP_FROM_NODE_LOG_CHUNKS = 7,
    DP_FROM_NODE_HEARTBEAT = 8,
    DP_FROM_NODE_PROBES = 9,
    DP_FROM_NODE_FIELDS = 9,

    DP_TO_NODE_WELCOME = 1,
    DP_TO_NODE_SPECS = 2,
    DP_TO_NODE_DROPPED_SPECS = 3,
    DP_TO_NODE_ASSIGNMENTS = 4,
    DP_TO_NODE_ACKS = 5,
    DP_TO_NODE_CANCELS = 6,
    DP_TO_NODE_REPLIES = 7,
    DP_TO_NODE_LOG_READS = 8,
    DP_TO_NODE_HEARTBEAT = 9,
    DP_TO_NODE_GIVE_BACK = 10,
    DP_TO_NODE_PROOFS = 11,
};

/* ---- partitions and the shards that serve them ---- */

struct dp_partition {
    uint32_t id;
    uint32_t max_epoch;   /* the newest seen, from a welcome or an agent's inventory */
    bool served;          /* a shard said that it serves it; else only agents named it */
    struct dp_stream *up; /* the one stream that speaks for it; NULL */
    struct dp_specs_use specs;
    UT_hash_handle hh;
};

struct dp_grant {
    uint32_t class_id;
    bool dirty;
    uint64_t granted, startable;
    struct dp_grant *next_dirty;
    UT_hash_handle hh;
};

/* One stream of ControlPlane.Operate:
 *
 *     DOWN --dialled--> GREETING --welcome--> UP --newer epoch elsewhere--> FENCED
 *      ^                   |                  |                               |
 *      +-------------------+------------------+-------------------------------+
 */
enum dp_stream_state {
    DP_STREAM_DOWN,
    DP_STREAM_GREETING,
    DP_STREAM_UP,
    DP_STREAM_FENCED,
    DP_STREAM_STATES,
};
extern const struct sm_table dp_stream_table;

struct dp_stream {
    struct dp_link link; /* first */
    struct dp_operator *op;
    struct dp_shard *shard;
    struct dp_partition *partition;
    struct sm sm;
    uint32_t epoch;
    int64_t up_ns;
    struct dp_grant *grants;
    struct dp_grant *dirty_grants, **dirty_grants_tail;
    struct dp_room {
        uint64_t cpu_milli, memory_bytes, gpu_milli;
        bool dirty;
    } room;
    bool shapes_due, nodes_due;
    int64_t nodes_told_ns;
    /* "The inventory is complete" is told once what names its attempts is on its way, outcomes too:
     * a receiver handles that field before the outcomes of the same message. */
    bool complete_due, owed_due; /* owed: but for nodes that are away */
    uint64_t complete_after_inventory, complete_after_outcomes; /* barriers of the link */
    int64_t cluster_lease_ns;                                   /* as its welcome says */
    uint64_t probe;                                             /* the last one */
    struct dp_proof *proofs_asked, *proofs_probed; /* for the next probe; for its echo */
    bool described;                                /* the shard still has this partition */
    struct dp_stream *next;
};

struct dp_shard {
    struct dp_operator *op;
    char *target;
    struct sy_channel *channel;
    struct sy_call *describe; /* under way; NULL */
    struct dp_stream *streams;
    struct sy_timer timer; /* the next thing to do: ask, open streams, give up asking */
    int64_t backoff_ns, asked_ns;
    char name[DP_NAME_MAX]; /* as it calls itself; "": not heard yet */
    bool answered;          /* the Describe under way, or the last one */
    bool unreachable;       /* logged */
    bool configured;
    size_t tellers;         /* shards whose last word names it */
    struct dp_shard **told; /* whom its last word names */
    size_t told_count;
};

int dp_shards_new(struct dp_operator *op, const char *const *targets,
                  struct sy_error_text *error) SY_MUST_USE;
void dp_shards_stop(struct dp_operator *op);
void dp_shards_free(struct dp_operator *op);
void dp_shards_forgive(struct dp_operator *op, int64_t now_ns);
/* Closes all streams, and opens none while op->lapsed. */
void dp_shards_silence(struct dp_operator *op);
void dp_shards_resume(struct dp_operator *op);
/* Every UP stream tells shapes (and nodes) anew. */
void dp_shards_tell(struct dp_operator *op, bool shapes);
/* The same for what runs on the nodes, soon: changes come in crowds. */
void dp_nodes_tell_later(struct dp_operator *op);
/* Each beat: what could not be told of the nodes when it was due. */
void dp_shards_beat(struct dp_operator *op);
/* NULL while no stream speaks for it. */
struct dp_stream *dp_stream_find(struct dp_operator *op, uint32_t partition);
void dp_stream_complete(struct dp_stream *stream, bool owed);
void dp_stream_grant(struct dp_stream *stream, uint32_t class_id, uint64_t granted,
                     uint64_t startable);
void dp_stream_elsewhere(struct dp_stream *stream, const struct sch_share_path *place,
                         const struct sch_use *use);
void dp_stream_room(struct dp_stream *stream, uint64_t cpu_milli, uint64_t memory_bytes,
                    uint64_t gpu_milli);
/* An attempt of this epoch was seen: an older shard must not speak for the partition any more.
 * False when there are too many partitions. */
bool dp_partition_saw_epoch(struct dp_operator *op, uint32_t partition, uint32_t epoch);

/* ---- agents ---- */

/* One stream of DataPlane.Attend: GREETING --hello--> UP --replaced--> REPLACED, each --> gone. */
enum dp_agent_state {
    DP_AGENT_GREETING,
    DP_AGENT_UP,
    DP_AGENT_REPLACED,
    DP_AGENT_GONE,
    DP_AGENT_STATES
};
extern const struct sm_table dp_agent_table;

#define DP_ADDRESS_MAX 256

struct dp_agent {
    struct dp_link link; /* first */
    struct dp_operator *op;
    struct sm sm;
    uint32_t slot; /* while UP: index into op->slots */
    char node[DP_NAME_MAX], session[DP_NAME_MAX], boot_id[DP_NAME_MAX];
    char address[DP_ADDRESS_MAX]; /* where other nodes reach it */
    struct dp_agent_calls calls;
    /* Specs that the agent shall forget. Told only when no assignment is queued: an assignment
     * that came before must still find its spec. */
    struct dp_spec_key *drops;
    size_t drops_count, drops_cap;
    struct dp_proof *proofs;          /* that it asks for */
    struct dp_agent *next, *previous; /* of all agents, in order of arrival */
    UT_hash_handle hh;                /* by node, while UP */
};

void dp_agents_attend(void *ctx, struct sy_call *call, struct sy_span request);
void dp_agents_stop(struct dp_operator *op);
void dp_agents_free(struct dp_operator *op);
void dp_agents_forgive(struct dp_operator *op, int64_t now_ns);
struct dp_agent *dp_agent_find(struct dp_operator *op, const char *node);
/* Hands over an assignment, after its spec. */
void dp_agent_assign(struct dp_agent *agent, struct dp_spec *spec, struct sy_span record);
/* operator_gang.c */
/* Once, when the range of ports is known. */
void dp_gang_init(struct dp_operator *op);
/* As the agent told ("": as its stream comes). */
void dp_gang_set_address(struct dp_agent *agent, const char *told);
/* The assignment with the rendezvous of its gang; valid until op->scratch is used again. */
struct sy_span dp_gang_assignment(struct dp_operator *op, const struct sch_op_effect *effect,
                                  struct sy_span record);
void dp_agent_forget_spec(void *ctx, uint32_t slot, const struct dp_spec_key *key);

/* ---- operator_proof.c ---- */
/* An AttemptProbe of the agent, which is UP; false: it is malformed. */
bool dp_proof_ask(struct dp_agent *agent, struct sy_span bytes);
/* Before a message to the shard is packed: the probe that is due. */
void dp_proofs_pack(struct dp_stream *stream);
/* The Probe that came back; false: it is malformed. */
bool dp_proofs_echoed(struct dp_stream *stream, struct sy_span bytes);
void dp_proofs_drop_stream(struct dp_stream *stream);
void dp_proofs_drop_agent(struct dp_agent *agent);

/* ---- calls of tasks ---- */

/* From an agent; `span` is the TaskCall. False when it is malformed. */
bool dp_relay_call(struct dp_agent *agent, struct sy_span span);
/* From a shard; the TaskReply. */
bool dp_relay_reply(struct dp_stream *stream, struct sy_span span);
/* The stream of that partition is down: its calls end UNAVAILABLE. */
void dp_relay_fail_partition(struct dp_operator *op, uint32_t partition);

/* ---- operator_right.c ---- */
void dp_right_init(struct dp_operator *op);
void dp_right_deinit(struct dp_operator *op);
void dp_right_serve(void *ctx, struct sy_call *call,
                    struct sy_span request); /* ctx: the operator */

/* ---- orders for nodes ---- */

/* Reads what is kept in the file, and keeps it there from now on. Without, nothing is kept. */
int dp_orders_open(struct dp_operator *op, const char *path,
                   struct sy_error_text *error) SY_MUST_USE;
typedef struct Switchyard__Internal__NodeOrder dp_pb_node_order;
void dp_orders_receive(struct dp_stream *stream, const dp_pb_node_order *order);

/* ---- operator_survey.c ---- */
typedef struct Switchyard__Internal__ReclaimQueue dp_pb_reclaim_queue;
typedef struct Switchyard__Internal__Survey dp_pb_survey;
/* False: too many. */
bool dp_reclaim_queues_from(size_t count, dp_pb_reclaim_queue *const *from,
                            struct sch_reclaim_queue ret[SCH_RECLAIM_QUEUES_MAX]);
/* Answers at once; false: it is malformed. */
bool dp_survey_answer(struct dp_stream *stream, const dp_pb_survey *survey);
/* Writes down what the core has said since. */
void dp_orders_turn_end(struct dp_operator *op);

/* ---- operator_waited.c ---- */
int dp_waited_open(struct dp_operator *op, const char *nodes_file,
                   struct sy_error_text *error) SY_MUST_USE;
void dp_waited_changed(struct dp_operator *op, const struct sch_op_effect *effect);
/* Before what the turn gathered is sent; now and then. */
void dp_waited_turn_end(struct dp_operator *op);
void dp_waited_beat(struct dp_operator *op);

/* ---- core-sleep ---- */

#define DP_OWN_NODE "operator" /* the node on which it runs; no agent's */
#define DP_SLEEP_ENVIRONMENT "core-sleep"

struct dp_sleeps;
int dp_sleeps_new(struct dp_sleeps **ret, struct dp_operator *op,
                  const struct sy_blob_options *storage, struct sy_error_text *error) SY_MUST_USE;
/* Sleeps under way are forgotten. */
void dp_sleeps_free(struct dp_sleeps *sleeps);
/* What the core decided for DP_OWN_NODE; `record` is the Assignment. */
void dp_sleep_assign(struct dp_sleeps *sleeps, const struct sch_attempt_key *key,
                     struct sy_span record);
void dp_sleep_cancel(struct dp_sleeps *sleeps, const struct sch_attempt_key *key,
                     const char *reason);

/* ---- logs ---- */

struct dp_logs;
struct dp_logs *dp_logs_new(struct dp_operator *op);
void dp_logs_read(void *ctx, struct sy_call *call, struct sy_span request); /* ctx: the operator */
void dp_logs_tail(void *ctx, struct sy_call *call, struct sy_span request);
bool dp_logs_chunk(struct dp_agent *agent, struct sy_span span);
void dp_logs_agent_gone(struct dp_agent *agent);
void dp_logs_stop(struct dp_logs *logs);
void dp_logs_free(struct dp_logs *logs);

/* What calls to shards show: who we are. */
#define DP_CREDENTIALS_MAX 2
size_t dp_credentials(const struct dp_operator *op, struct sy_metadata ret[DP_CREDENTIALS_MAX]);

/* ---- the operator ---- */

/* RUNNING --> STOPPING (calls end) --> STOPPED */
enum dp_state { DP_RUNNING, DP_STOPPING, DP_STOPPED, DP_STATES };
extern const struct sm_table dp_operator_table;

struct dp_operator {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_log *log;
    struct sy_rng rng;
    struct sm sm;
    char *cluster, *endpoint;
    char *authorization; /* NULL: none */
    int64_t core_price_micros;
    uint64_t fences; /* of its cluster, that are over: a shard has let it in after so many */
    uint64_t fence;  /* the last one that was carried out */
    uint64_t term;
    char labels[SCH_NODE_LABELS_MAX]; /* of all its nodes */
    char region[DP_NAME_MAX];
    char *waited_path;             /* NULL: not kept */
    struct sy_buf waited;          /* what it has: a name a line */
    char *orders_path;             /* NULL: not kept */
    bool orders_due;               /* to be written */
    bool waited_due, waited_stale; /* likewise, waited_path: before what follows is sent; later */
    bool deleted;                  /* a shard has said that its cluster is */
    bool lapsed;                   /* it may not be the active one any more */
    struct sy_timer right;
    char session[27];
    int64_t heartbeat_ns, silence_ns, node_lease_ns;
    size_t peer_bytes_max, agents_max;

    struct sch_operator *core;
    struct sch_op_effects effects;
    bool stepping;

    struct dp_links links;
    struct dp_specs specs;
    struct dp_calls calls;
    struct dp_partition *partitions;
    struct dp_shard **shards;
    size_t shard_count;
    struct dp_agent *agents; /* all, newest first */
    size_t agent_count;
    struct dp_agent *agents_by_node;
    struct dp_agent **slots;
    uint32_t slot_count;
    uint32_t partitions_named; /* of partitions, those that no shard serves */
    struct dp_sleeps *sleeps;  /* NULL: without storage */
    struct dp_logs *logs;
    struct dp_gate gate;
    struct dp_objects *objects;
    struct dp_data *data;
    struct dp_secret_service *secrets;
    struct sy_server *server;
    struct pb_health *health;

    struct sy_timer tick, beat, nodes_tell;
    int64_t nodes_told_every_ns; /* shards hear of the nodes at most so often */
    uint64_t beats;
    int64_t now_ns; /* of the last callback */
    struct sy_turn_end turn_end;
    struct sy_arena arena;          /* for decoding one record */
    struct sy_buf scratch;          /* for encoding one */
    uint32_t gang_port, gang_ports; /* the first of so many */
    /* How many were given, by host: hosts that share a place share their turn. */
    uint32_t gang_turns[DP_GANG_TURNS];
    struct sy_buf rendezvous; /* of the gang whose members are being sent */
    bool drained;
    sy_fn stop_done;
    void *stop_ctx;
};

/* First in every callback: notices that we stood still. */
void dp_touch(struct dp_operator *op);
/* One step of the core, and its effects. */
void dp_step(struct dp_operator *op, struct sch_op_event *event);
void dp_apply_effects(struct dp_operator *op);
struct sy_buf *dp_scratch_key(struct dp_operator *op, const struct sch_attempt_key *key);
struct dp_partition *dp_partition_find(struct dp_operator *op, uint32_t id);
/* Made on first use; NULL: there are too many that shards serve, or that only agents have named. */
struct dp_partition *dp_partition_get(struct dp_operator *op, uint32_t id, bool served);

/* An assignment in the core's keeping. */
struct sch_blob dp_assignment_blob(struct dp_spec *spec, struct sy_span record);
/* An outcome in the core's keeping. */
struct sch_blob dp_outcome_blob(struct sy_span record);

/* What the core knows of the nodes, as records of OperatorMessage. */
void dp_status_put_shapes(struct dp_operator *op, struct dp_link *link);
void dp_status_put_nodes(struct dp_operator *op, struct dp_link *link);

/* From decoded messages; false when a text is too long, or an amount too large to be added up. */
typedef struct Switchyard__Internal__Resources dp_pb_resources;
bool dp_resources_from(const dp_pb_resources *from, struct sch_resources *ret);
typedef struct Switchyard__Internal__Traits dp_pb_traits;
bool dp_traits_from(const dp_pb_traits *from, struct sch_traits *ret);

/* Copies text from a message: printable ASCII, no blanks, 1 (or 0) to `size` - 1 characters. */
bool dp_copy_name(char *ret, size_t size, const char *text, bool may_be_empty);
/* Cuts what is too long; NULs become blanks. */
void dp_copy_text(char *ret, size_t size, struct sy_span text);
