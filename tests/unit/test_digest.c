/* links: sy_blob */
#include "base/digest.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

static const struct sy_span abc = {(const uint8_t *)"abc", 3};

static void expect_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    struct sy_buf text = {0};
    sy_hex_put(&text, bytes, len);
    ck_assert_uint_eq(text.len, strlen(hex));
    ck_assert_int_eq(memcmp(text.data, hex, text.len), 0);
    sy_buf_deinit(&text);
}

/* RFC 1321, FIPS 180-2, RFC 4231 (case 2). */
START_TEST(known_digests)
{
    uint8_t out[SY_SHA256_BYTES];
    struct sy_digest *md5 = sy_digest_new(SY_DIGEST_MD5);
    sy_digest_add(md5, "a", 1);
    sy_digest_add(md5, "bc", 2);
    sy_digest_finish(md5, out);
    expect_hex(out, SY_MD5_BYTES, "900150983cd24fb0d6963f7d28e17f72");
    sy_sha256(abc, out);
    expect_hex(out, sizeof(out),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *question = "what do ya want for nothing?";
    sy_hmac_sha256((struct sy_span){(const uint8_t *)"Jefe", 4},
                   (struct sy_span){(const uint8_t *)question, strlen(question)}, out);
    expect_hex(out, sizeof(out),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    sy_digest_free(sy_digest_new(SY_DIGEST_SHA256));
}
END_TEST

START_TEST(equal_in_every_byte)
{
    ck_assert(sy_digest_equal(abc.data, (const uint8_t *)"abc", 3));
    ck_assert(!sy_digest_equal(abc.data, (const uint8_t *)"abd", 3));
}
END_TEST

static const struct {
    const char *bytes, *base64, *url;
} texts[] = {{"", "", ""},
             {"f", "Zg==", "Zg"},
             {"fo", "Zm8=", "Zm8"},
             {"foo", "Zm9v", "Zm9v"},
             {"fooba", "Zm9vYmE=", "Zm9vYmE"},
             {"\xff\xfe\xfd", "//79", "__79"},
             {"\xfb\xef", "++8=", "--8"}};

START_TEST(base64_both_ways)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint8_t back[8];
        size_t len = strlen(texts[i].bytes);
        struct sy_buf text = {0}, url = {0};
        struct sy_span bytes = {(const uint8_t *)texts[i].bytes, len};
        sy_base64_put(&text, bytes);
        sy_base64url_put(&url, bytes);
        ck_assert_uint_eq(text.len, strlen(texts[i].base64));
        ck_assert_int_eq(text.len > 0 ? memcmp(text.data, texts[i].base64, text.len) : 0, 0);
        ck_assert_uint_eq(url.len, strlen(texts[i].url));
        ck_assert_int_eq(sy_base64_take(texts[i].base64, back, len), 0);
        ck_assert_int_eq(memcmp(back, bytes.data, len), 0);
        ck_assert_int_eq(sy_base64_take(texts[i].url, back, len), 0);
        ck_assert_int_eq(memcmp(back, bytes.data, len), 0);
        sy_buf_deinit(&text);
        sy_buf_deinit(&url);
    }
}
END_TEST

START_TEST(base64_that_is_none)
{
    uint8_t back[4];
    ck_assert_int_eq(sy_base64_take("Zg==", back, 2), -EINVAL);
    ck_assert_int_eq(sy_base64_take("Zg=", back, 1), -EINVAL);
    ck_assert_int_eq(sy_base64_take("Zg===", back, 1), -EINVAL);
    ck_assert_int_eq(sy_base64_take("Zh==", back, 1), -EINVAL); /* bits that are not bytes */
    ck_assert_int_eq(sy_base64_take("Z!==", back, 1), -EINVAL);
    ck_assert_int_eq(sy_base64_take("Zg==Zg", back, 1), -EINVAL);
    ck_assert_int_eq(sy_base64_take("", back, 1), -EINVAL);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {known_digests, equal_in_every_byte, base64_both_ways,
                            base64_that_is_none, NULL};
    return sy_test_run("digest", tests);
}
