/*
 * An agent on a virtual clock: a fake operator over rpc_mem, a fake executor that ends attempts at
 * random times and checks that no room is given twice.
 */
#pragma once

#include "agent/agent.h"
#include "agent/journal.h"
#include "agent/room.h"
#include "base/mem.h"
#include "base/rng.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "tests/unit/test_ag_util.h"

#define ATTEMPTS_MAX 4096

/* ---- the executor ---- */

struct fake_task {
    bool live, pipelined;
    struct sch_resources request;
    char gpus[64];
    int64_t end_ns;
};

struct fake {
    struct ag_executor base;
    const struct ag_executor_events *events;
    void *ctx;
    struct fake_task tasks[ATTEMPTS_MAX]; /* by id */
    uint64_t last_id, started, cancels, kills, replies;
    uint32_t pipeline_max;
    struct sch_resources capacity;
    uint32_t slots;
    uint32_t last_code;
    int64_t told_started_ns; /* 0: long ago */
    char order[ATTEMPTS_MAX * 8];
};

static inline bool same_request(const struct fake_task *a, const struct sch_resources *b)
{
    return sch_resources_equal(&a->request, b);
}

/* Charged attempts must fit; pipelined ones need one of their request to wait behind. */
static inline void check_room(struct fake *f)
{
    uint64_t cpu = 0, memory = 0, gpus = 0, slots = 0;
    bool devices[16] = {false};
    for (uint64_t id = 1; id <= f->last_id; id++) {
        struct fake_task *t = &f->tasks[id % ATTEMPTS_MAX];
        if (!t->live || t->pipelined)
            continue;
        cpu += t->request.cpu_milli;
        memory += t->request.memory_bytes;
        gpus += t->request.gpus;
        slots += t->request.environment[0] != '\0';
        for (char *at = t->gpus; *at != '\0'; at += strcspn(at, ","), at += *at == ',') {
            unsigned long device = strtoul(at, NULL, 10);
            ck_assert_msg(!devices[device], "device %lu is given twice", device);
            devices[device] = true;
        }
    }
    ck_assert_uint_le(cpu, f->capacity.cpu_milli);
    ck_assert_uint_le(memory, f->capacity.memory_bytes);
    ck_assert_uint_le(gpus, f->capacity.gpus);
    ck_assert_uint_le(slots, f->slots);
}

static inline void fake_bind(struct ag_executor *base, const struct ag_executor_events *events,
                             void *ctx)
{
    struct fake *f = (struct fake *)base;
    f->events = events;
    f->ctx = ctx;
}

static inline uint32_t fake_pipeline(struct ag_executor *base, const struct sch_resources *request)
{
    struct fake *f = (struct fake *)base;
    uint32_t waiting = 0;
    for (uint64_t id = 1; id <= f->last_id; id++) {
        struct fake_task *t = &f->tasks[id % ATTEMPTS_MAX];
        waiting += t->live && t->pipelined && same_request(t, request);
    }
    return request->gpus > 0 || waiting > f->pipeline_max ? 0 : f->pipeline_max - waiting;
}

static inline void fake_start(struct ag_executor *base, const struct ag_work *work)
{
    struct fake *f = (struct fake *)base;
    struct fake_task *t = &f->tasks[work->id % ATTEMPTS_MAX];
    ck_assert(!t->live);
    *t = (struct fake_task){.live = true, .pipelined = work->pipelined, .request = work->request};
    snprintf(t->gpus, sizeof(t->gpus), "%s", work->gpus);
    unsigned devices = work->gpus[0] != '\0';
    for (const char *at = work->gpus; *at != '\0'; at++)
        devices += *at == ',';
    ck_assert_uint_eq(devices, work->request.gpus);
    f->last_id = work->id > f->last_id ? work->id : f->last_id;
    f->started++;
    size_t at = strlen(f->order);
    snprintf(f->order + at, sizeof(f->order) - at, "%s ", work->name);
    check_room(f);
}

