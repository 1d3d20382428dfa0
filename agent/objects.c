#include "agent/objects.h"

#include "agent/events.h"
#include "agent/objects_cache.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define CHUNK_BYTES ((size_t)1 << 20)
#define OBJECT_BYTES_DEFAULT ((int64_t)1 << 30)
#define CACHE_BYTES_DEFAULT ((int64_t)10 << 30)
#define TRANSFERS_DEFAULT 8
#define CALL_TIMEOUT_NS (60 * SY_NS_PER_S)
#define BACKOFF_MIN_NS (100 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (10 * SY_NS_PER_S)
#define FAILURES_MAX 5

enum direction { UPLOAD, DOWNLOAD };

struct ag_object_transfer {
    struct ag_object_transfer *next, *previous;
    struct ag_objects *objects;
    enum direction direction;
    bool running;  /* counts against transfers_max */
    bool orphaned; /* freed but for the reply that is still to come */
    ag_object_fn fn;
    void *ctx;
    struct sy_timer timer; /* the next try, or the end */
    int64_t backoff_ns;
    unsigned failures; /* that are not the network's */
    int fd;
    char *path;         /* upload: the source, or NULL; download: NULL */
    struct sy_buf data; /* upload of bytes */
    char *uri;          /* download */
    char digest[AG_DIGEST_CHARS + 1];
    char name[17]; /* of this upload */
    uint64_t size, offset;
    uint64_t hashed; /* upload: bytes in `hash`; a chunk that goes twice is in it once */
    XXH3_state_t *hash;
    struct sy_call *call;
    char *answer; /* uri or path, once it has ended well */
    struct sy_error_text error;
    bool final;
};

struct ag_objects {
    struct sy_loop *loop;
    struct sy_rpc *rpc;
    char *target;
    struct sy_channel *channel;
    struct sy_bearer bearer; /* borrowed */
    struct sy_rng rng;
    struct sy_log *log;
    struct ag_cache *cache;
    int64_t object_bytes_max;
    unsigned transfers_max, running;
    struct ag_object_transfer *first, *last; /* in order of arrival */
    struct sy_buf chunk;
};

static void go_on(struct ag_object_transfer *t);

/* ---- the list, and how many run ---- */

static void list_append(struct ag_objects *o, struct ag_object_transfer *t)
{
    t->previous = o->last;
    if (o->last != NULL)
        o->last->next = t;
    else
        o->first = t;
    o->last = t;
}

static void list_remove(struct ag_objects *o, struct ag_object_transfer *t)
{
    if (t->previous != NULL)
        t->previous->next = t->next;
    else
        o->first = t->next;
    if (t->next != NULL)
        t->next->previous = t->previous;
    else
        o->last = t->previous;
}

static void run_some(struct ag_objects *o)
{
    for (struct ag_object_transfer *t = o->first; t != NULL && o->running < o->transfers_max;
         t = t->next) {
        if (t->running)
            continue;
        t->running = true;
        o->running++;
        sy_timer_start_in(o->loop, &t->timer, 0);
    }
}

static const struct sy_call_sink deaf_sink = {0};

static void drop_download(struct ag_object_transfer *t)
{
    if (t->direction != DOWNLOAD || t->call == NULL)
        return;
    sy_call_finish(t->call, NULL);
    sy_call_set_sink(t->call, &deaf_sink, NULL);
    sy_call_unref(sy_take(t->call));
}

static void transfer_free(struct ag_object_transfer *t)
{
    struct ag_objects *o = t->objects;
    list_remove(o, t);
    if (t->running)
        o->running--;
    sy_timer_stop(o->loop, &t->timer);
    drop_download(t);
    if (t->fd >= 0)
        close(t->fd);
    if (t->direction == UPLOAD && t->path != NULL)
        unlink(t->path);
    if (t->direction == DOWNLOAD)
        ag_cache_abandon(o->cache, t->name);
    sy_buf_deinit(&t->data);
    XXH3_freeState(t->hash);
    free(t->path);
    free(t->uri);
    free(t->answer);
    t->orphaned = t->call != NULL;
    if (t->orphaned)
        sy_call_finish(t->call, NULL); /* its reply frees the rest */
    else
        free(t);
}

/* ---- ends and new tries ---- */

/* Tells in a later turn: a transfer never ends inside the call that began it. */
static void end_later(struct ag_object_transfer *t)
{
    drop_download(t);
    sy_timer_start_in(t->objects->loop, &t->timer, 0);
}

static void fail(struct ag_object_transfer *t, bool final, const char *why)
{
    sy_error_text_set(&t->error, "object %s: %s", t->direction == UPLOAD ? "upload" : "download",
                      why);
    t->final = final;
    end_later(t);
}

