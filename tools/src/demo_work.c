#include "tools/src/demo_work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>

#define CHUNK ((size_t)64 * 1024)
#define DEPTH_MAX 32

static void *grow(void *memory, size_t bytes)
{
    void *more = realloc(memory, bytes);
    if (!more)
        abort();
    return more;
}

/* ---- files ---- */

static void add_path(struct demo_files *files, const char *path)
{
    if (files->count == files->cap) {
        files->cap = files->cap ? files->cap * 2 : 1024;
        files->paths = grow(files->paths, files->cap * sizeof(char *));
    }
    files->paths[files->count] = strdup(path);
    if (!files->paths[files->count])
        abort();
    files->count++;
}

static void walk(struct demo_files *files, const char *dir, unsigned depth)
{
    DIR *d = depth < DEPTH_MAX ? opendir(dir) : NULL;
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));) {
        char path[4096];
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int n = snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(path) || lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            walk(files, path, depth + 1);
        else if (S_ISREG(st.st_mode) && access(path, R_OK) == 0)
            add_path(files, path);
    }
    closedir(d);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int demo_files_find(struct demo_files *files, const char *dir, size_t files_max)
{
    *files = (struct demo_files){NULL, 0, 0};
    struct stat st;
    if (stat(dir, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    walk(files, dir, 0);
    if (files->count > 1)
        qsort(files->paths, files->count, sizeof(char *), by_path);
    while (files->count > files_max)
        free(files->paths[--files->count]);
    return 0;
}

void demo_files_free(struct demo_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->paths[i]);
    free(files->paths);
    *files = (struct demo_files){NULL, 0, 0};
}

void demo_child_name(char ret[DEMO_NAME_SIZE], size_t index, const char *path)
{
    snprintf(ret, DEMO_NAME_SIZE, "f-%06zu-%08" PRIx32, index,
             (uint32_t)XXH3_64bits(path, strlen(path)));
}

bool demo_child_index(const char *name, size_t count, size_t *ret)
{
    char *end = NULL;
    if (strncmp(name, "f-", 2) != 0)
        return false;
    unsigned long long index = strtoull(name + 2, &end, 10);
    if (end == name + 2 || *end != '-' || index >= count)
        return false;
    *ret = (size_t)index;
    return true;
}

/* ---- one file ---- */

static uint64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

struct squeeze {
    z_stream stream;
    XXH3_state_t *hash;
    unsigned char in[CHUNK], out[CHUNK];
    struct demo_result result;
};

static int feed(struct squeeze *s, size_t len, bool last)
{
    s->result.bytes += len;
    s->result.crc32 = (uint32_t)crc32(s->result.crc32, s->in, (uInt)len);
    XXH3_64bits_update(s->hash, s->in, len);
    s->stream.next_in = s->in;
    s->stream.avail_in = (uInt)len;
    do {
        s->stream.next_out = s->out;
        s->stream.avail_out = (uInt)sizeof(s->out);
        if (deflate(&s->stream, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR)
            return -EIO;
        s->result.compressed += sizeof(s->out) - s->stream.avail_out;
    } while (s->stream.avail_out == 0);
    return 0;
}

static int squeeze_fd(struct squeeze *s, int fd)
{
    for (;;) {
        ssize_t n = read(fd, s->in, sizeof(s->in));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        int r = feed(s, (size_t)n, n == 0);
        if (r < 0 || n == 0)
            return r;
    }
}

int demo_file_compress(const char *path, struct demo_result *ret)
{
    uint64_t start_us = now_us();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct squeeze *s = grow(NULL, sizeof(*s));
    memset(&s->stream, 0, sizeof(s->stream));
    memset(&s->result, 0, sizeof(s->result));
    s->hash = XXH3_createState();
    if (!s->hash || deflateInit(&s->stream, 1) != Z_OK)
        abort();
    XXH3_64bits_reset(s->hash);
    int r = squeeze_fd(s, fd);
    deflateEnd(&s->stream);
    close(fd);
    if (r == 0) {
        s->result.xxh3 = XXH3_64bits_digest(s->hash);
        s->result.run_us = now_us() - start_us;
        s->result.pid = getpid();
        *ret = s->result;
    }
    XXH3_freeState(s->hash);
    free(s);
    return r;
}

#define RESULT_FORMAT(u64, u32, x64, i64)                                                          \
    "bytes=%" u64 " compressed=%" u64 " crc32=%" u32 " xxh3=%" x64 " run_us=%" u64 " pid=%" i64

void demo_result_write(const struct demo_result *result, char text[DEMO_RESULT_TEXT_MAX])
{
    snprintf(text, DEMO_RESULT_TEXT_MAX, RESULT_FORMAT(PRIu64, PRIx32, PRIx64, PRId64),
             result->bytes, result->compressed, result->crc32, result->xxh3, result->run_us,
             result->pid);
}

bool demo_result_read(struct demo_result *result, const char *text, size_t len)
{
    char copy[DEMO_RESULT_TEXT_MAX];
    if (!text || len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    struct demo_result r;
    /* Numbers that do not fit would be wrong anyway: the checksum says so. */
    int n = sscanf(copy, RESULT_FORMAT(SCNu64, SCNx32, SCNx64, SCNd64), &r.bytes, &r.compressed,
                   &r.crc32, &r.xxh3, &r.run_us, &r.pid);
    if (n != 6)
        return false;
    *result = r;
    return true;
}

/* ---- the reduction ---- */

static void extension_of(const char *path, char ret[DEMO_EXTENSION_MAX])
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    bool usable = dot && dot != base && dot[1] && strlen(dot) < DEMO_EXTENSION_MAX;
    for (const char *c = dot; usable && *c; c++)
        usable = *c > 0x20 && *c < 0x7f;
    snprintf(ret, DEMO_EXTENSION_MAX, "%s", usable ? dot : "(none)");
}

static struct demo_extension *find_extension(struct demo_report *report, const char *name)
{
    for (size_t i = 0; i < report->extension_count; i++) {
        if (strcmp(report->extensions[i].name, name) == 0)
            return &report->extensions[i];
    }
    if (report->extension_count == report->extension_cap) {
        report->extension_cap = report->extension_cap ? report->extension_cap * 2 : 32;
        report->extensions = grow(report->extensions,
                                  report->extension_cap * sizeof(*report->extensions));
    }
    struct demo_extension *e = &report->extensions[report->extension_count++];
    memset(e, 0, sizeof(*e));
    snprintf(e->name, sizeof(e->name), "%s", name);
    return e;
}

static void keep_if_slow(struct demo_report *report, const char *path, uint64_t run_us)
{
    size_t at = DEMO_SLOWEST;
    while (at > 0 && report->slowest[at - 1].run_us < run_us)
        at--;
    if (at == DEMO_SLOWEST)
        return;
    memmove(&report->slowest[at + 1], &report->slowest[at],
            (DEMO_SLOWEST - at - 1) * sizeof(report->slowest[0]));
    snprintf(report->slowest[at].path, sizeof(report->slowest[at].path), "%s", path);
    report->slowest[at].run_us = run_us;
}

void demo_report_add(struct demo_report *report, const char *path, const struct demo_result *result)
{
    uint64_t parts[5] = {XXH3_64bits(path, strlen(path)), result->bytes, result->compressed,
                         result->crc32, result->xxh3};
    report->checksum += XXH3_64bits(parts, sizeof(parts)); /* a sum does not know an order */
    report->files++;
    report->bytes += result->bytes;
    report->compressed += result->compressed;
    char name[DEMO_EXTENSION_MAX];
    extension_of(path, name);
    struct demo_extension *e = find_extension(report, name);
    e->files++;
    e->bytes += result->bytes;
    e->compressed += result->compressed;
    keep_if_slow(report, path, result->run_us);
}

static int largest_first(const void *a, const void *b)
{
    const struct demo_extension *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

void demo_report_finish(struct demo_report *report)
{
    if (report->extension_count > 1)
        qsort(report->extensions, report->extension_count, sizeof(*report->extensions),
              largest_first);
}

static void write_extension(FILE *file, const struct demo_extension *e)
{
    fprintf(file, "extension=%s files=%" PRIu64 " bytes=%" PRIu64 " compressed=%" PRIu64 "\n",
            e->name, e->files, e->bytes, e->compressed);
}

char *demo_report_write(const struct demo_report *report)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        abort();
    fprintf(file,
            "files=%" PRIu64 " failed=%" PRIu64 " bytes=%" PRIu64 " compressed=%" PRIu64
            " checksum=%016" PRIx64 "\n",
            report->files, report->failed, report->bytes, report->compressed, report->checksum);
    struct demo_extension other = {"(other)", 0, 0, 0};
    for (size_t i = 0; i < report->extension_count; i++) {
        const struct demo_extension *e = &report->extensions[i];
        if (i < DEMO_EXTENSIONS_SHOWN)
            write_extension(file, e);
        other.files += i < DEMO_EXTENSIONS_SHOWN ? 0 : e->files;
        other.bytes += i < DEMO_EXTENSIONS_SHOWN ? 0 : e->bytes;
        other.compressed += i < DEMO_EXTENSIONS_SHOWN ? 0 : e->compressed;
    }
    if (other.files > 0)
        write_extension(file, &other);
    if (fclose(file) != 0)
        abort();
    return text;
}

void demo_report_free(struct demo_report *report)
{
    free(report->extensions);
    memset(report, 0, sizeof(*report));
}
