/* links: cp */
/* What a split does to directories: a fork of a store that is closed, and who begins with it. */
#include "base/file.h"
#include "base/mem.h"
#include "controlplane/data_dir.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY ((size_t)64 << 20)

struct place {
    char path[64];
    struct sy_loop *loop;
    struct cp_data_dir dir;
};

static bool exists(const struct place *p, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", p->path, name);
    return access(path, F_OK) == 0;
}

static void place_init(struct place *p)
{
    *p = (struct place){.path = "/tmp/switchyard-test.XXXXXX"};
    struct sy_error_text error = {0};
    ck_assert_ptr_nonnull(mkdtemp(p->path));
    ck_assert_int_eq(sy_loop_new(&p->loop, NULL), 0);
    ck_assert_msg(cp_data_dir_init(&p->dir, p->path, 2, MEMORY, "eu", &error) == 0, "%s",
                  error.text);
    cp_data_dir_widen(&p->dir, 4);
    ck_assert_uint_eq(p->dir.count, 4);
    struct cp_storage *storage = cp_data_dir_storage(&p->dir);
    ck_assert_msg(storage->mark(storage->ctx, &error) == 0, "%s", error.text);
    ck_assert(exists(p, "partition-1"));
    ck_assert(!exists(p, "partition-2")); /* what does not exist yet is not begun */
}

static void place_deinit(struct place *p)
{
    cp_data_dir_deinit(&p->dir);
    sy_loop_free(p->loop);
    sy_remove_tree(p->path);
}

static struct cp_store *open_at(struct place *p, uint32_t partition, uint32_t epoch)
{
    const struct cp_store_opener *opener = &p->dir.openers[partition];
    struct cp_store *store = NULL;
    struct sy_error_text error = {0};
    uint32_t newer;
    int r = opener->open(opener->ctx, &store, epoch, p->loop, &newer, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    return store;
}

static void on_committed(void *ctx, int error)
{
    ck_assert_int_eq(error, 0);
    *(bool *)ctx = true;
}

static void put(struct place *p, struct cp_store *store, const char *key)
{
    bool done = false;
    struct sy_span span = {(const uint8_t *)key, strlen(key)};
    struct cp_batch *batch = cp_batch_new(store);
    cp_batch_put(batch, CP_FAMILY_RUNS, span, span);
    cp_store_commit(store, batch, on_committed, &done);
    while (!done)
        sy_loop_turn(p->loop);
}

static bool has(struct cp_store *store, const char *key)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf value = {0};
    struct sy_span span = {(const uint8_t *)key, strlen(key)};
    int r = cp_store_get(store, CP_FAMILY_RUNS, span, &value);
    ck_assert(r == 0 || r == CP_STORE_E_NOT_FOUND);
    return r == 0;
}

static int fork_at(struct place *p, uint32_t partition, uint32_t epoch, struct sy_error_text *error)
{
    const struct cp_store_opener *opener = &p->dir.openers[partition];
    return opener->fork(opener->ctx, epoch, error);
}

static int adopt(struct place *p, uint32_t partition, uint32_t parent, uint32_t epoch,
                 struct sy_error_text *error)
{
    const struct cp_store_opener *opener = &p->dir.openers[partition];
    return opener->adopt(opener->ctx, parent, epoch, error);
}

START_TEST(both_go_on_with_what_the_whole_had)
{
    struct place p;
    struct sy_error_text error = {0};
    place_init(&p);
    struct cp_store *whole = open_at(&p, 1, 3);
    put(&p, whole, "before");
    cp_store_close(whole);
    ck_assert_msg(fork_at(&p, 1, 3, &error) == 0, "%s", error.text);
    ck_assert_msg(adopt(&p, 2, 1, 3, &error) == 0, "%s", error.text);
    ck_assert_int_eq(adopt(&p, 2, 1, 3, &error), 0); /* whoever comes later */
    struct cp_store *lower = open_at(&p, 1, 4), *upper = open_at(&p, 2, 5);
    ck_assert(has(lower, "before") && has(upper, "before"));
    put(&p, lower, "lower");
    put(&p, upper, "upper");
    ck_assert(!has(upper, "lower") && !has(lower, "upper"));
    cp_store_close(upper);
    cp_store_close(lower);
    upper = open_at(&p, 2, 6);
    ck_assert(has(upper, "before") && has(upper, "upper") && !has(upper, "lower"));
    cp_store_close(upper);
    place_deinit(&p);
}
END_TEST

