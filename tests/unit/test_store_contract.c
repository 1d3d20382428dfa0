/* links: cp */
/* What both stores promise (controlplane/store.h). The RocksDB store is also killed, filled up and
 * damaged, in child processes: this program started again with a mode and a directory. */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/store.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- a store of either kind ---- */

struct bed {
    bool rocksdb;
    struct sy_loop *loop;
    struct cp_mem_disk *disk;
    char path[64];
    struct cp_store *store;
};

static void bed_open(struct bed *bed)
{
    struct sy_error_text error = {0};
    int r = bed->rocksdb ? cp_store_rocksdb_open(&bed->store, bed->path, 0, bed->loop, NULL, &error)
                         : cp_store_mem_open(&bed->store, bed->disk, 0, bed->loop, NULL, &error);
    ck_assert_msg(r == 0, "open: %d %s", r, error.text);
}

static void bed_close(struct bed *bed)
{
    cp_store_close(bed->store);
    bed->store = NULL;
}

static void bed_init(struct bed *bed, bool rocksdb)
{
    *bed = (struct bed){.rocksdb = rocksdb};
    ck_assert_int_eq(sy_loop_new(&bed->loop, NULL), 0);
    if (rocksdb) {
        snprintf(bed->path, sizeof(bed->path), "/tmp/switchyard-store-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(bed->path));
    } else {
        bed->disk = cp_mem_disk_new();
    }
    bed_open(bed);
}

static void bed_deinit(struct bed *bed)
{
    cp_store_close(bed->store);
    cp_mem_disk_free(bed->disk);
    sy_loop_free(bed->loop);
    if (bed->path[0])
        sy_remove_tree(bed->path);
}

static struct sy_span text(const char *s)
{
    return (struct sy_span){(const uint8_t *)s, strlen(s)};
}

struct result {
    int calls, error;
};

static void on_done(void *ctx, int error)
{
    struct result *result = ctx;
    result->calls++;
    result->error = error;
}

/* Also used by child processes, where check's assertions do not work. */
static void wait_for(struct sy_loop *loop, struct result *result)
{
    for (int i = 0; i < 1000000 && result->calls == 0; i++) {
        sy_loop_turn(loop);
        if (result->calls == 0)
            usleep(50);
    }
    SY_ASSERT(result->calls == 1);
}

static int commit(struct bed *bed, struct cp_batch *batch)
{
    struct result result = {0};
    cp_store_commit(bed->store, batch, on_done, &result);
    ck_assert(cp_store_committing(bed->store));
    ck_assert_int_eq(result.calls, 0); /* never inside the call */
    wait_for(bed->loop, &result);
    ck_assert(!cp_store_committing(bed->store));
    return result.error;
}

static void put(struct bed *bed, enum cp_family family, const char *key, const char *value)
{
    struct cp_batch *batch = cp_batch_new(bed->store);
    cp_batch_put(batch, family, text(key), text(value));
    ck_assert_int_eq(commit(bed, batch), 0);
}

static void check_value(struct bed *bed, enum cp_family family, const char *key, const char *value)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf got = {0};
    sy_buf_append_str(&got, "what was there before");
    int r = cp_store_get(bed->store, family, text(key), &got);
    if (!value) {
        ck_assert_int_eq(r, CP_STORE_E_NOT_FOUND);
        return;
    }
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(got.len, strlen(value));
    ck_assert_mem_eq(got.data, value, got.len);
}

/* The keys from here on, joined with spaces. */
static void check_rest(struct cp_iter *iter, const char *expected)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf keys = {0};
    for (; cp_iter_valid(iter); cp_iter_next(iter)) {
        struct sy_span key = cp_iter_key(iter);
        sy_buf_printf(&keys, "%s%.*s", keys.len ? " " : "", (int)key.len, (const char *)key.data);
    }
    sy_buf_append(&keys, "", 1);
    ck_assert_int_eq(cp_iter_error(iter), 0);
    ck_assert_str_eq((const char *)keys.data, expected);
}

