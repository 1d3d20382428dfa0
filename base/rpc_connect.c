#include "base/rpc_connect.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_DIGITS_MAX 10

/* ---- codes ---- */

static const struct {
    const char *name;
    unsigned http_status;
} codes[] = {
    [SY_CODE_CANCELLED] = {"canceled", 499},
    [SY_CODE_UNKNOWN] = {"unknown", 500},
    [SY_CODE_INVALID_ARGUMENT] = {"invalid_argument", 400},
    [SY_CODE_DEADLINE_EXCEEDED] = {"deadline_exceeded", 504},
    [SY_CODE_NOT_FOUND] = {"not_found", 404},
    [SY_CODE_ALREADY_EXISTS] = {"already_exists", 409},
    [SY_CODE_PERMISSION_DENIED] = {"permission_denied", 403},
    [SY_CODE_RESOURCE_EXHAUSTED] = {"resource_exhausted", 429},
    [SY_CODE_FAILED_PRECONDITION] = {"failed_precondition", 400},
    [SY_CODE_ABORTED] = {"aborted", 409},
    [SY_CODE_OUT_OF_RANGE] = {"out_of_range", 400},
    [SY_CODE_UNIMPLEMENTED] = {"unimplemented", 501},
    [SY_CODE_INTERNAL] = {"internal", 500},
    [SY_CODE_UNAVAILABLE] = {"unavailable", 503},
    [SY_CODE_DATA_LOSS] = {"data_loss", 500},
    [SY_CODE_UNAUTHENTICATED] = {"unauthenticated", 401},
};

static size_t code_index(enum sy_code code)
{
    return code > SY_CODE_OK && (size_t)code < SY_COUNT_OF(codes) ? (size_t)code : SY_CODE_UNKNOWN;
}

const char *sy_connect_code_name(enum sy_code code)
{
    return codes[code_index(code)].name;
}

unsigned sy_connect_http_status(enum sy_code code)
{
    return codes[code_index(code)].http_status;
}

/* ---- headers ---- */

static const struct {
    const char *name;
    struct sy_connect_type type;
} types[] = {
    {"application/proto", {.stream = false, .json = false}},
    {"application/json", {.stream = false, .json = true}},
    {"application/connect+proto", {.stream = true, .json = false}},
    {"application/connect+json", {.stream = true, .json = true}},
};

bool sy_connect_parse_type(const char *content_type, struct sy_connect_type *ret)
{
    if (content_type == NULL)
        return false;
    size_t len = strcspn(content_type, "; \t");
    for (size_t i = 0; i < SY_COUNT_OF(types); i++) {
        if (strlen(types[i].name) != len || strncasecmp(content_type, types[i].name, len) != 0)
            continue;
        *ret = types[i].type;
        return true;
    }
    return false;
}

const char *sy_connect_type_name(struct sy_connect_type type)
{
    return types[(type.stream ? 2 : 0) + (type.json ? 1 : 0)].name;
}

/* "q=0", "q=0.000": not wanted. */
static bool is_forbidden(const char *parameters, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) {
        if ((parameters[i] != 'q' && parameters[i] != 'Q') || parameters[i + 1] != '=')
            continue;
        for (i += 2; i < len && parameters[i] != ';'; i++) {
            if (parameters[i] >= '1' && parameters[i] <= '9')
                return false;
        }
        return true;
    }
    return false;
}

bool sy_connect_accepts_gzip(const char *list)
{
    while (list != NULL && *list != '\0') {
        list += strspn(list, ", \t");
        size_t len = strcspn(list, ",");
        size_t name = strcspn(list, ",; \t");
        if (name == 4 && strncasecmp(list, "gzip", 4) == 0)
            return !is_forbidden(list + name, len - name);
        list += len;
    }
    return false;
}

bool sy_connect_parse_timeout_ms(const char *text, int64_t *ret_ms)
{
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len > TIMEOUT_DIGITS_MAX || text[len] != '\0')
        return false;
    *ret_ms = strtoll(text, NULL, 10);
    return true;
}

/* ---- errors ---- */

/* Of the UTF-8 sequence at the front (RFC 3629); 0: there is none. */
static size_t utf8_len(struct sy_span text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.data[0];
    size_t len = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (len == 1)
        return 1;
    if (len == 0 || first >= 0xf8 || len > text.len)
        return 0;
    uint32_t point = first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text.data[i] & 0x3fu);
    }
    bool surrogate = point >= 0xd800 && point < 0xe000;
    return point >= least[len] && point <= 0x10ffff && !surrogate ? len : 0;
}

/* A text may have been cut in the middle of a character, or quote a client's bytes. */
static void append_json_string(struct sy_buf *json, struct sy_span text)
{
    sy_buf_append(json, "\"", 1);
    while (text.len > 0) {
        uint8_t c = text.data[0];
        size_t len = utf8_len(text);
        if (c == '"' || c == '\\')
            sy_buf_append(json, "\\", 1);
        if (len == 0)
            sy_buf_append(json, "?", 1);
        else if (c < 0x20)
            sy_buf_printf(json, "\\u%04x", c);
        else
            sy_buf_append(json, text.data, len);
        len += len == 0;
        text.data += len;
        text.len -= len;
    }
    sy_buf_append(json, "\"", 1);
}

