/*
 * switchyard.v1.RegionService: what every partition knows, put together. A cluster keeps a stream
 * with each partition and tells all of them about all its nodes, so of the reports about one
 * cluster the best one is taken, not their sum.
 */
#include "base/mem.h"
#include "controlplane/cluster_health.h"
#include "controlplane/cluster_rolls.h"
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"

#include "switchyard/internal/parts.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"
#include "version.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEADLINE_NS_MAX (365 * 24 * 3600 * SY_NS_PER_S)

struct query {
    bool with_nodes;
    const char *cluster; /* of this one; "": of all */
};

/* What one partition reports of a cluster. */
struct report {
    struct report *next;
    Switchyard__V1__Cluster cluster;
    int64_t silent_ns; /* realtime: no word since; 0: connected */
    uint32_t nodes_ready;
    struct sch_cluster_out out;
    uint32_t connected;           /* merged: partitions that have a stream of it */
    Switchyard__V1__Node **nodes; /* if they are asked for */
    size_t node_count;
};

struct region_part {
    Switchyard__V1__Partition partition;
    struct report *reports;
    int64_t registered_at; /* the newest registration that it heeds */
    bool serving, recovered;
};

static void *make(struct sy_arena *arena, size_t size)
{
    void *memory = sy_arena_alloc(arena, size);
    SY_ASSERT(memory != NULL); /* nodes of a cluster, bounded by the partition */
    return memset(memory, 0, size);
}

static char *copy(struct sy_arena *arena, const char *s)
{
    char *text = sy_arena_strdup(arena, s != NULL ? s : "");
    SY_ASSERT(text != NULL);
    return text;
}

/* ---- in the partition's lane ---- */

static Switchyard__V1__Amounts *amounts(struct sy_arena *arena, uint64_t cpu_milli,
                                        uint64_t memory_bytes, uint32_t gpus)
{
    Switchyard__V1__Amounts *to = make(arena, sizeof(*to));
    switchyard__v1__amounts__init(to);
    to->cpu_milli = cpu_milli;
    to->memory_bytes = memory_bytes;
    to->gpus = gpus;
    return to;
}

static Switchyard__V1__Node *copy_node(struct sy_arena *arena, char *cluster,
                                       const struct cp_node_view *from)
{
    Switchyard__V1__Node *to = make(arena, sizeof(*to));
    switchyard__v1__node__init(to);
    to->cluster = cluster;
    to->name = copy(arena, from->name);
    to->state = copy(arena, from->state);
    to->gpu_model = copy(arena, from->gpu_model);
    to->reason = copy(arena, from->reason);
    to->labels = copy(arena, from->labels);
    to->taints = copy(arena, from->taints);
    to->capacity = amounts(arena, from->cpu_milli, from->memory_bytes, from->gpus);
    to->used = amounts(arena, from->used_cpu_milli, from->used_memory_bytes, from->used_gpus);
    to->running = from->running;
    to->backlog = from->backlog;
    to->finished = from->finished;
    to->n_pools = from->environment_count;
    to->pools = make(arena, from->environment_count * sizeof(void *));
    for (size_t i = 0; i < from->environment_count; i++) {
        Switchyard__V1__Pool *pool = make(arena, sizeof(*pool));
        switchyard__v1__pool__init(pool);
        pool->environment = copy(arena, from->environments[i].name);
        pool->slots = from->environments[i].slots;
        to->pools[i] = pool;
    }
    return to;
}

static void add_node(struct report *report, const struct cp_node_view *node)
{
    Switchyard__V1__Cluster *cluster = &report->cluster;
    report->nodes_ready += strcmp(node->state, "ready") == 0;
    cluster->capacity->cpu_milli += node->cpu_milli;
    cluster->capacity->memory_bytes += node->memory_bytes;
    cluster->capacity->gpus += node->gpus;
    cluster->used->cpu_milli += node->used_cpu_milli;
    cluster->used->memory_bytes += node->used_memory_bytes;
    cluster->used->gpus += node->used_gpus;
    cluster->running += node->running;
    cluster->backlog += node->backlog;
}

/* What was told last is not what is. */
static void set_unreachable(struct sy_arena *arena, Switchyard__V1__Node *node, int64_t silent_ns)
{
    char since[32] = "";
    time_t seconds = (time_t)(silent_ns / SY_NS_PER_S);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) != NULL)
        (void)strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &parts);
    node->state = copy(arena, "unreachable");
    node->reason = sy_arena_printf(arena, "no word of its cluster since %s", since);
    SY_ASSERT(node->reason != NULL);
}

