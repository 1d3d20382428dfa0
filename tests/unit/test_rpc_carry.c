/* links: sy_rpc */
/*
 * Calls that are carried over one stream (base/rpc_carry.h), beyond the contract of every call,
 * which test_rpc_contract.c runs over them too: the stream's bytes, its end, its bounds, peers that
 * say nonsense or are of another version.
 */
#include "tests/unit/test_rpc_world.h"

#include <pthread.h>

enum { FLOOD = CARRY_CALLS_MAX + 200 };

static struct world world;

/* ---- a peer that speaks by hand ---- */

/* What arrives at a server's CARRY_PATH, and what it is to say. */
static struct hand {
    struct world *world;
    struct sy_call *stream;
    struct sy_buf heard;
    int opened, messages, closes;
    enum sy_code code;
} hand;

static void hand_message(void *ctx, struct sy_span message)
{
    (void)ctx;
    hand.messages++;
    sy_buf_append(&hand.heard, message.data, message.len);
}

static void hand_closed(void *ctx, const struct sy_status *status)
{
    (void)ctx;
    hand.closes++;
    hand.code = status->code;
}

static const struct sy_call_sink hand_sink = {.on_message = hand_message, .on_closed = hand_closed};

static void hand_handle(void *ctx, struct sy_call *stream, struct sy_span request)
{
    (void)request;
    hand.world = ctx;
    hand.opened++;
    if (hand.stream != NULL)
        sy_call_unref(hand.stream);
    hand.stream = stream;
    sy_call_set_sink(stream, &hand_sink, NULL);
}

static void say(struct sy_buf *bytes)
{
    int r = 1;
    API(hand.world, r = sy_call_send(hand.stream, bytes));
    ck_assert_int_eq(r, 0);
}

static void say_kind(enum carry_kind kind, uint32_t id)
{
    struct sy_buf bytes = {0};
    carry_put(&bytes, kind, id);
    say(&bytes);
}

/* The next frame that was heard. */
static struct carry_frame next_frame(void)
{
    static struct sy_buf last;
    struct carry_frame frame;
    struct sy_span rest = sy_buf_span(&hand.heard);
    ck_assert_int_eq(carry_next(&rest, &frame), 1);
    sy_buf_clear(&last);
    sy_buf_append(&last, frame.body.data, frame.body.len);
    frame.body = sy_buf_span(&last);
    sy_buf_consume(&hand.heard, hand.heard.len - rest.len);
    if (frame.body.len == 0)
        sy_buf_deinit(&last);
    return frame;
}

/* A client over the in-memory transport, and a server whose CARRY_PATH is the hand. */
static void open_hand_world(struct world *w)
{
    *w = (struct world){0};
    hand = (struct hand){0};
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    struct sy_server_options options = {.address = "hand:1"};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, NULL), 0);
    add_methods(w);
    sy_server_add(w->server,
                  &(struct sy_method){CARRY_PATH, SY_METHOD_BIDI, hand_handle, w, w->loop, 0});
    ck_assert_int_eq(sy_server_start(w->server, NULL), 0);
    w->under = sy_channel_new(w->rpc, "hand:1");
    w->channel = sy_channel_carry(w->under, w->loop);
    struct end end;
    call(&end, w, "/test.Test/Echo", "first"); /* it goes as a call, and opens the stream */
    wait_for(w, &end.closes, 1);
    assert_last(&end, "first");
    end_deinit(&end);
    wait_for(w, &hand.opened, 1);
    say_kind(CARRY_HELLO, 0);
    while (!carry_channel_up(w->channel))
        wait_ms(w, 1);
}

static void close_hand_world(struct world *w)
{
    if (hand.stream != NULL)
        sy_call_unref(hand.stream);
    sy_buf_deinit(&hand.heard);
    close_world(w);
}

