/* Effects of the core become rows of the open group and items of its release list. */
#include "controlplane/partition_impl.h"

#include "flyteidl2/core/catalog.pb-c.h"

#define DEATHS_SHOWN 16u

/* ---- errors ---- */

static const char *default_code(enum sch_outcome outcome)
{
    switch (outcome) {
    case SCH_OUTCOME_OUT_OF_MEMORY:
        return "OutOfMemory";
    case SCH_OUTCOME_TIMED_OUT:
        return "TimedOut";
    case SCH_OUTCOME_LOST:
        return "Lost";
    case SCH_OUTCOME_REFUSED:
        return "Refused";
    case SCH_OUTCOME_CANCELLED:
        return "Cancelled";
    case SCH_OUTCOME_PREEMPTED:
        return "Preempted";
    case SCH_OUTCOME_SUCCEEDED:
    case SCH_OUTCOME_FAILED:
    case SCH_OUTCOME_FAILED_FINAL:
        break;
    }
    return "Failed";
}

static bool is_flyte(const struct sch_action *action)
{
    return action->spec && cp_spec_use_of(action->spec)->spec->traits.flyte;
}

/* Flyte's clients know by it that each retry was used up; the task's own code follows. */
static bool retries_exhausted(const struct sch_action *action, enum sch_action_state state,
                              enum sch_outcome outcome)
{
    return state == SCH_ACTION_FAILED && is_flyte(action) && action->spec->retries > 0 &&
           action->user_failures > action->spec->retries &&
           (outcome == SCH_OUTCOME_FAILED || outcome == SCH_OUTCOME_OUT_OF_MEMORY);
}

/* How often, and where, as far as that is known: each attempt that was lost. */
static const char *print_deaths(struct cp_partition *p, const struct sch_action *action,
                                const char *message, const char *node)
{
    struct sy_arena *arena = &p->open->arena;
    uint32_t last = sch_action_attempt(action);
    const char *text = "";
    for (uint32_t i = last > DEATHS_SHOWN ? last - DEATHS_SHOWN : 1; i < last; i++) {
        const Switchyard__Internal__Store__OutcomeRow *row;
        struct cp_key key = cp_key_attempt(action->run->id, action->id, i);
        int r = cp_row_get(p->store, CP_FAMILY_ATTEMPTS, &key,
                           &switchyard__internal__store__outcome_row__descriptor, arena,
                           &p->scratch2, &row);
        if (r == 0 && row->error && row->error->system && row->node[0])
            text = sy_arena_printf(arena, "%s%u on %s, ", text, i, row->node);
    }
    return sy_arena_printf(arena, "%s, %u times; attempts lost: %s%u on %s", message,
                           action->deaths, text, last, node[0] ? node : "a node not known");
}

/* What the core says comes first, then what the task or its agent said. */
static struct cp_error describe_error(struct cp_partition *p, const struct sch_action *action,
                                      enum sch_action_state state, const char *code,
                                      const char *message, const struct sch_report *report)
{
    const Switchyard__Internal__Outcome *outcome = report && p->report ? p->report->outcome : NULL;
    struct sy_arena *arena = &p->open->arena;
    struct cp_error error = {.code = code, .message = message};
    if (state == SCH_ACTION_SUCCEEDED)
        return (struct cp_error){0};
    const char *own = outcome ? outcome->error_code : "";
    if (outcome && !own[0])
        own = default_code(report->outcome);
    if (!code && outcome && report->outcome != SCH_OUTCOME_SUCCEEDED) {
        error.code = own;
        error.message = outcome->error_message;
        if (retries_exhausted(action, state, report->outcome))
            error.code = sy_arena_printf(arena, "RetriesExhausted|%s", own);
    } else if (code && is_flyte(action) && outcome && report->outcome == SCH_OUTCOME_REFUSED) {
        error.code = own; /* no such image, say: a client has more use for that */
        error.message = outcome->error_message;
    } else if (code && outcome && outcome->error_message[0]) {
        if (strcmp(code, "PoisonTask") == 0)
            message = print_deaths(p, action, message, outcome->node);
        error.message = sy_arena_printf(arena, "%s (%s: %s)", message ? message : "", own,
                                        outcome->error_message);
    }
    /* Without an outcome of its own only the infrastructure can have lost it. */
    error.system = code &&
                   (strcmp(code, "Lost") == 0 || strcmp(code, "SystemRetriesExhausted") == 0 ||
                    strcmp(code, "Infeasible") == 0);
    return error;
}

