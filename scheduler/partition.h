/*
 * The partition core: runs, actions, queues and routing of one partition, as a pure state
 * machine. No I/O, no clock, no threads; same events, same effects.
 *
 *     sch_partition_step(p, &event, &effects)
 *
 * The shell (controlplane/) turns calls, stream messages and timers into events. For each effect
 * it adds rows to the open write batch, or keeps a message with that batch; when the batch is
 * durable the messages go out, in order. So nothing is shown before it is durable, and the core
 * need not know when that is. If a commit fails the shell throws the whole core away and rebuilds
 * it from the store.
 *
 * What lives here: non-terminal runs and actions, resource classes, clusters. Terminal actions cost
 * no memory. Nothing scans a queue: actions wait in a FIFO for each (class, priority), and a grant
 * takes from the front.
 *
 * Ownership: the core owns runs, actions, classes and clusters. Specs belong to the shell, which
 * embeds struct sch_spec; `refs` counts live actions, and SCH_EFFECT_SPEC_UNUSED says when it is
 * zero. Effects hold pointers that are valid until the next step; an action that the shell needs
 * for longer it takes with sch_action_ref().
 */
#pragma once

#include "base/clock.h"
#include "base/sm.h"
#include "scheduler/gang.h"
#include "scheduler/queue.h"
#include "scheduler/resources.h"
#include "scheduler/share.h"
#include "scheduler/tokens.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCH_NAME_MAX 64 /* with the NUL; Flyte's are at most 30 characters, ours at most 63 */
#define SCH_ROOT_NAME "a0"

/* ---- life cycle of an action ----
 *
 *               +---------------------------------------------------+
 *               v                                                   |
 *   (new) --> HELD --> QUEUED --> ASSIGNED --> RUNNING --> SUCCEEDED | FAILED | TIMED_OUT
 *     |         ^       ^   ^         |  |        |                 |
 *     |         |       |   +returned-+  +--------+--> BACKOFF -----+
 *     |         +-------+-- RECOVERING <-- (rebuild)
 *     +--> CACHE_WAIT --> HELD or QUEUED (the producer failed) | SUCCEEDED (it succeeded)
 *     +--> GROUP (no worker: ends when sealed and its children have ended) --> SUCCEEDED | FAILED
 *     +--> PAUSED (a condition, no worker) --> SUCCEEDED (a signal) | TIMED_OUT
 *     +--> GANG_WAIT --> ASSIGNED, with all others of its gang (and wherever else QUEUED is)
 *   any non-final --> ABORTED, and TIMED_OUT by its deadline
 *   QUEUED --> FAILED: none can ever run it: found so once all nodes were known, or the last one
 *       that could has left (by the policy of its queue)
 *
 * RECOVERING: after a restart the partition does not know whether an attempt is out; it waits,
 * bounded, for the inventories of the clusters, then queues what nobody reported.
 *
 * HELD: its run has a limit of concurrency and no slot is free. QUEUED, ASSIGNED and RUNNING
 * actions of the run have a slot each; groups, conditions, traces and what backs off have none. So
 * only what may run at once makes demand, and at most `concurrency_max` are out. A slot that comes
 * free goes to the highest priority, first in first out, at the end of the step. Skipped when the
 * run has no limit or a slot is free. A lost attempt that is queued again at once keeps its slot.
 * While an action of the run is RECOVERING nothing new gets a slot.
 * A parent that waits for its children keeps its slot: a limit that is not above the depth of the
 * nesting can stop a run for ever. The core cannot know what a parent waits for; see
 * sch_run.concurrency_parents.
 *
 * CACHE_WAIT: another live action (of any run) has the same cache key and was created before: the
 * producer. When the producer succeeds all that wait end SUCCEEDED in the same step, with
 * u.final.reused = the producer. When it ends otherwise the oldest that waits is the producer, at
 * the end of the step. So the oldest live action of a key is its producer, also after a restart.
 * A task that waits (through children) for its own key waits for ever, where it would otherwise
 * call itself for ever.
 *
 * GANG_WAIT: a member of a gang that waits; the first of its gang is QUEUED and stands for all. A
 * gang waits whole or not at all: HELD, BACKOFF and (QUEUED, GANG_WAIT) are states of all members
 * at once, and all are ASSIGNED in the same step, to one cluster. When a member is lost, fails or
 * is given back the others leave with it, by the gang's policy; see scheduler/partition_gang.c. A
 * member that has succeeded has ended, and after that its gang cannot be restarted.
 */
