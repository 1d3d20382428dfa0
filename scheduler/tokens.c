#include "scheduler/tokens.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define AMOUNTS 4u
/* What was not answered is said again after so long, */
#define AGAIN_NS (100 * SY_NS_PER_MS)
/* and to one that has said nothing for so long while others are short: it may have been lost. */
#define QUIET_NS (5 * SY_NS_PER_S)
#define LONG_AGO (INT64_MIN / 2)

/* What the home knows of a partition. */
struct part {
    bool known; /* it has reported in this term */
    int64_t asked_ns, told_ns, heard_ns;
    uint32_t epoch, sent;   /* sent: sequence of the newest allowance */
    bool settled;           /* it obeys that one */
    struct sch_use allowed; /* as sent, */
    struct sch_use limits;  /* under these; 0: it is to be told */
    struct sch_use bound;   /* it uses no more than this, whatever is on its way */
    struct sch_use used, next;
    uint64_t wanted;
};

struct sch_tokens {
    struct sch_use limits;
    uint64_t term;
    /* The sum may be above the limits until enough has ended: they were lowered under it, or a
     * partition that began anew counts all that may be out. */
    bool over;
    uint32_t count, unknown;
    struct part parts[];
};

/* ---- amounts, one by one ---- */

static uint64_t *amount(struct sch_use *use, unsigned i)
{
    uint64_t *amounts[AMOUNTS] = {&use->actions, &use->cpu_milli, &use->memory_bytes,
                                  &use->gpu_milli};
    SY_ASSERT(i < AMOUNTS);
    return amounts[i];
}

static uint64_t value(const struct sch_use *use, unsigned i)
{
    const uint64_t amounts[AMOUNTS] = {use->actions, use->cpu_milli, use->memory_bytes,
                                       use->gpu_milli};
    SY_ASSERT(i < AMOUNTS);
    return amounts[i];
}

struct sch_use sch_use_of(const struct sch_resources *request)
{
    return (struct sch_use){.actions = 1,
                            .cpu_milli = request->cpu_milli,
                            .memory_bytes = request->memory_bytes,
                            .gpu_milli = sch_resources_gpu_milli(request)};
}

struct sch_use sch_use_times(const struct sch_resources *request, uint32_t count)
{
    struct sch_use use = sch_use_of(request);
    for (unsigned i = 0; i < AMOUNTS; i++)
        *amount(&use, i) *= count;
    return use;
}

bool sch_use_any(const struct sch_use *use)
{
    return use->actions > 0 || use->cpu_milli > 0 || use->memory_bytes > 0 || use->gpu_milli > 0;
}

bool sch_use_fits(const struct sch_use *used, const struct sch_use *more,
                  const struct sch_use *limits)
{
    for (unsigned i = 0; i < AMOUNTS; i++) {
        uint64_t limit = value(limits, i), there = value(used, i);
        if (limit > 0 && (there > limit || value(more, i) > limit - there))
            return false;
    }
    return true;
}

static struct sch_use larger(const struct sch_use *a, const struct sch_use *b)
{
    struct sch_use most = *a;
    for (unsigned i = 0; i < AMOUNTS; i++) {
        if (value(b, i) > value(a, i))
            *amount(&most, i) = value(b, i);
    }
    return most;
}

static bool equal(const struct sch_use *a, const struct sch_use *b)
{
    return a->actions == b->actions && a->cpu_milli == b->cpu_milli &&
           a->memory_bytes == b->memory_bytes && a->gpu_milli == b->gpu_milli;
}

/* Of the limited amount of which it has most. */
static double part_of_limit(const struct sch_tokens *tokens, const struct sch_use *use)
{
    double most = 0;
    for (unsigned i = 0; i < AMOUNTS; i++) {
        uint64_t limit = value(&tokens->limits, i);
        double part = limit > 0 ? (double)value(use, i) / (double)limit : 0;
        most = part > most ? part : most;
    }
    return most;
}

/* ---- what is known ---- */

struct sch_tokens *sch_tokens_new(uint32_t partitions, const struct sch_use *limits, uint64_t term)
{
    SY_ASSERT(partitions > 0 && term > 0);
    struct sch_tokens *tokens = sy_calloc(1, sizeof(*tokens) + partitions * sizeof(struct part));
    tokens->count = tokens->unknown = partitions;
    tokens->limits = *limits;
    tokens->term = term;
    tokens->over = true; /* what was used before there was a limit */
    for (uint32_t i = 0; i < partitions; i++)
        tokens->parts[i].asked_ns = tokens->parts[i].told_ns = LONG_AGO;
    return tokens;
}

