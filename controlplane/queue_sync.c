/*
 * Every partition knows every queue: how changes get from a queue's home to the others.
 *
 * A home tells each of the others by a link of its own: one message at a time, until it has
 * acknowledged as much as there is to know. What it acknowledged is durable there, with the mark
 * up to which it knows the home's queues, so it stays so wherever that partition moves. A message
 * is what has changed since the mark that was acknowledged, or the whole set: to begin with, and
 * after too many changes. Who takes ignores what is older than his mark, whole or not, and does not
 * take what follows a mark that he has not reached. So messages may be lost, late, doubled, or
 * overtake each other.
 *
 * A change is told to its caller as made when all others have acknowledged it. A partition that was
 * split while it was away takes nothing from a home that does not know of both halves yet. Who
 * cannot be told is tried again for as long as the home is open, the caller waits CP_ASK_WAIT_NS. A
 * home that is opened begins with the whole set, and asks for that of each partition that it tells.
 */
#include "controlplane/queue_sync.h"

#include "base/mem.h"
#include "controlplane/ask.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define AGAIN_NS (50 * SY_NS_PER_MS)
/* So many whole sets are under way at a time, each of which may be large. */
#define WHOLES_MAX 16u

struct cp_queue_link {
    struct cp_queue_sync *sync;
    uint32_t to;
    bool busy, whole; /* something is under way; the whole set */
    bool greeted;     /* it knows that we were opened */
    bool forgot;      /* it was opened: what it acknowledged before does not count */
    uint64_t acked;   /* changes of this epoch; 0: none */
    struct cp_queue_mark sent;
    struct sy_buf message;
    struct cp_post post; /* there and back in this process, or */
    struct cp_queue_taking taking;
    struct cp_peer_call *call; /* at another shard */
};

/* A request whose change is durable at home; in its memory. */
struct cp_queue_waiter {
    struct cp_queue_waiter *next;
    struct cp_request *req;
    uint64_t change;
    int64_t give_up_ns;
    sy_fn done;
    void *ctx;
};

static void tell_all(struct cp_queue_sync *sync);

/* ---- who waits ---- */

static uint64_t known_to_all(const struct cp_queue_sync *sync)
{
    const struct cp_shard *shard = sync->lane->shard;
    uint64_t least = sync->mark.changes;
    for (uint32_t i = 0; i < cp_shard_partitions(shard); i++) {
        if (i != sync->lane->index && sync->links[i].acked < least)
            least = sync->links[i].acked;
    }
    return least;
}

static void wait_on(struct cp_queue_sync *sync)
{
    if (sync->waiters != NULL && !sy_timer_running(&sync->again))
        sy_timer_start_in(sync->lane->loop, &sync->again, AGAIN_NS);
}

/* A waiter's request ends, and its memory with it. */
static void answer_waiters(struct cp_queue_sync *sync)
{
    uint64_t known = sync->waiters != NULL ? known_to_all(sync) : 0;
    while (sync->waiters != NULL && sync->waiters->change <= known) {
        struct cp_queue_waiter *waiter = sync->waiters;
        sync->waiters = waiter->next;
        waiter->done(waiter->ctx);
    }
}

/* Those that have waited for so long, or all. */
static void fail_waiters(struct cp_queue_sync *sync, int64_t now_ns)
{
    while (sync->waiters != NULL && sync->waiters->give_up_ns <= now_ns) {
        struct cp_queue_waiter *waiter = sync->waiters;
        sync->waiters = waiter->next;
        cp_fail(waiter->req, SY_CODE_UNAVAILABLE,
                "the change is made, but not every partition knows of it yet; try again (%s)",
                sync->why.text);
    }
}

/* ---- one message ---- */

static bool may_tell(const struct cp_queue_link *link)
{
    return !link->busy && link->acked < link->sync->mark.changes;
}

static int by_key(const void *a, const void *b)
{
    return cp_queue_key_compare(a, b);
}

/* What has changed since it acknowledged. */
static size_t recent_keys(const struct cp_queue_link *link,
                          struct sch_queue_key keys[CP_QUEUE_RECENT])
{
    const struct cp_queue_sync *sync = link->sync;
    size_t count = 0, kept = 0;
    SY_ASSERT(sync->mark.changes - link->acked <= CP_QUEUE_RECENT);
    for (uint64_t n = link->acked + 1; n <= sync->mark.changes; n++)
        keys[count++] = sync->recent[n % CP_QUEUE_RECENT];
    qsort(keys, count, sizeof(*keys), by_key);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || by_key(&keys[kept - 1], &keys[i]) != 0)
            keys[kept++] = keys[i];
    }
    return kept;
}

