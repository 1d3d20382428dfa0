/*
 * RunService.ListRuns and ListActions.
 *
 * ListRuns asks every partition for its newest runs (or its oldest) and merges them by creation
 * time; its token holds, for each partition, the id from which to go on. ListActions pages through
 * one run in byte order of names, as they are stored; its token is the last name. There a sort
 * direction orders each page only: the store knows one order, and keeping others would cost a write
 * for each action.
 *
 * Both read in chunks and let the loop turn between them.
 */
#include "base/mem.h"
#include "controlplane/filter.h"
#include "controlplane/names.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include "flyteidl2/workflow/run_service.pb-c.h"
#include "switchyard/internal/parts.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows looked at in one chunk, chunks in one turn, and rows for one page: what a filter may skip.
 */
#define CHUNK_SCAN_MAX 1024
#define CHUNKS_A_TURN 4
#define PAGE_SCAN_MAX 200000
/* The cursor of a partition that has no more. */
#define CURSOR_END 1

/* A serialized item of the page: one response with that item alone, since responses joined are one
 * response with all their items. */
struct item {
    int64_t created_ns;
    uint64_t id;
    size_t offset, len;
};

/* ---- ListRuns ---- */

struct runs_query {
    struct cp_list_options list;
    const char *org, *project, *domain;            /* "" = all */
    const char *task, *version;                    /* "" = all */
    const Flyteidl2__Common__TriggerName *trigger; /* NULL = all */
    bool paused_only;
    uint64_t *from; /* one for each partition */
};

struct runs_part {
    uint64_t from;
    size_t scanned, count;
    bool end;
    struct item *items;
};

struct runs_chunk {
    const struct runs_query *query;
    struct cp_run_view runs[CP_CHUNK_ROWS];
    size_t count, scanned;
    uint64_t last;
    bool stopped;
};

static bool is_text(struct sy_span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.data, text, span.len) == 0;
}

/* Project and domain are those of the run. */
static bool made_by(const Flyteidl2__Common__TriggerName *trigger,
                    const Switchyard__Internal__Store__RunRow *row)
{
    enum { ID_NAME = 1, NAME_NAME = 4, NAME_TASK = 5 };
    if (trigger == NULL)
        return true;
    struct sy_span name = cp_row_bytes((struct sy_span){row->trigger.data, row->trigger.len},
                                       ID_NAME);
    return is_text(cp_row_bytes(name, NAME_NAME), trigger->name) &&
           is_text(cp_row_bytes(name, NAME_TASK), trigger->task_name);
}

static bool take_run(void *ctx, const struct cp_run_view *run)
{
    struct runs_chunk *chunk = ctx;
    const struct runs_query *query = chunk->query;
    chunk->scanned++;
    chunk->last = run->id;
    bool mine = (query->project[0] == '\0' || strcmp(query->project, run->row->project) == 0) &&
                (query->domain[0] == '\0' || strcmp(query->domain, run->row->domain) == 0) &&
                made_by(query->trigger, run->row);
    if (mine)
        chunk->runs[chunk->count++] = *run;
    chunk->stopped = chunk->count == CP_CHUNK_ROWS || chunk->scanned == CHUNK_SCAN_MAX;
    return !chunk->stopped;
}

static const struct cp_list_rules runs_rules = {
    .fields = CP_FILTER_BIT(PHASE) | CP_FILTER_BIT(NAME) | CP_FILTER_BIT(TASK_NAME) |
              CP_FILTER_BIT(TASK_VERSION) | CP_FILTER_BIT(CREATED_BY) | CP_FILTER_BIT(CREATED_AT) |
              CP_FILTER_BIT(UPDATED_AT) | CP_FILTER_BIT(LABEL)};
static const struct cp_list_rules actions_rules = {.fields = CP_LIST_ACTION_FIELDS};

