#include "agent/room.h"

#include <string.h>

void ag_room_init(struct ag_room *room, const struct sch_resources *capacity,
                  const struct sch_traits *traits, const uint8_t *gpu_groups,
                  const struct sch_environment *environments, size_t count)
{
    static const struct sch_traits plain;
    SY_ASSERT(count <= AG_ROOM_ENVIRONMENTS_MAX);
    memset(room, 0, sizeof(*room));
    room->capacity = *capacity;
    ag_devices_init(&room->devices, capacity->gpus, gpu_groups, traits ? traits : &plain);
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
    struct sch_shape shape = {
        .capacity = room->capacity, .traits = room->devices.traits, .nodes = 1};
    shape.environment_count = room->environment_count;
    memcpy(shape.environments, room->environments, sizeof(room->environments));
    struct sch_resources amounts = *request;
    memset(amounts.labels, 0, sizeof(amounts.labels));
    memset(shape.traits.taints, 0, sizeof(shape.traits.taints));
    return sch_shape_fits(&shape, &amounts, ret_miss);
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
    if (sch_resources_has_gpu(request))
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
    if (!ag_devices_fit(&room->devices, request))
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
    ag_devices_take(&room->devices, request, ret_devices);
    if (request->environment[0] != '\0')
        room->slots_used[find_environment(room, request->environment)]++;
}

void ag_room_give(struct ag_room *room, const struct sch_resources *request,
                  const uint16_t *devices)
{
    SY_ASSERT(room->cpu_used >= request->cpu_milli);
    SY_ASSERT(room->memory_used >= request->memory_bytes);
    room->cpu_used -= request->cpu_milli;
    room->memory_used -= request->memory_bytes;
    ag_devices_give(&room->devices, request, devices);
    if (request->environment[0] != '\0') {
        int at = find_environment(room, request->environment);
        SY_ASSERT(at >= 0 && room->slots_used[at] > 0);
        room->slots_used[at]--;
    }
}
