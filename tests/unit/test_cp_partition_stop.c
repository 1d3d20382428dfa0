/* links: cp */
/* Attempts that their agents stop, in a partition's shell: what it promises with an echo, and which
 * leases it takes them with. */
#include "cp_partition_world.h"
#include "proto/pb.h"

static struct world *world_with_root(struct world *w)
{
    struct answer answer;
    world_run(w, 50 * MS); /* it opens */
    create_run(w, "r1", "", "switchyard.group", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    return w;
}

static void send_probe(struct world *w, uint64_t number)
{
    OperatorMessage m = SWITCHYARD__INTERNAL__OPERATOR_MESSAGE__INIT;
    Switchyard__Internal__Probe probe = SWITCHYARD__INTERNAL__PROBE__INIT;
    probe.number = number;
    m.probe = &probe;
    operator_send(w, &m);
}

static void enqueue_stops(struct world *w, const char *name, struct answer *answer)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf plain = make_spec("switchyard.process", 0, "100m");
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor, &arena,
                                                sy_buf_span(&plain));
    ck_assert_ptr_nonnull(spec);
    Flyteidl2__Core__KeyValuePair env = FLYTEIDL2__CORE__KEY_VALUE_PAIR__INIT, *list[] = {&env};
    env.key = (char *)(uintptr_t) "SWITCHYARD_ON_PARTITION";
    env.value = (char *)(uintptr_t) "stop-on-agent";
    spec->task_template->container->env = list;
    spec->task_template->container->n_env = 1;
    cp_row_pack(&bytes, &spec->base);
    sy_arena_deinit(&arena);
    const struct cp_new_action action = {.name = name};
    struct cp_enqueue request = {.project = "p",
                                 .domain = "d",
                                 .run = "r1",
                                 .parent = "a0",
                                 .task_spec = sy_buf_span(&bytes),
                                 .actions = &action,
                                 .count = 1};
    *answer = (struct answer){0};
    cp_partition_enqueue(w->p, &request, on_enqueued, answer);
}

START_TEST(an_echo_needs_no_commit)
{
    struct world *w = world_with_root(world_new());
    world_run(w, 50 * MS);
    cp_mem_disk_set(w->disk, SY_NS_PER_S, -1);
    send_probe(w, 1);
    world_run(w, 5 * MS);
    ck_assert_uint_eq(w->echoed, 1);
    send_probe(w, 2);
    send_probe(w, 3);
    world_run(w, 5 * MS);
    ck_assert_uint_eq(w->echoed, 3);
    world_free(w);
}
END_TEST

/* What the partition does not want is told when it is durable that it does not: the echo of what
 * came after it must not be there before. */
START_TEST(an_echo_does_not_overtake_a_cancel)
{
    struct world *w = world_with_root(world_new());
    struct answer answer = {0};
    const struct cp_new_action action = {.name = "hold1"};
    enqueue(w, "r1", "a0", &action, 1, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 50 * MS);
    cp_mem_disk_set(w->disk, 300 * MS, -1);
    answer = (struct answer){0};
    cp_partition_abort(w->p, "p", "d", "r1", "hold1", "not needed", on_answer, &answer);
    world_run(w, 5 * MS);
    send_probe(w, 1);
    world_run(w, 200 * MS);
    ck_assert_uint_eq(w->echoed, 0);
    ck_assert_uint_eq(w->cancels, 0);
    world_run(w, 300 * MS);
    ck_assert_uint_eq(w->echoed, 1);
    ck_assert_uint_eq(w->echoed_cancels, 1);
    world_free(w);
}
END_TEST

/* Another shard may have it by now, and knows nothing of who is heard here. */
START_TEST(no_echo_without_the_right)
{
    struct world *w = world_new();
    _Atomic int64_t until_ns = SY_TIME_NEVER;
    world_crash(w);
    w->options.right_until_ns = &until_ns;
    world_start(w);
    world_with_root(w);
    send_probe(w, 1);
    world_run(w, 5 * MS);
    ck_assert_uint_eq(w->echoed, 1);
    atomic_store(&until_ns, w->now_ns);
    send_probe(w, 2);
    w->offline = true;
    world_run(w, 50 * MS);
    ck_assert_uint_eq(w->echoed, 1);
    world_free(w);
}
END_TEST

START_TEST(leases_are_looked_at_with_the_submit)
{
    for (int short_by = 0; short_by < 2; short_by++) {
        struct world *w = world_new();
        struct answer answer;
        world_crash(w);
        w->options.cluster_lease_ns = 1000 * MS - short_by;
        world_start(w);
        world_with_root(w);
        enqueue_stops(w, "hold1", &answer);
        if (short_by) {
            expect(w, &answer, SY_CODE_INVALID_ARGUMENT,
                   "stop-on-agent needs a cluster_lease of 1000 ms or more");
        } else {
            expect(w, &answer, SY_CODE_OK, "");
            world_run(w, 50 * MS);
            ck_assert_uint_eq(w->stops, 1);
        }
        world_free(w);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {an_echo_needs_no_commit, an_echo_does_not_overtake_a_cancel,
                                  no_echo_without_the_right, leases_are_looked_at_with_the_submit,
                                  NULL};
    return sy_test_run("cp_partition_stop", tests);
}
