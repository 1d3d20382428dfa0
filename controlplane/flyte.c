#include "controlplane/flyte.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controlplane/names.h"
#include "controlplane/rows.h"
#include "proto/pb.h"

#include "flyteidl2/actions/actions_service.pb-c.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <string.h>

#define make(f, name) make_message((f)->arena, &flyteidl2__##name##__descriptor)

/* What is made is small and fixed: beside the rows that the arena was sized for it always fits. */
static void *must(void *memory)
{
    SY_ASSERT(memory != NULL);
    return memory;
}

static void *make_message(struct sy_arena *arena, const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = must(sy_arena_alloc(arena, descriptor->sizeof_message));
    protobuf_c_message_init(descriptor, message);
    return message;
}

/* Generated structs have no const; packing does not write. */
static char *borrow(const char *s)
{
    return (char *)(uintptr_t)(s != NULL ? s : "");
}

static char *clean(struct sy_arena *arena, const char *s)
{
    char *copy = must(sy_arena_strdup(arena, s != NULL ? s : ""));
    cp_text_clean(copy);
    return copy;
}

static void **make_array(struct sy_arena *arena, size_t count)
{
    return must(sy_arena_alloc(arena, count * sizeof(void *)));
}

/* ---- times and phases ---- */

Google__Protobuf__Timestamp *cp_flyte_time(struct sy_arena *arena, int64_t realtime_ns)
{
    if (realtime_ns <= 0)
        return NULL;
    Google__Protobuf__Timestamp *time = make_message(arena,
                                                     &google__protobuf__timestamp__descriptor);
    time->seconds = realtime_ns / SY_NS_PER_S;
    time->nanos = (int32_t)(realtime_ns % SY_NS_PER_S);
    return time;
}

int64_t cp_flyte_time_ns(const Google__Protobuf__Timestamp *time)
{
    if (time == NULL || time->seconds < 0 || time->seconds >= INT64_MAX / SY_NS_PER_S ||
        time->nanos < 0 || time->nanos >= SY_NS_PER_S)
        return 0;
    return time->seconds * SY_NS_PER_S + time->nanos;
}

Flyteidl2__Common__ActionPhase cp_flyte_phase(Switchyard__V1__Phase phase)
{
    SY_ASSERT(phase >= 0 && phase <= SWITCHYARD__V1__PHASE__PHASE_PAUSED);
    return (Flyteidl2__Common__ActionPhase)phase; /* the same numbers: common.proto */
}

Flyteidl2__Common__ActionPhase cp_flyte_view_phase(const struct cp_action_view *view)
{
    if (view->outcome != NULL && view->outcome->recovered &&
        view->phase == SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED)
        return FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_RECOVERED;
    return cp_flyte_phase(view->phase);
}

static bool ended(const struct cp_action_view *view)
{
    return view->outcome != NULL && cp_phase_final(view->phase);
}

static int64_t finished_ns(const struct cp_action_view *view)
{
    return ended(view) ? view->outcome->finished_ns : 0;
}

/* A trace or a condition. */
static bool without_task(const struct cp_action_view *view)
{
    return view->row->spec_digest.len == 0;
}

Flyteidl2__Workflow__ActionType cp_flyte_type(const struct cp_action_view *view)
{
    enum { ACTION_CONDITION = 9 }; /* of the flyteidl2.actions.Action in the row */
    struct sy_span flyte = {view->row->flyte.data, view->row->flyte.len};
    if (!without_task(view))
        return FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TASK;
    return cp_row_bytes(flyte, ACTION_CONDITION).len > 0
               ? FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_CONDITION
               : FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TRACE;
}

/* ---- identifiers ---- */

Flyteidl2__Common__ActionIdentifier *cp_flyte_action_id(const struct cp_flyte *f, const char *name)
{
    Flyteidl2__Common__RunIdentifier *run = make(f, common__run_identifier);
    run->org = borrow(f->org);
    run->project = borrow(f->project);
    run->domain = borrow(f->domain);
    run->name = borrow(f->run);
    Flyteidl2__Common__ActionIdentifier *id = make(f, common__action_identifier);
    id->run = run;
    id->name = borrow(name);
    return id;
}

static Flyteidl2__Task__TaskIdentifier *task_id(const struct cp_flyte *f,
                                                const struct cp_task_names *names)
{
    Flyteidl2__Task__TaskIdentifier *id = make(f, task__task_identifier);
    id->org = borrow(names->org);
    id->project = borrow(names->project);
    id->domain = borrow(names->domain);
    id->name = borrow(names->name);
    id->version = borrow(names->version);
    return id;
}