void cp_list_subject(struct cp_filter_subject *ret, const struct cp_action_view *view,
                     const struct cp_task_names *names)
{
    static const char *const types[] = {
        [FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TASK] = "1",
        [FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_TRACE] = "2",
        [FLYTEIDL2__WORKFLOW__ACTION_TYPE__ACTION_TYPE_CONDITION] = "3"};
    *ret = (struct cp_filter_subject){.phase = (Switchyard__V1__Phase)cp_flyte_view_phase(view),
                                      .created_ns = view->row->created_ns};
    ret->texts[CP_FILTER_ACTION_TYPE] = types[cp_flyte_type(view)];
    ret->texts[CP_FILTER_NAME] = view->name;
    ret->texts[CP_FILTER_TASK_NAME] = names->name;
    ret->texts[CP_FILTER_TASK_VERSION] = names->version;
    ret->texts[CP_FILTER_PARENT_NAME] = view->row->parent;
    ret->texts[CP_FILTER_CREATED_BY] = CP_ANONYMOUS;
    ret->updated_ns = view->outcome != NULL   ? view->outcome->finished_ns
                      : view->started_ns != 0 ? view->started_ns
                                              : view->row->created_ns;
}

/* `ctx` is the run's Labels. */
static const char *find_label(const void *ctx, const char *key)
{
    const Flyteidl2__Task__Labels *labels = ctx;
    for (size_t i = 0; i < labels->n_values; i++) {
        if (strcmp(labels->values[i]->key, key) == 0)
            return labels->values[i]->value;
    }
    return NULL;
}

static void add_labels(struct cp_filter_subject *subject, const struct cp_filters *filters,
                       struct sy_arena *arena, const ProtobufCBinaryData *run_spec)
{
    for (size_t i = 0; i < filters->count; i++) {
        if (filters->items[i].field != CP_FILTER_LABEL)
            continue;
        const Flyteidl2__Task__RunSpec *spec = pb_unpack(
            &flyteidl2__task__run_spec__descriptor, arena,
            (struct sy_span){run_spec->data, run_spec->len});
        if (spec == NULL || spec->labels == NULL)
            return;
        subject->label = find_label;
        subject->label_ctx = spec->labels;
        return;
    }
}

/* Whether a condition waits, so many levels deep at most: the stack is not endless. */
#define PAUSED_DEPTH_MAX 64
struct paused_search {
    unsigned depth;
    bool found;
};

static bool look_for_paused(void *ctx, struct sch_action *action)
{
    struct paused_search *search = ctx;
    search->found = action->sm.state == SCH_ACTION_PAUSED;
    if (!search->found && search->depth < PAUSED_DEPTH_MAX && action->children_live > 0) {
        search->depth++;
        sch_action_each_child(action, look_for_paused, search);
        search->depth--;
    }
    return !search->found;
}

static bool has_paused(struct cp_partition *p, const struct cp_run_view *run)
{
    struct paused_search search = {0};
    if (run->live != NULL && run->live->root != NULL && cp_partition_counts(p).paused > 0)
        look_for_paused(&search, run->live->root);
    return search.found;
}

static bool run_matches(const struct runs_query *query, struct sy_arena *arena,
                        const struct cp_run_view *run, const struct cp_action_view *root,
                        const struct cp_task_names *names)
{
    if (query->task[0] != '\0' && strcmp(query->task, names->name) != 0)
        return false;
    if (query->version[0] != '\0' && strcmp(query->version, names->version) != 0)
        return false;
    struct cp_filter_subject subject;
    cp_list_subject(&subject, root, names);
    subject.texts[CP_FILTER_NAME] = run->row->name;
    add_labels(&subject, &query->list.filters, arena, &run->row->run_spec);
    return cp_filters_match(&query->list.filters, &subject);
}

/* Adds the run to the part when it matches. 0, or what a read returns. */
static int add_run(struct cp_gather_part *part, const struct cp_run_view *run)
{
    const struct runs_query *query = part->gather->query;
    struct runs_part *page = part->result;
    struct sy_arena *arena = &part->lane->scratch;
    struct cp_action_view root;
    const struct cp_task_names *names;
    if (query->paused_only && !has_paused(part->lane->partition, run))
        return 0;
    int r = cp_partition_get_action(part->lane->partition, arena, run->id, SCH_ROOT_NAME, &root);
    if (r == CP_PARTITION_E_NOT_FOUND)
        return 0; /* not yet durable */
    if (r == 0)
        r = cp_view_names(part->lane, &root, &names);
    if (r != 0 || !run_matches(query, arena, run, &root, names))
        return r;
    struct cp_flyte f = {arena, query->org, run->row->project, run->row->domain, run->row->name};
    Flyteidl2__Workflow__Run *item = cp_flyte_run(&f, &root, names, run->row);
    Flyteidl2__Workflow__ListRunsResponse response = FLYTEIDL2__WORKFLOW__LIST_RUNS_RESPONSE__INIT;
    response.n_runs = 1;
    response.runs = &item;
    size_t offset = part->buf.len;
    pb_pack(&response.base, &part->buf);
    page->items[page->count++] = (struct item){run->row->created_ns, run->id, offset,
                                               part->buf.len - offset};
    return 0;
}

