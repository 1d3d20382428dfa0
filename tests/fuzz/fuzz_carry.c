/*
 * What a client says on the stream of carried calls (base/rpc_carry.h), any bytes; and, when the
 * first byte is odd, what a server says. Cut into messages by the second byte. Whatever it is, the
 * other side goes on or ends the stream, and a sound call is answered afterwards.
 */
#include "base/mem.h"
#include "base/rpc_carry.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    int64_t now_ns;
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server, *hand;
    struct sy_channel *channel, *to_hand;
    struct sy_call *said; /* of the hand: the last stream that was opened */
    bool answered, ended;
};

static int64_t read_clock(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static void turns(struct world *w, const bool *until)
{
    for (int i = 0; i < 1000 && !*until; i++) {
        int64_t next_ns = sy_loop_next_ns(w->loop);
        if (next_ns == SY_TIME_NEVER)
            return;
        w->now_ns = next_ns > w->now_ns ? next_ns : w->now_ns;
        sy_loop_turn(w->loop);
    }
}

static void echo(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)ctx;
    struct sy_buf response = sy_buf_copy(request.data, request.len);
    (void)sy_call_metadata(call, "x-key");
    sy_call_reply(call, &response);
}

/* Never answered: it is there to be cancelled. */
static void sit(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink deaf = {0};
    (void)ctx;
    (void)request;
    sy_call_set_sink(call, &deaf, NULL);
    sy_call_unref(call);
}

static void opened(void *ctx, struct sy_call *call, struct sy_span request)
{
    static const struct sy_call_sink deaf = {0};
    struct world *w = ctx;
    (void)request;
    if (w->said != NULL)
        sy_call_unref(w->said);
    w->said = call;
    sy_call_set_sink(call, &deaf, NULL);
}

static struct sy_server *serve(struct world *w, const char *address)
{
    struct sy_server *server;
    struct sy_server_options options = {.address = address};
    int r = sy_server_new(&server, w->rpc, &options, NULL);
    SY_ASSERT(r == 0);
    sy_server_add(server, &(struct sy_method){"/a", SY_METHOD_UNARY, echo, w, w->loop, 0});
    sy_server_add(server, &(struct sy_method){"/s", SY_METHOD_UNARY, sit, w, w->loop, 64});
    return server;
}

/* Once; it lives as long as the process. */
static struct world *the_world(void)
{
    static struct world world;
    struct world *w = &world;
    if (w->loop != NULL)
        return w;
    struct sy_clock clock = {read_clock, read_clock, w};
    struct sy_loop_options options = {.clock = &clock, .without_epoll = true};
    w->now_ns = SY_NS_PER_S;
    int r = sy_loop_new(&w->loop, &options);
    SY_ASSERT(r == 0);
    r = sy_rpc_mem_new(&w->rpc, NULL);
    SY_ASSERT(r == 0);
    w->server = serve(w, "server:1");
    sy_server_carry(w->server, w->loop);
    r = sy_server_start(w->server, NULL);
    SY_ASSERT(r == 0);
    w->hand = serve(w, "hand:1");
    sy_server_add(w->hand, &(struct sy_method){CARRY_PATH, SY_METHOD_BIDI, opened, w, w->loop, 0});
    r = sy_server_start(w->hand, NULL);
    SY_ASSERT(r == 0);
    w->channel = sy_channel_new(w->rpc, "server:1");
    w->to_hand = sy_channel_new(w->rpc, "hand:1");
    return w;
}

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)status;
    (void)response;
    ((struct world *)ctx)->answered = true;
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    ((struct world *)ctx)->ended = true;
}

static void ask(struct world *w, struct sy_channel *channel, const char *method)
{
    struct sy_call_options options = {.method = method, .timeout_ns = SY_NS_PER_S};
    struct sy_buf request = sy_buf_copy("ask", 3);
    w->answered = false;
    sy_channel_call(channel, w->loop, &options, &request, on_reply, w);
    turns(w, &w->answered);
}

/* In messages of `cut` bytes, on a stream that may end meanwhile. */
static void say(struct sy_call *stream, struct sy_span bytes, size_t cut)
{
    while (bytes.len > 0) {
        size_t len = cut > 0 && cut < bytes.len ? cut : bytes.len;
        struct sy_buf message = sy_buf_copy(bytes.data, len);
        if (sy_call_send(stream, &message) != 0)
            sy_buf_deinit(&message);
        bytes = (struct sy_span){bytes.data + len, bytes.len - len};
    }
}

static void say_to_server(struct world *w, struct sy_span bytes, size_t cut)
{
    static const struct sy_call_sink sink = {.on_closed = on_closed};
    struct sy_call_options options = {.method = CARRY_PATH};
    struct sy_call *stream = sy_channel_open(w->channel, w->loop, &options, &sink, w);
    w->ended = false;
    say(stream, bytes, cut);
    turns(w, &w->ended);
    sy_call_finish(stream, NULL);
    turns(w, &w->ended);
    SY_ASSERT(w->ended);
    sy_call_unref(stream);
}

static void say_to_client(struct world *w, struct sy_span bytes, size_t cut)
{
    struct sy_channel *channel = sy_channel_carry(w->to_hand, w->loop);
    struct sy_buf hello = {0};
    bool never = false;
    ask(w, channel, "/a"); /* opens the stream */
    SY_ASSERT(w->answered);
    turns(w, &never);
    carry_put(&hello, CARRY_HELLO, 0);
    say(w->said, sy_buf_span(&hello), 0);
    sy_buf_deinit(&hello);
    turns(w, &never);
    SY_ASSERT(carry_channel_up(channel));
    say(w->said, bytes, cut);
    ask(w, channel, "/s"); /* carried, or not any more */
    turns(w, &w->answered);
    sy_call_finish(w->said, NULL);
    turns(w, &w->answered);
    SY_ASSERT(w->answered);
    turns(w, &never);
    sy_channel_free(channel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = the_world();
    if (size < 2)
        return 0;
    struct sy_span bytes = {data + 2, size - 2};
    if (data[0] % 2 == 0)
        say_to_server(w, bytes, data[1]);
    else
        say_to_client(w, bytes, data[1]);
    ask(w, w->channel, "/a");
    SY_ASSERT(w->answered);
    return 0;
}
