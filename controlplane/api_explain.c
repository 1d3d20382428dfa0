/* switchyard.v1.ExplainService: the core's explanations with names, times and attempts. */
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "switchyard/v1/explain_service.pb-c.h"

#include <string.h>

#define WHY_BITS 9u /* of SCH_WHY_* */

#define ATTEMPTS_MAX 100

typedef Switchyard__V1__Explanation Explanation;
typedef Switchyard__V1__QueueId QueueId;
typedef Switchyard__V1__Space Space;
typedef Switchyard__V1__Timeline Timeline;

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* generated structs have no const; packing does not write */
}

/* ---- parts ---- */

/* An answer lies in the lane's scratch memory: there may be thousands of clusters. */
static void *zeroed(struct cp_request *req, size_t size)
{
    void *memory = sy_arena_alloc(&req->lane->scratch, size);
    SY_ASSERT(memory != NULL); /* a few hundred bytes for a cluster */
    return memset(memory, 0, size);
}

static void *part(struct cp_request *req, const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = zeroed(req, descriptor->sizeof_message);
    descriptor->message_init(message);
    return message;
}

static void *list(struct cp_request *req, size_t count)
{
    return zeroed(req, (count + 1) * sizeof(void *));
}

static QueueId *queue_of(struct cp_request *req, const struct sch_queue_key *key)
{
    QueueId *id = part(req, &switchyard__v1__queue_id__descriptor);
    id->project = text(key->project);
    id->domain = text(key->domain);
    id->name = text(key->name);
    return id;
}

static Space *space_of(struct cp_request *req, const struct sch_use *use)
{
    Space *space = part(req, &switchyard__v1__space__descriptor);
    space->cpu_milli = use->cpu_milli;
    space->memory_bytes = use->memory_bytes;
    space->gpu_milli = use->gpu_milli;
    return space;
}

static Switchyard__V1__Request *request_of(struct cp_request *req,
                                           const struct sch_resources *resources)
{
    Switchyard__V1__Request *request = part(req, &switchyard__v1__request__descriptor);
    request->cpu_milli = resources->cpu_milli;
    request->memory_bytes = resources->memory_bytes;
    request->gpu_milli = sch_resources_gpu_milli(resources);
    request->gpu_model = text(resources->gpu_model);
    request->gpu_partition = text(resources->gpu_partition);
    request->gpu_slices = resources->gpu_partition[0] != '\0' ? resources->gpus : 0;
    request->environment = text(resources->environment);
    request->labels = text(resources->labels);
    return request;
}

/* Monotonic to realtime; none stays 0. */
static int64_t realtime(const struct cp_request *req, int64_t at_ns)
{
    struct sy_loop *loop = req->lane->loop;
    if (at_ns == 0 || at_ns == SY_TIME_NEVER)
        return 0;
    return sy_loop_realtime_ns(loop) + (at_ns - sy_loop_now_ns(loop));
}

/* ---- what holds it back ---- */

_Static_assert((int)SCH_LIMIT_PAUSED + 1 == SWITCHYARD__V1__LIMIT_KIND__LIMIT_KIND_PAUSED &&
                   (int)SCH_LIMIT_GPUS + 1 == SWITCHYARD__V1__LIMIT_KIND__LIMIT_KIND_GPUS,
               "the same order");
_Static_assert((int)SCH_CHANGE_TIME + 1 == SWITCHYARD__V1__CHANGE_KIND__CHANGE_KIND_TIME &&
                   (int)SCH_CHANGE_UNCORDON + 1 ==
                       SWITCHYARD__V1__CHANGE_KIND__CHANGE_KIND_UNCORDON,
               "the same order");
_Static_assert((int)SCH_BASIS_NONE + 1 == SWITCHYARD__V1__BASIS__BASIS_NONE &&
                   (int)SCH_BASIS_CLASS + 1 == SWITCHYARD__V1__BASIS__BASIS_CLASS,
               "the same order");