void sch_tokens_free(struct sch_tokens *tokens)
{
    free(tokens);
}

uint32_t sch_tokens_partitions(const struct sch_tokens *tokens)
{
    return tokens->count;
}

void sch_tokens_limit(struct sch_tokens *tokens, const struct sch_use *limits)
{
    for (unsigned i = 0; i < AMOUNTS; i++) {
        uint64_t old = value(&tokens->limits, i), new = value(limits, i);
        if (new > 0 && (old == 0 || new < old))
            tokens->over = true;
    }
    tokens->limits = *limits;
}

/* It does not know of this term: until it does, an earlier home may allow it something. */
static void hear_stranger(struct sch_tokens *tokens, struct part *part,
                          const struct sch_token_report *report)
{
    if (part->known && report->epoch == part->epoch)
        return; /* said before it knew */
    tokens->unknown += part->known;
    part->known = false;
    part->epoch = report->epoch;
    part->asked_ns = LONG_AGO;
}

bool sch_tokens_report(struct sch_tokens *tokens, const struct sch_token_report *report,
                       int64_t now_ns)
{
    SY_ASSERT(report->partition < tokens->count);
    struct part *part = &tokens->parts[report->partition];
    if (report->epoch < part->epoch)
        return false;
    if (report->term != tokens->term) {
        hear_stranger(tokens, part, report);
        return false;
    }
    bool anew = !part->known || report->epoch > part->epoch;
    if (!part->known)
        tokens->unknown--;
    part->heard_ns = now_ns;
    if (anew) {
        part->known = true;
        part->epoch = report->epoch;
        part->sent = report->sequence;
        part->allowed = report->allowed;
        part->limits = (struct sch_use){0};
    }
    part->settled = report->sequence == part->sent;
    part->used = report->used;
    part->next = report->next;
    part->wanted = report->wanted;
    if (anew || part->settled)
        part->bound = part->allowed;
    struct sch_use bound = larger(&part->bound, &part->used);
    tokens->over |= anew || !equal(&bound, &part->bound);
    part->bound = bound;
    return true;
}

static struct sch_use bounds(const struct sch_tokens *tokens)
{
    struct sch_use sum = {0};
    for (uint32_t i = 0; i < tokens->count; i++) {
        for (unsigned k = 0; k < AMOUNTS; k++)
            *amount(&sum, k) += value(&tokens->parts[i].bound, k);
    }
    return sum;
}

void sch_tokens_check(const struct sch_tokens *tokens)
{
    static const struct sch_use nothing = {0};
    struct sch_use sum = bounds(tokens);
    SY_ASSERT(tokens->over || sch_use_fits(&sum, &nothing, &tokens->limits));
}

/* ---- handing out ---- */

/* The one that wants more, for which it is there, with the smallest part. */
static struct part *next_part(struct sch_tokens *tokens, const struct sch_use *sum,
                              const uint64_t *given)
{
    struct part *best = NULL;
    double least = 0;
    for (uint32_t i = 0; i < tokens->count; i++) {
        struct part *part = &tokens->parts[i];
        if (part->wanted <= given[i] || !sch_use_fits(sum, &part->next, &tokens->limits))
            continue;
        double has = part_of_limit(tokens, &part->bound);
        if (!best || has < least) {
            best = part;
            least = has;
        }
    }
    return best;
}

static uint64_t most_times(const struct sch_use *sum, const struct sch_use *unit,
                           const struct sch_use *limits)
{
    uint64_t times = UINT64_MAX;
    for (unsigned i = 0; i < AMOUNTS; i++) {
        uint64_t limit = value(limits, i), each = value(unit, i);
        if (limit == 0 || each == 0)
            continue;
        uint64_t fits = (limit - value(sum, i)) / each;
        times = fits < times ? fits : times;
    }
    return times;
}

static void give(struct part *part, struct sch_use *sum, uint64_t times)
{
    for (unsigned i = 0; i < AMOUNTS; i++) {
        uint64_t more = times * value(&part->next, i);
        *amount(&part->bound, i) += more; /* what is out counts, whatever it was allowed */
        *amount(&part->allowed, i) = value(&part->bound, i);
        *amount(sum, i) += more;
    }
}

