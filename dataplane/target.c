#include "dataplane/target.h"

#include "base/buf.h"
#include "base/mem.h"

#include <string.h>

bool dp_target_ok(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    return len < DP_TARGET_SIZE && strchr(text, ':');
}

char *dp_target_own(const char *given, const char *listen, int port)
{
    size_t len = strlen(listen);
    if (given[0] != '\0')
        return sy_strdup(given);
    if (len <= 2 || strcmp(listen + len - 2, ":0") != 0)
        return sy_strdup(listen);
    struct sy_buf text SY_CLEANUP(sy_buf_deinit) = {0};
    sy_buf_printf(&text, "%.*s:%d", (int)(len - 2), listen, port);
    return sy_strndup((const char *)text.data, text.len);
}
