/*
 * Calls of running tasks, relayed by agent and operator: enqueue children, wait for them. The
 * parent and the run are those of the attempt, whatever the body says; only the current attempt may
 * call.
 */
#include "controlplane/partition_impl.h"

#include "proto/pb.h"
#include "switchyard/v1/action_service.pb-c.h"

#define CALLS_MAX 100000 /* waiting, on one stream */
#define WAIT_NS (30 * SY_NS_PER_S)
#define CHILDREN_DEFAULT 1000
#define CHILDREN_MAX 4096
#define REPLY_BYTES ((size_t)1 << 20) /* about */
#define READ_ARENA_MAX ((size_t)64 << 20)
#define SLICE 128 /* outcomes that are read at a time */

struct cp_task_call {
    struct cp_task_call *prev, *next; /* operator->calls */
    struct cp_partition *p;
    struct cp_operator *o; /* NULL: the stream is gone; then in p->orphan_calls */
    struct cp_attempt attempt;
    uint64_t call;
    bool enqueuing; /* the partition will call back */
    /* WaitChildren */
    struct cp_watch *watch;
    struct sy_timer timer;
    uint64_t run_id, after;
    size_t max;
};

static void call_free(struct cp_task_call *c)
{
    if (c->o) {
        DL_DELETE(c->o->calls, c);
        c->o->call_count--;
        sy_timer_stop(c->o->p->loop, &c->timer);
    }
    cp_watch_free(c->watch);
    free(c);
}

/* The partition still calls back for those that enqueue. */
void cp_task_calls_drop(struct cp_operator *o)
{
    struct cp_task_call *next;
    for (struct cp_task_call *c = o->calls; c; c = next) {
        next = c->next;
        if (!c->enqueuing) {
            call_free(c);
            continue;
        }
        DL_DELETE(o->calls, c);
        o->call_count--;
        c->o = NULL;
        DL_APPEND(o->p->orphan_calls, c);
    }
    SY_ASSERT(o->call_count == 0);
}

void cp_task_calls_free_orphans(struct cp_partition *p)
{
    while (p->orphan_calls) {
        struct cp_task_call *c = p->orphan_calls;
        DL_DELETE(p->orphan_calls, c);
        free(c);
    }
}

/* ---- answers ---- */

static void reply(struct cp_operator *o, const struct cp_attempt *attempt, uint64_t call,
                  enum sy_code code, const char *message, struct sy_span body)
{
    struct sy_buf out = {0};
    cp_put_uint(&out, 1, cp_issued_as(o->p, attempt->epoch));
    cp_put_fixed64(&out, 2, attempt->action_id);
    cp_put_uint(&out, 3, attempt->number);
    cp_put_uint(&out, 4, attempt->epoch);
    cp_put_uint(&out, 5, call);
    cp_put_uint(&out, 6, (uint64_t)code);
    cp_put_str(&out, 7, message);
    cp_put_bytes(&out, 8, body.data, body.len);
    cp_operator_reply(o, &out);
}

static void fail(struct cp_task_call *c, enum sy_code code, const char *message)
{
    reply(c->o, &c->attempt, c->call, code, message, (struct sy_span){0});
    call_free(c);
}

/* ---- EnqueueActions ---- */

static void encode_enqueued(struct sy_buf *out, const struct cp_enqueued *result)
{
    cp_put_uint(out, 1, result->created);
    for (size_t i = 0; i < result->existing_count; i++) {
        size_t begin = cp_put_begin(out, 2);
        cp_put_uint(out, 1, result->existing[i].index);
        cp_put_uint(out, 2, result->existing[i].phase);
        cp_put_end(out, begin);
    }
}

static void on_enqueued(void *ctx, const struct sy_status *status, const struct cp_enqueued *result)
{
    struct cp_task_call *c = ctx;
    c->enqueuing = false;
    if (!c->o) {
        DL_DELETE(c->p->orphan_calls, c);
        free(c);
        return;
    }
    SY_CLEANUP(sy_buf_deinit) struct sy_buf body = {0};
    if (status->code == SY_CODE_OK)
        encode_enqueued(&body, result);
    reply(c->o, &c->attempt, c->call, status->code, status->message.text, sy_buf_span(&body));
    call_free(c);
}

