/* Operator streams: what comes in. One stream for each cluster; a newer one takes its place. */
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"

#include <stdio.h>

typedef Switchyard__Internal__OperatorMessage Message;

/* ---- closing ---- */

static void on_nothing(void *ctx, const struct sy_status *status)
{
    (void)ctx;
    (void)status;
}
static const struct sy_call_sink no_sink = {.on_closed = on_nothing};

void cp_operator_free(struct cp_operator *o)
{
    struct cp_partition *p = o->p;
    DL_DELETE(p->operators, o);
    sy_timer_stop(p->loop, &o->timer);
    sy_timer_stop(p->loop, &o->acks_timer);
    cp_task_calls_drop(o);
    cp_node_orders_forget(o);
    cp_surveys_drop(o);
    cp_operator_drop_queues(o);
    if (o->cluster) {
        if (o->cluster->stream == o)
            o->cluster->stream = NULL;
        cp_cluster_unref(o->cluster);
    }
    static const struct sy_status gone = {.code = SY_CODE_UNAVAILABLE,
                                          .message = {"the partition is gone"}};
    sy_call_set_sink(o->call, &no_sink, NULL);
    sy_call_finish(o->call, &gone);
    sy_call_unref(o->call);
    free(o->session);
    free(o);
}

/* The core hears of it at once; the object goes when the transport is through with the call. */
static void disconnect(struct cp_operator *o, const char *reason)
{
    struct cp_partition *p = o->p;
    struct cp_cluster *cluster = o->cluster;
    if (!cluster || cluster->stream != o)
        return;
    cluster->stream = NULL;
    cluster->lost_ns = sy_loop_now_ns(p->loop);
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_CLUSTER_DOWN,
           SY_U64("partition", p->options.partition), SY_STR("cluster", cluster->name),
           SY_STR("reason", reason));
    if (p->core)
        cp_step(p, &(struct sch_event){.type = SCH_EVENT_CLUSTER_DOWN,
                                       .u.cluster.name = cluster->name});
}

void cp_operator_close(struct cp_operator *o, enum sy_code code, const char *text)
{
    if (o->closing)
        return;
    o->closing = true;
    sy_timer_stop(o->p->loop, &o->timer);
    sy_timer_stop(o->p->loop, &o->acks_timer);
    disconnect(o, text);
    cp_task_calls_drop(o);
    cp_node_orders_drop(o);
    cp_surveys_drop(o);
    cp_operator_drop_queues(o);
    struct sy_status status = {.code = code};
    sy_error_text_set(&status.message, "%s", text);
    sy_call_finish(o->call, &status);
}

void cp_operators_close_all(struct cp_partition *p, enum sy_code code, const char *text)
{
    for (struct cp_operator *o = p->operators; o; o = o->next)
        cp_operator_close(o, code, text);
}

static void refuse(struct cp_operator *o, enum sy_code code, const char *text)
{
    sy_log(o->p->log, &cp_partition_events, CP_PARTITION_EV_STREAM_REFUSED,
           SY_U64("partition", o->p->options.partition), SY_STR("peer", sy_call_peer(o->call)),
           SY_STR("reason", text));
    cp_operator_close(o, code, text);
}

/* ---- hello ---- */

static bool read_traits(struct sch_traits *ret, const Switchyard__Internal__Traits *traits)
{
    if (!traits)
        return true;
    if (traits->n_slices > SCH_GPU_SLICES_MAX || strlen(traits->labels) >= sizeof(ret->labels) ||
        strlen(traits->taints) >= sizeof(ret->taints))
        return false;
    snprintf(ret->labels, sizeof(ret->labels), "%s", traits->labels);
    snprintf(ret->taints, sizeof(ret->taints), "%s", traits->taints);
    ret->gpus_shared = traits->gpus_shared;
    ret->slice_count = (uint32_t)traits->n_slices;
    for (size_t i = 0; i < traits->n_slices; i++) {
        ret->slices[i].count = traits->slices[i]->count;
        snprintf(ret->slices[i].name, sizeof(ret->slices[i].name), "%s", traits->slices[i]->name);
    }
    return true;
}

