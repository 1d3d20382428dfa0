/*
 * Which cluster: a class on each cluster is a pair. A pair is open while the cluster's operator
 * granted more of the class than was assigned; the open ones are in a heap by the class's policy,
 * so a decision costs no more for a thousand clusters than for a few.
 *
 * A grant of a class says how many of it the cluster could hold, whatever else comes; the cluster's
 * room says how much may come in all. So clusters need not split their room between classes, and
 * the order of priority and fair share decides who gets it. A pair whose class is too large for the
 * room that is left waits with its cluster until the room grows.
 *
 * Some policies have an order between clusters: the price, those that the queue prefers, those
 * where it starts at once. There the first one that answers is not the best one. So for
 * SCH_ANSWER_PATIENCE_NS from when somebody waits, a pair that is asked (for the first time, or for
 * more than it had granted, or for more room) keeps its place among the open ones; while it is the
 * first of them nothing goes to those behind it. What comes meanwhile does not make that longer, so
 * a cluster that stays full delays a burst once. Who is asked for the first time always answers, if
 * only that there is nothing; so that answer itself is waited for, up to SCH_FIRST_ANSWER_NS: what
 * is slow, and has room, is not passed over, and what is full delays nobody.
 */
#include "scheduler/partition_route.h"
#include "scheduler/labels.h"
#include "scheduler/partition_gang.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_reserve.h"
#include "scheduler/partition_slice.h"
#include "scheduler/partition_turn.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A key's parts, the lowest first: free room, the policy's rank, then what comes before policies.
 */
#define FREE_MAX ((int64_t)1 << 20)
#define RANK (2 * FREE_MAX)
#define PRICE_MAX ((int64_t)1 << 36)
#define FAILING_KEY ((int64_t)1 << 58) /* times how much it fails: behind those that fail less */
#define OTHER_KEY ((int64_t)1 << 60)   /* behind those that the queue prefers */
#define BUSY_KEY ((int64_t)1 << 61)    /* of a gang: behind those that have room for it now */
#define AVOIDED_KEY ((int64_t)1 << 62) /* behind all that are not avoided */

/* ---- where a class may run at all ---- */

struct sch_resources sch_rule_request(const struct sch_rule *rule,
                                      const struct sch_resources *asked)
{
    struct sch_resources request = *asked;
    struct sy_error_text error;
    bool tolerated = sch_taints_tolerated(SCH_LABEL_SPOT, asked->tolerations, NULL);
    if (rule->content.preemptible_nodes && !tolerated)
        (void)!sch_labels_put(request.tolerations, sizeof(request.tolerations), SCH_LABEL_SPOT, "",
                              &error);
    return request;
}

bool sch_rule_has_region(const struct sch_rule *rule, const struct sch_cluster *cluster)
{
    const struct sch_rule_content *content = &rule->content;
    return !content->resident || sch_cluster_state(cluster) == SCH_CLUSTER_EXPECTED ||
           sch_names_have(content->regions, content->region_count, cluster->region);
}

bool sch_rule_prefers(const struct sch_rule *rule, const struct sch_cluster *cluster)
{
    const struct sch_rule_content *content = &rule->content;
    return content->preferred_count == 0 ||
           sch_names_have(content->preferred, content->preferred_count, cluster->name);
}

bool sch_rule_fits(const struct sch_rule *rule, const struct sch_cluster *cluster,
                   struct sy_error_text *ret_misses)
{
    const struct sch_rule_content *content = &rule->content;
    if (content->cluster_count > 0 &&
        !sch_names_have(content->clusters, content->cluster_count, cluster->name)) {
        sy_error_text_add(ret_misses, "cluster %s: not one of those that the queue may use",
                          cluster->name);
        return false;
    }
    if (!sch_rule_has_region(rule, cluster)) {
        sy_error_text_add(
            ret_misses, "cluster %s: %s%s, the queue's work may not run there", cluster->name,
            cluster->region[0] ? "in region " : "does not say its region", cluster->region);
        return false;
    }
    if (content->price_max > 0 && cluster->price > content->price_max) {
        sy_error_text_add(ret_misses, "cluster %s: a core costs %.6f an hour, the queue pays %.6f",
                          cluster->name, (double)cluster->price / 1e6,
                          (double)content->price_max / 1e6);
        return false;
    }
    return true;
}

static bool may_run(const struct sch_cluster *cluster, const struct sch_resources *request,
                    const struct sch_gang_shape *gang, const struct sch_rule *rule)
{
    if (!sch_rule_fits(rule, cluster, NULL) || sch_gang_room(cluster, request, gang) < gang->size)
        return false;
    for (size_t i = 0; i < cluster->shape_count; i++) {
        if (sch_shape_fits(&cluster->shapes[i], request, NULL))
            return true;
    }
    return false;
}

