/*
 * Time zones, read from the system's TZif files (RFC 8536) without the C library's process-wide TZ:
 * offsets, and the way back from a wall clock to the instant.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#define CP_ZONE_FILE_MAX ((size_t)256 << 10)

struct cp_zone;

/* An IANA name; "" is UTC. -EINVAL with a sentence: no such zone, or a file that is none. */
int cp_zone_load(struct cp_zone **ret, const char *name, struct sy_error_text *error) SY_MUST_USE;
/* From a file's bytes. -EBADMSG. */
int cp_zone_parse(struct cp_zone **ret, struct sy_span file) SY_MUST_USE;
void cp_zone_free(struct cp_zone *zone);

/* Seconds east of UTC at this instant (NULL: UTC). */
int64_t cp_zone_offset(const struct cp_zone *zone, int64_t utc_s);
/* The instant at which the wall clock shows this time: the first of two, when it is shown twice;
 * the end of the gap, when it is skipped. */
int64_t cp_zone_to_utc(const struct cp_zone *zone, int64_t local_s);

/* ---- the calendar ---- */

struct cp_civil {
    int64_t year;
    unsigned month, day; /* from 1 */
};
int64_t cp_civil_days(struct cp_civil date); /* since 1970-01-01 */
struct cp_civil cp_civil_from_days(int64_t days);
