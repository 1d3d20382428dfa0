/*
 * Blobs as files: root/key. What is written appears by a rename from root/.tmp, so that a reader
 * sees all of it or nothing. Directories are made as needed. Symbolic links inside the store are
 * followed: who may write there owns the store anyway.
 *
 * Operations are done in place, on the loop: give the store a loop of its own where a large fsync
 * would hold up others.
 */
#include "base/blob_impl.h"
#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TMP_DIR ".tmp"
#define COPY_BYTES ((size_t)256 << 10)
#define DIR_MODE 0777 /* less the umask: tasks of other users may share the store */
#define FILE_MODE 0666

struct file_store {
    char *root;
    mode_t file_mode;
    uint64_t next_tmp;
};

static void closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define AUTOCLOSE SY_CLEANUP(closep)

static char *join(const char *a, const char *b)
{
    struct sy_buf text = {0};
    sy_buf_printf(&text, "%s/%s", a, b);
    return (char *)text.data; /* printf has put a NUL behind it */
}

int sy_blob_file_new(void **ret_ctx, const char *root, struct sy_error_text *error)
{
    size_t len = strlen(root);
    while (len > 1 && root[len - 1] == '/')
        len--;
    struct file_store *store = sy_new(struct file_store);
    store->root = sy_strndup(root, len);
    mode_t mask = umask(0); /* there is no other way to ask for it */
    (void)umask(mask);
    store->file_mode = FILE_MODE & ~mask;
    SY_AUTOFREE char *tmp = join(store->root, TMP_DIR);
    int r = sy_mkdir_p(tmp, DIR_MODE);
    if (r < 0) {
        sy_error_text_set(error, "cannot use directory %s for storage: %s", root, strerror(-r));
        free(store->root);
        free(store);
        return r;
    }
    *ret_ctx = store;
    return 0;
}

/* ---- files ---- */

static int copy(int from, int to, uint64_t bytes_max)
{
    SY_AUTOFREE uint8_t *piece = sy_malloc(COPY_BYTES);
    uint64_t done = 0;
    for (;;) {
        ssize_t n = read(from, piece, COPY_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        done += (uint64_t)n;
        int r = done > bytes_max ? -EFBIG : sy_write_all(to, piece, (size_t)n);
        if (r < 0)
            return r;
    }
}

static int sync_fd(int fd)
{
    return fsync(fd) < 0 ? -errno : 0;
}

static int make_parent(const char *path, char **ret_dir)
{
    *ret_dir = sy_strndup(path, (size_t)(strrchr(path, '/') - path));
    return sy_mkdir_p(*ret_dir, DIR_MODE);
}

/* The file, whose content is durable, gets its name. */
static int publish(const char *from, const char *to)
{
    SY_AUTOFREE char *dir = NULL;
    int r = make_parent(to, &dir);
    if (r < 0)
        return r;
    if (rename(from, to) < 0)
        return -errno;
    AUTOCLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : sync_fd(fd);
}

static char *tmp_name(struct file_store *store)
{
    struct sy_buf text = {0};
    sy_buf_printf(&text, "%s/" TMP_DIR "/%ld-%p-%llu", store->root, (long)getpid(), (void *)store,
                  (unsigned long long)store->next_tmp++);
    return (char *)text.data;
}

/* From memory (from < 0) or a file. */
static int put_at(struct file_store *store, const char *to, struct sy_span bytes, int from)
{
    SY_AUTOFREE char *tmp = tmp_name(store);
    AUTOCLOSE int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return -errno;
    int r = from < 0 ? sy_write_all(fd, bytes.data, bytes.len) : copy(from, fd, UINT64_MAX);
    if (r == 0)
        r = sync_fd(fd);
    if (r == 0)
        r = publish(tmp, to);
    if (r < 0)
        (void)unlink(tmp);
    return r;
}

static int put_file(struct file_store *store, const char *to, const char *path)
{
    AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fchmod(fd, store->file_mode) < 0 ? -errno : sync_fd(fd);
    if (r == 0)
        r = publish(path, to);
    if (r != -EXDEV)
        return r;
    r = put_at(store, to, (struct sy_span){0}, fd);
    if (r == 0)
        (void)unlink(path);
    return r;
}

static int check_blob(int fd, uint64_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_size = (uint64_t)st.st_size;
    return S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? -ENOENT : -EACCES;
}

static int open_blob(const char *path, uint64_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *ret_size = 0;
    if (fd < 0)
        return errno == ENOTDIR ? -ENOENT : -errno;
    int r = check_blob(fd, ret_size);
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

static int get_file(const char *from, const char *path, uint64_t bytes_max)
{
    uint64_t size;
    AUTOCLOSE int fd = open_blob(from, &size);
    if (fd < 0)
        return fd;
    if (size > bytes_max)
        return -EFBIG;
    AUTOCLOSE int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (to < 0)
        return -errno;
    int r = copy(fd, to, bytes_max);
    if (r < 0)
        (void)unlink(path);
    return r;
}

static int get(const char *path, struct sy_blob_op *op)
{
    AUTOCLOSE int fd = open_blob(path, &op->size);
    if (fd < 0)
        return fd;
    if (op->size > op->bytes_max)
        return -EFBIG;
    sy_buf_reserve(&op->bytes, (size_t)op->size);
    while (op->bytes.len < op->size) {
        ssize_t n = read(fd, op->bytes.data + op->bytes.len, (size_t)op->size - op->bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO; /* blobs never shrink */
        op->bytes.len += (size_t)n;
    }
    return 0;
}

static int stat_blob(const char *path, uint64_t *ret_size)
{
    AUTOCLOSE int fd = open_blob(path, ret_size);
    return fd < 0 ? fd : 0;
}

/* ---- the adapter ---- */

/* Other errors of the file system have no meaning of their own in blob.h. */
static int as_promised(int r)
{
    switch (r) {
    case 0:
    case -ENOENT:
    case -EINVAL:
    case -EFBIG:
    case -ENOSPC:
    case -EACCES:
        return r;
    case -EDQUOT:
        return -ENOSPC;
    case -EPERM:
    case -EROFS:
        return -EACCES;
    default:
        return -EIO;
    }
}

static void start(void *ctx, struct sy_blob_op *op)
{
    struct file_store *store = ctx;
    SY_AUTOFREE char *path = join(store->root, op->key);
    int r = 0;
    switch (op->kind) {
    case SY_BLOB_GET:
        r = get(path, op);
        break;
    case SY_BLOB_PUT:
        r = put_at(store, path, sy_buf_span(&op->bytes), -1);
        break;
    case SY_BLOB_PUT_FILE:
        r = put_file(store, path, op->path);
        break;
    case SY_BLOB_GET_FILE:
        r = get_file(path, op->path, op->bytes_max);
        break;
    case SY_BLOB_STAT:
        r = stat_blob(path, &op->size);
        break;
    }
    if (r < 0)
        sy_error_text_set(&op->error, "%s: %s", path,
                          r == -EFBIG ? "larger than what was asked for" : strerror(-r));
    sy_blob_op_done(op, as_promised(r));
}

static void cancel(void *ctx, struct sy_blob_op *op)
{
    (void)ctx;
    (void)op;
}

static void file_free(void *ctx)
{
    struct file_store *store = ctx;
    free(store->root);
    free(store);
}

const struct sy_blob_adapter sy_blob_file_adapter = {
    .start = start,
    .cancel = cancel,
    .free = file_free,
};