enum sch_action_state {
    SCH_ACTION_QUEUED,
    SCH_ACTION_ASSIGNED,
    SCH_ACTION_RUNNING,
    SCH_ACTION_BACKOFF,
    SCH_ACTION_RECOVERING,
    SCH_ACTION_GROUP,
    SCH_ACTION_PAUSED,
    SCH_ACTION_HELD,
    SCH_ACTION_CACHE_WAIT,
    SCH_ACTION_GANG_WAIT,
    SCH_ACTION_SUCCEEDED,
    SCH_ACTION_FAILED,
    SCH_ACTION_ABORTED,
    SCH_ACTION_TIMED_OUT,
    SCH_ACTION_STATES,
};
extern const struct sm_table sch_action_table;

/* A task definition as the core sees it. The shell embeds it. */
struct sch_spec {
    struct sch_resources request;
    int64_t timeout_ns; /* of one attempt; the agent's business; 0 = none */
    /* Of one attempt, from its first waiting (HELD, CACHE_WAIT, QUEUED) until RUNNING; 0 = none.
     * After a restart it begins again: assignments are not durable, so nobody knows how much of the
     * time since created_ns was spent waiting. */
    int64_t queued_timeout_ns;
    int64_t deadline_ns; /* from created_ns to the end, all attempts and waiting; survives a restart
                            (realtime); a running attempt is cancelled; 0 = none */
    uint32_t retries;    /* after the task's own errors; lost attempts are not counted here */
    /* Before user retry n (0, 1, ...): min(backoff_ns * factor^n, cap). 0 = at once. */
    int64_t backoff_ns;
    uint32_t backoff_factor_milli; /* 2000 doubles; below 1000 (as 0) is 1000: constant */
    int64_t backoff_cap_ns;        /* 0 = none but the core's own, one day */
    /* After an attempt ran out of memory the next one has factor times as much, up to the maximum,
     * as long as a cluster could run it; that uses no user retry. 0 = as any error of the task. */
    uint64_t oom_memory_bytes_max;
    uint32_t oom_factor_milli;          /* below 1100 is 1100 */
    enum sch_on_partition on_partition; /* of no gang other than REPLACE */
    bool group;                         /* needs no worker */
    uint32_t refs;                      /* live actions; kept by the core */
};

struct sch_run {
    uint64_t id; /* (epoch << 40) | (counter << 8) | place */
    char project[SCH_NAME_MAX], domain[SCH_NAME_MAX], name[SCH_NAME_MAX];
    int64_t created_ns;      /* realtime */
    uint64_t event_sequence; /* of the last event of this run */
    uint64_t actions_live;
    uint64_t actions_total;
    /* Slots: see HELD. With used == parents and something held, the run may be stuck for ever: each
     * slot belongs to an action with live children, which may be waiting for one that is held. */
    uint32_t concurrency_max;     /* 0: no limit, and nothing below is counted */
    uint32_t concurrency_used;    /* actions QUEUED, ASSIGNED or RUNNING */
    uint32_t concurrency_parents; /* of those, with live children */
    uint32_t concurrency_held;    /* actions HELD */
    struct sch_action *root;      /* NULL only while it is being made or rebuilt */
    void *shell;                  /* for the shell's watchers; not touched by the core */
};

struct sch_action {
    uint64_t id; /* (epoch << 40) | (counter << 8) | place; unique in the partition for ever */
    struct sch_run *run;
    struct sch_action *parent; /* NULL for the root */
    struct sch_spec *spec;     /* NULL for what never runs: a record (a trace), a condition */
    char *name;
    int64_t created_ns;      /* realtime */
    int64_t queued_at_ns;    /* monotonic: since when it waits; in BACKOFF: until when */
    uint64_t child_sequence; /* of the last entry in its child log */
    uint32_t number; /* of the current or last attempt; 0 = none yet. It fences: each assignment has
                        another. People see sch_action_attempt(). In the effects of a child's end,
                        parent->number is the attempt that the parent is in */
    uint32_t attempt_epoch; /* in which that attempt was issued */
    uint32_t children_live, children_failed;
    int32_t priority;
    uint16_t user_failures, system_failures;
    struct sm sm;
    bool sealed;       /* group: no more children will come */
    uint8_t deaths;    /* attempts that alone ran in what died under them, see SCH_DEATH_ALONE */
    bool suspect;      /* its worker has died under it, alone or not: it runs in one of its own */
    uint32_t ended;    /* attempts up to this number have ended: this is the number to persist */
    uint32_t attempts; /* how many of those ended: without those that were given back unstarted */
    struct sch_cluster *cluster; /* of the current attempt; of the last one when it has ended */
    /* The shell reads the fields above and changes none; the core's own follow in partition_impl.h,
     * where this struct is the first member of a larger one (queue links, siblings, timer, hashes).
     */
};

