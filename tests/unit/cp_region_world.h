/*
 * Several shards of one region: real shards, on disks that all of them reach, with the etcd of
 * tests/etcd, in memory on a virtual clock. Clients create runs through any shard and read them
 * through another. No cluster is there: what is tested is whose the partitions are.
 */
#pragma once

#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/forward.h"
#include "controlplane/shard.h"
#include "proto/pb.h"
#include "tests/etcd/etcd.h"
#include "tests/lib/test.h"
#include "tests/unit/cp_region_own.h"

#include "flyteidl2/task/task_definition.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED __attribute__((unused))

enum { SHARDS = 3, PARTITIONS = 6, LOOPS = ROOM + 1, MEMBERS = 3, CALLS = 400 };

struct world;

struct shard {
    struct world *world;
    struct own_disks disks; /* with local storage */
    char name[16], address[32];
    struct sy_loop *loops[LOOPS]; /* the first is the front's */
    struct cp_shard *shard;       /* NULL: down */
    struct sy_channel *channel;
    bool paused, stopped;
    char origin[16];
    unsigned life; /* of its process */
    char process[32];
    struct cp_witness witness;
    struct sy_timer told; /* that a process has ended */
};

/* One call of a client: it makes a run, or reads something. */
struct call {
    struct world *world;
    struct sy_call *call; /* NULL: not in progress */
    char run[32];
    bool reads;
    int64_t begun_ns, ended_ns;
    enum sy_code code;
    char text[160];
    struct sy_buf answer; /* its last message */
};

struct world {
    int64_t now_ns;
    struct sy_clock clock;
    struct sy_rng rng;
    struct sy_loop *loop; /* etcd and clients */
    struct sy_rpc *rpc;
    bool local; /* each shard has a disk of its own */
    struct fake_etcd *etcd;
    struct disk { /* of a partition */
        struct world *world;
        uint32_t partition;
        struct cp_mem_disk *disk; /* NULL: it is to be split from another */
    } disks[ROOM];
    struct cp_store_opener openers[ROOM];
    struct fork { /* what such a one begins with */
        uint32_t parent, epoch;
        struct cp_mem_disk *disk;
    } forks[64];
    size_t fork_count;
    bool no_forks; /* the storage refuses them */
    struct shard shards[SHARDS];
    const char *cut;
    const struct sy_loop *stuck; /* does not turn */
    const char *counted;         /* a process: what other shards send it is counted */
    size_t count;
    bool apart[SHARDS][SHARDS]; /* these do not reach each other */
    struct call calls[CALLS];
    size_t call_count, made;
    int64_t timeout_ns;                 /* of the calls that follow; 0: none */
    const struct sy_metadata *metadata; /* the same */
    size_t metadata_count;
};

static struct world world;
static UNUSED bool
    with_witnesses; /* each shard knows at once when the process of another one ends */
static UNUSED int64_t
    disk_patience_ns; /* of the shards that are started from now on; 0: without end */
static UNUSED bool next_opening_hangs; /* its loop turns again when the world says so */
static const char *const members[MEMBERS] = {"etcd-0:2379", "etcd-1:2379", "etcd-2:2379"};

/* ---- time ---- */

