#include "controlplane/shard.h"

#include "base/mem.h"
#include "controlplane/cluster_rolls.h"
#include "controlplane/console.h"
#include "controlplane/events.h"
#include "controlplane/follow.h"
#include "controlplane/names.h"
#include "controlplane/queue_sync.h"
#include "controlplane/shard_impl.h"
#include "proto/json.h"
#include "proto/rpc_health.h"
#include "proto/rpc_reflection.h"
#include "version.h"

#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define PARTITIONS_MAX 256
/* How often a lane looks whether its partition serves: while the shard starts, and later. */
#define START_LOOK_NS (5 * SY_NS_PER_MS)
#define LOOK_NS (500 * SY_NS_PER_MS)
/* How long a shard that has given everything back still answers others, who may not have heard. */
#define LINGER_NS (100 * SY_NS_PER_MS)

static const struct cp_method *const tables[] = {
    cp_control_methods, cp_run_methods,      cp_list_methods,    cp_watch_methods,
    cp_actions_methods, cp_cluster_methods,  cp_native_methods,  cp_region_methods,
    cp_signal_methods,  cp_task_methods,     cp_trigger_methods, cp_project_methods,
    cp_queue_methods,   cp_explain_methods,  cp_shards_methods,  cp_region_map_methods,
    cp_backup_methods,  cp_clusters_methods, cp_leads_methods,
};

uint32_t cp_shard_partition_of(const struct cp_shard *shard, const char *project,
                               const char *domain, const char *run)
{
    return cp_shard_find(shard, cp_name_hash(project, domain, run));
}

uint32_t cp_shard_find(const struct cp_shard *shard, uint64_t hash)
{
    return cp_ranges_find(cp_ranges_get(&shard->ranges), hash);
}

struct cp_partition *cp_shard_partition(struct cp_shard *shard, uint32_t i)
{
    SY_ASSERT(i < shard->room);
    return shard->lanes[i].partition;
}

uint32_t cp_shard_partitions(const struct cp_shard *shard)
{
    return cp_ranges_count(cp_ranges_get(&shard->ranges));
}

int cp_shard_port(const struct cp_shard *shard)
{
    return sy_server_port(shard->server);
}

int cp_shard_console_port(const struct cp_shard *shard)
{
    return shard->console != NULL ? cp_console_port(shard->console) : 0;
}

/* ---- ControlPlane.Operate ---- */

/* An operator's stream on its way to the partition's loop. */
struct operator_post {
    struct cp_post post;
    struct cp_lane *lane;
    struct sy_call *call;
};

static void operate_in(struct cp_lane *lane, struct sy_call *call)
{
    if (cp_partition_serving(lane->partition)) {
        cp_partition_operate(lane->partition, call);
        return;
    }
    struct sy_status status = {0};
    cp_status_not_serving(&status, lane);
    sy_call_fail(call, status.code, "%s", status.message.text);
}

static void operator_arrived(struct cp_post *post)
{
    struct operator_post *arrived = sy_container_of(post, struct operator_post, post);
    operate_in(arrived->lane, arrived->call);
    free(arrived);
}

static void operator_arrives(void *arg)
{
    struct operator_post *post = arg;
    cp_lane_post(post->lane, post->lane, &post->post);
}

static void operator_dropped(struct cp_post *post)
{
    struct operator_post *dropped = sy_container_of(post, struct operator_post, post);
    sy_call_unref(dropped->call);
    free(dropped);
}

/* The metadata names the partition: the call has to be on its loop before its first message is
 * read. With one partition there is nothing to name; `hello.partition` is checked by the partition.
 */
static void operate(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    (void)bytes;
    struct cp_shard *shard = ctx;
    uint32_t count = cp_shard_partitions(shard);
    const char *text = sy_call_metadata(call, "x-switchyard-partition");
    char *end = NULL;
    unsigned long index = text != NULL ? strtoul(text, &end, 10) : 0;
    if (text != NULL ? end == text || *end != '\0' : count > 1) {
        sy_log(shard->log, &cp_shard_events, CP_SHARD_EV_OPERATOR_REFUSED,
               SY_STR("peer", sy_call_peer(call)), SY_STR("partition", text));
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "metadata x-switchyard-partition: expected the number of one of this shard's "
                     "%u partitions",
                     count);
        return;
    }
    if (index >= count) {
        sy_call_fail(call, SY_CODE_NOT_FOUND, "partition %lu: shard %s has partitions 0 to %u",
                     index, shard->name, count - 1);
        return;
    }
    struct cp_lane *lane = &shard->lanes[index];
    if (lane->loop == cp_front(shard)->loop) {
        operate_in(lane, call);
        return;
    }
    struct operator_post *post = sy_new(struct operator_post);
    post->post.run = operator_arrived;
    post->post.drop = operator_dropped;
    post->lane = lane;
    post->call = call;
    sy_call_rehome(call, lane->loop, operator_arrives, post);
}

