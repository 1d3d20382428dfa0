#include "tools/src/demo_driver.h"

#include "base/file.h"
#include "base/mem.h"
#include "tools/src/cl_progress.h"
#include "tools/src/cl_spec.h"
#include "tools/src/cl_text.h"
#include "tools/src/cl_watch.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_NS (20 * SY_NS_PER_MS)
#define ROOT_RETRIES 3
#define CHECKERS_MAX 16
#define LIBRARY_NAME "libswitchyard-demo.so"

/* ---- arguments ---- */

enum { KEY_FILES = 0x100, KEY_KILL_ROOT, KEY_LIBRARY, KEY_ENVIRONMENT };

static const struct argp_option demo_argp_options[] = {
    {"files", KEY_FILES, "N", 0, "files at most, the first by name (10000)", 0},
    {"kill-root", KEY_KILL_ROOT, NULL, 0,
     "kill -9 the worker of the root in the middle, to see the retried root find its finished "
     "children (on the machine that runs the worker)",
     0},
    {"library", KEY_LIBRARY, "FILE", 0, "default: " LIBRARY_NAME " beside this program", 0},
    {"environment", KEY_ENVIRONMENT, "NAME", 0, "pool of warm workers (" CL_ENVIRONMENT_DEFAULT ")",
     0},
    {0},
};

