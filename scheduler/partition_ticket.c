/*
 * Limits that hold over all partitions: this partition's tickets, and the tokens of the queues that
 * are at home here. See tokens.h for what the two say to each other.
 */
#include "scheduler/partition_ticket.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_turn.h"

#include <stdlib.h>
#include <string.h>

void sch_ticket_touch(struct sch_partition *p, struct sch_share *share)
{
    if (share->ticket && !sch_link_in_list(&share->ticket->touched))
        sch_list_push_back(&p->tickets_touched, &share->ticket->touched);
}

void sch_ticket_free(struct sch_partition *p, struct sch_share *share)
{
    struct sch_ticket *ticket = sy_take(share->ticket);
    sch_tokens_free(sy_take(share->tokens));
    if (!ticket)
        return;
    if (sch_link_in_list(&ticket->touched))
        sch_list_remove(&ticket->touched);
    sch_heap_remove(&p->ticket_flushes, &ticket->flush);
    free(ticket);
}

/* What is out stays; nothing new starts before the home has heard of it. */
void sch_ticket_limits(struct sch_partition *p, struct sch_share *share)
{
    struct sch_use limits = sch_share_limits(share);
    if (!sch_use_any(&limits) || p->options.partitions <= 1) {
        sch_ticket_free(p, share);
        return;
    }
    if (share->tokens)
        sch_tokens_limit(share->tokens, &limits);
    if (!share->ticket) {
        share->ticket = sy_new(struct sch_ticket);
        share->ticket->share = share;
        share->ticket->allowed = share->use;
        share->ticket->told_ns = INT64_MIN / 2;
    }
    sch_ticket_touch(p, share);
}

/* What was said under a higher limit, or none, is over: no more than what is out, until that ends.
 */
static uint64_t allowed_now(uint64_t limit, uint64_t said_under, uint64_t allowed, uint64_t used)
{
    bool holds = said_under > 0 && said_under <= limit;
    return holds || allowed < used ? allowed : used;
}

struct sch_use sch_ticket_allowed(const struct sch_ticket *ticket)
{
    const struct sch_use limits = sch_share_limits(ticket->share), *said = &ticket->limits,
                         *allowed = &ticket->allowed, *used = &ticket->share->use;
    return (struct sch_use){
        allowed_now(limits.actions, said->actions, allowed->actions, used->actions),
        allowed_now(limits.cpu_milli, said->cpu_milli, allowed->cpu_milli, used->cpu_milli),
        allowed_now(limits.memory_bytes, said->memory_bytes, allowed->memory_bytes,
                    used->memory_bytes),
        allowed_now(limits.gpu_milli, said->gpu_milli, allowed->gpu_milli, used->gpu_milli)};
}

/* Of amounts without a limit anything is allowed. */
bool sch_ticket_admits(const struct sch_ticket *ticket, const struct sch_use *one)
{
    struct sch_use limits = sch_share_limits(ticket->share), allowed = sch_ticket_allowed(ticket),
                   sum = {.actions = ticket->share->use.actions + one->actions,
                          .cpu_milli = ticket->share->use.cpu_milli + one->cpu_milli,
                          .memory_bytes = ticket->share->use.memory_bytes + one->memory_bytes,
                          .gpu_milli = ticket->share->use.gpu_milli + one->gpu_milli};
    return (limits.actions == 0 || sum.actions <= allowed.actions) &&
           (limits.cpu_milli == 0 || sum.cpu_milli <= allowed.cpu_milli) &&
           (limits.memory_bytes == 0 || sum.memory_bytes <= allowed.memory_bytes) &&
           (limits.gpu_milli == 0 || sum.gpu_milli <= allowed.gpu_milli);
}

/* ---- reports ---- */

static struct sch_token_report report_of(const struct sch_partition *p,
                                         const struct sch_ticket *ticket)
{
    struct sch_token_report report = {.partition = p->options.partition,
                                      .epoch = p->options.epoch,
                                      .partitions = p->options.partitions,
                                      .term = ticket->term,
                                      .sequence = ticket->sequence,
                                      .allowed = ticket->allowed,
                                      .used = ticket->share->use};
    if (sch_stops_next(ticket->share, &report.next))
        report.wanted = ticket->share->stops->wanted;
    if (ticket->share->config && ticket->share->config->paused)
        report.wanted = 0;
    return report;
}

static void tell(struct sch_partition *p, struct sch_ticket *ticket,
                 const struct sch_token_report *report)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_TOKEN_REPORT);
    effect->u.token_report.key = &ticket->share->key;
    effect->u.token_report.report = *report;
    ticket->told = *report;
    ticket->told_ns = p->now_ns;
}

static bool differs(const struct sch_token_report *a, const struct sch_token_report *b)
{
    return a->partition != b->partition || a->epoch != b->epoch || a->term != b->term ||
           a->sequence != b->sequence || a->wanted != b->wanted ||
           memcmp(&a->allowed, &b->allowed, sizeof(a->allowed)) != 0 ||
           memcmp(&a->used, &b->used, sizeof(a->used)) != 0 ||
           memcmp(&a->next, &b->next, sizeof(a->next)) != 0;
}

