/*
 * grpc.health.v1.Health for a server: one status for the whole of it and for each of its services.
 * Everything on the loop that was given.
 */
#pragma once

#include "base/rpc.h"

#include <stdbool.h>

struct pb_health;

/* Adds the service; before sy_server_start(). Not serving at first. */
struct pb_health *pb_health_new(struct sy_server *server, struct sy_loop *loop);
void pb_health_set_serving(struct pb_health *health, bool serving);
/* Not serving any more, for good: ends the watches, which a drain would else wait for. Before
 * sy_server_drain(). */
void pb_health_stop(struct pb_health *health);
/* NULL is fine. The server must not call it any more: after the drain. */
void pb_health_free(struct pb_health *health);
