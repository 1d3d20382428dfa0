/* links: sy_base */
#include "base/buf.h"
#include "base/config.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct node {
    char *name;
    int64_t slots;
    struct sy_config_list tags;
};

struct cfg {
    char *data_dir, *region;
    int64_t partitions, offset;
    bool trace;
    int64_t lease_ns, cache_bytes, coordination;
    struct sy_config_map labels;
    struct sy_config_list nodes, peers;
};

static const char *const words[] = {"none", "etcd", NULL};

static const struct sy_config_key node_keys[] = {
    SY_CONFIG_STRING("name", struct node, name, NULL, "unique name"),
    SY_CONFIG_INT("slots", struct node, slots, 4, 1, 64, "tasks at once"),
    SY_CONFIG_STRINGS("tags", struct node, tags, "", "free words"),
};

static const struct sy_config_key keys[] = {
    SY_CONFIG_STRING("data_dir", struct cfg, data_dir, NULL, "directory for RocksDB"),
    SY_CONFIG_STRING("region", struct cfg, region, "local", "name of this region"),
    SY_CONFIG_INT("partitions", struct cfg, partitions, 1, 1, 256, "how many"),
    SY_CONFIG_INT("offset", struct cfg, offset, "-3", NULL, NULL, "any whole number"),
    SY_CONFIG_BOOL("trace", struct cfg, trace, "false", "trace all", .reloadable = true),
    SY_CONFIG_DURATION("cluster_lease", struct cfg, lease_ns, "30s", "1s", "24h", "how long"),
    SY_CONFIG_SIZE("cache", struct cfg, cache_bytes, "64MiB", NULL, "1TiB", "block cache"),
    SY_CONFIG_ENUM("coordination", struct cfg, coordination, "none", words, "who leads"),
    SY_CONFIG_MAP("labels", struct cfg, labels, "", "labels of this node"),
    SY_CONFIG_LIST("nodes", struct cfg, nodes, "", struct node, node_keys, "static nodes"),
    SY_CONFIG_STRINGS("peers", struct cfg, peers, "", "addresses"),
};

static int parse_len(struct cfg *cfg, const char *text, size_t len, struct sy_error_text *error)
{
    return sy_config_parse(cfg, sizeof(*cfg), keys, SY_COUNT_OF(keys), "t.yaml", text, len, error);
}

static int parse(struct cfg *cfg, const char *text, struct sy_error_text *error)
{
    return parse_len(cfg, text, strlen(text), error);
}

static void free_cfg(struct cfg *cfg)
{
    sy_config_free(cfg, keys, SY_COUNT_OF(keys));
}

