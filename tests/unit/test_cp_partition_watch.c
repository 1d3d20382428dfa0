/* links: cp */
/* Watches: from any sequence number, none lost, none twice, and readers that are slow or stop. */
#include "cp_partition_world.h"

static void on_more(void *ctx)
{
    ++*(int *)ctx;
}

/* The run "r1" with a root that runs, and `count` ended children, made in calls of ten. */
static void no_root(struct world *w, struct attempt *root)
{
    (void)w;
    (void)root;
}

static void add_children(struct world *w, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i += 10) {
        struct cp_new_action actions[10] = {0};
        char names[10][12];
        struct answer answer;
        for (unsigned j = 0; j < 10; j++) {
            snprintf(names[j], sizeof(names[j]), "c%06u", i + j);
            actions[j].name = names[j];
        }
        enqueue(w, "r1", "a0", actions, 10, false, &answer);
        expect(w, &answer, SY_CODE_OK, "");
    }
}

static struct world *world_with_children(unsigned count)
{
    struct world *w = world_new();
    struct answer answer;
    w->on_root = no_root;
    world_run(w, 20 * MS);
    create_run(w, "r1", "", "switchyard.process", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    add_children(w, 0, count);
    world_run(w, 50 * MS);
    return w;
}

/* Reads all that is there; returns the last sequence number. */
static uint64_t drain(struct cp_watch *watch, uint64_t from, size_t bytes_max, bool *ret_ended)
{
    size_t count = 1;
    while (count > 0 && !*ret_ended) {
        struct sy_arena arena;
        sy_arena_init(&arena, 1 << 20);
        Switchyard__V1__Event **events;
        ck_assert_int_eq(cp_watch_read_events(watch, &arena, bytes_max, &events, &count, ret_ended),
                         0);
        for (size_t i = 0; i < count; i++)
            ck_assert_uint_eq(events[i]->sequence, ++from);
        sy_arena_deinit(&arena);
    }
    return from;
}

START_TEST(test_events_from_anywhere)
{
    struct world *w = world_with_children(50);
    int told = 0;
    bool ended = false;
    struct cp_watch *watch = cp_watch_run(w->p, run_id(w, "r1"), 0, on_more, &told);
    uint64_t all = drain(watch, 0, 1 << 20, &ended);
    cp_watch_free(watch);
    ck_assert_uint_eq(all, 2 + 50 * 3);
    for (uint64_t after = 0; after <= all + 2; after++) {
        for (size_t bytes = 1; bytes < 100000; bytes *= 50) {
            watch = cp_watch_run(w->p, run_id(w, "r1"), after, on_more, &told);
            ck_assert_uint_eq(drain(watch, after, bytes, &ended), after > all ? after : all);
            ck_assert(!ended);
            cp_watch_free(watch);
        }
    }
    world_free(w);
}
END_TEST

/* Reads only when it was told that there is more, and misses nothing. */
START_TEST(test_events_live)
{
    struct world *w = world_with_children(10);
    int told = 0;
    bool ended = false;
    struct cp_watch *watch = cp_watch_run(w->p, run_id(w, "r1"), 0, on_more, &told);
    ck_assert_int_eq(told, 0); /* never inside the call */
    world_step(w, w->now_ns + MS);
    ck_assert_int_eq(told, 1);
    uint64_t last = drain(watch, 0, 1000, &ended);
    add_children(w, 10, 30);
    struct answer aborted = {0};
    bool asked = false;
    for (int i = 0; i < 20000 && !ended; i++) {
        if (!asked && i == 300) {
            cp_partition_abort(w->p, "p", "d", "r1", "a0", "", on_answer, &aborted);
            asked = true;
        }
        int before = told;
        world_step(w, w->now_ns + MS);
        ck_assert_int_le(told, before + 1); /* at most once a turn */
        if (told > before)
            last = drain(watch, last, 200, &ended);
    }
    ck_assert(ended);
    ck_assert_uint_eq(last, 2 + 40 * 3 + 1);
    cp_watch_free(watch);
    watch = cp_watch_run(w->p, run_id(w, "r1"), 0, on_more, &told); /* of a run that has ended */
    ended = false;
    ck_assert_uint_eq(drain(watch, 0, 200, &ended), last);
    ck_assert(ended);
    cp_watch_free(watch);
    watch = cp_watch_run(w->p, 12345, 0, on_more, &told);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    Switchyard__V1__Event **events;
    size_t count;
    ck_assert_int_eq(cp_watch_read_events(watch, &arena, 100, &events, &count, &ended),
                     CP_PARTITION_E_NOT_FOUND);
    sy_arena_deinit(&arena);
    cp_watch_free(watch);
    world_free(w);
}
END_TEST

/* A reader that does not read costs nothing and holds nobody up; later it finds everything. */
START_TEST(test_slow_reader)
{
    struct world *w = world_with_children(0);
    int told = 0;
    bool ended = false;
    struct cp_watch *slow = cp_watch_run(w->p, run_id(w, "r1"), 0, on_more, &told);
    add_children(w, 0, 1000);
    world_run(w, 100 * MS);
    ck_assert_int_gt(told, 10);
    ck_assert_uint_eq(drain(slow, 0, 5000, &ended), 2 + 1000 * 3);
    cp_watch_free(slow);
    world_free(w);
}
END_TEST

START_TEST(test_children)
{
    struct world *w = world_with_children(50);
    int told = 0;
    uint64_t id = run_id(w, "r1");
    struct answer answer;
    enqueue(w, "r1", "a0", (const struct cp_new_action[]){{.name = "hold"}}, 1, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    for (size_t max = 1; max < 100; max *= 7) {
        struct cp_watch *watch = cp_watch_children(w->p, id, "a0", 3, on_more, &told);
        uint64_t expected = 3;
        size_t count = 1;
        while (count > 0) {
            struct sy_arena arena;
            sy_arena_init(&arena, 1 << 20);
            const char **names;
            uint64_t next, running;
            ck_assert_int_eq(
                cp_watch_read_children(watch, &arena, max, &names, &count, &next, &running), 0);
            ck_assert_uint_le(count, max);
            for (size_t i = 0; i < count; i++) {
                char name[12];
                snprintf(name, sizeof(name), "c%06u", (unsigned)expected++);
                ck_assert_str_eq(names[i], name);
            }
            ck_assert_uint_eq(next, expected);
            ck_assert_uint_eq(running, 1);
            sy_arena_deinit(&arena);
        }
        ck_assert_uint_eq(expected, 50);
        cp_watch_free(watch);
    }
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const char **names;
    size_t count;
    uint64_t next, running;
    struct cp_watch *watch = cp_watch_children(w->p, id, "nobody", 0, on_more, &told);
    ck_assert_int_eq(cp_watch_read_children(watch, &arena, 9, &names, &count, &next, &running),
                     CP_PARTITION_E_NOT_FOUND);
    cp_watch_free(watch);
    sy_arena_deinit(&arena);
    world_free(w);
}
END_TEST

/* A child whose end is not durable yet still runs, for those who ask. */
START_TEST(test_children_running)
{
    struct world *w = world_with_children(0);
    struct answer answer, aborted = {0};
    int told = 0;
    enqueue(w, "r1", "a0", (const struct cp_new_action[]){{.name = "hold"}}, 1, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 20 * MS);
    struct cp_watch *watch = cp_watch_children(w->p, run_id(w, "r1"), "a0", 0, on_more, &told);
    cp_partition_abort(w->p, "p", "d", "r1", "hold", "", on_answer, &aborted);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const char **names;
    size_t count = 0;
    uint64_t next, running = 1;
    for (int i = 0; i < 100 && running > 0; i++) {
        ck_assert_int_eq(cp_watch_read_children(watch, &arena, 9, &names, &count, &next, &running),
                         0);
        ck_assert_uint_eq(count + running, 1);
        ck_assert_uint_eq(next, count);
        world_step(w, w->now_ns + MS);
    }
    ck_assert_uint_eq(count, 1);
    cp_watch_free(watch);
    sy_arena_deinit(&arena);
    world_free(w);
}
END_TEST

static size_t read_runs(struct cp_watch *watch, uint64_t *ids, size_t max, size_t page)
{
    size_t count = 0, n = 1;
    while (n > 0 && count < max) {
        n = cp_watch_read_runs(watch, ids + count, max - count < page ? max - count : page);
        count += n;
    }
    return count;
}

START_TEST(test_runs)
{
    struct world *w = world_new();
    struct answer answer;
    int told = 0, other_told = 0;
    uint64_t ids[16];
    world_run(w, 20 * MS);
    struct cp_watch *watch = cp_watch_runs(w->p, "p", "", on_more, &told);
    struct cp_watch *other = cp_watch_runs(w->p, "", "dd", on_more, &other_told);
    world_run(w, 20 * MS);
    ck_assert_uint_eq(read_runs(watch, ids, 16, 4), 0);
    told = other_told = 0;
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "r%d", i);
        create_run(w, name, "", "switchyard.process", &answer);
        expect(w, &answer, SY_CODE_OK, "");
    }
    world_run(w, 50 * MS);
    ck_assert_int_gt(told, 0);
    ck_assert_int_eq(other_told, 0);
    ck_assert_uint_eq(read_runs(watch, ids, 16, 2), 3); /* coalesced */
    ck_assert_uint_eq(ids[0], run_id(w, "r0"));
    ck_assert_uint_eq(ids[2], run_id(w, "r2"));
    ck_assert_uint_eq(read_runs(watch, ids, 16, 2), 0);
    cp_watch_free(watch);
    cp_watch_free(other);
    world_free(w);
}
END_TEST

