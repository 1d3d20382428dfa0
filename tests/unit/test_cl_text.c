/* links: cl */
#include "base/clock.h"
#include "base/mem.h"
#include "tests/lib/test.h"
#include "tools/src/cl_progress.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static void cleans_to(const char *text, const char *expected)
{
    char *clean = cl_text_clean(text);
    ck_assert_str_eq(clean, expected);
    free(clean);
}

START_TEST(test_nothing_harmful_reaches_a_terminal)
{
    cleans_to(NULL, "");
    cleans_to("plain-1.2_x", "plain-1.2_x");
    cleans_to("a\033[2Jb\tc\nd\x7f", "a?[2Jb?c?d?");
    cleans_to("\xc2\x9b"
              "31m",
              "?31m"); /* C1: as good as ESC [ */
    cleans_to("\xe2\x80\xae"
              "gpj.exe",
              "?gpj.exe");            /* right-to-left override */
    cleans_to("\xff\xc3", "??");      /* not UTF-8, and cut */
    cleans_to("\xc0\xaf", "??");      /* overlong */
    cleans_to("\xed\xa0\x80", "???"); /* surrogate */
    cleans_to("gr\xc3\xbc\xc3\x9f\x65 \xe6\xbc\xa2", "gr\xc3\xbc\xc3\x9f\x65 \xe6\xbc\xa2");
}
END_TEST

START_TEST(test_widths)
{
    ck_assert_uint_eq(cl_text_width(""), 0);
    ck_assert_uint_eq(cl_text_width("abc"), 3);
    ck_assert_uint_eq(cl_text_width("gr\xc3\xbc\xc3\x9f\x65"), 5);
    ck_assert_uint_eq(cl_text_width("\xe6\xbc\xa2\xe5\xad\x97"), 4); /* two wide ones */
    ck_assert_uint_eq(cl_text_width("e\xcc\x81"), 1);                /* combining */
    ck_assert_uint_eq(cl_text_prefix("abc", 2), 2);
    ck_assert_uint_eq(cl_text_prefix("\xe6\xbc\xa2\xe5\xad\x97", 3), 3); /* no half character */
    ck_assert_uint_eq(cl_text_prefix("abc", 10), 3);
}
END_TEST

START_TEST(test_amounts)
{
    ck_assert_str_eq(cl_format_duration(-1).text, "-");
    ck_assert_str_eq(cl_format_duration(0).text, "0ns");
    ck_assert_str_eq(cl_format_duration(850 * SY_NS_PER_US).text, "850us");
    ck_assert_str_eq(cl_format_duration(12340 * SY_NS_PER_US).text, "12.3ms");
    ck_assert_str_eq(cl_format_duration(1240 * SY_NS_PER_MS).text, "1.24s");
    ck_assert_str_eq(cl_format_duration(192 * SY_NS_PER_S).text, "3m12s");
    ck_assert_str_eq(cl_format_duration(7500 * SY_NS_PER_S).text, "2h05m");
    ck_assert_str_eq(cl_format_bytes(512).text, "512B");
    ck_assert_str_eq(cl_format_bytes((uint64_t)64 << 20).text, "64.0MiB");
    ck_assert_str_eq(cl_format_bytes(UINT64_MAX).text, "16384PiB");
    ck_assert_str_eq(cl_format_count(0).text, "0");
    ck_assert_str_eq(cl_format_count(999).text, "999");
    ck_assert_str_eq(cl_format_count(1234567).text, "1,234,567");
    ck_assert_str_eq(cl_format_count(UINT64_MAX).text, "18,446,744,073,709,551,615");
    ck_assert_str_eq(cl_format_cpu(2000).text, "2");
    ck_assert_str_eq(cl_format_cpu(500).text, "0.5");
    ck_assert_str_eq(cl_format_time(0).text, "-");
    ck_assert_uint_eq(strlen(cl_format_clock(1700000000123 * SY_NS_PER_MS).text), 12);
}
END_TEST

START_TEST(test_phases)
{
    ck_assert_str_eq(cl_phase_name(5), "SUCCEEDED");
    ck_assert_str_eq(cl_phase_name(99), "UNKNOWN");
    ck_assert_str_eq(cl_phase_name(-1), "UNKNOWN");
    for (int phase = 0; phase < 12; phase++)
        ck_assert_int_eq(cl_phase_final(phase), (phase >= 5 && phase <= 8) || phase == 10);
    ck_assert_int_eq(cl_phase_parse("failed"), 6);
    ck_assert_int_eq(cl_phase_parse("TIMED_OUT"), 8);
    ck_assert_int_eq(cl_phase_parse("nonsense"), -1);
}
END_TEST

/* ---- tables ---- */

static const struct cl_column columns[] = {
    {"RUN", false, 8, 0},
    {"PHASE", false, 0, 0},
    {"TASK", false, 6, 2},
    {"DURATION", true, 0, 1},
};

