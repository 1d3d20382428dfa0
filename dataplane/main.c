/* switchyard-operator --config FILE [--join TOKEN] */
#include "dataplane/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct dp_program program = {0};
    struct sy_error_text error = {0};
    dp_arguments_parse(&program.arguments, argc, argv);
    if (program.arguments.print_config) {
        dp_config_print(STDOUT_FILENO);
        return EXIT_SUCCESS;
    }
    int r = dp_config_load(&program.config, program.arguments.config_path, &error);
    if (r == 0) {
        program.log = sy_log_new(STDERR_FILENO, (enum sy_log_level)program.config.log_level, NULL);
        sy_daemon_dump_on_abort(program.log);
        r = dp_program_run(&program, &error);
    }
    if (r < 0)
        fprintf(stderr, "switchyard-operator: %s\n", error.text[0] ? error.text : strerror(-r));
    dp_program_deinit(&program);
    sy_daemon_dump_on_abort(NULL);
    sy_log_free(program.log);
    dp_config_free(&program.config);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
