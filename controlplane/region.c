#include "controlplane/region_impl.h"

#include "base/mem.h"
#include "controlplane/events.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_NS (50 * SY_NS_PER_MS)

/* One of people's. */
struct cp_region_want {
    struct cp_region_want *next, **prev;
    struct cp_region *region;
    cp_coord_done_fn done; /* NULL: nobody waits for it any more */
    void *ctx;
};

static void step(struct cp_region *region, const struct cp_ownership_event *event);

static void look(void *arg)
{
    struct cp_region *region = arg;
    step(region, &(struct cp_ownership_event){.type = CP_OWNERSHIP_LOOK});
    if (region->why_misfit.text[0] == '\0')
        return;
    struct sy_error_text why = region->why_misfit;
    region->why_misfit.text[0] = '\0';
    region->sink.misfit(region->sink.ctx, why.text);
}

/* ---- writes ---- */

struct cp_region_writing *cp_region_writing_new(struct cp_region *region, uint32_t partition)
{
    struct cp_region_writing *writing = sy_new(struct cp_region_writing);
    *writing = (struct cp_region_writing){region->writings, &region->writings, region, partition,
                                          0};
    if (writing->next != NULL)
        writing->next->prev = &writing->next;
    region->writings = writing;
    return writing;
}

void cp_region_writing_free(struct cp_region_writing *writing)
{
    *writing->prev = writing->next;
    if (writing->next != NULL)
        writing->next->prev = writing->prev;
    free(writing);
}

static void on_wrote(void *ctx, enum cp_coord_result result)
{
    struct cp_region_writing *writing = ctx;
    struct cp_region *region = writing->region;
    struct cp_ownership_event event = {
        .type = CP_OWNERSHIP_WROTE, .partition = writing->partition, .result = result};
    cp_region_writing_free(writing);
    step(region, &event);
}

static void on_buried(void *ctx, enum cp_coord_result result)
{
    struct cp_region_writing *writing = ctx;
    struct cp_region *region = writing->region;
    cp_region_writing_free(writing);
    if (result != CP_COORD_DONE) /* by then the copy may show who was quicker */
        sy_timer_start_in(region->loop, &region->bury_again, AGAIN_NS);
    look(region);
}

/* ---- steps ---- */

/* Of partitions that the region was not made with, and that came of no split: nobody is to act on
 * what somebody left there. */
static void drop_strangers(struct cp_region *region)
{
    struct cp_map *map = &region->map;
    size_t kept = 0;
    for (size_t i = 0; i < map->partition_count; i++) {
        const struct cp_map_partition *p = &map->partitions[i];
        if (p->number < region->options.partitions || p->parent_epoch != 0) {
            map->partitions[kept++] = *p;
            continue;
        }
        struct sy_error_text error;
        sy_error_text_set(&error, "there is one of partition %u, the region was made with %u",
                          p->number, region->options.partitions);
        sy_log(region->log, &cp_coord_events, CP_COORD_EV_UNREADABLE, SY_STR("why", error.text));
    }
    map->partition_count = kept;
}

static void read_map(struct cp_region *region)
{
    if (region->map.revision == cp_coord_revision(region->coord))
        return;
    struct sy_error_text error;
    cp_map_begin(&region->map, cp_coord_revision(region->coord));
    region->unreadable.text[0] = '\0';
    const struct cp_coord_record *record = cp_coord_next(region->coord, "", NULL);
    for (; record != NULL; record = cp_coord_next(region->coord, "", record->key)) {
        if (cp_map_add(&region->map, record, &error) == 0)
            continue;
        if (region->unreadable.text[0] == '\0')
            region->unreadable = error;
        sy_log(region->log, &cp_coord_events, CP_COORD_EV_UNREADABLE, SY_STR("why", error.text));
    }
    drop_strangers(region);
}

static struct cp_ownership_view view_of(struct cp_region *region)
{
    return (struct cp_ownership_view){
        .now_ns = sy_loop_now_ns(region->loop),
        .map = &region->map,
        .session = cp_coord_session(region->coord),
        .held_until_ns = cp_coord_held_until_ns(region->coord),
        .copies = region->copies,
        .copy_count = region->copies != NULL ? region->options.partitions_max : 0};
}

