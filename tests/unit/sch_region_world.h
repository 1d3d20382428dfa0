/*
 * Several partition cores and operator cores with the streams between them, each a fixed delay
 * long, and nodes that run what they are sent, for tests of what holds over partitions. Queues are
 * kept filled; what ends is counted. No faults but those that a test makes.
 */
#pragma once

#include "base/mem.h"
#include "scheduler/operator.h"
#include "scheduler/partition.h"
#include "scheduler/table.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS_MAX 4u
#define CLUSTERS_MAX 3u
#define QUEUES_MAX 4u
#define RUNNING_MAX 512u
#define ENDS_MAX 65536u

static const char *const cluster_names[CLUSTERS_MAX] = {"c0", "c1", "c2"};

struct message {
    int64_t due_ns;
    struct sch_event up;
    struct sch_op_event down;
    struct sch_share_path place;
    struct sch_share_standing standing;
    bool stands, sits;
    struct sch_reclaim_queue queues[SCH_RECLAIM_QUEUES_MAX];
};

struct stream {
    bool open;
    struct message *up, *down; /* first in, first out */
    size_t up_first, up_count, down_first, down_count, up_cap, down_cap;
};

/* What the node of a cluster runs. */
struct execution {
    struct sch_attempt_key key;
    struct sch_share_path place;
    struct sch_resources request;
    uint32_t queue_tag;
    bool sits;
    unsigned queue;
    int64_t started_ns, end_ns; /* SY_TIME_NEVER: it waits for room */
};

struct site {
    struct sch_partition *core;
    uint32_t epoch;
    unsigned filled[QUEUES_MAX]; /* so many wait or run, of each queue */
    unsigned there[QUEUES_MAX];
    int32_t priority; /* of what is submitted */
    bool still;       /* it does nothing; its streams are open */
};

struct cluster {
    struct sch_operator *core;
    struct execution running[RUNNING_MAX];
    size_t count;
    uint32_t cores, used;
};

struct end {
    int64_t at_ns;
    uint8_t queue, partition, cluster;
};

struct region {
    int64_t now_ns, delay_ns, ageing_ns;
    unsigned partitions, clusters, queues;
    struct sch_queue_config configs[QUEUES_MAX];
    struct sch_spec spec[QUEUES_MAX];
    int64_t runs_ns[QUEUES_MAX]; /* a task of the queue: from half to one and a half of this */
    struct site sites[PARTITIONS_MAX];
    struct cluster nodes[CLUSTERS_MAX];
    struct stream streams[PARTITIONS_MAX][CLUSTERS_MAX];
    struct end ends[ENDS_MAX];
    size_t end_count;
    uint64_t names, steps;
    struct sch_effects fx;
    struct sch_op_effects op_fx;
};

/* ---- messages ---- */

static struct message *push(struct message **items, size_t *count, size_t *cap, int64_t due_ns)
{
    if (*count == *cap) {
        *cap = *cap ? 2 * *cap : 64;
        *items = sy_realloc(*items, *cap * sizeof(**items));
    }
    (*items)[*count] = (struct message){.due_ns = due_ns};
    return &(*items)[(*count)++];
}

static struct message *send_up(struct region *r, unsigned p, unsigned c)
{
    struct stream *s = &r->streams[p][c];
    return push(&s->up, &s->up_count, &s->up_cap, r->now_ns + r->delay_ns);
}

static struct message *send_down(struct region *r, unsigned p, unsigned c)
{
    struct stream *s = &r->streams[p][c];
    return push(&s->down, &s->down_count, &s->down_cap, r->now_ns + r->delay_ns);
}

static unsigned cluster_of(const char *name)
{
    return (unsigned)(name[1] - '0');
}

static unsigned queue_of(const struct region *r, const struct sch_action *a)
{
    unsigned q = (unsigned)(a->run->name[1] - '0');
    ck_assert_uint_lt(q, r->queues);
    return q;
}

/* ---- what operators do ---- */

static void node_start(struct region *r, unsigned c, struct execution *x);
static void step_operator(struct region *r, unsigned c, struct sch_op_event event);

