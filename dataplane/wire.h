/*
 * Records passed on unread. The two streams of an operator carry attempts' records in the same
 * form (proto/switchyard/internal/dataplane.proto), so the operator reads only who a record is
 * about and copies its bytes. Here is the little of protobuf's wire format that this needs:
 * walking over a message's fields, and writing records. What is rare (hello, demand, inventory) is
 * decoded with protobuf-c, field by field.
 *
 * Everything from outside is checked: a truncated or malformed message gives -EBADMSG and is
 * never read past its end. Nothing here allocates but the sy_buf that is appended to.
 */
#pragma once

#include "base/buf.h"
#include "scheduler/operator.h"

#include <stdbool.h>

#define DP_WIRE_VARINT_MAX 10 /* bytes */

enum dp_wire_type {
    DP_WIRE_VARINT = 0,
    DP_WIRE_FIXED64 = 1,
    DP_WIRE_BYTES = 2,
    DP_WIRE_FIXED32 = 5
};

struct dp_wire_field {
    uint32_t number;
    enum dp_wire_type type;
    uint64_t value;       /* VARINT, FIXED64, FIXED32 */
    struct sy_span bytes; /* BYTES */
};

/* Takes the next field off the front of *rest. 0 = there is one, DP_WIRE_E_END = nothing is left,
 * -EBADMSG. */
#define DP_WIRE_E_END 1
int dp_wire_next(struct sy_span *rest, struct dp_wire_field *ret) SY_MUST_USE;

int dp_wire_take_varint(struct sy_span *rest, uint64_t *ret) SY_MUST_USE;

/* Calls fn for each field of a whole message, in the order of the field numbers up to `number_max`
 * (records of the same number in their order on the wire), which is what dataplane.proto
 * promises; higher numbers are unknown fields and skipped. Ours are sorted already, and walked
 * once to be checked and once to be handled: a malformed message is refused as a whole. Stops when
 * fn returns other than 0, and returns that. */
typedef int (*dp_wire_fn)(void *ctx, const struct dp_wire_field *field);
int dp_wire_each(struct sy_span message, uint32_t number_max, dp_wire_fn fn, void *ctx) SY_MUST_USE;

/* What the operator reads of a record: fields 1-4 are the attempt, the others differ. */
struct dp_record {
    struct sch_attempt_key key;
    uint64_t value5;       /* class, started_ns, call */
    uint64_t value6;       /* spec */
    uint64_t value10;      /* started_ns of an outcome */
    uint64_t value12;      /* priority of an assignment */
    uint64_t value15;      /* queue of an assignment */
    uint64_t value19;      /* suspect of an assignment */
    uint64_t value21;      /* waits of an assignment */
    struct sy_span text17; /* GangMember of an assignment; .data NULL: none */
    struct sy_span text20; /* shares of an assignment, packed */
    struct sy_span text5;  /* reason; no NUL */
};
/* Also -EBADMSG when one of these fields has another type or does not fit. */
int dp_wire_record(struct sy_span bytes, struct dp_record *ret) SY_MUST_USE;

/* Writing. Zero and empty values are left out, as proto3 does. */
void dp_wire_put_varint(struct sy_buf *buf, uint64_t value);
void dp_wire_put_u64(struct sy_buf *buf, uint32_t field, uint64_t value);
void dp_wire_put_bytes(struct sy_buf *buf, uint32_t field, struct sy_span bytes);
void dp_wire_put_text(struct sy_buf *buf, uint32_t field, const char *text);
void dp_wire_put_key(struct sy_buf *buf, const struct sch_attempt_key *key);
/* A sub-message: also written when it is empty. */
void dp_wire_put_record(struct sy_buf *buf, uint32_t field, struct sy_span bytes);

/* How many bytes of whole fields, at most `max`, stand at the front of what dp_wire_put_record()
 * wrote; the first counts even when it alone is larger. */
size_t dp_wire_cut(struct sy_span fields, size_t max);

static inline bool dp_key_equal(const struct sch_attempt_key *a, const struct sch_attempt_key *b)
{
    return a->action == b->action && a->partition == b->partition && a->number == b->number &&
           a->epoch == b->epoch;
}
