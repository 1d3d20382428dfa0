/* links: cp */
/* Backups of a store while it is written to, and what can be made of them. */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/restore.h"
#include "controlplane/rows.h"
#include "tests/lib/test.h"

#include "switchyard/internal/store.pb-c.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROW_BYTES 1000

struct bed {
    char root[64];
    struct sy_loop *loop;
    struct cp_store *store;
    struct sy_rng rng;
};

static const char *in(const struct bed *bed, const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", bed->root, name);
    return path;
}

static void open_store(struct bed *bed, const char *name)
{
    struct sy_error_text error = {0};
    int r = cp_store_rocksdb_open(&bed->store, in(bed, name), 0, bed->loop, NULL, &error);
    ck_assert_msg(r == 0, "%s", error.text);
}

static void bed_init(struct bed *bed)
{
    *bed = (struct bed){.root = "/tmp/switchyard-backup-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(bed->root));
    ck_assert_int_eq(sy_loop_new(&bed->loop, NULL), 0);
    sy_rng_init(&bed->rng, 1);
    open_store(bed, "store");
}

static void bed_deinit(struct bed *bed)
{
    cp_store_close(bed->store);
    sy_loop_free(bed->loop);
    sy_remove_tree(bed->root);
}

static void on_done(void *ctx, int error)
{
    ck_assert_int_eq(error, 0);
    *(bool *)ctx = true;
}

/* Rows of chance, so that nothing packs them, under numbers from `first` on. */
static void put(struct bed *bed, uint32_t first, uint32_t count)
{
    bool done = false;
    struct cp_batch *batch = cp_batch_new(bed->store);
    for (uint32_t i = first; i < first + count; i++) {
        char key[16];
        uint8_t row[ROW_BYTES];
        int len = snprintf(key, sizeof(key), "%08u", i);
        for (size_t k = 0; k < sizeof(row); k++)
            row[k] = (uint8_t)sy_rng_u64(&bed->rng);
        cp_batch_put(batch, i % 2 ? CP_FAMILY_RUNS : CP_FAMILY_ACTIONS,
                     (struct sy_span){(const uint8_t *)key, (size_t)len},
                     (struct sy_span){row, sizeof(row)});
    }
    cp_store_commit(bed->store, batch, on_done, &done);
    while (!done) {
        sy_loop_turn(bed->loop);
        usleep(50);
    }
}

static uint32_t rows_of(struct cp_store *store, enum cp_family family)
{
    uint32_t count = 0;
    struct cp_iter *iter = cp_iter_new(store, family, (struct sy_span){NULL, 0},
                                       (struct sy_span){NULL, 0}, false);
    for (; cp_iter_valid(iter); cp_iter_next(iter))
        count++;
    ck_assert_int_eq(cp_iter_error(iter), 0);
    cp_iter_free(iter);
    return count;
}

static uint32_t rows(const struct bed *bed)
{
    return rows_of(bed->store, CP_FAMILY_RUNS) + rows_of(bed->store, CP_FAMILY_ACTIONS);
}

static uint64_t disk_bytes(const char *path)
{
    struct stat info;
    ck_assert_int_eq(lstat(path, &info), 0);
    uint64_t bytes = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    DIR *dir = S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char child[512];
        snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            bytes += disk_bytes(child);
    }
    if (dir != NULL)
        closedir(dir);
    return bytes;
}

static int add_from(const struct bed *bed, struct cp_store_source *source, uint32_t keep,
                    struct cp_backup_info *ret, struct sy_error_text *error)
{
    return cp_backup_add(in(bed, "backups"), source, 0, keep, ret, error);
}

static struct cp_backup_info add(const struct bed *bed, uint32_t keep)
{
    struct cp_backup_info info = {0};
    struct sy_error_text error = {0};
    struct cp_store_source *source = cp_store_source(bed->store);
    int r = add_from(bed, source, keep, &info, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    cp_store_source_free(source);
    ck_assert_int_eq(access(in(bed, "store.backup"), F_OK), -1);
    return info;
}

/* Opens what a backup gives back, in place of the store. */
static void restore(struct bed *bed, uint32_t id, const char *name)
{
    struct sy_error_text error = {0};
    int r = cp_backup_restore(in(bed, "backups"), id, in(bed, name), &error);
    ck_assert_msg(r == 0, "%s", error.text);
    cp_store_close(sy_take(bed->store));
    open_store(bed, name);
}

START_TEST(each_backup_holds_what_was_committed_before_it)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 3000);
    struct cp_backup_info first = add(&bed, 5);
    put(&bed, 3000, 10);
    struct cp_backup_info second = add(&bed, 5);
    put(&bed, 4000, 10); /* in none */
    ck_assert_uint_eq(first.id, 1);
    ck_assert_uint_eq(second.id, 2);
    ck_assert_uint_gt(first.files, 0);
    ck_assert_int_gt(first.taken_s, 0);
    restore(&bed, 0, "newest");
    ck_assert_uint_eq(rows(&bed), 3010);
    put(&bed, 5000, 10); /* it is a store like any other */
    restore(&bed, 1, "oldest");
    ck_assert_uint_eq(rows(&bed), 3000);
    bed_deinit(&bed);
}
END_TEST