/* Must parse; the caller frees. */
static struct cfg parsed(const char *text)
{
    struct cfg cfg;
    struct sy_error_text error = {""};
    int r = parse(&cfg, text, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    ck_assert_str_eq(error.text, "");
    return cfg;
}

/* Must be refused with exactly this text, and leave nothing behind. */
static void refused(const char *text, const char *expected)
{
    static const struct cfg zero;
    struct cfg cfg;
    struct sy_error_text error = {""};
    memset(&cfg, 0xff, sizeof(cfg));
    ck_assert_int_eq(parse(&cfg, text, &error), -EINVAL);
    ck_assert_str_eq(error.text, expected);
    ck_assert_mem_eq(&cfg, &zero, sizeof(cfg));
}

START_TEST(test_defaults)
{
    struct cfg cfg = parsed("data_dir: /x\n");
    ck_assert_str_eq(cfg.data_dir, "/x");
    ck_assert_str_eq(cfg.region, "local");
    ck_assert_int_eq(cfg.partitions, 1);
    ck_assert_int_eq(cfg.offset, -3);
    ck_assert(!cfg.trace);
    ck_assert_int_eq(cfg.lease_ns, 30000000000);
    ck_assert_int_eq(cfg.cache_bytes, 64 << 20);
    ck_assert_int_eq(cfg.coordination, 0);
    ck_assert_uint_eq(cfg.labels.count + cfg.nodes.count + cfg.peers.count, 0);
    free_cfg(&cfg);
    ck_assert_ptr_null(cfg.data_dir);
    free_cfg(&cfg); /* again: nothing */
}
END_TEST

START_TEST(test_every_type)
{
    struct cfg cfg = parsed("# a comment\n"
                            "data_dir: \"/var/lib/with space\"\n"
                            "region: 7\n"
                            "partitions: 256\n"
                            "offset: -9000000000\n"
                            "trace: true\n"
                            "cluster_lease: 24h\n"
                            "cache: 1GiB\n"
                            "coordination: etcd\n"
                            "labels: {zone: a, gpu: \"\", rack: }\n"
                            "nodes:\n"
                            "  - name: n1\n"
                            "    tags: [fast, near]\n"
                            "  - {name: n2, slots: 64}\n"
                            "  - name: n3\n"
                            "peers:\n"
                            "  - 10.0.0.1:80\n"
                            "  - '10.0.0.2:80'\n");
    ck_assert_str_eq(cfg.data_dir, "/var/lib/with space");
    ck_assert_str_eq(cfg.region, "7");
    ck_assert_int_eq(cfg.partitions, 256);
    ck_assert_int_eq(cfg.offset, -9000000000);
    ck_assert(cfg.trace);
    ck_assert_int_eq(cfg.lease_ns, 86400000000000);
    ck_assert_int_eq(cfg.cache_bytes, 1 << 30);
    ck_assert_int_eq(cfg.coordination, 1);
    ck_assert_uint_eq(cfg.labels.count, 3);
    ck_assert_str_eq(cfg.labels.pairs[0].key, "zone");
    ck_assert_str_eq(cfg.labels.pairs[0].value, "a");
    ck_assert_str_eq(cfg.labels.pairs[1].value, "");
    ck_assert_str_eq(cfg.labels.pairs[2].value, "");
    const struct node *nodes = cfg.nodes.items;
    ck_assert_uint_eq(cfg.nodes.count, 3);
    ck_assert_str_eq(nodes[0].name, "n1");
    ck_assert_int_eq(nodes[0].slots, 4);
    ck_assert_uint_eq(nodes[0].tags.count, 2);
    ck_assert_str_eq(((char **)nodes[0].tags.items)[1], "near");
    ck_assert_int_eq(nodes[1].slots, 64);
    ck_assert_str_eq(nodes[2].name, "n3");
    ck_assert_uint_eq(cfg.peers.count, 2);
    ck_assert_str_eq(((char **)cfg.peers.items)[1], "10.0.0.2:80");
    free_cfg(&cfg);
}
END_TEST

START_TEST(test_unknown_key_names_the_nearest)
{
    refused("data_dir: /x\nprtitions: 3\n",
            "t.yaml:2: unknown key 'prtitions'; the nearest known key is 'partitions'");
    refused("data_dir: /x\nnodes: [{name: a, slot: 3}]\n",
            "t.yaml:2: unknown key 'slot'; the nearest known key is 'slots'");
    refused("data_dir: /x\nDataDir: {a: [b, {c: d}]}\n",
            "t.yaml:2: unknown key 'DataDir'; the nearest known key is 'data_dir'");
}
END_TEST

START_TEST(test_wrong_values)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"partitions: many", "'partitions' is 'many', expected a whole number, from 1 to 256"},
        {"partitions: 0", "'partitions' is '0', expected a whole number, from 1 to 256"},
        {"partitions: 257", "'partitions' is '257', expected a whole number, from 1 to 256"},
        {"partitions: 1.5", "'partitions' is '1.5', expected a whole number, from 1 to 256"},
        {"partitions: 0x10", "'partitions' is '0x10', expected a whole number, from 1 to 256"},
        {"partitions: +1", "'partitions' is '+1', expected a whole number, from 1 to 256"},
        {"partitions: [1]", "'partitions' is a list, expected a whole number, from 1 to 256"},
        {"partitions: {a: 1}", "'partitions' is a map, expected a whole number, from 1 to 256"},
        {"partitions:", "'partitions' is empty, expected a whole number, from 1 to 256"},
        {"offset: 99999999999999999999",
         "'offset' is '99999999999999999999', expected a whole number"},
        {"offset: '-'", "'offset' is '-', expected a whole number"},
        {"trace: yes", "'trace' is 'yes', expected true or false"},
        {"trace: 1", "'trace' is '1', expected true or false"},
        {"region: ~", "'region' is empty, expected a string"},
        {"region: \"a\\0b\"", "'region' is a text with a NUL character, expected a string"},
        {"coordination: zookeeper", "'coordination' is 'zookeeper', expected one of none, etcd"},
        {"cluster_lease: 30", "'cluster_lease' is '30', expected a duration such as 250ms, 10s, 2m "
                              "or 1h, from 1s to 24h"},
        {"cluster_lease: 500ms", "'cluster_lease' is '500ms', expected a duration such as 250ms, "
                                 "10s, 2m or 1h, from 1s to 24h"},
        {"cache: 64KB",
         "'cache' is '64KB', expected a size such as 4096, 64KiB or 1GiB, at most 1TiB"},
        {"cache: 2TiB",
         "'cache' is '2TiB', expected a size such as 4096, 64KiB or 1GiB, at most 1TiB"},
        {"cache: -1", "'cache' is '-1', expected a size such as 4096, 64KiB or 1GiB, at most 1TiB"},
        {"labels: x", "'labels' is a single value, expected a map of strings"},
        {"labels: [x]", "'labels' is a list, expected a map of strings"},
        {"labels: {a: [b]}", "'a' in 'labels' is a list, expected a string"},
        {"labels: {[a]: b}", "a key in 'labels' is not a string"},
        {"labels: {a: b, a: c}", "'labels' holds 'a' twice"},
        {"nodes: {name: a}", "'nodes' is a map, expected a list of maps"},
        {"nodes: [a]", "an entry of 'nodes' is a single value, expected a map"},
        {"nodes: [{slots: 2}]", "required key 'name' is missing in an entry of 'nodes'"},
        {"nodes: [{name: a, slots: 65}]", "'slots' is '65', expected a whole number, from 1 to 64"},
        {"peers: one", "'peers' is a single value, expected a list of strings"},
        {"peers: [a, {b: c}]", "an entry of 'peers' is a map, expected a string"},
        {"peers: [a, ~]", "an entry of 'peers' is empty, expected a string"},
        {"region: a\nregion: b", "key 'region' is given twice"},
        {"[a]: b", "a key is a list, expected a name"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        char text[256], expected[512];
        /* the last line is where the problem is */
        unsigned line = strchr(cases[i].text, '\n') ? 3 : 2;
        snprintf(text, sizeof(text), "data_dir: /x\n%s\n", cases[i].text);
        snprintf(expected, sizeof(expected), "t.yaml:%u: %s", line, cases[i].expected);
        refused(text, expected);
    }
}
END_TEST