static void copy_nodes(struct sy_arena *arena, struct report *report,
                       const struct cp_cluster_view *from)
{
    report->nodes = make(arena, from->node_count * sizeof(void *));
    report->node_count = from->node_count;
    for (size_t i = 0; i < from->node_count; i++) {
        report->nodes[i] = copy_node(arena, report->cluster.name, &from->nodes[i]);
        if (from->silent_ns != 0)
            set_unreachable(arena, report->nodes[i], from->silent_ns);
    }
}

static bool copy_cluster(void *ctx, const struct cp_cluster_view *from)
{
    struct cp_gather_part *part = ctx;
    const struct query *query = part->gather->query;
    struct region_part *result = part->result;
    struct sy_arena *arena = &part->arena;
    struct report *report = make(arena, sizeof(*report));
    Switchyard__V1__Cluster *cluster = &report->cluster;
    switchyard__v1__cluster__init(cluster);
    cluster->name = copy(arena, from->name);
    cluster->state = copy(arena, from->state);
    cluster->endpoint = copy(arena, from->endpoint);
    cluster->region = copy(arena, from->region);
    cluster->core_price_micros = from->price;
    report->silent_ns = from->silent_ns;
    report->out = from->out;
    cluster->nodes = (uint32_t)from->node_count;
    cluster->capacity = amounts(arena, 0, 0, 0);
    cluster->used = amounts(arena, 0, 0, 0);
    for (size_t i = 0; i < from->node_count; i++)
        add_node(report, &from->nodes[i]);
    bool wanted = query->cluster[0] == '\0' || strcmp(query->cluster, from->name) == 0;
    if (query->with_nodes && wanted)
        copy_nodes(arena, report, from);
    report->next = result->reports;
    result->reports = report;
    return true;
}

static void describe_partition(struct cp_gather_part *part, Switchyard__V1__Partition *to)
{
    struct cp_lane *lane = part->lane;
    struct sch_partition_counts counts = cp_partition_counts(lane->partition);
    const char *reason = cp_partition_reason(lane->partition);
    bool serving = cp_partition_serving(lane->partition);
    switchyard__v1__partition__init(to);
    to->id = lane->index;
    to->shard = lane->shard->name;
    to->epoch = cp_partition_epoch(lane->partition);
    to->reason = copy(&part->arena, reason);
    to->runs_live = counts.runs_live;
    to->actions_queued = counts.queued + counts.backoff;
    to->actions_running = counts.assigned + counts.running + counts.recovering;
    to->actions_waiting_for_children = counts.groups;
    to->actions_finished = counts.finished;
    to->commits = cp_partition_commits(lane->partition);
    const char *word = cp_partition_state_word(lane->partition);
    to->state = copy(&part->arena, serving && counts.recovering_clusters ? "recovering" : word);
}

static bool collect(struct cp_gather_part *part)
{
    struct region_part *result = make(&part->arena, sizeof(*result));
    struct cp_partition *p = part->lane->partition;
    part->result = result;
    result->serving = cp_partition_serving(p);
    result->recovered = result->serving && !cp_partition_counts(p).recovering_clusters;
    result->registered_at = cp_partition_registered_at(p);
    describe_partition(part, &result->partition);
    cp_partition_each_cluster(p, copy_cluster, part);
    return true;
}

/* ---- a part that another shard has ---- */

static void pack(const struct cp_gather_part *part, cp_part_reply *reply)
{
    struct cp_request *req = part->gather->req;
    struct region_part *result = part->result;
    Switchyard__Internal__RegionPart *to = cp_request_alloc(req, sizeof(*to));
    size_t count = 0;
    for (const struct report *r = result->reports; r != NULL; r = r->next)
        count++;
    Switchyard__Internal__ClusterReport *reports = cp_request_alloc(req, count * sizeof(*reports));
    switchyard__internal__region_part__init(to);
    to->partition = &result->partition;
    to->serving = result->serving;
    to->registered_at = result->registered_at;
    to->recovered = result->recovered;
    to->clusters = cp_request_alloc(req, count * sizeof(void *));
    for (struct report *from = result->reports; from != NULL; from = from->next) {
        Switchyard__Internal__ClusterReport *report = &reports[to->n_clusters];
        switchyard__internal__cluster_report__init(report);
        report->cluster = &from->cluster;
        report->silent_ns = from->silent_ns;
        report->nodes_ready = from->nodes_ready;
        report->assigned = from->out.assigned;
        report->started = from->out.running;
        report->settled = from->out.known;
        report->nodes = from->nodes;
        report->n_nodes = from->node_count;
        to->clusters[to->n_clusters++] = report;
    }
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_REGION;
    reply->region = to;
}

