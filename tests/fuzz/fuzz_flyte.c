/* What tasks, clients and the SDK hand to an agent: any bytes are read within their bounds, or
 * refused. */
#include "agent/flyte_files.h"
#include "agent/flyte_plan.h"
#include "agent/spec.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_files(struct sy_arena *arena, struct sy_span bytes)
{
    struct ag_result result = {0};
    if (ag_flyte_read_error(arena, bytes, &result))
        SY_ASSERT(result.error_code != NULL && result.error_message != NULL);
}

/* Values are not looked into again: a template in one of them stays. */
static void fill_in(struct sy_arena *arena, struct sy_span bytes)
{
    const struct ag_flyte_values values = {"", "", "", "", "", "", "", ""};
    char *text = sy_arena_alloc(arena, bytes.len + 1);
    if (bytes.len > 0)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    SY_ASSERT(strlen(ag_flyte_fill_in(arena, text, &values)) <= strlen(text));
}

static void read_spec(struct sy_span bytes)
{
    struct ag_spec spec;
    struct sy_error_text error = {0};
    if (ag_spec_parse(&spec, bytes, &error) < 0) {
        SY_ASSERT(error.text[0] != '\0');
        return;
    }
    SY_ASSERT(spec.flyte.pool_version != NULL && spec.flyte.min <= spec.flyte.max);
    ag_spec_deinit(&spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sy_arena arena;
    sy_arena_init(&arena, (size_t)1 << 24);
    struct sy_span bytes = {data, size};
    read_files(&arena, bytes);
    fill_in(&arena, bytes);
    read_spec(bytes);
    sy_arena_deinit(&arena);
    return 0;
}
