#include "base/digest.h"

#include "base/mem.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

/* OpenSSL fails here only when memory is out or MD5 is forbidden (FIPS): nothing could go on. */
struct sy_digest {
    EVP_MD_CTX *context;
};

struct sy_digest *sy_digest_new(enum sy_digest_kind kind)
{
    struct sy_digest *digest = sy_new(struct sy_digest);
    digest->context = EVP_MD_CTX_new();
    SY_ASSERT(digest->context);
    int ok = EVP_DigestInit_ex(digest->context, kind == SY_DIGEST_MD5 ? EVP_md5() : EVP_sha256(),
                               NULL);
    SY_ASSERT(ok == 1);
    return digest;
}

void sy_digest_add(struct sy_digest *digest, const void *data, size_t len)
{
    int ok = EVP_DigestUpdate(digest->context, data, len);
    SY_ASSERT(ok == 1);
}

void sy_digest_finish(struct sy_digest *digest, uint8_t *ret)
{
    int ok = EVP_DigestFinal_ex(digest->context, ret, NULL);
    SY_ASSERT(ok == 1);
    sy_digest_free(digest);
}

void sy_digest_free(struct sy_digest *digest)
{
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}

void sy_sha256(struct sy_span bytes, uint8_t ret[SY_SHA256_BYTES])
{
    struct sy_digest *digest = sy_digest_new(SY_DIGEST_SHA256);
    sy_digest_add(digest, bytes.data, bytes.len);
    sy_digest_finish(digest, ret);
}

void sy_hmac_sha256(struct sy_span key, struct sy_span bytes, uint8_t ret[SY_SHA256_BYTES])
{
    SY_ASSERT(key.len <= INT_MAX);
    const uint8_t *done = HMAC(EVP_sha256(), key.data, (int)key.len, bytes.data, bytes.len, ret,
                               NULL);
    SY_ASSERT(done);
}

bool sy_digest_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void sy_hex_put(struct sy_buf *buf, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    sy_buf_reserve(buf, 2 * len);
    for (size_t i = 0; i < len; i++) {
        buf->data[buf->len++] = (uint8_t)digits[bytes[i] >> 4];
        buf->data[buf->len++] = (uint8_t)digits[bytes[i] & 15];
    }
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static uint8_t to_letter(unsigned six, const char last[2])
{
    return (uint8_t)(six < 62 ? alphabet[six] : last[six - 62]);
}

static void put(struct sy_buf *buf, struct sy_span bytes, const char last[2], bool pad)
{
    sy_buf_reserve(buf, (bytes.len + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        unsigned word = (unsigned)bytes.data[i] << 16;
        word |= n > 1 ? (unsigned)bytes.data[i + 1] << 8 : 0;
        word |= n > 2 ? bytes.data[i + 2] : 0;
        for (size_t letter = 0; letter < 4; letter++) {
            if (letter <= n)
                buf->data[buf->len++] = to_letter(word >> (18 - 6 * letter) & 63, last);
            else if (pad)
                buf->data[buf->len++] = '=';
        }
    }
}

void sy_base64_put(struct sy_buf *buf, struct sy_span bytes)
{
    put(buf, bytes, "+/", true);
}

void sy_base64url_put(struct sy_buf *buf, struct sy_span bytes)
{
    put(buf, bytes, "-_", false);
}

static int from_letter(char letter)
{
    const char *at = strchr(alphabet, letter);
    if (at && letter)
        return (int)(at - alphabet);
    return letter == '+' || letter == '-' ? 62 : letter == '/' || letter == '_' ? 63 : -1;
}

int sy_base64_take(const char *text, uint8_t *ret, size_t len)
{
    size_t letters = strcspn(text, "="), pads = strlen(text) - letters, done = 0;
    unsigned word = 0, bits = 0;
    if (letters != (len * 8 + 5) / 6 || (pads > 0 && (letters + pads) % 4 != 0) || pads > 2 ||
        strspn(text + letters, "=") != pads)
        return -EINVAL;
    for (size_t i = 0; i < letters; i++) {
        int six = from_letter(text[i]);
        if (six < 0)
            return -EINVAL;
        word = word << 6 | (unsigned)six;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            ret[done++] = (uint8_t)(word >> bits);
        }
    }
    SY_ASSERT(done == len);
    return (word & ((1u << bits) - 1)) == 0 ? 0 : -EINVAL;
}
