/*
 * The model round the cores of test_sch_random.c: streams, the store, agents, and the auditor that
 * looks at every effect. Included once.
 */
#pragma once

#include "base/mem.h"
#include "base/rng.h"
#include "scheduler/operator.h"
#include "scheduler/partition.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS 2u
#define CLUSTERS 2u
#define NODES 3u /* in each cluster */
#define CORES 4u
#define SPECS 10u
#define PLAIN_SPECS 7u /* of these: ask for cpu and environments only */
#define STEPS 7000u
#define ROWS_MAX 4096u
#define OLD_MAX 64u
#define KEYS 3u
#define DEATHS 3u
#define QUEUES 3u
#define LEVEL QUEUES /* all that the project has */
#define GPUS 2u      /* of n1 */
#define GRACE_NS (500 * SY_NS_PER_MS)
#define LEASE_NS (15 * SY_NS_PER_S)
#define RECOVERY_NS (10 * SY_NS_PER_S)

static const char *const cluster_names[CLUSTERS] = {"east", "west"};
static const char *const node_names[NODES] = {"n0", "n1", "n2"};
static const uint8_t cache_keys[KEYS][SCH_CACHE_KEY_BYTES] = {{1}, {2}, {3}};
static const int64_t condition_timeout = 0;
/* The first two may be stopped for others, the last one comes before them. */
static const char *const queue_names[QUEUES] = {"spare", "default", "firm"};

/* ---- streams ---- */

enum { TO_PARTITION, TO_OPERATOR, TO_NODE };

struct message {
    struct sch_event up;        /* TO_PARTITION */
    struct sch_op_event down;   /* TO_OPERATOR */
    struct sch_gang_shape gang; /* of a demand */
    struct sch_share_standing standing;
    struct sch_share_path place; /* of an assignment, or of what is elsewhere */
    struct sch_reclaim_queue queues[QUEUES];
    enum sch_op_effect_type order; /* TO_NODE: ASSIGN, CANCEL, ACK or GIVE_BACK */
    struct sch_attempt_key key;
    struct sch_resources request;
    bool suspect, waits; /* of an assignment */
};

struct queue {
    struct message *items;
    size_t first, count, cap;
};

struct stream {
    bool open;
    struct queue up, down; /* towards the partition; towards the node */
};

/* What an outcome's or an assignment's blob points to. */
struct payload {
    size_t *blobs;
    struct sch_resources request;
    enum sch_outcome outcome;
    enum sch_death death;
    bool suspect, spot;          /* of an assignment; spot: it may be placed on such nodes */
    struct sch_share_path place; /* likewise */
    bool waits;                  /* as its spec's policy says */
};

/* ---- model agents ---- */

struct execution {
    struct sch_attempt_key key;
    struct sch_resources request;
    bool started, ended, suspect, waits;
    uint32_t gpu; /* that it uses, if it asks for one */
    struct sch_share_path place;
    enum sch_outcome outcome;
    enum sch_death death;
};

struct agent {
    struct execution items[256];
    size_t count;
    uint32_t used_milli, gpus_milli[GPUS];
};

/* ---- the model store: what the effects said is durable ---- */

struct row {
    uint64_t id, run_id;
    char name[SCH_NAME_MAX], parent[SCH_NAME_MAX], run[SCH_NAME_MAX];
    uint32_t spec, ended, children_failed, last_epoch, last_number;
    uint32_t limit; /* the run's */
    int32_t priority;
    uint16_t user_failures, system_failures;
    uint8_t deaths;
    bool suspect, is_out;
    struct sch_out at; /* is_out: of an attempt that is not given up for silence */
    uint64_t child_sequence, event_sequence, total; /* the run's, in the root's row */
    int64_t created_ns, timeout_ns;                 /* of a condition */
    const uint8_t *key;                             /* one of cache_keys, or NULL */
    struct sch_gang_shape gang;                     /* size 0: none */
    uint64_t gang_id;
    uint32_t rank, on_loss, queue;
    bool live, sealed, executed, succeeded;
    bool out; /* assigned or running, in the eyes of this epoch */
};

/* What a partition was told of a cluster in this epoch. */
enum sight_state { SIGHT_UNKNOWN, SIGHT_JOINING, SIGHT_READY, SIGHT_CLOSED };
struct sight {
    enum sight_state state;
    int64_t since_ns, since_awake_ns;
    struct sch_shape shapes[4];
    size_t shape_count;
};

