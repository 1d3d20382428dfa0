/*
 * A run watched to its end: every committed change once and in order. The stream is opened again,
 * after the last event that came, when it breaks; only a server that stays away for
 * CL_WATCH_PATIENCE_NS ends the watch early.
 */
#pragma once

#include "tools/src/cl_methods.h"

#define CL_WATCH_PATIENCE_NS (60 * SY_NS_PER_S)

/* On the loop, inside cl_wait() or cl_call(). */
typedef void (*cl_event_fn)(void *ctx, const Switchyard__V1__Event *event);

struct cl_watch {
    struct cl_client *client;
    const char *run;
    uint64_t after; /* sequence of the last event that was delivered */
    bool final_only;
    cl_event_fn on_event;
    void *ctx;
    const bool *stop_when; /* NULL, or: cl_watch_turn() also returns when it has turned true */

    struct cl_stream *stream;
    struct cl_error error;
    int64_t lost_since_ns;             /* 0: connected */
    int root_phase;                    /* final phase of a0, 0 before */
    Switchyard__V1__Error *root_error; /* of a0; in `arena` */
    struct sy_arena arena;
};

/* `run` and the client must outlive it. */
void cl_watch_start(struct cl_watch *watch, struct cl_client *client, const char *run,
                    uint64_t after, bool final_only, cl_event_fn on_event, void *ctx);
/* Blocks until the run has ended, `tick_ns` passed (0: no ticks), or the watch failed. Returns true
 * while there is more to come: call it again. */
bool cl_watch_turn(struct cl_watch *watch, int64_t tick_ns);
void cl_watch_stop(struct cl_watch *watch);
/* CL_OK, CL_FAILED, CL_ABORTED or CL_TIMED_OUT by how the run ended; else why the watch failed. */
enum cl_exit cl_watch_result(const struct cl_watch *watch);
enum cl_exit cl_exit_of_phase(int phase);
