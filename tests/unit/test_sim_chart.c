/* links: simulate */
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/sim_chart.h"
#include "tools/src/sim_program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- XML, as much of it as we write ---- */

#define DEPTH_MAX 16
#define ARGUMENTS_MAX 16

struct reader {
    char names[DEPTH_MAX][32];
    size_t depth, paths;
};

/* "name attribute="value" ... /" between the angle brackets. */
static void read_tag(struct reader *reader, const char *tag, size_t len)
{
    char name[32] = "";
    size_t name_len = strcspn(tag + (tag[0] == '/'), " />");
    snprintf(name, sizeof(name), "%.*s", (int)name_len, tag + (tag[0] == '/'));
    if (tag[0] == '/') {
        ck_assert_uint_gt(reader->depth, 0);
        ck_assert_str_eq(reader->names[--reader->depth], name);
        return;
    }
    size_t quotes = 0;
    for (size_t i = 0; i < len; i++) {
        quotes += tag[i] == '"';
        ck_assert(tag[i] != '<');
    }
    ck_assert_uint_eq(quotes % 2, 0);
    reader->paths += strcmp(name, "path") == 0;
    if (tag[len - 1] == '/')
        return;
    ck_assert_uint_lt(reader->depth, DEPTH_MAX);
    snprintf(reader->names[reader->depth++], sizeof(reader->names[0]), "%s", name);
}

/* How many paths it draws. */
static size_t read_document(const char *text)
{
    struct reader reader = {0};
    const char *at = text;
    ck_assert_int_eq(strncmp(text, "<svg ", 5), 0);
    while ((at = strchr(at, '<'))) {
        const char *end = strchr(at, '>');
        ck_assert_ptr_nonnull(end);
        read_tag(&reader, at + 1, (size_t)(end - at) - 1);
        at = end;
    }
    ck_assert_uint_eq(reader.depth, 0);
    for (at = text; (at = strchr(at, '&')); at++)
        ck_assert(strncmp(at, "&amp;", 5) == 0 || strncmp(at, "&lt;", 4) == 0 ||
                  strncmp(at, "&gt;", 4) == 0);
    static const char *const no_numbers[] = {"\"nan", "Lnan", " nan", "\"inf",
                                             "Linf",  " inf", "-inf"};
    for (size_t i = 0; i < SY_COUNT_OF(no_numbers); i++)
        ck_assert_ptr_null(strstr(text, no_numbers[i]));
    return reader.paths;
}

START_TEST(test_a_chart_is_well_formed)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    double x[] = {0, 0.001, 5, 4000}, y[] = {0, 0.5, 0.7, 1.5};
    struct sim_line lines[] = {{x, y, 4, 0, false}, {x, y, 4, 5, true}, {x, y, 0, 1, false}};
    struct sim_panel panels[] = {{"<a> & \"b\"", lines, 3}, {"second", lines, 1}};
    const struct sim_legend legend[] = {{"one & two", 0, false}, {"three", 5, true}};
    struct sim_chart chart = {.title = "1 < 2",
                              .x_label = "waited",
                              .y_label = "tasks",
                              .x_scale = SIM_SCALE_SECONDS,
                              .x_max = 3600,
                              .y_max = 1,
                              .panels = panels,
                              .count = 2,
                              .legend = legend,
                              .legend_count = 2};
    sim_chart_draw(&chart, &text);
    sy_buf_append(&text, "", 1);
    ck_assert_uint_eq(read_document((const char *)text.data), 3); /* an empty line is none */
    ck_assert_ptr_nonnull(strstr((const char *)text.data, "&lt;a&gt; &amp; \"b\""));
    ck_assert_ptr_nonnull(strstr((const char *)text.data, ">10 min<"));
}
END_TEST

/* ---- the program as a whole ---- */

static char folder[] = "/tmp/test_sim_chart.XXXXXX";

static void write_text(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    fclose(file);
}

static void in_folder(char *ret, size_t size, const char *name)
{
    snprintf(ret, size, "%s/%s", folder, name);
}

