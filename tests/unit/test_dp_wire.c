/* links: dp */
/* The wire reader against protobuf-c and against broken bytes; specs and calls as tables. */
#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "base/mem.h"
#include "base/rng.h"
#include "dataplane/calls.h"
#include "dataplane/specs.h"
#include "dataplane/wire.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sy_span text(const char *s)
{
    return (struct sy_span){(const uint8_t *)s, strlen(s)};
}

static const struct sch_attempt_key key = {
    .action = (5ull << 40) | 77, .partition = 3, .number = 300, .epoch = UINT32_MAX};

START_TEST(records_are_read_as_protobuf_writes_them)
{
    Switchyard__Internal__Assignment a = SWITCHYARD__INTERNAL__ASSIGNMENT__INIT;
    a.partition = key.partition;
    a.action = key.action;
    a.number = key.number;
    a.epoch = key.epoch;
    a.class_ = 17;
    a.spec = 1u << 31;
    a.run = (char *)(uintptr_t) "p/d/r";
    a.priority = -5;
    uint8_t bytes[256];
    size_t len = switchyard__internal__assignment__pack(&a, bytes);
    struct dp_record record;
    ck_assert_int_eq(dp_wire_record((struct sy_span){bytes, len}, &record), 0);
    ck_assert(dp_key_equal(&record.key, &key));
    ck_assert_uint_eq(record.value5, 17);
    ck_assert_uint_eq(record.value6, 1u << 31);
    for (size_t cut = 1; cut < len; cut++) { /* no prefix is read past its end */
        uint8_t *part = sy_memdup(bytes, cut);
        int r = dp_wire_record((struct sy_span){part, cut}, &record);
        ck_assert(r == 0 || r == -EBADMSG);
        free(part);
    }
    Switchyard__Internal__Outcome o = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    o.action = 9;
    o.kind = 7;
    o.started_ns = -1;
    len = switchyard__internal__outcome__pack(&o, bytes);
    ck_assert_int_eq(dp_wire_record((struct sy_span){bytes, len}, &record), 0);
    ck_assert_int_eq((int64_t)record.value10, -1);
    Switchyard__Internal__Cancel c = SWITCHYARD__INTERNAL__CANCEL__INIT;
    c.reason = (char *)(uintptr_t) "why";
    len = switchyard__internal__cancel__pack(&c, bytes);
    ck_assert_int_eq(dp_wire_record((struct sy_span){bytes, len}, &record), 0);
    ck_assert_uint_eq(record.text5.len, 3);
}
END_TEST

START_TEST(protobuf_reads_what_is_written)
{
    struct sy_buf buf = {0};
    dp_wire_put_key(&buf, &key);
    dp_wire_put_u64(&buf, 5, UINT64_MAX);
    dp_wire_put_text(&buf, 6, "node1");
    Switchyard__Internal__Started *s = switchyard__internal__started__unpack(NULL, buf.len,
                                                                             buf.data);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(s->action, key.action);
    ck_assert_uint_eq(s->partition, key.partition);
    ck_assert_uint_eq(s->number, key.number);
    ck_assert_uint_eq(s->epoch, key.epoch);
    ck_assert_int_eq(s->started_ns, -1);
    ck_assert_str_eq(s->node, "node1");
    switchyard__internal__started__free_unpacked(s, NULL);
    sy_buf_clear(&buf);
    dp_wire_put_key(&buf, &(struct sch_attempt_key){0});
    dp_wire_put_text(&buf, 5, "");
    dp_wire_put_text(&buf, 5, NULL);
    ck_assert_uint_eq(buf.len, 0);
    sy_buf_deinit(&buf);
}
END_TEST

START_TEST(malformed_bytes_are_refused)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x80", 1},                                          /* a tag cut short */
        {"\x00\x01", 2},                                      /* field number 0 */
        {"\x08", 1},                                          /* no value */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11}, /* more than 64 bits */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12},
        {"\x0a\x05xxx", 5},                                    /* longer than what is there */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 12}, /* much longer */
        {"\x0b\x0c", 2},                                       /* a group */
        {"\x11\x01\x02", 3},                                   /* fixed64 cut short */
        {"\x0d\x01", 2},                                       /* fixed32 cut short */
        {"\x0e", 1},                                           /* an unknown wire type */
        {"\xfa\xff\xff\xff\xff\x01\x00", 7},                   /* a field number too large */
    };
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++) {
        struct dp_record record;
        uint8_t *bytes = sy_memdup(bad[i].bytes, bad[i].len);
        int r = dp_wire_record((struct sy_span){bytes, bad[i].len}, &record);
        ck_assert_msg(r == -EBADMSG, "case %zu was taken", i);
        free(bytes);
    }
    struct dp_record record;
    ck_assert_int_eq(dp_wire_record((struct sy_span){(const uint8_t *)"\x10\x01", 2}, &record),
                     -EBADMSG);
    ck_assert_int_eq(dp_wire_record((struct sy_span){(const uint8_t *)"\x0a\x00", 2}, &record),
                     -EBADMSG);
}
END_TEST

