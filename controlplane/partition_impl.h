/*
 * Inside of the partition shell; only controlplane/partition*.c includes it.
 *
 *   partition.c         set-up, life cycle, the turn's end, what fails where
 *   partition_open.c    open: format, epoch;  partition_recover.c  then the state, in slices
 *   partition_commit.c  groups: rows, chunks and releases that are committed together
 *   partition_replica.c what waits for the copy on another shard
 *   partition_effects.c effects of the core -> rows of the open group, and its release list
 *   partition_write.c   create_run, record, condition, signal, abort
 *   partition_enqueue.c enqueue (and the checks that names need)
 *   partition_read.c    get and list
 *   partition_watch.c   watches of runs and children;  partition_runs.c  of which runs changed
 *   partition_operate.c operator streams: what comes in
 *   partition_admit.c   which clusters are let in
 *   partition_send.c    operator streams: what goes out
 *   partition_flyte.c   what an action of a Flyte program needs beside its spec
 *   partition_reuse.c   results that exist already: recovery, cache
 *   partition_registry.c deployed tasks, triggers, projects;  partition_triggers.c  their clock
 *   partition_queues.c  the queues of the region
 *   partition_tokens.c  limits of queues that hold over several partitions
 *   partition_explain.c why an action waits; what a submit would do
 *   partition_survey.c  what operators say to that: who would stop, what is kept
 *   partition_calls.c   calls of running tasks
 *   partition_cluster.c the view of clusters and nodes
 *
 * The path of a change: a call or message becomes an event of the core (cp_step); its effects
 * become rows and chunks of p->open, and items of its release list; at the turn's end the group is
 * sealed and committed; when it is durable its items are released in order: replies run,
 * assignments, acks and cancels go to their stream's queues, which are packed into messages as the
 * peer takes them.
 */
#pragma once

#include "base/mem.h"
#include "base/sm.h"
#include "controlplane/clusters.h"
#include "controlplane/partition.h"
#include "controlplane/rows.h"
#include "controlplane/spec.h"

#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define CP_ENQUEUE_MAX 10000
#define CP_URI_BYTES_MAX 4096
#define CP_GROUP_BYTES_MAX 256
#define CP_CLUSTERS_MAX 4096
#define CP_SHAPES_MAX 4096
#define CP_MESSAGE_ARENA_MAX ((size_t)256 << 20)

/* ---- log ---- */

#define CP_PARTITION_EVENTS(X)                                                                     \
    X(CP_PARTITION_EV_OPENED, INFO, "partition serves")                                            \
    X(CP_PARTITION_EV_OPEN_FAILED, ERROR, "partition could not be opened")                         \
    X(CP_PARTITION_EV_FAILED, ERROR, "partition failed and reopens")                               \
    X(CP_PARTITION_EV_STOPPED, INFO, "partition stopped")                                          \
    X(CP_PARTITION_EV_ABANDONED, WARN, "partition abandoned: another shard may have it")           \
    X(CP_PARTITION_EV_CLUSTER_UP, INFO, "cluster connected")                                       \
    X(CP_PARTITION_EV_CLUSTER_DOWN, WARN, "cluster disconnected")                                  \
    X(CP_PARTITION_EV_CLUSTER_DELETED, INFO, "cluster was deleted: what it had is lost")           \
    X(CP_PARTITION_EV_CLUSTER_FORGOTTEN, INFO, "cluster forgotten")                                \
    X(CP_PARTITION_EV_TRIGGER_FAILED, WARN, "trigger made no run")                                 \
    X(CP_PARTITION_EV_STREAM_REFUSED, WARN, "operator stream refused")
SY_LOG_TABLE_DECLARE(cp_partition_events, CP_PARTITION_EVENTS)

/* ---- life cycle ----
 *
 *      OPENING --> CLAIMING (writes epoch + 1) --> SERVING --> STOPPING --> STOPPED
 *       ^   |          |                             |            ^
 *       |   |          v                             |            |
 *       +---|------ WAITING <------------------------+            |
 *           v          |                                          |
 *         FAILED ------+------------------------------------------+
 * CLAIMING: once the epoch is durable it recovers, in slices (partition_recover.c).
 * FAILED: damaged, or of a newer format: only a person can help.
 * AWAY: another shard has it, or none. From there it is taken (OPENING), given back through
 * STOPPING, or abandoned at once from anywhere. */
