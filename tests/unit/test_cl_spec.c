/* links: cl */
#include "base/mem.h"
#include "proto/pb.h"
#include "tests/lib/test.h"
#include "tools/src/cl_spec.h"

#include "flyteidl2/task/task_definition.pb-c.h"

#include <stdlib.h>
#include <string.h>

static Flyteidl2__Task__TaskSpec *packed(const struct cl_spec *spec, struct sy_arena *arena)
{
    struct sy_buf buf SY_CLEANUP(sy_buf_deinit) = {0};
    struct sy_error_text error = {""};
    ck_assert_int_eq(cl_spec_pack(spec, &buf, &error), 0);
    sy_arena_init(arena, (size_t)1 << 20);
    Flyteidl2__Task__TaskSpec *read = pb_unpack(&flyteidl2__task__task_spec__descriptor, arena,
                                                sy_buf_span(&buf));
    ck_assert_ptr_nonnull(read);
    return read;
}

static const char *request(const Flyteidl2__Core__Container *container, int name)
{
    for (size_t i = 0; i < container->resources->n_requests; i++) {
        if ((int)container->resources->requests[i]->name == name)
            return container->resources->requests[i]->value;
    }
    return NULL;
}

START_TEST(test_variables)
{
    static const char *const args[] = {"env"};
    static const char *const variables[] = {"A=1", "B=x=y", "C="};
    struct cl_spec spec = {.type = CL_SPEC_PROCESS,
                           .args = args,
                           .arg_count = 1,
                           .node_labels = "disk=ssd",
                           .variables = variables,
                           .variable_count = 3};
    static const char *const want[][2] = {
        {"A", "1"}, {"B", "x=y"}, {"C", ""}, {"SWITCHYARD_NODE_LABELS", "disk=ssd"}};
    struct sy_arena arena;
    const Flyteidl2__Core__Container *read = packed(&spec, &arena)->task_template->container;
    ck_assert_uint_eq(read->n_env, SY_COUNT_OF(want));
    for (size_t i = 0; i < read->n_env; i++) {
        ck_assert_str_eq(read->env[i]->key, want[i][0]);
        ck_assert_str_eq(read->env[i]->value, want[i][1]);
    }
    sy_arena_deinit(&arena);
    static const char *const wrong[] = {"A", "=1", "", "A B=1", "7=1"};
    struct sy_buf unused SY_CLEANUP(sy_buf_deinit) = {0};
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        struct sy_error_text error = {""};
        spec.variables = &wrong[i];
        spec.variable_count = 1;
        ck_assert_int_eq(cl_variable_check(wrong[i]), -EINVAL);
        ck_assert_int_eq(cl_spec_pack(&spec, &unused, &error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, "expected KEY=VALUE"));
    }
    ck_assert_uint_eq(unused.len, 0);
}
END_TEST

