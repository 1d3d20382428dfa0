/* switchyard get clusters, get nodes, and switchyard status: what the region is made of and how it
 * does. */
#include "tools/src/cl_json.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"
#include "tools/src/cmd.h"

#include <stdio.h>

#define COLUMNS(array) (sizeof(array) / sizeof((array)[0]))

/* ---- amounts: "used/capacity" ---- */

static const Switchyard__V1__Amounts no_amounts = SWITCHYARD__V1__AMOUNTS__INIT;

static const Switchyard__V1__Amounts *amounts(const Switchyard__V1__Amounts *given)
{
    return given ? given : &no_amounts;
}

struct pair {
    char cpu[2 * CL_SHORT_TEXT], memory[2 * CL_SHORT_TEXT], gpus[32];
};

static struct pair pair_of(const Switchyard__V1__Amounts *used, const Switchyard__V1__Amounts *all)
{
    struct pair pair;
    used = amounts(used);
    all = amounts(all);
    snprintf(pair.cpu, sizeof(pair.cpu), "%s/%s", cl_format_cpu(used->cpu_milli).text,
             cl_format_cpu(all->cpu_milli).text);
    snprintf(pair.memory, sizeof(pair.memory), "%s/%s", cl_format_bytes(used->memory_bytes).text,
             cl_format_bytes(all->memory_bytes).text);
    snprintf(pair.gpus, sizeof(pair.gpus), "%u/%u", used->gpus, all->gpus);
    return pair;
}

static json_t *amounts_json(const Switchyard__V1__Amounts *given)
{
    given = amounts(given);
    json_t *object = json_object();
    cl_json_int(object, "cpu_milli", (int64_t)given->cpu_milli);
    cl_json_int(object, "memory_bytes", (int64_t)given->memory_bytes);
    cl_json_int(object, "gpus", given->gpus);
    return object;
}

/* ---- clusters ---- */

static const struct cl_column cluster_columns[] = {
    {"CLUSTER", false, 6, 0}, {"STATE", false, 0, 0},   {"NODES", true, 0, 3},
    {"RUNNING", true, 0, 1},  {"BACKLOG", true, 0, 5},  {"CPU", true, 0, 2},
    {"MEMORY", true, 0, 6},   {"GPUS", true, 0, 7},     {"PRICE", true, 0, 9},
    {"REGION", false, 6, 10}, {"LABELS", false, 8, 11}, {"ENDPOINT", false, 8, 8},
    {"REASON", false, 12, 4},
};

void cl_cluster_cells(const Switchyard__V1__Cluster *cluster, struct cl_cluster_cells *ret)
{
    const Switchyard__V1__Registration *registration = cluster->registration;
    struct pair pair = pair_of(cluster->used, cluster->capacity);
    int64_t price = cluster->core_price_micros;
    *ret = (struct cl_cluster_cells){.region = cluster->region, .labels = ""};
    if (registration) {
        ret->region = *cluster->region ? cluster->region : registration->region;
        ret->labels = registration->labels;
        price = price > 0 ? price : registration->core_price_micros;
    }
    snprintf(ret->nodes, sizeof(ret->nodes), "%s", cl_format_count(cluster->nodes).text);
    snprintf(ret->running, sizeof(ret->running), "%s", cl_format_count(cluster->running).text);
    snprintf(ret->backlog, sizeof(ret->backlog), "%s", cl_format_count(cluster->backlog).text);
    snprintf(ret->cpu, sizeof(ret->cpu), "%s", pair.cpu);
    snprintf(ret->memory, sizeof(ret->memory), "%s", pair.memory);
    snprintf(ret->gpus, sizeof(ret->gpus), "%s", pair.gpus);
    if (price > 0)
        snprintf(ret->price, sizeof(ret->price), "%g", (double)price / 1e6);
}

