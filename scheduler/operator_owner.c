/*
 * Which partition speaks for an attempt: the one that issued it, until that is split; then the half
 * in which its action lies, by the last byte of the action's id. A partition says with its stream
 * which places it has, and up to which epoch it was one with those that it was split from. The
 * attempt keeps its identity. While nobody known speaks for it, it stays with who issued it, who is
 * told nothing of it.
 */
#include "scheduler/operator_impl.h"

#include <stdlib.h>
#include <string.h>

static bool speaks_for(const struct sch_op_partition *partition, const struct sch_attempt_key *key)
{
    uint8_t place = (uint8_t)key->action;
    if (place < partition->first_place || place > UINT8_MAX - partition->places_above)
        return false;
    if (partition->id == key->partition)
        return true;
    uint32_t before = 0;
    for (size_t i = 0; i < partition->origin_count; before = partition->origins[i++].epoch) {
        const struct sch_op_origin *origin = &partition->origins[i];
        if (origin->partition == key->partition && key->epoch > before &&
            key->epoch <= origin->epoch)
            return true;
    }
    return false;
}

bool sch_attempt_is_heard(const struct sch_attempt *a)
{
    return a->partition->up && speaks_for(a->partition, &a->key);
}

/* Of two that say so the one that was split later knows. */
struct sch_op_partition *sch_op_partition_of(struct sch_operator *op,
                                             const struct sch_attempt_key *key)
{
    struct sch_op_partition *best = NULL;
    if (op->descended == 0)
        return sch_op_partition_get(op, key->partition);
    for (struct sch_link *link = op->partitions.next; link != &op->partitions; link = link->next) {
        struct sch_op_partition *partition = sy_container_of(link, struct sch_op_partition, link);
        bool later = !best || partition->origin_count > best->origin_count;
        if (later && sch_op_partition_is_served(partition) && speaks_for(partition, key))
            best = partition;
    }
    return best ? best : sch_op_partition_get(op, key->partition);
}

static void hand_over(struct sch_operator *op, struct sch_attempt *a, struct sch_op_partition *to)
{
    struct sch_op_partition *from = a->partition;
    SY_ASSERT(from != to && !a->class);
    if (a->gang && op->reserver == a->gang->partition && op->reserver_id == a->gang->id)
        op->reserver = to;
    if (a->gang)
        a->gang->partition = to;
    sch_list_remove(&a->partition_link);
    a->partition = to;
    sch_attempt_change_seat(op, a);
    sch_list_push_back(&to->attempts, &a->partition_link);
}

/* Those of one partition that another speaks for. */
static void hand_over_all(struct sch_operator *op, struct sch_op_partition *from)
{
    for (struct sch_link *link = from->attempts.next; link != &from->attempts;) {
        struct sch_attempt *a = sy_container_of(link, struct sch_attempt, partition_link);
        struct sch_op_partition *to = sch_op_partition_of(op, &a->key);
        link = link->next;
        if (to != from)
            hand_over(op, a, to);
    }
}

static bool says_the_same(const struct sch_op_partition *partition,
                          const struct sch_op_event *event)
{
    size_t count = event->u.partition.origin_count;
    return partition->first_place == event->u.partition.first_place &&
           partition->places_above == event->u.partition.places_above &&
           partition->origin_count == count &&
           (count == 0 || memcmp(partition->origins, event->u.partition.origins,
                                 count * sizeof(*partition->origins)) == 0);
}

void sch_op_partition_says(struct sch_operator *op, struct sch_op_partition *partition,
                           const struct sch_op_event *event)
{
    size_t count = event->u.partition.origin_count;
    SY_ASSERT(!partition->up);
    if (says_the_same(partition, event))
        return;
    op->descended += (count > 0) - (partition->origin_count > 0);
    partition->first_place = event->u.partition.first_place;
    partition->places_above = event->u.partition.places_above;
    partition->origin_count = count;
    partition->origins = sy_realloc(partition->origins, (count + 1) * sizeof(*partition->origins));
    if (count > 0)
        memcpy(partition->origins, event->u.partition.origins, count * sizeof(*partition->origins));
    hand_over_all(op, partition); /* what it was split from by now, and had not issued */
    for (size_t i = 0; i < count; i++) {
        struct sch_op_partition *origin = sch_op_partition_find(op,
                                                                partition->origins[i].partition);
        if (!origin)
            continue;
        if (origin->up && origin->epoch <= partition->origins[i].epoch)
            sch_op_partition_down(op, origin->id); /* it is over, and does not know yet */
        hand_over_all(op, origin);
        sch_op_partition_left(op, origin);
    }
}

bool sch_operator_partition_of(const struct sch_operator *op, const struct sch_attempt_key *key,
                               uint32_t *ret)
{
    const struct sch_attempt *a = sch_attempt_find(op, key);
    if (!a || !sch_attempt_is_heard(a))
        return false;
    *ret = a->partition->id;
    return true;
}

bool sch_operator_speaks_for(const struct sch_operator *op, uint32_t id,
                             const struct sch_attempt_key *key)
{
    const struct sch_op_partition *partition = sch_op_partition_find(op, id);
    return partition && partition->up && speaks_for(partition, key);
}