/* Not atomic: only the partition's loop thread may call them. A reference keeps the action, its
 * ancestors and its run readable (not the spec: that one is the shell's). */
struct sch_action *sch_action_ref(struct sch_action *action);
void sch_action_unref(struct sch_action *action);
/* The current or last attempt as people count: 1, 2, ...; 0 = none yet. */
static inline uint32_t sch_action_attempt(const struct sch_action *action)
{
    return action->attempts + (action->number > action->ended);
}
bool sch_action_is_final(const struct sch_action *action);
uint32_t sch_action_class_id(const struct sch_action *action); /* 0: it never runs */
/* What it needs now that earlier attempts ran out of memory; 0: as its spec says. */
uint64_t sch_action_memory_bytes(const struct sch_action *action);
/* CACHE_WAIT: the action whose output it waits for; else NULL. */
const struct sch_action *sch_action_producer(const struct sch_action *action);
/* A member of a gang. */
struct sch_gang_view {
    uint64_t id;   /* of the action with rank 0 */
    uint32_t rank; /* 0 to shape->size - 1 */
    const struct sch_gang_shape *shape;
    enum sch_on_loss on_loss;
};
/* False: it is in no gang. Valid as long as the action. */
bool sch_action_gang(const struct sch_action *action, struct sch_gang_view *ret);
const char *sch_cluster_name(const struct sch_cluster *cluster);
/* Where an attempt is that is not given up for silence, or that its agent stops before that: such
 * assignments are durable. */
struct sch_out {
    char cluster[SCH_NAME_MAX];
    uint32_t number, epoch;
    bool started;
};
/* Its attempt is out and is one of those: true, with where. */
bool sch_action_out(const struct sch_action *action, struct sch_out *ret);
/* Its cluster cannot be heard, and that is waited out. */
bool sch_action_waits_out(const struct sch_action *action);

/* ---- set-up ---- */

struct sch_partition_options {
    uint32_t partition;
    uint32_t partitions;        /* of the region; 0 as 1: its limits are nobody else's */
    uint32_t epoch;             /* higher at each rebuild: ids are made of it. 1 to 2^24 - 1 */
    uint64_t actions_max;       /* live actions; beyond: RESOURCE_EXHAUSTED */
    uint32_t system_retries;    /* attempts that may be lost before the action fails; default 10 */
    uint32_t worker_deaths_max; /* so many of sch_action.deaths and it fails; 0 = never; <= 255 */
    int64_t cluster_lease_ns;   /* silence after which a cluster's attempts are requeued */
    int64_t recovery_wait_ns;   /* bound on waiting for inventories after a rebuild */
    int64_t reclaim_delay_ns;   /* so long, or twice, a class waits for room before work that may be
                                   stopped is; 0 = never */
    int64_t reserve_after_ns; /* so long, or a second more, a class waits for room before nodes are
                                 kept for it; 0 = never */
    int64_t ageing_ns; /* an action gains one in priority for each that it waits; 0 = never */
    /* So long no cluster has been there that could ever run what waits before it ends, in queues
     * with SCH_INFEASIBLE_FAIL. */
    int64_t infeasible_grace_ns;
    enum sch_infeasible infeasible; /* of queues that do not say, nor one above; INHERIT: HOLD */
    /* In one step, a tick at once goes on; 0: 256, so that it stays short. */
    uint32_t assign_max;
    uint32_t looks_max; /* at what is looked at in slices; see partition_slice.h */
};

struct sch_partition;
struct sch_effects;

struct sch_partition *sch_partition_new(const struct sch_partition_options *options,
                                        int64_t now_ns);
void sch_partition_free(struct sch_partition *p);

/* Rebuild from the live index, before the first step: runs first, then their actions, parents
 * before children is NOT required (parent by name; resolved by sch_partition_restored()). The
 * restored action is RECOVERING (or GROUP, PAUSED; CACHE_WAIT from sch_partition_restored() on when
 * an older one has its cache key). HELD is not persisted: it is RECOVERING, then HELD again. */
