/* GET /v2/: the newest runs of all projects, and what the region is made of. */
#include "controlplane/console_page.h"

#include "controlplane/flyte.h"

#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

#include <stdio.h>
#include <string.h>

#define RUNS_A_PAGE 50
#define NODES_MAX 200

struct home {
    const Flyteidl2__Workflow__ListRunsResponse *runs;
    const Switchyard__V1__GetRegionStatusResponse *status;
    const Switchyard__V1__ListNodesResponse *nodes; /* NULL: nothing is known of them */
};

/* ---- runs ---- */

static void put_run(struct sy_buf *html, const Flyteidl2__Workflow__Run *run, int64_t now_ns)
{
    const Flyteidl2__Workflow__Action *action = run->action;
    const Flyteidl2__Common__RunIdentifier *id = action->id->run;
    int64_t start_ns = cp_flyte_time_ns(action->status->start_time);
    int64_t end_ns = cp_flyte_time_ns(action->status->end_time);
    sy_buf_append_str(html, "<tr><td><a href=\"");
    cp_html_run_path(html, id->project, id->domain, id->name);
    sy_buf_append_str(html, "\">");
    cp_html_text(html, id->name);
    sy_buf_append_str(html, "</a></td><td>");
    cp_html_phase(html, (int)action->status->phase);
    sy_buf_append_str(html, "</td><td>");
    cp_html_text(html, action->metadata->funtion_name);
    sy_buf_append_str(html, "</td><td class=\"wide\">");
    cp_html_text(html, id->project);
    sy_buf_append_str(html, " / ");
    cp_html_text(html, id->domain);
    sy_buf_append_str(html, "</td><td class=\"wide\">");
    cp_html_time(html, start_ns);
    sy_buf_append_str(html, "</td><td class=\"r\">");
    cp_html_duration(html, (end_ns > 0 ? end_ns : now_ns) - start_ns);
    sy_buf_append_str(html, "</td></tr>");
}

static void put_runs(struct sy_buf *html, const struct cp_page *page, const struct home *home)
{
    int64_t now_ns = sy_loop_realtime_ns(page->source.loop);
    const Flyteidl2__Workflow__ListRunsResponse *runs = home->runs;
    sy_buf_append_str(html, page->after != NULL ? "<h1>Older runs</h1>" : "<h1>Newest runs</h1>");
    if (runs->n_runs == 0) {
        sy_buf_append_str(html, "<p class=\"dim\">None.</p>");
    } else {
        sy_buf_append_str(html,
                          "<table><tr><th>Run</th><th>Phase</th><th>Task</th>"
                          "<th class=\"wide\">Project / domain</th>"
                          "<th class=\"wide\">Started</th><th class=\"r\">Duration</th></tr>");
        for (size_t i = 0; i < runs->n_runs; i++)
            put_run(html, runs->runs[i], now_ns);
        sy_buf_append_str(html, "</table>");
    }
    if (runs->token[0] == '\0')
        return;
    sy_buf_append_str(html, "<p><a href=\"?after=");
    cp_html_url(html, runs->token);
    sy_buf_append_str(html, "\">Older runs</a></p>");
}

/* ---- the region ---- */

static void put_count(struct sy_buf *html, const char *class, uint64_t count)
{
    sy_buf_printf(html, "<td class=\"%s\">%llu</td>", class, (unsigned long long)count);
}

static void put_partitions(struct sy_buf *html, const struct home *home)
{
    const Switchyard__V1__GetRegionStatusResponse *status = home->status;
    sy_buf_append_str(html, "<h2>Queues</h2><table><tr><th>Partition</th><th>State</th>"
                            "<th class=\"r\">Runs</th><th class=\"r\">Queued</th>"
                            "<th class=\"r\">Running</th><th class=\"r wide\">Waiting for children"
                            "</th><th class=\"r wide\">Finished</th></tr>");
    for (size_t i = 0; i < status->n_partitions; i++) {
        const Switchyard__V1__Partition *one = status->partitions[i];
        sy_buf_printf(html, "<tr><td>%u</td><td>", one->id);
        cp_html_text(html, one->state);
        sy_buf_append_str(html, "<small>");
        cp_html_text(html, one->reason);
        sy_buf_append_str(html, "</small></td>");
        put_count(html, "r", one->runs_live);
        put_count(html, "r", one->actions_queued);
        put_count(html, "r", one->actions_running);
        put_count(html, "r wide", one->actions_waiting_for_children);
        put_count(html, "r wide", one->actions_finished);
        sy_buf_append_str(html, "</tr>");
    }
    sy_buf_append_str(html, "</table>");
}