/* In turns; large remainders in large pieces. Returns whether somebody wants more than there is. */
static bool hand_out(struct sch_tokens *tokens)
{
    struct sch_use sum = bounds(tokens);
    uint64_t *given = sy_calloc(tokens->count, sizeof(*given));
    struct part *part;
    while ((part = next_part(tokens, &sum, given))) {
        uint64_t *had = &given[part - tokens->parts];
        uint64_t piece = most_times(&sum, &part->next, &tokens->limits) / (2 * tokens->count);
        uint64_t most = part->wanted - *had;
        piece = piece > most ? most : piece > 0 ? piece : 1;
        give(part, &sum, piece);
        *had += piece;
    }
    bool short_of = false;
    for (uint32_t i = 0; i < tokens->count; i++)
        short_of |= tokens->parts[i].wanted > given[i];
    free(given);
    return short_of;
}

/* What it does not need goes back; when others lack it, also what is above an equal part. One that
 * obeys its allowance and wants more has nothing left of it but what is too small for the next. */
static void take_back(struct sch_tokens *tokens, struct part *part, double equal_part)
{
    double has = part_of_limit(tokens, &part->used);
    if (part->wanted > 0 && has <= equal_part && !part->settled)
        return;
    double keep = has > equal_part ? equal_part / has : 1;
    for (unsigned i = 0; i < AMOUNTS; i++) {
        uint64_t target = (uint64_t)((double)value(&part->used, i) * keep);
        if (target < value(&part->allowed, i))
            *amount(&part->allowed, i) = target;
    }
}

/* The limits were lowered, or a partition that began anew brought more: nobody replaces what ends
 * until all together are within them. */
static void cut_back(struct sch_tokens *tokens)
{
    struct sch_use sum = bounds(tokens);
    for (unsigned k = 0; k < AMOUNTS; k++) {
        uint64_t limit = value(&tokens->limits, k);
        for (uint32_t i = 0; limit > 0 && value(&sum, k) > limit && i < tokens->count; i++)
            *amount(&tokens->parts[i].allowed, k) = 0;
    }
}

static uint32_t count_needy(const struct sch_tokens *tokens)
{
    uint32_t needy = 0;
    for (uint32_t i = 0; i < tokens->count; i++)
        needy += tokens->parts[i].wanted > 0 || tokens->parts[i].used.actions > 0;
    return needy;
}

static void ask_all(struct sch_tokens *tokens, int64_t now_ns, const struct sch_tokens_sink *sink)
{
    for (uint32_t i = 0; i < tokens->count; i++) {
        struct part *part = &tokens->parts[i];
        if (part->known || part->asked_ns + AGAIN_NS > now_ns)
            continue;
        part->asked_ns = now_ns;
        sink->ask(sink->ctx, i, tokens->term);
    }
}

/* What it said or heard last may have been lost. */
static bool say_again(const struct part *part, bool short_of, int64_t now_ns)
{
    if (part->told_ns + AGAIN_NS > now_ns)
        return false;
    return !part->settled ||
           (short_of && sch_use_any(&part->bound) && part->heard_ns + QUIET_NS <= now_ns);
}

void sch_tokens_settle(struct sch_tokens *tokens, int64_t now_ns,
                       const struct sch_tokens_sink *sink)
{
    static const struct sch_use nothing = {0};
    if (tokens->unknown > 0) {
        ask_all(tokens, now_ns, sink);
        return;
    }
    struct sch_use *before = sy_calloc(tokens->count, sizeof(*before)), sum = bounds(tokens);
    if (sch_use_fits(&sum, &nothing, &tokens->limits))
        tokens->over = false;
    for (uint32_t i = 0; i < tokens->count; i++)
        before[i] = tokens->parts[i].allowed;
    bool short_of = hand_out(tokens);
    double equal_part = short_of ? 1.0 / count_needy(tokens) : 1.0;
    for (uint32_t i = 0; i < tokens->count; i++) {
        if (equal(&tokens->parts[i].allowed, &before[i]))
            take_back(tokens, &tokens->parts[i], equal_part);
    }
    cut_back(tokens);
    for (uint32_t i = 0; i < tokens->count; i++) {
        struct part *part = &tokens->parts[i];
        bool changed = !equal(&part->allowed, &before[i]) || !equal(&part->limits, &tokens->limits);
        if (!changed && !say_again(part, short_of, now_ns))
            continue;
        part->sent += changed;
        part->limits = tokens->limits;
        part->settled = false;
        part->told_ns = now_ns;
        struct sch_token_allowance allowance = {.partition = i,
                                                .epoch = part->epoch,
                                                .sequence = part->sent,
                                                .term = tokens->term,
                                                .allowed = part->allowed,
                                                .limits = part->limits};
        sink->allow(sink->ctx, &allowance);
    }
    free(before);
    sch_tokens_check(tokens);
}
