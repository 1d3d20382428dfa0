/* One run on cp_partition_world.h, whose client and root task try again until it has ended, and
 * what must be so then. */
#pragma once

#include "cp_partition_world.h"

#define CHILDREN 10

/* ---- a job: a root task that makes children in two calls and waits for them ---- */

struct job {
    uint64_t round; /* each start of the root's program; answers to an older one are ignored */
    uint64_t got;   /* children that the current root attempt was told */
    struct answer create;
    bool created; /* it was acknowledged */
};

static void job_enqueue(struct world *w, const struct attempt *root, uint64_t call, unsigned first)
{
    Switchyard__V1__EnqueueActionsRequest m = SWITCHYARD__V1__ENQUEUE_ACTIONS_REQUEST__INIT;
    Switchyard__V1__NewAction actions[CHILDREN / 2], *list[CHILDREN / 2];
    char names[CHILDREN / 2][8];
    SY_CLEANUP(sy_buf_deinit) struct sy_buf spec = make_spec("switchyard.process", 0, "100m");
    for (unsigned i = 0; i < CHILDREN / 2; i++) {
        switchyard__v1__new_action__init(&actions[i]);
        snprintf(names[i], sizeof(names[i]), "c%02u", first + i);
        actions[i].name = names[i];
        actions[i].input.data = (uint8_t *)names[i];
        actions[i].input.len = strlen(names[i]);
        list[i] = &actions[i];
    }
    m.task_spec.data = spec.data;
    m.task_spec.len = spec.len;
    m.actions = list;
    m.n_actions = CHILDREN / 2;
    operator_call(w, root, call, "switchyard.v1.ActionService/EnqueueActions", &m.base);
}

static void job_wait(struct world *w, const struct attempt *root, uint64_t after)
{
    Switchyard__V1__WaitChildrenRequest m = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    m.after = after;
    m.max = 4;
    operator_call(w, root, ((const struct job *)w->ctx)->round * 4 + 3, "WaitChildren", &m.base);
}

static void job_root(struct world *w, struct attempt *root)
{
    struct job *job = w->ctx;
    job->got = 0;
    job->round++;
    job_enqueue(w, root, job->round * 4 + 1, 0);
}

static void job_waited(struct world *w, struct attempt *root, const ProtobufCBinaryData *body)
{
    struct job *job = w->ctx;
    Switchyard__V1__WaitChildrenResponse *m = switchyard__v1__wait_children_response__unpack(
        NULL, body->len, body->data);
    ck_assert_ptr_nonnull(m);
    for (size_t i = 0; i < m->n_children; i++) {
        const Switchyard__V1__ChildOutcome *child = m->children[i];
        ck_assert_int_eq(child->phase, PHASE(SUCCEEDED));
        ck_assert_uint_eq(child->output.len, 3);
        ck_assert_mem_eq(child->output.data, child->name, 3);
    }
    job->got += m->n_children;
    ck_assert_uint_eq(m->next, job->got);
    ck_assert(m->n_children > 0 || m->running > 0 || job->got == CHILDREN);
    if (job->got == CHILDREN)
        operator_end(w, root, SCH_OUTCOME_SUCCEEDED);
    else
        job_wait(w, root, m->next);
    switchyard__v1__wait_children_response__free_unpacked(m, NULL);
}

static void job_reply(struct world *w, const Switchyard__Internal__TaskReply *reply)
{
    struct attempt *root = operator_find(w, reply->action, reply->number, reply->epoch);
    ck_assert_ptr_nonnull(root);
    const struct job *job = w->ctx;
    if (root->ended || reply->call / 4 != job->round)
        return;
    if (reply->code != SY_CODE_OK) {
        ck_assert(reply->code == SY_CODE_UNAVAILABLE || reply->code == SY_CODE_RESOURCE_EXHAUSTED ||
                  reply->code == SY_CODE_FAILED_PRECONDITION);
        w->retry_root = true;
        return;
    }
    if (reply->call % 4 == 1)
        job_enqueue(w, root, reply->call + 1, CHILDREN / 2);
    else if (reply->call % 4 == 2)
        job_wait(w, root, 0);
    else
        job_waited(w, root, &reply->body);
}

static void job_create(struct world *w)
{
    struct job *job = w->ctx;
    create_run(w, "r1", "request-1", "switchyard.process", &job->create);
}

static bool job_ended(struct world *w)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    struct cp_run_view run;
    bool ended = w->p && cp_partition_serving(w->p) &&
                 cp_partition_get_run(w->p, &arena, "p", "d", "r1", &run) == 0 &&
                 run.row->phase != PHASE(UNSPECIFIED);
    sy_arena_deinit(&arena);
    return ended;
}

/* One step, with the client's retries. */
static void job_step(struct world *w)
{
    struct job *job = w->ctx;
    ck_assert(world_step(w, w->now_ns + 10 * SY_NS_PER_S));
    if (job->created)
        return;
    if (job->create.calls == 1 && job->create.code == SY_CODE_OK) {
        job->created = true;
    } else if (job->create.calls == 1) {
        ck_assert(job->create.code == SY_CODE_UNAVAILABLE ||
                  job->create.code == SY_CODE_RESOURCE_EXHAUSTED);
        world_run(w, 10 * MS);
        job_create(w);
    }
}

static struct world *job_start(struct job *job)
{
    struct world *w = world_new();
    *job = (struct job){.got = 0};
    w->ctx = job;
    w->on_root = job_root;
    w->on_reply = job_reply;
    job_create(w);
    return w;
}

static void ignore(void *ctx)
{
    (void)ctx;
}

/* Every child ended well, exactly once, and the log says so without a gap. */
static void job_check(struct world *w)
{
    world_run(w, 300 * MS);
    for (size_t i = 0; i < w->attempt_count; i++)
        ck_assert_msg(!w->attempts[i].ended || w->attempts[i].acked, "%s", w->attempts[i].name);
    struct sy_arena arena;
    sy_arena_init(&arena, 16 << 20);
    struct cp_watch *watch = cp_watch_run(w->p, run_id(w, "r1"), 0, ignore, NULL);
    Switchyard__V1__Event **events;
    size_t count;
    bool ended;
    ck_assert_int_eq(cp_watch_read_events(watch, &arena, 1 << 20, &events, &count, &ended), 0);
    ck_assert(ended);
    unsigned finals[CHILDREN + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(events[i]->sequence, i + 1);
        unsigned index = strcmp(events[i]->action, "a0") == 0
                             ? CHILDREN
                             : (unsigned)strtoul(events[i]->action + 1, NULL, 10);
        ck_assert_uint_le(index, CHILDREN);
        ck_assert_uint_eq(finals[index], 0);
        if (events[i]->phase >= PHASE(SUCCEEDED)) {
            ck_assert_int_eq(events[i]->phase, PHASE(SUCCEEDED));
            finals[index]++;
        }
    }
    for (unsigned i = 0; i <= CHILDREN; i++)
        ck_assert_uint_eq(finals[i], 1);
    cp_watch_free(watch);
    sy_arena_deinit(&arena);
    ck_assert_uint_eq(cp_partition_counts(w->p).runs_live, 0);
}

static void job_finish(struct world *w)
{
    int64_t give_up_ns = w->now_ns + 60 * SY_NS_PER_S;
    while (!job_ended(w)) {
        job_step(w);
        ck_assert_int_lt(w->now_ns, give_up_ns);
    }
    job_check(w);
}
