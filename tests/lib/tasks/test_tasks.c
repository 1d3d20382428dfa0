/* Tasks for tests of the worker and of the pools. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <switchyard/task.h>
#include <time.h>
#include <unistd.h>

int noop(struct sy_task *task);
int echo(struct sy_task *task);
int who(struct sy_task *task);
int gang(struct sy_task *task);
int print(struct sy_task *task);
int print_raw(struct sy_task *task);
int print_much(struct sy_task *task);
int log_lines(struct sy_task *task);
int fail_soft(struct sy_task *task);
int fail_hard(struct sy_task *task);
int fail_silent(struct sy_task *task);
int sleep_ms(struct sy_task *task);
int sleep_deaf(struct sy_task *task);
int crash(struct sy_task *task);
int print_and_crash(struct sy_task *task);
int exit_three(struct sy_task *task);
int big_output(struct sy_task *task);
int sum_children(struct sy_task *task);
int eat_memory(struct sy_task *task);
int version(struct sy_task *task);
int pid(struct sy_task *task);

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

static long input_number(struct sy_task *task)
{
    size_t size;
    const char *text = sy_task_input(task, &size);
    char copy[32] = "";
    memcpy(copy, text, size < sizeof(copy) - 1 ? size : sizeof(copy) - 1);
    return strtol(copy, NULL, 10);
}

int noop(struct sy_task *task)
{
    (void)task;
    return 0;
}

int echo(struct sy_task *task)
{
    size_t size;
    const void *input = sy_task_input(task, &size);
    return sy_task_output(task, input, size);
}

int who(struct sy_task *task)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s %s %u %s %s", sy_task_run(task), sy_task_name(task),
                     sy_task_attempt(task), sy_task_fencing_token(task),
                     getenv("SWITCHYARD_GPUS") ? getenv("SWITCHYARD_GPUS") : "?");
    return sy_task_output(task, text, (size_t)n);
}

int gang(struct sy_task *task)
{
    struct sy_task_gang mine;
    char text[512] = "none";
    int n = 4;
    if (sy_task_gang(task, &mine))
        n = snprintf(text, sizeof(text), "%s %u %u %s %s", mine.id, mine.rank, mine.size,
                     mine.address, mine.secret);
    return sy_task_output(task, text, (size_t)n);
}

int print(struct sy_task *task)
{
    printf("out of %s\n", sy_task_name(task));
    fprintf(stderr, "err of %s\n", sy_task_name(task));
    return 0;
}

int print_raw(struct sy_task *task)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "raw of %s", sy_task_name(task));
    return write(1, text, (size_t)n) == n ? 0 : SY_TASK_FAILED;
}

int print_much(struct sy_task *task)
{
    long lines = input_number(task);
    for (long i = 0; i < lines; i++)
        printf("%s line %06ld .......................................\n", sy_task_name(task), i);
    return 0;
}

int log_lines(struct sy_task *task)
{
    sy_task_log(task, "first %d", 1);
    sy_task_log(task, "second %s\n", "two");
    return 0;
}

int fail_soft(struct sy_task *task)
{
    return sy_task_fail(task, false, "Soft", "%d apples", 3);
}

int fail_hard(struct sy_task *task)
{
    return sy_task_fail(task, true, "Hard", "no way");
}

int fail_silent(struct sy_task *task)
{
    (void)task;
    return -1;
}

/* Ends early when it is cancelled. */
int sleep_ms(struct sy_task *task)
{
    for (long left = input_number(task); left > 0; left -= 2) {
        if (sy_task_cancelled(task))
            return sy_task_fail(task, false, "Stopped", "as asked");
        pause_ms(2);
    }
    return 0;
}

int sleep_deaf(struct sy_task *task)
{
    pause_ms(input_number(task));
    return 0;
}

int crash(struct sy_task *task)
{
    (void)task;
    raise(SIGSEGV);
    return 0;
}

int print_and_crash(struct sy_task *task)
{
    printf("last words\n");
    sy_task_log(task, "logged words");
    raise(SIGSEGV);
    return 0;
}

int exit_three(struct sy_task *task)
{
    (void)task;
    exit(3);
}

int big_output(struct sy_task *task)
{
    size_t size = (size_t)input_number(task);
    char *data = malloc(size + 1);
    if (data == NULL)
        return SY_TASK_FAILED;
    memset(data, 'x', size);
    int r = sy_task_output(task, data, size);
    free(data);
    return r;
}

/* Input N: enqueues N children "c-0000"... with their number as input; adds up their outputs. */
int sum_children(struct sy_task *task)
{
    long n = input_number(task), sum = 0, got = 0;
    struct sy_child_spec spec = {.function = "echo", .cpu_milli = 250, .retries = 2};
    struct sy_children *children = sy_children_new(task, &spec);
    for (long i = 0; i < n; i++) {
        char name[32], input[32];
        snprintf(name, sizeof(name), "c-%04ld", i);
        int size = snprintf(input, sizeof(input), "%ld", i);
        int r = sy_children_add(children, name, input, (size_t)size);
        if (r != 0)
            return r;
    }
    int r = sy_children_enqueue(children);
    if (r != 0)
        return r;
    struct sy_child child;
    while ((r = sy_task_next_child(task, &child)) == 1) {
        if (child.phase != SY_CHILD_SUCCEEDED)
            return sy_task_fail(task, true, "ChildFailed", "%s: %s", child.name,
                                child.error_message);
        char text[32] = "";
        memcpy(text, child.output, child.output_size < 31 ? child.output_size : 31);
        sum += strtol(text, NULL, 10);
        got++;
    }
    if (r != 0)
        return r;
    char text[64];
    int size = snprintf(text, sizeof(text), "%ld of %ld", sum, got);
    return sy_task_output(task, text, (size_t)size);
}

int eat_memory(struct sy_task *task)
{
    size_t size = (size_t)input_number(task) << 20;
    char *data = malloc(size);
    if (data == NULL)
        return SY_TASK_FAILED;
    for (size_t i = 0; i < size; i += 4096)
        data[i] = 1;
    int r = sy_task_output(task, data, 1);
    free(data);
    return r;
}

int pid(struct sy_task *task)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", (int)getpid());
    return sy_task_output(task, text, (size_t)n);
}

#ifndef VERSION
#define VERSION "1"
#endif

int version(struct sy_task *task)
{
    return sy_task_output(task, VERSION, strlen(VERSION));
}
