/*
 * Operator streams: what goes out. Everything is gathered for its stream and packed into one
 * message when the peer has taken the last one (natural batching): the busier the stream, the
 * larger its messages. Assignments are encoded only then, so that a slow peer costs a few words for
 * each, not its input.
 */
#include "controlplane/partition_impl.h"

#define MESSAGE_BYTES ((size_t)512 << 10) /* about; the receiver takes 16 MiB */
#define RECORDS_MAX 32768u                /* acks, cancels in one message */
#define ACK_WAIT_NS (10 * SY_NS_PER_MS)   /* for something to go with */
#define ACKS_WAITING_MAX 64u
/* A peer that lets this much pile up is not coming back: grants and attempts bound it well below.
 */
#define QUEUED_MAX ((size_t)4 << 20)
#define REPLY_BYTES_MAX ((size_t)64 << 20)

/* Field numbers of ShardMessage. */
enum {
    WELCOME = 1,
    DEMANDS,
    SPECS,
    DROPPED_SPECS,
    ASSIGNMENTS,
    ACKS,
    CANCELS,
    REPLIES,
    HEARTBEAT,
    ORDERS,
    RECLAIMS,
    SURVEYS,
    GIVE_BACKS,
    ECHO
};

/* ---- gathering ---- */

void cp_operator_demand(struct cp_operator *o, const struct cp_demand *demand)
{
    if (o->closing)
        return;
    uint32_t *index = cp_id_map_get(&o->demand_by_class, demand->class_id);
    if (*index != UINT32_MAX) { /* only the newest counts */
        o->demands.items[o->demands.head + *index] = *demand;
        return;
    }
    *index = (uint32_t)o->demands.count;
    *cp_queue_push(&o->demands) = *demand;
}

void cp_operator_reclaim(struct cp_operator *o, const struct cp_reclaim *reclaim)
{
    if (!o->closing)
        *cp_queue_push(&o->reclaims) = *reclaim;
}

void cp_operator_assign(struct cp_operator *o, const struct cp_assign *assign)
{
    SY_ASSERT(!o->closing);
    *cp_queue_push(&o->assigns) = *assign;
    cp_touch(o->p);
}

void cp_operator_ack(struct cp_operator *o, const struct cp_attempt *attempt)
{
    *cp_queue_push(&o->acks) = *attempt;
    if (o->acks.count == 1)
        sy_timer_start_in(o->p->loop, &o->acks_timer, ACK_WAIT_NS);
    if (o->acks.count == ACKS_WAITING_MAX) {
        o->acks_due = true;
        cp_touch(o->p);
    }
}

void cp_operator_acks_late(void *arg)
{
    struct cp_operator *o = arg;
    o->acks_due = true;
    cp_operator_flush(o);
}

void cp_operator_cancel(struct cp_operator *o, const struct cp_attempt *attempt, const char *reason,
                        bool preempts)
{
    *cp_queue_push(&o->cancels) = (struct cp_cancel){
        .attempt = *attempt, .reason = sy_strdup(reason ? reason : ""), .preempts = preempts};
    cp_touch(o->p);
}

void cp_operator_give_back(struct cp_operator *o, const struct cp_attempt *attempt)
{
    *cp_queue_push(&o->give_backs) = *attempt;
    cp_touch(o->p);
}

void cp_operator_reply(struct cp_operator *o, struct sy_buf *reply)
{
    o->reply_bytes += reply->len;
    *cp_queue_push(&o->replies) = sy_buf_take(reply);
    cp_touch(o->p);
}

void cp_operator_order(struct cp_operator *o, struct sy_buf *order)
{
    *cp_queue_push(&o->orders_out) = sy_buf_take(order);
    cp_touch(o->p);
}

void cp_operator_survey(struct cp_operator *o, const struct cp_survey *survey)
{
    SY_ASSERT(!o->closing);
    *cp_queue_push(&o->surveys_out) = *survey;
    cp_touch(o->p);
}

void cp_operator_drop_spec(struct cp_operator *o, uint32_t spec_id)
{
    bool sent = spec_id / 8 < o->specs_sent_bytes && o->specs_sent[spec_id / 8] & 1u << spec_id % 8;
    if (!o->closing && sent)
        *cp_queue_push(&o->dropped_specs) = spec_id;
}

