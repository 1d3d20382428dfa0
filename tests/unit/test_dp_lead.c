/* links: dp */
/* How an operator asks whether it is the active one, what it does when it may not be any more, and
 * what operators share. */
#include "tests/unit/test_dp_agents.h"

#include "base/file.h"
#include "dataplane/lead.h"
#include "dataplane/shared.h"
#include "dataplane/standby.h"
#include "proto/pb.h"
#include "switchyard/v1/cluster_service.pb-c.h"

#include <unistd.h>

#define LEASE (5 * SEC)

enum { CONFIGURED = 2, SHARDS };

/* ---- shards that answer as they are told ---- */

struct leads {
    struct world w;
    struct sy_server *servers[SHARDS];
    struct dp_lead *lead;
    Switchyard__V1__LeadClusterResponse answer;
    enum sy_code code; /* instead of an answer; OK: none */
    bool silent;
    struct sy_call *unanswered[64]; /* while it was */
    size_t unanswered_count;
    size_t asked[SHARDS];
    bool gone[SHARDS];
    struct {
        uint64_t over_term, over_renewals, term_min;
        bool fresh, leaves;
        char session[32], endpoint[32];
    } last;
    /* what it was told */
    size_t actives, standbys, left;
    uint64_t term;
    int64_t until_ns;
    char active_at[32];
};

static struct leads leads;

static void on_question(void *ctx, struct sy_call *call, struct sy_span bytes)
{
    struct leads *l = &leads;
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const Switchyard__V1__LeadClusterRequest *m = pb_unpack(
        &switchyard__v1__lead_cluster_request__descriptor, &arena, bytes);
    ck_assert_ptr_nonnull(m);
    ck_assert_str_eq(sy_call_metadata(call, "x-switchyard-cluster"), "c1");
    ck_assert_str_eq(sy_call_metadata(call, "authorization"), "Bearer 00");
    snprintf(l->last.endpoint, sizeof(l->last.endpoint), "%s", m->endpoint);
    ck_assert_str_eq(m->store, "st");
    ck_assert_int_eq(m->lease_ns, LEASE);
    if (l->last.session[0])
        ck_assert_str_eq(m->session, l->last.session);
    snprintf(l->last.session, sizeof(l->last.session), "%s", m->session);
    l->last.over_term = m->over_term;
    l->last.over_renewals = m->over_renewals;
    l->last.term_min = m->term_min;
    l->last.fresh = m->fresh;
    l->last.leaves = m->leaves;
    l->asked[(struct sy_server **)ctx - l->servers]++;
    struct sy_buf reply = {0};
    if (l->silent) { /* the call's deadline ends it */
        ck_assert_uint_lt(l->unanswered_count, SY_COUNT_OF(l->unanswered));
        l->unanswered[l->unanswered_count++] = call;
    } else if (l->gone[(struct sy_server **)ctx - l->servers]) {
        sy_call_fail(call, SY_CODE_UNAVAILABLE, "is gone");
    } else if (l->code != SY_CODE_OK) {
        sy_call_fail(call, l->code, "says the shard");
    } else {
        pb_pack(&l->answer.base, &reply);
        sy_call_reply(call, &reply);
    }
    sy_arena_deinit(&arena);
}

static void on_active(void *ctx, uint64_t term, int64_t until_ns)
{
    struct leads *l = ctx;
    l->actives++;
    l->term = term;
    l->until_ns = until_ns;
}

static void on_standby(void *ctx, const char *endpoint)
{
    struct leads *l = ctx;
    l->standbys++;
    snprintf(l->active_at, sizeof(l->active_at), "%s", endpoint);
}

static void on_left(void *ctx)
{
    ((struct leads *)ctx)->left++;
}

