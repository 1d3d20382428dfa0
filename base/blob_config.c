#include "base/blob_config.h"

#include "base/file.h"

#include <string.h>

#define SECRET_BYTES_MAX 4096

static int read_secret(const char *prefix, const char *path, struct sy_buf *secret,
                       struct sy_error_text *error)
{
    int r = sy_file_read(path, SECRET_BYTES_MAX, secret);
    if (r < 0) {
        sy_error_text_set(error, "%s_secret_key_file: cannot read %s: %s", prefix, path,
                          strerror(-r));
        return r;
    }
    while (secret->len > 0 && strchr("\r\n \t", secret->data[secret->len - 1]))
        secret->len--;
    sy_buf_append(secret, "", 1);
    return 0;
}

int sy_blob_config_options(const struct sy_blob_config *config, const char *prefix,
                           const char *root, struct sy_blob_options *ret, struct sy_buf *secret,
                           struct sy_error_text *error)
{
    *ret = (struct sy_blob_options){
        .root = config->root[0] ? config->root : root,
        .endpoint = config->endpoint,
        .region = config->region,
        .access_key = config->access_key,
        .path_style = config->path_style,
    };
    bool s3 = strncmp(ret->root, "s3://", strlen("s3://")) == 0;
    if (config->root[0] && !s3 && config->root[0] != '/') {
        sy_error_text_set(error, "%s_root: '%s'; expected /DIRECTORY or s3://BUCKET/PREFIX", prefix,
                          config->root);
        return -EINVAL;
    }
    if (s3 && (!config->access_key[0] || !config->secret_key_file[0])) {
        sy_error_text_set(error, "%s_root: %s needs %s_access_key and %s_secret_key_file", prefix,
                          ret->root, prefix, prefix);
        return -EINVAL;
    }
    if (!s3)
        return 0;
    int r = read_secret(prefix, config->secret_key_file, secret, error);
    ret->secret_key = (const char *)secret->data;
    return sy_trace(r);
}
