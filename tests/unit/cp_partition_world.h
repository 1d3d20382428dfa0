/*
 * A partition on a memory store, and a made-up operator on the in-memory transport, on one virtual
 * clock. The operator has room for everything. It runs each task by its name: "root" tasks do what
 * the test says, "bad*" fail, "hold*" never end by themselves, "wait*" are not started, all others
 * give their input back.
 */
#pragma once

#include "base/mem.h"
#include "controlplane/partition.h"
#include "controlplane/rows.h"
#include "tests/lib/test.h"

#include "flyteidl2/task/task_definition.pb-c.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS SY_NS_PER_MS
#define WORLD_ATTEMPTS_MAX 4096
#define WORLD_CLASSES_MAX 16
#define OPERATE "/switchyard.internal.ControlPlane/Operate"

typedef Switchyard__Internal__ShardMessage ShardMessage;
typedef Switchyard__Internal__OperatorMessage OperatorMessage;

struct attempt {
    bool used, started, ended, acked, cancelled;
    uint64_t action;
    uint32_t number, epoch;
    uint64_t gang; /* 0: in none */
    uint32_t rank;
    char name[SCH_NAME_MAX], run[200];
    char input[64];
    int kind; /* of the outcome, when ended */
};

struct world {
    int64_t now_ns;
    struct sy_loop *loop, *operator_loop;
    struct sy_rng rng;
    struct cp_mem_disk *disk;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct cp_partition *p;
    struct cp_partition_options options;
    bool frozen; /* the operator's loop stands still */
    int open_error;
    unsigned opens;

    /* the operator */
    struct sy_channel *channel;
    struct sy_call *call;
    bool offline, welcomed, retry_root;
    int64_t reconnect_ns;
    int64_t wall_ahead_ns; /* of wall clocks, before the monotonic one */
    uint32_t epoch;
    uint64_t received[WORLD_CLASSES_MAX];
    bool asked[WORLD_CLASSES_MAX];
    struct attempt attempts[WORLD_ATTEMPTS_MAX];
    size_t attempt_count;
    unsigned specs, cancels, preempts, give_backs, streams;
    unsigned stops;          /* assignments that say so */
    uint64_t echoed;         /* the last probe that came back, */
    unsigned echoed_cancels; /* after so many cancels */
    struct sy_timer heartbeat;
    int64_t price; /* of a core, as the operator says */
    enum sy_code closed_code;
    char closed_text[512];
    /* what a root does: NULL = as all others */
    void (*on_root)(struct world *w, struct attempt *root);
    void (*on_reply)(struct world *w, const Switchyard__Internal__TaskReply *reply);
    void *ctx;
};

/* ---- clock, store ---- */

static inline int64_t world_ns(void *ctx)
{
    return ((const struct world *)ctx)->now_ns;
}

static inline int64_t world_wall_ns(void *ctx)
{
    const struct world *w = ctx;
    return w->now_ns + w->wall_ahead_ns;
}

static inline int world_open_store(void *ctx, struct cp_store **ret, uint32_t epoch,
                                   struct sy_loop *loop, uint32_t *ret_epoch,
                                   struct sy_error_text *error)
{
    struct world *w = ctx;
    w->opens++;
    if (w->open_error) {
        sy_error_text_set(error, "the database /data/p0 is damaged (RocksDB: Corruption: made up)");
        return w->open_error;
    }
    return cp_store_mem_open(ret, w->disk, epoch, loop, ret_epoch, error);
}

/* ---- the operator ---- */

static inline void operator_send(struct world *w, const OperatorMessage *m)
{
    struct sy_buf out = {0};
    cp_row_pack(&out, &m->base);
    ck_assert_int_eq(sy_call_send(w->call, &out), 0);
}

