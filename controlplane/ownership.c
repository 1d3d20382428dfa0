#include "controlplane/ownership_impl.h"

#include "base/mem.h"
#include "controlplane/region_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- the tables: diagrams are in ownership.h ---- */

static bool slot_invariant(const void *owner, unsigned state)
{
    const struct cp_owned_slot *slot = owner;
    switch (state) {
    case CP_OWNED_NOT_OURS:
        return true;
    case CP_OWNED_CLAIMING:
        return slot->session != 0 && slot->claimed > 0 && slot->epoch > 0;
    case CP_OWNED_SPLITTING:
        return slot->session != 0 && slot->epoch > 0;
    default:
        return slot->session != 0 && slot->epoch > 0 && slot->epoch == slot->floor;
    }
}

#define OWNED_BIT(state) SM_BIT(CP_OWNED_##state)
static const struct sm_state owned_states[CP_OWNED_STATES] = {
    [CP_OWNED_NOT_OURS] = {.name = "not_ours", .initial = true, .next = OWNED_BIT(CLAIMING)},
    [CP_OWNED_CLAIMING] = {.name = "claiming", .next = OWNED_BIT(NOT_OURS) | OWNED_BIT(OPENING)},
    [CP_OWNED_OPENING] = {.name = "opening",
                          .next = OWNED_BIT(SERVING) | OWNED_BIT(GIVING) | OWNED_BIT(LOST) |
                                  OWNED_BIT(NOT_OURS)},
    [CP_OWNED_SERVING] = {.name = "serving",
                          .next = OWNED_BIT(GIVING) | OWNED_BIT(LOST) | OWNED_BIT(NOT_OURS)},
    [CP_OWNED_GIVING] = {.name = "giving",
                         .next = OWNED_BIT(LOST) | OWNED_BIT(NOT_OURS) | OWNED_BIT(SPLITTING)},
    [CP_OWNED_LOST] = {.name = "lost", .next = OWNED_BIT(NOT_OURS)},
    [CP_OWNED_SPLITTING] = {.name = "splitting", .next = OWNED_BIT(NOT_OURS) | OWNED_BIT(CLAIMING)},
};
const struct sm_table cp_owned_table = {"owned partition", owned_states, CP_OWNED_STATES,
                                        slot_invariant};

#define MODE_BIT(mode) SM_BIT(CP_OWNERSHIP_##mode)
static const struct sm_state mode_states[CP_OWNERSHIP_MODES] = {
    [CP_OWNERSHIP_TAKES] = {.name = "takes",
                            .initial = true,
                            .next = MODE_BIT(DRAINS) | MODE_BIT(STOPS)},
    [CP_OWNERSHIP_DRAINS] = {.name = "drains", .next = MODE_BIT(TAKES) | MODE_BIT(STOPS)},
    [CP_OWNERSHIP_STOPS] = {.name = "stops", .next = MODE_BIT(GONE)},
    [CP_OWNERSHIP_GONE] = {.name = "gone", .final = true},
};
const struct sm_table cp_ownership_table = {"shard of a region", mode_states, CP_OWNERSHIP_MODES,
                                            NULL};

void cp_owned_move(struct cp_owned_slot *slot, enum cp_owned_state to)
{
    sm_move(&slot->sm, &cp_owned_table, to, slot);
}

/* Something of it is open here, or being opened; or its files are being read. */
static bool is_open(const struct cp_owned_slot *slot)
{
    return slot->sm.state >= CP_OWNED_OPENING;
}

static bool may_act(const struct cp_owned_slot *slot)
{
    return is_open(slot) && slot->sm.state != CP_OWNED_LOST && slot->sm.state != CP_OWNED_SPLITTING;
}

static int64_t right_until(const struct cp_ownership *o, const struct cp_ownership_view *view)
{
    int64_t held_until_ns = view->held_until_ns;
    return held_until_ns == SY_TIME_NEVER ? SY_TIME_NEVER : held_until_ns - o->options.margin_ns;
}

/* ---- one step ---- */

