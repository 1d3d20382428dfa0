/*
 * Room from attempts that may be stopped: a partition names the queues (scheduler/
 * partition_reclaim.c), here it is chosen who stops. For one action: on one node. For a gang: for
 * the one that nodes are kept for, on any of them together, or in one domain that it requires; all
 * of the room that it lacks, or nothing.
 *
 * A victim is one attempt, or a gang with all of its members. Its cost is the time that it has run,
 * and RESTART_MS for each attempt. On each node they are ordered by cost, and a victim's key is the
 * cost of it and all before it there: so the node that is the cheapest to empty comes first.
 * Victims stop by their key until there is room; then those that were not needed go on, the last
 * ones first. Of several nodes or domains the cheapest is taken. What is on its way out already
 * counts as gone.
 *
 * The node where others stop for one action is kept for its class (operator_claim.c): the action is
 * not here yet, and what is smaller, or of another partition, would take the room. While it is,
 * only that node is looked at: more may have to stop there, if what had been sent there before took
 * a part.
 */
#include "scheduler/operator_impl.h"

#include "scheduler/labels.h"

#include <stdlib.h>

#define RESTART_MS 10000
/* Looked at; the next time begins elsewhere. */
#define NODES_MAX 256u /* for one action */
#define ATTEMPTS_MAX 8192u

/* ---- gangs that may be stopped ---- */

struct sch_op_placed *sch_op_placed_new(uint32_t size)
{
    struct sch_op_placed *placed = sy_new(struct sch_op_placed);
    placed->size = size;
    sch_list_init(&placed->members);
    return placed;
}

void sch_op_placed_join(struct sch_op_placed *placed, struct sch_attempt *a)
{
    SY_ASSERT(!a->placed && placed->count < placed->size);
    SY_ASSERT(sch_attempt_state(a) == SCH_ATTEMPT_PLACED);
    a->placed = placed;
    sch_list_push_back(&placed->members, &a->placed_link);
    placed->count++;
}

void sch_op_placed_started(struct sch_attempt *a)
{
    if (!a->placed)
        return;
    a->placed->started++;
    a->placed->started_sum_ms += a->since_ns / SY_NS_PER_MS;
}

void sch_op_placed_leave(struct sch_attempt *a)
{
    struct sch_op_placed *placed = sy_take(a->placed);
    if (!placed)
        return;
    SY_ASSERT(placed->count > 0);
    sch_list_remove(&a->placed_link);
    if (sch_attempt_state(a) == SCH_ATTEMPT_STARTED) {
        placed->started--;
        placed->started_sum_ms -= a->since_ns / SY_NS_PER_MS;
    }
    if (--placed->count == 0)
        free(placed);
}

/* ---- victims ---- */

struct victim {
    struct sch_attempt *one;    /* it; or a member of the gang */
    struct sch_op_placed *gang; /* NULL: no gang */
    const struct sch_reclaim_queue *queue;
    int64_t cost_ms, key_ms;
    bool stops;
};

struct site {
    struct sch_node *node;
    struct sy_span domain;
    uint32_t fits;
};

/* Of one domain: which victims have to stop. */
struct plan {
    const struct sch_operator *op;
    const struct sch_op_wish *wish;
    const struct sch_resources *request;
    uint64_t wanted, room; /* so many are to fit; do */
    struct site *sites;
    uint32_t site_count;
    struct sch_node *node; /* of the first */
    struct victim *victims;
    uint32_t victim_count, victim_cap;
    uint32_t *here; /* of a node; as many as victims have room */
    struct sch_use gone;
    int64_t cost_ms;
    bool holds; /* found */
};

static int64_t cost_ms(const struct sch_operator *op, const struct sch_attempt *a)
{
    int64_t now_ms = op->now_ns / SY_NS_PER_MS;
    if (a->placed)
        return (int64_t)a->placed->size * RESTART_MS + a->placed->started * now_ms -
               a->placed->started_sum_ms;
    bool started = sch_attempt_state(a) == SCH_ATTEMPT_STARTED;
    return RESTART_MS + (started ? now_ms - a->since_ns / SY_NS_PER_MS : 0);
}

