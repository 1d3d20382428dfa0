/*
 * Reads libyaml's event stream against the key table, without a tree in between. A value that is
 * wrong is reported and skipped, so that one start shows every problem; only broken YAML ends the
 * reading, as nothing after it can be trusted.
 */
#include "base/config.h"

#include "base/config_value.h"
#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define KEYS_MAX 64 /* of one table: one bit each */
/* libyaml's scanner takes quadratic time for nested brackets: 1 MiB of them would take minutes. */
#define DEPTH_MAX 64

struct parse {
    yaml_parser_t yaml;
    yaml_event_t event; /* the current one; owned */
    const char *name;
    struct sy_error_text *error;
    unsigned problems, unreported;
    bool broken;
};

/* One table that is being filled. */
struct target {
    void *config;
    const struct sy_config_key *keys;
    size_t count;
    uint64_t seen; /* bit i: keys[i] was given, right or wrong */
};

/* Room for the last words, ", and N more". */
#define MORE_BYTES 32

static void report(struct parse *p, size_t line, const char *format, ...) SY_PRINTF(3, 4);
static void report(struct parse *p, size_t line, const char *format, ...)
{
    char text[SY_ERROR_TEXT_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    p->problems++;
    if (!p->error)
        return;
    size_t used = strlen(p->error->text);
    if (used > 0 && used + strlen(text) + strlen(p->name) + MORE_BYTES * 2 > SY_ERROR_TEXT_MAX)
        p->unreported++;
    else
        sy_error_text_add(p->error, "%.100s:%zu: %s", p->name, line, text);
}

static size_t line_of(const struct parse *p)
{
    return p->event.start_mark.line + 1;
}

/* Moves to the next event. False once the YAML itself is broken. */
static bool next(struct parse *p)
{
    if (p->broken)
        return false;
    yaml_event_delete(&p->event);
    if (yaml_parser_parse(&p->yaml, &p->event))
        return true;
    p->broken = true;
    memset(&p->event, 0, sizeof(p->event));
    size_t line = p->yaml.problem_mark.line + 1;
    report(p, line, "not YAML: %.120s", p->yaml.problem ? p->yaml.problem : "out of memory");
    return false;
}

/* Leaves the current event at the last one of the node that it began. */
static bool skip_node(struct parse *p)
{
    size_t depth = 0;
    for (;;) {
        yaml_event_type_t type = p->event.type;
        if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT)
            depth++;
        else if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT)
            depth--;
        if (depth == 0)
            return true;
        if (depth > DEPTH_MAX) {
            report(p, line_of(p), "more than %d levels of lists and maps", DEPTH_MAX);
            p->broken = true;
            return false;
        }
        if (!next(p))
            return false;
    }
}

static const char *event_kind(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_MAPPING_START_EVENT:
        return "a map";
    case YAML_SEQUENCE_START_EVENT:
        return "a list";
    case YAML_ALIAS_EVENT:
        return "an alias";
    default:
        return "a single value";
    }
}

/* The text of the current event when it is a scalar that C can hold, else NULL. */
static const char *scalar_text(const struct parse *p)
{
    if (p->event.type != YAML_SCALAR_EVENT)
        return NULL;
    const char *text = (const char *)p->event.data.scalar.value;
    return strlen(text) == p->event.data.scalar.length ? text : NULL;
}

