#include "controlplane/standby.h"

#include "base/clock.h"
#include "base/error.h"

#include <string.h>

/* ---- logs ---- */

void cp_log_append(struct cp_log *log, uint32_t epoch, uint64_t upto)
{
    SY_ASSERT(epoch > 0 && upto > log->end);
    uint32_t last = log->count > 0 ? log->epochs[log->count - 1].epoch : 0;
    SY_ASSERT(epoch >= last);
    if (epoch != last) {
        if (log->count == CP_LOG_EPOCHS_MAX) {
            log->count--;
            memmove(log->epochs, log->epochs + 1, log->count * sizeof(log->epochs[0]));
        }
        log->epochs[log->count++] = (struct cp_log_epoch){.epoch = epoch, .after = log->end};
    }
    log->end = upto;
}

struct cp_log_mark cp_log_end(const struct cp_log *log)
{
    if (log->count == 0)
        return (struct cp_log_mark){0};
    return (struct cp_log_mark){log->epochs[log->count - 1].epoch, log->end};
}

static uint64_t epoch_end(const struct cp_log *log, size_t i)
{
    return i + 1 < log->count ? log->epochs[i + 1].after : log->end;
}

bool cp_log_has(const struct cp_log *log, struct cp_log_mark mark)
{
    for (size_t i = 0; i < log->count; i++) {
        if (log->epochs[i].epoch == mark.epoch)
            return mark.position > log->epochs[i].after && mark.position <= epoch_end(log, i);
    }
    return false;
}

struct cp_log_mark cp_log_piece(const struct cp_log *log, uint64_t position)
{
    SY_ASSERT(log->count > 0 && position < log->end);
    size_t i = log->count - 1;
    while (i > 0 && log->epochs[i].after > position)
        i--;
    SY_ASSERT(position >= log->epochs[i].after && position < epoch_end(log, i));
    return (struct cp_log_mark){log->epochs[i].epoch, epoch_end(log, i)};
}

/* ---- the owner ---- */

#define STATE_BIT(state) SM_BIT(CP_STANDBY_##state)
static const struct sm_state standby_states[CP_STANDBY_STATES] = {
    [CP_STANDBY_OUT] = {.name = "out", .initial = true, .next = STATE_BIT(JOINING)},
    [CP_STANDBY_JOINING] = {.name = "joining", .next = STATE_BIT(IN_SYNC) | STATE_BIT(OUT)},
    [CP_STANDBY_IN_SYNC] = {.name = "in_sync", .initial = true, .next = STATE_BIT(LEAVING)},
    [CP_STANDBY_LEAVING] = {.name = "leaving", .next = STATE_BIT(OUT) | STATE_BIT(IN_SYNC)},
};

static bool standby_invariant(const void *owner, unsigned state)
{
    const struct cp_standby *s = owner;
    return state == CP_STANDBY_OUT || s->copy != 0;
}
const struct sm_table cp_standby_table = {"standby", standby_states, CP_STANDBY_STATES,
                                          standby_invariant};

struct cp_standby_options cp_standby_options_default(void)
{
    return (struct cp_standby_options){.patience_ns = SY_NS_PER_S,
                                       .retry_ns = 100 * SY_NS_PER_MS,
                                       .backoff_ns = 5 * SY_NS_PER_S,
                                       .backoff_max_ns = 60 * SY_NS_PER_S,
                                       .near = 10000};
}

void cp_standby_init(struct cp_standby *s, const struct cp_standby_options *options,
                     const struct cp_standby_view *view, const struct cp_log *log)
{
    SY_ASSERT(options->patience_ns > 0 && options->retry_ns > 0 && options->near > 0);
    SY_ASSERT(options->backoff_ns > 0 && options->backoff_max_ns >= options->backoff_ns);
    SY_ASSERT(view->epoch > cp_log_end(log).epoch && view->revision > 0);
    *s = (struct cp_standby){.options = *options,
                             .epoch = view->epoch,
                             .log = *log,
                             .synced = log->end,
                             .copy = view->in_sync,
                             .waiting_since_ns = SY_TIME_NEVER,
                             .backoff_ns = options->backoff_ns};
    sm_init(&s->sm, &cp_standby_table, s->copy != 0 ? CP_STANDBY_IN_SYNC : CP_STANDBY_OUT);
}

