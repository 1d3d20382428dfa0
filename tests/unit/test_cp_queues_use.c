/* links: cp */
/* How actions find their queues, and that what is configured is in force. */
#include "tests/unit/cp_queue_requests.h"

static const Switchyard__V1__QueueStatus *status(struct world *w, const char *project,
                                                 const char *domain, const char *name)
{
    return queue_get(w, project, domain, name)->status;
}

static uint64_t actions_in(struct world *w, const char *project, const char *domain,
                           const char *name)
{
    return status(w, project, domain, name)->actions;
}

/* A run p/d/NAME whose root needs no worker. */
static void create_group(struct world *w, const char *name, const char *queue)
{
    struct create_request c;
    create_init(w, &c, name, "switchyard.group");
    c.run_spec.queue = text_of(queue);
    call_ok(w, RUN "CreateRun", &c.request.base, NULL);
}

static enum sy_code enqueue(struct world *w, const char *run, const char *queue, unsigned first,
                            unsigned count, struct sy_error_text *ret_text)
{
    static struct batch b;
    batch_init(w, &b, run, "a0", first, count);
    b.request.queue = text_of(queue);
    struct call call = {.method = NATIVE "EnqueueActions", .request = &b.request.base};
    return call_full(w, &call, NULL, NULL, ret_text);
}

static void enqueue_ok(struct world *w, const char *run, const char *queue, unsigned first,
                       unsigned count)
{
    struct sy_error_text text;
    enum sy_code code = enqueue(w, run, queue, first, count, &text);
    ck_assert_msg(code == SY_CODE_OK, "%s", text.text);
}

static void set_paused(struct world *w, const char *name, bool paused)
{
    struct queue_request q;
    queue_init(&q, "p", "d", name);
    queue_call(w, paused ? QUEUES "PauseQueue" : QUEUES "ResumeQueue", &q);
}

/* A queue of p/d with a limit; `q` can change it afterwards. */
static void create_limited(struct world *w, struct queue_request *q, const char *domain,
                           const char *name, uint64_t actions_max)
{
    queue_init(q, "p", domain, name);
    q->settings.actions_max = actions_max;
    queue_call(w, QUEUES "CreateQueue", q);
}

/* A run that has so many actions in its queue. */
static void fan_out(struct world *w, const char *run, const char *queue, unsigned count)
{
    create_group(w, run, queue);
    enqueue_ok(w, run, "", 0, count);
}

/* So many runs that there is one in every partition: "r0", "r1", ... */
#define RUNS 9
static const char *run_name(unsigned i)
{
    static const char *const names[RUNS] = {"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8"};
    ck_assert_uint_lt(i, RUNS);
    return names[i];
}

/* How many attempts the operators have been given. */
static size_t assigned_now(struct world *w)
{
    size_t count = 0;
    for (uint32_t i = 0; i < w->partitions; i++)
        count += w->streams[i].count;
    return count;
}

static size_t assigned_soon(struct world *w)
{
    world_for(w, SY_NS_PER_S);
    return assigned_now(w);
}

static uint64_t out_soon(struct world *w, const char *name)
{
    world_for(w, SY_NS_PER_S);
    return status(w, "p", "d", name)->out;
}

/* What the core of each partition has is what its rows say. */
struct told {
    struct world *w;
    size_t count;
};

static bool check_view(void *ctx, const struct sch_queue_view *view)
{
    struct told *told = ctx;
    const struct sch_queue_key *key = &view->config->key;
    if (!view->configured)
        return true;
    const Switchyard__V1__Queue *queue = queue_get(told->w, key->project, key->domain, key->name);
    ck_assert_uint_gt(queue->revision, 0);
    ck_assert_uint_eq(queue->settings->weight, view->config->weight);
    ck_assert_str_eq(queue->settings->parent, view->config->parent);
    ck_assert_int_eq(queue->settings->paused, view->config->paused);
    told->count++;
    return true;
}

