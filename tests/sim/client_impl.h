/* Inside of the client: client.c (what it asks for), client_meddle.c (what others ask for in its
 * runs), client_audit.c (what must hold in the end). */
#pragma once

#include "base/arena.h"
#include "proto/pb.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "tests/sim/reuse.h"
#include "tests/sim/world.h"

#define KEYED_MAX 6 /* actions of a run that have a cache key */
#define NESTED_MAX 8
#define KEYS 2 /* of a partition */

enum sim_run_state {
    RUN_CREATE,
    RUN_CONDITION,
    RUN_KEYED,
    RUN_ENQUEUE,
    RUN_SIGNAL,
    RUN_WATCH,
    RUN_READ_AGAIN, /* all of the log: whoever had the partition meanwhile wrote what was shown */
    RUN_COLLECT,
    RUN_DONE,
};

/* One below a task, that somebody else asked for: client_meddle.c. */
struct sim_nested {
    struct sim_client_run *run;
    unsigned child;
};

struct sim_client_run {
    struct sim_client *client;
    char name[24];
    enum sim_run_state state;
    struct sy_timer timer;
    struct sim_child *children; /* the tasks, the condition if there is one, those with a key,
                                  those below tasks */
    struct sim_keyed keyed[KEYED_MAX];
    unsigned keyed_count, keyed_enqueued;
    unsigned count, enqueued, batch;
    bool ganged; /* each batch is a gang */
    unsigned gang_max;
    Switchyard__V1__Gang__OnLoss on_loss;
    struct sy_buf task_spec;
    char queue[SCH_QUEUE_NAME_MAX]; /* of the batch; "": the default one */
    bool abort, abort_acknowledged;
    bool some_aborted; /* single actions of it */
    struct sim_nested nested[NESTED_MAX];
    unsigned nested_count;
    bool timed;     /* its tasks have a deadline, and a back-off */
    uint32_t limit; /* max_action_concurrency; 0: none */
    bool condition, signals;
    int64_t patience_s; /* timeout of the condition; 0: none, so a signal comes */
    struct sy_call *watch;
    struct sim_log {
        uint64_t sequence; /* of the last event seen */
        uint64_t hash;     /* of all of them */
    } watched, read_again;
    uint64_t cursor; /* of WaitChildren */
    Switchyard__V1__Phase phase;
    bool ended;
};

struct sim_client {
    struct sim_world *world;
    struct sy_loop *loop;
    struct sy_arena arena;
    struct sy_buf group_spec, cached_spec;
    struct sim_client_run *runs;
    unsigned run_count;
    uint64_t pause_ns_max; /* between two batches */
};

/* The condition's place in the list is there without one as well. */
static inline unsigned sim_keyed_index(const struct sim_client_run *run, unsigned i)
{
    return run->count + 1 + i;
}

static inline unsigned sim_nested_index(const struct sim_client_run *run, unsigned i)
{
    return sim_keyed_index(run, KEYED_MAX) + i;
}

static inline bool sim_is_nested(const struct sim_client_run *run, unsigned child)
{
    return child >= sim_nested_index(run, 0);
}

static inline bool sim_has_child(const struct sim_client_run *run, unsigned child)
{
    return child < run->count || (child == run->count && run->condition) ||
           (child > run->count && child < sim_keyed_index(run, run->keyed_count)) ||
           (sim_is_nested(run, child) && child < sim_nested_index(run, run->nested_count));
}

void sim_run_id_init(Switchyard__V1__RunId *id, struct sim_client_run *run);