static const char *cluster_of(const struct sch_action *action)
{
    return action->cluster ? sch_cluster_name(action->cluster) : "";
}

/* ---- rows ---- */

static void row_run_created(struct cp_partition *p, struct sch_run *run)
{
    struct cp_live_run *live = sy_new(struct cp_live_run);
    live->refs = 1;
    live->id = run->id;
    live->name_high_known = true;
    memcpy(live->project, run->project, sizeof(live->project));
    memcpy(live->domain, run->domain, sizeof(live->domain));
    run->shell = live;
    struct cp_key key = cp_key_run(run->id);
    sy_buf_clear(&p->scratch);
    cp_put(p, CP_FAMILY_LIVE, &key, &p->scratch);
    sy_buf_put_be64(&p->scratch, run->id);
    struct cp_key name = cp_key_run_name(run->project, run->domain, run->name);
    cp_put(p, CP_FAMILY_RUN_NAMES, &name, &p->scratch);
}

/* The RunRow comes with the root, whose shell pointer has what the caller gave. */
static void row_run(struct cp_partition *p, struct sch_run *run,
                    const struct cp_create_run *request)
{
    struct cp_live_run *live = run->shell;
    Switchyard__Internal__Store__RunRow row;
    switchyard__internal__store__run_row__init(&row);
    row.project = run->project;
    row.domain = run->domain;
    row.name = run->name;
    row.created_ns = run->created_ns;
    int r = cp_flyte_queue(request->run_spec, live->queue, NULL);
    SY_ASSERT(r == 0); /* it was checked */
    row.run_spec.data = (uint8_t *)(uintptr_t)request->run_spec.data;
    row.run_spec.len = request->run_spec.len;
    if (request->inputs_hash)
        row.inputs_hash = (char *)(uintptr_t)request->inputs_hash;
    row.trigger = (ProtobufCBinaryData){request->trigger.len,
                                        (uint8_t *)(uintptr_t)request->trigger.data};
    if (request->request_id && request->request_id[0]) {
        live->request_id = sy_strdup(request->request_id);
        row.request_id = live->request_id;
    }
    cp_row_pack(&live->row, &row.base);
    struct cp_key key = cp_key_run(run->id);
    cp_put(p, CP_FAMILY_RUNS, &key, &live->row);
}

static void row_created(struct cp_partition *p, struct sch_action *action,
                        const struct cp_creating *creating, bool ends)
{
    struct cp_action_row row = creating->row;
    row.id = action->id;
    row.parent = action->parent ? action->parent->name : "";
    row.created_ns = action->created_ns;
    row.priority = action->priority;
    row.spec_digest = action->spec ? cp_spec_use_of(action->spec)->spec->digest : NULL;
    struct sch_gang_view gang;
    row.gang = sch_action_gang(action, &gang) ? &gang : NULL;
    if (creating->run)
        row_run(p, action->run, creating->run);
    const struct cp_live_run *run = action->run->shell;
    const struct sch_queue_key *queue = sch_action_queue(action);
    if (queue && ((row.queue && row.queue[0]) || run->queue[0]))
        row.queue_reach = sch_queue_key_reach(queue);
    cp_raise_name_high(action->run, action->name);
    struct cp_key key = cp_key_action(action->run->id, action->name);
    if (creating->again)
        cp_delete(p, CP_FAMILY_OUTCOMES, &key);
    sy_buf_clear(&p->scratch);
    cp_row_put_action(&p->scratch, &row);
    cp_put(p, CP_FAMILY_ACTIONS, &key, &p->scratch);
    if (!ends) /* in this very step */
        cp_put_live(p, action);
    if (action->id > p->open->id_high)
        p->open->id_high = action->id;
    p->created = action;
    p->ending_action = ends ? action : NULL;
}

