/*
 * The shell round the partition core (scheduler/partition.h): it turns calls into events, rows into
 * write batches, and releases replies, assignments and watch events when their batch is durable.
 *
 * Everything is called on the partition's loop. A request's `done` runs on that loop, after the
 * batch that holds its effects is durable (or with an error status at once in a later turn); it
 * never runs inside the call that submitted it.
 *
 * Group commit: effects of a turn go to the open batch; when no commit is in flight the turn's end
 * seals it and hands it to the store; while it syncs the next batch fills. Messages and replies
 * wait in the release list of their batch.
 *
 * When a commit fails the partition steps down: every pending reply ends UNAVAILABLE
 * (RESOURCE_EXHAUSTED when the disk is full), operator streams are closed, the core is dropped, the
 * store is reopened after a jittered delay, and the live index is read again.
 */
#pragma once

#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/rpc.h"
#include "controlplane/ranges.h"
#include "controlplane/standby.h"
#include "controlplane/store.h"
#include "scheduler/explain.h"

#include "switchyard/internal/store.pb-c.h"

struct cp_partition;

/* How a partition gets its store, again after each failure; see cp_store_rocksdb_open(). */
struct cp_store_opener {
    int (*open)(void *ctx, struct cp_store **ret_store, uint32_t epoch, struct sy_loop *loop,
                uint32_t *ret_epoch, struct sy_error_text *error);
    void *ctx;
    /* Of a region whose partitions can be split; NULL: they cannot.
     * The store, which nobody has open, as it is under that epoch, becomes what a new partition
     * begins with; it stays as it is. Blocks. An errno with a sentence. */
    int (*fork)(void *ctx, uint32_t epoch, struct sy_error_text *error);
    /* Begins with what another one's fork made under that epoch, unless it has begun already. */
    int (*adopt)(void *ctx, uint32_t parent, uint32_t epoch, struct sy_error_text *error);
    /* What was forked from it under epochs before this one and is not what others begin with, as
     * `kept` says by epochs, is of splits that came to nothing: it goes. What cannot be removed
     * stays. Blocks. */
    void (*drop_forks)(void *ctx, uint32_t before, const uint32_t *kept, size_t kept_count);
};

/* Who keeps a copy of what the partition commits, on another shard (standby.h). On its loop;
 * between begin and end, the store is open. */
struct cp_replication {
    /* An epoch begins with the next batch; `log` is what was found. */
    void (*begin)(void *ctx, struct cp_store *store, uint32_t epoch, const struct cp_log *log);
    /* This batch, which ends at `upto`, is handed to the store now; borrowed. */
    void (*append)(void *ctx, uint64_t upto, struct sy_span batch);
    /* It is durable here. Returns up to where all may be shown; cp_partition_released() says it
     * when that grows later. */
    uint64_t (*synced)(void *ctx, uint64_t upto);
    void (*end)(void *ctx);
    void *ctx;
};

struct cp_partition_options {
    uint32_t partition;
    uint32_t partitions;                /* of the region; 0 = 1 */
    const struct cp_ranges_now *ranges; /* who has which names; NULL: it has all */
    bool registered_only;               /* no cluster that is not registered is let in */
    bool away;                          /* it is not ours, until cp_partition_take() */
    /* What is ours is so until then, at the latest, on the loop's monotonic clock; NULL: for ever.
     * From then on it is abandoned. Another thread may move it. */
    const _Atomic int64_t *right_until_ns;
    const struct cp_replication *replication; /* NULL: none; outlives the partition */
    const char *shard, *region;
    const char *endpoint;      /* of the shard, for tasks' own calls; NULL or "": not known */
    uint64_t actions_max;      /* default 4,000,000 */
    size_t inline_bytes_max;   /* inputs and outputs; default 64 KiB, 0 = references only */
    size_t batch_bytes_max;    /* an open batch above this makes callers wait: RESOURCE_EXHAUSTED */
    int64_t heartbeat_ns;      /* default 1 s */
    int64_t cluster_lease_ns;  /* default 15 s */
    int64_t cluster_forget_ns; /* a cluster not seen for so long after its lease; default 10 min */
    int64_t recovery_wait_ns;  /* default 10 s */
    uint32_t system_retries;
    uint32_t worker_deaths_max; /* see sch_partition_options; 0 = never */
    int64_t reclaim_delay_ns;   /* see sch_partition_options; 0 = never */
    int64_t reserve_after_ns;   /* the same */
    int64_t ageing_ns; /* an action gains one in priority for each that it waits; 0 = never */
    int64_t infeasible_grace_ns;    /* see sch_partition_options */
    enum sch_infeasible infeasible; /* the same */
};

