/* The owner's side of standby_impl.h: the core (standby.h) says what may be shown and what to
 * write; here the follower is dialled, and fed: with the batch that is being committed when it has
 * all before, else from the log; or with an image, when it is to begin anew. */
#include "base/mem.h"
#include "controlplane/events.h"
#include "controlplane/standby_impl.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)
#define REDIAL_NS (100 * SY_NS_PER_MS)
#define REDIAL_MAX_NS (2 * SY_NS_PER_S)
#define UNPACK_BYTES_MAX ((size_t)64 << 10)

typedef Switchyard__Internal__OwnerMessage OwnerMessage;
typedef Switchyard__Internal__FollowerMessage FollowerMessage;

struct cp_owner_side {
    struct cp_copying *copying;
    struct sy_loop *loop;
    struct cp_store *store; /* NULL: the partition is not ours */
    uint32_t epoch;
    struct cp_standby core;
    bool decides;      /* the core is in use: the record is the one that our claim wrote */
    uint64_t released; /* up to there all may be shown */
    uint64_t log_from; /* the log can be read from there: see hear_hello() */
    struct sy_timer wake;

    char peer[CP_NAME_LENGTH_MAX + 1];
    struct sy_channel *channel;
    struct sy_call *call; /* to it; NULL: none */
    struct sy_timer redial;
    int64_t redial_ns;

    bool greeting;          /* a hello is awaited */
    bool feeds;             /* its log is the beginning of ours */
    bool sent;              /* a piece is under way */
    struct cp_log_mark fed; /* where its log ends with that */
    struct cp_log_reader *reader;
    struct sy_buf data; /* of a piece from the log */
    struct sy_buf rest; /* of a piece that is too large for one message */
    size_t rest_at;
    struct cp_image *image;
    bool image_ready;
    bool in_sync;              /* as it was logged */
    struct cp_log_mark closed; /* of cp_owner_closed() */
};

static void step(struct cp_owner_side *o, struct cp_standby_event event);

/* ---- the follower's stream ---- */

static void drop_image(struct cp_owner_side *o)
{
    cp_image_free(sy_take(o->image));
    o->image_ready = false;
}

static void stop_feeding(struct cp_owner_side *o)
{
    cp_log_reader_free(sy_take(o->reader));
    sy_buf_deinit(&o->rest);
    o->rest_at = 0;
    o->feeds = o->sent = false;
}

static void hang_up(struct cp_owner_side *o)
{
    drop_image(o);
    stop_feeding(o);
    o->greeting = false;
    struct sy_call *call = sy_take(o->call);
    if (call == NULL)
        return;
    sy_call_set_sink(call, NULL, NULL);
    sy_call_finish(call, NULL);
    sy_call_unref(call);
}

/* It is dialled again after a while. */
static void give_up(struct cp_owner_side *o)
{
    hang_up(o);
    sy_timer_start_in(o->loop, &o->redial, o->redial_ns);
    o->redial_ns = 2 * o->redial_ns < REDIAL_MAX_NS ? 2 * o->redial_ns : REDIAL_MAX_NS;
    step(o, (struct cp_standby_event){.type = CP_STANDBY_GONE});
}

static bool send(struct cp_owner_side *o, const OwnerMessage *message)
{
    struct sy_buf bytes = {0};
    pb_pack(&message->base, &bytes);
    bool sent = sy_call_send(o->call, &bytes) == 0;
    if (!sent)
        sy_buf_deinit(&bytes);
    return sent;
}

/* ---- feeding ---- */

static void send_rest(struct cp_owner_side *o)
{
    while (o->rest_at < o->rest.len) {
        size_t left = o->rest.len - o->rest_at;
        OwnerMessage m = SWITCHYARD__INTERNAL__OWNER_MESSAGE__INIT;
        m.message_case = SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_DATA;
        m.data.data = o->rest.data + o->rest_at;
        m.data.len = left < CP_COPY_CHUNK ? left : CP_COPY_CHUNK;
        if (!send(o, &m))
            return; /* goes on when there is room */
        o->rest_at += m.data.len;
    }
    sy_buf_deinit(&o->rest);
    o->rest_at = 0;
}

