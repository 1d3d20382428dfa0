/* What shards are told about the cluster's nodes: shapes for feasibility, states for people. */
#include "base/mem.h"
#include "dataplane/operator_impl.h"
#include "switchyard/internal/dataplane.pb-c.h"

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
        if (!copy_text(resources.gpu_model, sizeof(resources.gpu_model), from->gpu_model) ||
            !copy_text(resources.environment, sizeof(resources.environment), from->environment))
            return false;
    }
    *ret = resources;
    return true;
}

/* A sub-message goes through `inner`, whose content is replaced. */
struct writer {
    struct dp_operator *op;
    struct dp_link *link;
    struct sy_buf record, inner;
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
        dp_link_put(link, DP_TO_SHARD_SHAPES, sy_buf_span(&writer.record));
    }
    dp_link_flag(link, DP_TO_SHARD_SHAPES_SET);
    writer_deinit(&writer);
    free(shapes);
}

static bool put_node(void *ctx, const struct sch_node_view *node)
{
    struct writer *writer = ctx;
    if (node->state == SCH_NODE_GONE)
        return true;
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
    dp_wire_put_text(&writer->record, 7, node->state == SCH_NODE_READY ? "ready" : "lost");
    dp_wire_put_u64(&writer->record, 8, node->finished);
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
