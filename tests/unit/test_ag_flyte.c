/* links: ag */
#include "tests/lib/test.h"
#include "tests/unit/test_ag_exec_util.h"

#include "agent/flyte.h"
#include "agent/flyte_files.h"
#include "agent/spec.h"
#include "base/file.h"
#include "flyteidl2/core/execution.pb-c.h"
#include "proto/pb.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Flyte's actions: their command lines, and their lives with a shell script in place of a0. */

static const struct ag_spec_flyte plain_spec = {.image = "img", .pool_version = ""};

struct action {
    const char *script; /* what a0 does */
    uint32_t number;
    const char *image, *endpoint;
    int64_t timeout_ns;
    uint64_t memory_bytes;
    bool reusable, suspect;
    const struct ag_spec_secret *secrets;
    size_t secret_count;
};

static char storage[200], venv[200];
static const char *configured_endpoint = "localhost:7";

static void write_text(const char *path, mode_t mode, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

static void open_flyte(enum ag_cgroup_mode cgroups)
{
    struct sy_error_text error = {0};
    char dir[200], path[300];
    bench_open(NULL, 0, cgroups);
    snprintf(storage, sizeof(storage), "%s/store", bench->dir);
    snprintf(venv, sizeof(venv), "%s/venv", bench->dir);
    snprintf(dir, sizeof(dir), "%s/flyte", bench->dir);
    snprintf(path, sizeof(path), "%s/bin", venv);
    ck_assert_int_eq(sy_mkdir_p(path, 0755), 0);
    struct sy_blob_options blob_options = {.root = storage};
    ck_assert_int_eq(sy_blobs_new(&bench->blobs, bench->loop, &blob_options, &error), 0);
    const struct ag_flyte_environment environments[] = {{"img", venv, NULL}};
    static const char *const env[] = {"COLOUR=green", "SHAPE=round", NULL};
    const struct ag_flyte_options options = {.dir = dir,
                                             .endpoint = configured_endpoint,
                                             .worker = "none",
                                             .environments = environments,
                                             .environment_count = 1,
                                             .env = env};
    const struct ag_flyte_ports ports = {
        .inner = bench->executor, .loop = bench->loop, .blobs = bench->blobs};
    ck_assert_int_eq(ag_flyte_new(&bench->executor, &options, &ports, &error), 0);
    bench->executor->ops->bind(bench->executor, &bench_events, bench);
}

static void close_flyte(void)
{
    bench_close();
}

static uint64_t start(const struct action *action)
{
    char a0[300];
    snprintf(a0, sizeof(a0), "%s/bin/a0", venv);
    if (action->script != NULL) {
        char text[2000];
        int n = snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", action->script);
        write_text(a0, 0755, text, (size_t)n);
    }
    static const char *const args[] = {"a0",
                                       "{{.input}}",
                                       "{{.outputPrefix}}",
                                       "--tgz",
                                       "/x/code.tgz",
                                       "{{.prevCheckpointPrefix}}",
                                       "{{.checkpointOutputPrefix}}",
                                       "{{ .RUNNAME }}",
                                       NULL};
    static const char *const env[] = {"COLOUR=blue", NULL};
    static const char *const envs[] = {"SIZE=large", "RUN_NAME=mine", NULL};
    struct ag_spec_flyte spec = plain_spec;
    if (action->image != NULL)
        spec.image = action->image;
    spec.secrets = action->secrets;
    spec.secret_count = action->secret_count;
    spec.reusable = action->reusable;
    spec.max = 1;
    spec.concurrency = 4;
    char input[300];
    snprintf(input, sizeof(input), "%s/in.pb", storage);
    struct ag_flyte_work flyte = {.action = 0xabc,
                                  .org = "",
                                  .input_uri = input,
                                  .run_output_base = "",
                                  .raw_data_prefix = "",
                                  .endpoint = action->endpoint ? action->endpoint : "",
                                  .run_start_ns = 1500 * SY_NS_PER_MS,
                                  .attempt = action->number ? action->number : 1,
                                  .envs = envs,
                                  .spec = &spec};
    struct ag_work work = {.id = ++bench->next_id,
                           .run = "p/d/r1",
                           .name = "act",
                           .number = action->number ? action->number : 1,
                           .epoch = 3,
                           .gpus = "",
                           .type = "python",
                           .args = args,
                           .env = env,
                           .timeout_ns = action->timeout_ns,
                           .suspect = action->suspect,
                           .flyte = &flyte};
    work.request.memory_bytes = action->memory_bytes;
    bench->executor->ops->start(bench->executor, &work);
    return work.id;
}

static struct bench_attempt *run(const struct action *action)
{
    return bench_wait(start(action));
}

/* ---- pure parts ---- */

START_TEST(templates)
{
    struct sy_arena arena;
    sy_arena_init(&arena, 1 << 20);
    const struct ag_flyte_values values = {"/in", "/out", "/raw", "/check",
                                           "",    "r1",   "a0",   "2020-01-01T00:00:00.000000Z"};
    static const struct {
        const char *text, *filled;
    } cases[] = {
        {"{{.input}}", "/in"},
        {"{{ .Input }}", "/in"},
        {"{{$INPUT}}", "/in"},
        {"{{.outputPrefix}}/x", "/out/x"},
        {"--a={{.rawOutputDataPrefix}}{{.checkpointOutputPrefix}}", "--a=/raw/check"},
        {"{{.prevCheckpointPrefix}}", ""},
        {"{{.runName}}-{{.actionName}}", "r1-a0"},
        {"{{.runStartTime}}", "2020-01-01T00:00:00.000000Z"},
        {"{{.unknown}} {{.input}}", "{{.unknown}} /in"},
        {"{{input}}", "{{input}}"},
        {"{{.input", "{{.input"},
        {"{{.input}", "{{.input}"},
        {"{{{{.input}}", "{{/in"},
        {"{{.inputs}}", "{{.inputs}}"},
        {"", ""},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++)
        ck_assert_str_eq(ag_flyte_fill_in(&arena, cases[i].text, &values), cases[i].filled);
    sy_arena_deinit(&arena);
}
END_TEST

START_TEST(environments_by_image)
{
    const struct ag_flyte_environment list[] = {{"a", "/a", NULL}, {"*", "/any", NULL}};
    ck_assert_str_eq(ag_flyte_environment_find(list, 2, "a")->venv, "/a");
    ck_assert_str_eq(ag_flyte_environment_find(list, 2, "b")->venv, "/any");
    ck_assert_ptr_null(ag_flyte_environment_find(list, 1, "b"));
}
END_TEST

/* ---- whole attempts ---- */

START_TEST(whom_a_task_asks)
{
    static const char *const configured[] = {"localhost:7", "", ""},
                             *const told[] = {"shard-2:8090", "shard-2:8090", ""},
                             *const asked[] = {"localhost:7\n", "shard-2:8090\n",
                                               "localhost:8090\n"};
    for (size_t i = 0; i < SY_COUNT_OF(asked); i++) {
        configured_endpoint = configured[i];
        open_flyte(AG_CGROUP_NONE);
        uint64_t id = start(
            &(struct action){.script = "echo $_U_EP_OVERRIDE", .endpoint = told[i]});
        ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_SUCCEEDED);
        ck_assert_str_eq(bench_log(id, 1), asked[i]);
        close_flyte();
    }
    configured_endpoint = "localhost:7";
}
END_TEST