static void carry_up(struct region *r, unsigned c, const struct sch_op_effect *e)
{
    struct message *m;
    const char *name = cluster_names[c];
    switch (e->type) {
    case SCH_OP_SEND_GRANT:
        m = send_up(r, e->u.grant.partition, c);
        m->up.type = SCH_EVENT_GRANT;
        m->up.u.grant.cluster = name;
        m->up.u.grant.class_id = e->u.grant.class_id;
        m->up.u.grant.granted = e->u.grant.granted;
        m->up.u.grant.startable = e->u.grant.startable;
        break;
    case SCH_OP_SEND_ROOM:
        m = send_up(r, e->u.room.partition, c);
        m->up.type = SCH_EVENT_ROOM;
        m->up.u.room.cluster = name;
        m->up.u.room.cpu_milli = e->u.room.cpu_milli;
        m->up.u.room.memory_bytes = e->u.room.memory_bytes;
        m->up.u.room.gpu_milli = e->u.room.gpu_milli;
        break;
    case SCH_OP_SEND_ELSEWHERE:
        m = send_up(r, e->u.elsewhere.partition, c);
        m->place = e->u.elsewhere.place;
        m->up.type = SCH_EVENT_ELSEWHERE;
        m->up.u.elsewhere.cluster = name;
        m->up.u.elsewhere.use = e->u.elsewhere.use;
        break;
    case SCH_OP_SEND_STARTED:
    case SCH_OP_SEND_OUTCOME:
    case SCH_OP_SEND_RETURNED:
        m = send_up(r, e->u.report.key.partition, c);
        m->up.type = e->type == SCH_OP_SEND_STARTED   ? SCH_EVENT_STARTED
                     : e->type == SCH_OP_SEND_OUTCOME ? SCH_EVENT_OUTCOME
                                                      : SCH_EVENT_RETURNED;
        m->up.u.report = (struct sch_report){.cluster = name,
                                             .action_id = e->u.report.key.action,
                                             .number = e->u.report.key.number,
                                             .epoch = e->u.report.key.epoch,
                                             .outcome = e->u.report.reason ? SCH_OUTCOME_PREEMPTED
                                                                           : SCH_OUTCOME_SUCCEEDED};
        break;
    case SCH_OP_SEND_INVENTORY:
        m = send_up(r, e->u.inventory.key.partition, c);
        m->up.type = SCH_EVENT_INVENTORY;
        m->up.u.inventory.cluster = name;
        m->up.u.inventory.action_id = e->u.inventory.key.action;
        m->up.u.inventory.number = e->u.inventory.key.number;
        m->up.u.inventory.epoch = e->u.inventory.key.epoch;
        m->up.u.inventory.started = e->u.inventory.started;
        break;
    case SCH_OP_SEND_INVENTORY_COMPLETE:
        m = send_up(r, e->u.partition, c);
        m->up.type = SCH_EVENT_INVENTORY_COMPLETE;
        m->up.u.cluster.name = name;
        break;
    default:
        break;
    }
}

static struct execution *execution_find(struct cluster *node, const struct sch_attempt_key *key)
{
    for (size_t i = 0; i < node->count; i++) {
        struct execution *x = &node->running[i];
        if (x->key.action == key->action && x->key.partition == key->partition &&
            x->key.number == key->number)
            return x;
    }
    return NULL;
}

static void carry_node(struct region *r, unsigned c, const struct sch_op_effect *e)
{
    struct cluster *node = &r->nodes[c];
    struct execution *x;
    if (e->type == SCH_OP_SEND_ASSIGN) {
        x = e->u.assign.blob.data; /* filled when it was sent */
        ck_assert_uint_lt(node->count, RUNNING_MAX);
        node->running[node->count] = *x;
        free(x);
        node_start(r, c, &node->running[node->count++]);
    } else if (e->type == SCH_OP_SEND_CANCEL) {
        x = execution_find(node, &e->u.attempt.key);
        if (x && x->end_ns == SY_TIME_NEVER) /* as if it began, and ended at once */
            node->used += x->request.cpu_milli / 1000;
        if (x)
            x->end_ns = r->now_ns;
    }
}

static void step_operator(struct region *r, unsigned c, struct sch_op_event event)
{
    struct sch_op_effects fx = {0};
    event.now_ns = r->now_ns;
    sch_operator_step(r->nodes[c].core, &event, &fx);
    if (++r->steps % 64 == 0) /* it looks at all attempts */
        sch_operator_check(r->nodes[c].core);
    for (size_t i = 0; i < fx.count; i++) {
        carry_up(r, c, &fx.items[i]);
        carry_node(r, c, &fx.items[i]);
    }
    sch_op_effects_deinit(&fx);
}

/* ---- what nodes do ---- */

