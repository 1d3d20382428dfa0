/* Changes of a registration: from its record to the next one. */
#include "base/mem.h"
#include "controlplane/clusters.h"
#include "proto/pb.h"
#include "scheduler/labels.h"
#include "scheduler/resources.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef Switchyard__Internal__Region__TokenRecord token_record;
typedef Switchyard__Internal__Region__OperatorRecord operator_record;

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* packing only reads */
}

static ProtobufCBinaryData bytes(const uint8_t *data)
{
    return (ProtobufCBinaryData){SY_SHA256_BYTES, (uint8_t *)(uintptr_t)data};
}

/* ---- requests ---- */

int cp_token_settings_check(const Switchyard__V1__TokenSettings *settings,
                            struct sy_error_text *error)
{
    if (settings == NULL)
        return 0;
    if (settings->uses > CP_TOKEN_USES_MAX) {
        sy_error_text_set(error, "token.uses: %u; expected 1 to %u", settings->uses,
                          CP_TOKEN_USES_MAX);
        return -EINVAL;
    }
    if (settings->ttl_ns < 0 || settings->ttl_ns > CP_TOKEN_TTL_MAX_NS) {
        sy_error_text_set(error, "token.ttl_ns: %lld; expected 1 to %lld, which is 365 days",
                          (long long)settings->ttl_ns, (long long)CP_TOKEN_TTL_MAX_NS);
        return -EINVAL;
    }
    return 0;
}

static int read_labels(char ret[SCH_NODE_LABELS_MAX],
                       const Switchyard__V1__CreateClusterRequest *request,
                       struct sy_error_text *error)
{
    struct sy_error_text why = {0};
    memset(ret, 0, SCH_NODE_LABELS_MAX);
    if (sch_labels_parse(ret, SCH_NODE_LABELS_MAX, request->labels, &why) == 0)
        return 0;
    sy_error_text_set(error, "labels: %s", why.text);
    return -EINVAL;
}

int cp_cluster_request_check(const Switchyard__V1__CreateClusterRequest *request,
                             struct sy_error_text *error)
{
    if (cp_name_check("name", request->name, error) < 0 ||
        (request->region[0] != '\0' && cp_name_check("region", request->region, error) < 0) ||
        cp_token_settings_check(request->token, error) < 0)
        return -EINVAL;
    if (request->core_price_micros < 0) {
        sy_error_text_set(error, "core_price_micros: %lld; expected 0 or more",
                          (long long)request->core_price_micros);
        return -EINVAL;
    }
    char labels[SCH_NODE_LABELS_MAX];
    return read_labels(labels, request, error);
}

/* ---- what they have in common ---- */

/* NOT_FOUND, unless it is registered. */
static enum sy_code find(const struct cp_registered *now, const char *name,
                         struct sy_error_text *error)
{
    if (now == NULL || cp_registered_deleted(now)) {
        sy_error_text_set(error, "cluster %s is not registered%s", name,
                          now != NULL ? ": it was deleted" : "");
        return SY_CODE_NOT_FOUND;
    }
    if (now->record == NULL) {
        sy_error_text_set(error, "the record of cluster %s is damaged, or of a newer version",
                          name);
        return SY_CODE_INTERNAL;
    }
    return SY_CODE_OK;
}

/* Lists to which one more is added. */
struct next {
    cp_cluster_record record;
    token_record **tokens, token;
    operator_record **operators, joined;
};

static void next_init(struct next *next, const cp_cluster_record *from)
{
    *next = (struct next){.record = *from};
    next->tokens = sy_calloc(from->n_tokens + 1, sizeof(token_record *));
    next->operators = sy_calloc(from->n_operators + 1, sizeof(operator_record *));
    for (size_t i = 0; i < from->n_tokens; i++)
        next->tokens[i] = from->tokens[i];
    for (size_t i = 0; i < from->n_operators; i++)
        next->operators[i] = from->operators[i];
    next->record.tokens = next->tokens;
    next->record.operators = next->operators;
}

