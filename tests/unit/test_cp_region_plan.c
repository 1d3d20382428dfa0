/* links: cp */
/* The region's records, and who should own what. */
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/region_plan.h"
#include "tests/unit/cp_records.h"

#include <stdlib.h>

/* ---- maps by hand ---- */

static void add_shard(struct cp_map *map, const char *name, int64_t session, bool draining)
{
    struct cp_map_shard shard = {.session = session, .draining = draining};
    struct record record = {.revision = map->revision, .session = session};
    struct sy_buf value SY_CLEANUP(sy_buf_deinit) = {0};
    cp_map_put_shard(&value, &shard);
    cp_map_shard_key(record.key, name);
    record_set(&record, sy_buf_span(&value), map->revision, session);
    MUST(record_add(&record, map, NULL) == 0);
}

static void add_partition(struct cp_map *map, const char *owner, int64_t session,
                          const char *wanted)
{
    struct cp_map_partition partition = {
        .number = (uint32_t)map->partition_count, .epoch = 1, .session = session};
    struct records records = {0};
    snprintf(partition.owner, sizeof(partition.owner), "%s", owner);
    snprintf(partition.wanted, sizeof(partition.wanted), "%s", wanted);
    records_put_partition(&records, &partition, map->revision);
    MUST(record_add(&records.items[0], map, NULL) == 0);
}

static void name_of(char ret[CP_NAME_LENGTH_MAX + 1], uint32_t shard)
{
    snprintf(ret, CP_NAME_LENGTH_MAX + 1, "s%02u", shard);
}

/* So many shards, and partitions that nobody owns yet. */
static void fill(struct cp_map *map, uint32_t shards, uint32_t partitions)
{
    char name[CP_NAME_LENGTH_MAX + 1];
    cp_map_begin(map, map->revision + 1);
    for (uint32_t i = 0; i < shards; i++) {
        name_of(name, i);
        add_shard(map, name, i + 1, false);
    }
    for (uint32_t i = 0; i < partitions; i++)
        add_partition(map, "", 0, "");
}

static void set_owner(struct cp_map *map, uint32_t partition, uint32_t shard)
{
    struct cp_map_partition *p = &map->partitions[partition];
    memset(p->owner, 0, sizeof(p->owner));
    p->session = 0;
    if (shard != CP_MAP_NONE) {
        memcpy(p->owner, map->shards[shard].name, sizeof(p->owner));
        p->session = map->shards[shard].session;
    }
}

static void carry_out(struct cp_map *map)
{
    uint32_t *targets SY_AUTOFREE = sy_calloc(map->partition_count, sizeof(*targets));
    cp_plan(map, targets);
    for (uint32_t i = 0; i < map->partition_count; i++)
        set_owner(map, i, targets[i]);
}

/* Moves that the plan wants now, and how many each shard would have in the end. */
static size_t planned(const struct cp_map *map, size_t *ret_counts)
{
    uint32_t *targets SY_AUTOFREE = sy_calloc(map->partition_count, sizeof(*targets));
    size_t moves = 0;
    cp_plan(map, targets);
    for (size_t i = 0; i < map->shard_count; i++)
        ret_counts[i] = 0;
    for (size_t i = 0; i < map->partition_count; i++) {
        uint32_t owner = cp_map_owner(map, &map->partitions[i]);
        ck_assert_uint_lt(targets[i], map->shard_count);
        ret_counts[targets[i]]++;
        moves += owner != CP_MAP_NONE && owner != targets[i];
    }
    return moves;
}

/* ---- records ---- */

