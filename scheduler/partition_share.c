#include "scheduler/partition_queue.h"
#include "scheduler/partition_reclaim.h"
#include "scheduler/partition_ticket.h"
#include "scheduler/partition_turn.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tree ---- */

static uint32_t share_hash(const struct sch_queue_key *key, enum sch_share_level level,
                           const struct sch_share *parent)
{
    uint64_t hash = sch_hash_bytes(key->project, strlen(key->project), level);
    hash = sch_hash_bytes(key->domain, strlen(key->domain), hash);
    hash = sch_hash_bytes(key->name, strlen(key->name), hash);
    return sch_hash_u64(hash, level == SCH_SHARE_TENANT && parent ? parent->id : 0);
}

/* A tenant's is one of its queue. */
static uint32_t tag_of(const struct sch_queue_key *key, enum sch_share_level level)
{
    uint32_t hash = share_hash(key, level, NULL);
    return hash > 0 ? hash : 1;
}

uint32_t sch_share_tag(const struct sch_share *queue)
{
    SY_ASSERT(queue->level == SCH_SHARE_QUEUE && queue->tag != 0);
    return queue->tag;
}

void sch_share_stand(const struct sch_share *tenant, struct sch_share_standing *ret)
{
    SY_ASSERT(tenant->level == SCH_SHARE_TENANT);
    ret->path.depth = 0;
    for (const struct sch_share *at = tenant; at->parent; at = at->parent)
        ret->path.depth++;
    SY_ASSERT(ret->path.depth <= SCH_SHARE_DEPTH_MAX);
    const struct sch_share *at = tenant;
    for (uint32_t i = ret->path.depth; i > 0; i--, at = at->parent) {
        ret->path.tags[i - 1] = at->tag;
        ret->weights[i - 1] = at->weight;
    }
}

static bool keys_equal(const struct sch_queue_key *a, const struct sch_queue_key *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->domain, b->domain) == 0 &&
           strcmp(a->project, b->project) == 0;
}

static uint32_t below_hash(const struct sch_share *parent, uint32_t tag)
{
    return sch_hash_u64(tag, parent ? parent->id : 0);
}

void sch_share_set_parent(struct sch_partition *p, struct sch_share *share,
                          struct sch_share *parent)
{
    struct sch_share *old = share->parent;
    if (old)
        sch_table_remove(&p->shares_by_tag, &share->by_tag);
    share->parent = parent;
    sch_share_ref(parent);
    sch_table_add(&p->shares_by_tag, &share->by_tag, below_hash(parent, share->tag));
    if (old)
        sch_share_unref(p, old);
}

struct sch_share *sch_share_at(const struct sch_partition *p, const struct sch_share_path *place)
{
    struct sch_share *at = p->region;
    for (uint32_t i = 0; at && i < place->depth; i++) {
        const struct sch_share *parent = at;
        struct sch_table_link *link = sch_table_first(&p->shares_by_tag,
                                                      below_hash(parent, place->tags[i]));
        for (at = NULL; link && !at; link = sch_table_next(link)) {
            struct sch_share *share = sy_container_of(link, struct sch_share, by_tag);
            if (share->parent == parent && share->tag == place->tags[i])
                at = share;
        }
    }
    return at == p->region ? NULL : at;
}

/* `parent` tells tenants of one project and domain apart. */
static struct sch_share *share_find(const struct sch_partition *p, const struct sch_queue_key *key,
                                    enum sch_share_level level, const struct sch_share *parent)
{
    struct sch_table_link *link = sch_table_first(&p->shares_by_key,
                                                  share_hash(key, level, parent));
    for (; link; link = sch_table_next(link)) {
        struct sch_share *share = sy_container_of(link, struct sch_share, by_key);
        if (share->level == level && keys_equal(&share->key, key) &&
            (level != SCH_SHARE_TENANT || share->parent == parent))
            return share;
    }
    return NULL;
}

static struct sch_queue_key key_of(const char *project, const char *domain, const char *name)
{
    struct sch_queue_key key = {0};
    SY_ASSERT(strlen(project) < sizeof(key.project) && strlen(domain) < sizeof(key.domain));
    SY_ASSERT(strlen(name) < sizeof(key.name));
    memcpy(key.project, project, strlen(project));
    memcpy(key.domain, domain, strlen(domain));
    memcpy(key.name, name, strlen(name));
    return key;
}

