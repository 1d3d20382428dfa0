/* links: cp sy_test_etcd */
/* Queues in a region of several shards: what was answered is known to every partition at once,
 * whatever fails, and after a while all know the same. */
#include "tests/unit/cp_region_world.h"

#include "controlplane/queues.h"

#include "switchyard/internal/queues.pb-c.h"

#define QUEUES "/switchyard.v1.QueueService/"
#define TAKE_QUEUES "/switchyard.internal.Partitions/TakeQueues"
#define TAKE_TOKENS "/switchyard.internal.Partitions/TakeTokens"

/* ---- what partitions know ---- */

/* NULL: nobody serves it. */
static struct cp_partition *served(const struct world *w, uint32_t partition, size_t *ret_shard)
{
    for (size_t i = 0; i < SHARDS; i++) {
        const struct shard *s = &w->shards[i];
        struct cp_partition *p = s->shard != NULL ? cp_shard_partition(s->shard, partition) : NULL;
        if (p == NULL || s->paused || !cp_partition_serving(p))
            continue;
        if (ret_shard != NULL)
            *ret_shard = i;
        return p;
    }
    return NULL;
}

static uint32_t home_of(const char *project)
{
    return cp_range_even_of(cp_queue_hash(project, "d"), PARTITIONS);
}

struct row {
    bool exists;
    uint32_t weight;
    uint64_t revision;
};

/* False: it cannot be read now. */
static bool row_of(struct cp_partition *p, const char *project, const char *name, struct row *ret)
{
    struct sch_queue_key key = {.domain = "d"};
    struct sy_arena arena;
    Switchyard__Internal__Store__QueueRow *row;
    snprintf(key.project, sizeof(key.project), "%s", project);
    snprintf(key.name, sizeof(key.name), "%s", name);
    sy_arena_init(&arena, 1 << 20);
    int r = cp_queue_get(p, &arena, &key, &row);
    *ret = (struct row){.exists = r == 0};
    if (r == 0)
        *ret = (struct row){true, row->settings->weight, row->revision};
    sy_arena_deinit(&arena);
    ck_assert_int_ge(r, 0);
    return r != CP_PARTITION_E_NOT_SERVING;
}

/* Every partition that serves has this row. */
static void expect_everywhere(const struct world *w, const char *project, const char *name,
                              bool exists, uint32_t weight)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        struct cp_partition *p = served(w, i, NULL);
        struct row row;
        if (p == NULL || !row_of(p, project, name, &row))
            continue;
        ck_assert_msg(row.exists == exists && (!exists || row.weight == weight),
                      "%s/d/%s in partition %u (home %u): %s %u, not %s %u", project, name, i,
                      home_of(project), row.exists ? "there," : "gone,", row.weight,
                      exists ? "there," : "gone,", weight);
    }
}

static bool add_row(void *ctx, struct sy_span key, struct sy_span value)
{
    sy_buf_append(ctx, key.data, key.len);
    sy_buf_append(ctx, value.data, value.len);
    return true;
}

static bool rows_of(const struct world *w, uint32_t partition, struct sy_buf *ret)
{
    struct cp_partition *p = served(w, partition, NULL);
    struct cp_registry_key from = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, NULL);
    struct cp_registry_key to = cp_registry_after(&from);
    sy_buf_clear(ret);
    return p != NULL && cp_partition_registry_scan(p, cp_registry_span(&from),
                                                   cp_registry_span(&to), add_row, ret) == 0;
}

/* All are served, and have the same rows. */
static bool all_agree(const struct world *w)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf first = {0};
    SY_CLEANUP(sy_buf_deinit) struct sy_buf other = {0};
    bool agree = rows_of(w, 0, &first);
    for (uint32_t i = 1; i < PARTITIONS && agree; i++)
        agree = rows_of(w, i, &other) && first.len == other.len &&
                (first.len == 0 || memcmp(first.data, other.data, first.len) == 0);
    return agree;
}

/* ---- requests ---- */

