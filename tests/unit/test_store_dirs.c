/* links: cp */
/* Directories of a partition's store (controlplane/store_dirs.h): by the rules, with bad input,
 * stopped at each step by a kill and by a loss of power, and while the former owner goes on
 * writing. DIRS_SEEDS=n */
#include "tests/unit/store_dirs_world.h"

/* ---- the rules ---- */

START_TEST(without_a_region_it_keeps_its_name)
{
    struct world w;
    open_world(&w, 1);
    struct cp_dirs *dirs = take(&w, 0);
    ck_assert(cp_dirs_empty(dirs));
    ck_assert_ptr_nonnull(strstr(cp_dirs_path(dirs), "/p0/e0000000000"));
    struct store s = fill(&w, dirs, 20);
    close_store(&s);
    cp_dirs_free(dirs); /* it died */
    dirs = take(&w, 0);
    ck_assert(!cp_dirs_empty(dirs));
    ck_assert_ptr_nonnull(strstr(cp_dirs_path(dirs), "/p0/e0000000000"));
    open_store(&s, cp_dirs_path(dirs), s.acknowledged);
    close_store(&s);
    cp_dirs_free(dirs);
    close_world(&w);
}
END_TEST

START_TEST(what_was_closed_is_taken_in_place)
{
    struct world w;
    open_world(&w, 2);
    struct cp_dirs *dirs = take(&w, 1);
    struct store s = fill(&w, dirs, 3);
    ino_t head = inode(cp_dirs_path(dirs), "HEAD");
    close_store(&s);
    cp_dirs_closed(dirs);
    cp_dirs_free(dirs);
    w.boot = "kernel-2"; /* on another machine */
    dirs = take(&w, 7);
    ck_assert_ptr_nonnull(strstr(cp_dirs_path(dirs), "/p0/e0000000007"));
    ck_assert_uint_eq(inode(cp_dirs_path(dirs), "HEAD"), head);
    ck_assert(!there("e0000000001", w.path));
    cp_dirs_free(dirs);
    close_world(&w);
}
END_TEST

/* It died on this machine: its lock proves it. On another, or with a lock that is held: a copy. */
START_TEST(what_was_not_closed_is_copied_unless_its_lock_proves_it_dead)
{
    for (int i = 0; i < 3; i++) {
        struct world w;
        open_world(&w, 3);
        struct cp_dirs *dirs = take(&w, 1);
        struct store s = fill(&w, dirs, 30);
        ck_assert_uint_gt(s.table_count, 0);
        char table[16];
        snprintf(table, sizeof(table), "t%06u", s.tables[0]);
        ino_t head = inode(cp_dirs_path(dirs), "HEAD"), first = inode(cp_dirs_path(dirs), table);
        close_store(&s);
        pid_t pid = i == 2 ? start_locker(cp_dirs_path(dirs)) : 0;
        cp_dirs_free(dirs);
        if (i == 1)
            w.boot = "kernel-2";
        dirs = take(&w, 2);
        ck_assert_int_eq(inode(cp_dirs_path(dirs), "HEAD") == head, i == 0);
        ck_assert_uint_eq(inode(cp_dirs_path(dirs), table), first); /* never copied */
        ck_assert_int_eq(there("e0000000001", w.path), i != 0);
        cp_dirs_opened(dirs);
        ck_assert(!there("e0000000001", w.path));
        open_store(&s, cp_dirs_path(dirs), s.acknowledged);
        close_store(&s);
        cp_dirs_free(dirs);
        if (pid != 0)
            end_locker(pid);
        close_world(&w);
    }
}
END_TEST