static void send_piece(struct cp_owner_side *o, struct cp_log_mark end, struct sy_span data)
{
    OwnerMessage m = SWITCHYARD__INTERNAL__OWNER_MESSAGE__INIT;
    Switchyard__Internal__LogPiece piece = SWITCHYARD__INTERNAL__LOG_PIECE__INIT;
    Switchyard__Internal__LogMark from = SWITCHYARD__INTERNAL__LOG_MARK__INIT, to = from;
    from.epoch = o->fed.epoch;
    from.position = o->fed.position;
    to.epoch = end.epoch;
    to.position = end.position;
    piece.owner_epoch = o->epoch;
    piece.copy = o->core.copy;
    piece.after = &from;
    piece.end = &to;
    piece.bytes = data.len;
    piece.data.data = (uint8_t *)(uintptr_t)data.data;
    piece.data.len = data.len < CP_COPY_CHUNK ? data.len : CP_COPY_CHUNK;
    m.message_case = SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_PIECE;
    m.piece = &piece;
    SY_ASSERT(o->feeds && !o->sent && o->rest.len == 0);
    if (!send(o, &m)) { /* nothing else waits to be sent but what is left of an image */
        give_up(o);
        return;
    }
    if (data.len > piece.data.len)
        sy_buf_append(&o->rest, data.data + piece.data.len, data.len - piece.data.len);
    o->sent = true;
    o->fed = end;
    send_rest(o);
}

/* From the log: what it lacks and is written here. The batch that is being committed comes later.
 */
static void feed(struct cp_owner_side *o)
{
    if (!o->feeds || o->sent || o->fed.position >= o->core.synced)
        return;
    if (o->reader == NULL)
        o->reader = cp_log_reader_new(o->store, o->fed.position);
    struct cp_log_mark end = cp_log_piece(&o->core.log, o->fed.position);
    if (end.position > o->core.synced)
        end.position = o->core.synced;
    int r = o->reader == NULL
                ? -ENOENT
                : cp_log_reader_next(o->reader, end.position, PIECE_BYTES, &o->data, &end.position);
    if (r == 0) {
        if (end.position == o->core.synced) /* what comes next is not in it yet */
            cp_log_reader_free(sy_take(o->reader));
        send_piece(o, end, sy_buf_span(&o->data));
    } else {
        give_up(o); /* it may not reach back so far any more: the next hello finds out */
    }
}

/* ---- images ---- */

static void pump_image(struct cp_owner_side *o)
{
    const char *name;
    while (o->image_ready && sy_call_ready(o->call)) {
        OwnerMessage m = SWITCHYARD__INTERNAL__OWNER_MESSAGE__INIT;
        Switchyard__Internal__OwnerMessage__ImagePart part =
            SWITCHYARD__INTERNAL__OWNER_MESSAGE__IMAGE_PART__INIT;
        Switchyard__Internal__OwnerMessage__ImageEnd end =
            SWITCHYARD__INTERNAL__OWNER_MESSAGE__IMAGE_END__INIT;
        int r = cp_image_next(o->image, CP_COPY_CHUNK, &name, &o->data);
        if (r < 0) {
            give_up(o);
            return;
        }
        if (r == 0) {
            part.name = (char *)(uintptr_t)name;
            part.data.data = o->data.data;
            part.data.len = o->data.len;
            m.message_case = SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_PART;
            m.part = &part;
        } else {
            m.message_case = SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_END;
            m.end = &end;
            drop_image(o);
        }
        bool sent = send(o, &m);
        SY_ASSERT(sent); /* nothing waited */
    }
}

static void on_image(void *ctx, int error)
{
    struct cp_owner_side *o = ctx;
    if (error < 0) {
        sy_log(o->copying->lane->shard->log, &cp_shard_events, CP_SHARD_EV_COPY_FAILED,
               SY_U64("partition", o->copying->lane->index),
               SY_STR("error", cp_image_error(o->image)));
        give_up(o);
        return;
    }
    o->image_ready = true;
    pump_image(o);
}

