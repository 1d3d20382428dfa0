/* Enqueue: everything that can be refused is checked before the first child is made, so that a
 * batch is taken whole or not at all. */
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"
#include "scheduler/stop.h"

/* ---- checks ---- */

int cp_check_input(const struct cp_partition *p, const struct cp_new_action *action,
                   struct sy_error_text *error)
{
    size_t max = p->options.inline_bytes_max;
    if (action->input.len > max) {
        sy_error_text_set(error,
                          "input of %zu bytes: at most %zu may be sent inline; put it into the "
                          "cluster's object store and send input_uri",
                          action->input.len, max);
        return -EINVAL;
    }
    if (action->input.len > 0 && action->input_uri && action->input_uri[0]) {
        sy_error_text_set(error, "input and input_uri: only one of them may be set");
        return -EINVAL;
    }
    return cp_text_check("input_uri", action->input_uri, CP_URI_BYTES_MAX, error);
}

bool cp_has_room(const struct cp_partition *p, size_t actions, struct sy_error_text *error)
{
    struct sch_partition_counts c = sch_partition_counts(p->core);
    uint64_t live = c.queued + c.assigned + c.running + c.backoff + c.recovering + c.groups;
    if (live + actions > p->options.actions_max) {
        sy_error_text_set(error,
                          "partition %u holds %llu actions of at most %llu; retry in 1 s, or when "
                          "some have ended",
                          p->options.partition, (unsigned long long)live,
                          (unsigned long long)p->options.actions_max);
        return false;
    }
    if (p->open->rows && cp_batch_bytes(p->open->rows) > p->options.batch_bytes_max) {
        sy_error_text_set(error, "the disk of partition %u does not keep up; retry in 100 ms",
                          p->options.partition);
        return false;
    }
    return true;
}

int cp_check_leases(const struct cp_partition *p, const struct sch_spec *spec,
                    struct sy_error_text *error)
{
    if (spec->on_partition != SCH_ON_PARTITION_STOP)
        return 0;
    return sch_stop_check("cluster_lease", p->options.cluster_lease_ns, p->options.heartbeat_ns,
                          error);
}

int cp_use_spec(struct cp_partition *p, struct sy_span bytes, struct cp_spec **ret,
                struct sy_error_text *error)
{
    int r = cp_specs_intern(&p->specs, bytes, ret, error);
    return r == 0 ? cp_check_leases(p, &(*ret)->uses[0].base, error) : r;
}

void cp_store_spec(struct cp_partition *p, struct cp_spec *spec)
{
    SY_ASSERT(spec);
    if (spec->stored)
        return;
    spec->stored = true;
    struct sy_span key = {spec->digest, sizeof(spec->digest)};
    cp_batch_put(p->open->rows, CP_FAMILY_SPECS, key, sy_buf_span(&spec->bytes));
}

struct sch_run *cp_find_live_run(struct cp_partition *p, const char *project, const char *domain,
                                 const char *name, enum sy_code *ret_code,
                                 struct sy_error_text *error)
{
    const char *const parts[] = {project, domain, name};
    static const char *const what[] = {"project", "domain", "run"};
    *ret_code = SY_CODE_INVALID_ARGUMENT;
    for (unsigned i = 0; i < 3; i++) {
        if (cp_name_check(what[i], parts[i], error) < 0)
            return NULL;
    }
    struct sch_run *run = sch_partition_find_run(p->core, project, domain, name);
    if (run)
        return run;
    struct cp_key key = cp_key_run_name(project, domain, name);
    int r = cp_store_get(p->store, CP_FAMILY_RUN_NAMES, cp_key_span(&key), &p->scratch);
    if (r == 0) {
        *ret_code = SY_CODE_FAILED_PRECONDITION;
        sy_error_text_set(error, "run %s/%s/%s has ended", project, domain, name);
    } else if (r < 0) {
        *ret_code = SY_CODE_UNAVAILABLE;
        sy_error_text_set(error, "the store of partition %u failed", p->options.partition);
        cp_fail_later(p, r);
    } else {
        *ret_code = SY_CODE_NOT_FOUND;
        sy_error_text_set(error, "run %s/%s/%s: not found", project, domain, name);
    }
    return NULL;
}

