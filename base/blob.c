#include "base/blob_impl.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define KEY_BYTES_MAX 1024 /* S3's limit; a path of a file is below PATH_MAX with it */

struct sy_blobs {
    struct sy_loop *loop;
    char *root;
    size_t root_len;
    const struct sy_blob_adapter *adapter;
    void *ctx;
    struct sy_blob_op *ops;
};

/* ---- names ---- */

static bool part_is_fine(const char *part, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)part[i] < ' ' || part[i] == 0x7f)
            return false;
    }
    return len > 0 && len <= 255 && !(len == 1 && part[0] == '.') &&
           !(len == 2 && part[0] == '.' && part[1] == '.');
}

bool sy_blob_key_valid(const char *key)
{
    if (strlen(key) > KEY_BYTES_MAX)
        return false;
    for (;; key++) {
        size_t len = strcspn(key, "/");
        if (!part_is_fine(key, len))
            return false;
        key += len;
        if (!*key)
            return true;
    }
}

const char *sy_blobs_key(const struct sy_blobs *blobs, const char *uri)
{
    if (strncmp(uri, blobs->root, blobs->root_len) != 0 || uri[blobs->root_len] != '/')
        return NULL;
    const char *key = uri + blobs->root_len + 1;
    return sy_blob_key_valid(key) ? key : NULL;
}

bool sy_blobs_owns(const struct sy_blobs *blobs, const char *uri)
{
    return sy_blobs_key(blobs, uri) != NULL;
}

const char *sy_blobs_root(const struct sy_blobs *blobs)
{
    return blobs->root;
}

/* ---- life ---- */

struct sy_blobs *sy_blobs_with(struct sy_loop *loop, const char *root,
                               const struct sy_blob_adapter *adapter, void *ctx)
{
    struct sy_blobs *blobs = sy_new(struct sy_blobs);
    blobs->loop = loop;
    blobs->root_len = strlen(root);
    while (blobs->root_len > 0 && root[blobs->root_len - 1] == '/')
        blobs->root_len--;
    blobs->root = sy_strndup(root, blobs->root_len);
    blobs->adapter = adapter;
    blobs->ctx = ctx;
    return blobs;
}

int sy_blobs_new(struct sy_blobs **ret, struct sy_loop *loop, const struct sy_blob_options *options,
                 struct sy_error_text *error)
{
    const char *root = options->root ? options->root : "";
    bool file = root[0] == '/';
    const char *key = root + (file ? 1 : strlen("s3://"));
    void *ctx = NULL;
    if (!file && strncmp(root, "s3://", strlen("s3://")) != 0) {
        sy_error_text_set(
            error, "'%s' is not a root of storage; expected /DIRECTORY or s3://BUCKET", root);
        return -EINVAL;
    }
    size_t len = strlen(key);
    SY_AUTOFREE char *trimmed = sy_strndup(key, len > 0 && key[len - 1] == '/' ? len - 1 : len);
    if (!sy_blob_key_valid(trimmed)) {
        sy_error_text_set(error, "'%s' has empty parts, or '.' or '..' among them", root);
        return -EINVAL;
    }
    int r = file ? sy_blob_file_new(&ctx, root, error) : sy_blob_s3_new(&ctx, loop, options, error);
    if (r < 0)
        return sy_trace(r);
    *ret = sy_blobs_with(loop, root, file ? &sy_blob_file_adapter : &sy_blob_s3_adapter, ctx);
    return 0;
}

static void op_free(struct sy_blob_op *op)
{
    struct sy_blobs *blobs = op->blobs;
    if (op->adapter)
        blobs->adapter->cancel(blobs->ctx, op);
    sy_timer_stop(blobs->loop, &op->timer);
    if (op->previous)
        op->previous->next = op->next;
    else
        blobs->ops = op->next;
    if (op->next)
        op->next->previous = op->previous;
    sy_buf_deinit(&op->bytes);
    free(op->key);
    free(op->path);
    free(op);
}