_Static_assert(SCH_WHY_NOT_CONNECTED == 1u << (SWITCHYARD__V1__WHY_NOT__WHY_NOT_CONNECTED - 1) &&
                   SCH_WHY_DRAINED == 1u << (SWITCHYARD__V1__WHY_NOT__WHY_NOT_DRAINED - 1) &&
                   SCH_WHY_DRAINED == 1u << (WHY_BITS - 1),
               "the same order, and all of them");

static void put_limits(struct cp_request *req, const struct sch_explanation *e, Explanation *ret)
{
    ret->limits = list(req, e->limit_count);
    ret->n_limits = e->limit_count;
    for (size_t i = 0; i < e->limit_count; i++) {
        const struct sch_explain_limit *from = &e->limits[i];
        Switchyard__V1__Limit *limit = part(req, &switchyard__v1__limit__descriptor);
        limit->queue = queue_of(req, &from->queue);
        limit->kind = (Switchyard__V1__LimitKind)(from->limit + 1);
        limit->used = from->used;
        limit->need = from->need;
        limit->allowed = from->allowed;
        limit->max = from->max;
        ret->limits[i] = limit;
    }
}

/* ---- what its operators add ---- */

/* NULL: it has ended meanwhile. */
static Switchyard__V1__DisplacedAttempt *displaced_of(struct cp_request *req,
                                                      const struct cp_displaced *from)
{
    struct cp_displaced_view view;
    if (!cp_partition_displaced(req->lane->partition, from, &view))
        return NULL;
    const struct sch_run *run = view.action->run;
    Switchyard__V1__DisplacedAttempt *ret = part(req,
                                                 &switchyard__v1__displaced_attempt__descriptor);
    ret->run = part(req, &switchyard__v1__run_id__descriptor);
    ret->run->project = text(run->project);
    ret->run->domain = text(run->domain);
    ret->run->name = text(run->name);
    ret->action = text(view.action->name);
    ret->attempt = sch_action_attempt(view.action);
    ret->queue = queue_of(req, sch_action_queue(view.action));
    ret->node = text(from->node);
    ret->started_ns = view.started_ns;
    return ret;
}

static void put_survey(struct cp_request *req, const struct cp_survey_answer *answer,
                       Switchyard__V1__ClusterView *ret)
{
    if (answer == NULL || !answer->known)
        return;
    ret->displaced = part(req, &switchyard__v1__displaced__descriptor);
    ret->displaced->room = answer->room;
    ret->displaced->withheld = answer->withheld;
    ret->displaced->count = answer->displaced_all;
    ret->displaced->attempts = list(req, answer->displaced_count);
    for (uint32_t i = 0; i < answer->displaced_count; i++) {
        void *attempt = displaced_of(req, &answer->displaced[i]);
        if (attempt != NULL)
            ret->displaced->attempts[ret->displaced->n_attempts++] = attempt;
    }
    ret->kept_nodes = list(req, answer->kept_count);
    for (uint32_t i = 0; i < answer->kept_count; i++) {
        Switchyard__V1__KeptNode *kept = part(req, &switchyard__v1__kept_node__descriptor);
        kept->node = text(answer->kept[i].node);
        if (!answer->kept[i].fits)
            kept->missing = space_of(req, &answer->kept[i].missing);
        ret->kept_nodes[ret->n_kept_nodes++] = kept;
    }
}

static const struct cp_survey_answer *survey_of(const struct cp_request *req, const char *cluster)
{
    return cp_surveys_find(req->state, cluster);
}

static void release(struct cp_request *req)
{
    cp_surveys_free(sy_take(req->state));
}

/* Whether operators are asked first: then `answer` is called when they have said it, and the facts
 * are looked at anew. */
static bool asks(struct cp_request *req, const struct sch_explanation *e, void (*answer)(void *req))
{
    struct cp_surveys *surveys = e != NULL
                                     ? cp_partition_survey(req->lane->partition, e, answer, req)
                                     : NULL;
    if (surveys == NULL)
        return false;
    req->state = surveys;
    req->release = release;
    return true;
}

