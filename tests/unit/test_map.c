/* links: sy_base */
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t number;
    struct sy_map_link link;
};

static struct entry *find(const struct sy_map *map, uint64_t number)
{
    return sy_map_entry(sy_map_find(map, &number, sizeof(number)), struct entry, link);
}

/* Against an array of what should be there. */
START_TEST(a_million_operations)
{
    enum { KEYS = 3000 };
    static struct entry entries[KEYS];
    bool there[KEYS] = {false};
    size_t count = 0;
    struct sy_map map = {0};
    struct sy_rng rng;
    sy_rng_init(&rng, 11);
    for (unsigned i = 0; i < 1000000; i++) {
        size_t k = sy_rng_below(&rng, KEYS);
        entries[k].number = (uint64_t)k << 32; /* the low bits say nothing */
        struct entry *found = find(&map, entries[k].number);
        ck_assert_ptr_eq(found, there[k] ? &entries[k] : NULL);
        if (there[k])
            sy_map_remove(&map, &entries[k].link);
        else
            sy_map_add(&map, &entries[k].link, &entries[k].number, sizeof(entries[k].number));
        count += there[k] ? -1UL : 1;
        there[k] = !there[k];
        ck_assert_uint_eq(map.count, count);
    }
    size_t seen = 0;
    SY_MAP_EACH(&map, at, next)
    {
        seen++;
        sy_map_remove(&map, at);
    }
    ck_assert_uint_eq(seen, count);
    ck_assert_ptr_null(map.first);
    sy_map_deinit(&map);
}
END_TEST

START_TEST(the_order_is_that_of_adding)
{
    struct entry entries[100] = {{0}};
    struct sy_map map = {0};
    for (uint64_t i = 0; i < 100; i++) {
        entries[i].number = i * 7919 % 100;
        sy_map_add(&map, &entries[i].link, &entries[i].number, sizeof(uint64_t));
    }
    sy_map_refresh(&map, &entries[0].link);
    sy_map_refresh(&map, &entries[0].link); /* it is the last one already */
    sy_map_refresh(&map, &entries[50].link);
    sy_map_remove(&map, &entries[99].link);
    uint64_t expected = 1;
    SY_MAP_EACH(&map, at, next)
    {
        if (expected == 50)
            expected++;
        struct entry *wanted = expected < 99 ? &entries[expected] : &entries[at->next ? 0 : 50];
        ck_assert_ptr_eq(sy_map_entry(at, struct entry, link), wanted);
        expected++;
    }
    ck_assert_uint_eq(expected, 101);
    sy_map_deinit(&map);
}
END_TEST

/* A key that is the start of another is another key. */
START_TEST(keys_of_any_length)
{
    char text[64];
    memset(text, 'x', sizeof(text));
    struct sy_map_link links[sizeof(text)] = {{0}};
    struct sy_map map = {0};
    ck_assert_ptr_null(sy_map_find(&map, "", 0));
    for (size_t i = 0; i < sizeof(text); i++)
        sy_map_add(&map, &links[i], text, i);
    for (size_t i = 0; i < sizeof(text); i++)
        ck_assert_ptr_eq(sy_map_find(&map, text, i), &links[i]);
    text[63] = 'y'; /* belongs to no key */
    ck_assert_ptr_eq(sy_map_find(&map, text, 63), &links[63]);
    ck_assert_ptr_null(sy_map_find(&map, text, 64));
    sy_map_deinit(&map);
}
END_TEST

static void add_twice(void *arg)
{
    (void)arg;
    struct entry a = {.number = 1}, b = {.number = 1};
    struct sy_map map = {0};
    sy_map_add(&map, &a.link, &a.number, sizeof(a.number));
    sy_map_add(&map, &b.link, &b.number, sizeof(b.number));
}

static void remove_twice(void *arg)
{
    (void)arg;
    struct entry a = {.number = 1};
    struct sy_map map = {0};
    sy_map_add(&map, &a.link, &a.number, sizeof(a.number));
    sy_map_remove(&map, &a.link);
    sy_map_remove(&map, &a.link);
}

START_TEST(misuse_aborts)
{
    ck_assert(aborts(add_twice, NULL));
    ck_assert(aborts(remove_twice, NULL));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_million_operations, the_order_is_that_of_adding, keys_of_any_length, misuse_aborts, NULL,
    };
    return sy_test_run("map", tests);
}
