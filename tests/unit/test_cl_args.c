/* links: cl */
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/bench.h"
#include "tools/src/cmd.h"
#include "tools/src/cmd_cluster.h"
#include "tools/src/cmd_queue.h"
#include "tools/src/cmd_region.h"
#include "tools/src/cmd_run.h"
#include "tools/src/demo_driver.h"

#include <stdlib.h>
#include <string.h>

#define ARGV_MAX 64

/* A line split at blanks; getopt may reorder and we may change it. */
struct line {
    char text[512];
    char *argv[ARGV_MAX];
    int argc;
};

static struct line *split(struct line *line, const char *text)
{
    snprintf(line->text, sizeof(line->text), "%s", text);
    line->argc = 0;
    char *save = NULL;
    for (char *word = strtok_r(line->text, " ", &save); word; word = strtok_r(NULL, " ", &save))
        line->argv[line->argc++] = word;
    line->argv[line->argc] = NULL;
    return line;
}

static enum cl_parse parse_run(struct cl_run_options *options, struct line *line, const char *text)
{
    struct cl_args defaults;
    cl_args_init(&defaults);
    split(line, text);
    return cl_run_parse(options, &defaults, line->argc, line->argv);
}

static enum cl_parse parse_get(struct cl_get_options *options, struct line *line, const char *text)
{
    struct cl_args defaults;
    cl_args_init(&defaults);
    split(line, text);
    return cl_get_parse(options, &defaults, line->argc, line->argv);
}

/* ---- run ---- */

START_TEST(test_run_a_command)
{
    struct cl_run_options options;
    struct line line;
    ck_assert_int_eq(
        parse_run(&options, &line,
                  "run --cpu 500m --memory 64MiB --gpu 2:H100 --retries 3 --timeout "
                  "10s --priority -5 --name n-1 --queue gpu --detach --endpoint h:1 -o json -- "
                  "make -C --cpu {}"),
        CL_PARSE_OK);
    ck_assert_str_eq(options.cpu, "500m");
    ck_assert_str_eq(options.memory, "64Mi"); /* as Kubernetes spells it */
    ck_assert_uint_eq(options.gpu_milli, 2000);
    ck_assert_str_eq(options.gpu_model, "H100");
    ck_assert_uint_eq(options.retries, 3);
    ck_assert_int_eq(options.timeout_ns, 10 * SY_NS_PER_S);
    ck_assert_int_eq(options.priority, -5);
    ck_assert(options.has_priority && options.detach && options.common.json);
    ck_assert_str_eq(options.name, "n-1");
    ck_assert_str_eq(options.queue, "gpu");
    ck_assert_str_eq(options.common.client.endpoint, "h:1");
    ck_assert_uint_eq(options.command_count, 4); /* options after '--' are the command's */
    ck_assert_str_eq(options.command[2], "--cpu");
    cl_run_options_deinit(&options);
}
END_TEST

START_TEST(test_variables_and_gangs)
{
    struct cl_run_options options;
    struct line line;
    ck_assert(parse_run(&options, &line,
                        "run --env A=1 --env B_2=x=y --env C= --gang 2 --dry-run -- ls") ==
              CL_PARSE_OK);
    ck_assert_uint_eq(options.variable_count, 3);
    ck_assert_str_eq(options.variables[0], "A=1");
    ck_assert_str_eq(options.variables[1], "B_2=x=y");
    ck_assert_str_eq(options.variables[2], "C=");
    ck_assert(options.gang == 2 && options.dry_run);
    cl_run_options_deinit(&options);
}
END_TEST

START_TEST(test_run_for_each)
{
    struct cl_run_options options;
    struct line line;
    ck_assert_int_eq(parse_run(&options, &line, "run --each a b c --retries 1 -- gzip {}"),
                     CL_PARSE_OK);
    ck_assert_uint_eq(options.each_count, 3);
    ck_assert_str_eq(options.each[0], "a");
    ck_assert_str_eq(options.each[2], "c");
    ck_assert_uint_eq(options.retries, 1);
    ck_assert_uint_eq(options.command_count, 2);
    cl_run_options_deinit(&options);

    ck_assert_int_eq(parse_run(&options, &line, "run --function ./x.so:f --lines -"), CL_PARSE_OK);
    ck_assert_str_eq(options.function, "./x.so:f");
    ck_assert_str_eq(options.lines, "-");
    cl_run_options_deinit(&options);
}
END_TEST