static Switchyard__V1__ClusterView *cluster_of(struct cp_request *req,
                                               const struct sch_explain_cluster *from)
{
    Switchyard__V1__ClusterView *ret = part(req, &switchyard__v1__cluster_view__descriptor);
    ret->name = text(from->name);
    ret->region = text(from->region);
    ret->state = text(from->state);
    ret->eligible = from->eligible;
    ret->room = from->room;
    ret->awaited = from->awaited;
    ret->why_not = zeroed(req, WHY_BITS * sizeof(*ret->why_not));
    for (unsigned bit = 0; bit < WHY_BITS; bit++) {
        if (from->why_not & (1u << bit))
            ret->why_not[ret->n_why_not++] = (Switchyard__V1__WhyNot)(bit + 1);
    }
    ret->miss = text(from->miss.text);
    if (from->why_not & SCH_WHY_ROOM)
        ret->missing = space_of(req, &from->missing);
    if (from->room_known)
        ret->free = space_of(req, &from->free);
    ret->price = from->price;
    ret->price_max = from->price_max;
    ret->avoided_until_ns = realtime(req, from->avoided_until_ns);
    ret->failures = from->failures;
    ret->failing_percent = from->failing_percent;
    ret->holds = from->holds;
    ret->fits = from->fits;
    ret->kept = from->kept;
    ret->kept_for_others = from->kept_for_others;
    put_survey(req, survey_of(req, from->name), ret);
    return ret;
}

static Switchyard__V1__Line *line_of(struct cp_request *req, const struct sch_explain_line *from)
{
    Switchyard__V1__Line *ret = part(req, &switchyard__v1__line__descriptor);
    ret->own = from->own;
    ret->own_exact = from->own_exact;
    ret->others = from->others;
    ret->complete = from->complete;
    ret->queues = list(req, from->lane_count);
    for (size_t i = 0; i < from->lane_count; i++) {
        const struct sch_explain_lane *lane = &from->lanes[i];
        Switchyard__V1__LineQueue *queue = part(req, &switchyard__v1__line_queue__descriptor);
        queue->queue = queue_of(req, &lane->queue);
        queue->project = text(lane->project);
        queue->domain = text(lane->domain);
        queue->request = request_of(req, &lane->request);
        queue->actions = lane->actions;
        queue->priority = lane->priority;
        ret->queues[ret->n_queues++] = queue;
    }
    return ret;
}

static void put_changes(struct cp_request *req, const struct sch_explanation *e, Explanation *ret)
{
    ret->changes = list(req, e->change_count);
    ret->n_changes = e->change_count;
    for (size_t i = 0; i < e->change_count; i++) {
        const struct sch_change *from = &e->changes[i];
        Switchyard__V1__Change *change = part(req, &switchyard__v1__change__descriptor);
        change->kind = (Switchyard__V1__ChangeKind)(from->type + 1);
        bool limit = from->type == SCH_CHANGE_LIMIT;
        if (limit || from->type == SCH_CHANGE_RESUME || from->type == SCH_CHANGE_ALLOW ||
            from->type == SCH_CHANGE_PRICE || from->type == SCH_CHANGE_REGION)
            change->queue = queue_of(req, &from->queue);
        if (limit)
            change->limit = (Switchyard__V1__LimitKind)(from->limit + 1);
        if (from->type == SCH_CHANGE_ROOM || from->type == SCH_CHANGE_NODE)
            change->space = space_of(req, &from->amounts);
        if (from->cluster != NULL)
            change->cluster = text(from->cluster);
        if (from->region != NULL)
            change->region = text(from->region);
        change->now = from->now;
        change->least = from->least;
        change->at_ns = realtime(req, from->at_ns);
        ret->changes[i] = change;
    }
}

static char *producer_of(struct cp_request *req, const struct sch_action *producer)
{
    if (producer == NULL)
        return text("");
    const struct sch_run *run = producer->run;
    char *name = sy_arena_printf(&req->lane->scratch, "%s/%s/%s/%s", run->project, run->domain,
                                 run->name, producer->name);
    SY_ASSERT(name != NULL);
    return name;
}