START_TEST(records_survive_a_round_trip)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    struct cp_map_shard shard = {.name = "shard-1",
                                 .session = 77,
                                 .endpoint = "10.0.0.1:8090",
                                 .version = "0.1.0-dirty",
                                 .since_ns = 1764000000000000000,
                                 .draining = true};
    struct cp_map_partition partition = {.number = 4095,
                                         .epoch = 4000000000,
                                         .owner = "shard-1",
                                         .session = 77,
                                         .moving = true,
                                         .wanted = "shard-2",
                                         .range = {5, UINT64_MAX}};
    struct records records = {0};
    records_put_shard(&records, &shard, 11);
    records_put_partition(&records, &partition, 12);
    records_put_partition(&records, &(struct cp_map_partition){.number = 3}, 5);
    records_fill(&records, 12, &map);
    ck_assert_uint_eq(map.shard_count, 1);
    ck_assert_uint_eq(map.partition_count, 2);
    shard.revision = 11;
    partition.revision = 12;
    ck_assert_mem_eq(&map.shards[0], &shard, sizeof(shard));
    ck_assert_uint_eq(map.partitions[0].number, 3);
    ck_assert_uint_eq(map.partitions[0].epoch, 0);
    ck_assert_mem_eq(&map.partitions[1], &partition, sizeof(partition));
    ck_assert_uint_eq(cp_map_shard(&map, "shard-1"), 0);
    ck_assert_uint_eq(cp_map_shard(&map, "shard-2"), CP_MAP_NONE);
    ck_assert_uint_eq(cp_map_partition(&map, 4095), 1);
    ck_assert_uint_eq(cp_map_partition(&map, 4), CP_MAP_NONE);
}
END_TEST

START_TEST(what_cannot_be_read_is_named)
{
    static const struct {
        const char *key, *value;
        int64_t session;
    } bad[] = {
        {"partitions/00001", "\x0a\xff", 0},            /* cut off */
        {"partitions/00001", "\x12\x01z", 0},           /* an owner without a session */
        {"partitions/00001", "\x18\x05", 0},            /* a session without an owner */
        {"partitions/00001", "\x12\x03z/y\x18\x05", 0}, /* no name */
        {"partitions/00001", "\x2a\x01 ", 0},
        {"partitions/00001", "\x08\xff\xff\xff\xff\x0f", 0},             /* no epoch after it */
        {"partitions/00001", "\x41\x09\x09\x09\x09\x09\x09\x09\x09", 0}, /* 9 and more, to 0 */
        {"partitions/1", "", 0},
        {"partitions/0000x", "", 0},
        {"partitions/000001", "", 0},
        {"partitions/04096", "", 0},
        {"region", "", 0},
        {"region", "4x", 0},
        {"region", "4097", 0},
        {"shards/", "", 5},
        {"shards/a/b", "", 5},
        {"shards/a", "", 0}, /* bound to no session */
    };
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        struct record record = {0};
        struct sy_error_text error = {0};
        cp_map_begin(&map, 9);
        snprintf(record.key, sizeof(record.key), "%s", bad[i].key);
        record_set(&record, (struct sy_span){(const uint8_t *)bad[i].value, strlen(bad[i].value)},
                   9, bad[i].session);
        ck_assert_int_eq(record_add(&record, &map, &error), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(error.text, bad[i].key));
        ck_assert_uint_eq(map.shard_count + map.partition_count, 0);
    }
    struct record other = {.key = "clusters/a", .value = "\xff", .len = 1, .revision = 1};
    ck_assert_int_eq(record_add(&other, &map, NULL), 0);
}
END_TEST

static void put_made(struct cp_map *map, const char *count)
{
    struct record record = {.key = CP_MAP_REGION_KEY};
    record_set(&record, (struct sy_span){(const uint8_t *)count, strlen(count)}, 9, 0);
    MUST(record_add(&record, map, NULL) == 0);
}

static void put_range(struct cp_map *map, struct cp_range range)
{
    struct cp_map_partition partition = {.number = (uint32_t)map->partition_count, .range = range};
    struct records records = {0};
    records_put_partition(&records, &partition, map->revision);
    MUST(record_add(&records.items[0], map, NULL) == 0);
}

START_TEST(a_record_of_an_older_version_has_its_even_part)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    cp_map_begin(&map, 9);
    put_range(&map, (struct cp_range){0});
    put_range(&map, (struct cp_range){cp_range_even(1, 2).first, UINT64_MAX - 5});
    put_range(&map, (struct cp_range){UINT64_MAX - 4, UINT64_MAX});
    ck_assert_ptr_null(cp_map_ranges(&map)); /* of how many is not known yet */
    put_made(&map, "2");
    struct cp_ranges *ranges = cp_map_ranges(&map);
    ck_assert_ptr_nonnull(ranges);
    ck_assert_uint_eq(cp_ranges_of(ranges, 0).last, cp_range_even(0, 2).last);
    ck_assert_uint_eq(cp_ranges_find(ranges, UINT64_MAX - 5), 1);
    ck_assert_uint_eq(cp_ranges_find(ranges, UINT64_MAX - 4), 2);
    cp_ranges_free(ranges);
}
END_TEST

