/*
 * Configuration: YAML checked as a whole against one table, before anything starts. Every problem
 * is reported at once; each names the key with its line, the value, and what is allowed.
 *
 *     static const struct sy_config_key keys[] = {
 *         SY_CONFIG_STRING("data_dir", struct cfg, data_dir, NULL, "directory for RocksDB"),
 *         SY_CONFIG_INT("partitions", struct cfg, partitions, 1, 1, 256, "..."),
 *         SY_CONFIG_DURATION("cluster_lease", struct cfg, cluster_lease_ns, "30s", "1s", "24h",
 * ".."),
 *         ...
 *     };
 *
 * Defaults and limits are texts, written as in a file; for integers also plain numbers. Further
 * fields of struct sy_config_key may follow the help: SY_CONFIG_BOOL("trace", struct cfg, trace,
 * "false", "...", .reloadable = true).
 *
 * Values: strings; integers; booleans (true/false); durations ("250ms", "10s", "2m", "1h");
 * sizes ("64KiB", "1GiB", plain bytes); one of a list of words; a map of strings; a list of maps
 * (each with its own key table). A key without a default is required. Unknown keys are errors and
 * name the nearest known key. Anchors and aliases are refused: a few lines of them expand to
 * gigabytes.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sy_config_type {
    SY_CONFIG_TYPE_STRING,   /* char * */
    SY_CONFIG_TYPE_INT,      /* int64_t */
    SY_CONFIG_TYPE_BOOL,     /* bool */
    SY_CONFIG_TYPE_DURATION, /* int64_t, ns */
    SY_CONFIG_TYPE_SIZE,     /* int64_t, bytes */
    SY_CONFIG_TYPE_ENUM,     /* int64_t: index into words */
    SY_CONFIG_TYPE_MAP,      /* struct sy_config_map: string -> string */
    SY_CONFIG_TYPE_LIST,     /* struct sy_config_list: structs read with item_keys */
    SY_CONFIG_TYPE_STRINGS,  /* struct sy_config_list of char * */
};

struct sy_config_map {
    struct sy_config_pair {
        char *key, *value;
    } * pairs;
    size_t count;
};

struct sy_config_list {
    void *items; /* item_size bytes each */
    size_t count;
};

struct sy_config_key {
    const char *name;
    enum sy_config_type type;
    bool reloadable;
    size_t offset;            /* into the struct that is filled */
    const char *fallback;     /* as it would be written; NULL = required ("" = empty) */
    const char *min, *max;    /* as they would be written; NULL = none */
    const char *const *words; /* NULL-terminated, for ENUM */
    const struct sy_config_key *item_keys;
    size_t item_keys_count, item_size;
    const char *help;
};

/* Most entries in one map or list; a longer one is an error. */
#define SY_CONFIG_ENTRIES_MAX 4096
/* Most bytes of YAML text. */
#define SY_CONFIG_BYTES_MAX ((size_t)1024 * 1024)

/* offsetof(), and a compile error when the member has another type than the key fills in. */
#define SY_CONFIG_AT_(type_, member_, c_type)                                                      \
    (offsetof(type_, member_) +                                                                    \
     0 * sizeof(                                                                                   \
             char[__builtin_types_compatible_p(__typeof__(((type_ *)0)->member_), c_type) ? 1      \
                                                                                          : -1]))
#define SY_CONFIG_KEY_(name_, kind_, type_, member_, c_type, fallback_, help_, ...)                \
    {                                                                                              \
        .name = (name_), .type = SY_CONFIG_TYPE_##kind_,                                           \
        .offset = SY_CONFIG_AT_(type_, member_, c_type), .fallback = (fallback_), .help = (help_), \
        __VA_ARGS__                                                                                \
    }

/* A text as it is; an integer as text. */
#define SY_CONFIG_TEXT_(value_) _Generic((value_), int : #value_, default : (value_))

/* Rows of a key table: name in the file, struct, member, default (NULL = required), ..., help. */
#define SY_CONFIG_STRING(name_, type_, member_, fallback_, help_, ...)                             \
    SY_CONFIG_KEY_(name_, STRING, type_, member_, char *, fallback_, help_, __VA_ARGS__)
