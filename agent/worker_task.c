/* What a task can call (switchyard/task.h), and how one is run. */
#include "agent/worker.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ERROR_MESSAGE_MAX 4096
#define LOG_LINE_MAX ((size_t)256 << 10)

const char *sy_task_run(const struct sy_task *task)
{
    return task->msg->run;
}

const char *sy_task_name(const struct sy_task *task)
{
    return task->msg->name;
}

uint32_t sy_task_attempt(const struct sy_task *task)
{
    return task->msg->attempt;
}

const char *sy_task_fencing_token(const struct sy_task *task)
{
    return task->msg->fencing_token;
}

bool sy_task_gang(const struct sy_task *task, struct sy_task_gang *ret)
{
    const Switchyard__Internal__Worker__Gang *gang = task->msg->gang;
    if (gang == NULL)
        return false;
    *ret = (struct sy_task_gang){.id = gang->id,
                                 .rank = gang->rank,
                                 .size = gang->size,
                                 .address = gang->address,
                                 .secret = gang->secret};
    return true;
}

const void *sy_task_input(const struct sy_task *task, size_t *size)
{
    if (task->msg->input_path[0] != '\0') {
        *size = task->mapped_size;
        return task->mapped;
    }
    *size = task->msg->input.len;
    return task->msg->input.data;
}

int sy_task_output(struct sy_task *task, const void *data, size_t size)
{
    sy_buf_clear(task->output);
    sy_buf_append(task->output, data, size);
    return 0;
}

static SY_PRINTF(2, 0) char *format_text(size_t max, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    size_t size = length < 0 ? 1 : (size_t)length + 1;
    char *text = sy_calloc(1, size > max ? max : size);
    vsnprintf(text, size > max ? max : size, format, again);
    va_end(again);
    return text;
}

int sy_task_fail(struct sy_task *task, bool final, const char *code, const char *format, ...)
{
    free(task->error_code);
    free(task->error_message);
    task->error_code = sy_strndup(code, 128);
    va_list args;
    va_start(args, format);
    task->error_message = format_text(ERROR_MESSAGE_MAX, format, args);
    va_end(args);
    return final ? SY_TASK_FAILED_FINAL : SY_TASK_FAILED;
}

void sy_task_log(struct sy_task *task, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_text(LOG_LINE_MAX, format, args);
    va_end(args);
    size_t length = strlen(text);
    if (length == 0 || text[length - 1] != '\n')
        text[length++] = '\n'; /* the terminator's place: the length is given */
    ag_worker_out_log(task->worker, task->msg->id, 3, text, length);
    free(text);
}

bool sy_task_cancelled(struct sy_task *task)
{
    return atomic_load_explicit(&task->cancelled, memory_order_relaxed) ||
           atomic_load_explicit(&task->worker->shutdown, memory_order_relaxed);
}

/* ---- running one ---- */

static int map_input(struct sy_task *task, char *ret_error, size_t error_size)
{
    const char *path = task->msg->input_path;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat = {0};
    if (fd < 0 || fstat(fd, &stat) < 0)
        goto fail;
    task->mapped_size = (size_t)stat.st_size;
    if (stat.st_size > 0) {
        void *data = mmap(NULL, task->mapped_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            goto fail;
        task->mapped = data;
    }
    close(fd);
    return 0;
fail:
    snprintf(ret_error, error_size, "input file %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int write_output(struct sy_task *task)
{
    const char *path = task->msg->output_path;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t done = 0;
    while (fd >= 0 && done < task->output->len) {
        ssize_t n = write(fd, task->output->data + done, task->output->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    if (fd >= 0 && close(fd) == 0 && done == task->output->len)
        return 0;
    return sy_task_fail(task, false, "OutputNotWritten", "%s: %s", path, strerror(errno));
}

static void set_status(struct sy_task *task, int status, ag_worker_result_msg *result)
{
    if (status == 0 && task->output->len > task->msg->inline_max) {
        status = write_output(task);
        result->output_in_file = status == 0;
    }
    if (status == 0) {
        result->kind = SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_SUCCEEDED;
        if (!result->output_in_file) {
            result->output.data = task->output->data;
            result->output.len = task->output->len;
        }
        return;
    }
    result->kind = status == SY_TASK_FAILED_FINAL
                       ? SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_FAILED_FINAL
                       : SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_FAILED;
    if (task->error_code == NULL)
        sy_task_fail(task, false, "TaskFailed", "%s returned %d", task->msg->function, status);
    result->error_code = task->error_code;
    result->error_message = task->error_message;
}

static void release(struct sy_task *task)
{
    if (task->mapped != NULL)
        munmap((void *)(uintptr_t)task->mapped, task->mapped_size);
    ag_worker_children_free(task);
    free(task->error_code);
    free(task->error_message);
    if (task->output->cap > ((size_t)1 << 20))
        sy_buf_deinit(task->output);
}

void ag_worker_task_execute(struct sy_task *task)
{
    struct ag_worker *worker = task->worker;
    const ag_worker_task_msg *msg = task->msg;
    struct ag_worker_slot *slot = &worker->page->slots[task->thread->index];
    char error[SY_ERROR_TEXT_MAX] = "";
    ag_worker_result_msg result = SWITCHYARD__INTERNAL__WORKER__RESULT__INIT;
    result.id = msg->id;
    result.started_ns = ag_worker_realtime_ns();
    atomic_store_explicit(&slot->started_ns, result.started_ns, memory_order_relaxed);
    atomic_store_explicit(&slot->id, msg->id, memory_order_release);

    task->output = &task->thread->output;
    sy_buf_clear(task->output);
    sy_task_fn fn = ag_worker_library_find(worker, msg->library, msg->function, error,
                                           sizeof(error));
    if (fn == NULL || (msg->input_path[0] != '\0' && map_input(task, error, sizeof(error)) < 0)) {
        result.kind = SWITCHYARD__INTERNAL__WORKER__RESULT_KIND__RESULT_REFUSED;
        result.error_code = (char *)(uintptr_t)(fn == NULL ? "LibraryNotLoaded" : "InputNotRead");
        result.error_message = error;
    } else {
        set_status(task, fn(task), &result);
    }
    ag_worker_capture_end(worker, msg->id);
    result.finished_ns = ag_worker_realtime_ns();
    ag_worker_out_result(worker, &result);
    atomic_store_explicit(&slot->id, 0, memory_order_release);
    release(task);
}