/* Whose result this is, "project/domain/run/action"; NULL: its own. */
static Flyteidl2__Common__ActionIdentifier *reused_from(const struct cp_flyte *f,
                                                        const struct cp_action_view *view)
{
    if (view->outcome == NULL || view->outcome->reused_from[0] == '\0')
        return NULL;
    char *at = must(sy_arena_strdup(f->arena, view->outcome->reused_from));
    struct cp_flyte source = {.arena = f->arena, .org = f->org};
    const char **const parts[] = {&source.project, &source.domain, &source.run};
    for (int i = 0; i < 3; i++) {
        char *slash = strchr(at, '/');
        if (slash == NULL)
            return NULL;
        *slash = '\0';
        *parts[i] = at;
        at = slash + 1;
    }
    return cp_flyte_action_id(&source, at);
}

/* ---- errors ---- */

/* What Flyte's SDK makes an exception of its own of: it goes by the code. The codes of its server
 * for timeouts, "OOM" and "Interrupted" in a code of kind USER. */
static const char *error_code(const char *code)
{
    static const struct {
        const char *ours, *flyte;
    } codes[] = {
        {"OutOfMemory", "OOMKilled"},
        {"OUT_OF_MEMORY", "OOMKilled"},
        {"RetriesExhausted|OutOfMemory", "RetriesExhausted|OOMKilled"},
        {"Lost", "Interrupted"},
        {"SystemRetriesExhausted", "Interrupted"},
        {"TimedOut", "MAX_RUNTIME_EXCEEDED"},
        {"QueuedTimeout", "QUEUED_TIMEOUT_EXCEEDED"},
        {"DeadlineExceeded", "DEADLINE_EXCEEDED"},
    };
    if (code == NULL || code[0] == '\0')
        return "Unknown";
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strcmp(code, codes[i].ours) == 0)
            return codes[i].flyte;
    }
    return code;
}

static bool failed(const struct cp_action_view *view)
{
    return view->phase == SWITCHYARD__V1__PHASE__PHASE_FAILED ||
           view->phase == SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT;
}

static const Switchyard__V1__Error *stored_error(const struct cp_action_view *view)
{
    return view->outcome != NULL ? view->outcome->error : NULL;
}

static const char *view_error_code(const struct cp_action_view *view)
{
    const Switchyard__V1__Error *error = stored_error(view);
    return error_code(error != NULL ? error->code : NULL);
}

static const char *error_message(const struct cp_action_view *view)
{
    const Switchyard__V1__Error *error = stored_error(view);
    if (error != NULL && error->message != NULL && error->message[0] != '\0')
        return error->message;
    return "the action gave no message";
}

/* A lost attempt is our fault, but the SDK knows its TaskInterruptedError only as a user's. */
static bool error_system(const struct cp_action_view *view)
{
    const Switchyard__V1__Error *error = stored_error(view);
    if (error == NULL || strcmp(view_error_code(view), "Interrupted") == 0)
        return false;
    if (view->outcome->error_kind != SWITCHYARD__INTERNAL__ERROR_KIND__ERROR_KIND_UNKNOWN)
        return view->outcome->error_kind == SWITCHYARD__INTERNAL__ERROR_KIND__ERROR_KIND_SYSTEM;
    return error->system;
}

Flyteidl2__Core__ExecutionError *cp_flyte_error(struct sy_arena *arena,
                                                const struct cp_action_view *view)
{
    if (!failed(view))
        return NULL;
    Flyteidl2__Core__ExecutionError *error = make_message(
        arena, &flyteidl2__core__execution_error__descriptor);
    error->code = clean(arena, view_error_code(view));
    error->message = clean(arena, error_message(view));
    error->kind = error_system(view) ? FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__SYSTEM
                                     : FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__USER;
    error->worker = borrow(view->node);
    error->timestamp = cp_flyte_time(arena, finished_ns(view));
    return error;
}

static Flyteidl2__Workflow__ErrorInfo *error_info(const struct cp_flyte *f,
                                                  const struct cp_action_view *view)
{
    Flyteidl2__Workflow__ErrorInfo *info = make(f, workflow__error_info);
    info->code = clean(f->arena, view_error_code(view));
    info->message = clean(f->arena, error_message(view));
    info->kind = error_system(view) ? FLYTEIDL2__WORKFLOW__ERROR_INFO__KIND__KIND_SYSTEM
                                    : FLYTEIDL2__WORKFLOW__ERROR_INFO__KIND__KIND_USER;
    return info;
}

