#include "tools/src/cmd.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct cl_command commands[] = {
    {"run", "run a command or a function, also many at once", cl_cmd_run},
    {"get", "show runs, actions, queues, clusters or nodes", cl_cmd_get},
    {"watch", "follow the changes of a run", cl_cmd_watch},
    {"explain", "say why an action waits, or where its time went", cl_cmd_explain},
    {"logs", "print the log of a task", cl_cmd_logs},
    {"abort", "end a run, or an action and all below it", cl_cmd_abort},
    {"create", "create a queue", cl_cmd_create},
    {"update", "change the settings of a queue", cl_cmd_update},
    {"pause", "start nothing more of a queue", cl_cmd_pause},
    {"resume", "let a paused queue go on", cl_cmd_resume},
    {"delete", "delete a queue that is empty", cl_cmd_delete},
    {"cordon", "place nothing more on a node", cl_cmd_cordon},
    {"uncordon", "take back a cordon or a drain", cl_cmd_uncordon},
    {"drain", "empty a node", cl_cmd_drain},
    {"node", "cordon, drain or fence a node", cl_cmd_node},
    {"cluster", "register data planes, and show them", cl_cmd_cluster},
    {"region", "show the shards of the region, and move what they have", cl_cmd_region},
    {"status", "show how the region does", cl_cmd_status},
};

/* Edit distance of short words (Levenshtein). */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 24 };
    size_t la = strlen(a), lb = strlen(b), row[MAX + 1];
    if (la > MAX || lb > MAX)
        return MAX;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[lb];
}

const struct cl_command *cl_command_find(const char *name, const char **nearest)
{
    size_t best = 3;
    if (nearest)
        *nearest = NULL;
    for (size_t i = 0; i < SY_COUNT_OF(commands); i++) {
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
        size_t d = distance(name, commands[i].name);
        if (nearest && d < best) {
            best = d;
            *nearest = commands[i].name;
        }
    }
    return NULL;
}

/* ---- the program's own arguments: common options, then the command ---- */

struct top {
    struct cl_args common;
    int command; /* index into argv; 0 = none */
};

static error_t parse_top(int key, char *arg, struct argp_state *state)
{
    struct top *top = state->input;
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &top->common;
        return 0;
    case ARGP_KEY_ARG:
        top->command = state->next - 1;
        state->next = state->argc; /* the rest is the command's */
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void write_top_doc(struct sy_buf *ret_doc)
{
    sy_buf_printf(ret_doc, "Runs tasks on a Switchyard region and shows what becomes of them.\n\n"
                           "Commands:\n");
    for (size_t i = 0; i < SY_COUNT_OF(commands); i++)
        sy_buf_printf(ret_doc, "  %-9s %s\n", commands[i].name, commands[i].usage);
    sy_buf_printf(ret_doc, "\n`switchyard COMMAND --help` tells more.\v" CL_EXIT_CODES);
}

enum cl_exit cl_switchyard(int argc, char **argv)
{
    static char program[] = CL_PROGRAM;
    struct sy_buf doc SY_CLEANUP(sy_buf_deinit) = {0};
    write_top_doc(&doc);
    const struct argp argp = {
        NULL, parse_top, "COMMAND [ARGUMENT...]", (const char *)doc.data, CL_ARGS_CHILDREN,
        NULL, NULL};
    struct top top = {.command = 0};
    cl_args_init(&top.common);
    argv[0] = program;
    if (cl_args_parse(&argp, argc, argv, ARGP_IN_ORDER, &top.common, &top) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &top.common);
    if (top.command == 0) {
        fprintf(stderr, "%s: a command is missing; 'switchyard --help' shows them\n", CL_PROGRAM);
        return CL_USAGE;
    }
    const char *name = argv[top.command], *nearest = NULL;
    const struct cl_command *command = cl_command_find(name, &nearest);
    if (!command) {
        cl_args_wrong(&top.common, "there is no command '%s'%s%s%s", name,
                      nearest ? "; did you mean '" : "; 'switchyard --help' shows all",
                      nearest ? nearest : "", nearest ? "'?" : "");
        return cl_args_exit(CL_PROGRAM, &top.common);
    }
    char title[32];
    snprintf(title, sizeof(title), "%s %s", CL_PROGRAM, command->name);
    argv[top.command] = title;
    return command->run(&top.common, argc - top.command, argv + top.command);
}

/* ---- shared ---- */

enum cl_exit cl_not_found(const struct cl_client *client, struct cl_error *error, const char *run,
                          const char *action)
{
    if (error->code != SY_CODE_NOT_FOUND)
        return error->exit;
    const struct cl_options *o = &client->options;
    if (action && *action)
        sy_error_text_set(&error->text, "action '%s' of run '%s' not found in %s/%s", action, run,
                          o->project, o->domain);
    else
        sy_error_text_set(&error->text, "run '%s' not found in %s/%s", run, o->project, o->domain);
    return error->exit;
}

bool cl_name_ok(struct cl_args *common, const char *what, const char *name)
{
    size_t n = strlen(name);
    bool good = n > 0 && n < CL_RUN_NAME_MAX && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    for (size_t i = 0; good && i < n; i++)
        good = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
    if (!good)
        cl_args_wrong(common,
                      "%s '%s': expected 1 to 63 letters, digits, '.', '_' or '-', and not '.' or "
                      "'..'",
                      what, name);
    return good;
}

error_t cl_run_action_parse(struct cl_args *common, int key, char *arg,
                            const struct argp_state *state, const char **run, const char **action)
{
    switch (key) {
    case ARGP_KEY_ARG:
        if (state->arg_num > 1)
            return cl_args_wrong(common, "unexpected argument '%s': expected RUN [ACTION]", arg);
        *(state->arg_num == 0 ? run : action) = arg;
        return cl_name_ok(common, state->arg_num == 0 ? "run" : "action", arg) ? 0 : EINVAL;
    case ARGP_KEY_END:
        return *run ? 0 : cl_args_wrong(common, "which run? Expected RUN [ACTION]");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}
