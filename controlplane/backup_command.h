/* switchyard-shard backup, backups and restore: what these commands do and print. */
#pragma once

#include "controlplane/arguments.h"
#include "controlplane/config.h"

/* Blocks, on a loop of its own, until it is done. An errno with a sentence. Of several partitions
 * each is tried; those that fail are told on stderr. */
int cp_backup_command(const struct cp_arguments *arguments, const struct cp_config *config,
                      const struct cp_config_backups *backups,
                      struct sy_error_text *error) SY_MUST_USE;
