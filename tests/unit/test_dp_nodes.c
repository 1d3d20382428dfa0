/* links: dp */
/* Orders for nodes: cordon, drain and fence through the operator, and the file that keeps them. */
#include "tests/unit/test_dp_agents.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CORDON SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_CORDON
#define UNCORDON SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_UNCORDON
#define FENCE SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_FENCE
#define UNFENCE SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_UNFENCE
#define DRAIN SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_DRAIN

static void order(struct world *w, struct fake_partition *p, PB(NodeVerb) verb, const char *node,
                  int64_t deadline_ns, enum sy_code want)
{
    size_t before = p->orders_answered;
    shard_order(p, verb, node, deadline_ns);
    world_run(w, 10 * MS);
    ck_assert_uint_eq(p->orders_answered, before + 1);
    ck_assert_int_eq(p->last_order_code, want);
}

START_TEST(a_drain_gives_back_and_preempts)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 2);
    world_run(&w, 10 * MS);
    struct held ran = agent->held[0];
    agent_started(agent, &ran);
    order(&w, p, DRAIN, "node1", SEC, SY_CODE_OK);
    ck_assert_uint_eq(agent->give_backs, 1);
    agent_return(agent, &agent->held[1]);
    world_run(&w, 500 * MS);
    ck_assert_uint_eq(p->returned, 1);
    ck_assert_str_eq(p->node_state, "draining");
    ck_assert_ptr_nonnull(strstr(p->node_reason, "1 still run"));
    ck_assert_uint_eq(agent->cancels, 0);
    world_run(&w, 600 * MS);
    ck_assert_uint_eq(agent->cancels, 1);
    ck_assert_str_eq(agent->last_cancel, "its node is drained");
    agent_outcome_of(agent, &ran, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_CANCELLED);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->outcomes, 1);
    ck_assert_uint_eq(p->preempted, 1); /* no failure: neither the task's retries nor ours */
    ck_assert_str_eq(p->last_outcome_code, "PREEMPTED");
    world_run(&w, 300 * MS);
    ck_assert_str_eq(p->node_state, "drained");
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

static void agent_again(struct world *w, struct fake_agent *agent, const struct held *held,
                        size_t count)
{
    agent_open(agent);
    agent_hello(agent, 4000, 4, held, count, true);
    world_run(w, 10 * MS);
}

START_TEST(a_fence_gives_up_what_a_node_has_and_outlives_the_operator)
{
    struct world w;
    struct fake_agent *agent;
    char dir[] = "/tmp/test_dp_nodes.XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/nodes", dir);
    struct fake_partition *p = world_with_grants(&w, &agent);
    world_crash(&w);
    w.options.nodes_file = path;
    world_start(&w);
    world_run(&w, 50 * MS);
    agent->hold = true;
    agent_again(&w, agent, NULL, 0);
    shard_demand(p, CLASS, 1000, "", 10);
    world_run(&w, 10 * MS);
    shard_spec(p, SPEC);
    shard_assign(p, CLASS, SPEC, 1, 2);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 2);
    struct held held[2] = {agent->held[0], agent->held[1]};
    agent_started(agent, &held[0]);
    agent_kill(agent); /* as far as the operator sees */
    world_run(&w, 10 * MS);
    order(&w, p, FENCE, "node1", 0, SY_CODE_OK);
    ck_assert_uint_eq(p->outcomes, 2);
    ck_assert_uint_eq(p->preempted, 2);
    for (int restarts = 0; restarts < 2; restarts++) {
        agent->cancels = agent->acks = 0;
        agent_again(&w, agent, held, 2);
        ck_assert_uint_eq(agent->cancels, 2);
        ck_assert_str_eq(agent->last_cancel, "its node is fenced");
        agent_call(agent, &held[0], 1);
        agent_outcomes(agent, held, 2);
        world_run(&w, 300 * MS);
        ck_assert_uint_eq(agent->last_reply_code, SY_CODE_FAILED_PRECONDITION);
        ck_assert_uint_eq(agent->acks, 2);
        ck_assert_uint_eq(p->outcomes, restarts == 0 ? 2 : 0); /* nothing of it goes on */
        ck_assert_str_eq(p->node_state, "fenced");
        order(&w, p, UNCORDON, "node1", 0, SY_CODE_FAILED_PRECONDITION);
        order(&w, p, DRAIN, "node1", 0, SY_CODE_FAILED_PRECONDITION);
        agent_kill(agent);
        world_crash(&w);
        world_run(&w, 10 * MS);
        world_start(&w);
        world_run(&w, 50 * MS);
    }
    agent_again(&w, agent, NULL, 0);
    order(&w, p, UNFENCE, "node1", 0, SY_CODE_OK);
    order(&w, p, CORDON, "node1", 0, SY_CODE_OK);
    order(&w, p, UNFENCE, "node1", 0, SY_CODE_FAILED_PRECONDITION); /* that is for uncordon */
    agent_free(agent);
    world_deinit(&w);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(orders_that_make_no_sense_are_refused)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    order(&w, p, CORDON, "nowhere", 0, SY_CODE_NOT_FOUND);
    order(&w, p, CORDON, "a b", 0, SY_CODE_INVALID_ARGUMENT);
    order(&w, p, CORDON, "", 0, SY_CODE_INVALID_ARGUMENT);
    order(&w, p, (PB(NodeVerb))9, "node1", 0, SY_CODE_INVALID_ARGUMENT);
    order(&w, p, DRAIN, "node1", -1, SY_CODE_INVALID_ARGUMENT);
    order(&w, p, UNCORDON, "node1", 0, SY_CODE_OK); /* nothing to take back: it is open */
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

