/*
 * What waits and no cluster could ever run. Two ways to get there:
 *
 * It was let in before it was known what the clusters have. A second after they have told, it is
 * looked at; what none of them could run ends FAILED, as a later one would be refused.
 *
 * The last cluster that could run it has left: its lease is over, or it says that it has other
 * nodes now, or the queue may not use it any more. A queue says whether it waits for one to come
 * (SCH_INFEASIBLE_HOLD) or ends FAILED after a grace. A cluster that has not told what it has may
 * run anything, so nothing ends before the grace is over after a restart of everything.
 *
 * Each class counts the clusters that could run it, and is looked at when that becomes 0. At most
 * SCH_FAIL_MAX actions end in a step.
 */
#include "scheduler/partition_infeasible.h"
#include "scheduler/action_impl.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_slice.h"

/* ---- ending ---- */

struct found {
    struct sch_action *actions[SCH_FAIL_MAX];
    size_t count;
};

/* The newest first: those that came unchecked are behind those that did not. */
static void collect(struct sch_fifo *queue, uint64_t from, struct found *found)
{
    for (struct sch_link *link = queue->levels_all.next; link != &queue->levels_all;
         link = link->next) {
        const struct sch_level *level = sy_container_of(link, struct sch_level, link);
        for (struct sch_link *at = level->actions.prev; at != &level->actions; at = at->prev) {
            struct sch_action_impl *a = sy_container_of(at, struct sch_action_impl, link);
            if (found->count == SCH_FAIL_MAX)
                return;
            if (a->base.id >= from)
                found->actions[found->count++] = sch_action_ref(&a->base);
        }
    }
}

static void find(struct sch_class *class, uint64_t from, struct found *found)
{
    for (struct sch_link *link = class->lanes.next; link != &class->lanes; link = link->next)
        collect(&sy_container_of(link, struct sch_lane, link)->queue, from, found);
    SY_ASSERT(found->count <= class->waiting && found->count <= SCH_FAIL_MAX);
}

/* Of one class: p->misses is its answer until the next step. Ending one may end others, and the
 * class with the last of them. */
static void fail(struct sch_partition *p, const struct found *found)
{
    for (size_t i = 0; i < found->count; i++) {
        if (!sch_action_is_final(found->actions[i]))
            sch_action_end(p, sch_action_impl(found->actions[i]), SCH_ACTION_FAILED, "Infeasible",
                           p->misses.text, NULL);
        sch_action_unref(found->actions[i]);
    }
}

/* ---- what was let in before it was known what the clusters have ---- */

static void set_unchecked(struct sch_partition *p, struct sch_class *class, uint64_t from)
{
    if (class->unchecked_from == 0 && from != 0)
        sch_list_push_back(&p->unchecked.done, &class->unchecked);
    if (class->unchecked_from != 0 && from == 0)
        sch_list_remove(&class->unchecked);
    class->unchecked_from = from;
}

void sch_class_checked(struct sch_partition *p, struct sch_class *class)
{
    set_unchecked(p, class, 0);
}

void sch_class_accepted(struct sch_partition *p, struct sch_class *class, uint64_t action_id)
{
    if (class->unchecked_from != 0 && class->unchecked_from <= action_id)
        return;
    sch_class_sync(p, class);
    if (class->feasible == 0)
        set_unchecked(p, class, action_id);
}

/* Only now is it in a queue, where those that came unchecked are found. */
void sch_class_waits(struct sch_partition *p, const struct sch_action_impl *a)
{
    if (a->base.id >> SCH_ID_COUNTER_BITS != p->options.epoch)
        return;
    sch_class_accepted(p, sch_action_class(a), a->base.id);
    sch_verify_later(p);
}

void sch_verify_later(struct sch_partition *p)
{
    bool any = !sch_list_empty(&p->unchecked.todo) || !sch_list_empty(&p->unchecked.done);
    if (any && p->verify_at_ns == SY_TIME_NEVER)
        p->verify_at_ns = p->now_ns + SCH_VERIFY_DELAY_NS;
}

/* Those that were there before were possible then: they wait for their nodes to come back. */
static void fail_unchecked(struct sch_partition *p, struct sch_class *class)
{
    struct found found = {.count = 0};
    find(class, class->unchecked_from, &found);
    if (found.count < SCH_FAIL_MAX)
        set_unchecked(p, class, 0);
    else
        p->verify_at_ns = p->now_ns;
    fail(p, &found);
}