static void check_keys(struct bed *bed, const char *from, const char *to, bool reverse,
                       const char *expected)
{
    struct cp_iter *iter = cp_iter_new(bed->store, CP_FAMILY_ACTIONS, text(from), text(to),
                                       reverse);
    check_rest(iter, expected);
    cp_iter_free(iter);
}

static void check_prev(struct bed *bed, const char *from, const char *to, const char *key,
                       const char *expected)
{
    struct cp_iter *iter = cp_iter_new(bed->store, CP_FAMILY_ACTIONS, text(from), text(to), false);
    cp_iter_seek_for_prev(iter, text(key));
    check_rest(iter, expected);
    cp_iter_free(iter);
}

/* ---- the contract ---- */

static void test_get_and_families(bool rocksdb)
{
    struct bed bed;
    bed_init(&bed, rocksdb);
    check_value(&bed, CP_FAMILY_META, "meta", NULL);
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        char value[16];
        snprintf(value, sizeof(value), "in %u", i);
        put(&bed, i, "key", value);
    }
    for (unsigned i = 0; i < CP_FAMILIES; i++) {
        char value[16];
        snprintf(value, sizeof(value), "in %u", i);
        check_value(&bed, i, "key", value);
    }
    put(&bed, CP_FAMILY_LIVE, "empty", "");
    check_value(&bed, CP_FAMILY_LIVE, "empty", "");
    put(&bed, CP_FAMILY_LIVE, "empty", "no more");
    check_value(&bed, CP_FAMILY_LIVE, "empty", "no more");
    check_value(&bed, CP_FAMILY_LIVE, "empt", NULL);
    ck_assert_uint_gt(cp_store_bytes_written(bed.store), 0);
    ck_assert_str_eq(cp_store_error(bed.store), "");
    bed_deinit(&bed);
}

static void test_order(bool rocksdb)
{
    struct bed bed;
    bed_init(&bed, rocksdb);
    check_keys(&bed, "", "", false, "");
    check_keys(&bed, "", "", true, "");
    const char *keys[] = {"b", "d", "bb", "a", "c", "ba", "e"};
    for (size_t i = 0; i < SY_COUNT_OF(keys); i++)
        put(&bed, CP_FAMILY_ACTIONS, keys[i], keys[i]);
    check_keys(&bed, "", "", false, "a b ba bb c d e");
    check_keys(&bed, "", "", true, "e d c bb ba b a");
    check_keys(&bed, "b", "d", false, "b ba bb c");
    check_keys(&bed, "b", "d", true, "c bb ba b");
    check_keys(&bed, "bc", "", false, "c d e");
    check_keys(&bed, "f", "", false, "");
    check_keys(&bed, "", "a", true, "");
    check_prev(&bed, "", "", "bb", "bb c d e");
    check_prev(&bed, "", "", "bbb", "bb c d e");
    check_prev(&bed, "", "", "0", "");
    check_prev(&bed, "b", "d", "zz", "c");
    check_prev(&bed, "b", "d", "a", "");
    check_prev(&bed, "b", "d", "ba", "ba bb c");
    bed_deinit(&bed);
}

