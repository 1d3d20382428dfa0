/*
 * A small random situation, the same one for each seed: clusters that grant what fits by their
 * room, queues with limits, actions of which some are out.
 */
#pragma once

#include "scheduler/partition_route.h"
#include "tests/unit/test_sch_world.h"

#define CLUSTERS_MAX 3
#define ACTIONS_MAX 9

/* ---- a situation ---- */

struct place { /* a cluster: one that grants what fits, by its room */
    char name[8];
    struct sch_shape shape;
    int64_t price;
    const char *region;
    bool up, room_known, pieces; /* pieces: it has room, but grants nothing */
    struct sch_use room;
    uint32_t grants; /* to each class; room is not known */
};

struct situation {
    struct world w;
    uint64_t random, places_random;
    struct place places[CLUSTERS_MAX];
    unsigned place_count;
    struct sch_spec specs[3];
    struct sch_action *actions[ACTIONS_MAX];
    unsigned action_count;
};

static inline uint32_t draw(struct situation *s, uint32_t below)
{
    s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(s->random >> 33) % below;
}

static inline bool chance(struct situation *s, uint32_t percent)
{
    return draw(s, 100) < percent;
}

/* Of a stream of its own, so that the rest stays as it was without regions. */
static inline uint32_t draw_place(struct situation *s)
{
    s->places_random = s->places_random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(s->places_random >> 33);
}

static inline const char *draw_region(struct situation *s)
{
    return draw_place(s) % 100 < 60 ? "eu" : "us";
}

static inline struct sch_queue_config draw_queue(struct situation *s, const char *project,
                                                 const char *domain, const char *name)
{
    struct sch_queue_key key = {0};
    snprintf(key.project, sizeof(key.project), "%s", project);
    snprintf(key.domain, sizeof(key.domain), "%s", domain);
    snprintf(key.name, sizeof(key.name), "%s", name);
    struct sch_queue_config config = sch_queue_config_default(&key);
    config.weight = 100 * (1 + draw(s, 3));
    config.paused = chance(s, 12);
    config.priority = chance(s, 20) ? (int32_t)draw(s, 3) : 0;
    config.actions_max = chance(s, 30) ? 1 + draw(s, 3) : 0;
    config.cpu_milli_max = chance(s, 20) ? 1000 * (1 + draw(s, 5)) : 0;
    config.memory_bytes_max = chance(s, 10) ? (1 + draw(s, 5)) << 30 : 0;
    config.gpus_max = chance(s, 15) ? 1 + draw(s, 3) : 0;
    config.price_max = chance(s, 15) ? 1 + draw(s, 3) : 0;
    config.preemptible_nodes = draw_place(s) % 100 < 40;
    config.region_count = draw_place(s) % 100 < 15;
    if (config.region_count > 0)
        snprintf(config.regions[0], sizeof(config.regions[0]), "%s", draw_region(s));
    config.cluster_count = chance(s, 20) ? 1 : 0;
    if (config.cluster_count > 0)
        snprintf(config.clusters[0], sizeof(config.clusters[0]), "c%u", draw(s, CLUSTERS_MAX));
    return config;
}

static inline void configure(struct situation *s, const struct sch_queue_config *config)
{
    step(&s->w, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = config});
}

static inline uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t fitting(const struct sch_cluster *c, const struct sch_resources *request)
{
    uint64_t n = (c->room_granted.cpu_milli - c->room_assigned.cpu_milli) / request->cpu_milli;
    n = at_most(n, (c->room_granted.memory_bytes - c->room_assigned.memory_bytes) /
                       request->memory_bytes);
    if (request->gpus > 0)
        n = at_most(n, (c->room_granted.gpu_milli - c->room_assigned.gpu_milli) /
                           sch_resources_gpu_milli(request));
    return n;
}

static inline const struct place *place_of(const struct situation *s,
                                           const struct sch_cluster *cluster)
{
    for (unsigned i = 0; i < s->place_count; i++) {
        if (strcmp(s->places[i].name, cluster->name) == 0)
            return &s->places[i];
    }
    return NULL;
}

/* What an operator that was asked for the class grants of it. */
static inline void grant_asked(void *ctx, struct sch_class *class, struct sch_pair *pair)
{
    struct situation *s = ctx;
    const struct place *place = place_of(s, pair->cluster);
    if (place->room_known && !place->pieces)
        sch_class_grant(s->w.p, class, pair->cluster,
                        pair->assigned + fitting(pair->cluster, &class->request), 0);
    else if (!place->room_known)
        sch_class_grant(s->w.p, class, pair->cluster, place->grants, 0);
}

static inline void each_pair(struct sch_partition *p,
                             void (*fn)(void *ctx, struct sch_class *class, struct sch_pair *pair),
                             void *ctx)
{
    for (struct sch_link *at = p->classes.next; at != &p->classes; at = at->next) {
        struct sch_class *class = sy_container_of(at, struct sch_class, link);
        for (size_t i = 0; i < class->pair_count; i++) {
            if (sch_cluster_connected(class->pairs[i]->cluster) && class->pairs[i]->feasible)
                fn(ctx, class, class->pairs[i]);
        }
    }
}

static inline void settle(struct situation *s)
{
    for (int i = 0; i < 3; i++) {
        each_pair(s->w.p, grant_asked, s);
        tick_at(&s->w, s->w.now + 5 * SY_NS_PER_MS);
    }
    sch_partition_check(s->w.p);
}

