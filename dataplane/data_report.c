/*
 * GET /report/DOMAIN/PROJECT/RUN/ACTION/ATTEMPT: leads to the attempt's report, by a signed URL of
 * a minute. For pages that cannot sign one: the console's. It gives what CreateDownloadLink gives
 * to the same caller, and as that it asks the control plane where the report lies.
 */
#include "dataplane/data_impl.h"

#include "base/http.h"
#include "base/mem.h"

#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "google/protobuf/duration.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_EXPIRY_S 60

typedef Flyteidl2__Dataproxy__CreateDownloadLinkRequest link_request;
typedef Flyteidl2__Dataproxy__CreateDownloadLinkResponse link_response;

/* A request and the job that finds its report; either may end first. */
struct report_get {
    struct sy_http_request *request; /* NULL: its client has gone */
    bool waits;                      /* for the job */
};

static void reply_text(const struct report_get *get, unsigned status, const char *text)
{
    struct sy_buf body = {0};
    sy_buf_printf(&body, "%s\n", text);
    if (status == 503)
        sy_http_add_header(get->request, "Retry-After", "1");
    sy_http_reply(get->request, status, "text/plain; charset=utf-8", &body);
}

static unsigned http_status(enum sy_code code)
{
    switch (code) {
    case SY_CODE_NOT_FOUND:
        return 404;
    case SY_CODE_INVALID_ARGUMENT:
        return 400;
    case SY_CODE_UNAVAILABLE:
    case SY_CODE_RESOURCE_EXHAUSTED:
    case SY_CODE_DEADLINE_EXCEEDED:
        return 503;
    default:
        return 500;
    }
}

static void redirect(const struct report_get *get, struct sy_span response)
{
    struct sy_arena arena;
    sy_arena_init(&arena, DP_INLINE_BYTES_MAX);
    const link_response *link = pb_unpack(
        &flyteidl2__dataproxy__create_download_link_response__descriptor, &arena, response);
    SY_ASSERT(link && link->pre_signed_urls && link->pre_signed_urls->n_signed_url == 1);
    sy_http_add_header(get->request, "Location", link->pre_signed_urls->signed_url[0]);
    sy_http_add_header(get->request, "Cache-Control", "no-store");
    reply_text(get, 303, link->pre_signed_urls->signed_url[0]);
    sy_arena_deinit(&arena);
}

static void on_link(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct report_get *get = ctx;
    get->waits = false;
    if (!get->request)
        free(get);
    else if (status->code == SY_CODE_OK)
        redirect(get, response);
    else
        reply_text(get, http_status(status->code), status->message.text);
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
    struct report_get *get = ctx;
    (void)sent;
    get->request = NULL;
    if (!get->waits)
        free(get);
}

/* Cuts the path at its slashes; false: it has not these five parts. */
static bool split(char *path, char *ret[5])
{
    for (int i = 0; i < 5; i++) {
        ret[i] = path;
        path = strchr(path, '/');
        if ((path == NULL) != (i == 4) || ret[i][0] == '\0')
            return false;
        if (path)
            *path++ = '\0';
    }
    return true;
}

/* Names are checked by the control plane. */
static void ask_for_link(struct dp_job *job, char *const parts[5], unsigned attempt)
{
    struct {
        link_request link;
        Flyteidl2__Common__ActionAttemptIdentifier attempt;
        Flyteidl2__Common__ActionIdentifier action;
        Flyteidl2__Common__RunIdentifier run;
        Google__Protobuf__Duration expiry;
    } *request = sy_arena_alloc(&job->arena, sizeof(*request));
    SY_ASSERT(request);
    flyteidl2__dataproxy__create_download_link_request__init(&request->link);
    flyteidl2__common__action_attempt_identifier__init(&request->attempt);
    flyteidl2__common__action_identifier__init(&request->action);
    flyteidl2__common__run_identifier__init(&request->run);
    google__protobuf__duration__init(&request->expiry);
    request->run.domain = sy_arena_strdup(&job->arena, parts[0]);
    request->run.project = sy_arena_strdup(&job->arena, parts[1]);
    request->run.name = sy_arena_strdup(&job->arena, parts[2]);
    request->action.name = sy_arena_strdup(&job->arena, parts[3]);
    request->action.run = &request->run;
    request->attempt.action_id = &request->action;
    request->attempt.attempt = attempt;
    request->expiry.seconds = URL_EXPIRY_S;
    request->link.expires_in = &request->expiry;
    request->link.artifact_type = FLYTEIDL2__DATAPROXY__ARTIFACT_TYPE__ARTIFACT_TYPE_REPORT;
    request->link.source_case =
        FLYTEIDL2__DATAPROXY__CREATE_DOWNLOAD_LINK_REQUEST__SOURCE_ACTION_ATTEMPT_ID;
    request->link.action_attempt_id = &request->attempt;
    dp_data_link(job, &request->link);
}

static void on_get(void *ctx, struct sy_http_request *request)
{
    static const struct sy_http_sink sink = {on_body, on_end, on_closed};
    SY_AUTOFREE char *path = sy_strdup(sy_http_path(request) + strlen(DP_REPORT_PATH));
    struct report_get *get = sy_new(struct report_get);
    char *parts[5], *end;
    get->request = request;
    sy_http_set_sink(request, &sink, get);
    unsigned long attempt = split(path, parts) ? strtoul(parts[4], &end, 10) : 0;
    if (attempt == 0 || attempt > UINT32_MAX || *end != '\0') {
        reply_text(get, 404, "expected " DP_REPORT_PATH "DOMAIN/PROJECT/RUN/ACTION/ATTEMPT");
        return;
    }
    get->waits = true;
    struct dp_job *job = dp_job_new_for(ctx, on_link, get);
    if (job)
        ask_for_link(job, parts, (unsigned)attempt);
}

void dp_data_add_report_route(struct dp_data *data, struct sy_server *server)
{
    const struct sy_http_route route = {
        .verb = "GET",
        .prefix = DP_REPORT_PATH,
        .handler = on_get,
        .ctx = data,
        .loop = data->loop,
    };
    sy_server_add_route(server, &route);
}
