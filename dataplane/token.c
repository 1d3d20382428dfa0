#include "dataplane/token.h"

#include <string.h>

#define VERSION 1
#define FLAG_WRITE 1
#define FLAG_MD5 2

enum {
    AT_VERSION = 0,
    AT_FLAGS = 1,
    AT_EXPIRES = 2,
    AT_BYTES = 10,
    AT_MD5 = 18,
    AT_MAC = AT_MD5 + SY_MD5_BYTES,
    TOKEN_BYTES = AT_MAC + SY_SHA256_BYTES
};

static void sign(const uint8_t *token, const char *blob, const uint8_t key[DP_KEY_BYTES],
                 uint8_t ret[SY_SHA256_BYTES])
{
    struct sy_buf text = {0};
    sy_buf_append(&text, token, AT_MAC);
    sy_buf_append_str(&text, blob);
    sy_hmac_sha256((struct sy_span){key, DP_KEY_BYTES}, sy_buf_span(&text), ret);
    sy_buf_deinit(&text);
}

void dp_token_put(struct sy_buf *buf, const struct dp_token *token, const char *blob,
                  const uint8_t key[DP_KEY_BYTES])
{
    static const uint8_t no_md5[SY_MD5_BYTES] = {0};
    uint8_t mac[SY_SHA256_BYTES];
    uint8_t head[2] = {
        VERSION, (uint8_t)((token->write ? FLAG_WRITE : 0) | (token->has_md5 ? FLAG_MD5 : 0))};
    struct sy_buf bytes = {0};
    sy_buf_append(&bytes, head, sizeof(head));
    sy_buf_put_be64(&bytes, (uint64_t)token->expires_s);
    sy_buf_put_be64(&bytes, token->bytes);
    sy_buf_append(&bytes, token->has_md5 ? token->md5 : no_md5, SY_MD5_BYTES);
    SY_ASSERT(bytes.len == AT_MAC);
    sign(bytes.data, blob, key, mac);
    sy_buf_append(&bytes, mac, sizeof(mac));
    sy_base64url_put(buf, sy_buf_span(&bytes));
    sy_buf_deinit(&bytes);
}

int dp_token_take(const char *text, const char *blob, const uint8_t key[DP_KEY_BYTES],
                  struct dp_token *ret)
{
    uint8_t bytes[TOKEN_BYTES], mac[SY_SHA256_BYTES];
    if (sy_base64_take(text, bytes, sizeof(bytes)) < 0 || bytes[AT_VERSION] != VERSION)
        return -EINVAL;
    sign(bytes, blob, key, mac);
    if (!sy_digest_equal(mac, bytes + AT_MAC, sizeof(mac)))
        return -EINVAL;
    *ret = (struct dp_token){
        .write = (bytes[AT_FLAGS] & FLAG_WRITE) != 0,
        .has_md5 = (bytes[AT_FLAGS] & FLAG_MD5) != 0,
        .bytes = sy_get_be64(bytes + AT_BYTES),
        .expires_s = (int64_t)sy_get_be64(bytes + AT_EXPIRES),
    };
    memcpy(ret->md5, bytes + AT_MD5, SY_MD5_BYTES);
    return 0;
}
