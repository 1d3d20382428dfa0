/* What the operator says, in the order of the field numbers of NodeMessage. */
#include "agent/agent_impl.h"

#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Switchyard__Internal__Assignment assignment_msg;

/* ---- assignments ---- */

/* False when a newer epoch of that partition has been seen. */
static bool epoch_current(struct ag_agent *agent, uint32_t partition, uint32_t epoch)
{
    struct ag_epoch *entry = sy_map_entry(
        sy_map_find(&agent->epochs, &partition, sizeof(partition)), struct ag_epoch, link);
    if (entry == NULL) {
        entry = sy_new(struct ag_epoch);
        entry->partition = partition;
        sy_map_add(&agent->epochs, &entry->link, &entry->partition, sizeof(entry->partition));
    }
    if (epoch > entry->epoch)
        entry->epoch = epoch;
    return epoch == entry->epoch;
}

static void on_input(void *ctx, const char *path, const struct sy_error_text *error, bool final)
{
    struct ag_attempt *a = ctx;
    struct ag_agent *agent = a->agent;
    a->transfer = NULL;
    if (path == NULL) {
        ag_report_simple(agent, a, final ? AG_RESULT_FAILED_FINAL : AG_RESULT_REFUSED,
                         "InputNotFetched", error->text);
        return;
    }
    a->input_path = sy_strdup(path);
    ag_proof_admit(agent, a);
}

/* NULL: it can be taken; else why it goes back at once. */
static const char *cannot_take(struct ag_agent *agent, const assignment_msg *msg)
{
    if (!epoch_current(agent, msg->partition, msg->epoch)) {
        sy_log(agent->ports.log, &ag_events, AG_EV_OLD_EPOCH, SY_U64("partition", msg->partition),
               SY_U64("epoch", msg->epoch));
        return "the partition has a newer epoch";
    }
    if (agent->stopping)
        return "the node is stopping";
    if (agent->unfinished >= AG_ATTEMPTS_MAX) {
        sy_log(agent->ports.log, &ag_events, AG_EV_QUEUE_FULL);
        return "the node's queue is full";
    }
    return NULL;
}

/* With the texts in one piece of memory; NULL: in none. */
static struct ag_gang *gang_new(const assignment_msg *msg)
{
    const Switchyard__Internal__Rendezvous *meet = msg->rendezvous;
    if (msg->gang == NULL || meet == NULL)
        return NULL;
    size_t host_size = strlen(meet->host) + 1, secret_size = 2 * meet->secret.len + 1;
    struct ag_gang *gang = sy_calloc(1, sizeof(*gang) + host_size + secret_size);
    char *host = (char *)(gang + 1), *secret = host + host_size;
    memcpy(host, meet->host, host_size);
    for (size_t i = 0; i < meet->secret.len; i++)
        snprintf(secret + 2 * i, 3, "%02x", meet->secret.data[i]);
    *gang = (struct ag_gang){.id = msg->gang->id,
                             .rank = msg->gang->rank,
                             .size = msg->gang->size,
                             .host = host,
                             .port = meet->port,
                             .secret = secret};
    return gang;
}

static void assign(struct ag_agent *agent, const assignment_msg *msg)
{
    struct ag_attempt_key key = {
        .partition = msg->partition,
        .action = msg->action,
        .number = msg->number,
        .epoch = msg->epoch,
    };
    if (ag_attempt_find(agent, &key) != NULL)
        return; /* we have it, or its outcome */
    const char *why = cannot_take(agent, msg);
    if (why != NULL) {
        ag_stream_return(agent, &key, why);
        return;
    }
    bool fetch = msg->input_uri[0] != '\0' && msg->flyte == NULL;
    struct sy_span input = {msg->input.data, msg->input.len};
    if (msg->flyte != NULL) /* its own process reads it */
        input = (struct sy_span){(const uint8_t *)msg->input_uri, strlen(msg->input_uri)};
    struct ag_attempt *a = ag_attempt_new(
        agent, &key, fetch || msg->stops ? AG_ATTEMPT_FETCHING : AG_ATTEMPT_WAITING, msg->run,
        msg->name, input);
    a->of_flyte = msg->flyte != NULL;
    if (a->of_flyte)
        pb_pack(&msg->flyte->base, &a->flyte);
    a->timeout_ns = msg->timeout_ns;
    a->class_number = msg->class_;
    a->queue = msg->queue;
    (void)sch_share_path_from(msg->shares, msg->n_shares, &a->place); /* else as if not told */
    a->gang = gang_new(msg);
    a->suspect = msg->suspect;
    a->waits = msg->waits;
    if (msg->stops)
        ag_proof_need(agent, a);
    a->attempt = msg->attempt > 0 ? msg->attempt : msg->number;
    struct ag_spec_entry *spec = ag_spec_find(agent, msg->partition, msg->epoch, msg->spec);
    if (spec == NULL || !spec->valid) {
        ag_report_simple(agent, a, AG_RESULT_REFUSED, "SpecRefused",
                         spec != NULL ? spec->error.text : "the task's definition did not come");
        return;
    }
    a->spec = spec;
    spec->refs++;
    struct sy_error_text why_not = {0};
    if (!ag_attempt_ask(agent, a, msg->memory_bytes, &why_not))
        ag_report_simple(agent, a, AG_RESULT_REFUSED, "SpecRefused", why_not.text);
    else if (!fetch && msg->stops)
        ag_proof_admit(agent, a);
    else if (!fetch)
        ag_admit_enqueue(agent, a);
    else if (agent->ports.objects == NULL)
        ag_report_simple(agent, a, AG_RESULT_REFUSED, "NoObjectStore",
                         "the input is in an object store, and this node uses none");
    else
        a->transfer = ag_objects_get(agent->ports.objects, msg->input_uri, on_input, a);
}

