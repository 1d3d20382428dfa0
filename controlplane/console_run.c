/* GET /v2/domain/D/project/P/runs/R: one run, one of its actions in detail, and all as a tree. */
#include "controlplane/console_run.h"

#include "base/mem.h"
#include "controlplane/flyte.h"
#include "proto/pb.h"
#include "scheduler/partition.h"

#include "flyteidl2/task/task_definition.pb-c.h"

#include <string.h>

#define RUN_SERVICE "/flyteidl2.workflow.RunService/"

typedef Flyteidl2__Workflow__ActionDetails action_details;

const char *cp_html_cache_word(int status)
{
    static const char *const words[] = {
        "", "", "hit", "stored", "lookup failed", "not stored", "skipped", "evicted"};
    return status >= 0 && (size_t)status < SY_COUNT_OF(words) ? words[status] : "";
}

void cp_html_error(struct sy_buf *html, const action_details *details)
{
    bool failed = details->result_case == FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ERROR_INFO;
    bool aborted = details->result_case == FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT_ABORT_INFO;
    if (!failed && !aborted)
        return;
    sy_buf_append_str(html, "<pre>");
    cp_html_text(html, failed ? details->error_info->code : "Aborted");
    sy_buf_append_str(html, ": ");
    cp_html_text(html, failed ? details->error_info->message : details->abort_info->reason);
    sy_buf_append_str(html, "</pre>");
}

/* ---- facts ---- */

static void put_term(struct sy_buf *html, const char *term)
{
    sy_buf_printf(html, "<dt>%s</dt><dd>", term);
}

/* Nothing for an empty text. */
static void put_fact(struct sy_buf *html, const char *term, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    put_term(html, term);
    cp_html_text(html, text);
    sy_buf_append_str(html, "</dd>");
}

static void put_times(struct sy_buf *html, const struct cp_page *page,
                      const Flyteidl2__Workflow__ActionStatus *status)
{
    int64_t start_ns = cp_flyte_time_ns(status->start_time);
    int64_t end_ns = cp_flyte_time_ns(status->end_time);
    put_term(html, "Started");
    cp_html_time(html, start_ns);
    sy_buf_append_str(html, "</dd>");
    put_term(html, "Duration");
    cp_html_duration(html,
                     (end_ns > 0 ? end_ns : sy_loop_realtime_ns(page->source.loop)) - start_ns);
    sy_buf_append_str(html, end_ns > 0 ? "</dd>" : " so far</dd>");
}

static void put_task(struct sy_buf *html, const Flyteidl2__Workflow__ActionMetadata *metadata)
{
    const Flyteidl2__Workflow__TaskActionMetadata *task =
        metadata->spec_case == FLYTEIDL2__WORKFLOW__ACTION_METADATA__SPEC_TASK ? metadata->task
                                                                               : NULL;
    const char *name = task != NULL && task->id != NULL ? task->id->name : metadata->funtion_name;
    put_fact(html, "Task", name[0] != '\0' || task == NULL ? name : task->task_type);
    if (task != NULL && task->id != NULL)
        put_fact(html, "Version", task->id->version);
}

static const char *relation_word(Flyteidl2__Common__RelationType type)
{
    static const char *const words[] = {"Related to",     "Rerun of",     "Recovers",
                                        "Started by run", "Triggered by", "Artifact of"};
    return (size_t)type < SY_COUNT_OF(words) ? words[type] : words[0];
}

static void put_origin(struct sy_buf *html, const Flyteidl2__Workflow__ActionMetadata *metadata)
{
    bool scheduled = metadata->trigger_name[0] != '\0';
    put_fact(html, scheduled ? "Trigger" : "Started by",
             scheduled ? metadata->trigger_name : CP_ANONYMOUS);
    const Flyteidl2__Common__Relation *relation = metadata->relation;
    if (relation == NULL || relation->related_to == NULL)
        return;
    const Flyteidl2__Common__RunIdentifier *other = relation->related_to;
    put_term(html, relation_word(relation->relation_type));
    sy_buf_append_str(html, "<a href=\"");
    cp_html_run_path(html, other->project, other->domain, other->name);
    sy_buf_append_str(html, "\">");
    cp_html_text(html, other->name);
    sy_buf_append_str(html, "</a></dd>");
}

