/*
 * LogService.ReadLogs and DataProxyService.TailLogs: the log of one attempt, pulled from the agent
 * that has it; the second as lines, and always followed.
 *
 * One chunk at a time: it is asked for when the client has taken the one before. So a slow client
 * slows the pulling, and nothing piles up here. When the caller does not know the node, all
 * attached agents are asked first, and the newest attempt wins. Log records go through unread; only
 * their framing is checked and turned from that of the file (each with its length before) to that
 * of protobuf (a tag before that).
 */
#include "base/mem.h"
#include "dataplane/log_lines.h"
#include "dataplane/operator_impl.h"
#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "proto/pb.h"
#include "switchyard/v1/log_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READERS_MAX 1024
#define CHUNK_BYTES (256u << 10)
#define CHUNK_BYTES_MAX ((size_t)8 << 20) /* one record may be larger than what was asked for */
#define SEARCH_NS (5 * SY_NS_PER_S)
#define ANSWER_NS (30 * SY_NS_PER_S) /* an agent may wait 10 s for something to come */
#define PACE_NS (100 * SY_NS_PER_MS) /* between asking, when nothing was there */
#define RUN_MAX (3 * DP_NAME_MAX)

/*   SEARCHING --best answer--> ASKING <--> SENDING (until the client took it)
 *                                |  ^
 *                                v  |
 *                              PAUSED                     any --> gone
 */
enum reader_state { READER_SEARCHING, READER_ASKING, READER_SENDING, READER_PAUSED, READER_STATES };

static const struct sm_state reader_states[] = {
    [READER_SEARCHING] = {.name = "searching", .next = SM_BIT(READER_ASKING), .initial = true},
    [READER_ASKING] = {.name = "asking",
                       .next = SM_BIT(READER_SENDING) | SM_BIT(READER_PAUSED),
                       .initial = true},
    [READER_SENDING] = {.name = "sending", .next = SM_BIT(READER_ASKING)},
    [READER_PAUSED] = {.name = "paused", .next = SM_BIT(READER_ASKING)},
};
static const struct sm_table reader_table = {
    .name = "log reader",
    .states = reader_states,
    .count = READER_STATES,
};

struct reader {
    struct dp_operator *op;
    struct sy_call *call;
    struct sm sm;
    uint64_t id; /* LogRead.read */
    char run[RUN_MAX], name[DP_NAME_MAX];
    uint32_t number; /* 0 = the newest, until the first answer */
    uint64_t offset;
    bool follow;
    struct dp_log_lines *lines; /* TailLogs; NULL: ReadLogs */
    char node[DP_NAME_MAX];
    int64_t asked_ns;
    struct sy_timer timer;
    /* SEARCHING */
    uint64_t *asked; /* bit n: the agent in slot n has not answered */
    uint32_t asked_words, asked_count;
    UT_hash_handle hh; /* by id */
};

struct dp_logs {
    struct dp_operator *op;
    struct reader *readers;
    uint64_t next_id;
};

/* ---- ends ---- */

static void reader_free(struct reader *reader)
{
    struct dp_logs *logs = reader->op->logs;
    sy_timer_stop(reader->op->loop, &reader->timer);
    HASH_DEL(logs->readers, reader);
    if (reader->lines)
        dp_log_lines_deinit(reader->lines);
    free(reader->lines);
    free(reader->asked);
    free(reader);
}

static void SY_PRINTF(3, 4) end(struct reader *reader, enum sy_code code, const char *format, ...)
{
    struct sy_status status = {0};
    va_list args;
    va_start(args, format);
    sy_status_vset(&status, code, format, args);
    va_end(args);
    dp_links_end_call(&reader->op->links, reader->call, &status);
    sy_status_deinit(&status);
    reader_free(reader);
}

/* ---- asking agents ---- */

static void put_read(struct reader *reader, struct dp_agent *agent, uint32_t bytes_max, bool wait)
{
    struct sy_buf *record = &reader->op->scratch;
    sy_buf_clear(record);
    dp_wire_put_u64(record, 1, reader->id);
    dp_wire_put_text(record, 2, reader->run);
    dp_wire_put_text(record, 3, reader->name);
    dp_wire_put_u64(record, 4, reader->number);
    dp_wire_put_u64(record, 5, reader->offset);
    dp_wire_put_u64(record, 6, bytes_max);
    dp_wire_put_u64(record, 7, wait ? 1 : 0);
    dp_link_put(&agent->link, DP_TO_NODE_LOG_READS, sy_buf_span(record));
}

