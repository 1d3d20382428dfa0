/* links: cl */
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/demo_work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void make_folder(void)
{
    char path[128];
    snprintf(dir, sizeof(dir), "/tmp/test_cl_demo.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/sub", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    write_file("b.txt", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    write_file("a.md", "a");
    write_file("sub/c.txt", "hello");
    write_file("empty", "");
    snprintf(path, sizeof(path), "%s/link", dir);
    ck_assert_int_eq(symlink("a.md", path), 0);
}

static void remove_folder(void)
{
    static const char *const names[] = {"b.txt", "a.md", "sub/c.txt", "empty", "link", "sub"};
    char path[128];
    for (size_t i = 0; i < SY_COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)remove(path);
    }
    rmdir(dir);
}

START_TEST(test_files_are_regular_and_sorted)
{
    make_folder();
    struct demo_files files;
    ck_assert_int_eq(demo_files_find(&files, dir, 1000), 0);
    ck_assert_uint_eq(files.count, 4); /* not the link */
    for (size_t i = 1; i < files.count; i++)
        ck_assert_int_lt(strcmp(files.paths[i - 1], files.paths[i]), 0);
    demo_files_free(&files);
    ck_assert_int_eq(demo_files_find(&files, dir, 2), 0);
    ck_assert_uint_eq(files.count, 2);
    ck_assert_ptr_nonnull(strstr(files.paths[0], "a.md"));
    demo_files_free(&files);
    ck_assert_int_eq(demo_files_find(&files, "/no/such/folder", 2), -ENOENT);
    ck_assert_int_eq(demo_files_find(&files, "/dev/null", 2), -ENOTDIR);
    remove_folder();
}
END_TEST

START_TEST(test_names_grow_and_know_their_file)
{
    char last[DEMO_NAME_SIZE] = "", name[DEMO_NAME_SIZE], other[DEMO_NAME_SIZE];
    for (size_t i = 0; i < 1000; i++) {
        size_t index = 0;
        demo_child_name(name, i, "/some/path");
        ck_assert_int_lt(strcmp(last, name), 0);
        ck_assert(demo_child_index(name, 1000, &index));
        ck_assert_uint_eq(index, i);
        memcpy(last, name, sizeof(name));
    }
    demo_child_name(other, 999, "/another/path");
    ck_assert_str_ne(name, other);
    size_t index = 0;
    ck_assert(!demo_child_index(name, 999, &index)); /* beyond the files there are */
    ck_assert(!demo_child_index("x-000001-1", 999, &index));
    ck_assert(!demo_child_index("f-", 999, &index));
    ck_assert(!demo_child_index("f-12", 999, &index));
}
END_TEST

START_TEST(test_compression_is_repeatable_and_known)
{
    make_folder();
    char path[128];
    struct demo_result first, second;
    snprintf(path, sizeof(path), "%s/sub/c.txt", dir);
    ck_assert_int_eq(demo_file_compress(path, &first), 0);
    ck_assert_int_eq(demo_file_compress(path, &second), 0);
    ck_assert_uint_eq(first.bytes, 5);
    ck_assert_uint_eq(first.crc32, 0x3610a686); /* of "hello" */
    ck_assert_uint_eq(first.xxh3, second.xxh3);
    ck_assert_uint_eq(first.compressed, second.compressed);
    ck_assert_uint_gt(first.compressed, 5);
    snprintf(path, sizeof(path), "%s/empty", dir);
    ck_assert_int_eq(demo_file_compress(path, &first), 0);
    ck_assert_uint_eq(first.bytes, 0);
    snprintf(path, sizeof(path), "%s/gone", dir);
    ck_assert_int_eq(demo_file_compress(path, &first), -ENOENT);
    ck_assert_int_eq(demo_file_compress(dir, &first), -EISDIR);
    remove_folder();
}
END_TEST

START_TEST(test_results_survive_the_wire)
{
    struct demo_result result = {1, UINT64_MAX, 0xdeadbeef, 0x0123456789abcdef, 42, 77}, read;
    char text[DEMO_RESULT_TEXT_MAX];
    demo_result_write(&result, text);
    ck_assert(demo_result_read(&read, text, strlen(text)));
    ck_assert_uint_eq(read.bytes, 1);
    ck_assert_uint_eq(read.compressed, UINT64_MAX);
    ck_assert_uint_eq(read.crc32, 0xdeadbeef);
    ck_assert_uint_eq(read.xxh3, 0x0123456789abcdef);
    ck_assert_uint_eq(read.run_us, 42);
    ck_assert_int_eq(read.pid, 77);
    ck_assert(!demo_result_read(&read, text, 10));
    ck_assert(!demo_result_read(&read, "", 0));
    ck_assert(!demo_result_read(&read, NULL, 0));
    ck_assert(!demo_result_read(&read, text, 100000));
}
END_TEST

/* The report of the same files is the same in any order, and differs when one byte does. */
START_TEST(test_reduction)
{
    static const char *const paths[] = {"/x/a.gz", "/x/b", "/x/c.gz", "/x.d/e", "/x/.hidden"};
    struct demo_result results[5];
    for (size_t i = 0; i < 5; i++)
        results[i] = (struct demo_result){i * 100, i * 50, (uint32_t)i, i * 7, 5 - i, 1};
    char *texts[3];
    for (int order = 0; order < 3; order++) {
        struct demo_report report = {.files = 0};
        for (size_t i = 0; i < 5; i++) {
            size_t at = order == 1 ? 4 - i : i;
            struct demo_result result = results[at];
            result.pid = order; /* who did it does not matter */
            result.xxh3 += order == 2 && at == 3;
            demo_report_add(&report, paths[at], &result);
        }
        demo_report_finish(&report);
        ck_assert_uint_eq(report.slowest[0].run_us, 5);
        ck_assert_str_eq(report.slowest[0].path, "/x/a.gz");
        ck_assert_uint_eq(report.extension_count, 2);
        texts[order] = demo_report_write(&report);
        demo_report_free(&report);
    }
    ck_assert_str_eq(texts[0], texts[1]);
    ck_assert_str_ne(texts[0], texts[2]);
    ck_assert_ptr_nonnull(strstr(texts[0], "files=5 failed=0 bytes=1000 compressed=500 "));
    ck_assert_ptr_nonnull(strstr(texts[0], "extension=.gz files=2 bytes=200 compressed=100\n"));
    ck_assert_ptr_nonnull(strstr(texts[0], "extension=(none) files=3 bytes=800 "));
    for (int order = 0; order < 3; order++)
        free(texts[order]);
}
END_TEST

START_TEST(test_many_extensions_become_one_row)
{
    struct demo_report report = {.files = 0};
    for (unsigned i = 0; i < 1000; i++) {
        char path[32];
        struct demo_result result = {.bytes = i, .compressed = 1};
        snprintf(path, sizeof(path), "/f.%u", i);
        demo_report_add(&report, path, &result);
    }
    demo_report_finish(&report);
    char *text = demo_report_write(&report);
    ck_assert_uint_lt(strlen(text), 4096); /* fits inline */
    ck_assert_ptr_nonnull(strstr(text, "extension=.999 "));
    ck_assert_ptr_nonnull(strstr(text, "extension=(other) files=992 "));
    free(text);
    demo_report_free(&report);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_files_are_regular_and_sorted,
        test_names_grow_and_know_their_file,
        test_compression_is_repeatable_and_known,
        test_results_survive_the_wire,
        test_reduction,
        test_many_extensions_become_one_row,
        NULL,
    };
    return sy_test_run("cl_demo", tests);
}
