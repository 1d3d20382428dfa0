/*
 * The simulated client and its books. It knows only what the system told it: an action counts as
 * acknowledged when the answer that created it arrived. At the end every acknowledged action must
 * have ended exactly once, with the output that its own task made.
 */
#include "base/mem.h"
#include "controlplane/names.h"
#include "controlplane/ranges.h"
#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "tests/sim/client_impl.h"
#include "tests/sim/gangs.h"
#include "tests/sim/queues.h"
#include "tests/sim/tasks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define RETRY_NS (300 * SY_NS_PER_MS)
#define CALL_NS (5 * SY_NS_PER_S)
#define BATCH_MAX 16

static void run_act(void *arg);

static struct sim_keyed *keyed_at(struct sim_client_run *run, unsigned child)
{
    unsigned first = sim_keyed_index(run, 0);
    return child >= first && child < first + run->keyed_count ? &run->keyed[child - first] : NULL;
}

static void act_in(struct sim_client_run *run, int64_t delay_ns)
{
    sy_timer_start_in(run->client->loop, &run->timer, delay_ns);
}

static void call(struct sim_client_run *run, const char *method, const ProtobufCMessage *request,
                 sy_reply_fn reply)
{
    struct sy_buf bytes = {0};
    pb_pack(request, &bytes);
    struct sy_metadata metadata = {"x-request-id", run->name};
    struct sy_call_options options = {
        .method = method, .timeout_ns = CALL_NS, .metadata = &metadata, .metadata_count = 1};
    struct sy_channel *channel = sim_any_shard(run->client->world);
    sy_channel_call(channel, run->client->loop, &options, &bytes, reply, run);
}

/* What a client may hide by trying again. Anything else is a fault of the system under test. When
 * children are enqueued an argument is wrong as long as the nodes that could run them are away. */
static bool may_retry(struct sim_client_run *run, const struct sy_status *status)
{
    enum sy_code code = status->code;
    sim_trace(run->client->world, "refused", run->name, (uint64_t)code);
    if (code == SY_CODE_INVALID_ARGUMENT && (run->state == RUN_KEYED || run->state == RUN_ENQUEUE))
        code = SY_CODE_UNAVAILABLE;
    switch (code) {
    case SY_CODE_UNAVAILABLE:
    case SY_CODE_DEADLINE_EXCEEDED:
    case SY_CODE_RESOURCE_EXHAUSTED:
    case SY_CODE_CANCELLED:
        act_in(run, RETRY_NS);
        return true;
    default:
        sim_fail(run->client->world, "run %s, state %d: %s: %s", run->name, run->state,
                 sy_code_name(status->code), status->message.text);
    }
}

/* ---- create ---- */

static void on_created(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    struct sim_client_run *run = ctx;
    if (status->code != SY_CODE_OK) {
        may_retry(run, status);
        return;
    }
    run->state = run->condition ? RUN_CONDITION : RUN_KEYED;
    act_in(run, 0);
}

static void run_create(struct sim_client_run *run)
{
    Flyteidl2__Common__RunIdentifier id = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    id.project = (char *)(uintptr_t) "sim";
    id.domain = (char *)(uintptr_t) "test";
    id.name = run->name;
    Flyteidl2__Workflow__CreateRunRequest request = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INIT;
    request.id_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_RUN_ID;
    request.run_id = &id;
    request.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_SPEC;
    request.task_spec = (ProtobufCBinaryData){run->client->group_spec.len,
                                              run->client->group_spec.data};
    Flyteidl2__Task__RunSpec spec = FLYTEIDL2__TASK__RUN_SPEC__INIT;
    spec.max_action_concurrency = run->limit;
    request.run_spec = &spec;
    call(run, "/flyteidl2.workflow.RunService/CreateRun", &request.base, on_created);
}

/* ---- enqueue ---- */

void sim_run_id_init(Switchyard__V1__RunId *id, struct sim_client_run *run)
{
    switchyard__v1__run_id__init(id);
    id->project = (char *)(uintptr_t) "sim";
    id->domain = (char *)(uintptr_t) "test";
    id->name = run->name;
}

