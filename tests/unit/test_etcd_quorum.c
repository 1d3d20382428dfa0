/* links: sy_test_etcd */
/*
 * What an etcd of three members does when two of them die and one comes back: the same test for
 * that of tests/etcd and for the real one. The client talks to the one that stays.
 */
#include "tests/unit/test_etcd_world.h"

#define WATCH "/etcdserverpb.Watch/Watch"
#define KEEPALIVE "/etcdserverpb.Lease/LeaseKeepAlive"
#define TXN "/etcdserverpb.KV/Txn"
#define RANGE "/etcdserverpb.KV/Range"

static struct real real;

static void kill_member(struct world *w, size_t member)
{
    if (w->kind == REAL)
        real_kill(&real, member);
    else
        fake_etcd_kill(w->etcd, member);
}

static void start_member(struct world *w, size_t member)
{
    if (w->kind == REAL)
        real_fork(&real, member);
    else
        fake_etcd_start(w->etcd, member);
}

static const ProtobufCMessage *put_of(struct world *w, const char *key, int64_t lease)
{
    struct txn *txn = txn_new(w);
    txn_put(txn, key, "1", lease);
    return &txn->request.base;
}

/* The member knows that it has no leader. When is its own affair: it counts in ticks. */
static void wait_until_leaderless(struct world *w)
{
    Etcdserverpb__RangeRequest request = range_request("a", "");
    request.serializable = 1;
    enum sy_code code = SY_CODE_OK;
    w->has_leader = true;
    while (code != SY_CODE_UNAVAILABLE) {
        struct heard *asked = begin(w, RANGE, &request.base);
        wait_for(w, &asked->closes, 1);
        code = asked->code;
        heard_free(asked);
        rest(w, 50 * MS);
    }
    w->has_leader = false;
}

/* Ended after that long at least; etcd reckons with a clock of its own. */
static void assert_lasted(const struct heard *heard, int64_t since_ns, int64_t least_ns)
{
    ck_assert_int_ge(heard->closed_ns - since_ns, least_ns - 20 * MS);
    if (heard->w->kind == FAKE_MEM)
        ck_assert_int_le(heard->closed_ns - since_ns, least_ns + S);
}

/*
 * A stream that wants a leader is told when its member was without one three times in a row; it
 * looks each second. In memory the leader lasts a second more.
 */
static int64_t told_after_ns(const struct world *w)
{
    return w->kind == FAKE_MEM ? 3 * S : 2 * S;
}

static void leaderless(struct world *w, int64_t lease, struct heard *told, int64_t had_ns)
{
    Etcdserverpb__RangeRequest request = range_request("a", "");
    int64_t now_ns = time_of(w);
    w->has_leader = true;
    struct heard *at_once[] = {begin(w, TXN, put_of(w, "a", 0)), begin(w, RANGE, &request.base),
                               open_stream(w, WATCH), open_stream(w, KEEPALIVE)};
    w->has_leader = false;
    for (size_t i = 0; i < SY_COUNT_OF(at_once); i++) {
        assert_ends(at_once[i], SY_CODE_UNAVAILABLE, "etcdserver: no leader");
        heard_free(at_once[i]);
    }
    struct heard *write = begin(w, TXN, put_of(w, "never", 0));
    struct heard *read = begin(w, RANGE, &request.base);
    struct heard *renewals = open_stream(w, KEEPALIVE);
    tell_keepalive(renewals, lease);
    request.serializable = 1;
    ck_assert_uint_eq(ask_range(w, &request)->n_kvs, 1); /* needs nobody else */
    assert_ends(told, SY_CODE_UNAVAILABLE, "etcdserver: no leader");
    assert_lasted(told, had_ns, told_after_ns(w));
    assert_ends(write, SY_CODE_UNKNOWN, "context deadline exceeded");
    assert_ends(read, SY_CODE_UNAVAILABLE, "etcdserver: request timed out");
    assert_ends(renewals, SY_CODE_UNAVAILABLE, "etcdserver: no leader");
    assert_lasted(write, now_ns, 7 * S);
    assert_lasted(read, now_ns, 7 * S);
    assert_lasted(renewals, now_ns, 7 * S);
    heard_free(write);
    heard_free(read);
    heard_free(renewals);
}

