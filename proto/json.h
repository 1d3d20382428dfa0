/*
 * JSON for every message we declare, by protobuf's JSON mapping: lowerCamelCase names (both are
 * read), 64-bit integers as strings, bytes as base64, enums by name, google.protobuf's Timestamp,
 * Duration, Struct, Value, ListValue and wrappers in their own forms. It translates between JSON
 * and wire bytes by descriptor, without unpacking: so messages that recurse (Flyte's literals), and
 * fields that are declared as bytes but hold a message (json_types.c lists them), are read as what
 * they are, to a depth of PB_JSON_DEPTH_MAX.
 *
 * Where the mapping leaves a choice: fields that JSON names and we do not know are ignored, as
 * binary ones are; fields that are absent on the wire are absent in JSON.
 */
#pragma once

#include "base/buf.h"
#include "base/rpc.h"

#include <protobuf-c/protobuf-c.h>

#define PB_JSON_DEPTH_MAX 100
/* Of a request: what JSON takes in memory is some twenty times its length. */
#define PB_JSON_BYTES_MAX ((size_t)4 << 20)

/* Appends one line of UTF-8. -EBADMSG: malformed bytes, or nested too deep. */
int pb_json_from_wire(const ProtobufCMessageDescriptor *type, struct sy_span wire,
                      struct sy_buf *buf) SY_MUST_USE;
/* Appends. -EINVAL with a sentence that names the field ("runSpec.labels.a: expected ..."). */
int pb_json_to_wire(const ProtobufCMessageDescriptor *type, struct sy_span json, struct sy_buf *buf,
                    struct sy_error_text *error) SY_MUST_USE;

/* For base/rpc.h: every method of every service that we declare. */
const struct sy_codec *pb_json_codec(void);
