/*
 * AWS Signature Version 4 for S3, in a header (docs.aws.amazon.com, "Signature Version 4 signing").
 * Pure.
 */
#pragma once

#include "base/buf.h"

#include <stdint.h>

struct sy_s3_request {
    const char *verb, *host;
    const char *path;         /* encoded, from '/' */
    const char *payload_hash; /* 64 hex digits of SHA-256 */
    const char *region, *access_key, *secret_key;
    int64_t time_s; /* realtime */
};

#define SY_S3_TIME_SIZE 17 /* "20130524T000000Z" */

/* Appends `path` with all but letters, digits and "-._~/" as %XX. */
void sy_s3_encode(struct sy_buf *buf, const char *path);
void sy_s3_time(int64_t time_s, char ret[SY_S3_TIME_SIZE]);
/* Appends the value of the header "Authorization", without a NUL. The request must have the headers
 * host, x-amz-content-sha256 and x-amz-date as given here. */
void sy_s3_sign(struct sy_buf *buf, const struct sy_s3_request *request);
