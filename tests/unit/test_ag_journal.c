/* links: ag */
#include "agent/journal.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/test.h"
#include "tests/unit/test_ag_util.h"

#include <fcntl.h>

struct seen {
    uint64_t running[64], ended[64];
    unsigned running_count, ended_count, processes;
    char outcomes[64][32];
};

static void on_running(void *ctx, const struct ag_attempt_key *key)
{
    struct seen *seen = ctx;
    seen->running[seen->running_count++] = key->action;
}

static void on_outcome(void *ctx, const struct ag_attempt_key *key, struct sy_span outcome)
{
    struct seen *seen = ctx;
    snprintf(seen->outcomes[seen->ended_count], 32, "%.*s", (int)outcome.len,
             (const char *)outcome.data);
    seen->ended[seen->ended_count++] = key->action;
}

static void on_process(void *ctx, pid_t pid, uint64_t start_time)
{
    struct seen *seen = ctx;
    ck_assert_int_eq(pid, 100);
    ck_assert_uint_eq(start_time, UINT64_C(0x123456789a));
    seen->processes++;
}

static struct seen replay(struct ag_journal *journal)
{
    struct seen seen = {0};
    struct ag_journal_visitor visitor = {on_running, on_outcome, on_process, &seen};
    journal->ops->replay(journal, &visitor);
    return seen;
}

static struct ag_attempt_key key_of(uint64_t action)
{
    return (struct ag_attempt_key){.action = action, .partition = 3, .number = 1, .epoch = 9};
}

static void running(struct ag_journal *journal, uint64_t action)
{
    struct ag_attempt_key key = key_of(action);
    journal->ops->running(journal, &key);
}

static void outcome(struct ag_journal *journal, uint64_t action, const char *text)
{
    struct ag_attempt_key key = key_of(action);
    journal->ops->outcome(journal, &key, (struct sy_span){(const uint8_t *)text, strlen(text)});
}

static void forget(struct ag_journal *journal, uint64_t action)
{
    struct ag_attempt_key key = key_of(action);
    journal->ops->forget(journal, &key);
}

static struct ag_journal *open_file(const char *path)
{
    struct ag_journal *journal = NULL;
    struct sy_error_text error = {0};
    int r = ag_journal_file_new(&journal, path, NULL, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    return journal;
}

/* What both adapters promise. */
static void contract(struct ag_journal *journal)
{
    running(journal, 1);
    running(journal, 2);
    running(journal, 2); /* twice is once */
    running(journal, 3);
    outcome(journal, 2, "two");
    outcome(journal, 2, "never again"); /* the first counts */
    outcome(journal, 4, "four, never seen running");
    outcome(journal, 3, "");
    forget(journal, 3);
    forget(journal, 77); /* unknown: nothing */
    journal->ops->process(journal, 100, UINT64_C(0x123456789a));
    journal->ops->process(journal, 200, 5);
    journal->ops->process(journal, 200, 0);
    ck_assert_int_eq(journal->ops->flush(journal), 0);
    struct seen seen = replay(journal);
    ck_assert_uint_eq(seen.running_count, 1);
    ck_assert_uint_eq(seen.running[0], 1);
    ck_assert_uint_eq(seen.ended_count, 2);
    ck_assert_str_eq(seen.outcomes[0], "two");
    ck_assert_uint_eq(seen.processes, 1);
}

START_TEST(memory)
{
    struct ag_journal *journal = ag_journal_mem_new();
    contract(journal);
    ag_journal_free(journal);
}
END_TEST

START_TEST(file_and_restart)
{
    const char *dir = scratch();
    char path[128];
    snprintf(path, sizeof(path), "%s/journal", dir);
    struct ag_journal *journal = open_file(path);
    contract(journal);
    ag_journal_free(journal); /* as after kill -9: nothing happens here */
    for (int i = 0; i < 3; i++) {
        journal = open_file(path);
        struct seen seen = replay(journal);
        ck_assert_uint_eq(seen.running_count, 1);
        ck_assert_uint_eq(seen.ended_count, 2);
        ck_assert_str_eq(seen.outcomes[0], "two");
        ck_assert_uint_eq(seen.processes, 1);
        ag_journal_free(journal);
    }
    remove_scratch(dir);
}
END_TEST

START_TEST(a_torn_tail)
{
    const char *dir = scratch();
    char path[128], cut[160];
    snprintf(path, sizeof(path), "%s/journal", dir);
    snprintf(cut, sizeof(cut), "%s/cut", dir);
    struct ag_journal *journal = open_file(path);
    for (uint64_t i = 1; i <= 10; i++)
        outcome(journal, i, "the outcome");
    ck_assert_int_eq(journal->ops->flush(journal), 0);
    ag_journal_free(journal);
    char bytes[4096];
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, bytes, sizeof(bytes));
    close(fd);
    unsigned before = 10;
    for (ssize_t length = size; length >= 0; length--) {
        fd = open(cut, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        ck_assert_int_eq(write(fd, bytes, (size_t)length), length);
        close(fd);
        journal = open_file(cut);
        struct seen seen = replay(journal);
        ck_assert_uint_le(seen.ended_count, before);
        ck_assert_uint_ge(seen.ended_count + 1, before); /* never more than one at a time */
        before = seen.ended_count;
        outcome(journal, 99, "after");
        ck_assert_int_eq(journal->ops->flush(journal), 0);
        ag_journal_free(journal);
        journal = open_file(cut); /* what came after the cut is found */
        ck_assert_uint_eq(replay(journal).ended_count, before + 1);
        ag_journal_free(journal);
    }
    ck_assert_uint_eq(before, 0);
    remove_scratch(dir);
}
END_TEST

START_TEST(damage_in_the_middle)
{
    const char *dir = scratch();
    char path[128];
    snprintf(path, sizeof(path), "%s/journal", dir);
    struct ag_journal *journal = open_file(path);
    for (uint64_t i = 1; i <= 5; i++)
        outcome(journal, i, "the outcome");
    ck_assert_int_eq(journal->ops->flush(journal), 0);
    ag_journal_free(journal);
    int fd = open(path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, "X", 1, 16 + 2 * (12 + 21 + 11) + 30), 1); /* in the third */
    close(fd);
    journal = open_file(path);
    ck_assert_uint_eq(replay(journal).ended_count, 2);
    ag_journal_free(journal);
    remove_scratch(dir);
}
END_TEST