struct site {
    struct sch_queue_config configs[QUEUES + 1];
    struct sight sights[CLUSTERS];
    int64_t last_ns, awake_ns; /* the latter leaves out what it stood still: a second and more */
    int64_t changed_awake_ns;  /* a queue */
    int64_t able_ns[QUEUES][SPECS], able_awake_ns[QUEUES][SPECS]; /* some cluster could run it */
    bool fits[QUEUES][SPECS][CLUSTERS], fits_known;               /* see see_fits() */
    struct sch_partition *core;
    uint32_t epoch, looks_max; /* 0: as many as it likes */
    struct row rows[ROWS_MAX];
    size_t row_count;
    struct sch_event old[OLD_MAX]; /* reports that were delivered */
    size_t old_count;
};

struct world {
    struct sy_rng rng;
    int64_t now;
    uint64_t hash, names, finished, succeeded, reused, held, signalled, gangs, poisoned, infeasible;
    uint64_t kept, stopped, gangs_stopped, gangs_asked; /* for others; for gangs */
    uint64_t made, made_used; /* rooms by stopping others, of single actions; they came */
    size_t blobs;
    bool healing, strict; /* strict: what no cluster is left for ends */
    bool prefers;         /* the queue prefers one cluster */
    bool moves;           /* where work may run is changed */
    bool spot; /* n2 may be taken away; work tolerates that, unless somebody changes it */
    enum sch_policy policy;
    bool reserves;  /* nodes are kept for large actions */
    uint32_t looks; /* looks_max of the first epoch, modulo 3; of the next one more */
    uint32_t operator_looks[CLUSTERS];
    struct sch_spec specs[PARTITIONS][SPECS];
    struct site sites[PARTITIONS];
    struct sch_operator *operators[CLUSTERS];
    struct agent agents[CLUSTERS][NODES];
    enum sch_service_state services[CLUSTERS][NODES]; /* that the operator has said it keeps */
    bool waited[CLUSTERS][NODES]; /* likewise: it has, or had, attempts that wait */
    bool fenced[CLUSTERS][NODES]; /* it was, once */
    uint64_t drained, preempted;
    struct cluster_standing {
        bool cordoned, draining;
        int64_t drain_ns;
    } standings[CLUSTERS]; /* what people said of them, as partitions know */
    struct sy_rng drain_rng;
    bool drains;
    uint64_t asked_back, drains_stopped;
    struct stream shard_streams[PARTITIONS][CLUSTERS], node_streams[CLUSTERS][NODES];
    struct sch_effects fx;
    struct sch_op_effects op_fx;
};

static size_t cluster_index(const char *name)
{
    return strcmp(name, cluster_names[0]) == 0 ? 0 : 1;
}

#include "tests/unit/test_sch_audit.h"

static void mix(struct world *w, uint64_t value)
{
    w->hash = (w->hash ^ value) * 0x100000001b3ULL;
}

static void payload_release(void *data)
{
    struct payload *payload = data;
    --*payload->blobs;
    free(payload);
}

static struct sch_blob payload_new(struct world *w, const struct sch_resources *request,
                                   enum sch_outcome outcome)
{
    struct payload *payload = sy_new(struct payload);
    payload->blobs = &w->blobs;
    payload->request = *request;
    payload->outcome = outcome;
    w->blobs++;
    return (struct sch_blob){.data = payload, .release = payload_release};
}

static struct message *push(struct queue *queue)
{
    if (queue->count == queue->cap) {
        queue->cap = queue->cap ? queue->cap * 2 : 16;
        queue->items = sy_realloc(queue->items, queue->cap * sizeof(*queue->items));
    }
    queue->items[queue->count] = (struct message){0};
    return &queue->items[queue->count++];
}

static struct sch_blob *blob_of(struct message *message)
{
    if (message->down.type == SCH_OP_ASSIGN)
        return &message->down.u.assign.blob;
    return message->down.type == SCH_OP_OUTCOME ? &message->down.u.report.blob : NULL;
}