/* One chunk; true when the page is full or nothing is left. */
static bool collect_chunk(struct cp_gather_part *part, int *ret_error)
{
    const struct runs_query *query = part->gather->query;
    struct runs_part *page = part->result;
    struct runs_chunk chunk = {.query = query};
    *ret_error = cp_partition_list_runs(part->lane->partition, cp_scratch(part->lane), page->from,
                                        query->list.ascending, take_run, &chunk);
    for (size_t i = 0; *ret_error == 0 && i < chunk.count; i++) {
        *ret_error = add_run(part, &chunk.runs[i]);
        page->from = chunk.runs[i].id;
        if (page->count == query->list.limit)
            return true;
    }
    if (*ret_error != 0)
        return true;
    page->scanned += chunk.scanned;
    page->end = !chunk.stopped;
    if (chunk.scanned > 0)
        page->from = chunk.last;
    return page->end || page->scanned >= PAGE_SCAN_MAX;
}

static struct runs_part *new_page(struct cp_gather_part *part)
{
    const struct runs_query *query = part->gather->query;
    struct runs_part *page = sy_arena_alloc(&part->arena, sizeof(*page));
    SY_ASSERT(page != NULL);
    *page = (struct runs_part){.from = query->from[part->lane->index]};
    page->items = sy_arena_alloc(&part->arena, query->list.limit * sizeof(page->items[0]));
    SY_ASSERT(page->items != NULL);
    page->end = page->from == CURSOR_END;
    part->result = page;
    return page;
}

static bool collect_runs(struct cp_gather_part *part)
{
    struct runs_part *page = part->result != NULL ? part->result : new_page(part);
    int r = 0;
    bool done = page->end;
    for (int i = 0; i < CHUNKS_A_TURN && !done; i++)
        done = collect_chunk(part, &r);
    if (r == CP_PARTITION_E_NOT_SERVING)
        cp_status_not_serving(&part->status, part->lane);
    else if (r != 0)
        sy_status_set(&part->status, SY_CODE_INTERNAL, "reading from the store failed: %s",
                      strerror(r < 0 ? -r : EIO));
    return done;
}

/* Where the next page goes on in a part of which `taken` items were used: behind the last one; so
 * that a run that is made meanwhile does not come before older ones. */
static uint64_t cursor_after(const struct runs_query *query, const struct runs_part *page,
                             size_t taken)
{
    if (taken == page->count)
        return page->end ? CURSOR_END : page->from;
    if (taken > 0)
        return page->items[taken - 1].id;
    return query->list.ascending ? page->items[0].id - 1 : page->items[0].id + 1;
}

/* The part with the newest (or oldest) item that is left; -1: the page ends here, since a part that
 * has more behind what it could scan might hold it. */
static int next_part(const struct cp_gather *gather, const size_t *taken)
{
    const struct runs_query *query = gather->query;
    int next = -1;
    int64_t next_ns = 0;
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct runs_part *page = gather->parts[i].result;
        if (taken[i] == page->count) {
            if (!page->end)
                return -1;
            continue;
        }
        int64_t created_ns = page->items[taken[i]].created_ns;
        if (next < 0 || (query->list.ascending ? created_ns < next_ns : created_ns > next_ns)) {
            next = (int)i;
            next_ns = created_ns;
        }
    }
    return next;
}

static char *runs_token(struct cp_gather *gather, const size_t *taken)
{
    const struct runs_query *query = gather->query;
    char *token = cp_request_alloc(gather->req, (size_t)gather->count * 16 + 2);
    bool more = false;
    token[0] = 'r';
    for (uint32_t i = 0; i < gather->count; i++) {
        uint64_t cursor = cursor_after(query, gather->parts[i].result, taken[i]);
        more = more || cursor != CURSOR_END;
        snprintf(token + 1 + (size_t)i * 16, 17, "%016llx", (unsigned long long)cursor);
    }
    if (!more)
        token[0] = '\0';
    return token;
}

