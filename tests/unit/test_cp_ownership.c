/* links: cp */
/* One shard's part, rule by rule; test_cp_ownership_random.c has several of them together. */
#include "base/mem.h"
#include "tests/unit/cp_ownership_bench.h"
#include "tests/unit/expect_abort.h"

#include <stdlib.h>

/* ---- the tables ---- */

START_TEST(tables_are_sound)
{
    sm_table_check(&cp_ownership_table);
    ck_assert_uint_eq(cp_owned_table.count, CP_OWNED_STATES);
    uint32_t reached = 0;
    for (unsigned i = 0; i < CP_OWNED_STATES; i++)
        reached |= cp_owned_table.states[i].next;
    ck_assert_uint_eq(reached, SM_BIT(CP_OWNED_STATES) - 1);
    ck_assert_uint_eq(cp_owned_table.states[CP_OWNED_NOT_OURS].next, SM_BIT(CP_OWNED_CLAIMING));
    ck_assert_uint_eq(cp_owned_table.states[CP_OWNED_LOST].next, SM_BIT(CP_OWNED_NOT_OURS));
}
END_TEST

/* ---- joining ---- */

START_TEST(joins_once_the_copy_was_read_and_there_is_a_session)
{
    struct bench b;
    init(&b, options());
    b.revision = 0;
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    b.revision = 1;
    b.view.session = 0;
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    b.view.session = SESSION;
    look(&b);
    const struct cp_ownership_effect *e = only(&b, CP_OWNERSHIP_WRITE, CP_OWNERSHIP_MEMBER);
    ck_assert_int_eq(e->kind, CP_COORD_PUT_BOUND);
    ck_assert_int_eq(e->if_revision, CP_COORD_ABSENT);
    ck_assert(happens(&b, e));
    look(&b); /* the copy is faster than the answer */
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_str_eq(b.map.shards[0].endpoint, "b:1");
    wrote(&b, CP_OWNERSHIP_MEMBER, CP_COORD_DONE);
    ck_assert_uint_eq(b.fx.count, 0);
    deinit(&b);
}
END_TEST

START_TEST(waits_for_the_end_of_another_of_its_name)
{
    struct bench b;
    init(&b, options());
    put_shard(&b, "b", SESSION - 1, false);
    put_partition(&b, (struct cp_map_partition){.epoch = 4, .owner = "b", .session = SESSION - 1});
    put_partition(&b, (struct cp_map_partition){.number = 1});
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0); /* neither theirs nor what is free */
    drop_shard(&b, "b");
    look(&b);
    write_and_tell(&b, CP_OWNERSHIP_MEMBER);
    ck_assert_uint_eq(b.fx.count, 2);
    deinit(&b);
}
END_TEST

START_TEST(a_failed_join_is_tried_again_later)
{
    struct bench b;
    init(&b, options());
    look(&b);
    int64_t before = b.view.now_ns;
    for (unsigned i = 0; i < 12; i++) {
        wrote(&b, CP_OWNERSHIP_MEMBER, i % 2 ? CP_COORD_CONFLICT : CP_COORD_UNKNOWN);
        ck_assert_uint_eq(b.fx.count, 0);
        ck_assert_int_gt(b.fx.wake_ns, b.view.now_ns);
        ck_assert_int_le(b.fx.wake_ns - b.view.now_ns, 5 * SY_NS_PER_S);
        ck_assert(i < 8 || b.fx.wake_ns - b.view.now_ns >= 5 * SY_NS_PER_S / 2);
        b.view.now_ns = b.fx.wake_ns;
        look(&b);
        (void)only(&b, CP_OWNERSHIP_WRITE, CP_OWNERSHIP_MEMBER);
    }
    ck_assert_int_gt(b.view.now_ns - before, 5 * SY_NS_PER_S);
    deinit(&b);
}
END_TEST

/* ---- claims ---- */

