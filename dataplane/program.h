/*
 * What switchyard-operator does, from its arguments to its end: it finds out who it is, and is its
 * cluster's operator. One that has joined a cluster asks first whether it is the active one, stands
 * by while another is, and does so again when another has become it.
 */
#pragma once

#include "base/daemon.h"
#include "dataplane/arguments.h"
#include "dataplane/config.h"
#include "dataplane/enrol.h"
#include "dataplane/lead.h"
#include "dataplane/operator.h"
#include "dataplane/standby.h"

#include <pthread.h>

struct dp_program {
    struct dp_arguments arguments;
    struct dp_config config;
    struct sy_log *log;
    struct sy_loop *loop, *objects_loop;
    struct sy_rpc *rpc;
    struct dp_enrolment enrolment;
    struct sy_daemon daemon;
    pthread_t objects_thread;
    struct dp_operator *op; /* while it is active */
    bool op_stopping;
    bool stopping;

    struct dp_lead *lead; /* NULL: it has joined no cluster */
    bool left;            /* that it stops was told */
    struct dp_standby *standby;
    bool standby_stopping;
    struct sy_timer patience; /* then it stands by, whatever was heard */
    char store[DP_STORE_ID_SIZE];
    bool active; /* as was heard last, and what follows */
    uint64_t term, op_term;
    int64_t until_ns;
    int failure; /* ends the loop */
    struct sy_error_text why;
};

/* Runs until a signal ends it; `program` has its arguments and configuration. */
int dp_program_run(struct dp_program *program, struct sy_error_text *error) SY_MUST_USE;
void dp_program_deinit(struct dp_program *program);
