#include "controlplane/follow.h"

#include <stdio.h>

#define RETRY_MIN_NS (10 * SY_NS_PER_MS)
#define RETRY_MAX_NS (500 * SY_NS_PER_MS)
/* How often one that has not been heard from is looked at. */
#define CHECK_NS SY_NS_PER_S
#define STOPS "this shard stops; try again"

static struct cp_shard *shard_of(const struct cp_follow *follow)
{
    return follow->req->lane->shard;
}

static struct sy_loop *loop_of(const struct cp_follow *follow)
{
    return cp_front(shard_of(follow))->loop;
}

static void end(struct cp_follow *follow, const struct sy_status *status)
{
    follow->place = CP_ENDED;
    sy_timer_stop(loop_of(follow), &follow->timer);
    follow->sink->ended(follow, status);
    cp_ask_free(sy_take(follow->ask)); /* the status may be its own */
}

static void end_unavailable(struct cp_follow *follow, const char *why)
{
    struct sy_status status = {0};
    sy_status_set(&status, SY_CODE_UNAVAILABLE, "%s", why);
    end(follow, &status);
    sy_status_deinit(&status);
}

/* ---- from one place to another ---- */

static void look_in(struct cp_follow *follow, int64_t ns)
{
    sy_timer_start_in(loop_of(follow), &follow->timer,
                      ns / 2 + (int64_t)sy_rng_below(&shard_of(follow)->rng, (uint64_t)ns / 2 + 1));
}

static void look_later(struct cp_follow *follow)
{
    look_in(follow, follow->retry_ns);
    follow->retry_ns = follow->retry_ns * 2 < RETRY_MAX_NS ? follow->retry_ns * 2 : RETRY_MAX_NS;
}

static void leave(struct cp_follow *follow, const char *why)
{
    SY_ASSERT(!follow->stays && follow->place != CP_ENDED);
    int64_t now_ns = sy_loop_now_ns(loop_of(follow));
    sy_error_text_set(&follow->why, "%s", why);
    cp_ask_free(sy_take(follow->ask)); /* `why` may be its own */
    follow->place = CP_NOWHERE;
    if (follow->lost_ns == 0)
        follow->lost_ns = now_ns;
    if (now_ns - follow->placed_ns > RETRY_MAX_NS) /* it did not bounce */
        follow->retry_ns = RETRY_MIN_NS;
    sy_timer_stop(loop_of(follow), &follow->timer);
    if (!follow->held)
        look_later(follow);
}

/* The other shard serves the partition no more, or is not there: what it says then. */
static bool is_gone(const struct sy_status *status)
{
    return status->code == SY_CODE_UNAVAILABLE || status->code == SY_CODE_CANCELLED;
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct cp_follow *follow = ctx;
    SY_ASSERT(follow->place == CP_ELSEWHERE && !follow->held);
    follow->lost_ns = 0;
    sy_timer_stop(loop_of(follow), &follow->timer);
    follow->sink->message(follow, bytes);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct cp_follow *follow = ctx;
    if (is_gone(status))
        leave(follow, status->message.text);
    else
        end(follow, status);
}

static void go_elsewhere(struct cp_follow *follow)
{
    static const struct cp_ask_sink sink = {on_message, on_closed};
    struct sy_call *call = follow->req->call;
    char part[CP_PART_TEXT_SIZE];
    cp_part_text(part, shard_of(follow), follow->partition);
    struct sy_metadata metadata[CP_ASK_METADATA_MAX] = {{CP_PART_KEY, part}};
    size_t count = 1;
    const char *authorization = sy_call_metadata(call, "authorization");
    if (authorization != NULL)
        metadata[count++] = (struct sy_metadata){"authorization", authorization};
    if (follow->resume[0] != '\0')
        metadata[count++] = (struct sy_metadata){CP_RESUME_KEY, follow->resume};
    struct cp_ask_options options = {.route = cp_shard_route,
                                     .route_ctx = shard_of(follow),
                                     .loop = loop_of(follow),
                                     .partition = follow->partition,
                                     .method = sy_call_method(call),
                                     .metadata = metadata,
                                     .metadata_count = count,
                                     .deadline_ns = sy_call_deadline_ns(call),
                                     .stream = true};
    follow->place = CP_ELSEWHERE;
    follow->ask = cp_ask_new(&options, follow->request, &sink, follow);
    look_in(follow, CHECK_NS);
}

static void go_here(struct cp_follow *follow)
{
    follow->place = CP_HERE;
    follow->lost_ns = 0;
    follow->sink->here(follow);
}