static bool pack_recent(struct cp_queue_link *link)
{
    struct cp_queue_sync *sync = link->sync;
    struct sch_queue_key keys[CP_QUEUE_RECENT];
    struct cp_queue_packing packing = {
        .mark = sync->mark, .keys = keys, .count = recent_keys(link, keys), .follows = link->acked};
    sy_buf_clear(&link->message);
    link->sent = sync->mark;
    return cp_queue_copies_pack(sync->lane->partition, &packing, &link->message) == 0;
}

/* Most are told the same. */
static bool pack_whole(struct cp_queue_link *link)
{
    struct cp_queue_sync *sync = link->sync;
    const struct cp_queue_mark *mark = &sync->mark;
    uint32_t partitions = cp_shard_partitions(sync->lane->shard);
    if (sync->set_mark.epoch != mark->epoch || sync->set_mark.changes != mark->changes ||
        sync->set_partitions != partitions) {
        sy_buf_clear(&sync->set);
        sync->set_mark = (struct cp_queue_mark){0};
        if (cp_queue_copies_pack(sync->lane->partition, &(struct cp_queue_packing){.mark = *mark},
                                 &sync->set) != 0)
            return false;
        sync->set_mark = *mark;
        sync->set_partitions = partitions;
    }
    link->sent = *mark;
    sy_buf_clear(&link->message);
    sy_buf_append(&link->message, sync->set.data, sync->set.len);
    return true;
}

static void answered(void *ctx, const struct sy_status *status, bool behind)
{
    struct cp_queue_link *link = ctx;
    struct cp_queue_sync *sync = link->sync;
    bool took = status->code == SY_CODE_OK && !behind,
         current = link->sent.epoch == sync->mark.epoch;
    SY_ASSERT(link->busy && (link->acked <= link->sent.changes || !current));
    link->busy = false;
    sync->wholes -= link->whole;
    sy_buf_deinit(&link->message);
    if (sync->wholes == 0) {
        sy_buf_deinit(&sync->set);
        sync->set_mark = (struct cp_queue_mark){0};
    }
    if (status->code != SY_CODE_OK)
        sync->why = status->message;
    if (current && took) {
        link->greeted = true;
        link->acked = link->sent.changes;
    }
    if (link->forgot || behind)
        link->acked = 0;
    link->forgot = false;
    answer_waiters(sync);
    if (took || (behind && !link->whole))
        tell_all(sync); /* also those that waited for their turn */
    else
        wait_on(sync);
}

/* ---- within this process: there, and back ---- */

static void come_back(struct cp_post *post)
{
    struct cp_queue_link *link = sy_container_of(post, struct cp_queue_link, post);
    answered(link, &link->taking.status, link->taking.behind);
}

static void taken(struct cp_queue_taking *taking)
{
    struct cp_queue_link *link = sy_container_of(taking, struct cp_queue_link, taking);
    struct cp_lane *home = link->sync->lane;
    link->post.run = come_back;
    cp_lane_post(&home->shard->lanes[link->to], home, &link->post);
}

static void go_there(struct cp_post *post)
{
    struct cp_queue_link *link = sy_container_of(post, struct cp_queue_link, post);
    cp_queue_take(&link->sync->lane->shard->lanes[link->to], &link->taking);
}

/* ---- to one, to all ---- */

static void peer_answered(void *ctx, const struct sy_status *status, bool behind)
{
    struct cp_queue_link *link = ctx;
    cp_peer_call_free(sy_take(link->call));
    answered(link, status, behind);
}

static void tell(struct cp_queue_link *link)
{
    struct cp_queue_sync *sync = link->sync;
    struct cp_lane *lane = sync->lane, *other = &lane->shard->lanes[link->to];
    link->whole = link->acked == 0 || sync->mark.changes - link->acked > CP_QUEUE_RECENT;
    if (link->whole && sync->wholes >= WHOLES_MAX)
        return; /* when one of them has returned */
    if (link->whole ? !pack_whole(link) : !pack_recent(link))
        return; /* it ceases to serve */
    struct sy_span copies = sy_buf_span(&link->message);
    if (cp_shard_has(lane->shard, link->to)) {
        link->taking.home = lane->index;
        link->taking.copies = copies;
        link->taking.anew = !link->greeted;
        link->post.run = go_there;
        cp_lane_post(lane, other, &link->post);
    } else {
        link->call = cp_peer_take_queues(lane, link->to, !link->greeted, copies, peer_answered,
                                         link);
        if (link->call == NULL) {
            sy_error_text_set(&sync->why, "no shard has partition %u just now", link->to);
            return;
        }
    }
    link->busy = true;
    sync->wholes += link->whole;
}

