/*
 * What strangers send to the data service: any bytes are a token for the blob that they name, or
 * refused; any bytes are inputs with a hash, or refused, and the same with one input ignored; any
 * bytes say how long to sleep, or that they do not.
 */
#include "dataplane/inputs_hash.h"
#include "dataplane/msgpack.h"
#include "dataplane/sleep_input.h"
#include "dataplane/token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_token(const uint8_t *data, size_t size)
{
    static const uint8_t key[DP_KEY_BYTES] = {1};
    struct dp_token token;
    struct sy_buf text = {0}, again = {0};
    sy_buf_append(&text, data, size);
    sy_buf_append(&text, "", 1);
    if (dp_token_take((const char *)text.data, "blob", key, &token) == 0) {
        dp_token_put(&again, &token, "blob", key);
        SY_ASSERT(dp_token_take((const char *)text.data, "blub", key, &token) == -EINVAL);
    }
    sy_buf_deinit(&text);
    sy_buf_deinit(&again);
}

static void check_inputs(struct sy_span bytes)
{
    char name[] = "x", *ignored[] = {name};
    struct sy_buf all = {0}, some = {0};
    int r = dp_inputs_hash(bytes, NULL, 0, &all);
    SY_ASSERT((r == 0) == (all.len > 0));
    if (r == 0)
        SY_ASSERT(dp_inputs_hash(bytes, ignored, 1, &some) == 0);
    sy_buf_deinit(&all);
    sy_buf_deinit(&some);
}

static void check_sleep(struct sy_span bytes)
{
    struct sy_error_text error = {0};
    int64_t ns = -1;
    if (dp_sleep_read(bytes, &ns, &error) < 0)
        SY_ASSERT(error.text[0] != '\0');
    else
        SY_ASSERT(ns >= 0);
}

/* What is canonical stays as it is. */
static void check_msgpack(struct sy_span bytes)
{
    struct sy_buf once = {0}, twice = {0};
    if (dp_msgpack_canonical(bytes, &once) == 0) {
        if (dp_msgpack_canonical(sy_buf_span(&once), &twice) == 0) /* it may be a level deeper */
            SY_ASSERT(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    }
    sy_buf_deinit(&once);
    sy_buf_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_token(data, size);
    check_inputs((struct sy_span){data, size});
    check_msgpack((struct sy_span){data, size});
    check_sleep((struct sy_span){data, size});
    return 0;
}