void cp_put_live(struct cp_partition *p, const struct sch_action *action)
{
    struct cp_key key = cp_key_action(action->run->id, action->name);
    sy_buf_clear(&p->scratch);
    cp_row_put_live(&p->scratch, action);
    cp_put(p, CP_FAMILY_LIVE, &key, &p->scratch);
}

static void remember_ended(struct cp_partition *p, uint64_t run_id, const char *name,
                           const char *detail)
{
    struct cp_group *group = p->open;
    if (group->ended_count == group->ended_cap) {
        group->ended_cap = group->ended_cap ? group->ended_cap * 2 : 16;
        group->ended = sy_realloc(group->ended, group->ended_cap * sizeof(*group->ended));
    }
    struct cp_ended *ended = &group->ended[group->ended_count++];
    ended->run_id = run_id;
    ended->name = sy_arena_strdup(&group->arena, name);
    ended->detail = sy_arena_strdup(&group->arena, detail);
    SY_ASSERT(ended->name && ended->detail);
}

static void set_outcome(struct cp_outcome_row *row, const Switchyard__Internal__Outcome *outcome)
{
    row->started_ns = outcome->started_ns;
    row->finished_ns = outcome->finished_ns;
    row->node = outcome->node;
    row->memory_peak_bytes = outcome->memory_peak_bytes;
    row->has_logs = outcome->has_logs;
    row->output = (struct sy_span){outcome->output.data, outcome->output.len};
    row->output_uri = outcome->output_uri;
    row->error_kind = outcome->error_kind;
    row->held_ns = outcome->held_ns > 0 ? outcome->held_ns : 0;
    row->waited_ns = outcome->waited_ns > 0 ? outcome->waited_ns : 0;
}

static void set_place(struct cp_partition *p, struct cp_outcome_row *row,
                      const struct sch_action *action)
{
    const struct cp_place *place = cp_places_find(&p->places, action->id);
    if (!place)
        return;
    row->started_ns = place->started_ns;
    row->node = place->node;
    if (place->granted_ns != 0) {
        row->out_ns = sy_loop_now_ns(p->loop) - place->granted_ns;
        row->granted_ns = sy_loop_realtime_ns(p->loop) - row->out_ns;
    }
}

static void set_ending(struct cp_outcome_row *row, const struct cp_ending *ending)
{
    row->started_ns = ending->started_ns ? ending->started_ns : row->finished_ns;
    if (ending->finished_ns)
        row->finished_ns = ending->finished_ns;
    row->output = ending->output;
    row->output_uri = ending->output_uri;
    if (ending->cluster)
        row->cluster = ending->cluster;
    if (row->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED)
        row->error = ending->error;
    row->cache = ending->cache;
    row->reused_from = ending->reused_from;
    row->recovered = ending->recovered;
}

/* The row of an action that others may wait for: their ends follow in this very step. */
static void keep_produced(struct cp_partition *p, const struct sch_action *action)
{
    if (!is_flyte(action) || !cp_spec_use_of(action->spec)->spec->traits.serialized)
        return;
    sy_buf_clear(&p->produced);
    sy_buf_append(&p->produced, p->scratch.data, p->scratch.len);
}

static void set_produced(struct cp_partition *p, struct cp_outcome_row *row,
                         const struct sch_action *producer)
{
    const Switchyard__Internal__Store__OutcomeRow *from = CP_UNPACK(
        Switchyard__Internal__Store__OutcomeRow,
        switchyard__internal__store__outcome_row__descriptor, &p->open->arena,
        sy_buf_span(&p->produced));
    SY_ASSERT(from);
    const struct sch_run *run = producer->run;
    struct cp_ending ending = {.output = {from->output.data, from->output.len},
                               .output_uri = from->output_uri,
                               .cluster = from->cluster,
                               .cache = FLYTEIDL2__CORE__CATALOG_CACHE_STATUS__CACHE_HIT,
                               .reused_from = sy_arena_printf(&p->open->arena, "%s/%s/%s/%s",
                                                              run->project, run->domain, run->name,
                                                              producer->name)};
    set_ending(row, &ending);
}

