/*
 * Proof for agents that run attempts only while their partition hears of them (AttemptProbe).
 *
 * An agent's question waits at the stream that speaks for those attempts. One probe is on its way
 * to a shard at a time; it stands for all questions that were there when it left, and what comes
 * meanwhile waits for the next one. Its echo is the proof: we have heard the agent, and the shard
 * has heard us after that. Whatever the shard no longer wants of what the agent holds was said
 * before the echo, and is before the proof on the agent's stream too.
 *
 * A question is kept only while it waits. It goes with its stream and with its agent: agents ask
 * again with each heartbeat.
 */
#include "base/mem.h"
#include "dataplane/stream.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <utlist.h>

#define PROOFS_MAX 65536u /* questions of one agent that wait */

struct dp_proof {
    struct { /* without padding */
        uint32_t partition, epoch, place;
    } key;
    struct dp_agent *agent;
    struct dp_stream *stream;
    uint64_t sent_ns;  /* as the agent says */
    uint64_t again_ns; /* the same of the last one that came while its probe was on its way */
    bool again;        /* one did */
    bool probed;       /* in stream->proofs_probed, else in stream->proofs_asked */
    struct dp_proof *next, *prev;
    UT_hash_handle hh; /* by key, in agent->proofs */
};

static struct dp_proof **list_of(struct dp_proof *proof)
{
    return proof->probed ? &proof->stream->proofs_probed : &proof->stream->proofs_asked;
}

/* One that is in no list. */
static void forget(struct dp_proof *proof)
{
    HASH_DEL(proof->agent->proofs, proof);
    free(proof);
}

static void proof_free(struct dp_proof *proof)
{
    struct dp_proof **list = list_of(proof);
    DL_DELETE(*list, proof);
    forget(proof);
}

/* NULL: nobody does, as far as is known. */
static struct dp_stream *stream_of(struct dp_operator *op, const struct sch_attempt_key *key)
{
    struct dp_stream *stream = dp_stream_find(op, key->partition);
    if (stream && sch_operator_speaks_for(op->core, key->partition, key))
        return stream;
    for (struct dp_partition *p = op->partitions; p; p = p->hh.next) {
        if (p->up && sch_operator_speaks_for(op->core, p->id, key))
            return p->up;
    }
    return NULL;
}

bool dp_proof_ask(struct dp_agent *agent, struct sy_span bytes)
{
    struct dp_operator *op = agent->op;
    sy_arena_reset(&op->arena);
    const Switchyard__Internal__AttemptProbe *probe = pb_unpack(
        &switchyard__internal__attempt_probe__descriptor, &op->arena, bytes);
    if (!probe || probe->place > UINT8_MAX)
        return false;
    struct sch_attempt_key key = {
        .action = probe->place, .partition = probe->partition, .epoch = probe->epoch};
    struct dp_stream *stream = stream_of(op, &key);
    struct dp_proof *proof, find = {.key = {probe->partition, probe->epoch, probe->place}};
    HASH_FIND(hh, agent->proofs, &find.key, sizeof(find.key), proof);
    if (proof && proof->stream != stream) {
        proof_free(proof); /* another speaks for them by now */
        proof = NULL;
    }
    if (proof) {
        *(proof->probed ? &proof->again_ns : &proof->sent_ns) = probe->sent_ns;
        proof->again = proof->probed;
        return true;
    }
    if (!stream || HASH_COUNT(agent->proofs) >= PROOFS_MAX)
        return true; /* it asks again */
    proof = sy_new(struct dp_proof);
    *proof = find;
    proof->agent = agent;
    proof->stream = stream;
    proof->sent_ns = probe->sent_ns;
    DL_APPEND(stream->proofs_asked, proof);
    HASH_ADD(hh, agent->proofs, key, sizeof(proof->key), proof);
    dp_link_mark(&stream->link);
    return true;
}

void dp_proofs_pack(struct dp_stream *stream)
{
    if (!stream->proofs_asked || stream->proofs_probed)
        return;
    stream->proofs_probed = stream->proofs_asked;
    stream->proofs_asked = NULL;
    for (struct dp_proof *proof = stream->proofs_probed; proof; proof = proof->next)
        proof->probed = true;
    struct sy_buf *record = &stream->op->scratch;
    sy_buf_clear(record);
    dp_wire_put_u64(record, 1, ++stream->probe);
    dp_link_put(&stream->link, DP_TO_SHARD_PROBE, sy_buf_span(record));
}

static void answer(const struct dp_proof *proof)
{
    const struct dp_operator *op = proof->agent->op;
    int64_t lease_ns = proof->stream->cluster_lease_ns;
    struct sy_buf *record = &proof->agent->op->scratch;
    sy_buf_clear(record);
    dp_wire_put_u64(record, 1, proof->key.partition);
    dp_wire_put_u64(record, 2, proof->key.epoch);
    dp_wire_put_u64(record, 3, proof->key.place);
    dp_wire_put_u64(record, 4, proof->sent_ns);
    dp_wire_put_u64(record, 5,
                    (uint64_t)(op->node_lease_ns < lease_ns ? op->node_lease_ns : lease_ns));
    dp_link_put(&proof->agent->link, DP_TO_NODE_PROOFS, sy_buf_span(record));
}

bool dp_proofs_echoed(struct dp_stream *stream, struct sy_span bytes)
{
    sy_arena_reset(&stream->op->arena);
    const Switchyard__Internal__Probe *echo = pb_unpack(&switchyard__internal__probe__descriptor,
                                                        &stream->op->arena, bytes);
    if (!echo || echo->number > stream->probe)
        return false;
    if (echo->number < stream->probe)
        return true;
    struct dp_proof *next;
    for (struct dp_proof *proof = sy_take(stream->proofs_probed); proof; proof = next) {
        next = proof->next;
        answer(proof);
        if (!proof->again) {
            forget(proof);
            continue;
        }
        proof->sent_ns = proof->again_ns;
        proof->again = proof->probed = false;
        DL_APPEND(stream->proofs_asked, proof);
    }
    if (stream->proofs_asked)
        dp_link_mark(&stream->link);
    return true;
}

void dp_proofs_drop_stream(struct dp_stream *stream)
{
    struct dp_proof *next;
    DL_CONCAT(stream->proofs_asked, stream->proofs_probed);
    for (struct dp_proof *proof = sy_take(stream->proofs_asked); proof; proof = next) {
        next = proof->next;
        forget(proof);
    }
    stream->proofs_probed = NULL;
    stream->probe = 0;
}

void dp_proofs_drop_agent(struct dp_agent *agent)
{
    struct dp_proof *next;
    for (struct dp_proof *proof = agent->proofs; proof; proof = next) {
        next = proof->hh.next;
        proof_free(proof);
    }
}
