#include "dataplane/data_impl.h"

#include "base/file.h"
#include "base/mem.h"

#include "google/protobuf/duration.pb-c.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICE "/flyteidl2.dataproxy.DataProxyService/"
#define ARENA_BYTES_MAX ((size_t)64 << 20)
#define ASK_TIMEOUT_NS (10 * SY_NS_PER_S)
#define EXPIRY_DEFAULT_S 3600
#define EXPIRY_MAX_S 86400
#define NAME_MAX_BYTES 63

/* ---- jobs ---- */

static struct dp_job *job_add(struct dp_data *data)
{
    struct dp_job *job = sy_new(struct dp_job);
    job->data = data;
    sy_arena_init(&job->arena, ARENA_BYTES_MAX);
    job->next = data->jobs;
    if (job->next)
        job->next->previous = job;
    data->jobs = job;
    data->job_count++;
    return job;
}

static void set_too_many(struct sy_status *status)
{
    sy_status_set(status, SY_CODE_RESOURCE_EXHAUSTED,
                  "%d calls wait for data, the most allowed; try again later", DP_JOBS_MAX);
}

struct dp_job *dp_job_new(struct dp_data *data, struct sy_call *call)
{
    if (data->job_count >= DP_JOBS_MAX) {
        struct sy_status status = {0};
        set_too_many(&status);
        sy_call_finish(call, &status);
        sy_call_unref(call);
        return NULL;
    }
    struct dp_job *job = job_add(data);
    job->call = call;
    return job;
}

struct dp_job *dp_job_new_for(struct dp_data *data, dp_job_ended_fn ended, void *ctx)
{
    if (data->job_count >= DP_JOBS_MAX) {
        struct sy_status status = {0};
        set_too_many(&status);
        ended(ctx, &status, (struct sy_span){0});
        return NULL;
    }
    struct dp_job *job = job_add(data);
    job->ended = ended;
    job->ctx = ctx;
    return job;
}

static void drop_ask(struct dp_job *job)
{
    static const struct sy_call_sink deaf = {0};
    if (!job->ask)
        return;
    sy_call_finish(job->ask, NULL);
    sy_call_set_sink(job->ask, &deaf, NULL);
    sy_call_unref(sy_take(job->ask));
}

static void job_free(struct dp_job *job)
{
    drop_ask(job);
    if (job->previous)
        job->previous->next = job->next;
    else
        job->data->jobs = job->next;
    if (job->next)
        job->next->previous = job->previous;
    job->data->job_count--;
    sy_arena_deinit(&job->arena);
    sy_buf_deinit(&job->question);
    sy_buf_deinit(&job->answer);
    sy_buf_deinit(&job->inputs);
    sy_buf_deinit(&job->outputs);
    free(job->inputs_uri);
    free(job->outputs_uri);
    free(job);
}

void dp_job_reply(struct dp_job *job, struct sy_buf *response)
{
    static const struct sy_status ok = {.code = SY_CODE_OK};
    if (job->call) {
        sy_call_reply(job->call, response);
    } else {
        job->ended(job->ctx, &ok, sy_buf_span(response));
        sy_buf_deinit(response);
    }
    job_free(job);
}

static void fail(struct dp_job *job, const struct sy_status *status)
{
    SY_ASSERT(status->code != SY_CODE_OK);
    if (job->call) {
        sy_call_finish(job->call, status);
        sy_call_unref(job->call);
    } else {
        job->ended(job->ctx, status, (struct sy_span){0});
    }
    job_free(job);
}

void dp_job_fail(struct dp_job *job, enum sy_code code, const char *format, ...)
{
    struct sy_status status = {0};
    va_list args;
    va_start(args, format);
    sy_status_vset(&status, code, format, args);
    va_end(args);
    fail(job, &status);
}

void dp_job_fail_blob(struct dp_job *job, int r, const struct sy_error_text *error)
{
    enum sy_code code = r == -ENOENT                   ? SY_CODE_NOT_FOUND
                        : r == -EFBIG || r == -ENOSPC  ? SY_CODE_RESOURCE_EXHAUSTED
                        : r == -EINVAL                 ? SY_CODE_INVALID_ARGUMENT
                        : r == -ETIMEDOUT || r == -EIO ? SY_CODE_UNAVAILABLE
                                                       : SY_CODE_INTERNAL;
    if (code == SY_CODE_UNAVAILABLE || code == SY_CODE_INTERNAL || r == -ENOSPC)
        sy_log(job->data->log, &dp_events, DP_EV_STORAGE_FAILED, SY_STR("why", error->text));
    dp_job_fail(job, code, "storage: %s", error->text);
}

