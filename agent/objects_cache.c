#include "agent/objects_cache.h"

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 1024

struct entry {
    char digest[AG_DIGEST_CHARS + 1];
    uint64_t size;
    unsigned pins;
    struct sy_map_link link;
};

struct ag_cache {
    char *dir;
    uint64_t bytes, bytes_max;
    struct sy_map entries; /* in order of use: least recently first */
};

bool ag_digest_valid(const char *digest)
{
    return strspn(digest, "0123456789abcdef") == AG_DIGEST_CHARS && digest[AG_DIGEST_CHARS] == '\0';
}

static void make_path(const struct ag_cache *cache, const char *name, char *ret)
{
    int n = snprintf(ret, PATH_BYTES, "%s/%s", cache->dir, name);
    SY_ASSERT(n > 0 && n < PATH_BYTES);
}

static struct entry *find(const struct ag_cache *cache, const char *digest)
{
    return sy_map_entry(sy_map_find(&cache->entries, digest, AG_DIGEST_CHARS), struct entry, link);
}

static void remove_entry(struct ag_cache *cache, struct entry *entry)
{
    char path[PATH_BYTES];
    make_path(cache, entry->digest, path);
    unlink(path);
    cache->bytes -= entry->size;
    sy_map_remove(&cache->entries, &entry->link);
    free(entry);
}

/* Removes what was not used for longest. False: too much is in use. */
static bool make_room(struct ag_cache *cache, uint64_t size)
{
    SY_MAP_EACH(&cache->entries, at, next)
    {
        struct entry *entry = sy_map_entry(at, struct entry, link);
        if (cache->bytes + size <= cache->bytes_max)
            break;
        if (entry->pins == 0)
            remove_entry(cache, entry);
    }
    return cache->bytes + size <= cache->bytes_max;
}

static struct entry *add(struct ag_cache *cache, const char *digest, uint64_t size)
{
    struct entry *entry = sy_new(struct entry);
    memcpy(entry->digest, digest, AG_DIGEST_CHARS);
    entry->size = size;
    cache->bytes += size;
    sy_map_add(&cache->entries, &entry->link, entry->digest, AG_DIGEST_CHARS);
    return entry;
}

/* What an earlier agent fetched was checked then; half-fetched files have other names. */
static void scan(struct ag_cache *cache)
{
    DIR *dir = opendir(cache->dir);
    if (dir == NULL)
        return;
    const struct dirent *item;
    while ((item = readdir(dir)) != NULL) {
        char path[PATH_BYTES];
        struct stat stat_;
        int n = snprintf(path, sizeof(path), "%s/%s", cache->dir, item->d_name);
        if (n < 0 || n >= PATH_BYTES || stat(path, &stat_) < 0 || !S_ISREG(stat_.st_mode))
            continue;
        if (ag_digest_valid(item->d_name))
            add(cache, item->d_name, (uint64_t)stat_.st_size);
        else
            unlink(path);
    }
    closedir(dir);
    (void)make_room(cache, 0);
}

int ag_cache_new(struct ag_cache **ret_cache, const char *dir, uint64_t bytes_max,
                 struct sy_error_text *error)
{
    int r = strlen(dir) < PATH_BYTES - 64 ? sy_mkdir_p(dir, 0700) : -ENAMETOOLONG;
    if (r < 0) {
        sy_error_text_set(error, "cache directory '%s': %s", dir, strerror(-r));
        return r;
    }
    struct ag_cache *cache = sy_new(struct ag_cache);
    cache->dir = sy_strdup(dir);
    cache->bytes_max = bytes_max;
    scan(cache);
    *ret_cache = cache;
    return 0;
}

void ag_cache_free(struct ag_cache *cache)
{
    SY_MAP_EACH(&cache->entries, at, next)
    {
        free(sy_map_entry(at, struct entry, link));
    }
    sy_map_deinit(&cache->entries);
    free(cache->dir);
    free(cache);
}

char *ag_cache_pin(struct ag_cache *cache, const char *digest)
{
    struct entry *entry = find(cache, digest);
    if (entry == NULL)
        return NULL;
    sy_map_refresh(&cache->entries, &entry->link);
    entry->pins++;
    char path[PATH_BYTES];
    make_path(cache, digest, path);
    return sy_strdup(path);
}

void ag_cache_unpin(struct ag_cache *cache, const char *path)
{
    const char *digest = strrchr(path, '/');
    struct entry *entry = digest != NULL ? find(cache, digest + 1) : NULL;
    SY_ASSERT(entry != NULL && entry->pins > 0);
    entry->pins--;
}

int ag_cache_open(struct ag_cache *cache, const char *name)
{
    char path[PATH_BYTES];
    make_path(cache, name, path);
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

void ag_cache_abandon(struct ag_cache *cache, const char *name)
{
    char path[PATH_BYTES];
    make_path(cache, name, path);
    unlink(path);
}

char *ag_cache_commit(struct ag_cache *cache, const char *name, const char *digest, uint64_t size)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    make_path(cache, name, from);
    make_path(cache, digest, to);
    if (find(cache, digest) != NULL) { /* another transfer of the same object was faster */
        unlink(from);
        return ag_cache_pin(cache, digest);
    }
    if (!make_room(cache, size) || rename(from, to) < 0) {
        unlink(from);
        return NULL;
    }
    add(cache, digest, size)->pins = 1;
    return sy_strdup(to);
}
