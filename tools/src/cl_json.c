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