/* Without padding, as the protocol wants it. */
static void append_base64(struct sy_buf *out, struct sy_span bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        if (count > 1)
            group |= (uint32_t)bytes.data[i + 1] << 8;
        if (count > 2)
            group |= bytes.data[i + 2];
        for (size_t k = 0; k <= count; k++)
            sy_buf_append(out, &digits[group >> (18 - 6 * k) & 63], 1);
    }
}

static bool take_varint(struct sy_span *bytes, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && bytes->len > 0; shift += 7) {
        uint8_t byte = *bytes->data;
        bytes->data++;
        bytes->len--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool take_bytes(struct sy_span *bytes, uint64_t len, struct sy_span *ret)
{
    if (len > bytes->len)
        return false;
    *ret = (struct sy_span){bytes->data, (size_t)len};
    bytes->data += len;
    bytes->len -= (size_t)len;
    return true;
}

/* The next field of a protobuf message; *ret is its bytes when it is length-delimited. */
static bool take_field(struct sy_span *bytes, uint64_t *ret_number, struct sy_span *ret)
{
    uint64_t tag, number;
    *ret = (struct sy_span){0};
    if (!take_varint(bytes, &tag))
        return false;
    *ret_number = tag >> 3;
    if ((tag & 7) == 0)
        return take_varint(bytes, &number);
    if ((tag & 7) == 2)
        return take_varint(bytes, &number) && take_bytes(bytes, number, ret);
    if ((tag & 7) == 1 || (tag & 7) == 5)
        return take_bytes(bytes, (tag & 7) == 1 ? 8 : 4, ret);
    return false; /* groups, and what does not exist */
}

/* google.protobuf.Any: type_url = 1, value = 2. */
static bool append_detail(struct sy_buf *json, struct sy_span any)
{
    struct sy_span type = {0}, value = {0}, field;
    uint64_t number;
    while (any.len > 0) {
        if (!take_field(&any, &number, &field))
            return false;
        if (number == 1)
            type = field;
        if (number == 2)
            value = field;
    }
    for (size_t i = type.len; i > 0; i--) { /* the protocol wants the name behind the last '/' */
        if (type.data[i - 1] != '/')
            continue;
        type = (struct sy_span){type.data + i, type.len - i};
        break;
    }
    sy_buf_append_str(json, json->data[json->len - 1] == '[' ? "{\"type\":" : ",{\"type\":");
    append_json_string(json, type);
    sy_buf_append_str(json, ",\"value\":\"");
    append_base64(json, value);
    sy_buf_append_str(json, "\"}");
    return true;
}

/* google.rpc.Status: details = 3, repeated Any. */
static void append_details(struct sy_buf *json, struct sy_span status)
{
    struct sy_span field;
    uint64_t number;
    size_t start = json->len;
    sy_buf_append_str(json, ",\"details\":[");
    size_t empty = json->len;
    while (status.len > 0) {
        if (!take_field(&status, &number, &field) || (number == 3 && !append_detail(json, field))) {
            json->len = start;
            return;
        }
    }
    if (json->len == empty)
        json->len = start;
    else
        sy_buf_append(json, "]", 1);
}

void sy_connect_append_error(struct sy_buf *json, const struct sy_status *status)
{
    const char *text = status->message.text;
    sy_buf_printf(json, "{\"code\":\"%s\"", sy_connect_code_name(status->code));
    if (text[0] != '\0') {
        sy_buf_append_str(json, ",\"message\":");
        append_json_string(json, (struct sy_span){(const uint8_t *)text, strlen(text)});
    }
    append_details(json, sy_buf_span(&status->details));
    sy_buf_append(json, "}", 1);
}

void sy_connect_append_end(struct sy_buf *json, const struct sy_status *status)
{
    sy_buf_append(json, "{", 1);
    if (status != NULL) {
        sy_buf_append_str(json, "\"error\":");
        sy_connect_append_error(json, status);
    }
    sy_buf_append(json, "}", 1);
}

/* ---- envelopes ---- */

int sy_connect_parse_envelope(struct sy_span bytes, size_t bytes_max,
                              struct sy_connect_envelope *ret, size_t *ret_len)
{
    if (bytes.len < SY_CONNECT_ENVELOPE_HEAD)
        return SY_CONNECT_E_CUT;
    size_t len = sy_get_be32(bytes.data + 1);
    if (len > bytes_max)
        return SY_CONNECT_E_LARGE;
    if (len > bytes.len - SY_CONNECT_ENVELOPE_HEAD)
        return SY_CONNECT_E_CUT;
    ret->flags = bytes.data[0];
    ret->payload = (struct sy_span){bytes.data + SY_CONNECT_ENVELOPE_HEAD, len};
    *ret_len = SY_CONNECT_ENVELOPE_HEAD + len;
    return 0;
}

void sy_connect_append_head(struct sy_buf *out, uint8_t flags, size_t len)
{
    SY_ASSERT(len <= UINT32_MAX);
    sy_buf_append(out, &flags, 1);
    sy_buf_put_be32(out, (uint32_t)len);
}