START_TEST(a_claim_replaces_what_it_was_decided_from)
{
    struct bench b;
    join(&b, options());
    put_shard(&b, "a", 99, true);
    put_partition(
        &b, (struct cp_map_partition){.epoch = 4, .owner = "a", .session = 98, .wanted = "a"});
    int64_t member = records_find(&b.records, "shards/b")->revision, revision = b.revision;
    look(&b);
    const struct cp_ownership_effect *e = only(&b, CP_OWNERSHIP_WRITE, 0);
    struct cp_coord_op ops[CP_OWNERSHIP_OPS_MAX];
    ck_assert_uint_eq(cp_ownership_ops(e, ops), 2);
    ck_assert_int_eq(ops[0].kind, CP_COORD_PUT);
    ck_assert_str_eq(ops[0].key, "partitions/00000");
    ck_assert_int_eq(ops[0].if_revision, revision);
    ck_assert_int_eq(ops[1].kind, CP_COORD_CHECK);
    ck_assert_str_eq(ops[1].key, "shards/b");
    ck_assert_int_eq(ops[1].if_revision, member);
    ck_assert_int_eq(cp_ownership_state(b.o, 0), CP_OWNED_CLAIMING);
    ck_assert_uint_eq(right(&b, 0), 0);
    write_and_tell(&b, 0);
    struct cp_map_partition p = row(&b, 0);
    ck_assert_uint_eq(p.epoch, 5);
    ck_assert_str_eq(p.owner, "b");
    ck_assert_int_eq(p.session, SESSION);
    ck_assert(p.moving);
    ck_assert_str_eq(p.wanted, "a");
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 5);
    ck_assert_uint_eq(right(&b, 0), 5);
    deinit(&b);
}
END_TEST

START_TEST(what_others_own_is_never_claimed)
{
    struct bench b;
    join(&b, options());
    put_shard(&b, "a", 99, true);
    put_partition(&b, (struct cp_map_partition){.epoch = 4, .owner = "a", .session = 99});
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0); /* planned for us, but not free */
    drop_shard(&b, "a");
    look(&b);
    (void)only(&b, CP_OWNERSHIP_WRITE, 0);
    deinit(&b);
}
END_TEST

START_TEST(a_lost_race_is_not_opened)
{
    struct bench b;
    join(&b, options());
    put_partition(&b, (struct cp_map_partition){.epoch = 4});
    look(&b);
    put_shard(&b, "a", 99, false);
    put_partition(&b, (struct cp_map_partition){.epoch = 5, .owner = "a", .session = 99});
    ck_assert(!happens(&b, only(&b, CP_OWNERSHIP_WRITE, 0)));
    wrote(&b, 0, CP_COORD_CONFLICT);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_int_eq(cp_ownership_state(b.o, 0), CP_OWNED_NOT_OURS);
    drop_shard(&b, "a"); /* at once free again: it waits a moment all the same */
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    b.view.now_ns = b.fx.wake_ns;
    look(&b);
    write_and_tell(&b, 0);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 6);
    deinit(&b);
}
END_TEST

/* The answer is lost; the copy shows that it happened, or that another was faster. */
START_TEST(the_copy_tells_what_became_of_a_claim)
{
    for (int won = 0; won < 2; won++) {
        for (int answered = 0; answered < 2; answered++) {
            struct bench b;
            join(&b, options());
            put_partition(&b, (struct cp_map_partition){.epoch = 4});
            look(&b);
            struct cp_ownership_effect e = *only(&b, CP_OWNERSHIP_WRITE, 0);
            b.fx.items[0].value = (struct sy_buf){0};
            if (answered) {
                wrote(&b, 0, CP_COORD_UNKNOWN);
                ck_assert_uint_eq(b.fx.count, 0);
                ck_assert_int_eq(cp_ownership_state(b.o, 0), CP_OWNED_CLAIMING);
            }
            if (won) {
                ck_assert(happens(&b, &e));
            } else {
                put_shard(&b, "a", 99, false);
                put_partition(&b,
                              (struct cp_map_partition){.epoch = 5, .owner = "a", .session = 99});
            }
            look(&b);
            if (won)
                ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 5);
            else
                ck_assert_uint_eq(b.fx.count, 0);
            if (!answered)
                wrote(&b, 0, CP_COORD_UNKNOWN); /* late: nothing follows from it */
            ck_assert_int_eq(cp_ownership_state(b.o, 0),
                             won ? CP_OWNED_OPENING : CP_OWNED_NOT_OURS);
            sy_buf_deinit(&e.value);
            deinit(&b);
        }
    }
}
END_TEST