static void ask(struct reader *reader)
{
    struct dp_agent *agent = dp_agent_find(reader->op, reader->node);
    if (!agent && strcmp(reader->node, DP_OWN_NODE) == 0) {
        end(reader, SY_CODE_NOT_FOUND, "a task that only waits has no log");
        return;
    }
    if (!agent) {
        end(reader, SY_CODE_UNAVAILABLE, "node '%s' is not attached at the moment", reader->node);
        return;
    }
    if (reader->sm.state != READER_ASKING)
        sm_move(&reader->sm, &reader_table, READER_ASKING, reader);
    reader->asked_ns = sy_loop_now_ns(reader->op->loop);
    put_read(reader, agent, CHUNK_BYTES, reader->follow);
    sy_timer_start_in(reader->op->loop, &reader->timer, ANSWER_NS);
}

/* ---- looking for the node ---- */

static void decide(struct reader *reader)
{
    struct dp_operator *op = reader->op;
    if (reader->node[0]) {
        ask(reader);
        return;
    }
    size_t away = reader->asked_count;
    if (away == 0 && sch_operator_inventory_complete(op->core))
        end(reader, SY_CODE_NOT_FOUND,
            "no node of cluster '%s' has a log of action '%s' of run '%s'", op->cluster,
            reader->name, reader->run);
    else
        end(reader, SY_CODE_UNAVAILABLE,
            "no log of action '%s' of run '%s' was found, but not all nodes of "
            "cluster '%s' have answered",
            reader->name, reader->run, op->cluster);
}

static void search(struct reader *reader)
{
    struct dp_operator *op = reader->op;
    reader->asked_words = op->slot_count / 64 + 1;
    reader->asked = sy_calloc(reader->asked_words, sizeof(*reader->asked));
    for (uint32_t slot = 0; slot < op->slot_count; slot++) {
        struct dp_agent *agent = op->slots[slot];
        if (!agent)
            continue;
        reader->asked[slot / 64] |= 1ull << (slot % 64);
        reader->asked_count++;
        put_read(reader, agent, 1, false);
    }
    if (reader->asked_count == 0)
        decide(reader);
    else
        sy_timer_start_in(op->loop, &reader->timer, SEARCH_NS);
}

static bool take_answer(struct reader *reader, const struct dp_agent *agent)
{
    uint64_t bit = 1ull << (agent->slot % 64);
    if (agent->slot / 64 >= reader->asked_words || !(reader->asked[agent->slot / 64] & bit))
        return false;
    reader->asked[agent->slot / 64] &= ~bit;
    reader->asked_count--;
    return true;
}

static void on_timer(void *arg)
{
    struct reader *reader = arg;
    dp_touch(reader->op);
    switch ((enum reader_state)reader->sm.state) {
    case READER_SEARCHING:
        decide(reader);
        break;
    case READER_ASKING:
        end(reader, SY_CODE_UNAVAILABLE, "node '%s' does not answer", reader->node);
        break;
    case READER_PAUSED:
        ask(reader);
        break;
    default:
        break;
    }
}

/* ---- chunks ---- */

struct chunk {
    uint64_t read, number, offset, next_offset;
    bool found, end;
    struct sy_span data;
};

static bool read_chunk(struct sy_span span, struct chunk *ret)
{
    uint64_t found = 0, last = 0;
    uint64_t *const varints[] = {NULL, &ret->read,        &found, &ret->number, &ret->offset,
                                 NULL, &ret->next_offset, &last};
    struct dp_wire_field field;
    int r;
    *ret = (struct chunk){0};
    while ((r = dp_wire_next(&span, &field)) == 0) {
        if (field.number == 5 && field.type == DP_WIRE_BYTES)
            ret->data = field.bytes;
        else if (field.number < SY_COUNT_OF(varints) && varints[field.number] &&
                 field.type == DP_WIRE_VARINT)
            *varints[field.number] = field.value;
        else if (field.number < SY_COUNT_OF(varints))
            return false;
    }
    ret->found = found != 0;
    ret->end = last != 0;
    return r == DP_WIRE_E_END;
}

/* Records each with their length before become a ReadLogsResponse, or the lines of a Logs. */
static bool add_records(struct reader *reader, struct sy_span data, struct sy_buf *to)
{
    sy_buf_reserve(to, data.len + data.len / 32 + 64);
    while (data.len > 0) {
        uint64_t len;
        if (dp_wire_take_varint(&data, &len) < 0 || len > data.len)
            return false;
        struct sy_span record = {data.data, (size_t)len};
        if (!reader->lines)
            dp_wire_put_record(to, 1, record);
        else if (!dp_log_lines_add(reader->lines, record, to))
            return false;
        data.data += len;
        data.len -= (size_t)len;
    }
    return true;
}