void cp_operator_drop_queues(struct cp_operator *o)
{
    while (o->assigns.count > 0)
        cp_assign_drop(cp_queue_pop(&o->assigns));
    while (o->cancels.count > 0)
        free(cp_queue_pop(&o->cancels)->reason);
    while (o->replies.count > 0)
        sy_buf_deinit(cp_queue_pop(&o->replies));
    while (o->orders_out.count > 0)
        sy_buf_deinit(cp_queue_pop(&o->orders_out));
    free(o->orders_out.items);
    memset(&o->orders_out, 0, sizeof(o->orders_out));
    free(o->demands.items);
    free(o->assigns.items);
    free(o->acks.items);
    free(o->cancels.items);
    free(o->give_backs.items);
    free(o->reclaims.items);
    free(o->surveys_out.items);
    free(o->replies.items);
    free(o->dropped_specs.items);
    free(o->specs_sent);
    memset(&o->demands, 0, sizeof(o->demands));
    memset(&o->assigns, 0, sizeof(o->assigns));
    memset(&o->acks, 0, sizeof(o->acks));
    memset(&o->cancels, 0, sizeof(o->cancels));
    memset(&o->give_backs, 0, sizeof(o->give_backs));
    memset(&o->reclaims, 0, sizeof(o->reclaims));
    memset(&o->surveys_out, 0, sizeof(o->surveys_out));
    memset(&o->replies, 0, sizeof(o->replies));
    memset(&o->dropped_specs, 0, sizeof(o->dropped_specs));
    o->specs_sent = NULL;
    o->specs_sent_bytes = o->reply_bytes = 0;
    o->welcome = o->heartbeat = false;
    o->echo = 0;
    cp_id_map_deinit(&o->demand_by_class);
}

/* ---- packing ---- */

/* Which attempts it speaks for. */
static void put_descent(const struct cp_partition *p, struct sy_buf *out)
{
    const struct cp_descent *d = &p->descent;
    cp_put_uint(out, 6, cp_place_of(p->lot.range.first));
    cp_put_uint(out, 7, UINT8_MAX - (uint64_t)cp_place_of(p->lot.range.last));
    for (size_t i = 0; i < d->origin_count; i++) {
        size_t begin = cp_put_begin(out, 8);
        cp_put_uint(out, 1, d->origins[i].partition);
        cp_put_uint(out, 2, d->origins[i].epoch);
        cp_put_end(out, begin);
    }
}

static void pack_welcome(struct cp_operator *o, struct sy_buf *out)
{
    const struct cp_partition *p = o->p;
    size_t begin = cp_put_begin(out, WELCOME);
    cp_put_uint(out, 1, p->options.partition);
    cp_put_uint(out, 2, p->epoch);
    cp_put_str(out, 3, p->options.shard);
    cp_put_int(out, 4, p->options.heartbeat_ns);
    cp_put_int(out, 5, p->options.cluster_lease_ns);
    put_descent(p, out);
    cp_put_end(out, begin);
    o->welcome = false;
}

static void put_gang_shape(struct sy_buf *out, uint32_t field, const struct sch_gang_shape *gang)
{
    size_t begin = cp_put_begin(out, field);
    cp_put_uint(out, 1, gang->size);
    cp_put_uint(out, 2, gang->topology);
    cp_put_str(out, 3, gang->key);
    cp_put_end(out, begin);
}

static void put_request(struct sy_buf *out, uint32_t field, const struct sch_resources *request)
{
    size_t begin = cp_put_begin(out, field);
    cp_put_uint(out, 1, request->cpu_milli);
    cp_put_uint(out, 2, request->memory_bytes);
    cp_put_uint(out, 3, request->gpus);
    cp_put_str(out, 4, request->gpu_model);
    cp_put_str(out, 5, request->environment);
    cp_put_uint(out, 6, request->gpu_milli);
    cp_put_str(out, 7, request->gpu_partition);
    cp_put_str(out, 8, request->labels);
    cp_put_str(out, 9, request->tolerations);
    cp_put_end(out, begin);
}

static void put_place(struct sy_buf *out, uint32_t field, const struct sch_share_path *path)
{
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a fixed32 is written as it lies");
    cp_put_bytes(out, field, path->tags, path->depth * sizeof(path->tags[0]));
}

static void put_weights(struct sy_buf *out, uint32_t field,
                        const struct sch_share_standing *standing)
{
    if (standing->path.depth == 0)
        return;
    size_t begin = cp_put_begin(out, field);
    for (uint32_t i = 0; i < standing->path.depth; i++)
        cp_put_varint(out, standing->weights[i]);
    cp_put_end(out, begin);
}

