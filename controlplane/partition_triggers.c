/* The clock of a partition's triggers: a timer for what is due first, and its runs. */
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"
#include "controlplane/triggers.h"
#include "proto/pb.h"

#include <stdio.h>
#include <xxhash.h>

/* The wall clock may be set: it is looked at again after this. */
#define LOOK_NS (60 * SY_NS_PER_S)
/* A run that could not be made now, because something is full, is tried again. */
#define RETRY_NS SY_NS_PER_S
#define FIRE_ARENA_MAX ((size_t)64 << 20)

typedef Switchyard__Internal__Store__TriggerRow TriggerRow;
typedef Flyteidl2__Trigger__TriggerSpec TriggerSpec;

struct fire {
    struct cp_partition *p;
    struct sy_arena arena;
    struct cp_trigger_due due;
    int64_t due_ns; /* that is fired */
    TriggerRow *row;
    TriggerSpec *spec;
    const char *names[4]; /* project, domain, task, trigger */
    struct sy_buf task_spec, run_spec, id;
};

/* What the run starts from: false when the rows are damaged, or the task's version is gone. */
static bool read_trigger(struct fire *f)
{
    struct sy_buf *buf = &f->task_spec;
    if (!cp_registry_names(cp_registry_span(&f->due.trigger), f->names, 4) ||
        cp_partition_registry_get(f->p, cp_registry_span(&f->due.trigger), buf) != 0 ||
        cp_trigger_row_read(&f->arena, sy_buf_span(buf), &f->row) != 0 ||
        f->row->due_ns != f->due.due_ns)
        return false;
    f->spec = pb_unpack(&flyteidl2__trigger__trigger_spec__descriptor, &f->arena,
                        (struct sy_span){f->row->spec.data, f->row->spec.len});
    return f->spec != NULL;
}

static bool read_task(struct fire *f)
{
    struct cp_registry_key key = CP_REGISTRY_KEY(CP_REGISTRY_SPEC, f->names[0], f->names[1],
                                                 f->names[2], f->spec->task_version, NULL);
    return cp_partition_registry_get(f->p, cp_registry_span(&key), &f->task_spec) == 0;
}

/* The name follows from the trigger and the due time, so that a second try meets the first. */
static void make_names(struct fire *f, char name[CP_NAME_MADE_SIZE], char *request_id, size_t size)
{
    struct cp_partition *p = f->p;
    XXH128_hash_t hash = XXH3_128bits(f->due.trigger.data, f->due.trigger.len);
    snprintf(request_id, size, "trigger-%016llx%016llx-%lld", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64, (long long)f->due_ns);
    uint32_t salt = 0;
    do
        cp_name_from_request(name, f->names[0], f->names[1], request_id, salt++);
    while (cp_partition_of(p, cp_name_hash(f->names[0], f->names[1], name)) !=
           p->options.partition);
}

static void pack_run_spec(struct fire *f)
{
    Flyteidl2__Task__RunSpec empty = FLYTEIDL2__TASK__RUN_SPEC__INIT;
    Flyteidl2__Task__RunSpec *spec = f->spec->run_spec != NULL ? f->spec->run_spec : &empty;
    Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT, *old;
    start.seconds = f->due_ns / SY_NS_PER_S;
    start.nanos = (int32_t)(f->due_ns % SY_NS_PER_S);
    old = spec->run_start_time;
    spec->run_start_time = &start;
    pb_pack(&spec->base, &f->run_spec);
    spec->run_start_time = old;
}

/* What the run will say of itself. The organization is not stored. */
static void pack_id(struct fire *f)
{
    Flyteidl2__Common__TriggerIdentifier id = FLYTEIDL2__COMMON__TRIGGER_IDENTIFIER__INIT;
    Flyteidl2__Common__TriggerName name = FLYTEIDL2__COMMON__TRIGGER_NAME__INIT;
    name.project = (char *)(uintptr_t)f->names[0];
    name.domain = (char *)(uintptr_t)f->names[1];
    name.task_name = (char *)(uintptr_t)f->names[2];
    name.name = (char *)(uintptr_t)f->names[3];
    id.name = &name;
    id.revision = f->row->revision;
    pb_pack(&id.base, &f->id);
}

