/* links: cp */
/* Looks at a disk whose syncs take as long as the test says. */
#include "controlplane/disk_probe.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MS SY_NS_PER_MS

static _Atomic int64_t sync_ns;
static _Atomic int sync_errno, begun, syncs;

static int sync_as_told(int fd)
{
    struct timespec t = {0, 5 * MS};
    begun++;
    ck_assert_int_eq(faccessat(fd, "", F_OK, AT_EMPTY_PATH), 0);
    for (int64_t waited = 0; waited < sync_ns; waited += 5 * MS)
        nanosleep(&t, NULL);
    syncs++;
    errno = sync_errno;
    return sync_errno == 0 ? 0 : -1;
}

struct world {
    char directory[64], path[96];
    struct sy_loop *loop;
    struct cp_disk_probe *probe;
    struct sy_timer limit;
    unsigned slow; /* how often it was told */
};

static void on_limit(void *arg)
{
    sy_loop_stop(((struct world *)arg)->loop);
}

static void on_slow(void *arg)
{
    ((struct world *)arg)->slow++;
}

/* `slow_ns`: for a test of what is not slow it is longer than a machine may stand still. */
static void open_world(struct world *w, int64_t slow_ns)
{
    *w = (struct world){.directory = "/tmp/test_cp_disk_probe.XXXXXX"};
    sync_ns = 0;
    sync_errno = 0;
    begun = syncs = 0;
    ck_assert_ptr_nonnull(mkdtemp(w->directory));
    snprintf(w->path, sizeof(w->path), "%s/.probe-shard-1", w->directory);
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    struct cp_disk_probe_options options = {
        .every_ns = 10 * MS, .slow_ns = slow_ns, .sync = sync_as_told};
    w->probe = cp_disk_probe_new(w->loop, w->directory, "shard-1", &options);
    w->probe->on_slow = on_slow;
    w->probe->ctx = w;
    sy_timer_init(&w->limit, on_limit, w);
}

static void close_world(struct world *w)
{
    sy_timer_stop(w->loop, &w->limit);
    cp_disk_probe_free(w->probe);
    sy_loop_free(w->loop);
    ck_assert_int_ne(access(w->path, F_OK), 0); /* nothing is left */
    rmdir(w->directory);
}

static void run_for(struct world *w, int64_t ns)
{
    sy_timer_start_in(w->loop, &w->limit, ns);
    ck_assert_int_eq(sy_loop_run(w->loop), 0);
}

/* Until what had begun when nobody wanted it any more has ended. */
static void run_until_still(struct world *w)
{
    int so_far;
    do {
        so_far = syncs;
        run_for(w, 50 * MS);
    } while (syncs != so_far || begun != syncs);
}

static void watch(struct world *w, bool on)
{
    w->probe->ops->watch(w->probe, on);
}

START_TEST(a_disk_that_is_well_is_looked_at_in_silence)
{
    struct world w;
    open_world(&w, 600 * SY_NS_PER_S);
    run_for(&w, 20 * MS);
    ck_assert_int_eq(syncs, 0); /* nobody asked */
    watch(&w, true);
    watch(&w, true);
    while (syncs < 5)
        run_for(&w, 20 * MS);
    ck_assert_uint_eq(w.slow, 0);
    watch(&w, false);
    run_until_still(&w);
    int so_far = syncs;
    run_for(&w, 50 * MS);
    ck_assert_int_eq(syncs, so_far);
    close_world(&w);
}
END_TEST

START_TEST(a_slow_one_is_told_while_it_is_waited_for)
{
    struct world w;
    open_world(&w, 300 * MS);
    sync_ns = SY_NS_PER_S * 3600;
    watch(&w, true);
    while (w.slow < 3)
        run_for(&w, 20 * MS);
    ck_assert_int_eq(syncs, 0);
    sync_ns = 0;
    while (syncs < 2)
        run_for(&w, 20 * MS);
    unsigned slow;
    do { /* it is well again; but a look takes as long as this machine stands still */
        slow = w.slow;
        for (int target = syncs + 5; syncs < target;)
            run_for(&w, 20 * MS);
    } while (w.slow != slow);
    close_world(&w);
}
END_TEST

START_TEST(one_that_fails_is_not_well)
{
    struct world w;
    open_world(&w, 300 * MS);
    sync_errno = EIO;
    watch(&w, true);
    while (w.slow < 3)
        run_for(&w, 20 * MS);
    watch(&w, false);
    run_until_still(&w);
    unsigned slow = w.slow;
    run_for(&w, 50 * MS);
    ck_assert_uint_eq(w.slow, slow);
    close_world(&w);
}
END_TEST

START_TEST(a_directory_that_is_gone_is_not_well)
{
    struct world w;
    open_world(&w, 300 * MS);
    rmdir(w.directory);
    watch(&w, true);
    while (w.slow < 2)
        run_for(&w, 20 * MS);
    ck_assert_int_eq(syncs, 0);
    close_world(&w);
}
END_TEST

START_TEST(what_is_freed_waits_for_its_look)
{
    struct world w;
    open_world(&w, 300 * MS);
    sync_ns = 100 * MS;
    watch(&w, true);
    while (begun == 0)
        run_for(&w, MS);
    close_world(&w);
    ck_assert_int_eq(syncs, 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_disk_that_is_well_is_looked_at_in_silence,
                                  a_slow_one_is_told_while_it_is_waited_for,
                                  one_that_fails_is_not_well,
                                  a_directory_that_is_gone_is_not_well,
                                  what_is_freed_waits_for_its_look,
                                  NULL};
    return sy_test_run("cp_disk_probe", tests);
}
