/* links: sch */
/*
 * Explanations against brute force. A seed makes a small situation: clusters, queues with limits,
 * actions of which some are out. For each action that waits the stated changes are made to a fresh
 * copy of the situation, all at once, and it must start; with any one of them left out it must not;
 * and no smaller set of changes, of all that there are, may start it.
 *
 *     EXPLAIN_SEED=n for one seed, EXPLAIN_SEEDS=n for the first n.
 */
#include "scheduler/explain.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_slice.h"
#include "tests/unit/test_sch_situation.h"

#define UNIVERSE_MAX 96
#define SEEDS 400

/* ---- changes, all at once ---- */

static struct sch_share *level_of(const struct sch_action *action, const struct sch_queue_key *key)
{
    struct sch_share *at = sch_action_impl_const(action)->lane->seat.share->parent;
    for (; at; at = at->parent) {
        if (memcmp(&at->key, key, sizeof(*key)) == 0)
            return at;
    }
    ck_abort_msg("the queue is not on the action's path");
}

static void change_queue(struct situation *s, const struct sch_action *action,
                         const struct sch_change *c)
{
    const struct sch_queue_config *old = level_of(action, &c->queue)->config;
    struct sch_queue_config config = sch_queue_config_default(&c->queue);
    memcpy(&config, old, sch_queue_config_size(old)); /* it keeps what it uses */
    if (c->type == SCH_CHANGE_RESUME)
        config.paused = false;
    if (c->type == SCH_CHANGE_PRICE)
        config.price_max = (int64_t)c->least;
    if (c->type == SCH_CHANGE_REGION && !c->region[0])
        config.region_count = 0;
    else if (c->type == SCH_CHANGE_REGION && config.region_count > 0 &&
             !sch_names_have(config.regions, config.region_count, c->region))
        snprintf(config.regions[config.region_count++], SCH_QUEUE_NAME_MAX, "%s", c->region);
    if (c->type == SCH_CHANGE_ALLOW)
        snprintf(config.clusters[config.cluster_count++], SCH_QUEUE_NAME_MAX, "%s", c->cluster);
    if (c->type == SCH_CHANGE_LIMIT && c->limit == SCH_LIMIT_ACTIONS)
        config.actions_max = c->least;
    if (c->type == SCH_CHANGE_LIMIT && c->limit == SCH_LIMIT_CPU)
        config.cpu_milli_max = c->least;
    if (c->type == SCH_CHANGE_LIMIT && c->limit == SCH_LIMIT_MEMORY)
        config.memory_bytes_max = c->least;
    if (c->type == SCH_CHANGE_LIMIT && c->limit == SCH_LIMIT_GPUS)
        config.gpus_max = (uint32_t)((c->least + 999) / 1000);
    sch_share_configure(s->w.p, &config);
}

static void go_first(struct situation *s, struct sch_action *action)
{
    struct sch_action_impl *a = sch_action_impl(action);
    const int32_t first = 1 << 20;
    if (action->sm.state == SCH_ACTION_QUEUED) {
        sch_lane_remove(s->w.p, a);
        action->priority = first;
        sch_lane_push(s->w.p, a, true);
    } else if (action->sm.state == SCH_ACTION_HELD) {
        sch_gate_unhold(s->w.p, a);
        action->priority = first;
        sch_gate_hold(s->w.p, a, true);
    } else {
        action->priority = first;
    }
}

static void free_slot(struct situation *s, struct sch_action *action)
{
    struct sch_gate *gate = sch_run_impl(action->run)->gate;
    action->run->concurrency_max++;
    if (!sch_link_in_list(&gate->touched))
        sch_list_push_back(&s->w.p->gates_touched, &gate->touched);
}

static void add_room(struct situation *s, struct sch_cluster *cluster, const struct sch_use *more)
{
    struct sch_use room = cluster->room_granted;
    room.cpu_milli += more->cpu_milli;
    room.memory_bytes += more->memory_bytes;
    room.gpu_milli += more->gpu_milli;
    if (cluster->room_known)
        sch_cluster_room(s->w.p, cluster, &room);
}