static struct cp_ownership_effect *effect(struct cp_owned_step *s,
                                          enum cp_ownership_effect_type type)
{
    struct cp_ownership_effects *fx = s->fx;
    if (fx->count == fx->size) {
        fx->size = fx->size > 0 ? 2 * fx->size : 8;
        fx->items = sy_realloc(fx->items, fx->size * sizeof(*fx->items));
    }
    fx->items[fx->count] = (struct cp_ownership_effect){.type = type};
    return &fx->items[fx->count++];
}

void cp_owned_effect(struct cp_owned_step *s, enum cp_ownership_effect_type type, uint32_t number)
{
    struct cp_ownership_effect *e = effect(s, type);
    e->partition = number;
    e->epoch = s->o->slots[number].epoch;
}

/* Whether that time has come; it is woken then. */
bool cp_owned_due(struct cp_owned_step *s, int64_t at_ns)
{
    if (s->view->now_ns >= at_ns)
        return true;
    if (at_ns < s->fx->wake_ns)
        s->fx->wake_ns = at_ns;
    return false;
}

/* What failed long ago is forgotten. Shards that failed together try again apart. */
static void back_off(struct cp_owned_step *s, struct cp_owned_retry *retry, uint32_t number)
{
    const struct cp_ownership_options *options = &s->o->options;
    int64_t now = s->view->now_ns;
    if (now - retry->at_ns > options->backoff_max_ns)
        retry->tries = 0;
    int64_t wait = options->backoff_ns;
    for (unsigned i = 0; i < retry->tries && wait < options->backoff_max_ns; i++)
        wait *= 2;
    wait = wait < options->backoff_max_ns ? wait : options->backoff_max_ns;
    uint64_t seed = (uint64_t)retry->tries << 32 | number;
    uint64_t hash = XXH3_64bits_withSeed(options->shard, strlen(options->shard), seed);
    retry->at_ns = now + wait / 2 + (int64_t)(hash % (uint64_t)(wait / 2 + 1));
    retry->tries++;
}

/* ---- what has happened ---- */

static void take_write(struct cp_owned_step *s, const struct cp_ownership_event *event)
{
    bool member = event->partition == CP_OWNERSHIP_MEMBER;
    SY_ASSERT(member || event->partition < s->o->slot_count);
    struct cp_owned_retry *retry = member ? &s->o->member : &s->o->slots[event->partition].retry;
    SY_ASSERT(retry->writing);
    retry->writing = false;
    if (event->result != CP_COORD_DONE)
        back_off(s, retry, event->partition); /* by then the copy will tell */
}

static bool takes(const struct cp_owned_step *s, uint32_t shard)
{
    return shard != CP_MAP_NONE && shard != s->self && !s->map->shards[shard].draining;
}

static bool others_take(const struct cp_owned_step *s)
{
    uint32_t shard = 0;
    while (shard < s->map->shard_count && !takes(s, shard))
        shard++;
    return shard < s->map->shard_count;
}

/* Another shard could claim it at once, if it were free. */
static bool another_can_have(const struct cp_owned_step *s, const struct cp_map_partition *p)
{
    if (!s->map->local)
        return others_take(s);
    const struct cp_map_copy *beside = cp_map_copy_beside(p, s->o->options.shard);
    return beside != NULL && takes(s, cp_map_shard(s->map, beside->shard));
}

static void take_stalled(struct cp_owned_step *s, uint32_t number, struct cp_owned_slot *slot)
{
    uint32_t at = cp_map_partition(s->map, number);
    if (!may_act(slot) || !s->held || at == CP_MAP_NONE ||
        !another_can_have(s, &s->map->partitions[at]))
        return;
    s->o->slow_until_ns = s->view->now_ns + s->o->options.slow_rest_ns;
    slot->yielded = true;
    cp_owned_move(slot, CP_OWNED_LOST);
    cp_owned_effect(s, CP_OWNERSHIP_LOSE, number);
}

/* ---- our own record ---- */