void sch_tickets_end_step(struct sch_partition *p)
{
    while (!sch_list_empty(&p->tickets_touched)) {
        struct sch_link *link = sch_list_pop(&p->tickets_touched);
        struct sch_ticket *ticket = sy_container_of(link, struct sch_ticket, touched);
        struct sch_token_report report = report_of(p, ticket);
        int64_t at_ns = ticket->told_ns + SCH_TICKET_INTERVAL_NS;
        bool again = report.wanted > 0 && ticket->told_ns + SCH_TICKET_AGAIN_NS <= p->now_ns;
        if (differs(&report, &ticket->told) && at_ns > p->now_ns) {
            sch_heap_set(&p->ticket_flushes, &ticket->flush, at_ns);
            continue;
        }
        if (again || differs(&report, &ticket->told))
            tell(p, ticket, &report);
        if (report.wanted > 0) /* it may get lost */
            sch_heap_set(&p->ticket_flushes, &ticket->flush, ticket->told_ns + SCH_TICKET_AGAIN_NS);
        else
            sch_heap_remove(&p->ticket_flushes, &ticket->flush);
    }
}

void sch_tickets_tick(struct sch_partition *p)
{
    struct sch_heap_entry *top;
    while ((top = sch_heap_top(&p->ticket_flushes)) && top->key <= p->now_ns) {
        struct sch_ticket *ticket = sy_container_of(top, struct sch_ticket, flush);
        sch_heap_remove(&p->ticket_flushes, top);
        sch_ticket_touch(p, ticket->share);
    }
}

void sch_token_allow(struct sch_partition *p, const struct sch_queue_key *key,
                     const struct sch_token_allowance *allowance)
{
    struct sch_share *share = sch_share_find(p, key);
    struct sch_ticket *ticket = share ? share->ticket : NULL;
    if (!ticket || allowance->epoch != p->options.epoch || allowance->term != ticket->term)
        return; /* the limit is gone, or it was for the one before us, or of the home before */
    if (allowance->sequence > ticket->sequence) {
        ticket->sequence = allowance->sequence;
        ticket->allowed = allowance->allowed;
        ticket->limits = allowance->limits;
        sch_stops_open(p, share);
    }
    sch_token_ask(p, key, allowance->term);
}

void sch_token_ask(struct sch_partition *p, const struct sch_queue_key *key, uint64_t term)
{
    struct sch_share *share = sch_share_find(p, key);
    if (!share || !share->ticket || (term > 0 && term < share->ticket->term))
        return;
    if (term > 0)
        share->ticket->term = term;
    share->ticket->told = (struct sch_token_report){.partition = UINT32_MAX};
    sch_ticket_touch(p, share);
}

/* ---- at the home ---- */

struct home {
    struct sch_partition *p;
    const struct sch_queue_key *key;
};

static void send_allowance(void *ctx, const struct sch_token_allowance *allowance)
{
    struct home *home = ctx;
    struct sch_effect *effect = sch_effect_add(home->p, SCH_EFFECT_TOKEN_ALLOW);
    effect->u.token_allow.key = home->key;
    effect->u.token_allow.allowance = *allowance;
}

static void send_ask(void *ctx, uint32_t partition, uint64_t term)
{
    struct home *home = ctx;
    struct sch_effect *effect = sch_effect_add(home->p, SCH_EFFECT_TOKEN_ASK);
    effect->u.token_ask.key = home->key;
    effect->u.token_ask.partition = partition;
    effect->u.token_ask.term = term;
}

/* Greater than those of the homes before this one, and of this one's limits before this. */
static uint64_t next_term(struct sch_partition *p)
{
    SY_ASSERT(p->terms < UINT32_MAX);
    return ((uint64_t)p->options.epoch << 32) | ++p->terms;
}

void sch_token_report(struct sch_partition *p, const struct sch_queue_key *key,
                      const struct sch_token_report *report)
{
    struct sch_share *share = sch_share_find(p, key);
    if (report->partitions > p->options.partitions)
        p->options.partitions = report->partitions;
    if (share && share->tokens && sch_tokens_partitions(share->tokens) != p->options.partitions)
        sch_tokens_free(sy_take(share->tokens));
    if (!share || !share->ticket || report->partition >= p->options.partitions)
        return; /* it has no limits any more: the reporter hears of it too */
    struct sch_use limits = sch_share_limits(share);
    struct home home = {p, &share->key};
    const struct sch_tokens_sink sink = {send_allowance, send_ask, &home};
    if (!share->tokens)
        share->tokens = sch_tokens_new(p->options.partitions, &limits, next_term(p));
    (void)sch_tokens_report(share->tokens, report, p->now_ns); /* who knows no term is asked */
    sch_tokens_settle(share->tokens, p->now_ns, &sink);
}