static void find(struct cp_follow *follow)
{
    struct cp_shard *shard = shard_of(follow);
    follow->placed_ns = sy_loop_now_ns(loop_of(follow));
    if (shard->stopping)
        end_unavailable(follow, STOPS);
    else if (cp_shard_serves(shard, follow->partition))
        go_here(follow);
    else if (cp_region_elsewhere(shard->in_region, follow->partition) != NULL)
        go_elsewhere(follow);
    else
        look_later(follow);
}

static void on_timer(void *arg)
{
    struct cp_follow *follow = arg;
    SY_ASSERT(follow->place == CP_NOWHERE || follow->place == CP_ELSEWHERE);
    SY_ASSERT(follow->lost_ns != 0 && !follow->held);
    if (sy_loop_now_ns(loop_of(follow)) - follow->lost_ns >= CP_FOLLOW_BLIND_NS) {
        struct sy_error_text text = {0};
        sy_error_text_set(
            &text, "nobody has served partition %u for %d s, and its changes are not seen: %s",
            follow->partition, (int)(CP_FOLLOW_BLIND_NS / SY_NS_PER_S), follow->why.text);
        end_unavailable(follow, text.text);
    } else if (follow->place == CP_NOWHERE) {
        find(follow);
    } else {
        look_in(follow, CHECK_NS);
    }
}

/* ---- what the owner says ---- */

void cp_follow_start(struct cp_follow *follow, struct cp_request *req, uint32_t partition,
                     bool stays, struct sy_span request, const struct cp_follow_sink *sink)
{
    follow->req = req;
    follow->request = request;
    follow->sink = sink;
    follow->partition = partition;
    follow->stays = stays;
    follow->retry_ns = RETRY_MIN_NS;
    sy_timer_init(&follow->timer, on_timer, follow);
    if (stays) {
        go_here(follow);
        return;
    }
    struct cp_shard *shard = shard_of(follow);
    SY_ASSERT(shard->in_region != NULL);
    follow->next = shard->followed;
    follow->prev = &shard->followed;
    if (follow->next != NULL)
        follow->next->prev = &follow->next;
    shard->followed = follow;
    follow->lost_ns = sy_loop_now_ns(loop_of(follow));
    sy_error_text_set(&follow->why, "no shard has it");
    find(follow);
}

void cp_follow_away(struct cp_follow *follow, const struct sy_status *status)
{
    SY_ASSERT(follow->place == CP_HERE);
    if (follow->stays)
        end(follow, status);
    else
        leave(follow, status->message.text);
}

void cp_follow_hold(struct cp_follow *follow, bool hold)
{
    if (follow->held == hold || follow->stays)
        return;
    follow->held = hold;
    if (follow->ask != NULL)
        cp_ask_hold(follow->ask, hold);
    if (hold) {
        sy_timer_stop(loop_of(follow), &follow->timer);
    } else if (follow->place != CP_ENDED && follow->lost_ns != 0) { /* it was not listened for */
        follow->lost_ns = sy_loop_now_ns(loop_of(follow));
        look_in(follow, RETRY_MIN_NS);
    }
}

void cp_follow_stop(struct cp_follow *follow)
{
    if (follow->prev != NULL) {
        *follow->prev = follow->next;
        if (follow->next != NULL)
            follow->next->prev = follow->prev;
        follow->prev = NULL;
    }
    sy_timer_stop(loop_of(follow), &follow->timer);
    cp_ask_free(sy_take(follow->ask));
    follow->place = CP_ENDED;
}

/* ---- what the region says ---- */

bool cp_watch_was_split(struct cp_request *req, bool part, uint32_t count)
{
    if (part || cp_shard_partitions(req->lane->shard) == count)
        return false;
    cp_fail(req, SY_CODE_UNAVAILABLE, "a partition was split just now; begin anew");
    return true;
}

void cp_follows_look(struct cp_shard *shard)
{
    for (struct cp_follow *follow = shard->followed; follow != NULL; follow = follow->next) {
        bool unheard = follow->place == CP_ELSEWHERE && follow->lost_ns != 0;
        if (follow->place == CP_NOWHERE && !follow->held)
            look_in(follow, RETRY_MIN_NS);
        else if (follow->place == CP_ELSEWHERE && cp_ask_strayed(follow->ask))
            leave(follow, "another shard has it now");
        else if (unheard && cp_shard_serves(shard, follow->partition))
            leave(follow, "this shard has it now");
        else if (unheard)
            cp_ask_hurry(follow->ask);
    }
}

void cp_follows_end(struct cp_shard *shard)
{
    for (struct cp_follow *follow = shard->followed; follow != NULL; follow = follow->next) {
        if (follow->place == CP_NOWHERE || follow->place == CP_ELSEWHERE)
            end_unavailable(follow, STOPS);
    }
}
