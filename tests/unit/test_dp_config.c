/* links: dp */
/* The operator's configuration, and its life cycles' tables. */
#include "base/clock.h"
#include "dataplane/config.h"
#include "dataplane/operator_impl.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

static const char good[] = "cluster: gpu-east\n"
                           "data_dir: /var/lib/switchyard\n"
                           "shards: [\"10.0.0.1:8090\", \"10.0.0.2:8090\"]\n";

static int parse(const char *text, struct dp_config *config, struct sy_error_text *error)
{
    return dp_config_parse(config, "operator.yaml", text, strlen(text), error);
}

START_TEST(defaults_are_filled_in)
{
    struct dp_config config;
    struct sy_error_text error = {0};
    ck_assert_msg(parse(good, &config, &error) == 0, "%s", error.text);
    ck_assert_str_eq(config.cluster, "gpu-east");
    ck_assert_str_eq(config.listen, "127.0.0.1:8091");
    ck_assert_uint_eq(config.shards.count, 2);
    ck_assert_str_eq(((char **)config.shards.items)[1], "10.0.0.2:8090");
    ck_assert_int_eq(config.heartbeat_ns, SY_NS_PER_S);
    ck_assert_int_eq(config.node_lease_ns, 15 * SY_NS_PER_S);
    ck_assert_int_eq(config.object_bytes_max, (int64_t)1 << 30);
    struct dp_config_options options;
    ck_assert_msg(dp_config_options_init(&options, &config, NULL, NULL, &error) == 0, "%s",
                  error.text);
    ck_assert_str_eq(options.storage.root, "/var/lib/switchyard/store");
    ck_assert_str_eq(options.options.secrets_key_file, "/var/lib/switchyard/secrets.key");
    ck_assert(options.storage.path_style);
    dp_config_options_deinit(&options);
    dp_config_free(&config);
}
END_TEST

static void expect_error(const char *more, const char *word, const char *other)
{
    struct dp_config config;
    struct sy_error_text error = {0};
    char text[1024];
    snprintf(text, sizeof(text), "%s%s", good, more);
    ck_assert_int_eq(parse(text, &config, &error), -EINVAL);
    ck_assert_msg(strstr(error.text, word) != NULL, "'%s' is not in: %s", word, error.text);
    ck_assert_msg(strstr(error.text, other) != NULL, "'%s' is not in: %s", other, error.text);
}

START_TEST(errors_name_the_key)
{
    expect_error("hartbeat: 1s\n", "hartbeat", "heartbeat");
    expect_error("heartbeat: fast\n", "heartbeat", "fast");
    expect_error("heartbeat: 1ms\n", "heartbeat", "10ms");
    expect_error("heartbeat: 10s\n", "node_lease", "heartbeat");
    expect_error("region: eu\nlabels: {region: us}\n", "region", "us");
    expect_error("region: eu/west\n", "region", "eu/west");
    expect_error("gang_port: 65000\n", "gang_ports", "beyond port 65535");
    expect_error("object_bytes_max: 2PB\n", "object_bytes_max", "2PB");
    expect_error("log_level: loud\n", "log_level", "loud");
    expect_error("allow_origins: [\"https://a/b\"]\n", "allow_origins", "https://a/b");
}
END_TEST

START_TEST(what_is_needed_is_asked_for)
{
    struct dp_config config;
    struct sy_error_text error = {0};
    ck_assert_int_eq(parse("listen: 127.0.0.1:0\n", &config, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "shards"));
    ck_assert_ptr_nonnull(strstr(error.text, "data_dir"));
    ck_assert_int_eq(parse("cluster: c\ndata_dir: /d\nshards: []\n", &config, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "shards"));
    ck_assert_int_eq(parse("cluster: c\ndata_dir: /d\nshards: [nowhere]\n", &config, &error),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "nowhere"));
    ck_assert_int_lt(dp_config_load(&config, "/nonexistent/operator.yaml", &error), 0);
    ck_assert_ptr_nonnull(strstr(error.text, "/nonexistent/operator.yaml"));
}
END_TEST

START_TEST(s3_needs_its_keys)
{
    struct dp_config config;
    struct dp_config_options options;
    struct sy_error_text error = {0};
    char text[512];
    snprintf(text, sizeof(text), "%sstorage_root: s3://bucket/prefix\n", good);
    ck_assert_int_eq(parse(text, &config, &error), 0);
    ck_assert_int_eq(dp_config_options_init(&options, &config, NULL, NULL, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "storage_access_key"));
    dp_config_options_deinit(&options);
    dp_config_free(&config);
    snprintf(text, sizeof(text),
             "%sstorage_root: s3://bucket\nstorage_access_key: a\n"
             "storage_secret_key_file: /nonexistent/key\n",
             good);
    ck_assert_int_eq(parse(text, &config, &error), 0);
    ck_assert_int_eq(dp_config_options_init(&options, &config, NULL, NULL, &error), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "/nonexistent/key"));
    dp_config_options_deinit(&options);
    dp_config_free(&config);
}
END_TEST

START_TEST(life_cycles_are_sound)
{
    sm_table_check(&dp_operator_table);
    sm_table_check(&dp_stream_table);
    sm_table_check(&dp_agent_table);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        defaults_are_filled_in, errors_name_the_key,   what_is_needed_is_asked_for,
        s3_needs_its_keys,      life_cycles_are_sound, NULL,
    };
    return sy_test_run("dp_config", tests);
}