static void again(struct ag_object_transfer *t, const char *why)
{
    struct ag_objects *o = t->objects;
    sy_log(o->log, &ag_events, AG_EV_OBJECT_FAILED, SY_STR("why", why),
           SY_I64("again_in_ms", t->backoff_ns / SY_NS_PER_MS));
    drop_download(t);
    int64_t jitter = (int64_t)sy_rng_below(&o->rng, (uint64_t)t->backoff_ns);
    sy_timer_start_in(o->loop, &t->timer, t->backoff_ns / 2 + jitter);
    t->backoff_ns = t->backoff_ns * 2 < BACKOFF_MAX_NS ? t->backoff_ns * 2 : BACKOFF_MAX_NS;
}

static void from_the_start(struct ag_object_transfer *t)
{
    t->offset = 0;
    sy_rng_name(&t->objects->rng, t->name, 16);
}

static void on_timer(void *arg)
{
    struct ag_object_transfer *t = arg;
    struct ag_objects *o = t->objects;
    if (t->answer == NULL && t->error.text[0] == '\0') {
        go_on(t);
        return;
    }
    ag_object_fn fn = t->fn;
    void *ctx = t->ctx;
    char *answer = sy_take(t->answer);
    struct sy_error_text error = t->error;
    bool final = t->final;
    transfer_free(t);
    fn(ctx, answer, &error, final);
    free(answer);
    run_some(o);
}

/* What the network does is waited out; what the store says is believed after some tries. */
static void handle_failure(struct ag_object_transfer *t, const struct sy_status *status)
{
    switch (status->code) {
    case SY_CODE_UNAVAILABLE:
    case SY_CODE_DEADLINE_EXCEEDED:
    case SY_CODE_CANCELLED:
        if (t->direction == DOWNLOAD)
            from_the_start(t);
        again(t, status->message.text);
        return;
    case SY_CODE_NOT_FOUND:
        if (t->direction == DOWNLOAD) {
            fail(t, true, status->message.text);
            return;
        }
        break;
    default:
        break;
    }
    if (++t->failures > FAILURES_MAX) {
        fail(t, false, status->message.text);
        return;
    }
    from_the_start(t);
    again(t, status->message.text);
}

static void hash_to_text(const XXH3_state_t *hash, char *ret)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(hash));
    for (size_t i = 0; i < sizeof(canonical.digest); i++)
        snprintf(ret + 2 * i, 3, "%02x", canonical.digest[i]);
}

/* ---- upload ---- */

static void on_put(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct ag_object_transfer *t = ctx;
    t->call = NULL;
    if (t->orphaned) {
        free(t);
        return;
    }
    if (status->code != SY_CODE_OK) {
        handle_failure(t, status);
        return;
    }
    size_t left = (size_t)(t->size - t->offset);
    size_t sent = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    t->offset += sent;
    t->backoff_ns = BACKOFF_MIN_NS;
    if (t->offset < t->size) {
        go_on(t);
        return;
    }
    Switchyard__Internal__PutObjectResponse *msg =
        switchyard__internal__put_object_response__unpack(NULL, response.len, response.data);
    if (msg != NULL && msg->uri[0] != '\0')
        t->answer = sy_strdup(msg->uri);
    if (msg != NULL)
        switchyard__internal__put_object_response__free_unpacked(msg, NULL);
    if (t->answer == NULL)
        fail(t, false, "the store's answer has no uri");
    else
        end_later(t);
}

/* The piece at t->offset; NULL with errno. */
static const uint8_t *read_piece(struct ag_object_transfer *t, size_t size)
{
    if (t->path == NULL)
        return t->data.data + t->offset;
    struct sy_buf *chunk = &t->objects->chunk;
    sy_buf_clear(chunk);
    sy_buf_reserve(chunk, CHUNK_BYTES);
    ssize_t n = pread(t->fd, chunk->data, size, (off_t)t->offset);
    if (n >= 0 && (size_t)n < size)
        errno = EIO; /* it has become shorter */
    return n == (ssize_t)size ? chunk->data : NULL;
}

