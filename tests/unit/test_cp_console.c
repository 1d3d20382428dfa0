/* links: cp */
#include "base/digest.h"
#include "controlplane/console_page.h"
#include "tests/unit/cp_requests.h"

#include "flyteidl2/workflow/run_service.pb-c.h"

/* ---- asking for pages ---- */

struct got {
    bool done;
    unsigned status;
    char type[64];
    char *text; /* NULL until it came; the test's */
};

static void on_page(void *ctx, unsigned status, const char *content_type, struct sy_buf *body)
{
    struct got *got = ctx;
    ck_assert(!got->done);
    got->done = true;
    got->status = status;
    snprintf(got->type, sizeof(got->type), "%s", content_type);
    got->text = sy_strndup((const char *)body->data, body->len);
    ck_assert_uint_eq(strlen(got->text), body->len);
}

static struct got get_with(struct world *w, const struct cp_page_request *request)
{
    struct cp_page_source source = {.channel = w->channel, .loop = w->client_loop};
    struct got got = {0};
    cp_page_get(&source, request, on_page, &got);
    world_until(w, got.done);
    return got;
}

static const char *body_of(const char *page)
{
    const char *body = strstr(page, "<main>");
    return body != NULL ? body : page;
}

/* A page with this status and these texts on it; free it. */
static char *page_of(struct world *w, const char *path, unsigned status)
{
    struct got got = get_with(w, &(struct cp_page_request){.path = path});
    ck_assert_msg(got.status == status, "%s: %u: %.2000s", path, got.status, body_of(got.text));
    return got.text;
}

#define has(text, part)                                                                            \
    ck_assert_msg(strstr(text, part) != NULL, "no %s in %.2000s", part, body_of(text))
#define lacks(text, part)                                                                          \
    ck_assert_msg(strstr(text, part) == NULL, "%s is in %.2000s", part, body_of(text))

static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

/* What stands behind `before`, up to a quote. */
static char *behind(const char *text, const char *before)
{
    const char *at = strstr(text, before);
    has(text, before);
    at += strlen(before);
    return sy_strndup(at, strcspn(at, "\""));
}

/* ---- texts ---- */

static void assert_text(void (*put)(struct sy_buf *, const char *), const char *from,
                        const char *to)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) html = {0};
    put(&html, from);
    sy_buf_append(&html, "", 1);
    ck_assert_str_eq((const char *)html.data, to);
}

START_TEST(escapes)
{
    assert_text(cp_html_text, "<b a=\"1\" c='2'>&</b>",
                "&#60;b a=&#34;1&#34; c=&#39;2&#39;&#62;&#38;&#60;/b&#62;");
    assert_text(cp_html_text, "plain \xc3\xbc", "plain \xc3\xbc");
    assert_text(cp_html_text, "", "");
    assert_text(cp_html_url, "a-z_0.~", "a-z_0.~");
    assert_text(cp_html_url, "../\"<&?#%", "..%2F%22%3C%26%3F%23%25");
}
END_TEST

static void assert_amount(void (*put)(struct sy_buf *, int64_t), int64_t amount, const char *to)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) html = {0};
    put(&html, amount);
    sy_buf_append(&html, "", 1);
    ck_assert_str_eq((const char *)html.data, to);
}

START_TEST(amounts)
{
    assert_amount(cp_html_duration, -1, "");
    assert_amount(cp_html_duration, 0, "0 ms");
    assert_amount(cp_html_duration, 999 * SY_NS_PER_MS, "999 ms");
    assert_amount(cp_html_duration, 1240 * SY_NS_PER_MS, "1.24 s");
    assert_amount(cp_html_duration, 192 * SY_NS_PER_S, "3 m 12 s");
    assert_amount(cp_html_duration, 7500 * SY_NS_PER_S, "2 h 05 m");
    assert_amount(cp_html_time, 0, "");
    assert_amount(cp_html_time, 1700000000 * SY_NS_PER_S, "2023-11-14 22:13:20");
    ck_assert_str_eq(cp_html_phase_word(6), "failed");
    ck_assert_str_eq(cp_html_phase_word(-1), "unknown");
    ck_assert_str_eq(cp_html_phase_word(11), "unknown");
}
END_TEST

