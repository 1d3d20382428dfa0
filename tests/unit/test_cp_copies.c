/* links: cp */
/* The copies of partitions in a shard's own data_dir (controlplane/copies.h, data_dir.h). */
#include "base/file.h"
#include "base/mem.h"
#include "controlplane/data_dir.h"
#include "tests/lib/test.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDENTITY "0123456789abcdef0123456789abcdef"

static char root[64];
static struct cp_data_dir dir;

static int open_dir(struct sy_error_text *error)
{
    return cp_data_dir_init_local(&dir, root, 2, 4, CP_STORE_MEMORY_MIN, error);
}

static void begin(void)
{
    snprintf(root, sizeof(root), "/tmp/switchyard-copies-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_int_eq(open_dir(NULL), 0);
}

static void end(void)
{
    cp_data_dir_deinit(&dir);
    sy_remove_tree(root);
}

static struct cp_copies *port(void)
{
    return cp_copy_dir_port(dir.copies);
}

static struct cp_own_copy read_copy(uint32_t partition)
{
    struct cp_own_copy copy;
    struct sy_error_text error = {0};
    ck_assert_msg(port()->read(port()->ctx, partition, &copy, &error) == 0, "%s", error.text);
    return copy;
}

static struct sy_span text(const char *s)
{
    return (struct sy_span){(const uint8_t *)s, strlen(s)};
}

static void write_file(const char *name, const char *content)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    ck_assert_int_eq(sy_file_write_atomic(path, content, strlen(content)), 0);
}

static bool is_there(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return access(path, F_OK) == 0;
}

START_TEST(a_copy_keeps_its_id)
{
    begin();
    ck_assert_uint_eq(read_copy(0).id, 0);
    ck_assert_int_eq(port()->make(port()->ctx, 0, 0xabc, NULL), 0);
    ck_assert_uint_eq(read_copy(0).id, 0xabc);
    ck_assert(read_copy(0).empty);
    ck_assert_uint_eq(read_copy(1).id, 0);
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(open_dir(NULL), 0);
    ck_assert_uint_eq(read_copy(0).id, 0xabc);
    end();
}
END_TEST

START_TEST(another_one_takes_its_place_when_it_is_complete)
{
    begin();
    ck_assert_int_eq(port()->make(port()->ctx, 0, 1, NULL), 0);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/partition-0/e0000000003", root);
    ck_assert_int_eq(sy_mkdir_p(path, 0700), 0);
    write_file("partition-0/e0000000003/old", "old");
    ck_assert(!read_copy(0).empty);
    ck_assert_int_gt(read_copy(0).changed_ns, 0);
    for (int tries = 0; tries < 2; tries++) { /* the first try is given up */
        ck_assert_int_eq(port()->fill(port()->ctx, 0, NULL, text(""), NULL), 0);
        ck_assert_int_eq(port()->fill(port()->ctx, 0, "a", text("one"), NULL), 0);
        ck_assert_int_eq(port()->fill(port()->ctx, 0, "a", text("two"), NULL), 0);
        ck_assert_int_eq(port()->fill(port()->ctx, 0, "b", text(""), NULL), 0);
    }
    ck_assert(is_there("partition-0/e0000000003/old"));
    ck_assert_uint_eq(read_copy(0).id, 1);
    ck_assert_int_eq(port()->filled(port()->ctx, 0, 2, NULL), 0);
    ck_assert_uint_eq(read_copy(0).id, 2);
    ck_assert(!is_there("partition-0/e0000000003") && !is_there("partition-0.new"));
    struct sy_buf content = {0};
    snprintf(path, sizeof(path), "%s/partition-0/e0000000000/a", root);
    ck_assert_int_eq(sy_file_read(path, 100, &content), 0);
    ck_assert(content.len == 6 && memcmp(content.data, "onetwo", 6) == 0);
    ck_assert(is_there("partition-0/e0000000000/b"));
    sy_buf_deinit(&content);
    end();
}
END_TEST

START_TEST(strange_names_are_no_files_of_a_copy)
{
    struct sy_error_text error = {0};
    begin();
    ck_assert_int_eq(port()->fill(port()->ctx, 0, NULL, text(""), NULL), 0);
    static const char *const names[] = {"", ".", "..", "../x", "a/b", ".hidden"};
    for (size_t i = 0; i < SY_COUNT_OF(names); i++) {
        ck_assert_int_eq(port()->fill(port()->ctx, 0, names[i], text("x"), &error), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(error.text, "not the name of a file"));
    }
    ck_assert(!is_there("x"));
    end();
}
END_TEST

START_TEST(what_has_no_id_gets_one)
{
    begin();
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/partition-1/e0000000001", root);
    ck_assert_int_eq(sy_mkdir_p(path, 0700), 0);
    uint64_t id = read_copy(1).id;
    ck_assert_uint_ne(id, 0);
    ck_assert(!read_copy(1).empty);
    ck_assert_uint_eq(read_copy(1).id, id);
    end();
}
END_TEST