static void begin_image(struct cp_owner_side *o)
{
    struct cp_copies *port = o->copying->port;
    if (o->image != NULL)
        return;
    o->image = cp_image_new(o->store, port->image_path(port->ctx, o->copying->lane->index),
                            on_image, o);
}

/* ---- the core ---- */

static struct cp_standby_view view_of(const struct cp_owner_side *o)
{
    const struct cp_copy_record *record = &o->copying->record;
    return (struct cp_standby_view){.now_ns = sy_loop_now_ns(o->loop),
                                    .revision = record->revision,
                                    .epoch = record->ours ? record->epoch : 0,
                                    .in_sync = record->beside,
                                    .present = record->channel != NULL,
                                    .replaced = record->replaced,
                                    .log_from = o->log_from};
}

static void order_anew(struct cp_owner_side *o, const struct cp_standby_order *order)
{
    OwnerMessage m = SWITCHYARD__INTERNAL__OWNER_MESSAGE__INIT;
    Switchyard__Internal__OwnerMessage__Anew anew = SWITCHYARD__INTERNAL__OWNER_MESSAGE__ANEW__INIT;
    anew.epoch = order->owner_epoch;
    anew.copy = order->copy;
    m.message_case = SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_ANEW;
    m.anew = &anew;
    stop_feeding(o);
    o->greeting = true; /* one, or that it is ready */
    if (!send(o, &m))
        give_up(o);
}

/* It is out, and said what did not fit when it was not: now it may be told to begin anew. */
static bool is_forgotten(const struct cp_owner_side *o)
{
    return o->call != NULL && !o->greeting && o->image == NULL &&
           o->core.sm.state == CP_STANDBY_OUT && o->core.its_log != CP_STANDBY_LOG_FITS;
}

static void say(struct cp_owner_side *o)
{
    bool in_sync = o->core.sm.state == CP_STANDBY_IN_SYNC;
    bool out = o->core.sm.state == CP_STANDBY_OUT;
    if (in_sync == o->in_sync || (!in_sync && !out))
        return;
    o->in_sync = in_sync;
    sy_log(o->copying->lane->shard->log, &cp_shard_events, CP_SHARD_EV_STANDBY,
           SY_U64("partition", o->copying->lane->index), SY_STR("standby", o->peer),
           SY_STR("state", in_sync ? "in sync" : "out"));
}

/* Sets released; whoever may tell the partition does. */
static void decide(struct cp_owner_side *o, const struct cp_standby_event *event)
{
    struct cp_standby_view view = view_of(o);
    struct cp_standby_effects fx;
    if (!o->decides)
        return;
    cp_standby_step(&o->core, &view, event, &fx);
    if (fx.release != 0)
        o->released = fx.release;
    if (fx.write)
        cp_copying_write(o->copying, fx.if_revision, o->peer, fx.in_sync);
    if (fx.feed) {
        stop_feeding(o);
        o->feeds = true;
        o->fed = fx.from;
    }
    if (fx.anew && o->call != NULL)
        order_anew(o, &fx.order);
    say(o);
    if (fx.wake_ns != SY_TIME_NEVER)
        sy_timer_start(o->loop, &o->wake, fx.wake_ns);
    if (is_forgotten(o) && !sy_timer_running(&o->redial))
        sy_timer_start_in(o->loop, &o->redial, REDIAL_NS);
}

static void step(struct cp_owner_side *o, struct cp_standby_event event)
{
    uint64_t before = o->released;
    decide(o, &event);
    if (o->call != NULL)
        feed(o);
    if (o->released > before) /* may end it all */
        cp_partition_released(o->copying->lane->partition, o->released);
}

static void on_wake(void *arg)
{
    step(arg, (struct cp_standby_event){.type = CP_STANDBY_LOOK});
}

/* ---- what the follower says ---- */

