/* The worker protocol, seen from the agent: frames out, frames in. */
#include "agent/pool_impl.h"

#include "agent/events.h"
#include "base/mem.h"
#include "proto/pb.h"
#include "switchyard/internal/worker.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define READ_BYTES ((size_t)64 << 10)
#define READS_EACH_TIME 4
#define FRAME_BYTES ((size_t)4 << 20)
#define OUT_KEEP_BYTES ((size_t)1 << 20)

enum { FIELD_TASKS = 1, FIELD_REPLIES, FIELD_CANCELS, FIELD_SHUTDOWN };

typedef Switchyard__Internal__Worker__FromWorker from_worker;
typedef Switchyard__Internal__Worker__Result result_msg;

/* ---- out ---- */

static void put_varint(struct sy_buf *buf, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    sy_buf_append(buf, bytes, n);
}

static void close_frame(struct ag_pool_worker *w)
{
    if (!w->frame_open)
        return;
    size_t size = w->out.len - w->frame_start - 4;
    SY_ASSERT(size <= AG_WORKER_FRAME_BYTES_MAX);
    sy_put_le32(w->out.data + w->frame_start, (uint32_t)size);
    w->frame_open = false;
}

/* Opens a frame when none is, and notes that this worker has something to send. */
static struct sy_buf *frame(struct ag_pool_worker *w)
{
    if (w->frame_open && w->out.len - w->frame_start > FRAME_BYTES)
        close_frame(w);
    if (!w->frame_open) {
        static const uint8_t length[4];
        w->frame_start = w->out.len;
        sy_buf_append(&w->out, length, sizeof(length));
        w->frame_open = true;
    }
    if (!w->dirty) {
        w->dirty = true;
        w->dirty_next = w->pool->dirty;
        w->pool->dirty = w;
    }
    return &w->out;
}

static size_t varint_size(size_t value)
{
    size_t n = 1;
    for (; value >= 0x80; value >>= 7)
        n++;
    return n;
}

struct ag_pool_task *ag_pool_task_encode(const struct ag_pool *pool, const struct ag_work *work)
{
    char token[AG_FENCING_TOKEN_MAX], output_path[AG_OUTPUT_PATH_MAX];
    ag_fencing_token(token, work->epoch, work->number);
    ag_exec_output_path(pool->exec, work->id, output_path);
    Switchyard__Internal__Worker__Task msg = SWITCHYARD__INTERNAL__WORKER__TASK__INIT;
    msg.id = work->id;
    SY_ASSERT(work->args[0] != NULL && work->args[1] != NULL); /* checked with the spec */
    msg.library = (char *)(uintptr_t)work->args[0];
    msg.function = (char *)(uintptr_t)work->args[1];
    msg.run = (char *)(uintptr_t)work->run;
    msg.name = (char *)(uintptr_t)work->name;
    msg.attempt = work->attempt;
    msg.fencing_token = token;
    msg.input.data = (uint8_t *)(uintptr_t)work->input.data;
    msg.input.len = work->input.len;
    if (work->input_path != NULL)
        msg.input_path = (char *)(uintptr_t)work->input_path;
    msg.output_path = output_path;
    msg.inline_max = work->inline_bytes_max;
    Switchyard__Internal__Worker__Gang gang = SWITCHYARD__INTERNAL__WORKER__GANG__INIT;
    char id[17], address[AG_GANG_ADDRESS_MAX];
    if (work->gang != NULL) {
        snprintf(id, sizeof(id), "%016" PRIx64, work->gang->id);
        ag_gang_address(address, work->gang);
        gang.id = id;
        gang.rank = work->gang->rank;
        gang.size = work->gang->size;
        gang.address = address;
        gang.secret = (char *)(uintptr_t)work->gang->secret;
        msg.gang = &gang;
    }
    return ag_pool_task_pack(&msg.base);
}

struct ag_pool_task *ag_pool_task_pack(const ProtobufCMessage *msg)
{
    size_t size = protobuf_c_message_get_packed_size(msg);
    size_t head = 1 + varint_size(size);
    struct ag_pool_task *task = sy_malloc(sizeof(*task) + head + size);
    memset(task, 0, sizeof(*task));
    task->encoded_size = (uint32_t)(head + size);
    uint8_t *at = task->encoded;
    *at++ = FIELD_TASKS << 3 | 2;
    size_t rest = size;
    for (; rest >= 0x80; rest >>= 7)
        *at++ = (uint8_t)(rest | 0x80);
    *at++ = (uint8_t)rest;
    SY_ASSERT(at == task->encoded + head);
    protobuf_c_message_pack(msg, at);
    return task;
}

