#include "tools/src/cl_explain.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef Switchyard__V1__Explanation Explanation;
typedef Switchyard__V1__ClusterView ClusterView;
typedef Switchyard__V1__Change Change;
typedef Switchyard__V1__Space Space;
typedef struct sy_error_text Text;

#define LIMIT(name) SWITCHYARD__V1__LIMIT_KIND__LIMIT_KIND_##name
#define CHANGE(name) SWITCHYARD__V1__CHANGE_KIND__CHANGE_KIND_##name
#define WHY(name) SWITCHYARD__V1__WHY_NOT__WHY_NOT_##name
#define BASIS(name) SWITCHYARD__V1__BASIS__BASIS_##name

struct page {
    FILE *file;
    unsigned width;
    int64_t now_ns;
};

/* ---- lines ---- */

/* Words, broken at the page's width; later lines stand two columns further in. */
static void put_words(const struct page *page, unsigned indent, const char *text)
{
    unsigned column = 0;
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        char *word = sy_strndup(at, length);
        unsigned width = cl_text_width(word);
        bool fits = column == 0 || page->width == 0 || column + 1 + width <= page->width;
        if (column > 0 && !fits) {
            fputc('\n', page->file);
            column = 0;
            indent = indent < 8 ? indent + 2 : indent;
        }
        column += (unsigned)fprintf(page->file, "%*s", column == 0 ? (int)indent : 1, "");
        fputs(word, page->file);
        column += width;
        free(word);
        at += length;
    }
    fputc('\n', page->file);
}

/* One sentence, made safe for a terminal. */
#define put_line(page_, indent_, ...)                                                              \
    do {                                                                                           \
        Text line_ = {0};                                                                          \
        sy_error_text_set(&line_, __VA_ARGS__);                                                    \
        char *clean_ = cl_text_clean(line_.text);                                                  \
        put_words(page_, indent_, clean_);                                                         \
        free(clean_);                                                                              \
    } while (0)

static Text queue_name(const Switchyard__V1__QueueId *id)
{
    Text ret = {0};
    if (!id)
        return ret;
    const char *separator = id->project[0] && id->domain[0] ? "/" : "";
    const char *last = id->project[0] ? "/" : "";
    sy_error_text_set(&ret, "%s%s%s%s%s", id->project, separator, id->domain, last,
                      id->name[0] ? id->name : "*");
    return ret;
}

static void add_amount(Text *text, const char *amount, const char *unit)
{
    Text before = *text;
    sy_error_text_set(text, "%s%s%s%s", before.text, before.text[0] ? ", " : "", amount, unit);
}

/* "2 cores, 4.0GiB memory, 1 GPU"; "" when it is nothing. */
static Text space_text(const Space *space, const char *gpu_model)
{
    Text ret = {0}, unit = {0};
    if (!space)
        return ret;
    if (space->cpu_milli > 0)
        add_amount(&ret, cl_format_cpu(space->cpu_milli).text,
                   space->cpu_milli == 1000 ? " core" : " cores");
    if (space->memory_bytes > 0)
        add_amount(&ret, cl_format_bytes(space->memory_bytes).text, " memory");
    sy_error_text_set(&unit, " x %s", gpu_model[0] ? gpu_model : "GPU");
    if (space->gpu_milli > 0)
        add_amount(&ret, cl_format_cpu(space->gpu_milli).text, unit.text);
    return ret;
}

static Text request_text(const Switchyard__V1__Request *r)
{
    Text ret = {0};
    if (!r)
        return ret;
    Space space = SWITCHYARD__V1__SPACE__INIT;
    space.cpu_milli = r->cpu_milli;
    space.memory_bytes = r->memory_bytes;
    space.gpu_milli = r->gpu_milli;
    ret = space_text(&space, r->gpu_model);
    char slices[32];
    snprintf(slices, sizeof(slices), "%" PRIu32 " x ", r->gpu_slices);
    if (r->gpu_slices > 0)
        add_amount(&ret, slices, r->gpu_partition);
    if (r->environment[0])
        add_amount(&ret, "environment ", r->environment);
    if (r->labels[0])
        add_amount(&ret, "labels ", r->labels);
    if (!ret.text[0])
        sy_error_text_set(&ret, "nothing");
    return ret;
}