START_TEST(another_file)
{
    const char *dir = scratch();
    char path[128];
    snprintf(path, sizeof(path), "%s/journal", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(fd, "this is the wrong file, surely", 30), 30);
    close(fd);
    struct ag_journal *journal;
    struct sy_error_text error;
    ck_assert_int_eq(ag_journal_file_new(&journal, path, NULL, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    remove_scratch(dir);
}
END_TEST

START_TEST(it_does_not_grow)
{
    const char *dir = scratch();
    char path[128];
    struct stat stat_;
    snprintf(path, sizeof(path), "%s/journal", dir);
    struct ag_journal *journal = open_file(path);
    for (uint64_t i = 1; i <= 200000; i++) {
        running(journal, i);
        outcome(journal, i, "the outcome of a task that had something to say");
        if (i > 10)
            forget(journal, i - 10);
        if (i % 64 == 0)
            ck_assert_int_eq(journal->ops->flush(journal), 0);
    }
    ck_assert_int_eq(stat(path, &stat_), 0);
    ck_assert_int_lt(stat_.st_size, 10 << 20);
    ag_journal_free(journal);
    journal = open_file(path);
    ck_assert_uint_eq(replay(journal).ended_count, 10);
    ag_journal_free(journal);
    remove_scratch(dir);
}
END_TEST

/* Random operations; after each "crash" the file says what a table in memory says. */
START_TEST(as_the_one_in_memory)
{
    const char *dir = scratch();
    char path[128];
    snprintf(path, sizeof(path), "%s/journal", dir);
    struct ag_journal *file = open_file(path), *mem = ag_journal_mem_new();
    struct sy_rng rng;
    sy_rng_init(&rng, 42);
    for (int step = 0; step < 3000; step++) {
        uint64_t action = sy_rng_below(&rng, 20);
        char text[32];
        snprintf(text, sizeof(text), "outcome %d", step);
        switch (sy_rng_below(&rng, 4)) {
        case 0:
            running(file, action), running(mem, action);
            break;
        case 1:
            outcome(file, action, text), outcome(mem, action, text);
            break;
        case 2:
            forget(file, action), forget(mem, action);
            break;
        default:
            ck_assert_int_eq(file->ops->flush(file), 0);
            ag_journal_free(file);
            file = open_file(path);
            struct seen a = replay(file), b = replay(mem);
            ck_assert_uint_eq(a.running_count, b.running_count);
            ck_assert_uint_eq(a.ended_count, b.ended_count);
            for (unsigned i = 0; i < a.ended_count; i++)
                for (unsigned j = 0; j < b.ended_count; j++)
                    if (a.ended[i] == b.ended[j])
                        ck_assert_str_eq(a.outcomes[i], b.outcomes[j]);
        }
    }
    ag_journal_free(file);
    ag_journal_free(mem);
    remove_scratch(dir);
}
END_TEST

START_TEST(a_directory_that_is_not_there)
{
    struct ag_journal *journal;
    struct sy_error_text error;
    const char *dir = scratch();
    char path[128];
    snprintf(path, sizeof(path), "%s/no/such/dir/journal", dir);
    ck_assert_int_eq(ag_journal_file_new(&journal, path, NULL, &error), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "journal"));
    remove_scratch(dir);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        memory,       file_and_restart, a_torn_tail,          damage_in_the_middle,
        another_file, it_does_not_grow, as_the_one_in_memory, a_directory_that_is_not_there,
        NULL,
    };
    return sy_test_run("ag_journal", tests);
}
