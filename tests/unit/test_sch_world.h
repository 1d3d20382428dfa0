/*
 * A partition core, and what tests do to it: events with the time filled in, effects counted.
 */
#pragma once

#include "base/mem.h"
#include "scheduler/partition.h"
#include "scheduler/partition_impl.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE (15 * SY_NS_PER_S)
#define WAIT (10 * SY_NS_PER_S)

/* ---- a partition and what was done to it ---- */

struct world {
    struct sch_partition *p;
    struct sch_effects fx;
    int64_t now;
    struct sch_spec task, group;
};

static inline struct sch_partition_options options_of(uint32_t epoch)
{
    return (struct sch_partition_options){.partition = 3,
                                          .epoch = epoch,
                                          .actions_max = 2000000,
                                          .system_retries = 3,
                                          .cluster_lease_ns = LEASE,
                                          .recovery_wait_ns = WAIT};
}

static inline void world_open(struct world *w, uint32_t epoch)
{
    struct sch_partition_options options = options_of(epoch);
    w->p = sch_partition_new(&options, w->now);
}

static inline struct world world_with(struct sch_partition_options options)
{
    struct world w = {
        .now = SY_NS_PER_S, .task = {.request = {.cpu_milli = 1000}}, .group = {.group = true}};
    w.p = sch_partition_new(&options, w.now);
    return w;
}

static inline struct world world_new(void)
{
    return world_with(options_of(5));
}

static inline void world_free(struct world *w)
{
    sch_partition_check(w->p);
    sch_partition_free(w->p);
    sch_effects_deinit(&w->fx);
}

static inline void step(struct world *w, struct sch_event event)
{
    event.now_ns = w->now;
    event.realtime_ns = w->now + 1000 * SY_NS_PER_S;
    sch_partition_step(w->p, &event, &w->fx);
}

static inline size_t count(const struct world *w, enum sch_effect_type type)
{
    size_t n = 0;
    for (size_t i = 0; i < w->fx.count; i++)
        n += w->fx.items[i].type == type;
    return n;
}

static inline const struct sch_effect *nth(const struct world *w, enum sch_effect_type type,
                                           size_t n)
{
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == type && n-- == 0)
            return &w->fx.items[i];
    }
    ck_abort_msg("no such effect");
}

static inline struct sch_action *create(struct world *w, const char *name, struct sch_spec *spec)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_CREATE_RUN,
                .u.create = {.project = "p", .domain = "d", .name = name, .spec = spec}});
    return sch_partition_find_action(w->p, sch_partition_find_run(w->p, "p", "d", name), "a0");
}

static inline struct sch_action *child(struct world *w, struct sch_action *parent, const char *name,
                                       struct sch_spec *spec)
{
    step(w, (struct sch_event){.type = SCH_EVENT_ENQUEUE,
                               .u.enqueue = {.parent = parent, .name = name, .spec = spec}});
    return sch_partition_find_action(w->p, parent->run, name);
}

static const struct sch_shape shape = {.capacity = {.cpu_milli = 8000, .memory_bytes = 1ull << 34},
                                       .nodes = 2};

static inline void up(struct world *w, const char *cluster)
{
    step(w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                               .u.cluster = {.name = cluster, .shapes = &shape, .shape_count = 1}});
}

static inline void complete(struct world *w, const char *cluster)
{
    step(w, (struct sch_event){.type = SCH_EVENT_INVENTORY_COMPLETE, .u.cluster.name = cluster});
}

static inline void down(struct world *w, const char *cluster)
{
    step(w, (struct sch_event){.type = SCH_EVENT_CLUSTER_DOWN, .u.cluster.name = cluster});
}

static inline void grant(struct world *w, const char *cluster, uint32_t class_id, uint64_t granted)
{
    step(w, (struct sch_event){
                .type = SCH_EVENT_GRANT,
                .u.grant = {.cluster = cluster, .class_id = class_id, .granted = granted}});
}

static inline struct sch_event report(enum sch_event_type type, const char *cluster,
                                      uint64_t action, uint32_t number, uint32_t epoch,
                                      enum sch_outcome outcome)
{
    return (struct sch_event){.type = type,
                              .u.report = {.cluster = cluster,
                                           .action_id = action,
                                           .number = number,
                                           .epoch = epoch,
                                           .outcome = outcome,
                                           .started_ns = 7}};
}

/* The current attempt ends. */
static inline void outcome(struct world *w, const struct sch_action *a, enum sch_outcome kind)
{
    step(w, report(SCH_EVENT_OUTCOME, sch_cluster_name(a->cluster), a->id, a->number,
                   a->attempt_epoch, kind));
}

static inline void started(struct world *w, const struct sch_action *a)
{
    step(w, report(SCH_EVENT_STARTED, sch_cluster_name(a->cluster), a->id, a->number,
                   a->attempt_epoch, 0));
}

static inline void inventory(struct world *w, const char *cluster, uint64_t action, uint32_t number,
                             uint32_t epoch, bool is_started)
{
    step(w, (struct sch_event){.type = SCH_EVENT_INVENTORY,
                               .u.inventory = {.cluster = cluster,
                                               .action_id = action,
                                               .number = number,
                                               .epoch = epoch,
                                               .started = is_started}});
}

static inline void tick_at(struct world *w, int64_t now)
{
    w->now = now;
    step(w, (struct sch_event){.type = SCH_EVENT_TICK});
}

/* Ticks whenever the core asks for it, as a healthy loop does. */
static inline void run_until(struct world *w, int64_t until)
{
    int64_t next;
    while ((next = sch_partition_next_ns(w->p)) <= until)
        tick_at(w, next > w->now ? next : w->now);
    w->now = until;
}

/* A ready cluster "east" with room for everything, and one task assigned to it. */
static inline struct sch_action *assigned(struct world *w)
{
    up(w, "east");
    complete(w, "east");
    struct sch_action *a = create(w, "run", &w->task);
    grant(w, "east", sch_action_class_id(a), 1000);
    ck_assert_int_eq(a->sm.state, SCH_ACTION_ASSIGNED);
    return a;
}

#define assert_state(a, want) ck_assert_str_eq(sm_name(&(a)->sm, &sch_action_table), want)