static const struct sch_reclaim_queue *queue_of(const struct plan *plan,
                                                const struct sch_attempt *a)
{
    if (a->queue_tag == 0 || a->partition->id != plan->wish->partition)
        return NULL;
    for (uint32_t i = 0; i < plan->wish->queue_count; i++) {
        if (plan->wish->queues[i].id == a->queue_tag)
            return &plan->wish->queues[i];
    }
    return NULL;
}

/* One that has ended was a success, or the others end with it anyway. */
static bool is_whole(const struct sch_op_placed *gang)
{
    return !gang || (gang->count == gang->size && !gang->cancelled);
}

static struct victim *victim_of(struct plan *plan, struct sch_attempt *a)
{
    if (a->placed && a->placed->seen > 0)
        return &plan->victims[a->placed->seen - 1];
    const struct sch_reclaim_queue *queue = a->charged && !a->cancelled && is_whole(a->placed)
                                                ? queue_of(plan, a)
                                                : NULL;
    if (!queue)
        return NULL;
    if (plan->victim_count == plan->victim_cap) {
        plan->victim_cap = plan->victim_cap ? plan->victim_cap * 2 : 64;
        plan->victims = sy_realloc(plan->victims, plan->victim_cap * sizeof(struct victim));
        plan->here = sy_realloc(plan->here, plan->victim_cap * sizeof(*plan->here));
    }
    SY_ASSERT(plan->victims && plan->here);
    struct victim *victim = &plan->victims[plan->victim_count++];
    *victim = (struct victim){.one = a,
                              .gang = a->placed,
                              .queue = queue,
                              .cost_ms = cost_ms(plan->op, a),
                              .key_ms = INT64_MAX};
    if (a->placed)
        a->placed->seen = plan->victim_count;
    return victim;
}

static int compare_costs(const struct victim *a, const struct victim *b)
{
    if (a->cost_ms != b->cost_ms)
        return a->cost_ms < b->cost_ms ? -1 : 1;
    if (a->one->started_ns != b->one->started_ns)
        return a->one->started_ns > b->one->started_ns ? -1 : 1;
    return (a->one->key.action < b->one->key.action) - (a->one->key.action > b->one->key.action);
}

static int compare_keys(const void *left, const void *right)
{
    const struct victim *a = left, *b = right;
    if (a->key_ms != b->key_ms)
        return a->key_ms < b->key_ms ? -1 : 1;
    return compare_costs(a, b);
}

/* Puts the victim with that index among those of its node, by cost; once. */
static uint32_t insert(const struct plan *plan, uint32_t count, uint32_t index)
{
    uint32_t at = count;
    for (uint32_t i = 0; i < count && plan->victims[index].gang; i++) {
        if (plan->here[i] == index)
            return count;
    }
    for (; at > 0; at--) {
        if (compare_costs(&plan->victims[plan->here[at - 1]], &plan->victims[index]) < 0)
            break;
        plan->here[at] = plan->here[at - 1];
    }
    plan->here[at] = index;
    return count + 1;
}

static void look_at(struct plan *plan, const struct sch_node *node, uint32_t *budget)
{
    uint32_t count = 0;
    int64_t sum_ms = 0;
    /* The last ones first: they are the cheapest, most often, and need not be moved. */
    for (struct sch_link *link = node->attempts.prev; link != &node->attempts && *budget > 0;
         link = link->prev) {
        --*budget;
        const struct victim *victim = victim_of(plan,
                                                sy_container_of(link, struct sch_attempt, place));
        if (victim)
            count = insert(plan, count, (uint32_t)(victim - plan->victims));
    }
    for (uint32_t i = 0; i < count; i++) {
        struct victim *victim = &plan->victims[plan->here[i]];
        sum_ms += victim->cost_ms;
        victim->key_ms = sum_ms < victim->key_ms ? sum_ms : victim->key_ms;
    }
}

/* ---- a plan: every use that is taken away is given back when it closes ---- */

