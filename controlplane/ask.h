/*
 * A call to the shard that has a partition, wherever that is: unary, or a server stream.
 *
 * While nobody has it, who has it is not there, or who was asked does not have it any more, it is
 * asked again, for CP_ASK_WAIT_NS at most and not beyond the deadline: so a partition that moves is
 * not seen by who asks. That is safe because nothing was done yet. Any other failure is that of who
 * asks, who knows whether it may be repeated; or who says in advance that it changes nothing
 * (`repeatable`): then also who does not answer, or stands still until the partition is another's,
 * is not waited for.
 *
 * Threads: an ask lives on its loop.
 */
#pragma once

#include "base/rpc.h"

#define CP_ASK_WAIT_NS (5 * SY_NS_PER_S)
#define CP_ASK_METADATA_MAX 8
/* With it a call comes from another shard, and goes no further. */
#define CP_FORWARDED_KEY "x-switchyard-forwarded"
/* With it, too: a call over all partitions, for the part that this one has in the answer (of a
 * unary call: in the form of proto/switchyard/internal/parts.proto). */
#define CP_PART_KEY "x-switchyard-part"

/* Who has the partition; NULL: nobody that is known. Asked at each try, on the ask's loop. */
typedef struct sy_channel *(*cp_route_fn)(void *ctx, uint32_t partition);

struct cp_ask_options {
    cp_route_fn route;
    void *route_ctx;
    struct sy_loop *loop;
    uint32_t partition;
    /* Not NULL: which partition it is may change while it is asked for; asked at each try. */
    uint32_t (*find)(void *route_ctx, uint64_t hash);
    uint64_t hash;
    const char *method;                 /* copied */
    const struct sy_metadata *metadata; /* values are copied, keys are not; FORWARDED is added */
    size_t metadata_count;              /* less than CP_ASK_METADATA_MAX */
    int64_t deadline_ns;                /* monotonic; SY_TIME_NEVER: none */
    bool stream;                        /* a server stream, not a unary call */
    bool repeatable; /* a unary call that reads: UNAVAILABLE, whoever says it, is tried again, and
                        so is what somebody else has meanwhile */
};

struct cp_ask_sink {
    void (*on_message)(void *ctx, struct sy_span message); /* not within cp_ask_new() */
    /* The last one, and not within cp_ask_new(); cp_ask_free() is still to come, or comes here. */
    void (*on_closed)(void *ctx, const struct sy_status *status);
};

struct cp_ask;

/* Copies the request; the sink outlives the ask. */
struct cp_ask *cp_ask_new(const struct cp_ask_options *options, struct sy_span request,
                          const struct cp_ask_sink *sink, void *ctx);
/* Of a stream: nothing is heard while it is held; what the other shard sends waits there. */
void cp_ask_hold(struct cp_ask *ask, bool hold);
/* Something has changed: what waits for its next try tries now. */
void cp_ask_hurry(struct cp_ask *ask);
/* It is at a shard while, as far as is known here, another one has the partition by now. */
bool cp_ask_strayed(const struct cp_ask *ask);
/* Routes name that channel no more, and it may be freed while a call that was begun there goes on.
 */
void cp_ask_forget(struct cp_ask *ask, const struct sy_channel *channel);
/* Ends it; nothing more is heard. NULL is nothing. */
void cp_ask_free(struct cp_ask *ask);

/* The answer to such a call for what this shard does not have: nothing was done. */
void cp_ask_refuse(struct sy_call *call, uint32_t partition, const char *shard);
