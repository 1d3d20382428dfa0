/*
 * RunService.WatchGroups: the runs of each task of a project, summed up, then the sums that change.
 *
 * A pass asks every partition, in its lane, for its sums; the front merges them and sends the
 * groups that differ from what it sent last. A partition none of whose runs has changed keeps its
 * sums, another one reads its rows anew: so a stream's memory goes with the number of tasks, and no
 * run is counted twice. Passes follow each other by a second at least, and by ten times what the
 * last one took, so that a stream never takes more than a tenth of a lane.
 *
 *     front                       part (partition's lane)
 *       | -- ask ------------------> | reads rows in chunks, a turn for each few
 *       | <------------- returned -- |
 *
 * The sums of a partition that another shard has come from there, all of them whenever they change
 * (follow.h); that shard's passes are of this one partition. Until each partition's are known none
 * is shown; those of a partition that moves stay as they were until they are known anew.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "controlplane/follow.h"
#include "controlplane/names.h"
#include "controlplane/task_groups.h"
#include "proto/pb.h"

#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/internal/watch_parts.pb-c.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Rows of one partition that a pass reads, and tasks of it; beyond, the stream ends. */
#define RUNS_MAX 200000
#define GROUPS_MAX 5000
#define CHUNK_SCAN_MAX 1024
#define CHUNKS_A_TURN 4
#define PASS_INTERVAL_NS SY_NS_PER_S
#define REST_FACTOR 10
#define MESSAGE_BYTES ((size_t)64 * 1024)

struct part {
    struct cp_follow follow;
    struct cp_post post; /* there and back */
    struct cp_groups_watch *watch;
    struct cp_lane *lane;
    /* the lane's, while the post is out */
    struct cp_task_groups groups, coming; /* `coming` is not complete yet */
    uint32_t epoch;   /* of the partition, when it began to read; 0: groups are not its own */
    uint64_t changes; /* of the partition, likewise */
    uint64_t from;
    size_t scanned;
    bool reading;
    bool known, renewed; /* groups are complete; and others than those that were shown */
    struct sy_status status;
    bool out; /* the front's: the post is */
};

/* Outlives its request until every part is back; then, or with the shard, it is freed. */
struct cp_groups_watch {
    struct cp_groups_watch *prev, *next; /* in shard->groups_watches */
    struct cp_shard *shard;
    struct cp_request *req; /* NULL: its call has closed */
    atomic_bool closed;     /* the same, for the lanes */
    char *project, *domain; /* domain "" = all */
    int64_t start_ns, end_ns;
    bool once, oldest_first;
    struct sy_buf request; /* as it goes to other shards */
    bool part;             /* of another shard's stream */
    /* the front's */
    struct cp_task_groups shown;
    bool primed; /* the first pass is complete */
    int64_t asked_ns, next_ns;
    struct sy_buf *messages; /* to be sent, from `sent` on */
    size_t count, sent, cap;
    uint32_t out, parts_count;
    struct part parts[];
};

/* ---- in the partition's lane ---- */

struct runs_chunk {
    const struct cp_groups_watch *watch;
    struct cp_run_view runs[CP_CHUNK_ROWS];
    size_t count, scanned;
    uint64_t last;
    bool stopped, end;
};

static bool take_run(void *ctx, const struct cp_run_view *run)
{
    struct runs_chunk *chunk = ctx;
    const struct cp_groups_watch *w = chunk->watch;
    chunk->end = run->row->created_ns < w->start_ns;
    if (chunk->end)
        return false;
    chunk->scanned++;
    chunk->last = run->id;
    if (run->row->created_ns <= w->end_ns && strcmp(w->project, run->row->project) == 0 &&
        (w->domain[0] == '\0' || strcmp(w->domain, run->row->domain) == 0))
        chunk->runs[chunk->count++] = *run;
    chunk->stopped = chunk->count == CP_CHUNK_ROWS || chunk->scanned == CHUNK_SCAN_MAX;
    return !chunk->stopped;
}

static int add_run(struct part *part, struct sy_arena *arena, const struct cp_run_view *run)
{
    struct cp_action_view root;
    const struct cp_task_names *names;
    int r = cp_partition_get_action(part->lane->partition, arena, run->id, SCH_ROOT_NAME, &root);
    if (r == CP_PARTITION_E_NOT_FOUND)
        return 0; /* not yet durable */
    if (r == 0)
        r = cp_view_names(part->lane, &root, &names);
    if (r != 0)
        return r;
    struct cp_task_group_run group_run = {.task = names->name,
                                          .environment = names->environment,
                                          .short_name = names->short_name,
                                          .name = run->row->name,
                                          .phase = cp_flyte_view_phase(&root),
                                          .created_ns = run->row->created_ns,
                                          .error = cp_flyte_error(arena, &root)};
    if (root.number == 1)
        group_run.started_ns = root.started_ns;
    if (root.outcome != NULL && cp_phase_final(root.phase))
        group_run.finished_ns = root.outcome->finished_ns;
    cp_task_groups_add(&part->coming, &group_run);
    return 0;
}

