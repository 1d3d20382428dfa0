/*
 * The smallest set of changes with which an action starts; see explain.h. What holds it back apart
 * from clusters (its back-off, its run's slots, limits of queues) has to change in any case; of the
 * clusters the one that needs the fewest changes is taken. Whether those ahead of it would take
 * what the changes give is played through, as the core would choose, on a few numbers.
 */
#include "scheduler/explain_impl.h"

#include <string.h>

#define SHUT (SCH_WHY_CORDONED | SCH_WHY_DRAINED)

static void add(struct sch_query *q, struct sch_change change)
{
    SY_ASSERT(q->e->change_count < SCH_EXPLAIN_CHANGES_MAX);
    q->e->changes[q->e->change_count++] = change;
}

/* ---- in any case ---- */

static void add_limit(struct sch_query *q, const struct sch_explain_limit *limit)
{
    if (limit->limit == SCH_LIMIT_PAUSED) {
        add(q, (struct sch_change){.type = SCH_CHANGE_RESUME, .queue = limit->queue});
        return;
    }
    add(q, (struct sch_change){.type = SCH_CHANGE_LIMIT,
                               .queue = limit->queue,
                               .limit = limit->limit,
                               .now = limit->max,
                               .least = limit->max + limit->used + limit->need - limit->allowed});
}

static void add_common(struct sch_query *q)
{
    struct sch_explanation *e = q->e;
    if (e->state == SCH_ACTION_BACKOFF)
        add(q, (struct sch_change){.type = SCH_CHANGE_TIME, .at_ns = e->until_ns});
    if (q->slot)
        add(q, (struct sch_change){.type = SCH_CHANGE_SLOT,
                                   .now = e->slots_max,
                                   .least = e->slots_used + q->need.actions});
    for (size_t i = 0; i < e->limit_count; i++)
        add_limit(q, &e->limits[i]);
}

/* ---- one cluster ---- */

/* A queue, or a level, pays less than it costs; keeps its work out of where it is. */
static bool is_short_of(const struct sch_share *share, const struct sch_explain_cluster *c,
                        enum sch_change_type type)
{
    if (type == SCH_CHANGE_PRICE)
        return sch_price_is_short(share, c->price);
    return sch_region_is_out(share, c->region);
}

/* PRICE or REGION, of each level that it takes. */
static unsigned add_levels(struct sch_query *q, const struct sch_explain_cluster *c,
                           enum sch_change_type type, bool really)
{
    unsigned count = 0;
    for (const struct sch_share *at = q->tenant; at; at = at->parent) {
        if (!is_short_of(at, c, type))
            continue;
        count++;
        struct sch_change change = {.type = type, .queue = at->key, .cluster = c->name};
        change.region = c->region;
        if (type == SCH_CHANGE_PRICE) {
            change.now = (uint64_t)at->config->price_max;
            change.least = (uint64_t)c->price;
        }
        if (really)
            add(q, change);
    }
    return count;
}

/* CONNECT and NODE bring room along. */
static bool needs_room(const struct sch_explain_cluster *c)
{
    return (c->why_not & (SCH_WHY_ROOM | SCH_WHY_NO_GRANT)) &&
           !(c->why_not & (SCH_WHY_NOT_CONNECTED | SCH_WHY_SHAPE));
}

static void add_cluster(struct sch_query *q, const struct sch_explain_cluster *c)
{
    struct sch_use more = q->need;
    if (q->gang->size > 0 && (c->why_not & SCH_WHY_SHAPE)) /* what is there holds the others */
        more = sch_use_times(q->request, q->gang->size - c->holds);
    if (needs_room(c))
        add(q, (struct sch_change){
                   .type = SCH_CHANGE_ROOM, .cluster = c->name, .amounts = c->missing});
    if (c->why_not & SCH_WHY_NOT_ALLOWED)
        add(q, (struct sch_change){.type = SCH_CHANGE_ALLOW,
                                   .queue = sch_share_with_list(q->tenant)->key,
                                   .cluster = c->name});
    if (c->why_not & SCH_WHY_REGION)
        (void)add_levels(q, c, SCH_CHANGE_REGION, true);
    if (c->why_not & SCH_WHY_PRICE)
        (void)add_levels(q, c, SCH_CHANGE_PRICE, true);
    if (c->why_not & SCH_WHY_NOT_CONNECTED)
        add(q, (struct sch_change){.type = SCH_CHANGE_CONNECT, .cluster = c->name});
    if (c->why_not & SCH_WHY_SHAPE)
        add(q, (struct sch_change){.type = SCH_CHANGE_NODE, .cluster = c->name, .amounts = more});
    if (c->why_not & SHUT)
        add(q, (struct sch_change){.type = SCH_CHANGE_UNCORDON, .cluster = c->name});
}