static void next_deinit(struct next *next)
{
    free(next->tokens);
    free(next->operators);
}

/* The oldest that nobody can join with goes for it. False: all of them can be used. */
static bool make_room(struct next *next, int64_t now_ns)
{
    cp_cluster_record *record = &next->record;
    size_t i = 0;
    if (record->n_tokens < CP_CLUSTER_TOKENS_MAX)
        return true;
    while (i < record->n_tokens && strcmp(cp_token_state(next->tokens[i], now_ns), "valid") == 0)
        i++;
    if (i == record->n_tokens)
        return false;
    record->n_tokens--;
    memmove(next->tokens + i, next->tokens + i + 1, (record->n_tokens - i) * sizeof(void *));
    return true;
}

static bool add_token(struct next *next, const struct cp_new_token *token, int64_t now_ns)
{
    const Switchyard__V1__TokenSettings *settings = token->settings;
    cp_cluster_record *record = &next->record;
    if (!make_room(next, now_ns))
        return false;
    switchyard__internal__region__token_record__init(&next->token);
    next->token.number = ++record->last_token;
    next->token.digest = bytes(token->digest);
    next->token.uses_max = settings != NULL && settings->uses > 0 ? settings->uses : 1;
    next->token.created_ns = now_ns;
    next->token.expires_ns = now_ns + (settings != NULL && settings->ttl_ns > 0
                                           ? settings->ttl_ns
                                           : CP_TOKEN_TTL_DEFAULT_NS);
    next->tokens[record->n_tokens++] = &next->token;
    return true;
}

/* ---- the changes ---- */

enum sy_code cp_cluster_create(const struct cp_registered *now,
                               const Switchyard__V1__CreateClusterRequest *request,
                               const struct cp_new_token *token, int64_t now_ns, struct sy_buf *ret,
                               struct sy_error_text *error)
{
    if (now != NULL && !cp_registered_deleted(now)) {
        sy_error_text_set(error, "cluster %s is registered already%s", request->name,
                          now->record == NULL ? ", and its record is damaged, or of a newer version"
                                              : "");
        return SY_CODE_ALREADY_EXISTS;
    }
    char labels[SCH_NODE_LABELS_MAX];
    int r = read_labels(labels, request, error);
    SY_ASSERT(r == 0); /* it was checked */
    cp_cluster_record record = SWITCHYARD__INTERNAL__REGION__CLUSTER_RECORD__INIT;
    record.created_ns = now_ns;
    record.region = text(request->region);
    record.labels = labels;
    record.core_price_micros = request->core_price_micros;
    if (now != NULL) {
        record.former = now->record->former;
        record.n_former = now->record->n_former;
    }
    struct next next;
    next_init(&next, &record);
    bool added = add_token(&next, token, now_ns);
    SY_ASSERT(added);
    pb_pack(&next.record.base, ret);
    next_deinit(&next);
    return SY_CODE_OK;
}

enum sy_code cp_cluster_add_token(const struct cp_registered *now, const char *name,
                                  const struct cp_new_token *token, int64_t now_ns,
                                  struct sy_buf *ret, struct sy_error_text *error)
{
    enum sy_code code = find(now, name, error);
    if (code != SY_CODE_OK)
        return code;
    struct next next;
    next_init(&next, now->record);
    if (add_token(&next, token, now_ns)) {
        pb_pack(&next.record.base, ret);
    } else {
        sy_error_text_set(error, "cluster %s has %u tokens that can be used: revoke some", name,
                          CP_CLUSTER_TOKENS_MAX);
        code = SY_CODE_RESOURCE_EXHAUSTED;
    }
    next_deinit(&next);
    return code;
}

/* A copy of one of its tokens, for a change, in place of it; NULL: there is none. */
static token_record *change_token(struct next *next, size_t i)
{
    next->token = *next->tokens[i];
    next->tokens[i] = &next->token;
    return &next->token;
}

