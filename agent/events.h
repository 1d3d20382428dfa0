/* What an agent logs: one line, one counter and one metric each (base/log.h). */
#pragma once

#include "base/log.h"

#define AG_EVENTS(X)                                                                               \
    X(AG_EV_CONNECTED, INFO, "operator connected")                                                 \
    X(AG_EV_DISCONNECTED, WARN, "operator lost; tasks run on")                                     \
    X(AG_EV_REFUSED, ERROR, "operator refused this agent")                                         \
    X(AG_EV_MESSAGE_UNREADABLE, ERROR, "operator sent what is not a message")                      \
    X(AG_EV_OLD_TERM, WARN, "operator of an older term refused")                                   \
    X(AG_EV_OLD_EPOCH, WARN, "assignment of an older epoch refused")                               \
    X(AG_EV_UNPROVEN, WARN, "attempts stopped: no proof that they are heard of")                   \
    X(AG_EV_QUEUE_FULL, WARN, "assignment returned: queue full")                                   \
    X(AG_EV_LEFT_OVER, WARN, "attempt of an earlier agent reported lost")                          \
    X(AG_EV_JOURNAL_FAILED, ERROR, "journal cannot be written")                                    \
    X(AG_EV_JOURNAL_TORN, WARN, "journal ended in a torn record")                                  \
    X(AG_EV_ATTEMPT_STARTED, DEBUG, "attempt handed over")                                         \
    X(AG_EV_ATTEMPT_ENDED, DEBUG, "attempt ended")                                                 \
    X(AG_EV_WORKER_STARTED, INFO, "worker started")                                                \
    X(AG_EV_WORKER_RETIRED, INFO, "worker retired")                                                \
    X(AG_EV_WORKER_DIED, WARN, "worker died")                                                      \
    X(AG_EV_WORKER_FAILED, ERROR, "worker cannot be started")                                      \
    X(AG_EV_WORKER_HUNG, WARN, "worker does not answer and is killed")                             \
    X(AG_EV_WORKER_GARBAGE, ERROR, "worker sent what is not a frame and is killed")                \
    X(AG_EV_TAKEN_BACK, DEBUG, "attempts taken back from behind a long one")                       \
    X(AG_EV_SPAWNER_DIED, ERROR, "spawner died, and every process with it")                        \
    X(AG_EV_CGROUPS, INFO, "cgroups")                                                              \
    X(AG_EV_CGROUP_LEFT_OVER, WARN, "processes of an earlier agent killed")                        \
    X(AG_EV_CGROUP_AGAIN, WARN, "cgroups had been removed; made again")                            \
    X(AG_EV_CGROUP_FAILED, WARN, "cgroup cannot be made; the task runs without")                   \
    X(AG_EV_LOG_FAILED, ERROR, "task log cannot be written")                                       \
    X(AG_EV_LOGS_SWEPT, INFO, "old task logs removed")                                             \
    X(AG_EV_IO_URING_MISSING, WARN, "io_uring is not permitted; plain reads and writes instead")   \
    X(AG_EV_OBJECT_FAILED, WARN, "object transfer failed, and is repeated")                        \
    X(AG_EV_GPUS, INFO, "GPUs found")                                                              \
    X(AG_EV_STOPPING, INFO, "stopping")

SY_LOG_TABLE_DECLARE(ag_events, AG_EVENTS)