static void cores_agree(struct world *w)
{
    size_t rows = queues_agree(w);
    for (uint32_t i = 0; i < w->partitions; i++) {
        struct told told = {.w = w};
        cp_partition_each_queue(cp_shard_partition(w->shard, i), check_view, &told);
        ck_assert_uint_eq(told.count, rows);
    }
}

START_TEST(the_nearest_queue_of_that_name)
{
    struct world w;
    world_init_for(&w, _i);
    queue_create(&w, "p", "d", "near");
    queue_create(&w, "p", "", "near");
    queue_create(&w, "", "", "near");
    queue_create(&w, "p", "", "mid");
    queue_create(&w, "", "", "mid");
    queue_create(&w, "", "", "far");
    for (unsigned i = 0; i < RUNS; i++) {
        const char *run = run_name(i);
        create_group(&w, run, "mid");
        set_paused(&w, "near", true);
        enqueue_ok(&w, run, "near", 0, 1);
        enqueue_ok(&w, run, "", 10, 2);
        enqueue_ok(&w, run, "far", 20, 4);
        enqueue_ok(&w, run, "default", 30, 8);
    }
    for (int restarts = 0; restarts < 2; restarts++) {
        ck_assert_uint_eq(actions_in(&w, "p", "d", "near"), 9);
        ck_assert_uint_eq(actions_in(&w, "p", "", "near"), 0);
        ck_assert_uint_eq(actions_in(&w, "", "", "near"), 0);
        ck_assert_uint_eq(actions_in(&w, "p", "", "mid"), 18);
        ck_assert_uint_eq(actions_in(&w, "", "", "mid"), 0);
        ck_assert_uint_eq(actions_in(&w, "", "", "far"), 36);
        ck_assert_uint_eq(actions_in(&w, "p", "d", "default"), 72);
        cores_agree(&w);
        world_restart(&w);
    }
    world_deinit(&w);
}
END_TEST

/* A queue of its name that is made later is not its own, whenever the shard starts. */
START_TEST(a_nearer_queue_takes_nothing_over)
{
    struct world w;
    world_init_for(&w, _i);
    queue_create(&w, "", "", "far");
    queue_create(&w, "p", "", "mid");
    for (size_t i = 0; i < 9; i++) {
        char run[] = {'r', (char)('0' + i), '\0'};
        create_group(&w, run, "mid");
        enqueue_ok(&w, run, "far", 0, 2);
        enqueue_ok(&w, run, "", 10, 1);
    }
    queue_create(&w, "p", "d", "far");
    queue_create(&w, "p", "d", "mid");
    for (int restarts = 0; restarts < 2; restarts++) {
        ck_assert_uint_eq(actions_in(&w, "", "", "far"), 18);
        ck_assert_uint_eq(actions_in(&w, "p", "d", "far"), 0);
        ck_assert_uint_eq(actions_in(&w, "p", "", "mid"), 9);
        ck_assert_uint_eq(actions_in(&w, "p", "d", "mid"), 0);
        world_restart(&w);
    }
    world_deinit(&w);
}
END_TEST

START_TEST(an_unknown_queue_is_refused)
{
    struct world w;
    world_init_for(&w, _i);
    struct create_request c;
    create_init(&w, &c, "r", "switchyard.process");
    c.run_spec.queue = text_of("nowhere");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "nowhere");
    c.run_spec.queue = text_of("no/name");
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "run_spec.queue");
    char longer[] = "a234567890123456789012345678901234567890123456789012345678901234";
    c.run_spec.queue = longer;
    call_fails(&w, RUN "CreateRun", &c.request.base, SY_CODE_INVALID_ARGUMENT, "run_spec.queue");
    create_group(&w, "r", "");
    struct sy_error_text text;
    ck_assert_int_eq(enqueue(&w, "r", "nowhere", 0, 3, &text), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(text.text, "nowhere"));
    struct enqueue_request e;
    enqueue_init(&w, &e, "r", "a0", "child");
    e.task.queue = text_of("nowhere");
    call_fails(&w, ACTIONS "Enqueue", &e.request.base, SY_CODE_INVALID_ARGUMENT, "nowhere");
    ck_assert_uint_eq(actions_in(&w, "p", "d", "default"), 0);
    queue_create(&w, "p", "d", "nowhere");
    set_paused(&w, "nowhere", true);
    call_ok(&w, ACTIONS "Enqueue", &e.request.base, NULL);
    ck_assert_uint_eq(actions_in(&w, "p", "d", "nowhere"), 1);
    world_restart(&w); /* it is in its own queue, not in its run's */
    ck_assert_uint_eq(actions_in(&w, "p", "d", "nowhere"), 1);
    world_deinit(&w);
}
END_TEST

