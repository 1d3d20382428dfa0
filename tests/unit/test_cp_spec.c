/* links: cp */
/* Task specs: quantities, what is read and what is refused, and the table of specs. */
#include "controlplane/spec.h"
#include "cp_partition_world.h"

static void check_quantity(const char *text, bool milli, int r, uint64_t value)
{
    uint64_t got = 77;
    ck_assert_msg(cp_quantity_parse(text, milli, &got) == r, "'%s': %d", text,
                  cp_quantity_parse(text, milli, &got));
    ck_assert_msg(got == (r == 0 ? value : 77), "'%s': %llu", text, (unsigned long long)got);
}

START_TEST(test_quantities)
{
    check_quantity("500m", true, 0, 500);
    check_quantity("2", true, 0, 2000);
    check_quantity("0", true, 0, 0);
    check_quantity("1.5", true, 0, 1500);
    check_quantity(".5", true, 0, 500);
    check_quantity("1.", true, 0, 1000);
    check_quantity("0.0001", true, 0, 1); /* rounded up */
    check_quantity("100u", true, 0, 1);
    check_quantity("1k", true, 0, 1000000);
    check_quantity("64Mi", false, 0, 64ull << 20);
    check_quantity("1.5Gi", false, 0, 3ull << 29);
    check_quantity("1G", false, 0, 1000000000);
    check_quantity("16E", false, 0, 16000000000000000000ull);
    check_quantity("1e3", false, 0, 1000);
    check_quantity("12E2", false, 0, 1200);
    check_quantity("1e-3", true, 0, 1);
    check_quantity("1500m", false, 0, 2);
    check_quantity("123456789", false, 0, 123456789);
    check_quantity("", false, -EINVAL, 0);
    check_quantity(".", false, -EINVAL, 0);
    check_quantity("2x", true, -EINVAL, 0);
    check_quantity("-1", true, -EINVAL, 0);
    check_quantity("+1", true, -EINVAL, 0);
    check_quantity("1 Gi", false, -EINVAL, 0);
    check_quantity("1 ", false, -EINVAL, 0);
    check_quantity("1GiB", false, -EINVAL, 0);
    check_quantity("1mi", false, -EINVAL, 0);
    check_quantity("1.2.3", false, -EINVAL, 0);
    check_quantity("1e99", false, -EINVAL, 0);
    check_quantity("1e", false, -EINVAL, 0);
    check_quantity("32Ei", false, -ERANGE, 0);
    check_quantity("9e30", true, -ERANGE, 0);
    check_quantity("99999999999999999999999999999999999999999", false, -EINVAL, 0);
}
END_TEST

/* A spec under construction. */
struct draft {
    Flyteidl2__Task__TaskSpec spec;
    Flyteidl2__Core__TaskTemplate template;
    Flyteidl2__Core__Container container;
    Flyteidl2__Core__Resources resources;
    Flyteidl2__Core__Resources__ResourceEntry entries[4], *requests[4], *limits[4];
    Flyteidl2__Core__TaskMetadata metadata;
    Flyteidl2__Core__RetryStrategy retries;
    Flyteidl2__Core__Backoff backoff;
    Flyteidl2__Core__TimeoutStrategy timeouts;
    Flyteidl2__Core__ExtendedResources extended;
    Flyteidl2__Core__GPUAccelerator gpu;
    Google__Protobuf__Duration timeout, queued, base, cap, deadline;
    Flyteidl2__Core__KeyValuePair variable, *variables[1];
    char *args[2];
    size_t entry_count;
};

static char text_library[] = "lib.so", text_function[] = "fn", text_image[] = "env";
static char text_type[] = "switchyard.function";

static void draft_init(struct draft *d)
{
    memset(d, 0, sizeof(*d));
    flyteidl2__task__task_spec__init(&d->spec);
    flyteidl2__core__task_template__init(&d->template);
    flyteidl2__core__container__init(&d->container);
    flyteidl2__core__resources__init(&d->resources);
    flyteidl2__core__task_metadata__init(&d->metadata);
    flyteidl2__core__retry_strategy__init(&d->retries);
    flyteidl2__core__backoff__init(&d->backoff);
    flyteidl2__core__timeout_strategy__init(&d->timeouts);
    flyteidl2__core__extended_resources__init(&d->extended);
    flyteidl2__core__gpuaccelerator__init(&d->gpu);
    google__protobuf__duration__init(&d->timeout);
    google__protobuf__duration__init(&d->queued);
    google__protobuf__duration__init(&d->base);
    google__protobuf__duration__init(&d->cap);
    google__protobuf__duration__init(&d->deadline);
    d->spec.task_template = &d->template;
    d->template.type = text_type;
    d->template.metadata = &d->metadata;
    d->template.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
    d->template.container = &d->container;
    d->container.image = text_image;
    d->container.args = d->args;
    d->container.n_args = 2;
    d->args[0] = text_library;
    d->args[1] = text_function;
    d->container.resources = &d->resources;
    d->resources.requests = d->requests;
    d->resources.limits = d->limits;
}

