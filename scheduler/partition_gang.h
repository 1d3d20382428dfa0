/* Gangs inside of the partition core; partition_gang.c says what they are. */
#pragma once

#include "scheduler/partition_impl.h"

struct sch_end; /* action_impl.h */

/* Its members share what is counted of them (attempts, failures): what happens to one happens to
 * the gang. */
struct sch_gang {
    uint64_t id; /* of the action with rank 0 */
    struct sch_gang_shape shape;
    enum sch_on_loss on_loss;
    uint32_t refs; /* members, also those that have ended but can be read */
    uint32_t live; /* members that have not ended */
    bool ending;   /* one has failed, the others follow in this step */
    struct sch_table_link by_id;
    struct sch_link link;   /* p->gangs, while a member lives */
    struct sch_link sent;   /* p->gangs_sent: to a cluster, and not known to have started */
    int64_t sent_ns;        /* or when others were last asked to stop for it */
    struct sch_link broken; /* p->gangs_broken: found incomplete at a rebuild; ends with the step */
    struct sy_error_text why;          /* of effects of this step */
    struct sch_action_impl *members[]; /* by rank; NULL: it has ended */
};

void sch_gang_enqueue(struct sch_partition *p, const struct sch_event *event);
/* All members are there. */
void sch_gangs_restored(struct sch_partition *p);
/* A restored member of it; the gang is made with the first one. */
struct sch_gang *sch_gang_restore(struct sch_partition *p, const struct sch_gang_view *view);
void sch_gang_join(struct sch_gang *gang, struct sch_action_impl *a, uint32_t rank);
/* The member has ended. */
void sch_gang_leave(struct sch_partition *p, struct sch_action_impl *a);
void sch_gang_unref(struct sch_gang *gang);
/* Not the first of a gang that waits: that one has the timer, and is in the queue. */
bool sch_gang_follows(const struct sch_action_impl *a);
/* The first of it is HELD and there are slots, or it is next: all of them. */
void sch_gang_released(struct sch_partition *p, struct sch_action_impl *first);
void sch_gang_assign(struct sch_partition *p, struct sch_action_impl *first,
                     const struct sch_pair *pair);
/* A member is not ASSIGNED any more: it does not wait in its cluster, as far as is known. */
void sch_gang_unsent(const struct sch_action_impl *a);
/* One that waits in its cluster and was sent there, or returned here, before that time; it is the
 * last of them from now on. NULL: there is none. */
struct sch_gang *sch_gang_next_sent(struct sch_partition *p, int64_t before_ns);
/* Whether the loss or failure of one may be followed by another attempt of all. */
bool sch_gang_may_restart(const struct sch_gang *gang);
/* The member's attempt has ended, and the failure is counted: all wait again. */
void sch_gang_retry(struct sch_partition *p, struct sch_action_impl *a, int64_t delay_ns,
                    bool front, uint64_t memory_bytes, const char *message,
                    const struct sch_report *report);
/* BACKOFF is over. */
void sch_gang_again(struct sch_partition *p, struct sch_action_impl *first);
/* One of it has started, as far as is known. */
bool sch_gang_runs(const struct sch_gang *gang);
/* The member's attempt never ran. */
void sch_gang_returned(struct sch_partition *p, struct sch_action_impl *a);
/* The member has ended other than well: so do the others. */
void sch_gang_end(struct sch_partition *p, struct sch_gang *gang, const struct sch_action_impl *a,
                  const struct sch_end *end);
/* The recovery wait is over. Those of which nobody reported a part wait again, as one. */
void sch_gang_unreported(struct sch_partition *p, struct sch_gang *gang);
/* Those that are only partly there, or in two clusters, are lost. */
void sch_gangs_recovered(struct sch_partition *p);
/* At the end of the step. */
void sch_gangs_settle(struct sch_partition *p);
/* A gang came into the class: clusters say anew whether they have room for one. */
void sch_gang_ask(struct sch_partition *p, struct sch_class *class);
/* Whether the next of the class may go to the first of its open pairs. */
bool sch_gang_may_go(const struct sch_class *class);
/* How many of it the known nodes of the cluster, or of its best domain, could hold; as far as its
 * size. */
uint64_t sch_gang_room(const struct sch_cluster *cluster, const struct sch_resources *request,
                       const struct sch_gang_shape *gang);
/* As sch_cluster_fits(): it may hold all of it at once. */
bool sch_gang_fits(const struct sch_cluster *cluster, const struct sch_resources *request,
                   const struct sch_gang_shape *gang, struct sy_error_text *ret_misses);