/* ---- Action ---- */

/* What Flyte's API stored beside the row; NULL when nothing. */
static Flyteidl2__Actions__Action *stored(const struct cp_flyte *f,
                                          const struct cp_action_view *view)
{
    struct sy_span bytes = {view->row->flyte.data, view->row->flyte.len};
    if (bytes.len == 0)
        return NULL;
    return pb_unpack(&flyteidl2__actions__action__descriptor, f->arena, bytes);
}

static const Flyteidl2__Workflow__TraceAction *
stored_trace(const Flyteidl2__Actions__Action *action)
{
    if (action == NULL || action->spec_case != FLYTEIDL2__ACTIONS__ACTION__SPEC_TRACE)
        return NULL;
    return action->trace;
}

static const Flyteidl2__Workflow__ConditionAction *
stored_condition(const Flyteidl2__Actions__Action *action)
{
    if (action == NULL || action->spec_case != FLYTEIDL2__ACTIONS__ACTION__SPEC_CONDITION)
        return NULL;
    return action->condition;
}

static void set_task_metadata(const struct cp_flyte *f, Flyteidl2__Workflow__ActionMetadata *to,
                              const struct cp_task_names *names,
                              const Flyteidl2__Actions__Action *action)
{
    to->action_type = FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TASK;
    to->environment_name = borrow(names->environment);
    to->funtion_name = borrow(names->short_name);
    to->spec_case = FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_TASK;
    to->task = make(f, workflow__task_action_metadata);
    to->task->task_type = borrow(names->type);
    to->task->short_name = borrow(names->short_name);
    bool given = action != NULL && action->spec_case == FLYTEIDL2__ACTIONS__ACTION__SPEC_TASK &&
                 action->task != NULL && action->task->id != NULL;
    to->task->id = given ? action->task->id : task_id(f, names);
}

static Flyteidl2__Workflow__ActionMetadata *metadata(const struct cp_flyte *f,
                                                     const struct cp_action_view *view,
                                                     const struct cp_task_names *names,
                                                     const Flyteidl2__Actions__Action *action)
{
    Flyteidl2__Workflow__ActionMetadata *to = make(f, workflow__action_metadata);
    to->parent = borrow(view->row->parent);
    to->group = borrow(view->row->group);
    if (view->outcome != NULL && view->outcome->recovered)
        to->recovered_from = reused_from(f, view);
    if (!without_task(view)) {
        set_task_metadata(f, to, names, action);
        return to;
    }
    const Flyteidl2__Workflow__ConditionAction *condition = stored_condition(action);
    if (condition != NULL) {
        to->action_type = FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_CONDITION;
        to->spec_case = FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_CONDITION;
        to->condition = make(f, workflow__condition_action_metadata);
        to->condition->name = to->funtion_name = condition->name;
        to->condition->type = condition->type;
        return to;
    }
    const Flyteidl2__Workflow__TraceAction *trace = stored_trace(action);
    to->action_type = FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TRACE;
    to->spec_case = FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_TRACE;
    to->trace = make(f, workflow__trace_action_metadata);
    to->trace->name = trace != NULL ? trace->name : borrow(view->name);
    to->funtion_name = to->trace->name;
    return to;
}

static Flyteidl2__Core__CatalogCacheStatus cache_status(const struct cp_action_view *view)
{
    return view->outcome != NULL ? (Flyteidl2__Core__CatalogCacheStatus)view->outcome->cache
                                 : FLYTEIDL2__CORE__CATALOG_CACHE_STATUS__CACHE_DISABLED;
}

static Flyteidl2__Workflow__ActionStatus *status(const struct cp_flyte *f,
                                                 const struct cp_action_view *view)
{
    Flyteidl2__Workflow__ActionStatus *to = make(f, workflow__action_status);
    to->phase = cp_flyte_view_phase(view);
    /* From the submit on, as Flyte's own backend has it; each attempt has its own start. */
    int64_t start = without_task(view) && view->started_ns > 0 ? view->started_ns
                                                               : view->row->created_ns;
    to->start_time = cp_flyte_time(f->arena, start);
    to->end_time = cp_flyte_time(f->arena, finished_ns(view));
    to->attempts = view->number > 0 ? view->number : 1;
    to->cache_status = cache_status(view);
    if (ended(view) && finished_ns(view) >= start) {
        to->_duration_ms_case = FLYTEIDL2__WORKFLOW__ACTION_STATUS___DURATION_MS_DURATION_MS;
        to->duration_ms = (uint64_t)((finished_ns(view) - start) / SY_NS_PER_MS);
    }
    return to;
}