static void queue_clear(struct queue *queue)
{
    for (; queue->first < queue->count; queue->first++) {
        struct sch_blob *blob = blob_of(&queue->items[queue->first]);
        if (blob && blob->release)
            blob->release(blob->data);
    }
    queue->first = queue->count = 0;
}

static void queue_free(struct queue *queue)
{
    queue_clear(queue);
    free(queue->items);
}

/* ---- effects of a partition ---- */

static struct row *row_find(struct site *site, uint64_t id)
{
    for (size_t i = 0; i < site->row_count; i++) {
        if (site->rows[i].id == id)
            return &site->rows[i];
    }
    return NULL;
}

static void row_write(struct row *row, const struct sch_action *a)
{
    row->ended = a->ended;
    row->user_failures = a->user_failures;
    row->system_failures = a->system_failures;
    row->deaths = a->deaths;
    row->suspect = a->suspect;
    row->is_out = sch_action_out(a, &row->at);
    row->children_failed = a->children_failed;
    row->sealed = a->sealed;
}

/* `shell` is the action's cache key, or says that it is a condition with a timeout. */
static void row_new(struct world *w, size_t p, const struct sch_action *a, const void *shell)
{
    struct site *site = &w->sites[p];
    ck_assert_uint_lt(site->row_count, ROWS_MAX);
    ck_assert_ptr_null(row_find(site, a->id));
    struct row *row = &site->rows[site->row_count++];
    *row = (struct row){.id = a->id, .run_id = a->run->id, .live = true, .priority = a->priority};
    row->created_ns = a->created_ns;
    row->limit = a->run->concurrency_max;
    row->timeout_ns = shell == &condition_timeout ? 5 * SY_NS_PER_S : 0;
    row->key = shell == &condition_timeout ? NULL : shell;
    row->spec = a->spec ? (uint32_t)(a->spec - w->specs[p]) : SPECS;
    snprintf(row->name, sizeof(row->name), "%s", a->name);
    snprintf(row->parent, sizeof(row->parent), "%s", a->parent ? a->parent->name : "");
    snprintf(row->run, sizeof(row->run), "%s", a->run->name);
    const struct sch_queue_key *queue = sch_action_queue(a);
    while (queue && strcmp(queue->name, queue_names[row->queue]) != 0)
        row->queue++;
    struct sch_gang_view gang;
    if (sch_action_gang(a, &gang)) {
        row->gang = *gang.shape;
        row->gang_id = gang.id;
        row->rank = gang.rank;
        row->on_loss = gang.on_loss;
    }
}

/* It is out now: its run keeps to its limit, and nobody else computes the same. */
static void audit_out(struct site *site, struct row *row)
{
    uint32_t of_run = 0, of_key = 0;
    row->out = true;
    for (size_t i = 0; i < site->row_count; i++) {
        const struct row *other = &site->rows[i];
        of_run += other->out && other->run_id == row->run_id;
        of_key += other->out && other->key == row->key;
    }
    ck_assert(row->limit == 0 || of_run <= row->limit);
    ck_assert(row->key == NULL || of_key == 1);
}

static void audit_event(struct site *site, const struct sch_effect *effect)
{
    struct row *root = row_find(site, effect->u.event.run->root->id);
    ck_assert_ptr_nonnull(root);
    ck_assert_uint_eq(effect->u.event.sequence, ++root->event_sequence); /* dense */
    struct row *row = row_find(site, effect->u.event.action->id);
    ck_assert(row && row->live); /* nothing after the end */
    if (effect->u.event.state == SCH_ACTION_RUNNING)
        audit_out(site, row);
    else
        row->out = false;
}

static void audit_assign(struct site *site, const struct sch_action *a, size_t c)
{
    struct row *row = row_find(site, a->id);
    ck_assert(row && row->live);
    audit_where(site, row, c);
    uint64_t last = ((uint64_t)row->last_epoch << 32) | row->last_number;
    uint64_t token = ((uint64_t)a->attempt_epoch << 32) | a->number;
    ck_assert_uint_gt(token, last); /* the fencing token only grows */
    ck_assert_uint_eq(a->attempt_epoch, site->epoch);
    row->last_epoch = a->attempt_epoch;
    row->last_number = a->number;
    audit_out(site, row);
}

