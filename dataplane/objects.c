#include "dataplane/objects.h"

#include "base/mem.h"
#include "dataplane/events.h"
#include "dataplane/objects_store.h"
#include "dataplane/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UPLOAD_IDLE_DEFAULT_NS (600 * SY_NS_PER_S)
#define SWEEP_NS (60 * SY_NS_PER_S)
#define URI_SCHEME "sy://"
/* A chunk, and the little that comes with it. */
#define REQUEST_BYTES_MAX (DP_CHUNK_BYTES + 4096)

struct download {
    struct dp_objects *objects;
    struct sy_call *call;
    int fd;
    uint64_t offset, size;
    bool started;
    struct download *next, *previous;
};

struct dp_objects {
    struct dp_store *store;
    char *cluster;
    const struct dp_gate *gate;
    struct sy_loop *loop;
    struct sy_log *log;
    int64_t upload_idle_ns;
    struct sy_timer sweep;
    struct download *downloads;
};

static void on_sweep(void *arg)
{
    struct dp_objects *objects = arg;
    int64_t now_ns = sy_loop_now_ns(objects->loop);
    size_t count = dp_store_sweep(objects->store, now_ns - objects->upload_idle_ns);
    if (count > 0)
        sy_log(objects->log, &dp_events, DP_EV_UPLOAD_SWEPT, SY_U64("uploads", count));
    sy_timer_start_in(objects->loop, &objects->sweep, SWEEP_NS);
}

/* ---- PutObject ---- */

static bool read_put(struct sy_span span, struct dp_put *ret)
{
    struct sy_span *const texts[] = {NULL, &ret->upload, NULL, &ret->data, NULL, &ret->digest};
    uint64_t last = 0;
    uint64_t *const varints[] = {NULL, NULL, &ret->offset, NULL, &last, NULL};
    struct dp_wire_field field;
    int r;
    *ret = (struct dp_put){0};
    while ((r = dp_wire_next(&span, &field)) == 0) {
        if (field.number >= SY_COUNT_OF(texts))
            continue;
        if (texts[field.number] && field.type == DP_WIRE_BYTES)
            *texts[field.number] = field.bytes;
        else if (varints[field.number] && field.type == DP_WIRE_VARINT)
            *varints[field.number] = field.value;
        else
            return false;
    }
    ret->last = last != 0;
    return r == DP_WIRE_E_END;
}

static void put_object(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct dp_objects *objects = ctx;
    struct dp_put put;
    if (!dp_gate_admits(objects->gate, call))
        return;
    if (!read_put(request, &put)) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT, "malformed request");
        return;
    }
    char digest[DP_DIGEST_LEN + 1];
    int error_number;
    struct sy_error_text error = {0};
    enum sy_code code = dp_store_put(objects->store, &put, sy_loop_now_ns(objects->loop), digest,
                                     &error_number, &error);
    if (error_number != 0)
        sy_log(objects->log, &dp_events, DP_EV_OBJECT_FAILED, SY_STR("action", "put"),
               SY_STR("why", strerror(error_number)));
    if (code != SY_CODE_OK) {
        sy_call_fail(call, code, "%s", error.text);
        return;
    }
    struct sy_buf uri = {0}, response = {0};
    if (digest[0]) {
        sy_buf_printf(&uri, URI_SCHEME "%s/%s", objects->cluster, digest);
        dp_wire_put_bytes(&response, 1, sy_buf_span(&uri));
    }
    sy_call_reply(call, &response);
    sy_buf_deinit(&uri);
}

/* ---- GetObject ---- */

static void download_free(struct download *download)
{
    if (download->previous)
        download->previous->next = download->next;
    else
        download->objects->downloads = download->next;
    if (download->next)
        download->next->previous = download->previous;
    close(download->fd);
    free(download);
}

static void download_closed(void *ctx, const struct sy_status *status)
{
    (void)status;
    struct download *download = ctx;
    sy_call_unref(download->call);
    download_free(download);
}

static ssize_t read_at(int fd, uint8_t *to, size_t len, uint64_t offset)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, to + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : (ssize_t)done;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* GetObjectResponse{data, size}: the file is read to where the message has its data. */
static int read_message(struct download *download, struct sy_buf *message)
{
    uint64_t left = download->size - download->offset;
    size_t len = left < DP_CHUNK_BYTES ? (size_t)left : DP_CHUNK_BYTES;
    sy_buf_reserve(message, len + 64);
    if (len > 0) {
        dp_wire_put_varint(message, 1 << 3 | DP_WIRE_BYTES);
        dp_wire_put_varint(message, len);
        ssize_t n = read_at(download->fd, message->data + message->len, len, download->offset);
        if (n < 0 || (size_t)n < len)
            return n < 0 ? (int)n : -EIO; /* objects never shrink */
        message->len += len;
    }
    if (!download->started)
        dp_wire_put_u64(message, 2, download->size);
    download->started = true;
    download->offset += len;
    return 0;
}

