/* Frames: what leaves is gathered by kind and sent as one FromWorker; what comes is unpacked into
 * one arena for each frame. */
#include "agent/worker.h"
#include "base/mem.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define OUT_AGE_NS 1000000LL
#define OUT_BYTES ((size_t)128 << 10)
#define READ_BYTES ((size_t)128 << 10)
/* Unpacked structs against wire bytes: an empty Task costs two bytes and becomes about 200. */
#define ARENA_FACTOR 256

enum { FIELD_PROTOCOL = 1, FIELD_LOGS, FIELD_CALLS, FIELD_RESULTS, FIELD_STARTED };

int64_t ag_worker_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t ag_worker_realtime_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void ag_worker_put_varint(struct sy_buf *buf, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    sy_buf_append(buf, bytes, n);
}

void ag_worker_put_uint(struct sy_buf *buf, unsigned field, uint64_t value)
{
    ag_worker_put_varint(buf, (uint64_t)field << 3);
    ag_worker_put_varint(buf, value);
}

void ag_worker_put_bytes(struct sy_buf *buf, unsigned field, const void *data, size_t size)
{
    ag_worker_put_varint(buf, (uint64_t)field << 3 | 2);
    ag_worker_put_varint(buf, size);
    sy_buf_append(buf, data, size);
}

static void put_message(struct sy_buf *buf, unsigned field, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    sy_buf_reserve(buf, size + 16);
    ag_worker_put_varint(buf, (uint64_t)field << 3 | 2);
    ag_worker_put_varint(buf, size);
    sy_buf_reserve(buf, size);
    buf->len += protobuf_c_message_pack(message, buf->data + buf->len);
}

static size_t out_size(const struct ag_worker_out *out)
{
    return out->logs.len + out->calls.len + out->results.len + out->started.len;
}

/* With out.mutex held: something was added. */
static void added(struct ag_worker_out *out)
{
    if (out->first_ns == 0)
        out->first_ns = ag_worker_monotonic_ns();
}

