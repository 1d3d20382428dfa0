/* links: cp */
/*
 * Several shards together: see cp_ownership_world.h. When the faults end everything is served,
 * evenly, and then nothing moves any more; a seed gives the same twice.
 *
 * OWNERSHIP_SEED=n for one seed, OWNERSHIP_SEEDS=n for the first n; OWNERSHIP_VERBOSE=1 shows the
 * records as they change.
 */
#include "tests/unit/cp_ownership_world.h"

struct done {
    unsigned claims, handed, lost, unknown, crashes, pauses, stalls, pinned, splits, forks, disks;
    int64_t slowest_ns;
};

static uint64_t run_seed(uint64_t seed, struct done *done)
{
    struct world *w = world_new(seed, false);
    w->verbose = getenv("OWNERSHIP_VERBOSE") != NULL;
    run_until(w, STORM_NS);
    heal(w);
    int64_t healed = w->now_ns;
    run_until(w, healed + 5 * SY_NS_PER_S); /* the last faults have their consequences */
    while (w->now_ns < healed + HEAL_NS && !in_order(w))
        run_until(w, w->now_ns + 50 * SY_NS_PER_MS);
    ck_assert_msg(in_order(w), "seed %llu: not in order after a minute", (unsigned long long)seed);
    if (w->now_ns - healed > done->slowest_ns)
        done->slowest_ns = w->now_ns - healed;
    int64_t revision = w->revision;
    if (w->verbose)
        fprintf(stderr, "in order at %.3f\n", (double)w->now_ns / 1e9);
    run_until(w, w->now_ns + CALM_NS);
    ck_assert_msg(revision == w->revision, "seed %llu: no rest", (unsigned long long)seed);
    ck_assert(in_order(w));
    done->claims += w->claims;
    done->handed += w->handed;
    done->lost += w->lost;
    done->unknown += w->unknown;
    done->crashes += w->crashes;
    done->pauses += w->pauses;
    done->stalls += w->stalls;
    done->splits += w->splits;
    done->forks += w->forks;
    done->disks += w->disks;
    done->pinned += w->partitions_pinned;
    uint64_t hash = w->hash;
    world_free(w);
    return hash;
}

START_TEST(two_never_act_and_all_is_served_again)
{
    const char *only = getenv("OWNERSHIP_SEED"), *count = getenv("OWNERSHIP_SEEDS");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    uint64_t seeds = only ? 1 : count ? strtoull(count, NULL, 10) : 40;
    struct done done = {0};
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (only || count)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        uint64_t hash = run_seed(seed, &done);
        if (seed % 8 == 0)
            ck_assert_uint_eq(hash, run_seed(seed, &done));
    }
    if (only || count)
        fprintf(stderr,
                "claims %u, handed over %u, lost %u, unknown %u, crashes %u, pauses %u, stalls %u, "
                "pinned %u, splits %u of %u forks, disks lost %u, "
                "slowest to heal %lld ms\n",
                done.claims, done.handed, done.lost, done.unknown, done.crashes, done.pauses,
                done.stalls, done.pinned, done.splits, done.forks, done.disks,
                (long long)(done.slowest_ns / SY_NS_PER_MS));
    ck_assert(seeds < 20 || (done.claims > 1000 && done.handed > 200 && done.lost > 100));
    ck_assert(seeds < 20 || (done.unknown > 50 && done.crashes > 20 && done.pauses > 20));
    ck_assert(seeds < 20 || (done.stalls > 50 && done.pinned > 0));
    ck_assert(seeds < 20 || (done.splits > 20 && done.forks > done.splits && done.disks > 5));
}
END_TEST

/* Whether somebody may act on each partition. */
static bool all_served(const struct world *w)
{
    for (uint32_t p = 0; p < w->partitions; p++) {
        unsigned rights = 0;
        for (size_t i = 0; i < SHARDS; i++)
            rights += w->sites[i].o && right(w, &w->sites[i], p) != 0;
        if (rights == 0)
            return false;
    }
    return true;
}

static void until_in_order(struct world *w, int64_t ns)
{
    for (int64_t end = w->now_ns + ns; w->now_ns < end && !in_order(w);)
        run_until(w, w->now_ns + 50 * SY_NS_PER_MS);
    ck_assert(in_order(w));
}

/* Without other faults: nothing moves at the start, only what has to after a death and a return,
 * and a hand-over is short. */
START_TEST(a_region_starts_loses_a_shard_and_gets_it_back)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world *w = world_new(seed, true);
        size_t victim = seed % SHARDS;
        run_until(w, 4 * SY_NS_PER_S);
        ck_assert(in_order(w));
        ck_assert_uint_eq(w->handed + w->lost, 0);
        ck_assert_uint_eq(w->claims, w->partitions);

        run_until(w, w->now_ns + any_ns(w, 0, 2000));
        int64_t death = w->now_ns, session = w->sites[victim].session;
        bool proved = seed % 2 == 0;
        crash(w, victim);
        if (proved)
            happen(w, any_ns(w, 0, 5), (struct happening){.type = BURY, .session = session});
        while (!all_served(w))
            run_until(w, w->now_ns + 10 * SY_NS_PER_MS);
        ck_assert_int_lt(w->now_ns - death, (proved ? 100 : 2600) * SY_NS_PER_MS);
        run_until(w, w->now_ns + SY_NS_PER_S);
        ck_assert_uint_eq(w->handed + w->lost, 0);

        happen(w, 0, (struct happening){.type = START, .shard = victim});
        run_until(w, w->now_ns + SY_NS_PER_S);
        until_in_order(w, 10 * SY_NS_PER_S);
        ck_assert_uint_le(w->handed, (w->partitions + SHARDS - 1) / SHARDS);
        ck_assert(w->handed > 0 || w->partitions < SHARDS);
        ck_assert_int_le(w->slowest_ns, 25 * SY_NS_PER_MS);

        set_mode(w, victim, CP_OWNERSHIP_DRAINS);
        run_until(w, w->now_ns + 10 * SY_NS_PER_S);
        for (uint32_t p = 0; p < w->partitions; p++)
            ck_assert_uint_eq(w->sites[victim].open[p].epoch, 0);
        ck_assert(all_served(w));
        ck_assert_uint_eq(w->lost, 0);
        ck_assert_int_le(w->slowest_ns, 25 * SY_NS_PER_MS);
        world_free(w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {two_never_act_and_all_is_served_again,
                                  a_region_starts_loses_a_shard_and_gets_it_back, NULL};
    return sy_test_run("cp_ownership_random", tests);
}
