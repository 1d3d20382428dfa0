/* links: sy_base */
#include "base/loop.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tests/unit/expect_abort.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* A loop on a clock that stands still, and a record of what ran. */
struct fixture {
    int64_t now_ns;
    struct sy_clock clock;
    struct sy_loop *loop;
    char trace[256];
};

struct step {
    struct fixture *f;
    const char *name;
    struct sy_timer timer;
    struct sy_turn_end hook;
    struct step *other;
};

static int64_t fixture_now(void *ctx)
{
    return ((struct fixture *)ctx)->now_ns;
}

static int64_t fixture_realtime(void *ctx)
{
    return ((struct fixture *)ctx)->now_ns + 1000000;
}

static void fixture_init(struct fixture *f, bool without_epoll, size_t posts_max)
{
    memset(f, 0, sizeof(*f));
    f->now_ns = 100;
    f->clock = (struct sy_clock){fixture_now, fixture_realtime, f};
    struct sy_loop_options options = {&f->clock, posts_max, without_epoll};
    ck_assert_int_eq(sy_loop_new(&f->loop, &options), 0);
}

static void fixture_deinit(struct fixture *f)
{
    sy_loop_free(f->loop);
}

static void trace(struct fixture *f, const char *name)
{
    size_t len = strlen(f->trace);
    ck_assert_uint_lt(len + strlen(name), sizeof(f->trace));
    snprintf(f->trace + len, sizeof(f->trace) - len, "%s", name);
}

static void note(void *arg)
{
    struct step *step = arg;
    trace(step->f, step->name);
}

/* Runs one turn and compares what ran in it. */
static void expect_turn(struct fixture *f, const char *expected)
{
    f->trace[0] = 0;
    sy_loop_turn(f->loop);
    ck_assert_str_eq(f->trace, expected);
}

static void post(struct fixture *f, sy_fn fn, void *arg)
{
    ck_assert_int_eq(sy_loop_post(f->loop, fn, arg), 0);
}

START_TEST(test_posts_run_in_order)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step a = {&f, "a", .other = NULL}, b = {&f, "b", .other = NULL};
    post(&f, note, &a);
    sy_loop_post_always(f.loop, note, &b);
    post(&f, note, &a);
    ck_assert_str_eq(f.trace, ""); /* not inside the call that submitted */
    expect_turn(&f, "aba");
    expect_turn(&f, "");
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_what_is_forgotten_does_not_run)
{
    struct fixture f;
    fixture_init(&f, true, 2);
    struct step a = {&f, "a", .other = NULL}, b = {&f, "b", .other = NULL};
    post(&f, note, &a);
    sy_loop_post_always(f.loop, note, &a);
    sy_loop_post_always(f.loop, note, &b);
    post(&f, note, &a);
    sy_loop_forget(f.loop, &a);
    ck_assert_int_eq(sy_loop_post(f.loop, note, &b), -EAGAIN); /* its place is free with the turn */
    expect_turn(&f, "b");
    post(&f, note, &a);
    sy_loop_forget(f.loop, &b);
    expect_turn(&f, "a");
    post(&f, note, &a);
    sy_loop_forget(f.loop, &a);
    ck_assert(sy_loop_next_ns(f.loop) == SY_TIME_NEVER);
    expect_turn(&f, "");
    fixture_deinit(&f);
}
END_TEST

static void note_and_post(void *arg)
{
    struct step *step = arg;
    note(step);
    post(step->f, note, step->other);
}

START_TEST(test_posts_of_a_turn_run_in_the_next)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step b = {&f, "b", .other = NULL}, a = {&f, "a", .other = &b};
    post(&f, note_and_post, &a);
    post(&f, note_and_post, &a);
    expect_turn(&f, "aa");
    ck_assert_int_eq(sy_loop_next_ns(f.loop), f.now_ns);
    expect_turn(&f, "bb");
    ck_assert_int_eq(sy_loop_next_ns(f.loop), SY_TIME_NEVER);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_full_inbox)
{
    struct fixture f;
    fixture_init(&f, true, 2);
    struct step a = {&f, "a", .other = NULL}, b = {&f, "b", .other = NULL};
    post(&f, note, &a);
    post(&f, note, &a);
    ck_assert_int_eq(sy_loop_post(f.loop, note, &b), -EAGAIN);
    sy_loop_post_always(f.loop, note, &b);
    ck_assert_int_eq(sy_loop_post(f.loop, note, &b), -EAGAIN);
    expect_turn(&f, "aab");
    post(&f, note, &a);
    expect_turn(&f, "a");
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_time_is_that_of_the_turn)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    ck_assert_int_eq(sy_loop_now_ns(f.loop), 100);
    f.now_ns = 250;
    ck_assert_int_eq(sy_loop_now_ns(f.loop), 100);
    expect_turn(&f, "");
    ck_assert_int_eq(sy_loop_now_ns(f.loop), 250);
    ck_assert_int_eq(sy_loop_realtime_ns(f.loop), 1000250);
    fixture_deinit(&f);
}
END_TEST

