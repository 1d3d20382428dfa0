#include "dataplane/msgpack.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 100

enum {
    FIXINT_MAX = 0x7f,
    FIXMAP = 0x80,
    FIXARRAY = 0x90,
    FIXSTR = 0xa0,
    NIL = 0xc0,
    UNUSED = 0xc1,
    FALSE_BYTE = 0xc2,
    TRUE_BYTE = 0xc3,
    BIN8 = 0xc4,
    EXT8 = 0xc7,
    FLOAT32 = 0xca,
    FLOAT64 = 0xcb,
    UINT8 = 0xcc,
    INT8 = 0xd0,
    FIXEXT1 = 0xd4,
    STR8 = 0xd9,
    ARRAY16 = 0xdc,
    MAP16 = 0xde,
    NEGATIVE_FIXINT = 0xe0,
};

struct reader {
    struct sy_span rest;
    struct sy_buf *out;
    bool in_key;
};

static int value(struct reader *reader, unsigned depth, bool *ret_hashable);

/* ---- reading ---- */

static int take(struct reader *reader, size_t len, const uint8_t **ret)
{
    if (len > reader->rest.len)
        return -EBADMSG;
    *ret = reader->rest.data;
    reader->rest.data += len;
    reader->rest.len -= len;
    return 0;
}

/* A big-endian number of 1, 2, 4 or 8 bytes. */
static int take_number(struct reader *reader, size_t len, uint64_t *ret)
{
    const uint8_t *at;
    int r = take(reader, len, &at);
    *ret = 0;
    for (size_t i = 0; r == 0 && i < len; i++)
        *ret = *ret << 8 | at[i];
    return r;
}

/* ---- writing ---- */

static void put_number(struct sy_buf *out, uint8_t tag, size_t len, uint64_t number)
{
    uint8_t bytes[9] = {tag};
    for (size_t i = 0; i < len; i++)
        bytes[1 + i] = (uint8_t)(number >> (8 * (len - 1 - i)));
    sy_buf_append(out, bytes, 1 + len);
}

/* The shortest of four widths; `tag` is that of one byte. */
static void put_wide(struct sy_buf *out, uint8_t tag, uint64_t number)
{
    unsigned width = number <= UINT8_MAX    ? 0
                     : number <= UINT16_MAX ? 1
                     : number <= UINT32_MAX ? 2
                                            : 3;
    put_number(out, (uint8_t)(tag + width), (size_t)1 << width, number);
}

static void put_int(struct sy_buf *out, int64_t number)
{
    if (number >= 0 && number <= FIXINT_MAX)
        put_number(out, (uint8_t)number, 0, 0);
    else if (number >= 0)
        put_wide(out, UINT8, (uint64_t)number);
    else if (number >= -32)
        put_number(out, (uint8_t)(number & 0xff), 0, 0);
    else if (number >= INT8_MIN)
        put_number(out, INT8, 1, (uint64_t)number);
    else if (number >= INT16_MIN)
        put_number(out, INT8 + 1, 2, (uint64_t)number);
    else if (number >= INT32_MIN)
        put_number(out, INT8 + 2, 4, (uint64_t)number);
    else
        put_number(out, INT8 + 3, 8, (uint64_t)number);
}

/* ---- kinds ---- */

static int text(struct reader *reader, size_t len)
{
    const uint8_t *at;
    if (take(reader, len, &at) < 0 || !sy_utf8_valid((struct sy_span){at, len}))
        return -EBADMSG;
    if (len < 32)
        put_number(reader->out, (uint8_t)(FIXSTR | len), 0, 0);
    else
        put_wide(reader->out, STR8, len);
    sy_buf_append(reader->out, at, len);
    return 0;
}

static int binary(struct reader *reader, size_t len)
{
    const uint8_t *at;
    if (take(reader, len, &at) < 0)
        return -EBADMSG;
    put_wide(reader->out, BIN8, len);
    sy_buf_append(reader->out, at, len);
    return 0;
}

