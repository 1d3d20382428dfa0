/*
 * Orders for nodes (cordon, drain, fence): handed to the cluster's operator over its stream, since
 * the control plane never dials, and answered when the operator has.
 */
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"

#define ORDERS_MAX 1024u /* that wait for one operator */

struct cp_node_order {
    struct cp_node_order *prev, *next; /* operator->orders */
    uint64_t id;
    cp_done_fn done;
    void *ctx;
};

static void remove_order(struct cp_operator *o, struct cp_node_order *order)
{
    SY_ASSERT(o->order_count > 0);
    DL_DELETE(o->orders, order);
    o->order_count--;
    free(order);
}

static void finish(struct cp_operator *o, struct cp_node_order *order, enum sy_code code,
                   const char *text)
{
    struct sy_status status = {.code = code};
    cp_done_fn done = order->done;
    void *ctx = order->ctx;
    sy_error_text_set(&status.message, "%s", text);
    remove_order(o, order);
    done(ctx, &status);
}

void cp_node_orders_forget(struct cp_operator *o)
{
    while (o->orders)
        remove_order(o, o->orders);
    SY_ASSERT(o->order_count == 0);
}

void cp_node_orders_drop(struct cp_operator *o)
{
    while (o->orders)
        finish(o, o->orders, SY_CODE_UNAVAILABLE,
               "the cluster's operator has left; the order may have been carried out");
    SY_ASSERT(o->order_count == 0);
}

void cp_node_order_answered(struct cp_operator *o,
                            const Switchyard__Internal__NodeOrderResult *result)
{
    for (struct cp_node_order *order = o->orders; order; order = order->next) {
        if (order->id != result->order)
            continue;
        cp_text_clean(result->message);
        finish(o, order, (enum sy_code)result->code, result->message);
        return;
    }
}

static bool has_node(const struct cp_cluster *cluster, const char *node)
{
    for (size_t i = 0; i < cluster->node_count; i++) {
        if (strcmp(cluster->nodes[i].name, node) == 0)
            return true;
    }
    return false;
}

/* The one that is named; or, when none is, the only one that has told of such a node. */
static struct cp_cluster *find_cluster(struct cp_partition *p,
                                       const struct cp_node_request *request,
                                       struct sy_status *status)
{
    struct cp_cluster *found = NULL;
    const struct cp_cluster *untold = NULL;
    for (struct cp_cluster *cluster = p->clusters; cluster; cluster = cluster->next) {
        bool fits = request->cluster[0] ? strcmp(cluster->name, request->cluster) == 0
                                        : has_node(cluster, request->node);
        if (fits && found) {
            sy_status_set(status, SY_CODE_INVALID_ARGUMENT,
                          "clusters %s and %s both have a node '%s': name the cluster", found->name,
                          cluster->name, request->node);
            return NULL;
        }
        found = fits ? cluster : found;
        if (!cluster->stream && cluster->node_count == 0)
            untold = cluster;
    }
    if (!found && request->cluster[0])
        sy_status_set(status, SY_CODE_NOT_FOUND, "cluster '%s' is not registered",
                      request->cluster);
    else if (!found && untold)
        sy_status_set(status, SY_CODE_UNAVAILABLE,
                      "cluster '%s' has not told of its nodes since partition %u was opened; try "
                      "again, or name the cluster",
                      untold->name, p->options.partition);
    else if (!found)
        sy_status_set(status, SY_CODE_NOT_FOUND, "no cluster has a node '%s'", request->node);
    return found;
}

static bool can_send(struct cp_partition *p, const struct cp_node_request *request,
                     struct cp_operator **ret, struct sy_status *status)
{
    if (!cp_partition_serving(p)) {
        sy_status_set(status, SY_CODE_UNAVAILABLE, "partition %u is not serving; try again",
                      p->options.partition);
        return false;
    }
    const struct cp_cluster *cluster = find_cluster(p, request, status);
    if (!cluster)
        return false;
    *ret = cluster->stream;
    if (!cluster->stream || cluster->stream->closing)
        sy_status_set(status, SY_CODE_UNAVAILABLE, "the operator of cluster '%s' is away",
                      cluster->name);
    else if (cluster->stream->order_count >= ORDERS_MAX)
        sy_status_set(status, SY_CODE_RESOURCE_EXHAUSTED,
                      "%u orders wait for cluster '%s' already; try again", ORDERS_MAX,
                      cluster->name);
    return status->code == SY_CODE_OK;
}

void cp_partition_order_node(struct cp_partition *p, const struct cp_node_request *request,
                             cp_done_fn done, void *ctx)
{
    struct sy_status status = {0};
    struct cp_operator *o;
    if (!can_send(p, request, &o, &status)) {
        done(ctx, &status);
        sy_status_deinit(&status);
        return;
    }
    struct cp_node_order *order = sy_new(struct cp_node_order);
    struct sy_buf record = {0};
    *order = (struct cp_node_order){.id = ++o->last_order, .done = done, .ctx = ctx};
    DL_APPEND(o->orders, order);
    o->order_count++;
    cp_put_uint(&record, 1, order->id);
    cp_put_uint(&record, 2, (uint64_t)request->verb);
    cp_put_str(&record, 3, request->node);
    cp_put_int(&record, 4, request->deadline_ns);
    cp_operator_order(o, &record);
}
