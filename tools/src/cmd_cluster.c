/* switchyard cluster: registration of data planes. */
#include "tools/src/cmd_cluster.h"

#include "base/buf.h"
#include "base/mem.h"
#include "tools/src/cl_json.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tokens ---- */

/* The secret alone goes to stdout, so that a script can take it. */
static void print_token(const struct cl_cluster_options *options,
                        const Switchyard__V1__JoinToken *token, const char *secret)
{
    if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "cluster", options->name);
        cl_json_int(document, "token", token ? token->number : 0);
        cl_json_int(document, "uses", token ? token->uses_max : 0);
        cl_json_int(document, "expires_ns", token ? token->expires_ns : 0);
        cl_json_str(document, "secret", secret);
        cl_json_document(document, stdout);
        return;
    }
    char *text = cl_text_clean(secret);
    printf("%s\n", text);
    fflush(stdout);
    free(text);
    if (token)
        fprintf(stderr,
                "token %u of cluster %s: %u operator%s may join with it, until %s; it is not shown "
                "again\n",
                token->number, options->name, token->uses_max, token->uses_max == 1 ? "" : "s",
                cl_format_time(token->expires_ns).text);
}

static Switchyard__V1__TokenSettings settings_of(const struct cl_cluster_options *options)
{
    Switchyard__V1__TokenSettings settings = SWITCHYARD__V1__TOKEN_SETTINGS__INIT;
    settings.uses = (uint32_t)options->uses;
    settings.ttl_ns = options->expires_ns;
    return settings;
}

static void create(struct cl_client *client, const struct cl_cluster_options *options,
                   struct sy_arena *arena, struct cl_error *error)
{
    Switchyard__V1__CreateClusterRequest request = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
    Switchyard__V1__TokenSettings settings = settings_of(options);
    request.name = cl_unconst(options->name);
    if (options->region)
        request.region = cl_unconst(options->region);
    if (options->labels)
        request.labels = cl_unconst(options->labels);
    request.core_price_micros = options->price_micros;
    request.token = &settings;
    const Switchyard__V1__CreateClusterResponse *response = cl_call(client, &cl_create_cluster,
                                                                    &request.base, arena, error);
    if (response)
        print_token(options, response->token, response->secret);
}

static void create_token(struct cl_client *client, const struct cl_cluster_options *options,
                         struct sy_arena *arena, struct cl_error *error)
{
    Switchyard__V1__CreateJoinTokenRequest request =
        SWITCHYARD__V1__CREATE_JOIN_TOKEN_REQUEST__INIT;
    Switchyard__V1__TokenSettings settings = settings_of(options);
    request.cluster = cl_unconst(options->name);
    request.token = &settings;
    const Switchyard__V1__CreateJoinTokenResponse *response = cl_call(client, &cl_create_join_token,
                                                                      &request.base, arena, error);
    if (response)
        print_token(options, response->token, response->secret);
}

static void revoke_token(struct cl_client *client, const struct cl_cluster_options *options,
                         struct sy_arena *arena, struct cl_error *error)
{
    Switchyard__V1__RevokeJoinTokenRequest request =
        SWITCHYARD__V1__REVOKE_JOIN_TOKEN_REQUEST__INIT;
    request.cluster = cl_unconst(options->name);
    request.token = (uint32_t)options->token;
    if (!cl_call(client, &cl_revoke_join_token, &request.base, arena, error))
        return;
    if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "cluster", options->name);
        cl_json_int(document, "token", options->token);
        cl_json_str(document, "state", "revoked");
        cl_json_document(document, stdout);
    } else {
        printf("token %lld of cluster %s is revoked\n", (long long)options->token, options->name);
    }
}

/* ---- what is there ---- */

static void list(struct cl_client *client, const struct cl_cluster_options *options,
                 struct sy_arena *arena, struct cl_error *error)
{
    struct cl_get_options get = {.common = options->common};
    (void)arena;
    (void)cl_get_clusters(client, &get, error);
}

static void print_line(const char *what, const char *value)
{
    char *text = cl_text_clean(value);
    printf("%-10s %s\n", what, *text ? text : "-");
    free(text);
}

static const struct cl_column token_columns[] = {
    {"TOKEN", true, 0, 0},    {"STATE", false, 0, 0},   {"USES", true, 0, 0},
    {"CREATED", false, 0, 1}, {"EXPIRES", false, 0, 0},
};

