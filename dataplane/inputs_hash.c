#include "dataplane/inputs_hash.h"

#include "base/digest.h"
#include "base/mem.h"
#include "dataplane/msgpack.h"
#include "dataplane/wire.h"
#include "proto/run_paths.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 100
#define OUTERMOST_BINARY 2 /* literal, scalar, binary: the SDK leaves those inside unions alone */

/* ---- messages with their maps sorted ---- */

/* Those of flyteidl2.core and google.protobuf that a literal may hold, as far as a map can be in
 * them: protobuf writes maps in any order. */
enum message {
    NONE,
    LITERAL,
    SCALAR,
    BINARY,
    STRUCT,
    VALUE,
    LIST_VALUE,
    DATASET,
    DATASET_METADATA,
    DATASET_TYPE,
    COLUMN,
    UNION,
    COLLECTION,
    LITERAL_MAP,
    OFFLOADED,
    TYPE,
    UNION_TYPE,
    ANNOTATION,
    STRUCTURE,
};

static const struct row {
    enum message message;
    uint32_t field;
    enum message child; /* of a map: its values */
    bool map;
} rows[] = {
    {LITERAL, 1, SCALAR, false},
    {LITERAL, 2, COLLECTION, false},
    {LITERAL, 3, LITERAL_MAP, false},
    {LITERAL, 5, NONE, true},
    {LITERAL, 8, OFFLOADED, false},
    {SCALAR, 3, BINARY, false},
    {SCALAR, 7, STRUCT, false},
    {SCALAR, 8, DATASET, false},
    {SCALAR, 9, UNION, false},
    {STRUCT, 1, VALUE, true},
    {VALUE, 5, STRUCT, false},
    {VALUE, 6, LIST_VALUE, false},
    {LIST_VALUE, 1, VALUE, false},
    {DATASET, 2, DATASET_METADATA, false},
    {DATASET_METADATA, 1, DATASET_TYPE, false},
    {DATASET_TYPE, 1, COLUMN, false},
    {COLUMN, 2, TYPE, false},
    {UNION, 1, LITERAL, false},
    {UNION, 2, TYPE, false},
    {COLLECTION, 1, LITERAL, false},
    {LITERAL_MAP, 1, LITERAL, true},
    {OFFLOADED, 3, TYPE, false},
    {TYPE, 3, TYPE, false},
    {TYPE, 4, TYPE, false},
    {TYPE, 6, STRUCT, false},
    {TYPE, 8, DATASET_TYPE, false},
    {TYPE, 9, ANNOTATION, false},
    {TYPE, 10, UNION_TYPE, false},
    {TYPE, 11, STRUCTURE, false},
    {UNION_TYPE, 1, TYPE, false},
    {ANNOTATION, 1, STRUCT, false},
    {STRUCTURE, 2, TYPE, true},
};

static const struct row *find_row(enum message message, uint32_t field)
{
    for (size_t i = 0; i < SY_COUNT_OF(rows); i++) {
        if (rows[i].message == message && rows[i].field == field)
            return &rows[i];
    }
    return NULL;
}

static int put_sorted(enum message message, struct sy_span span, struct sy_buf *out,
                      unsigned depth);

/* ---- maps ---- */

struct entry {
    struct sy_span key, value, whole;
};

struct entries {
    struct entry *items;
    size_t count, cap;
};

