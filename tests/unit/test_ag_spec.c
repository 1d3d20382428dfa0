/* links: ag cp */
#include "agent/spec.h"
#include "base/mem.h"
#include "controlplane/spec.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "proto/pb.h"
#include "tests/lib/test.h"

#include <string.h>

/* What a TaskSpec in a test may say; NULL: nothing. */
struct made {
    const char *type, *image, *command, *args[4];
    const char *cpu, *memory, *gpu, *cpu_limit, *memory_limit, *gpu_limit, *device;
    const char *key, *value;
    bool no_container, no_resources;
};

static unsigned put_entry(Flyteidl2__Core__Resources__ResourceEntry *entry, int name,
                          const char *value)
{
    flyteidl2__core__resources__resource_entry__init(entry);
    entry->name = (Flyteidl2__Core__Resources__ResourceName)name;
    entry->value = (char *)(uintptr_t)value;
    return value != NULL;
}

static struct sy_buf pack(const struct made *m)
{
    Flyteidl2__Task__TaskSpec spec = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    Flyteidl2__Core__TaskTemplate template = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    Flyteidl2__Core__Container container = FLYTEIDL2__CORE__CONTAINER__INIT;
    Flyteidl2__Core__Resources resources = FLYTEIDL2__CORE__RESOURCES__INIT;
    Flyteidl2__Core__ExtendedResources extended = FLYTEIDL2__CORE__EXTENDED_RESOURCES__INIT;
    Flyteidl2__Core__GPUAccelerator gpu = FLYTEIDL2__CORE__GPUACCELERATOR__INIT;
    Flyteidl2__Core__KeyValuePair pair = FLYTEIDL2__CORE__KEY_VALUE_PAIR__INIT, *pairs[] = {&pair};
    Flyteidl2__Core__Resources__ResourceEntry entries[6], *requests[3], *limits[3];
    const char *values[] = {m->cpu, m->gpu, m->memory, m->cpu_limit, m->gpu_limit, m->memory_limit};
    for (unsigned i = 0; i < 6; i++) {
        if (!put_entry(&entries[i], (int)(i % 3) + 1, values[i]))
            continue;
        if (i < 3)
            requests[resources.n_requests++] = &entries[i];
        else
            limits[resources.n_limits++] = &entries[i];
    }
    resources.requests = requests;
    resources.limits = limits;
    char *args[4], *command[] = {(char *)(uintptr_t)m->command};
    for (unsigned i = 0; i < 4 && m->args[i] != NULL; i++)
        args[container.n_args++] = (char *)(uintptr_t)m->args[i];
    container.args = args;
    container.command = command;
    container.n_command = m->command != NULL;
    if (m->image != NULL)
        container.image = (char *)(uintptr_t)m->image;
    if (!m->no_resources)
        container.resources = &resources;
    if (m->key != NULL) {
        pair.key = (char *)(uintptr_t)m->key;
        pair.value = (char *)(uintptr_t)m->value;
        container.env = pairs;
        container.n_env = 1;
    }
    if (m->device != NULL) {
        gpu.device = (char *)(uintptr_t)m->device;
        extended.gpu_accelerator = &gpu;
        template.extended_resources = &extended;
    }
    template.type = (char *)(uintptr_t)m->type;
    if (!m->no_container) {
        template.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
        template.container = &container;
    }
    spec.task_template = &template;
    struct sy_buf buf = {0};
    pb_pack(&spec.base, &buf);
    return buf;
}

static const struct made cases[] = {
    {.type = "switchyard.function", .image = "native", .args = {"/l.so", "f"}},
    {.type = "switchyard.function",
     .image = "native",
     .args = {"/l.so", "f"},
     .no_resources = true},
    {.type = "switchyard.function",
     .image = "native",
     .args = {"/l.so", "f"},
     .cpu = "250m",
     .memory = "64Mi"},
    {.type = "switchyard.function",
     .image = "native",
     .args = {"/l.so", "f"},
     .cpu = "2",
     .gpu = "3"},
    {.type = "switchyard.function",
     .image = "native",
     .args = {"/l.so", "f"},
     .cpu_limit = "1.5",
     .memory_limit = "1G"},
    {.type = "switchyard.function",
     .image = "native",
     .args = {"/l.so", "f"},
     .cpu = "1",
     .cpu_limit = "4"},
    {.type = "switchyard.function", .image = "native", .args = {"/l.so", "f"}, .device = "H100"},
    {.type = "switchyard.function",
     .image = "native",
     .args = {"/l.so", "f"},
     .gpu = "8",
     .device = "A100"},
    {.type = "switchyard.function", .image = "native", .args = {"/l.so"}},
    {.type = "switchyard.function", .image = "", .args = {"/l.so", "f"}},
    {.type = "switchyard.function",
     .image = "a-name-that-is-longer-than-any-environment-may-be",
     .args = {"/l.so", "f"}},
    {.type = "switchyard.process", .args = {"ls", "-l"}},
    {.type = "switchyard.process", .args = {"ls"}, .cpu = "100m"},
    {.type = "switchyard.process", .args = {"ls"}, .cpu_limit = "100m"},
    {.type = "switchyard.process", .command = "ls", .args = {"-l"}, .key = "A", .value = "b c"},
    {.type = "python", .args = {"a0", "--inputs"}, .memory = "1Ti"},
    {.type = "python", .no_container = true},
    {.type = "python"},
    {.type = "python", .args = {"x"}, .cpu = "many"},
    {.type = "python", .args = {"x"}, .memory = "-1"},
    {.type = "python", .args = {"x"}, .memory = "2EE"},
    {.type = "python", .args = {"x"}, .cpu = "1e3"},
    {.type = "python", .args = {"x"}, .cpu = "200000"},
    {.type = "python", .args = {"x"}, .gpu = "5000"},
};

