/* links: cp */
/* Where partitions belong when each shard has a disk of its own, and whom they get as a standby
 * (controlplane/region_plan.h). */
#include "controlplane/region_plan.h"
#include "tests/unit/cp_records.h"

#include <stdlib.h>

struct place {
    struct cp_map map;
    uint32_t targets[RECORDS_MAX], standbys[RECORDS_MAX];
};

static struct records records;

static void shard(const char *name, bool draining)
{
    struct cp_map_shard row = {.session = name[0], .draining = draining};
    snprintf(row.name, sizeof(row.name), "%s", name);
    snprintf(row.endpoint, sizeof(row.endpoint), "%s:1", name);
    records_put_shard(&records, &row, 1);
}

/* "a" owns it when its session is that of its name; copies: "ab" are those of shards a and b. */
static struct cp_map_partition *partition(uint32_t number, const char *owner, const char *copies,
                                          const char *standby)
{
    static struct cp_map_partition row;
    row = (struct cp_map_partition){.number = number, .epoch = 1};
    snprintf(row.owner, sizeof(row.owner), "%s", owner);
    row.session = owner[0];
    for (size_t i = 0; copies[i] != '\0'; i++) {
        row.in_sync[i].id = 100 + (uint64_t)copies[i];
        row.in_sync[i].shard[0] = copies[i];
        row.in_sync_count++;
    }
    snprintf(row.standby, sizeof(row.standby), "%s", standby);
    return &row;
}

static void put(const struct cp_map_partition *row)
{
    records_put_partition(&records, row, 1);
}

static void plan(struct place *p, uint32_t moves_max)
{
    static const char local[] = CP_MAP_LOCAL "0123456789abcdef0123456789abcdef";
    record_set(records_find(&records, CP_MAP_STORAGE_KEY),
               (struct sy_span){(const uint8_t *)local, sizeof(local) - 1}, 1, 0);
    cp_map_deinit(&p->map);
    records_fill(&records, 1, &p->map);
    ck_assert(p->map.local);
    cp_plan(&p->map, p->targets);
    cp_plan_standbys(&p->map, p->targets, moves_max, p->standbys);
}

static const char *name_of(const struct place *p, uint32_t at)
{
    return at != CP_MAP_NONE ? p->map.shards[at].name : "";
}

static void begin(struct place *p)
{
    *p = (struct place){0};
    records = (struct records){0};
}

START_TEST(what_the_record_says_of_copies_is_read_as_written)
{
    struct place p;
    begin(&p);
    struct cp_map_partition *row = partition(3, "a", "ab", "b");
    row->alone_since_ns = 77;
    put(row);
    plan(&p, 4);
    const struct cp_map_partition *read = &p.map.partitions[0];
    ck_assert_uint_eq(read->in_sync_count, 2);
    ck_assert_uint_eq(cp_map_copy_on(read, "a")->id, 197);
    ck_assert_uint_eq(cp_map_copy_beside(read, "a")->id, 198);
    ck_assert_ptr_null(cp_map_copy_on(read, "c"));
    ck_assert_str_eq(read->standby, "b");
    ck_assert_int_eq(read->alone_since_ns, 77);
    cp_map_deinit(&p.map);
    /* two copies on one shard, or one without an id: nobody serves it */
    row->in_sync[1].shard[0] = 'a';
    put(row);
    struct record *record = records_partition(&records, 3);
    cp_map_begin(&p.map, 1);
    ck_assert_int_eq(record_add(record, &p.map, NULL), -EBADMSG);
    cp_map_deinit(&p.map);
}
END_TEST

START_TEST(who_claims_what_is_free)
{
    struct place p;
    begin(&p);
    shard("a", false), shard("b", false), shard("c", false);
    put(partition(0, "a", "ab", "b"));                           /* owned */
    struct cp_map_partition *row = partition(1, "b", "ab", "a"); /* its owner came back */
    row->session = 9999;
    put(row);
    row = partition(2, "x", "xb", "b"); /* its owner is not there */
    put(row);
    put(partition(3, "", "ab", "b"));   /* given to its standby */
    put(partition(4, "x", "x", "b"));   /* nobody has a copy in sync */
    row = partition(5, "b", "ab", "a"); /* people want it elsewhere */
    row->session = 9999;
    memcpy(row->wanted, "a", 2);
    put(row);
    plan(&p, 4);
    ck_assert_str_eq(name_of(&p, p.targets[1]), "b");
    ck_assert_str_eq(name_of(&p, p.targets[2]), "b");
    ck_assert_str_eq(name_of(&p, p.targets[3]), "b");
    ck_assert_str_eq(name_of(&p, p.targets[4]), "");
    ck_assert_str_eq(name_of(&p, p.targets[5]), "a");
    cp_map_deinit(&p.map);
}
END_TEST

START_TEST(one_that_was_never_begun_may_be_anywhere)
{
    struct place p;
    begin(&p);
    shard("a", false), shard("b", false);
    for (uint32_t i = 0; i < 4; i++) {
        struct cp_map_partition *row = partition(i, "", "", "");
        row->epoch = 0;
        put(row);
    }
    plan(&p, 4);
    size_t of_a = 0;
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_ne(p.targets[i], CP_MAP_NONE);
        of_a += strcmp(name_of(&p, p.targets[i]), "a") == 0;
        ck_assert_uint_eq(p.standbys[i], CP_MAP_NONE); /* nobody has it yet */
        ck_assert(cp_plan_ready(&p.map, &p.map.partitions[i], p.targets[i]));
    }
    ck_assert_uint_eq(of_a, 2);
    struct cp_map_partition *row = partition(0, "", "", ""); /* begun, and nobody knows where */
    put(row);
    plan(&p, 4);
    ck_assert_uint_eq(p.targets[0], CP_MAP_NONE);
    cp_map_deinit(&p.map);
}
END_TEST