enum cp_partition_state {
    CP_PARTITION_AWAY,
    CP_PARTITION_OPENING,
    CP_PARTITION_CLAIMING,
    CP_PARTITION_SERVING,
    CP_PARTITION_WAITING,
    CP_PARTITION_FAILED,
    CP_PARTITION_STOPPING,
    CP_PARTITION_STOPPED,
    CP_PARTITION_STATES,
};
extern const struct sm_table cp_partition_table;
/* It may be another's by now: nothing of it may be shown, and nothing is taken for it. */
bool cp_lapsed(const struct cp_partition *p);
/* Which partition of the region has the hash. */
uint32_t cp_partition_of(const struct cp_partition *p, uint64_t hash);
void cp_abandon_lapsed(struct cp_partition *p);

/* ---- id map: u64 -> u32, for the time of a batch or message (0 is no key) ---- */

struct cp_id_map {
    struct cp_id_slot {
        uint64_t id;
        uint32_t value;
    } * slots;
    size_t count, cap; /* cap: a power of two, or 0 */
};
/* Where the value of `id` is, UINT32_MAX when it is new; valid until the next call. */
uint32_t *cp_id_map_get(struct cp_id_map *map, uint64_t id);
/* NULL: it is not there. */
const uint32_t *cp_id_map_find(const struct cp_id_map *map, uint64_t id);
void cp_id_map_clear(struct cp_id_map *map);
void cp_id_map_deinit(struct cp_id_map *map);

/* ---- groups ---- */

/* What the shell keeps of a live run, in sch_run.shell. */
struct cp_live_run {
    uint32_t refs;
    uint64_t id;
    char *request_id; /* NULL: none */
    /* The encoded RunRow as it was created, so that the end can be written without a read. Large
     * ones are dropped once they are durable. */
    struct sy_buf row;
    /* Of FlyteContext what all of the run's actions share, encoded; made with the first assignment
     * of a Flyte task. */
    bool flyte_known;
    struct sy_buf flyte;
    bool name_high_known;
    char name_high[SCH_NAME_MAX]; /* no action's name is greater */
    char project[SCH_NAME_MAX], domain[SCH_NAME_MAX];
    char queue[SCH_QUEUE_NAME_MAX]; /* of actions that name none; "": the default one */
};
#define CP_RUN_ROW_KEPT_MAX 1024
void cp_live_run_unref(struct cp_live_run *live);

/* One row that is growing: events of a run, or ended children of a parent. */
struct cp_chunk {
    uint64_t id; /* of the run, or of the parent action */
    uint64_t run_id;
    uint64_t first_sequence, count;
    uint64_t actions_total;    /* events */
    struct cp_live_run *live;  /* events; a reference */
    struct sch_action *parent; /* children; a reference */
    bool root_changed;         /* events: watchers of runs want to know */
    struct sy_buf bytes;
};

enum cp_item_type {
    CP_ITEM_DONE,
    CP_ITEM_ENQUEUED,
    CP_ITEM_ASSIGN,
    CP_ITEM_CANCEL,
    CP_ITEM_PREEMPT,
    CP_ITEM_GIVE_BACK,
    CP_ITEM_ACK,
    CP_ITEM_ECHO,
};

struct cp_assign {
    struct sch_action *action; /* a reference */
    struct cp_spec_use *use;   /* pinned */
    uint32_t class_id, number, attempt, queue;
    int32_t priority; /* with that of its queues */
    bool suspect;
    enum sch_on_partition on_partition;
    uint64_t gang_id; /* 0: in none */
    uint32_t rank, size;
    struct sch_share_path place; /* depth 0: not told */
};
struct cp_reclaim {
    uint32_t class_id, queue_count;
    uint64_t gang_id;
    struct sch_reclaim_queue queues[SCH_RECLAIM_QUEUES_MAX];
};
/* What an operator is asked for people; see Survey of dataplane.proto. */
struct cp_survey {
    uint64_t id, gang_id;
    struct sch_resources request;
    struct sch_gang_shape gang;
    uint32_t class_id, queue_count;
    struct sch_reclaim_queue queues[SCH_RECLAIM_QUEUES_MAX];
};
struct cp_attempt {
    uint64_t action_id;
    uint32_t number, epoch;
};

