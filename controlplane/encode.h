/*
 * Protobuf records written by hand, straight into a buffer: for the rows and messages of which
 * there are millions. (Packing through protobuf-c's structs costs a struct, a size pass and a pack
 * pass for each.) Fields must be written in ascending order; zero and empty values are left out, as
 * proto3 does.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <string.h>

#define CP_VARINT_BYTES_MAX 10

enum cp_wire_type {
    CP_WIRE_VARINT = 0,
    CP_WIRE_FIXED64 = 1,
    CP_WIRE_BYTES = 2,
    CP_WIRE_FIXED32 = 5
};

static inline uint8_t *cp_put_room(struct sy_buf *buf, size_t n)
{
    if (buf->cap - buf->len < n)
        sy_buf_reserve(buf, n);
    return buf->data + buf->len;
}

static inline uint8_t *cp_write_varint(uint8_t *at, uint64_t v)
{
    while (v >= 0x80) {
        *at++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *at++ = (uint8_t)v;
    return at;
}

static inline void cp_put_varint(struct sy_buf *buf, uint64_t v)
{
    uint8_t *start = cp_put_room(buf, CP_VARINT_BYTES_MAX);
    buf->len += (size_t)(cp_write_varint(start, v) - start);
}

static inline void cp_put_uint(struct sy_buf *buf, uint32_t field, uint64_t v)
{
    if (v == 0)
        return;
    uint8_t *start = cp_put_room(buf, 2 * CP_VARINT_BYTES_MAX);
    uint8_t *at = cp_write_varint(start, field << 3 | CP_WIRE_VARINT);
    buf->len += (size_t)(cp_write_varint(at, v) - start);
}

/* int32, int64: negative ones take ten bytes, as protobuf has it. */
static inline void cp_put_int(struct sy_buf *buf, uint32_t field, int64_t v)
{
    cp_put_uint(buf, field, (uint64_t)v);
}

static inline void cp_put_fixed64(struct sy_buf *buf, uint32_t field, uint64_t v)
{
    if (v == 0)
        return;
    uint8_t *start = cp_put_room(buf, CP_VARINT_BYTES_MAX + sizeof(v));
    uint8_t *at = cp_write_varint(start, field << 3 | CP_WIRE_FIXED64);
    memcpy(at, &v, sizeof(v)); /* little-endian, as buf.c asserts */
    buf->len += (size_t)(at - start) + sizeof(v);
}

static inline void cp_put_bytes_always(struct sy_buf *buf, uint32_t field, const void *data,
                                       size_t len)
{
    uint8_t *start = cp_put_room(buf, 2 * CP_VARINT_BYTES_MAX + len);
    uint8_t *at = cp_write_varint(start, field << 3 | CP_WIRE_BYTES);
    at = cp_write_varint(at, len);
    if (len > 0)
        memcpy(at, data, len);
    buf->len += (size_t)(at - start) + len;
}

static inline void cp_put_bytes(struct sy_buf *buf, uint32_t field, const void *data, size_t len)
{
    if (len > 0)
        cp_put_bytes_always(buf, field, data, len);
}

/* NULL counts as empty. */
static inline void cp_put_str(struct sy_buf *buf, uint32_t field, const char *s)
{
    if (s && *s)
        cp_put_bytes_always(buf, field, s, strlen(s));
}

/* A nested message: what is put between begin and end. Most are shorter than 128 bytes, so one byte
 * is kept for the length; a longer one is moved. */
static inline size_t cp_put_begin(struct sy_buf *buf, uint32_t field)
{
    uint8_t *start = cp_put_room(buf, CP_VARINT_BYTES_MAX + 1);
    uint8_t *at = cp_write_varint(start, field << 3 | CP_WIRE_BYTES);
    *at++ = 0;
    buf->len += (size_t)(at - start);
    return buf->len;
}

static inline void cp_put_end(struct sy_buf *buf, size_t begin)
{
    size_t len = buf->len - begin;
    if (len < 0x80) {
        buf->data[begin - 1] = (uint8_t)len;
        return;
    }
    uint8_t prefix[CP_VARINT_BYTES_MAX];
    size_t n = (size_t)(cp_write_varint(prefix, len) - prefix);
    cp_put_room(buf, n - 1);
    memmove(buf->data + begin - 1 + n, buf->data + begin, len);
    memcpy(buf->data + begin - 1, prefix, n);
    buf->len += n - 1;
}

/* ---- scanning ---- */

struct cp_field {
    uint32_t number;
    enum cp_wire_type type;
    uint64_t value;      /* VARINT, FIXED64, FIXED32 */
    struct sy_span span; /* BYTES */
};

static inline bool cp_read_varint(struct sy_span *in, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < CP_VARINT_BYTES_MAX && i < in->len; i++) {
        v |= (uint64_t)(in->data[i] & 0x7f) << (7 * i);
        if (in->data[i] < 0x80) {
            in->data += i + 1;
            in->len -= i + 1;
            *ret = v;
            return true;
        }
    }
    return false;
}

/* Takes the next field off `in`. False at the end, and when the bytes are not protobuf: then `in`
 * is not empty. */
static inline bool cp_read_field(struct sy_span *in, struct cp_field *ret)
{
    struct sy_span at = *in;
    uint64_t tag;
    if (at.len == 0 || !cp_read_varint(&at, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return false;
    *ret = (struct cp_field){.number = (uint32_t)(tag >> 3), .type = (enum cp_wire_type)(tag & 7)};
    uint64_t size = 0;
    switch (ret->type) {
    case CP_WIRE_VARINT:
        if (!cp_read_varint(&at, &ret->value))
            return false;
        break;
    case CP_WIRE_FIXED64:
    case CP_WIRE_FIXED32:
        size = ret->type == CP_WIRE_FIXED64 ? 8 : 4;
        if (at.len < size)
            return false;
        memcpy(&ret->value, at.data, size);
        break;
    case CP_WIRE_BYTES:
        if (!cp_read_varint(&at, &size) || size > at.len)
            return false;
        ret->span = (struct sy_span){at.data, (size_t)size};
        break;
    default:
        return false;
    }
    at.data += size;
    at.len -= (size_t)size;
    *in = at;
    return true;
}