struct sch_restore {
    uint64_t run_id, action_id;
    const char *name, *parent; /* parent "" for the root */
    struct sch_spec *spec;     /* NULL for a condition only */
    int64_t created_ns;
    int64_t realtime_ns;      /* now; with created_ns it says what is left of deadline or timeout */
    int64_t timeout_ns;       /* as in SCH_EVENT_CONDITION; spec NULL only */
    const uint8_t *cache_key; /* as in SCH_EVENT_ENQUEUE */
    const char *queue;        /* likewise; one that is gone is made again, unconfigured */
    enum sch_queue_reach queue_reach; /* of sch_action_queue() when it was created */
    const struct sch_gang_view *gang; /* as it was created; NULL: in none */
    int32_t priority;
    uint32_t
        number; /* sch_action.ended when the row was written: only later attempts are adopted */
    uint32_t attempts;     /* sch_action.attempts then */
    uint64_t memory_bytes; /* sch_action_memory_bytes() then */
    uint16_t user_failures, system_failures;
    uint8_t deaths;
    bool suspect;
    const struct sch_out *out; /* that attempt was there when the row was written; NULL: none that
                                  is waited for */
    uint32_t children_failed;
    uint64_t child_sequence; /* of the last entry in its child log; read it from that log */
    bool sealed;
};
struct sch_run *sch_partition_restore_run(struct sch_partition *p, uint64_t id, const char *project,
                                          const char *domain, const char *name, int64_t created_ns,
                                          uint64_t event_sequence, uint64_t actions_total,
                                          uint32_t concurrency_max);
/* Of one whose id does not end in it. */
void sch_partition_restore_place(struct sch_run *run, uint8_t place);
struct sch_action *sch_partition_restore_action(struct sch_partition *p,
                                                const struct sch_restore *r);
/* Links parents, counts children, starts the recovery wait for `expected_clusters` (names of
 * clusters that were registered when the store was last written). Of those that are not
 * back it is not known meanwhile what they could run. With none expected nothing waits. */
void sch_partition_restored(struct sch_partition *p, const char *const *expected_clusters,
                            size_t count, int64_t now_ns);

/* ---- events ---- */

#define SCH_CACHE_KEY_BYTES 16

enum sch_event_type {
    SCH_EVENT_CREATE_RUN,   /* u.create */
    SCH_EVENT_ENQUEUE,      /* u.enqueue */
    SCH_EVENT_ENQUEUE_GANG, /* u.gang: all of its members, or a rejection of all */
    SCH_EVENT_SEAL,         /* u.seal */
    SCH_EVENT_RECORD,       /* u.record: an action that the client ran itself (a trace) */
    SCH_EVENT_CONDITION,    /* u.condition: an action that waits for a signal, in PAUSED */
    SCH_EVENT_SIGNAL,       /* u.signal: ends a PAUSED action SUCCEEDED; the shell keeps the value.
                               Nothing happens in another state: look at it before */
    SCH_EVENT_ABORT,        /* u.abort */
    SCH_EVENT_CLUSTER_UP,   /* u.cluster: stream opened. While the cluster is up already: only its
                               shapes changed; so a replaced stream needs CLUSTER_DOWN first */
    SCH_EVENT_CLUSTER_DOWN, /* u.cluster.name: stream closed; its lease runs from now */
    /* u.cluster.name: it will not come back. What it has is lost now, and it is not waited for. */
    SCH_EVENT_CLUSTER_DELETED,
    /* u.cluster.name: it is dead, says a person. What it has is lost now, and it is not waited for.
     * Its stream, if there was one, is closed with it. */
    SCH_EVENT_CLUSTER_FENCED,
    SCH_EVENT_INVENTORY,          /* u.inventory: one attempt that the cluster holds */
    SCH_EVENT_INVENTORY_COMPLETE, /* u.cluster.name */
    SCH_EVENT_GRANT,              /* u.grant */
    SCH_EVENT_ROOM, /* u.room: how much may be assigned of all classes together; without it only
                       their grants count */
    SCH_EVENT_ELSEWHERE, /* u.elsewhere: what other partitions have there of one of its queues, or
                            of a level above; in place of what was said before, until CLUSTER_DOWN
                          */
    SCH_EVENT_STARTED,   /* u.report */
    SCH_EVENT_OUTCOME,   /* u.report */
    SCH_EVENT_RETURNED,  /* u.report */
    SCH_EVENT_QUEUE,     /* u.queue: configured, or changed. Right after a rebuild those
                            that exist come first, parents before their children */
    SCH_EVENT_QUEUE_REMOVE, /* u.queue_remove: as if never configured. What is in it goes on
                               under default settings */
    /* Limits over several partitions, see scheduler/tokens.h. */
    SCH_EVENT_TOKEN_REPORT, /* u.token_report, at the queue's home */
    SCH_EVENT_TOKEN_ALLOW,  /* u.token_allow, at the partition that it names */
    SCH_EVENT_TOKEN_ASK,    /* u.token_ask, at the partition that is asked */
    SCH_EVENT_TICK,         /* timers: call when sch_partition_next_ns() has come */
    SCH_EVENT_TYPES,
};

