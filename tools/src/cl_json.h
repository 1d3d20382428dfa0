/*
 * JSON for machines. Keys are snake_case, times are nanoseconds since 1970, names are as they are
 * (everything but printable ASCII is escaped); bytes that are not UTF-8 become '?'.
 */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

void cl_json_str(json_t *object, const char *key, const char *value); /* NULL or "" = null */
void cl_json_int(json_t *object, const char *key, int64_t value);
void cl_json_bool(json_t *object, const char *key, int value);
void cl_json_real(json_t *object, const char *key, double value);
/* Takes `value`. */
void cl_json_set(json_t *object, const char *key, json_t *value);
/* Text when it is UTF-8 without NUL, else {"base64": "..."}. */
json_t *cl_json_bytes(const void *data, size_t len);

/* Every field by its proto name, in snake_case; enums by their names without the prefix; messages
 * that are absent and empty texts are null. Without oneofs and bytes: nothing has needed them. */
json_t *cl_json_message(const ProtobufCMessage *message);

/* Both free `value`, and print a newline after it. */
void cl_json_document(json_t *value, FILE *file); /* indented */
void cl_json_line(json_t *value, FILE *file);     /* one line, flushed */