static void node_start(struct region *r, unsigned c, struct execution *x)
{
    struct cluster *node = &r->nodes[c];
    uint32_t cores = x->request.cpu_milli / 1000;
    x->end_ns = SY_TIME_NEVER;
    if (node->used + cores > node->cores)
        return;
    node->used += cores;
    x->started_ns = r->now_ns;
    uint64_t epoch = x->key.action >> 40, count = (x->key.action >> 8) & UINT32_MAX;
    uint64_t draw = sch_hash_u64(epoch << 40 | count, x->key.partition + x->key.number);
    x->end_ns = r->now_ns + r->runs_ns[x->queue] / 2 + (int64_t)draw % r->runs_ns[x->queue];
    struct sch_op_event event = {.type = SCH_OP_STARTED};
    event.u.report.node = "n";
    event.u.report.key = x->key;
    event.u.report.started_ns = 1;
    step_operator(r, c, event);
}

static void blob_free(void *data)
{
    free(data);
}

static void node_end(struct region *r, unsigned c, size_t i)
{
    struct cluster *node = &r->nodes[c];
    struct execution x = node->running[i];
    node->used -= x.request.cpu_milli / 1000;
    memmove(&node->running[i], &node->running[i + 1],
            (node->count - i - 1) * sizeof(node->running[0]));
    node->count--;
    struct sch_op_event event = {.type = SCH_OP_OUTCOME};
    event.u.report.node = "n";
    event.u.report.key = x.key;
    event.u.report.blob = (struct sch_blob){.data = sy_new(struct execution), .release = blob_free};
    step_operator(r, c, event);
    for (size_t at = 0; at < node->count; at++) {
        if (node->running[at].end_ns == SY_TIME_NEVER)
            node_start(r, c, &node->running[at]);
    }
}

/* ---- what partitions do ---- */

static void step_partition(struct region *r, unsigned p, struct sch_event event);

static void submit(struct region *r, unsigned p, unsigned queue)
{
    char name[32];
    snprintf(name, sizeof(name), "q%u-%lu", queue, (unsigned long)++r->names);
    struct sch_event event = {.type = SCH_EVENT_CREATE_RUN};
    event.u.create.project = r->configs[queue].key.project;
    event.u.create.domain = r->configs[queue].key.domain;
    event.u.create.queue = r->configs[queue].key.name;
    event.u.create.name = name;
    event.u.create.spec = &r->spec[queue];
    event.u.create.priority = r->sites[p].priority;
    r->sites[p].there[queue]++;
    step_partition(r, p, event);
}

static void carry_assign(struct region *r, unsigned p, const struct sch_effect *e)
{
    unsigned c = cluster_of(e->u.assign.cluster);
    const struct sch_action *a = e->u.assign.action;
    struct message *m = send_down(r, p, c);
    struct execution *x = sy_new(struct execution);
    m->down.type = SCH_OP_ASSIGN;
    m->down.u.assign.key = (struct sch_attempt_key){a->id, p, a->number, a->attempt_epoch};
    m->down.u.assign.class_id = e->u.assign.class_id;
    m->down.u.assign.queue = e->u.assign.queue;
    m->down.u.assign.priority = e->u.assign.priority;
    m->down.u.assign.blob = (struct sch_blob){.data = x, .release = blob_free};
    m->sits = e->u.assign.place != NULL;
    if (m->sits)
        m->place = *e->u.assign.place;
    *x = (struct execution){.key = m->down.u.assign.key,
                            .place = m->place,
                            .sits = m->sits,
                            .request = a->spec->request,
                            .queue_tag = e->u.assign.queue,
                            .queue = queue_of(r, a)};
}

