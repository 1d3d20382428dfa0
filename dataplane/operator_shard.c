/*
 * One stream of ControlPlane.Operate, for one partition. Fencing: a stream speaks for its partition
 * only while no newer epoch has been seen, from another shard or in an agent's inventory; what
 * an older one says is refused and its stream closed.
 */
#include "base/mem.h"
#include "dataplane/stream.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

/* What a welcome may ask for; outside it is brought to the nearest. */
#define HEARTBEAT_MIN_NS SY_NS_PER_MS
#define HEARTBEAT_MAX_NS (60 * SY_NS_PER_S)
#define HEARTBEAT_DEFAULT_NS SY_NS_PER_S
#define LEASE_MAX_NS (3600 * SY_NS_PER_S)
#define LEASE_BEATS_MIN 3
#define REASON_MAX 512
#define ORIGINS_MAX 256u /* splits in a row, each of what was split from the one before */

const struct sm_table dp_stream_table = {
    .name = "partition stream",
    .states =
        (const struct sm_state[]){
            [DP_STREAM_DOWN] = {.name = "down",
                                .next = SM_BIT(DP_STREAM_GREETING),
                                .initial = true},
            [DP_STREAM_GREETING] = {.name = "greeting",
                                    .next = SM_BIT(DP_STREAM_UP) | SM_BIT(DP_STREAM_DOWN)},
            [DP_STREAM_UP] = {.name = "up",
                              .next = SM_BIT(DP_STREAM_FENCED) | SM_BIT(DP_STREAM_DOWN)},
            [DP_STREAM_FENCED] = {.name = "fenced", .next = SM_BIT(DP_STREAM_DOWN)},
        },
    .count = DP_STREAM_STATES,
};

struct dp_stream *dp_stream_find(struct dp_operator *op, uint32_t id)
{
    struct dp_partition *partition = dp_partition_find(op, id);
    return partition ? partition->up : NULL;
}

/* ---- grants: gathered, the last number of a class counts ---- */

static struct dp_grant *grant_get(struct dp_stream *stream, uint32_t class_id)
{
    struct dp_grant *grant;
    HASH_FIND(hh, stream->grants, &class_id, sizeof(class_id), grant);
    if (grant || HASH_COUNT(stream->grants) >= DP_CLASSES_MAX)
        return grant;
    grant = sy_new(struct dp_grant);
    grant->class_id = class_id;
    HASH_ADD(hh, stream->grants, class_id, sizeof(grant->class_id), grant);
    return grant;
}

void dp_stream_grant(struct dp_stream *stream, uint32_t class_id, uint64_t granted,
                     uint64_t startable)
{
    struct dp_grant *grant = grant_get(stream, class_id);
    if (!grant) /* the core grants only what was asked for, and that was counted */
        return;
    grant->granted = granted;
    grant->startable = startable;
    if (!grant->dirty) {
        grant->dirty = true;
        grant->next_dirty = NULL;
        *stream->dirty_grants_tail = grant;
        stream->dirty_grants_tail = &grant->next_dirty;
    }
    dp_link_mark(&stream->link);
}

void dp_stream_room(struct dp_stream *stream, uint64_t cpu_milli, uint64_t memory_bytes,
                    uint64_t gpu_milli)
{
    stream->room = (struct dp_room){cpu_milli, memory_bytes, gpu_milli, .dirty = true};
    dp_link_mark(&stream->link);
}

void dp_stream_elsewhere(struct dp_stream *stream, const struct sch_share_path *place,
                         const struct sch_use *use)
{
    struct sy_buf *record = &stream->op->scratch;
    struct sy_span tags = {(const uint8_t *)place->tags, place->depth * sizeof(place->tags[0])};
    sy_buf_clear(record);
    dp_wire_put_bytes(record, 1, tags); /* little-endian, as base/buf.c asserts */
    dp_wire_put_u64(record, 2, use->actions);
    dp_wire_put_u64(record, 3, use->cpu_milli);
    dp_wire_put_u64(record, 4, use->memory_bytes);
    dp_wire_put_u64(record, 5, use->gpu_milli);
    dp_link_put(&stream->link, DP_TO_SHARD_ELSEWHERE, sy_buf_span(record));
}

