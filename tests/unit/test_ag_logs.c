/* links: ag */
#include "agent/logs.h"
#include "agent/logs_record.h"
#include "base/mem.h"
#include "switchyard/v1/log_service.pb-c.h"
#include "tests/lib/test.h"
#include "tests/unit/test_ag_util.h"

#include <fcntl.h>

static struct sy_loop *loop;
static struct ag_io *io;
static struct ag_logs *logs;
static const char *dir;
static struct ag_log_chunk last_chunk;
static unsigned chunks;

static void on_chunk(void *ctx, const struct ag_log_chunk *chunk)
{
    (void)ctx;
    last_chunk = *chunk;
    chunks++;
}

static void open_logs(bool uring, int64_t bytes_max, unsigned files_max)
{
    struct sy_error_text error;
    dir = dir ? dir : scratch();
    ck_assert_int_eq(sy_loop_new(&loop, NULL), 0);
    io = ag_io_new(loop, uring);
    if (uring && ag_io_is_plain(io))
        printf("io_uring is not permitted here: plain calls instead\n");
    struct ag_logs_options options = {
        .dir = dir, .attempt_bytes_max = bytes_max, .files_max = files_max};
    ck_assert_int_eq(ag_logs_new(&logs, loop, io, &options, NULL, &error), 0);
    ag_logs_bind(logs, on_chunk, NULL);
    chunks = 0;
}

static void close_logs(bool keep)
{
    ag_logs_free(logs);
    ag_io_free(io);
    sy_loop_free(loop);
    if (!keep) {
        remove_scratch(dir);
        dir = NULL;
    }
}

static void append(struct ag_log *log, enum ag_log_stream stream, const char *text)
{
    ag_log_append(log, 77, stream, (struct sy_span){(const uint8_t *)text, strlen(text)});
}

static void nothing(void *arg)
{
    (void)arg;
}

static void settle(void)
{
    for (int i = 0; i < 3; i++) {
        sy_loop_post_always(loop, nothing, NULL);
        sy_loop_turn(loop);
        ck_assert(RUN_UNTIL(loop, ag_io_in_flight(io) == 0));
    }
}

/* Reads all that is there; "1:text 4:text " by stream, whole records checked. */
static const char *read_all(const char *run, const char *name, uint32_t number, uint32_t bytes_max)
{
    static char text[65536];
    size_t at = 0;
    struct ag_log_read read = {.run = run, .name = name, .number = number, .bytes_max = bytes_max};
    text[0] = '\0';
    for (;;) {
        struct ag_log_chunk chunk;
        ck_assert_int_eq(ag_logs_read(logs, &read, &chunk), 0);
        if (!chunk.found)
            return NULL;
        ck_assert_uint_eq(ag_log_records_whole(chunk.data), chunk.data.len);
        for (size_t i = 0; i < chunk.data.len;) {
            struct sy_span rest = {chunk.data.data + i, chunk.data.len - i};
            size_t size = (size_t)ag_log_record_size(rest), head = 1;
            for (; rest.data[head - 1] & 0x80; head++)
                ;
            Switchyard__V1__LogRecord *record = switchyard__v1__log_record__unpack(
                NULL, size - head, rest.data + head);
            ck_assert_ptr_nonnull(record);
            ck_assert_int_eq(record->time_ns, 77);
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%u:%.*s ", record->stream,
                                   (int)(record->data.len < 100 ? record->data.len : 100),
                                   (const char *)record->data.data);
            switchyard__v1__log_record__free_unpacked(record, NULL);
            i += size;
        }
        read.offset = chunk.next_offset;
        if (chunk.end || chunk.data.len == 0)
            return text;
    }
}

static void write_and_read(bool uring)
{
    open_logs(uring, 0, 0);
    struct ag_log *log = ag_log_open(logs, "p/d/r", "a0", 1);
    ck_assert_ptr_nonnull(log);
    settle();
    char path[256];
    snprintf(path, sizeof(path), "%s/p/d/r/a0/1.log", dir);
    ck_assert_int_ne(access(path, F_OK), 0); /* nothing was written */
    ck_assert(!ag_log_has_output(log));
    append(log, AG_LOG_STDOUT, "one");
    append(log, AG_LOG_STDERR, "two");
    settle();
    ck_assert_int_eq(access(path, F_OK), 0);
    append(log, AG_LOG_TASK, "three");
    ag_log_end(log);
    settle();
    ck_assert_str_eq(read_all("p/d/r", "a0", 1, 0), "1:one 2:two 3:three ");
    ck_assert_str_eq(read_all("p/d/r", "a0", 0, 0), "1:one 2:two 3:three ");
    ck_assert_ptr_null(read_all("p/d/r", "a0", 2, 0));
    ck_assert_ptr_null(read_all("p/d/r", "a1", 0, 0));
    close_logs(false);
}