static bool read_shape(struct sch_shape *ret, const Switchyard__Internal__NodeShape *shape)
{
    const uint32_t room = SY_COUNT_OF(ret->environments);
    *ret = (struct sch_shape){.nodes = shape->nodes};
    cp_resources_read(&ret->capacity, shape->capacity);
    memset(ret->capacity.environment, 0, sizeof(ret->capacity.environment));
    if (shape->n_environments > room || !read_traits(&ret->traits, shape->traits))
        return false;
    ret->environment_count = (uint32_t)shape->n_environments;
    for (size_t i = 0; i < shape->n_environments; i++) {
        ret->environments[i].slots = shape->environments[i]->slots;
        snprintf(ret->environments[i].name, sizeof(ret->environments[i].name), "%s",
                 shape->environments[i]->name);
    }
    return true;
}

/* The wall clock is read once for each deadline: what it does afterwards changes nothing here. */
static void note_deadline(const struct cp_partition *p, struct cp_cluster *cluster)
{
    int64_t deadline_ns = cp_roll_drain_deadline_ns(p->roll, cluster->name);
    int64_t left_ns = cp_roll_drain_left_ns(p->roll, cluster->name, sy_loop_realtime_ns(p->loop));
    if (deadline_ns == 0)
        cluster->drain_due_ns = SY_TIME_NEVER;
    else if (deadline_ns != cluster->drain_deadline_ns)
        cluster->drain_due_ns = sy_loop_now_ns(p->loop) + left_ns;
    cluster->drain_deadline_ns = deadline_ns;
}

/* What people said of it, as the roll says. */
static void say_standing(const struct cp_partition *p, struct cp_cluster *cluster,
                         struct sch_cluster_said *ret)
{
    cluster->standing = cp_roll_standing(p->roll, cluster->name);
    note_deadline(p, cluster);
    ret->draining = cluster->standing == CP_STANDING(DRAINING);
    ret->cordoned = ret->draining || cluster->standing == CP_STANDING(CORDONED);
    ret->drain_ns = cluster->drain_due_ns;
}

/* CLUSTER_UP, with the shapes of the message if it has any. */
static bool cluster_up(struct cp_operator *o, const Message *m)
{
    struct cp_partition *p = o->p;
    struct sch_event event = {.type = SCH_EVENT_CLUSTER_UP};
    event.u.cluster.name = o->cluster->name;
    event.u.cluster.keep_shapes = !m->shapes_set;
    if (m->hello)
        o->price = m->hello->price;
    event.u.cluster.region = o->cluster->region;
    say_standing(p, o->cluster, &event.u.cluster);
    event.u.cluster.price = o->price;
    SY_AUTOFREE struct sch_shape *shapes = NULL;
    if (m->shapes_set) {
        if (m->n_shapes > CP_SHAPES_MAX)
            return false;
        shapes = sy_calloc(m->n_shapes, sizeof(*shapes));
        for (size_t i = 0; i < m->n_shapes; i++) {
            if (!read_shape(&shapes[i], m->shapes[i]))
                return false;
        }
        event.u.cluster.shapes = shapes;
        event.u.cluster.shape_count = m->n_shapes;
    }
    cp_step(p, &event);
    return true;
}

void cp_operator_said(struct cp_operator *o)
{
    Message nothing = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    bool done = cluster_up(o, &nothing);
    SY_ASSERT(done && o->cluster->stream == o);
}

/* Durable before the welcome is sent. */
static void register_cluster(struct cp_operator *o, const char *endpoint, uint64_t term)
{
    struct cp_partition *p = o->p;
    struct cp_cluster *cluster = o->cluster;
    SY_ASSERT(term == 0 || term >= cluster->term);
    if (term == 0)
        term = cluster->term;
    if (cluster->endpoint && strcmp(cluster->endpoint, endpoint) == 0 && term == cluster->term)
        return;
    free(cluster->endpoint);
    cluster->endpoint = sy_strdup(endpoint);
    cluster->term = term;
    Switchyard__Internal__Store__ClusterRow row;
    switchyard__internal__store__cluster_row__init(&row);
    row.endpoint = cluster->endpoint;
    row.term = cluster->term;
    struct cp_key key = cp_key_cluster(cluster->name);
    sy_buf_clear(&p->scratch);
    cp_row_pack(&p->scratch, &row.base);
    cp_put(p, CP_FAMILY_META, &key, &p->scratch);
}