/* One chunk; true when nothing is left, or it failed. */
static bool read_chunk(struct part *part, int *ret_error)
{
    struct runs_chunk chunk = {.watch = part->watch};
    struct sy_arena *arena = cp_scratch(part->lane);
    *ret_error = cp_partition_list_runs(part->lane->partition, arena, part->from, false, take_run,
                                        &chunk);
    for (size_t i = 0; *ret_error == 0 && i < chunk.count; i++)
        *ret_error = add_run(part, arena, &chunk.runs[i]);
    part->from = chunk.last;
    part->scanned += chunk.scanned;
    if (*ret_error != 0 || !chunk.stopped)
        return true;
    if (part->scanned < RUNS_MAX && part->coming.map.count <= GROUPS_MAX)
        return false;
    sy_status_set(&part->status, SY_CODE_RESOURCE_EXHAUSTED,
                  "more than %d runs, or %d tasks, in partition %u since start_date: give a later "
                  "start_date, or use ListRuns",
                  RUNS_MAX, GROUPS_MAX, part->lane->index);
    return true;
}

static void set_read_status(struct part *part, int r)
{
    if (r == CP_PARTITION_E_NOT_SERVING)
        cp_status_not_serving(&part->status, part->lane);
    else
        sy_status_set(&part->status, SY_CODE_INTERNAL,
                      "reading from the store of partition %u failed: %s", part->lane->index,
                      strerror(r < 0 ? -r : EIO));
}

static void complete(struct part *part)
{
    cp_task_groups_clear(&part->groups);
    part->groups = part->coming;
    part->coming = (struct cp_task_groups){0};
    part->known = part->renewed = true;
}

/* True when the part is done. */
static bool read_part(struct part *part)
{
    struct cp_partition *p = part->lane->partition;
    if (atomic_load(&part->watch->closed))
        return true;
    if (!cp_partition_serving(p)) {
        set_read_status(part, CP_PARTITION_E_NOT_SERVING);
        return true;
    }
    if (!part->reading) {
        uint32_t epoch = cp_partition_epoch(p); /* it may have been elsewhere meanwhile */
        if (part->epoch == epoch && part->changes == cp_partition_run_changes(p))
            return true;
        cp_task_groups_clear(&part->coming);
        part->epoch = epoch;
        part->changes = cp_partition_run_changes(p); /* what changes meanwhile is read again */
        part->from = part->scanned = 0;
        part->reading = true;
    }
    int r = 0;
    bool done = false;
    for (int i = 0; i < CHUNKS_A_TURN && !done; i++)
        done = read_chunk(part, &r);
    if (r != 0)
        set_read_status(part, r);
    part->reading = !done;
    if (done && r == 0)
        complete(part);
    return done;
}

static void returned(struct cp_post *post);

static void asked(struct cp_post *post)
{
    struct part *part = sy_container_of(post, struct part, post);
    struct cp_lane *to = part->lane; /* itself: in a later turn */
    if (read_part(part)) {
        post->run = returned;
        to = cp_front(part->lane->shard);
    }
    cp_lane_post(part->lane, to, post);
}

/* ---- on the front ---- */

static void watch_free(struct cp_groups_watch *w)
{
    for (uint32_t i = 0; i < w->parts_count; i++) {
        cp_task_groups_clear(&w->parts[i].groups);
        cp_task_groups_clear(&w->parts[i].coming);
        sy_status_deinit(&w->parts[i].status);
    }
    for (size_t i = w->sent; i < w->count; i++)
        sy_buf_deinit(&w->messages[i]);
    free(w->messages);
    cp_task_groups_clear(&w->shown);
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        w->shard->groups_watches = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    free(w->project);
    free(w->domain);
    sy_buf_deinit(&w->request);
    free(w);
}

void cp_groups_watches_free(struct cp_shard *shard)
{
    while (shard->groups_watches != NULL)
        watch_free(shard->groups_watches);
}

static struct sy_buf *add_message(struct cp_groups_watch *w)
{
    if (w->count == w->cap) {
        w->cap = w->cap > 0 ? w->cap * 2 : 4;
        w->messages = sy_realloc(w->messages, w->cap * sizeof(*w->messages));
    }
    w->messages[w->count] = (struct sy_buf){0};
    return &w->messages[w->count++];
}

