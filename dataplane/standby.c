#include "dataplane/standby.h"

#include "base/mem.h"
#include "proto/pb.h"
#include "proto/rpc_health.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS_MAX 20000

struct dp_standby {
    struct sy_server *server;
    struct sy_loop *loop;
    struct pb_health *health;
    char *cluster;
    char active[256];
};

static void attend(void *ctx, struct sy_call *call, struct sy_span request)
{
    const struct dp_standby *standby = ctx;
    (void)request;
    if (standby->active[0])
        sy_call_fail(call, SY_CODE_UNAVAILABLE,
                     "this operator of cluster %s stands by: the active one is %s",
                     standby->cluster, standby->active);
    else
        sy_call_fail(call, SY_CODE_UNAVAILABLE,
                     "this operator of cluster %s stands by, and has heard of no active one",
                     standby->cluster);
}

static void lead(void *ctx, struct sy_call *call, struct sy_span request)
{
    Switchyard__Internal__LeadResponse response = SWITCHYARD__INTERNAL__LEAD_RESPONSE__INIT;
    struct sy_buf bytes = {0};
    (void)ctx;
    (void)request;
    pb_pack(&response.base, &bytes);
    sy_call_reply(call, &bytes);
}

int dp_standby_new(struct dp_standby **ret, struct sy_rpc *rpc, struct sy_loop *loop,
                   const char *cluster, const char *listen, struct sy_error_text *error)
{
    struct sy_server_options options = {.address = listen, .streams_max = STREAMS_MAX};
    struct dp_standby *standby = sy_new(struct dp_standby);
    standby->loop = loop;
    standby->cluster = sy_strdup(cluster);
    int r = sy_server_new(&standby->server, rpc, &options, error);
    if (r == 0) {
        sy_server_add(standby->server,
                      &(struct sy_method){.path = "/switchyard.internal.DataPlane/Attend",
                                          .kind = SY_METHOD_BIDI,
                                          .handler = attend,
                                          .ctx = standby,
                                          .loop = loop});
        sy_server_add(standby->server,
                      &(struct sy_method){.path = "/switchyard.internal.DataPlane/Lead",
                                          .kind = SY_METHOD_UNARY,
                                          .handler = lead,
                                          .ctx = standby,
                                          .loop = loop});
        standby->health = pb_health_new(standby->server, loop); /* and does not serve */
        r = sy_server_start(standby->server, error);
    }
    if (r < 0) {
        dp_standby_free(standby);
        return r;
    }
    *ret = standby;
    return 0;
}

int dp_standby_port(const struct dp_standby *standby)
{
    return sy_server_port(standby->server);
}

void dp_standby_set_active(struct dp_standby *standby, const char *endpoint)
{
    snprintf(standby->active, sizeof(standby->active), "%s", endpoint);
}

void dp_standby_stop(struct dp_standby *standby, sy_fn done, void *ctx)
{
    pb_health_stop(standby->health);
    sy_server_drain(standby->server, 0, standby->loop, done, ctx);
}

void dp_standby_free(struct dp_standby *standby)
{
    if (!standby)
        return;
    sy_server_free(standby->server);
    pb_health_free(standby->health);
    free(standby->cluster);
    free(standby);
}