static void audit_finished(struct world *w, struct site *site, const struct sch_effect *effect)
{
    struct row *row = row_find(site, effect->u.final.action->id);
    ck_assert(row && row->live); /* exactly once */
    const struct sch_action *reused = effect->u.final.reused;
    const struct row *source = reused ? row_find(site, reused->id) : NULL;
    row->live = row->out = false;
    row->succeeded = effect->u.final.state == SCH_ACTION_SUCCEEDED;
    ck_assert(!reused || (source && source->succeeded && source->key == row->key && row->key));
    ck_assert(!reused || (row->succeeded && !row->executed)); /* it never ran itself */
    w->reused += reused != NULL;
    if (effect->u.final.code && strcmp(effect->u.final.code, "Infeasible") == 0) {
        audit_infeasible(w, site, row);
        ck_assert_int_eq(effect->u.final.state, SCH_ACTION_FAILED);
        w->infeasible++;
    }
    for (size_t i = 0; i < site->row_count; i++) /* children ended before */
        ck_assert(!site->rows[i].live || site->rows[i].run_id != row->run_id ||
                  strcmp(site->rows[i].parent, row->name) != 0);
    w->finished++;
    bool poison = effect->u.final.code && strcmp(effect->u.final.code, "PoisonTask") == 0;
    ck_assert(poison == (row->deaths + 1 == DEATHS && effect->u.final.action->deaths == DEATHS));
    w->poisoned += poison;
    if (effect->u.final.state == SCH_ACTION_SUCCEEDED && effect->u.final.report) {
        ck_assert(row->executed); /* no success without a run */
        w->succeeded++;
    }
}

static struct sch_op_event *send_down(struct world *w, size_t p, const char *cluster,
                                      enum sch_op_event_type type)
{
    struct stream *stream = &w->shard_streams[p][cluster_index(cluster)];
    ck_assert(stream->open);
    struct message *message = push(&stream->down);
    message->down.type = type;
    return &message->down;
}

/* An attempt that is not given up for silence runs nowhere when the next one is issued, but where a
 * person has given it up. */
static void audit_alone(const struct world *w, size_t p, uint64_t action)
{
    for (size_t i = 0; i < CLUSTERS * NODES; i++) {
        const struct agent *agent = &w->agents[i / NODES][i % NODES];
        for (size_t k = 0; k < agent->count && !w->fenced[i / NODES][i % NODES]; k++) {
            const struct execution *x = &agent->items[k];
            ck_assert_msg(x->key.action != action || x->key.partition != p || x->ended ||
                              !x->started,
                          "action %lu runs twice", (unsigned long)action);
        }
    }
}

