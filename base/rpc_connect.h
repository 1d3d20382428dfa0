/*
 * The Connect protocol's bytes: codes, errors, envelopes, headers. Pure functions; who moves the
 * bytes is rpc_http*.c. Facts: connectrpc.com/docs/protocol, and the Python client's sources.
 */
#pragma once

#include "base/rpc.h"

/* "invalid_argument"; one of the 16, "unknown" for what is none. */
const char *sy_connect_code_name(enum sy_code code);
unsigned sy_connect_http_status(enum sy_code code);

/* What a request's content type says. */
struct sy_connect_type {
    bool stream; /* application/connect+... */
    bool json;
};
/* False: not one of the protocol's four. Parameters (";charset=utf-8") are ignored. */
bool sy_connect_parse_type(const char *content_type, struct sy_connect_type *ret);
const char *sy_connect_type_name(struct sy_connect_type type);

/* Whether an Accept-Encoding list names gzip and does not forbid it (q=0). NULL: no. */
bool sy_connect_accepts_gzip(const char *list);

/* Up to ten digits; false otherwise. */
bool sy_connect_parse_timeout_ms(const char *text, int64_t *ret_ms);

/* Appends {"code":...,"message":...,"details":[...]}; details come from status->details, and are
 * left out when those bytes are no google.rpc.Status. */
void sy_connect_append_error(struct sy_buf *json, const struct sy_status *status);
/* The payload of a stream's last envelope; NULL = OK. */
void sy_connect_append_end(struct sy_buf *json, const struct sy_status *status);

enum { SY_CONNECT_GZIP = 1, SY_CONNECT_END = 2 }; /* flags of an envelope */
#define SY_CONNECT_ENVELOPE_HEAD 5

struct sy_connect_envelope {
    uint8_t flags;
    struct sy_span payload; /* within the bytes that were parsed */
};
#define SY_CONNECT_E_CUT 1   /* the bytes end before the envelope does */
#define SY_CONNECT_E_LARGE 2 /* it says that it is longer than bytes_max */
/* The first envelope of `bytes`; *ret_len is how many of them it takes. */
int sy_connect_parse_envelope(struct sy_span bytes, size_t bytes_max,
                              struct sy_connect_envelope *ret, size_t *ret_len) SY_MUST_USE;
/* Appends the head of an envelope whose payload of `len` bytes follows. */
void sy_connect_append_head(struct sy_buf *out, uint8_t flags, size_t len);