static void wait_for(struct cp_region *region, const struct cp_map_shard *shard, unsigned event)
{
    if (region->namesake == shard->session)
        return;
    region->namesake = shard->session;
    sy_log(region->log, &cp_shard_events, event, SY_STR("name", shard->name),
           SY_STR("endpoint", shard->endpoint), SY_U64("session", (uint64_t)shard->session));
}

/* Another of our name is there, or the process that we follow is not known to be dead yet. */
static void wait_for_namesake(struct cp_region *region, const struct cp_map_shard *shard)
{
    sy_error_text_set(&region->waits, "a shard of this name is there, at %s: its end is waited for",
                      shard->endpoint);
    wait_for(region, shard, CP_SHARD_EV_NAME_TAKEN);
}

/* Another is configured to be where we are. Of two that came at one moment, each before it saw the
 * other's record, one goes. */
static void see_neighbour(struct cp_region *region, const struct cp_map_shard *self,
                          const struct cp_map_shard *other)
{
    const struct cp_region_options *options = &region->options;
    if (self == NULL) {
        sy_error_text_set(&region->waits, "shard %s is at endpoint %s, too: its end is waited for",
                          other->name, options->endpoint);
        wait_for(region, other, CP_SHARD_EV_ENDPOINT_TAKEN);
    } else if (self->session > other->session && !region->misfit) {
        region->misfit = true;
        sy_error_text_set(&region->why_misfit,
                          "endpoint %s of shard %s is that of shard %s, too: expected one of its "
                          "own",
                          options->endpoint, options->shard, other->name);
    }
}

static void look_for_double(struct cp_region *region, const struct cp_ownership_view *view)
{
    const struct cp_map *map = &region->map;
    const struct cp_region_options *options = &region->options;
    uint32_t at = cp_map_shard(map, options->shard);
    uint32_t other = cp_map_other_at(map, options->endpoint, options->shard);
    const struct cp_map_shard *self = at != CP_MAP_NONE ? &map->shards[at] : NULL;
    region->waits.text[0] = '\0';
    if (view->session == 0)
        return;
    if (self != NULL && self->session != view->session)
        wait_for_namesake(region, self);
    else if (other != CP_MAP_NONE)
        see_neighbour(region, self, &map->shards[other]);
}

static bool is_being_buried(const struct cp_region *region, const struct cp_map_shard *shard)
{
    const struct cp_region_writing *writing = region->writings;
    while (writing != NULL && writing->buries != shard->revision)
        writing = writing->next;
    return writing != NULL;
}

/* What a process that has ended was writing may still arrive; it is dead all the same. */
static void bury(struct cp_region *region, const struct cp_map_shard *shard)
{
    char key[CP_MAP_KEY_SIZE];
    struct cp_region_writing *writing = cp_region_writing_new(region, CP_OWNERSHIP_MEMBER);
    cp_map_shard_key(key, shard->name);
    writing->buries = shard->revision;
    struct cp_coord_op op = {CP_COORD_DELETE, key, {0}, shard->revision};
    sy_log(region->log, &cp_shard_events, CP_SHARD_EV_PROCESS_ENDED, SY_STR("name", shard->name),
           SY_STR("endpoint", shard->endpoint), SY_U64("session", (uint64_t)shard->session));
    cp_coord_write(region->coord, &op, 1, on_buried, writing);
}

/* Shards whose process is known to have ended; of our own name, too. */
static void bury_dead(struct cp_region *region, int64_t session)
{
    struct cp_witness *witness = region->options.witness;
    if (witness == NULL)
        return;
    for (size_t i = 0; i < region->map.shard_count; i++) {
        const struct cp_map_shard *shard = &region->map.shards[i];
        bool ended = shard->process[0] != '\0' && shard->session != session &&
                     witness->ops->has_ended(witness, shard->process);
        if (ended && !is_being_buried(region, shard) && !sy_timer_running(&region->bury_again))
            bury(region, shard);
    }
    witness->ops->forget(witness);
}

static void on_coord_left(void *arg)
{
    struct cp_region *region = arg;
    region->left = true;
    region->on_left(region->left_ctx);
}

/* What keeps it from being made is tried again: the core asks whenever it looks. */
static void make_copy(struct cp_region *region, uint32_t partition)
{
    struct cp_copies *port = region->options.copies;
    struct sy_error_text error = {0};
    uint64_t id = sy_rng_u64(region->rng) | 1;
    int r = port->make(port->ctx, partition, id, &error);
    if (r == 0)
        region->copies[partition] = (struct cp_own_copy){.id = id, .empty = true};
    else
        sy_log(region->log, &cp_shard_events, CP_SHARD_EV_COPY_FAILED,
               SY_U64("partition", partition), SY_STR("error", error.text));
    sy_timer_start_in(region->loop, &region->wake, r == 0 ? 0 : SY_NS_PER_S);
}