static void put_labels(struct sy_buf *html, const Flyteidl2__Task__RunSpec *spec)
{
    if (spec == NULL || spec->labels == NULL || spec->labels->n_values == 0)
        return;
    put_term(html, "Labels");
    for (size_t i = 0; i < spec->labels->n_values; i++) {
        sy_buf_append_str(html, i > 0 ? ", " : "");
        cp_html_text(html, spec->labels->values[i]->key);
        sy_buf_append_str(html, "=");
        cp_html_text(html, spec->labels->values[i]->value);
    }
    sy_buf_append_str(html, "</dd>");
}

static void put_run(struct sy_buf *html, const struct cp_page *page, const struct cp_run_page *run)
{
    const Flyteidl2__Workflow__RunDetails *details = run->root->details;
    const action_details *root = details->action;
    sy_buf_append_str(html, "<h1>");
    cp_html_text(html, run->run);
    sy_buf_append_str(html, "</h1><dl>");
    put_term(html, "Phase");
    cp_html_phase(html, (int)root->status->phase);
    sy_buf_append_str(html, "</dd>");
    put_term(html, "Project / domain");
    cp_html_text(html, run->project);
    sy_buf_append_str(html, " / ");
    cp_html_text(html, run->domain);
    sy_buf_append_str(html, "</dd>");
    put_times(html, page, root->status);
    put_task(html, root->metadata);
    put_origin(html, root->metadata);
    put_labels(html, details->run_spec);
    sy_buf_append_str(html, "</dl>");
}

/* ---- one action ---- */

static const action_details *chosen(const struct cp_run_page *run)
{
    return run->chosen != NULL ? run->chosen->details : run->root->details->action;
}

static const Flyteidl2__Workflow__ActionAttempt *last_attempt(const action_details *details)
{
    return details->n_attempts > 0 ? details->attempts[details->n_attempts - 1] : NULL;
}

/* Whether its task makes one; whether the attempt has, only its cluster knows. */
static bool has_report(struct cp_page *page, const action_details *details)
{
    if (details->spec_case != FLYTEIDL2__WORKFLOW__ACTION_DETAILS__SPEC_TASK ||
        last_attempt(details) == NULL)
        return false;
    const Flyteidl2__Task__TaskSpec *spec = pb_unpack(
        &flyteidl2__task__task_spec__descriptor, &page->arena,
        (struct sy_span){details->task.data, details->task.len});
    const Flyteidl2__Core__TaskTemplate *template = spec != NULL ? spec->task_template : NULL;
    return template != NULL && template->metadata != NULL &&
           template->metadata->generates_deck != NULL && template->metadata->generates_deck->value;
}

/* The operator signs where it lies, which only the operator can. */
static void put_report(struct sy_buf *html, const struct cp_run_page *run,
                       const action_details *details)
{
    if (run->cluster == NULL || run->cluster->cluster_endpoint[0] == '\0')
        return;
    const char *endpoint = run->cluster->cluster_endpoint;
    bool whole = strncmp(endpoint, "http://", 7) == 0 || strncmp(endpoint, "https://", 8) == 0;
    put_term(html, "Report");
    sy_buf_append_str(html, whole ? "<a href=\"" : "<a href=\"http://");
    cp_html_text(html, endpoint);
    const char *const parts[] = {run->domain, run->project, run->run, details->id->name};
    sy_buf_append_str(html, "/report");
    for (size_t i = 0; i < SY_COUNT_OF(parts); i++) {
        sy_buf_append_str(html, "/");
        cp_html_url(html, parts[i]);
    }
    sy_buf_printf(html, "/%u\">of attempt %u</a></dd>", last_attempt(details)->attempt,
                  last_attempt(details)->attempt);
}