/* ---- who serves ---- */

static void look(void *arg)
{
    struct cp_lane *lane = arg;
    struct cp_serving *serving = &lane->serving;
    cp_shard_region_look(lane);
    if (lane->forwards != NULL)
        cp_forwards_look(lane->forwards);
    cp_queue_sync_look(lane);
    cp_cluster_rolls_look(lane);
    serving->now = cp_partition_serving(lane->partition);
    if (serving->now != serving->told)
        cp_lane_post(lane, cp_front(lane->shard), &serving->post);
    else
        sy_timer_start_in(lane->loop, &serving->timer,
                          serving->told || cp_partition_away(lane->partition) ? LOOK_NS
                                                                              : START_LOOK_NS);
}

void cp_shard_look_soon(struct cp_lane *lane)
{
    if (sy_timer_running(&lane->serving.timer)) /* else the front is being told */
        sy_timer_start_in(lane->loop, &lane->serving.timer, 0);
}

static void serving_heard(struct cp_post *post);

static void serving_told(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, serving.post);
    post->run = serving_heard;
    lane->serving.told = lane->serving.now;
    look(lane);
}

/* Each partition is, here or at another shard. */
static bool all_served(const struct cp_shard *shard)
{
    for (uint32_t i = 0; i < cp_shard_partitions(shard); i++) {
        if (!cp_shard_serves(shard, i) &&
            (shard->in_region == NULL || cp_region_elsewhere(shard->in_region, i) == NULL))
            return false;
    }
    return true;
}

void cp_shard_changed(void *arg)
{
    struct cp_shard *shard = arg;
    bool all = all_served(shard);
    (void)cp_cluster_rolls_refresh(shard);
    cp_describe_changed(shard);
    cp_follows_look(shard);
    pb_health_set_serving(shard->health, all && !shard->stopping);
    cp_region_watches_look(shard);
    if (shard->in_region != NULL)
        cp_forwards_look(shard->forwards);
    if (!all || shard->announced)
        return;
    shard->announced = true;
    sy_log(shard->log, &cp_shard_events, CP_SHARD_EV_STARTED, SY_STR("name", shard->name),
           SY_STR("listen", shard->listen), SY_U64("port", (uint64_t)cp_shard_port(shard)),
           SY_U64("partitions", cp_shard_partitions(shard)));
    if (shard->on_serving != NULL)
        shard->on_serving(shard->serving_ctx);
}

static void serving_heard(struct cp_post *post)
{
    struct cp_lane *lane = sy_container_of(post, struct cp_lane, serving.post);
    struct cp_shard *shard = lane->shard;
    lane->serving.heard = lane->serving.now;
    cp_shard_changed(shard);
    post->run = serving_told;
    cp_lane_post(cp_front(shard), lane, post);
}

void cp_shard_on_serving(struct cp_shard *shard, sy_fn fn, void *ctx)
{
    SY_ASSERT(!shard->announced);
    shard->on_serving = fn;
    shard->serving_ctx = ctx;
}

static void start_looking(struct cp_shard *shard)
{
    for (uint32_t i = 0; i < shard->room; i++) {
        struct cp_lane *lane = &shard->lanes[i];
        lane->serving.post.run = serving_heard;
        cp_queue_sync_init(lane);
        cp_queue_tokens_init(lane);
        sy_timer_init(&lane->serving.timer, look, lane);
        sy_timer_start_in(lane->loop, &lane->serving.timer, 0);
    }
}

/* ---- set-up ---- */

