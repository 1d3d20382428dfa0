/* links: cp */
/* Gangs through a partition's shell: rows, assignments, and what a restart finds. */
#include "cp_partition_world.h"
#include "proto/pb.h"

static struct world *world_with_root(void)
{
    struct world *w = world_new();
    struct answer answer;
    world_run(w, 50 * MS); /* it opens */
    create_run(w, "r1", "", "switchyard.group", &answer);
    expect(w, &answer, SY_CODE_OK, "");
    return w;
}

static void enqueue_gang_of(struct world *w, struct sy_buf *spec,
                            const struct cp_new_action *actions, size_t count,
                            struct answer *answer)
{
    struct cp_gang gang;
    struct sy_error_text error;
    Switchyard__V1__Gang message = SWITCHYARD__V1__GANG__INIT;
    ck_assert_int_eq(cp_gang_read(&gang, &message, count, &error), 0);
    struct cp_enqueue request = {.project = "p",
                                 .domain = "d",
                                 .run = "r1",
                                 .parent = "a0",
                                 .task_spec = sy_buf_span(spec),
                                 .actions = actions,
                                 .count = count,
                                 .gang = &gang};
    *answer = (struct answer){0};
    cp_partition_enqueue(w->p, &request, on_enqueued, answer);
}

static void enqueue_gang(struct world *w, const char *type, const struct cp_new_action *actions,
                         size_t count, struct answer *answer)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf spec = make_spec(type, 0, "100m");
    enqueue_gang_of(w, &spec, actions, count, answer);
}

static const struct cp_new_action three[] = {
    {.name = "hold0"}, {.name = "hold1", .input = {(const uint8_t *)"in", 2}}, {.name = "hold2"}};

