/*
 * One streamed answer of the Connect protocol over HTTP/1.1, taken apart as its bytes come: head,
 * chunks, envelopes. Binary messages, no compression.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

/* Zeroed = before the first byte. */
struct bench_response {
    struct sy_buf in;   /* came, and is no whole line or chunk yet */
    struct sy_buf body; /* bytes of chunks that are no whole envelope yet */
    bool head_done;
    bool over; /* the last envelope came, and said that all is well */
};
void bench_response_deinit(struct bench_response *response);

/* `message` is borrowed. */
typedef void (*bench_message_fn)(void *ctx, struct sy_span message);
/* Takes what came from the connection. -EPROTO with a sentence: it is no such answer, or an error.
 */
int bench_response_take(struct bench_response *response, struct sy_span bytes,
                        bench_message_fn on_message, void *ctx,
                        struct sy_error_text *error) SY_MUST_USE;