static int check_options(const struct cp_shard_options *options, struct sy_error_text *error)
{
    if (options->partitions < 1 || options->partitions > PARTITIONS_MAX) {
        sy_error_text_set(error, "partitions: %u is not within 1 to %d", options->partitions,
                          PARTITIONS_MAX);
        return -EINVAL;
    }
    uint32_t max = options->partitions_max;
    if (max != 0 && (max < options->partitions || max > PARTITIONS_MAX || options->etcd == NULL)) {
        sy_error_text_set(error,
                          "partitions_max: %u is not within partitions (%u) and %d, or this "
                          "shard has no region",
                          max, options->partitions, PARTITIONS_MAX);
        return -EINVAL;
    }
    if (cp_name_check("name", options->name, error) < 0 ||
        cp_name_check("region", options->region, error) < 0)
        return -EINVAL;
    return 0;
}

static void add_methods(struct cp_shard *shard, struct sy_loop *loop)
{
    size_t count = 0;
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++) {
        for (const struct cp_method *m = tables[i]; m->path != NULL; m++)
            count++;
    }
    shard->bindings = sy_calloc(count, sizeof(*shard->bindings));
    for (size_t i = 0; i < SY_COUNT_OF(tables); i++) {
        for (const struct cp_method *m = tables[i]; m->path != NULL; m++) {
            struct cp_binding *binding = &shard->bindings[shard->binding_count++];
            *binding = (struct cp_binding){shard, m};
            sy_server_add(shard->server, &(struct sy_method){.path = m->path,
                                                             .kind = m->kind,
                                                             .handler = cp_method_handle,
                                                             .ctx = binding,
                                                             .loop = loop});
        }
    }
    SY_ASSERT(shard->binding_count == count);
    sy_server_add(shard->server,
                  &(struct sy_method){.path = "/switchyard.internal.ControlPlane/Operate",
                                      .kind = SY_METHOD_BIDI,
                                      .handler = operate,
                                      .ctx = shard,
                                      .loop = loop});
    cp_peers_serve(shard, loop);
    cp_copying_serve(shard, loop);
    sy_server_carry(shard->server, loop); /* what other shards pass on */
}

static int open_partitions(struct cp_shard *shard, const struct cp_shard_ports *ports,
                           struct sy_error_text *error)
{
    for (uint32_t i = 0; i < shard->room; i++) {
        struct cp_lane *lane = &shard->lanes[i];
        struct cp_partition_options options = shard->options.partition;
        options.partition = i;
        options.partitions = cp_shard_partitions(shard);
        options.ranges = &shard->ranges;
        options.shard = shard->name;
        options.region = shard->region;
        options.endpoint = shard->endpoint;
        options.registered_only = shard->options.registration_required;
        if (shard->in_region != NULL) {
            options.away = true;
            options.right_until_ns = cp_region_right_until_ns(shard->in_region, i);
            if (shard->options.copies != NULL)
                cp_copying_new(lane, shard->options.copies, &ports->openers[i]);
            options.replication = cp_copying_replication(lane);
        }
        int r = cp_partition_new(&lane->partition, &options, lane->loop, &lane->rng, ports->log,
                                 &ports->openers[i], error);
        if (r < 0)
            return sy_trace(r);
    }
    return 0;
}

static int bind_server(struct cp_shard *shard, const struct cp_shard_ports *ports,
                       struct sy_error_text *error)
{
    struct sy_server_options options = {
        .http = true,
        .codec = pb_json_codec(),
        .address = shard->listen,
        .allow_origins = shard->options.allow_origins,
        .allow_origin_count = shard->options.allow_origin_count,
        .send_buffer_max = CP_SEND_BUFFER_MAX,
        .streams_max = shard->options.streams_max,
    };
    int r = sy_server_new(&shard->server, ports->rpc, &options, error);
    if (r < 0)
        return sy_trace(r);
    add_methods(shard, cp_front(shard)->loop);
    shard->health = pb_health_new(shard->server, cp_front(shard)->loop);
    pb_reflection_add(shard->server, cp_front(shard)->loop);
    return sy_trace(sy_server_bind(shard->server, error));
}

static int bind_console(struct cp_shard *shard, const struct cp_shard_options *options,
                        const struct cp_shard_ports *ports, struct sy_error_text *error)
{
    const char *listen = options->console_listen;
    if (listen == NULL || listen[0] == '\0')
        return 0;
    return sy_trace(cp_console_new(&shard->console, listen, ports->rpc, shard->server,
                                   shard->listen, cp_front(shard)->loop, error));
}

/* When all that may fail has been done: what has started can only be freed after a drain. */
static void start_servers(struct cp_shard *shard)
{
    int r = sy_server_start(shard->server, NULL);
    SY_ASSERT(r == 0);
    if (shard->console != NULL)
        cp_console_start(shard->console);
}

