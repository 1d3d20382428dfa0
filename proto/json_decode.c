/* JSON -> wire bytes. */
#include "proto/json_impl.h"

#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef ProtobufCMessageDescriptor message_type;
typedef ProtobufCFieldDescriptor field_type;

#define PATH_BYTES 256
#define SHOWN_CHARS 40

/* Where we are, for the sentence: links towards the root. */
struct place {
    const struct place *up;
    const char *name; /* NULL: an element of `up` */
    size_t index;
    unsigned depth;
    struct sy_error_text *error;
};

static int put_message(const struct place *place, const message_type *type, json_t *json,
                       struct sy_buf *buf);

/* ---- errors ---- */

static void path_of(const struct place *place, char *path, size_t size)
{
    if (place->up == NULL) {
        path[0] = '\0';
        return;
    }
    path_of(place->up, path, size);
    size_t len = strlen(path);
    if (place->name == NULL)
        snprintf(path + len, size - len, "[%zu]", place->index);
    else
        snprintf(path + len, size - len, "%s%s", len > 0 ? "." : "", place->name);
}

static int refuse(const struct place *place, const char *expected, json_t *json)
{
    char path[PATH_BYTES];
    path_of(place, path, sizeof(path));
    char *text = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    sy_error_text_set(place->error, "%s%sexpected %s, got %.*s", path, path[0] != '\0' ? ": " : "",
                      expected, SHOWN_CHARS, text != NULL ? text : "?");
    free(text);
    return -EINVAL;
}

/* ---- scalars ---- */

/* An integer as a number (1, 1.0, 1e3) or as text. */
static bool integer_of(json_t *json, int64_t *ret, bool *ret_above)
{
    *ret_above = false;
    if (json_is_integer(json)) {
        *ret = json_integer_value(json);
        return true;
    }
    if (json_is_real(json)) {
        double value = json_real_value(json);
        if (value != trunc(value) || fabs(value) > 9007199254740992.0) /* 2^53: no longer exact */
            return false;
        *ret = (int64_t)value;
        return true;
    }
    const char *text = json_string_value(json);
    if (text == NULL || text[strspn(text, "-0123456789")] != '\0' || text[0] == '\0')
        return false;
    char *end;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    if (errno == ERANGE && text[0] != '-') {
        errno = 0;
        *ret = (int64_t)strtoull(text, &end, 10);
        *ret_above = true;
    }
    return errno == 0 && *end == '\0';
}

static int put_integer(const struct place *place, const field_type *field, json_t *json,
                       uint64_t *ret)
{
    int64_t value;
    bool above; /* of INT64_MAX */
    if (!integer_of(json, &value, &above))
        return refuse(place, "an integer", json);
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_SINT32:
        if (above || value < INT32_MIN || value > INT32_MAX)
            return refuse(place, "an integer of 32 bits", json);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        if (above || value < 0 || value > UINT32_MAX)
            return refuse(place, "an integer from 0 to 4294967295", json);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        if (!above && value < 0)
            return refuse(place, "an integer from 0", json);
        break;
    default:
        if (above)
            return refuse(place, "an integer of 64 bits", json);
        break;
    }
    *ret = (uint64_t)value;
    if (field->type == PROTOBUF_C_TYPE_SINT32 || field->type == PROTOBUF_C_TYPE_SINT64)
        *ret = (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
    return 0;
}

static int put_real(const struct place *place, const field_type *field, json_t *json, uint64_t *ret)
{
    double value;
    const char *text = json_string_value(json);
    if (text != NULL) {
        char *end;
        value = strtod(text, &end);
        if (end == text || *end != '\0')
            return refuse(place, "a number", json);
    } else if (json_is_number(json)) {
        value = json_number_value(json);
    } else {
        return refuse(place, "a number", json);
    }
    *ret = 0;
    if (field->type == PROTOBUF_C_TYPE_FLOAT) {
        float narrow = (float)value;
        memcpy(ret, &narrow, sizeof(narrow));
    } else {
        memcpy(ret, &value, sizeof(value));
    }
    return 0;
}

static int put_enum(const struct place *place, const field_type *field, json_t *json, uint64_t *ret)
{
    const char *name = json_string_value(json);
    if (name != NULL) {
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(
            field->descriptor, name);
        if (value == NULL)
            return refuse(place, ((const ProtobufCEnumDescriptor *)field->descriptor)->short_name,
                          json);
        *ret = (uint64_t)(int64_t)value->value;
        return 0;
    }
    if (!json_is_integer(json) || json_integer_value(json) < INT32_MIN ||
        json_integer_value(json) > INT32_MAX)
        return refuse(place, ((const ProtobufCEnumDescriptor *)field->descriptor)->short_name,
                      json);
    *ret = (uint64_t)json_integer_value(json);
    return 0;
}

