/* links: sy_base */
#include "base/arena.h"
#include "base/error.h"
#include "tests/lib/test.h"

#include <stdint.h>
#include <string.h>

START_TEST(test_pieces_are_aligned_and_apart)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    uint8_t *pieces[500];
    for (size_t i = 0; i < 500; i++) {
        pieces[i] = sy_arena_alloc(&arena, i);
        ck_assert_ptr_nonnull(pieces[i]);
        ck_assert_uint_eq((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < 500; i++) {
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_eq(pieces[i][j], i & 0xff);
    }
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_cap_is_exact)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1000);
    ck_assert_ptr_null(sy_arena_alloc(&arena, 1001));
    ck_assert_ptr_null(sy_arena_alloc(&arena, SIZE_MAX));
    ck_assert_ptr_null(sy_arena_alloc(&arena, SIZE_MAX - 15));
    ck_assert_uint_eq(arena.used_bytes, 0);
    ck_assert_ptr_nonnull(sy_arena_alloc(&arena, 992));
    ck_assert_uint_eq(arena.used_bytes, 992);
    ck_assert_ptr_null(sy_arena_alloc(&arena, 1)); /* 16 after rounding */
    ck_assert_ptr_null(sy_arena_strdup(&arena, "x"));
    ck_assert_ptr_null(sy_arena_printf(&arena, "%d", 1));
    sy_arena_reset(&arena);
    ck_assert_ptr_nonnull(sy_arena_alloc(&arena, 992));
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_many_empty_pieces_reach_the_cap)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 16);
    size_t n = 0;
    while (sy_arena_alloc(&arena, 0))
        n++;
    ck_assert_uint_eq(n, (1 << 16) / 16);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_empty_arena_gives_nothing)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 0);
    ck_assert_ptr_null(sy_arena_alloc(&arena, 0));
    ck_assert_ptr_null(arena.first);
    sy_arena_reset(&arena);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_reset_reuses_the_first_block)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    void *first = sy_arena_alloc(&arena, 100);
    for (int i = 0; i < 100; i++)
        ck_assert_ptr_nonnull(sy_arena_alloc(&arena, 1000));
    ck_assert_ptr_ne(arena.first, arena.current);
    sy_arena_reset(&arena);
    ck_assert_uint_eq(arena.used_bytes, 0);
    ck_assert_ptr_eq(arena.first, arena.current);
    ck_assert_ptr_eq(sy_arena_alloc(&arena, 100), first);
    sy_arena_deinit(&arena);
    ck_assert_ptr_null(arena.first);
}
END_TEST

START_TEST(test_reset_gives_a_huge_first_block_back)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 8 << 20);
    ck_assert_ptr_nonnull(sy_arena_alloc(&arena, 4 << 20));
    sy_arena_reset(&arena);
    ck_assert_ptr_null(arena.first);
    ck_assert_ptr_nonnull(sy_arena_alloc(&arena, 10));
    sy_arena_deinit(&arena);
}
END_TEST

/* A large piece between small ones must neither disturb them nor be cut. */
START_TEST(test_small_and_large_mixed)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 16 << 20);
    char *small = sy_arena_strdup(&arena, "small");
    char *large = sy_arena_alloc(&arena, 1 << 20);
    memset(large, 'L', 1 << 20);
    char *after = sy_arena_strdup(&arena, "after");
    ck_assert_str_eq(small, "small");
    ck_assert_str_eq(after, "after");
    ck_assert_int_eq(large[0], 'L');
    ck_assert_int_eq(large[(1 << 20) - 1], 'L');
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_texts)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    ck_assert_str_eq(sy_arena_strdup(&arena, ""), "");
    ck_assert_str_eq(sy_arena_printf(&arena, "%s-%d", "a", 42), "a-42");
    char *wide = sy_arena_printf(&arena, "%20000d", 5);
    ck_assert_uint_eq(strlen(wide), 20000);
    ck_assert_int_eq(wide[19999], '5');
    sy_arena_deinit(&arena);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_pieces_are_aligned_and_apart,
        test_cap_is_exact,
        test_many_empty_pieces_reach_the_cap,
        test_empty_arena_gives_nothing,
        test_reset_reuses_the_first_block,
        test_reset_gives_a_huge_first_block_back,
        test_small_and_large_mixed,
        test_texts,
        NULL,
    };
    return sy_test_run("arena", tests);
}
