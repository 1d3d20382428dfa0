/* Between tasks and the control plane: calls and replies, unread; and logs, on request. */
#include "agent/agent_impl.h"

#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define CALLS_BYTES_MAX ((size_t)16 << 20)
#define FIELD_CALLS 6
#define FIELD_CHUNKS 7

/* ---- calls ---- */

static void answer(struct ag_agent *agent, uint64_t id, uint64_t call, enum sy_code code,
                   const char *message)
{
    agent->ports.executor->ops->reply(agent->ports.executor, id, call, (uint32_t)code, message,
                                      (struct sy_span){0});
}

void ag_relay_call(void *ctx, uint64_t id, uint64_t worker_call, const char *method,
                   struct sy_span body)
{
    struct ag_agent *agent = ctx;
    struct ag_attempt *a = ag_attempt_find_id(agent, id);
    if (a == NULL)
        return;
    if (agent->link != AG_LINK_UP) {
        answer(agent, id, worker_call, SY_CODE_UNAVAILABLE, "the operator cannot be reached");
        return;
    }
    if (a->calls >= AG_CALLS_EACH_MAX || agent->out_calls.len + body.len > CALLS_BYTES_MAX) {
        answer(agent, id, worker_call, SY_CODE_RESOURCE_EXHAUSTED,
               "too many calls of this task are unanswered");
        return;
    }
    struct ag_call *call = sy_new(struct ag_call);
    call->number = ++agent->next_call;
    call->attempt_id = id;
    call->worker_call = worker_call;
    sy_map_add(&agent->calls, &call->link, &call->number, sizeof(call->number));
    a->calls++;
    Switchyard__Internal__TaskCall msg = SWITCHYARD__INTERNAL__TASK_CALL__INIT;
    msg.partition = a->key.partition;
    msg.action = a->key.action;
    msg.number = a->key.number;
    msg.epoch = a->key.epoch;
    msg.call = call->number;
    msg.method = (char *)(uintptr_t)method;
    msg.body.data = (uint8_t *)(uintptr_t)body.data;
    msg.body.len = body.len;
    ag_put_message(&agent->out_calls, FIELD_CALLS, &msg.base);
}

static void call_free(struct ag_agent *agent, struct ag_call *call)
{
    struct ag_attempt *a = ag_attempt_find_id(agent, call->attempt_id);
    if (a != NULL) {
        SY_ASSERT(a->calls > 0);
        a->calls--;
    }
    sy_map_remove(&agent->calls, &call->link);
    free(call);
}

void ag_relay_reply(struct ag_agent *agent, const struct ag_attempt_key *key, uint64_t number,
                    uint32_t code, const char *message, struct sy_span body)
{
    const struct ag_attempt *a = ag_attempt_find(agent, key);
    struct ag_call *call = sy_map_entry(sy_map_find(&agent->calls, &number, sizeof(number)),
                                        struct ag_call, link);
    if (call == NULL || a == NULL || call->attempt_id != a->id)
        return; /* its task has ended, or the stream on which it was asked */
    agent->ports.executor->ops->reply(agent->ports.executor, call->attempt_id, call->worker_call,
                                      code, message, body);
    call_free(agent, call);
}

void ag_relay_lost(struct ag_agent *agent)
{
    SY_MAP_EACH(&agent->calls, at, next)
    {
        struct ag_call *call = sy_map_entry(at, struct ag_call, link);
        answer(agent, call->attempt_id, call->worker_call, SY_CODE_UNAVAILABLE,
               "the operator was lost");
        call_free(agent, call);
    }
    if (agent->ports.logs != NULL)
        ag_logs_forget_reads(agent->ports.logs);
}

void ag_relay_forget(struct ag_agent *agent, struct ag_attempt *a)
{
    SY_MAP_EACH(&agent->calls, at, next)
    {
        struct ag_call *call = sy_map_entry(at, struct ag_call, link);
        if (call->attempt_id == a->id)
            call_free(agent, call);
    }
    SY_ASSERT(a->calls == 0);
}

/* ---- logs ---- */

void ag_relay_log(void *ctx, uint64_t id, uint32_t stream, struct sy_span data)
{
    struct ag_agent *agent = ctx;
    struct ag_attempt *a = ag_attempt_find_id(agent, id);
    if (a == NULL || agent->ports.logs == NULL)
        return;
    if (a->log == NULL)
        a->log = ag_log_open(agent->ports.logs, a->run, a->name, a->attempt);
    if (a->log != NULL)
        ag_log_append(a->log, sy_loop_realtime_ns(agent->ports.loop), (enum ag_log_stream)stream,
                      data);
}

void ag_relay_chunk(void *ctx, const struct ag_log_chunk *chunk)
{
    struct ag_agent *agent = ctx;
    if (agent->link != AG_LINK_UP)
        return;
    Switchyard__Internal__LogChunk msg = SWITCHYARD__INTERNAL__LOG_CHUNK__INIT;
    msg.read = chunk->read;
    msg.found = chunk->found;
    msg.number = chunk->number;
    msg.offset = chunk->offset;
    msg.data.data = (uint8_t *)(uintptr_t)chunk->data.data;
    msg.data.len = chunk->data.len;
    msg.next_offset = chunk->next_offset;
    msg.end = chunk->end;
    ag_put_message(&agent->out_chunks, FIELD_CHUNKS, &msg.base);
}

/* The unfinished attempt that is meant, the newest for number 0. A walk over what this node holds:
 * for people who look at a log, some ten times a second at most. */
static struct ag_attempt *find_unfinished(struct ag_agent *agent, const struct ag_log_read *read)
{
    struct ag_attempt *found = NULL;
    SY_MAP_EACH(&agent->by_id, at, next)
    {
        struct ag_attempt *a = sy_map_entry(at, struct ag_attempt, by_id);
        if (a->sm.state < AG_ATTEMPT_DONE && strcmp(a->name, read->name) == 0 &&
            strcmp(a->run, read->run) == 0 &&
            (read->number == 0 ? found == NULL || a->attempt > found->attempt
                               : a->attempt == read->number))
            found = a;
    }
    return found;
}

void ag_relay_log_read(struct ag_agent *agent, const struct ag_log_read *wanted)
{
    struct ag_log_read read = *wanted;
    struct ag_log_chunk chunk = {.read = read.read, .offset = read.offset, .end = true};
    if (agent->ports.logs == NULL) {
        ag_relay_chunk(agent, &chunk);
        return;
    }
    struct ag_attempt *a = find_unfinished(agent, &read);
    if (a != NULL) { /* open, also when nothing was written yet: so that one can wait for it */
        read.number = a->attempt;
        if (a->log == NULL)
            a->log = ag_log_open(agent->ports.logs, a->run, a->name, a->attempt);
    }
    if (ag_logs_read(agent->ports.logs, &read, &chunk) != AG_LOGS_E_WAITING)
        ag_relay_chunk(agent, &chunk);
}
