#include "tools/src/sim_region.h"

#include "base/config.h"
#include "base/file.h"
#include "base/mem.h"
#include "scheduler/labels.h"
#include "tools/src/sim_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a file may say ---- */

struct slices_text {
    char *profile;
    int64_t count;
};

static const struct sy_config_key slices_keys[] = {
    SY_CONFIG_STRING("profile", struct slices_text, profile, NULL, "1g.5gb, ..."),
    SY_CONFIG_INT("count", struct slices_text, count, NULL, 1, 1024, "of each node"),
};

struct group_text {
    char *name, *gpu_model, *labels, *taints;
    int64_t count, cpu_milli, memory_bytes, gpus, price, reclaims_per_day, reclaimed_ns;
    bool gpu_sharing, spot;
    struct sy_config_list gpu_slices;
};

static const struct sy_config_key group_keys[] = {
    SY_CONFIG_STRING("name", struct group_text, name, "node", "its nodes are NAME-0, NAME-1, ..."),
    SY_CONFIG_INT("count", struct group_text, count, 1, 1, 100000, "how many nodes"),
    SY_CONFIG_INT("cpu_milli", struct group_text, cpu_milli, NULL, 1, 100000000,
                  "thousandths of a core, of each node"),
    SY_CONFIG_SIZE("memory", struct group_text, memory_bytes, NULL, "1MiB", "1024TiB",
                   "of each node"),
    SY_CONFIG_INT("gpus", struct group_text, gpus, 0, 0, 1024, "of each node"),
    SY_CONFIG_STRING("gpu_model", struct group_text, gpu_model, "", "H100, A100, ..."),
    SY_CONFIG_BOOL("gpu_sharing", struct group_text, gpu_sharing, "false",
                   "its GPUs are given in parts too"),
    SY_CONFIG_LIST("gpu_slices", struct group_text, gpu_slices, "", struct slices_text, slices_keys,
                   "MIG slices, beside the whole GPUs"),
    SY_CONFIG_STRING(
        "labels", struct group_text, labels, "",
        "of each node, such as rack=a,zone=b; tasks and topologies of gangs name them"),
    SY_CONFIG_STRING("taints", struct group_text, taints, "",
                     "of each node; only tasks that tolerate all of them run there"),
    SY_CONFIG_BOOL("spot", struct group_text, spot, "false",
                   "its nodes can be taken away: the label and the taint of such nodes"),
    SY_CONFIG_INT("reclaims_per_day", struct group_text, reclaims_per_day, 0, 0, 1440,
                  "of each spot node, on average; what runs there runs again"),
    SY_CONFIG_DURATION("reclaimed", struct group_text, reclaimed_ns, "5m", "1s", "30m",
                       "then it is back"),
    SY_CONFIG_INT("price", struct group_text, price, 0, 0, "1000000000000",
                  "of a core, as that of the cluster; 0 = that"),
};

struct cluster_text {
    char *name, *region;
    int64_t price;
    struct sy_config_list nodes;
};

static const struct sy_config_key cluster_keys[] = {
    SY_CONFIG_STRING("name", struct cluster_text, name, NULL, "unique in the region"),
    SY_CONFIG_INT("price", struct cluster_text, price, 0, 0, "1000000000000",
                  "of a core, in millionths of a currency an hour; 0 = not known"),
    SY_CONFIG_STRING("region", struct cluster_text, region, "", "where it is; empty = not known"),
    SY_CONFIG_LIST("nodes", struct cluster_text, nodes, NULL, struct group_text, group_keys,
                   "groups of equal nodes"),
};

struct queue_text {
    char *project, *domain, *name, *parent;
    int64_t weight, priority, actions_max, cpu_milli_max, memory_bytes_max, gpus_max, length_max;
    int64_t queued_timeout_ns, price_max, policy;
    bool preemptible, paused, spot;
    struct sy_config_list clusters, preferred, regions;
};

static const char *const policies[] = {"spread",        "pack",     "cheapest",
                                       "fastest-start", "locality", NULL};