static int unpack(struct cp_gather_part *part, const cp_part_reply *reply)
{
    if (reply->part_case != SWITCHYARD__INTERNAL__PART_REPLY__PART_REGION ||
        reply->region->partition == NULL || reply->region->partition->id != part->lane->index)
        return -EBADMSG;
    const Switchyard__Internal__RegionPart *from = reply->region;
    struct region_part *result = sy_arena_alloc(&part->arena, sizeof(*result));
    struct report *reports = sy_arena_alloc(&part->arena, from->n_clusters * sizeof(*reports));
    if (result == NULL || reports == NULL)
        return -EBADMSG;
    *result = (struct region_part){.partition = *from->partition,
                                   .registered_at = from->registered_at,
                                   .serving = from->serving,
                                   .recovered = from->recovered};
    for (size_t i = 0; i < from->n_clusters; i++) {
        if (from->clusters[i]->cluster == NULL)
            return -EBADMSG;
        const Switchyard__Internal__ClusterReport *one = from->clusters[i];
        reports[i] = (struct report){.next = result->reports,
                                     .cluster = *one->cluster,
                                     .silent_ns = one->silent_ns,
                                     .nodes_ready = one->nodes_ready,
                                     .out = {one->assigned, one->started, one->settled},
                                     .nodes = one->nodes,
                                     .node_count = one->n_nodes};
        result->reports = &reports[i];
    }
    part->result = result;
    return 0;
}

static void absent(struct cp_gather_part *part)
{
    struct region_part *result = make(&part->arena, sizeof(*result));
    switchyard__v1__partition__init(&result->partition);
    result->partition.id = part->lane->index;
    result->partition.state = copy(&part->arena, "away");
    result->partition.reason = copy(&part->arena, part->status.message.text);
    part->result = result;
}

/* ---- on the front ---- */

struct merged {
    struct report **reports; /* one for each cluster, by name */
    size_t count;
};

static int state_rank(const char *state)
{
    return strcmp(state, "ready") == 0 ? 2 : strcmp(state, "lost") == 0 ? 1 : 0;
}

static bool better(const struct report *a, const struct report *b)
{
    int rank_a = state_rank(a->cluster.state), rank_b = state_rank(b->cluster.state);
    return rank_a != rank_b ? rank_a > rank_b : a->cluster.nodes > b->cluster.nodes;
}

static int compare_reports(const void *a, const void *b)
{
    const struct report *left = *(struct report *const *)a, *right = *(struct report *const *)b;
    int order = strcmp(left->cluster.name, right->cluster.name);
    return order != 0 ? order : better(left, right) ? -1 : better(right, left);
}

/* Sorted by name with the best report of each cluster first, of which then only that one is kept.
 */
static struct merged merge(struct cp_gather *gather)
{
    size_t total = 0, count = 0, kept = 0;
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct region_part *part = gather->parts[i].result;
        for (const struct report *r = part->reports; r != NULL; r = r->next)
            total++;
    }
    struct report **all = cp_request_alloc(gather->req, total * sizeof(void *));
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct region_part *part = gather->parts[i].result;
        for (struct report *r = part->reports; r != NULL; r = r->next)
            all[count++] = r;
    }
    if (count > 1)
        qsort(all, count, sizeof(void *), compare_reports);
    for (size_t i = 0; i < count; i++) {
        struct report *one = all[i];
        if (kept == 0 || strcmp(all[kept - 1]->cluster.name, one->cluster.name) != 0)
            all[kept++] = one;
        all[kept - 1]->connected += state_rank(one->cluster.state) == 2;
    }
    return (struct merged){all, kept};
}

/* ---- with what is registered ---- */

static uint32_t count_serving(const struct cp_gather *gather)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < gather->count; i++)
        count += ((const struct region_part *)gather->parts[i].result)->serving;
    return count;
}

static bool has_valid_token(const Switchyard__V1__Registration *registration)
{
    for (size_t i = 0; i < registration->n_tokens; i++) {
        if (strcmp(registration->tokens[i]->state, "valid") == 0)
            return true;
    }
    return false;
}