static struct cp_shard *shard_alloc(const struct cp_shard_options *options,
                                    const struct cp_shard_ports *ports)
{
    struct cp_shard *shard = sy_new(struct cp_shard);
    shard->options = *options;
    shard->name = sy_strdup(options->name);
    shard->region = sy_strdup(options->region);
    shard->listen = sy_strdup(options->listen);
    shard->options.name = shard->name;
    if (shard->options.queues_max == 0)
        shard->options.queues_max = CP_QUEUES_MAX_DEFAULT;
    shard->options.region = shard->region;
    shard->options.listen = shard->listen;
    shard->endpoint = sy_strdup(options->endpoint != NULL ? options->endpoint : "");
    shard->options.endpoint = shard->endpoint;
    shard->rpc = ports->rpc;
    shard->log = ports->log;
    cp_ranges_set(&shard->ranges, cp_ranges_new_even(options->partitions));
    shard->room = options->partitions_max > 0 ? options->partitions_max : options->partitions;
    sy_rng_init(&shard->rng, ports->seed);
    shard->lane_count = shard->room + (ports->front != NULL);
    shard->lanes = sy_calloc(shard->lane_count, sizeof(*shard->lanes));
    shard->front = &shard->lanes[ports->front != NULL ? shard->room : 0];
    for (uint32_t i = 0; i < shard->lane_count; i++) {
        cp_lane_init(&shard->lanes[i], shard, i, i < shard->room ? ports->loops[i] : ports->front);
        sy_rng_init(&shard->lanes[i].rng, sy_rng_u64(&shard->rng));
    }
    return shard;
}

static void join_region(struct cp_shard *shard, const struct cp_shard_options *options)
{
    struct cp_region_options region = {.name = shard->region,
                                       .shard = shard->name,
                                       .endpoint = shard->options.endpoint,
                                       .version = SY_VERSION,
                                       .partitions = options->partitions,
                                       .partitions_max = shard->room,
                                       .storage = options->storage,
                                       .copies = options->copies,
                                       .standby_wait_ns = options->standby_wait_ns,
                                       .etcd = options->etcd,
                                       .pace = options->pace,
                                       .process = options->process,
                                       .witness = options->witness,
                                       .disk_probe = options->disk_probe};
    cp_shard_region_init(shard, cp_front(shard)->loop, &region);
}

int cp_shard_new(struct cp_shard **ret_shard, const struct cp_shard_options *options,
                 const struct cp_shard_ports *ports, struct sy_error_text *error)
{
    int r = check_options(options, error);
    if (r < 0)
        return sy_trace(r);
    struct cp_shard *shard = shard_alloc(options, ports);
    if (options->etcd != NULL)
        join_region(shard, options);
    cp_cluster_rolls_new(shard, cp_front(shard)->loop);
    r = open_partitions(shard, ports, error);
    if (r == 0)
        r = bind_server(shard, ports, error);
    if (r == 0)
        r = bind_console(shard, options, ports, error);
    if (r == 0 && options->backups != NULL)
        r = cp_backups_new(&shard->backups, shard, options->backups, cp_front(shard)->loop, error);
    if (r < 0) {
        sy_log(ports->log, &cp_shard_events, CP_SHARD_EV_START_FAILED,
               SY_STR("error", error != NULL ? error->text : NULL));
        cp_shard_free(shard);
        return sy_trace(r);
    }
    start_servers(shard);
    start_looking(shard);
    *ret_shard = shard;
    return 0;
}

/* ---- the end ---- */

struct cp_stop {
    struct cp_post post;
    struct cp_lane *lane;
};

static void check_stopped(struct cp_shard *shard)
{
    if (!shard->drained || shard->lanes_running > 0)
        return;
    sy_log(shard->log, &cp_shard_events, CP_SHARD_EV_STOPPED, SY_STR("name", shard->name));
    shard->on_stopped(shard->stopped_ctx);
}

static void lane_stopped(struct cp_post *post)
{
    struct cp_shard *shard = sy_container_of(post, struct cp_stop, post)->lane->shard;
    SY_ASSERT(shard->lanes_running > 0);
    shard->lanes_running--;
    check_stopped(shard);
}

