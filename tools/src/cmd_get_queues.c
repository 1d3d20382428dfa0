/* switchyard get queues, get queue. */
#include "tools/src/cl_json.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"
#include "tools/src/cmd_queue.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define PAGE_MAX 1000

typedef Switchyard__V1__Queue Queue;
typedef Switchyard__V1__QueueSettings Settings;

static const Switchyard__V1__QueueStatus no_status = SWITCHYARD__V1__QUEUE_STATUS__INIT;
static const Switchyard__V1__Amounts no_amounts = SWITCHYARD__V1__AMOUNTS__INIT;

static const Switchyard__V1__QueueStatus *status_of(const Queue *queue)
{
    return queue->status ? queue->status : &no_status;
}

static const Switchyard__V1__Amounts *amounts_of(const Queue *queue)
{
    const Switchyard__V1__QueueStatus *status = status_of(queue);
    return status->out_amounts ? status->out_amounts : &no_amounts;
}

/* What the server must have sent. */
static bool whole(const Queue *queue)
{
    return queue->id && queue->settings;
}

/* ---- JSON ---- */

static json_t *names_json(char *const *names, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, cl_json_bytes(names[i], strlen(names[i])));
    return array;
}

static json_t *settings_json(const Settings *s)
{
    json_t *object = json_object();
    cl_json_str(object, "parent", s->parent);
    cl_json_int(object, "weight", s->weight);
    cl_json_int(object, "priority", s->priority);
    cl_json_int(object, "actions_max", (int64_t)s->actions_max);
    cl_json_int(object, "cpu_milli_max", (int64_t)s->cpu_milli_max);
    cl_json_int(object, "memory_bytes_max", (int64_t)s->memory_bytes_max);
    cl_json_int(object, "gpus_max", s->gpus_max);
    cl_json_int(object, "length_max", (int64_t)s->length_max);
    cl_json_int(object, "queued_timeout_ns", s->queued_timeout_ns);
    cl_json_int(object, "price_max", s->price_max);
    cl_json_bool(object, "preemptible", s->preemptible);
    cl_json_bool(object, "paused", s->paused);
    cl_json_bool(object, "preemptible_nodes", s->preemptible_nodes);
    cl_json_str(object, "policy", cl_policy_name(s->policy));
    cl_json_set(object, "clusters", names_json(s->clusters, s->n_clusters));
    cl_json_set(object, "preferred_clusters",
                names_json(s->preferred_clusters, s->n_preferred_clusters));
    cl_json_set(object, "regions", names_json(s->regions, s->n_regions));
    cl_json_str(object, "infeasible", cl_infeasible_name(s->infeasible));
    return object;
}

json_t *cl_queue_json(const Queue *queue)
{
    json_t *object = json_object();
    if (!whole(queue))
        return object;
    cl_json_str(object, "project", queue->id->project);
    cl_json_str(object, "domain", queue->id->domain);
    cl_json_str(object, "queue", queue->id->name);
    cl_json_int(object, "revision", (int64_t)queue->revision);
    cl_json_int(object, "created_ns", queue->created_ns);
    cl_json_int(object, "updated_ns", queue->updated_ns);
    cl_json_set(object, "settings", settings_json(queue->settings));
    if (!queue->status)
        return object;
    json_t *status = json_object();
    cl_json_int(status, "actions", (int64_t)queue->status->actions);
    cl_json_int(status, "out", (int64_t)queue->status->out);
    cl_json_int(status, "cpu_milli", (int64_t)amounts_of(queue)->cpu_milli);
    cl_json_int(status, "memory_bytes", (int64_t)amounts_of(queue)->memory_bytes);
    cl_json_int(status, "gpus", amounts_of(queue)->gpus);
    cl_json_real(status, "share", queue->status->share);
    cl_json_set(object, "status", status);
    return object;
}

/* ---- for people ---- */

struct cell {
    char text[2 * CL_SHORT_TEXT + 8];
};

/* "3", or "3 of 8" with a limit. */
static struct cell of_limit(struct cl_short now, struct cl_short most, bool limited)
{
    struct cell cell;
    snprintf(cell.text, sizeof(cell.text), limited ? "%s of %s" : "%s", now.text, most.text);
    return cell;
}

