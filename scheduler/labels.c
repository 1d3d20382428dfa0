#include "scheduler/labels.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TOLERATE_ALL "all"

/* ---- items ---- */

struct item {
    const char *text;
    size_t length, key_length;
};

/* The next item of a set, which *at is moved beyond; false at the end. */
static bool next_item(const char **at, struct item *ret)
{
    if ((*at)[0] == '\0')
        return false;
    ret->text = *at;
    ret->length = strcspn(*at, ",");
    ret->key_length = strcspn(*at, ",=");
    *at += ret->length + ((*at)[ret->length] == ',');
    return true;
}

static int compare_keys(const struct item *a, const struct item *b)
{
    size_t shorter = a->key_length < b->key_length ? a->key_length : b->key_length;
    int order = memcmp(a->text, b->text, shorter);
    return order != 0 ? order : (a->key_length > b->key_length) - (a->key_length < b->key_length);
}

static bool same(const struct item *a, const struct item *b)
{
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

static bool part_ok(const char *text, size_t length)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_./";
    return length < SCH_LABEL_PART_MAX && strspn(text, allowed) >= length;
}

static bool item_ok(const struct item *item)
{
    bool valued = item->key_length < item->length;
    const char *value = item->text + item->key_length + valued;
    return item->key_length > 0 && part_ok(item->text, item->key_length) &&
           part_ok(value, item->length - item->key_length - valued) &&
           !(valued && item->key_length + 1 == item->length);
}

bool sch_labels_valid(const char *set)
{
    struct item last = {0}, item;
    size_t length = strlen(set);
    if (length > 0 && set[length - 1] == ',')
        return false;
    while (next_item(&set, &item)) {
        if (!item_ok(&item) || (last.text && compare_keys(&last, &item) >= 0))
            return false;
        last = item;
    }
    return true;
}

/* ---- building ---- */

static int put(char *set, size_t size, const struct item *added, struct sy_error_text *error)
{
    const char *at = set, *begin, *end;
    struct item item;
    size_t length = strlen(set);
    if (!item_ok(added)) {
        sy_error_text_set(error,
                          "label '%.*s': expected key=value of letters, digits and -_./, at most "
                          "%d characters each",
                          (int)added->length, added->text, SCH_LABEL_PART_MAX - 1);
        return -EINVAL;
    }
    begin = end = set + length; /* what the new one replaces */
    while (next_item(&at, &item)) {
        int order = compare_keys(&item, added);
        if (order < 0)
            continue;
        begin = item.text;
        end = order == 0 ? at : item.text;
        break;
    }
    bool first = begin == set, last = *end == '\0';
    size_t head = (size_t)(begin - set), tail = length - (size_t)(end - set);
    bool comma_before = last && !first && begin[-1] != ',';
    size_t total = head + comma_before + added->length + !last + tail;
    if (total >= size) {
        sy_error_text_set(error, "label '%.*s': all of them together take at most %zu characters",
                          (int)added->length, added->text, size - 1);
        return -ENOSPC;
    }
    char *to = set + head + comma_before;
    memmove(to + added->length + !last, end, tail);
    if (comma_before)
        to[-1] = ',';
    memcpy(to, added->text, added->length);
    if (!last)
        to[added->length] = ',';
    memset(set + total, 0, size - total);
    SY_ASSERT(sch_labels_valid(set));
    return 0;
}

int sch_labels_put(char *set, size_t size, const char *key, const char *value,
                   struct sy_error_text *error)
{
    char text[2 * SCH_LABEL_PART_MAX + 1];
    int n = snprintf(text, sizeof(text), "%s%s%s", key, value[0] ? "=" : "", value);
    if (n < 0 || (size_t)n >= sizeof(text) || strpbrk(key, ",=") || strpbrk(value, ",=")) {
        sy_error_text_set(error, "label '%.80s=%.80s': not a key and a value", key, value);
        return -EINVAL;
    }
    struct item item = {.text = text, .length = (size_t)n, .key_length = strcspn(text, "=")};
    return put(set, size, &item, error);
}

int sch_labels_parse(char *set, size_t size, const char *text, struct sy_error_text *error)
{
    int r = 0;
    while (r == 0 && text[strspn(text, " ")] != '\0') {
        text += strspn(text, " ");
        size_t part = strcspn(text, ","), length = part;
        while (length > 0 && text[length - 1] == ' ')
            length--;
        struct item item = {.text = text, .length = length, .key_length = strcspn(text, ",=")};
        if (item.key_length > length)
            item.key_length = length;
        r = put(set, size, &item, error);
        text += part + (text[part] == ',');
    }
    return r;
}

/* ---- matching ---- */

bool sch_labels_contain(const char *there, const char *wanted, const char **ret_missing)
{
    struct item want, have = {0};
    while (next_item(&wanted, &want)) {
        bool found = false;
        while (!found && next_item(&there, &have))
            found = same(&have, &want); /* both are sorted: what is passed comes no more */
        if (found)
            continue;
        if (ret_missing)
            *ret_missing = want.text;
        return false;
    }
    return true;
}

static bool tolerated(const struct item *taint, const char *tolerations)
{
    struct item item;
    while (next_item(&tolerations, &item)) {
        bool whole_key = item.key_length == item.length;
        if (same(&item, taint) || (whole_key && compare_keys(&item, taint) == 0) ||
            (item.length == strlen(TOLERATE_ALL) &&
             memcmp(item.text, TOLERATE_ALL, item.length) == 0))
            return true;
    }
    return false;
}

bool sch_taints_tolerated(const char *taints, const char *tolerations, const char **ret_taint)
{
    struct item taint;
    while (next_item(&taints, &taint)) {
        if (tolerated(&taint, tolerations))
            continue;
        if (ret_taint)
            *ret_taint = taint.text;
        return false;
    }
    return true;
}

struct sy_span sch_labels_next(const char **at, size_t *ret_key_len)
{
    struct item item;
    if (!next_item(at, &item))
        return (struct sy_span){0};
    *ret_key_len = item.key_length;
    return (struct sy_span){(const uint8_t *)item.text, item.length};
}

struct sy_span sch_label_value(const char *set, const char *key)
{
    size_t key_len = strlen(key);
    while (key_len > 0 && *set) {
        size_t len = strcspn(set, ",");
        if (len >= key_len && strncmp(set, key, key_len) == 0) {
            const uint8_t *rest = (const uint8_t *)set + key_len;
            if (len == key_len)
                return (struct sy_span){rest, 0};
            if (*rest == '=')
                return (struct sy_span){rest + 1, len - key_len - 1};
        }
        set += len + (set[len] == ',');
    }
    return (struct sy_span){0};
}

int sch_label_values_compare(const struct sy_span *a, const struct sy_span *b)
{
    size_t least = a->len < b->len ? a->len : b->len;
    int order = least > 0 ? memcmp(a->data, b->data, least) : 0;
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}