START_TEST(what_a_task_is_given)
{
    open_flyte(AG_CGROUP_NONE);
    uint64_t id = start(&(struct action){
        .script = "echo $1; echo $2; echo \"[$5]\" $6 $7; pwd; echo $COLOUR $SHAPE $SIZE; "
                  "echo $RUN_NAME $ACTION_NAME $FLYTE_INTERNAL_EXECUTION_PROJECT "
                  "$FLYTE_INTERNAL_EXECUTION_DOMAIN $_U_ORG_NAME $_U_RUN_BASE $_U_EP_OVERRIDE "
                  "$_U_INSECURE $_U_USE_ACTIONS $FSSPEC_FILE_AUTO_MKDIR $FLYTE_ATTEMPT_NUMBER; "
                  "echo $PATH; echo $SWITCHYARD_FENCING_TOKEN",
        .number = 2});
    struct bench_attempt *a = bench_wait(id);
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    char expected[2000];
    const char *log = bench_log(id, 1);
    snprintf(expected, sizeof(expected),
             "%s/in.pb\n%s/p/d/r1/act/abc/2\n[] %s/p/d/r1/act/abc/2/_flytecheckpoints r1\n",
             storage, storage, storage);
    ck_assert_msg(strncmp(log, expected, strlen(expected)) == 0, "%s", log);
    snprintf(expected, sizeof(expected),
             "\nblue round large\nr1 act p d local %s/p/d/r1 localhost:7 true 1 1 1\n%s/bin:",
             storage, venv);
    ck_assert_msg(strstr(log, expected) != NULL, "%s", log);
    ck_assert_ptr_nonnull(strstr(log, "\n0000000003.0000000002\n"));
    ck_assert_ptr_nonnull(strstr(log, "/flyte/bundles/"));
    close_flyte();
}
END_TEST

