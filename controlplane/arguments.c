#include "controlplane/arguments.h"

#include "base/mem.h"
#include "version.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

static const char *const commands[] = {[CP_COMMAND_BACKUP] = "backup",
                                       [CP_COMMAND_BACKUPS] = "backups",
                                       [CP_COMMAND_RESTORE] = "restore"};

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "YAML configuration", 0},
    {"print-config", 'p', NULL, 0, "print all keys with their defaults", 0},
    {NULL, 0, NULL, 0, "Of backup:", 1},
    {"at", 'a', "HOST:PORT", 0, "where the shard serves; as its configuration says", 1},
    {NULL, 0, NULL, 0, "Of backups and restore:", 2},
    {"partition", 'n', "N", 0, "this one only", 2},
    {"from", 'f', "SHARD", 0, "backups that this shard made; those of the configuration's", 2},
    {"backup", 'b', "ID", 0, "restore: this one; the newest", 2},
    {0},
};

static void parse_command(struct cp_arguments *arguments, const char *word,
                          struct argp_state *state)
{
    if (arguments->command != CP_COMMAND_SERVE)
        argp_error(state, "one command at a time: %s", word);
    for (unsigned i = 1; i < SY_COUNT_OF(commands); i++) {
        if (strcmp(word, commands[i]) == 0)
            arguments->command = (enum cp_command)i;
    }
    if (arguments->command == CP_COMMAND_SERVE)
        argp_error(state, "no command '%s': backup, backups or restore, or none to serve", word);
}

static uint32_t parse_number(const char *text, const char *option, struct argp_state *state)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > UINT32_MAX)
        argp_error(state, "--%s: '%s' is not a number", option, text);
    return (uint32_t)value;
}

/* What a command does not know is no mistake to pass over. */
static void check(const struct cp_arguments *arguments, struct argp_state *state)
{
    enum cp_command command = arguments->command;
    bool reads = command == CP_COMMAND_BACKUPS || command == CP_COMMAND_RESTORE;
    if (arguments->config_path == NULL && !arguments->print_config)
        argp_error(state, "--config FILE is needed");
    if (arguments->at != NULL && command != CP_COMMAND_BACKUP)
        argp_error(state, "--at is of backup");
    if ((arguments->partition >= 0 || arguments->from != NULL) && !reads)
        argp_error(state, "--partition and --from are of backups and restore");
    if (arguments->backup != 0 && command != CP_COMMAND_RESTORE)
        argp_error(state, "--backup is of restore");
}

static error_t on_option(int key, char *value, struct argp_state *state)
{
    struct cp_arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->config_path = value;
        return 0;
    case 'p':
        arguments->print_config = true;
        return 0;
    case 'a':
        arguments->at = value;
        return 0;
    case 'n':
        arguments->partition = parse_number(value, "partition", state);
        return 0;
    case 'f':
        arguments->from = value;
        return 0;
    case 'b':
        arguments->backup = parse_number(value, "backup", state);
        return 0;
    case ARGP_KEY_ARG:
        parse_command(arguments, value, state);
        return 0;
    case ARGP_KEY_END:
        check(arguments, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void cp_arguments_parse(struct cp_arguments *ret, int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = on_option,
        .args_doc = "\nbackup\nbackups\nrestore",
        .doc = "A shard of Switchyard's control plane: serves, has a serving one back up its "
               "partitions, lists backups, restores a shard that is down."};
    argp_program_version = "switchyard-shard " SY_VERSION " " SY_COMMIT;
    *ret = (struct cp_arguments){.partition = -1};
    if (argp_parse(&argp, argc, argv, 0, NULL, ret) != 0)
        exit(EXIT_FAILURE);
}