/* Extension -1 in its shortest form: 34 bits of seconds and 30 of nanoseconds, or all of them. */
static int timestamp(struct reader *reader, size_t len)
{
    uint64_t nanoseconds = 0, seconds = 0;
    int r = -EBADMSG;
    if (len == 4) {
        r = take_number(reader, 4, &seconds);
    } else if (len == 8) {
        r = take_number(reader, 8, &seconds);
        nanoseconds = seconds >> 34;
        seconds &= (1ull << 34) - 1;
    } else if (len == 12) {
        r = take_number(reader, 4, &nanoseconds);
        if (r == 0)
            r = take_number(reader, 8, &seconds);
    }
    if (r < 0 || nanoseconds >= 1000000000)
        return -EBADMSG;
    if (seconds >> 34 != 0) {
        put_number(reader->out, EXT8, 1, 12);
        put_number(reader->out, 0xff, 4, nanoseconds);
        sy_buf_put_be64(reader->out, seconds);
    } else if (nanoseconds != 0 || seconds > UINT32_MAX) {
        put_number(reader->out, FIXEXT1 + 3, 0, 0);
        put_number(reader->out, 0xff, 8, nanoseconds << 34 | seconds);
    } else {
        put_number(reader->out, FIXEXT1 + 2, 0, 0);
        put_number(reader->out, 0xff, 4, seconds);
    }
    return 0;
}

static int extension(struct reader *reader, size_t len)
{
    const uint8_t *code, *at;
    if (take(reader, 1, &code) < 0)
        return -EBADMSG;
    if (*code == 0xff)
        return timestamp(reader, len);
    if (*code > INT8_MAX || take(reader, len, &at) < 0)
        return -EBADMSG;
    if (!reader->in_key) { /* a tuple to Python, which the SDK takes for a list */
        put_number(reader->out, FIXARRAY | 2, 0, 0);
        put_int(reader->out, *code);
        put_wide(reader->out, BIN8, len);
    } else {
        if (len == 1 || len == 2 || len == 4 || len == 8 || len == 16)
            put_number(reader->out, (uint8_t)(FIXEXT1 + __builtin_ctz((unsigned)len)), 0, 0);
        else
            put_wide(reader->out, EXT8, len);
        sy_buf_append(reader->out, code, 1);
    }
    sy_buf_append(reader->out, at, len);
    return 0;
}

static int array(struct reader *reader, size_t count, unsigned depth)
{
    bool hashable;
    int r = count > reader->rest.len ? -EBADMSG : 0;
    if (count < 16)
        put_number(reader->out, (uint8_t)(FIXARRAY | count), 0, 0);
    else
        put_number(reader->out, (uint8_t)(count <= UINT16_MAX ? ARRAY16 : ARRAY16 + 1),
                   count <= UINT16_MAX ? 2 : 4, count);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = value(reader, depth + 1, &hashable);
    return r;
}

/* ---- maps ---- */

/* Of bytes written apart; offsets, as they move while they grow. */
struct pair {
    const struct sy_buf *bytes;
    size_t key, value, end, order;
};

