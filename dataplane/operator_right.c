/*
 * Until when this operator is certain that it is its cluster's active one (dataplane/lead.h asks
 * for it). When that is over another may be, so nothing is said to shards, nothing new is placed,
 * and nothing is changed that operators share. What runs goes on, and its agents stay: a control
 * plane that is out of reach is no reason to stop anything, and it is the agents who find the other
 * one, by its later term.
 */
#include "base/mem.h"
#include "dataplane/operator_impl.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

static void lapse(void *arg)
{
    struct dp_operator *op = arg;
    dp_touch(op);
    if (op->lapsed || op->sm.state != DP_RUNNING)
        return;
    op->lapsed = true;
    sy_log(op->log, &dp_events, DP_EV_LAPSED, SY_STR("cluster", op->cluster),
           SY_U64("term", op->term));
    dp_shards_silence(op);
    dp_step(op, &(struct sch_op_event){.type = SCH_OP_FORGET_HELD});
}

void dp_operator_set_right(struct dp_operator *op, int64_t until_ns)
{
    int64_t now_ns = sy_loop_now_ns(op->loop);
    bool before = op->lapsed;
    SY_ASSERT(until_ns > 0);
    atomic_store(&op->gate.ours_until_ns, until_ns == SY_TIME_NEVER ? 0 : until_ns);
    sy_timer_stop(op->loop, &op->right);
    if (until_ns <= now_ns) {
        lapse(op);
        return;
    }
    if (until_ns != SY_TIME_NEVER)
        sy_timer_start(op->loop, &op->right, until_ns);
    op->lapsed = false;
    if (before && op->sm.state == DP_RUNNING) {
        sy_log(op->log, &dp_events, DP_EV_ACTIVE, SY_STR("cluster", op->cluster),
               SY_U64("term", op->term));
        dp_shards_resume(op);
    }
}

void dp_right_serve(void *ctx, struct sy_call *call, struct sy_span request)
{
    const struct dp_operator *op = ctx;
    Switchyard__Internal__LeadResponse response = SWITCHYARD__INTERNAL__LEAD_RESPONSE__INIT;
    (void)request;
    response.active = !op->lapsed && op->sm.state == DP_RUNNING;
    response.term = op->term;
    struct sy_buf bytes = {0};
    pb_pack(&response.base, &bytes);
    sy_call_reply(call, &bytes);
}

void dp_right_init(struct dp_operator *op)
{
    sy_timer_init(&op->right, lapse, op);
}

void dp_right_deinit(struct dp_operator *op)
{
    sy_timer_stop(op->loop, &op->right);
}
