/*
 * One backup after another, for the call that asks:
 *
 *     front                          lane                     thread
 *       | (S3: the newest number there)
 *       | -- wanted ------------------> | a source of its store
 *       | <------------------ source -- |
 *       | -- begin -----------------------------------------> | checkpoint, engine
 *       | <------------------------------------------ ended --|
 *       | (S3: the bucket gets what it lacks)
 *       | -> one message, then the next partition
 *
 * The call may close at any time; what has begun ends first.
 */
#include "controlplane/backups.h"

#include "base/mem.h"
#include "controlplane/backup_mirror.h"
#include "controlplane/events.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "switchyard/internal/backup.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

struct cp_backups {
    struct cp_shard *shard;
    struct sy_loop *loop;
    char *dir;
    uint32_t keep;
    struct sy_blobs *blobs; /* NULL: a directory is enough */
    struct cp_mirror *mirror;

    struct cp_request *req; /* NULL: nobody asks, or not any more */
    bool running;           /* with a partition */
    bool told;              /* its message was sent, or nobody waits for it */
    uint32_t partition;
    uint32_t after; /* the newest in the bucket */
    int64_t begun_ns;
    char path[PATH_MAX];
    struct cp_post post;
    struct cp_store_source *source;
    pthread_t thread;
    bool has_thread;
    struct cp_backup_info info;
    struct sy_error_text error;
    int result;
};

bool cp_backup_dir(char ret[PATH_MAX], const char *dir, uint32_t partition, const char *shard)
{
    int n = snprintf(ret, PATH_MAX, "%s/partition-%u/%s", dir, partition, shard);
    return n > 0 && n < PATH_MAX;
}

/* The partition's directory there: "partition-0/shard-1". */
static const char *in_bucket(const struct cp_backups *b)
{
    return b->path + strlen(b->dir) + 1;
}

/* ---- the end of one ---- */

static void send_result(struct cp_backups *b)
{
    Switchyard__Internal__BackUpResponse m = SWITCHYARD__INTERNAL__BACK_UP_RESPONSE__INIT;
    m.partition = b->partition;
    m.backup = b->info.id;
    m.bytes = b->info.bytes;
    m.files = b->info.files;
    m.took_ns = sy_loop_now_ns(b->loop) - b->begun_ns;
    if (b->result < 0)
        m.failure = b->error.text;
    cp_stream_send_message(b->req, &m.base);
}

static void ended(struct cp_backups *b, int result)
{
    b->result = result;
    b->running = false;
    if (result < 0)
        sy_log(b->shard->log, &cp_shard_events, CP_SHARD_EV_BACKUP_FAILED,
               SY_U64("partition", b->partition), SY_STR("error", b->error.text));
    else
        sy_log(b->shard->log, &cp_shard_events, CP_SHARD_EV_BACKED_UP,
               SY_U64("partition", b->partition), SY_U64("backup", b->info.id),
               SY_U64("bytes", b->info.bytes));
    if (b->req != NULL)
        cp_stream_more(b->req);
}

static void on_mirrored(void *ctx, int r, const struct sy_error_text *error)
{
    struct cp_backups *b = ctx;
    cp_mirror_free(sy_take(b->mirror));
    if (r < 0)
        b->error = *error;
    ended(b, r);
}

/* ---- the thread ---- */

static void on_thread_ended(void *arg)
{
    struct cp_backups *b = arg;
    pthread_join(b->thread, NULL);
    b->has_thread = false;
    cp_store_source_free(sy_take(b->source));
    if (b->result < 0 || b->blobs == NULL) {
        ended(b, b->result);
        return;
    }
    cp_mirror_up(&b->mirror, b->blobs, b->path, in_bucket(b), b->info.id, on_mirrored, b);
}

static void *back_up(void *arg)
{
    struct cp_backups *b = arg;
    pthread_setname_np(pthread_self(), "sy-backup");
    b->result = cp_backup_add(b->path, b->source, b->after, b->keep, &b->info, &b->error);
    sy_loop_post_always(b->loop, on_thread_ended, b);
    return NULL;
}

/* ---- the way to it ---- */

static void source_arrived(struct cp_post *post)
{
    struct cp_backups *b = sy_container_of(post, struct cp_backups, post);
    int r = -ECANCELED;
    if (b->source == NULL)
        sy_error_text_set(&b->error, "the partition does not serve here, or keeps nothing on disk");
    else
        r = -pthread_create(&b->thread, NULL, back_up, b);
    if (b->source != NULL && r < 0)
        sy_error_text_set(&b->error, "no thread: %s", strerror(-r));
    b->has_thread = r == 0;
    if (r < 0) {
        cp_store_source_free(sy_take(b->source));
        ended(b, r);
    }
}