/* A call that the hand has heard of; returns its id. */
static uint32_t carried_call(struct world *w, struct end *end, struct sy_call **ret_call)
{
    int before = hand.messages;
    const struct sy_metadata metadata[] = {{"x-one", "1"}, {"x-two", ""}};
    struct sy_call_options options = {.method = "/test.Test/Hold",
                                      .timeout_ns = 3600 * SY_NS_PER_S,
                                      .metadata = metadata,
                                      .metadata_count = 2};
    struct sy_call *made = call_with(end, w, &options, "ask", 3);
    if (ret_call != NULL)
        *ret_call = made;
    wait_for(w, &hand.messages, before + 1);
    struct carry_frame frame = next_frame();
    struct carry_call asked;
    static const char head[] = "/test.Test/Hold\0x-one\0"
                               "1\0x-two\0";
    ck_assert_uint_eq(frame.kind, CARRY_CALL);
    ck_assert_int_eq(carry_read_call(frame.body, &asked), 0);
    ck_assert_uint_eq(asked.head.len, sizeof(head));
    ck_assert_mem_eq(asked.head.data, head, sizeof(head));
    ck_assert_uint_eq(asked.request.len, 3);
    ck_assert_int_eq(asked.timeout_ns, 3600 * SY_NS_PER_S);
    return frame.id;
}

static void say_answer(uint32_t id, const char *text)
{
    struct sy_buf bytes = {0};
    carry_put_answer(&bytes, id, NULL, (struct sy_span){(const uint8_t *)text, strlen(text)});
    say(&bytes);
}

/* ---- the client ---- */

START_TEST(what_is_said_by_hand_is_heard)
{
    struct world *w = &world;
    struct end end, other;
    open_hand_world(w);
    uint32_t first = carried_call(w, &end, NULL), second = carried_call(w, &other, NULL);
    say_answer(second, "two");
    wait_for(w, &other.closes, 1);
    assert_last(&other, "two");
    ck_assert_int_eq(end.closes, 0);
    struct sy_status status = {0};
    struct sy_buf bytes = {0};
    sy_status_set(&status, SY_CODE_ABORTED, "no");
    sy_buf_append(&status.details, "\x00\x01", 2);
    carry_put_answer(&bytes, first, &status, (struct sy_span){0});
    say(&bytes);
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_ABORTED);
    ck_assert_str_eq(end.text, "no");
    ck_assert_uint_eq(end.details.len, 2);
    sy_status_deinit(&status);
    end_deinit(&end);
    end_deinit(&other);
    close_hand_world(w);
}
END_TEST

/* Its slot is used again; the answer to what was before is nobody's. */
START_TEST(a_late_answer_is_not_the_next_ones)
{
    struct world *w = &world;
    struct end end, next;
    struct sy_call *made;
    open_hand_world(w);
    uint32_t id = carried_call(w, &end, &made);
    int before = hand.messages;
    API(w, sy_call_finish(made, NULL));
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_CANCELLED);
    wait_for(w, &hand.messages, before + 1);
    struct carry_frame frame = next_frame();
    ck_assert_uint_eq(frame.kind, CARRY_CANCEL);
    ck_assert_uint_eq(frame.id, id);
    uint32_t again = carried_call(w, &next, NULL);
    ck_assert_uint_eq(again % CARRY_CALLS_MAX, id % CARRY_CALLS_MAX);
    ck_assert_uint_ne(again, id);
    say_answer(id, "late");
    say_answer(again, "right");
    wait_for(w, &next.closes, 1);
    assert_last(&next, "right");
    end_deinit(&end);
    end_deinit(&next);
    close_hand_world(w);
}
END_TEST

/* The stream ends; calls on it may have been served, and say so; the next go as calls. */
START_TEST(nonsense_ends_the_stream_and_its_calls)
{
    static const struct {
        const char *bytes;
        size_t len;
    } said[] = {{"\x01", 1},
                {"\x09\0\0\0\0\0\0\0\0", 9},         /* a kind that is none */
                {"\x02\0\0\0\0\0\0\0\0", 9},         /* a client's */
                {"\x04\0\0\0\0\0\0\0\x01z", 10},     /* an answer without a code */
                {"\x04\0\0\0\0\xff\xff\xff\xff", 9}, /* longer than the message */
                {"\x04\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\1\0\0\0\0", 21}};
    for (size_t i = 0; i < SY_COUNT_OF(said); i++) {
        struct world *w = &world;
        struct end end, next;
        open_hand_world(w);
        carried_call(w, &end, NULL);
        struct sy_buf bytes = sy_buf_copy(said[i].bytes, said[i].len);
        int64_t said_ns = sy_clock_system.monotonic_ns(NULL);
        say(&bytes);
        wait_for(w, &end.closes, 1);
        ck_assert_int_eq(end.code, SY_CODE_UNAVAILABLE);
        ck_assert_ptr_nonnull(strstr(end.text, "cannot be read"));
        wait_for(w, &hand.closes, 1);
        ck_assert_int_eq(hand.code, SY_CODE_CANCELLED);
        ck_assert(!carry_channel_up(w->channel));
        call(&next, w, "/test.Test/Echo", "as a call");
        wait_for(w, &next.closes, 1);
        assert_last(&next, "as a call");
        /* not at once again */
        ck_assert(hand.opened == 1 || sy_clock_system.monotonic_ns(NULL) - said_ns >= SY_NS_PER_S);
        end_deinit(&end);
        end_deinit(&next);
        close_hand_world(w);
    }
}
END_TEST

