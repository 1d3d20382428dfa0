/*
 * A token that processes of one installation share: who sends it is let in. It lies in a file that
 * only its owner may read, travels as `authorization: Bearer TOKEN`, and is in no log and no error.
 *
 * It says who calls, not what is heard on the way: the connection must be one that others cannot
 * read.
 */
#pragma once

#include "base/rpc.h"

#define SY_BEARER_TOKEN_MIN 16 /* characters */
#define SY_BEARER_TOKEN_MAX 256

/* A zeroed one has no token. */
struct sy_bearer {
    struct sy_metadata metadata; /* of calls; the value is owned */
    size_t metadata_count;       /* 1; 0: no token */
};

/* Reads a token of 16 to 256 printable characters without blanks; white space at its end does not
 * count. path "" = no token. -EACCES for a file that others may read, -EINVAL for what is no token,
 * and errors of the file system; each with a sentence that opens with `key`, the configuration's.
 * Blocking. */
int sy_bearer_load(struct sy_bearer *ret, const char *key, const char *path,
                   struct sy_error_text *error) SY_MUST_USE;
void sy_bearer_copy(struct sy_bearer *ret, const struct sy_bearer *bearer);
/* Wipes it. */
void sy_bearer_deinit(struct sy_bearer *bearer);

/* Whether the call came with the token, in a time that does not depend on where it differs. Only
 * with a token. */
bool sy_bearer_sent(const struct sy_bearer *bearer, const struct sy_call *call);
