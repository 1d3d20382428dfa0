/* links: cl */
#include "tests/lib/test.h"
#include "tools/src/cl_lines.h"

#include <string.h>
#include <unistd.h>

/* A client on a pipe as its stdin would be: what the writer has not sent yet must not block. */

struct world {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct cl_client *client;
    struct cl_lines lines;
    int writer;
    struct sy_timer timer;
    const char *later; /* what the timer writes; NULL: it interrupts */
    struct cl_error error;
};

static void world_init(struct world *w)
{
    int ends[2];
    *w = (struct world){.error = {.exit = CL_OK}};
    ck_assert_int_eq(sy_loop_new(&w->loop, NULL), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, NULL), 0);
    const struct cl_options options = {.endpoint = "shard:1", .timeout_ns = 60 * SY_NS_PER_S};
    w->client = cl_client_new_on(w->rpc, w->loop, &options);
    ck_assert_int_eq(pipe(ends), 0);
    w->lines = (struct cl_lines){.path = "-", .fd = ends[0]};
    w->writer = ends[1];
}

static void world_deinit(struct world *w)
{
    cl_lines_close(&w->lines);
    if (w->writer >= 0)
        close(w->writer);
    cl_client_free(w->client);
    sy_rpc_free(w->rpc);
    sy_loop_free(w->loop);
}

static void say(struct world *w, const char *text, size_t len)
{
    ck_assert_int_eq(write(w->writer, text, len), (ssize_t)len);
}

static void hang_up(struct world *w)
{
    close(w->writer);
    w->writer = -1;
}

static const char *next(struct world *w)
{
    return cl_lines_next(&w->lines, w->client, &w->error);
}

static void on_timer(void *arg)
{
    struct world *w = arg;
    if (w->later) {
        say(w, w->later, strlen(w->later));
        return;
    }
    w->client->interrupted = true;
    cl_wake(w->client);
}

static void start_timer(struct world *w)
{
    sy_timer_init(&w->timer, on_timer, w);
    sy_timer_start_in(w->loop, &w->timer, 20 * SY_NS_PER_MS);
}

START_TEST(test_lines)
{
    static const char text[] = "\n\r\na\nb c\r\n\n\n\xc3\xbc\n  \nlast";
    static const char *const expected[] = {"a", "b c", "\xc3\xbc", "  ", "last"};
    struct world w;
    world_init(&w);
    say(&w, text, sizeof(text) - 1);
    hang_up(&w);
    ck_assert_int_eq(cl_lines_check(&w.lines, w.client, &w.error), CL_OK);
    for (size_t i = 0; i < 5; i++)
        ck_assert_str_eq(next(&w), expected[i]);
    ck_assert_ptr_null(next(&w));
    ck_assert_int_eq(w.error.exit, CL_OK);
    world_deinit(&w);
}
END_TEST

START_TEST(test_long_lines)
{
    static char text[50000];
    struct world w;
    world_init(&w);
    memset(text, 'x', sizeof(text));
    text[20000] = text[49999] = '\n';
    say(&w, text, sizeof(text));
    hang_up(&w);
    ck_assert_uint_eq(strlen(next(&w)), 20000);
    ck_assert_uint_eq(strlen(next(&w)), 29998);
    ck_assert_ptr_null(next(&w));
    world_deinit(&w);
}
END_TEST

START_TEST(test_refusals_name_the_line)
{
    struct world w;
    world_init(&w);
    say(&w, "a\n\nb\0c\n", 7);
    ck_assert_str_eq(next(&w), "a");
    ck_assert_ptr_null(next(&w));
    ck_assert_int_eq(w.error.exit, CL_USAGE);
    ck_assert_ptr_nonnull(strstr(w.error.text.text, "line 3 holds a NUL byte"));
    world_deinit(&w);

    world_init(&w);
    say(&w, "\n\n", 2);
    hang_up(&w);
    ck_assert_int_eq(cl_lines_check(&w.lines, w.client, &w.error), CL_USAGE);
    ck_assert_ptr_nonnull(strstr(w.error.text.text, "there is no line to run"));
    world_deinit(&w);

    struct cl_lines lines;
    ck_assert_int_eq(cl_lines_open(&lines, "/no/such/file", &w.error), CL_USAGE);
    ck_assert_ptr_nonnull(strstr(w.error.text.text, "/no/such/file"));
}
END_TEST

START_TEST(test_a_slow_writer_does_not_stop_the_loop)
{
    struct world w;
    world_init(&w);
    say(&w, "be", 2);
    w.later = "gun\n";
    start_timer(&w); /* it only fires when the loop runs */
    ck_assert_str_eq(next(&w), "begun");
    world_deinit(&w);
}
END_TEST

START_TEST(test_an_interrupt_ends_the_wait)
{
    struct world w;
    world_init(&w);
    start_timer(&w);
    ck_assert_ptr_null(next(&w));
    ck_assert_int_eq(w.error.exit, CL_INTERRUPTED);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_lines,
        test_long_lines,
        test_refusals_name_the_line,
        test_a_slow_writer_does_not_stop_the_loop,
        test_an_interrupt_ends_the_wait,
        NULL,
    };
    return sy_test_run("cl_lines", tests);
}
