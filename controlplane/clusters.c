#include "controlplane/clusters.h"

#include "base/arena.h"
#include "base/mem.h"
#include "proto/pb.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "authorization"
#define SCHEME "Bearer "

/* ---- the roll ---- */

struct roll {
    struct cp_roll base; /* first */
    atomic_uint refs;
    struct sy_arena arena;
    int64_t newest; /* revision of the last change among them */
};

struct seen {
    size_t count;
    int64_t newest;
};

static struct seen look(const struct cp_coord *coord)
{
    struct seen seen = {0};
    const struct cp_coord_record *record = cp_coord_next(coord, CP_CLUSTER_KEYS, NULL);
    for (; record != NULL; record = cp_coord_next(coord, CP_CLUSTER_KEYS, record->key)) {
        seen.count++;
        seen.newest = record->revision > seen.newest ? record->revision : seen.newest;
    }
    return seen;
}

static bool is_whole(const cp_cluster_record *record)
{
    for (size_t i = 0; i < record->n_tokens; i++) {
        if (record->tokens[i]->digest.len != SY_SHA256_BYTES)
            return false;
    }
    for (size_t i = 0; i < record->n_operators; i++) {
        if (record->operators[i]->digest.len != SY_SHA256_BYTES)
            return false;
    }
    for (size_t i = 0; i < record->n_former; i++) {
        if (record->former[i].len != SY_SHA256_BYTES)
            return false;
    }
    return true;
}

static struct cp_registered read_record(struct sy_arena *arena, const struct cp_coord_record *from)
{
    const char *name = sy_arena_strdup(arena, from->key + strlen(CP_CLUSTER_KEYS));
    const cp_cluster_record *record = pb_unpack(
        &switchyard__internal__region__cluster_record__descriptor, arena,
        sy_buf_span(&from->value));
    SY_ASSERT(name != NULL);
    return (struct cp_registered){name, record != NULL && is_whole(record) ? record : NULL,
                                  from->revision};
}

const struct cp_roll *cp_roll_new(const struct cp_coord *coord, const char *region)
{
    struct seen seen = look(coord);
    struct roll *roll = sy_new(struct roll);
    atomic_init(&roll->refs, 1);
    roll->newest = seen.newest;
    /* a record is a few times its size when it is decoded */
    sy_arena_init(&roll->arena, (seen.count + 1) * 8 * CP_COORD_VALUE_MAX);
    struct cp_registered *clusters = sy_arena_alloc(&roll->arena, seen.count * sizeof(*clusters));
    roll->base.region = sy_arena_strdup(&roll->arena, region);
    SY_ASSERT(clusters != NULL && roll->base.region != NULL);
    roll->base.clusters = clusters;
    const struct cp_coord_record *record = cp_coord_next(coord, CP_CLUSTER_KEYS, NULL);
    for (; record != NULL; record = cp_coord_next(coord, CP_CLUSTER_KEYS, record->key))
        clusters[roll->base.count++] = read_record(&roll->arena, record);
    SY_ASSERT(roll->base.count == seen.count);
    return &roll->base;
}

static struct roll *unconst(const struct cp_roll *roll)
{
    return (struct roll *)(uintptr_t)roll;
}

const struct cp_roll *cp_roll_ref(const struct cp_roll *roll)
{
    atomic_fetch_add(&unconst(roll)->refs, 1);
    return roll;
}

void cp_roll_unref(const struct cp_roll *roll)
{
    struct roll *mine = unconst(roll);
    if (mine == NULL || atomic_fetch_sub(&mine->refs, 1) > 1)
        return;
    sy_arena_deinit(&mine->arena);
    free(mine);
}

bool cp_roll_is_of(const struct cp_roll *roll, const struct cp_coord *coord)
{
    struct seen seen = look(coord);
    return seen.count == roll->count && seen.newest == unconst(roll)->newest;
}

static int compare(const void *name, const void *registered)
{
    return strcmp(name, ((const struct cp_registered *)registered)->name);
}

const struct cp_registered *cp_roll_find(const struct cp_roll *roll, const char *name)
{
    if (roll->count == 0)
        return NULL;
    return bsearch(name, roll->clusters, roll->count, sizeof(*roll->clusters), compare);
}

bool cp_registered_deleted(const struct cp_registered *registered)
{
    return registered->record != NULL && registered->record->deleted;
}

