/* One shard's ownership machine before a store of records whose copy it sees at once. */
#pragma once

#include "controlplane/ownership.h"
#include "tests/unit/cp_records.h"

#define MS SY_NS_PER_MS
#define SESSION 7
#define MARGIN (250 * MS)

/* The shard "b" and the store, whose copy it sees at once. */
struct bench {
    struct cp_ownership *o;
    struct records records;
    int64_t revision;
    struct cp_map map;
    struct cp_ownership_view view;
    struct cp_ownership_effects fx; /* of the last step */
};

static inline void look(struct bench *b)
{
    struct cp_ownership_event event = {.type = CP_OWNERSHIP_LOOK};
    records_fill(&b->records, b->revision, &b->map);
    b->view.map = &b->map;
    cp_ownership_effects_clear(&b->fx);
    cp_ownership_step(b->o, &b->view, &event, &b->fx);
}

static inline void tell(struct bench *b, struct cp_ownership_event event)
{
    records_fill(&b->records, b->revision, &b->map);
    cp_ownership_effects_clear(&b->fx);
    cp_ownership_step(b->o, &b->view, &event, &b->fx);
}

static inline void set_mode(struct bench *b, enum cp_ownership_mode mode)
{
    tell(b, (struct cp_ownership_event){.type = CP_OWNERSHIP_MODE, .mode = mode});
}

static inline void opened(struct bench *b, uint32_t partition, uint32_t epoch)
{
    tell(b, (struct cp_ownership_event){
                .type = CP_OWNERSHIP_OPENED, .partition = partition, .epoch = epoch});
}

static inline void closed(struct bench *b, uint32_t partition, uint32_t epoch)
{
    tell(b, (struct cp_ownership_event){
                .type = CP_OWNERSHIP_CLOSED, .partition = partition, .epoch = epoch});
}

static inline void wrote(struct bench *b, uint32_t partition, enum cp_coord_result result)
{
    tell(b, (struct cp_ownership_event){
                .type = CP_OWNERSHIP_WROTE, .partition = partition, .result = result});
}

static inline void put_partition(struct bench *b, struct cp_map_partition partition)
{
    records_put_partition(&b->records, &partition, ++b->revision);
}

static inline void put_shard(struct bench *b, const char *name, int64_t session, bool draining)
{
    struct cp_map_shard shard = {.session = session, .draining = draining};
    snprintf(shard.name, sizeof(shard.name), "%s", name);
    records_put_shard(&b->records, &shard, ++b->revision);
}

static inline void drop_shard(struct bench *b, const char *name)
{
    char key[CP_MAP_KEY_SIZE];
    cp_map_shard_key(key, name);
    records_find(&b->records, key)->revision = 0;
    b->revision++;
}

/* Carries out a WRITE of the last step; false: a condition does not hold. */
static inline bool happens(struct bench *b, const struct cp_ownership_effect *e)
{
    struct cp_coord_op ops[CP_OWNERSHIP_OPS_MAX];
    size_t count = cp_ownership_ops(e, ops);
    for (size_t i = 0; i < count; i++) {
        if (records_find(&b->records, ops[i].key)->revision != ops[i].if_revision)
            return false;
    }
    b->revision++;
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind != CP_COORD_CHECK)
            record_set(records_find(&b->records, ops[i].key), ops[i].value, b->revision,
                       ops[i].kind == CP_COORD_PUT_BOUND ? b->view.session : 0);
    }
    return true;
}

static inline const struct cp_ownership_effect *
only(const struct bench *b, enum cp_ownership_effect_type type, uint32_t partition)
{
    ck_assert_uint_eq(b->fx.count, 1);
    ck_assert_uint_eq(b->fx.items[0].type, type);
    ck_assert_uint_eq(b->fx.items[0].partition, partition);
    return &b->fx.items[0];
}

/* The one WRITE of the last step happens and is answered. */
static inline void write_and_tell(struct bench *b, uint32_t partition)
{
    const struct cp_ownership_effect *e = only(b, CP_OWNERSHIP_WRITE, partition);
    ck_assert(happens(b, e));
    wrote(b, partition, CP_COORD_DONE);
}

static inline struct cp_map_partition row(struct bench *b, uint32_t partition)
{
    struct cp_map_partition row;
    ck_assert(record_partition(records_partition(&b->records, partition), &row));
    return row;
}

static inline uint32_t right(const struct bench *b, uint32_t partition)
{
    return cp_ownership_right(b->o, &b->view, partition);
}

static inline void init(struct bench *b, struct cp_ownership_options options)
{
    *b = (struct bench){.revision = 1};
    b->view = (struct cp_ownership_view){
        .now_ns = SY_NS_PER_S, .map = &b->map, .session = SESSION, .held_until_ns = SY_TIME_NEVER};
    b->o = cp_ownership_new(&options);
}

static inline struct cp_ownership_options options(void)
{
    struct cp_ownership_options options = cp_ownership_options_default("b", "b:1", "1");
    ck_assert_int_eq(options.margin_ns, MARGIN);
    options.settle_ns = 0;
    return options;
}

/* It is in the region, alone. */
static inline void join(struct bench *b, struct cp_ownership_options options)
{
    init(b, options);
    look(b);
    write_and_tell(b, CP_OWNERSHIP_MEMBER);
    ck_assert_uint_eq(b->fx.count, 0);
}

/* It serves partition 0 in epoch 5, and there is nothing else. */
static inline void serve(struct bench *b)
{
    join(b, options());
    put_partition(b, (struct cp_map_partition){.epoch = 4});
    look(b);
    write_and_tell(b, 0);
    ck_assert_uint_eq(only(b, CP_OWNERSHIP_OPEN, 0)->epoch, 5);
    opened(b, 0, 5);
    write_and_tell(b, 0); /* no longer `moving` */
    ck_assert_uint_eq(b->fx.count, 0);
    ck_assert_int_eq(cp_ownership_state(b->o, 0), CP_OWNED_SERVING);
    ck_assert_uint_eq(right(b, 0), 5);
}

static inline void deinit(struct bench *b)
{
    cp_ownership_effects_deinit(&b->fx);
    cp_ownership_free(b->o);
    cp_map_deinit(&b->map);
}
