/*
 * What operators can say more of an action that waits for room, or of a submit that would: which
 * attempts would stop for it, and which nodes are kept for it. Asked over their streams, for
 * people.
 *
 * A set of questions belongs to who asks; each is also in the list of its operator until that has
 * answered or left, or the time is over.
 */
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"

#include <stdio.h>

#define QUESTIONS_MAX 256u /* that wait for one operator */

struct cp_question {
    struct cp_question *prev, *next; /* operator->questions */
    struct cp_operator *operator;    /* NULL: it waits no more */
    struct cp_surveys *surveys;
    uint64_t id;
    char cluster[SCH_NAME_MAX];
    struct cp_survey_answer answer;
};

struct cp_surveys {
    struct sy_loop *loop;
    struct sy_timer timer;
    void (*done)(void *ctx); /* NULL: it was called */
    void *ctx;
    struct cp_question questions[CP_SURVEY_CLUSTERS_MAX];
    uint32_t count, waiting;
};

static void leave(struct cp_question *question)
{
    struct cp_operator *o = sy_take(question->operator);
    if (!o)
        return;
    DL_DELETE(o->questions, question);
    SY_ASSERT(question->surveys->waiting > 0);
    question->surveys->waiting--;
}

/* In a turn of its own: a caller of what led here may go on with what is freed then. */
static void settle(struct cp_surveys *surveys)
{
    if (surveys->waiting == 0)
        sy_timer_start_in(surveys->loop, &surveys->timer, 0);
}

static void on_time(void *arg)
{
    struct cp_surveys *surveys = arg;
    for (uint32_t i = 0; i < surveys->count; i++)
        leave(&surveys->questions[i]);
    SY_ASSERT(surveys->waiting == 0 && surveys->done);
    void (*done)(void *ctx) = sy_take(surveys->done);
    done(surveys->ctx);
}

void cp_surveys_free(struct cp_surveys *surveys)
{
    if (!surveys)
        return;
    for (uint32_t i = 0; i < surveys->count; i++) {
        leave(&surveys->questions[i]);
        free(surveys->questions[i].answer.displaced);
        free(surveys->questions[i].answer.kept);
    }
    sy_timer_stop(surveys->loop, &surveys->timer);
    free(surveys);
}

const struct cp_survey_answer *cp_surveys_find(const struct cp_surveys *surveys,
                                               const char *cluster)
{
    for (uint32_t i = 0; surveys && i < surveys->count; i++) {
        if (strcmp(surveys->questions[i].cluster, cluster) == 0)
            return &surveys->questions[i].answer;
    }
    return NULL;
}

/* ---- asking ---- */

static void ask(struct cp_surveys *surveys, struct cp_operator *o, const struct sch_explanation *e)
{
    struct cp_survey survey = {.id = ++o->last_survey,
                               .gang_id = e->gang_id,
                               .request = e->request,
                               .gang = e->gang,
                               .class_id = e->class_id,
                               .queue_count = e->victim_count};
    memcpy(survey.queues, e->victims, e->victim_count * sizeof(survey.queues[0]));
    struct cp_question *question = &surveys->questions[surveys->count++];
    *question = (struct cp_question){.operator= o, .surveys = surveys, .id = survey.id};
    snprintf(question->cluster, sizeof(question->cluster), "%s", o->cluster->name);
    DL_APPEND(o->questions, question);
    surveys->waiting++;
    cp_operator_survey(o, &survey);
}

/* Where it is; or where it could go. */
static bool is_asked(const struct sch_explanation *e, const char *name)
{
    if (e->held)
        return e->cluster && strcmp(e->cluster, name) == 0;
    for (size_t i = 0; i < e->cluster_count; i++) {
        if (strcmp(e->clusters[i].name, name) == 0)
            return e->clusters[i].eligible &&
                   (e->victim_count > 0 || e->clusters[i].kept > 0 || e->class_id > 0);
    }
    return false;
}

