/* links: sy_rpc */
/*
 * The contract of base/rpc.h, run over the adapters: each EACH_TEST(x) becomes x_grpc, x_shared
 * (gRPC on a port that HTTP/1.1 shares), x_mem, and x_carried and x_carried_mem, where unary calls
 * go over one stream. Client and server share one loop; a test runs it until what it waits for has
 * happened.
 */
#include "tests/unit/test_rpc_world.h"

#define EACH_TEST(name)                                                                            \
    static void name(struct world *w);                                                             \
    START_TEST(name##_grpc)                                                                        \
    {                                                                                              \
        run(name, TRANSPORT_GRPC);                                                                 \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(name##_shared)                                                                      \
    {                                                                                              \
        run(name, TRANSPORT_SHARED);                                                               \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(name##_mem)                                                                         \
    {                                                                                              \
        run(name, TRANSPORT_MEM);                                                                  \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(name##_carried)                                                                     \
    {                                                                                              \
        run(name, TRANSPORT_CARRIED);                                                              \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(name##_carried_mem)                                                                 \
    {                                                                                              \
        run(name, TRANSPORT_CARRIED_MEM);                                                          \
    }                                                                                              \
    END_TEST                                                                                       \
    static void name(struct world *w)

/* ---- unary ---- */

EACH_TEST(unary)
{
    struct end end;
    call(&end, w, "/test.Test/Echo", "hello");
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_OK);
    assert_last(&end, "hello");
    end_deinit(&end);

    call(&end, w, "/test.Test/Echo", ""); /* an empty message is a message */
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_OK);
    assert_last(&end, "");
    end_deinit(&end);
}

EACH_TEST(unary_error)
{
    struct end end;
    call(&end, w, "/test.Test/Fail", "not today");
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_str_eq(end.text, "no: not today");
    ck_assert_uint_eq(end.details.len, 4);
    ck_assert_mem_eq(end.details.data, "\x08\x09\x00\xff", 4);
    end_deinit(&end);

    char text[8000]; /* a message that long would push the status over gRPC's limit */
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    call(&end, w, "/test.Test/Fail", text);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_FAILED_PRECONDITION);
    ck_assert_uint_gt(strlen(end.text), 400);
    end_deinit(&end);
}

EACH_TEST(unknown_method)
{
    struct end end;
    call(&end, w, "/test.Test/Nothing", "");
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_UNIMPLEMENTED);
    ck_assert_ptr_nonnull(strstr(end.text, "/test.Test/Nothing"));
    end_deinit(&end);

    open_stream(&end, w, "/test.Test/Ech", true); /* the beginning of a name is not the name */
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_UNIMPLEMENTED);
    end_deinit(&end);
}

EACH_TEST(metadata)
{
    struct end end;
    const struct sy_metadata metadata[] = {{"x-head", "h"}, {"x-tail", " and tail"}};
    struct sy_call_options options = {
        .method = "/test.Test/Echo", .metadata = metadata, .metadata_count = 2};
    call_with(&end, w, &options, "head", 4);
    wait_for(w, &end.closes, 1);
    assert_last(&end, "head and tail");
    end_deinit(&end);
}

EACH_TEST(deadline)
{
    struct end end;
    struct sy_call_options options = {.method = "/test.Test/Hold", .timeout_ns = 60 * SY_NS_PER_MS};
    int64_t started_ns = sy_clock_system.monotonic_ns(NULL);
    call_with(&end, w, &options, "", 0);
    while (w->held == 0) {
        wait_ms(w, 1);
        if (w->held > 0 || end.closes == 0)
            continue;
        ck_assert_int_eq(end.code, SY_CODE_DEADLINE_EXCEEDED); /* before it was there: once more */
        end_deinit(&end);
        options.timeout_ns *= 2;
        started_ns = sy_clock_system.monotonic_ns(NULL);
        call_with(&end, w, &options, "", 0);
    }
    int64_t deadline_ns = sy_call_deadline_ns(w->server_end.call);
    int64_t by_now_ns = sy_clock_system.monotonic_ns(NULL);
    ck_assert_int_gt(deadline_ns, started_ns);
    ck_assert_int_lt(deadline_ns, by_now_ns + options.timeout_ns + SY_NS_PER_S);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_DEADLINE_EXCEEDED);
    ck_assert_int_ge(sy_clock_system.monotonic_ns(NULL) - started_ns,
                     options.timeout_ns - 10 * SY_NS_PER_MS);
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
    end_deinit(&end);

    call(&end, w, "/test.Test/Hold", ""); /* none */
    wait_for(w, &w->held, 2);
    ck_assert_int_eq(sy_call_deadline_ns(w->server_end.call), SY_TIME_NEVER);
    struct sy_buf response = sy_buf_copy("late", 4);
    sy_call_reply(sy_take(w->server_end.call), &response);
    wait_for(w, &end.closes, 1);
    assert_last(&end, "late");
    end_deinit(&end);
}

EACH_TEST(unary_cancel)
{
    struct end end;
    struct sy_call *held = call(&end, w, "/test.Test/Hold", "");
    wait_for(w, &w->held, 1);
    ck_assert_uint_eq(sy_server_calls(w->server), 1);
    API(w, sy_call_finish(held, NULL));
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_CANCELLED);
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
    struct sy_buf response = sy_buf_copy("too late", 8);
    sy_call_reply(sy_take(w->server_end.call), &response); /* is dropped */
    ck_assert_ptr_null(response.data);
    end_deinit(&end);
}

EACH_TEST(unary_drop)
{
    struct end end;
    struct sy_call *dropped = call(&end, w, "/test.Test/Hold", "");
    wait_for(w, &w->held, 1);
    API(w, sy_call_drop(dropped));
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
    wait_ms(w, 5);
    ck_assert_int_eq(end.closes, 0); /* nobody hears of it */
    end_deinit(&end);
}

EACH_TEST(unary_many)
{
    enum { N = 2000 };
    struct end *ends = sy_calloc(N, sizeof(*ends));
    for (int i = 0; i < N; i++) {
        char text[32];
        snprintf(text, sizeof(text), "call %d", i);
        call(&ends[i], w, "/test.Test/Echo", text);
    }
    for (int i = 0; i < N; i++) {
        char text[32];
        snprintf(text, sizeof(text), "call %d", i);
        wait_for(w, &ends[i].closes, 1);
        ck_assert_msg(ends[i].code == SY_CODE_OK, "%s", ends[i].text);
        assert_last(&ends[i], text);
        end_deinit(&ends[i]);
    }
    free(ends);
}

/* ---- streams ---- */

EACH_TEST(server_stream)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Count", true);
    send_text(&end, "3000");
    API(w, sy_call_half_close(end.call));
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_OK);
    ck_assert_int_eq(end.messages, 3000);
    ck_assert_int_eq(end.next_number, 3000);
    end_deinit(&end);
}