START_TEST(test_a_function_with_everything)
{
    struct cl_spec spec = {.type = CL_SPEC_FUNCTION,
                           .environment = "native",
                           .library = "/lib/tasks.so",
                           .function = "resize",
                           .cpu = "500m",
                           .memory = "1Gi",
                           .gpu_milli = 2000,
                           .gpu_model = "H100",
                           .node_labels = "disk=ssd",
                           .tolerations = "all",
                           .retries = 3,
                           .timeout_ns = 1500000000};
    struct sy_arena arena;
    const Flyteidl2__Task__TaskSpec *read = packed(&spec, &arena);
    const Flyteidl2__Core__TaskTemplate *task = read->task_template;
    ck_assert_str_eq(read->short_name, "resize");
    ck_assert_str_eq(task->type, "switchyard.function");
    ck_assert_int_eq(task->target_case, FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER);
    ck_assert_str_eq(task->container->image, "native");
    ck_assert_uint_eq(task->container->n_args, 2);
    ck_assert_str_eq(task->container->args[0], "/lib/tasks.so");
    ck_assert_str_eq(task->container->args[1], "resize");
    ck_assert_str_eq(request(task->container, 1), "500m");
    ck_assert_str_eq(request(task->container, 2), "2000m");
    ck_assert_str_eq(request(task->container, 3), "1Gi");
    ck_assert_str_eq(task->extended_resources->gpu_accelerator->device, "H100");
    ck_assert_uint_eq(task->container->n_env, 2);
    ck_assert_str_eq(task->container->env[0]->key, "SWITCHYARD_NODE_LABELS");
    ck_assert_str_eq(task->container->env[0]->value, "disk=ssd");
    ck_assert_str_eq(task->container->env[1]->key, "SWITCHYARD_TOLERATIONS");
    ck_assert_uint_eq(task->metadata->retries->retries, 3);
    ck_assert_int_eq(task->metadata->timeout->seconds, 1);
    ck_assert_int_eq(task->metadata->timeout->nanos, 500000000);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_a_process_with_the_defaults)
{
    static const char *const args[] = {"/usr/bin/gzip", "-k", "{}"};
    struct cl_spec spec = {.type = CL_SPEC_PROCESS, .args = args, .arg_count = 3};
    struct sy_arena arena;
    const Flyteidl2__Task__TaskSpec *read = packed(&spec, &arena);
    const Flyteidl2__Core__TaskTemplate *task = read->task_template;
    ck_assert_str_eq(read->short_name, "gzip");
    ck_assert_str_eq(task->type, "switchyard.process");
    ck_assert_str_eq(task->container->image, "");
    ck_assert_uint_eq(task->container->n_args, 3);
    ck_assert_str_eq(task->container->args[2], "{}");
    ck_assert_str_eq(request(task->container, 1), CL_SPEC_CPU);
    ck_assert_str_eq(request(task->container, 3), CL_SPEC_MEMORY);
    ck_assert_ptr_null(request(task->container, 2));
    ck_assert_ptr_null(task->metadata->retries);
    ck_assert_ptr_null(task->metadata->timeout);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_a_group_needs_nothing)
{
    struct cl_spec spec = {.type = CL_SPEC_GROUP};
    struct sy_arena arena;
    const Flyteidl2__Task__TaskSpec *read = packed(&spec, &arena);
    ck_assert_str_eq(read->task_template->type, "switchyard.group");
    ck_assert_int_eq(read->task_template->target_case,
                     FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET__NOT_SET);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_what_cannot_run_is_refused_with_a_sentence)
{
    static const char *const args[] = {"ls"}, *const empty[] = {""};
    const struct {
        struct cl_spec spec;
        const char *names;
    } wrong[] = {
        {{.type = CL_SPEC_PROCESS}, "command"},
        {{.type = CL_SPEC_PROCESS, .args = empty, .arg_count = 1}, "command"},
        {{.type = CL_SPEC_FUNCTION, .library = "x.so"}, "function"},
        {{.type = CL_SPEC_PROCESS, .args = args, .arg_count = 1, .cpu = "2x"}, "2x"},
        {{.type = CL_SPEC_PROCESS, .args = args, .arg_count = 1, .memory = "-1"}, "-1"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        struct sy_buf buf = {0};
        struct sy_error_text error = {""};
        ck_assert_int_eq(cl_spec_pack(&wrong[i].spec, &buf, &error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, wrong[i].names));
        ck_assert_uint_eq(buf.len, 0);
    }
}
END_TEST

START_TEST(test_quantities)
{
    static const char *const good[] = {"0",  "1",   "500m",  "0.5", "64Mi",
                                       "1G", "2Ti", "1.5Gi", "10k"};
    static const char *const bad[] = {"", "m", "1x", "-1", "1 ", "1mm", ".", "0x10", "Mi", "1e3"};
    static const uint64_t milli[] = {
        0, 1000, 500, 500, 67108864000, 1000000000000, 2199023255552000, 1610612736000, 10000000};
    uint64_t value;
    for (size_t i = 0; i < SY_COUNT_OF(good); i++) {
        ck_assert_msg(cl_quantity_parse(good[i], true, &value) == 0, "'%s'", good[i]);
        ck_assert_msg(value == milli[i], "'%s': %llu", good[i], (unsigned long long)value);
    }
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++)
        ck_assert_msg(cl_quantity_parse(bad[i], true, &value) == -EINVAL, "'%s'", bad[i]);
    ck_assert_int_eq(cl_quantity_parse("500m", false, &value), -EINVAL); /* half a byte */
    ck_assert_int_eq(cl_quantity_parse("1.0001", true, &value), 0);
    ck_assert_uint_eq(value, 1001); /* up */
    ck_assert_int_eq(cl_quantity_parse("16383Pi", false, &value), 0);
    ck_assert_uint_eq(value, 16383ull << 50);
    ck_assert_int_eq(cl_quantity_parse("16384Pi", false, &value), -EINVAL); /* 2^64 */
    ck_assert_int_eq(cl_quantity_parse("99999999999999999999", false, &value), -EINVAL);
}
END_TEST