START_TEST(an_unknown_claim_is_repeated_as_it_was)
{
    struct bench b;
    join(&b, options());
    put_partition(&b, (struct cp_map_partition){.epoch = 4});
    look(&b);
    struct cp_ownership_effect first = *only(&b, CP_OWNERSHIP_WRITE, 0);
    b.fx.items[0].value = (struct sy_buf){0};
    wrote(&b, 0, CP_COORD_UNKNOWN);
    b.view.now_ns = b.fx.wake_ns;
    look(&b);
    const struct cp_ownership_effect *again = only(&b, CP_OWNERSHIP_WRITE, 0);
    ck_assert_int_eq(again->if_revision, first.if_revision);
    ck_assert_uint_eq(again->value.len, first.value.len);
    ck_assert_mem_eq(again->value.data, first.value.data, first.value.len);
    ck_assert(happens(&b, &first)); /* it comes after all, and the second is in vain */
    ck_assert(!happens(&b, again));
    wrote(&b, 0, CP_COORD_CONFLICT);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 5);
    sy_buf_deinit(&first.value);
    deinit(&b);
}
END_TEST

START_TEST(only_the_epoch_that_was_written_is_opened)
{
    struct bench b;
    join(&b, options());
    put_partition(&b, (struct cp_map_partition){.epoch = 4});
    look(&b);
    put_partition(&b, (struct cp_map_partition){.epoch = 6, .owner = "b", .session = SESSION});
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    wrote(&b, 0, CP_COORD_CONFLICT);
    b.view.now_ns = b.fx.wake_ns;
    look(&b);
    write_and_tell(&b, 0);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 7);
    deinit(&b);
}
END_TEST

START_TEST(no_more_are_opened_at_once_than_allowed)
{
    struct bench b;
    struct cp_ownership_options limited = options();
    limited.opening_max = 2;
    join(&b, limited);
    for (uint32_t i = 0; i < 5; i++)
        put_partition(&b, (struct cp_map_partition){.number = i});
    look(&b);
    ck_assert_uint_eq(b.fx.count, 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert(happens(&b, &b.fx.items[i]));
    wrote(&b, 0, CP_COORD_DONE);
    ck_assert_uint_eq(b.fx.count, 2); /* both are opened */
    wrote(&b, 1, CP_COORD_DONE);
    ck_assert_uint_eq(b.fx.count, 0);
    opened(&b, 1, 1);
    ck_assert_uint_eq(b.fx.count, 2); /* `moving` ends for that one, the next is claimed */
    ck_assert_int_eq(cp_ownership_state(b.o, 2), CP_OWNED_CLAIMING);
    ck_assert_int_eq(cp_ownership_state(b.o, 3), CP_OWNED_NOT_OURS);
    deinit(&b);
}
END_TEST

START_TEST(who_has_just_joined_waits_for_others)
{
    struct bench b;
    struct cp_ownership_options patient = options();
    patient.settle_ns = SY_NS_PER_S;
    init(&b, patient);
    put_partition(&b, (struct cp_map_partition){.number = 0});
    put_partition(&b, (struct cp_map_partition){.number = 1, .epoch = 3}); /* given back */
    put_partition(&b,
                  (struct cp_map_partition){.number = 2, .epoch = 3, .owner = "a", .session = 99});
    look(&b);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, CP_OWNERSHIP_MEMBER)));
    wrote(&b, CP_OWNERSHIP_MEMBER, CP_COORD_DONE);
    (void)only(&b, CP_OWNERSHIP_WRITE, 1); /* in a hand-over nobody else would take it */
    ck_assert_int_eq(b.fx.wake_ns, b.view.now_ns + SY_NS_PER_S);
    b.view.now_ns = b.fx.wake_ns;
    look(&b);
    ck_assert_uint_eq(b.fx.count, 2);
    /* Another session, as after an outage that ended all of them: it waits again. */
    drop_shard(&b, "b");
    b.view.session = SESSION + 1;
    look(&b);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, CP_OWNERSHIP_MEMBER)));
    wrote(&b, CP_OWNERSHIP_MEMBER, CP_COORD_DONE);
    ck_assert_uint_eq(b.fx.count, 0);
    deinit(&b);
}
END_TEST