static enum sy_code make_run(struct fire *f, struct sy_error_text *error)
{
    char name[CP_NAME_MADE_SIZE], request_id[CP_REQUEST_ID_LENGTH_MAX];
    make_names(f, name, request_id, sizeof(request_id));
    pack_run_spec(f);
    pack_id(f);
    struct cp_create_run create = {.project = f->names[0],
                                   .domain = f->names[1],
                                   .name = name,
                                   .request_id = request_id,
                                   .task_spec = sy_buf_span(&f->task_spec),
                                   .run_spec = sy_buf_span(&f->run_spec),
                                   .trigger = sy_buf_span(&f->id)};
    const Flyteidl2__Common__OffloadedInputData *data = NULL;
    if (f->spec->input_wrapper_case == FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_INPUTS)
        create.root.input = (struct sy_span){f->spec->inputs.data, f->spec->inputs.len};
    else if (f->spec->input_wrapper_case ==
             FLYTEIDL2__TRIGGER__TRIGGER_SPEC__INPUT_WRAPPER_OFFLOADED_INPUT_DATA)
        data = f->spec->offloaded_input_data;
    if (data != NULL) {
        create.root.input_uri = data->uri;
        create.inputs_hash = data->inputs_hash[0] != '\0' ? data->inputs_hash : NULL;
    }
    return cp_create_run_now(f->p, &create, error);
}

/* A change of the registry. Nothing may be put when it refuses. */
static enum sy_code fire_due(struct fire *f, struct sy_error_text *error)
{
    struct cp_partition *p = f->p;
    int64_t now_ns = sy_loop_realtime_ns(p->loop);
    if (cp_trigger_first_due(p, &f->due) != 0)
        return SY_CODE_UNAVAILABLE;
    if (f->due.due_ns > now_ns)
        return SY_CODE_OK;
    if (!read_trigger(f)) {
        cp_partition_registry_delete(p, &f->due.index); /* an index row without its trigger */
        return SY_CODE_OK;
    }
    f->due_ns = cp_trigger_catch_up(f->row, &f->arena, now_ns);
    enum sy_code code = SY_CODE_NOT_FOUND;
    sy_error_text_set(error, "the task has no version '%s'", f->spec->task_version);
    if (read_task(f))
        code = make_run(f, error);
    if (code == SY_CODE_RESOURCE_EXHAUSTED || code == SY_CODE_UNAVAILABLE)
        return code;
    if (code != SY_CODE_OK)
        sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_TRIGGER_FAILED,
               SY_STR("task", f->names[2]), SY_STR("trigger", f->names[3]),
               SY_STR("reason", error->text));
    cp_trigger_fired(p, &f->due, f->row, f->due_ns);
    return SY_CODE_OK;
}

static enum sy_code fire(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    (void)ctx;
    struct fire f = {.p = p};
    sy_arena_init(&f.arena, FIRE_ARENA_MAX);
    enum sy_code code = fire_due(&f, error);
    sy_buf_deinit(&f.task_spec);
    sy_buf_deinit(&f.run_spec);
    sy_buf_deinit(&f.id);
    sy_arena_deinit(&f.arena);
    return code;
}

static void on_fired(void *arg, const struct sy_status *status)
{
    struct cp_partition *p = arg;
    p->firing = false;
    p->fire_after_ns = status->code == SY_CODE_OK ? 0 : sy_loop_now_ns(p->loop) + RETRY_NS;
    cp_triggers_arm(p);
}

static void on_due(void *arg)
{
    struct cp_partition *p = arg;
    if (cp_state(p) != CP_PARTITION_SERVING || p->firing)
        return;
    p->firing = true;
    cp_partition_registry_change(p, fire, on_fired, p);
}

void cp_triggers_init(struct cp_partition *p)
{
    sy_timer_init(&p->fire_timer, on_due, p);
}

void cp_triggers_arm(struct cp_partition *p)
{
    struct cp_trigger_due due;
    sy_timer_stop(p->loop, &p->fire_timer);
    if (cp_state(p) != CP_PARTITION_SERVING || p->firing)
        return;
    int r = cp_trigger_first_due(p, &due);
    if (r == 0 && due.due_ns == INT64_MAX)
        return;
    int64_t wait_ns = r != 0 ? RETRY_NS : due.due_ns - sy_loop_realtime_ns(p->loop);
    wait_ns = wait_ns < 0 ? 0 : wait_ns > LOOK_NS ? LOOK_NS : wait_ns;
    int64_t at_ns = sy_loop_now_ns(p->loop) + wait_ns;
    sy_timer_start(p->loop, &p->fire_timer, at_ns < p->fire_after_ns ? p->fire_after_ns : at_ns);
}
