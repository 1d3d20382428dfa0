/* links: cp */
/* Owner and follower, rule by rule (docs/replication.md); test_cp_standby_random.c has them
 * together. */
#include "base/clock.h"
#include "controlplane/standby.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#define MS SY_NS_PER_MS
#define EPOCH 5
#define COPY 77
#define NO_EVENT(t) ((struct cp_standby_event){.type = CP_STANDBY_##t})

struct bench {
    struct cp_standby s;
    struct cp_standby_view view;
    struct cp_standby_effects fx;
};

/* Epochs 1 and 3 made a log of 40 positions; epoch 5 begins. */
static struct cp_log old_log(void)
{
    struct cp_log log = {0};
    cp_log_append(&log, 1, 10);
    cp_log_append(&log, 1, 20);
    cp_log_append(&log, 3, 25);
    cp_log_append(&log, 3, 40);
    return log;
}

static void tell(struct bench *b, struct cp_standby_event event)
{
    cp_standby_step(&b->s, &b->view, &event, &b->fx);
}

static void appended(struct bench *b, uint64_t upto)
{
    tell(b, (struct cp_standby_event){.type = CP_STANDBY_APPENDED, .upto = upto});
}

static void synced(struct bench *b, uint64_t upto)
{
    tell(b, (struct cp_standby_event){.type = CP_STANDBY_SYNCED, .upto = upto});
}

static void written(struct bench *b, uint64_t upto)
{
    appended(b, upto);
    synced(b, upto);
}

static void stored(struct bench *b, uint64_t upto)
{
    tell(b, (struct cp_standby_event){
                .type = CP_STANDBY_STORED,
                .stored = {.owner_epoch = EPOCH, .copy = b->s.copy, .upto = upto}});
}

static void hello(struct bench *b, uint64_t copy, uint32_t epoch, uint64_t position)
{
    tell(b, (struct cp_standby_event){.type = CP_STANDBY_HELLO,
                                      .hello = {.copy = copy, .end = {epoch, position}}});
}

static void look(struct bench *b)
{
    tell(b, NO_EVENT(LOOK));
}

/* The write of the last step happens, or another change does. */
static void happens(struct bench *b)
{
    ck_assert(b->fx.write);
    ck_assert_int_eq(b->fx.if_revision, b->view.revision);
    b->view.in_sync = b->fx.in_sync;
    b->view.revision++;
}

static void init(struct bench *b, uint64_t in_sync)
{
    *b = (struct bench){.view = {.now_ns = 1000 * MS,
                                 .revision = 100,
                                 .epoch = EPOCH,
                                 .in_sync = in_sync,
                                 .present = true}};
    struct cp_standby_options options = cp_standby_options_default();
    struct cp_log log = old_log();
    cp_standby_init(&b->s, &options, &b->view, &log);
    look(b);
    ck_assert(!b->fx.write && !b->fx.feed && b->fx.release == 0);
    appended(b, 41); /* the marker */
}

static void init_in_sync(struct bench *b)
{
    init(b, COPY);
    hello(b, COPY, 3, 40);
    synced(b, 41);
    ck_assert_uint_eq(b->fx.release, 0);
    stored(b, 41);
    ck_assert_uint_eq(b->fx.release, 41);
    ck_assert_uint_eq(b->s.sm.state, CP_STANDBY_IN_SYNC);
}

/* What is up to 50 is synced here. */
static void init_with_one_to_store(struct bench *b)
{
    init_in_sync(b);
    written(b, 50);
}

/* ---- logs ---- */

START_TEST(a_log_knows_its_marks)
{
    struct cp_log log = old_log();
    ck_assert_uint_eq(cp_log_end(&log).epoch, 3);
    ck_assert_uint_eq(cp_log_end(&log).position, 40);
    ck_assert(cp_log_has(&log, (struct cp_log_mark){1, 10}));
    ck_assert(cp_log_has(&log, (struct cp_log_mark){1, 20}));
    ck_assert(!cp_log_has(&log, (struct cp_log_mark){1, 21}));
    ck_assert(!cp_log_has(&log, (struct cp_log_mark){3, 20}));
    ck_assert(cp_log_has(&log, (struct cp_log_mark){3, 21}));
    ck_assert(!cp_log_has(&log, (struct cp_log_mark){3, 41}));
    ck_assert(!cp_log_has(&log, (struct cp_log_mark){2, 20}));
    ck_assert(!cp_log_has(&log, (struct cp_log_mark){0, 0}));
    ck_assert_uint_eq(cp_log_piece(&log, 0).position, 20);
    ck_assert_uint_eq(cp_log_piece(&log, 19).epoch, 1);
    ck_assert_uint_eq(cp_log_piece(&log, 20).epoch, 3);
    ck_assert_uint_eq(cp_log_piece(&log, 20).position, 40);
}
END_TEST

