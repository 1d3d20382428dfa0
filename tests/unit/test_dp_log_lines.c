/* links: dp */
/* Log records become lines. */
#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "base/clock.h"
#include "base/mem.h"
#include "dataplane/log_lines.h"
#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "proto/pb.h"
#include "switchyard/v1/log_service.pb-c.h"
#include "tests/lib/test.h"

#include <string.h>

typedef Flyteidl2__Dataproxy__TailLogsResponse__Logs logs_message;

static void add(struct dp_log_lines *lines, int64_t time_ns, uint32_t stream, const char *text,
                size_t len, struct sy_buf *logs)
{
    Switchyard__V1__LogRecord record = SWITCHYARD__V1__LOG_RECORD__INIT;
    struct sy_buf bytes = {0};
    record.time_ns = time_ns;
    record.stream = stream;
    record.data = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)text};
    pb_pack(&record.base, &bytes);
    ck_assert(dp_log_lines_add(lines, sy_buf_span(&bytes), logs));
    sy_buf_deinit(&bytes);
}

static void add_text(struct dp_log_lines *lines, int64_t time_ns, uint32_t stream, const char *text,
                     struct sy_buf *logs)
{
    add(lines, time_ns, stream, text, strlen(text), logs);
}

static logs_message *decode(struct sy_buf *logs)
{
    logs_message *message = (logs_message *)protobuf_c_message_unpack(
        &flyteidl2__dataproxy__tail_logs_response__logs__descriptor, NULL, logs->len, logs->data);
    ck_assert_ptr_nonnull(message);
    sy_buf_deinit(logs);
    return message;
}

static void free_message(logs_message *message)
{
    protobuf_c_message_free_unpacked(&message->base, NULL);
}

START_TEST(lines_are_put_together)
{
    struct dp_log_lines lines = {0};
    struct sy_buf logs = {0};
    add_text(&lines, 1500000000, 1, "one\ntw", &logs);
    add_text(&lines, 2 * SY_NS_PER_S, 2, "error\n", &logs);
    add_text(&lines, 3 * SY_NS_PER_S, 4, "agent\n", &logs);
    add_text(&lines, 4 * SY_NS_PER_S, 1, "o\n\nla", &logs);
    add_text(&lines, 5 * SY_NS_PER_S, 1, "st", &logs);
    dp_log_lines_end(&lines, &logs);
    logs_message *m = decode(&logs);
    static const char *const expected[] = {"one\n", "error\n", "agent\n", "two\n", "\n", "last\n"};
    static const int64_t seconds[] = {1, 2, 3, 1, 4, 4};
    ck_assert_uint_eq(m->n_lines, SY_COUNT_OF(expected));
    for (size_t i = 0; i < m->n_lines; i++) {
        ck_assert_str_eq(m->lines[i]->message, expected[i]);
        ck_assert_int_eq(m->lines[i]->timestamp->seconds, seconds[i]);
        ck_assert_int_eq(m->lines[i]->originator, i == 2 ? 2 : 1);
    }
    ck_assert_int_eq(m->lines[0]->timestamp->nanos, 500000000);
    free_message(m);
    dp_log_lines_deinit(&lines);
}
END_TEST

START_TEST(long_lines_are_cut_between_characters)
{
    struct dp_log_lines lines = {0};
    struct sy_buf logs = {0}, text = {0};
    while (text.len < 3 * DP_LOG_LINE_BYTES)
        sy_buf_append_str(&text, "\xe2\x82\xac"); /* a euro sign: 3 bytes */
    size_t len = text.len;
    sy_buf_append_str(&text, "\n");
    add(&lines, 1, 1, (const char *)text.data, text.len, &logs);
    logs_message *m = decode(&logs);
    ck_assert_uint_ge(m->n_lines, 3);
    size_t sum = 0;
    for (size_t i = 0; i < m->n_lines; i++) {
        ck_assert_uint_le(strlen(m->lines[i]->message), DP_LOG_LINE_BYTES + 1);
        ck_assert_ptr_null(strstr(m->lines[i]->message, "\xef\xbf\xbd"));
        sum += strlen(m->lines[i]->message);
    }
    ck_assert_uint_eq(sum, len + 1);
    free_message(m);
    sy_buf_deinit(&text);
    dp_log_lines_deinit(&lines);
}
END_TEST

START_TEST(what_is_not_text)
{
    struct dp_log_lines lines = {0};
    struct sy_buf logs = {0};
    add(&lines, 1, 9, "a\xff\xc0z\n", 5, &logs);
    logs_message *m = decode(&logs);
    ck_assert_uint_eq(m->n_lines, 1);
    ck_assert_str_eq(m->lines[0]->message, "a\xef\xbf\xbd\xef\xbf\xbdz\n");
    free_message(m);
    ck_assert(!dp_log_lines_add(&lines, (struct sy_span){(const uint8_t *)"\x1a\x7f", 2}, &logs));
    dp_log_lines_end(&lines, &logs);
    ck_assert_uint_eq(logs.len, 0);
    dp_log_lines_deinit(&lines);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {lines_are_put_together, long_lines_are_cut_between_characters,
                            what_is_not_text, NULL};
    return sy_test_run("log lines", tests);
}
