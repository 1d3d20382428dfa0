/* What an action waits for: facts, each read where the core keeps it. */
#include "scheduler/action_impl.h"
#include "scheduler/explain_impl.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_slice.h"
#include "scheduler/partition_ticket.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Of its own level, how many before it are counted one by one. */
#define PLACE_MAX 4096u
/* Fewer starts than this are no basis. */
#define STARTS_LEAST 3u

bool sch_query_step(struct sch_query *q)
{
    if (q->steps == 0)
        return false;
    q->steps--;
    return true;
}

/* ---- limits ---- */

static const char *const limit_names[] = {
    [SCH_LIMIT_PAUSED] = "paused",  [SCH_LIMIT_ACTIONS] = "actions",
    [SCH_LIMIT_CPU] = "cpu_milli",  [SCH_LIMIT_MEMORY] = "memory_bytes",
    [SCH_LIMIT_GPUS] = "gpu_milli",
};

const char *sch_limit_name(enum sch_limit limit)
{
    SY_ASSERT(limit < SY_COUNT_OF(limit_names));
    return limit_names[limit];
}

static uint64_t allowed_of(uint64_t limit, const struct sch_ticket *ticket, uint64_t allowed)
{
    if (limit == 0)
        return UINT64_MAX;
    return ticket && allowed < limit ? allowed : limit;
}

struct sch_use sch_share_allowed(const struct sch_share *share)
{
    const struct sch_ticket *ticket = share->ticket;
    struct sch_use limits = sch_share_limits(share), none = {0};
    struct sch_use lent = ticket ? sch_ticket_allowed(ticket) : none;
    return (struct sch_use){allowed_of(limits.actions, ticket, lent.actions),
                            allowed_of(limits.cpu_milli, ticket, lent.cpu_milli),
                            allowed_of(limits.memory_bytes, ticket, lent.memory_bytes),
                            allowed_of(limits.gpu_milli, ticket, lent.gpu_milli)};
}

static void add_limit(struct sch_query *q, struct sch_explain_limit limit)
{
    bool fits = limit.used <= limit.allowed && limit.need <= limit.allowed - limit.used;
    if (fits && limit.limit != SCH_LIMIT_PAUSED)
        return;
    SY_ASSERT(q->e->limit_count < SCH_EXPLAIN_LIMITS_MAX);
    q->e->limits[q->e->limit_count++] = limit;
}

static void find_limits(struct sch_query *q)
{
    struct sch_use one = q->need;
    for (const struct sch_share *at = q->tenant; at; at = at->parent) {
        if (!at->config)
            continue;
        struct sch_use allowed = sch_share_allowed(at), max = sch_share_limits(at);
        const struct sch_use *use = &at->use;
        if (at->config->paused)
            add_limit(q, (struct sch_explain_limit){.queue = at->key, .limit = SCH_LIMIT_PAUSED});
        const struct sch_explain_limit limits[] = {
            {at->key, SCH_LIMIT_ACTIONS, use->actions, one.actions, allowed.actions, max.actions},
            {at->key, SCH_LIMIT_CPU, use->cpu_milli, one.cpu_milli, allowed.cpu_milli,
             max.cpu_milli},
            {at->key, SCH_LIMIT_MEMORY, use->memory_bytes, one.memory_bytes, allowed.memory_bytes,
             max.memory_bytes},
            {at->key, SCH_LIMIT_GPUS, use->gpu_milli, one.gpu_milli, allowed.gpu_milli,
             max.gpu_milli}};
        for (size_t i = 0; i < SY_COUNT_OF(limits); i++)
            add_limit(q, limits[i]);
    }
}

/* ---- clusters ---- */

static uint64_t above(uint64_t value, uint64_t floor)
{
    return value > floor ? value - floor : 0;
}

