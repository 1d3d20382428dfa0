#include "controlplane/cluster_rolls.h"

#include "base/mem.h"
#include "controlplane/events.h"
#include "controlplane/registry.h"

#include <stdlib.h>
#include <string.h>

struct cp_cluster_rolls {
    struct cp_shard *shard;
    struct cp_coord *coord; /* the region's, or our own */
    bool own;
    const struct cp_roll *roll;
    /* Our own: what partition 0 is asked to keep, and under which epoch it was read. */
    const struct cp_coord_op *ops;
    size_t op_count;
    uint32_t read_epoch;
};

/* ---- records in partition 0; its loop is the front's ---- */

static struct cp_registry_key key_of(const char *key)
{
    return CP_REGISTRY_KEY(CP_REGISTRY_RECORD, key, NULL);
}

static enum sy_code put_rows(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    const struct cp_cluster_rolls *rolls = ctx;
    if (cp_partition_epoch(p) != rolls->read_epoch) {
        sy_error_text_set(error, "its records have not been read since it was opened");
        return SY_CODE_UNAVAILABLE;
    }
    for (size_t i = 0; i < rolls->op_count; i++) {
        struct cp_registry_key key = key_of(rolls->ops[i].key);
        if (rolls->ops[i].kind == CP_COORD_DELETE)
            cp_partition_registry_delete(p, &key);
        else
            cp_partition_registry_put(p, &key, rolls->ops[i].value);
    }
    return SY_CODE_OK;
}

static void on_put(void *ctx, const struct sy_status *status)
{
    struct cp_cluster_rolls *rolls = ctx;
    bool kept = status->code == SY_CODE_OK;
    if (!kept)
        rolls->read_epoch = 0; /* it is not known what is there */
    cp_coord_none_kept(rolls->coord, kept);
}

static void write_records(void *ctx, const struct cp_coord_op *ops, size_t count)
{
    struct cp_cluster_rolls *rolls = ctx;
    rolls->ops = ops;
    rolls->op_count = count;
    cp_partition_registry_change(rolls->shard->lanes[0].partition, put_rows, on_put, rolls);
}

static bool add_row(void *ctx, struct sy_span key, struct sy_span value)
{
    const char *name;
    if (cp_registry_names(key, &name, 1) && strlen(name) < CP_COORD_KEY_MAX &&
        value.len <= CP_COORD_VALUE_MAX)
        cp_coord_none_add(ctx, name, value);
    return true;
}

static void add_rows(void *ctx, struct cp_coord *coord)
{
    struct cp_cluster_rolls *rolls = ctx;
    struct cp_registry_key from = CP_REGISTRY_KEY(CP_REGISTRY_RECORD, NULL), to = from;
    struct cp_partition *p = rolls->shard->lanes[0].partition;
    to.data[0]++; /* the next kind */
    int r = cp_partition_registry_scan(p, cp_registry_span(&from), cp_registry_span(&to), add_row,
                                       coord);
    if (r == 0)
        rolls->read_epoch = cp_partition_epoch(p);
    else
        sy_log(rolls->shard->log, &cp_shard_events, CP_SHARD_EV_READ_FAILED,
               SY_U64("error", (uint64_t)(r < 0 ? -r : r)));
}

void cp_cluster_rolls_look(struct cp_lane *lane)
{
    struct cp_cluster_rolls *rolls = lane->shard->rolls;
    if (rolls == NULL || !rolls->own || lane->index != 0 ||
        !cp_partition_serving(lane->partition) ||
        cp_partition_epoch(lane->partition) == rolls->read_epoch)
        return;
    cp_coord_none_read(rolls->coord, add_rows, rolls);
}

/* ---- the roll ---- */

struct hand_over {
    struct cp_post post;
    struct cp_lane *lane;
    const struct cp_roll *roll;
};

static void hand_over_free(struct hand_over *hand_over)
{
    cp_roll_unref(hand_over->roll);
    free(hand_over);
}

static void run_hand_over(struct cp_post *post)
{
    struct hand_over *hand_over = sy_container_of(post, struct hand_over, post);
    cp_partition_set_roll(hand_over->lane->partition, hand_over->roll);
    hand_over_free(hand_over);
}

static void drop_hand_over(struct cp_post *post)
{
    hand_over_free(sy_container_of(post, struct hand_over, post));
}

static void hand_out(struct cp_cluster_rolls *rolls)
{
    struct cp_shard *shard = rolls->shard;
    for (uint32_t i = 0; i < shard->room; i++) {
        struct hand_over *hand_over = sy_new(struct hand_over);
        *hand_over = (struct hand_over){{.run = run_hand_over, .drop = drop_hand_over},
                                        &shard->lanes[i],
                                        cp_roll_ref(rolls->roll)};
        cp_lane_post(cp_front(shard), &shard->lanes[i], &hand_over->post);
    }
}