/* Closed under an earlier number, then taken again: not closed. */
START_TEST(closed_counts_for_its_own_number_only)
{
    struct world w;
    open_world(&w, 4);
    struct cp_dirs *dirs = take(&w, 1);
    struct store s = fill(&w, dirs, 5);
    close_store(&s);
    cp_dirs_closed(dirs);
    cp_dirs_free(dirs);
    w.steps_left = 1; /* the rename, then it dies, before it says that it has it */
    ck_assert_int_eq(refused(&w, 2, "cannot be taken"), -ECANCELED);
    w.steps_left = -1;
    ck_assert(there("e0000000002/HOLDER", w.path));
    ino_t head;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/e0000000002", w.path);
    head = inode(path, "HEAD");
    dirs = take(&w, 3);
    ck_assert_uint_ne(inode(cp_dirs_path(dirs), "HEAD"), head);
    cp_dirs_free(dirs);
    close_world(&w);
}
END_TEST

START_TEST(a_later_epoch_has_it)
{
    struct world w;
    open_world(&w, 5);
    cp_dirs_free(take(&w, 1));
    cp_dirs_free(take(&w, 9));
    ck_assert_int_eq(refused(&w, 8, "was taken under epoch 9, ours is 8"), 9);
    struct cp_dirs *again = take(&w, 9); /* its own, after a failure */
    cp_dirs_free(again);
    ck_assert_int_eq(refused(&w, 1, "was taken under epoch 9, ours is 1"), 9);
    close_world(&w);
}
END_TEST

START_TEST(nobody_removes_what_is_newer_or_not_the_stores)
{
    struct world w;
    char path[PATH_MAX];
    open_world(&w, 6);
    cp_dirs_free(take(&w, 1));
    struct cp_dirs *older = take(&w, 3);
    cp_dirs_free(take(&w, 4));
    snprintf(path, sizeof(path),
             "%s/e0000000005"
             ".tmp",
             w.path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path),
             "%s/e0000000002"
             ".tmp",
             w.path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/notes", w.path);
    say(path, "of a person", false);
    cp_dirs_opened(older);
    ck_assert(there("e0000000004", w.path) && there("e0000000005.tmp", w.path));
    ck_assert(there("notes", w.path) && !there("e0000000002.tmp", w.path));
    cp_dirs_closed(older); /* its directory is gone */
    cp_dirs_free(older);
    close_world(&w);
}
END_TEST

/* ---- bad input ---- */

START_TEST(what_is_missing_is_not_begun_anew)
{
    struct world w;
    open_world(&w, 7);
    ck_assert_int_eq(refused(&w, 2, "is missing: is its volume mounted?"), -ENOENT);
    ck_assert(!there("p0", w.base));
    ck_assert_int_eq(mkdir(w.path, 0700), 0); /* as its sentence says */
    struct cp_dirs *dirs = take(&w, 2);
    ck_assert(cp_dirs_empty(dirs));
    cp_dirs_free(dirs);
    close_world(&w);
}
END_TEST

START_TEST(what_a_shard_without_a_region_has_open_is_not_taken_over)
{
    for (uint32_t before = 0; before < 2; before++) { /* it never had one, or has one no more */
        struct world w;
        open_world(&w, 8);
        cp_dirs_free(take(&w, before));
        struct cp_dirs *dirs = take(&w, 0);
        struct store s = fill(&w, dirs, 10);
        close_store(&s);
        pid_t pid = start_locker(cp_dirs_path(dirs));
        ck_assert_int_eq(refused(&w, 2, "is in use by another process"), -EBUSY);
        ck_assert(there(before ? "e0000000001/HEAD" : "e0000000000/HEAD", w.path));
        ck_assert(!there("e0000000002", w.path));
        end_locker(pid);
        cp_dirs_free(dirs);
        dirs = take(&w, 2);
        open_store(&s, cp_dirs_path(dirs), s.acknowledged);
        close_store(&s);
        cp_dirs_free(dirs);
        close_world(&w);
    }
}
END_TEST

START_TEST(a_path_that_is_no_directory)
{
    struct world w;
    open_world(&w, 9);
    say(w.path, "a file", false);
    ck_assert_int_eq(refused(&w, 1, w.path), -ENOTDIR);
    struct world nowhere = {.steps_left = -1, .boot = "k", .path = "/proc/no/such"};
    ck_assert_int_lt(refused(&nowhere, 1, "/proc/no/such cannot be taken"), 0);
    close_world(&w);
}
END_TEST