/* Of the action, or of each member: "a gang of 4, each 2 cores, all in one rack". */
static Text needs_text(const Explanation *e)
{
    Text ret = request_text(e->request), each = ret;
    if (e->members > 0)
        sy_error_text_set(&ret, "a gang of %" PRIu32 ", each %s%s%s", e->members, each.text,
                          e->domain[0] ? ", all in one " : "", e->domain);
    return ret;
}

static const char *model_of(const Explanation *e)
{
    return e->request ? e->request->gpu_model : "";
}

/* ---- limits ---- */

static const char *const limit_names[] = {
    [LIMIT(PAUSED)] = "paused", [LIMIT(ACTIONS)] = "actions", [LIMIT(CPU)] = "cpu",
    [LIMIT(MEMORY)] = "memory", [LIMIT(GPUS)] = "gpus",
};

static const char *limit_name(Switchyard__V1__LimitKind kind)
{
    return (size_t)kind < SY_COUNT_OF(limit_names) && limit_names[kind] ? limit_names[kind] : "?";
}

static struct cl_short limit_value(Switchyard__V1__LimitKind kind, uint64_t value)
{
    switch (kind) {
    case LIMIT(CPU):
    case LIMIT(GPUS):
        return cl_format_cpu(value);
    case LIMIT(MEMORY):
        return cl_format_bytes(value);
    default:
        return cl_format_count(value);
    }
}

static void put_limit(const struct page *page, const Switchyard__V1__Limit *limit)
{
    Text name = queue_name(limit->queue);
    if (limit->kind == LIMIT(PAUSED)) {
        put_line(page, 2, "queue %s is paused", name.text);
        return;
    }
    Text lent = {0};
    if (limit->allowed < limit->max)
        sy_error_text_set(&lent, "; other partitions have %s of it",
                          limit_value(limit->kind, limit->max - limit->allowed).text);
    put_line(page, 2, "limit %s of queue %s: %s of %s used, %s more asked%s",
             limit_name(limit->kind), name.text, limit_value(limit->kind, limit->used).text,
             limit_value(limit->kind, limit->max).text, limit_value(limit->kind, limit->need).text,
             lent.text);
}

/* ---- clusters ---- */

static Text why_text(const Explanation *e, const ClusterView *c, Switchyard__V1__WhyNot why)
{
    Text ret = {0};
    switch (why) {
    case WHY(CONNECTED):
        sy_error_text_set(&ret, "not connected");
        break;
    case WHY(ALLOWED):
        sy_error_text_set(&ret, "its queue does not allow it");
        break;
    case WHY(REGION):
        sy_error_text_set(&ret, "%s%s, its queue's work may not run there",
                          c->region[0] ? "in region " : "its region is not known", c->region);
        break;
    case WHY(CORDONED):
        sy_error_text_set(&ret, "cordoned");
        break;
    case WHY(DRAINED):
        sy_error_text_set(&ret, "drained");
        break;
    case WHY(PRICE):
        sy_error_text_set(&ret, "a core costs %.6g an hour, its queue pays %.6g",
                          (double)c->price / 1e6, (double)c->price_max / 1e6);
        break;
    case WHY(SHAPE):
        sy_error_text_set(&ret, "%s", c->miss);
        break;
    case WHY(GRANTED):
        sy_error_text_set(&ret, e->members > 0 ? "no room for all of it at once"
                                               : "no node has all of it free");
        break;
    case WHY(ROOM):
        sy_error_text_set(&ret, "short by %s", space_text(c->missing, model_of(e)).text);
        if (e->members > 0)
            sy_error_text_add(&ret, "room for %" PRIu32 " of %" PRIu32 " at most", c->fits,
                              e->members);
        break;
    default:
        sy_error_text_set(&ret, "?");
        break;
    }
    return ret;
}

/* Its operator said why it has none: more than what the partition sees of it. */
static bool is_withheld(const ClusterView *c, Switchyard__V1__WhyNot why)
{
    return (why == WHY(GRANTED) || why == WHY(ROOM)) && c->displaced && c->displaced->withheld;
}

