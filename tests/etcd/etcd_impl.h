/*
 * Inside the tests' etcd. etcd.c has members, their leader and faults; request.c the life of a
 * unary request, txn.c what those to the store do; lease.c leases and their streams; watch.c
 * watches; stream.c what streams have in common; kv.c the store.
 */
#pragma once

#include "base/arena.h"
#include "base/map.h"
#include "base/rng.h"
#include "etcd/etcd.pb-c.h"
#include "proto/pb.h"
#include "tests/etcd/etcd.h"
#include "tests/etcd/kv.h"

/* As etcd 3.4 has them by default. */
#define ETCD_ELECTION_NS SY_NS_PER_S
#define ETCD_PATIENCE_NS (7 * SY_NS_PER_S) /* for a leader, or what he should do */
#define ETCD_TTL_MIN_S 2
#define ETCD_TTL_MAX_S 9000000000
#define ETCD_REQUEST_BYTES_MAX ((size_t)3 << 19)
#define ETCD_TXN_OPS_MAX 128
#define ETCD_ARENA_BYTES_MAX ((size_t)256 << 20)

/* Why something was refused; NULL: it was not. */
struct etcd_refusal {
    enum sy_code code;
    const char *text;
};
extern const struct etcd_refusal etcd_no_leader, etcd_lease_not_found;

enum { ETCD_RANGE, ETCD_TXN, ETCD_COMPACT, ETCD_GRANT, ETCD_REVOKE, ETCD_UNARY_METHODS };

struct etcd_member {
    struct fake_etcd *etcd;
    char *address;
    uint64_t id;
    struct sy_server *server; /* NULL: it is down */
    bool cut;
    int64_t applied, compacted; /* what it has heard of the store */
    int64_t leaderless_ns;      /* since when; SY_TIME_NEVER: it has one */
    bool led;                   /* it did, until then */
    int64_t delay_min_ns, delay_max_ns;
    struct etcd_entry {
        struct etcd_member *member;
        const struct etcd_method *method;
    } entries[ETCD_UNARY_METHODS];
    struct sy_map requests, streams;
    struct sy_timer leaderless;
};

struct fake_etcd {
    struct sy_rpc *rpc;
    struct sy_loop *loop;
    struct sy_rng rng;
    struct etcd_kv kv;
    struct sy_map leases;
    struct etcd_member members[FAKE_ETCD_MEMBERS_MAX];
    size_t member_count;
    struct etcd_member *leader; /* NULL: none */
    bool has_quorum;
    struct sy_timer election;
    uint64_t term, heard, next_number;
    size_t draining;
    sy_fn on_drained;
    void *drained_ctx;
};

/* ---- etcd.c ---- */

bool etcd_member_has_leader(const struct etcd_member *member);
/* It has no leader and knows; an election's time after it has lost him. */
bool etcd_member_has_noticed(const struct etcd_member *member);
int64_t etcd_member_delay(struct etcd_member *member);
/* Something was committed: those who hear of it show it. */
void etcd_changed(struct fake_etcd *etcd);
/* Drops what nobody reads any more: not while somebody is behind. */
void etcd_purge(struct fake_etcd *etcd);
Etcdserverpb__ResponseHeader *etcd_header(const struct etcd_member *member, struct sy_arena *arena,
                                          int64_t revision);

/* ---- request.c ---- */

void etcd_requests_add(struct etcd_member *member);
/* There is a leader: one who was elected, or the member has found back. */
void etcd_requests_resume(struct etcd_member *member, bool elected);
/* The leader is gone: what was under way ends, whether it has taken effect or not. */
void etcd_requests_interrupt(struct etcd_member *member);
/* The member is gone. */
void etcd_requests_drop(struct etcd_member *member);
/* Nobody waits for it, and it may happen. */
bool etcd_requests_left(const struct etcd_member *member);

/* ---- txn.c ---- */

const struct etcd_refusal *etcd_range_check(const void *message);
const struct etcd_refusal *etcd_txn_check(const void *message);
/* Each appends its answer. */
const struct etcd_refusal *etcd_range_apply(struct etcd_member *member, struct sy_arena *arena,
                                            const void *message, struct sy_buf *answer);
const struct etcd_refusal *etcd_txn_apply(struct etcd_member *member, struct sy_arena *arena,
                                          const void *message, struct sy_buf *answer);
const struct etcd_refusal *etcd_compact_apply(struct etcd_member *member, struct sy_arena *arena,
                                              const void *message, struct sy_buf *answer);
void etcd_compact_at(struct fake_etcd *etcd, int64_t revision);

/* ---- lease.c ---- */

const struct etcd_refusal *etcd_grant_apply(struct etcd_member *member, struct sy_arena *arena,
                                            const void *message, struct sy_buf *answer);
const struct etcd_refusal *etcd_revoke_apply(struct etcd_member *member, struct sy_arena *arena,
                                             const void *message, struct sy_buf *answer);
bool etcd_lease_exists(const struct fake_etcd *etcd, int64_t id);
/* With a new leader all begin anew; without one none ends. */
void etcd_leases_promote(struct fake_etcd *etcd);
void etcd_leases_demote(struct fake_etcd *etcd);
void etcd_leases_free(struct fake_etcd *etcd);
void etcd_keepalive_add(struct etcd_member *member);
/* Something that renewals may wait for has happened. */
void etcd_keepalives_resume(struct etcd_member *member);

/* ---- watch.c ---- */

void etcd_watch_add(struct etcd_member *member);
/* The member shows more than before. */
void etcd_watches_pump(struct etcd_member *member);
/* It got all that it missed as one copy of the store, not change by change. */
void etcd_watches_restore(struct etcd_member *member);

/* ---- stream.c ---- */

struct etcd_stream {
    struct sy_map_link link;
    uint64_t number;
    struct etcd_member *member;
    struct sy_call *call;
    bool needs_leader, full;
    struct etcd_out *out, **out_tail;
    struct sy_timer out_timer;
    /* Of watches. */
    struct etcd_watch *watches;
    int64_t next_watch_id;
    struct sy_timer sync, progress;
    /* Of renewals: leases, in the order they came; how long the first has waited. */
    struct sy_buf asked;
    struct sy_timer patience;
};

/* NULL: it was refused. */
struct etcd_stream *etcd_stream_new(struct etcd_member *member, struct sy_call *call,
                                    const struct sy_call_sink *sink);
/* In order, after the member's delay. */
void etcd_stream_send(struct etcd_stream *stream, const ProtobufCMessage *message);
/* Ends and frees it; NULL: OK. What was not sent yet is not sent. */
void etcd_stream_end(struct etcd_stream *stream, const struct etcd_refusal *refusal);
void etcd_stream_free(struct etcd_stream *stream);
/* Of a sink whose context is the stream. */
void etcd_stream_writable(void *ctx);
void etcd_stream_closed(void *ctx, const struct sy_status *status);
void etcd_watches_free(struct etcd_stream *stream);
