/* links: sy_base */
#include "base/error.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <stdlib.h>
#include <string.h>

/* `unit` again and again, as often as it fits. */
static void fill(char *text, size_t size, const char *unit)
{
    size_t len = 0;
    for (; len + strlen(unit) < size; len += strlen(unit))
        memcpy(text + len, unit, strlen(unit));
    text[len] = 0;
}

START_TEST(test_text_set_and_add)
{
    struct sy_error_text et;
    sy_error_text_set(&et, "'%s' is %d", "partitions", 7);
    ck_assert_str_eq(et.text, "'partitions' is 7");
    sy_error_text_add(&et, "second %s", "problem");
    ck_assert_str_eq(et.text, "'partitions' is 7; second problem");
    sy_error_text_set(&et, "new");
    ck_assert_str_eq(et.text, "new");
    sy_error_text_set(&et, "%s", "");
    sy_error_text_add(&et, "first");
    ck_assert_str_eq(et.text, "first");
}
END_TEST

START_TEST(test_text_null_is_ignored)
{
    sy_error_text_set(NULL, "x %d", 1);
    sy_error_text_add(NULL, "x %d", 1);
}
END_TEST

/* Wrapping a text in a longer one is what callers do. */
START_TEST(test_text_may_be_its_own_argument)
{
    struct sy_error_text et;
    sy_error_text_set(&et, "inner");
    sy_error_text_set(&et, "outer: %s", et.text);
    ck_assert_str_eq(et.text, "outer: inner");
}
END_TEST

START_TEST(test_text_shows_control_characters_as_question_marks)
{
    struct sy_error_text et;
    sy_error_text_set(&et, "a%sb", "\x1b[31m\n\t\x7f");
    ck_assert_str_eq(et.text, "a?[31m???b");
}
END_TEST

START_TEST(test_text_is_always_utf8)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},                     /* two bytes */
        {"\xe2\x82\xac", "\xe2\x82\xac"},                                 /* three */
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},                         /* four */
        {"\xff\xfe", "??"},                                               /* never bytes of UTF-8 */
        {"\xc3", "?"},                                                    /* cut short */
        {"\xc3(", "?("},                                                  /* second byte is wrong */
        {"\xe2\x82", "??"},                                               /* cut short */
        {"\xc0\xaf", "??"},                                               /* overlong / */
        {"\xe0\x80\xaf", "???"},                                          /* overlong / */
        {"\xed\xa0\x80", "???"},                                          /* a surrogate */
        {"\xf4\x90\x80\x80", "????"},                                     /* beyond U+10FFFF */
        {"\xed\x9f\xbf\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xf4\x8f\xbf\xbf"}, /* the last allowed */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sy_error_text et;
        sy_error_text_set(&et, "%s", cases[i].in);
        ck_assert_str_eq(et.text, cases[i].out);
    }
}
END_TEST

START_TEST(test_text_is_cut_and_says_so)
{
    char longer[2 * SY_ERROR_TEXT_MAX];
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    struct sy_error_text et;
    sy_error_text_set(&et, "%s", longer);
    ck_assert_uint_eq(strlen(et.text), SY_ERROR_TEXT_MAX - 1);
    ck_assert_str_eq(et.text + SY_ERROR_TEXT_MAX - 4, "...");
    sy_error_text_add(&et, "no room for this");
    ck_assert_uint_eq(strlen(et.text), SY_ERROR_TEXT_MAX - 1);
}
END_TEST

START_TEST(test_text_is_cut_between_characters)
{
    for (size_t shift = 0; shift < 4; shift++) {
        char longer[2 * SY_ERROR_TEXT_MAX] = "";
        memset(longer, 'x', shift);
        fill(longer + shift, sizeof(longer) - shift, "\xf0\x9f\x98\x80");
        struct sy_error_text et;
        sy_error_text_set(&et, "%s", longer);
        ck_assert_ptr_null(strchr(et.text, '?'));
        ck_assert_str_eq(et.text + strlen(et.text) - 3, "...");
        ck_assert_uint_eq((strlen(et.text) - 3 - shift) % 4, 0);
    }
}
END_TEST