/* Who shows none is not told of any: a cluster that has not joined, or an older version. */
static enum sy_code check_term(struct cp_partition *p,
                               const Switchyard__Internal__OperatorHello *hello,
                               struct sy_error_text *error)
{
    const struct cp_cluster *cluster = cp_cluster_find(p, hello->cluster);
    if (hello->term == 0 || cluster == NULL || hello->term >= cluster->term)
        return SY_CODE_OK;
    sy_error_text_set(
        error, "term %llu of cluster %s is over: its active operator is one of term %llu",
        (unsigned long long)hello->term, hello->cluster, (unsigned long long)cluster->term);
    return SY_CODE_FAILED_PRECONDITION;
}

static enum sy_code check_hello(struct cp_operator *o,
                                const Switchyard__Internal__OperatorHello *hello,
                                struct sy_error_text *error)
{
    struct cp_partition *p = o->p;
    if (cp_refused(p, error) != SY_CODE_OK)
        return SY_CODE_UNAVAILABLE;
    if (!hello) {
        sy_error_text_set(error, "the first message of an operator must be a hello");
        return SY_CODE_INVALID_ARGUMENT;
    }
    if (hello->partition != p->options.partition) {
        sy_error_text_set(error, "the hello is for partition %u, this is %u", hello->partition,
                          p->options.partition);
        return SY_CODE_INVALID_ARGUMENT;
    }
    if (cp_name_check("cluster", hello->cluster, error) < 0 ||
        cp_text_check("endpoint", hello->endpoint, CP_URI_BYTES_MAX, error) < 0 ||
        (hello->region[0] != '\0' && cp_name_check("region", hello->region, error) < 0))
        return SY_CODE_INVALID_ARGUMENT;
    if (!hello->splits && !cp_descent_is_plain(p)) {
        sy_error_text_set(error,
                          "the operator of cluster %s is of a version that does not know of "
                          "partitions that were split, as some of this region were: update it",
                          hello->cluster);
        return SY_CODE_FAILED_PRECONDITION;
    }
    if (hello->price < 0) {
        sy_error_text_set(error, "the price of a core must not be negative");
        return SY_CODE_INVALID_ARGUMENT;
    }
    if (hello->max_epoch > p->epoch) {
        sy_error_text_set(error,
                          "cluster %s has seen epoch %u of partition %u, this shard has %u: it is "
                          "an older owner, or its store was restored from a backup",
                          hello->cluster, hello->max_epoch, p->options.partition, p->epoch);
        return SY_CODE_FAILED_PRECONDITION;
    }
    enum cp_admission admission = cp_operator_admit(o, hello->cluster, error);
    return admission != CP_ADMITTED ? cp_admission_code(admission) : check_term(p, hello, error);
}

/* Of one that has joined its term says who is active; who has none is taken for the newer one. */
static void replace(struct cp_operator *old, const Switchyard__Internal__OperatorHello *hello)
{
    struct sy_error_text why;
    bool another = hello->term == 0 && strcmp(old->session, hello->session) != 0;
    if (another)
        sy_error_text_set(&why,
                          "another operator of cluster %s has come, at %s: two that have not "
                          "joined take turns; stop one, or register the cluster",
                          hello->cluster, hello->endpoint);
    cp_operator_close(old, SY_CODE_ABORTED,
                      another ? why.text : "a newer stream of this cluster has come");
}

static bool say_hello(struct cp_operator *o, const Message *m)
{
    struct cp_partition *p = o->p;
    struct sy_error_text error = {0};
    enum sy_code code = check_hello(o, m->hello, &error);
    if (code != SY_CODE_OK) {
        refuse(o, code, error.text);
        return false;
    }
    struct cp_cluster *cluster = cp_cluster_get(p, m->hello->cluster);
    if (!cluster) {
        refuse(o, SY_CODE_RESOURCE_EXHAUSTED, "too many clusters are registered");
        return false;
    }
    if (cluster->stream)
        replace(cluster->stream, m->hello);
    o->session = sy_strdup(m->hello->session);
    o->cluster = cp_cluster_ref(cluster);
    cluster->stream = o;
    cluster->expected = false;
    snprintf(cluster->region, sizeof(cluster->region), "%s", m->hello->region);
    o->serial = ++p->last_serial;
    o->welcome = true;
    o->splits = m->hello->splits;
    register_cluster(o, m->hello->endpoint, m->hello->term);
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_CLUSTER_UP,
           SY_U64("partition", p->options.partition), SY_STR("cluster", cluster->name),
           SY_STR("session", m->hello->session));
    return true;
}