static void connect(struct situation *s, const struct sch_action *action, const char *name)
{
    const struct sch_resources *request = &action->spec->request;
    struct sch_cluster *cluster = sch_cluster_find(s->w.p, name);
    struct sch_shape new = {.capacity = *request, .nodes = 1};
    name = name[0] ? name : "new";
    const struct sch_rule_content *rule =
        &sch_action_impl_const(action)->lane->seat.share->rule->content;
    struct sch_cluster_said said = {.name = name,
                                    .shapes = &new,
                                    .shape_count = cluster ? 0 : 1,
                                    .keep_shapes = cluster != NULL,
                                    .price = cluster ? cluster->price : 0,
                                    .region = cluster              ? cluster->region
                                              : rule->region_count ? rule->regions[0]
                                                                   : NULL};
    char region[SCH_NAME_MAX] = "";
    if (said.region)
        snprintf(region, sizeof(region), "%s", said.region);
    said.region = region; /* what it had is overwritten */
    sch_cluster_up(s->w.p, &said);
    struct sch_use room = sch_use_of(request);
    sch_cluster_room(s->w.p, sch_cluster_find(s->w.p, name), &room);
}

static void add_node(struct situation *s, const struct sch_action *action, const char *name)
{
    struct sch_cluster *cluster = sch_cluster_find(s->w.p, name);
    struct sch_shape shapes[2] = {cluster->shapes[0],
                                  {.capacity = action->spec->request, .nodes = 1}};
    struct sch_use room = sch_use_of(&action->spec->request);
    if (!sch_cluster_connected(cluster)) { /* nobody would know */
        free(cluster->shapes);
        cluster->shapes = sy_memdup(shapes, sizeof(shapes));
        cluster->shape_count = 2;
        sch_cluster_learned(s->w.p, cluster);
        return;
    }
    char region[SCH_NAME_MAX];
    memcpy(region, cluster->region, sizeof(region));
    sch_cluster_up(s->w.p, &(struct sch_cluster_said){.name = name,
                                                      .shapes = shapes,
                                                      .shape_count = 2,
                                                      .price = cluster->price,
                                                      .region = region});
    add_room(s, cluster, &room);
}

static const struct sch_change *find_change(const struct sch_change *changes, size_t count,
                                            enum sch_change_type type, const char *cluster)
{
    for (size_t i = 0; i < count; i++) {
        if (changes[i].type == type && strcmp(changes[i].cluster, cluster) == 0)
            return &changes[i];
    }
    return NULL;
}

/* Grants after the changes: operators that were asked before have answered; others, and those with
 * room that is new, answer as the room says. */
struct after {
    struct situation *s;
    const struct sch_action *action;
    const struct sch_change *changes;
    size_t count;
    struct {
        const struct sch_class *class;
        const struct sch_cluster *cluster;
    } asked[64];
    size_t asked_count;
    struct {
        const struct sch_lane *lane;
        const struct sch_class *class; /* before the changes: rules may have moved it */
    } lanes[64];
    size_t lane_count;
};

static bool was_asked(const struct after *after, const struct sch_class *class,
                      const struct sch_cluster *cluster)
{
    for (size_t i = 0; i < after->asked_count; i++) {
        if (after->asked[i].class == class && after->asked[i].cluster == cluster)
            return true;
    }
    return false;
}

static const struct sch_class *class_before(const struct after *after,
                                            const struct sch_class *class)
{
    const struct sch_lane *own = sch_action_impl_const(after->action)->lane;
    const struct sch_class *before = NULL;
    for (size_t i = 0; i < after->lane_count; i++) {
        if (after->lanes[i].lane->seat.class != class)
            continue;
        if (!before || after->lanes[i].lane == own)
            before = after->lanes[i].class;
    }
    return before;
}

static void note_lanes(struct after *after, const struct sch_class *class)
{
    for (struct sch_link *at = class->lanes.next; at != &class->lanes; at = at->next) {
        ck_assert_uint_lt(after->lane_count, SY_COUNT_OF(after->lanes));
        after->lanes[after->lane_count].lane = sy_container_of(at, struct sch_lane, link);
        after->lanes[after->lane_count++].class = class;
    }
}