START_TEST(ranges_that_contradict_each_other_are_none)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    cp_map_begin(&map, 9);
    ck_assert_ptr_null(cp_map_ranges(&map));
    put_made(&map, "2");
    put_range(&map, cp_range_even(0, 2));
    ck_assert_ptr_null(cp_map_ranges(&map)); /* a record is missing */
    put_range(&map, (struct cp_range){cp_range_even(0, 2).last, UINT64_MAX});
    ck_assert_ptr_null(cp_map_ranges(&map));
    cp_map_begin(&map, 10); /* nothing of before is left */
    ck_assert_uint_eq(map.made, 0);
    put_range(&map, (struct cp_range){0, UINT64_MAX});
    struct cp_ranges *ranges = cp_map_ranges(&map);
    ck_assert_ptr_nonnull(ranges);
    cp_ranges_free(ranges);
}
END_TEST

/* Else what it owns would be taken from it while it serves. */
START_TEST(a_shard_that_cannot_be_read_still_owns)
{
    static const char *const values[] = {"\x0a\xff", "\x0a\x01\x07", "\x12\x01\xff"};
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    for (size_t i = 0; i < SY_COUNT_OF(values); i++) {
        struct record record = {.key = "shards/b"};
        uint32_t targets[2];
        cp_map_begin(&map, 9);
        add_shard(&map, "a", 1, false);
        record_set(&record, (struct sy_span){(const uint8_t *)values[i], strlen(values[i])}, 9, 2);
        ck_assert_int_eq(record_add(&record, &map, NULL), -EBADMSG);
        add_partition(&map, "b", 2, "");
        add_partition(&map, "", 0, "");
        ck_assert_uint_eq(cp_map_owner(&map, &map.partitions[0]), 1);
        cp_plan(&map, targets); /* it gets nothing more */
        ck_assert_uint_eq(targets[0], 0);
        ck_assert_uint_eq(targets[1], 0);
    }
}
END_TEST

START_TEST(a_session_that_is_over_owns_nothing)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    cp_map_begin(&map, 1);
    add_shard(&map, "a", 7, false);
    add_partition(&map, "a", 7, "");
    add_partition(&map, "a", 6, ""); /* an earlier process of that name */
    add_partition(&map, "b", 7, "");
    add_partition(&map, "", 0, "");
    ck_assert_uint_eq(cp_map_owner(&map, &map.partitions[0]), 0);
    for (size_t i = 1; i < 4; i++)
        ck_assert_uint_eq(cp_map_owner(&map, &map.partitions[i]), CP_MAP_NONE);
}
END_TEST

/* ---- the plan ---- */

START_TEST(a_new_shard_gets_its_part_and_no_more_moves)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    size_t counts[4];
    fill(&map, 3, 256);
    ck_assert_uint_eq(planned(&map, counts), 0); /* nothing is owned: nothing moves */
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_ge(counts[i], 85);
    carry_out(&map);
    ck_assert_uint_eq(planned(&map, counts), 0);

    struct cp_map more SY_CLEANUP(cp_map_deinit) = {0};
    fill(&more, 4, 256);
    for (uint32_t i = 0; i < 256; i++)
        set_owner(&more, i, cp_map_owner(&map, &map.partitions[i]));
    ck_assert_uint_eq(planned(&more, counts), 64);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(counts[i], 64);
}
END_TEST

START_TEST(a_dead_shards_partitions_go_to_all_others)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    size_t counts[5];
    fill(&map, 5, 100);
    carry_out(&map);
    for (uint32_t i = 0; i < 100; i++) {
        if (cp_map_owner(&map, &map.partitions[i]) == 2)
            map.partitions[i].session = 99;
    }
    map.shards[2].session = 1000; /* it is back, and owns nothing */
    ck_assert_uint_eq(planned(&map, counts), 0);
    ck_assert_uint_eq(counts[2], 20);
    map.shards[2].draining = true;
    ck_assert_uint_eq(planned(&map, counts), 0);
    ck_assert_uint_eq(counts[2], 0);
    for (size_t i = 0; i < 5; i++)
        ck_assert_uint_eq(counts[i], i == 2 ? 0 : 25);
}
END_TEST

