#include "controlplane/partition_impl.h"

void cp_partition_set_token_sink(struct cp_partition *p, cp_token_fn fn, void *ctx)
{
    p->token_sink = fn;
    p->token_ctx = ctx;
}

/* At once, not with the batch: what is in use is no secret before it is durable, and a shard that
 * dies asks everybody anew. */
void cp_send_token(struct cp_partition *p, const struct sch_effect *effect)
{
    struct cp_token_message message;
    if (effect->type == SCH_EFFECT_TOKEN_REPORT)
        message = (struct cp_token_message){.type = CP_TOKEN_REPORT,
                                            .key = *effect->u.token_report.key,
                                            .u.report = effect->u.token_report.report};
    else if (effect->type == SCH_EFFECT_TOKEN_ALLOW)
        message = (struct cp_token_message){.type = CP_TOKEN_ALLOW,
                                            .key = *effect->u.token_allow.key,
                                            .u.allowance = effect->u.token_allow.allowance};
    else
        message = (struct cp_token_message){
            .type = CP_TOKEN_ASK,
            .key = *effect->u.token_ask.key,
            .u.ask = {effect->u.token_ask.partition, effect->u.token_ask.term}};
    if (p->token_sink && !cp_lapsed(p))
        p->token_sink(p->token_ctx, &message);
}

void cp_partition_take_token(struct cp_partition *p, const struct cp_token_message *message)
{
    struct sch_event event = {.type = SCH_EVENT_TOKEN_ASK};
    if (cp_refusal(p) != SY_CODE_OK)
        return;
    switch (message->type) {
    case CP_TOKEN_REPORT:
        event.type = SCH_EVENT_TOKEN_REPORT;
        event.u.token_report.key = &message->key;
        event.u.token_report.report = &message->u.report;
        break;
    case CP_TOKEN_ALLOW:
        event.type = SCH_EVENT_TOKEN_ALLOW;
        event.u.token_allow.key = &message->key;
        event.u.token_allow.allowance = &message->u.allowance;
        break;
    case CP_TOKEN_ASK:
        event.u.token_ask.key = &message->key;
        event.u.token_ask.term = message->u.ask.term;
        break;
    }
    cp_step(p, &event);
    cp_touch(p);
}