Flyteidl2__Workflow__Action *cp_flyte_action(const struct cp_flyte *f,
                                             const struct cp_action_view *view,
                                             const struct cp_task_names *names)
{
    Flyteidl2__Workflow__Action *action = make(f, workflow__action);
    action->id = cp_flyte_action_id(f, view->name);
    action->metadata = metadata(f, view, names, stored(f, view));
    action->status = status(f, view);
    return action;
}

/* What the run's row adds to its root. The RunSpec; NULL without one. */
static Flyteidl2__Task__RunSpec *set_run(const struct cp_flyte *f,
                                         Flyteidl2__Workflow__ActionMetadata *to,
                                         const Switchyard__Internal__Store__RunRow *row)
{
    if (row == NULL)
        return NULL;
    if (row->trigger.len > 0)
        to->trigger_id = pb_unpack(&flyteidl2__common__trigger_identifier__descriptor, f->arena,
                                   (struct sy_span){row->trigger.data, row->trigger.len});
    if (to->trigger_id != NULL && to->trigger_id->name != NULL) {
        to->trigger_id->name->org = borrow(f->org);
        to->trigger_name = to->trigger_id->name->name;
        to->source = FLYTEIDL2__WORKFLOW__RUN_SOURCE__RUN_SOURCE_SCHEDULE_TRIGGER;
    }
    if (row->run_spec.len == 0)
        return NULL;
    Flyteidl2__Task__RunSpec *spec = pb_unpack(
        &flyteidl2__task__run_spec__descriptor, f->arena,
        (struct sy_span){row->run_spec.data, row->run_spec.len});
    if (spec != NULL)
        to->relation = spec->relation;
    return spec;
}

static void set_labels(const struct cp_flyte *f, Flyteidl2__Workflow__Run *run,
                       const Flyteidl2__Task__Labels *labels)
{
    if (labels == NULL || labels->n_values == 0)
        return;
    run->labels = (Flyteidl2__Workflow__Run__LabelsEntry **)make_array(f->arena, labels->n_values);
    run->n_labels = labels->n_values;
    for (size_t i = 0; i < labels->n_values; i++) {
        run->labels[i] = make(f, workflow__run__labels_entry);
        run->labels[i]->key = clean(f->arena, labels->values[i]->key);
        run->labels[i]->value = clean(f->arena, labels->values[i]->value);
    }
}

Flyteidl2__Workflow__Run *cp_flyte_run(const struct cp_flyte *f, const struct cp_action_view *root,
                                       const struct cp_task_names *names,
                                       const Switchyard__Internal__Store__RunRow *row)
{
    Flyteidl2__Workflow__Run *run = make(f, workflow__run);
    run->action = cp_flyte_action(f, root, names);
    const Flyteidl2__Task__RunSpec *spec = set_run(f, run->action->metadata, row);
    if (spec != NULL)
        set_labels(f, run, spec->labels);
    return run;
}

/* ---- ActionDetails ---- */

static Flyteidl2__Task__OutputReferences *outputs(const struct cp_flyte *f,
                                                  const struct cp_action_view *view)
{
    if (view->outcome == NULL || view->outcome->output_uri == NULL ||
        view->outcome->output_uri[0] == '\0')
        return NULL;
    Flyteidl2__Task__OutputReferences *to = make(f, task__output_references);
    to->output_uri = view->outcome->output_uri;
    return to;
}

/* Flyte speaks of pods and containers; a node and its worker stand there. */
static Flyteidl2__Core__LogContext *log_context(const struct cp_flyte *f,
                                                const struct cp_action_view *view)
{
    if (view->node == NULL || view->node[0] == '\0')
        return NULL;
    Flyteidl2__Core__ContainerContext *worker = make(f, core__container_context);
    worker->container_name = borrow("worker");
    worker->process = make(f, core__container_context__process_context);
    worker->process->container_start_time = cp_flyte_time(f->arena, view->started_ns);
    worker->process->container_end_time = cp_flyte_time(f->arena, finished_ns(view));
    Flyteidl2__Core__PodLogContext *node = make(f, core__pod_log_context);
    node->namespace_ = borrow(view->cluster);
    node->pod_name = borrow(view->node);
    node->primary_container_name = worker->container_name;
    node->n_containers = 1;
    node->containers = (Flyteidl2__Core__ContainerContext **)make_array(f->arena, 1);
    node->containers[0] = worker;
    Flyteidl2__Core__LogContext *context = make(f, core__log_context);
    context->primary_pod_name = node->pod_name;
    context->n_pods = 1;
    context->pods = (Flyteidl2__Core__PodLogContext **)make_array(f->arena, 1);
    context->pods[0] = node;
    return context;
}

