/* links: sy_test_etcd */
/* What the tests' etcd does when something goes wrong: three members, in memory, virtual time. */
#include "tests/unit/test_etcd_world.h"

#define WATCH "/etcdserverpb.Watch/Watch"
#define KEEPALIVE "/etcdserverpb.Lease/LeaseKeepAlive"
#define TXN "/etcdserverpb.KV/Txn"

static void run(void (*test)(struct world *w), uint64_t seed)
{
    struct world w;
    world_open(&w, FAKE_MEM, seed, 3);
    test(&w);
    world_close(&w);
}

#define FAULT_TEST(name)                                                                           \
    static void name##_world(struct world *w);                                                     \
    START_TEST(name)                                                                               \
    {                                                                                              \
        run(name##_world, 1);                                                                      \
    }                                                                                              \
    END_TEST                                                                                       \
    static void name##_world(struct world *w)

static struct heard *begin_put(struct world *w, const char *key, const char *value,
                               int64_t timeout_ns)
{
    struct txn *txn = txn_new(w);
    txn_put(txn, key, value, 0);
    return begin_within(w, TXN, &txn->request.base, timeout_ns);
}

/* A read of this member alone. */
static size_t count_here(struct world *w, const char *key, int64_t *ret_revision)
{
    Etcdserverpb__RangeRequest request = range_request(key, "");
    request.serializable = 1;
    Etcdserverpb__RangeResponse *response = ask_range(w, &request);
    *ret_revision = response->header->revision;
    return response->n_kvs;
}

static void bind_key(struct world *w, const char *key, int64_t lease)
{
    struct txn *txn = txn_new(w);
    txn_put(txn, key, "bound", lease);
    txn_do(w, txn);
}

static bool exists(struct world *w, const char *key)
{
    struct sy_span value;
    return fake_etcd_find(w->etcd, key, &value);
}

/* When the key went, looking each 10 ms. */
static int64_t gone_ns(struct world *w, const char *key)
{
    while (exists(w, key))
        rest(w, 10 * MS);
    return w->now_ns;
}

/* ---- members ---- */

FAULT_TEST(a_member_dies_and_comes_back)
{
    put(w, "a", "1");
    struct heard *stream = open_stream(w, WATCH);
    tell_create(stream, "a", "", 0);
    watch_heard(stream, 0);
    int64_t killed_ns = w->now_ns;
    fake_etcd_kill(w->etcd, 0); /* it led */
    ck_assert(!fake_etcd_up(w->etcd, 0));
    assert_ends(stream, SY_CODE_UNAVAILABLE, NULL);
    heard_free(stream);
    struct heard *refused = begin_put(w, "a", "lost", 0);
    assert_ends(refused, SY_CODE_UNAVAILABLE, NULL);
    heard_free(refused);
    w->at = 1;
    put(w, "a", "2"); /* once another one leads */
    ck_assert_int_ge(w->now_ns, killed_ns + S);
    ck_assert_int_le(w->now_ns, killed_ns + 2 * S);
    fake_etcd_start(w->etcd, 0);
    w->at = 0;
    assert_value(w, "a", "2");
    put(w, "a", "3");
    fake_etcd_kill(w->etcd, 2);
    fake_etcd_kill(w->etcd, 0);
    ck_assert(!fake_etcd_has_leader(w->etcd));
    fake_etcd_kill(w->etcd, 1);
    for (size_t i = 0; i < 3; i++)
        fake_etcd_start(w->etcd, i);
    put(w, "b", "4"); /* all of them were down, nothing is lost */
    assert_value(w, "a", "3");
}

FAULT_TEST(a_member_is_behind)
{
    int64_t revision = 0;
    w->at = 2;
    struct heard *stream = open_stream(w, WATCH);
    tell_create(stream, "a", "", 0);
    watch_heard(stream, 0);
    fake_etcd_cut(w->etcd, 2);
    w->at = 0;
    put(w, "a", "1");
    put(w, "a", "2");
    w->at = 2;
    ck_assert_uint_eq(count_here(w, "a", &revision), 0); /* it does not know better */
    ck_assert_int_eq(revision, 1);
    struct heard *asked = begin_put(w, "a", "3", 0);
    Etcdserverpb__RangeRequest request = range_request("a", "");
    struct heard *read = begin(w, "/etcdserverpb.KV/Range", &request.base);
    rest(w, 5 * S);
    ck_assert_int_eq(stream->messages, 1);
    ck_assert_int_eq(asked->closes, 0);
    fake_etcd_mend(w->etcd, 2);
    assert_ends(asked, SY_CODE_OK, NULL); /* it has waited for a leader */
    assert_ends(read, SY_CODE_UNAVAILABLE, "etcdserver: leader changed");
    ck_assert_uint_eq(count_here(w, "a", &revision), 1);
    ck_assert_int_eq(revision, 4);
    rest(w, S);
    int64_t next = 2;
    for (int i = 1; i < stream->messages; i++) {
        Etcdserverpb__WatchResponse *response = watch_heard(stream, i);
        for (size_t k = 0; k < response->n_events; k++)
            ck_assert_int_eq(response->events[k]->kv->mod_revision, next++);
    }
    ck_assert_int_eq(next, 5);
    heard_free(asked);
    heard_free(read);
    close_stream(stream);
}

/* Its reads and watches are of some moment, whatever was compacted while it was down. */
FAULT_TEST(a_member_dies_and_comes_back_alone)
{
    int64_t revision = 0;
    put(w, "a", "1");
    fake_etcd_kill(w->etcd, 2);
    put(w, "a", "2");
    fake_etcd_compact(w->etcd);
    fake_etcd_cut(w->etcd, 2);
    fake_etcd_start(w->etcd, 2);
    put(w, "a", "3");
    w->at = 2;
    ck_assert_uint_eq(count_here(w, "a", &revision), 1);
    ck_assert_int_eq(revision, 3);
}

/* Compacted while a member was away: its watches hear of each change, or that they cannot. */
START_TEST(compacted_while_behind)
{
    int canceled = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        world_open(&w, FAKE_MEM, seed, 3);
        w.at = 2;
        struct heard *stream = open_stream(&w, WATCH);
        tell_create(stream, "a", "", 0);
        watch_heard(stream, 0);
        fake_etcd_cut(w.etcd, 2);
        w.at = 0;
        put(&w, "a", "1");
        put(&w, "a", "2");
        put(&w, "a", "3");
        fake_etcd_compact(w.etcd);
        w.at = 2;
        int64_t revision = 0;
        ck_assert_uint_eq(count_here(&w, "a", &revision), 0);
        fake_etcd_mend(w.etcd, 2);
        Etcdserverpb__WatchResponse *response = watch_heard(stream, 1);
        canceled += response->canceled;
        if (response->canceled)
            ck_assert_int_eq(response->compact_revision, 4);
        else
            assert_event(watch_heard(stream, 3), 0, "a", "3", 4);
        close_stream(stream);
        world_close(&w);
    }
    ck_assert_int_gt(canceled, 0);
    ck_assert_int_lt(canceled, 20);
}
END_TEST

