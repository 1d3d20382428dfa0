#include "dataplane/lead.h"

#include "base/arena.h"
#include "base/mem.h"
#include "dataplane/events.h"
#include "dataplane/target.h"
#include "proto/pb.h"

#include "switchyard/v1/cluster_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MAX_NS (2 * SY_NS_PER_S)
#define AGAIN_MAX_NS (500 * SY_NS_PER_MS)
#define LEAVE_NS SY_NS_PER_S
#define ANSWER_BYTES_MAX ((size_t)256 << 10)
#define TOLD_MAX 256u /* as dataplane/operator_dial.c takes them */

/* Another's record, as it was first heard of. */
struct sight {
    uint64_t term, renewals;
    int64_t since_ns;
    bool over; /* nothing of it has changed for its lease */
};

struct asked {
    char *target;
    struct sy_channel *channel; /* NULL: it was not asked yet */
};

struct dp_lead {
    struct dp_lead_options options;
    struct dp_lead_sink sink;
    struct asked *shards; /* the configured ones first */
    size_t count, configured, at;
    char **told; /* of the others, by the last answer; taken over when its call is over */
    size_t told_count;
    char *cluster, *authorization, *endpoint, *store;
    char session[27];
    struct sy_rng rng;
    struct sy_call *call; /* NULL: none */
    struct sy_timer again, patience;
    int64_t asked_ns;
    struct sight sight;
    bool answered, heard, stands_by, unreachable; /* heard: at any time; the last two: logged */
    struct {
        bool active, other_store;
        uint64_t term, renewals;
        int64_t lease_ns;
        char endpoint[256];
    } answer;
    sy_fn left; /* it leaves, then calls that */
    void *left_ctx;
    bool told_leaving;
};

static void again_in(struct dp_lead *lead, int64_t delay_ns)
{
    sy_timer_start_in(lead->options.loop, &lead->again, delay_ns);
}

/* ---- the shards that are known ---- */

static void drop_told(struct dp_lead *lead)
{
    for (size_t i = 0; i < lead->told_count; i++)
        free(lead->told[i]);
    free(sy_take(lead->told));
    lead->told_count = 0;
}

/* None: that one knows of none, and those that were told stay. */
static void note_told(struct dp_lead *lead, char *const *targets, size_t count)
{
    drop_told(lead);
    count = count < TOLD_MAX ? count : TOLD_MAX;
    lead->told = sy_calloc(count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        if (dp_target_ok(targets[i]))
            lead->told[lead->told_count++] = sy_strdup(targets[i]);
    }
}

static void asked_deinit(struct asked *shard)
{
    if (shard->channel)
        sy_channel_free(shard->channel);
    free(shard->target);
}

static bool take_from_told(struct dp_lead *lead, const char *target)
{
    for (size_t i = 0; i < lead->told_count; i++) {
        if (strcmp(lead->told[i], target) != 0)
            continue;
        free(lead->told[i]);
        lead->told[i] = lead->told[--lead->told_count];
        return true;
    }
    return false;
}

/* No call is under way. The one that answered is asked next, if it is still known. */
static void take_over_told(struct dp_lead *lead)
{
    if (lead->told_count == 0)
        return;
    size_t kept = 0, at = 0;
    for (size_t i = 0; i < lead->count; i++) {
        bool told = take_from_told(lead, lead->shards[i].target);
        if (i >= lead->configured && !told) {
            asked_deinit(&lead->shards[i]);
            continue;
        }
        at = i == lead->at ? kept : at;
        lead->shards[kept++] = lead->shards[i];
    }
    lead->shards = sy_realloc(lead->shards, (kept + lead->told_count) * sizeof(*lead->shards));
    for (size_t i = 0; i < lead->told_count; i++) {
        struct asked *shard = &lead->shards[kept++];
        *shard = (struct asked){0};
        shard->target = sy_take(lead->told[i]);
    }
    lead->count = kept;
    lead->at = at;
    drop_told(lead);
}

/* ---- the answer ---- */

static void on_message(void *ctx, struct sy_span bytes)
{
    struct dp_lead *lead = ctx;
    struct sy_arena arena SY_CLEANUP(sy_arena_deinit);
    sy_arena_init(&arena, ANSWER_BYTES_MAX);
    const Switchyard__V1__LeadClusterResponse *m = pb_unpack(
        &switchyard__v1__lead_cluster_response__descriptor, &arena, bytes);
    lead->answered = m && m->lease_ns >= 0 && (m->term > 0 || !m->active) &&
                     strlen(m->endpoint) < sizeof(lead->answer.endpoint);
    if (!lead->answered)
        return;
    lead->answer.active = m->active;
    lead->answer.other_store = m->other_store;
    lead->answer.term = m->term;
    lead->answer.renewals = m->renewals;
    lead->answer.lease_ns = m->lease_ns;
    memcpy(lead->answer.endpoint, m->endpoint, strlen(m->endpoint) + 1);
    note_told(lead, m->shards, m->n_shards);
}

