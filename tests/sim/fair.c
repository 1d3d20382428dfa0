/*
 * Weighted fairness, in worlds made for it: no faults, some partitions and clusters, queues of
 * different weights that all have more than can run, tasks that ask for the same. From when
 * everything was enqueued until the first queue has nothing that waits in any partition, the time
 * that all nodes spend on a queue is its part by weight, within SIM_FAIR_SLACK of all time and one
 * place of each cluster: shares are kept by whole tasks, in each.
 */
#include "tests/sim/world_impl.h"

#include <math.h>

#define SIM_FAIR_SLACK 0.01
#define SETTLE_NS (3 * SY_NS_PER_S)
#define WINDOW_NS_MIN (10 * SY_NS_PER_S)

static void advance_to_now(struct sim_world *world)
{
    struct sim_fair *fair = &world->fair;
    double passed = (double)(world->now_ns - fair->counted_ns);
    for (unsigned i = 0; i < world->options.queues; i++)
        fair->spent[i] += passed * fair->running[i];
    fair->counted_ns = world->now_ns;
}

void sim_fair_count(struct sim_world *world, const char *run, int delta)
{
    if (world->options.size != SIM_FAIR)
        return;
    advance_to_now(world);
    world->fair.running[sim_queue_of_run(world, run)] += delta;
}

/* The queues that have something that waits, a bit each. */
static bool waits(void *ctx, const struct sch_queue_view *view)
{
    if (view->configured && view->actions > view->out)
        *(unsigned *)ctx |= 1u << (view->config->key.name[1] - '0');
    return true;
}

static bool all_wait(struct sim_world *world)
{
    unsigned queues = 0;
    for (unsigned i = 0; i < world->options.partitions; i++) {
        struct sch_partition *core = sim_core(world, i);
        if (core)
            sch_partition_each_queue(core, waits, &queues);
    }
    return queues == (1u << world->options.queues) - 1;
}

static void check_parts(struct sim_world *world)
{
    const struct sim_fair *fair = &world->fair;
    double weights = 0, spent = 0, places = 0;
    for (unsigned i = 0; i < world->options.queues; i++) {
        weights += sim_queues_at(world->queues, i)->config.weight;
        spent += fair->spent[i];
    }
    for (unsigned i = 0; i < world->options.agents; i++) {
        const struct sim_node *node = &world->agents[i].node;
        uint32_t by_cpu = node->capacity.cpu_milli / 500; /* as kind 0 asks */
        places += by_cpu < node->environment.slots ? by_cpu : node->environment.slots;
    }
    for (unsigned i = 0; i < world->options.queues; i++) {
        double part = fair->spent[i] / spent;
        double due = sim_queues_at(world->queues, i)->config.weight / weights;
        if (fabs(part - due) > SIM_FAIR_SLACK + world->options.operators / places)
            sim_fail(world, "queue q%u had %.1f %% of %.0f places, %.1f %% is its part", i,
                     100 * part, places, 100 * due);
    }
    world->result.windows++;
}

void sim_fair_look(struct sim_world *world)
{
    struct sim_fair *fair = &world->fair;
    if (world->options.size != SIM_FAIR || fair->over || !sim_client_enqueued(world->client))
        return;
    if (fair->enqueued_ns == 0)
        fair->enqueued_ns = world->now_ns;
    advance_to_now(world);
    bool open = fair->since_ns > 0;
    if (!open && all_wait(world) && world->now_ns > fair->enqueued_ns + SETTLE_NS) {
        memset(fair->spent, 0, sizeof(fair->spent));
        fair->since_ns = world->now_ns;
    } else if (open && !all_wait(world)) {
        fair->over = true;
        if (world->now_ns - fair->since_ns >= WINDOW_NS_MIN)
            check_parts(world);
    }
}