static uint64_t fits(uint64_t have, uint64_t need)
{
    return need > 0 ? have / need : UINT64_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How many of it, by its room. */
static uint64_t cluster_fits(const struct sch_explain_cluster *at, const struct sch_use *one)
{
    if (!at->room_known)
        return UINT64_MAX;
    return least(fits(at->free.cpu_milli, one->cpu_milli),
                 least(fits(at->free.memory_bytes, one->memory_bytes),
                       fits(at->free.gpu_milli, one->gpu_milli)));
}

const struct sch_share *sch_share_with_list(const struct sch_share *tenant)
{
    const struct sch_share *at = tenant;
    while (at && (!at->config || at->config->cluster_count == 0))
        at = at->parent;
    return at;
}

struct sch_use sch_cluster_free_room(const struct sch_cluster *cluster)
{
    const struct sch_use *granted = &cluster->room_granted, *assigned = &cluster->room_assigned;
    return (struct sch_use){
        .cpu_milli = above(granted->cpu_milli, assigned->cpu_milli),
        .memory_bytes = above(granted->memory_bytes, assigned->memory_bytes),
        .gpu_milli = above(granted->gpu_milli, assigned->gpu_milli),
    };
}

bool sch_grant_is_known(const struct sch_class *class, const struct sch_pair *pair)
{
    return pair->told && class->root.ready > 0;
}

static uint32_t check_rule(const struct sch_query *q, const struct sch_cluster *cluster,
                           struct sch_explain_cluster *ret)
{
    const struct sch_share *list = sch_share_with_list(q->tenant);
    uint32_t why = list ? SCH_WHY_NOT_ALLOWED : 0;
    for (uint32_t i = 0; list && i < list->config->cluster_count; i++) {
        if (strcmp(list->config->clusters[i], cluster->name) == 0)
            why = 0;
    }
    const struct sch_rule_content *rule = &q->tenant->rule->content;
    why |= sch_rule_has_region(q->tenant->rule, cluster) ? 0 : SCH_WHY_REGION;
    if (rule->price_max > 0 && cluster->price > rule->price_max) {
        ret->price_max = rule->price_max;
        why |= SCH_WHY_PRICE;
    }
    return why;
}

static uint32_t check_shapes(const struct sch_query *q, const struct sch_cluster *cluster,
                             struct sch_explain_cluster *ret)
{
    size_t count = cluster->shape_count;
    if (count == 0 && !sch_cluster_connected(cluster))
        return 0; /* it never said what it has */
    ret->holds = (uint32_t)least(sch_gang_room(cluster, q->request, q->gang), q->gang->size);
    if (count == 0)
        sy_error_text_set(&ret->miss, "it has no nodes");
    if (count == 0 || !sch_shapes_fit(cluster->shapes, count, q->request, &ret->miss))
        return SCH_WHY_SHAPE;
    bool held = ret->holds == q->gang->size;
    if (!held)
        sy_error_text_set(
            &ret->miss, "%" PRIu32 " asked together%s%s, it holds %" PRIu32, q->gang->size,
            q->gang->topology == SCH_TOPOLOGY_REQUIRE ? " in one " : "",
            q->gang->topology == SCH_TOPOLOGY_REQUIRE ? q->gang->key : "", ret->holds);
    return held ? 0 : SCH_WHY_SHAPE;
}

/* A gang is granted by busy clusters, too: they say apart whether it would start there. */
static bool is_granted(const struct sch_query *q, const struct sch_pair *pair)
{
    return pair->granted > pair->assigned &&
           (q->gang->size == 0 || !pair->answered || pair->startable > pair->assigned);
}

static uint32_t check_room(const struct sch_query *q, const struct sch_cluster *cluster,
                           struct sch_explain_cluster *ret)
{
    struct sch_use one = q->need, each = sch_use_of(q->request);
    uint32_t why = 0;
    if (!sch_cluster_connected(cluster))
        return SCH_WHY_NOT_CONNECTED;
    if (cluster->cordoned)
        why |= cluster->draining ? SCH_WHY_DRAINED : SCH_WHY_CORDONED;
    ret->room_known = cluster->room_known;
    if (cluster->room_known) {
        ret->free = sch_cluster_free_room(cluster);
        ret->missing = (struct sch_use){
            .cpu_milli = above(one.cpu_milli, ret->free.cpu_milli),
            .memory_bytes = above(one.memory_bytes, ret->free.memory_bytes),
            .gpu_milli = above(one.gpu_milli, ret->free.gpu_milli),
        };
        why |= sch_room_fits(&ret->free, &one) ? 0 : SCH_WHY_ROOM;
        ret->fits = (uint32_t)least(cluster_fits(ret, &each), ret->holds);
    }
    const struct sch_pair *pair = q->class ? sch_pair_peek(q->class, cluster) : NULL;
    if (pair && sch_grant_is_known(q->class, pair) && !is_granted(q, pair))
        why |= SCH_WHY_NO_GRANT;
    return why;
}

static void explain_cluster(const struct sch_query *q, const struct sch_cluster *cluster,
                            struct sch_explain_cluster *ret)
{
    ret->cluster = cluster;
    ret->name = cluster->name;
    ret->region = cluster->region;
    ret->state = sm_name(&cluster->sm, &sch_cluster_table);
    ret->awaited = cluster->awaited;
    ret->price = cluster->price;
    uint32_t never = check_rule(q, cluster, ret) | check_shapes(q, cluster, ret);
    ret->why_not = never | check_room(q, cluster, ret);
    ret->eligible = never == 0;
    ret->room = ret->why_not == 0;
    const struct sch_pair *pair = q->class ? sch_pair_peek(q->class, cluster) : NULL;
    ret->avoided_until_ns = pair ? pair->avoided_until_ns : 0;
    ret->failures = pair ? pair->failures : 0;
    ret->failing_percent = pair && sch_pair_failing(pair) > 0
                               ? pair->failing * 100 / SCH_FAILING_ALL
                               : 0;
    ret->kept = pair ? pair->reserves : 0;
    ret->kept_for_others = cluster->reserves - ret->kept;
}

static void explain_clusters(const struct sch_query *q)
{
    const struct sch_partition *p = q->p;
    q->e->cluster_count = p->cluster_count;
    q->e->clusters = sy_calloc(p->cluster_count, sizeof(struct sch_explain_cluster));
    for (size_t i = 0; i < p->cluster_count; i++) {
        SY_ASSERT(p->clusters[i]->rank < p->cluster_count);
        explain_cluster(q, p->clusters[i], &q->e->clusters[p->clusters[i]->rank]);
    }
}

/* ---- who is ahead, who is behind ---- */

bool sch_query_is_behind(const struct sch_query *q, const struct sch_lane *lane)
{
    int32_t priority = sch_lane_priority(lane);
    if (priority != q->priority)
        return priority > q->priority;
    int order = sch_share_order(lane->seat.share, q->tenant);
    return order < 0 || (order == 0 && sch_fifo_first(&lane->queue)->base.id < q->id);
}

/* Its place in its level, counted up to a bound; then all of the level may be before it. */
static uint64_t place_in_level(const struct sch_action_impl *a, bool *ret_exact)
{
    const struct sch_link *head = &a->level->actions, *at = a->link.prev;
    uint64_t place = 0;
    for (; at != head && place < PLACE_MAX; at = at->prev)
        place++;
    *ret_exact = at == head;
    return at == head ? place : a->level->count - 1;
}

/* In a FIFO: those of its level, and of levels whose first has no less priority. `level` is its
 * own while it is in this FIFO; else it would come behind all of its priority. */
static void count_fifo(const struct sch_fifo *fifo, const struct sch_action_impl *a,
                       int64_t priority, struct sch_explain_line *ahead,
                       struct sch_explain_line *behind)
{
    ahead->own_exact = behind->own_exact = true;
    for (struct sch_link *link = fifo->levels_all.next; link != &fifo->levels_all;
         link = link->next) {
        const struct sch_level *level = sy_container_of(link, struct sch_level, link);
        if (a && level == a->level) {
            uint64_t place = place_in_level(a, &ahead->own_exact);
            ahead->own += place;
            behind->own += level->count - 1 - place;
            continue;
        }
        bool before = (int64_t)level->priority + level->boost >= priority;
        (before ? ahead : behind)->own += level->count;
        if (level->boost > 0 && level->count > 0)
            ahead->own_exact = behind->own_exact = false; /* its next one may be behind */
    }
}

/* Whether some cluster could run both it and the class. */
static bool competes(struct sch_query *q, const struct sch_class *class)
{
    if (class == q->class)
        return true;
    for (size_t i = 0; i < class->pair_count && sch_query_step(q); i++) {
        const struct sch_pair *pair = class->pairs[i];
        if (pair->feasible && q->e->clusters[pair->cluster->rank].eligible)
            return true;
    }
    return false;
}

static void add_lane(struct sch_explain_line *line, const struct sch_lane *lane)
{
    line->others += lane->queue.waiting;
    if (line->lane_count == SCH_EXPLAIN_QUEUES_MAX)
        return;
    const struct sch_share *tenant = lane->seat.share;
    struct sch_explain_lane *ret = &line->lanes[line->lane_count++];
    ret->queue = tenant->parent->key;
    memcpy(ret->project, tenant->key.project, sizeof(ret->project));
    memcpy(ret->domain, tenant->key.domain, sizeof(ret->domain));
    ret->request = lane->seat.class->request;
    ret->actions = lane->queue.waiting;
    ret->priority = sch_lane_priority(lane);
}

static void find_line(struct sch_query *q, const struct sch_action_impl *a)
{
    struct sch_explanation *e = q->e;
    const struct sch_action_impl *queued = a && sch_action_state(a) == SCH_ACTION_QUEUED ? a : NULL;
    e->ahead.own_exact = e->behind.own_exact = true;
    if (q->lane)
        count_fifo(&q->lane->queue, queued, (int64_t)q->priority - q->tenant->priority, &e->ahead,
                   &e->behind);
    const struct sch_partition *p = q->p;
    for (struct sch_link *at = p->classes.next; at != &p->classes; at = at->next) {
        const struct sch_class *class = sy_container_of(at, struct sch_class, link);
        if (class->waiting == 0 || !competes(q, class))
            continue;
        for (struct sch_link *link = class->lanes.next; link != &class->lanes; link = link->next) {
            const struct sch_lane *lane = sy_container_of(link, struct sch_lane, link);
            if (lane->queue.waiting == 0 || lane == q->lane || !sch_query_step(q))
                continue;
            add_lane(sch_query_is_behind(q, lane) ? &e->ahead : &e->behind, lane);
        }
    }
    e->ahead.complete = e->behind.complete = q->steps > 0;
    q->steps = SCH_EXPLAIN_CHANGE_STEPS_MAX;
}

/* ---- when ---- */

static bool estimate_by(const struct sch_query *q, const struct sch_starts *lately, uint64_t place,
                        enum sch_basis basis)
{
    int64_t span_ns;
    uint64_t starts = sch_starts_read(*lately, q->p->now_ns, &span_ns);
    if (starts < STARTS_LEAST)
        return false;
    span_ns = span_ns > SY_NS_PER_S ? span_ns : SY_NS_PER_S;
    double wait_ns = (double)place * (double)span_ns / (double)starts;
    int64_t most_ns = SY_TIME_NEVER / 4;
    q->e->estimate = (struct sch_estimate){
        .basis = basis,
        .wait_ns = wait_ns < (double)most_ns ? (int64_t)wait_ns : most_ns,
        .starts = starts,
        .span_ns = span_ns,
    };
    return true;
}

/* Starts of others make these come true: a limit, unless it alone is above it; room; its turn. */
static bool comes_by_waiting(const struct sch_explanation *e)
{
    for (size_t i = 0; i < e->limit_count; i++) {
        if (e->limits[i].limit == SCH_LIMIT_PAUSED || e->limits[i].need > e->limits[i].max)
            return false;
    }
    for (size_t i = 0; i < e->change_count; i++) {
        enum sch_change_type type = e->changes[i].type;
        if (type >= SCH_CHANGE_RESUME)
            return false;
    }
    return e->change_count > 0;
}

static void estimate(const struct sch_query *q)
{
    struct sch_explanation *e = q->e;
    uint64_t place = e->ahead.own + e->slots_ahead + 1;
    if (e->starts_now) {
        e->estimate.basis = SCH_BASIS_NOW;
        return;
    }
    if (!comes_by_waiting(e)) {
        e->estimate.basis = SCH_BASIS_NEEDS_CHANGE;
        return;
    }
    if (e->change_count == 1 && e->changes[0].type == SCH_CHANGE_TIME)
        e->estimate.basis = SCH_BASIS_TIME;
    else if (!(q->lane && estimate_by(q, &q->lane->starts, place, SCH_BASIS_QUEUE)) &&
             !(q->class &&
               estimate_by(q, &q->class->starts, place + e->ahead.others, SCH_BASIS_CLASS)))
        return; /* NONE */
    if (e->state == SCH_ACTION_BACKOFF && e->until_ns > q->p->now_ns)
        e->estimate.wait_ns += e->until_ns - q->p->now_ns;
}

/* ---- all of it ---- */

static struct sch_explanation *explanation_new(const struct sch_partition *p)
{
    struct sch_explanation *e = sy_new(struct sch_explanation);
    e->now_ns = p->now_ns;
    e->until_ns = e->times_out_ns = SY_TIME_NEVER;
    return e;
}

void sch_explanation_free(struct sch_explanation *explanation)
{
    if (!explanation)
        return;
    free(explanation->clusters);
    free(explanation);
}

static void explain_query(struct sch_query *q, const struct sch_action_impl *a)
{
    struct sch_explanation *e = q->e;
    e->waits = true;
    e->queue = q->tenant->parent->key;
    e->priority = q->priority;
    e->request = *q->request;
    e->gang = *q->gang;
    q->steps = SCH_EXPLAIN_STEPS_MAX;
    find_limits(q);
    explain_clusters(q);
    find_line(q, a);
}

static void explain_slots(struct sch_query *q, const struct sch_action_impl *a)
{
    const struct sch_run *run = a->base.run;
    const struct sch_gate *gate = sch_run_impl(a->base.run)->gate;
    struct sch_explanation *e = q->e;
    e->slots_used = run->concurrency_used;
    e->slots_max = run->concurrency_max;
    if (!gate || sch_action_state(a) == SCH_ACTION_QUEUED)
        return;
    struct sch_explain_line ahead = {0}, behind = {0};
    bool held = sch_action_state(a) == SCH_ACTION_HELD;
    count_fifo(&gate->held, held ? a : NULL, a->base.priority, &ahead, &behind);
    e->slots_ahead = ahead.own;
    uint64_t slots = run->concurrency_used + q->need.actions;
    q->slot = held || gate->held.waiting > 0 || slots > run->concurrency_max;
}

static int32_t clamp_priority(int64_t priority)
{
    return priority > INT32_MAX    ? INT32_MAX
           : priority < -INT32_MAX ? -INT32_MAX
                                   : (int32_t)priority;
}

static int32_t priority_of(const struct sch_partition *p, const struct sch_action_impl *a)
{
    int64_t priority = (int64_t)a->base.priority + a->lane->seat.share->priority;
    int64_t waited_ns = p->now_ns - a->base.queued_at_ns;
    if (sch_action_state(a) == SCH_ACTION_QUEUED && p->options.ageing_ns > 0 && waited_ns > 0) {
        int64_t boost = waited_ns / p->options.ageing_ns;
        priority += boost < SCH_BOOST_MAX ? boost : SCH_BOOST_MAX;
    }
    return clamp_priority(priority);
}

static void explain_times(struct sch_explanation *e, const struct sch_partition *p,
                          const struct sch_action_impl *a)
{
    bool backoff = e->state == SCH_ACTION_BACKOFF;
    e->since_ns = backoff ? p->now_ns : a->base.queued_at_ns;
    if (backoff)
        e->until_ns = a->base.queued_at_ns;
    if (e->state == SCH_ACTION_RECOVERING)
        e->until_ns = p->recovery_end_ns;
    int64_t end_ns = a->rare ? a->rare->end_ns : SY_TIME_NEVER;
    e->times_out_ns = backoff ? end_ns : sch_action_timer_ns(a);
    int64_t doom_ns = e->state == SCH_ACTION_QUEUED ? sch_class_doom_ns(p, sch_action_class(a))
                                                    : SY_TIME_NEVER;
    e->times_out_ns = doom_ns < e->times_out_ns ? doom_ns : e->times_out_ns;
}

/* What its cluster's operator can say more of. */
static void explain_room(struct sch_query *q, int32_t priority)
{
    struct sch_explanation *e = q->e;
    e->wants_room = e->state == SCH_ACTION_QUEUED && e->limit_count == 0 && !q->slot &&
                    !e->starts_now;
    for (size_t i = 0; i < e->cluster_count; i++)
        e->wants_room &= !e->clusters[i].room;
    if (!e->wants_room)
        return;
    e->class_id = q->class ? q->class->id : 0;
    e->victim_count = sch_reclaim_victims(q->p, q->tenant, &q->need, priority, e->victims,
                                          &e->victims_more);
}

static void explain_held(struct sch_explanation *e, const struct sch_partition *p,
                         const struct sch_action_impl *a)
{
    const struct sch_class *class = sch_action_class(a);
    struct sch_use need = sch_use_times(&class->request, sch_class_unit(class));
    e->wants_room = true;
    e->class_id = class->id;
    e->gang_id = sch_action_gang_of(a)->id;
    e->request = class->request;
    e->victim_count = sch_reclaim_victims(p, a->lane->seat.share, &need, a->base.priority,
                                          e->victims, &e->victims_more);
}

struct sch_explanation *sch_explain(const struct sch_partition *p, const struct sch_action *action)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    struct sch_explanation *e = explanation_new(p);
    SY_ASSERT(!p->out);
    if (sch_gang_follows(a) && sch_action_gang_of(a)->members[0])
        a = sch_action_gang_of(a)->members[0]; /* it stands in the queue for all of them */
    e->state = sch_action_state(a);
    e->producer = sch_action_producer(action);
    e->children = action->children_live;
    e->cluster = action->cluster ? action->cluster->name : NULL;
    explain_times(e, p, a);
    const struct sch_gang *gang = sch_action_gang_of(a);
    e->gang = gang ? gang->shape : sch_no_gang;
    e->held = gang && sch_link_in_list(&gang->sent);
    if (e->held)
        explain_held(e, p, a);
    if (!a->lane || sch_state_is_out(e->state) || sch_action_is_final(action))
        return e;
    struct sch_query q = {
        .p = p,
        .request = &sch_action_class(a)->request,
        .gang = &sch_action_class(a)->gang,
        .need = sch_use_times(&sch_action_class(a)->request, sch_class_unit(sch_action_class(a))),
        .tenant = a->lane->seat.share,
        .class = sch_action_class(a),
        .lane = a->lane,
        .id = action->id,
        .priority = priority_of(p, a),
        .e = e};
    explain_query(&q, a);
    explain_slots(&q, a);
    if (e->state == SCH_ACTION_CACHE_WAIT || e->state == SCH_ACTION_RECOVERING)
        return e;
    sch_query_changes(&q);
    estimate(&q);
    explain_room(&q, a->base.priority);
    return e;
}

