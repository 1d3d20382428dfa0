/*
 * RunService.WatchRuns: the newest runs of every partition, then those that change.
 *
 * A feeder for each partition has one message's worth for the front, which takes the next when the
 * client has taken it. So one message for each partition is all that waits for a client that stops
 * reading. Of a partition that is here it comes from the partition's lane, else from another shard
 * (follow.h), whose feeder does the same for this one's front.
 *
 *     front                       feeder (partition's lane)
 *       | -- ask ------------------> | reads the list, then what changed
 *       | <------------- give ------ | (now, or when something changes)
 *       | -- stop -----------------> | detaches its watch
 *       | <------------- gone ------ | the last of all: the request may be freed
 *
 * Changes are gathered for CHANGES_PACE_NS, so that many runs cost few messages, and a run that
 * begins and ends meanwhile is told once; the first change after a rest is given at once.
 *
 * Where the partition is next the feeder resumes: it lists the runs that may have changed since all
 * that was known had been given, which needs two things from the last place. No run with an id
 * below `oldest` can have changed; of the others those are given that live, or ended after `since`.
 */
#include "base/mem.h"
#include "controlplane/follow.h"
#include "controlplane/names.h"
#include "proto/pb.h"

#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/internal/watch_parts.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of each partition, and rows passed to find them; older ones are for ListRuns. */
#define NEWEST_RUNS 1000
#define NEWEST_SCAN_MAX 20000
#define CHUNK_SCAN_MAX 1024
#define CHANGES_PACE_NS (10 * SY_NS_PER_MS)
/* Two shards' clocks, and a change on its way to the disk: less than this. */
#define CLOCKS_APART_NS (60 * SY_NS_PER_S)

struct resume {
    uint64_t oldest; /* 0: not known; the newest runs are listed */
    int64_t since_ns;
};

struct feeder {
    struct cp_follow follow; /* the front's */
    struct cp_runs_watch *watch;
    struct cp_lane *lane;
    struct cp_post ask, stop; /* each goes there and back */
    /* the partition's side */
    struct cp_watch *changes;
    struct resume from; /* what the list begins with */
    uint64_t oldest;    /* when the watch was made */
    uint64_t before;    /* cursor of the list */
    size_t listed, scanned;
    bool listing, asked;
    bool stopped;
    bool again; /* `ask` is on its way to the same lane, to go on reading */
    bool more;  /* the last read took all that it may, not all there is */
    int64_t given_ns;
    struct sy_timer pace;
    bool told; /* a `resume` of this place */
    /* with `ask` */
    bool begin; /* from `resume` on */
    /* with both */
    struct resume resume;
    /* with `give` */
    struct sy_buf message;
    struct sy_status status;
    bool read; /* `resume` is of now */
    /* the front's side */
    bool given;
};

/* Outlives its request until every feeder is gone; then, or with the shard, it is freed. */
struct cp_runs_watch {
    struct cp_runs_watch *prev, *next; /* in shard->runs_watches */
    struct cp_shard *shard;
    struct cp_request *req;                        /* NULL: its call has closed */
    char *org, *project, *domain, *task, *version; /* "" = all */
    struct sy_buf request;                         /* as it goes to other shards */
    bool part;                                     /* of another shard's stream */
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
    const struct feeder *feeder;
    struct cp_run_view runs[CP_CHUNK_ROWS];
    size_t count, scanned;
    uint64_t last;
    bool stopped;
};

static bool may_have_changed(const struct resume *from, const struct cp_run_view *run)
{
    return !cp_phase_final(run->row->phase) || run->row->finished_ns >= from->since_ns;
}

static bool take_run(void *ctx, const struct cp_run_view *run)
{
    struct runs_chunk *chunk = ctx;
    const struct resume *from = &chunk->feeder->from;
    if (run->id < from->oldest)
        return false;
    chunk->scanned++;
    chunk->last = run->id;
    if (wanted(chunk->feeder->watch, run) && (from->oldest == 0 || may_have_changed(from, run)))
        chunk->runs[chunk->count++] = *run;
    chunk->stopped = chunk->count == CP_CHUNK_ROWS || chunk->scanned == CHUNK_SCAN_MAX;
    return !chunk->stopped;
}