static inline void fake_end(struct fake *f, uint64_t id, enum ag_result_kind kind)
{
    struct fake_task *t = &f->tasks[id % ATTEMPTS_MAX];
    ck_assert(t->live);
    t->live = false;
    for (uint64_t other = 1; other <= f->last_id; other++) { /* its room goes to a pipelined one */
        struct fake_task *o = &f->tasks[other % ATTEMPTS_MAX];
        if (!t->pipelined && o->live && o->pipelined && same_request(o, &t->request)) {
            o->pipelined = false;
            break;
        }
    }
    struct ag_result result = {.id = id,
                               .kind = kind,
                               .error_code = "Code",
                               .error_message = "bad \xff text",
                               .output = {(const uint8_t *)"out", 3},
                               .started_ns = f->told_started_ns ? f->told_started_ns : 5,
                               .finished_ns = 9};
    f->events->on_result(f->ctx, &result);
}

static inline void fake_cancel(struct ag_executor *base, uint64_t id, const char *reason)
{
    struct fake *f = (struct fake *)base;
    (void)id;
    (void)reason;
    f->cancels++;
}

static inline void fake_kill(struct ag_executor *base, uint64_t id)
{
    struct fake *f = (struct fake *)base;
    (void)id;
    f->kills++;
}

static inline void fake_reply(struct ag_executor *base, uint64_t id, uint64_t call, uint32_t code,
                              const char *message, struct sy_span body)
{
    struct fake *f = (struct fake *)base;
    (void)id;
    (void)call;
    (void)message;
    (void)body;
    f->replies++;
    f->last_code = code;
}

static inline void fake_flush(struct ag_executor *base)
{
    (void)base;
}

static inline void fake_free(struct ag_executor *base)
{
    free(base);
}

static const struct ag_executor_ops fake_ops = {fake_bind, fake_pipeline, fake_start, fake_cancel,
                                                fake_kill, fake_reply,    fake_flush, fake_free};

/* ---- the world ---- */

struct world {
    int64_t now_ns;
    struct sy_clock clock;
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_server *server;
    struct sy_call *call; /* the agent's stream */
    bool welcomed, silent;
    bool away; /* the operator refuses every call */
    unsigned hellos, heartbeats, refused;
    struct ag_journal *journal;
    struct fake *fake;
    struct ag_agent *agent;
    struct sch_resources capacity;
    struct sch_environment environment;
    /* what the agent said */
    unsigned outcomes, started, returned, calls, inventory;
    unsigned probes;
    uint64_t probe_sent_ns; /* of the last one */
    uint32_t probe_place;
    bool stops; /* so say assignments */
    int last_kind, last_death;
    int64_t last_waited_ns;
    uint32_t inventory_queue; /* of the last one named */
    int64_t inventory_ran_ns; /* the most of them */
    char last_message[256], last_reason[128];
    uint64_t last_call;
    uint64_t outcome_of[ATTEMPTS_MAX];
    bool acks;
    uint64_t seed;             /* of the next agent */
    uint64_t term, shown_term; /* of the welcomes; as the last hello showed it */
};

static struct world *w;

