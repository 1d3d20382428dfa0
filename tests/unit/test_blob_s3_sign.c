/* links: sy_blob */
/* Signatures of S3 requests; the expected ones are botocore's (S3SigV4Auth). */
#include "base/blob_s3_sign.h"

#include "tests/lib/test.h"

#include <string.h>

#define HASH_HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

START_TEST(as_botocore_signs)
{
    struct sy_buf path = {0}, value = {0};
    sy_s3_encode(&path, "/bucket/a b/c+d.pb");
    sy_buf_append(&path, "", 1);
    ck_assert_str_eq((const char *)path.data, "/bucket/a%20b/c%2Bd.pb");
    struct sy_s3_request request = {
        .verb = "PUT",
        .host = "127.0.0.1:9000",
        .path = (const char *)path.data,
        .payload_hash = HASH_HELLO,
        .region = "eu-west-1",
        .access_key = "AKIDEXAMPLE",
        .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        .time_s = 1369357323, /* 2013-05-24 01:02:03 UTC */
    };
    sy_s3_sign(&value, &request);
    sy_buf_append(&value, "", 1);
    ck_assert_str_eq((const char *)value.data,
                     "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20130524/eu-west-1/s3/aws4_request,"
                     "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
                     "Signature=ff070541c43a6ee01f2627f2f35ebc7afa899d407dda7da30cb811016f444181");
    sy_buf_deinit(&path);
    sy_buf_deinit(&value);
}
END_TEST

START_TEST(times_are_utc)
{
    char time[SY_S3_TIME_SIZE];
    sy_s3_time(0, time);
    ck_assert_str_eq(time, "19700101T000000Z");
    sy_s3_time(1369357323, time);
    ck_assert_str_eq(time, "20130524T010203Z");
}
END_TEST

int main(void)
{
    const TTest *tests[] = {as_botocore_signs, times_are_utc, NULL};
    return sy_test_run("S3 signatures", tests);
}