static int feed_list(struct feeder *feeder)
{
    struct sy_arena *arena = cp_scratch(feeder->lane);
    struct runs_chunk chunk = {.feeder = feeder};
    int r = cp_partition_list_runs(feeder->lane->partition, arena, feeder->before, false, take_run,
                                   &chunk);
    for (size_t i = 0; r == 0 && i < chunk.count; i++)
        r = feed_run(feeder, arena, &chunk.runs[i]);
    feeder->before = chunk.last;
    feeder->listed += chunk.count;
    feeder->scanned += chunk.scanned;
    feeder->listing = chunk.stopped &&
                      (feeder->from.oldest != 0 ||
                       (feeder->listed < NEWEST_RUNS && feeder->scanned < NEWEST_SCAN_MAX));
    return r;
}

static int feed_changes(struct feeder *feeder)
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
    feeder->more = count == CP_CHUNK_ROWS;
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

static int feed_some(struct feeder *feeder)
{
    /* It may have stepped down and be open again: then this watch hears nothing any more. */
    if (feeder->changes == NULL || !cp_watch_can_read(feeder->changes))
        return CP_PARTITION_E_NOT_SERVING;
    int r = feeder->listing ? feed_list(feeder) : feed_changes(feeder);
    feeder->read = r == 0 && !feeder->listing && cp_watch_runs_are_read(feeder->changes);
    if (feeder->read)
        feeder->resume = (struct resume){feeder->oldest,
                                         sy_loop_realtime_ns(feeder->lane->loop) - CLOCKS_APART_NS};
    return r;
}

void cp_runs_watches_look(struct cp_shard *shard)
{
    for (struct cp_runs_watch *w = shard->runs_watches; w != NULL; w = w->next) {
        if (w->req != NULL)
            cp_stream_again_in(w->req, 0);
    }
}

static void give_arrived(struct cp_post *post);

/* True: what changed is gathered, `pace` feeds. */
static bool gathers(struct feeder *feeder)
{
    struct sy_loop *loop = feeder->lane->loop;
    int64_t due_ns = feeder->given_ns + CHANGES_PACE_NS;
    if (feeder->listing || feeder->more || sy_loop_now_ns(loop) >= due_ns)
        return false;
    if (!sy_timer_running(&feeder->pace))
        sy_timer_start(loop, &feeder->pace, due_ns);
    return true;
}

