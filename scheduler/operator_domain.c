/*
 * Domains of a cluster by a label, for gangs with a topology: which one has room for all of a gang.
 *
 * Nodes are grouped by the label that domains are asked of, so a domain is some groups, the parts
 * of a kind, and its room the sum over these. Of
 * each what is left is summed at each change; that, divided by what a member asks for, is an upper
 * bound of how many fit, and rules most domains out without a look at a node. Of the others nodes
 * are looked at, and what was counted is kept until one of the group changes. A step looks at
 * SCH_OP_GANG_LOOKS nodes; the next one goes on, and has what was counted before.
 *
 * Of domains that have room now the one is taken that has the least left, so that larger ones stay
 * whole; of those that would have it when they are empty the one with the most left.
 */
#include "scheduler/labels.h"
#include "scheduler/operator_impl.h"

#include <stdlib.h>
#include <string.h>

/* A node that is in no index is counted by itself. */
struct extra {
    uint64_t hash; /* of its domain */
    struct sy_span domain;
    uint64_t fits, slots;
};

struct domain {
    uint32_t from, count; /* of the kind's */
    uint32_t first;       /* part: who came first goes first, of equals */
    uint64_t extra;       /* of nodes that are in no index; it is in `fits` too */
    uint64_t fits, slots; /* fits: at most */
};

struct search {
    struct sch_operator *op;
    struct sch_kind *kind;
    const struct sch_gang_shape *gang;
    const struct sch_op_gang *here;
    enum sch_when when;
    struct extra *extras;
    uint32_t count, cap;
    struct domain *domains;
    uint32_t domain_count;
};

struct sy_span sch_op_domain_of(const struct sch_shape *shape, const char *key)
{
    SY_ASSERT(key[0]);
    return sch_label_value(shape->traits.labels, key);
}

static uint64_t hash_of(const struct sy_span *domain)
{
    return sch_hash_bytes(domain->data, domain->len, 0);
}

/* ---- nodes that are in no index ---- */

/* `counted`: what there is now is counted with its group; only what comes is added. */
static void add_node(struct search *search, struct sch_node *node, bool counted)
{
    const struct sch_resources *request = &search->kind->request;
    struct extra extra = {.domain = sch_op_domain_of(&node->shape->shape, search->gang->key)};
    if (!extra.domain.data || !sch_op_gang_is_open(search->op, node, search->here, search->when))
        return;
    uint64_t now = node->backlog_count == 0 ? sch_node_fits(node, request) : 0;
    search->op->looks++;
    extra.hash = hash_of(&extra.domain);
    extra.fits = now;
    if (search->when == SCH_SOON)
        extra.fits = sch_node_fits_soon(node, request) - (counted ? now : 0);
    if (search->when == SCH_EMPTY)
        extra.slots = sch_shape_slots(&node->shape->shape, request);
    if (extra.fits == 0 && extra.slots == 0)
        return;
    if (search->count == search->cap) {
        search->cap = search->cap ? search->cap * 2 : 64;
        search->extras = sy_realloc(search->extras, search->cap * sizeof(*search->extras));
    }
    SY_ASSERT(search->extras);
    search->extras[search->count++] = extra;
}

static int compare_extras(const void *left, const void *right)
{
    const struct extra *a = left, *b = right;
    return (a->hash > b->hash) - (a->hash < b->hash);
}

/* Nodes that are kept. What is kept for it already counts, so that what it chooses anew is no
 * worse. And nodes where room comes. */
static void add_nodes(struct search *search)
{
    struct sch_operator *op = search->op;
    bool empty = search->when == SCH_EMPTY;
    struct sch_link *link = op->reserved.next;
    bool kept = empty || sch_op_gang_is_reserver(op, search->here);
    for (; kept && link != &op->reserved; link = link->next)
        add_node(search, sy_container_of(link, struct sch_node, kept), false);
    for (link = op->claims.next; empty && link != &op->claims; link = link->next) {
        struct sch_op_claim *claim = sy_container_of(link, struct sch_op_claim, link);
        if (claim->node)
            add_node(search, claim->node, false);
    }
    link = op->nodes_leaving.next;
    for (; search->when == SCH_SOON && link != &op->nodes_leaving; link = link->next) {
        struct sch_node *node = sy_container_of(link, struct sch_node, leaves);
        if (!node->reserved)
            add_node(search, node, node->tier >= 0);
    }
    if (search->count > 1)
        qsort(search->extras, search->count, sizeof(*search->extras), compare_extras);
}

/* ---- domains ---- */

static int compare_parts(const void *left, const void *right)
{
    const struct sch_domain_part *a = left, *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return (a->part > b->part) - (a->part < b->part);
}

/* The parts by domain, as long as they stay the same. */
static void order_parts(struct sch_kind *kind, const char *key)
{
    SY_ASSERT(strcmp(kind->domain_key, key) == 0);
    if (kind->domains)
        return;
    kind->domains = sy_calloc(kind->parts.count + 1, sizeof(*kind->domains));
    kind->domain_count = kind->parts.count;
    for (uint32_t i = 0; i < kind->parts.count; i++) {
        struct sy_span domain = sch_op_domain_of(&kind->parts.items[i].group->shape, key);
        kind->domains[i] = (struct sch_domain_part){hash_of(&domain), i};
    }
    if (kind->domain_count > 1)
        qsort(kind->domains, kind->domain_count, sizeof(*kind->domains), compare_parts);
}