int cp_partition_new(struct cp_partition **ret_partition,
                     const struct cp_partition_options *options, struct sy_loop *loop,
                     struct sy_rng *rng, struct sy_log *log, const struct cp_store_opener *opener,
                     struct sy_error_text *error) SY_MUST_USE;
void cp_partition_free(struct cp_partition *p);

/* What partitions of the region say to each other about limits of queues; scheduler/tokens.h. */
struct cp_token_message {
    enum { CP_TOKEN_REPORT, CP_TOKEN_ALLOW, CP_TOKEN_ASK } type;
    struct sch_queue_key key;
    union {
        struct sch_token_report report;
        struct sch_token_allowance allowance;
        struct {
            uint32_t partition; /* who is asked */
            uint64_t term;
        } ask;
    } u;
};
/* Where such messages go; it may be lost there. Without it they are. */
typedef void (*cp_token_fn)(void *ctx, const struct cp_token_message *message);
void cp_partition_set_token_sink(struct cp_partition *p, cp_token_fn fn, void *ctx);
/* One has come; nothing happens while the partition does not serve. */
void cp_partition_take_token(struct cp_partition *p, const struct cp_token_message *message);

/* Which clusters are registered; takes a reference. Who is not let in any more is closed. */
struct cp_roll;
void cp_partition_set_roll(struct cp_partition *p, const struct cp_roll *roll);
/* The newest registration that it heeds, as a revision; 0: it has no roll. */
int64_t cp_partition_registered_at(const struct cp_partition *p);

/* ---- whose it is; without a region it is ours from the beginning ---- */

#define CP_LOT_FORKS_MAX 255u /* a region that is split has 256 partitions at most */

/* What the region says of a partition beside its epoch. */
struct cp_partition_lot {
    struct cp_range range; /* which hashes it has */
    /* It was split from that one, as it was under that epoch; false: it was made with the region.
     */
    bool split;
    uint32_t parent, parent_epoch;
    /* All that was split from it before that epoch, by the epochs of the forks; 0: not known. No
     * other split of then can happen any more. */
    uint32_t forks_before, forks[CP_LOT_FORKS_MAX];
    size_t fork_count;
};
/* Before it is taken, while it is away. Without it, it has all hashes, or its even part. */
void cp_partition_set_lot(struct cp_partition *p, const struct cp_partition_lot *lot);
/* Whether it can be split now; false with a sentence, or without one: it does not serve. */
bool cp_partition_splits(const struct cp_partition *p, struct sy_error_text *error);
/* While it is away: as the opener's. */
int cp_partition_fork(struct cp_partition *p, uint32_t epoch,
                      struct sy_error_text *error) SY_MUST_USE;
/* It is away, and ours from now on: opened, under that epoch or a higher one. */
void cp_partition_take(struct cp_partition *p, uint32_t epoch_min);
/* It is ours, and away once `done` has run: what is pending is made durable and answered. It may
 * have been abandoned before, but not given. */
void cp_partition_give(struct cp_partition *p, sy_fn done, void *ctx);
/* It may be another's by now: nothing is read, written or answered well from here on. True: it is
 * away. False: it is once its store is closed, for which a commit in flight must end; then `done`
 * runs, if it is not NULL, or that of a stop or give which was under way. */
bool cp_partition_abandon(struct cp_partition *p, const char *why, sy_fn done, void *ctx);
bool cp_partition_away(const struct cp_partition *p);
/* All up to there may be shown. */
void cp_partition_released(struct cp_partition *p, uint64_t upto);
/* It is not away, and our right to it has not ended. */
bool cp_partition_ours(const struct cp_partition *p);
/* For how long it has waited for its disk: a commit, or its store's close; 0: it does not. */
int64_t cp_partition_disk_waited_ns(const struct cp_partition *p);
/* It could not be opened, at least for now; the reason says why. */
bool cp_partition_tried(const struct cp_partition *p);