static error_t parse_demo(int key, char *arg, struct argp_state *argp)
{
    struct demo_options *options = argp->input;
    struct cl_args *common = &options->common;
    switch (key) {
    case ARGP_KEY_INIT:
        argp->child_inputs[0] = common;
        return 0;
    case KEY_FILES:
        return cl_args_number(common, "files", arg, 1, 999999, &options->files_max) ? 0 : EINVAL;
    case KEY_KILL_ROOT:
        options->kill_root = true;
        return 0;
    case KEY_LIBRARY:
        options->library = arg;
        return 0;
    case KEY_ENVIRONMENT:
        options->environment = arg;
        return 0;
    case ARGP_KEY_ARG:
        options->dir = arg;
        return argp->arg_num == 0 ? 0 : cl_args_wrong(common, "unexpected argument '%s'", arg);
    case ARGP_KEY_END:
        return common->json ? cl_args_wrong(common, "the demo has no JSON output") : 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum cl_parse demo_options_parse(struct demo_options *options, int argc, char **argv)
{
    static const char doc[] =
        "Compresses and checksums the files of FOLDER (/usr/share/doc) as a run of one task for "
        "each file, shows "
        "what ran where and how fast, and checks every result by doing the work again by itself."
        "\v" CL_EXIT_CODES;
    const struct argp argp = {demo_argp_options, parse_demo, "[FOLDER]", doc,
                              CL_ARGS_CHILDREN,  NULL,       NULL};
    *options = (struct demo_options){
        .dir = "/usr/share/doc", .environment = cl_environment(), .files_max = 10000};
    cl_args_init(&options->common);
    return cl_args_parse(&argp, argc, argv, 0, &options->common, options);
}

/* ---- submitting ---- */

static enum cl_exit find_library(struct demo_state *state, struct cl_error *error)
{
    struct sy_error_text text;
    state->library = cl_task_library(state->options.library, LIBRARY_NAME, &text);
    return state->library ? CL_OK : cl_fail(error, CL_USAGE, "%s", text.text);
}

static enum cl_exit find_files(struct demo_state *state, struct cl_error *error)
{
    const struct demo_options *options = &state->options;
    state->dir = realpath(options->dir, NULL);
    if (!state->dir)
        return cl_fail(error, CL_USAGE, "folder '%s': %s", options->dir, strerror(errno));
    int r = demo_files_find(&state->files, state->dir, (size_t)options->files_max);
    if (r < 0)
        return cl_fail(error, CL_USAGE, "folder '%s': %s", options->dir, strerror(-r));
    if (state->files.count == 0)
        return cl_fail(error, CL_USAGE, "folder '%s': there is no file to compress", options->dir);
    state->children = sy_calloc(state->files.count, sizeof(*state->children));
    return CL_OK;
}

static enum cl_exit submit(struct demo_state *state, struct cl_error *error)
{
    const struct demo_options *options = &state->options;
    struct cl_spec spec = {.type = CL_SPEC_FUNCTION,
                           .environment = options->environment,
                           .library = state->library,
                           .function = "demo_root",
                           .retries = ROOT_RETRIES};
    struct sy_buf packed SY_CLEANUP(sy_buf_deinit) = {0};
    struct sy_buf input SY_CLEANUP(sy_buf_deinit) = {0};
    struct sy_error_text text;
    if (cl_spec_pack(&spec, &packed, &text) < 0)
        return cl_fail(error, CL_USAGE, "%s", text.text);
    sy_buf_printf(&input, "dir=%s\nfiles_max=%lld\n", state->dir, (long long)options->files_max);
    if (options->kill_root) {
        char random[13];
        cl_random_name(state->client, random, sizeof(random) - 1);
        snprintf(state->pid_file, sizeof(state->pid_file), "/tmp/switchyard-demo-%s.pid", random);
        sy_buf_printf(&input, "pid_file=%s\n", state->pid_file);
    }
    state->submitted_ns = cl_realtime_ns();
    struct cl_new_run run = {.task_spec = sy_buf_span(&packed), .input = sy_buf_span(&input)};
    return cl_run_create(state->client, &run, state->run, error);
}

/* ---- following ---- */

static uint8_t place_of(struct demo_state *state, const char *node)
{
    for (size_t i = 0; i < state->node_count; i++) {
        if (strcmp(state->nodes[i], node) == 0)
            return (uint8_t)i;
    }
    if (state->node_count == DEMO_PLACES_MAX)
        return DEMO_PLACES_MAX - 1;
    snprintf(state->nodes[state->node_count], sizeof(state->nodes[0]), "%s", node);
    return (uint8_t)state->node_count++;
}

static void on_event(void *ctx, const Switchyard__V1__Event *event)
{
    struct demo_state *state = ctx;
    size_t i = 0;
    bool final = cl_phase_final((int)event->phase);
    if (strcmp(event->action, "a0") == 0) {
        if (event->attempt > state->root_attempts)
            state->root_attempts = event->attempt;
        if (final)
            state->ended_ns = event->time_ns;
        return;
    }
    if (!final || !demo_child_index(event->action, state->files.count, &i))
        return;
    struct demo_child_state *child = &state->children[i];
    child->finals++;
    child->attempt = event->attempt;
    child->place = place_of(state, event->node);
    state->finished++;
    if (event->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED)
        state->failed++;
}

/* Once a third is done. */
static void maybe_kill(struct demo_state *state)
{
    if (!state->options.kill_root || state->killed_pid ||
        state->finished < state->files.count / 3 || state->finished == 0)
        return;
    struct sy_buf text SY_CLEANUP(sy_buf_deinit) = {0};
    if (sy_file_read(state->pid_file, 64, &text) < 0 || text.len == 0)
        return;
    sy_buf_append(&text, "", 1);
    long pid = strtol((const char *)text.data, NULL, 10);
    if (pid <= 1 || pid > INT_MAX || kill((pid_t)pid, SIGKILL) < 0)
        return;
    state->killed_pid = (int)pid;
    state->finished_at_kill = state->finished;
    for (size_t i = 0; i < state->files.count; i++)
        state->children[i].before_kill = state->children[i].finals > 0;
}

static enum cl_exit follow(struct demo_state *state, struct cl_error *error)
{
    struct cl_progress progress;
    struct cl_watch watch;
    cl_progress_init(&progress);
    cl_watch_start(&watch, state->client, state->run, 0, false, on_event, state);
    bool told = false;
    while (cl_watch_turn(&watch, TICK_NS)) {
        maybe_kill(state);
        if (state->killed_pid && !told) {
            told = true;
            cl_progress_clear(&progress);
            printf("killed the root's worker (pid %d) after %s of %s files\n", state->killed_pid,
                   cl_format_count(state->finished_at_kill).text,
                   cl_format_count(state->files.count).text);
            fflush(stdout);
        }
        cl_progress_show(&progress, "files", state->finished, state->files.count, state->failed);
    }
    cl_progress_clear(&progress);
    enum cl_exit exit_code = cl_watch_result(&watch);
    if (watch.root_phase == 0)
        *error = watch.error;
    else if (exit_code != CL_OK)
        cl_fail(error, exit_code, "run '%s' ended %s: %s", state->run,
                cl_phase_name(watch.root_phase),
                watch.root_error ? watch.root_error->message : "without a reason");
    cl_watch_stop(&watch);
    return exit_code;
}

/* ---- what every child gave ---- */

static void take_outcome(struct demo_state *state, const Switchyard__V1__ChildOutcome *outcome)
{
    size_t i = 0;
    if (!demo_child_index(outcome->name, state->files.count, &i))
        return;
    char name[DEMO_NAME_SIZE];
    demo_child_name(name, i, state->files.paths[i]);
    struct demo_child_state *child = &state->children[i];
    if (strcmp(name, outcome->name) == 0)
        child->has_result = demo_result_read(&child->result, (const char *)outcome->output.data,
                                             outcome->output.len);
}

static enum cl_exit gather(struct demo_state *state, struct cl_error *error)
{
    Switchyard__V1__WaitChildrenRequest request = SWITCHYARD__V1__WAIT_CHILDREN_REQUEST__INIT;
    Switchyard__V1__RunId id;
    cl_run_id(state->client, state->run, &id);
    request.run = &id;
    request.parent = cl_unconst("a0");
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    size_t seen = 0;
    while (seen < state->files.count) {
        sy_arena_reset(&arena);
        const Switchyard__V1__WaitChildrenResponse *response = cl_call(
            state->client, &cl_wait_children, &request.base, &arena, error);
        if (!response || response->n_children == 0)
            break;
        for (size_t i = 0; i < response->n_children; i++)
            take_outcome(state, response->children[i]);
        seen += response->n_children;
        request.after = response->next;
    }
    sy_arena_deinit(&arena);
    struct sy_buf report = {0};
    if (error->exit == CL_OK)
        cl_action_output(state->client, state->run, "a0", &report, error);
    sy_buf_append(&report, "", 1);
    state->report = (char *)report.data;
    return error->exit;
}

/* ---- the check ---- */

static bool same(const struct demo_result *a, const struct demo_result *b)
{
    return a->bytes == b->bytes && a->compressed == b->compressed && a->crc32 == b->crc32 &&
           a->xxh3 == b->xxh3;
}

/* Our own results of all files, by a thread for each CPU. */
struct checker {
    const struct demo_files *files;
    struct demo_result *results;
    int *errors;
    atomic_size_t next;
};

static void *check_files(void *arg)
{
    struct checker *checker = arg;
    size_t i;
    while ((i = atomic_fetch_add(&checker->next, 1)) < checker->files->count)
        checker->errors[i] = demo_file_compress(checker->files->paths[i], &checker->results[i]);
    return NULL;
}

static void check_all(struct checker *checker)
{
    pthread_t threads[CHECKERS_MAX];
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t started = 0;
    for (long i = 1; i < cpus && started < CHECKERS_MAX; i++) {
        if (pthread_create(&threads[started], NULL, check_files, checker) != 0)
            break;
        started++;
    }
    check_files(checker);
    while (started > 0)
        pthread_join(threads[--started], NULL);
}

static enum cl_exit compare_all(struct demo_state *state, const struct checker *checker,
                                struct cl_error *error)
{
    for (size_t i = 0; i < state->files.count; i++) {
        const struct demo_child_state *child = &state->children[i];
        if (checker->errors[i] < 0)
            return cl_fail(error, CL_FAILED, "'%s' can not be read any more: %s",
                           state->files.paths[i], strerror(-checker->errors[i]));
        demo_report_add(&state->expected, state->files.paths[i], &checker->results[i]);
        state->wrong += !child->has_result || !same(&checker->results[i], &child->result);
    }
    demo_report_finish(&state->expected);
    state->expected_report = demo_report_write(&state->expected);
    if (state->wrong > 0)
        return cl_fail(error, CL_FAILED, "%llu of %zu results are missing or wrong",
                       (unsigned long long)state->wrong, state->files.count);
    if (strcmp(state->report, state->expected_report) != 0)
        return cl_fail(error, CL_FAILED, "the root's report differs from what the files give");
    return CL_OK;
}

static enum cl_exit compare(struct demo_state *state, struct cl_error *error)
{
    struct checker checker = {.files = &state->files,
                              .results = sy_calloc(state->files.count, sizeof(struct demo_result)),
                              .errors = sy_calloc(state->files.count, sizeof(int))};
    check_all(&checker);
    enum cl_exit exit_code = compare_all(state, &checker, error);
    free(checker.results);
    free(checker.errors);
    return exit_code;
}

/* Each child ended once, also across a kill of the root. */
static enum cl_exit check_events(struct demo_state *state, struct cl_error *error)
{
    for (size_t i = 0; i < state->files.count; i++) {
        if (state->children[i].finals != 1)
            return cl_fail(error, CL_FAILED, "the child for '%s' ended %u times",
                           state->files.paths[i], state->children[i].finals);
    }
    state->events_good = true;
    if (!state->options.kill_root)
        return CL_OK;
    if (!state->killed_pid)
        return cl_fail(error, CL_FAILED,
                       "the root ended before its worker could be killed: give "
                       "more files");
    if (state->root_attempts < 2)
        return cl_fail(error, CL_FAILED,
                       "the root's worker was killed, but the root was not "
                       "retried");
    return CL_OK;
}

enum cl_exit demo_run(struct demo_state *state, struct cl_error *error)
{
    if (find_library(state, error) != CL_OK || find_files(state, error) != CL_OK)
        return error->exit;
    if (cl_client_new(&state->client, &state->options.common.client, error) != CL_OK)
        return error->exit;
    if (submit(state, error) != CL_OK || follow(state, error) != CL_OK)
        return error->exit;
    if (gather(state, error) != CL_OK)
        return error->exit;
    enum cl_exit exit_code = check_events(state, error);
    demo_show(state);
    return exit_code != CL_OK ? exit_code : compare(state, error);
}

void demo_state_deinit(struct demo_state *state)
{
    if (*state->pid_file)
        (void)unlink(state->pid_file);
    free(state->dir);
    free(state->library);
    free(state->report);
    free(state->expected_report);
    demo_report_free(&state->expected);
    demo_files_free(&state->files);
    free(state->children);
    cl_client_free(state->client);
}