static void start(struct step *step, int64_t deadline_ns)
{
    if (!step->timer.fn)
        sy_timer_init(&step->timer, note, step);
    sy_timer_start(step->f->loop, &step->timer, deadline_ns);
}

START_TEST(test_timers_fire_by_deadline_then_start_order)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step s[5] = {{&f, "a", .other = NULL},
                        {&f, "b", .other = NULL},
                        {&f, "c", .other = NULL},
                        {&f, "d", .other = NULL},
                        {&f, "e", .other = NULL}};
    start(&s[0], 300);
    start(&s[1], 200);
    start(&s[2], 200);
    start(&s[3], 50); /* overdue: counts as now */
    start(&s[4], 400);
    ck_assert_int_eq(s[3].timer.deadline_ns, 50);
    ck_assert_int_eq(sy_loop_next_ns(f.loop), 100);
    expect_turn(&f, "d");
    f.now_ns = 199;
    expect_turn(&f, "");
    ck_assert_int_eq(sy_loop_next_ns(f.loop), 200);
    f.now_ns = 300;
    expect_turn(&f, "bca");
    ck_assert(!sy_timer_running(&s[0].timer));
    ck_assert(sy_timer_running(&s[4].timer));
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_restart_moves_a_timer_behind_its_equals)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step a = {&f, "a", .other = NULL}, b = {&f, "b", .other = NULL};
    start(&a, 200);
    start(&b, 200);
    start(&a, 200);
    f.now_ns = 200;
    expect_turn(&f, "ba");
    sy_timer_stop(f.loop, &a.timer); /* a stopped one may be stopped */
    start(&a, 300);
    start(&b, 300);
    sy_timer_stop(f.loop, &a.timer);
    f.now_ns = 300;
    expect_turn(&f, "b");
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_start_in)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step a = {&f, "a", .other = NULL};
    sy_timer_init(&a.timer, note, &a);
    sy_timer_start_in(f.loop, &a.timer, 50);
    ck_assert_int_eq(a.timer.deadline_ns, 150);
    sy_timer_start_in(f.loop, &a.timer, INT64_MAX);
    ck_assert_int_eq(a.timer.deadline_ns, SY_TIME_NEVER);
    expect_turn(&f, "");
    sy_timer_start_in(f.loop, &a.timer, -5);
    ck_assert_int_eq(a.timer.deadline_ns, 100);
    expect_turn(&f, "a");
    fixture_deinit(&f);
}
END_TEST

static void note_and_restart(void *arg)
{
    struct step *step = arg;
    ck_assert(!sy_timer_running(&step->timer));
    note(step);
    sy_timer_start(step->f->loop, &step->timer, 0);
}

/* A timer that always starts itself at once must neither hang the turn nor starve others. */
START_TEST(test_timer_that_restarts_itself)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step a = {&f, "a", .other = NULL}, b = {&f, "b", .other = NULL};
    sy_timer_init(&a.timer, note_and_restart, &a);
    sy_timer_start(f.loop, &a.timer, 0);
    start(&b, 100);
    expect_turn(&f, "ab");
    expect_turn(&f, "a");
    sy_timer_stop(f.loop, &a.timer);
    expect_turn(&f, "");
    fixture_deinit(&f);
}
END_TEST

static void note_and_stop_other(void *arg)
{
    struct step *step = arg;
    note(step);
    sy_timer_stop(step->f->loop, &step->other->timer);
}

START_TEST(test_timer_stopped_by_one_that_is_due_with_it)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step b = {&f, "b", .other = NULL}, a = {&f, "a", .other = &b};
    sy_timer_init(&a.timer, note_and_stop_other, &a);
    sy_timer_start(f.loop, &a.timer, 100);
    start(&b, 100);
    expect_turn(&f, "a");
    ck_assert_int_eq(sy_loop_next_ns(f.loop), SY_TIME_NEVER);
    fixture_deinit(&f);
}
END_TEST