static void on_enqueued(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    struct sim_client_run *run = ctx;
    if (status->code == SY_CODE_FAILED_PRECONDITION && run->abort) {
        run->state = RUN_WATCH; /* aborted under our hands: what was acknowledged still counts */
        act_in(run, 0);
        return;
    }
    if (status->code != SY_CODE_OK) {
        run->queue[0] = '\0'; /* it may be gone, or have no cluster that could run them */
        may_retry(run, status);
        return;
    }
    for (unsigned i = run->enqueued; i < run->enqueued + run->batch; i++)
        run->children[i].acknowledged = true;
    run->enqueued += run->batch;
    run->batch = 0;
    if (run->enqueued == run->count)
        run->state = run->signals ? RUN_SIGNAL : RUN_WATCH;
    act_in(run, (int64_t)sy_rng_below(sim_rng(run->client->world), run->client->pause_ns_max));
}

static void run_enqueue(struct sim_client_run *run)
{
    struct sim_world *world = run->client->world;
    if (run->batch == 0) { /* a repeat sends the same batch again */
        const char *queue = sim_queues_draw(sim_queues_of(world), run->name);
        if (queue == NULL) {
            act_in(run, RETRY_NS);
            return;
        }
        run->batch = 1 + (unsigned)sy_rng_below(sim_rng(world), BATCH_MAX);
        snprintf(run->queue, sizeof(run->queue), "%s", queue);
    }
    if (run->batch > run->count - run->enqueued)
        run->batch = run->count - run->enqueued;
    if (run->ganged && run->batch > run->gang_max)
        run->batch = run->gang_max;
    Switchyard__V1__RunId id;
    sim_run_id_init(&id, run);
    Switchyard__V1__EnqueueActionsRequest request = SWITCHYARD__V1__ENQUEUE_ACTIONS_REQUEST__INIT;
    request.run = &id;
    request.parent = (char *)(uintptr_t)SCH_ROOT_NAME;
    request.task_spec = (ProtobufCBinaryData){run->task_spec.len, run->task_spec.data};
    request.queue = run->queue;
    request.seal = run->enqueued + run->batch == run->count;
    Switchyard__V1__NewAction actions[BATCH_MAX], *pointers[BATCH_MAX];
    char names[BATCH_MAX][SCH_NAME_MAX];
    for (unsigned i = 0; i < run->batch; i++) {
        switchyard__v1__new_action__init(&actions[i]);
        snprintf(names[i], sizeof(names[i]), "c-%06u", run->enqueued + i);
        actions[i].name = names[i];
        pointers[i] = &actions[i];
    }
    request.actions = pointers;
    request.n_actions = run->batch;
    Switchyard__V1__Gang gang = SWITCHYARD__V1__GANG__INIT;
    gang.on_loss = run->on_loss;
    if (run->ganged && run->batch > 1)
        request.gang = &gang;
    call(run, "/switchyard.v1.ActionService/EnqueueActions", &request.base, on_enqueued);
}

/* ---- by Flyte's API: one child a call ---- */

struct action_id {
    Flyteidl2__Common__RunIdentifier run;
    Flyteidl2__Common__ActionIdentifier action;
    char name[SCH_NAME_MAX];
};

static void action_id_init(struct action_id *id, struct sim_client_run *run, unsigned child)
{
    flyteidl2__common__run_identifier__init(&id->run);
    flyteidl2__common__action_identifier__init(&id->action);
    id->run.project = (char *)(uintptr_t) "sim";
    id->run.domain = (char *)(uintptr_t) "test";
    id->run.name = run->name;
    id->action.run = &id->run;
    id->action.name = id->name;
    snprintf(id->name, sizeof(id->name), "c-%06u", child);
}

static void enqueue_child(struct sim_client_run *run, unsigned child,
                          Flyteidl2__Actions__Action *action, sy_reply_fn reply)
{
    struct action_id id;
    action_id_init(&id, run, child);
    action->action_id = &id.action;
    action->_parent_action_name_case =
        FLYTEIDL2__ACTIONS__ACTION___PARENT_ACTION_NAME_PARENT_ACTION_NAME;
    action->parent_action_name = (char *)(uintptr_t)SCH_ROOT_NAME;
    Flyteidl2__Actions__EnqueueRequest request = FLYTEIDL2__ACTIONS__ENQUEUE_REQUEST__INIT;
    request.action = action;
    call(run, "/flyteidl2.actions.ActionsService/Enqueue", &request.base, reply);
}