static void put_room(struct dp_stream *stream)
{
    struct sy_buf *record = &stream->op->scratch;
    if (!stream->room.dirty)
        return;
    sy_buf_clear(record);
    dp_wire_put_u64(record, 1, stream->room.cpu_milli);
    dp_wire_put_u64(record, 2, stream->room.memory_bytes);
    dp_wire_put_u64(record, 3, stream->room.gpu_milli);
    dp_link_put(&stream->link, DP_TO_SHARD_ROOM, sy_buf_span(record));
    stream->room.dirty = false;
}

static void put_grants(struct dp_stream *stream)
{
    struct sy_buf *record = &stream->op->scratch;
    for (struct dp_grant *grant = stream->dirty_grants; grant; grant = grant->next_dirty) {
        sy_buf_clear(record);
        dp_wire_put_u64(record, 1, grant->class_id);
        dp_wire_put_u64(record, 2, grant->granted);
        dp_wire_put_u64(record, 3, grant->startable);
        dp_link_put(&stream->link, DP_TO_SHARD_GRANTS, sy_buf_span(record));
        grant->dirty = false;
    }
    stream->dirty_grants = NULL;
    stream->dirty_grants_tail = &stream->dirty_grants;
}

static void drop_grants(struct dp_stream *stream)
{
    struct dp_grant *grant = stream->grants, *next;
    HASH_CLEAR(hh, stream->grants); /* the chain of elements stays */
    for (; grant; grant = next) {
        next = grant->hh.next;
        free(grant);
    }
    stream->dirty_grants = NULL;
    stream->dirty_grants_tail = &stream->dirty_grants;
    stream->room.dirty = false;
}

/* ---- what goes out beside the core's records ---- */

void dp_stream_complete(struct dp_stream *stream, bool owed)
{
    stream->complete_due = !owed;
    stream->owed_due = owed;
    stream->complete_after_inventory = dp_link_barrier(&stream->link, DP_TO_SHARD_INVENTORY);
    stream->complete_after_outcomes = dp_link_barrier(&stream->link, DP_TO_SHARD_OUTCOMES);
    dp_link_mark(&stream->link);
}

static void before_pack(struct dp_link *link)
{
    struct dp_stream *stream = (struct dp_stream *)link;
    if (stream->sm.state != DP_STREAM_UP)
        return;
    put_room(stream);
    put_grants(stream);
    if ((stream->complete_due || stream->owed_due) &&
        dp_link_passed(link, DP_TO_SHARD_INVENTORY, stream->complete_after_inventory) &&
        dp_link_passed(link, DP_TO_SHARD_OUTCOMES, stream->complete_after_outcomes)) {
        dp_link_flag(link, stream->owed_due ? DP_TO_SHARD_INVENTORY_OWED
                                            : DP_TO_SHARD_INVENTORY_COMPLETE);
        stream->complete_due = stream->owed_due = false;
    }
    if (stream->shapes_due && dp_link_waiting(link, DP_TO_SHARD_SHAPES) == 0) {
        stream->shapes_due = false;
        dp_status_put_shapes(stream->op, link);
    }
    int64_t now_ns = sy_loop_now_ns(stream->op->loop);
    if (stream->nodes_due && dp_link_waiting(link, DP_TO_SHARD_NODES) == 0 &&
        (stream->nodes_told_ns == 0 ||
         now_ns >= stream->nodes_told_ns + stream->op->nodes_told_every_ns)) {
        stream->nodes_due = false;
        stream->nodes_told_ns = now_ns;
        dp_status_put_nodes(stream->op, link);
    }
    if (stream->nodes_due)
        dp_nodes_tell_later(stream->op);
    dp_proofs_pack(stream);
}

/* ---- up and down ---- */

/* It speaks for its partition no longer. */
static void leave(struct dp_stream *stream, enum dp_stream_state to)
{
    struct dp_operator *op = stream->op;
    bool was_up = stream->sm.state == DP_STREAM_UP;
    sm_move(&stream->sm, &dp_stream_table, to, stream);
    if (!was_up)
        return;
    SY_ASSERT(stream->partition->up == stream);
    stream->partition->up = NULL;
    stream->complete_due = stream->owed_due = stream->nodes_due = false;
    stream->nodes_told_ns = 0;
    drop_grants(stream);
    dp_proofs_drop_stream(stream);
    dp_step(op, &(struct sch_op_event){.type = SCH_OP_PARTITION_DOWN,
                                       .u.partition = {stream->partition->id, stream->epoch}});
    dp_relay_fail_partition(op, stream->partition->id);
}