EACH_TEST(request_missing)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Count", true);
    API(w, sy_call_half_close(end.call));
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_INTERNAL);
    end_deinit(&end);
}

EACH_TEST(bidi_and_half_close)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Bidi", true);
    wait_for(w, &w->held, 1);
    for (int i = 0; i < 100; i++) {
        send_text(&end, "ping");
        wait_for(w, &w->server_end.messages, i + 1);
        assert_last(&w->server_end, "ping");
        send_text(&w->server_end, i % 2 == 0 ? "pong" : "");
        wait_for(w, &end.messages, i + 1);
    }
    assert_last(&end, "");
    ck_assert_int_eq(w->server_end.half_closes, 0);
    send_text(&end, "last");
    API(w, sy_call_half_close(end.call));
    wait_for(w, &w->server_end.half_closes, 1);
    ck_assert_int_eq(w->server_end.messages, 101);
    assert_last(&w->server_end, "last");
    send_text(&end, "is dropped");
    send_text(&w->server_end, "after the half-close");
    API(w, sy_call_finish(w->server_end.call, NULL));
    send_text(&w->server_end, "is dropped");
    wait_for(w, &end.closes, 1);
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_OK);
    ck_assert_int_eq(w->server_end.code, SY_CODE_OK);
    assert_last(&end, "after the half-close");
    send_text(&end, "is dropped"); /* after the end nothing happens any more */
    ck_assert(sy_call_ready(end.call));
    API(w, sy_call_finish(end.call, NULL));
    end_deinit(&end);
}