static void note_asked(struct after *after)
{
    struct sch_partition *p = after->s->w.p;
    for (struct sch_link *at = p->classes.next; at != &p->classes; at = at->next) {
        const struct sch_class *class = sy_container_of(at, struct sch_class, link);
        note_lanes(after, class);
        for (size_t i = 0; i < class->pair_count; i++) {
            const struct sch_pair *pair = class->pairs[i];
            bool room = !pair->cluster->room_known || fitting(pair->cluster, &class->request) > 0;
            if (!sch_cluster_connected(pair->cluster) || !pair->told || class->root.ready == 0 ||
                !room)
                continue;
            ck_assert_uint_lt(after->asked_count, SY_COUNT_OF(after->asked));
            after->asked[after->asked_count].class = class;
            after->asked[after->asked_count++].cluster = pair->cluster;
        }
    }
}

static void grant_after(void *ctx, struct sch_class *class, struct sch_pair *pair)
{
    const struct after *after = ctx;
    struct situation *s = after->s;
    const struct place *place = place_of(s, pair->cluster);
    const char *name = pair->cluster->name;
    bool own = class == sch_action_class(sch_action_impl_const(after->action));
    bool answered = was_asked(after, class_before(after, class), pair->cluster);
    bool node = find_change(after->changes, after->count, SCH_CHANGE_NODE, name);
    bool room = find_change(after->changes, after->count, SCH_CHANGE_ROOM, name);
    uint64_t fits = pair->cluster->room_known ? fitting(pair->cluster, &class->request) : 1;
    uint64_t left = pair->granted - pair->assigned;
    if (own && (node || (room && left == 0 && place && place->pieces)))
        fits = at_most(fits, 1); /* where one of it fits */
    else if (answered && place && (place->pieces || !place->room_known))
        fits = own && room && left == 0 ? 1 : left;
    sch_class_grant(s->w.p, class, pair->cluster, pair->assigned + fits, 0);
}

static void change(struct after *after, struct sch_action *action, const struct sch_change *c)
{
    struct situation *s = after->s;
    switch (c->type) {
    case SCH_CHANGE_TIME:
        s->w.now = c->at_ns;
        break;
    case SCH_CHANGE_FIRST:
        go_first(s, action);
        break;
    case SCH_CHANGE_ROOM:
        add_room(s, sch_cluster_find(s->w.p, c->cluster), &c->amounts);
        break;
    case SCH_CHANGE_SLOT:
        free_slot(s, action);
        break;
    case SCH_CHANGE_CONNECT:
        connect(s, action, c->cluster);
        break;
    case SCH_CHANGE_NODE:
        add_node(s, action, c->cluster);
        break;
    default:
        change_queue(s, action, c);
        break;
    }
}