START_TEST(a_log_forgets_its_oldest_epochs)
{
    struct cp_log log = {0};
    for (uint32_t epoch = 1; epoch <= CP_LOG_EPOCHS_MAX + 2; epoch++)
        cp_log_append(&log, epoch, 10 * (uint64_t)epoch);
    ck_assert_uint_eq(log.count, CP_LOG_EPOCHS_MAX);
    ck_assert(!cp_log_has(&log, (struct cp_log_mark){2, 20}));
    ck_assert(cp_log_has(&log, (struct cp_log_mark){3, 30}));
    ck_assert(cp_log_has(&log, cp_log_end(&log)));
}
END_TEST

static void append_backwards(void *arg)
{
    struct cp_log *log = arg;
    cp_log_append(log, 2, 50);
}

START_TEST(epochs_only_grow)
{
    struct cp_log log = old_log();
    ck_assert(aborts(append_backwards, &log));
}
END_TEST

/* ---- what is released ---- */

START_TEST(alone_it_releases_what_is_synced_here_marker_first)
{
    struct bench b;
    init(&b, 0);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_OUT);
    ck_assert_uint_eq(b.fx.release, 0); /* what was found is synced, but may not be anywhere else */
    synced(&b, 41);
    ck_assert_uint_eq(b.fx.release, 41);
    appended(&b, 44);
    ck_assert_uint_eq(b.fx.release, 0);
    synced(&b, 44);
    ck_assert_uint_eq(b.fx.release, 44);
    ck_assert_int_eq(b.fx.wake_ns, SY_TIME_NEVER);
}
END_TEST

START_TEST(in_sync_it_waits_for_both)
{
    struct bench b;
    init_in_sync(&b);
    appended(&b, 50);
    appended(&b, 60);
    stored(&b, 60);
    ck_assert_uint_eq(b.fx.release, 0);
    synced(&b, 50);
    ck_assert_uint_eq(b.fx.release, 50);
    written(&b, 70);
    ck_assert_uint_eq(b.fx.release, 60);
    stored(&b, 70);
    ck_assert_uint_eq(b.fx.release, 70);
}
END_TEST

START_TEST(what_the_standby_had_before_does_not_release_the_marker)
{
    struct bench b;
    init(&b, COPY);
    synced(&b, 41);
    hello(&b, COPY, 3, 40);
    ck_assert_uint_eq(b.fx.release, 0);
    ck_assert(b.fx.feed && b.fx.from.position == 40 && b.fx.from.epoch == 3);
    stored(&b, 41);
    ck_assert_uint_eq(b.fx.release, 41);
}
END_TEST

START_TEST(words_of_an_earlier_epoch_or_copy_say_nothing)
{
    struct bench b;
    init_with_one_to_store(&b);
    tell(&b,
         (struct cp_standby_event){.type = CP_STANDBY_STORED,
                                   .stored = {.owner_epoch = EPOCH - 1, .copy = COPY, .upto = 50}});
    ck_assert_uint_eq(b.fx.release, 0);
    tell(&b,
         (struct cp_standby_event){.type = CP_STANDBY_STORED,
                                   .stored = {.owner_epoch = EPOCH, .copy = COPY + 1, .upto = 50}});
    ck_assert_uint_eq(b.fx.release, 0);
    stored(&b, 51); /* there is no such entry */
    ck_assert_uint_eq(b.fx.release, 0);
    stored(&b, 50);
    ck_assert_uint_eq(b.fx.release, 50);
}
END_TEST

START_TEST(another_epoch_in_the_record_ends_it)
{
    struct bench b;
    init_with_one_to_store(&b);
    b.view.epoch = EPOCH + 1;
    b.view.revision++;
    stored(&b, 50);
    ck_assert_uint_eq(b.fx.release, 0);
    b.view.epoch = EPOCH; /* a copy never goes back; if it did: still nothing */
    look(&b);
    ck_assert(b.s.fenced && b.fx.release == 0 && !b.fx.write);
}
END_TEST

/* ---- out ---- */