static void enqueue(struct cp_task_call *c, const struct sch_action *action, struct sy_span body)
{
    struct cp_partition *p = c->p;
    struct sy_arena *arena = &p->message_arena;
    const Switchyard__V1__EnqueueActionsRequest *m = CP_UNPACK(
        Switchyard__V1__EnqueueActionsRequest, switchyard__v1__enqueue_actions_request__descriptor,
        arena, body);
    struct cp_new_action *actions = NULL;
    if (m)
        actions = sy_arena_alloc(arena, m->n_actions * sizeof(*actions));
    if (!actions) {
        fail(c, SY_CODE_INVALID_ARGUMENT, "EnqueueActions: a request that cannot be read");
        return;
    }
    if (pb_find_nul(&switchyard__v1__enqueue_actions_request__descriptor, body)) {
        fail(c, SY_CODE_INVALID_ARGUMENT, "EnqueueActions: a NUL byte is not allowed in a string");
        return;
    }
    for (size_t i = 0; i < m->n_actions; i++)
        actions[i] = (struct cp_new_action){
            .name = m->actions[i]->name,
            .input = {m->actions[i]->input.data, m->actions[i]->input.len},
            .input_uri = m->actions[i]->input_uri};
    struct cp_enqueue request = {.project = action->run->project,
                                 .domain = action->run->domain,
                                 .run = action->run->name,
                                 .parent = action->name,
                                 .attempt_action = c->attempt.action_id,
                                 .attempt_number = c->attempt.number,
                                 .attempt_epoch = c->attempt.epoch,
                                 .task_spec = {m->task_spec.data, m->task_spec.len},
                                 .actions = actions,
                                 .count = m->n_actions,
                                 .priority = m->priority,
                                 .seal = m->seal,
                                 .group = m->group,
                                 .queue = m->queue};
    struct cp_gang gang;
    struct sy_error_text error;
    if (m->gang && cp_gang_read(&gang, m->gang, m->n_actions, &error) < 0) {
        fail(c, SY_CODE_INVALID_ARGUMENT, error.text);
        return;
    }
    request.gang = m->gang ? &gang : NULL;
    c->enqueuing = true;
    cp_partition_enqueue(p, &request, on_enqueued, c);
}

/* ---- WaitChildren ---- */

struct child {
    const char *name;
    struct sy_span row; /* OutcomeRow */
};

static int by_name(const void *a, const void *b)
{
    const struct child *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static bool is_at(struct cp_iter *iter, struct sy_span key)
{
    if (!cp_iter_valid(iter))
        return false;
    struct sy_span at = cp_iter_key(iter);
    return at.len == key.len && memcmp(at.data, key.data, key.len) == 0;
}

/* Children mostly end in about the order of their names: read in that order, most outcomes are the
 * next row, which costs a tenth of a lookup. */
static int read_outcomes(struct cp_iter *iter, struct sy_arena *arena, uint64_t run_id,
                         struct child *children, size_t count)
{
    struct child *sorted[SLICE] = {0};
    SY_ASSERT(count <= SLICE);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &children[i];
    qsort(sorted, count, sizeof(struct child *), by_name);
    for (size_t i = 0; i < count; i++) {
        struct cp_key key = cp_key_action(run_id, sorted[i]->name);
        if (i > 0)
            cp_iter_next(iter);
        if (i == 0 || !is_at(iter, cp_key_span(&key)))
            cp_iter_seek_for_prev(iter, cp_key_span(&key));
        if (!is_at(iter, cp_key_span(&key)))
            return cp_iter_error(iter) < 0 ? -EIO : -EBADMSG;
        struct sy_span row = cp_iter_value(iter);
        uint8_t *copy = sy_arena_alloc(arena, row.len);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, row.data, row.len);
        sorted[i]->row = (struct sy_span){copy, row.len};
    }
    return 0;
}

/* As many children as make about REPLY_BYTES, one at least; *ret_count says how many. */
static int encode_children(struct cp_partition *p, uint64_t run_id, const char **names,
                           size_t count, struct sy_buf *out, size_t *ret_count)
{
    struct cp_key from = cp_key_run(run_id), to = cp_key_run(run_id + 1);
    struct cp_iter *iter = cp_iter_new(p->store, CP_FAMILY_OUTCOMES, cp_key_span(&from),
                                       cp_key_span(&to), false);
    struct sy_arena arena;
    sy_arena_init(&arena, READ_ARENA_MAX);
    int r = 0;
    size_t done = 0;
    while (r == 0 && done < count && out->len < REPLY_BYTES) {
        struct child children[SLICE];
        size_t n = count - done < SLICE ? count - done : SLICE;
        for (size_t i = 0; i < n; i++)
            children[i] = (struct child){.name = names[done + i]};
        sy_arena_reset(&arena);
        r = read_outcomes(iter, &arena, run_id, children, n);
        for (size_t i = 0; r == 0 && i < n && out->len < REPLY_BYTES; i++, done++) {
            struct sy_span name = {(const uint8_t *)children[i].name, strlen(children[i].name)};
            r = cp_row_put_child_outcome(out, name, children[i].row);
        }
    }
    sy_arena_deinit(&arena);
    cp_iter_free(iter);
    *ret_count = done;
    return r;
}