/* Messages joined are one with all their groups; this one is not long enough yet. */
static struct sy_buf *message_with_room(struct cp_groups_watch *w)
{
    if (w->count == 0 || w->messages[w->count - 1].len >= MESSAGE_BYTES)
        return add_message(w);
    return &w->messages[w->count - 1];
}

static void add_group(struct cp_groups_watch *w, Flyteidl2__Workflow__TaskGroup *group)
{
    Flyteidl2__Workflow__WatchGroupsResponse response =
        FLYTEIDL2__WORKFLOW__WATCH_GROUPS_RESPONSE__INIT;
    response.n_task_groups = 1;
    response.task_groups = &group;
    pb_pack(&response.base, message_with_room(w));
}

/* When it is not what was shown last. */
static void show_group(struct cp_groups_watch *w, struct cp_task_group *group)
{
    struct cp_lane *front = cp_front(w->shard);
    struct sy_arena *arena = cp_scratch(front);
    Flyteidl2__Common__EnrichedIdentity *anonymous = cp_anonymous(arena);
    Flyteidl2__Workflow__TaskGroup *message = cp_task_group_message(arena, group);
    message->n_created_by = 1;
    message->created_by = &anonymous;
    sy_buf_clear(&front->buf);
    pb_pack(&message->base, &front->buf);
    group->hash = XXH3_64bits(front->buf.data, front->buf.len);
    const struct cp_task_group *before = cp_task_groups_find(&w->shown, group->task);
    if (before == NULL || before->hash != group->hash)
        add_group(w, message);
}

/* Those whose last run is gone. */
static void show_gone(struct cp_groups_watch *w, const struct cp_task_groups *now)
{
    SY_MAP_EACH(&w->shown.map, at, next)
    {
        const struct cp_task_group *before = sy_map_entry(at, struct cp_task_group, link);
        if (cp_task_groups_find(now, before->task) != NULL)
            continue;
        Flyteidl2__Workflow__TaskGroup gone = FLYTEIDL2__WORKFLOW__TASK_GROUP__INIT;
        gone.task_name = before->task;
        gone.should_delete = true;
        add_group(w, &gone);
    }
}

static void show(struct cp_groups_watch *w)
{
    struct cp_task_groups now = {0};
    for (uint32_t i = 0; i < w->parts_count; i++)
        cp_task_groups_merge(&now, &w->parts[i].groups);
    struct cp_task_group **sorted = sy_calloc(now.map.count + 1, sizeof(void *));
    cp_task_groups_sort(&now, w->oldest_first, sorted);
    for (size_t i = 0; i < now.map.count; i++)
        show_group(w, sorted[i]);
    free(sorted);
    show_gone(w, &now);
    cp_task_groups_clear(&w->shown);
    w->shown = now;
}

static void add_sentinel(struct cp_groups_watch *w)
{
    Flyteidl2__Workflow__WatchGroupsResponse response =
        FLYTEIDL2__WORKFLOW__WATCH_GROUPS_RESPONSE__INIT;
    response.sentinel = true;
    pb_pack(&response.base, add_message(w));
}

/* For the shard that asked for this part. */
static void show_part(struct cp_groups_watch *w)
{
    struct sy_arena *arena = cp_scratch(cp_front(w->shard));
    Switchyard__Internal__GroupsPart edge = SWITCHYARD__INTERNAL__GROUPS_PART__INIT;
    edge.first = true;
    pb_pack(&edge.base, add_message(w));
    SY_MAP_EACH(&w->parts[0].groups.map, at, next)
    {
        Switchyard__Internal__GroupsPart one = SWITCHYARD__INTERNAL__GROUPS_PART__INIT;
        Switchyard__Internal__GroupSums *sums = cp_task_group_sums(
            arena, sy_map_entry(at, struct cp_task_group, link));
        one.n_groups = 1;
        one.groups = &sums;
        pb_pack(&one.base, message_with_room(w));
        sy_arena_reset(arena);
    }
    edge.first = false;
    edge.last = true;
    pb_pack(&edge.base, message_with_room(w));
}

static void start_pass(struct cp_groups_watch *w)
{
    w->asked_ns = sy_loop_now_ns(cp_front(w->shard)->loop);
    SY_ASSERT(w->out == 0);
    for (uint32_t i = 0; i < w->parts_count; i++) {
        struct part *part = &w->parts[i];
        part->out = part->follow.place == CP_HERE;
        w->out += part->out;
        part->post.run = asked;
        if (part->out)
            cp_lane_post(cp_front(w->shard), part->lane, &part->post);
    }
}