/* ---- asking the control plane ---- */

static void ask_next(struct dp_job *job);

static void on_answer(void *ctx, struct sy_span message)
{
    struct dp_job *job = ctx;
    sy_buf_clear(&job->answer);
    sy_buf_append(&job->answer, message.data, message.len);
}

static void on_answered(void *ctx, const struct sy_status *status)
{
    struct dp_job *job = ctx;
    struct dp_data *data = job->data;
    sy_call_unref(sy_take(job->ask));
    if (status->code == SY_CODE_UNAVAILABLE && ++job->tried < data->shard_count) {
        data->shard_next = (data->shard_next + 1) % data->shard_count;
        ask_next(job);
        return;
    }
    if (status->code != SY_CODE_OK)
        fail(job, status);
    else
        job->asked(job, sy_buf_span(&job->answer));
}

/* As a stream, since a stream's call is ours: it can be let go of at any moment. */
static void ask_next(struct dp_job *job)
{
    static const struct sy_call_sink sink = {.on_message = on_answer, .on_closed = on_answered};
    struct dp_data *data = job->data;
    struct sy_call_options options = {.method = job->method, .timeout_ns = ASK_TIMEOUT_NS};
    struct sy_buf question = sy_buf_copy(job->question.data, job->question.len);
    sy_buf_clear(&job->answer);
    job->ask = sy_channel_open(data->shards[data->shard_next].channel, data->loop, &options, &sink,
                               job);
    int r = sy_call_send(job->ask, &question);
    SY_ASSERT(r == 0); /* the first message always has room */
    sy_call_half_close(job->ask);
}

void dp_job_ask(struct dp_job *job, const char *method, struct sy_buf *question, dp_asked_fn asked)
{
    SY_ASSERT(!job->ask);
    if (job->data->shard_count == 0) {
        sy_buf_deinit(question);
        dp_job_fail(job, SY_CODE_UNAVAILABLE, "this operator knows no control plane");
        return;
    }
    job->method = method;
    job->asked = asked;
    job->tried = 0;
    sy_buf_deinit(&job->question);
    job->question = sy_buf_take(question);
    ask_next(job);
}

const void *dp_job_unpack(struct dp_job *job, const ProtobufCMessageDescriptor *descriptor,
                          struct sy_span answer)
{
    const void *message = pb_unpack(descriptor, &job->arena, answer);
    if (!message)
        dp_job_fail(job, SY_CODE_INTERNAL, "the control plane sent a malformed answer");
    return message;
}

/* ---- helpers ---- */

const void *dp_decode(const ProtobufCMessageDescriptor *descriptor, struct sy_arena *arena,
                      struct sy_span bytes)
{
    const void *message = pb_unpack(descriptor, arena, bytes);
    return message && !pb_find_nul(descriptor, bytes) ? message : NULL;
}

static bool is_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len <= NAME_MAX_BYTES && name[len] == '\0' && pb_path_part_valid(name);
}

int dp_check_names(const char *project, const char *domain, struct sy_error_text *error)
{
    if (is_name(project) && is_name(domain))
        return 0;
    bool first = !is_name(project);
    sy_error_text_set(error, "%s: '%.80s' is not a name: 1 to %d letters, digits, '.', '_', '-'",
                      first ? "project" : "domain", first ? project : domain, NAME_MAX_BYTES);
    return -EINVAL;
}

static void put_percent(struct sy_buf *buf, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-._~/";
    for (; *text; text++) {
        if (strchr(plain, *text))
            sy_buf_append(buf, text, 1);
        else
            sy_buf_printf(buf, "%%%02X", (unsigned char)*text);
    }
}

void dp_put_signed_url(const struct dp_data *data, const char *uri, const struct dp_token *token,
                       struct sy_buf *url)
{
    const char *blob = sy_blobs_key(data->blobs, uri);
    SY_ASSERT(blob && data->endpoint);
    sy_buf_printf(url, "%s%s" DP_DATA_PATH, strstr(data->endpoint, "://") ? "" : "http://",
                  data->endpoint);
    put_percent(url, blob);
    sy_buf_append_str(url, "?" DP_DATA_TOKEN "=");
    dp_token_put(url, token, blob, data->key);
}