static void put_clusters(const struct page *page, const Explanation *e)
{
    static const struct cl_column columns[] = {{"CLUSTER", false, 8, 0},
                                               {"STATE", false, 0, 1},
                                               {"ROOM", false, 0, 0},
                                               {"WHY NOT", false, 20, 0}};
    struct cl_table *table = cl_table_new(columns, SY_COUNT_OF(columns));
    for (size_t i = 0; i < e->n_clusters; i++) {
        const ClusterView *c = e->clusters[i];
        Text why = {0};
        bool withheld = false;
        for (size_t k = 0; k < c->n_why_not; k++) {
            if (!is_withheld(c, c->why_not[k]))
                sy_error_text_add(&why, "%s", why_text(e, c, c->why_not[k]).text);
            withheld |= is_withheld(c, c->why_not[k]);
        }
        if (withheld)
            sy_error_text_add(&why, "its room goes to others that come first");
        if (c->awaited)
            sy_error_text_add(&why, "what runs there is not known yet");
        if (c->avoided_until_ns > page->now_ns)
            sy_error_text_add(&why, "avoided for %s: %" PRIu32 " failures",
                              cl_format_duration(c->avoided_until_ns - page->now_ns).text,
                              c->failures);
        if (c->failing_percent > 0)
            sy_error_text_add(&why, "after others: %" PRIu32 "%% of these failed there lately",
                              c->failing_percent);
        if (c->kept > 0)
            sy_error_text_add(&why, "asked to keep %" PRIu32 " of its nodes for these", c->kept);
        if (c->kept_for_others > 0)
            sy_error_text_add(&why, "asked to keep %" PRIu32 " of its nodes for others",
                              c->kept_for_others);
        const char *cells[] = {c->name, c->state,
                               c->room       ? "yes"
                               : c->eligible ? "no"
                                             : "never",
                               why.text};
        cl_table_add(table, cells);
    }
    if (cl_table_rows(table) > 0) {
        fputc('\n', page->file);
        cl_table_print(table, page->file, page->width, 0);
    }
    cl_table_free(table);
}

/* ---- changes ---- */

static Text change_text(const struct page *page, const Explanation *e, const Change *c)
{
    Text ret = {0}, queue = queue_name(c->queue), space = space_text(c->space, model_of(e));
    switch (c->kind) {
    case CHANGE(TIME):
        sy_error_text_set(
            &ret, "%s have passed",
            cl_format_duration(c->at_ns > page->now_ns ? c->at_ns - page->now_ns : 0).text);
        break;
    case CHANGE(FIRST):
        sy_error_text_set(&ret, "it goes before those that are ahead of it");
        break;
    case CHANGE(ROOM):
        if (space.text[0])
            sy_error_text_set(&ret, "%s more free in %s", space.text, c->cluster);
        else
            sy_error_text_set(&ret, "%s%s has %s free", e->members > 0 ? "" : "a node of ",
                              c->cluster, needs_text(e).text);
        break;
    case CHANGE(SLOT):
        sy_error_text_set(&ret, "its run may have %" PRIu64 " actions out (now %" PRIu64 ")",
                          c->least, c->now);
        break;
    case CHANGE(LIMIT):
        sy_error_text_set(&ret, "limit %s of queue %s is %s (now %s)", limit_name(c->limit),
                          queue.text, limit_value(c->limit, c->least).text,
                          limit_value(c->limit, c->now).text);
        break;
    case CHANGE(RESUME):
        sy_error_text_set(&ret, "queue %s is resumed", queue.text);
        break;
    case CHANGE(ALLOW):
        sy_error_text_set(&ret, "queue %s allows cluster %s", queue.text, c->cluster);
        break;
    case CHANGE(REGION):
        if (c->region[0])
            sy_error_text_set(&ret, "queue %s may run in region %s, where cluster %s is",
                              queue.text, c->region, c->cluster);
        else
            sy_error_text_set(&ret, "queue %s may run in all regions: cluster %s says none",
                              queue.text, c->cluster);
        break;
    case CHANGE(PRICE):
        sy_error_text_set(&ret, "queue %s pays %.6g an hour for a core, for cluster %s (now %.6g)",
                          queue.text, (double)c->least / 1e6, c->cluster, (double)c->now / 1e6);
        break;
    case CHANGE(CONNECT):
        sy_error_text_set(&ret, "%s%s connects, with room for it",
                          c->cluster[0] ? "cluster " : "a cluster", c->cluster);
        break;
    case CHANGE(UNCORDON):
        sy_error_text_set(&ret, "cluster %s is uncordoned", c->cluster);
        break;
    case CHANGE(NODE):
        if (e->members > 0)
            sy_error_text_set(&ret, "cluster %s has more nodes, with %s for it", c->cluster,
                              space.text);
        else
            sy_error_text_set(&ret, "cluster %s has a node with %s", c->cluster,
                              request_text(e->request).text);
        break;
    default:
        sy_error_text_set(&ret, "?");
        break;
    }
    return ret;
}

