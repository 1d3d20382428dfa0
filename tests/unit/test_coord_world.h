/*
 * Regions for tests of the coordination port: shards (each a port and what it heard) over no etcd,
 * over the etcd of tests/etcd on a virtual clock, and over a real one.
 */
#pragma once

#include "base/log.h"
#include "base/mem.h"
#include "controlplane/coord.h"
#include "tests/etcd/etcd.h"
#include "tests/lib/test.h"
#include "tests/unit/test_etcd_real.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 4, MEMBERS = 3 };
enum kind { KIND_NONE, KIND_FAKE, KIND_REAL, KINDS };
static const char *const shard_names[SHARDS_MAX] = {"shard-0", "shard-1", "shard-2", "shard-3"};
static const char *const kind_names[] = {"none", "fake", "real"};

#define TTL_NS (2 * SY_NS_PER_S)
#define STEP_NS (2 * SY_NS_PER_MS)
#define PATIENCE_NS (60 * SY_NS_PER_S)
/* Over a real etcd a session is not to be lost, nor a call given up, because nobody got a
 * processor for a while. */
#define REAL_TTL_NS (5 * SY_NS_PER_S)

struct shard {
    struct world *world;
    struct sy_loop *loop;
    struct cp_coord *coord; /* NULL: dead */
    unsigned changes;       /* that were told */
    bool left;
};

struct world {
    enum kind kind;
    int64_t now_ns; /* of the virtual clock */
    struct sy_clock clock;
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    struct sy_rng rng;
    struct sy_log *log;
    struct fake_etcd *fake;
    char region[16];
    const char *endpoints[MEMBERS];
    size_t endpoint_count;
    struct shard shards[SHARDS_MAX];
    const struct shard *paused; /* its process stands still: hears nothing, its timers do not run */
    const char *cut;            /* no message from or to it passes; connections break */
    unsigned drop_ppm;          /* of messages: their connections break */
    struct sy_timer stop;
};

static int64_t world_clock_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static bool world_is_cut(const struct world *w, const char *from, const char *to)
{
    return w->cut != NULL && (strcmp(from, w->cut) == 0 || strcmp(to, w->cut) == 0);
}

static enum sy_fault world_plan(void *ctx, const char *from, const char *to, int64_t *ret_delay_ns)
{
    struct world *w = ctx;
    *ret_delay_ns = (int64_t)sy_rng_below(&w->rng, SY_NS_PER_MS);
    bool drop = world_is_cut(w, from, to) || sy_rng_below(&w->rng, 1000000) < w->drop_ppm;
    return drop ? SY_FAULT_DROP_CONNECTION : SY_FAULT_DELIVER;
}

static bool world_connect(void *ctx, const char *from, const char *to)
{
    return !world_is_cut(ctx, from, to);
}

static void world_stop(void *arg)
{
    sy_loop_stop(((struct world *)arg)->loop);
}

static inline int64_t world_ttl_ns(const struct world *w)
{
    return w->kind == KIND_REAL ? REAL_TTL_NS : TTL_NS;
}

static inline int64_t world_timeout_ns(const struct world *w)
{
    return w->kind == KIND_REAL ? 10 * SY_NS_PER_S : 500 * SY_NS_PER_MS;
}

static inline int64_t world_now_ns(const struct world *w)
{
    return w->kind == KIND_REAL ? sy_loop_now_ns(w->loop) : w->now_ns;
}

/* One turn of each loop that has something to do, at the first moment that one has, or at `end_ns`.
 */
static inline void world_turn(struct world *w, int64_t end_ns)
{
    struct sy_loop *loops[SHARDS_MAX + 1] = {w->loop};
    size_t count = 1;
    for (size_t i = 0; i < SHARDS_MAX; i++)
        if (w->shards[i].loop != NULL && &w->shards[i] != w->paused)
            loops[count++] = w->shards[i].loop;
    int64_t next_ns = end_ns;
    for (size_t i = 0; i < count; i++)
        next_ns = sy_loop_next_ns(loops[i]) < next_ns ? sy_loop_next_ns(loops[i]) : next_ns;
    w->now_ns = next_ns > w->now_ns ? next_ns : w->now_ns;
    for (size_t i = 0; i < count; i++)
        if (sy_loop_next_ns(loops[i]) <= w->now_ns)
            sy_loop_turn(loops[i]);
}

/* Runs for that long. */
static inline void world_run(struct world *w, int64_t ns)
{
    if (w->kind == KIND_REAL) {
        sy_timer_start_in(w->loop, &w->stop, ns);
        ck_assert_int_eq(sy_loop_run(w->loop), 0);
        return;
    }
    for (int64_t end_ns = w->now_ns + ns; w->now_ns < end_ns;)
        world_turn(w, end_ns);
}