START_TEST(a_silent_standby_is_written_out_before_anything_is_released_without_it)
{
    struct bench b;
    init_with_one_to_store(&b);
    ck_assert_int_eq(b.fx.wake_ns, b.view.now_ns + b.s.options.patience_ns);
    b.view.now_ns = b.fx.wake_ns - 1;
    look(&b);
    ck_assert(!b.fx.write);
    b.view.now_ns++;
    look(&b);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_LEAVING);
    ck_assert(b.fx.write && b.fx.in_sync == 0 && b.fx.release == 0);
    happens(&b);
    look(&b); /* the copy shows it before the answer is here */
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_OUT);
    ck_assert_uint_eq(b.fx.release, 50);
    tell(&b, NO_EVENT(WROTE));
    ck_assert(!b.fx.write);
}
END_TEST

START_TEST(a_word_of_the_standby_renews_patience)
{
    struct bench b;
    init_in_sync(&b);
    appended(&b, 50);
    appended(&b, 60);
    b.view.now_ns += b.s.options.patience_ns - 1;
    stored(&b, 50);
    b.view.now_ns += b.s.options.patience_ns - 1;
    look(&b);
    ck_assert(!b.fx.write);
    b.view.now_ns++;
    look(&b);
    ck_assert(b.fx.write);
}
END_TEST

START_TEST(when_nothing_waits_nothing_is_written)
{
    struct bench b;
    init_in_sync(&b);
    b.view.now_ns += 3600 * SY_NS_PER_S;
    b.view.present = false;
    tell(&b, NO_EVENT(GONE));
    ck_assert(!b.fx.write);
    ck_assert_int_eq(b.fx.wake_ns, SY_TIME_NEVER);
    appended(&b, 50); /* its shard has no session: no patience */
    ck_assert(b.fx.write && b.fx.in_sync == 0);
}
END_TEST

START_TEST(a_write_without_an_answer_is_repeated_and_waited_for)
{
    struct bench b;
    init_in_sync(&b);
    b.view.present = false;
    written(&b, 50);
    ck_assert(!b.fx.write); /* one is under way */
    tell(&b, NO_EVENT(WROTE));
    ck_assert_int_eq(b.fx.wake_ns, b.view.now_ns + b.s.options.retry_ns);
    b.view.present = true;
    b.view.now_ns = b.fx.wake_ns;
    look(&b);
    ck_assert(b.fx.write && b.fx.in_sync == 0); /* as it was */
    stored(&b, 50);                             /* it is back: still one of both is so */
    ck_assert_uint_eq(b.fx.release, 50);
    written(&b, 60);
    ck_assert_uint_eq(b.fx.release, 0);
    b.view.revision++; /* somebody else's change: ours can never be */
    look(&b);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_IN_SYNC);
    ck_assert(b.fx.release == 0 && !b.fx.write);
}
END_TEST

/* ---- in ---- */

START_TEST(joins_with_all_that_was_released_and_is_waited_for_from_then_on)
{
    struct bench b;
    init(&b, 0);
    synced(&b, 41);
    written(&b, 50);
    hello(&b, COPY, 3, 30);
    ck_assert(b.fx.feed && b.fx.from.position == 30);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_JOINING);
    ck_assert(!b.fx.write);
    written(&b, 60);
    ck_assert_uint_eq(b.fx.release, 0);
    stored(&b, 49);
    ck_assert(!b.fx.write);
    stored(&b, 50);
    ck_assert(b.fx.write && b.fx.in_sync == COPY && b.fx.release == 0);
    appended(&b, 70); /* the write may have happened already */
    synced(&b, 70);
    ck_assert_uint_eq(b.fx.release, 0);
    stored(&b, 60);
    ck_assert_uint_eq(b.fx.release, 60);
    b.view.in_sync = COPY;
    b.view.revision++;
    look(&b);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_IN_SYNC);
}
END_TEST

START_TEST(joins_with_this_epochs_marker_only)
{
    struct bench b;
    init(&b, 0); /* nothing is released yet: an earlier owner's promises are not known */
    hello(&b, COPY, 3, 40);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_JOINING);
    ck_assert(!b.fx.write);
    stored(&b, 41);
    ck_assert(b.fx.write);
}
END_TEST

START_TEST(one_that_is_far_behind_is_not_waited_for)
{
    struct bench b;
    init(&b, 0);
    synced(&b, 41);
    appended(&b, 41 + b.s.options.near + 1000);
    hello(&b, COPY, 3, 40);
    ck_assert(b.fx.feed);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_OUT);
    stored(&b, 1041);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_JOINING);
}
END_TEST

