/* Life of the adapter, and its lines to etcd's members. */
#include "controlplane/coord_etcd.h"

#include "base/mem.h"
#include "controlplane/events.h"
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

#define TIMEOUT_NS (2 * SY_NS_PER_S)
#define BACKOFF_MIN_NS (50 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (1 * SY_NS_PER_S)
#define TELL_AGAIN_NS (10 * SY_NS_PER_S)
#define ARENA_MAX ((size_t)64 << 20)

/* ---- lines ---- */

void etcd_line_init(struct etcd_line *line, struct etcd *etcd, const struct sy_call_sink *sink,
                    sy_fn again)
{
    line->etcd = etcd;
    line->sink = sink;
    line->owner = etcd;
    line->backoff_ns = BACKOFF_MIN_NS;
    sy_timer_init(&line->again, again, etcd);
}

void etcd_line_open(struct etcd_line *line, const char *method, const ProtobufCMessage *message,
                    int64_t timeout_ns, bool more)
{
    /* A member that is cut off from the others ends such streams instead of keeping quiet. */
    static const struct sy_metadata require_leader = {"hasleader", "true"};
    SY_ASSERT(line->call == NULL);
    sy_timer_stop(line->etcd->base.loop, &line->again);
    struct sy_call_options options = {.method = method,
                                      .timeout_ns = timeout_ns,
                                      .metadata = &require_leader,
                                      .metadata_count = 1};
    line->call = sy_channel_open(line->etcd->members[line->member].channel, line->etcd->base.loop,
                                 &options, line->sink, line->owner);
    etcd_line_send(line, message);
    if (!more)
        sy_call_half_close(line->call);
}

void etcd_line_send(struct etcd_line *line, const ProtobufCMessage *message)
{
    struct sy_buf bytes = {0};
    pb_pack(message, &bytes);
    int r = sy_call_send(line->call, &bytes);
    SY_ASSERT(r == 0); /* one small message at a time */
}

void etcd_line_close(struct etcd_line *line)
{
    if (line->call == NULL)
        return;
    struct sy_call *call = sy_take(line->call);
    sy_call_set_sink(call, NULL, NULL);
    sy_call_finish(call, NULL);
    sy_call_unref(call);
}

/* A member that is down is tried again and again, by two lines. */
static void tell(struct etcd *etcd, struct etcd_member *member)
{
    int64_t now_ns = sy_loop_now_ns(etcd->base.loop);
    if (member->told_ns != 0 && now_ns - member->told_ns < TELL_AGAIN_NS)
        return;
    member->told_ns = now_ns;
    sy_log(etcd->log, &cp_coord_events, CP_COORD_EV_TROUBLE, SY_STR("member", member->name),
           SY_STR("why", etcd->base.trouble.text));
}

void etcd_line_retry(struct etcd_line *line, const struct sy_status *status)
{
    struct etcd *etcd = line->etcd;
    struct etcd_member *member = &etcd->members[line->member];
    sy_error_text_set(&etcd->base.trouble, "etcd %s: %s (%s)", member->name,
                      status->message.text[0] != '\0' ? status->message.text : "no answer",
                      sy_code_name(status->code));
    tell(etcd, member);
    etcd_line_close(line);
    line->member = (line->member + 1) % etcd->member_count;
    int64_t delay_ns = line->backoff_ns / 2;
    delay_ns += (int64_t)sy_rng_below(etcd->rng, (uint64_t)line->backoff_ns);
    line->backoff_ns *= 2;
    if (line->backoff_ns > BACKOFF_MAX_NS)
        line->backoff_ns = BACKOFF_MAX_NS;
    sy_timer_start_in(etcd->base.loop, &line->again, delay_ns);
}

void etcd_line_works(struct etcd_line *line)
{
    struct etcd *etcd = line->etcd;
    line->backoff_ns = BACKOFF_MIN_NS;
    if (etcd->copy_state == ETCD_COPY_WATCHING && etcd->session_state == ETCD_SESSION_HELD)
        etcd->base.trouble.text[0] = '\0';
}

void *etcd_unpack(struct etcd *etcd, const ProtobufCMessageDescriptor *type, struct sy_span bytes)
{
    sy_arena_reset(&etcd->arena);
    return pb_unpack(type, &etcd->arena, bytes);
}

/* ---- life ---- */

static void line_deinit(struct etcd_line *line)
{
    etcd_line_close(line);
    sy_timer_stop(line->etcd->base.loop, &line->again);
}

static void etcd_free(struct cp_coord *coord)
{
    struct etcd *etcd = (struct etcd *)coord;
    etcd_writes_free(etcd);
    line_deinit(&etcd->copy);
    line_deinit(&etcd->session);
    sy_timer_stop(coord->loop, &etcd->renew);
    for (size_t i = 0; i < etcd->member_count; i++) {
        sy_channel_free(etcd->members[i].channel);
        free(etcd->members[i].name);
    }
    free(etcd->members);
    free(etcd->prefix);
    sy_arena_deinit(&etcd->arena);
    cp_coord_deinit(coord);
    free(etcd);
}

void cp_coord_etcd_new(struct cp_coord **ret_coord, struct sy_rpc *rpc, struct sy_loop *loop,
                       struct sy_rng *rng, struct sy_log *log,
                       const struct cp_coord_etcd_options *options,
                       const struct cp_coord_sink *sink)
{
    static const struct cp_coord_adapter adapter = {etcd_write, etcd_session_leave, etcd_free};
    SY_ASSERT(options->endpoint_count > 0 && options->session_ttl_ns >= SY_NS_PER_S);
    struct etcd *etcd = sy_new(struct etcd);
    cp_coord_init(&etcd->base, &adapter, loop, sink);
    etcd->rng = rng;
    etcd->log = log;
    etcd->ttl_ns = options->session_ttl_ns;
    etcd->timeout_ns = options->timeout_ns > 0 ? options->timeout_ns : TIMEOUT_NS;
    etcd->member_count = options->endpoint_count;
    etcd->members = sy_calloc(etcd->member_count, sizeof(*etcd->members));
    for (size_t i = 0; i < etcd->member_count; i++) {
        etcd->members[i].channel = sy_channel_new(rpc, options->endpoints[i]);
        etcd->members[i].name = sy_strdup(options->endpoints[i]);
    }
    struct sy_buf prefix = {0};
    sy_buf_printf(&prefix, "/switchyard/%s/", options->region);
    etcd->prefix_len = prefix.len;
    sy_buf_append(&prefix, "", 1);
    etcd->prefix = (char *)prefix.data;
    sy_arena_init(&etcd->arena, ARENA_MAX);
    sy_error_text_set(&etcd->base.trouble, "etcd %s: no answer yet", etcd->members[0].name);
    etcd_copy_init(etcd);
    etcd_session_init(etcd);
    *ret_coord = &etcd->base;
}