static enum sch_share_level level_of(const struct sch_queue_key *key)
{
    return key->name[0]      ? SCH_SHARE_QUEUE
           : key->domain[0]  ? SCH_SHARE_DOMAIN
           : key->project[0] ? SCH_SHARE_PROJECT
                             : SCH_SHARE_REGION;
}

static struct sch_share *share_new(struct sch_partition *p, const struct sch_queue_key *key,
                                   enum sch_share_level level, struct sch_share *parent)
{
    struct sch_share *share = sy_new(struct sch_share);
    share->key = *key;
    share->level = level;
    share->id = ++p->last_share_id;
    share->tag = tag_of(key, level);
    share->weight = SCH_QUEUE_WEIGHT_DEFAULT;
    share->queued_timeout_ns = SY_TIME_NEVER;
    share->front.share = share;
    sch_list_init(&share->seats);
    share->moves_at = &share->seats;
    sch_list_init(&share->elsewheres);
    sch_list_push_back(&p->shares, &share->link);
    sch_round_add(&p->weighing, &share->weighing);
    sch_table_add(&p->shares_by_key, &share->by_key, share_hash(key, level, parent));
    if (parent)
        sch_share_set_parent(p, share, parent);
    return share;
}

struct sch_share *sch_share_parent_of(struct sch_partition *p, const struct sch_queue_key *key,
                                      const struct sch_queue_config *config)
{
    struct sch_queue_key above = *key;
    memset(above.name, 0, sizeof(above.name));
    if (config && config->parent[0])
        memcpy(above.name, config->parent, sizeof(above.name));
    else if (!key->name[0] && key->domain[0])
        memset(above.domain, 0, sizeof(above.domain));
    else if (!key->name[0])
        return p->region;
    return sch_share_get(p, &above);
}

struct sch_share *sch_share_get(struct sch_partition *p, const struct sch_queue_key *key)
{
    enum sch_share_level level = level_of(key);
    if (level == SCH_SHARE_REGION)
        return p->region;
    struct sch_share *share = share_find(p, key, level, NULL);
    return share ? share : share_new(p, key, level, sch_share_parent_of(p, key, NULL));
}

void sch_share_ref(struct sch_share *share)
{
    SY_ASSERT(share->refs < UINT32_MAX);
    share->refs++;
}

/* Up the tree, as far as nobody needs it. */
void sch_share_unref(struct sch_partition *p, struct sch_share *share)
{
    while (share) {
        SY_ASSERT(share->refs > 0);
        if (--share->refs > 0)
            return;
        struct sch_share *parent = share->parent;
        sch_ticket_free(p, share);
        if (sch_link_in_list(&share->preemptible))
            sch_list_remove(&share->preemptible);
        if (sch_link_in_list(&share->misplaced))
            sch_list_remove(&share->misplaced);
        if (sch_link_in_list(&share->moving))
            sch_list_remove(&share->moving);
        SY_ASSERT(!share->config && share->live == 0 && share->use.actions == 0);
        SY_ASSERT(sch_list_empty(&share->seats) && sch_list_empty(&share->elsewheres));
        if (parent)
            sch_table_remove(&p->shares_by_tag, &share->by_tag);
        sch_turn_free(share);
        if (share->rule)
            sch_rule_unref(p, share->rule);
        sch_table_remove(&p->shares_by_key, &share->by_key);
        sch_list_remove(&share->link);
        sch_list_remove(&share->weighing);
        free(share);
        share = parent;
    }
}

/* ---- the tenant that was looked for last: most often the next one too ---- */

static bool is_last(const struct sch_partition *p, const char *project, const char *domain,
                    const char *name, bool unnamed)
{
    const struct sch_share *last = p->last_tenant;
    return last && p->last_unnamed == unnamed && strcmp(last->parent->key.name, name) == 0 &&
           strcmp(last->key.domain, domain) == 0 && strcmp(last->key.project, project) == 0;
}

static void remember(struct sch_partition *p, struct sch_share *tenant, bool unnamed)
{
    struct sch_share *before = p->last_tenant;
    if (tenant)
        sch_share_ref(tenant);
    p->last_tenant = tenant;
    p->last_unnamed = unnamed;
    if (before)
        sch_share_unref(p, before);
}

void sch_shares_forget_last(struct sch_partition *p)
{
    remember(p, NULL, false);
}

/* ---- set-up ---- */

void sch_shares_init(struct sch_partition *p)
{
    static const struct sch_queue_key region = {0};
    sch_list_init(&p->shares);
    sch_round_init(&p->weighing);
    sch_list_init(&p->misplaced);
    sch_list_init(&p->moving);
    sch_list_init(&p->moved);
    p->region = share_new(p, &region, SCH_SHARE_REGION, NULL);
    sch_share_ref(p->region);
}