bool sch_is_runnable(const struct sch_partition *p, const struct sch_resources *request,
                     const struct sch_gang_shape *gang, const struct sch_rule *rule)
{
    for (size_t i = 0; i < p->cluster_count; i++) {
        if (may_run(p->clusters[i], request, gang, rule))
            return true;
    }
    return false;
}

/* ---- open pairs ---- */

/* Both may come from a cluster's operator: any number. */
static int64_t capped(uint64_t value, int64_t max)
{
    return value < (uint64_t)max ? (int64_t)value : max;
}

static enum sch_policy policy_of(const struct sch_class *class)
{
    return (enum sch_policy) class->rule->content.policy;
}

/* What an order between clusters means for it: they are not alike but for their room. */
static bool has_order(const struct sch_class *class)
{
    enum sch_policy policy = policy_of(class);
    return class->gang.size == 0 &&
           (class->rule->content.preferred_count > 0 || policy == SCH_POLICY_CHEAPEST ||
            policy == SCH_POLICY_FASTEST_START);
}

static bool is_open(const struct sch_pair *pair)
{
    return sch_pair_is_able(pair) && pair->granted > pair->assigned;
}

static bool is_expected(const struct sch_pair *pair)
{
    const struct sch_heap_entry *patience = &pair->class->patience;
    return pair->class->gang.size == 0 && sch_heap_has(patience) &&
           pair->expected_ns == patience->key;
}

/* Of what is expected one is taken for free, at once. */
static int64_t startable(const struct sch_pair *pair)
{
    if (!is_open(pair))
        return 1;
    return pair->startable > pair->assigned ? capped(pair->startable - pair->assigned, FREE_MAX)
                                            : 0;
}

/* The policy's, before free room. */
static int64_t rank_of(const struct sch_pair *pair)
{
    if (policy_of(pair->class) == SCH_POLICY_CHEAPEST)
        return capped((uint64_t)pair->cluster->price, PRICE_MAX);
    return policy_of(pair->class) == SCH_POLICY_FASTEST_START && startable(pair) == 0;
}

/* The least goes first; of equal ones the cluster that came first. */
static int64_t policy_key(const struct sch_pair *pair)
{
    int64_t room = capped(pair->granted - pair->assigned, FREE_MAX), rank = rank_of(pair);
    bool gang = pair->class->gang.size > 0;
    if (policy_of(pair->class) == SCH_POLICY_FASTEST_START && rank == 0)
        room = startable(pair);
    if (policy_of(pair->class) == SCH_POLICY_PACK)
        room = -room;
    if (gang && pair->avoided_until_ns > 0)
        return AVOIDED_KEY + pair->avoided_until_ns / SY_NS_PER_MS; /* they take turns */
    int64_t key = rank * RANK - room + sch_pair_failing(pair) * FAILING_KEY;
    key += pair->preferred ? 0 : OTHER_KEY;
    key += gang && pair->startable <= pair->assigned ? BUSY_KEY : 0;
    return key + (pair->avoided_until_ns > 0 ? AVOIDED_KEY : 0);
}

static void pair_update(struct sch_partition *p, struct sch_pair *pair)
{
    struct sch_class *class = pair->class;
    bool open = is_open(pair);
    bool expected = !open && is_expected(pair) && sch_pair_is_able(pair);
    if (!open && sch_link_in_list(&pair->short_link))
        sch_list_remove(&pair->short_link);
    if (!open && !expected)
        sch_heap_remove(&class->open, &pair->entry);
    else if (!sch_link_in_list(&pair->short_link))
        sch_heap_set(&class->open, &pair->entry, policy_key(pair));
    sch_class_changed(p, class);
}

bool sch_cluster_has_room(const struct sch_cluster *cluster, const struct sch_use *need)
{
    const struct sch_use *granted = &cluster->room_granted, *assigned = &cluster->room_assigned;
    return !cluster->room_known ||
           (assigned->cpu_milli + need->cpu_milli <= granted->cpu_milli &&
            assigned->memory_bytes + need->memory_bytes <= granted->memory_bytes &&
            assigned->gpu_milli + need->gpu_milli <= granted->gpu_milli);
}

/* For one of the class. */
static bool has_room(const struct sch_cluster *cluster, const struct sch_class *class)
{
    struct sch_use need = sch_use_of(&class->request);
    return sch_cluster_has_room(cluster, &need);
}