bool cp_partition_serving(const struct cp_partition *p);
/* For people: "opening", "serving", "reopening" (after a failed commit or opening), "failed",
 * "stopping", "away". */
const char *cp_partition_state_word(const struct cp_partition *p);
/* Why it is not serving; "" when it is. */
const char *cp_partition_reason(const struct cp_partition *p);
uint32_t cp_partition_epoch(const struct cp_partition *p);
/* Batches made durable since it was made, through reopenings too. */
uint64_t cp_partition_commits(const struct cp_partition *p);
/* To back it up, on any thread; NULL: it does not serve, or keeps nothing on disk. */
struct cp_store_source *cp_partition_source(struct cp_partition *p);

/* ---- writes ---- */

typedef void (*cp_done_fn)(void *ctx, const struct sy_status *status);

struct cp_new_action {
    const char *name;
    struct sy_span input;
    const char *input_uri; /* "" or NULL */
};

struct cp_create_run {
    const char *project, *domain;
    const char *name; /* the shard made one when the caller gave none */
    struct sy_span task_spec;
    struct sy_span run_spec;
    struct cp_new_action root; /* name ignored: "a0" */
    int32_t priority;
    const char *request_id;  /* "" = none: a repeated id gives the same run */
    const char *inputs_hash; /* NULL = none; a recovered root must have the same */
    struct sy_span flyte;    /* ActionRow.flyte */
    struct sy_span trigger;  /* RunRow.trigger */
};
/* ALREADY_EXISTS when the name is taken by another request id. INVALID_ARGUMENT: names, specs,
 * sizes, no such queue, or no cluster could ever run it. RESOURCE_EXHAUSTED: full. Arguments are
 * copied. */
void cp_partition_create_run(struct cp_partition *p, const struct cp_create_run *request,
                             cp_done_fn done, void *ctx);

/* The actions of one call as one gang. */
struct cp_gang {
    struct sch_gang_shape shape;
    enum sch_on_loss on_loss;
};
/* Reads it for so many actions. -EINVAL with a sentence that names the field. */
int cp_gang_read(struct cp_gang *ret, const Switchyard__V1__Gang *message, size_t actions,
                 struct sy_error_text *error) SY_MUST_USE;

struct cp_enqueue {
    const char *project, *domain, *run, *parent;
    uint64_t attempt_action; /* from a task: its own action id, number and epoch; 0 = a client */
    uint32_t attempt_number, attempt_epoch;
    struct sy_span task_spec;
    const struct cp_new_action *actions;
    size_t count;
    int32_t priority;
    bool seal;
    bool patient; /* while others wait too it may wait, 10 ms at most, to share their commit */
    const char *group;
    struct sy_span flyte;
    const char *queue;          /* NULL or "": the run's */
    const struct cp_gang *gang; /* NULL: none */
};
struct cp_enqueued {
    uint32_t created;
    struct cp_existing {
        uint32_t index;
        Switchyard__V1__Phase phase;
    } * existing; /* borrowed for the callback */
    size_t existing_count;
};
typedef void (*cp_enqueued_fn)(void *ctx, const struct sy_status *status,
                               const struct cp_enqueued *result);
/* All or nothing, but for what a full queue cuts off (RESOURCE_EXHAUSTED): the repeat finds the
 * first part made, and `seal` waits for it. */
void cp_partition_enqueue(struct cp_partition *p, const struct cp_enqueue *request,
                          cp_enqueued_fn done, void *ctx);

/* A child that no cluster runs. */
struct cp_new_child {
    const char *project, *domain, *run, *parent, *name;
    const char *group;
    struct sy_span flyte;
};

/* An action that the client ran itself (Flyte's trace): stored as ended, told to the parent's
 * watchers. */
struct cp_record {
    struct cp_new_child child;
    Switchyard__V1__Phase phase; /* SUCCEEDED or FAILED */
    int64_t started_ns, finished_ns;
    const char *output_uri;
    const char *error_code, *error_message;
};
void cp_partition_record(struct cp_partition *p, const struct cp_record *request, cp_done_fn done,
                         void *ctx);

