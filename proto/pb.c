#include "proto/pb.h"

#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX 100 /* as other languages' protobuf has it */

static void *arena_alloc(void *arena, size_t size)
{
    return sy_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}

void *pb_unpack(const ProtobufCMessageDescriptor *descriptor, struct sy_arena *arena,
                struct sy_span bytes)
{
    ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
    return protobuf_c_message_unpack(descriptor, &allocator, bytes.len, bytes.data);
}

/* ---- NUL bytes in strings ---- */

enum wire_type { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_FIXED32 = 5 };

static bool read_varint(struct sy_span *at, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && at->len > 0; shift += 7) {
        uint8_t byte = *at->data;
        at->data++;
        at->len--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool read_bytes(struct sy_span *at, uint64_t len, struct sy_span *ret)
{
    if (len > at->len)
        return false;
    *ret = (struct sy_span){at->data, (size_t)len};
    at->data += len;
    at->len -= (size_t)len;
    return true;
}

/* The content of a field; empty unless it is of type WIRE_BYTES. */
static bool read_field(struct sy_span *at, uint64_t *ret_tag, struct sy_span *ret)
{
    struct sy_span skipped;
    uint64_t value;
    *ret = (struct sy_span){0};
    if (!read_varint(at, ret_tag))
        return false;
    switch (*ret_tag & 7) {
    case WIRE_VARINT:
        return read_varint(at, &value);
    case WIRE_FIXED64:
        return read_bytes(at, 8, &skipped);
    case WIRE_FIXED32:
        return read_bytes(at, 4, &skipped);
    case WIRE_BYTES:
        return read_varint(at, &value) && read_bytes(at, value, ret);
    default:
        return false;
    }
}

static bool has_nul(struct sy_span bytes)
{
    return bytes.len > 0 && memchr(bytes.data, '\0', bytes.len) != NULL;
}

static const char *find_nul(const ProtobufCMessageDescriptor *descriptor, struct sy_span at,
                            unsigned depth)
{
    struct sy_span content;
    uint64_t tag;
    while (has_nul(at) && read_field(&at, &tag, &content)) {
        if (!has_nul(content))
            continue;
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
            descriptor, (unsigned)(tag >> 3));
        if (field == NULL)
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING)
            return field->name;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const char *found = depth < DEPTH_MAX ? find_nul(field->descriptor, content, depth + 1)
                                              : field->name;
        if (found != NULL)
            return found;
    }
    return NULL;
}

const char *pb_find_nul(const ProtobufCMessageDescriptor *descriptor, struct sy_span bytes)
{
    return find_nul(descriptor, bytes, 0);
}

/* ---- out ---- */

void pb_pack(const ProtobufCMessage *message, struct sy_buf *buf)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size == 0)
        return;
    sy_buf_reserve(buf, size);
    size_t packed = protobuf_c_message_pack(message, buf->data + buf->len);
    SY_ASSERT(packed == size);
    buf->len += size;
}