static bool make_response(struct reader *reader, const struct chunk *chunk, struct sy_buf *response)
{
    if (!reader->lines)
        return add_records(reader, chunk->data, response);
    struct sy_buf logs = {0};
    bool ok = add_records(reader, chunk->data, &logs);
    if (chunk->end)
        dp_log_lines_end(reader->lines, &logs);
    if (logs.len > 0)
        dp_wire_put_record(response, 1, sy_buf_span(&logs));
    sy_buf_deinit(&logs);
    return ok;
}

static void pause_reading(struct reader *reader)
{
    sm_move(&reader->sm, &reader_table, READER_PAUSED, reader);
    sy_timer_start(reader->op->loop, &reader->timer, reader->asked_ns + PACE_NS);
}

static void send_chunk(struct reader *reader, const struct chunk *chunk)
{
    struct sy_buf response = {0};
    bool moved = chunk->next_offset > reader->offset || chunk->data.len == 0;
    if (!moved || chunk->offset != reader->offset || chunk->data.len > CHUNK_BYTES_MAX ||
        !make_response(reader, chunk, &response)) {
        sy_buf_deinit(&response);
        end(reader, SY_CODE_INTERNAL, "node '%s' sent a malformed log chunk", reader->node);
        return;
    }
    reader->offset = chunk->next_offset;
    int r = sy_call_send(reader->call, &response);
    SY_ASSERT(r == 0); /* what came before was taken */
    if (chunk->end) {
        end(reader, SY_CODE_OK, "%s", "");
        return;
    }
    sm_move(&reader->sm, &reader_table, READER_SENDING, reader);
    sy_timer_stop(reader->op->loop, &reader->timer);
    (void)sy_call_ready(reader->call); /* on_writable goes on, in any case */
}

static void on_answer(struct reader *reader, const struct chunk *chunk)
{
    if (!chunk->found) {
        end(reader, SY_CODE_NOT_FOUND, "node '%s' has no log of action '%s' of run '%s'",
            reader->node, reader->name, reader->run);
        return;
    }
    reader->number = (uint32_t)chunk->number;
    if (chunk->data.len > 0 || (chunk->end && reader->lines))
        send_chunk(reader, chunk);
    else if (chunk->end || !reader->follow)
        end(reader, SY_CODE_OK, "%s", "");
    else
        pause_reading(reader);
}

bool dp_logs_chunk(struct dp_agent *agent, struct sy_span span)
{
    struct dp_logs *logs = agent->op->logs;
    struct chunk chunk;
    if (!read_chunk(span, &chunk))
        return false;
    struct reader *reader;
    HASH_FIND(hh, logs->readers, &chunk.read, sizeof(chunk.read), reader);
    if (!reader)
        return true; /* its client has gone */
    if (reader->sm.state == READER_SEARCHING && take_answer(reader, agent)) {
        if (chunk.found && (!reader->node[0] || chunk.number > reader->number)) {
            memcpy(reader->node, agent->node, sizeof(reader->node));
            reader->number = (uint32_t)chunk.number;
        }
        if (reader->asked_count == 0)
            decide(reader);
    } else if (reader->sm.state == READER_ASKING && strcmp(reader->node, agent->node) == 0) {
        on_answer(reader, &chunk);
    }
    return true;
}

void dp_logs_agent_gone(struct dp_agent *agent)
{
    struct reader *reader, *next;
    for (reader = agent->op->logs->readers; reader; reader = next) {
        next = reader->hh.next;
        if (reader->sm.state == READER_SEARCHING) {
            if (take_answer(reader, agent))
                end(reader, SY_CODE_UNAVAILABLE,
                    "node '%s' went away while its logs were looked through", agent->node);
        } else if (strcmp(reader->node, agent->node) == 0) {
            end(reader, SY_CODE_UNAVAILABLE,
                "node '%s' went away; its log can be read when it is back", agent->node);
        }
    }
}

/* ---- the call ---- */

static void on_writable(void *ctx)
{
    struct reader *reader = ctx;
    dp_touch(reader->op);
    if (reader->sm.state == READER_SENDING)
        ask(reader);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    struct reader *reader = ctx;
    sy_call_unref(reader->call);
    reader_free(reader);
}

static const struct sy_call_sink reader_sink = {.on_writable = on_writable, .on_closed = on_closed};

static bool is_name(const char *text)
{
    char name[DP_NAME_MAX];
    return dp_copy_name(name, sizeof(name), text, false) && !strchr(text, '/');
}

