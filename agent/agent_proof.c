/*
 * Attempts that run only while there is proof that those who could begin them elsewhere hear of
 * them (SCH_ON_PARTITION_STOP; scheduler/stop.h has the rule). Their agent asks with each heartbeat
 * and before the first of them starts; what comes back says since when its question has been heard:
 * since it was sent, for that is the one moment of it that our clock knows. None starts on a proof
 * that is half a lease old.
 *
 * Attempts of which the same partition hears share a proof: they were issued by one, under one
 * epoch, and have the same place in it, so they stay together when it is split.
 */
#include "agent/agent_impl.h"

#include "scheduler/stop.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define FIELD_PROBES 9 /* of AgentMessage */

enum proof_stage { PROOF_FRESH, PROOF_ASKED_TO_STOP, PROOF_KILLED };

struct ag_proof {
    struct { /* without padding */
        uint32_t partition, epoch, place;
    } key;
    struct sy_map_link link;
    uint32_t users;         /* attempts that are not done */
    uint32_t proving;       /* of these, that wait for it */
    int64_t asked_ns;       /* when it was asked for last; 0: never */
    int64_t proven_ns;      /* when what was heard was sent; 0: nothing was */
    int64_t lease_ns;       /* as it came with that */
    enum proof_stage stage; /* what was done about its age */
};

static int64_t age_ns(const struct ag_agent *agent, const struct ag_proof *proof)
{
    SY_ASSERT(proof->proven_ns > 0);
    return sy_loop_now_ns(agent->ports.loop) - proof->proven_ns;
}

static bool is_fresh(const struct ag_agent *agent, const struct ag_proof *proof)
{
    return proof->proven_ns > 0 && age_ns(agent, proof) < sch_stop_rule(proof->lease_ns).ask_ns;
}

/* ---- asking ---- */

static void ask(struct ag_agent *agent, struct ag_proof *proof)
{
    if (agent->link != AG_LINK_UP)
        return; /* with the welcome */
    Switchyard__Internal__AttemptProbe msg = SWITCHYARD__INTERNAL__ATTEMPT_PROBE__INIT;
    proof->asked_ns = sy_loop_now_ns(agent->ports.loop);
    msg.partition = proof->key.partition;
    msg.epoch = proof->key.epoch;
    msg.place = proof->key.place;
    msg.sent_ns = (uint64_t)proof->asked_ns;
    ag_put_message(&agent->out_probes, FIELD_PROBES, &msg.base);
}

void ag_proofs_ask(struct ag_agent *agent, int64_t older_than_ns)
{
    int64_t now_ns = sy_loop_now_ns(agent->ports.loop);
    SY_MAP_EACH(&agent->proofs, at, next)
    {
        struct ag_proof *proof = sy_map_entry(at, struct ag_proof, link);
        if (proof->users > 0 && now_ns - proof->asked_ns >= older_than_ns)
            ask(agent, proof);
    }
}

/* ---- attempts that need one ---- */

static struct ag_proof *proof_get(struct ag_agent *agent, const struct ag_attempt_key *of)
{
    const uint32_t key[] = {of->partition, of->epoch, (uint8_t)of->action};
    struct ag_proof *proof = sy_map_entry(sy_map_find(&agent->proofs, key, sizeof(key)),
                                          struct ag_proof, link);
    if (proof != NULL)
        return proof;
    proof = sy_new(struct ag_proof);
    memcpy(&proof->key, key, sizeof(key));
    sy_map_add(&agent->proofs, &proof->link, &proof->key, sizeof(proof->key));
    return proof;
}

void ag_proof_need(struct ag_agent *agent, struct ag_attempt *a)
{
    SY_ASSERT(a->proof == NULL);
    struct ag_proof *proof = a->proof = proof_get(agent, &a->key);
    if (proof->users++ > 0)
        return; /* it is asked for with each heartbeat */
    if (proof->proven_ns > 0 && age_ns(agent, proof) >= sch_stop_rule(proof->lease_ns).ask_ns / 2)
        proof->proven_ns = 0; /* it would be too old before the next one comes */
    ask(agent, proof);
}

void ag_proof_release(struct ag_attempt *a)
{
    if (a->proof == NULL)
        return;
    SY_ASSERT(a->proof->users > 0);
    a->proof->proving -= a->sm.state == AG_ATTEMPT_PROVING; /* its agent ends */
    sy_take(a->proof)->users--; /* it goes when it is old: the next one may come before */
}

void ag_proof_moves(const struct ag_attempt *a, enum ag_attempt_state to)
{
    if (a->proof == NULL)
        return;
    SY_ASSERT(a->sm.state != AG_ATTEMPT_PROVING || a->proof->proving > 0);
    a->proof->proving += to == AG_ATTEMPT_PROVING;
    a->proof->proving -= a->sm.state == AG_ATTEMPT_PROVING;
}

void ag_proof_admit(struct ag_agent *agent, struct ag_attempt *a)
{
    bool proven = a->proof == NULL || is_fresh(agent, a->proof);
    ag_attempt_move(agent, a, proven ? AG_ATTEMPT_WAITING : AG_ATTEMPT_PROVING);
    if (proven)
        ag_admit_enqueue(agent, a);
}

/* ---- it comes ---- */