void ag_pool_send_task(struct ag_pool_worker *w, const struct ag_pool_task *task)
{
    sy_buf_append(frame(w), task->encoded, task->encoded_size);
}

void ag_pool_send_cancel(struct ag_pool_worker *w, uint64_t id)
{
    struct sy_buf *out = frame(w);
    put_varint(out, FIELD_CANCELS << 3);
    put_varint(out, id);
}

void ag_pool_send_reply(struct ag_pool_worker *w, uint64_t id, uint64_t call, uint32_t code,
                        const char *message, struct sy_span body)
{
    Switchyard__Internal__Worker__Reply msg = SWITCHYARD__INTERNAL__WORKER__REPLY__INIT;
    msg.id = id;
    msg.call = call;
    msg.code = code;
    msg.message = (char *)(uintptr_t)(message != NULL ? message : "");
    msg.body.data = (uint8_t *)(uintptr_t)body.data;
    msg.body.len = body.len;
    struct sy_buf *out = frame(w);
    size_t size = protobuf_c_message_get_packed_size(&msg.base);
    put_varint(out, FIELD_REPLIES << 3 | 2);
    put_varint(out, size);
    pb_pack(&msg.base, out);
}

void ag_pool_send_shutdown(struct ag_pool_worker *w)
{
    struct sy_buf *out = frame(w);
    put_varint(out, FIELD_SHUTDOWN << 3);
    put_varint(out, 1);
}