static void carry_out(struct cp_region *region, const struct cp_ownership_effect *effect)
{
    const struct cp_region_sink *sink = &region->sink;
    struct cp_coord_op ops[CP_OWNERSHIP_OPS_MAX];
    size_t count;
    switch (effect->type) {
    case CP_OWNERSHIP_WRITE:
        count = cp_ownership_ops(effect, ops);
        cp_coord_write(region->coord, ops, count, on_wrote,
                       cp_region_writing_new(region, effect->partition));
        break;
    case CP_OWNERSHIP_OPEN:
        sink->open(sink->ctx, effect->partition, effect->epoch);
        break;
    case CP_OWNERSHIP_GIVE:
        sink->give(sink->ctx, effect->partition);
        break;
    case CP_OWNERSHIP_LOSE:
        sink->lose(sink->ctx, effect->partition);
        break;
    case CP_OWNERSHIP_MAKE:
        make_copy(region, effect->partition);
        break;
    case CP_OWNERSHIP_FORK:
        sink->fork(sink->ctx, effect->partition, effect->epoch);
        break;
    case CP_OWNERSHIP_LEAVE:
        cp_coord_leave(region->coord, on_coord_left, region);
        break;
    }
}

static void step(struct cp_region *region, const struct cp_ownership_event *event)
{
    struct cp_ownership_effects *fx = &region->effects;
    read_map(region);
    if (region->left) { /* what is under way here is for those who come after us */
        region->sink.changed(region->sink.ctx);
        return;
    }
    bool made = cp_region_is_made(region);
    if (!made && event->type == CP_OWNERSHIP_LOOK && region->on_left == NULL)
        return;
    struct cp_ownership_view view = view_of(region);
    look_for_double(region, &view);
    bury_dead(region, view.session);
    cp_ownership_step(region->core, &view, event, fx);
    for (uint32_t i = 0; i < region->options.partitions_max; i++)
        atomic_store(&region->right_until_ns[i],
                     cp_ownership_right_until_ns(region->core, &view, i));
    for (size_t i = 0; i < fx->count; i++)
        carry_out(region, &fx->items[i]);
    struct cp_disk_probe *probe = region->options.disk_probe;
    if (probe != NULL)
        probe->ops->watch(probe, cp_ownership_slow(region->core));
    int64_t wake_ns = region->why_misfit.text[0] == '\0' ? fx->wake_ns : view.now_ns;
    cp_ownership_effects_clear(fx);
    if (wake_ns != SY_TIME_NEVER)
        sy_timer_start(region->loop, &region->wake, wake_ns);
    else
        sy_timer_stop(region->loop, &region->wake);
    region->sink.changed(region->sink.ctx);
}

void cp_region_opened(struct cp_region *region, uint32_t partition, uint32_t epoch)
{
    step(region, &(struct cp_ownership_event){
                     .type = CP_OWNERSHIP_OPENED, .partition = partition, .epoch = epoch});
}

void cp_region_closed(struct cp_region *region, uint32_t partition, uint32_t epoch, uint32_t seen)
{
    step(region,
         &(struct cp_ownership_event){
             .type = CP_OWNERSHIP_CLOSED, .partition = partition, .epoch = epoch, .seen = seen});
}

void cp_region_stalled(struct cp_region *region, uint32_t partition, uint32_t epoch)
{
    step(region, &(struct cp_ownership_event){
                     .type = CP_OWNERSHIP_STALLED, .partition = partition, .epoch = epoch});
}

static void on_slow(void *arg)
{
    step(arg, &(struct cp_ownership_event){.type = CP_OWNERSHIP_SLOW});
}

void cp_region_forked(struct cp_region *region, uint32_t partition, uint32_t epoch,
                      const struct cp_forked_copies *copies, const char *why)
{
    sy_error_text_set(&region->split_why[partition], "%s", why);
    step(region, &(struct cp_ownership_event){.type = CP_OWNERSHIP_FORKED,
                                              .partition = partition,
                                              .epoch = epoch,
                                              .forked = *copies,
                                              .result = why[0] == '\0' ? CP_COORD_DONE
                                                                       : CP_COORD_CONFLICT});
}