static void describe_health(struct cp_gather *gather, struct report *report)
{
    Switchyard__V1__Cluster *cluster = &report->cluster;
    const Switchyard__V1__Registration *registration = cluster->registration;
    struct sy_error_text reason;
    struct cp_cluster_health health = {
        .state = cluster->state,
        .silent_ns = report->silent_ns,
        .nodes = cluster->nodes,
        .nodes_ready = report->nodes_ready,
        .partitions = count_serving(gather),
        .connected = report->connected,
        .joined = registration != NULL ? (int64_t)registration->operators : -1,
        .token_valid = registration != NULL && has_valid_token(registration)};
    cp_cluster_reason(&health, &reason);
    size_t size = strlen(reason.text) + 1;
    cluster->reason = memcpy(cp_request_alloc(gather->req, size), reason.text, size);
}

/* What all partitions have there. One that has not heard of the drain may yet assign something. */
static void fill_drain(const struct cp_gather *gather, const struct cp_registered *registered,
                       Switchyard__V1__Drain *ret)
{
    switchyard__v1__drain__init(ret);
    ret->deadline_ns = registered->record->drain_deadline_ns;
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct region_part *part = gather->parts[i].result;
        const struct report *report = part->reports;
        while (report != NULL && strcmp(report->cluster.name, registered->name) != 0)
            report = report->next;
        bool known = part->recovered && part->registered_at >= registered->revision;
        ret->unknown += !known || (report != NULL && !report->out.known);
        ret->running += report != NULL ? report->out.running : 0;
        ret->waiting += report != NULL ? report->out.assigned : 0;
    }
}

/* False: it is lost, say, which comes first. */
static bool show_drain(struct cp_gather *gather, Switchyard__V1__Cluster *cluster,
                       const struct cp_registered *registered, struct sy_error_text *ret_reason)
{
    static char draining[] = "draining", drained[] = "drained";
    uint64_t stopping = cluster->running + cluster->backlog;
    cluster->drain = cp_request_alloc(gather->req, sizeof(*cluster->drain));
    fill_drain(gather, registered, cluster->drain);
    const Switchyard__V1__Drain *drain = cluster->drain;
    if (strcmp(cluster->state, "ready") != 0 && strcmp(cluster->state, "registered") != 0)
        return false;
    bool left = drain->running + drain->waiting + drain->unknown + stopping > 0;
    cluster->state = left ? draining : drained;
    cp_cluster_drain_reason(drain, stopping, ret_reason);
    return true;
}

/* What a person said of it comes before how it does. */
static void show_standing(struct cp_gather *gather, struct report *report,
                          const struct cp_registered *registered)
{
    static char cordoned[] = "cordoned", fenced[] = "fenced";
    Switchyard__V1__Cluster *cluster = &report->cluster;
    cp_standing standing = registered->record->standing;
    struct sy_error_text reason;
    if (standing == CP_STANDING(FENCED)) {
        cluster->state = fenced;
        sy_error_text_set(&reason, "what it ran was given to others, and nobody is let in as it");
    } else if (standing == CP_STANDING(CORDONED) && strcmp(cluster->state, "ready") == 0) {
        cluster->state = cordoned;
        sy_error_text_set(&reason, "nothing new goes there; %llu still run",
                          (unsigned long long)cluster->running);
    } else if (standing != CP_STANDING(DRAINING) ||
               !show_drain(gather, cluster, registered, &reason)) {
        return;
    }
    size_t size = strlen(reason.text) + 1;
    cluster->reason = memcpy(cp_request_alloc(gather->req, size), reason.text, size);
}

/* One that no partition knows. */
static struct report *registered_only(struct cp_gather *gather, const struct cp_registered *from)
{
    static char registered[] = "registered";
    struct report *report = cp_request_alloc(gather->req, sizeof(*report));
    Switchyard__V1__Amounts *nothing = cp_request_alloc(gather->req, sizeof(*nothing));
    switchyard__v1__amounts__init(nothing);
    switchyard__v1__cluster__init(&report->cluster);
    report->cluster.name = (char *)(uintptr_t)from->name; /* of the roll, for this turn */
    report->cluster.state = registered;
    report->cluster.region = from->record->region;
    report->cluster.capacity = report->cluster.used = nothing;
    return report;
}

