/* What the executor says: starts, results. An outcome is journaled, sent, and kept until it is
 * acknowledged. */
#include "agent/agent_impl.h"

#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define ERROR_CODE_MAX 128
#define ERROR_MESSAGE_MAX 4096
#define FIELD_STARTED 3

typedef Switchyard__Internal__Outcome outcome_msg;

/* ---- starts ---- */

static void list_starts_remove(struct ag_agent *agent, struct ag_attempt *a)
{
    if (a->start_previous != NULL)
        a->start_previous->start_next = a->start_next;
    else
        agent->starts.first = a->start_next;
    if (a->start_next != NULL)
        a->start_next->start_previous = a->start_previous;
    else
        agent->starts.last = a->start_previous;
    a->start_next = a->start_previous = NULL;
    a->telling_start = false;
}

void ag_report_no_start(struct ag_agent *agent, struct ag_attempt *a)
{
    if (a->telling_start)
        list_starts_remove(agent, a);
}

static void tell_start(struct ag_agent *agent, const struct ag_attempt *a)
{
    if (agent->link == AG_LINK_DOWN)
        return; /* the next inventory says it; one that has gone with the hello does not */
    Switchyard__Internal__Started msg = SWITCHYARD__INTERNAL__STARTED__INIT;
    msg.partition = a->key.partition;
    msg.action = a->key.action;
    msg.number = a->key.number;
    msg.epoch = a->key.epoch;
    msg.started_ns = a->started_ns;
    msg.node = agent->node;
    ag_put_message(&agent->out_started, FIELD_STARTED, &msg.base);
}

void ag_report_start_timer(void *arg)
{
    struct ag_agent *agent = arg;
    int64_t now_ns = sy_loop_now_ns(agent->ports.loop);
    while (agent->starts.first != NULL && agent->starts.first->tell_start_ns <= now_ns) {
        struct ag_attempt *a = agent->starts.first;
        list_starts_remove(agent, a);
        tell_start(agent, a);
    }
    if (agent->starts.first != NULL)
        sy_timer_start(agent->ports.loop, &agent->start_timer, agent->starts.first->tell_start_ns);
}

static void on_started(void *ctx, uint64_t id, int64_t started_ns)
{
    struct ag_agent *agent = ctx;
    struct ag_attempt *a = ag_attempt_find_id(agent, id);
    if (a == NULL || a->started || a->sm.state != AG_ATTEMPT_RUNNING)
        return;
    a->started = true;
    a->started_ns = started_ns;
    a->tell_start_ns = sy_loop_now_ns(agent->ports.loop) + agent->started_report_delay_ns;
    a->telling_start = true;
    a->start_previous = agent->starts.last;
    if (agent->starts.last != NULL)
        agent->starts.last->start_next = a;
    else
        agent->starts.first = a;
    agent->starts.last = a;
    if (!sy_timer_running(&agent->start_timer))
        sy_timer_start(agent->ports.loop, &agent->start_timer, a->tell_start_ns);
}

/* ---- texts ---- */

/* Bytes of a valid UTF-8 sequence at the start of `text`; 0: none. */
static size_t utf8_length(const unsigned char *text)
{
    size_t n = text[0] < 0x80   ? 1
               : text[0] < 0xc2 ? 0
               : text[0] < 0xe0 ? 2
               : text[0] < 0xf0 ? 3
               : text[0] < 0xf5 ? 4
                                : 0;
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return n;
}

/* Protobuf strings must be UTF-8, tasks' messages may be anything. Cut between characters. */
static char *clean_text(const char *text, size_t max)
{
    struct sy_buf buf = {0};
    const unsigned char *at = (const unsigned char *)(text != NULL ? text : "");
    while (*at != '\0') {
        size_t n = utf8_length(at);
        if (buf.len + (n > 0 ? n : 1) > max)
            break;
        if (n > 0)
            sy_buf_append(&buf, at, n);
        else
            sy_buf_append(&buf, "?", 1);
        at += n > 0 ? n : 1;
    }
    sy_buf_append(&buf, "", 1);
    return (char *)buf.data;
}

/* ---- outcomes ---- */

static void keep(struct ag_agent *agent, struct ag_attempt *a)
{
    ag_list_append(&agent->to_send, a);
    a->outcome_queued = true;
}

static void pack(struct ag_agent *agent, struct ag_attempt *a, outcome_msg *msg)
{
    msg->partition = a->key.partition;
    msg->action = a->key.action;
    msg->number = a->key.number;
    msg->epoch = a->key.epoch;
    msg->node = agent->node;
    size_t size = protobuf_c_message_get_packed_size(&msg->base);
    sy_buf_reserve(&a->outcome, size);
    pb_pack(&msg->base, &a->outcome);
    agent->ports.journal->ops->outcome(agent->ports.journal, &a->key, sy_buf_span(&a->outcome));
    a->journaled = true;
}

/* From its coming to its start, as far as its start is known. The start is told by another clock of
 * this machine, which may have been set meanwhile. */
static int64_t waited_ns(const struct ag_agent *agent, const struct ag_attempt *a,
                         const struct ag_result *result)
{
    int64_t here_ns = sy_loop_now_ns(agent->ports.loop) - a->arrived_ns;
    int64_t ago_ns = sy_loop_realtime_ns(agent->ports.loop) - result->started_ns;
    if (result->started_ns == 0 || ago_ns < 0)
        return 0;
    return ago_ns < here_ns ? here_ns - ago_ns : 0;
}