START_TEST(a_damaged_id_is_an_error)
{
    struct cp_own_copy copy;
    struct sy_error_text error = {0};
    static const char *const contents[] = {"", "12\n", "0000000000000000\n", "0123456789abcdef",
                                           "0123456789abcdeg\n"};
    begin();
    ck_assert_int_eq(port()->make(port()->ctx, 0, 1, NULL), 0);
    for (size_t i = 0; i < SY_COUNT_OF(contents); i++) {
        write_file("partition-0/COPY", contents[i]);
        ck_assert_int_eq(port()->read(port()->ctx, 0, &copy, &error), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(error.text, "partition-0/COPY"));
    }
    end();
}
END_TEST

/* What is forked is a copy with an id of its own, before anybody begins with it; then it is that
 * one's, also after a restart. */
START_TEST(a_fork_is_a_copy_of_what_begins_with_it)
{
    struct cp_store *store;
    struct sy_loop *loop;
    struct sy_error_text error = {0};
    uint32_t newer;
    begin();
    ck_assert_int_eq(sy_loop_new(&loop, NULL), 0);
    ck_assert_int_eq(port()->make(port()->ctx, 1, 0xabc, NULL), 0);
    const struct cp_store_opener *whole = &dir.openers[1], *half = &dir.openers[2];
    ck_assert_int_eq(whole->open(whole->ctx, &store, 5, loop, &newer, &error), 0);
    cp_store_close(store);
    ck_assert_msg(whole->fork(whole->ctx, 5, &error) == 0, "%s", error.text);
    ck_assert_int_eq(port()->name_fork(port()->ctx, 1, 5, 0xdef, NULL), 0);
    ck_assert_uint_eq(read_copy(2).id, 0);
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(open_dir(NULL), 0);
    ck_assert_uint_eq(read_copy(2).id, 0);
    half = &dir.openers[2];
    ck_assert_int_eq(half->adopt(half->ctx, 1, 4, &error), -ENOENT);
    ck_assert_msg(half->adopt(half->ctx, 1, 5, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(read_copy(2).id, 0xdef);
    ck_assert(!read_copy(2).empty);
    ck_assert_uint_eq(read_copy(1).id, 0xabc);
    ck_assert(!is_there("partition-1.split-5"));
    ck_assert_int_eq(port()->name_fork(port()->ctx, 1, 7, 1, &error), -ENOENT);
    sy_loop_free(loop);
    end();
}
END_TEST

START_TEST(it_knows_of_which_region_its_copies_are)
{
    struct sy_error_text error = {0};
    begin();
    ck_assert_str_eq(port()->identity, "");
    ck_assert(!cp_copy_dir_is(root));
    ck_assert_int_eq(port()->adopt(port()->ctx, IDENTITY, NULL), 0);
    ck_assert_str_eq(port()->identity, IDENTITY);
    ck_assert(cp_copy_dir_is(root));
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(open_dir(NULL), 0);
    ck_assert_str_eq(port()->identity, IDENTITY);
    cp_data_dir_deinit(&dir);
    /* who is configured otherwise is refused */
    ck_assert_int_eq(cp_data_dir_init(&dir, root, 2, CP_STORE_MEMORY_MIN, NULL, &error), -EPERM);
    ck_assert_ptr_nonnull(strstr(error.text, "storage: local"));
    ck_assert_int_eq(cp_data_dir_init(&dir, root, 2, CP_STORE_MEMORY_MIN, "eu", &error), -EPERM);
    write_file("copies", "nonsense\n");
    ck_assert_int_eq(open_dir(&error), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(error.text, "copies: damaged"));
    dir = (struct cp_data_dir){0};
    end();
}
END_TEST

START_TEST(a_shared_directory_is_not_taken)
{
    struct sy_error_text error = {0};
    begin();
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(cp_data_dir_init(&dir, root, 2, CP_STORE_MEMORY_MIN, "eu", NULL), 0);
    ck_assert_int_eq(cp_data_dir_storage(&dir)->mark(&dir, NULL), 0);
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(open_dir(&error), -EPERM);
    ck_assert_ptr_nonnull(strstr(error.text, "storage: shared"));
    dir = (struct cp_data_dir){0};
    end();
}
END_TEST

START_TEST(one_process_uses_it)
{
    struct cp_data_dir second;
    struct sy_error_text error = {0};
    begin();
    ck_assert_int_eq(cp_data_dir_init_local(&second, root, 2, 4, CP_STORE_MEMORY_MIN, &error),
                     -EBUSY);
    ck_assert_ptr_nonnull(strstr(error.text, "in use by another process"));
    end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_copy_keeps_its_id,
                                  another_one_takes_its_place_when_it_is_complete,
                                  strange_names_are_no_files_of_a_copy,
                                  what_has_no_id_gets_one,
                                  a_damaged_id_is_an_error,
                                  a_fork_is_a_copy_of_what_begins_with_it,
                                  it_knows_of_which_region_its_copies_are,
                                  a_shared_directory_is_not_taken,
                                  one_process_uses_it,
                                  NULL};
    return sy_test_run("cp_copies", tests);
}
