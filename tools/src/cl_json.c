#include "tools/src/cl_json.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void cl_json_set(json_t *object, const char *key, json_t *value)
{
    int r = json_object_set_new(object, key, value);
    SY_ASSERT(r == 0); /* fails on a NULL value, or a key that is not UTF-8 */
}

/* jansson refuses what is not UTF-8: then all bytes above ASCII are replaced. */
static json_t *text_of(const char *value)
{
    json_t *text = json_string(value);
    if (text)
        return text;
    char *copy = sy_strdup(value);
    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
    text = json_string(copy);
    free(copy);
    return text;
}

void cl_json_str(json_t *object, const char *key, const char *value)
{
    cl_json_set(object, key, value && *value ? text_of(value) : json_null());
}

void cl_json_int(json_t *object, const char *key, int64_t value)
{
    cl_json_set(object, key, json_integer(value));
}

void cl_json_bool(json_t *object, const char *key, int value)
{
    cl_json_set(object, key, json_boolean(value));
}

void cl_json_real(json_t *object, const char *key, double value)
{
    cl_json_set(object, key, json_real(value));
}

static json_t *base64(const uint8_t *data, size_t len)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = sy_malloc((len + 2) / 3 * 4 + 1), *to = text;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)data[i] << 16;
        v |= i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0;
        v |= i + 2 < len ? data[i + 2] : 0;
        *to++ = alphabet[v >> 18];
        *to++ = alphabet[v >> 12 & 63];
        *to++ = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
        *to++ = i + 2 < len ? alphabet[v & 63] : '=';
    }
    *to = '\0';
    json_t *object = json_object();
    cl_json_str(object, "base64", text);
    free(text);
    return object;
}

json_t *cl_json_bytes(const void *data, size_t len)
{
    if (len == 0)
        return json_null();
    json_t *text = memchr(data, '\0', len) ? NULL : json_stringn(data, len);
    return text ? text : base64(data, len);
}

void cl_json_document(json_t *value, FILE *file)
{
    json_dumpf(value, file, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12));
    fputc('\n', file);
    json_decref(value);
}

void cl_json_line(json_t *value, FILE *file)
{
    json_dumpf(value, file, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12));
    fputc('\n', file);
    fflush(file);
    json_decref(value);
}

/* ---- messages ---- */

/* The first value of each enum is PREFIX_UNSPECIFIED. */
static json_t *enum_json(const ProtobufCEnumDescriptor *descriptor, int value)
{
    const char *first = descriptor->values[0].name, *unspecified = strstr(first, "UNSPECIFIED");
    size_t prefix = unspecified ? (size_t)(unspecified - first) : 0;
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(descriptor, value);
    return known && strlen(known->name) > prefix ? json_string(known->name + prefix)
                                                 : json_integer(value);
}

/* Hashes: of 64 bits all count, and numbers of JSON have 53 for many who read them. */
static json_t *hash_json(uint64_t hash)
{
    char digits[32];
    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)hash);
    return json_string(digits);
}

static json_t *value_json(const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_INT32:
        return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
        return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return json_integer(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_FIXED64:
        return hash_json(*(const uint64_t *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return enum_json(field->descriptor, *(const int *)at);
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)at;
        return text && text[0] ? cl_json_bytes(text, strlen(text)) : json_null();
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *message = *(ProtobufCMessage *const *)at;
        return message ? cl_json_message(message) : json_null();
    }
    default:
        SY_ASSERT(!"a field of another type");
        return json_null();
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int32_t);
    default:
        return sizeof(int64_t);
    }
}

json_t *cl_json_message(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    json_t *object = json_object();
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const char *at = (const char *)message + field->offset;
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            cl_json_set(object, field->name, value_json(field, at));
            continue;
        }
        json_t *array = json_array();
        size_t count = *(const size_t *)((const char *)message + field->quantifier_offset);
        const char *items = *(char *const *)at;
        for (size_t k = 0; k < count; k++)
            json_array_append_new(array, value_json(field, items + k * size_of(field)));
        cl_json_set(object, field->name, array);
    }
    return object;
}