/* As OutcomeKind of dataplane.proto. */
enum sch_outcome {
    SCH_OUTCOME_SUCCEEDED = 1,
    SCH_OUTCOME_FAILED,
    SCH_OUTCOME_FAILED_FINAL,
    SCH_OUTCOME_OUT_OF_MEMORY,
    SCH_OUTCOME_TIMED_OUT,
    SCH_OUTCOME_CANCELLED,
    SCH_OUTCOME_LOST,
    SCH_OUTCOME_REFUSED,
    SCH_OUTCOME_PREEMPTED, /* stopped for others, or for a drain: no failure */
};

/* Of LOST, as Death of dataplane.proto: whether the task may have killed what ran it. */
enum sch_death {
    SCH_DEATH_NONE,
    SCH_DEATH_ALONE,  /* its process, worker, agent or node died, and it alone ran there */
    SCH_DEATH_SHARED, /* its worker died, and others ran in it */
};

struct sch_report {
    const char *cluster;
    uint64_t action_id;
    uint32_t number, epoch;
    enum sch_outcome outcome; /* OUTCOME only */
    enum sch_death death;     /* of LOST */
    int64_t started_ns;       /* realtime; STARTED and OUTCOME */
    const char *reason;       /* RETURNED; may be NULL */
    void *shell;              /* handed back in the effects that this report causes */
};

