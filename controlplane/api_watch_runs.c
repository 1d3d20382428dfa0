/*
 * RunService.WatchRuns: the newest runs of every partition, then those that change.
 *
 * A feeder in each partition's lane reads one message's worth when the front asks, and hands it
 * over; the front asks again when the client has taken it. So one message for each partition is all
 * that waits for a client that stops reading.
 *
 *     front                       feeder (partition's lane)
 *       | -- ask ------------------> | reads the list, then what changed
 *       | <------------- give ------ | (now, or when something changes)
 *       | -- stop -----------------> | detaches its watch
 *       | <------------- gone ------ | the last of all: the request may be freed
 */
#include "base/mem.h"
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "flyteidl2/workflow/run_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* Of each partition, and rows passed to find them; older ones are for ListRuns. */
#define NEWEST_RUNS 1000
#define NEWEST_SCAN_MAX 20000
#define CHUNK_SCAN_MAX 1024

struct feeder {
    struct cp_runs_watch *watch;
    struct cp_lane *lane;
    struct cp_post ask, stop; /* each goes there and back */
    /* the partition's side */
    struct cp_watch *changes;
    uint64_t before; /* cursor of the list */
    size_t listed, scanned;
    bool listing, asked;
    bool stopped;
    bool again; /* `ask` is on its way to the same lane, to go on reading */
    /* with `give` */
    struct sy_buf message;
    struct sy_status status;
    /* the front's side */
    bool given;
};

/* Outlives its request until every feeder is gone; then, or with the shard, it is freed. */
struct cp_runs_watch {
    struct cp_runs_watch *prev, *next; /* in shard->runs_watches */
    struct cp_shard *shard;
    struct cp_request *req;                        /* NULL: its call has closed */
    char *org, *project, *domain, *task, *version; /* "" = all */
    uint32_t count, running;
    struct feeder feeders[];
};

/* ---- in the partition's lane ---- */

static bool wanted(const struct cp_runs_watch *w, const struct cp_run_view *run)
{
    return (w->project[0] == '\0' || strcmp(w->project, run->row->project) == 0) &&
           (w->domain[0] == '\0' || strcmp(w->domain, run->row->domain) == 0);
}

static int feed_run(struct feeder *feeder, struct sy_arena *arena, const struct cp_run_view *run)
{
    const struct cp_runs_watch *w = feeder->watch;
    struct cp_action_view root;
    const struct cp_task_names *names;
    int r = cp_partition_get_action(feeder->lane->partition, arena, run->id, SCH_ROOT_NAME, &root);
    if (r == CP_PARTITION_E_NOT_FOUND)
        return 0;
    if (r == 0)
        r = cp_view_names(feeder->lane, &root, &names);
    if (r != 0)
        return r;
    if ((w->task[0] != '\0' && strcmp(w->task, names->name) != 0) ||
        (w->version[0] != '\0' && strcmp(w->version, names->version) != 0))
        return 0;
    struct cp_flyte f = {arena, w->org, run->row->project, run->row->domain, run->row->name};
    Flyteidl2__Workflow__Run *item = cp_flyte_run(&f, &root, names, run->row);
    Flyteidl2__Workflow__WatchRunsResponse response =
        FLYTEIDL2__WORKFLOW__WATCH_RUNS_RESPONSE__INIT;
    response.n_runs = 1;
    response.runs = &item;
    pb_pack(&response.base, &feeder->message);
    return 0;
}

struct runs_chunk {
    const struct cp_runs_watch *watch;
    struct cp_run_view runs[CP_CHUNK_ROWS];
    size_t count, scanned;
    uint64_t last;
    bool stopped;
};

static bool take_run(void *ctx, const struct cp_run_view *run)
{
    struct runs_chunk *chunk = ctx;
    chunk->scanned++;
    chunk->last = run->id;
    if (wanted(chunk->watch, run))
        chunk->runs[chunk->count++] = *run;
    chunk->stopped = chunk->count == CP_CHUNK_ROWS || chunk->scanned == CHUNK_SCAN_MAX;
    return !chunk->stopped;
}

