/* switchyard-shard --config FILE */
#include "base/daemon.h"
#include "base/file.h"
#include "base/mem.h"
#include "controlplane/config.h"
#include "controlplane/loops.h"
#include "version.h"

#include <argp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct program {
    const char *config_path;
    bool print_config;
    struct cp_config config;
    struct sy_log *log;
    struct cp_loops loops;
    struct sy_rpc *rpc;
    char (*paths)[PATH_MAX]; /* of the partitions' stores */
    struct cp_shard *shard;
    struct sy_daemon daemon;
    bool stopping;
};

static error_t on_option(int key, char *value, struct argp_state *state)
{
    struct program *program = state->input;
    if (key == 'c')
        program->config_path = value;
    else if (key == 'p')
        program->print_config = true;
    else if (key != ARGP_KEY_END)
        return ARGP_ERR_UNKNOWN;
    else if (program->config_path == NULL && !program->print_config)
        argp_error(state, "--config FILE is needed");
    return 0;
}

static int open_store(void *path, struct cp_store **ret_store, struct sy_loop *loop,
                      struct sy_error_text *error)
{
    return cp_store_rocksdb_open(ret_store, path, loop, error);
}

static void on_serving(void *arg)
{
    struct program *program = arg;
    struct sy_error_text ready;
    sy_error_text_set(&ready, "shard %s port %d console %d", program->config.name,
                      cp_shard_port(program->shard), cp_shard_console_port(program->shard));
    sy_daemon_ready(ready.text);
}

static void on_signal(void *arg, int signal)
{
    struct program *program = arg;
    if (signal == SIGHUP || program->stopping)
        return;
    program->stopping = true;
    cp_shard_stop(program->shard, program->config.drain_ns, cp_loops_stop, &program->loops);
}

static int start_shard(struct program *program, struct sy_error_text *error)
{
    size_t count = program->loops.count;
    struct cp_store_opener *openers SY_AUTOFREE = sy_calloc(count, sizeof(*openers));
    program->paths = sy_calloc(count, sizeof(*program->paths));
    for (size_t i = 0; i < count; i++) {
        snprintf(program->paths[i], PATH_MAX, "%s/partition-%zu", program->config.data_dir, i);
        openers[i] = (struct cp_store_opener){open_store, program->paths[i]};
    }
    struct sy_rng rng;
    sy_rng_init_from_system(&rng);
    struct cp_shard_options options = cp_config_shard(&program->config);
    struct cp_shard_ports ports = {program->rpc, program->loops.loops, openers, sy_rng_u64(&rng),
                                   program->log};
    return cp_shard_new(&program->shard, &options, &ports, error);
}

static int set_up(struct program *program, struct sy_error_text *error)
{
    const struct cp_config *config = &program->config;
    uint64_t files;
    int r = sy_daemon_raise_nofile(&files);
    if (r == 0)
        r = cp_loops_init(&program->loops, (size_t)config->partitions);
    if (r == 0)
        r = sy_daemon_init(&program->daemon, program->loops.loops[0], on_signal, program);
    if (r == 0 && (r = sy_mkdir_p(config->data_dir, 0700)) < 0)
        sy_error_text_set(error, "data_dir %s: %s", config->data_dir, strerror(-r));
    if (r == 0 && config->pid_file[0] != '\0')
        r = sy_daemon_write_pid(&program->daemon, config->pid_file, error);
    if (r == 0)
        r = sy_rpc_grpc_new(&program->rpc, error);
    return r == 0 ? start_shard(program, error) : r;
}

static void tear_down(struct program *program)
{
    cp_shard_free(program->shard);
    sy_rpc_free(program->rpc);
    free(program->paths);
    if (program->daemon.loop != NULL)
        sy_daemon_deinit(&program->daemon);
    cp_loops_deinit(&program->loops);
    sy_daemon_dump_on_abort(NULL);
    sy_log_free(program->log);
    cp_config_free(&program->config);
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"config", 'c', "FILE", 0, "YAML configuration", 0},
        {"print-config", 'p', NULL, 0, "print all keys with their defaults", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options, .parser = on_option, .doc = "A shard of Switchyard's control plane."};
    struct program program = {0};
    struct sy_error_text error = {0};
    argp_program_version = "switchyard-shard " SY_VERSION " " SY_COMMIT;
    if (argp_parse(&argp, argc, argv, 0, NULL, &program) != 0)
        return EXIT_FAILURE;
    if (program.print_config) {
        cp_config_print(fileno(stdout));
        return EXIT_SUCCESS;
    }
    int r = cp_config_load(&program.config, program.config_path, &error);
    if (r == 0) {
        program.log = sy_log_new(fileno(stderr), cp_config_log_level(&program.config), NULL);
        sy_daemon_dump_on_abort(program.log);
        r = set_up(&program, &error);
    }
    if (r == 0) {
        cp_shard_on_serving(program.shard, on_serving, &program);
        r = cp_loops_run(&program.loops);
    }
    if (r < 0)
        fprintf(stderr, "switchyard-shard: %s\n",
                error.text[0] != '\0' ? error.text : strerror(-r));
    tear_down(&program);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
