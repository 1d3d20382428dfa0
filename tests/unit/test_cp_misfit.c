/* links: cp sy_test_etcd */
/* Shards that do not belong to the region that they find, or have another one's name. */
#include "tests/unit/cp_region_world.h"

#include "controlplane/events.h"
#include "controlplane/partition_impl.h"
#include "controlplane/shard_impl.h"

#include "switchyard/v1/region_service.pb-c.h"

static size_t served_by(struct cp_shard *shard)
{
    size_t count = 0;
    for (uint32_t p = 0; p < cp_shard_partitions(shard); p++)
        count += cp_partition_serving(cp_shard_partition(shard, p));
    return count;
}

struct odd {
    struct cp_shard *shard;
    struct sy_loop *loops[PARTITIONS];
    struct sy_log *log;
    struct cp_storage storage;
    int marks; /* how often what it was given was made the region's */
    char why[SY_ERROR_TEXT_MAX];
    const char *listen, *endpoint; /* NULL: odd:8090 */
    int misfits;
    bool stopped;
    struct own_disks disks; /* its own, with local storage */
};

static int mark(void *ctx, struct sy_error_text *error)
{
    struct odd *odd = ctx;
    (void)error;
    odd->marks++;
    snprintf(odd->storage.identity, sizeof(odd->storage.identity), "cc");
    return 0;
}

static void on_misfit(void *ctx, const char *why)
{
    struct odd *odd = ctx;
    snprintf(odd->why, sizeof(odd->why), "%s", why);
    odd->misfits++;
}

static void on_odd_stopped(void *ctx)
{
    ((struct odd *)ctx)->stopped = true;
}

/* `storage`: the identity of what it shares; NULL: any; `local`: of its own copies instead. */
static void start_one(struct world *w, struct odd *odd, const char *name, uint32_t partitions,
                      const char *storage, bool local)
{
    *odd = (struct odd){.log = sy_log_new(-1, SY_LOG_INFO, &w->clock),
                        .listen = odd->listen ? odd->listen : "odd:8090",
                        .endpoint = odd->endpoint ? odd->endpoint : "odd:8090",
                        .storage = {.mark = mark, .ctx = odd}};
    if (storage != NULL)
        snprintf(odd->storage.identity, sizeof(odd->storage.identity), "%s", storage);
    struct cp_coord_etcd_options etcd = {.endpoints = members,
                                         .endpoint_count = MEMBERS,
                                         .region = "eu",
                                         .session_ttl_ns = 2 * SY_NS_PER_S};
    struct cp_shard_options options = {.name = name,
                                       .region = "eu",
                                       .listen = odd->listen,
                                       .endpoint = odd->endpoint,
                                       .storage = storage && !local ? &odd->storage : NULL,
                                       .copies = local ? &odd->disks.copies : NULL,
                                       .partitions = partitions,
                                       .etcd = &etcd};
    for (size_t k = 0; k < PARTITIONS; k++)
        odd->loops[k] = w->loop;
    init_disks(&odd->disks);
    if (local)
        snprintf(odd->disks.copies.identity, sizeof(odd->disks.copies.identity), "%s", storage);
    struct cp_shard_ports ports = {.rpc = w->rpc,
                                   .loops = odd->loops,
                                   .openers = local ? odd->disks.openers : w->openers,
                                   .seed = 1,
                                   .log = odd->log};
    sy_rpc_mem_set_origin(w->rpc, "odd");
    ck_assert_int_eq(cp_shard_new(&odd->shard, &options, &ports, NULL), 0);
    cp_shard_on_misfit(odd->shard, on_misfit, odd);
}

static void start_odd(struct world *w, struct odd *odd, const char *name, uint32_t partitions,
                      const char *storage)
{
    start_one(w, odd, name, partitions, storage, false);
}

static void stop_odd(struct world *w, struct odd *odd)
{
    sy_rpc_mem_set_origin(w->rpc, "odd");
    cp_shard_stop(odd->shard, 0, on_odd_stopped, odd);
    UNTIL(w, odd->stopped);
}