START_TEST(what_was_said_outlives_the_operator)
{
    struct world w;
    struct fake_agent *agent;
    char dir[] = "/tmp/test_dp_nodes.XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/nodes", dir);
    struct fake_partition *p = world_with_grants(&w, &agent);
    agent->hold = true;
    world_crash(&w);
    w.options.nodes_file = path;
    world_start(&w);
    world_run(&w, 50 * MS);
    agent_open(agent);
    agent_hello(agent, 4000, 4, NULL, 0, true);
    world_run(&w, 10 * MS);
    order(&w, p, CORDON, "node1", 0, SY_CODE_OK);
    for (int restarts = 0; restarts < 2; restarts++) {
        world_crash(&w);
        world_run(&w, 10 * MS);
        world_start(&w);
        world_run(&w, 50 * MS);
        agent_open(agent);
        agent_hello(agent, 4000, 4, NULL, 0, true);
        world_run(&w, 500 * MS);
        ck_assert_str_eq(p->node_state, restarts == 0 ? "cordoned" : "ready");
        order(&w, p, UNCORDON, "node1", 0, SY_CODE_OK);
    }
    agent_free(agent);
    world_deinit(&w);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(a_file_that_is_none_stops_the_start)
{
    char path[] = "/tmp/test_dp_nodes.XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "node1 cordoned", 14), 14); /* no deadline, no end of line */
    close(fd);
    struct world w;
    struct fake_agent *agent;
    (void)world_with_grants(&w, &agent);
    world_crash(&w);
    w.options.nodes_file = path;
    struct dp_operator_ports ports = {.rpc = w.rpc, .loop = w.loop, .seed = 1};
    struct sy_error_text error = {0};
    ck_assert_int_eq(dp_operator_new(&w.op, &w.options, &ports, &error), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(error.text, "expected lines NAME STATE DEADLINE"));
    agent_free(agent);
    world_deinit(&w);
    unlink(path);
}
END_TEST

START_TEST(an_outcome_goes_on_with_the_time_without_a_node)
{
    struct world w;
    struct fake_agent *agent;
    struct fake_partition *p = world_with_grants(&w, &agent);
    shard_spec(p, SPEC);
    shard_order(p, SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_CORDON, "node1", 0);
    world_run(&w, 10 * MS);
    shard_assign(p, CLASS, SPEC, 1, 1);
    world_run(&w, SEC);
    ck_assert_uint_eq(p->outcomes, 0);
    shard_order(p, SWITCHYARD__INTERNAL__NODE_VERB__NODE_VERB_UNCORDON, "node1", 0);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(p->outcomes, 1);
    ck_assert_int_eq(p->last_kind, SWITCHYARD__INTERNAL__OUTCOME_KIND__OUTCOME_SUCCEEDED);
    ck_assert(p->last_held_ns > SEC - 10 * MS && p->last_held_ns < SEC + 10 * MS);
    agent_free(agent);
    world_deinit(&w);
}
END_TEST

static size_t lines_of(const char *path, const char *expected)
{
    char text[256] = "";
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    return strcmp(text, expected) == 0;
}

struct files {
    char dir[64], nodes[80], waited[96];
};

