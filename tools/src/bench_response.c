#include "tools/src/bench_response.h"

#include "base/rpc_connect.h"

#include <stdlib.h>
#include <string.h>

#define BYTES_MAX ((size_t)1 << 20) /* of one head, chunk or envelope */
#define NEED_MORE 1

static int refuse(struct sy_error_text *error, const char *what, struct sy_span bytes)
{
    sy_error_text_set(error, "%s: '%.*s'", what, (int)(bytes.len < 300 ? bytes.len : 300),
                      (const char *)bytes.data);
    return -EPROTO;
}

/* The bytes before `end`, which is skipped; false: it has not come. */
static bool cut_at(struct sy_span *bytes, const char *end, struct sy_span *ret)
{
    size_t len = strlen(end);
    const uint8_t *found = bytes->len > 0 ? memmem(bytes->data, bytes->len, end, len) : NULL;
    if (found == NULL)
        return false;
    size_t before = (size_t)(found - bytes->data);
    *ret = (struct sy_span){bytes->data, before};
    *bytes = (struct sy_span){found + len, bytes->len - before - len};
    return true;
}

static int take_head(struct bench_response *response, struct sy_span *in,
                     struct sy_error_text *error)
{
    static const char fine[] = "HTTP/1.1 200 ";
    struct sy_span head;
    if (!cut_at(in, "\r\n\r\n", &head))
        return in->len > BYTES_MAX ? refuse(error, "no end of the headers", *in) : NEED_MORE;
    if (head.len < strlen(fine) || memcmp(head.data, fine, strlen(fine)) != 0)
        return refuse(error, "not a streamed answer", head);
    response->head_done = true;
    return 0;
}

static int take_chunk(struct bench_response *response, struct sy_span *in,
                      struct sy_error_text *error)
{
    struct sy_span rest = *in, line;
    char digits[16], *end;
    if (!cut_at(&rest, "\r\n", &line))
        return in->len > BYTES_MAX ? refuse(error, "no end of a chunk's size", *in) : NEED_MORE;
    size_t len = line.len < sizeof(digits) ? line.len : 0;
    memcpy(digits, line.data, len);
    digits[len] = '\0';
    size_t size = strtoul(digits, &end, 16);
    if (len == 0 || *end != '\0' || size > BYTES_MAX)
        return refuse(error, "not the size of a chunk", line);
    if (rest.len < size + strlen("\r\n"))
        return NEED_MORE;
    sy_buf_append(&response->body, rest.data, size);
    *in = (struct sy_span){rest.data + size + 2, rest.len - size - 2};
    return 0;
}

static int take_envelopes(struct bench_response *response, bench_message_fn on_message, void *ctx,
                          struct sy_error_text *error)
{
    struct sy_connect_envelope envelope;
    size_t len;
    int r;
    while ((r = sy_connect_parse_envelope(sy_buf_span(&response->body), BYTES_MAX, &envelope,
                                          &len)) == 0) {
        bool last = (envelope.flags & SY_CONNECT_END) != 0;
        bool fine = envelope.payload.len == 2 && memcmp(envelope.payload.data, "{}", 2) == 0;
        if (last && !fine)
            return refuse(error, "the stream ended", envelope.payload);
        if (!last)
            on_message(ctx, envelope.payload);
        response->over = last;
        sy_buf_consume(&response->body, len);
    }
    return r == SY_CONNECT_E_CUT ? 0
                                 : refuse(error, "not an envelope", sy_buf_span(&response->body));
}

int bench_response_take(struct bench_response *response, struct sy_span bytes,
                        bench_message_fn on_message, void *ctx, struct sy_error_text *error)
{
    sy_buf_append(&response->in, bytes.data, bytes.len);
    struct sy_span in = sy_buf_span(&response->in);
    int r = 0;
    while (r == 0 && !response->over) {
        r = response->head_done ? take_chunk(response, &in, error)
                                : take_head(response, &in, error);
        if (r == 0)
            r = take_envelopes(response, on_message, ctx, error);
    }
    if (in.len == 0)
        sy_buf_deinit(&response->in); /* ten thousand of them wait */
    else
        sy_buf_consume(&response->in, response->in.len - in.len);
    return r == NEED_MORE ? 0 : r;
}

void bench_response_deinit(struct bench_response *response)
{
    sy_buf_deinit(&response->in);
    sy_buf_deinit(&response->body);
}
