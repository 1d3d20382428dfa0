/* links: cl */
/* What people read of an explanation, on terminals of any width. */
#include "tools/src/cl_explain.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/cl_json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NOW (1000 * SY_NS_PER_S)

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* One that waits for room behind others, with a limit in its way. */
struct answer {
    Switchyard__V1__ExplainActionResponse response;
    Switchyard__V1__Explanation e;
    Switchyard__V1__QueueId queue;
    Switchyard__V1__Request request;
    Switchyard__V1__Limit limit, *limits[1];
    Switchyard__V1__ClusterView east, west, *clusters[2];
    Switchyard__V1__Displaced displaced;
    Switchyard__V1__DisplacedAttempt victim, *victims[1];
    Switchyard__V1__RunId victim_run;
    Switchyard__V1__KeptNode kept, *kept_nodes[1];
    Switchyard__V1__WhyNot east_why[1], west_why[2];
    Switchyard__V1__Space missing, free;
    Switchyard__V1__Line ahead;
    Switchyard__V1__Change raise, room, *changes[2];
    Switchyard__V1__Estimate estimate;
    Switchyard__V1__Timeline timeline;
    Switchyard__V1__Attempt attempt, *attempts[1];
    Switchyard__V1__Error error;
};

static void set_clusters(struct answer *a)
{
    switchyard__v1__cluster_view__init(&a->east);
    switchyard__v1__cluster_view__init(&a->west);
    switchyard__v1__space__init(&a->missing);
    a->missing.gpu_milli = 2000;
    a->east.name = text("east");
    a->west.name = text("west\x1b[31m");
    a->east.state = text("ready");
    a->west.state = text("down");
    a->east.eligible = true;
    a->east_why[0] = SWITCHYARD__V1__WHY_NOT__WHY_NOT_ROOM;
    a->west_why[0] = SWITCHYARD__V1__WHY_NOT__WHY_NOT_CONNECTED;
    a->west_why[1] = SWITCHYARD__V1__WHY_NOT__WHY_NOT_SHAPE;
    a->east.why_not = a->east_why;
    a->west.why_not = a->west_why;
    a->east.n_why_not = 1;
    a->west.n_why_not = 2;
    a->east.missing = &a->missing;
    a->west.miss = text("2 x H100 asked, 0 x GPU there");
    a->clusters[0] = &a->east;
    a->clusters[1] = &a->west;
    a->e.clusters = a->clusters;
    a->e.n_clusters = 2;
}

static void set_changes(struct answer *a)
{
    switchyard__v1__change__init(&a->raise);
    switchyard__v1__change__init(&a->room);
    a->raise.kind = SWITCHYARD__V1__CHANGE_KIND__CHANGE_KIND_LIMIT;
    a->raise.queue = &a->queue;
    a->raise.limit = SWITCHYARD__V1__LIMIT_KIND__LIMIT_KIND_ACTIONS;
    a->raise.now = 10;
    a->raise.least = 11;
    a->room.kind = SWITCHYARD__V1__CHANGE_KIND__CHANGE_KIND_ROOM;
    a->room.cluster = text("east");
    a->room.space = &a->missing;
    a->changes[0] = &a->raise;
    a->changes[1] = &a->room;
    a->e.changes = a->changes;
    a->e.n_changes = 2;
}

static void set_limit(struct answer *a)
{
    switchyard__v1__limit__init(&a->limit);
    a->limit.queue = &a->queue;
    a->limit.kind = SWITCHYARD__V1__LIMIT_KIND__LIMIT_KIND_ACTIONS;
    a->limit.used = a->limit.allowed = a->limit.max = 10;
    a->limit.need = 1;
    a->limits[0] = &a->limit;
    a->e.limits = a->limits;
    a->e.n_limits = 1;
}

static void waiting(struct answer *a)
{
    switchyard__v1__explain_action_response__init(&a->response);
    switchyard__v1__explanation__init(&a->e);
    switchyard__v1__queue_id__init(&a->queue);
    switchyard__v1__request__init(&a->request);
    switchyard__v1__line__init(&a->ahead);
    switchyard__v1__estimate__init(&a->estimate);
    a->queue.project = text("fraud");
    a->queue.domain = text("prod");
    a->queue.name = text("batch");
    a->request.cpu_milli = 1000;
    a->request.gpu_milli = 2000;
    a->request.gpu_model = text("H100");
    a->response.action = text("train");
    a->response.explanation = &a->e;
    a->e.state = text("queued");
    a->e.waits = true;
    a->e.queue = &a->queue;
    a->e.request = &a->request;
    a->e.since_ns = NOW - 90 * SY_NS_PER_S;
    a->ahead.own = 3;
    a->ahead.own_exact = a->ahead.complete = true;
    a->ahead.others = 7;
    a->e.ahead = &a->ahead;
    a->estimate.basis = SWITCHYARD__V1__BASIS__BASIS_QUEUE;
    a->estimate.wait_ns = 40 * SY_NS_PER_S;
    a->estimate.starts = 12;
    a->estimate.span_ns = 120 * SY_NS_PER_S;
    a->e.estimate = &a->estimate;
    set_limit(a);
    set_clusters(a);
    set_changes(a);
}

