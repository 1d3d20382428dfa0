#include "controlplane/backup_mirror.h"

#include "base/file.h"
#include "base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define META_BYTES_MAX ((size_t)64 << 20)
#define LATEST_BYTES_MAX 16
#define SHARED "shared" /* so RocksDB's directories of tables begin */
#define LINK ".sent"    /* what is handed to the storage, which takes files away */

struct cp_mirror {
    struct sy_blobs *blobs;
    char *dir, *prefix;
    uint32_t id;
    sy_blob_fn done;
    void *ctx;
    struct sy_buf meta; /* RocksDB's list; files stand at the beginnings of its lines */
    size_t at;          /* the line after the current one's */
    char file[PATH_MAX], path[PATH_MAX], uri[2 * PATH_MAX];
    struct stat info;
};

static void end(struct cp_mirror *m, int r, const struct sy_error_text *error)
{
    struct sy_error_text text = {0};
    if (r < 0)
        sy_error_text_set(&text, "%s: %s", m->file,
                          error != NULL && error->text[0] != '\0' ? error->text : strerror(-r));
    m->done(m->ctx, r, r < 0 ? &text : NULL);
}

/* Where `file` is, here and there. */
static int name(struct cp_mirror *m, const char *file)
{
    int n = snprintf(m->file, sizeof(m->file), "%s", file);
    int k = snprintf(m->path, sizeof(m->path), "%s/%s", m->dir, file);
    int i = snprintf(m->uri, sizeof(m->uri), "%s/%s/%s", sy_blobs_root(m->blobs), m->prefix, file);
    bool fits = n > 0 && (size_t)n < sizeof(m->file) && k > 0 && (size_t)k < sizeof(m->path) &&
                i > 0 && (size_t)i < sizeof(m->uri);
    return fits && sy_blob_key_valid(file) ? 0 : -EBADMSG;
}

static int name_meta(struct cp_mirror *m)
{
    char file[32];
    snprintf(file, sizeof(file), "meta/%u", m->id);
    return name(m, file);
}

/* The next line that begins with a path and a space. 1: it is named; 0: there is none. */
static int next_file(struct cp_mirror *m)
{
    while (m->at < m->meta.len) {
        const char *line = (const char *)m->meta.data + m->at;
        size_t left = m->meta.len - m->at;
        const char *newline = memchr(line, '\n', left);
        size_t len = newline != NULL ? (size_t)(newline - line) : left;
        m->at += newline != NULL ? len + 1 : len;
        const char *space = memchr(line, ' ', len);
        char file[PATH_MAX];
        if (space == NULL || memchr(line, '/', (size_t)(space - line)) == NULL)
            continue;
        int n = snprintf(file, sizeof(file), "%.*s", (int)(space - line), line);
        int r = n > 0 && (size_t)n < sizeof(file) ? name(m, file) : -EBADMSG;
        return r < 0 ? r : 1;
    }
    return 0;
}

static int read_meta(struct cp_mirror *m)
{
    int r = name_meta(m);
    return r == 0 ? sy_file_read(m->path, META_BYTES_MAX, &m->meta) : r;
}

/* ---- up ---- */

static void up_next(struct cp_mirror *m);

static void on_latest_put(void *ctx, int r, const struct sy_error_text *error)
{
    end(ctx, r, error);
}

static void put_latest(struct cp_mirror *m)
{
    struct sy_buf text = {0};
    sy_buf_printf(&text, "%u\n", m->id);
    int r = name(m, "latest");
    SY_ASSERT(r == 0); /* shorter than the files' */
    sy_blob_put(m->blobs, m->uri, &text, on_latest_put, m);
}

static void on_meta_put(void *ctx, int r, const struct sy_error_text *error)
{
    if (r < 0)
        end(ctx, r, error);
    else
        put_latest(ctx);
}

static void on_put(void *ctx, int r, const struct sy_error_text *error)
{
    if (r < 0)
        end(ctx, r, error);
    else
        up_next(ctx);
}

/* The storage takes the file away: it gets a link of its own. */
static void put_file(struct cp_mirror *m)
{
    char sent[PATH_MAX];
    int n = snprintf(sent, sizeof(sent), "%s/%s", m->dir, LINK);
    int r = n > 0 && (size_t)n < sizeof(sent) ? 0 : -ENAMETOOLONG;
    if (r == 0 && unlink(sent) < 0 && errno != ENOENT)
        r = -errno;
    if (r == 0 && link(m->path, sent) < 0)
        r = -errno;
    if (r == 0)
        sy_blob_put_file(m->blobs, m->uri, sent, on_put, m);
    else
        end(m, r, NULL);
}

static bool may_be_there(const struct cp_mirror *m)
{
    return strncmp(m->file, SHARED, strlen(SHARED)) == 0;
}

static void on_stat(void *ctx, int r, uint64_t size, const struct sy_error_text *error)
{
    struct cp_mirror *m = ctx;
    if (r == 0 && size == (uint64_t)m->info.st_size)
        up_next(m);
    else if (r == 0 || r == -ENOENT)
        put_file(m);
    else
        end(m, r, error);
}

