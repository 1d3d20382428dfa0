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

/* One write for both: before it there is one partition, after it there are two. The upper half is
 * given to whoever the plan says; both have epochs that the whole never had. */
static void claim_halves(struct cp_owned_step *s, const struct cp_map_partition *p, uint64_t at)
{
    struct cp_owned_slot *slot = &s->o->slots[p->number];
    struct cp_map_partition lower = *p;
    uint32_t before = slot->epoch;
    lower.range = cp_map_range(s->map, p);
    SY_ASSERT(at > lower.range.first && at <= lower.range.last);
    struct cp_map_partition upper = {.number = (uint32_t)s->map->partition_count,
                                     .range = {at, lower.range.last},
                                     .parent = p->number,
                                     .parent_epoch = before};
    lower.range.last = at - 1;
    struct cp_ownership_effect *e = cp_owned_claim(s, p, &lower);
    upper.epoch = slot->epoch;
    cp_map_partition_key(e->other_key, upper.number);
    cp_map_put_partition(&e->other, &upper);
}

void cp_owned_take_forked(struct cp_owned_step *s, const struct cp_ownership_event *event,
                          struct cp_owned_slot *slot)
{
    SY_ASSERT(slot->sm.state == CP_OWNED_SPLITTING && slot->epoch == event->epoch);
    uint32_t index = cp_map_partition(s->map, event->partition);
    const struct cp_map_partition *p = index != CP_MAP_NONE ? &s->map->partitions[index] : NULL;
    uint64_t at = slot->split_at;
    bool same = p != NULL && s->held && !cp_owned_stopping(s) && cp_owned_by_us(s, p) &&
                p->session == slot->session && p->epoch == slot->epoch && !slot->retry.writing;
    bool room = cp_map_full(s->map) == NULL; /* others may have been split since it was ordered */
    slot->split_at = 0;
    if (same && room && event->result == CP_COORD_DONE)
        claim_halves(s, p, at);
    else
        cp_owned_move(slot, CP_OWNED_NOT_OURS);
}
