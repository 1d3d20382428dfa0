#include "scheduler/partition_impl.h"

#include <stdlib.h>

/* ---- classes ---- */

static void touch(struct sch_partition *p, struct sch_class *class)
{
    if (!sch_link_in_list(&class->touched))
        sch_list_push_back(&p->touched, &class->touched);
}

static struct sch_class *class_find_request(struct sch_partition *p,
                                            const struct sch_resources *request, uint32_t hash)
{
    struct sch_table_link *link = sch_table_first(&p->classes_by_request, hash);
    for (; link; link = sch_table_next(link)) {
        struct sch_class *class = sy_container_of(link, struct sch_class, by_request);
        if (sch_resources_equal(&class->request, request))
            return class;
    }
    return NULL;
}

static struct sch_class *class_new(struct sch_partition *p, const struct sch_resources *request,
                                   uint32_t hash)
{
    struct sch_class *class = sy_new(struct sch_class);
    class->id = ++p->last_class_id;
    SY_ASSERT(class->id != 0);
    class->request = *request;
    class->told_ns = INT64_MIN / 2;
    sch_fifo_init(&class->queue, class->id);
    sch_list_push_back(&p->classes, &class->link);
    p->class_count++;
    sch_table_add(&p->classes_by_request, &class->by_request, hash);
    sch_table_add(&p->classes_by_id, &class->by_id, sch_hash_u64(class->id, 0));
    for (size_t i = 0; i < p->cluster_count; i++)
        sch_class_add_cluster(p, class, p->clusters[i]);
    return class;
}

struct sch_class *sch_class_ref(struct sch_partition *p, const struct sch_resources *request)
{
    uint32_t hash = (uint32_t)sch_resources_hash(request);
    struct sch_class *class = class_find_request(p, request, hash);
    if (!class)
        class = class_new(p, request, hash);
    if (class->refs++ == 0 && sch_link_in_list(&class->idle)) {
        sch_list_remove(&class->idle);
        SY_ASSERT(p->class_idle_count > 0);
        p->class_idle_count--;
    }
    return class;
}

void sch_class_unref(struct sch_partition *p, struct sch_class *class)
{
    SY_ASSERT(class->refs > 0);
    if (--class->refs > 0)
        return;
    SY_ASSERT(class->queue.waiting == 0);
    sch_list_push_back(&p->classes_idle, &class->idle);
    if (++p->class_idle_count > SCH_CLASSES_IDLE_MAX)
        sch_class_free(p, sy_container_of(p->classes_idle.next, struct sch_class, idle));
}

static void set_unchecked(struct sch_partition *p, struct sch_class *class, uint64_t from)
{
    if (class->unchecked_from == 0 && from != 0)
        p->classes_unchecked++;
    if (class->unchecked_from != 0 && from == 0)
        p->classes_unchecked--;
    class->unchecked_from = from;
}

void sch_class_free(struct sch_partition *p, struct sch_class *class)
{
    SY_ASSERT(p->class_count > 0);
    set_unchecked(p, class, 0);
    sch_fifo_deinit(p, &class->queue);
    if (sch_link_in_list(&class->idle)) {
        sch_list_remove(&class->idle);
        p->class_idle_count--;
    }
    if (sch_link_in_list(&class->touched))
        sch_list_remove(&class->touched);
    sch_heap_remove(&p->flushes, &class->flush);
    sch_table_remove(&p->classes_by_request, &class->by_request);
    sch_table_remove(&p->classes_by_id, &class->by_id);
    sch_list_remove(&class->link);
    p->class_count--;
    for (size_t i = 0; i < class->pair_count; i++)
        free(class->pairs[i]);
    free(class->pairs);
    sch_heap_deinit(&class->open);
    free(class);
}

struct sch_class *sch_class_find(struct sch_partition *p, uint32_t id)
{
    struct sch_table_link *link = sch_table_first(&p->classes_by_id, sch_hash_u64(id, 0));
    for (; link; link = sch_table_next(link)) {
        struct sch_class *class = sy_container_of(link, struct sch_class, by_id);
        if (class->id == id)
            return class;
    }
    return NULL;
}

/* ---- classes on clusters ---- */

static void pair_update(struct sch_class *class, struct sch_pair *pair)
{
    bool open = sch_cluster_connected(pair->cluster) && pair->feasible &&
                pair->granted > pair->assigned;
    if (!open) {
        sch_heap_remove(&class->open, &pair->entry);
        return;
    }
    uint64_t free_grants = pair->granted - pair->assigned;
    SY_ASSERT(free_grants > 0);
    sch_heap_set(&class->open, &pair->entry,
                 -(int64_t)(free_grants < INT64_MAX ? free_grants : INT64_MAX));
}