/* All methods about one queue have the id in field 1; CreateQueueRequest begins alike. */
static struct call *change_queue(struct world *w, size_t shard, const char *method,
                                 const char *project, const char *name, uint32_t weight,
                                 uint64_t revision)
{
    Switchyard__V1__UpdateQueueRequest update = SWITCHYARD__V1__UPDATE_QUEUE_REQUEST__INIT;
    Switchyard__V1__DeleteQueueRequest delete = SWITCHYARD__V1__DELETE_QUEUE_REQUEST__INIT;
    Switchyard__V1__QueueId id = SWITCHYARD__V1__QUEUE_ID__INIT;
    Switchyard__V1__QueueSettings settings = SWITCHYARD__V1__QUEUE_SETTINGS__INIT;
    bool deletes = strcmp(method, QUEUES "DeleteQueue") == 0;
    char *fields[] = {text_of("weight")};
    id.project = text_of(project);
    id.domain = text_of("d");
    id.name = text_of(name);
    settings.weight = weight;
    delete.id = update.id = &id;
    delete.revision = revision;
    update.settings = &settings;
    if (strcmp(method, QUEUES "UpdateQueue") == 0) {
        update.fields = fields;
        update.n_fields = 1;
        update.revision = revision;
    }
    struct call *c = send_call(w, shard, method, deletes ? &delete.base : &update.base);
    c->reads = true; /* it makes no run */
    return c;
}

static struct call *create_queue(struct world *w, size_t shard, const char *project,
                                 const char *name, uint32_t weight)
{
    return change_queue(w, shard, QUEUES "CreateQueue", project, name, weight, 0);
}

static struct call *update_queue(struct world *w, size_t shard, const char *project,
                                 const char *name, uint32_t weight)
{
    return change_queue(w, shard, QUEUES "UpdateQueue", project, name, weight, 0);
}

static const char *const projects[] = {"a", "b", "c", "e", "f", "g", "h", "i"};
enum { PROJECTS = 8 };

/* Names whose homes are not all in one partition. */
static void create_all(struct world *w)
{
    for (size_t i = 0; i < PROJECTS; i++) {
        expect_ok(w, create_queue(w, i % SHARDS, projects[i], "q", 10));
        expect_everywhere(w, projects[i], "q", true, 10);
    }
}

/* One whose home is at that shard. */
static const char *project_at(const struct world *w, size_t shard)
{
    for (size_t i = 0; i < PROJECTS; i++) {
        size_t at;
        if (served(w, home_of(projects[i]), &at) != NULL && at == shard)
            return projects[i];
    }
    ck_abort_msg("no project is at home at shard %zu", shard);
    return NULL;
}

/* ---- tests ---- */

START_TEST(what_was_answered_every_partition_knows)
{
    struct world *w = &world;
    open_world(w, 11);
    create_all(w);
    for (uint32_t i = 0; i < 40; i++) {
        const char *project = projects[i % PROJECTS];
        expect_ok(w, update_queue(w, i % SHARDS, project, "q", 20 + i));
        expect_everywhere(w, project, "q", true, 20 + i);
    }
    ck_assert(all_agree(w));
    close_world(w);
}
END_TEST

/* A repeat hears that there is no such queue only when that is so everywhere. */
START_TEST(what_was_deleted_is_gone_everywhere)
{
    struct world *w = &world;
    open_world(w, 20);
    create_all(w);
    for (size_t i = 1; i < PROJECTS; i++) {
        expect_ok(w, change_queue(w, i % SHARDS, QUEUES "DeleteQueue", projects[i], "q", 0, 0));
        expect_everywhere(w, projects[i], "q", false, 0);
    }
    const char *project = projects[0];
    size_t home, other;
    ck_assert_ptr_nonnull(served(w, home_of(project), &home));
    other = (home + 1) % SHARDS;
    struct call *c = change_queue(w, home, QUEUES "DeleteQueue", project, "q", 0, 0);
    struct row row;
    UNTIL(w, row_of(served(w, home_of(project), NULL), project, "q", &row) && !row.exists);
    kill_shard(w, other); /* it may not have heard of it */
    UNTIL(w, c->call == NULL);
    ck_assert(c->code == SY_CODE_OK || c->code == SY_CODE_UNAVAILABLE);
    if (c->code == SY_CODE_OK)
        expect_everywhere(w, project, "q", false, 0);
    UNTIL(w, even(w, 2));
    c = change_queue(w, home, QUEUES "DeleteQueue", project, "q", 0, 0);
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_NOT_FOUND);
    expect_everywhere(w, project, "q", false, 0);
    ck_assert(all_agree(w));
    close_world(w);
}
END_TEST

