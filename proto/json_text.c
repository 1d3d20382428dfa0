#include "proto/json_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NANOS 1000000000
#define DAY_SECONDS 86400
/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, as protobuf bounds them. */
#define TIME_SECONDS_MIN (-62135596800)
#define TIME_SECONDS_MAX 253402300799
#define DURATION_SECONDS_MAX 315576000000

/* ---- dates ---- */

/* Days since 1970-01-01 of the proleptic Gregorian calendar. Years begin in March here, so that
 * the leap day is a year's last; 146,097 days are 400 years. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void date_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    *ret_day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(year_of_era + era * 400 + (*ret_month <= 2));
}

/* ".006", ".000006" or ".000000006"; nothing for none. */
static void put_fraction(char *at, size_t size, int32_t nanos)
{
    if (nanos == 0)
        at[0] = '\0';
    else if (nanos % 1000000 == 0)
        snprintf(at, size, ".%03d", nanos / 1000000);
    else if (nanos % 1000 == 0)
        snprintf(at, size, ".%06d", nanos / 1000);
    else
        snprintf(at, size, ".%09d", nanos);
}

int pb_json_time_text(int64_t seconds, int32_t nanos, char ret[PB_JSON_TIME_MAX])
{
    if (seconds < TIME_SECONDS_MIN || seconds > TIME_SECONDS_MAX || nanos < 0 || nanos >= NANOS)
        return -EBADMSG;
    int64_t days = (seconds - TIME_SECONDS_MIN) / DAY_SECONDS + TIME_SECONDS_MIN / DAY_SECONDS;
    int rest = (int)(seconds - days * DAY_SECONDS);
    int year, month, day;
    char fraction[16];
    date_from_days(days, &year, &month, &day);
    put_fraction(fraction, sizeof(fraction), nanos);
    snprintf(ret, PB_JSON_TIME_MAX, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", year, month, day,
             rest / 3600, rest / 60 % 60, rest % 60, fraction);
    return 0;
}

int pb_json_duration_text(int64_t seconds, int32_t nanos, char ret[PB_JSON_TIME_MAX])
{
    if (seconds < -DURATION_SECONDS_MAX || seconds > DURATION_SECONDS_MAX || nanos <= -NANOS ||
        nanos >= NANOS || (seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0))
        return -EBADMSG;
    bool negative = seconds < 0 || nanos < 0;
    char fraction[16];
    put_fraction(fraction, sizeof(fraction), negative ? -nanos : nanos);
    snprintf(ret, PB_JSON_TIME_MAX, "%s%lld%ss", negative ? "-" : "",
             (long long)(negative ? -seconds : seconds), fraction);
    return 0;
}

/* Up to `max` decimal digits, at least `min`. */
static bool digits(const char **text, unsigned min, unsigned max, int64_t *ret)
{
    int64_t value = 0;
    unsigned n = 0;
    for (; n < max && **text >= '0' && **text <= '9'; n++, (*text)++)
        value = value * 10 + (**text - '0');
    *ret = value;
    return n >= min;
}

/* An optional fraction of a second. */
static bool parse_fraction(const char **text, int32_t *ret_nanos)
{
    *ret_nanos = 0;
    if (**text != '.')
        return true;
    const char *first = ++*text;
    int64_t value;
    if (!digits(text, 1, 9, &value))
        return false;
    for (ptrdiff_t n = *text - first; n < 9; n++)
        value *= 10;
    *ret_nanos = (int32_t)value;
    return true;
}

static bool eat(const char **text, char c)
{
    if (**text != c)
        return false;
    (*text)++;
    return true;
}

/* "Z", "+02:00" */
static bool parse_zone(const char **text, int64_t *ret_seconds)
{
    *ret_seconds = 0;
    if (eat(text, 'Z') || eat(text, 'z'))
        return true;
    int64_t hours, minutes, sign = **text == '-' ? -1 : 1;
    if (!eat(text, '+') && !eat(text, '-'))
        return false;
    if (!digits(text, 2, 2, &hours) || !eat(text, ':') || !digits(text, 2, 2, &minutes) ||
        hours > 23 || minutes > 59)
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool pb_json_time_parse(const char *text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    int64_t year, month, day, hour, minute, second, zone;
    if (!digits(&text, 4, 4, &year) || !eat(&text, '-') || !digits(&text, 2, 2, &month) ||
        !eat(&text, '-') || !digits(&text, 2, 2, &day) || (!eat(&text, 'T') && !eat(&text, 't')))
        return false;
    if (!digits(&text, 2, 2, &hour) || !eat(&text, ':') || !digits(&text, 2, 2, &minute) ||
        !eat(&text, ':') || !digits(&text, 2, 2, &second))
        return false;
    if (!parse_fraction(&text, ret_nanos) || !parse_zone(&text, &zone) || *text != '\0')
        return false;
    if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59)
        return false;
    int64_t days = days_from_date(year, month, day);
    int y, m, d; /* the 31st of February comes back as another day */
    date_from_days(days, &y, &m, &d);
    if (d != day || m != month)
        return false;
    *ret_seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second - zone;
    return *ret_seconds >= TIME_SECONDS_MIN && *ret_seconds <= TIME_SECONDS_MAX;
}

bool pb_json_duration_parse(const char *text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    bool negative = eat(&text, '-');
    if (!digits(&text, 1, 12, ret_seconds) || !parse_fraction(&text, ret_nanos) ||
        !eat(&text, 's') || *text != '\0' || *ret_seconds > DURATION_SECONDS_MAX)
        return false;
    if (negative) {
        *ret_seconds = -*ret_seconds;
        *ret_nanos = -*ret_nanos;
    }
    return true;
}

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void pb_base64_append(struct sy_buf *buf, struct sy_span bytes)
{
    sy_buf_reserve(buf, (bytes.len + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i;
        uint32_t three = (uint32_t)bytes.data[i] << 16;
        if (n > 1)
            three |= (uint32_t)bytes.data[i + 1] << 8;
        if (n > 2)
            three |= bytes.data[i + 2];
        char four[4] = {alphabet[three >> 18], alphabet[three >> 12 & 63],
                        n > 1 ? alphabet[three >> 6 & 63] : '=',
                        n > 2 ? alphabet[three & 63] : '='};
        sy_buf_append(buf, four, sizeof(four));
    }
}

static int base64_digit(char c)
{
    if (c == '-')
        c = '+';
    if (c == '_')
        c = '/';
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

bool pb_base64_parse(const char *text, size_t len, struct sy_buf *buf)
{
    while (len > 0 && text[len - 1] == '=')
        len--;
    if (len % 4 == 1)
        return false;
    uint32_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 0) /* each of the other three completes a byte */
            continue;
        uint8_t byte = (uint8_t)(bits >> (6 - 2 * (i % 4)));
        sy_buf_append(buf, &byte, 1);
    }
    return true;
}