static bool can_ask(const struct cp_operator *o)
{
    const struct cp_question *at;
    uint32_t waiting = 0;
    if (!o || o->closing)
        return false;
    DL_FOREACH(o->questions, at)
    waiting++;
    return waiting < QUESTIONS_MAX;
}

struct cp_surveys *cp_partition_survey(struct cp_partition *p, const struct sch_explanation *e,
                                       void (*done)(void *ctx), void *ctx)
{
    if (!e->wants_room || e->refused)
        return NULL;
    struct cp_surveys *surveys = sy_new(struct cp_surveys);
    *surveys = (struct cp_surveys){.loop = p->loop, .done = done, .ctx = ctx};
    sy_timer_init(&surveys->timer, on_time, surveys);
    for (struct cp_cluster *cluster = p->clusters;
         cluster && surveys->count < CP_SURVEY_CLUSTERS_MAX; cluster = cluster->next) {
        if (can_ask(cluster->stream) && is_asked(e, cluster->name))
            ask(surveys, cluster->stream, e);
    }
    if (surveys->count == 0) {
        cp_surveys_free(surveys);
        return NULL;
    }
    sy_timer_start_in(p->loop, &surveys->timer, CP_SURVEY_NS);
    return surveys;
}

/* ---- what they say ---- */

static void take(struct cp_survey_answer *ret, const Switchyard__Internal__SurveyAnswer *from)
{
    *ret = (struct cp_survey_answer){.known = true, .room = from->room, .withheld = from->withheld};
    ret->displaced_all = from->displaces ? from->victim_count : 0;
    ret->displaced = sy_calloc(from->n_victims + 1, sizeof(*ret->displaced));
    for (size_t i = 0; from->displaces && i < from->n_victims; i++) {
        struct cp_displaced *displaced = &ret->displaced[ret->displaced_count++];
        cp_text_clean(from->victims[i]->node);
        displaced->action_id = from->victims[i]->action;
        displaced->number = from->victims[i]->number;
        displaced->epoch = from->victims[i]->epoch;
        snprintf(displaced->node, sizeof(displaced->node), "%s", from->victims[i]->node);
    }
    ret->kept = sy_calloc(from->n_kept + 1, sizeof(*ret->kept));
    for (size_t i = 0; i < from->n_kept; i++) {
        const Switchyard__Internal__SurveyNode *node = from->kept[i];
        struct cp_kept *kept = &ret->kept[ret->kept_count++];
        cp_text_clean(node->node);
        snprintf(kept->node, sizeof(kept->node), "%s", node->node);
        kept->fits = node->fits;
        kept->missing = (struct sch_use){.cpu_milli = node->cpu_milli,
                                         .memory_bytes = node->memory_bytes,
                                         .gpu_milli = node->gpu_milli};
    }
}

void cp_survey_answered(struct cp_operator *o, const Switchyard__Internal__SurveyAnswer *answer)
{
    struct cp_question *question = o->questions;
    while (question && question->id != answer->id)
        question = question->next;
    if (!question)
        return; /* it came too late */
    take(&question->answer, answer);
    leave(question);
    settle(question->surveys);
}

void cp_surveys_drop(struct cp_operator *o)
{
    while (o->questions) {
        struct cp_surveys *surveys = o->questions->surveys;
        leave(o->questions);
        settle(surveys);
    }
}

bool cp_partition_displaced(struct cp_partition *p, const struct cp_displaced *displaced,
                            struct cp_displaced_view *ret)
{
    const struct sch_action *action = sch_partition_find_action_by_id(p->core,
                                                                      displaced->action_id);
    if (!action || action->number != displaced->number || action->attempt_epoch != displaced->epoch)
        return false;
    const struct cp_place *place = cp_places_find(&p->places, action->id);
    *ret = (struct cp_displaced_view){action, place ? place->started_ns : 0};
    return true;
}