void cp_region_leave(struct cp_region *region, sy_fn done, void *ctx)
{
    SY_ASSERT(region->on_left == NULL && done != NULL);
    region->on_left = done;
    region->left_ctx = ctx;
    step(region,
         &(struct cp_ownership_event){.type = CP_OWNERSHIP_MODE, .mode = CP_OWNERSHIP_STOPS});
}

/* ---- reading ---- */

const _Atomic int64_t *cp_region_right_until_ns(const struct cp_region *region, uint32_t partition)
{
    SY_ASSERT(partition < region->options.partitions_max);
    return &region->right_until_ns[partition];
}

static const struct cp_map_shard *owner_of(const struct cp_region *region, uint32_t partition)
{
    uint32_t at = cp_map_partition(&region->map, partition);
    uint32_t owner = at != CP_MAP_NONE ? cp_map_owner(&region->map, &region->map.partitions[at])
                                       : CP_MAP_NONE;
    return owner != CP_MAP_NONE ? &region->map.shards[owner] : NULL;
}

bool cp_region_ours(const struct cp_region *region, uint32_t partition)
{
    const struct cp_map_shard *owner = owner_of(region, partition);
    return owner != NULL && strcmp(owner->name, region->options.shard) == 0;
}

const char *cp_region_elsewhere(const struct cp_region *region, uint32_t partition)
{
    const struct cp_map_shard *owner = owner_of(region, partition);
    bool other = owner != NULL && strcmp(owner->name, region->options.shard) != 0;
    return other ? owner->endpoint : NULL;
}

struct cp_coord *cp_region_coord(struct cp_region *region)
{
    return region->coord;
}

/* ---- orders of people ---- */

const struct cp_map *cp_region_map(const struct cp_region *region)
{
    return &region->map;
}

int64_t cp_region_session_left_ns(const struct cp_region *region)
{
    int64_t until_ns = cp_coord_held_until_ns(region->coord);
    int64_t now_ns = sy_loop_now_ns(region->loop);
    return until_ns > now_ns ? until_ns - now_ns : 0;
}

const struct cp_map_shard *cp_region_self(const struct cp_region *region)
{
    uint32_t at = cp_map_shard(&region->map, region->options.shard);
    bool held = at != CP_MAP_NONE && cp_region_session_left_ns(region) > 0 &&
                region->map.shards[at].session == cp_coord_session(region->coord);
    return held ? &region->map.shards[at] : NULL;
}

const char *cp_region_trouble(const struct cp_region *region)
{
    const char *trouble = cp_coord_trouble(region->coord);
    if (trouble[0] != '\0')
        return trouble;
    if (region->waits.text[0] != '\0')
        return region->waits.text;
    bool lapsed = cp_region_self(region) == NULL;
    if (region->unreadable.text[0] != '\0' && (!lapsed || !region->made))
        return region->unreadable.text;
    return lapsed ? "its session with etcd is over, or has not begun" : "";
}

enum cp_ownership_mode cp_region_mode(const struct cp_region *region)
{
    return cp_ownership_mode(region->core);
}

void cp_region_drain(struct cp_region *region, bool draining)
{
    step(region,
         &(struct cp_ownership_event){.type = CP_OWNERSHIP_MODE,
                                      .mode = draining ? CP_OWNERSHIP_DRAINS : CP_OWNERSHIP_TAKES});
}

int cp_region_split(struct cp_region *region, uint32_t partition, const uint8_t *place,
                    struct sy_error_text *error)
{
    struct cp_ownership_event event = {.type = CP_OWNERSHIP_SPLIT, .partition = partition};
    int r = cp_map_split(&region->map, partition, place, &event.at, error);
    if (r < 0)
        return r;
    if (cp_ownership_state(region->core, partition) != CP_OWNED_SERVING) {
        sy_error_text_set(error, "partition %u does not serve at shard %s just now", partition,
                          region->options.shard);
        return -EINVAL;
    }
    region->split_why[partition].text[0] = '\0';
    step(region, &event);
    return 0;
}

const char *cp_region_split_why(const struct cp_region *region, uint32_t partition)
{
    return region->split_why[partition].text;
}

static void want_free(struct cp_region_want *want)
{
    *want->prev = want->next;
    if (want->next != NULL)
        want->next->prev = want->prev;
    free(want);
}