/* ---- records ---- */

static void read_inventory(struct cp_operator *o, const Message *m)
{
    struct cp_partition *p = o->p;
    for (size_t i = 0; i < m->n_inventory; i++) {
        const Switchyard__Internal__InventoryEntry *entry = m->inventory[i];
        if (!cp_issued(p, entry->partition, entry->action, entry->epoch))
            continue;
        struct cp_report report = {.node = entry->node, .started_ns = entry->started_ns};
        struct sch_event event = {.type = SCH_EVENT_INVENTORY};
        event.u.inventory.cluster = o->cluster->name;
        event.u.inventory.action_id = entry->action;
        event.u.inventory.number = entry->number;
        event.u.inventory.epoch = entry->epoch;
        event.u.inventory.started = entry->started;
        event.u.inventory.started_ns = entry->started_ns;
        p->report = &report;
        cp_step(p, &event);
        p->report = NULL;
    }
    if (m->inventory_complete || m->inventory_owed)
        cp_step(p, &(struct sch_event){
                       .type = SCH_EVENT_INVENTORY_COMPLETE,
                       .u.cluster = {.name = o->cluster->name, .owed = !m->inventory_complete}});
}

static void read_started(struct cp_operator *o, const Message *m)
{
    struct cp_partition *p = o->p;
    for (size_t i = 0; i < m->n_started; i++) {
        const Switchyard__Internal__Started *started = m->started[i];
        if (!cp_issued(p, started->partition, started->action, started->epoch))
            continue;
        struct cp_report report = {.node = started->node, .started_ns = started->started_ns};
        struct sch_event event = {.type = SCH_EVENT_STARTED};
        event.u.report = (struct sch_report){.cluster = o->cluster->name,
                                             .action_id = started->action,
                                             .number = started->number,
                                             .epoch = started->epoch,
                                             .started_ns = started->started_ns};
        p->report = &report;
        cp_step(p, &event);
        p->report = NULL;
    }
}

/* What a task says of itself is stored and shown: bounded, and readable. */
static void tame(struct cp_partition *p, Switchyard__Internal__Outcome *outcome)
{
    static char too_large[] = "OutputTooLarge";
    if (outcome->error_message[0])
        cp_text_clean(outcome->error_message);
    if (outcome->error_code[0])
        cp_text_clean(outcome->error_code);
    if (outcome->node[0])
        cp_text_clean(outcome->node);
    if (outcome->output_uri[0])
        cp_text_clean(outcome->output_uri);
    if (outcome->output.len <= p->options.inline_bytes_max &&
        strlen(outcome->output_uri) <= CP_URI_BYTES_MAX)
        return;
    char *message = sy_arena_printf(&p->message_arena,
                                    "output of %zu bytes: at most %zu may be sent inline",
                                    outcome->output.len, p->options.inline_bytes_max);
    outcome->kind = SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_FAILED_FINAL;
    outcome->output = (ProtobufCBinaryData){0};
    outcome->output_uri = too_large + sizeof(too_large) - 1;
    outcome->error_code = too_large;
    outcome->error_message = message ? message : too_large;
}

static void read_outcomes(struct cp_operator *o, const Message *m)
{
    struct cp_partition *p = o->p;
    for (size_t i = 0; i < m->n_outcomes; i++) {
        Switchyard__Internal__Outcome *outcome = m->outcomes[i];
        if (!cp_issued(p, outcome->partition, outcome->action, outcome->epoch))
            continue;
        tame(p, outcome);
        struct cp_report report = {
            .node = outcome->node, .started_ns = outcome->started_ns, .outcome = outcome};
        struct sch_event event = {.type = SCH_EVENT_OUTCOME};
        event.u.report = (struct sch_report){.cluster = o->cluster->name,
                                             .action_id = outcome->action,
                                             .number = outcome->number,
                                             .epoch = outcome->epoch,
                                             .outcome = (enum sch_outcome)outcome->kind,
                                             .death = (enum sch_death)outcome->death,
                                             .started_ns = outcome->started_ns};
        p->report = &report;
        cp_step(p, &event);
        p->report = NULL;
    }
}