bool cp_owned_stopping(const struct cp_owned_step *s)
{
    return s->o->mode.state >= CP_OWNERSHIP_STOPS;
}

static struct cp_ownership_effect *write_effect(struct cp_owned_step *s,
                                                struct cp_owned_retry *retry, uint32_t number,
                                                int64_t if_revision)
{
    SY_ASSERT(!retry->writing);
    retry->writing = true;
    struct cp_ownership_effect *e = effect(s, CP_OWNERSHIP_WRITE);
    e->partition = number;
    e->if_revision = if_revision;
    return e;
}

/* To the others it is all one. */
static bool drains(const struct cp_ownership *o)
{
    return o->mode.state == CP_OWNERSHIP_DRAINS || o->slow_until_ns != 0;
}

static void write_member(struct cp_owned_step *s, int64_t if_revision)
{
    struct cp_ownership *o = s->o;
    struct cp_map_shard row = {.since_ns = o->options.since_ns,
                               .draining = drains(o),
                               .slow = drains(o) && o->mode.state != CP_OWNERSHIP_DRAINS,
                               .partitions_max = o->options.partitions_max};
    snprintf(row.endpoint, sizeof(row.endpoint), "%s", o->options.endpoint);
    snprintf(row.version, sizeof(row.version), "%s", o->options.version);
    snprintf(row.process, sizeof(row.process), "%s", o->options.process ? o->options.process : "");
    struct cp_ownership_effect *e = write_effect(s, &o->member, CP_OWNERSHIP_MEMBER, if_revision);
    e->kind = CP_COORD_PUT_BOUND;
    cp_map_shard_key(e->key, o->options.shard);
    cp_map_put_shard(&e->value, &row);
}

/* A record of our name that is bound to another session is an earlier process of ours, or somebody
 * with the same name: we wait for its end, since until then it may be serving. So with one of our
 * endpoint: calls that are meant for us would come to it. */
static void join(struct cp_owned_step *s)
{
    struct cp_ownership *o = s->o;
    if (s->view->session == 0 || s->map->revision == 0 || cp_owned_stopping(s))
        return;
    if (o->slow_until_ns != 0 && (cp_owned_due(s, o->slow_until_ns) || !others_take(s)))
        o->slow_until_ns = 0;
    bool draining = drains(o);
    bool absent = cp_map_shard(s->map, o->options.shard) == CP_MAP_NONE &&
                  cp_map_other_at(s->map, o->options.endpoint, o->options.shard) == CP_MAP_NONE;
    bool slow = draining && o->mode.state != CP_OWNERSHIP_DRAINS;
    bool differs = s->member && (s->member->draining != draining || s->member->slow != slow);
    if ((absent || differs) && !o->member.writing && cp_owned_due(s, o->member.at_ns))
        write_member(s, absent ? CP_COORD_ABSENT : s->member->revision);
    if (s->member && o->joined_session != s->view->session) {
        o->joined_session = s->view->session;
        o->settled_ns = s->view->now_ns + o->options.settle_ns;
    }
}

/* ---- a partition ---- */

/* Its record names us, under the session that we have. */
bool cp_owned_by_us(const struct cp_owned_step *s, const struct cp_map_partition *p)
{
    return p && s->member && cp_map_owner(s->map, p) == s->self;
}

static struct cp_ownership_effect *
write_partition(struct cp_owned_step *s, const struct cp_map_partition *row, int64_t if_member)
{
    struct cp_ownership_effect *e = write_effect(s, &s->o->slots[row->number].retry, row->number,
                                                 row->revision);
    e->kind = CP_COORD_PUT;
    cp_map_partition_key(e->key, row->number);
    cp_map_put_partition(&e->value, row);
    e->if_member = if_member;
    if (if_member != 0)
        cp_map_shard_key(e->member_key, s->o->options.shard);
    return e;
}