static inline void operator_outcome(struct world *w, const struct attempt *a)
{
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__Outcome outcome = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    Switchyard__Internal__Outcome *outcomes[] = {&outcome};
    char code[] = "Oops", message[] = "it \xff broke", node[] = "n1";
    outcome.action = a->action;
    outcome.number = a->number;
    outcome.epoch = a->epoch;
    outcome.kind = (Switchyard__Internal__OutcomeKind)a->kind;
    outcome.started_ns = 1000;
    outcome.finished_ns = 2000;
    outcome.node = node;
    if (a->kind == SCH_OUTCOME_SUCCEEDED) {
        outcome.output.data = (uint8_t *)(uintptr_t)a->input;
        outcome.output.len = strlen(a->input);
    } else {
        outcome.error_code = code;
        outcome.error_message = message;
    }
    m.outcomes = outcomes;
    m.n_outcomes = 1;
    if (w->call)
        operator_send(w, &m);
}

static inline void operator_end(struct world *w, struct attempt *a, int kind)
{
    ck_assert(!a->ended);
    a->ended = true;
    a->kind = kind;
    operator_outcome(w, a);
}

static inline void operator_call(struct world *w, const struct attempt *a, uint64_t call,
                                 const char *method, const ProtobufCMessage *body)
{
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__TaskCall task_call = SWITCHYARD__INTERNAL__TASK_CALL__INIT;
    Switchyard__Internal__TaskCall *calls[] = {&task_call};
    SY_CLEANUP(sy_buf_deinit) struct sy_buf packed = {0};
    cp_row_pack(&packed, body);
    task_call.action = a->action;
    task_call.number = a->number;
    task_call.epoch = a->epoch;
    task_call.call = call;
    task_call.method = (char *)(uintptr_t)method;
    task_call.body.data = packed.data;
    task_call.body.len = packed.len;
    m.calls = calls;
    m.n_calls = 1;
    if (w->call && w->welcomed)
        operator_send(w, &m);
}

static inline void operator_started(struct world *w, const struct attempt *a)
{
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__Started started = SWITCHYARD__INTERNAL__STARTED__INIT;
    Switchyard__Internal__Started *list[] = {&started};
    started.action = a->action;
    started.number = a->number;
    started.epoch = a->epoch;
    started.started_ns = 1000;
    started.node = (char[]){"n1"};
    m.started = list;
    m.n_started = 1;
    operator_send(w, &m);
}

static inline struct attempt *operator_find(struct world *w, uint64_t action, uint32_t number,
                                            uint32_t epoch)
{
    for (size_t i = 0; i < w->attempt_count; i++) {
        struct attempt *a = &w->attempts[i];
        if (a->used && a->action == action && a->number == number && a->epoch == epoch)
            return a;
    }
    return NULL;
}

static inline struct attempt *operator_find_name(struct world *w, const char *name)
{
    for (size_t i = w->attempt_count; i > 0; i--) {
        if (w->attempts[i - 1].used && strcmp(w->attempts[i - 1].name, name) == 0)
            return &w->attempts[i - 1];
    }
    return NULL;
}

static inline void operator_assign(struct world *w, const Switchyard__Internal__Assignment *m)
{
    ck_assert_uint_lt(m->class_, WORLD_CLASSES_MAX);
    w->received[m->class_]++;
    ck_assert_uint_eq(m->epoch, w->epoch);
    ck_assert_uint_lt(w->attempt_count, WORLD_ATTEMPTS_MAX);
    struct attempt *a = &w->attempts[w->attempt_count++];
    *a = (struct attempt){
        .used = true, .action = m->action, .number = m->number, .epoch = m->epoch};
    a->gang = m->gang ? m->gang->id : 0;
    a->rank = m->gang ? m->gang->rank : 0;
    snprintf(a->name, sizeof(a->name), "%s", m->name);
    snprintf(a->run, sizeof(a->run), "%s", m->run);
    ck_assert_uint_lt(m->input.len, sizeof(a->input));
    if (m->input.len > 0)
        memcpy(a->input, m->input.data, m->input.len);
    if (strncmp(a->name, "wait", 4) == 0)
        return;
    a->started = true;
    operator_started(w, a);
    if (strcmp(a->name, SCH_ROOT_NAME) == 0 && w->on_root)
        w->on_root(w, a);
    else if (strncmp(a->name, "bad", 3) == 0)
        operator_end(w, a, SCH_OUTCOME_FAILED);
    else if (strncmp(a->name, "hold", 4) != 0)
        operator_end(w, a, SCH_OUTCOME_SUCCEEDED);
}

