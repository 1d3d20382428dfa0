/* links: sch */
/* The index of vectors against a list that is searched from its beginning. */
#include "base/mem.h"
#include "base/rng.h"
#include "scheduler/fit.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES 200u
#define DIMS 5u

struct world {
    struct sy_rng rng;
    struct sch_fit fit;
    struct sch_fit_entry *entries[ENTRIES];
};

static bool enough(const uint64_t *values, const uint64_t *least)
{
    for (uint32_t d = 0; d < DIMS; d++) {
        if (values[d] < least[d])
            return false;
    }
    return true;
}

static bool before(const struct sch_fit_entry *a, const struct sch_fit_entry *b)
{
    if (a->values[0] != b->values[0])
        return a->values[0] < b->values[0];
    return a->values[1] != b->values[1] ? a->values[1] < b->values[1] : a->tie < b->tie;
}

static const struct sch_fit_entry *search(const struct world *w, const uint64_t *least)
{
    const struct sch_fit_entry *best = NULL;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        const struct sch_fit_entry *entry = w->entries[i];
        if (entry->count > 0 && enough(entry->values, least) && (!best || before(entry, best)))
            best = entry;
    }
    return best;
}

static uint64_t room(const struct world *w, const uint64_t *least)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        uint64_t most = w->entries[i]->count > 0 ? SCH_FIT_ROOM_MAX : 0;
        for (uint32_t d = 0; d < DIMS; d++) {
            uint64_t here = least[d] > 0 ? w->entries[i]->values[d] / least[d] : most;
            most = here < most ? here : most;
        }
        sum += most;
    }
    return sum;
}

static void draw(struct sy_rng *rng, uint64_t ret[DIMS], uint64_t below)
{
    for (uint32_t d = 0; d < DIMS; d++)
        ret[d] = sy_rng_below(rng, below);
}

/* Each owner is its entry's place in `entries`. */
struct walk {
    const struct world *w;
    const uint64_t *least;
    const struct sch_fit_entry *last;
    uint32_t count, most;
};

static bool walk_on(void *ctx, void *owner)
{
    struct walk *walk = ctx;
    const struct sch_fit_entry *entry = *(struct sch_fit_entry **)owner;
    ck_assert(enough(entry->values, walk->least));
    ck_assert(!walk->last || before(entry, walk->last));
    walk->last = entry;
    return ++walk->count < walk->most;
}

/* All that have enough, the last ones first, until it is told to stop. */
static void check_walk(const struct world *w, const uint64_t *least, uint32_t most)
{
    struct walk walk = {.w = w, .least = least, .most = most};
    uint32_t count = 0;
    for (uint32_t i = 0; i < ENTRIES; i++)
        count += w->entries[i]->count > 0 && enough(w->entries[i]->values, least);
    bool all = sch_fit_each_last(&w->fit, least, walk_on, &walk);
    ck_assert_uint_eq(walk.count, count < most ? count : most);
    ck_assert(all == (count < most));
}

START_TEST(it_finds_the_first_that_has_enough)
{
    struct world *w = sy_new(struct world);
    sy_rng_init(&w->rng, 7);
    w->fit.dims = DIMS;
    for (uint32_t i = 0; i < ENTRIES; i++)
        w->entries[i] = sch_fit_entry_new(DIMS, i + 1, &w->entries[i]);
    uint64_t values[DIMS], least[DIMS], found = 0;
    for (int step = 0; step < 20000; step++) {
        struct sch_fit_entry *entry = w->entries[sy_rng_below(&w->rng, ENTRIES)];
        draw(&w->rng, values, 10);
        if (sy_rng_chance(&w->rng, 1, 4))
            sch_fit_remove(&w->fit, entry);
        else
            sch_fit_set(&w->fit, entry, values);
        draw(&w->rng, least, 11);
        ck_assert_ptr_eq(sch_fit_find(&w->fit, least), search(w, least));
        found += sch_fit_find(&w->fit, least) != NULL;
        ck_assert_uint_eq(sch_fit_room(&w->fit, least, ENTRIES), room(w, least));
        check_walk(w, least, 1 + (uint32_t)sy_rng_below(&w->rng, 8));
        if (step % 100 == 0)
            sch_fit_check(&w->fit);
    }
    ck_assert_uint_gt(found, 1000);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        sch_fit_remove(&w->fit, w->entries[i]);
        sch_fit_remove(&w->fit, w->entries[i]);
        free(w->entries[i]);
    }
    ck_assert_uint_eq(sch_fit_count(&w->fit), 0);
    free(w);
}
END_TEST

/* Beyond its budget the room is an estimate: none where there is none, and not far off. */
START_TEST(room_is_estimated_beyond_the_budget)
{
    enum { MANY = 20000 };
    struct sch_fit fit = {.dims = 2};
    struct sch_fit_entry **entries = sy_calloc(MANY, sizeof(struct sch_fit_entry *));
    struct sy_rng rng;
    sy_rng_init(&rng, 3);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        uint64_t values[2] = {0, sy_rng_below(&rng, 32)};
        entries[i] = sch_fit_entry_new(2, i + 1, NULL);
        sch_fit_set(&fit, entries[i], values);
        sum += values[1] / 4;
    }
    uint64_t least[2] = {0, 4}, too_much[2] = {0, 33};
    uint64_t estimate = sch_fit_room(&fit, least, 256);
    ck_assert_uint_eq(sch_fit_room(&fit, too_much, 256), 0);
    ck_assert_uint_eq(sch_fit_room(&fit, least, MANY), sum);
    ck_assert_uint_gt(estimate, sum * 9 / 10);
    ck_assert_uint_lt(estimate, sum * 11 / 10);
    for (uint32_t i = 0; i < MANY; i++)
        free(entries[i]);
    free(entries);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {it_finds_the_first_that_has_enough,
                                  room_is_estimated_beyond_the_budget, NULL};
    return sy_test_run("sch_fit", tests);
}
