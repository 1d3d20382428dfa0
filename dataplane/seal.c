#include "dataplane/seal.h"

#include <limits.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#define NONCE_BYTES 12
#define TAG_BYTES 16

_Static_assert(NONCE_BYTES + TAG_BYTES == DP_SEAL_EXTRA, "as the header says");

/* OpenSSL fails at these only when memory is out. */
static void must(int ok)
{
    SY_ASSERT(ok == 1);
}

void dp_seal(struct sy_span bytes, const char *label, const uint8_t key[DP_KEY_BYTES],
             struct sy_buf *ret)
{
    SY_ASSERT(bytes.len <= INT_MAX);
    int len = 0;
    sy_buf_reserve(ret, bytes.len + DP_SEAL_EXTRA);
    uint8_t *nonce = ret->data + ret->len, *text = nonce + NONCE_BYTES, *tag = text + bytes.len;
    ssize_t drawn = getrandom(nonce, NONCE_BYTES, 0);
    SY_ASSERT(drawn == NONCE_BYTES); /* whole below 256 bytes */
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    SY_ASSERT(context);
    must(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce));
    must(EVP_EncryptUpdate(context, NULL, &len, (const uint8_t *)label, (int)strlen(label)));
    if (bytes.len > 0)
        must(EVP_EncryptUpdate(context, text, &len, bytes.data, (int)bytes.len));
    must(EVP_EncryptFinal_ex(context, tag, &len));
    must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag));
    EVP_CIPHER_CTX_free(context);
    ret->len += bytes.len + DP_SEAL_EXTRA;
}

int dp_unseal(struct sy_span sealed, const char *label, const uint8_t key[DP_KEY_BYTES],
              struct sy_buf *ret)
{
    if (sealed.len < DP_SEAL_EXTRA || sealed.len > INT_MAX)
        return -EBADMSG;
    int len = 0;
    size_t text_len = sealed.len - DP_SEAL_EXTRA;
    const uint8_t *nonce = sealed.data, *text = nonce + NONCE_BYTES;
    uint8_t tag[TAG_BYTES];
    memcpy(tag, text + text_len, TAG_BYTES);
    sy_buf_reserve(ret, text_len + 1);
    uint8_t *to = ret->data + ret->len;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    SY_ASSERT(context);
    must(EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce));
    must(EVP_DecryptUpdate(context, NULL, &len, (const uint8_t *)label, (int)strlen(label)));
    if (text_len > 0)
        must(EVP_DecryptUpdate(context, to, &len, text, (int)text_len));
    must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag));
    int genuine = EVP_DecryptFinal_ex(context, to + text_len, &len);
    EVP_CIPHER_CTX_free(context);
    if (genuine != 1) {
        explicit_bzero(to, text_len);
        return -EBADMSG;
    }
    ret->len += text_len;
    return 0;
}
