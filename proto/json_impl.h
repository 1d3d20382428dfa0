/* What the files of the JSON codec share; see json.h. */
#pragma once

#include "proto/json.h"

#include <stdbool.h>

/* ---- json_types.c: what descriptors do not say ---- */

enum pb_json_kind {
    PB_JSON_MESSAGE,
    PB_JSON_TIMESTAMP,
    PB_JSON_DURATION,
    PB_JSON_WRAPPER, /* one field, number 1 */
    PB_JSON_STRUCT,
    PB_JSON_VALUE,
    PB_JSON_LIST,
};
enum pb_json_kind pb_json_kind(const ProtobufCMessageDescriptor *type);
/* The message in a field: its own type, or what a bytes field holds; NULL: no message. */
const ProtobufCMessageDescriptor *pb_json_message_of(const ProtobufCFieldDescriptor *field,
                                                     const ProtobufCMessageDescriptor *owner);
/* A map field: repeated messages of a key (1) and a value (2). */
bool pb_json_is_map(const ProtobufCFieldDescriptor *field);
#define PB_JSON_NAME_MAX 128
/* "run_spec" -> "runSpec" */
void pb_json_name(const char *field_name, char ret[PB_JSON_NAME_MAX]);

/* ---- json_text.c: scalars with a form of their own ---- */

/* RFC 3339 in UTC, "2026-01-02T03:04:05.006Z"; duration "1.5s". -EBADMSG: out of range. */
#define PB_JSON_TIME_MAX 40
int pb_json_time_text(int64_t seconds, int32_t nanos, char ret[PB_JSON_TIME_MAX]);
int pb_json_duration_text(int64_t seconds, int32_t nanos, char ret[PB_JSON_TIME_MAX]);
bool pb_json_time_parse(const char *text, int64_t *ret_seconds, int32_t *ret_nanos);
bool pb_json_duration_parse(const char *text, int64_t *ret_seconds, int32_t *ret_nanos);
void pb_base64_append(struct sy_buf *buf, struct sy_span bytes);
/* Standard or URL alphabet, padded or not. */
bool pb_base64_parse(const char *text, size_t len, struct sy_buf *buf);

/* ---- json_wire.c ---- */

struct pb_reader {
    const uint8_t *at, *end;
};
struct pb_reader pb_reader(struct sy_span bytes);
/* One field: its number, and its value as varint/fixed (`number`) or bytes. False: malformed. */
struct pb_field {
    uint32_t id;
    unsigned wire; /* 0 varint, 1 fixed64, 2 bytes, 5 fixed32 */
    uint64_t number;
    struct sy_span bytes;
};
bool pb_read_field(struct pb_reader *reader, struct pb_field *ret);
bool pb_read_varint(struct pb_reader *reader, uint64_t *ret);
/* The next element of a packed field of wire type `wire`. */
bool pb_read_packed(struct pb_reader *reader, unsigned wire, uint64_t *ret);

void pb_write_varint(struct sy_buf *buf, uint64_t value);
void pb_write_tag(struct sy_buf *buf, uint32_t id, unsigned wire);
void pb_write_number(struct sy_buf *buf, uint32_t id, unsigned wire, uint64_t value);
void pb_write_bytes(struct sy_buf *buf, uint32_t id, struct sy_span bytes);
/* The wire type of a scalar or message. */
unsigned pb_wire_of(ProtobufCType type);
