/*
 * Queues, inside of the partition core: who is next. The tree by which room is shared, the order
 * within a class, and the lanes that actions wait in; partition_turn.h has the order over classes.
 */
#pragma once

#include "scheduler/partition_impl.h"

/* ---- partition_share.c ---- */
/* The tenant of a queue, with a reference; NULL: no such queue, p->misses says which there are.
 * With `make` the queue is made. */
struct sch_share *sch_share_find_tenant(struct sch_partition *p, const char *project,
                                        const char *domain, const char *queue, bool make);
/* The tenant in which a restored action was; its queue is made when it is gone. */
struct sch_share *sch_share_restore_tenant(struct sch_partition *p, const char *project,
                                           const char *domain, const char *queue,
                                           enum sch_queue_reach reach);
void sch_share_ref(struct sch_share *share);
void sch_share_unref(struct sch_partition *p, struct sch_share *share);
/* NULL: it is not there; with `get` it is made. */
struct sch_share *sch_share_find(struct sch_partition *p, const struct sch_queue_key *key);
struct sch_share *sch_share_get(struct sch_partition *p, const struct sch_queue_key *key);
/* What a project, domain or queue is to be below; made when it lacks. */
struct sch_share *sch_share_parent_of(struct sch_partition *p, const struct sch_queue_key *key,
                                      const struct sch_queue_config *config);
/* A name may mean another queue from now on. */
void sch_shares_forget_last(struct sch_partition *p);
/* An action of the tenant is there (delta 1) or gone (-1). */
void sch_share_count(struct sch_partition *p, struct sch_share *tenant, int delta);
void sch_share_urge(struct sch_share *tenant, int32_t priority); /* its own, of who was counted */
/* An action comes into use or out of it: counts, and what limits stop, up to the region. */
void sch_share_use(struct sch_partition *p, struct sch_share *tenant,
                   const struct sch_resources *request, bool more);
/* Whether its own limits let so many more such requests out. */
bool sch_share_admits(const struct sch_share *share, const struct sch_resources *request,
                      uint32_t count);
/* Whether so many more actions may wait there; says no in p->misses. */
bool sch_share_has_length(struct sch_partition *p, const struct sch_share *tenant, uint32_t count);
/* Its weighted_share, if this partition had that out. */
uint32_t sch_share_weigh(const struct sch_partition *p, const struct sch_share *share,
                         const struct sch_use *use);
/* Its weight or the capacity changed. */
void sch_share_reweigh(struct sch_partition *p, struct sch_share *share);
/* Names the queue to operators: from its key, so the same after a restart of either. Not 0. Two
 * queues in four thousand millions share one; then work of both may be stopped where that of one
 * may. */
uint32_t sch_share_tag(const struct sch_share *queue);
/* Where it is in the tree. */
void sch_share_stand(const struct sch_share *tenant, struct sch_share_standing *ret);
/* NULL: it is not there. */
struct sch_share *sch_share_at(const struct sch_partition *p, const struct sch_share_path *place);
void sch_share_set_parent(struct sch_partition *p, struct sch_share *share,
                          struct sch_share *parent);
/* Whether the region has other partitions, whose work is ordered with ours by operators: then they
 * are told where each of ours stands. */
static inline bool sch_partition_is_one_of_many(const struct sch_partition *p)
{
    return p->options.partitions > 1;
}
/* As many of p->weighing as the step may: the capacity of the region changed. */
void sch_shares_weigh(struct sch_partition *p);
/* Whether its own limits let out so much more. */
bool sch_share_takes(const struct sch_share *share, const struct sch_use *more);
struct sch_use sch_share_limits(const struct sch_share *share);
void sch_shares_init(struct sch_partition *p);
void sch_shares_deinit(struct sch_partition *p);

/* ---- partition_queue.c ---- */
void sch_share_configure(struct sch_partition *p, const struct sch_queue_config *config);
void sch_share_forget(struct sch_partition *p, const struct sch_queue_key *key);
/* What the settings above the tenant come to for it. */
void sch_tenant_gather(struct sch_partition *p, struct sch_share *tenant);
/* It has what they come to now. */
void sch_tenant_check(const struct sch_partition *p, const struct sch_share *tenant);
/* What is empty now goes below the parent that it is to have. */
void sch_shares_end_step(struct sch_partition *p);

