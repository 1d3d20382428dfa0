/* Any text is a cron expression whose next times go on, or is refused with a sentence. */
#include "controlplane/cron.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[512] = {0};
    memcpy(text, data, size < sizeof(text) ? size : sizeof(text) - 1);
    struct cp_cron cron;
    struct sy_error_text error = {0};
    if (cp_cron_parse(&cron, text, &error) < 0) {
        SY_ASSERT(error.text[0] != '\0');
        return 0;
    }
    int64_t at = 1795168800, next;
    for (int i = 0; i < 8 && cp_cron_next(&cron, at, &next) == 0; i++, at = next)
        SY_ASSERT(next > at && next % 60 == 0);
    return 0;
}
