#include "tools/src/sim_share.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_QUEUE UINT32_MAX
#define LEVEL_NAME_MAX (4 * SCH_QUEUE_NAME_MAX)

struct level {
    char name[LEVEL_NAME_MAX]; /* unique */
    struct level *parent;
    double weight, demand, entitled;
    uint32_t queue; /* of the trace: a leaf; else NO_QUEUE */
    bool served;    /* its part is settled */
};

struct sim_shares {
    struct level **levels; /* above before below; [0] is the region */
    size_t count;
};

static struct level *add_level(struct sim_shares *shares, struct level *parent, const char *name,
                               const struct sch_queue_config *config)
{
    for (size_t i = 0; i < shares->count; i++) {
        if (strcmp(shares->levels[i]->name, name) == 0)
            return shares->levels[i];
    }
    struct level *level = sy_new(struct level);
    snprintf(level->name, sizeof(level->name), "%s", name);
    level->parent = parent;
    level->queue = NO_QUEUE;
    level->weight = config ? config->weight : SCH_QUEUE_WEIGHT_DEFAULT;
    shares->levels = sy_realloc(shares->levels, (shares->count + 1) * sizeof(struct level *));
    shares->levels[shares->count++] = level;
    return level;
}

/* "" for what has no project or no domain: the level above is the right one. */
static struct level *tenancy_level(struct sim_shares *shares, const struct sim_region *region,
                                   const char *project, const char *domain)
{
    char name[LEVEL_NAME_MAX];
    struct level *level = shares->levels[0];
    if (!project[0])
        return level;
    level = add_level(shares, level, project, sim_region_find(region, project, "", ""));
    if (!domain[0])
        return level;
    snprintf(name, sizeof(name), "%s/%s", project, domain);
    return add_level(shares, level, name, sim_region_find(region, project, domain, ""));
}

static struct level *queue_level(struct sim_shares *shares, const struct sim_region *region,
                                 const struct sch_queue_config *config)
{
    char name[LEVEL_NAME_MAX];
    const struct sch_queue_key *key = &config->key;
    struct level *above = tenancy_level(shares, region, key->project, key->domain);
    if (config->parent[0])
        above = queue_level(shares, region,
                            sim_region_find(region, key->project, key->domain, config->parent));
    snprintf(name, sizeof(name), "%s/%s//%s", key->project, key->domain, key->name);
    return add_level(shares, above, name, config);
}

/* What one (project, domain) has in a queue: several under a queue share equally. */
static void add_leaf(struct sim_shares *shares, const struct sim_region *region,
                     const struct sim_trace *trace, uint32_t queue)
{
    char name[LEVEL_NAME_MAX];
    const struct sch_queue_key *key = &trace->queues[queue]->key;
    const struct sch_queue_config *config = sim_region_queue(region, key);
    struct sch_queue_config unconfigured = sch_queue_config_default(key);
    struct level *above = queue_level(shares, region, config ? config : &unconfigured);
    snprintf(name, sizeof(name), "///%u", queue);
    add_level(shares, above, name, NULL)->queue = queue;
}

struct sim_shares *sim_shares_new(const struct sim_region *region, const struct sim_trace *trace)
{
    struct sim_shares *shares = sy_new(struct sim_shares);
    add_level(shares, NULL, "", NULL);
    for (size_t i = 0; i < trace->queue_count; i++)
        add_leaf(shares, region, trace, (uint32_t)i);
    return shares;
}

void sim_shares_free(struct sim_shares *shares)
{
    for (size_t i = 0; i < shares->count; i++)
        free(shares->levels[i]);
    free(shares->levels);
    free(shares);
}

/* Those who ask for less than their part get what they ask for; the rest is divided again. */
static void divide(const struct sim_shares *shares, const struct level *parent)
{
    double left = parent->entitled, weights = 0;
    bool again = true;
    for (size_t i = 0; i < shares->count; i++) {
        struct level *level = shares->levels[i];
        level->served = level->parent != parent;
        weights += level->served ? 0 : level->weight;
    }
    while (again && weights > 0) {
        double part = left / weights;
        again = false;
        for (size_t i = 0; i < shares->count; i++) {
            struct level *level = shares->levels[i];
            if (level->served)
                continue;
            level->entitled = part * level->weight;
            if (level->demand > level->entitled)
                continue;
            level->entitled = level->demand;
            level->served = again = true;
            left -= level->demand;
            weights -= level->weight;
        }
        left = left > 0 ? left : 0;
    }
}

void sim_shares_entitle(struct sim_shares *shares, const double *demand, double total, double *ret)
{
    for (size_t i = 0; i < shares->count; i++) {
        struct level *level = shares->levels[i];
        level->demand = level->queue == NO_QUEUE ? 0 : demand[level->queue];
    }
    for (size_t i = shares->count - 1; i > 0; i--)
        shares->levels[i]->parent->demand += shares->levels[i]->demand;
    shares->levels[0]->entitled = total;
    for (size_t i = 0; i < shares->count; i++) {
        if (shares->levels[i]->queue == NO_QUEUE)
            divide(shares, shares->levels[i]);
        else
            ret[shares->levels[i]->queue] = shares->levels[i]->entitled;
    }
}