static void on_wanted(void *ctx, enum cp_coord_result result)
{
    struct cp_region_want *want = ctx;
    cp_coord_done_fn done = want->done;
    void *done_ctx = want->ctx;
    look(want->region); /* reads the map */
    want_free(want);
    if (done != NULL)
        done(done_ctx, result);
}

static struct cp_region_want *write_rows(struct cp_region *region,
                                         const struct cp_map_partition *rows, size_t count,
                                         cp_coord_done_fn done, void *ctx)
{
    SY_ASSERT(count > 0 && count <= CP_COORD_OPS_MAX && done != NULL);
    char keys[CP_COORD_OPS_MAX][CP_MAP_KEY_SIZE];
    struct sy_buf values[CP_COORD_OPS_MAX] = {{0}};
    struct cp_coord_op ops[CP_COORD_OPS_MAX];
    for (size_t i = 0; i < count; i++) {
        cp_map_partition_key(keys[i], rows[i].number);
        cp_map_put_partition(&values[i], &rows[i]);
        ops[i] = (struct cp_coord_op){CP_COORD_PUT, keys[i], sy_buf_span(&values[i]),
                                      rows[i].revision};
    }
    struct cp_region_want *want = sy_new(struct cp_region_want);
    *want = (struct cp_region_want){region->wants, &region->wants, region, done, ctx};
    if (want->next != NULL)
        want->next->prev = &want->next;
    region->wants = want;
    cp_coord_write(region->coord, ops, count, on_wanted, want);
    for (size_t i = 0; i < count; i++)
        sy_buf_deinit(&values[i]);
    return want;
}

static const struct cp_map_partition *row_of(const struct cp_region *region, uint32_t partition)
{
    uint32_t at = cp_map_partition(&region->map, partition);
    return at != CP_MAP_NONE ? &region->map.partitions[at] : NULL;
}

struct cp_region_want *cp_region_want(struct cp_region *region, const uint32_t *partitions,
                                      size_t count, const char *wanted, cp_coord_done_fn done,
                                      void *ctx)
{
    struct cp_map_partition *rows SY_AUTOFREE = sy_calloc(count, sizeof(*rows));
    for (size_t i = 0; i < count; i++) {
        const struct cp_map_partition *row = row_of(region, partitions[i]);
        SY_ASSERT(row != NULL);
        rows[i] = *row;
        snprintf(rows[i].wanted, sizeof(rows[i].wanted), "%s", wanted);
    }
    return write_rows(region, rows, count, done, ctx);
}

/* ---- with local storage ---- */

void cp_region_set_copy(struct cp_region *region, uint32_t partition,
                        const struct cp_own_copy *copy)
{
    SY_ASSERT(region->copies != NULL && partition < region->options.partitions_max);
    region->copies[partition] = *copy;
    sy_timer_start_in(region->loop, &region->wake, 0);
}

struct cp_own_copy cp_region_copy(const struct cp_region *region, uint32_t partition)
{
    return region->copies != NULL && partition < region->options.partitions_max
               ? region->copies[partition]
               : (struct cp_own_copy){0};
}

struct cp_region_want *cp_region_write_in_sync(struct cp_region *region, uint32_t partition,
                                               int64_t if_revision, const char *shard, uint64_t id,
                                               cp_coord_done_fn done, void *ctx)
{
    const struct cp_map_partition *found = row_of(region, partition);
    const char *self = region->options.shard;
    if (found == NULL || found->revision != if_revision || strcmp(found->owner, self) != 0)
        return NULL;
    struct cp_map_partition row = *found;
    const struct cp_map_copy *own = cp_map_copy_on(found, self);
    SY_ASSERT(own != NULL && (id == 0 || strcmp(shard, self) != 0));
    row.in_sync[0] = *own;
    row.in_sync_count = id != 0 ? 2 : 1;
    if (id != 0) {
        row.in_sync[1].id = id;
        snprintf(row.in_sync[1].shard, sizeof(row.in_sync[1].shard), "%s", shard);
    }
    row.alone_since_ns = id != 0 ? 0 : sy_loop_realtime_ns(region->loop);
    return write_rows(region, &row, 1, done, ctx);
}

