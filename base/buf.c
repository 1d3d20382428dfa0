#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MIN ((size_t)64)

void sy_buf_deinit(struct sy_buf *buf)
{
    free(buf->data);
    *buf = (struct sy_buf){0};
}

void sy_buf_clear(struct sy_buf *buf)
{
    buf->len = 0;
}

void sy_buf_reserve(struct sy_buf *buf, size_t extra)
{
    SY_ASSERT(buf->len <= buf->cap);
    if (extra <= buf->cap - buf->len)
        return;
    SY_ASSERT(extra <= SIZE_MAX / 4 - buf->len); /* callers check sizes from outside */
    size_t cap = buf->cap < CAP_MIN ? CAP_MIN : buf->cap * 2;
    if (cap < buf->len + extra)
        cap = buf->len + extra;
    buf->data = sy_realloc(buf->data, cap);
    buf->cap = cap;
    SY_ASSERT(buf->cap - buf->len >= extra);
}

void sy_buf_append(struct sy_buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return;
    SY_ASSERT(data);
    sy_buf_reserve(buf, len);
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
}

void sy_buf_append_str(struct sy_buf *buf, const char *s)
{
    sy_buf_append(buf, s, strlen(s));
}

void sy_buf_printf(struct sy_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    SY_ASSERT(len >= 0);
    sy_buf_reserve(buf, (size_t)len + 1); /* the NUL is written but not counted */
    va_start(args, format);
    int written = vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    SY_ASSERT(written == len);
    buf->len += (size_t)len;
}

struct sy_buf sy_buf_take(struct sy_buf *buf)
{
    struct sy_buf taken = *buf;
    *buf = (struct sy_buf){0};
    return taken;
}

struct sy_buf sy_buf_copy(const void *data, size_t len)
{
    struct sy_buf buf = {0};
    sy_buf_append(&buf, data, len);
    return buf;
}

void sy_buf_consume(struct sy_buf *buf, size_t n)
{
    SY_ASSERT(n <= buf->len);
    if (n == 0)
        return;
    memmove(buf->data, buf->data + n, buf->len - n);
    buf->len -= n;
}

void sy_buf_put_be64(struct sy_buf *buf, uint64_t v)
{
    v = __builtin_bswap64(v);
    sy_buf_append(buf, &v, sizeof(v));
}

void sy_buf_put_be32(struct sy_buf *buf, uint32_t v)
{
    v = __builtin_bswap32(v);
    sy_buf_append(buf, &v, sizeof(v));
}

uint64_t sy_get_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

uint32_t sy_get_be32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

void sy_put_le32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

uint32_t sy_get_le32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the conversions above assume it");
