/*
 * What the files of the Flyte executor share. Nobody else includes this header.
 *
 *     flyte.c          the port, and the life of an attempt
 *     flyte_launch.c   how it is run: cold, forked, or by a pool of its own
 *     flyte_secrets.c  what it is told beside its inputs
 *     flyte_plan.c, flyte_files.c  pure: command line and environment; files of the SDK
 */
#pragma once

#include "agent/bundles.h"
#include "agent/exec_impl.h"
#include "agent/flyte.h"
#include "agent/flyte_files.h"
#include "agent/spec.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/sm.h"

#define AG_FLYTE_TAIL_BYTES 2048

struct ag_flyte {
    struct ag_executor base;
    const struct ag_executor_events *events;
    void *events_ctx;
    struct ag_flyte_ports ports;
    struct sy_arena arena; /* of the options */
    const char *endpoint, *worker, *path, *secrets_dir;
    const struct ag_flyte_environment *environments;
    size_t environment_count;
    const char *const *env;
    bool fork;
    struct ag_bundles *bundles;
    struct sy_map attempts; /* by id; between start and result */
};

/*
 *   PREPARING --> RUNNING --> COLLECTING --> ENDED
 *       |            |                         ^
 *       +------------+-------------------------+   refused, cancelled, killed
 */
enum ag_flyte_state {
    AG_FLYTE_PREPARING, /* its earlier checkpoint, its secrets, its inputs are looked up */
    AG_FLYTE_RUNNING,   /* in the inner executor */
    AG_FLYTE_COLLECTING,
    AG_FLYTE_ENDED, /* its result leaves with the timer */
    AG_FLYTE_STATES,
};
extern const struct sm_table ag_flyte_table;

struct ag_flyte_secret_read;

struct ag_flyte_attempt {
    struct ag_flyte *flyte;
    uint64_t id;
    struct sy_map_link link;
    struct sm sm;
    struct sy_arena arena; /* all texts */
    struct ag_work work;   /* a copy */
    struct ag_flyte_work context;
    struct ag_spec_flyte spec;
    const struct ag_flyte_environment *environment;
    struct ag_flyte_paths paths;
    const char *previous_checkpoint; /* "" = none */
    uint32_t looked_at;              /* the number of the attempt whose checkpoint is looked for */
    const char *const *secrets;      /* "KEY=value" */
    struct ag_flyte_secret_read *secret_read;
    const char *secret_dir; /* files with secrets; NULL: none */
    const char *cwd;        /* of its code bundle, held; NULL: none */
    struct sy_timer timer;  /* the result, in a later turn */
    bool cancelled;
    struct ag_result result;
    uint8_t tail[AG_FLYTE_TAIL_BYTES]; /* the end of stderr, for the error's text */
    size_t tail_size;
};

/* ---- flyte.c ---- */

/* Its end, told in a later turn. */
void ag_flyte_end(struct ag_flyte_attempt *attempt, enum ag_result_kind kind,
                  enum ag_error_kind error_kind, const char *code, const char *message);
void ag_flyte_move(struct ag_flyte_attempt *attempt, enum ag_flyte_state state);
/* True when it was cancelled meanwhile: it ends, and nothing goes on. */
bool ag_flyte_cancelled(struct ag_flyte_attempt *attempt);

/* ---- flyte_launch.c ---- */

void ag_flyte_launch(struct ag_flyte_attempt *attempt);

/* ---- flyte_secrets.c ---- */

/* Reads them, then launches. */
void ag_flyte_read_secrets(struct ag_flyte_attempt *attempt);
void ag_flyte_forget_secrets(struct ag_flyte_attempt *attempt);