static void pack_demands(struct cp_operator *o, struct sy_buf *out)
{
    while (o->demands.count > 0) {
        const struct cp_demand *demand = cp_queue_pop(&o->demands);
        size_t begin = cp_put_begin(out, DEMANDS);
        cp_put_uint(out, 1, demand->class_id);
        put_request(out, 2, &demand->request);
        cp_put_uint(out, 3, demand->waiting);
        cp_put_int(out, 4, demand->oldest_age_ns);
        cp_put_int(out, 5, demand->top_priority);
        if (demand->gang.size > 0)
            put_gang_shape(out, 6, &demand->gang);
        cp_put_uint(out, 7, demand->keep);
        put_place(out, 8, &demand->standing.path);
        put_weights(out, 9, &demand->standing);
        cp_put_end(out, begin);
    }
    cp_id_map_clear(&o->demand_by_class);
}

/* Once a stream. */
static void pack_spec(struct cp_operator *o, struct sy_buf *out, const struct cp_spec *spec)
{
    size_t byte = spec->id / 8;
    if (byte >= o->specs_sent_bytes) {
        size_t bytes = byte * 2 + 64;
        o->specs_sent = sy_realloc(o->specs_sent, bytes);
        memset(o->specs_sent + o->specs_sent_bytes, 0, bytes - o->specs_sent_bytes);
        o->specs_sent_bytes = bytes;
    }
    uint8_t bit = (uint8_t)(1u << spec->id % 8);
    if (o->specs_sent[byte] & bit)
        return;
    o->specs_sent[byte] |= bit;
    size_t begin = cp_put_begin(out, SPECS);
    cp_put_uint(out, 1, o->p->options.partition);
    cp_put_uint(out, 2, o->p->epoch);
    cp_put_uint(out, 3, spec->id);
    cp_put_bytes(out, 4, spec->bytes.data, spec->bytes.len);
    cp_put_end(out, begin);
}

static void put_path(struct sy_buf *out, uint32_t field, const struct sch_run *run)
{
    char path[3 * SCH_NAME_MAX];
    size_t len = 0;
    const char *const parts[] = {run->project, run->domain, run->name};
    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(parts[i]);
        memcpy(path + len, parts[i], n);
        len += n;
        path[len++] = '/';
    }
    cp_put_bytes(out, field, path, len - 1);
}

static void put_gang_member(struct sy_buf *out, uint32_t field, const struct cp_assign *assign)
{
    size_t begin = cp_put_begin(out, field);
    cp_put_fixed64(out, 1, assign->gang_id);
    cp_put_uint(out, 2, assign->rank);
    cp_put_uint(out, 3, assign->size);
    cp_put_end(out, begin);
}

/* False: the input cannot be read; the store has failed. */
static bool pack_assign(struct cp_operator *o, struct sy_buf *out, const struct cp_assign *assign)
{
    struct cp_partition *p = o->p;
    const struct sch_action *action = assign->action;
    struct sy_span input = {0}, uri = {0};
    bool flyte = assign->use->spec->traits.flyte;
    if (assign->use->has_input || flyte) {
        struct cp_key key = cp_key_action(action->run->id, action->name);
        int r = cp_store_get(p->store, CP_FAMILY_ACTIONS, cp_key_span(&key), &p->scratch2);
        if (r == 0)
            r = cp_row_input(sy_buf_span(&p->scratch2), &input, &uri);
        if (r != 0) {
            cp_fail_later(p, r < 0 ? r : -EBADMSG);
            return false;
        }
    }
    if (flyte && !cp_flyte_prepare(p, action->run))
        return false;
    pack_spec(o, out, assign->use->spec);
    size_t begin = cp_put_begin(out, ASSIGNMENTS);
    cp_put_uint(out, 1, p->options.partition);
    cp_put_fixed64(out, 2, action->id);
    cp_put_uint(out, 3, assign->number);
    cp_put_uint(out, 4, p->epoch);
    cp_put_uint(out, 5, assign->class_id);
    cp_put_uint(out, 6, assign->use->spec->id);
    put_path(out, 7, action->run);
    cp_put_str(out, 8, action->name);
    cp_put_bytes(out, 9, input.data, input.len);
    cp_put_bytes(out, 10, uri.data, uri.len);
    cp_put_int(out, 11, assign->use->base.timeout_ns);
    cp_put_int(out, 12, assign->priority);
    if (flyte)
        cp_flyte_put_context(p, out, 13, action, sy_buf_span(&p->scratch2));
    cp_put_uint(out, 14, assign->attempt);
    cp_put_uint(out, 15, assign->queue);
    cp_put_uint(out, 16, sch_action_memory_bytes(action));
    if (assign->gang_id != 0)
        put_gang_member(out, 17, assign);
    cp_put_uint(out, 19, assign->suspect);
    put_place(out, 20, &assign->place);
    cp_put_uint(out, 21, assign->on_partition == SCH_ON_PARTITION_WAIT);
    cp_put_uint(out, 22, assign->on_partition == SCH_ON_PARTITION_STOP);
    cp_put_end(out, begin);
    return true;
}