EACH_TEST(server_ends_bidi)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Bidi", true);
    wait_for(w, &w->held, 1);
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_ABORTED, "epoch %d is over", 7);
    send_text(&w->server_end, "one");
    API(w, sy_call_finish(w->server_end.call, &status));
    sy_status_deinit(&status);
    for (int i = 0; i < 20; i++)
        send_text(&end, "into the void");
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_ABORTED);
    ck_assert_str_eq(end.text, "epoch 7 is over");
    ck_assert_int_eq(end.messages, 1);
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(w->server_end.code, SY_CODE_OK);
    ck_assert_int_eq(w->server_end.messages, 0);
    end_deinit(&end);
}

EACH_TEST(client_cancels_stream)
{
    struct end end;
    for (int i = 0; i < 100; i++) {
        open_stream(&end, w, "/test.Test/Bidi", true);
        wait_for(w, &w->held, i + 1);
        send_text(&end, "one");
        wait_for(w, &w->server_end.messages, 1);
        API(w, sy_call_finish(end.call, NULL));
        wait_for(w, &end.closes, 1);
        ck_assert_int_eq(end.code, SY_CODE_CANCELLED);
        wait_for(w, &w->server_end.closes, 1);
        ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
        ck_assert_int_eq(w->server_end.half_closes, 0); /* else it looks like an orderly end */
        end_deinit(&end);
    }
}

EACH_TEST(sink_comes_late)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Count", false);
    send_text(&end, "5");
    API(w, sy_call_half_close(end.call));
    wait_ms(w, 50);
    ck_assert_int_eq(end.messages, 0);
    API(w, sy_call_set_sink(end.call, &plain_sink, &end));
    ck_assert_int_eq(end.messages, 0);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.messages, 5);
    ck_assert_int_eq(end.code, SY_CODE_OK);
    end_deinit(&end);
}

EACH_TEST(streams_many)
{
    enum { N = 200 };
    struct end *ends = sy_calloc(N, sizeof(*ends));
    for (int i = 0; i < N; i++) {
        open_stream(&ends[i], w, "/test.Test/Count", true);
        send_text(&ends[i], "50");
    }
    for (int i = 0; i < N; i++) {
        wait_for(w, &ends[i].closes, 1);
        ck_assert_int_eq(ends[i].code, SY_CODE_OK);
        ck_assert_int_eq(ends[i].messages, 50);
        end_deinit(&ends[i]);
    }
    free(ends);
}

EACH_TEST(large_messages)
{
    size_t len = MESSAGE_BYTES_MAX;
    uint8_t *data = sy_malloc(len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    struct sy_call_options options = {.method = "/test.Test/Echo"};
    struct end end;
    call_with(&end, w, &options, data, len);
    wait_for(w, &end.closes, 1);
    ck_assert_msg(end.code == SY_CODE_OK, "%s", end.text);
    ck_assert_uint_eq(end.last.len, len);
    ck_assert_mem_eq(end.last.data, data, len);
    end_deinit(&end);
    free(data);
}

/* ---- limits ---- */

EACH_TEST(oversize)
{
    struct end end;
    size_t len = MESSAGE_BYTES_MAX + 1;
    char *data = sy_calloc(1, len);
    struct sy_call_options options = {.method = "/test.Test/Echo"};
    call_with(&end, w, &options, data, len);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_RESOURCE_EXHAUSTED);
    end_deinit(&end);

    options.method = "/test.Test/Small";
    call_with(&end, w, &options, data, 100);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_OK);
    end_deinit(&end);
    call_with(&end, w, &options, data, 101);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_RESOURCE_EXHAUSTED);
    ck_assert_str_eq(end.text, "request message of 101 bytes; /test.Test/Small takes at most 100");
    end_deinit(&end);

    open_stream(&end, w, "/test.Test/SmallBidi", true);
    wait_for(w, &w->held, 1);
    send_bytes(&end, data, 100);
    wait_for(w, &w->server_end.messages, 1);
    send_bytes(&end, data, 101);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_RESOURCE_EXHAUSTED);
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
    ck_assert_int_eq(w->server_end.messages, 1);
    end_deinit(&end);

    open_stream(&end, w, "/test.Test/Bidi", true); /* over the server's limit, in a stream */
    wait_for(w, &w->held, 2);
    send_bytes(&end, data, len);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_RESOURCE_EXHAUSTED);
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
    end_deinit(&end);
    free(data);
}