static void put_waiting(struct cp_request *req, const struct sch_explanation *e, Explanation *ret)
{
    ret->waits = true;
    ret->queue = queue_of(req, &e->queue);
    ret->priority = e->priority;
    ret->request = request_of(req, &e->request);
    if (e->slots_max > 0) {
        ret->slots = part(req, &switchyard__v1__slots__descriptor);
        ret->slots->used = e->slots_used;
        ret->slots->max = e->slots_max;
        ret->slots->ahead = e->slots_ahead;
    }
    put_limits(req, e, ret);
    ret->clusters = list(req, e->cluster_count);
    ret->n_clusters = e->cluster_count;
    for (size_t i = 0; i < e->cluster_count; i++)
        ret->clusters[i] = cluster_of(req, &e->clusters[i]);
    ret->ahead = line_of(req, &e->ahead);
    ret->behind = line_of(req, &e->behind);
    put_changes(req, e, ret);
    ret->estimate = part(req, &switchyard__v1__estimate__descriptor);
    ret->estimate->basis = (Switchyard__V1__Basis)(e->estimate.basis + 1);
    ret->estimate->wait_ns = e->estimate.wait_ns;
    ret->estimate->starts = e->estimate.starts;
    ret->estimate->span_ns = e->estimate.span_ns;
    ret->starts_now = e->starts_now;
    ret->displaceable_queues_more = e->victims_more;
}

/* Of its cluster what that says: a gang that is there and has no room yet. */
static void put_held(struct cp_request *req, const struct sch_explanation *e, Explanation *ret)
{
    Switchyard__V1__ClusterView *view = part(req, &switchyard__v1__cluster_view__descriptor);
    ret->request = request_of(req, &e->request);
    ret->clusters = list(req, 1);
    ret->clusters[ret->n_clusters++] = view;
    view->name = text(e->cluster);
    view->state = text("ready");
    view->eligible = true;
    put_survey(req, survey_of(req, e->cluster), view);
}

/* Points into the explanation. */
static Explanation *explanation_of(struct cp_request *req, const struct sch_explanation *e)
{
    Explanation *ret = part(req, &switchyard__v1__explanation__descriptor);
    ret->state = text(sch_action_table.states[e->state].name);
    ret->since_ns = realtime(req, e->since_ns);
    ret->until_ns = realtime(req, e->until_ns);
    ret->times_out_ns = realtime(req, e->times_out_ns);
    ret->producer = producer_of(req, e->producer);
    ret->children = e->children;
    ret->members = e->gang.size;
    ret->held = e->held;
    if (e->gang.topology == SCH_TOPOLOGY_REQUIRE)
        ret->domain = text(e->gang.key);
    if (e->cluster != NULL)
        ret->cluster = text(e->cluster);
    if (e->waits)
        put_waiting(req, e, ret);
    else if (e->held)
        put_held(req, e, ret);
    return ret;
}

/* ---- where its time went ---- */

static void put_attempt(struct cp_request *req, Timeline *timeline, int64_t queued_ns,
                        const Switchyard__Internal__Store__OutcomeRow *row)
{
    Switchyard__V1__Attempt *attempt = part(req, &switchyard__v1__attempt__descriptor);
    attempt->number = row->number;
    attempt->queued_ns = queued_ns;
    attempt->started_ns = row->started_ns;
    attempt->ended_ns = row->finished_ns;
    attempt->cluster = row->cluster;
    attempt->node = row->node;
    attempt->error = row->error;
    attempt->granted_ns = row->granted_ns;
    if (row->granted_ns > 0)
        attempt->reported_ns = row->granted_ns + row->out_ns;
    attempt->held_ns = row->held_ns;
    attempt->waited_ns = row->waited_ns;
    if (row->started_ns > 0 && row->finished_ns > row->started_ns)
        attempt->ran_ns = row->finished_ns - row->started_ns;
    timeline->attempts[timeline->n_attempts++] = attempt;
}

