/* The streams between the cores and agents of test_sch_random.c: they open and close, and deliver
 * in order; and the ticks of the cores. Part of test_sch_model.h. */
#pragma once

/* ---- streams open and close ---- */

static void shard_close(struct world *w, size_t p, size_t c)
{
    struct stream *stream = &w->shard_streams[p][c];
    if (!stream->open)
        return;
    stream->open = false;
    queue_clear(&stream->up);
    queue_clear(&stream->down);
    if (w->operators[c])
        step_operator(w, c,
                      (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN,
                                            .u.partition.partition = (uint32_t)p});
    if (w->sites[p].core)
        step_partition(
            w, p,
            (struct sch_event){.type = SCH_EVENT_CLUSTER_DOWN, .u.cluster.name = cluster_names[c]});
}

static void cluster_up(struct world *w, size_t p, size_t c)
{
    struct sch_shape shapes[4];
    size_t count = sch_operator_shapes(w->operators[c], shapes, 4);
    ck_assert_uint_le(count, 4);
    const struct cluster_standing *standing = &w->standings[c];
    step_partition(w, p,
                   (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                                      .u.cluster = {.name = cluster_names[c],
                                                    .shapes = shapes,
                                                    .shape_count = count,
                                                    .price = cluster_prices[c],
                                                    .region = cluster_regions[c],
                                                    .cordoned = standing->cordoned,
                                                    .draining = standing->draining,
                                                    .drain_ns = standing->drain_ns}});
}

static void shard_open(struct world *w, size_t p, size_t c)
{
    if (w->shard_streams[p][c].open)
        return;
    w->shard_streams[p][c].open = true;
    cluster_up(w, p, c);
    step_operator(w, c,
                  (struct sch_op_event){
                      .type = SCH_OP_PARTITION_UP,
                      .u.partition = {.partition = (uint32_t)p, .epoch = w->sites[p].epoch}});
}

static void node_close(struct world *w, size_t c, size_t n)
{
    struct stream *stream = &w->node_streams[c][n];
    if (!stream->open)
        return;
    stream->open = false;
    queue_clear(&stream->up);
    queue_clear(&stream->down);
    if (w->operators[c])
        step_operator(
            w, c, (struct sch_op_event){.type = SCH_OP_NODE_DOWN, .u.node.name = node_names[n]});
}

static void node_open(struct world *w, size_t c, size_t n)
{
    struct agent *agent = &w->agents[c][n];
    if (w->node_streams[c][n].open)
        return;
    w->node_streams[c][n].open = true;
    struct model_node node = node_of(w, n);
    struct sch_environment pool = {.name = "pool", .slots = node.slots};
    step_operator(w, c,
                  (struct sch_op_event){.type = SCH_OP_NODE_UP,
                                        .u.node = {.name = node_names[n],
                                                   .traits = &node.traits,
                                                   .capacity = node.capacity,
                                                   .environments = &pool,
                                                   .environment_count = node.slots > 0}});
    for (size_t i = 0; i < agent->count; i++) {
        struct execution *x = &agent->items[i];
        if (!x->ended)
            step_operator(w, c,
                          (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY,
                                                .u.inventory = {.node = node_names[n],
                                                                .key = x->key,
                                                                .request = x->request,
                                                                .place = &x->place,
                                                                .started = x->started,
                                                                .waits = x->waits}});
    }
    step_operator(w, c,
                  (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE,
                                        .u.node.name = node_names[n]});
    for (size_t i = 0; i < agent->count; i++) {
        if (agent->items[i].ended)
            agent_send(w, c, n, SCH_OP_OUTCOME, &agent->items[i]);
    }
}

/* ---- delivery ---- */

static bool is_report(enum sch_event_type type)
{
    return type == SCH_EVENT_STARTED || type == SCH_EVENT_OUTCOME || type == SCH_EVENT_RETURNED;
}