static void carry_message(struct world *w, size_t p, const struct sch_effect *effect)
{
    if (effect->type == SCH_EFFECT_ASSIGN) {
        const struct sch_action *a = effect->u.assign.action;
        audit_assign(&w->sites[p], a, cluster_index(effect->u.assign.cluster));
        ck_assert(!w->standings[cluster_index(effect->u.assign.cluster)].cordoned);
        struct sch_op_event *event = send_down(w, p, effect->u.assign.cluster, SCH_OP_ASSIGN);
        event->u.assign.key = (struct sch_attempt_key){a->id, (uint32_t)p, a->number,
                                                       a->attempt_epoch};
        event->u.assign.class_id = effect->u.assign.class_id;
        event->u.assign.suspect = a->suspect;
        event->u.assign.queue = effect->u.assign.queue;
        sy_container_of(event, struct message, down)->place = *effect->u.assign.place;
        event->u.assign.blob = payload_new(w, &a->spec->request, 0);
        struct payload *payload = event->u.assign.blob.data;
        payload->suspect = a->suspect;
        payload->place = *effect->u.assign.place;
        struct sch_out at;
        event->u.assign.waits = payload->waits = sch_action_out(a, &at);
        if (payload->waits)
            audit_alone(w, p, a->id);
        payload->spot = tolerates_spot(&w->sites[p], row_find(&w->sites[p], a->id)->queue);
        struct sch_gang_view gang;
        if (sch_action_gang(a, &gang)) {
            event->u.assign.gang_id = gang.id;
            event->u.assign.rank = gang.rank;
            event->u.assign.priority = effect->u.assign.priority;
        }
    } else if (effect->type == SCH_EFFECT_CANCEL) {
        struct sch_op_event *event = send_down(w, p, effect->u.cancel.cluster, SCH_OP_CANCEL);
        event->u.cancel.key = (struct sch_attempt_key){effect->u.cancel.action_id, (uint32_t)p,
                                                       effect->u.cancel.number,
                                                       effect->u.cancel.epoch};
        event->u.cancel.reason = "cancel";
        event->u.cancel.preempts = effect->u.cancel.preempts;
        w->drains_stopped += effect->u.cancel.preempts;
    } else if (effect->type == SCH_EFFECT_GIVE_BACK) {
        struct sch_op_event *event = send_down(w, p, effect->u.cancel.cluster, SCH_OP_GIVE_BACK);
        event->u.key = (struct sch_attempt_key){effect->u.cancel.action_id, (uint32_t)p,
                                                effect->u.cancel.number, effect->u.cancel.epoch};
        w->asked_back++;
    } else if (effect->type == SCH_EFFECT_ACK) {
        if (!w->shard_streams[p][cluster_index(effect->u.ack.cluster)].open)
            return; /* an old report was brought again */
        struct sch_op_event *event = send_down(w, p, effect->u.ack.cluster, SCH_OP_ACK);
        event->u.key = (struct sch_attempt_key){effect->u.ack.action_id, (uint32_t)p,
                                                effect->u.ack.number, effect->u.ack.epoch};
    } else if (effect->type == SCH_EFFECT_DEMAND) {
        struct sch_op_event *event = send_down(w, p, effect->u.demand.cluster, SCH_OP_DEMAND);
        event->u.demand.partition = (uint32_t)p;
        event->u.demand.class_id = effect->u.demand.class_id;
        event->u.demand.request = *effect->u.demand.request;
        event->u.demand.waiting = effect->u.demand.waiting;
        event->u.demand.top_priority = effect->u.demand.top_priority;
        event->u.demand.keep = effect->u.demand.keep;
        if (effect->u.demand.standing)
            sy_container_of(event, struct message, down)->standing = *effect->u.demand.standing;
        w->kept += effect->u.demand.keep > 0;
        if (effect->u.demand.gang)
            sy_container_of(event, struct message, down)->gang = *effect->u.demand.gang;
    } else if (effect->type == SCH_EFFECT_RECLAIM) {
        struct sch_op_event *event = send_down(w, p, effect->u.reclaim.cluster, SCH_OP_RECLAIM);
        ck_assert_uint_le(effect->u.reclaim.queue_count, QUEUES);
        event->u.reclaim.partition = (uint32_t)p;
        event->u.reclaim.class_id = effect->u.reclaim.class_id;
        event->u.reclaim.gang_id = effect->u.reclaim.gang_id;
        event->u.reclaim.queue_count = effect->u.reclaim.queue_count;
        memcpy(sy_container_of(event, struct message, down)->queues, effect->u.reclaim.queues,
               effect->u.reclaim.queue_count * sizeof(struct sch_reclaim_queue));
        w->gangs_asked += effect->u.reclaim.gang_id != 0;
    }
}

static void carry(struct world *w, size_t p, const struct sch_effect *effect)
{
    struct site *site = &w->sites[p];
    struct row *row;
    mix(w, effect->type);
    switch (effect->type) {
    case SCH_EFFECT_CREATED:
        row_new(w, p, effect->u.created.action, effect->u.created.shell);
        break;
    case SCH_EFFECT_UPDATED:
        row = row_find(site, effect->u.action->id);
        ck_assert(row && row->live);
        row_write(row, effect->u.action);
        break;
    case SCH_EFFECT_EVENT:
        mix(w, effect->u.event.action->id * 16 + effect->u.event.state);
        audit_event(site, effect);
        break;
    case SCH_EFFECT_CHILD_FINISHED:
        row = row_find(site, effect->u.child.parent->id);
        ck_assert(row && row->live);
        ck_assert_uint_eq(effect->u.child.sequence, ++row->child_sequence); /* dense */
        break;
    case SCH_EFFECT_FINISHED:
        audit_finished(w, site, effect);
        break;
    case SCH_EFFECT_ASSIGN:
        mix(w, effect->u.assign.action->id + effect->u.assign.action->number);
        mix(w, (uint64_t)effect->u.assign.cluster[0]);
        break;
    default:
        break;
    }
    carry_message(w, p, effect);
}