static int64_t monotonic(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static int64_t realtime(void *ctx)
{
    return ((struct world *)ctx)->now_ns + 1700000000 * SY_NS_PER_S;
}

/* Of an origin or an address; SHARDS: it is none of a shard. */
static size_t shard_of(const char *name)
{
    size_t i;
    if (sscanf(name, "process-%zu", &i) != 1 && sscanf(name, "shard-%zu:", &i) != 1)
        return SHARDS;
    return i;
}

static bool is_cut(const struct world *w, const char *from, const char *to)
{
    size_t one = shard_of(from), other = shard_of(to);
    if (one < SHARDS && other < SHARDS && (w->apart[one][other] || w->apart[other][one]))
        return true;
    return w->cut != NULL && (strcmp(from, w->cut) == 0 || strcmp(to, w->cut) == 0);
}

static enum sy_fault plan(void *ctx, const char *from, const char *to, int64_t *ret_delay_ns)
{
    struct world *w = ctx;
    *ret_delay_ns = (int64_t)sy_rng_below(&w->rng, MS);
    if (w->counted != NULL && strcmp(to, w->counted) == 0 && strncmp(from, "shard-", 6) == 0)
        w->count++;
    return is_cut(w, from, to) ? SY_FAULT_DROP_CONNECTION : SY_FAULT_DELIVER;
}

static bool may_connect(void *ctx, const char *from, const char *to)
{
    return !is_cut(ctx, from, to);
}

/* Whoever serves a partition is alone in that. */
static void check_owners(const struct world *w)
{
    for (uint32_t i = 0; i < ROOM; i++) {
        int serving = 0;
        for (size_t s = 0; s < SHARDS; s++) {
            const struct shard *shard = &w->shards[s];
            bool stands = shard->paused || shard->loops[i + 1] == w->stuck;
            if (shard->shard != NULL && !stands)
                serving += cp_partition_serving(cp_shard_partition(shard->shard, i));
        }
        ck_assert_int_le(serving, 1);
    }
}

/* Channels that it makes are its own. */
static void turn_of(struct world *w, struct sy_loop *loop, const char *origin)
{
    if (loop == w->stuck || sy_loop_next_ns(loop) > w->now_ns)
        return;
    sy_rpc_mem_set_origin(w->rpc, origin);
    sy_loop_turn(loop);
}

static void turn(struct world *w, int64_t end_ns)
{
    int64_t next_ns = sy_loop_next_ns(w->loop);
    for (size_t i = 0; i < SHARDS; i++) {
        for (size_t k = 0; k < LOOPS && !w->shards[i].paused; k++) {
            const struct sy_loop *loop = w->shards[i].loops[k];
            int64_t due_ns = loop != w->stuck ? sy_loop_next_ns(loop) : SY_TIME_NEVER;
            next_ns = due_ns < next_ns ? due_ns : next_ns;
        }
    }
    next_ns = next_ns < end_ns ? next_ns : end_ns;
    w->now_ns = next_ns > w->now_ns ? next_ns : w->now_ns;
    turn_of(w, w->loop, "client");
    for (size_t i = 0; i < SHARDS; i++)
        for (size_t k = 0; k < LOOPS && !w->shards[i].paused; k++)
            turn_of(w, w->shards[i].loops[k], w->shards[i].origin);
    check_owners(w);
}

static void run_for(struct world *w, int64_t ns)
{
    for (int64_t end_ns = w->now_ns + ns; w->now_ns < end_ns;)
        turn(w, end_ns);
}

#define UNTIL(w, holds)                                                                            \
    do {                                                                                           \
        int64_t limit_ns = (w)->now_ns + 60 * SY_NS_PER_S;                                         \
        while (!(holds)) {                                                                         \
            ck_assert_msg((w)->now_ns < limit_ns, "never: %s", #holds);                            \
            run_for(w, MS);                                                                        \
        }                                                                                          \
    } while (0)

/* ---- shards ---- */

static void hang(const struct sy_loop *loop)
{
    if (next_opening_hangs)
        world.stuck = loop;
    next_opening_hangs = false;
}

static int open_mem(void *ctx, struct cp_store **ret, uint32_t epoch, struct sy_loop *loop,
                    uint32_t *ret_epoch, struct sy_error_text *error)
{
    const struct disk *disk = ctx;
    SY_ASSERT(disk->disk != NULL);
    hang(loop);
    return cp_store_mem_open(ret, disk->disk, epoch, loop, ret_epoch, error);
}

static int fork_mem(void *ctx, uint32_t epoch, struct sy_error_text *error)
{
    const struct disk *disk = ctx;
    struct world *w = disk->world;
    SY_ASSERT(w->fork_count < SY_COUNT_OF(w->forks));
    sy_error_text_set(error, "the storage has no room for a fork");
    if (w->no_forks)
        return -ENOSPC;
    w->forks[w->fork_count++] = (struct fork){disk->partition, epoch, cp_mem_disk_copy(disk->disk)};
    error->text[0] = '\0';
    return 0;
}

static int adopt_mem(void *ctx, uint32_t parent, uint32_t epoch, struct sy_error_text *error)
{
    struct disk *disk = ctx;
    for (size_t i = 0; i < disk->world->fork_count && disk->disk == NULL; i++) {
        struct fork *fork = &disk->world->forks[i];
        if (fork->parent == parent && fork->epoch == epoch)
            disk->disk = sy_take(fork->disk);
    }
    sy_error_text_set(error, "nothing was forked from partition %u", parent);
    return disk->disk != NULL ? 0 : -ENOENT;
}

static void drop_mem_forks(void *ctx, uint32_t before, const uint32_t *kept, size_t kept_count)
{
    const struct disk *disk = ctx;
    for (size_t i = 0; i < disk->world->fork_count; i++) {
        struct fork *fork = &disk->world->forks[i];
        bool stays = fork->parent != disk->partition || fork->epoch >= before;
        for (size_t k = 0; !stays && k < kept_count; k++)
            stays = kept[k] == fork->epoch;
        if (!stays && fork->disk != NULL)
            cp_mem_disk_free(sy_take(fork->disk));
    }
}

static bool has_ended(struct cp_witness *witness, const char *process)
{
    const struct world *w = sy_container_of(witness, struct shard, witness)->world;
    for (size_t i = 0; i < SHARDS; i++) {
        const struct shard *s = &w->shards[i];
        if (strcmp(s->process, process) == 0)
            return s->shard == NULL;
    }
    return true; /* of an earlier life */
}

static void forget_processes(struct cp_witness *witness)
{
    (void)witness;
}

static void tell_ended(void *arg)
{
    const struct cp_witness *witness = &((struct shard *)arg)->witness;
    if (witness->on_ended != NULL)
        witness->on_ended(witness->ctx);
}

static void start_shard(struct world *w, size_t i)
{
    static const struct cp_witness_ops ops = {has_ended, forget_processes};
    struct shard *s = &w->shards[i];
    struct cp_coord_etcd_options etcd = {.endpoints = members,
                                         .endpoint_count = MEMBERS,
                                         .region = "eu",
                                         .session_ttl_ns = 2 * SY_NS_PER_S,
                                         .timeout_ns = 500 * MS};
    struct cp_shard_options options = {.name = s->name,
                                       .region = "eu",
                                       .listen = s->address,
                                       .endpoint = s->address,
                                       .partitions = PARTITIONS,
                                       .partitions_max = ROOM,
                                       .partition = {.inline_bytes_max = 65536},
                                       .etcd = &etcd,
                                       .disk_patience_ns = disk_patience_ns,
                                       .copies = w->local ? &s->disks.copies : NULL};
    snprintf(s->process, sizeof(s->process), "shard-%zu, life %u", i, ++s->life);
    s->witness = (struct cp_witness){.ops = &ops};
    options.process = s->process;
    options.witness = with_witnesses ? &s->witness : NULL;
    struct cp_shard_ports ports = {.rpc = w->rpc,
                                   .loops = s->loops + 1,
                                   .front = s->loops[0],
                                   .openers = w->local ? s->disks.openers : w->openers,
                                   .seed = sy_rng_u64(&w->rng)};
    struct sy_error_text error = {0};
    sy_rpc_mem_set_origin(w->rpc, s->origin);
    int r = cp_shard_new(&s->shard, &options, &ports, &error);
    ck_assert_msg(r == 0, "%s", error.text);
    s->stopped = false;
}

static UNUSED void kill_shard(struct world *w, size_t i)
{
    struct shard *s = &w->shards[i];
    sy_rpc_mem_kill(w->rpc, s->origin);
    sy_rpc_mem_kill(w->rpc, s->address);
    cp_shard_free(sy_take(s->shard));
    s->paused = false;
    for (size_t k = 0; k < SHARDS && with_witnesses; k++)
        sy_timer_start_in(w->shards[k].loops[0], &w->shards[k].told, 0);
}

static UNUSED void on_stopped(void *arg)
{
    ((struct shard *)arg)->stopped = true;
}

static UNUSED size_t owned_by(const struct world *w, size_t i)
{
    size_t count = 0;
    for (uint32_t p = 0; p < ROOM && w->shards[i].shard != NULL; p++)
        count += cp_partition_serving(cp_shard_partition(w->shards[i].shard, p));
    return count;
}

/* All partitions, as evenly as that many shards can have them. */
static bool even(const struct world *w, size_t shards)
{
    size_t total = 0, most = (PARTITIONS + shards - 1) / shards;
    for (size_t i = 0; i < SHARDS; i++) {
        total += owned_by(w, i);
        if (owned_by(w, i) > most)
            return false;
    }
    return total == PARTITIONS;
}

static void open_world_of(struct world *w, uint64_t seed, bool local)
{
    *w = (struct world){.now_ns = SY_NS_PER_S, .local = local};
    w->clock = (struct sy_clock){monotonic, realtime, w};
    sy_rng_init(&w->rng, seed);
    struct sy_loop_options options = {.clock = &w->clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &options), 0);
    ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, &(struct sy_rpc_mem_plan){plan, may_connect, w}), 0);
    sy_rpc_mem_set_origin(w->rpc, "etcd");
    w->etcd = fake_etcd_new(w->rpc, w->loop, seed, members, MEMBERS);
    for (uint32_t i = 0; i < ROOM; i++) {
        w->disks[i] = (struct disk){w, i, i < PARTITIONS ? cp_mem_disk_new() : NULL};
        if (i < PARTITIONS)
            cp_mem_disk_set(w->disks[i].disk, MS, -1);
        w->openers[i] = (struct cp_store_opener){open_mem, &w->disks[i], fork_mem, adopt_mem,
                                                 drop_mem_forks};
    }
    sy_rpc_mem_set_origin(w->rpc, "client");
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &w->shards[i];
        s->world = w;
        snprintf(s->name, sizeof(s->name), "shard-%zu", i);
        snprintf(s->origin, sizeof(s->origin), "process-%zu", i);
        snprintf(s->address, sizeof(s->address), "shard-%zu:8090", i);
        for (size_t k = 0; k < LOOPS; k++)
            ck_assert_int_eq(sy_loop_new(&s->loops[k], &options), 0);
        s->channel = sy_channel_new(w->rpc, s->address);
        sy_timer_init(&s->told, tell_ended, s);
        init_disks(&s->disks);
    }
    for (size_t i = 0; i < SHARDS; i++)
        start_shard(w, i);
    UNTIL(w, even(w, SHARDS));
}