static void granted(struct dp_lead *lead)
{
    int64_t lease_ns = lead->options.lease_ns, until_ns = SY_TIME_NEVER;
    lead->sight = (struct sight){0};
    lead->stands_by = false;
    if (lead->answer.lease_ns > 0)
        until_ns = lead->asked_ns + lease_ns - lease_ns / 10;
    again_in(lead, lease_ns / 4);
    lead->sink.active(lead->sink.ctx, lead->answer.term, until_ns);
}

static void look(struct dp_lead *lead)
{
    struct sight *sight = &lead->sight;
    int64_t now_ns = sy_loop_now_ns(lead->options.loop);
    if (sight->term != lead->answer.term || sight->renewals != lead->answer.renewals ||
        sight->since_ns == 0)
        *sight = (struct sight){lead->answer.term, lead->answer.renewals, now_ns, false};
    sight->over = now_ns - sight->since_ns >= lead->answer.lease_ns;
}

static void refused(struct dp_lead *lead)
{
    int64_t step_ns = lead->options.lease_ns / 8;
    look(lead);
    if (!lead->stands_by)
        sy_log(lead->options.log, &dp_events, DP_EV_STANDBY, SY_STR("cluster", lead->cluster),
               SY_STR("active", lead->answer.endpoint), SY_U64("term", lead->answer.term));
    if (!lead->stands_by && lead->answer.other_store)
        sy_log(lead->options.log, &dp_events, DP_EV_OTHER_STORE, SY_STR("cluster", lead->cluster),
               SY_STR("active", lead->answer.endpoint));
    lead->stands_by = true;
    again_in(lead, step_ns < AGAIN_MAX_NS ? step_ns : AGAIN_MAX_NS);
    lead->sink.standby(lead->sink.ctx, lead->answer.endpoint);
}

static void try_another(struct dp_lead *lead, const struct sy_status *status)
{
    bool refusal = status->code == SY_CODE_UNAUTHENTICATED ||
                   status->code == SY_CODE_FAILED_PRECONDITION;
    if (!lead->unreachable)
        sy_log(lead->options.log, &dp_events, refusal ? DP_EV_NOT_LET_IN : DP_EV_SHARD_UNREACHABLE,
               SY_STR("shard", lead->shards[lead->at].target),
               SY_STR("status", sy_code_name(status->code)), SY_STR("why", status->message.text));
    lead->unreachable = true;
    lead->at = (lead->at + 1) % lead->count;
    int64_t step_ns = lead->options.lease_ns / 10;
    step_ns = step_ns < AGAIN_MAX_NS ? step_ns : AGAIN_MAX_NS;
    again_in(lead, step_ns / 2 + (int64_t)sy_rng_below(&lead->rng, (uint64_t)step_ns));
}

static void leave(struct dp_lead *lead);

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct dp_lead *lead = ctx;
    sy_call_unref(sy_take(lead->call));
    take_over_told(lead);
    if (lead->left) {
        leave(lead);
        return;
    }
    if (status->code == SY_CODE_UNIMPLEMENTED || status->code == SY_CODE_PERMISSION_DENIED) {
        lead->sink.active(lead->sink.ctx, 0, SY_TIME_NEVER);
        return;
    }
    if (status->code != SY_CODE_OK || !lead->answered) {
        try_another(lead, status);
        return;
    }
    lead->heard = true;
    lead->unreachable = false;
    if (lead->answer.term > lead->options.term_min)
        lead->options.term_min = lead->answer.term; /* the record may be lost */
    if (lead->answer.active)
        granted(lead);
    else
        refused(lead);
}

/* ---- the question ---- */

