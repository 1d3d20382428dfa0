/* The transport, its poller, and what client and server calls have in common. */
#include "base/rpc_grpc.h"

#include "base/mem.h"
#include "base/rpc_http.h"

#include <grpc/support/log.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Completions that are collected before the loops are woken. */
#define POLL_BATCH_MAX 256
#define DRAIN_ROUNDS_MAX 16
#define KEEPALIVE_TIME_MS 5000
#define KEEPALIVE_TIMEOUT_MS 3000

#define WINDOW_ONE ((uint64_t)1 << 40)

/* ---- tags and mailboxes ---- */

void *rpc_tag_arm(struct rpc_tag *tag)
{
    SY_ASSERT(tag->mailbox != NULL || tag->ops->loop == NULL);
    SY_ASSERT(atomic_load_explicit(&tag->magic, memory_order_relaxed) != RPC_TAG_MAGIC);
    atomic_store_explicit(&tag->magic, RPC_TAG_MAGIC, memory_order_release);
    return tag;
}

void rpc_tag_start(struct rpc_tag *tag, grpc_call *call, const grpc_op *ops, size_t count)
{
    grpc_call_error error = grpc_call_start_batch(call, ops, count, rpc_tag_arm(tag), NULL);
    SY_ASSERT(error == GRPC_CALL_OK);
}

struct rpc_mailbox *rpc_mailbox_get(struct grpc_rpc *rpc, struct sy_loop *loop)
{
    pthread_mutex_lock(&rpc->mutex);
    struct rpc_mailbox *mailbox = rpc->mailboxes;
    while (mailbox != NULL && mailbox->loop != loop)
        mailbox = mailbox->next;
    if (mailbox == NULL) {
        mailbox = sy_new(struct rpc_mailbox);
        mailbox->rpc = rpc;
        mailbox->loop = loop;
        mailbox->next = rpc->mailboxes;
        rpc->mailboxes = mailbox;
    }
    pthread_mutex_unlock(&rpc->mutex);
    return mailbox;
}

static bool mailbox_is_empty(struct rpc_mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->head, memory_order_relaxed) == NULL;
}

/* Hands over the tags newest..oldest. True when the loop must be told. */
static bool mailbox_push(struct rpc_mailbox *mailbox, struct rpc_tag *newest,
                         struct rpc_tag *oldest)
{
    struct rpc_tag *head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    do {
        oldest->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->head, &head, newest,
                                                    memory_order_release, memory_order_relaxed));
    return head == NULL;
}

static void mailbox_drain(void *arg);

/* Runs all tags there are, oldest first. A tag may be gone after its turn. */
static void mailbox_run(struct rpc_mailbox *mailbox)
{
    struct rpc_tag *tag = atomic_exchange_explicit(&mailbox->head, NULL, memory_order_acquire);
    struct rpc_tag *oldest = NULL;
    while (tag != NULL) {
        struct rpc_tag *next = tag->next;
        tag->next = oldest;
        oldest = tag;
        tag = next;
    }
    while (oldest != NULL) {
        struct rpc_tag *next = oldest->next;
        struct rpc_mailbox *home = atomic_load_explicit(&oldest->mailbox, memory_order_acquire);
        if (home == mailbox)
            oldest->ops->loop(oldest);
        else if (mailbox_push(home, oldest, oldest)) /* its call has moved meanwhile */
            sy_loop_post_always(home->loop, mailbox_drain, home);
        oldest = next;
    }
}

/* On the loop. What the tags set off often completes at once, so there are several rounds; not
 * more, since the loop has other work too. */
static void mailbox_drain(void *arg)
{
    struct rpc_mailbox *mailbox = arg;
    SY_ASSERT(!mailbox->draining);
    mailbox->draining = true;
    for (int i = 0; i < DRAIN_ROUNDS_MAX && !mailbox_is_empty(mailbox); i++)
        mailbox_run(mailbox);
    mailbox->draining = false;
    if (!mailbox_is_empty(mailbox))
        sy_loop_post_always(mailbox->loop, mailbox_drain, mailbox);
}