/* A browser takes the style by its hash, and nothing else. */
START_TEST(policy_fits_the_style)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) html = {0}, policy = {0}, hash = {0};
    uint8_t digest[SY_SHA256_BYTES];
    cp_html_begin(&html, "<title>", false);
    sy_buf_append(&html, "", 1);
    has((const char *)html.data, "<title>&#60;title&#62;");
    const char *from = strstr((const char *)html.data, "<style>") + 7;
    const char *to = strstr(from, "</style>");
    sy_sha256((struct sy_span){(const uint8_t *)from, (size_t)(to - from)}, digest);
    sy_base64_put(&hash, (struct sy_span){digest, sizeof(digest)});
    sy_buf_append(&hash, "", 1);
    cp_page_policy(&policy);
    has((const char *)policy.data, (const char *)hash.data);
    has((const char *)policy.data, "default-src 'none'");
}
END_TEST

/* ---- a run ---- */

#define RUN_PATH "/v2/domain/d/project/p/runs/"

static void enqueue_in_group(struct world *w, const char *name, const char *group)
{
    struct enqueue_request e;
    enqueue_init(w, &e, "run", "a0", name);
    e.action.group = text_of(group);
    call_ok(w, ACTIONS "Enqueue", &e.request.base,
            &flyteidl2__actions__enqueue_response__descriptor);
}

static void fail_with(struct world *w, const char *name, const char *message)
{
    struct fake_stream *s;
    struct fake_attempt *a = assigned(w, name, &s);
    Switchyard__Internal__Outcome outcome = SWITCHYARD__INTERNAL__OUTCOME__INIT;
    outcome.kind = OUTCOME(FAILED);
    outcome.error_code = text_of("Bad<Code>");
    outcome.error_message = text_of(message);
    fake_end(s, a, &outcome);
    world_for(w, SY_NS_PER_S);
}

START_TEST(run_as_a_tree)
{
    struct world w;
    world_init_for(&w, _i);
    create_run(&w, "run", "switchyard.process");
    enqueue_in_group(&w, "c1", "<grid>");
    enqueue_in_group(&w, "c2", "");
    enqueue_in_group(&w, "c3", "<grid>");
    fail_with(&w, "c1", "<script>alert(1)</script>");
    char *page SY_AUTOFREE = page_of(&w, RUN_PATH "run", 200);
    has(page, "<h1>run</h1>");
    has(page, "p / d");
    has(page, "http-equiv=\"refresh\""); /* it runs */
    has(page, "Bad&#60;Code&#62;: &#60;script&#62;alert(1)&#60;/script&#62;");
    lacks(page, "<script");
    /* The group is one row, its actions are together and one level deeper. */
    ck_assert_uint_eq(count_of(page, "&#60;grid&#62;<small>group of 2</small>"), 1);
    const char *c1 = strstr(page, "?i=c1\""), *c2 = strstr(page, "?i=c2\"");
    const char *c3 = strstr(page, "?i=c3\"");
    ck_assert(c1 != NULL && c2 != NULL && c3 != NULL);
    ck_assert(c1 < c3);
    ck_assert(c3 < c2);
    has(page, "class=\"d2\"><a href=\"?i=c3\"");
    has(page, "class=\"d1\"><a href=\"?i=c2\"");
    has(page, "class=\"d0\"><a href=\"?i=a0\"");
    world_deinit(&w);
}
END_TEST

START_TEST(run_that_ended)
{
    struct world w;
    world_init(&w, 1);
    create_run(&w, "run", "switchyard.process");
    finish_task(&w, "a0", OUTCOME(SUCCEEDED));
    world_for(&w, SY_NS_PER_S);
    char *page SY_AUTOFREE = page_of(&w, RUN_PATH "run", 200);
    has(page, "succeeded");
    lacks(page, "http-equiv=\"refresh\"");
    world_deinit(&w);
}
END_TEST

