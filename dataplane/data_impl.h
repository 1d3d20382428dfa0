/*
 * What the files of the data service share. Nobody else includes this header.
 *
 *     data.c         set-up; jobs; asking the control plane
 *     data_shards.c  which shards can be asked
 *     data_upload.c  CreateUploadLocation, and what a PUT brings
 *     data_inputs.c  UploadInputs
 *     data_read.c    GetActionData
 *     data_link.c    CreateDownloadLink
 *     data_http.c    the routes of signed URLs
 *     data_report.c  the route that leads to a report
 */
#pragma once

#include "base/arena.h"
#include "base/digest.h"
#include "dataplane/data.h"
#include "dataplane/events.h"
#include "dataplane/key_file.h"
#include "dataplane/token.h"
#include "dataplane/wire.h"
#include "proto/pb.h"
#include "proto/run_paths.h"

#include <pthread.h>

#define DP_DATA_PATH "/data/" /* of signed URLs */
#define DP_REPORT_PATH "/report/"
#define DP_DATA_TOKEN "token" /* their query parameter */
#define DP_INLINE_BYTES_MAX                                                                        \
    ((size_t)64 << 20) /* of inputs.pb, outputs.pb; the SDK takes 10 MiB                           \
                        */
#define DP_JOBS_MAX 1024
#define DP_UPLOADS_UNDER_WAY_MAX 1024

struct dp_data {
    char *cluster, *endpoint, *staging;
    uint8_t key[DP_KEY_BYTES];
    struct sy_blobs *blobs;
    struct sy_loop *loop;
    struct sy_log *log;
    uint64_t upload_bytes_max;
    struct sy_rpc *rpc;
    struct dp_asked_shard {
        char *target;
        struct sy_channel *channel;
    } * shards;
    size_t shard_count, shard_next; /* the one that answered last is asked first */
    pthread_mutex_t told_lock;      /* of what follows: from the operator's loop to ours */
    char **told;                    /* NULL: nothing new */
    size_t told_count;
    struct dp_job *jobs;
    size_t job_count;
    uint64_t next_upload;
    struct dp_upload *uploads;
    size_t upload_count;
    struct dp_fetch *fetches;
};

void dp_data_shards_init(struct dp_data *data);
void dp_data_shards_deinit(struct dp_data *data);

/* ---- jobs: a unary call, or a GET, that waits for storage or for the control plane ---- */

/* `reply` is borrowed; for a status that is not OK it is empty. */
typedef void (*dp_asked_fn)(struct dp_job *job, struct sy_span reply);

/* `response` is empty unless the status is OK. */
typedef void (*dp_job_ended_fn)(void *ctx, const struct sy_status *status, struct sy_span response);

struct dp_job {
    struct dp_data *data;
    struct sy_call *call;  /* who hears the answer, or */
    dp_job_ended_fn ended; /* with ctx, once */
    void *ctx;
    struct sy_arena arena; /* the request's */
    /* The question under way. */
    struct sy_call *ask;
    const char *method;
    struct sy_buf question, answer;
    size_t tried;
    dp_asked_fn asked;
    /* What the methods gather. */
    struct sy_buf inputs, outputs;
    char *inputs_uri, *outputs_uri;
    const void *request; /* decoded */
    int64_t expires_s;
    struct dp_job *next, *previous;
};

/* NULL when there are too many; the call has failed then. Takes the call. */
struct dp_job *dp_job_new(struct dp_data *data, struct sy_call *call);
/* NULL when there are too many; `ended` has run then. */
struct dp_job *dp_job_new_for(struct dp_data *data, dp_job_ended_fn ended, void *ctx);
/* Each ends the job and frees it. */
void dp_job_reply(struct dp_job *job, struct sy_buf *response);
void dp_job_fail(struct dp_job *job, enum sy_code code, const char *format, ...) SY_PRINTF(3, 4);
void dp_job_fail_blob(struct dp_job *job, int r, const struct sy_error_text *error);
/* Asks one shard after the other until one is there. Takes the question. An answer other than OK is
 * the client's too, and ends the job. */
