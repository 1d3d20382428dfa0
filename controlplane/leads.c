#include "controlplane/leads.h"

#include "base/clock.h"
#include "controlplane/names.h"

#include <string.h>

#define ENDPOINT_BYTES_MAX 4096

/* In `next`: those that stand by, without who asks, and those of whom nothing was heard for long.
 * The newest are kept. True: some are gone. */
static bool keep_standbys(const struct cp_lead_question *question, struct cp_lead_answer *ret)
{
    const cp_lead_record *now = question->now;
    size_t count = 0, all = now != NULL ? now->n_standbys : 0;
    for (size_t i = 0; i < all; i++) {
        cp_standby_record *standby = now->standbys[i];
        bool gone = question->now_ns - standby->asked_ns >= CP_LEAD_GONE_NS ||
                    strcmp(standby->session, question->request->session) == 0;
        if (!gone && count < CP_LEAD_STANDBYS_MAX)
            ret->standbys[count++] = standby;
    }
    ret->next.standbys = ret->standbys;
    ret->next.n_standbys = count;
    return count != all;
}

static void put_mark(const struct cp_lead_question *question, struct cp_lead_answer *ret)
{
    const Switchyard__V1__LeadClusterRequest *request = question->request;
    switchyard__internal__region__standby_record__init(&ret->mark);
    ret->mark.session = request->session;
    ret->mark.endpoint = request->endpoint;
    ret->mark.asked_ns = question->now_ns;
    size_t at = ret->next.n_standbys;
    if (at == CP_LEAD_STANDBYS_MAX)
        at--;
    ret->standbys[at] = &ret->mark;
    ret->next.n_standbys = at + 1;
}

static bool is_marked(const struct cp_lead_question *question)
{
    const cp_lead_record *now = question->now;
    for (size_t i = 0; i < now->n_standbys; i++) {
        const cp_standby_record *standby = now->standbys[i];
        int64_t age_ns = question->now_ns - standby->asked_ns;
        if (strcmp(standby->session, question->request->session) == 0)
            return age_ns >= 0 && age_ns < CP_LEAD_MARK_NS &&
                   strcmp(standby->endpoint, question->request->endpoint) == 0;
    }
    return false;
}

/* Who has it asks. */
static void renew(const struct cp_lead_question *question, struct cp_lead_answer *ret)
{
    const Switchyard__V1__LeadClusterRequest *request = question->request;
    const cp_lead_record *now = question->now;
    bool changed = keep_standbys(question, ret) || request->lease_ns != now->lease_ns ||
                   strcmp(request->endpoint, now->endpoint) != 0 ||
                   strcmp(request->store, now->store) != 0 || request->leaves;
    ret->next.lease_ns = request->lease_ns;
    ret->next.endpoint = request->leaves ? (char *)(uintptr_t) "" : request->endpoint;
    ret->next.store = request->store;
    if (request->leaves)
        ret->next.session = (char *)(uintptr_t) "";
    ret->next.renewals++;
    ret->active = !request->leaves;
    ret->write = changed || ret->next.n_standbys > 0;
}

static bool may_take(const struct cp_lead_question *question)
{
    const Switchyard__V1__LeadClusterRequest *request = question->request;
    const cp_lead_record *now = question->now;
    if (now == NULL || now->session[0] == '\0' || question->holder_left)
        return true;
    bool same = now->identity.len == SY_SHA256_BYTES &&
                sy_digest_equal(now->identity.data, question->identity, SY_SHA256_BYTES);
    return (same && request->fresh) ||
           (request->over_term == now->term && request->over_renewals == now->renewals);
}

static void take(const struct cp_lead_question *question, struct cp_lead_answer *ret)
{
    const Switchyard__V1__LeadClusterRequest *request = question->request;
    uint64_t before = question->now != NULL ? question->now->term : 0;
    (void)keep_standbys(question, ret);
    ret->next.term = (before > request->term_min ? before : request->term_min) + 1;
    ret->next.identity = (ProtobufCBinaryData){SY_SHA256_BYTES,
                                               (uint8_t *)(uintptr_t)question->identity};
    ret->next.session = request->session;
    ret->next.endpoint = request->endpoint;
    ret->next.lease_ns = request->lease_ns;
    ret->next.store = request->store;
    ret->next.renewals = 0;
    ret->next.since_ns = question->now_ns;
    ret->active = ret->write = true;
}

void cp_lead_decide(const struct cp_lead_question *question, struct cp_lead_answer *ret)
{
    const Switchyard__V1__LeadClusterRequest *request = question->request;
    const cp_lead_record *now = question->now;
    SY_ASSERT(request->session[0] != '\0' && request->lease_ns > 0);
    memset(ret, 0, sizeof(*ret));
    switchyard__internal__region__lead_record__init(&ret->next);
    if (now != NULL)
        ret->next = *now;
    if (now != NULL && strcmp(now->session, request->session) == 0) {
        renew(question, ret);
    } else if (!request->leaves && may_take(question)) {
        take(question, ret);
    } else {
        ret->write = keep_standbys(question, ret) && request->leaves;
        if (!request->leaves && !is_marked(question)) {
            put_mark(question, ret);
            ret->write = true;
        }
    }
    SY_ASSERT(!ret->write || ret->next.term > 0 || request->leaves);
}

int cp_lead_request_check(const Switchyard__V1__LeadClusterRequest *request,
                          struct sy_error_text *error)
{
    if (cp_name_check("session", request->session, error) < 0 ||
        cp_text_check("endpoint", request->endpoint, ENDPOINT_BYTES_MAX, error) < 0 ||
        (request->store[0] != '\0' && cp_name_check("store", request->store, error) < 0))
        return -EINVAL;
    if (request->lease_ns < CP_LEAD_LEASE_MIN_NS || request->lease_ns > CP_LEAD_LEASE_MAX_NS) {
        sy_error_text_set(error, "lease_ns: %lld; expected %lld to %lld",
                          (long long)request->lease_ns, (long long)CP_LEAD_LEASE_MIN_NS,
                          (long long)CP_LEAD_LEASE_MAX_NS);
        return -EINVAL;
    }
    if (request->term_min >= UINT64_MAX / 2) {
        sy_error_text_set(error, "term_min: %llu is no term",
                          (unsigned long long)request->term_min);
        return -EINVAL;
    }
    return 0;
}
