#include "scheduler/queue.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

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

static int check_clusters(const struct sch_queue_config *config, struct sy_error_text *error)
{
    int r = 0;
    if (config->cluster_count > SCH_QUEUE_CLUSTERS_MAX) {
        sy_error_text_add(error, "clusters: %" PRIu32 " given, %u at most", config->cluster_count,
                          SCH_QUEUE_CLUSTERS_MAX);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < config->cluster_count; i++) {
        const char *name = config->clusters[i];
        if (!name[0] || check_name("cluster", name, error) < 0) {
            r = -EINVAL;
            continue;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(config->clusters[k], name) == 0) {
                sy_error_text_add(error, "cluster '%s' is named twice", name);
                r = -EINVAL;
            }
        }
    }
    return r;
}

int sch_queue_config_check(const struct sch_queue_config *config, struct sy_error_text *error)
{
    int r = check_key(config, error);
    r = check_clusters(config, error) < 0 ? -EINVAL : r;
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

void sch_queue_key_print(const struct sch_queue_key *key, struct sy_error_text *ret)
{
    sy_error_text_set(ret, "%s%s%s%s%s", key->project, key->domain[0] ? "/" : "", key->domain,
                      key->project[0] && key->name[0] ? "/" : "", key->name);
}

static const char *const policy_names[SCH_POLICIES] = {
    [SCH_POLICY_SPREAD] = "spread",
    [SCH_POLICY_PACK] = "pack",
    [SCH_POLICY_CHEAPEST] = "cheapest",
    [SCH_POLICY_FASTEST_START] = "fastest-start",
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