static void carry_down(struct region *r, unsigned p, const struct sch_effect *e)
{
    struct message *m;
    switch (e->type) {
    case SCH_EFFECT_ASSIGN:
        carry_assign(r, p, e);
        break;
    case SCH_EFFECT_CANCEL:
        m = send_down(r, p, cluster_of(e->u.cancel.cluster));
        m->down.type = SCH_OP_CANCEL;
        m->down.u.cancel.key = (struct sch_attempt_key){e->u.cancel.action_id, p,
                                                        e->u.cancel.number, e->u.cancel.epoch};
        m->down.u.cancel.reason = "cancel";
        break;
    case SCH_EFFECT_ACK:
        m = send_down(r, p, cluster_of(e->u.ack.cluster));
        m->down.type = SCH_OP_ACK;
        m->down.u.key = (struct sch_attempt_key){e->u.ack.action_id, p, e->u.ack.number,
                                                 e->u.ack.epoch};
        break;
    case SCH_EFFECT_DEMAND:
        m = send_down(r, p, cluster_of(e->u.demand.cluster));
        m->down.type = SCH_OP_DEMAND;
        m->down.u.demand.partition = p;
        m->down.u.demand.class_id = e->u.demand.class_id;
        m->down.u.demand.request = *e->u.demand.request;
        m->down.u.demand.waiting = e->u.demand.waiting;
        m->down.u.demand.oldest_age_ns = e->u.demand.oldest_age_ns;
        m->down.u.demand.top_priority = e->u.demand.top_priority;
        m->down.u.demand.keep = e->u.demand.keep;
        m->stands = e->u.demand.standing != NULL;
        if (m->stands)
            m->standing = *e->u.demand.standing;
        break;
    case SCH_EFFECT_RECLAIM:
        m = send_down(r, p, cluster_of(e->u.reclaim.cluster));
        m->down.type = SCH_OP_RECLAIM;
        m->down.u.reclaim.partition = p;
        m->down.u.reclaim.class_id = e->u.reclaim.class_id;
        m->down.u.reclaim.queue_count = e->u.reclaim.queue_count;
        memcpy(m->queues, e->u.reclaim.queues, e->u.reclaim.queue_count * sizeof(m->queues[0]));
        break;
    default:
        break;
    }
}

static void step_partition(struct region *r, unsigned p, struct sch_event event)
{
    struct sch_effects fx = {0};
    unsigned ended[QUEUES_MAX] = {0};
    event.now_ns = event.realtime_ns = r->now_ns;
    sch_partition_step(r->sites[p].core, &event, &fx);
    for (size_t i = 0; i < fx.count; i++) {
        const struct sch_effect *e = &fx.items[i];
        carry_down(r, p, e);
        if (e->type != SCH_EFFECT_FINISHED)
            continue;
        unsigned q = queue_of(r, e->u.final.action);
        ck_assert_uint_lt(r->end_count, ENDS_MAX);
        r->ends[r->end_count++] = (struct end){
            .at_ns = r->now_ns,
            .queue = (uint8_t)q,
            .partition = (uint8_t)p,
            .cluster = (uint8_t)cluster_of(sch_cluster_name(e->u.final.action->cluster))};
        r->sites[p].there[q]--;
        ended[q]++;
    }
    sch_effects_deinit(&fx);
    for (unsigned q = 0; q < r->queues; q++) {
        for (; ended[q] > 0; ended[q]--) {
            if (r->sites[p].there[q] < r->sites[p].filled[q])
                submit(r, p, q);
        }
    }
}

/* ---- time ---- */