static UNUSED void open_world(struct world *w, uint64_t seed)
{
    open_world_of(w, seed, false);
}

/* The last one that was sent. */
static void forget_call(struct world *w)
{
    struct call *c = &w->calls[--w->call_count];
    if (c->call != NULL)
        sy_call_unref(c->call);
    sy_buf_deinit(&c->answer);
}

static void close_world(struct world *w)
{
    for (size_t i = 0; i < SHARDS; i++)
        cp_shard_free(w->shards[i].shard);
    while (w->call_count > 0)
        forget_call(w);
    fake_etcd_free(w->etcd);
    for (size_t i = 0; i < SHARDS; i++)
        sy_channel_free(w->shards[i].channel);
    sy_rpc_free(w->rpc);
    for (size_t i = 0; i < ROOM; i++)
        cp_mem_disk_free(w->disks[i].disk);
    for (size_t i = 0; i < w->fork_count; i++)
        cp_mem_disk_free(w->forks[i].disk);
    for (size_t i = 0; i < SHARDS; i++) {
        sy_timer_stop(w->shards[i].loops[0], &w->shards[i].told);
        free_disks(&w->shards[i].disks);
        for (size_t k = 0; k < LOOPS; k++)
            sy_loop_free(w->shards[i].loops[k]);
    }
    sy_loop_free(w->loop);
}