START_TEST(test_required_key)
{
    const char *expected = "t.yaml:1: required key 'data_dir' is missing";
    refused("", expected);
    refused("# only a comment\n", expected);
    refused("---\n", expected);
    refused("region: x\n", expected);
}
END_TEST

START_TEST(test_all_problems_at_once)
{
    refused("partitions: 0\n"
            "\n"
            "trace: maybe\n"
            "colour: red\n"
            "nodes:\n"
            "  - slots: x\n",
            "t.yaml:1: 'partitions' is '0', expected a whole number, from 1 to 256; "
            "t.yaml:3: 'trace' is 'maybe', expected true or false; "
            "t.yaml:4: unknown key 'colour'; the nearest known key is 'cache'; "
            "t.yaml:6: 'slots' is 'x', expected a whole number, from 1 to 64; "
            "t.yaml:6: required key 'name' is missing in an entry of 'nodes'; "
            "t.yaml:1: required key 'data_dir' is missing");
}
END_TEST

START_TEST(test_more_problems_than_fit)
{
    char text[4096] = "data_dir: /x\n";
    for (int i = 0; i < 50; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "unknown_%d: 1\n", i);
    struct cfg cfg;
    struct sy_error_text error;
    ck_assert_int_eq(parse(&cfg, text, &error), -EINVAL);
    unsigned shown = 0;
    for (const char *at = error.text; (at = strstr(at, "t.yaml:")); at++)
        shown++;
    char expected[32];
    snprintf(expected, sizeof(expected), "; and %u more", 50 - shown);
    ck_assert_uint_ge(shown, 3);
    ck_assert_str_eq(error.text + strlen(error.text) - strlen(expected), expected);
    ck_assert_int_eq(parse(&cfg, text, NULL), -EINVAL);
}
END_TEST