#define SY_CONFIG_BOOL(name_, type_, member_, fallback_, help_, ...)                               \
    SY_CONFIG_KEY_(name_, BOOL, type_, member_, bool, fallback_, help_, __VA_ARGS__)
#define SY_CONFIG_INT(name_, type_, member_, fallback_, min_, max_, help_, ...)                    \
    SY_CONFIG_KEY_(name_, INT, type_, member_, int64_t, SY_CONFIG_TEXT_(fallback_), help_,         \
                   .min = SY_CONFIG_TEXT_(min_), .max = SY_CONFIG_TEXT_(max_), __VA_ARGS__)
#define SY_CONFIG_DURATION(name_, type_, member_, fallback_, min_, max_, help_, ...)               \
    SY_CONFIG_KEY_(name_, DURATION, type_, member_, int64_t, fallback_, help_, .min = (min_),      \
                   .max = (max_), __VA_ARGS__)
#define SY_CONFIG_SIZE(name_, type_, member_, fallback_, min_, max_, help_, ...)                   \
    SY_CONFIG_KEY_(name_, SIZE, type_, member_, int64_t, fallback_, help_, .min = (min_),          \
                   .max = (max_), __VA_ARGS__)
#define SY_CONFIG_ENUM(name_, type_, member_, fallback_, words_, help_, ...)                       \
    SY_CONFIG_KEY_(name_, ENUM, type_, member_, int64_t, fallback_, help_, .words = (words_),      \
                   __VA_ARGS__)
/* Collections: the default is "" (empty) or NULL (required). */
#define SY_CONFIG_MAP(name_, type_, member_, fallback_, help_, ...)                                \
    SY_CONFIG_KEY_(name_, MAP, type_, member_, struct sy_config_map, fallback_, help_, __VA_ARGS__)
#define SY_CONFIG_STRINGS(name_, type_, member_, fallback_, help_, ...)                            \
    SY_CONFIG_KEY_(name_, STRINGS, type_, member_, struct sy_config_list, fallback_, help_,        \
                   __VA_ARGS__)
/* `item_keys_` is an array of rows about struct `item_type_`. */
#define SY_CONFIG_LIST(name_, type_, member_, fallback_, item_type_, item_keys_, help_, ...)       \
    SY_CONFIG_KEY_(name_, LIST, type_, member_, struct sy_config_list, fallback_, help_,           \
                   .item_keys = (item_keys_),                                                      \
                   .item_keys_count = sizeof(item_keys_) / sizeof((item_keys_)[0]),                \
                   .item_size = sizeof(item_type_), __VA_ARGS__)

/* Fills *ret_config (zeroed first) from YAML text. `name` is used in messages ("agent.yaml").
 * -EINVAL with all problems in error, "; "-separated ("and N more" when they don't fit); the struct
 * is then zeroed. On success the caller frees with sy_config_free(). */
int sy_config_parse(void *ret_config, size_t config_size, const struct sy_config_key *keys,
                    size_t count, const char *name, const char *text, size_t len,
                    struct sy_error_text *error) SY_MUST_USE;
/* Reads a file of at most 1 MiB; path NULL = all defaults. Also errors of open(2) and read(2), with
 * the path in error. */
int sy_config_load(void *ret_config, size_t config_size, const struct sy_config_key *keys,
                   size_t count, const char *path, struct sy_error_text *error) SY_MUST_USE;
void sy_config_free(void *config, const struct sy_config_key *keys, size_t count);
/* The table as commented YAML with defaults, for `--print-config`. */
void sy_config_print(const struct sy_config_key *keys, size_t count, int fd);

/* Also used for command lines. -EINVAL when the text is not such a value, -ERANGE when it does not
 * fit. Durations: a whole number and ns, us, ms, s, m, h or d; "0" needs no unit. Sizes: a whole
 * number and nothing, B, KiB, MiB, GiB or TiB. */
int sy_parse_duration(const char *text, int64_t *ret_ns) SY_MUST_USE;
int sy_parse_size(const char *text, int64_t *ret_bytes) SY_MUST_USE;