EACH_TEST(streams_max)
{
    enum { EXTRA = 5 };
    int max = STREAMS_MAX - w->carries, n = max + EXTRA, exhausted = 0;
    struct end *ends = sy_calloc((size_t)n, sizeof(*ends));
    for (int i = 0; i < n; i++)
        open_stream(&ends[i], w, "/test.Test/Park", true);
    wait_for(w, &w->held, max);
    while (exhausted < EXTRA) {
        wait_ms(w, 1);
        exhausted = 0;
        for (int i = 0; i < n; i++)
            exhausted += ends[i].closes > 0 && ends[i].code == SY_CODE_RESOURCE_EXHAUSTED;
    }
    ck_assert_uint_eq(sy_server_calls(w->server), (size_t)max);
    for (int i = 0; i < n; i++)
        sy_call_finish(ends[i].call, NULL);
    for (int i = 0; i < n; i++) {
        wait_for(w, &ends[i].closes, 1);
        end_deinit(&ends[i]);
    }
    while (sy_server_calls(w->server) > 0)
        wait_ms(w, 1);
    free(ends);
}

/* ---- flow control ---- */

EACH_TEST(client_stops_reading)
{
    struct end end, other;
    open_stream(&end, w, "/test.Test/Flood", false);
    send_text(&end, "go");
    wait_for(w, &w->held, 1);
    /* The bound, and what the transport and the reader's window hold. */
    const int least = (int)(SEND_BUFFER_MAX / 1100),
              most = (int)((SEND_BUFFER_MAX + ((size_t)2 << 20)) / 1024);
    while (w->server_end.sent_number <= least)
        wait_ms(w, 1);
    wait_ms(w, 100); /* it would go on */
    ck_assert_int_lt(w->server_end.sent_number, most);
    for (int i = 0; i < 100; i++) { /* others go on */
        call(&other, w, "/test.Test/Echo", "x");
        wait_for(w, &other.closes, 1);
        ck_assert_int_eq(other.code, SY_CODE_OK);
        end_deinit(&other);
    }
    ck_assert_int_lt(w->server_end.sent_number, most);
    API(w, sy_call_set_sink(end.call, &plain_sink, &end));
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_OK);
    ck_assert_int_eq(end.messages, 5000);
    ck_assert_int_eq(end.next_number, 5000);
    ck_assert_int_gt(w->server_end.writables, 0);
    end_deinit(&end);
}

EACH_TEST(cancel_of_a_stalled_stream)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Flood", false);
    send_text(&end, "go");
    wait_for(w, &w->held, 1);
    wait_ms(w, 50);
    API(w, sy_call_finish(end.call, NULL));
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
    API(w, sy_call_set_sink(end.call, &plain_sink, &end));
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_CANCELLED);
    ck_assert_int_eq(end.messages, 0); /* after its own finish it hears no messages */
    end_deinit(&end);
}

EACH_TEST(server_stops_reading)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Bidi", true);
    wait_for(w, &w->held, 1);
    API(w, sy_call_set_sink(w->server_end.call, NULL, NULL));
    int before = -1;
    while (end.sent_number != before) {
        before = end.sent_number;
        pour(&end, 100000);
        wait_ms(w, 30);
    }
    ck_assert_int_lt(before, 5000);
    API(w, sy_call_finish(end.call, NULL)); /* the news overtakes what is not read */
    wait_for(w, &end.closes, 1);
    API(w, sy_call_set_sink(w->server_end.call, &plain_sink, &w->server_end));
    wait_for(w, &w->server_end.closes, 1);
    ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
    end_deinit(&end);
}