static inline int64_t world_now(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static inline void send_message(Switchyard__Internal__NodeMessage *msg)
{
    struct sy_buf buf = {0};
    pb_pack(&msg->base, &buf);
    ck_assert_ptr_nonnull(w->call);
    ck_assert_int_eq(sy_call_send(w->call, &buf), 0);
}

static inline void send_ack(uint64_t action)
{
    Switchyard__Internal__NodeMessage msg = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
    Switchyard__Internal__Attempt ack = SWITCHYARD__INTERNAL__ATTEMPT__INIT, *acks[] = {&ack};
    ack.partition = 1;
    ack.action = action;
    ack.number = 1;
    ack.epoch = 1;
    msg.acks = acks;
    msg.n_acks = 1;
    send_message(&msg);
}

static inline void send_welcome(void)
{
    Switchyard__Internal__NodeMessage answer = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
    Switchyard__Internal__NodeWelcome welcome = SWITCHYARD__INTERNAL__NODE_WELCOME__INIT;
    welcome.heartbeat_ns = SY_NS_PER_S;
    welcome.lease_ns = 5 * SY_NS_PER_S;
    welcome.term = w->term;
    answer.welcome = &welcome;
    send_message(&answer);
}

static inline void on_message(void *ctx, struct sy_span span)
{
    (void)ctx;
    Switchyard__Internal__AgentMessage *msg = switchyard__internal__agent_message__unpack(
        NULL, span.len, span.data);
    ck_assert_ptr_nonnull(msg);
    if (msg->hello != NULL) {
        w->hellos++;
        w->shown_term = msg->hello->term;
        w->inventory = (unsigned)msg->n_inventory;
        for (size_t i = 0; i < msg->n_inventory; i++) {
            w->inventory_queue = msg->inventory[i]->queue;
            if (msg->inventory[i]->ran_ns > w->inventory_ran_ns)
                w->inventory_ran_ns = msg->inventory[i]->ran_ns;
        }
        ck_assert_str_eq(msg->hello->node, "n1");
        ck_assert_uint_eq(msg->hello->n_environments, 1);
        if (w->welcomed)
            send_welcome();
    }
    w->heartbeats += msg->heartbeat;
    w->started += (unsigned)msg->n_started;
    w->returned += (unsigned)msg->n_returned;
    for (size_t i = 0; i < msg->n_returned; i++)
        snprintf(w->last_reason, sizeof(w->last_reason), "%s", msg->returned[i]->reason);
    w->probes += (unsigned)msg->n_probes;
    for (size_t i = 0; i < msg->n_probes; i++) {
        w->probe_sent_ns = msg->probes[i]->sent_ns;
        w->probe_place = msg->probes[i]->place;
    }
    w->calls += (unsigned)msg->n_calls;
    for (size_t i = 0; i < msg->n_calls; i++)
        w->last_call = msg->calls[i]->call;
    for (size_t i = 0; i < msg->n_outcomes; i++) {
        w->outcomes++;
        w->outcome_of[msg->outcomes[i]->action % ATTEMPTS_MAX]++;
        w->last_kind = (int)msg->outcomes[i]->kind;
        w->last_death = (int)msg->outcomes[i]->death;
        w->last_waited_ns = msg->outcomes[i]->waited_ns;
        snprintf(w->last_message, sizeof(w->last_message), "%s", msg->outcomes[i]->error_message);
        if (w->acks)
            send_ack(msg->outcomes[i]->action);
    }
    switchyard__internal__agent_message__free_unpacked(msg, NULL);
}

static inline void on_closed(void *ctx, const struct sy_status *status)
{
    struct sy_call *call = ctx;
    (void)status;
    if (w->call == call)
        w->call = NULL;
    sy_call_unref(call);
}

static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};

static inline void on_attend(void *ctx, struct sy_call *call, struct sy_span request)
{
    (void)ctx;
    (void)request;
    if (w->away) {
        w->refused++;
        sy_call_fail(call, SY_CODE_UNAVAILABLE, "away");
        return;
    }
    w->call = call;
    sy_call_set_sink(call, &sink, call);
}

static inline void nothing(void *arg)
{
    (void)arg;
}

static inline void run_within(int64_t ns)
{
    int64_t end_ns = w->now_ns + ns;
    sy_loop_post_always(w->loop, nothing, NULL); /* what the test did counts as a turn */
    for (;;) {
        sy_loop_turn(w->loop);
        int64_t next_ns = sy_loop_next_ns(w->loop);
        if (next_ns > end_ns)
            break;
        w->now_ns = next_ns > w->now_ns ? next_ns : w->now_ns;
    }
    w->now_ns = end_ns;
    sy_loop_turn(w->loop);
}