START_TEST(random_bytes_do_no_harm)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 4711);
    for (int i = 0; i < 20000; i++) {
        size_t len = (size_t)sy_rng_below(&rng, 40);
        uint8_t *bytes = sy_malloc(len + 1);
        for (size_t j = 0; j < len; j++)
            bytes[j] = (uint8_t)sy_rng_below(&rng, sy_rng_chance(&rng, 1, 2) ? 256 : 32);
        struct dp_record record;
        int r = dp_wire_record((struct sy_span){bytes, len}, &record);
        ck_assert(r == 0 || r == -EBADMSG);
        free(bytes);
    }
}
END_TEST

struct seen {
    uint32_t numbers[16];
    size_t count, stop_after;
};

static int see(void *ctx, const struct dp_wire_field *field)
{
    struct seen *seen = ctx;
    seen->numbers[seen->count++] = field->number;
    return seen->count == seen->stop_after ? 1 : 0;
}

START_TEST(fields_come_in_the_order_of_their_numbers)
{
    struct sy_buf buf = {0};
    dp_wire_put_text(&buf, 5, "a");
    dp_wire_put_text(&buf, 2, "b");
    dp_wire_put_text(&buf, 40, "unknown");
    dp_wire_put_text(&buf, 5, "c");
    dp_wire_put_u64(&buf, 1, 7);
    struct seen seen = {0};
    ck_assert_int_eq(dp_wire_each(sy_buf_span(&buf), 9, see, &seen), 0);
    ck_assert_uint_eq(seen.count, 4);
    ck_assert_uint_eq(seen.numbers[0], 1);
    ck_assert_uint_eq(seen.numbers[1], 2);
    ck_assert_uint_eq(seen.numbers[3], 5);
    seen = (struct seen){.stop_after = 2};
    ck_assert_int_eq(dp_wire_each(sy_buf_span(&buf), 9, see, &seen), 1);
    ck_assert_uint_eq(seen.count, 2);
    sy_buf_append(&buf, "\xff", 1); /* broken at its end: nothing of it is handled */
    seen = (struct seen){0};
    ck_assert_int_eq(dp_wire_each(sy_buf_span(&buf), 9, see, &seen), -EBADMSG);
    ck_assert_uint_eq(seen.count, 0);
    sy_buf_deinit(&buf);
}
END_TEST

START_TEST(cuts_fall_between_records)
{
    struct sy_buf buf = {0};
    for (int i = 0; i < 3; i++)
        dp_wire_put_record(&buf, 4, text("0123456789")); /* 12 bytes each */
    ck_assert_uint_eq(dp_wire_cut(sy_buf_span(&buf), 100), 36);
    ck_assert_uint_eq(dp_wire_cut(sy_buf_span(&buf), 36), 36);
    ck_assert_uint_eq(dp_wire_cut(sy_buf_span(&buf), 35), 24);
    ck_assert_uint_eq(dp_wire_cut(sy_buf_span(&buf), 12), 12);
    ck_assert_uint_eq(dp_wire_cut(sy_buf_span(&buf), 3), 12);
    ck_assert_uint_eq(dp_wire_cut(sy_buf_span(&buf), 0), 12);
    sy_buf_deinit(&buf);
}
END_TEST

/* ---- specs ---- */

struct gone {
    uint32_t slots[8];
    size_t count;
};

static void on_gone(void *ctx, uint32_t slot, const struct dp_spec_key *which)
{
    struct gone *gone = ctx;
    (void)which;
    gone->slots[gone->count++] = slot;
}

