#include "controlplane/events.h"

SY_LOG_TABLE_DEFINE(cp_shard_events, "shard", CP_SHARD_EVENTS)
SY_LOG_TABLE_DEFINE(cp_coord_events, "coordination", CP_COORD_EVENTS)