static const struct sy_config_key queue_keys[] = {
    SY_CONFIG_STRING("project", struct queue_text, project, "", "empty: a queue of the region"),
    SY_CONFIG_STRING("domain", struct queue_text, domain, "", "empty: of the whole project"),
    SY_CONFIG_STRING("name", struct queue_text, name, "",
                     "empty: all that the project has (in that domain)"),
    SY_CONFIG_STRING("parent", struct queue_text, parent, "", "queue of the same project, domain"),
    SY_CONFIG_INT("weight", struct queue_text, weight, 100, 1, 10000, "share among its siblings"),
    SY_CONFIG_INT("priority", struct queue_text, priority, 0, -1000, 1000,
                  "added to that of its tasks"),
    SY_CONFIG_INT("actions_max", struct queue_text, actions_max, 0, 0, 1000000000,
                  "most tasks out at a time; 0 = no limit"),
    SY_CONFIG_INT("cpu_milli_max", struct queue_text, cpu_milli_max, 0, 0, "1000000000000",
                  "most cpu out at a time; 0 = no limit"),
    SY_CONFIG_SIZE("memory_max", struct queue_text, memory_bytes_max, "0", "0", "1024TiB",
                   "most memory out at a time; 0 = no limit"),
    SY_CONFIG_INT("gpus_max", struct queue_text, gpus_max, 0, 0, 1000000,
                  "most GPUs out at a time; 0 = no limit"),
    SY_CONFIG_INT("length_max", struct queue_text, length_max, 0, 0, 1000000000,
                  "most tasks that wait; more are refused; 0 = no limit"),
    SY_CONFIG_DURATION("queued_timeout", struct queue_text, queued_timeout_ns, "0", "0", "3650d",
                       "longest wait, then it ends TIMED_OUT; 0 = no limit"),
    SY_CONFIG_INT("price_max", struct queue_text, price_max, 0, 0, "1000000000000",
                  "of a cluster that it uses, as price; 0 = any"),
    SY_CONFIG_ENUM("policy", struct queue_text, policy, "spread", policies, "choice of cluster"),
    SY_CONFIG_BOOL("preemptible", struct queue_text, preemptible, "false",
                   "may be stopped for others' sake"),
    SY_CONFIG_BOOL("spot", struct queue_text, spot, "false",
                   "its tasks may run on spot nodes, whatever they say themselves"),
    SY_CONFIG_BOOL("paused", struct queue_text, paused, "false", "nothing of it starts"),
    SY_CONFIG_STRINGS("clusters", struct queue_text, clusters, "", "that it may use; none = all"),
    SY_CONFIG_STRINGS("preferred_clusters", struct queue_text, preferred, "",
                      "where its tasks go while there is room"),
    SY_CONFIG_STRINGS("regions", struct queue_text, regions, "",
                      "where its tasks may run; none = as above it"),
};

struct region_text {
    int64_t ageing_ns, reclaim_delay_ns, reserve_after_ns;
    struct sy_config_list clusters, queues;
};

static const struct sy_config_key region_keys[] = {
    SY_CONFIG_DURATION("ageing", struct region_text, ageing_ns, "60s", "1s", "24h",
                       "a task gains one in priority for each that it waits"),
    SY_CONFIG_DURATION("reclaim_delay", struct region_text, reclaim_delay_ns, "5s", "100ms", "1h",
                       "a wait, after which preemptible work is stopped for what is next"),
    SY_CONFIG_DURATION("reserve_after", struct region_text, reserve_after_ns, "60s", "1s", "24h",
                       "a wait, after which a node is kept for what no node has room for"),
    SY_CONFIG_LIST("clusters", struct region_text, clusters, NULL, struct cluster_text,
                   cluster_keys, "at least one"),
    SY_CONFIG_LIST("queues", struct region_text, queues, "", struct queue_text, queue_keys,
                   "those that differ from the default"),
};

/* ---- from texts to values ---- */

static int copy_name(char *ret, size_t size, const char *field, const char *text,
                     struct sy_error_text *error)
{
    if (strlen(text) >= size) {
        sy_error_text_add(error, "%s '%.80s': at most %zu bytes", field, text, size - 1);
        return -EINVAL;
    }
    snprintf(ret, size, "%s", text);
    return 0;
}

