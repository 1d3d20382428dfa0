/* links: sch */
#include "base/mem.h"
#include "base/rng.h"
#include "scheduler/heap.h"
#include "scheduler/list.h"
#include "scheduler/resources.h"
#include "scheduler/table.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static const struct sch_shape gpu_node = {
    .capacity = {.cpu_milli = 64000, .memory_bytes = 1ull << 38, .gpus = 4, .gpu_model = "H100"},
    .nodes = 3,
    .environment_count = 2,
    .environments = {{.name = "python", .slots = 8}, {.name = "off", .slots = 0}},
};

START_TEST(equality_is_of_bytes)
{
    struct sch_resources a = {.cpu_milli = 1000, .environment = "python"};
    struct sch_resources b = a;
    ck_assert(sch_resources_equal(&a, &b));
    ck_assert_uint_eq(sch_resources_hash(&a), sch_resources_hash(&b));
    b.gpu_model[0] = 'x';
    ck_assert(!sch_resources_equal(&a, &b));
    ck_assert_uint_ne(sch_resources_hash(&a), sch_resources_hash(&b));
}
END_TEST

static void assert_miss(const struct sch_resources *request, const char *text)
{
    struct sy_error_text miss = {0};
    ck_assert(!sch_shape_fits(&gpu_node, request, NULL));
    ck_assert(!sch_shape_fits(&gpu_node, request, &miss));
    ck_assert_str_eq(miss.text, text);
}

START_TEST(shapes_fit_or_say_why)
{
    struct sch_resources whole = gpu_node.capacity;
    ck_assert(sch_shape_fits(&gpu_node, &whole, NULL));
    ck_assert(sch_shape_fits(&gpu_node, &(struct sch_resources){0}, NULL));
    ck_assert(sch_shape_fits(&gpu_node, &(struct sch_resources){.gpus = 4}, NULL));
    ck_assert(sch_shape_fits(&gpu_node, &(struct sch_resources){.environment = "python"}, NULL));
    /* A model without GPUs asks for nothing. */
    ck_assert(sch_shape_fits(&gpu_node, &(struct sch_resources){.gpu_model = "A100"}, NULL));
    assert_miss(&(struct sch_resources){.gpus = 8, .gpu_model = "H100"},
                "8 x H100 asked, 4 x H100 there");
    assert_miss(&(struct sch_resources){.gpus = 1, .gpu_model = "A100"},
                "1 x A100 asked, 4 x H100 there");
    assert_miss(&(struct sch_resources){.gpus = 5}, "5 x GPU asked, 4 x H100 there");
    assert_miss(&(struct sch_resources){.environment = "ruby"},
                "environment 'ruby' asked, not there");
    assert_miss(&(struct sch_resources){.environment = "off"},
                "environment 'off' asked, no slot of it there");
    assert_miss(&(struct sch_resources){.cpu_milli = 64001},
                "64.001 cores asked, 64.000 cores there");
    assert_miss(&(struct sch_resources){.memory_bytes = 1ull << 39},
                "512.0 GiB memory asked, 256.0 GiB there");
}
END_TEST

#define ENTRIES 2000

START_TEST(the_nearest_shape_says_why)
{
    const struct sch_shape shapes[] = {
        {.capacity = {.cpu_milli = 0}, .nodes = 1},
        {.capacity = {.cpu_milli = 64000, .memory_bytes = 1ull << 40}, .nodes = 1},
        {.capacity = {.cpu_milli = 8000, .memory_bytes = 1ull << 36, .gpus = 4}, .nodes = 1}};
    struct sch_resources cpus = {.cpu_milli = 100000}, gpus = {.cpu_milli = 1000, .gpus = 8};
    struct sy_error_text miss = {0};
    ck_assert(!sch_shapes_fit(shapes, 3, &cpus, &miss));
    ck_assert_str_eq(miss.text, "100.000 cores asked, 64.000 cores there");
    ck_assert(!sch_shapes_fit(shapes, 3, &gpus, &miss));
    ck_assert_str_eq(miss.text, "8 x GPU asked, 4 x GPU there");
    gpus.gpus = 4;
    ck_assert(sch_shapes_fit(shapes, 3, &gpus, &miss));
    ck_assert(!sch_shapes_fit(shapes, 0, &gpus, NULL));
}
END_TEST