/* A batch is there as a whole, in its order, and not before it was committed. */
static void test_batch(bool rocksdb)
{
    struct bed bed;
    bed_init(&bed, rocksdb);
    put(&bed, CP_FAMILY_RUNS, "old", "1");
    struct cp_batch *batch = cp_batch_new(bed.store);
    ck_assert_uint_eq(cp_batch_count(batch), 0);
    cp_batch_put(batch, CP_FAMILY_RUNS, text("new"), text("2"));
    cp_batch_put(batch, CP_FAMILY_ACTIONS, text("twice"), text("first"));
    cp_batch_put(batch, CP_FAMILY_ACTIONS, text("twice"), text("second"));
    cp_batch_put(batch, CP_FAMILY_ACTIONS, text("gone"), text("x"));
    cp_batch_delete(batch, CP_FAMILY_ACTIONS, text("gone"));
    cp_batch_delete(batch, CP_FAMILY_RUNS, text("old"));
    cp_batch_delete(batch, CP_FAMILY_RUNS, text("never there"));
    ck_assert_uint_eq(cp_batch_count(batch), 7);
    ck_assert_uint_gt(cp_batch_bytes(batch), 40);
    check_value(&bed, CP_FAMILY_RUNS, "new", NULL);
    check_value(&bed, CP_FAMILY_RUNS, "old", "1");
    ck_assert_int_eq(commit(&bed, batch), 0);
    check_value(&bed, CP_FAMILY_RUNS, "new", "2");
    check_value(&bed, CP_FAMILY_RUNS, "old", NULL);
    check_value(&bed, CP_FAMILY_ACTIONS, "twice", "second");
    check_value(&bed, CP_FAMILY_ACTIONS, "gone", NULL);

    batch = cp_batch_new(bed.store); /* one that is thrown away */
    ck_assert_uint_eq(cp_batch_count(batch), 0);
    cp_batch_put(batch, CP_FAMILY_RUNS, text("thrown away"), text("3"));
    cp_batch_free(batch);
    batch = cp_batch_new(bed.store);
    cp_batch_put(batch, CP_FAMILY_RUNS, text("after"), text("4"));
    ck_assert_int_eq(commit(&bed, batch), 0);
    check_value(&bed, CP_FAMILY_RUNS, "thrown away", NULL);
    check_value(&bed, CP_FAMILY_RUNS, "after", "4");
    bed_deinit(&bed);
}

/* An iterator sees the store as of its creation. */
static void test_snapshot(bool rocksdb)
{
    struct bed bed;
    bed_init(&bed, rocksdb);
    put(&bed, CP_FAMILY_ACTIONS, "a", "1");
    put(&bed, CP_FAMILY_ACTIONS, "b", "1");
    put(&bed, CP_FAMILY_ACTIONS, "c", "1");
    struct cp_iter *before = cp_iter_new(bed.store, CP_FAMILY_ACTIONS, text(""), text(""), false);
    struct cp_batch *batch = cp_batch_new(bed.store);
    cp_batch_put(batch, CP_FAMILY_ACTIONS, text("aa"), text("new"));
    cp_batch_put(batch, CP_FAMILY_ACTIONS, text("b"), text("2"));
    cp_batch_delete(batch, CP_FAMILY_ACTIONS, text("c"));
    ck_assert_int_eq(commit(&bed, batch), 0);
    struct cp_iter *after = cp_iter_new(bed.store, CP_FAMILY_ACTIONS, text(""), text(""), true);
    put(&bed, CP_FAMILY_ACTIONS, "b", "3");
    ck_assert(cp_iter_valid(before));
    cp_iter_next(before);
    ck_assert_mem_eq(cp_iter_key(before).data, "b", 1);
    ck_assert_mem_eq(cp_iter_value(before).data, "1", 1);
    check_rest(before, "b c");
    ck_assert_mem_eq(cp_iter_value(after).data, "2", 1);
    check_rest(after, "b aa a");
    cp_iter_free(before);
    cp_iter_free(after);
    check_keys(&bed, "", "", false, "a aa b");
    check_value(&bed, CP_FAMILY_ACTIONS, "b", "3");
    put(&bed, CP_FAMILY_ACTIONS, "c", "again");
    check_keys(&bed, "", "", true, "c b aa a");
    bed_deinit(&bed);
}

