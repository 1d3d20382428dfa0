/*
 * The actions of a run as a tree. A page of the list comes in the order of creation; a parent on
 * another page leaves its children at the top, with its name beside them.
 */
#include "controlplane/console_run.h"

#include "controlplane/flyte.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8 /* deeper ones are indented no further */
#define BAR_WIDTH 1000
#define BAR_LEAST 4 /* or nobody sees it */

typedef Flyteidl2__Workflow__Action action_message;

struct node {
    const action_message *action;
    struct node *parent, *child, *last_child, *next, *previous;
};

struct tree {
    struct node *nodes, top;
    struct node **by_name;
    size_t count;
};

/* What rows are made with. */
struct rows {
    struct sy_buf *html;
    const struct cp_page *page;
    const struct cp_run_page *run;
    struct tree tree;
    int64_t begin_ns, end_ns, now_ns; /* of the time line */
};

static int compare_names(const void *a, const void *b)
{
    const struct node *left = *(struct node *const *)a, *right = *(struct node *const *)b;
    return strcmp(left->action->id->name, right->action->id->name);
}

static struct node *find(const struct tree *tree, const char *name)
{
    size_t low = 0, high = tree->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, tree->by_name[middle]->action->id->name);
        if (order == 0)
            return tree->by_name[middle];
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const char *group_of(const struct node *node)
{
    return node->action->metadata->group;
}

/* Behind its group's last one, so that a group stays together; else at the end. */
static void add_child(struct node *parent, struct node *child)
{
    struct node *before = parent->last_child;
    if (group_of(child)[0] != '\0') {
        for (struct node *at = parent->child; at != NULL; at = at->next) {
            if (strcmp(group_of(at), group_of(child)) == 0)
                before = at;
        }
    }
    child->parent = parent;
    child->previous = before;
    child->next = before != NULL ? before->next : NULL;
    if (before != NULL)
        before->next = child;
    else
        parent->child = child;
    if (child->next != NULL)
        child->next->previous = child;
    else
        parent->last_child = child;
}

/* An action names its parent, which was made before it: no circles. */
static void build(struct tree *tree, struct cp_page *page,
                  const Flyteidl2__Workflow__ListActionsResponse *list)
{
    tree->count = list->n_actions;
    tree->nodes = cp_page_alloc(page, tree->count * sizeof(*tree->nodes));
    tree->by_name = cp_page_alloc(page, tree->count * sizeof(void *));
    for (size_t i = 0; i < tree->count; i++) {
        tree->nodes[i].action = list->actions[i];
        tree->by_name[i] = &tree->nodes[i];
    }
    if (tree->count > 1)
        qsort(tree->by_name, tree->count, sizeof(void *), compare_names);
    for (size_t i = 0; i < tree->count; i++) {
        struct node *parent = find(tree, tree->nodes[i].action->metadata->parent);
        add_child(parent != NULL && parent != &tree->nodes[i] ? parent : &tree->top,
                  &tree->nodes[i]);
    }
}

/* Depth first; NULL: that was the last one. */
static struct node *next_node(const struct tree *tree, struct node *node)
{
    if (node->child != NULL)
        return node->child;
    while (node != &tree->top && node->next == NULL)
        node = node->parent;
    return node != &tree->top ? node->next : NULL;
}

/* A group is a level of its own. */
static unsigned depth_of(const struct tree *tree, const struct node *node)
{
    unsigned depth = 0;
    for (; node != &tree->top; node = node->parent)
        depth += (node->parent != &tree->top) + (group_of(node)[0] != '\0');
    return depth < DEPTH_MAX ? depth : DEPTH_MAX;
}

/* ---- rows ---- */

/* Where a time stands on the bar. */
static int place_of(const struct rows *rows, int64_t at_ns)
{
    int64_t span_ns = rows->end_ns - rows->begin_ns, after_ns = at_ns - rows->begin_ns;
    if (after_ns <= 0)
        return 0;
    if (after_ns >= span_ns)
        return BAR_WIDTH;
    return (int)((double)after_ns * BAR_WIDTH / (double)span_ns);
}

static void put_bar(const struct rows *rows, int64_t start_ns, int64_t end_ns, int phase)
{
    int from = place_of(rows, start_ns), to = place_of(rows, end_ns);
    if (from > BAR_WIDTH - BAR_LEAST)
        from = BAR_WIDTH - BAR_LEAST;
    if (to < from + BAR_LEAST)
        to = from + BAR_LEAST;
    sy_buf_printf(rows->html,
                  "<svg viewBox=\"0 0 %d 8\" preserveAspectRatio=\"none\" role=\"presentation\">"
                  "<rect class=\"%s\" x=\"%d\" width=\"%d\" height=\"8\"/></svg>",
                  BAR_WIDTH, cp_html_phase_class(phase), from, to - from);
}

static void put_link(const struct rows *rows, const char *action)
{
    sy_buf_append_str(rows->html, "<a href=\"?i=");
    cp_html_url(rows->html, action);
    if (rows->page->after != NULL) {
        sy_buf_append_str(rows->html, "&amp;after=");
        cp_html_url(rows->html, rows->page->after);
    }
    sy_buf_append_str(rows->html, "\">");
}

