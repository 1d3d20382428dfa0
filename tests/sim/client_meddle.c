/*
 * What befalls single actions of the client's runs, whatever they do at that moment: somebody
 * aborts one, or asks for children below it, as its task would and as nobody should. Each call is
 * made once. What is below a task ends with it at the latest.
 */
#include "flyteidl2/actions/actions_service.pb-c.h"
#include "tests/sim/client_impl.h"

#include <stdio.h>
#include <string.h>

#define CALL_NS (5 * SY_NS_PER_S)
#define GANG 2 /* members */

enum meddling { ABORT, TASK, GANG_OF_TASKS, TRACE, CONDITION, SEAL, MEDDLINGS };

/* Not there (yet, any more), ended, full, nobody who could run it: that is how it is. */
static bool is_bad(enum sy_code code)
{
    return code == SY_CODE_INTERNAL || code == SY_CODE_UNKNOWN || code == SY_CODE_UNIMPLEMENTED ||
           code == SY_CODE_ALREADY_EXISTS || code == SY_CODE_DATA_LOSS;
}

static void look_at(struct sim_client_run *run, const struct sy_status *status)
{
    sim_trace(run->client->world, "meddled", run->name, (uint64_t)status->code);
    if (is_bad(status->code))
        sim_fail(run->client->world, "run %s: a call about one of its actions: %s: %s", run->name,
                 sy_code_name(status->code), status->message.text);
}

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    (void)response;
    look_at(ctx, status);
}

static void on_nested(void *ctx, const struct sy_status *status, struct sy_span response)
{
    const struct sim_nested *nested = ctx;
    (void)response;
    look_at(nested->run, status);
    if (status->code == SY_CODE_OK)
        nested->run->children[nested->child].acknowledged = true;
}

static void on_nested_gang(void *ctx, const struct sy_status *status, struct sy_span response)
{
    const struct sim_nested *nested = ctx;
    on_nested(ctx, status, response);
    if (status->code == SY_CODE_OK)
        nested->run->children[nested->child + 1].acknowledged = true;
}

static void call(struct sim_client_run *run, const char *method, const ProtobufCMessage *request,
                 sy_reply_fn reply, void *ctx)
{
    struct sy_buf bytes = {0};
    struct sy_call_options options = {.method = method, .timeout_ns = CALL_NS};
    pb_pack(request, &bytes);
    sy_channel_call(sim_any_shard(run->client->world), run->client->loop, &options, &bytes, reply,
                    ctx);
}

struct name {
    char text[SCH_NAME_MAX];
};

static struct name name_of(unsigned child)
{
    struct name name;
    snprintf(name.text, sizeof(name.text), "c-%06u", child);
    return name;
}

/* ---- by Flyte's API ---- */

struct address {
    Flyteidl2__Common__RunIdentifier run;
    Flyteidl2__Common__ActionIdentifier action;
};

static void address_init(struct address *address, struct sim_client_run *run, struct name *name)
{
    flyteidl2__common__run_identifier__init(&address->run);
    flyteidl2__common__action_identifier__init(&address->action);
    address->run.project = (char *)(uintptr_t) "sim";
    address->run.domain = (char *)(uintptr_t) "test";
    address->run.name = run->name;
    address->action.run = &address->run;
    address->action.name = name->text;
}

static void abort_one(struct sim_client_run *run, unsigned child)
{
    struct name name = name_of(child);
    struct address address;
    Flyteidl2__Actions__AbortRequest request = FLYTEIDL2__ACTIONS__ABORT_REQUEST__INIT;
    address_init(&address, run, &name);
    request.action_id = &address.action;
    run->some_aborted = true;
    call(run, "/flyteidl2.actions.ActionsService/Abort", &request.base, on_reply, run);
}

static void put_below(struct sim_client_run *run, unsigned parent, struct sim_nested *nested,
                      Flyteidl2__Actions__Action *action)
{
    struct name name = name_of(nested->child), above = name_of(parent);
    struct address address;
    Flyteidl2__Actions__EnqueueRequest request = FLYTEIDL2__ACTIONS__ENQUEUE_REQUEST__INIT;
    address_init(&address, run, &name);
    action->action_id = &address.action;
    action->_parent_action_name_case =
        FLYTEIDL2__ACTIONS__ACTION___PARENT_ACTION_NAME_PARENT_ACTION_NAME;
    action->parent_action_name = above.text;
    request.action = action;
    call(run, "/flyteidl2.actions.ActionsService/Enqueue", &request.base, on_nested, nested);
}

static void put_trace(struct sim_client_run *run, unsigned parent, struct sim_nested *nested)
{
    Flyteidl2__Workflow__TraceAction trace = FLYTEIDL2__WORKFLOW__TRACE_ACTION__INIT;
    Flyteidl2__Actions__Action action = FLYTEIDL2__ACTIONS__ACTION__INIT;
    bool failed = sy_rng_chance(sim_rng(run->client->world), 1, 4);
    trace.name = (char *)(uintptr_t) "call";
    trace.phase = failed ? FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_FAILED
                         : FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_SUCCEEDED;
    action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_TRACE;
    action.trace = &trace;
    put_below(run, parent, nested, &action);
}

