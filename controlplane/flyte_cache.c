#include "base/digest.h"
#include "controlplane/encode.h"
#include "controlplane/flyte.h"
#include "controlplane/rows.h"
#include "proto/run_paths.h"

#include <stdlib.h>
#include <string.h>

/* Field numbers: TaskSpec, TaskTemplate, Identifier, TaskMetadata, */
enum { SPEC_TEMPLATE = 1, TEMPLATE_ID = 1, TEMPLATE_METADATA = 3, TEMPLATE_INTERFACE = 4 };
enum { ID_NAME = 4, METADATA_DISCOVERABLE = 1, METADATA_VERSION = 6 };
/* TypedInterface{inputs, outputs: VariableMap{variables: repeated VariableEntry{key, value}}}. */
enum { INPUTS = 1, OUTPUTS = 2, VARIABLES = 1, ENTRY_KEY = 1 };

#define VARIABLES_MAX 4096

static void add(struct sy_buf *buf, struct sy_span bytes)
{
    sy_buf_append(buf, bytes.data, bytes.len);
}

static void add_hash(struct sy_buf *buf, struct sy_span bytes)
{
    uint8_t digest[SY_SHA256_BYTES];
    sy_sha256(bytes, digest);
    sy_base64_put(buf, (struct sy_span){digest, sizeof(digest)});
}

/* In the order in which Python sorts text: by code point, which is the order of UTF-8's bytes. */
static int compare_entries(const void *a, const void *b)
{
    struct sy_span x = cp_row_bytes(*(const struct sy_span *)a, ENTRY_KEY);
    struct sy_span y = cp_row_bytes(*(const struct sy_span *)b, ENTRY_KEY);
    int order = memcmp(x.len > 0 ? x.data : (const uint8_t *)"",
                       y.len > 0 ? y.data : (const uint8_t *)"", x.len < y.len ? x.len : y.len);
    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

/* The variables of inputs or outputs, sorted by name. */
static bool add_variables(struct sy_buf *out, uint32_t field, struct sy_span interface)
{
    struct cp_field found;
    bool there = false;
    struct sy_span map = {0};
    while (cp_read_field(&interface, &found)) {
        if (found.number == field && found.type == CP_WIRE_BYTES) {
            there = true;
            map = found.span;
        }
    }
    if (!there)
        return true;
    size_t count = 0;
    struct sy_span *entries = calloc(VARIABLES_MAX, sizeof(*entries));
    SY_ASSERT(entries != NULL);
    while (count < VARIABLES_MAX && cp_chunk_next(&map, &entries[count]))
        count++;
    qsort(entries, count, sizeof(*entries), compare_entries);
    size_t begin = cp_put_begin(out, field);
    for (size_t i = 0; i < count; i++)
        cp_put_bytes_always(out, VARIABLES, entries[i].data, entries[i].len);
    cp_put_end(out, begin);
    free(entries);
    return count < VARIABLES_MAX;
}

char *cp_flyte_cache_key(struct sy_arena *arena, struct sy_span task_spec, const char *inputs_hash)
{
    struct sy_span template = cp_row_bytes(task_spec, SPEC_TEMPLATE);
    struct sy_span metadata = cp_row_bytes(template, TEMPLATE_METADATA);
    if (!cp_row_uint(metadata, METADATA_DISCOVERABLE) || inputs_hash[0] == '\0')
        return NULL;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) interface = {0}, SY_CLEANUP(sy_buf_deinit) data = {0};
    struct sy_span given = cp_row_bytes(template, TEMPLATE_INTERFACE);
    if (!add_variables(&interface, INPUTS, given) || !add_variables(&interface, OUTPUTS, given))
        return NULL;
    if (strcmp(inputs_hash, PB_NO_INPUTS_HASH) != 0)
        sy_buf_append_str(&data, inputs_hash);
    add(&data, cp_row_bytes(cp_row_bytes(template, TEMPLATE_ID), ID_NAME));
    add_hash(&data, sy_buf_span(&interface));
    add(&data, cp_row_bytes(metadata, METADATA_VERSION));
    struct sy_buf SY_CLEANUP(sy_buf_deinit) key = {0};
    add_hash(&key, sy_buf_span(&data));
    return sy_arena_printf(arena, "%.*s", (int)key.len, (const char *)key.data);
}
