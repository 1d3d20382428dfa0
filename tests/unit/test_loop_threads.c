/* links: sy_base */
/*
 * A loop that really waits: timers, wake-ups, and posts from other threads. Run it under TSan too.
 */
#include "base/loop.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

struct alarm {
    struct sy_loop *loop;
    struct sy_timer timer;
    int64_t fired_ns;
};

static void on_alarm(void *arg)
{
    struct alarm *a = arg;
    a->fired_ns = sy_loop_now_ns(a->loop);
    sy_loop_stop(a->loop);
}

START_TEST(test_run_waits_for_a_timer)
{
    struct alarm a = {0};
    ck_assert_int_eq(sy_loop_new(&a.loop, NULL), 0);
    sy_timer_init(&a.timer, on_alarm, &a);
    sy_timer_start_in(a.loop, &a.timer, 3 * SY_NS_PER_MS);
    int64_t deadline_ns = a.timer.deadline_ns;
    ck_assert_int_eq(sy_loop_run(a.loop), 0);
    ck_assert_int_ge(a.fired_ns, deadline_ns);
    sy_loop_free(a.loop);
}
END_TEST

enum { PRODUCERS = 4, EACH = 20000 };

struct producer {
    struct sy_loop *loop;
    pthread_t thread;
    int posted, ran;
    int *left; /* producers that have not finished; the loop's */
};

static void count_post(void *arg)
{
    struct producer *p = arg;
    p->ran++;
    if (p->ran == EACH && --*p->left == 0)
        sy_loop_stop(p->loop);
}

static void *produce(void *arg)
{
    struct producer *p = arg;
    for (; p->posted < EACH; p->posted++) {
        if (p->posted % 3 == 0)
            sy_loop_post_always(p->loop, count_post, p);
        else
            while (sy_loop_post(p->loop, count_post, p) < 0)
                sched_yield();
    }
    return NULL;
}

START_TEST(test_many_threads_post)
{
    struct sy_loop *loop;
    struct sy_loop_options options = {.posts_max = 100};
    ck_assert_int_eq(sy_loop_new(&loop, &options), 0);
    struct producer producers[PRODUCERS];
    int left = PRODUCERS;
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.loop = loop, .left = &left};
        ck_assert_int_eq(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    ck_assert_int_eq(sy_loop_run(loop), 0);
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
        ck_assert_int_eq(producers[i].ran, EACH);
    }
    sy_loop_free(loop);
}
END_TEST

/* Two loops that play one ball: each sleeps between its moves, so a lost wake-up ends the game. */
enum { MOVES = 5000 };

struct player {
    struct sy_loop *loop;
    struct player *opponent;
    int moves, returns; /* how often it plays the ball back */
    bool hands_over;
};

static void move(void *arg)
{
    struct player *p = arg;
    p->moves++;
    if (p->moves <= p->returns && p->hands_over)
        sy_loop_hand_over(p->loop, p->opponent->loop, move, p->opponent);
    else if (p->moves <= p->returns)
        ck_assert_int_eq(sy_loop_post(p->opponent->loop, move, p->opponent), 0);
    if (p->moves >= MOVES)
        sy_loop_stop(p->loop);
}

static void *play(void *arg)
{
    struct player *p = arg;
    int r = sy_loop_run(p->loop);
    ck_assert_int_eq(r, 0);
    return NULL;
}

static void play_game(bool hands_over)
{
    struct player a = {.returns = MOVES, .hands_over = hands_over};
    struct player b = {.returns = MOVES - 1, .hands_over = hands_over};
    ck_assert_int_eq(sy_loop_new(&a.loop, NULL), 0);
    ck_assert_int_eq(sy_loop_new(&b.loop, NULL), 0);
    a.opponent = &b;
    b.opponent = &a;
    ck_assert_int_eq(sy_loop_post(a.loop, move, &a), 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, play, &b), 0);
    ck_assert_int_eq(sy_loop_run(a.loop), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(a.moves, MOVES);
    ck_assert_int_eq(b.moves, MOVES);
    sy_loop_free(a.loop);
    sy_loop_free(b.loop);
}

START_TEST(test_no_wake_up_is_lost)
{
    play_game(false);
}
END_TEST

START_TEST(test_no_hand_over_is_lost)
{
    play_game(true);
}
END_TEST

static void *stop_from_thread(void *arg)
{
    usleep(2000); /* most likely asleep by then; right either way */
    sy_loop_stop(arg);
    return NULL;
}

START_TEST(test_stop_wakes_from_another_thread)
{
    struct sy_loop *loop;
    ck_assert_int_eq(sy_loop_new(&loop, NULL), 0);
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, stop_from_thread, loop), 0);
        ck_assert_int_eq(sy_loop_run(loop), 0);
        pthread_join(thread, NULL);
    }
    sy_loop_free(loop);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_run_waits_for_a_timer,
        test_many_threads_post,
        test_no_wake_up_is_lost,
        test_no_hand_over_is_lost,
        test_stop_wakes_from_another_thread,
        NULL,
    };
    return sy_test_run("loop_threads", tests);
}
