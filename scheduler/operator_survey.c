/*
 * What it would take to start an action, or a gang: whether there is room, who would stop for it,
 * and the nodes that are kept for it. Asked for people (explain, dry run); changes nothing.
 */
#include "scheduler/operator_impl.h"

#include <stdlib.h>

static void take_victim(void *ctx, const struct sch_attempt *a)
{
    struct sch_op_survey_answer *answer = ctx;
    if (answer->victim_count == answer->victim_cap) {
        answer->victim_cap = answer->victim_cap ? answer->victim_cap * 2 : 16;
        answer->victims = sy_realloc(answer->victims,
                                     answer->victim_cap * sizeof(*answer->victims));
    }
    SY_ASSERT(a->node);
    answer->victims[answer->victim_count++] = (struct sch_op_victim){a->key, a->node->name};
}

static uint64_t lack(uint64_t asked, uint64_t capacity, uint64_t used)
{
    uint64_t left = capacity > used ? capacity - used : 0;
    return asked > left ? asked - left : 0;
}

/* Of what is free: parts of GPUs, slices and slots of environments are not told apart. */
static struct sch_use missing(const struct sch_node *node, const struct sch_resources *request)
{
    const struct sch_resources *capacity = &node->shape->shape.capacity;
    struct sch_use one = sch_use_of(request);
    return (struct sch_use){
        .actions = sch_node_fits(node, request) == 0,
        .cpu_milli = lack(one.cpu_milli, capacity->cpu_milli, node->used_cpu_milli),
        .memory_bytes = lack(one.memory_bytes, capacity->memory_bytes, node->used_memory_bytes),
        .gpu_milli = request->gpu_partition[0]
                         ? 0
                         : lack(one.gpu_milli, (uint64_t)capacity->gpus * SCH_GPU_MILLI,
                                node->used_gpus * SCH_GPU_MILLI)};
}

static bool is_kept_for(const struct sch_operator *op, const struct sch_node *node,
                        const struct sch_op_survey *survey)
{
    if (survey->gang_id != 0)
        return node->reserved && op->reserver && op->reserver->id == survey->partition &&
               op->reserver_id == survey->gang_id;
    return survey->class_id != 0 && node->claim && node->claim->class->id == survey->class_id &&
           node->claim->class->partition->id == survey->partition;
}

static bool has_room(struct sch_operator *op, const struct sch_op_survey *survey)
{
    bool room;
    struct sch_kind *kind = sch_kind_ref(op, survey->request);
    sch_labels_settle(op);
    if (survey->gang)
        room = sch_op_gang_has_room(op, kind, survey->gang);
    else
        (void)sch_kind_choose(op, kind, &room);
    sch_kind_unref(op, kind);
    return room;
}

void sch_operator_survey(struct sch_operator *op, const struct sch_op_survey *survey,
                         struct sch_op_survey_answer *ret)
{
    SY_ASSERT(!op->out && survey->request);
    *ret = (struct sch_op_survey_answer){.room = has_room(op, survey)};
    struct sch_op_class *class = sch_op_class_find(op, survey->partition, survey->class_id);
    ret->withheld = ret->room && class && class->gang.size == 0 && class->waiting > 0 &&
                    class->granted <= class->assigned + class->claims_ready;
    struct sch_op_wish wish = {
        .partition = survey->partition,
        .queues = survey->queues,
        .queue_count = survey->queue_count,
        .request = survey->request,
        .shape = survey->gang,
        .class = survey->gang ? NULL : class,
        .gang = survey->gang_id != 0 ? sch_op_gang_reserver(op, survey->partition, survey->gang_id)
                                     : NULL};
    if (!ret->room &&
        (survey->gang_id == 0 || wish.gang)) /* else nodes are kept for others first */
        ret->displaces = sch_op_reclaim_would(op, &wish, take_victim, ret);
    for (uint32_t i = 0; i < op->node_count; i++) {
        const struct sch_node *node = op->nodes[i];
        if (!is_kept_for(op, node, survey))
            continue;
        if (ret->kept_count < SCH_OP_KEPT_MAX)
            ret->kept[ret->kept_count] = (struct sch_op_kept){node->name,
                                                              missing(node, survey->request)};
        ret->kept_count++;
    }
}

void sch_op_survey_answer_deinit(struct sch_op_survey_answer *answer)
{
    free(answer->victims);
    *answer = (struct sch_op_survey_answer){0};
}