struct sch_event {
    enum sch_event_type type;
    int64_t now_ns;      /* monotonic */
    int64_t realtime_ns; /* for created_ns and event times */
    union {
        struct {
            const char *project, *domain, *name; /* the shell has checked that the name is free */
            struct sch_spec *spec;
            int32_t priority;
            const char *queue; /* a name; NULL or "": the default one. See scheduler/queue.h */
            uint32_t concurrency_max; /* 0: no limit. 1 would stop every parent (refuse it) */
            uint8_t place;            /* which of 256 equal parts of all names has the run's */
            bool instant;             /* the root; as in enqueue */
            const uint8_t *cache_key; /* the root's; as in enqueue */
            void *shell;              /* handed back in CREATED and REJECTED, and in FINISHED when
                                         the action ends in this very step */
        } create;
        struct { /* one child; the shell has checked the store for finished ones of that name */
            struct sch_action *parent; /* live; from sch_partition_find_action() */
            const char *name;
            struct sch_spec *spec;
            int32_t priority;
            const char *queue; /* as in create; the parent's is not taken over */
            /* Its result exists already (a cache hit, an earlier run that is recovered): it is
             * created and ends SUCCEEDED in this step, as CREATED, EVENT (SUCCEEDED, the only one),
             * CHILD_FINISHED, FINISHED, with report NULL and `shell` in CREATED and FINISHED. Its
             * number is 0. Neither actions_max nor feasibility is asked. cache_key is ignored. */
            bool instant;
            /* SCH_CACHE_KEY_BYTES, copied: actions with the same key run one at a time, see
             * CACHE_WAIT. NULL: not serialized. The digest holds what the scope of the lookup says
             * (project, domain); the core looks at nothing else. Not for groups. */
            const uint8_t *cache_key;
            void *shell;
        } enqueue;
        struct { /* children, as in enqueue, that are placed together */
            struct sch_action *parent;
            const struct sch_gang_shape *shape; /* checked; copied */
            enum sch_on_loss on_loss;
            /* shape->size of them, by rank. Their specs ask for the same; none is a group. */
            const struct sch_gang_member {
                const char *name;
                struct sch_spec *spec;
                void *shell; /* handed back in CREATED */
            } * members;
            int32_t priority;
            const char *queue;
            void *shell; /* handed back in REJECTED */
        } gang;
        struct {
            struct sch_action *action;
        } seal;
        struct {
            struct sch_action *parent;
            const char *name;
            bool failed;
            void *shell;
        } record;
        struct {
            struct sch_action *parent; /* as in enqueue; rejected for the same reasons */
            const char *name;
            int64_t timeout_ns; /* from created_ns; survives a restart; 0 = none */
            void *shell;
        } condition;
        struct {
            struct sch_action *action;
            void *shell; /* handed back in FINISHED */
        } signal;
        struct {
            struct sch_action *action; /* and everything below it */
            const char *reason;
        } abort;
        struct sch_cluster_said {
            const char *name;
            const struct sch_shape *shapes; /* UP */
            size_t shape_count;
            bool keep_shapes; /* UP: the shapes are not known yet or did not change */
            int64_t price; /* UP: of a core, in millionths of a currency an hour; 0 = not known */
            const char *region; /* UP: where it is; NULL or "" = not known */
            bool cordoned;      /* UP: nothing is assigned there; what it has goes on */
            /* UP: cordoned too. What has not started there is asked back; what runs then
             * (monotonic) is stopped, and ends PREEMPTED; SY_TIME_NEVER: it may end by itself. */
            bool draining;
            int64_t drain_ns;
            /* INVENTORY_COMPLETE: nodes are away that an earlier operator had given attempts that
             * wait; such as were not named may be there. Said again without it when that is over.
             */
            bool owed;
        } cluster;
        struct {
            const char *cluster;
            uint64_t action_id;
            uint32_t number, epoch;
            bool started;
            int64_t started_ns;
        } inventory;
        struct {
            const char *cluster;
            uint32_t class_id;
            uint64_t granted;   /* cumulative since CLUSTER_UP; of gangs: whole ones */
            uint64_t startable; /* likewise: up to this one there is free room for it now */
        } grant;
        struct {
            const char *cluster;
            uint64_t cpu_milli, memory_bytes, gpu_milli; /* cumulative since CLUSTER_UP */
        } room;
        struct {
            const char *cluster;
            const struct sch_share_path *place;
            struct sch_use use;
        } elsewhere;
        struct sch_report report;
        struct {
            const struct sch_queue_config *config; /* checked; copied */
        } queue;
        struct {
            const struct sch_queue_key *key;
        } queue_remove;
        struct {
            const struct sch_queue_key *key;
            const struct sch_token_report *report;
        } token_report;
        struct {
            const struct sch_queue_key *key;
            const struct sch_token_allowance *allowance;
        } token_allow;
        struct {
            const struct sch_queue_key *key;
            uint64_t term; /* 0: the shell asks, what was said may have got lost */
        } token_ask;
    } u;
};

/* ---- effects ---- */

enum sch_effect_type {
    /* rows */
    SCH_EFFECT_RUN_CREATED,    /* u.run */
    SCH_EFFECT_CREATED,        /* u.created: write its submit row and live key */
    SCH_EFFECT_UPDATED,        /* u.action: counters that recovery needs changed (live row): ended,
                                  failures, children_failed, sealed, sch_action_out(). Not for
                                  child_sequence and event_sequence: the last keys of those logs say
                                  them */
    SCH_EFFECT_FINISHED,       /* u.action, u.final: write the outcome row, delete the live key */
    SCH_EFFECT_RUN_FINISHED,   /* u.final: the root, its run is u.final.action->run */
    SCH_EFFECT_EVENT,          /* u.event: append to the run's event log, sequence given */
    SCH_EFFECT_CHILD_FINISHED, /* u.child: append to the parent's child log, sequence given */
    /* messages */
    SCH_EFFECT_ASSIGN,    /* u.assign; number, epoch and suspect are the action's */
    SCH_EFFECT_CANCEL,    /* u.cancel */
    SCH_EFFECT_GIVE_BACK, /* u.cancel, without a reason: RETURNED is wanted, unless it has started
                           */
    SCH_EFFECT_ACK, /* u.ack: the report is settled (accepted, or not wanted): tell its cluster */
    SCH_EFFECT_DEMAND,  /* u.demand */
    SCH_EFFECT_RECLAIM, /* u.reclaim: the cluster may stop attempts of these queues, as many as it
                           takes to start one of the class */
    SCH_EFFECT_TOKEN_REPORT, /* u.token_report: to the queue's home, which may be this partition */
    SCH_EFFECT_TOKEN_ALLOW,  /* u.token_allow: to the partition that it names, maybe this one */
    SCH_EFFECT_TOKEN_ASK,    /* u.token_ask: the same */
    /* bookkeeping */
    SCH_EFFECT_REJECTED,    /* answer to CREATE_RUN/ENQUEUE/RECORD: u.rejected */
    SCH_EFFECT_SPEC_UNUSED, /* u.spec: refs is 0 (also after a rejection); always the last effects
                             */
};

