/* The follower's side of standby_impl.h: it appends what the owner sends, says what is stored, and
 * begins anew from an image when it is told to. Its store is open from the first stream on, until
 * the partition is to be ours. */
#include "base/mem.h"
#include "controlplane/events.h"
#include "controlplane/rows.h"
#include "controlplane/standby_impl.h"
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

#define UNPACK_BYTES_MIN ((size_t)1 << 20)
/* Of one batch; what a partition commits at once is far less. */
#define PIECE_BYTES_MAX ((uint64_t)2 << 30)

typedef Switchyard__Internal__OwnerMessage OwnerMessage;
typedef Switchyard__Internal__FollowerMessage FollowerMessage;

struct cp_follower_side {
    struct cp_copying *copying;
    struct sy_loop *loop;
    struct sy_call *call; /* of the owner; NULL: none */
    struct cp_follower core;
    struct cp_store *store, *closing; /* open; what it was, until it is closed */
    uint32_t met;                     /* the owner's epoch, on this stream */
    bool greets;                      /* say hello as soon as nothing is being synced */
    bool has_piece;
    struct cp_standby_piece piece;
    uint64_t bytes; /* of its batch */
    struct sy_buf data;
    bool committing;
    bool anew, filling; /* an image is to come; it comes */
    bool forks;         /* its copy is forked when it is closed */
    sy_fn yielded;      /* the lane wants the partition for itself */
    void *yielded_ctx;
};

/* ---- the stream ---- */

static void hang_up(struct cp_follower_side *f, enum sy_code code, const char *why)
{
    struct sy_call *call = sy_take(f->call);
    f->has_piece = f->greets = f->anew = f->filling = f->forks = false;
    f->met = 0;
    sy_buf_deinit(&f->data);
    if (call == NULL)
        return;
    sy_call_set_sink(call, NULL, NULL);
    sy_call_fail(call, code, "%s", why);
}

static void fail(struct cp_follower_side *f, const char *why)
{
    sy_log(f->copying->lane->shard->log, &cp_shard_events, CP_SHARD_EV_COPY_FAILED,
           SY_U64("partition", f->copying->lane->index), SY_STR("error", why));
    hang_up(f, SY_CODE_UNAVAILABLE, why);
}

static void send(struct cp_follower_side *f, const FollowerMessage *message)
{
    struct sy_buf bytes = {0};
    pb_pack(&message->base, &bytes);
    if (sy_call_send(f->call, &bytes) == 0)
        return;
    sy_buf_deinit(&bytes);
    hang_up(f, SY_CODE_RESOURCE_EXHAUSTED, "what was said is not taken");
}

static void say_refused(struct cp_follower_side *f)
{
    FollowerMessage m = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__INIT;
    Switchyard__Internal__FollowerMessage__Refused refused =
        SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__REFUSED__INIT;
    refused.seen = f->core.seen;
    m.message_case = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_REFUSED;
    m.refused = &refused;
    send(f, &m);
}

static void say_hello(struct cp_follower_side *f)
{
    struct cp_standby_hello hello;
    f->greets = true;
    if (f->committing)
        return;
    f->greets = false;
    if (!cp_follower_meet(&f->core, f->met, &hello)) {
        say_refused(f);
        return;
    }
    FollowerMessage m = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__INIT;
    Switchyard__Internal__FollowerMessage__Hello to =
        SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__HELLO__INIT;
    Switchyard__Internal__LogMark end = SWITCHYARD__INTERNAL__LOG_MARK__INIT;
    to.copy = hello.copy;
    end.epoch = hello.end.epoch;
    end.position = hello.end.position;
    to.end = &end;
    m.message_case = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_HELLO;
    m.hello = &to;
    send(f, &m);
}

static void say_stored(struct cp_follower_side *f)
{
    struct cp_standby_stored stored = cp_follower_stored(&f->core);
    FollowerMessage m = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__INIT;
    Switchyard__Internal__FollowerMessage__Stored to =
        SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__STORED__INIT;
    if (stored.owner_epoch == 0 || f->call == NULL)
        return;
    to.owner_epoch = stored.owner_epoch;
    to.copy = stored.copy;
    to.upto = stored.upto;
    m.message_case = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_STORED;
    m.stored = &to;
    send(f, &m);
}

/* ---- the store ---- */

/* What was split off has the first row of the whole until its own owner writes one. */
static bool is_of_this(const struct cp_copying *copying, uint32_t partition)
{
    const struct cp_copy_record *record = &copying->record;
    return partition == copying->lane->index ||
           (record->parent_epoch != 0 && partition == record->parent);
}

