/* The console's HTTP: a listener of its own, its routes, and requests that wait for their page. */
#include "controlplane/console.h"

#include "base/mem.h"
#include "controlplane/console_page.h"

#include <stdlib.h>
#include <string.h>

#define PAGES_PATH "/v2/"
/* Pages that are being made at a time; beyond, 503. */
#define PAGES_MAX 16

struct cp_console {
    struct sy_server *server;
    struct cp_page_source source;
    struct sy_buf policy;
    size_t visits, making; /* requests; pages that they wait for */
    bool drained;
    sy_fn on_stopped;
    void *stopped_ctx;
};

/* A request and the page that it waits for; either may end first. */
struct visit {
    struct cp_console *console;
    struct sy_http_request *request; /* NULL: its client has gone */
    bool waits;                      /* for the page */
};

static void check_stopped(struct cp_console *console)
{
    if (console->drained && console->visits == 0)
        console->on_stopped(console->stopped_ctx);
}

static void check_over(struct visit *visit)
{
    struct cp_console *console = visit->console;
    if (visit->request != NULL || visit->waits)
        return;
    SY_ASSERT(console->visits > 0);
    console->visits--;
    free(visit);
    check_stopped(console);
}

static void reply(const struct visit *visit, unsigned status, const char *content_type,
                  struct sy_buf *body)
{
    struct sy_http_request *request = visit->request;
    const struct sy_buf *policy = &visit->console->policy;
    sy_http_add_header(request, "Content-Security-Policy", (const char *)policy->data);
    sy_http_add_header(request, "X-Content-Type-Options", "nosniff");
    sy_http_add_header(request, "Referrer-Policy", "no-referrer");
    sy_http_add_header(request, "Cache-Control", "no-store");
    if (status == 503)
        sy_http_add_header(request, "Retry-After", "1");
    sy_http_reply(request, status, content_type, body);
}

static void on_page(void *ctx, unsigned status, const char *content_type, struct sy_buf *body)
{
    struct visit *visit = ctx;
    SY_ASSERT(visit->waits && visit->console->making > 0);
    visit->waits = false;
    visit->console->making--;
    if (visit->request != NULL)
        reply(visit, status, content_type, body);
    check_over(visit);
}

static bool on_body(void *ctx, struct sy_span piece)
{
    (void)ctx;
    (void)piece;
    return true;
}

static void on_end(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, bool sent)
{
    struct visit *visit = ctx;
    (void)sent;
    visit->request = NULL;
    check_over(visit);
}

static void on_get(void *ctx, struct sy_http_request *request)
{
    static const struct sy_http_sink sink = {on_body, on_end, on_closed};
    struct cp_console *console = ctx;
    struct visit *visit = sy_new(struct visit);
    *visit = (struct visit){.console = console, .request = request};
    sy_http_set_sink(request, &sink, visit);
    console->visits++;
    if (console->making == PAGES_MAX) {
        struct sy_buf body = {0};
        sy_buf_append_str(&body, "too many pages are asked for at once; try again\n");
        reply(visit, 503, "text/plain; charset=utf-8", &body);
        return;
    }
    visit->waits = true;
    console->making++;
    struct cp_page_request wanted = {
        .path = sy_http_path(request),
        .after = sy_http_query(request, "after"),
        .action = sy_http_query(request, "i"),
    };
    cp_page_get(&console->source, &wanted, on_page, visit);
}

/* ---- the life of it ---- */

/* Where to reach what was bound: ":8090" and "0.0.0.0:0" name no target. */
static struct sy_channel *open_channel(struct sy_rpc *rpc, const struct sy_server *server,
                                       const char *address)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) target = {0};
    const char *colon = strrchr(address, ':');
    if (strncmp(address, "unix:", 5) == 0 || colon == NULL)
        sy_buf_append_str(&target, address);
    else
        sy_buf_printf(&target, "%.*s:%d", colon > address ? (int)(colon - address) : 9,
                      colon > address ? address : "localhost", sy_server_port(server));
    sy_buf_append(&target, "", 1);
    return sy_channel_new(rpc, (const char *)target.data);
}

int cp_console_new(struct cp_console **ret_console, const char *listen, struct sy_rpc *rpc,
                   struct sy_server *server, const char *server_address, struct sy_loop *loop,
                   struct sy_error_text *error)
{
    struct sy_server_options options = {.http = true, .address = listen};
    struct cp_console *console = sy_new(struct cp_console);
    struct sy_error_text cause = {0};
    int r = sy_server_new(&console->server, rpc, &options, &cause);
    if (r == 0)
        r = sy_server_bind(console->server, &cause);
    if (r < 0) {
        sy_error_text_set(error, "console_listen: %s; \"\" runs without a console", cause.text);
        cp_console_free(console);
        return r;
    }
    console->source = (struct cp_page_source){open_channel(rpc, server, server_address), server,
                                              loop};
    cp_page_policy(&console->policy);
    struct sy_http_route route = {
        .verb = "GET", .prefix = "/", .handler = on_get, .ctx = console, .loop = loop};
    sy_server_add_route(console->server, &route);
    route.prefix = PAGES_PATH;
    sy_server_add_route(server, &route);
    *ret_console = console;
    return 0;
}

void cp_console_start(struct cp_console *console)
{
    int r = sy_server_start(console->server, NULL);
    SY_ASSERT(r == 0);
}

int cp_console_port(const struct cp_console *console)
{
    return sy_server_port(console->server);
}

static void on_drained(void *arg)
{
    struct cp_console *console = arg;
    console->drained = true;
    check_stopped(console);
}

void cp_console_stop(struct cp_console *console, sy_fn done, void *ctx)
{
    console->on_stopped = done;
    console->stopped_ctx = ctx;
    sy_server_drain(console->server, 0, console->source.loop, on_drained, console);
}

void cp_console_free(struct cp_console *console)
{
    if (console == NULL)
        return;
    SY_ASSERT(console->visits == 0);
    if (console->source.channel != NULL)
        sy_channel_free(console->source.channel);
    if (console->server != NULL)
        sy_server_free(console->server);
    sy_buf_deinit(&console->policy);
    free(console);
}
