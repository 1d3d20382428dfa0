#include "agent/room.h"

#include <string.h>

void ag_room_init(struct ag_room *room, const struct sch_resources *capacity,
                  const struct sch_environment *environments, size_t count)
{
    SY_ASSERT(count <= AG_ROOM_ENVIRONMENTS_MAX);
    SY_ASSERT(capacity->gpus <= SCH_GPUS_MAX);
    memset(room, 0, sizeof(*room));
    room->capacity = *capacity;
    room->environment_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        room->environments[i] = environments[i];
}

/* -1: there is no such environment. */
static int find_environment(const struct ag_room *room, const char *name)
{
    for (uint32_t i = 0; i < room->environment_count; i++) {
        if (strcmp(room->environments[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

bool ag_room_could_hold(const struct ag_room *room, const struct sch_resources *request,
                        struct sy_error_text *ret_miss)
{
    struct sch_shape shape = {.capacity = room->capacity, .nodes = 1};
    shape.environment_count = room->environment_count;
    memcpy(shape.environments, room->environments, sizeof(room->environments));
    return sch_shape_fits(&shape, request, ret_miss);
}

uint32_t ag_room_uses(const struct ag_room *room, const struct sch_resources *request)
{
    int environment = request->environment[0] != '\0' ? find_environment(room, request->environment)
                                                      : -1;
    uint32_t bits = 0;
    if (request->cpu_milli > 0)
        bits |= AG_ROOM_CPU;
    if (request->memory_bytes > 0)
        bits |= AG_ROOM_MEMORY;
    if (request->gpus > 0)
        bits |= AG_ROOM_GPUS;
    if (environment >= 0)
        bits |= (uint32_t)AG_ROOM_ENVIRONMENT << environment;
    return bits;
}

uint32_t ag_room_missing(const struct ag_room *room, const struct sch_resources *request)
{
    uint32_t bits = 0;
    if (request->cpu_milli > room->capacity.cpu_milli - room->cpu_used)
        bits |= AG_ROOM_CPU;
    if (request->memory_bytes > room->capacity.memory_bytes - room->memory_used)
        bits |= AG_ROOM_MEMORY;
    if (request->gpus > room->capacity.gpus - room->gpus_used)
        bits |= AG_ROOM_GPUS;
    if (request->environment[0] != '\0') {
        int at = find_environment(room, request->environment);
        SY_ASSERT(at >= 0);
        if (room->slots_used[at] >= room->environments[at].slots)
            bits |= (uint32_t)AG_ROOM_ENVIRONMENT << at;
    }
    return bits;
}

void ag_room_take(struct ag_room *room, const struct sch_resources *request, uint16_t *ret_devices)
{
    SY_ASSERT(ag_room_missing(room, request) == 0);
    room->cpu_used += request->cpu_milli;
    room->memory_used += request->memory_bytes;
    room->gpus_used += request->gpus;
    uint32_t found = 0;
    for (uint32_t device = 0; found < request->gpus; device++) {
        SY_ASSERT(device < room->capacity.gpus);
        uint64_t bit = UINT64_C(1) << (device % 64);
        if (room->devices_used[device / 64] & bit)
            continue;
        room->devices_used[device / 64] |= bit;
        ret_devices[found++] = (uint16_t)device;
    }
    if (request->environment[0] != '\0')
        room->slots_used[find_environment(room, request->environment)]++;
}

void ag_room_give(struct ag_room *room, const struct sch_resources *request,
                  const uint16_t *devices)
{
    SY_ASSERT(room->cpu_used >= request->cpu_milli);
    SY_ASSERT(room->memory_used >= request->memory_bytes);
    SY_ASSERT(room->gpus_used >= request->gpus);
    room->cpu_used -= request->cpu_milli;
    room->memory_used -= request->memory_bytes;
    room->gpus_used -= request->gpus;
    for (uint32_t i = 0; i < request->gpus; i++) {
        uint64_t bit = UINT64_C(1) << (devices[i] % 64);
        SY_ASSERT(room->devices_used[devices[i] / 64] & bit);
        room->devices_used[devices[i] / 64] &= ~bit;
    }
    if (request->environment[0] != '\0') {
        int at = find_environment(room, request->environment);
        SY_ASSERT(at >= 0 && room->slots_used[at] > 0);
        room->slots_used[at]--;
    }
}