static inline void run(int64_t ns)
{
    for (; ns > SY_NS_PER_S; ns -= SY_NS_PER_S) {
        run_within(SY_NS_PER_S);
        Switchyard__Internal__NodeMessage msg = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
        msg.heartbeat = 1;
        if (w->call != NULL && w->welcomed && !w->silent)
            send_message(&msg);
    }
    run_within(ns);
}

static inline void start_server(void)
{
    struct sy_error_text error;
    struct sy_server_options options = {.address = "op"};
    ck_assert_int_eq(sy_server_new(&w->server, w->rpc, &options, &error), 0);
    struct sy_method method = {.path = "/switchyard.internal.DataPlane/Attend",
                               .kind = SY_METHOD_BIDI,
                               .handler = on_attend,
                               .loop = w->loop};
    sy_server_add(w->server, &method);
    ck_assert_int_eq(sy_server_start(w->server, &error), 0);
}

static inline void start_agent(void)
{
    struct sy_error_text error;
    w->fake = sy_new(struct fake);
    w->fake->base.ops = &fake_ops;
    w->fake->capacity = w->capacity;
    w->fake->slots = w->environment.slots;
    sy_rpc_mem_set_origin(w->rpc, "agent");
    struct ag_agent_options options = {.node = "n1",
                                       .boot_id = "b",
                                       .operator_target = "op",
                                       .capacity = w->capacity,
                                       .environments = &w->environment,
                                       .environment_count = 1,
                                       .inline_bytes_max = 1000};
    struct ag_agent_ports ports = {.rpc = w->rpc,
                                   .loop = w->loop,
                                   .executor = &w->fake->base,
                                   .journal = w->journal,
                                   .seed = w->seed};
    ck_assert_int_eq(ag_agent_new(&w->agent, &options, &ports, &error), 0);
}

static inline void crash_agent(void)
{
    sy_rpc_mem_kill(w->rpc, "agent");
    ag_agent_free(w->agent);
    fake_free(&w->fake->base);
    run(SY_NS_PER_MS);
}

static inline void open_world(void)
{
    w = sy_new(struct world);
    w->now_ns = 1000 * SY_NS_PER_S;
    w->clock = (struct sy_clock){world_now, world_now, w};
    w->welcomed = true;
    w->seed = 7;
    struct sy_loop_options options = {.clock = &w->clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &options), 0);
    struct sy_rpc_mem_plan plan = {0};
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, &plan), 0);
    w->capacity = (struct sch_resources){.cpu_milli = 2000, .memory_bytes = 1000, .gpus = 4};
    memcpy(w->capacity.gpu_model, "H100", 5);
    w->environment = (struct sch_environment){"native", 3};
    w->journal = ag_journal_mem_new();
    start_server();
    start_agent();
}

static inline void close_world(void)
{
    sy_rpc_mem_kill(w->rpc, "agent");
    ag_agent_free(w->agent);
    fake_free(&w->fake->base);
    run(SY_NS_PER_MS); /* the operator's side hears of it */
    sy_rpc_mem_kill(w->rpc, "op");
    sy_server_free(w->server);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
    ag_journal_free(w->journal);
    free(w);
}

/* ---- what the operator says ---- */