START_TEST(specs_live_while_somebody_needs_them)
{
    struct gone gone = {0};
    struct dp_specs specs;
    struct dp_specs_use use = {0};
    struct dp_spec_key a = {0, 1, 1}, b = {0, 1, 2}, other = {1, 1, 1};
    dp_specs_init(&specs, on_gone, &gone);
    ck_assert_int_eq(dp_specs_add(&specs, &a, text("A"), &use), 0);
    ck_assert_int_eq(dp_specs_add(&specs, &a, text("A"), &use), 0);
    ck_assert_int_eq(dp_specs_add(&specs, &b, text("BB"), &use), 0);
    ck_assert_uint_eq(use.count, 2);
    ck_assert_uint_eq(use.bytes, 3);
    struct dp_spec *spec = dp_specs_find(&specs, &a);
    ck_assert(dp_spec_claim(spec, 70));
    ck_assert(!dp_spec_claim(spec, 70));
    ck_assert(dp_spec_claim(spec, 2));
    dp_spec_ref(spec);
    dp_specs_drop(&specs, &a, &use);
    ck_assert_ptr_nonnull(dp_specs_find(&specs, &a)); /* an assignment waits */
    ck_assert_uint_eq(use.count, 1);
    dp_spec_unref(spec);
    ck_assert_ptr_null(dp_specs_find(&specs, &a));
    ck_assert_uint_eq(gone.count, 2);
    ck_assert_uint_eq(gone.slots[0], 2);
    ck_assert_uint_eq(gone.slots[1], 70);
    struct dp_specs_use other_use = {0};
    ck_assert_int_eq(dp_specs_add(&specs, &other, text("C"), &other_use), 0);
    dp_spec_claim(dp_specs_find(&specs, &other), 2);
    dp_specs_clear_slot(&specs, 2);
    dp_specs_drop_partition(&specs, 0, &use);
    ck_assert_ptr_null(dp_specs_find(&specs, &b));
    ck_assert_ptr_nonnull(dp_specs_find(&specs, &other));
    dp_specs_drop_partition(&specs, 1, &other_use);
    ck_assert_uint_eq(gone.count, 2); /* nobody in that slot any more */
    dp_specs_deinit(&specs);
}
END_TEST

START_TEST(specs_are_bounded)
{
    struct gone gone = {0};
    struct dp_specs specs;
    struct dp_specs_use use = {0};
    dp_specs_init(&specs, on_gone, &gone);
    struct dp_spec_key id = {0, 1, 0};
    for (; id.id < DP_SPECS_MAX; id.id++)
        ck_assert_int_eq(dp_specs_add(&specs, &id, text("x"), &use), 0);
    ck_assert_int_eq(dp_specs_add(&specs, &id, text("x"), &use), DP_SPECS_E_FULL);
    dp_specs_drop(&specs, &(struct dp_spec_key){0, 1, 9}, &use);
    ck_assert_int_eq(dp_specs_add(&specs, &id, text("x"), &use), 0);
    use.bytes = DP_SPECS_BYTES_MAX;
    use.count--;
    id.id++;
    ck_assert_int_eq(dp_specs_add(&specs, &id, text("x"), &use), DP_SPECS_E_FULL);
    dp_specs_deinit(&specs);
}
END_TEST

START_TEST(calls_belong_to_their_agents)
{
    struct dp_calls calls = {0};
    struct dp_agent_calls a = {0}, b = {0};
    struct dp_call_id one = dp_call_id(&key, 1), two = dp_call_id(&key, 2),
                      three = dp_call_id(&key, 3);
    ck_assert_int_eq(dp_calls_add(&calls, &one, 3, 0, &a), 0);
    ck_assert_int_eq(dp_calls_add(&calls, &two, 3, 1, &b), 0);
    ck_assert_int_eq(dp_calls_add(&calls, &three, 3, 0, &a), 0);
    ck_assert_int_eq(dp_calls_add(&calls, &one, 3, 0, &a), DP_CALLS_E_KNOWN);
    dp_calls_remove(&calls, dp_calls_find(&calls, &one), &a);
    ck_assert_uint_eq(a.count, 1);
    ck_assert_ptr_null(dp_calls_find(&calls, &one));
    dp_calls_remove_agent(&calls, &a);
    ck_assert_ptr_null(dp_calls_find(&calls, &three));
    ck_assert_uint_eq(dp_calls_find(&calls, &two)->slot, 1);
    b.count = DP_CALLS_MAX;
    ck_assert_int_eq(dp_calls_add(&calls, &one, 3, 1, &b), DP_CALLS_E_FULL);
    b.count = 1;
    dp_calls_remove_agent(&calls, &b);
    ck_assert_ptr_null(calls.table);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        records_are_read_as_protobuf_writes_them,
        protobuf_reads_what_is_written,
        malformed_bytes_are_refused,
        random_bytes_do_no_harm,
        fields_come_in_the_order_of_their_numbers,
        cuts_fall_between_records,
        specs_live_while_somebody_needs_them,
        specs_are_bounded,
        calls_belong_to_their_agents,
        NULL,
    };
    return sy_test_run("dp_wire", tests);
}
