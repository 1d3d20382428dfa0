/* One producer for a cache key, inside of the partition core; see CACHE_WAIT in partition.h. */
#pragma once

#include "scheduler/partition_impl.h"

struct sch_cache *sch_cache_find(struct sch_partition *p, const uint8_t *key);
/* It is CACHE_WAIT when the key was found; else it becomes the producer. */
void sch_cache_join(struct sch_partition *p, struct sch_action_impl *a, const uint8_t *key);
void sch_cache_leave(struct sch_partition *p, struct sch_action_impl *a);
void sch_cache_free(struct sch_partition *p, struct sch_cache *cache);
void sch_caches_settle(struct sch_partition *p);
void sch_cache_restore(struct sch_partition *p, struct sch_action_impl *a, const uint8_t *key);
void sch_cache_restored(struct sch_partition *p);