/* When all parts are known: shows what is new. */
static void show_known(struct cp_groups_watch *w)
{
    bool renewed = false;
    for (uint32_t i = 0; i < w->parts_count; i++) {
        if (!w->parts[i].known)
            return;
        renewed = renewed || w->parts[i].renewed;
    }
    for (uint32_t i = 0; i < w->parts_count; i++)
        w->parts[i].renewed = false;
    if (renewed && w->part)
        show_part(w);
    else if (renewed)
        show(w);
    if (!w->primed && !w->part)
        add_sentinel(w);
    w->primed = true;
}

/* False: the stream ends. */
static bool take_status(struct part *part)
{
    struct sy_status status = part->status;
    part->status = (struct sy_status){0};
    part->reading = false;
    part->epoch = 0;
    bool away = status.code == SY_CODE_UNAVAILABLE;
    if (away)
        cp_follow_away(&part->follow, &status);
    else if (status.code != SY_CODE_OK)
        cp_fail_status(part->watch->req, &status);
    sy_status_deinit(&status);
    return away && part->follow.place != CP_ENDED;
}

static void end_pass(struct cp_groups_watch *w)
{
    for (uint32_t i = 0; i < w->parts_count; i++) {
        struct part *part = &w->parts[i];
        part->out = false;
        if (part->status.code != SY_CODE_OK && !take_status(part))
            return;
    }
    int64_t now_ns = sy_loop_now_ns(cp_front(w->shard)->loop);
    int64_t rest_ns = (now_ns - w->asked_ns) * REST_FACTOR;
    w->next_ns = now_ns + (rest_ns > PASS_INTERVAL_NS ? rest_ns : PASS_INTERVAL_NS);
    show_known(w);
}

static void returned(struct cp_post *post)
{
    struct cp_groups_watch *w = sy_container_of(post, struct part, post)->watch;
    SY_ASSERT(w->out > 0);
    if (--w->out > 0)
        return;
    if (w->req == NULL) {
        watch_free(w);
        return;
    }
    end_pass(w);
    cp_stream_more(w->req);
}

/* True: all that there is has gone. */
static bool send_messages(struct cp_groups_watch *w)
{
    while (w->sent < w->count && cp_stream_ready(w->req))
        cp_stream_send(w->req, &w->messages[w->sent++]);
    bool all = w->sent == w->count;
    if (all)
        w->sent = w->count = 0;
    for (uint32_t i = 0; i < w->parts_count; i++)
        cp_follow_hold(&w->parts[i].follow, !all);
    return all;
}

static void pump_groups(struct cp_request *req)
{
    struct cp_groups_watch *w = req->state;
    if (cp_watch_was_split(req, w->part, w->parts_count))
        return;
    if (!send_messages(w) || w->out > 0)
        return; /* returned() or on_writable follows */
    if (w->primed && w->once) {
        cp_stream_end(req);
        return;
    }
    int64_t wait_ns = w->next_ns - sy_loop_now_ns(req->lane->loop);
    if (wait_ns > 0) {
        cp_stream_again_in(req, wait_ns);
        return;
    }
    start_pass(w);
    if (w->out == 0) { /* all parts are elsewhere */
        end_pass(w);
        cp_stream_again_in(req, w->count > 0 ? 0 : PASS_INTERVAL_NS);
    }
}

void cp_groups_watches_look(struct cp_shard *shard)
{
    for (struct cp_groups_watch *w = shard->groups_watches; w != NULL; w = w->next) {
        if (w->req != NULL)
            cp_stream_again_in(w->req, 0);
    }
}

static void release_groups(struct cp_request *req)
{
    struct cp_groups_watch *w = req->state;
    w->req = NULL;
    for (uint32_t i = 0; i < w->parts_count; i++)
        cp_follow_stop(&w->parts[i].follow);
    atomic_store(&w->closed, true);
    if (w->out == 0)
        watch_free(w);
}

/* ---- where the partitions are ---- */

/* Its sums are wanted now, and not with the next pass, while nothing has been shown. */
static void pass_soon(struct cp_groups_watch *w)
{
    if (w->primed)
        return;
    w->next_ns = 0;
    cp_stream_again_in(w->req, 0);
}

static void is_here(struct cp_follow *follow)
{
    struct part *part = sy_container_of(follow, struct part, follow);
    SY_ASSERT(!part->out);
    part->epoch = 0;
    pass_soon(part->watch);
}