static void test_many(bool rocksdb)
{
    struct bed bed;
    bed_init(&bed, rocksdb);
    char key[32];
    for (unsigned round = 0; round < 20; round++) {
        struct cp_batch *batch = cp_batch_new(bed.store);
        for (unsigned i = 0; i < 500; i++) {
            snprintf(key, sizeof(key), "%05u", (i * 7919 + round) % 10007);
            cp_batch_put(batch, CP_FAMILY_ACTIONS, text(key), text(key));
            snprintf(key, sizeof(key), "%05u", (i * 104729 + round * 13) % 10007);
            cp_batch_delete(batch, CP_FAMILY_ACTIONS, text(key));
        }
        ck_assert_int_eq(commit(&bed, batch), 0);
    }
    struct cp_iter *iter = cp_iter_new(bed.store, CP_FAMILY_ACTIONS, text(""), text(""), false);
    char last[32] = "";
    size_t count = 0;
    for (; cp_iter_valid(iter); cp_iter_next(iter), count++) {
        struct sy_span found = cp_iter_key(iter);
        ck_assert_int_gt(memcmp(found.data, last, 5), 0);
        memcpy(last, found.data, 5);
        check_value(&bed, CP_FAMILY_ACTIONS, last, last);
    }
    cp_iter_free(iter);
    ck_assert_uint_gt(count, 100);
    iter = cp_iter_new(bed.store, CP_FAMILY_ACTIONS, text(""), text(""), true);
    for (; cp_iter_valid(iter); cp_iter_next(iter))
        count--;
    cp_iter_free(iter);
    ck_assert_uint_eq(count, 0);
    bed_deinit(&bed);
}

static void test_reopen(bool rocksdb)
{
    struct bed bed;
    bed_init(&bed, rocksdb);
    put(&bed, CP_FAMILY_META, "k", "v");
    struct cp_store *second = NULL;
    struct sy_error_text error = {0};
    int r = rocksdb ? cp_store_rocksdb_open(&second, bed.path, 0, bed.loop, NULL, &error)
                    : cp_store_mem_open(&second, bed.disk, 0, bed.loop, NULL, &error);
    ck_assert_int_eq(r, -EBUSY);
    ck_assert_uint_gt(strlen(error.text), 0);
    bed_close(&bed);
    bed_open(&bed);
    check_value(&bed, CP_FAMILY_META, "k", "v");
    bed_deinit(&bed);
}

/* Closing waits for the commit but does not tell its owner, whose memory may be gone. */
static void test_close_in_flight(bool rocksdb)
{
    struct bed bed;
    bed_init(&bed, rocksdb);
    struct result result = {0};
    for (int i = 0; i < 20; i++) {
        struct cp_batch *batch = cp_batch_new(bed.store);
        cp_batch_put(batch, CP_FAMILY_META, text("k"), text("v"));
        cp_store_commit(bed.store, batch, on_done, &result);
        if (i % 2)
            usleep(500);
        bed_close(&bed);
        bed_open(&bed);
    }
    for (int i = 0; i < 10; i++)
        sy_loop_turn(bed.loop);
    ck_assert_int_eq(result.calls, 0);
    check_value(&bed, CP_FAMILY_META, "k", rocksdb ? "v" : NULL);
    bed_deinit(&bed);
}

