/*
 * Where work may run, as the auditor of test_sch_random.c sees it: what people have configured,
 * what nodes are, what each partition was told of each cluster. From docs/scheduling.md ("Which
 * cluster", "When no cluster is left") and docs/nodes.md; nothing of it asks the cores. Part of
 * test_sch_model.h.
 */
#pragma once

static const char *const cluster_regions[CLUSTERS] = {"eu", "us"};
static const int64_t cluster_prices[CLUSTERS] = {100, 200};

/* ---- what nodes are ---- */

struct model_node {
    struct sch_resources capacity;
    struct sch_traits traits;
    uint32_t slots; /* of environment "pool" */
};

/* n1 has GPUs, n2 is elsewhere and, in some worlds, may be taken away. */
static struct model_node node_of(const struct world *w, size_t n)
{
    static const char spot[] = SCH_LABEL_SPOT;
    struct model_node node = {.capacity = {.cpu_milli = CORES * 1000},
                              .traits = {.labels = "rack=a,zone=z"},
                              .slots = n > 0 ? 2 : 0};
    if (n == 1) {
        node.capacity.gpus = GPUS;
        node.traits.gpus_shared = 1;
    }
    if (n == 2)
        node.traits = (struct sch_traits){.labels = "rack=b"};
    if (n == 2 && w->spot)
        memcpy(node.traits.taints, spot, sizeof(spot));
    return node;
}

/* Whether each of `wanted` is one of `there`: both with commas. Asked at each event: no printf. */
static bool texts_have(const char *there, const char *wanted)
{
    size_t length = strcspn(wanted, ","), of;
    if (length == 0)
        return true;
    for (const char *one = there; *one; one += of + (one[of] == ',')) {
        of = strcspn(one, ",");
        if (of == length && memcmp(one, wanted, length) == 0)
            return texts_have(there, wanted + length + (wanted[length] == ','));
    }
    return false;
}

/* Empty, and whatever it is short of now. */
static bool could_hold(const struct sch_resources *capacity, const struct sch_traits *traits,
                       uint32_t slots, const struct sch_resources *request, bool spot)
{
    bool gpus = request->gpu_milli == 0 || (capacity->gpus > 0 && traits->gpus_shared);
    return request->cpu_milli <= capacity->cpu_milli && request->gpus <= capacity->gpus && gpus &&
           (!request->environment[0] || slots > 0) && texts_have(traits->labels, request->labels) &&
           texts_have(spot ? SCH_LABEL_SPOT : request->tolerations, traits->taints);
}

/* ---- what people have configured ---- */

/* As a queue, or the level above them, is while nobody changes it. */
static struct sch_queue_config config_of(const struct world *w, size_t i)
{
    struct sch_queue_key key = {.project = "p"};
    if (i < LEVEL) {
        snprintf(key.domain, sizeof(key.domain), "d");
        snprintf(key.name, sizeof(key.name), "%s", queue_names[i]);
    }
    struct sch_queue_config config = sch_queue_config_default(&key);
    config.preemptible_nodes = w->spot;
    if (i == LEVEL)
        return config;
    config.preemptible = i < 2;
    config.priority = i < 2 ? 0 : 2;
    if (w->strict && strcmp(key.name, SCH_QUEUE_DEFAULT) != 0)
        config.infeasible = SCH_INFEASIBLE_HOLD;
    config.policy = w->policy;
    config.preferred_count = w->prefers;
    snprintf(config.preferred[0], SCH_QUEUE_NAME_MAX, "%s", cluster_names[1]);
    return config;
}