static struct cell out_cell(const Queue *queue)
{
    uint64_t max = queue->settings->actions_max;
    return of_limit(cl_format_count(status_of(queue)->out), cl_format_count(max), max > 0);
}

static struct cell waiting_cell(const Queue *queue)
{
    const Switchyard__V1__QueueStatus *status = status_of(queue);
    uint64_t max = queue->settings->length_max;
    return of_limit(cl_format_count(status->actions - status->out), cl_format_count(max), max > 0);
}

static struct cell cpu_cell(const Queue *queue)
{
    uint64_t max = queue->settings->cpu_milli_max;
    return of_limit(cl_format_cpu(amounts_of(queue)->cpu_milli), cl_format_cpu(max), max > 0);
}

static struct cell memory_cell(const Queue *queue)
{
    uint64_t max = queue->settings->memory_bytes_max;
    return of_limit(cl_format_bytes(amounts_of(queue)->memory_bytes), cl_format_bytes(max),
                    max > 0);
}

static struct cell gpus_cell(const Queue *queue)
{
    uint64_t max = queue->settings->gpus_max;
    return of_limit(cl_format_count(amounts_of(queue)->gpus), cl_format_count(max), max > 0);
}

static const char *state_of(const Queue *queue)
{
    return queue->settings->paused ? "paused" : "open";
}

static struct cell percent(double part)
{
    struct cell cell;
    snprintf(cell.text, sizeof(cell.text), "%.1f%%", part * 100);
    return cell;
}

static struct cell number(int64_t value)
{
    struct cell cell;
    snprintf(cell.text, sizeof(cell.text), "%lld", (long long)value);
    return cell;
}

static const struct cl_column columns[] = {
    {"QUEUE", false, 32, 0},  {"STATE", false, 0, 0},  {"WAITING", true, 0, 1},
    {"OUT", true, 0, 0},      {"CPU", true, 0, 3},     {"MEMORY", true, 0, 4},
    {"GPUS", true, 0, 5},     {"SHARE", true, 0, 2},   {"WEIGHT", true, 0, 6},
    {"PRIORITY", true, 0, 7}, {"PARENT", false, 4, 8},
};

static void add_queue(struct cl_table *table, const Queue *queue)
{
    const Settings *s = queue->settings;
    char path[CL_QUEUE_PATH_MAX];
    cl_queue_path(queue->id, path);
    struct cell waiting = waiting_cell(queue), out = out_cell(queue), cpu = cpu_cell(queue);
    struct cell memory = memory_cell(queue), gpus = gpus_cell(queue);
    struct cell share = percent(status_of(queue)->share);
    struct cell weight = number(s->weight), priority = number(s->priority);
    const char *cells[] = {path,        state_of(queue), waiting.text, out.text,
                           cpu.text,    memory.text,     gpus.text,    share.text,
                           weight.text, priority.text,   s->parent};
    cl_table_add(table, cells);
}

/* ---- get queues ---- */

struct list {
    const struct cl_get_options *options;
    struct cl_table *table;
    json_t *array;
    int64_t rows;
    bool more;
    char token[CL_QUEUE_PATH_MAX];
};

static void list_add(struct list *list, const Queue *queue)
{
    int64_t limit = list->options->limit;
    if (limit > 0 && list->rows >= limit) {
        list->more = true;
        return;
    }
    list->rows++;
    if (list->array)
        json_array_append_new(list->array, cl_queue_json(queue));
    else if (whole(queue))
        add_queue(list->table, queue);
}

/* False when it was the last page, or failed. */
static bool next_page(struct cl_client *client, struct list *list, struct cl_error *error)
{
    Switchyard__V1__ListQueuesRequest request = SWITCHYARD__V1__LIST_QUEUES_REQUEST__INIT;
    int64_t limit = list->options->limit;
    if (!list->options->all) {
        request.project = cl_unconst(client->options.project);
        request.domain = cl_unconst(client->options.domain);
    }
    request.limit = limit > 0 && limit < PAGE_MAX ? (uint32_t)limit + 1 : PAGE_MAX;
    request.token = list->token;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__ListQueuesResponse *response = cl_call(client, &cl_list_queues,
                                                                 &request.base, &arena, error);
    list->token[0] = '\0';
    for (size_t i = 0; response && i < response->n_queues; i++)
        list_add(list, response->queues[i]);
    if (response)
        snprintf(list->token, sizeof(list->token), "%s", response->token);
    sy_arena_deinit(&arena);
    return list->token[0] && !list->more;
}

