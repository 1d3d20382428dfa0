/* links: cp */
/* A RocksDB store is taken over from a process that is stopped, not dead: this program started
 * again as that owner, which commits as fast as it can and says what it was told is durable. */
#include "base/file.h"
#include "base/mem.h"
#include "controlplane/store.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { VALUE_BYTES = 100000 };

struct result {
    int calls, error;
};

static void on_done(void *ctx, int error)
{
    struct result *result = ctx;
    result->calls++;
    result->error = error;
}

/* Also in the child, where check's assertions do not work. */
static int commit(struct sy_loop *loop, struct cp_store *store, struct cp_batch *batch)
{
    struct result result = {0};
    cp_store_commit(store, batch, on_done, &result);
    for (int i = 0; i < 400000 && result.calls == 0; i++) {
        sy_loop_turn(loop);
        if (result.calls == 0)
            usleep(50);
    }
    SY_ASSERT(result.calls == 1);
    return result.error;
}

static struct sy_span key_of(char buf[16], char who, uint32_t i)
{
    int len = snprintf(buf, 16, "%c%08u", who, i);
    return (struct sy_span){(const uint8_t *)buf, (size_t)len};
}

/* Two families, so that a batch that is there in half is seen. */
static int commit_record(struct sy_loop *loop, struct cp_store *store, char who, uint32_t i)
{
    static const uint8_t value[VALUE_BYTES] = {1};
    char buf[16];
    struct sy_span key = key_of(buf, who, i);
    struct cp_batch *batch = cp_batch_new(store);
    cp_batch_put(batch, CP_FAMILY_RUNS, key, (struct sy_span){value, sizeof(value)});
    cp_batch_put(batch, CP_FAMILY_META, key, (struct sy_span){NULL, 0});
    return commit(loop, store, batch);
}

static bool has_record(struct cp_store *store, char who, uint32_t i)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf value = {0};
    char buf[16];
    struct sy_span key = key_of(buf, who, i);
    int a = cp_store_get(store, CP_FAMILY_RUNS, key, &value);
    int b = cp_store_get(store, CP_FAMILY_META, key, &value);
    ck_assert(a == 0 || a == CP_STORE_E_NOT_FOUND);
    ck_assert_int_eq(a, b);
    return a == 0;
}

/* ---- the owner ---- */

static int owner_main(const char *path)
{
    struct sy_loop *loop;
    struct cp_store *store;
    struct sy_error_text error;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (sy_loop_new(&loop, NULL) < 0 ||
        cp_store_rocksdb_open(&store, path, 1, loop, NULL, &error) != 0)
        return 2;
    for (uint32_t i = 0;; i++) {
        int r = commit_record(loop, store, 'a', i);
        if (r < 0)
            i = UINT32_MAX - 1; /* its directory is gone: it says so once more, and ends */
        if (write(STDOUT_FILENO, &i, sizeof(i)) != sizeof(i))
            return 3;
        if (r < 0)
            break;
    }
    cp_store_close(store);
    sy_loop_free(loop);
    return 0;
}

struct owner {
    pid_t pid;
    int out;
    uint32_t acknowledged; /* so many */
};