static json_t *registration_json(const Switchyard__V1__Registration *registration)
{
    json_t *object = json_object(), *tokens = json_array();
    cl_json_int(object, "created_ns", registration->created_ns);
    cl_json_str(object, "region", registration->region);
    cl_json_str(object, "labels", registration->labels);
    cl_json_int(object, "core_price_micros", registration->core_price_micros);
    cl_json_int(object, "operators", registration->operators);
    for (size_t i = 0; i < registration->n_tokens; i++) {
        const Switchyard__V1__JoinToken *from = registration->tokens[i];
        json_t *token = json_object();
        cl_json_int(token, "token", from->number);
        cl_json_str(token, "state", from->state);
        cl_json_int(token, "uses", from->uses);
        cl_json_int(token, "uses_max", from->uses_max);
        cl_json_int(token, "created_ns", from->created_ns);
        cl_json_int(token, "expires_ns", from->expires_ns);
        json_array_append_new(tokens, token);
    }
    cl_json_set(object, "tokens", tokens);
    return object;
}

static json_t *lead_json(const Switchyard__V1__Lead *lead)
{
    json_t *object = json_object(), *standbys = json_array();
    cl_json_int(object, "term", (int64_t)lead->term);
    cl_json_str(object, "active", lead->active);
    cl_json_int(object, "since_ns", lead->since_ns);
    for (size_t i = 0; i < lead->n_standbys; i++) {
        json_t *standby = json_object();
        cl_json_str(standby, "endpoint", lead->standbys[i]->endpoint);
        cl_json_int(standby, "asked_ns", lead->standbys[i]->asked_ns);
        json_array_append_new(standbys, standby);
    }
    cl_json_set(object, "standbys", standbys);
    return object;
}

static json_t *drain_json(const Switchyard__V1__Drain *drain)
{
    json_t *object = json_object();
    cl_json_int(object, "deadline_ns", drain->deadline_ns);
    cl_json_int(object, "running", (int64_t)drain->running);
    cl_json_int(object, "waiting", (int64_t)drain->waiting);
    cl_json_int(object, "unknown", drain->unknown);
    return object;
}

json_t *cl_cluster_json(const Switchyard__V1__Cluster *c)
{
    json_t *object = json_object();
    cl_json_str(object, "cluster", c->name);
    cl_json_str(object, "state", c->state);
    cl_json_str(object, "reason", c->reason);
    cl_json_str(object, "endpoint", c->endpoint);
    cl_json_str(object, "region", c->region);
    cl_json_int(object, "core_price_micros", c->core_price_micros);
    cl_json_int(object, "nodes", c->nodes);
    cl_json_int(object, "running", (int64_t)c->running);
    cl_json_int(object, "backlog", (int64_t)c->backlog);
    cl_json_set(object, "capacity", amounts_json(c->capacity));
    cl_json_set(object, "used", amounts_json(c->used));
    cl_json_set(object, "registration",
                c->registration ? registration_json(c->registration) : json_null());
    cl_json_set(object, "lead", c->lead ? lead_json(c->lead) : json_null());
    cl_json_set(object, "drain", c->drain ? drain_json(c->drain) : json_null());
    return object;
}

static json_t *clusters_json(Switchyard__V1__Cluster *const *clusters, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, cl_cluster_json(clusters[i]));
    return array;
}

static void print_clusters(Switchyard__V1__Cluster *const *clusters, size_t count)
{
    struct cl_table *table = cl_table_new(cluster_columns, COLUMNS(cluster_columns));
    for (size_t i = 0; i < count; i++) {
        const Switchyard__V1__Cluster *c = clusters[i];
        struct cl_cluster_cells of;
        cl_cluster_cells(c, &of);
        const char *cells[] = {c->name,   c->state,    of.nodes, of.running, of.backlog,
                               of.cpu,    of.memory,   of.gpus,  of.price,   of.region,
                               of.labels, c->endpoint, c->reason};
        cl_table_add(table, cells);
    }
    cl_table_print(table, stdout, cl_terminal_width(stdout), 0);
    cl_table_free(table);
    fflush(stdout);
    if (count == 0)
        fprintf(stderr, "no cluster has joined: is an operator running?\n");
}

enum cl_exit cl_get_clusters(struct cl_client *client, const struct cl_get_options *options,
                             struct cl_error *error)
{
    Switchyard__V1__ListClustersRequest request = SWITCHYARD__V1__LIST_CLUSTERS_REQUEST__INIT;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__ListClustersResponse *response = cl_call(client, &cl_list_clusters,
                                                                   &request.base, &arena, error);
    if (response && options->common.json)
        cl_json_document(clusters_json(response->clusters, response->n_clusters), stdout);
    else if (response)
        print_clusters(response->clusters, response->n_clusters);
    sy_arena_deinit(&arena);
    return error->exit;
}