/* ---- the old layout ---- */

static struct store make_flat(struct world *w, unsigned writes)
{
    struct store s;
    ck_assert_int_eq(mkdir(w->path, 0700), 0);
    open_store(&s, w->path, 0);
    for (unsigned i = 0; i < writes; i++)
        write_some(&s, &w->rng);
    s.acknowledged = s.records;
    close_store(&s);
    return s;
}

START_TEST(the_old_layout_is_adopted)
{
    for (uint32_t epoch = 0; epoch < 3; epoch++) {
        struct world w;
        open_world(&w, 10);
        struct store s = make_flat(&w, 30);
        pid_t pid = start_locker(w.path);
        ck_assert_int_eq(refused(&w, epoch, "is in use by another process"), -EBUSY);
        ck_assert(there("HEAD", w.path));
        end_locker(pid);
        struct cp_dirs *dirs = take(&w, epoch);
        ck_assert(!there("HEAD", w.path) && !there("p0.flat", w.base));
        open_store(&s, cp_dirs_path(dirs), s.acknowledged);
        close_store(&s);
        cp_dirs_free(dirs);
        close_world(&w);
    }
}
END_TEST

/* ---- stopped at each step ---- */

enum shape { CLOSED, DEAD, HELD, FLAT, SHAPES };

/* A kill, or a loss of power, after so many steps, perhaps again after so many of the next try. */
static bool survives(uint64_t seed, enum shape shape, int steps, bool power)
{
    struct world w;
    open_world(&w, seed);
    unsigned writes = (unsigned)sy_rng_below(&w.rng, 40);
    struct store s;
    uint32_t epoch = 1;
    if (shape == FLAT) {
        s = make_flat(&w, writes);
    } else {
        struct cp_dirs *dirs = take(&w, epoch++);
        s = fill(&w, dirs, writes);
        close_store(&s);
        if (shape == CLOSED)
            cp_dirs_closed(dirs);
        cp_dirs_free(dirs);
        w.boot = shape == HELD ? "kernel-2" : w.boot;
    }
    bool done = false;
    for (int tries = 0; tries < 1 + (int)(seed % 3) && !done; tries++) {
        struct cp_dirs *dirs = NULL;
        uint32_t newer;
        w.steps_left = tries == 0 ? steps : (int)sy_rng_below(&w.rng, 12);
        int r = take_text(&w, epoch, &dirs, &newer, NULL);
        if (r == 0) {
            open_store(&s, cp_dirs_path(dirs), s.acknowledged);
            for (unsigned i = 0; i < 5; i++)
                append(&s);
            s.acknowledged = s.records;
            close_store(&s);
            cp_dirs_opened(dirs);
            done = w.steps_left != 0 && tries == 0;
            cp_dirs_free(dirs);
        } else {
            ck_assert_int_eq(r, -ECANCELED);
        }
        if (power)
            lose_power(&w);
        epoch += sy_rng_chance(&w.rng, 1, 2) ? 1 : 0;
    }
    w.steps_left = -1;
    struct cp_dirs *dirs = take(&w, epoch + 1);
    open_store(&s, cp_dirs_path(dirs), s.acknowledged);
    close_store(&s);
    cp_dirs_opened(dirs);
    cp_dirs_free(dirs);
    close_world(&w);
    return done;
}

START_TEST(stopped_at_each_step)
{
    const char *text = getenv("DIRS_SEEDS");
    uint64_t count = text != NULL ? strtoull(text, NULL, 10) : 6;
    for (int shape = 0; shape < SHAPES; shape++) {
        for (uint64_t seed = 1; seed <= count; seed++) {
            for (int power = 0; power < 2; power++) {
                int steps = 0;
                while (!survives(seed, (enum shape)shape, steps, power))
                    ck_assert_int_lt(++steps, 500);
                ck_assert_int_gt(steps, 2);
            }
        }
    }
}
END_TEST