START_TEST(one_that_does_not_get_there_is_left_alone_for_a_while)
{
    struct bench b;
    init(&b, 0);
    synced(&b, 41);
    hello(&b, COPY, 3, 40);
    int64_t wait = b.s.options.backoff_ns;
    for (int i = 0; i < 6; i++) {
        ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_JOINING);
        b.view.now_ns += b.s.options.patience_ns;
        look(&b);
        ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_OUT);
        ck_assert(!b.fx.write);
        ck_assert_int_eq(b.fx.wake_ns, SY_TIME_NEVER);
        look(&b);
        ck_assert_int_eq(b.fx.wake_ns, b.view.now_ns + wait);
        b.view.now_ns = b.fx.wake_ns;
        look(&b);
        wait = wait * 2 < b.s.options.backoff_max_ns ? wait * 2 : b.s.options.backoff_max_ns;
    }
}
END_TEST

/* ---- anew ---- */

START_TEST(what_does_not_fit_begins_anew_and_is_never_taken_in_again)
{
    struct bench b;
    init(&b, 0);
    synced(&b, 41);
    hello(&b, COPY, 3, 41); /* it has more of that epoch than we */
    ck_assert(b.fx.anew && !b.fx.feed);
    ck_assert_uint_eq(b.fx.order.copy, COPY);
    ck_assert_uint_eq(b.fx.order.owner_epoch, EPOCH);
    hello(&b, COPY + 1, EPOCH, 41);
    ck_assert(b.fx.feed && b.fx.write && b.fx.in_sync == COPY + 1);
    b.view.revision++; /* it was not written */
    tell(&b, NO_EVENT(GONE));
    hello(&b, COPY, EPOCH, 41); /* the order was late */
    ck_assert(b.fx.anew && !b.fx.feed && !b.fx.write);
    ck_assert_uint_eq(b.fx.order.copy, COPY);
}
END_TEST

START_TEST(one_without_a_copy_or_behind_the_log_begins_anew)
{
    struct bench b;
    init(&b, 0);
    synced(&b, 41);
    hello(&b, 0, 0, 0);
    ck_assert(b.fx.anew && b.fx.order.copy == 0);
    b.view.log_from = 31;
    hello(&b, COPY, 3, 30);
    ck_assert(b.fx.anew && b.fx.order.copy == COPY);
}
END_TEST

START_TEST(a_copy_in_sync_is_written_out_before_it_begins_anew)
{
    struct bench b;
    init(&b, COPY);
    synced(&b, 41);
    hello(&b, COPY, 2, 40); /* or another copy: its disk was lost */
    ck_assert(!b.fx.anew);
    ck_assert(b.fx.write && b.fx.in_sync == 0); /* no patience with that */
    hello(&b, COPY, 2, 40);
    ck_assert(!b.fx.anew);
    b.view.in_sync = 0;
    b.view.revision++;
    hello(&b, COPY, 2, 40);
    ck_assert(b.fx.anew && b.fx.order.copy == COPY);
    ck_assert_uint_eq(b.fx.release, 41);
}
END_TEST

START_TEST(one_epoch_tells_so_many_to_begin_anew_and_no_more)
{
    struct bench b;
    init(&b, 0);
    synced(&b, 41);
    for (uint64_t i = 0; i < CP_STANDBY_REFUSED_MAX; i++) {
        hello(&b, 100 + i, 2, 40);
        ck_assert(b.fx.anew);
    }
    hello(&b, 99, 2, 40);
    ck_assert(!b.fx.anew && !b.fx.feed);
    hello(&b, 100, 2, 40); /* whom it told it may tell again */
    ck_assert(b.fx.anew);
}
END_TEST

/* ---- the follower ---- */

static struct cp_standby_piece piece(uint32_t owner, struct cp_log_mark after,
                                     struct cp_log_mark end)
{
    return (struct cp_standby_piece){
        .owner_epoch = owner, .copy = COPY, .after = after, .end = end};
}

static struct cp_follower old_follower(void)
{
    struct cp_follower f;
    struct cp_log log = old_log();
    cp_follower_init(&f, COPY, &log);
    return f;
}

START_TEST(one_that_is_to_be_replaced_is_written_out_at_once_and_no_other_joins_before)
{
    struct bench b;
    init_in_sync(&b); /* nothing waits */
    b.view.replaced = true;
    look(&b);
    ck_assert(b.fx.write);
    ck_assert_uint_eq(b.fx.in_sync, 0);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_LEAVING);
    happens(&b);
    look(&b);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_OUT);
    hello(&b, COPY, EPOCH, 41); /* fits, and would join */
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_OUT);
    b.view.replaced = false;
    hello(&b, COPY, EPOCH, 41); /* it was not put off */
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_JOINING);
}
END_TEST

