/*
 * The registered clusters of a region, and who is let in as one.
 *
 * A registration is a record of the coordination port, "clusters/NAME" (ClusterRecord of
 * proto/switchyard/internal/region.proto). The roll is all of them as of one moment: immutable,
 * counted by reference, so that every loop has one to look at. Changes are functions from a record
 * to the next one; who calls them writes it on the condition that the record is still the one that
 * was read.
 *
 * A token is 32 random bytes behind the names of its region and cluster:
 *
 *     sy-join:REGION:CLUSTER:64 hex digits
 *
 * An identity is 32 random bytes that an operator made and keeps. Of both only the SHA-256 is kept
 * here, and compared in a time that does not depend on where it differs.
 *
 * Pure, but for the counting of references, which any thread may do.
 */
#pragma once

#include "base/digest.h"
#include "base/rpc.h"
#include "controlplane/coord.h"
#include "controlplane/names.h"

#include "switchyard/internal/region.pb-c.h"
#include "switchyard/v1/cluster_service.pb-c.h"

#define CP_CLUSTER_KEYS "clusters/"
#define CP_CLUSTER_KEY_SIZE (sizeof(CP_CLUSTER_KEYS) + CP_NAME_LENGTH_MAX)
#define CP_CLUSTER_RECORDS_MAX 1024u /* those that are deleted too */
#define CP_CLUSTER_TOKENS_MAX 32u
#define CP_CLUSTER_OPERATORS_MAX 64u
#define CP_CLUSTER_FORMER_MAX 64u
#define CP_TOKEN_USES_MAX 1000u
#define CP_TOKEN_TTL_DEFAULT_NS (3600 * SY_NS_PER_S)
#define CP_TOKEN_TTL_MAX_NS (365 * 24 * 3600 * SY_NS_PER_S)
#define CP_DRAIN_DEADLINE_MAX_NS (365 * 24 * 3600 * SY_NS_PER_S)
#define CP_SECRET_BYTES 32

typedef Switchyard__Internal__Region__ClusterRecord cp_cluster_record;
typedef Switchyard__Internal__Region__Standing cp_standing;
#define CP_STANDING(name) SWITCHYARD__INTERNAL__REGION__STANDING__STANDING_##name

/* ---- the roll ---- */

struct cp_registered {
    const char *name;
    const cp_cluster_record *record; /* NULL: damaged, or of a newer version */
    int64_t revision;
};
struct cp_roll {
    const char *region;
    size_t count;
    const struct cp_registered *clusters; /* by name, with those that were deleted */
};

/* What the copy shows; borrows nothing. The caller's: cp_roll_unref(). */
const struct cp_roll *cp_roll_new(const struct cp_coord *coord, const char *region);
const struct cp_roll *cp_roll_ref(const struct cp_roll *roll);
void cp_roll_unref(const struct cp_roll *roll); /* NULL is nothing */
/* Whether the copy still shows the same. */
bool cp_roll_is_of(const struct cp_roll *roll, const struct cp_coord *coord);
/* NULL: there is none, nor was any deleted. */
const struct cp_registered *cp_roll_find(const struct cp_roll *roll, const char *name);
bool cp_registered_deleted(const struct cp_registered *registered);
/* What people said of it; OPEN also of one that is not registered. `roll` may be NULL. */
cp_standing cp_roll_standing(const struct cp_roll *roll, const char *name);
/* DRAINING: when what still runs there is stopped (realtime); 0: never. */
int64_t cp_roll_drain_deadline_ns(const struct cp_roll *roll, const char *name);
/* How much is left of it, by this clock: never more than was asked for. SY_TIME_NEVER: no end. */
int64_t cp_roll_drain_left_ns(const struct cp_roll *roll, const char *name, int64_t realtime_ns);
/* Revision of the newest registration; 0: there is none. */
int64_t cp_roll_newest(const struct cp_roll *roll);
/* How often it was fenced, likewise. */
uint64_t cp_roll_fences(const struct cp_roll *roll, const char *name);
/* Whether that is the identity of one that has joined; of a cluster of that name that was deleted.
 */
bool cp_cluster_has_operator(const cp_cluster_record *record, const uint8_t *digest);
bool cp_cluster_had_operator(const cp_cluster_record *record, const uint8_t *digest);

/* ---- who is let in ---- */

