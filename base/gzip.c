#include "base/gzip.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define GZIP_WINDOW_BITS (15 + 16) /* + 16: with gzip's header and trailer, and nothing else */
#define DEFLATE_MEMORY 8           /* zlib's default */
#define OUT_STEP ((size_t)16 << 10)

struct sy_gzip {
    z_stream in, out;
    bool has_in, has_out;
};

struct sy_gzip *sy_gzip_new(void)
{
    return sy_new(struct sy_gzip);
}

void sy_gzip_free(struct sy_gzip *gzip)
{
    if (gzip == NULL)
        return;
    if (gzip->has_in)
        inflateEnd(&gzip->in);
    if (gzip->has_out)
        deflateEnd(&gzip->out);
    free(gzip);
}

bool sy_gzip_is(struct sy_span bytes)
{
    return bytes.len >= 2 && bytes.data[0] == 0x1f && bytes.data[1] == 0x8b;
}

/* zlib fails to start only without memory, or with wrong constants. */
static z_stream *inflater(struct sy_gzip *gzip)
{
    int r = gzip->has_in ? inflateReset(&gzip->in) : inflateInit2(&gzip->in, GZIP_WINDOW_BITS);
    SY_ASSERT(r == Z_OK);
    gzip->has_in = true;
    return &gzip->in;
}

static z_stream *deflater(struct sy_gzip *gzip)
{
    int r = gzip->has_out ? deflateReset(&gzip->out)
                          : deflateInit2(&gzip->out, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW_BITS,
                                         DEFLATE_MEMORY, Z_DEFAULT_STRATEGY);
    SY_ASSERT(r == Z_OK);
    gzip->has_out = true;
    return &gzip->out;
}

/* Room for the next piece; one byte beyond `bytes_max` is enough to know that it is too large. */
static void set_room(z_stream *stream, struct sy_buf *out, size_t bytes_max)
{
    size_t room = bytes_max - out->len;
    sy_buf_reserve(out, room < OUT_STEP ? room + 1 : OUT_STEP);
    size_t free_bytes = out->cap - out->len;
    stream->next_out = out->data + out->len;
    stream->avail_out = (uInt)(free_bytes < room + 1 ? free_bytes : room + 1);
}

static int inflate_all(z_stream *stream, size_t bytes_max, struct sy_buf *out)
{
    for (;;) {
        set_room(stream, out, bytes_max);
        int r = inflate(stream, Z_NO_FLUSH);
        out->len = (size_t)(stream->next_out - out->data);
        if (out->len > bytes_max)
            return SY_GZIP_E_LARGE;
        if (r == Z_STREAM_END)
            return stream->avail_in == 0 ? 0 : SY_GZIP_E_CORRUPT;
        if (r != Z_OK || (stream->avail_in == 0 && stream->avail_out > 0))
            return SY_GZIP_E_CORRUPT;
    }
}

int sy_gzip_inflate(struct sy_gzip *gzip, struct sy_span bytes, size_t bytes_max,
                    struct sy_buf *ret)
{
    SY_ASSERT(bytes.len <= UINT32_MAX && bytes_max < UINT32_MAX);
    z_stream *stream = inflater(gzip);
    stream->next_in = (Bytef *)(uintptr_t)bytes.data;
    stream->avail_in = (uInt)bytes.len;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf out = {0};
    int r = inflate_all(stream, bytes_max, &out);
    if (r != 0)
        return r;
    if (ret->len == 0 && ret->cap == 0)
        *ret = sy_buf_take(&out);
    else
        sy_buf_append(ret, out.data, out.len);
    return 0;
}

void sy_gzip_deflate(struct sy_gzip *gzip, struct sy_span bytes, struct sy_buf *ret)
{
    SY_ASSERT(bytes.len <= UINT32_MAX / 2);
    z_stream *stream = deflater(gzip);
    size_t bound = deflateBound(stream, bytes.len);
    sy_buf_reserve(ret, bound);
    stream->next_in = (Bytef *)(uintptr_t)bytes.data;
    stream->avail_in = (uInt)bytes.len;
    stream->next_out = ret->data + ret->len;
    stream->avail_out = (uInt)bound;
    int r = deflate(stream, Z_FINISH);
    SY_ASSERT(r == Z_STREAM_END);
    ret->len += bound - stream->avail_out;
}