#define FOR_BOTH(test)                                                                             \
    START_TEST(test##_mem)                                                                         \
    {                                                                                              \
        test(false);                                                                               \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(test##_rocksdb)                                                                     \
    {                                                                                              \
        test(true);                                                                                \
    }                                                                                              \
    END_TEST

FOR_BOTH(test_get_and_families)
FOR_BOTH(test_order)
FOR_BOTH(test_batch)
FOR_BOTH(test_snapshot)
FOR_BOTH(test_many)
FOR_BOTH(test_reopen)
FOR_BOTH(test_close_in_flight)

/* ---- faults of the memory store ---- */

START_TEST(test_mem_faults)
{
    struct bed bed;
    bed_init(&bed, false);
    cp_mem_disk_set(bed.disk, 0, 1);
    put(&bed, CP_FAMILY_META, "first", "1");
    struct cp_batch *batch = cp_batch_new(bed.store);
    cp_batch_put(batch, CP_FAMILY_META, text("second"), text("2"));
    ck_assert_int_eq(commit(&bed, batch), -ENOSPC);
    ck_assert_str_ne(cp_store_error(bed.store), "");
    check_value(&bed, CP_FAMILY_META, "second", NULL);
    batch = cp_batch_new(bed.store); /* failed for good */
    cp_batch_put(batch, CP_FAMILY_META, text("third"), text("3"));
    ck_assert_int_eq(commit(&bed, batch), -ENOSPC);
    check_value(&bed, CP_FAMILY_META, "first", "1");
    bed_close(&bed);
    bed_open(&bed);
    put(&bed, CP_FAMILY_META, "fourth", "4");
    check_value(&bed, CP_FAMILY_META, "third", NULL);
    bed_deinit(&bed);
}
END_TEST

static int64_t virtual_ns(void *ctx)
{
    return *(int64_t *)ctx;
}

/* A crash loses what was not synced; or, with keep_in_flight, only the news of it. */
START_TEST(test_mem_crash)
{
    int64_t now_ns = 0;
    struct sy_clock clock = {virtual_ns, virtual_ns, &now_ns};
    struct sy_loop_options options = {.clock = &clock, .without_epoll = true};
    for (int keep = 0; keep < 2; keep++) {
        struct bed bed = {.disk = cp_mem_disk_new()};
        ck_assert_int_eq(sy_loop_new(&bed.loop, &options), 0);
        cp_mem_disk_set(bed.disk, 1000, -1);
        cp_mem_disk_keep_in_flight(bed.disk, keep);
        bed_open(&bed);
        struct result result = {0};
        struct cp_batch *batch = cp_batch_new(bed.store);
        cp_batch_put(batch, CP_FAMILY_META, text("k"), text("v"));
        cp_store_commit(bed.store, batch, on_done, &result);
        now_ns += 999;
        sy_loop_turn(bed.loop);
        ck_assert_int_eq(result.calls, 0);
        check_value(&bed, CP_FAMILY_META, "k", NULL);
        bed_close(&bed);
        bed_open(&bed);
        check_value(&bed, CP_FAMILY_META, "k", keep ? "v" : NULL);
        batch = cp_batch_new(bed.store);
        cp_batch_put(batch, CP_FAMILY_META, text("k2"), text("v2"));
        cp_store_commit(bed.store, batch, on_done, &result);
        now_ns += 1000;
        sy_loop_turn(bed.loop);
        ck_assert_int_eq(result.calls, 1);
        check_value(&bed, CP_FAMILY_META, "k2", "v2");
        bed_deinit(&bed);
    }
}
END_TEST

/* ---- RocksDB in child processes ---- */

/* Commits pairs of keys in two families and reports each on stdout, until it is killed, or, in mode
 * "full", until the disk is full. */
static int child_main(const char *mode, const char *path)
{
    struct bed bed = {.rocksdb = true};
    bool full = strcmp(mode, "full") == 0;
    if (sy_loop_new(&bed.loop, NULL) < 0)
        return 2;
    if (full) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
            return 3;
    }
    struct sy_error_text error;
    if (cp_store_rocksdb_open(&bed.store, path, 0, bed.loop, NULL, &error) < 0)
        return 4;
    char value[4096];
    memset(value, 'v', sizeof(value));
    for (uint32_t i = 0;; i++) {
        char key[16];
        int n = snprintf(key, sizeof(key), "%08u", i);
        struct cp_batch *batch = cp_batch_new(bed.store);
        struct sy_span span = {(const uint8_t *)key, (size_t)n};
        cp_batch_put(batch, CP_FAMILY_ACTIONS, span, (struct sy_span){(uint8_t *)value, 4096});
        cp_batch_put(batch, CP_FAMILY_LIVE, span, (struct sy_span){NULL, 0});
        struct result result = {0};
        cp_store_commit(bed.store, batch, on_done, &result);
        wait_for(bed.loop, &result);
        if (result.error == 0) {
            if (write(STDOUT_FILENO, &i, sizeof(i)) != sizeof(i))
                return 5;
            continue;
        }
        if (!full || result.error != -ENOSPC || i < 10 || !cp_store_error(bed.store)[0])
            return 6;
        batch = cp_batch_new(bed.store); /* failed for good, also for what would fit */
        cp_batch_put(batch, CP_FAMILY_META, text("k"), text("v"));
        result = (struct result){0};
        cp_store_commit(bed.store, batch, on_done, &result);
        wait_for(bed.loop, &result);
        if (result.error != -ENOSPC)
            return 7;
        SY_CLEANUP(sy_buf_deinit) struct sy_buf got = {0}; /* reads go on */
        if (cp_store_get(bed.store, CP_FAMILY_ACTIONS, text("00000003"), &got) != 0)
            return 8;
        _exit(0);
    }
}

struct child {
    pid_t pid;
    int out;
};

static struct child start_child(const char *mode, const char *path)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    char *argv[] = {(char[]){"test"}, sy_strdup(mode), sy_strdup(path), NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    struct child child = {.out = fds[0]};
    ck_assert_int_eq(posix_spawn(&child.pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    free(argv[1]);
    free(argv[2]);
    return child;
}

/* Reads acknowledgements until `max` or the end; returns how many came. */
static uint32_t read_acks(struct child *child, uint32_t max)
{
    uint32_t count = 0, i;
    while (count < max && read(child->out, &i, sizeof(i)) == sizeof(i)) {
        ck_assert_uint_eq(i, count);
        count++;
    }
    return count;
}

/* All that was acknowledged is there, whole batches only. */
static void check_survivors(struct bed *bed, uint32_t acknowledged)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf value = {0};
    for (uint32_t i = 0; i < acknowledged + 3; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%08u", i);
        int action = cp_store_get(bed->store, CP_FAMILY_ACTIONS, text(key), &value);
        int live = cp_store_get(bed->store, CP_FAMILY_LIVE, text(key), &value);
        ck_assert_int_eq(action, live);
        if (i < acknowledged)
            ck_assert_int_eq(action, 0);
    }
}

START_TEST(test_rocksdb_kill)
{
    struct bed bed;
    bed_init(&bed, true);
    bed_close(&bed);
    struct child child = start_child("commit", bed.path);
    uint32_t acknowledged = read_acks(&child, 200);
    ck_assert_uint_eq(acknowledged, 200);
    ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
    int status;
    ck_assert_int_eq(waitpid(child.pid, &status, 0), child.pid);
    ck_assert(WIFSIGNALED(status));
    uint32_t i;
    while (read(child.out, &i, sizeof(i)) == sizeof(i))
        acknowledged = i + 1;
    close(child.out);
    bed_open(&bed);
    check_survivors(&bed, acknowledged);
    bed_deinit(&bed);
}
END_TEST

START_TEST(test_rocksdb_disk_full)
{
    struct bed bed;
    bed_init(&bed, true);
    bed_close(&bed);
    struct child child = start_child("full", bed.path);
    uint32_t acknowledged = read_acks(&child, UINT32_MAX);
    int status;
    ck_assert_int_eq(waitpid(child.pid, &status, 0), child.pid);
    close(child.out);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %#x", status);
    bed_open(&bed);
    check_survivors(&bed, acknowledged);
    put(&bed, CP_FAMILY_META, "room", "again");
    bed_deinit(&bed);
}
END_TEST

/* ---- damage ---- */

/* How many; `ret` is the largest one of the store. */
static size_t find_file(const char *bed_path, const char *suffix, char *ret, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/e0000000000", bed_path);
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    struct dirent *entry;
    off_t largest = -1;
    size_t count = 0;
    while ((entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);
        if (len < strlen(suffix) || strcmp(entry->d_name + len - strlen(suffix), suffix) != 0)
            continue;
        char file[512];
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        off_t bytes = lseek(fd, 0, SEEK_END);
        close(fd);
        if (bytes > largest)
            snprintf(ret, size, "%s", file);
        largest = bytes > largest ? bytes : largest;
        count++;
    }
    closedir(dir);
    return count;
}

/* Opens it so often that its logs are written into tables. */
static void reopen_until_table(struct bed *bed)
{
    char file[512];
    for (int i = 0; i < 3000 && find_file(bed->path, ".sst", file, sizeof(file)) == 0; i++) {
        bed_close(bed);
        bed_open(bed);
        put(bed, CP_FAMILY_ACTIONS, "again", "and again");
        usleep(20000);
    }
}

static void flip_byte(const char *file, off_t at)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    char c;
    ck_assert_int_eq(pread(fd, &c, 1, at), 1);
    c ^= 0x55;
    ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static void check_damaged(struct bed *bed)
{
    struct sy_error_text error = {0};
    int r = cp_store_rocksdb_open(&bed->store, bed->path, 0, bed->loop, NULL, &error);
    ck_assert_msg(r == -EUCLEAN, "open: %d %s", r, error.text);
    ck_assert_ptr_nonnull(strstr(error.text, bed->path));
    ck_assert_ptr_nonnull(strstr(error.text, "is damaged (RocksDB: Corruption"));
}

START_TEST(test_rocksdb_damaged_log)
{
    struct bed bed;
    bed_init(&bed, true);
    char key[16];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "%08d", i);
        put(&bed, CP_FAMILY_ACTIONS, key, "a value that is long enough to be hit");
    }
    bed_close(&bed);
    char file[512];
    ck_assert_uint_gt(find_file(bed.path, ".log", file, sizeof(file)), 0);
    flip_byte(file, 2000);
    check_damaged(&bed);
    flip_byte(file, 2000); /* repaired: nothing was thrown away meanwhile */
    bed_open(&bed);
    check_value(&bed, CP_FAMILY_ACTIONS, "00000099", "a value that is long enough to be hit");
    bed_deinit(&bed);
}
END_TEST

START_TEST(test_rocksdb_damaged_manifest)
{
    struct bed bed;
    bed_init(&bed, true);
    put(&bed, CP_FAMILY_META, "k", "v");
    bed_close(&bed);
    char file[512];
    snprintf(file, sizeof(file), "%s/e0000000000/CURRENT", bed.path);
    flip_byte(file, 3);
    check_damaged(&bed);
    sy_remove_tree(bed.path);
    bed.path[0] = 0;
    bed_deinit(&bed);
}
END_TEST

/* A damaged table may be noticed at the open or at the read; never unnoticed. */
START_TEST(test_rocksdb_damaged_table)
{
    struct bed bed;
    bed_init(&bed, true);
    put(&bed, CP_FAMILY_ACTIONS, "k", "some value");
    reopen_until_table(&bed);
    bed_close(&bed);
    char file[512];
    ck_assert_uint_gt(find_file(bed.path, ".sst", file, sizeof(file)), 0);
    flip_byte(file, 10);
    struct sy_error_text error = {0};
    int r = cp_store_rocksdb_open(&bed.store, bed.path, 0, bed.loop, NULL, &error);
    if (r == 0) {
        SY_CLEANUP(sy_buf_deinit) struct sy_buf value = {0};
        ck_assert_int_eq(cp_store_get(bed.store, CP_FAMILY_ACTIONS, text("k"), &value), -EIO);
        ck_assert_ptr_nonnull(strstr(cp_store_error(bed.store), "Corruption"));
    } else {
        ck_assert_int_eq(r, -EUCLEAN);
    }
    bed_deinit(&bed);
}
END_TEST

/* What is in logs stays there, until they are many; all of it is read each time. */
START_TEST(test_rocksdb_opened_often)
{
    struct bed bed;
    char key[16], file[512];
    bed_init(&bed, true);
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "%08d", i);
        put(&bed, CP_FAMILY_ACTIONS, key, key);
        bed_close(&bed);
        ck_assert(i >= 4 || find_file(bed.path, ".sst", file, sizeof(file)) == 0);
        bed_open(&bed);
        check_value(&bed, CP_FAMILY_ACTIONS, "00000000", "00000000");
    }
    bed_deinit(&bed);
}
END_TEST