static int want_writable(struct ag_pool_worker *w, bool wanted)
{
    if (w->writable == wanted || !w->io_added)
        return 0;
    w->writable = wanted;
    return sy_io_modify(w->pool->exec->loop, &w->io, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

int ag_pool_worker_write(struct ag_pool_worker *w)
{
    close_frame(w);
    size_t done = 0;
    while (done < w->out.len && w->io.fd >= 0) {
        ssize_t n = send(w->io.fd, w->out.data + done, w->out.len - done,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    sy_buf_consume(&w->out, done);
    if (w->out.len == 0 && w->out.cap > OUT_KEEP_BYTES)
        sy_buf_deinit(&w->out);
    return want_writable(w, w->out.len > 0);
}

/* ---- in ---- */

static struct ag_pool_task *find(const struct ag_pool_worker *w, uint64_t id)
{
    struct ag_exec_task *task = ag_exec_find(w->pool->exec, id);
    if (task == NULL || !task->pooled)
        return NULL;
    struct ag_pool_task *found = (struct ag_pool_task *)task;
    return found->worker == w ? found : NULL; /* a worker speaks of its own attempts only */
}

static enum ag_result_kind map_kind(const struct ag_pool_task *task, int kind)
{
    if (kind == SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_SUCCEEDED)
        return AG_RESULT_SUCCEEDED;
    if (kind == SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_REFUSED)
        return AG_RESULT_REFUSED;
    if (task->timed_out)
        return AG_RESULT_TIMED_OUT;
    if (task->cancelled)
        return AG_RESULT_CANCELLED;
    return kind == SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_FAILED_FINAL
               ? AG_RESULT_FAILED_FINAL
               : AG_RESULT_FAILED;
}

static void handle_result(struct ag_pool_worker *w, const result_msg *msg)
{
    struct ag_pool_task *task = find(w, msg->id);
    if (task == NULL)
        return;
    if (msg->kind == SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_CANCELLED) {
        w->pool->taken_back += task->state == AG_POOL_TASK_TAKING_BACK;
        ag_pool_requeue(task); /* it never began; one that shall end does so from there */
        return;
    }
    w->slow = false;
    w->progress_ns = sy_loop_now_ns(w->pool->exec->loop);
    char output_path[AG_OUTPUT_PATH_MAX];
    struct ag_result result = {
        .kind = map_kind(task, (int)msg->kind),
        .output = {msg->output.data, msg->output.len},
        .error_code = msg->error_code,
        .error_message = msg->error_message,
        .started_ns = msg->started_ns,
        .finished_ns = msg->finished_ns,
    };
    if (msg->output_in_file) {
        ag_exec_output_path(w->pool->exec, msg->id, output_path);
        result.output_path = output_path;
    }
    char text[SY_ERROR_TEXT_MAX];
    if (task->program && result.kind != AG_RESULT_REFUSED) {
        ag_pool_program_classify(task, msg->exit_code, &result, text, sizeof(text));
    } else if (result.kind == AG_RESULT_TIMED_OUT) {
        result.error_code = "TimedOut";
        result.error_message = "it ran longer than its time limit";
    }
    ag_pool_task_end(task, &result);
}

static void handle_started(struct ag_pool_worker *w, uint64_t id)
{
    struct ag_pool_task *task = find(w, id);
    if (task == NULL || task->told_started)
        return;
    task->told_started = true;
    int64_t started_ns = 0;
    for (uint32_t i = 0; i < w->pool->concurrency; i++) {
        if (atomic_load(&w->page->slots[i].id) == id)
            started_ns = atomic_load(&w->page->slots[i].started_ns);
    }
    if (started_ns == 0)
        started_ns = sy_loop_realtime_ns(w->pool->exec->loop);
    ag_exec_started(w->pool->exec, id, started_ns);
}

static void handle_call(struct ag_pool_worker *w, const Switchyard__Internal__Worker__Call *call)
{
    struct ag_exec *exec = w->pool->exec;
    if (find(w, call->id) == NULL || exec->freeing)
        return;
    exec->events->on_call(exec->events_ctx, call->id, call->call, call->method,
                          (struct sy_span){call->body.data, call->body.len});
}

static void handle_message(struct ag_pool_worker *w, const from_worker *msg)
{
    struct ag_exec *exec = w->pool->exec;
    w->heard_ns = ag_pool_awake_ns(w->pool);
    if (msg->protocol == AG_WORKER_PROTOCOL) {
        w->said_hello = true;
        ag_pool_worker_ready(w);
    }
    for (size_t i = 0; i < msg->n_logs; i++) {
        const Switchyard__Internal__Worker__LogData *log = msg->logs[i];
        if (find(w, log->id) != NULL && log->stream >= 1 && log->stream <= 3)
            ag_exec_log(exec, log->id, log->stream,
                        (struct sy_span){log->data.data, log->data.len});
    }
    for (size_t i = 0; i < msg->n_calls; i++)
        handle_call(w, msg->calls[i]);
    for (size_t i = 0; i < msg->n_results; i++)
        handle_result(w, msg->results[i]);
    for (size_t i = 0; i < msg->n_started; i++)
        handle_started(w, msg->started[i]);
}

/* Whole frames from the front of `in`. Negative: that is no frame. */
static int handle_frames(struct ag_pool_worker *w)
{
    struct sy_arena *arena = &w->pool->exec->arena;
    size_t at = 0;
    int r = 0;
    while (r == 0 && w->in.len - at >= 4) {
        uint32_t size = sy_get_le32(w->in.data + at);
        if (size > AG_WORKER_FRAME_BYTES_MAX)
            r = -EBADMSG;
        if (r < 0 || w->in.len - at - 4 < size)
            break;
        sy_arena_reset(arena);
        const from_worker *msg = pb_unpack(&switchyard__internal__worker__from_worker__descriptor,
                                           arena, (struct sy_span){w->in.data + at + 4, size});
        if (msg == NULL)
            r = -EBADMSG;
        else
            handle_message(w, msg);
        at += 4 + (size_t)size;
    }
    sy_buf_consume(&w->in, at < w->in.len ? at : w->in.len);
    return r;
}

int ag_pool_worker_read(struct ag_pool_worker *w)
{
    for (unsigned i = 0; i < READS_EACH_TIME; i++) {
        sy_buf_reserve(&w->in, READ_BYTES);
        size_t room = w->in.cap - w->in.len;
        ssize_t n = recv(w->io.fd, w->in.data + w->in.len, room, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 1;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        w->in.len += (size_t)n;
        int r = handle_frames(w);
        if (r < 0)
            return r;
        if ((size_t)n < room)
            return 1;
    }
    return 1;
}