START_TEST(members_are_sent_with_their_ranks)
{
    struct world *w = world_with_root();
    struct answer answer;
    enqueue_gang(w, "switchyard.process", three, 3, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    ck_assert_uint_eq(answer.created, 3);
    world_run(w, 2 * SY_NS_PER_S);
    const struct attempt *first = operator_find_name(w, "hold0");
    ck_assert_ptr_nonnull(first);
    for (uint32_t i = 0; i < 3; i++) {
        const struct attempt *a = operator_find_name(w, three[i].name);
        ck_assert_ptr_nonnull(a);
        ck_assert_uint_eq(a->gang, first->action);
        ck_assert_uint_eq(a->rank, i);
        ck_assert_uint_eq(a->number, 1);
        ck_assert_int_eq(action_phase(w, "r1", a->name), SWITCHYARD__V1__PHASE__PHASE_RUNNING);
    }
    ck_assert_str_eq(operator_find_name(w, "hold1")->input, "in");
    /* The answer was lost: a repeat makes nothing. */
    enqueue_gang(w, "switchyard.process", three, 3, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    ck_assert_uint_eq(answer.created, 0);
    ck_assert_uint_eq(answer.existing_count, 3);
    world_free(w);
}
END_TEST

START_TEST(a_restart_finds_its_members)
{
    struct world *w = world_with_root();
    struct answer answer;
    enqueue_gang(w, "switchyard.process", three, 3, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    world_run(w, 2 * SY_NS_PER_S);
    world_crash(w);
    world_start(w);
    world_run(w, 20 * SY_NS_PER_S);
    cp_partition_check(w->p);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(action_phase(w, "r1", three[i].name),
                         SWITCHYARD__V1__PHASE__PHASE_RUNNING);
    /* They are still one: the end of one is that of all. */
    operator_end(w, operator_find_name(w, "hold1"), SCH_OUTCOME_FAILED);
    world_run(w, SY_NS_PER_S);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(action_phase(w, "r1", three[i].name), SWITCHYARD__V1__PHASE__PHASE_FAILED);
    ck_assert_uint_eq(w->cancels, 2);
    world_free(w);
}
END_TEST

START_TEST(it_is_enqueued_whole)
{
    struct world *w = world_with_root();
    struct answer answer;
    const struct cp_new_action twice[] = {{.name = "b"}, {.name = "a"}, {.name = "b"}};
    enqueue_gang(w, "switchyard.process", twice, 3, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "the name 'b' comes twice");
    enqueue(w, "r1", "a0", &three[1], 1, false, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    enqueue_gang(w, "switchyard.process", three, 3, &answer);
    expect(w, &answer, SY_CODE_ALREADY_EXISTS, "1 of its 3 actions exist already");
    enqueue_gang(w, "switchyard.group", twice, 2, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "expected a switchyard.process");
    enqueue_gang(w, "python", twice, 2, &answer);
    expect(w, &answer, SY_CODE_INVALID_ARGUMENT, "expected a switchyard.process");
    world_free(w);
}
END_TEST

/* With a variable of its container's environment. */
static struct sy_buf spec_with(const char *key, const char *value)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bare = make_spec("switchyard.process", 0, "100m");
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor, &arena,
                                                sy_buf_span(&bare));
    ck_assert_ptr_nonnull(spec);
    Flyteidl2__Core__KeyValuePair pair = FLYTEIDL2__CORE__KEY_VALUE_PAIR__INIT, *pairs[] = {&pair};
    pair.key = (char *)(uintptr_t)key;
    pair.value = (char *)(uintptr_t)value;
    spec->task_template->container->env = pairs;
    spec->task_template->container->n_env = 1;
    struct sy_buf out = {0};
    cp_row_pack(&out, &spec->base);
    sy_arena_deinit(&arena);
    return out;
}

/* A gang goes on whole: one member that is waited for would hold up, or be apart from, the rest. */
START_TEST(it_is_begun_anew_when_a_member_falls_silent)
{
    struct world *w = world_with_root();
    struct answer answer;
    static const char *const refused[] = {"wait", "stop-on-agent"};
    SY_CLEANUP(sy_buf_deinit)
    struct sy_buf replaced = spec_with("SWITCHYARD_ON_PARTITION", "replace");
    for (size_t i = 0; i < SY_COUNT_OF(refused); i++) {
        SY_CLEANUP(sy_buf_deinit)
        struct sy_buf spec = spec_with("SWITCHYARD_ON_PARTITION", refused[i]);
        enqueue_gang_of(w, &spec, three, 3, &answer);
        expect(w, &answer, SY_CODE_INVALID_ARGUMENT,
               "of SWITCHYARD_ON_PARTITION only replace goes with it");
    }
    enqueue_gang_of(w, &replaced, three, 3, &answer);
    expect(w, &answer, SY_CODE_OK, "");
    ck_assert_uint_eq(answer.created, 3); /* nothing was left of the first */
    world_free(w);
}
END_TEST

START_TEST(options_are_read)
{
    struct cp_gang gang;
    struct sy_error_text error;
    Switchyard__V1__Gang message = SWITCHYARD__V1__GANG__INIT;
    message.topology = SWITCHYARD__V1__GANG__TOPOLOGY__TOPOLOGY_REQUIRE;
    message.topology_key = (char *)(uintptr_t) "rack";
    message.on_loss = SWITCHYARD__V1__GANG__ON_LOSS__ON_LOSS_FAIL_ALL;
    ck_assert_int_eq(cp_gang_read(&gang, &message, 8, &error), 0);
    ck_assert(gang.shape.size == 8 && gang.shape.topology == SCH_TOPOLOGY_REQUIRE);
    ck_assert(strcmp(gang.shape.key, "rack") == 0 && gang.on_loss == SCH_ON_LOSS_FAIL_ALL);
    ck_assert_int_eq(cp_gang_read(&gang, &message, 1, &error), -EINVAL);
    ck_assert_int_eq(cp_gang_read(&gang, &message, 1025, &error), -EINVAL);
    message.topology_key = (char *)(uintptr_t) "";
    ck_assert_int_eq(cp_gang_read(&gang, &message, 8, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "topology_key"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {members_are_sent_with_their_ranks,
                                  a_restart_finds_its_members,
                                  it_is_enqueued_whole,
                                  it_is_begun_anew_when_a_member_falls_silent,
                                  options_are_read,
                                  NULL};
    return sy_test_run("cp_gangs", tests);
}