static void tell_all(struct cp_queue_sync *sync)
{
    for (uint32_t i = 0; i < cp_shard_partitions(sync->lane->shard); i++) {
        if (i != sync->lane->index && may_tell(&sync->links[i]))
            tell(&sync->links[i]);
    }
    wait_on(sync);
}

/* ---- from opening to opening ---- */

static void begin(struct cp_queue_sync *sync)
{
    uint32_t count = sync->lane->shard->room;
    if (sync->links == NULL)
        sync->links = sy_calloc(count, sizeof(*sync->links));
    for (uint32_t i = 0; i < count; i++) {
        struct cp_queue_link *link = &sync->links[i];
        link->sync = sync;
        link->to = i;
        link->taking.done = taken;
        link->acked = 0;
        link->greeted = link->forgot = false;
    }
    sync->mark = (struct cp_queue_mark){cp_partition_epoch(sync->lane->partition), 1};
    sy_error_text_set(&sync->why, "partition %u has been opened again", sync->lane->index);
    fail_waiters(sync, SY_TIME_NEVER);
    tell_all(sync);
}

void cp_queue_sync_look(struct cp_lane *lane)
{
    struct cp_queue_sync *sync = lane->sync;
    if (!cp_partition_serving(lane->partition)) {
        sy_error_text_set(&sync->why, "partition %u ceased to serve", lane->index);
        fail_waiters(sync, SY_TIME_NEVER);
        return;
    }
    if (sync->mark.epoch != cp_partition_epoch(lane->partition))
        begin(sync);
    else
        tell_all(sync);
    fail_waiters(sync, sy_loop_now_ns(lane->loop));
}

static void look_again(void *arg)
{
    struct cp_queue_sync *sync = arg;
    cp_queue_sync_look(sync->lane);
    wait_on(sync);
}

void cp_queue_sync_change(struct cp_request *req, const struct sch_queue_key *key, sy_fn done,
                          void *ctx)
{
    struct cp_lane *lane = req->lane;
    struct cp_queue_sync *sync = lane->sync;
    if (sync->mark.epoch != cp_partition_epoch(lane->partition))
        begin(sync);
    sync->mark.changes++;
    sync->recent[sync->mark.changes % CP_QUEUE_RECENT] = *key;
    struct cp_queue_waiter *waiter = cp_request_alloc(req, sizeof(*waiter));
    *waiter = (struct cp_queue_waiter){.req = req,
                                       .change = sync->mark.changes,
                                       .give_up_ns = sy_loop_now_ns(lane->loop) + CP_ASK_WAIT_NS,
                                       .done = done,
                                       .ctx = ctx};
    LL_APPEND(sync->waiters, waiter);
    tell_all(sync);
    answer_waiters(sync); /* nobody else is to be told */
}

void cp_queue_sync_greeted(struct cp_lane *lane, uint32_t partition)
{
    struct cp_queue_sync *sync = lane->sync;
    if (sync->links == NULL || partition == lane->index)
        return;
    struct cp_queue_link *link = &sync->links[partition];
    link->forgot = link->busy;
    link->acked = 0;
    if (cp_partition_serving(lane->partition) &&
        sync->mark.epoch == cp_partition_epoch(lane->partition) && may_tell(link))
        tell(link);
}

/* ---- life ---- */

void cp_queue_sync_init(struct cp_lane *lane)
{
    lane->sync = sy_new(struct cp_queue_sync);
    lane->sync->lane = lane;
    sy_timer_init(&lane->sync->again, look_again, lane->sync);
}

void cp_queue_sync_deinit(struct cp_lane *lane)
{
    struct cp_queue_sync *sync = sy_take(lane->sync);
    if (sync == NULL)
        return;
    SY_ASSERT(sync->incoming == NULL && sync->round == NULL);
    if (sy_timer_running(&sync->again))
        sy_timer_stop(lane->loop, &sync->again);
    for (uint32_t i = 0; sync->links != NULL && i < lane->shard->room; i++) {
        cp_peer_call_free(sync->links[i].call);
        sy_buf_deinit(&sync->links[i].message);
        sy_status_deinit(&sync->links[i].taking.status);
    }
    sy_buf_deinit(&sync->set);
    free(sync->links);
    free(sync);
}