void ag_report_outcome(struct ag_agent *agent, struct ag_attempt *a, const struct ag_result *result,
                       const char *output_uri)
{
    outcome_msg msg = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    char *code SY_AUTOFREE = NULL;
    char *message SY_AUTOFREE = NULL;
    msg.kind = (Switchyard__Internal__OutcomeKind)result->kind;
    if (output_uri != NULL) {
        msg.output_uri = (char *)(uintptr_t)output_uri;
    } else {
        msg.output.data = (uint8_t *)(uintptr_t)result->output.data;
        msg.output.len = result->output.len;
    }
    if (result->kind != AG_RESULT_SUCCEEDED) {
        code = clean_text(result->error_code, ERROR_CODE_MAX);
        message = clean_text(result->error_message, ERROR_MESSAGE_MAX);
        msg.error_code = code;
        msg.error_message = message;
        msg.error_kind = (Switchyard__Internal__ErrorKind)result->error_kind;
    }
    msg.death = (Switchyard__Internal__Death)result->death;
    msg.waited_ns = waited_ns(agent, a, result);
    msg.started_ns = result->started_ns;
    msg.finished_ns = result->finished_ns;
    msg.memory_peak_bytes = result->memory_peak_bytes;
    msg.has_logs = a->log != NULL && ag_log_has_output(a->log);
    pack(agent, a, &msg);
    ag_attempt_move(agent, a, AG_ATTEMPT_DONE);
    ag_attempt_release(agent, a);
    keep(agent, a);
}

void ag_report_simple(struct ag_agent *agent, struct ag_attempt *a, enum ag_result_kind kind,
                      const char *code, const char *message)
{
    struct ag_result result = {
        .kind = kind,
        .error_code = code,
        .error_message = message,
        .started_ns = a->started_ns,
        .finished_ns = sy_loop_realtime_ns(agent->ports.loop),
    };
    ag_report_outcome(agent, a, &result, NULL);
}

void ag_report_left_over(struct ag_agent *agent, const struct ag_attempt_key *key, bool alone)
{
    struct ag_attempt *a = ag_attempt_new(agent, key, AG_ATTEMPT_DONE, "", "", (struct sy_span){0});
    outcome_msg msg = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    msg.kind = SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_LOST;
    msg.error_code = (char *)(uintptr_t) "AgentRestarted";
    msg.error_message = (char *)(uintptr_t) "the agent of this node ended while the task ran";
    msg.finished_ns = sy_loop_realtime_ns(agent->ports.loop);
    msg.death = alone ? SWITCHYARD__INTERNAL__DEATH__DEATH_ALONE
                      : SWITCHYARD__INTERNAL__DEATH__DEATH_NONE;
    pack(agent, a, &msg);
    keep(agent, a);
}

void ag_report_kept(struct ag_agent *agent, const struct ag_attempt_key *key,
                    struct sy_span outcome)
{
    struct ag_attempt *a = ag_attempt_new(agent, key, AG_ATTEMPT_DONE, "", "", (struct sy_span){0});
    a->outcome = sy_buf_copy(outcome.data, outcome.len);
    a->journaled = true;
    keep(agent, a);
}

/* ---- results ---- */

static void on_uploaded(void *ctx, const char *uri, const struct sy_error_text *error, bool final)
{
    struct ag_attempt *a = ctx;
    struct ag_agent *agent = a->agent;
    a->transfer = NULL;
    if (uri == NULL) { /* the task has succeeded, its output is lost: as if the node had failed */
        a->result.kind = final ? AG_RESULT_FAILED_FINAL : AG_RESULT_LOST;
        a->result.error_code = "OutputNotStored";
        a->result.error_message = error->text;
    }
    ag_report_outcome(agent, a, &a->result, uri);
}

static void upload(struct ag_agent *agent, struct ag_attempt *a, const struct ag_result *result)
{
    a->result = *result;
    a->result.error_code = a->result.error_message = "";
    a->result.output = (struct sy_span){0};
    a->result.output_path = NULL;
    ag_attempt_move(agent, a, AG_ATTEMPT_UPLOADING);
    ag_report_no_start(agent, a);
    a->transfer = result->output_path != NULL
                      ? ag_objects_put_file(agent->ports.objects, result->output_path, on_uploaded,
                                            a)
                      : ag_objects_put(agent->ports.objects, result->output, on_uploaded, a);
}

static void on_result(void *ctx, const struct ag_result *result)
{
    struct ag_agent *agent = ctx;
    struct ag_attempt *a = ag_attempt_find_id(agent, result->id);
    SY_ASSERT(a != NULL && a->sm.state == AG_ATTEMPT_RUNNING);
    ag_admit_ended(agent, a);
    if (result->kind == AG_RESULT_CANCELLED && !a->cancel_asked && !a->stop_asked) { /* of ours */
        ag_report_simple(agent, a, AG_RESULT_LOST, "NodeStopping",
                         "the node was stopped while the task ran");
        return;
    }
    if (result->kind != AG_RESULT_SUCCEEDED && a->stop_asked && !a->cancel_asked) {
        ag_report_simple(agent, a, AG_RESULT_LOST, "StoppedUnheard",
                         "its agent stopped it: it had no proof any more that those who could "
                         "begin it elsewhere heard of it");
        return;
    }
    bool in_file = result->output_path != NULL && result->output_path[0] != '\0';
    bool large = in_file || result->output.len > agent->inline_bytes_max;
    if (result->kind != AG_RESULT_SUCCEEDED || !large) {
        ag_report_outcome(agent, a, result, result->output_uri);
    } else if (agent->ports.objects == NULL) {
        ag_report_simple(agent, a, AG_RESULT_FAILED_FINAL, "OutputTooLarge",
                         "the output is too large to travel inline, and this node has no object "
                         "store");
    } else {
        upload(agent, a, result);
    }
}

const struct ag_executor_events ag_report_events = {
    .on_started = on_started,
    .on_result = on_result,
    .on_log = ag_relay_log,
    .on_call = ag_relay_call,
};