/* A TaskSpec: type, container{image, args, resources}. */
static inline struct sy_buf spec_bytes(const char *environment, unsigned cpu, unsigned memory,
                                       unsigned gpus)
{
    Flyteidl2__Task__TaskSpec spec = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    Flyteidl2__Core__TaskTemplate template = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    Flyteidl2__Core__Container container = FLYTEIDL2__CORE__CONTAINER__INIT;
    Flyteidl2__Core__Resources resources = FLYTEIDL2__CORE__RESOURCES__INIT;
    Flyteidl2__Core__Resources__ResourceEntry entries[3], *pointers[3];
    char values[3][16];
    snprintf(values[0], 16, "%um", cpu);
    snprintf(values[1], 16, "%u", memory);
    snprintf(values[2], 16, "%u", gpus);
    const int names[] = {1, 3, 2};
    for (unsigned i = 0; i < 3; i++) {
        flyteidl2__core__resources__resource_entry__init(&entries[i]);
        entries[i].name = (Flyteidl2__Core__Resources__ResourceName)names[i];
        entries[i].value = values[i];
        pointers[i] = &entries[i];
    }
    char *args[] = {(char *)(uintptr_t) "/lib.so", (char *)(uintptr_t) "fn"};
    resources.requests = pointers;
    resources.n_requests = 3;
    container.image = (char *)(uintptr_t)environment;
    container.args = args;
    container.n_args = 2;
    container.resources = &resources;
    template.type = (char *)(uintptr_t)(environment[0] ? "switchyard.function"
                                                       : "switchyard.process");
    template.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
    template.container = &container;
    spec.task_template = &template;
    struct sy_buf buf = {0};
    pb_pack(&spec.base, &buf);
    return buf;
}

static inline void send_spec(uint32_t id, const char *environment, unsigned cpu, unsigned memory,
                             unsigned gpus)
{
    struct sy_buf bytes = spec_bytes(environment, cpu, memory, gpus);
    Switchyard__Internal__NodeMessage msg = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
    Switchyard__Internal__Spec spec = SWITCHYARD__INTERNAL__SPEC__INIT, *specs[] = {&spec};
    spec.partition = spec.epoch = 1;
    spec.id = id;
    spec.task_spec.data = bytes.data;
    spec.task_spec.len = bytes.len;
    msg.specs = specs;
    msg.n_specs = 1;
    send_message(&msg);
    sy_buf_deinit(&bytes);
}

static inline void send_assignment_epoch(uint64_t action, uint32_t spec, uint32_t epoch)
{
    Switchyard__Internal__NodeMessage msg = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
    Switchyard__Internal__Assignment a = SWITCHYARD__INTERNAL__ASSIGNMENT__INIT, *list[] = {&a};
    char name[16];
    snprintf(name, sizeof(name), "%d", (int)action);
    a.partition = 1;
    a.action = action;
    a.number = 1;
    a.epoch = epoch;
    a.spec = spec;
    a.queue = 40 + (uint32_t)action;
    a.stops = w->stops;
    a.run = (char *)(uintptr_t) "p/d/r";
    a.name = name;
    msg.assignments = list;
    msg.n_assignments = 1;
    send_message(&msg);
}

static inline void assign(uint64_t action, uint32_t spec)
{
    send_assignment_epoch(action, spec, 1);
}

static inline void send_cancel(uint64_t action)
{
    Switchyard__Internal__NodeMessage msg = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
    Switchyard__Internal__Cancel c = SWITCHYARD__INTERNAL__CANCEL__INIT, *list[] = {&c};
    c.partition = c.number = c.epoch = 1;
    c.action = action;
    c.reason = (char *)(uintptr_t) "because";
    msg.cancels = list;
    msg.n_cancels = 1;
    send_message(&msg);
}

static inline void send_give_back(void)
{
    Switchyard__Internal__NodeMessage msg = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
    msg.give_back = true;
    send_message(&msg);
}

static inline void send_reply(uint64_t action, uint64_t call)
{
    Switchyard__Internal__NodeMessage msg = SWITCHYARD__INTERNAL__NODE_MESSAGE__INIT;
    Switchyard__Internal__TaskReply reply = SWITCHYARD__INTERNAL__TASK_REPLY__INIT,
                                    *list[] = {&reply};
    reply.partition = reply.number = reply.epoch = 1;
    reply.action = action;
    reply.call = call;
    msg.replies = list;
    msg.n_replies = 1;
    send_message(&msg);
}
