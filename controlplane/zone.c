#include "controlplane/zone.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "/usr/share/zoneinfo/"
#define HEADER_BYTES 44
#define DAY_S 86400
#define OFFSET_MAX_S (26 * 3600) /* RFC 8536 allows 25:59:59 */

/* When one of the footer's rules takes effect: a day of the year and a time of that day. */
struct rule {
    enum { RULE_JULIAN, RULE_DAY, RULE_MONTH } type;
    int day, month, week; /* MONTH: the week'th weekday `day`; 5 = the last */
    int64_t time_s;
};

struct cp_zone {
    size_t count; /* transitions */
    int64_t *times, *offsets;
    int64_t first_offset; /* before the first transition */
    bool footer, summer;  /* rules for what comes after the last one */
    int64_t standard_s, summer_s;
    struct rule begin, end;
};

/* ---- the calendar ---- */

int64_t cp_civil_days(struct cp_civil date)
{
    /* Years begin in March here, so that a leap day is a year's last. */
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t month = date.month > 2 ? date.month - 3 : date.month + 9;
    int64_t of_year = (153 * month + 2) / 5 + date.day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct cp_civil cp_civil_from_days(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    struct cp_civil date = {.day = (unsigned)(of_year - (153 * month + 2) / 5 + 1),
                            .month = (unsigned)(month < 10 ? month + 3 : month - 9)};
    date.year = year + era * 400 + (date.month <= 2);
    return date;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t floor_days(int64_t seconds)
{
    return seconds >= 0 ? seconds / DAY_S : -((-seconds + DAY_S - 1) / DAY_S);
}

/* ---- the footer: a TZ string such as CET-1CEST,M3.5.0,M10.5.0/3 ---- */

static bool read_number(const char **at, int max, int *ret)
{
    if (**at < '0' || **at > '9')
        return false;
    int v = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        v = v * 10 + (**at - '0');
        if (v > max)
            return false;
    }
    *ret = v;
    return true;
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(const char **at, int64_t *ret)
{
    int sign = **at == '-' ? -1 : 1, hours, minutes = 0, seconds = 0;
    if (**at == '-' || **at == '+')
        (*at)++;
    if (!read_number(at, 167, &hours))
        return false;
    if (**at == ':') {
        (*at)++;
        if (!read_number(at, 59, &minutes))
            return false;
    }
    if (**at == ':') {
        (*at)++;
        if (!read_number(at, 59, &seconds))
            return false;
    }
    *ret = sign * (int64_t)(hours * 3600 + minutes * 60 + seconds);
    return true;
}

static bool read_abbreviation(const char **at)
{
    const char *start = *at;
    if (**at == '<') {
        const char *end = strchr(*at, '>');
        if (end == NULL)
            return false;
        *at = end + 1;
        return true;
    }
    while ((**at >= 'A' && **at <= 'Z') || (**at >= 'a' && **at <= 'z'))
        (*at)++;
    return *at - start >= 3;
}

static bool read_rule(const char **at, struct rule *ret)
{
    *ret = (struct rule){.type = RULE_DAY, .time_s = 2 * 3600};
    if (*(*at)++ != ',')
        return false;
    if (**at == 'M') {
        ret->type = RULE_MONTH;
        (*at)++;
        if (!read_number(at, 12, &ret->month) || *(*at)++ != '.' ||
            !read_number(at, 5, &ret->week) || *(*at)++ != '.' || !read_number(at, 6, &ret->day) ||
            ret->month < 1 || ret->week < 1)
            return false;
    } else {
        bool julian = **at == 'J';
        if (julian) {
            ret->type = RULE_JULIAN;
            (*at)++;
        }
        if (!read_number(at, 365, &ret->day) || (julian && ret->day < 1))
            return false;
    }
    if (**at != '/')
        return true;
    (*at)++;
    return read_time(at, &ret->time_s);
}

static bool read_footer(struct cp_zone *zone, const char *at)
{
    if (!read_abbreviation(&at) || !read_time(&at, &zone->standard_s))
        return false;
    zone->standard_s = -zone->standard_s;
    zone->footer = true;
    if (*at == '\0')
        return true;
    zone->summer = true;
    zone->summer_s = zone->standard_s + 3600;
    if (!read_abbreviation(&at))
        return false;
    if (*at != ',') {
        if (!read_time(&at, &zone->summer_s))
            return false;
        zone->summer_s = -zone->summer_s;
    }
    return read_rule(&at, &zone->begin) && read_rule(&at, &zone->end) && *at == '\0';
}

/* On the wall clock before it. */
static int64_t rule_local(const struct rule *rule, int64_t year)
{
    int64_t start = cp_civil_days((struct cp_civil){year, 1, 1}), day;
    if (rule->type == RULE_DAY) {
        day = start + rule->day;
    } else if (rule->type == RULE_JULIAN) { /* 1 to 365, without the leap day */
        day = start + rule->day - 1 + (is_leap(year) && rule->day >= 60);
    } else {
        unsigned month = (unsigned)rule->month;
        int64_t first = cp_civil_days((struct cp_civil){year, month, 1});
        int64_t next = cp_civil_days(
            (struct cp_civil){month == 12 ? year + 1 : year, month == 12 ? 1 : month + 1, 1});
        int64_t weekday = ((first + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
        day = first + (rule->day - weekday + 7) % 7 + (int64_t)(rule->week - 1) * 7;
        if (day >= next)
            day -= 7;
    }
    return day * DAY_S + rule->time_s;
}

static int64_t footer_offset(const struct cp_zone *zone, int64_t utc_s)
{
    if (!zone->summer)
        return zone->standard_s;
    int64_t year = cp_civil_from_days(floor_days(utc_s + zone->standard_s)).year;
    int64_t begin = rule_local(&zone->begin, year) - zone->standard_s;
    int64_t end = rule_local(&zone->end, year) - zone->summer_s;
    bool summer = begin < end ? utc_s >= begin && utc_s < end : utc_s >= begin || utc_s < end;
    return summer ? zone->summer_s : zone->standard_s;
}

/* ---- files ---- */

struct block {
    size_t transitions, types, chars, leaps, standards, gmts;
    size_t bytes; /* of the data that follows */
};

static bool read_header(struct sy_span file, size_t at, size_t time_bytes, struct block *ret)
{
    if (file.len < HEADER_BYTES || at > file.len - HEADER_BYTES ||
        memcmp(file.data + at, "TZif", 4) != 0)
        return false;
    size_t counts[6];
    for (size_t i = 0; i < 6; i++) {
        counts[i] = sy_get_be32(file.data + at + 20 + 4 * i);
        if (counts[i] > CP_ZONE_FILE_MAX)
            return false;
    }
    *ret = (struct block){counts[3], counts[4], counts[5], counts[2], counts[1], counts[0], 0};
    ret->bytes = ret->transitions * (time_bytes + 1) + ret->types * 6 + ret->chars +
                 ret->leaps * (time_bytes + 4) + ret->standards + ret->gmts;
    return ret->types > 0 && ret->bytes <= file.len - at - HEADER_BYTES;
}

static bool read_block(struct cp_zone *zone, const uint8_t *data, const struct block *block)
{
    const uint8_t *indices = data + block->transitions * 8, *types = indices + block->transitions;
    zone->count = block->transitions;
    zone->times = sy_calloc(zone->count + 1, sizeof(*zone->times));
    zone->offsets = sy_calloc(zone->count + 1, sizeof(*zone->offsets));
    zone->first_offset = (int32_t)sy_get_be32(types);
    for (size_t i = 0; i < zone->count; i++) {
        zone->times[i] = (int64_t)sy_get_be64(data + 8 * i);
        if (indices[i] >= block->types || (i > 0 && zone->times[i] <= zone->times[i - 1]))
            return false;
        zone->offsets[i] = (int32_t)sy_get_be32(types + (size_t)indices[i] * 6);
    }
    for (size_t i = 0; i < block->types; i++) {
        int64_t offset = (int32_t)sy_get_be32(types + i * 6);
        if (offset > OFFSET_MAX_S || offset < -OFFSET_MAX_S)
            return false;
    }
    return true;
}

int cp_zone_parse(struct cp_zone **ret, struct sy_span file)
{
    struct block first, second;
    /* The first block has times of 32 bits, for readers of old; all others have a second one. */
    if (!read_header(file, 0, 4, &first) || file.data[4] < '2')
        return -EBADMSG;
    size_t at = HEADER_BYTES + first.bytes;
    if (!read_header(file, at, 8, &second))
        return -EBADMSG;
    struct cp_zone *zone = sy_new(struct cp_zone);
    at += HEADER_BYTES;
    bool good = read_block(zone, file.data + at, &second);
    at += second.bytes;
    char footer[128] = "";
    const uint8_t *end = NULL;
    if (good && at < file.len && file.data[at] == '\n')
        end = memchr(file.data + at + 1, '\n', file.len - at - 1);
    good = good && end != NULL && (size_t)(end - file.data) - at - 1 < sizeof(footer);
    if (good) {
        memcpy(footer, file.data + at + 1, (size_t)(end - file.data) - at - 1);
        good = footer[0] == '\0' || read_footer(zone, footer);
    }
    if (!good) {
        cp_zone_free(zone);
        return -EBADMSG;
    }
    *ret = zone;
    return 0;
}

static bool name_allowed(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
    size_t len = strlen(name);
    return len > 0 && len < 64 && strspn(name, allowed) == len && name[0] != '/';
}

int cp_zone_load(struct cp_zone **ret, const char *name, struct sy_error_text *error)
{
    char path[sizeof(FOLDER) + 64];
    if (name[0] == '\0')
        name = "UTC";
    int fd = -1;
    if (name_allowed(name)) {
        snprintf(path, sizeof(path), "%s%s", FOLDER, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0 && strcmp(name, "UTC") == 0) { /* a machine without the database */
        *ret = NULL;
        return 0;
    }
    if (fd < 0) {
        sy_error_text_set(error,
                          "time zone '%s': not one that this machine knows (such as "
                          "Europe/London or UTC)",
                          name);
        return -EINVAL;
    }
    SY_AUTOFREE uint8_t *data = sy_malloc(CP_ZONE_FILE_MAX);
    ssize_t n = read(fd, data, CP_ZONE_FILE_MAX);
    close(fd);
    if (n < 0 || cp_zone_parse(ret, (struct sy_span){data, (size_t)n}) < 0) {
        sy_error_text_set(error, "time zone '%s': its file is damaged", name);
        return -EINVAL;
    }
    return 0;
}

void cp_zone_free(struct cp_zone *zone)
{
    if (zone == NULL)
        return;
    free(zone->times);
    free(zone->offsets);
    free(zone);
}

/* ---- times ---- */

int64_t cp_zone_offset(const struct cp_zone *zone, int64_t utc_s)
{
    if (zone == NULL)
        return 0;
    if (zone->footer && (zone->count == 0 || utc_s >= zone->times[zone->count - 1]))
        return footer_offset(zone, utc_s);
    size_t low = 0, high = zone->count; /* the first transition after utc_s */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->times[middle] <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? zone->offsets[low - 1] : zone->first_offset;
}

int64_t cp_zone_to_utc(const struct cp_zone *zone, int64_t local_s)
{
    int64_t before = cp_zone_offset(zone, local_s - 2 * DAY_S);
    int64_t after = cp_zone_offset(zone, local_s + 2 * DAY_S);
    int64_t early = local_s - before, late = local_s - after;
    if (before == after || cp_zone_offset(zone, early) == before)
        return early;
    if (cp_zone_offset(zone, late) == after)
        return late;
    int64_t low = local_s - 2 * DAY_S, high = local_s + 2 * DAY_S; /* the change is within */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (cp_zone_offset(zone, middle) == before)
            low = middle;
        else
            high = middle;
    }
    return high;
}
