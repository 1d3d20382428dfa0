/* Blobs in a bucket. */
#include "base/blob_impl.h"

int sy_blob_s3_new(void **ret_ctx, struct sy_loop *loop, const struct sy_blob_options *options,
                   struct sy_error_text *error)
{
    (void)ret_ctx;
    (void)loop;
    sy_error_text_set(error, "%s: S3 is not served yet", options->root);
    return -EOPNOTSUPP;
}

const struct sy_blob_adapter sy_blob_s3_adapter = {0};