static void recount(struct plan *plan, const struct sch_node *node)
{
    struct site *site = &plan->sites[node->site - 1];
    plan->room -= site->fits;
    site->fits = sch_node_fits(node, plan->request);
    plan->room += site->fits;
}

static void leaves(struct sch_node *node, bool leave)
{
    for (struct sch_link *link = node->attempts.next; link != &node->attempts && node->leaving > 0;
         link = link->next) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, place);
        if (!a->charged || !a->cancelled)
            continue;
        if (leave)
            sch_node_unuse(node, a);
        else
            sch_node_reuse(node, a);
    }
}

static void plan_open(struct plan *plan, struct site *sites, uint32_t count, uint32_t *budget)
{
    plan->sites = sites;
    plan->site_count = count;
    plan->node = sites[0].node;
    plan->victim_count = 0;
    plan->room = 0;
    plan->gone = (struct sch_use){0};
    plan->cost_ms = 0;
    plan->holds = false;
    for (uint32_t i = 0; i < count; i++) {
        sites[i].node->site = i + 1;
        sites[i].fits = 0;
        leaves(sites[i].node, true);
        recount(plan, sites[i].node);
    }
    for (uint32_t i = 0; i < count && plan->room < plan->wanted; i++)
        look_at(plan, sites[i].node, budget);
    for (uint32_t i = 0; i < plan->victim_count; i++) {
        if (plan->victims[i].gang)
            plan->victims[i].gang->seen = 0;
    }
}

static void use_one(struct plan *plan, struct sch_attempt *a, bool stop)
{
    if (!a->charged || a->node->site == 0)
        return;
    if (stop)
        sch_node_unuse(a->node, a);
    else
        sch_node_reuse(a->node, a);
    recount(plan, a->node);
}

static void set_stops(struct plan *plan, struct victim *victim, bool stops)
{
    SY_ASSERT(victim->stops != stops);
    victim->stops = stops;
    plan->cost_ms += stops ? victim->cost_ms : -victim->cost_ms;
    if (!victim->gang) {
        use_one(plan, victim->one, stops);
        return;
    }
    for (struct sch_link *link = victim->gang->members.next; link != &victim->gang->members;
         link = link->next)
        use_one(plan, sy_container_of(link, struct sch_attempt, placed_link), stops);
}

static struct sch_use use_of(const struct victim *victim)
{
    return sch_use_times(&victim->one->kind->request, victim->gang ? victim->gang->size : 1);
}

/* Its branch of the tree keeps as much as those have for whom it stops. */
static bool may_stop(const struct plan *plan, const struct victim *victim)
{
    const struct sch_use *below = &victim->queue->below, *gone = &plan->gone;
    struct sch_use more = use_of(victim);
    return !victim->gang || gone->actions + more.actions < below->actions ||
           gone->cpu_milli + more.cpu_milli < below->cpu_milli ||
           gone->memory_bytes + more.memory_bytes < below->memory_bytes ||
           gone->gpu_milli + more.gpu_milli < below->gpu_milli;
}

static void plan_make(struct plan *plan)
{
    if (plan->victim_count > 1)
        qsort(plan->victims, plan->victim_count, sizeof(struct victim), compare_keys);
    uint32_t tried = 0;
    for (; tried < plan->victim_count && plan->room < plan->wanted; tried++) {
        struct victim *victim = &plan->victims[tried];
        if (!may_stop(plan, victim))
            continue;
        struct sch_use more = use_of(victim);
        plan->gone.actions += more.actions;
        plan->gone.cpu_milli += more.cpu_milli;
        plan->gone.memory_bytes += more.memory_bytes;
        plan->gone.gpu_milli += more.gpu_milli;
        set_stops(plan, victim, true);
    }
    plan->holds = plan->room >= plan->wanted;
    for (; plan->holds && tried > 0; tried--) {
        struct victim *victim = &plan->victims[tried - 1];
        if (!victim->stops)
            continue;
        set_stops(plan, victim, false);
        if (plan->room < plan->wanted)
            set_stops(plan, victim, true);
    }
}

