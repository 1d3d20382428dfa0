/* What shards are told about the cluster's nodes: shapes for feasibility, states for people. */
#include "base/mem.h"
#include "dataplane/operator_impl.h"
#include "scheduler/labels.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPES_MAX 4096
#define NODES_BYTES_MAX ((size_t)8 << 20) /* one message holds them all */

static bool copy_text(char *ret, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        return false;
    memcpy(ret, text, len + 1);
    return true;
}

bool dp_resources_from(const dp_pb_resources *from, struct sch_resources *ret)
{
    struct sch_resources resources = {0};
    if (from) {
        resources.cpu_milli = from->cpu_milli;
        resources.memory_bytes = from->memory_bytes;
        resources.gpus = from->gpus;
        if (from->cpu_milli > SCH_CPU_MILLI_MAX || from->memory_bytes > SCH_MEMORY_BYTES_MAX ||
            from->gpus > SCH_GPUS_MAX)
            return false;
        if (!copy_text(resources.gpu_model, sizeof(resources.gpu_model), from->gpu_model) ||
            !copy_text(resources.environment, sizeof(resources.environment), from->environment) ||
            !copy_text(resources.gpu_partition, sizeof(resources.gpu_partition),
                       from->gpu_partition) ||
            !copy_text(resources.labels, sizeof(resources.labels), from->labels) ||
            !copy_text(resources.tolerations, sizeof(resources.tolerations), from->tolerations))
            return false;
        if (from->gpu_milli >= SCH_GPU_MILLI || !sch_labels_valid(resources.labels) ||
            !sch_labels_valid(resources.tolerations))
            return false;
        resources.gpu_milli = from->gpu_milli;
    }
    *ret = resources;
    return true;
}

bool dp_traits_from(const dp_pb_traits *from, struct sch_traits *ret)
{
    struct sch_traits traits = {0};
    if (!from) {
        *ret = traits;
        return true;
    }
    if (!copy_text(traits.labels, sizeof(traits.labels), from->labels) ||
        !copy_text(traits.taints, sizeof(traits.taints), from->taints) ||
        !sch_labels_valid(traits.labels) || !sch_labels_valid(traits.taints) ||
        from->n_slices > SCH_GPU_SLICES_MAX)
        return false;
    traits.gpus_shared = from->gpus_shared;
    for (size_t i = 0; i < from->n_slices; i++) {
        struct sch_gpu_slices *slices = &traits.slices[i];
        slices->count = from->slices[i]->count;
        if (slices->count > SCH_GPUS_MAX ||
            sch_traits_find_slices(&traits, from->slices[i]->name) >= 0 ||
            !copy_text(slices->name, sizeof(slices->name), from->slices[i]->name))
            return false;
        traits.slice_count++;
    }
    *ret = traits;
    return true;
}

/* A sub-message goes through `inner`, whose content is replaced. */
struct writer {
    struct dp_operator *op;
    struct dp_link *link;
    struct sy_buf record, inner, innermost;
};

static void put_resources(struct writer *writer, uint32_t field,
                          const struct sch_resources *resources)
{
    sy_buf_clear(&writer->inner);
    dp_wire_put_u64(&writer->inner, 1, resources->cpu_milli);
    dp_wire_put_u64(&writer->inner, 2, resources->memory_bytes);
    dp_wire_put_u64(&writer->inner, 3, resources->gpus);
    dp_wire_put_text(&writer->inner, 4, resources->gpu_model);
    dp_wire_put_record(&writer->record, field, sy_buf_span(&writer->inner));
}

static void put_traits(struct writer *writer, uint32_t field, const struct sch_traits *traits)
{
    sy_buf_clear(&writer->inner);
    dp_wire_put_text(&writer->inner, 1, traits->labels);
    dp_wire_put_text(&writer->inner, 2, traits->taints);
    dp_wire_put_u64(&writer->inner, 3, traits->gpus_shared);
    for (uint32_t i = 0; i < traits->slice_count; i++) {
        sy_buf_clear(&writer->innermost);
        dp_wire_put_text(&writer->innermost, 1, traits->slices[i].name);
        dp_wire_put_u64(&writer->innermost, 2, traits->slices[i].count);
        dp_wire_put_record(&writer->inner, 4, sy_buf_span(&writer->innermost));
    }
    dp_wire_put_record(&writer->record, field, sy_buf_span(&writer->inner));
}