static struct sch_pair *first_pair(const struct sch_class *class)
{
    struct sch_heap_entry *top = sch_heap_top(&class->open);
    return top ? sy_container_of(top, struct sch_pair, entry) : NULL;
}

/* ---- waiting for better ones ---- */

void sch_class_be_patient(struct sch_partition *p, struct sch_class *class)
{
    if (has_order(class) && !sch_heap_has(&class->patience))
        sch_heap_set(&p->patience, &class->patience, p->now_ns + SCH_ANSWER_PATIENCE_NS);
}

bool sch_class_is_patient(const struct sch_class *class)
{
    const struct sch_pair *first = first_pair(class);
    return first && sch_pair_is_current(first) && is_expected(first) &&
           (!is_open(first) || sch_link_in_list(&first->short_link));
}

static void expect(struct sch_pair *pair)
{
    if (has_order(pair->class) && sch_heap_has(&pair->class->patience))
        pair->expected_ns = pair->class->patience.key;
}

void sch_pair_expect(struct sch_partition *p, struct sch_pair *pair)
{
    if (pair->class->root.ready == 0)
        return;
    sch_class_be_patient(p, pair->class);
    expect(pair);
    pair_update(p, pair);
}

/* The first of its pairs has never answered: it is waited for once more, and longer. */
static bool waits_on(struct sch_partition *p, struct sch_class *class)
{
    struct sch_pair *first = first_pair(class);
    if (!first || !is_expected(first) || first->answered)
        return false;
    int64_t until_ns = class->patience.key + SCH_FIRST_ANSWER_NS - SCH_ANSWER_PATIENCE_NS;
    if (until_ns <= p->now_ns)
        return false;
    first->answered = true;
    first->expected_ns = until_ns;
    sch_heap_set(&p->patience, &class->patience, until_ns);
    return true;
}

/* What has not answered by now is no longer waited for. */
void sch_patience_tick(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->patience)) && top->key <= p->now_ns && sch_may_look(p)) {
        struct sch_class *class = sy_container_of(top, struct sch_class, patience);
        if (waits_on(p, class))
            continue;
        sch_heap_remove(&p->patience, top);
        sch_class_changed(p, class);
    }
}

/* ---- the choice ---- */

/* Out of the way of others until the cluster has more room; maybe that comes at once. */
static void set_short(struct sch_pair *pair)
{
    expect(pair);
    if (!is_expected(pair))
        sch_heap_remove(&pair->class->open, &pair->entry);
    if (!sch_link_in_list(&pair->short_link))
        sch_list_push_back(&pair->cluster->short_of_room, &pair->short_link);
}

/* The grant alone decides for a gang: its cluster keeps it until it has made room. */
struct sch_pair *sch_class_route(struct sch_partition *p, struct sch_class *class)
{
    struct sch_pair *pair;
    while ((pair = first_pair(class)) && !sch_class_is_patient(class)) {
        if (!sch_pair_is_current(pair)) {
            p->decisions_left -= p->decisions_left > 0;
            sch_pair_sync(p, pair);
            if (!sch_class_is_runnable(class))
                break;
            continue;
        }
        SY_ASSERT(pair->class == class && pair->feasible && pair->assigned <= pair->granted);
        if (!is_open(pair)) {
            sch_heap_remove(&class->open, &pair->entry); /* it did not answer in time */
            continue;
        }
        if (class->gang.size > 0 || has_room(pair->cluster, class))
            return pair;
        if (sch_link_in_list(&pair->short_link))
            sch_heap_remove(&class->open, &pair->entry); /* no more came in time */
        else
            set_short(pair);
    }
    sch_class_changed(p, class);
    return NULL;
}

static const struct sch_cluster *home_of(const struct sch_action_impl *a)
{
    const struct sch_action *at = a->base.parent;
    while (at && !at->cluster && at->parent)
        at = at->parent; /* a group has none */
    return at ? at->cluster : NULL;
}

struct sch_pair *sch_pair_near(const struct sch_action_impl *a, struct sch_pair *best)
{
    struct sch_class *class = best->class;
    enum sch_policy policy = policy_of(class);
    if (policy == SCH_POLICY_SPREAD || policy == SCH_POLICY_PACK)
        return best; /* free room decides */
    const struct sch_cluster *home = home_of(a);
    struct sch_pair *near = home && home->index < class->pair_count ? class->pairs[home->index]
                                                                    : NULL;
    bool as_good = near && is_open(near) && has_room(home, class) &&
                   rank_of(near) == rank_of(best) && near->preferred == best->preferred &&
                   sch_pair_failing(near) == sch_pair_failing(best) &&
                   (near->avoided_until_ns > 0) == (best->avoided_until_ns > 0);
    return as_good ? near : best;
}