static void list_print(const struct list *list)
{
    cl_table_print(list->table, stdout, cl_terminal_width(stdout), 0);
    fflush(stdout);
    if (list->more)
        fprintf(stderr, "there are more: --limit 0 shows all\n");
    else if (list->rows == 0)
        fprintf(stderr, "no queues were created%s; tasks wait in 'default'\n",
                list->options->all ? "" : " for this project and domain");
}

enum cl_exit cl_get_queues(struct cl_client *client, const struct cl_get_options *options,
                           struct cl_error *error)
{
    struct list list = {.options = options};
    if (options->common.json)
        list.array = json_array();
    else
        list.table = cl_table_new(columns, SY_COUNT_OF(columns));
    while (next_page(client, &list, error))
        ;
    if (error->exit == CL_OK && list.array)
        cl_json_document(sy_take(list.array), stdout);
    else if (error->exit == CL_OK)
        list_print(&list);
    json_decref(list.array);
    cl_table_free(list.table);
    return error->exit;
}

/* ---- get queue ---- */

static void field(const char *name, const char *value)
{
    if (*value)
        printf("%-12s %s\n", name, value);
}

static void fields(const char *name, char *const *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        field(i == 0 ? name : "", values[i]);
}

static void print_queue(const Queue *queue)
{
    const Settings *s = queue->settings;
    char path[CL_QUEUE_PATH_MAX], price[CL_SHORT_TEXT] = "";
    cl_queue_path(queue->id, path);
    if (s->price_max > 0)
        snprintf(price, sizeof(price), "%lld.%06lld", (long long)(s->price_max / 1000000),
                 (long long)(s->price_max % 1000000));
    field(*queue->id->name ? "Queue" : "Level", path);
    field("State", state_of(queue));
    field("Waiting", waiting_cell(queue).text);
    field("Out", out_cell(queue).text);
    field("CPU", cpu_cell(queue).text);
    field("Memory", memory_cell(queue).text);
    field("GPUs", gpus_cell(queue).text);
    field("Share", percent(status_of(queue)->share).text);
    field("Weight", number(s->weight).text);
    field("Priority", number(s->priority).text);
    field("Parent", s->parent);
    field("Policy", cl_policy_name(s->policy));
    fields("Clusters", s->clusters, s->n_clusters);
    fields("Preferred", s->preferred_clusters, s->n_preferred_clusters);
    fields("Regions", s->regions, s->n_regions);
    field("Price", price);
    field("Timeout", s->queued_timeout_ns > 0 ? cl_format_duration(s->queued_timeout_ns).text : "");
    field("Preemptible", s->preemptible ? "yes" : "no");
    field("Spot nodes", s->preemptible_nodes ? "yes" : "no");
    field("Infeasible", cl_infeasible_name(s->infeasible));
    field("Created", queue->created_ns > 0 ? cl_format_time(queue->created_ns).text : "");
    field("Changed", queue->updated_ns > 0 ? cl_format_time(queue->updated_ns).text : "");
}

enum cl_exit cl_get_queue(struct cl_client *client, const struct cl_get_options *options,
                          struct cl_error *error)
{
    Switchyard__V1__GetQueueRequest request = SWITCHYARD__V1__GET_QUEUE_REQUEST__INIT;
    Switchyard__V1__QueueId id = cl_queue_id(client, &options->queue);
    request.id = &id;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__GetQueueResponse *response = cl_call(client, &cl_describe_queue,
                                                               &request.base, &arena, error);
    if (response && (!response->queue || !whole(response->queue)))
        cl_fail(error, CL_INTERNAL, "the answer to GetQueue holds no queue");
    else if (response && options->common.json)
        cl_json_document(cl_queue_json(response->queue), stdout);
    else if (response)
        print_queue(response->queue);
    sy_arena_deinit(&arena);
    return error->exit;
}
