#include "tests/sim/queues.h"

#include "base/mem.h"
#include "proto/pb.h"
#include "switchyard/v1/queue_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE "/switchyard.v1.QueueService/"
#define RETRY_NS (300 * SY_NS_PER_MS)
#define CALL_NS (5 * SY_NS_PER_S)
#define DOUBT_NS (15 * SY_NS_PER_S)
#define GIB ((uint64_t)1 << 30)

enum change {
    CHANGE_CREATE,
    CHANGE_UPDATE,
    CHANGE_PAUSE,
    CHANGE_RESUME,
    CHANGE_DELETE,
    CHANGE_WRONG, /* is refused, and changes nothing */
};

struct own {
    struct sim_queue queue; /* first */
    struct sim_queues *queues;
    struct sy_timer timer; /* of the next try */
    enum change change;
    unsigned tries;
    int64_t doubt_until_ns; /* a try whose answer did not come may be done until then */
    bool known;             /* it is done, and the change is over then */
    struct sch_queue_config wanted;
    bool healed;
};

struct sim_queues {
    struct sim_world *world;
    struct sy_loop *loop;
    struct sim_options options;
    struct own own[SIM_QUEUES_MAX];
    unsigned count;
    uint64_t changes;
};

/* ---- calls ---- */

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

struct message {
    Switchyard__V1__UpdateQueueRequest request; /* all requests begin alike */
    Switchyard__V1__QueueId id;
    Switchyard__V1__QueueSettings settings;
    char *clusters[SCH_QUEUE_CLUSTERS_MAX], *preferred[SCH_QUEUE_PREFERRED_MAX];
    char *regions[SCH_QUEUE_REGIONS_MAX];
};

static void message_init(struct message *m, const struct sch_queue_config *config)
{
    switchyard__v1__update_queue_request__init(&m->request);
    switchyard__v1__queue_id__init(&m->id);
    switchyard__v1__queue_settings__init(&m->settings);
    m->request.id = &m->id;
    m->id.project = text(config->key.project);
    m->id.domain = text(config->key.domain);
    m->id.name = text(config->key.name);
    m->settings.parent = text(config->parent);
    m->settings.weight = config->weight;
    m->settings.priority = config->priority;
    m->settings.actions_max = config->actions_max;
    m->settings.cpu_milli_max = config->cpu_milli_max;
    m->settings.memory_bytes_max = config->memory_bytes_max;
    m->settings.gpus_max = config->gpus_max;
    m->settings.length_max = config->length_max;
    m->settings.preemptible = config->preemptible;
    m->settings.paused = config->paused;
    m->settings.preemptible_nodes = config->preemptible_nodes;
    m->settings.infeasible = (Switchyard__V1__InfeasiblePolicy)config->infeasible;
    m->settings.policy = (Switchyard__V1__PlacementPolicy)(config->policy + 1);
    for (uint32_t i = 0; i < config->cluster_count; i++)
        m->clusters[i] = text(config->clusters[i]);
    m->settings.clusters = m->clusters;
    m->settings.n_clusters = config->cluster_count;
    for (uint32_t i = 0; i < config->preferred_count; i++)
        m->preferred[i] = text(config->preferred[i]);
    m->settings.preferred_clusters = m->preferred;
    m->settings.n_preferred_clusters = config->preferred_count;
    for (uint32_t i = 0; i < config->region_count; i++)
        m->regions[i] = text(config->regions[i]);
    m->settings.regions = m->regions;
    m->settings.n_regions = config->region_count;
}

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response);

static void settle(struct own *own, bool done)
{
    own->queue.changing = false;
    own->queues->changes += done;
    if (!done)
        return;
    own->queue.exists = own->change != CHANGE_DELETE;
    own->queue.config = own->wanted;
}

static void try(void *arg)
{
    static const char *const methods[] = {
        [CHANGE_CREATE] = SERVICE "CreateQueue", [CHANGE_UPDATE] = SERVICE "UpdateQueue",
        [CHANGE_PAUSE] = SERVICE "PauseQueue",   [CHANGE_RESUME] = SERVICE "ResumeQueue",
        [CHANGE_DELETE] = SERVICE "DeleteQueue", [CHANGE_WRONG] = SERVICE "UpdateQueue"};
    struct own *own = arg;
    if (own->known) {
        settle(own, true);
        return;
    }
    struct message message;
    struct sy_buf bytes = {0};
    message_init(&message, &own->wanted);
    bool with_settings = own->change == CHANGE_CREATE || own->change == CHANGE_UPDATE ||
                         own->change == CHANGE_WRONG;
    message.request.settings = with_settings ? &message.settings : NULL;
    pb_pack(&message.request.base, &bytes);
    struct sy_call_options options = {.method = methods[own->change], .timeout_ns = CALL_NS};
    sim_trace(own->queues->world, methods[own->change] + strlen(SERVICE), own->wanted.key.name,
              own->tries++);
    struct sy_channel *channel = sim_any_shard(own->queues->world);
    sy_channel_call(channel, own->queues->loop, &options, &bytes, on_reply, own);
}