void sch_pair_take(struct sch_partition *p, struct sch_pair *pair)
{
    struct sch_use *room = &pair->cluster->room_assigned;
    uint64_t unit = sch_class_unit(pair->class);
    SY_ASSERT(pair->assigned < pair->granted && pair->feasible);
    pair->assigned++;
    if (pair->assigned == pair->granted)
        expect(pair); /* it is asked for more by now */
    sch_pair_reserved(p, pair);
    room->actions += unit;
    room->cpu_milli += unit * pair->class->request.cpu_milli;
    room->memory_bytes += unit * pair->class->request.memory_bytes;
    room->gpu_milli += unit * sch_resources_gpu_milli(&pair->class->request);
    pair_update(p, pair);
}

/* ---- what clusters say ---- */

void sch_class_add_cluster(struct sch_partition *p, struct sch_class *class)
{
    SY_ASSERT(class->pair_count < p->cluster_count);
    struct sch_cluster *cluster = p->clusters[class->pair_count];
    class->pairs = sy_realloc(class->pairs, (class->pair_count + 1) * sizeof(struct sch_pair *));
    struct sch_pair *pair = sy_new(struct sch_pair);
    pair->class = class;
    pair->cluster = cluster;
    pair->preferred = sch_rule_prefers(class->rule, cluster);
    pair->entry.tie = cluster->index;
    class->pairs[class->pair_count++] = pair;
    pair->version = cluster->version - 1;
    pair->stream = cluster->stream;
    sch_list_push_back(&p->stale, &pair->follows);
    sch_pair_sync(p, pair);
}

void sch_pair_free(struct sch_partition *p, struct sch_pair *pair)
{
    if (sch_link_in_list(&pair->short_link))
        sch_list_remove(&pair->short_link);
    if (sch_link_in_list(&pair->untold))
        sch_list_remove(&pair->untold);
    sch_list_remove(&pair->follows);
    sch_heap_remove(&p->avoided, &pair->avoided);
    sch_pair_reset_reserves(p, pair);
    free(pair);
}

static void set_untold(struct sch_partition *p, struct sch_pair *pair)
{
    bool untold = sch_pair_is_able(pair) && !pair->told;
    if (untold == sch_link_in_list(&pair->untold))
        return;
    if (untold)
        sch_list_push_back(&p->untold, &pair->untold);
    else
        sch_list_remove(&pair->untold);
}

static void reset(struct sch_partition *p, struct sch_pair *pair)
{
    pair->granted = pair->startable = pair->assigned = 0;
    pair->told = pair->answered = false;
    pair->stream = pair->cluster->stream;
    sch_pair_reset_reserves(p, pair);
}

void sch_pair_sync(struct sch_partition *p, struct sch_pair *pair)
{
    struct sch_class *class = pair->class;
    struct sch_cluster *cluster = pair->cluster;
    if (sch_pair_is_current(pair))
        return;
    p->looks++;
    pair->version = cluster->version;
    sch_list_remove(&pair->follows);
    sch_list_push_back(&cluster->pairs, &pair->follows);
    if (pair->stream != cluster->stream)
        reset(p, pair);
    bool feasible = may_run(cluster, &class->request, &class->gang, class->rule);
    class->feasible += feasible - pair->feasible;
    pair->feasible = feasible;
    sch_pair_capable(p, pair);
    /* What it misses meanwhile it is told when it can run it again. */
    pair->told &= pair->feasible && !cluster->cordoned;
    set_untold(p, pair);
    pair_update(p, pair);
    sch_class_touch(p, class);
}

/* Its answer came: for more of it nobody waits for longer than ever. */
static void hear(struct sch_partition *p, struct sch_pair *pair, bool more)
{
    struct sch_heap_entry *patience = &pair->class->patience;
    int64_t until_ns = p->now_ns + SCH_ANSWER_PATIENCE_NS;
    if (!is_expected(pair))
        return;
    if (patience->key > until_ns)
        sch_heap_set(&p->patience, patience, until_ns);
    pair->expected_ns = more ? patience->key : 0;
}

void sch_class_grant(struct sch_partition *p, struct sch_class *class, struct sch_cluster *cluster,
                     uint64_t granted, uint64_t startable)
{
    struct sch_pair *pair = sch_pair_get(p, class, cluster);
    SY_ASSERT(sch_cluster_connected(cluster));
    bool gang = class->gang.size > 0; /* an equal one says whether there is room by now */
    if (granted < pair->granted || (granted == pair->granted && granted > 0 && !gang))
        return; /* cumulative: an old or repeated one does no harm */
    hear(p, pair, granted > 0);
    pair->granted = granted;
    pair->answered = true;
    pair->startable = startable;
    pair_update(p, pair);
}

