/* links: ag */
/* Which GPUs an attempt gets, and what a node says of itself. */
#include "agent/devices.h"
#include "agent/node_facts.h"
#include "agent/room.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

static const struct sch_traits mig = {
    .gpus_shared = 1, .slice_count = 2, .slices = {{.name = "1g.5gb", .count = 3}, {"3g.20gb", 1}}};

START_TEST(groups_stay_whole)
{
    static const uint8_t groups[8] = {1, 1, 1, 1, 2, 2, 2, 2};
    struct ag_devices devices;
    ag_devices_init(&devices, 8, groups, &mig);
    uint16_t a[8], b[8], c[8], d[8];
    struct sch_resources two = {.gpus = 2}, four = {.gpus = 4}, three = {.gpus = 3};
    ag_devices_take(&devices, &two, a); /* 0 1 */
    ag_devices_take(&devices, &four, b);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(b[i], 4 + i); /* all of one group */
    ag_devices_give(&devices, &four, b);
    ag_devices_take(&devices, &two, c); /* the rest of the first, not half of the second */
    ck_assert(c[0] == 2 && c[1] == 3);
    ag_devices_take(&devices, &three, b);
    ag_devices_give(&devices, &two, a);
    ag_devices_take(&devices, &three, d); /* no group has three: as few as possible */
    ck_assert(d[0] == 0 && d[1] == 1 && d[2] == 7);
    ck_assert(!ag_devices_fit(&devices, &(struct sch_resources){.gpus = 1}));
}
END_TEST

/* Labels of the operator's configuration are those of all its nodes, which do not know them; nor
 * do they know that the task's queue tolerates spot nodes. */
START_TEST(labels_and_taints_are_the_operators_business)
{
    struct sch_traits traits = {.taints = SCH_LABEL_SPOT};
    struct sch_resources capacity = {.cpu_milli = 1000},
                         request = {.cpu_milli = 1000, .labels = "region=eu"};
    struct ag_room room;
    struct sy_error_text miss;
    ag_room_init(&room, &capacity, &traits, NULL, NULL, 0);
    ck_assert(ag_room_could_hold(&room, &request, &miss));
    request.cpu_milli++;
    ck_assert(!ag_room_could_hold(&room, &request, &miss));
}
END_TEST

START_TEST(shares_pack_and_slices_are_exact)
{
    struct ag_devices devices;
    ag_devices_init(&devices, 2, NULL, &mig);
    uint16_t a, b, c, d[3];
    struct sch_resources most = {.gpu_milli = 700}, some = {.gpu_milli = 300},
                         half = {.gpu_milli = 500}, whole = {.gpus = 2};
    ag_devices_take(&devices, &some, &a);
    ag_devices_take(&devices, &most, &b);
    ck_assert_uint_eq(a, b);
    ag_devices_take(&devices, &half, &c);
    ck_assert_uint_ne(a, c);
    ck_assert(!ag_devices_fit(&devices, &most) && ag_devices_fit(&devices, &half));
    ck_assert(!ag_devices_fit(&devices, &whole));
    struct sch_resources slices = {.gpus = 2, .gpu_partition = "1g.5gb"};
    ag_devices_take(&devices, &slices, d);
    ck_assert(d[0] == 0 && d[1] == 1);
    ck_assert(!ag_devices_fit(&devices, &slices));
    ag_devices_give(&devices, &slices, d);
    ck_assert(ag_devices_fit(&devices, &slices));
    ck_assert(
        !ag_devices_fit(&devices, &(struct sch_resources){.gpus = 1, .gpu_partition = "7g.40gb"}));
}
END_TEST

struct holding {
    struct sch_resources request;
    uint16_t numbers[8];
    bool live;
};

/* Nothing is given twice: a model adds up what each device has. */
static void check(const struct holding *all, size_t count)
{
    uint32_t used[8] = {0};
    bool slices[3] = {false};
    for (size_t i = 0; i < count; i++) {
        const struct sch_resources *r = &all[i].request;
        for (uint32_t n = 0; all[i].live && n < ag_devices_asked(r); n++) {
            uint16_t number = all[i].numbers[n];
            if (r->gpu_partition[0]) {
                ck_assert(number < 3 && !slices[number]);
                slices[number] = true;
            } else {
                used[number] += r->gpu_milli > 0 ? r->gpu_milli : SCH_GPU_MILLI;
                ck_assert_uint_le(used[number], SCH_GPU_MILLI);
            }
        }
    }
}

