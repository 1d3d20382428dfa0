/*
 * What fits on this node: cpu, memory, GPUs by device, slots of environments. The agent has the
 * last word on room: it never runs more than fits. Pure.
 */
#pragma once

#include "agent/devices.h"
#include "scheduler/resources.h"

#include <stddef.h>

#define AG_ROOM_ENVIRONMENTS_MAX 16

/* Bits of what is short, or used. */
enum {
    AG_ROOM_CPU = 1,
    AG_ROOM_MEMORY = 2,
    AG_ROOM_GPUS = 4,
    AG_ROOM_ENVIRONMENT = 8, /* << index of the environment */
};

struct ag_room {
    struct sch_resources capacity;
    uint64_t memory_used;
    uint32_t cpu_used;
    struct ag_devices devices;
    struct sch_environment environments[AG_ROOM_ENVIRONMENTS_MAX];
    uint32_t slots_used[AG_ROOM_ENVIRONMENTS_MAX];
    uint32_t environment_count;
};

/* `traits` and `gpu_groups` (see devices.h) may be NULL. */
void ag_room_init(struct ag_room *room, const struct sch_resources *capacity,
                  const struct sch_traits *traits, const uint8_t *gpu_groups,
                  const struct sch_environment *environments, size_t count);
/* Whether the empty node could hold it. When not, *ret_miss says what is missing. Labels and
 * taints are the operator's business: the node knows neither the labels of its cluster nor what the
 * task's queue tolerates. */
bool ag_room_could_hold(const struct ag_room *room, const struct sch_resources *request,
                        struct sy_error_text *ret_miss);
/* The bits that the request uses at all, and those of which there is not enough now. */
uint32_t ag_room_uses(const struct ag_room *room, const struct sch_resources *request);
uint32_t ag_room_missing(const struct ag_room *room, const struct sch_resources *request);
/* It must fit. `ret_devices` takes ag_devices_asked() numbers. */
void ag_room_take(struct ag_room *room, const struct sch_resources *request, uint16_t *ret_devices);
void ag_room_give(struct ag_room *room, const struct sch_resources *request,
                  const uint16_t *devices);