void sch_shares_deinit(struct sch_partition *p)
{
    remember(p, NULL, false);
    for (struct sch_link *link = p->shares.prev; link != &p->shares;) {
        struct sch_share *share = sy_container_of(link, struct sch_share, link);
        link = link->prev;
        if (!share->config)
            continue;
        free(sy_take(share->config));
        sch_share_unref(p, share);
        link = p->shares.prev; /* it may have taken others along */
    }
    SY_ASSERT(p->region->refs == 1);
    sch_share_unref(p, sy_take(p->region));
    SY_ASSERT(sch_list_empty(&p->shares));
}

struct sch_share *sch_share_find(struct sch_partition *p, const struct sch_queue_key *key)
{
    return share_find(p, key, level_of(key), NULL);
}

/* ---- finding ---- */

static void say_which(struct sch_partition *p, const char *project, const char *domain,
                      const char *queue)
{
    sy_error_text_set(&p->misses, "no queue '%s' in %s/%s, its project or the region", queue,
                      project, domain);
    unsigned named = 0;
    for (struct sch_link *link = p->shares.next; link != &p->shares && named < 8;
         link = link->next) {
        const struct sch_share *share = sy_container_of(link, struct sch_share, link);
        const struct sch_queue_key *key = &share->key;
        bool here = (!key->project[0] || strcmp(key->project, project) == 0) &&
                    (!key->domain[0] || strcmp(key->domain, domain) == 0);
        if (share->level == SCH_SHARE_QUEUE && share->config && here)
            sy_error_text_add(&p->misses, "%s%s", named++ == 0 ? "there are " : "", key->name);
    }
}

static struct sch_share *tenant_of(struct sch_partition *p, struct sch_share *share,
                                   const char *project, const char *domain)
{
    struct sch_queue_key key = key_of(project, domain, "");
    struct sch_share *tenant = share_find(p, &key, SCH_SHARE_TENANT, share);
    if (!tenant) {
        tenant = share_new(p, &key, SCH_SHARE_TENANT, share);
        sch_tenant_gather(p, tenant);
    }
    return tenant;
}

static struct sch_share *find_tenant(struct sch_partition *p, const char *project,
                                     const char *domain, const char *name, bool unnamed, bool make)
{
    struct sch_queue_key own = key_of(project, domain, name),
                         wide[] = {key_of(project, "", name), key_of("", "", name)};
    struct sch_share *share = share_find(p, &own, SCH_SHARE_QUEUE, NULL);
    bool any = make || unnamed || strcmp(name, SCH_QUEUE_DEFAULT) == 0;
    if (share && !share->config && !any)
        share = NULL; /* it was removed; the last of it is still there */
    for (unsigned i = 0; !share && !unnamed && i < SY_COUNT_OF(wide); i++) {
        share = share_find(p, &wide[i], SCH_SHARE_QUEUE, NULL);
        if (share && !share->config)
            share = NULL;
    }
    if (!share && !any) {
        say_which(p, project, domain, name);
        return NULL;
    }
    if (!share)
        share = sch_share_get(p, &own);
    return tenant_of(p, share, project, domain);
}

struct sch_share *sch_share_find_tenant(struct sch_partition *p, const char *project,
                                        const char *domain, const char *queue, bool make)
{
    bool unnamed = !queue || !queue[0];
    const char *name = unnamed ? SCH_QUEUE_DEFAULT : queue;
    if (!is_last(p, project, domain, name, unnamed)) {
        struct sch_share *tenant = find_tenant(p, project, domain, name, unnamed, make);
        if (!tenant)
            return NULL;
        remember(p, tenant, unnamed);
    }
    sch_share_ref(p->last_tenant);
    return p->last_tenant;
}

struct sch_share *sch_share_restore_tenant(struct sch_partition *p, const char *project,
                                           const char *domain, const char *queue,
                                           enum sch_queue_reach reach)
{
    SY_ASSERT(reach < SCH_REACHES);
    if (reach == SCH_REACH_NEAREST || !queue || !queue[0])
        return sch_share_find_tenant(p, project, domain, queue, true);
    struct sch_queue_key key = key_of(reach == SCH_REACH_REGION ? "" : project,
                                      reach == SCH_REACH_DOMAIN ? domain : "", queue);
    struct sch_share *tenant = tenant_of(p, sch_share_get(p, &key), project, domain);
    sch_share_ref(tenant);
    return tenant;
}