/* ---- the right ---- */

START_TEST(the_right_ends_before_the_session_may)
{
    struct bench b;
    serve(&b);
    b.view.held_until_ns = b.view.now_ns + 2 * SY_NS_PER_S;
    int64_t until = b.view.held_until_ns - MARGIN;
    look(&b);
    ck_assert_int_eq(b.fx.wake_ns, until);
    b.view.now_ns = until - 1;
    ck_assert_uint_eq(right(&b, 0), 5);
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    b.view.now_ns = until; /* also where nobody has stepped it in time */
    ck_assert_uint_eq(right(&b, 0), 0);
    look(&b);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_LOSE, 0)->epoch, 5);
    ck_assert_int_eq(cp_ownership_state(b.o, 0), CP_OWNED_LOST);

    b.view.held_until_ns += 5 * SY_NS_PER_S; /* renewed after all: what is lost stays lost */
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_uint_eq(right(&b, 0), 0);
    closed(&b, 0, 5); /* and is claimed anew, under another epoch */
    write_and_tell(&b, 0);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 6);
    deinit(&b);
}
END_TEST

START_TEST(a_renewal_extends_the_right_without_a_step)
{
    struct bench b;
    serve(&b);
    b.view.held_until_ns = b.view.now_ns + SY_NS_PER_S;
    look(&b);
    b.view.now_ns = b.view.held_until_ns;
    b.view.held_until_ns += SY_NS_PER_S;
    ck_assert_uint_eq(right(&b, 0), 5);
    ck_assert_int_eq(cp_ownership_right_until_ns(b.o, &b.view, 0), b.view.held_until_ns - MARGIN);
    b.view.session++; /* of another session it does not */
    ck_assert_uint_eq(right(&b, 0), 0);
    ck_assert_int_eq(cp_ownership_right_until_ns(b.o, &b.view, 0), 0);
    b.view.session--;
    b.view.held_until_ns = SY_TIME_NEVER; /* without a region's store */
    ck_assert_int_eq(cp_ownership_right_until_ns(b.o, &b.view, 0), SY_TIME_NEVER);
    look(&b);
    ck_assert_int_eq(b.fx.wake_ns, SY_TIME_NEVER);
    deinit(&b);
}
END_TEST

static void end_session(struct bench *b)
{
    b->view.session = 0;
}
static void new_session(struct bench *b)
{
    b->view.session++;
}
static void lose_record(struct bench *b)
{
    drop_shard(b, "b");
}
static void lose_partition(struct bench *b)
{
    records_partition(&b->records, 0)->revision = 0;
    b->revision++;
}
static void taken(struct bench *b)
{
    put_shard(b, "a", 99, false);
    put_partition(b, (struct cp_map_partition){.epoch = 6, .owner = "a", .session = 99});
}
static void other_epoch(struct bench *b)
{
    put_partition(b, (struct cp_map_partition){.epoch = 6, .owner = "b", .session = SESSION});
}
static void freed(struct bench *b)
{
    put_partition(b, (struct cp_map_partition){.epoch = 5});
}