struct step {
    struct cp_standby *s;
    const struct cp_standby_view *view;
    struct cp_standby_effects *fx;
};

static void move(struct cp_standby *s, enum cp_standby_state to)
{
    sm_move(&s->sm, &cp_standby_table, to, s);
}

static bool due(struct step *step, int64_t at_ns)
{
    if (step->view->now_ns >= at_ns)
        return true;
    if (at_ns < step->fx->wake_ns)
        step->fx->wake_ns = at_ns;
    return false;
}

static bool is_refused(const struct cp_standby *s, uint64_t copy)
{
    for (size_t i = 0; i < s->refused_count; i++) {
        if (s->refused[i] == copy)
            return true;
    }
    return false;
}

/* Only a copy that is out, and that no write under way can take in, is told so; and it is
 * remembered, since the order may come late. */
static void order_anew(struct step *step, uint64_t copy)
{
    struct cp_standby *s = step->s;
    SY_ASSERT(s->sm.state == CP_STANDBY_OUT && s->asked == 0);
    if (copy != 0 && !is_refused(s, copy)) {
        if (s->refused_count == CP_STANDBY_REFUSED_MAX)
            return; /* none is taken in any more, until the next epoch */
        s->refused[s->refused_count++] = copy;
    }
    s->copy = 0;
    step->fx->anew = true;
    step->fx->order = (struct cp_standby_order){.owner_epoch = s->epoch, .copy = copy};
}

static void take_hello(struct step *step, const struct cp_standby_hello *hello)
{
    struct cp_standby *s = step->s;
    if (s->sm.state == CP_STANDBY_JOINING && s->asked == 0 && hello->copy != s->copy)
        move(s, CP_STANDBY_OUT);
    bool fits = hello->copy != 0 && !is_refused(s, hello->copy) &&
                cp_log_has(&s->log, hello->end) && hello->end.position >= step->view->log_from;
    if (s->sm.state != CP_STANDBY_OUT)
        fits = fits && hello->copy == s->copy;
    else if (hello->copy != s->copy) {
        s->copy = fits ? hello->copy : 0;
        s->stored = 0;
    }
    s->its_log = fits ? CP_STANDBY_LOG_FITS : CP_STANDBY_LOG_UNFIT;
    if (fits) {
        if (hello->end.position > s->stored)
            s->stored = hello->end.position;
        step->fx->feed = true;
        step->fx->from = hello->end;
    } else if (s->sm.state == CP_STANDBY_OUT) {
        order_anew(step, hello->copy);
    }
}

static void take_event(struct step *step, const struct cp_standby_event *event)
{
    struct cp_standby *s = step->s;
    switch (event->type) {
    case CP_STANDBY_LOOK:
        break;
    case CP_STANDBY_APPENDED:
        cp_log_append(&s->log, s->epoch, event->upto);
        if (s->first == 0)
            s->first = event->upto;
        break;
    case CP_STANDBY_SYNCED:
        SY_ASSERT(event->upto > s->synced && event->upto <= s->log.end);
        s->synced = event->upto;
        break;
    case CP_STANDBY_HELLO:
        take_hello(step, &event->hello);
        break;
    case CP_STANDBY_STORED: /* of an earlier epoch or copy, or of what there is not: nothing */
        if (event->stored.owner_epoch != s->epoch || event->stored.copy != s->copy ||
            s->copy == 0 || event->stored.upto <= s->stored || event->stored.upto > s->log.end)
            break;
        s->stored = event->stored.upto;
        s->waiting_since_ns = SY_TIME_NEVER; /* it is heard: patience begins anew */
        break;
    case CP_STANDBY_GONE:
        s->its_log = CP_STANDBY_LOG_UNKNOWN;
        if (s->sm.state == CP_STANDBY_JOINING && s->asked == 0)
            move(s, CP_STANDBY_OUT); /* the next one may be another shard's */
        break;
    case CP_STANDBY_WROTE: /* as long as the record is the same it is not known what became of it */
        if (s->asked != 0)
            s->retry_at_ns = step->view->now_ns + s->options.retry_ns;
        break;
    }
}

