/* links: sch */
/* Labels, taints, and what a task's definition asks for in its own words. */
#include "base/mem.h"
#include "scheduler/labels.h"
#include "scheduler/resources.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <string.h>

static void assert_parsed(const char *text, const char *want)
{
    char set[64] = "";
    struct sy_error_text error = {0};
    ck_assert_msg(sch_labels_parse(set, sizeof(set), text, &error) == 0, "%s", error.text);
    ck_assert_str_eq(set, want);
    ck_assert(sch_labels_valid(set));
    for (size_t i = strlen(set); i < sizeof(set); i++)
        ck_assert_int_eq(set[i], 0);
}

START_TEST(sets_are_sorted_texts)
{
    assert_parsed("", "");
    assert_parsed("a", "a");
    assert_parsed("zone=a, disk=ssd ,gpu", "disk=ssd,gpu,zone=a");
    assert_parsed("b=1,a=1,c=1,b=2", "a=1,b=2,c=1");
    assert_parsed("ab=1,a=1", "a=1,ab=1"); /* by key, not by text */
    assert_parsed("a-b=1,a=1", "a=1,a-b=1");
    assert_parsed("x=long-value,x=s", "x=s"); /* nothing of the old one stays */
    assert_parsed("example.com/x_y=1.2", "example.com/x_y=1.2");
    ck_assert(!sch_labels_valid("b,a") && !sch_labels_valid("a,a=1") && !sch_labels_valid("a,"));
    ck_assert(!sch_labels_valid("a=") && !sch_labels_valid("=a") && !sch_labels_valid("a b"));
    ck_assert(!sch_labels_valid(",") && !sch_labels_valid("a=1=2"));
}
END_TEST

START_TEST(what_is_no_label_is_refused)
{
    char set[16] = "keep=1";
    struct sy_error_text error = {0};
    ck_assert_int_eq(sch_labels_parse(set, sizeof(set), "sp ace", &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "expected key=value"));
    ck_assert_int_eq(sch_labels_parse(set, sizeof(set), "=x", &error), -EINVAL);
    ck_assert_int_eq(sch_labels_parse(set, sizeof(set), "longer=value", &error), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(error.text, "at most 15 characters"));
    ck_assert_int_eq(sch_labels_put(set, sizeof(set), "a,b", "", &error), -EINVAL);
    ck_assert_str_eq(set, "keep=1");
    ck_assert_int_eq(sch_labels_put(set, sizeof(set), "b", "12", &error), 0);
    ck_assert_str_eq(set, "b=12,keep=1");
}
END_TEST

START_TEST(selectors_and_taints_match)
{
    const char *item = NULL;
    ck_assert(sch_labels_contain("a=1,b=2,c=3", "a=1,c=3", NULL));
    ck_assert(sch_labels_contain("a=1", "", NULL));
    ck_assert(!sch_labels_contain("a=1,b=2", "a=1,b=3,c=4", &item));
    ck_assert_int_eq(strncmp(item, "b=3,", 4), 0);
    ck_assert(!sch_labels_contain("", "a", &item));
    ck_assert(sch_taints_tolerated("", "", NULL));
    ck_assert(sch_taints_tolerated("dedicated=ml,spot", "dedicated=ml,spot", NULL));
    ck_assert(sch_taints_tolerated("dedicated=ml", "dedicated", NULL)); /* any value */
    ck_assert(sch_taints_tolerated("dedicated=ml,x=1", "all", NULL));
    ck_assert(!sch_taints_tolerated("dedicated=ml,spot", "dedicated=web,spot", &item));
    ck_assert_int_eq(strncmp(item, "dedicated=ml", 12), 0);
    ck_assert(!sch_taints_tolerated("dedicated", "dedicated=ml", NULL));
}
END_TEST

static void assert_model(const char *model, const char *want)
{
    char got[SCH_GPU_MODEL_MAX];
    ck_assert_int_eq(sch_gpu_model_set(got, model, NULL), 0);
    ck_assert_str_eq(got, want);
}

START_TEST(models_have_one_spelling)
{
    assert_model("H100", "H100");
    assert_model("nvidia-tesla-t4", "T4");
    assert_model("nvidia-l40s", "L40S");
    assert_model("A100 80G", "A100_80G");
    assert_model("A100_80G", "A100_80G");
    assert_model("nvidia-a100-80gb", "A100_80G");
    assert_model("NVIDIA A100", "A100");
    assert_model("RTX PRO 6000", "RTX_PRO_6000");
    assert_model("", "");
    char got[SCH_GPU_MODEL_MAX] = "kept";
    struct sy_error_text error = {0};
    ck_assert_int_eq(sch_gpu_model_set(got, "a-model-whose-name-is-too-long", &error), -EINVAL);
    ck_assert_int_eq(sch_gpu_model_set(got, "H100\n", &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "expected a model such as H100"));
    ck_assert_str_eq(got, "kept");
}
END_TEST

static struct sch_resources asked(uint64_t milli, const char *device, const char *partition)
{
    struct sch_resources r = {0};
    ck_assert_int_eq(sch_request_set_gpus(&r, milli, NULL), 0);
    ck_assert_int_eq(sch_request_set_device(&r, device, partition, NULL), 0);
    return r;
}

