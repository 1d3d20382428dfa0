/* switchyard-shard [backup|backups|restore] --config FILE */
#include "base/daemon.h"
#include "base/mem.h"
#include "controlplane/backup_command.h"
#include "controlplane/loops.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct program {
    struct cp_arguments arguments;
    struct cp_config config;
    struct cp_config_backups backups;
    struct sy_log *log;
    struct cp_loops loops;
    struct sy_rpc *rpc;
    struct cp_data_dir data_dir;
    struct cp_witness *witness; /* NULL: it has no region */
    struct cp_disk_probe *disk_probe;
    struct cp_shard *shard;
    struct sy_daemon daemon;
    bool stopping;
    struct sy_error_text error;
};

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

static void on_misfit(void *arg, const char *why)
{
    struct program *program = arg;
    sy_error_text_set(&program->error, "%s", why);
    on_signal(program, SIGTERM);
}

static int start_shard(struct program *program, struct sy_error_text *error)
{
    struct sy_rng rng;
    sy_rng_init_from_system(&rng);
    struct cp_coord_etcd_options etcd;
    struct cp_shard_options options = cp_config_shard(&program->config);
    options.etcd = cp_config_etcd(&program->config, &etcd);
    options.storage = cp_data_dir_storage(&program->data_dir);
    options.copies = cp_copy_dir_port(program->data_dir.copies);
    options.backups = program->backups.configured ? &program->backups.options : NULL;
    bool own_front = cp_config_shares(&program->config);
    if (options.etcd != NULL) {
        options.witness = program->witness = cp_witness_proc_new(program->loops.loops[0]);
        options.process = cp_witness_proc_self(program->witness);
        options.disk_probe = program->disk_probe = cp_disk_probe_new(
            program->loops.loops[0], program->config.data_dir, program->config.name, NULL);
    }
    struct cp_shard_ports ports = {.rpc = program->rpc,
                                   .loops = program->loops.loops + own_front,
                                   .front = own_front ? program->loops.loops[0] : NULL,
                                   .openers = program->data_dir.openers,
                                   .seed = sy_rng_u64(&rng),
                                   .log = program->log};
    int r = cp_shard_new(&program->shard, &options, &ports, error);
    if (r < 0)
        return r;
    cp_shard_on_serving(program->shard, on_serving, program);
    cp_shard_on_misfit(program->shard, on_misfit, program);
    return 0;
}

static int set_up(struct program *program, struct sy_error_text *error)
{
    const struct cp_config *config = &program->config;
    uint64_t files;
    int r = sy_daemon_raise_nofile(&files);
    if (r == 0)
        r = cp_loops_init(&program->loops, cp_config_lanes(config) + cp_config_shares(config));
    if (r == 0)
        r = sy_daemon_init(&program->daemon, program->loops.loops[0], on_signal, program);
    if (r == 0)
        r = cp_config_data_dir(config, &program->data_dir, error);
    if (r == 0 && config->pid_file[0] != '\0')
        r = sy_daemon_write_pid(&program->daemon, config->pid_file, error);
    if (r == 0)
        r = sy_rpc_grpc_new(&program->rpc, error);
    return r == 0 ? start_shard(program, error) : r;
}

static int serve(struct program *program)
{
    program->log = sy_log_new(fileno(stderr), cp_config_log_level(&program->config), NULL);
    sy_daemon_dump_on_abort(program->log);
    int r = set_up(program, &program->error);
    return r == 0 ? cp_loops_run(&program->loops) : r;
}

static void tear_down(struct program *program)
{
    cp_shard_free(program->shard);
    cp_witness_proc_free(program->witness);
    cp_disk_probe_free(program->disk_probe);
    if (program->daemon.loop != NULL)
        sy_daemon_deinit(&program->daemon);
    cp_loops_settle(&program->loops, program->rpc);
    sy_rpc_free(program->rpc);
    cp_data_dir_deinit(&program->data_dir);
    cp_config_backups_deinit(&program->backups);
    cp_loops_deinit(&program->loops);
    sy_daemon_dump_on_abort(NULL);
    sy_log_free(program->log);
    cp_config_free(&program->config);
}

int main(int argc, char **argv)
{
    struct program program = {0};
    cp_arguments_parse(&program.arguments, argc, argv);
    if (program.arguments.print_config) {
        cp_config_print(fileno(stdout));
        return EXIT_SUCCESS;
    }
    int r = cp_config_load(&program.config, program.arguments.config_path, &program.error);
    if (r == 0)
        r = cp_config_backups_init(&program.backups, &program.config, &program.error);
    if (r == 0)
        r = program.arguments.command == CP_COMMAND_SERVE
                ? serve(&program)
                : cp_backup_command(&program.arguments, &program.config, &program.backups,
                                    &program.error);
    bool failed = r < 0 || program.error.text[0] != '\0'; /* the region is another */
    if (failed)
        fprintf(stderr, "switchyard-shard: %s\n",
                program.error.text[0] != '\0' ? program.error.text : strerror(-r));
    tear_down(&program);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
