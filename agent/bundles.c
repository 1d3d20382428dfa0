#include "agent/bundles.h"

#include "agent/exec_impl.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define NAME_CHARS 32

struct bundle {
    char name[NAME_CHARS + 1]; /* hex XXH3-128 of the uri */
    char *path;
    unsigned holders;
    struct sy_map_link link;
};

struct ag_bundles {
    char *dir;
    size_t max;
    struct sy_map table; /* by name; in the order of use, the oldest first */
};

static struct bundle *find(const struct ag_bundles *b, const char *name)
{
    return sy_map_entry(sy_map_find(&b->table, name, NAME_CHARS), struct bundle, link);
}

static struct bundle *add(struct ag_bundles *b, const char *name)
{
    struct bundle *bundle = sy_new(struct bundle);
    memcpy(bundle->name, name, NAME_CHARS);
    size_t size = strlen(b->dir) + NAME_CHARS + 2;
    bundle->path = sy_malloc(size);
    snprintf(bundle->path, size, "%s/%s", b->dir, name);
    sy_map_add(&b->table, &bundle->link, bundle->name, NAME_CHARS);
    return bundle;
}

static void drop(struct ag_bundles *b, struct bundle *bundle)
{
    sy_map_remove(&b->table, &bundle->link);
    free(bundle->path);
    free(bundle);
}

static void evict(struct ag_bundles *b)
{
    SY_MAP_EACH(&b->table, at, next)
    {
        struct bundle *bundle = sy_map_entry(at, struct bundle, link);
        if (b->table.count <= b->max)
            return;
        if (bundle->holders > 0)
            continue;
        sy_remove_tree(bundle->path);
        drop(b, bundle);
    }
}

/* Their order of use is not known any more; the next uses make a new one. */
static void find_left_overs(struct ag_bundles *b)
{
    DIR *dir = opendir(b->dir);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strlen(entry->d_name) == NAME_CHARS &&
            strspn(entry->d_name, "0123456789abcdef") == NAME_CHARS)
            add(b, entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    evict(b);
}

int ag_bundles_new(struct ag_bundles **ret, const char *dir, size_t max,
                   struct sy_error_text *error)
{
    int r = sy_mkdir_p(dir, 0755);
    if (r < 0) {
        sy_error_text_set(error, "directory '%s' for code bundles: %s", dir, strerror(-r));
        return r;
    }
    struct ag_bundles *b = sy_new(struct ag_bundles);
    b->dir = sy_strdup(dir);
    b->max = max;
    find_left_overs(b);
    *ret = b;
    return 0;
}

void ag_bundles_free(struct ag_bundles *b)
{
    if (b == NULL)
        return;
    SY_MAP_EACH(&b->table, at, next)
    {
        drop(b, sy_map_entry(at, struct bundle, link));
    }
    sy_map_deinit(&b->table);
    free(b->dir);
    free(b);
}

const char *ag_bundles_take(struct ag_bundles *b, const char *uri)
{
    char name[NAME_CHARS + 1];
    XXH128_hash_t hash = XXH3_128bits(uri, strlen(uri));
    snprintf(name, sizeof(name), "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
    struct bundle *bundle = find(b, name);
    if (bundle == NULL)
        bundle = add(b, name);
    else
        sy_map_refresh(&b->table, &bundle->link);
    if (mkdir(bundle->path, 0755) < 0 && errno != EEXIST) {
        int saved = errno;
        if (bundle->holders == 0)
            drop(b, bundle);
        errno = saved;
        return NULL;
    }
    bundle->holders++;
    evict(b);
    return bundle->path;
}

void ag_bundles_put(struct ag_bundles *b, const char *path)
{
    const char *name = strrchr(path, '/');
    SY_ASSERT(name != NULL && strlen(name + 1) == NAME_CHARS);
    struct bundle *bundle = find(b, name + 1);
    SY_ASSERT(bundle != NULL && bundle->holders > 0);
    bundle->holders--;
}
