#include "dataplane/objects_store.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define UPLOAD_NAME_MAX 128
#define FILE_NAME_MAX 32
#define READ_BYTES ((size_t)256 << 10)

struct upload {
    char *id;
    char file[FILE_NAME_MAX]; /* in uploads/ */
    int fd;
    uint64_t size;
    bool rewritten; /* a chunk came twice: hash the file, not the stream */
    XXH3_state_t *hash;
    int64_t touched_ns;
    UT_hash_handle hh;
};

struct dp_store {
    int dir_fd, uploads_fd;
    uint64_t object_bytes_max;
    uint64_t next_file;
    struct upload *uploads;
};

bool dp_digest_valid(const char *digest)
{
    size_t len = strspn(digest, "0123456789abcdef");
    return len == DP_DIGEST_LEN && digest[len] == '\0';
}

/* ---- directory ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int open_dir_at(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Files that a process before us left. */
static int remove_leftovers(int dir_fd)
{
    int fd = open_dir_at(dir_fd, ".");
    if (fd < 0)
        return fd;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int r = -errno;
        close(fd);
        return r;
    }
    const struct dirent *entry;
    int r = 0;
    while ((entry = readdir(dir)) != NULL) { /* this stream is ours alone */
        if (entry->d_name[0] == '.')
            continue;
        if (unlinkat(dir_fd, entry->d_name, 0) < 0)
            r = -errno;
    }
    closedir(dir);
    return r;
}

static int open_dirs(struct dp_store *store, const char *dir)
{
    int r = sy_mkdir_p(dir, 0700);
    if (r < 0)
        return r;
    store->dir_fd = open_dir_at(AT_FDCWD, dir);
    if (store->dir_fd < 0)
        return store->dir_fd;
    if (mkdirat(store->dir_fd, "uploads", 0700) < 0 && errno != EEXIST)
        return -errno;
    store->uploads_fd = open_dir_at(store->dir_fd, "uploads");
    if (store->uploads_fd < 0)
        return store->uploads_fd;
    return remove_leftovers(store->uploads_fd);
}

int dp_store_open(struct dp_store **ret_store, const char *dir, int64_t object_bytes_max,
                  struct sy_error_text *error)
{
    SY_ASSERT(object_bytes_max > 0);
    struct dp_store *store = sy_new(struct dp_store);
    store->dir_fd = store->uploads_fd = -1;
    store->object_bytes_max = (uint64_t)object_bytes_max;
    int r = open_dirs(store, dir);
    if (r < 0) {
        sy_error_text_set(error, "objects: cannot use directory %s: %s", dir, strerror(-r));
        dp_store_close(store);
        return r;
    }
    *ret_store = store;
    return 0;
}

/* ---- uploads ---- */

static void upload_free(struct dp_store *store, struct upload *upload)
{
    if (upload->hh.tbl)
        HASH_DEL(store->uploads, upload);
    close_fd(&upload->fd);
    if (upload->file[0])
        (void)unlinkat(store->uploads_fd, upload->file, 0);
    XXH3_freeState(upload->hash);
    free(upload->id);
    free(upload);
}

void dp_store_close(struct dp_store *store)
{
    if (!store)
        return;
    struct upload *upload, *next;
    for (upload = store->uploads; upload; upload = next) {
        next = upload->hh.next;
        upload_free(store, upload);
    }
    close_fd(&store->uploads_fd);
    close_fd(&store->dir_fd);
    free(store);
}

size_t dp_store_uploads(const struct dp_store *store)
{
    return HASH_COUNT(store->uploads);
}

size_t dp_store_sweep(struct dp_store *store, int64_t before_ns)
{
    size_t count = 0;
    struct upload *upload, *next;
    for (upload = store->uploads; upload; upload = next) {
        next = upload->hh.next;
        if (upload->touched_ns >= before_ns)
            continue;
        upload_free(store, upload);
        count++;
    }
    return count;
}

static int upload_new(struct dp_store *store, struct sy_span id, struct upload **ret)
{
    struct upload *upload = sy_new(struct upload);
    snprintf(upload->file, sizeof(upload->file), "%llu", (unsigned long long)store->next_file++);
    upload->fd = openat(store->uploads_fd, upload->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                        0600);
    if (upload->fd < 0) {
        int r = -errno;
        upload->file[0] = '\0';
        upload_free(store, upload);
        return r;
    }
    upload->id = sy_strndup((const char *)id.data, id.len);
    upload->hash = XXH3_createState();
    SY_ASSERT(upload->hash);
    (void)XXH3_128bits_reset(upload->hash);
    *ret = upload;
    return 0;
}

static int start_again(struct upload *upload)
{
    if (ftruncate(upload->fd, 0) < 0)
        return -errno;
    upload->size = 0;
    upload->rewritten = false;
    (void)XXH3_128bits_reset(upload->hash);
    return 0;
}