/* Somebody changes where its work may run. */
static struct sch_queue_config any_config(struct world *w)
{
    size_t i = sy_rng_below(&w->rng, LEVEL + 1), c = sy_rng_below(&w->rng, CLUSTERS);
    struct sch_queue_config config = config_of(w, i);
    if (sy_rng_chance(&w->rng, 1, 3)) {
        config.cluster_count = 1;
        config.preferred_count = 0;
        snprintf(config.clusters[0], SCH_QUEUE_NAME_MAX, "%s", cluster_names[c]);
    }
    c = sy_rng_below(&w->rng, CLUSTERS);
    config.region_count = sy_rng_chance(&w->rng, 1, 3);
    snprintf(config.regions[0], SCH_QUEUE_NAME_MAX, "%s", cluster_regions[c]);
    if (sy_rng_chance(&w->rng, 1, 3))
        config.price_max = 100 * (int64_t)sy_rng_below(&w->rng, 3);
    config.preemptible_nodes = sy_rng_chance(&w->rng, 1, 2);
    return config;
}

static const struct sch_queue_config *level_of(const struct site *site, size_t queue, unsigned up)
{
    return up == 0 ? &site->configs[queue] : &site->configs[LEVEL];
}

static bool tolerates_spot(const struct site *site, size_t queue)
{
    return level_of(site, queue, 0)->preemptible_nodes ||
           level_of(site, queue, 1)->preemptible_nodes;
}

/* What no level says the options of the partition say. */
static bool ends_infeasible(const struct world *w, const struct site *site, size_t queue)
{
    enum sch_infeasible own = level_of(site, queue, 0)->infeasible;
    enum sch_infeasible above = level_of(site, queue, 1)->infeasible;
    own = own == SCH_INFEASIBLE_INHERIT ? above : own;
    return own == SCH_INFEASIBLE_INHERIT ? w->strict : own == SCH_INFEASIBLE_FAIL;
}

/* The nearest level's clusters, all levels' regions, the lowest price. Of a cluster that is not
 * back after a restart no more is `known` than its name. */
static bool permits(const struct site *site, size_t queue, size_t c, bool known)
{
    bool clusters_known = false, all = true;
    for (unsigned up = 0; up < 2; up++) {
        const struct sch_queue_config *config = level_of(site, queue, up);
        bool named = false, in_region = config->region_count == 0;
        for (uint32_t i = 0; i < config->cluster_count; i++)
            named |= strcmp(config->clusters[i], cluster_names[c]) == 0;
        for (uint32_t i = 0; i < config->region_count; i++)
            in_region |= strcmp(config->regions[i], cluster_regions[c]) == 0;
        all &= clusters_known || config->cluster_count == 0 || named;
        all &= !known || in_region;
        all &= !known || config->price_max == 0 || cluster_prices[c] <= config->price_max;
        clusters_known |= config->cluster_count > 0;
    }
    return all;
}

/* ---- what a partition was told ---- */

static void see_stream(struct site *site, size_t c, enum sight_state state)
{
    site->sights[c].state = state;
    site->sights[c].since_ns = site->last_ns;
    site->sights[c].since_awake_ns = site->awake_ns;
}

/* Shapes hold until others come, through a loss of the stream too. */
static void see_cluster(struct site *site, const struct sch_event *event)
{
    size_t c = cluster_index(event->u.cluster.name);
    struct sight *sight = &site->sights[c];
    bool open = sight->state == SIGHT_JOINING || sight->state == SIGHT_READY;
    if (event->type == SCH_EVENT_CLUSTER_UP) {
        sight->shape_count = event->u.cluster.shape_count;
        memcpy(sight->shapes, event->u.cluster.shapes,
               sight->shape_count * sizeof(sight->shapes[0]));
        if (!open)
            see_stream(site, c, SIGHT_JOINING);
    } else if (event->type == SCH_EVENT_CLUSTER_DOWN && open) {
        see_stream(site, c, SIGHT_CLOSED);
    } else if (event->type == SCH_EVENT_INVENTORY_COMPLETE && sight->state == SIGHT_JOINING) {
        see_stream(site, c, SIGHT_READY);
    }
}