static void put_chunk(struct ag_object_transfer *t)
{
    size_t left = (size_t)(t->size - t->offset);
    size_t size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    const uint8_t *piece = read_piece(t, size);
    if (piece == NULL) {
        fail(t, false, strerror(errno));
        return;
    }
    Switchyard__Internal__PutObjectRequest msg = SWITCHYARD__INTERNAL__PUT_OBJECT_REQUEST__INIT;
    char digest[AG_DIGEST_CHARS + 1] = "";
    if (t->offset == 0) {
        XXH3_128bits_reset(t->hash);
        t->hashed = 0;
    }
    if (t->offset == t->hashed) {
        XXH3_128bits_update(t->hash, piece, size);
        t->hashed += size;
    }
    msg.upload = t->name;
    msg.offset = t->offset;
    msg.data.data = (uint8_t *)(uintptr_t)piece;
    msg.data.len = size;
    msg.last = t->offset + size == t->size;
    if (msg.last) {
        hash_to_text(t->hash, digest);
        msg.digest = digest;
    }
    struct sy_buf request = {0};
    pb_pack(&msg.base, &request);
    struct sy_call_options options = {
        .method = "/switchyard.internal.ObjectStore/PutObject",
        .timeout_ns = CALL_TIMEOUT_NS,
        .metadata = &t->objects->bearer.metadata,
        .metadata_count = t->objects->bearer.metadata_count,
    };
    t->call = sy_channel_call(t->objects->channel, t->objects->loop, &options, &request, on_put, t);
}

/* ---- download ---- */

static void on_piece(void *ctx, struct sy_span message)
{
    struct ag_object_transfer *t = ctx;
    Switchyard__Internal__GetObjectResponse *msg =
        switchyard__internal__get_object_response__unpack(NULL, message.len, message.data);
    const char *why = NULL;
    if (msg == NULL)
        why = "the store's answer is not readable";
    else if (t->offset + msg->data.len > (uint64_t)t->objects->object_bytes_max)
        why = "it is larger than this node allows";
    else if (msg->data.len > 0 &&
             write(t->fd, msg->data.data, msg->data.len) != (ssize_t)msg->data.len)
        why = "it cannot be written to the cache";
    if (msg != NULL) {
        XXH3_128bits_update(t->hash, msg->data.data, msg->data.len);
        t->offset += msg->data.len;
        switchyard__internal__get_object_response__free_unpacked(msg, NULL);
    }
    if (why != NULL)
        fail(t, false, why);
}

static void on_got(void *ctx, const struct sy_status *status)
{
    struct ag_object_transfer *t = ctx;
    sy_call_unref(sy_take(t->call));
    if (status->code != SY_CODE_OK) {
        handle_failure(t, status);
        return;
    }
    char digest[AG_DIGEST_CHARS + 1];
    hash_to_text(t->hash, digest);
    if (strcmp(digest, t->digest) != 0) {
        struct sy_status damaged = {.code = SY_CODE_DATA_LOSS};
        sy_error_text_set(&damaged.message, "%s came with other content", t->uri);
        handle_failure(t, &damaged);
        return;
    }
    t->answer = ag_cache_commit(t->objects->cache, t->name, t->digest, t->offset);
    if (t->answer == NULL)
        fail(t, false, "the node's cache of inputs is full of inputs in use");
    else
        end_later(t);
}

static const struct sy_call_sink get_sink = {.on_message = on_piece, .on_closed = on_got};

static void get_object(struct ag_object_transfer *t)
{
    t->answer = ag_cache_pin(t->objects->cache, t->digest);
    if (t->answer != NULL) { /* there by now */
        end_later(t);
        return;
    }
    if (t->fd >= 0)
        close(t->fd);
    t->fd = ag_cache_open(t->objects->cache, t->name);
    if (t->fd < 0) {
        fail(t, false, strerror(errno));
        return;
    }
    t->offset = 0;
    XXH3_128bits_reset(t->hash);
    Switchyard__Internal__GetObjectRequest msg = SWITCHYARD__INTERNAL__GET_OBJECT_REQUEST__INIT;
    msg.uri = t->uri;
    struct sy_buf request = {0};
    pb_pack(&msg.base, &request);
    struct sy_call_options options = {.method = "/switchyard.internal.ObjectStore/GetObject"};
    t->call = sy_channel_open(t->objects->channel, t->objects->loop, &options, &get_sink, t);
    int r = sy_call_send(t->call, &request);
    SY_ASSERT(r == 0); /* the first one always has room */
    sy_call_half_close(t->call);
}

static void go_on(struct ag_object_transfer *t)
{
    if (t->direction == UPLOAD)
        put_chunk(t);
    else
        get_object(t);
}

/* ---- interface ---- */

static struct ag_object_transfer *transfer_new(struct ag_objects *o, enum direction direction,
                                               ag_object_fn fn, void *ctx)
{
    struct ag_object_transfer *t = sy_new(struct ag_object_transfer);
    t->objects = o;
    t->direction = direction;
    t->fn = fn;
    t->ctx = ctx;
    t->fd = -1;
    t->backoff_ns = BACKOFF_MIN_NS;
    t->hash = XXH3_createState();
    SY_ASSERT(t->hash != NULL);
    sy_timer_init(&t->timer, on_timer, t);
    from_the_start(t);
    list_append(o, t);
    return t;
}