/* The next message, once the client has taken the one before. */
static void download_go_on(void *ctx)
{
    struct download *download = ctx;
    if (download->started && download->offset == download->size) {
        sy_call_finish(download->call, NULL);
        return;
    }
    if (!sy_call_ready(download->call))
        return; /* on_writable */
    struct sy_buf message = {0};
    int r = read_message(download, &message);
    if (r < 0) {
        sy_buf_deinit(&message);
        sy_log(download->objects->log, &dp_events, DP_EV_OBJECT_FAILED, SY_STR("action", "get"),
               SY_STR("why", strerror(-r)));
        struct sy_status status = {0};
        sy_status_set(&status, SY_CODE_DATA_LOSS, "cannot read the object: %s", strerror(-r));
        sy_call_finish(download->call, &status);
        sy_status_deinit(&status);
        return;
    }
    r = sy_call_send(download->call, &message);
    SY_ASSERT(r == 0); /* it was ready */
    if (download->offset == download->size)
        sy_call_finish(download->call, NULL);
    else
        (void)sy_call_ready(download->call);
}

static const struct sy_call_sink download_sink = {.on_writable = download_go_on,
                                                  .on_closed = download_closed};

/* The digest in sy://CLUSTER/DIGEST. */
static bool read_uri(const struct dp_objects *objects, struct sy_span request,
                     char ret[DP_DIGEST_LEN + 1])
{
    struct dp_wire_field field;
    struct sy_span uri = {0};
    int r;
    while ((r = dp_wire_next(&request, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_BYTES)
            uri = field.bytes;
    }
    size_t scheme = strlen(URI_SCHEME), cluster = strlen(objects->cluster);
    if (r != DP_WIRE_E_END || uri.len != scheme + cluster + 1 + DP_DIGEST_LEN ||
        memcmp(uri.data, URI_SCHEME, scheme) != 0 ||
        memcmp(uri.data + scheme, objects->cluster, cluster) != 0 ||
        uri.data[scheme + cluster] != '/')
        return false;
    memcpy(ret, uri.data + scheme + cluster + 1, DP_DIGEST_LEN);
    ret[DP_DIGEST_LEN] = '\0';
    return dp_digest_valid(ret);
}

static void get_object(void *ctx, struct sy_call *call, struct sy_span request)
{
    struct dp_objects *objects = ctx;
    char digest[DP_DIGEST_LEN + 1];
    if (!read_uri(objects, request, digest)) {
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT,
                     "uri: expected " URI_SCHEME "%s/ and %d lower-case hex digits",
                     objects->cluster, DP_DIGEST_LEN);
        return;
    }
    int fd;
    uint64_t size;
    int r = dp_store_get(objects->store, digest, &fd, &size);
    if (r < 0) {
        enum sy_code code = r == -ENOENT                   ? SY_CODE_NOT_FOUND
                            : r == -EMFILE || r == -ENFILE ? SY_CODE_RESOURCE_EXHAUSTED
                                                           : SY_CODE_INTERNAL;
        sy_call_fail(call, code, "object %s: %s", digest, r == -ENOENT ? "not here" : strerror(-r));
        return;
    }
    struct download *download = sy_new(struct download);
    *download = (struct download){
        .objects = objects, .call = call, .fd = fd, .size = size, .next = objects->downloads};
    if (download->next)
        download->next->previous = download;
    objects->downloads = download;
    sy_call_set_sink(call, &download_sink, download);
    download_go_on(download);
}

/* ---- set-up ---- */

int dp_objects_new(struct dp_objects **ret_objects, const struct dp_objects_options *options,
                   struct sy_error_text *error)
{
    struct dp_objects *objects = sy_new(struct dp_objects);
    objects->gate = options->gate;
    objects->loop = options->loop;
    objects->log = options->log;
    objects->cluster = sy_strdup(options->cluster);
    objects->upload_idle_ns = options->upload_idle_ns > 0 ? options->upload_idle_ns
                                                          : UPLOAD_IDLE_DEFAULT_NS;
    sy_timer_init(&objects->sweep, on_sweep, objects);
    int r = dp_store_open(&objects->store, options->dir, options->object_bytes_max, error);
    if (r < 0) {
        dp_objects_free(objects);
        return r;
    }
    sy_timer_start_in(objects->loop, &objects->sweep, SWEEP_NS);
    *ret_objects = objects;
    return 0;
}

void dp_objects_serve(struct dp_objects *objects, struct sy_server *server)
{
    const struct sy_method methods[] = {
        {.path = "/switchyard.internal.ObjectStore/PutObject",
         .kind = SY_METHOD_UNARY,
         .handler = put_object,
         .request_bytes_max = REQUEST_BYTES_MAX},
        {.path = "/switchyard.internal.ObjectStore/GetObject",
         .kind = SY_METHOD_SERVER_STREAM,
         .handler = get_object,
         .request_bytes_max = 4096},
    };
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++) {
        struct sy_method method = methods[i];
        method.ctx = objects;
        method.loop = objects->loop;
        sy_server_add(server, &method);
    }
}

void dp_objects_free(struct dp_objects *objects)
{
    static const struct sy_call_sink deaf_sink = {0};
    static const struct sy_status gone = {.code = SY_CODE_UNAVAILABLE,
                                          .message = {"the object store was closed"}};
    if (!objects)
        return;
    sy_timer_stop(objects->loop, &objects->sweep);
    struct download *next;
    for (struct download *download = objects->downloads; download; download = next) {
        next = download->next;
        struct sy_call *call = download->call;
        sy_call_finish(call, &gone);
        sy_call_set_sink(call, &deaf_sink, NULL);
        sy_call_unref(call);
        download_free(download);
    }
    dp_store_close(objects->store);
    free(objects->cluster);
    free(objects);
}
