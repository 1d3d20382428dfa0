#include "dataplane/operator.h"

#include "base/mem.h"
#include "dataplane/operator_impl.h"
#include "dataplane/target.h"
#include "proto/json.h"
#include "proto/rpc_reflection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEARTBEAT_DEFAULT_NS SY_NS_PER_S
#define HEARTBEAT_MIN_NS (10 * SY_NS_PER_MS)
#define HEARTBEAT_MAX_NS (60 * SY_NS_PER_S)
#define OBJECT_BYTES_DEFAULT ((int64_t)1 << 30)
#define PEER_BYTES_DEFAULT ((size_t)256 << 20)
#define STREAMS_DEFAULT ((size_t)20000)
#define ARENA_BYTES_MAX ((size_t)8 << 20)
#define MESSAGE_BYTES_MAX ((size_t)16 << 20)
/* People's view of the nodes: soon after a change, slower the more nodes there are to tell of. */
#define NODES_TOLD_NS (200 * SY_NS_PER_MS)
#define NODES_TOLD_EACH_NS SY_NS_PER_MS
#define NODES_TOLD_BEATS 5 /* at the latest */
/* More without a turn, and we stood still: a suspended machine, a stopped process, a blocked loop.
 */
#define STALL_BEATS 2

const struct sm_table dp_operator_table = {
    .name = "operator",
    .states =
        (const struct sm_state[]){
            [DP_RUNNING] = {.name = "running", .next = SM_BIT(DP_STOPPING), .initial = true},
            [DP_STOPPING] = {.name = "stopping", .next = SM_BIT(DP_STOPPED)},
            [DP_STOPPED] = {.name = "stopped", .next = 0, .final = true},
        },
    .count = DP_STATES,
};

/* ---- turns ---- */

static void forgive_all(struct dp_operator *op, int64_t now_ns)
{
    sy_log(op->log, &dp_events, DP_EV_STALLED,
           SY_I64("still_ms", (now_ns - op->now_ns) / SY_NS_PER_MS));
    dp_shards_forgive(op, now_ns);
    dp_agents_forgive(op, now_ns);
}

void dp_touch(struct dp_operator *op)
{
    int64_t now_ns = sy_loop_now_ns(op->loop);
    if (now_ns == op->now_ns)
        return;
    if (now_ns - op->now_ns > STALL_BEATS * op->heartbeat_ns)
        forgive_all(op, now_ns);
    op->now_ns = now_ns;
}

static void touch(void *ctx)
{
    dp_touch(ctx);
}

/* What runs, waits or has ended on a node, as far as people are told. */
static bool changes_nodes(enum sch_op_event_type type)
{
    return type == SCH_OP_ASSIGN || type == SCH_OP_CANCEL || type == SCH_OP_STARTED ||
           type == SCH_OP_OUTCOME || type == SCH_OP_NODE_RETURNED || type == SCH_OP_NODE_INVENTORY;
}

void dp_nodes_tell_later(struct dp_operator *op)
{
    if (op->sm.state == DP_RUNNING && !sy_timer_running(&op->nodes_tell))
        sy_timer_start_in(op->loop, &op->nodes_tell, op->nodes_told_every_ns);
}

void dp_step(struct dp_operator *op, struct sch_op_event *event)
{
    SY_ASSERT(
        !op->stepping); /* effects only queue records; what they break is seen to at turn end */
    op->stepping = true;
    event->now_ns = sy_loop_now_ns(op->loop);
    sch_operator_step(op->core, event, &op->effects);
    dp_apply_effects(op);
    op->stepping = false;
    if (changes_nodes(event->type))
        dp_nodes_tell_later(op);
}

static bool count_node(void *ctx, const struct sch_node_view *node)
{
    (void)node;
    size_t *count = ctx;
    (*count)++;
    return true;
}

/* Shards are told once more; a timer, because most changes come in crowds. */
static void on_nodes_tell(void *arg)
{
    struct dp_operator *op = arg;
    size_t nodes = 0;
    dp_touch(op);
    sch_operator_each_node(op->core, count_node, &nodes);
    op->nodes_told_every_ns = NODES_TOLD_NS + (int64_t)nodes * NODES_TOLD_EACH_NS;
    dp_shards_tell(op, false);
}

