#include "dataplane/log_lines.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "dataplane/wire.h"

#include <string.h>

enum { ORIGINATOR_USER = 1, ORIGINATOR_SYSTEM = 2 };
#define STREAM_AGENT 4

void dp_log_lines_deinit(struct dp_log_lines *lines)
{
    for (size_t i = 0; i < DP_LOG_STREAMS; i++)
        sy_buf_deinit(&lines->rest[i].text);
}

/* What a stream has gathered, as LogLine{timestamp, message, originator}. */
static void put_line(struct dp_log_lines *lines, size_t stream, bool newline, struct sy_buf *logs)
{
    struct sy_buf timestamp = {0}, line = {0}, text = {0};
    int64_t time_ns = lines->rest[stream].time_ns;
    sy_utf8_put_clean(&text, sy_buf_span(&lines->rest[stream].text));
    if (newline)
        sy_buf_append_str(&text, "\n");
    if (time_ns > 0) {
        dp_wire_put_u64(&timestamp, 1, (uint64_t)(time_ns / SY_NS_PER_S));
        dp_wire_put_u64(&timestamp, 2, (uint64_t)(time_ns % SY_NS_PER_S));
    }
    dp_wire_put_record(&line, 1, sy_buf_span(&timestamp));
    dp_wire_put_bytes(&line, 2, sy_buf_span(&text));
    dp_wire_put_u64(&line, 3, stream == STREAM_AGENT ? ORIGINATOR_SYSTEM : ORIGINATOR_USER);
    dp_wire_put_record(logs, 1, sy_buf_span(&line));
    sy_buf_clear(&lines->rest[stream].text);
    sy_buf_deinit(&timestamp);
    sy_buf_deinit(&line);
    sy_buf_deinit(&text);
}

/* Cuts too long a line, but not in the middle of a character. */
static void put_long_line(struct dp_log_lines *lines, size_t stream, struct sy_buf *logs)
{
    struct sy_buf *text = &lines->rest[stream].text;
    size_t len = DP_LOG_LINE_BYTES, back = 0;
    while (back < 3 && (text->data[len] & 0xc0) == 0x80) {
        len--;
        back++;
    }
    struct sy_buf rest = sy_buf_copy(text->data + len, text->len - len);
    text->len = len;
    put_line(lines, stream, false, logs);
    sy_buf_append(text, rest.data, rest.len);
    sy_buf_deinit(&rest);
}

static void add_text(struct dp_log_lines *lines, size_t stream, int64_t time_ns,
                     struct sy_span data, struct sy_buf *logs)
{
    struct sy_buf *text = &lines->rest[stream].text;
    while (data.len > 0) {
        const uint8_t *end = memchr(data.data, '\n', data.len);
        size_t len = end ? (size_t)(end - data.data) + 1 : data.len;
        size_t room = DP_LOG_LINE_BYTES + 1 - text->len;
        bool whole = len <= room;
        if (!whole)
            len = room;
        if (text->len == 0)
            lines->rest[stream].time_ns = time_ns;
        sy_buf_append(text, data.data, len);
        data.data += len;
        data.len -= len;
        if (whole && end)
            put_line(lines, stream, false, logs);
        else if (text->len > DP_LOG_LINE_BYTES)
            put_long_line(lines, stream, logs);
    }
}

bool dp_log_lines_add(struct dp_log_lines *lines, struct sy_span record, struct sy_buf *logs)
{
    struct dp_wire_field field;
    struct sy_span data = {0};
    uint64_t time_ns = 0, stream = 0;
    int r;
    while ((r = dp_wire_next(&record, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_VARINT)
            time_ns = field.value;
        else if (field.number == 2 && field.type == DP_WIRE_VARINT)
            stream = field.value;
        else if (field.number == 3 && field.type == DP_WIRE_BYTES)
            data = field.bytes;
    }
    if (r != DP_WIRE_E_END)
        return false;
    add_text(lines, stream < DP_LOG_STREAMS ? (size_t)stream : 0, (int64_t)time_ns, data, logs);
    return true;
}

void dp_log_lines_end(struct dp_log_lines *lines, struct sy_buf *logs)
{
    for (size_t i = 0; i < DP_LOG_STREAMS; i++) {
        if (lines->rest[i].text.len > 0)
            put_line(lines, i, true, logs);
    }
}