/* A fresh copy of the situation, the changes made: whether the action starts. */
static bool starts(uint64_t seed, unsigned index, const struct sch_change *changes, size_t count)
{
    struct situation *s = situation_new(seed);
    struct sch_action *action = s->actions[index];
    struct after after = {.s = s, .action = action, .changes = changes, .count = count};
    struct sch_use capacity = s->w.p->capacity;
    note_asked(&after);
    /* A node first: what connects tells of it. */
    for (size_t i = 0; i < count; i++) {
        if (changes[i].type == SCH_CHANGE_NODE)
            change(&after, action, &changes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (changes[i].type != SCH_CHANGE_NODE)
            change(&after, action, &changes[i]);
    }
    s->w.p->capacity = capacity; /* that nodes change shares is not foreseen */
    sch_round_begin(&s->w.p->weighing);
    for (struct sch_link *at = s->w.p->classes.next; at != &s->w.p->classes; at = at->next)
        sch_class_sync(s->w.p, sy_container_of(at, struct sch_class, link));
    each_pair(s->w.p, grant_after, &after);
    step(&s->w, (struct sch_event){.type = SCH_EVENT_TICK});
    sch_partition_check(s->w.p);
    bool started = action->sm.state == SCH_ACTION_ASSIGNED;
    situation_free(s);
    return started;
}

/* ---- all changes that there are ---- */

static void add_change(struct sch_change *all, size_t *count, struct sch_change change_)
{
    ck_assert_uint_lt(*count, UNIVERSE_MAX);
    all[(*count)++] = change_;
}

static void add_cluster_changes(const struct sch_action *action,
                                const struct sch_explain_cluster *c, struct sch_change *all,
                                size_t *count)
{
    struct sch_use request = sch_use_of(&action->spec->request);
    const struct sch_share *share = sch_action_impl_const(action)->lane->seat.share;
    bool listed = false;
    for (; share; share = share->parent) {
        const struct sch_queue_config *config = share->config;
        if (config && config->price_max > 0 && config->price_max < c->price)
            add_change(all, count,
                       (struct sch_change){.type = SCH_CHANGE_PRICE,
                                           .queue = share->key,
                                           .cluster = c->name,
                                           .least = (uint64_t)c->price});
        if (config && config->region_count > 0 &&
            !sch_names_have(config->regions, config->region_count, c->region))
            add_change(all, count,
                       (struct sch_change){.type = SCH_CHANGE_REGION,
                                           .queue = share->key,
                                           .cluster = c->name,
                                           .region = c->region});
        if (config && config->cluster_count > 0 && !listed &&
            strcmp(config->clusters[0], c->name) != 0)
            add_change(all, count,
                       (struct sch_change){
                           .type = SCH_CHANGE_ALLOW, .queue = share->key, .cluster = c->name});
        listed = listed || (config && config->cluster_count > 0);
    }
    bool up = strcmp(c->state, "down") != 0;
    if (up)
        add_change(all, count,
                   (struct sch_change){
                       .type = SCH_CHANGE_ROOM, .cluster = c->name, .amounts = c->missing});
    else
        add_change(all, count, (struct sch_change){.type = SCH_CHANGE_CONNECT, .cluster = c->name});
    if (c->why_not & SCH_WHY_SHAPE)
        add_change(
            all, count,
            (struct sch_change){.type = SCH_CHANGE_NODE, .cluster = c->name, .amounts = request});
}

static size_t universe(const struct sch_action *action, const struct sch_explanation *e,
                       struct sch_change all[UNIVERSE_MAX])
{
    size_t count = 0;
    add_change(all, &count, (struct sch_change){.type = SCH_CHANGE_FIRST});
    if (e->state == SCH_ACTION_BACKOFF)
        add_change(all, &count, (struct sch_change){.type = SCH_CHANGE_TIME, .at_ns = e->until_ns});
    if (action->run->concurrency_max > 0)
        add_change(all, &count, (struct sch_change){.type = SCH_CHANGE_SLOT});
    for (size_t i = 0; i < e->limit_count; i++) {
        const struct sch_explain_limit *limit = &e->limits[i];
        bool paused = limit->limit == SCH_LIMIT_PAUSED;
        add_change(
            all, &count,
            (struct sch_change){.type = paused ? SCH_CHANGE_RESUME : SCH_CHANGE_LIMIT,
                                .queue = limit->queue,
                                .limit = limit->limit,
                                .least = limit->max + limit->used + limit->need - limit->allowed});
    }
    for (size_t i = 0; i < e->cluster_count; i++)
        add_cluster_changes(action, &e->clusters[i], all, &count);
    return count;
}

/* ---- the checks ---- */

/* An explanation does not play through which cluster others take where several have room, so at
 * times it says that the action has to go first where it need not. */
struct tally {
    unsigned explained, loose;
};

struct check {
    struct tally *tally;
    uint64_t seed;
    unsigned index;
    const struct sch_explanation *e;
};

static const char *const type_names[] = {"time",  "first",  "room",  "slot",    "limit", "resume",
                                         "allow", "region", "price", "connect", "node"};

static void say(const struct check *c, const struct sch_change *changes, size_t count)
{
    printf("EXPLAIN_SEED=%llu action %u (%s):", (unsigned long long)c->seed, c->index,
           sch_action_table.states[c->e->state].name);
    for (size_t i = 0; i < count; i++)
        printf(" %s(%s%s)", type_names[changes[i].type],
               changes[i].cluster ? changes[i].cluster : "", changes[i].queue.name);
    printf("; ahead %llu + %llu\n", (unsigned long long)c->e->ahead.own,
           (unsigned long long)c->e->ahead.others);
}

static void say_facts(const struct sch_explanation *e)
{
    for (size_t i = 0; i < e->limit_count; i++)
        printf("  limit %s of '%s': %llu of %llu\n", sch_limit_name(e->limits[i].limit),
               e->limits[i].queue.name, (unsigned long long)e->limits[i].used,
               (unsigned long long)e->limits[i].max);
    for (size_t i = 0; i < e->ahead.lane_count; i++)
        printf("  ahead: %llu of %s in '%s', %u milli, priority %d\n",
               (unsigned long long)e->ahead.lanes[i].actions, e->ahead.lanes[i].project,
               e->ahead.lanes[i].queue.name, e->ahead.lanes[i].request.cpu_milli,
               e->ahead.lanes[i].priority);
    for (size_t i = 0; i < e->cluster_count; i++)
        printf("  %s %s: why not %#x %s\n", e->clusters[i].name, e->clusters[i].state,
               e->clusters[i].why_not, e->clusters[i].miss.text);
}

static bool has_first(const struct sch_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (changes[i].type == SCH_CHANGE_FIRST)
            return true;
    }
    return false;
}