static void write_error(const char *name, int kind, int origin)
{
    Flyteidl2__Core__ErrorDocument doc = FLYTEIDL2__CORE__ERROR_DOCUMENT__INIT;
    Flyteidl2__Core__ContainerError error = FLYTEIDL2__CORE__CONTAINER_ERROR__INIT;
    char path[300];
    struct sy_buf bytes = {0};
    error.code = (char *)(uintptr_t) "ValueError";
    error.message = (char *)(uintptr_t) "no such luck";
    error.kind = kind;
    error.origin = origin;
    doc.error = &error;
    pb_pack(&doc.base, &bytes);
    snprintf(path, sizeof(path), "%s/%s", bench->dir, name);
    write_text(path, 0644, bytes.data, bytes.len);
    sy_buf_deinit(&bytes);
}

START_TEST(outcomes)
{
    open_flyte(AG_CGROUP_NONE);
    char expected[300], script[600];
    struct bench_attempt *a = run(&(struct action){.script = "touch $2/outputs.pb"});
    ck_assert_int_eq(a->result.kind, AG_RESULT_SUCCEEDED);
    write_error("e1", 1, 1);
    snprintf(script, sizeof(script), "cp %s/e1 $2/error.pb", bench->dir);
    a = run(&(struct action){.script = script, .number = 2});
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_int_eq(a->result.error_kind, AG_ERROR_USER);
    ck_assert_str_eq(a->code, "ValueError");
    ck_assert_str_eq(a->message, "no such luck");
    write_error("e2", 0, 2);
    snprintf(script, sizeof(script), "cp %s/e2 $2/error.pb; exit 1", bench->dir);
    a = run(&(struct action){.script = script, .number = 3});
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED_FINAL);
    ck_assert_int_eq(a->result.error_kind, AG_ERROR_SYSTEM);
    a = run(&(struct action){.script = "echo one >&2; echo two >&2; exit 3", .number = 4});
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_str_eq(a->message, "the task's process exited with status 3:\none\ntwo");
    a = run(&(struct action){.script = "kill -KILL $$", .number = 5});
    ck_assert_int_eq(a->result.kind, AG_RESULT_LOST);
    ck_assert_str_eq(a->code, "Interrupted");
    ck_assert_int_eq(a->result.death, AG_DEATH_ALONE);
    const struct action warm = {.script = "exit 3", .number = 7, .reusable = true};
    ck_assert_int_eq(run(&warm)->result.kind, AG_RESULT_REFUSED); /* no Python here for a worker */
    struct action suspect = warm;
    suspect.suspect = true; /* a process of its own */
    ck_assert_str_eq(run(&suspect)->code, "ExitCode");
    a = run(&(struct action){.script = "printf '\\377' > $2/error.pb", .number = 6});
    ck_assert_int_eq(a->result.kind, AG_RESULT_FAILED);
    ck_assert_str_eq(a->code, "BadErrorFile");
    snprintf(expected, sizeof(expected), "%s/p/d/r1/act/abc/1/outputs.pb", storage);
    ck_assert_int_eq(access(expected, F_OK), 0);
    close_flyte();
}
END_TEST