/* Both are in the order of names. Those that were deleted are shown while a partition has them. */
static struct merged add_registered(struct cp_gather *gather, struct merged seen)
{
    static const struct cp_roll none = {0};
    static char deleting[] = "deleting";
    const struct cp_roll *roll = cp_cluster_roll(gather->req->lane->shard);
    roll = roll != NULL ? roll : &none;
    struct merged all = {
        .reports = cp_request_alloc(gather->req, (seen.count + roll->count) * sizeof(void *))};
    size_t s = 0, r = 0;
    while (s < seen.count || r < roll->count) {
        const struct cp_registered *registered = r < roll->count ? &roll->clusters[r] : NULL;
        struct report *report = s < seen.count ? seen.reports[s] : NULL;
        int order = report == NULL       ? 1
                    : registered == NULL ? -1
                                         : strcmp(report->cluster.name, registered->name);
        s += order <= 0;
        r += order >= 0;
        bool known = order >= 0 && registered != NULL && registered->record != NULL;
        bool gone = known && registered->record->deleted;
        if (order > 0 && (!known || gone))
            continue;
        if (order > 0)
            report = registered_only(gather, registered);
        if (gone)
            report->cluster.state = deleting;
        else if (known)
            report->cluster.registration = cp_registration_of(gather->req, registered->record);
        if (known)
            report->cluster.lead = cp_lead_of(gather->req, registered->name);
        describe_health(gather, report);
        if (known)
            show_standing(gather, report, registered);
        all.reports[all.count++] = report;
    }
    return all;
}

static Switchyard__V1__Cluster **clusters_of(struct cp_gather *gather, const struct merged *merged)
{
    Switchyard__V1__Cluster **clusters = cp_request_alloc(gather->req,
                                                          merged->count * sizeof(void *));
    for (size_t i = 0; i < merged->count; i++)
        clusters[i] = &merged->reports[i]->cluster;
    return clusters;
}

static void finish_status(struct cp_gather *gather)
{
    const struct cp_shard *shard = gather->req->lane->shard;
    struct merged merged = add_registered(gather, merge(gather));
    Switchyard__V1__Partition **partitions = cp_request_alloc(gather->req,
                                                              gather->count * sizeof(void *));
    for (uint32_t i = 0; i < gather->count; i++)
        partitions[i] = &((struct region_part *)gather->parts[i].result)->partition;
    static char version[] = SY_VERSION;
    Switchyard__V1__GetRegionStatusResponse response =
        SWITCHYARD__V1__GET_REGION_STATUS_RESPONSE__INIT;
    response.region = shard->region;
    response.version = version;
    response.pages = shard->console != NULL;
    response.n_partitions = gather->count;
    response.partitions = partitions;
    response.n_clusters = merged.count;
    response.clusters = clusters_of(gather, &merged);
    cp_reply_message(gather->req, &response.base);
}

/* Without a partition that serves nothing is known of clusters. True: the request has failed. */
static bool nobody_serves(struct cp_gather *gather)
{
    for (uint32_t i = 0; i < gather->count; i++) {
        if (((struct region_part *)gather->parts[i].result)->serving)
            return false;
    }
    cp_fail(gather->req, SY_CODE_UNAVAILABLE, "no partition of region %s is serving; try again",
            gather->req->lane->shard->region);
    return true;
}

static void finish_clusters(struct cp_gather *gather)
{
    if (nobody_serves(gather))
        return;
    struct merged merged = add_registered(gather, merge(gather));
    Switchyard__V1__ListClustersResponse response = SWITCHYARD__V1__LIST_CLUSTERS_RESPONSE__INIT;
    response.n_clusters = merged.count;
    response.clusters = clusters_of(gather, &merged);
    cp_reply_message(gather->req, &response.base);
}

static void finish_nodes(struct cp_gather *gather)
{
    const Switchyard__V1__ListNodesRequest *m = gather->req->message;
    if (nobody_serves(gather))
        return;
    struct merged merged = add_registered(gather, merge(gather));
    size_t total = 0, count = 0;
    bool known = m->cluster[0] == '\0';
    for (size_t i = 0; i < merged.count; i++)
        total += merged.reports[i]->node_count;
    Switchyard__V1__Node **nodes = cp_request_alloc(gather->req, total * sizeof(void *));
    for (size_t i = 0; i < merged.count; i++) {
        const struct report *report = merged.reports[i];
        if (m->cluster[0] != '\0' && strcmp(m->cluster, report->cluster.name) != 0)
            continue;
        known = true;
        for (size_t n = 0; n < report->node_count; n++)
            nodes[count++] = report->nodes[n];
    }
    if (!known) {
        cp_fail(gather->req, SY_CODE_NOT_FOUND, "cluster '%s' is not registered", m->cluster);
        return;
    }
    Switchyard__V1__ListNodesResponse response = SWITCHYARD__V1__LIST_NODES_RESPONSE__INIT;
    response.n_nodes = count;
    response.nodes = nodes;
    cp_reply_message(gather->req, &response.base);
}