static void fence(struct dp_stream *stream, uint32_t epoch)
{
    struct dp_operator *op = stream->op;
    sy_log(op->log, &dp_events, DP_EV_STALE_EPOCH, SY_STR("shard", stream->shard->target),
           SY_U64("partition", stream->partition->id), SY_U64("epoch", stream->epoch),
           SY_U64("newest", epoch));
    leave(stream, DP_STREAM_FENCED);
    dp_link_close(&stream->link, SY_CODE_FAILED_PRECONDITION,
                  "epoch %u of partition %u is over: %u was seen", stream->epoch,
                  stream->partition->id, epoch);
}

bool dp_partition_saw_epoch(struct dp_operator *op, uint32_t id, uint32_t epoch)
{
    struct dp_partition *partition = dp_partition_get(op, id, false);
    if (!partition || epoch <= partition->max_epoch)
        return partition != NULL;
    partition->max_epoch = epoch;
    if (partition->up && partition->up->epoch < epoch)
        fence(partition->up, epoch);
    return true;
}

static int64_t clamp(int64_t value, int64_t min, int64_t max)
{
    if (value < min)
        return min;
    return value > max ? max : value;
}

static void on_lost(struct dp_link *link, enum sy_code code, const char *why)
{
    struct dp_stream *stream = (struct dp_stream *)link;
    struct dp_operator *op = stream->op;
    int64_t lived_ns = stream->up_ns > 0 ? sy_loop_now_ns(op->loop) - stream->up_ns : 0;
    leave(stream, DP_STREAM_DOWN);
    sy_log(op->log, &dp_events, DP_EV_PARTITION_DOWN, SY_STR("shard", stream->shard->target),
           SY_U64("partition", stream->partition->id), SY_STR("status", sy_code_name(code)),
           SY_STR("why", why));
    stream->up_ns = 0;
    dp_dial_again(stream->shard, lived_ns);
}

/* The core tells this partition all it holds for it, which may be more than a slow shard may have
 * waiting otherwise: that much on top is allowed. */
static void step_up(struct dp_stream *stream, struct sch_op_event *up)
{
    struct dp_link *link = &stream->link;
    link->queued_max = SIZE_MAX;
    dp_step(stream->op, up);
    link->queued_max = link->queued_bytes + stream->op->peer_bytes_max;
}

/* ---- what the shard says ---- */

/* Ends the walk over the message. */
#define STOP 1

static int refuse(struct dp_stream *stream, enum sy_code code, const char *what)
{
    dp_link_close(&stream->link, code, "%s", what);
    return STOP;
}

static void *decode(struct dp_stream *stream, const ProtobufCMessageDescriptor *descriptor,
                    const struct dp_wire_field *field)
{
    sy_arena_reset(&stream->op->arena);
    return pb_unpack(descriptor, &stream->op->arena, field->bytes);
}

static int check_epoch(struct dp_stream *stream, uint32_t epoch)
{
    struct dp_partition *partition = stream->partition;
    const struct dp_stream *other = partition->up;
    if (epoch >= partition->max_epoch && !(other && other->epoch >= epoch))
        return 0;
    sy_log(stream->op->log, &dp_events, DP_EV_STALE_EPOCH, SY_STR("shard", stream->shard->target),
           SY_U64("partition", partition->id), SY_U64("epoch", epoch),
           SY_U64("newest", partition->max_epoch));
    dp_link_close(&stream->link, SY_CODE_FAILED_PRECONDITION,
                  "epoch %u of partition %u: %u was seen%s", epoch, partition->id,
                  partition->max_epoch, other ? " and another shard speaks for it" : "");
    return STOP;
}

/* Places from one to another, and epochs that grow, below its own. */
static bool check_descent(const Switchyard__Internal__ShardWelcome *welcome)
{
    uint32_t before = 0;
    if (welcome->n_origins > ORIGINS_MAX || welcome->places_above > UINT8_MAX ||
        welcome->first_place > UINT8_MAX - welcome->places_above)
        return false;
    for (size_t i = 0; i < welcome->n_origins; i++) {
        const Switchyard__Internal__Origin *origin = welcome->origins[i];
        if (origin->partition == welcome->partition || origin->epoch <= before ||
            origin->epoch >= welcome->epoch)
            return false;
        before = origin->epoch;
    }
    return true;
}

