/*
 * gzip (RFC 1952) of whole messages, with a bound on what comes out. One context for each thread:
 * it keeps zlib's windows, whose allocation costs more than a small message.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>

struct sy_gzip;

struct sy_gzip *sy_gzip_new(void);
void sy_gzip_free(struct sy_gzip *gzip);

/* Whether it begins as gzip does. */
bool sy_gzip_is(struct sy_span bytes);

#define SY_GZIP_E_CORRUPT 1 /* not gzip, cut short, damaged, or something follows */
#define SY_GZIP_E_LARGE 2   /* more than bytes_max come out */
/* Appends what `bytes` hold to `ret`, which is untouched when it fails. Memory grows with what
 * comes out, never with what the header claims. */
int sy_gzip_inflate(struct sy_gzip *gzip, struct sy_span bytes, size_t bytes_max,
                    struct sy_buf *ret) SY_MUST_USE;
/* Appends; at the fastest level. */
void sy_gzip_deflate(struct sy_gzip *gzip, struct sy_span bytes, struct sy_buf *ret);
