/*
 * The console: pages for people, and metrics, over plain HTTP. It reads only, and only what the
 * shard's own services tell, as a client of them: so it shows what the API would, and any shard can
 * show any run. It runs on one loop (the front's).
 *
 *     GET /v2/domain/DOMAIN/project/PROJECT/runs/RUN   one run, as Flyte's SDK links to it
 *     GET /v2/ (and / where it listens)                the newest runs, clusters, nodes
 *     GET /metrics                                     Prometheus text (where it listens)
 *
 * No path leads to a file. Whoever reaches it sees what whoever reaches the services may read.
 */
#pragma once

#include "base/http.h"
#include "base/loop.h"
#include "base/rpc.h"

struct cp_console;

/* Binds `listen`, "host:port" or "unix:/path". The port and other causes of failure are named in
 * `error`. `server` is the shard's: it is bound, and not started yet; /v2/ is served there too,
 * since the SDK's links lead to the port of the services unless that is localhost:8090. */
int cp_console_new(struct cp_console **ret_console, const char *listen, struct sy_rpc *rpc,
                   struct sy_server *server, const char *server_address, struct sy_loop *loop,
                   struct sy_error_text *error) SY_MUST_USE;
void cp_console_start(struct cp_console *console);
int cp_console_port(const struct cp_console *console);
/* After the server has drained; done(ctx) runs when no page is being made any more. */
void cp_console_stop(struct cp_console *console, sy_fn done, void *ctx);
/* After the stop, or when it never started. */
void cp_console_free(struct cp_console *console);