struct sch_action *cp_find_live_parent(struct cp_partition *p, struct sch_run *run,
                                       const char *name, enum sy_code *ret_code,
                                       struct sy_error_text *error)
{
    *ret_code = SY_CODE_INVALID_ARGUMENT;
    if (cp_name_check("parent", name, error) < 0)
        return NULL;
    struct sch_action *parent = sch_partition_find_action(p->core, run, name);
    if (parent)
        return parent;
    struct cp_key key = cp_key_action(run->id, name);
    int r = cp_store_get(p->store, CP_FAMILY_ACTIONS, cp_key_span(&key), &p->scratch);
    bool ended = r == 0 || cp_find_ended(p, run->id, name);
    *ret_code = ended ? SY_CODE_FAILED_PRECONDITION : SY_CODE_NOT_FOUND;
    sy_error_text_set(error, "parent '%s' of run %s/%s/%s: %s", name, run->project, run->domain,
                      run->name, ended ? "has ended" : "not found");
    return NULL;
}

enum sy_code cp_explain_rejection(const struct cp_partition *p, struct sy_error_text *error)
{
    switch (p->rejected) {
    case SCH_REJECT_FULL:
        sy_error_text_set(error, "partition %u holds its most of %llu actions; retry in 1 s",
                          p->options.partition, (unsigned long long)p->options.actions_max);
        return SY_CODE_RESOURCE_EXHAUSTED;
    case SCH_REJECT_QUEUE_FULL:
        sy_error_text_set(error, "%s; retry in 1 s, or when some have ended",
                          p->rejected_text.text);
        return SY_CODE_RESOURCE_EXHAUSTED;
    case SCH_REJECT_NO_QUEUE:
    case SCH_REJECT_INFEASIBLE:
        sy_error_text_set(error, "%s", p->rejected_text.text);
        return SY_CODE_INVALID_ARGUMENT;
    case SCH_REJECT_SEALED:
        sy_error_text_set(error, "the parent takes no more children: it is sealed or has ended");
        return SY_CODE_FAILED_PRECONDITION;
    case SCH_REJECT_CONFLICT:
        sy_error_text_set(error, "an action of that name has another parent");
        return SY_CODE_ALREADY_EXISTS;
    case SCH_REJECT_EXISTS:
        break;
    }
    sy_error_text_set(error, "it exists already");
    return SY_CODE_ALREADY_EXISTS;
}

/* ---- names ---- */

const char *cp_name_high(struct cp_partition *p, struct sch_run *run)
{
    struct cp_live_run *live = run->shell;
    SY_ASSERT(live);
    if (live->name_high_known)
        return live->name_high;
    /* After a restart, once: the last action of the run in the order of keys. */
    struct cp_key from = cp_key_run(run->id), to = cp_key_run(run->id + 1);
    struct cp_iter *iter = cp_iter_new(p->store, CP_FAMILY_ACTIONS, cp_key_span(&from),
                                       cp_key_span(&to), true);
    uint64_t id;
    if (cp_iter_valid(iter) && cp_key_action_name(cp_iter_key(iter), &id, live->name_high))
        live->name_high_known = true;
    else
        cp_fail_later(p, -EIO); /* a live run has its root, at least */
    cp_iter_free(iter);
    return live->name_high;
}

void cp_raise_name_high(struct sch_run *run, const char *name)
{
    struct cp_live_run *live = run->shell;
    if (!live->name_high_known || strcmp(name, live->name_high) <= 0)
        return;
    memcpy(live->name_high, name, strlen(name) + 1);
}

/* Whether a child that has ended is to be made again: it failed under an earlier attempt of its
 * parent, or its parent was itself made again. Of Flyte's programs only; see docs/flyte.md. */
static bool of_earlier_attempt(const struct sch_action *parent, uint64_t id, struct sy_span outcome)
{
    if (!parent->spec || !cp_spec_use_of(parent->spec)->spec->traits.flyte)
        return false;
    uint64_t under = cp_row_uint(outcome, 13);
    bool failed = cp_row_uint(outcome, 1) != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    return id < parent->id || (failed && under > 0 && under < parent->number);
}

