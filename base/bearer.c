#include "base/bearer.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define HEADER "authorization"
#define SCHEME "Bearer "
#define FILE_BYTES_MAX (SY_BEARER_TOKEN_MAX + 2) /* and the end of its line */

static bool is_token(struct sy_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return false;
    }
    return text.len >= SY_BEARER_TOKEN_MIN && text.len <= SY_BEARER_TOKEN_MAX;
}

static void set(struct sy_bearer *ret, const char *scheme, struct sy_span text)
{
    size_t skip = strlen(scheme);
    char *value = sy_malloc(skip + text.len + 1);
    memcpy(value, scheme, skip);
    memcpy(value + skip, text.data, text.len);
    value[skip + text.len] = '\0';
    *ret = (struct sy_bearer){.metadata = {HEADER, value}, .metadata_count = 1};
}

static int take(struct sy_bearer *ret, struct sy_span text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]) != NULL)
        text.len--;
    if (!is_token(text))
        return -EINVAL;
    set(ret, SCHEME, text);
    return 0;
}

int sy_bearer_load(struct sy_bearer *ret, const char *key, const char *path,
                   struct sy_error_text *error)
{
    struct sy_buf bytes = {0};
    if (path[0] == '\0') {
        *ret = (struct sy_bearer){0};
        return 0;
    }
    int r = sy_file_read_private(path, FILE_BYTES_MAX, &bytes);
    if (r == 0)
        r = take(ret, sy_buf_span(&bytes));
    if (bytes.len > 0)
        explicit_bzero(bytes.data, bytes.len);
    sy_buf_deinit(&bytes);
    if (r == SY_FILE_E_EXPOSED) {
        sy_error_text_set(error, "%s: others may read %s; expected mode 0600", key, path);
        return sy_trace(-EACCES);
    }
    if (r == -EINVAL || r == -EFBIG) {
        sy_error_text_set(error,
                          "%s: %s does not hold a token of %d to %d printable characters without "
                          "blanks",
                          key, path, SY_BEARER_TOKEN_MIN, SY_BEARER_TOKEN_MAX);
        return sy_trace(-EINVAL);
    }
    if (r < 0)
        sy_error_text_set(error, "%s: cannot read %s: %s", key, path, strerror(-r));
    return sy_trace(r);
}

void sy_bearer_copy(struct sy_bearer *ret, const struct sy_bearer *bearer)
{
    const char *value = bearer->metadata.value;
    *ret = (struct sy_bearer){0};
    if (bearer->metadata_count > 0)
        set(ret, "", (struct sy_span){(const uint8_t *)value, strlen(value)});
}

void sy_bearer_deinit(struct sy_bearer *bearer)
{
    char *value = (char *)(uintptr_t)bearer->metadata.value;
    if (value != NULL)
        explicit_bzero(value, strlen(value));
    free(value);
    *bearer = (struct sy_bearer){0};
}

bool sy_bearer_sent(const struct sy_bearer *bearer, const struct sy_call *call)
{
    SY_ASSERT(bearer->metadata_count == 1);
    const char *want = bearer->metadata.value, *got = sy_call_metadata(call, HEADER);
    size_t len = strlen(want);
    return got != NULL && strlen(got) == len &&
           sy_digest_equal((const uint8_t *)got, (const uint8_t *)want, len);
}