/* ---- a condition: a child that waits for a signal ---- */

static void on_condition(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    struct sim_client_run *run = ctx;
    if (status->code != SY_CODE_OK) {
        may_retry(run, status);
        return;
    }
    run->children[run->count].acknowledged = true;
    run->state = RUN_KEYED;
    act_in(run, 0);
}

static void run_condition(struct sim_client_run *run)
{
    uint8_t boolean[] = {1 << 3, 4}; /* flyteidl2.core.LiteralType.simple */
    Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
    timeout.seconds = run->patience_s;
    Flyteidl2__Workflow__ConditionAction condition = FLYTEIDL2__WORKFLOW__CONDITION_ACTION__INIT;
    condition.name = (char *)(uintptr_t) "go on";
    condition.type = (ProtobufCBinaryData){sizeof(boolean), boolean};
    condition.timeout = run->patience_s > 0 ? &timeout : NULL;
    Flyteidl2__Actions__Action action = FLYTEIDL2__ACTIONS__ACTION__INIT;
    action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_CONDITION;
    action.condition = &condition;
    enqueue_child(run, run->count, &action, on_condition);
}

/* It has ended already: too late, aborted, or an earlier signal of ours whose answer was lost. */
static void on_signalled(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    struct sim_client_run *run = ctx;
    if (status->code != SY_CODE_OK && status->code != SY_CODE_FAILED_PRECONDITION) {
        may_retry(run, status);
        return;
    }
    run->state = RUN_WATCH;
    act_in(run, 0);
}

static void run_signal(struct sim_client_run *run)
{
    struct action_id id;
    action_id_init(&id, run, run->count);
    Flyteidl2__Workflow__EventPayload payload = FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__INIT;
    payload.value_case = FLYTEIDL2__WORKFLOW__EVENT_PAYLOAD__VALUE_BOOL_VALUE;
    payload.bool_value = true;
    Flyteidl2__Workflow__SignalEventRequest request =
        FLYTEIDL2__WORKFLOW__SIGNAL_EVENT_REQUEST__INIT;
    request.action_id = &id.action;
    request.payload = &payload;
    call(run, "/flyteidl2.workflow.RunService/SignalEvent", &request.base, on_signalled);
}

/* ---- children that share an output: reuse.h ---- */

static void on_keyed(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    struct sim_client_run *run = ctx;
    if (status->code != SY_CODE_OK) {
        may_retry(run, status);
        return;
    }
    run->children[sim_keyed_index(run, run->keyed_enqueued++)].acknowledged = true;
    act_in(run, (int64_t)sy_rng_below(sim_rng(run->client->world), (uint64_t)SY_NS_PER_S / 4));
}

static void run_keyed(struct sim_client_run *run)
{
    if (run->keyed_enqueued == run->keyed_count) {
        run->state = RUN_ENQUEUE;
        run_act(run);
        return;
    }
    char key[16];
    Google__Protobuf__StringValue cache_key = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    Flyteidl2__Workflow__TaskAction task = FLYTEIDL2__WORKFLOW__TASK_ACTION__INIT;
    Flyteidl2__Actions__Action action = FLYTEIDL2__ACTIONS__ACTION__INIT;
    snprintf(key, sizeof(key), "key-%u", run->keyed[run->keyed_enqueued].key);
    cache_key.value = key;
    task.cache_key = &cache_key;
    task.spec = (ProtobufCBinaryData){run->client->cached_spec.len, run->client->cached_spec.data};
    action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TASK;
    action.task = &task;
    enqueue_child(run, sim_keyed_index(run, run->keyed_enqueued), &action, on_keyed);
}

/* ---- watch ---- */

static bool is_final(Switchyard__V1__Phase phase)
{
    return phase >= SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED &&
           phase <= SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT;
}

static struct sim_log *log_of(struct sim_client_run *run)
{
    return run->state == RUN_READ_AGAIN ? &run->read_again : &run->watched;
}