static void free_odd(struct odd *odd)
{
    cp_shard_free(odd->shard);
    free_disks(&odd->disks);
    sy_log_free(odd->log);
}

/* It stops as well as any other, and says nothing of partitions that it never had. */
static void end_odd(struct world *w, struct odd *odd)
{
    stop_odd(w, odd);
    for (unsigned i = 0; i < cp_partition_events.count; i++)
        ck_assert(cp_partition_events.events[i].level < SY_LOG_WARN ||
                  sy_log_count(odd->log, &cp_partition_events, i) == 0);
    free_odd(odd);
    ck_assert(even(w, SHARDS));
}

START_TEST(a_shard_that_counts_other_partitions_has_no_part)
{
    struct world *w = &world;
    open_world(w, 6);
    struct odd odd = {0};
    start_odd(w, &odd, "odd", PARTITIONS - 1, NULL);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(served_by(odd.shard), 0);
    ck_assert_int_eq(odd.misfits, 1);
    ck_assert_str_eq(odd.why, "region eu has 6 partitions, shard odd is configured for 5");
    end_odd(w, &odd);
    close_world(w);
}
END_TEST

static void on_put(void *ctx, enum cp_coord_result result)
{
    ck_assert_int_eq(result, CP_COORD_DONE);
    *(bool *)ctx = true;
}

/* Not even that of a partition which the region has not. */
START_TEST(a_record_of_nobody_is_passed_over)
{
    struct world *w = &world;
    bool put = false;
    open_world(w, 7);
    struct cp_coord_op op = {CP_COORD_PUT, "partitions/00099", {0}, CP_COORD_ABSENT};
    sy_rpc_mem_set_origin(w->rpc, "shard-0");
    cp_coord_write(cp_region_coord(w->shards[0].shard->in_region), &op, 1, on_put, &put);
    UNTIL(w, put);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert(even(w, SHARDS));
    struct sy_span value;
    ck_assert(fake_etcd_find(w->etcd, "/switchyard/eu/partitions/00099", &value));
    ck_assert_uint_eq(value.len, 0); /* nobody has claimed it */
    close_world(w);
}
END_TEST

static void put_record(struct world *w, const char *key, const char *value)
{
    bool put = false;
    struct cp_coord_op op = {.kind = CP_COORD_PUT, .key = key, .if_revision = CP_COORD_ANY};
    op.value = (struct sy_span){(const uint8_t *)value, strlen(value)};
    sy_rpc_mem_set_origin(w->rpc, "shard-0");
    cp_coord_write(cp_region_coord(w->shards[0].shard->in_region), &op, 1, on_put, &put);
    UNTIL(w, put);
}

/* Who is there goes on; who comes says why it does not join, and joins when the record is mended.
 */
START_TEST(a_region_whose_record_is_damaged_is_said_to_be)
{
    struct world *w = &world;
    struct odd odd = {0};
    char made[8];
    open_world(w, 13);
    snprintf(made, sizeof(made), "%u", PARTITIONS);
    put_record(w, "region", "many");
    start_odd(w, &odd, "odd", PARTITIONS, NULL);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert(even(w, SHARDS));
    ck_assert_uint_eq(served_by(odd.shard), 0);
    ck_assert_str_eq(cp_region_trouble(odd.shard->in_region),
                     "the region's record \"region\" is damaged, or of a newer version");
    ck_assert_str_eq(cp_region_trouble(w->shards[0].shard->in_region),
                     "the region's record \"region\" is damaged, or of a newer version");
    ck_assert_int_eq(odd.misfits, 0);
    struct sy_span value;
    ck_assert(fake_etcd_find(w->etcd, "/switchyard/eu/region", &value));
    ck_assert_uint_eq(value.len, 4); /* as it was */
    put_record(w, "region", made);
    UNTIL(w, served_by(odd.shard) > 0);
    ck_assert_str_eq(cp_region_trouble(odd.shard->in_region), "");
    put_record(w, "partitions/00000", "many");
    UNTIL(w, strstr(cp_region_trouble(odd.shard->in_region), "record \"partitions/00000\" is"));
    stop_odd(w, &odd);
    free_odd(&odd);
    close_world(w);
}
END_TEST