/* Whatever takes the right away ends what is being opened, served or given. */
START_TEST(everything_that_ends_the_right_closes)
{
    static void (*const causes[])(struct bench * b) = {
        end_session, new_session, lose_record, lose_partition, taken, other_epoch, freed};
    for (size_t i = 0; i < SY_COUNT_OF(causes); i++) {
        for (int state = 0; state < 3; state++) {
            struct bench b;
            if (state == 0) {
                join(&b, options());
                put_partition(&b, (struct cp_map_partition){.epoch = 4});
                look(&b);
                write_and_tell(&b, 0);
            } else {
                serve(&b);
            }
            if (state == 2) {
                set_mode(&b, CP_OWNERSHIP_STOPS);
                (void)only(&b, CP_OWNERSHIP_GIVE, 0);
            }
            causes[i](&b);
            look(&b);
            size_t at = 0; /* after it may join anew */
            while (at < b.fx.count && b.fx.items[at].type != CP_OWNERSHIP_LOSE)
                at++;
            ck_assert_uint_lt(at, b.fx.count);
            ck_assert_uint_eq(b.fx.items[at].epoch, 5);
            ck_assert_uint_eq(right(&b, 0), 0);
            ck_assert_int_eq(cp_ownership_state(b.o, 0), CP_OWNED_LOST);
            if (state == 0)
                opened(&b, 0, 5); /* it crossed the LOSE */
            ck_assert_int_eq(cp_ownership_state(b.o, 0), CP_OWNED_LOST);
            closed(&b, 0, 5);
            ck_assert_int_ne(cp_ownership_state(b.o, 0), CP_OWNED_LOST);
            deinit(&b);
        }
    }
}
END_TEST

START_TEST(a_claim_that_lands_after_the_right_is_not_opened)
{
    struct bench b;
    join(&b, options());
    put_partition(&b, (struct cp_map_partition){.epoch = 4});
    look(&b);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, 0)));
    b.view.held_until_ns = b.view.now_ns + MARGIN;
    wrote(&b, 0, CP_COORD_DONE);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_int_lt(b.fx.wake_ns, SY_TIME_NEVER); /* to see whether it was renewed */
    b.view.held_until_ns += SY_NS_PER_S;
    look(&b); /* ours by the record, opened by nobody: again, with the next epoch */
    write_and_tell(&b, 0);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 6);
    deinit(&b);
}
END_TEST

START_TEST(a_store_that_failed_is_opened_under_another_epoch)
{
    struct bench b;
    serve(&b);
    closed(&b, 0, 5);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_uint_eq(right(&b, 0), 0);
    b.view.now_ns = b.fx.wake_ns; /* after a moment */
    look(&b);
    write_and_tell(&b, 0);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 6);
    deinit(&b);
}
END_TEST

/* The records were lost, and begin anew; the store has seen more. */
START_TEST(a_claim_exceeds_what_the_store_has_seen)
{
    struct bench b;
    join(&b, options());
    put_partition(&b, (struct cp_map_partition){.epoch = 4});
    look(&b);
    write_and_tell(&b, 0);
    tell(&b, (struct cp_ownership_event){.type = CP_OWNERSHIP_CLOSED, .epoch = 5, .seen = 40});
    b.view.now_ns = b.fx.wake_ns;
    look(&b);
    write_and_tell(&b, 0);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_OPEN, 0)->epoch, 41);
    ck_assert_uint_eq(row(&b, 0).epoch, 41);
    deinit(&b);
}
END_TEST

/* ---- hand-overs ---- */

START_TEST(what_is_planned_for_another_is_given)
{
    struct bench b;
    serve(&b);
    struct cp_map_partition p = row(&b, 0);
    put_shard(&b, "a", 99, false);
    snprintf(p.wanted, sizeof(p.wanted), "a");
    put_partition(&b, p);
    look(&b);
    ck_assert_uint_eq(only(&b, CP_OWNERSHIP_GIVE, 0)->epoch, 5);
    ck_assert_uint_eq(right(&b, 0), 5); /* to finish what it has begun */
    closed(&b, 0, 5);
    ck_assert_uint_eq(right(&b, 0), 0);
    ck_assert_str_eq(row(&b, 0).owner, "b"); /* not free before it was closed */
    write_and_tell(&b, 0);
    p = row(&b, 0);
    ck_assert_str_eq(p.owner, "");
    ck_assert_int_eq(p.session, 0);
    ck_assert_uint_eq(p.epoch, 5);
    ck_assert_str_eq(p.wanted, "a");
    ck_assert_uint_eq(b.fx.count, 0);
    deinit(&b);
}
END_TEST