static char *print(const struct answer *a, unsigned width)
{
    char *ret = NULL;
    size_t size;
    FILE *file = open_memstream(&ret, &size);
    cl_explain_print(&a->response, file, width, NOW);
    fclose(file);
    return ret;
}

static void says(const char *page, const char *words)
{
    ck_assert_msg(strstr(page, words) != NULL, "'%s' is not in:\n%s", words, page);
}

START_TEST(a_page_says_all_of_it)
{
    struct answer a;
    waiting(&a);
    char *page = print(&a, 0);
    says(page, "action train is queued in queue fraud/prod/batch, for 1m30s\n");
    says(page, "\n  limit actions of queue fraud/prod/batch: 10 of 10 used, 1 more asked\n");
    says(page, "\n  a cluster with room for 1 core, 2 x H100\n");
    says(page, "\n  limit actions of queue fraud/prod/batch is 11 (now 10)\n");
    says(page, "\n  2 x H100 more free in east\n");
    says(page, "\nahead: 3 in its queue, at most 7 elsewhere\n");
    says(page, "\nestimate: in about 40.00s (12 such starts in this queue in the last 2m00s)\n");
    says(page, "short by 2 x H100");
    says(page, "not connected; 2 x H100 asked, 0 x GPU there");
    ck_assert_ptr_null(strchr(page, '\x1b'));
    free(page);
}
END_TEST

START_TEST(room_that_lies_in_pieces_names_a_node)
{
    struct answer a;
    waiting(&a);
    a.room.space = NULL;
    char *page = print(&a, 0);
    says(page, "\n  a node of east has 1 core, 2 x H100 free\n");
    free(page);
}
END_TEST

START_TEST(a_gang_is_told_as_a_whole)
{
    struct answer a;
    waiting(&a);
    a.e.members = 4;
    a.e.domain = text("rack");
    a.east.fits = 2;
    char *page = print(&a, 0);
    says(page, "\n  a cluster with room for a gang of 4, each 1 core, 2 x H100, all in one rack\n");
    says(page, "short by 2 x H100; room for 2 of 4 at most");
    free(page);
    a.e.state = text("assigned");
    a.e.cluster = text("east");
    a.e.held = true;
    page = print(&a, 0);
    says(page, "action train is assigned in cluster east\n");
    says(page, "\n  its gang of 4 waits there until all of it has room");
    free(page);
}
END_TEST

static void set_surveys(struct answer *a)
{
    switchyard__v1__displaced__init(&a->displaced);
    switchyard__v1__displaced_attempt__init(&a->victim);
    switchyard__v1__run_id__init(&a->victim_run);
    switchyard__v1__kept_node__init(&a->kept);
    a->victim_run.name = text("old\x1b[31m");
    a->victim.run = &a->victim_run;
    a->victim.action = text("a0");
    a->victim.queue = &a->queue;
    a->victim.node = text("n7");
    a->victim.started_ns = NOW - 30 * SY_NS_PER_S;
    a->victims[0] = &a->victim;
    a->displaced.attempts = a->victims;
    a->displaced.n_attempts = 1;
    a->displaced.count = 3;
    a->kept.node = text("n8");
    a->kept.missing = &a->missing;
    a->kept_nodes[0] = &a->kept;
    a->east.displaced = &a->displaced;
    a->east.kept_nodes = a->kept_nodes;
    a->east.n_kept_nodes = 1;
}

START_TEST(room_that_goes_to_others_is_not_called_missing)
{
    struct answer a;
    waiting(&a);
    char *page = print(&a, 0);
    says(page, "short by 2 x H100");
    free(page);
    set_surveys(&a);
    a.displaced.room = a.displaced.withheld = true;
    page = print(&a, 0);
    says(page, "its room goes to others that come first");
    free(page);
    a.east.n_kept_nodes = 0;
    page = print(&a, 0);
    ck_assert_ptr_null(strstr(page, "short by"));
    free(page);
}
END_TEST

