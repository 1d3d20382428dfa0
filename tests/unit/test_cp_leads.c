/* links: cp */
/* Which of a cluster's operators is the active one: rule by rule, then two of them under any order
 * of questions, of which some are lost. Pure. */
#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "base/arena.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/leads.h"
#include "proto/pb.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#define NOW ((int64_t)1700000000 * SY_NS_PER_S)
#define LEASE (5 * SY_NS_PER_S)
#define NEVER INT64_MAX

typedef Switchyard__V1__LeadClusterRequest request;

/* The record as it is kept, and read again for each question. */
struct world {
    struct sy_buf row;
    struct sy_arena arena;
    int64_t now_ns;
    uint64_t revision;
};

static const cp_lead_record *record(struct world *w)
{
    if (w->row.len == 0)
        return NULL;
    const cp_lead_record *now = pb_unpack(&switchyard__internal__region__lead_record__descriptor,
                                          &w->arena, sy_buf_span(&w->row));
    ck_assert_ptr_nonnull(now);
    return now;
}

static void open_world(struct world *w)
{
    *w = (struct world){.now_ns = NOW};
    sy_arena_init(&w->arena, 16 << 20);
}

static void close_world(struct world *w)
{
    sy_buf_deinit(&w->row);
    sy_arena_deinit(&w->arena);
}

static request from(const char *session)
{
    request m = SWITCHYARD__V1__LEAD_CLUSTER_REQUEST__INIT;
    m.session = (char *)(uintptr_t)session;
    m.endpoint = (char *)(uintptr_t)session;
    m.store = (char *)"s";
    m.lease_ns = LEASE;
    return m;
}

/* The identity is the session's first letter, over and over. */
static bool ask(struct world *w, const request *m)
{
    uint8_t identity[SY_SHA256_BYTES];
    struct cp_lead_answer answer;
    memset(identity, m->session[0], sizeof(identity));
    struct cp_lead_question question = {
        .request = m, .identity = identity, .now = record(w), .now_ns = w->now_ns};
    cp_lead_decide(&question, &answer);
    if (answer.write) {
        struct sy_buf row = {0};
        pb_pack(&answer.next.base, &row);
        sy_buf_deinit(&w->row);
        w->row = row;
        w->revision++;
    }
    return answer.active;
}

static request over(struct world *w, const char *session)
{
    request m = from(session);
    m.over_term = record(w)->term;
    m.over_renewals = record(w)->renewals;
    return m;
}

START_TEST(the_first_is_active_and_nothing_is_written_while_nobody_stands_by)
{
    struct world w;
    open_world(&w);
    request a = from("a1");
    ck_assert(ask(&w, &a));
    ck_assert_uint_eq(record(&w)->term, 1);
    uint64_t written = w.revision;
    for (int i = 0; i < 100; i++) {
        w.now_ns += LEASE / 4;
        ck_assert(ask(&w, &a));
    }
    ck_assert_uint_eq(w.revision, written);
    close_world(&w);
}
END_TEST

START_TEST(another_stands_by_until_the_record_has_not_changed_for_its_lease)
{
    struct world w;
    open_world(&w);
    request a = from("a1"), b = from("b1");
    ck_assert(ask(&w, &a));
    ck_assert(!ask(&w, &b));
    ck_assert_uint_eq(record(&w)->n_standbys, 1);
    ck_assert_str_eq(record(&w)->standbys[0]->endpoint, "b1");
    uint64_t written = w.revision;
    ck_assert(!ask(&w, &b)); /* it is known already */
    ck_assert_uint_eq(w.revision, written);
    request early = over(&w, "b1");
    ck_assert(ask(&w, &a)); /* it is renewed: what b has seen is not so any more */
    ck_assert(!ask(&w, &early));
    request late = over(&w, "b1");
    ck_assert(ask(&w, &late));
    ck_assert_uint_eq(record(&w)->term, 2);
    ck_assert_uint_eq(record(&w)->n_standbys, 0);
    ck_assert(!ask(&w, &a));
    ck_assert_str_eq(record(&w)->session, "b1");
    close_world(&w);
}
END_TEST