static void draft_add(struct draft *d, bool limit, Flyteidl2__Core__Resources__ResourceName name,
                      const char *value)
{
    Flyteidl2__Core__Resources__ResourceEntry *entry = &d->entries[d->entry_count++];
    flyteidl2__core__resources__resource_entry__init(entry);
    entry->name = name;
    entry->value = (char *)(uintptr_t)value;
    if (limit)
        d->limits[d->resources.n_limits++] = entry;
    else
        d->requests[d->resources.n_requests++] = entry;
}

static void draft_variable(struct draft *d, char *key, char *value)
{
    flyteidl2__core__key_value_pair__init(&d->variable);
    d->variable.key = key;
    d->variable.value = value;
    d->variables[0] = &d->variable;
    d->container.env = d->variables;
    d->container.n_env = 1;
}

static int parse(const struct draft *d, struct sch_spec *ret, struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
    cp_row_pack(&bytes, &d->spec.base);
    return cp_spec_parse(ret, sy_buf_span(&bytes), error);
}

static void check_refused(const struct draft *d, const char *text)
{
    struct sch_spec spec;
    struct sy_error_text error = {0};
    ck_assert_int_eq(parse(d, &spec, &error), -EINVAL);
    ck_assert_msg(strstr(error.text, text) != NULL, "'%s' lacks '%s'", error.text, text);
}

#define CPU FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__CPU
#define GPU FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__GPU
#define MEMORY FLYTEIDL2__CORE__RESOURCES__RESOURCE_NAME__MEMORY

