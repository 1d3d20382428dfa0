#include "controlplane/cron.h"

#include "base/mem.h"
#include "controlplane/zone.h"

#include <string.h>
#include <strings.h>

#define DAY_S 86400
#define FIELDS 6

struct field {
    const char *name;
    unsigned min, max;
    const char *const *words; /* of min, min + 1, ... */
};

static const char *const month_words[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL",
                                          "AUG", "SEP", "OCT", "NOV", "DEC", NULL};
static const char *const day_words[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", NULL};
static const struct field fields[FIELDS] = {
    {"minute", 0, 59, NULL},          {"hour", 0, 23, NULL},
    {"day of month", 1, 31, NULL},    {"month", 1, 12, month_words},
    {"day of week", 0, 7, day_words}, {"year", CP_CRON_YEAR_MIN, CP_CRON_YEAR_MAX, NULL},
};

static void set_bit(uint64_t *bits, unsigned i)
{
    bits[i / 64] |= 1ull << (i % 64);
}

static bool has_bit(const uint64_t *bits, unsigned i)
{
    return (bits[i / 64] >> (i % 64)) & 1;
}

static bool read_value(const struct field *field, const char **at, unsigned *ret)
{
    for (unsigned i = 0; field->words != NULL && field->words[i] != NULL; i++) {
        if (strncasecmp(*at, field->words[i], 3) == 0) {
            *at += 3;
            *ret = field->min + i;
            return true;
        }
    }
    const char *start = *at;
    unsigned v = 0;
    for (; **at >= '0' && **at <= '9' && *at - start < 5; (*at)++)
        v = v * 10 + (unsigned)(**at - '0');
    *ret = v;
    return *at > start && v >= field->min && v <= field->max;
}

/* One item of a list: a value, a range or "*", perhaps with a step. */
static bool read_item(const struct field *field, const char **at, unsigned base, uint64_t *bits)
{
    unsigned from = field->min, to = field->max, step = 1;
    bool all = **at == '*' || **at == '?', range = all;
    if (all) {
        (*at)++;
    } else {
        if (!read_value(field, at, &from))
            return false;
        to = from;
        if (**at == '-') {
            (*at)++;
            range = true;
            if (!read_value(field, at, &to) || to < from)
                return false;
        }
    }
    if (**at == '/') {
        static const struct field steps = {"step", 1, 9999, NULL};
        (*at)++;
        if (!read_value(&steps, at, &step))
            return false;
        if (!range)
            to = field->max; /* "5/15": from 5 on */
    }
    for (unsigned v = from; v <= to; v += step)
        set_bit(bits, v - base);
    return true;
}

static bool read_field(const struct field *field, const char *text, unsigned base, uint64_t *bits)
{
    for (;;) {
        if (!read_item(field, &text, base, bits))
            return false;
        if (*text == '\0')
            return true;
        if (*text++ != ',')
            return false;
    }
}

static const char *expand(const char *text)
{
    static const char *const names[][2] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(names); i++) {
        if (strcasecmp(text, names[i][0]) == 0)
            return names[i][1];
    }
    return text;
}

static bool is_free(const char *text)
{
    return text[0] == '*' || text[0] == '?';
}

int cp_cron_parse(struct cp_cron *ret, const char *text, struct sy_error_text *error)
{
    char copy[CP_CRON_TEXT_MAX], *words[FIELDS], *rest = NULL;
    const char *expanded = expand(text);
    size_t count = 0, len = strlen(expanded);
    memcpy(copy, expanded, len < sizeof(copy) ? len + 1 : 1);
    char *word = len < sizeof(copy) ? strtok_r(copy, " \t", &rest) : NULL;
    for (; word != NULL && count < FIELDS; word = strtok_r(NULL, " \t", &rest))
        words[count++] = word;
    if (word != NULL || count < 5) {
        sy_error_text_set(error,
                          "cron '%.64s': expected five fields, such as \"*/5 8-17 * * MON-FRI\", "
                          "six with the year, or @daily",
                          text);
        return -EINVAL;
    }
    *ret = (struct cp_cron){.day_free = is_free(words[2]), .weekday_free = is_free(words[4])};
    char any[] = "*";
    if (count == 5)
        words[5] = any;
    uint64_t *const bits[FIELDS] = {&ret->minutes, &ret->hours,    &ret->days,
                                    &ret->months,  &ret->weekdays, ret->years};
    for (size_t i = 0; i < FIELDS; i++) {
        if (!read_field(&fields[i], words[i], i == 5 ? CP_CRON_YEAR_MIN : 0, bits[i])) {
            sy_error_text_set(error, "cron '%.64s': %s '%.32s' is not within %u to %u", text,
                              fields[i].name, words[i], fields[i].min, fields[i].max);
            return -EINVAL;
        }
    }
    if (has_bit(&ret->weekdays, 7))
        set_bit(&ret->weekdays, 0);
    int64_t when;
    if (cp_cron_next(ret, 0, &when) < 0) {
        sy_error_text_set(error, "cron '%.64s': there is no such day", text);
        return -EINVAL;
    }
    return 0;
}

static bool day_matches(const struct cp_cron *cron, int64_t days)
{
    struct cp_civil date = cp_civil_from_days(days);
    if (date.year < CP_CRON_YEAR_MIN || date.year > CP_CRON_YEAR_MAX ||
        !has_bit(cron->years, (unsigned)(date.year - CP_CRON_YEAR_MIN)) ||
        !has_bit(&cron->months, date.month))
        return false;
    bool day = has_bit(&cron->days, date.day);
    bool weekday = has_bit(&cron->weekdays, (unsigned)(((days + 4) % 7 + 7) % 7));
    return cron->day_free || cron->weekday_free ? day && weekday : day || weekday;
}

int cp_cron_next(const struct cp_cron *cron, int64_t local_s, int64_t *ret_local_s)
{
    if (local_s < -DAY_S || local_s > (int64_t)400 * 366 * DAY_S)
        return -ENOENT;
    int64_t minute = (local_s + 2 * DAY_S) / 60 - 2 * DAY_S / 60 + 1; /* rounded down, plus one */
    int64_t days = (minute + 2880) / 1440 - 2;
    int64_t last = cp_civil_days((struct cp_civil){CP_CRON_YEAR_MAX, 12, 31});
    unsigned first = (unsigned)(minute - days * 1440);
    for (; days <= last; days++, first = 0) {
        if (!day_matches(cron, days))
            continue;
        for (unsigned m = first; m < 1440; m++) {
            if (!has_bit(&cron->hours, m / 60)) {
                m += 59 - m % 60;
                continue;
            }
            if (has_bit(&cron->minutes, m % 60)) {
                *ret_local_s = (days * 1440 + m) * 60;
                return 0;
            }
        }
    }
    return -ENOENT;
}