START_TEST(a_second_backup_costs_what_is_new)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 5000);
    add(&bed, 5);
    uint64_t before = disk_bytes(in(&bed, "backups"));
    ck_assert_uint_gt(before, 5000 * ROW_BYTES);
    put(&bed, 5000, 100);
    struct cp_backup_info info = add(&bed, 5);
    uint64_t grown = disk_bytes(in(&bed, "backups")) - before;
    ck_assert_uint_gt(grown, 100 * ROW_BYTES);
    ck_assert_uint_lt(grown, before / 10);
    ck_assert_uint_gt(info.bytes, before * 9 / 10); /* it is whole all the same */
    bed_deinit(&bed);
}
END_TEST

START_TEST(numbers_go_on_after_those_that_are_kept_elsewhere)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 10);
    for (uint32_t i = 0; i < 3; i++) {
        static const uint32_t after[] = {41, 42, 7};
        struct cp_backup_info info = {0}, *infos;
        struct sy_error_text error = {0};
        size_t count;
        struct cp_store_source *source = cp_store_source(bed.store);
        int r = cp_backup_add(in(&bed, "backups"), source, after[i], 2, &info, &error);
        ck_assert_msg(r == 0, "%s", error.text);
        cp_store_source_free(source);
        ck_assert_uint_eq(info.id, 42 + i);
        ck_assert_int_eq(cp_backup_list(in(&bed, "backups"), &infos, &count, &error), 0);
        ck_assert_uint_eq(count, i == 0 ? 1 : 2);
        ck_assert_uint_eq(infos[count - 1].id, info.id);
        free(infos);
    }
    restore(&bed, 43, "older");
    restore(&bed, 0, "newest");
    ck_assert_uint_eq(rows(&bed), 10);
    bed_deinit(&bed);
}
END_TEST

START_TEST(the_oldest_are_forgotten)
{
    struct bed bed;
    bed_init(&bed);
    for (uint32_t i = 0; i < 4; i++) {
        put(&bed, i, 1);
        add(&bed, 2);
    }
    struct cp_backup_info *infos;
    size_t count;
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_backup_list(in(&bed, "backups"), &infos, &count, &error), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(infos[0].id, 3);
    ck_assert_uint_eq(infos[1].id, 4);
    free(infos);
    ck_assert_int_eq(cp_backup_restore(in(&bed, "backups"), 1, in(&bed, "back"), &error), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "no backup 1; the newest is 4"));
    restore(&bed, 3, "back");
    ck_assert_uint_eq(rows(&bed), 3);
    bed_deinit(&bed);
}
END_TEST

struct backing {
    const struct bed *bed;
    struct cp_store_source *source;
    struct cp_backup_info info;
    struct sy_error_text error;
    int r;
};

static void *back_up(void *arg)
{
    struct backing *backing = arg;
    backing->r = add_from(backing->bed, backing->source, 5, &backing->info, &backing->error);
    return NULL;
}

/* What is acknowledged before it begins is in it, and batches are in it whole or not at all. */
START_TEST(a_store_is_written_to_while_it_is_backed_up)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 2000);
    struct backing backing = {.bed = &bed, .source = cp_store_source(bed.store)};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, back_up, &backing), 0);
    for (uint32_t i = 1; i <= 200; i++)
        put(&bed, i * 10000, 10);
    pthread_join(thread, NULL);
    cp_store_source_free(backing.source);
    ck_assert_msg(backing.r == 0, "%s", backing.error.text);
    restore(&bed, 0, "back");
    uint32_t count = rows(&bed);
    ck_assert_uint_ge(count, 2000);
    ck_assert_uint_eq(count % 10, 0);
    bed_deinit(&bed);
}
END_TEST

START_TEST(a_closed_store_is_not_backed_up)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 10);
    struct cp_store_source *source = cp_store_source(bed.store);
    cp_store_close(sy_take(bed.store));
    struct cp_backup_info info;
    struct sy_error_text error = {0};
    ck_assert_int_eq(add_from(&bed, source, 5, &info, &error), -ECANCELED);
    ck_assert_str_eq(error.text, "the store was closed");
    cp_store_source_free(source);
    ck_assert_int_eq(cp_backup_restore(in(&bed, "backups"), 0, in(&bed, "back"), &error), -ENOENT);
    ck_assert_int_eq(access(in(&bed, "back"), F_OK), -1);
    bed_deinit(&bed);
}
END_TEST

