/* links: dp */
/* LogService.ReadLogs over fake agents with logs in memory. */
#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "switchyard/v1/log_service.pb-c.h"
#include "tests/unit/test_dp_agents.h"

#define LINE_BYTES 1000

/* What a fake agent has of action "a1" of run p/d/r. */
struct fake_log {
    size_t lines, asked;
    uint64_t waiting_read, waiting_offset;
    uint32_t number; /* 0: nothing */
    bool ended, silent, broken;
    bool hasty; /* answers at once, also when it should wait */
    bool newlines;
    bool waiting; /* a LogRead with wait that found nothing new */
};

static void put_line(struct sy_buf *data, size_t number, bool newline)
{
    uint8_t text[LINE_BYTES];
    memset(text, 'x', sizeof(text));
    snprintf((char *)text, sizeof(text), "%zu", number);
    if (newline) {
        text[strlen((char *)text)] = ' ';
        text[sizeof(text) - 1] = '\n';
    }
    Switchyard__V1__LogRecord record = SWITCHYARD__V1__LOG_RECORD__INIT;
    record.time_ns = (int64_t)number;
    record.stream = 1;
    record.data = (ProtobufCBinaryData){sizeof(text), text};
    size_t len = protobuf_c_message_get_packed_size(&record.base);
    dp_wire_put_varint(data, len);
    pack_into(data, &record.base);
}

/* Offsets count lines here: to the operator they are opaque. */
static void answer(struct fake_agent *agent, uint64_t read, uint64_t offset, uint32_t bytes_max)
{
    struct fake_log *log = agent->log_ctx;
    struct sy_buf data = {0};
    uint64_t next = offset;
    while (log->number > 0 && next < log->lines && (next == offset || data.len < bytes_max))
        put_line(&data, next++, log->newlines);
    if (log->broken)
        sy_buf_append(&data, "\x7f", 1);
    PB(LogChunk) chunk = PB_INIT(LOG_CHUNK), *list[] = {&chunk};
    chunk.read = read;
    chunk.found = log->number > 0;
    chunk.number = log->number;
    chunk.offset = offset;
    chunk.next_offset = next;
    chunk.data = (ProtobufCBinaryData){data.len, data.data};
    chunk.end = log->ended && next == log->lines;
    PB(AgentMessage) message = PB_INIT(AGENT_MESSAGE);
    message.log_chunks = list;
    message.n_log_chunks = 1;
    agent_send(agent, &message);
    sy_buf_deinit(&data);
}

static void on_log_read(struct fake_agent *agent, const PB(LogRead) * read)
{
    struct fake_log *log = agent->log_ctx;
    log->asked++;
    ck_assert_str_eq(read->run, "p/d/r");
    ck_assert_str_eq(read->name, "a1");
    if (log->silent)
        return;
    if (read->wait && !log->hasty && !log->ended && read->offset >= log->lines && log->number > 0) {
        log->waiting = true;
        log->waiting_read = read->read;
        log->waiting_offset = read->offset;
        return;
    }
    answer(agent, read->read, read->offset, read->bytes_max);
}

static void log_grows(struct fake_agent *agent, size_t lines, bool ended)
{
    struct fake_log *log = agent->log_ctx;
    log->lines += lines;
    log->ended = ended;
    if (log->waiting)
        answer(agent, log->waiting_read, log->waiting_offset, 1 << 16);
    log->waiting = false;
}

static struct fake_agent *log_agent(struct world *w, const char *node, struct fake_log *log)
{
    struct fake_agent *agent = agent_join(w, node, "s1", 1000);
    agent->on_log_read = on_log_read;
    agent->log_ctx = log;
    return agent;
}

struct reader {
    struct sy_channel *channel;
    struct sy_call *call;
    size_t records, messages;
    bool ordered;
    enum sy_code code;
    struct sy_error_text text;
};

