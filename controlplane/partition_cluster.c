/* What is known of clusters and their nodes, for streams and for people. */
#include "controlplane/partition_impl.h"

#include <stdio.h>

#define NODES_ARENA_MAX ((size_t)64 << 20)

struct cp_cluster *cp_cluster_find(struct cp_partition *p, const char *name)
{
    for (struct cp_cluster *cluster = p->clusters; cluster; cluster = cluster->next) {
        if (strcmp(cluster->name, name) == 0)
            return cluster;
    }
    return NULL;
}

struct cp_cluster *cp_cluster_get(struct cp_partition *p, const char *name)
{
    struct cp_cluster *cluster = cp_cluster_find(p, name);
    if (cluster || p->cluster_count >= CP_CLUSTERS_MAX)
        return cluster;
    cluster = sy_new(struct cp_cluster);
    cluster->refs = 1;
    SY_ASSERT(strlen(name) < sizeof(cluster->name));
    memcpy(cluster->name, name, strlen(name));
    sy_arena_init(&cluster->nodes_arena, NODES_ARENA_MAX);
    DL_APPEND(p->clusters, cluster);
    p->cluster_count++;
    return cluster;
}

struct cp_cluster *cp_cluster_ref(struct cp_cluster *cluster)
{
    SY_ASSERT(cluster->refs > 0);
    cluster->refs++;
    return cluster;
}

void cp_cluster_unref(struct cp_cluster *cluster)
{
    SY_ASSERT(cluster->refs > 0);
    if (--cluster->refs > 0)
        return;
    SY_ASSERT(!cluster->stream);
    sy_arena_deinit(&cluster->nodes_arena);
    free(cluster->endpoint);
    free(cluster);
}

static void forget(struct cp_partition *p, struct cp_cluster *cluster)
{
    DL_DELETE(p->clusters, cluster);
    p->cluster_count--;
    cp_cluster_unref(cluster);
}

void cp_clusters_drop(struct cp_partition *p)
{
    while (p->clusters)
        forget(p, p->clusters);
}

static void delete_row(struct cp_partition *p, const struct cp_cluster *cluster)
{
    struct cp_key key = cp_key_cluster(cluster->name);
    cp_delete(p, CP_FAMILY_META, &key);
    cp_touch(p);
}

void cp_cluster_delete_all(struct cp_partition *p, struct cp_cluster *cluster)
{
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_CLUSTER_DELETED,
           SY_U64("partition", p->options.partition), SY_STR("cluster", cluster->name));
    cp_step(
        p, &(struct sch_event){.type = SCH_EVENT_CLUSTER_DELETED, .u.cluster.name = cluster->name});
    delete_row(p, cluster);
    forget(p, cluster);
}

/* Those that were not seen for long: nothing of them runs, since their lease is over. */
void cp_clusters_forget(struct cp_partition *p)
{
    if (cp_refusal(p) != SY_CODE_OK)
        return;
    int64_t limit = p->options.cluster_lease_ns + p->options.cluster_forget_ns;
    struct cp_cluster *next;
    for (struct cp_cluster *cluster = p->clusters; cluster; cluster = next) {
        next = cluster->next;
        if (cluster->stream || sy_loop_now_ns(p->loop) - cluster->lost_ns < limit ||
            sch_partition_waits_for(p->core, cluster->name))
            continue;
        delete_row(p, cluster);
        sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_CLUSTER_FORGOTTEN,
               SY_STR("cluster", cluster->name));
        forget(p, cluster);
    }
}

void cp_resources_read(struct sch_resources *ret, const Switchyard__Internal__Resources *resources)
{
    *ret = (struct sch_resources){0};
    if (!resources)
        return;
    ret->cpu_milli = resources->cpu_milli;
    ret->memory_bytes = resources->memory_bytes;
    ret->gpus = resources->gpus;
    snprintf(ret->gpu_model, sizeof(ret->gpu_model), "%s", resources->gpu_model);
    /* zero-padded, as resources.h wants it */
    snprintf(ret->environment, sizeof(ret->environment), "%s", resources->environment);
}

