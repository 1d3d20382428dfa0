/* links: sy_base */
#include "base/buf.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <string.h>

START_TEST(test_zeroed_is_empty)
{
    struct sy_buf buf = {0};
    sy_buf_append(&buf, NULL, 0);
    sy_buf_consume(&buf, 0);
    sy_buf_clear(&buf);
    ck_assert_uint_eq(buf.len, 0);
    ck_assert_ptr_null(buf.data);
    sy_buf_deinit(&buf);
    struct sy_buf copy = sy_buf_copy(NULL, 0);
    ck_assert_uint_eq(copy.len, 0);
    sy_buf_deinit(&copy);
}
END_TEST

START_TEST(test_append_grows)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)i;
        sy_buf_append(&buf, &byte, 1);
    }
    ck_assert_uint_eq(buf.len, 10000);
    ck_assert_uint_ge(buf.cap, buf.len);
    for (unsigned i = 0; i < 10000; i++)
        ck_assert_uint_eq(buf.data[i], (uint8_t)i);
}
END_TEST

START_TEST(test_append_text_and_printf)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    sy_buf_append_str(&buf, "ab");
    sy_buf_append_str(&buf, "");
    sy_buf_printf(&buf, "%d-%s", 12, "x");
    ck_assert_uint_eq(buf.len, 6);
    ck_assert_mem_eq(buf.data, "ab12-x", 6);
    sy_buf_printf(&buf, "%5000d", 1);
    ck_assert_uint_eq(buf.len, 5006);
    ck_assert_int_eq(buf.data[5005], '1');
}
END_TEST

START_TEST(test_clear_keeps_memory)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = sy_buf_copy("abc", 3);
    uint8_t *data = buf.data;
    sy_buf_clear(&buf);
    ck_assert_uint_eq(buf.len, 0);
    ck_assert_ptr_eq(buf.data, data);
}
END_TEST

START_TEST(test_take_moves)
{
    struct sy_buf buf = sy_buf_copy("abc", 3);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf taken = sy_buf_take(&buf);
    ck_assert_ptr_null(buf.data);
    ck_assert_uint_eq(buf.len + buf.cap, 0);
    ck_assert_uint_eq(taken.len, 3);
    struct sy_span span = sy_buf_span(&taken);
    ck_assert_mem_eq(span.data, "abc", 3);
    ck_assert_uint_eq(span.len, 3);
}
END_TEST

START_TEST(test_consume)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = sy_buf_copy("abcdef", 6);
    sy_buf_consume(&buf, 2);
    ck_assert_uint_eq(buf.len, 4);
    ck_assert_mem_eq(buf.data, "cdef", 4);
    sy_buf_consume(&buf, 4);
    ck_assert_uint_eq(buf.len, 0);
}
END_TEST

static void consume_too_much(void *arg)
{
    struct sy_buf *buf = arg;
    sy_buf_consume(buf, buf->len + 1);
}

static void reserve_too_much(void *arg)
{
    struct sy_buf *buf = arg;
    sy_buf_reserve(buf, SIZE_MAX - 1);
}

START_TEST(test_impossible_sizes_abort)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = sy_buf_copy("abc", 3);
    ck_assert(aborts(consume_too_much, &buf));
    ck_assert(aborts(reserve_too_much, &buf));
}
END_TEST

START_TEST(test_integers)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    sy_buf_put_be64(&buf, UINT64_C(0x0102030405060708));
    sy_buf_put_be32(&buf, 0xa0b0c0d0u);
    static const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 0xa0, 0xb0, 0xc0, 0xd0};
    ck_assert_uint_eq(buf.len, sizeof(expected));
    ck_assert_mem_eq(buf.data, expected, sizeof(expected));
    ck_assert_uint_eq(sy_get_be64(buf.data), UINT64_C(0x0102030405060708));
    ck_assert_uint_eq(sy_get_be32(buf.data + 8), 0xa0b0c0d0u);
    uint8_t le[5] = {0};
    sy_put_le32(le + 1, 0x01020304u); /* unaligned */
    ck_assert_mem_eq(le, ((uint8_t[]){0, 4, 3, 2, 1}), 5);
    ck_assert_uint_eq(sy_get_le32(le + 1), 0x01020304u);
}
END_TEST

START_TEST(test_big_endian_sorts_in_order)
{
    static const uint64_t values[] = {0, 1, 255, 256, UINT32_MAX, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t i = 1; i < sizeof(values) / sizeof(values[0]); i++) {
        SY_CLEANUP(sy_buf_deinit) struct sy_buf a = {0};
        SY_CLEANUP(sy_buf_deinit) struct sy_buf c = {0};
        sy_buf_put_be64(&a, values[i - 1]);
        sy_buf_put_be64(&c, values[i]);
        ck_assert_int_lt(memcmp(a.data, c.data, 8), 0);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_zeroed_is_empty,
        test_append_grows,
        test_append_text_and_printf,
        test_clear_keeps_memory,
        test_take_moves,
        test_consume,
        test_impossible_sizes_abort,
        test_integers,
        test_big_endian_sorts_in_order,
        NULL,
    };
    return sy_test_run("buf", tests);
}