static void send_all(struct ag_worker *worker, struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    while (message.msg_iovlen > 0) {
        ssize_t n = sendmsg(worker->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            _exit(0); /* the agent is gone, and with it the reason to run */
        while (message.msg_iovlen > 0 && (size_t)n >= message.msg_iov->iov_len) {
            n -= (ssize_t)message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen > 0) {
            message.msg_iov->iov_base = (uint8_t *)message.msg_iov->iov_base + n;
            message.msg_iov->iov_len -= (size_t)n;
        }
    }
}

/* With out.mutex held. */
static void flush_locked(struct ag_worker *worker)
{
    struct ag_worker_out *out = &worker->out;
    size_t size = out_size(out);
    if (size == 0)
        return;
    SY_ASSERT(size <= AG_WORKER_FRAME_BYTES_MAX);
    uint8_t head[4];
    sy_put_le32(head, (uint32_t)size);
    struct iovec parts[] = {
        {head, sizeof(head)},
        {out->logs.data, out->logs.len},
        {out->calls.data, out->calls.len},
        {out->results.data, out->results.len},
        {out->started.data, out->started.len},
    };
    send_all(worker, parts, SY_COUNT_OF(parts));
    sy_buf_clear(&out->logs);
    sy_buf_clear(&out->calls);
    sy_buf_clear(&out->results);
    sy_buf_clear(&out->started);
    out->first_ns = 0;
}

/* Keeps a frame below its limit: the largest single field is an output of at most inline_max. */
static void flush_if_large(struct ag_worker *worker)
{
    if (out_size(&worker->out) > OUT_BYTES)
        flush_locked(worker);
}

void ag_worker_out_log(struct ag_worker *worker, uint64_t id, uint32_t stream, const void *data,
                       size_t size)
{
    Switchyard__Internal__Worker__LogData log = SWITCHYARD__INTERNAL__WORKER__LOG_DATA__INIT;
    log.id = id;
    log.stream = stream;
    log.data.len = size;
    log.data.data = (uint8_t *)(uintptr_t)data;
    pthread_mutex_lock(&worker->out.mutex);
    put_message(&worker->out.logs, FIELD_LOGS, &log.base);
    added(&worker->out);
    flush_if_large(worker);
    pthread_mutex_unlock(&worker->out.mutex);
}

void ag_worker_out_call(struct ag_worker *worker, uint64_t id, uint64_t call, const char *method,
                        struct sy_span body)
{
    Switchyard__Internal__Worker__Call message = SWITCHYARD__INTERNAL__WORKER__CALL__INIT;
    message.id = id;
    message.call = call;
    message.method = (char *)(uintptr_t)method;
    message.body.len = body.len;
    message.body.data = (uint8_t *)(uintptr_t)body.data;
    pthread_mutex_lock(&worker->out.mutex);
    put_message(&worker->out.calls, FIELD_CALLS, &message.base);
    flush_locked(worker); /* somebody waits for the answer */
    pthread_mutex_unlock(&worker->out.mutex);
}

void ag_worker_out_result(struct ag_worker *worker, const ag_worker_result_msg *result)
{
    pthread_mutex_lock(&worker->out.mutex);
    put_message(&worker->out.results, FIELD_RESULTS, &result->base);
    added(&worker->out);
    flush_if_large(worker);
    pthread_mutex_unlock(&worker->out.mutex);
}

void ag_worker_out_cancelled(struct ag_worker *worker, uint64_t id)
{
    ag_worker_result_msg result = SWITCHYARD__INTERNAL__WORKER__RESULT__INIT;
    result.id = id;
    result.kind = SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_CANCELLED;
    ag_worker_out_result(worker, &result);
}

void ag_worker_out_started(struct ag_worker *worker, uint64_t id)
{
    pthread_mutex_lock(&worker->out.mutex);
    ag_worker_put_uint(&worker->out.started, FIELD_STARTED, id);
    added(&worker->out);
    pthread_mutex_unlock(&worker->out.mutex);
}

bool ag_worker_out_due(struct ag_worker *worker, int64_t now_ns)
{
    pthread_mutex_lock(&worker->out.mutex);
    int64_t first_ns = worker->out.first_ns;
    pthread_mutex_unlock(&worker->out.mutex);
    return first_ns != 0 && now_ns - first_ns >= OUT_AGE_NS;
}

void ag_worker_out_hello(struct ag_worker *worker)
{
    pthread_mutex_lock(&worker->out.mutex);
    ag_worker_put_uint(&worker->out.started, FIELD_PROTOCOL, AG_WORKER_PROTOCOL);
    flush_locked(worker);
    pthread_mutex_unlock(&worker->out.mutex);
}

void ag_worker_flush(struct ag_worker *worker)
{
    pthread_mutex_lock(&worker->out.mutex);
    flush_locked(worker);
    pthread_mutex_unlock(&worker->out.mutex);
}

/* Only if nobody is at it: what a half-written buffer holds would be garbage. */
void ag_worker_flush_dying(struct ag_worker *worker)
{
    if (getpid() != worker->pid || pthread_mutex_trylock(&worker->out.mutex) != 0)
        return;
    flush_locked(worker);
    pthread_mutex_unlock(&worker->out.mutex);
}

/* ---- receiving ---- */

static void *arena_alloc(void *arena, size_t size)
{
    return sy_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *ptr)
{
    (void)arena;
    (void)ptr;
}

void ag_worker_frame_unref(struct ag_worker_frame *frame)
{
    if (atomic_fetch_sub_explicit(&frame->refs, 1, memory_order_acq_rel) != 1)
        return;
    sy_arena_deinit(&frame->arena);
    free(frame);
}

static struct ag_worker_frame *frame_new(struct ag_worker *worker, const uint8_t *data, size_t size)
{
    struct ag_worker_frame *frame = sy_new(struct ag_worker_frame);
    atomic_init(&frame->refs, 1);
    sy_arena_init(&frame->arena, size * ARENA_FACTOR + 65536);
    ProtobufCAllocator allocator = {arena_alloc, arena_free, &frame->arena};
    frame->msg = switchyard__internal__worker__to_worker__unpack(&allocator, size, data);
    if (frame->msg == NULL)
        ag_worker_die(worker, "a frame of %zu bytes from the agent is not a ToWorker message",
                      size);
    return frame;
}

/* Takes whole frames from the front of `in`. */
static void parse(struct ag_worker *worker,
                  void (*dispatch)(struct ag_worker *worker, struct ag_worker_frame *frame))
{
    struct sy_buf *in = &worker->in;
    size_t at = 0;
    while (in->len - at >= 4) {
        uint32_t size = sy_get_le32(in->data + at);
        if (size > AG_WORKER_FRAME_BYTES_MAX)
            ag_worker_die(worker, "a frame of %u bytes from the agent, at most %u", size,
                          AG_WORKER_FRAME_BYTES_MAX);
        if (in->len - at - 4 < size)
            break;
        struct ag_worker_frame *frame = frame_new(worker, in->data + at + 4, size);
        at += 4 + (size_t)size;
        dispatch(worker, frame);
        ag_worker_frame_unref(frame);
    }
    sy_buf_consume(in, at);
}

int ag_worker_read(struct ag_worker *worker, bool wait,
                   void (*dispatch)(struct ag_worker *worker, struct ag_worker_frame *frame))
{
    struct sy_buf *in = &worker->in;
    sy_buf_reserve(in, READ_BYTES);
    ssize_t n;
    do
        n = recv(worker->fd, in->data + in->len, in->cap - in->len, wait ? 0 : MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n <= 0) { /* the agent has closed, or died */
        if (in->len > 0)
            ag_worker_die(worker, "the agent's last frame was cut after %zu bytes", in->len);
        _exit(0);
    }
    in->len += (size_t)n;
    parse(worker, dispatch);
    return 1;
}