START_TEST(a_stream_that_dies_ends_its_calls)
{
    struct world *w = &world;
    struct end end, next;
    open_hand_world(w);
    carried_call(w, &end, NULL);
    sy_call_fail(sy_take(hand.stream), SY_CODE_UNAVAILABLE, "failed to connect");
    wait_for(w, &end.closes, 1);
    ck_assert_int_eq(end.code, SY_CODE_UNAVAILABLE);
    struct sy_status status = {.code = end.code};
    sy_error_text_set(&status.message, "%s", end.text);
    ck_assert(!sy_status_unsent(&status)); /* it may have been served */
    wait_ms(w, 1050);
    call(&next, w, "/test.Test/Echo", "later");
    wait_for(w, &next.closes, 1);
    wait_for(w, &hand.opened, 2); /* with the next call after a second it is opened again */
    end_deinit(&end);
    end_deinit(&next);
    close_hand_world(w);
}
END_TEST

/* It does not take what it is sent: calls that do not fit go as calls, and are answered. */
START_TEST(a_peer_that_does_not_read_holds_up_nobody)
{
    struct world *w = &world;
    static uint8_t kib[1024];
    open_hand_world(w);
    sy_call_set_sink(hand.stream, NULL, NULL);
    struct end *ends = sy_calloc(FLOOD, sizeof(*ends));
    struct sy_call_options options = {.method = "/test.Test/Echo"};
    int answered = 0;
    for (int i = 0; i < FLOOD; i++) {
        call_with(&ends[i], w, &options, kib, sizeof(kib));
        if (i % 16 == 0)
            wait_ms(w, 1);
    }
    while (answered <= FLOOD / 2) {
        wait_ms(w, 1);
        answered = 0;
        for (int i = 0; i < FLOOD; i++)
            answered += ends[i].closes;
    }
    ck_assert_int_lt(answered, FLOOD);
    sy_call_finish(hand.stream, NULL);
    for (int i = 0; i < FLOOD; i++) {
        wait_for(w, &ends[i].closes, 1);
        end_deinit(&ends[i]);
    }
    free(ends);
    close_hand_world(w);
}
END_TEST

START_TEST(a_channel_goes_with_calls_in_progress)
{
    struct world *w = &world;
    struct end end, dropped;
    struct sy_call *made;
    open_hand_world(w);
    uint32_t id = carried_call(w, &end, NULL);
    carried_call(w, &dropped, &made);
    sy_channel_free(sy_take(w->channel));
    API(w, sy_call_drop(made));
    say_answer(id, "still"); /* calls keep it alive */
    wait_for(w, &end.closes, 1);
    assert_last(&end, "still");
    wait_for(w, &hand.closes, 1);
    ck_assert_int_eq(dropped.closes, 0);
    end_deinit(&end);
    close_hand_world(w);
}
END_TEST

/* ---- the server ---- */

struct speaker {
    struct end end;
    struct sy_buf heard;
};

static void speaker_message(void *ctx, struct sy_span message)
{
    struct speaker *s = ctx;
    s->end.messages++;
    sy_buf_append(&s->heard, message.data, message.len);
}

static void speaker_closed(void *ctx, const struct sy_status *status)
{
    struct speaker *s = ctx;
    on_closed(&s->end, status);
}