static void row_finished(struct cp_partition *p, const struct sch_effect *effect)
{
    struct sch_action *action = effect->u.final.action;
    struct cp_outcome_row row = {.phase = cp_phase_of(effect->u.final.state, action->number),
                                 .number = sch_action_attempt(action),
                                 .epoch = action->attempt_epoch,
                                 .finished_ns = sy_loop_realtime_ns(p->loop),
                                 .cluster = cluster_of(action)};
    /* While its parent is RECOVERING nobody knows the attempt: 0, which is taken for the newest. */
    if (row.phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED && action->parent &&
        action->parent->sm.state != SCH_ACTION_RECOVERING)
        row.parent_number = action->parent->number;
    set_place(p, &row, action);
    row.error = describe_error(p, action, effect->u.final.state, effect->u.final.code,
                               effect->u.final.message, effect->u.final.report);
    const Switchyard__Internal__Outcome *outcome = effect->u.final.report && p->report
                                                       ? p->report->outcome
                                                       : NULL;
    bool ends = p->ending && action == p->ending_action;
    if (outcome)
        set_outcome(&row, outcome);
    if (ends)
        set_ending(&row, p->ending);
    else if (effect->u.final.reused)
        set_produced(p, &row, effect->u.final.reused);
    else if (is_flyte(action))
        row.cache = cp_cache_put(p, action, &row);
    struct cp_key key = cp_key_action(action->run->id, action->name);
    sy_buf_clear(&p->scratch);
    cp_row_put_outcome(&p->scratch, &row);
    cp_put(p, CP_FAMILY_OUTCOMES, &key, &p->scratch);
    keep_produced(p, action);
    if (!ends || p->ending->signalled)
        cp_delete(p, CP_FAMILY_LIVE, &key);
    cp_places_remove(&p->places, action->id);
    if (action->id > p->durable_id_high)
        remember_ended(p, action->run->id, action->name,
                       action->parent ? action->parent->name : "");
}

static void row_run_finished(struct cp_partition *p, const struct sch_effect *effect)
{
    struct sch_run *run = effect->u.final.action->run;
    struct cp_live_run *live = sy_take(run->shell);
    struct cp_key key = cp_key_run(run->id);
    if (live->row.len == 0) {
        int r = cp_store_get(p->store, CP_FAMILY_RUNS, cp_key_span(&key), &live->row);
        if (r != 0)
            cp_fail_later(p, r < 0 ? r : -EBADMSG);
    }
    /* Fields of a message may follow in any order: what came with the end is appended. */
    cp_put_uint(&live->row, 6, cp_phase_of(effect->u.final.state, 0));
    cp_put_int(&live->row, 7, sy_loop_realtime_ns(p->loop));
    cp_put_uint(&live->row, 8, run->actions_total);
    cp_put(p, CP_FAMILY_RUNS, &key, &live->row);
    cp_delete(p, CP_FAMILY_LIVE, &key);
    if (run->id > p->durable_id_high) {
        const char *path = sy_arena_printf(&p->open->arena, "%s/%s/%s", run->project, run->domain,
                                           run->name);
        remember_ended(p, 0, path, live->request_id ? live->request_id : "");
    }
    cp_live_run_unref(live);
}

void cp_live_run_unref(struct cp_live_run *live)
{
    SY_ASSERT(live->refs > 0);
    if (--live->refs > 0)
        return;
    free(live->request_id);
    sy_buf_deinit(&live->flyte);
    sy_buf_deinit(&live->row);
    free(live);
}

/* ---- chunks ---- */

/* Where a running attempt is, for people. */
static void note_place(struct cp_partition *p, const struct sch_effect *effect, const char *node,
                       int64_t started_ns)
{
    uint64_t id = effect->u.event.action->id;
    if (effect->u.event.state == SCH_ACTION_RUNNING && effect->u.event.report)
        cp_places_set(&p->places, id, started_ns, node);
    else if (effect->u.event.tried > 0)
        cp_places_remove(&p->places, id);
}