static void step_partition(struct world *w, size_t p, struct sch_event event)
{
    event.now_ns = w->now;
    event.realtime_ns = w->now;
    see(w, p, &event);
    sch_partition_step(w->sites[p].core, &event, &w->fx);
    sch_partition_check(w->sites[p].core);
    bool ended = false;
    for (size_t i = 0; i < w->fx.count; i++) {
        ck_assert(!ended || w->fx.items[i].type == SCH_EFFECT_SPEC_UNUSED);
        ended |= w->fx.items[i].type == SCH_EFFECT_SPEC_UNUSED;
        carry(w, p, &w->fx.items[i]);
    }
}

/* ---- effects of an operator ---- */

static struct sch_event *send_up(struct world *w, size_t c, uint32_t p, enum sch_event_type type)
{
    ck_assert(w->shard_streams[p][c].open);
    struct message *message = push(&w->shard_streams[p][c].up);
    message->up.type = type;
    return &message->up;
}

static struct sch_event *send_report(struct world *w, size_t c, enum sch_event_type type,
                                     const struct sch_attempt_key *key, const void *payload)
{
    struct sch_event *event = send_up(w, c, key->partition, type);
    event->u.report.cluster = cluster_names[c];
    event->u.report.action_id = key->action;
    event->u.report.number = key->number;
    event->u.report.epoch = key->epoch;
    const struct payload *told = payload;
    event->u.report.outcome = told ? told->outcome : SCH_OUTCOME_LOST;
    event->u.report.death = told ? told->death : SCH_DEATH_NONE;
    return event;
}

static void send_to_node(struct world *w, size_t c, const struct sch_op_effect *effect)
{
    bool assigns = effect->type == SCH_OP_SEND_ASSIGN;
    const char *name = assigns ? effect->u.assign.node : effect->u.attempt.node;
    size_t n = (size_t)(name[1] - '0');
    ck_assert(w->node_streams[c][n].open);
    struct message *message = push(&w->node_streams[c][n].down);
    message->order = effect->type;
    message->key = assigns ? effect->u.assign.key : effect->u.attempt.key;
    if (assigns) {
        message->request = ((struct payload *)effect->u.assign.blob.data)->request;
        message->suspect = ((struct payload *)effect->u.assign.blob.data)->suspect;
        message->place = ((struct payload *)effect->u.assign.blob.data)->place;
        message->waits = ((struct payload *)effect->u.assign.blob.data)->waits;
        payload_release(effect->u.assign.blob.data);
    }
    mix(w, message->key.action + n);
}

/* Nothing is placed on a node that was closed in an earlier step, or that could not hold it. */
static void audit_placed(const struct world *w, size_t c, const struct sch_op_effect *effect)
{
    size_t n = (size_t)(effect->u.assign.node[1] - '0');
    struct model_node node = node_of(w, n);
    const struct payload *payload = effect->u.assign.blob.data;
    ck_assert(
        could_hold(&node.capacity, &node.traits, node.slots, &payload->request, payload->spot));
    ck_assert_int_eq(w->services[c][n], SCH_SERVICE_OPEN);
}

static void carry_elsewhere(struct world *w, size_t c, const struct sch_op_effect *effect)
{
    mix(w, effect->u.elsewhere.use.cpu_milli);
    struct sch_event *event = send_up(w, c, effect->u.elsewhere.partition, SCH_EVENT_ELSEWHERE);
    event->u.elsewhere.cluster = cluster_names[c];
    event->u.elsewhere.use = effect->u.elsewhere.use;
    sy_container_of(event, struct message, up)->place = effect->u.elsewhere.place;
}

/* What the operator keeps over restarts. */
static void note_node(struct world *w, size_t c, const struct sch_op_effect *effect)
{
    bool waited = effect->type == SCH_OP_NODE_WAITED;
    const char *name = waited ? effect->u.waited.node : effect->u.service.node;
    if (waited && !effect->u.waited.begins)
        return; /* such a name need not be taken out soon */
    size_t n = (size_t)(name[1] - '0');
    if (waited) {
        w->waited[c][n] = true;
        return;
    }
    w->services[c][n] = effect->u.service.state;
    w->fenced[c][n] |= effect->u.service.state == SCH_SERVICE_FENCED;
    w->drained += effect->u.service.state == SCH_SERVICE_DRAINED;
}