/* A try of before that nobody answered may be done after this one, and after a later change. */
static void settle_surely(struct own *own)
{
    int64_t left_ns = own->doubt_until_ns - sim_now(own->queues->world);
    own->known = left_ns > 0;
    if (own->known)
        sy_timer_start_in(own->queues->loop, &own->timer, left_ns);
    else
        settle(own, true);
}

/* Refused by what is there: a parent that went meanwhile, actions or queues below it. */
static bool may_be_refused(const struct own *own)
{
    return own->change == CHANGE_CREATE || own->change == CHANGE_DELETE;
}

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct own *own = ctx;
    (void)response;
    sim_trace(own->queues->world, "changed", own->wanted.key.name, (uint64_t)status->code);
    own->known = false;
    switch (status->code) {
    case SY_CODE_UNAVAILABLE:
    case SY_CODE_DEADLINE_EXCEEDED:
    case SY_CODE_CANCELLED:
    case SY_CODE_RESOURCE_EXHAUSTED: /* it may yet be done, whatever the next try hears */
        own->doubt_until_ns = sim_now(own->queues->world) + DOUBT_NS;
        sy_timer_start_in(own->queues->loop, &own->timer, RETRY_NS);
        return;
    case SY_CODE_OK:
        if (own->change != CHANGE_WRONG) {
            settle_surely(own);
            return;
        }
        break;
    case SY_CODE_NOT_FOUND: /* an earlier try deleted it */
        if (own->change == CHANGE_DELETE && own->tries > 1) {
            settle_surely(own);
            return;
        }
        break;
    case SY_CODE_FAILED_PRECONDITION:
        if (own->change == CHANGE_DELETE && sim_now(own->queues->world) < own->doubt_until_ns) {
            sy_timer_start_in(own->queues->loop, &own->timer, RETRY_NS);
            return;
        }
        if (may_be_refused(own)) {
            settle(own, false);
            return;
        }
        break;
    case SY_CODE_INVALID_ARGUMENT:
        if (own->change == CHANGE_WRONG) {
            settle(own, false);
            return;
        }
        break;
    default:
        break;
    }
    sim_fail(own->queues->world, "queue %s, change %d: %s: %s", own->wanted.key.name, own->change,
             sy_code_name(status->code), status->message.text);
}

static void begin(struct own *own, enum change change)
{
    SY_ASSERT(!own->queue.changing);
    own->queue.changing = true;
    own->change = change;
    own->tries = 0;
    own->known = false;
    own->doubt_until_ns = 0;
    own->wanted.paused = change == CHANGE_PAUSE || (own->wanted.paused && change != CHANGE_RESUME);
    try(own);
}

/* ---- what is asked for ---- */

static uint64_t some(struct sy_rng *rng, uint64_t max)
{
    return sy_rng_chance(rng, 1, 3) ? 1 + sy_rng_below(rng, max) : 0;
}

static void draw_settings(const struct sim_queues *queues, struct sch_queue_config *ret)
{
    struct sy_rng *rng = sim_rng(queues->world);
    ret->weight = 1 + (uint32_t)sy_rng_below(rng, 300);
    ret->priority = (int32_t)sy_rng_below(rng, 7) - 3;
    ret->actions_max = some(rng, 8);
    ret->cpu_milli_max = some(rng, 5) * 800;
    ret->memory_bytes_max = some(rng, 4) * GIB;
    ret->gpus_max = (uint32_t)some(rng, 2);
    ret->length_max = sy_rng_chance(rng, 1, 4) ? 5 + sy_rng_below(rng, 40) : 0;
    ret->preemptible = sy_rng_chance(rng, 1, 2);
    ret->preemptible_nodes = sy_rng_chance(rng, 1, 2);
    ret->policy = (enum sch_policy)sy_rng_below(rng, SCH_POLICIES);
    ret->infeasible = (enum sch_infeasible)sy_rng_below(rng, SCH_INFEASIBLES);
    ret->paused = false;
    ret->cluster_count = 0;
    for (unsigned i = 0; i < queues->options.operators && sy_rng_chance(rng, 1, 3); i++)
        snprintf(ret->clusters[ret->cluster_count++], SCH_QUEUE_NAME_MAX, "operator-%u", i);
    memset(ret->preferred, 0, sizeof(ret->preferred));
    memset(ret->regions, 0, sizeof(ret->regions));
    ret->preferred_count = sy_rng_chance(rng, 1, 3);
    unsigned liked = (unsigned)sy_rng_below(rng, queues->options.operators);
    if (ret->cluster_count > 0)
        memcpy(ret->preferred[0], ret->clusters[ret->cluster_count - 1], SCH_QUEUE_NAME_MAX);
    else
        snprintf(ret->preferred[0], SCH_QUEUE_NAME_MAX, "operator-%u", liked);
    ret->region_count = sy_rng_chance(rng, 1, 6);
    snprintf(ret->regions[0], SCH_QUEUE_NAME_MAX, "%s", sim_region_of(liked));
}