/* It serves so many, all written by hand; others may be there. */
static void serve_many(struct bench *b, uint32_t count, struct cp_ownership_options options)
{
    options.opening_max = count;
    join(b, options);
    for (uint32_t i = 0; i < count; i++)
        put_partition(b, (struct cp_map_partition){.number = i});
    look(b);
    for (size_t i = 0; i < count; i++)
        ck_assert(happens(b, &b->fx.items[i]));
    for (uint32_t i = 0; i < count; i++)
        wrote(b, i, CP_COORD_DONE);
    for (uint32_t i = 0; i < count; i++) {
        opened(b, i, 1);
        write_and_tell(b, i);
    }
}

START_TEST(one_after_the_other_is_given)
{
    struct bench b;
    serve_many(&b, 6, options());
    put_shard(&b, "a", 99, false);
    unsigned given = 0;
    look(&b);
    for (; given < 6 && b.fx.count > 0; given++) {
        ck_assert_uint_eq(b.fx.count, 1);
        ck_assert_uint_eq(b.fx.items[0].type, CP_OWNERSHIP_GIVE);
        uint32_t p = b.fx.items[0].partition;
        look(&b);
        ck_assert_uint_eq(b.fx.count, 0); /* while it closes */
        closed(&b, p, 1);
        write_and_tell(&b, p);
        ck_assert_uint_eq(b.fx.count, 0); /* until it was taken */
        put_partition(&b,
                      (struct cp_map_partition){
                          .number = p, .epoch = 2, .owner = "a", .session = 99, .moving = true});
        look(&b);
        ck_assert_uint_eq(b.fx.count, 0); /* until it is open there */
        put_partition(
            &b, (struct cp_map_partition){.number = p, .epoch = 2, .owner = "a", .session = 99});
        look(&b);
    }
    ck_assert_uint_eq(given, 3);
    deinit(&b);
}
END_TEST

/* Also when plans change, or people ask for one. */
START_TEST(what_closes_is_waited_for)
{
    struct bench b;
    serve_many(&b, 3, options());
    put_shard(&b, "a", 99, false);
    for (int i = 2; i >= 0; i--) {
        struct cp_map_partition p = row(&b, (uint32_t)i);
        snprintf(p.wanted, sizeof(p.wanted), "a");
        put_partition(&b, p);
        look(&b);
        if (i == 2)
            (void)only(&b, CP_OWNERSHIP_GIVE, 2);
        else
            ck_assert_uint_eq(b.fx.count, 0);
    }
    closed(&b, 2, 1);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, 2)));
    wrote(&b, 2, CP_COORD_DONE);
    (void)only(&b, CP_OWNERSHIP_GIVE, 0);
    deinit(&b);
}
END_TEST

START_TEST(no_more_move_in_the_region_than_allowed)
{
    struct bench b;
    struct cp_ownership_options limited = options();
    limited.moves_max = 1;
    serve_many(&b, 4, limited);
    put_shard(&b, "a", 99, false);
    put_shard(&b, "c", 98, true);
    put_partition(&b, (struct cp_map_partition){
                          .number = 4, .epoch = 2, .owner = "c", .session = 98, .moving = true});
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    struct cp_map_partition p = row(&b, 2); /* but for what people asked for */
    snprintf(p.wanted, sizeof(p.wanted), "a");
    put_partition(&b, p);
    look(&b);
    (void)only(&b, CP_OWNERSHIP_GIVE, 2);
    deinit(&b);
}
END_TEST

START_TEST(drains_to_others_and_takes_no_more)
{
    struct bench b;
    serve_many(&b, 2, options());
    set_mode(&b, CP_OWNERSHIP_DRAINS);
    write_and_tell(&b, CP_OWNERSHIP_MEMBER);
    ck_assert(b.map.shards[0].draining);
    ck_assert_uint_eq(b.fx.count, 0); /* nobody takes them: it serves on */
    ck_assert_uint_eq(right(&b, 0), 1);
    put_shard(&b, "a", 99, false);
    look(&b);
    uint32_t p = b.fx.items[0].partition;
    (void)only(&b, CP_OWNERSHIP_GIVE, p);
    set_mode(&b, CP_OWNERSHIP_TAKES); /* back again */
    write_and_tell(&b, CP_OWNERSHIP_MEMBER);
    ck_assert(!b.map.shards[cp_map_shard(&b.map, "b")].draining);
    deinit(&b);
}
END_TEST