START_TEST(test_broken_yaml)
{
    struct cfg cfg;
    struct sy_error_text error;
    static const char *const texts[] = {
        "data_dir: /x\npeers: [a, b\nregion: x\n",
        "data_dir: /x\n\tregion: y\n",
        "data_dir: \"never closed\n",
        "data_dir: /x\n  region: wrong indentation\n",
        "data_dir: \xff\xfe\n",
        "nodes:\n  - name: a\n    labels: {",
    };
    for (size_t i = 0; i < SY_COUNT_OF(texts); i++) {
        ck_assert_int_eq(parse(&cfg, texts[i], &error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, "not YAML: "));
        ck_assert_ptr_null(strstr(error.text, "missing"));
        ck_assert_int_eq(strncmp(error.text, "t.yaml:", 7), 0);
    }
    /* Problems before the broken place are still told. */
    ck_assert_int_eq(parse(&cfg, "trace: maybe\nx: [\n", &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "t.yaml:1: 'trace'"));
    ck_assert_ptr_nonnull(strstr(error.text, "not YAML"));
}
END_TEST

START_TEST(test_shapes_that_are_not_a_table)
{
    refused("- a\n", "t.yaml:1: the file is a list, expected 'key: value' lines; "
                     "t.yaml:1: required key 'data_dir' is missing");
    refused("text", "t.yaml:1: the file is a single value, expected 'key: value' lines; "
                    "t.yaml:1: required key 'data_dir' is missing");
    refused("data_dir: /x\n---\ndata_dir: /y\n",
            "t.yaml:2: a second document starts, expected one");
}
END_TEST

/* Nine lines of these make a gigabyte elsewhere. */
START_TEST(test_aliases_are_refused)
{
    refused("data_dir: &a /x\nregion: *a\n", "t.yaml:2: 'region' is an alias, expected a string");
    refused("data_dir: /x\nlabels: {a: &b c, d: *b}\n",
            "t.yaml:2: 'd' in 'labels' is an alias, expected a string");
    refused("data_dir: /x\npeers: &p [a]\nnodes: *p\n",
            "t.yaml:3: 'nodes' is an alias, expected a list of maps");
}
END_TEST

START_TEST(test_too_many_entries)
{
    struct cfg cfg;
    struct sy_error_text error;
    static const char *const kinds[] = {"peers", "nodes", "labels"};
    for (size_t kind = 0; kind < 3; kind++) {
        for (int extra = 0; extra < 2; extra++) {
            SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
            sy_buf_printf(&text, "data_dir: /x\n%s:\n", kinds[kind]);
            for (int i = 0; i < SY_CONFIG_ENTRIES_MAX + extra * 3; i++) {
                if (kind == 0)
                    sy_buf_printf(&text, "- p%d\n", i);
                else if (kind == 1)
                    sy_buf_printf(&text, "- {name: n%d}\n", i);
                else
                    sy_buf_printf(&text, "  k%d: v\n", i);
            }
            int r = parse_len(&cfg, (char *)text.data, text.len, &error);
            ck_assert_int_eq(r, extra ? -EINVAL : 0);
            if (extra)
                ck_assert_ptr_nonnull(strstr(error.text, "has more than 4096 entries"));
            else
                free_cfg(&cfg);
        }
    }
}
END_TEST