static bool read_node(struct sy_arena *arena, struct cp_node_view *ret,
                      const Switchyard__Internal__NodeStatus *status)
{
    const Switchyard__Internal__Traits *traits = status->traits;
    struct sch_resources capacity, used;
    cp_resources_read(&capacity, status->capacity);
    cp_resources_read(&used, status->used);
    struct sch_environment *environments = sy_arena_alloc(arena, status->n_environments *
                                                                     sizeof(*environments));
    *ret = (struct cp_node_view){.name = sy_arena_strdup(arena, status->name),
                                 .state = sy_arena_strdup(arena, status->state),
                                 .reason = sy_arena_strdup(arena, status->reason),
                                 .labels = sy_arena_strdup(arena, traits ? traits->labels : ""),
                                 .taints = sy_arena_strdup(arena, traits ? traits->taints : ""),
                                 .gpu_model = sy_arena_strdup(arena, capacity.gpu_model),
                                 .cpu_milli = capacity.cpu_milli,
                                 .used_cpu_milli = used.cpu_milli,
                                 .gpus = capacity.gpus,
                                 .used_gpus = used.gpus,
                                 .memory_bytes = capacity.memory_bytes,
                                 .used_memory_bytes = used.memory_bytes,
                                 .finished = status->finished,
                                 .running = status->running,
                                 .backlog = status->backlog,
                                 .environments = environments,
                                 .environment_count = status->n_environments};
    if (!ret->name || !ret->state || !ret->reason || !ret->labels || !ret->taints ||
        !ret->gpu_model || !environments)
        return false;
    for (size_t i = 0; i < status->n_environments; i++) {
        environments[i] = (struct sch_environment){.slots = status->environments[i]->slots};
        snprintf(environments[i].name, sizeof(environments[i].name), "%s",
                 status->environments[i]->name);
    }
    return true;
}

/* More than the arena holds is cut off: this is for people to look at. */
void cp_cluster_set_nodes(struct cp_cluster *cluster, size_t count,
                          Switchyard__Internal__NodeStatus *const *nodes)
{
    sy_arena_reset(&cluster->nodes_arena);
    cluster->node_count = 0;
    cluster->nodes = sy_arena_alloc(&cluster->nodes_arena, count * sizeof(*cluster->nodes));
    for (size_t i = 0; cluster->nodes && i < count; i++) {
        if (!read_node(&cluster->nodes_arena, &cluster->nodes[i], nodes[i]))
            break;
        cluster->node_count++;
    }
}

static int by_name(const struct cp_cluster *a, const struct cp_cluster *b)
{
    return strcmp(a->name, b->name);
}

void cp_partition_each_cluster(struct cp_partition *p,
                               bool (*fn)(void *ctx, const struct cp_cluster_view *cluster),
                               void *ctx)
{
    DL_SORT(p->clusters, by_name); /* it is kept in order of use */
    for (const struct cp_cluster *cluster = p->clusters; cluster; cluster = cluster->next) {
        int64_t silent_ns = sy_loop_now_ns(p->loop) - cluster->lost_ns;
        bool gone = silent_ns >= p->options.cluster_lease_ns;
        /* What an earlier stream told of its nodes is not what is. */
        bool heard = cluster->stream && (cluster->stream->nodes_told || cluster->lost_ns == 0);
        struct cp_cluster_view view = {
            .name = cluster->name,
            .endpoint = cluster->endpoint ? cluster->endpoint : "",
            .region = cluster->region,
            .state = cluster->stream ? "ready"
                     : gone          ? "gone"
                                     : "lost",
            .silent_ns = heard ? 0 : sy_loop_realtime_ns(p->loop) - silent_ns,
            .price = cluster->stream ? cluster->stream->price : 0,
            .out = p->core ? sch_partition_cluster_out(p->core, cluster->name)
                           : (struct sch_cluster_out){0},
            .nodes = cluster->nodes,
            .node_count = cluster->node_count};
        if (!fn(ctx, &view))
            return;
    }
}
