/*
 * Actions, inside of the partition core: how they come (partition_submit.c), live and end
 * (action.c, action_retry.c).
 */
#pragma once

#include "scheduler/partition_impl.h"

/* ---- partition_submit.c ---- */
void sch_reject(struct sch_partition *p, enum sch_reject why, struct sch_action_impl *existing,
                void *shell);
/* Whether the parent may have a new child of this name; says no otherwise. */
bool sch_admit_child(struct sch_partition *p, struct sch_action_impl *parent, const char *name,
                     void *shell);
/* What a new action, or gang, wants. */
struct sch_task {
    struct sch_spec *spec;
    const struct sch_gang_shape *gang; /* size 0: none */
    int32_t priority;
    const char *queue;
    bool instant;
    const uint8_t *cache_key;
    void *shell;
};
extern const struct sch_gang_shape sch_no_gang;
/* Room for it, and what it needs; says no otherwise. *ret_tenant holds a reference; it is NULL for
 * what needs no worker. */
bool sch_admit(struct sch_partition *p, const struct sch_task *task, const char *project,
               const char *domain, struct sch_share **ret_tenant);
struct sch_action_new {
    uint64_t id;
    struct sch_run_impl *run;
    struct sch_action_impl *parent;
    const char *name;
    struct sch_spec *spec;    /* NULL: never runs */
    struct sch_share *tenant; /* of its queue; NULL: never runs */
    struct sch_gang *gang;    /* NULL: in none */
    uint32_t rank;
    int32_t priority;
    int64_t created_ns;
    int64_t timeout_ns;          /* of a condition */
    int64_t spent_ns;            /* of that or of the deadline, before a restart */
    uint64_t memory_bytes;       /* instead of the spec's; 0: that */
    enum sch_action_state state; /* an initial one; it is in no queue yet */
};
/* With its CREATED; it is in no queue yet. */
struct sch_action_impl *sch_begin_action(struct sch_partition *p, const struct sch_action_new *new,
                                         bool ends, void *shell);
/* The events CREATE_RUN, ENQUEUE, RECORD and CONDITION. */
void sch_submit_run(struct sch_partition *p, const struct sch_event *event);
void sch_submit_child(struct sch_partition *p, const struct sch_event *event);
void sch_submit_record(struct sch_partition *p, const struct sch_event *event);
void sch_submit_condition(struct sch_partition *p, const struct sch_event *event);

/* ---- action.c ---- */
/* How an action ends; see sch_effect.u.final. */
struct sch_end {
    enum sch_action_state state;
    const char *code, *message;
    const struct sch_report *report;
    struct sch_action *reused;
    void *shell;
};
struct sch_action_impl *sch_action_create(struct sch_partition *p,
                                          const struct sch_action_new *new);
void sch_action_link_parent(struct sch_action_impl *a, struct sch_action_impl *parent);
struct sch_action_impl *sch_action_find(struct sch_partition *p, uint64_t id);
struct sch_action_impl *sch_action_find_by_name(struct sch_partition *p, const struct sch_run *run,
                                                const char *name);
void sch_action_move(struct sch_partition *p, struct sch_action_impl *a, enum sch_action_state to);
struct sch_effect *sch_action_event(struct sch_partition *p, struct sch_action_impl *a,
                                    const char *code, const char *message,
                                    const struct sch_report *report);
/* Made on first use. */
struct sch_rare *sch_action_rare(struct sch_action_impl *a);
/* When its timer is due: deadline, timeout of a condition or of waiting, end of the backoff. */
int64_t sch_action_timer_ns(const struct sch_action_impl *a);
/* Of what began at `created_ns` and lasts `limit_ns`, `spent_ns` are over: ends when (monotonic).
 */
void sch_action_limit(struct sch_partition *p, struct sch_action_impl *a, int64_t limit_ns,
                      int64_t spent_ns);
/* It is in no queue, and nothing of it is out: from now on it asks for so much. */
void sch_action_change_memory(struct sch_partition *p, struct sch_action_impl *a,
                              uint64_t memory_bytes);
/* Of the event that says that an attempt is followed by another; NULL: the task's own error. */
const char *sch_retry_code(const char *message, const struct sch_report *report);
/* Out of whatever it waits in or runs on; its state is moved next. */
void sch_action_detach(struct sch_partition *p, struct sch_action_impl *a);
/* Its attempt is out: tells the cluster to stop it. */
void sch_action_cancel(struct sch_partition *p, const struct sch_action_impl *a,
                       const char *reason);
/* QUEUED, GANG_WAIT -> ASSIGNED, to the pair's cluster. */
void sch_action_assign(struct sch_partition *p, struct sch_action_impl *a,
                       const struct sch_pair *pair);
/* It is QUEUED or HELD: put it there; a queue may assign it. */
void sch_action_place(struct sch_partition *p, struct sch_action_impl *a, bool front);
/* It is in nothing: it wants to run, so it is QUEUED, or HELD without a slot. */
void sch_action_wait(struct sch_partition *p, struct sch_action_impl *a, bool front);
/* QUEUED, RECOVERING -> ASSIGNED or RUNNING on a cluster; the caller sets number and epoch. */
void sch_action_occupy(struct sch_partition *p, struct sch_action_impl *a,
                       struct sch_cluster *cluster, enum sch_action_state to);
/* ---- partition_wait.c ---- */
/* Its attempts are not given up for silence. */
bool sch_action_waits(const struct sch_action_impl *a);
/* Its agents stop its attempts before they are given up for silence. */
bool sch_action_stops(const struct sch_action_impl *a);
/* Of both: where its attempt is, or whether it has started, is another now. */
void sch_action_out_changed(struct sch_partition *p, struct sch_action_impl *a);
/* Some of what a cluster that is back has not named is not to be lost now; `owed`: nodes of it are
 * away that may have attempts that wait. */
void sch_outs_keep_unnamed(struct sch_partition *p, struct sch_cluster *cluster, bool owed);
/* It did not come back while the partition waited for it: all it had. */
void sch_outs_keep_recovered(struct sch_partition *p, struct sch_cluster *cluster);
/* Puts into *ret those that it keeps until their agents have stopped them. */
void sch_outs_stopped(struct sch_partition *p, struct sch_cluster *cluster, struct sch_link *ret);
void sch_out_restore(struct sch_partition *p, struct sch_action_impl *a, const struct sch_out *out);
void sch_outs_restored(struct sch_partition *p);

/* ---- action.c, action_retry.c ---- */
/* The current attempt has ended; what follows is decided by its outcome. */
void sch_action_outcome(struct sch_partition *p, struct sch_action_impl *a,
                        const struct sch_report *report);
void sch_action_lost(struct sch_partition *p, struct sch_action_impl *a, const char *message,
                     const struct sch_report *report);
/* The attempt never ran: back to the front of its queue. */
void sch_action_returned(struct sch_partition *p, struct sch_action_impl *a);
/* Ends it, first everything below it, then groups above it that wait for nothing more. */
void sch_action_end(struct sch_partition *p, struct sch_action_impl *a, enum sch_action_state state,
                    const char *code, const char *message, const struct sch_report *report);
void sch_action_end_as(struct sch_partition *p, struct sch_action_impl *a,
                       const struct sch_end *end);
/* Out of its lane, with all that is counted there: the core is freed. */
void sch_action_leave(struct sch_partition *p, struct sch_action_impl *a);
void sch_action_timer(struct sch_partition *p, struct sch_action_impl *a);
void sch_action_seal(struct sch_partition *p, struct sch_action_impl *a);