static int64_t due_of(const struct message *items, size_t first, size_t count)
{
    return first < count ? items[first].due_ns : SY_TIME_NEVER;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_ns(const struct region *r)
{
    int64_t at = SY_TIME_NEVER;
    for (unsigned p = 0; p < r->partitions; p++) {
        bool runs = r->sites[p].core && !r->sites[p].still;
        if (runs)
            at = earlier(at, sch_partition_next_ns(r->sites[p].core));
        for (unsigned c = 0; c < r->clusters; c++) {
            const struct stream *s = &r->streams[p][c];
            if (runs)
                at = earlier(at, due_of(s->up, s->up_first, s->up_count));
            at = earlier(at, due_of(s->down, s->down_first, s->down_count));
        }
    }
    for (unsigned c = 0; c < r->clusters; c++) {
        if (r->nodes[c].core)
            at = earlier(at, sch_operator_next_ns(r->nodes[c].core));
        for (size_t i = 0; i < r->nodes[c].count; i++)
            at = earlier(at, r->nodes[c].running[i].end_ns);
    }
    return at;
}

static void deliver(struct region *r, unsigned p, unsigned c)
{
    struct stream *s = &r->streams[p][c];
    while (!r->sites[p].still && due_of(s->up, s->up_first, s->up_count) <= r->now_ns) {
        struct message m = s->up[s->up_first++];
        if (m.up.type == SCH_EVENT_ELSEWHERE)
            m.up.u.elsewhere.place = &m.place;
        step_partition(r, p, m.up);
    }
    while (due_of(s->down, s->down_first, s->down_count) <= r->now_ns) {
        struct message m = s->down[s->down_first++];
        if (m.down.type == SCH_OP_ASSIGN)
            m.down.u.assign.place = m.sits ? &m.place : NULL;
        if (m.down.type == SCH_OP_DEMAND)
            m.down.u.demand.standing = m.stands ? &m.standing : NULL;
        if (m.down.type == SCH_OP_RECLAIM)
            m.down.u.reclaim.queues = m.queues;
        step_operator(r, c, m.down);
    }
}

static void run_until(struct region *r, int64_t until_ns)
{
    int64_t at;
    while ((at = next_ns(r)) <= until_ns) {
        r->now_ns = at > r->now_ns ? at : r->now_ns;
        for (unsigned c = 0; c < r->clusters; c++) {
            for (size_t i = 0; i < r->nodes[c].count;) {
                if (r->nodes[c].running[i].end_ns <= r->now_ns)
                    node_end(r, c, i);
                else
                    i++;
            }
            for (unsigned p = 0; p < r->partitions; p++)
                deliver(r, p, c);
            if (r->nodes[c].core && sch_operator_next_ns(r->nodes[c].core) <= r->now_ns)
                step_operator(r, c, (struct sch_op_event){.type = SCH_OP_TICK});
        }
        for (unsigned p = 0; p < r->partitions; p++) {
            if (!r->sites[p].still && sch_partition_next_ns(r->sites[p].core) <= r->now_ns)
                step_partition(r, p, (struct sch_event){.type = SCH_EVENT_TICK});
        }
    }
    r->now_ns = until_ns;
}

/* ---- streams ---- */

static void stream_open(struct region *r, unsigned p, unsigned c)
{
    struct sch_shape shapes[2];
    size_t count = sch_operator_shapes(r->nodes[c].core, shapes, 2);
    r->streams[p][c].open = true;
    step_partition(
        r, p,
        (struct sch_event){
            .type = SCH_EVENT_CLUSTER_UP,
            .u.cluster = {.name = cluster_names[c], .shapes = shapes, .shape_count = count}});
    step_operator(
        r, c,
        (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {p, r->sites[p].epoch}});
}

static void stream_close(struct region *r, unsigned p, unsigned c)
{
    struct stream *s = &r->streams[p][c];
    s->open = false;
    s->up_first = s->up_count = 0;
    for (; s->down_first < s->down_count; s->down_first++) {
        if (s->down[s->down_first].down.type == SCH_OP_ASSIGN)
            free(s->down[s->down_first].down.u.assign.blob.data);
    }
    s->down_first = s->down_count = 0;
    if (r->nodes[c].core)
        step_operator(
            r, c, (struct sch_op_event){.type = SCH_OP_PARTITION_DOWN, .u.partition.partition = p});
    if (r->sites[p].core)
        step_partition(
            r, p,
            (struct sch_event){.type = SCH_EVENT_CLUSTER_DOWN, .u.cluster.name = cluster_names[c]});
}

/* The node shows itself to an operator, with all that it runs. */
static void node_join(struct region *r, unsigned c)
{
    struct cluster *node = &r->nodes[c];
    struct sch_op_event up = {.type = SCH_OP_NODE_UP};
    up.u.node.name = "n";
    up.u.node.capacity = (struct sch_resources){.cpu_milli = node->cores * 1000,
                                                .memory_bytes = 1ull << 40};
    step_operator(r, c, up);
    for (size_t i = 0; i < node->count; i++) {
        const struct execution *x = &node->running[i];
        struct sch_op_event event = {.type = SCH_OP_NODE_INVENTORY};
        event.u.inventory.node = "n";
        event.u.inventory.key = x->key;
        event.u.inventory.request = x->request;
        event.u.inventory.started = x->end_ns != SY_TIME_NEVER;
        event.u.inventory.started_ns = 1;
        event.u.inventory.queue = x->queue_tag;
        event.u.inventory.place = x->sits ? &x->place : NULL;
        step_operator(r, c, event);
    }
    step_operator(
        r, c, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = "n"});
}

static void operator_start(struct region *r, unsigned c)
{
    struct sch_operator_options options = {.hold_ns = 2 * SY_NS_PER_S,
                                           .node_lease_ns = 15 * SY_NS_PER_S};
    r->nodes[c].core = sch_operator_new(&options, r->now_ns);
    node_join(r, c);
    for (unsigned p = 0; p < r->partitions; p++)
        stream_open(r, p, c);
}

static void operator_stop(struct region *r, unsigned c)
{
    struct sch_operator *core = r->nodes[c].core;
    r->nodes[c].core = NULL;
    for (unsigned p = 0; p < r->partitions; p++)
        stream_close(r, p, c);
    sch_operator_free(core);
}