static inline void operator_grant(struct world *w)
{
    for (uint32_t class = 0; class < WORLD_CLASSES_MAX; class ++) {
        if (!w->asked[class])
            continue;
        w->asked[class] = false;
        OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
        Switchyard__Internal__Grant grant = SWITCHYARD__INTERNAL__GRANT__INIT;
        Switchyard__Internal__Grant *grants[] = {&grant};
        grant.class_ = class;
        grant.granted = w->received[class] + 500;
        m.grants = grants;
        m.n_grants = 1;
        operator_send(w, &m);
    }
}

static inline void operator_cancel(struct world *w, const Switchyard__Internal__Cancel *m)
{
    w->cancels++;
    w->preempts += m->preempts != 0;
    struct attempt *a = operator_find(w, m->action, m->number, m->epoch);
    if (!a || a->ended)
        return;
    a->cancelled = true;
    operator_end(w, a, m->preempts ? SCH_OUTCOME_PREEMPTED : SCH_OUTCOME_CANCELLED);
}

static inline void operator_give_back(struct world *w, const Switchyard__Internal__Attempt *m)
{
    OperatorMessage out = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__Returned returned = SWITCHYARD__INTERNAL__RETURNED__INIT;
    Switchyard__Internal__Returned *list[] = {&returned};
    struct attempt *a = operator_find(w, m->action, m->number, m->epoch);
    w->give_backs++;
    if (!a || a->started || a->ended)
        return;
    a->used = false;
    returned.action = a->action;
    returned.number = a->number;
    returned.epoch = a->epoch;
    out.returned = list;
    out.n_returned = 1;
    operator_send(w, &out);
}

/* A task whose calls were not answered makes them again. */
static inline void operator_rerun_roots(struct world *w)
{
    w->retry_root = false;
    for (size_t i = 0; i < w->attempt_count && w->on_root; i++) {
        struct attempt *a = &w->attempts[i];
        if (!a->ended && strcmp(a->name, SCH_ROOT_NAME) == 0)
            w->on_root(w, a);
    }
}

static inline void operator_on_message(void *ctx, struct sy_span bytes)
{
    struct world *w = ctx;
    ShardMessage *m = switchyard__internal__shard_message__unpack(NULL, bytes.len, bytes.data);
    ck_assert_ptr_nonnull(m);
    if (m->welcome) {
        ck_assert_uint_ge(m->welcome->epoch, w->epoch);
        w->epoch = m->welcome->epoch;
        w->welcomed = true;
        operator_rerun_roots(w);
    }
    for (size_t i = 0; i < m->n_demands; i++) {
        ck_assert_uint_lt(m->demands[i]->class_, WORLD_CLASSES_MAX);
        w->asked[m->demands[i]->class_] |= m->demands[i]->waiting > 0;
    }
    w->specs += (unsigned)m->n_specs;
    for (size_t i = 0; i < m->n_assignments; i++) {
        w->stops += m->assignments[i]->stops;
        operator_assign(w, m->assignments[i]);
    }
    for (size_t i = 0; i < m->n_acks; i++) {
        struct attempt *a = operator_find(w, m->acks[i]->action, m->acks[i]->number,
                                          m->acks[i]->epoch);
        if (a)
            a->acked = true;
    }
    for (size_t i = 0; i < m->n_cancels; i++)
        operator_cancel(w, m->cancels[i]);
    for (size_t i = 0; i < m->n_give_backs; i++)
        operator_give_back(w, m->give_backs[i]);
    if (m->echo) {
        w->echoed = m->echo->number;
        w->echoed_cancels = w->cancels;
    }
    for (size_t i = 0; i < m->n_replies; i++) {
        if (w->on_reply)
            w->on_reply(w, m->replies[i]);
    }
    operator_grant(w);
    switchyard__internal__shard_message__free_unpacked(m, NULL);
}