/* The record has changed: what was asked for is so, or can never be. */
static void read_record(struct step *step)
{
    struct cp_standby *s = step->s;
    const struct cp_standby_view *view = step->view;
    if (s->asked == 0 || view->revision == s->asked)
        return;
    SY_ASSERT(view->revision > s->asked && (view->in_sync == 0 || view->in_sync == s->copy));
    s->asked = 0;
    move(s, view->in_sync != 0 ? CP_STANDBY_IN_SYNC : CP_STANDBY_OUT);
}

static void ask(struct step *step)
{
    struct cp_standby *s = step->s;
    s->asked = step->view->revision;
    s->retry_at_ns = SY_TIME_NEVER; /* until there is an answer */
    step->fx->write = true;
    step->fx->if_revision = s->asked;
    step->fx->in_sync = s->sm.state == CP_STANDBY_JOINING ? s->copy : 0;
}

static void put_off(struct step *step)
{
    struct cp_standby *s = step->s;
    if (step->view->now_ns - s->join_at_ns > s->options.backoff_max_ns)
        s->backoff_ns = s->options.backoff_ns; /* what was long ago is forgotten */
    s->join_at_ns = step->view->now_ns + s->backoff_ns;
    s->backoff_ns *= 2;
    if (s->backoff_ns > s->options.backoff_max_ns)
        s->backoff_ns = s->options.backoff_max_ns;
}

/* Something waits for the standby, and there is no sense in that any more. */
static bool is_given_up(struct step *step)
{
    struct cp_standby *s = step->s;
    if (s->log.end <= s->stored) {
        s->waiting_since_ns = SY_TIME_NEVER;
        return false;
    }
    if (s->waiting_since_ns == SY_TIME_NEVER)
        s->waiting_since_ns = step->view->now_ns;
    return !step->view->present || s->its_log == CP_STANDBY_LOG_UNFIT ||
           due(step, s->waiting_since_ns + s->options.patience_ns);
}

static void look(struct step *step)
{
    struct cp_standby *s = step->s;
    if (s->sm.state == CP_STANDBY_OUT && s->copy != 0 && s->its_log == CP_STANDBY_LOG_FITS &&
        s->first != 0 && s->log.end - s->stored <= s->options.near && step->view->present &&
        !step->view->replaced && due(step, s->join_at_ns)) {
        s->waiting_since_ns = SY_TIME_NEVER;
        move(s, CP_STANDBY_JOINING);
    }
    if (s->asked != 0) { /* repeated as it was */
        if (due(step, s->retry_at_ns))
            ask(step);
        return;
    }
    bool caught_up = s->first != 0 && s->stored >= s->first && s->stored >= s->released;
    switch (s->sm.state) {
    case CP_STANDBY_JOINING:
        if (caught_up) {
            ask(step);
        } else if (is_given_up(step)) {
            put_off(step);
            move(s, CP_STANDBY_OUT);
        }
        break;
    case CP_STANDBY_IN_SYNC:
        if (step->view->replaced || s->its_log == CP_STANDBY_LOG_UNFIT || is_given_up(step)) {
            if (!step->view->replaced)
                put_off(step);
            move(s, CP_STANDBY_LEAVING);
            ask(step);
        }
        break;
    default:
        break;
    }
}

/* All that was found when the epoch began is shown together with its marker, or not yet. */
static void release(struct step *step)
{
    struct cp_standby *s = step->s;
    uint64_t upto = s->synced;
    if (s->sm.state != CP_STANDBY_OUT && s->stored < upto)
        upto = s->stored;
    if (s->first == 0 || upto < s->first || upto <= s->released)
        return;
    s->released = upto;
    step->fx->release = upto;
}