enum sch_reject {
    SCH_REJECT_EXISTS,   /* a live action of that name and parent: idempotent success for the caller
                          */
    SCH_REJECT_CONFLICT, /* a live action of that name under another parent */
    SCH_REJECT_FULL,     /* actions_max reached */
    SCH_REJECT_INFEASIBLE, /* clusters are known and none could ever run it; text says the misses */
    SCH_REJECT_SEALED,     /* the parent is sealed or has ended */
    SCH_REJECT_NO_QUEUE,   /* no queue of that name here; text says which there are */
    SCH_REJECT_QUEUE_FULL, /* length_max of its queue, or of one above, is reached; text */
};

struct sch_effect {
    enum sch_effect_type type;
    union {
        struct sch_run *run;
        struct sch_action *action;
        struct sch_spec *spec;
        struct {
            struct sch_action *action;
            void *shell;
            bool ends; /* in this very step (a record, an instant one): it needs no live key */
        } created;
        struct {
            struct sch_action *action; /* RUN_FINISHED: the root */
            enum sch_action_state state;
            /* What the core adds: "Aborted", "ChildFailed", "SystemRetriesExhausted",
             * "PoisonTask" (worker_deaths_max), "QueuedTimeout", "DeadlineExceeded",
             * "ConditionTimeout", "GangMemberFailed" (another one of its gang), "Lost" (of a gang
             * that is not restarted). NULL on success, and when the report says it all (the task's
             * own error). */
            const char *code, *message;
            const struct sch_report
                *report; /* the outcome that ended it; NULL: none (abort, timeout, reuse) */
            struct sch_action *reused; /* the producer that succeeded: copy its output, which is in
                                          this batch; else NULL */
            void *shell; /* of the RECORD, SIGNAL or instant ENQUEUE that ended it; else NULL */
        } final;
        struct {
            struct sch_run *run;
            struct sch_action *action;
            uint64_t sequence;
            enum sch_action_state state;
            const struct sch_report *report; /* NULL when no report caused it */
            const char *code, *message;
            uint32_t tried; /* the attempt, as people count, that has ended when another follows: in
                               this very step, maybe; else 0 */
            const char *tried_on; /* its cluster; "" when that is not known */
            int64_t time_ns;
        } event;
        struct {
            struct sch_action *parent, *child;
            uint64_t sequence;
        } child;
        struct {
            struct sch_action *action;
            const char *cluster;
            uint32_t class_id;
            uint32_t queue;   /* it may be stopped for the sake of others that name this; 0: not */
            int32_t priority; /* its own, with that of its queues */
            const struct sch_share_path *place; /* NULL: nobody needs to know */
        } assign;
        struct {
            const char *cluster;
            uint64_t action_id;
            uint32_t number, epoch;
            const char *reason;
            bool preempts; /* it is still wanted: it is to end PREEMPTED */
        } cancel;
        struct {
            const char *cluster;
            uint64_t action_id;
            uint32_t number, epoch;
        } ack;
        struct {
            const char *cluster;
            uint32_t class_id, queue_count;
            uint64_t gang_id; /* that waits there; 0: for any one of the class */
            const struct sch_reclaim_queue *queues; /* SCH_RECLAIM_QUEUES_MAX at most */
        } reclaim;
        struct {
            const char *cluster;
            uint32_t class_id;
            const struct sch_resources *request;
            const struct sch_gang_shape *gang; /* of a class of gangs, which are counted whole */
            uint64_t waiting;
            int64_t oldest_age_ns;
            int32_t top_priority;
            uint32_t keep; /* nodes that the cluster is to keep for the class */
            /* Of the first that waits; NULL: none does, or nobody needs to know. */
            const struct sch_share_standing *standing;
        } demand;
        struct {
            const struct sch_queue_key *key;
            struct sch_token_report report;
        } token_report;
        struct {
            const struct sch_queue_key *key;
            struct sch_token_allowance allowance;
        } token_allow;
        struct {
            const struct sch_queue_key *key;
            uint32_t partition; /* maybe this one */
            uint64_t term;
        } token_ask;
        struct {
            enum sch_reject why;
            struct sch_action *action; /* EXISTS */
            const char *text;          /* INFEASIBLE, NO_QUEUE, QUEUE_FULL */
            void *shell;
        } rejected;
    } u;
};

