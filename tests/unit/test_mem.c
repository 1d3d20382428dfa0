/* links: sy_base */
#include "base/error.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

START_TEST(test_zero_bytes_are_not_null)
{
    void *a = sy_malloc(0), *b = sy_calloc(0, 8), *c = sy_realloc(NULL, 0);
    void *d = sy_memdup(NULL, 0);
    ck_assert(a && b && c && d);
    free(a);
    free(b);
    free(c);
    free(d);
}
END_TEST

START_TEST(test_new_is_zeroed)
{
    struct thing {
        char bytes[100];
    };
    struct thing zero = {{0}};
    struct thing *thing = sy_new(struct thing);
    ck_assert_mem_eq(thing, &zero, sizeof(zero));
    free(thing);
}
END_TEST

START_TEST(test_copies)
{
    char raw[] = {'a', 'b', 'c'}; /* no NUL */
    char *s = sy_strdup("hello"), *cut = sy_strndup("hello", 2), *all = sy_strndup("hi", 99);
    char *bounded = sy_strndup(raw, sizeof(raw)), *none = sy_strndup(NULL, 0);
    char *bytes = sy_memdup("a\0b", 3);
    ck_assert_str_eq(s, "hello");
    ck_assert_str_eq(cut, "he");
    ck_assert_str_eq(all, "hi");
    ck_assert_str_eq(bounded, "abc");
    ck_assert_str_eq(none, "");
    ck_assert_mem_eq(bytes, "a\0b", 3);
    free(s);
    free(cut);
    free(all);
    free(bounded);
    free(none);
    free(bytes);
}
END_TEST

START_TEST(test_realloc_keeps_the_bytes)
{
    char *p = sy_memdup("abcd", 5);
    p = sy_realloc(p, 10000);
    ck_assert_str_eq(p, "abcd");
    free(p);
}
END_TEST

static void allocate_too_much(void *arg)
{
    size_t *size = arg;
    free(sy_malloc(*size));
}

static void multiply_too_much(void *arg)
{
    size_t *size = arg;
    free(sy_calloc(*size, *size));
}

START_TEST(test_exhaustion_aborts)
{
    /* A sanitizer's allocator would report the size itself, in other words. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
    size_t size = SIZE_MAX / 2;
    ck_assert(aborts(allocate_too_much, &size));
    ck_assert(aborts(multiply_too_much, &size));
#else
    (void)allocate_too_much;
    (void)multiply_too_much;
#endif
}
END_TEST

START_TEST(test_autofree)
{
    SY_AUTOFREE char *owned = sy_strdup("freed at the end: LeakSanitizer checks it");
    SY_AUTOFREE char *never = NULL;
    ck_assert_ptr_nonnull(owned);
    ck_assert_ptr_null(never);
}
END_TEST

START_TEST(test_container_of)
{
    struct outer {
        int before;
        int inner;
    } outer = {1, 2};
    ck_assert_int_eq(outer.before + outer.inner, 3);
    ck_assert_ptr_eq(sy_container_of(&outer.inner, struct outer, inner), &outer);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_zero_bytes_are_not_null,
        test_new_is_zeroed,
        test_copies,
        test_realloc_keeps_the_bytes,
        test_exhaustion_aborts,
        test_autofree,
        test_container_of,
        NULL,
    };
    return sy_test_run("mem", tests);
}