static void log_event(struct sim_client_run *run, const Switchyard__V1__Event *event)
{
    struct sim_log *log = log_of(run);
    if (event->sequence != log->sequence + 1)
        sim_fail(run->client->world, "run %s: event %" PRIu64 " after %" PRIu64, run->name,
                 event->sequence, log->sequence);
    struct sy_buf SY_CLEANUP(sy_buf_deinit) bytes = {0};
    pb_pack(&event->base, &bytes);
    log->sequence = event->sequence;
    log->hash = XXH3_64bits_withSeed(bytes.data, bytes.len, log->hash);
}

static void take_event(struct sim_client_run *run, const Switchyard__V1__Event *event)
{
    struct sim_world *world = run->client->world;
    log_event(run, event);
    if (run->state == RUN_READ_AGAIN)
        return;
    unsigned i = (unsigned)strtoul(event->action + 2, NULL, 10);
    bool root = strcmp(event->action, SCH_ROOT_NAME) == 0;
    if (!root && keyed_at(run, i) != NULL)
        sim_keyed_event(keyed_at(run, i), event);
    if (!is_final(event->phase))
        return;
    if (root) {
        if (run->ended)
            sim_fail(world, "run %s ended twice", run->name);
        run->ended = true;
        run->phase = event->phase;
        return;
    }
    if (!sim_has_child(run, i))
        sim_fail(world, "run %s: unknown action %s", run->name, event->action);
    run->children[i].phase = event->phase;
    if (++run->children[i].finals > 1)
        sim_fail(world, "run %s: %s ended twice", run->name, event->action);
}

static void on_watch_message(void *ctx, struct sy_span message)
{
    struct sim_client_run *run = ctx;
    struct sy_arena *arena = &run->client->arena;
    Switchyard__V1__WatchRunResponse *response = pb_unpack(
        &switchyard__v1__watch_run_response__descriptor, arena, message);
    SY_ASSERT(response != NULL);
    for (size_t i = 0; i < response->n_events; i++)
        take_event(run, response->events[i]);
    sy_arena_reset(arena);
}

static void on_watch_closed(void *ctx, const struct sy_status *status)
{
    struct sim_client_run *run = ctx;
    sy_call_unref(run->watch);
    run->watch = NULL;
    bool again = run->state == RUN_READ_AGAIN;
    if (again && status->code == SY_CODE_OK &&
        (run->read_again.sequence != run->watched.sequence ||
         run->read_again.hash != run->watched.hash))
        sim_fail(run->client->world, "run %s: its log is not the one that was shown", run->name);
    if (again ? status->code == SY_CODE_OK : run->ended) {
        bool region = sim_world_options(run->client->world)->shards > 1;
        run->state = region && !again ? RUN_READ_AGAIN : RUN_COLLECT;
        act_in(run, 0);
    } else if (status->code == SY_CODE_OK) {
        sim_fail(run->client->world, "run %s: the watch ended before the run", run->name);
    } else {
        may_retry(run, status);
    }
}

static const struct sy_call_sink watch_sink = {
    .on_message = on_watch_message,
    .on_closed = on_watch_closed,
};

static void run_watch(struct sim_client_run *run)
{
    Switchyard__V1__RunId id;
    sim_run_id_init(&id, run);
    Switchyard__V1__WatchRunRequest request = SWITCHYARD__V1__WATCH_RUN_REQUEST__INIT;
    request.run = &id;
    request.after_sequence = log_of(run)->sequence;
    struct sy_buf bytes = {0};
    pb_pack(&request.base, &bytes);
    struct sy_call_options options = {.method = "/switchyard.v1.ActionService/WatchRun"};
    run->watch = sy_channel_open(sim_any_shard(run->client->world), run->client->loop, &options,
                                 &watch_sink, run);
    int r = sy_call_send(run->watch, &bytes);
    SY_ASSERT(r == 0);
    sy_call_half_close(run->watch);
}

static void on_aborted(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    struct sim_client_run *run = ctx;
    if (status->code == SY_CODE_OK || status->code == SY_CODE_FAILED_PRECONDITION) {
        run->abort_acknowledged = true;
        act_in(run, 0);
        return;
    }
    may_retry(run, status);
}