/* What was split since goes on, in both halves, where the whole had come to. */
static int read_runs_token(const char *token, uint64_t *ret, const struct cp_ranges *ranges,
                           struct sy_error_text *error)
{
    if (token[0] == '\0')
        return 0;
    uint32_t parents[CP_MAP_PARTITIONS_MAX], all = cp_ranges_count(ranges);
    size_t digits_count = strspn(token + 1, "0123456789abcdef"), count = digits_count / 16;
    bool valid = token[0] == 'r' && token[1 + digits_count] == '\0' && digits_count % 16 == 0 &&
                 count > 0 && count <= all;
    if (valid)
        cp_ranges_parents(ranges, (uint32_t)count, parents);
    for (uint32_t i = 0; valid && i < count; i++) {
        char digits[17] = {0};
        memcpy(digits, token + 1 + (size_t)i * 16, 16);
        ret[i] = strtoull(digits, NULL, 16);
    }
    for (size_t i = count; valid && i < all; i++)
        ret[i] = ret[parents[i - count]];
    if (!valid)
        sy_error_text_set(error, "token '%s': not one that ListRuns of this region returned",
                          token);
    return valid ? 0 : -EINVAL;
}

/* ---- a part that another shard has ---- */

static void pack_runs(const struct cp_gather_part *part, cp_part_reply *reply)
{
    struct cp_request *req = part->gather->req;
    const struct runs_part *page = part->result;
    struct {
        Switchyard__Internal__ListedRuns part;
        Switchyard__Internal__ListedRun runs[];
    } *all = cp_request_alloc(req, sizeof(*all) + page->count * sizeof(all->runs[0]));
    switchyard__internal__listed_runs__init(&all->part);
    all->part.end = page->end;
    all->part.from = page->from;
    all->part.n_runs = page->count;
    all->part.runs = cp_request_alloc(req, page->count * sizeof(void *));
    for (size_t i = 0; i < page->count; i++) {
        const struct item *item = &page->items[i];
        Switchyard__Internal__ListedRun *run = all->part.runs[i] = &all->runs[i];
        switchyard__internal__listed_run__init(run);
        run->created_ns = item->created_ns;
        run->id = item->id;
        run->response = (ProtobufCBinaryData){item->len, part->buf.data + item->offset};
    }
    reply->part_case = SWITCHYARD__INTERNAL__PART_REPLY__PART_RUNS;
    reply->runs = &all->part;
}

static int unpack_runs(struct cp_gather_part *part, const cp_part_reply *reply)
{
    const struct runs_query *query = part->gather->query;
    if (reply->part_case != SWITCHYARD__INTERNAL__PART_REPLY__PART_RUNS)
        return -EBADMSG;
    const Switchyard__Internal__ListedRuns *from = reply->runs;
    if (from->n_runs > query->list.limit || (!from->end && from->from <= CURSOR_END))
        return -EBADMSG;
    struct runs_part *page = new_page(part);
    page->end = from->end;
    page->from = from->from;
    for (size_t i = 0; i < from->n_runs; i++) {
        const Switchyard__Internal__ListedRun *run = from->runs[i];
        page->items[page->count++] = (struct item){run->created_ns, run->id, part->buf.len,
                                                   run->response.len};
        sy_buf_append(&part->buf, run->response.data, run->response.len);
    }
    return 0;
}

/* ---- all of them ---- */

static void finish_runs(struct cp_gather *gather)
{
    const struct runs_query *query = gather->query;
    size_t limit = query->list.limit, count = 0;
    size_t *taken = cp_request_alloc(gather->req, gather->count * sizeof(*taken));
    struct sy_span *page = cp_request_alloc(gather->req, limit * sizeof(*page));
    int next;
    while (count < limit && (next = next_part(gather, taken)) >= 0) {
        const struct cp_gather_part *part = &gather->parts[next];
        const struct item *item = &((struct runs_part *)part->result)->items[taken[next]++];
        page[count++] = (struct sy_span){part->buf.data + item->offset, item->len};
    }
    struct sy_buf response = {0};
    for (size_t i = 0; i < count; i++)
        sy_buf_append(&response, page[i].data, page[i].len);
    Flyteidl2__Workflow__ListRunsResponse tail = FLYTEIDL2__WORKFLOW__LIST_RUNS_RESPONSE__INIT;
    tail.token = runs_token(gather, taken);
    pb_pack(&tail.base, &response);
    cp_reply(gather->req, &response);
}

