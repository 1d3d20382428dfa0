/* Pages: which path is which, questions and answers, and what ends a page. */
#include "controlplane/console_page.h"

#include "base/mem.h"
#include "controlplane/names.h"
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

/* Answers of one page: a list of 500 actions unpacks to less than 1 MiB, a task spec may have 16.
 */
#define ARENA_BYTES_MAX ((size_t)32 << 20)
#define ANSWER_NS (10 * SY_NS_PER_S)

void *cp_page_alloc(struct cp_page *page, size_t size)
{
    void *memory = sy_arena_alloc(&page->arena, size);
    SY_ASSERT(memory != NULL);
    return memset(memory, 0, size);
}

/* ---- the end ---- */

void cp_page_reply(struct cp_page *page, unsigned status, const char *content_type,
                   struct sy_buf *body)
{
    SY_ASSERT(page->waiting == 0);
    page->done(page->ctx, status, content_type, body);
    sy_buf_deinit(body);
    sy_status_deinit(&page->failure);
    sy_arena_deinit(&page->arena);
    free(page);
}

void cp_page_fail(struct cp_page *page, unsigned status, const char *sentence)
{
    struct sy_buf html = {0};
    const char *title = status == 404 ? "Not found" : "This did not work";
    cp_html_begin(&html, title, false);
    sy_buf_printf(&html, "<h1>%s</h1><p>", title);
    cp_html_text(&html, sentence);
    sy_buf_append_str(&html, "</p>");
    cp_html_end(&html);
    cp_page_reply(page, status, CP_PAGE_HTML, &html);
}

static unsigned http_status(enum sy_code code)
{
    switch (code) {
    case SY_CODE_NOT_FOUND:
        return 404;
    case SY_CODE_INVALID_ARGUMENT:
        return 400;
    case SY_CODE_UNAVAILABLE:
    case SY_CODE_DEADLINE_EXCEEDED:
    case SY_CODE_RESOURCE_EXHAUSTED:
    case SY_CODE_CANCELLED:
        return 503;
    default:
        return 500;
    }
}

static void go_on(struct cp_page *page)
{
    if (page->failure.code != SY_CODE_OK)
        cp_page_fail(page, http_status(page->failure.code), page->failure.message.text);
    else
        page->next(page);
}

/* ---- questions ---- */

struct question {
    struct cp_page *page;
    const ProtobufCMessageDescriptor *response;
    bool optional;
    void **ret;
};

static void on_answer(void *ctx, const struct sy_status *status, struct sy_span bytes)
{
    const struct question *question = ctx;
    struct cp_page *page = question->page;
    void *message = NULL;
    SY_ASSERT(page->waiting > 0);
    page->waiting--;
    if (status->code == SY_CODE_OK)
        message = pb_unpack(question->response, &page->arena, bytes);
    if (message != NULL)
        *question->ret = message;
    else if (!question->optional && page->failure.code == SY_CODE_OK)
        sy_status_set(
            &page->failure, status->code != SY_CODE_OK ? status->code : SY_CODE_INTERNAL, "%s",
            status->code != SY_CODE_OK ? status->message.text : "the answer is too large to show");
    if (page->waiting == 0)
        go_on(page);
}

void cp_page_ask(struct cp_page *page, const struct cp_page_question *asked, void *ret)
{
    struct question *question = cp_page_alloc(page, sizeof(*question));
    struct sy_call_options options = {.method = asked->method, .timeout_ns = ANSWER_NS};
    struct sy_buf request = {0};
    *question = (struct question){page, asked->response, asked->optional, ret};
    pb_pack(asked->request, &request);
    page->waiting++;
    sy_channel_call(page->source.channel, page->source.loop, &options, &request, on_answer,
                    question);
}

/* ---- the beginning ---- */

/* Takes "WORD/" off the path; false: it does not begin so. */
static bool take_word(const char **path, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(*path, word, len) != 0 || (*path)[len] != '/')
        return false;
    *path += len + 1;
    return true;
}

/* Takes a name and, unless it is the last part, the slash behind it. False: it is none. */
static bool take_name(const char **path, bool last, char ret[CP_NAME_LENGTH_MAX + 1])
{
    size_t len = strcspn(*path, "/");
    if (len > CP_NAME_LENGTH_MAX || ((*path)[len] == '/') == last)
        return false;
    memcpy(ret, *path, len);
    ret[len] = '\0';
    *path += len + !last;
    return cp_name_check("name", ret, NULL) == 0;
}

struct run_path {
    char domain[CP_NAME_LENGTH_MAX + 1], project[CP_NAME_LENGTH_MAX + 1];
    char run[CP_NAME_LENGTH_MAX + 1];
};

static bool parse_run(const char *path, struct run_path *ret)
{
    return take_word(&path, "/v2") && take_word(&path, "domain") &&
           take_name(&path, false, ret->domain) && take_word(&path, "project") &&
           take_name(&path, false, ret->project) && take_word(&path, "runs") &&
           take_name(&path, true, ret->run);
}

static char *copy(struct sy_arena *arena, const char *text)
{
    char *to = text != NULL ? sy_arena_strdup(arena, text) : NULL;
    SY_ASSERT(text == NULL || to != NULL); /* a request's head is small */
    return to;
}

static void unknown(struct cp_page *page)
{
    cp_page_fail(page, 404,
                 "There is no such page. Runs are at "
                 "/v2/domain/DOMAIN/project/PROJECT/runs/RUN, the newest ones at /v2/.");
}

static void begin(struct cp_page *page)
{
    struct run_path *run = cp_page_alloc(page, sizeof(*run));
    if (strcmp(page->path, "/") == 0 || strcmp(page->path, "/v2/") == 0)
        cp_page_home(page);
    else if (strcmp(page->path, "/metrics") == 0)
        cp_page_metrics(page);
    else if (parse_run(page->path, run))
        cp_page_run(page, run->project, run->domain, run->run);
    else
        unknown(page);
}

void cp_page_get(const struct cp_page_source *source, const struct cp_page_request *request,
                 cp_page_fn done, void *ctx)
{
    struct cp_page *page = sy_new(struct cp_page);
    page->source = *source;
    page->done = done;
    page->ctx = ctx;
    sy_arena_init(&page->arena, ARENA_BYTES_MAX);
    page->path = copy(&page->arena, request->path);
    page->after = copy(&page->arena, request->after);
    page->action = copy(&page->arena, request->action);
    begin(page);
}