bool cp_cluster_rolls_refresh(struct cp_shard *shard)
{
    struct cp_cluster_rolls *rolls = shard->rolls;
    if (rolls == NULL || cp_coord_revision(rolls->coord) == 0 ||
        (rolls->roll != NULL && cp_roll_is_of(rolls->roll, rolls->coord)))
        return false;
    cp_roll_unref(rolls->roll);
    rolls->roll = cp_roll_new(rolls->coord, shard->region);
    for (size_t i = 0; i < rolls->roll->count; i++) {
        struct sy_error_text why;
        if (rolls->roll->clusters[i].record != NULL)
            continue;
        sy_error_text_set(&why, "the record of cluster \"%s\" is damaged, or of a newer version",
                          rolls->roll->clusters[i].name);
        sy_log(shard->log, &cp_coord_events, CP_COORD_EV_UNREADABLE, SY_STR("why", why.text));
    }
    hand_out(rolls);
    return true;
}

struct cp_coord *cp_cluster_coord(const struct cp_shard *shard)
{
    return shard->rolls->coord;
}

const struct cp_roll *cp_cluster_roll(const struct cp_shard *shard)
{
    return shard->rolls->roll;
}

const char *cp_cluster_trouble(const struct cp_shard *shard)
{
    const struct cp_cluster_rolls *rolls = shard->rolls;
    if (!rolls->own)
        return cp_region_trouble(shard->in_region);
    if (rolls->read_epoch != 0)
        return "";
    const char *reason = cp_partition_reason(shard->lanes[0].partition);
    return reason[0] != '\0' ? reason : "partition 0, which keeps them, has just been opened";
}

/* ---- writes ---- */

/* In flight; outlives who waits for it when the call ends early. */
struct cp_cluster_write {
    struct cp_cluster_write *next, **prev; /* in shard->cluster_writes */
    cp_coord_done_fn done;                 /* NULL: nobody waits */
    void *ctx;
};

static void on_written(void *ctx, enum cp_coord_result result)
{
    struct cp_cluster_write *write = ctx;
    cp_coord_done_fn done = write->done;
    void *waiter = write->ctx;
    *write->prev = write->next;
    if (write->next != NULL)
        write->next->prev = write->prev;
    free(write);
    if (done != NULL)
        done(waiter, result);
}

struct cp_cluster_write *cp_cluster_write(struct cp_shard *shard, const struct cp_coord_op *ops,
                                          size_t count, cp_coord_done_fn done, void *ctx)
{
    struct cp_cluster_write *write = sy_new(struct cp_cluster_write);
    *write = (struct cp_cluster_write){shard->cluster_writes, &shard->cluster_writes, done, ctx};
    if (write->next != NULL)
        write->next->prev = &write->next;
    shard->cluster_writes = write;
    cp_coord_write(cp_cluster_coord(shard), ops, count, on_written, write);
    return write;
}

void cp_cluster_write_forget(struct cp_cluster_write *write)
{
    if (write != NULL)
        write->done = NULL;
}

void cp_cluster_writes_free(struct cp_shard *shard)
{
    while (shard->cluster_writes != NULL) {
        struct cp_cluster_write *write = shard->cluster_writes;
        shard->cluster_writes = write->next;
        free(write);
    }
}

/* ---- life ---- */

static void own_changed(void *ctx)
{
    cp_shard_changed(ctx);
}

void cp_cluster_rolls_new(struct cp_shard *shard, struct sy_loop *loop)
{
    struct cp_cluster_rolls *rolls = sy_new(struct cp_cluster_rolls);
    *rolls = (struct cp_cluster_rolls){.shard = shard, .own = shard->in_region == NULL};
    shard->rolls = rolls;
    if (!rolls->own) {
        rolls->coord = cp_region_coord(shard->in_region);
        return;
    }
    SY_ASSERT(cp_front(shard)->loop == shard->lanes[0].loop);
    cp_coord_none_new(&rolls->coord, loop, &(struct cp_coord_keep){write_records, rolls},
                      &(struct cp_coord_sink){own_changed, shard});
}

void cp_cluster_rolls_free(struct cp_shard *shard)
{
    struct cp_cluster_rolls *rolls = sy_take(shard->rolls);
    if (rolls == NULL)
        return;
    if (rolls->own)
        cp_coord_free(rolls->coord);
    cp_roll_unref(rolls->roll);
    free(rolls);
}