/* What waits for its group to be durable. */
struct cp_item {
    enum cp_item_type type;
    uint32_t stream_serial; /* ASSIGN, ECHO: to this stream or to nobody */
    union {
        struct {
            cp_done_fn fn;
            void *ctx;
            const struct sy_status *status; /* in the group's arena; NULL = OK */
        } done;
        struct {
            cp_enqueued_fn fn;
            void *ctx;
            const struct sy_status *status;
            struct cp_enqueued *result; /* in the group's arena */
        } enqueued;
        struct {
            struct cp_cluster *cluster; /* a reference */
            struct cp_assign assign;
        } assign;
        struct {
            struct cp_cluster *cluster;
            struct cp_attempt attempt;
            const char *reason; /* CANCEL, PREEMPT; in the group's arena */
        } tell;
        struct {
            struct cp_cluster *cluster;
            uint64_t number;
        } echo;
    } u;
};

/* An action (or run) that ended before the group that created it was durable: neither live nor
 * stored, but its name is taken. */
struct cp_ended {
    uint64_t run_id;    /* 0: a run */
    const char *name;   /* "project/domain/name" of a run */
    const char *detail; /* the parent, or the request id of a run */
};

struct cp_cached {
    uint8_t digest[SCH_CACHE_KEY_BYTES];
    struct sy_span row; /* in the group's arena */
};

struct cp_group {
    struct cp_group *next; /* in the pool */
    struct cp_batch *rows; /* NULL: no store */
    struct cp_item *items;
    size_t item_count, item_cap;
    struct cp_chunk *chunks; /* of chunk_cap, chunk_count are in use; buffers are kept */
    size_t chunk_count, chunk_cap;
    struct cp_id_map chunk_by_id;
    struct cp_ended *ended;
    size_t ended_count, ended_cap;
    struct cp_cached *cached; /* cache rows of this group */
    size_t cached_count, cached_cap;
    struct cp_id_map cached_by_digest;
    uint64_t id_high; /* of runs and actions created */
    unsigned callers; /* patient ones, who wait for it */
    int64_t callers_since_ns;
    bool urgent; /* something in it must not wait for more of them */
    struct sy_arena arena;
};

/* ---- clusters and their streams ---- */

struct cp_demand {
    uint32_t class_id;
    struct sch_resources request;
    struct sch_gang_shape gang; /* size 0: none */
    uint64_t waiting;
    int64_t oldest_age_ns;
    int32_t top_priority;
    uint32_t keep;
    struct sch_share_standing standing; /* depth 0: not told */
};

struct cp_cancel {
    struct cp_attempt attempt;
    char *reason;
    bool preempts;
};

/* A growing array; items are taken from the front. */
#define CP_QUEUE(Type)                                                                             \
    struct {                                                                                       \
        Type *items;                                                                               \
        size_t head, count, cap;                                                                   \
    }
void *cp_queue_grow(void *items, size_t *head, size_t count, size_t *cap, size_t item_size);
#define cp_queue_push(queue)                                                                       \
    __extension__({                                                                                \
        __auto_type queue_ = (queue);                                                              \
        queue_->items = cp_queue_grow(queue_->items, &queue_->head, queue_->count, &queue_->cap,   \
                                      sizeof(*queue_->items));                                     \
        &queue_->items[queue_->head + queue_->count++];                                            \
    })
/* Valid until the next push. */
#define cp_queue_pop(queue) ((queue)->count--, &(queue)->items[(queue)->head++])

struct cp_operator {
    struct cp_operator *prev, *next; /* p->operators */
    struct cp_partition *p;
    struct sy_call *call;
    struct cp_cluster *cluster; /* NULL before the hello; a reference */
    uint32_t serial;
    struct cp_identity identity; /* as its call showed */
    int64_t price;               /* of a core of the cluster, as its hello said */
    char *session;               /* of its operator's process, likewise */
    bool splits;                 /* so its hello said */
    bool nodes_told;             /* on this stream */
    bool closing;
    bool grace_used; /* since the last message */
    struct sy_timer timer;
    int64_t heard_ns, sent_ns, blocked_since_ns;
    /* what waits to be sent */
    bool welcome, heartbeat;
    uint64_t echo; /* the last probe that is answered; 0: none */
    CP_QUEUE(struct cp_demand) demands;
    struct cp_id_map demand_by_class;
    CP_QUEUE(struct cp_assign) assigns;
    CP_QUEUE(struct cp_attempt) acks;
    struct sy_timer acks_timer; /* they have waited for something to go with */
    bool acks_due;
    CP_QUEUE(struct cp_cancel) cancels;
    CP_QUEUE(struct cp_attempt) give_backs;
    CP_QUEUE(struct cp_reclaim) reclaims;
    CP_QUEUE(struct sy_buf) replies;
    CP_QUEUE(uint32_t) dropped_specs;
    size_t reply_bytes;
    uint8_t *specs_sent; /* a bit for each spec id */
    size_t specs_sent_bytes;
    struct cp_task_call *calls;
    size_t call_count;
    CP_QUEUE(struct cp_survey) surveys_out;
    struct cp_question *questions; /* surveys that it has not answered */
    uint64_t last_survey;
    CP_QUEUE(struct sy_buf) orders_out;
    struct cp_node_order *orders; /* that it has not answered */
    uint32_t order_count;
    uint64_t last_order;
};