void dp_job_ask(struct dp_job *job, const char *method, struct sy_buf *question, dp_asked_fn asked);
/* NULL: malformed, and the job has ended. */
const void *dp_job_unpack(struct dp_job *job, const ProtobufCMessageDescriptor *descriptor,
                          struct sy_span answer);

/* ---- helpers ---- */

/* As pb_unpack(), and NULL when a string holds a NUL byte. */
const void *dp_decode(const ProtobufCMessageDescriptor *descriptor, struct sy_arena *arena,
                      struct sy_span bytes);

/* -EINVAL, with a sentence, unless both are names that may be part of a path. */
int dp_check_names(const char *project, const char *domain,
                   struct sy_error_text *error) SY_MUST_USE;
/* The text of a blob's signed URL, without a NUL. */
void dp_put_signed_url(const struct dp_data *data, const char *uri, const struct dp_token *token,
                       struct sy_buf *url);
/* From now, for at most a day (-EINVAL with a sentence); unset: an hour. */
struct Google__Protobuf__Duration;
int dp_expiry(const struct dp_data *data, const struct Google__Protobuf__Duration *expires_in,
              int64_t *ret_expires_s, struct sy_error_text *error) SY_MUST_USE;
/* google.protobuf.Timestamp of whole seconds. */
void dp_put_timestamp(struct sy_buf *message, uint32_t field, int64_t seconds);

/* ---- methods; ctx is the data service ---- */

void dp_data_create_upload_location(void *ctx, struct sy_call *call, struct sy_span request);
void dp_data_upload_inputs(void *ctx, struct sy_call *call, struct sy_span request);
void dp_data_get_action_data(void *ctx, struct sy_call *call, struct sy_span request);
void dp_data_create_download_link(void *ctx, struct sy_call *call, struct sy_span request);

/* As CreateDownloadLink; the request lives in the job's arena. */
struct Flyteidl2__Dataproxy__CreateDownloadLinkRequest;
void dp_data_link(struct dp_job *job,
                  const struct Flyteidl2__Dataproxy__CreateDownloadLinkRequest *request);

/* ---- what a PUT brings ---- */

struct dp_upload;
/* `status` is HTTP's; `text` says why not. */
typedef void (*dp_upload_fn)(void *ctx, unsigned status, const char *text);

struct dp_upload_request {
    const char *blob;  /* key, from the URL's path */
    const char *token; /* NULL: none */
    const char *md5;   /* Content-MD5; NULL: none */
    uint64_t bytes;    /* Content-Length; UINT64_MAX: unknown */
};

/* 0, or HTTP's status with a sentence: nothing is begun then. */
unsigned dp_upload_new(struct dp_upload **ret, struct dp_data *data,
                       const struct dp_upload_request *request, struct sy_error_text *error);
/* 0, or the status with a sentence: nothing more is wanted then. */
unsigned dp_upload_piece(struct dp_upload *upload, struct sy_span piece,
                         struct sy_error_text *error);
/* All has come. `done` runs in a later turn, unless the upload is freed before. */
void dp_upload_end(struct dp_upload *upload, dp_upload_fn done, void *ctx);
/* What has not ended is dropped; what has goes on, and nobody hears of it. */
void dp_upload_free(struct dp_upload *upload);
void dp_uploads_free(struct dp_data *data);

/* Whether the token allows it now; 0, or HTTP's status with a sentence. */
unsigned dp_authorize(const struct dp_data *data, const char *blob, const char *text, bool write,
                      struct dp_token *ret, struct sy_error_text *error);

/* ---- routes ---- */

void dp_data_add_routes(struct dp_data *data, struct sy_server *server);
void dp_data_add_report_route(struct dp_data *data, struct sy_server *server);
void dp_fetches_free(struct dp_data *data);
