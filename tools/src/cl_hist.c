#include "tools/src/cl_hist.h"

#include "base/error.h"
#include "base/mem.h"

#define SUB_BITS 7

struct cl_hist *cl_hist_new(void)
{
    return sy_new(struct cl_hist);
}

static unsigned bucket_of(uint64_t value)
{
    if (value < CL_HIST_SUB)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (shift + 1) * CL_HIST_SUB + (unsigned)((value >> shift) - CL_HIST_SUB);
}

/* The middle of a bucket. */
static uint64_t value_of(unsigned bucket)
{
    if (bucket < CL_HIST_SUB)
        return bucket;
    unsigned shift = bucket / CL_HIST_SUB - 1;
    uint64_t low = (uint64_t)(CL_HIST_SUB + bucket % CL_HIST_SUB) << shift;
    return low + ((1ull << shift) >> 1);
}

void cl_hist_record(struct cl_hist *hist, int64_t value)
{
    uint64_t v = value > 0 ? (uint64_t)value : 0;
    unsigned bucket = bucket_of(v);
    SY_ASSERT(bucket < CL_HIST_BUCKETS);
    hist->buckets[bucket]++;
    if (hist->count == 0 || v < hist->min)
        hist->min = v;
    if (v > hist->max)
        hist->max = v;
    hist->count++;
}

uint64_t cl_hist_quantile(const struct cl_hist *hist, double q)
{
    if (hist->count == 0)
        return 0;
    uint64_t wanted = (uint64_t)(q * (double)hist->count + 0.9999999);
    if (wanted < 1)
        wanted = 1;
    if (wanted >= hist->count)
        return hist->max;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < CL_HIST_BUCKETS; bucket++) {
        seen += hist->buckets[bucket];
        if (seen < wanted)
            continue;
        uint64_t v = value_of(bucket);
        if (v < hist->min)
            v = hist->min;
        return v > hist->max ? hist->max : v;
    }
    return hist->max; /* not reached */
}