/* A queue has several heaps, and there are thousands of queues. */
START_TEST(heap_of_one_needs_no_memory)
{
    struct sch_heap heap = {0};
    struct sch_heap_entry one = {.tie = 1}, other = {.tie = 2};
    for (int64_t key = 3; key > 0; key--) {
        sch_heap_set(&heap, &one, key);
        sch_heap_check(&heap);
        ck_assert_ptr_eq(sch_heap_top(&heap), &one);
    }
    sch_heap_remove(&heap, &one);
    ck_assert_ptr_null(sch_heap_top(&heap));
    sch_heap_set(&heap, &other, 1);
    ck_assert_uint_eq(heap.cap, 0);
    sch_heap_set(&heap, &one, 1);
    sch_heap_check(&heap);
    ck_assert_ptr_eq(sch_heap_top(&heap), &one);
    ck_assert_ptr_eq(sch_heap_at(&heap, 1), &other);
    sch_heap_remove(&heap, &one);
    sch_heap_check(&heap);
    ck_assert_ptr_eq(sch_heap_top(&heap), &other);
    sch_heap_clear(&heap);
    ck_assert(!sch_heap_has(&other));
    sch_heap_deinit(&heap);
}
END_TEST

START_TEST(heap_keeps_the_smallest_on_top)
{
    struct sch_heap heap = {0};
    struct sch_heap_entry *entries = sy_calloc(ENTRIES, sizeof(*entries));
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    for (int step = 0; step < 20000; step++) {
        struct sch_heap_entry *entry = &entries[sy_rng_below(&rng, ENTRIES)];
        entry->tie = sch_heap_has(entry) ? entry->tie : (uint32_t)sy_rng_below(&rng, 4);
        if (sy_rng_chance(&rng, 1, 3))
            sch_heap_remove(&heap, entry);
        else
            sch_heap_set(&heap, entry, (int64_t)sy_rng_below(&rng, 100) - 50);
        if (step % 100 == 0)
            sch_heap_check(&heap);
    }
    int64_t last = INT64_MIN;
    size_t n = heap.count;
    ck_assert_uint_gt(n, 0);
    for (struct sch_heap_entry *top; (top = sch_heap_top(&heap)); n--) {
        int64_t order = top->key * 8 + top->tie;
        ck_assert_int_ge(order, last);
        last = order;
        sch_heap_remove(&heap, top);
        ck_assert(!sch_heap_has(top));
    }
    ck_assert_uint_eq(n, 0);
    sch_heap_set(&heap, &entries[0], 1);
    sch_heap_clear(&heap);
    ck_assert(!sch_heap_has(&entries[0]) && !sch_heap_top(&heap));
    sch_heap_deinit(&heap);
    free(entries);
}
END_TEST

struct number {
    struct sch_table_link link;
    uint64_t value;
};

static struct number *number_find(const struct sch_table *table, uint64_t value)
{
    struct sch_table_link *link = sch_table_first(table, sch_hash_u64(value, 0) & 0xfff);
    for (; link; link = sch_table_next(link)) {
        struct number *number = sy_container_of(link, struct number, link);
        if (number->value == value)
            return number;
    }
    return NULL;
}

START_TEST(table_finds_what_is_in_it)
{
    struct sch_table table = {0};
    struct number *numbers = sy_calloc(ENTRIES, sizeof(*numbers));
    struct sy_rng rng;
    sy_rng_init(&rng, 2);
    ck_assert_ptr_null(number_find(&table, 0));
    for (int step = 0; step < 40000; step++) {
        uint64_t value = sy_rng_below(&rng, ENTRIES);
        struct number *number = &numbers[value], *found = number_find(&table, value);
        ck_assert(found == (number->link.in_table ? number : NULL));
        number->value = value;
        if (found) /* hashes of 12 bits, so that chains hold different entries of one hash */
            sch_table_remove(&table, &number->link);
        else
            sch_table_add(&table, &number->link, sch_hash_u64(value, 0) & 0xfff);
        if (step % 500 == 0)
            sch_table_check(&table);
    }
    sch_table_deinit(&table);
    free(numbers);
}
END_TEST

START_TEST(lists_move_between_heads)
{
    struct sch_link a, b, items[3] = {0};
    sch_list_init(&a);
    sch_list_init(&b);
    sch_list_splice(&a, &b);
    ck_assert(sch_list_empty(&a));
    sch_list_push_back(&a, &items[0]);
    sch_list_push_back(&b, &items[2]);
    sch_list_push_front(&b, &items[1]);
    sch_list_splice(&a, &b);
    ck_assert(sch_list_empty(&b));
    ck_assert(a.next == &items[0] && items[0].next == &items[1] && items[1].next == &items[2]);
    sch_list_remove(&items[1]);
    ck_assert(!sch_link_in_list(&items[1]) && items[0].next == &items[2] && a.prev == &items[2]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {equality_is_of_bytes,           shapes_fit_or_say_why,
                                  the_nearest_shape_says_why,     heap_of_one_needs_no_memory,
                                  heap_keeps_the_smallest_on_top, table_finds_what_is_in_it,
                                  lists_move_between_heads,       NULL};
    return sy_test_run("sch_resources", tests);
}