static void print_tokens(const Switchyard__V1__Registration *registration)
{
    struct cl_table *table = cl_table_new(token_columns, SY_COUNT_OF(token_columns));
    for (size_t i = 0; i < registration->n_tokens; i++) {
        const Switchyard__V1__JoinToken *token = registration->tokens[i];
        char number[16], uses[32];
        snprintf(number, sizeof(number), "%u", token->number);
        snprintf(uses, sizeof(uses), "%u/%u", token->uses, token->uses_max);
        struct cl_short created = cl_format_time(token->created_ns);
        struct cl_short expires = cl_format_time(token->expires_ns);
        const char *cells[] = {number, token->state, uses, created.text, expires.text};
        cl_table_add(table, cells);
    }
    cl_table_print(table, stdout, cl_terminal_width(stdout), 0);
    cl_table_free(table);
}

static void print_lead(const Switchyard__V1__Lead *lead)
{
    struct sy_buf text SY_CLEANUP(sy_buf_deinit) = {0};
    sy_buf_printf(&text, "%s, term %llu since %s", lead->active[0] ? lead->active : "none",
                  (unsigned long long)lead->term, cl_format_time(lead->since_ns).text);
    print_line("active", (const char *)text.data);
    for (size_t i = 0; i < lead->n_standbys; i++)
        print_line("standby", lead->standbys[i]->endpoint);
}

static void print_cluster(const Switchyard__V1__Cluster *cluster)
{
    const Switchyard__V1__Registration *registration = cluster->registration;
    struct cl_cluster_cells cells;
    char joined[64] = "no";
    cl_cluster_cells(cluster, &cells);
    if (registration)
        snprintf(joined, sizeof(joined), "yes, %u operator%s joined", registration->operators,
                 registration->operators == 1 ? " has" : "s have");
    print_line("cluster", cluster->name);
    print_line("state", cluster->state);
    print_line("reason", cluster->reason);
    print_line("nodes", cells.nodes);
    print_line("running", cells.running);
    print_line("backlog", cells.backlog);
    print_line("cpu", cells.cpu);
    print_line("memory", cells.memory);
    print_line("gpus", cells.gpus);
    print_line("price", cells.price);
    print_line("region", cells.region);
    print_line("labels", cells.labels);
    print_line("endpoint", cluster->endpoint);
    print_line("registered", joined);
    if (cluster->lead)
        print_lead(cluster->lead);
    if (registration && registration->n_tokens > 0) {
        putchar('\n');
        print_tokens(registration);
    }
    fflush(stdout);
}

/* NULL: the call has failed, or it is not there. */
static const Switchyard__V1__Cluster *ask(struct cl_client *client, const char *name,
                                          struct sy_arena *arena, struct cl_error *error)
{
    Switchyard__V1__ListClustersRequest request = SWITCHYARD__V1__LIST_CLUSTERS_REQUEST__INIT;
    const Switchyard__V1__ListClustersResponse *response = cl_call(client, &cl_list_clusters,
                                                                   &request.base, arena, error);
    if (!response)
        return NULL;
    for (size_t i = 0; i < response->n_clusters; i++) {
        if (strcmp(response->clusters[i]->name, name) == 0)
            return response->clusters[i];
    }
    cl_fail(error, CL_NOT_FOUND, "cluster '%s' is not there, and not registered", name);
    return NULL;
}

static void get(struct cl_client *client, const struct cl_cluster_options *options,
                struct sy_arena *arena, struct cl_error *error)
{
    const Switchyard__V1__Cluster *cluster = ask(client, options->name, arena, error);
    if (!cluster)
        return;
    if (options->common.json)
        cl_json_document(cl_cluster_json(cluster), stdout);
    else
        print_cluster(cluster);
}

/* ---- delete ---- */

#define LOOK_NS (100 * SY_NS_PER_MS)
#define WAIT_NS (30 * SY_NS_PER_S)

static bool is_listed(const Switchyard__V1__ListClustersResponse *response, const char *name)
{
    for (size_t i = 0; i < response->n_clusters; i++) {
        if (strcmp(response->clusters[i]->name, name) == 0 &&
            strcmp(response->clusters[i]->state, "deleting") == 0)
            return true;
    }
    return false;
}

/* Until each partition that serves has given up its work; false: that takes longer, or failed. */
static bool wait_for_partitions(struct cl_client *client, const char *name, struct sy_arena *arena,
                                struct cl_error *error)
{
    Switchyard__V1__ListClustersRequest request = SWITCHYARD__V1__LIST_CLUSTERS_REQUEST__INIT;
    for (int64_t waited_ns = 0; waited_ns < WAIT_NS; waited_ns += LOOK_NS) {
        sy_arena_reset(arena);
        const Switchyard__V1__ListClustersResponse *response = cl_call(client, &cl_list_clusters,
                                                                       &request.base, arena, error);
        if (!response)
            return false;
        if (!is_listed(response, name))
            return true;
        cl_sleep(client, LOOK_NS);
    }
    cl_fail(error, CL_TIMED_OUT,
            "cluster %s is deleted, but a partition still has work of it after %lld s; `switchyard "
            "status` shows how they do",
            name, (long long)(WAIT_NS / SY_NS_PER_S));
    return false;
}