/* Its operator has them, its agent ends nothing by itself, and what is assigned is sent there. */
static struct fake_partition *world_with_files(struct world *w, struct fake_agent **ret_agent,
                                               struct files *files)
{
    *files = (struct files){.dir = "/tmp/test_dp_nodes.XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(files->dir));
    snprintf(files->nodes, sizeof(files->nodes), "%s/nodes", files->dir);
    snprintf(files->waited, sizeof(files->waited), "%s.waited", files->nodes);
    struct fake_partition *p = world_with_grants(w, ret_agent);
    world_crash(w);
    w->options.nodes_file = files->nodes;
    world_start(w);
    world_run(w, 50 * MS);
    (*ret_agent)->hold = true;
    agent_again(w, *ret_agent, NULL, 0);
    shard_demand(p, CLASS, 1000, "", 10);
    world_run(w, 10 * MS);
    shard_spec(p, SPEC);
    return p;
}

static void files_remove(const struct files *files)
{
    ck_assert_int_eq(unlink(files->waited), 0);
    (void)unlink(files->nodes);
    ck_assert_int_eq(rmdir(files->dir), 0);
}

/* A silent node that was given work that waits is not forgotten by a new operator. */
START_TEST(who_has_work_that_waits_is_known_after_a_restart)
{
    struct world w;
    struct fake_agent *agent;
    struct files files;
    struct fake_partition *p = world_with_files(&w, &agent, &files);
    shard_assign(p, CLASS, SPEC, 1, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 1);
    ck_assert_int_ne(access(files.waited, F_OK), 0);
    p->waits = true;
    shard_assign(p, CLASS, SPEC, 2, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 2);
    ck_assert(lines_of(files.waited, "node1\n"));
    struct held held[2] = {agent->held[0], agent->held[1]};
    world_crash(&w);
    p->complete = p->owed = false;
    world_start(&w);
    world_run(&w, 60 * SEC);
    ck_assert(p->owed && !p->complete);
    agent_again(&w, agent, held, 2);
    world_run(&w, SEC);
    ck_assert(p->complete);
    ck_assert_uint_eq(p->inventory, 2);
    world_run(&w, 10 * SEC); /* as it named none that waits */
    ck_assert(lines_of(files.waited, ""));
    agent_free(agent);
    world_deinit(&w);
    files_remove(&files);
}
END_TEST

/* While it was written down another operator may have begun with the file as it was. */
START_TEST(work_that_waits_is_kept_back_by_one_that_may_not_be_active)
{
    struct world w;
    struct fake_agent *agent;
    struct files files;
    struct fake_partition *p = world_with_files(&w, &agent, &files);
    /* By its loop's clock it is the active one; by the one that is asked after the write it is
     * not, which is far ahead of it here. */
    while (sy_clock_system.monotonic_ns(NULL) <= w.now_ns + SEC)
        sleep(1); /* a machine that has just been started */
    dp_operator_set_right(w.op, w.now_ns + SEC);
    shard_assign(p, CLASS, SPEC, 1, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 1); /* of a task that is not waited for */
    p->waits = true;
    shard_assign(p, CLASS, SPEC, 2, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 1);
    ck_assert_int_eq(agent->closed, SY_CODE_UNAVAILABLE);
    dp_operator_set_right(w.op, SY_TIME_NEVER); /* it was, and goes on */
    agent_again(&w, agent, agent->held, 1);
    world_run(&w, SEC);
    ck_assert_uint_eq(p->lost, 1);
    shard_assign(p, CLASS, SPEC, 3, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 2);
    ck_assert(lines_of(files.waited, "node1\n"));
    agent_free(agent);
    world_deinit(&w);
    files_remove(&files);
}
END_TEST

/* A disk that is full, say: a new operator would not know of it. */
START_TEST(work_that_waits_is_kept_back_while_it_cannot_be_written_down)
{
    struct world w;
    struct fake_agent *agent;
    struct files files;
    struct fake_partition *p = world_with_files(&w, &agent, &files);
    (void)unlink(files.nodes);
    ck_assert_int_eq(rmdir(files.dir), 0);
    shard_assign(p, CLASS, SPEC, 1, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 1); /* of a task that is not waited for */
    p->waits = true;
    shard_assign(p, CLASS, SPEC, 2, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 1);
    ck_assert_int_eq(agent->closed, SY_CODE_UNAVAILABLE);
    ck_assert_int_eq(mkdir(files.dir, 0700), 0);
    agent_again(&w, agent, agent->held, 1);
    world_run(&w, SEC);
    ck_assert_uint_eq(p->lost, 1);
    shard_assign(p, CLASS, SPEC, 3, 1);
    world_run(&w, 10 * MS);
    ck_assert_uint_eq(agent->held_count, 2);
    ck_assert(lines_of(files.waited, "node1\n"));
    agent_free(agent);
    world_deinit(&w);
    files_remove(&files);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_drain_gives_back_and_preempts,
                                  a_fence_gives_up_what_a_node_has_and_outlives_the_operator,
                                  orders_that_make_no_sense_are_refused,
                                  what_was_said_outlives_the_operator,
                                  a_file_that_is_none_stops_the_start,
                                  an_outcome_goes_on_with_the_time_without_a_node,
                                  who_has_work_that_waits_is_known_after_a_restart,
                                  work_that_waits_is_kept_back_by_one_that_may_not_be_active,
                                  work_that_waits_is_kept_back_while_it_cannot_be_written_down,
                                  NULL};
    return sy_test_run("dp_nodes", tests);
}