static struct rpc_tag *land(void *event_tag, bool success)
{
    struct rpc_tag *tag = event_tag;
    uint64_t magic = atomic_load_explicit(&tag->magic, memory_order_acquire);
    SY_ASSERT(magic == RPC_TAG_MAGIC);
    atomic_store_explicit(&tag->magic, RPC_TAG_LANDED, memory_order_relaxed);
    tag->success = success;
    return tag->ops->poller != NULL ? tag->ops->poller(tag) : tag;
}

void rpc_tag_start_on_loop(struct rpc_mailbox *mailbox, struct rpc_tag *tag, grpc_call *call,
                           const grpc_op *ops, size_t count)
{
    grpc_completion_queue *cq = mailbox->rpc->cq;
    void *landed = NULL;
    int success = 0;
    grpc_completion_queue_thread_local_cache_init(cq);
    rpc_tag_start(tag, call, ops, count);
    if (!grpc_completion_queue_thread_local_cache_flush(cq, &landed, &success))
        return;
    /* It may be any tag: this thread may have done another one's work on the connection. */
    tag = land(landed, success != 0);
    if (tag == NULL)
        return;
    struct rpc_mailbox *home = atomic_load_explicit(&tag->mailbox, memory_order_acquire);
    bool must_tell = mailbox_push(home, tag, tag);
    if (must_tell && !(home == mailbox && mailbox->draining))
        sy_loop_post_always(home->loop, mailbox_drain, home);
}

/* ---- the poller ---- */

/* Wakes each loop once a round. */
static void poller_collect(struct rpc_tag *tag, struct rpc_mailbox **touched)
{
    if (tag == NULL)
        return;
    struct rpc_mailbox *mailbox = atomic_load_explicit(&tag->mailbox, memory_order_acquire);
    if (mailbox->newest == NULL) {
        mailbox->oldest = tag;
        mailbox->next_touched = *touched;
        *touched = mailbox;
    }
    tag->next = mailbox->newest;
    mailbox->newest = tag;
}

static void poller_flush(struct rpc_mailbox *mailbox)
{
    struct rpc_tag *newest = mailbox->newest, *oldest = mailbox->oldest;
    mailbox->newest = mailbox->oldest = NULL;
    if (mailbox_push(mailbox, newest, oldest))
        sy_loop_post_always(mailbox->loop, mailbox_drain, mailbox);
}

static void *poller_run(void *arg)
{
    struct grpc_rpc *rpc = arg;
    gpr_timespec forever = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    gpr_timespec at_once = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    grpc_event event = {.type = GRPC_QUEUE_TIMEOUT};
    while (event.type != GRPC_QUEUE_SHUTDOWN) {
        struct rpc_mailbox *touched = NULL;
        event = grpc_completion_queue_next(rpc->cq, forever, NULL);
        for (int i = 0; event.type == GRPC_OP_COMPLETE; i++) {
            poller_collect(land(event.tag, event.success != 0), &touched);
            if (i == POLL_BATCH_MAX)
                break;
            event = grpc_completion_queue_next(rpc->cq, at_once, NULL);
        }
        while (touched != NULL) {
            struct rpc_mailbox *mailbox = touched;
            touched = mailbox->next_touched;
            poller_flush(mailbox);
        }
    }
    return NULL;
}

/* Signals belong to the loops' threads: neither the poller nor gRPC's own threads take any. */
static int start_poller(struct grpc_rpc *rpc)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    grpc_init();
    rpc->cq = grpc_completion_queue_create_for_next(NULL);
    int r = pthread_create(&rpc->poller, NULL, poller_run, rpc);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        grpc_completion_queue_shutdown(rpc->cq);
        grpc_completion_queue_destroy(rpc->cq);
        grpc_shutdown();
    }
    return -r;
}

/* ---- the transport ---- */

struct grpc_rpc *grpc_rpc_of(struct sy_rpc *rpc)
{
    return sy_container_of(rpc, struct grpc_rpc, base);
}

static bool grpc_rpc_busy(struct sy_rpc *base)
{
    return atomic_load(&grpc_rpc_of(base)->users) > 0;
}

