#include "base/blob_s3_sign.h"

#include "base/digest.h"

#include <string.h>
#include <time.h>

#define DATE_LEN 8
#define SIGNED "host;x-amz-content-sha256;x-amz-date"

void sy_s3_encode(struct sy_buf *buf, const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-._~/";
    for (; *path; path++) {
        if (strchr(plain, *path))
            sy_buf_append(buf, path, 1);
        else
            sy_buf_printf(buf, "%%%02X", (unsigned char)*path);
    }
}

void sy_s3_time(int64_t time_s, char ret[SY_S3_TIME_SIZE])
{
    time_t seconds = (time_t)time_s;
    struct tm tm;
    const struct tm *done = gmtime_r(&seconds, &tm);
    SY_ASSERT(done);
    size_t len = strftime(ret, SY_S3_TIME_SIZE, "%Y%m%dT%H%M%SZ", &tm);
    SY_ASSERT(len == SY_S3_TIME_SIZE - 1);
}

static void put_request_hash(struct sy_buf *buf, const struct sy_s3_request *request,
                             const char *time)
{
    struct sy_buf canonical = {0};
    uint8_t digest[SY_SHA256_BYTES];
    sy_buf_printf(&canonical,
                  "%s\n%s\n\nhost:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n\n" SIGNED "\n%s",
                  request->verb, request->path, request->host, request->payload_hash, time,
                  request->payload_hash);
    sy_sha256(sy_buf_span(&canonical), digest);
    sy_hex_put(buf, digest, sizeof(digest));
    sy_buf_deinit(&canonical);
}

static void mac(uint8_t key[SY_SHA256_BYTES], const char *text, size_t len)
{
    uint8_t out[SY_SHA256_BYTES];
    sy_hmac_sha256((struct sy_span){key, SY_SHA256_BYTES},
                   (struct sy_span){(const uint8_t *)text, len}, out);
    memcpy(key, out, sizeof(out));
}

/* A key for this day, region and service, derived from the secret. */
static void derive_key(const struct sy_s3_request *request, const char *time,
                       uint8_t ret[SY_SHA256_BYTES])
{
    struct sy_buf secret = {0};
    sy_buf_printf(&secret, "AWS4%s", request->secret_key);
    sy_hmac_sha256(sy_buf_span(&secret), (struct sy_span){(const uint8_t *)time, DATE_LEN}, ret);
    explicit_bzero(secret.data, secret.cap);
    sy_buf_deinit(&secret);
    mac(ret, request->region, strlen(request->region));
    mac(ret, "s3", strlen("s3"));
    mac(ret, "aws4_request", strlen("aws4_request"));
}

void sy_s3_sign(struct sy_buf *buf, const struct sy_s3_request *request)
{
    char time[SY_S3_TIME_SIZE];
    uint8_t key[SY_SHA256_BYTES];
    struct sy_buf scope = {0}, text = {0};
    sy_s3_time(request->time_s, time);
    sy_buf_printf(&scope, "%.*s/%s/s3/aws4_request", DATE_LEN, time, request->region);
    sy_buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.*s\n", time, (int)scope.len,
                  (const char *)scope.data);
    put_request_hash(&text, request, time);
    derive_key(request, time, key);
    mac(key, (const char *)text.data, text.len);
    sy_buf_printf(buf, "AWS4-HMAC-SHA256 Credential=%s/%.*s,SignedHeaders=" SIGNED ",Signature=",
                  request->access_key, (int)scope.len, (const char *)scope.data);
    sy_hex_put(buf, key, sizeof(key));
    sy_buf_deinit(&scope);
    sy_buf_deinit(&text);
}