START_TEST(test_rocksdb_bad_path)
{
    struct bed bed = {.rocksdb = true};
    ck_assert_int_eq(sy_loop_new(&bed.loop, NULL), 0);
    struct sy_error_text error = {0};
    int r = cp_store_rocksdb_open(&bed.store, "/proc/no/such", 0, bed.loop, NULL, &error);
    ck_assert_int_lt(r, 0);
    ck_assert_ptr_nonnull(strstr(error.text, "/proc/no/such"));
    sy_loop_free(bed.loop);
}
END_TEST

/* What it may keep in memory goes to tables when there is more of it. */
START_TEST(memory_is_bounded)
{
    static const size_t limits[] = {CP_STORE_MEMORY_MIN, CP_STORE_MEMORY_MAX};
    enum { BATCHES = 40, BYTES = 1 << 20, MORE = BATCHES * BYTES / 10 * 13 };
    uint64_t written[2];
    static uint8_t value[BYTES];
    struct sy_rng rng;
    sy_rng_init(&rng, 1);
    for (size_t i = 0; i < BYTES; i++)
        value[i] = (uint8_t)sy_rng_u64(&rng);
    for (size_t k = 0; k < 2; k++) {
        struct bed bed;
        bed_init(&bed, true);
        bed_close(&bed);
        ck_assert_int_eq(
            cp_store_rocksdb_open_within(&bed.store, bed.path, 0, limits[k], bed.loop, NULL, NULL),
            0);
        for (uint32_t i = 0; i < BATCHES; i++) {
            struct cp_batch *batch = cp_batch_new(bed.store);
            cp_batch_put(batch, CP_FAMILY_ACTIONS, (struct sy_span){(uint8_t *)&i, sizeof(i)},
                         (struct sy_span){value, BYTES});
            struct result result = {0};
            cp_store_commit(bed.store, batch, on_done, &result);
            wait_for(bed.loop, &result);
            ck_assert_int_eq(result.error, 0);
        }
        for (int i = 0; k == 0 && i < 6000 && cp_store_bytes_written(bed.store) < MORE; i++)
            usleep(10000); /* tables are written in the background */
        written[k] = cp_store_bytes_written(bed.store);
        bed_deinit(&bed);
    }
    ck_assert_uint_lt(written[1], (uint64_t)BATCHES * BYTES * 11 / 10); /* the log alone */
    ck_assert_uint_ge(written[0], MORE);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2]);
    const TTest *const tests[] = {
        test_get_and_families_mem,
        test_get_and_families_rocksdb,
        test_order_mem,
        test_order_rocksdb,
        test_batch_mem,
        test_batch_rocksdb,
        test_snapshot_mem,
        test_snapshot_rocksdb,
        test_many_mem,
        test_many_rocksdb,
        test_reopen_mem,
        test_reopen_rocksdb,
        test_close_in_flight_mem,
        test_close_in_flight_rocksdb,
        test_mem_faults,
        test_mem_crash,
        test_rocksdb_kill,
        test_rocksdb_disk_full,
        test_rocksdb_damaged_log,
        test_rocksdb_damaged_manifest,
        test_rocksdb_damaged_table,
        test_rocksdb_opened_often,
        test_rocksdb_bad_path,
        memory_is_bounded,
        NULL,
    };
    return sy_test_run("store_contract", tests);
}
