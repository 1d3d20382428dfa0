#include "controlplane/queue_status.h"

#include "controlplane/queues.h"

#include <stdlib.h>
#include <string.h>

static bool add_view(void *ctx, const struct sch_queue_view *view)
{
    struct cp_gather_part *part = ctx;
    const struct cp_queue_query *query = part->gather->query;
    const struct sch_queue_key *key = bsearch(&view->config->key, query->keys, query->count,
                                              sizeof(*key), cp_queue_key_compare);
    if (key != NULL)
        ((struct cp_queue_numbers *)part->result)[key - query->keys] = (struct cp_queue_numbers){
            view->actions,
            view->out,
            view->cpu_milli,
            view->memory_bytes,
            (view->gpu_milli + SCH_GPU_MILLI - 1) / SCH_GPU_MILLI,
            view->share};
    return true;
}

static bool collect_numbers(struct cp_gather_part *part)
{
    const struct cp_queue_query *query = part->gather->query;
    struct cp_partition *p = part->lane->partition;
    if (!cp_partition_serving(p)) {
        cp_status_not_serving(&part->status, part->lane);
        return true;
    }
    part->result = sy_arena_alloc(&part->arena, query->count * sizeof(struct cp_queue_numbers));
    SY_ASSERT(part->result != NULL);
    memset(part->result, 0, query->count * sizeof(struct cp_queue_numbers));
    if (query->count > 0)
        cp_partition_each_queue(p, add_view, part);
    return true;
}

static void add_up(struct cp_gather *gather)
{
    const struct cp_queue_query *query = gather->query;
    struct cp_queue_numbers *sums = cp_request_alloc(gather->req, query->count * sizeof(*sums));
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct cp_queue_numbers *part = gather->parts[i].result;
        for (size_t k = 0; k < query->count; k++) {
            sums[k].actions += part[k].actions;
            sums[k].out += part[k].out;
            sums[k].cpu_milli += part[k].cpu_milli;
            sums[k].memory_bytes += part[k].memory_bytes;
            sums[k].gpus += part[k].gpus;
            sums[k].share += part[k].share;
        }
    }
    query->done(gather->req, query->ctx, sums);
}

void cp_queue_ask(struct cp_request *req, const struct cp_queue_query *query)
{
    struct cp_queue_query *copy = cp_request_alloc(req, sizeof(*copy));
    *copy = *query;
    cp_gather_start(req, copy, collect_numbers, add_up);
}