/* Where the attempt ran, and how to read what it wrote. */
static void put_attempt(struct sy_buf *html, const struct cp_run_page *run,
                        const action_details *details)
{
    const Flyteidl2__Workflow__ActionAttempt *attempt = last_attempt(details);
    if (attempt == NULL)
        return;
    put_term(html, "Attempt");
    sy_buf_printf(html, "%u</dd>", attempt->attempt);
    if (attempt->log_context != NULL)
        put_fact(html, "Node", attempt->log_context->primary_pod_name);
    put_fact(html, "Cluster", attempt->cluster);
    put_fact(html, "Cache", cp_html_cache_word((int)attempt->cache_status));
    put_report(html, run, details);
    if (!attempt->logs_available)
        return;
    put_term(html, "Log");
    sy_buf_append_str(html, "<pre class=\"code\">switchyard logs ");
    cp_html_text(html, run->run);
    sy_buf_append_str(html, " ");
    cp_html_text(html, details->id->name);
    sy_buf_append_str(html, "</pre></dd>");
}

static void put_chosen(struct sy_buf *html, const struct cp_page *page,
                       const struct cp_run_page *run)
{
    const action_details *details = chosen(run);
    const Flyteidl2__Workflow__ActionMetadata *metadata = details->metadata;
    if (run->chosen == NULL && last_attempt(details) == NULL &&
        details->result_case == FLYTEIDL2__WORKFLOW__ACTION_DETAILS__RESULT__NOT_SET)
        return; /* the run's facts are all there is to a root that never ran */
    sy_buf_append_str(html, "<h2>Action ");
    cp_html_text(html, details->id->name);
    sy_buf_append_str(html, "</h2><dl>");
    if (run->chosen != NULL) {
        put_term(html, "Phase");
        cp_html_phase(html, (int)details->status->phase);
        sy_buf_append_str(html, "</dd>");
        put_times(html, page, details->status);
        put_task(html, metadata);
        put_fact(html, "Parent", metadata->parent);
        put_fact(html, "Group", metadata->group);
    }
    put_attempt(html, run, details);
    sy_buf_append_str(html, "</dl>");
    cp_html_error(html, details);
}

/* ---- the page ---- */

static void put_counts(struct sy_buf *html, const struct cp_run_page *run)
{
    sy_buf_printf(html, "<h2>Actions<small>%zu", run->list->n_actions);
    if (run->rest > 0)
        sy_buf_printf(html, " shown, %s%zu follow", run->uncounted ? "more than " : "", run->rest);
    sy_buf_append_str(html, "</small></h2>");
}

static void put_more(struct sy_buf *html, const struct cp_run_page *run)
{
    if (run->rest == 0)
        return;
    sy_buf_append_str(html, "<p>Actions are paged by name. <a href=\"?after=");
    cp_html_url(html, run->list->token);
    sy_buf_append_str(html, "\">The next ones</a></p>");
}

static void answer(struct cp_page *page)
{
    const struct cp_run_page *run = page->state;
    bool live = cp_flyte_time_ns(run->root->details->action->status->end_time) == 0;
    struct sy_buf html = {0};
    cp_html_begin(&html, run->run, live);
    put_run(&html, page, run);
    put_chosen(&html, page, run);
    put_counts(&html, run);
    cp_html_actions(&html, page, run);
    put_more(&html, run);
    cp_html_end(&html);
    cp_page_reply(page, 200, CP_PAGE_HTML, &html);
}

/* ---- questions ---- */

static char *borrow(const char *s)
{
    return (char *)(uintptr_t)s; /* generated structs have no const; packing does not write */
}

static void ask_action(struct cp_page *page, const Flyteidl2__Common__RunIdentifier *id,
                       const char *name, bool optional,
                       const Flyteidl2__Workflow__GetActionDetailsResponse **ret)
{
    Flyteidl2__Common__RunIdentifier run = *id;
    Flyteidl2__Common__ActionIdentifier action = FLYTEIDL2__COMMON__ACTION_IDENTIFIER__INIT;
    Flyteidl2__Workflow__GetActionDetailsRequest request =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_REQUEST__INIT;
    action.run = &run;
    action.name = borrow(name);
    request.action_id = &action;
    cp_page_ask(page,
                &(struct cp_page_question){
                    .method = RUN_SERVICE "GetActionDetails",
                    .request = &request.base,
                    .response = &flyteidl2__workflow__get_action_details_response__descriptor,
                    .optional = optional},
                ret);
}

