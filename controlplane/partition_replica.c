/* What the partition commits is shown when it is durable here and, with a copy on another shard,
 * as far as that allows (standby.h). Until then reads do not see it either. */
#include "controlplane/partition_impl.h"

void cp_replica_begin(struct cp_partition *p)
{
    const struct cp_replication *to = p->options.replication;
    SY_ASSERT(!p->replicating && !p->awaiting);
    if (to == NULL)
        return;
    p->replicating = true;
    p->released = 0;
    to->begin(to->ctx, p->store, p->epoch, &p->history);
}

void cp_replica_append(struct cp_partition *p, const struct cp_batch *batch)
{
    const struct cp_replication *to = p->options.replication;
    if (!p->replicating)
        return;
    p->appended = cp_store_position(p->store) + cp_batch_count(batch);
    cp_store_hold(p->store);
    to->append(to->ctx, p->appended, cp_batch_data(batch));
}

bool cp_replica_synced(struct cp_partition *p)
{
    const struct cp_replication *to = p->options.replication;
    if (!p->replicating)
        return true;
    SY_ASSERT(cp_store_position(p->store) == p->appended);
    uint64_t released = to->synced(to->ctx, p->appended);
    p->released = released > p->released ? released : p->released;
    p->awaiting = p->released < p->appended;
    if (!p->awaiting)
        cp_store_show(p->store);
    return !p->awaiting;
}

void cp_replica_end(struct cp_partition *p)
{
    const struct cp_replication *to = p->options.replication;
    if (!p->replicating)
        return;
    p->replicating = p->awaiting = false;
    to->end(to->ctx);
}

void cp_partition_released(struct cp_partition *p, uint64_t upto)
{
    SY_ASSERT(p->replicating && upto > p->released);
    p->released = upto;
    if (!p->awaiting || upto < p->appended)
        return;
    if (cp_lapsed(p)) {
        cp_abandon_lapsed(p);
        return;
    }
    p->awaiting = false;
    cp_store_show(p->store);
    if (p->sealed)
        cp_release_sealed(p);
    else if (cp_state(p) == CP_PARTITION_CLAIMING)
        cp_open_further(p);
    cp_touch(p);
}