/* The first one says where the partitions lie; none of the others' may be elsewhere. One that was
 * given what is nobody's (a mount that is missing) leaves it so. */
static void check_other_storage(struct world *w, const char *first, const char *other)
{
    struct odd odd = {0};
    open_world(w, 8);
    start_odd(w, &odd, "first", PARTITIONS, first);
    UNTIL(w, served_by(odd.shard) > 0);
    ck_assert_int_eq(odd.marks, first[0] == '\0');
    stop_odd(w, &odd);
    free_odd(&odd);
    UNTIL(w, even(w, SHARDS));
    struct sy_span value;
    ck_assert(fake_etcd_find(w->etcd, "/switchyard/eu/storage", &value));
    ck_assert_uint_eq(value.len, 2);
    ck_assert_mem_eq(value.data, first[0] != '\0' ? first : "cc", 2);
    start_odd(w, &odd, "odd", PARTITIONS, other);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(served_by(odd.shard), 0);
    ck_assert_int_eq(odd.marks, 0);
    ck_assert_str_eq(odd.storage.identity, other);
    ck_assert_int_eq(odd.misfits, 1);
    ck_assert_ptr_nonnull(strstr(odd.why, "the data_dir of shard odd is not the storage"));
    ck_assert_ptr_nonnull(strstr(odd.why, "delete the region's record 'storage'"));
    end_odd(w, &odd);
    close_world(w);
}

START_TEST(a_shard_of_other_storage_has_no_part)
{
    check_other_storage(&world, "aa", "bb");
    check_other_storage(&world, "", "bb");
    check_other_storage(&world, "aa", "");
}
END_TEST

/* What it has is left as it is, too. */
static void check_other_kind(struct world *w, bool region_local, bool local, const char *storage,
                             const char *says)
{
    struct odd odd = {0};
    open_world_of(w, 10, region_local);
    if (!region_local) { /* whose storage is known */
        start_odd(w, &odd, "first", PARTITIONS, "");
        UNTIL(w, served_by(odd.shard) > 0);
        end_odd(w, &odd);
    }
    start_one(w, &odd, "odd", PARTITIONS, storage, local);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(served_by(odd.shard), 0);
    ck_assert_int_eq(odd.misfits, 1);
    ck_assert_msg(strstr(odd.why, says) != NULL, "%s", odd.why);
    ck_assert_int_eq(odd.marks, 0);
    ck_assert_str_eq(local ? odd.disks.copies.identity : odd.storage.identity, storage);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        ck_assert_uint_eq(odd.disks.own[p].copy, 0);
    end_odd(w, &odd);
    close_world(w);
}

START_TEST(a_shard_of_another_kind_of_storage_has_no_part)
{
    check_other_kind(&world, true, false, "", "has a disk of its own");
    check_other_kind(&world, true, false, "aa", "expected storage: local");
    check_other_kind(&world, false, true, "", "expected storage: shared");
    check_other_kind(&world, true, true, "aa", "holds copies of another region than eu is now");
}
END_TEST

/* What the odd one says of itself when it is asked. */
static void check_trouble(struct world *w, const char *trouble)
{
    struct sy_channel *usual = w->shards[0].channel;
    sy_rpc_mem_set_origin(w->rpc, "client");
    w->shards[0].channel = sy_channel_new(w->rpc, "odd:8090");
    Switchyard__V1__GetRegionMapRequest m = SWITCHYARD__V1__GET_REGION_MAP_REQUEST__INIT;
    struct call *c = send_call(w, 0, "/switchyard.v1.RegionService/GetRegionMap", &m.base);
    c->reads = true;
    expect_ok(w, c);
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Switchyard__V1__GetRegionMapResponse *answer = pb_unpack(
        &switchyard__v1__get_region_map_response__descriptor, &arena, sy_buf_span(&c->answer));
    ck_assert_ptr_nonnull(answer);
    ck_assert_str_eq(answer->trouble, trouble);
    sy_arena_deinit(&arena);
    sy_channel_free(w->shards[0].channel);
    w->shards[0].channel = usual;
}