/* ---- without a leader ---- */

FAULT_TEST(without_quorum_nothing_is_done)
{
    int64_t revision = 0;
    put(w, "a", "1");
    struct heard *silent = open_stream(w, WATCH), *renewals = open_stream(w, KEEPALIVE);
    tell_create(silent, "a", "", 0);
    int64_t id = grant(w, 0, 5)->id;
    w->has_leader = true;
    struct heard *told = open_stream(w, WATCH);
    tell_create(told, "a", "", 0);
    watch_heard(told, 0);
    int64_t lost_ns = w->now_ns;
    fake_etcd_set_quorum(w->etcd, false);
    struct heard *late = open_stream(w, WATCH);
    assert_ends(late, SY_CODE_UNAVAILABLE, "etcdserver: no leader");
    struct heard *refused = begin_put(w, "a", "2", 0);
    assert_ends(refused, SY_CODE_UNAVAILABLE, "etcdserver: no leader");
    ck_assert_int_eq(w->now_ns, lost_ns); /* at once */
    w->has_leader = false;
    ck_assert_int_eq(keepalive(renewals, id), 5); /* the leader has not noticed */
    struct heard *waiting = begin_put(w, "a", "3", 0);
    struct heard *short_of_time = begin_put(w, "a", "4", S);
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    struct heard *granting = begin(w, "/etcdserverpb.Lease/LeaseGrant", &request.base);
    ck_assert_uint_eq(count_here(w, "a", &revision), 1); /* what needs no leader */
    assert_ends(short_of_time, SY_CODE_DEADLINE_EXCEEDED, NULL);
    struct heard *knowing = begin_put(w, "a", "5", 0);
    int64_t knowing_ns = w->now_ns;
    tell_keepalive(renewals, id);
    assert_ends(told, SY_CODE_UNAVAILABLE, "etcdserver: no leader");
    ck_assert_int_ge(told->closed_ns, lost_ns + 3 * S);
    ck_assert_int_le(told->closed_ns, lost_ns + 4 * S);
    assert_ends(waiting, SY_CODE_UNAVAILABLE, "etcdserver: request timed out");
    ck_assert_int_eq(waiting->closed_ns, lost_ns + 7 * S);
    assert_ends(granting, SY_CODE_UNAVAILABLE, "etcdserver: request timed out");
    assert_ends(renewals, SY_CODE_UNAVAILABLE, "etcdserver: no leader");
    ck_assert_int_eq(renewals->closed_ns, knowing_ns + 7 * S);
    assert_ends(knowing, SY_CODE_UNKNOWN, "context deadline exceeded"); /* as etcd 3.4 has it */
    ck_assert_int_eq(knowing->closed_ns, knowing_ns + 7 * S);
    rest(w, 60 * S);
    ck_assert_int_eq(silent->closes, 0);
    ck_assert_int_eq(silent->messages, 1);
    ck_assert(fake_etcd_has_lease(w->etcd, id)); /* nobody could end it */
    ck_assert_int_eq(fake_etcd_revision(w->etcd), 2);
    struct heard *const all[] = {told,    late,          knowing,  refused,
                                 waiting, short_of_time, granting, renewals};
    for (size_t i = 0; i < SY_COUNT_OF(all); i++)
        heard_free(all[i]);
    close_stream(silent);
}

