/*
 * Digests (through OpenSSL) and the texts that carry them. Any thread; a struct belongs to one.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>

#define SY_MD5_BYTES 16
#define SY_SHA256_BYTES 32

enum sy_digest_kind { SY_DIGEST_MD5, SY_DIGEST_SHA256 };

struct sy_digest;
struct sy_digest *sy_digest_new(enum sy_digest_kind kind);
void sy_digest_add(struct sy_digest *digest, const void *data, size_t len);
/* Writes 16 or 32 bytes and frees the digest. */
void sy_digest_finish(struct sy_digest *digest, uint8_t *ret);
void sy_digest_free(struct sy_digest *digest);

void sy_sha256(struct sy_span bytes, uint8_t ret[SY_SHA256_BYTES]);
void sy_hmac_sha256(struct sy_span key, struct sy_span bytes, uint8_t ret[SY_SHA256_BYTES]);
/* In a time that does not depend on where they differ. */
bool sy_digest_equal(const uint8_t *a, const uint8_t *b, size_t len);

/* Appends lower-case hex digits. */
void sy_hex_put(struct sy_buf *buf, const uint8_t *bytes, size_t len);

/* Appends base64 (RFC 4648): the standard alphabet with padding, or the one for URLs without. */
void sy_base64_put(struct sy_buf *buf, struct sy_span bytes);
void sy_base64url_put(struct sy_buf *buf, struct sy_span bytes);
/* Either alphabet, padding or none. -EINVAL unless it is exactly `len` bytes. */
int sy_base64_take(const char *text, uint8_t *ret, size_t len) SY_MUST_USE;
