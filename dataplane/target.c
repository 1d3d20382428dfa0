#include "dataplane/target.h"

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