struct cost {
    unsigned changes;
    enum sch_change_type hardest;
};

static struct cost cost_of(struct sch_query *q, const struct sch_explain_cluster *c)
{
    struct cost cost = {0};
    const struct {
        bool needed;
        enum sch_change_type type;
    } changes[] = {
        {needs_room(c), SCH_CHANGE_ROOM},
        {c->why_not & SCH_WHY_NOT_ALLOWED, SCH_CHANGE_ALLOW},
        {c->why_not & SCH_WHY_REGION, SCH_CHANGE_REGION},
        {c->why_not & SCH_WHY_PRICE, SCH_CHANGE_PRICE},
        {c->why_not & SCH_WHY_NOT_CONNECTED, SCH_CHANGE_CONNECT},
        {c->why_not & SCH_WHY_SHAPE, SCH_CHANGE_NODE},
        {c->why_not & SHUT, SCH_CHANGE_UNCORDON},
    };
    for (size_t i = 0; i < SY_COUNT_OF(changes); i++) {
        if (!changes[i].needed)
            continue;
        bool levels = changes[i].type == SCH_CHANGE_PRICE || changes[i].type == SCH_CHANGE_REGION;
        cost.changes += levels ? add_levels(q, c, changes[i].type, false) : 1;
        cost.hardest = changes[i].type;
    }
    return cost;
}

static bool is_less(struct cost a, struct cost b)
{
    return a.changes != b.changes ? a.changes < b.changes : a.hardest < b.hardest;
}

/* ---- the set ---- */

static const struct sch_explain_cluster *cheapest(struct sch_query *q, bool *ret_first)
{
    const struct sch_explanation *e = q->e;
    const struct sch_explain_cluster *best = NULL;
    struct cost best_cost = {0};
    bool common = e->change_count > 0;
    for (size_t i = 0; i < e->cluster_count; i++) {
        const struct sch_explain_cluster *facts = &e->clusters[i];
        struct cost cost = cost_of(q, facts);
        if (best && !is_less(cost, best_cost))
            continue;
        bool changes = common || cost.changes > 0;
        bool first = changes && sch_query_others_first(q, facts);
        cost.changes += first;
        if (best && !is_less(cost, best_cost))
            continue;
        best = facts;
        best_cost = cost;
        *ret_first = first;
    }
    return best;
}

/* One where all levels let it run, or the nearest one does. */
static const char *region_for(const struct sch_query *q)
{
    const struct sch_rule_content *rule = &q->tenant->rule->content;
    if (rule->region_count > 0)
        return rule->regions[0];
    for (const struct sch_share *at = q->tenant; at && rule->resident; at = at->parent) {
        if (at->config && at->config->region_count > 0)
            return at->config->regions[0];
    }
    return "";
}

/* No cluster is known: one that its queue allows, with room for it. */
static void add_any_cluster(struct sch_query *q)
{
    const struct sch_share *list = sch_share_with_list(q->tenant);
    const char *name = list ? list->config->clusters[0] : "";
    struct sch_cluster cluster = {.index = UINT32_MAX};
    struct sch_explain_cluster facts = {.cluster = &cluster,
                                        .name = name,
                                        .region = region_for(q),
                                        .why_not = SCH_WHY_NOT_CONNECTED};
    if (add_levels(q, &facts, SCH_CHANGE_REGION, false) > 0)
        facts.why_not |= SCH_WHY_REGION;
    memcpy(cluster.name, name, strlen(name));
    memcpy(cluster.region, facts.region, strlen(facts.region));
    if (sch_query_others_first(q, &facts))
        add(q, (struct sch_change){.type = SCH_CHANGE_FIRST});
    add_cluster(q, &facts);
}

void sch_query_changes(struct sch_query *q)
{
    bool first = false;
    add_common(q);
    const struct sch_explain_cluster *best = cheapest(q, &first);
    if (first)
        add(q, (struct sch_change){.type = SCH_CHANGE_FIRST});
    if (best)
        add_cluster(q, best);
    else
        add_any_cluster(q);
    q->e->starts_now = q->e->change_count == 0;
}
