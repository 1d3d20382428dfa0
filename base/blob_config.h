/*
 * The configuration keys of storage: the same for an operator and its agents, which must name the
 * same store, and of where backups go.
 */
#pragma once

#include "base/blob.h"
#include "base/config.h"

struct sy_blob_config {
    char *root, *endpoint, *region, *access_key, *secret_key_file;
    bool path_style;
};

/* Rows of a key table for `member_`, a struct sy_blob_config in `type_`, whose names begin with
 * `prefix_`: "storage" gives storage_root and so on. */
#define SY_BLOB_CONFIG(type_, member_, prefix_, root_help_)                                        \
    SY_CONFIG_STRING(prefix_ "_root", type_, member_.root, "", root_help_),                        \
        SY_CONFIG_STRING(prefix_ "_endpoint", type_, member_.endpoint, "",                         \
                         "of S3-compatible storage, http://host:port; empty = AWS"),               \
        SY_CONFIG_STRING(prefix_ "_region", type_, member_.region, "us-east-1", "of S3 storage"),  \
        SY_CONFIG_STRING(prefix_ "_access_key", type_, member_.access_key, "", "of S3 storage"),   \
        SY_CONFIG_STRING(prefix_ "_secret_key_file", type_, member_.secret_key_file, "",           \
                         "file that holds the secret key of S3 storage"),                          \
        SY_CONFIG_BOOL(prefix_ "_path_style", type_, member_.path_style, "true",                   \
                       "S3: the bucket in the path, not in the host name")

/* What sy_blobs_new() wants; borrows from `config` and `secret`, into which the key is read. `root`
 * stands in for a root that is not configured. Errors name the key of the configuration. */
int sy_blob_config_options(const struct sy_blob_config *config, const char *prefix,
                           const char *root, struct sy_blob_options *ret, struct sy_buf *secret,
                           struct sy_error_text *error) SY_MUST_USE;