static void send_question(struct dp_lead *lead, int64_t timeout_ns)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    const struct sy_metadata metadata[] = {{"x-switchyard-cluster", lead->cluster},
                                           {"authorization", lead->authorization}};
    struct sy_call_options options = {.method = "/switchyard.v1.ClusterService/LeadCluster",
                                      .timeout_ns = timeout_ns,
                                      .metadata = metadata,
                                      .metadata_count = 2};
    Switchyard__V1__LeadClusterRequest request = SWITCHYARD__V1__LEAD_CLUSTER_REQUEST__INIT;
    request.session = lead->session;
    request.endpoint = lead->endpoint;
    request.store = lead->store;
    request.lease_ns = lead->options.lease_ns;
    request.term_min = lead->options.term_min;
    request.fresh = !lead->heard;
    request.leaves = lead->left != NULL;
    if (lead->sight.over) {
        request.over_term = lead->sight.term;
        request.over_renewals = lead->sight.renewals;
    }
    struct asked *shard = &lead->shards[lead->at];
    if (!shard->channel)
        shard->channel = sy_channel_new(lead->options.rpc, shard->target);
    lead->answered = false;
    lead->asked_ns = sy_loop_now_ns(lead->options.loop);
    lead->call = sy_channel_open(shard->channel, lead->options.loop, &options, &sink, lead);
    struct sy_buf bytes = {0};
    pb_pack(&request.base, &bytes);
    int r = sy_call_send(lead->call, &bytes);
    SY_ASSERT(r == 0); /* the first message always has room */
    sy_call_half_close(lead->call);
}

static void ask(void *arg)
{
    struct dp_lead *lead = arg;
    int64_t third_ns = lead->options.lease_ns / 3;
    send_question(lead, third_ns < TIMEOUT_MAX_NS ? third_ns : TIMEOUT_MAX_NS);
}

/* ---- the end ---- */

static void finish(void *arg)
{
    struct dp_lead *lead = arg;
    sy_fn left = sy_take(lead->left);
    sy_timer_stop(lead->options.loop, &lead->patience);
    if (left)
        left(lead->left_ctx);
}

/* Once: no call is under way, as an answer that came later would take back what this one says. */
static void leave(struct dp_lead *lead)
{
    if (lead->told_leaving || !lead->heard) {
        finish(lead);
        return;
    }
    lead->told_leaving = true;
    send_question(lead, LEAVE_NS);
}

static void leave_later(void *arg)
{
    leave(arg);
}

void dp_lead_leave(struct dp_lead *lead, sy_fn done, void *ctx)
{
    SY_ASSERT(done && !lead->left);
    lead->left = done;
    lead->left_ctx = ctx;
    sy_timer_stop(lead->options.loop, &lead->again);
    sy_timer_start_in(lead->options.loop, &lead->patience, LEAVE_NS);
    if (!lead->call) {
        sy_timer_init(&lead->again, leave_later, lead);
        sy_timer_start_in(lead->options.loop, &lead->again, 0);
    }
}

/* ---- life ---- */

void dp_lead_new(struct dp_lead **ret, const struct dp_lead_options *options,
                 const struct dp_lead_sink *sink)
{
    struct dp_lead *lead = sy_new(struct dp_lead);
    lead->options = *options;
    lead->sink = *sink;
    while (options->shards[lead->configured])
        lead->configured++;
    SY_ASSERT(lead->configured > 0 && options->lease_ns > 0);
    lead->shards = sy_calloc(lead->configured, sizeof(*lead->shards));
    for (; lead->count < lead->configured; lead->count++)
        lead->shards[lead->count].target = sy_strdup(options->shards[lead->count]);
    lead->cluster = sy_strdup(options->cluster);
    lead->authorization = sy_strdup(options->authorization);
    lead->endpoint = sy_strdup(options->endpoint);
    lead->store = sy_strdup(options->store);
    sy_rng_init(&lead->rng, options->seed);
    sy_rng_name(&lead->rng, lead->session, sizeof(lead->session) - 1);
    sy_timer_init(&lead->again, ask, lead);
    sy_timer_init(&lead->patience, finish, lead);
    again_in(lead, 0);
    *ret = lead;
}

void dp_lead_set_endpoint(struct dp_lead *lead, const char *endpoint)
{
    if (strcmp(lead->endpoint, endpoint) == 0)
        return;
    free(lead->endpoint);
    lead->endpoint = sy_strdup(endpoint);
    if (sy_timer_running(&lead->again))
        again_in(lead, 0);
}

static void on_nothing(void *ctx, const struct sy_status *status)
{
    (void)ctx;
    (void)status;
}

void dp_lead_free(struct dp_lead *lead)
{
    static const struct sy_call_sink deaf = {.on_closed = on_nothing};
    if (!lead)
        return;
    sy_timer_stop(lead->options.loop, &lead->again);
    sy_timer_stop(lead->options.loop, &lead->patience);
    if (lead->call) {
        sy_call_finish(lead->call, NULL);
        sy_call_set_sink(lead->call, &deaf, NULL);
        sy_call_unref(lead->call);
    }
    drop_told(lead);
    for (size_t i = 0; i < lead->count; i++)
        asked_deinit(&lead->shards[i]);
    explicit_bzero(lead->authorization, strlen(lead->authorization));
    free(lead->authorization);
    free(lead->cluster);
    free(lead->endpoint);
    free(lead->store);
    free(lead->shards);
    free(lead);
}
