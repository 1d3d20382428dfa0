/* Any bytes are a time zone with sane offsets, or are refused. */
#include "controlplane/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cp_zone *zone = NULL;
    if (cp_zone_parse(&zone, (struct sy_span){data, size}) < 0) {
        SY_ASSERT(zone == NULL);
        return 0;
    }
    for (int64_t at = 0; at < 5000000000; at += 123456789) {
        int64_t utc = cp_zone_to_utc(zone, at);
        SY_ASSERT(utc > at - 3 * 86400 - 8 * 86400 && utc < at + 3 * 86400 + 8 * 86400);
        int64_t offset = cp_zone_offset(zone, at);
        SY_ASSERT(offset > -8 * 86400 && offset < 8 * 86400);
    }
    cp_zone_free(zone);
    return 0;
}