/* It waits, and says for whom. */
START_TEST(a_second_shard_of_one_name_has_no_part)
{
    struct world *w = &world;
    open_world(w, 9);
    struct odd odd = {0};
    start_odd(w, &odd, "shard-1", PARTITIONS, NULL);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(served_by(odd.shard), 0);
    ck_assert_uint_eq(sy_log_count(odd.log, &cp_shard_events, CP_SHARD_EV_NAME_TAKEN), 1);
    check_trouble(w, "a shard of this name is there, at shard-1:8090: its end is waited for");
    ck_assert_int_eq(odd.misfits, 0);
    end_odd(w, &odd);
    close_world(w);
}
END_TEST

/* Calls for it would come to the other one. It has a part in it when that one is gone. */
START_TEST(a_shard_of_anothers_endpoint_has_no_part_until_that_one_is_gone)
{
    struct world *w = &world;
    open_world(w, 11);
    struct odd odd = {.endpoint = w->shards[1].address};
    start_odd(w, &odd, "odd", PARTITIONS, NULL);
    run_for(w, 10 * SY_NS_PER_S);
    ck_assert_uint_eq(served_by(odd.shard), 0);
    ck_assert_uint_eq(sy_log_count(odd.log, &cp_shard_events, CP_SHARD_EV_ENDPOINT_TAKEN), 1);
    check_trouble(w, "shard shard-1 is at endpoint shard-1:8090, too: its end is waited for");
    ck_assert_int_eq(odd.misfits, 0);
    kill_shard(w, 1);
    UNTIL(w, served_by(odd.shard) > 0);
    stop_odd(w, &odd);
    free_odd(&odd);
    close_world(w);
}
END_TEST

/* Neither saw the other's record in time to wait. */
START_TEST(of_two_shards_that_come_with_one_endpoint_one_goes)
{
    struct world *w = &world;
    open_world(w, 12);
    struct odd odd[2] = {{.listen = "odd:8090"}, {.listen = "odd:8091"}};
    start_odd(w, &odd[0], "odd", PARTITIONS, NULL);
    start_odd(w, &odd[1], "odd-2", PARTITIONS, NULL);
    UNTIL(w, odd[0].misfits + odd[1].misfits == 1);
    struct odd *goes = odd[0].misfits == 1 ? &odd[0] : &odd[1];
    struct odd *stays = goes == &odd[0] ? &odd[1] : &odd[0];
    ck_assert_ptr_nonnull(strstr(goes->why, "endpoint odd:8090 of shard odd"));
    ck_assert_ptr_nonnull(strstr(goes->why, "expected one of its own"));
    stop_odd(w, goes);
    free_odd(goes);
    UNTIL(w, served_by(stays->shard) > 0);
    ck_assert_int_eq(stays->misfits, 0);
    stop_odd(w, stays);
    free_odd(stays);
    close_world(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_shard_that_counts_other_partitions_has_no_part,
                                  a_record_of_nobody_is_passed_over,
                                  a_region_whose_record_is_damaged_is_said_to_be,
                                  a_shard_of_other_storage_has_no_part,
                                  a_shard_of_another_kind_of_storage_has_no_part,
                                  a_second_shard_of_one_name_has_no_part,
                                  a_shard_of_anothers_endpoint_has_no_part_until_that_one_is_gone,
                                  of_two_shards_that_come_with_one_endpoint_one_goes,
                                  NULL};
    return sy_test_run("misfit", tests);
}
