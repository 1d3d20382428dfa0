#include "controlplane/queue_status.h"

#include "controlplane/queues.h"

#include "switchyard/internal/parts.pb-c.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void make_numbers(struct cp_gather_part *part)
{
    const struct cp_queue_query *query = part->gather->query;
    part->result = sy_arena_alloc(&part->arena, query->count * sizeof(struct cp_queue_numbers));
    SY_ASSERT(part->result != NULL);
    memset(part->result, 0, query->count * sizeof(struct cp_queue_numbers));
}

/* NULL: nobody asks for it. */
static struct cp_queue_numbers *numbers_of(struct cp_gather_part *part,
                                           const struct sch_queue_key *key)
{
    const struct cp_queue_query *query = part->gather->query;
    if (query->count == 0)
        return NULL;
    const struct sch_queue_key *at = bsearch(key, query->keys, query->count, sizeof(*at),
                                             cp_queue_key_compare);
    return at != NULL ? (struct cp_queue_numbers *)part->result + (at - query->keys) : NULL;
}

static bool add_view(void *ctx, const struct sch_queue_view *view)
{
    struct cp_queue_numbers *to = numbers_of(ctx, &view->config->key);
    if (to != NULL)
        *to = (struct cp_queue_numbers){view->actions,
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
    make_numbers(part);
    if (query->count > 0)
        cp_partition_each_queue(p, add_view, part);
    return true;
}

/* ---- a part that another shard has ---- */

static bool is_nothing(const struct cp_queue_numbers *n)
{
    return (n->actions | n->out | n->cpu_milli | n->memory_bytes | n->gpus) == 0 && !(n->share > 0);
}

static void pack_numbers(const struct cp_gather_part *part, cp_part_reply *reply)
{
    struct cp_request *req = part->gather->req;
    const struct cp_queue_query *query = part->gather->query;
    struct {
        Switchyard__Internal__QueuesPart part;
        Switchyard__Internal__QueueNumbers queues[];
    } *all = cp_request_alloc(req, sizeof(*all) + query->count * sizeof(all->queues[0]));
    switchyard__internal__queues_part__init(&all->part);
    all->part.queues = cp_request_alloc(req, query->count * sizeof(void *));
    for (size_t i = 0; i < query->count; i++) {
        const struct sch_queue_key *key = &query->keys[i];
        const struct cp_queue_numbers *from = (const struct cp_queue_numbers *)part->result + i;
        Switchyard__Internal__QueueNumbers *to = &all->queues[i];
        if (is_nothing(from))
            continue;
        switchyard__internal__queue_numbers__init(to);
        to->project = (char *)(uintptr_t)key->project;
        to->domain = (char *)(uintptr_t)key->domain;
        to->name = (char *)(uintptr_t)key->name;
        to->actions = from->actions;
        to->out = from->out;
        to->cpu_milli = from->cpu_milli;
        to->memory_bytes = from->memory_bytes;
        to->gpus = from->gpus;
        to->share = from->share;
        all->part.queues[all->part.n_queues++] = to;
    }
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_QUEUES;
    reply->queues = &all->part;
}

static bool copy_name(char ret[SCH_QUEUE_NAME_MAX], const char *name)
{
    size_t len = strlen(name);
    if (len < SCH_QUEUE_NAME_MAX)
        memcpy(ret, name, len + 1);
    return len < SCH_QUEUE_NAME_MAX;
}

/* It may have read other queues than we, while one is made or deleted: what we did not ask for is
 * passed over. */
static int unpack_numbers(struct cp_gather_part *part, const cp_part_reply *reply)
{
    if (reply->part_case != SWITCHYARD__INTERNAL__PART_REPLY__PART_QUEUES)
        return -EBADMSG;
    make_numbers(part);
    for (size_t i = 0; i < reply->queues->n_queues; i++) {
        const Switchyard__Internal__QueueNumbers *from = reply->queues->queues[i];
        struct sch_queue_key key = {{0}, {0}, {0}};
        if (!copy_name(key.project, from->project) || !copy_name(key.domain, from->domain) ||
            !copy_name(key.name, from->name) || !isfinite(from->share))
            return -EBADMSG;
        struct cp_queue_numbers *to = numbers_of(part, &key);
        if (to != NULL)
            *to = (struct cp_queue_numbers){from->actions,      from->out,  from->cpu_milli,
                                            from->memory_bytes, from->gpus, from->share};
    }
    return 0;
}

/* ---- all of them ---- */

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
    static const struct cp_gather_kind kind = {.collect = collect_numbers,
                                               .pack = pack_numbers,
                                               .unpack = unpack_numbers,
                                               .finish = add_up};
    cp_gather_all(req, copy, &kind);
}