/* With its log: the epochs that its first row names. -EBADMSG: damaged. */
static int read_log(struct cp_follower_side *f, struct cp_log *log)
{
    struct sy_arena arena;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf scratch = {0};
    struct cp_key key = cp_key_meta();
    Switchyard__Internal__Store__Meta *meta = NULL;
    sy_arena_init(&arena, UNPACK_BYTES_MIN);
    int r = cp_row_get(f->store, CP_FAMILY_META, &key,
                       &switchyard__internal__store__meta__descriptor, &arena, &scratch,
                       (void *)&meta);
    *log = (struct cp_log){.end = cp_store_position(f->store)};
    if (r == 0 && is_of_this(f->copying, meta->partition) && meta->format == CP_FORMAT)
        cp_row_history(meta, log);
    else if (r == 0)
        r = -EBADMSG;
    sy_arena_deinit(&arena);
    return r < 0 ? r : 0;
}

static void init_core(struct cp_follower_side *f, uint64_t copy, const struct cp_log *log)
{
    uint32_t seen = f->core.seen;
    cp_follower_init(&f->core, copy, log);
    f->core.seen = seen;
}

static bool is_damaged(int error)
{
    return error == -EUCLEAN || error == -EBADMSG || error == -EPROTO;
}

static int open_store(struct cp_follower_side *f, struct sy_error_text *error)
{
    const struct cp_store_opener *opener = f->copying->opener;
    struct cp_log log = {0};
    uint32_t newer;
    int r = f->copying->copy != 0 ? opener->open(opener->ctx, &f->store, 0, f->loop, &newer, error)
                                  : 0;
    if (r == 0 && f->store != NULL)
        r = read_log(f, &log);
    if (r == 0) {
        init_core(f, f->store != NULL ? f->copying->copy : 0, &log);
        return 0;
    }
    if (error->text[0] == '\0')
        sy_error_text_set(error, "%s", f->store != NULL ? cp_store_error(f->store) : strerror(-r));
    cp_store_close(sy_take(f->store));
    if (is_damaged(r)) { /* as if there were none: then it begins anew */
        log = (struct cp_log){0};
        init_core(f, 0, &log);
        return 0;
    }
    return r;
}

static void yield_now(struct cp_follower_side *f)
{
    sy_fn yielded = sy_take(f->yielded);
    if (yielded != NULL)
        yielded(f->yielded_ctx);
}

static void fill_begin(struct cp_follower_side *f);
static void fork_now(struct cp_follower_side *f);

static void on_closed_store(void *arg)
{
    struct cp_follower_side *f = arg;
    f->closing = NULL;
    if (f->yielded != NULL)
        yield_now(f);
    else if (f->anew && f->call != NULL)
        fill_begin(f);
    else if (f->forks && f->call != NULL)
        fork_now(f);
}

/* True: it is closed. */
static bool close_store(struct cp_follower_side *f)
{
    struct cp_store *store = sy_take(f->store);
    f->committing = false;
    if (store != NULL && !cp_store_close_begin(store, on_closed_store, f))
        f->closing = store;
    return f->closing == NULL;
}

/* ---- the log ---- */

static void on_committed(void *ctx, int error)
{
    struct cp_follower_side *f = ctx;
    f->committing = false;
    if (error < 0) {
        struct sy_error_text why;
        sy_error_text_set(&why, "the copy of partition %u cannot be written: %s",
                          f->copying->lane->index, cp_store_error(f->store));
        fail(f, why.text);
        (void)close_store(f);
        return;
    }
    SY_ASSERT(cp_store_position(f->store) == f->core.log.end);
    cp_follower_synced(&f->core, f->core.log.end);
    say_stored(f);
    if (f->greets && f->call != NULL)
        say_hello(f);
}

/* NULL: the bytes are not what the piece says they are. */
static struct cp_batch *read_batch(struct cp_follower_side *f)
{
    struct cp_batch *batch = cp_batch_read(f->store, sy_buf_span(&f->data));
    bool sound = batch != NULL &&
                 f->piece.end.position - f->piece.after.position == cp_batch_count(batch);
    if (!sound)
        cp_batch_free(batch);
    return sound ? batch : NULL;
}

static void take_piece(struct cp_follower_side *f)
{
    f->has_piece = false;
    if (f->store == NULL || f->committing) {
        say_hello(f);
        return;
    }
    struct cp_batch *batch = read_batch(f);
    if (batch == NULL) {
        fail(f, "a piece of the log is damaged");
        return;
    }
    enum cp_follower_verdict verdict = cp_follower_take(&f->core, &f->piece);
    sy_buf_clear(&f->data);
    if (verdict == CP_FOLLOWER_TAKE) {
        f->committing = true;
        cp_store_commit(f->store, batch, on_committed, f);
        return;
    }
    cp_batch_free(batch);
    if (verdict == CP_FOLLOWER_HAVE)
        say_stored(f);
    else if (verdict == CP_FOLLOWER_OLD)
        say_refused(f);
    else
        say_hello(f);
}