static void note_and_free(void *arg)
{
    struct step *step = arg;
    note(step);
    free(step);
}

START_TEST(test_timer_may_free_its_owner)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step *a = sy_new(struct step), b = {&f, "b", .other = NULL};
    a->f = &f;
    a->name = "a";
    sy_timer_init(&a->timer, note_and_free, a);
    sy_timer_start(f.loop, &a->timer, 100);
    start(&b, 100);
    expect_turn(&f, "ab");
    fixture_deinit(&f);
}
END_TEST

static void add_hook(struct step *step, sy_fn fn)
{
    step->hook = (struct sy_turn_end){.fn = fn, .arg = step};
    sy_loop_add_turn_end(step->f->loop, &step->hook);
}

START_TEST(test_turn_ends_run_in_order_when_something_ran)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step x = {&f, "x", .other = NULL}, y = {&f, "y", .other = NULL};
    struct step a = {&f, "a", .other = NULL};
    add_hook(&x, note);
    add_hook(&y, note);
    expect_turn(&f, "");
    post(&f, note, &a);
    expect_turn(&f, "axy");
    start(&a, 100);
    expect_turn(&f, "axy");
    sy_loop_remove_turn_end(f.loop, &x.hook);
    post(&f, note, &a);
    expect_turn(&f, "ay");
    fixture_deinit(&f);
}
END_TEST

static void note_and_remove_hooks(void *arg)
{
    struct step *step = arg;
    note(step);
    sy_loop_remove_turn_end(step->f->loop, &step->hook);
    sy_loop_remove_turn_end(step->f->loop, &step->other->hook);
}

START_TEST(test_turn_end_may_remove_itself_and_the_next)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step y = {&f, "y", .other = NULL}, x = {&f, "x", .other = &y};
    struct step z = {&f, "z", .other = NULL}, a = {&f, "a", .other = NULL};
    add_hook(&x, note_and_remove_hooks);
    add_hook(&y, note);
    add_hook(&z, note);
    post(&f, note, &a);
    expect_turn(&f, "axz");
    fixture_deinit(&f);
}
END_TEST

/* What a turn-end hook posts belongs to the next turn. */
START_TEST(test_turn_end_may_post)
{
    struct fixture f;
    fixture_init(&f, true, 0);
    struct step b = {&f, "b", .other = NULL}, x = {&f, "x", .other = &b};
    add_hook(&x, note_and_post);
    post(&f, note, &b);
    expect_turn(&f, "bx");
    expect_turn(&f, "bx");
    fixture_deinit(&f);
}
END_TEST

struct pipe_io {
    struct fixture *f;
    const char *name;
    struct sy_io io;
    int write_fd;
    struct pipe_io *other;
};

static void note_io(void *arg, uint32_t events)
{
    struct pipe_io *p = arg;
    trace(p->f, p->name);
    ck_assert_uint_ne(events, 0);
}

static void pipe_io_init(struct pipe_io *p, struct fixture *f, const char *name,
                         void (*fn)(void *arg, uint32_t events))
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    *p = (struct pipe_io){.f = f, .name = name, .write_fd = fds[1]};
    p->io = (struct sy_io){fds[0], EPOLLIN, fn, p};
    ck_assert_int_eq(sy_io_add(f->loop, &p->io), 0);
}

static void pipe_io_write(struct pipe_io *p)
{
    ck_assert_int_eq(write(p->write_fd, "x", 1), 1);
}

static void pipe_io_close(struct pipe_io *p)
{
    close(p->io.fd);
    close(p->write_fd);
}

