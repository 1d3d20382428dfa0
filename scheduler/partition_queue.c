/*
 * Queues as people configure them: what their settings make of those who use them, and what follows
 * when a queue is created, changed, removed or goes below another one.
 */
#include "scheduler/partition_queue.h"
#include "scheduler/partition_elsewhere.h"
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_ticket.h"
#include "scheduler/partition_turn.h"

#include <stdlib.h>
#include <string.h>

/* ---- what holds for a tenant: gathered from the levels above it ---- */

/* Of the nearest level that names any. */
static void take_names(char to[][SCH_QUEUE_NAME_MAX], uint32_t *to_count,
                       const char from[][SCH_QUEUE_NAME_MAX], uint32_t count)
{
    if (*to_count > 0)
        return;
    *to_count = count;
    for (uint32_t i = 0; i < count; i++)
        memcpy(to[i], from[i], SCH_QUEUE_NAME_MAX);
}

/* Where all levels allow it: none can let out what one above keeps in. */
static void narrow_regions(struct sch_rule_content *rule, const struct sch_queue_config *config)
{
    if (config->region_count == 0)
        return;
    uint32_t kept = 0;
    if (!rule->resident)
        take_names(rule->regions, &rule->region_count, config->regions, config->region_count);
    rule->resident = 1;
    for (uint32_t i = 0; i < rule->region_count; i++) {
        if (sch_names_have(config->regions, config->region_count, rule->regions[i]))
            memmove(rule->regions[kept++], rule->regions[i], SCH_QUEUE_NAME_MAX);
    }
    for (uint32_t i = kept; i < rule->region_count; i++)
        memset(rule->regions[i], 0, SCH_QUEUE_NAME_MAX); /* it is compared as bytes */
    rule->region_count = kept;
}

static struct sch_rule_content rule_of(const struct sch_partition *p,
                                       const struct sch_share *tenant)
{
    struct sch_rule_content rule = {.infeasible = (uint32_t)p->options.infeasible};
    bool policy_known = false, infeasible_known = false;
    for (const struct sch_share *at = tenant; at; at = at->parent) {
        const struct sch_queue_config *config = at->config;
        if (!config)
            continue;
        if (!policy_known)
            rule.policy = (uint32_t)config->policy;
        policy_known = true;
        if (!infeasible_known && config->infeasible != SCH_INFEASIBLE_INHERIT) {
            rule.infeasible = (uint32_t)config->infeasible;
            infeasible_known = true;
        }
        if (config->price_max > 0 && (rule.price_max == 0 || config->price_max < rule.price_max))
            rule.price_max = config->price_max;
        rule.preemptible_nodes |= config->preemptible_nodes;
        take_names(rule.clusters, &rule.cluster_count, config->clusters, config->cluster_count);
        take_names(rule.preferred, &rule.preferred_count, config->preferred,
                   config->preferred_count);
        narrow_regions(&rule, config);
    }
    return rule;
}

void sch_tenant_gather(struct sch_partition *p, struct sch_share *tenant)
{
    SY_ASSERT(tenant->level == SCH_SHARE_TENANT);
    struct sch_rule_content content = rule_of(p, tenant);
    const struct sch_rule *old = tenant->rule;
    tenant->rule = sch_rule_ref(p, &content);
    if (old)
        sch_rule_unref(p, old);
    tenant->priority = 0;
    tenant->queued_timeout_ns = SY_TIME_NEVER;
    for (const struct sch_share *at = tenant; at; at = at->parent) {
        if (!at->config)
            continue;
        tenant->priority += at->config->priority; /* a few levels, each at most 1,000 */
        int64_t timeout_ns = at->config->queued_timeout_ns;
        if (timeout_ns > 0 && timeout_ns < tenant->queued_timeout_ns)
            tenant->queued_timeout_ns = timeout_ns;
    }
}

void sch_tenant_check(const struct sch_partition *p, const struct sch_share *tenant)
{
    struct sch_rule_content content = rule_of(p, tenant);
    SY_ASSERT(memcmp(&tenant->rule->content, &content, sizeof(content)) == 0);
}

/* ---- what follows a change ---- */

/* To the class that the rule makes of it, with its priority. */
static void reclass(struct sch_partition *p, struct sch_share *tenant)
{
    struct sch_stops *stops = tenant->stops;
    struct sch_link *lists[] = {&tenant->seats, stops ? &stops->seats : NULL,
                                stops ? &stops->aside : NULL};
    for (unsigned i = 0; i < SY_COUNT_OF(lists) && lists[i]; i++) {
        struct sch_link *link = lists[i]->next;
        while (link != lists[i]) {
            struct sch_seat *seat = sy_container_of(link, struct sch_seat, link);
            link = link->next;
            struct sch_class *class = sch_class_ref(p, &seat->class->asked, &seat->class->gang,
                                                    tenant->rule);
            if (class != seat->class)
                sch_lane_move(p, sch_seat_lane(seat), class);
            sch_seat_update(p, seat);
            sch_class_unref(p, class);
        }
    }
}

static bool is_below(const struct sch_share *share, const struct sch_share *above)
{
    while (share && share != above)
        share = share->parent;
    return share != NULL;
}

/* Priorities, rules, limits: everything below it is looked at again. */
static void refresh_tenants(struct sch_partition *p, const struct sch_share *share)
{
    for (struct sch_link *link = p->shares.next; link != &p->shares; link = link->next) {
        struct sch_share *tenant = sy_container_of(link, struct sch_share, link);
        if (tenant->level == SCH_SHARE_TENANT && is_below(tenant, share)) {
            sch_tenant_gather(p, tenant);
            reclass(p, tenant);
        }
    }
}