static int on_welcome(struct dp_stream *stream, const struct dp_wire_field *field)
{
    struct dp_operator *op = stream->op;
    const Switchyard__Internal__ShardWelcome *welcome = decode(
        stream, &switchyard__internal__shard_welcome__descriptor, field);
    if (!welcome || welcome->partition != stream->partition->id)
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a welcome for another partition");
    if (stream->sm.state != DP_STREAM_GREETING)
        return refuse(stream, SY_CODE_FAILED_PRECONDITION, "a second welcome");
    if (welcome->epoch == 0)
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a welcome without an epoch");
    if (!check_descent(welcome))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a welcome with malformed origins");
    if (check_epoch(stream, welcome->epoch) != 0)
        return STOP;
    struct dp_partition *partition = stream->partition;
    if (partition->up)
        fence(partition->up, welcome->epoch);
    SY_ASSERT(!partition->up);
    partition->up = stream;
    partition->max_epoch = welcome->epoch;
    dp_specs_drop_partition(&op->specs, partition->id, &partition->specs);
    stream->epoch = welcome->epoch;
    stream->up_ns = sy_loop_now_ns(op->loop);
    stream->cluster_lease_ns = welcome->lease_ns;
    stream->shapes_due = stream->nodes_due = true;
    sm_move(&stream->sm, &dp_stream_table, DP_STREAM_UP, stream);
    int64_t heartbeat_ns = welcome->heartbeat_ns > 0 ? welcome->heartbeat_ns : HEARTBEAT_DEFAULT_NS;
    heartbeat_ns = clamp(heartbeat_ns, HEARTBEAT_MIN_NS, HEARTBEAT_MAX_NS);
    dp_link_established(&stream->link, heartbeat_ns,
                        clamp(welcome->lease_ns, LEASE_BEATS_MIN * heartbeat_ns, LEASE_MAX_NS));
    sy_log(op->log, &dp_events, DP_EV_PARTITION_UP, SY_STR("shard", stream->shard->target),
           SY_U64("partition", partition->id), SY_U64("epoch", welcome->epoch));
    struct sch_op_origin origins[ORIGINS_MAX] = {0};
    struct sch_op_event up = {.type = SCH_OP_PARTITION_UP,
                              .u.partition = {.partition = partition->id,
                                              .epoch = welcome->epoch,
                                              .first_place = (uint8_t)welcome->first_place,
                                              .places_above = (uint8_t)welcome->places_above,
                                              .origins = origins,
                                              .origin_count = welcome->n_origins}};
    for (size_t i = 0; i < welcome->n_origins; i++)
        origins[i] = (struct sch_op_origin){welcome->origins[i]->partition,
                                            welcome->origins[i]->epoch};
    for (size_t i = 0; i < up.u.partition.origin_count; i++) /* `welcome` is gone by now */
        (void)dp_partition_saw_epoch(op, origins[i].partition, origins[i].epoch + 1);
    step_up(stream, &up);
    return 0;
}

static int on_demand(struct dp_stream *stream, const struct dp_wire_field *field)
{
    const Switchyard__Internal__Demand *demand = decode(
        stream, &switchyard__internal__demand__descriptor, field);
    struct sch_op_event event = {.type = SCH_OP_DEMAND};
    if (!demand || !dp_resources_from(demand->request, &event.u.demand.request))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed demand");
    if (!grant_get(stream, demand->class_))
        return refuse(stream, SY_CODE_RESOURCE_EXHAUSTED, "too many resource classes");
    event.u.demand.partition = stream->partition->id;
    event.u.demand.class_id = demand->class_;
    event.u.demand.waiting = demand->waiting;
    event.u.demand.oldest_age_ns = demand->oldest_age_ns;
    event.u.demand.top_priority = demand->top_priority;
    event.u.demand.keep = demand->keep;
    struct sch_gang_shape gang;
    if (demand->gang) {
        if (sch_gang_shape_init(&gang, demand->gang->size, demand->gang->topology,
                                demand->gang->topology_key, 0, NULL) < 0)
            return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed demand");
        event.u.demand.gang = &gang;
    }
    struct sch_share_standing standing;
    if (!sch_share_standing_from(demand->shares, demand->n_shares, demand->weights,
                                 demand->n_weights, &standing))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed demand");
    event.u.demand.standing = standing.path.depth > 0 ? &standing : NULL;
    dp_step(stream->op, &event);
    return 0;
}