/* Changes of the others' queues wait until somebody has what it had, and are known there too. */
START_TEST(a_change_outlasts_a_failover)
{
    struct world *w = &world;
    open_world(w, 12);
    create_all(w);
    const char *project = project_at(w, 0);
    int64_t killed_ns = w->now_ns;
    kill_shard(w, 1);
    expect_ok(w, update_queue(w, 2, project, "q", 77));
    ck_assert_int_lt(w->now_ns - killed_ns, 3500 * MS);
    expect_everywhere(w, project, "q", true, 77);
    UNTIL(w, even(w, 2));
    ck_assert_int_lt(w->now_ns - killed_ns, 3500 * MS);
    ck_assert(all_agree(w));
    start_shard(w, 1);
    UNTIL(w, even(w, 3));
    ck_assert(all_agree(w));
    close_world(w);
}
END_TEST

/* The home died when its change was durable, and nobody had heard of it. */
START_TEST(the_next_home_tells_what_the_last_could_not)
{
    struct world *w = &world;
    open_world(w, 13);
    create_all(w);
    const char *project = project_at(w, 1);
    uint32_t home = home_of(project);
    w->apart[1][0] = w->apart[1][2] = true; /* still reaches its clients, and etcd */
    struct call *c = update_queue(w, 1, project, "q", 88);
    struct row row;
    UNTIL(w, row_of(served(w, home, NULL), project, "q", &row) && row.weight == 88);
    ck_assert(!all_agree(w));
    kill_shard(w, 1);
    memset(w->apart, 0, sizeof(w->apart));
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_UNAVAILABLE);
    UNTIL(w, even(w, 2));
    run_for(w, 300 * MS);
    expect_everywhere(w, project, "q", true, 88);
    ck_assert(all_agree(w));
    close_world(w);
}
END_TEST

/* It cannot tell one of them, which goes on serving: the caller hears so, and it is told later. */
START_TEST(who_could_not_be_told_is_told_later)
{
    struct world *w = &world;
    open_world(w, 14);
    create_all(w);
    const char *project = project_at(w, 0);
    w->apart[0][2] = true;
    int64_t begun_ns = w->now_ns;
    struct call *c = update_queue(w, 0, project, "q", 99);
    UNTIL(w, c->call == NULL);
    ck_assert_int_eq(c->code, SY_CODE_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(c->text, "not every partition knows"));
    ck_assert_int_lt(w->now_ns - begun_ns, 6 * SY_NS_PER_S);
    ck_assert(even(w, SHARDS) && !all_agree(w));
    w->apart[0][2] = false;
    run_for(w, 3 * SY_NS_PER_S); /* channels reconnect */
    expect_everywhere(w, project, "q", true, 99);
    expect_ok(w, update_queue(w, 0, project, "q", 99)); /* the repeat */
    ck_assert(all_agree(w));
    close_world(w);
}
END_TEST

