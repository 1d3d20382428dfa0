#include "proto/pb.h"

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