/* Nor are others of its gang out any more; they are given back as well. */
static void forget_returned(struct cp_partition *p, uint64_t action_id)
{
    const struct sch_action *action = sch_partition_find_action_by_id(p->core, action_id);
    if (action && action->sm.state != SCH_ACTION_ASSIGNED && action->sm.state != SCH_ACTION_RUNNING)
        cp_places_remove(&p->places, action_id);
}

static void read_returned(struct cp_operator *o, const Message *m)
{
    struct cp_partition *p = o->p;
    for (size_t i = 0; i < m->n_returned; i++) {
        const Switchyard__Internal__Returned *returned = m->returned[i];
        if (!cp_issued(p, returned->partition, returned->action, returned->epoch))
            continue;
        struct cp_report report = {.node = ""};
        struct sch_event event = {.type = SCH_EVENT_RETURNED};
        event.u.report = (struct sch_report){.cluster = o->cluster->name,
                                             .action_id = returned->action,
                                             .number = returned->number,
                                             .epoch = returned->epoch,
                                             .reason = returned->reason};
        p->report = &report;
        cp_step(p, &event);
        p->report = NULL;
        forget_returned(p, returned->action);
    }
}

static void read_grants(struct cp_operator *o, const Message *m)
{
    for (size_t i = 0; i < m->n_grants; i++) {
        struct sch_event event = {.type = SCH_EVENT_GRANT};
        event.u.grant.cluster = o->cluster->name;
        event.u.grant.class_id = m->grants[i]->class_;
        event.u.grant.granted = m->grants[i]->granted;
        event.u.grant.startable = m->grants[i]->startable;
        cp_step(o->p, &event);
    }
}

/* Before the grants: a class that is granted more looks for room at once. */
static void read_room(struct cp_operator *o, const Message *m)
{
    if (!m->room)
        return;
    struct sch_event event = {.type = SCH_EVENT_ROOM};
    event.u.room.cluster = o->cluster->name;
    event.u.room.cpu_milli = m->room->cpu_milli;
    event.u.room.memory_bytes = m->room->memory_bytes;
    event.u.room.gpu_milli = m->room->gpu_milli;
    cp_step(o->p, &event);
}

/* Before the room, which goes to who is next by then. */
static void read_elsewhere(struct cp_operator *o, const Message *m)
{
    for (size_t i = 0; i < m->n_elsewhere; i++) {
        const Switchyard__Internal__Elsewhere *said = m->elsewhere[i];
        struct sch_event event = {.type = SCH_EVENT_ELSEWHERE};
        struct sch_share_path place;
        if (!sch_share_path_from(said->shares, said->n_shares, &place))
            continue; /* deeper than any of ours */
        event.u.elsewhere.cluster = o->cluster->name;
        event.u.elsewhere.place = &place;
        event.u.elsewhere.use = (struct sch_use){said->actions, said->cpu_milli, said->memory_bytes,
                                                 said->gpu_milli};
        cp_step(o->p, &event);
    }
}

/* Answered in order with what is told of what came before, and only while the partition is ours: as
 * what waits for a commit, though there is none to wait for when nothing else does. */
static void read_probe(struct cp_operator *o, const Message *m)
{
    if (!m->probe || o->closing)
        return;
    struct cp_item *item = cp_group_add(o->p, CP_ITEM_ECHO);
    item->stream_serial = o->serial;
    item->u.echo.cluster = cp_cluster_ref(o->cluster);
    item->u.echo.number = m->probe->number;
}