/* Asked again while the two that are left elect once more: one that stands still for a second does
 * not lead any longer. */
static bool is_there(struct world *w, const char *key)
{
    Etcdserverpb__RangeRequest request = range_request(key, "");
    struct heard *read;
    for (;;) {
        read = begin(w, RANGE, &request.base);
        wait_for(w, &read->closes, 1);
        if (read->code != SY_CODE_UNAVAILABLE)
            break;
        heard_free(read);
        rest(w, 50 * MS);
    }
    assert_ends(read, SY_CODE_OK, NULL);
    const Etcdserverpb__RangeResponse *response = message_of(
        read, 0, &etcdserverpb__range_response__descriptor);
    bool there = response->n_kvs > 0;
    heard_free(read);
    return there;
}

static bool ended_in_vain(struct heard *write, struct heard *read)
{
    wait_for(write->w, &write->closes, 1);
    wait_for(read->w, &read->closes, 1);
    return strcmp(write->text, "context deadline exceeded") == 0 &&
           strcmp(read->text, "etcdserver: request timed out") == 0;
}

/*
 * What waits when a leader comes: begun anew each time that 7 s were too short for a process to
 * start and to be elected with. Returns when there was none yet.
 */
static int64_t found(struct world *w)
{
    Etcdserverpb__RangeRequest request = range_request("a", "");
    struct heard *write = begin(w, TXN, put_of(w, "waiting", 0));
    struct heard *read = begin(w, RANGE, &request.base);
    rest(w, 100 * MS);
    int64_t before_ns = time_of(w);
    start_member(w, 1);
    while (ended_in_vain(write, read)) {
        heard_free(write);
        heard_free(read);
        before_ns = time_of(w);
        write = begin(w, TXN, put_of(w, "waiting", 0));
        read = begin(w, RANGE, &request.base);
    }
    assert_ends(write, SY_CODE_OK, NULL);
    assert_ends(read, SY_CODE_UNAVAILABLE, "etcdserver: leader changed");
    heard_free(write);
    heard_free(read);
    return before_ns;
}

static void quorum_is_lost_and_found(struct world *w)
{
    put(w, "a", "1");
    int64_t lease = grant(w, 0, 5)->id;
    ask(w, TXN, put_of(w, "bound", lease), &etcdserverpb__txn_response__descriptor, SY_CODE_OK,
        NULL);
    struct heard *silent = open_stream(w, WATCH);
    tell_create(silent, "waiting", "", 0);
    int64_t had_ns = time_of(w); /* a leader: the stream is let in */
    w->has_leader = true;
    struct heard *told = open_stream(w, WATCH);
    tell_create(told, "waiting", "", 0);
    watch_heard(told, 0);
    w->has_leader = false;
    kill_member(w, 1);
    kill_member(w, 2);
    rest(w, 2500 * MS);
    wait_until_leaderless(w);
    leaderless(w, lease, told, had_ns);

    int64_t found_ns = found(w);
    while (is_there(w, "bound")) /* it has been without renewal for 10 s */
        rest(w, 50 * MS);
    ck_assert_int_ge(time_of(w), found_ns + 5 * S); /* all of its time anew */
    ck_assert(!is_there(w, "never"));
    watch_heard(silent, 1); /* the same watch as before */
    ck_assert_int_eq(silent->closes, 0);
    heard_free(told);
    close_stream(silent);
}

static void run(enum kind kind)
{
    struct world w;
    world_open(&w, kind, 1, 3);
    if (kind == REAL)
        real_connect(&real, &w);
    quorum_is_lost_and_found(&w);
    world_close(&w);
}

START_TEST(quorum_mem)
{
    run(FAKE_MEM);
}
END_TEST

START_TEST(quorum_real)
{
    if (real.runs)
        run(REAL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {quorum_mem, quorum_real, NULL};
    real_start(&real, 3);
    int r = sy_test_run("etcd_quorum", tests);
    real_stop(&real);
    return r;
}
