/*
 * Blobs in a bucket: libcurl's multi interface on the loop. Sockets are watched and timers run as
 * libcurl asks; one easy handle for each try of an operation.
 */
#include "base/blob_impl.h"
#include "base/blob_s3_sign.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 4
#define BACKOFF_NS (200 * SY_NS_PER_MS)
#define CONNECT_TIMEOUT_S 10L
#define STALL_S 60L /* without a byte */
#define ANSWER_BYTES_MAX ((size_t)4096)
#define HASH_BYTES ((size_t)256 << 10)
#define FILE_MODE 0666
#define HEX_SIZE (2 * SY_SHA256_BYTES + 1)

struct s3 {
    struct sy_loop *loop;
    CURLM *multi;
    struct sy_timer timer; /* libcurl's */
    struct sy_rng rng;
    char *base;        /* "http://host:port", or with the bucket in the host */
    const char *host;  /* in base */
    char *path_prefix; /* "/bucket/prefix" or "/prefix" or "" */
    char *region, *access_key, *secret_key;
};

/*  CURL (a try is under way) --transient--> PAUSED --timer--> CURL;  CURL --> done */
struct transfer {
    struct s3 *s3;
    struct sy_blob_op *op;
    CURL *curl; /* NULL: between tries */
    struct curl_slist *headers;
    struct sy_timer again;
    unsigned tries;
    int fd; /* of the local file; -1 */
    uint64_t sent, got, length;
    char hash[HEX_SIZE];  /* of what is put */
    struct sy_buf answer; /* the beginning of an error's body */
    bool too_large;
    int local_error; /* of the local file */
};

/* ---- libcurl on the loop ---- */

struct socket {
    struct s3 *s3;
    struct sy_io io;
};

static void reap(struct s3 *s3);

