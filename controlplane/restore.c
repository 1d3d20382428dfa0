#include "controlplane/restore.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "controlplane/rows.h"

#include "switchyard/internal/store.pb-c.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define META_BYTES_MAX ((size_t)64 << 10)

/* ---- the epoch ---- */

struct raising {
    struct sy_loop *loop;
    int error;
};

static void on_raised(void *ctx, int error)
{
    struct raising *raising = ctx;
    raising->error = error;
    sy_loop_stop(raising->loop);
}

static int raise_epoch(struct cp_store *store, struct sy_loop *loop,
                       Switchyard__Internal__Store__Meta *meta, uint32_t *epoch)
{
    struct raising raising = {.loop = loop};
    struct cp_key key = cp_key_meta();
    SY_CLEANUP(sy_buf_deinit) struct sy_buf row = {0};
    if (meta->epoch < *epoch)
        meta->epoch = *epoch;
    *epoch = meta->epoch += CP_RESTORE_EPOCHS;
    meta->n_history = 0; /* copies of before went on otherwise: none is taken for the same */
    cp_row_pack(&row, &meta->base);
    struct cp_batch *batch = cp_batch_new(store);
    cp_batch_put(batch, CP_FAMILY_META, cp_key_span(&key), sy_buf_span(&row));
    cp_store_commit(store, batch, on_raised, &raising);
    int r = sy_loop_run(loop);
    return r < 0 ? r : raising.error;
}

static int check_meta(const Switchyard__Internal__Store__Meta *meta, uint32_t partition,
                      struct sy_error_text *error)
{
    if (meta->format != CP_FORMAT) {
        sy_error_text_set(error, "the backup has format %u, this program reads format %d",
                          meta->format, CP_FORMAT);
        return -EBADMSG;
    }
    if (meta->partition == partition)
        return 0;
    sy_error_text_set(error, "the backup is of partition %u, not %u", meta->partition, partition);
    return -EBADMSG;
}

static int adopt(struct cp_store *store, struct sy_loop *loop, uint32_t partition, uint32_t *epoch,
                 struct sy_error_text *error)
{
    struct sy_arena arena;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf scratch = {0};
    struct cp_key key = cp_key_meta();
    Switchyard__Internal__Store__Meta *meta = NULL;
    sy_arena_init(&arena, META_BYTES_MAX);
    int r = cp_row_get(store, CP_FAMILY_META, &key, &switchyard__internal__store__meta__descriptor,
                       &arena, &scratch, (void *)&meta);
    if (r != 0) {
        sy_error_text_set(error, "the backup holds no partition: its first row cannot be read");
        r = -EBADMSG;
    }
    if (r == 0)
        r = check_meta(meta, partition, error);
    if (r == 0) {
        r = raise_epoch(store, loop, meta, epoch);
        if (r < 0)
            sy_error_text_set(error, "the restored store cannot be written: %s",
                              cp_store_error(store));
    }
    sy_arena_deinit(&arena);
    return r;
}

/* ---- the whole ---- */

static int open_and_adopt(const char *path, uint32_t partition, uint32_t *epoch,
                          struct sy_error_text *error)
{
    struct sy_loop *loop;
    struct cp_store *store = NULL;
    int r = sy_loop_new(&loop, NULL);
    if (r < 0)
        return r;
    r = cp_store_rocksdb_open(&store, path, 0, loop, NULL, error);
    if (r == 0)
        r = adopt(store, loop, partition, epoch, error);
    cp_store_close(store);
    sy_loop_free(loop);
    return r;
}

int cp_restore(const char *backups, uint32_t id, const char *path, uint32_t partition,
               uint32_t *epoch, struct sy_error_text *error)
{
    char made[PATH_MAX];
    int n = snprintf(made, sizeof(made), "%s.restored", path);
    if (n < 0 || (size_t)n >= sizeof(made))
        return -ENAMETOOLONG;
    if (rmdir(path) < 0 && errno != ENOENT) {
        sy_error_text_set(error, "%s %s", path,
                          errno == ENOTEMPTY ? "is not empty: move away what it holds"
                                             : strerror(errno));
        return errno == ENOTEMPTY ? -EEXIST : -errno;
    }
    sy_remove_tree(made); /* of one that was killed */
    int r = cp_backup_restore(backups, id, made, error);
    if (r == 0)
        r = open_and_adopt(made, partition, epoch, error);
    if (r == 0) {
        r = sy_rename(made, path);
        if (r < 0)
            sy_error_text_set(error, "%s: %s", path, strerror(-r));
    }
    if (r < 0)
        sy_remove_tree(made);
    return r;
}
