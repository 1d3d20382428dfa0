#include "controlplane/names.h"

#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

static bool allowed(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

int cp_name_check(const char *what, const char *name, struct sy_error_text *error)
{
    SY_ASSERT(what != NULL);
    size_t len = name != NULL ? strlen(name) : 0;
    if (len == 0) {
        sy_error_text_set(error, "%s: missing", what);
        return -EINVAL;
    }
    if (len > CP_NAME_LENGTH_MAX) {
        sy_error_text_set(error, "%s: %zu characters, at most %d are allowed", what, len,
                          CP_NAME_LENGTH_MAX);
        return -EINVAL;
    }
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        sy_error_text_set(error, "%s '%s': a name is not '.' or '..'", what, name);
        return -EINVAL;
    }
    for (size_t i = 0; i < len; i++) {
        if (!allowed((unsigned char)name[i])) {
            sy_error_text_set(error, "%s '%s': only letters, digits, '.', '_' and '-' are allowed",
                              what, name);
            return -EINVAL;
        }
    }
    return 0;
}

/* Length of the UTF-8 sequence at s, 0 when it is none: no overlong forms, no surrogates, nothing
 * above U+10FFFF (RFC 3629). */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t len = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) /* also stops at the NUL */
            return 0;
    }
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] >= 0xa0;
    bool beyond = s[0] == 0xf4 && s[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : len;
}

int cp_text_check(const char *what, const char *text, size_t max, struct sy_error_text *error)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s == NULL)
        return 0;
    size_t len = strlen(text);
    if (len > max) {
        sy_error_text_set(error, "%s: %zu bytes, at most %zu are allowed", what, len, max);
        return -EINVAL;
    }
    while (*s != '\0') {
        size_t n = utf8_length(s);
        if (n == 0 || *s < 0x20 || *s == 0x7f) {
            sy_error_text_set(error, "%s: %s at byte %zu", what,
                              n == 0 ? "not UTF-8" : "a control character",
                              (size_t)(s - (const unsigned char *)text));
            return -EINVAL;
        }
        s += n;
    }
    return 0;
}

void cp_text_clean(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s != '\0') {
        size_t n = utf8_length(s);
        if (n == 0)
            *s = '?';
        s += n == 0 ? 1 : n;
    }
}

static void name_from_bits(char ret[CP_NAME_MADE_SIZE], uint64_t high, uint64_t low)
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* Crockford's base32 */
    SY_ASSERT(sizeof(digits) == 33);
    ret[0] = 'r'; /* some tools want a letter first */
    for (unsigned i = 1; i < CP_NAME_MADE_SIZE - 1; i++) {
        ret[i] = digits[low & 31];
        low = (low >> 5) | (high << 59);
        high >>= 5;
    }
    ret[CP_NAME_MADE_SIZE - 1] = '\0';
}

void cp_name_from_request(char ret[CP_NAME_MADE_SIZE], const char *project, const char *domain,
                          const char *request_id, uint32_t salt)
{
    SY_ASSERT(strlen(request_id) > 0 && strlen(request_id) <= CP_REQUEST_ID_LENGTH_MAX);
    char key[2 * (CP_NAME_LENGTH_MAX + 1) + CP_REQUEST_ID_LENGTH_MAX + 1];
    const char *const parts[] = {project, domain, request_id};
    size_t len = 0;
    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(parts[i]) + 1;
        SY_ASSERT(n <= sizeof(key) - len);
        memcpy(key + len, parts[i], n);
        len += n;
    }
    XXH128_hash_t hash = XXH3_128bits_withSeed(key, len, salt);
    name_from_bits(ret, hash.high64, hash.low64);
}

void cp_name_random(char ret[CP_NAME_MADE_SIZE], struct sy_rng *rng)
{
    ret[0] = 'r';
    sy_rng_name(rng, ret + 1, CP_NAME_MADE_SIZE - 2);
}

uint64_t cp_name_hash(const char *project, const char *domain, const char *run)
{
    char key[3 * (CP_NAME_LENGTH_MAX + 1)];
    size_t len = 0;
    const char *const parts[] = {project, domain, run};
    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(parts[i]) + 1;
        SY_ASSERT(n <= CP_NAME_LENGTH_MAX + 1); /* callers have checked the names */
        memcpy(key + len, parts[i], n);
        len += n;
    }
    return XXH3_64bits(key, len);
}
