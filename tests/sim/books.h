/*
 * The books of one action: what the client was told, what the executors did, what the checks saw in
 * the cores. Each side writes its part; the client audits the whole at the end.
 */
#pragma once

#include "switchyard/v1/action_service.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

struct sim_child {
    /* the client's */
    bool acknowledged;
    unsigned finals;  /* final events seen */
    unsigned results; /* outcomes collected */
    Switchyard__V1__Phase phase;
    /* the executors' */
    uint64_t started; /* fence of the last attempt that started: epoch << 32 | number */
    unsigned failed;  /* attempts that ended so by themselves: an error of the task, no memory, */
    unsigned lost;    /* a worker that was gone */
    unsigned deaths;  /* of these, one that nothing else ran in */
    unsigned running; /* attempts that run now */
    /* the checks' */
    uint64_t assigned; /* fence of the newest attempt in its core */
    uint64_t id;       /* once it was acknowledged; 0: not seen */
};

static inline uint64_t sim_fence(uint32_t epoch, uint32_t number)
{
    return (uint64_t)epoch << 32 | number;
}