START_TEST(a_draining_shard_gets_none)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    size_t counts[3];
    fill(&map, 3, 9);
    carry_out(&map);
    map.shards[1].draining = true;
    ck_assert_uint_eq(planned(&map, counts), 3);
    ck_assert_uint_eq(counts[1], 0);
    ck_assert_uint_le(counts[0], 5);
    ck_assert_uint_le(counts[2], 5);
    /* All drain: who has one keeps it, what is free stays free. */
    uint32_t targets[9];
    map.shards[0].draining = map.shards[2].draining = true;
    set_owner(&map, 4, CP_MAP_NONE);
    cp_plan(&map, targets);
    for (size_t i = 0; i < 9; i++)
        ck_assert_uint_eq(targets[i], cp_map_owner(&map, &map.partitions[i]));
    ck_assert_uint_eq(targets[4], CP_MAP_NONE);
}
END_TEST

START_TEST(pins_come_first)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    uint32_t targets[8];
    size_t counts[3];
    fill(&map, 3, 8);
    carry_out(&map);
    for (size_t i = 0; i < 6; i++)
        snprintf(map.partitions[i].wanted, sizeof(map.partitions[i].wanted), "s01");
    snprintf(map.partitions[6].wanted, sizeof(map.partitions[6].wanted), "nobody");
    cp_plan(&map, targets);
    (void)planned(&map, counts);
    for (size_t i = 0; i < 6; i++)
        ck_assert_uint_eq(targets[i], 1);
    ck_assert_uint_eq(counts[0], 1); /* the rest are spread over the others */
    ck_assert_uint_eq(counts[2], 1);
    map.shards[1].draining = true; /* that comes before pins */
    (void)planned(&map, counts);
    ck_assert_uint_eq(counts[0], 4);
    ck_assert_uint_eq(counts[2], 4);
}
END_TEST

START_TEST(no_shards_no_plan)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    uint32_t targets[2] = {0};
    cp_map_begin(&map, 1);
    cp_plan(&map, targets);
    add_partition(&map, "", 0, "");
    add_partition(&map, "gone", 3, "s00");
    cp_plan(&map, targets);
    ck_assert_uint_eq(targets[0], CP_MAP_NONE);
    ck_assert_uint_eq(targets[1], CP_MAP_NONE);
}
END_TEST

/* ---- against brute force ---- */

#define SMALL_PARTITIONS 6
#define SMALL_SHARDS 4

static void any_map(struct sy_rng *rng, struct cp_map *map, uint32_t shards, uint32_t partitions)
{
    fill(map, shards, partitions);
    for (uint32_t i = 0; i < shards; i++)
        map->shards[i].draining = sy_rng_chance(rng, 1, 5);
    uint32_t pins = (uint32_t)sy_rng_below(rng, 3);
    for (uint32_t i = 0; i < partitions; i++) {
        uint32_t owner = (uint32_t)sy_rng_below(rng, shards + 1u);
        set_owner(map, i, owner < shards ? owner : CP_MAP_NONE);
        if (owner < shards && sy_rng_chance(rng, 1, 8))
            map->partitions[i].session = 99;
        if (pins > 0 && sy_rng_chance(rng, pins, 4))
            name_of(map->partitions[i].wanted, (uint32_t)sy_rng_below(rng, shards + 1u));
    }
}

struct value {
    size_t uneven; /* sum of squares: least when as even as can be */
    size_t moves;
};

/* False: it does what no plan may. */
static bool value_of(const struct cp_map *map, const uint32_t *targets, struct value *ret)
{
    size_t counts[SMALL_SHARDS] = {0};
    *ret = (struct value){0};
    for (size_t i = 0; i < map->partition_count; i++) {
        const struct cp_map_partition *p = &map->partitions[i];
        uint32_t owner = cp_map_owner(map, p), wanted = cp_map_shard(map, p->wanted);
        if (map->shards[targets[i]].draining ||
            (wanted != CP_MAP_NONE && !map->shards[wanted].draining && targets[i] != wanted))
            return false;
        counts[targets[i]]++;
        ret->moves += owner != CP_MAP_NONE && owner != targets[i];
    }
    for (size_t i = 0; i < map->shard_count; i++)
        ret->uneven += counts[i] * counts[i];
    return true;
}