struct sch_effects {
    struct sch_effect *items;
    size_t count, cap;
};
void sch_effects_deinit(struct sch_effects *effects);

/* Clears `effects`, applies one event, fills `effects`. */
void sch_partition_step(struct sch_partition *p, const struct sch_event *event,
                        struct sch_effects *effects);
/* When the next TICK is due (monotonic); SY_TIME_NEVER when nothing waits for time. Demand is
 * gathered: a change is reported with the step at the first occurrence, then at most once each 2 ms
 * for a (cluster, class), by TICK. */
int64_t sch_partition_next_ns(const struct sch_partition *p);
/* How many ids its epoch has left. Without one it aborts: rebuild it in time, with a later epoch.
 */
uint32_t sch_partition_ids_left(const struct sch_partition *p);

/* ---- reading ---- */

struct sch_run *sch_partition_find_run(struct sch_partition *p, const char *project,
                                       const char *domain, const char *name);
struct sch_run *sch_partition_find_run_by_id(struct sch_partition *p, uint64_t run_id);
struct sch_action *sch_partition_find_action(struct sch_partition *p, const struct sch_run *run,
                                             const char *name);
struct sch_action *sch_partition_find_action_by_id(struct sch_partition *p, uint64_t action_id);

struct sch_partition_counts {
    uint64_t runs_live, queued, assigned, running, backoff, recovering, groups, finished;
    uint64_t paused, held, cache_waiting, gang_waiting;
    size_t classes, clusters;
    bool recovering_clusters; /* still waiting for inventories */
};
struct sch_partition_counts sch_partition_counts(const struct sch_partition *p);

/* What is out in a cluster, as far as is known. */
struct sch_cluster_out {
    uint64_t assigned, running;
    bool known; /* its inventory has come, and nothing else is waited for: there is no more */
};
struct sch_cluster_out sch_partition_cluster_out(const struct sch_partition *p, const char *name);

/* Attempts are waited for that the cluster had when it was heard last. */
bool sch_partition_waits_for(struct sch_partition *p, const char *cluster);

/* Whether any registered cluster could ever run it; with no cluster known yet: true. */
bool sch_partition_feasible(const struct sch_partition *p, const struct sch_resources *request,
                            struct sy_error_text *ret_misses);
/* Whether any could ever hold so many of them at once. */
bool sch_partition_gang_feasible(const struct sch_partition *p, const struct sch_resources *request,
                                 const struct sch_gang_shape *gang,
                                 struct sy_error_text *ret_misses);

/* Calls fn for each live run / live child; stops when fn returns false. */
void sch_partition_each_run(struct sch_partition *p, bool (*fn)(void *ctx, struct sch_run *run),
                            void *ctx);
void sch_action_each_child(struct sch_action *action,
                           bool (*fn)(void *ctx, struct sch_action *child), void *ctx);

/* A queue, or a level above queues, as it is now. */
struct sch_queue_view {
    const struct sch_queue_config
        *config; /* to be read, not copied: it ends with its last cluster */
    bool configured;
    uint64_t actions;                            /* live ones that need a worker, here and below */
    uint64_t out;                                /* of these assigned or running */
    uint64_t cpu_milli, memory_bytes, gpu_milli; /* of what is out */
    double share; /* of the region's cpu, memory or GPUs: of which it has most; 0 to 1 */
};
/* In order of creation; stops when fn returns false. */
void sch_partition_each_queue(const struct sch_partition *p,
                              bool (*fn)(void *ctx, const struct sch_queue_view *view), void *ctx);
/* Where it waits or counts; NULL: it needs no worker. */
const struct sch_queue_key *sch_action_queue(const struct sch_action *action);

/* Walks everything and aborts when an invariant does not hold (counts, links, one attempt for an
 * action, assigned never above granted, hashes complete). For tests and the simulator. */
void sch_partition_check(const struct sch_partition *p);