static struct leads *open_leads(void)
{
    static const char *const configured[] = {"lead0:1", "lead1:1", NULL};
    static const char *const names[SHARDS] = {"lead0:1", "lead1:1", "lead2:1"};
    struct leads *l = &leads;
    *l = (struct leads){0};
    switchyard__v1__lead_cluster_response__init(&l->answer);
    world_init(&l->w);
    for (size_t i = 0; i < SHARDS; i++) {
        struct sy_server_options server = {.address = names[i]};
        sy_rpc_mem_set_origin(l->w.rpc, names[i]);
        ck_assert_int_eq(sy_server_new(&l->servers[i], l->w.rpc, &server, NULL), 0);
        sy_server_add(l->servers[i],
                      &(struct sy_method){.path = "/switchyard.v1.ClusterService/LeadCluster",
                                          .kind = SY_METHOD_UNARY,
                                          .handler = on_question,
                                          .ctx = &l->servers[i],
                                          .loop = l->w.peers});
        ck_assert_int_eq(sy_server_start(l->servers[i], NULL), 0);
    }
    struct dp_lead_options options = {.rpc = l->w.rpc,
                                      .loop = l->w.loop,
                                      .seed = 1,
                                      .shards = configured,
                                      .cluster = "c1",
                                      .authorization = "Bearer 00",
                                      .endpoint = "here:1",
                                      .store = "st",
                                      .lease_ns = LEASE,
                                      .term_min = 3};
    sy_rpc_mem_set_origin(l->w.rpc, "operator-out");
    dp_lead_new(&l->lead, &options, &(struct dp_lead_sink){on_active, on_standby, l});
    return l;
}

static void close_leads(struct leads *l)
{
    dp_lead_free(l->lead);
    for (size_t i = 0; i < l->unanswered_count; i++)
        sy_call_fail(l->unanswered[i], SY_CODE_UNAVAILABLE, "too late");
    for (size_t i = 0; i < SHARDS; i++)
        sy_server_free(l->servers[i]);
    world_deinit(&l->w);
}

static void say(struct leads *l, bool active, uint64_t term, uint64_t renewals, int64_t lease_ns)
{
    l->answer.active = active;
    l->answer.term = term;
    l->answer.renewals = renewals;
    l->answer.lease_ns = lease_ns;
    l->answer.endpoint = (char *)(uintptr_t)(active ? "here:1" : "there:1");
}

START_TEST(a_lease_runs_from_when_it_was_asked_for)
{
    struct leads *l = open_leads();
    say(l, true, 4, 0, LEASE);
    int64_t asked_ns = l->w.now_ns;
    world_run(&l->w, 10 * MS);
    ck_assert_uint_eq(l->actives, 1);
    ck_assert_uint_eq(l->term, 4);
    ck_assert_int_eq(l->until_ns, asked_ns + LEASE - LEASE / 10);
    ck_assert(l->last.fresh && l->last.term_min == 3);
    ck_assert_str_eq(l->last.endpoint, "here:1");
    dp_lead_set_endpoint(l->lead, "here:2");
    world_run(&l->w, 10 * MS); /* without waiting for its next question */
    ck_assert_str_eq(l->last.endpoint, "here:2");
    ck_assert_uint_eq(l->actives, 2);
    world_run(&l->w, LEASE);
    ck_assert_uint_ge(l->actives, 4); /* several times in a lease */
    ck_assert_int_gt(l->until_ns, l->w.now_ns + LEASE / 2);
    ck_assert(!l->last.fresh && l->last.term_min == 4);
    say(l, true, 4, 0, 0); /* nobody stands by */
    world_run(&l->w, LEASE);
    ck_assert_int_eq(l->until_ns, SY_TIME_NEVER);
    close_leads(l);
}
END_TEST

START_TEST(another_shard_is_asked_where_one_does_not_answer)
{
    struct leads *l = open_leads();
    say(l, true, 4, 0, LEASE);
    l->silent = true;
    world_run(&l->w, 10 * SEC);
    ck_assert_uint_eq(l->actives + l->standbys, 0);
    ck_assert(l->asked[0] > 1 && l->asked[1] > 1);
    l->silent = false;
    l->code = SY_CODE_UNAVAILABLE;
    world_run(&l->w, 10 * SEC);
    ck_assert_uint_eq(l->actives + l->standbys, 0);
    l->code = SY_CODE_OK;
    world_run(&l->w, 3 * SEC);
    ck_assert_uint_ge(l->actives, 1);
    close_leads(l);
}
END_TEST