/* What it has found stays: `stops` of the victims, and the cost. */
static void plan_close(struct plan *plan)
{
    int64_t found_ms = plan->cost_ms;
    for (uint32_t i = 0; i < plan->victim_count; i++) {
        struct victim *victim = &plan->victims[i];
        if (!victim->stops)
            continue;
        set_stops(plan, victim, false);
        victim->stops = true;
    }
    SY_ASSERT(plan->cost_ms == 0);
    plan->cost_ms = found_ms;
    for (uint32_t i = 0; i < plan->site_count; i++) {
        leaves(plan->sites[i].node, false);
        plan->sites[i].node->site = 0;
    }
    plan->sites = NULL;
    plan->site_count = 0;
}

static void plan_free(struct plan *plan)
{
    free(plan->victims);
    free(plan->here);
}

/* Of one domain; *best is the cheapest so far. False: there is room without any, or it is coming.
 */
static bool try_sites(struct plan *next, struct plan *best, struct site *sites, uint32_t count,
                      uint32_t *budget)
{
    plan_open(next, sites, count, budget);
    bool lacks = next->room < next->wanted;
    if (lacks)
        plan_make(next);
    plan_close(next);
    if (next->holds && (!best->holds || next->cost_ms < best->cost_ms)) {
        struct plan other = *best;
        *best = *next;
        *next = other;
    }
    return lacks;
}

/* ---- for one action ---- */

/* On one that is kept for the class, too. */
static bool may_make_room(const struct sch_node *node, const struct sch_op_class *class)
{
    return sch_node_placeable(node) ||
           (class && sch_node_serves(node) && node->claim && node->claim->class == class);
}

static bool reclaim_node(struct sch_operator *op, const struct sch_op_class *class,
                         struct plan *next, struct plan *best)
{
    const struct sch_op_claim *made = class ? class->made : NULL;
    uint32_t budget = ATTEMPTS_MAX, count = made ? 1 : NODES_MAX;
    bool lacks = true;
    for (uint32_t i = 0; i < op->node_count && i < count && lacks; i++) {
        struct site site = {.node = made ? made->node
                                         : op->nodes[op->reclaim_next++ % op->node_count]};
        if (may_make_room(site.node, class) &&
            sch_shape_fits(&site.node->shape->shape, next->request, NULL))
            lacks = try_sites(next, best, &site, 1, &budget);
    }
    return lacks && best->holds;
}

/* ---- for a gang ---- */

static int compare_domains(const void *left, const void *right)
{
    const struct site *a = left, *b = right;
    int order = sch_label_values_compare(&a->domain, &b->domain);
    return order != 0 ? order
                      : (a->node->index > b->node->index) - (a->node->index < b->node->index);
}

static struct site *sites_of(const struct sch_operator *op, const struct sch_op_wish *wish,
                             uint32_t *ret_count)
{
    struct site *sites = sy_calloc(op->node_count + 1, sizeof(*sites));
    uint32_t count = 0;
    for (uint32_t i = 0; i < op->node_count; i++) {
        struct sch_node *node = op->nodes[(op->reclaim_next + i) % op->node_count];
        struct site site = {.node = node, .domain = {(const uint8_t *)"", 0}};
        if (wish->shape->topology == SCH_TOPOLOGY_REQUIRE)
            site.domain = sch_label_value(node->shape->shape.traits.labels, wish->shape->key);
        if (site.domain.data && sch_op_gang_may_use(op, node, wish->gang) &&
            sch_shape_fits(&node->shape->shape, wish->request, NULL))
            sites[count++] = site;
    }
    if (wish->shape->topology == SCH_TOPOLOGY_REQUIRE && count > 1)
        qsort(sites, count, sizeof(*sites), compare_domains);
    *ret_count = count;
    return sites;
}