static void see_queue(struct site *site, const struct sch_queue_config *config)
{
    size_t i = 0;
    while (i < LEVEL && strcmp(config->key.name, queue_names[i]) != 0)
        i++;
    site->configs[i] = *config;
    site->changed_awake_ns = site->awake_ns;
}

static bool told_fits(const struct sight *sight, const struct sch_resources *request, bool spot)
{
    bool fits = sight->shape_count == 0; /* no nodes: it may have any */
    for (size_t i = 0; i < sight->shape_count; i++) {
        const struct sch_shape *shape = &sight->shapes[i];
        uint32_t slots = shape->environment_count > 0 ? shape->environments[0].slots : 0;
        fits |= could_hold(&shape->capacity, &shape->traits, slots, request, spot);
    }
    return fits;
}

/* Whether the cluster is there, or counts as there until its lease is over, or it is not known yet.
 * `at_most`: for as long as that can take, when the partition stood still in between. */
static bool is_there(const struct site *site, const struct sight *sight, bool at_most)
{
    int64_t gone_ns = site->last_ns - sight->since_ns,
            gone_awake_ns = site->awake_ns - sight->since_awake_ns;
    int64_t lease_ns = sight->state == SIGHT_UNKNOWN ? RECOVERY_NS : LEASE_NS;
    if (sight->state == SIGHT_JOINING || sight->state == SIGHT_READY)
        return true;
    return at_most ? gone_awake_ns < 2 * lease_ns + SY_NS_PER_S : gone_ns < lease_ns;
}

/* Under the queue's rules, on the nodes that it told of. */
static bool fits_there(const struct site *site, size_t queue, size_t c,
                       const struct sch_resources *request)
{
    const struct sight *sight = &site->sights[c];
    bool unknown = sight->state == SIGHT_UNKNOWN;
    return permits(site, queue, c, !unknown) &&
           (unknown || sight->state == SIGHT_JOINING ||
            told_fits(sight, request, tolerates_spot(site, queue)));
}

static bool could_run(const struct site *site, size_t queue, size_t c,
                      const struct sch_resources *request, bool at_most)
{
    return is_there(site, &site->sights[c], at_most) && fits_there(site, queue, c, request);
}

/* Asked at each event, and other only after few of them. */
static void see_fits(struct world *w, size_t p)
{
    struct site *site = &w->sites[p];
    for (size_t q = 0; q < QUEUES; q++) {
        for (size_t s = 0; s < SPECS; s++) {
            for (size_t c = 0; c < CLUSTERS; c++)
                site->fits[q][s][c] = fits_there(site, q, c, &w->specs[p][s].request);
        }
    }
    site->fits_known = true;
}

static void see_able(struct world *w, size_t p)
{
    struct site *site = &w->sites[p];
    if (!site->fits_known)
        see_fits(w, p);
    for (size_t c = 0; c < CLUSTERS; c++) {
        bool there = is_there(site, &site->sights[c], false);
        bool at_most = is_there(site, &site->sights[c], true);
        for (size_t q = 0; q < QUEUES; q++) {
            for (size_t s = 0; s < SPECS; s++) {
                if (there && site->fits[q][s][c])
                    site->able_ns[q][s] = w->now;
                if (at_most && site->fits[q][s][c])
                    site->able_awake_ns[q][s] = site->awake_ns;
            }
        }
    }
}

/* An event that comes now: what it changes held until now. */
static void see(struct world *w, size_t p, const struct sch_event *event)
{
    struct site *site = &w->sites[p];
    int64_t gap_ns = w->now - site->last_ns;
    site->awake_ns += gap_ns < SY_NS_PER_S ? gap_ns : 0;
    site->last_ns = w->now;
    see_able(w, p);
    if (event->type == SCH_EVENT_QUEUE)
        see_queue(site, event->u.queue.config);
    else if (event->type == SCH_EVENT_CLUSTER_UP || event->type == SCH_EVENT_CLUSTER_DOWN ||
             event->type == SCH_EVENT_INVENTORY_COMPLETE)
        see_cluster(site, event);
    else
        return;
    site->fits_known = false;
    see_able(w, p);
}