/* `parent` NULL: it has ended. */
static struct cp_lookup lookup_stored(struct cp_partition *p, uint64_t run_id,
                                      const struct sch_action *parent, const char *parent_name,
                                      const char *name)
{
    struct cp_key key = cp_key_action(run_id, name);
    uint64_t id = 0;
    int r = cp_store_get(p->store, CP_FAMILY_ACTIONS, cp_key_span(&key), &p->scratch);
    if (r == CP_STORE_E_NOT_FOUND)
        return (struct cp_lookup){CP_LOOKUP_FREE, 0};
    if (r == 0) {
        struct sy_span stored = cp_row_bytes(sy_buf_span(&p->scratch), 2);
        if (stored.len != strlen(parent_name) || memcmp(stored.data, parent_name, stored.len) != 0)
            return (struct cp_lookup){CP_LOOKUP_CONFLICT, 0};
        id = cp_row_uint(sy_buf_span(&p->scratch), 1);
        r = cp_store_get(p->store, CP_FAMILY_OUTCOMES, cp_key_span(&key), &p->scratch);
    }
    if (r < 0) {
        cp_fail_later(p, r);
        return (struct cp_lookup){CP_LOOKUP_FAILED, 0};
    }
    /* Without an outcome its end is not durable yet, so it is not told. */
    uint64_t phase = r == 0 ? cp_row_uint(sy_buf_span(&p->scratch), 1) : 0;
    if (phase && parent && of_earlier_attempt(parent, id, sy_buf_span(&p->scratch)))
        return (struct cp_lookup){CP_LOOKUP_AGAIN, 0};
    return (struct cp_lookup){CP_LOOKUP_SAME, phase ? (Switchyard__V1__Phase)phase
                                                    : SWITCHYARD__V1__PHASE__PHASE_RUNNING};
}

struct cp_lookup cp_lookup_name(struct cp_partition *p, const struct sch_action *parent,
                                const char *name)
{
    const struct sch_run *run = parent->run;
    const struct sch_action *action = sch_partition_find_action(p->core, run, name);
    if (action) {
        bool same = action->parent && strcmp(action->parent->name, parent->name) == 0;
        return (struct cp_lookup){same ? CP_LOOKUP_SAME : CP_LOOKUP_CONFLICT,
                                  cp_phase_of(action->sm.state, action->number)};
    }
    const struct cp_ended *ended = cp_find_ended(p, run->id, name);
    if (ended) {
        bool same = strcmp(ended->detail, parent->name) == 0;
        return (struct cp_lookup){same ? CP_LOOKUP_SAME : CP_LOOKUP_CONFLICT,
                                  SWITCHYARD__V1__PHASE__PHASE_RUNNING};
    }
    return lookup_stored(p, run->id, parent, parent->name, name);
}

/* ---- enqueue ---- */

enum name_state { NAME_NEW, NAME_EXISTS, NAME_AGAIN };

struct enqueue {
    struct cp_partition *p;
    const struct cp_enqueue *request;
    struct sch_run *run;
    struct sch_action *parent;
    struct cp_spec *spec;
    const char *queue;
    struct cp_enqueued *result;
    struct cp_existing *existing; /* of request->count */
    enum name_state *names;       /* by index; NULL: all are new */
    enum sy_code code;
    struct sy_error_text error;
};

static bool fail(struct enqueue *e, enum sy_code code)
{
    e->code = code;
    return false;
}

/* Only the current attempt of a task may enqueue for it: an older one has been given up. */
static bool check_attempt(struct enqueue *e)
{
    const struct cp_enqueue *request = e->request;
    const struct sch_action *parent = e->parent;
    if (request->attempt_action == 0)
        return true;
    bool out = parent->sm.state == SCH_ACTION_ASSIGNED || parent->sm.state == SCH_ACTION_RUNNING;
    if (out && parent->id == request->attempt_action && parent->number == request->attempt_number &&
        parent->attempt_epoch == request->attempt_epoch)
        return true;
    sy_error_text_set(&e->error, "attempt %u of '%s' is not the current one",
                      request->attempt_number, request->parent);
    return fail(e, SY_CODE_FAILED_PRECONDITION);
}

static bool find_parent(struct enqueue *e)
{
    const struct cp_enqueue *r = e->request;
    e->run = cp_find_live_run(e->p, r->project, r->domain, r->run, &e->code, &e->error);
    if (!e->run)
        return false;
    e->parent = cp_find_live_parent(e->p, e->run, r->parent, &e->code, &e->error);
    return e->parent && check_attempt(e);
}

/* Its own, else that of its run. */
static bool choose_queue(struct enqueue *e)
{
    const char *own = e->request->queue;
    const struct cp_live_run *live = e->run->shell;
    bool has_own = own && own[0];
    e->queue = has_own ? own : live->queue;
    return !has_own || cp_name_check("queue", own, &e->error) == 0 ||
           fail(e, SY_CODE_INVALID_ARGUMENT);
}

