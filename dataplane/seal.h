/*
 * Authenticated encryption at rest: AES-256-GCM through OpenSSL. What was sealed opens only with
 * the same key and the same label, and only unchanged.
 */
#pragma once

#include "base/buf.h"
#include "dataplane/key_file.h"

#define DP_SEAL_EXTRA 28 /* bytes that sealing adds: nonce and tag */

/* Appends nonce, ciphertext and tag. Each call draws a nonce of its own; a key is good for some
 * 2^32 of them. */
void dp_seal(struct sy_span bytes, const char *label, const uint8_t key[DP_KEY_BYTES],
             struct sy_buf *ret);
/* Appends what was sealed. -EBADMSG: it was changed, or has another key or label. */
int dp_unseal(struct sy_span sealed, const char *label, const uint8_t key[DP_KEY_BYTES],
              struct sy_buf *ret) SY_MUST_USE;