struct cp_cluster {
    struct cp_cluster *prev, *next; /* p->clusters */
    uint32_t refs;
    char name[SCH_NAME_MAX];
    char *endpoint;
    char region[SCH_NAME_MAX];  /* as its last hello said */
    uint64_t term;              /* the greatest that an operator of it has shown */
    struct cp_operator *stream; /* NULL: not connected */
    int64_t lost_ns;            /* since when */
    bool expected;              /* named by the store, never seen since the open */
    cp_standing standing;       /* as the core was told last, */
    int64_t drain_deadline_ns;  /* and until when it is drained; realtime, 0: for ever */
    int64_t drain_due_ns;       /* the same, monotonic, by the wall clock when it was heard of */
    struct sy_arena nodes_arena;
    struct cp_node_view *nodes;
    size_t node_count;
};

/* ---- what is out, for people: (action id) -> since when, start and node ---- */

struct cp_place {
    uint64_t action_id;
    int64_t granted_ns; /* monotonic: it was assigned; 0: by a shard before */
    int64_t started_ns; /* realtime, on its node; 0: not yet */
    char node[SCH_NAME_MAX];
};
struct cp_places {
    struct cp_place *slots;
    size_t count, cap;
};
void cp_places_set(struct cp_places *places, uint64_t action_id, int64_t started_ns,
                   const char *node);
/* Assigned now; not started yet. */
void cp_places_grant(struct cp_places *places, uint64_t action_id, int64_t now_ns);
const struct cp_place *cp_places_find(const struct cp_places *places, uint64_t action_id);
void cp_places_remove(struct cp_places *places, uint64_t action_id);
void cp_places_deinit(struct cp_places *places);

/* ---- the partition ---- */

/* What the event that is being stepped brought with it; the core does not look inside. */
struct cp_report {
    const char *node;
    int64_t started_ns;
    const Switchyard__Internal__Outcome *outcome; /* OUTCOME only */
};
/* An end that the caller knows, and no operator reports: of a record, a signalled condition, an
 * action whose result exists already. */
struct cp_ending {
    int64_t started_ns, finished_ns; /* 0: now */
    struct sy_span output;
    const char *output_uri, *cluster;
    struct cp_error error; /* FAILED only */
    uint32_t cache;        /* flyteidl2.core.CatalogCacheStatus */
    const char *reused_from;
    bool recovered;
    bool signalled; /* it was live before the step */
};
struct cp_creating { /* shell pointer of what creates an action */
    struct cp_action_row row;
    bool again;                      /* it failed under an earlier attempt of its parent */
    const struct cp_create_run *run; /* CREATE_RUN only */
};

/* Attempts of epochs up to `epoch` were issued under that number. */
struct cp_origin {
    uint32_t partition, epoch;
};

struct cp_partition {
    struct cp_partition_options options; /* strings owned */
    struct sy_loop *loop;
    struct sy_rng *rng;
    struct sy_log *log;
    struct cp_store_opener opener;

    struct sm sm;
    struct sy_error_text reason;
    int reason_code; /* errno of it */
    uint32_t epoch;
    struct cp_store *store;
    struct cp_recovery *recovery; /* NULL: none is under way */
    struct cp_store *closing;     /* what `store` was, until it is closed */
    int64_t disk_since_ns;        /* a commit in flight began then, or else the close */
    struct sch_partition *core;
    cp_token_fn token_sink; /* NULL: nobody listens */
    void *token_ctx;
    struct sch_effects effects;
    struct cp_specs specs;
    struct cp_places places;

    struct cp_group *open, *sealed, *pool;
    struct cp_log history;       /* as found at the open, then with our epoch */
    uint64_t appended, released; /* ends of the batch in flight, and of what may be shown */
    uint64_t durable_id_high;
    unsigned callers_expected; /* patient ones in the next group; at least as many as now wait */
    int failing;               /* the turn's end steps down with it */

    /* of the step that runs */
    const struct cp_report *report;
    const struct cp_ending *ending;
    const struct sch_action *ending_action;
    const struct sch_action *created;
    enum sch_reject rejected;
    bool was_rejected;
    struct sch_action *rejected_action;
    struct sy_error_text rejected_text;
    struct sy_buf produced; /* OutcomeRow of the last action whose result others waited for */

