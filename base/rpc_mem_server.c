/* Servers and channels of the in-memory transport, and the transport itself with its faults. */
#include "base/rpc_mem.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void mem_rpc_unref(struct mem_rpc *rpc)
{
    if (--rpc->refs > 0)
        return;
    SY_ASSERT(rpc->calls == NULL && rpc->servers == NULL);
    free(rpc->origin);
    free(rpc);
}

void mem_timer_stop(struct sy_loop *loop, struct sy_timer *timer)
{
    if (sy_timer_running(timer)) /* else the loop may be gone already */
        sy_timer_stop(loop, timer);
}

void mem_channel_unref(struct mem_channel *channel)
{
    if (--channel->refs > 0)
        return;
    mem_rpc_unref(channel->rpc);
    free(channel->origin);
    free(channel->target);
    free(channel);
}

void mem_server_unref(struct mem_server *server)
{
    if (--server->refs > 0)
        return;
    mem_rpc_unref(server->rpc);
    sy_rpc_server_deinit(&server->base);
    free(server->origin);
    free(server);
}

struct mem_server *mem_server_find(struct mem_rpc *rpc, const char *address)
{
    struct mem_server *server = rpc->servers;
    while (server != NULL && strcmp(server->base.address, address) != 0)
        server = server->next;
    return server;
}

/* ---- channels and servers ---- */

static void channel_free(struct sy_channel *base)
{
    mem_channel_unref(sy_container_of(base, struct mem_channel, base));
}

static struct sy_channel *channel_new(struct sy_rpc *base, const char *target)
{
    static const struct sy_channel_ops ops = {.call = mem_channel_call, .free = channel_free};
    struct mem_rpc *rpc = sy_container_of(base, struct mem_rpc, base);
    struct mem_channel *channel = sy_new(struct mem_channel);
    channel->base.ops = &ops;
    channel->rpc = rpc;
    channel->origin = sy_strdup(rpc->origin);
    channel->target = sy_strdup(target);
    channel->refs = 1;
    rpc->refs++;
    return &channel->base;
}

static struct mem_server *server_of(struct sy_server *base)
{
    return sy_container_of(base, struct mem_server, base);
}

static void stop_listening(struct mem_server *server)
{
    struct mem_server **at = &server->rpc->servers;
    while (*at != NULL && *at != server)
        at = &(*at)->next;
    if (*at != NULL)
        *at = server->next;
}

/* ":0" becomes a port that no other server of this world has. */
static void assign_port(struct mem_server *server)
{
    char *colon = strrchr(server->base.address, ':');
    if (colon == NULL)
        return;
    server->base.port = atoi(colon + 1);
    if (strcmp(colon, ":0") != 0)
        return;
    server->base.port = server->rpc->next_port++;
    struct sy_buf address = {0};
    *colon = '\0';
    sy_buf_printf(&address, "%s:%d", server->base.address, server->base.port);
    free(server->base.address);
    server->base.address = sy_strndup((const char *)address.data, address.len);
    sy_buf_deinit(&address);
}

static int server_bind(struct sy_server *base, struct sy_error_text *error)
{
    struct mem_server *server = server_of(base);
    if (mem_server_find(server->rpc, base->address) != NULL) {
        sy_error_text_set(error, "address: cannot listen on %s: %s", base->address,
                          strerror(EADDRINUSE));
        return -EADDRINUSE;
    }
    assign_port(server);
    server->state = MEM_SERVER_LISTENING;
    server->next = server->rpc->servers;
    server->rpc->servers = server;
    return 0;
}

/* What was sent meanwhile is delivered in a later turn. */
static void server_start(struct sy_server *base)
{
    SY_ASSERT(server_of(base)->state == MEM_SERVER_LISTENING);
}

static void server_call_begun(struct sy_server *base)
{
    server_of(base)->refs++;
    atomic_fetch_add(&base->calls, 1);
}

static void server_call_freed(struct sy_server *base)
{
    mem_server_unref(server_of(base));
}

static void server_call_done(struct sy_server *base)
{
    struct mem_server *server = server_of(base);
    if (atomic_fetch_sub(&base->calls, 1) == 1 && server->state == MEM_SERVER_DRAINING)
        sy_timer_start_in(base->drain_loop, &server->drained, 0);
}

static void drained(void *arg)
{
    struct mem_server *server = arg;
    mem_timer_stop(server->base.drain_loop, &server->grace);
    server->state = MEM_SERVER_DEAD;
    server->base.on_drained(server->base.drained_ctx);
}

static void grace_is_over(void *arg)
{
    struct mem_server *server = arg;
    int64_t now_ns = sy_loop_now_ns(server->base.drain_loop);
    for (struct mem_call *call = server->rpc->calls; call != NULL; call = call->next)
        if (call->server == server && mem_call_is_server(call) && call->base.life < SY_CALL_DONE)
            mem_call_break(call, now_ns, "the server is shutting down");
}