/* ---- the former owner is not dead ---- */

/* It writes, folds and removes all the while; what it writes later is in its own directory. */
START_TEST(the_former_owner_goes_on_writing)
{
    const char *text = getenv("DIRS_SEEDS");
    uint64_t count = text != NULL ? 10 * strtoull(text, NULL, 10) : 200;
    for (uint64_t seed = 1; seed <= count; seed++) {
        struct world w;
        open_world(&w, seed);
        struct cp_dirs *dirs = take(&w, 1);
        struct store former = fill(&w, dirs, (unsigned)sy_rng_below(&w.rng, 60)), s;
        cp_dirs_free(dirs);
        w.boot = "kernel-2";
        w.former = &former;
        w.writes_left = (unsigned)sy_rng_below(&w.rng, 40);
        dirs = NULL;
        uint32_t newer;
        unsigned writes_left = w.writes_left;
        int r;
        for (; (r = take_text(&w, 2, &dirs, &newer, NULL)) == -EAGAIN; writes_left = w.writes_left)
            ck_assert_uint_lt(w.writes_left, writes_left); /* else nothing has changed */
        ck_assert_int_eq(r, 0);
        w.former = NULL;
        open_store(&s, cp_dirs_path(dirs), former.acknowledged);
        unsigned at = s.records;
        for (unsigned i = 0; i < 10; i++) {
            append(&former); /* to a log that it has open */
            write_some(&s, &w.rng);
        }
        at = s.records;
        close_store(&s);
        open_store(&s, cp_dirs_path(dirs), at);
        ck_assert_uint_eq(s.records, at);
        close_store(&s);
        close_store(&former);
        cp_dirs_free(dirs);
        close_world(&w);
    }
}
END_TEST

/* One that stood still between its claim and any step of its taking, while the next one took it. */
START_TEST(who_stood_still_before_taking_makes_nothing_that_counts)
{
    int steps = 0;
    for (bool done = false; !done; steps++) {
        struct world w;
        open_world(&w, 11);
        struct cp_dirs *dirs = take(&w, 1);
        struct store s = fill(&w, dirs, 25);
        close_store(&s);
        cp_dirs_free(dirs);
        w.boot = "kernel-2";
        w.steps_left = steps; /* epoch 2 has come so far */
        uint32_t newer;
        struct cp_dirs *late = NULL;
        done = take_text(&w, 2, &late, &newer, NULL) == 0;
        w.steps_left = -1;
        dirs = take(&w, 3);
        cp_dirs_opened(dirs);
        open_store(&s, cp_dirs_path(dirs), s.acknowledged);
        append(&s);
        s.acknowledged = s.records;
        close_store(&s);
        ck_assert_int_eq(refused(&w, 2, "was taken under epoch 3"), 3);
        if (late != NULL)
            cp_dirs_opened(late);
        cp_dirs_free(late);
        cp_dirs_free(dirs);
        dirs = take(&w, 4);
        open_store(&s, cp_dirs_path(dirs), s.acknowledged);
        close_store(&s);
        cp_dirs_free(dirs);
        close_world(&w);
    }
    ck_assert_int_gt(steps, 10);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        without_a_region_it_keeps_its_name,
        what_was_closed_is_taken_in_place,
        what_was_not_closed_is_copied_unless_its_lock_proves_it_dead,
        closed_counts_for_its_own_number_only,
        a_later_epoch_has_it,
        nobody_removes_what_is_newer_or_not_the_stores,
        what_is_missing_is_not_begun_anew,
        what_a_shard_without_a_region_has_open_is_not_taken_over,
        a_path_that_is_no_directory,
        the_old_layout_is_adopted,
        stopped_at_each_step,
        the_former_owner_goes_on_writing,
        who_stood_still_before_taking_makes_nothing_that_counts,
        NULL,
    };
    return sy_test_run("store_dirs", tests);
}