enum sy_code cp_cluster_revoke_token(const struct cp_registered *now, const char *name,
                                     uint32_t number, struct sy_buf *ret,
                                     struct sy_error_text *error)
{
    enum sy_code code = find(now, name, error);
    if (code != SY_CODE_OK)
        return code;
    size_t i = 0;
    while (i < now->record->n_tokens && now->record->tokens[i]->number != number)
        i++;
    if (i == now->record->n_tokens) {
        sy_error_text_set(error, "cluster %s has no token %u", name, number);
        return SY_CODE_NOT_FOUND;
    }
    if (now->record->tokens[i]->revoked)
        return SY_CODE_OK;
    struct next next;
    next_init(&next, now->record);
    change_token(&next, i)->revoked = true;
    pb_pack(&next.record.base, ret);
    next_deinit(&next);
    return SY_CODE_OK;
}

/* ---- joining ---- */

static void put_time(char ret[32], int64_t time_ns)
{
    time_t seconds = (time_t)(time_ns / SY_NS_PER_S);
    struct tm parts;
    ret[0] = '\0';
    if (gmtime_r(&seconds, &parts) != NULL)
        (void)strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static enum sy_code check_token(const token_record *token, const char *cluster, int64_t now_ns,
                                struct sy_error_text *error)
{
    char time[32];
    if (token->revoked) {
        sy_error_text_set(error, "token %u of cluster %s was revoked", token->number, cluster);
    } else if (token->uses >= token->uses_max) {
        sy_error_text_set(error,
                          "token %u of cluster %s is used up: %u of %u operators have joined"
                          " with it",
                          token->number, cluster, token->uses, token->uses_max);
    } else if (now_ns >= token->expires_ns) {
        put_time(time, token->expires_ns);
        sy_error_text_set(error, "token %u of cluster %s expired at %s", token->number, cluster,
                          time);
    } else {
        return SY_CODE_OK;
    }
    return SY_CODE_UNAUTHENTICATED;
}

/* Which of its tokens it is; n_tokens: none. Looks at all of them. */
static size_t find_token(const cp_cluster_record *record, const uint8_t *digest)
{
    size_t found = record->n_tokens;
    for (size_t i = 0; i < record->n_tokens; i++) {
        if (sy_digest_equal(record->tokens[i]->digest.data, digest, SY_SHA256_BYTES))
            found = i;
    }
    return found;
}

static void join(const cp_cluster_record *record, size_t token, const uint8_t *identity,
                 int64_t now_ns, struct sy_buf *ret)
{
    struct next next;
    next_init(&next, record);
    change_token(&next, token)->uses++;
    switchyard__internal__region__operator_record__init(&next.joined);
    next.joined.digest = bytes(identity);
    next.joined.joined_ns = now_ns;
    next.joined.token = next.token.number;
    next.operators[next.record.n_operators++] = &next.joined;
    pb_pack(&next.record.base, ret);
    next_deinit(&next);
}

enum sy_code cp_cluster_join(const struct cp_registered *now, const struct cp_token *token,
                             const uint8_t identity[SY_SHA256_BYTES], int64_t now_ns,
                             struct sy_buf *ret, struct sy_error_text *error)
{
    enum sy_code code = find(now, token->cluster, error);
    if (code != SY_CODE_OK)
        return code;
    const cp_cluster_record *record = now->record;
    if (cp_cluster_has_operator(record, identity))
        return SY_CODE_OK;
    if (cp_cluster_had_operator(record, identity)) {
        sy_error_text_set(error,
                          "this operator's identity was of a cluster %s that is deleted: remove "
                          "the file identity from its data_dir, and join again",
                          token->cluster);
        return SY_CODE_FAILED_PRECONDITION;
    }
    size_t i = find_token(record, token->digest);
    if (i == record->n_tokens) {
        sy_error_text_set(error, "cluster %s has no such token", token->cluster);
        return SY_CODE_UNAUTHENTICATED;
    }
    code = check_token(record->tokens[i], token->cluster, now_ns, error);
    if (code == SY_CODE_OK && record->n_operators >= CP_CLUSTER_OPERATORS_MAX) {
        sy_error_text_set(error, "%zu operators have joined cluster %s: no more do",
                          record->n_operators, token->cluster);
        code = SY_CODE_FAILED_PRECONDITION;
    }
    if (code == SY_CODE_OK)
        join(record, i, identity, now_ns, ret);
    return code;
}

/* ---- the end ---- */

enum sy_code cp_cluster_delete(const struct cp_registered *now, const char *name, int64_t now_ns,
                               struct sy_buf *ret, struct sy_error_text *error)
{
    enum sy_code code = find(now, name, error);
    if (code != SY_CODE_OK)
        return code;
    const cp_cluster_record *before = now->record;
    size_t count = before->n_former + before->n_operators, first = 0, at = 0;
    ProtobufCBinaryData *former = sy_calloc(count + 1, sizeof(*former));
    for (size_t i = 0; i < before->n_former; i++)
        former[at++] = before->former[i];
    for (size_t i = 0; i < before->n_operators; i++)
        former[at++] = before->operators[i]->digest;
    if (count > CP_CLUSTER_FORMER_MAX)
        first = count - CP_CLUSTER_FORMER_MAX;
    cp_cluster_record record = SWITCHYARD__INTERNAL__REGION__CLUSTER_RECORD__INIT;
    record.deleted = true;
    record.deleted_ns = now_ns;
    record.former = former + first;
    record.n_former = count - first;
    pb_pack(&record.base, ret);
    free(former);
    return SY_CODE_OK;
}

/* ---- what people say of it ---- */

enum sy_code cp_cluster_order(const struct cp_registered *now, const char *name,
                              const struct cp_cluster_order *order, struct sy_buf *ret,
                              struct sy_error_text *error)
{
    static const cp_standing standings[] = {
        [CP_CLUSTER_CORDON] = CP_STANDING(CORDONED), [CP_CLUSTER_UNCORDON] = CP_STANDING(OPEN),
        [CP_CLUSTER_DRAIN] = CP_STANDING(DRAINING),  [CP_CLUSTER_FENCE] = CP_STANDING(FENCED),
        [CP_CLUSTER_UNFENCE] = CP_STANDING(OPEN),
    };
    enum cp_cluster_verb verb = order->verb;
    enum sy_code code = find(now, name, error);
    if (code != SY_CODE_OK)
        return code;
    SY_ASSERT(order->deadline_ns >= 0 && (order->deadline_ns == 0 || verb == CP_CLUSTER_DRAIN));
    cp_cluster_record next = *now->record;
    bool fenced = next.standing == CP_STANDING(FENCED);
    if (fenced && verb != CP_CLUSTER_FENCE && verb != CP_CLUSTER_UNFENCE) {
        sy_error_text_set(error, "cluster %s is fenced: unfence it first", name);
        return SY_CODE_FAILED_PRECONDITION;
    }
    if (verb == CP_CLUSTER_UNFENCE && !fenced && next.standing != CP_STANDING(OPEN)) {
        sy_error_text_set(error, "cluster %s is %s, not fenced", name,
                          next.standing == CP_STANDING(CORDONED) ? "cordoned" : "drained");
        return SY_CODE_FAILED_PRECONDITION;
    }
    if (next.standing == standings[verb] && next.drain_deadline_ns == order->deadline_ns)
        return SY_CODE_OK;
    next.standing = standings[verb];
    next.drain_deadline_ns = order->deadline_ns;
    next.drain_asked_ns = order->asked_ns;
    next.fences += verb == CP_CLUSTER_FENCE;
    pb_pack(&next.base, ret);
    return SY_CODE_OK;
}