/* Of the attempt that has ended, when another follows; the last one is in the action's outcome. */
static void row_attempt(struct cp_partition *p, const struct sch_effect *effect,
                        const struct cp_event_row *event)
{
    const struct sch_action *action = effect->u.event.action;
    const struct sch_report *report = effect->u.event.report;
    bool timed_out = report && report->outcome == SCH_OUTCOME_TIMED_OUT;
    struct cp_outcome_row row = {.phase = timed_out ? SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT
                                                    : SWITCHYARD__V1__PHASE__PHASE_FAILED,
                                 .number = effect->u.event.tried,
                                 .epoch = action->attempt_epoch,
                                 .finished_ns = event->time_ns,
                                 .cluster = effect->u.event.tried_on};
    set_place(p, &row, action);
    if (report && p->report && p->report->outcome)
        set_outcome(&row, p->report->outcome);
    row.error = event->error;
    row.output = (struct sy_span){0};
    row.output_uri = NULL;
    struct cp_key key = cp_key_attempt(action->run->id, action->id, row.number);
    sy_buf_clear(&p->scratch);
    cp_row_put_outcome(&p->scratch, &row);
    cp_put(p, CP_FAMILY_ATTEMPTS, &key, &p->scratch);
}

static struct cp_chunk *event_chunk(struct cp_partition *p, const struct sch_effect *effect)
{
    struct sch_run *run = effect->u.event.run;
    bool new;
    struct cp_chunk *chunk = cp_group_chunk(p, run->id, &new);
    if (new) {
        chunk->run_id = run->id;
        chunk->first_sequence = effect->u.event.sequence;
        chunk->live = run->shell;
        SY_ASSERT(chunk->live);
        chunk->live->refs++;
    }
    SY_ASSERT(effect->u.event.sequence == chunk->first_sequence + chunk->count);
    chunk->count++;
    chunk->actions_total = run->actions_total;
    chunk->root_changed |= effect->u.event.action == run->root;
    return chunk;
}

static void row_event(struct cp_partition *p, const struct sch_effect *effect)
{
    const struct sch_action *action = effect->u.event.action;
    const struct sch_report *report = effect->u.event.report;
    struct cp_event_row row = {.sequence = effect->u.event.sequence,
                               .action = action->name,
                               .phase = cp_phase_of(effect->u.event.state, action->number),
                               .time_ns = effect->u.event.time_ns,
                               .attempt = sch_action_attempt(action),
                               .cluster = cluster_of(action)};
    struct cp_chunk *chunk = event_chunk(p, effect);
    p->open->urgent |= !is_flyte(action);
    if (report && p->report)
        row.node = p->report->node;
    row.error = describe_error(p, action, effect->u.event.state, effect->u.event.code,
                               effect->u.event.message, report);
    if (effect->u.event.tried > 0)
        row_attempt(p, effect, &row);
    note_place(p, effect, row.node ? row.node : "", report ? report->started_ns : 0);
    if (cp_phase_final(row.phase)) {
        const struct cp_place *place = cp_places_find(&p->places, action->id);
        row.started_ns = place ? place->started_ns : 0;
        if (report && p->report && p->report->started_ns)
            row.started_ns = p->report->started_ns;
        if (p->ending && action == p->ending_action)
            row.started_ns = p->ending->started_ns;
    }
    if (p->created == action && action->parent) {
        row.parent = action->parent->name;
        p->created = NULL;
    }
    cp_row_put_event(&chunk->bytes, &row);
}

static void row_child(struct cp_partition *p, const struct sch_effect *effect)
{
    struct sch_action *parent = effect->u.child.parent;
    bool new;
    struct cp_chunk *chunk = cp_group_chunk(p, parent->id, &new);
    if (new) {
        chunk->run_id = parent->run->id;
        chunk->first_sequence = effect->u.child.sequence;
        chunk->parent = sch_action_ref(parent);
    }
    SY_ASSERT(effect->u.child.sequence == chunk->first_sequence + chunk->count);
    chunk->count++;
    cp_row_put_child(&chunk->bytes, effect->u.child.child->name);
}

/* ---- messages ---- */

static struct cp_cluster *target(struct cp_partition *p, const char *name)
{
    struct cp_cluster *first = p->clusters; /* mostly it is the one that was asked for last */
    if (first && (first->name == name || strcmp(first->name, name) == 0))
        return first;
    struct cp_cluster *cluster = cp_cluster_find(p, name);
    if (cluster && cluster != first) {
        DL_DELETE(p->clusters, cluster);
        DL_PREPEND(p->clusters, cluster);
    }
    return cluster;
}

