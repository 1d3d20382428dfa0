/* links: sch */
/* Priority and shares over partitions: what several of them get of the same clusters. */
#include "tests/unit/sch_region_world.h"

#define MS SY_NS_PER_MS
#define S SY_NS_PER_S

/* Any 1,000 ends, within 2 %. */
static void assert_part(const struct region *r, size_t from, unsigned queue, size_t per_mille)
{
    size_t least, most;
    spread(r, from, 1000, queue, &least, &most);
    ck_assert_msg(least + 20 >= per_mille && most <= per_mille + 20,
                  "of 1,000 ends %zu to %zu are of queue %u, not %zu", least, most, queue,
                  per_mille);
}

/* Within two: what waits on its node for room is one of them. */
static void assert_runs(const struct region *r, unsigned queue, size_t due)
{
    size_t count = running(r, 0, queue);
    ck_assert_msg(count + 2 >= due && count <= due + 2, "%zu of queue %u run, not %zu", count,
                  queue, due);
}

START_TEST(weights_hold_between_partitions)
{
    struct region *r = region_new(2, 1, 96);
    unsigned a = queue_add(r, "p", "a", 100, 200 * MS), b = queue_add(r, "p", "b", 300, 200 * MS);
    region_open(r);
    fill(r, 0, a, 2000); /* ten times as many wait, of the one with less weight */
    fill(r, 1, b, 200);
    run_until(r, r->now_ns + 2 * S);
    size_t from = r->end_count;
    run_until(r, r->now_ns + 40 * S);
    ck_assert_uint_gt(r->end_count - from, 3000 - 100);
    assert_part(r, from, a, 250);
    assert_part(r, from, b, 750);
    region_free(r);
}
END_TEST

START_TEST(one_queue_in_several_partitions_is_one)
{
    struct region *r = region_new(3, 1, 96);
    unsigned a = queue_add(r, "p", "a", 100, 200 * MS), b = queue_add(r, "p", "b", 300, 200 * MS);
    region_open(r);
    fill(r, 0, a, 500);
    fill(r, 1, a, 500);
    fill(r, 1, b, 500);
    fill(r, 2, b, 500);
    run_until(r, r->now_ns + 2 * S);
    size_t from = r->end_count;
    run_until(r, r->now_ns + 40 * S);
    assert_part(r, from, a, 250);
    assert_part(r, from, b, 750);
    region_free(r);
}
END_TEST

/* Two queues of one project against one of another: half each, whoever has which partition. */
START_TEST(levels_share_between_partitions)
{
    struct region *r = region_new(3, 1, 96);
    unsigned a = queue_add(r, "p", "a", 100, 200 * MS), b = queue_add(r, "p", "b", 100, 200 * MS),
             c = queue_add(r, "other", "c", 100, 200 * MS);
    region_open(r);
    fill(r, 0, a, 500);
    fill(r, 1, b, 500);
    fill(r, 2, c, 80);
    run_until(r, r->now_ns + 2 * S);
    size_t from = r->end_count;
    run_until(r, r->now_ns + 40 * S);
    assert_part(r, from, a, 250);
    assert_part(r, from, b, 250);
    assert_part(r, from, c, 500);
    region_free(r);
}
END_TEST

START_TEST(urgent_work_comes_first_over_partitions)
{
    struct region *r = region_new(2, 1, 8);
    unsigned a = queue_add(r, "p", "a", 100, 200 * MS), b = queue_add(r, "p", "b", 100, 200 * MS);
    region_open(r);
    fill(r, 0, a, 2000);
    run_until(r, r->now_ns + 2 * S);
    r->sites[1].priority = 5;
    size_t from = r->end_count;
    fill(r, 1, b, 100);
    r->sites[1].filled[b] = 0;
    run_until(r, r->now_ns + 30 * S);
    size_t last = from;
    for (size_t i = from; i < r->end_count; i++)
        last = r->ends[i].queue == b ? i : last;
    ck_assert_uint_eq(ended(r, from, r->end_count, b), 100);
    /* What had begun before it ends meanwhile, and what was on its way. */
    ck_assert_uint_lt(ended(r, from, last, a), 3 * 8);
    region_free(r);
}
END_TEST