static int by_profile(const void *a, const void *b)
{
    return strcmp(((const struct sch_gpu_slices *)a)->name,
                  ((const struct sch_gpu_slices *)b)->name);
}

static int take_slices(struct sch_traits *ret, const struct group_text *text,
                       struct sy_error_text *error)
{
    const struct slices_text *slices = text->gpu_slices.items;
    if (text->gpu_slices.count > SCH_GPU_SLICES_MAX) {
        sy_error_text_add(error, "nodes '%s': %zu profiles of gpu_slices, at most %u", text->name,
                          text->gpu_slices.count, SCH_GPU_SLICES_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < text->gpu_slices.count; i++) {
        struct sch_gpu_slices *to = &ret->slices[i];
        if (sch_traits_find_slices(ret, slices[i].profile) >= 0) {
            sy_error_text_add(error, "nodes '%s': gpu_slices '%s' are there twice", text->name,
                              slices[i].profile);
            return -EINVAL;
        }
        if (copy_name(to->name, sizeof(to->name), "gpu_slices", slices[i].profile, error) < 0)
            return -EINVAL;
        to->count = (uint32_t)slices[i].count;
        ret->slice_count++;
    }
    qsort(ret->slices, ret->slice_count, sizeof(ret->slices[0]), by_profile);
    return 0;
}

/* As agent/node_facts.c has it. */
static int take_taints(struct sim_node_group *ret, const struct group_text *text,
                       struct sy_error_text *error)
{
    struct sch_traits *traits = &ret->traits;
    struct sy_error_text why;
    ret->reclaims_per_day = (uint32_t)text->reclaims_per_day;
    ret->reclaimed_ns = text->reclaimed_ns;
    ret->price = text->price;
    if (text->reclaims_per_day > 0 && !text->spot) {
        sy_error_text_add(error, "nodes '%s': reclaims_per_day without spot", text->name);
        return -EINVAL;
    }
    int r = sch_labels_parse(traits->taints, sizeof(traits->taints), text->taints, &why);
    if (r == 0 && text->spot)
        r = sch_labels_put(traits->labels, sizeof(traits->labels), SCH_LABEL_SPOT, "true", &why);
    if (r == 0 && text->spot)
        r = sch_labels_put(traits->taints, sizeof(traits->taints), SCH_LABEL_SPOT, "", &why);
    if (r < 0)
        sy_error_text_add(error, "nodes '%s': taints: %s", text->name, why.text);
    return r < 0 ? -EINVAL : 0;
}

static int take_group(struct sim_region *region, struct sim_node_group *ret,
                      const struct group_text *text, struct sy_error_text *error)
{
    ret->count = (uint32_t)text->count;
    ret->capacity.cpu_milli = (uint32_t)text->cpu_milli;
    ret->capacity.memory_bytes = (uint64_t)text->memory_bytes;
    ret->capacity.gpus = (uint32_t)text->gpus;
    ret->traits.gpus_shared = text->gpu_sharing;
    region->node_count += ret->count;
    if (region->node_count > SIM_NODES_MAX) {
        sy_error_text_add(error, "more than %u nodes", SIM_NODES_MAX);
        return -EINVAL;
    }
    if (text->gpu_sharing && ret->capacity.gpus > SIM_SHARED_GPUS_MAX) {
        sy_error_text_add(error, "nodes '%s': at most %u GPUs with gpu_sharing", text->name,
                          SIM_SHARED_GPUS_MAX);
        return -EINVAL;
    }
    if (text->gpus == 0 && text->gpu_slices.count == 0 && *text->gpu_model) {
        sy_error_text_add(error, "nodes '%s': gpu_model '%s' without gpus", text->name,
                          text->gpu_model);
        return -EINVAL;
    }
    struct sy_error_text why;
    int r = copy_name(ret->name, sizeof(ret->name), "nodes", text->name, error);
    r = take_slices(&ret->traits, text, error) < 0 ? -EINVAL : r;
    if (sch_labels_parse(ret->traits.labels, sizeof(ret->traits.labels), text->labels, &why) < 0) {
        sy_error_text_add(error, "nodes '%s': labels: %s", text->name, why.text);
        r = -EINVAL;
    }
    r = take_taints(ret, text, error) < 0 ? -EINVAL : r;
    if (sch_gpu_model_set(ret->capacity.gpu_model, text->gpu_model, &why) < 0) {
        sy_error_text_add(error, "nodes '%s': %s", text->name, why.text);
        r = -EINVAL;
    }
    return r;
}

static int take_cluster(struct sim_region *region, const struct cluster_text *text,
                        struct sy_error_text *error)
{
    struct sim_cluster_config *cluster = &region->clusters[region->cluster_count++];
    const struct group_text *groups = text->nodes.items;
    cluster->price = text->price;
    cluster->group_count = text->nodes.count;
    cluster->groups = sy_calloc(text->nodes.count, sizeof(*cluster->groups));
    int r = copy_name(cluster->name, sizeof(cluster->name), "cluster", text->name, error);
    r = copy_name(cluster->region, sizeof(cluster->region), "region", text->region, error) < 0
            ? -EINVAL
            : r;
    for (size_t i = 0; i + 1 < region->cluster_count; i++) {
        if (strcmp(region->clusters[i].name, cluster->name) == 0) {
            sy_error_text_add(error, "cluster '%s' is there twice", cluster->name);
            r = -EINVAL;
        }
    }
    for (size_t i = 0; i < cluster->group_count; i++) {
        if (take_group(region, &cluster->groups[i], &groups[i], error) < 0)
            r = -EINVAL;
        for (size_t k = 0; k < i; k++) {
            if (strcmp(groups[i].name, groups[k].name) == 0) {
                sy_error_text_add(error, "cluster '%s' has two groups of nodes named '%s'",
                                  cluster->name, groups[i].name);
                r = -EINVAL;
            }
        }
    }
    return r;
}

static int take_names(char (*ret)[SCH_QUEUE_NAME_MAX], uint32_t *ret_count, size_t max,
                      const char *field, const struct sy_config_list *names,
                      struct sy_error_text *error)
{
    char *const *texts = names->items;
    int r = 0;
    if (names->count > max) {
        sy_error_text_add(error, "%zu %s, at most %zu", names->count, field, max);
        return -EINVAL;
    }
    *ret_count = (uint32_t)names->count;
    for (size_t i = 0; i < names->count; i++) {
        if (copy_name(ret[i], sizeof(ret[i]), field, texts[i], error) < 0)
            r = -EINVAL;
    }
    return r;
}

static int take_places(struct sch_queue_config *queue, const struct queue_text *text,
                       struct sy_error_text *error)
{
    int r = take_names(queue->clusters, &queue->cluster_count, SCH_QUEUE_CLUSTERS_MAX, "clusters",
                       &text->clusters, error);
    r = take_names(queue->preferred, &queue->preferred_count, SCH_QUEUE_PREFERRED_MAX,
                   "preferred_clusters", &text->preferred, error) < 0
            ? -EINVAL
            : r;
    return take_names(queue->regions, &queue->region_count, SCH_QUEUE_REGIONS_MAX, "regions",
                      &text->regions, error) < 0
               ? -EINVAL
               : r;
}

static int take_queue(struct sim_region *region, const struct queue_text *text,
                      struct sy_error_text *error)
{
    struct sch_queue_config queue = {.weight = (uint32_t)text->weight,
                                     .priority = (int32_t)text->priority,
                                     .actions_max = (uint64_t)text->actions_max,
                                     .cpu_milli_max = (uint64_t)text->cpu_milli_max,
                                     .memory_bytes_max = (uint64_t)text->memory_bytes_max,
                                     .gpus_max = (uint32_t)text->gpus_max,
                                     .length_max = (uint64_t)text->length_max,
                                     .queued_timeout_ns = text->queued_timeout_ns,
                                     .price_max = text->price_max,
                                     .policy = (enum sch_policy)text->policy,
                                     .preemptible = text->preemptible,
                                     .preemptible_nodes = text->spot,
                                     .paused = text->paused};
    int r = copy_name(queue.key.project, SCH_QUEUE_NAME_MAX, "project", text->project, error);
    r = copy_name(queue.key.domain, SCH_QUEUE_NAME_MAX, "domain", text->domain, error) < 0 ? -EINVAL
                                                                                           : r;
    r = copy_name(queue.key.name, SCH_QUEUE_NAME_MAX, "queue", text->name, error) < 0 ? -EINVAL : r;
    r = copy_name(queue.parent, SCH_QUEUE_NAME_MAX, "parent", text->parent, error) < 0 ? -EINVAL
                                                                                       : r;
    r = take_places(&queue, text, error) < 0 ? -EINVAL : r;
    if (r == 0)
        r = sch_queue_config_check(&queue, error);
    if (r < 0)
        return r;
    const struct sch_queue_key *key = &queue.key;
    if (sim_region_find(region, key->project, key->domain, key->name)) {
        sy_error_text_add(error, "queue '%s' of '%s', '%s' is there twice", key->name, key->project,
                          key->domain);
        return -EINVAL;
    }
    if (queue.parent[0] && !sim_region_find(region, key->project, key->domain, queue.parent)) {
        sy_error_text_add(error, "queue '%s': its parent '%s' does not come before it", key->name,
                          queue.parent);
        return -EINVAL;
    }
    region->queues[region->queue_count++] = queue;
    return 0;
}

static int take_region(struct sim_region *region, const struct region_text *text,
                       struct sy_error_text *error)
{
    const struct cluster_text *clusters = text->clusters.items;
    const struct queue_text *queues = text->queues.items;
    int r = 0;
    region->ageing_ns = text->ageing_ns;
    region->reclaim_delay_ns = text->reclaim_delay_ns;
    region->reserve_after_ns = text->reserve_after_ns;
    region->clusters = sy_calloc(text->clusters.count, sizeof(*region->clusters));
    region->queues = sy_calloc(text->queues.count, sizeof(*region->queues));
    for (size_t i = 0; i < text->clusters.count; i++)
        r = take_cluster(region, &clusters[i], error) < 0 ? -EINVAL : r;
    for (size_t i = 0; i < text->queues.count; i++)
        r = take_queue(region, &queues[i], error) < 0 ? -EINVAL : r;
    if (region->node_count == 0) {
        sy_error_text_add(error, "no nodes: nothing can run");
        r = -EINVAL;
    }
    return r;
}

int sim_region_parse(struct sim_region *ret, const char *name, const char *text, size_t len,
                     struct sy_error_text *error)
{
    struct region_text values;
    struct sim_region region = {0};
    int r = sy_config_parse(&values, sizeof(values), region_keys, SY_COUNT_OF(region_keys), name,
                            text, len, error);
    if (r < 0)
        return r;
    struct sy_error_text problems = {0};
    r = take_region(&region, &values, &problems);
    sy_config_free(&values, region_keys, SY_COUNT_OF(region_keys));
    if (r < 0) {
        sy_error_text_set(error, "%s: %s", name, problems.text);
        sim_region_deinit(&region);
        return r;
    }
    *ret = region;
    return 0;
}

int sim_region_load(struct sim_region *ret, const char *path, struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    int r = sy_file_read(path, SY_CONFIG_BYTES_MAX, &text);
    if (r < 0) {
        sy_error_text_set(error, "%s: %s", path, strerror(-r));
        return r;
    }
    return sim_region_parse(ret, path, (const char *)text.data, text.len, error);
}

void sim_region_deinit(struct sim_region *region)
{
    for (size_t i = 0; i < region->cluster_count; i++)
        free(region->clusters[i].groups);
    free(region->clusters);
    free(region->queues);
    *region = (struct sim_region){0};
}

void sim_region_print(int fd)
{
    sy_config_print(region_keys, SY_COUNT_OF(region_keys), fd);
}

/* ---- reading ---- */

struct sch_resources sim_region_largest_node(const struct sim_region *region)
{
    struct sch_resources largest = {0};
    for (size_t c = 0; c < region->cluster_count; c++) {
        for (size_t g = 0; g < region->clusters[c].group_count; g++) {
            const struct sch_resources *node = &region->clusters[c].groups[g].capacity;
            if (node->cpu_milli > largest.cpu_milli)
                largest.cpu_milli = node->cpu_milli;
            if (node->memory_bytes > largest.memory_bytes)
                largest.memory_bytes = node->memory_bytes;
            if (node->gpus > largest.gpus)
                largest.gpus = node->gpus;
        }
    }
    return largest;
}

const struct sch_queue_config *sim_region_find(const struct sim_region *region, const char *project,
                                               const char *domain, const char *name)
{
    for (size_t i = 0; i < region->queue_count; i++) {
        const struct sch_queue_key *key = &region->queues[i].key;
        if (strcmp(key->project, project) == 0 && strcmp(key->domain, domain) == 0 &&
            strcmp(key->name, name) == 0)
            return &region->queues[i];
    }
    return NULL;
}

const struct sch_queue_config *sim_region_queue(const struct sim_region *region,
                                                const struct sch_queue_key *key)
{
    const char *name = key->name[0] ? key->name : SCH_QUEUE_DEFAULT;
    const struct sch_queue_config *found = sim_region_find(region, key->project, key->domain, name);
    if (!found && key->name[0])
        found = sim_region_find(region, key->project, "", name);
    if (!found && key->name[0])
        found = sim_region_find(region, "", "", name);
    return found;
}

/* ---- where a queue's tasks may run: docs/scheduling.md, "Which cluster" ---- */

/* The one above it: the parent, the project in that domain, the project; NULL: none is configured.
 */
static const struct sch_queue_config *above(const struct sim_region *region,
                                            const struct sch_queue_key *key, const char *parent)
{
    const struct sch_queue_config *found = NULL;
    if (parent[0])
        return sim_region_find(region, key->project, key->domain, parent);
    if (key->name[0] && key->domain[0])
        found = sim_region_find(region, key->project, key->domain, "");
    if (!found && key->project[0] && (key->name[0] || key->domain[0]))
        found = sim_region_find(region, key->project, "", "");
    return found;
}

/* Its own, or the nearest level's; NULL: none is configured. */
static const struct sch_queue_config *nearest(const struct sim_region *region,
                                              const struct sch_queue_key *key)
{
    struct sch_queue_key at = *key;
    const struct sch_queue_config *queue = sim_region_queue(region, key);
    if (queue)
        return queue;
    snprintf(at.name, sizeof(at.name), SCH_QUEUE_DEFAULT); /* which nobody configured */
    return above(region, &at, "");
}

bool sim_region_tolerates(const struct sim_region *region, const struct sch_queue_key *key,
                          const struct sch_resources *request, const char *taints)
{
    struct sy_error_text why;
    char tolerations[sizeof(request->tolerations)];
    if (sch_taints_tolerated(taints, request->tolerations, NULL))
        return true;
    const struct sch_queue_config *queue = nearest(region, key);
    while (queue && !queue->preemptible_nodes)
        queue = above(region, &queue->key, queue->parent);
    memcpy(tolerations, request->tolerations, sizeof(tolerations));
    return queue &&
           sch_labels_put(tolerations, sizeof(tolerations), SCH_LABEL_SPOT, "", &why) == 0 &&
           sch_taints_tolerated(taints, tolerations, NULL);
}

bool sim_region_permits(const struct sim_region *region, const struct sch_queue_key *key,
                        const struct sim_cluster_config *cluster)
{
    const struct sch_queue_config *queue = nearest(region, key);
    bool named = false;
    for (; queue; queue = above(region, &queue->key, queue->parent)) {
        if (queue->region_count > 0 &&
            !sch_names_have(queue->regions, queue->region_count, cluster->region))
            return false;
        if (queue->price_max > 0 && cluster->price > queue->price_max)
            return false;
        if (!named && queue->cluster_count > 0 &&
            !sch_names_have(queue->clusters, queue->cluster_count, cluster->name))
            return false;
        named |= queue->cluster_count > 0;
    }
    return true;
}