static int by_text(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

/* Whole, of tasks that we run ourselves, each with a name of its own. */
static bool check_gang(struct enqueue *e, size_t new_count)
{
    const struct cp_enqueue *request = e->request;
    if (new_count < request->count) {
        sy_error_text_set(&e->error,
                          "gang: %zu of its %zu actions exist already: it is enqueued whole",
                          request->count - new_count, request->count);
        return fail(e, SY_CODE_ALREADY_EXISTS);
    }
    if (cp_spec_check_gang(&e->spec->uses[0].base, &e->spec->traits, &e->error) < 0)
        return fail(e, SY_CODE_INVALID_ARGUMENT);
    const char **names = sy_arena_alloc(&e->p->open->arena, request->count * sizeof(*names));
    SY_ASSERT(names);
    for (size_t i = 0; i < request->count; i++)
        names[i] = request->actions[i].name;
    qsort(names, request->count, sizeof(*names), by_text);
    for (size_t i = 1; i < request->count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            sy_error_text_set(&e->error, "gang: the name '%s' comes twice", names[i]);
            return fail(e, SY_CODE_INVALID_ARGUMENT);
        }
    }
    return true;
}

static bool check_feasible(struct enqueue *e)
{
    const struct sch_partition *core = e->p->core;
    const struct sch_spec *base = &e->spec->uses[0].base;
    const struct cp_gang *gang = e->request->gang;
    struct sy_error_text misses = {0};
    bool feasible = base->group || sch_partition_feasible(core, &base->request, &misses);
    if (feasible && gang)
        feasible = sch_partition_gang_feasible(core, &base->request, &gang->shape, &misses);
    if (feasible)
        return true;
    sy_error_text_set(&e->error, "%s", misses.text);
    return fail(e, SY_CODE_INVALID_ARGUMENT);
}

/* With nothing new to make, a sealed parent and a full partition are no obstacle. */
static bool check_new(struct enqueue *e, size_t new_count)
{
    struct cp_partition *p = e->p;
    if (new_count == 0)
        return true;
    if (e->parent->sealed) {
        sy_error_text_set(&e->error, "parent '%s' is sealed: it takes no more children",
                          e->parent->name);
        return fail(e, SY_CODE_FAILED_PRECONDITION);
    }
    if (!cp_has_room(p, new_count, &e->error))
        return fail(e, SY_CODE_RESOURCE_EXHAUSTED);
    if (e->request->gang && !check_gang(e, new_count))
        return false;
    return check_feasible(e);
}

/* What is known of the i-th name; made when the first one is known. */
static enum name_state *name_state(struct enqueue *e, size_t i)
{
    size_t count = e->request->count;
    if (!e->names) {
        e->names = sy_arena_alloc(&e->p->open->arena, count * sizeof(*e->names));
        SY_ASSERT(e->names);
        memset(e->names, 0, count * sizeof(*e->names));
    }
    return &e->names[i];
}

static void note_existing(struct enqueue *e, size_t i, Switchyard__V1__Phase phase)
{
    size_t count = e->request->count;
    if (!e->existing) {
        e->existing = sy_arena_alloc(&e->p->open->arena, count * sizeof(*e->existing));
        SY_ASSERT(e->existing);
    }
    SY_ASSERT(e->result->existing_count < count);
    *name_state(e, i) = NAME_EXISTS;
    e->existing[e->result->existing_count++] = (struct cp_existing){.index = (uint32_t)i,
                                                                    .phase = phase};
}

/* One name: new, or existing with the same parent. */
static bool check_name(struct enqueue *e, size_t i, const char **high, size_t *new_count)
{
    const struct cp_new_action *action = &e->request->actions[i];
    if (cp_name_check("action name", action->name, &e->error) < 0 ||
        cp_check_input(e->p, action, &e->error) < 0)
        return fail(e, SY_CODE_INVALID_ARGUMENT);
    if (strcmp(action->name, *high) > 0) {
        *high = action->name;
        ++*new_count;
        return true;
    }
    struct cp_lookup found = cp_lookup_name(e->p, e->parent, action->name);
    switch (found.state) {
    case CP_LOOKUP_AGAIN:
        *name_state(e, i) = NAME_AGAIN;
        ++*new_count;
        return true;
    case CP_LOOKUP_FREE:
        ++*new_count;
        return true;
    case CP_LOOKUP_SAME:
        note_existing(e, i, found.phase);
        return true;
    case CP_LOOKUP_CONFLICT:
        sy_error_text_set(&e->error, "action '%s' exists already, with another parent than '%s'",
                          action->name, e->request->parent);
        return fail(e, SY_CODE_ALREADY_EXISTS);
    case CP_LOOKUP_FAILED:
        break;
    }
    sy_error_text_set(&e->error, "the store of partition %u failed", e->p->options.partition);
    return fail(e, SY_CODE_UNAVAILABLE);
}