START_TEST(test_prices)
{
    int64_t value;
    ck_assert_int_eq(cl_price_parse("0.035", &value), 0);
    ck_assert_int_eq(value, 35000);
    ck_assert_int_eq(cl_price_parse("12", &value), 0);
    ck_assert_int_eq(value, 12000000);
    static const char *const bad[] = {"", "1x", "-1", "0.0000001", "999999999999999999"};
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++)
        ck_assert_msg(cl_price_parse(bad[i], &value) == -EINVAL, "'%s'", bad[i]);
}
END_TEST

START_TEST(test_gpus)
{
    uint32_t count = 7;
    const char *model = "unset";
    ck_assert_int_eq(cl_gpu_parse("2:H100", &count, &model), 0);
    ck_assert_uint_eq(count, 2000);
    ck_assert_str_eq(model, "H100");
    ck_assert_int_eq(cl_gpu_parse("1", &count, &model), 0);
    ck_assert_uint_eq(count, 1000);
    ck_assert_ptr_null(model);
    ck_assert_int_eq(cl_gpu_parse("0.25:T4", &count, &model), 0);
    ck_assert_uint_eq(count, 250);
    static const char *const bad[] = {"",   "x",     "1:",     ":H100", "-1",
                                      "1x", "99999", "H100:1", "1.5",   "0.0001"};
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++)
        ck_assert_msg(cl_gpu_parse(bad[i], &count, &model) == -EINVAL, "'%s'", bad[i]);
    ck_assert_uint_eq(count, 250); /* untouched */
}
END_TEST

START_TEST(test_functions)
{
    char *library = NULL, *function = NULL;
    ck_assert_int_eq(cl_function_parse("/no/such:dir/x.so:run", &library, &function), 0);
    ck_assert_str_eq(library, "/no/such:dir/x.so");
    ck_assert_str_eq(function, "run");
    free(library);
    free(function);
    static const char *const bad[] = {"", "x.so", "x.so:", ":f"};
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++)
        ck_assert_int_eq(cl_function_parse(bad[i], &library, &function), -EINVAL);
}
END_TEST

START_TEST(test_an_existing_library_becomes_absolute)
{
    char *library = NULL, *function = NULL;
    ck_assert_int_eq(cl_function_parse("/proc/self/../self/exe:f", &library, &function), 0);
    ck_assert_ptr_null(strstr(library, ".."));
    ck_assert_int_eq(library[0], '/');
    free(library);
    free(function);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_variables,
        test_a_function_with_everything,
        test_a_process_with_the_defaults,
        test_a_group_needs_nothing,
        test_what_cannot_run_is_refused_with_a_sentence,
        test_quantities,
        test_prices,
        test_gpus,
        test_functions,
        test_an_existing_library_becomes_absolute,
        NULL,
    };
    return sy_test_run("cl_spec", tests);
}
