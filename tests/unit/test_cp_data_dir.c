/* links: cp */
/* The directory of a shard's partitions, and whose it is. */
#include "base/file.h"
#include "base/mem.h"
#include "controlplane/data_dir.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY ((size_t)100 << 20)

struct place {
    char root[64], data[96], mark[128];
};

static void place_init(struct place *p)
{
    snprintf(p->root, sizeof(p->root), "/tmp/test_data_dir_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(p->root));
    snprintf(p->data, sizeof(p->data), "%s/data", p->root);
    snprintf(p->mark, sizeof(p->mark), "%s/region", p->data);
}

static void place_deinit(struct place *p)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf '%s'", p->root);
    ck_assert_int_eq(system(command), 0);
}

static void write_mark(const struct place *p, const char *text)
{
    FILE *file = fopen(p->mark, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static int mark(struct cp_data_dir *dir, struct sy_error_text *error)
{
    struct cp_storage *storage = cp_data_dir_storage(dir);
    return storage->mark(storage->ctx, error);
}

static void refused(const struct place *p, const char *region, int code, const char *says)
{
    struct cp_data_dir dir = {0};
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_data_dir_init(&dir, p->data, 2, MEMORY, region, &error), code);
    ck_assert_msg(strstr(error.text, says) != NULL, "%s", error.text);
    ck_assert_ptr_null(dir.openers);
}

START_TEST(one_shard_has_it_for_itself)
{
    struct place p;
    place_init(&p);
    struct cp_data_dir dir;
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_data_dir_init(&dir, p.data, 3, MEMORY, NULL, &error), 0);
    ck_assert_uint_eq(dir.count, 3);
    ck_assert_ptr_null(cp_data_dir_storage(&dir));
    char expected[128];
    snprintf(expected, sizeof(expected), "%s/partition-2", p.data);
    ck_assert_str_eq(dir.stores[2].path, expected);
    ck_assert_uint_eq(dir.stores[2].memory_bytes, MEMORY / 3);
    ck_assert_int_ne(access(expected, F_OK), 0); /* not before it is opened */
    ck_assert_int_ne(access(p.mark, F_OK), 0);
    cp_data_dir_deinit(&dir);
    place_deinit(&p);
}
END_TEST

/* Not more than is of use to one store, nor less than it needs. */
START_TEST(memory_is_shared)
{
    struct place p;
    place_init(&p);
    struct cp_data_dir dir;
    ck_assert_int_eq(cp_data_dir_init(&dir, p.data, 1, (size_t)1 << 30, NULL, NULL), 0);
    ck_assert_uint_eq(dir.stores[0].memory_bytes, (size_t)320 << 20);
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(cp_data_dir_init(&dir, p.data, 16, (size_t)1 << 30, NULL, NULL), 0);
    ck_assert_uint_eq(dir.stores[15].memory_bytes, (size_t)64 << 20);
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(cp_data_dir_init(&dir, p.data, 256, (size_t)1 << 30, NULL, NULL), 0);
    ck_assert_uint_eq(dir.stores[0].memory_bytes, (size_t)16 << 20);
    cp_data_dir_deinit(&dir);
    place_deinit(&p);
}
END_TEST

