#include "dataplane/wire.h"

#include <string.h>

int dp_wire_take_varint(struct sy_span *rest, uint64_t *ret)
{
    if (rest->len > 0 && rest->data[0] < 0x80) { /* nearly always */
        *ret = rest->data[0];
        rest->data++;
        rest->len--;
        return 0;
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < DP_WIRE_VARINT_MAX && i < rest->len; i++) {
        uint8_t byte = rest->data[i];
        if (i == DP_WIRE_VARINT_MAX - 1 && byte > 1)
            return -EBADMSG;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            rest->data += i + 1;
            rest->len -= i + 1;
            *ret = value;
            return 0;
        }
    }
    return -EBADMSG;
}

static int take_bytes(struct sy_span *rest, uint64_t len, struct sy_span *ret)
{
    if (len > rest->len)
        return -EBADMSG;
    *ret = (struct sy_span){rest->data, (size_t)len};
    rest->data += len;
    rest->len -= (size_t)len;
    return 0;
}

static int take_fixed(struct sy_span *rest, size_t width, uint64_t *ret)
{
    struct sy_span bytes;
    if (take_bytes(rest, width, &bytes) < 0)
        return -EBADMSG;
    *ret = 0;
    memcpy(ret, bytes.data, width); /* little-endian, as base/buf.c asserts */
    return 0;
}

int dp_wire_next(struct sy_span *rest, struct dp_wire_field *ret)
{
    if (rest->len == 0)
        return DP_WIRE_E_END;
    uint64_t tag;
    int r = dp_wire_take_varint(rest, &tag);
    if (r < 0 || tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1)
        return -EBADMSG;
    ret->number = (uint32_t)(tag >> 3);
    ret->type = (enum dp_wire_type)(tag & 7);
    switch (ret->type) {
    case DP_WIRE_VARINT:
        return dp_wire_take_varint(rest, &ret->value);
    case DP_WIRE_FIXED64:
        return take_fixed(rest, 8, &ret->value);
    case DP_WIRE_FIXED32:
        return take_fixed(rest, 4, &ret->value);
    case DP_WIRE_BYTES:
        r = dp_wire_take_varint(rest, &ret->value);
        return r < 0 ? r : take_bytes(rest, ret->value, &ret->bytes);
    default:
        return -EBADMSG; /* groups, which proto3 does not have */
    }
}

/* Whether the message is well-formed, and whether its fields are in order. */
static int check(struct sy_span message, bool *ret_sorted)
{
    struct dp_wire_field field;
    uint32_t last = 0;
    int r;
    *ret_sorted = true;
    while ((r = dp_wire_next(&message, &field)) == 0) {
        if (field.number < last)
            *ret_sorted = false;
        last = field.number;
    }
    return r == DP_WIRE_E_END ? 0 : r;
}

/* Fields from..to, in their order on the wire. */
static int each_between(struct sy_span message, uint32_t from, uint32_t to, dp_wire_fn fn,
                        void *ctx)
{
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&message, &field)) == 0) {
        if (field.number < from || field.number > to)
            continue;
        r = fn(ctx, &field);
        if (r != 0)
            return r;
    }
    SY_ASSERT(r == DP_WIRE_E_END); /* check() has seen every field */
    return 0;
}

int dp_wire_each(struct sy_span message, uint32_t number_max, dp_wire_fn fn, void *ctx)
{
    bool sorted;
    int r = check(message, &sorted);
    if (r < 0)
        return r;
    if (sorted)
        return each_between(message, 1, number_max, fn, ctx);
    for (uint32_t number = 1; number <= number_max; number++) {
        r = each_between(message, number, number, fn, ctx);
        if (r != 0)
            return r;
    }
    return 0;
}

static int set_u32(const struct dp_wire_field *field, uint32_t *ret)
{
    if (field->type != DP_WIRE_VARINT || field->value > UINT32_MAX)
        return -EBADMSG;
    *ret = (uint32_t)field->value;
    return 0;
}

static int set_five(const struct dp_wire_field *field, struct dp_record *ret)
{
    if (field->type == DP_WIRE_VARINT)
        ret->value5 = field->value;
    else if (field->type == DP_WIRE_BYTES)
        ret->text5 = field->bytes;
    else
        return -EBADMSG;
    return 0;
}