static void put_changes(const struct page *page, const Explanation *e)
{
    if (e->n_changes == 0)
        return;
    put_line(page, 0, "starts now if%s", e->n_changes > 1 ? " all of this holds:" : ":");
    for (size_t i = 0; i < e->n_changes; i++)
        put_line(page, 2, "%s", change_text(page, e, e->changes[i]).text);
}

/* ---- who is ahead, when ---- */

static void put_line_of(const struct page *page, const char *what, const Switchyard__V1__Line *line)
{
    if (!line || (line->own == 0 && line->others == 0))
        return;
    put_line(page, 0, "%s: %s%s in its queue, %s%s elsewhere", what,
             line->own_exact ? "" : "at most ", cl_format_count(line->own).text,
             line->others == 0 ? ""
             : line->complete  ? "at most "
                               : "more than ",
             cl_format_count(line->others).text);
    for (size_t i = 0; i < line->n_queues; i++) {
        const Switchyard__V1__LineQueue *queue = line->queues[i];
        put_line(page, 2, "%s of %s/%s in queue %s, priority %" PRId32 ", each %s",
                 cl_format_count(queue->actions).text, queue->project, queue->domain,
                 queue_name(queue->queue).text, queue->priority, request_text(queue->request).text);
    }
}

static void put_estimate(const struct page *page, const Switchyard__V1__Estimate *estimate)
{
    if (!estimate)
        return;
    struct cl_short wait = cl_format_duration(estimate->wait_ns);
    switch (estimate->basis) {
    case BASIS(NOW):
        put_line(page, 0, "estimate: at once");
        break;
    case BASIS(TIME):
        put_line(page, 0, "estimate: in %s, the rest of its back-off", wait.text);
        break;
    case BASIS(QUEUE):
    case BASIS(CLASS):
        put_line(page, 0, "estimate: in about %s (%s such starts%s in the last %s)", wait.text,
                 cl_format_count(estimate->starts).text,
                 estimate->basis == BASIS(QUEUE) ? " in this queue" : "",
                 cl_format_duration(estimate->span_ns).text);
        break;
    case BASIS(NEEDS_CHANGE):
        put_line(page, 0, "estimate: none, it does not start by waiting");
        break;
    default:
        put_line(page, 0, "estimate: none yet, too few like it started lately");
        break;
    }
}

/* ---- where its time went ---- */

/* "-" while one of the two is not known. */
static const char *between(struct cl_short *buffer, int64_t from_ns, int64_t to_ns)
{
    if (from_ns <= 0 || to_ns <= 0 || to_ns < from_ns)
        return "";
    *buffer = cl_format_duration(to_ns - from_ns);
    return buffer->text;
}

/* How long each part of an attempt took; "": that is not known. */
struct parts {
    struct cl_short queued, placing, starting, ran, reporting;
};

static const char *lasted(struct cl_short *buffer, int64_t ns)
{
    *buffer = cl_format_duration(ns);
    return buffer->text;
}

static void put_attempt(struct cl_table *table, const struct page *page,
                        const Switchyard__V1__Attempt *a)
{
    struct parts parts;
    const char *cells[] = {"", "", "", "", "", "", a->cluster, a->node, ""};
    int64_t ended_ns = a->ended_ns > 0 ? a->ended_ns : page->now_ns;
    int64_t started_ns = a->started_ns > 0 ? a->started_ns : ended_ns;
    char number[16];
    Text error = {0};
    snprintf(number, sizeof(number), "%" PRIu32, a->number);
    cells[0] = number;
    cells[1] = between(&parts.queued, a->queued_ns, a->granted_ns > 0 ? a->granted_ns : started_ns);
    if (a->ran_ns > 0 && a->reported_ns > 0) {
        int64_t rest_ns = a->reported_ns - a->granted_ns - a->held_ns - a->waited_ns - a->ran_ns;
        cells[2] = lasted(&parts.placing, a->held_ns);
        cells[3] = lasted(&parts.starting, a->waited_ns);
        cells[5] = lasted(&parts.reporting, rest_ns > 0 ? rest_ns : 0);
    }
    cells[4] = a->ran_ns > 0 ? lasted(&parts.ran, a->ran_ns)
                             : between(&parts.ran, a->started_ns, ended_ns);
    if (a->error)
        sy_error_text_set(&error, "%s: %s", a->error->code, a->error->message);
    cells[8] = error.text;
    cl_table_add(table, cells);
}

