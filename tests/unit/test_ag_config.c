/* links: ag */
#include "agent/config.h"
#include "agent/gpu.h"
#include "base/clock.h"
#include "tests/lib/test.h"

#include <string.h>

static int parse(struct ag_config *config, const char *text, struct sy_error_text *error)
{
    memset(error, 0, sizeof(*error));
    return ag_config_parse(config, "agent.yaml", text, strlen(text), error);
}

static void refused(const char *text, const char *words)
{
    struct ag_config config;
    struct sy_error_text error;
    ck_assert_int_eq(parse(&config, text, &error), -EINVAL);
    ck_assert_msg(strstr(error.text, words) != NULL, "'%s' does not say '%s'", error.text, words);
}

#define NEEDED "operator: 127.0.0.1:8091\ndata_dir: /tmp/x\n"

START_TEST(a_whole_file)
{
    struct ag_config config;
    struct sy_error_text error;
    int r = parse(&config,
                  NEEDED "node: n7\ncpu_milli: 1500\nmemory: 2GiB\ncgroup: none\n"
                         "pools:\n  - environment: native\n    max: 4\n    idle: 5s\n"
                         "  - environment: gpu\n    command: [/opt/worker, -x]\n    env: {A: b}\n",
                  &error);
    ck_assert_msg(r == 0, "%s", error.text);
    ck_assert_str_eq(config.node, "n7");
    ck_assert_int_eq(config.cpu_milli, 1500);
    ck_assert_int_eq(config.memory_bytes, 2LL << 30);
    ck_assert_int_eq(config.cgroup, 3);
    ck_assert_uint_eq(config.pools.count, 2);
    const struct ag_config_pool *pools = config.pools.items;
    ck_assert_str_eq(pools[0].environment, "native");
    ck_assert_int_eq(pools[0].max, 4);
    ck_assert_int_eq(pools[0].idle_ns, 5 * SY_NS_PER_S);
    ck_assert_uint_eq(pools[0].command.count, 0);
    ck_assert_uint_eq(pools[1].command.count, 2);
    ck_assert_str_eq(pools[1].env.pairs[0].value, "b");
    ck_assert_int_eq(config.log_bytes_max, 64LL << 20);
    ag_config_free(&config);
}
END_TEST

START_TEST(mistakes)
{
    refused("data_dir: /tmp/x\n", "operator");
    refused("operator: nowhere\ndata_dir: /x\n", "'nowhere' is not host:port");
    refused(NEEDED "nod: n1\n", "node");
    refused(NEEDED "cgroup: v3\n", "v3");
    refused(NEEDED "pools:\n  - environment: ''\n", "environment ''");
    refused(NEEDED "pools:\n  - environment: a\n    min: 3\n    max: 2\n", "min 3 is above max 2");
    refused(NEEDED "pools:\n  - environment: a\n  - environment: a\n", "twice");
    refused(NEEDED "pools:\n  - environment: a\n    concurrency: 0\n", "concurrency");
}
END_TEST

START_TEST(gpu_models)
{
    static const char *const names[][2] = {
        {"NVIDIA H200", "H200"},
        {"NVIDIA H100 80GB HBM3", "H100"},
        {"NVIDIA A100-SXM4-80GB", "A100-80GB"},
        {"NVIDIA A100-PCIE-40GB", "A100"},
        {"Tesla T4", "T4"},
        {"NVIDIA GeForce RTX 4090", "RTX-4090"},
        {"NVIDIA RTX 6000 Ada Generation", "RTX-6000"},
        {"NVIDIA L40S", "L40S"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char model[SCH_GPU_MODEL_MAX];
        ag_gpu_model(names[i][0], model);
        ck_assert_str_eq(model, names[i][1]);
    }
    struct ag_gpus gpus;
    ag_gpus_find(&gpus); /* whatever this machine has */
    ck_assert(gpus.count == 0 || gpus.model[0] != '\0');
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_whole_file, mistakes, gpu_models, NULL};
    return sy_test_run("ag_config", tests);
}