START_TEST(one_that_stops_leaves_it_to_the_next_at_once)
{
    struct world w;
    open_world(&w);
    request a = from("a1"), b = from("b1"), leaves = from("a1");
    leaves.leaves = true;
    ck_assert(ask(&w, &a));
    ck_assert(!ask(&w, &b));
    ck_assert(!ask(&w, &leaves));
    ck_assert_str_eq(record(&w)->endpoint, "");
    ck_assert(!ask(&w, &leaves)); /* once more does no harm */
    ck_assert(ask(&w, &b));
    ck_assert_uint_eq(record(&w)->term, 2);
    request gone = from("c1");
    ck_assert(!ask(&w, &gone));
    gone.leaves =
        true; /* one that stands by stops: it is shown no more, and nothing else changes */
    ck_assert(!ask(&w, &gone));
    ck_assert_uint_eq(record(&w)->n_standbys, 0);
    ck_assert_str_eq(record(&w)->session, "b1");
    close_world(&w);
}
END_TEST

START_TEST(who_was_started_anew_need_not_wait_for_itself)
{
    struct world w;
    open_world(&w);
    request a = from("a1"), again = from("a2"), other = from("b1");
    ck_assert(ask(&w, &a));
    ck_assert(!ask(&w, &again)); /* it was answered before: another process has its identity */
    other.fresh = true;
    ck_assert(!ask(&w, &other));
    again.fresh = true;
    ck_assert(ask(&w, &again));
    ck_assert_uint_eq(record(&w)->term, 2);
    ck_assert(!ask(&w, &a));
    close_world(&w);
}
END_TEST

START_TEST(terms_grow_also_when_the_record_was_lost)
{
    struct world w;
    open_world(&w);
    request a = from("a1");
    a.term_min = 41;
    ck_assert(ask(&w, &a));
    ck_assert_uint_eq(record(&w)->term, 42);
    sy_buf_deinit(&w.row);
    a.term_min = 42;
    ck_assert(ask(&w, &a));
    ck_assert_uint_eq(record(&w)->term, 43);
    close_world(&w);
}
END_TEST

START_TEST(an_operator_of_a_cluster_that_was_deleted_is_not_waited_for)
{
    struct world w;
    open_world(&w);
    request a = from("a1"), b = from("b1");
    ck_assert(ask(&w, &a));
    uint8_t identity[SY_SHA256_BYTES] = {0};
    struct cp_lead_answer answer;
    struct cp_lead_question question = {
        .request = &b, .identity = identity, .now = record(&w), .holder_left = true, .now_ns = NOW};
    cp_lead_decide(&question, &answer);
    ck_assert(answer.active && answer.write);
    ck_assert_uint_eq(answer.next.term, 2);
    close_world(&w);
}
END_TEST

START_TEST(one_that_has_not_asked_for_long_does_not_stand_by)
{
    struct world w;
    char name[8];
    open_world(&w);
    request a = from("a1");
    ck_assert(ask(&w, &a));
    for (unsigned i = 0; i < CP_LEAD_STANDBYS_MAX + 3; i++) {
        snprintf(name, sizeof(name), "%c%u", 'b' + (int)i, i);
        request m = from(name);
        ck_assert(!ask(&w, &m));
    }
    ck_assert_uint_eq(record(&w)->n_standbys, CP_LEAD_STANDBYS_MAX);
    ck_assert_str_eq(record(&w)->standbys[CP_LEAD_STANDBYS_MAX - 1]->endpoint, name);
    w.now_ns += CP_LEAD_GONE_NS;
    ck_assert(ask(&w, &a));
    ck_assert_uint_eq(record(&w)->n_standbys, 0);
    close_world(&w);
}
END_TEST