FAULT_TEST(quorum_comes_back)
{
    int64_t id = grant(w, 0, 5)->id;
    bind_key(w, "bound", id);
    struct heard *renewals = open_stream(w, KEEPALIVE);
    struct heard *stream = open_stream(w, WATCH);
    tell_create(stream, "a", "", 0);
    watch_heard(stream, 0);
    fake_etcd_set_quorum(w->etcd, false);
    rest(w, 60 * S);
    struct heard *waiting = begin_put(w, "a", "1", 0);
    tell_keepalive(renewals, id);
    rest(w, S);
    ck_assert_int_eq(waiting->closes, 0);
    int64_t back_ns = w->now_ns;
    fake_etcd_set_quorum(w->etcd, true);
    assert_ends(waiting, SY_CODE_OK, NULL);
    ck_assert_int_ge(w->now_ns, back_ns + S);
    ck_assert_int_le(w->now_ns, back_ns + 2 * S);
    int64_t led_ns = w->now_ns;
    assert_event(watch_heard(stream, 1), 0, "a", "1", 3);
    wait_for(w, &renewals->messages, 1);
    int64_t ended_ns = gone_ns(w, "bound"); /* 1 s, then all of its time anew */
    ck_assert_int_ge(ended_ns, led_ns + 5 * S);
    ck_assert_int_le(ended_ns, led_ns + 6510 * MS);
    heard_free(waiting);
    close_stream(renewals);
    close_stream(stream);
}

/* A write that the old leader took, and that was refused for want of an answer, may be in the log
 * of the next one. */
START_TEST(refused_writes_may_happen_later)
{
    int happened = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        world_open(&w, FAKE_MEM, seed, 3);
        fake_etcd_set_quorum(w.etcd, false);
        struct heard *early = begin_put(&w, "early", "1", 0);
        struct heard *impatient = begin_put(&w, "impatient", "1", 100 * MS);
        rest(&w, S);
        struct heard *late = begin_put(&w, "late", "1", 0);
        assert_ends(impatient, SY_CODE_DEADLINE_EXCEEDED, NULL);
        assert_ends(early, SY_CODE_UNAVAILABLE, "etcdserver: request timed out");
        assert_ends(late, SY_CODE_UNKNOWN, NULL);
        rest(&w, 60 * S);
        ck_assert_int_eq(fake_etcd_revision(w.etcd), 1);
        fake_etcd_set_quorum(w.etcd, true);
        rest(&w, 2 * S);
        happened += exists(&w, "early") + exists(&w, "impatient");
        ck_assert(!exists(&w, "late")); /* nobody took it */
        heard_free(early);
        heard_free(impatient);
        heard_free(late);
        world_close(&w);
    }
    ck_assert_int_gt(happened, 0);
    ck_assert_int_lt(happened, 40);
}
END_TEST

