/*
 * The routes that signed URLs lead to: PUT and GET of /data/BLOB?token=TOKEN.
 */
#include "dataplane/data_impl.h"

#include "base/http.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void reply_text(struct sy_http_request *request, unsigned status, const char *text)
{
    struct sy_buf body = {0};
    sy_buf_printf(&body, "%s%s", text, text[0] ? "\n" : "");
    if (status == 503)
        sy_http_add_header(request, "Retry-After", "1");
    sy_http_reply(request, status, "text/plain; charset=utf-8", &body);
}

static const char *blob_of(const struct sy_http_request *request)
{
    return sy_http_path(request) + strlen(DP_DATA_PATH);
}

/* ---- PUT ---- */

struct put {
    struct sy_http_request *request;
    struct dp_upload *upload; /* NULL: answered already */
};

static void answer_put(struct put *put, unsigned status, const char *text)
{
    dp_upload_free(sy_take(put->upload));
    reply_text(put->request, status, text);
}

static bool on_put_body(void *ctx, struct sy_span piece)
{
    struct put *put = ctx;
    struct sy_error_text error;
    unsigned status = put->upload ? dp_upload_piece(put->upload, piece, &error) : 0;
    if (status != 0)
        answer_put(put, status, error.text);
    return true;
}

static void on_put_stored(void *ctx, unsigned status, const char *text)
{
    answer_put(ctx, status, text);
}

static void on_put_end(void *ctx)
{
    struct put *put = ctx;
    if (put->upload)
        dp_upload_end(put->upload, on_put_stored, put);
}

static void on_put_closed(void *ctx, bool sent)
{
    struct put *put = ctx;
    (void)sent;
    dp_upload_free(put->upload);
    free(put);
}

static void on_put(void *ctx, struct sy_http_request *request)
{
    static const struct sy_http_sink sink = {on_put_body, on_put_end, on_put_closed};
    struct put *put = sy_new(struct put);
    struct sy_error_text error = {0};
    struct dp_upload_request head = {
        .blob = blob_of(request),
        .token = sy_http_query(request, DP_DATA_TOKEN),
        .md5 = sy_http_header(request, "content-md5"),
        .bytes = sy_http_content_length(request),
    };
    put->request = request;
    sy_http_set_sink(request, &sink, put);
    unsigned status = dp_upload_new(&put->upload, ctx, &head, &error);
    if (status != 0)
        reply_text(request, status, error.text);
}

/* ---- GET ---- */

/* A blob that is not a file here is fetched to one first. */
struct dp_fetch {
    struct dp_data *data;
    struct sy_http_request *request; /* NULL: answered, or its client has gone */
    char *path;                      /* NULL: not being fetched */
    const char *type;
    struct dp_fetch *next, *previous;
};

static void fetch_free(struct dp_fetch *fetch)
{
    if (fetch->previous)
        fetch->previous->next = fetch->next;
    else
        fetch->data->fetches = fetch->next;
    if (fetch->next)
        fetch->next->previous = fetch->previous;
    if (fetch->path)
        (void)unlink(fetch->path);
    free(fetch->path);
    free(fetch);
}

void dp_fetches_free(struct dp_data *data)
{
    struct dp_fetch *next;
    for (struct dp_fetch *fetch = data->fetches; fetch; fetch = next) {
        next = fetch->next;
        fetch_free(fetch);
    }
}

static void on_get_closed(void *ctx, bool sent)
{
    struct dp_fetch *fetch = ctx;
    (void)sent;
    fetch->request = NULL;
    if (!fetch->path)
        fetch_free(fetch);
}

static void reply_file(const struct dp_fetch *fetch, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        reply_text(fetch->request, 404, "not here (any more)");
        return;
    }
    sy_http_add_header(fetch->request, "X-Content-Type-Options", "nosniff");
    /* A report may have scripts; they must not act as a page of this server. */
    sy_http_add_header(fetch->request, "Content-Security-Policy",
                       "sandbox allow-scripts allow-popups");
    sy_http_reply_file(fetch->request, 200, fetch->type, fd, 0, (uint64_t)st.st_size);
}

static void on_fetched(void *ctx, int r, const struct sy_error_text *error)
{
    struct dp_fetch *fetch = ctx;
    SY_AUTOFREE char *path = sy_take(fetch->path);
    if (!fetch->request)
        fetch_free(fetch);
    else if (r == 0)
        reply_file(fetch, path);
    else
        reply_text(fetch->request, r == -ENOENT ? 404 : 503, error->text);
    (void)unlink(path); /* whoever sends it has it open */
}

static void fetch_blob(struct dp_fetch *fetch, const char *blob)
{
    struct dp_data *data = fetch->data;
    struct sy_buf uri = {0}, path = {0};
    sy_buf_printf(&uri, "%s/%s", sy_blobs_root(data->blobs), blob);
    if (uri.data[0] == '/') {
        reply_file(fetch, (const char *)uri.data);
    } else {
        sy_buf_printf(&path, "%s/%llu", data->staging, (unsigned long long)data->next_upload++);
        fetch->path = (char *)path.data; /* printf has put a NUL behind it */
        sy_blob_get_file(data->blobs, (const char *)uri.data, fetch->path, data->upload_bytes_max,
                         on_fetched, fetch);
    }
    sy_buf_deinit(&uri);
}

static bool on_get_body(void *ctx, struct sy_span piece)
{
    (void)ctx;
    (void)piece;
    return true;
}

static void on_get_end(void *ctx)
{
    (void)ctx;
}

static void on_get(void *ctx, struct sy_http_request *request)
{
    static const struct sy_http_sink sink = {on_get_body, on_get_end, on_get_closed};
    struct dp_data *data = ctx;
    const char *blob = blob_of(request);
    size_t len = strlen(blob);
    bool page = len > 5 && strcmp(blob + len - 5, ".html") == 0;
    struct dp_fetch *fetch = sy_new(struct dp_fetch);
    struct dp_token token;
    struct sy_error_text error = {0};
    *fetch = (struct dp_fetch){
        .data = data,
        .request = request,
        .type = page ? "text/html; charset=utf-8" : "application/octet-stream",
        .next = data->fetches,
    };
    if (fetch->next)
        fetch->next->previous = fetch;
    data->fetches = fetch;
    sy_http_set_sink(request, &sink, fetch);
    unsigned status = dp_authorize(data, blob, sy_http_query(request, DP_DATA_TOKEN), false, &token,
                                   &error);
    if (status != 0)
        reply_text(request, status, error.text);
    else
        fetch_blob(fetch, blob);
}

void dp_data_add_routes(struct dp_data *data, struct sy_server *server)
{
    struct sy_http_route route = {
        .verb = "PUT",
        .prefix = DP_DATA_PATH,
        .handler = on_put,
        .ctx = data,
        .loop = data->loop,
        .body_bytes_max = data->upload_bytes_max,
    };
    sy_server_add_route(server, &route);
    route.verb = "GET";
    route.handler = on_get;
    route.body_bytes_max = 0;
    sy_server_add_route(server, &route);
}