START_TEST(what_a_partition_leaves_goes_to_others)
{
    struct region *r = region_new(2, 1, 96);
    unsigned a = queue_add(r, "p", "a", 100, 200 * MS), b = queue_add(r, "p", "b", 300, 200 * MS);
    region_open(r);
    fill(r, 0, a, 500);
    fill(r, 1, b, 500);
    run_until(r, r->now_ns + 5 * S);
    assert_runs(r, a, 24);
    stream_close(r, 1, 0);
    run_until(r, r->now_ns + 2 * S);
    assert_runs(r, a, 96);
    stream_open(r, 1, 0);
    run_until(r, r->now_ns + 5 * S);
    assert_runs(r, a, 24);
    region_free(r);
}
END_TEST

/* Who comes late has what ends, and not a quarter of that. */
START_TEST(a_new_operator_counts_what_runs)
{
    struct region *r = region_new(2, 1, 96);
    unsigned a = queue_add(r, "p", "a", 100, 2 * S), b = queue_add(r, "p", "b", 300, 2 * S);
    region_open(r);
    fill(r, 1, b, 500);
    run_until(r, r->now_ns + 10 * S);
    operator_stop(r, 0);
    operator_start(r, 0);
    fill(r, 0, a, 500);
    run_until(r, r->now_ns + 1200 * MS);
    assert_runs(r, a, 24);
    region_free(r);
}
END_TEST

/* It was granted room when it stood still: others have it soon, while its stream is open. */
START_TEST(a_partition_that_stands_still_keeps_no_room)
{
    struct region *r = region_new(2, 1, 96);
    unsigned a = queue_add(r, "p", "a", 100, 200 * MS), b = queue_add(r, "p", "b", 300, 200 * MS);
    region_open(r);
    fill(r, 0, a, 500);
    fill(r, 1, b, 500);
    run_until(r, r->now_ns + 5 * S);
    r->sites[1].still = true;
    run_until(r, r->now_ns + 2 * S);
    ck_assert_uint_ge(running(r, 0, a), 80);
    r->sites[1].still = false;
    run_until(r, r->now_ns + 5 * S);
    assert_runs(r, a, 24);
    region_free(r);
}
END_TEST

/* The urgent ones never end; who waits gains on those that come later. */
START_TEST(nothing_starves_over_partitions)
{
    struct region *r = region_new(2, 1, 8);
    unsigned a = queue_add(r, "p", "a", 100, 200 * MS), b = queue_add(r, "p", "b", 100, 200 * MS);
    r->ageing_ns = S;
    region_open(r);
    r->sites[1].priority = 5;
    fill(r, 1, b, 20);
    run_until(r, r->now_ns + 2 * S);
    size_t from = r->end_count;
    fill(r, 0, a, 1);
    r->sites[0].filled[a] = 0;
    run_until(r, r->now_ns + 4 * S);
    ck_assert_uint_eq(ended(r, from, r->end_count, a), 0);
    run_until(r, r->now_ns + 4 * S);
    ck_assert_uint_eq(ended(r, from, r->end_count, a), 1);
    region_free(r);
}
END_TEST

/* One of two queues in a partition has much elsewhere: the other one is to be first there. What the
 * partition itself has out of them is the same. */
static void share_with_another(unsigned clusters)
{
    struct region *r = region_new(2, clusters, 96 / clusters);
    unsigned a = queue_add(r, "p", "a", 100, 200 * MS), b = queue_add(r, "p", "b", 100, 200 * MS);
    region_open(r);
    fill(r, 0, a, 500);
    fill(r, 0, b, 500);
    fill(r, 1, b, 500);
    run_until(r, r->now_ns + 2 * S);
    size_t from = r->end_count;
    run_until(r, r->now_ns + 20 * S);
    assert_part(r, from, a, 500);
    for (unsigned c = 0; c < clusters; c++)
        stream_close(r, 1, c); /* all of b is ours again */
    run_until(r, r->now_ns + 2 * S);
    from = r->end_count;
    run_until(r, r->now_ns + 20 * S);
    assert_part(r, from, a, 500);
    region_free(r);
}

START_TEST(a_partition_orders_its_queues_by_what_all_have)
{
    share_with_another(1);
}
END_TEST

START_TEST(a_partition_orders_its_queues_by_what_all_have_in_all_clusters)
{
    share_with_another(3);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        weights_hold_between_partitions,
        one_queue_in_several_partitions_is_one,
        levels_share_between_partitions,
        urgent_work_comes_first_over_partitions,
        what_a_partition_leaves_goes_to_others,
        a_new_operator_counts_what_runs,
        a_partition_that_stands_still_keeps_no_room,
        nothing_starves_over_partitions,
        a_partition_orders_its_queues_by_what_all_have,
        a_partition_orders_its_queues_by_what_all_have_in_all_clusters,
        NULL,
    };
    return sy_test_run("sch_shares", tests);
}