static const struct cp_gather_kind runs_kind = {
    .collect = collect_runs, .pack = pack_runs, .unpack = unpack_runs, .finish = finish_runs};

static int read_scope(struct runs_query *query, const Flyteidl2__Workflow__ListRunsRequest *m,
                      struct sy_error_text *error)
{
    switch (m->scope_by_case) {
    case FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_ORG:
        query->org = m->org;
        break;
    case FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_PROJECT_ID:
        query->org = m->project_id->organization;
        query->project = m->project_id->name;
        query->domain = m->project_id->domain;
        break;
    case FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_TASK_NAME:
        query->org = m->task_name->org;
        query->project = m->task_name->project;
        query->domain = m->task_name->domain;
        query->task = m->task_name->name;
        break;
    case FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_TASK_ID:
        query->org = m->task_id->org;
        query->project = m->task_id->project;
        query->domain = m->task_id->domain;
        query->task = m->task_id->name;
        query->version = m->task_id->version;
        break;
    case FLYTEIDL2__WORKFLOW__LIST_RUNS_REQUEST__SCOPE_BY_TRIGGER_NAME:
        query->trigger = m->trigger_name;
        query->org = m->trigger_name->org;
        query->project = m->trigger_name->project;
        query->domain = m->trigger_name->domain;
        break;
    default:
        break;
    }
    if (cp_text_check("organization", query->org, 255, error) < 0)
        return -EINVAL;
    if (query->project[0] != '\0' && cp_name_check("project", query->project, error) < 0)
        return -EINVAL;
    return query->domain[0] != '\0' ? cp_name_check("domain", query->domain, error) : 0;
}