static void deliver_up(struct world *w, size_t p, size_t c)
{
    struct stream *stream = &w->shard_streams[p][c];
    struct site *site = &w->sites[p];
    struct message message = stream->up.items[stream->up.first++];
    struct sch_event event = message.up;
    if (event.type == SCH_EVENT_ELSEWHERE)
        event.u.elsewhere.place = &message.place;
    if (event.type == SCH_EVENT_CLUSTER_UP) {
        cluster_up(w, p, c);
        return;
    }
    step_partition(w, p, event);
    if (!w->healing && event.type != SCH_EVENT_INVENTORY_COMPLETE && sy_rng_chance(&w->rng, 1, 10))
        step_partition(w, p, event);
    if (is_report(event.type))
        site->old[site->old_count++ % OLD_MAX] = event;
}

static void deliver_down(struct world *w, size_t p, size_t c)
{
    struct stream *stream = &w->shard_streams[p][c];
    struct message message = stream->down.items[stream->down.first++];
    struct sch_op_event event = message.down;
    if (event.type == SCH_OP_DEMAND && message.gang.size > 0)
        event.u.demand.gang = &message.gang;
    if (event.type == SCH_OP_RECLAIM)
        event.u.reclaim.queues = message.queues;
    if (event.type == SCH_OP_ASSIGN)
        event.u.assign.place = &message.place;
    if (event.type == SCH_OP_DEMAND && message.standing.path.depth > 0)
        event.u.demand.standing = &message.standing;
    step_operator(w, c, event);
    if (!w->healing && event.type != SCH_OP_ASSIGN && sy_rng_chance(&w->rng, 1, 10))
        step_operator(w, c, event);
}

/* One message of a random stream; false when that one is silent. */
static bool deliver(struct world *w)
{
    size_t c = sy_rng_below(&w->rng, CLUSTERS);
    bool up = sy_rng_chance(&w->rng, 1, 2);
    if (sy_rng_chance(&w->rng, 1, 2)) {
        size_t p = sy_rng_below(&w->rng, PARTITIONS);
        struct stream *stream = &w->shard_streams[p][c];
        struct queue *queue = up ? &stream->up : &stream->down;
        if (queue->first == queue->count)
            return false;
        if (up)
            deliver_up(w, p, c);
        else
            deliver_down(w, p, c);
        return true;
    }
    size_t n = sy_rng_below(&w->rng, NODES);
    struct stream *stream = &w->node_streams[c][n];
    struct queue *queue = up ? &stream->up : &stream->down;
    if (queue->first == queue->count)
        return false;
    struct message message = queue->items[queue->first++];
    if (up)
        step_operator(w, c, message.down);
    else
        agent_receive(w, c, n, &message);
    return true;
}

/* So many ticks at one moment at most. A step assigns three and ends one class that no cluster is
 * left for. Where it may look at one or two only, each class takes that many steps more: in a round
 * for whom others stop, one for whom nodes are kept, one of what came unchecked, one of shares; and
 * with each cluster, of which it hears, which has changed, which has more room. And each action has
 * a timer, and may be the one that its level ages by. */
static uint64_t ticks_max(const struct site *site)
{
    uint64_t looks = sch_partition_counts(site->core).classes * (4 + 3 * CLUSTERS);
    return 150 + (site->looks_max > 0 ? looks / site->looks_max : 0);
}

static void ticks(struct world *w)
{
    for (size_t p = 0; p < PARTITIONS; p++) {
        uint64_t most = ticks_max(&w->sites[p]);
        for (uint64_t i = 0; sch_partition_next_ns(w->sites[p].core) <= w->now; i++) {
            ck_assert_uint_lt(i, most);
            step_partition(w, p, (struct sch_event){.type = SCH_EVENT_TICK});
        }
        audit_overdue(w, p);
    }
    for (size_t c = 0; c < CLUSTERS; c++) {
        /* Twenty kinds and forty classes, looked at three times, are two or three slices; where it
         * may look at one or two, as many as these are, and as room is given in parts. */
        uint64_t most = w->operator_looks[c] > 0 ? 1000 : 4;
        for (uint64_t i = 0; sch_operator_next_ns(w->operators[c]) <= w->now; i++) {
            ck_assert_uint_lt(i, most);
            step_operator(w, c, (struct sch_op_event){.type = SCH_OP_TICK});
        }
    }
}
