/*
 * A partition's store from a backup. For a shard that is down: what it acknowledged after the
 * backup is not in it.
 */
#pragma once

#include "controlplane/store_backup.h"

/* Makes the store of `partition` at `path`, all of it or nothing; `id` 0: the newest backup. Its
 * epoch is CP_RESTORE_EPOCHS above the backup's and that of the last restore (*epoch; 0: none),
 * since operators and agents may have heard later ones than the backup knows: they do not take it
 * for an older owner, nor what it makes for what an earlier restore made. *epoch becomes its own.
 * -EBADMSG: the backup is of another partition or format; others as cp_backup_restore(). Blocks. */
#define CP_RESTORE_EPOCHS 10000u
int cp_restore(const char *backups, uint32_t id, const char *path, uint32_t partition,
               uint32_t *epoch, struct sy_error_text *error) SY_MUST_USE;