static int feed_list(struct feeder *feeder)
{
    struct sy_arena *arena = cp_scratch(feeder->lane);
    struct runs_chunk chunk = {.watch = feeder->watch};
    int r = cp_partition_list_runs(feeder->lane->partition, arena, feeder->before, false, take_run,
                                   &chunk);
    for (size_t i = 0; r == 0 && i < chunk.count; i++)
        r = feed_run(feeder, arena, &chunk.runs[i]);
    feeder->before = chunk.last;
    feeder->listed += chunk.count;
    feeder->scanned += chunk.scanned;
    feeder->listing = chunk.stopped && feeder->listed < NEWEST_RUNS &&
                      feeder->scanned < NEWEST_SCAN_MAX;
    return r;
}

static int feed_changes(struct feeder *feeder, bool *ret_more)
{
    uint64_t ids[CP_CHUNK_ROWS];
    size_t count = cp_watch_read_runs(feeder->changes, ids, CP_CHUNK_ROWS);
    struct sy_arena *arena = cp_scratch(feeder->lane);
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        struct cp_run_view run;
        r = cp_partition_get_run_by_id(feeder->lane->partition, arena, ids[i], &run);
        if (r == CP_PARTITION_E_NOT_FOUND)
            r = 0;
        else if (r == 0 && wanted(feeder->watch, &run))
            r = feed_run(feeder, arena, &run);
    }
    *ret_more = count == CP_CHUNK_ROWS;
    return r;
}

static void set_read_status(struct feeder *feeder, int r)
{
    if (r == CP_PARTITION_E_NOT_SERVING)
        cp_status_not_serving(&feeder->status, feeder->lane);
    else
        sy_status_set(&feeder->status, SY_CODE_INTERNAL,
                      "reading from the store of partition %u failed: %s", feeder->lane->index,
                      strerror(r < 0 ? -r : EIO));
}

static void give_arrived(struct cp_post *post);

/* Gives what there is, if the front waits for it. */
static void feed(struct feeder *feeder)
{
    if (!feeder->asked || feeder->again)
        return;
    bool more = true;
    int r = cp_partition_serving(feeder->lane->partition) ? 0 : CP_PARTITION_E_NOT_SERVING;
    if (r == 0 && feeder->listing)
        r = feed_list(feeder);
    else if (r == 0)
        r = feed_changes(feeder, &more);
    if (r != 0)
        set_read_status(feeder, r);
    if (r == 0 && feeder->message.len == 0) {
        feeder->again = more; /* else feeder_more() follows */
        if (more)
            cp_lane_post(feeder->lane, feeder->lane, &feeder->ask);
        return;
    }
    feeder->asked = false;
    feeder->ask.run = give_arrived;
    cp_lane_post(feeder->lane, cp_front(feeder->lane->shard), &feeder->ask);
}

static void feeder_more(void *arg)
{
    feed(arg);
}

static void gone_arrived(struct cp_post *post);

static void gone(struct feeder *feeder)
{
    feeder->stop.run = gone_arrived;
    cp_lane_post(feeder->lane, cp_front(feeder->lane->shard), &feeder->stop);
}

static void ask_arrived(struct cp_post *post)
{
    struct feeder *feeder = sy_container_of(post, struct feeder, ask);
    const struct cp_runs_watch *w = feeder->watch;
    feeder->again = false;
    if (feeder->stopped) {
        gone(feeder);
        return;
    }
    feeder->asked = true;
    /* Before the list is read, so that no change falls between them. */
    if (feeder->changes == NULL && cp_partition_serving(feeder->lane->partition))
        feeder->changes = cp_watch_runs(feeder->lane->partition, w->project, w->domain, feeder_more,
                                        feeder);
    feed(feeder);
}

static void stop_arrived(struct cp_post *post)
{
    struct feeder *feeder = sy_container_of(post, struct feeder, stop);
    feeder->asked = false;
    feeder->stopped = true;
    if (feeder->changes != NULL)
        cp_watch_free(sy_take(feeder->changes));
    if (!feeder->again)
        gone(feeder);
}

/* ---- on the front ---- */

static void ask(struct feeder *feeder)
{
    feeder->ask.run = ask_arrived;
    cp_lane_post(cp_front(feeder->watch->shard), feeder->lane, &feeder->ask);
}

static void watch_free(struct cp_runs_watch *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->feeders[i].changes != NULL)
            cp_watch_free(w->feeders[i].changes);
        sy_buf_deinit(&w->feeders[i].message);
        sy_status_deinit(&w->feeders[i].status);
    }
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        w->shard->runs_watches = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    free(w->org);
    free(w->project);
    free(w->domain);
    free(w->task);
    free(w->version);
    free(w);
}

