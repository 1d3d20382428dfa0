#include "base/utf8.h"

static bool is_tail(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t sy_utf8_next(struct sy_span text)
{
    const uint8_t *at = text.data;
    if (text.len == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    if (text.len < 2 || !is_tail(at[1]) || at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    if (at[0] < 0xe0)
        return 2;
    if (text.len < 3 || !is_tail(at[2]) || (at[0] == 0xe0 && at[1] < 0xa0) ||
        (at[0] == 0xed && at[1] >= 0xa0))
        return 0;
    if (at[0] < 0xf0)
        return 3;
    if (text.len < 4 || !is_tail(at[3]) || (at[0] == 0xf0 && at[1] < 0x90) ||
        (at[0] == 0xf4 && at[1] >= 0x90))
        return 0;
    return 4;
}

bool sy_utf8_valid(struct sy_span text)
{
    for (size_t len; text.len > 0; text.data += len, text.len -= len) {
        len = sy_utf8_next(text);
        if (len == 0)
            return false;
    }
    return true;
}

void sy_utf8_put_clean(struct sy_buf *buf, struct sy_span text)
{
    while (text.len > 0) {
        size_t len = sy_utf8_next(text);
        if (len > 0)
            sy_buf_append(buf, text.data, len);
        else
            sy_buf_append(buf, "\xef\xbf\xbd", 3);
        len = len > 0 ? len : 1;
        text.data += len;
        text.len -= len;
    }
}