static int set_field(const struct dp_wire_field *field, struct dp_record *ret)
{
    switch (field->number) {
    case 1:
        return set_u32(field, &ret->key.partition);
    case 2:
        if (field->type != DP_WIRE_FIXED64)
            return -EBADMSG;
        ret->key.action = field->value;
        return 0;
    case 3:
        return set_u32(field, &ret->key.number);
    case 4:
        return set_u32(field, &ret->key.epoch);
    case 5:
        return set_five(field, ret);
    case 6:
        if (field->type == DP_WIRE_VARINT)
            ret->value6 = field->value;
        return 0;
    case 10:
        if (field->type == DP_WIRE_VARINT)
            ret->value10 = field->value;
        return 0;
    case 12:
        if (field->type == DP_WIRE_VARINT)
            ret->value12 = field->value;
        return 0;
    case 17:
        if (field->type == DP_WIRE_BYTES)
            ret->text17 = field->bytes;
        return 0;
    case 20:
        if (field->type == DP_WIRE_BYTES)
            ret->text20 = field->bytes;
        return 0;
    case 15:
        if (field->type == DP_WIRE_VARINT)
            ret->value15 = field->value;
        return 0;
    case 19:
        if (field->type == DP_WIRE_VARINT)
            ret->value19 = field->value;
        return 0;
    case 21:
        if (field->type == DP_WIRE_VARINT)
            ret->value21 = field->value;
        return 0;
    default:
        return 0;
    }
}

int dp_wire_record(struct sy_span bytes, struct dp_record *ret)
{
    struct dp_record record = {0};
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&bytes, &field)) == 0) {
        r = set_field(&field, &record);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    *ret = record;
    return 0;
}

/* ---- writing ---- */

static size_t encode_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

static size_t encode_tag(uint8_t *out, uint32_t field, enum dp_wire_type type)
{
    SY_ASSERT(field > 0);
    return encode_varint(out, (uint64_t)field << 3 | type);
}

void dp_wire_put_varint(struct sy_buf *buf, uint64_t value)
{
    sy_buf_reserve(buf, DP_WIRE_VARINT_MAX);
    buf->len += encode_varint(buf->data + buf->len, value);
}

void dp_wire_put_u64(struct sy_buf *buf, uint32_t field, uint64_t value)
{
    if (value == 0)
        return;
    sy_buf_reserve(buf, 2 * DP_WIRE_VARINT_MAX);
    buf->len += encode_tag(buf->data + buf->len, field, DP_WIRE_VARINT);
    buf->len += encode_varint(buf->data + buf->len, value);
}

void dp_wire_put_record(struct sy_buf *buf, uint32_t field, struct sy_span bytes)
{
    sy_buf_reserve(buf, 2 * DP_WIRE_VARINT_MAX + bytes.len);
    buf->len += encode_tag(buf->data + buf->len, field, DP_WIRE_BYTES);
    buf->len += encode_varint(buf->data + buf->len, bytes.len);
    if (bytes.len > 0)
        memcpy(buf->data + buf->len, bytes.data, bytes.len);
    buf->len += bytes.len;
    SY_ASSERT(buf->len <= buf->cap);
}

void dp_wire_put_bytes(struct sy_buf *buf, uint32_t field, struct sy_span bytes)
{
    if (bytes.len > 0)
        dp_wire_put_record(buf, field, bytes);
}

void dp_wire_put_text(struct sy_buf *buf, uint32_t field, const char *text)
{
    if (text)
        dp_wire_put_bytes(buf, field, (struct sy_span){(const uint8_t *)text, strlen(text)});
}

void dp_wire_put_key(struct sy_buf *buf, const struct sch_attempt_key *key)
{
    dp_wire_put_u64(buf, 1, key->partition);
    if (key->action != 0) {
        sy_buf_reserve(buf, DP_WIRE_VARINT_MAX + sizeof(key->action));
        buf->len += encode_tag(buf->data + buf->len, 2, DP_WIRE_FIXED64);
        memcpy(buf->data + buf->len, &key->action, sizeof(key->action));
        buf->len += sizeof(key->action);
    }
    dp_wire_put_u64(buf, 3, key->number);
    dp_wire_put_u64(buf, 4, key->epoch);
}

size_t dp_wire_cut(struct sy_span fields, size_t max)
{
    if (fields.len <= max)
        return fields.len;
    struct sy_span rest = fields;
    size_t cut = 0;
    struct dp_wire_field field;
    while (dp_wire_next(&rest, &field) == 0) {
        size_t end = fields.len - rest.len;
        if (end > max && cut > 0)
            break;
        cut = end;
        if (end > max)
            break;
    }
    SY_ASSERT(cut > 0 && cut <= fields.len);
    return cut;
}