/* ---- clients ---- */

static void on_answer(void *ctx, struct sy_span bytes)
{
    struct call *c = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    sy_buf_deinit(&c->answer);
    c->answer = sy_buf_copy(bytes.data, bytes.len);
    if (!c->reads && c->run[0] == '\0') { /* the region has made the name */
        const Flyteidl2__Workflow__CreateRunResponse *m = pb_unpack(
            &flyteidl2__workflow__create_run_response__descriptor, &arena, bytes);
        ck_assert_ptr_nonnull(m);
        snprintf(c->run, sizeof(c->run), "%s", m->run->action->id->run->name);
    }
    sy_arena_deinit(&arena);
}

static void on_call_closed(void *ctx, const struct sy_status *status)
{
    struct call *c = ctx;
    c->code = status->code;
    c->ended_ns = c->world->now_ns;
    snprintf(c->text, sizeof(c->text), "%s", status->message.text);
    sy_call_unref(sy_take(c->call));
}

/* The world remembers as many as CALLS; what only asks may be forgotten when it has been answered.
 */
static struct call *send_call(struct world *w, size_t shard, const char *method,
                              const ProtobufCMessage *request)
{
    static const struct sy_call_sink sink = {.on_message = on_answer, .on_closed = on_call_closed};
    SY_ASSERT(w->call_count < CALLS);
    struct call *c = &w->calls[w->call_count++];
    *c = (struct call){.world = w, .begun_ns = w->now_ns};
    struct sy_call_options options = {.method = method,
                                      .timeout_ns = w->timeout_ns,
                                      .metadata = w->metadata,
                                      .metadata_count = w->metadata_count};
    c->call = sy_channel_open(w->shards[shard].channel, w->loop, &options, &sink, c);
    struct sy_buf bytes = {0};
    pb_pack(request, &bytes);
    ck_assert_int_eq(sy_call_send(c->call, &bytes), 0);
    sy_call_half_close(c->call);
    return c;
}