static void message_arrived(struct cp_follow *follow, struct sy_span bytes)
{
    struct part *part = sy_container_of(follow, struct part, follow);
    struct cp_lane *front = cp_front(part->watch->shard);
    SY_ASSERT(!part->out);
    const Switchyard__Internal__GroupsPart *m = pb_unpack(
        &switchyard__internal__groups_part__descriptor, cp_scratch(front), bytes);
    if (m == NULL) {
        cp_fail(part->watch->req, SY_CODE_INTERNAL,
                "what came from the shard of partition %u is no GroupsPart", follow->partition);
        return;
    }
    if (m->first)
        cp_task_groups_clear(&part->coming);
    for (size_t i = 0; i < m->n_groups; i++)
        cp_task_groups_add_sums(&part->coming, m->groups[i]);
    if (!m->last)
        return;
    complete(part);
    pass_soon(part->watch);
}

static void part_ended(struct cp_follow *follow, const struct sy_status *status)
{
    struct part *part = sy_container_of(follow, struct part, follow);
    if (status->code != SY_CODE_OK)
        cp_fail_status(part->watch->req, status);
    else if (!part->known || !part->watch->once)
        cp_fail(part->watch->req, SY_CODE_INTERNAL, "the stream of partition %u ended",
                follow->partition);
}

static const struct cp_follow_sink follow_sink = {is_here, message_arrived, part_ended};

/* ---- the call ---- */

static int check(const Flyteidl2__Workflow__WatchGroupsRequest *m, struct sy_error_text *error)
{
    if (m->scope_by_case != FLYTEIDL2__WORKFLOW__WATCH_GROUPS_REQUEST__SCOPE_BY_PROJECT_ID ||
        m->project_id == NULL) {
        sy_error_text_set(error, "project_id: missing");
        return -EINVAL;
    }
    if (cp_flyte_time_ns(m->start_date) == 0) {
        sy_error_text_set(error, "start_date: missing, or no time");
        return -EINVAL;
    }
    if (m->end_date != NULL && cp_flyte_time_ns(m->end_date) < cp_flyte_time_ns(m->start_date)) {
        sy_error_text_set(error, "end_date: before start_date");
        return -EINVAL;
    }
    if (m->request != NULL && (m->request->n_filters > 0 || m->request->token[0] != '\0')) {
        sy_error_text_set(error, "request: filters and tokens are not known here; all groups of "
                                 "the project are told");
        return -EINVAL;
    }
    if (cp_text_check("organization", m->project_id->organization, 255, error) < 0 ||
        cp_name_check("project_id.name", m->project_id->name, error) < 0)
        return -EINVAL;
    const char *domain = m->project_id->domain;
    return domain[0] != '\0' ? cp_name_check("project_id.domain", domain, error) : 0;
}

static struct cp_groups_watch *watch_new(struct cp_request *req, uint32_t count)
{
    const Flyteidl2__Workflow__WatchGroupsRequest *m = req->message;
    struct cp_shard *shard = req->lane->shard;
    struct cp_groups_watch *w = sy_calloc(1, sizeof(*w) + count * sizeof(w->parts[0]));
    w->shard = shard;
    w->req = req;
    w->project = sy_strdup(m->project_id->name);
    w->domain = sy_strdup(m->project_id->domain);
    w->start_ns = cp_flyte_time_ns(m->start_date);
    w->once = m->end_date != NULL;
    w->end_ns = w->once ? cp_flyte_time_ns(m->end_date) : INT64_MAX;
    for (size_t i = 0; i < m->n_known_sort_fields; i++)
        w->oldest_first = m->known_sort_fields[i]->created_at ==
                          FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    w->parts_count = count;
    w->next = shard->groups_watches;
    if (w->next != NULL)
        w->next->prev = w;
    shard->groups_watches = w;
    return w;
}

static void start_parts(struct cp_groups_watch *w, uint32_t first)
{
    bool stays = w->part || w->shard->in_region == NULL;
    if (!stays)
        pb_pack(w->req->message, &w->request);
    for (uint32_t i = 0; i < w->parts_count; i++) {
        struct part *part = &w->parts[i];
        part->watch = w;
        part->lane = &w->shard->lanes[first + i];
        cp_follow_start(&part->follow, w->req, first + i, stays, sy_buf_span(&w->request),
                        &follow_sink);
    }
}

void cp_groups_watch_serve(struct cp_request *req)
{
    struct sy_error_text error = {0};
    if (check(req->message, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    uint32_t part;
    if (!cp_part_of_call(req, &part))
        return;
    bool all = part == CP_PART_ALL;
    struct cp_groups_watch *w = watch_new(req, all ? cp_shard_partitions(req->lane->shard) : 1);
    w->part = !all;
    req->state = w;
    cp_stream_start(req, pump_groups, release_groups);
    start_parts(w, all ? 0 : part);
}