/* Gives what there is, if the front waits for it. */
static void feed(struct feeder *feeder)
{
    if (!feeder->asked || feeder->again || gathers(feeder))
        return;
    feeder->more = feeder->listing;
    int r = feed_some(feeder);
    if (r != 0)
        set_read_status(feeder, r);
    bool tell = feeder->watch->part && feeder->read && !feeder->told;
    if (r == 0 && feeder->message.len == 0 && !tell) {
        feeder->again = feeder->more; /* else feeder_more() follows */
        if (feeder->more)
            cp_lane_post(feeder->lane, feeder->lane, &feeder->ask);
        return;
    }
    feeder->told = feeder->told || feeder->read;
    feeder->asked = false;
    feeder->given_ns = sy_loop_now_ns(feeder->lane->loop);
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

/* The watch is there before the list is read, so that no change falls between them. */
static void begin(struct feeder *feeder)
{
    struct cp_partition *p = feeder->lane->partition;
    const struct cp_runs_watch *w = feeder->watch;
    cp_watch_free(sy_take(feeder->changes));
    feeder->begin = false;
    feeder->from = feeder->resume;
    feeder->before = 0;
    feeder->listed = feeder->scanned = 0;
    feeder->listing = true;
    feeder->told = false;
    if (!cp_partition_serving(p))
        return;
    feeder->changes = cp_watch_runs(p, w->project, w->domain, feeder_more, feeder);
    feeder->oldest = cp_partition_oldest_run(p);
}

static void ask_arrived(struct cp_post *post)
{
    struct feeder *feeder = sy_container_of(post, struct feeder, ask);
    feeder->again = false;
    if (feeder->stopped) {
        gone(feeder);
        return;
    }
    feeder->asked = true;
    if (feeder->begin)
        begin(feeder);
    feed(feeder);
}

static void stop_arrived(struct cp_post *post)
{
    struct feeder *feeder = sy_container_of(post, struct feeder, stop);
    feeder->asked = false;
    feeder->stopped = true;
    sy_timer_stop(feeder->lane->loop, &feeder->pace);
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
        struct feeder *feeder = &w->feeders[i];
        if (sy_timer_running(&feeder->pace)) /* the shard is freed */
            sy_timer_stop(feeder->lane->loop, &feeder->pace);
        cp_watch_free(feeder->changes);
        sy_buf_deinit(&feeder->message);
        sy_status_deinit(&feeder->status);
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
    sy_buf_deinit(&w->request);
    free(w);
}

void cp_runs_watches_free(struct cp_shard *shard)
{
    while (shard->runs_watches != NULL)
        watch_free(shard->runs_watches);
}

/* As another shard takes it. */
static void wrap(struct feeder *feeder)
{
    Switchyard__Internal__RunsPart part = SWITCHYARD__INTERNAL__RUNS_PART__INIT;
    Switchyard__Internal__RunsResume resume = SWITCHYARD__INTERNAL__RUNS_RESUME__INIT;
    part.runs = (ProtobufCBinaryData){feeder->message.len, feeder->message.data};
    resume.oldest = feeder->resume.oldest;
    resume.since_ns = feeder->resume.since_ns;
    if (feeder->read)
        part.resume = &resume;
    struct sy_buf wrapped = {0};
    pb_pack(&part.base, &wrapped);
    sy_buf_deinit(&feeder->message);
    feeder->message = wrapped;
}

/* What it gave is with the client: the next. */
static void go_on(struct feeder *feeder)
{
    if (feeder->follow.place == CP_HERE)
        ask(feeder);
    else
        cp_follow_hold(&feeder->follow, false);
}

/* For the shard that is asked next. */
static void write_resume(struct feeder *feeder)
{
    const struct resume *resume = &feeder->resume;
    if (resume->oldest != 0)
        snprintf(feeder->follow.resume, sizeof(feeder->follow.resume), "%" PRIu64 ".%" PRId64,
                 resume->oldest, resume->since_ns);
}

/* False: the stream ends. */
static bool take_status(struct feeder *feeder)
{
    struct sy_status status = feeder->status;
    feeder->status = (struct sy_status){0};
    sy_buf_clear(&feeder->message); /* what goes on elsewhere gives it again */
    write_resume(feeder);
    bool away = status.code == SY_CODE_UNAVAILABLE;
    if (away)
        cp_follow_away(&feeder->follow, &status);
    else
        cp_fail_status(feeder->watch->req, &status);
    sy_status_deinit(&status);
    return away && feeder->follow.place != CP_ENDED;
}

static void pump_runs(struct cp_request *req)
{
    struct cp_runs_watch *w = req->state;
    if (cp_watch_was_split(req, w->part, w->count))
        return;
    for (uint32_t i = 0; i < w->count && cp_stream_ready(req); i++) {
        struct feeder *feeder = &w->feeders[i];
        if (!feeder->given)
            continue;
        feeder->given = false;
        if (feeder->status.code != SY_CODE_OK) {
            if (!take_status(feeder))
                return;
            continue;
        }
        if (w->part)
            wrap(feeder);
        if (feeder->message.len > 0)
            cp_stream_send(req, &feeder->message);
        go_on(feeder);
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
    for (uint32_t i = 0; i < w->count; i++) {
        struct feeder *feeder = &w->feeders[i];
        cp_follow_stop(&feeder->follow);
        if (w->shard->freeing)
            continue;
        feeder->stop.run = stop_arrived;
        cp_lane_post(cp_front(w->shard), feeder->lane, &feeder->stop);
    }
}

/* ---- where the partitions are ---- */

static struct feeder *feeder_of(struct cp_follow *follow)
{
    return sy_container_of(follow, struct feeder, follow);
}

static void is_here(struct cp_follow *follow)
{
    struct feeder *feeder = feeder_of(follow);
    SY_ASSERT(!feeder->given);
    feeder->begin = true;
    ask(feeder);
}

static void message_arrived(struct cp_follow *follow, struct sy_span bytes)
{
    struct feeder *feeder = feeder_of(follow);
    struct cp_request *req = feeder->watch->req;
    SY_ASSERT(!feeder->given && feeder->message.len == 0);
    struct sy_arena arena;
    sy_arena_init(&arena, sizeof(Switchyard__Internal__RunsPart) + 2 * bytes.len + 1024);
    const Switchyard__Internal__RunsPart *part = pb_unpack(
        &switchyard__internal__runs_part__descriptor, &arena, bytes);
    if (part == NULL) {
        cp_fail(req, SY_CODE_INTERNAL, "what came from the shard of partition %u is no RunsPart",
                follow->partition);
    } else {
        if (part->resume != NULL)
            feeder->resume = (struct resume){part->resume->oldest, part->resume->since_ns};
        write_resume(feeder);
        sy_buf_append(&feeder->message, part->runs.data, part->runs.len);
        feeder->given = true;
        cp_stream_more(req);
        if (feeder->given)
            cp_follow_hold(follow, true);
    }
    sy_arena_deinit(&arena);
}

static void part_ended(struct cp_follow *follow, const struct sy_status *status)
{
    struct cp_request *req = feeder_of(follow)->watch->req;
    if (status->code != SY_CODE_OK)
        cp_fail_status(req, status);
    else
        cp_fail(req, SY_CODE_INTERNAL, "the stream of partition %u ended", follow->partition);
}

static const struct cp_follow_sink follow_sink = {is_here, message_arrived, part_ended};

/* False: it is no RunsResume. */
static bool read_resume(const struct sy_call *call, struct resume *ret)
{
    const char *text = sy_call_metadata(call, CP_RESUME_KEY);
    char end;
    *ret = (struct resume){0};
    return text == NULL ||
           sscanf(text, "%" SCNu64 ".%" SCNd64 "%c", &ret->oldest, &ret->since_ns, &end) == 2;
}

/* ---- the call ---- */

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

static struct cp_runs_watch *watch_new(struct cp_request *req, const struct scope *scope,
                                       uint32_t count)
{
    struct cp_shard *shard = req->lane->shard;
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
    return w;
}

static void start_feeders(struct cp_runs_watch *w, uint32_t first, const struct resume *resume)
{
    bool stays = w->part || w->shard->in_region == NULL;
    if (!stays)
        pb_pack(w->req->message, &w->request);
    for (uint32_t i = 0; i < w->count; i++) {
        struct feeder *feeder = &w->feeders[i];
        feeder->watch = w;
        feeder->lane = &w->shard->lanes[first + i];
        feeder->resume = *resume;
        sy_timer_init(&feeder->pace, feeder_more, feeder);
        cp_follow_start(&feeder->follow, w->req, first + i, stays, sy_buf_span(&w->request),
                        &follow_sink);
    }
}

void cp_runs_watch_serve(struct cp_request *req)
{
    struct sy_error_text error = {0};
    struct scope scope;
    if (read_target(req->message, &scope, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    struct resume resume = {0};
    uint32_t part;
    if (!cp_part_of_call(req, &part))
        return;
    if (part != CP_PART_ALL && !read_resume(req->call, &resume)) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, CP_RESUME_KEY " is for shards, and not so");
        return;
    }
    bool all = part == CP_PART_ALL;
    struct cp_runs_watch *w = watch_new(req, &scope,
                                        all ? cp_shard_partitions(req->lane->shard) : 1);
    w->part = !all;
    req->state = w;
    cp_stream_start(req, pump_runs, release_runs);
    start_feeders(w, all ? 0 : part, &resume);
}
