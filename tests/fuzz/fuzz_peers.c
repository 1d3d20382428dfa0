/*
 * What other shards say to a shard's partitions (switchyard.internal.Partitions), any bytes: each
 * call is answered, and both partitions serve on. The first byte chooses: about limits; about
 * queues; the queues within a sound call.
 */
#include "base/mem.h"
#include "controlplane/shard.h"
#include "proto/pb.h"

#include "switchyard/internal/queues.pb-c.h"

enum { PARTITIONS = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    int64_t now_ns;
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct cp_shard *shard;
    struct sy_channel *channel;
    bool ready, ended;
};

static int64_t read_clock(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static int open_store(void *ctx, struct cp_store **ret, uint32_t epoch, struct sy_loop *loop,
                      uint32_t *ret_epoch, struct sy_error_text *error)
{
    return cp_store_mem_open(ret, ctx, epoch, loop, ret_epoch, error);
}

static bool serves(const struct world *w)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        if (!cp_partition_serving(cp_shard_partition(w->shard, i)))
            return false;
    }
    return true;
}

static void turn(struct world *w)
{
    int64_t next_ns = sy_loop_next_ns(w->loop);
    SY_ASSERT(next_ns != SY_TIME_NEVER);
    w->now_ns = next_ns > w->now_ns ? next_ns : w->now_ns;
    sy_loop_turn(w->loop);
}

static void on_ready(void *arg)
{
    ((struct world *)arg)->ready = true;
}

/* Once; it lives as long as the process. */
static struct world *the_world(void)
{
    static struct world world;
    static struct cp_store_opener openers[PARTITIONS];
    struct world *w = &world;
    if (w->shard != NULL)
        return w;
    static const struct sy_rpc_mem_plan without_faults;
    struct sy_clock clock = {read_clock, read_clock, w};
    struct sy_loop_options options = {.clock = &clock, .without_epoll = true};
    struct sy_loop *loops[PARTITIONS];
    w->now_ns = SY_NS_PER_S;
    int r = sy_loop_new(&w->loop, &options);
    SY_ASSERT(r == 0);
    r = sy_rpc_mem_new(&w->rpc, &without_faults);
    SY_ASSERT(r == 0);
    for (size_t i = 0; i < PARTITIONS; i++) {
        openers[i] = (struct cp_store_opener){open_store, cp_mem_disk_new()};
        loops[i] = w->loop;
    }
    struct cp_shard_options shard = {.name = "a",
                                     .region = "eu",
                                     .listen = "a:1",
                                     .partitions = PARTITIONS,
                                     .partition = {.inline_bytes_max = 65536}};
    struct cp_shard_ports ports = {.rpc = w->rpc, .loops = loops, .openers = openers, .seed = 1};
    struct sy_error_text error = {0};
    r = cp_shard_new(&w->shard, &shard, &ports, &error);
    SY_ASSERT(r == 0);
    w->channel = sy_channel_new(w->rpc, "a:1");
    cp_shard_on_serving(w->shard, on_ready, w);
    while (!w->ready)
        turn(w);
    return w;
}

/* UNAVAILABLE: the home itself had something to say, too. */
static void on_closed(void *ctx, const struct sy_status *status)
{
    struct world *w = ctx;
    bool expected = status->code == SY_CODE_OK || status->code == SY_CODE_INVALID_ARGUMENT ||
                    status->code == SY_CODE_ABORTED || status->code == SY_CODE_UNAVAILABLE;
    SY_ASSERT(expected);
    w->ended = true;
}

static void call(struct world *w, const char *method, struct sy_buf *request)
{
    static const struct sy_call_sink sink = {.on_closed = on_closed};
    struct sy_call_options options = {.method = method};
    w->ended = false;
    struct sy_call *call = sy_channel_open(w->channel, w->loop, &options, &sink, w);
    int r = sy_call_send(call, request);
    SY_ASSERT(r == 0);
    sy_call_half_close(call);
    while (!w->ended)
        turn(w);
    sy_call_unref(call);
}

static void wrap(struct sy_span copies, struct sy_buf *ret)
{
    Switchyard__Internal__TakeQueuesRequest m = SWITCHYARD__INTERNAL__TAKE_QUEUES_REQUEST__INIT;
    m.partition = 1;
    m.copies = (ProtobufCBinaryData){copies.len, (uint8_t *)(uintptr_t)copies.data};
    pb_pack(&m.base, ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"/switchyard.internal.Partitions/TakeTokens",
                                          "/switchyard.internal.Partitions/TakeQueues"};
    struct world *w = the_world();
    struct sy_buf request = {0};
    if (size == 0)
        return 0;
    struct sy_span bytes = {data + 1, size - 1};
    if (data[0] % 3 == 2)
        wrap(bytes, &request);
    else
        request = sy_buf_copy(bytes.data, bytes.len);
    call(w, methods[data[0] % 3 != 0], &request);
    SY_ASSERT(serves(w));
    return 0;
}