static void put_condition(struct sim_client_run *run, unsigned parent, struct sim_nested *nested)
{
    uint8_t boolean[] = {1 << 3, 4}; /* flyteidl2.core.LiteralType.simple */
    Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
    Flyteidl2__Workflow__ConditionAction condition = FLYTEIDL2__WORKFLOW__CONDITION_ACTION__INIT;
    Flyteidl2__Actions__Action action = FLYTEIDL2__ACTIONS__ACTION__INIT;
    timeout.seconds = 1 + (int64_t)sy_rng_below(sim_rng(run->client->world), 10);
    condition.name = (char *)(uintptr_t) "go on";
    condition.type = (ProtobufCBinaryData){sizeof(boolean), boolean};
    condition.timeout = &timeout;
    action.spec_case = FLYTEIDL2__ACTIONS__ACTION__SPEC_CONDITION;
    action.condition = &condition;
    put_below(run, parent, nested, &action);
}

/* ---- by our own ---- */

/* No child: it says that no more will come, which only a group understands. */
static void put_tasks(struct sim_client_run *run, unsigned parent, struct sim_nested *nested,
                      unsigned count)
{
    Switchyard__V1__EnqueueActionsRequest request = SWITCHYARD__V1__ENQUEUE_ACTIONS_REQUEST__INIT;
    Switchyard__V1__NewAction actions[GANG], *pointers[GANG];
    Switchyard__V1__Gang gang = SWITCHYARD__V1__GANG__INIT;
    Switchyard__V1__RunId id;
    struct name names[GANG], above = name_of(parent);
    sim_run_id_init(&id, run);
    request.run = &id;
    request.parent = above.text;
    request.seal = count == 0;
    if (count > 0)
        request.task_spec = (ProtobufCBinaryData){run->task_spec.len, run->task_spec.data};
    for (unsigned i = 0; i < count; i++) {
        switchyard__v1__new_action__init(&actions[i]);
        names[i] = name_of(nested->child + i);
        actions[i].name = names[i].text;
        pointers[i] = &actions[i];
    }
    request.actions = pointers;
    request.n_actions = count;
    gang.on_loss = run->on_loss;
    if (count > 1)
        request.gang = &gang;
    call(run, "/switchyard.v1.ActionService/EnqueueActions", &request.base,
         count == 0   ? on_reply
         : count == 1 ? on_nested
                      : on_nested_gang,
         count == 0 ? (void *)run : nested);
}

/* ---- whom, and what ---- */

/* Any that may be there; below the root there are others' books. */
static unsigned draw_child(const struct sim_client_run *run, struct sy_rng *rng)
{
    unsigned tasks = run->enqueued, keyed = run->keyed_enqueued, nested = run->nested_count;
    unsigned at = (unsigned)sy_rng_below(rng, tasks + 1 + keyed + nested);
    if (at < tasks)
        return at;
    if (at < tasks + 1 + keyed)
        return run->count + at - tasks;
    return sim_nested_index(run, at - tasks - 1 - keyed);
}

/* The next `count` of them. */
static struct sim_nested *new_nested(struct sim_client_run *run, unsigned count)
{
    unsigned first = run->nested_count;
    for (unsigned i = first; i < first + count; i++)
        run->nested[i] = (struct sim_nested){run, sim_nested_index(run, i)};
    run->nested_count += count;
    return &run->nested[first];
}

static void meddle(struct sim_client_run *run, struct sy_rng *rng)
{
    unsigned child = draw_child(run, rng);
    enum meddling what = (enum meddling)sy_rng_below(rng, MEDDLINGS);
    unsigned count = what == ABORT || what == SEAL ? 0 : what == GANG_OF_TASKS ? GANG : 1;
    if (run->nested_count + count > NESTED_MAX || (count == GANG && run->gang_max < GANG))
        return;
    struct sim_nested *nested = count > 0 ? new_nested(run, count) : NULL;
    sim_trace(run->client->world, "meddle", run->name, (uint64_t)child << 8 | what);
    switch (what) {
    case ABORT:
        abort_one(run, child);
        break;
    case TRACE:
        put_trace(run, child, nested);
        break;
    case CONDITION:
        put_condition(run, child, nested);
        break;
    default:
        put_tasks(run, child, nested, count);
        break;
    }
}

void sim_client_meddle(struct sim_client *client)
{
    const struct sim_options *options = sim_world_options(client->world);
    struct sy_rng *rng = sim_rng(client->world);
    for (unsigned i = 0; i < client->run_count && options->meddle_pct > 0; i++) {
        struct sim_client_run *run = &client->runs[i];
        if (run->state > RUN_CONDITION && run->state <= RUN_WATCH &&
            sy_rng_chance(rng, options->meddle_pct, 100))
            meddle(run, rng);
    }
}