START_TEST(chosen_action)
{
    struct world w;
    world_init(&w, 1);
    create_run(&w, "run", "switchyard.process");
    enqueue_in_group(&w, "c1", "");
    fail_with(&w, "c1", "no luck");
    struct cp_page_request request = {.path = RUN_PATH "run", .action = "c1"};
    struct got got = get_with(&w, &request);
    ck_assert_uint_eq(got.status, 200);
    has(got.text, "<h2>Action c1</h2>");
    has(got.text, "<tr class=\"on\">");
    ck_assert_uint_eq(count_of(got.text, "Bad&#60;Code&#62;: no luck"), 1);
    free(got.text);
    request.action = "c9";
    got = get_with(&w, &request);
    ck_assert_uint_eq(got.status, 404);
    has(got.text, "action &#39;c9&#39; of run p/d/run does not exist");
    free(got.text);
    request.action = "\"><script>";
    got = get_with(&w, &request);
    ck_assert_uint_eq(got.status, 400);
    lacks(got.text, "<script");
    free(got.text);
    world_deinit(&w);
}
END_TEST

START_TEST(run_in_pages)
{
    static struct batch b;
    struct world w;
    world_init(&w, 1);
    create_run(&w, "run", "switchyard.group");
    batch_init(&w, &b, "run", "a0", 0, 600);
    enqueue_batch(&w, &b);
    char *first SY_AUTOFREE = page_of(&w, RUN_PATH "run", 200);
    ck_assert_uint_eq(count_of(first, "<svg"), 500);
    has(first, "?i=a0\"");
    has(first, "500 shown, 101 follow");
    char *token SY_AUTOFREE = behind(first, "<a href=\"?after=");
    struct cp_page_request request = {.path = RUN_PATH "run", .after = token};
    struct got got = get_with(&w, &request);
    ck_assert_uint_eq(got.status, 200);
    ck_assert_uint_eq(count_of(got.text, "<svg"), 101);
    has(got.text, "<small>n-000599 below a0</small>");
    lacks(got.text, ">The next ones<");
    free(got.text);
    request.after = "<bogus>";
    got = get_with(&w, &request);
    ck_assert_uint_eq(got.status, 400);
    has(got.text, "&#60;bogus&#62;");
    free(got.text);
    world_deinit(&w);
}
END_TEST

START_TEST(run_too_long_to_count)
{
    static struct batch b;
    struct world w;
    world_init_stopped(&w, 1);
    world_connect(&w); /* no operator: all of it waits */
    create_run(&w, "run", "switchyard.group");
    for (unsigned i = 0; i < 6; i++) {
        batch_init(&w, &b, "run", "a0", i * 1000, 1000);
        enqueue_batch(&w, &b);
    }
    char *page SY_AUTOFREE = page_of(&w, RUN_PATH "run", 200);
    has(page, "500 shown, more than 5000 follow");
    ck_assert_uint_eq(count_of(page, "<svg"), 500);
    world_deinit(&w);
}
END_TEST

/* ---- paths ---- */

START_TEST(unknown_paths)
{
    static const char *const paths[] = {
        "/nope",
        "/v2",
        "/v2/domain",
        "/v2/domain/d/project/p/runs",
        RUN_PATH,
        RUN_PATH "run/more",
        RUN_PATH "..",
        RUN_PATH "<script>",
        "/v2/domain/d/project//runs/run",
        "/v2/domain/d/project/../../etc/passwd/runs/run",
        "/v2/domain/d/project/p/tasks/run",
        RUN_PATH "a234567890b234567890c234567890d234567890e234567890f234567890g2345",
        "/metrics/",
        "/../../etc/passwd",
    };
    struct world w;
    world_init_for(&w, _i);
    for (size_t i = 0; i < SY_COUNT_OF(paths); i++) {
        char *page SY_AUTOFREE = page_of(&w, paths[i], 404);
        has(page, "There is no such page.");
        lacks(page, "<script");
    }
    char *page SY_AUTOFREE = page_of(&w, RUN_PATH "none", 404);
    has(page, "run p/d/none does not exist");
    world_deinit(&w);
}
END_TEST