/* A home that stands still in the middle of telling, beyond its session, says nothing more. */
START_TEST(a_home_that_stood_still_changes_nothing)
{
    struct world *w = &world;
    open_world(w, 15);
    create_all(w);
    const char *project = project_at(w, 0);
    update_queue(w, 0, project, "q", 55);
    run_for(w, 2 * MS); /* being committed, or told */
    w->shards[0].paused = true;
    run_for(w, 4 * SY_NS_PER_S);
    expect_ok(w, update_queue(w, 1, project, "q", 66));
    w->shards[0].paused = false;
    for (int i = 0; i < 5000; i += 50) {
        run_for(w, 50 * MS);
        expect_everywhere(w, project, "q", true, 66);
    }
    UNTIL(w, even(w, SHARDS));
    ck_assert(all_agree(w));
    close_world(w);
}
END_TEST

/* ---- a peer ---- */

/* As if the home of `copies` had said it, through whatever shard has the partition. */
static struct call *begin_to_tell(struct world *w, uint32_t partition, uint32_t home,
                                  struct sy_span copies)
{
    Switchyard__Internal__TakeQueuesRequest m = SWITCHYARD__INTERNAL__TAKE_QUEUES_REQUEST__INIT;
    size_t shard = 0;
    ck_assert_ptr_nonnull(served(w, partition, &shard));
    m.partition = partition;
    m.home = home;
    m.copies = (ProtobufCBinaryData){copies.len, (uint8_t *)(uintptr_t)copies.data};
    struct call *c = send_call(w, shard, TAKE_QUEUES, &m.base);
    c->reads = true;
    return c;
}

static struct call *tell(struct world *w, uint32_t partition, uint32_t home, struct sy_span copies)
{
    struct call *c = begin_to_tell(w, partition, home, copies);
    UNTIL(w, c->call == NULL);
    return c;
}

static bool was_behind(const struct call *c)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Switchyard__Internal__TakeQueuesResponse *m = pb_unpack(
        &switchyard__internal__take_queues_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(m);
    bool behind = m->behind;
    sy_arena_deinit(&arena);
    return behind;
}

static struct sy_buf copies_of(const struct world *w, uint32_t home, struct cp_queue_mark mark)
{
    struct sy_buf copies = {0};
    int r = cp_queue_copies_pack(served(w, home, NULL), &(struct cp_queue_packing){.mark = mark},
                                 &copies);
    ck_assert_int_eq(r, 0);
    return copies;
}

/* Copies that were overtaken, by later ones of the same home or by those of its next opening. */
START_TEST(what_is_older_than_what_is_known_is_ignored)
{
    struct world *w = &world;
    open_world(w, 16);
    create_all(w);
    const char *project = project_at(w, 1);
    uint32_t home = home_of(project), other = (home + 1) % PARTITIONS;
    uint32_t epoch = cp_partition_epoch(served(w, home, NULL));
    SY_CLEANUP(sy_buf_deinit)
    struct sy_buf old = copies_of(w, home, (struct cp_queue_mark){epoch, 1});
    expect_ok(w, update_queue(w, 0, project, "q", 33));
    ck_assert_int_eq(tell(w, other, home, sy_buf_span(&old))->code, SY_CODE_OK);
    expect_everywhere(w, project, "q", true, 33);
    kill_shard(w, 1);
    UNTIL(w, even(w, 2));
    run_for(w, 300 * MS);
    SY_CLEANUP(sy_buf_deinit)
    struct sy_buf late = copies_of(w, home, (struct cp_queue_mark){epoch, 1000});
    expect_ok(w, update_queue(w, 0, project, "q", 34));
    struct call *c = tell(w, other, home, sy_buf_span(&late));
    ck_assert_int_eq(c->code, SY_CODE_ABORTED);
    ck_assert_ptr_nonnull(strstr(c->text, "opened again"));
    expect_everywhere(w, project, "q", true, 34);
    close_world(w);
}
END_TEST

