#include "controlplane/queues.h"

#include <string.h>

/* Empty, or a name. */
static int read_name(char ret[SCH_QUEUE_NAME_MAX], const char *what, const char *name,
                     struct sy_error_text *error)
{
    if (name[0] != '\0' && cp_name_check(what, name, error) < 0)
        return -EINVAL;
    memcpy(ret, name, strlen(name) + 1);
    return 0;
}

static int read_names(char ret[][SCH_QUEUE_NAME_MAX], uint32_t *ret_count, uint32_t max,
                      const char *what, char *const *names, size_t count,
                      struct sy_error_text *error)
{
    if (count > max) {
        sy_error_text_set(error, "%s: %zu, at most %u are allowed", what, count, max);
        return -EINVAL;
    }
    *ret_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        if (read_name(ret[i], what, names[i], error) < 0)
            return -EINVAL;
    }
    return 0;
}

int cp_queue_id_check(const Switchyard__V1__QueueId *id, struct sy_error_text *error)
{
    char unused[SCH_QUEUE_NAME_MAX];
    if (id == NULL) {
        sy_error_text_set(error, "id: missing");
        return -EINVAL;
    }
    if (read_name(unused, "id.project", id->project, error) < 0 ||
        read_name(unused, "id.domain", id->domain, error) < 0 ||
        read_name(unused, "id.name", id->name, error) < 0)
        return -EINVAL;
    if (id->project[0] != '\0' || (id->domain[0] == '\0' && id->name[0] != '\0'))
        return 0;
    sy_error_text_set(error, "%s",
                      id->domain[0] != '\0'
                          ? "id.domain: a domain is one of a project, name that too"
                          : "id.name: a queue of the region has a name");
    return -EINVAL;
}

struct sch_queue_key cp_queue_key(const Switchyard__V1__QueueId *id)
{
    struct sch_queue_key key = {{0}, {0}, {0}};
    memcpy(key.project, id->project, strlen(id->project));
    memcpy(key.domain, id->domain, strlen(id->domain));
    memcpy(key.name, id->name, strlen(id->name));
    return key;
}

struct cp_registry_key cp_queue_row_key(const struct sch_queue_key *key)
{
    return CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, key->project, key->domain, key->name, NULL);
}

bool cp_queue_key_read(struct sy_span row_key, struct sch_queue_key *ret)
{
    const char *names[3];
    *ret = (struct sch_queue_key){{0}, {0}, {0}};
    return cp_registry_names(row_key, names, 3) &&
           read_name(ret->project, "project", names[0], NULL) == 0 &&
           read_name(ret->domain, "domain", names[1], NULL) == 0 &&
           read_name(ret->name, "name", names[2], NULL) == 0;
}

int cp_queue_key_compare(const void *a, const void *b)
{
    const struct sch_queue_key *left = a, *right = b;
    int order = strcmp(left->project, right->project);
    if (order == 0)
        order = strcmp(left->domain, right->domain);
    return order != 0 ? order : strcmp(left->name, right->name);
}

uint64_t cp_queue_hash(const char *project, const char *domain)
{
    return cp_registry_hash(project, domain, "");
}

static enum sch_policy policy_of(Switchyard__V1__PlacementPolicy policy)
{
    if (policy == SWITCHYARD__V1__PLACEMENT_POLICY__PLACEMENT_POLICY_UNSPECIFIED)
        return SCH_POLICY_SPREAD;
    unsigned index = (unsigned)policy - SWITCHYARD__V1__PLACEMENT_POLICY__PLACEMENT_POLICY_SPREAD;
    return index < SCH_POLICIES ? (enum sch_policy)index : SCH_POLICIES; /* is refused */
}

static enum sch_infeasible infeasible_of(Switchyard__V1__InfeasiblePolicy policy)
{
    unsigned index = (unsigned)policy; /* numbered alike */
    return index < SCH_INFEASIBLES ? (enum sch_infeasible)index : SCH_INFEASIBLES; /* is refused */
}

int cp_queue_config_read(struct sch_queue_config *ret, const struct sch_queue_key *key,
                         const Switchyard__V1__QueueSettings *settings, struct sy_error_text *error)
{
    struct sch_queue_config config = sch_queue_config_default(key);
    if (read_name(config.parent, "settings.parent", settings->parent, error) < 0)
        return -EINVAL;
    if (read_names(config.clusters, &config.cluster_count, SCH_QUEUE_CLUSTERS_MAX,
                   "settings.clusters", settings->clusters, settings->n_clusters, error) < 0 ||
        read_names(config.preferred, &config.preferred_count, SCH_QUEUE_PREFERRED_MAX,
                   "settings.preferred_clusters", settings->preferred_clusters,
                   settings->n_preferred_clusters, error) < 0 ||
        read_names(config.regions, &config.region_count, SCH_QUEUE_REGIONS_MAX, "settings.regions",
                   settings->regions, settings->n_regions, error) < 0)
        return -EINVAL;
    config.weight = settings->weight;
    config.priority = settings->priority;
    config.actions_max = settings->actions_max;
    config.cpu_milli_max = settings->cpu_milli_max;
    config.memory_bytes_max = settings->memory_bytes_max;
    config.gpus_max = settings->gpus_max;
    config.length_max = settings->length_max;
    config.queued_timeout_ns = settings->queued_timeout_ns;
    config.price_max = settings->price_max;
    config.preemptible = settings->preemptible;
    config.paused = settings->paused;
    config.preemptible_nodes = settings->preemptible_nodes;
    config.policy = policy_of(settings->policy);
    config.infeasible = infeasible_of(settings->infeasible);
    error->text[0] = '\0'; /* it is added to */
    if (sch_queue_config_check(&config, error) < 0)
        return -EINVAL;
    *ret = config;
    return 0;
}