static const struct sy_call_sink speaker_sink = {.on_message = speaker_message,
                                                 .on_closed = speaker_closed};

static void speak(struct world *w, struct speaker *s)
{
    struct sy_call_options options = {.method = CARRY_PATH};
    *s = (struct speaker){.end.world = w};
    s->end.call = sy_channel_open(w->under, w->loop, &options, &speaker_sink, s);
    wait_for(w, &s->end.messages, 1);
    ck_assert_uint_eq(s->heard.data[0], CARRY_HELLO);
    sy_buf_clear(&s->heard);
}

static void hush(struct speaker *s)
{
    sy_call_set_sink(s->end.call, NULL, NULL);
    sy_call_finish(s->end.call, NULL);
    end_deinit(&s->end);
    sy_buf_deinit(&s->heard);
}

static void ask(struct sy_buf *bytes, uint32_t id, const char *method, const char *text)
{
    struct sy_call_options options = {.method = method};
    carry_put_call(bytes, id, &options, (struct sy_span){(const uint8_t *)text, strlen(text)});
}

static void both(void (*test)(struct world *w))
{
    run(test, TRANSPORT_CARRIED);
    run(test, TRANSPORT_CARRIED_MEM);
}

static void hear_one_message(struct world *w)
{
    struct speaker s;
    struct sy_buf bytes = {0};
    speak(w, &s);
    ask(&bytes, 7, "/test.Test/Echo", "a");
    ask(&bytes, 8, "/test.Test/Nothing", "b");
    ask(&bytes, 9, "/test.Test/Count", "3"); /* a stream */
    ask(&bytes, 10, "/test.Test/Echo", "c");
    send_bytes(&s.end, bytes.data, bytes.len);
    sy_buf_deinit(&bytes);
    static const enum sy_code codes[] = {SY_CODE_OK, SY_CODE_UNIMPLEMENTED, SY_CODE_UNIMPLEMENTED,
                                         SY_CODE_OK};
    int answers = 0;
    while (answers < 4) {
        struct sy_span rest = sy_buf_span(&s.heard);
        struct carry_frame frame;
        struct carry_answer answer;
        for (answers = 0; carry_next(&rest, &frame) == 1; answers++) {
            ck_assert_int_eq(carry_read_answer(frame.body, &answer), 0);
            ck_assert_uint_eq(answer.code, codes[frame.id - 7]);
        }
        wait_ms(w, 1);
    }
    ck_assert_int_le(s.end.messages, 3); /* HELLO, and what was answered together */
    hush(&s);
}

START_TEST(many_calls_are_one_message)
{
    both(hear_one_message);
}
END_TEST

static void hear_nonsense(struct world *w)
{
    static const struct {
        const char *bytes;
        size_t len;
    } said[] = {{"\x02", 1},
                {"\x01\0\0\0\0\0\0\0\0", 9},
                {"\x02\0\0\0\0\0\0\0\0", 9},
                {"\x02\0\0\0\0\0\0\1\0", 9},
                {"\x02\0\0\0\0\0\0\0\x0e\0\0\0\0\0\0\0\0\0\0\0\2/a", 23},     /* no NUL */
                {"\x02\0\0\0\0\0\0\0\x0f\0\0\0\0\0\0\0\0\0\0\0\3a/\0", 24},   /* no path */
                {"\x02\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\4/\0k\0", 25}, /* half a pair */
                {"\x02\0\0\0\0\0\0\0\x0e\xff\0\0\0\0\0\0\0\0\0\0\2/\0", 23}};
    for (size_t i = 0; i < SY_COUNT_OF(said); i++) {
        struct speaker s;
        struct sy_buf bytes = {0};
        speak(w, &s);
        ask(&bytes, 3, "/test.Test/Hold", "");
        send_bytes(&s.end, bytes.data, bytes.len);
        wait_for(w, &w->held, (int)i + 1);
        send_bytes(&s.end, said[i].bytes, said[i].len);
        wait_for(w, &s.end.closes, 1);
        ck_assert_int_eq(s.end.code, SY_CODE_INVALID_ARGUMENT);
        wait_for(w, &w->server_end.closes, 1);
        ck_assert_int_eq(w->server_end.code, SY_CODE_CANCELLED);
        sy_buf_deinit(&bytes);
        hush(&s);
    }
    struct speaker s; /* a slot that is taken */
    struct sy_buf bytes = {0};
    speak(w, &s);
    ask(&bytes, 3, "/test.Test/Hold", "");
    ask(&bytes, 3 + CARRY_CALLS_MAX, "/test.Test/Echo", "");
    send_bytes(&s.end, bytes.data, bytes.len);
    wait_for(w, &s.end.closes, 1);
    ck_assert_int_eq(s.end.code, SY_CODE_INVALID_ARGUMENT);
    wait_for(w, &w->server_end.closes, 1);
    sy_buf_deinit(&bytes);
    hush(&s);
}

