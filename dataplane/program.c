#include "dataplane/program.h"

#include "base/file.h"
#include "base/mem.h"
#include "dataplane/shared.h"
#include "dataplane/target.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRACE_NS (5 * SY_NS_PER_S)
#define GRACE_DEPOSED_NS (500 * SY_NS_PER_MS) /* for clients; nobody else is heard any more */
#define PATIENCE_NS SY_NS_PER_S

/* ---- the end ---- */

static void on_quiet(void *arg)
{
    struct dp_program *program = arg;
    sy_loop_stop(program->loop); /* its port is free */
}

static void stop_standby(struct dp_program *program)
{
    if (program->standby_stopping)
        return;
    program->standby_stopping = true;
    dp_standby_stop(program->standby, on_quiet, program);
}

static void check_ended(struct dp_program *program)
{
    bool told = !program->stopping || !program->lead || program->left;
    if (program->op_stopping || !told)
        return;
    if (program->standby)
        stop_standby(program);
    else
        sy_loop_stop(program->loop);
}

static void on_stopped(void *arg)
{
    struct dp_program *program = arg;
    program->op_stopping = false;
    sy_loop_stop(program->objects_loop);
    check_ended(program);
}

static void stop_operator(struct dp_program *program, int64_t grace_ns)
{
    if (!program->op || program->op_stopping)
        return;
    program->op_stopping = true;
    dp_operator_stop(program->op, grace_ns, on_stopped, program);
}

static void on_left(void *arg)
{
    struct dp_program *program = arg;
    program->left = true;
    check_ended(program);
}

static void on_signal(void *arg, int signal)
{
    struct dp_program *program = arg;
    if (signal == SIGHUP || program->stopping)
        return;
    program->stopping = true;
    stop_operator(program, GRACE_NS);
    if (program->lead)
        dp_lead_leave(program->lead, on_left,
                      program); /* what it says is said; another may begin */
    else if (!program->op)
        sy_loop_stop(program->loop); /* it is still joining */
}

static void fail(struct dp_program *program, int r)
{
    program->failure = r;
    sy_loop_stop(program->loop);
}

/* The port is known when it is bound. */
static void tell_endpoint(struct dp_program *program, int port)
{
    const struct dp_config *config = &program->config;
    char *endpoint SY_AUTOFREE = dp_target_own(config->endpoint, config->listen, port);
    if (program->lead)
        dp_lead_set_endpoint(program->lead, endpoint);
}

/* ---- standing by ---- */

static void stand_by(struct dp_program *program, const char *endpoint)
{
    char ready[128];
    const char *cluster = program->enrolment.identity.cluster;
    if (program->op || program->stopping || program->active)
        return;
    if (!program->standby) {
        int r = dp_standby_new(&program->standby, program->rpc, program->loop, cluster,
                               program->config.listen, &program->why);
        if (r < 0) {
            fail(program, r);
            return;
        }
        snprintf(ready, sizeof(ready), "standby %s port %d", cluster,
                 dp_standby_port(program->standby));
        sy_daemon_ready(ready);
        tell_endpoint(program, dp_standby_port(program->standby));
    }
    dp_standby_set_active(program->standby, endpoint);
}

static void on_patience(void *arg)
{
    stand_by(arg, "");
}

/* ---- what the shards say ---- */

static void on_standby(void *ctx, const char *endpoint)
{
    struct dp_program *program = ctx;
    if (program->active && !program->op)
        return; /* it begins already, and is asked again then */
    program->active = false;
    stop_operator(program, GRACE_DEPOSED_NS);
    stand_by(program, endpoint);
}

static void on_active(void *ctx, uint64_t term, int64_t until_ns)
{
    struct dp_program *program = ctx;
    bool begins = !program->active;
    program->active = true;
    program->term = term;
    program->until_ns = until_ns;
    if (program->op && program->op_term != term)
        stop_operator(program, GRACE_DEPOSED_NS); /* and it begins anew, under this one */
    else if (program->op)
        dp_operator_set_right(program->op, until_ns);
    else if (begins && program->standby)
        stop_standby(program);
    else if (begins)
        sy_loop_stop(program->loop);
}

static int start_lead(struct dp_program *program, struct sy_error_text *error)
{
    const struct dp_config *config = &program->config;
    const struct dp_identity *identity = dp_enrolment_identity(&program->enrolment);
    uint64_t term;
    int r = dp_shared_open(dp_config_shared_dir(config), program->store, &term, error);
    if (r < 0)
        return r;
    const char **shards SY_AUTOFREE = sy_calloc(config->shards.count + 1, sizeof(*shards));
    for (size_t i = 0; i < config->shards.count; i++)
        shards[i] = ((char *const *)config->shards.items)[i];
    char authorization[DP_AUTHORIZATION_SIZE];
    dp_identity_authorization(identity, authorization);
    struct sy_rng rng;
    sy_rng_init_from_system(&rng);
    struct dp_lead_options options = {
        .rpc = program->rpc,
        .loop = program->loop,
        .log = program->log,
        .seed = sy_rng_u64(&rng),
        .shards = shards,
        .cluster = identity->cluster,
        .authorization = authorization,
        .endpoint = config->endpoint[0] ? config->endpoint : config->listen,
        .store = program->store,
        .lease_ns = config->operator_lease_ns,
        .term_min = term,
    };
    dp_lead_new(&program->lead, &options, &(struct dp_lead_sink){on_active, on_standby, program});
    explicit_bzero(authorization, sizeof(authorization));
    return 0;
}