/* ---- what is not there yet ---- */

static bool submit_is_refused(struct sch_partition *p, const struct sch_submit *submit,
                              const struct sch_gang_shape *gang, const struct sch_share *tenant,
                              struct sch_explanation *e)
{
    uint32_t count = gang->size > 0 ? gang->size : 1;
    e->refused = true;
    if (p->actions_live + count > p->options.actions_max)
        e->why = SCH_REJECT_FULL;
    else if (!tenant)
        e->why = SCH_REJECT_NO_QUEUE;
    else if (!sch_share_has_length(p, tenant, count))
        e->why = SCH_REJECT_QUEUE_FULL;
    else if (!sch_feasible(p, submit->request, gang, tenant->rule, &p->misses))
        e->why = SCH_REJECT_INFEASIBLE;
    else
        e->refused = false;
    if (e->refused && e->why != SCH_REJECT_FULL)
        e->text = p->misses;
    return e->refused;
}

static unsigned failing_of(const struct sch_query *q, const struct sch_explain_cluster *at)
{
    const struct sch_pair *pair = q->class ? sch_pair_peek(q->class, at->cluster) : NULL;
    return pair ? sch_pair_failing(pair) : 0;
}

/* The cluster that the policy takes, by room alone: what operators will grant is not known. */
static const char *would_go_to(const struct sch_query *q)
{
    const struct sch_explain_cluster *best = NULL;
    enum sch_policy policy = (enum sch_policy)q->tenant->rule->content.policy;
    struct sch_use one = q->need;
    uint64_t best_fits = 0;
    for (size_t i = 0; i < q->e->cluster_count; i++) {
        const struct sch_explain_cluster *at = &q->e->clusters[i];
        if (!at->room)
            continue;
        uint64_t n = cluster_fits(at, &one);
        bool better = !best || (policy == SCH_POLICY_PACK ? n < best_fits : n > best_fits);
        if (best && policy == SCH_POLICY_CHEAPEST && at->price != best->price)
            better = at->price < best->price;
        if (best && failing_of(q, at) != failing_of(q, best))
            better = failing_of(q, at) < failing_of(q, best);
        if (best && sch_rule_prefers(q->tenant->rule, at->cluster) !=
                        sch_rule_prefers(q->tenant->rule, best->cluster))
            better = sch_rule_prefers(q->tenant->rule, at->cluster);
        if (best && (at->avoided_until_ns > 0) != (best->avoided_until_ns > 0))
            better = best->avoided_until_ns > 0;
        if (!better)
            continue;
        best = at;
        best_fits = n;
    }
    return best ? best->name : NULL;
}