START_TEST(a_client_that_says_nonsense_is_closed)
{
    both(hear_nonsense);
}
END_TEST

/* Answers are not taken: refusals end the stream, and memory is bounded. */
static void flood_with_refusals(struct world *w)
{
    struct speaker s;
    struct sy_buf bytes = {0};
    speak(w, &s);
    sy_call_set_sink(s.end.call, NULL, NULL);
    for (uint32_t i = 0; i < 500; i++)
        ask(&bytes, i, "/test.Test/NothingOfThatNameIsKnownHereSoTheTextIsRatherLong", "");
    for (int i = 0; i < 100; i++) {
        struct sy_buf copy = sy_buf_copy(bytes.data, bytes.len);
        if (sy_call_send(s.end.call, &copy) != 0)
            sy_buf_deinit(&copy);
        wait_ms(w, 1);
    }
    sy_call_set_sink(s.end.call, &speaker_sink, &s);
    wait_for(w, &s.end.closes, 1);
    ck_assert_int_eq(s.end.code, SY_CODE_RESOURCE_EXHAUSTED);
    sy_buf_deinit(&bytes);
    hush(&s);
}

START_TEST(a_client_that_takes_no_answers_is_closed)
{
    both(flood_with_refusals);
}
END_TEST

static void fill_slots(struct world *w)
{
    struct end *ends = sy_calloc(FLOOD, sizeof(*ends)), echo_end;
    for (int i = 0; i < FLOOD; i++)
        call(&ends[i], w, "/test.Test/Sit", "");
    wait_for(w, &w->held, FLOOD); /* those beyond came as calls */
    ck_assert_uint_eq(sy_server_calls(w->server), FLOOD);
    call(&echo_end, w, "/test.Test/Echo", "one more");
    wait_for(w, &echo_end.closes, 1);
    assert_last(&echo_end, "one more");
    end_deinit(&echo_end);
    drain(w, 10); /* what has not ended by then is cancelled */
    for (int i = 0; i < FLOOD; i++) {
        wait_for(w, &ends[i].closes, 1);
        ck_assert_int_eq(ends[i].code, SY_CODE_UNAVAILABLE);
        end_deinit(&ends[i]);
    }
    wait_for(w, &w->drained, 1);
    ck_assert_uint_eq(sy_server_calls(w->server), 0);
    sy_server_free(sy_take(w->server));
    free(ends);
}

START_TEST(calls_beyond_the_slots_go_as_calls)
{
    both(fill_slots);
}
END_TEST

/* The server says that it leaves; what it has begun is answered, and the drain ends at once. */
static void leave(struct world *w)
{
    struct end end;
    call(&end, w, "/test.Test/Hold", "");
    wait_for(w, &w->held, 1);
    drain(w, 60000);
    while (carry_channel_up(w->channel))
        wait_ms(w, 1);
    ck_assert_int_eq(end.closes, 0);
    struct sy_buf response = sy_buf_copy("done", 4);
    API(w, sy_call_reply(sy_take(w->server_end.call), &response));
    wait_for(w, &end.closes, 1);
    assert_last(&end, "done");
    wait_for(w, &w->drained, 1);
    sy_server_free(sy_take(w->server));
    end_deinit(&end);
}

START_TEST(a_server_that_drains_answers_first)
{
    both(leave);
}
END_TEST

