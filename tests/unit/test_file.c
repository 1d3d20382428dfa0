/* links: sy_base */
#include "base/file.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    char path[128];
};

static void fixture_init(struct fixture *f)
{
    snprintf(f->dir, sizeof(f->dir), "/tmp/sy_test_file_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
}

static const char *in(struct fixture *f, const char *name)
{
    snprintf(f->path, sizeof(f->path), "%s/%s", f->dir, name);
    return f->path;
}

static void fixture_deinit(struct fixture *f)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a path of our own */
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

START_TEST(test_mkdir_p)
{
    struct fixture f;
    fixture_init(&f);
    ck_assert_int_eq(sy_mkdir_p(in(&f, "a/b//c/"), 0700), 0);
    ck_assert(is_dir(in(&f, "a/b/c")));
    ck_assert_int_eq(sy_mkdir_p(in(&f, "a/b/c"), 0700), 0);
    ck_assert_int_eq(sy_mkdir_p("/", 0700), 0);
    ck_assert_int_eq(sy_mkdir_p("", 0700), -ENOENT);
    int fd = open(in(&f, "file"), O_CREAT | O_WRONLY, 0600);
    close(fd);
    ck_assert_int_eq(sy_mkdir_p(in(&f, "file"), 0700), -ENOTDIR);
    ck_assert_int_eq(sy_mkdir_p(in(&f, "file/below"), 0700), -ENOTDIR);
    char longer[PATH_MAX + 10];
    memset(longer, '/', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    ck_assert_int_eq(sy_mkdir_p(longer, 0700), -ENAMETOOLONG);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_write_then_read)
{
    struct fixture f;
    fixture_init(&f);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    ck_assert_int_eq(sy_file_write_atomic(in(&f, "x"), "old content", 11), 0);
    ck_assert_int_eq(sy_file_write_atomic(in(&f, "x"), "new", 3), 0);
    ck_assert_int_eq(sy_file_read(in(&f, "x"), 100, &buf), 0);
    ck_assert_uint_eq(buf.len, 3);
    ck_assert_mem_eq(buf.data, "new", 3);
    ck_assert_int_eq(access(in(&f, "x.tmp"), F_OK), -1);
    struct stat st;
    ck_assert_int_eq(stat(in(&f, "x"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(sy_file_write_atomic(in(&f, "x"), NULL, 0), 0);
    ck_assert_int_eq(sy_file_read(in(&f, "x"), 0, &buf), 0);
    ck_assert_uint_eq(buf.len, 0);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_write_in_the_current_directory)
{
    struct fixture f;
    fixture_init(&f);
    char before[PATH_MAX];
    ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
    ck_assert_int_eq(chdir(f.dir), 0);
    ck_assert_int_eq(sy_file_write_atomic("here", "x", 1), 0);
    ck_assert_int_eq(chdir(before), 0);
    ck_assert_int_eq(access(in(&f, "here"), F_OK), 0);
    fixture_deinit(&f);
}
END_TEST

/* A rename that fails leaves neither a changed file nor a stray one. */
START_TEST(test_failed_write_leaves_nothing)
{
    struct fixture f;
    fixture_init(&f);
    ck_assert_int_eq(sy_mkdir_p(in(&f, "taken/by_a_directory"), 0700), 0);
    ck_assert_int_eq(sy_file_write_atomic(in(&f, "taken"), "x", 1), -EISDIR);
    ck_assert_int_eq(access(in(&f, "taken.tmp"), F_OK), -1);
    ck_assert_int_eq(sy_file_write_atomic(in(&f, "missing/x"), "x", 1), -ENOENT);
    char longer[PATH_MAX];
    memset(longer, 'a', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    ck_assert_int_eq(sy_file_write_atomic(longer, "x", 1), -ENAMETOOLONG);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_read_limit_is_exact)
{
    struct fixture f;
    fixture_init(&f);
    size_t size = 200000; /* several chunks */
    char *content = malloc(size);
    ck_assert_ptr_nonnull(content);
    for (size_t i = 0; i < size; i++)
        content[i] = (char)(i % 251);
    ck_assert_int_eq(sy_file_write_atomic(in(&f, "big"), content, size), 0);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = sy_buf_copy("kept", 4);
    ck_assert_int_eq(sy_file_read(in(&f, "big"), size - 1, &buf), -EFBIG);
    ck_assert_uint_eq(buf.len, 4);
    ck_assert_mem_eq(buf.data, "kept", 4);
    ck_assert_int_eq(sy_file_read(in(&f, "big"), size, &buf), 0);
    ck_assert_uint_eq(buf.len, size);
    ck_assert_mem_eq(buf.data, content, size);
    free(content);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_read_errors)
{
    struct fixture f;
    fixture_init(&f);
    struct sy_buf buf = {0};
    ck_assert_int_eq(sy_file_read(in(&f, "missing"), 10, &buf), -ENOENT);
    ck_assert_int_eq(sy_file_read(f.dir, 10, &buf), -EISDIR);
    ck_assert_ptr_null(buf.data);
    fixture_deinit(&f);
}
END_TEST

START_TEST(a_tree_goes_whole_and_links_are_not_followed)
{
    struct fixture f;
    fixture_init(&f);
    ck_assert_int_eq(sy_mkdir_p(in(&f, "tree/a/b"), 0700), 0);
    ck_assert_int_eq(sy_mkdir_p(in(&f, "other"), 0700), 0);
    ck_assert_int_eq(sy_file_write_atomic(in(&f, "tree/a/b/x"), "x", 1), 0);
    ck_assert_int_eq(sy_file_write_atomic(in(&f, "other/kept"), "x", 1), 0);
    ck_assert_int_eq(symlink("../other", in(&f, "tree/link")), 0);
    sy_remove_tree(in(&f, "tree"));
    ck_assert_int_eq(access(in(&f, "tree"), F_OK), -1);
    ck_assert_int_eq(access(in(&f, "other/kept"), F_OK), 0);
    sy_remove_tree(in(&f, "tree")); /* again: nothing */
    sy_remove_tree(in(&f, "other/kept"));
    ck_assert_int_eq(access(in(&f, "other/kept"), F_OK), -1);
    fixture_deinit(&f);
}
END_TEST

START_TEST(a_path_that_does_not_fit_is_none)
{
    char path[PATH_MAX], part[PATH_MAX];
    memset(part, 'p', sizeof(part));
    part[PATH_MAX - 2] = '\0';
    sy_path_print(path, "/%s/", part);
    ck_assert_str_eq(path, "");
    part[PATH_MAX - 3] = '\0';
    sy_path_print(path, "/%s/", part);
    ck_assert_uint_eq(strlen(path), PATH_MAX - 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_mkdir_p,
        test_write_then_read,
        test_write_in_the_current_directory,
        test_failed_write_leaves_nothing,
        test_read_limit_is_exact,
        test_read_errors,
        a_tree_goes_whole_and_links_are_not_followed,
        a_path_that_does_not_fit_is_none,
        NULL,
    };
    return sy_test_run("file", tests);
}