START_TEST(standbys_are_spread)
{
    struct place p;
    begin(&p);
    shard("a", false), shard("b", false), shard("c", false);
    static const char *const owners[] = {"a", "a", "b", "b", "c", "c"};
    for (uint32_t i = 0; i < 6; i++)
        put(partition(i, owners[i], owners[i], ""));
    plan(&p, 4);
    size_t loads[3] = {0};
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert_uint_lt(p.standbys[i], 3);
        ck_assert_str_ne(name_of(&p, p.standbys[i]), owners[i]);
        loads[p.standbys[i]]++;
    }
    for (size_t i = 0; i < 3; i++) /* one more or less than its part: each is chosen by itself */
        ck_assert(loads[i] >= 1 && loads[i] <= 3);
    /* they stay, also when another shard comes; a draining one gets none */
    for (uint32_t i = 0; i < 6; i++)
        put(partition(i, owners[i], owners[i], name_of(&p, p.standbys[i])));
    uint32_t before[6];
    memcpy(before, p.standbys, sizeof(before));
    shard("d", true);
    plan(&p, 4);
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_uint_eq(p.standbys[i], before[i]);
    cp_map_deinit(&p.map);
}
END_TEST

START_TEST(alone_there_is_none)
{
    struct place p;
    begin(&p);
    shard("a", false);
    put(partition(0, "a", "ab", "b"));
    plan(&p, 4);
    ck_assert_uint_eq(p.standbys[0], CP_MAP_NONE);
    ck_assert_str_eq(name_of(&p, p.targets[0]), "a");
    cp_map_deinit(&p.map);
}
END_TEST

START_TEST(where_it_is_to_go_becomes_its_standby_first)
{
    struct place p;
    begin(&p);
    shard("a", false), shard("b", false), shard("c", false);
    struct cp_map_partition *row = partition(0, "a", "ab", "b");
    memcpy(row->wanted, "c", 2);
    put(row);
    put(partition(1, "b", "b", ""));
    plan(&p, 4);
    ck_assert_str_eq(name_of(&p, p.targets[0]), "c");
    ck_assert(!cp_plan_ready(&p.map, &p.map.partitions[0], p.targets[0]));
    ck_assert_str_eq(name_of(&p, p.standbys[0]), "c");
    row = partition(0, "a", "ac", "c"); /* in sync there: now it may move */
    memcpy(row->wanted, "c", 2);
    put(row);
    plan(&p, 4);
    ck_assert(cp_plan_ready(&p.map, &p.map.partitions[0], p.targets[0]));
    cp_map_deinit(&p.map);
}
END_TEST

START_TEST(few_standbys_in_sync_are_given_up_at_a_time)
{
    struct place p;
    begin(&p);
    shard("a", false), shard("b", false), shard("c", false);
    for (uint32_t i = 0; i < 6; i++) /* c has joined */
        put(partition(i, i < 3 ? "a" : "b", "ab", i < 3 ? "b" : "a"));
    plan(&p, 1);
    size_t replaced = 0;
    for (uint32_t i = 0; i < 6; i++)
        replaced += strcmp(name_of(&p, p.standbys[i]), "c") == 0;
    ck_assert_uint_eq(replaced, 1);
    plan(&p, 8);
    for (replaced = 0; p.map.partition_count > 0 && replaced < 2;) {
        for (uint32_t i = 0; i < 6; i++)
            replaced += strcmp(name_of(&p, p.standbys[i]), "c") == 0;
        ck_assert_uint_eq(replaced, 2); /* its part of six */
    }
    cp_map_deinit(&p.map);
}
END_TEST

START_TEST(a_drained_shard_s_partitions_go_to_their_standbys)
{
    struct place p;
    begin(&p);
    shard("a", true), shard("b", false), shard("c", false);
    put(partition(0, "a", "ab", "b"));
    put(partition(1, "a", "ac", "c"));
    plan(&p, 4);
    ck_assert_str_eq(name_of(&p, p.targets[0]), "b");
    ck_assert_str_eq(name_of(&p, p.targets[1]), "c");
    ck_assert(cp_plan_ready(&p.map, &p.map.partitions[0], p.targets[0]));
    cp_map_deinit(&p.map);
}
END_TEST

/* Else it would claim, and give, what it has given, for ever. */
START_TEST(who_drains_claims_only_what_nobody_else_can)
{
    struct place p;
    begin(&p);
    shard("a", true), shard("b", false), shard("c", true);
    struct cp_map_partition *row = partition(0, "", "ab", "b"); /* people wanted it there once */
    memcpy(row->wanted, "a", 2);
    put(row);
    row = partition(1, "a", "ab", "b"); /* its owner came back, and was drained */
    row->session = 9999;
    put(row);
    put(partition(2, "", "ac", "c"));
    plan(&p, 4);
    ck_assert_str_eq(name_of(&p, p.targets[0]), "b");
    ck_assert_str_eq(name_of(&p, p.targets[1]), "b");
    ck_assert_str_eq(name_of(&p, p.targets[2]), "c");
    cp_map_deinit(&p.map);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_the_record_says_of_copies_is_read_as_written,
                                  who_claims_what_is_free,
                                  one_that_was_never_begun_may_be_anywhere,
                                  standbys_are_spread,
                                  alone_there_is_none,
                                  where_it_is_to_go_becomes_its_standby_first,
                                  few_standbys_in_sync_are_given_up_at_a_time,
                                  a_drained_shard_s_partitions_go_to_their_standbys,
                                  who_drains_claims_only_what_nobody_else_can,
                                  NULL};
    return sy_test_run("cp_standby_plan", tests);
}