START_TEST(a_region_is_told_by_its_mark)
{
    struct place p;
    place_init(&p);
    struct cp_data_dir first, second;
    struct sy_error_text error = {0};
    ck_assert_msg(cp_data_dir_init(&first, p.data, 2, MEMORY, "eu", &error) == 0, "%s", error.text);
    ck_assert_msg(mark(&first, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(strlen(first.storage.identity), CP_IDENTITY_SIZE - 1);
    ck_assert(access(first.paths[0], F_OK) == 0 && access(first.paths[1], F_OK) == 0);
    ck_assert_int_eq(rmdir(first.paths[1]), 0);
    ck_assert_int_eq(cp_data_dir_init(&second, p.data, 2, MEMORY, "eu", &error), 0);
    ck_assert_str_eq(second.storage.identity, first.storage.identity);
    ck_assert_int_ne(access(first.paths[1], F_OK), 0); /* it was lost, and is not made again */
    cp_data_dir_deinit(&first);
    cp_data_dir_deinit(&second);
    refused(&p, "us", -EPERM, "is of region eu, this shard is configured for us");
    refused(&p, NULL, -EPERM, "coordination: etcd");
    place_deinit(&p);
}
END_TEST

/* Who finds that the region is another leaves what it was given as it is. */
START_TEST(nothing_is_made_before_it_is_the_regions)
{
    struct place p;
    place_init(&p);
    struct cp_data_dir dir;
    ck_assert_int_eq(cp_data_dir_init(&dir, p.data, 2, MEMORY, "eu", NULL), 0);
    ck_assert_str_eq(cp_data_dir_storage(&dir)->identity, "");
    ck_assert_int_ne(access(p.data, F_OK), 0);
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(sy_mkdir_p(p.data, 0700), 0);
    ck_assert_int_eq(cp_data_dir_init(&dir, p.data, 2, MEMORY, "eu", NULL), 0);
    cp_data_dir_deinit(&dir);
    ck_assert_int_eq(rmdir(p.data), 0); /* it is empty still */
    place_deinit(&p);
}
END_TEST

/* Of two regions that begin in it at one time, the second is told. */
START_TEST(what_another_region_has_marked_meanwhile_is_refused)
{
    struct place p;
    place_init(&p);
    struct cp_data_dir eu, us;
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_data_dir_init(&eu, p.data, 2, MEMORY, "eu", NULL), 0);
    ck_assert_int_eq(cp_data_dir_init(&us, p.data, 2, MEMORY, "us", NULL), 0);
    ck_assert_int_eq(mark(&eu, NULL), 0);
    ck_assert_int_eq(mark(&us, &error), -EPERM);
    ck_assert_ptr_nonnull(strstr(error.text, "is of region eu, this shard is configured for us"));
    ck_assert_str_eq(us.storage.identity, "");
    cp_data_dir_deinit(&eu);
    cp_data_dir_deinit(&us);
    place_deinit(&p);
}
END_TEST

START_TEST(what_is_to_be_restored_is_not_begun_anew)
{
    struct place p;
    place_init(&p);
    struct cp_data_dir first, second;
    ck_assert_int_eq(cp_data_dir_init_to_restore(&first, p.data, 2, "eu", NULL), 0);
    ck_assert_int_ne(access(first.paths[0], F_OK), 0);
    ck_assert_int_eq(sy_mkdir_p(first.paths[0], 0700), 0); /* it is restored, the other is not */
    ck_assert_int_eq(cp_data_dir_init(&second, p.data, 2, MEMORY, "eu", NULL), 0);
    ck_assert_str_eq(first.storage.identity, second.storage.identity);
    ck_assert_int_ne(access(first.paths[1], F_OK), 0);
    cp_data_dir_deinit(&second);
    cp_data_dir_deinit(&first);
    place_deinit(&p);
}
END_TEST

START_TEST(other_storage_has_another_identity)
{
    struct place p, q;
    place_init(&p);
    place_init(&q);
    struct cp_data_dir first, second;
    ck_assert_int_eq(cp_data_dir_init(&first, p.data, 1, MEMORY, "eu", NULL), 0);
    ck_assert_int_eq(cp_data_dir_init(&second, q.data, 1, MEMORY, "eu", NULL), 0);
    ck_assert_int_eq(mark(&first, NULL), 0);
    ck_assert_int_eq(mark(&second, NULL), 0);
    ck_assert_str_ne(first.storage.identity, second.storage.identity);
    cp_data_dir_deinit(&first);
    cp_data_dir_deinit(&second);
    place_deinit(&p);
    place_deinit(&q);
}
END_TEST

START_TEST(a_damaged_mark_is_refused)
{
    static const char *const bad[] = {"", "eu\n", "eu 12\n",
                                      "eu 0123456789abcdef0123456789abcdeX\n",
                                      "eu 0123456789abcdef0123456789abcdef and more\n"};
    struct place p;
    place_init(&p);
    struct cp_data_dir dir;
    ck_assert_int_eq(cp_data_dir_init(&dir, p.data, 1, MEMORY, "eu", NULL), 0);
    ck_assert_int_eq(mark(&dir, NULL), 0);
    cp_data_dir_deinit(&dir);
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        write_mark(&p, bad[i]);
        refused(&p, "eu", -EBADMSG, "damaged");
        refused(&p, NULL, -EBADMSG, "damaged");
    }
    write_mark(&p, "eu 0123456789abcdef0123456789abcdef\n");
    ck_assert_int_eq(cp_data_dir_init(&dir, p.data, 1, MEMORY, "eu", NULL), 0);
    ck_assert_str_eq(dir.storage.identity, "0123456789abcdef0123456789abcdef");
    cp_data_dir_deinit(&dir);
    place_deinit(&p);
}
END_TEST

struct starter {
    pthread_t thread;
    const struct place *place;
    struct cp_data_dir dir;
    int result;
};

static void *start(void *arg)
{
    struct starter *s = arg;
    struct sy_error_text error;
    s->result = cp_data_dir_init(&s->dir, s->place->data, 1, MEMORY, "eu", &error);
    if (s->result == 0 && cp_data_dir_storage(&s->dir)->identity[0] == '\0')
        s->result = mark(&s->dir, &error);
    return NULL;
}

START_TEST(shards_that_start_together_agree)
{
    struct starter starters[8] = {0};
    struct place p;
    place_init(&p);
    for (size_t i = 0; i < SY_COUNT_OF(starters); i++) {
        starters[i].place = &p;
        ck_assert_int_eq(pthread_create(&starters[i].thread, NULL, start, &starters[i]), 0);
    }
    for (size_t i = 0; i < SY_COUNT_OF(starters); i++)
        pthread_join(starters[i].thread, NULL);
    for (size_t i = 0; i < SY_COUNT_OF(starters); i++) {
        ck_assert_int_eq(starters[i].result, 0);
        ck_assert_str_eq(starters[i].dir.storage.identity, starters[0].dir.storage.identity);
    }
    for (size_t i = 0; i < SY_COUNT_OF(starters); i++)
        cp_data_dir_deinit(&starters[i].dir);
    place_deinit(&p);
}
END_TEST

START_TEST(what_is_no_directory_is_refused)
{
    struct place p;
    place_init(&p);
    FILE *file = fopen(p.data, "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    refused(&p, "eu", -ENOTDIR, p.data);
    refused(&p, NULL, -ENOTDIR, p.data);
    place_deinit(&p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {one_shard_has_it_for_itself,
                                  memory_is_shared,
                                  a_region_is_told_by_its_mark,
                                  nothing_is_made_before_it_is_the_regions,
                                  what_another_region_has_marked_meanwhile_is_refused,
                                  what_is_to_be_restored_is_not_begun_anew,
                                  other_storage_has_another_identity,
                                  a_damaged_mark_is_refused,
                                  shards_that_start_together_agree,
                                  what_is_no_directory_is_refused,
                                  NULL};
    return sy_test_run("data_dir", tests);
}
