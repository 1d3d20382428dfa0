/* switchyard run --each, --lines: many children of a group, enqueued in batches. */
#include "tools/src/cl_enqueue.h"
#include "tools/src/cl_straight.h"
#include "tools/src/cmd_run.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define FUNCTION_BATCH 1000
#define FUNCTION_WINDOW 8
#define GANG_INPUT_BYTES_MAX ((size_t)4 << 20) /* as much as one message of the batcher holds */
#define COMMAND_WINDOW 64 /* each command is a spec of its own, so a call of its own */

/* ---- items: arguments, or lines ---- */

struct items {
    char *const *each;
    size_t each_count, next;
    struct cl_lines *lines; /* NULL: there are arguments */
    struct cl_client *client;
    struct cl_error *error;
};

/* NULL at the end, or when *error is set. Valid until the next call. */
static const char *next_item(struct items *items)
{
    if (items->lines)
        return cl_lines_next(items->lines, items->client, items->error);
    return items->next < items->each_count ? items->each[items->next++] : NULL;
}

/* ---- commands ---- */

static char *replace_all(const char *text, const char *item, bool *replaced)
{
    struct sy_buf buf = {0};
    for (const char *hit; (hit = strstr(text, "{}")); text = hit + 2) {
        sy_buf_append(&buf, text, (size_t)(hit - text));
        sy_buf_append_str(&buf, item);
        *replaced = true;
    }
    sy_buf_append(&buf, text, strlen(text) + 1);
    return (char *)buf.data;
}

char **cl_run_substitute(char *const *command, size_t count, const char *item, size_t *ret_count)
{
    char **args = sy_calloc(count + 1, sizeof(char *));
    bool replaced = false;
    for (size_t i = 0; i < count; i++)
        args[i] = replace_all(command[i], item, &replaced);
    if (!replaced)
        args[count] = sy_strdup(item);
    *ret_count = count + !replaced;
    return args;
}

void cl_run_free_args(char **args, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(args[i]);
    free(args);
}

static enum cl_exit send_command(struct cl_enqueue *enqueue, const struct cl_run_options *options,
                                 uint64_t number, const char *item, bool seal,
                                 struct cl_error *error)
{
    size_t count = 0;
    char **args = cl_run_substitute(options->command, options->command_count, item, &count);
    union {
        char **in;
        const char *const *out;
    } readable = {args};
    struct sy_buf spec SY_CLEANUP(sy_buf_deinit) = {0};
    enum cl_exit exit_code = cl_run_pack_spec(options, readable.out, count, &spec, error);
    cl_run_free_args(args, count);
    if (exit_code != CL_OK)
        return exit_code;
    char name[32];
    snprintf(name, sizeof(name), "n%07llu", (unsigned long long)number);
    Switchyard__V1__NewAction action = SWITCHYARD__V1__NEW_ACTION__INIT;
    action.name = name;
    Switchyard__V1__NewAction *actions[] = {&action};
    exit_code = cl_enqueue_send(enqueue, sy_buf_span(&spec), actions, 1, seal);
    if (exit_code != CL_OK)
        *error = enqueue->error;
    return exit_code;
}

/* One item is held back, so that the last can carry the seal. */
static enum cl_exit enqueue_commands(struct cl_enqueue *enqueue,
                                     const struct cl_run_options *options, struct items *items,
                                     struct cl_run_summary *summary, struct cl_error *error)
{
    char *held = NULL;
    uint64_t number = 0;
    enum cl_exit exit_code = CL_OK;
    for (const char *item; exit_code == CL_OK && (item = next_item(items));) {
        char *next = sy_strdup(item);
        if (held)
            exit_code = send_command(enqueue, options, number++, held, false, error);
        free(held);
        held = next;
        summary->enqueued = number + 1;
        cl_run_show_progress(summary);
    }
    if (exit_code == CL_OK)
        exit_code = error->exit; /* of the lines */
    if (exit_code == CL_OK && held)
        exit_code = send_command(enqueue, options, number, held, true, error);
    free(held);
    if (exit_code == CL_OK && cl_enqueue_flush(enqueue) != CL_OK) {
        *error = enqueue->error;
        exit_code = error->exit;
    }
    return exit_code;
}

/* ---- functions; and a single task that needs a priority, which only children have ---- */