static void add_transition(const struct cp_flyte *f, Flyteidl2__Workflow__ActionAttempt *to,
                           Switchyard__V1__Phase phase, int64_t start_ns, int64_t end_ns)
{
    Flyteidl2__Workflow__PhaseTransition *transition = make(f, workflow__phase_transition);
    transition->phase = cp_flyte_phase(phase);
    transition->start_time = cp_flyte_time(f->arena, start_ns);
    transition->end_time = cp_flyte_time(f->arena, end_ns);
    to->phase_transitions[to->n_phase_transitions++] = transition;
}

/* queued_ns: since when it waited; 0: not known. */
static void set_transitions(const struct cp_flyte *f, Flyteidl2__Workflow__ActionAttempt *to,
                            const struct cp_action_view *view, int64_t queued_ns)
{
    to->phase_transitions = (Flyteidl2__Workflow__PhaseTransition **)make_array(f->arena, 3);
    if (queued_ns > 0) {
        int64_t until = view->started_ns > 0 ? view->started_ns : finished_ns(view);
        add_transition(f, to, SWITCHYARD__V1__PHASE__PHASE_QUEUED, queued_ns, until);
    }
    if (view->started_ns > 0)
        add_transition(f, to, SWITCHYARD__V1__PHASE__PHASE_RUNNING, view->started_ns,
                       finished_ns(view));
    if (ended(view))
        add_transition(f, to, view->phase, finished_ns(view), finished_ns(view));
}

static Flyteidl2__Common__CacheMetadata *cache_metadata(const struct cp_flyte *f,
                                                        const struct cp_action_view *view)
{
    Flyteidl2__Common__CacheMetadata *to = make(f, common__cache_metadata);
    to->source_action_attempt = make(f, common__action_attempt_identifier);
    to->source_action_attempt->action_id = reused_from(f, view);
    to->source_action_attempt->attempt = 1;
    return to;
}

static Flyteidl2__Workflow__ActionAttempt *
attempt(const struct cp_flyte *f, const struct cp_action_view *view, int64_t queued_ns)
{
    Flyteidl2__Workflow__ActionAttempt *to = make(f, workflow__action_attempt);
    to->phase = cp_flyte_view_phase(view);
    to->start_time = cp_flyte_time(f->arena, view->started_ns);
    to->end_time = cp_flyte_time(f->arena, finished_ns(view));
    to->attempt = view->number > 0 ? view->number : 1;
    to->cache_status = cache_status(view);
    if (to->cache_status == FLYTEIDL2__CORE__CATALOG_CACHE_STATUS__CACHE_HIT)
        to->cache_metadata = cache_metadata(f, view);
    if (failed(view))
        to->error_info = error_info(f, view);
    to->outputs = outputs(f, view);
    to->logs_available = ended(view) ? view->outcome->has_logs : view->started_ns > 0;
    to->cluster = borrow(view->cluster);
    to->log_context = log_context(f, view);
    set_transitions(f, to, view, queued_ns);
    return to;
}

/* One before the last, of which no row is left (an older version kept none). */
static Flyteidl2__Workflow__ActionAttempt *forgotten_attempt(const struct cp_flyte *f,
                                                             uint32_t number)
{
    Flyteidl2__Workflow__ActionAttempt *to = make(f, workflow__action_attempt);
    to->attempt = number;
    to->phase = cp_flyte_phase(SWITCHYARD__V1__PHASE__PHASE_FAILED);
    to->logs_available = true;
    return to;
}

/* The action as it was when that attempt had ended. */
static struct cp_action_view view_of_earlier(const struct cp_action_view *view,
                                             Switchyard__Internal__Store__OutcomeRow *row)
{
    struct cp_action_view then = *view;
    then.outcome = row;
    then.live = NULL;
    then.phase = row->phase;
    then.started_ns = row->started_ns;
    then.number = row->number;
    then.cluster = row->cluster;
    then.node = row->node;
    return then;
}