static void must(const struct check *c, bool want, const struct sch_change *changes, size_t count)
{
    if (starts(c->seed, c->index, changes, count) == want)
        return;
    if (!want && has_first(c->e->changes, c->e->change_count) && !has_first(changes, count)) {
        c->tally->loose++;
        return;
    }
    say(c, c->e->changes, c->e->change_count);
    say(c, changes, count);
    say_facts(c->e);
    ck_abort_msg("seed %llu: the action %s with these changes", (unsigned long long)c->seed,
                 want ? "does not start" : "starts");
}

static void check_set(const struct check *c)
{
    const struct sch_explanation *e = c->e;
    must(c, true, e->changes, e->change_count);
    for (size_t drop = 0; drop < e->change_count; drop++) {
        struct sch_change rest[SCH_EXPLAIN_CHANGES_MAX];
        size_t count = 0;
        for (size_t i = 0; i < e->change_count; i++) {
            if (i != drop)
                rest[count++] = e->changes[i];
        }
        must(c, false, rest, count);
    }
}

/* No set of one, or of two, when more are stated. */
static void check_least(const struct check *c, const struct sch_change *all, size_t count)
{
    size_t stated = c->e->change_count;
    for (size_t i = 0; i < count && stated > 1; i++) {
        must(c, false, &all[i], 1);
        for (size_t k = i + 1; k < count && stated > 2; k++) {
            struct sch_change two[] = {all[i], all[k]};
            must(c, false, two, 2);
        }
    }
}

/* Some cluster is held back by these reasons at most. */
static bool some_cluster(const struct sch_explanation *e, uint32_t reasons)
{
    for (size_t i = 0; i < e->cluster_count; i++) {
        if ((e->clusters[i].why_not & ~reasons) == 0)
            return true;
    }
    return false;
}

/* With all that is stated of a cluster lifted it starts there, without any one it does not. */
static void check_cluster(const struct check *c, const struct sch_explain_cluster *cluster,
                          const struct sch_change *all, size_t count)
{
    struct sch_change set[UNIVERSE_MAX];
    size_t n = 0;
    bool up = !(cluster->why_not & SCH_WHY_NOT_CONNECTED), node = cluster->why_not & SCH_WHY_SHAPE;
    bool room = (cluster->why_not & (SCH_WHY_ROOM | SCH_WHY_NO_GRANT)) && up && !node;
    for (size_t i = 0; i < count; i++) {
        enum sch_change_type type = all[i].type;
        if ((all[i].cluster && strcmp(all[i].cluster, cluster->name) != 0) ||
            (type == SCH_CHANGE_ROOM && !room) || (type == SCH_CHANGE_NODE && !node) ||
            (type == SCH_CHANGE_SLOT && c->e->state != SCH_ACTION_HELD))
            continue;
        set[n++] = all[i];
    }
    if (c->e->state == SCH_ACTION_BACKOFF && c->e->slots_max > 0)
        return; /* whether it needs a slot then: check_set() */
    must(c, true, set, n);
    const uint32_t shared = SCH_WHY_PRICE | SCH_WHY_REGION;
    if ((cluster->why_not & shared) && some_cluster(c->e, shared))
        return; /* a price that is paid here is paid there, and so are regions alike */
    for (size_t drop = 0; drop < n; drop++) {
        struct sch_change kept = set[drop];
        if (kept.type == SCH_CHANGE_FIRST)
            continue;
        set[drop] = set[n - 1];
        must(c, false, set, n - 1);
        set[drop] = kept;
    }
}

