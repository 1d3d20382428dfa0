/* Where each shard has a disk of its own: which copy a claim needs, and who is the standby. */
#include "controlplane/ownership_impl.h"

#include <stdio.h>
#include <string.h>

#define STAYS_MAX 4 /* doublings */

static struct cp_own_copy own_copy(const struct cp_owned_step *s, uint32_t number)
{
    return number < s->view->copy_count ? s->view->copies[number] : (struct cp_own_copy){0};
}

/* With local storage: whether the copy that is needed for it lies here. */
bool cp_owned_has_copy(struct cp_owned_step *s, const struct cp_map_partition *p)
{
    struct cp_own_copy copy = own_copy(s, p->number);
    const struct cp_map_copy *named = cp_map_copy_on(p, s->o->options.shard);
    if (p->in_sync_count > 0)
        return named != NULL && copy.id == named->id;
    if (p->epoch > 0)
        return false; /* it was begun, and nobody knows where */
    if (copy.id == 0)
        cp_owned_effect(s, CP_OWNERSHIP_MAKE, p->number);
    return copy.id != 0 && copy.empty;
}

/* In the record of a claim. Who had the other copy in sync is the standby. */
void cp_owned_name_copies(const struct cp_owned_step *s, struct cp_map_partition *row)
{
    const char *self = s->o->options.shard;
    if (row->in_sync_count == 0) {
        row->in_sync[0].id = own_copy(s, row->number).id;
        snprintf(row->in_sync[0].shard, sizeof(row->in_sync[0].shard), "%s", self);
        row->in_sync_count = 1;
    }
    const struct cp_map_copy *beside = cp_map_copy_beside(row, self);
    if (beside != NULL)
        memcpy(row->standby, beside->shard, sizeof(row->standby));
    else if (strcmp(row->standby, self) == 0)
        row->standby[0] = '\0';
    SY_ASSERT(cp_map_copy_on(row, self) != NULL && row->in_sync[0].id != 0);
}

/* A record that named fewer would be of a half with one copy, though the whole had two. */
bool cp_owned_name_forked(const struct cp_owned_step *s, const struct cp_map_partition *p,
                          const struct cp_forked_copies *forked, struct cp_map_partition *half)
{
    const struct cp_map_copy *beside = cp_map_copy_beside(p, s->o->options.shard);
    bool fits = beside != NULL ? forked->beside != 0 && forked->of == beside->id
                               : forked->beside == 0;
    if (!fits || forked->own == 0)
        return false;
    half->in_sync[0].id = forked->own;
    memcpy(half->in_sync[0].shard, s->member->name, sizeof(half->in_sync[0].shard));
    half->in_sync_count = 1;
    half->alone_since_ns = p->alone_since_ns;
    if (beside == NULL)
        return true;
    half->in_sync[1] = *beside;
    half->in_sync[1].id = forked->beside;
    half->in_sync_count = 2;
    memcpy(half->standby, beside->shard, sizeof(half->standby)); /* it is given to that one */
    return true;
}

/* The record says that a copy over there is in sync, and it may be gone with its disk. While the
 * partition stays its owner hears of that, and takes the copy out of the record (standby.h). */
void cp_owned_take_back(struct cp_owned_step *s, struct cp_owned_slot *slot, uint32_t target)
{
    int64_t wait_ns = s->o->options.backoff_max_ns;
    if (!s->map->local || target == s->self || target == CP_MAP_NONE) {
        slot->stays = 0;
        return;
    }
    slot->stays_until_ns = s->view->now_ns + (wait_ns << slot->stays);
    slot->stays += slot->stays < STAYS_MAX;
}

/* Into the row; true: it is another than before. One that is not there may come back soon, and then
 * lacks less than a new one. */
bool cp_owned_choose_standby(struct cp_owned_step *s, struct cp_map_partition *row,
                             struct cp_owned_slot *slot)
{
    uint32_t chosen = s->o->standbys[cp_map_partition(s->map, row->number)];
    bool absent = row->standby[0] != '\0' && cp_map_shard(s->map, row->standby) == CP_MAP_NONE;
    if (!absent)
        slot->absent_since_ns = 0;
    else if (slot->absent_since_ns == 0)
        slot->absent_since_ns = s->view->now_ns;
    if (chosen == CP_MAP_NONE || strcmp(row->standby, s->map->shards[chosen].name) == 0 ||
        (absent && !cp_owned_due(s, slot->absent_since_ns + s->o->options.standby_wait_ns)))
        return false;
    memcpy(row->standby, s->map->shards[chosen].name, sizeof(row->standby));
    return true;
}