static int compare_keys(const struct pair *a, const struct pair *b)
{
    size_t a_len = a->value - a->key, b_len = b->value - b->key;
    int order = memcmp(a->bytes->data + a->key, b->bytes->data + b->key,
                       a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;
    int order = compare_keys(a, b);
    return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

static void put_pairs(struct sy_buf *out, struct pair *pairs, size_t count)
{
    size_t distinct = 0;
    if (count > 1)
        qsort(pairs, count, sizeof(*pairs), compare);
    for (size_t i = 0; i < count; i++) { /* the last of equal keys counts */
        if (i + 1 == count || compare_keys(&pairs[i], &pairs[i + 1]) != 0)
            pairs[distinct++] = pairs[i];
    }
    if (distinct < 16)
        put_number(out, (uint8_t)(FIXMAP | distinct), 0, 0);
    else
        put_number(out, (uint8_t)(distinct <= UINT16_MAX ? MAP16 : MAP16 + 1),
                   distinct <= UINT16_MAX ? 2 : 4, distinct);
    for (size_t i = 0; i < distinct; i++)
        sy_buf_append(out, pairs[i].bytes->data + pairs[i].key, pairs[i].end - pairs[i].key);
}

static int map(struct reader *reader, size_t count, unsigned depth)
{
    if (count > reader->rest.len / 2)
        return -EBADMSG;
    struct sy_buf bytes = {0};
    struct sy_buf *out = reader->out;
    struct pair *pairs = sy_calloc(count + 1, sizeof(*pairs));
    int r = 0;
    reader->out = &bytes;
    for (size_t i = 0; r == 0 && i < count; i++) {
        bool hashable = true, any;
        pairs[i] = (struct pair){.bytes = &bytes, .key = bytes.len, .order = i};
        reader->in_key = true;
        r = value(reader, depth + 1, &hashable);
        reader->in_key = false;
        if (r == 0 && !hashable)
            r = -EBADMSG;
        pairs[i].value = bytes.len;
        if (r == 0)
            r = value(reader, depth + 1, &any);
        pairs[i].end = bytes.len;
    }
    reader->out = out;
    if (r == 0)
        put_pairs(out, pairs, count);
    sy_buf_deinit(&bytes);
    free(pairs);
    return r;
}

/* ---- any value ---- */

static int number(struct reader *reader, uint8_t tag)
{
    uint64_t bits;
    if (tag == FLOAT32 || tag == FLOAT64) {
        float single;
        double wide;
        if (take_number(reader, tag == FLOAT32 ? 4 : 8, &bits) < 0)
            return -EBADMSG;
        uint32_t half = (uint32_t)bits;
        memcpy(&single, &half, sizeof(single));
        wide = (double)single;
        if (tag == FLOAT32)
            memcpy(&bits, &wide, sizeof(bits));
        put_number(reader->out, FLOAT64, 8, bits);
        return 0;
    }
    bool is_signed = tag >= INT8;
    unsigned width = tag - (is_signed ? INT8 : UINT8);
    if (take_number(reader, (size_t)1 << width, &bits) < 0)
        return -EBADMSG;
    if (!is_signed && bits > INT64_MAX) {
        put_wide(reader->out, UINT8, bits);
        return 0;
    }
    unsigned unused = is_signed ? 64 - (8u << width) : 0;
    put_int(reader->out, (int64_t)(bits << unused) >> unused);
    return 0;
}

/* Lengths of 1, 2 or 4 bytes follow tags in rows of three (or two, without the first). */
static int sized(struct reader *reader, uint8_t tag, unsigned depth)
{
    static const struct {
        uint8_t first;
        unsigned width;
    } rows[] = {{MAP16, 1}, {ARRAY16, 1}, {STR8, 0}, {EXT8, 0}, {BIN8, 0}};
    size_t row = 0;
    while (tag < rows[row].first)
        row++;
    uint64_t len;
    if (take_number(reader, (size_t)1 << (tag - rows[row].first + rows[row].width), &len) < 0)
        return -EBADMSG;
    switch (rows[row].first) {
    case MAP16:
        return map(reader, (size_t)len, depth);
    case ARRAY16:
        return array(reader, (size_t)len, depth);
    case STR8:
        return text(reader, (size_t)len);
    case EXT8:
        return extension(reader, (size_t)len);
    default:
        return binary(reader, (size_t)len);
    }
}

static int value(struct reader *reader, unsigned depth, bool *ret_hashable)
{
    const uint8_t *tag;
    if (depth > DEPTH_MAX || take(reader, 1, &tag) < 0 || *tag == UNUSED)
        return -EBADMSG;
    *ret_hashable = !(*tag >= FIXMAP && *tag < FIXSTR) && !(*tag >= ARRAY16 && *tag <= MAP16 + 1);
    if (*tag <= FIXINT_MAX || *tag >= NEGATIVE_FIXINT || *tag == NIL || *tag == FALSE_BYTE ||
        *tag == TRUE_BYTE)
        sy_buf_append(reader->out, tag, 1);
    else if (*tag < FIXARRAY)
        return map(reader, *tag & 15, depth);
    else if (*tag < FIXSTR)
        return array(reader, *tag & 15, depth);
    else if (*tag < NIL)
        return text(reader, *tag & 31);
    else if (*tag >= FLOAT32 && *tag < FIXEXT1)
        return number(reader, *tag);
    else if (*tag >= FIXEXT1 && *tag < STR8)
        return extension(reader, (size_t)1 << (*tag - FIXEXT1));
    else
        return sized(reader, *tag, depth);
    return 0;
}

int dp_msgpack_canonical(struct sy_span bytes, struct sy_buf *ret)
{
    struct reader reader = {.rest = bytes, .out = ret};
    bool hashable;
    int r = value(&reader, 0, &hashable);
    return r == 0 && reader.rest.len > 0 ? -EBADMSG : r;
}