/* ---- what is out ---- */

static struct sch_use with_elsewhere(const struct sch_share *share, const struct sch_use *use,
                                     enum sch_scope scope)
{
    struct sch_use all = *use;
    if (scope == SCH_SCOPE_REGION)
        sch_use_add(&all, &share->elsewhere);
    return all;
}

static double weighted_share(const struct sch_partition *p, const struct sch_share *share,
                             const struct sch_use *use, enum sch_scope scope)
{
    struct sch_use all = with_elsewhere(share, use, scope);
    return sch_dominant_share(&all, &p->capacity) * SCH_QUEUE_WEIGHT_DEFAULT / share->weight;
}

static uint32_t weigh(const struct sch_partition *p, const struct sch_share *share,
                      const struct sch_use *use, enum sch_scope scope)
{
    struct sch_use all = with_elsewhere(share, use, scope);
    return sch_share_bits(sch_dominant_share(&all, &p->capacity), share->weight);
}

uint32_t sch_share_weigh(const struct sch_partition *p, const struct sch_share *share,
                         const struct sch_use *use)
{
    return weigh(p, share, use, SCH_SCOPE_REGION);
}

void sch_share_reweigh(struct sch_partition *p, struct sch_share *share)
{
    uint32_t bits = sch_share_weigh(p, share, &share->use);
    if (bits == share->weighted_share)
        return;
    share->weighted_share = bits;
    sch_turn_weigh(share);
    sch_share_move(p, share);
}

static void add_use(struct sch_use *use, const struct sch_use *one, bool more)
{
    if (more)
        sch_use_add(use, one);
    else
        sch_use_subtract(use, one);
}

static uint64_t less(uint64_t used, uint64_t by)
{
    return used > by ? used - by : 0;
}

/* What it has. */
static struct sch_use held_by(const struct sch_share *share)
{
    struct sch_use use = share->use;
    add_use(&use, &share->waits, false);
    return use;
}

double sch_share_with(const struct sch_partition *p, const struct sch_share *share,
                      const struct sch_use *more, enum sch_scope scope)
{
    struct sch_use use = held_by(share);
    add_use(&use, more, true);
    return weighted_share(p, share, &use, scope);
}

static struct sch_use without(const struct sch_use *use, const struct sch_use *gone)
{
    return (struct sch_use){
        less(use->actions, gone->actions), less(use->cpu_milli, gone->cpu_milli),
        less(use->memory_bytes, gone->memory_bytes), less(use->gpu_milli, gone->gpu_milli)};
}

double sch_share_without(const struct sch_partition *p, const struct sch_share *share,
                         const struct sch_use *gone, enum sch_scope scope)
{
    struct sch_use held = held_by(share), use = without(&held, gone);
    return weighted_share(p, share, &use, scope);
}

bool sch_share_is_before(const struct sch_partition *p, const struct sch_share *share,
                         const struct sch_share *other, const struct sch_use *gone,
                         enum sch_scope scope)
{
    struct sch_use use = without(&other->use, gone);
    return weigh(p, share, &share->use, scope) < weigh(p, other, &use, scope);
}

/* Less than this may go, so that `part` of the capacity stays; 0: nothing may. */
static uint64_t beyond(uint64_t used, double capacity, double part)
{
    double keep = ceil(capacity * part);
    return (double)used >= keep ? used - (uint64_t)keep + 1 : 0;
}

struct sch_use sch_share_beyond(const struct sch_partition *p, const struct sch_share *share,
                                double weighted, enum sch_scope scope)
{
    double part = weighted * share->weight / SCH_QUEUE_WEIGHT_DEFAULT;
    const struct sch_use *capacity = &p->capacity;
    struct sch_use held = held_by(share), use = with_elsewhere(share, &held, scope);
    SY_ASSERT(weighted >= 0);
    return (struct sch_use){beyond(use.actions, SCH_SHARE_PLACES, part),
                            beyond(use.cpu_milli, (double)capacity->cpu_milli, part),
                            beyond(use.memory_bytes, (double)capacity->memory_bytes, part),
                            beyond(use.gpu_milli, (double)capacity->gpu_milli, part)};
}

void sch_share_wait(struct sch_share *tenant, const struct sch_resources *request, uint32_t count,
                    bool more)
{
    struct sch_use all = sch_use_times(request, count);
    SY_ASSERT(tenant->level == SCH_SHARE_TENANT && count > 0);
    for (struct sch_share *at = tenant; at; at = at->parent)
        add_use(&at->waits, &all, more);
}