#define CP_CONDITION_TIMEOUT_S_MAX 315360000u /* ten years */
/* An action that waits, PAUSED, for a signal; TIMED_OUT after the timeout that child.flyte names.
 */
void cp_partition_condition(struct cp_partition *p, const struct cp_new_child *request,
                            cp_done_fn done, void *ctx);
/* Ends a condition SUCCEEDED, with `value` as its output. NOT_FOUND; FAILED_PRECONDITION when it is
 * none, or has ended. */
struct cp_signal {
    const char *project, *domain, *run, *action;
    struct sy_span value;
};
void cp_partition_signal(struct cp_partition *p, const struct cp_signal *request, cp_done_fn done,
                         void *ctx);

/* Aborts an action and everything below it. NOT_FOUND; FAILED_PRECONDITION when it has ended. */
void cp_partition_abort(struct cp_partition *p, const char *project, const char *domain,
                        const char *run, const char *action, const char *reason, cp_done_fn done,
                        void *ctx);

/* ---- reads: of what is durable ----
 *
 * After a failed commit they go on from the store as it was, until it is opened again. */

#define CP_PARTITION_E_NOT_FOUND 1
#define CP_PARTITION_E_NOT_SERVING 2

/* A run or action as stored, plus where a live one is now. Rows live in the arena given. */
struct cp_run_view {
    uint64_t id;
    Switchyard__Internal__Store__RunRow *row;
    struct sch_run *live; /* NULL when it ended; borrowed for this turn */
};
struct cp_action_view {
    uint64_t run_id;
    const char *name;
    Switchyard__Internal__Store__ActionRow *row;
    Switchyard__Internal__Store__OutcomeRow *outcome; /* NULL while it lives */
    struct sch_action *live; /* NULL when it ended; borrowed for this turn */
    Switchyard__V1__Phase phase;
    int64_t started_ns; /* of the current or last attempt; 0 = not started */
    int64_t granted_ns; /* of one that is out: when it was assigned; 0 = not known */
    uint32_t number;
    const char *cluster, *node; /* "" = none */
    /* Attempts that ended without ending the action, in order; none until
     * cp_partition_get_attempts(). One may be missing: `number` tells which they are. */
    Switchyard__Internal__Store__OutcomeRow **earlier;
    size_t earlier_count;
};

int cp_partition_get_run(struct cp_partition *p, struct sy_arena *arena, const char *project,
                         const char *domain, const char *name, struct cp_run_view *ret) SY_MUST_USE;
int cp_partition_get_run_by_id(struct cp_partition *p, struct sy_arena *arena, uint64_t run_id,
                               struct cp_run_view *ret) SY_MUST_USE;
int cp_partition_get_action(struct cp_partition *p, struct sy_arena *arena, uint64_t run_id,
                            const char *name, struct cp_action_view *ret) SY_MUST_USE;
/* Reads the attempts that did not end the action into the arena, the first `max` at most. */
int cp_partition_get_attempts(struct cp_partition *p, struct sy_arena *arena,
                              struct cp_action_view *view, size_t max) SY_MUST_USE;
/* Why a live action waits, and what would start it; the caller's: sch_explanation_free(). Reads as
 * of the last step, also of what is not durable yet. */
struct sch_explanation *cp_partition_explain(struct cp_partition *p, const struct sch_action *live);
/* Of one whose attempt is out: whose silence keeps it from being heard, and what becomes of it, in
 * words; "": it is heard. */
void cp_partition_silence(struct cp_partition *p, const struct cp_action_view *view,
                          struct sy_error_text *ret);
/* What operators add to it: who would stop for it, which nodes are kept. */
struct cp_displaced {
    uint64_t action_id;
    uint32_t number, epoch;
    char node[SCH_NAME_MAX];
};
struct cp_kept {
    char node[SCH_NAME_MAX];
    bool fits;
    struct sch_use missing;
};
struct cp_survey_answer {
    bool known; /* it has answered */
    bool room, withheld;
    uint32_t displaced_count, kept_count; /* in these arrays */
    uint32_t displaced_all;
    struct cp_displaced *displaced;
    struct cp_kept *kept;
};
/* Asks the operators of the clusters that could run it, CP_SURVEY_CLUSTERS_MAX at most. NULL: there
 * is nobody to ask, or nothing. Else `done` is called once, in a later turn, with all answers that
 * came within CP_SURVEY_NS, and the surveys are the caller's: cp_surveys_free(), also before that.
 */
