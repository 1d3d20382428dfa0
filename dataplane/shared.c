#include "dataplane/shared.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((size_t)1 << 30)

static const char *const kept[] = {"nodes", "nodes.waited", "secrets.sealed"};

static int failed(struct sy_error_text *error, const char *path, int r)
{
    sy_error_text_set(error, "shared_dir: %s: %s", path, strerror(-r));
    return r;
}

/* 0: it is no term's. */
static uint64_t term_of(const char *name)
{
    char *end;
    uint64_t term = strtoull(name, &end, 10);
    return *end == '\0' && name[0] >= '1' && name[0] <= '9' ? term : 0;
}

/* Calls `fn` for each term there is; *ret is the greatest. */
static int each_term(const char *dir, void (*fn)(const char *dir, uint64_t term, uint64_t now),
                     uint64_t now, uint64_t *ret, struct sy_error_text *error)
{
    char path[PATH_MAX];
    sy_path_print(path, "%s/terms", dir);
    uint64_t greatest = 0;
    DIR *terms = opendir(path);
    int r = terms ? 0 : -errno;
    for (struct dirent *entry; terms && (entry = readdir(terms)) != NULL;) {
        uint64_t term = term_of(entry->d_name);
        greatest = term > greatest ? term : greatest;
        if (fn && term != 0)
            fn(dir, term, now);
    }
    if (terms)
        closedir(terms);
    if (r < 0 && r != -ENOENT)
        return failed(error, path, r);
    if (ret)
        *ret = greatest;
    return 0;
}

/* ---- whose it is ---- */

/* Of two that begin at once one makes it, and the other finds it. */
static int make_id(const char *path)
{
    uint8_t bytes[(DP_STORE_ID_SIZE - 1) / 2];
    char id[DP_STORE_ID_SIZE], made[PATH_MAX];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return -EIO;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    sy_path_print(made, "%s.%s", path, id);
    int r = sy_file_write_atomic(made, id, strlen(id));
    if (r == 0 && link(made, path) < 0 && errno != EEXIST)
        r = -errno;
    (void)unlink(made);
    return r;
}

static int read_id(const char *path, char ret[DP_STORE_ID_SIZE])
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    int r = sy_file_read(path, DP_STORE_ID_SIZE - 1, &text);
    if (r < 0)
        return r == -EFBIG ? -EBADMSG : r;
    sy_buf_append(&text, "", 1);
    const char *id = (const char *)text.data;
    if (text.len != DP_STORE_ID_SIZE || strspn(id, "0123456789abcdef") != DP_STORE_ID_SIZE - 1)
        return -EBADMSG;
    memcpy(ret, id, DP_STORE_ID_SIZE);
    return 0;
}

int dp_shared_open(const char *dir, char ret_id[DP_STORE_ID_SIZE], uint64_t *ret_term,
                   struct sy_error_text *error)
{
    char path[PATH_MAX];
    sy_path_print(path, "%s/shared.id", dir);
    int r = sy_mkdir_p(dir, 0700);
    if (r == 0)
        r = read_id(path, ret_id);
    if (r == -ENOENT)
        r = make_id(path) < 0 ? -EIO : read_id(path, ret_id);
    return r < 0 ? failed(error, path, r) : each_term(dir, NULL, 0, ret_term, error);
}

/* ---- becoming active ---- */

static int copy_kept(const char *from, const char *to)
{
    for (size_t i = 0; i < SY_COUNT_OF(kept); i++) {
        char path[PATH_MAX];
        SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
        sy_path_print(path, "%s/%s", from, kept[i]);
        int r = sy_file_read(path, FILE_BYTES_MAX, &bytes);
        if (r == -ENOENT)
            continue;
        sy_path_print(path, "%s/%s", to, kept[i]);
        if (r == 0)
            r = sy_file_write_atomic(path, bytes.data, bytes.len);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Whoever was active under it writes into nothing. */
static void remove_older(const char *dir, uint64_t term, uint64_t now)
{
    char path[PATH_MAX];
    sy_path_print(path, "%s/terms/%" PRIu64, dir, term);
    if (term < now)
        sy_remove_tree(path);
}

/* Whole, or not there under its name. */
static int make_term(const char *from, const char *path)
{
    char half[PATH_MAX];
    sy_path_print(half, "%s.half", path);
    sy_remove_tree(half);
    int r = sy_mkdir_p(half, 0700);
    if (r == 0)
        r = copy_kept(from, half);
    return r == 0 ? sy_rename(half, path) : r;
}

int dp_shared_take(const char *dir, uint64_t term, char ret[PATH_MAX], struct sy_error_text *error)
{
    uint64_t before;
    char from[PATH_MAX], path[PATH_MAX];
    SY_ASSERT(term > 0);
    int r = each_term(dir, NULL, 0, &before, error);
    if (r < 0)
        return r;
    if (before >= term) {
        sy_error_text_set(error,
                          "shared_dir: %s was used under term %" PRIu64 ", and this operator's is "
                          "%" PRIu64,
                          dir, before, term);
        return -EEXIST;
    }
    sy_path_print(path, "%s/terms/%" PRIu64, dir, term);
    if (before > 0)
        sy_path_print(from, "%s/terms/%" PRIu64, dir, before);
    else
        sy_path_print(from, "%s", dir);
    r = make_term(from, path);
    if (r < 0)
        return failed(error, path, r);
    r = each_term(dir, remove_older, term, NULL, error);
    if (r == 0)
        memcpy(ret, path, strlen(path) + 1);
    return r;
}