static int take_entry(struct entries *entries, struct sy_span whole)
{
    struct entry entry = {.whole = whole};
    struct dp_wire_field field;
    struct sy_span rest = whole;
    int r;
    while ((r = dp_wire_next(&rest, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_BYTES)
            entry.key = field.bytes;
        else if (field.number == 2 && field.type == DP_WIRE_BYTES)
            entry.value = field.bytes;
    }
    if (r != DP_WIRE_E_END)
        return -EBADMSG;
    if (entries->count == entries->cap) {
        entries->cap = entries->cap > 0 ? 2 * entries->cap : 8;
        entries->items = sy_realloc(entries->items, entries->cap * sizeof(*entries->items));
    }
    entries->items[entries->count++] = entry;
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    size_t len = a->key.len < b->key.len ? a->key.len : b->key.len;
    int order = len > 0 ? memcmp(a->key.data, b->key.data, len) : 0;
    return order != 0 ? order : (a->key.len > b->key.len) - (a->key.len < b->key.len);
}

static void sort_entries(struct entries *entries)
{
    if (entries->count > 1)
        qsort(entries->items, entries->count, sizeof(*entries->items), compare);
}

static int put_entry(const struct row *row, const struct entry *entry, struct sy_buf *out,
                     unsigned depth)
{
    if (row->child == NONE) {
        dp_wire_put_record(out, row->field, entry->whole);
        return 0;
    }
    struct sy_buf value = {0}, whole = {0};
    int r = put_sorted(row->child, entry->value, &value, depth + 1);
    dp_wire_put_record(&whole, 1, entry->key);
    dp_wire_put_record(&whole, 2, sy_buf_span(&value));
    dp_wire_put_record(out, row->field, sy_buf_span(&whole));
    sy_buf_deinit(&value);
    sy_buf_deinit(&whole);
    return r;
}

static int flush_entries(const struct row *row, struct entries *entries, struct sy_buf *out,
                         unsigned depth)
{
    int r = 0;
    sort_entries(entries);
    for (size_t i = 0; r == 0 && i < entries->count; i++)
        r = put_entry(row, &entries->items[i], out, depth);
    entries->count = 0;
    return r;
}

/* ---- fields ---- */

static bool span_is(struct sy_span span, const char *text)
{
    return span.len == strlen(text) && (span.len == 0 || memcmp(span.data, text, span.len) == 0);
}

static int put_binary(struct sy_span span, struct sy_buf *out)
{
    struct sy_span rest = span, value = {0}, tag = {0};
    struct dp_wire_field field;
    struct sy_buf canonical = {0};
    int r;
    while ((r = dp_wire_next(&rest, &field)) == 0) {
        if (field.type == DP_WIRE_BYTES && field.number == 1)
            value = field.bytes;
        else if (field.type == DP_WIRE_BYTES && field.number == 2)
            tag = field.bytes;
    }
    if (r != DP_WIRE_E_END)
        return -EBADMSG;
    if (span_is(tag, "msgpack") && dp_msgpack_canonical(value, &canonical) == 0) {
        dp_wire_put_bytes(out, 1, sy_buf_span(&canonical));
        dp_wire_put_bytes(out, 2, tag);
    } else {
        sy_buf_append(out, span.data, span.len);
    }
    sy_buf_deinit(&canonical);
    return 0;
}

static int put_child(const struct row *row, struct sy_span bytes, struct sy_buf *out,
                     unsigned depth)
{
    struct sy_buf child = {0};
    int r = put_sorted(row->child, bytes, &child, depth + 1);
    dp_wire_put_record(out, row->field, sy_buf_span(&child));
    sy_buf_deinit(&child);
    return r;
}

/* The entries of a map stand together: they are gathered until another field comes. */
static int put_sorted(enum message message, struct sy_span span, struct sy_buf *out, unsigned depth)
{
    const struct row *map = NULL;
    struct entries entries = {0};
    struct dp_wire_field field;
    int r, taken = 0;
    if (message == BINARY && depth == OUTERMOST_BINARY)
        return put_binary(span, out);
    if (depth > DEPTH_MAX)
        return -EBADMSG;
    for (;;) {
        const uint8_t *before = span.data;
        taken = dp_wire_next(&span, &field);
        const struct row *row = taken == 0 && field.type == DP_WIRE_BYTES
                                    ? find_row(message, field.number)
                                    : NULL;
        r = taken < 0 ? taken : map && map != row ? flush_entries(map, &entries, out, depth) : 0;
        if (r < 0 || taken != 0)
            break;
        map = row && row->map ? row : NULL;
        if (map)
            r = take_entry(&entries, field.bytes);
        else if (row)
            r = put_child(row, field.bytes, out, depth);
        else
            sy_buf_append(out, before, (size_t)(span.data - before));
        if (r < 0)
            break;
    }
    free(entries.items);
    return r;
}

/* ---- literals ---- */

static int put_literal(struct sy_span literal, struct sy_buf *out, unsigned depth);

static int put_collection(struct sy_span list, struct sy_buf *out, unsigned depth)
{
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&list, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_BYTES)
            r = put_literal(field.bytes, out, depth + 1);
        if (r < 0)
            return r;
    }
    return r == DP_WIRE_E_END ? 0 : r;
}

