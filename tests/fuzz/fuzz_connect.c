/*
 * The bytes of a Connect client: envelopes, gzip, headers. The first byte chooses. What the server
 * writes from a handler's bytes (details of a status) is read as well.
 */
#include "base/gzip.h"
#include "base/mem.h"
#include "base/rpc_connect.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define INFLATED_MAX ((size_t)64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void envelopes(struct sy_span bytes)
{
    struct sy_connect_envelope envelope;
    size_t len;
    while (sy_connect_parse_envelope(bytes, 1000, &envelope, &len) == 0) {
        SY_ASSERT(envelope.payload.len <= 1000 && len <= bytes.len);
        SY_ASSERT(envelope.payload.data + envelope.payload.len <= bytes.data + bytes.len);
        bytes.data += len;
        bytes.len -= len;
    }
}

static void unpack(struct sy_span bytes)
{
    struct sy_gzip *gzip = sy_gzip_new();
    struct sy_buf plain = {0}, again = {0}, same = {0};
    if (sy_gzip_inflate(gzip, bytes, INFLATED_MAX, &plain) == 0) {
        SY_ASSERT(plain.len <= INFLATED_MAX && sy_gzip_is(bytes));
        sy_gzip_deflate(gzip, sy_buf_span(&plain), &again);
        int r = sy_gzip_inflate(gzip, sy_buf_span(&again), INFLATED_MAX, &same);
        SY_ASSERT(r == 0 && same.len == plain.len);
        SY_ASSERT(same.len == 0 || memcmp(same.data, plain.data, same.len) == 0);
    } else {
        SY_ASSERT(plain.len == 0);
    }
    sy_buf_deinit(&plain);
    sy_buf_deinit(&again);
    sy_buf_deinit(&same);
    sy_gzip_free(gzip);
}

static void headers(struct sy_span bytes)
{
    struct sy_connect_type type;
    int64_t ms = 0;
    SY_AUTOFREE char *text = sy_strndup((const char *)bytes.data, bytes.len);
    if (sy_connect_parse_type(text, &type))
        SY_ASSERT(strncasecmp(text, sy_connect_type_name(type), 11) == 0);
    if (sy_connect_parse_timeout_ms(text, &ms))
        SY_ASSERT(ms >= 0 && ms <= 9999999999);
    (void)sy_connect_accepts_gzip(text);
}

static void details(struct sy_span bytes)
{
    struct sy_status status = {.code = SY_CODE_ABORTED};
    struct sy_buf json = {0};
    if (bytes.len > 0)
        sy_buf_append(&status.details, bytes.data, bytes.len);
    size_t len = bytes.len < 100 ? bytes.len : 100;
    memcpy(status.message.text, bytes.data, len);
    sy_connect_append_end(&json, &status);
    SY_ASSERT(json.len > 0 && json.data[json.len - 1] == '}');
    for (size_t i = 0; i < json.len; i++)
        SY_ASSERT(json.data[i] >= 0x20);
    sy_buf_deinit(&json);
    sy_status_deinit(&status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parts[])(struct sy_span) = {envelopes, unpack, headers, details};
    if (size > 0)
        parts[data[0] % SY_COUNT_OF(parts)]((struct sy_span){data + 1, size - 1});
    return 0;
}
