#include "scheduler/partition_slice.h"
#include "scheduler/partition_elsewhere.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_route.h"

void sch_slices_init(struct sch_partition *p)
{
    sch_list_init(&p->stale);
    sch_list_init(&p->losing);
    sch_list_init(&p->draining);
    sch_list_init(&p->waking);
    sch_list_init(&p->roomy);
    sch_list_init(&p->elsewhere_gone);
    sch_list_init(&p->reserved);
    sch_round_init(&p->reclaiming);
    sch_round_init(&p->reserving);
    sch_round_init(&p->widening);
    sch_round_init(&p->unchecked);
}

/* ---- pairs ---- */

struct sch_pair *sch_pair_get(struct sch_partition *p, struct sch_class *class,
                              struct sch_cluster *cluster)
{
    while (class->pair_count <= cluster->index)
        sch_class_add_cluster(p, class);
    struct sch_pair *pair = class->pairs[cluster->index];
    SY_ASSERT(pair->class == class && pair->cluster == cluster);
    sch_pair_sync(p, pair);
    return pair;
}

const struct sch_pair *sch_pair_peek(const struct sch_class *class,
                                     const struct sch_cluster *cluster)
{
    const struct sch_pair *pair = cluster->index < class->pair_count ? class->pairs[cluster->index]
                                                                     : NULL;
    return pair && sch_pair_is_current(pair) ? pair : NULL;
}

void sch_class_sync(struct sch_partition *p, struct sch_class *class)
{
    while (class->pair_count < p->cluster_count)
        sch_class_add_cluster(p, class);
    for (size_t i = 0; i < class->pair_count && !sch_list_empty(&p->stale); i++)
        sch_pair_sync(p, class->pairs[i]);
}

/* ---- slices ---- */

static void follow(struct sch_partition *p)
{
    while (!sch_list_empty(&p->stale) && p->looks < p->options.looks_max) /* each counts itself */
        sch_pair_sync(p, sy_container_of(p->stale.next, struct sch_pair, follows));
}

/* A class stays on the list until it has pairs with all clusters; each that is made counts. */
static void widen(struct sch_partition *p)
{
    while (!sch_list_empty(&p->widening.todo) && p->looks < p->options.looks_max) {
        struct sch_class *class = sy_container_of(p->widening.todo.next, struct sch_class, width);
        p->looks += class->pair_count == p->cluster_count;
        while (class->pair_count < p->cluster_count && p->looks < p->options.looks_max)
            sch_class_add_cluster(p, class);
        if (class->pair_count == p->cluster_count)
            (void)sch_round_next(&p->widening);
    }
}

/* Another round begins when nobody is left of the last one, so some are assigned between two. */
static void wake(struct sch_partition *p)
{
    for (bool begins = sch_list_empty(&p->waking); begins && !sch_list_empty(&p->roomy);) {
        struct sch_link *link = sch_list_pop(&p->roomy);
        sch_list_splice(&p->waking,
                        &sy_container_of(link, struct sch_cluster, roomy)->short_of_room);
    }
    while (!sch_list_empty(&p->waking) && sch_may_look(p))
        sch_pair_wake(p, sy_container_of(p->waking.next, struct sch_pair, short_link));
}

void sch_slices(struct sch_partition *p)
{
    follow(p);
    widen(p);
    sch_shares_weigh(p);
    sch_elsewhere_forget(p);
    wake(p);
}

bool sch_slices_left(const struct sch_partition *p)
{
    return !sch_list_empty(&p->stale) || !sch_list_empty(&p->widening.todo) ||
           !sch_list_empty(&p->weighing.todo) || !sch_list_empty(&p->waking) ||
           !sch_list_empty(&p->roomy) || !sch_list_empty(&p->unchecked.todo) ||
           !sch_list_empty(&p->reclaiming.todo) || !sch_list_empty(&p->reserving.todo) ||
           !sch_list_empty(&p->elsewhere_gone) || p->reclaim_gangs > 0 ||
           !sch_list_empty(&p->losing) || !sch_list_empty(&p->draining) || p->recovery_ends;
}
