/* links: ag */
#include "agent/spawner.h"
#include "agent/worker_page.h"
#include "base/buf.h"
#include "base/mem.h"
#include "switchyard/internal/worker.pb-c.h"
#include "tests/lib/test.h"
#include "tests/unit/test_ag_util.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* A worker, spoken to byte by byte. */
struct raw {
    struct ag_child child;
    struct sy_loop *loop;
    struct ag_spawner *spawner;
    int socket, out;
    bool exited;
    int status;
    struct sy_buf in;
};

static void on_started(struct ag_child *child, pid_t pid)
{
    (void)child;
    (void)pid;
}

static void on_failed(struct ag_child *child, int error, const char *what)
{
    (void)child;
    ck_abort_msg("%s: %s", what, strerror(error));
}

static void on_exited(struct ag_child *child, const struct ag_child_exit *exit)
{
    struct raw *raw = (struct raw *)child;
    raw->exited = true;
    raw->status = exit->status;
}

static const struct ag_child_events events = {on_started, on_failed, on_exited};

static struct raw *raw_open(const char *concurrency)
{
    struct sy_error_text error;
    struct raw *raw = sy_new(struct raw);
    int pair[2], out[2], err[2];
    ck_assert_int_eq(sy_loop_new(&raw->loop, NULL), 0);
    ck_assert_int_eq(
        ag_spawner_new(&raw->spawner, raw->loop, beside("switchyard-spawner"), NULL, &error), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(pipe2(err, O_CLOEXEC | O_NONBLOCK), 0);
    raw->socket = pair[0];
    raw->out = err[0]; /* what it says when it dies */
    raw->child.events = &events;
    const char *argv[] = {beside("switchyard-worker"), "--concurrency", concurrency, NULL};
    const char *env[] = {"SWITCHYARD_ENVIRONMENT=native", NULL};
    const struct ag_spawn_fd fds[] = {
        {out[1], 1}, {err[1], 2}, {pair[1], 3}, {out[0], 5}, {err[0], 6}};
    struct ag_spawn spawn = {.argv = argv, .env = env, .fds = fds, .fd_count = 5};
    ck_assert_int_eq(ag_spawner_start(raw->spawner, &raw->child, &spawn), 0);
    close(pair[1]);
    close(out[0]);
    close(out[1]);
    close(err[1]);
    return raw;
}

static void raw_close(struct raw *raw)
{
    if (raw->socket >= 0)
        close(raw->socket);
    close(raw->out);
    ag_spawner_free(raw->spawner);
    sy_loop_free(raw->loop);
    sy_buf_deinit(&raw->in);
    free(raw);
}

static bool read_frame(struct raw *raw, Switchyard__Internal__Worker__FromWorker **ret)
{
    uint8_t buffer[4096];
    ssize_t n = recv(raw->socket, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n > 0)
        sy_buf_append(&raw->in, buffer, (size_t)n);
    if (raw->in.len < 4 || raw->in.len - 4 < sy_get_le32(raw->in.data))
        return false;
    uint32_t size = sy_get_le32(raw->in.data);
    *ret = switchyard__internal__worker__from_worker__unpack(NULL, size, raw->in.data + 4);
    ck_assert_ptr_nonnull(*ret);
    sy_buf_consume(&raw->in, 4 + (size_t)size);
    return true;
}

static Switchyard__Internal__Worker__FromWorker *next_frame(struct raw *raw)
{
    Switchyard__Internal__Worker__FromWorker *msg = NULL;
    ck_assert(RUN_UNTIL(raw->loop, read_frame(raw, &msg)));
    return msg;
}

static void expect_hello(struct raw *raw)
{
    Switchyard__Internal__Worker__FromWorker *msg = next_frame(raw);
    ck_assert_uint_eq(msg->protocol, AG_WORKER_PROTOCOL);
    switchyard__internal__worker__from_worker__free_unpacked(msg, NULL);
}

static void expect_death(struct raw *raw, int status, const char *words)
{
    ck_assert(RUN_UNTIL(raw->loop, raw->exited));
    ck_assert(WIFEXITED(raw->status));
    ck_assert_int_eq(WEXITSTATUS(raw->status), status);
    char text[1024] = "";
    ssize_t n = read(raw->out, text, sizeof(text) - 1);
    ck_assert_msg(words[0] == '\0' || (n > 0 && strstr(text, words) != NULL), "it said '%s'", text);
}

static void send_frame(struct raw *raw, const Switchyard__Internal__Worker__ToWorker *msg)
{
    uint8_t buffer[65536];
    size_t size = switchyard__internal__worker__to_worker__pack(msg, buffer + 4);
    sy_put_le32(buffer, (uint32_t)size);
    ck_assert_int_eq(send(raw->socket, buffer, size + 4, 0), (ssize_t)size + 4);
}

START_TEST(a_frame_that_is_no_message)
{
    struct raw *raw = raw_open("1");
    expect_hello(raw);
    ck_assert_int_eq(send(raw->socket, "\x04\0\0\0\xff\xff\xff\xff", 8, 0), 8);
    expect_death(raw, 3, "is not a ToWorker message");
    raw_close(raw);
}
END_TEST

START_TEST(a_frame_that_is_too_large)
{
    struct raw *raw = raw_open("1");
    expect_hello(raw);
    ck_assert_int_eq(send(raw->socket, "\xff\xff\xff\xff", 4, 0), 4);
    expect_death(raw, 3, "at most");
    raw_close(raw);
}
END_TEST

START_TEST(a_frame_that_is_cut)
{
    struct raw *raw = raw_open("2");
    expect_hello(raw);
    ck_assert_int_eq(send(raw->socket, "\x10\0\0\0\x0a", 5, 0), 5);
    close(raw->socket);
    raw->socket = -1;
    expect_death(raw, 3, "was cut");
    raw_close(raw);
}
END_TEST

START_TEST(the_agents_end_is_its_end)
{
    struct raw *raw = raw_open("2");
    expect_hello(raw);
    close(raw->socket);
    raw->socket = -1;
    expect_death(raw, 0, "");
    raw_close(raw);
}
END_TEST

START_TEST(frames_in_pieces)
{
    struct raw *raw = raw_open("1");
    expect_hello(raw);
    Switchyard__Internal__Worker__Task task = SWITCHYARD__INTERNAL__WORKER__TASK__INIT;
    task.id = 5;
    task.library = (char *)(uintptr_t)task_library("test_tasks");
    task.function = (char *)(uintptr_t) "echo";
    task.input.data = (uint8_t *)(uintptr_t) "abc";
    task.input.len = 3;
    task.inline_max = 100;
    Switchyard__Internal__Worker__Task *tasks[] = {&task};
    Switchyard__Internal__Worker__ToWorker msg = SWITCHYARD__INTERNAL__WORKER__TO_WORKER__INIT;
    msg.tasks = tasks;
    msg.n_tasks = 1;
    uint8_t buffer[4096];
    size_t size = switchyard__internal__worker__to_worker__pack(&msg, buffer + 4);
    sy_put_le32(buffer, (uint32_t)size);
    for (size_t i = 0; i < size + 4; i++) {
        ck_assert_int_eq(send(raw->socket, buffer + i, 1, 0), 1);
        RUN_FOR(raw->loop, i % 16 == 0);
    }
    Switchyard__Internal__Worker__FromWorker *answer = next_frame(raw);
    if (answer->n_results == 0) { /* it took a tick or more */
        ck_assert_uint_eq(answer->n_started, 1);
        switchyard__internal__worker__from_worker__free_unpacked(answer, NULL);
        answer = next_frame(raw);
    }
    ck_assert_uint_eq(answer->n_results, 1);
    ck_assert_uint_eq(answer->results[0]->id, 5);
    ck_assert_int_eq(answer->results[0]->kind,
                     SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_SUCCEEDED);
    ck_assert_uint_eq(answer->results[0]->output.len, 3);
    switchyard__internal__worker__from_worker__free_unpacked(answer, NULL);
    raw_close(raw);
}
END_TEST

static void send_cancel(struct raw *raw, uint64_t id)
{
    Switchyard__Internal__Worker__ToWorker msg = SWITCHYARD__INTERNAL__WORKER__TO_WORKER__INIT;
    msg.cancels = &id;
    msg.n_cancels = 1;
    send_frame(raw, &msg);
}

START_TEST(shutdown_gives_back_what_did_not_start)
{
    struct raw *raw = raw_open("1");
    expect_hello(raw);
    Switchyard__Internal__Worker__Task task[3];
    Switchyard__Internal__Worker__Task *tasks[3];
    for (unsigned i = 0; i < 3; i++) {
        switchyard__internal__worker__task__init(&task[i]);
        task[i].id = i + 1;
        task[i].library = (char *)(uintptr_t)task_library("test_tasks");
        task[i].function = (char *)(uintptr_t) "sleep_ms";
        task[i].input.data = (uint8_t *)(uintptr_t) "600000";
        task[i].input.len = 6;
        tasks[i] = &task[i];
    }
    Switchyard__Internal__Worker__ToWorker msg = SWITCHYARD__INTERNAL__WORKER__TO_WORKER__INIT;
    msg.tasks = tasks;
    msg.n_tasks = 3;
    send_frame(raw, &msg);
    Switchyard__Internal__Worker__FromWorker *answer = next_frame(raw);
    ck_assert_uint_eq(answer->n_started, 1); /* it has run for a tick */
    ck_assert_uint_eq(answer->started[0], 1);
    switchyard__internal__worker__from_worker__free_unpacked(answer, NULL);
    msg = (Switchyard__Internal__Worker__ToWorker)SWITCHYARD__INTERNAL__WORKER__TO_WORKER__INIT;
    msg.shutdown = 1;
    send_frame(raw, &msg);
    unsigned cancelled = 0, done = 0;
    while (cancelled + done < 3) {
        if (cancelled == 2) { /* the first one goes on as long as it likes */
            send_cancel(raw, 1);
            ck_assert_uint_eq(done, 0);
        }
        answer = next_frame(raw);
        for (size_t i = 0; i < answer->n_results; i++) {
            bool was = answer->results[i]->kind ==
                       SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_CANCELLED;
            ck_assert(was == (answer->results[i]->id != 1));
            cancelled += was;
            done += !was;
        }
        switchyard__internal__worker__from_worker__free_unpacked(answer, NULL);
    }
    expect_death(raw, 0, "");
    raw_close(raw);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_frame_that_is_no_message,
        a_frame_that_is_too_large,
        a_frame_that_is_cut,
        the_agents_end_is_its_end,
        frames_in_pieces,
        shutdown_gives_back_what_did_not_start,
        NULL,
    };
    return sy_test_run("worker_protocol", tests);
}