static void on_tick(void *arg)
{
    struct dp_operator *op = arg;
    dp_touch(op);
    dp_step(op, &(struct sch_op_event){.type = SCH_OP_TICK});
}

/* Also what makes dp_touch() run often enough to tell a stall from an idle hour. */
static void on_beat(void *arg)
{
    struct dp_operator *op = arg;
    dp_touch(op);
    op->beats++;
    dp_waited_beat(op);
    if (op->beats % NODES_TOLD_BEATS == 0)
        dp_shards_tell(op, false);
    dp_shards_beat(op);
    sy_timer_start_in(op->loop, &op->beat, op->heartbeat_ns);
}

static void on_turn_end(void *arg)
{
    struct dp_operator *op = arg;
    dp_orders_turn_end(op);
    dp_waited_turn_end(op);
    dp_links_turn_end(&op->links);
    int64_t next_ns = sch_operator_next_ns(op->core);
    if (next_ns == SY_TIME_NEVER)
        sy_timer_stop(op->loop, &op->tick);
    else if (!sy_timer_running(&op->tick) || op->tick.deadline_ns != next_ns)
        sy_timer_start(op->loop, &op->tick, next_ns);
}

struct dp_partition *dp_partition_find(struct dp_operator *op, uint32_t id)
{
    struct dp_partition *partition;
    HASH_FIND(hh, op->partitions, &id, sizeof(id), partition);
    return partition;
}

struct dp_partition *dp_partition_get(struct dp_operator *op, uint32_t id, bool served)
{
    struct dp_partition *partition = dp_partition_find(op, id);
    if (partition && (partition->served || !served))
        return partition;
    unsigned others = HASH_COUNT(op->partitions) - op->partitions_named;
    if (served ? others >= DP_PARTITIONS_MAX : op->partitions_named >= DP_PARTITIONS_NAMED_MAX)
        return NULL;
    if (partition) {
        SY_ASSERT(op->partitions_named > 0);
        op->partitions_named--;
        partition->served = true;
        return partition;
    }
    partition = sy_new(struct dp_partition);
    partition->id = id;
    partition->served = served;
    op->partitions_named += !served;
    HASH_ADD(hh, op->partitions, id, sizeof(partition->id), partition);
    return partition;
}

bool dp_copy_name(char *ret, size_t size, const char *text, bool may_be_empty)
{
    size_t len = strlen(text);
    if (len >= size || (len == 0 && !may_be_empty))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
            return false;
    }
    memcpy(ret, text, len + 1);
    return true;
}

void dp_copy_text(char *ret, size_t size, struct sy_span text)
{
    size_t len = text.len < size ? text.len : size - 1;
    for (size_t i = 0; i < len; i++)
        ret[i] = text.data[i] != '\0' ? (char)text.data[i] : ' ';
    ret[len] = '\0';
}

/* ---- set-up ---- */

static int check_options(const struct dp_operator_options *options, int64_t heartbeat_ns,
                         int64_t node_lease_ns, struct sy_error_text *error)
{
    char name[DP_NAME_MAX];
    if (!options->cluster || !dp_copy_name(name, sizeof(name), options->cluster, false) ||
        strchr(name, '/')) {
        sy_error_text_set(error,
                          "cluster: '%s' is not a name of 1 to %d printable characters "
                          "without blanks and slashes",
                          options->cluster ? options->cluster : "", DP_NAME_MAX - 1);
        return -EINVAL;
    }
    if (heartbeat_ns < HEARTBEAT_MIN_NS || heartbeat_ns > HEARTBEAT_MAX_NS) {
        sy_error_text_set(error, "heartbeat: %lld ms; expected 10ms to 60s",
                          (long long)(heartbeat_ns / SY_NS_PER_MS));
        return -EINVAL;
    }
    if (node_lease_ns < 3 * heartbeat_ns) {
        sy_error_text_set(error,
                          "node_lease: %lld ms is shorter than 3 heartbeats of %lld ms: a "
                          "node would be given up for a few lost messages",
                          (long long)(node_lease_ns / SY_NS_PER_MS),
                          (long long)(heartbeat_ns / SY_NS_PER_MS));
        return -EINVAL;
    }
    return 0;
}