EACH_TEST(ready)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Bidi", true);
    wait_for(w, &w->held, 1);
    ck_assert(sy_call_ready(w->server_end.call));
    send_text(&w->server_end, "one");
    ck_assert(!sy_call_ready(w->server_end.call));
    ck_assert_int_eq(w->server_end.writables, 0);
    wait_for(w, &w->server_end.writables, 1);
    ck_assert(sy_call_ready(w->server_end.call));
    wait_for(w, &end.messages, 1);
    ck_assert_int_eq(w->server_end.writables, 1); /* told once */
    API(w, sy_call_finish(end.call, NULL));
    wait_for(w, &end.closes, 1);
    end_deinit(&end);
}

/* One message larger than the buffer is taken when nothing else waits. */
EACH_TEST(message_larger_than_buffer)
{
    struct end end;
    open_stream(&end, w, "/test.Test/Bidi", true);
    wait_for(w, &w->held, 1);
    size_t len = SEND_BUFFER_MAX * 2;
    char *data = sy_calloc(1, len);
    send_bytes(&w->server_end, data, len);
    struct sy_buf second = sy_buf_copy("x", 1);
    ck_assert_int_eq(sy_call_send(w->server_end.call, &second), SY_RPC_E_FULL);
    wait_for(w, &w->server_end.writables, 1);
    ck_assert_int_eq(sy_call_send(w->server_end.call, &second), 0);
    wait_for(w, &end.messages, 2);
    ck_assert_uint_eq(end.bytes, len + 1);
    API(w, sy_call_finish(end.call, NULL));
    wait_for(w, &end.closes, 1);
    end_deinit(&end);
    free(data);
}

/* ---- servers that come and go ---- */

static void free_server(struct world *w)
{
    sy_server_free(w->server);
    w->server = NULL;
}

EACH_TEST(drain_without_calls)
{
    struct end end;
    call(&end, w, "/test.Test/Echo", "hello");
    wait_for(w, &end.closes, 1);
    end_deinit(&end);
    drain(w, 60000);
    wait_for(w, &w->drained, 1);
    free_server(w);
    struct sy_status status = {0};
    for (int i = 0; i < 10 && !sy_status_unsent(&status); i++) {
        /* The very first call may still go to the dead connection. */
        call(&end, w, "/test.Test/Echo", "anybody?");
        wait_for(w, &end.closes, 1);
        ck_assert_int_eq(end.code, SY_CODE_UNAVAILABLE);
        sy_status_set(&status, end.code, "%s", end.text);
        end_deinit(&end);
    }
    ck_assert_msg(sy_status_unsent(&status), "%s", status.message.text);
    sy_status_deinit(&status);
}

EACH_TEST(drain_within_grace)
{
    struct end end, late;
    call(&end, w, "/test.Test/Hold", "");
    wait_for(w, &w->held, 1);
    drain(w, 60000);
    wait_ms(w, 50);
    ck_assert_int_eq(w->drained, 0);
    call(&late, w, "/test.Test/Echo", "too late");
    wait_for(w, &late.closes, 1);
    ck_assert_int_eq(late.code, SY_CODE_UNAVAILABLE);
    end_deinit(&late);
    struct sy_buf response = sy_buf_copy("done", 4);
    sy_call_reply(sy_take(w->server_end.call), &response);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_OK);
    assert_last(&end, "done");
    wait_for(w, &w->drained, 1);
    end_deinit(&end);
    free_server(w);
}