/* What follows a state that is not known here is not taken; the home then tells all. */
START_TEST(a_gap_is_noticed)
{
    struct world *w = &world;
    open_world(w, 17);
    create_all(w);
    const char *project = project_at(w, 1);
    uint32_t home = home_of(project), other = (home + 1) % PARTITIONS;
    struct sch_queue_key key = {.domain = "d", .name = "q"};
    snprintf(key.project, sizeof(key.project), "%s", project);
    struct cp_queue_packing packing = {.mark = {cp_partition_epoch(served(w, home, NULL)), 1001},
                                       .keys = &key,
                                       .count = 1,
                                       .follows = 1000};
    SY_CLEANUP(sy_buf_deinit) struct sy_buf part = {0};
    ck_assert_int_eq(cp_queue_copies_pack(served(w, home, NULL), &packing, &part), 0);
    struct call *c = tell(w, other, home, sy_buf_span(&part));
    ck_assert_int_eq(c->code, SY_CODE_OK);
    ck_assert(was_behind(c));
    packing.mark.changes = 1000; /* it knows as much as it has not: the next change is no news */
    packing.follows = 0;
    packing.keys = NULL;
    sy_buf_clear(&part);
    ck_assert_int_eq(cp_queue_copies_pack(served(w, home, NULL), &packing, &part), 0);
    ck_assert_int_eq(tell(w, other, home, sy_buf_span(&part))->code, SY_CODE_OK);
    close_world(w);
}
END_TEST

/* It would tell the caller that all know, and not wait for the half that it has not heard of. */
START_TEST(a_home_that_knows_of_too_few_partitions_waits)
{
    struct world *w = &world;
    open_world(w, 26);
    create_all(w);
    uint32_t home = home_of(project_at(w, 1)), other = (home + 1) % PARTITIONS;
    uint32_t epoch = cp_partition_epoch(served(w, home, NULL));
    SY_CLEANUP(sy_buf_deinit)
    struct sy_buf copies = copies_of(w, home, (struct cp_queue_mark){epoch, 1000});
    ck_assert_int_eq(tell(w, other, home, sy_buf_span(&copies))->code, SY_CODE_OK);
    for (uint32_t known = PARTITIONS - 1; known <= PARTITIONS + 1; known++) {
        const uint8_t field[] = {9 << 3, (uint8_t)known}; /* the last one counts */
        sy_buf_append(&copies, field, sizeof(field));
        struct call *c = tell(w, other, home, sy_buf_span(&copies));
        ck_assert_int_eq(c->code, known < PARTITIONS ? SY_CODE_UNAVAILABLE : SY_CODE_OK);
        if (known < PARTITIONS)
            ck_assert_ptr_nonnull(strstr(c->text, "does not know yet that there are"));
    }
    close_world(w);
}
END_TEST

/* Its disk is slow: of one home a message waits at most, the last one. */
START_TEST(a_later_message_takes_the_place_of_one_that_waits)
{
    struct world *w = &world;
    open_world(w, 25);
    create_all(w);
    uint32_t home = home_of(project_at(w, 1)), other = (home + 1) % PARTITIONS;
    uint32_t epoch = cp_partition_epoch(served(w, home, NULL));
    SY_CLEANUP(sy_buf_deinit)
    struct sy_buf all = copies_of(w, home, (struct cp_queue_mark){epoch, 1000});
    cp_mem_disk_set(w->disks[other].disk, 200 * MS, -1);
    struct call *calls[6];
    for (size_t i = 0; i < SY_COUNT_OF(calls); i++) {
        calls[i] = begin_to_tell(w, other, home, sy_buf_span(&all));
        run_for(w, 5 * MS);
    }
    for (size_t i = 0; i < SY_COUNT_OF(calls); i++) {
        bool replaced = i > 0 && i + 1 < SY_COUNT_OF(calls);
        UNTIL(w, calls[i]->call == NULL);
        ck_assert_msg(calls[i]->code == (replaced ? SY_CODE_UNAVAILABLE : SY_CODE_OK),
                      "%zu: %s: %s", i, sy_code_name(calls[i]->code), calls[i]->text);
        ck_assert(!replaced || strstr(calls[i]->text, "later message") != NULL);
    }
    close_world(w);
}
END_TEST