void sch_cluster_room(struct sch_partition *p, struct sch_cluster *cluster,
                      const struct sch_use *granted)
{
    cluster->room_known = true;
    cluster->room_granted = *granted;
    sch_turns_room(p);
    if (!sch_link_in_list(&cluster->roomy) && !sch_list_empty(&cluster->short_of_room))
        sch_list_push_back(&p->roomy, &cluster->roomy);
}

void sch_pair_wake(struct sch_partition *p, struct sch_pair *pair)
{
    sch_list_remove(&pair->short_link);
    if (has_room(pair->cluster, pair->class))
        pair_update(p, pair);
    else
        sch_list_push_back(&pair->cluster->short_of_room, &pair->short_link);
}

/* ---- clusters that fail a class ---- */

static int64_t avoid_ns(uint32_t failures)
{
    SY_ASSERT(failures >= SCH_AVOID_AFTER);
    int64_t ns = SCH_AVOID_NS;
    for (uint32_t i = SCH_AVOID_AFTER; i < failures && ns < SCH_AVOID_MAX_NS; i++)
        ns *= 2;
    return capped(ns, SCH_AVOID_MAX_NS);
}

/* When what is held against it changes by itself. */
static void set_timer(struct sch_partition *p, struct sch_pair *pair)
{
    int64_t at = pair->avoided_until_ns > 0 ? pair->avoided_until_ns : SY_TIME_NEVER;
    if (pair->failing > 0 && pair->failing_ns < at)
        at = pair->failing_ns;
    if (at == SY_TIME_NEVER)
        sch_heap_remove(&p->avoided, &pair->avoided);
    else
        sch_heap_set(&p->avoided, &pair->avoided, at);
}

static void count_failing(const struct sch_partition *p, struct sch_pair *pair, bool well)
{
    uint32_t part = pair->failing / SCH_FAILING_WEIGHT;
    pair->failing -= part > 0 ? part : pair->failing > 0;
    pair->failing += well ? 0 : SCH_FAILING_ALL / SCH_FAILING_WEIGHT;
    pair->failing_ns = p->now_ns + SCH_FAILING_FADE_NS;
    SY_ASSERT(pair->failing <= SCH_FAILING_ALL);
}

/* What it is avoided for is not held against it once more when that is over. */
void sch_pair_report(struct sch_partition *p, struct sch_class *class, struct sch_cluster *cluster,
                     bool well)
{
    struct sch_pair *pair = sch_pair_get(p, class, cluster);
    unsigned before = sch_pair_failing(pair);
    if (well && pair->failures == 0 && pair->failing == 0)
        return;
    bool failed = pair->failures > 0;
    count_failing(p, pair, well);
    pair->failures = well ? 0 : pair->failures + (pair->failures < UINT32_MAX);
    if (pair->failures >= SCH_AVOID_AFTER) {
        pair->avoided_until_ns = p->now_ns + avoid_ns(pair->failures);
        pair->failing = 0;
    } else if (well && failed) {
        pair->avoided_until_ns = 0;
    } /* else, if it is avoided, for a gang that it gave back, it still is */
    set_timer(p, pair);
    if (failed || !well || sch_pair_failing(pair) != before)
        pair_update(p, pair);
}

void sch_pair_ask(struct sch_partition *p, struct sch_pair *pair)
{
    pair->answered = false;
    pair->startable = 0;
    pair_update(p, pair);
}

void sch_pair_avoid(struct sch_partition *p, struct sch_pair *pair, int64_t ns)
{
    SY_ASSERT(ns > 0);
    pair->avoided_until_ns = p->now_ns + ns;
    set_timer(p, pair);
    pair_update(p, pair);
}

/* Of one that is avoided no more one is tried; if it fails too that is for longer. */
void sch_avoided_tick(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->avoided)) && top->key <= p->now_ns && sch_may_look(p)) {
        struct sch_pair *pair = sy_container_of(top, struct sch_pair, avoided);
        if (pair->avoided_until_ns <= p->now_ns)
            pair->avoided_until_ns = 0;
        if (pair->failing > 0 && pair->failing_ns <= p->now_ns) {
            pair->failing /= 2;
            pair->failing_ns = p->now_ns + SCH_FAILING_FADE_NS;
        }
        set_timer(p, pair);
        pair_update(p, pair);
    }
}