/* ---- acknowledgements, cancels ---- */

static void acknowledge(struct ag_agent *agent, const Switchyard__Internal__Attempt *msg)
{
    struct ag_attempt_key key = {
        .partition = msg->partition,
        .action = msg->action,
        .number = msg->number,
        .epoch = msg->epoch,
    };
    struct ag_attempt *a = ag_attempt_find(agent, &key);
    if (a == NULL || a->sm.state != AG_ATTEMPT_DONE)
        return;
    ag_list_remove(a->outcome_queued ? &agent->to_send : &agent->sent, a);
    agent->ports.journal->ops->forget(agent->ports.journal, &key);
    ag_attempt_free(agent, a);
}

static void cancel(struct ag_agent *agent, const Switchyard__Internal__Cancel *msg)
{
    struct ag_attempt_key key = {
        .partition = msg->partition,
        .action = msg->action,
        .number = msg->number,
        .epoch = msg->epoch,
    };
    struct ag_attempt *a = ag_attempt_find(agent, &key);
    if (a == NULL)
        return;
    switch ((enum ag_attempt_state)a->sm.state) {
    case AG_ATTEMPT_WAITING:
        ag_admit_withdraw(agent, a);
        ag_report_simple(agent, a, AG_RESULT_CANCELLED, "Cancelled", msg->reason);
        break;
    case AG_ATTEMPT_FETCHING:
    case AG_ATTEMPT_PROVING:
        ag_report_simple(agent, a, AG_RESULT_CANCELLED, "Cancelled", msg->reason);
        break;
    case AG_ATTEMPT_RUNNING:
        a->cancel_asked = true;
        agent->ports.executor->ops->cancel(agent->ports.executor, a->id, msg->reason);
        break;
    default: /* it has ended already */
        break;
    }
}

/* ---- the message ---- */

static void receive_specs(struct ag_agent *agent, const Switchyard__Internal__NodeMessage *msg)
{
    for (size_t i = 0; i < msg->n_specs; i++) {
        const Switchyard__Internal__Spec *spec = msg->specs[i];
        ag_spec_add(agent, spec->partition, spec->epoch, spec->id,
                    (struct sy_span){spec->task_spec.data, spec->task_spec.len});
    }
    for (size_t i = 0; i < msg->n_dropped_specs; i++) {
        const Switchyard__Internal__DroppedSpec *dropped = msg->dropped_specs[i];
        struct ag_spec_entry *entry = ag_spec_find(agent, dropped->partition, dropped->epoch,
                                                   dropped->id);
        if (entry != NULL)
            ag_spec_drop(agent, entry);
    }
}

void ag_receive(struct ag_agent *agent, struct sy_span message)
{
    sy_arena_reset(&agent->arena);
    const Switchyard__Internal__NodeMessage *msg = pb_unpack(
        &switchyard__internal__node_message__descriptor, &agent->arena, message);
    if (msg == NULL) {
        sy_log(agent->ports.log, &ag_events, AG_EV_MESSAGE_UNREADABLE,
               SY_U64("bytes", message.len));
        return;
    }
    if (msg->welcome != NULL)
        ag_stream_welcome(agent, msg->welcome);
    if (agent->link_leaves)
        return; /* nothing that it says counts any more */
    receive_specs(agent, msg);
    for (size_t i = 0; i < msg->n_assignments; i++)
        assign(agent, msg->assignments[i]);
    for (size_t i = 0; i < msg->n_acks; i++)
        acknowledge(agent, msg->acks[i]);
    for (size_t i = 0; i < msg->n_cancels; i++)
        cancel(agent, msg->cancels[i]);
    for (size_t i = 0; i < msg->n_replies; i++) {
        const Switchyard__Internal__TaskReply *reply = msg->replies[i];
        struct ag_attempt_key key = {
            .action = reply->action,
            .partition = reply->partition,
            .number = reply->number,
            .epoch = reply->epoch,
        };
        ag_relay_reply(agent, &key, reply->call, reply->code, reply->message,
                       (struct sy_span){reply->body.data, reply->body.len});
    }
    for (size_t i = 0; i < msg->n_log_reads; i++) {
        const Switchyard__Internal__LogRead *read = msg->log_reads[i];
        struct ag_log_read wanted = {
            .read = read->read,
            .run = read->run,
            .name = read->name,
            .number = read->number,
            .offset = read->offset,
            .bytes_max = read->bytes_max,
            .wait = read->wait,
        };
        ag_relay_log_read(agent, &wanted);
    }
    if (msg->give_back)
        ag_agent_return_waiting(agent, "its operator asked for it back");
    for (size_t i = 0; i < msg->n_proofs; i++) /* last: what else is said is not to start first */
        ag_proof_came(agent, msg->proofs[i]);
}