static void carry_inventory(struct world *w, size_t c, const struct sch_op_effect *effect)
{
    const struct sch_attempt_key *key = &effect->u.inventory.key;
    struct sch_event *event = send_up(w, c, key->partition, SCH_EVENT_INVENTORY);
    event->u.inventory.cluster = cluster_names[c];
    event->u.inventory.action_id = key->action;
    event->u.inventory.number = key->number;
    event->u.inventory.epoch = key->epoch;
    event->u.inventory.started = effect->u.inventory.started;
}

static void op_carry(struct world *w, size_t c, const struct sch_op_effect *effect)
{
    struct sch_event *event;
    mix(w, effect->type + 100);
    switch (effect->type) {
    case SCH_OP_NODE_WAITED:
    case SCH_OP_SERVICE_CHANGED:
        note_node(w, c, effect);
        break;
    case SCH_OP_SEND_ASSIGN:
        audit_placed(w, c, effect);
        send_to_node(w, c, effect);
        break;
    case SCH_OP_SEND_CANCEL:
    case SCH_OP_SEND_ACK:
    case SCH_OP_SEND_GIVE_BACK:
        send_to_node(w, c, effect);
        break;
    case SCH_OP_SEND_GRANT:
        mix(w, effect->u.grant.granted);
        event = send_up(w, c, effect->u.grant.partition, SCH_EVENT_GRANT);
        event->u.grant.cluster = cluster_names[c];
        event->u.grant.class_id = effect->u.grant.class_id;
        event->u.grant.granted = effect->u.grant.granted;
        event->u.grant.startable = effect->u.grant.startable;
        break;
    case SCH_OP_SEND_ROOM:
        mix(w, effect->u.room.cpu_milli);
        event = send_up(w, c, effect->u.room.partition, SCH_EVENT_ROOM);
        event->u.room.cluster = cluster_names[c];
        event->u.room.cpu_milli = effect->u.room.cpu_milli;
        event->u.room.memory_bytes = effect->u.room.memory_bytes;
        event->u.room.gpu_milli = effect->u.room.gpu_milli;
        break;
    case SCH_OP_SEND_ELSEWHERE:
        carry_elsewhere(w, c, effect);
        break;
    case SCH_OP_SEND_STARTED:
        send_report(w, c, SCH_EVENT_STARTED, &effect->u.report.key, NULL);
        break;
    case SCH_OP_SEND_OUTCOME:
        w->preempted += effect->u.report.reason != NULL;
        event = send_report(w, c, SCH_EVENT_OUTCOME, &effect->u.report.key, effect->u.report.blob);
        ck_assert(!effect->u.report.alone || !effect->u.report.blob);
        if (effect->u.report.alone)
            event->u.report.death = SCH_DEATH_ALONE;
        if (effect->u.report.reason && !effect->u.report.blob)
            event->u.report.outcome = SCH_OUTCOME_PREEMPTED;
        break;
    case SCH_OP_SEND_RETURNED:
        send_report(w, c, SCH_EVENT_RETURNED, &effect->u.report.key, NULL);
        break;
    case SCH_OP_SEND_INVENTORY:
        carry_inventory(w, c, effect);
        break;
    case SCH_OP_SEND_INVENTORY_COMPLETE:
    case SCH_OP_SEND_INVENTORY_OWED:
        event = send_up(w, c, effect->u.partition, SCH_EVENT_INVENTORY_COMPLETE);
        event->u.cluster.name = cluster_names[c];
        event->u.cluster.owed = effect->type == SCH_OP_SEND_INVENTORY_OWED;
        break;
    case SCH_OP_SHAPES_CHANGED:
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            if (w->shard_streams[p][c].open)
                send_up(w, c, p, SCH_EVENT_CLUSTER_UP)->u.cluster.name = cluster_names[c];
        }
        break;
    }
}

/* All members of a gang in one step, one after the other. */
static void audit_gangs(struct world *w)
{
    uint32_t next = 0;
    uint64_t id = 0;
    for (size_t i = 0; i < w->op_fx.count; i++) {
        const struct sch_op_effect *effect = &w->op_fx.items[i];
        if (effect->type != SCH_OP_SEND_ASSIGN)
            continue;
        bool member = effect->u.assign.first_node != NULL;
        ck_assert(next == 0 || (member && effect->u.assign.gang_id == id));
        if (!member)
            continue;
        id = effect->u.assign.gang_id;
        ck_assert_uint_eq(effect->u.assign.rank, next);
        next = next + 1 < effect->u.assign.size ? next + 1 : 0;
        w->gangs += next == 0;
    }
    ck_assert_uint_eq(next, 0);
}