struct cp_identity {
    bool shown;
    uint8_t digest[SY_SHA256_BYTES];
};
/* What the call of an operator shows. */
struct cp_identity cp_identity_of(const struct sy_call *call);

#define CP_CLUSTER_METADATA "x-switchyard-cluster" /* who it says it is */

enum cp_admission {
    CP_ADMITTED,
    CP_ADMISSION_UNKNOWN, /* the record cannot be read */
    CP_ADMISSION_REFUSED,
    CP_ADMISSION_FENCED,  /* a person lets nobody in as it, and gave up what it runs */
    CP_ADMISSION_DELETED, /* what it runs was given to others */
};
/* `roll` NULL: it was not read yet. `required`: who is not registered stays out. Fills `error` with
 * one sentence unless it is ADMITTED. */
enum cp_admission cp_roll_admit(const struct cp_roll *roll, bool required, const char *cluster,
                                const struct cp_identity *identity, struct sy_error_text *error);
enum sy_code cp_admission_code(enum cp_admission admission);

/* ---- tokens ---- */

void cp_token_put(struct sy_buf *buf, const char *region, const char *cluster,
                  const uint8_t secret[CP_SECRET_BYTES]);
struct cp_token {
    char region[CP_NAME_LENGTH_MAX + 1], cluster[CP_NAME_LENGTH_MAX + 1];
    uint8_t digest[SY_SHA256_BYTES];
};
/* -EINVAL with a sentence, which does not hold the text. */
int cp_token_read(const char *text, struct cp_token *ret, struct sy_error_text *error) SY_MUST_USE;
const char *cp_token_state(const Switchyard__Internal__Region__TokenRecord *token, int64_t now_ns);

/* ---- changes ---- */

/*
 * Each appends the next record to `ret`, or refuses with a code and a sentence. `now` is the record
 * as it is, NULL: there is none. A refusal is right only if that record is not behind. Times are
 * realtime.
 */
struct cp_new_token {
    const Switchyard__V1__TokenSettings *settings; /* NULL: the defaults */
    uint8_t digest[SY_SHA256_BYTES];
};
enum sy_code cp_cluster_create(const struct cp_registered *now,
                               const Switchyard__V1__CreateClusterRequest *request,
                               const struct cp_new_token *token, int64_t now_ns, struct sy_buf *ret,
                               struct sy_error_text *error);
enum sy_code cp_cluster_add_token(const struct cp_registered *now, const char *name,
                                  const struct cp_new_token *token, int64_t now_ns,
                                  struct sy_buf *ret, struct sy_error_text *error);
/* Nothing is appended when it is revoked already. */
enum sy_code cp_cluster_revoke_token(const struct cp_registered *now, const char *name,
                                     uint32_t number, struct sy_buf *ret,
                                     struct sy_error_text *error);
/* Nothing is appended when that identity is let in already. */
enum sy_code cp_cluster_join(const struct cp_registered *now, const struct cp_token *token,
                             const uint8_t identity[SY_SHA256_BYTES], int64_t now_ns,
                             struct sy_buf *ret, struct sy_error_text *error);

/* What is left says who had joined it, so that they are told. */
enum sy_code cp_cluster_delete(const struct cp_registered *now, const char *name, int64_t now_ns,
                               struct sy_buf *ret, struct sy_error_text *error);

enum cp_cluster_verb {
    CP_CLUSTER_CORDON,
    CP_CLUSTER_UNCORDON,
    CP_CLUSTER_DRAIN,
    CP_CLUSTER_FENCE,
    CP_CLUSTER_UNFENCE
};
/* Nothing is appended when that is so already. DRAIN: `deadline_ns` is realtime, 0 = never, and
 * `asked_ns` what it was from now. */
struct cp_cluster_order {
    enum cp_cluster_verb verb;
    int64_t deadline_ns, asked_ns;
};
enum sy_code cp_cluster_order(const struct cp_registered *now, const char *name,
                              const struct cp_cluster_order *order, struct sy_buf *ret,
                              struct sy_error_text *error);

/* Before a change is asked for: -EINVAL with a sentence that names the field. */
int cp_cluster_request_check(const Switchyard__V1__CreateClusterRequest *request,
                             struct sy_error_text *error) SY_MUST_USE;
int cp_token_settings_check(const Switchyard__V1__TokenSettings *settings,
                            struct sy_error_text *error) SY_MUST_USE;
