/*
 * Which of a cluster's operators is the active one: a record of the coordination port,
 * "leads/NAME" (LeadRecord of proto/switchyard/internal/region.proto). What follows from one
 * question of an operator. Pure.
 *
 * No clock is compared with another's. The active one counts its lease from when it sent the last
 * question that was granted; one that stands by counts the same time from when it first saw the
 * record as it is, which was written after that question had been sent. So the active one knows
 * that its lease is over before another has seen it over; and what it still says then carries a
 * term that partitions and agents refuse once they have heard of the next.
 *
 * While nobody stands by, nothing is written, and the lease does not end.
 */
#pragma once

#include "base/clock.h"
#include "base/digest.h"
#include "base/error.h"

#include "switchyard/internal/region.pb-c.h"
#include "switchyard/v1/cluster_service.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define CP_LEAD_KEYS "leads/"
#define CP_LEAD_LEASE_MIN_NS (100 * SY_NS_PER_MS)
#define CP_LEAD_LEASE_MAX_NS (3600 * SY_NS_PER_S)
#define CP_LEAD_STANDBYS_MAX 8u
/* That one stands by is written anew so often, and believed for so long. */
#define CP_LEAD_MARK_NS (5 * SY_NS_PER_S)
#define CP_LEAD_GONE_NS (60 * SY_NS_PER_S)

typedef Switchyard__Internal__Region__LeadRecord cp_lead_record;
typedef Switchyard__Internal__Region__StandbyRecord cp_standby_record;

struct cp_lead_question {
    const Switchyard__V1__LeadClusterRequest *request;
    const uint8_t *identity;   /* digest of who asks */
    const cp_lead_record *now; /* NULL: there is none */
    bool holder_left;          /* its operator has not joined the cluster as it is now */
    int64_t now_ns;            /* realtime */
};

struct cp_lead_answer {
    bool active; /* once it is written, or found to be so still */
    bool write;  /* `next` in place of the record; else it stands */
    cp_lead_record next;
    cp_standby_record *standbys[CP_LEAD_STANDBYS_MAX], mark;
};
/* `ret` borrows from the question, and is not to be moved. */
void cp_lead_decide(const struct cp_lead_question *question, struct cp_lead_answer *ret);

/* -EINVAL with a sentence that names the field. */
int cp_lead_request_check(const Switchyard__V1__LeadClusterRequest *request,
                          struct sy_error_text *error) SY_MUST_USE;