struct sch_explanation *sch_explain_submit(struct sch_partition *p, const struct sch_submit *submit)
{
    struct sch_explanation *e = explanation_new(p);
    SY_ASSERT(!p->out && submit->request);
    const struct sch_gang_shape *gang = submit->gang ? submit->gang : &sch_no_gang;
    struct sch_share *tenant = sch_share_find_tenant(p, submit->project, submit->domain,
                                                     submit->queue, false);
    e->state = SCH_ACTION_QUEUED;
    e->since_ns = p->now_ns;
    (void)submit_is_refused(p, submit, gang, tenant, e);
    if (!tenant)
        return e;
    struct sch_resources request = sch_rule_request(tenant->rule, submit->request);
    struct sch_query q = {.p = p,
                          .request = &request,
                          .gang = gang,
                          .need = sch_use_times(&request, gang->size > 0 ? gang->size : 1),
                          .tenant = tenant,
                          .class = sch_class_peek(p, submit->request, gang, tenant->rule),
                          .id = UINT64_MAX,
                          .priority = clamp_priority((int64_t)submit->priority + tenant->priority),
                          .e = e};
    q.lane = q.class ? sch_lane_peek(p, q.class, tenant) : NULL;
    explain_query(&q, NULL);
    sch_query_changes(&q);
    estimate(&q);
    e->cluster = e->starts_now ? would_go_to(&q) : NULL;
    explain_room(&q, submit->priority);
    sch_share_unref(p, tenant);
    return e;
}