    const struct cp_roll *roll; /* NULL: it was not handed one yet */
    struct cp_cluster *clusters;
    size_t cluster_count;
    struct cp_operator *operators;
    uint32_t last_serial;
    struct cp_task_call *orphan_calls; /* that enqueue, of streams that are gone */

    struct cp_change *changing, *changes; /* of the registry: in flight, waiting */
    struct sy_timer fire_timer;           /* of triggers */
    int64_t fire_after_ns;                /* the last try failed: not before this */
    bool firing;
    size_t queue_count; /* rows of queues */

    struct cp_watch_list *watch_lists; /* by id */
    struct cp_watch *runs_watches;
    uint64_t run_changes; /* told by cp_watch_notify_run() so far */
    uint64_t commits;     /* made durable so far */
    struct cp_watch *ready_watches;

    struct sy_turn_end turn_end;
    struct sy_timer tick;   /* of the core */
    struct sy_timer reopen; /* also: the first open, and the next slice of a recovery */
    struct sy_timer touch;  /* makes a turn when a call came from outside of one */
    struct sy_timer linger; /* the open group waits for callers_expected no longer */
    struct sy_timer forget; /* clusters */
    unsigned failures;      /* in a row, for the back-off */

    struct sy_buf scratch, scratch2;
    struct sy_arena message_arena;
    uint32_t epoch_min; /* the next opening has at least this one */
    bool giving;        /* it stops to be AWAY */
    bool replicating;   /* begun, not ended */
    bool awaiting;      /* the batch in flight is durable here, and may not be shown yet */
    struct cp_partition_lot lot;
    struct cp_descent {            /* from Meta; partition_split.c */
        struct cp_origin *origins; /* eldest first */
        size_t origin_count;
        uint32_t placed_epoch;
        struct cp_range stored; /* rows are of these hashes */
        bool mixed;             /* some of them are others' */
        struct sy_timer sweep;
        uint64_t swept; /* runs up to this one are done */
    } descent;
    sy_fn on_stopped;
    void *stopped_ctx;
};

static inline enum cp_partition_state cp_state(const struct cp_partition *p)
{
    return (enum cp_partition_state)p->sm.state;
}

/* partition.c */
void cp_partition_move(struct cp_partition *p, enum cp_partition_state to);
void cp_touch(struct cp_partition *p);
void cp_make_turn(void *arg); /* a timer's function: the turn's end does the work */
/* The store failed: everything pending ends, the core goes, the store is opened again later. */
void cp_step_down(struct cp_partition *p, int error);
/* As above, at the end of this turn. */
void cp_fail_later(struct cp_partition *p, int error);
/* Why a call is refused now; OK while it serves. */
enum sy_code cp_refusal(struct cp_partition *p);
/* The same, for the caller: with what to do. */
enum sy_code cp_refused(struct cp_partition *p, struct sy_error_text *error);
void cp_drop_core(struct cp_partition *p);
/* partition_recover.c. The next slice: 1, there are more; 0, the core is complete; or why not, with
 * a sentence. */
int cp_recover(struct cp_partition *p, struct sy_error_text *error);
void cp_recovery_end(struct cp_partition *p); /* before the store is closed; often there is none */
void cp_check_stopped(struct cp_partition *p);
/* True: it is closed. A disk that hangs would stop our loop with all that is on it. */
bool cp_close_store(struct cp_partition *p);

/* partition_open.c */
/* At once, or when the store before it is closed. */
void cp_open(struct cp_partition *p);
void cp_open_further(struct cp_partition *p); /* the next slice */
void cp_wait_and_reopen(struct cp_partition *p, int error, const char *text);

/* partition_replica.c: without a replication these do nothing, and all is shown when it is durable
 */
void cp_replica_begin(struct cp_partition *p);
/* The batch goes to the store now. */
void cp_replica_append(struct cp_partition *p, const struct cp_batch *batch);
/* It is durable. True: and may be shown; else cp_open_further() or cp_release_sealed() follows. */
bool cp_replica_synced(struct cp_partition *p);
void cp_replica_end(struct cp_partition *p);
/* partition_split.c */
void cp_descent_init(struct cp_partition *p);
void cp_descent_deinit(struct cp_partition *p);
/* The store is opened; its first row, or NULL. An errno with a sentence: it is not ours. */
int cp_descent_read(struct cp_partition *p, const Switchyard__Internal__Store__Meta *meta,
                    struct sy_error_text *error) SY_MUST_USE;