/* Its loop is busy, with opening it, say: what comes meanwhile is bounded. */
START_TEST(what_waits_for_a_loop_is_bounded)
{
    struct world *w = &world;
    open_world(w, 26);
    create_all(w);
    uint32_t home = home_of("a"), other = (home + 1) % PARTITIONS;
    size_t shard = 0, len = (size_t)15 << 20;
    uint8_t *zeroes SY_AUTOFREE = sy_calloc(1, len);
    struct call *calls[5];
    ck_assert_ptr_nonnull(served(w, other, &shard));
    w->stuck = w->shards[shard].loops[other + 1];
    for (size_t i = 0; i < SY_COUNT_OF(calls); i++) {
        calls[i] = begin_to_tell(w, other, home, (struct sy_span){zeroes, len});
        run_for(w, 5 * MS);
    }
    ck_assert_ptr_null(calls[4]->call);
    ck_assert_int_eq(calls[4]->code, SY_CODE_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull(strstr(calls[4]->text, "try again"));
    for (size_t i = 0; i < 4; i++)
        ck_assert_ptr_nonnull(calls[i]->call);
    w->stuck = NULL;
    for (size_t i = 0; i < 4; i++)
        UNTIL(w, calls[i]->call == NULL);
    struct call *c = tell(w, other, home, (struct sy_span){zeroes, len}); /* there is room again */
    ck_assert_int_eq(c->code, SY_CODE_INVALID_ARGUMENT);
    close_world(w);
}
END_TEST

static void refuses(struct world *w, uint32_t partition, uint32_t home,
                    const Switchyard__Internal__QueueCopies *copies)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf bytes = {0};
    pb_pack(&copies->base, &bytes);
    struct call *c = tell(w, partition, home, sy_buf_span(&bytes));
    ck_assert_msg(c->code == SY_CODE_INVALID_ARGUMENT, "%s: %s", sy_code_name(c->code), c->text);
    forget_call(w);
}

START_TEST(what_makes_no_sense_is_refused)
{
    struct world *w = &world;
    open_world(w, 18);
    create_all(w);
    uint32_t home = home_of("a"), other = (home + 1) % PARTITIONS;
    SY_CLEANUP(sy_buf_deinit)
    struct sy_buf all = copies_of(w, home, (struct cp_queue_mark){1u << 20, 9});
    for (size_t i = 0; i < 300; i++) { /* bits turned, cut off */
        struct sy_buf bad = sy_buf_copy(all.data, all.len);
        size_t len = sy_rng_chance(&w->rng, 1, 3) ? sy_rng_below(&w->rng, bad.len) : bad.len;
        if (len > 0)
            bad.data[sy_rng_below(&w->rng, len)] ^= (uint8_t)(1u << sy_rng_below(&w->rng, 8));
        tell(w, other, home, (struct sy_span){bad.data, len}); /* taken, or not */
        forget_call(w);
        sy_buf_deinit(&bad);
    }
    Switchyard__Internal__QueueCopies copies = SWITCHYARD__INTERNAL__QUEUE_COPIES__INIT;
    Switchyard__Internal__QueueCopy one = SWITCHYARD__INTERNAL__QUEUE_COPY__INIT;
    Switchyard__Internal__QueueCopy two = SWITCHYARD__INTERNAL__QUEUE_COPY__INIT;
    Switchyard__Internal__QueueCopy *list[] = {&one, &two};
    struct sch_queue_key keys[2] = {{.project = "a", .domain = "d", .name = "x"},
                                    {.project = "a", .domain = "d", .name = "y"}};
    struct cp_registry_key rows[2] = {cp_queue_row_key(&keys[0]), cp_queue_row_key(&keys[1])};
    one.key = (ProtobufCBinaryData){rows[0].len, rows[0].data};
    two.key = (ProtobufCBinaryData){rows[1].len, rows[1].data};
    copies.home = home;
    copies.epoch = 1u << 21;
    copies.changes = 5;
    copies.copies = list;
    copies.n_copies = 2;
    copies.follows = 5; /* itself */
    refuses(w, other, home, &copies);
    copies.follows = 4;
    list[0] = &two; /* out of order */
    list[1] = &one;
    refuses(w, other, home, &copies);
    list[0] = &one; /* twice */
    refuses(w, other, home, &copies);
    list[1] = &two;
    copies.home = other; /* another one's */
    refuses(w, other, home, &copies);
    copies.home = home;
    one.row = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "abc"};
    refuses(w, other, home, &copies);
    one.row = (ProtobufCBinaryData){0};
    rows[0].data[0] = 't'; /* a task's */
    refuses(w, other, home, &copies);
    rows[0].data[0] = 'q';
    copies.whole = true; /* and follows something */
    refuses(w, other, home, &copies);
    copies.follows = 0; /* and says that something is gone */
    refuses(w, other, home, &copies);
    struct call *c = tell(w, other, PARTITIONS, (struct sy_span){0});
    ck_assert_int_eq(c->code, SY_CODE_INVALID_ARGUMENT);
    ck_assert_int_eq(tell(w, other, other, (struct sy_span){0})->code, SY_CODE_INVALID_ARGUMENT);
    ck_assert(even(w, SHARDS)); /* nobody stumbled */
    close_world(w);
}
END_TEST

