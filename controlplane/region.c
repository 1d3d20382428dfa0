#include "controlplane/region.h"

#include "base/mem.h"
#include "controlplane/events.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORAGE_KEY CP_MAP_STORAGE_KEY
#define AGAIN_NS (50 * SY_NS_PER_MS)

/* One write of the core's, or of the region's making, in flight. */
struct writing {
    struct writing *next, **prev;
    struct cp_region *region;
    uint32_t partition;
    int64_t buries; /* the revision of the record that it deletes; 0: none */
};

/* One of people's. */
struct cp_region_want {
    struct cp_region_want *next, **prev;
    struct cp_region *region;
    cp_coord_done_fn done; /* NULL: nobody waits for it any more */
    void *ctx;
};

struct cp_region {
    struct cp_region_options options;
    struct cp_region_sink sink;
    struct sy_loop *loop;
    struct sy_log *log;
    struct cp_coord *coord;
    struct cp_map map;
    struct cp_ownership *core;
    struct cp_ownership_effects effects;
    struct writing *writings;
    struct cp_region_want *wants;
    struct sy_timer wake, bury_again;
    _Atomic int64_t *right_until_ns; /* of each partition */
    struct cp_own_copy *copies;      /* the same; NULL: storage is shared */
    struct sy_rng *rng;
    bool making; /* the region's first records are being written */
    bool made;
    bool misfit, left;
    struct sy_error_text why_misfit; /* "": it was told */
    int64_t namesake;                /* the session of another shard of our name that was told of */
    struct sy_error_text waits;      /* for whose end; "": for nobody\'s */
    sy_fn on_left;
    void *left_ctx;
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

static struct writing *writing_new(struct cp_region *region, uint32_t partition)
{
    struct writing *writing = sy_new(struct writing);
    *writing = (struct writing){region->writings, &region->writings, region, partition, 0};
    if (writing->next != NULL)
        writing->next->prev = &writing->next;
    region->writings = writing;
    return writing;
}

static void writing_free(struct writing *writing)
{
    *writing->prev = writing->next;
    if (writing->next != NULL)
        writing->next->prev = writing->prev;
    free(writing);
}

static void on_wrote(void *ctx, enum cp_coord_result result)
{
    struct writing *writing = ctx;
    struct cp_region *region = writing->region;
    struct cp_ownership_event event = {
        .type = CP_OWNERSHIP_WROTE, .partition = writing->partition, .result = result};
    writing_free(writing);
    step(region, &event);
}

static void on_buried(void *ctx, enum cp_coord_result result)
{
    struct writing *writing = ctx;
    struct cp_region *region = writing->region;
    writing_free(writing);
    if (result != CP_COORD_DONE) /* by then the copy may show who was quicker */
        sy_timer_start_in(region->loop, &region->bury_again, AGAIN_NS);
    look(region);
}

static void on_made(void *ctx, enum cp_coord_result result)
{
    struct writing *writing = ctx;
    struct cp_region *region = writing->region;
    writing_free(writing);
    (void)result; /* the copy tells */
    region->making = false;
    sy_timer_start_in(region->loop, &region->wake, 0);
}

/* ---- the region's first records ---- */

/* A partition that was begun before the region was. */
static bool holds(const struct cp_region *region, uint32_t partition)
{
    return region->copies != NULL && region->copies[partition].id != 0 &&
           !region->copies[partition].empty;
}

/* Those that are missing, as many as one write takes. False: none is. */
static bool make_partitions(struct cp_region *region)
{
    char keys[CP_COORD_OPS_MAX][CP_MAP_KEY_SIZE];
    struct sy_buf rows[CP_COORD_OPS_MAX] = {{0}};
    struct cp_coord_op ops[CP_COORD_OPS_MAX];
    uint32_t made = region->options.partitions;
    size_t count = 0;
    for (uint32_t i = 0; i < made && count < CP_COORD_OPS_MAX; i++) {
        struct cp_map_partition row = {.number = i, .range = cp_range_even(i, made)};
        cp_map_partition_key(keys[count], i);
        if (cp_coord_find(region->coord, keys[count]) != NULL)
            continue;
        if (holds(region, i)) { /* of when this shard was alone */
            row.in_sync_count = 1;
            row.in_sync[0].id = region->copies[i].id;
            snprintf(row.in_sync[0].shard, sizeof(row.in_sync[0].shard), "%s",
                     region->options.shard);
        }
        cp_map_put_partition(&rows[count], &row);
        ops[count] = (struct cp_coord_op){CP_COORD_PUT, keys[count], sy_buf_span(&rows[count]),
                                          CP_COORD_ABSENT};
        count++;
    }
    if (count > 0)
        cp_coord_write(region->coord, ops, count, on_made, writing_new(region, 0));
    for (size_t i = 0; i < count; i++)
        sy_buf_deinit(&rows[i]);
    return count > 0;
}

static void make_record(struct cp_region *region, const char *key, const char *text)
{
    struct cp_coord_op op = {
        CP_COORD_PUT, key, {(const uint8_t *)text, strlen(text)}, CP_COORD_ABSENT};
    cp_coord_write(region->coord, &op, 1, on_made, writing_new(region, 0));
}

/* False: all is there. */
static bool make_missing(struct cp_region *region)
{
    char text[sizeof(CP_MAP_LOCAL) + CP_IDENTITY_SIZE];
    if (region->map.made == 0) {
        snprintf(text, sizeof(text), "%u", region->options.partitions);
        make_record(region, CP_MAP_REGION_KEY, text);
    } else if (region->copies != NULL && cp_coord_find(region->coord, STORAGE_KEY) == NULL) {
        snprintf(text, sizeof(text), CP_MAP_LOCAL "%016llx%016llx",
                 (unsigned long long)sy_rng_u64(region->rng),
                 (unsigned long long)sy_rng_u64(region->rng));
        make_record(region, STORAGE_KEY, text);
    } else if (region->options.storage != NULL &&
               cp_coord_find(region->coord, STORAGE_KEY) == NULL) {
        SY_ASSERT(region->options.storage->identity[0] != '\0');
        make_record(region, STORAGE_KEY, region->options.storage->identity);
    } else {
        return make_partitions(region);
    }
    return true;
}

static bool is_local(const struct cp_coord_record *storage)
{
    size_t len = sizeof(CP_MAP_LOCAL) - 1;
    return storage->value.len >= len && memcmp(storage->value.data, CP_MAP_LOCAL, len) == 0;
}

/* Copies that another region's shard made, or one of this region before its records were lost, are
 * not taken for this one's. */
static bool fits_local(const struct cp_region *region, uint32_t made,
                       const struct cp_coord_record *storage, struct sy_error_text *ret_why)
{
    const struct cp_region_options *options = &region->options;
    struct cp_copies *port = options->copies;
    char identity[CP_IDENTITY_SIZE] = "";
    if (made == 0 && port->identity[0] != '\0') {
        sy_error_text_set(ret_why,
                          "the data_dir of shard %s holds copies of a region, and etcd knows none "
                          "of the name %s: expected the etcd that is theirs; if its records are "
                          "lost, see \"records lost\" in docs/operations.md",
                          options->shard, options->name);
        return false;
    }
    if (storage == NULL)
        return true;
    if (!is_local(storage)) {
        sy_error_text_set(ret_why,
                          "the shards of region %s share their storage, shard %s is configured for "
                          "storage: local; expected storage: shared",
                          options->name, options->shard);
        return false;
    }
    size_t len = storage->value.len - (sizeof(CP_MAP_LOCAL) - 1);
    if (len == CP_IDENTITY_SIZE - 1)
        memcpy(identity, storage->value.data + sizeof(CP_MAP_LOCAL) - 1, len);
    if (identity[0] == '\0' ||
        (port->identity[0] != '\0' && strcmp(identity, port->identity) != 0)) {
        sy_error_text_set(ret_why,
                          "the data_dir of shard %s holds copies of another region than %s is now: "
                          "expected the etcd that is theirs, or another data_dir",
                          options->shard, options->name);
        return false;
    }
    return port->identity[0] != '\0' || port->adopt(port->ctx, identity, ret_why) == 0;
}

/* Only who finds that the region has no storage yet makes its own that: what is refused stays as it
 * is. */
static bool fits_shared(const struct cp_region *region, const struct cp_coord_record *storage,
                        struct sy_error_text *ret_why)
{
    const struct cp_region_options *options = &region->options;
    struct cp_storage *own = options->storage;
    if (storage != NULL && is_local(storage)) {
        sy_error_text_set(ret_why,
                          "each shard of region %s has a disk of its own, shard %s is configured "
                          "for storage: shared; expected storage: local",
                          options->name, options->shard);
        return false;
    }
    if (own == NULL)
        return true;
    if (storage == NULL)
        return own->identity[0] != '\0' || own->mark(own->ctx, ret_why) == 0;
    if (storage->value.len == strlen(own->identity) &&
        memcmp(storage->value.data, own->identity, storage->value.len) == 0)
        return true;
    sy_error_text_set(
        ret_why,
        "the data_dir of shard %s is not the storage that the other shards of region "
        "%s share: expected all to mount the same, and an etcd that is theirs; if it was "
        "replaced or restored, delete the region's record 'storage'",
        options->shard, options->name);
    return false;
}

/* Whether what is there is of a region that this shard is for. */
static bool fits(const struct cp_region *region, struct sy_error_text *ret_why)
{
    const struct cp_region_options *options = &region->options;
    uint32_t made = region->map.made;
    if (made != 0 && made != options->partitions) {
        sy_error_text_set(ret_why, "region %s has %u partitions, shard %s is configured for %u",
                          options->name, made, options->shard, options->partitions);
        return false;
    }
    const struct cp_coord_record *storage = cp_coord_find(region->coord, STORAGE_KEY);
    return region->copies != NULL ? fits_local(region, made, storage, ret_why)
                                  : fits_shared(region, storage, ret_why);
}

/* True: the region is made, and is the one that this shard is for. */
static bool is_made(struct cp_region *region)
{
    if (region->made)
        return true;
    if (cp_coord_revision(region->coord) == 0 || region->making || region->misfit)
        return false;
    region->misfit = !fits(region, &region->why_misfit);
    if (region->misfit)
        return false;
    region->making = make_missing(region);
    region->made = !region->making;
    SY_ASSERT(!region->made || region->copies == NULL || region->options.copies->identity[0]);
    return region->made;
}

/* ---- steps ---- */

/* Of partitions that the region has not: nobody is to act on what somebody left there. */
static void drop_strangers(struct cp_region *region)
{
    struct cp_map *map = &region->map;
    struct sy_error_text error;
    while (map->partition_count > 0 &&
           map->partitions[map->partition_count - 1].number >= region->options.partitions) {
        sy_error_text_set(&error, "there is one of partition %u, the region has %u",
                          map->partitions[--map->partition_count].number,
                          region->options.partitions);
        sy_log(region->log, &cp_coord_events, CP_COORD_EV_UNREADABLE, SY_STR("why", error.text));
    }
}

static void read_map(struct cp_region *region)
{
    if (region->map.revision == cp_coord_revision(region->coord))
        return;
    struct sy_error_text error;
    cp_map_begin(&region->map, cp_coord_revision(region->coord));
    const struct cp_coord_record *record = cp_coord_next(region->coord, "", NULL);
    for (; record != NULL; record = cp_coord_next(region->coord, "", record->key)) {
        if (cp_map_add(&region->map, record, &error) < 0)
            sy_log(region->log, &cp_coord_events, CP_COORD_EV_UNREADABLE,
                   SY_STR("why", error.text));
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
        .copy_count = region->copies != NULL ? region->options.partitions : 0};
}

/* Another of our name is there, or the process that we follow is not known to be dead yet. */
static void look_for_namesake(struct cp_region *region, const struct cp_ownership_view *view)
{
    uint32_t at = cp_map_shard(&region->map, region->options.shard);
    const struct cp_map_shard *shard = at != CP_MAP_NONE ? &region->map.shards[at] : NULL;
    bool other = shard != NULL && view->session != 0 && shard->session != view->session;
    region->waits.text[0] = '\0';
    if (!other)
        return;
    sy_error_text_set(&region->waits, "a shard of this name is there, at %s: its end is waited for",
                      shard->endpoint);
    if (region->namesake == shard->session)
        return;
    region->namesake = shard->session;
    sy_log(region->log, &cp_shard_events, CP_SHARD_EV_NAME_TAKEN,
           SY_STR("name", region->options.shard), SY_STR("endpoint", shard->endpoint),
           SY_U64("session", (uint64_t)shard->session));
}

static bool is_being_buried(const struct cp_region *region, const struct cp_map_shard *shard)
{
    const struct writing *writing = region->writings;
    while (writing != NULL && writing->buries != shard->revision)
        writing = writing->next;
    return writing != NULL;
}

/* What a process that has ended was writing may still arrive; it is dead all the same. */
static void bury(struct cp_region *region, const struct cp_map_shard *shard)
{
    char key[CP_MAP_KEY_SIZE];
    struct writing *writing = writing_new(region, CP_OWNERSHIP_MEMBER);
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
        cp_coord_write(region->coord, ops, count, on_wrote, writing_new(region, effect->partition));
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
    bool made = is_made(region);
    if (!made && event->type == CP_OWNERSHIP_LOOK && region->on_left == NULL)
        return;
    struct cp_ownership_view view = view_of(region);
    look_for_namesake(region, &view);
    bury_dead(region, view.session);
    cp_ownership_step(region->core, &view, event, fx);
    for (uint32_t i = 0; i < region->options.partitions; i++)
        atomic_store(&region->right_until_ns[i],
                     cp_ownership_right_until_ns(region->core, &view, i));
    for (size_t i = 0; i < fx->count; i++)
        carry_out(region, &fx->items[i]);
    struct cp_disk_probe *probe = region->options.disk_probe;
    if (probe != NULL)
        probe->ops->watch(probe, cp_ownership_slow(region->core));
    int64_t wake_ns = fx->wake_ns;
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
    SY_ASSERT(partition < region->options.partitions);
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
    return cp_region_self(region) == NULL ? "its session with etcd is over, or has not begun" : "";
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
    SY_ASSERT(region->copies != NULL && partition < region->options.partitions);
    region->copies[partition] = *copy;
    sy_timer_start_in(region->loop, &region->wake, 0);
}

struct cp_own_copy cp_region_copy(const struct cp_region *region, uint32_t partition)
{
    return region->copies != NULL && partition < region->options.partitions
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
    region->copies = sy_calloc(region->options.partitions, sizeof(*region->copies));
    for (uint32_t i = 0; i < region->options.partitions; i++) {
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
    read_copies(region);
    region->right_until_ns = sy_calloc(options->partitions, sizeof(*region->right_until_ns));
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
    struct writing *next;
    for (struct writing *writing = region->writings; writing != NULL; writing = next) {
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
    free(region);
}
