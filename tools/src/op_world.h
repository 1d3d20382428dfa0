/* An operator core for benchmarks that play its shards and agents: each step is carried out, and
 * while `measuring` its CPU is counted. See racks.h, hosts.h, orders.h. */
#pragma once

#include "base/clock.h"
#include "scheduler/operator.h"
#include "tools/src/decisions.h"

struct op_world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t action; /* the newest */
    uint64_t sum_ns, longest_ns, steps;
    enum sch_op_event_type longest; /* of what sort that was */
    bool measuring;
    void (*on_effect)(void *ctx, const struct sch_op_effect *effect);
    void *ctx;
};

/* Of this thread. */
uint64_t op_world_cpu_ns(void);
void op_world_init(struct op_world *w);
void op_world_deinit(struct op_world *w);
void op_world_step(struct op_world *w, struct sch_op_event event);
void op_world_partition_up(struct op_world *w, uint32_t partition);
void op_world_node_up(struct op_world *w, uint32_t node, const struct sch_resources *capacity,
                      const struct sch_traits *traits);
/* Its key and blob are filled in. */
struct sch_attempt_key op_world_assign(struct op_world *w, uint32_t partition,
                                       struct sch_op_event event);
/* It has ended, and its shard knows. */
void op_world_end(struct op_world *w, const struct sch_attempt_key *key);
/* That much later: all that is due meanwhile is done. */
void op_world_pass(struct op_world *w, int64_t ns);
void op_world_result(const struct op_world *w, uint64_t placed, struct decisions_result *ret);