/* Field 4, the definition itself, is not looked at. */
static bool spec_key(struct sy_span bytes, struct dp_spec_key *ret)
{
    uint32_t parts[3] = {0};
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&bytes, &field)) == 0) {
        if (field.number > 3)
            continue;
        if (field.type != DP_WIRE_VARINT || field.value > UINT32_MAX)
            return false;
        parts[field.number - 1] = (uint32_t)field.value;
    }
    *ret = (struct dp_spec_key){parts[0], parts[1], parts[2]};
    return r == DP_WIRE_E_END;
}

static int on_spec(struct dp_stream *stream, const struct dp_wire_field *field)
{
    struct dp_spec_key key;
    if (!spec_key(field->bytes, &key) || key.partition != stream->partition->id ||
        key.epoch != stream->epoch)
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a spec of another partition or epoch");
    if (dp_specs_add(&stream->op->specs, &key, field->bytes, &stream->partition->specs) != 0)
        return refuse(stream, SY_CODE_RESOURCE_EXHAUSTED, "too many specs that were not dropped");
    return 0;
}

static void drop_spec(struct dp_stream *stream, uint64_t id)
{
    struct dp_spec_key key = {stream->partition->id, stream->epoch, (uint32_t)id};
    dp_specs_drop(&stream->op->specs, &key, &stream->partition->specs);
}

/* Packed, as proto3 writes them, or one by one. */
static int on_dropped_specs(struct dp_stream *stream, const struct dp_wire_field *field)
{
    if (field->type == DP_WIRE_VARINT) {
        drop_spec(stream, field->value);
        return 0;
    }
    struct sy_span rest = field->bytes;
    while (rest.len > 0) {
        uint64_t id;
        if (dp_wire_take_varint(&rest, &id) < 0)
            return refuse(stream, SY_CODE_INVALID_ARGUMENT, "malformed dropped specs");
        drop_spec(stream, id);
    }
    return 0;
}

/* A GangMember; how many they are its class says. */
static bool read_member(struct sy_span bytes, struct sch_op_event *event)
{
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&bytes, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_FIXED64)
            event->u.assign.gang_id = field.value;
        else if (field.number == 2 && field.type == DP_WIRE_VARINT)
            event->u.assign.rank = (uint32_t)field.value;
    }
    return r == DP_WIRE_E_END && event->u.assign.gang_id != 0;
}

/* Packed, as proto3 writes them. */
static bool read_place(struct sy_span bytes, struct sch_share_path *ret)
{
    uint32_t tags[SCH_SHARE_DEPTH_MAX];
    if (bytes.len > sizeof(tags) || bytes.len % sizeof(tags[0]) != 0)
        return false;
    if (bytes.len > 0)
        memcpy(tags, bytes.data, bytes.len); /* little-endian, as base/buf.c asserts */
    return sch_share_path_from(tags, bytes.len / sizeof(tags[0]), ret);
}

static int on_assignment(struct dp_stream *stream, const struct dp_wire_field *field)
{
    struct dp_operator *op = stream->op;
    struct dp_record record;
    if (dp_wire_record(field->bytes, &record) < 0 || record.key.partition != stream->partition->id)
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed assignment");
    if (record.key.epoch != stream->epoch) {
        sy_log(op->log, &dp_events, DP_EV_STALE_EPOCH, SY_STR("shard", stream->shard->target),
               SY_U64("partition", record.key.partition), SY_U64("epoch", record.key.epoch),
               SY_U64("newest", stream->epoch));
        return refuse(stream, SY_CODE_FAILED_PRECONDITION, "an assignment of another epoch");
    }
    struct dp_spec_key key = {record.key.partition, record.key.epoch, (uint32_t)record.value6};
    struct dp_spec *spec = dp_specs_find(&op->specs, &key);
    if (!spec || spec->dropped)
        return refuse(stream, SY_CODE_FAILED_PRECONDITION, "an assignment without its spec");
    struct sch_op_event event = {.type = SCH_OP_ASSIGN};
    event.u.assign.key = record.key;
    event.u.assign.class_id = (uint32_t)record.value5;
    event.u.assign.queue = (uint32_t)record.value15;
    event.u.assign.suspect = record.value19 != 0;
    event.u.assign.waits = record.value21 != 0;
    if (record.text17.data && !read_member(record.text17, &event))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed assignment");
    struct sch_share_path place;
    if (!read_place(record.text20, &place))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed assignment");
    event.u.assign.place = &place;
    event.u.assign.priority = (int32_t)record.value12;
    event.u.assign.blob = dp_assignment_blob(spec, field->bytes);
    dp_step(op, &event);
    return 0;
}