static bool find_run_id(struct enqueue *e, uint64_t *ret_id)
{
    const struct cp_enqueue *r = e->request;
    struct cp_key key = cp_key_run_name(r->project, r->domain, r->run);
    if (!e->run &&
        cp_store_get(e->p->store, CP_FAMILY_RUN_NAMES, cp_key_span(&key), &e->p->scratch))
        return false;
    *ret_id = e->run ? e->run->id : sy_get_be64(e->p->scratch.data);
    return true;
}

/* The answer to the call that made these children was lost, and meanwhile everything has ended: the
 * repeat hears what the first call would have heard, and makes nothing. */
static bool is_repeat(struct enqueue *e)
{
    const struct cp_enqueue *request = e->request;
    uint64_t run_id;
    if (e->code != SY_CODE_FAILED_PRECONDITION || e->parent || !find_run_id(e, &run_id))
        return false;
    for (size_t i = 0; i < request->count; i++) {
        const char *name = request->actions[i].name;
        struct sy_error_text unused;
        if (cp_name_check("action name", name, &unused) < 0)
            return false;
        struct cp_lookup found = lookup_stored(e->p, run_id, NULL, request->parent, name);
        if (found.state != CP_LOOKUP_SAME)
            return false;
        note_existing(e, i, found.phase);
    }
    return request->count > 0 || request->seal;
}

static bool check(struct enqueue *e)
{
    const struct cp_enqueue *request = e->request;
    if (request->count > CP_ENQUEUE_MAX) {
        sy_error_text_set(&e->error, "%zu actions in one call, at most %d are allowed",
                          request->count, CP_ENQUEUE_MAX);
        return fail(e, SY_CODE_INVALID_ARGUMENT);
    }
    if (cp_text_check("group", request->group, CP_GROUP_BYTES_MAX, &e->error) < 0)
        return fail(e, SY_CODE_INVALID_ARGUMENT);
    if (!find_parent(e))
        return is_repeat(e);
    if (!choose_queue(e))
        return false;
    if (request->count > 0 && cp_use_spec(e->p, request->task_spec, &e->spec, &e->error) < 0)
        return fail(e, SY_CODE_INVALID_ARGUMENT);
    const char *high = cp_name_high(e->p, e->run);
    size_t new_count = 0;
    for (size_t i = 0; i < request->count; i++) {
        if (!check_name(e, i, &high, &new_count))
            return false;
    }
    return check_new(e, new_count);
}

static struct sch_spec *spec_for(struct enqueue *e, const struct cp_new_action *action)
{
    bool has_input = action->input.len > 0 || (action->input_uri && action->input_uri[0]);
    return &e->spec->uses[has_input].base;
}

/* As an event of the core. An action whose result exists ends with the step that makes it. */
static void create_one(struct enqueue *e, size_t i, struct cp_creating *creating)
{
    struct cp_partition *p = e->p;
    const struct cp_new_action *action = &e->request->actions[i];
    struct sch_event event = {.type = SCH_EVENT_ENQUEUE};
    struct cp_ending ending;
    struct cp_key key;
    SY_ASSERT(e->spec); /* of each request with actions */
    creating->row.input = action->input;
    creating->row.input_uri = action->input_uri;
    creating->again = e->names && e->names[i] == NAME_AGAIN;
    event.u.enqueue.parent = e->parent;
    event.u.enqueue.name = action->name;
    event.u.enqueue.spec = spec_for(e, action);
    event.u.enqueue.priority = e->request->priority;
    event.u.enqueue.queue = e->queue;
    event.u.enqueue.shell = creating;
    if (e->spec->traits.flyte) {
        struct cp_result_query query = {.project = e->run->project,
                                        .domain = e->run->domain,
                                        .name = action->name,
                                        .run_spec = cp_run_spec(p, e->run),
                                        .again_in = creating->again ? e->run->id : 0,
                                        .spec = e->spec,
                                        .flyte = e->request->flyte};
        query.in_project = cp_cache_in_project(query.run_spec);
        event.u.enqueue.cache_key = cp_serial_key(&query, &key);
        event.u.enqueue.instant = cp_find_result(p, &query, &ending);
    }
    if (event.u.enqueue.instant)
        cp_step_ending(p, &event, &ending);
    else
        cp_step(p, &event);
}