void sy_blobs_free(struct sy_blobs *blobs)
{
    if (!blobs)
        return;
    struct sy_blob_op *next;
    for (struct sy_blob_op *op = blobs->ops; op; op = next) {
        next = op->next;
        op_free(op);
    }
    blobs->adapter->free(blobs->ctx);
    free(blobs->root);
    free(blobs);
}

/* ---- operations ---- */

static void finish(void *arg)
{
    struct sy_blob_op *op = arg;
    const struct sy_error_text *error = op->r < 0 ? &op->error : NULL;
    if (op->kind == SY_BLOB_GET)
        op->fn.got(op->ctx, op->r, sy_buf_span(&op->bytes), error);
    else if (op->kind == SY_BLOB_STAT)
        op->fn.stated(op->ctx, op->r, op->size, error);
    else
        op->fn.done(op->ctx, op->r, error);
    op_free(op);
}

void sy_blob_op_done(struct sy_blob_op *op, int r)
{
    SY_ASSERT(r <= 0 && !sy_timer_running(&op->timer));
    op->r = r;
    if (r < 0 && !op->error.text[0])
        sy_error_text_set(&op->error, "%s/%s: %s", op->blobs->root, op->key ? op->key : "",
                          strerror(-r));
    if (r < 0)
        sy_buf_clear(&op->bytes);
    sy_timer_start_in(op->blobs->loop, &op->timer, 0);
}

static struct sy_blob_op *op_new(struct sy_blobs *blobs, enum sy_blob_kind kind, const char *uri,
                                 const char *path, void *ctx)
{
    const char *key = sy_blobs_key(blobs, uri);
    struct sy_blob_op *op = sy_new(struct sy_blob_op);
    op->blobs = blobs;
    op->kind = kind;
    op->key = key ? sy_strdup(key) : NULL;
    op->path = path ? sy_strdup(path) : NULL;
    op->bytes_max = UINT64_MAX;
    op->ctx = ctx;
    op->next = blobs->ops;
    if (op->next)
        op->next->previous = op;
    blobs->ops = op;
    sy_timer_init(&op->timer, finish, op);
    if (!key)
        sy_error_text_set(&op->error,
                          "'%.300s' is not below %.100s, or has '.', '..' or empty parts", uri,
                          blobs->root);
    return op;
}

static void start(struct sy_blob_op *op)
{
    if (!op->key)
        sy_blob_op_done(op, -EINVAL);
    else
        op->blobs->adapter->start(op->blobs->ctx, op);
}

void sy_blob_get(struct sy_blobs *blobs, const char *uri, size_t bytes_max, sy_blob_get_fn done,
                 void *ctx)
{
    struct sy_blob_op *op = op_new(blobs, SY_BLOB_GET, uri, NULL, ctx);
    op->bytes_max = bytes_max;
    op->fn.got = done;
    start(op);
}

void sy_blob_put(struct sy_blobs *blobs, const char *uri, struct sy_buf *bytes, sy_blob_fn done,
                 void *ctx)
{
    struct sy_blob_op *op = op_new(blobs, SY_BLOB_PUT, uri, NULL, ctx);
    op->bytes = sy_buf_take(bytes);
    op->fn.done = done;
    start(op);
}

void sy_blob_put_file(struct sy_blobs *blobs, const char *uri, const char *path, sy_blob_fn done,
                      void *ctx)
{
    struct sy_blob_op *op = op_new(blobs, SY_BLOB_PUT_FILE, uri, path, ctx);
    op->fn.done = done;
    start(op);
}

void sy_blob_get_file(struct sy_blobs *blobs, const char *uri, const char *path, uint64_t bytes_max,
                      sy_blob_fn done, void *ctx)
{
    struct sy_blob_op *op = op_new(blobs, SY_BLOB_GET_FILE, uri, path, ctx);
    op->bytes_max = bytes_max;
    op->fn.done = done;
    start(op);
}

void sy_blob_stat(struct sy_blobs *blobs, const char *uri, sy_blob_stat_fn done, void *ctx)
{
    struct sy_blob_op *op = op_new(blobs, SY_BLOB_STAT, uri, NULL, ctx);
    op->fn.stated = done;
    start(op);
}