static int put_bool(const struct place *place, json_t *json, uint64_t *ret)
{
    const char *text = json_string_value(json); /* a map's key */
    bool key_true = text != NULL && strcmp(text, "true") == 0;
    if (!json_is_boolean(json) && !key_true && (text == NULL || strcmp(text, "false") != 0))
        return refuse(place, "true or false", json);
    *ret = json_is_true(json) || key_true;
    return 0;
}

static int number_of(const struct place *place, const field_type *field, json_t *json,
                     uint64_t *ret)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return put_bool(place, json, ret);
    case PROTOBUF_C_TYPE_ENUM:
        return put_enum(place, field, json, ret);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return put_real(place, field, json, ret);
    default:
        return put_integer(place, field, json, ret);
    }
}

static int put_base64(const struct place *place, uint32_t id, json_t *json, struct sy_buf *buf)
{
    struct sy_buf bytes SY_CLEANUP(sy_buf_deinit) = {0};
    if (!json_is_string(json) ||
        !pb_base64_parse(json_string_value(json), json_string_length(json), &bytes))
        return refuse(place, "base64", json);
    pb_write_bytes(buf, id, sy_buf_span(&bytes));
    return 0;
}

/* ---- fields ---- */

/* One value: a singular field, an element, a map's key or value. */
static int put_value(const struct place *place, const message_type *owner, const field_type *field,
                     json_t *json, struct sy_buf *buf)
{
    const message_type *inner = pb_json_message_of(field, owner);
    if (inner != NULL) {
        struct sy_buf bytes SY_CLEANUP(sy_buf_deinit) = {0};
        int r = put_message(place, inner, json, &bytes);
        if (r == 0)
            pb_write_bytes(buf, field->id, sy_buf_span(&bytes));
        return r;
    }
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return put_base64(place, field->id, json, buf);
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (!json_is_string(json))
            return refuse(place, "a string", json);
        const uint8_t *text = (const uint8_t *)json_string_value(json);
        pb_write_bytes(buf, field->id, (struct sy_span){text, json_string_length(json)});
        return 0;
    }
    uint64_t bits = 0;
    int r = number_of(place, field, json, &bits);
    if (r == 0)
        pb_write_number(buf, field->id, pb_wire_of(field->type), bits);
    return r;
}

static int put_list(const struct place *place, const message_type *owner, const field_type *field,
                    json_t *json, struct sy_buf *buf)
{
    if (!json_is_array(json))
        return refuse(place, "an array", json);
    int r = 0;
    for (size_t i = 0; i < json_array_size(json) && r == 0; i++) {
        struct place element = {place, NULL, i, place->depth, place->error};
        r = put_value(&element, owner, field, json_array_get(json, i), buf);
    }
    return r;
}

static int put_map(const struct place *place, const field_type *field, json_t *json,
                   struct sy_buf *buf)
{
    const message_type *entry = field->descriptor;
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return refuse(place, "an object", json);
    json_object_foreach(json, key, value)
    {
        struct place inner = {place, key, 0, place->depth, place->error};
        struct sy_buf bytes SY_CLEANUP(sy_buf_deinit) = {0};
        json_t *text = json_string(key);
        int r = put_value(&inner, entry, &entry->fields[0], text, &bytes);
        json_decref(text);
        if (r == 0)
            r = put_value(&inner, entry, &entry->fields[1], value, &bytes);
        if (r < 0)
            return r;
        pb_write_bytes(buf, field->id, sy_buf_span(&bytes));
    }
    return 0;
}

/* By its JSON name or by its own. */
static const field_type *find_field(const message_type *type, const char *name)
{
    char json_name[PB_JSON_NAME_MAX];
    for (unsigned i = 0; i < type->n_fields; i++) {
        pb_json_name(type->fields[i].name, json_name);
        if (strcmp(name, json_name) == 0 || strcmp(name, type->fields[i].name) == 0)
            return &type->fields[i];
    }
    return NULL;
}