/* What is written with the claim beside the first row, which is packed after it. */
int cp_descent_claim(struct cp_partition *p, struct cp_batch *batch) SY_MUST_USE;
void cp_descent_pack(struct cp_partition *p, struct sy_buf *buf);
void cp_descent_begin(struct cp_partition *p); /* it serves */
/* Under which number attempts of that epoch go. */
uint32_t cp_issued_as(const struct cp_partition *p, uint32_t epoch);
/* Whether an attempt is of an action that lies here, if anywhere. */
bool cp_issued(const struct cp_partition *p, uint32_t partition, uint64_t action, uint32_t epoch);
bool cp_run_is_foreign(const struct cp_partition *p, struct sy_span row);
/* Whether a hello that says nothing of splits may be welcomed. */
bool cp_descent_is_plain(const struct cp_partition *p);
/* Which of 256 equal parts has the hash. */
uint8_t cp_place_of(uint64_t hash);
bool cp_range_has_place(const struct cp_range *range, uint8_t place);

/* partition_commit.c */
void cp_release_sealed(struct cp_partition *p);
struct cp_group *cp_group_new(struct cp_partition *p);
/* Drops what is in it, without calling anybody. */
void cp_group_discard(struct cp_partition *p, struct cp_group *group);
void cp_group_free(struct cp_group *group);
struct cp_item *cp_group_add(struct cp_partition *p, enum cp_item_type type);
/* One more patient caller waits for the open group. */
void cp_group_add_caller(struct cp_partition *p);
/* Of actions and clusters. */
void cp_group_drop_refs(struct cp_group *group);
/* After that: ends every reply in it with this status. */
void cp_group_fail(struct cp_partition *p, struct cp_group *group, const struct sy_status *status);
struct cp_chunk *cp_group_chunk(struct cp_partition *p, uint64_t id, bool *ret_new);
/* Entries of children's ends that are not durable yet. */
uint64_t cp_pending_children(struct cp_partition *p, uint64_t parent_id);
void cp_put(struct cp_partition *p, enum cp_family family, const struct cp_key *key,
            const struct sy_buf *value);
void cp_delete(struct cp_partition *p, enum cp_family family, const struct cp_key *key);
const struct cp_ended *cp_find_ended(const struct cp_partition *p, uint64_t run_id,
                                     const char *name);
/* Seals and commits the open group, or releases it when nothing of it needs a commit. */
void cp_commit(struct cp_partition *p);
void cp_add_done(struct cp_partition *p, cp_done_fn fn, void *ctx);
void cp_add_failed(struct cp_partition *p, cp_done_fn fn, void *ctx, enum sy_code code,
                   const char *text);
const struct sy_status *cp_status_in(struct sy_arena *arena, enum sy_code code, const char *text);

/* partition_effects.c */
void cp_step(struct cp_partition *p, struct sch_event *event);
/* A TOKEN effect, to the sink. */
void cp_send_token(struct cp_partition *p, const struct sch_effect *effect);
/* With the end of the action that the event makes, or of p->ending_action. */
void cp_step_ending(struct cp_partition *p, struct sch_event *event,
                    const struct cp_ending *ending);
void cp_put_live(struct cp_partition *p, const struct sch_action *action);

/* partition_enqueue.c */
int cp_check_input(const struct cp_partition *p, const struct cp_new_action *action,
                   struct sy_error_text *error) SY_MUST_USE;
/* Whether its policy can be kept with our leases: -EINVAL with a sentence when not. */
int cp_check_leases(const struct cp_partition *p, const struct sch_spec *spec,
                    struct sy_error_text *error) SY_MUST_USE;
/* Interns, and writes the row when it is new to the store. */
int cp_use_spec(struct cp_partition *p, struct sy_span bytes, struct cp_spec **ret,
                struct sy_error_text *error) SY_MUST_USE;
void cp_store_spec(struct cp_partition *p, struct cp_spec *spec);
const char *cp_name_high(struct cp_partition *p, struct sch_run *run);
void cp_raise_name_high(struct sch_run *run, const char *name);
enum cp_lookup_state {
    CP_LOOKUP_FREE,
    CP_LOOKUP_SAME,
    CP_LOOKUP_AGAIN, /* it has ended, and is to be made again */
    CP_LOOKUP_CONFLICT,
    CP_LOOKUP_FAILED,
};
struct cp_lookup {
    enum cp_lookup_state state;
    Switchyard__V1__Phase phase;
};
/* Whether the run of this live parent has, or had, an action of this name. */
struct cp_lookup cp_lookup_name(struct cp_partition *p, const struct sch_action *parent,
                                const char *name);
