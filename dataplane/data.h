/*
 * The data plane's public face: flyteidl2.dataproxy.DataProxyService (but TailLogs, which is in
 * operator_logs.c), and the plain HTTP that its signed URLs lead to. Inputs, outputs, code bundles
 * and reports go through here and never through the control plane, which is asked only where an
 * action's files lie.
 *
 * Everything runs on `loop`, which may be a thread's own: storage in files blocks.
 */
#pragma once

#include "base/blob.h"
#include "base/log.h"
#include "base/rpc.h"

struct dp_data;

struct dp_data_options {
    const char *dir; /* for keys and what is half uploaded; exists */
    const char *cluster;
    const struct sy_blob_options *storage;
    int64_t upload_bytes_max;
    struct sy_rpc *rpc;
    struct sy_loop *loop;
    struct sy_log *log;
};

/* Errors of the file system and of the configuration, with a sentence. */
int dp_data_new(struct dp_data **ret, const struct dp_data_options *options,
                struct sy_error_text *error) SY_MUST_USE;
/* Calls under way break off. */
void dp_data_free(struct dp_data *data);
/* Adds methods and routes. */
void dp_data_serve(struct dp_data *data, struct sy_server *server);
/* The shards of the control plane that can be asked from now on; none before. Any thread. */
void dp_data_set_shards(struct dp_data *data, const char *const *targets, size_t count);
/* Where clients reach the server: "host:port", or with http:// or https:// before. Before the loop
 * runs. */
void dp_data_set_endpoint(struct dp_data *data, const char *endpoint);
