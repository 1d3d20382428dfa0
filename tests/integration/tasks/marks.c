/*
 * Tasks of the integration tests. Each attempt leaves a mark, the empty file DIR/NAME@ATTEMPT, so
 * that the tests can tell what really ran.
 */
#include <switchyard/task.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int mark(struct sy_task *task);
int sleeper(struct sy_task *task);
int crash_once(struct sy_task *task);
int fail_always(struct sy_task *task);
int printer(struct sy_task *task);
int parent(struct sy_task *task);
int large(struct sy_task *task);

static void leave_mark(const struct sy_task *task, const char *directory, size_t length)
{
    char path[512];
    snprintf(path, sizeof(path), "%.*s/%s@%u", (int)length, directory, sy_task_name(task),
             sy_task_attempt(task));
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (fd >= 0)
        close(fd);
}

static void nap(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Input: the directory of the marks. Output: its own name. */
int mark(struct sy_task *task)
{
    size_t size;
    const char *directory = sy_task_input(task, &size);
    leave_mark(task, directory, size);
    nap(1);
    return sy_task_output(task, sy_task_name(task), strlen(sy_task_name(task)));
}

/* Runs until it is cancelled, at most 60 s. */
int sleeper(struct sy_task *task)
{
    size_t size;
    const char *directory = sy_task_input(task, &size);
    leave_mark(task, directory, size);
    for (int i = 0; i < 6000 && !sy_task_cancelled(task); i++)
        nap(10);
    return sy_task_cancelled(task) ? sy_task_fail(task, true, "Cancelled", "cancelled") : 0;
}

int crash_once(struct sy_task *task)
{
    if (sy_task_attempt(task) == 1)
        raise(SIGSEGV);
    return sy_task_output(task, "second", 6);
}

int fail_always(struct sy_task *task)
{
    size_t size;
    const char *directory = sy_task_input(task, &size);
    leave_mark(task, directory, size);
    return sy_task_fail(task, false, "NoLuck", "attempt %u had no luck", sy_task_attempt(task));
}

int printer(struct sy_task *task)
{
    printf("to stdout from %s\n", sy_task_name(task));
    fprintf(stderr, "to stderr from %s\n", sy_task_name(task));
    sy_task_log(task, "to the log from %s", sy_task_name(task));
    return 0;
}

/* More than travels inline: 1 MiB of its own name. */
int large(struct sy_task *task)
{
    size_t size = 1 << 20, n = strlen(sy_task_name(task));
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = sy_task_name(task)[i % n];
    int r = sy_task_output(task, data, size);
    free(data);
    return r;
}

/* Input: "DIR COUNT". Enqueues COUNT marks, waits for all, outputs how many succeeded. */
int parent(struct sy_task *task)
{
    char directory[400];
    int count = 0;
    size_t size;
    const char *input = sy_task_input(task, &size);
    char text[512];
    snprintf(text, sizeof(text), "%.*s", (int)size, input);
    if (sscanf(text, "%399s %d", directory, &count) != 2)
        return sy_task_fail(task, true, "BadInput", "expected 'DIR COUNT', got '%s'", text);
    leave_mark(task, directory, strlen(directory));

    struct sy_child_spec spec = {.function = "mark", .cpu_milli = 10};
    struct sy_children *children = sy_children_new(task, &spec);
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "m-%06d", i);
        sy_children_add(children, name, directory, strlen(directory));
    }
    int r = sy_children_enqueue(children);
    if (r < 0)
        return r;
    struct sy_child child;
    int good = 0;
    while ((r = sy_task_next_child(task, &child)) == 1)
        good += child.phase == SY_CHILD_SUCCEEDED && child.output_size == strlen(child.name) &&
                memcmp(child.output, child.name, child.output_size) == 0;
    if (r < 0)
        return r;
    char result[32];
    int length = snprintf(result, sizeof(result), "%d", good);
    return sy_task_output(task, result, (size_t)length);
}
