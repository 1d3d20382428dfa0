/*
 * A partition's store from a backup. For a shard that is down: what it acknowledged after the
 * backup is not in it.
 */
#pragma once

#include "controlplane/store_backup.h"

/* Makes the store of `partition` at `path`, all of it or nothing; `id` 0: the newest backup. Its
 * epoch is raised by CP_RESTORE_EPOCHS, so that operators and agents, who may have heard later ones
 * than the backup knows, do not take it for an older owner. -EBADMSG: the backup is of another
 * partition or format; others as cp_backup_restore(). Blocks. */
#define CP_RESTORE_EPOCHS 10000u
int cp_restore(const char *backups, uint32_t id, const char *path, uint32_t partition,
               struct sy_error_text *error) SY_MUST_USE;