/* A live run, or why not. */
struct sch_run *cp_find_live_run(struct cp_partition *p, const char *project, const char *domain,
                                 const char *name, enum sy_code *ret_code,
                                 struct sy_error_text *error);
struct sch_action *cp_find_live_parent(struct cp_partition *p, struct sch_run *run,
                                       const char *name, enum sy_code *ret_code,
                                       struct sy_error_text *error);
/* The message and code of a rejection by the core, from p->rejected*. */
enum sy_code cp_explain_rejection(const struct cp_partition *p, struct sy_error_text *error);
/* False when the open batch or the partition is full. */
bool cp_has_room(const struct cp_partition *p, size_t actions, struct sy_error_text *error);

/* partition_read.c */
bool cp_can_read(const struct cp_partition *p);

/* partition_watch.c */
void cp_watch_notify(struct cp_partition *p, uint64_t id);
void cp_watch_notify_run(struct cp_partition *p, uint64_t run_id, const struct cp_live_run *live);
void cp_watch_run_ready(struct cp_partition *p);
/* The partition stepped down or stops. */
void cp_watch_detach_all(struct cp_partition *p);
void cp_watch_forget_all(struct cp_partition *p);
/* As cp_watch_children(), of a live parent. */
struct cp_watch *cp_watch_children_of(struct cp_partition *p, const struct sch_action *parent,
                                      uint64_t after, void (*on_more)(void *ctx), void *ctx);

/* partition_operate.c */
void cp_operator_close(struct cp_operator *o, enum sy_code code, const char *text);
void cp_operators_close_all(struct cp_partition *p, enum sy_code code, const char *text);
/* Without a word to anybody. */
void cp_operator_free(struct cp_operator *o);

/* partition_send.c */
void cp_operator_flush(struct cp_operator *o);
void cp_operator_drop_queues(struct cp_operator *o);
void cp_operator_demand(struct cp_operator *o, const struct cp_demand *demand);
void cp_operator_reclaim(struct cp_operator *o, const struct cp_reclaim *reclaim);
void cp_operator_assign(struct cp_operator *o, const struct cp_assign *assign);
/* Nobody waits for it: it goes with the next message, or with others after 10 ms. */
void cp_operator_ack(struct cp_operator *o, const struct cp_attempt *attempt);
void cp_operator_acks_late(void *arg); /* acks_timer */
void cp_operator_cancel(struct cp_operator *o, const struct cp_attempt *attempt, const char *reason,
                        bool preempts);
void cp_operator_give_back(struct cp_operator *o, const struct cp_attempt *attempt);
/* Takes the encoded TaskReply. */
void cp_operator_reply(struct cp_operator *o, struct sy_buf *reply);
/* A packed NodeOrder, taken. */
void cp_operator_order(struct cp_operator *o, struct sy_buf *order);
void cp_operator_survey(struct cp_operator *o, const struct cp_survey *survey);
void cp_operator_drop_spec(struct cp_operator *o, uint32_t spec_id);
void cp_assign_drop(struct cp_assign *assign);

/* partition_flyte.c */
/* RunSpec.max_action_concurrency. */
uint32_t cp_flyte_concurrency(struct sy_span run_spec);
/* RunSpec.queue, "" without one: 0, or -EINVAL with a sentence. */
int cp_flyte_queue(struct sy_span run_spec, char ret[SCH_QUEUE_NAME_MAX],
                   struct sy_error_text *error) SY_MUST_USE;
/* Of ActionRow.flyte; 0: none. */
int64_t cp_flyte_condition_timeout(struct sy_span flyte);
/* Before a context of this run is put. False: the store has failed. */
bool cp_flyte_prepare(struct cp_partition *p, const struct sch_run *run);
/* Adds a FlyteContext as field `field`; `row` is the ActionRow. */
void cp_flyte_put_context(const struct cp_partition *p, struct sy_buf *out, uint32_t field,
                          const struct sch_action *action, struct sy_span row);

/* partition_reuse.c */
struct cp_result_query {
    const char *project, *domain, *name;
    struct sy_span run_spec;
    uint64_t again_in;          /* the run that it is made again in; 0 = a new name */
    const struct cp_spec *spec; /* NULL: no task */
    struct sy_span flyte;       /* ActionRow.flyte: has the cache key */
    bool in_project;            /* cp_cache_in_project(run_spec) */
    const char *inputs_hash;    /* of a root */
};
bool cp_cache_in_project(struct sy_span run_spec);
/* True: its result exists, and the action ends with *ret instead of being run. */
bool cp_find_result(struct cp_partition *p, const struct cp_result_query *query,
                    struct cp_ending *ret);
