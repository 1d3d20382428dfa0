/* links: cl */
/* A streamed Connect answer, taken apart wherever its bytes are cut. */
#include "tests/lib/test.h"
#include "tools/src/bench_response.h"

#include <stdio.h>
#include <string.h>

#define HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define BYTES(text_) ((struct sy_span){(const uint8_t *)(text_), sizeof(text_) - 1})

struct seen {
    size_t count;
    char last[32];
};

static void on_message(void *ctx, struct sy_span message)
{
    struct seen *seen = ctx;
    seen->count++;
    snprintf(seen->last, sizeof(seen->last), "%.*s", (int)message.len, (const char *)message.data);
}

/* Two messages in three chunks, and the end. */
static const char answer[] = HEAD "8\r\n\0\0\0\0\3one\r\n"
                                  "6\r\n\0\0\0\0\3t\r\n"
                                  "2\r\nwo\r\n"
                                  "7\r\n\2\0\0\0\2{}\r\n0\r\n\r\n";

static void take_in_steps_of(size_t step)
{
    struct bench_response response = {0};
    struct seen seen = {0};
    struct sy_error_text error;
    size_t len = sizeof(answer) - 1;
    for (size_t at = 0; at < len && !response.over; at += step) {
        size_t piece = len - at < step ? len - at : step;
        struct sy_span bytes = {(const uint8_t *)answer + at, piece};
        ck_assert_int_eq(bench_response_take(&response, bytes, on_message, &seen, &error), 0);
    }
    ck_assert(response.over);
    ck_assert_uint_eq(seen.count, 2);
    ck_assert_str_eq(seen.last, "two");
    bench_response_deinit(&response);
}

START_TEST(wherever_it_is_cut)
{
    for (size_t step = 1; step < sizeof(answer); step++)
        take_in_steps_of(step);
}
END_TEST

static void expect_refused(struct sy_span bytes, const char *words)
{
    struct bench_response response = {0};
    struct seen seen = {0};
    struct sy_error_text error = {0};
    ck_assert_int_eq(bench_response_take(&response, bytes, on_message, &seen, &error), -EPROTO);
    ck_assert_msg(strstr(error.text, words) != NULL, "%s", error.text);
    ck_assert(!response.over);
    bench_response_deinit(&response);
}

START_TEST(what_is_no_such_answer)
{
    expect_refused(BYTES("HTTP/1.1 404 Not Found\r\n\r\n"), "404");
    expect_refused(BYTES(HEAD "what\r\n"), "what");
    expect_refused(BYTES(HEAD "fffffffff\r\n"), "fffffffff");
    expect_refused(BYTES(HEAD "\r\n"), "size");
    expect_refused(BYTES(HEAD "5\r\n\0\xff\xff\xff\xff\r\n"), "envelope");
    expect_refused(BYTES(HEAD "10\r\n\2\0\0\0\x0b{\"error\":1}\r\n"), "error");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {wherever_it_is_cut, what_is_no_such_answer, NULL};
    return sy_test_run("streamed answers", tests);
}