/* With that content otherwise. */
struct cp_ownership_effect *cp_owned_claim(struct cp_owned_step *s,
                                           const struct cp_map_partition *p,
                                           struct cp_map_partition *row)
{
    struct cp_owned_slot *slot = &s->o->slots[p->number];
    uint32_t owner = cp_map_owner(s->map, p);
    SY_ASSERT(s->held && (owner == CP_MAP_NONE || owner == s->self));
    row->epoch = 1 + (p->epoch > slot->floor ? p->epoch : slot->floor);
    memcpy(row->owner, s->member->name, sizeof(row->owner));
    row->session = s->member->session;
    row->moving = true;
    if (s->map->local)
        cp_owned_name_copies(s, row);
    SY_ASSERT(row->epoch > slot->floor);
    slot->epoch = row->epoch;
    slot->session = row->session;
    slot->claimed = p->revision;
    slot->free_since_ns = 0;
    s->opening++;
    cp_owned_move(slot, CP_OWNED_CLAIMING);
    return write_partition(s, row, s->member->revision);
}

static void claim(struct cp_owned_step *s, const struct cp_map_partition *p)
{
    struct cp_map_partition row = *p;
    (void)cp_owned_claim(s, p, &row);
}

static void write_free(struct cp_owned_step *s, const struct cp_map_partition *p)
{
    struct cp_map_partition row = *p;
    row.owner[0] = '\0';
    row.session = 0;
    row.moving = false;
    (void)write_partition(s, &row, 0);
}

static void look_not_ours(struct cp_owned_step *s, const struct cp_map_partition *p,
                          uint32_t target)
{
    struct cp_owned_slot *slot = &s->o->slots[p->number];
    bool ours = cp_owned_by_us(s, p), free = cp_map_owner(s->map, p) == CP_MAP_NONE;
    bool room = s->o->options.partitions_max == 0 || p->number < s->o->options.partitions_max;
    bool planned = room && target == s->self && (ours || free);
    if (s->map->local && (ours || free)) {
        slot->free_since_ns = slot->free_since_ns != 0 ? slot->free_since_ns : s->view->now_ns;
        bool late = p->in_sync_count > 0 && cp_map_copy_on(p, s->o->options.shard) != NULL &&
                    s->held && cp_owned_due(s, slot->free_since_ns + s->o->options.settle_ns);
        planned |= ours && target != CP_MAP_NONE && !cp_plan_ready(s->map, p, target);
        planned |= free && late;
        if (planned && s->held && !cp_owned_stopping(s) && !slot->retry.writing &&
            !cp_owned_has_copy(s, p))
            return;
    } else {
        slot->free_since_ns = 0;
    }
    planned &= s->o->slow_until_ns == 0; /* our record says so, or is about to */
    if (ours && !planned)
        s->leaving++;
    if (!s->held || cp_owned_stopping(s) || slot->retry.writing || !(ours || planned))
        return;
    bool given = p->session == 0 && p->epoch > 0; /* to us, then: it waits for nobody else */
    if (!cp_owned_due(s, slot->retry.at_ns) ||
        (planned && !given && !cp_owned_due(s, s->o->settled_ns)))
        return;
    if (!planned)
        write_free(s, p);
    else if (s->opening < s->o->options.opening_max) {
        cp_owned_take_back(s, slot, target);
        claim(s, p);
    }
}

/* The copy says what became of the claim, sometimes before the answer does. While it shows what the
 * claim replaces nothing did yet, or the copy is behind: after a while it is decided anew. */
static void look_claiming(struct cp_owned_step *s, const struct cp_map_partition *p,
                          struct cp_owned_slot *slot)
{
    bool same = p && p->revision == slot->claimed && s->view->session == slot->session;
    if (same && (slot->retry.writing || !cp_owned_due(s, slot->retry.at_ns)))
        return;
    s->opening--;
    bool won = !same && cp_owned_by_us(s, p) && p->session == slot->session &&
               p->epoch == slot->epoch;
    if (!won || !s->held || cp_owned_stopping(s)) {
        cp_owned_move(slot, CP_OWNED_NOT_OURS);
        return;
    }
    SY_ASSERT(slot->epoch > slot->floor);
    slot->floor = slot->epoch;
    s->opening++;
    cp_owned_move(slot, CP_OWNED_OPENING);
    cp_owned_effect(s, CP_OWNERSHIP_OPEN, p->number);
}