/* Whose log; texts of a request. */
struct subject {
    const char *project, *domain, *run, *action, *node; /* node "": wherever it is */
    uint32_t attempt;
    bool follow, lines;
};

static struct reader *reader_new(struct dp_logs *logs, struct sy_call *call,
                                 const struct subject *subject)
{
    struct reader *reader = sy_new(struct reader);
    reader->op = logs->op;
    reader->call = call;
    reader->id = ++logs->next_id;
    int len = snprintf(reader->run, sizeof(reader->run), "%s/%s/%s", subject->project,
                       subject->domain, subject->run);
    SY_ASSERT(len > 0 && (size_t)len < sizeof(reader->run));
    memcpy(reader->name, subject->action, strlen(subject->action) + 1);
    memcpy(reader->node, subject->node, strlen(subject->node) + 1);
    reader->number = subject->attempt;
    reader->follow = subject->follow;
    reader->lines = subject->lines ? sy_new(struct dp_log_lines) : NULL;
    sy_timer_init(&reader->timer, on_timer, reader);
    sm_init(&reader->sm, &reader_table, reader->node[0] ? READER_ASKING : READER_SEARCHING);
    HASH_ADD(hh, logs->readers, id, sizeof(reader->id), reader);
    return reader;
}

static void start_reading(struct dp_operator *op, struct sy_call *call,
                          const struct subject *subject)
{
    if (!is_name(subject->project) || !is_name(subject->domain) || !is_name(subject->run) ||
        !is_name(subject->action)) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "project, domain, name of the run and action are needed: 1 to %d printable "
                     "characters each, without blanks and slashes",
                     DP_NAME_MAX - 1);
    } else if (subject->node[0] && !is_name(subject->node)) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT, "node: '%.80s' is not a node's name",
                     subject->node);
    } else if (HASH_COUNT(op->logs->readers) >= READERS_MAX) {
        sy_call_fail(call, SY_CODE_RESOURCE_EXHAUSTED,
                     "%d logs are being read, the most allowed; try again later", READERS_MAX);
    } else if (op->sm.state != DP_RUNNING) {
        sy_call_fail(call, SY_CODE_UNAVAILABLE, "the operator is stopping");
    } else {
        struct reader *reader = reader_new(op->logs, call, subject);
        sy_call_set_sink(call, &reader_sink, reader);
        if (reader->node[0])
            ask(reader);
        else
            search(reader);
    }
}

void dp_logs_read(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_operator *op = ctx;
    dp_touch(op);
    sy_arena_reset(&op->arena);
    const Switchyard__V1__ReadLogsRequest *request = pb_unpack(
        &switchyard__v1__read_logs_request__descriptor, &op->arena, span);
    if (!request || !request->run ||
        pb_find_nul(&switchyard__v1__read_logs_request__descriptor, span)) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "malformed request, without run, or a NUL byte in a string");
        return;
    }
    start_reading(op, call,
                  &(struct subject){.project = request->run->project,
                                    .domain = request->run->domain,
                                    .run = request->run->name,
                                    .action = request->action,
                                    .node = request->node,
                                    .attempt = request->attempt,
                                    .follow = request->follow});
}

void dp_logs_tail(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_operator *op = ctx;
    dp_touch(op);
    sy_arena_reset(&op->arena);
    const Flyteidl2__Dataproxy__TailLogsRequest *request = pb_unpack(
        &flyteidl2__dataproxy__tail_logs_request__descriptor, &op->arena, span);
    const Flyteidl2__Common__ActionIdentifier *action = request ? request->action_id : NULL;
    if (!action || !action->run ||
        pb_find_nul(&flyteidl2__dataproxy__tail_logs_request__descriptor, span)) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "malformed request, without action_id, or a NUL byte in a string");
        return;
    }
    start_reading(op, call,
                  &(struct subject){.project = action->run->project,
                                    .domain = action->run->domain,
                                    .run = action->run->name,
                                    .action = action->name,
                                    .node = "",
                                    .attempt = request->attempt,
                                    .follow = true,
                                    .lines = true});
}

struct dp_logs *dp_logs_new(struct dp_operator *op)
{
    struct dp_logs *logs = sy_new(struct dp_logs);
    logs->op = op;
    return logs;
}

void dp_logs_stop(struct dp_logs *logs)
{
    struct reader *reader, *next;
    for (reader = logs->readers; reader; reader = next) {
        next = reader->hh.next;
        end(reader, SY_CODE_UNAVAILABLE, "the operator is stopping");
    }
}

void dp_logs_free(struct dp_logs *logs)
{
    if (!logs)
        return;
    dp_logs_stop(logs);
    SY_ASSERT(!logs->readers);
    free(logs);
}