/* The agent accounts for what the control plane has routed by: both must read a spec alike. */
START_TEST(as_the_control_plane_reads_it)
{
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        struct sy_buf bytes = pack(&cases[i]);
        struct sch_spec theirs = {0};
        struct ag_spec ours;
        struct sy_error_text error = {0}, their_error = {0};
        int r = ag_spec_parse(&ours, sy_buf_span(&bytes), &error);
        int s = cp_spec_parse(&theirs, sy_buf_span(&bytes), &their_error);
        ck_assert_msg(r == s, "case %zu: %d (%s), there %d (%s)", i, r, error.text, s,
                      their_error.text);
        if (r == 0)
            ck_assert_msg(sch_resources_equal(&ours.request, &theirs.request),
                          "case %zu: %u m, %llu bytes, %u gpus; there %u m, %llu bytes, %u gpus", i,
                          ours.request.cpu_milli, (unsigned long long)ours.request.memory_bytes,
                          ours.request.gpus, theirs.request.cpu_milli,
                          (unsigned long long)theirs.request.memory_bytes, theirs.request.gpus);
        else
            ck_assert_uint_gt(strlen(error.text), 10);
        ag_spec_deinit(&ours);
        sy_buf_deinit(&bytes);
    }
}
END_TEST

START_TEST(what_runs)
{
    struct made made = {
        .type = "x", .command = "prog", .args = {"-a", "b"}, .key = "K", .value = "v=w"};
    struct sy_buf bytes = pack(&made);
    struct ag_spec spec;
    struct sy_error_text error;
    ck_assert_int_eq(ag_spec_parse(&spec, sy_buf_span(&bytes), &error), 0);
    sy_buf_deinit(&bytes); /* nothing of it is kept */
    ck_assert_str_eq(spec.type, "x");
    ck_assert_str_eq(spec.args[0], "prog");
    ck_assert_str_eq(spec.args[2], "b");
    ck_assert_ptr_null(spec.args[3]);
    ck_assert_str_eq(spec.env[0], "K=v=w");
    ck_assert_ptr_null(spec.env[1]);
    ag_spec_deinit(&spec);
}
END_TEST

START_TEST(garbage)
{
    struct ag_spec spec;
    struct sy_error_text error;
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff};
    ck_assert_int_eq(ag_spec_parse(&spec, (struct sy_span){bytes, sizeof(bytes)}, &error), -EINVAL);
    ck_assert_int_eq(ag_spec_parse(&spec, (struct sy_span){bytes, 0}, &error), -EINVAL);
}
END_TEST

START_TEST(quantities)
{
    static const char *const texts[] = {
        "0",
        "1",
        "500m",
        "1.5",
        "0.0001",
        "64Mi",
        "1G",
        "2Ki",
        "1e3",
        "1E3",
        "1e-3",
        "12n",
        "7u",
        "3k",
        "1Ei",
        "16Ei",
        "",
        "m",
        "1.2.3",
        "1x",
        "Mi",
        " 1",
        "1 ",
        "-1",
        "1e",
        "1e 3",
        "1e99",
        "99999999999999999999999",
        ".5",
        "5.",
        "1mi",
        "0.5Ki",
        "1.0000000001",
        "18446744073709551615",
    };
    for (size_t i = 0; i < SY_COUNT_OF(texts); i++) {
        for (int milli = 0; milli < 2; milli++) {
            uint64_t ours = 1, theirs = 1;
            int r = ag_quantity_parse(texts[i], milli, &ours);
            int s = cp_quantity_parse(texts[i], milli, &theirs);
            ck_assert_msg((r < 0) == (s < 0), "'%s': %d, there %d", texts[i], r, s);
            ck_assert_msg(ours == theirs, "'%s': %llu, there %llu", texts[i],
                          (unsigned long long)ours, (unsigned long long)theirs);
        }
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {as_the_control_plane_reads_it, what_runs, garbage, quantities,
                                  NULL};
    return sy_test_run("ag_spec", tests);
}
