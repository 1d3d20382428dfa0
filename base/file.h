/*
 * Small whole files: configuration, journals, pid files. Blocking; for start-up and rare writes,
 * never for a loop's hot path.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

/* A path that does not fit becomes "", which does not exist: open() and all others say so. */
SY_PRINTF(2, 3) void sy_path_print(char ret[PATH_MAX], const char *format, ...);

/* Makes a directory and its missing parents; one that exists is fine. */
int sy_mkdir_p(const char *path, mode_t mode) SY_MUST_USE;

/* Replaces *ret with the content and keeps *ret when it fails. -EFBIG when there is more than `max`
 * bytes. */
int sy_file_read(const char *path, size_t max, struct sy_buf *ret) SY_MUST_USE;

#define SY_FILE_E_EXPOSED 1
/* The same for what must stay secret. SY_FILE_E_EXPOSED: not read, as its mode gives its group or
 * others any right to it. */
int sy_file_read_private(const char *path, size_t max, struct sy_buf *ret) SY_MUST_USE;

/* Goes on after short writes and signals. */
int sy_write_all(int fd, const void *data, size_t len) SY_MUST_USE;

/* After a crash the file holds either the old content or the new one, whole: writes "<path>.tmp",
 * syncs, renames, and syncs the directory. Mode 0600. One writer for each path. */
int sy_file_write_atomic(const char *path, const void *data, size_t len) SY_MUST_USE;

/* Its own entries, made durable. */
int sy_sync_directory(const char *path) SY_MUST_USE;

/* rename(), and on the disk when it returns. */
int sy_rename(const char *from, const char *to) SY_MUST_USE;

/* A directory and all below it, or a file; links are not followed. What cannot be removed stays:
 * for scratch only. */
void sy_remove_tree(const char *path);