static struct sy_span value_at(const struct search *search, uint32_t at)
{
    const struct sch_kind *kind = search->kind;
    const struct sch_op_group *group = kind->parts.items[kind->domains[at].part].group;
    return sch_op_domain_of(&group->shape, search->gang->key);
}

/* Of the same domain as the one before. Hashes tell, and two values of one hash share its parts by
 * turns at worst, so they are compared. */
static bool goes_on(const struct search *search, uint32_t from, uint32_t at)
{
    const struct sch_kind *kind = search->kind;
    if (at >= kind->domain_count || kind->domains[at].hash != kind->domains[from].hash)
        return false;
    struct sy_span first = value_at(search, from), here = value_at(search, at);
    return sch_label_values_compare(&first, &here) == 0;
}

static void add_extras(const struct search *search, struct domain *domain, uint32_t *at)
{
    uint64_t hash = search->kind->domains[domain->from].hash;
    struct sy_span value = {0};
    while (*at < search->count && search->extras[*at].hash < hash)
        ++*at;
    for (uint32_t i = *at; i < search->count && search->extras[i].hash == hash; i++) {
        value = value.data ? value : value_at(search, domain->from);
        if (sch_label_values_compare(&value, &search->extras[i].domain) != 0)
            continue;
        domain->extra += search->extras[i].fits;
        domain->slots += search->extras[i].slots;
    }
}

/* False: it is known that fewer fit. */
static bool may_hold(const struct search *search, const struct domain *domain)
{
    uint64_t room = domain->extra, here;
    if (search->when == SCH_EMPTY)
        return domain->slots >= search->gang->size;
    if (domain->fits < search->gang->size)
        return false;
    for (uint32_t i = domain->from; i < domain->from + domain->count; i++) {
        if (!sch_kind_counted(search->kind, search->kind->domains[i].part, search->gang->size,
                              &here))
            return true;
        room += here;
    }
    return room >= search->gang->size;
}

static int compare_domains(const void *left, const void *right)
{
    const struct domain *a = left, *b = right;
    if (a->fits != b->fits)
        return a->fits < b->fits ? -1 : 1;
    return (a->first > b->first) - (a->first < b->first);
}

/* Which of them has the most left; as compare_domains() would put them, the first of these. */
static uint32_t with_most(const struct search *search)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < search->domain_count; i++) {
        const struct domain *a = &search->domains[i], *b = &search->domains[best];
        if (a->fits > b->fits || (a->fits == b->fits && a->first < b->first))
            best = i;
    }
    return best;
}

/* Those that may hold all; unless nodes are taken as empty, the least first. */
static void collect(struct search *search)
{
    struct sch_kind *kind = search->kind;
    sch_kind_look_at_parts(search->op, kind);
    order_parts(kind, search->gang->key);
    add_nodes(search);
    search->domains = sy_calloc(kind->domain_count + 1, sizeof(*search->domains));
    uint32_t extra = 0;
    for (uint32_t at = 0; at < kind->domain_count;) {
        struct domain domain = {.from = at, .first = kind->domains[at].part};
        do {
            uint32_t part = kind->domains[at].part;
            const struct sch_kind_group *on = &kind->parts.items[part];
            domain.fits += sch_kind_fits_most(kind, part);
            if (search->when == SCH_EMPTY)
                domain.slots += (uint64_t)on->slots *
                                sch_fit_count(&on->group->tiers[SCH_TIER_TRUSTED].fit);
        } while (goes_on(search, domain.from, ++at));
        domain.count = at - domain.from;
        add_extras(search, &domain, &extra);
        domain.fits += domain.extra;
        if (may_hold(search, &domain))
            search->domains[search->domain_count++] = domain;
    }
    if (search->domain_count > 1 && search->when != SCH_EMPTY)
        qsort(search->domains, search->domain_count, sizeof(*search->domains), compare_domains);
}

/* Whether all fit; false also when the step may not look at more. */
static bool holds(const struct search *search, const struct domain *domain)
{
    uint64_t room = domain->extra, size = search->gang->size, here;
    for (uint32_t i = domain->from; i < domain->from + domain->count && room < size; i++) {
        if (!sch_kind_count(search->op, search->kind, search->kind->domains[i].part, size, &here))
            return false;
        room += here;
    }
    return room >= size;
}

bool sch_op_domain_find(struct sch_operator *op, struct sch_kind *kind,
                        const struct sch_gang_shape *gang, const struct sch_op_gang *here,
                        enum sch_when when, struct sch_op_domain *ret)
{
    SY_ASSERT(gang->size > 0 && gang->topology != SCH_TOPOLOGY_NONE);
    if (!sch_kind_ask_domains(op, kind, gang->key)) {
        op->gangs_later = true;
        return false;
    }
    struct search search = {.op = op, .kind = kind, .gang = gang, .here = here, .when = when};
    collect(&search);
    uint32_t count = search.domain_count, at = 0;
    const struct domain *domains = search.domains;
    if (when == SCH_EMPTY)
        at = with_most(&search);
    while (when != SCH_EMPTY && at < count && !op->gangs_later && !holds(&search, &domains[at]))
        at++;
    bool found = at < count && !(when != SCH_EMPTY && op->gangs_later);
    if (found)
        *ret = (struct sch_op_domain){.value = value_at(&search, domains[at].from),
                                      .parts = &kind->domains[domains[at].from],
                                      .count = domains[at].count};
    free(search.domains);
    free(search.extras);
    return found;
}