/* The key under which the core lets one produce while others wait; NULL: it is not serialized. */
const uint8_t *cp_serial_key(const struct cp_result_query *query, struct cp_key *buf);
/* Of a live run; the bytes are good until the open group is released. */
struct sy_span cp_run_spec(struct cp_partition *p, const struct sch_run *run);
/* Puts the output into the cache when the task says so; returns the CatalogCacheStatus. */
uint32_t cp_cache_put(struct cp_partition *p, const struct sch_action *action,
                      const struct cp_outcome_row *row);
bool cp_is_recovery(struct sy_span run_spec);
/* The run that this one recovers, 0: none, or not of this partition. */
uint64_t cp_recovers(struct cp_partition *p, struct sy_span run_spec);
bool cp_recovery_forces(struct sy_span run_spec, const char *name);

/* partition_write.c */
/* Into the open group, without a reply: durable together with what else is put into it now. */
enum sy_code cp_create_run_now(struct cp_partition *p, const struct cp_create_run *request,
                               struct sy_error_text *error);

/* partition_triggers.c */
void cp_triggers_init(struct cp_partition *p);
/* Something may be due at another time than it was. */
void cp_triggers_arm(struct cp_partition *p);

/* partition_registry.c */
/* As cp_partition_registry_scan(), also while the partition is being opened. */
int cp_registry_scan(struct cp_partition *p, struct sy_span from, struct sy_span to,
                     bool (*fn)(void *ctx, struct sy_span key, struct sy_span value),
                     void *ctx) SY_MUST_USE;
/* Without calling anybody. */
void cp_registry_forget(struct cp_partition *p);

/* partition_queues.c */
/* Tells the new core of them, before it hears of actions, which name them. */
int cp_queues_restore(struct cp_partition *p, struct sy_error_text *error) SY_MUST_USE;
/* It knows of its actions: now what it uses of limits is told. */
int cp_queues_restored(struct cp_partition *p) SY_MUST_USE;

/* partition_calls.c */
void cp_task_call(struct cp_operator *o, const Switchyard__Internal__TaskCall *call);
/* The stream is gone: nobody waits for the answers. */
void cp_task_calls_drop(struct cp_operator *o);

/* ---- partition_survey.c ---- */
void cp_survey_answered(struct cp_operator *o, const Switchyard__Internal__SurveyAnswer *answer);
/* The stream is gone: it does not answer. */
void cp_surveys_drop(struct cp_operator *o);

/* ---- partition_orders.c ---- */
/* The stream is gone: they are answered so. */
void cp_node_orders_drop(struct cp_operator *o);
/* The partition goes, and those who wait with it. */
void cp_node_orders_forget(struct cp_operator *o);
void cp_node_order_answered(struct cp_operator *o,
                            const Switchyard__Internal__NodeOrderResult *result);
void cp_task_calls_free_orphans(struct cp_partition *p);

/* partition_admit.c */
enum cp_admission cp_operator_admit(const struct cp_operator *o, const char *cluster,
                                    struct sy_error_text *error);
/* Those that the roll says are deleted leave nothing behind. When the partition serves. */
void cp_clusters_purge(struct cp_partition *p);
/* What people said of clusters becomes so. When the partition serves, and the roll is another. */
void cp_clusters_heed(struct cp_partition *p);
/* The core is told of its cluster again; its nodes are the same. */
void cp_operator_said(struct cp_operator *o);

/* partition_cluster.c */
/* What it has is lost; its row and the cluster go. */
void cp_cluster_delete_all(struct cp_partition *p, struct cp_cluster *cluster);
struct cp_cluster *cp_cluster_find(struct cp_partition *p, const char *name);
/* NULL: too many. */
struct cp_cluster *cp_cluster_get(struct cp_partition *p, const char *name);
struct cp_cluster *cp_cluster_ref(struct cp_cluster *cluster);
void cp_cluster_unref(struct cp_cluster *cluster);
void cp_clusters_forget(struct cp_partition *p);
void cp_clusters_drop(struct cp_partition *p);
void cp_cluster_set_nodes(struct cp_cluster *cluster, size_t count,
                          Switchyard__Internal__NodeStatus *const *nodes);
void cp_resources_read(struct sch_resources *ret, const Switchyard__Internal__Resources *resources);
