/*
 * What fits on this node: cpu, memory, GPUs by device, slots of environments. The agent has the
 * last word on room: it never runs more than fits. Pure.
 */
#pragma once

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
    uint32_t cpu_used, gpus_used;
    uint64_t devices_used[SCH_GPUS_MAX / 64]; /* bit n: device n */
    struct sch_environment environments[AG_ROOM_ENVIRONMENTS_MAX];
    uint32_t slots_used[AG_ROOM_ENVIRONMENTS_MAX];
    uint32_t environment_count;
};

void ag_room_init(struct ag_room *room, const struct sch_resources *capacity,
                  const struct sch_environment *environments, size_t count);
/* Whether the empty node could hold it. When not, *ret_miss says what is missing. */
bool ag_room_could_hold(const struct ag_room *room, const struct sch_resources *request,
                        struct sy_error_text *ret_miss);
/* The bits that the request uses at all, and those of which there is not enough now. */
uint32_t ag_room_uses(const struct ag_room *room, const struct sch_resources *request);
uint32_t ag_room_missing(const struct ag_room *room, const struct sch_resources *request);
/* It must fit. `ret_devices` takes request->gpus numbers, the lowest that are free. */
void ag_room_take(struct ag_room *room, const struct sch_resources *request, uint16_t *ret_devices);
void ag_room_give(struct ag_room *room, const struct sch_resources *request,
                  const uint16_t *devices);
