/* links: cp */
/* Keys sort as they should, rows written by hand read back through protobuf-c, and damaged ones are
 * noticed. */
#include "base/rng.h"
#include "controlplane/rows.h"
#include "tests/lib/test.h"

#include "switchyard/v1/action_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

static int compare(struct cp_key a, struct cp_key b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.data, b.data, common);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

START_TEST(test_keys)
{
    ck_assert_int_lt(compare(cp_key_run(1), cp_key_action(1, "a")), 0);
    ck_assert_int_lt(compare(cp_key_action(1, "zzz"), cp_key_run(2)), 0);
    ck_assert_int_lt(compare(cp_key_run(255), cp_key_run(256)), 0);
    ck_assert_int_lt(compare(cp_key_action(1, "a"), cp_key_action(1, "aa")), 0);
    ck_assert_int_lt(compare(cp_key_event(1, 255), cp_key_event(1, 256)), 0);
    ck_assert_int_lt(compare(cp_key_child(1, 2, UINT64_MAX), cp_key_child(1, 3, 0)), 0);
    ck_assert_int_lt(compare(cp_key_run_name("p", "d", "x"), cp_key_run_name("p", "da", "a")), 0);
    ck_assert_int_ne(compare(cp_key_run_name("p", "ab", "c"), cp_key_run_name("p", "a", "bc")), 0);
    ck_assert_int_lt(compare(cp_key_cluster(""), cp_key_cluster("a")), 0);
    ck_assert_int_gt(compare(cp_key_meta(), cp_key_cluster("zzz")), 0);
    char longest[SCH_NAME_MAX];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[SCH_NAME_MAX - 1] = '\0';
    struct cp_key key = cp_key_run_name(longest, longest, longest);
    ck_assert_uint_le(key.len, sizeof(key.data));
    key = cp_key_action(7, longest);
    char name[SCH_NAME_MAX];
    uint64_t run;
    ck_assert(cp_key_action_name(cp_key_span(&key), &run, name));
    ck_assert_uint_eq(run, 7);
    ck_assert_str_eq(name, longest);
    ck_assert(!cp_key_action_name((struct sy_span){key.data, 7}, &run, name));
    ck_assert(!cp_key_action_name((struct sy_span){key.data, 8 + SCH_NAME_MAX}, &run, name));
}
END_TEST

START_TEST(test_numbers)
{
    const uint64_t values[] = {1, 127, 128, 16383, 16384, UINT32_MAX, 1ull << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
        cp_put_uint(&buf, 3, values[i]);
        cp_put_fixed64(&buf, 100, values[i]);
        cp_put_uint(&buf, 4, 0); /* left out */
        struct sy_span span = sy_buf_span(&buf);
        struct cp_field field;
        ck_assert(cp_read_field(&span, &field));
        ck_assert_uint_eq(field.number, 3);
        ck_assert_uint_eq(field.value, values[i]);
        ck_assert(cp_read_field(&span, &field));
        ck_assert_uint_eq(field.number, 100);
        ck_assert_uint_eq(field.value, values[i]);
        ck_assert(!cp_read_field(&span, &field));
        ck_assert_uint_eq(span.len, 0);
    }
}
END_TEST

/* Nested messages of every length round the one-byte length. */
START_TEST(test_nesting)
{
    char text[20001];
    memset(text, 'y', sizeof(text));
    for (size_t len = 0; len < 20000; len = len < 300 ? len + 1 : len * 3) {
        SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
        size_t outer = cp_put_begin(&buf, 1);
        size_t inner = cp_put_begin(&buf, 2);
        cp_put_bytes(&buf, 3, text, len);
        cp_put_end(&buf, inner);
        cp_put_uint(&buf, 4, 5);
        cp_put_end(&buf, outer);
        struct sy_span span = sy_buf_span(&buf);
        struct cp_field field, nested;
        ck_assert(cp_read_field(&span, &field));
        ck_assert_uint_eq(span.len, 0);
        ck_assert_uint_eq(cp_row_uint(field.span, 4), 5);
        struct sy_span in = field.span;
        ck_assert(cp_read_field(&in, &nested));
        ck_assert_uint_eq(cp_row_bytes(nested.span, 3).len, len);
    }
}
END_TEST