static void send_assign(struct cp_partition *p, const struct sch_effect *effect)
{
    struct sch_action *action = effect->u.assign.action;
    struct cp_cluster *cluster = target(p, effect->u.assign.cluster);
    SY_ASSERT(cluster && cluster->stream);
    struct cp_item *item = cp_group_add(p, CP_ITEM_ASSIGN);
    struct cp_spec_use *use = cp_spec_use_of(action->spec);
    cp_places_grant(&p->places, action->id, sy_loop_now_ns(p->loop));
    use->spec->pins++;
    p->open->urgent |= action->id <= p->durable_id_high; /* it has waited for room */
    item->stream_serial = cluster->stream->serial;
    item->u.assign.cluster = cp_cluster_ref(cluster);
    item->u.assign.assign = (struct cp_assign){.action = sch_action_ref(action),
                                               .use = use,
                                               .class_id = effect->u.assign.class_id,
                                               .number = action->number,
                                               .attempt = sch_action_attempt(action),
                                               .queue = effect->u.assign.queue,
                                               .priority = effect->u.assign.priority,
                                               .suspect = action->suspect,
                                               .on_partition = action->spec->on_partition};
    if (effect->u.assign.place)
        item->u.assign.assign.place = *effect->u.assign.place;
    struct sch_gang_view gang;
    if (sch_action_gang(action, &gang)) {
        item->u.assign.assign.gang_id = gang.id;
        item->u.assign.assign.rank = gang.rank;
        item->u.assign.assign.size = gang.shape->size;
    }
}

static void send_attempt(struct cp_partition *p, enum cp_item_type type, const char *cluster_name,
                         const struct cp_attempt *attempt, const char *reason)
{
    struct cp_cluster *cluster = target(p, cluster_name);
    if (!cluster)
        return; /* forgotten meanwhile */
    struct cp_item *item = cp_group_add(p, type);
    item->u.tell.cluster = cp_cluster_ref(cluster);
    item->u.tell.attempt = *attempt;
    if (reason) {
        item->u.tell.reason = sy_arena_strdup(&p->open->arena, reason);
        SY_ASSERT(item->u.tell.reason);
    }
}

static void send_cancel(struct cp_partition *p, const struct sch_effect *effect)
{
    struct cp_attempt attempt = {effect->u.cancel.action_id, effect->u.cancel.number,
                                 effect->u.cancel.epoch};
    enum cp_item_type type = effect->type == SCH_EFFECT_GIVE_BACK ? CP_ITEM_GIVE_BACK
                             : effect->u.cancel.preempts          ? CP_ITEM_PREEMPT
                                                                  : CP_ITEM_CANCEL;
    send_attempt(p, type, effect->u.cancel.cluster, &attempt, effect->u.cancel.reason);
}

/* Not held back: it says how much waits, nothing of what. */
static void send_demand(struct cp_partition *p, const struct sch_effect *effect)
{
    const struct cp_cluster *cluster = target(p, effect->u.demand.cluster);
    if (!cluster || !cluster->stream)
        return;
    const struct sch_gang_shape *gang = effect->u.demand.gang;
    const struct sch_share_standing nowhere = {0}, *standing = effect->u.demand.standing;
    cp_operator_demand(cluster->stream,
                       &(struct cp_demand){.class_id = effect->u.demand.class_id,
                                           .request = *effect->u.demand.request,
                                           .gang = gang ? *gang : (struct sch_gang_shape){0},
                                           .waiting = effect->u.demand.waiting,
                                           .oldest_age_ns = effect->u.demand.oldest_age_ns,
                                           .top_priority = effect->u.demand.top_priority,
                                           .keep = effect->u.demand.keep,
                                           .standing = standing ? *standing : nowhere});
    cp_touch(p);
}