/* ---- nodes ---- */

static const struct cl_column node_columns[] = {
    {"NODE", false, 6, 0},   {"STATE", false, 0, 0},   {"RUNNING", true, 0, 1},
    {"BACKLOG", true, 0, 5}, {"FINISHED", true, 0, 4}, {"CPU", true, 0, 2},
    {"MEMORY", true, 0, 6},  {"GPUS", true, 0, 7},     {"MODEL", false, 4, 9},
    {"POOLS", false, 6, 3},  {"CLUSTER", false, 6, 8}, {"REASON", false, 8, 10},
};

/* "native x 4, py x 2" */
static void list_pools(const Switchyard__V1__Node *node, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < node->n_pools && n + 1 < size; i++) {
        int r = snprintf(buf + n, size - n, "%s%.40s x %u", i ? ", " : "",
                         node->pools[i]->environment, node->pools[i]->slots);
        n += r > 0 ? (size_t)r : 0;
    }
}

static json_t *node_json(const Switchyard__V1__Node *node)
{
    json_t *object = json_object(), *pools = json_array();
    for (size_t i = 0; i < node->n_pools; i++) {
        json_t *pool = json_object();
        cl_json_str(pool, "environment", node->pools[i]->environment);
        cl_json_int(pool, "slots", node->pools[i]->slots);
        json_array_append_new(pools, pool);
    }
    cl_json_str(object, "node", node->name);
    cl_json_str(object, "cluster", node->cluster);
    cl_json_str(object, "state", node->state);
    cl_json_int(object, "running", node->running);
    cl_json_int(object, "backlog", node->backlog);
    cl_json_int(object, "finished", (int64_t)node->finished);
    cl_json_set(object, "capacity", amounts_json(node->capacity));
    cl_json_set(object, "used", amounts_json(node->used));
    cl_json_str(object, "gpu_model", node->gpu_model);
    cl_json_str(object, "reason", node->reason);
    cl_json_str(object, "labels", node->labels);
    cl_json_str(object, "taints", node->taints);
    cl_json_set(object, "pools", pools);
    return object;
}

static void print_nodes(const Switchyard__V1__ListNodesResponse *response)
{
    struct cl_table *table = cl_table_new(node_columns, COLUMNS(node_columns));
    for (size_t i = 0; i < response->n_nodes; i++) {
        const Switchyard__V1__Node *node = response->nodes[i];
        struct pair pair = pair_of(node->used, node->capacity);
        struct cl_short running = cl_format_count(node->running);
        struct cl_short backlog = cl_format_count(node->backlog);
        struct cl_short finished = cl_format_count(node->finished);
        char pools[256];
        list_pools(node, pools, sizeof(pools));
        const char *cells[] = {node->name,      node->state, running.text,  backlog.text,
                               finished.text,   pair.cpu,    pair.memory,   pair.gpus,
                               node->gpu_model, pools,       node->cluster, node->reason};
        cl_table_add(table, cells);
    }
    cl_table_print(table, stdout, cl_terminal_width(stdout), 0);
    cl_table_free(table);
    fflush(stdout);
    if (response->n_nodes == 0)
        fprintf(stderr, "no node has joined: is an agent running?\n");
}

enum cl_exit cl_get_nodes(struct cl_client *client, const struct cl_get_options *options,
                          struct cl_error *error)
{
    Switchyard__V1__ListNodesRequest request = SWITCHYARD__V1__LIST_NODES_REQUEST__INIT;
    if (options->cluster)
        request.cluster = cl_unconst(options->cluster);
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__ListNodesResponse *response = cl_call(client, &cl_list_nodes,
                                                                &request.base, &arena, error);
    if (response && options->common.json) {
        json_t *array = json_array();
        for (size_t i = 0; i < response->n_nodes; i++)
            json_array_append_new(array, node_json(response->nodes[i]));
        cl_json_document(array, stdout);
    } else if (response) {
        print_nodes(response);
    }
    sy_arena_deinit(&arena);
    return error->exit;
}

/* ---- status ---- */