START_TEST(test_io_is_level_triggered)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    struct pipe_io p;
    pipe_io_init(&p, &f, "p", note_io);
    expect_turn(&f, "");
    pipe_io_write(&p);
    expect_turn(&f, "p");
    expect_turn(&f, "p"); /* still not read */
    char c;
    ck_assert_int_eq(read(p.io.fd, &c, 1), 1);
    expect_turn(&f, "");
    sy_io_remove(f.loop, &p.io);
    pipe_io_write(&p);
    expect_turn(&f, "");
    pipe_io_close(&p);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_io_hangup_is_reported)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    struct pipe_io p;
    pipe_io_init(&p, &f, "p", note_io);
    ck_assert_int_eq(sy_io_modify(f.loop, &p.io, 0), 0);
    pipe_io_write(&p);
    expect_turn(&f, ""); /* not asked for */
    close(p.write_fd);
    expect_turn(&f, "p");
    sy_io_remove(f.loop, &p.io);
    close(p.io.fd);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_a_turn_runs_posts_timers_io_hooks)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    struct pipe_io p;
    pipe_io_init(&p, &f, "i", note_io);
    struct step a = {&f, "p", .other = NULL}, b = {&f, "t", .other = NULL};
    struct step x = {&f, "h", .other = NULL};
    add_hook(&x, note);
    pipe_io_write(&p);
    start(&b, 100);
    post(&f, note, &a);
    expect_turn(&f, "ptih");
    expect_turn(&f, "ih");
    sy_io_remove(f.loop, &p.io);
    pipe_io_close(&p);
    fixture_deinit(&f);
}
END_TEST

static void note_and_remove_other(void *arg, uint32_t events)
{
    struct pipe_io *p = arg;
    note_io(arg, events);
    sy_io_remove(p->f->loop, &p->other->io);
    memset(&p->other->io, 0xff, sizeof(p->other->io)); /* as if it were freed */
}

/* Two descriptors are ready; whichever runs first removes the other, which must then stay quiet. */
START_TEST(test_io_removed_in_the_turn_it_is_ready)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    struct pipe_io p, q;
    pipe_io_init(&p, &f, "p", note_and_remove_other);
    pipe_io_init(&q, &f, "q", note_and_remove_other);
    p.other = &q;
    q.other = &p;
    int p_fd = p.io.fd, q_fd = q.io.fd;
    pipe_io_write(&p);
    pipe_io_write(&q);
    sy_loop_turn(f.loop);
    ck_assert_uint_eq(strlen(f.trace), 1);
    close(p_fd);
    close(q_fd);
    close(p.write_fd);
    close(q.write_fd);
    fixture_deinit(&f);
}
END_TEST

static void remove_io(void *arg)
{
    struct pipe_io *p = arg;
    sy_io_remove(p->f->loop, &p->io);
}

static void mute_io(void *arg)
{
    struct pipe_io *p = arg;
    ck_assert_int_eq(sy_io_modify(p->f->loop, &p->io, 0), 0);
}

START_TEST(test_io_removed_or_muted_by_a_post_of_the_same_turn)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    struct pipe_io p, q;
    pipe_io_init(&p, &f, "p", note_io);
    pipe_io_init(&q, &f, "q", note_io);
    pipe_io_write(&p);
    pipe_io_write(&q);
    post(&f, remove_io, &p);
    post(&f, mute_io, &q);
    expect_turn(&f, "");
    ck_assert_int_eq(sy_io_modify(f.loop, &q.io, EPOLLIN), 0);
    expect_turn(&f, "q");
    sy_io_remove(f.loop, &q.io);
    pipe_io_close(&p);
    pipe_io_close(&q);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_io_errors)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    struct sy_io io = {-1, EPOLLIN, note_io, NULL};
    ck_assert_int_eq(sy_io_add(f.loop, &io), -EBADF);
    struct pipe_io p;
    pipe_io_init(&p, &f, "p", note_io);
    ck_assert_int_eq(sy_io_add(f.loop, &p.io), -EEXIST);
    sy_io_remove(f.loop, &p.io);
    ck_assert_int_eq(sy_io_modify(f.loop, &p.io, EPOLLOUT), -ENOENT);
    ck_assert_uint_eq(p.io.events, EPOLLIN);
    fixture_deinit(&f);
    fixture_init(&f, true, 0);
    ck_assert_int_eq(sy_io_add(f.loop, &p.io), -EOPNOTSUPP);
    ck_assert_int_eq(sy_loop_run(f.loop), -EOPNOTSUPP);
    pipe_io_close(&p);
    fixture_deinit(&f);
}
END_TEST

/* More ready descriptors than one turn takes: all get their turn. */
START_TEST(test_more_ready_descriptors_than_a_turn_takes)
{
    enum { COUNT = 300 };
    struct fixture f;
    fixture_init(&f, false, 0);
    struct pipe_io *p = sy_calloc(COUNT, sizeof(*p));
    for (int i = 0; i < COUNT; i++) {
        pipe_io_init(&p[i], &f, "", note_io);
        pipe_io_write(&p[i]);
    }
    p[COUNT - 1].name = "z";
    p[0].name = "a";
    for (int i = 0; i < 4; i++)
        sy_loop_turn(f.loop);
    ck_assert_ptr_nonnull(strchr(f.trace, 'a'));
    ck_assert_ptr_nonnull(strchr(f.trace, 'z'));
    for (int i = 0; i < COUNT; i++) {
        sy_io_remove(f.loop, &p[i].io);
        pipe_io_close(&p[i]);
    }
    free(p);
    fixture_deinit(&f);
}
END_TEST

