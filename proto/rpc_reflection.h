/*
 * Server reflection (grpc.reflection.v1 and v1alpha, which are the same on the wire), so that
 * grpcurl and its kin can list and describe what a server has. Answers from the descriptor set that
 * the build embeds; lists the services that were added to the server.
 */
#pragma once

#include "base/rpc.h"

/* Adds the services; before sy_server_start(). Holds nothing that must be freed. */
void pb_reflection_add(struct sy_server *server, struct sy_loop *loop);
