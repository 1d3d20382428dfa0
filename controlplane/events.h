/* What a shard logs: one table, which also gives its metrics (base/log.h). */
#pragma once

#include "base/log.h"

#define CP_SHARD_EVENTS(X)                                                                         \
    X(CP_SHARD_EV_STARTED, INFO, "shard serves")                                                   \
    X(CP_SHARD_EV_STOPPING, INFO, "shard drains")                                                  \
    X(CP_SHARD_EV_STOPPED, INFO, "shard has stopped")                                              \
    X(CP_SHARD_EV_START_FAILED, ERROR, "shard could not start")                                    \
    X(CP_SHARD_EV_OPERATOR_REFUSED, WARN, "operator's stream refused")                             \
    X(CP_SHARD_EV_COPY_FAILED, ERROR, "a partition's copy here cannot be used")                    \
    X(CP_SHARD_EV_COPY_MADE, INFO, "a copy of a partition was made here")                          \
    X(CP_SHARD_EV_STANDBY, INFO, "a partition's standby")                                          \
    X(CP_SHARD_EV_NAME_TAKEN, WARN, "a shard of this name is there: this one waits for its end")   \
    X(CP_SHARD_EV_ENDPOINT_TAKEN, WARN,                                                            \
      "a shard of this endpoint is there: this one waits for its end")                             \
    X(CP_SHARD_EV_PROCESS_ENDED, WARN,                                                             \
      "a shard's process has ended: its session is not waited for")                                \
    X(CP_SHARD_EV_STANDS_STILL, ERROR, "a partition waits for its disk, and does nothing else")    \
    X(CP_SHARD_EV_READ_FAILED, ERROR, "read from the store failed")                                \
    X(CP_SHARD_EV_BACKED_UP, INFO, "partition was backed up")                                      \
    X(CP_SHARD_EV_BACKUP_FAILED, ERROR, "partition could not be backed up")
SY_LOG_TABLE_DECLARE(cp_shard_events, CP_SHARD_EVENTS)

#define CP_COORD_EVENTS(X)                                                                         \
    X(CP_COORD_EV_READ, INFO, "coordination: all records were read")                               \
    X(CP_COORD_EV_SESSION_BEGUN, INFO, "coordination: session began")                              \
    X(CP_COORD_EV_SESSION_OVER, WARN, "coordination: session is over")                             \
    X(CP_COORD_EV_TROUBLE, WARN, "coordination: a member of etcd gave no answer")                  \
    X(CP_COORD_EV_UNREADABLE, ERROR, "coordination: a record that cannot be read")
SY_LOG_TABLE_DECLARE(cp_coord_events, CP_COORD_EVENTS)
