#include "base/config_value.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"ns", 1},
    {"us", SY_NS_PER_US},
    {"ms", SY_NS_PER_MS},
    {"s", SY_NS_PER_S},
    {"m", 60 * SY_NS_PER_S},
    {"h", 3600 * SY_NS_PER_S},
    {"d", 86400 * SY_NS_PER_S},
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", 1LL << 10},
    {"MiB", 1LL << 20},
    {"GiB", 1LL << 30},
    {"TiB", 1LL << 40},
};

/* Digits only: no blanks, signs or other bases, which strtoll() would let through. */
static int parse_digits(const char *text, int64_t *ret, const char **ret_end)
{
    int64_t value = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *c - '0', &value))
            return -ERANGE;
    }
    if (c == text)
        return -EINVAL;
    *ret = value;
    *ret_end = c;
    return 0;
}

static int parse_with_unit(const char *text, const struct unit *units, size_t count, int64_t *ret)
{
    int64_t number, value;
    const char *unit;
    int r = parse_digits(text, &number, &unit);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(units[i].name, unit) != 0)
            continue;
        if (__builtin_mul_overflow(number, units[i].factor, &value))
            return -ERANGE;
        *ret = value;
        return 0;
    }
    return -EINVAL;
}

int sy_parse_duration(const char *text, int64_t *ret_ns)
{
    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return 0;
    }
    return parse_with_unit(text, duration_units, SY_COUNT_OF(duration_units), ret_ns);
}

int sy_parse_size(const char *text, int64_t *ret_bytes)
{
    return parse_with_unit(text, size_units, SY_COUNT_OF(size_units), ret_bytes);
}

static int parse_int(const char *text, int64_t *ret)
{
    int64_t value;
    const char *end;
    bool negative = *text == '-';
    int r = parse_digits(text + negative, &value, &end);
    if (r < 0)
        return r;
    if (*end)
        return -EINVAL;
    *ret = negative ? -value : value;
    return 0;
}

static int parse_bool(const char *text, bool *ret)
{
    bool is_true = strcmp(text, "true") == 0;
    if (!is_true && strcmp(text, "false") != 0)
        return -EINVAL;
    *ret = is_true;
    return 0;
}

static int parse_word(const char *text, const char *const *words, int64_t *ret)
{
    for (int64_t i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0) {
            *ret = i;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_number(const struct sy_config_key *key, const char *text, int64_t *ret)
{
    switch (key->type) {
    case SY_CONFIG_TYPE_INT:
        return parse_int(text, ret);
    case SY_CONFIG_TYPE_DURATION:
        return sy_parse_duration(text, ret);
    case SY_CONFIG_TYPE_SIZE:
        return sy_parse_size(text, ret);
    default:
        return parse_word(text, key->words, ret);
    }
}

/* A limit that cannot be read is a mistake in our own table. */
static bool in_range(const struct sy_config_key *key, int64_t value)
{
    int64_t min = INT64_MIN, max = INT64_MAX;
    int r = key->min ? parse_number(key, key->min, &min) : 0;
    SY_ASSERT(r == 0);
    r = key->max ? parse_number(key, key->max, &max) : 0;
    SY_ASSERT(r == 0);
    SY_ASSERT(min <= max);
    return value >= min && value <= max;
}

bool sy_config_is_collection(enum sy_config_type type)
{
    return type == SY_CONFIG_TYPE_MAP || type == SY_CONFIG_TYPE_LIST ||
           type == SY_CONFIG_TYPE_STRINGS;
}

static const char *describe_type(enum sy_config_type type)
{
    static const char *const names[] = {
        [SY_CONFIG_TYPE_STRING] = "a string",
        [SY_CONFIG_TYPE_INT] = "a whole number",
        [SY_CONFIG_TYPE_BOOL] = "true or false",
        [SY_CONFIG_TYPE_DURATION] = "a duration such as 250ms, 10s, 2m or 1h",
        [SY_CONFIG_TYPE_SIZE] = "a size such as 4096, 64KiB or 1GiB",
        [SY_CONFIG_TYPE_ENUM] = "one of",
        [SY_CONFIG_TYPE_MAP] = "a map of strings",
        [SY_CONFIG_TYPE_LIST] = "a list of maps",
        [SY_CONFIG_TYPE_STRINGS] = "a list of strings",
    };
    SY_ASSERT((size_t)type < SY_COUNT_OF(names));
    return names[type];
}

static void append(char *text, size_t size, const char *before, const char *s)
{
    size_t len = strlen(text);
    SY_ASSERT(len < size);
    snprintf(text + len, size - len, "%s%s", before, s);
}

void sy_config_describe(const struct sy_config_key *key, char *ret_text, size_t size)
{
    SY_ASSERT(size > 0);
    ret_text[0] = 0;
    append(ret_text, size, "", describe_type(key->type));
    if (key->type == SY_CONFIG_TYPE_ENUM) {
        for (unsigned i = 0; key->words[i]; i++)
            append(ret_text, size, i ? ", " : " ", key->words[i]);
    }
    if (key->min && key->max) {
        append(ret_text, size, ", from ", key->min);
        append(ret_text, size, " to ", key->max);
    } else if (key->min) {
        append(ret_text, size, ", at least ", key->min);
    } else if (key->max) {
        append(ret_text, size, ", at most ", key->max);
    }
}

static int refuse(const struct sy_config_key *key, const char *text, struct sy_error_text *error)
{
    char expected[256];
    sy_config_describe(key, expected, sizeof(expected));
    sy_error_text_set(error, "'%s' is '%.64s', expected %s", key->name, text, expected);
    return -EINVAL;
}

int sy_config_set_scalar(void *config, const struct sy_config_key *key, const char *text,
                         struct sy_error_text *error)
{
    SY_ASSERT(!sy_config_is_collection(key->type));
    void *field = sy_config_field(config, key);
    if (key->type == SY_CONFIG_TYPE_STRING) {
        char **string = field;
        free(*string);
        *string = sy_strdup(text);
        return 0;
    }
    if (key->type == SY_CONFIG_TYPE_BOOL)
        return parse_bool(text, field) < 0 ? refuse(key, text, error) : 0;
    SY_ASSERT(key->type != SY_CONFIG_TYPE_ENUM || key->words);
    int64_t value;
    if (parse_number(key, text, &value) < 0)
        return refuse(key, text, error);
    if (key->type != SY_CONFIG_TYPE_ENUM && !in_range(key, value))
        return refuse(key, text, error);
    *(int64_t *)field = value;
    return 0;
}

#define NAME_MAX_COMPARED 64

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein distance, with one row; names are compared as far as the row reaches. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_COMPARED + 1];
    size_t a_len = strnlen(a, NAME_MAX_COMPARED);
    size_t b_len = strnlen(b, NAME_MAX_COMPARED);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}

const char *sy_config_nearest(const struct sy_config_key *keys, size_t count, const char *name)
{
    SY_ASSERT(count > 0);
    const char *nearest = keys[0].name;
    size_t least = distance(name, nearest);
    for (size_t i = 1; i < count; i++) {
        size_t d = distance(name, keys[i].name);
        if (d < least) {
            least = d;
            nearest = keys[i].name;
        }
    }
    return nearest;
}