START_TEST(a_copy_in_sync_that_is_lost_is_written_out_though_nothing_waits)
{
    struct bench b;
    init_in_sync(&b);
    hello(&b, 0, 0, 0); /* its disk was lost */
    ck_assert(b.fx.write && !b.fx.anew);
    ck_assert_uint_eq(b.fx.in_sync, 0);
    happens(&b);
    look(&b);
    hello(&b, 0, 0, 0);
    ck_assert(b.fx.anew);
}
END_TEST

START_TEST(one_that_joins_and_is_gone_does_not_join)
{
    struct bench b;
    init(&b, 0);
    synced(&b, 41);
    hello(&b, COPY, 3, 40);
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_JOINING);
    ck_assert(!b.fx.write); /* it lacks the marker */
    tell(&b, NO_EVENT(GONE));
    ck_assert_uint_eq(b.s.sm.state, CP_STANDBY_OUT);
    stored(&b, 41);
    ck_assert(!b.fx.write); /* whoever is linked now may be another shard */
}
END_TEST

START_TEST(a_follower_takes_what_follows_its_log)
{
    struct cp_follower f = old_follower();
    ck_assert_uint_eq(cp_follower_stored(&f).owner_epoch, 0);
    struct cp_standby_hello h;
    ck_assert(cp_follower_meet(&f, EPOCH, &h));
    ck_assert(h.copy == COPY && h.end.epoch == 3 && h.end.position == 40);
    struct cp_standby_piece p = piece(EPOCH, h.end, (struct cp_log_mark){5, 41});
    ck_assert_uint_eq(cp_follower_take(&f, &p), CP_FOLLOWER_TAKE);
    ck_assert_uint_eq(cp_follower_stored(&f).upto, 40); /* what is before is that owner's too */
    cp_follower_synced(&f, 41);
    struct cp_standby_stored s = cp_follower_stored(&f);
    ck_assert(s.upto == 41 && s.owner_epoch == EPOCH && s.copy == COPY);
    ck_assert_uint_eq(cp_follower_take(&f, &p), CP_FOLLOWER_HAVE);
    ck_assert_uint_eq(f.log.end, 41);
}
END_TEST