/* Of one that lives: it runs, or waits to. */
static void put_live_attempt(struct cp_request *req, Timeline *timeline, int64_t queued_ns,
                             const struct cp_action_view *view)
{
    Switchyard__V1__Attempt *attempt = part(req, &switchyard__v1__attempt__descriptor);
    bool out = view->live->number > view->live->ended;
    attempt->number = out ? view->number : view->live->attempts + 1;
    attempt->queued_ns = queued_ns;
    if (out) {
        attempt->granted_ns = view->granted_ns;
        attempt->started_ns = view->started_ns;
        attempt->cluster = text(view->cluster);
        attempt->node = text(view->node);
    }
    timeline->attempts[timeline->n_attempts++] = attempt;
}

static Timeline *timeline_of(struct cp_request *req, const struct cp_action_view *view)
{
    Timeline *timeline = part(req, &switchyard__v1__timeline__descriptor);
    const Switchyard__Internal__Store__OutcomeRow *outcome = view->outcome;
    timeline->created_ns = view->row->created_ns;
    timeline->attempts = list(req, view->earlier_count + 1);
    int64_t queued_ns = view->row->created_ns;
    for (size_t i = 0; i < view->earlier_count; i++) {
        put_attempt(req, timeline, queued_ns, view->earlier[i]);
        queued_ns = timeline->attempts[i]->reported_ns > 0 ? timeline->attempts[i]->reported_ns
                                                           : view->earlier[i]->finished_ns;
    }
    if (outcome != NULL) {
        timeline->finished_ns = outcome->finished_ns;
        timeline->reused = outcome->recovered || outcome->reused_from[0] != '\0';
        if (outcome->number > 0)
            put_attempt(req, timeline, queued_ns, outcome);
    } else if (view->live != NULL && view->live->spec != NULL && !view->live->spec->group) {
        put_live_attempt(req, timeline, queued_ns, view);
    }
    return timeline;
}

/* ---- ExplainAction ---- */

static int explain_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__ExplainActionRequest *m = req->message;
    if (cp_address_native(req, m->run, error) < 0)
        return -EINVAL;
    return m->action[0] != '\0' ? cp_name_check("action", m->action, error) : 0;
}

static void explain_action(struct cp_request *req);

static void explain_surveyed(void *req)
{
    explain_action(req);
}

static void explain_action(struct cp_request *req)
{
    const Switchyard__V1__ExplainActionRequest *m = req->message;
    struct sy_arena *arena = cp_scratch(req->lane);
    struct cp_partition *p = req->lane->partition;
    struct cp_run_view run;
    struct cp_action_view action;
    if (!cp_view_run(req, arena, &run))
        return;
    const char *name = m->action[0] != '\0' ? m->action : cp_partition_waiting(&run);
    if (!cp_view_action(req, arena, run.id, name, &action))
        return;
    int r = cp_partition_get_attempts(p, arena, &action, ATTEMPTS_MAX);
    if (r != 0) {
        cp_fail_read(req, r);
        return;
    }
    Switchyard__V1__ExplainActionResponse response = SWITCHYARD__V1__EXPLAIN_ACTION_RESPONSE__INIT;
    struct sch_explanation *e = action.live != NULL ? cp_partition_explain(p, action.live) : NULL;
    if (req->state == NULL && asks(req, e, explain_surveyed)) {
        sch_explanation_free(e);
        return;
    }
    response.action = text(name);
    response.phase = action.phase;
    response.timeline = timeline_of(req, &action);
    struct sy_error_text silence;
    cp_partition_silence(p, &action, &silence);
    if (e != NULL) {
        response.explanation = explanation_of(req, e);
        response.explanation->silence = silence.text;
    }
    cp_reply_message(req, &response.base);
    sch_explanation_free(e);
}

/* ---- DryRun ---- */

