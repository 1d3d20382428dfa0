/*
 * protobuf-c with our arenas and buffers.
 *
 * protobuf-c checks neither UTF-8 nor NULs: a string field that holds a NUL byte ends there for C.
 * What becomes a key or is shown to people is therefore checked as a name first (see
 * controlplane/names.h).
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

#include <protobuf-c/protobuf-c.h>

/* The message lives in the arena, nothing is to be freed. NULL: malformed, or larger than the
 * arena's cap. */
void *pb_unpack(const ProtobufCMessageDescriptor *descriptor, struct sy_arena *arena,
                struct sy_span bytes) SY_MUST_USE;
/* Appends. */
void pb_pack(const ProtobufCMessage *message, struct sy_buf *buf);
