/*
 * The side of who takes: all messages that have come go into one change of the registry, so that a
 * partition that begins to serve, and hears of all homes at once, pays one sync for them. Of one
 * home there is one at a time, since a change reads only what is durable, and one that waits: a
 * later message says all that an earlier one did which was not acknowledged.
 */
#include "controlplane/queue_sync.h"

#include "base/mem.h"

#include <utlist.h>

static void next_round(struct cp_queue_sync *sync);

static enum sy_code take_round(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    struct cp_queue_sync *sync = ctx;
    (void)error;
    for (struct cp_queue_taking *taking = sync->round; taking != NULL; taking = taking->next) {
        struct sy_error_text why = {0};
        enum sy_code code = cp_queue_copies_take(p, taking->home, taking->copies, &taking->behind,
                                                 &why);
        sy_status_set(&taking->status, code, "%s", why.text);
    }
    return SY_CODE_OK;
}

static void took_round(void *arg, const struct sy_status *status)
{
    struct cp_queue_sync *sync = arg;
    struct cp_queue_taking *taking = sy_take(sync->round), *next;
    for (; taking != NULL; taking = next) {
        next = taking->next;
        if (status->code != SY_CODE_OK)
            sy_status_set(&taking->status, status->code, "%s", status->message.text);
        taking->done(taking);
    }
    next_round(sync);
}

/* The one of this home; NULL: there is none. */
static struct cp_queue_taking *of_home(struct cp_queue_taking *list, uint32_t home)
{
    while (list != NULL && list->home != home)
        list = list->next;
    return list;
}

static void next_round(struct cp_queue_sync *sync)
{
    struct cp_queue_taking *taking, *next;
    if (sync->round != NULL || sync->incoming == NULL)
        return;
    for (taking = sync->incoming; taking != NULL; taking = next) {
        next = taking->next;
        if (of_home(sync->round, taking->home) != NULL)
            continue;
        LL_DELETE(sync->incoming, taking);
        LL_PREPEND(sync->round, taking);
    }
    cp_partition_registry_change(sync->lane->partition, take_round, took_round, sync);
}

static void make_room(struct cp_queue_sync *sync, uint32_t home)
{
    struct cp_queue_taking *older = of_home(sync->incoming, home);
    if (older == NULL)
        return;
    LL_DELETE(sync->incoming, older);
    sy_status_set(&older->status, SY_CODE_UNAVAILABLE,
                  "partition %u has a later message of partition %u about queues; try again",
                  sync->lane->index, home);
    older->done(older);
}

void cp_queue_take(struct cp_lane *lane, struct cp_queue_taking *taking)
{
    SY_ASSERT(taking->home < lane->shard->room);
    struct cp_queue_sync *sync = lane->sync;
    taking->behind = false;
    if (taking->anew)
        cp_queue_sync_greeted(lane, taking->home);
    make_room(sync, taking->home);
    LL_APPEND(sync->incoming, taking);
    next_round(sync);
}

static void drop_all(struct cp_queue_taking *taking)
{
    struct cp_queue_taking *next;
    for (; taking != NULL; taking = next) {
        next = taking->next;
        if (taking->drop != NULL)
            taking->drop(taking);
    }
}

void cp_queue_take_drop(struct cp_lane *lane)
{
    if (lane->sync == NULL)
        return;
    drop_all(sy_take(lane->sync->incoming));
    drop_all(sy_take(lane->sync->round));
}
