/* links: sy_proto */
/* JSON against wire bytes, by descriptor. */
#include "proto/json.h"

#include "flyteidl2/core/values.pb-c.h"
#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN &flyteidl2__workflow__create_run_request__descriptor
#define LIST &flyteidl2__workflow__list_runs_request__descriptor
#define ACTION &flyteidl2__workflow__enriched_action__descriptor
#define LITERAL &flyteidl2__core__literal__descriptor
#define PRIMITIVE &flyteidl2__core__primitive__descriptor
#define STATUS &flyteidl2__workflow__action_status__descriptor
#define STRUCT &google__protobuf__struct__descriptor
#define UPLOAD &flyteidl2__dataproxy__create_upload_location_request__descriptor
#define DOUBLE &google__protobuf__double_value__descriptor

static struct sy_span text_span(const char *text)
{
    return (struct sy_span){(const uint8_t *)text, strlen(text)};
}

/* To wire and back; "" when it is refused. */
static char *round_trip(const ProtobufCMessageDescriptor *type, const char *json,
                        struct sy_error_text *error)
{
    struct sy_buf wire SY_CLEANUP(sy_buf_deinit) = {0};
    struct sy_buf back = {0};
    if (pb_json_to_wire(type, text_span(json), &wire, error) == 0) {
        ck_assert_int_eq(pb_json_from_wire(type, sy_buf_span(&wire), &back), 0);
    }
    sy_buf_append(&back, "", 1);
    return (char *)back.data;
}

static void expect(const ProtobufCMessageDescriptor *type, const char *json, const char *back)
{
    struct sy_error_text error = {0};
    char *got = round_trip(type, json, &error);
    if (strcmp(got, back) != 0)
        ck_abort_msg("%s\n became %s\n expected %s (%s)", json, got, back, error.text);
    free(got);
}

static void same(const ProtobufCMessageDescriptor *type, const char *json)
{
    expect(type, json, json);
}

static void refused(const ProtobufCMessageDescriptor *type, const char *json, const char *sentence)
{
    struct sy_error_text error = {0};
    struct sy_buf wire = {0};
    ck_assert_int_eq(pb_json_to_wire(type, text_span(json), &wire, &error), -EINVAL);
    ck_assert_uint_eq(wire.len, 0);
    if (strcmp(error.text, sentence) != 0)
        ck_abort_msg("%s\n gave: %s\n expected: %s", json, error.text, sentence);
    sy_buf_deinit(&wire);
}

START_TEST(names_and_scalars)
{
    same(LIST, "{}");
    same(LIST, "{\"projectId\":{\"organization\":\"o\",\"domain\":\"d\",\"name\":\"p\"}}");
    expect(LIST, "{\"project_id\":{\"name\":\"p\"},\"what\":[1,2]}",
           "{\"projectId\":{\"name\":\"p\"}}");
    same(LIST, "{\"pausedActionsOnly\":true}");
    same(STATUS, "{\"phase\":\"ACTION_PHASE_SUCCEEDED\",\"attempts\":3,\"durationMs\":\"17\"}");
    expect(STATUS, "{\"phase\":5,\"attempts\":\"3\",\"durationMs\":17}",
           "{\"phase\":\"ACTION_PHASE_SUCCEEDED\",\"attempts\":3,\"durationMs\":\"17\"}");
    expect(STATUS, "{\"phase\":99}", "{\"phase\":99}");
    same(UPLOAD, "{\"filename\":\"h\xc3\xa4\\n.txt\",\"contentMd5\":\"AAECAwQ=\"}");
    expect(UPLOAD, "{\"contentMd5\":\"-_8\"}", "{\"contentMd5\":\"+/8=\"}");
    expect(UPLOAD, "{\"filename\":null}", "{}");
}
END_TEST

START_TEST(numbers_at_their_limits)
{
    same(PRIMITIVE, "{\"integer\":\"-9223372036854775808\"}");
    same(PRIMITIVE, "{\"floatValue\":1.5}");
    same(PRIMITIVE, "{\"floatValue\":\"NaN\"}");
    same(PRIMITIVE, "{\"floatValue\":\"-Infinity\"}");
    expect(PRIMITIVE, "{\"integer\":1e3}", "{\"integer\":\"1000\"}");
    same(STATUS, "{\"durationMs\":\"18446744073709551615\"}");
    refused(STATUS, "{\"durationMs\":\"18446744073709551616\"}",
            "durationMs: expected an integer, got \"18446744073709551616\"");
    refused(STATUS, "{\"attempts\":4294967296}",
            "attempts: expected an integer from 0 to 4294967295, got 4294967296");
    refused(STATUS, "{\"attempts\":-1}",
            "attempts: expected an integer from 0 to 4294967295, got -1");
    refused(STATUS, "{\"attempts\":1.5}", "attempts: expected an integer, got 1.5");
}
END_TEST