static void server_drain(struct sy_server *base, int64_t grace_ns)
{
    struct mem_server *server = server_of(base);
    SY_ASSERT(server->state == MEM_SERVER_LISTENING);
    stop_listening(server);
    server->state = MEM_SERVER_DRAINING;
    if (atomic_load(&base->calls) == 0)
        sy_timer_start_in(base->drain_loop, &server->drained, 0);
    else
        sy_timer_start_in(base->drain_loop, &server->grace, grace_ns);
}

/* Ends the side that is dead without a word; the other side finds out. */
static void kill_side(struct mem_call *call)
{
    if (call->peer != NULL)
        mem_call_break(call, sy_loop_now_ns(call->base.loop), "the peer's process died");
    mem_call_abandon(call);
}

static bool side_is_of(const struct mem_call *call, const struct mem_server *server,
                       const char *name)
{
    if (server != NULL)
        return mem_call_is_server(call) && call->server == server;
    if (!mem_call_is_server(call))
        return strcmp(call->channel->origin, name) == 0;
    return strcmp(call->server->origin, name) == 0 || strcmp(call->server->base.address, name) == 0;
}

/* Kills the sides that belong to `server`, or when that is NULL to the process `name`. */
static void kill_sides(struct mem_rpc *rpc, const struct mem_server *server, const char *name)
{
    struct mem_call *call = rpc->calls;
    while (call != NULL) {
        struct mem_call *next = call->next;
        if (call->base.life < SY_CALL_DONE && side_is_of(call, server, name))
            kill_side(call);
        call = next;
    }
}

static void kill_server(struct mem_server *server)
{
    stop_listening(server);
    mem_timer_stop(server->base.drain_loop, &server->grace);
    mem_timer_stop(server->base.drain_loop, &server->drained);
    server->state = MEM_SERVER_DEAD;
}

static void server_free(struct sy_server *base)
{
    struct mem_server *server = server_of(base);
    kill_server(server);
    kill_sides(server->rpc, server, NULL);
    mem_server_unref(server);
}

static struct sy_server *server_new(struct sy_rpc *base, const struct sy_server_options *options)
{
    static const struct sy_server_ops ops = {
        .bind = server_bind,
        .start = server_start,
        .drain = server_drain,
        .call_begun = server_call_begun,
        .call_done = server_call_done,
        .call_freed = server_call_freed,
        .free = server_free,
    };
    struct mem_rpc *rpc = sy_container_of(base, struct mem_rpc, base);
    struct mem_server *server = sy_new(struct mem_server);
    sy_rpc_server_init(&server->base, &ops, options);
    server->rpc = rpc;
    server->origin = sy_strdup(rpc->origin);
    server->refs = 1;
    rpc->refs++;
    sy_timer_init(&server->grace, grace_is_over, server);
    sy_timer_init(&server->drained, drained, server);
    return &server->base;
}

/* ---- the transport ---- */

void sy_rpc_mem_set_origin(struct sy_rpc *base, const char *name)
{
    struct mem_rpc *rpc = sy_container_of(base, struct mem_rpc, base);
    char *origin = sy_strdup(name);
    free(rpc->origin);
    rpc->origin = origin;
}

void sy_rpc_mem_kill(struct sy_rpc *base, const char *name)
{
    struct mem_rpc *rpc = sy_container_of(base, struct mem_rpc, base);
    struct mem_server *server = rpc->servers;
    while (server != NULL) {
        struct mem_server *next = server->next;
        if (strcmp(server->origin, name) == 0 || strcmp(server->base.address, name) == 0)
            kill_server(server);
        server = next;
    }
    kill_sides(rpc, NULL, name);
}

static void mem_rpc_free(struct sy_rpc *base)
{
    struct mem_rpc *rpc = sy_container_of(base, struct mem_rpc, base);
    while (rpc->servers != NULL)
        kill_server(rpc->servers);
    struct mem_call *call = rpc->calls;
    while (call != NULL) {
        struct mem_call *next = call->next;
        mem_call_abandon(call);
        call = next;
    }
    mem_rpc_unref(rpc);
}

int sy_rpc_mem_new(struct sy_rpc **ret_rpc, const struct sy_rpc_mem_plan *plan)
{
    static const struct sy_rpc_ops ops = {
        .server_new = server_new, .channel_new = channel_new, .free = mem_rpc_free};
    struct mem_rpc *rpc = sy_new(struct mem_rpc);
    rpc->base.ops = &ops;
    if (plan != NULL)
        rpc->plan = *plan;
    rpc->origin = sy_strdup("");
    rpc->calls_tail = &rpc->calls;
    rpc->refs = 1;
    rpc->next_port = 1;
    *ret_rpc = &rpc->base;
    return 0;
}
