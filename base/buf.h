/*
 * struct sy_buf: a growable byte string with one owner. Passing a `struct sy_buf *` to a function
 * that "takes" it moves the bytes out and leaves it empty. A zeroed sy_buf is valid and empty.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct sy_buf {
    uint8_t *data;
    size_t len, cap;
};

void sy_buf_deinit(struct sy_buf *buf); /* also for SY_CLEANUP */
void sy_buf_clear(struct sy_buf *buf);  /* len = 0, memory kept */
void sy_buf_reserve(struct sy_buf *buf, size_t extra);
void sy_buf_append(struct sy_buf *buf, const void *data, size_t len);
void sy_buf_append_str(struct sy_buf *buf, const char *s);
void sy_buf_printf(struct sy_buf *buf, const char *format, ...) SY_PRINTF(2, 3);
/* Moves the content out; the source is empty afterwards. */
struct sy_buf sy_buf_take(struct sy_buf *buf);
struct sy_buf sy_buf_copy(const void *data, size_t len);
/* Drops the first n bytes (memmove). */
void sy_buf_consume(struct sy_buf *buf, size_t n);

/* Fixed-width integers, big-endian (so that keys sort in order) and little-endian. */
void sy_buf_put_be64(struct sy_buf *buf, uint64_t v);
void sy_buf_put_be32(struct sy_buf *buf, uint32_t v);
uint64_t sy_get_be64(const uint8_t *p);
uint32_t sy_get_be32(const uint8_t *p);
void sy_put_le32(uint8_t *p, uint32_t v);
uint32_t sy_get_le32(const uint8_t *p);

/* A borrowed view. */
struct sy_span {
    const uint8_t *data;
    size_t len;
};
static inline struct sy_span sy_buf_span(const struct sy_buf *buf)
{
    return (struct sy_span){buf->data, buf->len};
}