/* Those that wait for it, in the order in which they came. `refusal`: why it is of no use. */
static void admit_all(struct ag_agent *agent, const struct ag_proof *proof,
                      const struct sy_error_text *refusal)
{
    if (proof->proving == 0)
        return;
    SY_MAP_EACH(&agent->by_key, at, next)
    {
        struct ag_attempt *a = sy_map_entry(at, struct ag_attempt, by_key);
        if (a->proof != proof || a->sm.state != AG_ATTEMPT_PROVING)
            continue;
        if (refusal != NULL)
            ag_report_simple(agent, a, AG_RESULT_REFUSED, "LeaseTooShort", refusal->text);
        else
            ag_proof_admit(agent, a);
    }
}

void ag_proof_came(struct ag_agent *agent, const ag_pb_probe *msg)
{
    const uint32_t key[] = {msg->partition, msg->epoch, msg->place};
    struct ag_proof *proof = sy_map_entry(sy_map_find(&agent->proofs, key, sizeof(key)),
                                          struct ag_proof, link);
    struct sy_error_text error;
    if (proof == NULL || proof->users == 0 || msg->lease_ns <= 0 ||
        msg->sent_ns > (uint64_t)proof->asked_ns || msg->sent_ns <= (uint64_t)proof->proven_ns)
        return;
    if (sch_stop_check("node_lease and a cluster_lease", msg->lease_ns, agent->heartbeat_ns,
                       &error) < 0) {
        admit_all(agent, proof, &error);
        return;
    }
    proof->proven_ns = (int64_t)msg->sent_ns;
    proof->lease_ns = msg->lease_ns;
    proof->stage = PROOF_FRESH;
    ag_proofs_look(agent); /* it may have been long on its way */
    if (is_fresh(agent, proof))
        admit_all(agent, proof, NULL);
}

/* ---- it is old ---- */

static void stop(struct ag_agent *agent, struct ag_attempt *a, enum proof_stage stage)
{
    struct ag_executor *executor = agent->ports.executor;
    if (a->sm.state == AG_ATTEMPT_WAITING) {
        ag_admit_withdraw(agent, a);
        ag_attempt_move(agent, a, AG_ATTEMPT_PROVING);
    } else if (a->sm.state == AG_ATTEMPT_RUNNING && stage == PROOF_KILLED) {
        executor->ops->kill(executor, a->id);
        a->stop_asked = true;
    } else if (a->sm.state == AG_ATTEMPT_RUNNING && !a->stop_asked) {
        executor->ops->cancel(executor, a->id, "its agent has no proof that it is heard of");
        a->stop_asked = true;
    }
}

static void stop_all(struct ag_agent *agent, struct ag_proof *proof, enum proof_stage stage)
{
    proof->stage = stage;
    if (proof->users == 0)
        return;
    sy_log(agent->ports.log, &ag_events, AG_EV_UNPROVEN, SY_U64("partition", proof->key.partition),
           SY_U64("epoch", proof->key.epoch), SY_U64("attempts", proof->users),
           SY_I64("heard_ms_ago", age_ns(agent, proof) / SY_NS_PER_MS),
           SY_STR("they", stage == PROOF_KILLED ? "are killed" : "are asked to stop"));
    SY_MAP_EACH(&agent->by_key, at, next)
    {
        struct ag_attempt *a = sy_map_entry(at, struct ag_attempt, by_key);
        if (a->proof == proof)
            stop(agent, a, stage);
    }
}

/* When there is more to be done about its age; SY_TIME_NEVER: nothing. */
static int64_t look(struct ag_agent *agent, struct ag_proof *proof)
{
    struct sch_stop_rule rule = sch_stop_rule(proof->lease_ns);
    int64_t age = age_ns(agent, proof);
    enum proof_stage stage = age >= rule.kill_ns  ? PROOF_KILLED
                             : age >= rule.ask_ns ? PROOF_ASKED_TO_STOP
                                                  : PROOF_FRESH;
    if (stage > proof->stage)
        stop_all(agent, proof, stage);
    if (stage == PROOF_KILLED)
        return SY_TIME_NEVER;
    return proof->proven_ns + (stage == PROOF_FRESH ? rule.ask_ns : rule.kill_ns);
}

void ag_proofs_look(struct ag_agent *agent)
{
    int64_t due_ns = SY_TIME_NEVER;
    if (agent->proofs.count == 0)
        return;
    SY_MAP_EACH(&agent->proofs, at, next)
    {
        struct ag_proof *proof = sy_map_entry(at, struct ag_proof, link);
        int64_t next_ns = proof->proven_ns > 0 ? look(agent, proof) : SY_TIME_NEVER;
        due_ns = next_ns < due_ns ? next_ns : due_ns;
        if (proof->users == 0 && !is_fresh(agent, proof)) {
            sy_map_remove(&agent->proofs, &proof->link);
            free(proof);
        }
    }
    if (due_ns == SY_TIME_NEVER)
        sy_timer_stop(agent->ports.loop, &agent->proof_timer);
    else
        sy_timer_start(agent->ports.loop, &agent->proof_timer, due_ns);
}

static void on_proof_timer(void *arg)
{
    ag_proofs_look(arg);
}

void ag_proofs_init(struct ag_agent *agent)
{
    sy_timer_init(&agent->proof_timer, on_proof_timer, agent);
}

void ag_proofs_deinit(struct ag_agent *agent)
{
    sy_timer_stop(agent->ports.loop, &agent->proof_timer);
    SY_MAP_EACH(&agent->proofs, at, next)
    {
        struct ag_proof *proof = sy_map_entry(at, struct ag_proof, link);
        SY_ASSERT(proof->users == 0 && proof->proving == 0);
        free(proof);
    }
    sy_map_deinit(&agent->proofs);
}