START_TEST(a_follower_refuses_what_does_not_follow)
{
    struct cp_follower f = old_follower();
    const struct cp_log_mark end = {3, 40}, next = {5, 50};
    const struct cp_standby_piece bad[] = {
        piece(5, (struct cp_log_mark){3, 41}, next), /* a gap */
        piece(5, (struct cp_log_mark){3, 39}, next), /* we have more */
        piece(5, (struct cp_log_mark){2, 40}, next), /* another's log */
        piece(5, (struct cp_log_mark){0}, next),
        piece(5, end, (struct cp_log_mark){6, 50}), /* an epoch that its sender cannot have */
        piece(5, end, end), /* nothing, backwards, of an older epoch, of none */
        piece(5, end, (struct cp_log_mark){5, 39}),
        piece(5, end, (struct cp_log_mark){2, 50}),
        piece(5, end, (struct cp_log_mark){0, 50}),
        {.owner_epoch = 5, .copy = COPY + 1, .after = end, .end = next},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_uint_eq(cp_follower_take(&f, &bad[i]), CP_FOLLOWER_UNFIT);
    ck_assert_uint_eq(f.log.end, 40);
    ck_assert_uint_eq(cp_follower_stored(&f).upto, 0);
}
END_TEST

START_TEST(a_follower_refuses_older_owners)
{
    struct cp_follower f = old_follower();
    struct cp_standby_hello h;
    ck_assert(!cp_follower_meet(&f, 2, &h)); /* its log knows, after a restart too */
    ck_assert(cp_follower_meet(&f, 7, &h));
    ck_assert(!cp_follower_meet(&f, 6, &h));
    struct cp_standby_piece p = piece(6, h.end, (struct cp_log_mark){6, 50});
    ck_assert_uint_eq(cp_follower_take(&f, &p), CP_FOLLOWER_OLD);
    struct cp_standby_order order = {.owner_epoch = 6, .copy = COPY};
    ck_assert(!cp_follower_obeys(&f, &order, false));
}
END_TEST

START_TEST(what_was_stored_for_one_owner_is_not_said_to_another)
{
    struct cp_follower f = old_follower();
    struct cp_standby_piece p = piece(5, cp_log_end(&f.log), (struct cp_log_mark){5, 50});
    ck_assert_uint_eq(cp_follower_take(&f, &p), CP_FOLLOWER_TAKE);
    cp_follower_synced(&f, 50);
    struct cp_standby_hello h;
    ck_assert(cp_follower_meet(&f, 6, &h));
    ck_assert_uint_eq(cp_follower_stored(&f).owner_epoch, 0);
}
END_TEST

START_TEST(a_follower_begins_anew_for_its_own_id_unless_the_record_names_it)
{
    struct cp_follower f = old_follower();
    struct cp_standby_order order = {.owner_epoch = 5, .copy = COPY};
    ck_assert(cp_follower_obeys(&f, &order, false));
    ck_assert(!cp_follower_obeys(&f, &order, true));
    order.copy = COPY + 1;
    ck_assert(!cp_follower_obeys(&f, &order, false));
    order.copy = 0;
    cp_follower_init(&f, 0, &(struct cp_log){0});
    ck_assert(cp_follower_obeys(&f, &order, false));
}
END_TEST

/* Of the copy that is asked for, by the owner that closed it, at just its end, when that is synced.
 */
START_TEST(a_follower_forks_what_ends_where_the_owner_does)
{
    struct cp_follower f = old_follower();
    struct cp_standby_piece p = piece(5, cp_log_end(&f.log), (struct cp_log_mark){5, 50});
    struct cp_log_mark end = {5, 50};
    ck_assert(!cp_follower_forks(&f, 5, COPY, end)); /* it lacks the last piece */
    ck_assert_uint_eq(cp_follower_take(&f, &p), CP_FOLLOWER_TAKE);
    ck_assert(!cp_follower_forks(&f, 5, COPY, end)); /* which is not synced */
    cp_follower_synced(&f, 50);
    ck_assert(cp_follower_forks(&f, 5, COPY, end));
    ck_assert(!cp_follower_forks(&f, 5, COPY + 1, end));
    ck_assert(!cp_follower_forks(&f, 5, COPY, (struct cp_log_mark){5, 49}));
    ck_assert(!cp_follower_forks(&f, 6, COPY, (struct cp_log_mark){6, 50}));
    ck_assert(!cp_follower_forks(&f, 5, COPY, end)); /* a later owner was heard of */
    cp_follower_init(&f, 0, &(struct cp_log){0});
    ck_assert(!cp_follower_forks(&f, 5, 0, (struct cp_log_mark){0}));
}
END_TEST

START_TEST(the_table_is_sound)
{
    sm_table_check(&cp_standby_table);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_log_knows_its_marks,
        a_log_forgets_its_oldest_epochs,
        epochs_only_grow,
        alone_it_releases_what_is_synced_here_marker_first,
        in_sync_it_waits_for_both,
        what_the_standby_had_before_does_not_release_the_marker,
        words_of_an_earlier_epoch_or_copy_say_nothing,
        another_epoch_in_the_record_ends_it,
        a_silent_standby_is_written_out_before_anything_is_released_without_it,
        a_word_of_the_standby_renews_patience,
        when_nothing_waits_nothing_is_written,
        a_write_without_an_answer_is_repeated_and_waited_for,
        joins_with_all_that_was_released_and_is_waited_for_from_then_on,
        joins_with_this_epochs_marker_only,
        one_that_is_far_behind_is_not_waited_for,
        one_that_does_not_get_there_is_left_alone_for_a_while,
        what_does_not_fit_begins_anew_and_is_never_taken_in_again,
        one_without_a_copy_or_behind_the_log_begins_anew,
        a_copy_in_sync_is_written_out_before_it_begins_anew,
        one_epoch_tells_so_many_to_begin_anew_and_no_more,
        one_that_is_to_be_replaced_is_written_out_at_once_and_no_other_joins_before,
        a_copy_in_sync_that_is_lost_is_written_out_though_nothing_waits,
        one_that_joins_and_is_gone_does_not_join,
        a_follower_takes_what_follows_its_log,
        a_follower_refuses_what_does_not_follow,
        a_follower_refuses_older_owners,
        what_was_stored_for_one_owner_is_not_said_to_another,
        a_follower_begins_anew_for_its_own_id_unless_the_record_names_it,
        a_follower_forks_what_ends_where_the_owner_does,
        the_table_is_sound,
        NULL,
    };
    return sy_test_run("cp_standby", tests);
}
