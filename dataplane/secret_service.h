/*
 * flyteidl2.secret.SecretService for people, whose answers never hold a value, and
 * switchyard.internal.SecretStore for agents, who hand values to tasks that are about to start; it
 * asks for their token. Values are in no log and in no error.
 *
 * Everything runs on `loop`; changes block on the disk.
 */
#pragma once

#include "dataplane/gate.h"

struct dp_secret_service;

struct dp_secret_service_options {
    const char *dir;      /* secrets.sealed lies there */
    const char *key_file; /* made at the first start */
    const char *cluster;
    const struct dp_gate *gate; /* of SecretStore: the bearer of its token, nobody without one */
    struct sy_loop *loop;
    struct sy_log *log;
};

/* Errors of both files, with a sentence. */
int dp_secret_service_new(struct dp_secret_service **ret,
                          const struct dp_secret_service_options *options,
                          struct sy_error_text *error) SY_MUST_USE;
void dp_secret_service_free(struct dp_secret_service *service);
void dp_secret_service_serve(struct dp_secret_service *service, struct sy_server *server);