static struct ag_object_transfer *check_size(struct ag_object_transfer *t)
{
    struct ag_objects *o = t->objects;
    if (t->size > (uint64_t)o->object_bytes_max) {
        char why[128];
        snprintf(why, sizeof(why), "%llu bytes, at most %lld are allowed",
                 (unsigned long long)t->size, (long long)o->object_bytes_max);
        fail(t, true, why);
    }
    run_some(o);
    return t;
}

struct ag_object_transfer *ag_objects_put_file(struct ag_objects *o, const char *path,
                                               ag_object_fn fn, void *ctx)
{
    struct ag_object_transfer *t = transfer_new(o, UPLOAD, fn, ctx);
    struct stat stat;
    t->path = sy_strdup(path);
    t->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (t->fd < 0 || fstat(t->fd, &stat) < 0)
        fail(t, false, strerror(errno));
    else
        t->size = (uint64_t)stat.st_size;
    return check_size(t);
}

struct ag_object_transfer *ag_objects_put(struct ag_objects *o, struct sy_span data,
                                          ag_object_fn fn, void *ctx)
{
    struct ag_object_transfer *t = transfer_new(o, UPLOAD, fn, ctx);
    t->data = sy_buf_copy(data.data, data.len);
    t->size = data.len;
    return check_size(t);
}

struct ag_object_transfer *ag_objects_get(struct ag_objects *o, const char *uri, ag_object_fn fn,
                                          void *ctx)
{
    struct ag_object_transfer *t = transfer_new(o, DOWNLOAD, fn, ctx);
    t->uri = sy_strdup(uri);
    const char *digest = strrchr(uri, '/');
    if (strncmp(uri, "sy://", 5) != 0 || digest == NULL || !ag_digest_valid(digest + 1))
        fail(t, true, "expected a uri of the form sy://CLUSTER/DIGEST");
    else
        memcpy(t->digest, digest + 1, AG_DIGEST_CHARS + 1);
    run_some(o);
    return t;
}

void ag_objects_unpin(struct ag_objects *o, const char *path)
{
    ag_cache_unpin(o->cache, path);
}

void ag_objects_cancel(struct ag_objects *o, struct ag_object_transfer *t)
{
    if (t->answer != NULL && t->direction == DOWNLOAD)
        ag_cache_unpin(o->cache, t->answer);
    transfer_free(t);
    run_some(o);
}

int ag_objects_new(struct ag_objects **ret_objects, struct sy_rpc *rpc, struct sy_loop *loop,
                   const struct ag_objects_options *options, uint64_t seed, struct sy_log *log,
                   struct sy_error_text *error)
{
    struct ag_cache *cache;
    int64_t cache_bytes = options->cache_bytes_max ? options->cache_bytes_max : CACHE_BYTES_DEFAULT;
    int r = ag_cache_new(&cache, options->cache_dir, (uint64_t)cache_bytes, error);
    if (r < 0)
        return r;
    struct ag_objects *o = sy_new(struct ag_objects);
    o->loop = loop;
    o->log = log;
    o->cache = cache;
    o->rpc = rpc;
    o->target = sy_strdup(options->target);
    o->channel = sy_channel_new(rpc, options->target);
    o->bearer = options->bearer;
    o->object_bytes_max = options->object_bytes_max ? options->object_bytes_max
                                                    : OBJECT_BYTES_DEFAULT;
    o->transfers_max = options->transfers_max ? options->transfers_max : TRANSFERS_DEFAULT;
    sy_rng_init(&o->rng, seed);
    *ret_objects = o;
    return 0;
}

void ag_objects_use(struct ag_objects *o, const char *target)
{
    if (strcmp(o->target, target) == 0)
        return;
    free(o->target);
    sy_channel_free(o->channel); /* calls under way keep it */
    o->target = sy_strdup(target);
    o->channel = sy_channel_new(o->rpc, target);
}

void ag_objects_free(struct ag_objects *o)
{
    if (o == NULL)
        return;
    struct ag_object_transfer *t = o->first;
    while (t != NULL) {
        struct ag_object_transfer *next = t->next;
        transfer_free(t);
        t = next;
    }
    sy_channel_free(o->channel);
    free(o->target);
    ag_cache_free(o->cache);
    sy_buf_deinit(&o->chunk);
    free(o);
}