static enum cl_exit enqueue_functions(struct cl_enqueue *enqueue,
                                      const struct cl_run_options *options, struct items *items,
                                      struct cl_run_summary *summary, struct cl_error *error)
{
    struct sy_buf spec = {0};
    enum cl_exit exit_code = cl_run_pack_spec(options, NULL, 0, &spec, error);
    if (exit_code != CL_OK) {
        sy_buf_deinit(&spec);
        return exit_code;
    }
    struct cl_batcher batcher;
    cl_batcher_init(&batcher, enqueue, &spec, "n", FUNCTION_BATCH);
    for (const char *item; exit_code == CL_OK && (item = next_item(items));) {
        exit_code = cl_batcher_add(&batcher, (struct sy_span){(const uint8_t *)item, strlen(item)});
        summary->enqueued++;
        if (summary->enqueued % FUNCTION_BATCH == 0)
            cl_run_show_progress(summary);
    }
    if (error->exit != CL_OK) /* of the lines */
        exit_code = error->exit;
    else if (exit_code == CL_OK)
        exit_code = cl_batcher_finish(&batcher, true);
    if (exit_code != CL_OK && error->exit == CL_OK)
        *error = enqueue->error;
    cl_batcher_deinit(&batcher);
    return exit_code;
}

static enum cl_exit enqueue_single(struct cl_enqueue *enqueue, const struct cl_run_options *options,
                                   struct sy_span input, struct cl_run_summary *summary,
                                   struct cl_error *error)
{
    struct sy_buf spec = {0};
    enum cl_exit exit_code = cl_run_pack_spec(options, NULL, 0, &spec, error);
    if (exit_code != CL_OK) {
        sy_buf_deinit(&spec);
        return exit_code;
    }
    struct cl_batcher batcher;
    cl_batcher_init(&batcher, enqueue, &spec, "n", 1);
    summary->enqueued = 1;
    exit_code = cl_batcher_add(&batcher, input);
    if (exit_code == CL_OK)
        exit_code = cl_batcher_finish(&batcher, true);
    if (exit_code != CL_OK)
        *error = enqueue->error;
    cl_batcher_deinit(&batcher);
    return exit_code;
}

void cl_run_fill_gang(const struct cl_run_options *options, Switchyard__V1__Gang *ret)
{
    ret->topology = (Switchyard__V1__Gang__Topology)options->gang_topology;
    ret->topology_key = cl_unconst(options->gang_key ? options->gang_key : "");
    ret->on_loss = (Switchyard__V1__Gang__OnLoss)options->gang_on_loss;
}

/* All members in one message; each gets the same input. */
static enum cl_exit enqueue_gang(struct cl_enqueue *enqueue, const struct cl_run_options *options,
                                 struct sy_span input, struct cl_run_summary *summary,
                                 struct cl_error *error)
{
    struct sy_buf spec = {0};
    if (input.len > GANG_INPUT_BYTES_MAX / options->gang)
        return cl_fail(error, CL_USAGE, "--input: %zu bytes for each of %u members, at most %zu",
                       input.len, options->gang, GANG_INPUT_BYTES_MAX / options->gang);
    enum cl_exit exit_code = cl_run_pack_spec(options, NULL, 0, &spec, error);
    if (exit_code != CL_OK) {
        sy_buf_deinit(&spec);
        return exit_code;
    }
    Switchyard__V1__Gang gang = SWITCHYARD__V1__GANG__INIT;
    cl_run_fill_gang(options, &gang);
    enqueue->gang = &gang;
    struct cl_batcher batcher;
    cl_batcher_init(&batcher, enqueue, &spec, "n", options->gang);
    for (uint32_t i = 0; exit_code == CL_OK && i < options->gang; i++)
        exit_code = cl_batcher_add(&batcher, input);
    if (exit_code == CL_OK)
        exit_code = cl_batcher_finish(&batcher, true);
    if (exit_code != CL_OK)
        *error = enqueue->error;
    summary->enqueued = options->gang;
    enqueue->gang = NULL;
    cl_batcher_deinit(&batcher);
    return exit_code;
}

enum cl_exit cl_run_enqueue_all(struct cl_client *client, const struct cl_run_options *options,
                                struct cl_lines *lines, struct sy_span input,
                                struct cl_run_summary *summary, struct cl_error *error)
{
    struct items items = {.each = options->each,
                          .each_count = options->each_count,
                          .lines = lines,
                          .client = client,
                          .error = error};
    struct cl_enqueue enqueue;
    if (options->has_each || lines)
        cl_straight_begin(client);
    cl_enqueue_init(&enqueue, client, summary->run, "a0",
                    options->function ? FUNCTION_WINDOW : COMMAND_WINDOW);
    enqueue.priority = options->priority;
    enum cl_exit exit_code;
    if (options->gang > 0)
        exit_code = enqueue_gang(&enqueue, options, input, summary, error);
    else if (!options->has_each && !lines)
        exit_code = enqueue_single(&enqueue, options, input, summary, error);
    else if (options->function)
        exit_code = enqueue_functions(&enqueue, options, &items, summary, error);
    else
        exit_code = enqueue_commands(&enqueue, options, &items, summary, error);
    summary->total = summary->enqueued;
    summary->total_known = true;
    cl_enqueue_deinit(&enqueue);
    return exit_code;
}