START_TEST(times)
{
    same(PRIMITIVE, "{\"datetime\":\"2026-11-20T01:02:03Z\"}");
    same(PRIMITIVE, "{\"datetime\":\"0001-01-01T00:00:00Z\"}");
    same(PRIMITIVE, "{\"datetime\":\"9999-12-31T23:59:59.999999999Z\"}");
    same(PRIMITIVE, "{\"datetime\":\"1969-12-31T23:59:59.500Z\"}");
    same(PRIMITIVE, "{\"datetime\":\"2024-02-29T00:00:00Z\"}");
    expect(PRIMITIVE, "{\"datetime\":\"2026-01-01T00:30:00.1+01:00\"}",
           "{\"datetime\":\"2025-12-31T23:30:00.100Z\"}");
    refused(
        PRIMITIVE, "{\"datetime\":\"2025-02-29T00:00:00Z\"}",
        "datetime: expected a time like \"2026-01-02T03:04:05Z\", got \"2025-02-29T00:00:00Z\"");
    same(PRIMITIVE, "{\"duration\":\"3.000001s\"}");
    same(PRIMITIVE, "{\"duration\":\"-0.500s\"}");
    same(PRIMITIVE, "{\"duration\":\"0s\"}");
    refused(PRIMITIVE, "{\"duration\":\"3\"}",
            "duration: expected a duration like \"1.5s\", got \"3\"");
}
END_TEST

START_TEST(maps_and_lists)
{
    same(ACTION, "{\"childrenPhaseCounts\":{\"5\":7,\"6\":1}}");
    same(RUN, "{\"runSpec\":{\"labels\":{\"values\":{\"a\":\"1\",\"b\":\"\"}}}}");
    refused(RUN, "{\"runSpec\":{\"labels\":{\"values\":{\"a\":1}}}}",
            "runSpec.labels.values.a: expected a string, got 1");
    same(LIST, "{\"request\":{\"filters\":[{\"field\":\"phase\",\"values\":[\"a\",\"b\"]},{}]}}");
    refused(LIST, "{\"request\":{\"filters\":[{},{\"values\":[7]}]}}",
            "request.filters[1].values[0]: expected a string, got 7");
    refused(LIST, "{\"request\":[]}", "request: expected an object, got []");
    refused(LIST, "{\"request\":{\"filters\":{}}}", "request.filters: expected an array, got {}");
}
END_TEST

START_TEST(messages_declared_as_bytes)
{
    same(RUN,
         "{\"taskSpec\":{\"taskTemplate\":{\"type\":\"python-task\",\"interface\":{\"inputs\":{"
         "\"variables\":[{\"key\":\"x\",\"value\":{\"type\":{\"simple\":\"INTEGER\"}}}]}},"
         "\"custom\":{\"a\":[1.0,null,{\"b\":\"c\"}]},\"container\":{\"args\":[\"a0\"]}}}}");
    same(RUN, "{\"inputs\":{\"literals\":[{\"name\":\"x\",\"value\":{\"scalar\":{\"primitive\":{"
              "\"integer\":\"3\"}}}}]}}");
}
END_TEST

START_TEST(forms_of_their_own)
{
    same(STRUCT, "{\"a\":{\"b\":[true,false,null,1.0,\"x\"]},\"c\":{}}");
    same(DOUBLE, "2.5");
    expect(DOUBLE, "0", "0.0");
    same(LITERAL, "{\"scalar\":{\"noneType\":{}}}");
    same(LITERAL, "{\"map\":{\"literals\":{\"k\":{\"collection\":{\"literals\":[{},{}]}}}}}");
}
END_TEST

START_TEST(one_of_a_oneof)
{
    refused(PRIMITIVE, "{\"integer\":1,\"boolean\":true}",
            "integer: expected one of the alternatives, not several, got 1");
    expect(PRIMITIVE, "{\"integer\":1,\"boolean\":null}", "{\"integer\":\"1\"}");
}
END_TEST

static void nested_literal(unsigned depth, struct sy_buf *text)
{
    for (unsigned i = 0; i < depth; i++)
        sy_buf_append_str(text, "{\"collection\":{\"literals\":[");
    sy_buf_append_str(text, "{}");
    for (unsigned i = 0; i < depth; i++)
        sy_buf_append_str(text, "]}}");
    sy_buf_append(text, "", 1);
}