/* All of them are new. False: the core refused it. */
static bool create_gang(struct enqueue *e)
{
    struct cp_partition *p = e->p;
    const struct cp_enqueue *request = e->request;
    size_t count = request->count;
    struct sch_gang_member *members = sy_arena_alloc(&p->open->arena, count * sizeof(*members));
    struct cp_creating *creating = sy_arena_alloc(&p->open->arena, count * sizeof(*creating));
    SY_ASSERT(members && creating);
    for (size_t i = 0; i < count; i++) {
        const struct cp_new_action *action = &request->actions[i];
        creating[i] = (struct cp_creating){.row = {.group = request->group,
                                                   .queue = request->queue,
                                                   .input = action->input,
                                                   .input_uri = action->input_uri}};
        members[i] = (struct sch_gang_member){action->name, spec_for(e, action), &creating[i]};
    }
    cp_step(p, &(struct sch_event){.type = SCH_EVENT_ENQUEUE_GANG,
                                   .u.gang = {.parent = e->parent,
                                              .shape = &request->gang->shape,
                                              .on_loss = request->gang->on_loss,
                                              .members = members,
                                              .priority = request->priority,
                                              .queue = e->queue}});
    if (p->was_rejected)
        return fail(e, cp_explain_rejection(p, &e->error));
    e->result->created = (uint32_t)count;
    return true;
}

/* False: its queue takes no more of them, is not there, or has no cluster that could run them. */
static bool create(struct enqueue *e)
{
    struct cp_partition *p = e->p;
    const struct cp_enqueue *request = e->request;
    struct cp_creating creating = {
        .row = {.group = request->group, .flyte = request->flyte, .queue = request->queue}};
    for (size_t i = 0; i < request->count; i++) {
        if (e->names && e->names[i] == NAME_EXISTS)
            continue;
        create_one(e, i, &creating);
        if (!p->was_rejected) {
            e->result->created++;
            continue;
        }
        if (p->rejected == SCH_REJECT_QUEUE_FULL || p->rejected == SCH_REJECT_NO_QUEUE ||
            p->rejected == SCH_REJECT_INFEASIBLE)
            return fail(e, cp_explain_rejection(p, &e->error));
        /* A name that comes twice in one call: the second finds the first. All else was checked. */
        SY_ASSERT(p->rejected == SCH_REJECT_EXISTS && p->rejected_action);
        note_existing(e, i, cp_phase_of(p->rejected_action->sm.state, 0));
    }
    return true;
}

int cp_gang_read(struct cp_gang *ret, const Switchyard__V1__Gang *message, size_t actions,
                 struct sy_error_text *error)
{
    struct cp_gang gang = {.on_loss = (enum sch_on_loss)message->on_loss};
    int r = sch_gang_shape_init(&gang.shape, actions, (uint32_t)message->topology,
                                message->topology_key, (uint32_t)message->on_loss, error);
    if (r == 0)
        *ret = gang;
    return r;
}

void cp_partition_enqueue(struct cp_partition *p, const struct cp_enqueue *request,
                          cp_enqueued_fn done, void *ctx)
{
    struct enqueue e = {.p = p, .request = request};
    e.code = cp_refused(p, &e.error);
    e.result = sy_arena_alloc(&p->open->arena, sizeof(*e.result));
    SY_ASSERT(e.result);
    *e.result = (struct cp_enqueued){0};
    if (e.code == SY_CODE_OK && check(&e))
        e.code = SY_CODE_OK;
    if (e.code == SY_CODE_OK) {
        if (e.spec)
            e.spec->pins++;
        bool new_gang = request->gang && e.result->existing_count == 0;
        bool whole = new_gang ? create_gang(&e) : create(&e);
        if (e.result->created > 0)
            cp_store_spec(p, e.spec);
        if (e.spec)
            e.spec->pins--;
        if (whole && request->seal && e.parent)
            cp_step(p, &(struct sch_event){.type = SCH_EVENT_SEAL, .u.seal.action = e.parent});
        e.result->existing = e.existing;
    }
    struct cp_item *item = cp_group_add(p, CP_ITEM_ENQUEUED);
    if (request->patient)
        cp_group_add_caller(p);
    else
        p->open->urgent = true;
    item->u.enqueued.fn = done;
    item->u.enqueued.ctx = ctx;
    item->u.enqueued.result = e.result;
    item->u.enqueued.status = cp_status_in(&p->open->arena, e.code, e.error.text);
}
