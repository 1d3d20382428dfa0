#include "agent/operators.h"

#include "base/mem.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdlib.h>

#define LOOK_NS SY_NS_PER_S
#define LOOK_TIMEOUT_NS (2 * SY_NS_PER_S)
#define ANSWER_BYTES_MAX 4096

struct ag_operators {
    struct sy_loop *loop;
    const struct sy_bearer *bearer;
    char **targets;
    struct sy_channel **channels;
    size_t count, at, asked, failed;
    uint64_t term;
    bool attached, moving; /* moving: the next one is chosen */
    struct sy_call *call;  /* a question under way, to `asked`; NULL: none */
    bool answer_active;
    uint64_t answer_term;
    struct sy_timer timer;
    sy_fn moved;
    void *ctx;
};

/* ---- looking ---- */

static void look_later(struct ag_operators *o)
{
    if (o->count > 1)
        sy_timer_start_in(o->loop, &o->timer, LOOK_NS);
}

static void on_answer(void *ctx, struct sy_span bytes)
{
    struct ag_operators *o = ctx;
    struct sy_arena arena SY_CLEANUP(sy_arena_deinit);
    sy_arena_init(&arena, ANSWER_BYTES_MAX);
    const Switchyard__Internal__LeadResponse *m = pb_unpack(
        &switchyard__internal__lead_response__descriptor, &arena, bytes);
    o->answer_active = m != NULL && m->active;
    o->answer_term = m != NULL ? m->term : 0;
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct ag_operators *o = ctx;
    bool answered = status->code == SY_CODE_OK && o->answer_active && o->answer_term > 0;
    /* Not attached, it also may be the one that was lost. */
    bool newer = o->answer_term > o->term || (!o->attached && o->answer_term == o->term);
    sy_call_unref(sy_take(o->call));
    if (answered && newer && o->asked != o->at) {
        o->at = o->asked;
        o->moving = true;
        o->moved(o->ctx);
    }
    look_later(o);
}

static const struct sy_call_sink sink = {.on_message = on_answer, .on_closed = on_closed};

/* The next of the others. */
static void look_at_another(void *arg)
{
    struct ag_operators *o = arg;
    SY_ASSERT(o->call == NULL); /* its end looks again */
    o->asked = (o->asked + 1) % o->count;
    if (o->asked == o->at)
        o->asked = (o->asked + 1) % o->count;
    struct sy_call_options options = {
        .method = "/switchyard.internal.DataPlane/Lead",
        .timeout_ns = LOOK_TIMEOUT_NS,
        .metadata = &o->bearer->metadata,
        .metadata_count = o->bearer->metadata_count,
    };
    o->answer_active = false;
    o->call = sy_channel_open(o->channels[o->asked], o->loop, &options, &sink, o);
    struct sy_buf empty = {0};
    int r = sy_call_send(o->call, &empty);
    SY_ASSERT(r == 0); /* the first message always has room */
    sy_call_half_close(o->call);
}

/* ---- the current one ---- */

const char *ag_operators_target(const struct ag_operators *o)
{
    return o->targets[o->at];
}

struct sy_channel *ag_operators_channel(const struct ag_operators *o)
{
    return o->channels[o->at];
}

uint64_t ag_operators_term(const struct ag_operators *o)
{
    return o->term;
}

bool ag_operators_welcome(struct ag_operators *o, uint64_t term)
{
    if (term != 0 && term < o->term)
        return false;
    if (term > o->term)
        o->term = term;
    o->attached = true;
    o->moving = false;
    o->failed = 0;
    return true;
}

bool ag_operators_next(struct ag_operators *o)
{
    o->attached = false;
    if (o->moving) {
        o->moving = false;
        return false;
    }
    o->at = (o->at + 1) % o->count;
    o->failed++;
    return o->failed % o->count == 0;
}

/* ---- life ---- */

struct ag_operators *ag_operators_new(struct sy_rpc *rpc, struct sy_loop *loop,
                                      const char *const *targets, const struct sy_bearer *bearer,
                                      sy_fn moved, void *ctx)
{
    struct ag_operators *o = sy_new(struct ag_operators);
    *o = (struct ag_operators){.loop = loop, .bearer = bearer, .moved = moved, .ctx = ctx};
    while (targets[o->count] != NULL)
        o->count++;
    SY_ASSERT(o->count > 0);
    o->targets = sy_calloc(o->count, sizeof(char *));
    o->channels = sy_calloc(o->count, sizeof(struct sy_channel *));
    for (size_t i = 0; i < o->count; i++) {
        o->targets[i] = sy_strdup(targets[i]);
        o->channels[i] = sy_channel_new(rpc, targets[i]);
    }
    sy_timer_init(&o->timer, look_at_another, o);
    look_later(o);
    return o;
}

void ag_operators_free(struct ag_operators *o)
{
    static const struct sy_call_sink deaf = {0};
    sy_timer_stop(o->loop, &o->timer);
    if (o->call != NULL) {
        sy_call_finish(o->call, NULL);
        sy_call_set_sink(o->call, &deaf, NULL);
        sy_call_unref(o->call);
    }
    for (size_t i = 0; i < o->count; i++) {
        sy_channel_free(o->channels[i]);
        free(o->targets[i]);
    }
    free(o->channels);
    free(o->targets);
    free(o);
}