static void grpc_rpc_free(struct sy_rpc *base)
{
    struct grpc_rpc *rpc = grpc_rpc_of(base);
    SY_ASSERT(atomic_load(&rpc->users) == 0); /* else the poller would never see the end */
    grpc_completion_queue_shutdown(rpc->cq);
    pthread_join(rpc->poller, NULL); /* it returns once the queue is drained */
    grpc_completion_queue_destroy(rpc->cq);
    grpc_channel_credentials_release(rpc->client_credentials);
    grpc_server_credentials_release(rpc->server_credentials);
    grpc_shutdown();
    while (rpc->mailboxes != NULL) {
        struct rpc_mailbox *mailbox = rpc->mailboxes;
        rpc->mailboxes = mailbox->next;
        SY_ASSERT(atomic_load(&mailbox->head) == NULL);
        free(mailbox);
    }
    pthread_mutex_destroy(&rpc->mutex);
    free(rpc);
}

static void log_nothing(gpr_log_func_args *args)
{
    (void)args;
}

int sy_rpc_grpc_new_keepalive(struct sy_rpc **ret_rpc, int time_ms, int timeout_ms,
                              struct sy_error_text *error)
{
    static const struct sy_rpc_ops ops = {
        .server_new = grpc_rpc_server_new,
        .channel_new = grpc_rpc_channel_new,
        .busy = grpc_rpc_busy,
        .free = grpc_rpc_free,
    };
    /* gRPC prints to stderr by itself; its errors reach us as statuses. */
    if (getenv("GRPC_VERBOSITY") == NULL && getenv("GRPC_TRACE") == NULL)
        gpr_set_log_function(log_nothing);
    struct grpc_rpc *rpc = sy_new(struct grpc_rpc);
    rpc->base.ops = &ops;
    rpc->keepalive_time_ms = time_ms;
    rpc->keepalive_timeout_ms = timeout_ms;
    int r = start_poller(rpc);
    if (r < 0) {
        sy_error_text_set(error, "cannot start the gRPC poller thread: %s", strerror(-r));
        free(rpc);
        return sy_trace(r);
    }
    pthread_mutex_init(&rpc->mutex, NULL);
    rpc->client_credentials = grpc_insecure_credentials_create();
    rpc->server_credentials = grpc_insecure_server_credentials_create();
    *ret_rpc = &rpc->base;
    return 0;
}

int sy_rpc_grpc_new(struct sy_rpc **ret_rpc, struct sy_error_text *error)
{
    return sy_rpc_grpc_new_keepalive(ret_rpc, KEEPALIVE_TIME_MS, KEEPALIVE_TIMEOUT_MS, error);
}

/* ---- bytes ---- */

static void free_bytes(void *data)
{
    struct sy_buf buf = {.data = data};
    sy_buf_deinit(&buf);
}

grpc_byte_buffer *rpc_bytes_from(struct sy_buf *message)
{
    grpc_slice slice;
    struct sy_buf taken = sy_buf_take(message);
    if (taken.len <= GRPC_SLICE_INLINED_SIZE) {
        slice = grpc_slice_from_copied_buffer((const char *)taken.data, taken.len);
        sy_buf_deinit(&taken);
    } else {
        slice = grpc_slice_new(taken.data, taken.len, free_bytes);
    }
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return bytes;
}

static void make_contiguous(grpc_byte_buffer **bytes)
{
    grpc_byte_buffer_reader reader;
    int ok = grpc_byte_buffer_reader_init(&reader, *bytes);
    SY_ASSERT(ok);
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(*bytes);
    *bytes = grpc_raw_byte_buffer_create(&all, 1);
    grpc_slice_unref(all);
}