void sch_share_use(struct sch_partition *p, struct sch_share *tenant,
                   const struct sch_resources *request, bool more)
{
    struct sch_use one = sch_use_of(request);
    SY_ASSERT(tenant->level == SCH_SHARE_TENANT);
    for (struct sch_share *at = tenant; at; at = at->parent) {
        add_use(&at->use, &one, more);
        if (at->yields)
            sch_share_list_preemptible(p, at);
        sch_share_reweigh(p, at);
        if (!more)
            sch_stops_open(p, at);
        if (at->bounded)
            sch_ticket_touch(p, at);
    }
}

void sch_shares_weigh(struct sch_partition *p)
{
    while (!sch_list_empty(&p->weighing.todo) && sch_may_look(p))
        sch_share_reweigh(
            p, sy_container_of(sch_round_next(&p->weighing), struct sch_share, weighing));
}

struct sch_use sch_share_limits(const struct sch_share *share)
{
    const struct sch_queue_config *config = share->config;
    if (!config)
        return (struct sch_use){0};
    return (struct sch_use){.actions = config->actions_max,
                            .cpu_milli = config->cpu_milli_max,
                            .memory_bytes = config->memory_bytes_max,
                            .gpu_milli = (uint64_t)config->gpus_max * SCH_GPU_MILLI};
}

bool sch_share_takes(const struct sch_share *share, const struct sch_use *more)
{
    if (!share->bounded)
        return true;
    struct sch_use limits = sch_share_limits(share);
    return !share->config->paused && sch_use_fits(&share->use, more, &limits) &&
           (!share->ticket || sch_ticket_admits(share->ticket, more));
}

bool sch_share_admits(const struct sch_share *share, const struct sch_resources *request,
                      uint32_t count)
{
    if (!share->bounded)
        return true;
    struct sch_use all = sch_use_times(request, count);
    return sch_share_takes(share, &all);
}

/* ---- what is there ---- */

void sch_share_count(struct sch_partition *p, struct sch_share *tenant, int delta)
{
    SY_ASSERT(tenant->level == SCH_SHARE_TENANT && (delta == 1 || delta == -1));
    for (struct sch_share *at = tenant; at; at = at->parent) {
        SY_ASSERT(delta > 0 || at->live > at->use.actions);
        at->live += (uint64_t)(int64_t)delta;
        p->emptied |= at->live == 0;
    }
}

void sch_share_urge(struct sch_share *tenant, int32_t priority)
{
    for (struct sch_share *at = tenant; at; at = at->parent) {
        SY_ASSERT(at->live > 0);
        at->urgency = at->live > 1 && at->urgency > priority ? at->urgency : priority;
    }
}

bool sch_share_has_length(struct sch_partition *p, const struct sch_share *tenant, uint32_t count)
{
    for (const struct sch_share *at = tenant; at; at = at->parent) {
        if (!at->config || at->config->length_max == 0 ||
            at->live - at->use.actions + count <= at->config->length_max)
            continue;
        struct sy_error_text name = {0};
        sch_queue_key_print(&at->key, &name);
        sy_error_text_set(&p->misses, "queue %s is full: %" PRIu64 " actions wait there", name.text,
                          at->live - at->use.actions);
        return false;
    }
    return true;
}

/* ---- reading ---- */

void sch_partition_each_queue(const struct sch_partition *p,
                              bool (*fn)(void *ctx, const struct sch_queue_view *view), void *ctx)
{
    SY_ASSERT(fn);
    for (struct sch_link *link = p->shares.next; link != &p->shares; link = link->next) {
        const struct sch_share *share = sy_container_of(link, struct sch_share, link);
        if (share->level == SCH_SHARE_TENANT)
            continue;
        struct sch_queue_config fallback = sch_queue_config_default(&share->key);
        struct sch_queue_view view = {
            .config = share->config ? share->config : &fallback,
            .configured = share->config != NULL,
            .actions = share->live,
            .out = share->use.actions,
            .cpu_milli = share->use.cpu_milli,
            .memory_bytes = share->use.memory_bytes,
            .gpu_milli = share->use.gpu_milli,
            .share = sch_dominant_share(&share->use, &p->capacity),
        };
        if (!fn(ctx, &view))
            return;
    }
}

const struct sch_queue_key *sch_action_queue(const struct sch_action *action)
{
    const struct sch_action_impl *a = sch_action_impl_const(action);
    return a->lane ? &a->lane->seat.share->parent->key : NULL;
}