#define CP_SURVEY_CLUSTERS_MAX 16u
#define CP_SURVEY_NS (2 * SY_NS_PER_S)
struct cp_surveys;
struct cp_surveys *cp_partition_survey(struct cp_partition *p, const struct sch_explanation *e,
                                       void (*done)(void *ctx), void *ctx);
void cp_surveys_free(struct cp_surveys *surveys);
/* NULL: it was not asked. */
const struct cp_survey_answer *cp_surveys_find(const struct cp_surveys *surveys,
                                               const char *cluster);
/* The live attempt, for people; false: it has ended meanwhile. */
struct cp_displaced_view {
    const struct sch_action *action;
    int64_t started_ns;
};
bool cp_partition_displaced(struct cp_partition *p, const struct cp_displaced *displaced,
                            struct cp_displaced_view *ret);
/* The action of a live run that people ask for when they name none: see explain_service.proto. */
const char *cp_partition_waiting(struct cp_run_view *run);
/* What create_run would do: OK, or INVALID_ARGUMENT for a spec that is none. *ret_explanation NULL:
 * it needs no worker. *ret_refusal: what create_run would say, "" when it takes it. */
struct cp_dry_run {
    const char *project, *domain, *queue;
    struct sy_span task_spec;
    int32_t priority;
    const struct sch_gang_shape *gang; /* NULL: one task */
};
enum sy_code cp_partition_dry_run(struct cp_partition *p, const struct cp_dry_run *request,
                                  struct sch_explanation **ret_explanation,
                                  struct sy_error_text *ret_refusal, struct sy_error_text *error);
/* Which attempt a live task of a Flyte program is in; 0: it is none, or has not begun. */
uint32_t cp_partition_attempt(const struct cp_partition *p, uint64_t run_id, const char *name);
/* The run that one with this RunSpec recovers, 0: none. With a name: unless the RunSpec forces the
 * action of that name to run again. */
uint64_t cp_partition_recovers(struct cp_partition *p, struct sy_span run_spec, const char *name);
/* The TaskSpec of a view's row (empty without one). */
int cp_partition_get_spec(struct cp_partition *p, const struct cp_action_view *view,
                          struct sy_buf *ret) SY_MUST_USE;

/* Newest first, ids below `from` (0 = from the newest); or oldest first, ids above it. fn returns
 * false to stop. */
int cp_partition_list_runs(struct cp_partition *p, struct sy_arena *arena, uint64_t from,
                           bool oldest_first, bool (*fn)(void *ctx, const struct cp_run_view *run),
                           void *ctx) SY_MUST_USE;
/* In byte order of names, after `after` ("" = from the first). */
int cp_partition_list_actions(struct cp_partition *p, struct sy_arena *arena, uint64_t run_id,
                              const char *after,
                              bool (*fn)(void *ctx, const struct cp_action_view *action),
                              void *ctx) SY_MUST_USE;

/* ---- watches: pulled, so that a reader that stops costs nothing ----
 *
 * A watch tells when more is durable; its owner then reads from the store at its own pace. on_more
 * runs at the end of a turn: once soon after the watch was made, then at most once for each commit
 * that changed something, whether the owner has read or not. It may free this and other watches. */
struct cp_watch;

enum cp_watch_kind {
    CP_WATCH_RUN,      /* the event log of one run */
    CP_WATCH_CHILDREN, /* the child log of one parent */
    CP_WATCH_RUNS,     /* which runs of the partition changed (coalesced) */
};
struct cp_watch *cp_watch_run(struct cp_partition *p, uint64_t run_id, uint64_t after,
                              void (*on_more)(void *ctx), void *ctx);
struct cp_watch *cp_watch_children(struct cp_partition *p, uint64_t run_id, const char *parent,
                                   uint64_t after, void (*on_more)(void *ctx), void *ctx);
/* project/domain "" = all */
struct cp_watch *cp_watch_runs(struct cp_partition *p, const char *project, const char *domain,
                               void (*on_more)(void *ctx), void *ctx);