void cp_owned_give(struct cp_owned_step *s, uint32_t number)
{
    cp_owned_move(&s->o->slots[number], CP_OWNED_GIVING);
    cp_owned_effect(s, CP_OWNERSHIP_GIVE, number);
}

/* `p` NULL: there is no record. */
static void look_open(struct cp_owned_step *s, const struct cp_map_partition *p, uint32_t number)
{
    struct cp_owned_slot *slot = &s->o->slots[number];
    bool ours = s->held && cp_owned_by_us(s, p) && p->session == slot->session &&
                p->epoch == slot->epoch;
    if (!ours) {
        cp_owned_move(slot, CP_OWNED_LOST);
        cp_owned_effect(s, CP_OWNERSHIP_LOSE, number);
        return;
    }
    if (cp_owned_stopping(s) && slot->sm.state != CP_OWNED_GIVING)
        cp_owned_give(s, number);
    if (slot->sm.state == CP_OWNED_GIVING)
        s->leaving++;
    struct cp_map_partition row = *p;
    row.moving = false;
    bool changes = p->moving;
    if (s->map->local)
        changes |= cp_owned_choose_standby(s, &row, slot);
    if (slot->sm.state == CP_OWNED_SERVING && changes && !slot->retry.writing &&
        cp_owned_due(s, slot->retry.at_ns))
        (void)write_partition(s, &row, 0);
}

/* Whoever claims it after that need not wait for our close. */
static void look_yielded(struct cp_owned_step *s, const struct cp_map_partition *p,
                         struct cp_owned_slot *slot)
{
    bool ours = cp_owned_by_us(s, p) && p->session == slot->session && p->epoch == slot->epoch;
    if (ours && s->held && !slot->retry.writing && cp_owned_due(s, slot->retry.at_ns))
        write_free(s, p);
}

static void look_at(struct cp_owned_step *s, uint32_t number, const struct cp_map_partition *p,
                    uint32_t target)
{
    struct cp_owned_slot *slot = &s->o->slots[number];
    if (slot->sm.state == CP_OWNED_CLAIMING)
        look_claiming(s, p, slot);
    s->leaving += slot->sm.state == CP_OWNED_SPLITTING;
    if (may_act(slot))
        look_open(s, p, number);
    else if (slot->sm.state == CP_OWNED_NOT_OURS && p)
        look_not_ours(s, p, target);
    else if (slot->yielded && p)
        look_yielded(s, p, slot);
}

/* ---- what has happened to partitions ---- */

static void take_event(struct cp_owned_step *s, const struct cp_ownership_event *event)
{
    struct cp_ownership *o = s->o;
    struct cp_owned_slot *slot = NULL;
    if (event->type == CP_OWNERSHIP_OPENED || event->type == CP_OWNERSHIP_CLOSED ||
        event->type == CP_OWNERSHIP_STALLED || event->type == CP_OWNERSHIP_FORKED) {
        SY_ASSERT(event->partition < o->slot_count);
        slot = &o->slots[event->partition];
        SY_ASSERT(is_open(slot) && slot->epoch == event->epoch);
    }
    switch (event->type) {
    case CP_OWNERSHIP_LOOK:
        break;
    case CP_OWNERSHIP_WROTE:
        take_write(s, event);
        break;
    case CP_OWNERSHIP_OPENED: /* it may cross a GIVE or LOSE */
        SY_ASSERT(slot->sm.state != CP_OWNED_SERVING);
        if (slot->sm.state == CP_OWNED_OPENING)
            cp_owned_move(slot, CP_OWNED_SERVING);
        break;
    case CP_OWNERSHIP_CLOSED:
        if (slot->sm.state == CP_OWNED_OPENING || slot->sm.state == CP_OWNED_SERVING)
            back_off(s, &slot->retry, event->partition);
        cp_owned_take_closed(s, event->partition, slot);
        slot->yielded = false;
        if (event->seen > slot->floor)
            slot->floor = event->seen;
        break;
    case CP_OWNERSHIP_STALLED:
        take_stalled(s, event->partition, slot);
        break;
    case CP_OWNERSHIP_SLOW:
        if (o->slow_until_ns != 0)
            o->slow_until_ns = s->view->now_ns + o->options.slow_rest_ns;
        break;
    case CP_OWNERSHIP_SPLIT:
        cp_owned_take_split(s, event);
        break;
    case CP_OWNERSHIP_FORKED:
        cp_owned_take_forked(s, event, slot);
        break;
    case CP_OWNERSHIP_MODE:
        SY_ASSERT(event->mode != CP_OWNERSHIP_GONE);
        if (event->mode == CP_OWNERSHIP_TAKES)
            o->slow_until_ns = 0;
        if (o->mode.state != event->mode && sm_may_move(&o->mode, &cp_ownership_table, event->mode))
            sm_move(&o->mode, &cp_ownership_table, event->mode, o);
        break;
    }
}