/* ---- partition_fair.c ---- */
void sch_seat_init_root(struct sch_partition *p, struct sch_class *class);
void sch_seat_deinit_root(struct sch_class *class);
/* Made on first use; the caller takes a reference on a lane for each of its actions. */
struct sch_lane *sch_lane_get(struct sch_partition *p, struct sch_class *class,
                              struct sch_share *tenant);
/* NULL: there is none. */
const struct sch_lane *sch_lane_peek(const struct sch_partition *p, const struct sch_class *class,
                                     const struct sch_share *tenant);
void sch_lane_unref(struct sch_partition *p, struct sch_lane *lane);
/* What may run below the seat changed, or its priority. */
void sch_seat_update(struct sch_partition *p, struct sch_seat *seat);
/* Its weighted share changed: its contested seats move among their siblings, as many as the step
 * may; the others stay where they were, and the share is on p->moving. One that moves already goes
 * on: from the beginning it would never come to an end while its work ends. */
void sch_share_move(struct sch_partition *p, struct sch_share *share);
/* At the beginning of a step: those that changed while they moved. */
void sch_shares_move_again(struct sch_partition *p);
/* Those that are left; false: not all of them yet. */
bool sch_shares_move(struct sch_partition *p);
/* So many more (fewer) are QUEUED in the lane. */
void sch_seat_ready(struct sch_partition *p, struct sch_seat *lane, int64_t delta);
/* Out of its parent's heap. */
void sch_seat_exit(struct sch_seat *seat);
bool sch_seat_has_somebody(const struct sch_seat *seat);
/* Of the class, who is next; NULL: nobody may run. */
struct sch_lane *sch_class_next(struct sch_partition *p, struct sch_class *class);
/* Where the ways to two tenants part; false: they are the same one. */
bool sch_share_fork(const struct sch_share *a, const struct sch_share *b,
                    const struct sch_share **ret_a, const struct sch_share **ret_b);
/* Where their ways part, the one with less of its share comes first: below 0 when that is a, 0 for
 * the same tenant. */
int sch_share_order(const struct sch_share *a, const struct sch_share *b);
/* Whether a comes before b, lanes of two classes. */
bool sch_lane_before(struct sch_lane *a, struct sch_lane *b);
int32_t sch_lane_priority(const struct sch_lane *lane);
/* In another class, with all that is in it. */
void sch_lane_move(struct sch_partition *p, struct sch_lane *lane, struct sch_class *to);

/* ---- partition_fifo.c ---- */
void sch_fifo_init(struct sch_fifo *fifo, uint64_t id);
void sch_fifo_deinit(struct sch_partition *p, struct sch_fifo *fifo);
void sch_fifo_push(struct sch_partition *p, struct sch_fifo *fifo, struct sch_action_impl *a,
                   bool front);
void sch_fifo_remove(struct sch_partition *p, struct sch_fifo *fifo, struct sch_action_impl *a);
struct sch_action_impl *sch_fifo_first(const struct sch_fifo *fifo); /* NULL: empty */
/* Of its first, with what it has gained by waiting; the FIFO is not empty. */
int32_t sch_fifo_priority(const struct sch_fifo *fifo);
/* A level of a lane: what its first has gained by waiting, and when it gains more. */
void sch_level_age(struct sch_partition *p, struct sch_level *level);
int64_t sch_fifo_oldest_ns(const struct sch_fifo *fifo, int64_t now_ns);

/* ---- partition_lane.c ---- */
/* The action is QUEUED: in or out of its level. */
void sch_lane_push(struct sch_partition *p, struct sch_action_impl *a, bool front);
void sch_lane_remove(struct sch_partition *p, struct sch_action_impl *a);
/* At the end of the step: those that may run, the next one first, to the clusters with room. At
 * most options.assign_max; then sch_turn_pending(). */
void sch_lanes_assign(struct sch_partition *p);
void sch_ages_tick(struct sch_partition *p);