static inline void operator_on_closed(void *ctx, const struct sy_status *status)
{
    struct world *w = ctx;
    sy_call_unref(sy_take(w->call));
    w->welcomed = false;
    w->reconnect_ns = w->now_ns + 20 * MS;
    w->closed_code = status->code;
    snprintf(w->closed_text, sizeof(w->closed_text), "%s", status->message.text);
}

static inline void operator_inventory(struct world *w, OperatorMessage *m)
{
    static Switchyard__Internal__InventoryEntry entries[WORLD_ATTEMPTS_MAX];
    static Switchyard__Internal__InventoryEntry *list[WORLD_ATTEMPTS_MAX];
    for (size_t i = 0; i < w->attempt_count; i++) {
        const struct attempt *a = &w->attempts[i];
        if (!a->used || a->ended)
            continue;
        Switchyard__Internal__InventoryEntry *entry = &entries[m->n_inventory];
        switchyard__internal__inventory_entry__init(entry);
        entry->action = a->action;
        entry->number = a->number;
        entry->epoch = a->epoch;
        entry->started = a->started;
        entry->started_ns = a->started ? 1000 : 0;
        entry->node = (char *)(uintptr_t) "n1";
        list[m->n_inventory++] = entry;
    }
    m->inventory = list;
    m->inventory_complete = true;
}

static inline void operator_connect(struct world *w)
{
    static const struct sy_call_sink sink = {.on_message = operator_on_message,
                                             .on_closed = operator_on_closed};
    struct sy_call_options options = {.method = OPERATE};
    w->streams++;
    w->welcomed = false;
    memset(w->received, 0, sizeof(w->received));
    memset(w->asked, 0, sizeof(w->asked));
    w->call = sy_channel_open(w->channel, w->operator_loop, &options, &sink, w);
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__OperatorHello hello = SWITCHYARD__INTERNAL__OPERATOR_HELLO__INIT;
    Switchyard__Internal__NodeShape shape = SWITCHYARD__INTERNAL__NODE_SHAPE__INIT;
    Switchyard__Internal__NodeShape *shapes[] = {&shape};
    Switchyard__Internal__Resources capacity = SWITCHYARD__INTERNAL__RESOURCES__INIT;
    capacity.cpu_milli = 64000;
    capacity.memory_bytes = 1ull << 36;
    shape.capacity = &capacity;
    shape.nodes = 10;
    hello.cluster = (char[]){"c1"};
    hello.session = (char[]){"s"};
    hello.endpoint = (char[]){"127.0.0.1:9"};
    hello.max_epoch = w->epoch;
    hello.price = w->price;
    m.hello = &hello;
    m.shapes = shapes;
    m.n_shapes = 1;
    m.shapes_set = true;
    /* Outcomes come before the end of the inventory, so that none of them counts as lost. */
    operator_send(w, &m);
    for (size_t i = 0; i < w->attempt_count; i++) {
        if (w->attempts[i].ended && !w->attempts[i].acked)
            operator_outcome(w, &w->attempts[i]);
    }
    OperatorMessage end = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    operator_inventory(w, &end);
    operator_send(w, &end);
}

static inline void operator_heartbeat(void *arg)
{
    struct world *w = arg;
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    m.heartbeat = true;
    if (w->call && w->welcomed) {
        operator_send(w, &m);
        if (w->retry_root)
            operator_rerun_roots(w);
    }
    sy_timer_start_in(w->operator_loop, &w->heartbeat, 100 * MS);
}

/* ---- the world ---- */

static inline void world_operate(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct world *w = ctx;
    (void)request;
    cp_partition_operate(w->p, call);
}

static inline void world_start(struct world *w)
{
    struct sy_error_text error = {0};
    struct cp_store_opener opener = {.open = world_open_store, .ctx = w};
    int r = cp_partition_new(&w->p, &w->options, w->loop, &w->rng, NULL, &opener, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    struct sy_server_options options = {.address = "shard"};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, &error), 0);
    sy_server_add(w->server, &(struct sy_method){.path = OPERATE,
                                                 .kind = SY_METHOD_BIDI,
                                                 .handler = world_operate,
                                                 .ctx = w,
                                                 .loop = w->loop});
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
}