START_TEST(no_device_is_given_twice)
{
    struct holding all[16] = {0};
    struct ag_devices devices;
    struct sy_rng rng;
    sy_rng_init(&rng, 5);
    static const uint8_t groups[8] = {1, 1, 2, 2, 3, 3, 0, 0};
    ag_devices_init(&devices, 8, groups, &mig);
    for (int i = 0; i < 20000; i++) {
        struct holding *h = &all[sy_rng_below(&rng, SY_COUNT_OF(all))];
        if (h->live) {
            ag_devices_give(&devices, &h->request, h->numbers);
            h->live = false;
        } else {
            h->request = (struct sch_resources){.gpus = 1 + (uint32_t)sy_rng_below(&rng, 8)};
            if (sy_rng_chance(&rng, 1, 3))
                h->request = (struct sch_resources){.gpu_milli = 1 +
                                                                 (uint32_t)sy_rng_below(&rng, 999)};
            else if (sy_rng_chance(&rng, 1, 3))
                h->request = (struct sch_resources){.gpus = 1 + (uint32_t)sy_rng_below(&rng, 3),
                                                    .gpu_partition = "1g.5gb"};
            h->live = ag_devices_fit(&devices, &h->request);
            if (h->live)
                ag_devices_take(&devices, &h->request, h->numbers);
        }
        check(all, SY_COUNT_OF(all));
    }
}
END_TEST

/* ---- what a node says of itself ---- */

#define NEEDED "operator: 127.0.0.1:8091\ndata_dir: /tmp/x\ngpus: 4\ngpu_model: nvidia-h100\n"

static int facts(const char *text, struct ag_node_facts *ret, struct sy_error_text *error)
{
    struct ag_config config;
    ck_assert_msg(ag_config_parse(&config, "agent.yaml", text, strlen(text), error) == 0, "%s",
                  error->text);
    int r = ag_node_facts_init(ret, &config, NULL, error);
    if (r == 0 && ret->traits.slice_count > 0)
        ck_assert_str_eq(ret->slice_names[0][1], "MIG-b");
    ag_config_free(&config);
    return r;
}

static void refused(const char *text, const char *words)
{
    struct ag_node_facts *f = sy_new(struct ag_node_facts);
    struct sy_error_text error = {0};
    ck_assert_int_eq(facts(text, f, &error), -EINVAL);
    ck_assert_msg(strstr(error.text, words) != NULL, "'%s' does not say '%s'", error.text, words);
    free(f);
}

START_TEST(a_node_says_what_it_is)
{
    struct ag_node_facts *f = sy_new(struct ag_node_facts);
    struct sy_error_text error = {0};
    int r = facts(NEEDED "labels: {zone: a, disk: ssd}\ntaints: [dedicated=ml]\nspot: true\n"
                         "gpu_sharing: true\ngpu_groups: ['0-1', '2,3']\ngpu_slices:\n"
                         "  - profile: 3g.20gb\n    devices: [MIG-c]\n"
                         "  - profile: 1g.5gb\n    devices: [MIG-a, MIG-b]\n",
                  f, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    ck_assert_str_eq(f->capacity.gpu_model, "H100");
    ck_assert_str_eq(f->traits.labels, "disk=ssd,switchyard.dev/spot=true,zone=a");
    ck_assert_str_eq(f->traits.taints, "dedicated=ml,switchyard.dev/spot");
    ck_assert_uint_eq(f->traits.gpus_shared, 1);
    ck_assert_uint_eq(f->traits.slice_count, 2);
    ck_assert_str_eq(f->traits.slices[0].name, "1g.5gb"); /* sorted */
    ck_assert_uint_eq(f->traits.slices[0].count, 2);
    ck_assert(f->grouped && f->gpu_groups[1] == 1 && f->gpu_groups[2] == 2);
    free(f);
    refused(NEEDED "labels: {'a b': c}\n", "label 'a b=c'");
    refused(NEEDED "gpu_groups: ['0-4']\n", "gpu_groups: '0-4': expected numbers below 4");
    refused(NEEDED "gpu_groups: ['0-1', '1']\n", "gpu_groups: '1'");
    refused(NEEDED "gpu_groups: ['x']\n", "gpu_groups: 'x'");
    refused(NEEDED "gpu_slices:\n  - profile: a\n    devices: [x]\n  - profile: a\n"
                   "    devices: [y]\n",
            "gpu_slices: at most 8 profiles, each once");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {groups_stay_whole,
                                  labels_and_taints_are_the_operators_business,
                                  shares_pack_and_slices_are_exact,
                                  no_device_is_given_twice,
                                  a_node_says_what_it_is,
                                  NULL};
    return sy_test_run("ag_devices", tests);
}