static inline void open_place(struct situation *s, const struct place *place)
{
    struct world *w = &s->w;
    step(w, (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                               .u.cluster = {.name = place->name,
                                             .shapes = &place->shape,
                                             .shape_count = 1,
                                             .price = place->price,
                                             .region = place->region}});
    complete(w, place->name);
    if (place->room_known)
        step(w, (struct sch_event){.type = SCH_EVENT_ROOM,
                                   .u.room = {place->name, place->room.cpu_milli,
                                              place->room.memory_bytes, place->room.gpu_milli}});
    if (!place->up)
        down(w, place->name);
}

static inline void make_places(struct situation *s)
{
    s->place_count = draw(s, 10) == 0 ? 0 : 1 + draw(s, CLUSTERS_MAX);
    for (unsigned i = 0; i < s->place_count; i++) {
        struct place *place = &s->places[i];
        *place = (struct place){.price = draw(s, 4),
                                .up = chance(s, 75),
                                .room_known = chance(s, 80),
                                .pieces = chance(s, 15),
                                .grants = draw(s, 3)};
        place->region = draw_region(s);
        snprintf(place->name, sizeof(place->name), "c%u", i);
        place->shape = (struct sch_shape){.capacity = {.cpu_milli = 1000u << draw(s, 4),
                                                       .memory_bytes = 1ull << (30 + draw(s, 4)),
                                                       .gpus = draw(s, 3) * 2},
                                          .nodes = 1};
        if (draw_place(s) % 100 < 20)
            memcpy(place->shape.traits.taints, SCH_LABEL_SPOT, sizeof(SCH_LABEL_SPOT));
        place->room = (struct sch_use){.cpu_milli = 1000 * draw(s, 6),
                                       .memory_bytes = (uint64_t)draw(s, 6) << 30,
                                       .gpu_milli = 1000 * draw(s, 4)};
        open_place(s, place);
    }
}

static inline void make_queues(struct situation *s)
{
    static const char *const levels[][3] = {
        {"p", "", ""}, {"p", "d", ""}, {"p", "d", "q"}, {"p", "d", "r"}, {"", "", "g"}};
    for (unsigned i = 0; i < SY_COUNT_OF(levels); i++) {
        if (i < 2 && chance(s, 60))
            continue;
        struct sch_queue_config config = draw_queue(s, levels[i][0], levels[i][1], levels[i][2]);
        if (i == 3 && chance(s, 40))
            snprintf(config.parent, sizeof(config.parent), "q");
        configure(s, &config);
    }
}

static inline void submit(struct situation *s, const char *run, uint32_t concurrency_max)
{
    static const char *const queues[] = {"q", "r", "g", NULL};
    const char *project = chance(s, 80) ? "p" : "o";
    bool named = strcmp(project, "p") == 0;
    struct sch_spec *spec = &s->specs[draw(s, SY_COUNT_OF(s->specs))];
    step(&s->w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                                   .u.create = {.project = project,
                                                .domain = "d",
                                                .name = run,
                                                .spec = spec,
                                                .priority = (int32_t)draw(s, 3),
                                                .queue = named ? queues[draw(s, 4)] : NULL,
                                                .concurrency_max = concurrency_max}});
    struct sch_run *made = sch_partition_find_run(s->w.p, project, "d", run);
    if (made)
        s->actions[s->action_count++] = made->root;
}

static inline void submit_child(struct situation *s, struct sch_action *parent, unsigned number)
{
    char name[8];
    snprintf(name, sizeof(name), "k%u", number);
    step(&s->w, (struct sch_event){.type = SCH_EVENT_ENQUEUE,
                                   .u.enqueue = {.parent = parent,
                                                 .name = name,
                                                 .spec = &s->specs[draw(s, 3)],
                                                 .priority = (int32_t)draw(s, 2)}});
    struct sch_action *made = sch_partition_find_action(s->w.p, parent->run, name);
    if (made)
        s->actions[s->action_count++] = made;
}

static inline void make_actions(struct situation *s)
{
    for (unsigned i = 0; i < SY_COUNT_OF(s->specs); i++) {
        s->specs[i] = (struct sch_spec){.request = {.cpu_milli = 1000 * (1 + draw(s, 4)),
                                                    .memory_bytes = (1ull + draw(s, 3)) << 30,
                                                    .gpus = chance(s, 30) ? 1 + draw(s, 2) : 0},
                                        .retries = 3,
                                        .backoff_ns = 30 * SY_NS_PER_S};
    }
    for (unsigned i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof(name), "r%u", i);
        submit(s, name, i == 0 ? 2 : 0);
        if (i == 2)
            settle(s);
    }
    struct sch_action *limited = s->action_count > 0 ? s->actions[0] : NULL;
    for (unsigned i = 0; i < 3 && limited && limited->run->concurrency_max > 0; i++)
        submit_child(s, limited, i);
    settle(s);
    /* One at most: of others whose back-off ends by then an explanation says nothing. */
    for (unsigned i = 0; i < s->action_count; i++) {
        if (s->actions[i]->sm.state == SCH_ACTION_ASSIGNED && chance(s, 25)) {
            outcome(&s->w, s->actions[i], SCH_OUTCOME_FAILED);
            break;
        }
    }
    settle(s);
}

static inline struct situation *situation_new(uint64_t seed)
{
    struct situation *s = sy_new(struct situation);
    s->random = seed * 2654435761u + 17;
    s->places_random = s->random;
    (void)draw(s, 2);
    s->w = world_new();
    make_places(s);
    make_queues(s);
    make_actions(s);
    return s;
}

static inline void situation_free(struct situation *s)
{
    world_free(&s->w);
    free(s);
}