static void put_timeline(const struct page *page, const Switchyard__V1__Timeline *timeline)
{
    static const struct cl_column columns[] = {
        {"ATTEMPT", true, 0, 0},  {"QUEUED", true, 0, 0}, {"PLACING", true, 0, 4},
        {"STARTING", true, 0, 3}, {"RAN", true, 0, 0},    {"REPORTING", true, 0, 5},
        {"CLUSTER", false, 6, 2}, {"NODE", false, 6, 1},  {"ERROR", false, 32, 0}};
    if (!timeline || timeline->n_attempts == 0)
        return;
    struct cl_table *table = cl_table_new(columns, SY_COUNT_OF(columns));
    for (size_t i = 0; i < timeline->n_attempts; i++)
        put_attempt(table, page, timeline->attempts[i]);
    fputc('\n', page->file);
    cl_table_print(table, page->file, page->width, 0);
    cl_table_free(table);
}

/* ---- all ---- */

static void put_state(const struct page *page, const Explanation *e)
{
    if (e->slots && strcmp(e->state, "held") == 0)
        put_line(page, 2,
                 "its run has %" PRIu64 " of %" PRIu64 " actions out, %" PRIu64 " wait before it",
                 e->slots->used, e->slots->max, e->slots->ahead);
    if (e->producer[0])
        put_line(page, 2, "the result of %s, which has the same cache key and runs", e->producer);
    if (strcmp(e->state, "group") == 0)
        put_line(page, 2, "its %" PRIu32 " live children", e->children);
    if (strcmp(e->state, "paused") == 0)
        put_line(page, 2, "a signal");
    if (strcmp(e->state, "backoff") == 0)
        put_line(page, 2, "the end of its back-off, in %s",
                 cl_format_duration(e->until_ns - page->now_ns).text);
    if (strcmp(e->state, "recovering") == 0)
        put_line(page, 2, "clusters that have not told what they run since the restart");
}

/* ---- what its operators say ---- */

static void put_displaced(const struct page *page, const Switchyard__V1__ClusterView *cluster)
{
    const Switchyard__V1__Displaced *displaced = cluster->displaced;
    if (!displaced || displaced->room)
        return;
    if (displaced->count == 0) {
        put_line(page, 2, "in %s: nothing", cluster->name);
        return;
    }
    put_line(page, 2, "in %s: %" PRIu32 " %s", cluster->name, displaced->count,
             displaced->count == 1 ? "attempt" : "attempts");
    for (size_t i = 0; i < displaced->n_attempts; i++) {
        const Switchyard__V1__DisplacedAttempt *at = displaced->attempts[i];
        struct cl_short ran = {"that has not started"};
        if (at->started_ns > 0)
            ran = cl_format_duration(page->now_ns > at->started_ns ? page->now_ns - at->started_ns
                                                                   : 0);
        put_line(page, 4, "%s/%s of queue %s on %s, %s%s", at->run ? at->run->name : "", at->action,
                 queue_name(at->queue).text, at->node, at->started_ns > 0 ? "running for " : "",
                 ran.text);
    }
    if (displaced->count > displaced->n_attempts)
        put_line(page, 4, "and %zu more", displaced->count - displaced->n_attempts);
}

static void put_kept(const struct page *page, const Switchyard__V1__ClusterView *cluster,
                     const Switchyard__V1__Request *request)
{
    for (size_t i = 0; i < cluster->n_kept_nodes; i++) {
        const Switchyard__V1__KeptNode *kept = cluster->kept_nodes[i];
        const Switchyard__V1__Space *missing = kept->missing;
        if (!missing)
            put_line(page, 2, "%s in %s: it fits", kept->node, cluster->name);
        else if (missing->cpu_milli == 0 && missing->memory_bytes == 0 && missing->gpu_milli == 0)
            put_line(page, 2, "%s in %s: not free in one piece yet", kept->node, cluster->name);
        else
            put_line(page, 2, "%s in %s: short by %s", kept->node, cluster->name,
                     space_text(missing, request ? request->gpu_model : "").text);
    }
}

