/* links: sy_base */
#include "base/inbox.h"
#include "base/mem.h"
#include "tests/lib/test.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void nothing(void *arg)
{
    (void)arg;
}

static uint64_t wakes(int fd)
{
    uint64_t n = 0;
    return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

START_TEST(test_takes_all_in_order)
{
    struct sy_inbox inbox;
    sy_inbox_init(&inbox, 1000, -1);
    const struct sy_post *posts = NULL;
    ck_assert(sy_inbox_empty(&inbox));
    ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 0);
    int args[1000];
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(sy_inbox_push(&inbox, nothing, &args[i], false), 0);
    ck_assert(!sy_inbox_empty(&inbox));
    ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 1000);
    for (int i = 0; i < 1000; i++)
        ck_assert_ptr_eq(posts[i].arg, &args[i]);
    ck_assert(sy_inbox_empty(&inbox));
    sy_inbox_deinit(&inbox);
}
END_TEST

START_TEST(test_bound)
{
    struct sy_inbox inbox;
    sy_inbox_init(&inbox, 3, -1);
    const struct sy_post *posts;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5; i++) /* these don't count */
            ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, true), 0);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, false), 0);
        ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, false), -EAGAIN);
        ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, true), 0);
        ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 9);
    }
    sy_inbox_deinit(&inbox);
}
END_TEST

START_TEST(test_wakes_a_sleeper_once)
{
    struct sy_inbox inbox;
    const struct sy_post *posts;
    int fd = eventfd(0, EFD_NONBLOCK);
    sy_inbox_init(&inbox, 100, fd);
    ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, false), 0);
    ck_assert_uint_eq(wakes(fd), 0); /* nobody sleeps */
    ck_assert(!sy_inbox_may_sleep(&inbox));
    ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 1);
    ck_assert(sy_inbox_may_sleep(&inbox));
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, false), 0);
    ck_assert_uint_eq(wakes(fd), 1);
    ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 10);
    ck_assert(sy_inbox_may_sleep(&inbox));
    sy_inbox_awake(&inbox); /* a timer came first */
    ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, false), 0);
    ck_assert_uint_eq(wakes(fd), 0);
    sy_inbox_deinit(&inbox);
    close(fd);
}
END_TEST

START_TEST(test_a_quiet_push_wakes_when_told)
{
    struct sy_inbox inbox;
    const struct sy_post *posts;
    int fd = eventfd(0, EFD_NONBLOCK);
    sy_inbox_init(&inbox, 1, fd);
    ck_assert(!sy_inbox_push_quietly(&inbox, nothing, NULL)); /* nobody sleeps */
    ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 1);
    ck_assert(sy_inbox_may_sleep(&inbox));
    for (int i = 0; i < 10; i++) /* these don't count either */
        ck_assert(sy_inbox_push_quietly(&inbox, nothing, NULL));
    ck_assert_uint_eq(wakes(fd), 0);
    sy_inbox_wake(&inbox);
    sy_inbox_wake(&inbox);
    ck_assert_uint_eq(wakes(fd), 1);
    ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 10);
    ck_assert(sy_inbox_may_sleep(&inbox));
    ck_assert(sy_inbox_push_quietly(&inbox, nothing, NULL));
    ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, false), 0); /* others wake it at once */
    ck_assert_uint_eq(wakes(fd), 1);
    sy_inbox_wake(&inbox);
    ck_assert_uint_eq(wakes(fd), 0);
    sy_inbox_deinit(&inbox);
    close(fd);
}
END_TEST

START_TEST(test_memory_of_a_burst_is_given_back)
{
    struct sy_inbox inbox;
    const struct sy_post *posts;
    sy_inbox_init(&inbox, 1 << 20, -1);
    for (int i = 0; i < 200000; i++)
        ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, false), 0);
    ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 200000);
    ck_assert_uint_ge(inbox.batch_cap, 200000);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(sy_inbox_push(&inbox, nothing, NULL, false), 0);
        ck_assert_uint_eq(sy_inbox_take(&inbox, &posts), 1);
    }
    ck_assert_uint_le(inbox.batch_cap + inbox.cap, 10000);
    sy_inbox_deinit(&inbox);
}
END_TEST

enum { PRODUCERS = 4, EACH = 20000 };

struct producer {
    struct sy_inbox *inbox;
    int numbers[EACH];
    pthread_t thread;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    for (int i = 0; i < EACH; i++) {
        p->numbers[i] = i;
        while (sy_inbox_push(p->inbox, nothing, &p->numbers[i], false) < 0)
            sched_yield();
    }
    return NULL;
}

/* A small bound, so that producers meet it; nothing is lost, doubled, or out of a thread's order.
 */
START_TEST(test_many_producers)
{
    struct sy_inbox inbox;
    sy_inbox_init(&inbox, 64, -1);
    struct producer *producers = sy_calloc(PRODUCERS, sizeof(*producers));
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i].inbox = &inbox;
        ck_assert_int_eq(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    int next[PRODUCERS] = {0}, total = 0;
    while (total < PRODUCERS * EACH) {
        const struct sy_post *posts = NULL;
        size_t count = sy_inbox_take(&inbox, &posts);
        ck_assert_uint_le(count, 64);
        if (count == 0)
            sched_yield();
        for (size_t i = 0; i < count; i++) {
            const int *number = posts[i].arg;
            int from = 0;
            while (number < producers[from].numbers || number >= producers[from].numbers + EACH)
                from++;
            ck_assert_int_eq(*number, next[from]);
            next[from]++;
        }
        total += (int)count;
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i].thread, NULL);
    ck_assert(sy_inbox_empty(&inbox));
    free(producers);
    sy_inbox_deinit(&inbox);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_takes_all_in_order,
        test_bound,
        test_wakes_a_sleeper_once,
        test_a_quiet_push_wakes_when_told,
        test_memory_of_a_burst_is_given_back,
        test_many_producers,
        NULL,
    };
    return sy_test_run("inbox", tests);
}