/* Clients index the list by attempt - 1. Each waits from the end of the one before it on. */
static void set_attempts(const struct cp_flyte *f, Flyteidl2__Workflow__ActionDetails *to,
                         const struct cp_action_view *view)
{
    bool reused = ended(view) && view->outcome->reused_from[0] != '\0';
    uint32_t count = view->number == 0 && reused ? 1 : view->number; /* it stands for one */
    if (count == 0 || count > CP_FLYTE_ATTEMPTS_MAX)
        return;
    to->attempts = (Flyteidl2__Workflow__ActionAttempt **)make_array(f->arena, count);
    to->n_attempts = count;
    int64_t queued_ns = view->row->created_ns;
    size_t at = 0;
    for (uint32_t number = 1; number <= count; number++) {
        Flyteidl2__Workflow__ActionAttempt **place = &to->attempts[number - 1];
        if (at < view->earlier_count && view->earlier[at]->number == number) {
            struct cp_action_view then = view_of_earlier(view, view->earlier[at++]);
            *place = attempt(f, &then, queued_ns);
            queued_ns = finished_ns(&then);
        } else if (number == count) {
            *place = attempt(f, view, queued_ns);
        } else {
            *place = forgotten_attempt(f, number);
            queued_ns = 0;
        }
    }
}

static void set_result(const struct cp_flyte *f, Flyteidl2__Workflow__ActionDetails *to,
                       const struct cp_action_view *view)
{
    if (failed(view)) {
        to->result_case = FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ERROR_INFO;
        to->error_info = error_info(f, view);
    } else if (view->phase == SWITCHYARD__V1__PHASE__PHASE_ABORTED) {
        to->result_case = FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ABORT_INFO;
        to->abort_info = make(f, workflow__abort_info);
        to->abort_info->reason = clean(f->arena, error_message(view));
    }
}

Flyteidl2__Workflow__ActionDetails *cp_flyte_details(const struct cp_flyte *f,
                                                     const struct cp_action_view *view,
                                                     const struct cp_task_names *names,
                                                     struct sy_span task_spec)
{
    const Flyteidl2__Actions__Action *action = stored(f, view);
    Flyteidl2__Workflow__ActionDetails *to = make(f, workflow__action_details);
    to->id = cp_flyte_action_id(f, view->name);
    to->metadata = metadata(f, view, names, action);
    to->status = status(f, view);
    set_result(f, to, view);
    const Flyteidl2__Workflow__TraceAction *trace = stored_trace(action);
    const Flyteidl2__Workflow__ConditionAction *condition = stored_condition(action);
    if (condition != NULL && view->phase == SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED) {
        to->result_case = FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_SIGNAL_INFO;
        to->signal_info = make(f, workflow__signal_info);
        to->signal_info->output = view->outcome->output;
    }
    if (!without_task(view)) {
        to->spec_case = FLYTEIDL2__WORKFLOW__ACTION_DETAILS__SPEC_TASK;
        to->task.data = (uint8_t *)(uintptr_t)task_spec.data;
        to->task.len = task_spec.len;
    } else if (condition != NULL) {
        to->spec_case = FLYTEIDL2__WORKFLOW__ACTION_DETAILS__SPEC_CONDITION;
        to->condition = action->condition;
    } else if (trace != NULL && trace->spec != NULL) {
        to->spec_case = FLYTEIDL2__WORKFLOW__ACTION_DETAILS__SPEC_TRACE;
        to->trace = trace->spec;
    }
    set_attempts(f, to, view);
    return to;
}

Flyteidl2__Workflow__RunDetails *
cp_flyte_run_details(const struct cp_flyte *f, const struct cp_action_view *root,
                     const struct cp_task_names *names, struct sy_span task_spec,
                     const Switchyard__Internal__Store__RunRow *row)
{
    Flyteidl2__Workflow__RunDetails *details = make(f, workflow__run_details);
    details->action = cp_flyte_details(f, root, names, task_spec);
    details->run_spec = set_run(f, details->action->metadata, row);
    return details;
}

/* ---- ActionUpdate ---- */

Flyteidl2__Workflow__ActionUpdate *cp_flyte_update(const struct cp_flyte *f,
                                                   const struct cp_action_view *view)
{
    Flyteidl2__Workflow__ActionUpdate *update = make(f, workflow__action_update);
    update->action_id = cp_flyte_action_id(f, view->name);
    update->phase = cp_flyte_view_phase(view);
    update->error = cp_flyte_error(f->arena, view);
    if (view->outcome == NULL)
        return update;
    update->output_uri = view->outcome->output_uri;
    if (without_task(view)) /* a signal's value; a trace has none */
        update->value = view->outcome->output;
    return update;
}