static bool shapes_fit(const struct sch_cluster *cluster, const struct sch_resources *request)
{
    for (size_t i = 0; i < cluster->shape_count; i++) {
        if (sch_shape_fits(&cluster->shapes[i], request, NULL))
            return true;
    }
    return false;
}

void sch_class_add_cluster(struct sch_partition *p, struct sch_class *class,
                           struct sch_cluster *cluster)
{
    SY_ASSERT(cluster->index == class->pair_count);
    class->pairs = sy_realloc(class->pairs, (class->pair_count + 1) * sizeof(struct sch_pair *));
    struct sch_pair *pair = sy_new(struct sch_pair);
    pair->cluster = cluster;
    class->pairs[class->pair_count++] = pair;
    sch_class_update_cluster(p, class, cluster);
}

void sch_class_update_cluster(struct sch_partition *p, struct sch_class *class,
                              struct sch_cluster *cluster)
{
    SY_ASSERT(cluster->index < class->pair_count);
    struct sch_pair *pair = class->pairs[cluster->index];
    SY_ASSERT(pair->cluster == cluster);
    pair->entry.tie = cluster->rank;
    pair->feasible = shapes_fit(cluster, &class->request);
    class->tell_new = true;
    pair_update(class, pair);
    touch(p, class);
    sch_queue_drain(p, class);
}

void sch_class_reset_cluster(struct sch_partition *p, struct sch_class *class,
                             struct sch_cluster *cluster)
{
    SY_ASSERT(cluster->index < class->pair_count);
    struct sch_pair *pair = class->pairs[cluster->index];
    pair->granted = pair->assigned = 0;
    pair->told = false;
    sch_class_update_cluster(p, class, cluster);
}

void sch_class_grant(struct sch_partition *p, struct sch_class *class, struct sch_cluster *cluster,
                     uint64_t granted)
{
    struct sch_pair *pair = class->pairs[cluster->index];
    SY_ASSERT(pair->cluster == cluster && sch_cluster_connected(cluster));
    if (granted <= pair->granted)
        return; /* cumulative: an old or repeated one does no harm */
    pair->granted = granted;
    pair_update(class, pair);
    sch_queue_drain(p, class);
}

/* ---- the queue ---- */

void sch_queue_push(struct sch_partition *p, struct sch_action_impl *a, bool front)
{
    struct sch_class *class = a->class;
    SY_ASSERT(class && sch_action_state(a) == SCH_ACTION_QUEUED);
    sch_fifo_push(p, &class->queue, a, front);
    touch(p, class);
    sch_queue_drain(p, class);
}

void sch_queue_remove(struct sch_partition *p, struct sch_action_impl *a)
{
    sch_fifo_remove(p, &a->class->queue, a);
    touch(p, a->class);
}

static void assign(struct sch_partition *p, struct sch_action_impl *a, struct sch_pair *pair)
{
    struct sch_class *class = a->class;
    SY_ASSERT(pair->assigned < pair->granted && pair->feasible);
    a->base.number++;
    a->base.attempt_epoch = p->options.epoch;
    sch_action_occupy(p, a, pair->cluster, SCH_ACTION_ASSIGNED);
    pair->assigned++;
    pair_update(class, pair);
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_ASSIGN);
    effect->u.assign.action = &a->base;
    effect->u.assign.cluster = pair->cluster->name;
    effect->u.assign.class_id = class->id;
}

/* Highest priority first, oldest first within it, to the cluster with the most grants left. */
void sch_queue_drain(struct sch_partition *p, struct sch_class *class)
{
    struct sch_heap_entry *open;
    while (class->queue.waiting > 0 && (open = sch_heap_top(&class->open)))
        assign(p, sch_fifo_first(&class->queue), sy_container_of(open, struct sch_pair, entry));
}

/* ---- demand ---- */

static int32_t top_priority(const struct sch_class *class)
{
    const struct sch_action_impl *first = sch_fifo_first(&class->queue);
    return first ? first->base.priority : 0;
}

static void tell(struct sch_partition *p, struct sch_class *class, struct sch_pair *pair)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_DEMAND);
    effect->u.demand.cluster = pair->cluster->name;
    effect->u.demand.class_id = class->id;
    effect->u.demand.request = &class->request;
    effect->u.demand.waiting = class->queue.waiting;
    effect->u.demand.oldest_age_ns = p->now_ns - sch_fifo_oldest_ns(&class->queue, p->now_ns);
    effect->u.demand.top_priority = top_priority(class);
    pair->told = true;
}

/* Clusters that never heard of the class are told at once; with `all` the others as well. */
static void tell_clusters(struct sch_partition *p, struct sch_class *class, bool all)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        struct sch_pair *pair = class->pairs[i];
        bool eligible = sch_cluster_connected(pair->cluster) && pair->feasible;
        if (eligible && (all || !pair->told))
            tell(p, class, pair);
    }
    class->tell_new = false;
    if (all) {
        class->told_waiting = class->queue.waiting;
        class->told_priority = top_priority(class);
        class->told_ns = p->now_ns;
    }
}