static int write_chunk(struct upload *upload, struct sy_span data, uint64_t offset)
{
    size_t done = 0;
    if (offset == 0 && upload->size > 0) {
        int r = start_again(upload);
        if (r < 0)
            return r;
    }
    while (done < data.len) {
        ssize_t n = pwrite(upload->fd, data.data + done, data.len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    if (offset < upload->size)
        upload->rewritten = true;
    else if (!upload->rewritten)
        (void)XXH3_128bits_update(upload->hash, data.data, data.len);
    if (offset + data.len > upload->size)
        upload->size = offset + data.len;
    return 0;
}

static int hash_file(struct upload *upload)
{
    uint8_t *bytes SY_AUTOFREE = sy_malloc(READ_BYTES);
    (void)XXH3_128bits_reset(upload->hash);
    for (uint64_t at = 0; at < upload->size;) {
        ssize_t n = pread(upload->fd, bytes, READ_BYTES, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        (void)XXH3_128bits_update(upload->hash, bytes, (size_t)n);
        at += (uint64_t)n;
    }
    return 0;
}

static int digest_of(struct upload *upload, char ret[DP_DIGEST_LEN + 1])
{
    int r = upload->rewritten ? hash_file(upload) : 0;
    if (r < 0)
        return r;
    XXH128_hash_t hash = XXH3_128bits_digest(upload->hash);
    snprintf(ret, DP_DIGEST_LEN + 1, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
    SY_ASSERT(dp_digest_valid(ret));
    return 0;
}

/* ---- objects ---- */

struct place {
    char dir[3], file[DP_DIGEST_LEN - 1];
};

static struct place place_of(const char *digest)
{
    SY_ASSERT(dp_digest_valid(digest));
    struct place place = {0};
    memcpy(place.dir, digest, 2);
    memcpy(place.file, digest + 2, DP_DIGEST_LEN - 2);
    return place;
}

int dp_store_get(struct dp_store *store, const char *digest, int *ret_fd, uint64_t *ret_size)
{
    struct place place = place_of(digest);
    char path[DP_DIGEST_LEN + 2];
    snprintf(path, sizeof(path), "%s/%s", place.dir, place.file);
    int fd = openat(store->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EIO;
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static bool has_object(struct dp_store *store, const char *digest, uint64_t size)
{
    int fd = -1;
    uint64_t there = 0;
    if (dp_store_get(store, digest, &fd, &there) < 0)
        return false;
    close(fd);
    return there == size;
}

/* Whole or not at all, also after a crash: content, then name, then the directory. */
static int publish(struct dp_store *store, struct upload *upload, const char *digest)
{
    struct place place = place_of(digest);
    if (fsync(upload->fd) < 0)
        return -errno;
    bool made = mkdirat(store->dir_fd, place.dir, 0700) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    int dir_fd = open_dir_at(store->dir_fd, place.dir);
    if (dir_fd < 0)
        return dir_fd;
    int r = 0;
    if (renameat(store->uploads_fd, upload->file, dir_fd, place.file) < 0)
        r = -errno;
    else
        upload->file[0] = '\0'; /* it has another name now */
    if (r == 0 && fsync(dir_fd) < 0)
        r = -errno;
    if (r == 0 && made && fsync(store->dir_fd) < 0)
        r = -errno;
    close(dir_fd);
    return r;
}

/* ---- put ---- */

static bool span_text(struct sy_span span, char *ret, size_t size)
{
    if (span.len >= size)
        return false;
    for (size_t i = 0; i < span.len; i++) {
        if (span.data[i] == '\0')
            return false;
        ret[i] = (char)span.data[i];
    }
    ret[span.len] = '\0';
    return true;
}

static enum sy_code check_put(const struct dp_store *store, const struct dp_put *put,
                              struct sy_error_text *error)
{
    char text[UPLOAD_NAME_MAX + 1] = "";
    if (put->upload.len == 0 || !span_text(put->upload, text, sizeof(text))) {
        sy_error_text_set(error, "upload: a name of 1 to %d bytes is needed", UPLOAD_NAME_MAX);
        return SY_CODE_INVALID_ARGUMENT;
    }
    if (put->data.len > DP_CHUNK_BYTES) {
        sy_error_text_set(error, "data: %zu bytes; at most %zu in one chunk", put->data.len,
                          DP_CHUNK_BYTES);
        return SY_CODE_INVALID_ARGUMENT;
    }
    if (put->last && (!span_text(put->digest, text, sizeof(text)) || !dp_digest_valid(text))) {
        sy_error_text_set(error,
                          "digest: expected %d lower-case hex digits (XXH3-128) with the "
                          "last chunk",
                          DP_DIGEST_LEN);
        return SY_CODE_INVALID_ARGUMENT;
    }
    if (put->offset > store->object_bytes_max ||
        put->data.len > store->object_bytes_max - put->offset) {
        sy_error_text_set(error, "the object is larger than %llu bytes, the most this store takes",
                          (unsigned long long)store->object_bytes_max);
        return SY_CODE_RESOURCE_EXHAUSTED;
    }
    return SY_CODE_OK;
}

static enum sy_code failed(int r, int *ret_errno, struct sy_error_text *error)
{
    SY_ASSERT(r < 0);
    *ret_errno = -r;
    sy_error_text_set(error, "cannot store the object: %s", strerror(-r));
    return r == -ENOSPC || r == -EDQUOT || r == -EFBIG || r == -EMFILE || r == -ENFILE
               ? SY_CODE_RESOURCE_EXHAUSTED
               : SY_CODE_INTERNAL;
}

static struct upload *find_upload(struct dp_store *store, struct sy_span id)
{
    struct upload *upload;
    HASH_FIND(hh, store->uploads, id.data, id.len, upload);
    return upload;
}

/* The upload that a chunk belongs to; NULL with *ret_code, which is OK when the object is there. */
static struct upload *take_upload(struct dp_store *store, const struct dp_put *put,
                                  enum sy_code *ret_code, int *ret_errno,
                                  struct sy_error_text *error)
{
    struct upload *upload = find_upload(store, put->upload);
    *ret_code = SY_CODE_OK;
    if (upload && put->offset > upload->size) {
        sy_error_text_set(error, "offset: %llu, but only %llu bytes have come; go on from there",
                          (unsigned long long)put->offset, (unsigned long long)upload->size);
        *ret_code = SY_CODE_OUT_OF_RANGE;
        return NULL;
    }
    if (upload)
        return upload;
    char digest[UPLOAD_NAME_MAX + 1] = "";
    if (put->last && span_text(put->digest, digest, sizeof(digest)) && put->offset > 0 &&
        has_object(store, digest, put->offset + put->data.len))
        return NULL; /* the answer to the last chunk was lost, and it came again */
    if (put->offset > 0) {
        sy_error_text_set(error, "upload: not known (any more); start it again from offset 0");
        *ret_code = SY_CODE_NOT_FOUND;
        return NULL;
    }
    if (HASH_COUNT(store->uploads) >= DP_UPLOADS_MAX) {
        sy_error_text_set(error, "%d uploads are under way, the most allowed; try again later",
                          DP_UPLOADS_MAX);
        *ret_code = SY_CODE_RESOURCE_EXHAUSTED;
        return NULL;
    }
    int r = upload_new(store, put->upload, &upload);
    if (r < 0) {
        *ret_code = failed(r, ret_errno, error);
        return NULL;
    }
    SY_ASSERT(upload && upload->id);
    HASH_ADD_KEYPTR(hh, store->uploads, upload->id, strlen(upload->id), upload);
    return upload;
}

static enum sy_code finish(struct dp_store *store, struct upload *upload, const char *digest,
                           int *ret_errno, struct sy_error_text *error)
{
    char real[DP_DIGEST_LEN + 1];
    int r = digest_of(upload, real);
    if (r < 0)
        return failed(r, ret_errno, error);
    if (strcmp(real, digest) != 0) {
        sy_error_text_set(error, "digest: %s was given, but the %llu bytes that came have %s",
                          digest, (unsigned long long)upload->size, real);
        return SY_CODE_INVALID_ARGUMENT;
    }
    if (has_object(store, digest, upload->size))
        return SY_CODE_OK;
    r = publish(store, upload, digest);
    return r < 0 ? failed(r, ret_errno, error) : SY_CODE_OK;
}

enum sy_code dp_store_put(struct dp_store *store, const struct dp_put *put, int64_t now_ns,
                          char ret_digest[DP_DIGEST_LEN + 1], int *ret_errno,
                          struct sy_error_text *error)
{
    enum sy_code code = check_put(store, put, error);
    ret_digest[0] = '\0';
    *ret_errno = 0;
    if (code != SY_CODE_OK) {
        struct upload *refused = put->upload.len > 0 ? find_upload(store, put->upload) : NULL;
        if (refused)
            upload_free(store, refused);
        return code;
    }
    struct upload *upload = take_upload(store, put, &code, ret_errno, error);
    if (upload) {
        upload->touched_ns = now_ns;
        int r = write_chunk(upload, put->data, put->offset);
        if (r < 0)
            code = failed(r, ret_errno, error);
    }
    char digest[UPLOAD_NAME_MAX + 1] = "";
    if (put->last && code == SY_CODE_OK) {
        bool whole = span_text(put->digest, digest, sizeof(digest));
        SY_ASSERT(whole); /* check_put() has looked */
        if (upload)
            code = finish(store, upload, digest, ret_errno, error);
    }
    if (upload && (put->last || code != SY_CODE_OK))
        upload_free(store, upload);
    if (put->last && code == SY_CODE_OK)
        memcpy(ret_digest, digest, DP_DIGEST_LEN + 1);
    return code;
}
