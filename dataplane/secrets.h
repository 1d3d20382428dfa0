/*
 * The secrets of a cluster: names in a scope, with values that leave only towards a task. All of
 * them are one file, sealed as a whole and replaced at each change, so that not even names can be
 * read on the disk; the copy in memory is wiped when it is given up.
 *
 * A scope is a project and a domain; either may be empty, which widens it. One thread; changes
 * block on the disk and are durable when they return.
 */
#pragma once

#include "base/buf.h"
#include "dataplane/key_file.h"

#include <stdbool.h>

#define DP_SECRETS_MAX 4096
#define DP_SECRET_BYTES_MAX ((size_t)64 << 10)
#define DP_SECRET_NAME_MAX 255

struct dp_secret_id {
    const char *project, *domain, *name;
};

struct dp_secret {
    char *project, *domain, *name, *org; /* org is only told back */
    struct sy_buf value;
    uint32_t type; /* flyteidl2.secret.SecretType */
    int64_t created_s;
    struct dp_secret *next; /* by project, domain, name */
};

struct dp_secrets;

/* -EBADMSG for a file that this key does not open, and errors of the file system, with a sentence.
 */
int dp_secrets_open(struct dp_secrets **ret, const char *path, const uint8_t key[DP_KEY_BYTES],
                    struct sy_error_text *error) SY_MUST_USE;
void dp_secrets_close(struct dp_secrets *secrets);

/* NULL: none of exactly that scope. */
const struct dp_secret *dp_secrets_find(const struct dp_secrets *secrets,
                                        const struct dp_secret_id *id);
/* For a task: of project and domain, of the project, of the domain, of all; the first there is. */
const struct dp_secret *dp_secrets_for(const struct dp_secrets *secrets,
                                       const struct dp_secret_id *id);
/* In order, linked by `next`. */
const struct dp_secret *dp_secrets_first(const struct dp_secrets *secrets);

/* Adds a secret or replaces one of that scope and name, whose time of creation stays. Takes value.
 * -ENOSPC: as many as may be; errors of the file system. It is as before when that fails. */
int dp_secrets_put(struct dp_secrets *secrets, const struct dp_secret_id *id, const char *org,
                   uint32_t type, int64_t now_s, struct sy_buf *value) SY_MUST_USE;
/* -ENOENT, and errors of the file system. */
int dp_secrets_remove(struct dp_secrets *secrets, const struct dp_secret_id *id) SY_MUST_USE;
