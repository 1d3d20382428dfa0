/*
 * Who an operator is in its region: DATA_DIR/identity, mode 0600. It holds the secret that the
 * operator shows to shards, made here before anybody is told of it, so that a join whose answer was
 * lost is repeated with the same one; and what its cluster was registered with. Nothing of it is
 * logged.
 *
 * Blocking; for the start.
 */
#pragma once

#include "base/digest.h"
#include "base/error.h"
#include "scheduler/resources.h"

#include <stdbool.h>
#include <stdint.h>

#define DP_SECRET_BYTES 32

struct dp_identity {
    uint8_t secret[DP_SECRET_BYTES];
    uint8_t token[SY_SHA256_BYTES]; /* of the token that it has joined with, or tried to */
    char cluster[64];               /* "": it has not joined */
    char region[64], labels[SCH_NODE_LABELS_MAX];
    int64_t core_price_micros;
};

/* *ret_found: there is one. -EACCES, -EINVAL and errors of the file system, with a sentence. */
int dp_identity_load(struct dp_identity *ret, bool *ret_found, const char *data_dir,
                     struct sy_error_text *error) SY_MUST_USE;
int dp_identity_save(const struct dp_identity *identity, const char *data_dir,
                     struct sy_error_text *error) SY_MUST_USE;
/* A new secret, which has not joined. */
int dp_identity_make(struct dp_identity *ret, struct sy_error_text *error) SY_MUST_USE;
/* What the identity goes by on the wire: "Bearer HEX". */
#define DP_AUTHORIZATION_SIZE (7 + 2 * DP_SECRET_BYTES + 1)
void dp_identity_authorization(const struct dp_identity *identity, char ret[DP_AUTHORIZATION_SIZE]);