static void add_method(struct dp_operator *op, const char *path, enum sy_method_kind kind,
                       void (*handler)(void *ctx, struct sy_call *call, struct sy_span request))
{
    sy_server_add(op->server,
                  &(struct sy_method){
                      .path = path, .kind = kind, .handler = handler, .ctx = op, .loop = op->loop});
}

static int start_server(struct dp_operator *op, const struct dp_operator_options *options,
                        struct sy_error_text *error)
{
    struct sy_server_options server = {
        .address = options->listen,
        .allow_origins = options->allow_origins,
        .allow_origin_count = options->allow_origin_count,
        .http = true,
        .codec = pb_json_codec(),
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .streams_max = options->streams_max,
    };
    int r = sy_server_new(&op->server, op->rpc, &server, error);
    if (r < 0)
        return sy_trace(r);
    add_method(op, "/switchyard.internal.DataPlane/Attend", SY_METHOD_BIDI, dp_agents_attend);
    add_method(op, "/switchyard.internal.DataPlane/Lead", SY_METHOD_UNARY, dp_right_serve);
    add_method(op, "/switchyard.v1.LogService/ReadLogs", SY_METHOD_SERVER_STREAM, dp_logs_read);
    add_method(op, "/flyteidl2.dataproxy.DataProxyService/TailLogs", SY_METHOD_SERVER_STREAM,
               dp_logs_tail);
    if (op->objects)
        dp_objects_serve(op->objects, op->server);
    if (op->data)
        dp_data_serve(op->data, op->server);
    if (op->secrets)
        dp_secret_service_serve(op->secrets, op->server);
    op->health = pb_health_new(op->server, op->loop);
    pb_reflection_add(op->server, op->loop);
    return sy_trace(sy_server_start(op->server, error));
}

static void on_ended(void *ctx);

static void init_core(struct dp_operator *op, const struct sch_operator_options *core)
{
    op->core = sch_operator_new(core, op->now_ns);
    sy_timer_init(&op->tick, on_tick, op);
    sy_timer_init(&op->beat, on_beat, op);
    sy_timer_init(&op->nodes_tell, on_nodes_tell, op);
    op->nodes_told_every_ns = NODES_TOLD_NS;
    op->turn_end = (struct sy_turn_end){.fn = on_turn_end, .arg = op};
    sy_loop_add_turn_end(op->loop, &op->turn_end);
    sy_timer_start_in(op->loop, &op->beat, op->heartbeat_ns);
}

static struct dp_operator *operator_alloc(const struct dp_operator_options *options,
                                          const struct dp_operator_ports *ports,
                                          const struct sch_operator_options *core,
                                          int64_t heartbeat_ns)
{
    struct dp_operator *op = sy_new(struct dp_operator);
    op->loop = ports->loop;
    op->rpc = ports->rpc;
    op->log = ports->log;
    sy_rng_init(&op->rng, ports->seed);
    sy_rng_name(&op->rng, op->session, sizeof(op->session) - 1);
    sm_init(&op->sm, &dp_operator_table, DP_RUNNING);
    op->cluster = sy_strdup(options->cluster);
    op->authorization = options->authorization ? sy_strdup(options->authorization) : NULL;
    snprintf(op->labels, sizeof(op->labels), "%s", options->labels ? options->labels : "");
    snprintf(op->region, sizeof(op->region), "%s", options->region ? options->region : "");
    op->heartbeat_ns = heartbeat_ns;
    op->node_lease_ns = core->node_lease_ns;
    op->silence_ns = DP_SILENT_BEATS * heartbeat_ns;
    if (op->silence_ns > core->node_lease_ns)
        op->silence_ns = core->node_lease_ns;
    op->peer_bytes_max = options->peer_bytes_max > 0 ? options->peer_bytes_max : PEER_BYTES_DEFAULT;
    op->gang_port = options->gang_port > 0 ? options->gang_port : 29500;
    op->gang_ports = options->gang_ports > 0 ? options->gang_ports : 1000;
    dp_gang_init(op);
    op->agents_max = options->streams_max > 0 ? options->streams_max : STREAMS_DEFAULT;
    op->now_ns = sy_loop_now_ns(op->loop);
    dp_links_init(&op->links, op->loop, touch, on_ended, op);
    dp_specs_init(&op->specs, dp_agent_forget_spec, op);
    sy_arena_init(&op->arena, ARENA_BYTES_MAX);
    op->logs = dp_logs_new(op);
    sy_bearer_copy(&op->gate.bearer, &options->bearer);
    op->gate.log = op->log;
    op->term = options->term;
    dp_right_init(op);
    init_core(op, core);
    return op;
}