static void hear_data(struct cp_follower_side *f, const ProtobufCBinaryData *data)
{
    if (!f->has_piece || f->data.len + data->len > f->bytes) {
        fail(f, "data of no piece of the log");
        return;
    }
    if (data->len > 0)
        sy_buf_append(&f->data, data->data, data->len);
    if (f->data.len == f->bytes)
        take_piece(f);
}

static void hear_piece(struct cp_follower_side *f, const Switchyard__Internal__LogPiece *m)
{
    if (m->after == NULL || m->end == NULL || f->has_piece || m->bytes > PIECE_BYTES_MAX ||
        m->owner_epoch != f->met) {
        fail(f, "a piece of the log that is none");
        return;
    }
    f->piece = (struct cp_standby_piece){.owner_epoch = m->owner_epoch,
                                         .copy = m->copy,
                                         .after = {m->after->epoch, m->after->position},
                                         .end = {m->end->epoch, m->end->position}};
    f->has_piece = true;
    f->bytes = m->bytes;
    sy_buf_clear(&f->data);
    hear_data(f, &m->data);
}

/* ---- anew ---- */

static void fill_begin(struct cp_follower_side *f)
{
    struct cp_copies *port = f->copying->port;
    struct sy_error_text error = {0};
    FollowerMessage m = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__INIT;
    Switchyard__Internal__FollowerMessage__Ready ready =
        SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__READY__INIT;
    f->anew = false;
    if (port->fill(port->ctx, f->copying->lane->index, NULL, (struct sy_span){0}, &error) < 0) {
        fail(f, error.text);
        return;
    }
    f->filling = true;
    m.message_case = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_READY;
    m.ready = &ready;
    send(f, &m);
}

static void hear_anew(struct cp_follower_side *f, const Switchyard__Internal__OwnerMessage__Anew *m)
{
    const struct cp_copy_record *record = &f->copying->record;
    struct cp_standby_order order = {m->epoch, m->copy};
    bool named = f->copying->copy != 0 && record->own == f->copying->copy;
    if (m->epoch != f->met || f->committing || !cp_follower_obeys(&f->core, &order, named)) {
        say_hello(f);
        return;
    }
    f->anew = true;
    if (close_store(f))
        fill_begin(f);
}

static void hear_part(struct cp_follower_side *f,
                      const Switchyard__Internal__OwnerMessage__ImagePart *m)
{
    struct cp_copies *port = f->copying->port;
    struct sy_error_text error = {0};
    if (!f->filling) {
        fail(f, "a part of an image that nobody waits for");
        return;
    }
    if (port->fill(port->ctx, f->copying->lane->index, m->name,
                   (struct sy_span){m->data.data, m->data.len}, &error) < 0)
        fail(f, error.text);
}

static void hear_end(struct cp_follower_side *f)
{
    struct cp_copying *copying = f->copying;
    struct cp_copies *port = copying->port;
    struct sy_error_text error = {0};
    uint64_t id = sy_rng_u64(&copying->lane->rng) | 1;
    SY_ASSERT(f->store == NULL && f->closing == NULL);
    if (!f->filling) {
        fail(f, "the end of an image that nobody waits for");
        return;
    }
    f->filling = false;
    if (port->filled(port->ctx, copying->lane->index, id, &error) < 0) {
        fail(f, error.text);
        return;
    }
    cp_copying_made(copying, id);
    if (open_store(f, &error) < 0) {
        fail(f, error.text);
        return;
    }
    sy_log(copying->lane->shard->log, &cp_shard_events, CP_SHARD_EV_COPY_MADE,
           SY_U64("partition", copying->lane->index), SY_U64("position", f->core.log.end));
    say_hello(f);
}

/* ---- a split ---- */

static void fork_now(struct cp_follower_side *f)
{
    struct sy_error_text error = {0};
    FollowerMessage m = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__INIT;
    Switchyard__Internal__FollowerMessage__Forked forked =
        SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__FORKED__INIT;
    f->forks = false;
    if (cp_copying_fork_own(f->copying, f->met, &forked.copy, &error) < 0) {
        fail(f, error.text);
        return;
    }
    m.message_case = SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_FORKED;
    m.forked = &forked;
    send(f, &m);
}

/* Its owner has closed the partition, and feeds it no more under that epoch. */
static void hear_fork(struct cp_follower_side *f, const Switchyard__Internal__OwnerMessage__Fork *m)
{
    struct sy_error_text error = {0};
    struct cp_log_mark end = {0};
    if (m->end != NULL)
        end = (struct cp_log_mark){m->end->epoch, m->end->position};
    if (f->closing != NULL || f->committing) {
        hang_up(f, SY_CODE_UNAVAILABLE, "the copy is being written or closed");
        return;
    }
    f->met = m->epoch;
    f->has_piece = f->anew = f->filling = false;
    if (f->store == NULL && open_store(f, &error) < 0) {
        fail(f, error.text);
    } else if (!cp_follower_forks(&f->core, m->epoch, m->copy, end)) {
        hang_up(f, SY_CODE_FAILED_PRECONDITION, "the copy does not end where the owner's does");
    } else {
        f->forks = true;
        if (close_store(f))
            fork_now(f);
    }
}