static void run_abort(struct sim_client_run *run)
{
    Flyteidl2__Common__RunIdentifier id = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    id.project = (char *)(uintptr_t) "sim";
    id.domain = (char *)(uintptr_t) "test";
    id.name = run->name;
    Flyteidl2__Workflow__AbortRunRequest request = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST__INIT;
    request.run_id = &id;
    call(run, "/flyteidl2.workflow.RunService/AbortRun", &request.base, on_aborted);
}

/* ---- collect ---- */

static void take_outcome(struct sim_client_run *run, const Switchyard__V1__ChildOutcome *child)
{
    struct sim_world *world = run->client->world;
    unsigned i = (unsigned)strtoul(child->name + 2, NULL, 10);
    bool known = sim_has_child(run, i);
    if (!known || child->phase != run->children[i].phase)
        sim_fail(world, "run %s: %s: outcome %d, but its event said %d", run->name, child->name,
                 child->phase, known ? (int)run->children[i].phase : -1);
    if (++run->children[i].results > 1)
        sim_fail(world, "run %s: %s: two outcomes", run->name, child->name);
    if (keyed_at(run, i) != NULL)
        sim_keyed_outcome(keyed_at(run, i), child);
    if (child->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED || i >= run->count)
        return;
    size_t n = strlen(child->name);
    bool same = child->output.len == n;
    for (size_t k = 0; same && k < n; k++)
        same = child->output.data[k] == (uint8_t)child->name[n - 1 - k];
    if (!same)
        sim_fail(world, "run %s: %s has another task's output", run->name, child->name);
}

static void on_collected(void *ctx, const struct sy_status *status, struct sy_span bytes)
{
    struct sim_client_run *run = ctx;
    if (status->code != SY_CODE_OK) {
        may_retry(run, status);
        return;
    }
    struct sy_arena *arena = &run->client->arena;
    Switchyard__V1__WaitChildrenResponse *response = pb_unpack(
        &switchyard__v1__wait_children_response__descriptor, arena, bytes);
    SY_ASSERT(response != NULL);
    for (size_t i = 0; i < response->n_children; i++)
        take_outcome(run, response->children[i]);
    run->cursor = response->next;
    if (response->n_children == 0)
        run->state = RUN_DONE;
    else
        act_in(run, 0);
    sy_arena_reset(arena);
}

static void run_collect(struct sim_client_run *run)
{
    Switchyard__V1__RunId id;
    sim_run_id_init(&id, run);
    Switchyard__V1__WaitChildrenRequest request = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    request.run = &id;
    request.parent = (char *)(uintptr_t)SCH_ROOT_NAME;
    request.after = run->cursor;
    request.max = 7;
    call(run, "/switchyard.v1.ActionService/WaitChildren", &request.base, on_collected);
}

static void run_act(void *arg)
{
    struct sim_client_run *run = arg;
    switch (run->state) {
    case RUN_CREATE:
        run_create(run);
        break;
    case RUN_ENQUEUE:
        if (run->abort && !run->abort_acknowledged && run->enqueued > run->count / 2)
            run_abort(run);
        else
            run_enqueue(run);
        break;
    case RUN_CONDITION:
        run_condition(run);
        break;
    case RUN_KEYED:
        run_keyed(run);
        break;
    case RUN_SIGNAL:
        run_signal(run);
        break;
    case RUN_WATCH:
    case RUN_READ_AGAIN:
        run_watch(run);
        break;
    case RUN_COLLECT:
        run_collect(run);
        break;
    case RUN_DONE:
        break;
    }
}

/* ---- the whole ---- */

/* Which are in one partition from the beginning to the end: all of one that is never split, else
 * those whose hashes begin alike. */
static uint32_t key_group(const struct sim_client_run *run, const struct sim_options *options)
{
    uint64_t hash = cp_name_hash("sim", "test", run->name);
    uint32_t partition = cp_range_even_of(hash, options->partitions);
    return options->split_pct > 0 ? partition << 8 | (uint32_t)(hash >> 56) : partition;
}