START_TEST(shards_that_an_answer_tells_of_are_asked_when_the_configured_ones_are_gone)
{
    struct leads *l = open_leads();
    static char zero[] = "lead0:1", one[] = "lead1:1", two[] = "lead2:1", wrong[] = "no target";
    char *first[] = {zero, one, two, wrong}, *last[] = {two}, *none[] = {one};
    say(l, true, 4, 0, LEASE);
    l->answer.shards = first;
    l->answer.n_shards = 4;
    world_run(&l->w, SEC);
    l->answer.shards = last; /* the others leave the region */
    l->answer.n_shards = 1;
    world_run(&l->w, LEASE);
    ck_assert_uint_eq(l->asked[2], 0); /* who answers is asked again */
    l->gone[0] = l->gone[1] = true;
    world_run(&l->w, LEASE);
    ck_assert_uint_ge(l->asked[2], 1);
    ck_assert_int_gt(l->until_ns, l->w.now_ns); /* the lease has been renewed in time */
    l->answer.n_shards = 0;                     /* as older shards answer */
    world_run(&l->w, LEASE);
    ck_assert_int_gt(l->until_ns, l->w.now_ns);
    l->gone[0] = l->gone[1] = false; /* they are configured: known for good */
    l->gone[2] = true;
    world_run(&l->w, LEASE);
    ck_assert_int_gt(l->until_ns, l->w.now_ns);
    l->answer.shards = none;
    l->answer.n_shards = 1;
    world_run(&l->w, LEASE);
    size_t asked = l->asked[2];
    l->gone[0] = l->gone[1] = true;
    world_run(&l->w, 2 * LEASE);
    ck_assert_uint_eq(l->asked[2], asked); /* it is not known any more */
    close_leads(l);
}
END_TEST

START_TEST(one_that_stands_by_counts_the_others_lease_by_its_own_clock)
{
    struct leads *l = open_leads();
    say(l, false, 7, 1, 3 * SEC);
    world_run(&l->w, 2500 * MS);
    ck_assert_uint_ge(l->standbys, 3);
    ck_assert_str_eq(l->active_at, "there:1");
    ck_assert_uint_eq(l->last.over_term, 0);
    l->answer.renewals = 2; /* it is there */
    world_run(&l->w, 2500 * MS);
    ck_assert_uint_eq(l->last.over_term, 0);
    world_run(&l->w, 1500 * MS); /* three seconds from the first answer that said so */
    ck_assert_uint_eq(l->last.over_term, 7);
    ck_assert_uint_eq(l->last.over_renewals, 2);
    say(l, true, 8, 0, LEASE);
    world_run(&l->w, SEC);
    ck_assert_uint_eq(l->term, 8);
    say(l, false, 9, 0, LEASE); /* and another has taken over from it */
    world_run(&l->w, 2 * SEC);
    ck_assert_uint_eq(l->last.over_term, 0);
    ck_assert_uint_eq(l->last.term_min, 9);
    close_leads(l);
}
END_TEST

START_TEST(shards_that_know_of_no_terms_are_asked_once)
{
    static const enum sy_code codes[] = {SY_CODE_UNIMPLEMENTED, SY_CODE_PERMISSION_DENIED};
    for (size_t i = 0; i < SY_COUNT_OF(codes); i++) {
        struct leads *l = open_leads();
        l->code = codes[i];
        world_run(&l->w, 20 * SEC);
        ck_assert_uint_eq(l->actives, 1);
        ck_assert_uint_eq(l->term, 0);
        ck_assert_int_eq(l->until_ns, SY_TIME_NEVER);
        ck_assert_uint_eq(l->asked[0] + l->asked[1], 1);
        close_leads(l);
    }
}
END_TEST