static void ask_list(struct cp_page *page, Flyteidl2__Common__RunIdentifier *id, const char *after,
                     uint32_t limit, const Flyteidl2__Workflow__ListActionsResponse **ret)
{
    Flyteidl2__Common__Sort sort = FLYTEIDL2__COMMON__SORT__INIT;
    Flyteidl2__Common__ListRequest list = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Workflow__ListActionsRequest request =
        FLYTEIDL2__WORKFLOW__LIST_ACTIONS_REQUEST__INIT;
    sort.key = borrow("created_at");
    sort.direction = FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    list.limit = limit;
    list.token = borrow(after);
    list.sort_by = &sort;
    request.request = &list;
    request.run_id = id;
    cp_page_ask(page,
                &(struct cp_page_question){
                    .method = RUN_SERVICE "ListActions",
                    .request = &request.base,
                    .response = &flyteidl2__workflow__list_actions_response__descriptor},
                ret);
}

static bool did_not_succeed(const Flyteidl2__Workflow__Action *action)
{
    Flyteidl2__Common__ActionPhase phase = action->status->phase;
    return phase == FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_FAILED ||
           phase == FLYTEIDL2__COMMON__ACTION_PHASE__ACTION_PHASE_TIMED_OUT;
}

static void ask_cluster(struct cp_page *page, const action_details *details)
{
    struct cp_run_page *run = page->state;
    Flyteidl2__Cluster__SelectClusterRequest request =
        FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__INIT;
    request.resource_case = FLYTEIDL2__CLUSTER__SELECT_CLUSTER_REQUEST__RESOURCE_ACTION_ID;
    request.action_id = details->id;
    cp_page_ask(page,
                &(struct cp_page_question){
                    .method = "/flyteidl2.cluster.ClusterService/SelectCluster",
                    .request = &request.base,
                    .response = &flyteidl2__cluster__select_cluster_response__descriptor,
                    .optional = true},
                &run->cluster);
}

static void count_rest(struct cp_page *page)
{
    struct cp_run_page *run = page->state;
    const Flyteidl2__Workflow__ListActionsResponse *last = run->list;
    if (run->behind != NULL) {
        run->rest += run->behind->n_actions;
        last = run->behind;
    }
    run->uncounted = last->token[0] != '\0';
    if (!run->uncounted || run->rest >= CP_RUN_REST_MAX) {
        answer(page);
        return;
    }
    page->next = count_rest;
    ask_list(page, run->root->details->action->id->run, last->token, CP_RUN_REST_STEP,
             &run->behind);
}

/* The list tells who failed, not why. */
static void ask_further(struct cp_page *page)
{
    struct cp_run_page *run = page->state;
    const char *shown = chosen(run)->id->name;
    page->next = count_rest;
    if (has_report(page, chosen(run)))
        ask_cluster(page, chosen(run));
    for (size_t i = 0; i < run->list->n_actions; i++) {
        const Flyteidl2__Workflow__Action *action = run->list->actions[i];
        if (run->failure_count == CP_RUN_FAILURES_MAX)
            break;
        if (did_not_succeed(action) && strcmp(action->id->name, shown) != 0)
            ask_action(page, action->id->run, action->id->name, true,
                       &run->failures[run->failure_count++]);
    }
    if (page->waiting == 0)
        count_rest(page);
}

void cp_page_run(struct cp_page *page, const char *project, const char *domain, const char *name)
{
    struct cp_run_page *run = cp_page_alloc(page, sizeof(*run));
    Flyteidl2__Common__RunIdentifier id = FLYTEIDL2__COMMON__RUN_IDENTIFIER__INIT;
    Flyteidl2__Workflow__GetRunDetailsRequest details =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_REQUEST__INIT;
    run->project = project;
    run->domain = domain;
    run->run = name;
    id.project = borrow(project);
    id.domain = borrow(domain);
    id.name = borrow(name);
    details.run_id = &id;
    page->state = run;
    page->next = ask_further;
    cp_page_ask(page,
                &(struct cp_page_question){
                    .method = RUN_SERVICE "GetRunDetails",
                    .request = &details.base,
                    .response = &flyteidl2__workflow__get_run_details_response__descriptor},
                &run->root);
    ask_list(page, &id, page->after != NULL ? page->after : "", CP_RUN_ACTIONS_A_PAGE, &run->list);
    if (page->action != NULL && strcmp(page->action, SCH_ROOT_NAME) != 0)
        ask_action(page, &id, page->action, false, &run->chosen);
}