static void partition_stopped(void *arg)
{
    struct cp_stop *stop = arg;
    stop->post.run = lane_stopped;
    cp_lane_post(stop->lane, cp_front(stop->lane->shard), &stop->post);
}

static void stop_lane(struct cp_post *post)
{
    struct cp_stop *stop = sy_container_of(post, struct cp_stop, post);
    /* Its watches hear that nothing serves them any more, and end their streams. */
    cp_partition_stop(stop->lane->partition, partition_stopped, stop);
    (void)cp_copying_yield(stop->lane, NULL, NULL);
}

static void on_console_stopped(void *arg)
{
    struct cp_shard *shard = arg;
    shard->drained = true;
    check_stopped(shard);
}

static void on_drained(void *arg)
{
    struct cp_shard *shard = arg;
    if (shard->console != NULL)
        cp_console_stop(shard->console, on_console_stopped, shard);
    else
        on_console_stopped(shard);
}

static void drain(void *arg)
{
    struct cp_shard *shard = arg;
    cp_describe_end(shard);
    if (shard->in_region != NULL) {
        cp_forwards_end_streams(shard->forwards);
        cp_follows_end(shard);
    }
    sy_server_drain(shard->server, shard->grace_ns, cp_front(shard)->loop, on_drained, shard);
    for (uint32_t i = 0; i < shard->room; i++) {
        shard->stops[i] = (struct cp_stop){.post.run = stop_lane, .lane = &shard->lanes[i]};
        cp_lane_post(cp_front(shard), &shard->lanes[i], &shard->stops[i].post);
    }
}

static void left_region(void *arg)
{
    struct cp_shard *shard = arg;
    sy_timer_init(&shard->linger, drain, shard);
    sy_timer_start_in(cp_front(shard)->loop, &shard->linger, LINGER_NS);
}

/* In a region it first gives its partitions away, and says to who asks for them meanwhile, and for
 * a moment more, that it has them no more: a server that drains would only be found gone. */
void cp_shard_stop(struct cp_shard *shard, int64_t grace_ns, sy_fn done, void *ctx)
{
    SY_ASSERT(!shard->stopping && done != NULL);
    uint32_t count = shard->room;
    sy_log(shard->log, &cp_shard_events, CP_SHARD_EV_STOPPING, SY_STR("name", shard->name),
           SY_U64("calls", sy_server_calls(shard->server)));
    shard->stopping = true;
    shard->on_stopped = done;
    shard->stopped_ctx = ctx;
    shard->grace_ns = grace_ns;
    shard->lanes_running = count;
    shard->stops = sy_calloc(count, sizeof(*shard->stops));
    pb_health_stop(shard->health);
    cp_region_watches_look(shard);
    if (shard->in_region != NULL)
        cp_region_leave(shard->in_region, left_region, shard);
    else
        drain(shard);
}

void cp_shard_free(struct cp_shard *shard)
{
    if (shard == NULL)
        return;
    uint32_t count = shard->room;
    shard->freeing = true;
    for (uint32_t i = 0; i < shard->lane_count; i++) {
        cp_lane_drop(&shard->lanes[i]);
        cp_queue_take_drop(&shard->lanes[i]);
        if (sy_timer_running(&shard->lanes[i].serving.timer))
            sy_timer_stop(shard->lanes[i].loop, &shard->lanes[i].serving.timer);
    }
    for (uint32_t i = 0; i < shard->lane_count; i++)
        cp_lane_deinit(&shard->lanes[i]);
    if (sy_timer_running(&shard->linger))
        sy_timer_stop(cp_front(shard)->loop, &shard->linger);
    cp_backups_free(shard->backups);
    cp_runs_watches_free(shard);
    cp_groups_watches_free(shard);
    for (uint32_t i = 0; i < count; i++) {
        if (shard->lanes[i].partition != NULL)
            cp_partition_free(shard->lanes[i].partition);
        cp_copying_free(&shard->lanes[i]);
    }
    cp_tokens_free(shard);
    cp_cluster_writes_free(shard);
    cp_cluster_rolls_free(shard);
    cp_shard_region_deinit(shard);
    pb_health_free(shard->health);
    cp_console_free(shard->console);
    sy_server_free(shard->server);
    free(shard->lanes);
    cp_ranges_now_deinit(&shard->ranges);
    free(shard->stops);
    free(shard->bindings);
    free(shard->endpoint);
    free(shard->listen);
    free(shard->region);
    free(shard->name);
    free(shard);
}