static int put_literal_map(struct sy_span map, struct sy_buf *out, unsigned depth)
{
    struct entries entries = {0};
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&map, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_BYTES)
            r = take_entry(&entries, field.bytes);
        if (r < 0)
            break;
    }
    r = r == DP_WIRE_E_END ? 0 : r;
    sort_entries(&entries);
    for (size_t i = 0; r == 0 && i < entries.count; i++) {
        sy_buf_append(out, entries.items[i].key.data, entries.items[i].key.len);
        r = put_literal(entries.items[i].value, out, depth + 1);
    }
    free(entries.items);
    return r;
}

static int put_literal(struct sy_span literal, struct sy_buf *out, unsigned depth)
{
    struct sy_span rest = literal, hash = {0}, value = {0};
    struct dp_wire_field field;
    uint32_t which = 0;
    int r;
    while ((r = dp_wire_next(&rest, &field)) == 0) {
        if (field.type != DP_WIRE_BYTES)
            continue;
        if (field.number == 4)
            hash = field.bytes;
        else if (field.number <= 3 || field.number == 8) {
            which = field.number;
            value = field.bytes;
        }
    }
    if (r != DP_WIRE_E_END || depth > DEPTH_MAX)
        return -EBADMSG;
    if (hash.len > 0) {
        sy_buf_append(out, hash.data, hash.len);
        return 0;
    }
    if (which == 2)
        return put_collection(value, out, depth);
    if (which == 3)
        return put_literal_map(value, out, depth);
    return put_sorted(LITERAL, literal, out, 0);
}

/* ---- inputs ---- */

static bool is_ignored(struct sy_span name, char *const *ignored, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (span_is(name, ignored[i]))
            return true;
    }
    return false;
}

static int put_named(struct sy_span named, char *const *ignored, size_t count, struct sy_buf *out)
{
    struct sy_span name = {0}, literal = {0};
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&named, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_BYTES)
            name = field.bytes;
        else if (field.number == 2 && field.type == DP_WIRE_BYTES)
            literal = field.bytes;
    }
    if (r != DP_WIRE_E_END)
        return -EBADMSG;
    if (is_ignored(name, ignored, count))
        return 0;
    sy_buf_append(out, name.data, name.len);
    sy_buf_append_str(out, ":");
    r = put_literal(literal, out, 0);
    sy_buf_append_str(out, ";");
    return r;
}

int dp_inputs_hash(struct sy_span inputs, char *const *ignored, size_t ignored_count,
                   struct sy_buf *ret)
{
    uint8_t digest[SY_SHA256_BYTES];
    struct sy_buf text = {0};
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&inputs, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_BYTES)
            r = put_named(field.bytes, ignored, ignored_count, &text);
        if (r < 0)
            break;
    }
    if (r == DP_WIRE_E_END) {
        sy_sha256(sy_buf_span(&text), digest); /* of nothing: PB_NO_INPUTS_HASH */
        sy_base64_put(ret, (struct sy_span){digest, sizeof(digest)});
    }
    sy_buf_deinit(&text);
    return r == DP_WIRE_E_END ? 0 : r;
}