/* It renews what it no longer rules over, for a second; the new leader gives the time back. */
FAULT_TEST(a_leader_that_does_not_know_it_is_cut_off)
{
    int64_t id = grant(w, 0, 2)->id;
    bind_key(w, "bound", id);
    struct heard *renewals = open_stream(w, KEEPALIVE);
    rest(w, 500 * MS);
    fake_etcd_cut(w->etcd, 0);
    rest(w, 990 * MS);
    int64_t renewed_ns = w->now_ns;
    ck_assert_int_eq(keepalive(renewals, id), 2);
    rest(w, 20 * MS);
    tell_keepalive(renewals, id);
    ck_assert_int_ge(gone_ns(w, "bound"), renewed_ns + 2 * S);
    ck_assert_int_eq(renewals->messages, 1); /* the last one had no answer */
    assert_ends(renewals, SY_CODE_UNAVAILABLE, "etcdserver: no leader");
    heard_free(renewals);
}

FAULT_TEST(a_new_leader_extends_leases)
{
    int64_t id = grant(w, 0, 2)->id;
    bind_key(w, "bound", id);
    rest(w, 1900 * MS);
    int64_t changed_ns = w->now_ns;
    fake_etcd_change_leader(w->etcd);
    ck_assert(fake_etcd_has_leader(w->etcd));
    int64_t ended_ns = gone_ns(w, "bound");
    ck_assert_int_ge(ended_ns, changed_ns + 3 * S);
    ck_assert_int_le(ended_ns, changed_ns + 3510 * MS);
}

/* What a write that was under way came to when the leader changed: 'y' told so, else refused, and
 * 'h' happened or 'n' not. */
static char interrupted_write(uint64_t seed)
{
    struct world w;
    world_open(&w, FAKE_MEM, seed, 3);
    fake_etcd_set_delay(w.etcd, 0, 10 * MS, 20 * MS);
    struct heard *heard = begin_put(&w, "a", "1", 0);
    rest(&w, 8 * MS);
    fake_etcd_change_leader(w.etcd);
    wait_for(&w, &heard->closes, 1);
    char outcome = 'y';
    if (heard->code == SY_CODE_OK) {
        ck_assert(exists(&w, "a"));
    } else {
        assert_ends(heard, SY_CODE_UNAVAILABLE,
                    "etcdserver: request timed out, possibly due to previous leader failure");
        outcome = exists(&w, "a") ? 'h' : 'n';
        rest(&w, S);
        ck_assert_int_eq(exists(&w, "a"), outcome == 'h'); /* and not later */
    }
    heard_free(heard);
    world_close(&w);
    return outcome;
}

START_TEST(writes_under_way_happen_or_not)
{
    int told = 0, happened = 0, not = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        char outcome = interrupted_write(seed);
        ck_assert_int_eq(outcome, interrupted_write(seed)); /* the same draws */
        told += outcome == 'y';
        happened += outcome == 'h';
        not += outcome == 'n';
    }
    ck_assert_int_gt(told, 0);
    ck_assert_int_gt(happened, 0);
    ck_assert_int_gt(not, 0);
}
END_TEST

/* ---- slow members, slow clients ---- */

FAULT_TEST(a_slow_member)
{
    struct heard *stream = open_stream(w, WATCH);
    tell_create(stream, "a", "", 0);
    watch_heard(stream, 0);
    fake_etcd_set_delay(w->etcd, 0, 2 * S, 3 * S);
    int64_t began_ns = w->now_ns;
    struct heard *patient = begin_put(w, "a", "1", 0);
    struct heard *impatient = begin_put(w, "b", "2", 1 * MS);
    assert_ends(impatient, SY_CODE_DEADLINE_EXCEEDED, NULL);
    ck_assert(!exists(w, "b"));
    assert_ends(patient, SY_CODE_OK, NULL);
    ck_assert_int_ge(w->now_ns, began_ns + 2 * S);
    ck_assert_int_le(w->now_ns, began_ns + 3 * S);
    rest(w, 3 * S);
    ck_assert(exists(w, "b")); /* it happened after all */
    w->at = 1;
    for (int i = 0; i < 20; i++)
        put(w, "a", "more");
    wait_for(w, &stream->messages, 22);
    for (int i = 2; i < 22; i++) /* in order, however long each took */
        ck_assert_int_gt(watch_heard(stream, i)->header->revision,
                         watch_heard(stream, i - 1)->header->revision);
    heard_free(patient);
    heard_free(impatient);
    close_stream(stream);
}

