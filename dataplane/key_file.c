#include "dataplane/key_file.h"

#include "base/file.h"

#include <string.h>
#include <sys/random.h>

static int make(const char *path)
{
    uint8_t key[DP_KEY_BYTES];
    ssize_t n = getrandom(key, sizeof(key), 0); /* whole below 256 bytes */
    if (n != (ssize_t)sizeof(key))
        return n < 0 ? -errno : -EIO;
    int r = sy_file_write_atomic(path, key, sizeof(key));
    explicit_bzero(key, sizeof(key));
    return r;
}

int dp_key_file(const char *path, uint8_t ret[DP_KEY_BYTES], struct sy_error_text *error)
{
    struct sy_buf bytes = {0};
    int r = sy_file_read_private(path, DP_KEY_BYTES, &bytes);
    if (r == -ENOENT) {
        r = make(path);
        if (r == 0)
            r = sy_file_read_private(path, DP_KEY_BYTES, &bytes);
    }
    if (r == SY_FILE_E_EXPOSED) {
        sy_error_text_set(error, "%s: others may read this key; expected mode 0600", path);
        r = -EACCES;
    } else if (r == -EFBIG || (r == 0 && bytes.len != DP_KEY_BYTES)) {
        sy_error_text_set(error, "%s: not a key of %d bytes", path, DP_KEY_BYTES);
        r = -EINVAL;
    } else if (r < 0) {
        sy_error_text_set(error, "%s: cannot read or make this key: %s", path, strerror(-r));
    } else {
        SY_ASSERT(bytes.data);
        memcpy(ret, bytes.data, DP_KEY_BYTES);
        explicit_bzero(bytes.data, bytes.len);
    }
    sy_buf_deinit(&bytes);
    return sy_trace(r);
}
