#include "base/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

void sy_path_print(char ret[PATH_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(ret, PATH_MAX, format, args);
    va_end(args);
    if (n < 0 || n >= PATH_MAX)
        ret[0] = '\0';
}

static int make_directory(const char *path, mode_t mode)
{
    if (mkdir(path, mode) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int sy_mkdir_p(const char *path, mode_t mode)
{
    if (!*path)
        return sy_trace(-ENOENT);
    if (strlen(path) >= PATH_MAX)
        return sy_trace(-ENAMETOOLONG);
    SY_AUTOFREE char *copy = sy_strdup(path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int r = make_directory(copy, mode);
        if (r < 0)
            return sy_trace(r);
        *slash = '/';
    }
    return sy_trace(make_directory(copy, mode));
}

/* Reads one byte more than is allowed, to tell "exactly max" from "more". */
static int read_fd(int fd, size_t max, struct sy_buf *buf)
{
    const size_t chunk = 65536;
    while (buf->len <= max) {
        size_t want = max - buf->len + 1;
        want = want < chunk ? want : chunk;
        sy_buf_reserve(buf, want);
        ssize_t n = read(fd, buf->data + buf->len, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        buf->len += (size_t)n;
    }
    return -EFBIG;
}

static int read_open(int fd, size_t max, struct sy_buf *ret)
{
    SY_ASSERT(max < SIZE_MAX / 8);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    int r = read_fd(fd, max, &buf);
    if (r < 0)
        return r;
    SY_ASSERT(buf.len <= max);
    sy_buf_deinit(ret);
    *ret = sy_buf_take(&buf);
    return 0;
}

int sy_file_read(const char *path, size_t max, struct sy_buf *ret)
{
    SY_CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sy_trace(-errno);
    return sy_trace(read_open(fd, max, ret));
}

int sy_file_read_private(const char *path, size_t max, struct sy_buf *ret)
{
    struct stat st;
    SY_CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return sy_trace(-errno);
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return SY_FILE_E_EXPOSED;
    return sy_trace(read_open(fd, max, ret));
}

int sy_write_all(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_synced(const char *path, const void *data, size_t len)
{
    SY_CLEANUP(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = sy_write_all(fd, data, len);
    if (r < 0)
        return r;
    return fsync(fd) < 0 ? -errno : 0;
}

int sy_sync_directory(const char *path)
{
    SY_CLEANUP(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* The rename itself is durable only once the directory is synced. */
static int sync_directory_of(const char *path)
{
    SY_AUTOFREE char *directory = sy_strdup(path);
    char *slash = strrchr(directory, '/');
    const char *name = ".";
    if (slash) {
        slash[slash == directory] = 0;
        name = directory;
    }
    return sy_sync_directory(name);
}

int sy_rename(const char *from, const char *to)
{
    return sy_trace(rename(from, to) < 0 ? -errno : sync_directory_of(to));
}

int sy_file_write_atomic(const char *path, const void *data, size_t len)
{
    SY_ASSERT(data || len == 0);
    char tmp[PATH_MAX];
    int n = snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof(tmp))
        return sy_trace(-ENAMETOOLONG);
    int r = write_synced(tmp, data, len);
    if (r == 0)
        r = sy_rename(tmp, path);
    if (r < 0)
        unlink(tmp);
    return sy_trace(r);
}

void sy_remove_tree(const char *path)
{
    if (rmdir(path) == 0 || errno == ENOENT)
        return;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        unlink(path);
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char child[PATH_MAX];
        int n = snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(child))
            continue;
        if (entry->d_type == DT_DIR)
            sy_remove_tree(child);
        else
            unlink(child);
    }
    closedir(dir);
    rmdir(path);
}