static void reader_message(void *ctx, struct sy_span span)
{
    struct reader *reader = ctx;
    Switchyard__V1__ReadLogsResponse *m = switchyard__v1__read_logs_response__unpack(NULL, span.len,
                                                                                     span.data);
    ck_assert_ptr_nonnull(m);
    for (size_t i = 0; i < m->n_records; i++) {
        ck_assert_uint_eq(m->records[i]->data.len, LINE_BYTES);
        reader->ordered = reader->ordered && (size_t)m->records[i]->time_ns == reader->records;
        reader->records++;
    }
    reader->messages++;
    switchyard__v1__read_logs_response__free_unpacked(m, NULL);
}

static void reader_closed(void *ctx, const struct sy_status *status)
{
    struct reader *reader = ctx;
    reader->code = status->code;
    reader->text = status->message;
    sy_call_unref(sy_take(reader->call));
}

static const struct sy_call_sink reader_sink = {.on_message = reader_message,
                                                .on_closed = reader_closed};

static void read_logs(struct world *w, struct reader *reader, const char *action, const char *node,
                      uint32_t attempt, bool follow)
{
    *reader = (struct reader){.ordered = true, .code = SY_CODE_UNKNOWN};
    sy_rpc_mem_set_origin(w->rpc, "client");
    reader->channel = sy_channel_new(w->rpc, "operator");
    struct sy_call_options options = {.method = "/switchyard.v1.LogService/ReadLogs"};
    reader->call = sy_channel_open(reader->channel, w->peers, &options, &reader_sink, reader);
    Switchyard__V1__RunId run = SWITCHYARD__V1__RUN_ID__INIT;
    run.project = (char *)(uintptr_t) "p";
    run.domain = (char *)(uintptr_t) "d";
    run.name = (char *)(uintptr_t) "r";
    Switchyard__V1__ReadLogsRequest request = SWITCHYARD__V1__READ_LOGS_REQUEST__INIT;
    request.run = &run;
    request.action = (char *)(uintptr_t)action;
    request.node = (char *)(uintptr_t)node;
    request.attempt = attempt;
    request.follow = follow;
    send_message(reader->call, &request.base);
    sy_call_half_close(reader->call);
}

static const struct sy_call_sink deaf_sink = {0};

static void reader_end(struct reader *reader)
{
    if (reader->call) {
        sy_call_set_sink(reader->call, &deaf_sink, NULL);
        sy_call_finish(reader->call, NULL);
        sy_call_unref(sy_take(reader->call));
    }
    sy_channel_free(reader->channel);
}