static void up_next(struct cp_mirror *m)
{
    int r = next_file(m);
    if (r == 0) {
        struct sy_buf meta = sy_buf_copy(m->meta.data, m->meta.len);
        r = name_meta(m);
        SY_ASSERT(r == 0); /* it was read */
        sy_blob_put(m->blobs, m->uri, &meta, on_meta_put, m);
        return;
    }
    if (r > 0)
        r = stat(m->path, &m->info) < 0 ? -errno : 0;
    if (r < 0)
        end(m, r, NULL);
    else if (may_be_there(m))
        sy_blob_stat(m->blobs, m->uri, on_stat, m);
    else
        put_file(m);
}

/* ---- down ---- */

static void down_next(struct cp_mirror *m);

static void on_got(void *ctx, int r, const struct sy_error_text *error)
{
    if (r < 0)
        end(ctx, r, error);
    else
        down_next(ctx);
}

static int make_parent(const struct cp_mirror *m)
{
    SY_AUTOFREE char *parent = sy_strdup(m->path);
    *strrchr(parent, '/') = '\0';
    return sy_mkdir_p(parent, 0700);
}

static void down_next(struct cp_mirror *m)
{
    int r = next_file(m);
    if (r > 0) {
        r = make_parent(m);
        if (r == 0) {
            sy_blob_get_file(m->blobs, m->uri, m->path, INT64_MAX, on_got, m);
            return;
        }
    }
    end(m, r, NULL);
}

static void on_meta_got(void *ctx, int r, const struct sy_error_text *error)
{
    struct cp_mirror *m = ctx;
    if (r == 0)
        r = read_meta(m);
    if (r < 0)
        end(m, r, error);
    else
        down_next(m);
}

static void get_meta(struct cp_mirror *m)
{
    int r = name_meta(m);
    if (r == 0)
        r = make_parent(m);
    if (r == 0)
        sy_blob_get_file(m->blobs, m->uri, m->path, META_BYTES_MAX, on_meta_got, m);
    else
        end(m, r, NULL);
}

static int read_latest(struct cp_mirror *m, struct sy_span bytes)
{
    char text[LATEST_BYTES_MAX + 1] = "";
    if (bytes.len > 0)
        memcpy(text, bytes.data, bytes.len);
    m->id = (uint32_t)strtoul(text, NULL, 10);
    return m->id == 0 ? -EBADMSG : 0;
}

static void on_found(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct cp_mirror *m = ctx;
    if (r == 0)
        r = read_latest(m, bytes);
    end(m, r == -ENOENT ? 0 : r, error);
}

static void on_latest_got(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct cp_mirror *m = ctx;
    if (r == 0)
        r = read_latest(m, bytes);
    if (r < 0)
        end(m, r, error);
    else
        get_meta(m);
}

/* ---- the whole ---- */

static struct cp_mirror *mirror_new(struct sy_blobs *blobs, const char *dir, const char *prefix,
                                    uint32_t id, sy_blob_fn done, void *ctx)
{
    struct cp_mirror *m = sy_new(struct cp_mirror);
    m->blobs = blobs;
    m->dir = sy_strdup(dir);
    m->prefix = sy_strdup(prefix);
    m->id = id;
    m->done = done;
    m->ctx = ctx;
    return m;
}

void cp_mirror_up(struct cp_mirror **ret, struct sy_blobs *blobs, const char *dir,
                  const char *prefix, uint32_t id, sy_blob_fn done, void *ctx)
{
    struct cp_mirror *m = *ret = mirror_new(blobs, dir, prefix, id, done, ctx);
    int r = read_meta(m);
    if (r == 0)
        up_next(m);
    else
        end(m, r, NULL);
}

static void get_latest(struct cp_mirror *m, sy_blob_get_fn done)
{
    int r = name(m, "latest");
    if (r == 0)
        sy_blob_get(m->blobs, m->uri, LATEST_BYTES_MAX, done, m);
    else
        end(m, r, NULL);
}

void cp_mirror_down(struct cp_mirror **ret, struct sy_blobs *blobs, const char *prefix, uint32_t id,
                    const char *dir, sy_blob_fn done, void *ctx)
{
    struct cp_mirror *m = *ret = mirror_new(blobs, dir, prefix, id, done, ctx);
    if (id == 0)
        get_latest(m, on_latest_got);
    else
        get_meta(m);
}

void cp_mirror_find(struct cp_mirror **ret, struct sy_blobs *blobs, const char *prefix,
                    sy_blob_fn done, void *ctx)
{
    struct cp_mirror *m = *ret = mirror_new(blobs, "", prefix, 0, done, ctx);
    get_latest(m, on_found);
}

uint32_t cp_mirror_id(const struct cp_mirror *mirror)
{
    return mirror->id;
}

void cp_mirror_free(struct cp_mirror *m)
{
    if (m == NULL)
        return;
    sy_buf_deinit(&m->meta);
    free(m->dir);
    free(m->prefix);
    free(m);
}