START_TEST(test_size_limit)
{
    struct cfg cfg;
    struct sy_error_text error;
    size_t max = 1024 * 1024;
    char *text = sy_malloc(max + 1);
    int n = snprintf(text, max, "data_dir: /x");
    memset(text + n, '\n', max + 1 - (size_t)n);
    ck_assert_int_eq(parse_len(&cfg, text, max, &error), 0);
    free_cfg(&cfg);
    ck_assert_int_eq(parse_len(&cfg, text, max + 1, &error), -EINVAL);
    ck_assert_str_eq(error.text, "t.yaml is larger than 1 MiB");
    free(text);
}
END_TEST

/* libyaml's scanner takes quadratic time for this: without a limit the test would time out. */
START_TEST(test_deep_nesting)
{
    struct cfg cfg;
    struct sy_error_text error;
    size_t len = 500000;
    char *text = sy_malloc(len);
    int n = snprintf(text, len, "data_dir: ");
    memset(text + n, '[', len - (size_t)n);
    ck_assert_int_eq(parse_len(&cfg, text, len, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "more than 64 levels"));
    free(text);
}
END_TEST

START_TEST(test_load)
{
    struct cfg cfg;
    struct sy_error_text error;
    char path[] = "/tmp/sy_test_config_XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(sy_file_write_atomic(path, "data_dir: /x\ntrace: true\n", 25), 0);
    ck_assert_int_eq(sy_config_load(&cfg, sizeof(cfg), keys, SY_COUNT_OF(keys), path, &error), 0);
    ck_assert(cfg.trace);
    free_cfg(&cfg);
    char *big = sy_calloc(1, SY_CONFIG_BYTES_MAX + 1);
    ck_assert_int_eq(sy_file_write_atomic(path, big, SY_CONFIG_BYTES_MAX + 1), 0);
    ck_assert_int_eq(sy_config_load(&cfg, sizeof(cfg), keys, SY_COUNT_OF(keys), path, &error),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "larger than 1 MiB"));
    free(big);
    unlink(path);
    ck_assert_int_eq(sy_config_load(&cfg, sizeof(cfg), keys, SY_COUNT_OF(keys), path, &error),
                     -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    ck_assert_int_eq(sy_config_load(&cfg, sizeof(cfg), keys, SY_COUNT_OF(keys), NULL, &error),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "'data_dir' is missing"));
    ck_assert_int_eq(
        sy_config_load(&cfg, sizeof(cfg), keys + 1, SY_COUNT_OF(keys) - 1, NULL, &error), 0);
    ck_assert_str_eq(cfg.region, "local");
    free_cfg(&cfg);
}
END_TEST