/* A run without a name may lie in any partition. */
static int dry_run_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__DryRunRequest *m = req->message;
    const Switchyard__V1__RunId *run = m->run;
    if (run != NULL && run->name[0] != '\0')
        return cp_address_native(req, run, error);
    if (run == NULL) {
        sy_error_text_set(error, "run: missing");
        return -EINVAL;
    }
    return cp_name_check("run.project", run->project, error) < 0 ||
                   cp_name_check("run.domain", run->domain, error) < 0
               ? -EINVAL
               : 0;
}

/* Whether the name is taken; a failed read fails the request. */
static bool check_name(struct cp_request *req, struct sy_error_text *ret_refusal, bool *ret_failed)
{
    const Switchyard__V1__DryRunRequest *m = req->message;
    struct cp_run_view run;
    *ret_failed = false;
    if (m->run->name[0] == '\0')
        return true;
    int r = cp_partition_get_run(req->lane->partition, &req->lane->scratch, m->run->project,
                                 m->run->domain, m->run->name, &run);
    if (r == CP_PARTITION_E_NOT_FOUND)
        return true;
    *ret_failed = r != 0;
    if (r != 0)
        cp_fail_read(req, r);
    sy_error_text_set(ret_refusal, "run %s/%s/%s exists already", m->run->project, m->run->domain,
                      m->run->name);
    return false;
}

/* False: the request has failed. */
static bool dry_run_gang(struct cp_request *req, struct sch_gang_shape *ret)
{
    const Switchyard__V1__DryRunRequest *m = req->message;
    const Switchyard__V1__Gang none = SWITCHYARD__V1__GANG__INIT;
    const Switchyard__V1__Gang *gang = m->gang != NULL ? m->gang : &none;
    struct sy_error_text error;
    int r = sch_gang_shape_init(ret, m->members, (uint32_t)gang->topology, gang->topology_key,
                                (uint32_t)gang->on_loss, &error);
    if (r < 0)
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
    return r == 0;
}

static void dry_run(struct cp_request *req);

static void dry_run_surveyed(void *req)
{
    dry_run(req);
}

static void dry_run(struct cp_request *req)
{
    const Switchyard__V1__DryRunRequest *m = req->message;
    struct cp_dry_run request = {.project = m->run->project,
                                 .domain = m->run->domain,
                                 .queue = m->queue,
                                 .priority = m->priority,
                                 .task_spec = {m->task_spec.data, m->task_spec.len}};
    struct sy_error_text error = {0}, refusal = {0}, taken = {0};
    struct sch_explanation *e = NULL;
    bool failed;
    (void)cp_scratch(req->lane);
    if (m->queue[0] != '\0' && cp_name_check("queue", m->queue, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    struct sch_gang_shape gang;
    if (m->members > 0 || m->gang != NULL) {
        if (!dry_run_gang(req, &gang))
            return;
        request.gang = &gang;
    }
    enum sy_code code = cp_partition_dry_run(req->lane->partition, &request, &e, &refusal, &error);
    if (code != SY_CODE_OK) {
        cp_fail(req, code, "%s", error.text);
        return;
    }
    if (req->state == NULL && refusal.text[0] == '\0' && asks(req, e, dry_run_surveyed)) {
        sch_explanation_free(e);
        return;
    }
    bool name_is_free = check_name(req, &taken, &failed);
    if (!failed) {
        Switchyard__V1__DryRunResponse response = SWITCHYARD__V1__DRY_RUN_RESPONSE__INIT;
        response.refused = name_is_free ? refusal.text : taken.text;
        if (e != NULL)
            response.explanation = explanation_of(req, e);
        cp_reply_message(req, &response.base);
    }
    sch_explanation_free(e);
}

#define EXPLAIN_SERVICE "/switchyard.v1.ExplainService/"

const struct cp_method cp_explain_methods[] = {
    {.path = EXPLAIN_SERVICE "ExplainAction",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__explain_action_request__descriptor,
     .address = explain_address,
     .serve = explain_action,
     .routable = true},
    {.path = EXPLAIN_SERVICE "DryRun",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__dry_run_request__descriptor,
     .address = dry_run_address,
     .serve = dry_run,
     .anywhere = true},
    {0},
};