START_TEST(test_run_refuses_in_one_sentence)
{
    static const struct {
        const char *text, *names;
    } wrong[] = {
        {"run", "what shall run"},
        {"run ls", "after '--'"},
        {"run --", "what shall run"},
        {"run --each a b", "what shall run"},
        {"run --frobnicate -- ls", "'--frobnicate'"},
        {"run --cpu", "'--cpu' needs a value"},
        {"run -f", "'-f' needs a value"},
        {"run --cpu 2x -- ls", "'2x'"},
        {"run --memory much -- ls", "'much'"},
        {"run --gpu 1: -- ls", "'1:'"},
        {"run --retries many -- ls", "'many'"},
        {"run --queue a/b -- ls", "--queue 'a/b'"},
        {"run --retries -1 -- ls", "'-1'"},
        {"run --timeout 10 -- ls", "'10'"},
        {"run --timeout 0 -- ls", "'0'"},
        {"run --priority 99999999999 -- ls", "'99999999999'"},
        {"run --env -- ls", "--env '--'"},
        {"run --env A -- ls", "--env 'A'"},
        {"run --env =1 -- ls", "--env '=1'"},
        {"run --env 1A=1 -- ls", "--env '1A=1'"},
        {"run --env A-B=1 -- ls", "--env 'A-B=1'"},
        {"run --gang 1 -- ls", "'1'"},
        {"run --gang 2 --logs -- ls", "--gang excludes"},
        {"run --gang 2 --on-partition wait -- ls", "--gang excludes --on-partition wait"},
        {"run --gang 2 --on-partition stop-on-agent -- ls",
         "--gang excludes --on-partition stop-on-agent"},
        {"run --gang-topology prefer:rack -- ls", "for --gang N"},
        {"run --gang 2 --gang-topology rack -- ls", "'rack'"},
        {"run --name a/b -- ls", "'a/b'"},
        {"run --function x.so:f -- ls", "exclude"},
        {"run --each a --lines f -- ls", "exclude"},
        {"run --input x -- ls", "--input"},
        {"run --function x.so:f --each a --input x", "--input"},
        {"run --logs --detach -- ls", "--logs"},
        {"run --environment e -- ls", "--environment"},
        {"run -o yaml -- ls", "'yaml'"},
        {"run --call-timeout soon -- ls", "'soon'"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        struct cl_run_options options;
        struct line line;
        ck_assert_msg(parse_run(&options, &line, wrong[i].text) == CL_PARSE_WRONG, "%s",
                      wrong[i].text);
        ck_assert_msg(strstr(options.common.error.text, wrong[i].names) != NULL, "%s: %s",
                      wrong[i].text, options.common.error.text);
        ck_assert_ptr_null(strchr(options.common.error.text, '\n'));
        cl_run_options_deinit(&options);
    }
}
END_TEST

START_TEST(test_substitution)
{
    char one[] = "cp", two[] = "{}", three[] = "/tmp/{}.{}";
    char *command[] = {one, two, three};
    size_t count = 0;
    char **args = cl_run_substitute(command, 3, "a b", &count);
    ck_assert_uint_eq(count, 3);
    ck_assert_str_eq(args[1], "a b");
    ck_assert_str_eq(args[2], "/tmp/a b.a b");
    cl_run_free_args(args, count);
    args = cl_run_substitute(command, 1, "{}", &count); /* appended; not replaced again */
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(args[1], "{}");
    cl_run_free_args(args, count);
}
END_TEST

/* ---- the others ---- */

static enum cl_parse parse_queue(struct cl_queue_options *options, enum cl_queue_verb verb,
                                 struct line *line, const char *text)
{
    struct cl_args defaults;
    cl_args_init(&defaults);
    split(line, text);
    return cl_queue_parse(options, verb, &defaults, line->argc, line->argv);
}

START_TEST(test_queues)
{
    struct cl_queue_options o;
    struct line line;
    ck_assert_int_eq(
        parse_queue(&o, CL_QUEUE_CREATE, &line,
                    "create queue batch --project p --parent top --weight 7 --priority -5 "
                    "--actions-max 10 --cpu-max 1.5 --memory-max 64GiB --gpus-max 8 "
                    "--length-max 100 --queued-timeout 10m --cluster a --cluster b "
                    "--policy fastest-start --price-max 0.035 --preemptible --spot "
                    "--infeasible fail --prefer-cluster b --region eu --region us"),
        CL_PARSE_OK);
    ck_assert_str_eq(o.target.name, "batch");
    ck_assert_int_eq(o.target.scope, CL_SCOPE_DOMAIN);
    ck_assert_str_eq(o.common.client.project, "p");
    ck_assert_str_eq(o.settings.parent, "top");
    ck_assert_uint_eq(o.settings.weight, 7);
    ck_assert_int_eq(o.settings.priority, -5);
    ck_assert_uint_eq(o.settings.actions_max, 10);
    ck_assert_uint_eq(o.settings.cpu_milli_max, 1500);
    ck_assert_uint_eq(o.settings.memory_bytes_max, 64ull << 30);
    ck_assert_uint_eq(o.settings.gpus_max, 8);
    ck_assert_uint_eq(o.settings.length_max, 100);
    ck_assert_int_eq(o.settings.queued_timeout_ns, 600 * SY_NS_PER_S);
    ck_assert_uint_eq(o.settings.n_clusters, 2);
    ck_assert_str_eq(o.settings.clusters[1], "b");
    ck_assert_str_eq(cl_policy_name(o.settings.policy), "fastest-start");
    ck_assert_int_eq(o.settings.price_max, 35000);
    ck_assert(o.settings.preemptible && o.settings.preemptible_nodes);
    ck_assert_str_eq(cl_infeasible_name(o.settings.infeasible), "fail");
    ck_assert_uint_eq(o.settings.n_preferred_clusters, 1);
    ck_assert_str_eq(o.settings.preferred_clusters[0], "b");
    ck_assert_uint_eq(o.settings.n_regions, 2);
    ck_assert_str_eq(o.settings.regions[1], "us");

    ck_assert_int_eq(parse_queue(&o, CL_QUEUE_UPDATE, &line,
                                 "update queue gpu --scope region --no-spot --queued-timeout 0"),
                     CL_PARSE_OK);
    ck_assert_int_eq(o.target.scope, CL_SCOPE_REGION);
    ck_assert_uint_eq(o.field_count, 2); /* what was given, and nothing else */
    ck_assert_str_eq(o.fields[0], "preemptible_nodes");
    ck_assert_str_eq(o.fields[1], "queued_timeout_ns");
    ck_assert(!o.settings.preemptible_nodes && o.settings.queued_timeout_ns == 0);
    ck_assert_int_eq(
        parse_queue(&o, CL_QUEUE_UPDATE, &line, "update queue --level --scope project --weight 9"),
        CL_PARSE_OK);
    ck_assert_ptr_null(o.target.name);
    ck_assert_int_eq(parse_queue(&o, CL_QUEUE_PAUSE, &line, "pause queue q"), CL_PARSE_OK);
}
END_TEST

/* A setting's name is one of the message's, whatever is given. */
START_TEST(test_settings_are_fields)
{
    struct cl_queue_options o;
    struct line line;
    parse_queue(&o, CL_QUEUE_UPDATE, &line,
                "update queue q --parent p --weight 7 --priority 5 --actions-max 1 --cpu-max 1 "
                "--memory-max 1 --gpus-max 1 --length-max 1 --queued-timeout 1s --cluster a "
                "--cluster b --policy pack --price-max 1 --preemptible --no-preemptible --spot "
                "--infeasible hold --prefer-cluster b --region eu");
    ck_assert_uint_eq(o.field_count, 17);
    for (size_t i = 0; i < o.field_count; i++)
        ck_assert_msg(protobuf_c_message_descriptor_get_field_by_name(
                          &switchyard__v1__queue_settings__descriptor, o.fields[i]) != NULL,
                      "%s", o.fields[i]);
}
END_TEST

START_TEST(test_queues_refuse_in_one_sentence)
{
    static const struct {
        enum cl_queue_verb verb;
        const char *text, *names;
    } wrong[] = {
        {CL_QUEUE_CREATE, "create", "create what"},
        {CL_QUEUE_CREATE, "create thing", "'thing'"},
        {CL_QUEUE_CREATE, "create queue", "name of a queue"},
        {CL_QUEUE_CREATE, "create queue a b", "'b'"},
        {CL_QUEUE_CREATE, "create queue a/b", "'a/b'"},
        {CL_QUEUE_CREATE, "create queue a --weight 0", "--weight '0'"},
        {CL_QUEUE_CREATE, "create queue a --priority 1001", "1001"},
        {CL_QUEUE_CREATE, "create queue a --cpu-max 2x", "'2x'"},
        {CL_QUEUE_CREATE, "create queue a --memory-max 500m", "'500m'"},
        {CL_QUEUE_CREATE, "create queue a --queued-timeout soon", "'soon'"},
        {CL_QUEUE_CREATE, "create queue a --policy best", "'best'"},
        {CL_QUEUE_CREATE, "create queue a --price-max free", "'free'"},
        {CL_QUEUE_CREATE, "create queue a --infeasible wait", "'wait'"},
        {CL_QUEUE_CREATE, "create queue a --region eu/west", "--region 'eu/west'"},
        {CL_QUEUE_CREATE,
         "create queue a --prefer-cluster a --prefer-cluster b --prefer-cluster c "
         "--prefer-cluster d --prefer-cluster e",
         "--prefer-cluster: at most 4"},
        {CL_QUEUE_CREATE, "create queue a --cluster b/c", "'b/c'"},
        {CL_QUEUE_CREATE, "create queue a --scope world", "'world'"},
        {CL_QUEUE_CREATE, "create queue a --level", "--level"},
        {CL_QUEUE_CREATE, "create queue --level --scope region", "region"},
        {CL_QUEUE_CREATE, "create queue a --gpus-max", "needs a value"},
        {CL_QUEUE_UPDATE, "update queue a", "update what"},
        {CL_QUEUE_PAUSE, "pause queue a --weight 2", "'--weight'"},
        {CL_QUEUE_DELETE, "delete queue", "name of a queue"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        struct cl_queue_options o;
        struct line line;
        ck_assert_msg(parse_queue(&o, wrong[i].verb, &line, wrong[i].text) == CL_PARSE_WRONG, "%s",
                      wrong[i].text);
        ck_assert_msg(strstr(o.common.error.text, wrong[i].names) != NULL, "%s: %s", wrong[i].text,
                      o.common.error.text);
        ck_assert_ptr_null(strchr(o.common.error.text, '\n'));
    }
}
END_TEST

START_TEST(test_get)
{
    struct cl_get_options options;
    struct line line;
    ck_assert_int_eq(parse_get(&options, &line, "get queue q --scope project"), CL_PARSE_OK);
    ck_assert_str_eq(options.queue.name, "q");
    ck_assert_int_eq(options.queue.scope, CL_SCOPE_PROJECT);
    ck_assert_int_eq(parse_get(&options, &line, "get queues --all -n 5"), CL_PARSE_OK);
    ck_assert(options.all);
    ck_assert_int_eq(parse_get(&options, &line, "get runs"), CL_PARSE_OK);
    ck_assert_int_eq(options.limit, 100);
    ck_assert_int_eq(parse_get(&options, &line, "get actions r1 -n 0 --phase failed"), CL_PARSE_OK);
    ck_assert_str_eq(options.name, "r1");
    ck_assert_int_eq(options.limit, 0);
    ck_assert_int_eq(options.phase, 6);
    static const struct {
        const char *text, *names;
    } wrong[] = {
        {"get", "get what"},          {"get everything", "'everything'"},
        {"get run", "name of a run"}, {"get runs r1", "'r1'"},
        {"get run a b", "'b'"},       {"get run a/b", "'a/b'"},
        {"get queue", "--level"},     {"get runs --scope region", "--scope"},
        {"get runs -n x", "'x'"},     {"get runs --phase x", "'x'"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        ck_assert_int_eq(parse_get(&options, &line, wrong[i].text), CL_PARSE_WRONG);
        ck_assert_msg(strstr(options.common.error.text, wrong[i].names) != NULL, "%s: %s",
                      wrong[i].text, options.common.error.text);
    }
}
END_TEST

static enum cl_parse parse_cluster(struct cl_cluster_options *options, struct line *line,
                                   const char *text)
{
    struct cl_args defaults;
    cl_args_init(&defaults);
    split(line, text);
    return cl_cluster_parse(options, &defaults, line->argc, line->argv);
}

START_TEST(test_cluster)
{
    struct cl_cluster_options o;
    struct line line;
    ck_assert(parse_cluster(&o, &line,
                            "cluster create east --region eu --labels a=b --price 0.04 --uses 2 "
                            "--expires 5m") == CL_PARSE_OK);
    ck_assert_int_eq(o.verb, CL_CLUSTER_CREATE);
    ck_assert_str_eq(o.name, "east");
    ck_assert_str_eq(o.region, "eu");
    ck_assert_str_eq(o.labels, "a=b");
    ck_assert(o.price_micros == 40000 && o.uses == 2 && o.expires_ns == 300 * SY_NS_PER_S);
    ck_assert(parse_cluster(&o, &line, "cluster list -o json") == CL_PARSE_OK);
    ck_assert(o.verb == CL_CLUSTER_LIST && o.common.json);
    ck_assert(parse_cluster(&o, &line, "cluster get east") == CL_PARSE_OK);
    ck_assert_int_eq(o.verb, CL_CLUSTER_GET);
    ck_assert(parse_cluster(&o, &line, "cluster delete east") == CL_PARSE_OK);
    ck_assert_int_eq(o.verb, CL_CLUSTER_DELETE);
    ck_assert(parse_cluster(&o, &line, "cluster drain east") == CL_PARSE_OK);
    ck_assert(o.verb == CL_CLUSTER_DRAIN && o.deadline_ns == 0 && !o.wait);
    ck_assert(parse_cluster(&o, &line, "cluster drain east --deadline 10m --wait") == CL_PARSE_OK);
    ck_assert(o.verb == CL_CLUSTER_DRAIN && o.deadline_ns == 600 * SY_NS_PER_S && o.wait);
    ck_assert(parse_cluster(&o, &line, "cluster drain east --deadline 8760h") == CL_PARSE_OK);
    ck_assert(parse_cluster(&o, &line, "cluster token create east --uses 3") == CL_PARSE_OK);
    ck_assert(o.verb == CL_CLUSTER_TOKEN_CREATE && o.uses == 3);
    ck_assert(parse_cluster(&o, &line, "cluster token revoke east 4") == CL_PARSE_OK);
    ck_assert(o.verb == CL_CLUSTER_TOKEN_REVOKE && o.token == 4);
    static const struct {
        const char *text, *names;
    } wrong[] = {
        {"cluster", "what of clusters"},
        {"cluster token",
         "cluster token: expected create or revoke, as in 'cluster token create NAME'"},
        {"cluster create a --price 40000", "--price '40000': expected the price of a core"},
        {"cluster create a --price 0", "--price '0': expected"},
        {"cluster create a --price cheap", "--price 'cheap': expected"},
        {"cluster make", "'make': expected create"},
        {"cluster token get", "'get': expected token create"},
        {"cluster create", "cluster create: expected NAME"},
        {"cluster create a/b", "a/b"},
        {"cluster create ..", "cluster '..'"},
        {"cluster create a b", "unexpected argument 'b'"},
        {"cluster create a --region e/u", "e/u"},
        {"cluster create a --uses 0", "uses"},
        {"cluster create a --expires soon", "soon"},
        {"cluster create a --expires 8761h", "--expires '8761h': expected at most 8760h"},
        {"cluster list a", "unexpected argument 'a'"},
        {"cluster get a --uses 1", "--uses and --expires"},
        {"cluster delete", "cluster delete: expected NAME"},
        {"cluster drain", "cluster drain: expected NAME"},
        {"cluster drain a --deadline -5s", "--deadline '-5s': expected a duration"},
        {"cluster drain a --deadline 0s", "--deadline '0s': expected a duration"},
        {"cluster drain a --deadline 8761h", "--deadline '8761h': expected at most 8760h"},
        {"cluster cordon a --wait", "--deadline and --wait are for cluster drain"},
        {"cluster cordon a --deadline 5s", "--deadline and --wait are for cluster drain"},
        {"cluster token create a --region eu", "--region, --labels and --price"},
        {"cluster token revoke a", "cluster token revoke: expected NAME TOKEN"},
        {"cluster token revoke a 0", "token"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        ck_assert_int_eq(parse_cluster(&o, &line, wrong[i].text), CL_PARSE_WRONG);
        ck_assert_msg(strstr(o.common.error.text, wrong[i].names) != NULL, "%s: %s", wrong[i].text,
                      o.common.error.text);
    }
}
END_TEST

static enum cl_parse parse_region(struct cl_region_options *options, struct line *line,
                                  const char *text)
{
    struct cl_args defaults;
    cl_args_init(&defaults);
    split(line, text);
    return cl_region_parse(options, &defaults, line->argc, line->argv);
}

START_TEST(test_region)
{
    struct cl_region_options o;
    struct line line;
    ck_assert(parse_region(&o, &line, "region move 3 shard-2 --call-timeout 5s") == CL_PARSE_OK);
    ck_assert(o.verb == CL_REGION_MOVE && o.partition == 3 && !o.anywhere);
    ck_assert_str_eq(o.shard, "shard-2");
    ck_assert_int_eq(o.common.client.timeout_ns, 5 * SY_NS_PER_S);
    ck_assert(parse_region(&o, &line, "region move 0 --anywhere") == CL_PARSE_OK);
    ck_assert(o.partition == 0 && o.anywhere && o.shard == NULL);
    ck_assert(parse_region(&o, &line, "region split 4") == CL_PARSE_OK);
    ck_assert(o.verb == CL_REGION_SPLIT && o.partition == 4 && o.at == 0);
    ck_assert(parse_region(&o, &line, "region split 4 --at 200") == CL_PARSE_OK && o.at == 200);
    ck_assert(parse_region(&o, &line, "region rebalance --dry-run") == CL_PARSE_OK);
    ck_assert(o.verb == CL_REGION_REBALANCE && o.dry_run);
    ck_assert(parse_region(&o, &line, "region drain-shard a") == CL_PARSE_OK);
    ck_assert(o.verb == CL_REGION_DRAIN && strcmp(o.shard, "a") == 0);
    ck_assert(parse_region(&o, &line, "region undrain-shard a") == CL_PARSE_OK);
    ck_assert(o.verb == CL_REGION_UNDRAIN);
    ck_assert(parse_region(&o, &line, "region shards -o json") == CL_PARSE_OK);
    ck_assert(o.verb == CL_REGION_SHARDS && o.common.json);
    ck_assert(parse_region(&o, &line, "region map") == CL_PARSE_OK && o.verb == CL_REGION_MAP);
    static const struct {
        const char *text, *names;
    } wrong[] = {
        {"region", "what of the region"},
        {"region merge", "region 'merge'"},
        {"region split", "expected PARTITION"},
        {"region split 3 a", "unexpected argument 'a'"},
        {"region split 3 --at 0", "--at '0'"},
        {"region split 3 --at 256", "--at '256'"},
        {"region move 3 a --at 7", "--at is for region split"},
        {"region shards x", "unexpected argument 'x'"},
        {"region move", "expected PARTITION SHARD"},
        {"region move 3", "expected PARTITION SHARD"},
        {"region move x shard-1", "'x'"},
        {"region move -1 shard-1", "'-1'"},
        {"region move 4096 shard-1", "'4096'"},
        {"region move 3 a/b", "shard 'a/b'"},
        {"region move 3 a b", "unexpected argument 'b'"},
        {"region move 3 a --anywhere", "exclude each other"},
        {"region drain-shard", "expected SHARD"},
        {"region drain-shard a b", "unexpected argument 'b'"},
        {"region drain-shard a --anywhere", "--anywhere is for region move"},
        {"region undrain-shard a --dry-run", "--dry-run is for region rebalance"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        ck_assert_msg(parse_region(&o, &line, wrong[i].text) == CL_PARSE_WRONG, "%s",
                      wrong[i].text);
        ck_assert_msg(strstr(o.common.error.text, wrong[i].names) != NULL, "%s: %s", wrong[i].text,
                      o.common.error.text);
        ck_assert_ptr_null(strstr(o.common.error.text, "---"));
    }
    ck_assert(parse_region(&o, &line, "region move x shard-1") == CL_PARSE_WRONG);
    ck_assert_str_eq(o.common.error.text, /* it is no option */
                     "partition 'x': expected a whole number from 0 to 4095");
}
END_TEST

START_TEST(test_commands_by_name)
{
    const char *nearest = NULL;
    ck_assert_ptr_nonnull(cl_command_find("run", &nearest));
    ck_assert_ptr_null(nearest);
    ck_assert_ptr_null(cl_command_find("statsu", &nearest));
    ck_assert_str_eq(nearest, "status");
    ck_assert_ptr_null(cl_command_find("frobnicate", &nearest));
    ck_assert_ptr_null(nearest);
}
END_TEST

START_TEST(test_bench)
{
    struct bench_options options;
    struct line line;
    split(&line, "b fanout --count 1000000 --queued 5 --json --pids shard=1");
    ck_assert_int_eq(bench_options_parse(&options, line.argc, line.argv), CL_PARSE_OK);
    ck_assert_str_eq(options.kind->name, "fanout");
    ck_assert_int_eq(options.count, 1000000);
    ck_assert_int_eq(options.queued, 5);
    ck_assert_int_eq(options.concurrency, 64);
    ck_assert(options.common.json);
    split(&line, "b latency");
    ck_assert_int_eq(bench_options_parse(&options, line.argc, line.argv), CL_PARSE_OK);
    ck_assert_int_eq(options.count, bench_kind_find("latency")->count);
    split(&line, "b memory");
    ck_assert_int_eq(bench_options_parse(&options, line.argc, line.argv), CL_PARSE_OK);
    ck_assert_int_eq(options.repeat, 1);
    split(&line, "b runs --repeat 5");
    ck_assert_int_eq(bench_options_parse(&options, line.argc, line.argv), CL_PARSE_OK);
    ck_assert_int_eq(options.repeat, 5);
    static const char *const wrong[] = {"b",
                                        "b memory --repeat 2",
                                        "b runs --repeat 0",
                                        "b sleep",
                                        "b fanout runs",
                                        "b fanout --count 0",
                                        "b fanout --batch 10001",
                                        "b fanout --window x"};
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        split(&line, wrong[i]);
        ck_assert_msg(bench_options_parse(&options, line.argc, line.argv) == CL_PARSE_WRONG, "%s",
                      wrong[i]);
    }
}
END_TEST

START_TEST(test_demo)
{
    struct demo_options options;
    struct line line;
    split(&line, "demo --endpoint h:2 --kill-root --files 20 /usr/share");
    ck_assert_int_eq(demo_options_parse(&options, line.argc, line.argv), CL_PARSE_OK);
    ck_assert_str_eq(options.dir, "/usr/share");
    ck_assert_int_eq(options.files_max, 20);
    ck_assert(options.kill_root);
    split(&line, "demo a b");
    ck_assert_int_eq(demo_options_parse(&options, line.argc, line.argv), CL_PARSE_WRONG);
}
END_TEST

START_TEST(test_defaults_come_from_the_environment)
{
    struct cl_args args;
    setenv("SWITCHYARD_ENDPOINT", "elsewhere:1", 1);
    setenv("SWITCHYARD_PROJECT", "", 1); /* empty counts as unset */
    setenv("SWITCHYARD_DOMAIN", "production", 1);
    cl_args_init(&args);
    ck_assert_str_eq(args.client.endpoint, "elsewhere:1");
    ck_assert_str_eq(args.client.project, "default");
    ck_assert_str_eq(args.client.domain, "production");
    unsetenv("SWITCHYARD_ENDPOINT");
    unsetenv("SWITCHYARD_PROJECT");
    unsetenv("SWITCHYARD_DOMAIN");
    cl_args_init(&args);
    ck_assert_str_eq(args.client.endpoint, CL_ENDPOINT_DEFAULT);
    ck_assert_str_eq(args.client.domain, "development");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_run_a_command,
        test_variables_and_gangs,
        test_run_for_each,
        test_run_refuses_in_one_sentence,
        test_substitution,
        test_get,
        test_queues,
        test_settings_are_fields,
        test_queues_refuse_in_one_sentence,
        test_cluster,
        test_region,
        test_commands_by_name,
        test_bench,
        test_demo,
        test_defaults_come_from_the_environment,
        NULL,
    };
    return sy_test_run("cl_args", tests);
}