static void read_message(struct cp_operator *o, const Message *m)
{
    struct cp_partition *p = o->p;
    bool first = !o->cluster;
    if (first && !say_hello(o, m))
        return;
    if ((first || m->shapes_set) && !cluster_up(o, m)) {
        refuse(o, SY_CODE_INVALID_ARGUMENT, "too many node shapes, or environments on a node");
        return;
    }
    read_inventory(o, m);
    read_started(o, m);
    read_outcomes(o, m);
    read_returned(o, m);
    for (size_t i = 0; i < m->n_calls && !o->closing; i++) {
        if (cp_issued(p, m->calls[i]->partition, m->calls[i]->action, m->calls[i]->epoch))
            cp_task_call(o, m->calls[i]);
    }
    read_elsewhere(o, m);
    read_room(o, m);
    read_grants(o, m);
    for (size_t i = 0; i < m->n_node_orders && !o->closing; i++)
        cp_node_order_answered(o, m->node_orders[i]);
    for (size_t i = 0; i < m->n_surveys && !o->closing; i++)
        cp_survey_answered(o, m->surveys[i]);
    if (m->nodes_set) {
        o->nodes_told = true;
        cp_cluster_set_nodes(o->cluster, m->n_nodes, m->nodes);
    }
    read_probe(o, m);
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct cp_operator *o = ctx;
    struct cp_partition *p = o->p;
    if (o->closing)
        return;
    o->heard_ns = sy_loop_now_ns(p->loop);
    o->grace_used = false;
    sy_arena_reset(&p->message_arena);
    const Message *m = CP_UNPACK(Message, switchyard__internal__operator_message__descriptor,
                                 &p->message_arena, bytes);
    if (!m)
        refuse(o, SY_CODE_INVALID_ARGUMENT, "a message that cannot be read");
    else if (p->core || !o->cluster)
        read_message(o, m);
}

/* ---- time ---- */

/* Silence counts only while we were listening: a stalled loop restarts the wait, once. */
static void on_timer(void *arg)
{
    struct cp_operator *o = arg;
    struct cp_partition *p = o->p;
    int64_t now_ns = sy_loop_now_ns(p->loop), lease_ns = p->options.cluster_lease_ns;
    bool stalled = now_ns - o->timer.deadline_ns > p->options.heartbeat_ns;
    if (stalled && !o->grace_used) {
        o->grace_used = true;
        o->heard_ns = now_ns;
        o->blocked_since_ns = o->blocked_since_ns ? now_ns : 0;
    }
    if (now_ns - o->heard_ns >= lease_ns) {
        cp_operator_close(o, SY_CODE_DEADLINE_EXCEEDED, "silent for longer than its lease");
        return;
    }
    if (o->blocked_since_ns && now_ns - o->blocked_since_ns >= lease_ns) {
        cp_operator_close(o, SY_CODE_RESOURCE_EXHAUSTED, "does not read its stream");
        return;
    }
    if (o->cluster && now_ns - o->sent_ns >= p->options.heartbeat_ns)
        o->heartbeat = true;
    sy_timer_start_in(p->loop, &o->timer, p->options.heartbeat_ns);
}

/* ---- the stream ---- */

static void on_writable(void *ctx)
{
    struct cp_operator *o = ctx;
    o->blocked_since_ns = 0;
    cp_operator_flush(o);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cp_operator *o = ctx;
    o->closing = true;
    disconnect(o, status->message.text[0] ? status->message.text : "the stream ended");
    cp_node_orders_drop(o);
    cp_surveys_drop(o);
    cp_operator_free(o);
}

static void on_half_closed(void *ctx)
{
    cp_operator_close(ctx, SY_CODE_OK, "the operator has finished");
}

static const struct sy_call_sink sink = {
    .on_message = on_message,
    .on_writable = on_writable,
    .on_closed = on_closed,
    .on_half_closed = on_half_closed,
};

void cp_partition_operate(struct cp_partition *p, struct sy_call *call)
{
    if (cp_state(p) == CP_PARTITION_STOPPING || cp_state(p) == CP_PARTITION_STOPPED ||
        cp_state(p) == CP_PARTITION_AWAY) {
        sy_call_fail(call, SY_CODE_UNAVAILABLE, "%s", p->reason.text);
        return;
    }
    struct cp_operator *o = sy_new(struct cp_operator);
    o->p = p;
    o->call = call;
    o->identity = cp_identity_of(call);
    o->heard_ns = o->sent_ns = sy_loop_now_ns(p->loop);
    sy_timer_init(&o->timer, on_timer, o);
    sy_timer_init(&o->acks_timer, cp_operator_acks_late, o);
    sy_timer_start_in(p->loop, &o->timer, p->options.heartbeat_ns);
    DL_APPEND(p->operators, o);
    sy_call_set_sink(call, &sink, o);
}
