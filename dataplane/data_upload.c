/*
 * Uploads: a client is given a signed URL, bound to one blob, its MD5 and its length, and PUTs
 * there. What comes is written to a file in the staging directory and becomes a blob only when all
 * of it is there and its MD5 is right. The same upload twice is the same blob.
 */
#include "dataplane/data_impl.h"

#include "base/mem.h"

#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME_MAX 512

/* ---- CreateUploadLocation ---- */

typedef Flyteidl2__Dataproxy__CreateUploadLocationRequest location_request;

static int check_location(const location_request *request, struct sy_error_text *error)
{
    bool named = request->filename_root[0] != '\0';
    if (dp_check_names(request->project, request->domain, error) < 0)
        return -EINVAL;
    if (request->content_md5.len != SY_MD5_BYTES && (request->content_md5.len > 0 || !named))
        sy_error_text_set(error, "content_md5: %zu bytes; expected the %d of an MD5",
                          request->content_md5.len, SY_MD5_BYTES);
    else if (!sy_blob_key_valid(request->filename) || strlen(request->filename) > FILE_NAME_MAX ||
             (named && !sy_blob_key_valid(request->filename_root)) ||
             strlen(request->filename_root) > FILE_NAME_MAX / 2)
        sy_error_text_set(error,
                          "filename, filename_root: '%.80s' in '%.80s': expected relative paths "
                          "without empty parts, '.' and '..', and at most %d bytes",
                          request->filename, request->filename_root, FILE_NAME_MAX);
    else if (request->content_length < 0)
        sy_error_text_set(error, "content_length: %lld is below 0",
                          (long long)request->content_length);
    else
        return 0;
    return -EINVAL;
}

static void put_native_url(const struct dp_data *data, const location_request *request,
                           struct sy_buf *url)
{
    struct sy_buf digest = {0};
    sy_hex_put(&digest, request->content_md5.data, request->content_md5.len);
    sy_buf_append(&digest, "", 1);
    pb_path_upload(url, sy_blobs_root(data->blobs), request->project, request->domain,
                   request->filename_root[0] ? request->filename_root : (const char *)digest.data,
                   request->filename);
    sy_buf_append(url, "", 1);
    sy_buf_deinit(&digest);
}

static void reply_location(const struct dp_data *data, struct sy_call *call,
                           const location_request *request, int64_t expires_s)
{
    struct dp_token token = {
        .write = true,
        .has_md5 = request->content_md5.len > 0,
        .bytes = request->content_length > 0 ? (uint64_t)request->content_length : UINT64_MAX,
        .expires_s = expires_s,
    };
    if (token.has_md5)
        memcpy(token.md5, request->content_md5.data, SY_MD5_BYTES);
    struct sy_buf native_url = {0}, signed_url = {0}, response = {0};
    put_native_url(data, request, &native_url);
    dp_put_signed_url(data, (const char *)native_url.data, &token, &signed_url);
    dp_wire_put_bytes(&response, 1, sy_buf_span(&signed_url));
    dp_wire_put_text(&response, 2, (const char *)native_url.data);
    dp_put_timestamp(&response, 3, expires_s);
    sy_call_reply(call, &response);
    sy_buf_deinit(&native_url);
    sy_buf_deinit(&signed_url);
}