static void put_name(const struct rows *rows, const struct node *node)
{
    struct sy_buf *html = rows->html;
    const action_message *action = node->action;
    const char *task = action->metadata->funtion_name, *parent = action->metadata->parent;
    put_link(rows, action->id->name);
    cp_html_text(html, task[0] != '\0' ? task : action->id->name);
    sy_buf_append_str(html, "</a><small>");
    cp_html_text(html, task[0] != '\0' ? action->id->name : "");
    if (node->parent == &rows->tree.top && parent[0] != '\0') {
        sy_buf_append_str(html, " below ");
        cp_html_text(html, parent);
    }
    sy_buf_append_str(html, "</small>");
}

static const Flyteidl2__Workflow__ActionDetails *failure_of(const struct cp_run_page *run,
                                                            const char *action)
{
    for (size_t i = 0; i < run->failure_count; i++) {
        const Flyteidl2__Workflow__GetActionDetailsResponse *one = run->failures[i];
        if (one != NULL && strcmp(one->details->id->name, action) == 0)
            return one->details;
    }
    return NULL;
}

static void put_failure(struct sy_buf *html, const Flyteidl2__Workflow__ActionDetails *details,
                        unsigned depth)
{
    sy_buf_printf(html, "<tr><td colspan=\"6\" class=\"d%u\">", depth);
    cp_html_error(html, details);
    sy_buf_append_str(html, "</td></tr>");
}

static void put_row(const struct rows *rows, const struct node *node)
{
    struct sy_buf *html = rows->html;
    const char *name = node->action->id->name, *chosen = rows->page->action;
    const Flyteidl2__Workflow__ActionStatus *status = node->action->status;
    const Flyteidl2__Workflow__ActionDetails *failure = failure_of(rows->run, name);
    int64_t start_ns = cp_flyte_time_ns(status->start_time);
    int64_t end_ns = cp_flyte_time_ns(status->end_time);
    unsigned depth = depth_of(&rows->tree, node);
    end_ns = end_ns > 0 ? end_ns : rows->now_ns;
    sy_buf_printf(html, "<tr class=\"%s%s\"><td class=\"d%u\">",
                  chosen != NULL && strcmp(chosen, name) == 0 ? "on" : "",
                  failure != NULL ? " more" : "", depth);
    put_name(rows, node);
    sy_buf_append_str(html, "</td><td>");
    cp_html_phase(html, (int)status->phase);
    sy_buf_printf(html, "</td><td class=\"r wide\">%u</td><td class=\"wide\">%s</td>",
                  status->attempts, cp_html_cache_word((int)status->cache_status));
    sy_buf_append_str(html, "<td class=\"r\">");
    cp_html_duration(html, end_ns - start_ns);
    sy_buf_append_str(html, "</td><td class=\"bar\">");
    put_bar(rows, start_ns, end_ns, (int)status->phase);
    sy_buf_append_str(html, "</td></tr>");
    if (failure != NULL)
        put_failure(html, failure, depth);
}

static bool same_group(const struct node *a, const struct node *b)
{
    return a != NULL && b != NULL && strcmp(group_of(a), group_of(b)) == 0;
}

/* Before the first of its group. */
static void put_group(const struct rows *rows, const struct node *node)
{
    size_t count = 0;
    if (group_of(node)[0] == '\0' || same_group(node, node->previous))
        return;
    for (const struct node *at = node; same_group(at, node); at = at->next)
        count++;
    sy_buf_printf(rows->html, "<tr><td colspan=\"6\" class=\"d%u\">",
                  depth_of(&rows->tree, node) - 1);
    cp_html_text(rows->html, group_of(node));
    sy_buf_printf(rows->html, "<small>group of %zu</small></td></tr>", count);
}

void cp_html_actions(struct sy_buf *html, struct cp_page *page, const struct cp_run_page *run)
{
    const Flyteidl2__Workflow__ActionStatus *root = run->root->details->action->status;
    struct rows rows = {.html = html, .page = page, .run = run};
    rows.now_ns = sy_loop_realtime_ns(page->source.loop);
    rows.begin_ns = cp_flyte_time_ns(root->start_time);
    rows.end_ns = cp_flyte_time_ns(root->end_time);
    if (rows.end_ns == 0)
        rows.end_ns = rows.now_ns;
    build(&rows.tree, page, run->list);
    sy_buf_append_str(html, "<table><tr><th>Action</th><th>Phase</th><th class=\"r wide\">Attempt"
                            "</th><th class=\"wide\">Cache</th><th class=\"r\">Duration</th>"
                            "<th class=\"bar\">Time</th></tr>");
    for (struct node *node = next_node(&rows.tree, &rows.tree.top); node != NULL;
         node = next_node(&rows.tree, node)) {
        put_group(&rows, node);
        put_row(&rows, node);
    }
    sy_buf_append_str(html, "</table>");
}