START_TEST(what_would_stop_and_what_is_kept_is_listed)
{
    struct answer a;
    waiting(&a);
    set_surveys(&a);
    char *page = print(&a, 0);
    says(page,
         "\npreemption would stop for it, in the cluster that is asked:\n  in east: 3 attempts\n");
    says(page, "/a0 of queue fraud/prod/batch on n7, running for 30.00s\n    and 2 more\n");
    says(page, "\nnodes that are kept for it:\n  n8 in east: short by 2 x H100\n");
    ck_assert_ptr_null(strchr(page, '\x1b'));
    free(page);
    a.kept.missing = NULL;
    a.victim.started_ns = 0;
    a.e.displaceable_queues_more = 9;
    page = print(&a, 0);
    says(page, "on n7, that has not started\n");
    says(page, "\n  n8 in east: it fits\n");
    says(page, "\n  not asked about: 9 more queues whose work may stop\n");
    free(page);
    a.displaced.count = 0;
    a.displaced.n_attempts = 0;
    page = print(&a, 0);
    says(page, "\n  in east: nothing\n");
    free(page);
    a.displaced.room = true;
    page = print(&a, 0);
    ck_assert_ptr_null(strstr(page, "preemption"));
    free(page);
}
END_TEST

START_TEST(lines_fit_the_terminal)
{
    struct answer a;
    waiting(&a);
    set_surveys(&a);
    for (unsigned width = 44; width <= 120; width++) {
        char *page = print(&a, width);
        for (const char *line = page; *line; line += strcspn(line, "\n") + 1)
            ck_assert_msg(strcspn(line, "\n") <= width, "%u: %.*s", width, (int)strcspn(line, "\n"),
                          line);
        free(page);
    }
}
END_TEST

/* One space for many. */
static void squeeze(char *page)
{
    char *to = page;
    for (const char *from = page; *from != '\0'; from++) {
        if (*from != ' ' || from == page || from[-1] != ' ')
            *to++ = *from;
    }
    *to = '\0';
}

START_TEST(an_ended_one_says_where_its_time_went)
{
    struct answer a;
    waiting(&a);
    switchyard__v1__timeline__init(&a.timeline);
    switchyard__v1__attempt__init(&a.attempt);
    switchyard__v1__error__init(&a.error);
    a.response.explanation = NULL;
    a.response.phase = SWITCHYARD__V1__PHASE__PHASE_FAILED;
    a.response.timeline = &a.timeline;
    a.timeline.attempts = a.attempts;
    a.timeline.n_attempts = 1;
    a.attempts[0] = &a.attempt;
    a.attempt.number = 1;
    a.attempt.queued_ns = NOW - 60 * SY_NS_PER_S;
    a.attempt.started_ns = NOW - 50 * SY_NS_PER_S;
    a.attempt.ended_ns = NOW - 20 * SY_NS_PER_S;
    a.attempt.cluster = text("east");
    a.attempt.node = text("n1");
    a.error.code = text("OutOfMemory");
    a.error.message = text("too much");
    a.attempt.error = &a.error;
    char *page = print(&a, 0);
    says(page, "action train: FAILED\n");
    says(page, "10.00s");
    says(page, "30.00s");
    says(page, "OutOfMemory: too much");
    ck_assert_ptr_null(strstr(page, "0s\n")); /* what nobody has told is left empty */
    free(page);
    a.attempt.granted_ns = NOW - 55 * SY_NS_PER_S; /* its node's clock is an hour late */
    a.attempt.reported_ns = NOW - 18 * SY_NS_PER_S;
    a.attempt.started_ns -= 3600 * SY_NS_PER_S;
    a.attempt.ended_ns -= 3600 * SY_NS_PER_S;
    a.attempt.held_ns = 2 * SY_NS_PER_S;
    a.attempt.waited_ns = 3 * SY_NS_PER_S;
    a.attempt.ran_ns = 30 * SY_NS_PER_S;
    page = print(&a, 0);
    squeeze(page);
    says(page, " 1 5.00s 2.00s 3.00s 30.00s 2.00s east n1 ");
    free(page);
}
END_TEST

START_TEST(messages_are_json)
{
    struct answer a;
    waiting(&a);
    json_t *json = cl_json_message(&a.response.base);
    json_t *e = json_object_get(json, "explanation");
    ck_assert_str_eq(json_string_value(json_object_get(e, "state")), "queued");
    json_t *change = json_array_get(json_object_get(e, "changes"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(change, "kind")), "LIMIT");
    ck_assert_int_eq(json_integer_value(json_object_get(change, "least")), 11);
    json_t *west = json_array_get(json_object_get(e, "clusters"), 1);
    json_t *why = json_object_get(west, "why_not");
    ck_assert_uint_eq(json_array_size(why), 2);
    ck_assert_str_eq(json_string_value(json_array_get(why, 1)), "SHAPE");
    ck_assert(json_is_null(json_object_get(west, "missing")));
    ck_assert(json_is_false(json_object_get(west, "eligible")));
    json_decref(json);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_page_says_all_of_it,
                                  room_that_lies_in_pieces_names_a_node,
                                  a_gang_is_told_as_a_whole,
                                  room_that_goes_to_others_is_not_called_missing,
                                  what_would_stop_and_what_is_kept_is_listed,
                                  lines_fit_the_terminal,
                                  an_ended_one_says_where_its_time_went,
                                  messages_are_json,
                                  NULL};
    return sy_test_run("cl_explain", tests);
}