START_TEST(one_that_stops_says_so_after_its_last_question)
{
    struct leads *l = open_leads();
    say(l, true, 4, 0, LEASE);
    world_run(&l->w, 10 * MS);
    l->w.delay_to_shard_ns = 0;
    dp_lead_leave(l->lead, on_left, l);
    world_run(&l->w, 10 * MS);
    ck_assert(l->last.leaves);
    ck_assert_uint_eq(l->left, 1);
    size_t asked = l->asked[0];
    world_run(&l->w, 20 * SEC);
    ck_assert_uint_eq(l->asked[0], asked); /* nothing that would take it back */
    close_leads(l);
    l = open_leads(); /* nobody answers: it does not wait for long */
    say(l, true, 4, 0, LEASE);
    world_run(&l->w, 10 * MS);
    l->silent = true;
    world_run(&l->w, LEASE / 4 + 10 * MS); /* in the middle of a question */
    dp_lead_leave(l->lead, on_left, l);
    world_run(&l->w, 1500 * MS);
    ck_assert_uint_eq(l->left, 1);
    close_leads(l);
}
END_TEST

START_TEST(an_answer_that_makes_no_sense_is_none)
{
    struct leads *l = open_leads();
    say(l, true, 0, 0, LEASE);
    world_run(&l->w, 3 * SEC);
    say(l, true, 4, 0, -1);
    world_run(&l->w, 3 * SEC);
    ck_assert_uint_eq(l->actives + l->standbys, 0);
    close_leads(l);
}
END_TEST

/* ---- the operator ---- */