/* NULL: it is not registered. */
static const cp_cluster_record *record_of(const struct cp_roll *roll, const char *name)
{
    const struct cp_registered *registered = roll != NULL ? cp_roll_find(roll, name) : NULL;
    return registered != NULL ? registered->record : NULL;
}

cp_standing cp_roll_standing(const struct cp_roll *roll, const char *name)
{
    const cp_cluster_record *record = record_of(roll, name);
    return record != NULL ? record->standing : CP_STANDING(OPEN);
}

int64_t cp_roll_drain_deadline_ns(const struct cp_roll *roll, const char *name)
{
    const cp_cluster_record *record = record_of(roll, name);
    return record != NULL ? record->drain_deadline_ns : 0;
}

int64_t cp_roll_drain_left_ns(const struct cp_roll *roll, const char *name, int64_t realtime_ns)
{
    const cp_cluster_record *record = record_of(roll, name);
    if (record == NULL || record->drain_deadline_ns == 0)
        return SY_TIME_NEVER;
    int64_t left_ns = record->drain_deadline_ns - realtime_ns;
    return record->drain_asked_ns > 0 && left_ns > record->drain_asked_ns ? record->drain_asked_ns
                                                                          : left_ns;
}

uint64_t cp_roll_fences(const struct cp_roll *roll, const char *name)
{
    const cp_cluster_record *record = record_of(roll, name);
    return record != NULL ? record->fences : 0;
}

int64_t cp_roll_newest(const struct cp_roll *roll)
{
    return unconst(roll)->newest;
}

