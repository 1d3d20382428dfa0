/* How a cluster does, in words, for people. Pure. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#include "switchyard/v1/region_service.pb-c.h"

struct cp_cluster_health {
    const char *state; /* as in switchyard.v1.Cluster */
    int64_t silent_ns; /* realtime: no word since; 0: connected, or never seen */
    uint32_t nodes, nodes_ready;
    uint32_t partitions, connected; /* that serve; that have a stream of it */
    int64_t joined;                 /* operators; -1: it is not registered */
    bool token_valid;               /* somebody may still join */
};
/* "" when all is well. */
void cp_cluster_reason(const struct cp_cluster_health *health, struct sy_error_text *ret);
/* Of one that is drained. `stopping`: what its agents have, as it says. */
void cp_cluster_drain_reason(const Switchyard__V1__Drain *drain, uint64_t stopping,
                             struct sy_error_text *ret);