/* Answers when there is something to say, or nothing more will come, or the time is over. */
static void try_answer(struct cp_task_call *c, bool time_is_over)
{
    struct cp_partition *p = c->p;
    struct sy_arena arena;
    sy_arena_init(&arena, READ_ARENA_MAX);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf body = {0};
    const char **names = NULL;
    size_t count = 0, given = 0;
    uint64_t next, running;
    int r = cp_watch_read_children(c->watch, &arena, c->max, &names, &count, &next, &running);
    if (r == 0 && count > 0)
        r = encode_children(p, c->run_id, names, count, &body, &given);
    sy_arena_deinit(&arena);
    if (r == CP_PARTITION_E_NOT_SERVING) {
        fail(c, SY_CODE_UNAVAILABLE, cp_partition_reason(p));
    } else if (r != 0) {
        if (r < 0)
            cp_fail_later(p, r);
        fail(c, SY_CODE_UNAVAILABLE, "the outcomes cannot be read now");
    } else if (given > 0 || running == 0 || time_is_over) {
        cp_put_uint(&body, 2, c->after + given);
        cp_put_uint(&body, 3, running);
        reply(c->o, &c->attempt, c->call, SY_CODE_OK, NULL, sy_buf_span(&body));
        call_free(c);
    }
}

static void on_more(void *ctx)
{
    try_answer(ctx, false);
}

static void on_time_over(void *arg)
{
    try_answer(arg, true);
}

static void wait_children(struct cp_task_call *c, const struct sch_action *action,
                          struct sy_span body)
{
    const Switchyard__V1__WaitChildrenRequest *m = CP_UNPACK(
        Switchyard__V1__WaitChildrenRequest, switchyard__v1__wait_children_request__descriptor,
        &c->p->message_arena, body);
    if (!m) {
        fail(c, SY_CODE_INVALID_ARGUMENT, "WaitChildren: a request that cannot be read");
        return;
    }
    c->run_id = action->run->id;
    c->after = m->after;
    c->max = m->max == 0 ? CHILDREN_DEFAULT : m->max < CHILDREN_MAX ? m->max : CHILDREN_MAX;
    c->watch = cp_watch_children_of(c->p, action, m->after, on_more, c); /* it tells us at once */
    sy_timer_start_in(c->p->loop, &c->timer, WAIT_NS);
}

/* ---- calls ---- */

static const char *last_part(const char *method)
{
    const char *slash = strrchr(method, '/');
    return slash ? slash + 1 : method;
}

/* The action whose current attempt calls; NULL, and why not. */
static const struct sch_action *find_caller(struct cp_partition *p,
                                            const struct cp_attempt *attempt,
                                            enum sy_code *ret_code, const char **ret_why)
{
    const struct sch_action *action =
        attempt->action_id ? sch_partition_find_action_by_id(p->core, attempt->action_id) : NULL;
    *ret_code = SY_CODE_FAILED_PRECONDITION;
    *ret_why = "the attempt that calls is not the current one of its action";
    if (!action)
        return NULL;
    if (action->sm.state == SCH_ACTION_RECOVERING) {
        *ret_code = SY_CODE_UNAVAILABLE;
        *ret_why = "the partition waits for the inventories of its clusters";
        return NULL;
    }
    bool out = action->sm.state == SCH_ACTION_ASSIGNED || action->sm.state == SCH_ACTION_RUNNING;
    bool current = out && action->number == attempt->number &&
                   action->attempt_epoch == attempt->epoch;
    return current ? action : NULL;
}

void cp_task_call(struct cp_operator *o, const Switchyard__Internal__TaskCall *call)
{
    struct cp_partition *p = o->p;
    struct cp_attempt attempt = {call->action, call->number, call->epoch};
    enum sy_code code = cp_refusal(p);
    const char *why = p->reason.text;
    const struct sch_action *action = NULL;
    if (code == SY_CODE_OK)
        action = find_caller(p, &attempt, &code, &why);
    if (action && o->call_count >= CALLS_MAX) {
        action = NULL;
        code = SY_CODE_RESOURCE_EXHAUSTED;
        why = "too many calls of tasks wait for an answer; retry in 1 s";
    }
    if (!action) {
        reply(o, &attempt, call->call, code, why, (struct sy_span){0});
        return;
    }
    struct cp_task_call *c = sy_new(struct cp_task_call);
    c->p = p;
    c->o = o;
    c->attempt = attempt;
    c->call = call->call;
    sy_timer_init(&c->timer, on_time_over, c);
    DL_APPEND(o->calls, c);
    o->call_count++;
    struct sy_span body = {call->body.data, call->body.len};
    const char *method = last_part(call->method);
    if (strcmp(method, "EnqueueActions") == 0)
        enqueue(c, action, body);
    else if (strcmp(method, "WaitChildren") == 0)
        wait_children(c, action, body);
    else
        fail(c, SY_CODE_UNIMPLEMENTED, "tasks may call EnqueueActions and WaitChildren");
}