/* A preference for a domain stops nobody: only a domain that is required has to hold all. */
static bool reclaim_nodes(struct sch_operator *op, struct plan *next, struct plan *best)
{
    uint32_t count, budget = ATTEMPTS_MAX;
    bool lacks = true;
    struct site *sites = sites_of(op, next->wish, &count);
    for (uint32_t from = 0, to; from < count && lacks; from = to) {
        for (to = from + 1;
             to < count && sch_label_values_compare(&sites[to].domain, &sites[from].domain) == 0;)
            to++;
        lacks = try_sites(next, best, sites + from, to - from, &budget);
    }
    if (op->node_count > 0)
        op->reclaim_next = (op->reclaim_next + op->node_count / 4 + 1) % op->node_count;
    free(sites);
    return lacks && best->holds;
}

/* ---- carrying it out ---- */

/* The cheapest way; *ret is to be freed. False: none is needed, or none is found. */
static bool find(struct sch_operator *op, const struct sch_op_wish *wish, struct plan *ret)
{
    struct plan next = {.op = op,
                        .wish = wish,
                        .request = wish->request,
                        .wanted = wish->shape ? wish->shape->size : 1};
    *ret = next;
    bool found = wish->shape ? reclaim_nodes(op, &next, ret)
                             : reclaim_node(op, wish->class, &next, ret);
    plan_free(&next);
    return found;
}

static void each_victim(const struct plan *plan, void (*fn)(void *ctx, const struct sch_attempt *a),
                        void *ctx)
{
    for (uint32_t i = 0; i < plan->victim_count; i++) {
        const struct victim *victim = &plan->victims[i];
        if (victim->stops && !victim->gang)
            fn(ctx, victim->one);
        for (struct sch_link *link = victim->gang ? victim->gang->members.next : NULL;
             victim->stops && link && link != &victim->gang->members; link = link->next)
            fn(ctx, sy_container_of(link, struct sch_attempt, placed_link));
    }
}

static void cancel(void *ctx, const struct sch_attempt *const_a)
{
    struct sch_operator *op = ctx;
    struct sch_attempt *a = (struct sch_attempt *)(uintptr_t)const_a;
    sch_op_cancel(op, &a->key, "preempted: others are next");
    a->preempted = "preempted: to make room for what is next";
}

static void carry_out(struct sch_operator *op, const struct plan *plan)
{
    struct sch_op_class *class = plan->wish->class;
    if (class && plan->node->health.state == SCH_HEALTH_TRUSTED) {
        sch_claim_make(op, class, plan->node);
        sch_node_recall(op, plan->node); /* it would start in the room */
    }
    each_victim(plan, cancel, op);
}

void sch_op_reclaim(struct sch_operator *op, const struct sch_op_event *event)
{
    uint64_t gang_id = event->u.reclaim.gang_id;
    struct sch_op_class *class = sch_op_class_find(op, event->u.reclaim.partition,
                                                   event->u.reclaim.class_id);
    const struct sch_op_gang *gang = sch_op_gang_reserver(op, event->u.reclaim.partition, gang_id);
    if (gang_id != 0 ? !gang : !class || class->gang.size > 0)
        return;
    struct sch_op_wish wish = {.partition = event->u.reclaim.partition,
                               .queues = event->u.reclaim.queues,
                               .queue_count = event->u.reclaim.queue_count,
                               .request = gang ? &sch_op_gang_kind(gang)->request
                                               : &class->kind->request,
                               .shape = gang ? &gang->shape : NULL,
                               .class = gang ? NULL : class,
                               .gang = gang};
    struct plan plan;
    if (find(op, &wish, &plan))
        carry_out(op, &plan);
    if (gang) { /* what comes free is kept for it */
        op->reserve_next_ns = op->now_ns;
        op->gangs_due = true;
    }
    plan_free(&plan);
}

bool sch_op_reclaim_would(struct sch_operator *op, const struct sch_op_wish *wish,
                          void (*stops)(void *ctx, const struct sch_attempt *a), void *ctx)
{
    struct plan plan;
    uint32_t next = op->reclaim_next;
    SY_ASSERT(wish->request && (!wish->gang || wish->shape));
    bool found = find(op, wish, &plan);
    op->reclaim_next = next;
    if (found)
        each_victim(&plan, stops, ctx);
    plan_free(&plan);
    return found;
}