static bool demand_changed(const struct sch_class *class)
{
    return class->queue.waiting != class->told_waiting ||
           top_priority(class) != class->told_priority;
}

void sch_demand_end_step(struct sch_partition *p)
{
    while (!sch_list_empty(&p->touched)) {
        struct sch_class *class = sy_container_of(p->touched.next, struct sch_class, touched);
        sch_list_remove(&class->touched);
        int64_t next_ns = class->told_ns + SCH_DEMAND_INTERVAL_NS;
        bool changed = demand_changed(class), now = changed && p->now_ns >= next_ns;
        if (now || class->tell_new)
            tell_clusters(p, class, now);
        if (now || !changed)
            sch_heap_remove(&p->flushes, &class->flush);
        else
            sch_heap_set(&p->flushes, &class->flush, next_ns);
        SY_ASSERT(sch_heap_has(&class->flush) == demand_changed(class));
    }
}

void sch_demand_flush(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->flushes)) && top->key <= p->now_ns) {
        struct sch_class *class = sy_container_of(top, struct sch_class, flush);
        sch_heap_remove(&p->flushes, &class->flush);
        SY_ASSERT(!sch_heap_has(&class->flush));
        if (demand_changed(class)) /* this very step may have changed it back */
            tell_clusters(p, class, true);
    }
}

/* ---- what was let in before it was known what the clusters have ---- */

static bool some_cluster_fits(const struct sch_class *class)
{
    for (size_t i = 0; i < class->pair_count; i++) {
        if (class->pairs[i]->feasible)
            return true;
    }
    return false;
}

void sch_class_accepted(struct sch_partition *p, struct sch_class *class, uint64_t action_id)
{
    bool covered = class->unchecked_from != 0 && class->unchecked_from <= action_id;
    if (!covered && !some_cluster_fits(class))
        set_unchecked(p, class, action_id);
}

/* Only now is it in a queue, where those that came unchecked are found. */
void sch_class_waits(struct sch_partition *p, const struct sch_action_impl *a)
{
    if (a->base.id >> SCH_ID_COUNTER_BITS != p->options.epoch)
        return;
    sch_class_accepted(p, a->class, a->base.id);
    sch_verify_later(p);
}

void sch_verify_later(struct sch_partition *p)
{
    if (p->classes_unchecked > 0 && p->verify_at_ns == SY_TIME_NEVER)
        p->verify_at_ns = p->now_ns + SCH_VERIFY_DELAY_NS;
}

/* Ending one may end others, so first all of them are found. Those that were there before were
 * possible then: they wait for their nodes to come back. */
static void fail_unchecked(struct sch_partition *p, const struct sch_class *class, uint64_t from)
{
    size_t count = 0;
    struct sch_action **found = sy_calloc(class->queue.waiting + 1, sizeof(struct sch_action *));
    for (struct sch_link *link = class->queue.levels_all.next; link != &class->queue.levels_all;
         link = link->next) {
        const struct sch_level *level = sy_container_of(link, struct sch_level, link);
        for (struct sch_link *at = level->actions.next; at != &level->actions; at = at->next) {
            struct sch_action_impl *a = sy_container_of(at, struct sch_action_impl, link);
            if (a->base.id >= from)
                found[count++] = sch_action_ref(&a->base);
        }
    }
    SY_ASSERT(count <= class->queue.waiting);
    for (size_t i = 0; i < count; i++) {
        if (!sch_action_is_final(found[i]))
            sch_action_end(p, sch_action_impl(found[i]), SCH_ACTION_FAILED, "Infeasible",
                           p->misses.text, NULL);
        sch_action_unref(found[i]);
    }
    free(found);
}

/* One class that no cluster fits: p->misses is its answer until the next step. */
void sch_verify_tick(struct sch_partition *p)
{
    if (p->verify_at_ns > p->now_ns)
        return;
    p->verify_at_ns = SY_TIME_NEVER;
    for (struct sch_link *link = p->classes.next; link != &p->classes; link = link->next) {
        struct sch_class *class = sy_container_of(link, struct sch_class, link);
        if (class->unchecked_from == 0)
            continue;
        bool possible = some_cluster_fits(class);
        if (!possible && sch_partition_feasible(p, &class->request, &p->misses))
            continue; /* a cluster has not told yet */
        uint64_t from = class->unchecked_from;
        set_unchecked(p, class, 0);
        if (possible)
            continue;
        p->verify_at_ns = p->classes_unchecked > 0 ? p->now_ns + SY_NS_PER_MS : SY_TIME_NEVER;
        fail_unchecked(p, class, from);
        break;
    }
}
