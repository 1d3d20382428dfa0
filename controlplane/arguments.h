/* The command line of switchyard-shard. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum cp_command { CP_COMMAND_SERVE, CP_COMMAND_BACKUP, CP_COMMAND_BACKUPS, CP_COMMAND_RESTORE };

struct cp_arguments {
    enum cp_command command;
    const char *config_path;
    bool print_config;
    const char *at;    /* NULL: as the configuration says */
    const char *from;  /* a shard; NULL: the configuration's */
    int64_t partition; /* -1: all */
    uint32_t backup;   /* 0: the newest */
};

/* Ends the process with a message and status 64 when they are wrong, or help was asked for. */
void cp_arguments_parse(struct cp_arguments *ret, int argc, char **argv);
