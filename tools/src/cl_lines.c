#include "tools/src/cl_lines.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define LINE_BYTES_MAX ((size_t)8 * 1024 * 1024)
#define PIECE_BYTES ((size_t)64 * 1024)

enum cl_exit cl_lines_open(struct cl_lines *lines, const char *path, struct cl_error *error)
{
    *lines = (struct cl_lines){.path = path};
    lines->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (lines->fd >= 0)
        return CL_OK;
    lines->path = NULL;
    return cl_fail(error, CL_USAGE, "--lines '%s': %s", path, strerror(errno));
}

void cl_lines_close(struct cl_lines *lines)
{
    if (lines->path && lines->fd != STDIN_FILENO)
        close(lines->fd);
    sy_buf_deinit(&lines->buf);
    *lines = (struct cl_lines){.path = NULL};
}

/* ---- more bytes ---- */

struct readable {
    struct sy_io io;
    struct cl_client *client;
    bool yes;
};

static void on_readable(void *arg, uint32_t events)
{
    struct readable *readable = arg;
    (void)events;
    readable->yes = true;
    cl_wake(readable->client);
}

static bool is_readable(void *ctx)
{
    const struct readable *readable = ctx;
    return readable->yes;
}

/* Regular files are always ready, and epoll does not take them: poll is asked first. */
static bool wait_readable(struct cl_lines *lines, struct cl_client *client, struct cl_error *error)
{
    struct pollfd now = {.fd = lines->fd, .events = POLLIN};
    struct readable readable = {.client = client};
    if (poll(&now, 1, 0) == 0) {
        readable.io = (struct sy_io){lines->fd, EPOLLIN, on_readable, &readable};
        int r = sy_io_add(client->loop, &readable.io);
        if (r < 0) {
            cl_fail(error, CL_INTERNAL, "--lines '%s': %s", lines->path, strerror(-r));
            return false;
        }
        cl_wait(client, is_readable, &readable, 0);
        sy_io_remove(client->loop, &readable.io);
    }
    if (client->interrupted)
        cl_fail(error, CL_INTERRUPTED, "interrupted");
    return !client->interrupted;
}

static bool read_more(struct cl_lines *lines, struct cl_client *client, struct cl_error *error)
{
    sy_buf_consume(&lines->buf, lines->at);
    lines->searched -= lines->at;
    lines->at = 0;
    if (lines->buf.len > LINE_BYTES_MAX) {
        cl_fail(error, CL_USAGE, "--lines '%s': line %llu is longer than 8 MiB", lines->path,
                (unsigned long long)lines->number + 1);
        return false;
    }
    if (!wait_readable(lines, client, error))
        return false;
    sy_buf_reserve(&lines->buf, PIECE_BYTES);
    ssize_t n = read(lines->fd, lines->buf.data + lines->buf.len, PIECE_BYTES);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n < 0) {
        cl_fail(error, CL_USAGE, "--lines '%s': %s", lines->path, strerror(errno));
        return false;
    }
    lines->buf.len += (size_t)n;
    if (n == 0) {
        lines->ended = true;
        if (lines->buf.len > 0) /* the last line may lack its newline */
            sy_buf_append(&lines->buf, "\n", 1);
    }
    return true;
}

/* ---- lines ---- */

/* Makes a string of the line at lines->at that ends before `newline`; NULL when it is empty. */
static const char *take_line(struct cl_lines *lines, char *newline, struct cl_error *error)
{
    char *line = (char *)lines->buf.data + lines->at, *end = newline;
    lines->at = lines->searched = (size_t)(newline + 1 - (char *)lines->buf.data);
    lines->number++;
    while (end > line && end[-1] == '\r')
        end--;
    *end = '\0';
    if (strlen(line) != (size_t)(end - line)) {
        cl_fail(error, CL_USAGE, "--lines '%s': line %llu holds a NUL byte: expected text",
                lines->path, (unsigned long long)lines->number);
        return NULL;
    }
    return end > line ? line : NULL;
}

const char *cl_lines_next(struct cl_lines *lines, struct cl_client *client, struct cl_error *error)
{
    if (lines->held) {
        lines->held = false;
        return (const char *)lines->buf.data;
    }
    error->exit = CL_OK;
    for (;;) {
        size_t rest = lines->buf.len - lines->searched;
        char *newline = NULL;
        if (rest > 0)
            newline = memchr(lines->buf.data + lines->searched, '\n', rest);
        if (newline) {
            const char *line = take_line(lines, newline, error);
            if (line || error->exit != CL_OK)
                return line;
            continue;
        }
        lines->searched = lines->buf.len;
        if (lines->ended || !read_more(lines, client, error))
            return NULL;
    }
}

enum cl_exit cl_lines_check(struct cl_lines *lines, struct cl_client *client,
                            struct cl_error *error)
{
    const char *line = cl_lines_next(lines, client, error);
    if (!line && error->exit == CL_OK)
        return cl_fail(error, CL_USAGE, "--lines '%s': there is no line to run", lines->path);
    if (!line)
        return error->exit;
    size_t before = (size_t)(line - (const char *)lines->buf.data);
    sy_buf_consume(&lines->buf, before);
    lines->at -= before;
    lines->searched -= before;
    lines->held = true;
    return CL_OK;
}