EACH_TEST(drain_after_grace)
{
    struct end unary_end, end;
    open_stream(&end, w, "/test.Test/Bidi", true);
    wait_for(w, &w->held, 1);
    struct end kept = w->server_end; /* Hold takes the place */
    w->server_end = (struct end){0};
    sy_call_set_sink(kept.call, &plain_sink, &kept);
    call(&unary_end, w, "/test.Test/Hold", "");
    wait_for(w, &w->held, 2);
    drain(w, 50);
    wait_for(w, &w->drained, 1);
    ck_assert_int_eq(kept.closes, 1);
    ck_assert_int_eq(kept.code, SY_CODE_CANCELLED);
    ck_assert_int_eq(w->server_end.closes, 1);
    wait_for(w, &end.closes, 1);
    wait_for(w, &unary_end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_UNAVAILABLE);
    ck_assert_int_eq(unary_end.code, SY_CODE_UNAVAILABLE);
    end_deinit(&end);
    end_deinit(&unary_end);
    end_deinit(&kept);
    free_server(w);
}

EACH_TEST(wait_for_ready)
{
    struct end end, other;
    drain(w, 0);
    wait_for(w, &w->drained, 1);
    free_server(w);
    struct sy_call_options options = {
        .method = "/test.Test/Echo", .wait_for_ready = true, .timeout_ns = 50 * SY_NS_PER_S};
    call(&other, w, "/test.Test/Echo", "too early"); /* fails with the old connection, which is */
    wait_for(w, &other.closes, 1);                   /* known to be gone from then on */
    ck_assert_int_eq(other.code, SY_CODE_UNAVAILABLE);
    end_deinit(&other);
    call_with(&end, w, &options, "patience", 8);
    call(&other, w, "/test.Test/Echo", "impatience");
    wait_for(w, &other.closes, 1);
    ck_assert_int_eq(other.code, SY_CODE_UNAVAILABLE);
    ck_assert_int_eq(end.closes, 0);
    start_server(w, w->target);
    wait_for(w, &end.closes, 1);
    ck_assert_msg(end.code == SY_CODE_OK, "%s", end.text);
    assert_last(&end, "patience");
    end_deinit(&end);
    end_deinit(&other);
}

EACH_TEST(port_is_taken)
{
    struct sy_server *second = NULL;
    struct sy_error_text error = {{0}};
    struct sy_server_options options = {.address = w->target};
    ck_assert_int_eq(sy_server_new(&second, w->rpc, &options, &error), 0);
    ck_assert_int_eq(sy_server_start(second, &error), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(error.text, w->target));
    ck_assert_ptr_nonnull(strstr(error.text, "Address already in use"));
    sy_server_free(second);
}

EACH_TEST(bound_and_never_started)
{
    struct sy_server *first = NULL, *second = NULL;
    struct sy_error_text error = {{0}};
    char address[32];
    struct sy_server_options options = {.address = "127.0.0.1:0"};
    ck_assert_int_eq(sy_server_new(&first, w->rpc, &options, &error), 0);
    ck_assert_int_eq(sy_server_bind(first, &error), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%d", sy_server_port(first));
    options.address = address;
    ck_assert_int_eq(sy_server_new(&second, w->rpc, &options, &error), 0);
    ck_assert_int_eq(sy_server_bind(second, &error), -EADDRINUSE);
    sy_server_free(second);
    sy_server_free(first);
}

#define EACH(name) name##_grpc, name##_shared, name##_mem, name##_carried, name##_carried_mem

int main(void)
{
    const TTest *const tests[] = {
        EACH(unary),
        EACH(unary_error),
        EACH(unknown_method),
        EACH(metadata),
        EACH(deadline),
        EACH(unary_cancel),
        EACH(unary_drop),
        EACH(unary_many),
        EACH(server_stream),
        EACH(request_missing),
        EACH(bidi_and_half_close),
        EACH(server_ends_bidi),
        EACH(client_cancels_stream),
        EACH(sink_comes_late),
        EACH(streams_many),
        EACH(large_messages),
        EACH(oversize),
        EACH(streams_max),
        EACH(client_stops_reading),
        EACH(cancel_of_a_stalled_stream),
        EACH(server_stops_reading),
        EACH(ready),
        EACH(message_larger_than_buffer),
        EACH(drain_without_calls),
        EACH(drain_within_grace),
        EACH(drain_after_grace),
        EACH(wait_for_ready),
        EACH(port_is_taken),
        EACH(bound_and_never_started),
        NULL,
    };
    return sy_test_run("rpc_contract", tests);
}