/* ---- the operator ---- */

static int make_operator(struct dp_program *program, const char *kept_dir,
                         struct sy_error_text *error)
{
    struct sy_rng rng;
    struct dp_config_options from;
    sy_rng_init_from_system(&rng);
    struct dp_operator_ports ports = {program->rpc, program->loop, program->objects_loop,
                                      sy_rng_u64(&rng), program->log};
    int r = dp_config_options_init(&from, &program->config,
                                   dp_enrolment_identity(&program->enrolment), kept_dir, error);
    from.options.term = program->term;
    if (r == 0)
        r = dp_operator_new(&program->op, &from.options, &ports, error);
    dp_config_options_deinit(&from);
    return r;
}

static int start_operator(struct dp_program *program, struct sy_error_text *error)
{
    char kept_dir[PATH_MAX] = "";
    int r = 0;
    program->op_term = program->term;
    if (program->term > 0)
        r = dp_shared_take(dp_config_shared_dir(&program->config), program->term, kept_dir, error);
    if (r == 0)
        r = make_operator(program, kept_dir[0] ? kept_dir : NULL, error);
    if (r == 0 && program->lead)
        dp_operator_set_right(program->op, program->until_ns);
    return r;
}

static void *run_objects(void *arg)
{
    struct dp_program *program = arg;
    int r = sy_loop_run(program->objects_loop);
    SY_ASSERT(r == 0);
    return NULL;
}

static int run_operator(struct dp_program *program, struct sy_error_text *error)
{
    char ready[128];
    int r = start_operator(program, error);
    if (r < 0)
        return r;
    r = pthread_create(&program->objects_thread, NULL, run_objects, program);
    if (r != 0)
        return -r;
    snprintf(ready, sizeof(ready), "operator %s port %d", dp_operator_cluster(program->op),
             dp_operator_port(program->op));
    sy_daemon_ready(ready);
    tell_endpoint(program, dp_operator_port(program->op));
    r = sy_loop_run(program->loop);
    pthread_join(program->objects_thread, NULL);
    dp_operator_free(sy_take(program->op));
    return r;
}

/* Waits until it is the active one, or ends. */
static int wait_turn(struct dp_program *program, struct sy_error_text *error)
{
    sy_timer_start_in(program->loop, &program->patience, PATIENCE_NS);
    int r = program->active ? 0 : sy_loop_run(program->loop);
    sy_timer_stop(program->loop, &program->patience);
    dp_standby_free(sy_take(program->standby));
    program->standby_stopping = false;
    if (r == 0 && program->failure < 0) {
        r = program->failure;
        *error = program->why;
    }
    return r;
}

static int take_turns(struct dp_program *program, struct sy_error_text *error)
{
    int r = start_lead(program, error);
    while (r == 0) {
        r = wait_turn(program, error);
        if (r < 0 || program->stopping)
            break;
        r = run_operator(program, error);
        if (program->stopping)
            break;
    }
    return r;
}

static int set_up(struct dp_program *program, struct sy_error_text *error)
{
    uint64_t files;
    struct sy_buf pid_path SY_CLEANUP(sy_buf_deinit) = {0};
    sy_buf_printf(&pid_path, "%s/operator.pid%c", program->config.data_dir, '\0');
    sy_timer_init(&program->patience, on_patience, program);
    int r = sy_daemon_raise_nofile(&files);
    if (r == 0)
        r = sy_loop_new(&program->loop, NULL);
    if (r == 0)
        r = sy_loop_new(&program->objects_loop, NULL);
    if (r == 0)
        r = sy_daemon_init(&program->daemon, program->loop, on_signal, program);
    if (r == 0 && (r = sy_mkdir_p(program->config.data_dir, 0700)) < 0)
        sy_error_text_set(error, "data_dir: cannot make %s: %s", program->config.data_dir,
                          strerror(-r));
    if (r == 0)
        r = sy_daemon_write_pid(&program->daemon, (const char *)pid_path.data, error);
    if (r == 0)
        r = sy_rpc_grpc_new(&program->rpc, error);
    if (r == 0)
        r = dp_enrol(&program->enrolment, program->rpc, program->loop, program->log,
                     &program->config, program->arguments.join, error);
    return r;
}

int dp_program_run(struct dp_program *program, struct sy_error_text *error)
{
    int r = set_up(program, error);
    if (r < 0)
        return r;
    return dp_enrolment_identity(&program->enrolment) ? take_turns(program, error)
                                                      : run_operator(program, error);
}

void dp_program_deinit(struct dp_program *program)
{
    dp_operator_free(program->op);
    dp_standby_free(program->standby);
    dp_lead_free(program->lead);
    dp_enrolment_wipe(&program->enrolment);
    if (program->rpc) {
        struct sy_loop *const loops[] = {program->loop, program->objects_loop};
        sy_rpc_settle(program->rpc, loops, SY_COUNT_OF(loops));
    }
    sy_rpc_free(program->rpc);
    if (program->daemon.loop)
        sy_daemon_deinit(&program->daemon);
    sy_loop_free(program->objects_loop);
    sy_loop_free(program->loop);
}