START_TEST(one_that_may_not_be_active_says_nothing_to_shards_and_keeps_its_agents)
{
    struct world w;
    struct fake_agent *agent;
    world_init(&w);
    w.options.term = 5;
    struct fake_partition *p = world_get_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 2);
    world_run(&w, 100 * MS);
    ck_assert_uint_eq(agent->assignments, 2);
    ck_assert_uint_eq(p->hello_term, 5);
    ck_assert_uint_eq(agent->term, 5);
    dp_operator_set_right(w.op, w.now_ns + SEC);
    world_run(&w, 900 * MS);
    ck_assert_ptr_nonnull(p->call);
    size_t opened = p->opened, outcomes = p->outcomes;
    world_run(&w, 200 * MS);
    ck_assert_ptr_null(p->call);
    agent_outcomes(agent, &agent->held[0], 1);
    world_run(&w, 60 * SEC);
    ck_assert_uint_eq(p->opened, opened); /* and it does not come back by itself */
    ck_assert_ptr_nonnull(agent->call);
    ck_assert_uint_eq(agent->cancels + agent->give_backs, 0);
    dp_operator_set_right(w.op, w.now_ns + LEASE);
    world_run(&w, SEC);
    ck_assert_ptr_nonnull(p->call); /* it is again, and tells what has ended, and what has not */
    ck_assert_uint_eq(p->outcomes, outcomes + 1);
    ck_assert_uint_eq(p->lost, 0);
    ck_assert_uint_eq(p->inventory, 1);
    ck_assert(p->complete);
    dp_operator_set_right(w.op, SY_TIME_NEVER);
    world_run(&w, 60 * SEC);
    ck_assert_ptr_nonnull(p->call);
    dp_operator_set_right(w.op, w.now_ns); /* over at once */
    world_run(&w, SEC);
    ck_assert_ptr_null(p->call);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(an_agent_that_has_seen_a_later_term_is_refused)
{
    struct world w;
    world_init(&w);
    w.options.term = 5;
    (void)shard_new(&w, 1, 1, 1);
    world_start(&w);
    struct fake_agent *agent = agent_new(&w, "n1", "s1");
    agent->term = 6;
    agent_open(agent);
    agent_hello(agent, 1000, 0, NULL, 0, false);
    world_run(&w, 100 * MS);
    ck_assert_int_eq(agent->closed, SY_CODE_FAILED_PRECONDITION);
    ck_assert_uint_eq(agent->welcomes, 0);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

/* ---- what they share ---- */

static char dir[64];

static void make_dir(void)
{
    snprintf(dir, sizeof(dir), "/tmp/switchyard-lead.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void put(const char *path, const char *name, const char *text)
{
    char file[256];
    snprintf(file, sizeof(file), "%s/%s", path, name);
    ck_assert_int_eq(sy_file_write_atomic(file, text, strlen(text)), 0);
}

static void expect(const char *path, const char *name, const char *text)
{
    char file[256];
    struct sy_buf bytes = {0};
    snprintf(file, sizeof(file), "%s/%s", path, name);
    ck_assert_int_eq(sy_file_read(file, 1000, &bytes), 0);
    ck_assert_uint_eq(bytes.len, strlen(text));
    ck_assert_mem_eq(bytes.data, text, bytes.len);
    sy_buf_deinit(&bytes);
}

START_TEST(what_changes_is_taken_over_from_the_term_before)
{
    char id[DP_STORE_ID_SIZE], again[DP_STORE_ID_SIZE], first[PATH_MAX], second[PATH_MAX];
    struct sy_error_text error;
    uint64_t term;
    make_dir();
    ck_assert_int_eq(dp_shared_open(dir, id, &term, &error), 0);
    ck_assert_uint_eq(term, 0);
    put(dir, "nodes", "from before there were terms");
    ck_assert_int_eq(dp_shared_take(dir, 4, first, &error), 0);
    expect(first, "nodes", "from before there were terms");
    put(first, "nodes", "four");
    put(first, "nodes.waited", "n1\n");
    put(first, "secrets.sealed", "sealed");
    ck_assert_int_eq(dp_shared_take(dir, 9, second, &error), 0);
    expect(second, "nodes", "four");
    expect(second, "nodes.waited", "n1\n");
    expect(second, "secrets.sealed", "sealed");
    char late[PATH_MAX + 16]; /* whoever was active before goes on, and nobody sees it */
    snprintf(late, sizeof(late), "%s/nodes", first);
    ck_assert_int_lt(sy_file_write_atomic(late, "late", 4), 0);
    expect(second, "nodes", "four");
    ck_assert_int_eq(dp_shared_open(dir, again, &term, &error), 0);
    ck_assert_uint_eq(term, 9);
    ck_assert_str_eq(id, again);
    ck_assert_int_eq(dp_shared_take(dir, 9, first, &error), -EEXIST);
    ck_assert_ptr_nonnull(strstr(error.text, "term 9"));
    sy_remove_tree(dir);
}
END_TEST

START_TEST(a_directory_that_is_damaged_or_not_there_is_an_error)
{
    char id[DP_STORE_ID_SIZE], taken[PATH_MAX], half[128];
    struct sy_error_text error;
    uint64_t term;
    make_dir();
    put(dir, "shared.id", "what");
    ck_assert_int_eq(dp_shared_open(dir, id, &term, &error), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(error.text, "shared.id"));
    snprintf(half, sizeof(half), "%s/terms/3.half", dir); /* it died while it took over */
    ck_assert_int_eq(sy_mkdir_p(half, 0700), 0);
    put(half, "nodes", "half");
    ck_assert_int_eq(dp_shared_take(dir, 3, taken, &error), 0);
    char nodes[PATH_MAX + 16];
    snprintf(nodes, sizeof(nodes), "%s/nodes", taken);
    ck_assert_int_ne(access(nodes, F_OK), 0);
    sy_remove_tree(dir);
    ck_assert_int_eq(dp_shared_open("/dev/null/x", id, &term, &error), -ENOTDIR);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_lease_runs_from_when_it_was_asked_for,
        another_shard_is_asked_where_one_does_not_answer,
        one_that_stands_by_counts_the_others_lease_by_its_own_clock,
        shards_that_an_answer_tells_of_are_asked_when_the_configured_ones_are_gone,
        shards_that_know_of_no_terms_are_asked_once,
        one_that_stops_says_so_after_its_last_question,
        an_answer_that_makes_no_sense_is_none,
        one_that_may_not_be_active_says_nothing_to_shards_and_keeps_its_agents,
        an_agent_that_has_seen_a_later_term_is_refused,
        what_changes_is_taken_over_from_the_term_before,
        a_directory_that_is_damaged_or_not_there_is_an_error,
        NULL};
    return sy_test_run("lead", tests);
}