/* What is printed can be read again, and means the defaults. */
START_TEST(test_print)
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    sy_config_print(keys, SY_COUNT_OF(keys), fd);
    char text[8192];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_gt(n, 0);
    text[n] = 0;
    close(fd);
    ck_assert_ptr_nonnull(strstr(text, "# how many\n# (a whole number, from 1 to 256)\n"
                                       "partitions: 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "# (true or false; reloadable)\ntrace: false\n"));
    ck_assert_ptr_nonnull(strstr(text, "- name: # required\n"));
    refused(text, "t.yaml:3: 'data_dir' is empty, expected a string");
    SY_CLEANUP(sy_buf_deinit) struct sy_buf filled = {0};
    const char *required = strstr(text, "data_dir: # required\n");
    ck_assert_ptr_nonnull(required);
    sy_buf_append_str(&filled, "data_dir: /x\n");
    sy_buf_append_str(&filled, required + strlen("data_dir: # required\n"));
    sy_buf_append(&filled, "", 1);
    struct cfg cfg = parsed((char *)filled.data);
    struct cfg defaults = parsed("data_dir: /x\n");
    ck_assert_int_eq(cfg.partitions, defaults.partitions);
    ck_assert_int_eq(cfg.lease_ns, defaults.lease_ns);
    ck_assert_int_eq(cfg.cache_bytes, defaults.cache_bytes);
    ck_assert_str_eq(cfg.region, defaults.region);
    ck_assert_uint_eq(cfg.labels.count + cfg.nodes.count + cfg.peers.count, 0);
    free_cfg(&cfg);
    free_cfg(&defaults);
}
END_TEST

START_TEST(test_parse_duration)
{
    static const struct {
        const char *text;
        int r;
        int64_t ns;
    } cases[] = {
        {"0", 0, 0},
        {"0s", 0, 0},
        {"7ns", 0, 7},
        {"7us", 0, 7000},
        {"250ms", 0, 250000000},
        {"10s", 0, 10000000000},
        {"2m", 0, 120000000000},
        {"1h", 0, 3600000000000},
        {"3d", 0, 259200000000000},
        {"9223372036854775807ns", 0, INT64_MAX},
        {"9223372036854775808ns", -ERANGE, 0},
        {"9223372037s", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"10", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {" 1s", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1s ", -EINVAL, 0},
        {"1.5s", -EINVAL, 0},
        {"1h30m", -EINVAL, 0},
        {"1S", -EINVAL, 0},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        int64_t ns = -77;
        ck_assert_int_eq(sy_parse_duration(cases[i].text, &ns), cases[i].r);
        ck_assert_int_eq(ns, cases[i].r == 0 ? cases[i].ns : -77);
    }
}
END_TEST

START_TEST(test_parse_size)
{
    static const struct {
        const char *text;
        int r;
        int64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"4096", 0, 4096},
        {"12B", 0, 12},
        {"64KiB", 0, 65536},
        {"3MiB", 0, 3 << 20},
        {"1GiB", 0, 1 << 30},
        {"2TiB", 0, INT64_C(2) << 40},
        {"8388607TiB", 0, INT64_C(8388607) << 40},
        {"8388608TiB", -ERANGE, 0},
        {"99999999999999999999", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"KiB", -EINVAL, 0},
        {"64KB", -EINVAL, 0},
        {"64kib", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"1 KiB", -EINVAL, 0},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        int64_t bytes = -77;
        ck_assert_int_eq(sy_parse_size(cases[i].text, &bytes), cases[i].r);
        ck_assert_int_eq(bytes, cases[i].r == 0 ? cases[i].bytes : -77);
    }
}
END_TEST

static const struct sy_config_key bad_default[] = {
    SY_CONFIG_INT("n", struct cfg, partitions, 5, 6, 7, "its default is outside its limits"),
};

static void parse_bad_table(void *arg)
{
    struct cfg cfg;
    (void)arg;
    int r = sy_config_parse(&cfg, sizeof(cfg), bad_default, 1, "t", NULL, 0, NULL);
    _exit(r == 0);
}

START_TEST(test_a_wrong_table_aborts)
{
    ck_assert(aborts(parse_bad_table, NULL));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_defaults,
        test_every_type,
        test_unknown_key_names_the_nearest,
        test_wrong_values,
        test_required_key,
        test_all_problems_at_once,
        test_more_problems_than_fit,
        test_broken_yaml,
        test_shapes_that_are_not_a_table,
        test_aliases_are_refused,
        test_too_many_entries,
        test_size_limit,
        test_deep_nesting,
        test_load,
        test_print,
        test_parse_duration,
        test_parse_size,
        test_a_wrong_table_aborts,
        NULL,
    };
    return sy_test_run("config", tests);
}
