#include "proto/json_impl.h"

#include <string.h>

struct pb_reader pb_reader(struct sy_span bytes)
{
    static const uint8_t nothing[1];
    const uint8_t *at = bytes.data != NULL ? bytes.data : nothing;
    return (struct pb_reader){at, at + bytes.len};
}

bool pb_read_varint(struct pb_reader *reader, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct pb_reader *reader, size_t size, uint64_t *ret)
{
    if ((size_t)(reader->end - reader->at) < size)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += size;
    *ret = value;
    return true;
}

bool pb_read_packed(struct pb_reader *reader, unsigned wire, uint64_t *ret)
{
    switch (wire) {
    case 0:
        return pb_read_varint(reader, ret);
    case 1:
        return read_fixed(reader, 8, ret);
    case 5:
        return read_fixed(reader, 4, ret);
    default:
        return false; /* also groups, which proto3 lacks */
    }
}

bool pb_read_field(struct pb_reader *reader, struct pb_field *ret)
{
    uint64_t tag, len;
    *ret = (struct pb_field){0};
    if (!pb_read_varint(reader, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return false;
    ret->id = (uint32_t)(tag >> 3);
    ret->wire = tag & 7;
    if (ret->wire != 2)
        return pb_read_packed(reader, ret->wire, &ret->number);
    if (!pb_read_varint(reader, &len) || len > (uint64_t)(reader->end - reader->at))
        return false;
    ret->bytes = (struct sy_span){reader->at, (size_t)len};
    reader->at += len;
    return true;
}

void pb_write_varint(struct sy_buf *buf, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    sy_buf_append(buf, bytes, n);
}

void pb_write_tag(struct sy_buf *buf, uint32_t id, unsigned wire)
{
    pb_write_varint(buf, (uint64_t)id << 3 | wire);
}

void pb_write_number(struct sy_buf *buf, uint32_t id, unsigned wire, uint64_t value)
{
    pb_write_tag(buf, id, wire);
    if (wire == 0) {
        pb_write_varint(buf, value);
        return;
    }
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    sy_buf_append(buf, bytes, wire == 1 ? 8 : 4);
}

void pb_write_bytes(struct sy_buf *buf, uint32_t id, struct sy_span bytes)
{
    pb_write_tag(buf, id, 2);
    pb_write_varint(buf, bytes.len);
    if (bytes.len > 0)
        sy_buf_append(buf, bytes.data, bytes.len);
}

unsigned pb_wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 1;
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return 5;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return 2;
    default:
        return 0;
    }
}