static void hear_hello(struct cp_owner_side *o,
                       const Switchyard__Internal__FollowerMessage__Hello *m)
{
    struct cp_standby_hello hello = {.copy = m->copy};
    if (m->end != NULL)
        hello.end = (struct cp_log_mark){m->end->epoch, m->end->position};
    stop_feeding(o);
    o->greeting = false;
    o->redial_ns = REDIAL_NS;
    o->log_from = hello.end.position;
    if (hello.end.position < o->core.synced) {
        o->reader = cp_log_reader_new(o->store, hello.end.position);
        o->log_from = o->reader != NULL ? hello.end.position : UINT64_MAX;
        cp_log_reader_free(sy_take(o->reader));
    }
    step(o, (struct cp_standby_event){.type = CP_STANDBY_HELLO, .hello = hello});
}

static void hear_stored(struct cp_owner_side *o,
                        const Switchyard__Internal__FollowerMessage__Stored *m)
{
    struct cp_standby_stored stored = {m->owner_epoch, m->copy, m->upto};
    if (stored.owner_epoch == o->epoch && stored.copy == o->core.copy &&
        stored.upto >= o->fed.position)
        o->sent = o->rest.len > 0;
    step(o, (struct cp_standby_event){.type = CP_STANDBY_STORED, .stored = stored});
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct cp_owner_side *o = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, UNPACK_BYTES_MAX);
    const FollowerMessage *m = pb_unpack(&switchyard__internal__follower_message__descriptor,
                                         &arena, bytes);
    switch (m != NULL ? m->message_case
                      : SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE__NOT_SET) {
    case SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_HELLO:
        hear_hello(o, m->hello);
        break;
    case SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_STORED:
        hear_stored(o, m->stored);
        break;
    case SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_READY:
        o->greeting = false;
        begin_image(o);
        break;
    default: /* it has seen a later owner, or is nonsense */
        give_up(o);
        break;
    }
    sy_arena_deinit(&arena);
}

static void on_writable(void *ctx)
{
    struct cp_owner_side *o = ctx;
    if (o->rest.len > 0)
        send_rest(o);
    pump_image(o);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cp_owner_side *o = ctx;
    (void)status;
    give_up(o);
}

static void greet(struct cp_owner_side *o)
{
    OwnerMessage m = SWITCHYARD__INTERNAL__OWNER_MESSAGE__INIT;
    Switchyard__Internal__OwnerMessage__Meet meet = SWITCHYARD__INTERNAL__OWNER_MESSAGE__MEET__INIT;
    meet.epoch = o->epoch;
    meet.shard = o->copying->lane->shard->name;
    m.message_case = SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_MEET;
    m.meet = &meet;
    o->greeting = true;
    if (!send(o, &m))
        give_up(o);
}

static void dial(void *arg)
{
    static const struct sy_call_sink sink = {
        .on_message = on_message, .on_writable = on_writable, .on_closed = on_closed};
    struct cp_owner_side *o = arg;
    char number[16];
    if (is_forgotten(o))
        greet(o);
    if (!o->decides || o->channel == NULL || o->call != NULL)
        return;
    snprintf(number, sizeof(number), "%u", o->copying->lane->index);
    struct sy_metadata metadata = {"x-switchyard-partition", number};
    struct sy_call_options options = {
        .method = CP_FOLLOW, .metadata = &metadata, .metadata_count = 1};
    o->call = sy_channel_open(o->channel, o->loop, &options, &sink, o);
    greet(o);
}

/* The record says where the standby is. */
static void follow_record(struct cp_owner_side *o)
{
    const struct cp_copy_record *record = &o->copying->record;
    if (o->channel == record->channel && strcmp(o->peer, record->peer) == 0)
        return;
    hang_up(o);
    snprintf(o->peer, sizeof(o->peer), "%s", record->peer);
    o->channel = record->channel;
    o->redial_ns = REDIAL_NS;
    decide(o, &(struct cp_standby_event){.type = CP_STANDBY_GONE});
    sy_timer_start_in(o->loop, &o->redial, 0);
}