static void on_socket(void *arg, uint32_t events)
{
    struct socket *socket = arg;
    struct s3 *s3 = socket->s3;
    int running, flags = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                         (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                         (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    (void)curl_multi_socket_action(s3->multi, socket->io.fd, flags, &running);
    reap(s3);
}

static void on_timer(void *arg)
{
    struct s3 *s3 = arg;
    int running;
    (void)curl_multi_socket_action(s3->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    reap(s3);
}

static int watch_socket(CURL *curl, curl_socket_t fd, int what, void *ctx, void *known)
{
    struct s3 *s3 = ctx;
    struct socket *socket = known;
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                      (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        if (socket) {
            sy_io_remove(s3->loop, &socket->io);
            free(socket);
        }
        return 0;
    }
    if (socket)
        return sy_io_modify(s3->loop, &socket->io, events) < 0 ? -1 : 0;
    socket = sy_new(struct socket);
    socket->s3 = s3;
    socket->io = (struct sy_io){.fd = fd, .events = events, .fn = on_socket, .arg = socket};
    if (sy_io_add(s3->loop, &socket->io) < 0) {
        free(socket);
        return -1;
    }
    (void)curl_multi_assign(s3->multi, fd, socket);
    return 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct s3 *s3 = ctx;
    (void)multi;
    if (timeout_ms < 0)
        sy_timer_stop(s3->loop, &s3->timer);
    else
        sy_timer_start_in(s3->loop, &s3->timer, (int64_t)timeout_ms * SY_NS_PER_MS);
    return 0;
}

/* ---- bytes ---- */

static bool is_put(const struct sy_blob_op *op)
{
    return op->kind == SY_BLOB_PUT || op->kind == SY_BLOB_PUT_FILE;
}

static bool succeeded(const struct transfer *transfer)
{
    long status = 0;
    (void)curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    struct sy_blob_op *op = transfer->op;
    size_t len = size * count;
    if (!succeeded(transfer) || is_put(op)) {
        size_t room = ANSWER_BYTES_MAX - transfer->answer.len;
        sy_buf_append(&transfer->answer, data, len < room ? len : room);
        return len;
    }
    if (len > op->bytes_max - transfer->got) {
        transfer->too_large = true;
        return 0;
    }
    transfer->got += len;
    if (op->kind == SY_BLOB_GET)
        sy_buf_append(&op->bytes, data, len);
    else
        transfer->local_error = sy_write_all(transfer->fd, data, len);
    return transfer->local_error < 0 ? 0 : len;
}

static size_t on_upload(char *to, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    struct sy_blob_op *op = transfer->op;
    size_t len = size * count;
    if (transfer->fd < 0) {
        size_t left = op->bytes.len - (size_t)transfer->sent;
        len = len < left ? len : left;
        if (len > 0)
            memcpy(to, op->bytes.data + transfer->sent, len);
    } else {
        ssize_t n = pread(transfer->fd, to, len, (off_t)transfer->sent);
        transfer->local_error = n < 0 ? -errno : 0;
        len = n < 0 ? (size_t)CURL_READFUNC_ABORT : (size_t)n;
    }
    if (transfer->local_error == 0)
        transfer->sent += len;
    return len;
}

/* ---- a try ---- */

static void put_header(struct transfer *transfer, const char *name, const char *value)
{
    struct sy_buf line = {0};
    sy_buf_printf(&line, "%s%s", name, value);
    struct curl_slist *list = curl_slist_append(transfer->headers, (const char *)line.data);
    SY_ASSERT(list);
    transfer->headers = list;
    sy_buf_deinit(&line);
}

static void sign(struct transfer *transfer, const char *path)
{
    const struct s3 *s3 = transfer->s3;
    char time[SY_S3_TIME_SIZE];
    struct sy_buf authorization = {0};
    struct sy_s3_request request = {
        .verb = is_put(transfer->op)                 ? "PUT"
                : transfer->op->kind == SY_BLOB_STAT ? "HEAD"
                                                     : "GET",
        .host = s3->host,
        .path = path,
        .payload_hash = transfer->hash,
        .region = s3->region,
        .access_key = s3->access_key,
        .secret_key = s3->secret_key,
        .time_s = sy_loop_realtime_ns(s3->loop) / SY_NS_PER_S,
    };
    sy_s3_time(request.time_s, time);
    sy_s3_sign(&authorization, &request);
    sy_buf_append(&authorization, "", 1);
    put_header(transfer, "Authorization: ", (const char *)authorization.data);
    put_header(transfer, "x-amz-content-sha256: ", transfer->hash);
    put_header(transfer, "x-amz-date: ", time);
    put_header(transfer, "Expect:", ""); /* no waiting for "100 Continue" */
    put_header(transfer, "Content-Type: application/octet-stream", "");
    sy_buf_deinit(&authorization);
}

static void must(CURLcode code)
{
    SY_ASSERT(code == CURLE_OK); /* of our own making */
}

static void set_options(struct transfer *transfer, const char *url)
{
    CURL *curl = transfer->curl;
    must(curl_easy_setopt(curl, CURLOPT_URL, url));
    must(curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer));
    must(curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers));
    must(curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L));
    must(curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L));
    must(curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https"));
    must(curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S));
    must(curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L));
    must(curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_S));
    must(curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data));
    must(curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer));
    if (transfer->op->kind == SY_BLOB_STAT)
        must(curl_easy_setopt(curl, CURLOPT_NOBODY, 1L));
    if (is_put(transfer->op)) {
        must(curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L));
        must(curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)transfer->length));
        must(curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_upload));
        must(curl_easy_setopt(curl, CURLOPT_READDATA, transfer));
    }
}

