/* A way to the RocksDB store for other threads. Who asks for it or gives it back does not wait for
 * a checkpoint: only who closes the database does. */
#include "controlplane/store_rocksdb_impl.h"

#include "base/mem.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The store has one reference while it is open. */
struct cp_store_source {
    pthread_mutex_t mutex; /* held while a checkpoint is made */
    rocksdb_t *db;         /* NULL: closed */
    atomic_uint refs;
    char path[PATH_MAX];
};

struct cp_store_source *cp_rocks_source_new(rocksdb_t *db, const char *path)
{
    struct cp_store_source *source = sy_new(struct cp_store_source);
    source->db = db;
    atomic_init(&source->refs, 1);
    snprintf(source->path, sizeof(source->path), "%s", path);
    pthread_mutex_init(&source->mutex, NULL);
    return source;
}

struct cp_store_source *cp_rocks_source_ref(struct cp_store_source *source)
{
    atomic_fetch_add(&source->refs, 1);
    return source;
}

void cp_rocks_source_close(struct cp_store_source *source)
{
    pthread_mutex_lock(&source->mutex);
    source->db = NULL;
    pthread_mutex_unlock(&source->mutex);
    cp_store_source_free(source);
}

void cp_store_source_free(struct cp_store_source *source)
{
    if (!source || atomic_fetch_sub(&source->refs, 1) > 1)
        return;
    pthread_mutex_destroy(&source->mutex);
    free(source);
}

const char *cp_store_source_path(const struct cp_store_source *source)
{
    return source->path;
}

static int make_checkpoint(rocksdb_t *db, const char *path, struct sy_error_text *error)
{
    char *failure = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(db, &failure);
    if (!failure) {
        rocksdb_checkpoint_create(checkpoint, path, 0, &failure); /* 0: with what is in memory */
        rocksdb_checkpoint_object_destroy(checkpoint);
    }
    if (!failure)
        return 0;
    struct sy_error_text text;
    int r = cp_rocks_error(failure, &text);
    sy_error_text_set(error, "the checkpoint %s cannot be made (RocksDB: %s)", path, text.text);
    return r == -ENOSPC ? r : -EIO;
}

int cp_store_checkpoint(struct cp_store_source *source, const char *path,
                        struct sy_error_text *error)
{
    if (access(path, F_OK) == 0) {
        sy_error_text_set(error, "%s exists", path);
        return -EEXIST;
    }
    int r = -ECANCELED;
    pthread_mutex_lock(&source->mutex);
    if (source->db)
        r = make_checkpoint(source->db, path, error);
    else
        sy_error_text_set(error, "the store was closed");
    pthread_mutex_unlock(&source->mutex);
    return r;
}