static void check_action(uint64_t seed, struct situation *s, unsigned index, struct tally *tally)
{
    const struct sch_action *action = s->actions[index];
    struct sch_explanation *e = sch_explain(s->w.p, action);
    struct check c = {tally, seed, index, e};
    tally->explained += e->waits;
    if (e->waits) {
        struct sch_change all[UNIVERSE_MAX];
        size_t count = universe(action, e, all);
        ck_assert_uint_eq(e->starts_now, e->change_count == 0);
        ck_assert_msg(!e->starts_now, "seed %llu: nothing holds it, and it waits",
                      (unsigned long long)seed);
        check_set(&c);
        check_least(&c, all, count);
        for (size_t i = 0; i < e->cluster_count && !some_cluster(e, 0); i++)
            check_cluster(&c, &e->clusters[i], all, count);
    }
    sch_explanation_free(e);
}

START_TEST(explanations_are_true_and_least)
{
    const char *one = getenv("EXPLAIN_SEED"), *many = getenv("EXPLAIN_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t count_ = one ? 1 : many ? strtoull(many, NULL, 10) : SEEDS;
    struct tally tally = {0};
    for (uint64_t seed = first; seed < first + count_; seed++) {
        struct situation *s = situation_new(seed);
        for (unsigned i = 0; i < s->action_count; i++)
            check_action(seed, s, i, &tally);
        situation_free(s);
    }
    ck_assert(one || (tally.explained > count_ && tally.loose * 200 <= tally.explained));
}
END_TEST

/* ---- a submit that is only asked about ---- */

/* The answer before is what then happens, and nothing of the core has changed. */
START_TEST(a_submit_does_what_was_said)
{
    const char *one = getenv("EXPLAIN_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, last = one ? first : SEEDS;
    unsigned now = 0, later = 0, refused = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        struct situation *s = situation_new(seed);
        struct sch_spec *spec = &s->specs[seed % 3];
        const char *queue = seed % 2 ? "q" : "default";
        struct sch_submit submit_ = {.project = "p",
                                     .domain = "d",
                                     .queue = queue,
                                     .request = &spec->request,
                                     .priority = 1};
        struct sch_explanation *e = sch_explain_submit(s->w.p, &submit_);
        sch_partition_check(s->w.p);
        struct after after = {.s = s};
        note_asked(&after);
        step(&s->w, (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                                       .u.create = {.project = "p",
                                                    .domain = "d",
                                                    .name = "new",
                                                    .spec = spec,
                                                    .priority = 1,
                                                    .queue = queue}});
        bool rejected = count(&s->w, SCH_EFFECT_REJECTED) > 0;
        ck_assert_msg(rejected == e->refused, "EXPLAIN_SEED=%llu", (unsigned long long)seed);
        if (rejected) {
            refused++;
            ck_assert_int_eq(nth(&s->w, SCH_EFFECT_REJECTED, 0)->u.rejected.why, e->why);
        } else {
            const struct sch_run *run = sch_partition_find_run(s->w.p, "p", "d", "new");
            after.action = run->root;
            each_pair(s->w.p, grant_after, &after);
            step(&s->w, (struct sch_event){.type = SCH_EVENT_TICK});
            bool started = run->root->sm.state == SCH_ACTION_ASSIGNED;
            if (started != e->starts_now)
                say_facts(e);
            ck_assert_msg(started == e->starts_now, "EXPLAIN_SEED=%llu: %s",
                          (unsigned long long)seed, started ? "it starts" : "it waits");
            now += started;
            later += !started;
        }
        sch_explanation_free(e);
        situation_free(s);
    }
    ck_assert_msg(one || (now > 10 && later > 10 && refused > 10), "%u, %u, %u", now, later,
                  refused);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {explanations_are_true_and_least, a_submit_does_what_was_said,
                                  NULL};
    return sy_test_run("sch_explain_random", tests);
}
