/* What streams of watches and of renewals have in common: their answers, in order, in time. */
#include "base/mem.h"
#include "tests/etcd/etcd_impl.h"

#include <stdlib.h>
#include <string.h>

const struct etcd_refusal etcd_no_leader = {SY_CODE_UNAVAILABLE, "etcdserver: no leader"};

struct etcd_out {
    struct etcd_out *next;
    int64_t due_ns;
    struct sy_buf bytes;
};

static void out_pop(struct etcd_stream *stream)
{
    struct etcd_out *out = stream->out;
    stream->out = out->next;
    if (stream->out == NULL)
        stream->out_tail = &stream->out;
    sy_buf_deinit(&out->bytes);
    free(out);
}

/* Who is not due yet holds up those behind him. */
static void flush(void *arg)
{
    struct etcd_stream *stream = arg;
    struct sy_loop *loop = stream->member->etcd->loop;
    while (stream->out != NULL && !stream->full && stream->out->due_ns <= sy_loop_now_ns(loop)) {
        if (sy_call_send(stream->call, &stream->out->bytes) == SY_RPC_E_FULL)
            stream->full = true;
        else
            out_pop(stream);
    }
    if (stream->out != NULL && !stream->full)
        sy_timer_start(loop, &stream->out_timer, stream->out->due_ns);
}

struct etcd_stream *etcd_stream_new(struct etcd_member *member, struct sy_call *call,
                                    const struct sy_call_sink *sink)
{
    const char *has_leader = sy_call_metadata(call, "hasleader");
    bool needs_leader = has_leader != NULL && strcmp(has_leader, "true") == 0;
    if (needs_leader && !etcd_member_has_leader(member)) {
        sy_call_fail(call, etcd_no_leader.code, "%s", etcd_no_leader.text);
        return NULL;
    }
    struct etcd_stream *stream = sy_new(struct etcd_stream);
    stream->number = member->etcd->next_number++;
    stream->member = member;
    stream->call = call;
    stream->needs_leader = needs_leader;
    stream->out_tail = &stream->out;
    sy_map_add(&member->streams, &stream->link, &stream->number, sizeof(stream->number));
    sy_timer_init(&stream->out_timer, flush, stream);
    sy_call_set_sink(call, sink, stream);
    return stream;
}

void etcd_stream_send(struct etcd_stream *stream, const ProtobufCMessage *message)
{
    struct etcd_out *out = sy_new(struct etcd_out);
    out->due_ns = sy_loop_now_ns(stream->member->etcd->loop) + etcd_member_delay(stream->member);
    pb_pack(message, &out->bytes);
    *stream->out_tail = out;
    stream->out_tail = &out->next;
    flush(stream);
}

void etcd_stream_free(struct etcd_stream *stream)
{
    struct sy_loop *loop = stream->member->etcd->loop;
    sy_map_remove(&stream->member->streams, &stream->link);
    sy_timer_stop(loop, &stream->out_timer);
    sy_timer_stop(loop, &stream->sync);
    sy_timer_stop(loop, &stream->progress);
    sy_timer_stop(loop, &stream->patience);
    while (stream->out != NULL)
        out_pop(stream);
    etcd_watches_free(stream);
    sy_buf_deinit(&stream->asked);
    sy_call_unref(stream->call);
    free(stream);
}

void etcd_stream_end(struct etcd_stream *stream, const struct etcd_refusal *refusal)
{
    struct sy_status status = {0};
    if (refusal != NULL)
        sy_status_set(&status, refusal->code, "%s", refusal->text);
    sy_call_set_sink(stream->call, NULL, NULL);
    sy_call_finish(stream->call, &status);
    sy_status_deinit(&status);
    etcd_stream_free(stream);
}

void etcd_stream_writable(void *ctx)
{
    struct etcd_stream *stream = ctx;
    stream->full = false;
    flush(stream);
}

void etcd_stream_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    etcd_stream_free(ctx);
}