/* Specs that go must not overtake assignments that use them: those of the message before. */
static void pack_dropped_specs(struct cp_operator *o, struct sy_buf *out)
{
    while (o->dropped_specs.count > 0) {
        uint32_t id = *cp_queue_pop(&o->dropped_specs);
        uint8_t *at = cp_put_room(out, 2 * CP_VARINT_BYTES_MAX);
        uint8_t *end = cp_write_varint(at, DROPPED_SPECS << 3 | CP_WIRE_VARINT);
        end = cp_write_varint(end, id);
        out->len += (size_t)(end - at);
    }
}

static void put_attempt(struct cp_operator *o, struct sy_buf *out, const struct cp_attempt *attempt)
{
    cp_put_uint(out, 1, cp_issued_as(o->p, attempt->epoch));
    cp_put_fixed64(out, 2, attempt->action_id);
    cp_put_uint(out, 3, attempt->number);
    cp_put_uint(out, 4, attempt->epoch);
}

static void pack_acks(struct cp_operator *o, struct sy_buf *out)
{
    for (unsigned i = 0; i < RECORDS_MAX && o->acks.count > 0; i++) {
        size_t begin = cp_put_begin(out, ACKS);
        put_attempt(o, out, cp_queue_pop(&o->acks));
        cp_put_end(out, begin);
    }
    o->acks_due = o->acks.count > 0;
    if (!o->acks_due)
        sy_timer_stop(o->p->loop, &o->acks_timer);
}

static void pack_cancels(struct cp_operator *o, struct sy_buf *out)
{
    for (unsigned i = 0; out->len < MESSAGE_BYTES && i < RECORDS_MAX && o->cancels.count > 0; i++) {
        struct cp_cancel *cancel = cp_queue_pop(&o->cancels);
        size_t begin = cp_put_begin(out, CANCELS);
        put_attempt(o, out, &cancel->attempt);
        cp_put_str(out, 5, cancel->reason);
        cp_put_uint(out, 6, cancel->preempts);
        cp_put_end(out, begin);
        free(cancel->reason);
    }
}

static void pack_give_backs(struct cp_operator *o, struct sy_buf *out)
{
    for (unsigned i = 0; i < RECORDS_MAX && o->give_backs.count > 0; i++) {
        size_t begin = cp_put_begin(out, GIVE_BACKS);
        put_attempt(o, out, cp_queue_pop(&o->give_backs));
        cp_put_end(out, begin);
    }
}

/* After all that says what is not wanted. */
static void pack_echo(struct cp_operator *o, struct sy_buf *out)
{
    if (o->echo == 0 || o->assigns.count > 0 || o->cancels.count > 0 || o->give_backs.count > 0)
        return;
    size_t begin = cp_put_begin(out, ECHO);
    cp_put_uint(out, 1, o->echo);
    cp_put_end(out, begin);
    o->echo = 0;
}

static void pack_replies(struct cp_operator *o, struct sy_buf *out)
{
    while (out->len < MESSAGE_BYTES && o->replies.count > 0) {
        struct sy_buf *reply = cp_queue_pop(&o->replies);
        cp_put_bytes(out, REPLIES, reply->data, reply->len);
        SY_ASSERT(o->reply_bytes >= reply->len);
        o->reply_bytes -= reply->len;
        sy_buf_deinit(reply);
    }
}

static void pack_orders(struct cp_operator *o, struct sy_buf *out)
{
    while (o->orders_out.count > 0) {
        struct sy_buf *order = cp_queue_pop(&o->orders_out);
        cp_put_bytes(out, ORDERS, order->data, order->len);
        sy_buf_deinit(order);
    }
}

