/*
 * The demo's work, without anything of Switchyard: find files, compress and checksum one, reduce
 * the results. The tasks (demo_tasks.c) do it on workers; the driver does it once more by itself,
 * to check them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the files: regular ones below a folder, in byte order of their paths ---- */

struct demo_files {
    char **paths;
    size_t count, cap;
};
/* At most files_max, the first ones. Folders that cannot be read are left out. 0, or -errno. */
int demo_files_find(struct demo_files *files, const char *dir, size_t files_max);
void demo_files_free(struct demo_files *files);

/* The child's name: its number, so that names grow in byte order, and a hash of the path, so that a
 * retried root whose folder has changed does not take one file's result for another's. */
#define DEMO_NAME_SIZE 32
void demo_child_name(char ret[DEMO_NAME_SIZE], size_t index, const char *path);
/* The number in a name. False: not one of ours, or not below `count`. */
bool demo_child_index(const char *name, size_t count, size_t *ret);

/* ---- one file ---- */

struct demo_result {
    uint64_t bytes, compressed; /* zlib, level 1 */
    uint32_t crc32;
    uint64_t xxh3;
    uint64_t run_us; /* how long it took; not part of any checksum */
    int64_t pid;     /* of the worker */
};
/* 0, or -errno. */
int demo_file_compress(const char *path, struct demo_result *ret);
#define DEMO_RESULT_TEXT_MAX 192
void demo_result_write(const struct demo_result *result, char text[DEMO_RESULT_TEXT_MAX]);
/* `text` need not be terminated. */
bool demo_result_read(struct demo_result *result, const char *text, size_t len);

/* ---- the reduction ---- */

#define DEMO_EXTENSION_MAX 12
#define DEMO_SLOWEST 5

struct demo_report {
    uint64_t files, failed, bytes, compressed;
    uint64_t checksum; /* the same in any order */
    struct demo_extension {
        char name[DEMO_EXTENSION_MAX];
        uint64_t files, bytes, compressed;
    } * extensions;
    size_t extension_count, extension_cap;
    struct demo_slow {
        char path[256];
        uint64_t run_us;
    } slowest[DEMO_SLOWEST];
};
void demo_report_add(struct demo_report *report, const char *path,
                     const struct demo_result *result);
/* Sorts the extensions, largest first. */
void demo_report_finish(struct demo_report *report);
/* What must be equal for equal files, as text: to be freed. The largest extensions by name, the
 * others as one, so that it always fits inline. */
#define DEMO_EXTENSIONS_SHOWN 8
char *demo_report_write(const struct demo_report *report);
void demo_report_free(struct demo_report *report);
