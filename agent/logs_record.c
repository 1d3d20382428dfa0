#include "agent/logs_record.h"

#include <string.h>

static size_t put_varint(uint8_t *at, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        at[n++] = (uint8_t)(value | 0x80);
    at[n++] = (uint8_t)value;
    return n;
}

void ag_log_record_put(struct sy_buf *buf, int64_t time_ns, uint32_t stream, const void *data,
                       size_t size)
{
    SY_ASSERT(size <= AG_LOG_RECORD_DATA_MAX);
    uint8_t head[32];
    size_t n = 0;
    head[n++] = 1 << 3; /* time_ns */
    n += put_varint(head + n, (uint64_t)time_ns);
    head[n++] = 2 << 3; /* stream */
    n += put_varint(head + n, stream);
    head[n++] = 3 << 3 | 2; /* data */
    n += put_varint(head + n, size);
    uint8_t length[10];
    size_t m = put_varint(length, n + size);
    sy_buf_reserve(buf, m + n + size);
    sy_buf_append(buf, length, m);
    sy_buf_append(buf, head, n);
    sy_buf_append(buf, data, size);
}

int64_t ag_log_record_size(struct sy_span data)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i == data.len)
            return 0;
        value |= (uint64_t)(data.data[i] & 0x7f) << (7 * i);
        if (data.data[i] & 0x80)
            continue;
        if (value == 0 || value > AG_LOG_RECORD_BYTES_MAX)
            return -1;
        return (int64_t)(i + 1 + value);
    }
    return -1;
}

size_t ag_log_records_whole(struct sy_span data)
{
    size_t at = 0;
    while (at < data.len) {
        int64_t size = ag_log_record_size((struct sy_span){data.data + at, data.len - at});
        if (size <= 0 || (uint64_t)size > data.len - at)
            break;
        at += (size_t)size;
    }
    return at;
}
