/*
 * Queues in a partition's core: configured, used, and a cluster that gives room by the core.
 */
#pragma once

#include "tests/unit/test_sch_world.h"

static inline struct sch_queue_config queue(const char *project, const char *domain,
                                            const char *name)
{
    struct sch_queue_key key = {0};
    snprintf(key.project, sizeof(key.project), "%s", project);
    snprintf(key.domain, sizeof(key.domain), "%s", domain);
    snprintf(key.name, sizeof(key.name), "%s", name);
    return sch_queue_config_default(&key);
}

/* The only one that it may use. */
static inline void name_cluster(struct sch_queue_config *config, const char *name)
{
    config->cluster_count = 1;
    snprintf(config->clusters[0], sizeof(config->clusters[0]), "%s", name);
}

static inline void configure(struct world *w, struct sch_queue_config config)
{
    struct sy_error_text error = {0};
    ck_assert_msg(sch_queue_config_check(&config, &error) == 0, "%s", error.text);
    step(w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
    sch_partition_check(w->p);
}

/* The root of a new run in domain "d"; NULL: it was refused. */
static inline struct sch_action *submit(struct world *w, const char *project,
                                        const char *queue_name, struct sch_spec *spec,
                                        int32_t priority)
{
    static unsigned counter;
    char name[24];
    snprintf(name, sizeof(name), "r%u", ++counter);
    step(w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                               .u.create = {.project = project,
                                            .domain = "d",
                                            .name = name,
                                            .spec = spec,
                                            .priority = priority,
                                            .queue = queue_name}});
    struct sch_run *run = sch_partition_find_run(w->p, project, "d", name);
    return run ? sch_partition_find_action(w->p, run, "a0") : NULL;
}

static inline void open_cluster(struct world *w, const char *name)
{
    up(w, name);
    complete(w, name);
}

/* All classes may be assigned without end; the room says how much of it at a time. */
static inline void room(struct world *w, const char *cluster, uint64_t cpu_milli)
{
    step(w, (struct sch_event){.type = SCH_EVENT_ROOM,
                               .u.room = {.cluster = cluster,
                                          .cpu_milli = cpu_milli,
                                          .memory_bytes = UINT64_MAX / 2,
                                          .gpu_milli = 1u << 30}});
    sch_partition_check(w->p);
}

/* ---- work that may be stopped ---- */

/* Where a class that has no room for a second makes room. */
static inline struct world world_that_reclaims(void)
{
    struct sch_partition_options options = options_of(5);
    options.reclaim_delay_ns = SY_NS_PER_S;
    struct world w = world_with(options);
    open_cluster(&w, "east");
    room(&w, "east", 0);
    return w;
}

/* The next effect of this kind within so long; NULL: none. */
static inline const struct sch_effect *wait_for(struct world *w, enum sch_effect_type type,
                                                int64_t ns)
{
    int64_t until = w->now + ns, next;
    while ((next = sch_partition_next_ns(w->p)) <= until) {
        tick_at(w, next > w->now ? next : w->now);
        if (count(w, type) > 0)
            return nth(w, type, 0);
    }
    w->now = until;
    return NULL;
}

/* The cluster, of "east" and "west", that a policy chooses. */
static inline const char *where(struct world *w, enum sch_policy policy, const char *name)
{
    struct sch_queue_config config = queue("p", "d", name);
    config.policy = policy;
    config.paused = true;
    configure(w, config);
    struct sch_action *a = submit(w, "p", name, &w->task, 0);
    grant(w, "east", sch_action_class_id(a), 4);
    grant(w, "west", sch_action_class_id(a), 9);
    config.paused = false;
    configure(w, config);
    assert_state(a, "assigned");
    return sch_cluster_name(a->cluster);
}