static void refresh(struct sch_partition *p, struct sch_share *share)
{
    sch_shares_forget_last(p); /* another queue may be meant by a name from now on */
    if (share->refs > (share->config != NULL)) /* else nothing is below it */
        refresh_tenants(p, share);
    sch_share_reweigh(p, share);
    sch_share_list_preemptible(p, share);
    sch_ticket_limits(p, share);
    sch_stops_open(p, share);
}

/* ---- moving: a queue with something in it, or below, stays where it is until that is gone ---- */

static unsigned depth_of(const struct sch_share *share)
{
    unsigned depth = 0;
    for (; share->parent; share = share->parent)
        depth++;
    return depth;
}

/* Levels from it down to the lowest queue. */
static unsigned height_of(const struct sch_partition *p, const struct sch_share *share)
{
    if (share->refs == (share->config != NULL))
        return 1; /* most often: nothing is below it */
    unsigned lowest = 0;
    for (struct sch_link *link = p->shares.next; link != &p->shares; link = link->next) {
        const struct sch_share *at = sy_container_of(link, struct sch_share, link);
        unsigned depth = is_below(at, share) ? depth_of(at) : 0;
        lowest = depth > lowest ? depth : lowest;
    }
    return lowest - depth_of(share) + 1;
}

static void set_parent(struct sch_partition *p, struct sch_share *share, struct sch_share *parent)
{
    SY_ASSERT(share->live == 0 && !is_below(parent, share));
    SY_ASSERT(sch_list_empty(&share->seats) && share->front.heap.count == 0);
    sch_elsewhere_moves(p, share);
    sch_share_set_parent(p, share, parent);
}

/* Says whether it is where it belongs now. The shell has looked for circles and depth, but among
 * the parents as they are to be: what could not move yet may be in the way. */
static bool attach(struct sch_partition *p, struct sch_share *share)
{
    struct sch_share *parent = sch_share_parent_of(p, &share->key, share->config);
    bool there = share->parent == parent;
    sch_share_ref(parent); /* it may be new */
    if (!there && share->live == 0 && !is_below(parent, share) &&
        depth_of(parent) + height_of(p, share) < SCH_SHARE_DEPTH_MAX) {
        set_parent(p, share, parent);
        there = true;
    }
    sch_share_unref(p, parent);
    return there;
}

/* All that can move leave their old places first, and so are not in each other's way. */
static void settle(struct sch_partition *p)
{
    sch_shares_forget_last(p);
    for (struct sch_link *link = p->misplaced.next; link != &p->misplaced; link = link->next) {
        struct sch_share *share = sy_container_of(link, struct sch_share, misplaced);
        if (share->live > 0)
            continue;
        struct sch_share *parent = sch_share_parent_of(p, &share->key, NULL);
        if (share->parent != parent)
            set_parent(p, share, parent);
    }
    for (bool more = true; more;) {
        more = false;
        for (struct sch_link *link = p->misplaced.next; link != &p->misplaced;) {
            struct sch_share *share = sy_container_of(link, struct sch_share, misplaced);
            link = link->next;
            if (attach(p, share)) {
                sch_list_remove(&share->misplaced);
                more = true;
            }
        }
    }
}

void sch_shares_end_step(struct sch_partition *p)
{
    if (p->emptied && !sch_list_empty(&p->misplaced))
        settle(p);
    p->emptied = false;
}

/* Where it is to be may have changed. */
static void place(struct sch_partition *p, struct sch_share *share)
{
    if (!sch_link_in_list(&share->misplaced))
        sch_list_push_back(&p->misplaced, &share->misplaced);
    settle(p);
}

/* ---- changes ---- */

/* It is told with the demand of the classes that have some of it. */
static void tell_weight(struct sch_partition *p, const struct sch_share *share)
{
    const struct sch_link *link = share->seats.next;
    for (; sch_partition_is_one_of_many(p) && link != &share->seats; link = link->next)
        sch_class_touch(
            p, sy_container_of((struct sch_link *)(uintptr_t)link, struct sch_seat, link)->class);
}

/* Without the room for clusters that are not named: a region may have ten thousand queues. */
void sch_share_configure(struct sch_partition *p, const struct sch_queue_config *config)
{
    SY_ASSERT(sch_queue_config_check(config, NULL) == 0);
    struct sch_share *share = sch_share_get(p, &config->key);
    if (!share->config)
        sch_share_ref(share);
    free(share->config);
    share->config = sy_memdup(config, sch_queue_config_size(config));
    share->weight = config->weight;
    share->yields = config->preemptible && share->level == SCH_SHARE_QUEUE;
    struct sch_use limits = sch_share_limits(share);
    share->bounded = config->paused || sch_use_any(&limits);
    sch_stops_limits(share);
    place(p, share);
    refresh(p, share);
    tell_weight(p, share);
}

void sch_share_forget(struct sch_partition *p, const struct sch_queue_key *key)
{
    struct sch_share *share = sch_share_find(p, key);
    if (!share || !share->config)
        return;
    free(sy_take(share->config));
    share->weight = SCH_QUEUE_WEIGHT_DEFAULT;
    share->bounded = share->yields = false;
    sch_stops_limits(share);
    refresh(p, share);
    tell_weight(p, share);
    sch_share_unref(p, share);
}