START_TEST(finished_log_is_read_whole)
{
    struct world w;
    struct fake_log log = {.number = 2, .lines = 3000, .ended = true};
    struct reader reader;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = log_agent(&w, "n1", &log);
    world_run(&w, SEC);
    read_logs(&w, &reader, "a1", "n1", 2, false);
    world_run(&w, SEC);
    ck_assert_int_eq(reader.code, SY_CODE_OK);
    ck_assert_uint_eq(reader.records, 3000);
    ck_assert(reader.ordered);
    ck_assert_uint_gt(log.asked, 5);
    reader_end(&reader);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(without_a_node_the_newest_attempt_is_found)
{
    struct world w;
    struct fake_log logs[3] = {
        {.number = 1, .lines = 5, .ended = true}, {.number = 3, .lines = 7, .ended = true}, {0}};
    struct reader reader;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agents[3] = {log_agent(&w, "n1", &logs[0]), log_agent(&w, "n2", &logs[1]),
                                    log_agent(&w, "n3", &logs[2])};
    world_run(&w, SEC);
    read_logs(&w, &reader, "a1", "", 0, false);
    world_run(&w, SEC);
    ck_assert_int_eq(reader.code, SY_CODE_OK);
    ck_assert_uint_eq(reader.records, 7);
    reader_end(&reader);
    logs[0].number = logs[1].number = 0;
    read_logs(&w, &reader, "a1", "", 0, false);
    world_run(&w, SEC);
    ck_assert_int_eq(reader.code, SY_CODE_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(reader.text.text, "a1"));
    reader_end(&reader);
    logs[2].silent = true; /* somebody who might have it does not answer */
    read_logs(&w, &reader, "a1", "", 0, false);
    world_run(&w, 10 * SEC);
    ck_assert_int_eq(reader.code, SY_CODE_UNAVAILABLE);
    reader_end(&reader);
    read_logs(&w, &reader, "a1", "", 0, false);
    world_run(&w, 100 * MS);
    agent_kill(agents[2]);
    world_run(&w, 100 * MS);
    ck_assert_int_eq(reader.code, SY_CODE_UNAVAILABLE);
    reader_end(&reader);
    for (size_t i = 0; i < 3; i++)
        agent_free(agents[i]);
    world_deinit(&w);
}
END_TEST

START_TEST(no_agents_no_log)
{
    struct world w;
    struct reader reader;
    world_init(&w);
    world_start(&w);
    read_logs(&w, &reader, "a1", "", 0, false);
    world_run(&w, 100 * MS);
    ck_assert_int_eq(reader.code, SY_CODE_UNAVAILABLE); /* agents may still come */
    reader_end(&reader);
    world_run(&w, SEC);
    read_logs(&w, &reader, "a1", "", 0, false);
    world_run(&w, 100 * MS);
    ck_assert_int_eq(reader.code, SY_CODE_NOT_FOUND);
    reader_end(&reader);
    read_logs(&w, &reader, "a1", "n9", 0, false);
    world_run(&w, 100 * MS);
    ck_assert_int_eq(reader.code, SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(reader.text.text, "n9"));
    reader_end(&reader);
    world_deinit(&w);
}
END_TEST

START_TEST(running_log_is_followed_to_its_end)
{
    struct world w;
    struct fake_log log = {.number = 1, .lines = 2};
    struct reader reader;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = log_agent(&w, "n1", &log);
    world_run(&w, SEC);
    read_logs(&w, &reader, "a1", "n1", 0, true);
    world_run(&w, SEC);
    ck_assert_uint_eq(reader.records, 2);
    ck_assert_ptr_nonnull(reader.call);
    log_grows(agent, 0, false); /* its 10 s have passed with nothing new */
    world_run(&w, SEC);
    log_grows(agent, 3, false);
    world_run(&w, SEC);
    ck_assert_uint_eq(reader.records, 5);
    ck_assert_uint_lt(log.asked, 8); /* no spinning */
    log_grows(agent, 1, true);
    world_run(&w, SEC);
    ck_assert_uint_eq(reader.records, 6);
    ck_assert(reader.ordered);
    ck_assert_int_eq(reader.code, SY_CODE_OK);
    reader_end(&reader);
    /* Without follow it ends where the log ends now. */
    log.ended = false;
    read_logs(&w, &reader, "a1", "n1", 0, false);
    world_run(&w, SEC);
    ck_assert_int_eq(reader.code, SY_CODE_OK);
    ck_assert_uint_eq(reader.records, 6);
    reader_end(&reader);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(hasty_agent_is_not_asked_all_the_time)
{
    struct world w;
    struct fake_log log = {.number = 1, .lines = 2, .hasty = true};
    struct reader reader;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = log_agent(&w, "n1", &log);
    world_run(&w, SEC);
    read_logs(&w, &reader, "a1", "n1", 0, true);
    world_run(&w, SEC);
    ck_assert_uint_ge(log.asked, 5);
    ck_assert_uint_le(log.asked, 15);
    reader_end(&reader);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(slow_client_slows_the_pulling)
{
    struct world w;
    struct fake_log log = {.number = 1, .lines = 20000, .ended = true};
    struct reader reader;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = log_agent(&w, "n1", &log);
    world_run(&w, SEC);
    w.delay_to_client_ns = 10 * SEC;
    read_logs(&w, &reader, "a1", "n1", 0, false);
    world_run(&w, 9 * SEC);
    ck_assert_uint_le(log.asked, 2);
    w.delay_to_client_ns = 0;
    world_run(&w, 20 * SEC);
    ck_assert_uint_eq(reader.records, 20000);
    ck_assert_int_eq(reader.code, SY_CODE_OK);
    reader_end(&reader);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(agent_that_goes_away_is_told)
{
    struct world w;
    struct fake_log log = {.number = 1, .lines = 2};
    struct reader reader;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = log_agent(&w, "n1", &log);
    world_run(&w, SEC);
    read_logs(&w, &reader, "a1", "n1", 0, true);
    world_run(&w, SEC);
    agent_kill(agent);
    world_run(&w, SEC);
    ck_assert_int_eq(reader.code, SY_CODE_UNAVAILABLE);
    ck_assert_uint_eq(reader.records, 2);
    reader_end(&reader);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(agent_that_does_not_answer_or_lies)
{
    struct world w;
    struct fake_log log = {.number = 1, .lines = 2, .silent = true};
    struct reader reader;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = log_agent(&w, "n1", &log);
    world_run(&w, SEC);
    read_logs(&w, &reader, "a1", "n1", 0, true);
    world_run(&w, 40 * SEC);
    ck_assert_int_eq(reader.code, SY_CODE_UNAVAILABLE);
    reader_end(&reader);
    log = (struct fake_log){.number = 1, .lines = 2, .broken = true};
    read_logs(&w, &reader, "a1", "n1", 0, false);
    world_run(&w, SEC);
    ck_assert_int_eq(reader.code, SY_CODE_INTERNAL);
    ck_assert_ptr_nonnull(agent->call);
    reader_end(&reader);
    log = (struct fake_log){0};
    read_logs(&w, &reader, "a1", "n1", 0, false);
    world_run(&w, SEC);
    ck_assert_int_eq(reader.code, SY_CODE_NOT_FOUND);
    reader_end(&reader);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(client_that_leaves_is_forgotten)
{
    struct world w;
    struct fake_log log = {.number = 1, .lines = 2};
    struct reader reader;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = log_agent(&w, "n1", &log);
    world_run(&w, SEC);
    read_logs(&w, &reader, "a1", "n1", 0, true);
    world_run(&w, SEC);
    reader_end(&reader);
    world_run(&w, SEC);
    log_grows(agent, 3, true); /* an answer that nobody waits for */
    world_run(&w, SEC);
    ck_assert_ptr_nonnull(agent->call);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(bad_requests_are_named)
{
    static const char *const actions[] = {
        "", "a b", "a/1", "a\x01",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    struct world w;
    struct reader reader;
    world_init(&w);
    world_start(&w);
    for (size_t i = 0; i < SY_COUNT_OF(actions); i++) {
        read_logs(&w, &reader, actions[i], "", 0, false);
        world_run(&w, 10 * MS);
        ck_assert_int_eq(reader.code, SY_CODE_INVALID_ARGUMENT);
        reader_end(&reader);
    }
    read_logs(&w, &reader, "a1", "../n", 0, false);
    world_run(&w, 10 * MS);
    ck_assert_int_eq(reader.code, SY_CODE_INVALID_ARGUMENT);
    reader_end(&reader);
    world_deinit(&w);
}
END_TEST

START_TEST(readers_end_when_the_operator_stops_or_dies)
{
    for (int crash = 0; crash < 2; crash++) {
        struct world w;
        struct fake_log log = {.number = 1, .lines = 2};
        struct reader reader, searching;
        world_init(&w);
        world_start(&w);
        struct fake_agent *agent = log_agent(&w, "n1", &log);
        world_run(&w, SEC);
        read_logs(&w, &reader, "a1", "n1", 0, true);
        world_run(&w, SEC);
        log.silent = true;
        read_logs(&w, &searching, "a1", "", 0, true);
        world_run(&w, 100 * MS);
        dp_operator_free(sy_take(w.op));
        world_run(&w, SEC);
        ck_assert_int_eq(reader.code, SY_CODE_UNAVAILABLE);
        ck_assert_int_eq(searching.code, SY_CODE_UNAVAILABLE);
        reader_end(&reader);
        reader_end(&searching);
        agent_free(agent);
        world_deinit(&w);
    }
}
END_TEST

/* ---- TailLogs ---- */

struct tail {
    struct sy_call *call;
    size_t lines;
    enum sy_code code;
};

static void tail_message(void *ctx, struct sy_span span)
{
    struct tail *tail = ctx;
    Flyteidl2__Dataproxy__TailLogsResponse *m = flyteidl2__dataproxy__tail_logs_response__unpack(
        NULL, span.len, span.data);
    ck_assert_ptr_nonnull(m);
    for (size_t i = 0; i < m->n_logs; i++) {
        for (size_t j = 0; j < m->logs[i]->n_lines; j++) {
            const char *text = m->logs[i]->lines[j]->message;
            ck_assert_uint_eq(strtoul(text, NULL, 10), tail->lines++);
            ck_assert_uint_eq(strlen(text), LINE_BYTES);
        }
    }
    flyteidl2__dataproxy__tail_logs_response__free_unpacked(m, NULL);
}

static void tail_closed(void *ctx, const struct sy_status *status)
{
    struct tail *tail = ctx;
    tail->code = status->code;
    sy_call_unref(sy_take(tail->call));
}

static const struct sy_call_sink tail_sink = {.on_message = tail_message, .on_closed = tail_closed};

static void tail_logs(struct world *w, struct sy_channel *channel, struct tail *tail,
                      const char *action)
{
    *tail = (struct tail){.code = SY_CODE_UNKNOWN};
    struct sy_call_options options = {.method = "/flyteidl2.dataproxy.DataProxyService/TailLogs"};
    tail->call = sy_channel_open(channel, w->peers, &options, &tail_sink, tail);
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    Flyteidl2__Common__ActionIdentifier id = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Dataproxy__TailLogsRequest request = FLYTEIDL2__DATAPROXY__TAIL_LOGS_REQUEST__INIT;
    run.project = (char *)(uintptr_t) "p";
    run.domain = (char *)(uintptr_t) "d";
    run.name = (char *)(uintptr_t) "r";
    id.run = &run;
    id.name = (char *)(uintptr_t)action;
    request.action_id = &id;
    request.attempt = 1;
    send_message(tail->call, &request.base);
    sy_call_half_close(tail->call);
}

START_TEST(lines_are_followed_to_the_end)
{
    struct world w;
    struct fake_log log = {.number = 1, .lines = 700, .newlines = true};
    struct tail tail;
    world_init(&w);
    world_start(&w);
    struct fake_agent *agent = log_agent(&w, "n1", &log);
    world_run(&w, SEC);
    sy_rpc_mem_set_origin(w.rpc, "client");
    struct sy_channel *channel = sy_channel_new(w.rpc, "operator");
    tail_logs(&w, channel, &tail, "a1");
    world_run(&w, SEC);
    ck_assert_uint_eq(tail.lines, 700);
    ck_assert_int_eq(tail.code, SY_CODE_UNKNOWN);
    log_grows(agent, 5, true);
    world_run(&w, SEC);
    ck_assert_uint_eq(tail.lines, 705);
    ck_assert_int_eq(tail.code, SY_CODE_OK);
    log.number = 0; /* not yet: the SDK asks again */
    tail_logs(&w, channel, &tail, "a1");
    world_run(&w, 6 * SEC);
    ck_assert_int_eq(tail.code, SY_CODE_NOT_FOUND);
    tail_logs(&w, channel, &tail, "a/1");
    world_run(&w, SEC);
    ck_assert_int_eq(tail.code, SY_CODE_INVALID_ARGUMENT);
    sy_channel_free(channel);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        finished_log_is_read_whole,
        without_a_node_the_newest_attempt_is_found,
        no_agents_no_log,
        running_log_is_followed_to_its_end,
        hasty_agent_is_not_asked_all_the_time,
        slow_client_slows_the_pulling,
        agent_that_goes_away_is_told,
        agent_that_does_not_answer_or_lies,
        client_that_leaves_is_forgotten,
        bad_requests_are_named,
        lines_are_followed_to_the_end,
        readers_end_when_the_operator_stops_or_dies,
        NULL,
    };
    return sy_test_run("dp_logs", tests);
}
