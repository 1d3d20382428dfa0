/*
 * A page: questions to the shard's services, and HTML (or text) made of their answers. No HTTP
 * here, so that tests ask for pages directly. Everything runs on one loop.
 *
 * A page is made in steps: a step asks, and the next one runs when all has been answered. The last
 * one gives the page back. An answer that is missing ends the page with a sentence, unless the
 * question said that it may.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/rpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct cp_page_request {
    const char *path;   /* decoded */
    const char *after;  /* ?after=TOKEN: from where a list goes on; NULL: from its beginning */
    const char *action; /* ?i=ACTION, as in the SDK's links; NULL: the root */
};
struct cp_page_source {
    struct sy_channel *channel;     /* to the services */
    const struct sy_server *server; /* whose open calls are counted; NULL: none */
    struct sy_loop *loop;
};
/* Once, perhaps inside cp_page_get(). May take the body. */
typedef void (*cp_page_fn)(void *ctx, unsigned status, const char *content_type,
                           struct sy_buf *body);

/* Borrows the channel until `done` ran; copies the request. */
void cp_page_get(const struct cp_page_source *source, const struct cp_page_request *request,
                 cp_page_fn done, void *ctx);

/* The value of Content-Security-Policy that fits what pages hold: their style, no script, nothing
 * from elsewhere. */
void cp_page_policy(struct sy_buf *ret);

/* ---- for console_run.c, console_home.c and console_metrics.c ---- */

struct cp_page {
    struct cp_page_source source;
    struct sy_arena arena; /* answers, and what pages keep of them */
    const char *path, *after, *action;
    size_t waiting; /* questions without an answer */
    struct sy_status failure;
    void (*next)(struct cp_page *page); /* when all has been answered */
    void *state;
    cp_page_fn done;
    void *ctx;
};

struct cp_page_question {
    const char *method;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *response;
    bool optional; /* without an answer *ret stays as it is */
};
/* *ret, which lives as long as the page, becomes the answer, in the page's arena. */
void cp_page_ask(struct cp_page *page, const struct cp_page_question *question, void *ret);
/* Zeroed; NULL never: what pages keep is bounded. */
void *cp_page_alloc(struct cp_page *page, size_t size);
/* Ends the page; take the body. */
void cp_page_reply(struct cp_page *page, unsigned status, const char *content_type,
                   struct sy_buf *body);
void cp_page_fail(struct cp_page *page, unsigned status, const char *sentence);

#define CP_PAGE_HTML "text/html; charset=utf-8"

void cp_page_home(struct cp_page *page);
void cp_page_metrics(struct cp_page *page);
void cp_page_run(struct cp_page *page, const char *project, const char *domain, const char *run);

/* ---- HTML: what comes from outside goes through cp_html_text() or cp_html_url() ---- */

/* To the <body>'s content; live pages load themselves again. `title` is escaped. */
void cp_html_begin(struct sy_buf *html, const char *title, bool live);
void cp_html_end(struct sy_buf *html);
void cp_html_text(struct sy_buf *html, const char *text);
/* For a part of a path or query, in an attribute. */
void cp_html_url(struct sy_buf *html, const char *text);
/* "850 ms", "1.24 s", "3 m 12 s", "2 h 05 m"; "" below 0. */
void cp_html_duration(struct sy_buf *html, int64_t ns);
/* "2026-01-31 12:00:00" of UTC; "" for 0. */
void cp_html_time(struct sy_buf *html, int64_t realtime_ns);
void cp_html_bytes(struct sy_buf *html, uint64_t bytes);
/* A flyteidl2.common.ActionPhase: its word, and the class of its colour. */
const char *cp_html_phase_word(int phase);
const char *cp_html_phase_class(int phase);
/* A coloured word. */
void cp_html_phase(struct sy_buf *html, int phase);
void cp_html_run_path(struct sy_buf *html, const char *project, const char *domain,
                      const char *run);