START_TEST(nonsense_about_limits_is_refused)
{
    struct world *w = &world;
    open_world(w, 19);
    Switchyard__Internal__TakeTokensRequest m = SWITCHYARD__INTERNAL__TAKE_TOKENS_REQUEST__INIT;
    Switchyard__Internal__TokenMessage one = SWITCHYARD__INTERNAL__TOKEN_MESSAGE__INIT;
    Switchyard__Internal__TokenMessage *messages[] = {&one};
    Switchyard__Internal__TokenReport report = SWITCHYARD__INTERNAL__TOKEN_REPORT__INIT;
    m.messages = messages;
    m.n_messages = 1;
    one.project = text_of("a");
    one.domain = text_of("d");
    one.name = text_of("q");
    for (int i = 0; i < 5; i++) {
        one.message_case = SWITCHYARD__INTERNAL__TOKEN_MESSAGE__MESSAGE_REPORT;
        one.report = &report;
        report.partition = i == 0 ? PARTITIONS : 0;
        one.to = i == 1 ? PARTITIONS : home_of("a");
        one.name = text_of(i == 2 ? "no/name" : "q");
        if (i == 3)
            one.message_case = SWITCHYARD__INTERNAL__TOKEN_MESSAGE__MESSAGE__NOT_SET;
        struct call *c = send_call(w, 0, TAKE_TOKENS, &m.base);
        c->reads = true;
        UNTIL(w, c->call == NULL);
        ck_assert_int_eq(c->code, i < 4 ? SY_CODE_INVALID_ARGUMENT : SY_CODE_OK);
    }
    run_for(w, SY_NS_PER_S); /* nobody knows of that queue */
    ck_assert(even(w, SHARDS));
    close_world(w);
}
END_TEST

/* ---- whatever fails ---- */

/* One queue, of which one change is under way at most. */
struct slot {
    char name[16];
    struct call *call;
    uint32_t weight; /* after the change that is, or was, made last */
    bool sure;       /* it was answered, with OK */
    bool exists, deletes;
    unsigned born; /* so many before it had other names */
};

enum { SLOTS = 4 };

static const char *project_of(size_t slot)
{
    return projects[slot];
}

/* A condition on the revision: what is made late, after a call that was given up, is void then. */
static void change_slot(struct world *w, struct slot *slot, size_t i)
{
    struct cp_partition *p = served(w, home_of(project_of(i)), NULL);
    struct row row;
    if (p == NULL || !row_of(p, project_of(i), slot->name, &row))
        return;
    slot->deletes = row.exists && sy_rng_chance(&w->rng, 1, 5);
    const char *method = slot->deletes ? QUEUES "DeleteQueue" : QUEUES "UpdateQueue";
    if (!row.exists) {
        method = QUEUES "CreateQueue";
        slot->born++;
        snprintf(slot->name, sizeof(slot->name), "q-%u", slot->born);
    }
    slot->weight = 1 + (uint32_t)sy_rng_below(&w->rng, 9999);
    slot->sure = false;
    slot->call = change_queue(w, some_shard(w), method, project_of(i), slot->name, slot->weight,
                              row.revision);
}