/* ---- planned hand-overs ---- */

/* All shards that see the same map choose the same ones: in order of numbers, each that finds its
 * giver and its taker idle, while fewer than moves_max are under way. */
static const struct cp_map_partition *next_to_give(struct cp_owned_step *s)
{
    const struct cp_map *map = s->map;
    bool *busy SY_AUTOFREE = sy_calloc(map->shard_count, sizeof(*busy));
    size_t under_way = 0;
    for (size_t i = 0; i < map->partition_count; i++) {
        uint32_t owner = cp_map_owner(map, &map->partitions[i]), target = s->o->plan[i];
        if (owner != CP_MAP_NONE && !map->partitions[i].moving)
            continue;
        under_way++;
        if (owner != CP_MAP_NONE)
            busy[owner] = true;
        else if (target != CP_MAP_NONE)
            busy[target] = true;
    }
    for (size_t i = 0; i < map->partition_count; i++) {
        const struct cp_map_partition *p = &map->partitions[i];
        uint32_t owner = cp_map_owner(map, p), target = s->o->plan[i];
        if (owner == CP_MAP_NONE || target == CP_MAP_NONE || target == owner ||
            !cp_plan_ready(map, p, target))
            continue;
        bool asked = strcmp(p->wanted, map->shards[target].name) == 0;
        if (!asked && (busy[owner] || busy[target] || under_way >= s->o->options.moves_max))
            continue;
        if (owner == s->self && !cp_owned_due(s, s->o->slots[p->number].stays_until_ns))
            continue;
        if (owner == s->self)
            return p;
        busy[owner] = busy[target] = true;
        under_way++;
    }
    return NULL;
}

static void give_next(struct cp_owned_step *s)
{
    if (!s->held || cp_owned_stopping(s) || s->leaving > 0)
        return;
    const struct cp_map_partition *p = next_to_give(s);
    if (!p)
        return;
    const struct cp_owned_slot *slot = &s->o->slots[p->number];
    if (slot->sm.state == CP_OWNED_OPENING || slot->sm.state == CP_OWNED_SERVING)
        cp_owned_give(s, p->number);
}

/* ---- all of it ---- */