/* Runs until `holds`, and fails when it never does. */
#define WORLD_UNTIL(w, holds)                                                                      \
    do {                                                                                           \
        int64_t waited_ns = 0;                                                                     \
        for (; !(holds) && waited_ns < PATIENCE_NS; waited_ns += STEP_NS)                          \
            world_run(w, STEP_NS);                                                                 \
        ck_assert_msg(holds, "%s: never: %s", kind_names[(w)->kind], #holds);                      \
    } while (0)

static void world_on_changed(void *ctx)
{
    struct shard *s = ctx;
    s->changes++;
}

static inline struct sy_loop *world_loop(struct world *w)
{
    struct sy_loop_options options = {.clock = &w->clock, .without_epoll = true};
    struct sy_loop *loop;
    ck_assert_int_eq(sy_loop_new(&loop, w->kind == KIND_REAL ? NULL : &options), 0);
    return loop;
}

static inline void shard_start_in(struct world *w, size_t i, const char *region)
{
    struct shard *s = &w->shards[i];
    SY_ASSERT(s->coord == NULL);
    *s = (struct shard){.world = w, .loop = s->loop};
    struct cp_coord_sink sink = {world_on_changed, s};
    if (w->kind != KIND_REAL && s->loop == NULL)
        s->loop = world_loop(w);
    if (w->kind == KIND_NONE) {
        cp_coord_none_new(&s->coord, s->loop, NULL, &sink);
        return;
    }
    if (w->kind == KIND_FAKE) {
        sy_rpc_mem_set_origin(w->rpc, shard_names[i]);
    }
    struct cp_coord_etcd_options options = {.endpoints = w->endpoints,
                                            .endpoint_count = w->endpoint_count,
                                            .region = region,
                                            .session_ttl_ns = world_ttl_ns(w),
                                            .timeout_ns = world_timeout_ns(w)};
    cp_coord_etcd_new(&s->coord, w->rpc, s->loop != NULL ? s->loop : w->loop, &w->rng, w->log,
                      &options, &sink);
}

static inline struct cp_coord *shard_start(struct world *w, size_t i)
{
    shard_start_in(w, i, w->region);
    struct shard *s = &w->shards[i];
    WORLD_UNTIL(w, cp_coord_revision(s->coord) > 0 && cp_coord_session(s->coord) != 0);
    return s->coord;
}

/* Without a farewell. */
static inline void shard_die(struct world *w, size_t i)
{
    cp_coord_free(sy_take(w->shards[i].coord));
}

/* `real`: for that kind, and shared; the region is of this world alone. */
static inline void world_init(struct world *w, enum kind kind, uint64_t seed,
                              const struct real *real)
{
    static const char *const members[MEMBERS] = {"etcd-0:2379", "etcd-1:2379", "etcd-2:2379"};
    *w = (struct world){.kind = kind, .now_ns = SY_NS_PER_S};
    w->clock = (struct sy_clock){world_clock_ns, world_clock_ns, w};
    sy_rng_init(&w->rng, seed);
    w->log = sy_log_new(-1, SY_LOG_ERROR, NULL);
    snprintf(w->region, sizeof(w->region), "eu%llu", (unsigned long long)seed);
    w->loop = world_loop(w);
    sy_timer_init(&w->stop, world_stop, w);
    if (kind == KIND_FAKE) {
        struct sy_rpc_mem_plan plan = {world_plan, world_connect, w};
        ck_assert_int_eq(sy_rpc_mem_new(&w->rpc, &plan), 0);
        w->fake = fake_etcd_new(w->rpc, w->loop, seed, members, MEMBERS);
        memcpy(w->endpoints, members, sizeof(members));
        w->endpoint_count = MEMBERS;
    } else if (kind == KIND_REAL) {
        ck_assert_int_eq(sy_rpc_grpc_new(&w->rpc, NULL), 0);
        w->endpoints[0] = real->members[0].address;
        w->endpoint_count = 1;
    }
}

static inline void world_deinit(struct world *w)
{
    for (size_t i = 0; i < SHARDS_MAX; i++)
        shard_die(w, i);
    if (w->kind == KIND_REAL) /* calls that were cancelled end in turns of the loop */
        world_run(w, 50 * SY_NS_PER_MS);
    if (w->fake != NULL)
        fake_etcd_free(w->fake);
    if (w->rpc != NULL)
        sy_rpc_free(w->rpc);
    for (size_t i = 0; i < SHARDS_MAX; i++)
        sy_loop_free(w->shards[i].loop);
    sy_loop_free(w->loop);
    sy_log_free(w->log);
}

/* ---- writes ---- */

struct writing {
    bool told;
    enum cp_coord_result result;
};

static inline void world_on_done(void *ctx, enum cp_coord_result result)
{
    struct writing *writing = ctx;
    ck_assert(!writing->told);
    *writing = (struct writing){true, result};
}

static inline enum cp_coord_result shard_write(struct world *w, size_t i,
                                               const struct cp_coord_op *ops, size_t count)
{
    struct writing writing = {0};
    cp_coord_write(w->shards[i].coord, ops, count, world_on_done, &writing);
    ck_assert(!writing.told);
    WORLD_UNTIL(w, writing.told);
    return writing.result;
}

static inline struct sy_span text_span(const char *text)
{
    return (struct sy_span){(const uint8_t *)text, strlen(text)};
}

static inline enum cp_coord_result shard_put(struct world *w, size_t i, const char *key,
                                             const char *value, int64_t if_revision)
{
    struct cp_coord_op op = {CP_COORD_PUT, key, text_span(value), if_revision};
    return shard_write(w, i, &op, 1);
}

static inline bool shard_sees(const struct world *w, size_t i, const char *key, const char *value)
{
    const struct cp_coord_record *record = cp_coord_find(w->shards[i].coord, key);
    if (record == NULL || value == NULL)
        return record == NULL && value == NULL;
    return record->value.len == strlen(value) &&
           memcmp(record->value.data, value, record->value.len) == 0;
}