static void answer_large(struct world *w)
{
    struct end end, large;
    call(&large, w, "/test.Test/Hold", "");
    wait_for(w, &w->held, 1);
    struct sy_buf response = {0};
    sy_buf_reserve(&response, CARRY_ANSWER_BYTES_MAX + 1);
    memset(response.data, 'x', response.cap);
    response.len = CARRY_ANSWER_BYTES_MAX;
    API(w, sy_call_reply(sy_take(w->server_end.call), &response));
    wait_for(w, &large.closes, 1);
    ck_assert_int_eq(large.code, SY_CODE_OK);
    ck_assert_uint_eq(large.bytes, CARRY_ANSWER_BYTES_MAX);
    end_deinit(&large);
    call(&large, w, "/test.Test/Hold", "");
    wait_for(w, &w->held, 2);
    sy_buf_reserve(&response, CARRY_ANSWER_BYTES_MAX + 1);
    memset(response.data, 'x', response.cap);
    response.len = CARRY_ANSWER_BYTES_MAX + 1;
    API(w, sy_call_reply(sy_take(w->server_end.call), &response));
    wait_for(w, &large.closes, 1);
    ck_assert_int_eq(large.code, SY_CODE_RESOURCE_EXHAUSTED);
    end_deinit(&large);
    call(&end, w, "/test.Test/Echo", "goes on");
    wait_for(w, &end.closes, 1);
    assert_last(&end, "goes on");
    ck_assert(carry_channel_up(w->channel));
    end_deinit(&end);
}

START_TEST(a_large_answer_is_an_answer_or_an_error)
{
    both(answer_large);
}
END_TEST

/* ---- other versions ---- */

static void call_old(struct world *w)
{
    struct end end;
    ck_assert(!w->carries);
    struct sy_channel *channel = sy_channel_carry(w->channel, w->loop);
    w->under = w->channel;
    w->channel = channel;
    for (int i = 0; i < 20; i++) {
        call(&end, w, "/test.Test/Echo", "hello");
        wait_for(w, &end.closes, 1);
        assert_last(&end, "hello");
        end_deinit(&end);
    }
    ck_assert(!carry_channel_up(channel));
}

START_TEST(a_peer_that_knows_nothing_of_it_is_called)
{
    run(call_old, TRANSPORT_GRPC);
    run(call_old, TRANSPORT_MEM);
}
END_TEST

/* ---- several loops ---- */

enum { LANE_CALLS = 3000, LANES = 2 };

static struct lanes {
    struct sy_loop *loops[LANES];
    atomic_int served, cancelled;
} lanes;

struct lane_call {
    struct sy_call *call;
    bool keep;
};

static void lane_closed(void *ctx, const struct sy_status *status)
{
    struct lane_call *c = ctx;
    if (status->code != SY_CODE_OK)
        atomic_fetch_add(&lanes.cancelled, 1);
    sy_call_unref(c->call);
    free(c);
}

/* On the other loop. */
static void lane_serve(void *arg)
{
    static const struct sy_call_sink sink = {.on_closed = lane_closed};
    struct lane_call *c = arg;
    sy_call_set_sink(c->call, &sink, c);
    atomic_fetch_add(&lanes.served, 1);
    if (c->keep)
        return;
    struct sy_buf response = sy_buf_copy("lane", 4);
    sy_call_reply(sy_call_ref(c->call), &response);
}

static void lane_handle(void *ctx, struct sy_call *call, struct sy_span request)
{
    static unsigned next;
    (void)ctx;
    struct lane_call *c = sy_new(struct lane_call);
    *c = (struct lane_call){call, request.len > 0};
    sy_call_rehome(call, lanes.loops[next++ % LANES], lane_serve, c);
}

static void *run_lane(void *loop)
{
    ck_assert_int_eq(sy_loop_run(loop), 0);
    return NULL;
}