START_TEST(gpus_whole_shared_and_sliced)
{
    struct sch_resources r = asked(2000, "H100", "");
    ck_assert(r.gpus == 2 && r.gpu_milli == 0 && strcmp(r.gpu_model, "H100") == 0);
    r = asked(0, "H100", ""); /* a device without an amount is one */
    ck_assert(r.gpus == 1 && r.gpu_milli == 0);
    r = asked(250, "H100", "");
    ck_assert(r.gpus == 0 && r.gpu_milli == 250 && sch_resources_has_gpu(&r));
    r = asked(1000, "T4 shared", "");
    ck_assert(r.gpus == 0 && r.gpu_milli == SCH_GPU_SHARED_MILLI && strcmp(r.gpu_model, "T4") == 0);
    r = asked(1000, "A100", "1g.5gb");
    ck_assert(r.gpus == 1 && strcmp(r.gpu_partition, "1g.5gb") == 0);
    struct sy_error_text error = {0};
    ck_assert_int_eq(sch_request_set_gpus(&r, 1500, &error), -EINVAL);
    ck_assert_str_eq(error.text, "gpu 1500m: expected whole GPUs, or a part of one (below 1)");
    ck_assert_int_eq(sch_request_set_gpus(&r, 2000000, &error), -EINVAL);
    r = asked(500, "A100", "");
    ck_assert_int_eq(sch_request_set_device(&r, "A100", "1g.5gb", &error), -EINVAL);
    ck_assert_int_eq(sch_request_set_device(&r, "A100", "a-profile-of-too-many-letters", &error),
                     -EINVAL);
}
END_TEST

START_TEST(variables_say_what_flyte_has_no_field_for)
{
    struct sch_resources r = {.gpus = 1};
    struct sy_error_text error = {0};
    ck_assert_int_eq(sch_request_set_variable(&r, "SWITCHYARD_NODE_LABELS", "b=2,a=1", &error), 0);
    ck_assert_int_eq(sch_request_set_variable(&r, "SWITCHYARD_TOLERATIONS", "all", &error), 0);
    ck_assert_int_eq(sch_request_set_variable(&r, "SWITCHYARD_GPU_SHARE", "0.25", &error), 0);
    ck_assert_int_eq(sch_request_set_variable(&r, "PATH", "/bin", &error), 0);
    ck_assert_str_eq(r.labels, "a=1,b=2");
    ck_assert_str_eq(r.tolerations, "all");
    ck_assert(r.gpus == 0 && r.gpu_milli == 250);
    static const char *const wrong[] = {"", "0", "1", "-0.5", "nan", "0.5x", "2"};
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        ck_assert_int_eq(sch_request_set_variable(&r, "SWITCHYARD_GPU_SHARE", wrong[i], &error),
                         -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, "0.001 to 0.999"));
    }
    r = (struct sch_resources){.gpus = 2};
    ck_assert_int_eq(sch_request_set_variable(&r, "SWITCHYARD_GPU_SHARE", "0.5", &error), -EINVAL);
    ck_assert_int_eq(sch_request_set_variable(&r, "SWITCHYARD_NODE_LABELS", "a b", &error),
                     -EINVAL);
}
END_TEST

static const struct sch_shape mig_node = {
    .capacity = {.cpu_milli = 8000, .gpus = 2, .gpu_model = "A100"},
    .traits = {.labels = "disk=ssd,zone=a",
               .taints = "dedicated=ml",
               .gpus_shared = 1,
               .slice_count = 1,
               .slices = {{.name = "1g.5gb", .count = 7}}},
    .nodes = 1,
};

static void assert_miss(const struct sch_resources *request, const char *text)
{
    struct sy_error_text miss = {0};
    ck_assert(!sch_shape_fits(&mig_node, request, &miss));
    ck_assert_str_eq(miss.text, text);
}

START_TEST(traits_fit_or_say_why)
{
    struct sch_resources r = {
        .gpus = 7, .gpu_partition = "1g.5gb", .labels = "zone=a", .tolerations = "dedicated"};
    ck_assert(sch_shape_fits(&mig_node, &r, NULL));
    r.gpus = 8;
    assert_miss(&r, "8 x GPU 1g.5gb asked, 7 there");
    r = (struct sch_resources){.gpus = 8, .gpu_partition = "2g.10gb"};
    assert_miss(&r, "8 x GPU 2g.10gb asked, 0 there");
    assert_miss(&(struct sch_resources){.labels = "zone=b", .tolerations = "all"},
                "label 'zone=b' asked, not there");
    assert_miss(&(struct sch_resources){.labels = "zone=a"},
                "taint 'dedicated=ml' there, not tolerated");
    assert_miss(&(struct sch_resources){.gpu_milli = 500, .gpu_model = "H100"},
                "1 x H100 asked, 2 x A100 there");
    struct sch_shape whole = mig_node;
    struct sy_error_text miss = {0};
    struct sch_resources share = {.gpu_milli = 500, .tolerations = "all"};
    ck_assert(sch_shape_fits(&whole, &share, NULL));
    whole.traits.gpus_shared = 0;
    ck_assert(!sch_shape_fits(&whole, &share, &miss));
    ck_assert_str_eq(miss.text, "0.500 of a GPU asked, only whole ones there");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        sets_are_sorted_texts,        what_is_no_label_is_refused,
        selectors_and_taints_match,   models_have_one_spelling,
        gpus_whole_shared_and_sliced, variables_say_what_flyte_has_no_field_for,
        traits_fit_or_say_why,        NULL};
    return sy_test_run("sch_labels", tests);
}