static void put_reclaim_queue(struct sy_buf *out, uint32_t field,
                              const struct sch_reclaim_queue *queue)
{
    size_t begin = cp_put_begin(out, field);
    cp_put_uint(out, 1, queue->id);
    cp_put_uint(out, 2, queue->below.actions);
    cp_put_uint(out, 3, queue->below.cpu_milli);
    cp_put_uint(out, 4, queue->below.memory_bytes);
    cp_put_uint(out, 5, queue->below.gpu_milli);
    cp_put_end(out, begin);
}

static void pack_reclaims(struct cp_operator *o, struct sy_buf *out)
{
    while (o->reclaims.count > 0) {
        const struct cp_reclaim *reclaim = cp_queue_pop(&o->reclaims);
        size_t begin = cp_put_begin(out, RECLAIMS);
        cp_put_uint(out, 1, reclaim->class_id);
        for (uint32_t i = 0; i < reclaim->queue_count; i++)
            put_reclaim_queue(out, 2, &reclaim->queues[i]);
        cp_put_uint(out, 3, reclaim->gang_id);
        cp_put_end(out, begin);
    }
}

static void pack_surveys(struct cp_operator *o, struct sy_buf *out)
{
    while (o->surveys_out.count > 0) {
        const struct cp_survey *survey = cp_queue_pop(&o->surveys_out);
        size_t begin = cp_put_begin(out, SURVEYS);
        cp_put_uint(out, 1, survey->id);
        put_request(out, 2, &survey->request);
        if (survey->gang.size > 0)
            put_gang_shape(out, 3, &survey->gang);
        cp_put_uint(out, 4, survey->class_id);
        cp_put_uint(out, 5, survey->gang_id);
        for (uint32_t i = 0; i < survey->queue_count; i++)
            put_reclaim_queue(out, 6, &survey->queues[i]);
        cp_put_end(out, begin);
    }
}

static void pack(struct cp_operator *o, struct sy_buf *out)
{
    if (o->welcome)
        pack_welcome(o, out);
    pack_demands(o, out);
    if (o->assigns.count == 0)
        pack_dropped_specs(o, out);
    while (o->assigns.count > 0 && out->len < MESSAGE_BYTES) {
        struct cp_assign assign = *cp_queue_pop(&o->assigns);
        bool packed = pack_assign(o, out, &assign);
        cp_assign_drop(&assign);
        if (!packed)
            break;
    }
    pack_acks(o, out);
    if (o->assigns.count == 0) /* none may overtake the assignment that it takes back */
        pack_cancels(o, out);
    pack_replies(o, out);
    if (o->heartbeat) {
        cp_put_uint(out, HEARTBEAT, 1);
        o->heartbeat = false;
    }
    pack_orders(o, out);
    pack_reclaims(o, out);
    pack_surveys(o, out);
    if (o->assigns.count == 0)
        pack_give_backs(o, out);
    pack_echo(o, out);
}

static bool has_something(const struct cp_operator *o)
{
    return o->welcome || o->heartbeat || o->demands.count > 0 || o->assigns.count > 0 ||
           o->acks_due || o->cancels.count > 0 || o->replies.count > 0 || o->orders_out.count > 0 ||
           o->reclaims.count > 0 || o->surveys_out.count > 0 || o->dropped_specs.count > 0 ||
           o->give_backs.count > 0 || o->echo > 0;
}

static bool piles_up(const struct cp_operator *o)
{
    return o->assigns.count > QUEUED_MAX || o->acks.count > QUEUED_MAX ||
           o->cancels.count > QUEUED_MAX || o->give_backs.count > QUEUED_MAX ||
           o->reply_bytes > REPLY_BYTES_MAX;
}

void cp_operator_flush(struct cp_operator *o)
{
    struct cp_partition *p = o->p;
    while (!o->closing && !p->failing && has_something(o)) {
        if (!sy_call_ready(o->call)) {
            if (!o->blocked_since_ns)
                o->blocked_since_ns = sy_loop_now_ns(p->loop) ? sy_loop_now_ns(p->loop) : 1;
            if (piles_up(o))
                cp_operator_close(o, SY_CODE_RESOURCE_EXHAUSTED, "does not read its stream");
            return;
        }
        o->blocked_since_ns = 0;
        struct sy_buf message = {0};
        pack(o, &message);
        o->sent_ns = sy_loop_now_ns(p->loop);
        int r = sy_call_send(o->call, &message);
        SY_ASSERT(r == 0); /* ready means that there is room */
    }
}