void dp_data_create_upload_location(void *ctx, struct sy_call *call, struct sy_span span)
{
    struct dp_data *data = ctx;
    struct sy_arena arena;
    struct sy_error_text error = {{"malformed request, or a NUL byte in a string"}};
    int64_t expires_s;
    sy_arena_init(&arena, 1u << 20);
    const location_request *request = dp_decode(
        &flyteidl2__dataproxy__create_upload_location_request__descriptor, &arena, span);
    if (request && check_location(request, &error) == 0 &&
        dp_expiry(data, request->expires_in, &expires_s, &error) == 0)
        reply_location(data, call, request, expires_s);
    else
        sy_call_fail(call, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
    sy_arena_deinit(&arena);
}

/* ---- what a PUT brings ---- */

/*  RECEIVING --all is there--> STORING --done--> gone
 *      |                          |
 *      +------> gone              +-- freed --> STORING, nobody listens --> gone
 */
struct dp_upload {
    struct dp_data *data;
    char *uri, *path;
    int fd;
    struct sy_digest *md5; /* NULL: finished */
    struct dp_token token;
    uint64_t wanted, bytes; /* UINT64_MAX: as many as come */
    bool storing;
    dp_upload_fn done; /* NULL: nobody listens */
    void *ctx;
    struct sy_timer timer; /* tells a refusal in a later turn */
    unsigned status;
    struct sy_error_text why;
    struct dp_upload *next, *previous;
};

unsigned dp_authorize(const struct dp_data *data, const char *blob, const char *text, bool write,
                      struct dp_token *ret, struct sy_error_text *error)
{
    if (!sy_blob_key_valid(blob)) {
        sy_error_text_set(error, "'%.200s' is not a path in this store", blob);
        return 400;
    }
    if (!text || dp_token_take(text, blob, data->key, ret) < 0 || ret->write != write) {
        sy_error_text_set(error, "the URL's signature is not for this: ask for a new one with %s",
                          write ? "CreateUploadLocation" : "CreateDownloadLink");
        return 403;
    }
    if (sy_loop_realtime_ns(data->loop) / SY_NS_PER_S >= ret->expires_s) {
        sy_error_text_set(error, "Request has expired: ask for a new URL"); /* the SDK's words */
        return 403;
    }
    return 0;
}

static unsigned check_head(const struct dp_data *data, const struct dp_upload_request *request,
                           struct dp_token *token, struct sy_error_text *error)
{
    uint8_t md5[SY_MD5_BYTES];
    unsigned status = dp_authorize(data, request->blob, request->token, true, token, error);
    if (status != 0)
        return status;
    if (request->bytes != UINT64_MAX && token->bytes != UINT64_MAX &&
        request->bytes != token->bytes) {
        sy_error_text_set(error, "Content-Length: %llu, but the URL is for %llu bytes",
                          (unsigned long long)request->bytes, (unsigned long long)token->bytes);
        return 400;
    }
    if (request->bytes != UINT64_MAX && request->bytes > data->upload_bytes_max) {
        sy_error_text_set(error, "Content-Length: %llu; at most %llu bytes",
                          (unsigned long long)request->bytes,
                          (unsigned long long)data->upload_bytes_max);
        return 413;
    }
    if (!request->md5)
        return 0;
    if (sy_base64_take(request->md5, md5, sizeof(md5)) < 0) {
        sy_error_text_set(error, "Content-MD5: '%.60s' is not the base64 of 16 bytes",
                          request->md5);
        return 400;
    }
    if (token->has_md5 && !sy_digest_equal(md5, token->md5, sizeof(md5))) {
        sy_error_text_set(error, "Content-MD5: not the one that the URL was signed for");
        return 400;
    }
    memcpy(token->md5, md5, sizeof(md5));
    token->has_md5 = true;
    return 0;
}

static unsigned status_of(int r)
{
    return r == -ENOSPC || r == -EDQUOT   ? 507
           : r == -EFBIG                  ? 413
           : r == -EINVAL                 ? 400
           : r == -ETIMEDOUT || r == -EIO ? 503
                                          : 500;
}

static unsigned failed(struct dp_data *data, int r, const char *why, struct sy_error_text *error)
{
    sy_error_text_set(error, "cannot store the upload: %s", why);
    sy_log(data->log, &dp_events, DP_EV_STORAGE_FAILED, SY_STR("why", error->text));
    return status_of(r);
}

static void on_timer(void *arg)
{
    struct dp_upload *upload = arg;
    dp_upload_fn done = upload->done;
    upload->storing = false; /* freeing it is the listener's */
    done(upload->ctx, upload->status, upload->why.text);
}

unsigned dp_upload_new(struct dp_upload **ret, struct dp_data *data,
                       const struct dp_upload_request *request, struct sy_error_text *error)
{
    struct dp_token token;
    unsigned status = check_head(data, request, &token, error);
    if (status != 0)
        return status;
    if (data->upload_count >= DP_UPLOADS_UNDER_WAY_MAX) {
        sy_error_text_set(error, "%d uploads are under way, the most allowed; try again later",
                          DP_UPLOADS_UNDER_WAY_MAX);
        return 503;
    }
    struct sy_buf path = {0}, uri = {0};
    sy_buf_printf(&path, "%s/%llu", data->staging, (unsigned long long)data->next_upload++);
    int fd = open((const char *)path.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        status = failed(data, -errno, strerror(errno), error);
        sy_buf_deinit(&path);
        return status;
    }
    struct dp_upload *upload = sy_new(struct dp_upload);
    sy_buf_printf(&uri, "%s/%s", sy_blobs_root(data->blobs), request->blob);
    *upload = (struct dp_upload){
        .data = data,
        .uri = (char *)uri.data,
        .path = (char *)path.data,
        .fd = fd,
        .md5 = sy_digest_new(SY_DIGEST_MD5),
        .token = token,
        .wanted = token.bytes != UINT64_MAX ? token.bytes : request->bytes,
        .next = data->uploads,
    };
    sy_timer_init(&upload->timer, on_timer, upload);
    if (upload->next)
        upload->next->previous = upload;
    data->uploads = upload;
    data->upload_count++;
    *ret = upload;
    return 0;
}

unsigned dp_upload_piece(struct dp_upload *upload, struct sy_span piece,
                         struct sy_error_text *error)
{
    uint64_t most = upload->wanted < upload->data->upload_bytes_max
                        ? upload->wanted
                        : upload->data->upload_bytes_max;
    if (piece.len > most - upload->bytes) {
        sy_error_text_set(error, "more than %llu bytes came", (unsigned long long)most);
        return most == upload->wanted ? 400 : 413;
    }
    sy_digest_add(upload->md5, piece.data, piece.len);
    upload->bytes += piece.len;
    while (piece.len > 0) {
        ssize_t n = write(upload->fd, piece.data, piece.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(upload->data, -errno, strerror(errno), error);
        piece.data += n;
        piece.len -= (size_t)n;
    }
    return 0;
}

static void free_now(struct dp_upload *upload)
{
    struct dp_data *data = upload->data;
    sy_timer_stop(data->loop, &upload->timer);
    if (upload->previous)
        upload->previous->next = upload->next;
    else
        data->uploads = upload->next;
    if (upload->next)
        upload->next->previous = upload->previous;
    data->upload_count--;
    if (upload->fd >= 0)
        close(upload->fd);
    (void)unlink(upload->path); /* gone when it became a blob */
    sy_digest_free(upload->md5);
    free(upload->uri);
    free(upload->path);
    free(upload);
}

static void on_stored(void *ctx, int r, const struct sy_error_text *error)
{
    struct dp_upload *upload = ctx;
    struct sy_error_text why = {0};
    unsigned status = r == 0 ? 200 : failed(upload->data, r, error->text, &why);
    upload->storing = false;
    if (upload->done)
        upload->done(upload->ctx, status, why.text);
    else
        free_now(upload);
}

/* 0, or why what came is not what was announced. */
static unsigned check_whole(struct dp_upload *upload)
{
    uint8_t md5[SY_MD5_BYTES];
    sy_digest_finish(sy_take(upload->md5), md5);
    if (upload->wanted != UINT64_MAX && upload->bytes != upload->wanted) {
        sy_error_text_set(&upload->why, "%llu bytes came, %llu were announced",
                          (unsigned long long)upload->bytes, (unsigned long long)upload->wanted);
        return 400;
    }
    if (upload->token.has_md5 && !sy_digest_equal(md5, upload->token.md5, sizeof(md5))) {
        sy_error_text_set(&upload->why,
                          "the MD5 of the %llu bytes that came differs from the one "
                          "that was announced; nothing is stored",
                          (unsigned long long)upload->bytes);
        return 400;
    }
    return 0;
}

void dp_upload_end(struct dp_upload *upload, dp_upload_fn done, void *ctx)
{
    SY_ASSERT(!upload->storing && upload->md5);
    upload->done = done;
    upload->ctx = ctx;
    close(upload->fd);
    upload->fd = -1;
    upload->status = check_whole(upload);
    upload->storing = true;
    if (upload->status != 0)
        sy_timer_start_in(upload->data->loop, &upload->timer, 0);
    else
        sy_blob_put_file(upload->data->blobs, upload->uri, upload->path, on_stored, upload);
}

void dp_upload_free(struct dp_upload *upload)
{
    if (!upload)
        return;
    if (upload->storing && upload->status == 0)
        upload->done = NULL;
    else
        free_now(upload);
}

void dp_uploads_free(struct dp_data *data)
{
    struct dp_upload *next;
    for (struct dp_upload *upload = data->uploads; upload; upload = next) {
        next = upload->next;
        free_now(upload);
    }
}
