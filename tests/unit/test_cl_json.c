/* links: cl */
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/bench.h"
#include "tools/src/cl_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(test_strings_are_escaped_and_always_utf8)
{
    json_t *object = json_object();
    cl_json_str(object, "none", NULL);
    cl_json_str(object, "empty", "");
    cl_json_str(object, "control", "a\033[2J\n");
    cl_json_str(object, "latin1", "gr\xfc\xdf");
    cl_json_str(object, "utf8", "gr\xc3\xbc");
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    cl_json_line(object, file);
    fclose(file);
    ck_assert_str_eq(text, "{\"none\":null,\"empty\":null,\"control\":\"a\\u001B[2J\\n\","
                           "\"latin1\":\"gr??\",\"utf8\":\"gr\\u00FC\"}\n");
    free(text);
}
END_TEST

static void bytes_give(const char *data, size_t len, const char *expected)
{
    json_t *value = cl_json_bytes(data, len);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    ck_assert_str_eq(text, expected);
    free(text);
    json_decref(value);
}

START_TEST(test_bytes_are_text_or_base64)
{
    bytes_give("", 0, "null");
    bytes_give("plain", 5, "\"plain\"");
    bytes_give("a\0b", 3, "{\"base64\":\"YQBi\"}");
    bytes_give("\xff", 1, "{\"base64\":\"/w==\"}");
    bytes_give("\xff\xfe", 2, "{\"base64\":\"//4=\"}");
    bytes_give("\xff\xfe\xfd\xfc", 4, "{\"base64\":\"//79/A==\"}");
}
END_TEST

START_TEST(test_a_document_is_one_document)
{
    json_t *array = json_array(), *object = json_object();
    cl_json_int(object, "n", INT64_MAX);
    cl_json_bool(object, "b", 1);
    cl_json_real(object, "r", 0.5);
    json_array_append_new(array, object);
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    cl_json_document(array, file);
    fclose(file);
    json_error_t error;
    json_t *again = json_loads(text, 0, &error);
    ck_assert_ptr_nonnull(again);
    const json_t *read = json_array_get(again, 0);
    ck_assert_int_eq(json_integer_value(json_object_get(read, "n")), INT64_MAX);
    ck_assert(json_is_true(json_object_get(read, "b")));
    ck_assert(json_real_value(json_object_get(read, "r")) == 0.5);
    json_decref(again);
    free(text);
}
END_TEST

/* The line that tools/bench hands to scripts: exactly these keys, in this order. */
START_TEST(test_bench_line)
{
    static const char *const keys[] = {
        "bench",
        "count",
        "rate_per_s",
        "p50_us",
        "p99_us",
        "p999_us",
        "cpu_us_per_task",
        "cpu_us_by_process",
        "bytes_written_per_task",
        "rss_peak_bytes",
        "durable",
        "commit",
        "build",
    };
    struct bench bench = {.options = {.kind = bench_kind_find("fanout"), .count = 1000},
                          .first_ns = SY_NS_PER_S,
                          .last_ns = 3 * SY_NS_PER_S,
                          .latency = cl_hist_new(),
                          .done = cl_hist_new()};
    bench.usage.count = 1;
    bench.usage.processes[0] = (struct bench_process){.name = "shard", .end = {5000, 100000, 4096}};
    cl_hist_record(bench.latency, 250 * SY_NS_PER_US);
    json_t *line = bench_json(&bench);
    size_t i = 0;
    const char *key;
    json_t *value;
    json_object_foreach(line, key, value)
    {
        ck_assert_uint_lt(i, SY_COUNT_OF(keys));
        ck_assert_str_eq(key, keys[i]);
        i++;
    }
    ck_assert_uint_eq(i, SY_COUNT_OF(keys));
    ck_assert(json_real_value(json_object_get(line, "rate_per_s")) == 500);
    ck_assert(json_real_value(json_object_get(line, "p50_us")) == 250);
    ck_assert(json_real_value(json_object_get(line, "cpu_us_per_task")) == 5);
    ck_assert(json_real_value(json_object_get(line, "bytes_written_per_task")) == 100);
    ck_assert_int_eq(json_integer_value(json_object_get(line, "rss_peak_bytes")), 4096);
    ck_assert_str_eq(json_string_value(json_object_get(line, "durable")), "sync");
    const json_t *shard = json_object_get(json_object_get(line, "cpu_us_by_process"), "shard");
    ck_assert(json_real_value(shard) == 5);
    json_decref(line);
    free(bench.latency);
    free(bench.done);
}
END_TEST

START_TEST(test_medians_of_several_measurements)
{
    static const char *const texts[] = {
        "{\"bench\":\"x\",\"count\":7,\"p50_us\":3.5,\"cpu\":{\"shard\":10.0},\"written\":null}",
        "{\"bench\":\"x\",\"count\":7,\"p50_us\":1.5,\"cpu\":{\"shard\":30.0},\"written\":null}",
        "{\"bench\":\"x\",\"count\":7,\"p50_us\":2.5,\"cpu\":{\"shard\":20.0},\"written\":null}",
    };
    json_t *lines[3];
    for (size_t i = 0; i < 3; i++)
        ck_assert_ptr_nonnull(lines[i] = json_loads(texts[i], 0, NULL));
    json_t *all = bench_medians(lines, 3), *two = bench_medians(lines, 2);
    char *text = json_dumps(all, JSON_COMPACT);
    ck_assert_str_eq(text, "{\"bench\":\"x\",\"count\":7,\"p50_us\":2.5,"
                           "\"cpu\":{\"shard\":20.0},\"written\":null}");
    ck_assert_double_eq(json_real_value(json_object_get(two, "p50_us")), 1.5);
    free(text);
    json_decref(all);
    json_decref(two);
    for (size_t i = 0; i < 3; i++)
        json_decref(lines[i]);
}
END_TEST

START_TEST(test_a_message_is_an_object)
{
    Switchyard__V1__PartitionPlace place = SWITCHYARD__V1__PARTITION_PLACE__INIT;
    char shard[] = "a";
    place.partition = 3;
    place.shard = shard;
    place.opening = true;
    place.first_hash = 1;
    place.last_hash = UINT64_MAX;
    json_t *object = cl_json_message(&place.base);
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    ck_assert_str_eq(text,
                     "{\"alone_since_ns\":0,\"first_hash\":\"1\",\"in_sync\":false,"
                     "\"last_hash\":\"18446744073709551615\",\"opening\":true,\"partition\":3,"
                     "\"shard\":\"a\",\"standby\":null,\"target\":null,\"waits_for\":[],"
                     "\"wanted\":null}");
    free(text);
    json_decref(object);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_strings_are_escaped_and_always_utf8,
        test_bytes_are_text_or_base64,
        test_a_document_is_one_document,
        test_bench_line,
        test_medians_of_several_measurements,
        test_a_message_is_an_object,
        NULL,
    };
    return sy_test_run("cl_json", tests);
}