/* No run below it can change any more; one whose end is not durable yet still does. */
START_TEST(test_oldest_run)
{
    struct world *w = world_new();
    struct answer answers[3], aborted = {0};
    uint64_t ids[3];
    world_run(w, 20 * MS);
    w->offline = true;
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "r%d", i);
        create_run(w, name, "", "switchyard.group", &answers[i]);
        expect(w, &answers[i], SY_CODE_OK, "");
        ids[i] = run_id(w, name);
        ck_assert_uint_eq(cp_partition_oldest_run(w->p), ids[0]);
    }
    int told = 0;
    struct cp_watch *watch = cp_watch_runs(w->p, "", "", on_more, &told);
    ck_assert(cp_watch_can_read(watch) && cp_watch_runs_are_read(watch));
    cp_partition_abort(w->p, "p", "d", "r0", "a0", "", on_answer, &aborted);
    while (aborted.calls == 0) {
        ck_assert_uint_eq(cp_partition_oldest_run(w->p), ids[0]);
        ck_assert(cp_watch_runs_are_read(watch));
        world_run(w, 10 * SY_NS_PER_US);
    }
    world_run(w, MS);
    ck_assert_uint_eq(cp_partition_oldest_run(w->p), ids[1]);
    ck_assert(!cp_watch_runs_are_read(watch));
    ck_assert_uint_eq(cp_watch_read_runs(watch, ids, 3), 1);
    ck_assert(cp_watch_runs_are_read(watch));
    for (int i = 1; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "r%d", i);
        aborted = (struct answer){0};
        cp_partition_abort(w->p, "p", "d", name, "a0", "", on_answer, &aborted);
        await(w, &aborted);
    }
    world_run(w, MS);
    uint64_t none = cp_partition_oldest_run(w->p);
    ck_assert_uint_gt(none, ids[2]);
    create_run(w, "r3", "", "switchyard.group", &answers[0]);
    expect(w, &answers[0], SY_CODE_OK, "");
    ck_assert_uint_ge(run_id(w, "r3"), none);
    cp_watch_free(watch);
    world_free(w);
}
END_TEST

