/*
 * Clients that watch all runs of a region, each through one of its shards, and the truth that they
 * are compared with.
 */
#pragma once

#include "tests/unit/cp_region_world.h"

#include "controlplane/follow.h"

#define RUN "/flyteidl2.workflow.RunService/"
#define PHASE(name) FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_##name
#define BEGIN_S 1700000000

enum { RUNS_MAX = 10000, WATCHES = 2 * SHARDS };

/* A client's stream; what it has told so far. */
struct watch {
    struct world *world;
    struct sy_call *call; /* NULL: closed, or not opened */
    size_t shard;
    bool groups, sleeps; /* it does not read */
    size_t messages;
    enum sy_code code;
    char text[400];
    int phases[RUNS_MAX]; /* by the number in "run-N"; 0: not told */
    /* groups */
    bool sentinel;
    int64_t total, by_phase[16];
};

static struct watch watches[WATCHES];

/* ---- streams ---- */

static void see_run(struct watch *watch, const Flyteidl2__Workflow__Run *run)
{
    const char *name = run->action->id->run->name;
    ck_assert_int_eq(strncmp(name, "run-", 4), 0);
    size_t n = strtoul(name + 4, NULL, 10);
    if (n < RUNS_MAX)
        watch->phases[n] = (int)run->action->status->phase;
}

static void see_group(struct watch *watch, const Flyteidl2__Workflow__TaskGroup *group)
{
    ck_assert_str_eq(group->task_name, "demo.task");
    watch->total = group->total_runs;
    memset(watch->by_phase, 0, sizeof(watch->by_phase));
    for (size_t i = 0; i < group->n_phase_counts; i++)
        watch->by_phase[group->phase_counts[i]->phase] = group->phase_counts[i]->count;
}

static void on_watch_message(void *ctx, struct sy_span bytes)
{
    struct watch *watch = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, 16 << 20);
    watch->messages++;
    if (watch->groups) {
        const Flyteidl2__Workflow__WatchGroupsResponse *m = pb_unpack(
            &flyteidl2__workflow__watch_groups_response__descriptor, &arena, bytes);
        ck_assert_ptr_nonnull(m);
        watch->sentinel = watch->sentinel || m->sentinel;
        for (size_t i = 0; i < m->n_task_groups; i++)
            see_group(watch, m->task_groups[i]);
    } else {
        const Flyteidl2__Workflow__WatchRunsResponse *m = pb_unpack(
            &flyteidl2__workflow__watch_runs_response__descriptor, &arena, bytes);
        ck_assert_ptr_nonnull(m);
        for (size_t i = 0; i < m->n_runs; i++)
            see_run(watch, m->runs[i]);
    }
    sy_arena_deinit(&arena);
}

static void on_watch_closed(void *ctx, const struct sy_status *status)
{
    struct watch *watch = ctx;
    watch->code = status->code;
    snprintf(watch->text, sizeof(watch->text), "%s", status->message.text);
    sy_call_unref(sy_take(watch->call));
}

static const struct sy_call_sink watch_sink = {.on_message = on_watch_message,
                                               .on_closed = on_watch_closed};

static void open_call(struct watch *watch, const char *method, const ProtobufCMessage *m,
                      const struct sy_metadata *metadata, size_t count)
{
    struct world *w = watch->world;
    sy_rpc_mem_set_origin(w->rpc, "client");
    watch->call = sy_channel_open(
        w->shards[watch->shard].channel, w->loop,
        &(struct sy_call_options){.method = method, .metadata = metadata, .metadata_count = count},
        watch->sleeps ? NULL : &watch_sink, watch);
    struct sy_buf bytes = {0};
    pb_pack(m, &bytes);
    ck_assert_int_eq(sy_call_send(watch->call, &bytes), 0);
    sy_call_half_close(watch->call);
}

/* Of all runs of the project, with metadata of the test's own. */
static void open_runs_with(struct watch *watch, const struct sy_metadata *metadata, size_t count)
{
    Flyteidl2__Workflow__WatchRunsRequest m = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    project.name = text_of("p");
    project.domain = text_of("d");
    m.target_case = FLYTEIDL2__WORKFLOW__WATCH_RUNS_REQUEST__TARGET_PROJECT_ID;
    m.project_id = &project;
    open_call(watch, RUN "WatchRuns", &m.base, metadata, count);
}

static UNUSED void open_groups(struct watch *watch, bool once)
{
    Flyteidl2__Workflow__WatchGroupsRequest m = FLYTEIDL2__WORKFLOW__WATCH_GROUPS_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT, end = start;
    project.name = text_of("p");
    project.domain = text_of("d");
    start.seconds = BEGIN_S;
    end.seconds = BEGIN_S * 2L;
    m.scope_by_case = FLYTEIDL2__WORKFLOW__WATCH_GROUPS_REQUEST__SCOPE_BY_PROJECT_ID;
    m.project_id = &project;
    m.start_date = &start;
    m.end_date = once ? &end : NULL;
    open_call(watch, RUN "WatchGroups", &m.base, NULL, 0);
}

/* What was told before is forgotten: a client that begins anew. */
static struct watch *open_watch(struct world *w, size_t i)
{
    struct watch *watch = &watches[i];
    *watch = (struct watch){.world = w, .shard = i % SHARDS, .groups = i >= SHARDS};
    if (watch->groups)
        open_groups(watch, false);
    else
        open_runs_with(watch, NULL, 0);
    return watch;
}

static UNUSED void open_watches(struct world *w)
{
    for (size_t i = 0; i < WATCHES; i++)
        open_watch(w, i);
}