START_TEST(nonsense_is_refused_by_a_sentence_that_names_it)
{
    struct sy_error_text error;
    request m = from("a1");
    ck_assert_int_eq(cp_lead_request_check(&m, &error), 0);
    struct {
        request m;
        const char *words;
    } cases[] = {{m, "session"}, {m, "lease_ns"}, {m, "lease_ns"}, {m, "store"}, {m, "term_min"}};
    cases[0].m.session = (char *)"";
    cases[1].m.lease_ns = 0;
    cases[2].m.lease_ns = INT64_MAX;
    cases[3].m.store = (char *)"a b";
    cases[4].m.term_min = UINT64_MAX;
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        error.text[0] = '\0';
        ck_assert_int_eq(cp_lead_request_check(&cases[i].m, &error), -EINVAL);
        ck_assert_msg(strstr(error.text, cases[i].words), "%s", error.text);
    }
}
END_TEST

/* ---- any order ---- */

/* As dataplane/lead.c counts, on a clock of its own. */
struct asker {
    char session[8];
    int64_t until_ns;        /* of its own lease */
    uint64_t term, renewals; /* of another's record */
    int64_t since_ns;
    uint64_t held; /* the term under which it is active */
};

static void ask_at(struct world *w, struct asker *asker, int64_t now_ns, bool lost)
{
    request m = from(asker->session);
    const cp_lead_record *now = record(w);
    if (now != NULL && asker->term == now->term && asker->renewals == now->renewals &&
        asker->since_ns > 0 && now_ns - asker->since_ns >= LEASE) {
        m.over_term = asker->term;
        m.over_renewals = asker->renewals;
    }
    bool active = ask(w, &m);
    if (lost)
        return;
    now = record(w);
    if (active) {
        asker->held = now->term;
        asker->until_ns = now_ns + LEASE - LEASE / 10;
        if (now->n_standbys == 0)
            asker->until_ns = NEVER;
        asker->since_ns = 0;
        return;
    }
    asker->held = 0;
    if (asker->since_ns == 0 || asker->term != now->term || asker->renewals != now->renewals) {
        asker->term = now->term;
        asker->renewals = now->renewals;
        asker->since_ns = now_ns;
    }
}

START_TEST(whoever_takes_over_finds_the_other_lapsed)
{
    size_t takeovers = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world w;
        struct sy_rng rng;
        struct asker askers[2] = {{.session = "a1"}, {.session = "b1"}};
        uint64_t greatest = 0;
        open_world(&w);
        sy_rng_init(&rng, seed);
        ask_at(&w, &askers[0], 1, false);
        ask_at(&w, &askers[1], 1, false);
        ask_at(&w, &askers[0], 2, false); /* it has heard that another stands by */
        for (int64_t now_ns = 2; now_ns < 100 * LEASE;) {
            now_ns += (int64_t)sy_rng_below(&rng, LEASE / 2);
            struct asker *asker = &askers[sy_rng_below(&rng, 4) == 0];
            struct asker *other = &askers[asker == askers];
            if (now_ns / LEASE % 7 == 3)
                asker = &askers[1]; /* the other one stands still */
            uint64_t before = asker->held;
            ask_at(&w, asker, now_ns, sy_rng_chance(&rng, 1, 5));
            ck_assert_uint_ge(record(&w)->term, greatest);
            if (asker->held != 0 && before == 0 && record(&w)->term > greatest &&
                other->until_ns != NEVER) { /* one that knows of no other has its term only */
                takeovers++;
                ck_assert_msg(other->held == 0 || other->until_ns <= now_ns, "seed %llu",
                              (unsigned long long)seed);
            }
            greatest = record(&w)->term;
            sy_arena_reset(&w.arena);
        }
        close_world(&w);
    }
    ck_assert_uint_gt(takeovers, 200);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {the_first_is_active_and_nothing_is_written_while_nobody_stands_by,
                                  another_stands_by_until_the_record_has_not_changed_for_its_lease,
                                  one_that_stops_leaves_it_to_the_next_at_once,
                                  who_was_started_anew_need_not_wait_for_itself,
                                  terms_grow_also_when_the_record_was_lost,
                                  an_operator_of_a_cluster_that_was_deleted_is_not_waited_for,
                                  one_that_has_not_asked_for_long_does_not_stand_by,
                                  nonsense_is_refused_by_a_sentence_that_names_it,
                                  whoever_takes_over_finds_the_other_lapsed,
                                  NULL};
    return sy_test_run("leads", tests);
}