struct sy_span rpc_bytes_span(grpc_byte_buffer **bytes)
{
    if (grpc_byte_buffer_length(*bytes) == 0)
        return (struct sy_span){0};
    if ((*bytes)->data.raw.slice_buffer.count != 1)
        make_contiguous(bytes);
    SY_ASSERT((*bytes)->data.raw.compression == GRPC_COMPRESS_NONE);
    const grpc_slice *slice = &(*bytes)->data.raw.slice_buffer.slices[0];
    return (struct sy_span){GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

/* ---- sending ---- */

static void send_on_loop(struct rpc_tag *tag)
{
    struct grpc_rpc_call *call = sy_container_of(tag, struct grpc_rpc_call, send_tag);
    if (call->sending != NULL)
        grpc_byte_buffer_destroy(sy_take(call->sending));
    sy_rpc_sent(&call->base);
}

const struct rpc_tag_ops rpc_send_tag_ops = {.loop = send_on_loop};

/* ---- receiving ---- */

static bool window_is_full(uint64_t window)
{
    return window / WINDOW_ONE >= SY_RPC_WINDOW_MESSAGES ||
           window % WINDOW_ONE >= SY_RPC_WINDOW_BYTES;
}

void grpc_rpc_call_receive(struct grpc_rpc_call *call, bool on_loop)
{
    struct rpc_slot *slot = &call->slots[call->slot_next];
    call->slot_next = (call->slot_next + 1) % call->slot_count;
    SY_ASSERT(slot->bytes == NULL);
    grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE};
    receive.data.recv_message.recv_message = &slot->bytes;
    if (on_loop)
        rpc_tag_start_on_loop(call->mailbox, &slot->tag, call->call, &receive, 1);
    else
        rpc_tag_start(&slot->tag, call->call, &receive, 1);
}

static struct rpc_tag *slot_on_poller(struct rpc_tag *tag)
{
    struct rpc_slot *slot = sy_container_of(tag, struct rpc_slot, tag);
    struct grpc_rpc_call *call = slot->call;
    if (!tag->success || slot->bytes == NULL || call->slot_count == 1)
        return tag;
    slot->charged = WINDOW_ONE + grpc_byte_buffer_length(slot->bytes);
    uint64_t before = atomic_fetch_add_explicit(&call->window, slot->charged, memory_order_acq_rel);
    SY_ASSERT(!window_is_full(before));
    if (!window_is_full(before + slot->charged))
        grpc_rpc_call_receive(call, false);
    return tag;
}

/* Handles one slot; false when the call is no longer receiving (and may be gone). */
static bool handle_slot(struct grpc_rpc_call *call, struct rpc_slot *slot)
{
    SY_ASSERT(call->receiving);
    if (!slot->tag.success || slot->bytes == NULL) {
        if (slot->bytes != NULL)
            grpc_byte_buffer_destroy(sy_take(slot->bytes));
        /* A cancelled call ends like a half-closed one, but for this. */
        bool half_closed = slot->tag.success && !grpc_call_failed_before_recv_message(call->call);
        call->receiving = false;
        sy_rpc_receive_ended(&call->base, half_closed);
        return false;
    }
    slot->message.span = rpc_bytes_span(&slot->bytes);
    call->received++;
    sy_rpc_message_received(&call->base, &slot->message);
    if (call->slot_count > 1)
        return true;
    bool moves = call->move.to != NULL; /* then somebody holds a reference to the call */
    call->receiving = false;
    sy_rpc_receive_ended(&call->base, true);
    if (moves)
        grpc_rpc_call_move(call);
    return false;
}

static void slot_on_loop(struct rpc_tag *tag)
{
    struct rpc_slot *slot = sy_container_of(tag, struct rpc_slot, tag);
    struct grpc_rpc_call *call = slot->call;
    slot->landed = true;
    while (call->slots[call->slot_due].landed) {
        slot = &call->slots[call->slot_due];
        slot->landed = false;
        call->slot_due = (call->slot_due + 1) % call->slot_count;
        if (!handle_slot(call, slot))
            return;
    }
    if (call->end_seen)
        grpc_rpc_call_receive_settle(call);
}

const struct rpc_tag_ops rpc_slot_tag_ops = {.poller = slot_on_poller, .loop = slot_on_loop};

void grpc_rpc_call_release(struct sy_call *base, struct sy_rpc_message *message)
{
    struct grpc_rpc_call *call = sy_container_of(base, struct grpc_rpc_call, base);
    struct rpc_slot *slot = sy_container_of(message, struct rpc_slot, message);
    SY_ASSERT(call->received > 0);
    call->received--;
    grpc_byte_buffer_destroy(sy_take(slot->bytes));
    if (call->slot_count == 1)
        return;
    uint64_t charged = slot->charged; /* the slot is the poller's again after this */
    uint64_t before = atomic_fetch_sub_explicit(&call->window, charged, memory_order_acq_rel);
    if (window_is_full(before) && !window_is_full(before - charged) && call->receiving)
        grpc_rpc_call_receive(call, true);
}

void grpc_rpc_call_receive_settle(struct grpc_rpc_call *call)
{
    SY_ASSERT(call->end_seen);
    uint64_t window = atomic_load_explicit(&call->window, memory_order_acquire);
    /* Full: no receive is under way. Messages that the loop has not seen yet come here again. */
    if (!call->receiving || !window_is_full(window) || window / WINDOW_ONE != call->received)
        return;
    call->receiving = false;
    sy_rpc_receive_ended(&call->base, false);
}

/* ---- calls ---- */

void grpc_rpc_call_move(struct grpc_rpc_call *call)
{
    struct rpc_move move = call->move;
    struct sy_loop *from = call->base.loop;
    call->move.to = NULL;
    call->mailbox = move.to;
    call->base.loop = move.to->loop;
    struct rpc_tag *tags[] = {&call->send_tag, &call->end_tag, &call->accept_tag};
    for (size_t i = 0; i < SY_COUNT_OF(tags); i++)
        atomic_store_explicit(&tags[i]->mailbox, move.to, memory_order_release);
    for (uint32_t i = 0; i < call->slot_count; i++)
        atomic_store_explicit(&call->slots[i].tag.mailbox, move.to, memory_order_release);
    /* From here on the other loop may handle the call. */
    sy_loop_hand_over(from, move.to->loop, move.fn, move.arg);
}

struct grpc_rpc_call *grpc_rpc_call_new(struct rpc_mailbox *mailbox, uint32_t slot_count)
{
    struct grpc_rpc_call *call = sy_calloc(1, sizeof(*call) + slot_count * sizeof(struct rpc_slot));
    call->mailbox = mailbox;
    call->slot_count = slot_count;
    call->receiving = true;
    call->send_tag.ops = &rpc_send_tag_ops;
    call->send_tag.mailbox = mailbox;
    call->end_tag.mailbox = mailbox;
    for (uint32_t i = 0; i < slot_count; i++) {
        call->slots[i].call = call;
        call->slots[i].tag.ops = &rpc_slot_tag_ops;
        call->slots[i].tag.mailbox = mailbox;
    }
    return call;
}

void grpc_rpc_call_free(struct grpc_rpc_call *call)
{
    SY_ASSERT(!call->receiving && call->received == 0 && call->sending == NULL);
    sy_rpc_call_deinit(&call->base);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_call_unref(call->call);
    while (call->texts != NULL) {
        struct rpc_text *text = call->texts;
        call->texts = text->next;
        free(text);
    }
    free(call);
}

const char *rpc_text_find(const struct grpc_rpc_call *call, const char *key)
{
    for (const struct rpc_text *text = call->texts; text != NULL; text = text->next)
        if (strcmp(text->key, key) == 0)
            return text->text;
    return NULL;
}

const char *rpc_text_add(struct grpc_rpc_call *call, const char *key, const void *value, size_t len)
{
    size_t key_size = strlen(key) + 1;
    struct rpc_text *text = sy_malloc(sizeof(*text) + len + 1 + key_size);
    memcpy(text->text, value, len);
    text->text[len] = '\0';
    char *key_copy = text->text + len + 1;
    memcpy(key_copy, key, key_size);
    text->key = key_copy;
    text->next = call->texts;
    call->texts = text;
    return text->text;
}

const char *grpc_rpc_call_peer(struct sy_call *base)
{
    struct grpc_rpc_call *call = sy_container_of(base, struct grpc_rpc_call, base);
    const char *known = rpc_text_find(call, ":peer");
    if (known != NULL)
        return known;
    char *peer = grpc_call_get_peer(call->call);
    char text[HTTP_PEER_MAX];
    int fd;
    bool given = sscanf(peer, "fd:%d", &fd) == 1; /* gRPC got the connection from rpc_http.c */
    if (given)
        http_format_peer(fd, text);
    const char *shown = given ? text : peer;
    const char *copy = rpc_text_add(call, ":peer", shown, strlen(shown));
    gpr_free(peer);
    return copy;
}