static void ask_all(struct cp_request *req, const struct query *query,
                    void (*finish)(struct cp_gather *gather))
{
    struct query *copy = cp_request_alloc(req, sizeof(*copy));
    const struct cp_gather_kind kind = {
        .collect = collect, .pack = pack, .unpack = unpack, .absent = absent, .finish = finish};
    *copy = *query;
    cp_gather_all(req, copy, &kind);
}

static void get_region_status(struct cp_request *req)
{
    ask_all(req, &(struct query){.cluster = ""}, finish_status);
}

static void list_clusters(struct cp_request *req)
{
    ask_all(req, &(struct query){.cluster = ""}, finish_clusters);
}

static int nodes_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__ListNodesRequest *m = req->message;
    return m->cluster[0] != '\0' ? cp_name_check("cluster", m->cluster, error) : 0;
}

static void list_nodes(struct cp_request *req)
{
    const Switchyard__V1__ListNodesRequest *m = req->message;
    ask_all(req, &(struct query){true, m->cluster}, finish_nodes);
}

/* ---- orders ---- */

static int order_address(struct cp_request *req, struct sy_error_text *error)
{
    const Switchyard__V1__OrderNodeRequest *m = req->message;
    if (m->node[0] == '\0' || strlen(m->node) >= SCH_NAME_MAX) {
        sy_error_text_set(error, "node '%.80s': expected a name of 1 to %d characters", m->node,
                          SCH_NAME_MAX - 1);
        return -EINVAL;
    }
    if (m->deadline_ns < 0 || m->deadline_ns > DEADLINE_NS_MAX) {
        sy_error_text_set(error, "deadline_ns %lld: expected 0 to %lld", (long long)m->deadline_ns,
                          (long long)DEADLINE_NS_MAX);
        return -EINVAL;
    }
    return m->cluster[0] != '\0' ? cp_name_check("cluster", m->cluster, error) : 0;
}

/* Any partition has a stream to the cluster. */
static void order_node(struct cp_request *req, enum cp_node_verb verb)
{
    const Switchyard__V1__OrderNodeRequest *m = req->message;
    struct cp_node_request request = {
        .verb = verb, .cluster = m->cluster, .node = m->node, .deadline_ns = m->deadline_ns};
    cp_partition_order_node(req->lane->partition, &request, cp_done_empty, req);
}

static void cordon_node(struct cp_request *req)
{
    order_node(req, CP_NODE_CORDON);
}

static void uncordon_node(struct cp_request *req)
{
    order_node(req, CP_NODE_UNCORDON);
}

static void drain_node(struct cp_request *req)
{
    order_node(req, CP_NODE_DRAIN);
}

static void fence_node(struct cp_request *req)
{
    order_node(req, CP_NODE_FENCE);
}

static void unfence_node(struct cp_request *req)
{
    order_node(req, CP_NODE_UNFENCE);
}

#define REGION_SERVICE "/switchyard.v1.RegionService/"

const struct cp_method cp_region_methods[] = {
    {.path = REGION_SERVICE "GetRegionStatus",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__get_region_status_request__descriptor,
     .serve = get_region_status,
     .parts = true},
    {.path = REGION_SERVICE "ListClusters",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__list_clusters_request__descriptor,
     .serve = list_clusters,
     .parts = true},
    {.path = REGION_SERVICE "ListNodes",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__list_nodes_request__descriptor,
     .address = nodes_address,
     .serve = list_nodes,
     .parts = true},
    {.path = REGION_SERVICE "CordonNode",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_node_request__descriptor,
     .address = order_address,
     .serve = cordon_node,
     .anywhere = true},
    {.path = REGION_SERVICE "UncordonNode",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_node_request__descriptor,
     .address = order_address,
     .serve = uncordon_node,
     .anywhere = true},
    {.path = REGION_SERVICE "DrainNode",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_node_request__descriptor,
     .address = order_address,
     .serve = drain_node,
     .anywhere = true},
    {.path = REGION_SERVICE "FenceNode",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_node_request__descriptor,
     .address = order_address,
     .serve = fence_node,
     .anywhere = true},
    {.path = REGION_SERVICE "UnfenceNode",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__order_node_request__descriptor,
     .address = order_address,
     .serve = unfence_node,
     .anywhere = true},
    {0},
};