static void stop_loop(void *arg)
{
    sy_loop_stop(arg);
}

START_TEST(test_stop_runs_what_was_posted_before)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    struct step b = {&f, "b", .other = NULL}, a = {&f, "a", .other = &b};
    post(&f, note, &a);
    post(&f, note_and_post, &a); /* posts b, before the stop is posted below */
    post(&f, stop_loop, f.loop);
    ck_assert_int_eq(sy_loop_run(f.loop), 0);
    ck_assert_str_eq(f.trace, "aab");
    /* and it may run again */
    f.trace[0] = 0;
    post(&f, note, &b);
    sy_loop_stop(f.loop);
    ck_assert_int_eq(sy_loop_run(f.loop), 0);
    ck_assert_str_eq(f.trace, "b");
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_free_drops_what_is_left)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    struct step a = {&f, "a", .other = NULL};
    post(&f, note, &a);
    start(&a, 500);
    fixture_deinit(&f);
    ck_assert_str_eq(f.trace, "");
    ck_assert(!sy_timer_running(&a.timer));
    sy_loop_free(NULL);
}
END_TEST

static void *start_timer(void *arg)
{
    struct step *step = arg;
    sy_timer_start(step->f->loop, &step->timer, 500);
    return NULL;
}

static void start_timer_in_thread(void *arg)
{
    pthread_t thread;
    pthread_create(&thread, NULL, start_timer, arg);
    pthread_join(thread, NULL);
    sy_loop_stop(((struct step *)arg)->f->loop);
}

static void touch_from_another_thread(void *arg)
{
    struct fixture f;
    (void)arg;
    fixture_init(&f, false, 0);
    struct step a = {&f, "a", .other = NULL};
    sy_timer_init(&a.timer, note, &a);
    post(&f, start_timer_in_thread, &a);
    int r = sy_loop_run(f.loop);
    _exit(r); /* not reached */
}

static void turn_again(void *arg)
{
    sy_loop_turn(arg);
}

static void turn_in_a_turn(void *arg)
{
    struct fixture *f = arg;
    post(f, turn_again, f->loop);
    sy_loop_turn(f->loop);
}

static void clock_back(void *arg)
{
    struct fixture *f = arg;
    f->now_ns--;
    sy_loop_turn(f->loop);
}

static void remove_never_added(void *arg)
{
    struct fixture *f = arg;
    struct sy_io io = {STDIN_FILENO, EPOLLIN, note_io, NULL};
    sy_io_remove(f->loop, &io);
}

START_TEST(test_misuse_aborts)
{
    struct fixture f;
    fixture_init(&f, false, 0);
    ck_assert(aborts(touch_from_another_thread, NULL));
    ck_assert(aborts(turn_in_a_turn, &f));
    ck_assert(aborts(clock_back, &f));
    ck_assert(aborts(remove_never_added, &f));
    fixture_deinit(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_posts_run_in_order,
        test_what_is_forgotten_does_not_run,
        test_posts_of_a_turn_run_in_the_next,
        test_full_inbox,
        test_time_is_that_of_the_turn,
        test_timers_fire_by_deadline_then_start_order,
        test_restart_moves_a_timer_behind_its_equals,
        test_start_in,
        test_timer_that_restarts_itself,
        test_timer_stopped_by_one_that_is_due_with_it,
        test_timer_may_free_its_owner,
        test_turn_ends_run_in_order_when_something_ran,
        test_turn_end_may_remove_itself_and_the_next,
        test_turn_end_may_post,
        test_io_is_level_triggered,
        test_io_hangup_is_reported,
        test_a_turn_runs_posts_timers_io_hooks,
        test_io_removed_in_the_turn_it_is_ready,
        test_io_removed_or_muted_by_a_post_of_the_same_turn,
        test_io_errors,
        test_more_ready_descriptors_than_a_turn_takes,
        test_stop_runs_what_was_posted_before,
        test_free_drops_what_is_left,
        test_misuse_aborts,
        NULL,
    };
    return sy_test_run("loop", tests);
}
