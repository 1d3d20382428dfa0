/*
 * How a limit holds over all partitions of a region. Each partition may use so much of a limited
 * queue as it was allowed; the queue's home hands allowances out. Pure; part of the home's core.
 *
 *   partition --> home   report: what it uses, what it is allowed, what it wants more
 *   home --> partition   allowance: a number that replaces the one before
 *
 * Invariant: over all partitions, what is allowed or in use never exceeds the limit, also while
 * messages are on their way. A larger allowance counts when it is sent, a smaller one when the
 * partition has said that it obeys it; an allowance below what is in use stops new work and nothing
 * that runs. A home that begins anew hands nothing out until every partition has reported; a
 * partition that begins anew reports what may be out, and an allowance for the one before it (an
 * older epoch) is void.
 *
 * Messages may be lost, late, doubled and out of order, and an earlier home may still speak. So a
 * home has a term, greater than those before it. A partition obeys the greatest term that it was
 * asked in, says in its reports which that is, and counts as heard of only in the home's own: by
 * then what the homes before it allowed is void there. What is not answered is said again, also to
 * one that has been quiet for long while others are short of what it used last.
 *
 * A limit that is lowered, or new, reaches a partition before or after what the home says under it.
 * So each allowance tells the limits that it was worked out from, and where one of them is higher
 * than the partition's own, or there was none, nothing more starts until the home has said another:
 * what ends is not replaced while more than the new limit is out.
 *
 * A partition that was split has a new one beside it, and both begin anew. The first word of it
 * that a home hears says how many there are by then: it begins anew too, so that nobody is allowed
 * what the half that it has not heard of uses.
 *
 * Fairness: partitions that want more get it in turns, the one with the smallest part first. When
 * nothing is left, those with more than an equal part may not start new work until it is equal.
 * While more is in use than the limit nobody may start any.
 */
#pragma once

#include "scheduler/resources.h"

/* Amounts: what is used, allowed, or there. */
struct sch_use {
    uint64_t actions, cpu_milli, memory_bytes, gpu_milli;
};

/* Of one action that asks for this. */
struct sch_use sch_use_of(const struct sch_resources *request);
/* Of so many of them. */
struct sch_use sch_use_times(const struct sch_resources *request, uint32_t count);

/* A queue whose work may be stopped for others. */
struct sch_reclaim_queue {
    uint32_t id; /* as attempts are tagged with it */
    /* A gang of it only while less than this stops of one of these amounts, all together: its
     * branch of the tree keeps as much as the one that asks. UINT64_MAX: whatever stops. */
    struct sch_use below;
};

struct sch_token_report {
    uint32_t partition, epoch; /* epoch of the partition */
    uint32_t partitions;       /* of the region, as it knows; 0: it does not say */
    uint64_t term;             /* that it obeys; 0: of none yet */
    uint32_t sequence;         /* of the newest allowance that it obeys; 0: of none */
    struct sch_use allowed, used;
    uint64_t wanted;     /* so many more actions could start, */
    struct sch_use next; /* each of about this */
};

struct sch_token_allowance {
    uint32_t partition, epoch, sequence; /* to whom; sequence grows */
    uint64_t term;
    struct sch_use allowed;
    struct sch_use limits; /* that the home had then */
};

struct sch_tokens;

/* 0 in `limits`: no limit of that amount. `term`: greater than that of any home before. */
struct sch_tokens *sch_tokens_new(uint32_t partitions, const struct sch_use *limits, uint64_t term);
void sch_tokens_free(struct sch_tokens *tokens);
uint32_t sch_tokens_partitions(const struct sch_tokens *tokens);
void sch_tokens_limit(struct sch_tokens *tokens, const struct sch_use *limits);
/* Takes the report in. False: it is of an older epoch or term, and says nothing. */
bool sch_tokens_report(struct sch_tokens *tokens, const struct sch_token_report *report,
                       int64_t now_ns);

struct sch_tokens_sink {
    void (*allow)(void *ctx, const struct sch_token_allowance *allowance);
    void (*ask)(void *ctx, uint32_t partition, uint64_t term); /* for a report in this term */
    void *ctx;
};
/* After a report: asks those that have not reported, or works allowances out anew and says those
 * that changed or are to be said again. */
void sch_tokens_settle(struct sch_tokens *tokens, int64_t now_ns,
                       const struct sch_tokens_sink *sink);
/* Whether any amount is not 0. */
bool sch_use_any(const struct sch_use *use);
/* Whether `more` fits beside `used` under `limits`; 0 in `limits`: anything. */
bool sch_use_fits(const struct sch_use *used, const struct sch_use *more,
                  const struct sch_use *limits);
/* Aborts when more is allowed or in use than the limit, unless the limit was lowered under it, or a
 * partition began anew: it counts all that may be out. */
void sch_tokens_check(const struct sch_tokens *tokens);