/* ---- set-up ---- */

static void partition_start(struct region *r, unsigned p)
{
    struct sch_partition_options options = {.partition = p,
                                            .partitions = r->partitions,
                                            .epoch = ++r->sites[p].epoch,
                                            .actions_max = 100000,
                                            .system_retries = 3,
                                            .cluster_lease_ns = 60 * SY_NS_PER_S,
                                            .recovery_wait_ns = 10 * SY_NS_PER_S,
                                            .reclaim_delay_ns = SY_NS_PER_S,
                                            .ageing_ns = r->ageing_ns};
    r->sites[p].core = sch_partition_new(&options, r->now_ns);
    for (unsigned q = 0; q < r->queues; q++)
        step_partition(
            r, p, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &r->configs[q]});
}

static struct region *region_new(unsigned partitions, unsigned clusters, uint32_t cores)
{
    struct region *r = sy_new(struct region);
    r->now_ns = SY_NS_PER_S;
    r->delay_ns = 2 * SY_NS_PER_MS;
    r->partitions = partitions;
    r->clusters = clusters;
    for (unsigned c = 0; c < clusters; c++)
        r->nodes[c].cores = cores;
    return r;
}

/* "project/domain/name", with that weight; tasks of one core that run for so long. */
static unsigned queue_add(struct region *r, const char *project, const char *name, uint32_t weight,
                          int64_t runs_ns)
{
    unsigned q = r->queues++;
    struct sch_queue_key key = {0};
    ck_assert_uint_lt(q, QUEUES_MAX);
    snprintf(key.project, sizeof(key.project), "%s", project);
    snprintf(key.domain, sizeof(key.domain), "d");
    snprintf(key.name, sizeof(key.name), "%s", name);
    r->configs[q] = sch_queue_config_default(&key);
    r->configs[q].weight = weight;
    r->runs_ns[q] = runs_ns;
    r->spec[q].request = (struct sch_resources){.cpu_milli = 1000, .memory_bytes = 1 << 20};
    return q;
}

static void region_open(struct region *r)
{
    for (unsigned p = 0; p < r->partitions; p++)
        partition_start(r, p);
    for (unsigned c = 0; c < r->clusters; c++)
        operator_start(r, c);
    run_until(r, r->now_ns + SY_NS_PER_S);
}

/* From now on so many of the queue wait or run in the partition. */
static void fill(struct region *r, unsigned p, unsigned queue, unsigned count)
{
    r->sites[p].filled[queue] = count;
    while (r->sites[p].there[queue] < count)
        submit(r, p, queue);
}

static void region_free(struct region *r)
{
    for (unsigned c = 0; c < r->clusters; c++) {
        if (r->nodes[c].core)
            operator_stop(r, c);
    }
    for (unsigned p = 0; p < r->partitions; p++) {
        sch_partition_check(r->sites[p].core);
        sch_partition_free(r->sites[p].core);
        for (unsigned c = 0; c < r->clusters; c++) {
            free(r->streams[p][c].up);
            free(r->streams[p][c].down);
        }
    }
    free(r);
}

/* ---- reading ---- */

/* Of those that ended since, how many are of the queue; in any of `clusters` if that is not 0. */
static size_t ended(const struct region *r, size_t from, size_t to, unsigned queue)
{
    size_t count = 0;
    for (size_t i = from; i < to; i++)
        count += r->ends[i].queue == queue;
    return count;
}

/* Of any `window` ends one after the other, the least and the most that are of the queue. */
static void spread(const struct region *r, size_t from, size_t window, unsigned queue,
                   size_t *ret_least, size_t *ret_most)
{
    size_t count = ended(r, from, from + window, queue);
    ck_assert_uint_ge(r->end_count, from + window);
    *ret_least = *ret_most = count;
    for (size_t i = from; i + window < r->end_count; i++) {
        count -= r->ends[i].queue == queue;
        count += r->ends[i + window].queue == queue;
        *ret_least = count < *ret_least ? count : *ret_least;
        *ret_most = count > *ret_most ? count : *ret_most;
    }
}

static size_t running(const struct region *r, unsigned c, unsigned queue)
{
    size_t count = 0;
    for (size_t i = 0; i < r->nodes[c].count; i++)
        count += r->nodes[c].running[i].queue == queue &&
                 r->nodes[c].running[i].end_ns != SY_TIME_NEVER;
    return count;
}