void cp_runs_watches_free(struct cp_shard *shard)
{
    while (shard->runs_watches != NULL)
        watch_free(shard->runs_watches);
}

static void pump_runs(struct cp_request *req)
{
    struct cp_runs_watch *w = req->state;
    for (uint32_t i = 0; i < w->count && cp_stream_ready(req); i++) {
        struct feeder *feeder = &w->feeders[i];
        if (!feeder->given)
            continue;
        feeder->given = false;
        if (feeder->status.code != SY_CODE_OK) {
            cp_fail_status(req, &feeder->status);
            return;
        }
        cp_stream_send(req, &feeder->message);
        ask(feeder);
    }
}

static void give_arrived(struct cp_post *post)
{
    struct feeder *feeder = sy_container_of(post, struct feeder, ask);
    feeder->given = true;
    if (feeder->watch->req != NULL)
        cp_stream_more(feeder->watch->req);
}

static void gone_arrived(struct cp_post *post)
{
    struct cp_runs_watch *w = sy_container_of(post, struct feeder, stop)->watch;
    SY_ASSERT(w->running > 0);
    if (--w->running == 0)
        watch_free(w);
}

/* The call has closed. Posts keep their order, so "gone" is the last that comes from a feeder. */
static void release_runs(struct cp_request *req)
{
    struct cp_runs_watch *w = req->state;
    w->req = NULL;
    for (uint32_t i = 0; i < w->count && !w->shard->freeing; i++) {
        w->feeders[i].stop.run = stop_arrived;
        cp_lane_post(cp_front(w->shard), w->feeders[i].lane, &w->feeders[i].stop);
    }
}

struct scope {
    const char *org, *project, *domain, *task, *version;
};

static int read_target(const Flyteidl2__Workflow__WatchRunsRequest *m, struct scope *ret,
                       struct sy_error_text *error)
{
    *ret = (struct scope){"", "", "", "", ""};
    switch (m->target_case) {
    case FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__TARGET_ORG:
        ret->org = m->org;
        break;
    case FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__TARGET_PROJECT_ID:
        *ret = (struct scope){m->project_id->organization, m->project_id->name,
                              m->project_id->domain, "", ""};
        break;
    case FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__TARGET_TASK_ID:
        *ret = (struct scope){m->task_id->org, m->task_id->project, m->task_id->domain,
                              m->task_id->name, m->task_id->version};
        break;
    case FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__TARGET_CLUSTER_ID:
        sy_error_text_set(error, "target cluster_id: a run's actions may run on several clusters; "
                                 "watch a project and look at its actions");
        return -EINVAL;
    default:
        break;
    }
    if (cp_text_check("organization", ret->org, 255, error) < 0 ||
        cp_text_check("task_id.name", ret->task, CP_TEXT_MAX, error) < 0)
        return -EINVAL;
    if (ret->project[0] != '\0' && cp_name_check("project", ret->project, error) < 0)
        return -EINVAL;
    return ret->domain[0] != '\0' ? cp_name_check("domain", ret->domain, error) : 0;
}

static struct cp_runs_watch *watch_new(struct cp_request *req, const struct scope *scope)
{
    struct cp_shard *shard = req->lane->shard;
    uint32_t count = shard->options.partitions;
    struct cp_runs_watch *w = sy_calloc(1, sizeof(*w) + count * sizeof(w->feeders[0]));
    w->shard = shard;
    w->req = req;
    w->org = sy_strdup(scope->org);
    w->project = sy_strdup(scope->project);
    w->domain = sy_strdup(scope->domain);
    w->task = sy_strdup(scope->task);
    w->version = sy_strdup(scope->version);
    w->count = w->running = count;
    w->next = shard->runs_watches;
    if (w->next != NULL)
        w->next->prev = w;
    shard->runs_watches = w;
    for (uint32_t i = 0; i < count; i++) {
        w->feeders[i].watch = w;
        w->feeders[i].lane = &shard->lanes[i];
        w->feeders[i].listing = true;
    }
    return w;
}

void cp_runs_watch_serve(struct cp_request *req)
{
    struct sy_error_text error = {0};
    struct scope scope;
    if (read_target(req->message, &scope, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    struct cp_runs_watch *w = watch_new(req, &scope);
    req->state = w;
    cp_stream_start(req, pump_runs, release_runs);
    for (uint32_t i = 0; i < w->count; i++)
        ask(&w->feeders[i]);
}