static inline struct world *world_new(void)
{
    struct world *w = sy_new(struct world);
    w->now_ns = SY_NS_PER_S;
    struct sy_clock clock = {world_ns, world_wall_ns, w};
    struct sy_loop_options loop = {.clock = &clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &loop), 0);
    ck_assert_int_eq(sy_loop_new(&w->operator_loop, &loop), 0);
    sy_rng_init(&w->rng, 1);
    w->disk = cp_mem_disk_new();
    cp_mem_disk_set(w->disk, 100 * SY_NS_PER_US, -1);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    sy_rpc_mem_set_origin(w->rpc, "operator");
    w->channel = sy_channel_new(w->rpc, "shard");
    w->options = (struct cp_partition_options){.shard = "s1",
                                               .region = "r1",
                                               .inline_bytes_max = 32,
                                               .heartbeat_ns = 100 * MS,
                                               .cluster_lease_ns = 1000 * MS,
                                               .recovery_wait_ns = 500 * MS};
    sy_timer_init(&w->heartbeat, operator_heartbeat, w);
    sy_timer_start_in(w->operator_loop, &w->heartbeat, 100 * MS);
    world_start(w);
    return w;
}

/* The shard's process dies, without a word. */
static inline void world_crash(struct world *w)
{
    sy_rpc_mem_kill(w->rpc, "shard");
    cp_partition_free(sy_take(w->p));
    sy_server_free(sy_take(w->server));
}

static inline void world_free(struct world *w)
{
    w->offline = true;
    if (w->p)
        world_crash(w);
    for (int i = 0; i < 10; i++) {
        w->now_ns += MS;
        sy_loop_turn(w->loop);
        sy_loop_turn(w->operator_loop);
    }
    ck_assert_ptr_null(w->call);
    sy_timer_stop(w->operator_loop, &w->heartbeat);
    sy_channel_free(w->channel);
    sy_rpc_free(w->rpc);
    cp_mem_disk_free(w->disk);
    sy_loop_free(w->loop);
    sy_loop_free(w->operator_loop);
    free(w);
}

/* One turn of everything, at the next time at which something is due, not after end_ns. */
static inline bool world_step(struct world *w, int64_t end_ns)
{
    if (!w->call && !w->offline && !w->frozen && w->p && w->now_ns >= w->reconnect_ns)
        operator_connect(w);
    int64_t next_ns = sy_loop_next_ns(w->loop);
    int64_t other_ns = w->frozen ? SY_TIME_NEVER : sy_loop_next_ns(w->operator_loop);
    if (!w->call && !w->offline && !w->frozen && w->reconnect_ns < other_ns)
        other_ns = w->reconnect_ns;
    next_ns = other_ns < next_ns ? other_ns : next_ns;
    if (next_ns > end_ns) {
        w->now_ns = end_ns;
        return false;
    }
    if (next_ns > w->now_ns)
        w->now_ns = next_ns;
    sy_loop_turn(w->loop);
    if (!w->frozen)
        sy_loop_turn(w->operator_loop);
    return true;
}

static inline void world_run(struct world *w, int64_t ns)
{
    int64_t end_ns = w->now_ns + ns;
    while (world_step(w, end_ns))
        ;
}

/* ---- requests ---- */

struct answer {
    int calls;
    enum sy_code code;
    char text[SY_ERROR_TEXT_MAX];
    uint32_t created;
    size_t existing_count;
    struct cp_existing existing[16];
};

static inline void on_answer(void *ctx, const struct sy_status *status)
{
    struct answer *answer = ctx;
    answer->calls++;
    answer->code = status->code;
    snprintf(answer->text, sizeof(answer->text), "%s", status->message.text);
}

static inline void on_enqueued(void *ctx, const struct sy_status *status,
                               const struct cp_enqueued *result)
{
    struct answer *answer = ctx;
    on_answer(ctx, status);
    answer->created = result->created;
    answer->existing_count = result->existing_count;
    for (size_t i = 0; i < result->existing_count && i < SY_COUNT_OF(answer->existing); i++)
        answer->existing[i] = result->existing[i];
}