static struct cl_table *example(void)
{
    static const char *const rows[][4] = {
        {"r0000000000000000001", "SUCCEEDED", "compress-everything-in-sight", "1.24s"},
        {"short", "TIMED_OUT", "", "12.3ms"},
        {"evil\033[2J", "FAILED", "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97", NULL},
    };
    struct cl_table *table = cl_table_new(columns, 4);
    for (size_t i = 0; i < 3; i++)
        cl_table_add(table, rows[i]);
    ck_assert_uint_eq(cl_table_rows(table), 3);
    return table;
}

static char *printed(const struct cl_table *table, unsigned width, unsigned indent)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    cl_table_print(table, file, width, indent);
    fclose(file);
    return text;
}

START_TEST(test_a_table_without_a_limit_shows_everything)
{
    struct cl_table *table = example();
    char *text = printed(table, 0, 0);
    ck_assert_str_eq(text,
                     "RUN                   PHASE      TASK                          DURATION\n"
                     "r0000000000000000001  SUCCEEDED  compress-everything-in-sight     1.24s\n"
                     "short                 TIMED_OUT  -                               12.3ms\n"
                     "evil?[2J              FAILED     \xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2"
                     "\xe5\xad\x97                             -\n");
    free(text);
    cl_table_free(table);
}
END_TEST

START_TEST(test_no_line_is_wider_than_the_terminal)
{
    struct cl_table *table = example();
    for (unsigned width = 12; width < 100; width++) {
        for (unsigned indent = 0; indent <= 2; indent += 2) {
            char *text = printed(table, width, indent), *save = NULL;
            unsigned lines = 0;
            for (char *line = strtok_r(text, "\n", &save); line;
                 line = strtok_r(NULL, "\n", &save)) {
                lines++;
                ck_assert_msg(cl_text_width(line) <= width, "%u: '%s'", width, line);
                ck_assert(strncmp(line, "  ", indent) == 0);
            }
            ck_assert_uint_eq(lines, 4); /* a row is one line */
            free(text);
        }
    }
    cl_table_free(table);
}
END_TEST

START_TEST(test_narrow_tables_cut_first_and_drop_last)
{
    struct cl_table *table = example();
    char *text = printed(table, 64, 0);
    ck_assert_ptr_nonnull(strstr(text, "compress-everything-~")); /* the widest column is cut */
    ck_assert_ptr_nonnull(strstr(text, "r0000000000000000001"));
    free(text);
    text = printed(table, 30, 0);
    ck_assert_ptr_null(strstr(text, "TASK")); /* highest drop goes first */
    ck_assert_ptr_nonnull(strstr(text, "DURATION"));
    ck_assert_ptr_nonnull(strstr(text, "TIMED_OUT"));
    free(text);
    text = printed(table, 20, 0);
    ck_assert_ptr_null(strstr(text, "DURATION"));
    ck_assert_ptr_nonnull(strstr(text, "TIMED_OUT"));
    free(text);
    cl_table_free(table);
}
END_TEST

/* ---- progress ---- */

START_TEST(test_a_progress_line_fits)
{
    struct cl_progress_state state = {
        .label = "files", .done = 12345, .total = 100000, .failed = 3, .rate_per_s = 24810};
    char line[256];
    cl_progress_line(line, sizeof(line), 100, &state);
    ck_assert_ptr_nonnull(strstr(line, "files 12,345/100,000  12% [#"));
    ck_assert_ptr_nonnull(strstr(line, "3 failed  24,810/s  4s left"));
    for (unsigned width = 1; width < 200; width++) {
        cl_progress_line(line, sizeof(line), width, &state);
        ck_assert_uint_le(cl_text_width(line), width);
    }
    cl_progress_line(line, sizeof(line), 39, &state); /* whole parts, the most telling ones */
    ck_assert_str_eq(line, "12,345/100,000  12%  3 failed  4s left");
    state = (struct cl_progress_state){.label = "queueing", .done = 5};
    cl_progress_line(line, sizeof(line), 80, &state);
    ck_assert_str_eq(line, "queueing 5");
    state = (struct cl_progress_state){.label = "all", .done = 5, .total = 5};
    cl_progress_line(line, sizeof(line), 40, &state);
    ck_assert_ptr_nonnull(strstr(line, "100%"));
    ck_assert_ptr_null(strchr(line, '.')); /* the bar is full */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_nothing_harmful_reaches_a_terminal,
        test_widths,
        test_amounts,
        test_phases,
        test_a_table_without_a_limit_shows_everything,
        test_no_line_is_wider_than_the_terminal,
        test_narrow_tables_cut_first_and_drop_last,
        test_a_progress_line_fits,
        NULL,
    };
    return sy_test_run("cl_text", tests);
}