static void see(struct cp_owned_step *s)
{
    struct cp_ownership *o = s->o;
    const struct cp_map *map = s->map;
    s->self = cp_map_shard(map, o->options.shard);
    if (s->self != CP_MAP_NONE && s->view->session != 0 &&
        map->shards[s->self].session == s->view->session)
        s->member = &map->shards[s->self];
    else
        s->self = CP_MAP_NONE;
    s->right_until_ns = right_until(o, s->view);
    s->held = s->member && s->view->now_ns < s->right_until_ns;

    size_t count = map->partition_count;
    size_t slots = count > 0 ? map->partitions[count - 1].number + (size_t)1 : 0;
    if (slots > o->slot_count) {
        o->slots = sy_realloc(o->slots, slots * sizeof(*o->slots));
        memset(o->slots + o->slot_count, 0, (slots - o->slot_count) * sizeof(*o->slots));
        for (size_t i = o->slot_count; i < slots; i++)
            sm_init(&o->slots[i].sm, &cp_owned_table, CP_OWNED_NOT_OURS);
        o->slot_count = slots;
    }
    SY_ASSERT(map->revision >= o->plan_revision);
    if (map->revision == o->plan_revision)
        return;
    if (count > o->plan_size) {
        o->plan_size = count;
        o->plan = sy_realloc(o->plan, count * sizeof(*o->plan));
        o->standbys = sy_realloc(o->standbys, count * sizeof(*o->standbys));
    }
    cp_plan(map, o->plan);
    if (map->local)
        cp_plan_standbys(map, o->plan, o->options.moves_max, o->standbys);
    o->plan_revision = map->revision;
}

static void look(struct cp_owned_step *s)
{
    struct cp_ownership *o = s->o;
    const struct cp_map *map = s->map;
    size_t open = 0;
    s->opening = 0;
    for (size_t i = 0; i < o->slot_count; i++)
        s->opening += o->slots[i].sm.state == CP_OWNED_CLAIMING ||
                      o->slots[i].sm.state == CP_OWNED_OPENING;
    for (size_t number = 0, at = 0; number < o->slot_count; number++) {
        bool has = at < map->partition_count && map->partitions[at].number == number;
        look_at(s, (uint32_t)number, has ? &map->partitions[at] : NULL,
                has ? o->plan[at] : CP_MAP_NONE);
        at += has;
    }
    give_next(s);
    for (size_t i = 0; i < o->slot_count; i++) {
        open += is_open(&o->slots[i]);
        if (may_act(&o->slots[i]))
            (void)cp_owned_due(s, s->right_until_ns);
    }
    if (s->member && !s->held) /* a renewal may come without a word */
        (void)cp_owned_due(s, s->view->now_ns + o->options.backoff_ns);
    if (o->mode.state == CP_OWNERSHIP_STOPS && open == 0) {
        sm_move(&o->mode, &cp_ownership_table, CP_OWNERSHIP_GONE, o);
        effect(s, CP_OWNERSHIP_LEAVE);
    }
}

/* What the opening comment promises. */
static void check(const struct cp_owned_step *s)
{
    for (size_t i = 0; i < s->o->slot_count; i++) {
        const struct cp_owned_slot *slot = &s->o->slots[i];
        if (!may_act(slot))
            continue;
        uint32_t at = cp_map_partition(s->map, (uint32_t)i);
        SY_ASSERT(cp_ownership_right(s->o, s->view, (uint32_t)i) == slot->epoch);
        SY_ASSERT(s->held && at != CP_MAP_NONE);
        const struct cp_map_partition *p = &s->map->partitions[at];
        SY_ASSERT(p->epoch == slot->epoch && p->session == slot->session);
        SY_ASSERT(strcmp(p->owner, s->o->options.shard) == 0);
    }
}

void cp_ownership_step(struct cp_ownership *o, const struct cp_ownership_view *view,
                       const struct cp_ownership_event *event, struct cp_ownership_effects *fx)
{
    struct cp_owned_step s = {.o = o, .view = view, .map = view->map, .fx = fx};
    fx->wake_ns = SY_TIME_NEVER;
    see(&s);
    take_event(&s, event);
    join(&s);
    look(&s);
    check(&s);
}

/* ---- the rest ---- */

struct cp_ownership_options cp_ownership_options_default(const char *shard, const char *endpoint,
                                                         const char *version)
{
    return (struct cp_ownership_options){.shard = shard,
                                         .endpoint = endpoint,
                                         .version = version,
                                         .margin_ns = 250 * SY_NS_PER_MS,
                                         .settle_ns = SY_NS_PER_S,
                                         .backoff_ns = 50 * SY_NS_PER_MS,
                                         .backoff_max_ns = 5 * SY_NS_PER_S,
                                         .moves_max = 4,
                                         .opening_max = 8,
                                         .standby_wait_ns = 30 * SY_NS_PER_S,
                                         .slow_rest_ns = 60 * SY_NS_PER_S};
}