/* A TaskSpec: a process, or a group. */
static inline struct sy_buf make_spec(const char *type, uint32_t retries, const char *cpu)
{
    Flyteidl2__Task__TaskSpec spec = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    Flyteidl2__Core__TaskTemplate template = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    Flyteidl2__Core__Container container = FLYTEIDL2__CORE__CONTAINER__INIT;
    Flyteidl2__Core__TaskMetadata metadata = FLYTEIDL2__CORE__TASK_METADATA__INIT;
    Flyteidl2__Core__RetryStrategy strategy = FLYTEIDL2__CORE__RETRY_STRATEGY__INIT;
    Flyteidl2__Core__Resources resources = FLYTEIDL2__CORE__RESOURCES__INIT;
    Flyteidl2__Core__Resources__ResourceEntry entry =
        FLYTEIDL2__CORE__RESOURCES__RESOURCE_ENTRY__INIT;
    Flyteidl2__Core__Resources__ResourceEntry *entries[] = {&entry};
    char *args[] = {(char[]){"/bin/true"}};
    entry.name = FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__CPU;
    entry.value = (char *)(uintptr_t)cpu;
    resources.requests = entries;
    resources.n_requests = 1;
    container.args = args;
    container.n_args = 1;
    container.resources = &resources;
    strategy.retries = retries;
    metadata.retries = &strategy;
    template.type = (char *)(uintptr_t)type;
    template.metadata = &metadata;
    template.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
    template.container = &container;
    spec.task_template = &template;
    struct sy_buf out = {0};
    cp_row_pack(&out, &spec.base);
    return out;
}

static inline void create_run(struct world *w, const char *name, const char *request_id,
                              const char *type, struct answer *answer)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf spec = make_spec(type, 0, "100m");
    struct cp_create_run request = {.project = "p",
                                    .domain = "d",
                                    .name = name,
                                    .request_id = request_id,
                                    .task_spec = sy_buf_span(&spec)};
    *answer = (struct answer){0};
    cp_partition_create_run(w->p, &request, on_answer, answer);
    ck_assert_int_eq(answer->calls, 0); /* never inside the call */
}

static inline void enqueue(struct world *w, const char *run, const char *parent,
                           const struct cp_new_action *actions, size_t count, bool seal,
                           struct answer *answer)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf spec = make_spec("switchyard.process", 0, "100m");
    struct cp_enqueue request = {.project = "p",
                                 .domain = "d",
                                 .run = run,
                                 .parent = parent,
                                 .task_spec = sy_buf_span(&spec),
                                 .actions = actions,
                                 .count = count,
                                 .seal = seal};
    *answer = (struct answer){0};
    cp_partition_enqueue(w->p, &request, on_enqueued, answer);
    ck_assert_int_eq(answer->calls, 0);
}

/* Runs until the answer has come. */
static inline void await(struct world *w, const struct answer *answer)
{
    for (int i = 0; i < 100000 && answer->calls == 0; i++)
        ck_assert(world_step(w, w->now_ns + 10 * SY_NS_PER_S));
    ck_assert_int_eq(answer->calls, 1);
}

static inline void expect(struct world *w, const struct answer *answer, enum sy_code code,
                          const char *text)
{
    await(w, answer);
    ck_assert_msg(answer->code == code, "%s %s", sy_code_name(answer->code), answer->text);
    ck_assert_msg(strstr(answer->text, text) != NULL, "'%s' lacks '%s'", answer->text, text);
}

static inline uint64_t run_id(struct world *w, const char *name)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct cp_run_view run;
    ck_assert_int_eq(cp_partition_get_run(w->p, &arena, "p", "d", name, &run), 0);
    sy_arena_deinit(&arena);
    return run.id;
}

static inline Switchyard__V1__Phase action_phase(struct world *w, const char *run,
                                                 const char *action)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct cp_action_view view;
    int r = cp_partition_get_action(w->p, &arena, run_id(w, run), action, &view);
    ck_assert_int_eq(r, 0);
    sy_arena_deinit(&arena);
    return view.phase;
}

#define PHASE(x) SWITCHYARD__V1__PHASE__PHASE_##x
