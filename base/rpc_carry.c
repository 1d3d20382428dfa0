/* The frames of carried calls as bytes. */
#include "base/rpc_carry.h"

#include <string.h>

#define FRAME_BYTES 9
#define CALL_BYTES 12
#define ANSWER_BYTES 12

static struct sy_span take(struct sy_span *rest, size_t len)
{
    SY_ASSERT(len <= rest->len);
    struct sy_span taken = {rest->data, len};
    rest->data += len;
    rest->len -= len;
    return taken;
}

static uint32_t take_be32(struct sy_span *rest)
{
    return sy_get_be32(take(rest, 4).data);
}

/* ---- reading ---- */

int carry_next(struct sy_span *rest, struct carry_frame *ret)
{
    if (rest->len == 0)
        return 0;
    if (rest->len < FRAME_BYTES)
        return -EBADMSG;
    uint8_t kind = take(rest, 1).data[0];
    uint32_t id = take_be32(rest), len = take_be32(rest);
    if (len > rest->len)
        return -EBADMSG;
    *ret = (struct carry_frame){kind, id, take(rest, len)};
    return 1;
}

/* A path, then pairs. */
static bool is_head(struct sy_span head)
{
    size_t strings = 0;
    if (head.len == 0 || head.data[0] != '/' || head.data[head.len - 1] != '\0')
        return false;
    for (size_t i = 0; i < head.len; i++)
        strings += head.data[i] == '\0';
    return strings % 2 == 1;
}

int carry_read_call(struct sy_span body, struct carry_call *ret)
{
    if (body.len < CALL_BYTES)
        return -EBADMSG;
    uint64_t timeout_ns = sy_get_be64(take(&body, 8).data);
    uint32_t head_len = take_be32(&body);
    if (timeout_ns > INT64_MAX || head_len > CARRY_HEAD_BYTES_MAX || head_len > body.len)
        return -EBADMSG;
    struct sy_span head = take(&body, head_len);
    if (!is_head(head))
        return -EBADMSG;
    *ret = (struct carry_call){(int64_t)timeout_ns, head, body};
    return 0;
}

int carry_read_answer(struct sy_span body, struct carry_answer *ret)
{
    if (body.len < ANSWER_BYTES)
        return -EBADMSG;
    struct carry_answer answer = {.code = take_be32(&body)};
    uint32_t text_len = take_be32(&body), details_len = take_be32(&body);
    if (text_len > body.len || details_len > body.len - text_len)
        return -EBADMSG;
    answer.text = take(&body, text_len);
    answer.details = take(&body, details_len);
    answer.response = body;
    *ret = answer;
    return 0;
}

/* ---- writing ---- */

static void put_frame(struct sy_buf *out, enum carry_kind kind, uint32_t id, size_t len)
{
    uint8_t byte = (uint8_t)kind;
    SY_ASSERT(len <= UINT32_MAX);
    sy_buf_reserve(out, FRAME_BYTES + len);
    sy_buf_append(out, &byte, 1);
    sy_buf_put_be32(out, id);
    sy_buf_put_be32(out, (uint32_t)len);
}

void carry_put(struct sy_buf *out, enum carry_kind kind, uint32_t id)
{
    put_frame(out, kind, id, 0);
}

size_t carry_head_bytes(const struct sy_call_options *options)
{
    size_t bytes = strlen(options->method) + 1;
    for (size_t i = 0; i < options->metadata_count; i++)
        bytes += strlen(options->metadata[i].key) + strlen(options->metadata[i].value) + 2;
    return bytes;
}

static void put_string(struct sy_buf *out, const char *text)
{
    sy_buf_append(out, text, strlen(text) + 1);
}

void carry_put_call(struct sy_buf *out, uint32_t id, const struct sy_call_options *options,
                    struct sy_span request)
{
    size_t head_len = carry_head_bytes(options);
    SY_ASSERT(head_len <= CARRY_HEAD_BYTES_MAX);
    put_frame(out, CARRY_CALL, id, CALL_BYTES + head_len + request.len);
    sy_buf_put_be64(out, options->timeout_ns > 0 ? (uint64_t)options->timeout_ns : 0);
    sy_buf_put_be32(out, (uint32_t)head_len);
    put_string(out, options->method);
    for (size_t i = 0; i < options->metadata_count; i++) {
        put_string(out, options->metadata[i].key);
        put_string(out, options->metadata[i].value);
    }
    sy_buf_append(out, request.data, request.len);
}

void carry_put_answer(struct sy_buf *out, uint32_t id, const struct sy_status *status,
                      struct sy_span response)
{
    size_t text_len = status != NULL ? strlen(status->message.text) : 0;
    size_t details_len = status != NULL ? status->details.len : 0;
    SY_ASSERT(response.len <= CARRY_ANSWER_BYTES_MAX);
    put_frame(out, CARRY_ANSWER, id, ANSWER_BYTES + text_len + details_len + response.len);
    sy_buf_put_be32(out, status != NULL ? (uint32_t)status->code : SY_CODE_OK);
    sy_buf_put_be32(out, (uint32_t)text_len);
    sy_buf_put_be32(out, (uint32_t)details_len);
    if (status != NULL) {
        sy_buf_append(out, status->message.text, text_len);
        sy_buf_append(out, status->details.data, details_len);
    }
    sy_buf_append(out, response.data, response.len);
}