START_TEST(test_parse)
{
    struct draft d;
    struct sch_spec spec;
    struct sy_error_text error = {0};
    draft_init(&d);
    char device[] = "H100";
    draft_add(&d, false, CPU, "1500m");
    draft_add(&d, true, CPU, "4");
    draft_add(&d, true, MEMORY, "2Gi"); /* no request: the limit counts */
    draft_add(&d, false, GPU, "2");
    d.template.extended_resources = &d.extended;
    d.extended.gpu_accelerator = &d.gpu;
    d.gpu.device = device;
    d.metadata.retries = &d.retries;
    d.retries.retries = 3;
    d.retries.backoff = &d.backoff;
    d.backoff.base_value = &d.base;
    d.base.nanos = 250000000;
    d.backoff._factor_case = FLYTEIDL2__CORE__BACKOFF___FACTOR_FACTOR;
    d.backoff.factor = 1.5;
    d.backoff.cap = &d.cap;
    d.cap.seconds = 60;
    d.metadata.timeout = &d.timeout;
    d.timeout.seconds = 90;
    d.metadata.timeouts = &d.timeouts;
    d.timeouts.queued_timeout = &d.queued;
    d.queued.seconds = 5;
    d.timeouts.deadline = &d.deadline;
    d.deadline.seconds = 3600;
    ck_assert_msg(parse(&d, &spec, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(spec.request.cpu_milli, 1500);
    ck_assert_uint_eq(spec.request.memory_bytes, 2ull << 30);
    ck_assert_uint_eq(spec.request.gpus, 2);
    ck_assert_str_eq(spec.request.gpu_model, "H100");
    ck_assert_str_eq(spec.request.environment, "env");
    ck_assert_uint_eq(spec.retries, 3);
    ck_assert_int_eq(spec.backoff_ns, 250 * MS);
    ck_assert_uint_eq(spec.backoff_factor_milli, 1500);
    ck_assert_int_eq(spec.backoff_cap_ns, 60 * SY_NS_PER_S);
    ck_assert_int_eq(spec.deadline_ns, 3600 * SY_NS_PER_S);
    ck_assert_int_eq(spec.timeout_ns, 90 * SY_NS_PER_S);
    ck_assert_int_eq(spec.queued_timeout_ns, 5 * SY_NS_PER_S);
    ck_assert(!spec.group);
    ck_assert_uint_eq(spec.refs, 0);

    char process[] = "switchyard.process", group[] = "switchyard.group", python[] = "python",
         sleep[] = "core-sleep";
    draft_init(&d);
    d.template.type = process;
    ck_assert_int_eq(parse(&d, &spec, &error), 0);
    ck_assert_uint_eq(spec.request.cpu_milli, 1000); /* a process is bounded by something */
    ck_assert_str_eq(spec.request.environment, "");
    d.template.type = python;
    ck_assert_int_eq(parse(&d, &spec, &error), 0);
    ck_assert_uint_eq(spec.request.cpu_milli, 100); /* many parents have room, and wait */
    d.template.type = sleep;
    draft_add(&d, false, CPU, "2");
    ck_assert_int_eq(parse(&d, &spec, &error), 0);
    ck_assert_uint_eq(spec.request.cpu_milli, 0); /* its operator has room for it */
    ck_assert_str_eq(spec.request.environment, "core-sleep");
    d.template.type = group;
    d.template.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET__NOT_SET;
    ck_assert_int_eq(parse(&d, &spec, &error), 0);
    ck_assert(spec.group);
}
END_TEST

START_TEST(test_memory_after_running_out)
{
    struct draft d;
    struct sch_spec spec;
    struct sy_error_text error = {0};
    char most[] = "SWITCHYARD_OOM_MEMORY_MAX", factor[] = "SWITCHYARD_OOM_FACTOR";
    char amount[] = "16Gi", times[] = "1.5", bad[] = "1.05", none[] = "lots";
    draft_init(&d);
    draft_variable(&d, most, amount);
    ck_assert_msg(parse(&d, &spec, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(spec.oom_memory_bytes_max, 16ull << 30);
    ck_assert_uint_eq(spec.oom_factor_milli, 2000);
    draft_init(&d);
    draft_variable(&d, factor, times);
    ck_assert_msg(parse(&d, &spec, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(spec.oom_factor_milli, 1500);
    ck_assert_uint_eq(spec.oom_memory_bytes_max, 0);
    draft_init(&d);
    draft_variable(&d, factor, bad);
    check_refused(&d, "SWITCHYARD_OOM_FACTOR '1.05'");
    draft_init(&d);
    draft_variable(&d, most, none);
    check_refused(&d, "SWITCHYARD_OOM_MEMORY_MAX 'lots'");
}
END_TEST

START_TEST(test_constraints)
{
    struct draft d;
    struct sch_spec spec;
    struct sy_error_text error = {0};
    char device[] = "nvidia-tesla-a100", part[] = "1g.5gb";
    char key[] = "SWITCHYARD_NODE_LABELS", value[] = "zone=a,disk=ssd";
    draft_init(&d);
    d.template.extended_resources = &d.extended;
    d.extended.gpu_accelerator = &d.gpu;
    d.gpu.device = device;
    d.gpu.partition_size_value_case =
        FLYTEIDL2__CORE__GPUACCELERATOR__PARTITION_SIZE_VALUE_PARTITION_SIZE;
    d.gpu.partition_size = part;
    d.metadata.interruptible_value_case =
        FLYTEIDL2__CORE__TASK_METADATA__INTERRUPTIBLE_VALUE_INTERRUPTIBLE;
    d.metadata.interruptible = true;
    draft_variable(&d, key, value);
    ck_assert_msg(parse(&d, &spec, &error) == 0, "%s", error.text);
    ck_assert_uint_eq(spec.request.gpus, 1);
    ck_assert_str_eq(spec.request.gpu_model, "A100");
    ck_assert_str_eq(spec.request.gpu_partition, "1g.5gb");
    ck_assert_str_eq(spec.request.labels, "disk=ssd,zone=a");
    ck_assert_str_eq(spec.request.tolerations, "switchyard.dev/spot");
    draft_init(&d);
    draft_add(&d, false, GPU, "0.25");
    ck_assert_int_eq(parse(&d, &spec, &error), 0);
    ck_assert(spec.request.gpus == 0 && spec.request.gpu_milli == 250);
}
END_TEST

START_TEST(test_refused)
{
    struct draft d;
    char process[] = "switchyard.process", sleep[] = "core-sleep",
         long_name[] = "an-environment-whose-name-is-far-too-long";
    draft_init(&d);
    draft_add(&d, false, CPU, "2x");
    check_refused(&d, "cpu '2x': expected a quantity such as 500m or 2");
    draft_init(&d);
    draft_add(&d, false, CPU, "-1");
    check_refused(&d, "cpu '-1'");
    draft_init(&d);
    draft_add(&d, false, MEMORY, "4Pi");
    check_refused(&d, "memory '4Pi': more than can ever be given");
    draft_init(&d);
    draft_add(&d, true, GPU, "1e9");
    check_refused(&d, "gpu '1e9': more than can ever be given");
    draft_init(&d);
    d.container.n_args = 1;
    check_refused(&d, "args [library, function]");
    draft_init(&d);
    d.container.image = long_name;
    check_refused(&d, "environment 'an-environment");
    d.container.image = sleep;
    check_refused(&d, "environment 'core-sleep'");
    draft_init(&d);
    d.template.type = process;
    d.container.n_args = 0;
    check_refused(&d, "no command");
    draft_init(&d);
    d.metadata.timeout = &d.timeout;
    d.timeout.seconds = -1;
    check_refused(&d, "timeout of -1 s");
    draft_init(&d);
    d.metadata.retries = &d.retries;
    d.retries.retries = 100000;
    check_refused(&d, "retries 100000: at most 1000");
    draft_init(&d);
    draft_add(&d, false, GPU, "1500m");
    check_refused(&d, "gpu 1500m: expected whole GPUs, or a part of one");
    draft_init(&d);
    draft_add(&d, false, GPU, "-1");
    check_refused(&d, "gpu '-1'");
    draft_init(&d);
    char key[] = "SWITCHYARD_NODE_LABELS", value[] = "no label";
    draft_variable(&d, key, value);
    check_refused(&d, "label 'no label'");
    draft_init(&d);
    char policy[] = "SWITCHYARD_ON_PARTITION", never[] = "never", wait[] = "wait";
    draft_variable(&d, policy, never);
    check_refused(&d, "SWITCHYARD_ON_PARTITION 'never': expected replace, wait or stop-on-agent");
    draft_init(&d);
    draft_add(&d, false, GPU, "500m");
    char part[] = "1g.5gb";
    d.template.extended_resources = &d.extended;
    d.extended.gpu_accelerator = &d.gpu;
    d.gpu.partition_size_value_case =
        FLYTEIDL2__CORE__GPUACCELERATOR__PARTITION_SIZE_VALUE_PARTITION_SIZE;
    d.gpu.partition_size = part;
    check_refused(&d, "partition_size '1g.5gb'");
    draft_init(&d);
    d.spec.task_template = NULL;
    struct sch_spec spec;
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_spec_parse(&spec, (struct sy_span){0}, &error), -EINVAL);
    ck_assert_int_eq(cp_spec_parse(&spec, (struct sy_span){(const uint8_t *)"\x7f", 1}, &error),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "not a TaskSpec"));
    draft_init(&d);
    draft_variable(&d, policy, wait);
    ck_assert_msg(parse(&d, &spec, &error) == 0, "%s", error.text);
    ck_assert_int_eq(spec.on_partition, SCH_ON_PARTITION_WAIT);
}
END_TEST

START_TEST(test_table)
{
    struct cp_specs specs = {0};
    struct cp_spec *a = NULL, *b = NULL;
    struct sy_error_text error = {0};
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = make_spec("switchyard.process", 1, "1");
    ck_assert_int_eq(cp_specs_intern(&specs, sy_buf_span(&bytes), &a, &error), 0);
    ck_assert_int_eq(cp_specs_intern(&specs, sy_buf_span(&bytes), &b, &error), 0);
    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_eq(cp_specs_find(&specs, a->digest), a);
    ck_assert_ptr_eq(cp_spec_use_of(&a->uses[1].base)->spec, a);
    ck_assert(cp_spec_use_of(&a->uses[1].base)->has_input);
    a->uses[1].base.refs = 1; /* in use: never dropped */
    a->pins = 0;
    uint32_t last = a->id;
    struct cp_spec *dropped;
    size_t drops = 0;
    for (unsigned i = 0; i < CP_SPECS_UNUSED_MAX + 50; i++) {
        char cpu[16];
        snprintf(cpu, sizeof(cpu), "%um", i + 1);
        SY_CLEANUP(sy_buf_deinit) struct sy_buf other = make_spec("switchyard.process", 2, cpu);
        ck_assert_int_eq(cp_specs_intern(&specs, sy_buf_span(&other), &b, &error), 0);
        ck_assert_uint_eq(b->id, ++last);
        if (i == 0)
            b->pins = 1; /* its assignment has not been sent */
        while ((dropped = cp_specs_pop_excess(&specs))) {
            ck_assert_ptr_ne(dropped, a);
            ck_assert_uint_eq(dropped->pins, 0);
            cp_spec_free(dropped);
            drops++;
        }
    }
    ck_assert_uint_eq(drops, 50);
    a->uses[1].base.refs = 0;
    cp_specs_release(&specs, a);
    cp_specs_release(&specs, a); /* both uses may say so */
    cp_specs_deinit(&specs);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_quantities, test_parse, test_constraints, test_memory_after_running_out, test_refused,
        test_table,      NULL};
    return sy_test_run("cp_spec", tests);
}
