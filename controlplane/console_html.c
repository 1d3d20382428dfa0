/* HTML: the frame and style of a page, and texts made safe for it. */
#include "base/digest.h"
#include "controlplane/console_page.h"
#include "controlplane/names.h"

#include "flyteidl2/common/phase.pb-c.h"
#include "version.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#define LIVE_SECONDS "3"

/* One text, since the policy allows the style of this hash only. */
static const char style[] =
    ":root{color-scheme:light dark;--fg:#1d2329;--dim:#66707a;--line:#e3e7eb;--bg:#fff;"
    "--soft:#f6f8f9;--link:#0b5cad;--ok:#2c8a4b;--bad:#c0392b;--run:#2f74c0;--wait:#9aa4ae;"
    "--stop:#a8741a}"
    "@media(prefers-color-scheme:dark){:root{--fg:#dde3e8;--dim:#929ca6;--line:#2c343b;"
    "--bg:#14181c;--soft:#1b2126;--link:#7db4ee;--ok:#55b877;--bad:#ee7568;--run:#69a5e8;"
    "--wait:#66707a;--stop:#d6a651}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:1180px;padding:0 24px 48px;color:var(--fg);background:var(--bg);"
    "font:14px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}"
    "a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}"
    "header{display:flex;gap:24px;padding:14px 0;border-bottom:1px solid var(--line)}"
    "header b{margin-right:auto}"
    "h1{font-size:20px;font-weight:600;margin:24px 0 12px;overflow-wrap:anywhere}"
    "h2{font-size:15px;font-weight:600;margin:32px 0 8px}"
    "dl{display:grid;grid-template-columns:max-content 1fr max-content 1fr;gap:4px 20px;margin:0}"
    "dt,small,th,footer,.dim{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}"
    "table{width:100%;border-collapse:collapse}"
    "th{font-weight:500;text-align:left;font-size:12px}"
    "th,td{padding:5px 16px 5px 0;border-bottom:1px solid var(--line);vertical-align:baseline}"
    "td{overflow-wrap:anywhere}th.r,td.r{text-align:right;white-space:nowrap}"
    "th:last-child,td:last-child{padding-right:0}"
    "small{font-weight:400;margin-left:8px}dl+pre{margin-top:12px}tr.on td{background:var(--soft)}"
    "tr.more td{border-bottom-color:transparent}"
    ".bar{width:32%;vertical-align:middle}"
    "svg{display:block;width:100%;height:8px;background:var(--soft);border-radius:2px}"
    ".phase{white-space:nowrap}.phase:before{content:'';display:inline-block;width:8px;height:8px;"
    "border-radius:4px;margin-right:7px;background:var(--wait)}"
    ".ok:before{background:var(--ok)}.bad:before{background:var(--bad)}"
    ".run:before{background:var(--run)}.stop:before{background:var(--stop)}"
    "rect{fill:var(--wait)}rect.ok{fill:var(--ok)}rect.bad{fill:var(--bad)}"
    "rect.run{fill:var(--run)}rect.stop{fill:var(--stop)}"
    "pre{margin:0;padding:8px 12px;max-height:320px;overflow:auto;white-space:pre-wrap;"
    "overflow-wrap:anywhere;background:var(--soft);border-left:3px solid var(--bad);"
    "font:12px/1.5 ui-monospace,monospace}"
    "pre.code{border:0;display:inline;padding:2px 6px}"
    ".d1{padding-left:20px}.d2{padding-left:40px}.d3{padding-left:60px}.d4{padding-left:80px}"
    ".d5{padding-left:100px}.d6{padding-left:120px}.d7{padding-left:140px}.d8{padding-left:160px}"
    "footer{margin-top:40px;font-size:12px}"
    "@media(max-width:720px){body{padding:0 14px 32px}.wide{display:none}"
    "dl{grid-template-columns:max-content 1fr}.bar{width:20%}th,td{padding-right:10px}"
    "td small{display:block;margin:0;font-size:11px}.d1{padding-left:10px}.d2{padding-left:20px}"
    ".d3{padding-left:30px}.d4{padding-left:40px}.d5,.d6,.d7,.d8{padding-left:50px}}";