START_TEST(test_action_row)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    const uint8_t digest[16] = {1, 2, 3};
    struct cp_action_row row = {.id = 9,
                                .parent = "a0",
                                .spec_digest = digest,
                                .created_ns = 5,
                                .priority = -3,
                                .input = {(const uint8_t *)"in\0put", 6},
                                .group = "g",
                                .flyte = {(const uint8_t *)"f", 1}};
    cp_row_put_action(&buf, &row);
    const Switchyard__Internal__Store__ActionRow *got = CP_UNPACK(
        Switchyard__Internal__Store__ActionRow, switchyard__internal__store__action_row__descriptor,
        &arena, sy_buf_span(&buf));
    ck_assert_ptr_nonnull(got);
    ck_assert_uint_eq(got->id, 9);
    ck_assert_str_eq(got->parent, "a0");
    ck_assert_uint_eq(got->spec_digest.len, 16);
    ck_assert_int_eq(got->created_ns, 5);
    ck_assert_int_eq(got->priority, -3);
    ck_assert_uint_eq(got->input.len, 6);
    ck_assert_mem_eq(got->input.data, "in\0put", 6);
    ck_assert_str_eq(got->input_uri, "");
    ck_assert_str_eq(got->group, "g");
    struct sy_span input, uri;
    ck_assert_int_eq(cp_row_input(sy_buf_span(&buf), &input, &uri), 0);
    ck_assert_uint_eq(input.len, 6);
    ck_assert_uint_eq(uri.len, 0);
    ck_assert_int_eq(cp_row_input((struct sy_span){buf.data, buf.len - 1}, &input, &uri), -EBADMSG);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_outcome_row)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0}, child = {0};
    char message[CP_ERROR_MESSAGE_MAX + 10];
    memset(message, 'm', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    memcpy(message + CP_ERROR_MESSAGE_MAX - 1, "\xc3\xa9", 2); /* a character on the edge */
    struct cp_outcome_row row = {.phase = SWITCHYARD__V1__PHASE__PHASE_FAILED,
                                 .number = 2,
                                 .epoch = 3,
                                 .started_ns = 10,
                                 .finished_ns = 20,
                                 .output = {(const uint8_t *)"out", 3},
                                 .error = {"Code", message, true},
                                 .cluster = "c",
                                 .node = "n",
                                 .memory_peak_bytes = 1ull << 40,
                                 .has_logs = true};
    cp_row_put_outcome(&buf, &row);
    const Switchyard__Internal__Store__OutcomeRow *got = CP_UNPACK(
        Switchyard__Internal__Store__OutcomeRow,
        switchyard__internal__store__outcome_row__descriptor, &arena, sy_buf_span(&buf));
    ck_assert_ptr_nonnull(got);
    ck_assert_int_eq(got->phase, SWITCHYARD__V1__PHASE__PHASE_FAILED);
    ck_assert_uint_eq(got->epoch, 3);
    ck_assert_uint_eq(strlen(got->error->message), CP_ERROR_MESSAGE_MAX - 1);
    ck_assert(got->error->system);
    ck_assert(got->has_logs);
    ck_assert_uint_eq(got->memory_peak_bytes, 1ull << 40);

    struct sy_span name = {(const uint8_t *)"kid", 3};
    ck_assert_int_eq(cp_row_put_child_outcome(&child, name, sy_buf_span(&buf)), 0);
    ck_assert_int_eq(cp_row_put_child_outcome(&child, name, (struct sy_span){buf.data, 3}),
                     -EBADMSG);
    const Switchyard__V1__WaitChildrenResponse *response = CP_UNPACK(
        Switchyard__V1__WaitChildrenResponse, switchyard__v1__wait_children_response__descriptor,
        &arena, sy_buf_span(&child));
    ck_assert_ptr_nonnull(response);
    ck_assert_uint_eq(response->n_children, 1);
    ck_assert_str_eq(response->children[0]->name, "kid");
    ck_assert_int_eq(response->children[0]->phase, SWITCHYARD__V1__PHASE__PHASE_FAILED);
    ck_assert_uint_eq(response->children[0]->output.len, 3);
    ck_assert_str_eq(response->children[0]->error->code, "Code");
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(test_chunks)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    SY_CLEANUP(sy_buf_deinit) struct sy_buf buf = {0};
    for (uint64_t i = 1; i <= 200; i++) {
        struct cp_event_row row = {.sequence = i,
                                   .action = "a",
                                   .time_ns = 7,
                                   .cluster = "c",
                                   .phase = SWITCHYARD__V1__PHASE__PHASE_RUNNING,
                                   .attempt = 1};
        if (i == 200)
            row.error = (struct cp_error){"X", "", false};
        cp_row_put_event(&buf, &row);
    }
    cp_row_put_event_total(&buf, 77);
    uint64_t entries, total;
    ck_assert_int_eq(cp_chunk_count(sy_buf_span(&buf), &entries, &total), 0);
    ck_assert_uint_eq(entries, 200);
    ck_assert_uint_eq(total, 77);
    ck_assert_int_eq(cp_chunk_count((struct sy_span){buf.data, buf.len - 1}, &entries, &total),
                     -EBADMSG);
    ck_assert_int_eq(cp_chunk_count((struct sy_span){0}, &entries, &total), -EBADMSG);
    /* The stored chunk is a WatchRunResponse, as the wire has it. */
    const Switchyard__V1__WatchRunResponse *response = CP_UNPACK(
        Switchyard__V1__WatchRunResponse, switchyard__v1__watch_run_response__descriptor, &arena,
        sy_buf_span(&buf));
    ck_assert_ptr_nonnull(response);
    ck_assert_uint_eq(response->n_events, 200);
    ck_assert(!response->caught_up);
    ck_assert_uint_eq(response->events[199]->sequence, 200);
    ck_assert_str_eq(response->events[199]->error->code, "X");
    ck_assert_ptr_null(response->events[198]->error);
    struct sy_span span = sy_buf_span(&buf), entry;
    size_t count = 0;
    while (cp_chunk_next(&span, &entry))
        count++;
    ck_assert_uint_eq(count, 200);
    sy_arena_deinit(&arena);
}
END_TEST

/* The scanner on bytes of any kind: it ends, inside of its bounds. */
START_TEST(test_noise)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 5);
    for (int round = 0; round < 20000; round++) {
        size_t len = sy_rng_below(&rng, 40);
        uint8_t *bytes = malloc(len ? len : 1);
        ck_assert_ptr_nonnull(bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = sy_rng_chance(&rng, 1, 2) ? (uint8_t)sy_rng_u64(&rng)
                                                 : (uint8_t)sy_rng_below(&rng, 16);
        struct sy_span span = {bytes, len}, a, b;
        struct cp_field field;
        size_t fields = 0;
        while (cp_read_field(&span, &field))
            ck_assert_uint_le(++fields, len);
        uint64_t entries, total;
        (void)!cp_chunk_count((struct sy_span){bytes, len}, &entries, &total);
        (void)!cp_row_input((struct sy_span){bytes, len}, &a, &b);
        free(bytes);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {test_keys,        test_numbers, test_nesting, test_action_row,
                                  test_outcome_row, test_chunks,  test_noise,   NULL};
    return sy_test_run("cp_rows", tests);
}