static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void pack_task_spec(struct sy_buf *ret)
{
    Flyteidl2__Task__TaskSpec spec = FLYTEIDL2__TASK__TASK_SPEC__INIT;
    Flyteidl2__Core__TaskTemplate template = FLYTEIDL2__CORE__TASK_TEMPLATE__INIT;
    Flyteidl2__Core__Identifier id = FLYTEIDL2__CORE__IDENTIFIER__INIT;
    Flyteidl2__Core__Container container = FLYTEIDL2__CORE__CONTAINER__INIT;
    char *args[] = {text_of("/bin/true")};
    container.n_args = 1;
    container.args = args;
    id.name = text_of("demo.task");
    template.id = &id;
    template.type = text_of("switchyard.process");
    template.target_case = FLYTEIDL2__CORE__TASK_TEMPLATE__TARGET_CONTAINER;
    template.container = &container;
    spec.task_template = &template;
    pb_pack(&spec.base, ret);
}

/* A run of a task that waits for a cluster. `name` NULL: the region makes one. */
static struct call *create(struct world *w, size_t shard, const char *name)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf packed = {0};
    pack_task_spec(&packed);
    Flyteidl2__Workflow__CreateRunRequest m = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__INIT;
    Flyteidl2__Common__ProjectIdentifier project = FLYTEIDL2__COMMON__PROJECT_IDENTIFIER__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    run.project = project.name = text_of("p");
    run.domain = project.domain = text_of("d");
    run.name = text_of(name);
    m.id_case = name != NULL ? FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_RUN_ID
                             : FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__ID_PROJECT_ID;
    if (name != NULL)
        m.run_id = &run;
    else
        m.project_id = &project;
    m.task_case = FLYTEIDL2__WORKFLOW__CREATE_RUN_REQUEST__TASK_TASK_SPEC;
    m.task_spec = (ProtobufCBinaryData){packed.len, packed.data};
    struct call *c = send_call(w, shard, "/flyteidl2.workflow.RunService/CreateRun", &m.base);
    snprintf(c->run, sizeof(c->run), "%s", name != NULL ? name : "");
    return c;
}