void cp_page_policy(struct sy_buf *ret)
{
    uint8_t digest[SY_SHA256_BYTES];
    sy_sha256((struct sy_span){(const uint8_t *)style, sizeof(style) - 1}, digest);
    sy_buf_append_str(ret, "default-src 'none'; style-src 'sha256-");
    sy_base64_put(ret, (struct sy_span){digest, sizeof(digest)});
    sy_buf_append_str(ret, "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    sy_buf_append(ret, "", 1);
}

void cp_html_begin(struct sy_buf *html, const char *title, bool live)
{
    sy_buf_append_str(html, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                            "<meta name=\"viewport\" content=\"width=device-width\">");
    if (live)
        sy_buf_append_str(html, "<meta http-equiv=\"refresh\" content=\"" LIVE_SECONDS "\">");
    sy_buf_append_str(html, "<title>");
    cp_html_text(html, title);
    sy_buf_append_str(html, " \xc2\xb7 Switchyard</title><style>");
    sy_buf_append_str(html, style);
    sy_buf_append_str(html, "</style></head><body><header><b>Switchyard</b>"
                            "<a href=\"/v2/\">Runs and clusters</a></header><main>");
}

void cp_html_end(struct sy_buf *html)
{
    sy_buf_append_str(html, "</main><footer>Times are UTC. Switchyard " SY_VERSION
                            "</footer></body></html>\n");
}

void cp_html_text(struct sy_buf *html, const char *text)
{
    for (const char *at = text != NULL ? text : ""; *at != '\0';) {
        size_t plain = strcspn(at, "&<>\"'");
        sy_buf_append(html, at, plain);
        at += plain;
        if (*at != '\0')
            sy_buf_printf(html, "&#%d;", *at++);
    }
}

void cp_html_url(struct sy_buf *html, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (isalnum((unsigned char)*at) || strchr("-._~", *at) != NULL)
            sy_buf_append(html, at, 1);
        else
            sy_buf_printf(html, "%%%02X", (unsigned char)*at);
    }
}

void cp_html_duration(struct sy_buf *html, int64_t ns)
{
    int64_t s = ns / SY_NS_PER_S;
    if (ns < 0)
        return;
    if (s < 1)
        sy_buf_printf(html, "%lld ms", (long long)(ns / SY_NS_PER_MS));
    else if (s < 60)
        sy_buf_printf(html, "%.2f s", (double)ns / SY_NS_PER_S);
    else if (s < 3600)
        sy_buf_printf(html, "%lld m %02lld s", (long long)(s / 60), (long long)(s % 60));
    else
        sy_buf_printf(html, "%lld h %02lld m", (long long)(s / 3600), (long long)(s / 60 % 60));
}

void cp_html_time(struct sy_buf *html, int64_t realtime_ns)
{
    char text[32];
    struct tm parts;
    time_t seconds = (time_t)(realtime_ns / SY_NS_PER_S);
    if (realtime_ns <= 0 || gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts) == 0)
        return;
    sy_buf_append_str(html, text);
}

void cp_html_bytes(struct sy_buf *html, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double amount = (double)bytes;
    size_t unit = 0;
    for (; amount >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1; unit++)
        amount /= 1024;
    sy_buf_printf(html, "%.*f %s", unit == 0 || amount >= 100 ? 0 : 1, amount, units[unit]);
}

#define PHASE(name) FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_##name

static const struct {
    const char *word, *class;
} phases[] = {
    [PHASE(UNSPECIFIED)] = {"unknown", "wait"},
    [PHASE(QUEUED)] = {"queued", "wait"},
    [PHASE(WAITING_FOR_RESOURCES)] = {"waiting for resources", "wait"},
    [PHASE(INITIALIZING)] = {"initializing", "wait"},
    [PHASE(RUNNING)] = {"running", "run"},
    [PHASE(SUCCEEDED)] = {"succeeded", "ok"},
    [PHASE(FAILED)] = {"failed", "bad"},
    [PHASE(ABORTED)] = {"aborted", "stop"},
    [PHASE(TIMED_OUT)] = {"timed out", "bad"},
    [PHASE(PAUSED)] = {"paused", "stop"},
    [PHASE(RECOVERED)] = {"recovered", "ok"},
};

static size_t known_phase(int phase)
{
    bool known = phase >= 0 && (size_t)phase < sizeof(phases) / sizeof(phases[0]);
    return known ? (size_t)phase : PHASE(UNSPECIFIED);
}

const char *cp_html_phase_word(int phase)
{
    return phases[known_phase(phase)].word;
}

const char *cp_html_phase_class(int phase)
{
    return phases[known_phase(phase)].class;
}

void cp_html_phase(struct sy_buf *html, int phase)
{
    sy_buf_printf(html, "<span class=\"phase %s\">%s</span>", cp_html_phase_class(phase),
                  cp_html_phase_word(phase));
}

void cp_html_run_path(struct sy_buf *html, const char *project, const char *domain, const char *run)
{
    sy_buf_append_str(html, "/v2/domain/");
    cp_html_url(html, domain);
    sy_buf_append_str(html, "/project/");
    cp_html_url(html, project);
    sy_buf_append_str(html, "/runs/");
    cp_html_url(html, run);
}
