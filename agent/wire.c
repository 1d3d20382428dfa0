#include "agent/wire.h"

#include <string.h>

static bool read_varint(struct sy_span *at, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < at->len; i++) {
        value |= (uint64_t)(at->data[i] & 0x7f) << (7 * i);
        if (at->data[i] < 0x80) {
            *at = (struct sy_span){at->data + i + 1, at->len - i - 1};
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct sy_span *at, size_t size, uint64_t *ret)
{
    if (at->len < size)
        return false;
    *ret = 0;
    memcpy(ret, at->data, size); /* little-endian, as we are */
    *at = (struct sy_span){at->data + size, at->len - size};
    return true;
}

static bool read_bytes(struct sy_span *at, struct sy_span *ret)
{
    uint64_t len;
    if (!read_varint(at, &len) || len > at->len)
        return false;
    *ret = (struct sy_span){at->data, (size_t)len};
    *at = (struct sy_span){at->data + len, at->len - (size_t)len};
    return true;
}

bool ag_wire_next(struct sy_span *at, struct ag_wire_field *ret)
{
    uint64_t tag;
    *ret = (struct ag_wire_field){0};
    if (at->len == 0 || !read_varint(at, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return false;
    ret->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case 0:
        return read_varint(at, &ret->value);
    case 1:
        return read_fixed(at, 8, &ret->value);
    case 2:
        return read_bytes(at, &ret->bytes);
    case 5:
        return read_fixed(at, 4, &ret->value);
    default:
        return false;
    }
}

bool ag_wire_find(struct sy_span message, uint32_t number, struct ag_wire_field *ret)
{
    struct ag_wire_field field;
    bool found = false;
    while (ag_wire_next(&message, &field)) {
        if (field.number == number) {
            *ret = field;
            found = true;
        }
    }
    return found;
}