/* What blocks on files. */
static int open_stores(struct dp_operator *op, const struct dp_operator_options *options,
                       const struct dp_operator_ports *ports, struct sy_error_text *error)
{
    struct sy_loop *loop = ports->objects_loop ? ports->objects_loop : op->loop;
    int64_t bytes_max = options->object_bytes_max > 0 ? options->object_bytes_max
                                                      : OBJECT_BYTES_DEFAULT;
    int r = 0;
    if (options->objects_dir) {
        struct dp_objects_options objects = {
            .dir = options->objects_dir,
            .cluster = op->cluster,
            .object_bytes_max = bytes_max,
            .gate = &op->gate,
            .loop = loop,
            .log = op->log,
        };
        r = dp_objects_new(&op->objects, &objects, error);
    }
    if (r == 0 && options->data_dir) {
        struct dp_data_options data = {
            .dir = options->data_dir,
            .cluster = op->cluster,
            .storage = options->storage,
            .upload_bytes_max = bytes_max,
            .rpc = op->rpc,
            .loop = loop,
            .log = op->log,
        };
        r = dp_data_new(&op->data, &data, error);
    }
    if (r == 0 && options->data_dir) {
        struct dp_secret_service_options secrets = {
            .dir = options->secrets_dir ? options->secrets_dir : options->data_dir,
            .key_file = options->secrets_key_file,
            .cluster = op->cluster,
            .gate = &op->gate,
            .loop = loop,
            .log = op->log,
        };
        r = dp_secret_service_new(&op->secrets, &secrets, error);
    }
    if (r == 0 && options->data_dir)
        r = dp_sleeps_new(&op->sleeps, op, options->storage, error);
    return r;
}

static int operator_start(struct dp_operator *op, const struct dp_operator_options *options,
                          const struct dp_operator_ports *ports, struct sy_error_text *error)
{
    int r = open_stores(op, options, ports, error);
    if (r == 0 && options->nodes_file)
        r = dp_orders_open(op, options->nodes_file, error);
    if (r == 0 && options->nodes_file)
        r = dp_waited_open(op, options->nodes_file, error);
    if (r == 0)
        r = dp_shards_new(op, options->shards, error);
    if (r == 0)
        r = start_server(op, options, error);
    if (r < 0)
        return r;
    op->endpoint = dp_target_own(options->endpoint ? options->endpoint : "", options->listen,
                                 sy_server_port(op->server));
    op->core_price_micros = options->core_price_micros;
    if (op->data)
        dp_data_set_endpoint(op->data, op->endpoint);
    pb_health_set_serving(op->health, true);
    return 0;
}

int dp_operator_new(struct dp_operator **ret_operator, const struct dp_operator_options *options,
                    const struct dp_operator_ports *ports, struct sy_error_text *error)
{
    int64_t heartbeat_ns = options->heartbeat_ns > 0 ? options->heartbeat_ns : HEARTBEAT_DEFAULT_NS;
    struct sch_operator_options core = options->core;
    if (core.hold_ns <= 0)
        core.hold_ns = 2 * SY_NS_PER_S;
    if (core.node_lease_ns <= 0)
        core.node_lease_ns = 15 * SY_NS_PER_S;
    if (core.join_grace_ns <= 0)
        core.join_grace_ns = 5 * SY_NS_PER_S;
    int r = check_options(options, heartbeat_ns, core.node_lease_ns, error);
    if (r < 0)
        return r;
    struct dp_operator *op = operator_alloc(options, ports, &core, heartbeat_ns);
    r = operator_start(op, options, ports, error);
    if (r < 0) {
        dp_operator_free(op);
        return r;
    }
    sy_log(op->log, &dp_events, DP_EV_STARTED, SY_STR("cluster", op->cluster),
           SY_STR("endpoint", op->endpoint), SY_STR("session", op->session),
           SY_U64("shards", op->shard_count));
    *ret_operator = op;
    return 0;
}