START_TEST(with_io_uring)
{
    write_and_read(true);
}
END_TEST

START_TEST(with_plain_calls)
{
    write_and_read(false);
}
END_TEST

START_TEST(names_that_are_no_paths)
{
    open_logs(true, 0, 0);
    static const char *const runs[] = {"",       "p/d",  "p/d/r/x", "p//r",     "../d/r", "p/../r",
                                       "p/d/..", "/d/r", "p/d/r\n", "p/d/\x01", "p/./r"};
    for (size_t i = 0; i < SY_COUNT_OF(runs); i++)
        ck_assert_msg(ag_log_open(logs, runs[i], "a0", 1) == NULL, "'%s'", runs[i]);
    static const char *const names[] = {"", ".", "..", "a/b", "a\\b", "a\x7f"};
    for (size_t i = 0; i < SY_COUNT_OF(names); i++)
        ck_assert_msg(ag_log_open(logs, "p/d/r", names[i], 1) == NULL, "'%s'", names[i]);
    ck_assert_ptr_null(ag_log_open(logs, "p/d/r", "a0", 0));
    ck_assert_ptr_null(read_all("p/d/..", "a0", 1, 0));
    struct ag_log *log = ag_log_open(logs, "p/d/..r", "...", 1); /* odd, but a name */
    ck_assert_ptr_nonnull(log);
    ag_log_end(log);
    close_logs(false);
}
END_TEST

START_TEST(cut_at_the_limit)
{
    open_logs(true, 1000, 0);
    struct ag_log *log = ag_log_open(logs, "p/d/r", "a0", 1);
    for (int i = 0; i < 100; i++)
        append(log, AG_LOG_STDOUT, "a line of fifty characters, give or take a few more");
    ag_log_end(log);
    settle();
    const char *text = read_all("p/d/r", "a0", 1, 0);
    ck_assert_ptr_nonnull(strstr(text, "4:log cut: it has reached its size limit"));
    ck_assert_uint_lt(strlen(text), 1200);
    close_logs(false);
}
END_TEST

START_TEST(large_pieces_and_small_chunks)
{
    open_logs(true, 0, 0);
    struct ag_log *log = ag_log_open(logs, "p/d/r", "a0", 1);
    char *big = sy_malloc(300001);
    memset(big, 'x', 300000);
    big[300000] = '\0';
    append(log, AG_LOG_STDOUT, big);
    for (int i = 0; i < 40; i++)
        append(log, AG_LOG_STDOUT, big);
    ag_log_end(log);
    settle();
    const char *text = read_all("p/d/r", "a0", 1, 1); /* as small as it gets */
    unsigned records = 0;
    for (; (text = strstr(text, "1:x")) != NULL; text++)
        records++;
    ck_assert_uint_eq(records, 41 * 5);
    free(big);
    close_logs(false);
}
END_TEST

START_TEST(a_reader_waits)
{
    open_logs(true, 0, 0);
    struct ag_log *log = ag_log_open(logs, "p/d/r", "a0", 3);
    struct ag_log_read read = {.read = 9, .run = "p/d/r", .name = "a0", .number = 3, .wait = true};
    struct ag_log_chunk chunk;
    ck_assert_int_eq(ag_logs_read(logs, &read, &chunk), AG_LOGS_E_WAITING);
    settle();
    ck_assert_uint_eq(chunks, 0);
    append(log, AG_LOG_STDOUT, "news");
    settle();
    ck_assert_uint_eq(chunks, 1);
    ck_assert_uint_eq(last_chunk.read, 9);
    ck_assert(last_chunk.found && !last_chunk.end);
    ck_assert_uint_gt(last_chunk.next_offset, 0);
    read.offset = last_chunk.next_offset;
    ck_assert_int_eq(ag_logs_read(logs, &read, &chunk), AG_LOGS_E_WAITING);
    ag_log_end(log);
    settle();
    ck_assert_uint_eq(chunks, 2);
    ck_assert(last_chunk.found && last_chunk.end);
    read.wait = false;
    ck_assert_int_eq(ag_logs_read(logs, &read, &chunk), 0);
    ck_assert(chunk.end);
    read.offset = 2; /* in the middle of a record */
    ck_assert_int_eq(ag_logs_read(logs, &read, &chunk), 0);
    ck_assert(!chunk.found && chunk.end);
    log = ag_log_open(logs, "p/d/r", "a0", 4); /* never writes anything */
    read = (struct ag_log_read){
        .read = 10, .run = "p/d/r", .name = "a0", .number = 4, .wait = true};
    ck_assert_int_eq(ag_logs_read(logs, &read, &chunk), AG_LOGS_E_WAITING);
    ag_logs_forget_reads(logs);
    ag_log_end(log);
    settle();
    ck_assert_uint_eq(chunks, 2);
    close_logs(false);
}
END_TEST