static void try_now(void *arg)
{
    struct transfer *transfer = arg;
    struct s3 *s3 = transfer->s3;
    struct sy_buf path = {0}, url = {0};
    transfer->tries++;
    transfer->sent = transfer->got = 0;
    sy_buf_clear(&transfer->answer);
    if (transfer->op->kind == SY_BLOB_GET)
        sy_buf_clear(&transfer->op->bytes);
    if (transfer->op->kind == SY_BLOB_GET_FILE &&
        (ftruncate(transfer->fd, 0) < 0 || lseek(transfer->fd, 0, SEEK_SET) < 0))
        transfer->local_error = -errno;
    sy_s3_encode(&path, s3->path_prefix);
    sy_buf_append_str(&path, "/");
    sy_s3_encode(&path, transfer->op->key);
    sy_buf_append(&path, "", 1);
    sy_buf_printf(&url, "%s%s", s3->base, (const char *)path.data);
    transfer->curl = curl_easy_init();
    SY_ASSERT(transfer->curl);
    sign(transfer, (const char *)path.data);
    set_options(transfer, (const char *)url.data); /* printf has put a NUL behind it */
    CURLMcode added = curl_multi_add_handle(s3->multi, transfer->curl);
    SY_ASSERT(added == CURLM_OK);
    sy_buf_deinit(&path);
    sy_buf_deinit(&url);
}

static void end_try(struct transfer *transfer)
{
    if (transfer->curl) {
        (void)curl_multi_remove_handle(transfer->s3->multi, transfer->curl);
        curl_easy_cleanup(transfer->curl);
        transfer->curl = NULL;
    }
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
}

/* ---- the end of an operation ---- */

static void transfer_free(struct transfer *transfer)
{
    end_try(transfer);
    sy_timer_stop(transfer->s3->loop, &transfer->again);
    if (transfer->fd >= 0)
        close(transfer->fd);
    sy_buf_deinit(&transfer->answer);
    free(transfer);
}

static void finish(struct transfer *transfer, int r)
{
    struct sy_blob_op *op = transfer->op;
    if (r == 0 && op->kind == SY_BLOB_GET_FILE && fsync(transfer->fd) < 0)
        r = -errno;
    if (r < 0 && op->kind == SY_BLOB_GET_FILE)
        (void)unlink(op->path);
    if (r == 0 && op->kind == SY_BLOB_PUT_FILE)
        (void)unlink(op->path);
    op->adapter = NULL;
    transfer_free(transfer);
    sy_blob_op_done(op, r == -EDQUOT ? -ENOSPC : r);
}

/* What S3 says in <Code>; "" when it does not. */
static void code_of(const struct sy_buf *answer, char ret[64])
{
    static const char open[] = "<Code>";
    const char *at = answer->len > 0 ? memmem(answer->data, answer->len, open, strlen(open)) : NULL;
    ret[0] = '\0';
    if (!at)
        return;
    at += strlen(open);
    size_t left = answer->len - (size_t)(at - (const char *)answer->data), len = 0;
    while (len < left && len < 63 && at[len] != '<')
        len++;
    snprintf(ret, 64, "%.*s", (int)len, at);
}

static bool is_transient(CURLcode code, long status)
{
    return (code != CURLE_OK && code != CURLE_WRITE_ERROR && code != CURLE_ABORTED_BY_CALLBACK &&
            code != CURLE_PEER_FAILED_VERIFICATION && code != CURLE_UNSUPPORTED_PROTOCOL) ||
           status >= 500 || status == 429;
}

static int result_of(struct transfer *transfer, CURLcode code, long status)
{
    struct sy_blob_op *op = transfer->op;
    char why[64];
    if (transfer->local_error < 0 || transfer->too_large) {
        int r = transfer->too_large ? -EFBIG : transfer->local_error;
        sy_error_text_set(&op->error, "s3 %s: %s", op->key,
                          r == -EFBIG ? "larger than what was asked for" : strerror(-r));
        return r;
    }
    if (code == CURLE_OK && status >= 200 && status < 300)
        return 0;
    code_of(&transfer->answer, why);
    if (code != CURLE_OK)
        sy_error_text_set(&op->error, "s3 %s at %s: %s", op->key, transfer->s3->host,
                          curl_easy_strerror(code));
    else
        sy_error_text_set(&op->error, "s3 %s at %s: status %ld%s%s", op->key, transfer->s3->host,
                          status, why[0] ? ", " : "", why);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return -ETIMEDOUT;
    if (code != CURLE_OK)
        return -EIO;
    return status == 404                    ? -ENOENT
           : status == 401 || status == 403 ? -EACCES
           : status == 413                  ? -EFBIG
           : status == 507                  ? -ENOSPC
                                            : -EIO;
}