/* Another member of the same oneof is set too. */
static bool oneof_taken(const message_type *type, json_t *json, const field_type *field)
{
    const char *name;
    json_t *value;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return false;
    json_object_foreach(json, name, value)
    {
        const field_type *other = find_field(type, name);
        if (other != NULL && other != field && !json_is_null(value) &&
            (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
            other->quantifier_offset == field->quantifier_offset)
            return true;
    }
    return false;
}

static int put_fields(const struct place *place, const message_type *type, json_t *json,
                      struct sy_buf *buf)
{
    const char *name;
    json_t *value;
    if (!json_is_object(json))
        return refuse(place, "an object", json);
    json_object_foreach(json, name, value)
    {
        const field_type *field = find_field(type, name);
        struct place inner = {place, name, 0, place->depth, place->error};
        int r = 0;
        if (field == NULL)
            continue;
        bool null_value = pb_json_message_of(field, type) != NULL &&
                          pb_json_kind(pb_json_message_of(field, type)) == PB_JSON_VALUE;
        if (json_is_null(value) && !null_value)
            continue;
        if (oneof_taken(type, json, field))
            r = refuse(&inner, "one of the alternatives, not several", value);
        else if (pb_json_is_map(field))
            r = put_map(&inner, field, value, buf);
        else if (field->label == PROTOBUF_C_LABEL_REPEATED)
            r = put_list(&inner, type, field, value, buf);
        else
            r = put_value(&inner, type, field, value, buf);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- messages with a form of their own ---- */

static int put_time(const struct place *place, enum pb_json_kind kind, json_t *json,
                    struct sy_buf *buf)
{
    const char *text = json_string_value(json);
    int64_t seconds;
    int32_t nanos;
    bool time = kind == PB_JSON_TIMESTAMP;
    if (text == NULL || !(time ? pb_json_time_parse(text, &seconds, &nanos)
                               : pb_json_duration_parse(text, &seconds, &nanos)))
        return refuse(place,
                      time ? "a time like \"2026-01-02T03:04:05Z\"" : "a duration like \"1.5s\"",
                      json);
    if (seconds != 0)
        pb_write_number(buf, 1, 0, (uint64_t)seconds);
    if (nanos != 0)
        pb_write_number(buf, 2, 0, (uint64_t)(int64_t)nanos);
    return 0;
}

/* google.protobuf.Value */
static int put_any(const struct place *place, const message_type *type, json_t *json,
                   struct sy_buf *buf)
{
    static const char *const members[] = {
        [JSON_OBJECT] = "struct_value", [JSON_ARRAY] = "list_value",
        [JSON_STRING] = "string_value", [JSON_INTEGER] = "number_value",
        [JSON_REAL] = "number_value",   [JSON_TRUE] = "bool_value",
        [JSON_FALSE] = "bool_value",    [JSON_NULL] = "null_value",
    };
    const field_type *field = protobuf_c_message_descriptor_get_field_by_name(
        type, members[json_typeof(json)]);
    if (json_is_null(json)) {
        pb_write_number(buf, field->id, 0, 0);
        return 0;
    }
    return put_value(place, type, field, json, buf);
}

static int put_message(const struct place *place, const message_type *type, json_t *json,
                       struct sy_buf *buf)
{
    struct place inner = *place;
    if (++inner.depth > PB_JSON_DEPTH_MAX)
        return refuse(place, "at most 100 levels", json);
    enum pb_json_kind kind = pb_json_kind(type);
    switch (kind) {
    case PB_JSON_TIMESTAMP:
    case PB_JSON_DURATION:
        return put_time(place, kind, json, buf);
    case PB_JSON_WRAPPER:
        return put_value(&inner, type, &type->fields[0], json, buf);
    case PB_JSON_STRUCT:
        return put_map(&inner, &type->fields[0], json, buf);
    case PB_JSON_LIST:
        return put_list(&inner, type, &type->fields[0], json, buf);
    case PB_JSON_VALUE:
        return put_any(&inner, type, json, buf);
    default:
        return put_fields(&inner, type, json, buf);
    }
}

int pb_json_to_wire(const message_type *type, struct sy_span json, struct sy_buf *buf,
                    struct sy_error_text *error)
{
    json_error_t where = {.line = 0};
    if (json.len > PB_JSON_BYTES_MAX) {
        sy_error_text_set(error,
                          "the JSON has %zu bytes, at most %zu; send larger messages in binary",
                          json.len, PB_JSON_BYTES_MAX);
        return -EINVAL;
    }
    json_t *root = json.len == 0 ? json_object()
                                 : json_loadb((const char *)json.data, json.len,
                                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (root == NULL) {
        sy_error_text_set(error, "not JSON: %s, at line %d, column %d", where.text, where.line,
                          where.column);
        return -EINVAL;
    }
    size_t before = buf->len;
    int r = put_message(&(struct place){.error = error}, type, root, buf);
    if (r < 0)
        buf->len = before;
    json_decref(root);
    return r;
}