/* One that came to nothing stays until its partition is opened, and harms none of another. */
START_TEST(forks_of_other_epochs_are_others)
{
    struct place p;
    struct sy_error_text error = {0};
    place_init(&p);
    struct cp_store *whole = open_at(&p, 0, 3);
    put(&p, whole, "early");
    cp_store_close(whole);
    ck_assert_int_eq(fork_at(&p, 0, 3, &error), 0);
    whole = open_at(&p, 0, 4);
    put(&p, whole, "late");
    cp_store_close(whole);
    ck_assert_int_eq(fork_at(&p, 0, 4, &error), 0);
    ck_assert_int_eq(fork_at(&p, 0, 4, &error), 0); /* again */
    ck_assert_int_eq(adopt(&p, 3, 0, 4, &error), 0);
    struct cp_store *upper = open_at(&p, 3, 5);
    ck_assert(has(upper, "early") && has(upper, "late"));
    cp_store_close(upper);
    place_deinit(&p);
}
END_TEST

static void make_directory(const struct place *p, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s/e0000000001", p->path, name);
    ck_assert_int_eq(sy_mkdir_p(path, 0700), 0);
}

/* Of a partition, what is older than its epoch and nobody begins with. */
START_TEST(forks_that_came_to_nothing_go)
{
    static const struct {
        const char *name;
        bool stays;
    } names[] = {{"partition-1.split-3", false},
                 {"partition-1.split-4", true},
                 {"partition-1.split-5", false},
                 {"partition-1.split-4.tmp", false},
                 {"partition-1.split-7.tmp", true},
                 {"partition-1.split-7", true},
                 {"partition-1.split-8", true},
                 {"partition-1.split-", true},
                 {"partition-1.split-3x", true},
                 {"partition-1.split-99999999999", true},
                 {"partition-1.splitter-3", true},
                 {"partition-11.split-3", true},
                 {"partition-0.split-3", true},
                 {"partition-1.flat", true},
                 {"partition-2", true},
                 {"partition-1", true}};
    static const uint32_t kept[] = {1, 4};
    struct place p;
    place_init(&p);
    for (size_t i = 0; i < SY_COUNT_OF(names); i++)
        make_directory(&p, names[i].name);
    const struct cp_store_opener *opener = &p.dir.openers[1];
    opener->drop_forks(opener->ctx, 7, kept, SY_COUNT_OF(kept));
    for (size_t i = 0; i < SY_COUNT_OF(names); i++)
        ck_assert_msg(exists(&p, names[i].name) == names[i].stays, "%s", names[i].name);
    ck_assert(exists(&p, "partition-1/e0000000001"));
    place_deinit(&p);
}
END_TEST

START_TEST(what_is_open_is_not_forked)
{
    struct place p;
    struct sy_error_text error = {0};
    place_init(&p);
    struct cp_store *whole = open_at(&p, 1, 3);
    ck_assert_int_eq(fork_at(&p, 1, 3, &error), -EBUSY);
    ck_assert_ptr_nonnull(strstr(error.text, "not closed well"));
    ck_assert_int_eq(adopt(&p, 2, 1, 3, &error), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "partition-1.split-3"));
    cp_store_close(whole);
    ck_assert_int_eq(fork_at(&p, 0, 1, &error), -ENOENT); /* it was never opened */
    place_deinit(&p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {both_go_on_with_what_the_whole_had,
                                  forks_of_other_epochs_are_others, forks_that_came_to_nothing_go,
                                  what_is_open_is_not_forked, NULL};
    return sy_test_run("cp_split_store", tests);
}
