/* What the benchmarks run on warm workers. Built as libswitchyard-bench.so. */
#include <switchyard/task.h>

int noop(struct sy_task *task);
int echo(struct sy_task *task);

int noop(struct sy_task *task)
{
    (void)task;
    return 0;
}

/* Gives its input back. */
int echo(struct sy_task *task)
{
    size_t size = 0;
    const void *input = sy_task_input(task, &size);
    return sy_task_output(task, input, size);
}