int dp_expiry(const struct dp_data *data, const Google__Protobuf__Duration *expires_in,
              int64_t *ret_expires_s, struct sy_error_text *error)
{
    int64_t seconds = expires_in && expires_in->seconds != 0 ? expires_in->seconds
                                                             : EXPIRY_DEFAULT_S;
    if (seconds < 0 || seconds > EXPIRY_MAX_S) {
        sy_error_text_set(error, "expires_in: %lld s; expected 1 to %d", (long long)seconds,
                          EXPIRY_MAX_S);
        return -EINVAL;
    }
    *ret_expires_s = sy_loop_realtime_ns(data->loop) / SY_NS_PER_S + seconds;
    return 0;
}

void dp_put_timestamp(struct sy_buf *message, uint32_t field, int64_t seconds)
{
    struct sy_buf timestamp = {0};
    dp_wire_put_u64(&timestamp, 1, (uint64_t)seconds);
    dp_wire_put_record(message, field, sy_buf_span(&timestamp));
    sy_buf_deinit(&timestamp);
}

/* ---- set-up ---- */

/* What an earlier process left half uploaded. */
static int empty_staging(const char *dir)
{
    int r = sy_mkdir_p(dir, 0700);
    DIR *entries = r == 0 ? opendir(dir) : NULL;
    if (!entries)
        return r < 0 ? r : -errno;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) { /* this stream is ours alone */
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
    }
    closedir(entries);
    return 0;
}

static char *path_in(const char *dir, const char *name)
{
    struct sy_buf text = {0};
    sy_buf_printf(&text, "%s/%s", dir, name);
    return (char *)text.data; /* printf has put a NUL behind it */
}

static int open_dirs(struct dp_data *data, const char *dir, struct sy_error_text *error)
{
    SY_AUTOFREE char *key = path_in(dir, "data.key");
    data->staging = path_in(dir, "staging");
    int r = empty_staging(data->staging);
    if (r < 0)
        sy_error_text_set(error, "data_dir: cannot use directory %s: %s", data->staging,
                          strerror(-r));
    return r < 0 ? r : dp_key_file(key, data->key, error);
}

int dp_data_new(struct dp_data **ret, const struct dp_data_options *options,
                struct sy_error_text *error)
{
    SY_ASSERT(options->upload_bytes_max > 0);
    struct dp_data *data = sy_new(struct dp_data);
    data->cluster = sy_strdup(options->cluster);
    data->rpc = options->rpc;
    data->loop = options->loop;
    data->log = options->log;
    data->upload_bytes_max = (uint64_t)options->upload_bytes_max;
    dp_data_shards_init(data);
    int r = open_dirs(data, options->dir, error);
    if (r == 0)
        r = sy_blobs_new(&data->blobs, options->loop, options->storage, error);
    if (r < 0) {
        dp_data_free(data);
        return sy_trace(r);
    }
    *ret = data;
    return 0;
}

void dp_data_set_endpoint(struct dp_data *data, const char *endpoint)
{
    free(data->endpoint);
    data->endpoint = sy_strdup(endpoint);
}

void dp_data_serve(struct dp_data *data, struct sy_server *server)
{
    static const struct sy_method methods[] = {
        {.path = SERVICE "CreateUploadLocation", .handler = dp_data_create_upload_location},
        {.path = SERVICE "UploadInputs", .handler = dp_data_upload_inputs},
        {.path = SERVICE "GetActionData", .handler = dp_data_get_action_data},
        {.path = SERVICE "CreateDownloadLink", .handler = dp_data_create_download_link},
    };
    for (size_t i = 0; i < SY_COUNT_OF(methods); i++) {
        struct sy_method method = methods[i];
        method.kind = SY_METHOD_UNARY;
        method.ctx = data;
        method.loop = data->loop;
        sy_server_add(server, &method);
    }
    dp_data_add_routes(data, server);
    dp_data_add_report_route(data, server);
}

void dp_data_free(struct dp_data *data)
{
    if (!data)
        return;
    sy_blobs_free(data->blobs); /* nothing comes back from there any more */
    struct dp_job *next;
    for (struct dp_job *job = data->jobs; job; job = next) {
        next = job->next;
        dp_job_fail(job, SY_CODE_UNAVAILABLE, "the operator is stopping");
    }
    dp_uploads_free(data);
    dp_fetches_free(data);
    dp_data_shards_deinit(data);
    explicit_bzero(data->key, sizeof(data->key));
    free(data->cluster);
    free(data->endpoint);
    free(data->staging);
    free(data);
}