static void put_amounts(struct sy_buf *html, const Switchyard__V1__Amounts *used,
                        const Switchyard__V1__Amounts *capacity)
{
    sy_buf_printf(html, "<td class=\"r\">%.1f of %.1f</td><td class=\"r wide\">",
                  (double)used->cpu_milli / 1000, (double)capacity->cpu_milli / 1000);
    cp_html_bytes(html, used->memory_bytes);
    sy_buf_append_str(html, " of ");
    cp_html_bytes(html, capacity->memory_bytes);
    sy_buf_printf(html, "</td><td class=\"r wide\">%u of %u</td>", used->gpus, capacity->gpus);
}

static void put_place(struct sy_buf *html, const char *name, const char *beside, const char *state)
{
    sy_buf_append_str(html, "<tr><td>");
    cp_html_text(html, name);
    sy_buf_append_str(html, "<small>");
    cp_html_text(html, beside);
    sy_buf_append_str(html, "</small></td><td>");
    cp_html_text(html, state);
    sy_buf_append_str(html, "</td>");
}

#define PLACE_HEAD                                                                                 \
    "<th>State</th><th class=\"r\">CPU</th><th class=\"r wide\">Memory</th>"                       \
    "<th class=\"r wide\">GPUs</th><th class=\"r\">Running</th><th class=\"r\">Waiting</th></tr>"

static void put_clusters(struct sy_buf *html, const struct home *home)
{
    const Switchyard__V1__GetRegionStatusResponse *status = home->status;
    sy_buf_append_str(html, "<h2>Clusters</h2><table><tr><th>Cluster</th>" PLACE_HEAD);
    for (size_t i = 0; i < status->n_clusters; i++) {
        const Switchyard__V1__Cluster *one = status->clusters[i];
        char nodes[32];
        snprintf(nodes, sizeof(nodes), "%u node%s", one->nodes, one->nodes == 1 ? "" : "s");
        put_place(html, one->name, nodes, one->state);
        put_amounts(html, one->used, one->capacity);
        put_count(html, "r", one->running);
        put_count(html, "r", one->backlog);
        sy_buf_append_str(html, "</tr>");
    }
    sy_buf_append_str(html, "</table>");
}

static void put_nodes(struct sy_buf *html, const struct home *home)
{
    size_t count = home->nodes != NULL ? home->nodes->n_nodes : 0;
    sy_buf_append_str(html, "<h2>Nodes</h2><table><tr><th>Node</th>" PLACE_HEAD);
    for (size_t i = 0; i < count && i < NODES_MAX; i++) {
        const Switchyard__V1__Node *one = home->nodes->nodes[i];
        put_place(html, one->name, one->cluster, one->state);
        put_amounts(html, one->used, one->capacity);
        put_count(html, "r", one->running);
        put_count(html, "r", one->backlog);
        sy_buf_append_str(html, "</tr>");
    }
    sy_buf_append_str(html, "</table>");
    if (count > NODES_MAX)
        sy_buf_printf(html, "<p class=\"dim\">and %zu more</p>", count - NODES_MAX);
}

/* ---- the page ---- */

static void answer(struct cp_page *page)
{
    const struct home *home = page->state;
    struct sy_buf html = {0};
    cp_html_begin(&html, "Runs", false);
    put_runs(&html, page, home);
    if (page->after == NULL) {
        put_partitions(&html, home);
        put_clusters(&html, home);
        put_nodes(&html, home);
    }
    cp_html_end(&html);
    cp_page_reply(page, 200, CP_PAGE_HTML, &html);
}

void cp_page_home(struct cp_page *page)
{
    struct home *home = cp_page_alloc(page, sizeof(*home));
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Workflow__ListRunsRequest runs = FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__INIT;
    Switchyard__V1__GetRegionStatusRequest status = SWITCHYARD__V1__GET_REGION_STATUS_REQUEST__INIT;
    Switchyard__V1__ListNodesRequest nodes = SWITCHYARD__V1__LIST_NODES_REQUEST__INIT;
    list.limit = RUNS_A_PAGE;
    if (page->after != NULL)
        list.token = (char *)(uintptr_t)page->after;
    runs.request = &list;
    page->state = home;
    page->next = answer;
    cp_page_ask(page,
                &(struct cp_page_question){
                    .method = "/flyteidl2.workflow.RunService/ListRuns",
                    .request = &runs.base,
                    .response = &flyteidl2__workflow__list_runs_response__descriptor},
                &home->runs);
    cp_page_ask(page,
                &(struct cp_page_question){
                    .method = "/switchyard.v1.RegionService/GetRegionStatus",
                    .request = &status.base,
                    .response = &switchyard__v1__get_region_status_response__descriptor},
                &home->status);
    cp_page_ask(
        page,
        &(struct cp_page_question){.method = "/switchyard.v1.RegionService/ListNodes",
                                   .request = &nodes.base,
                                   .response = &switchyard__v1__list_nodes_response__descriptor,
                                   .optional = true},
        &home->nodes);
}