START_TEST(a_directory_without_a_complete_backup_holds_none)
{
    struct bed bed;
    bed_init(&bed);
    struct sy_error_text error = {0};
    ck_assert_int_eq(sy_mkdir_p(in(&bed, "backups/meta"), 0700), 0);
    ck_assert_int_eq(cp_backup_restore(in(&bed, "backups"), 0, in(&bed, "back"), &error), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "holds no complete backup"));
    bed_deinit(&bed);
}
END_TEST

static atomic_bool holds_links, is_held;

/* RocksDB's links come here, too: a checkpoint that is held stays where it makes them. */
int link(const char *from, const char *to)
{
    while (atomic_load(&holds_links)) {
        atomic_store(&is_held, true);
        usleep(50);
    }
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

static void *checkpoint(void *arg)
{
    struct backing *backing = arg;
    backing->r = cp_store_checkpoint(backing->source, in(backing->bed, "checkpoint"),
                                     &backing->error);
    return NULL;
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

START_TEST(the_loop_does_not_wait_for_a_checkpoint)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 10);
    struct backing backing = {.bed = &bed, .source = cp_store_source(bed.store)};
    atomic_store(&holds_links, true);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, checkpoint, &backing), 0);
    while (!atomic_load(&is_held))
        usleep(50);
    struct cp_store_source *other = cp_store_source(bed.store);
    bool closed = false;
    ck_assert(!cp_store_close_begin(sy_take(bed.store), on_closed, &closed));
    cp_store_source_free(other);
    for (unsigned i = 0; i < 200; i++) {
        sy_loop_turn(bed.loop);
        usleep(50);
    }
    ck_assert(!closed);
    atomic_store(&holds_links, false);
    while (!closed) {
        sy_loop_turn(bed.loop);
        usleep(50);
    }
    pthread_join(thread, NULL);
    ck_assert_msg(backing.r == 0, "%s", backing.error.text);
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_store_checkpoint(backing.source, in(&bed, "late"), &error), -ECANCELED);
    cp_store_source_free(backing.source);
    open_store(&bed, "checkpoint");
    ck_assert_uint_eq(rows(&bed), 10);
    bed_deinit(&bed);
}
END_TEST

START_TEST(what_is_left_of_a_killed_backup_is_removed)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 10);
    struct sy_error_text error = {0};
    struct cp_store_source *source = cp_store_source(bed.store);
    ck_assert_int_eq(cp_store_checkpoint(source, in(&bed, "store.backup"), &error), 0);
    ck_assert_int_eq(cp_store_checkpoint(source, in(&bed, "store.backup"), &error), -EEXIST);
    cp_store_source_free(source);
    add(&bed, 5);
    restore(&bed, 0, "back");
    ck_assert_uint_eq(rows(&bed), 10);
    bed_deinit(&bed);
}
END_TEST

/* One byte in the middle of the largest file. */
static void damage(const char *dir, char *ret_path, uint64_t *ret_size)
{
    DIR *found = opendir(dir);
    ck_assert_ptr_nonnull(found);
    for (const struct dirent *entry; (entry = readdir(found)) != NULL;) {
        char path[512];
        struct stat info;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        ck_assert_int_eq(lstat(path, &info), 0);
        if (entry->d_name[0] != '.' && (uint64_t)info.st_size > *ret_size) {
            *ret_size = (uint64_t)info.st_size;
            snprintf(ret_path, 512, "%s", path);
        }
    }
    closedir(found);
}

START_TEST(what_is_damaged_is_refused)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 1000);
    add(&bed, 5);
    struct sy_error_text error = {0};
    char path[512] = "";
    uint64_t size = 0;
    damage(in(&bed, "backups/shared_checksum"), path, &size);
    ck_assert_int_eq(truncate(path, (off_t)size - 1), 0);
    ck_assert_int_lt(cp_backup_restore(in(&bed, "backups"), 0, in(&bed, "back"), &error), 0);
    ck_assert_int_eq(access(in(&bed, "back"), F_OK), -1);
    ck_assert_int_eq(truncate(path, (off_t)size), 0); /* as long, its last byte another */
    ck_assert_int_lt(cp_backup_restore(in(&bed, "backups"), 0, in(&bed, "back"), &error), 0);
    ck_assert_int_eq(access(in(&bed, "back"), F_OK), -1);
    bed_deinit(&bed);
}
END_TEST

/* ---- a partition's ---- */

