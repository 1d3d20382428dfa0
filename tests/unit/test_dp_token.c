/* links: dp */
/* Signed URLs' tokens and the key that signs them. */
#include "dataplane/token.h"

#include "base/file.h"
#include "base/mem.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t key[DP_KEY_BYTES] = {1, 2, 3};

static char *make(const struct dp_token *token, const char *blob)
{
    struct sy_buf text = {0};
    dp_token_put(&text, token, blob, key);
    sy_buf_append(&text, "", 1);
    return (char *)text.data;
}

START_TEST(what_was_signed_comes_back)
{
    struct dp_token token = {.write = true, .has_md5 = true, .bytes = 77, .expires_s = 1234567890},
                    back;
    memset(token.md5, 0xab, sizeof(token.md5));
    SY_AUTOFREE char *text = make(&token, "a/b");
    ck_assert_uint_eq(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                   "-_"),
                      strlen(text));
    ck_assert_int_eq(dp_token_take(text, "a/b", key, &back), 0);
    ck_assert(back.write && back.has_md5);
    ck_assert_uint_eq(back.bytes, 77);
    ck_assert_int_eq(back.expires_s, 1234567890);
    ck_assert_int_eq(memcmp(back.md5, token.md5, sizeof(back.md5)), 0);
}
END_TEST

START_TEST(nothing_else_does)
{
    static const uint8_t other_key[DP_KEY_BYTES] = {1, 2, 4};
    struct dp_token token = {.bytes = UINT64_MAX, .expires_s = 5}, back;
    SY_AUTOFREE char *text = make(&token, "a/b");
    ck_assert_int_eq(dp_token_take(text, "a/c", key, &back), -EINVAL);
    ck_assert_int_eq(dp_token_take(text, "a/b", other_key, &back), -EINVAL);
    ck_assert_int_eq(dp_token_take("", "a/b", key, &back), -EINVAL);
    for (size_t i = 0; text[i]; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        ck_assert_msg(dp_token_take(text, "a/b", key, &back) == -EINVAL, "letter %zu", i);
        text[i] = was;
    }
    text[strlen(text) - 1] = '\0';
    ck_assert_int_eq(dp_token_take(text, "a/b", key, &back), -EINVAL);
}
END_TEST

START_TEST(a_key_is_made_once)
{
    char dir[] = "/tmp/test_dp_token.XXXXXX", path[64];
    uint8_t first[DP_KEY_BYTES], again[DP_KEY_BYTES];
    struct sy_error_text error = {0};
    struct stat st;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/key", dir);
    ck_assert_int_eq(dp_key_file(path, first, &error), 0);
    ck_assert_int_eq(dp_key_file(path, again, &error), 0);
    ck_assert_int_eq(memcmp(first, again, sizeof(first)), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(dp_key_file(path, again, &error), -EACCES);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    ck_assert_int_eq(sy_file_write_atomic(path, first, 31), 0);
    ck_assert_int_eq(dp_key_file(path, again, &error), -EINVAL);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_lt(dp_key_file(path, again, &error), 0);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {what_was_signed_comes_back, nothing_else_does, a_key_is_made_once,
                            NULL};
    return sy_test_run("signed URLs", tests);
}
