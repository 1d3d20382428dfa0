/* Splits in a region of cp_region_world.h, as clients order them. */
#pragma once

#include "tests/unit/cp_region_world.h"

#include "switchyard/v1/region_service.pb-c.h"

static struct call *send_split(struct world *w, size_t shard, uint32_t partition, uint32_t at)
{
    Switchyard__V1__SplitPartitionRequest m = SWITCHYARD__V1__SPLIT_PARTITION_REQUEST__INIT;
    m.partition = partition;
    m.at = at;
    struct call *c = send_call(w, shard, "/switchyard.v1.RegionService/SplitPartition", &m.base);
    c->reads = true;
    return c;
}

/* Splits it; the number of the new one. */
static uint32_t split(struct world *w, size_t shard, uint32_t partition)
{
    struct call *c = send_split(w, shard, partition, 0);
    expect_ok(w, c);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 16);
    const Switchyard__V1__SplitPartitionResponse *m = pb_unpack(
        &switchyard__v1__split_partition_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(m);
    uint32_t made = m->partition;
    sy_arena_deinit(&arena);
    forget_call(w);
    return made;
}