START_TEST(nobody_answers)
{
    struct world w;
    world_init(&w, 1);
    struct sy_channel *nobody = sy_channel_new(w.rpc, "nobody:1");
    struct cp_page_source source = {.channel = nobody, .loop = w.client_loop};
    struct cp_page_request request = {.path = RUN_PATH "run"};
    struct got got = {0};
    cp_page_get(&source, &request, on_page, &got);
    world_until(&w, got.done);
    ck_assert_uint_eq(got.status, 503);
    ck_assert_str_eq(got.type, CP_PAGE_HTML);
    free(got.text);
    sy_channel_free(nobody);
    world_deinit(&w);
}
END_TEST

/* ---- the newest runs, metrics ---- */

START_TEST(home_in_pages)
{
    struct world w;
    char name[16];
    world_init(&w, 3);
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "run-%02u", i);
        create_run(&w, name, "switchyard.process");
        world_for(&w, SY_NS_PER_MS);
    }
    char *first SY_AUTOFREE = page_of(&w, "/", 200);
    ck_assert_uint_eq(count_of(first, "href=\"" RUN_PATH "run-"), 50);
    has(first, RUN_PATH "run-59\"");
    lacks(first, RUN_PATH "run-09\"");
    has(first, "<h2>Clusters</h2>");
    has(first, "c1<small>1 node</small>");
    has(first, "n1<small>c1</small>");
    char *token SY_AUTOFREE = behind(first, "<a href=\"?after=");
    struct got got = get_with(&w, &(struct cp_page_request){.path = "/v2/", .after = token});
    ck_assert_uint_eq(got.status, 200);
    ck_assert_uint_eq(count_of(got.text, "href=\"" RUN_PATH "run-"), 10);
    has(got.text, RUN_PATH "run-00\"");
    lacks(got.text, ">Older runs</a>");
    free(got.text);
    world_deinit(&w);
}
END_TEST

/* Every sample stands below the HELP and TYPE of its name, and ends in a number. */
static void check_metrics(const char *text)
{
    char name[128] = "", *copy SY_AUTOFREE = sy_strdup(text), *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char help[128], type[16], *end;
        if (sscanf(line, "# HELP %127s", help) == 1) {
            snprintf(name, sizeof(name), "%s", help);
        } else if (sscanf(line, "# TYPE %127s %15s", help, type) == 2) {
            ck_assert_str_eq(help, name);
            ck_assert(strcmp(type, "gauge") == 0 || strcmp(type, "counter") == 0);
        } else {
            ck_assert_uint_eq(strcspn(line, "{ "), strlen(name));
            ck_assert_int_eq(strncmp(line, name, strlen(name)), 0);
            strtod(strrchr(line, ' ') + 1, &end);
            ck_assert_msg(*end == '\0', "%s", line);
        }
    }
}

START_TEST(metrics)
{
    struct world w;
    world_init(&w, 1);
    create_run(&w, "run", "switchyard.process");
    finish_task(&w, "a0", OUTCOME(SUCCEEDED));
    create_run(&w, "run-2", "switchyard.process");
    world_for(&w, SY_NS_PER_S);
    struct got got = get_with(&w, &(struct cp_page_request){.path = "/metrics"});
    ck_assert_uint_eq(got.status, 200);
    ck_assert_int_eq(strncmp(got.type, "text/plain; version=0.0.4", 25), 0);
    check_metrics(got.text);
    has(got.text, "\nswitchyard_partition_serving{partition=\"0\"} 1\n");
    has(got.text, "\nswitchyard_actions{partition=\"0\",state=\"running\"} 1\n");
    has(got.text, "\nswitchyard_actions_finished_total{partition=\"0\"} 1\n");
    has(got.text, "\nswitchyard_cluster_up{cluster=\"c1\"} 1\n");
    has(got.text, "\nswitchyard_cluster_running{cluster=\"c1\"} 2\n");
    lacks(got.text, "\nswitchyard_commits_total{partition=\"0\"} 0\n");
    lacks(got.text, "\nprocess_resident_memory_bytes 0\n");
    free(got.text);
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {run_as_a_tree, unknown_paths, NULL};
    const TTest *const once[] = {
        escapes,
        amounts,
        policy_fits_the_style,
        run_that_ended,
        chosen_action,
        run_in_pages,
        run_too_long_to_count,
        nobody_answers,
        home_in_pages,
        metrics,
        NULL,
    };
    return world_tests("cp_console", each, once);
}