START_TEST(the_newest_earlier_checkpoint)
{
    open_flyte(AG_CGROUP_NONE);
    run(&(struct action){.script = "echo x > $6", .number = 1});
    run(&(struct action){.script = "true", .number = 2});
    uint64_t id = start(&(struct action){.script = "echo $5", .number = 3});
    bench_wait(id);
    char expected[300];
    snprintf(expected, sizeof(expected), "%s/p/d/r1/act/abc/1/_flytecheckpoints\n", storage);
    ck_assert_str_eq(bench_log(id, 1), expected);
    close_flyte();
}
END_TEST

START_TEST(refusals)
{
    open_flyte(AG_CGROUP_NONE);
    struct bench_attempt *a = run(&(struct action){.script = "true", .image = "other"});
    ck_assert_int_eq(a->result.kind, AG_RESULT_REFUSED);
    ck_assert_int_eq(a->result.error_kind, AG_ERROR_USER);
    ck_assert_str_eq(a->code, "InvalidImageName"); /* which the SDK has a class for */
    ck_assert_ptr_nonnull(strstr(a->message, "image 'other'"));
    ck_assert_ptr_nonnull(strstr(a->message, "`environments`"));
    const struct ag_spec_secret secret = {"g", "k", "K"};
    a = run(&(struct action){.script = "true", .secrets = &secret, .secret_count = 1});
    ck_assert_int_eq(a->result.kind, AG_RESULT_REFUSED);
    ck_assert_str_eq(a->code, "SecretNotRead");
    close_flyte();
}
END_TEST

START_TEST(cancel_and_time_limit)
{
    open_flyte(AG_CGROUP_NONE);
    uint64_t id = start(&(struct action){.script = "sleep 100 & wait"});
    ck_assert(RUN_UNTIL(bench->loop, bench->attempts[id - 1].started));
    bench->executor->ops->cancel(bench->executor, id, "test");
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_CANCELLED);
    id = start(&(struct action){.script = "sleep 100 & wait"}); /* cancelled before it runs */
    bench->executor->ops->cancel(bench->executor, id, "test");
    ck_assert_int_eq(bench_wait(id)->result.kind, AG_RESULT_CANCELLED);
    struct bench_attempt *a = run(
        &(struct action){.script = "sleep 100 & wait", .timeout_ns = 50 * SY_NS_PER_MS});
    ck_assert_int_eq(a->result.kind, AG_RESULT_TIMED_OUT);
    start(&(struct action){.script = "sleep 100"});
    close_flyte();
}
END_TEST

START_TEST(native_work_goes_through)
{
    open_flyte(AG_CGROUP_NONE);
    static const char *const args[] = {"/bin/sh", "-c", "echo hello; exit 4", NULL};
    static const char *const env[] = {NULL};
    struct ag_work work = {.id = ++bench->next_id,
                           .run = "p/d/r1",
                           .name = "a0",
                           .gpus = "",
                           .type = "switchyard.process",
                           .args = args,
                           .env = env};
    bench->executor->ops->start(bench->executor, &work);
    ck_assert_str_eq(bench_wait(work.id)->code, "ExitCode");
    ck_assert_str_eq(bench_log(work.id, 1), "hello\n");
    close_flyte();
}
END_TEST

int main(void)
{
    return sy_test_run("ag_flyte", (const TTest *const[]){templates, environments_by_image,
                                                          whom_a_task_asks, what_a_task_is_given,
                                                          outcomes, the_newest_earlier_checkpoint,
                                                          refusals, cancel_and_time_limit,
                                                          native_work_goes_through, NULL});
}