/* Up to the first class that no cluster fits. Says whether there was one. */
static bool verify(struct sch_partition *p)
{
    if (p->verify_at_ns <= p->now_ns) {
        p->verify_at_ns = SY_TIME_NEVER;
        sch_round_begin(&p->unchecked);
    }
    while (!sch_list_empty(&p->unchecked.todo) && sch_may_look(p)) {
        struct sch_class *class = sy_container_of(sch_round_next(&p->unchecked), struct sch_class,
                                                  unchecked);
        p->looks += (uint32_t)p->cluster_count;
        sch_class_sync(p, class);
        if (class->feasible > 0) {
            set_unchecked(p, class, 0);
        } else if (!sch_feasible(p, &class->request, &class->gang, class->rule, &p->misses)) {
            fail_unchecked(p, class);
            return true;
        } /* else a cluster has not told yet */
    }
    return false;
}

/* ---- what has no cluster left ---- */

void sch_pair_capable(struct sch_partition *p, struct sch_pair *pair)
{
    struct sch_class *class = pair->class;
    bool gone = sch_cluster_state(pair->cluster) == SCH_CLUSTER_GONE;
    bool capable = !gone &&
                   (pair->feasible || sch_cluster_may_run(pair->cluster, &class->request,
                                                          &class->gang, class->rule, NULL));
    if (capable == pair->capable)
        return;
    pair->capable = capable;
    SY_ASSERT(capable || class->capable > 0);
    class->capable += capable ? 1 : UINT32_MAX;
    if (class->capable == 0)
        class->incapable_ns = sch_awake_ns(p);
    sch_class_touch(p, class);
}

bool sch_class_is_doomed(const struct sch_class *class)
{
    return class->rule->content.infeasible == SCH_INFEASIBLE_FAIL && class->capable == 0 &&
           class->pair_count > 0 && class->waiting > 0;
}

void sch_class_spare(struct sch_partition *p, struct sch_class *class, int64_t since_ns)
{
    if (class->capable > 0 || since_ns <= class->incapable_ns)
        return;
    class->incapable_ns = since_ns;
    sch_heap_remove(&p->doomed, &class->doom); /* at the end of the step it is doomed anew */
}

void sch_class_doom(struct sch_partition *p, struct sch_class *class)
{
    bool doomed = sch_class_is_doomed(class);
    if (doomed && !sch_heap_has(&class->doom))
        sch_heap_set(&p->doomed, &class->doom,
                     class->incapable_ns + p->options.infeasible_grace_ns);
    else if (!doomed)
        sch_heap_remove(&p->doomed, &class->doom);
}

int64_t sch_infeasible_next_ns(const struct sch_partition *p)
{
    const struct sch_heap_entry *top = sch_heap_top(&p->doomed);
    return top ? top->key + p->stood_still_ns : SY_TIME_NEVER;
}

int64_t sch_class_doom_ns(const struct sch_partition *p, const struct sch_class *class)
{
    return sch_heap_has(&class->doom) ? class->doom.key + p->stood_still_ns : SY_TIME_NEVER;
}

void sch_infeasible_postpone(struct sch_partition *p, int64_t ns)
{
    SY_ASSERT(ns > 0);
    p->stood_still_ns += ns;
}

static void say_why(struct sch_partition *p, const struct sch_class *class)
{
    sy_error_text_set(&p->misses, "no cluster is left that could run this");
    for (size_t i = 0; i < class->pair_count; i++) {
        const struct sch_cluster *cluster = class->pairs[i]->cluster;
        if (sch_cluster_state(cluster) == SCH_CLUSTER_GONE)
            sy_error_text_add(&p->misses, "cluster %s: gone", cluster->name);
        else
            (void)sch_cluster_may_run(cluster, &class->request, &class->gang, class->rule,
                                      &p->misses);
    }
}

static void fail_doomed(struct sch_partition *p)
{
    if (sch_infeasible_next_ns(p) > p->now_ns)
        return;
    struct sch_heap_entry *top = sch_heap_top(&p->doomed);
    struct sch_class *class = sy_container_of(top, struct sch_class, doom);
    struct found found = {.count = 0};
    sch_class_sync(p, class);
    if (!sch_class_is_doomed(class)) { /* one has come, or its last ones have just ended */
        sch_class_doom(p, class);
        return;
    }
    find(class, 0, &found);
    SY_ASSERT(found.count > 0);
    say_why(p, class);
    fail(p, &found);
}

void sch_infeasible_tick(struct sch_partition *p)
{
    if (!verify(p))
        fail_doomed(p);
}