static bool is_stopped(const struct sch_op_effect *effect)
{
    return effect->type == SCH_OP_SEND_CANCEL &&
           strcmp(effect->u.attempt.reason, "preempted: others are next") == 0;
}

/* What stops for others may, and a gang stops whole. */
static void audit_stopped(struct world *w, size_t c)
{
    bool open = true;
    for (size_t n = 0; n < NODES; n++)
        open &= w->node_streams[c][n].open;
    for (size_t i = 0; i < w->op_fx.count; i++) {
        if (!is_stopped(&w->op_fx.items[i]))
            continue;
        const struct sch_attempt_key *key = &w->op_fx.items[i].u.attempt.key;
        struct site *site = &w->sites[key->partition];
        const struct row *row = row_find(site, key->action);
        uint32_t members = 0;
        for (size_t k = 0; k < w->op_fx.count; k++) {
            const struct sch_op_effect *other = &w->op_fx.items[k];
            members += is_stopped(other) && row->gang_id != 0 &&
                       row_find(site, other->u.attempt.key.action)->gang_id == row->gang_id;
        }
        ck_assert_str_ne(queue_names[row->queue], "firm");
        ck_assert(row->gang_id == 0 || row->on_loss == SCH_ON_LOSS_RESTART_ALL);
        ck_assert(!open || members == row->gang.size);
        w->stopped++;
        w->gangs_stopped += members > 0;
    }
}

static bool view_copy(void *ctx, const struct sch_node_view *node)
{
    ((struct sch_node_view *)ctx)[node->name[1] - '0'] = *node;
    return true;
}

/* Where others stop for one of a class nothing else is placed before that one. */
static void audit_made(struct world *w, size_t c, const struct sch_op_event *event,
                       struct sch_node_view *before)
{
    struct sch_node_view after[NODES] = {0};
    sch_operator_each_node(w->operators[c], view_copy, after);
    for (size_t i = 0; i < w->op_fx.count; i++) {
        const struct sch_op_effect *effect = &w->op_fx.items[i];
        if (effect->type == SCH_OP_SEND_ASSIGN) {
            size_t n = (size_t)(effect->u.assign.node[1] - '0');
            ck_assert_int_ne(after[n].kept, SCH_KEPT_FOR_NEXT);
            if (before[n].kept != SCH_KEPT_FOR_NEXT || event->type != SCH_OP_ASSIGN)
                continue;
            ck_assert_uint_eq(effect->u.assign.key.partition, before[n].kept_partition);
            ck_assert_uint_eq(event->u.assign.class_id, before[n].kept_class);
            before[n].kept = SCH_KEPT_FOR_NOBODY; /* others may come beside it */
            w->made_used++;
        } else if (is_stopped(effect) && event->u.reclaim.gang_id == 0) {
            ck_assert_int_eq(event->type, SCH_OP_RECLAIM);
            bool kept = false;
            for (size_t n = 0; n < NODES; n++)
                kept |= (after[n].kept == SCH_KEPT_FOR_NEXT &&
                         after[n].kept_partition == event->u.reclaim.partition &&
                         after[n].kept_class == event->u.reclaim.class_id) ||
                        after[n].health == SCH_HEALTH_AVOIDED;
            ck_assert(kept);
            w->made++;
        }
    }
}

static void step_operator(struct world *w, size_t c, struct sch_op_event event)
{
    struct sch_node_view before[NODES] = {0};
    sch_operator_each_node(w->operators[c], view_copy, before);
    event.now_ns = w->now;
    sch_operator_step(w->operators[c], &event, &w->op_fx);
    sch_operator_check(w->operators[c]);
    audit_gangs(w);
    audit_stopped(w, c);
    audit_made(w, c, &event, before);
    for (size_t i = 0; i < w->op_fx.count; i++)
        op_carry(w, c, &w->op_fx.items[i]);
}

#include "tests/unit/test_sch_agents.h"
