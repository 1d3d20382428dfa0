/* The HTTP side of a server: its thread, its start and its end. */
#include "base/rpc_http.h"

#include "base/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

void http_pairs_add(struct sy_buf *pairs, const char *key, const char *value)
{
    sy_buf_append(pairs, key, strlen(key) + 1);
    sy_buf_append(pairs, value, strlen(value) + 1);
}

const char *http_pairs_next(const struct sy_buf *pairs, const char *key, const char **ret_value)
{
    const char *at = (const char *)pairs->data, *end = at + pairs->len;
    if (key != NULL) {
        at = key + strlen(key) + 1;
        at += strlen(at) + 1;
    }
    if (at == end)
        return NULL;
    *ret_value = at + strlen(at) + 1;
    return at;
}

const char *http_pairs_find(const struct sy_buf *pairs, const char *key)
{
    const char *value, *at = NULL;
    while (pairs->len > 0 && (at = http_pairs_next(pairs, at, &value)) != NULL) {
        if (strcasecmp(at, key) == 0)
            return value;
    }
    return NULL;
}

static void leave(void *arg)
{
    http_calls_leave(arg);
}

static void *thread_main(void *arg)
{
    struct sy_http *http = arg;
    int r = sy_loop_run(http->loop);
    SY_ASSERT(r == 0);
    return NULL;
}

/* Signals are for the threads that the daemon made for them; but a crash is this thread's own. */
static void start_thread(struct sy_http *http)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < SY_COUNT_OF(own); i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = -pthread_create(&http->thread, NULL, thread_main, http);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    SY_ASSERT(r == 0);
    http->running = true;
}

static int prepare(struct sy_http *http, struct sy_error_text *error)
{
    int r = sy_loop_new(&http->loop, NULL);
    if (r < 0)
        return r;
    r = http_listen(http, error);
    if (r < 0)
        return r;
    return http_shards_start(http);
}

int http_new(struct sy_http **ret_http, struct sy_server *server, const struct http_host_ops *host,
             struct sy_error_text *error)
{
    struct sy_http *http = sy_new(struct sy_http);
    http->server = server;
    http->host = host;
    http->gzip = sy_gzip_new();
    sy_timer_init(&http->leave, leave, http);
    sy_error_text_set(error, "%s", "");
    int r = prepare(http, error);
    if (r == 0) {
        *ret_http = http;
        return 0;
    }
    if (error != NULL && error->text[0] == '\0')
        sy_error_text_set(error, "cannot serve HTTP: %s", strerror(-r));
    http_free(http);
    return r;
}

void http_run(struct sy_http *http)
{
    http_listen_start(http);
    start_thread(http);
}

void http_check_drained(struct sy_http *http)
{
    if (!http->draining || http->drained || http->exchange_count > 0 || http->requests != NULL)
        return;
    http->drained = true;
    http->host->drained(http->server);
}

static void drain_on_thread(void *arg)
{
    struct sy_http *http = arg;
    http->draining = true;
    http_listen_stop(http);
    http_close_idle(http);
    http_check_drained(http);
}

void http_drain(struct sy_http *http)
{
    sy_loop_post_always(http->loop, drain_on_thread, http);
}

static void cancel_on_thread(void *arg)
{
    http_calls_cancel(arg);
    http_requests_cancel(arg);
}

void http_cancel_all(struct sy_http *http)
{
    sy_loop_post_always(http->loop, cancel_on_thread, http);
}

void http_free(struct sy_http *http)
{
    if (http == NULL)
        return;
    if (http->running) {
        sy_loop_stop(http->loop);
        pthread_join(http->thread, NULL);
    }
    if (http->loop != NULL) {
        http_listen_stop(http);
        http_shards_stop(http);
        http_calls_leave(http);
    }
    sy_loop_free(http->loop);
    sy_gzip_free(http->gzip);
    free(http->listeners);
    free(http);
}
