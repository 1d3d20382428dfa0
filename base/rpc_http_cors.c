/*
 * Pages of other origins (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol): a browser shows
 * them our answers only when those say so.
 */
#include "base/error.h"
#include "base/http.h"
#include "base/mem.h"
#include "base/rpc_http.h"

#include <string.h>

#define ANY "*"
#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789.-_[]:"

/* scheme "://" host [":" port], in lower case, as a browser writes it into Origin. */
static bool is_origin(const char *text)
{
    static const char *const schemes[] = {"https://", "http://"};
    for (size_t i = 0; i < SY_COUNT_OF(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (strncmp(text, schemes[i], len) == 0)
            return text[len] != '\0' && text[len + strspn(text + len, HOST_CHARACTERS)] == '\0';
    }
    return false;
}

int sy_http_check_origins(const char *const *origins, size_t count, struct sy_error_text *error)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(origins[i], ANY) == 0 || is_origin(origins[i]))
            continue;
        sy_error_text_set(error,
                          "allow_origins: '%.200s' is no origin; expected \"*\", or as browsers "
                          "send it, like https://console.example or http://localhost:3000",
                          origins[i]);
        return -EINVAL;
    }
    return 0;
}

/* What to answer; NULL: the origin is not allowed. */
static const char *find(const struct sy_server *server, const char *origin)
{
    const char *found = NULL;
    for (size_t i = 0; i < server->allow_origin_count; i++) {
        const char *allowed = server->allow_origins[i];
        if (strcmp(allowed, ANY) == 0)
            return ANY;
        if (origin != NULL && strcmp(allowed, origin) == 0)
            found = allowed;
    }
    return found;
}

void http_cors_add(struct http_exchange *exchange)
{
    const struct sy_server *server = http_of(exchange)->server;
    if (server->allow_origin_count == 0)
        return;
    const char *allowed = find(server, http_header(exchange, "origin"));
    if (allowed != NULL) {
        http_add_header(exchange, "access-control-allow-origin", allowed);
        http_add_header(exchange, "access-control-expose-headers", "*");
    }
    if (allowed == NULL || strcmp(allowed, ANY) != 0)
        http_add_header(exchange, "vary", "origin"); /* caches must not mix the answers */
}

void http_cors_add_preflight(struct http_exchange *exchange)
{
    const char *wanted = http_header(exchange, "access-control-request-headers");
    http_add_header(exchange, "access-control-allow-methods", "GET, HEAD, POST, PUT");
    http_add_header(exchange, "access-control-allow-headers", wanted != NULL ? wanted : "*");
    http_add_header(exchange, "access-control-max-age", "7200");
}
