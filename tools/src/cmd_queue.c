/* switchyard create|update|pause|resume|delete queue. */
#include "tools/src/cmd_queue.h"

#include "base/mem.h"
#include "tools/src/cl_json.h"

#include <stdio.h>
#include <string.h>

Switchyard__V1__QueueId cl_queue_id(const struct cl_client *client,
                                    const struct cl_queue_target *target)
{
    Switchyard__V1__QueueId id = SWITCHYARD__V1__QUEUE_ID__INIT;
    if (target->scope != CL_SCOPE_REGION)
        id.project = cl_unconst(client->options.project);
    if (target->scope == CL_SCOPE_DOMAIN)
        id.domain = cl_unconst(client->options.domain);
    if (target->name)
        id.name = cl_unconst(target->name);
    return id;
}

void cl_queue_path(const Switchyard__V1__QueueId *id, char ret[CL_QUEUE_PATH_MAX])
{
    snprintf(ret, CL_QUEUE_PATH_MAX, "%s%s%s%s%s", id->project, *id->domain ? "/" : "", id->domain,
             *id->project ? "/" : "", *id->name ? id->name : "*");
}

/* ---- the calls ---- */

static const Switchyard__V1__Queue *create_or_update(struct cl_client *client, bool update,
                                                     struct cl_queue_options *options,
                                                     Switchyard__V1__QueueId *id,
                                                     struct sy_arena *arena, struct cl_error *error)
{
    Switchyard__V1__CreateQueueRequest create = SWITCHYARD__V1__CREATE_QUEUE_REQUEST__INIT;
    Switchyard__V1__UpdateQueueRequest change = SWITCHYARD__V1__UPDATE_QUEUE_REQUEST__INIT;
    create.id = change.id = id;
    create.settings = change.settings = &options->settings;
    change.n_fields = options->field_count;
    change.fields = options->fields;
    const Switchyard__V1__GetQueueResponse *response = cl_call(
        client, update ? &cl_update_queue : &cl_create_queue, update ? &change.base : &create.base,
        arena, error);
    return response ? response->queue : NULL;
}

/* Pause, resume and delete need only the id. */
static const Switchyard__V1__Queue *call_by_id(struct cl_client *client,
                                               const struct cl_method *method,
                                               Switchyard__V1__QueueId *id, struct sy_arena *arena,
                                               struct cl_error *error)
{
    Switchyard__V1__GetQueueRequest request = SWITCHYARD__V1__GET_QUEUE_REQUEST__INIT;
    request.id = id;
    const Switchyard__V1__GetQueueResponse *response = cl_call(client, method, &request.base, arena,
                                                               error);
    return response ? response->queue : NULL;
}

static const Switchyard__V1__Queue *call(struct cl_client *client, enum cl_queue_verb verb,
                                         struct cl_queue_options *options,
                                         Switchyard__V1__QueueId *id, struct sy_arena *arena,
                                         struct cl_error *error)
{
    switch (verb) {
    case CL_QUEUE_PAUSE:
        return call_by_id(client, &cl_pause_queue, id, arena, error);
    case CL_QUEUE_RESUME:
        return call_by_id(client, &cl_resume_queue, id, arena, error);
    case CL_QUEUE_DELETE:
        return call_by_id(client, &cl_delete_queue, id, arena, error);
    default:
        return create_or_update(client, verb == CL_QUEUE_UPDATE, options, id, arena, error);
    }
}

static void print_result(const struct cl_queue_options *options, enum cl_queue_verb verb,
                         const Switchyard__V1__QueueId *id, const Switchyard__V1__Queue *queue)
{
    static const char *const became[CL_QUEUE_VERBS] = {"created", "changed", "paused", "resumed",
                                                       "deleted"};
    char path[CL_QUEUE_PATH_MAX];
    cl_queue_path(id, path);
    if (options->common.json && queue) {
        cl_json_document(cl_queue_json(queue), stdout);
    } else if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "queue", path);
        cl_json_bool(document, became[verb], 1);
        cl_json_document(document, stdout);
    } else {
        printf("%s %s is %s\n", options->target.level ? "level" : "queue", path, became[verb]);
    }
}

static enum cl_exit run(enum cl_queue_verb verb, const struct cl_args *defaults, int argc,
                        char **argv)
{
    struct cl_queue_options options;
    if (cl_queue_parse(&options, verb, defaults, argc, argv) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.common.client, &error) != CL_OK)
        return cl_report(CL_PROGRAM, &error);
    Switchyard__V1__QueueId id = cl_queue_id(client, &options.target);
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__Queue *queue = call(client, verb, &options, &id, &arena, &error);
    if (error.exit == CL_OK)
        print_result(&options, verb, &id, queue);
    sy_arena_deinit(&arena);
    return cl_report(CL_PROGRAM, &error);
}

enum cl_exit cl_cmd_create(const struct cl_args *defaults, int argc, char **argv)
{
    return run(CL_QUEUE_CREATE, defaults, argc, argv);
}

enum cl_exit cl_cmd_update(const struct cl_args *defaults, int argc, char **argv)
{
    return run(CL_QUEUE_UPDATE, defaults, argc, argv);
}

enum cl_exit cl_cmd_pause(const struct cl_args *defaults, int argc, char **argv)
{
    return run(CL_QUEUE_PAUSE, defaults, argc, argv);
}

enum cl_exit cl_cmd_resume(const struct cl_args *defaults, int argc, char **argv)
{
    return run(CL_QUEUE_RESUME, defaults, argc, argv);
}

enum cl_exit cl_cmd_delete(const struct cl_args *defaults, int argc, char **argv)
{
    return run(CL_QUEUE_DELETE, defaults, argc, argv);
}