/* ---- who is let in ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly so many, and then the end. */
static bool read_secret(const char *text, uint8_t ret[CP_SECRET_BYTES])
{
    if (strlen(text) != (size_t)2 * CP_SECRET_BYTES)
        return false;
    for (size_t i = 0; i < CP_SECRET_BYTES; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void digest_secret(uint8_t secret[CP_SECRET_BYTES], uint8_t ret[SY_SHA256_BYTES])
{
    sy_sha256((struct sy_span){secret, CP_SECRET_BYTES}, ret);
    explicit_bzero(secret, CP_SECRET_BYTES);
}

struct cp_identity cp_identity_of(const struct sy_call *call)
{
    struct cp_identity identity = {0};
    uint8_t secret[CP_SECRET_BYTES];
    const char *text = sy_call_metadata(call, HEADER);
    if (text == NULL || strncmp(text, SCHEME, strlen(SCHEME)) != 0)
        return identity;
    identity.shown = true; /* one that is malformed is that of nobody */
    if (read_secret(text + strlen(SCHEME), secret))
        digest_secret(secret, identity.digest);
    return identity;
}

static bool equal(const ProtobufCBinaryData *a, const uint8_t *b)
{
    SY_ASSERT(a->len == SY_SHA256_BYTES);
    return sy_digest_equal(a->data, b, SY_SHA256_BYTES);
}

bool cp_cluster_has_operator(const cp_cluster_record *record, const uint8_t *digest)
{
    bool found = false;
    for (size_t i = 0; i < record->n_operators; i++)
        found |= equal(&record->operators[i]->digest, digest);
    return found;
}

bool cp_cluster_had_operator(const cp_cluster_record *record, const uint8_t *digest)
{
    bool found = false;
    for (size_t i = 0; i < record->n_former; i++)
        found |= equal(&record->former[i], digest);
    return found;
}

static enum cp_admission refuse(struct sy_error_text *error, const char *cluster,
                                const struct cp_roll *roll, const char *why)
{
    sy_error_text_set(error, "cluster %s is not let into region %s: %s", cluster, roll->region,
                      why);
    return CP_ADMISSION_REFUSED;
}

static enum cp_admission deleted(struct sy_error_text *error, const char *cluster,
                                 const struct cp_roll *roll)
{
    sy_error_text_set(error,
                      "cluster %s was deleted from region %s: what this operator runs has been "
                      "given to others",
                      cluster, roll->region);
    return CP_ADMISSION_DELETED;
}

enum cp_admission cp_roll_admit(const struct cp_roll *roll, bool required, const char *cluster,
                                const struct cp_identity *identity, struct sy_error_text *error)
{
    if (roll == NULL && !required)
        return CP_ADMITTED; /* whoever is wrong here goes when it has been read */
    if (roll == NULL) {
        sy_error_text_set(error, "the registered clusters have not been read yet");
        return CP_ADMISSION_UNKNOWN;
    }
    const struct cp_registered *registered = cp_roll_find(roll, cluster);
    const cp_cluster_record *record = registered != NULL ? registered->record : NULL;
    if (registered != NULL && record == NULL) {
        sy_error_text_set(error,
                          "the record of cluster %s is damaged, or of a newer version than this "
                          "shard",
                          cluster);
        return CP_ADMISSION_UNKNOWN;
    }
    if (record != NULL &&
        (record->deleted || (identity->shown && cp_cluster_had_operator(record, identity->digest))))
        return deleted(error, cluster, roll);
    if (record != NULL && record->standing == CP_STANDING(FENCED)) {
        sy_error_text_set(error,
                          "cluster %s is fenced: what it ran was given to others, and nothing that "
                          "it says counts, until `switchyard cluster unfence`",
                          cluster);
        return CP_ADMISSION_FENCED;
    }
    if (identity->shown) {
        if (record != NULL && cp_cluster_has_operator(record, identity->digest))
            return CP_ADMITTED;
        return refuse(error, cluster, roll,
                      record != NULL ? "its operator's identity has not joined it"
                                     : "it is not registered, but its operator has an identity");
    }
    if (required)
        return refuse(error, cluster, roll,
                      "registration is required here; start its operator with --join TOKEN, which "
                      "`switchyard cluster create` makes");
    if (record != NULL && record->n_operators > 0)
        return refuse(error, cluster, roll, "it is registered, and its operator has no identity");
    return CP_ADMITTED;
}

enum sy_code cp_admission_code(enum cp_admission admission)
{
    switch (admission) {
    case CP_ADMITTED:
        return SY_CODE_OK;
    case CP_ADMISSION_UNKNOWN:
        return SY_CODE_UNAVAILABLE;
    case CP_ADMISSION_FENCED:
        return SY_CODE_FAILED_PRECONDITION;
    case CP_ADMISSION_REFUSED:
        return SY_CODE_UNAUTHENTICATED;
    case CP_ADMISSION_DELETED:
        return SY_CODE_PERMISSION_DENIED;
    }
    return SY_CODE_INTERNAL;
}

/* ---- tokens ---- */

#define TOKEN_PREFIX "sy-join:"

void cp_token_put(struct sy_buf *buf, const char *region, const char *cluster,
                  const uint8_t secret[CP_SECRET_BYTES])
{
    sy_buf_printf(buf, TOKEN_PREFIX "%s:%s:", region, cluster);
    sy_hex_put(buf, secret, CP_SECRET_BYTES);
}

/* The part up to the next ':'; NULL: there is none, or it is no name. */
static const char *take_name(const char *text, char ret[CP_NAME_LENGTH_MAX + 1])
{
    struct sy_error_text error;
    const char *end = strchr(text, ':');
    if (end == NULL || end - text > CP_NAME_LENGTH_MAX)
        return NULL;
    memcpy(ret, text, (size_t)(end - text));
    ret[end - text] = '\0';
    return cp_name_check("name", ret, &error) == 0 ? end + 1 : NULL;
}

int cp_token_read(const char *text, struct cp_token *ret, struct sy_error_text *error)
{
    uint8_t secret[CP_SECRET_BYTES];
    const char *rest = text;
    bool fine = strncmp(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) == 0;
    if (fine)
        rest = take_name(text + strlen(TOKEN_PREFIX), ret->region);
    if (fine && rest != NULL)
        rest = take_name(rest, ret->cluster);
    fine = fine && rest != NULL && read_secret(rest, secret);
    if (!fine) {
        sy_error_text_set(error, "this is no token: expected sy-join:REGION:CLUSTER: and 64 hex "
                                 "digits, as `switchyard cluster create` prints it");
        return -EINVAL;
    }
    digest_secret(secret, ret->digest);
    return 0;
}

const char *cp_token_state(const Switchyard__Internal__Region__TokenRecord *token, int64_t now_ns)
{
    if (token->revoked)
        return "revoked";
    if (token->uses >= token->uses_max)
        return "used";
    return now_ns >= token->expires_ns ? "expired" : "valid";
}