/* Goes up with whatever such a watch would be told of: for those who look now and then. */
uint64_t cp_partition_run_changes(const struct cp_partition *p);
/* The least id that a run has which changes from now on, or whose change is not durable yet. */
uint64_t cp_partition_oldest_run(const struct cp_partition *p);
/* False: the partition stepped down since the watch was made, or is another's by now as far as is
 * known; nothing more comes. */
bool cp_watch_can_read(const struct cp_watch *watch);
/* Detaches it; also when the partition stepped down (on_more ran and reads give NOT_SERVING). */
void cp_watch_free(struct cp_watch *watch);

/* Run: the next events, at most about bytes_max of them, in order. *ret_count 0: nothing new,
 * on_more follows. *ret_ended: the run's last event was delivered. */
int cp_watch_read_events(struct cp_watch *watch, struct sy_arena *arena, size_t bytes_max,
                         Switchyard__V1__Event ***ret_events, size_t *ret_count,
                         bool *ret_ended) SY_MUST_USE;
/* Children: the next names (at most max); *ret_next is the cursor after the last. */
int cp_watch_read_children(struct cp_watch *watch, struct sy_arena *arena, size_t max,
                           const char ***ret_names, size_t *ret_count, uint64_t *ret_next,
                           uint64_t *ret_running) SY_MUST_USE;
/* Runs: ids of runs that changed since the last read (at most max). */
size_t cp_watch_read_runs(struct cp_watch *watch, uint64_t *ret_ids, size_t max);
/* None is left to be read. */
bool cp_watch_runs_are_read(const struct cp_watch *watch);

/* ---- clusters ---- */

/* Handler of ControlPlane.Operate for this partition: takes the call. */
void cp_partition_operate(struct cp_partition *p, struct sy_call *call);

enum cp_node_verb { /* NodeVerb's numbers */
                    CP_NODE_CORDON = 1,
                    CP_NODE_UNCORDON,
                    CP_NODE_DRAIN,
                    CP_NODE_FENCE,
                    CP_NODE_UNFENCE,
};
struct cp_node_request {
    enum cp_node_verb verb;
    const char *cluster; /* "": the only one with such a node */
    const char *node;
    int64_t deadline_ns; /* DRAIN: from now; 0 = none */
};
/* Done when the cluster's operator has carried it out and keeps it. NOT_FOUND, INVALID_ARGUMENT
 * (several clusters have such a node), UNAVAILABLE (its operator is away), RESOURCE_EXHAUSTED. */
void cp_partition_order_node(struct cp_partition *p, const struct cp_node_request *request,
                             cp_done_fn done, void *ctx);

struct cp_node_view {
    const char *name, *state, *reason, *gpu_model, *labels, *taints;
    uint32_t cpu_milli, used_cpu_milli, gpus, used_gpus;
    uint64_t memory_bytes, used_memory_bytes, finished;
    uint32_t running, backlog;
    const struct sch_environment *environments;
    size_t environment_count;
};
struct cp_cluster_view {
    const char *name, *endpoint;
    const char *region; /* "": not known */
    const char *state;  /* "ready", "lost", "gone" */
    int64_t silent_ns;  /* realtime: since when it has no stream, as far as this shard knows, or one
                           that has told nothing of its nodes yet; 0: it has */
    int64_t price;      /* of a core; 0: not known */
    struct sch_cluster_out out;
    const struct cp_node_view *nodes;
    size_t node_count;
};
void cp_partition_each_cluster(struct cp_partition *p,
                               bool (*fn)(void *ctx, const struct cp_cluster_view *cluster),
                               void *ctx);

struct sch_partition_counts cp_partition_counts(struct cp_partition *p);

/* Aborts when an invariant of the core does not hold. For tests and the simulator. */
void cp_partition_check(const struct cp_partition *p);
/* For the simulator. Its core; NULL while it does not serve. To be read only. */
struct sch_partition *cp_partition_core(struct cp_partition *p);
/* Serves, and all that it applied is durable: a rebuild from its store would know as much. */
bool cp_partition_settled(const struct cp_partition *p);

/* Stops taking work and closes streams and watches; `done` runs when the last batch is durable. */
void cp_partition_stop(struct cp_partition *p, sy_fn done, void *ctx);