/* `key:` with nothing after it, or a bare null. */
static bool is_null(const struct parse *p)
{
    const char *text = scalar_text(p);
    if (!text || p->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    return !*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static bool wrong_kind(struct parse *p, const struct sy_config_key *key)
{
    char expected[256];
    sy_config_describe(key, expected, sizeof(expected));
    const char *found = is_null(p) ? "empty" : event_kind(&p->event);
    if (p->event.type == YAML_SCALAR_EVENT && !scalar_text(p))
        found = "a text with a NUL character";
    report(p, line_of(p), "'%.64s' is %s, expected %s", key->name, found, expected);
    return skip_node(p);
}

static bool read_scalar(struct parse *p, void *config, const struct sy_config_key *key)
{
    const char *text = scalar_text(p);
    if (!text || is_null(p))
        return wrong_kind(p, key);
    struct sy_error_text why;
    if (sy_config_set_scalar(config, key, text, &why) < 0)
        report(p, line_of(p), "%s", why.text);
    return true;
}

/* True when one entry more is allowed; the problem is reported once. */
static bool has_room(struct parse *p, const struct sy_config_key *key, size_t count)
{
    if (count == SY_CONFIG_ENTRIES_MAX)
        report(p, line_of(p), "'%.64s' has more than %d entries", key->name, SY_CONFIG_ENTRIES_MAX);
    return count < SY_CONFIG_ENTRIES_MAX;
}

/* Doubles at the powers of two. */
static void *grow(void *items, size_t count, size_t item_size)
{
    if (count & (count - 1))
        return items;
    return sy_realloc(items, (count ? count * 2 : 1) * item_size);
}

static void add_pair(struct parse *p, const struct sy_config_key *key, struct sy_config_map *map,
                     char *name, size_t line)
{
    const char *value = scalar_text(p);
    bool duplicate = false;
    for (size_t i = 0; i < map->count; i++)
        duplicate |= strcmp(map->pairs[i].key, name) == 0;
    if (duplicate)
        report(p, line, "'%.64s' holds '%.64s' twice", key->name, name);
    else if (!value)
        report(p, line, "'%.64s' in '%.64s' is %s, expected a string", name, key->name,
               event_kind(&p->event));
    if (duplicate || !value) {
        free(name);
        return;
    }
    map->pairs = grow(map->pairs, map->count, sizeof(*map->pairs));
    map->pairs[map->count++] = (struct sy_config_pair){name, sy_strdup(is_null(p) ? "" : value)};
}

static bool read_map(struct parse *p, void *config, const struct sy_config_key *key)
{
    struct sy_config_map *map = sy_config_field(config, key);
    if (p->event.type != YAML_MAPPING_START_EVENT)
        return wrong_kind(p, key);
    for (size_t entries = 0;; entries++) {
        if (!next(p))
            return false;
        if (p->event.type == YAML_MAPPING_END_EVENT)
            return true;
        size_t line = line_of(p);
        const char *text = scalar_text(p);
        bool wanted = has_room(p, key, entries);
        if (!text)
            report(p, line, "a key in '%.64s' is not a string", key->name);
        char *name = text && wanted ? sy_strdup(text) : NULL;
        if (!skip_node(p) || !next(p)) {
            free(name);
            return false;
        }
        if (name)
            add_pair(p, key, map, name, line);
        if (!skip_node(p))
            return false;
    }
}

static bool read_strings(struct parse *p, void *config, const struct sy_config_key *key)
{
    struct sy_config_list *list = sy_config_field(config, key);
    if (p->event.type != YAML_SEQUENCE_START_EVENT)
        return wrong_kind(p, key);
    for (size_t entries = 0;; entries++) {
        if (!next(p))
            return false;
        if (p->event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        const char *text = scalar_text(p);
        if (!text || is_null(p)) {
            report(p, line_of(p), "an entry of '%.64s' is %s, expected a string", key->name,
                   text ? "empty" : event_kind(&p->event));
        } else if (has_room(p, key, entries)) {
            list->items = grow(list->items, list->count, sizeof(char *));
            ((char **)list->items)[list->count++] = sy_strdup(text);
        }
        if (!skip_node(p))
            return false;
    }
}

static bool read_table(struct parse *p, struct target *target);
static void finish_table(struct parse *p, struct target *target, size_t line, const char *where);

/* An item is in the list from its start, so that sy_config_free() finds it whatever happens. */
static bool read_item(struct parse *p, const struct sy_config_key *key, struct sy_config_list *list)
{
    size_t line = line_of(p);
    if (p->event.type != YAML_MAPPING_START_EVENT) {
        report(p, line, "an entry of '%.64s' is %s, expected a map", key->name,
               is_null(p) ? "empty" : event_kind(&p->event));
        return skip_node(p);
    }
    list->items = grow(list->items, list->count, key->item_size);
    char *item = (char *)list->items + list->count * key->item_size;
    memset(item, 0, key->item_size);
    list->count++;
    struct target target = {item, key->item_keys, key->item_keys_count, 0};
    if (!read_table(p, &target))
        return false;
    finish_table(p, &target, line, key->name);
    return true;
}

static bool read_list(struct parse *p, void *config, const struct sy_config_key *key)
{
    struct sy_config_list *list = sy_config_field(config, key);
    SY_ASSERT(key->item_size > 0);
    if (p->event.type != YAML_SEQUENCE_START_EVENT)
        return wrong_kind(p, key);
    for (size_t entries = 0;; entries++) {
        if (!next(p))
            return false;
        if (p->event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        bool going = has_room(p, key, entries) ? read_item(p, key, list) : skip_node(p);
        if (!going)
            return false;
    }
}

static bool read_value(struct parse *p, void *config, const struct sy_config_key *key)
{
    switch (key->type) {
    case SY_CONFIG_TYPE_MAP:
        return read_map(p, config, key);
    case SY_CONFIG_TYPE_STRINGS:
        return read_strings(p, config, key);
    case SY_CONFIG_TYPE_LIST:
        return read_list(p, config, key);
    default:
        return read_scalar(p, config, key);
    }
}

static size_t find_key(const struct target *target, const char *name)
{
    size_t i = 0;
    while (i < target->count && strcmp(target->keys[i].name, name) != 0)
        i++;
    return i;
}

/* Reads one `key: value`; the current event is the key. */
static bool read_entry(struct parse *p, struct target *target)
{
    size_t line = line_of(p);
    const char *name = scalar_text(p);
    size_t index = name ? find_key(target, name) : target->count;
    bool known = index < target->count;
    bool duplicate = known && (target->seen & UINT64_C(1) << index);
    if (!name)
        report(p, line, "a key is %s, expected a name", event_kind(&p->event));
    else if (!known)
        report(p, line, "unknown key '%.64s'; the nearest known key is '%.64s'", name,
               sy_config_nearest(target->keys, target->count, name));
    else if (duplicate)
        report(p, line, "key '%.64s' is given twice", name);
    if (!skip_node(p) || !next(p))
        return false;
    if (!known || duplicate)
        return skip_node(p);
    target->seen |= UINT64_C(1) << index;
    return read_value(p, target->config, &target->keys[index]);
}

/* The current event is the map's start, and its end on return. */
static bool read_table(struct parse *p, struct target *target)
{
    SY_ASSERT(p->event.type == YAML_MAPPING_START_EVENT);
    SY_ASSERT(target->count > 0 && target->count <= KEYS_MAX);
    for (;;) {
        if (!next(p))
            return false;
        if (p->event.type == YAML_MAPPING_END_EVENT)
            return true;
        if (!read_entry(p, target))
            return false;
    }
}

/* Defaults for what was not given; reports what is required. */
static void finish_table(struct parse *p, struct target *target, size_t line, const char *where)
{
    for (size_t i = 0; i < target->count; i++) {
        const struct sy_config_key *key = &target->keys[i];
        if (target->seen & UINT64_C(1) << i)
            continue;
        if (!key->fallback) {
            report(p, line, "required key '%.64s' is missing%s%s%s", key->name,
                   where ? " in an entry of '" : "", where ? where : "", where ? "'" : "");
        } else if (sy_config_is_collection(key->type)) {
            SY_ASSERT(!*key->fallback); /* stays zeroed */
        } else {
            struct sy_error_text why;
            int r = sy_config_set_scalar(target->config, key, key->fallback, &why);
            SY_ASSERT(r == 0); /* else the table's own default is wrong */
        }
    }
}

static bool read_root(struct parse *p, struct target *target)
{
    if (p->event.type == YAML_MAPPING_START_EVENT)
        return read_table(p, target);
    if (!is_null(p))
        report(p, line_of(p), "the file is %s, expected 'key: value' lines", event_kind(&p->event));
    return skip_node(p);
}

static bool skip_events(struct parse *p, unsigned count)
{
    while (count > 0 && next(p))
        count--;
    return count == 0;
}

static void read_stream(struct parse *p, struct target *target)
{
    if (!skip_events(p, 2)) /* the stream's start; now at a document's start or the end */
        return;
    if (p->event.type == YAML_DOCUMENT_START_EVENT) {
        if (!next(p) || !read_root(p, target))
            return;
        if (!skip_events(p, 2)) /* the document's end; now at the stream's */
            return;
        if (p->event.type != YAML_STREAM_END_EVENT) {
            report(p, line_of(p), "a second document starts, expected one");
            return;
        }
    }
    SY_ASSERT(p->event.type == YAML_STREAM_END_EVENT);
}

static void read_yaml(struct parse *p, struct target *target, const char *text, size_t len)
{
    int ok = yaml_parser_initialize(&p->yaml);
    SY_ASSERT(ok);
    yaml_parser_set_input_string(&p->yaml, (const unsigned char *)text, len);
    read_stream(p, target);
    yaml_event_delete(&p->event);
    yaml_parser_delete(&p->yaml);
}

int sy_config_parse(void *ret_config, size_t config_size, const struct sy_config_key *keys,
                    size_t count, const char *name, const char *text, size_t len,
                    struct sy_error_text *error)
{
    SY_ASSERT(text || len == 0);
    memset(ret_config, 0, config_size);
    if (len > SY_CONFIG_BYTES_MAX) {
        sy_error_text_set(error, "%.100s is larger than 1 MiB", name);
        return -EINVAL;
    }
    sy_error_text_set(error, "%s", "");
    struct parse p = {.name = name, .error = error};
    struct target target = {ret_config, keys, count, 0};
    read_yaml(&p, &target, text ? text : "", len);
    if (!p.broken) /* else keys would count as missing that come later in the file */
        finish_table(&p, &target, 1, NULL);
    if (p.problems == 0)
        return 0;
    if (p.unreported > 0)
        sy_error_text_add(error, "and %u more", p.unreported);
    sy_config_free(ret_config, keys, count);
    memset(ret_config, 0, config_size);
    return -EINVAL;
}

int sy_config_load(void *ret_config, size_t config_size, const struct sy_config_key *keys,
                   size_t count, const char *path, struct sy_error_text *error)
{
    if (!path)
        return sy_config_parse(ret_config, config_size, keys, count, "defaults", NULL, 0, error);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    int r = sy_file_read(path, SY_CONFIG_BYTES_MAX, &buf);
    if (r == -EFBIG) {
        sy_error_text_set(error, "%.256s is larger than 1 MiB", path);
        return -EINVAL;
    }
    if (r < 0) {
        sy_error_text_set(error, "%.256s cannot be read: %s", path, strerror(-r));
        return r;
    }
    return sy_config_parse(ret_config, config_size, keys, count, path, (const char *)buf.data,
                           buf.len, error);
}

static void free_map(struct sy_config_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        free(map->pairs[i].key);
        free(map->pairs[i].value);
    }
    free(map->pairs);
    *map = (struct sy_config_map){0};
}

static void free_list(struct sy_config_list *list, const struct sy_config_key *key)
{
    for (size_t i = 0; i < list->count; i++) {
        if (key->type == SY_CONFIG_TYPE_STRINGS)
            free(((char **)list->items)[i]);
        else
            sy_config_free((char *)list->items + i * key->item_size, key->item_keys,
                           key->item_keys_count);
    }
    free(list->items);
    *list = (struct sy_config_list){0};
}

void sy_config_free(void *config, const struct sy_config_key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *field = sy_config_field(config, &keys[i]);
        switch (keys[i].type) {
        case SY_CONFIG_TYPE_STRING:
            sy_freep(field);
            *(char **)field = NULL;
            break;
        case SY_CONFIG_TYPE_MAP:
            free_map(field);
            break;
        case SY_CONFIG_TYPE_LIST:
        case SY_CONFIG_TYPE_STRINGS:
            free_list(field, &keys[i]);
            break;
        default:
            break;
        }
    }
}