void cp_owner_look(struct cp_copying *copying)
{
    struct cp_owner_side *o = copying->owner;
    if (o->store == NULL || !o->decides)
        return;
    uint64_t before = o->released;
    follow_record(o);
    if (o->released > before)
        cp_partition_released(copying->lane->partition, o->released);
    if (o->decides)
        step(o, (struct cp_standby_event){.type = CP_STANDBY_LOOK});
}

void cp_owner_wrote(struct cp_copying *copying)
{
    struct cp_owner_side *o = copying->owner;
    cp_owner_look(copying);
    if (o->decides)
        step(o, (struct cp_standby_event){.type = CP_STANDBY_WROTE});
}

/* ---- what the partition says ---- */

/* Without the record of our claim nothing is ever shown: then we have lost it already. */
static void begin(void *ctx, struct cp_store *store, uint32_t epoch, const struct cp_log *log)
{
    struct cp_copying *copying = ctx;
    struct cp_owner_side *o = copying->owner;
    const struct cp_copy_record *record = &copying->record;
    SY_ASSERT(o->store == NULL && o->call == NULL);
    o->store = store;
    o->epoch = epoch;
    o->released = 0;
    o->in_sync = record->beside != 0;
    o->decides = record->ours && record->epoch == epoch && record->own == copying->copy;
    if (!o->decides)
        return;
    struct cp_standby_view view = view_of(o);
    struct cp_standby_options options = cp_standby_options_default();
    if (copying->lane->shard->options.standby_patience_ns > 0)
        options.patience_ns = copying->lane->shard->options.standby_patience_ns;
    cp_standby_init(&o->core, &options, &view, log);
    follow_record(o);
}

static void append(void *ctx, uint64_t upto, struct sy_span batch)
{
    struct cp_owner_side *o = ((struct cp_copying *)ctx)->owner;
    if (!o->decides)
        return;
    bool live = o->feeds && !o->sent && o->fed.position == o->core.log.end;
    decide(o, &(struct cp_standby_event){.type = CP_STANDBY_APPENDED, .upto = upto});
    if (live && o->feeds && o->call != NULL)
        send_piece(o, cp_log_end(&o->core.log), batch);
}

static uint64_t synced(void *ctx, uint64_t upto)
{
    struct cp_owner_side *o = ((struct cp_copying *)ctx)->owner;
    if (!o->decides)
        return 0;
    decide(o, &(struct cp_standby_event){.type = CP_STANDBY_SYNCED, .upto = upto});
    if (o->call != NULL)
        feed(o);
    return o->released;
}

static void end(void *ctx)
{
    struct cp_owner_side *o = ((struct cp_copying *)ctx)->owner;
    bool whole = o->decides && o->core.synced == o->core.log.end;
    o->closed = whole ? cp_log_end(&o->core.log) : (struct cp_log_mark){0};
    o->decides = false;
    hang_up(o);
    sy_timer_stop(o->loop, &o->wake);
    sy_timer_stop(o->loop, &o->redial);
    o->store = NULL;
    o->peer[0] = '\0';
    o->channel = NULL;
    sy_buf_deinit(&o->data);
}

struct cp_log_mark cp_owner_closed(const struct cp_copying *copying, uint32_t epoch)
{
    const struct cp_owner_side *o = copying->owner;
    bool known = o->store == NULL && o->closed.epoch == epoch;
    return known ? o->closed : (struct cp_log_mark){0};
}

/* ---- life ---- */

void cp_owner_init(struct cp_copying *copying)
{
    struct cp_owner_side *o = sy_new(struct cp_owner_side);
    *o = (struct cp_owner_side){
        .copying = copying, .loop = copying->lane->loop, .redial_ns = REDIAL_NS};
    sy_timer_init(&o->wake, on_wake, o);
    sy_timer_init(&o->redial, dial, o);
    copying->owner = o;
    copying->replication = (struct cp_replication){
        .begin = begin, .append = append, .synced = synced, .end = end, .ctx = copying};
}

void cp_owner_deinit(struct cp_copying *copying)
{
    SY_ASSERT(copying->owner->store == NULL); /* the partition went before */
    free(copying->owner);
}
