/*
 * The credential in a signed URL: what may be done to one blob, and until when. The blob's key is
 * not in the token but in the URL's path; the signature binds both together.
 *
 *     base64url( version 1B, flags 1B, expires 8B, bytes 8B, MD5 16B, HMAC-SHA256 32B )
 */
#pragma once

#include "base/buf.h"
#include "base/digest.h"
#include "dataplane/key_file.h"

struct dp_token {
    bool write; /* PUT; else GET */
    bool has_md5;
    uint8_t md5[SY_MD5_BYTES]; /* of what is written */
    uint64_t bytes;            /* its length; UINT64_MAX: any */
    int64_t expires_s;         /* realtime */
};

/* Appends the text. */
void dp_token_put(struct sy_buf *buf, const struct dp_token *token, const char *blob,
                  const uint8_t key[DP_KEY_BYTES]);
/* -EINVAL: none of ours, or for another blob. Whoever calls it looks at what it allows. */
int dp_token_take(const char *text, const char *blob, const uint8_t key[DP_KEY_BYTES],
                  struct dp_token *ret) SY_MUST_USE;
