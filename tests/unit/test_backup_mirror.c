/* links: cp */
/* A directory of backups, copied to blob storage and back. */
#include "base/file.h"
#include "base/mem.h"
#include "controlplane/backup_mirror.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bed {
    char root[64];
    struct sy_loop *loop;
    struct sy_blobs *blobs;
};

struct answer {
    bool ended;
    int r;
    char text[256];
};

static const char *in(const struct bed *bed, const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", bed->root, name);
    return path;
}

static void write_file(const struct bed *bed, const char *name, const char *content)
{
    char parent[256];
    snprintf(parent, sizeof(parent), "%s", in(bed, name));
    *strrchr(parent, '/') = '\0';
    ck_assert_int_eq(sy_mkdir_p(parent, 0700), 0);
    ck_assert_int_eq(sy_file_write_atomic(in(bed, name), content, strlen(content)), 0);
}

static void check_file(const struct bed *bed, const char *name, const char *content)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf got = {0};
    int r = sy_file_read(in(bed, name), 1000, &got);
    if (content == NULL) {
        ck_assert_int_eq(r, -ENOENT);
        return;
    }
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(got.len, strlen(content));
    ck_assert_mem_eq(got.data, content, got.len);
}

/* Backups 1 and 2, which share a table. */
static void bed_init(struct bed *bed)
{
    *bed = (struct bed){.root = "/tmp/switchyard-mirror-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(bed->root));
    ck_assert_int_eq(sy_loop_new(&bed->loop, NULL), 0);
    struct sy_error_text error = {0};
    struct sy_blob_options options = {.root = in(bed, "bucket")};
    ck_assert_int_eq(sy_blobs_new(&bed->blobs, bed->loop, &options, &error), 0);
    write_file(bed, "dir/meta/1", "17\n5\n2\nshared/1.sst crc32 1\nprivate/1/CURRENT crc32 2\n");
    write_file(bed, "dir/meta/2",
               "18\n6\n3\nshared/1.sst crc32 1\nshared/2.sst crc32 3\n"
               "private/2/CURRENT crc32 2");
    write_file(bed, "dir/shared/1.sst", "one");
    write_file(bed, "dir/shared/2.sst", "two");
    write_file(bed, "dir/private/1/CURRENT", "first");
    write_file(bed, "dir/private/2/CURRENT", "second");
}

static void bed_deinit(struct bed *bed)
{
    sy_blobs_free(bed->blobs);
    sy_loop_free(bed->loop);
    sy_remove_tree(bed->root);
}

static void on_done(void *ctx, int r, const struct sy_error_text *error)
{
    struct answer *answer = ctx;
    ck_assert(!answer->ended);
    answer->ended = true;
    answer->r = r;
    ck_assert((r < 0) == (error != NULL));
    snprintf(answer->text, sizeof(answer->text), "%s", error != NULL ? error->text : "");
}

static void wait_for(struct bed *bed, const struct answer *answer)
{
    for (unsigned i = 0; i < 1000000 && !answer->ended; i++) {
        sy_loop_turn(bed->loop);
        if (!answer->ended)
            usleep(50);
    }
    ck_assert(answer->ended);
}

static struct answer up(struct bed *bed, uint32_t id)
{
    struct answer answer = {0};
    struct cp_mirror *mirror;
    cp_mirror_up(&mirror, bed->blobs, in(bed, "dir"), "partition-0/a", id, on_done, &answer);
    wait_for(bed, &answer);
    cp_mirror_free(mirror);
    return answer;
}

static struct answer down(struct bed *bed, uint32_t id, const char *name, uint32_t expected)
{
    struct answer answer = {0};
    struct cp_mirror *mirror;
    cp_mirror_down(&mirror, bed->blobs, "partition-0/a", id, in(bed, name), on_done, &answer);
    wait_for(bed, &answer);
    if (answer.r == 0)
        ck_assert_uint_eq(cp_mirror_id(mirror), expected);
    cp_mirror_free(mirror);
    return answer;
}

START_TEST(a_backup_comes_back_as_it_went)
{
    struct bed bed;
    bed_init(&bed);
    ck_assert_int_eq(up(&bed, 1).r, 0);
    ck_assert_int_eq(up(&bed, 2).r, 0);
    check_file(&bed, "dir/shared/1.sst", "one"); /* it stays here too */
    ck_assert_int_eq(down(&bed, 0, "newest", 2).r, 0);
    check_file(&bed, "newest/shared/1.sst", "one");
    check_file(&bed, "newest/shared/2.sst", "two");
    check_file(&bed, "newest/private/2/CURRENT", "second");
    check_file(&bed, "newest/private/1/CURRENT", NULL);
    check_file(&bed, "newest/meta/1", NULL); /* else an engine would look for its files */
    ck_assert_int_eq(down(&bed, 1, "oldest", 1).r, 0);
    check_file(&bed, "oldest/shared/1.sst", "one");
    check_file(&bed, "oldest/private/1/CURRENT", "first");
    check_file(&bed, "oldest/shared/2.sst", NULL);
    bed_deinit(&bed);
}
END_TEST

static int64_t changed_ns(const struct bed *bed, const char *name)
{
    struct stat info;
    ck_assert_int_eq(stat(in(bed, name), &info), 0);
    return info.st_ctim.tv_sec * SY_NS_PER_S + info.st_ctim.tv_nsec;
}

START_TEST(what_is_there_is_not_sent_again)
{
    struct bed bed;
    bed_init(&bed);
    ck_assert_int_eq(up(&bed, 1).r, 0);
    int64_t first_ns = changed_ns(&bed, "bucket/partition-0/a/shared/1.sst");
    write_file(&bed, "bucket/partition-0/a/shared/2.sst", "t"); /* of one that was cut off */
    usleep(20000);
    ck_assert_int_eq(up(&bed, 2).r, 0);
    ck_assert_int_eq(changed_ns(&bed, "bucket/partition-0/a/shared/1.sst"), first_ns);
    check_file(&bed, "bucket/partition-0/a/shared/2.sst", "two");
    bed_deinit(&bed);
}
END_TEST

static uint32_t found(struct bed *bed)
{
    struct answer answer = {0};
    struct cp_mirror *mirror;
    cp_mirror_find(&mirror, bed->blobs, "partition-0/a", on_done, &answer);
    wait_for(bed, &answer);
    ck_assert_int_eq(answer.r, 0);
    uint32_t id = cp_mirror_id(mirror);
    cp_mirror_free(mirror);
    return id;
}

START_TEST(the_newest_is_found)
{
    struct bed bed;
    bed_init(&bed);
    ck_assert_uint_eq(found(&bed), 0);
    ck_assert_int_eq(up(&bed, 2).r, 0);
    ck_assert_uint_eq(found(&bed), 2);
    bed_deinit(&bed);
}
END_TEST

/* The directory was lost after a backup of that number had been sent in part. */
START_TEST(what_is_no_table_is_sent_even_if_one_of_its_size_is_there)
{
    struct bed bed;
    bed_init(&bed);
    write_file(&bed, "bucket/partition-0/a/private/1/CURRENT", "other");
    write_file(&bed, "bucket/partition-0/a/meta/1", "other");
    ck_assert_int_eq(up(&bed, 1).r, 0);
    ck_assert_int_eq(down(&bed, 0, "back", 1).r, 0);
    check_file(&bed, "back/private/1/CURRENT", "first");
    bed_deinit(&bed);
}
END_TEST

START_TEST(latest_names_what_is_complete)
{
    struct bed bed;
    bed_init(&bed);
    ck_assert_int_eq(up(&bed, 1).r, 0);
    ck_assert_int_eq(unlink(in(&bed, "dir/private/2/CURRENT")), 0);
    struct answer answer = up(&bed, 2);
    ck_assert_int_eq(answer.r, -ENOENT);
    ck_assert_ptr_nonnull(strstr(answer.text, "private/2/CURRENT"));
    check_file(&bed, "bucket/partition-0/a/meta/2", NULL);
    ck_assert_int_eq(down(&bed, 0, "newest", 1).r, 0);
    bed_deinit(&bed);
}
END_TEST

START_TEST(nonsense_in_the_storage_is_refused)
{
    struct bed bed;
    bed_init(&bed);
    ck_assert_int_eq(down(&bed, 0, "back", 0).r, -ENOENT);
    ck_assert_int_eq(up(&bed, 1).r, 0);
    ck_assert_int_eq(down(&bed, 7, "back", 0).r, -ENOENT);
    write_file(&bed, "bucket/partition-0/a/latest", "no number");
    ck_assert_int_eq(down(&bed, 0, "back", 0).r, -EBADMSG);
    write_file(&bed, "bucket/partition-0/a/latest", "");
    ck_assert_int_eq(down(&bed, 0, "back", 0).r, -EBADMSG);
    write_file(&bed, "bucket/partition-0/a/latest", "1, and far too long to be one");
    ck_assert_int_eq(down(&bed, 0, "back", 0).r, -EFBIG);
    write_file(&bed, "bucket/partition-0/a/meta/1", "../../../evil crc32 1\n");
    ck_assert_int_eq(down(&bed, 1, "out", 0).r, -EBADMSG);
    ck_assert_int_eq(up(&bed, 3).r, -ENOENT); /* no such backup here */
    bed_deinit(&bed);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_backup_comes_back_as_it_went,
                                  what_is_there_is_not_sent_again,
                                  the_newest_is_found,
                                  what_is_no_table_is_sent_even_if_one_of_its_size_is_there,
                                  latest_names_what_is_complete,
                                  nonsense_in_the_storage_is_refused,
                                  NULL};
    return sy_test_run("backup_mirror", tests);
}