static void draw_keys(struct sim_client_run *run, struct sy_rng *rng,
                      const struct sim_options *options)
{
    uint32_t group = key_group(run, options);
    run->keyed_count = sy_rng_chance(rng, 1, 2) ? (unsigned)sy_rng_below(rng, KEYED_MAX + 1) : 0;
    for (unsigned i = 0; i < run->keyed_count; i++) {
        struct sim_keyed *keyed = &run->keyed[i];
        keyed->key = group * KEYS + (uint32_t)sy_rng_below(rng, KEYS);
        snprintf(keyed->path, sizeof(keyed->path), "%s/c-%06u", run->name, sim_keyed_index(run, i));
    }
}

static void draw_limits(struct sim_client_run *run, struct sy_rng *rng)
{
    run->timed = sy_rng_chance(rng, 1, 3);
    run->limit = sy_rng_chance(rng, 1, 3) ? 2 + (uint32_t)sy_rng_below(rng, 5) : 0;
    run->condition = sy_rng_chance(rng, 1, 3);
    run->patience_s = sy_rng_chance(rng, 1, 2) ? 1 + (int64_t)sy_rng_below(rng, 20) : 0;
    run->ganged = run->limit == 0 && sy_rng_chance(rng, 1, 2);
    run->on_loss = (Switchyard__V1__Gang__OnLoss)sy_rng_below(rng, 2);
    run->signals = run->condition && (run->patience_s == 0 || sy_rng_chance(rng, 1, 2));
}

struct sim_client *sim_client_new(struct sim_world *world, struct sy_loop *loop,
                                  const struct sim_options *options)
{
    struct sim_client *client = sy_new(struct sim_client);
    client->world = world;
    client->loop = loop;
    sy_arena_init(&client->arena, 64 << 20);
    struct cl_spec group = {.type = CL_SPEC_GROUP, .name = "simulated"};
    sim_spec_pack(&group, &client->group_spec);
    struct sy_rng rng; /* its own: the rest of a seed's world stays as it was */
    sy_rng_init(&rng, options->seed ^ 0x11f7);
    struct sy_rng stopping;
    sy_rng_init(&stopping, options->seed ^ 0x57095);
    sim_task_pack_cached(&client->arena, &client->cached_spec);
    client->pause_ns_max = options->size == SIM_FAIR ? SY_NS_PER_S / 100 : SY_NS_PER_S;
    client->run_count = options->runs;
    client->runs = sy_calloc(options->runs, sizeof(*client->runs));
    for (unsigned i = 0; i < options->runs; i++) {
        struct sim_client_run *run = &client->runs[i];
        run->client = client;
        run->count = 1 + (unsigned)sy_rng_below(sim_rng(world), options->actions_each);
        if (options->size == SIM_FAIR)
            run->count = options->actions_each;
        run->children = sy_calloc(sim_nested_index(run, NESTED_MAX), sizeof(*run->children));
        if (options->size != SIM_FAIR) {
            run->abort = sy_rng_chance(sim_rng(world), 1, 5);
            draw_limits(run, &rng);
        }
        snprintf(run->name, sizeof(run->name), "run-%04u", i);
        if (options->clock_step_pct == 0 &&
            options->size != SIM_FAIR) /* their audit compares times of different machines */
            draw_keys(run, &rng, options);
        unsigned kind = sim_draw_kind(world, &rng);
        uint32_t places = sim_places(world, kind);
        run->gang_max = places < SIM_GANG_SIZE_MAX ? places : SIM_GANG_SIZE_MAX;
        int64_t deadline_s = 1 + (int64_t)sy_rng_below(&rng, 30);
        bool stops = !run->ganged && sy_rng_chance(&stopping, options->stops_pct, 100);
        sim_task_pack(kind, run->timed ? deadline_s : 0, stops, &client->arena, &run->task_spec);
        sy_timer_init(&run->timer, run_act, run);
        act_in(run, (int64_t)sy_rng_below(sim_rng(world), (uint64_t)options->begin_ns_max));
    }
    return client;
}

void sim_client_free(struct sim_client *client)
{
    for (unsigned i = 0; i < client->run_count; i++) {
        sy_timer_stop(client->loop, &client->runs[i].timer);
        sy_buf_deinit(&client->runs[i].task_spec);
        free(client->runs[i].children);
    }
    free(client->runs);
    sy_buf_deinit(&client->group_spec);
    sy_buf_deinit(&client->cached_spec);
    sy_arena_deinit(&client->arena);
    free(client);
}