/* Neither: who may be stopped is known to the cluster. */
static void send_reclaim(struct cp_partition *p, const struct sch_effect *effect)
{
    const struct cp_cluster *cluster = target(p, effect->u.reclaim.cluster);
    if (!cluster || !cluster->stream)
        return;
    struct cp_reclaim reclaim = {.class_id = effect->u.reclaim.class_id,
                                 .queue_count = effect->u.reclaim.queue_count,
                                 .gang_id = effect->u.reclaim.gang_id};
    SY_ASSERT(reclaim.queue_count <= SCH_RECLAIM_QUEUES_MAX);
    memcpy(reclaim.queues, effect->u.reclaim.queues,
           reclaim.queue_count * sizeof(reclaim.queues[0]));
    cp_operator_reclaim(cluster->stream, &reclaim);
    cp_touch(p);
}

static void note_rejection(struct cp_partition *p, const struct sch_effect *effect)
{
    p->was_rejected = true;
    p->rejected = effect->u.rejected.why;
    p->rejected_action = effect->u.rejected.action;
    sy_error_text_set(&p->rejected_text, "%s",
                      effect->u.rejected.text ? effect->u.rejected.text : "");
}

static void drop_excess_specs(struct cp_partition *p)
{
    struct cp_spec *spec;
    while ((spec = cp_specs_pop_excess(&p->specs))) {
        for (struct cp_operator *o = p->operators; o; o = o->next)
            cp_operator_drop_spec(o, spec->id);
        cp_spec_free(spec);
    }
}

/* ---- the step ---- */

static void apply(struct cp_partition *p, const struct sch_effect *effect)
{
    struct cp_attempt attempt;
    switch (effect->type) {
    case SCH_EFFECT_RUN_CREATED:
        row_run_created(p, effect->u.run);
        break;
    case SCH_EFFECT_CREATED:
        row_created(p, effect->u.created.action, effect->u.created.shell, effect->u.created.ends);
        break;
    case SCH_EFFECT_UPDATED:
        if (!sch_action_is_final(effect->u.action))
            cp_put_live(p, effect->u.action);
        break;
    case SCH_EFFECT_FINISHED:
        row_finished(p, effect);
        break;
    case SCH_EFFECT_RUN_FINISHED:
        row_run_finished(p, effect);
        break;
    case SCH_EFFECT_EVENT:
        row_event(p, effect);
        break;
    case SCH_EFFECT_CHILD_FINISHED:
        row_child(p, effect);
        break;
    case SCH_EFFECT_ASSIGN:
        send_assign(p, effect);
        break;
    case SCH_EFFECT_CANCEL:
    case SCH_EFFECT_GIVE_BACK:
        send_cancel(p, effect);
        break;
    case SCH_EFFECT_ACK:
        attempt = (struct cp_attempt){effect->u.ack.action_id, effect->u.ack.number,
                                      effect->u.ack.epoch};
        send_attempt(p, CP_ITEM_ACK, effect->u.ack.cluster, &attempt, NULL);
        break;
    case SCH_EFFECT_DEMAND:
        send_demand(p, effect);
        break;
    case SCH_EFFECT_RECLAIM:
        send_reclaim(p, effect);
        break;
    case SCH_EFFECT_TOKEN_REPORT:
    case SCH_EFFECT_TOKEN_ALLOW:
    case SCH_EFFECT_TOKEN_ASK:
        cp_send_token(p, effect);
        break;
    case SCH_EFFECT_REJECTED:
        note_rejection(p, effect);
        break;
    case SCH_EFFECT_SPEC_UNUSED:
        cp_specs_release(&p->specs, cp_spec_use_of(effect->u.spec)->spec);
        break;
    }
}

void cp_step(struct cp_partition *p, struct sch_event *event)
{
    SY_ASSERT(p->core);
    event->now_ns = sy_loop_now_ns(p->loop);
    event->realtime_ns = sy_loop_realtime_ns(p->loop);
    p->was_rejected = false;
    sch_partition_step(p->core, event, &p->effects);
    for (size_t i = 0; i < p->effects.count; i++)
        apply(p, &p->effects.items[i]);
    drop_excess_specs(p);
    p->created = NULL;
}

void cp_step_ending(struct cp_partition *p, struct sch_event *event, const struct cp_ending *ending)
{
    p->ending = ending;
    cp_step(p, event);
    p->ending = NULL;
    p->ending_action = NULL;
}
