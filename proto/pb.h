/*
 * protobuf-c with our arenas and buffers.
 *
 * protobuf-c checks neither UTF-8 nor NULs: a string field that holds a NUL byte ends there for C,
 * so that "a\0b" would pass for "a". Where requests enter pb_find_nul() refuses those; what becomes
 * a key or is shown to people is also checked as a name (see controlplane/names.h).
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

#include <protobuf-c/protobuf-c.h>

/* The message lives in the arena, nothing is to be freed. NULL: malformed, or larger than the
 * arena's cap. */
void *pb_unpack(const ProtobufCMessageDescriptor *descriptor, struct sy_arena *arena,
                struct sy_span bytes) SY_MUST_USE;
/* The name of a string field that holds a NUL byte, in the message or below it; NULL: none. The
 * bytes are those of a message that pb_unpack() took. One memchr() when no byte is 0; else only
 * fields that hold one are looked into, so inline inputs cost no more than that. */
const char *pb_find_nul(const ProtobufCMessageDescriptor *descriptor, struct sy_span bytes);
/* Appends. */
void pb_pack(const ProtobufCMessage *message, struct sy_buf *buf);