static const struct cl_column partition_columns[] = {
    {"PARTITION", true, 0, 0}, {"STATE", false, 0, 0},  {"SHARD", false, 6, 2},
    {"EPOCH", true, 0, 5},     {"RUNS", true, 0, 3},    {"QUEUED", true, 0, 1},
    {"RUNNING", true, 0, 1},   {"PARENTS", true, 0, 6}, {"FINISHED", true, 0, 4},
    {"REASON", false, 32, 0},
};

static void print_partitions(const Switchyard__V1__GetRegionStatusResponse *status)
{
    struct cl_table *table = cl_table_new(partition_columns, COLUMNS(partition_columns));
    for (size_t i = 0; i < status->n_partitions; i++) {
        const Switchyard__V1__Partition *p = status->partitions[i];
        char id[16], epoch[16];
        snprintf(id, sizeof(id), "%u", p->id);
        snprintf(epoch, sizeof(epoch), "%u", p->epoch);
        struct cl_short runs = cl_format_count(p->runs_live);
        struct cl_short queued = cl_format_count(p->actions_queued);
        struct cl_short running = cl_format_count(p->actions_running);
        struct cl_short parents = cl_format_count(p->actions_waiting_for_children);
        struct cl_short finished = cl_format_count(p->actions_finished);
        const char *cells[] = {id,          p->state,     p->shard,     epoch,         runs.text,
                               queued.text, running.text, parents.text, finished.text, p->reason};
        cl_table_add(table, cells);
    }
    cl_table_print(table, stdout, cl_terminal_width(stdout), 0);
    cl_table_free(table);
}

static json_t *status_json(const Switchyard__V1__GetRegionStatusResponse *status)
{
    json_t *document = json_object(), *partitions = json_array();
    cl_json_str(document, "region", status->region);
    cl_json_str(document, "version", status->version);
    for (size_t i = 0; i < status->n_partitions; i++) {
        const Switchyard__V1__Partition *p = status->partitions[i];
        json_t *object = json_object();
        cl_json_int(object, "partition", p->id);
        cl_json_str(object, "shard", p->shard);
        cl_json_int(object, "epoch", p->epoch);
        cl_json_str(object, "state", p->state);
        cl_json_str(object, "reason", p->reason);
        cl_json_int(object, "runs_live", (int64_t)p->runs_live);
        cl_json_int(object, "actions_queued", (int64_t)p->actions_queued);
        cl_json_int(object, "actions_running", (int64_t)p->actions_running);
        cl_json_int(object, "actions_waiting_for_children",
                    (int64_t)p->actions_waiting_for_children);
        cl_json_int(object, "actions_finished", (int64_t)p->actions_finished);
        json_array_append_new(partitions, object);
    }
    cl_json_set(document, "partitions", partitions);
    cl_json_set(document, "clusters", clusters_json(status->clusters, status->n_clusters));
    return document;
}

static error_t parse_status(int key, char *arg, struct argp_state *state)
{
    struct cl_args *common = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        return 0;
    case ARGP_KEY_ARG:
        return cl_args_wrong(common, "unexpected argument '%s': status takes none", arg);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum cl_exit cl_cmd_status(const struct cl_args *defaults, int argc, char **argv)
{
    static const char doc[] = "Shows the partitions of the region (what waits, what runs) and its "
                              "clusters.\v" CL_EXIT_CODES;
    const struct argp argp = {NULL, parse_status, "", doc, CL_ARGS_CHILDREN, NULL, NULL};
    struct cl_args options = *defaults;
    if (cl_args_parse(&argp, argc, argv, 0, &options, &options) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options);
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.client, &error) != CL_OK)
        return cl_report(CL_PROGRAM, &error);
    Switchyard__V1__GetRegionStatusRequest request =
        SWITCHYARD__V1__GET_REGION_STATUS_REQUEST__INIT;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__GetRegionStatusResponse *status = cl_call(client, &cl_get_region_status,
                                                                    &request.base, &arena, &error);
    if (status && options.json) {
        cl_json_document(status_json(status), stdout);
    } else if (status) {
        char *region = cl_text_clean(status->region), *version = cl_text_clean(status->version);
        printf("region %s, version %s\n\n", region, version);
        free(region);
        free(version);
        print_partitions(status);
        putchar('\n');
        print_clusters(status->clusters, status->n_clusters);
    }
    sy_arena_deinit(&arena);
    return cl_report(CL_PROGRAM, &error);
}
