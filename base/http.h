/*
 * Plain HTTP/1.1 beside the calls of rpc.h: uploads and downloads of any length, on the same port.
 * A server that is given routes (sy_server_add_route) asks them before its methods.
 *
 * Threads. A request belongs to its route's loop: the handler and all callbacks run there, and the
 * functions below must be called there.
 *
 * Flow control. The body comes in pieces; the next one is read after on_body returned and
 * sy_http_continue() was called when on_body said so. A reply is a buffer or a file; nothing larger
 * than a piece is held in memory.
 *
 * Errors of the protocol (a bad length, a cut connection, a header block above its limit) end a
 * request without its handler's help: on_closed says so.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>

/* For sy_server_options.allow_origins: -EINVAL with a sentence unless each is "*", or an origin as
 * browsers send it, "https://host" or "http://host:port" in lower case. Any thread. */
int sy_http_check_origins(const char *const *origins, size_t count,
                          struct sy_error_text *error) SY_MUST_USE;

struct sy_http_request;

struct sy_http_sink {
    /* A piece of the body, borrowed. False: no more until sy_http_continue(). */
    bool (*on_body)(void *ctx, struct sy_span piece);
    /* All of it came; reply now or later. */
    void (*on_end)(void *ctx);
    /* The last callback, exactly once: the reply was sent (sent), or the client went away. The
     * request is gone when it returns. */
    void (*on_closed)(void *ctx, bool sent);
};

struct sy_http_route {
    const char *verb;   /* "PUT", "GET" (serves HEAD too) */
    const char *prefix; /* "/data/"; the longest that fits */
    /* The headers are there. Must set a sink before it returns. */
    void (*handler)(void *ctx, struct sy_http_request *request);
    void *ctx;
    struct sy_loop *loop;
    uint64_t body_bytes_max; /* beyond: 413, without the handler or in the middle */
};

const char *sy_http_path(const struct sy_http_request *request); /* decoded, without the query */
const char *sy_http_query(const struct sy_http_request *request, const char *key);  /* or NULL */
const char *sy_http_header(const struct sy_http_request *request, const char *key); /* or NULL */
/* As the client declared it; UINT64_MAX: it did not. */
uint64_t sy_http_content_length(const struct sy_http_request *request);

void sy_http_set_sink(struct sy_http_request *request, const struct sy_http_sink *sink, void *ctx);
void sy_http_continue(struct sy_http_request *request);

/* Before the reply: one more header, copied. */
void sy_http_add_header(struct sy_http_request *request, const char *key, const char *value);
/* Once. Takes the bytes (NULL: an empty body). May come before the end of the upload, whose rest is
 * then read and dropped (a client that still sends may not see the answer); when it is long, the
 * client gets the status only and the connection ends. No callback but on_closed follows. */
void sy_http_reply(struct sy_http_request *request, unsigned status, const char *content_type,
                   struct sy_buf *body);
/* Takes fd, whose bytes [offset, offset + size) are the body. */
void sy_http_reply_file(struct sy_http_request *request, unsigned status, const char *content_type,
                        int fd, uint64_t offset, uint64_t size);
