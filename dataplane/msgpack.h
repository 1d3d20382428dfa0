/*
 * MessagePack in one canonical form: shortest encodings, maps sorted by their encoded keys, doubles
 * for all floats. It is what Python's msgpack makes of a value whose maps were sorted, which is how
 * Flyte's SDK hashes dataclasses and dictionaries.
 */
#pragma once

#include "base/buf.h"

/* Appends. -EBADMSG when the bytes are not one whole value, hold text that is not UTF-8 or a key
 * that Python cannot hash, or nest deeper than 100; what was appended is then useless. */
int dp_msgpack_canonical(struct sy_span bytes, struct sy_buf *ret) SY_MUST_USE;