/* Its partition speaks for such attempts. */
static bool is_its_own(const struct dp_stream *stream, const struct sch_attempt_key *key)
{
    return sch_operator_speaks_for(stream->op->core, stream->partition->id, key);
}

static int on_ack(struct dp_stream *stream, const struct dp_wire_field *field)
{
    struct dp_record record;
    if (dp_wire_record(field->bytes, &record) < 0 || !is_its_own(stream, &record.key))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed acknowledgement");
    dp_step(stream->op, &(struct sch_op_event){.type = SCH_OP_ACK, .u.key = record.key});
    return 0;
}

static int on_cancel(struct dp_stream *stream, const struct dp_wire_field *field)
{
    struct dp_record record;
    if (dp_wire_record(field->bytes, &record) < 0 || !is_its_own(stream, &record.key))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed cancel");
    char reason[REASON_MAX];
    dp_copy_text(reason, sizeof(reason), record.text5);
    dp_step(stream->op,
            &(struct sch_op_event){.type = SCH_OP_CANCEL,
                                   .u.cancel = {record.key, reason, record.value6 != 0}});
    return 0;
}

static int on_give_back(struct dp_stream *stream, const struct dp_wire_field *field)
{
    struct dp_record record;
    if (dp_wire_record(field->bytes, &record) < 0 || !is_its_own(stream, &record.key))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed attempt");
    dp_step(stream->op, &(struct sch_op_event){.type = SCH_OP_GIVE_BACK, .u.key = record.key});
    return 0;
}

static int on_reply(struct dp_stream *stream, const struct dp_wire_field *field)
{
    if (!dp_relay_reply(stream, field->bytes))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed reply");
    return 0;
}

static int on_node_order(struct dp_stream *stream, const struct dp_wire_field *field)
{
    const Switchyard__Internal__NodeOrder *order = decode(
        stream, &switchyard__internal__node_order__descriptor, field);
    if (!order)
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed order for a node");
    dp_orders_receive(stream, order);
    return 0;
}

static int on_reclaim(struct dp_stream *stream, const struct dp_wire_field *field)
{
    const Switchyard__Internal__Reclaim *reclaim = decode(
        stream, &switchyard__internal__reclaim__descriptor, field);
    struct sch_reclaim_queue queues[SCH_RECLAIM_QUEUES_MAX];
    if (!reclaim || !dp_reclaim_queues_from(reclaim->n_queues, reclaim->queues, queues))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed reclaim");
    struct sch_op_event event = {.type = SCH_OP_RECLAIM};
    event.u.reclaim.partition = stream->partition->id;
    event.u.reclaim.class_id = reclaim->class_;
    event.u.reclaim.gang_id = reclaim->gang;
    event.u.reclaim.queues = queues;
    event.u.reclaim.queue_count = (uint32_t)reclaim->n_queues;
    dp_step(stream->op, &event);
    return 0;
}

static int on_survey(struct dp_stream *stream, const struct dp_wire_field *field)
{
    const Switchyard__Internal__Survey *survey = decode(
        stream, &switchyard__internal__survey__descriptor, field);
    if (!survey || !dp_survey_answer(stream, survey))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed survey");
    return 0;
}

static int on_echo(struct dp_stream *stream, const struct dp_wire_field *field)
{
    if (!dp_proofs_echoed(stream, field->bytes))
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a malformed echo");
    return 0;
}

