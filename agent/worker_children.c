/*
 * Children: enqueued and awaited through calls that the agent relays (ActionService). The control
 * plane takes run and parent from the attempt, so they are not sent. A request that could not be
 * delivered is repeated while the task is not cancelled: names make that safe.
 */
#include "agent/worker.h"
#include "base/mem.h"
#include "switchyard/v1/action_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH_ACTIONS 1000
#define BATCH_BYTES ((size_t)1 << 20)
#define PAGE_CHILDREN 1000
#define NAME_MAX_CHARS 63
#define BACKOFF_MIN_MS 10
#define BACKOFF_MAX_MS 1000
#define PAGE_ARENA_BYTES ((size_t)1 << 30)

enum { /* EnqueueActionsRequest, NewAction, WaitChildrenRequest */
       REQUEST_SPEC = 3,
       REQUEST_ACTIONS = 4,
       REQUEST_PRIORITY = 5,
       ACTION_NAME = 1,
       ACTION_INPUT = 2,
       WAIT_AFTER = 3,
       WAIT_MAX = 4,
};
enum {
    CODE_OK = 0,
    CODE_DEADLINE = 4,
    CODE_EXHAUSTED = 8,
    CODE_ABORTED = 10,
    CODE_UNAVAILABLE = 14
};

struct sy_children {
    struct sy_children *next;
    struct sy_task *task;
    struct sy_buf spec;
    int32_t priority;
    struct sy_buf actions; /* encoded REQUEST_ACTIONS fields, one after the other */
    size_t *ends;          /* where each ends */
    size_t count, cap, sent;
};

/* One answer to WaitChildren, given out child by child. */
struct ag_worker_page_of_children {
    struct sy_arena arena;
    Switchyard__V1__WaitChildrenResponse *response;
    size_t next;
};

struct sy_children *sy_children_new(struct sy_task *task, const struct sy_child_spec *spec)
{
    struct sy_children *children = sy_new(struct sy_children);
    const char *library = spec->library != NULL ? spec->library : task->msg->library;
    const char *environment = spec->environment != NULL ? spec->environment
                                                        : task->worker->environment;
    ag_worker_spec_encode(&children->spec, spec, library, environment);
    children->task = task;
    children->priority = spec->priority;
    children->next = task->children;
    task->children = children;
    return children;
}

static bool name_valid(const char *name)
{
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                 "0123456789._-");
    return length > 0 && length <= NAME_MAX_CHARS && name[length] == '\0';
}

int sy_children_add(struct sy_children *children, const char *name, const void *input, size_t size)
{
    if (!name_valid(name))
        return sy_task_fail(children->task, true, "InvalidChildName",
                            "child name '%.100s': expected 1 to %d of [A-Za-z0-9._-]", name,
                            NAME_MAX_CHARS);
    if (children->count == children->cap) {
        children->cap = children->cap ? children->cap * 2 : 256;
        children->ends = sy_realloc(children->ends, children->cap * sizeof(*children->ends));
    }
    struct sy_buf action = {0};
    ag_worker_put_bytes(&action, ACTION_NAME, name, strlen(name));
    if (size > 0)
        ag_worker_put_bytes(&action, ACTION_INPUT, input, size);
    ag_worker_put_bytes(&children->actions, REQUEST_ACTIONS, action.data, action.len);
    sy_buf_deinit(&action);
    children->ends[children->count++] = children->actions.len;
    return 0;
}

/* ---- asking ---- */

static bool worth_repeating(uint32_t code)
{
    return code == CODE_UNAVAILABLE || code == CODE_EXHAUSTED || code == CODE_DEADLINE ||
           code == CODE_ABORTED;
}

/* False when the task was cancelled meanwhile. */
static bool pause_for(struct sy_task *task, int ms)
{
    for (int slept = 0; slept < ms; slept += BACKOFF_MIN_MS) {
        if (sy_task_cancelled(task))
            return false;
        nanosleep(&(struct timespec){.tv_nsec = BACKOFF_MIN_MS * 1000000L}, NULL);
    }
    return !sy_task_cancelled(task);
}

/* 0 with the reply in *call; else the task's error is set. */
static int ask(struct sy_task *task, struct ag_worker_call *call, const char *method,
               struct sy_span body)
{
    for (int backoff = BACKOFF_MIN_MS;;
         backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2) {
        if (ag_worker_ask(task, call, method, body) < 0)
            break;
        uint32_t code = call->reply->code;
        if (code == CODE_OK)
            return 0;
        if (!worth_repeating(code)) {
            sy_task_fail(task, false, "CallFailed", "%s: code %u: %s", method, code,
                         call->reply->message);
            ag_worker_frame_unref(call->frame);
            return SY_TASK_FAILED;
        }
        ag_worker_frame_unref(call->frame);
        if (!pause_for(task, backoff))
            break;
    }
    return sy_task_fail(task, false, "Cancelled", "cancelled during %s", method);
}