static void on_try_done(struct transfer *transfer, CURLcode code)
{
    struct s3 *s3 = transfer->s3;
    long status = 0;
    curl_off_t length = 0;
    (void)curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(transfer->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    end_try(transfer);
    if (transfer->local_error == 0 && !transfer->too_large && is_transient(code, status) &&
        transfer->tries < TRIES) {
        int64_t most_ns = BACKOFF_NS << transfer->tries;
        sy_timer_start_in(s3->loop, &transfer->again,
                          most_ns / 2 + (int64_t)sy_rng_below(&s3->rng, (uint64_t)most_ns / 2));
        return;
    }
    transfer->op->size = length > 0 ? (uint64_t)length : 0;
    finish(transfer, result_of(transfer, code, status));
}

static void reap(struct s3 *s3)
{
    int left;
    for (const CURLMsg *message; (message = curl_multi_info_read(s3->multi, &left)) != NULL;) {
        char *private = NULL;
        CURLcode code = message->data.result; /* the message goes with its handle */
        if (message->msg != CURLMSG_DONE)
            continue;
        must(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private));
        on_try_done((struct transfer *)(void *)private, code);
    }
}

/* ---- the adapter ---- */

static void set_hash(struct transfer *transfer, struct sy_digest *digest)
{
    uint8_t bytes[SY_SHA256_BYTES];
    struct sy_buf hex = {0};
    sy_digest_finish(digest, bytes);
    sy_hex_put(&hex, bytes, sizeof(bytes));
    memcpy(transfer->hash, hex.data, hex.len);
    sy_buf_deinit(&hex);
}

/* Opens the local file and hashes what will be put. */
static int prepare(struct transfer *transfer)
{
    struct sy_blob_op *op = transfer->op;
    int flags = op->kind == SY_BLOB_GET_FILE ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY, r = 0;
    if (op->path) {
        transfer->fd = open(op->path, flags | O_CLOEXEC, FILE_MODE);
        if (transfer->fd < 0)
            return -errno;
    }
    struct sy_digest *digest = sy_digest_new(SY_DIGEST_SHA256);
    if (op->kind == SY_BLOB_PUT) {
        transfer->length = op->bytes.len;
        sy_digest_add(digest, op->bytes.data, op->bytes.len);
    }
    SY_AUTOFREE uint8_t *piece = op->kind == SY_BLOB_PUT_FILE ? sy_malloc(HASH_BYTES) : NULL;
    while (piece && r == 0) {
        ssize_t n = pread(transfer->fd, piece, HASH_BYTES, (off_t)transfer->length);
        if (n <= 0) {
            r = n < 0 ? -errno : 0;
            break;
        }
        sy_digest_add(digest, piece, (size_t)n);
        transfer->length += (uint64_t)n;
    }
    set_hash(transfer, digest);
    return r;
}

static void start(void *ctx, struct sy_blob_op *op)
{
    struct transfer *transfer = sy_new(struct transfer);
    *transfer = (struct transfer){.s3 = ctx, .op = op, .fd = -1};
    sy_timer_init(&transfer->again, try_now, transfer);
    int r = prepare(transfer);
    if (r < 0) {
        sy_error_text_set(&op->error, "%s: %s", op->path, strerror(-r));
        transfer_free(transfer);
        sy_blob_op_done(op, r);
        return;
    }
    op->adapter = transfer;
    try_now(transfer);
}

