/* How a partition becomes two: it is given, forked, and claimed anew with a record for the new half
 * in the same write. What goes wrong before that leaves it as it was. */
#include "controlplane/ownership_impl.h"

void cp_owned_take_split(struct cp_owned_step *s, const struct cp_ownership_event *event)
{
    struct cp_owned_slot *slot = event->partition < s->o->slot_count
                                     ? &s->o->slots[event->partition]
                                     : NULL;
    SY_ASSERT(event->at > 0);
    if (!slot || slot->sm.state != CP_OWNED_SERVING || !s->held || cp_owned_stopping(s))
        return;
    slot->split_at = event->at;
    cp_owned_give(s, event->partition);
}

void cp_owned_take_closed(struct cp_owned_step *s, uint32_t number, struct cp_owned_slot *slot)
{
    bool splits = slot->split_at != 0 && slot->sm.state == CP_OWNED_GIVING && s->held &&
                  !cp_owned_stopping(s);
    if (!splits) {
        slot->split_at = 0;
        cp_owned_move(slot, CP_OWNED_NOT_OURS);
        return;
    }
    cp_owned_move(slot, CP_OWNED_SPLITTING);
    cp_owned_effect(s, CP_OWNERSHIP_FORK, number);
}

/* Given to whoever the plan says; with local storage first to the standby in sync, if there is one.
 */
static bool make_half(const struct cp_owned_step *s, const struct cp_map_partition *p, uint64_t at,
                      const struct cp_forked_copies *forked, struct cp_map_partition *ret)
{
    struct cp_range range = cp_map_range(s->map, p);
    SY_ASSERT(at > range.first && at <= range.last);
    *ret = (struct cp_map_partition){.number = (uint32_t)s->map->partition_count,
                                     .range = {at, range.last},
                                     .parent = p->number,
                                     .parent_epoch = s->o->slots[p->number].epoch};
    return !s->map->local || cp_owned_name_forked(s, p, forked, ret);
}

/* One write for both: before it there is one partition, after it there are two, and both have
 * epochs that the whole never had. */
static void claim_halves(struct cp_owned_step *s, const struct cp_map_partition *p,
                         struct cp_map_partition *upper)
{
    struct cp_map_partition lower = *p;
    lower.range = cp_map_range(s->map, p);
    lower.range.last = upper->range.first - 1;
    struct cp_ownership_effect *e = cp_owned_claim(s, p, &lower);
    upper->epoch = s->o->slots[p->number].epoch;
    cp_map_partition_key(e->other_key, upper->number);
    cp_map_put_partition(&e->other, upper);
}

void cp_owned_take_forked(struct cp_owned_step *s, const struct cp_ownership_event *event,
                          struct cp_owned_slot *slot)
{
    SY_ASSERT(slot->sm.state == CP_OWNED_SPLITTING && slot->epoch == event->epoch);
    uint32_t index = cp_map_partition(s->map, event->partition);
    const struct cp_map_partition *p = index != CP_MAP_NONE ? &s->map->partitions[index] : NULL;
    struct cp_map_partition upper;
    uint64_t at = slot->split_at;
    bool same = p != NULL && s->held && !cp_owned_stopping(s) && cp_owned_by_us(s, p) &&
                p->session == slot->session && p->epoch == slot->epoch && !slot->retry.writing;
    bool room = cp_map_full(s->map) == NULL; /* others may have been split since it was ordered */
    slot->split_at = 0;
    if (same && room && event->result == CP_COORD_DONE &&
        make_half(s, p, at, &event->forked, &upper))
        claim_halves(s, p, &upper);
    else
        cp_owned_move(slot, CP_OWNED_NOT_OURS);
}