static void put_environments(struct writer *writer, uint32_t field,
                             const struct sch_environment *environments, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sy_buf_clear(&writer->inner);
        dp_wire_put_text(&writer->inner, 1, environments[i].name);
        dp_wire_put_u64(&writer->inner, 2, environments[i].slots);
        dp_wire_put_record(&writer->record, field, sy_buf_span(&writer->inner));
    }
}

static void writer_deinit(struct writer *writer)
{
    sy_buf_deinit(&writer->record);
    sy_buf_deinit(&writer->inner);
    sy_buf_deinit(&writer->innermost);
}

void dp_status_put_shapes(struct dp_operator *op, struct dp_link *link)
{
    size_t count = sch_operator_shapes(op->core, NULL, 0);
    if (count > SHAPES_MAX)
        count = SHAPES_MAX;
    struct sch_shape *shapes = sy_calloc(count + 1, sizeof(*shapes));
    size_t there = sch_operator_shapes(op->core, shapes, count);
    struct writer writer = {.op = op, .link = link};
    for (size_t i = 0; i < count && i < there; i++) {
        sy_buf_clear(&writer.record);
        put_resources(&writer, 1, &shapes[i].capacity);
        dp_wire_put_u64(&writer.record, 2, shapes[i].nodes);
        put_environments(&writer, 3, shapes[i].environments, shapes[i].environment_count);
        put_traits(&writer, 4, &shapes[i].traits);
        dp_link_put(link, DP_TO_SHARD_SHAPES, sy_buf_span(&writer.record));
    }
    dp_link_flag(link, DP_TO_SHARD_SHAPES_SET);
    writer_deinit(&writer);
    free(shapes);
}

/* Of several the one that matters most, and why. */
static const char *state_of(const struct dp_operator *op, const struct sch_node_view *node,
                            char *ret_reason, size_t size)
{
    ret_reason[0] = '\0';
    if (node->service == SCH_SERVICE_DRAINING) {
        int64_t left_ns = node->deadline_ns - op->now_ns;
        if (node->deadline_ns == SY_TIME_NEVER)
            snprintf(ret_reason, size, "%u still run", node->running);
        else
            snprintf(ret_reason, size, "%u still run, for %lld s more at most", node->running,
                     (long long)(left_ns > 0 ? left_ns / SY_NS_PER_S : 0));
    }
    if (node->service != SCH_SERVICE_OPEN)
        return sch_service_table.states[node->service].name;
    if (node->state != SCH_NODE_READY)
        return "lost";
    if (node->health != SCH_HEALTH_AVOIDED)
        return "ready";
    snprintf(ret_reason, size, "%u of %u attempts within a minute were refused or lost",
             node->faults, node->ends);
    return sch_health_table.states[node->health].name;
}

static bool put_node(void *ctx, const struct sch_node_view *node)
{
    struct writer *writer = ctx;
    if (node->state == SCH_NODE_GONE || strcmp(node->name, DP_OWN_NODE) == 0)
        return true; /* people count machines */
    sy_buf_clear(&writer->record);
    dp_wire_put_text(&writer->record, 1, node->name);
    put_resources(writer, 2, &node->capacity);
    struct sch_resources used = {.cpu_milli = node->used_cpu_milli,
                                 .memory_bytes = node->used_memory_bytes,
                                 .gpus = node->used_gpus};
    put_resources(writer, 3, &used);
    put_environments(writer, 4, node->environments, node->environment_count);
    dp_wire_put_u64(&writer->record, 5, node->running);
    dp_wire_put_u64(&writer->record, 6, node->backlog);
    char reason[128];
    dp_wire_put_text(&writer->record, 7, state_of(writer->op, node, reason, sizeof(reason)));
    dp_wire_put_u64(&writer->record, 8, node->finished);
    put_traits(writer, 9, node->traits);
    dp_wire_put_text(&writer->record, 10, reason);
    dp_link_put(writer->link, DP_TO_SHARD_NODES, sy_buf_span(&writer->record));
    return dp_link_waiting(writer->link, DP_TO_SHARD_NODES) < NODES_BYTES_MAX;
}

void dp_status_put_nodes(struct dp_operator *op, struct dp_link *link)
{
    struct writer writer = {.op = op, .link = link};
    sch_operator_each_node(op->core, put_node, &writer);
    dp_link_flag(link, DP_TO_SHARD_NODES_SET);
    writer_deinit(&writer);
}