/* How many of the unsent go into one message. */
static size_t batch_of(const struct sy_children *children, size_t start_byte)
{
    size_t n = 0;
    while (children->sent + n < children->count && n < BATCH_ACTIONS &&
           (n == 0 || children->ends[children->sent + n] - start_byte <= BATCH_BYTES))
        n++;
    return n;
}

int sy_children_enqueue(struct sy_children *children)
{
    struct sy_task *task = children->task;
    struct sy_buf request = {0};
    int r = 0;
    while (r == 0 && children->sent < children->count) {
        size_t start = children->sent > 0 ? children->ends[children->sent - 1] : 0;
        size_t n = batch_of(children, start);
        size_t end = children->ends[children->sent + n - 1];
        sy_buf_clear(&request);
        ag_worker_put_bytes(&request, REQUEST_SPEC, children->spec.data, children->spec.len);
        sy_buf_append(&request, children->actions.data + start, end - start);
        if (children->priority != 0)
            ag_worker_put_uint(&request, REQUEST_PRIORITY, (uint64_t)(int64_t)children->priority);
        struct ag_worker_call call;
        r = ask(task, &call, "EnqueueActions", sy_buf_span(&request));
        if (r == 0) {
            ag_worker_frame_unref(call.frame);
            children->sent += n;
        }
    }
    sy_buf_deinit(&request);
    if (r == 0) { /* names and inputs are with the control plane now */
        sy_buf_clear(&children->actions);
        children->count = children->sent = 0;
    }
    return r;
}

/* ---- waiting ---- */

static void *page_alloc(void *arena, size_t size)
{
    return sy_arena_alloc(arena, size);
}

static void page_free(void *arena, void *ptr)
{
    (void)arena;
    (void)ptr;
}

static int next_page(struct sy_task *task)
{
    struct sy_buf request = {0};
    ag_worker_put_uint(&request, WAIT_AFTER, task->children_after);
    ag_worker_put_uint(&request, WAIT_MAX, PAGE_CHILDREN);
    struct ag_worker_call call;
    int r = ask(task, &call, "WaitChildren", sy_buf_span(&request));
    sy_buf_deinit(&request);
    if (r < 0)
        return r;
    struct ag_worker_page_of_children *page = task->page;
    if (page == NULL) {
        page = task->page = sy_new(struct ag_worker_page_of_children);
        sy_arena_init(&page->arena, PAGE_ARENA_BYTES);
    }
    sy_arena_reset(&page->arena);
    page->next = 0;
    ProtobufCAllocator allocator = {page_alloc, page_free, &page->arena};
    page->response = switchyard__v1__wait_children_response__unpack(
        &allocator, call.reply->body.len, call.reply->body.data);
    ag_worker_frame_unref(call.frame);
    if (page->response == NULL)
        return sy_task_fail(task, false, "CallFailed", "WaitChildren: the answer is not readable");
    task->children_after = page->response->next;
    return 0;
}

static void fill(struct sy_child *ret, const Switchyard__V1__ChildOutcome *outcome)
{
    *ret = (struct sy_child){
        .name = outcome->name,
        .phase = (enum sy_child_phase)outcome->phase,
        .output = outcome->output.data,
        .output_size = outcome->output.len,
        .output_uri = outcome->output_uri,
        .error_code = outcome->error != NULL ? outcome->error->code : "",
        .error_message = outcome->error != NULL ? outcome->error->message : "",
    };
}

int sy_task_next_child(struct sy_task *task, struct sy_child *child)
{
    for (;;) {
        struct ag_worker_page_of_children *page = task->page;
        if (sy_task_cancelled(task))
            return sy_task_fail(task, false, "Cancelled", "cancelled while waiting for children");
        if (page != NULL && page->response != NULL && page->next < page->response->n_children) {
            fill(child, page->response->children[page->next++]);
            return 1;
        }
        if (page != NULL && page->response != NULL && page->response->n_children == 0 &&
            page->response->running == 0) {
            page->response = NULL; /* more may be enqueued later */
            return 0;
        }
        int r = next_page(task);
        if (r < 0)
            return r;
    }
}

void ag_worker_children_free(struct sy_task *task)
{
    while (task->children != NULL) {
        struct sy_children *children = task->children;
        task->children = children->next;
        sy_buf_deinit(&children->spec);
        sy_buf_deinit(&children->actions);
        free(children->ends);
        free(children);
    }
    if (task->page != NULL) {
        sy_arena_deinit(&task->page->arena);
        free(task->page);
        task->page = NULL;
    }
}