struct cp_region_want *cp_region_use_copy(struct cp_region *region, uint32_t partition,
                                          cp_coord_done_fn done, void *ctx)
{
    const struct cp_map_partition *found = row_of(region, partition);
    SY_ASSERT(found != NULL && region->copies != NULL && region->copies[partition].id != 0);
    struct cp_map_partition row = *found;
    row.in_sync_count = 1;
    row.in_sync[0].id = region->copies[partition].id;
    snprintf(row.in_sync[0].shard, sizeof(row.in_sync[0].shard), "%s", region->options.shard);
    row.owner[0] = row.standby[0] = '\0';
    row.session = 0;
    row.moving = false;
    row.alone_since_ns = sy_loop_realtime_ns(region->loop);
    return write_rows(region, &row, 1, done, ctx);
}

void cp_region_want_forget(struct cp_region_want *want)
{
    if (want != NULL)
        want->done = NULL;
}

/* ---- life ---- */

/* One that cannot be read is not there: nothing is claimed with it, and nothing made in its place.
 */
static void read_copies(struct cp_region *region)
{
    struct cp_copies *port = region->options.copies;
    if (port == NULL)
        return;
    region->copies = sy_calloc(region->options.partitions_max, sizeof(*region->copies));
    for (uint32_t i = 0; i < region->options.partitions_max; i++) {
        struct sy_error_text error = {0};
        int r = port->read(port->ctx, i, &region->copies[i], &error);
        if (r < 0) {
            region->copies[i] = (struct cp_own_copy){.id = UINT64_MAX};
            sy_log(region->log, &cp_shard_events, CP_SHARD_EV_COPY_FAILED, SY_U64("partition", i),
                   SY_STR("error", error.text));
        }
    }
}

void cp_region_new(struct cp_region **ret_region, struct sy_rpc *rpc, struct sy_loop *loop,
                   struct sy_rng *rng, struct sy_log *log, const struct cp_region_options *options,
                   const struct cp_region_sink *sink)
{
    struct cp_region *region = sy_new(struct cp_region);
    region->options = *options;
    region->sink = *sink;
    region->loop = loop;
    region->log = log;
    struct cp_ownership_options pace =
        options->pace != NULL
            ? *options->pace
            : cp_ownership_options_default(options->shard, options->endpoint, options->version);
    pace.since_ns = sy_loop_realtime_ns(loop);
    pace.process = options->process;
    if (options->standby_wait_ns > 0)
        pace.standby_wait_ns = options->standby_wait_ns;
    region->rng = rng;
    if (region->options.partitions_max == 0)
        region->options.partitions_max = options->partitions;
    read_copies(region);
    pace.partitions_max = region->options.partitions_max;
    region->right_until_ns = sy_calloc(region->options.partitions_max,
                                       sizeof(*region->right_until_ns));
    region->split_why = sy_calloc(region->options.partitions_max, sizeof(*region->split_why));
    region->core = cp_ownership_new(&pace);
    sy_timer_init(&region->wake, look, region);
    sy_timer_init(&region->bury_again, look, region);
    if (options->witness != NULL) {
        options->witness->on_ended = look;
        options->witness->ctx = region;
    }
    if (options->disk_probe != NULL) {
        options->disk_probe->on_slow = on_slow;
        options->disk_probe->ctx = region;
    }
    struct cp_coord_sink changes = {look, region};
    if (options->etcd != NULL)
        cp_coord_etcd_new(&region->coord, rpc, loop, rng, log, options->etcd, &changes);
    else
        cp_coord_none_new(&region->coord, loop, NULL, &changes);
    *ret_region = region;
}

void cp_region_free(struct cp_region *region)
{
    if (region == NULL)
        return;
    sy_timer_stop(region->loop, &region->wake);
    sy_timer_stop(region->loop, &region->bury_again);
    if (region->options.witness != NULL)
        region->options.witness->on_ended = NULL;
    if (region->options.disk_probe != NULL)
        region->options.disk_probe->on_slow = NULL;
    cp_coord_free(region->coord);
    struct cp_region_writing *next;
    for (struct cp_region_writing *writing = region->writings; writing != NULL; writing = next) {
        next = writing->next;
        free(writing);
    }
    struct cp_region_want *next_want;
    for (struct cp_region_want *want = region->wants; want != NULL; want = next_want) {
        next_want = want->next;
        free(want);
    }
    cp_ownership_effects_deinit(&region->effects);
    cp_ownership_free(region->core);
    cp_map_deinit(&region->map);
    free(region->right_until_ns);
    free(region->copies);
    free(region->split_why);
    free(region);
}
