#include "dataplane/identity.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "scheduler/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FILE_BYTES_MAX 4096

/* ---- the file: a word and a value on each line ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, uint8_t *ret, size_t len)
{
    if (strlen(text) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_text(const char *text, char *ret, size_t size)
{
    size_t len = strlen(text);
    if (len >= size)
        return false;
    memcpy(ret, text, len + 1);
    memset(ret + len, 0, size - len); /* no rest of what was there */
    return true;
}

static bool read_line(struct dp_identity *ret, const char *word, const char *value)
{
    char *end;
    if (strcmp(word, "secret") == 0)
        return read_hex(value, ret->secret, sizeof(ret->secret));
    if (strcmp(word, "token") == 0)
        return read_hex(value, ret->token, sizeof(ret->token));
    if (strcmp(word, "cluster") == 0)
        return read_text(value, ret->cluster, sizeof(ret->cluster));
    if (strcmp(word, "region") == 0)
        return read_text(value, ret->region, sizeof(ret->region));
    if (strcmp(word, "labels") == 0)
        return read_text(value, ret->labels, sizeof(ret->labels)) && sch_labels_valid(ret->labels);
    if (strcmp(word, "price") != 0)
        return false;
    errno = 0;
    ret->core_price_micros = strtoll(value, &end, 10);
    return errno == 0 && end != value && *end == '\0' && ret->core_price_micros >= 0;
}

/* `text` ends in a NUL, and is written to. */
static bool read_all(struct dp_identity *ret, char *text)
{
    char *rest = NULL;
    unsigned lines = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *blank = strchr(line, ' ');
        if (!blank)
            return false;
        *blank = '\0';
        if (!read_line(ret, line, blank + 1))
            return false;
        lines++;
    }
    return lines == 6;
}

static void put_path(struct sy_buf *path, const char *data_dir)
{
    sy_buf_printf(path, "%s/identity", data_dir);
}

int dp_identity_load(struct dp_identity *ret, bool *ret_found, const char *data_dir,
                     struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf path = {0}, bytes = {0};
    put_path(&path, data_dir);
    const char *name = (const char *)path.data;
    int r = sy_file_read_private(name, FILE_BYTES_MAX, &bytes);
    *ret_found = r == 0;
    if (r == -ENOENT)
        return 0;
    if (r == SY_FILE_E_EXPOSED) {
        sy_error_text_set(error, "%s: others may read this identity; expected mode 0600", name);
        return sy_trace(-EACCES);
    }
    if (r < 0 && r != -EFBIG) {
        sy_error_text_set(error, "%s: cannot be read: %s", name, strerror(-r));
        return sy_trace(r);
    }
    struct dp_identity identity = {0};
    sy_buf_append(&bytes, "", 1);
    bool fine = r == 0 && strlen((char *)bytes.data) + 1 == bytes.len &&
                read_all(&identity, (char *)bytes.data);
    explicit_bzero(bytes.data, bytes.len);
    if (!fine) {
        sy_error_text_set(error, "%s: damaged; remove it, and join with a new token", name);
        return sy_trace(-EINVAL);
    }
    *ret = identity;
    return 0;
}

int dp_identity_save(const struct dp_identity *identity, const char *data_dir,
                     struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf path = {0}, text = {0};
    put_path(&path, data_dir);
    sy_buf_append(&text, "secret ", 7);
    sy_hex_put(&text, identity->secret, sizeof(identity->secret));
    sy_buf_append(&text, "\ntoken ", 7);
    sy_hex_put(&text, identity->token, sizeof(identity->token));
    sy_buf_printf(&text, "\ncluster %s\nregion %s\nlabels %s\nprice %lld\n", identity->cluster,
                  identity->region, identity->labels, (long long)identity->core_price_micros);
    int r = sy_file_write_atomic((const char *)path.data, text.data, text.len);
    explicit_bzero(text.data, text.len);
    if (r < 0)
        sy_error_text_set(error, "%s: cannot be written: %s", (const char *)path.data,
                          strerror(-r));
    return sy_trace(r);
}

int dp_identity_make(struct dp_identity *ret, struct sy_error_text *error)
{
    struct dp_identity identity = {0};
    ssize_t n = getrandom(identity.secret, sizeof(identity.secret), 0); /* whole below 256 bytes */
    if (n != (ssize_t)sizeof(identity.secret)) {
        sy_error_text_set(error, "the kernel gives no random bytes");
        return sy_trace(-EIO);
    }
    *ret = identity;
    return 0;
}

void dp_identity_authorization(const struct dp_identity *identity, char ret[DP_AUTHORIZATION_SIZE])
{
    struct sy_buf hex = {0};
    sy_hex_put(&hex, identity->secret, sizeof(identity->secret));
    snprintf(ret, DP_AUTHORIZATION_SIZE, "Bearer %.*s", (int)hex.len, (const char *)hex.data);
    explicit_bzero(hex.data, hex.len);
    sy_buf_deinit(&hex);
}