/* A queue of the same project and domain that is there, and was made before this one. */
static void draw_parent(const struct sim_queues *queues, struct own *own)
{
    struct sy_rng *rng = sim_rng(queues->world);
    const struct own *above = &queues->own[sy_rng_below(rng, queues->count)];
    memset(own->wanted.parent, 0, sizeof(own->wanted.parent));
    if (above < own && above->queue.exists &&
        strcmp(above->queue.config.key.project, own->wanted.key.project) == 0 &&
        strcmp(above->queue.config.key.domain, own->wanted.key.domain) == 0)
        memcpy(own->wanted.parent, above->queue.config.key.name, sizeof(own->wanted.parent));
}

static void change_one(struct sim_queues *queues, struct own *own)
{
    struct sy_rng *rng = sim_rng(queues->world);
    own->wanted = own->queue.config;
    if (!own->queue.exists) {
        draw_settings(queues, &own->wanted);
        draw_parent(queues, own);
        begin(own, CHANGE_CREATE);
        return;
    }
    enum change change = CHANGE_CREATE + (enum change)sy_rng_below(rng, CHANGE_WRONG + 1);
    if (change == CHANGE_CREATE)
        change = CHANGE_UPDATE;
    if (change == CHANGE_UPDATE)
        draw_settings(queues, &own->wanted);
    if (change == CHANGE_WRONG && sy_rng_chance(rng, 1, 2))
        own->wanted.weight = SCH_QUEUE_WEIGHT_MAX + 1;
    else if (change == CHANGE_WRONG)
        memcpy(own->wanted.parent, own->wanted.key.name, sizeof(own->wanted.parent));
    begin(own, change);
}

static void heal_one(struct own *own)
{
    const struct sch_queue_config *now = &own->queue.config;
    own->healed = true;
    if (!own->queue.exists)
        return;
    own->wanted = sch_queue_config_default(&now->key);
    memcpy(own->wanted.parent, now->parent, sizeof(now->parent));
    own->wanted.weight = now->weight;
    own->wanted.priority = now->priority;
    begin(own, CHANGE_UPDATE);
}

void sim_queues_turn(struct sim_queues *queues, bool heal)
{
    struct sy_rng *rng = sim_rng(queues->world);
    for (unsigned i = 0; i < queues->count; i++) {
        struct own *own = &queues->own[i];
        if (own->queue.changing || own->healed)
            continue;
        if (heal)
            heal_one(own);
        else if (sy_rng_chance(rng, queues->options.queue_pct, 100))
            change_one(queues, own);
    }
}

/* ---- the whole ---- */

struct sim_queues *sim_queues_new(struct sim_world *world, struct sy_loop *loop,
                                  const struct sim_options *options)
{
    struct sim_queues *queues = sy_new(struct sim_queues);
    queues->world = world;
    queues->loop = loop;
    queues->options = *options;
    queues->count = options->queues;
    for (unsigned i = 0; i < queues->count; i++) {
        struct own *own = &queues->own[i];
        struct sch_queue_key key = {.project = "sim", .domain = "test"};
        /* Most are of the domain. */
        unsigned reach = options->size == SIM_FAIR ? 2 : (unsigned)sy_rng_below(sim_rng(world), 6);
        memset(key.project, 0, reach == 0 ? sizeof(key.project) : 0);
        memset(key.domain, 0, reach <= 1 ? sizeof(key.domain) : 0);
        snprintf(key.name, sizeof(key.name), "q%u", i);
        own->queue.config = sch_queue_config_default(&key);
        own->queues = queues;
        own->wanted = own->queue.config;
        own->wanted.weight = 100 * (1 + i);
        sy_timer_init(&own->timer, try, own);
        if (options->size == SIM_FAIR)
            begin(own, CHANGE_CREATE);
    }
    return queues;
}

void sim_queues_free(struct sim_queues *queues)
{
    for (unsigned i = 0; i < queues->count; i++)
        sy_timer_stop(queues->loop, &queues->own[i].timer);
    free(queues);
}

uint64_t sim_queues_changes(const struct sim_queues *queues)
{
    return queues->changes;
}

unsigned sim_queues_count(const struct sim_queues *queues)
{
    return queues->count;
}

const struct sim_queue *sim_queues_at(const struct sim_queues *queues, unsigned i)
{
    SY_ASSERT(i < queues->count);
    return &queues->own[i].queue;
}

const char *sim_queues_draw(const struct sim_queues *queues, const char *run)
{
    bool fair = queues->options.size == SIM_FAIR;
    unsigned i = fair ? sim_queue_of_run(queues->world, run)
                      : (unsigned)sy_rng_below(sim_rng(queues->world), queues->count + 1);
    bool there = i < queues->count && queues->own[i].queue.exists;
    return there ? queues->own[i].queue.config.key.name : fair ? NULL : "";
}