void cp_standby_step(struct cp_standby *s, const struct cp_standby_view *view,
                     const struct cp_standby_event *event, struct cp_standby_effects *ret_fx)
{
    *ret_fx = (struct cp_standby_effects){.wake_ns = SY_TIME_NEVER};
    struct step step = {.s = s, .view = view, .fx = ret_fx};
    s->fenced |= view->epoch != s->epoch;
    if (s->fenced)
        return;
    read_record(&step);
    take_event(&step, event);
    look(&step);
    release(&step);
    SY_ASSERT(s->released <= s->synced && s->stored <= s->log.end);
    SY_ASSERT(s->asked == 0 || s->sm.state == CP_STANDBY_JOINING ||
              s->sm.state == CP_STANDBY_LEAVING);
}

/* ---- the follower ---- */

void cp_follower_init(struct cp_follower *f, uint64_t copy, const struct cp_log *log)
{
    SY_ASSERT(copy != 0 || log->count == 0);
    *f = (struct cp_follower){.copy = copy, .log = *log, .synced = log->end};
}

/* Its log's last epoch is a fence that outlives a restart. */
static bool is_old(const struct cp_follower *f, uint32_t owner_epoch)
{
    return owner_epoch < f->seen || owner_epoch < cp_log_end(&f->log).epoch;
}

static void meet(struct cp_follower *f, uint32_t owner_epoch)
{
    SY_ASSERT(!is_old(f, owner_epoch));
    if (owner_epoch != f->seen)
        f->matched = 0;
    f->seen = owner_epoch;
}

bool cp_follower_meet(struct cp_follower *f, uint32_t owner_epoch,
                      struct cp_standby_hello *ret_hello)
{
    if (is_old(f, owner_epoch))
        return false;
    SY_ASSERT(f->synced == f->log.end);
    meet(f, owner_epoch);
    *ret_hello = (struct cp_standby_hello){.copy = f->copy, .end = cp_log_end(&f->log)};
    return true;
}

enum cp_follower_verdict cp_follower_take(struct cp_follower *f,
                                          const struct cp_standby_piece *piece)
{
    if (is_old(f, piece->owner_epoch))
        return CP_FOLLOWER_OLD;
    bool sound = piece->end.position > piece->after.position && piece->end.epoch > 0 &&
                 piece->end.epoch >= piece->after.epoch && piece->end.epoch <= piece->owner_epoch;
    if (!sound || f->copy == 0 || piece->copy != f->copy)
        return CP_FOLLOWER_UNFIT;
    meet(f, piece->owner_epoch);
    struct cp_log_mark end = cp_log_end(&f->log);
    bool at_end = end.epoch == piece->after.epoch && end.position == piece->after.position;
    if (!at_end && !cp_log_has(&f->log, piece->end))
        return CP_FOLLOWER_UNFIT;
    if (at_end)
        cp_log_append(&f->log, piece->end.epoch, piece->end.position);
    if (f->matched < piece->end.position)
        f->matched = piece->end.position;
    return at_end ? CP_FOLLOWER_TAKE : CP_FOLLOWER_HAVE;
}

void cp_follower_synced(struct cp_follower *f, uint64_t upto)
{
    SY_ASSERT(upto > f->synced && upto <= f->log.end);
    f->synced = upto;
}

struct cp_standby_stored cp_follower_stored(const struct cp_follower *f)
{
    uint64_t upto = f->matched < f->synced ? f->matched : f->synced;
    return (struct cp_standby_stored){
        .owner_epoch = upto > 0 ? f->seen : 0, .copy = f->copy, .upto = upto};
}

bool cp_follower_forks(struct cp_follower *f, uint32_t owner_epoch, uint64_t copy,
                       struct cp_log_mark end)
{
    struct cp_log_mark own = cp_log_end(&f->log);
    if (is_old(f, owner_epoch) || f->copy == 0 || copy != f->copy)
        return false;
    meet(f, owner_epoch);
    return f->synced == f->log.end && end.epoch == owner_epoch && end.epoch == own.epoch &&
           end.position == own.position;
}

bool cp_follower_obeys(const struct cp_follower *f, const struct cp_standby_order *order,
                       bool named)
{
    return order->copy == f->copy && !is_old(f, order->owner_epoch) && !named;
}