START_TEST(more_logs_than_open_files)
{
    open_logs(true, 0, 4);
    struct ag_log *all[50];
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        all[i] = ag_log_open(logs, "p/d/r", name, 1);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++)
            append(all[i], AG_LOG_STDOUT, "x");
        settle();
    }
    for (int i = 0; i < 50; i++)
        ag_log_end(all[i]);
    settle();
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        ck_assert_str_eq(read_all("p/d/r", name, 1, 0), "1:x 1:x 1:x ");
    }
    close_logs(false);
}
END_TEST

START_TEST(a_log_goes_on_after_a_restart)
{
    open_logs(true, 0, 0);
    struct ag_log *log = ag_log_open(logs, "p/d/r", "a0", 1);
    append(log, AG_LOG_STDOUT, "before");
    settle();
    close_logs(true);
    char path[256];
    snprintf(path, sizeof(path), "%s/p/d/r/a0/1.log", dir);
    int fd = open(path, O_WRONLY | O_APPEND);
    ck_assert_int_eq(write(fd, "\x20torn", 5), 5); /* the death came in the middle of a write */
    close(fd);
    open_logs(true, 0, 0);
    log = ag_log_open(logs, "p/d/r", "a0", 1);
    append(log, AG_LOG_STDOUT, "after");
    ag_log_end(log);
    settle();
    ck_assert_str_eq(read_all("p/d/r", "a0", 1, 0), "1:before 1:after ");
    close_logs(false);
}
END_TEST

START_TEST(a_full_disk_loses_lines_only)
{
    open_logs(true, 0, 0);
    struct ag_log *log = ag_log_open(logs, "p/d/r", "a0", 1);
    char path[256];
    snprintf(path, sizeof(path), "%s/p", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600); /* in the way of the folder */
    close(fd);
    append(log, AG_LOG_STDOUT, "lost");
    settle();
    append(log, AG_LOG_STDOUT, "lost");
    ag_log_end(log);
    settle();
    close_logs(false);
}
END_TEST

START_TEST(retention)
{
    open_logs(true, 0, 0);
    for (int i = 0; i < 2; i++) {
        struct ag_log *log = ag_log_open(logs, i ? "p/d/new" : "p/d/old", "a0", 1);
        append(log, AG_LOG_STDOUT, "x");
        ag_log_end(log);
    }
    settle();
    static const char *const parts[] = {"p/d/old/a0/1.log", "p/d/old/a0", "p/d/old"};
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    char path[256];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, parts[i]);
        ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    _Atomic bool stop = false;
    ck_assert_uint_eq(ag_logs_sweep(dir, 2000 * SY_NS_PER_S, &stop), 1);
    ck_assert_ptr_null(read_all("p/d/old", "a0", 1, 0));
    ck_assert_str_eq(read_all("p/d/new", "a0", 1, 0), "1:x ");
    close_logs(false);
}
END_TEST

static int read_result;

static void on_read(struct ag_io_op *op, int result)
{
    read_result = result;
    ck_assert(result < 0 || memcmp(op + 1, "hello", (size_t)result) == 0);
    free(op);
}

START_TEST(pipes)
{
    for (int uring = 0; uring < 2; uring++) {
        open_logs(uring, 0, 0);
        int fds[2];
        ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
        struct ag_io_op *op = ag_io_op_new(sizeof(*op) + 64, on_read, NULL);
        read_result = -1;
        ag_io_read(io, op, fds[0], op + 1, 64);
        sy_loop_post_always(loop, nothing, NULL);
        RUN_FOR(loop, 20);
        ck_assert_int_eq(read_result, -1); /* nothing there yet */
        ck_assert_int_eq(write(fds[1], "hello", 5), 5);
        settle();
        ck_assert_int_eq(read_result, 5);
        op = ag_io_op_new(sizeof(*op) + 64, on_read, NULL);
        ag_io_read(io, op, fds[0], op + 1, 64);
        sy_loop_turn(loop);
        ag_io_abandon(io, op); /* it is not called any more, and frees itself */
        read_result = -7;
        settle();
        op = ag_io_op_new(sizeof(*op) + 64, on_read, NULL);
        close(fds[1]);
        ag_io_read(io, op, fds[0], op + 1, 64);
        settle();
        ck_assert_int_eq(read_result, 0); /* the end */
        close(fds[0]);
        close_logs(false);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        with_io_uring,
        with_plain_calls,
        names_that_are_no_paths,
        cut_at_the_limit,
        large_pieces_and_small_chunks,
        a_reader_waits,
        more_logs_than_open_files,
        a_log_goes_on_after_a_restart,
        a_full_disk_loses_lines_only,
        retention,
        pipes,
        NULL,
    };
    return sy_test_run("ag_logs", tests);
}