/* A third is cancelled while it is on its way, begins, or ends. */
START_TEST(calls_go_on_at_other_loops)
{
    struct world *w = &world;
    pthread_t threads[LANES];
    *w = (struct world){.carries = true};
    lanes = (struct lanes){0};
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    ck_assert_int_eq(sy_rpc_grpc_new(&w->rpc, NULL), 0);
    struct sy_server_options options = {.address = "127.0.0.1:0"};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, NULL), 0);
    add_methods(w);
    sy_server_carry(w->server, w->loop);
    sy_server_add(w->server, &(struct sy_method){"/test.Test/Lane", SY_METHOD_UNARY, lane_handle, w,
                                                 w->loop, 0});
    ck_assert_int_eq(sy_server_start(w->server, NULL), 0);
    for (int i = 0; i < LANES; i++) {
        ck_assert_int_eq(sy_loop_new(&lanes.loops[i], NULL), 0);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_lane, lanes.loops[i]), 0);
    }
    snprintf(w->target, sizeof(w->target), "127.0.0.1:%d", sy_server_port(w->server));
    w->under = sy_channel_new(w->rpc, w->target);
    w->channel = sy_channel_carry(w->under, w->loop);
    warm_up(w);
    struct end *ends = sy_calloc(LANE_CALLS, sizeof(*ends));
    for (int i = 0; i < LANE_CALLS; i++) {
        struct sy_call *made = call(&ends[i], w, "/test.Test/Lane", i % 6 == 0 ? "keep" : "");
        if (i % 50 == 0)
            wait_ms(w, 1);
        if (i % 3 == 0 && ends[i].closes == 0)
            sy_call_finish(made, NULL);
    }
    for (int i = 0; i < LANE_CALLS; i++) {
        wait_for(w, &ends[i].closes, 1);
        ck_assert(ends[i].code == SY_CODE_CANCELLED || ends[i].code == SY_CODE_OK);
        if (ends[i].code == SY_CODE_OK)
            assert_last(&ends[i], "lane");
        else
            ck_assert_int_eq(i % 3, 0);
        end_deinit(&ends[i]);
    }
    while (sy_server_calls(w->server) > 0)
        wait_ms(w, 1);
    ck_assert_int_gt(atomic_load(&lanes.served), LANE_CALLS / 2);
    free(ends);
    drain(w, 0);
    wait_for(w, &w->drained, 1);
    sy_server_free(sy_take(w->server));
    for (int i = 0; i < LANES; i++) {
        sy_loop_stop(lanes.loops[i]);
        pthread_join(threads[i], NULL);
    }
    struct sy_loop *loops[LANES];
    memcpy(loops, lanes.loops, sizeof(loops));
    close_world(w);
    for (int i = 0; i < LANES; i++)
        sy_loop_free(loops[i]);
}
END_TEST

/* In memory, where a world may end at any moment. */
START_TEST(a_world_ends_with_calls_in_progress)
{
    for (int turns = 0; turns < 12; turns++) {
        struct world *w = &world;
        struct end ends[3];
        struct sy_call *made[3];
        open_world(w, TRANSPORT_CARRIED_MEM);
        for (int i = 0; i < 3; i++)
            made[i] = call(&ends[i], w, i == 2 ? "/test.Test/Hold" : "/test.Test/Echo", "");
        for (int i = 0; i < turns; i++)
            sy_loop_turn(w->loop);
        for (int i = 0; i < 3; i++)
            if (ends[i].closes == 0)
                sy_call_drop(made[i]);
        sy_channel_free(w->channel);
        sy_channel_free(w->under);
        sy_server_free(w->server);
        for (int i = 0; i < 3; i++)
            end_deinit(&ends[i]);
        end_deinit(&w->server_end);
        sy_rpc_free(w->rpc);
        sy_loop_free(w->loop);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_is_said_by_hand_is_heard,
                                  a_late_answer_is_not_the_next_ones,
                                  nonsense_ends_the_stream_and_its_calls,
                                  a_stream_that_dies_ends_its_calls,
                                  a_peer_that_does_not_read_holds_up_nobody,
                                  a_channel_goes_with_calls_in_progress,
                                  many_calls_are_one_message,
                                  a_client_that_says_nonsense_is_closed,
                                  a_client_that_takes_no_answers_is_closed,
                                  calls_beyond_the_slots_go_as_calls,
                                  a_server_that_drains_answers_first,
                                  a_large_answer_is_an_answer_or_an_error,
                                  a_peer_that_knows_nothing_of_it_is_called,
                                  calls_go_on_at_other_loops,
                                  a_world_ends_with_calls_in_progress,
                                  NULL};
    return sy_test_run("rpc_carry", tests);
}