static void cancel(void *ctx, struct sy_blob_op *op)
{
    (void)ctx;
    if (op->kind == SY_BLOB_GET_FILE)
        (void)unlink(op->path);
    transfer_free(op->adapter);
    op->adapter = NULL;
}

static void s3_free(void *ctx)
{
    struct s3 *s3 = ctx;
    (void)curl_multi_cleanup(s3->multi);
    sy_timer_stop(s3->loop, &s3->timer);
    free(s3->base);
    free(s3->path_prefix);
    free(s3->region);
    free(s3->access_key);
    if (s3->secret_key)
        explicit_bzero(s3->secret_key, strlen(s3->secret_key));
    free(s3->secret_key);
    free(s3);
}

/* The root is s3://bucket or s3://bucket/prefix. */
static int set_address(struct s3 *s3, const struct sy_blob_options *options,
                       struct sy_error_text *error)
{
    const char *bucket = options->root + strlen("s3://"), *prefix = strchrnul(bucket, '/');
    int bucket_len = (int)(prefix - bucket), prefix_len = (int)strlen(prefix);
    struct sy_buf endpoint = {0}, base = {0}, path = {0};
    while (prefix_len > 0 && prefix[prefix_len - 1] == '/')
        prefix_len--;
    if (options->endpoint && options->endpoint[0])
        sy_buf_printf(&endpoint, "%s", options->endpoint);
    else
        sy_buf_printf(&endpoint, "https://s3.%s.amazonaws.com", s3->region);
    const char *text = (const char *)endpoint.data, *host = strstr(text, "://");
    bool known = host && (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0);
    if (!known || !host[3] || strchr(host + 3, '/')) {
        sy_error_text_set(error,
                          "'%s' is not an endpoint of S3; expected http://HOST:PORT or "
                          "https://HOST",
                          text);
        sy_buf_deinit(&endpoint);
        return -EINVAL;
    }
    host += strlen("://");
    if (options->path_style)
        sy_buf_printf(&base, "%s", text);
    else
        sy_buf_printf(&base, "%.*s%.*s.%s", (int)(host - text), text, bucket_len, bucket, host);
    sy_buf_printf(&path, "%s%.*s%.*s", options->path_style ? "/" : "",
                  options->path_style ? bucket_len : 0, bucket, prefix_len, prefix);
    s3->base = (char *)base.data; /* printf has put a NUL behind it */
    s3->host = s3->base + (host - text);
    s3->path_prefix = (char *)path.data;
    sy_buf_deinit(&endpoint);
    return 0;
}

static char *text_or(const char *text, const char *other)
{
    return sy_strdup(text && text[0] ? text : other);
}

int sy_blob_s3_new(void **ret_ctx, struct sy_loop *loop, const struct sy_blob_options *options,
                   struct sy_error_text *error)
{
    struct s3 *s3 = sy_new(struct s3);
    s3->loop = loop;
    s3->region = text_or(options->region, "us-east-1");
    s3->access_key = text_or(options->access_key, "");
    s3->secret_key = text_or(options->secret_key, "");
    sy_timer_init(&s3->timer, on_timer, s3);
    sy_rng_init(&s3->rng, (uint64_t)sy_loop_realtime_ns(loop)); /* for back-off only */
    s3->multi = curl_multi_init();
    SY_ASSERT(s3->multi);
    (void)curl_multi_setopt(s3->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    (void)curl_multi_setopt(s3->multi, CURLMOPT_SOCKETDATA, s3);
    (void)curl_multi_setopt(s3->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)curl_multi_setopt(s3->multi, CURLMOPT_TIMERDATA, s3);
    (void)curl_multi_setopt(s3->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 64L);
    int r = set_address(s3, options, error);
    if (r < 0) {
        s3_free(s3);
        return r;
    }
    *ret_ctx = s3;
    return 0;
}

const struct sy_blob_adapter sy_blob_s3_adapter = {
    .start = start,
    .cancel = cancel,
    .free = s3_free,
};
