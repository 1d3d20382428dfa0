#include "agent/devices.h"

#include <string.h>

void ag_devices_init(struct ag_devices *devices, uint32_t count, const uint8_t *groups,
                     const struct sch_traits *traits)
{
    SY_ASSERT(count <= SCH_GPUS_MAX && traits->slice_count <= SCH_GPU_SLICES_MAX);
    memset(devices, 0, sizeof(*devices));
    devices->count = devices->free_count = count;
    devices->traits = *traits;
    for (uint32_t i = 0; i < count; i++) {
        devices->group[i] = groups ? groups[i] : 0;
        SY_ASSERT(devices->group[i] < AG_GPU_GROUPS_MAX);
        devices->group_free[devices->group[i]]++;
    }
    for (uint32_t i = 0; i < traits->slice_count; i++)
        devices->slices_free[i] = traits->slices[i].count;
}

uint32_t ag_devices_asked(const struct sch_resources *request)
{
    return request->gpu_milli > 0 ? 1 : request->gpus;
}

/* ---- slices ---- */

static bool slices_fit(const struct ag_devices *devices, const struct sch_resources *request)
{
    int kind = sch_traits_find_slices(&devices->traits, request->gpu_partition);
    return kind >= 0 && devices->slices_free[kind] >= request->gpus;
}

static void take_slices(struct ag_devices *devices, const struct sch_resources *request,
                        uint16_t *ret_numbers)
{
    int kind = sch_traits_find_slices(&devices->traits, request->gpu_partition);
    uint32_t found = 0;
    for (uint32_t i = 0; found < request->gpus; i++) {
        SY_ASSERT(i < devices->traits.slices[kind].count);
        uint64_t bit = UINT64_C(1) << (i % 64);
        if (devices->slices_used[kind][i / 64] & bit)
            continue;
        devices->slices_used[kind][i / 64] |= bit;
        ret_numbers[found++] = (uint16_t)i;
    }
    devices->slices_free[kind] -= request->gpus;
}

static void give_slices(struct ag_devices *devices, const struct sch_resources *request,
                        const uint16_t *numbers)
{
    int kind = sch_traits_find_slices(&devices->traits, request->gpu_partition);
    SY_ASSERT(kind >= 0);
    for (uint32_t i = 0; i < request->gpus; i++) {
        uint64_t bit = UINT64_C(1) << (numbers[i] % 64);
        SY_ASSERT(devices->slices_used[kind][numbers[i] / 64] & bit);
        devices->slices_used[kind][numbers[i] / 64] &= ~bit;
    }
    devices->slices_free[kind] += request->gpus;
}

/* ---- GPUs ---- */

static void use(struct ag_devices *devices, uint32_t device, uint32_t milli)
{
    SY_ASSERT(devices->used_milli[device] + milli <= SCH_GPU_MILLI);
    if (devices->used_milli[device] == 0) {
        devices->free_count--;
        devices->group_free[devices->group[device]]--;
    }
    devices->used_milli[device] += (uint16_t)milli;
}

static void unuse(struct ag_devices *devices, uint32_t device, uint32_t milli)
{
    SY_ASSERT(device < devices->count && devices->used_milli[device] >= milli);
    devices->used_milli[device] -= (uint16_t)milli;
    if (devices->used_milli[device] == 0) {
        devices->free_count++;
        devices->group_free[devices->group[device]]++;
    }
}

/* The group that holds them all and has the fewest left over; else the one with the most. */
static uint32_t choose_group(const struct ag_devices *devices, uint32_t asked)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < AG_GPU_GROUPS_MAX; i++) {
        uint32_t here = devices->group_free[i], there = devices->group_free[best];
        bool fits = here >= asked, fitted = there >= asked;
        if (fits != fitted ? fits : fits ? here < there : here > there)
            best = i;
    }
    return best;
}

static void take_whole(struct ag_devices *devices, uint32_t asked, uint16_t *ret_numbers)
{
    uint32_t found = 0;
    while (found < asked) {
        uint32_t group = choose_group(devices, asked - found);
        SY_ASSERT(devices->group_free[group] > 0);
        for (uint32_t i = 0; i < devices->count && found < asked; i++) {
            if (devices->group[i] != group || devices->used_milli[i] > 0)
                continue;
            use(devices, i, SCH_GPU_MILLI);
            ret_numbers[found++] = (uint16_t)i;
        }
    }
}

/* -1: none that is shared already. */
static int find_shared(const struct ag_devices *devices, uint32_t milli)
{
    int best = -1;
    for (uint32_t i = 0; i < devices->count; i++) {
        uint32_t used = devices->used_milli[i];
        if (used > 0 && used + milli <= SCH_GPU_MILLI &&
            (best < 0 || used > devices->used_milli[best]))
            best = (int)i;
    }
    return best;
}

static void take_share(struct ag_devices *devices, uint32_t milli, uint16_t *ret_number)
{
    int shared = find_shared(devices, milli);
    if (shared < 0) {
        take_whole(devices, 1, ret_number);
        unuse(devices, *ret_number, SCH_GPU_MILLI);
        shared = *ret_number;
    }
    use(devices, (uint32_t)shared, milli);
    *ret_number = (uint16_t)shared;
}

bool ag_devices_fit(const struct ag_devices *devices, const struct sch_resources *request)
{
    if (request->gpu_partition[0])
        return slices_fit(devices, request);
    if (request->gpu_milli > 0)
        return devices->traits.gpus_shared &&
               (devices->free_count > 0 || find_shared(devices, request->gpu_milli) >= 0);
    return request->gpus <= devices->free_count;
}

void ag_devices_take(struct ag_devices *devices, const struct sch_resources *request,
                     uint16_t *ret_numbers)
{
    SY_ASSERT(ag_devices_fit(devices, request));
    if (request->gpu_partition[0])
        take_slices(devices, request, ret_numbers);
    else if (request->gpu_milli > 0)
        take_share(devices, request->gpu_milli, ret_numbers);
    else
        take_whole(devices, request->gpus, ret_numbers);
}

void ag_devices_give(struct ag_devices *devices, const struct sch_resources *request,
                     const uint16_t *numbers)
{
    if (request->gpu_partition[0]) {
        give_slices(devices, request, numbers);
        return;
    }
    uint32_t milli = request->gpu_milli > 0 ? request->gpu_milli : SCH_GPU_MILLI;
    for (uint32_t i = 0; i < ag_devices_asked(request); i++)
        unuse(devices, numbers[i], milli);
}