static int on_field(void *ctx, const struct dp_wire_field *field)
{
    static int (*const handlers[])(struct dp_stream *, const struct dp_wire_field *) = {
        [DP_FROM_SHARD_WELCOME] = on_welcome,
        [DP_FROM_SHARD_DEMANDS] = on_demand,
        [DP_FROM_SHARD_SPECS] = on_spec,
        [DP_FROM_SHARD_DROPPED_SPECS] = on_dropped_specs,
        [DP_FROM_SHARD_ASSIGNMENTS] = on_assignment,
        [DP_FROM_SHARD_ACKS] = on_ack,
        [DP_FROM_SHARD_CANCELS] = on_cancel,
        [DP_FROM_SHARD_REPLIES] = on_reply,
        [DP_FROM_SHARD_NODE_ORDERS] = on_node_order,
        [DP_FROM_SHARD_RECLAIMS] = on_reclaim,
        [DP_FROM_SHARD_SURVEYS] = on_survey,
        [DP_FROM_SHARD_GIVE_BACKS] = on_give_back,
        [DP_FROM_SHARD_ECHO] = on_echo,
    };
    struct dp_stream *stream = ctx;
    if (field->number >= SY_COUNT_OF(handlers) || !handlers[field->number])
        return 0; /* a heartbeat: that it came is enough */
    if (field->type != DP_WIRE_BYTES && field->number != DP_FROM_SHARD_DROPPED_SPECS)
        return refuse(stream, SY_CODE_INVALID_ARGUMENT, "a field has the wrong type");
    if (stream->sm.state != DP_STREAM_UP && field->number != DP_FROM_SHARD_WELCOME)
        return refuse(stream, SY_CODE_FAILED_PRECONDITION, "the first message has no welcome");
    int r = handlers[field->number](stream, field);
    return dp_link_usable(&stream->link) ? r : STOP; /* a step may have filled its own queue */
}

static void on_message(struct dp_link *link, struct sy_span message)
{
    struct dp_stream *stream = (struct dp_stream *)link;
    if (dp_wire_each(message, DP_FROM_SHARD_FIELDS, on_field, stream) < 0)
        dp_link_close(link, SY_CODE_INVALID_ARGUMENT, "a malformed message");
}

static const struct dp_link_ops stream_ops = {
    .on_message = on_message,
    .before_pack = before_pack,
    .on_lost = on_lost,
    .heartbeat_field = DP_TO_SHARD_HEARTBEAT,
    .whole_fields = 1u << DP_TO_SHARD_SHAPES | 1u << DP_TO_SHARD_NODES,
};

/* ---- for operator_dial.c ---- */

struct dp_stream *dp_stream_new(struct dp_shard *shard, struct dp_partition *partition)
{
    struct dp_stream *stream = sy_new(struct dp_stream);
    stream->op = shard->op;
    stream->shard = shard;
    stream->partition = partition;
    stream->dirty_grants_tail = &stream->dirty_grants;
    sm_init(&stream->sm, &dp_stream_table, DP_STREAM_DOWN);
    dp_link_init(&stream->link, &shard->op->links, &stream_ops);
    return stream;
}

void dp_stream_free(struct dp_stream *stream)
{
    if (stream->partition->up == stream)
        stream->partition->up = NULL;
    dp_link_deinit(&stream->link);
    drop_grants(stream);
    dp_proofs_drop_stream(stream);
    free(stream);
}

void dp_stream_open(struct dp_stream *stream)
{
    struct dp_operator *op = stream->op;
    sm_move(&stream->sm, &dp_stream_table, DP_STREAM_GREETING, stream);
    char partition[16]; /* the shard takes the stream to that partition's loop */
    snprintf(partition, sizeof(partition), "%u", stream->partition->id);
    struct sy_metadata metadata[1 + DP_CREDENTIALS_MAX] = {{"x-switchyard-partition", partition}};
    struct sy_call_options options = {.method = "/switchyard.internal.ControlPlane/Operate",
                                      .metadata = metadata,
                                      .metadata_count = 1 + dp_credentials(op, metadata + 1)};
    struct sy_call *call = sy_channel_open(stream->shard->channel, op->loop, &options,
                                           &dp_link_sink, &stream->link);
    dp_link_open(&stream->link, call, op->peer_bytes_max, DP_GREETING_NS);
    struct sy_buf *hello = &op->scratch;
    sy_buf_clear(hello);
    dp_wire_put_u64(hello, 1, stream->partition->id);
    dp_wire_put_text(hello, 2, op->cluster);
    dp_wire_put_text(hello, 3, op->session);
    dp_wire_put_text(hello, 4, op->endpoint);
    dp_wire_put_u64(hello, 5, stream->partition->max_epoch);
    dp_wire_put_u64(hello, 6, (uint64_t)op->core_price_micros);
    dp_wire_put_text(hello, 7, op->region);
    dp_wire_put_u64(hello, 8, op->term);
    dp_wire_put_u64(hello, 9, 1);
    dp_link_put(&stream->link, DP_TO_SHARD_HELLO, sy_buf_span(hello));
}