static void start_owner(struct owner *o, const char *path)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    char *argv[] = {(char[]){"test"}, sy_strdup(path), NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    *o = (struct owner){.out = fds[0]};
    ck_assert_int_eq(posix_spawn(&o->pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    free(argv[1]);
}

/* Reads what it has said; false: it has ended, or its store failed. */
static bool listen_to(struct owner *o, int wait_ms)
{
    uint32_t i;
    struct pollfd ready = {.fd = o->out, .events = POLLIN};
    while (poll(&ready, 1, wait_ms) > 0) {
        if (read(o->out, &i, sizeof(i)) != sizeof(i) || i == UINT32_MAX - 1)
            return false;
        ck_assert_uint_eq(i, o->acknowledged);
        o->acknowledged++;
        wait_ms = 0;
    }
    return true;
}

static void stop_owner(struct owner *o)
{
    int status;
    ck_assert_int_eq(kill(o->pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(o->pid, &status, WUNTRACED), o->pid);
    ck_assert(WIFSTOPPED(status));
}

static void end_owner(struct owner *o)
{
    kill(o->pid, SIGKILL);
    ck_assert_int_eq(waitpid(o->pid, NULL, 0), o->pid);
    close(o->out);
}

/* ---- the next owner: we ---- */

struct bed {
    char path[64];
    struct sy_loop *loop;
    struct cp_store *store;
};

static void bed_init(struct bed *bed)
{
    *bed = (struct bed){.path = "/tmp/switchyard-takeover-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(bed->path));
    ck_assert_int_eq(sy_loop_new(&bed->loop, NULL), 0);
}

static void bed_deinit(struct bed *bed)
{
    cp_store_close(bed->store);
    sy_loop_free(bed->loop);
    sy_remove_tree(bed->path);
}

static void take(struct bed *bed, uint32_t epoch)
{
    struct sy_error_text error = {0};
    uint32_t newer;
    int r = cp_store_rocksdb_open(&bed->store, bed->path, epoch, bed->loop, &newer, &error);
    ck_assert_msg(r == 0, "epoch %u: %d %s", epoch, r, error.text);
}

static void check_records(struct bed *bed, char who, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ck_assert_msg(has_record(bed->store, who, i), "record %c %u of %u is lost", who, i, count);
}

/* How many directories are there, and whether that of the epoch is. */
static size_t count_directories(const struct bed *bed, uint32_t epoch, bool *ret_there)
{
    char name[16];
    size_t count = 0;
    const struct dirent *entry;
    snprintf(name, sizeof(name), "e%010u", epoch);
    DIR *dir = opendir(bed->path);
    ck_assert_ptr_nonnull(dir);
    *ret_there = false;
    while ((entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.';
        *ret_there |= strcmp(entry->d_name, name) == 0;
    }
    closedir(dir);
    return count;
}

/* It is stopped at some moment, among them those when it flushes (1 MiB and 16 MiB of rows), goes
 * on when it has a successor, and writes what it likes: to files that are its own by now. */
START_TEST(a_stopped_owner_is_taken_over)
{
    for (int round = 0; round < 4; round++) {
        struct bed bed;
        struct owner owner;
        bool there;
        bed_init(&bed);
        start_owner(&owner, bed.path);
        uint32_t some = round % 2 == 0 ? 10 : 200;
        while (owner.acknowledged < some)
            ck_assert(listen_to(&owner, 100));
        usleep((useconds_t)round * 700);
        stop_owner(&owner);
        listen_to(&owner, 0);
        take(&bed, 2);
        uint32_t acknowledged = owner.acknowledged;
        check_records(&bed, 'a', acknowledged);
        uint32_t last = acknowledged + 1; /* one was in flight */
        ck_assert(!has_record(bed.store, 'a', last));
        ck_assert_uint_eq(count_directories(&bed, 2, &there), 1);
        ck_assert(there);
        ck_assert_int_eq(kill(owner.pid, SIGCONT), 0);
        for (uint32_t i = 0; i < 30; i++) {
            ck_assert_int_eq(commit_record(bed.loop, bed.store, 'b', i), 0);
            listen_to(&owner, 0);
        }
        while (owner.acknowledged < last + 20 && listen_to(&owner, 100))
            continue;
        ck_assert(!has_record(bed.store, 'a', last));
        cp_store_close(sy_take(bed.store));
        take(&bed, 3);
        check_records(&bed, 'a', acknowledged);
        check_records(&bed, 'b', 30);
        ck_assert(!has_record(bed.store, 'a', last));
        end_owner(&owner);
        bed_deinit(&bed);
    }
}
END_TEST

/* What a store without a region has open stays its own. */
START_TEST(without_a_region_a_stopped_owner_is_not_taken_over)
{
    struct bed bed;
    struct owner owner;
    struct sy_error_text error = {0};
    bed_init(&bed);
    start_owner(&owner, bed.path);
    while (owner.acknowledged < 5)
        ck_assert(listen_to(&owner, 100));
    stop_owner(&owner);
    listen_to(&owner, 0);
    ck_assert_int_eq(cp_store_rocksdb_open(&bed.store, bed.path, 0, bed.loop, NULL, &error),
                     -EBUSY);
    ck_assert_ptr_nonnull(strstr(error.text, "is in use by another process"));
    uint32_t acknowledged = owner.acknowledged;
    end_owner(&owner); /* its lock goes with it */
    take(&bed, 2);
    check_records(&bed, 'a', acknowledged);
    bed_deinit(&bed);
}
END_TEST

START_TEST(an_earlier_epoch_is_refused)
{
    struct bed bed;
    struct sy_error_text error = {0};
    uint32_t newer = 0;
    bed_init(&bed);
    take(&bed, 1);
    cp_store_close(sy_take(bed.store));
    take(&bed, 7);
    struct cp_store *other = NULL;
    ck_assert_int_eq(cp_store_rocksdb_open(&other, bed.path, 6, bed.loop, &newer, &error),
                     CP_STORE_E_NEWER);
    ck_assert_uint_eq(newer, 7);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(commit_record(bed.loop, bed.store, 'b', 0), 0);
    bed_deinit(&bed);
}
END_TEST

/* Tables that the former owner had not finished are linked as well. Our store must not write into
 * them, as he may: it removes them, and numbers its own after them. */
START_TEST(unfinished_tables_are_not_written_to)
{
    struct bed bed;
    char path[PATH_MAX], aside[PATH_MAX];
    bed_init(&bed);
    take(&bed, 1);
    for (uint32_t i = 0; i < 10; i++)
        ck_assert_int_eq(commit_record(bed.loop, bed.store, 'a', i), 0);
    cp_store_close(sy_take(bed.store));
    snprintf(path, sizeof(path), "%s/strange", bed.path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    for (unsigned i = 0; i < 100; i++) { /* whatever number comes next is among them */
        snprintf(aside, sizeof(aside), "%s/strange/%u", bed.path, i);
        snprintf(path, sizeof(path), "%s/e0000000001/%06u.sst", bed.path, i);
        if (access(path, F_OK) == 0)
            continue;
        ck_assert_int_eq(sy_file_write_atomic(aside, "unfinished", 10), 0);
        ck_assert_int_eq(link(aside, path), 0);
    }
    take(&bed, 2);
    for (uint32_t i = 0; i < 200; i++) /* more than a memtable */
        ck_assert_int_eq(commit_record(bed.loop, bed.store, 'b', i), 0);
    cp_store_close(sy_take(bed.store));
    take(&bed, 3);
    check_records(&bed, 'a', 10);
    check_records(&bed, 'b', 200);
    unsigned seen = 0;
    for (unsigned i = 0; i < 100; i++) {
        SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
        snprintf(aside, sizeof(aside), "%s/strange/%u", bed.path, i);
        if (sy_file_read(aside, 100, &bytes) < 0)
            continue;
        seen++;
        ck_assert_uint_eq(bytes.len, 10);
        ck_assert_mem_eq(bytes.data, "unfinished", 10);
    }
    ck_assert_uint_gt(seen, 50);
    bed_deinit(&bed);
}
END_TEST

/* A log or a table without the file that names them: damaged, not begun anew. */
START_TEST(a_store_that_lost_its_head_is_damaged)
{
    struct bed bed;
    char path[PATH_MAX];
    struct sy_error_text error = {0};
    bed_init(&bed);
    take(&bed, 1);
    ck_assert_int_eq(commit_record(bed.loop, bed.store, 'a', 0), 0);
    cp_store_close(sy_take(bed.store));
    snprintf(path, sizeof(path), "%s/e0000000001/CURRENT", bed.path);
    ck_assert_int_eq(unlink(path), 0);
    uint32_t newer;
    ck_assert_int_eq(cp_store_rocksdb_open(&bed.store, bed.path, 2, bed.loop, &newer, &error),
                     -EUCLEAN);
    ck_assert_ptr_nonnull(strstr(error.text, "is damaged"));
    ck_assert_ptr_null(bed.store);
    bed_deinit(&bed);
}
END_TEST

/* An installation of the layout before. */
START_TEST(the_old_layout_is_adopted)
{
    struct bed bed;
    char from[PATH_MAX], to[PATH_MAX];
    bed_init(&bed);
    take(&bed, 1);
    for (uint32_t i = 0; i < 50; i++)
        ck_assert_int_eq(commit_record(bed.loop, bed.store, 'a', i), 0);
    cp_store_close(sy_take(bed.store));
    snprintf(from, sizeof(from), "%s/e0000000001", bed.path);
    snprintf(to, sizeof(to), "%s.old", bed.path);
    ck_assert_int_eq(rename(from, to), 0);
    ck_assert_int_eq(rmdir(bed.path), 0);
    snprintf(from, sizeof(from), "%s/HOLDER", to);
    ck_assert_int_eq(unlink(from), 0);
    ck_assert_int_eq(rename(to, bed.path), 0);
    for (uint32_t epoch = 0; epoch < 3; epoch += 2) {
        take(&bed, epoch);
        check_records(&bed, 'a', 50);
        cp_store_close(sy_take(bed.store));
    }
    bed_deinit(&bed);
}
END_TEST

static void on_closed(void *ctx)
{
    ++*(int *)ctx;
}

/* Closed without waiting, with a commit in flight or not: told in a later turn, the commit's owner
 * never. */
START_TEST(a_store_closes_while_the_loop_goes_on)
{
    struct bed bed;
    struct result result = {0};
    bed_init(&bed);
    for (uint32_t i = 0; i < 20; i++) {
        int closed = 0;
        char buf[16];
        take(&bed, i + 1);
        ck_assert(i < 2 || has_record(bed.store, 'a', (i - 1) / 4 * 4));
        struct cp_batch *batch = cp_batch_new(bed.store);
        struct sy_span key = key_of(buf, 'a', i);
        cp_batch_put(batch, CP_FAMILY_RUNS, key, (struct sy_span){NULL, 0});
        cp_batch_put(batch, CP_FAMILY_META, key, (struct sy_span){NULL, 0});
        if (i % 4 == 0)
            cp_store_commit(bed.store, batch, on_done, &result);
        else
            cp_batch_free(batch);
        if (i % 3 == 0)
            usleep(500);
        ck_assert(!cp_store_close_begin(bed.store, on_closed, &closed));
        ck_assert_int_eq(closed, 0);
        if (i % 5 == 0) { /* waits after all, and does not tell */
            cp_store_close(bed.store);
        } else {
            for (int turns = 0; turns < 1000000 && closed == 0; turns++) {
                sy_loop_turn(bed.loop);
                usleep(50);
            }
            ck_assert_int_eq(closed, 1);
        }
        bed.store = NULL;
    }
    ck_assert_int_eq(result.calls, 0);
    bed_deinit(&bed);
}
END_TEST

/* It would abort the process when it writes there again after the disk was full. */
START_TEST(rocksdb_writes_no_log_of_its_own)
{
    struct bed bed;
    char path[PATH_MAX];
    struct stat st;
    bed_init(&bed);
    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
        take(&bed, epoch);
        ck_assert_int_eq(commit_record(bed.loop, bed.store, 'a', epoch), 0);
        sy_path_print(path, "%s/e%010u/LOG", bed.path, epoch);
        cp_store_close(sy_take(bed.store));
        ck_assert(stat(path, &st) < 0 || st.st_size == 0);
    }
    bed_deinit(&bed);
}
END_TEST

/* Wherever in its opening the disk is full, it says so; nothing ends the process. A limit of files'
 * sizes stands for the disk: the kernel refuses what is beyond. */
START_TEST(an_open_on_a_full_disk_is_refused)
{
    struct bed bed;
    struct rlimit before, full;
    bed_init(&bed);
    take(&bed, 1);
    ck_assert_int_eq(commit_record(bed.loop, bed.store, 'a', 0), 0);
    ck_assert_int_eq(commit_record(bed.loop, bed.store, 'a', 1), 0);
    cp_store_close(sy_take(bed.store));
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    unsigned refused = 0;
    for (uint32_t i = 0; i < 40; i++) {
        struct sy_error_text error = {0};
        uint32_t newer = 0;
        full = (struct rlimit){i * i * 64, before.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
        int r = cp_store_rocksdb_open(&bed.store, bed.path, 2 + i, bed.loop, &newer, &error);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
        ck_assert_msg(r == 0 || (r < 0 && error.text[0] != '\0'), "%d", r);
        refused += r < 0;
        if (r == 0)
            cp_store_close(sy_take(bed.store));
    }
    ck_assert_uint_gt(refused, 5);
    take(&bed, 100);
    check_records(&bed, 'a', 2);
    bed_deinit(&bed);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2)
        return owner_main(argv[1]);
    const TTest *const tests[] = {
        a_stopped_owner_is_taken_over,         without_a_region_a_stopped_owner_is_not_taken_over,
        an_earlier_epoch_is_refused,           unfinished_tables_are_not_written_to,
        a_store_that_lost_its_head_is_damaged, the_old_layout_is_adopted,
        a_store_closes_while_the_loop_goes_on, rocksdb_writes_no_log_of_its_own,
        an_open_on_a_full_disk_is_refused,     NULL,
    };
    return sy_test_run("store_takeover", tests);
}