static void source_wanted(struct cp_post *post)
{
    struct cp_backups *b = sy_container_of(post, struct cp_backups, post);
    struct cp_lane *lane = &b->shard->lanes[b->partition];
    b->source = cp_partition_source(lane->partition);
    post->run = source_arrived;
    cp_lane_post(lane, cp_front(b->shard), post);
}

static void want_source(struct cp_backups *b)
{
    b->post.run = source_wanted;
    cp_lane_post(cp_front(b->shard), &b->shard->lanes[b->partition], &b->post);
}

/* When what was here is lost the bucket knows more, and nothing there may be overwritten. */
static void on_found(void *ctx, int r, const struct sy_error_text *error)
{
    struct cp_backups *b = ctx;
    b->after = cp_mirror_id(b->mirror);
    if (r == 0) {
        cp_mirror_free(sy_take(b->mirror));
        want_source(b);
    } else {
        on_mirrored(b, r, error);
    }
}

static void begin(struct cp_backups *b)
{
    struct cp_shard *shard = b->shard;
    b->running = true;
    b->told = false;
    b->begun_ns = sy_loop_now_ns(b->loop);
    b->info = (struct cp_backup_info){0};
    b->error = (struct sy_error_text){0};
    if (!cp_backup_dir(b->path, b->dir, b->partition, shard->name)) {
        sy_error_text_set(&b->error, "the path of backups is too long: %s", b->dir);
        ended(b, -ENAMETOOLONG);
        return;
    }
    if (b->blobs != NULL)
        cp_mirror_find(&b->mirror, b->blobs, in_bucket(b), on_found, b);
    else
        want_source(b);
}

static void next(struct cp_backups *b)
{
    uint32_t count = cp_shard_partitions(b->shard);
    while (b->partition < count && !cp_shard_serves(b->shard, b->partition))
        b->partition++;
    if (b->partition < count)
        begin(b);
    else
        cp_stream_end(b->req);
}

/* ---- the call ---- */

static void pump(struct cp_request *req)
{
    struct cp_backups *b = req->state;
    if (b->running || !cp_stream_ready(req))
        return;
    if (!b->told) {
        b->told = true;
        send_result(b);
        b->partition++;
    }
    next(b);
}

static void release(struct cp_request *req)
{
    struct cp_backups *b = req->state;
    b->req = NULL;
}

static void serve(struct cp_request *req)
{
    struct cp_backups *b = req->lane->shard->backups;
    if (b == NULL) {
        cp_fail(req, SY_CODE_FAILED_PRECONDITION,
                "no place for backups is configured: backup_root is empty");
        return;
    }
    if (b->req != NULL || b->running) {
        cp_fail(req, SY_CODE_ABORTED, "a backup is under way");
        return;
    }
    b->req = req;
    b->partition = 0;
    b->told = true;
    req->state = b;
    cp_stream_start(req, pump, release);
}

const struct cp_method cp_backup_methods[] = {
    {.path = "/switchyard.internal.Backups/BackUp",
     .kind = SY_METHOD_SERVER_STREAM,
     .request = &switchyard__internal__back_up_request__descriptor,
     .serve = serve},
    {0},
};

/* ---- life ---- */

int cp_backups_new(struct cp_backups **ret, struct cp_shard *shard,
                   const struct cp_backup_options *options, struct sy_loop *loop,
                   struct sy_error_text *error)
{
    struct cp_backups *b = sy_new(struct cp_backups);
    *b = (struct cp_backups){.shard = shard, .loop = loop, .dir = sy_strdup(options->dir)};
    b->keep = options->keep;
    int r = options->storage != NULL ? sy_blobs_new(&b->blobs, loop, options->storage, error) : 0;
    if (r < 0) {
        cp_backups_free(b);
        return sy_trace(r);
    }
    *ret = b;
    return 0;
}

void cp_backups_free(struct cp_backups *b)
{
    if (b == NULL)
        return;
    if (b->has_thread)
        pthread_join(b->thread, NULL);
    sy_loop_forget(b->loop, b); /* that the thread ended */
    cp_store_source_free(b->source);
    cp_mirror_free(b->mirror);
    sy_blobs_free(b->blobs);
    free(b->dir);
    free(b);
}