/* argp wants texts that it could change. Returns argc. */
static int arguments_of(const char *const *words, char **ret_argv)
{
    int argc = 0;
    ret_argv[argc++] = (char *)(uintptr_t) "switchyard-simulate";
    for (; *words; words++) {
        ck_assert_int_lt(argc, ARGUMENTS_MAX - 1);
        ret_argv[argc++] = (char *)(uintptr_t)*words;
    }
    ret_argv[argc] = NULL;
    return argc;
}

START_TEST(test_runs_are_compared_in_one_call)
{
    static const char *const plots[] = {"utilisation.svg", "waits.svg", "queue-waits.svg",
                                        "fairness.svg", "queue-length.svg"};
    char region[128], trace[128], out[128], path[128];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    write_text("region.yaml", "clusters: [{name: c, nodes: [{cpu_milli: 2000, memory: 1GiB}]}]\n");
    write_text("trace.csv", "arrival_s,duration_s,cpu,count\n0,60,1,9\n300,10,2,1\n");
    in_folder(trace, sizeof(trace), "trace.csv");
    in_folder(region, sizeof(region), "region.yaml");
    in_folder(out, sizeof(out), "plots");
    const char *const words[] = {trace,      "--region", region,    "--policy", "configured",
                                 "--policy", "fifo",     "--plots", out,        NULL};
    char *argv[ARGUMENTS_MAX];
    ck_assert_int_eq(sim_program(arguments_of(words, argv), argv), CL_OK);
    for (size_t i = 0; i < SY_COUNT_OF(plots); i++) {
        char text[65536] = "";
        snprintf(path, sizeof(path), "%s/plots/%s", folder, plots[i]);
        FILE *file = fopen(path, "re");
        ck_assert_ptr_nonnull(file);
        ck_assert_uint_lt(fread(text, 1, sizeof(text) - 1, file), sizeof(text) - 1);
        fclose(file);
        ck_assert_uint_ge(read_document(text), 2); /* both runs */
        remove(path);
    }
    snprintf(path, sizeof(path), "%s/plots", folder);
    remove(path);
    remove(region);
    remove(trace);
    remove(folder);
}
END_TEST

static const struct {
    const char *arguments[7]; /* NULL ends them */
    const char *sentence;
} wrong[] = {
    {{"t.csv"}, "--region FILE is needed"},
    {{"--region", "r.yaml"}, "which trace?"},
    {{"t.csv", "--region", "r.yaml", "--policy", "best"}, "--policy 'best': expected"},
    {{"t.csv", "--region", "r.yaml", "--delay", "-1s"}, "--delay '-1s'"},
    {{"t.csv", "--region", "r.yaml", "--format", "xml"}, "--format 'xml'"},
    {{"t.csv", "--region", "r.yaml", "--instances", "i.csv"}, "alibaba-2020"},
    {{"t.csv", "u.csv"}, "unexpected argument 'u.csv'"},
    {{"generate", "--region", "r.yaml", "--load", "0"}, "--load '0'"},
    {{"generate", "--region", "r.yaml", "--kind", "x"}, "--kind 'x'"},
    {{"generate", "--seed", "-1"}, "--seed '-1'"},
};

START_TEST(test_wrong_arguments_are_told_in_one_sentence)
{
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        char *argv[ARGUMENTS_MAX];
        int argc = arguments_of(wrong[i].arguments, argv);
        struct sim_arguments arguments;
        ck_assert_int_eq(sim_arguments_parse(&arguments, argc, argv), CL_PARSE_WRONG);
        ck_assert_msg(strstr(arguments.common.error.text, wrong[i].sentence), "%s: %s",
                      wrong[i].sentence, arguments.common.error.text);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {test_a_chart_is_well_formed, test_runs_are_compared_in_one_call,
                                  test_wrong_arguments_are_told_in_one_sentence, NULL};
    return sy_test_run("sim_chart", tests);
}