static UNUSED void wake(struct watch *watch, bool reads)
{
    watch->sleeps = !reads;
    if (watch->call != NULL)
        sy_call_set_sink(watch->call, reads ? &watch_sink : NULL, watch);
}

static void close_watch(struct watch *watch)
{
    if (watch->call == NULL)
        return;
    sy_call_set_sink(watch->call, NULL, NULL);
    sy_call_finish(watch->call, NULL);
    sy_call_unref(sy_take(watch->call));
}

static UNUSED void close_watches(void)
{
    for (size_t i = 0; i < WATCHES; i++)
        close_watch(&watches[i]);
}

static void expect_open(const struct watch *watch)
{
    ck_assert_msg(watch->call != NULL, "through shard-%zu: %s: %s", watch->shard,
                  sy_code_name(watch->code), watch->text);
}

static UNUSED void expect_all_open(void)
{
    for (size_t i = 0; i < WATCHES; i++)
        expect_open(&watches[i]);
}

/* ---- the truth ---- */

static struct call *abort_run(struct world *w, size_t shard, size_t n)
{
    Flyteidl2__Workflow__AbortRunRequest m = FLYTEIDL2__WORKFLOW__ABORT_RUN_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    char name[16];
    snprintf(name, sizeof(name), "run-%zu", n);
    run.project = text_of("p");
    run.domain = text_of("d");
    run.name = name;
    m.run_id = &run;
    struct call *c = send_call(w, shard, RUN "AbortRun", &m.base);
    c->reads = true;
    return c;
}

static int phase_in(const struct call *c)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Flyteidl2__Workflow__GetRunDetailsResponse *m = pb_unpack(
        &flyteidl2__workflow__get_run_details_response__descriptor, &arena,
        sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(m);
    int phase = (int)m->details->action->status->phase;
    sy_arena_deinit(&arena);
    return phase;
}

/* Its phase as the region knows it; 0: there is no such run. */
static int phase_of(struct world *w, size_t n)
{
    char name[16];
    snprintf(name, sizeof(name), "run-%zu", n);
    struct call *c = read_run(w, some_shard(w), name);
    UNTIL(w, c->call == NULL);
    ck_assert_msg(c->code == SY_CODE_OK || c->code == SY_CODE_NOT_FOUND, "%s: %s",
                  sy_code_name(c->code), c->text);
    int phase = c->code == SY_CODE_OK ? phase_in(c) : 0;
    forget_call(w);
    return phase;
}

static bool groups_are(const struct watch *watch, int64_t total, const int64_t *by_phase)
{
    return watch->sentinel && watch->total == total &&
           memcmp(watch->by_phase, by_phase, sizeof(watch->by_phase)) == 0;
}

/* While nothing changes any more each stream comes to show each run as it is. */
static UNUSED void check_watches(struct world *w)
{
    int64_t total = 0, by_phase[16] = {0};
    int phases[RUNS_MAX];
    SY_ASSERT(w->made <= RUNS_MAX);
    for (size_t n = 0; n < w->made; n++) {
        phases[n] = phase_of(w, n);
        total += phases[n] != 0;
        by_phase[phases[n]] += phases[n] != 0;
    }
    for (size_t i = 0; i < WATCHES; i++) {
        struct watch *watch = &watches[i];
        expect_open(watch);
        if (watch->groups)
            UNTIL(w, watch->call == NULL || groups_are(watch, total, by_phase));
        for (size_t n = 0; n < w->made && !watch->groups; n++)
            UNTIL(w, watch->call == NULL || watch->phases[n] == phases[n]);
        expect_open(watch);
    }
}

static UNUSED void make_runs(struct world *w, size_t count, size_t shard)
{
    for (size_t i = 0; i < count; i++)
        create_some(w, shard);
    for (size_t i = 0; i < count; i++) {
        expect_ok(w, &w->calls[w->call_count - 1]);
        forget_call(w);
    }
}

static UNUSED void abort_runs(struct world *w, size_t from, size_t to, size_t shard)
{
    for (size_t n = from; n < to; n++) {
        expect_ok(w, abort_run(w, shard, n));
        forget_call(w);
    }
}

/* Nothing of any stream is left at a shard. */
static UNUSED bool is_free(const struct world *w, size_t i)
{
    const struct cp_shard *shard = w->shards[i].shard;
    bool free = shard->followed == NULL && shard->runs_watches == NULL &&
                shard->groups_watches == NULL && sy_server_calls(shard->server) == 0;
    for (size_t k = 0; free && k < PARTITIONS; k++)
        free = shard->lanes[k].requests == NULL;
    return free;
}

/* Where a stream believes to hear of a partition somebody serves it. */
static UNUSED void check_places(const struct world *w, size_t i)
{
    for (const struct cp_follow *f = w->shards[i].shard->followed; f != NULL; f = f->next) {
        size_t serving = 0;
        for (size_t k = 0; k < SHARDS; k++) {
            const struct shard *s = &w->shards[k];
            serving += s->shard != NULL && !s->paused &&
                       cp_partition_serving(cp_shard_partition(s->shard, f->partition));
        }
        ck_assert_msg(f->lost_ns != 0 || serving > 0, "partition %u through shard-%zu",
                      f->partition, i);
    }
}

/* The partitions of one shard, as it knows them. */
static UNUSED uint32_t first_owned(const struct world *w, size_t shard)
{
    for (uint32_t i = 0; i < PARTITIONS; i++)
        if (cp_partition_serving(cp_shard_partition(w->shards[shard].shard, i)))
            return i;
    ck_abort_msg("shard-%zu has no partition", shard);
    return 0;
}