static void put_meta(struct bed *bed, uint32_t format, uint32_t partition, uint32_t epoch)
{
    Switchyard__Internal__Store__Meta meta = SWITCHYARD__INTERNAL__STORE__META__INIT;
    meta.format = format;
    meta.partition = partition;
    meta.epoch = epoch;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf row = {0};
    cp_row_pack(&row, &meta.base);
    struct cp_key key = cp_key_meta();
    bool done = false;
    struct cp_batch *batch = cp_batch_new(bed->store);
    cp_batch_put(batch, CP_FAMILY_META, cp_key_span(&key), sy_buf_span(&row));
    cp_store_commit(bed->store, batch, on_done, &done);
    while (!done) {
        sy_loop_turn(bed->loop);
        usleep(50);
    }
}

static uint32_t epoch_of(const struct bed *bed)
{
    struct sy_arena arena;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf scratch = {0};
    Switchyard__Internal__Store__Meta *meta = NULL;
    struct cp_key key = cp_key_meta();
    sy_arena_init(&arena, 65536);
    ck_assert_int_eq(cp_row_get(bed->store, CP_FAMILY_META, &key,
                                &switchyard__internal__store__meta__descriptor, &arena, &scratch,
                                (void *)&meta),
                     0);
    uint32_t epoch = meta->epoch;
    sy_arena_deinit(&arena);
    return epoch;
}

static int restore_partition(const struct bed *bed, uint32_t partition, const char *name,
                             struct sy_error_text *error)
{
    uint32_t epoch = 0;
    return cp_restore(in(bed, "backups"), 0, in(bed, name), partition, &epoch, error);
}

START_TEST(a_restored_partition_is_above_all_epochs_that_others_heard)
{
    struct bed bed;
    bed_init(&bed);
    put(&bed, 0, 100);
    put_meta(&bed, CP_FORMAT, 3, 17);
    add(&bed, 5);
    struct sy_error_text error = {0};
    ck_assert_int_eq(sy_mkdir_p(in(&bed, "back"), 0700), 0); /* empty: as if it were not */
    int r = restore_partition(&bed, 3, "back", &error);
    ck_assert_msg(r == 0, "%s", error.text);
    cp_store_close(sy_take(bed.store));
    open_store(&bed, "back");
    ck_assert_uint_eq(epoch_of(&bed), 17 + CP_RESTORE_EPOCHS);
    ck_assert_uint_eq(rows(&bed), 100);
    ck_assert_int_eq(access(in(&bed, "back.restored"), F_OK), -1);
    uint32_t epoch = 17 + CP_RESTORE_EPOCHS; /* once more, after what was heard since */
    r = cp_restore(in(&bed, "backups"), 0, in(&bed, "again"), 3, &epoch, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    ck_assert_uint_eq(epoch, 17 + 2 * CP_RESTORE_EPOCHS);
    cp_store_close(sy_take(bed.store));
    open_store(&bed, "again");
    ck_assert_uint_eq(epoch_of(&bed), epoch);
    bed_deinit(&bed);
}
END_TEST

static void refused(struct bed *bed, uint32_t partition, const char *name, int expected,
                    const char *sentence)
{
    struct sy_error_text error = {0};
    ck_assert_int_eq(restore_partition(bed, partition, name, &error), expected);
    ck_assert_msg(strstr(error.text, sentence) != NULL, "%s", error.text);
    ck_assert_int_eq(access(in(bed, "back.restored"), F_OK), -1);
    ck_assert_int_eq(access(in(bed, "back"), F_OK), -1);
}

START_TEST(what_cannot_be_a_partition_is_not_restored)
{
    struct bed bed;
    bed_init(&bed);
    refused(&bed, 3, "back", -ENOENT, "holds no backups");
    put(&bed, 0, 10);
    add(&bed, 5);
    refused(&bed, 3, "back", -EBADMSG, "holds no partition");
    put_meta(&bed, CP_FORMAT + 1, 3, 17);
    add(&bed, 5);
    refused(&bed, 3, "back", -EBADMSG, "the backup has format 2, this program reads format 1");
    put_meta(&bed, CP_FORMAT, 3, 17);
    add(&bed, 5);
    refused(&bed, 4, "back", -EBADMSG, "the backup is of partition 3, not 4");
    refused(&bed, 3, "store", -EEXIST, "store is not empty");
    ck_assert_uint_eq(rows(&bed), 10);
    bed_deinit(&bed);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {each_backup_holds_what_was_committed_before_it,
                                  a_second_backup_costs_what_is_new,
                                  numbers_go_on_after_those_that_are_kept_elsewhere,
                                  the_oldest_are_forgotten,
                                  a_store_is_written_to_while_it_is_backed_up,
                                  a_closed_store_is_not_backed_up,
                                  a_directory_without_a_complete_backup_holds_none,
                                  the_loop_does_not_wait_for_a_checkpoint,
                                  what_is_left_of_a_killed_backup_is_removed,
                                  what_is_damaged_is_refused,
                                  a_restored_partition_is_above_all_epochs_that_others_heard,
                                  what_cannot_be_a_partition_is_not_restored,
                                  NULL};
    return sy_test_run("store_backup", tests);
}
