/* The forks of a split, of standby_impl.h: the owner's shard forks its copy, and has the standby in
 * sync fork its own at the same end of the log, before any record says that there are two
 * partitions; and who begins with a fork takes it. */
#include "base/mem.h"
#include "controlplane/events.h"
#include "controlplane/standby_impl.h"
#include "proto/pb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For a fork on another shard, whose logs are copied; nobody is served meanwhile. */
#define PATIENCE_NS (5 * SY_NS_PER_S)
#define UNPACK_BYTES_MAX ((size_t)64 << 10)

typedef Switchyard__Internal__FollowerMessage FollowerMessage;

/* From when the owner's copy was forked until the standby has answered. */
struct cp_forking {
    struct cp_copying *copying;
    struct cp_forked_copies made;
    char peer[CP_NAME_LENGTH_MAX + 1];
    struct sy_call *call;
    void (*done)(struct cp_lane *lane, const struct cp_forked_copies *made, const char *why);
};

int cp_copying_fork_own(struct cp_copying *copying, uint32_t epoch, uint64_t *ret_id,
                        struct sy_error_text *error)
{
    const struct cp_store_opener *opener = copying->opener;
    struct cp_copies *port = copying->port;
    struct cp_lane *lane = copying->lane;
    *ret_id = sy_rng_u64(&lane->rng) | 1;
    if (opener->fork == NULL) {
        sy_error_text_set(error, "its storage cannot be split");
        return -EOPNOTSUPP;
    }
    int r = opener->fork(opener->ctx, epoch, error);
    if (r == 0)
        r = port->name_fork(port->ctx, lane->index, epoch, *ret_id, error);
    if (r < 0 && error->text[0] == '\0')
        sy_error_text_set(error, "%s", strerror(-r));
    return sy_trace(r);
}

/* ---- the owner ---- */

void cp_forking_end(struct cp_copying *copying)
{
    struct cp_forking *forking = sy_take(copying->forking);
    if (forking == NULL)
        return;
    if (forking->call != NULL) {
        sy_call_set_sink(forking->call, NULL, NULL);
        sy_call_finish(forking->call, NULL);
        sy_call_unref(forking->call);
    }
    free(forking);
}

/* `why` NULL: the standby has forked. */
static void end(struct cp_forking *forking, const char *why)
{
    struct cp_lane *lane = forking->copying->lane;
    struct cp_forking ended = *forking;
    struct sy_error_text text = {0};
    if (why != NULL)
        sy_error_text_set(&text, "its standby %s could not fork its copy: %s", ended.peer, why);
    cp_forking_end(lane->copying);
    ended.done(lane, &ended.made, text.text);
}

static void on_message(void *ctx, struct sy_span bytes)
{
    struct cp_forking *forking = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, UNPACK_BYTES_MAX);
    const FollowerMessage *m = pb_unpack(&switchyard__internal__follower_message__descriptor,
                                         &arena, bytes);
    bool forked = m != NULL &&
                  m->message_case == SWITCHYARD__INTERNAL__FOLLOWER_MESSAGE__MESSAGE_FORKED;
    forking->made.beside = forked ? m->forked->copy : 0;
    sy_arena_deinit(&arena);
    end(forking, forking->made.beside != 0 ? NULL : "it does not know how");
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    end(ctx, status->message.text[0] != '\0' ? status->message.text : sy_code_name(status->code));
}

static void ask(struct cp_forking *forking, struct sy_channel *channel, struct cp_log_mark closed)
{
    static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};
    struct cp_lane *lane = forking->copying->lane;
    char number[16];
    snprintf(number, sizeof(number), "%u", lane->index);
    struct sy_metadata metadata = {"x-switchyard-partition", number};
    struct sy_call_options options = {
        .method = CP_FOLLOW, .metadata = &metadata, .metadata_count = 1, .timeout_ns = PATIENCE_NS};
    Switchyard__Internal__OwnerMessage m = SWITCHYARD__INTERNAL__OWNER_MESSAGE__INIT;
    Switchyard__Internal__OwnerMessage__Fork fork = SWITCHYARD__INTERNAL__OWNER_MESSAGE__FORK__INIT;
    Switchyard__Internal__LogMark mark = SWITCHYARD__INTERNAL__LOG_MARK__INIT;
    struct sy_buf bytes = {0};
    mark.epoch = fork.epoch = closed.epoch;
    mark.position = closed.position;
    fork.copy = forking->made.of;
    fork.end = &mark;
    m.message_case = SWITCHYARD__INTERNAL__OWNER_MESSAGE__MESSAGE_FORK;
    m.fork = &fork;
    pb_pack(&m.base, &bytes);
    forking->call = sy_channel_open(channel, lane->loop, &options, &sink, forking);
    if (sy_call_send(forking->call, &bytes) < 0) {
        sy_buf_deinit(&bytes);
        end(forking, "it cannot be asked");
    }
}

/* Another than the standby in sync need not be asked: the new record names as many as the old. */
bool cp_copying_fork(struct cp_lane *lane, uint32_t epoch,
                     void (*done)(struct cp_lane *lane, const struct cp_forked_copies *made,
                                  const char *why))
{
    struct cp_copying *copying = lane->copying;
    if (copying == NULL)
        return false;
    const struct cp_copy_record *record = &copying->record;
    struct cp_log_mark closed = cp_owner_closed(copying, epoch);
    struct cp_forked_copies made = {.of = record->beside};
    struct sy_error_text why = {0};
    SY_ASSERT(copying->forking == NULL);
    if (closed.epoch == 0)
        sy_error_text_set(&why, "where its log ends is not known");
    else if (record->beside != 0 && record->channel == NULL)
        sy_error_text_set(&why, "its standby %s is not there", record->peer);
    else if (cp_copying_fork_own(copying, epoch, &made.own, &why) < 0)
        made.own = 0;
    if (why.text[0] != '\0' || record->beside == 0) {
        done(lane, &made, why.text);
        return true;
    }
    struct cp_forking *forking = sy_new(struct cp_forking);
    *forking = (struct cp_forking){.copying = copying, .made = made, .done = done};
    memcpy(forking->peer, record->peer, sizeof(forking->peer));
    copying->forking = forking;
    ask(forking, record->channel, closed);
    return true;
}

/* ---- who begins with it ---- */

void cp_copying_adopt(struct cp_copying *copying)
{
    const struct cp_copy_record *record = &copying->record;
    const struct cp_store_opener *opener = copying->opener;
    uint32_t partition = copying->lane->index;
    struct cp_own_copy copy = {0};
    struct sy_error_text error = {0};
    if (copying->copy != 0 || record->parent_epoch == 0 || opener->adopt == NULL ||
        !cp_follower_side_idle(copying))
        return;
    int r = opener->adopt(opener->ctx, record->parent, record->parent_epoch, &error);
    if (r == -ENOENT)
        return; /* nothing was forked here */
    if (r == 0)
        r = copying->port->read(copying->port->ctx, partition, &copy, &error);
    if (r < 0)
        sy_log(copying->lane->shard->log, &cp_shard_events, CP_SHARD_EV_COPY_FAILED,
               SY_U64("partition", partition), SY_STR("error", error.text));
    else
        cp_copying_made(copying, copy.id);
}