static void delete (struct cl_client *client, const struct cl_cluster_options *options,
                    struct sy_arena *arena, struct cl_error *error)
{
    Switchyard__V1__DeleteClusterRequest request = SWITCHYARD__V1__DELETE_CLUSTER_REQUEST__INIT;
    request.name = cl_unconst(options->name);
    if (!cl_call(client, &cl_delete_cluster, &request.base, arena, error) ||
        !wait_for_partitions(client, options->name, arena, error))
        return;
    if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "cluster", options->name);
        cl_json_str(document, "state", "deleted");
        cl_json_document(document, stdout);
    } else {
        printf("cluster %s is deleted\n", options->name);
    }
}

/* ---- what people say of them ---- */

/* As long as it takes; each reason is told once. False: the call has failed, or another order came.
 */
static bool wait_until_drained(struct cl_client *client, const char *name, struct sy_arena *arena,
                               struct cl_error *error)
{
    struct sy_error_text told = {0};
    for (int64_t waited_ns = 0;; waited_ns += LOOK_NS) {
        sy_arena_reset(arena);
        const Switchyard__V1__Cluster *cluster = ask(client, name, arena, error);
        if (!cluster)
            return false;
        if (strcmp(cluster->state, "drained") == 0)
            return true;
        bool heard = told.text[0] || waited_ns >= WAIT_NS; /* the shard may be behind at first */
        if (!cluster->drain && heard) {
            cl_fail(error, CL_FAILED, "cluster %s is not drained any more: it is %s", name,
                    cluster->state);
            return false;
        }
        if (cluster->drain && strcmp(told.text, cluster->reason) != 0) {
            sy_error_text_set(&told, "%s", cluster->reason);
            fprintf(stderr, "cluster %s is %s: %s\n", name, cluster->state, told.text);
        }
        cl_sleep(client, LOOK_NS);
    }
}

static void order(struct cl_client *client, const struct cl_cluster_options *options,
                  struct sy_arena *arena, struct cl_error *error)
{
    static const struct {
        const struct cl_method *method;
        const char *state; /* afterwards */
    } orders[CL_CLUSTER_VERBS] = {
        [CL_CLUSTER_CORDON] = {&cl_cordon_cluster, "cordoned"},
        [CL_CLUSTER_UNCORDON] = {&cl_uncordon_cluster, "open"},
        [CL_CLUSTER_DRAIN] = {&cl_drain_cluster, "draining"},
        [CL_CLUSTER_FENCE] = {&cl_fence_cluster, "fenced"},
        [CL_CLUSTER_UNFENCE] = {&cl_unfence_cluster, "open"},
    };
    Switchyard__V1__OrderClusterRequest request = SWITCHYARD__V1__ORDER_CLUSTER_REQUEST__INIT;
    const char *state = orders[options->verb].state;
    request.name = cl_unconst(options->name);
    request.deadline_ns = options->deadline_ns;
    if (!cl_call(client, orders[options->verb].method, &request.base, arena, error))
        return;
    if (options->wait && !wait_until_drained(client, options->name, arena, error))
        return;
    state = options->wait ? "drained" : state;
    if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "cluster", options->name);
        cl_json_str(document, "state", state);
        cl_json_document(document, stdout);
    } else {
        printf("cluster %s is %s\n", options->name, state);
    }
}

enum cl_exit cl_cmd_cluster(const struct cl_args *defaults, int argc, char **argv)
{
    static void (*const run[CL_CLUSTER_VERBS])(struct cl_client *,
                                               const struct cl_cluster_options *, struct sy_arena *,
                                               struct cl_error *) = {
        [CL_CLUSTER_CREATE] = create,
        [CL_CLUSTER_LIST] = list,
        [CL_CLUSTER_GET] = get,
        [CL_CLUSTER_DELETE] = delete,
        [CL_CLUSTER_CORDON] = order,
        [CL_CLUSTER_UNCORDON] = order,
        [CL_CLUSTER_DRAIN] = order,
        [CL_CLUSTER_FENCE] = order,
        [CL_CLUSTER_UNFENCE] = order,
        [CL_CLUSTER_TOKEN_CREATE] = create_token,
        [CL_CLUSTER_TOKEN_REVOKE] = revoke_token,
    };
    struct cl_cluster_options options;
    if (cl_cluster_parse(&options, defaults, argc, argv) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.common.client, &error) != CL_OK)
        return cl_report(CL_PROGRAM, &error);
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    run[options.verb](client, &options, &arena, &error);
    sy_arena_deinit(&arena);
    return cl_report(CL_PROGRAM, &error);
}
