/*
 * The demo's driver: submits the root, follows it, may kill the root's worker, then gathers what
 * every child gave, does the same work once more by itself, and compares.
 */
#pragma once

#include "tools/src/cl_args.h"
#include "tools/src/cl_methods.h"
#include "tools/src/demo_work.h"

#define DEMO_PROGRAM "switchyard-demo"
#define DEMO_PLACES_MAX 64

struct demo_options {
    struct cl_args common;
    const char *dir, *library, *environment;
    int64_t files_max;
    bool kill_root;
};
enum cl_parse demo_options_parse(struct demo_options *options, int argc, char **argv);

struct demo_child_state {
    struct demo_result result;
    uint32_t attempt;
    uint16_t finals; /* final events; must be 1 */
    bool has_result, before_kill;
    uint8_t place; /* index into nodes */
};

struct demo_state {
    struct demo_options options;
    struct cl_client *client;
    char run[CL_RUN_NAME_MAX], pid_file[64];
    char *dir, *library; /* absolute */
    struct demo_files files;
    struct demo_child_state *children; /* one for each file */
    char nodes[DEMO_PLACES_MAX][64];   /* names of nodes that finished a child */
    size_t node_count;
    uint64_t finished, failed;
    uint32_t root_attempts;         /* started, as far as the events tell */
    int64_t submitted_ns, ended_ns; /* realtime */
    /* --kill-root */
    int killed_pid;
    uint64_t finished_at_kill;
    /* the check */
    bool events_good; /* every child ended exactly once */
    struct demo_report expected;
    char *report, *expected_report; /* as text; `report` is the root's */
    uint64_t wrong;                 /* children whose result differs from ours */
};

/* Runs the demo. CL_OK only when all is as it should be; *error holds the reason otherwise. */
enum cl_exit demo_run(struct demo_state *state, struct cl_error *error);
void demo_state_deinit(struct demo_state *state);
/* What ran where and how fast, and the root's report. */
void demo_show(const struct demo_state *state);