static void list_runs(struct cp_request *req)
{
    const Flyteidl2__Workflow__ListRunsRequest *m = req->message;
    const struct cp_ranges *ranges = cp_ranges_get(&req->lane->shard->ranges);
    struct runs_query *query = cp_request_alloc(req, sizeof(*query));
    *query = (struct runs_query){.org = "", .project = "", .domain = "", .task = "", .version = ""};
    query->from = cp_request_alloc(req, cp_ranges_count(ranges) * sizeof(*query->from));
    struct sy_error_text error = {0};
    if (cp_list_options_read(&query->list, &runs_rules, m->request, &error) < 0 ||
        read_scope(query, m, &error) < 0 ||
        read_runs_token(query->list.token, query->from, ranges, &error) < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    query->paused_only = m->paused_actions_only;
    cp_gather_all(req, query, &runs_kind);
}

/* ---- ListActions ---- */

struct actions_page {
    struct cp_list_options list;
    uint64_t run_id;
    char after[CP_NAME_LENGTH_MAX + 1];
    size_t scanned, count;
    bool end;
    struct sy_buf buf;
    struct item *items;
};

struct actions_chunk {
    struct cp_action_view actions[CP_CHUNK_ROWS];
    size_t count;
};

static bool take_action(void *ctx, const struct cp_action_view *action)
{
    struct actions_chunk *chunk = ctx;
    chunk->actions[chunk->count++] = *action;
    return chunk->count < CP_CHUNK_ROWS;
}

static int add_action(struct cp_request *req, const struct cp_action_view *view)
{
    struct actions_page *page = req->state;
    const struct cp_task_names *names;
    int r = cp_view_names(req->lane, view, &names);
    if (r != 0)
        return r;
    struct cp_filter_subject subject;
    cp_list_subject(&subject, view, names);
    if (!cp_filters_match(&page->list.filters, &subject))
        return 0;
    struct cp_flyte f = cp_request_flyte(req);
    Flyteidl2__Workflow__Action *item = cp_flyte_action(&f, view, names);
    Flyteidl2__Workflow__ListActionsResponse response =
        FLYTEIDL2__WORKFLOW__LIST_ACTIONS_RESPONSE__INIT;
    response.n_actions = 1;
    response.actions = &item;
    size_t offset = page->buf.len;
    pb_pack(&response.base, &page->buf);
    page->items[page->count++] = (struct item){view->row->created_ns, view->row->id, offset,
                                               page->buf.len - offset};
    return 0;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *left = a, *right = b;
    if (left->created_ns != right->created_ns)
        return left->created_ns < right->created_ns ? -1 : 1;
    return left->id < right->id ? -1 : left->id > right->id;
}

static void reply_actions(struct cp_request *req)
{
    struct actions_page *page = req->state;
    if (page->list.sorted)
        qsort(page->items, page->count, sizeof(page->items[0]), compare_items);
    struct sy_buf response = {0};
    bool reverse = page->list.sorted && !page->list.ascending;
    for (size_t i = 0; i < page->count; i++) {
        const struct item *item = &page->items[reverse ? page->count - 1 - i : i];
        sy_buf_append(&response, page->buf.data + item->offset, item->len);
    }
    char token[CP_NAME_LENGTH_MAX + 2];
    snprintf(token, sizeof(token), "a%s", page->after);
    Flyteidl2__Workflow__ListActionsResponse tail =
        FLYTEIDL2__WORKFLOW__LIST_ACTIONS_RESPONSE__INIT;
    if (!page->end)
        tail.token = token;
    pb_pack(&tail.base, &response);
    cp_reply(req, &response);
}

/* One chunk; true when the page is complete. */
static bool read_actions(struct cp_request *req, int *ret_error)
{
    struct actions_page *page = req->state;
    struct actions_chunk chunk = {0};
    *ret_error = cp_partition_list_actions(req->lane->partition, cp_scratch(req->lane),
                                           page->run_id, page->after, take_action, &chunk);
    for (size_t i = 0; *ret_error == 0 && i < chunk.count; i++) {
        *ret_error = add_action(req, &chunk.actions[i]);
        snprintf(page->after, sizeof(page->after), "%s", chunk.actions[i].name);
        page->scanned++;
        if (page->count == page->list.limit)
            return true; /* perhaps the last of all: then the next page is empty */
    }
    page->end = chunk.count < CP_CHUNK_ROWS;
    return *ret_error != 0 || page->end || page->scanned >= PAGE_SCAN_MAX;
}

static void pump_actions(struct cp_request *req)
{
    int r = 0;
    bool done = false;
    for (int i = 0; i < CHUNKS_A_TURN && !done; i++)
        done = read_actions(req, &r);
    if (r != 0)
        cp_fail_read(req, r);
    else if (done)
        reply_actions(req);
    else
        cp_stream_again_in(req, 0);
}

static void release_actions(struct cp_request *req)
{
    struct actions_page *page = req->state;
    sy_buf_deinit(&page->buf);
}

static int address_actions(struct cp_request *req, struct sy_error_text *error)
{
    const Flyteidl2__Workflow__ListActionsRequest *m = req->message;
    return cp_address_run(req, m->run_id, error);
}

static void list_actions(struct cp_request *req)
{
    const Flyteidl2__Workflow__ListActionsRequest *m = req->message;
    struct actions_page *page = cp_request_alloc(req, sizeof(*page));
    struct sy_error_text error = {0};
    int r = cp_list_options_read(&page->list, &actions_rules, m->request, &error);
    const char *token = page->list.token;
    if (r == 0 && token[0] != '\0' &&
        (token[0] != 'a' || cp_name_check("token", token + 1, NULL) < 0)) {
        sy_error_text_set(&error, "token '%s': not one that ListActions returned", token);
        r = -EINVAL;
    }
    if (r < 0) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    struct cp_run_view run;
    if (!cp_view_run(req, cp_scratch(req->lane), &run))
        return;
    page->run_id = run.id;
    page->items = cp_request_alloc(req, page->list.limit * sizeof(page->items[0]));
    snprintf(page->after, sizeof(page->after), "%s", token[0] != '\0' ? token + 1 : "");
    req->state = page;
    cp_stream_start(req, pump_actions, release_actions);
}

#define RUN_SERVICE "/flyteidl2.workflow.RunService/"

const struct cp_method cp_list_methods[] = {
    {.path = RUN_SERVICE "ListRuns",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__list_runs_request__descriptor,
     .serve = list_runs,
     .parts = true},
    {.path = RUN_SERVICE "ListActions",
     .kind = SY_METHOD_UNARY,
     .request = &flyteidl2__workflow__list_actions_request__descriptor,
     .address = address_actions,
     .serve = list_actions},
    {0},
};