struct cp_ownership *cp_ownership_new(const struct cp_ownership_options *options)
{
    SY_ASSERT(cp_name_check("shard", options->shard, NULL) == 0);
    SY_ASSERT(strlen(options->endpoint) < CP_MAP_TEXT_SIZE);
    SY_ASSERT(strlen(options->version) < CP_MAP_TEXT_SIZE);
    SY_ASSERT(!options->process || strlen(options->process) < CP_MAP_TEXT_SIZE);
    SY_ASSERT(options->margin_ns > 0 && options->settle_ns >= 0);
    SY_ASSERT(options->backoff_ns > 0 && options->backoff_max_ns >= options->backoff_ns);
    SY_ASSERT(options->moves_max > 0 && options->opening_max > 0);
    SY_ASSERT(options->slow_rest_ns > 0);
    struct cp_ownership *o = sy_new(struct cp_ownership);
    o->options = *options;
    sm_init(&o->mode, &cp_ownership_table, CP_OWNERSHIP_TAKES);
    return o;
}

void cp_ownership_free(struct cp_ownership *o)
{
    if (!o)
        return;
    free(o->slots);
    free(o->plan);
    free(o->standbys);
    free(o);
}

void cp_ownership_effects_clear(struct cp_ownership_effects *fx)
{
    for (size_t i = 0; i < fx->count; i++) {
        sy_buf_deinit(&fx->items[i].value);
        sy_buf_deinit(&fx->items[i].other);
    }
    fx->count = 0;
}

void cp_ownership_effects_deinit(struct cp_ownership_effects *fx)
{
    cp_ownership_effects_clear(fx);
    free(fx->items);
    *fx = (struct cp_ownership_effects){0};
}

size_t cp_ownership_ops(const struct cp_ownership_effect *effect,
                        struct cp_coord_op ret_ops[CP_OWNERSHIP_OPS_MAX])
{
    SY_ASSERT(effect->type == CP_OWNERSHIP_WRITE);
    size_t count = 0;
    ret_ops[count++] = (struct cp_coord_op){.kind = effect->kind,
                                            .key = effect->key,
                                            .value = sy_buf_span(&effect->value),
                                            .if_revision = effect->if_revision};
    if (effect->if_member != 0)
        ret_ops[count++] = (struct cp_coord_op){
            .kind = CP_COORD_CHECK, .key = effect->member_key, .if_revision = effect->if_member};
    if (effect->other_key[0] != '\0')
        ret_ops[count++] = (struct cp_coord_op){.kind = CP_COORD_PUT,
                                                .key = effect->other_key,
                                                .value = sy_buf_span(&effect->other),
                                                .if_revision = CP_COORD_ABSENT};
    return count;
}

int64_t cp_ownership_right_until_ns(const struct cp_ownership *o,
                                    const struct cp_ownership_view *view, uint32_t partition)
{
    if (partition >= o->slot_count)
        return 0;
    const struct cp_owned_slot *slot = &o->slots[partition];
    return may_act(slot) && slot->session == view->session ? right_until(o, view) : 0;
}

uint32_t cp_ownership_right(const struct cp_ownership *o, const struct cp_ownership_view *view,
                            uint32_t partition)
{
    bool may = view->now_ns < cp_ownership_right_until_ns(o, view, partition);
    return may ? o->slots[partition].epoch : 0;
}

enum cp_owned_state cp_ownership_state(const struct cp_ownership *o, uint32_t partition)
{
    return partition < o->slot_count ? (enum cp_owned_state)o->slots[partition].sm.state
                                     : CP_OWNED_NOT_OURS;
}

enum cp_ownership_mode cp_ownership_mode(const struct cp_ownership *o)
{
    return (enum cp_ownership_mode)o->mode.state;
}

bool cp_ownership_slow(const struct cp_ownership *o)
{
    return o->slow_until_ns != 0;
}
