/* links: sch */
/* Which half of a partition that was split an operator's attempts belong to (operator_owner.c). */
#include "base/mem.h"
#include "scheduler/operator_impl.h"
#include "tests/lib/test.h"

#include <string.h>

/* Issued by partition 0 under epoch 1; its place is 111. */
static const struct sch_attempt_key key = {
    .action = 0x1000006f, .number = 1, .partition = 0, .epoch = 1};

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
};

static void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = SY_NS_PER_S;
    sch_operator_step(w->op, &event, &w->fx);
    sch_operator_check(w->op);
}

static void up(struct world *w, uint32_t partition, uint32_t epoch, uint8_t first, uint8_t last,
               const struct sch_op_origin *origins, size_t count)
{
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP,
                                  .u.partition = {.partition = partition,
                                                  .epoch = epoch,
                                                  .first_place = first,
                                                  .places_above = (uint8_t)(UINT8_MAX - last),
                                                  .origins = origins,
                                                  .origin_count = count}});
}

/* How often this partition was told of the attempt in the last step. */
static size_t told(const struct world *w, uint32_t partition)
{
    size_t count = 0;
    for (size_t i = 0; i < w->fx.count; i++)
        count += w->fx.items[i].type == SCH_OP_SEND_INVENTORY &&
                 w->fx.items[i].u.inventory.partition == partition;
    return count;
}

static uint32_t heard_by(const struct world *w)
{
    uint32_t partition = UINT32_MAX;
    (void)sch_operator_partition_of(w->op, &key, &partition);
    return partition;
}

START_TEST(a_half_that_is_split_again_hands_on_what_the_whole_had_issued)
{
    const struct sch_op_origin origins[] = {{0, 1}, {2, 3}};
    struct sch_operator_options options = {.hold_ns = SY_NS_PER_S, .node_lease_ns = SY_NS_PER_S};
    struct world w = {.op = sch_operator_new(&options, SY_NS_PER_S)};
    up(&w, 0, 1, 0, UINT8_MAX, NULL, 0);
    step(&w, (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                   .u.node = {.name = "n", .capacity = {.cpu_milli = 1000}}});
    step(&w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY,
                                   .u.inventory = {.node = "n",
                                                   .key = key,
                                                   .request = {.cpu_milli = 1000},
                                                   .started = true,
                                                   .started_ns = 5}});
    step(&w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n"});
    ck_assert_uint_eq(heard_by(&w), 0);

    up(&w, 2, 3, 91, UINT8_MAX, origins, 1);
    ck_assert_uint_eq(told(&w, 2), 1);
    ck_assert_uint_eq(heard_by(&w), 2);

    up(&w, 0, 2, 0, 90, NULL, 0);
    up(&w, 2, 4, 91, 109, origins, 1); /* who has the rest is not known yet */
    ck_assert_uint_eq(told(&w, 2) + told(&w, 0), 0);
    ck_assert_uint_eq(heard_by(&w), UINT32_MAX);

    up(&w, 3, 4, 110, UINT8_MAX, origins, 2);
    ck_assert_uint_eq(told(&w, 3), 1);
    ck_assert_uint_eq(heard_by(&w), 3);
    sch_op_effects_deinit(&w.fx);
    sch_operator_free(w.op);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_half_that_is_split_again_hands_on_what_the_whole_had_issued,
                                  NULL};
    return sy_test_run("sch_halves", tests);
}
