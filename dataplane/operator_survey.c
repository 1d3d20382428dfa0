/* What a shard asks for people: who would stop for an action, and which nodes are kept for it. */
#include "dataplane/stream.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#define VICTIMS_MAX 100u /* that are named */

bool dp_reclaim_queues_from(size_t count, dp_pb_reclaim_queue *const *from,
                            struct sch_reclaim_queue ret[SCH_RECLAIM_QUEUES_MAX])
{
    if (count > SCH_RECLAIM_QUEUES_MAX)
        return false;
    for (size_t i = 0; i < count; i++)
        ret[i] = (struct sch_reclaim_queue){.id = from[i]->queue,
                                            .below = {.actions = from[i]->actions,
                                                      .cpu_milli = from[i]->cpu_milli,
                                                      .memory_bytes = from[i]->memory_bytes,
                                                      .gpu_milli = from[i]->gpu_milli}};
    return true;
}

static void send(struct dp_stream *stream, uint64_t id, const struct sch_op_survey_answer *said)
{
    Switchyard__Internal__SurveyAnswer m = SWITCHYARD__INTERNAL__SURVEY_ANSWER__INIT;
    Switchyard__Internal__SurveyVictim victims[VICTIMS_MAX], *victim_list[VICTIMS_MAX];
    Switchyard__Internal__SurveyNode nodes[SCH_OP_KEPT_MAX], *node_list[SCH_OP_KEPT_MAX];
    m.id = id;
    m.room = said->room;
    m.withheld = said->withheld;
    m.displaces = said->displaces;
    m.victim_count = (uint32_t)said->victim_count;
    m.victims = victim_list;
    for (; m.n_victims < said->victim_count && m.n_victims < VICTIMS_MAX; m.n_victims++) {
        const struct sch_op_victim *from = &said->victims[m.n_victims];
        Switchyard__Internal__SurveyVictim *victim = victim_list[m.n_victims] =
            &victims[m.n_victims];
        switchyard__internal__survey_victim__init(victim);
        victim->action = from->key.action;
        victim->number = from->key.number;
        victim->epoch = from->key.epoch;
        victim->node = (char *)(uintptr_t)from->node;
    }
    m.kept_count = (uint32_t)said->kept_count;
    m.kept = node_list;
    for (; m.n_kept < said->kept_count && m.n_kept < SCH_OP_KEPT_MAX; m.n_kept++) {
        const struct sch_op_kept *from = &said->kept[m.n_kept];
        Switchyard__Internal__SurveyNode *node = node_list[m.n_kept] = &nodes[m.n_kept];
        switchyard__internal__survey_node__init(node);
        node->node = (char *)(uintptr_t)from->node;
        node->cpu_milli = from->missing.cpu_milli;
        node->memory_bytes = from->missing.memory_bytes;
        node->gpu_milli = from->missing.gpu_milli;
        node->fits = from->missing.actions == 0;
    }
    sy_buf_clear(&stream->op->scratch);
    pb_pack(&m.base, &stream->op->scratch);
    dp_link_put(&stream->link, DP_TO_SHARD_SURVEYS, sy_buf_span(&stream->op->scratch));
}

bool dp_survey_answer(struct dp_stream *stream, const dp_pb_survey *survey)
{
    struct sch_reclaim_queue queues[SCH_RECLAIM_QUEUES_MAX];
    struct sch_resources request;
    struct sch_gang_shape gang;
    struct sch_op_survey_answer said;
    if (!dp_resources_from(survey->request, &request) ||
        !dp_reclaim_queues_from(survey->n_queues, survey->queues, queues) ||
        (survey->gang && sch_gang_shape_init(&gang, survey->gang->size, survey->gang->topology,
                                             survey->gang->topology_key, 0, NULL) < 0))
        return false;
    sch_operator_survey(stream->op->core,
                        &(struct sch_op_survey){.partition = stream->partition->id,
                                                .request = &request,
                                                .gang = survey->gang ? &gang : NULL,
                                                .class_id = survey->class_,
                                                .gang_id = survey->waits,
                                                .queues = queues,
                                                .queue_count = (uint32_t)survey->n_queues},
                        &said);
    send(stream, survey->id, &said);
    sch_op_survey_answer_deinit(&said);
    return true;
}
