/* What an operator logs. */
#pragma once

#include "base/log.h"

#define DP_EVENTS(X)                                                                               \
    X(DP_EV_STARTED, INFO, "operator started")                                                     \
    X(DP_EV_STOPPING, INFO, "operator is stopping")                                                \
    X(DP_EV_ACTIVE, INFO, "this is the active operator of its cluster")                            \
    X(DP_EV_STANDBY, INFO, "another operator of the cluster is active: this one stands by")        \
    X(DP_EV_OTHER_STORE, ERROR,                                                                    \
      "the active operator keeps secrets, objects and what was said of nodes elsewhere")           \
    X(DP_EV_LAPSED, WARN,                                                                          \
      "no shard has said in time that this still is the active operator: nothing new is placed")   \
    X(DP_EV_STALLED, WARN, "the operator itself stood still; all leases start anew")               \
    X(DP_EV_SHARD_UNREACHABLE, WARN, "shard does not answer")                                      \
    X(DP_EV_NOT_LET_IN, ERROR, "shard does not let this operator in")                              \
    X(DP_EV_DELETED, ERROR, "the cluster was deleted: all that runs here is stopped")              \
    X(DP_EV_FENCED, ERROR, "the cluster is fenced: all that runs here is stopped")                 \
    X(DP_EV_SHARD_FOUND, INFO, "another shard of the region was named")                            \
    X(DP_EV_SHARD_GONE, INFO, "shard is out of reach, and no other names it")                      \
    X(DP_EV_PARTITION_UP, INFO, "partition stream is up")                                          \
    X(DP_EV_PARTITION_DOWN, WARN, "partition stream is down")                                      \
    X(DP_EV_STALE_EPOCH, WARN, "an older epoch was refused")                                       \
    X(DP_EV_AGENT_UP, INFO, "agent is attached")                                                   \
    X(DP_EV_AGENT_REPLACED, WARN, "another agent took over the node")                              \
    X(DP_EV_AGENT_REFUSED, WARN, "agent was refused")                                              \
    X(DP_EV_AGENT_DOWN, WARN, "agent is gone")                                                     \
    X(DP_EV_CALL_REFUSED, WARN, "call for agents only was refused")                                \
    X(DP_EV_ORDERS_NOT_KEPT, ERROR, "what was said of nodes cannot be written down")               \
    X(DP_EV_NODE_OWED, INFO, "node may have attempts that are waited for, until it is back")       \
    X(DP_EV_OBJECT_FAILED, ERROR, "object store failed")                                           \
    X(DP_EV_STORAGE_FAILED, ERROR, "storage failed")                                               \
    X(DP_EV_UPLOAD_SWEPT, INFO, "abandoned upload was removed")
SY_LOG_TABLE_DECLARE(dp_events, DP_EVENTS)
