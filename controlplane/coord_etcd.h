/*
 * Inside coord_etcd: the region's records in an etcd, through etcd's own gRPC API.
 *
 *   coord_etcd.c          life; which member is asked
 *   coord_etcd_copy.c     READING (all records) -> WATCHING (each change), again when that breaks
 *   coord_etcd_session.c  a lease, and its renewal
 *   coord_etcd_write.c    a transaction for each write; told when the copy shows it
 */
#pragma once

#include "base/arena.h"
#include "controlplane/coord_impl.h"

#include "etcd/etcd.pb-c.h"

struct etcd;

/* One stream or question to one member; a broken one is opened again, at another member, later. */
struct etcd_line {
    struct etcd *etcd;
    const struct sy_call_sink *sink;
    void *owner; /* the sink's ctx */
    struct sy_call *call;
    size_t member;
    struct sy_timer again;
    int64_t backoff_ns;
};

struct etcd_member {
    struct sy_channel *channel;
    char *name;      /* its endpoint */
    int64_t told_ns; /* when its last failure was logged; 0: never */
};

enum etcd_copy_state { ETCD_COPY_DOWN, ETCD_COPY_READING, ETCD_COPY_WATCHING };
enum etcd_session_state {
    ETCD_SESSION_NONE,    /* waits before it asks for one */
    ETCD_SESSION_ASKING,  /* for a lease */
    ETCD_SESSION_HELD,    /* is renewed, as well as that goes */
    ETCD_SESSION_LEAVING, /* the lease is given up */
    ETCD_SESSION_LEFT,
};

struct etcd {
    struct cp_coord base;
    struct sy_rng *rng;
    struct sy_log *log;
    struct etcd_member *members;
    size_t member_count;
    char *prefix; /* "/switchyard/REGION/" */
    size_t prefix_len;
    int64_t ttl_ns, timeout_ns;
    struct sy_arena arena; /* of one message */

    enum etcd_copy_state copy_state;
    struct etcd_line copy;

    enum etcd_session_state session_state;
    struct etcd_line session;
    struct sy_timer renew; /* the next renewal is due, or the answer to one is overdue */
    int64_t asked_ns;      /* when what is not answered yet was sent; 0: nothing */
    sy_fn left;
    void *left_ctx;

    struct etcd_write *writes;
};

/* ---- lines ---- */

void etcd_line_init(struct etcd_line *line, struct etcd *etcd, const struct sy_call_sink *sink,
                    sy_fn again);
/* Opens it with one message; timeout_ns 0: none. `more` messages may follow. */
void etcd_line_open(struct etcd_line *line, const char *method, const ProtobufCMessage *message,
                    int64_t timeout_ns, bool more);
void etcd_line_send(struct etcd_line *line, const ProtobufCMessage *message);
void etcd_line_close(struct etcd_line *line);
/* It broke, or was of no use: closed, and `again` runs later, to try the next member. */
void etcd_line_retry(struct etcd_line *line, const struct sy_status *status);
/* It works: the next failure is the first one again. */
void etcd_line_works(struct etcd_line *line);

/* The message lies in etcd->arena; NULL: malformed. */
void *etcd_unpack(struct etcd *etcd, const ProtobufCMessageDescriptor *type, struct sy_span bytes);

/* ---- parts ---- */

void etcd_copy_init(struct etcd *etcd);
void etcd_session_init(struct etcd *etcd);
void etcd_session_leave(struct cp_coord *coord, sy_fn done, void *ctx);
/* The lease is gone, as etcd says. */
void etcd_session_over(struct etcd *etcd);
void etcd_write(struct cp_coord *coord, const struct cp_coord_op *ops, size_t count,
                cp_coord_done_fn done, void *ctx);
/* The copy got on: writes that it shows are told. */
void etcd_writes_look(struct etcd *etcd);
void etcd_writes_free(struct etcd *etcd);