/* A new epoch knows nothing yet. */
static void see_nothing(struct world *w, size_t p)
{
    struct site *site = &w->sites[p];
    memset(site->sights, 0, sizeof(site->sights));
    site->fits_known = false;
    site->last_ns = w->now;
    site->changed_awake_ns = site->awake_ns;
    for (size_t c = 0; c < CLUSTERS; c++)
        see_stream(site, c, SIGHT_UNKNOWN);
}

/* ---- the promises ---- */

/* Not of gangs: their size counts too. */
static void audit_infeasible(const struct world *w, const struct site *site, const struct row *row)
{
    bool strict = ends_infeasible(w, site, row->queue), unchecked = row->id >> 40 == site->epoch;
    const struct sch_resources *request = &w->specs[site - w->sites][row->spec].request;
    ck_assert(strict || unchecked);
    if (row->gang.size > 0)
        return;
    for (size_t c = 0; c < CLUSTERS; c++)
        ck_assert(!could_run(site, row->queue, c, request, false));
    ck_assert(unchecked || site->able_ns[row->queue][row->spec] + GRACE_NS <= w->now);
}

/* A queue that does not hold what nobody can run ends it, a little after the grace. */
static void audit_overdue(const struct world *w, size_t p)
{
    const struct site *site = &w->sites[p];
    for (size_t i = 0; i < site->row_count; i++) {
        const struct row *row = &site->rows[i];
        if (!row->live || row->spec == SPECS || row->gang.size > 0 ||
            !ends_infeasible(w, site, row->queue))
            continue;
        int64_t since_ns = site->able_awake_ns[row->queue][row->spec];
        since_ns = since_ns > site->changed_awake_ns ? since_ns : site->changed_awake_ns;
        if (site->awake_ns - since_ns <= 2 * GRACE_NS)
            continue;
        const struct sch_action *a = sch_partition_find_action_by_id(site->core, row->id);
        ck_assert_msg(a->sm.state != SCH_ACTION_QUEUED, "%s waits for nothing", row->name);
    }
}

/* Refused is what no cluster could run, and when all are known also the reverse. */
static void audit_admission(const struct world *w, size_t p, const char *queue,
                            const struct sch_spec *spec, bool instant)
{
    const struct site *site = &w->sites[p];
    bool refused = false, created = false, able = false, all_known = true;
    size_t q = 0;
    while (strcmp(queue_names[q], queue) != 0)
        q++;
    for (size_t i = 0; i < w->fx.count; i++) {
        refused |= w->fx.items[i].type == SCH_EFFECT_REJECTED &&
                   w->fx.items[i].u.rejected.why == SCH_REJECT_INFEASIBLE;
        created |= w->fx.items[i].type == SCH_EFFECT_CREATED;
    }
    for (size_t c = 0; c < CLUSTERS; c++) {
        able |= could_run(site, q, c, &spec->request, false);
        all_known &= site->sights[c].state == SIGHT_READY && site->sights[c].shape_count > 0;
    }
    if (refused && able)
        for (size_t c = 0; c < CLUSTERS; c++)
            fprintf(stderr,
                    "queue %s spec %d cluster %zu state %d shapes %zu able %d permits %d there %d: "
                    "%s\n",
                    queue, (int)(spec - w->specs[p]), c, site->sights[c].state,
                    site->sights[c].shape_count, could_run(site, q, c, &spec->request, false),
                    permits(site, q, c, true), is_there(site, &site->sights[c], false),
                    w->fx.items[0].u.rejected.text);
    ck_assert(!refused || !able);
    ck_assert(!created || !all_known || able || spec->group || instant);
}

static void audit_where(const struct site *site, const struct row *row, size_t c)
{
    ck_assert_msg(permits(site, row->queue, c, true), "%s: %s is not for %s", row->name,
                  cluster_names[c], queue_names[row->queue]);
}