static void put_surveys(const struct page *page, const Explanation *e)
{
    bool displaced = false, kept = false;
    for (size_t i = 0; i < e->n_clusters; i++) {
        displaced |= e->clusters[i]->displaced && !e->clusters[i]->displaced->room;
        kept |= e->clusters[i]->n_kept_nodes > 0;
    }
    if (displaced)
        put_line(page, 0, "preemption would stop for it, in the cluster that is asked:");
    for (size_t i = 0; i < e->n_clusters; i++)
        put_displaced(page, e->clusters[i]);
    if (displaced && e->displaceable_queues_more > 0)
        put_line(page, 2, "not asked about: %" PRIu32 " more %s whose work may stop",
                 e->displaceable_queues_more,
                 e->displaceable_queues_more == 1 ? "queue" : "queues");
    if (kept)
        put_line(page, 0, "nodes that are kept for it:");
    for (size_t i = 0; i < e->n_clusters; i++)
        put_kept(page, e->clusters[i], e->request);
}

static void put_explanation(const struct page *page, const Explanation *e)
{
    put_line(page, 0, "waits for:");
    put_state(page, e);
    for (size_t i = 0; i < e->n_limits; i++)
        put_limit(page, e->limits[i]);
    bool room = !e->waits;
    for (size_t i = 0; i < e->n_clusters; i++)
        room |= e->clusters[i]->room;
    if (!room)
        put_line(page, 2, "a cluster with room for %s", needs_text(e).text);
    else if (e->n_limits == 0 && strcmp(e->state, "queued") == 0)
        put_line(page, 2, "nothing");
    put_changes(page, e);
    put_line_of(page, "ahead", e->ahead);
    put_estimate(page, e->estimate);
    put_surveys(page, e);
    if (e->times_out_ns > page->now_ns)
        put_line(page, 0, "it ends in %s if it has not started",
                 cl_format_duration(e->times_out_ns - page->now_ns).text);
}

static bool is_out(const Explanation *e)
{
    return strcmp(e->state, "assigned") == 0 || strcmp(e->state, "running") == 0;
}

void cl_explain_print(const Switchyard__V1__ExplainActionResponse *answer, FILE *file,
                      unsigned width, int64_t now_ns)
{
    struct page page = {file, width, now_ns};
    const Explanation *e = answer->explanation;
    if (!e) {
        put_line(&page, 0, "action %s: %s%s", answer->action, cl_phase_name((int)answer->phase),
                 answer->timeline && answer->timeline->reused ? ", with a result that existed"
                                                              : "");
    } else if (is_out(e)) {
        put_line(&page, 0, "action %s is %s in cluster %s", answer->action, e->state, e->cluster);
        if (e->held)
            put_line(&page, 2,
                     "its gang of %" PRIu32 " waits there until all of it has room: nodes are kept "
                     "for one gang at a time",
                     e->members);
        if (e->silence[0])
            put_line(&page, 2, "%s", e->silence);
        put_surveys(&page, e);
    } else {
        struct cl_short since = cl_format_duration(now_ns > e->since_ns ? now_ns - e->since_ns : 0);
        put_line(&page, 0, "action %s is %s%s%s, for %s", answer->action, e->state,
                 e->queue ? " in queue " : "", queue_name(e->queue).text, since.text);
        put_explanation(&page, e);
        put_clusters(&page, e);
    }
    put_timeline(&page, answer->timeline);
}

void cl_explain_print_dry(const Switchyard__V1__DryRunResponse *answer, FILE *file, unsigned width,
                          int64_t now_ns)
{
    struct page page = {file, width, now_ns};
    const Explanation *e = answer->explanation;
    if (!e) {
        if (!answer->refused[0])
            put_line(&page, 0, "it needs no worker and would be there at once");
        return;
    }
    if (!e->waits)
        return;
    Text queue = queue_name(e->queue), request = needs_text(e);
    put_line(&page, 0, "asks for %s, in queue %s with priority %" PRId32, request.text, queue.text,
             e->priority);
    if (e->starts_now && !answer->refused[0])
        put_line(&page, 0, "would start at once in cluster %s", e->cluster);
    else
        put_explanation(&page, e);
    put_line_of(&page, "behind it", e->behind);
    put_clusters(&page, e);
}