static struct call *read_run(struct world *w, size_t shard, const char *name)
{
    Flyteidl2__Workflow__GetRunDetailsRequest m =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
    Flyteidl2__Common__RunIdentifier run = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    run.project = text_of("p");
    run.domain = text_of("d");
    run.name = text_of(name);
    m.run_id = &run;
    struct call *c = send_call(w, shard, "/flyteidl2.workflow.RunService/GetRunDetails", &m.base);
    c->reads = true;
    return c;
}

static void expect_ok(struct world *w, struct call *c)
{
    UNTIL(w, c->call == NULL);
    ck_assert_msg(c->code == SY_CODE_OK, "%s: %s", sy_code_name(c->code), c->text);
}

/* One that is up and not paused. */
static size_t some_shard(struct world *w)
{
    for (;;) {
        size_t i = sy_rng_below(&w->rng, SHARDS);
        if (w->shards[i].shard != NULL && !w->shards[i].paused)
            return i;
    }
}

static UNUSED struct call *create_some(struct world *w, size_t shard)
{
    char name[16];
    snprintf(name, sizeof(name), "run-%zu", w->made++);
    return create(w, shard, name);
}

/* Each run that was acknowledged is there, whoever is asked. */
static UNUSED void check_runs(struct world *w)
{
    size_t count = w->call_count;
    for (size_t i = 0; i < count; i++) {
        const struct call *c = &w->calls[i];
        if (c->reads || c->call != NULL || c->code != SY_CODE_OK)
            continue;
        struct call *reading = read_run(w, some_shard(w), c->run);
        expect_ok(w, reading);
        forget_call(w);
    }
}

/* ---- faults ---- */

/* The seeds of a test's storms: the first so many; REGION_SEEDS says another number, REGION_FIRST
 * where they begin. */
struct seeds {
    uint64_t first, count;
};
static UNUSED struct seeds storm_seeds(uint64_t count)
{
    const char *first = getenv("REGION_FIRST"), *many = getenv("REGION_SEEDS");
    return (struct seeds){.first = first != NULL ? strtoull(first, NULL, 10) : 1,
                          .count = many != NULL ? strtoull(many, NULL, 10) : count};
}

static UNUSED void storm_step(struct world *w)
{
    size_t i = sy_rng_below(&w->rng, SHARDS);
    struct shard *s = &w->shards[i];
    switch (sy_rng_below(&w->rng, 8)) {
    case 0:
        if (s->shard == NULL)
            start_shard(w, i);
        else
            kill_shard(w, i);
        break;
    case 1:
        s->paused = s->shard != NULL && !s->paused;
        break;
    case 2:
        w->cut = sy_rng_chance(&w->rng, 1, 2) ? s->origin : NULL;
        break;
    case 3:
        sy_rpc_mem_set_origin(w->rpc, "etcd");
        if (fake_etcd_up(w->etcd, i))
            fake_etcd_kill(w->etcd, i);
        else
            fake_etcd_start(w->etcd, i);
        break;
    case 4:
        fake_etcd_set_quorum(w->etcd, sy_rng_chance(&w->rng, 1, 2));
        break;
    case 5:
        fake_etcd_change_leader(w->etcd);
        break;
    case 6:
        fake_etcd_set_delay(w->etcd, i, 0, (int64_t)sy_rng_below(&w->rng, 300 * MS) + MS);
        break;
    default:
        fake_etcd_compact(w->etcd);
        break;
    }
}

/* All are up. */
static UNUSED void mend(struct world *w)
{
    w->cut = NULL;
    memset(w->apart, 0, sizeof(w->apart));
    fake_etcd_set_quorum(w->etcd, true);
    sy_rpc_mem_set_origin(w->rpc, "etcd");
    for (size_t i = 0; i < SHARDS; i++) {
        if (!fake_etcd_up(w->etcd, i))
            fake_etcd_start(w->etcd, i);
        fake_etcd_set_delay(w->etcd, i, 0, 0);
        w->shards[i].paused = false;
        if (w->shards[i].shard == NULL)
            start_shard(w, i);
    }
}

/* And all partitions are served. */
static UNUSED void heal(struct world *w)
{
    mend(w);
    UNTIL(w, even(w, SHARDS));
}
