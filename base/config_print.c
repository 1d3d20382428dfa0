#include "base/config.h"
#include "base/config_value.h"

#include <stdio.h>
#include <string.h>

/* Defaults are our own texts; quotes keep an empty one, or one with ": ", a string. */
static void print_default(const struct sy_config_key *key, int fd)
{
    if (!key->fallback)
        dprintf(fd, "%s: # required\n", key->name);
    else if (key->type == SY_CONFIG_TYPE_MAP)
        dprintf(fd, "%s: {}\n", key->name);
    else if (sy_config_is_collection(key->type))
        dprintf(fd, "%s: []\n", key->name);
    else if (key->type == SY_CONFIG_TYPE_STRING)
        dprintf(fd, "%s: '%s'\n", key->name, key->fallback);
    else
        dprintf(fd, "%s: %s\n", key->name, key->fallback);
}

static void print_comment(const struct sy_config_key *key, const char *indent, int fd)
{
    char expected[256];
    sy_config_describe(key, expected, sizeof(expected));
    dprintf(fd, "%s# %s\n", indent, key->help ? key->help : key->name);
    dprintf(fd, "%s# (%s%s)\n", indent, expected, key->reloadable ? "; reloadable" : "");
}

/* What an entry of a list looks like, as comments: the default list is empty. */
static void print_items(const struct sy_config_key *key, unsigned depth, int fd)
{
    char indent[64];
    snprintf(indent, sizeof(indent), "%.*s", (int)depth * 4, "#                               ");
    for (size_t i = 0; i < key->item_keys_count; i++) {
        const struct sy_config_key *item = &key->item_keys[i];
        print_comment(item, indent, fd);
        dprintf(fd, "%s%s ", indent, i == 0 ? "-" : " ");
        print_default(item, fd);
        if (item->type == SY_CONFIG_TYPE_LIST)
            print_items(item, depth + 1, fd);
    }
}

void sy_config_print(const struct sy_config_key *keys, size_t count, int fd)
{
    for (size_t i = 0; i < count; i++) {
        print_comment(&keys[i], "", fd);
        print_default(&keys[i], fd);
        if (keys[i].type == SY_CONFIG_TYPE_LIST)
            print_items(&keys[i], 1, fd);
        dprintf(fd, "\n");
    }
}