/* More runs change than are kept for a reader that does not read: it gets too many, but misses
 * none. */
START_TEST(test_runs_overflow)
{
    struct world *w = world_new();
    enum { RUNS = 6000 };
    static struct answer answers[RUNS];
    static uint64_t ids[2 * RUNS];
    int told = 0;
    world_run(w, 20 * MS);
    w->offline = true;
    struct cp_watch *watch = cp_watch_runs(w->p, "", "", on_more, &told);
    for (int i = 0; i < RUNS; i++) {
        char name[8];
        snprintf(name, sizeof(name), "r%d", i);
        create_run(w, name, "", "switchyard.group", &answers[i]);
    }
    await(w, &answers[RUNS - 1]);
    world_run(w, 20 * MS);
    size_t count = 0, n = 1;
    for (int turns = 0; turns < 100 && n > 0; turns++) {
        n = read_runs(watch, ids + count, 2 * RUNS - count, 100);
        count += n;
        world_run(w, MS);
    }
    ck_assert_uint_eq(count, RUNS);
    for (size_t i = 0; i + 1 < count; i++)
        ck_assert_uint_lt(ids[i], ids[i + 1]);
    cp_watch_free(watch);
    world_free(w);
}
END_TEST

/* When the partition steps down, watches are told, and say so. */
START_TEST(test_step_down)
{
    struct world *w = world_with_children(10);
    int told = 0;
    uint64_t id = run_id(w, "r1");
    struct cp_watch *run = cp_watch_run(w->p, id, 0, on_more, &told);
    struct cp_watch *runs = cp_watch_runs(w->p, "", "", on_more, &told);
    struct cp_watch *children = cp_watch_children(w->p, id, "a0", 0, on_more, &told);
    world_run(w, 20 * MS);
    told = 0;
    cp_mem_disk_set(w->disk, 0, 0);
    struct answer answer;
    create_run(w, "r2", "", "switchyard.process", &answer);
    await(w, &answer);
    world_run(w, MS);
    ck_assert_int_eq(told, 3);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    Switchyard__V1__Event **events;
    const char **names;
    size_t count;
    uint64_t next, running;
    bool ended;
    world_run(w, 5 * SY_NS_PER_S); /* also when it serves again: they are of the past */
    ck_assert(cp_partition_serving(w->p));
    ck_assert_int_eq(cp_watch_read_events(run, &arena, 100, &events, &count, &ended),
                     CP_PARTITION_E_NOT_SERVING);
    ck_assert_int_eq(cp_watch_read_children(children, &arena, 9, &names, &count, &next, &running),
                     CP_PARTITION_E_NOT_SERVING);
    ck_assert(!cp_watch_can_read(runs));
    ck_assert_uint_eq(cp_watch_read_runs(runs, &next, 1), 0);
    cp_watch_free(run);
    world_crash(w);
    cp_watch_free(runs); /* outlive the partition */
    cp_watch_free(children);
    sy_arena_deinit(&arena);
    world_free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_events_from_anywhere,
        test_events_live,
        test_slow_reader,
        test_children,
        test_children_running,
        test_runs,
        test_oldest_run,
        test_runs_overflow,
        test_step_down,
        NULL,
    };
    return sy_test_run("cp_partition_watch", tests);
}