FAULT_TEST(a_client_that_does_not_read)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    enum { EVENTS = 50, BYTES = 128 << 10 };
    char *value = sy_calloc(1, BYTES + 1);
    memset(value, 'x', BYTES);
    struct heard *stream = open_stream(w, WATCH);
    tell_create(stream, "a", "", 0);
    watch_heard(stream, 0);
    sy_call_set_sink(stream->call, NULL, NULL);
    for (int i = 0; i < EVENTS; i++)
        put(w, "a", value);
    rest(w, S);
    ck_assert_int_eq(stream->messages, 1);
    sy_call_set_sink(stream->call, &sink, stream);
    wait_for(w, &stream->messages, 1 + EVENTS);
    for (int i = 1; i <= EVENTS; i++)
        assert_event(watch_heard(stream, i), 0, "a", value, 1 + i);
    free(value);
    close_stream(stream);
}

/* ---- time ---- */

FAULT_TEST(leases_never_end_early)
{
    enum { LEASES = 100 };
    int64_t ids[LEASES], granted_ns[LEASES], latest_ns = 0;
    for (int i = 0; i < LEASES; i++) {
        ids[i] = grant(w, 0, 2 + i % 3)->id;
        granted_ns[i] = w->now_ns;
        rest(w, 7 * MS);
    }
    for (int left = LEASES; left > 0; rest(w, MS)) {
        for (int i = 0; i < LEASES; i++) {
            if (ids[i] == 0 || fake_etcd_has_lease(w->etcd, ids[i]))
                continue;
            int64_t late_ns = w->now_ns - granted_ns[i] - (2 + i % 3) * S;
            ck_assert_int_ge(late_ns, 0);
            ck_assert_int_le(late_ns, 502 * MS);
            latest_ns = late_ns > latest_ns ? late_ns : latest_ns;
            ids[i] = 0;
            left--;
        }
    }
    ck_assert_int_gt(latest_ns, 400 * MS); /* and some end late */
}

FAULT_TEST(a_quiet_watch_hears_of_progress)
{
    struct heard *stream = open_stream(w, WATCH);
    int64_t began_ns = w->now_ns;
    tell_create(stream, "a", "", 0);
    watch_heard(stream, 0);
    put(w, "b", "1");
    put(w, "b", "2");
    Etcdserverpb__WatchResponse *response = watch_heard(stream, 1);
    ck_assert_uint_eq(response->n_events, 0);
    ck_assert_int_eq(response->header->revision, 3);
    ck_assert_int_ge(w->now_ns, began_ns + 600 * S);
    ck_assert_int_le(w->now_ns, began_ns + 660 * S);
    close_stream(stream);
}

FAULT_TEST(compaction_now)
{
    put(w, "a", "1");
    put(w, "a", "2");
    fake_etcd_compact(w->etcd);
    Etcdserverpb__RangeRequest request = range_request("a", "");
    request.revision = 2;
    refused_range(w, &request, SY_CODE_OUT_OF_RANGE,
                  "etcdserver: mvcc: required revision has been compacted");
    assert_value(w, "a", "2");
    compact(w, 3, SY_CODE_OUT_OF_RANGE, NULL); /* it was */
}

/* Everything is under way: nothing is left behind, nothing runs any more. */
START_TEST(torn_down_at_any_moment)
{
    for (int64_t ms = 0; ms < 40; ms++) {
        struct world w;
        world_open(&w, FAKE_MEM, 1, 3);
        int64_t id = grant(&w, 0, 5)->id;
        fake_etcd_set_delay(w.etcd, 0, 5 * MS, 15 * MS);
        struct heard *heard[] = {open_stream(&w, WATCH), open_stream(&w, KEEPALIVE),
                                 begin_put(&w, "a", "1", 0), begin_put(&w, "b", "2", 12 * MS)};
        tell_create(heard[0], "a", "", 1);
        tell_keepalive(heard[1], id);
        rest(&w, ms * MS);
        if (ms % 2 == 0)
            fake_etcd_set_quorum(w.etcd, false);
        rest(&w, 5 * MS);
        if (ms % 3 == 0)
            fake_etcd_kill(w.etcd, 0);
        world_close(&w);
        for (size_t i = 0; i < SY_COUNT_OF(heard); i++)
            heard_free(heard[i]);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_member_dies_and_comes_back,
        a_member_is_behind,
        a_member_dies_and_comes_back_alone,
        compacted_while_behind,
        without_quorum_nothing_is_done,
        quorum_comes_back,
        refused_writes_may_happen_later,
        a_leader_that_does_not_know_it_is_cut_off,
        a_new_leader_extends_leases,
        writes_under_way_happen_or_not,
        a_slow_member,
        a_client_that_does_not_read,
        leases_never_end_early,
        a_quiet_watch_hears_of_progress,
        compaction_now,
        torn_down_at_any_moment,
        NULL,
    };
    return sy_test_run("etcd_faults", tests);
}
