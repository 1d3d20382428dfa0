/*
 * The lines of a file, or of stdin ("-"), for run --lines. While a slow writer thinks the client's
 * loop runs on: answers are heard, and Ctrl-C ends the wait. Empty lines are left out; "\r\n" ends
 * a line as "\n" does. A line of more than 8 MiB, or with a NUL byte, is an error that names the
 * line.
 */
#pragma once

#include "base/buf.h"
#include "tools/src/client.h"

struct cl_lines {
    const char *path; /* borrowed; NULL: not open */
    int fd;
    struct sy_buf buf;
    size_t at, searched; /* in buf: the next line begins; no newline before */
    uint64_t number;     /* of the line given last, from 1 */
    bool held, ended;    /* the line given last is given once more; the file has no more bytes */
};

enum cl_exit cl_lines_open(struct cl_lines *lines, const char *path, struct cl_error *error);
void cl_lines_close(struct cl_lines *lines);
/* The next line, valid until the next call; NULL at the end, or with *error set. */
const char *cl_lines_next(struct cl_lines *lines, struct cl_client *client, struct cl_error *error);
/* There is a line; otherwise *error says why not. */
enum cl_exit cl_lines_check(struct cl_lines *lines, struct cl_client *client,
                            struct cl_error *error);