/* What has room is taken; the repeat of the call takes the rest. */
START_TEST(a_full_queue_cuts_a_batch)
{
    struct world w;
    world_init_for(&w, _i);
    struct queue_request q;
    queue_init(&q, "p", "d", "short");
    q.settings.length_max = 3;
    q.settings.paused = true;
    queue_call(&w, QUEUES "CreateQueue", &q);
    create_group(&w, "r", "short");
    struct sy_error_text text;
    ck_assert_int_eq(enqueue(&w, "r", "", 0, 10, &text), SY_CODE_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull(strstr(text.text, "short"));
    ck_assert_ptr_nonnull(strstr(text.text, "retry"));
    ck_assert_uint_eq(actions_in(&w, "p", "d", "short"), 3);
    ck_assert_int_eq(enqueue(&w, "r", "", 0, 10, &text), SY_CODE_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq(actions_in(&w, "p", "d", "short"), 3);
    w.automatic = true;
    set_paused(&w, "short", false);
    world_until(&w, enqueue(&w, "r", "", 0, 10, &text) == SY_CODE_OK);
    world_until(&w, actions_in(&w, "p", "d", "short") == 0);
    Switchyard__V1__WaitChildrenRequest wait = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    struct run_ids ids;
    ids_init(&ids, "r", "a0");
    wait.run = &ids.native;
    wait.parent = ids.action.name;
    size_t ended = 0;
    for (uint64_t running = 1; running > 0;) {
        const Switchyard__V1__WaitChildrenResponse *children = call_ok(
            &w, NATIVE "WaitChildren", &wait.base,
            &switchyard__v1__wait_children_response__descriptor);
        ended += children->n_children;
        running = children->running;
        wait.after = children->next;
    }
    ck_assert_uint_eq(ended, 10); /* each once */
    world_deinit(&w);
}
END_TEST

START_TEST(limits_and_pauses_are_in_force)
{
    struct world w;
    world_init(&w, 1);
    struct queue_request q;
    create_limited(&w, &q, "d", "two", 2);
    fan_out(&w, "r", "two", 5);
    ck_assert_uint_eq(assigned_soon(&w), 2);
    const Switchyard__V1__QueueStatus *now = status(&w, "p", "d", "two");
    ck_assert_uint_eq(now->actions, 5);
    ck_assert_uint_eq(now->out, 2);
    ck_assert_uint_eq(now->out_amounts->cpu_milli, 2000);
    set_paused(&w, "two", true);
    finish_task(&w, "n-000000", OUTCOME(SUCCEEDED));
    ck_assert_uint_eq(assigned_soon(&w), 2); /* nothing new */
    set_paused(&w, "two", false);
    ck_assert_uint_eq(assigned_soon(&w), 3);

    char *fields[] = {text_of("actions_max")};
    q.request.n_fields = 1;
    q.request.fields = fields;
    q.settings.actions_max = 1; /* below what is out: that goes on */
    queue_call(&w, QUEUES "UpdateQueue", &q);
    ck_assert_uint_eq(out_soon(&w, "two"), 2);
    finish_task(&w, "n-000001", OUTCOME(SUCCEEDED));
    ck_assert_uint_eq(out_soon(&w, "two"), 1);
    q.settings.actions_max = 0;
    queue_call(&w, QUEUES "UpdateQueue", &q);
    ck_assert_uint_eq(out_soon(&w, "two"), 3);

    q.request.settings = NULL;
    q.request.n_fields = 0;
    call_fails(&w, QUEUES "DeleteQueue", &q.request.base, SY_CODE_FAILED_PRECONDITION, "ended (3)");
    w.automatic = true;
    finish_task(&w, "n-000002", OUTCOME(SUCCEEDED));
    finish_task(&w, "n-000003", OUTCOME(SUCCEEDED));
    finish_task(&w, "n-000004", OUTCOME(SUCCEEDED));
    world_until(&w, actions_in(&w, "p", "d", "two") == 0);
    queue_delete(&w, "p", "d", "two");
    cores_agree(&w);
    world_deinit(&w);
}
END_TEST

/* After a restart all that wait might be out: more than the limit, until inventories tell. */
START_TEST(a_limit_holds_over_restarts)
{
    struct world w;
    world_init_for(&w, _i);
    struct queue_request q;
    create_limited(&w, &q, "d", "few", 5);
    for (unsigned i = 0; i < RUNS; i++)
        fan_out(&w, run_name(i), "few", 2);
    for (int restarts = 0; restarts < 5; restarts++) {
        for (int i = 0; i < 50; i++) {
            world_for(&w, 100 * SY_NS_PER_MS);
            ck_assert_uint_le(assigned_now(&w), 5);
        }
        ck_assert_uint_eq(assigned_now(&w), 5);
        ck_assert_uint_eq(actions_in(&w, "p", "d", "few"), 18);
        cp_shard_free(w.shard);
        world_start_shard(&w);
        world_for(&w, 2 * SY_NS_PER_S); /* no operator: all may be out, and say so */
        world_restart(&w);
    }
    world_deinit(&w);
}
END_TEST

/* The level above a project's queues has limits too, and may go while they are used. */
START_TEST(a_project_is_limited)
{
    struct world w;
    world_init(&w, 1);
    struct queue_request q;
    create_limited(&w, &q, "", "", 1);
    fan_out(&w, "r", "", 3);
    ck_assert_uint_eq(assigned_soon(&w), 1);
    ck_assert_uint_eq(actions_in(&w, "p", "", ""), 3);
    queue_delete(&w, "p", "", "");
    ck_assert_uint_eq(assigned_soon(&w), 3);
    world_deinit(&w);
}
END_TEST

/* A cluster could run it, but none that the queue may use. */
START_TEST(a_queue_without_a_cluster_refuses)
{
    struct world w;
    world_init(&w, 1);
    struct queue_request q;
    char *clusters[] = {text_of("elsewhere")};
    queue_init(&q, "p", "d", "narrow");
    q.settings.clusters = clusters;
    q.settings.n_clusters = 1;
    queue_call(&w, QUEUES "CreateQueue", &q);
    create_group(&w, "r", "");
    struct sy_error_text text;
    ck_assert_int_eq(enqueue(&w, "r", "narrow", 0, 3, &text), SY_CODE_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(text.text, "not one of those that the queue may use"));
    ck_assert_uint_eq(actions_in(&w, "p", "d", "narrow"), 0);
    enqueue_ok(&w, "r", "", 0, 3);
    ck_assert_uint_eq(assigned_soon(&w), 3);
    queue_init(&q, "p", "d", "default"); /* it has actions, but nobody created it */
    q.request.settings = NULL;
    call_fails(&w, QUEUES "DeleteQueue", &q.request.base, SY_CODE_NOT_FOUND, "does not exist");
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {the_nearest_queue_of_that_name, a_nearer_queue_takes_nothing_over,
                                 an_unknown_queue_is_refused,    a_full_queue_cuts_a_batch,
                                 a_limit_holds_over_restarts,    NULL};
    const TTest *const once[] = {limits_and_pauses_are_in_force, a_project_is_limited,
                                 a_queue_without_a_cluster_refuses, NULL};
    return world_tests("cp_queues_use", each, once);
}