static struct value best_of_all(const struct cp_map *map)
{
    struct value best = {SIZE_MAX, 0};
    size_t all = 1;
    for (size_t i = 0; i < map->partition_count; i++)
        all *= map->shard_count;
    for (size_t n = 0; n < all; n++) {
        uint32_t targets[SMALL_PARTITIONS];
        struct value value;
        size_t rest = n;
        for (size_t i = 0; i < map->partition_count; i++, rest /= map->shard_count)
            targets[i] = (uint32_t)(rest % map->shard_count);
        if (value_of(map, targets, &value) &&
            (value.uneven < best.uneven ||
             (value.uneven == best.uneven && value.moves < best.moves)))
            best = value;
    }
    return best;
}

START_TEST(no_even_plan_moves_fewer)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    unsigned moved = 0;
    for (unsigned n = 0; n < 3000; n++) {
        struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
        uint32_t targets[SMALL_PARTITIONS], shards = 1 + (uint32_t)sy_rng_below(&rng, SMALL_SHARDS);
        any_map(&rng, &map, shards, (uint32_t)sy_rng_below(&rng, SMALL_PARTITIONS + 1));
        struct value best = best_of_all(&map), value;
        cp_plan(&map, targets);
        if (best.uneven == SIZE_MAX)
            continue; /* all drain */
        MUST(value_of(&map, targets, &value));
        MUST(value.uneven == best.uneven);
        MUST(value.moves == best.moves);
        moved += value.moves > 0;
    }
    ck_assert_uint_gt(moved, 500);
}
END_TEST

/* ---- while it is being carried out ---- */

START_TEST(a_plan_stays_while_it_is_carried_out)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 2);
    unsigned steps = 0;
    for (unsigned n = 0; n < 1000; n++) {
        struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
        uint32_t plan[24], now[24], partitions = (uint32_t)sy_rng_below(&rng, 25);
        any_map(&rng, &map, 1 + (uint32_t)sy_rng_below(&rng, 6), partitions);
        cp_plan(&map, plan);
        for (unsigned i = 0; i < 2 * partitions; i++) {
            uint32_t p = (uint32_t)sy_rng_below(&rng, partitions);
            uint32_t owner = cp_map_owner(&map, &map.partitions[p]);
            if (owner == plan[p])
                continue;
            set_owner(&map, p, owner == CP_MAP_NONE ? plan[p] : CP_MAP_NONE);
            cp_plan(&map, now);
            MUST(memcmp(plan, now, partitions * sizeof(*plan)) == 0);
            steps++;
        }
    }
    ck_assert_uint_gt(steps, 5000);
}
END_TEST

/* Free ones go to many shards, and each shard gets many of its own choice: who loses one shard's
 * partitions to the others does not load a neighbour with all of them. */
START_TEST(what_is_free_spreads)
{
    struct cp_map map SY_CLEANUP(cp_map_deinit) = {0};
    uint32_t targets[256];
    size_t counts[48], runs = 0;
    fill(&map, 48, 256);
    (void)planned(&map, counts);
    for (size_t i = 0; i < 48; i++)
        ck_assert(counts[i] == 5 || counts[i] == 6);
    cp_plan(&map, targets);
    for (size_t i = 1; i < 256; i++)
        runs += targets[i] == targets[i - 1];
    ck_assert_uint_lt(runs, 30);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {records_survive_a_round_trip,
                                  what_cannot_be_read_is_named,
                                  a_record_of_an_older_version_has_its_even_part,
                                  ranges_that_contradict_each_other_are_none,
                                  a_shard_that_cannot_be_read_still_owns,
                                  a_session_that_is_over_owns_nothing,
                                  a_new_shard_gets_its_part_and_no_more_moves,
                                  a_dead_shards_partitions_go_to_all_others,
                                  a_draining_shard_gets_none,
                                  pins_come_first,
                                  no_shards_no_plan,
                                  no_even_plan_moves_fewer,
                                  a_plan_stays_while_it_is_carried_out,
                                  what_is_free_spreads,
                                  NULL};
    return sy_test_run("cp_region_plan", tests);
}