static void look_at_slot(struct world *w, struct slot *slot, size_t i)
{
    if (slot->call != NULL && slot->call->call == NULL) {
        slot->sure = slot->call->code == SY_CODE_OK;
        slot->exists = !slot->deletes;
        slot->call = NULL;
    }
    if (slot->sure)
        expect_everywhere(w, project_of(i), slot->name, slot->exists, slot->weight);
}

/* Two shards do not reach each other for a while. */
static void part_some(struct world *w)
{
    static const bool none[SHARDS][SHARDS];
    if (memcmp(w->apart, none, sizeof(none)) != 0)
        memset(w->apart, 0, sizeof(w->apart));
    else
        w->apart[sy_rng_below(&w->rng, SHARDS)][sy_rng_below(&w->rng, SHARDS)] = true;
}

/* How many changes went well. */
static size_t storm(uint64_t seed)
{
    struct world *w = &world;
    struct slot slots[SLOTS] = {0};
    size_t well = 0;
    open_world(w, seed);
    for (size_t i = 0; i < SLOTS; i++)
        snprintf(slots[i].name, sizeof(slots[i].name), "q-0");
    for (int step = 0; step < 200; step++) {
        if (sy_rng_chance(&w->rng, 1, 10))
            storm_step(w);
        if (sy_rng_chance(&w->rng, 1, 15))
            part_some(w);
        for (size_t i = 0; i < SLOTS; i++) {
            bool up = false;
            for (size_t s = 0; s < SHARDS; s++)
                up |= w->shards[s].shard != NULL && !w->shards[s].paused;
            if (up && slots[i].call == NULL && w->call_count < CALLS)
                change_slot(w, &slots[i], i);
        }
        int64_t end_ns = w->now_ns + (int64_t)sy_rng_below(&w->rng, 300 * MS);
        while (w->now_ns < end_ns) {
            run_for(w, 5 * MS);
            for (size_t i = 0; i < SLOTS; i++) {
                bool sure = slots[i].sure;
                look_at_slot(w, &slots[i], i);
                well += !sure && slots[i].sure;
            }
        }
    }
    heal(w);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert(even(w, SHARDS));
    for (size_t i = 0; i < SLOTS; i++) {
        look_at_slot(w, &slots[i], i);
        ck_assert_ptr_null(slots[i].call);
    }
    ck_assert_msg(all_agree(w), "seed %llu", (unsigned long long)seed);
    close_world(w);
    return well;
}

START_TEST(what_was_answered_is_known_whatever_fails)
{
    struct seeds seeds = storm_seeds(10);
    uint64_t well = 0;
    for (uint64_t i = 0; i < seeds.count; i++)
        well += storm(seeds.first + i);
    ck_assert_uint_gt(well, 30 * seeds.count);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_was_answered_every_partition_knows,
                                  what_was_deleted_is_gone_everywhere,
                                  a_change_outlasts_a_failover,
                                  the_next_home_tells_what_the_last_could_not,
                                  who_could_not_be_told_is_told_later,
                                  a_home_that_stood_still_changes_nothing,
                                  what_is_older_than_what_is_known_is_ignored,
                                  a_gap_is_noticed,
                                  a_home_that_knows_of_too_few_partitions_waits,
                                  a_later_message_takes_the_place_of_one_that_waits,
                                  what_waits_for_a_loop_is_bounded,
                                  what_makes_no_sense_is_refused,
                                  nonsense_about_limits_is_refused,
                                  what_was_answered_is_known_whatever_fails,
                                  NULL};
    return sy_test_run("region_queues", tests);
}
