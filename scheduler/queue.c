#include "scheduler/queue.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

size_t sch_queue_config_size(const struct sch_queue_config *config)
{
    SY_ASSERT(config->cluster_count <= SCH_QUEUE_CLUSTERS_MAX);
    if (config->cluster_count > 0)
        return offsetof(struct sch_queue_config, clusters) +
               config->cluster_count * sizeof(config->clusters[0]);
    if (config->region_count > 0)
        return offsetof(struct sch_queue_config, regions) +
               config->region_count * sizeof(config->regions[0]);
    return offsetof(struct sch_queue_config, preferred) +
           config->preferred_count * sizeof(config->preferred[0]);
}

struct sch_queue_config sch_queue_config_default(const struct sch_queue_key *key)
{
    return (struct sch_queue_config){.key = *key, .weight = SCH_QUEUE_WEIGHT_DEFAULT};
}

/* ---- names ---- */

static bool is_name(const char *name)
{
    size_t length = strnlen(name, SCH_QUEUE_NAME_MAX);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];
        if (!isalnum(c) && c != '-' && c != '_' && c != '.')
            return false;
    }
    return length < SCH_QUEUE_NAME_MAX;
}

static int check_name(const char *field, const char *name, struct sy_error_text *error)
{
    if (is_name(name))
        return 0;
    sy_error_text_add(error, "%s '%.*s': up to %u letters, digits, '-', '_' and '.' make a name",
                      field, (int)SCH_QUEUE_NAME_MAX, name, SCH_QUEUE_NAME_MAX - 1);
    return -EINVAL;
}

static int check_key(const struct sch_queue_config *config, struct sy_error_text *error)
{
    const struct sch_queue_key *key = &config->key;
    int r = check_name("project", key->project, error);
    r = check_name("domain", key->domain, error) < 0 ? -EINVAL : r;
    r = check_name("name", key->name, error) < 0 ? -EINVAL : r;
    r = check_name("parent", config->parent, error) < 0 ? -EINVAL : r;
    if (!key->project[0] && (key->domain[0] || !key->name[0])) {
        sy_error_text_add(error, "%s",
                          key->domain[0] ? "a domain is one of a project: name the project"
                                         : "a queue of the region has a name");
        r = -EINVAL;
    }
    if (config->parent[0] && (!key->name[0] || strcmp(config->parent, key->name) == 0)) {
        sy_error_text_add(error, "parent '%s': %s", config->parent,
                          key->name[0] ? "a queue is not above itself"
                                       : "only a queue has a parent");
        r = -EINVAL;
    }
    return r;
}

/* ---- values ---- */

bool sch_names_have(const char names[][SCH_QUEUE_NAME_MAX], uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static int check_names(const char *what, const char names[][SCH_QUEUE_NAME_MAX], uint32_t count,
                       uint32_t max, struct sy_error_text *error)
{
    int r = 0;
    if (count > max) {
        sy_error_text_add(error, "%ss: %" PRIu32 " given, %" PRIu32 " at most", what, count, max);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!names[i][0] || check_name(what, names[i], error) < 0) {
            r = -EINVAL;
        } else if (sch_names_have(names, i, names[i])) {
            sy_error_text_add(error, "%s '%s' is named twice", what, names[i]);
            r = -EINVAL;
        }
    }
    return r;
}

/* Where it may run, and would. */
static int check_places(const struct sch_queue_config *config, struct sy_error_text *error)
{
    int r = check_names("cluster", config->clusters, config->cluster_count, SCH_QUEUE_CLUSTERS_MAX,
                        error);
    int preferred = check_names("preferred cluster", config->preferred, config->preferred_count,
                                SCH_QUEUE_PREFERRED_MAX, error);
    int regions = check_names("region", config->regions, config->region_count,
                              SCH_QUEUE_REGIONS_MAX, error);
    if (r < 0 || preferred < 0 || regions < 0)
        return -EINVAL;
    for (uint32_t i = 0; config->cluster_count > 0 && i < config->preferred_count; i++) {
        if (sch_names_have(config->clusters, config->cluster_count, config->preferred[i]))
            continue;
        sy_error_text_add(error,
                          "preferred cluster '%s' is not one of the clusters that it may use",
                          config->preferred[i]);
        r = -EINVAL;
    }
    return r;
}

int sch_queue_config_check(const struct sch_queue_config *config, struct sy_error_text *error)
{
    int r = check_key(config, error);
    r = check_places(config, error) < 0 ? -EINVAL : r;
    if (config->weight == 0 || config->weight > SCH_QUEUE_WEIGHT_MAX) {
        sy_error_text_add(error, "weight %" PRIu32 ": 1 to %u (to stop a queue, pause it)",
                          config->weight, SCH_QUEUE_WEIGHT_MAX);
        r = -EINVAL;
    }
    if (config->priority < -SCH_QUEUE_PRIORITY_MAX || config->priority > SCH_QUEUE_PRIORITY_MAX) {
        sy_error_text_add(error, "priority %" PRId32 ": -%d to %d", config->priority,
                          SCH_QUEUE_PRIORITY_MAX, SCH_QUEUE_PRIORITY_MAX);
        r = -EINVAL;
    }
    if (config->queued_timeout_ns < 0 || config->price_max < 0) {
        sy_error_text_add(error, "%s: not below 0",
                          config->price_max < 0 ? "highest price" : "longest time queued");
        r = -EINVAL;
    }
    if (config->policy >= SCH_POLICIES) {
        sy_error_text_add(error, "policy %d is not known", (int)config->policy);
        r = -EINVAL;
    }
    if (config->infeasible >= SCH_INFEASIBLES) {
        sy_error_text_add(error, "infeasible %d: hold or fail", (int)config->infeasible);
        r = -EINVAL;
    }
    return r;
}

enum sch_queue_reach sch_queue_key_reach(const struct sch_queue_key *key)
{
    SY_ASSERT(key->name[0]);
    return key->domain[0]    ? SCH_REACH_DOMAIN
           : key->project[0] ? SCH_REACH_PROJECT
                             : SCH_REACH_REGION;
}

void sch_queue_key_print(const struct sch_queue_key *key, struct sy_error_text *ret)
{
    sy_error_text_set(ret, "%s%s%s%s%s", key->project, key->domain[0] ? "/" : "", key->domain,
                      key->project[0] && key->name[0] ? "/" : "", key->name);
}

static const char *const policy_names[SCH_POLICIES] = {
    [SCH_POLICY_SPREAD] = "spread",     [SCH_POLICY_PACK] = "pack",
    [SCH_POLICY_CHEAPEST] = "cheapest", [SCH_POLICY_FASTEST_START] = "fastest-start",
    [SCH_POLICY_LOCALITY] = "locality",
};

const char *sch_policy_name(enum sch_policy policy)
{
    SY_ASSERT(policy < SCH_POLICIES && policy_names[policy]);
    return policy_names[policy];
}

int sch_policy_parse(const char *name, enum sch_policy *ret)
{
    for (unsigned i = 0; i < SCH_POLICIES; i++) {
        if (strcmp(policy_names[i], name) == 0) {
            *ret = (enum sch_policy)i;
            return 0;
        }
    }
    return -EINVAL;
}
