/* The worker's threads: who runs which task, and who reads. See worker.h. */
#include "agent/worker.h"
#include "base/mem.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void ag_worker_die(struct ag_worker *worker, const char *format, ...)
{
    if (worker != NULL) /* or the helper would take it for a task's output, and it would be lost */
        pthread_mutex_lock(&worker->capture_mutex);
    va_list args;
    va_start(args, format);
    fputs("switchyard-worker: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    _exit(3);
}

/* Wakes one thread that can take the role; threads that wait for a reply come first, because a task
 * hangs on it. With the mutex held. */
static void wake_a_reader(struct ag_worker *worker)
{
    struct ag_worker_thread *found = NULL;
    for (unsigned i = 0; i < worker->concurrency; i++) {
        struct ag_worker_thread *thread = &worker->threads[i];
        if (thread->state == AG_WORKER_THREAD_CALL) {
            found = thread;
            break;
        }
        if (thread->state == AG_WORKER_THREAD_IDLE)
            found = thread;
    }
    if (found != NULL)
        pthread_cond_signal(&found->cond);
}

static void wake_idle(struct ag_worker *worker, unsigned count)
{
    for (unsigned i = 0; i < worker->concurrency && count > 0; i++) {
        if (worker->threads[i].state == AG_WORKER_THREAD_IDLE) {
            pthread_cond_signal(&worker->threads[i].cond);
            count--;
        }
    }
}

/* ---- what comes in (the role's holder, with the mutex not held) ---- */

static void enqueue_tasks(struct ag_worker *worker, struct ag_worker_frame *frame)
{
    for (size_t i = 0; i < frame->msg->n_tasks; i++) {
        if (worker->shutdown) {
            ag_worker_out_cancelled(worker, frame->msg->tasks[i]->id);
            continue;
        }
        struct sy_task *task = sy_arena_alloc(&frame->arena, sizeof(*task));
        SY_ASSERT(task != NULL);
        memset(task, 0, sizeof(*task));
        task->worker = worker;
        task->frame = frame;
        task->msg = frame->msg->tasks[i];
        atomic_init(&task->cancelled, false);
        atomic_fetch_add_explicit(&frame->refs, 1, memory_order_relaxed);
        *worker->queue_tail = task;
        worker->queue_tail = &task->next;
    }
}

static void deliver_reply(struct ag_worker *worker, struct ag_worker_frame *frame,
                          const Switchyard__Internal__Worker__Reply *reply)
{
    for (struct ag_worker_call **at = &worker->calls; *at != NULL; at = &(*at)->next) {
        struct ag_worker_call *call = *at;
        if (call->number != reply->call)
            continue;
        *at = call->next;
        atomic_fetch_add_explicit(&frame->refs, 1, memory_order_relaxed);
        call->frame = frame;
        call->reply = reply;
        break;
    }
    for (unsigned i = 0; i < worker->concurrency; i++) {
        if (worker->threads[i].state == AG_WORKER_THREAD_CALL)
            pthread_cond_signal(&worker->threads[i].cond);
    }
}

static void cancel_one(struct ag_worker *worker, uint64_t id)
{
    for (struct sy_task **at = &worker->queue; *at != NULL; at = &(*at)->next) {
        struct sy_task *task = *at;
        if (task->msg->id != id)
            continue;
        *at = task->next;
        if (*at == NULL)
            worker->queue_tail = at;
        ag_worker_out_cancelled(worker, id);
        ag_worker_frame_unref(task->frame);
        return;
    }
    for (unsigned i = 0; i < worker->concurrency; i++) {
        struct ag_worker_thread *thread = &worker->threads[i];
        if (thread->task != NULL && thread->task->msg->id == id) {
            atomic_store(&thread->task->cancelled, true);
            pthread_cond_signal(&thread->cond);
        }
    }
}

static void begin_shutdown(struct ag_worker *worker)
{
    atomic_store(&worker->shutdown, true);
    while (worker->queue != NULL)
        cancel_one(worker, worker->queue->msg->id);
    for (unsigned i = 0; i < worker->concurrency; i++)
        pthread_cond_signal(&worker->threads[i].cond);
}

static void dispatch(struct ag_worker *worker, struct ag_worker_frame *frame)
{
    const ag_worker_to_msg *msg = frame->msg;
    pthread_mutex_lock(&worker->mutex);
    atomic_fetch_add_explicit(&worker->frames, 1, memory_order_relaxed);
    enqueue_tasks(worker, frame);
    for (size_t i = 0; i < msg->n_replies; i++)
        deliver_reply(worker, frame, msg->replies[i]);
    for (size_t i = 0; i < msg->n_cancels; i++)
        cancel_one(worker, msg->cancels[i]);
    if (msg->shutdown)
        begin_shutdown(worker);
    if (msg->n_tasks > 0 && worker->idle_threads > 0)
        wake_idle(worker, (unsigned)msg->n_tasks);
    bool answer = msg->n_cancels > 0;
    pthread_mutex_unlock(&worker->mutex);
    if (answer)
        ag_worker_flush(worker);
}

/* ---- the role ---- */

/* Reads as the role's holder; called and returns with the mutex held. */
static void read_as_holder(struct ag_worker *worker, bool wait)
{
    SY_ASSERT(!worker->reading);
    worker->reading = true;
    pthread_mutex_unlock(&worker->mutex);
    int got = ag_worker_read(worker, false, dispatch);
    if (got == 0 && wait) {
        ag_worker_flush(worker); /* nothing more to read: answer */
        ag_worker_read(worker, true, dispatch);
    }
    pthread_mutex_lock(&worker->mutex);
    worker->reading = false;
}

/* Somebody else reads. With the mutex held. */
static void wait_for_turn(struct ag_worker *worker, struct ag_worker_thread *thread,
                          enum ag_worker_thread_state state)
{
    thread->state = state;
    worker->idle_threads += state == AG_WORKER_THREAD_IDLE;
    pthread_cond_wait(&thread->cond, &worker->mutex);
    worker->idle_threads -= state == AG_WORKER_THREAD_IDLE;
    thread->state = AG_WORKER_THREAD_BUSY;
}

void ag_worker_poll(struct ag_worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    if (!worker->reading) {
        read_as_holder(worker, false);
        wake_a_reader(worker);
    }
    pthread_mutex_unlock(&worker->mutex);
}

/* ---- task threads ---- */

/* The next task, or NULL when the worker shuts down. */
static struct sy_task *next_task(struct ag_worker *worker, struct ag_worker_thread *thread)
{
    pthread_mutex_lock(&worker->mutex);
    while (worker->queue == NULL && !worker->shutdown) {
        if (!worker->reading) {
            read_as_holder(worker, true);
            continue;
        }
        pthread_mutex_unlock(&worker->mutex);
        ag_worker_flush(worker);
        pthread_mutex_lock(&worker->mutex);
        if (worker->queue == NULL && worker->reading && !worker->shutdown)
            wait_for_turn(worker, thread, AG_WORKER_THREAD_IDLE);
    }
    struct sy_task *task = worker->queue;
    if (task != NULL) {
        worker->queue = task->next;
        if (worker->queue == NULL)
            worker->queue_tail = &worker->queue;
        task->next = NULL;
        task->thread = thread;
        thread->task = task;
        thread->started++;
        ag_worker_helper_kick(worker);
    }
    /* The role goes to the next who has nothing to do; alone there is nobody. */
    if (!worker->reading && worker->concurrency > 1)
        wake_a_reader(worker);
    pthread_mutex_unlock(&worker->mutex);
    return task;
}

static void end_task(struct ag_worker *worker, struct ag_worker_thread *thread)
{
    struct sy_task *task = thread->task;
    struct ag_worker_frame *frame = task->frame;
    pthread_mutex_lock(&worker->mutex);
    thread->task = NULL;
    pthread_mutex_unlock(&worker->mutex);
    ag_worker_frame_unref(frame); /* and with it the task */
}

static void *thread_main(void *arg)
{
    struct ag_worker_thread *thread = arg;
    struct ag_worker *worker = thread->worker;
    struct sy_task *task;
    while ((task = next_task(worker, thread)) != NULL) {
        ag_worker_task_execute(task);
        end_task(worker, thread);
        if (ag_worker_out_due(worker, ag_worker_monotonic_ns()))
            ag_worker_flush(worker);
    }
    ag_worker_flush(worker);
    return NULL;
}

/* ---- calls ---- */

static void forget_call(struct ag_worker *worker, const struct ag_worker_call *call)
{
    for (struct ag_worker_call **at = &worker->calls; *at != NULL; at = &(*at)->next) {
        if (*at == call) {
            *at = call->next;
            return;
        }
    }
}

int ag_worker_ask(struct sy_task *task, struct ag_worker_call *call, const char *method,
                  struct sy_span body)
{
    struct ag_worker *worker = task->worker;
    pthread_mutex_lock(&worker->mutex);
    *call = (struct ag_worker_call){.next = worker->calls, .number = ++worker->next_call};
    worker->calls = call;
    pthread_mutex_unlock(&worker->mutex);
    ag_worker_out_call(worker, task->msg->id, call->number, method, body);

    pthread_mutex_lock(&worker->mutex);
    while (call->reply == NULL && !atomic_load(&task->cancelled)) {
        if (!worker->reading)
            read_as_holder(worker, true);
        else
            wait_for_turn(worker, task->thread, AG_WORKER_THREAD_CALL);
    }
    if (call->reply == NULL)
        forget_call(worker, call);
    if (!worker->reading)
        wake_a_reader(worker);
    pthread_mutex_unlock(&worker->mutex);
    return call->reply != NULL ? 0 : -1;
}

int ag_worker_run(struct ag_worker *worker)
{
    SY_ASSERT(worker->concurrency > 0 && worker->concurrency <= AG_WORKER_CONCURRENCY_MAX);
    worker->queue_tail = &worker->queue;
    worker->threads = sy_calloc(worker->concurrency, sizeof(*worker->threads));
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_mutex_init(&worker->out.mutex, NULL);
    pthread_mutex_init(&worker->capture_mutex, NULL);
    pthread_mutex_init(&worker->library_mutex, NULL);
    for (unsigned i = 0; i < worker->concurrency; i++) {
        worker->threads[i].worker = worker;
        worker->threads[i].index = i;
        pthread_cond_init(&worker->threads[i].cond, NULL);
    }
    if (ag_worker_capture_init(worker) < 0)
        ag_worker_die(worker, "stdout and stderr cannot be captured: %s", strerror(errno));
    if (pthread_create(&worker->helper, NULL, ag_worker_helper_main, worker) != 0)
        ag_worker_die(worker, "no thread can be started");
    for (unsigned i = 1; i < worker->concurrency; i++) {
        if (pthread_create(&worker->threads[i].id, NULL, thread_main, &worker->threads[i]) != 0)
            ag_worker_die(worker, "thread %u of %u cannot be started", i, worker->concurrency);
    }
    ag_worker_out_hello(worker);
    thread_main(&worker->threads[0]);
    for (unsigned i = 1; i < worker->concurrency; i++)
        pthread_join(worker->threads[i].id, NULL);
    ag_worker_flush(worker);
    return EXIT_SUCCESS;
}