/* ---- the owner's stream ---- */

static void hear_meet(struct cp_follower_side *f, uint32_t epoch)
{
    struct sy_error_text error = {0};
    if (f->closing != NULL) {
        hang_up(f, SY_CODE_UNAVAILABLE, "the copy is being closed");
        return;
    }
    f->met = epoch;
    f->has_piece = f->anew = f->filling = f->forks = false;
    if (f->store == NULL && open_store(f, &error) < 0)
        fail(f, error.text);
    else
        say_hello(f);
}

static void hear(struct cp_follower_side *f, const OwnerMessage *m)
{
    switch (m->message_case) {
    case SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_MEET:
        hear_meet(f, m->meet->epoch);
        break;
    case SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_PIECE:
        hear_piece(f, m->piece);
        break;
    case SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_DATA:
        hear_data(f, &m->data);
        break;
    case SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_ANEW:
        hear_anew(f, m->anew);
        break;
    case SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_PART:
        hear_part(f, m->part);
        break;
    case SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_END:
        hear_end(f);
        break;
    case SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_FORK:
        hear_fork(f, m->fork);
        break;
    default:
        fail(f, "a message of an owner that is none");
        break;
    }
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct cp_follower_side *f = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, UNPACK_BYTES_MIN + 2 * bytes.len);
    const OwnerMessage *m = pb_unpack(&switchyard__internal__owner_message__descriptor, &arena,
                                      bytes);
    bool meets = m != NULL &&
                 (m->message_case == SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_MEET ||
                  m->message_case == SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_FORK);
    if (m == NULL || (!meets && f->met == 0))
        fail(f, "a message of an owner that is none, or out of turn");
    else
        hear(f, m);
    sy_arena_deinit(&arena);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cp_follower_side *f = ctx;
    (void)status;
    struct sy_call *call = sy_take(f->call);
    f->has_piece = f->greets = f->anew = f->filling = f->forks = false;
    f->met = 0;
    sy_buf_deinit(&f->data);
    sy_call_unref(call);
}

static bool is_ours(const struct cp_lane *lane)
{
    return lane->owned.held || !cp_partition_away(lane->partition);
}

/* A later one takes the place of an earlier: the epochs of what they say tell which owner is the
 * later. */
void cp_follower_side_arrived(struct cp_copying *copying, struct sy_call *call)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    struct cp_follower_side *f = copying->follower;
    if (is_ours(copying->lane) || f->yielded != NULL) {
        sy_call_fail(call, SY_CODE_UNAVAILABLE, "partition %u is not followed here: it is ours",
                     copying->lane->index);
        return;
    }
    if (copying->record.revision == 0) { /* it may name a copy that is to be taken first */
        sy_call_fail(call, SY_CODE_UNAVAILABLE, "the record of partition %u is not known here yet",
                     copying->lane->index);
        return;
    }
    hang_up(f, SY_CODE_UNAVAILABLE, "another stream came");
    f->call = call;
    sy_call_set_sink(call, &sink, f);
}

/* ---- life ---- */

bool cp_follower_side_idle(const struct cp_copying *copying)
{
    const struct cp_follower_side *f = copying->follower;
    return f->call == NULL && f->store == NULL && f->closing == NULL;
}

bool cp_copying_yield(struct cp_lane *lane, sy_fn done, void *ctx)
{
    if (lane->copying == NULL)
        return true;
    struct cp_follower_side *f = lane->copying->follower;
    hang_up(f, SY_CODE_UNAVAILABLE, "the partition is to be ours");
    if (close_store(f))
        return true;
    f->yielded = done;
    f->yielded_ctx = ctx;
    return false;
}

void cp_follower_side_init(struct cp_copying *copying)
{
    struct cp_follower_side *f = sy_new(struct cp_follower_side);
    *f = (struct cp_follower_side){.copying = copying, .loop = copying->lane->loop};
    copying->follower = f;
}

void cp_follower_side_deinit(struct cp_copying *copying)
{
    struct cp_follower_side *f = copying->follower;
    struct sy_call *call = sy_take(f->call);
    if (call != NULL) {
        sy_call_set_sink(call, NULL, NULL);
        sy_call_finish(call, NULL);
        sy_call_unref(call);
    }
    cp_store_close(f->store);
    cp_store_close(f->closing);
    sy_buf_deinit(&f->data);
    free(f);
}