int dp_operator_port(const struct dp_operator *op)
{
    return sy_server_port(op->server);
}

const char *dp_operator_cluster(const struct dp_operator *op)
{
    return op->cluster;
}

/* ---- the end ---- */

static void check_stopped(struct dp_operator *op)
{
    if (op->sm.state != DP_STOPPING || !op->drained || op->links.endings)
        return;
    sm_move(&op->sm, &dp_operator_table, DP_STOPPED, op);
    op->stop_done(op->stop_ctx);
}

static void on_ended(void *ctx)
{
    check_stopped(ctx);
}

static void on_drained(void *ctx)
{
    struct dp_operator *op = ctx;
    op->drained = true;
    check_stopped(op);
}

void dp_operator_stop(struct dp_operator *op, int64_t grace_ns, sy_fn done, void *ctx)
{
    SY_ASSERT(done);
    sm_move(&op->sm, &dp_operator_table, DP_STOPPING, op);
    sy_log(op->log, &dp_events, DP_EV_STOPPING, SY_STR("cluster", op->cluster));
    op->stop_done = done;
    op->stop_ctx = ctx;
    if (op->term > 0)
        atomic_store(&op->gate.ours_until_ns, 1); /* another may begin before this one's end */
    pb_health_stop(op->health);
    dp_shards_stop(op);
    dp_agents_stop(op);
    dp_logs_stop(op->logs);
    dp_links_turn_end(&op->links);
    sy_server_drain(op->server, grace_ns, op->loop, on_drained, op);
}

static void free_partitions(struct dp_operator *op)
{
    struct dp_partition *partition = op->partitions, *next;
    HASH_CLEAR(hh, op->partitions); /* the chain of elements stays */
    for (; partition; partition = next) {
        next = partition->hh.next;
        free(partition);
    }
}

void dp_operator_free(struct dp_operator *op)
{
    if (!op)
        return;
    sy_loop_remove_turn_end(op->loop, &op->turn_end);
    sy_timer_stop(op->loop, &op->tick);
    sy_timer_stop(op->loop, &op->beat);
    dp_right_deinit(op);
    dp_sleeps_free(op->sleeps);
    sch_operator_free(op->core); /* gives back the assignments, which hold specs */
    sch_op_effects_deinit(&op->effects);
    dp_logs_free(op->logs);
    dp_agents_free(op);
    dp_shards_free(op);
    dp_links_deinit(&op->links);
    sy_timer_stop(op->loop, &op->nodes_tell);
    dp_specs_deinit(&op->specs);
    free_partitions(op);
    dp_objects_free(op->objects);
    dp_data_free(op->data);
    dp_secret_service_free(op->secrets);
    sy_server_free(op->server);
    sy_bearer_deinit(&op->gate.bearer);
    pb_health_free(op->health); /* nobody calls it any more */
    sy_arena_deinit(&op->arena);
    sy_buf_deinit(&op->scratch);
    sy_buf_deinit(&op->rendezvous);
    if (op->authorization)
        explicit_bzero(op->authorization, strlen(op->authorization));
    free(op->authorization);
    free(op->cluster);
    free(op->orders_path);
    free(op->waited_path);
    sy_buf_deinit(&op->waited);
    free(op->endpoint);
    free(op);
}

void dp_operator_check(const struct dp_operator *op)
{
    sch_operator_check(op->core);
}

const struct sch_operator *dp_operator_core(const struct dp_operator *op)
{
    return op->core;
}