START_TEST(test_text_add_is_cut)
{
    struct sy_error_text et;
    fill(et.text, 340, "0123456789");
    size_t before = strlen(et.text);
    char more[SY_ERROR_TEXT_MAX];
    memset(more, 'y', sizeof(more));
    more[sizeof(more) - 1] = 0;
    sy_error_text_add(&et, "%s", more);
    ck_assert_uint_eq(strlen(et.text), SY_ERROR_TEXT_MAX - 1);
    ck_assert_int_eq(strncmp(et.text + before, "; yyy", 5), 0);
    ck_assert_str_eq(et.text + SY_ERROR_TEXT_MAX - 4, "...");
}
END_TEST

/* Whatever room is left, adding keeps the text whole and terminated. */
START_TEST(test_text_add_near_the_end)
{
    for (size_t used = SY_ERROR_TEXT_MAX - 16; used < SY_ERROR_TEXT_MAX; used++) {
        struct sy_error_text et;
        memset(et.text, 'x', used);
        et.text[used] = 0;
        sy_error_text_add(&et, "abcdefghijklmnopqrstuvwxyz");
        ck_assert_ptr_nonnull(memchr(et.text, 0, sizeof(et.text)));
        ck_assert_uint_ge(strlen(et.text), used);
        ck_assert_int_eq(et.text[used - 1], 'x');
    }
}
END_TEST

static int fails(int code)
{
    return sy_trace(code);
}

START_TEST(test_trace_forwards_unchanged)
{
    ck_assert_int_eq(fails(-EIO), -EIO);
    ck_assert_int_eq(fails(0), 0);
    ck_assert_int_eq(fails(3), 3);
}
END_TEST

static size_t traced_bytes(int code)
{
    int pipe_fds[2], saved = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    errno = EXDEV;
    int r = fails(code);
    int after = errno;
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_fds[1]);
    ck_assert_int_eq(r, code);
    ck_assert_int_eq(after, EXDEV);
    char text[512] = "";
    ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);
    close(pipe_fds[0]);
    ck_assert_int_ge(n, 0);
    if (n > 0)
        ck_assert_ptr_nonnull(strstr(text, "EIO"));
    return (size_t)n;
}

START_TEST(test_trace_prints_when_asked)
{
    setenv("SWITCHYARD_TRACE", "1", 1);
    ck_assert_uint_gt(traced_bytes(-EIO), 0);
    unsetenv("SWITCHYARD_TRACE");
    ck_assert_uint_eq(traced_bytes(-EIO), 0);
}
END_TEST

static void assert_null(void *arg)
{
    char **pointer = arg;
    SY_ASSERT(*pointer == NULL);
    *pointer = NULL;
}

START_TEST(test_assert_aborts)
{
    char c, *something = &c, *nothing = NULL;
    ck_assert(aborts(assert_null, &something));
    ck_assert(!aborts(assert_null, &nothing));
}
END_TEST

START_TEST(test_take_empties_the_variable)
{
    char value;
    char *owner = &value;
    char *taken = sy_take(owner);
    ck_assert_ptr_eq(taken, &value);
    ck_assert_ptr_null(owner);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_text_set_and_add,
        test_text_null_is_ignored,
        test_text_may_be_its_own_argument,
        test_text_shows_control_characters_as_question_marks,
        test_text_is_always_utf8,
        test_text_is_cut_and_says_so,
        test_text_is_cut_between_characters,
        test_text_add_is_cut,
        test_text_add_near_the_end,
        test_trace_forwards_unchanged,
        test_trace_prints_when_asked,
        test_assert_aborts,
        test_take_empties_the_variable,
        NULL,
    };
    return sy_test_run("error", tests);
}