START_TEST(depth_is_bounded_both_ways)
{
    struct sy_buf text = {0}, wire = {0}, json = {0};
    struct sy_error_text error = {0};
    nested_literal(45, &text);
    same(LITERAL, (const char *)text.data);
    text.len = 0;
    nested_literal(60, &text);
    ck_assert_int_eq(pb_json_to_wire(LITERAL, text_span((const char *)text.data), &wire, &error),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "expected at most 100 levels"));
    /* 5,000 levels of Literal.collection.literals on the wire, from the inside out. */
    for (unsigned i = 0; i < 10000; i++) {
        struct sy_buf outer = {0};
        uint8_t head[8] = {i % 2 == 0 ? 0x0a : 0x12};
        size_t n = 1, len = wire.len;
        for (; len >= 0x80; len >>= 7)
            head[n++] = (uint8_t)(len | 0x80);
        head[n++] = (uint8_t)len;
        sy_buf_append(&outer, head, n);
        sy_buf_append(&outer, wire.data, wire.len);
        sy_buf_deinit(&wire);
        wire = outer;
    }
    ck_assert_int_eq(pb_json_from_wire(LITERAL, sy_buf_span(&wire), &json), -EBADMSG);
    sy_buf_deinit(&text);
    sy_buf_deinit(&wire);
    sy_buf_deinit(&json);
}
END_TEST

START_TEST(what_is_not_json)
{
    refused(LIST,
            "{\"request\":", "not JSON: unexpected token near end of file, at line 1, column 11");
    refused(LIST, "[]", "expected an object, got []");
    refused(LIST, "{\"org\":\"a\",\"org\":\"b\"}",
            "not JSON: duplicate object key near '\"org\"', at line 1, column 16");
    same(LIST, "{}");
    expect(LIST, "", "{}");
}
END_TEST

START_TEST(wire_bytes_as_they_come)
{
    struct sy_buf json = {0};
    /* ListRequest.limit twice: the last counts; an unknown field 100; a message in two parts. */
    static const uint8_t parts[] = {0x0a, 0x02, 0x08, 0x05, 0x0a, 0x02, 0x08, 0x06,
                                    0xa0, 0x06, 0x01, 0x0a, 0x03, 0x12, 0x01, 't'};
    ck_assert_int_eq(pb_json_from_wire(LIST, (struct sy_span){parts, sizeof(parts)}, &json), 0);
    sy_buf_append(&json, "", 1);
    ck_assert_str_eq((char *)json.data, "{\"request\":{\"limit\":6,\"token\":\"t\"}}");
    static const uint8_t bad[][4] = {
        {0x0a, 0x05, 0x08, 0x05}, /* longer than it is */
        {0x08, 0x05, 0, 0},       /* a varint where a message is */
        {0x0a, 0x02, 0x0b, 0x05}, /* a group */
        {0xff, 0xff, 0xff, 0xff}, /* a varint without an end */
    };
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pb_json_from_wire(LIST, (struct sy_span){bad[i], 4}, &json), -EBADMSG);
    sy_buf_deinit(&json);
}
END_TEST

START_TEST(texts_that_are_not_utf8_are_shown)
{
    struct sy_buf json = {0};
    static const uint8_t name[] = {0x12, 0x03, 'a', 0xff, 'b'};
    ck_assert_int_eq(pb_json_from_wire(LIST, (struct sy_span){name, sizeof(name)}, &json), 0);
    sy_buf_append(&json, "", 1);
    ck_assert_str_eq((char *)json.data, "{\"org\":\"a?b\"}");
    sy_buf_deinit(&json);
}
END_TEST

START_TEST(the_codec_knows_methods)
{
    const struct sy_codec *codec = pb_json_codec();
    struct sy_buf bytes = {0}, json = {0};
    struct sy_error_text error = {0};
    const char *path = "/flyteidl2.workflow.RunService/ListRuns";
    ck_assert_int_eq(
        codec->request_from_json(codec->ctx, path, text_span("{\"org\":\"o\"}"), &bytes, &error),
        0);
    ck_assert_uint_eq(bytes.len, 3);
    ck_assert_int_eq(codec->response_to_json(codec->ctx, path, (struct sy_span){0}, &json), 0);
    ck_assert_mem_eq(json.data, "{}", 2);
    ck_assert_int_eq(codec->request_from_json(codec->ctx, "/flyteidl2.workflow.RunService/No",
                                              text_span("{}"), &bytes, &error),
                     -EINVAL);
    ck_assert_int_eq(codec->request_from_json(codec->ctx, "x", text_span("{}"), &bytes, &error),
                     -EINVAL);
    sy_buf_deinit(&bytes);
    sy_buf_deinit(&json);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        names_and_scalars,
        numbers_at_their_limits,
        times,
        maps_and_lists,
        messages_declared_as_bytes,
        forms_of_their_own,
        one_of_a_oneof,
        depth_is_bounded_both_ways,
        what_is_not_json,
        wire_bytes_as_they_come,
        texts_that_are_not_utf8_are_shown,
        the_codec_knows_methods,
        NULL,
    };
    return sy_test_run("pb_json", tests);
}
