/*
 * The demo's tasks, as a user of switchyard/task.h would write them: a root that lists files,
 * enqueues one child for each, waits, and reduces; and the child. Built as libswitchyard-demo.so.
 */
#include "tools/src/demo_work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <switchyard/task.h>
#include <unistd.h>

int demo_root(struct sy_task *task);
int demo_compress(struct sy_task *task);

#define INPUT_MAX 8192
#define CHILD_MEMORY_BYTES ((uint64_t)64 << 20)
#define CHILD_CPU_MILLI 100

/* ---- the root ---- */

/* "key=value" lines: dir, files_max, pid_file. */
struct root_options {
    char text[INPUT_MAX];
    const char *dir, *pid_file;
    size_t files_max;
};

static int read_options(struct sy_task *task, struct root_options *options)
{
    size_t size = 0;
    const void *input = sy_task_input(task, &size);
    if (size == 0 || size >= sizeof(options->text))
        return sy_task_fail(task, true, "DemoInput", "expected lines such as dir=/usr/share/doc");
    memcpy(options->text, input, size);
    options->text[size] = '\0';
    options->files_max = SIZE_MAX;
    char *save = NULL;
    for (char *line = strtok_r(options->text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "dir=", 4) == 0)
            options->dir = line + 4;
        else if (strncmp(line, "pid_file=", 9) == 0)
            options->pid_file = line + 9;
        else if (strncmp(line, "files_max=", 10) == 0)
            options->files_max = strtoull(line + 10, NULL, 10);
        else
            return sy_task_fail(task, true, "DemoInput", "'%s': not an option", line);
    }
    return options->dir ? 0 : sy_task_fail(task, true, "DemoInput", "dir is missing");
}

/* For `switchyard-demo --kill-root`: who works on the root now. */
static void tell_pid(struct sy_task *task, const char *path)
{
    char next[INPUT_MAX + 8];
    snprintf(next, sizeof(next), "%s.new", path);
    FILE *file = fopen(next, "we");
    if (!file) {
        sy_task_log(task, "%s: %s", next, strerror(errno));
        return;
    }
    fprintf(file, "%d %" PRIu32 "\n", (int)getpid(), sy_task_attempt(task));
    if (fclose(file) != 0 || rename(next, path) < 0)
        sy_task_log(task, "%s: %s", path, strerror(errno));
}

static int enqueue_all(struct sy_task *task, const struct demo_files *files)
{
    struct sy_child_spec spec = {.function = "demo_compress",
                                 .cpu_milli = CHILD_CPU_MILLI,
                                 .memory_bytes = CHILD_MEMORY_BYTES,
                                 .retries = 2};
    struct sy_children *children = sy_children_new(task, &spec);
    if (!children)
        return SY_TASK_FAILED;
    for (size_t i = 0; i < files->count; i++) {
        char name[DEMO_NAME_SIZE];
        demo_child_name(name, i, files->paths[i]);
        int r = sy_children_add(children, name, files->paths[i], strlen(files->paths[i]));
        if (r < 0)
            return r;
    }
    return sy_children_enqueue(children);
}

static int gather(struct sy_task *task, const struct demo_files *files, struct demo_report *report)
{
    struct sy_child child;
    int r;
    while ((r = sy_task_next_child(task, &child)) == 1) {
        size_t i = 0;
        char name[DEMO_NAME_SIZE];
        struct demo_result result;
        if (!demo_child_index(child.name, files->count, &i))
            continue; /* of an earlier attempt, when the folder held more files */
        demo_child_name(name, i, files->paths[i]);
        if (strcmp(name, child.name) != 0)
            continue;
        if (child.phase == SY_CHILD_SUCCEEDED &&
            demo_result_read(&result, child.output, child.output_size)) {
            demo_report_add(report, files->paths[i], &result);
        } else {
            report->failed++;
            sy_task_log(task, "%s failed: %s", files->paths[i],
                        child.error_message ? child.error_message : "no result");
        }
    }
    return r;
}

static int write_report(struct sy_task *task, struct demo_report *report)
{
    demo_report_finish(report);
    char *text = demo_report_write(report);
    sy_task_log(task, "%s", text);
    int r = sy_task_output(task, text, strlen(text));
    free(text);
    return r;
}

int demo_root(struct sy_task *task)
{
    struct root_options options = {.dir = NULL};
    int r = read_options(task, &options);
    if (r < 0)
        return r;
    if (options.pid_file)
        tell_pid(task, options.pid_file);
    struct demo_files files;
    r = demo_files_find(&files, options.dir, options.files_max);
    if (r < 0)
        return sy_task_fail(task, true, "DemoFolder", "%s: %s", options.dir, strerror(-r));
    sy_task_log(task, "attempt %" PRIu32 ": %zu files below %s", sy_task_attempt(task), files.count,
                options.dir);
    struct demo_report report;
    memset(&report, 0, sizeof(report));
    r = files.count > 0 ? enqueue_all(task, &files) : 0;
    if (r == 0)
        r = gather(task, &files, &report);
    if (r == 0)
        r = write_report(task, &report);
    demo_report_free(&report);
    demo_files_free(&files);
    return r;
}

/* ---- the child ---- */

int demo_compress(struct sy_task *task)
{
    char path[4096], text[DEMO_RESULT_TEXT_MAX];
    size_t size = 0;
    const void *input = sy_task_input(task, &size);
    if (size == 0 || size >= sizeof(path))
        return sy_task_fail(task, true, "DemoInput", "expected the path of a file");
    memcpy(path, input, size);
    path[size] = '\0';
    struct demo_result result;
    int r = demo_file_compress(path, &result);
    if (r < 0)
        return sy_task_fail(task, false, "DemoFile", "%s: %s", path, strerror(-r));
    demo_result_write(&result, text);
    return sy_task_output(task, text, strlen(text));
}