START_TEST(stops_all_at_once_and_then_leaves)
{
    struct bench b;
    serve_many(&b, 3, options());
    set_mode(&b, CP_OWNERSHIP_STOPS);
    ck_assert_uint_eq(b.fx.count, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(b.fx.items[i].type, CP_OWNERSHIP_GIVE);
    set_mode(&b, CP_OWNERSHIP_TAKES); /* there is no way back */
    ck_assert_uint_eq(b.fx.count, 0);
    closed(&b, 0, 1);
    closed(&b, 2, 1);
    ck_assert_uint_eq(b.fx.count, 0); /* the end of the session frees them: no writes */
    closed(&b, 1, 1);
    (void)only(&b, CP_OWNERSHIP_LEAVE, 0);
    ck_assert_int_eq(cp_ownership_mode(b.o), CP_OWNERSHIP_GONE);
    look(&b);
    ck_assert_uint_eq(b.fx.count, 0);
    deinit(&b);
}
END_TEST

START_TEST(a_claim_that_lands_after_the_stop_is_not_opened)
{
    struct bench b;
    join(&b, options());
    put_partition(&b, (struct cp_map_partition){.epoch = 4});
    look(&b);
    ck_assert(happens(&b, only(&b, CP_OWNERSHIP_WRITE, 0)));
    set_mode(&b, CP_OWNERSHIP_STOPS);
    (void)only(&b, CP_OWNERSHIP_LEAVE, 0);
    wrote(&b, 0, CP_COORD_DONE);
    ck_assert_uint_eq(b.fx.count, 0);
    ck_assert_uint_eq(right(&b, 0), 0);
    deinit(&b);
}
END_TEST

/* ---- what the shell must not do ---- */

static void answer_nothing(void *arg)
{
    wrote(arg, 0, CP_COORD_DONE);
}
static void close_nothing(void *arg)
{
    struct bench *b = arg;
    closed(b, 0, 4);
}
static void open_unknown(void *arg)
{
    struct bench *b = arg;
    opened(b, 1, 1);
}
static void go_back(void *arg)
{
    struct bench *b = arg;
    b->revision -= 2;
    for (size_t i = 0; i < b->records.count; i++)
        b->records.items[i].revision = 0;
    b->map.revision = 0;
    look(b);
}

START_TEST(a_shell_that_is_wrong_is_stopped)
{
    static void (*const wrong[])(void *arg) = {answer_nothing, close_nothing, open_unknown,
                                               go_back};
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        struct bench b;
        serve(&b);
        ck_assert(aborts(wrong[i], &b));
        deinit(&b);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {tables_are_sound,
                                  joins_once_the_copy_was_read_and_there_is_a_session,
                                  waits_for_the_end_of_another_of_its_name,
                                  a_failed_join_is_tried_again_later,
                                  a_claim_replaces_what_it_was_decided_from,
                                  what_others_own_is_never_claimed,
                                  a_lost_race_is_not_opened,
                                  the_copy_tells_what_became_of_a_claim,
                                  an_unknown_claim_is_repeated_as_it_was,
                                  only_the_epoch_that_was_written_is_opened,
                                  no_more_are_opened_at_once_than_allowed,
                                  who_has_just_joined_waits_for_others,
                                  the_right_ends_before_the_session_may,
                                  a_renewal_extends_the_right_without_a_step,
                                  everything_that_ends_the_right_closes,
                                  a_claim_that_lands_after_the_right_is_not_opened,
                                  a_store_that_failed_is_opened_under_another_epoch,
                                  a_claim_exceeds_what_the_store_has_seen,
                                  what_is_planned_for_another_is_given,
                                  one_after_the_other_is_given,
                                  what_closes_is_waited_for,
                                  no_more_move_in_the_region_than_allowed,
                                  drains_to_others_and_takes_no_more,
                                  stops_all_at_once_and_then_leaves,
                                  a_claim_that_lands_after_the_stop_is_not_opened,
                                  a_shell_that_is_wrong_is_stopped,
                                  NULL};
    return sy_test_run("cp_ownership", tests);
}
