/* links: cp */
#include "base/mem.h"
#include "controlplane/filter.h"
#include "controlplane/names.h"
#include "controlplane/ranges.h"
#include "controlplane/task_names.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

START_TEST(names_that_are_allowed)
{
    static const char *const good[] = {
        "a",
        "a0",
        "Run_1.2-x",
        "0",
        "...",
        ".a",
        "123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_int_eq(cp_name_check("name", good[i], NULL), 0);
}
END_TEST

START_TEST(names_that_are_refused)
{
    static const struct {
        const char *name, *says;
    } bad[] = {
        {"", "run_id.name: missing"},
        {NULL, "run_id.name: missing"},
        {"a/b", "only letters"},
        {".", "a name is not '.' or '..'"},
        {"..", "a name is not '.' or '..'"},
        {"a\nb", "only letters"},
        {"a b", "only letters"},
        {"\x7f", "only letters"},
        {"\xc3\xa9", "only letters"},
        {"1234567890123456789012345678901234567890123456789012345678901234", "64 characters"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sy_error_text error = {0};
        ck_assert_int_eq(cp_name_check("run_id.name", bad[i].name, &error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, "run_id.name"));
        ck_assert_msg(strstr(error.text, bad[i].says) != NULL, "%s", error.text);
        ck_assert_ptr_null(strchr(error.text, '\n'));
    }
}
END_TEST

START_TEST(texts)
{
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_text_check("reason", NULL, 3, &error), 0);
    ck_assert_int_eq(cp_text_check("reason", "", 0, &error), 0);
    ck_assert_int_eq(
        cp_text_check("reason", "a \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 64, &error), 0);
    ck_assert_int_eq(cp_text_check("reason", "abcd", 3, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "4 bytes, at most 3"));
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc0\xaf",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xff",
                                      "a\tb"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(cp_text_check("reason", bad[i], 64, &error) == -EINVAL, "case %zu", i);
}
END_TEST

START_TEST(texts_are_cleaned_in_place)
{
    char text[] = "ok \xc3\xa9 bad \xff\xe2\x82 end\xc3";
    cp_text_clean(text);
    ck_assert_str_eq(text, "ok \xc3\xa9 bad ??? end?");
    ck_assert_int_eq(cp_text_check("text", text, 64, NULL), 0);
}
END_TEST

START_TEST(a_request_id_gives_one_name)
{
    char a[CP_NAME_MADE_SIZE], b[CP_NAME_MADE_SIZE];
    cp_name_from_request(a, "p", "d", "3f1c", 0);
    cp_name_from_request(b, "p", "d", "3f1c", 0);
    ck_assert_str_eq(a, b);
    ck_assert_uint_le(strlen(a), 30);
    ck_assert_int_eq(cp_name_check("name", a, NULL), 0);
    /* Neither another id, nor another scope, nor a moved border between the two. */
    cp_name_from_request(b, "p", "d", "3f1d", 0);
    ck_assert_str_ne(a, b);
    cp_name_from_request(b, "q", "d", "3f1c", 0);
    ck_assert_str_ne(a, b);
    cp_name_from_request(b, "pd", "", "3f1c", 0);
    ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(made_names_differ)
{
    struct sy_rng rng;
    sy_rng_init(&rng, 7);
    char a[CP_NAME_MADE_SIZE], b[CP_NAME_MADE_SIZE];
    cp_name_random(a, &rng);
    cp_name_random(b, &rng);
    ck_assert_str_ne(a, b);
    ck_assert_uint_eq(strlen(a), CP_NAME_MADE_SIZE - 1);
    ck_assert_int_eq(cp_name_check("name", a, NULL), 0);
}
END_TEST

START_TEST(partitions_share_runs_evenly)
{
    unsigned counts[7] = {0};
    for (int i = 0; i < 7000; i++) {
        char run[16];
        snprintf(run, sizeof(run), "run-%d", i);
        uint32_t at = cp_range_even_of(cp_name_hash("p", "d", run), 7);
        ck_assert_uint_lt(at, 7);
        ck_assert_uint_eq(at, cp_range_even_of(cp_name_hash("p", "d", run), 7));
        counts[at]++;
        ck_assert_uint_eq(cp_range_even_of(cp_name_hash("p", "d", run), 1), 0);
    }
    for (int i = 0; i < 7; i++)
        ck_assert_msg(counts[i] > 850 && counts[i] < 1150, "partition %d: %u", i, counts[i]);
}
END_TEST

/* ---- filters ---- */

static const uint32_t fields = CP_FILTER_BIT(PHASE) | CP_FILTER_BIT(NAME) |
                               CP_FILTER_BIT(TASK_NAME) | CP_FILTER_BIT(CREATED_AT) |
                               CP_FILTER_BIT(LABEL);
static const struct cp_list_rules rules = {.fields = fields};

static bool matches(const struct cp_filters *filters, const char *name, const char *task_name,
                    Switchyard__V1__Phase phase)
{
    struct cp_filter_subject subject = {
        .phase = phase, .texts = {[CP_FILTER_NAME] = name, [CP_FILTER_TASK_NAME] = task_name}};
    return cp_filters_match(filters, &subject);
}

static struct cp_filters read_one(const char *field, Flyteidl2__Common__Filter__Function function,
                                  char **values, size_t count, int expect)
{
    Flyteidl2__Common__Filter filter;
    Flyteidl2__Common__Filter *filters[] = {&filter};
    struct cp_filters ret;
    struct sy_error_text error = {0};
    flyteidl2__common__filter__init(&filter);
    filter.field = (char *)(uintptr_t)field;
    filter.function = function;
    filter.values = values;
    filter.n_values = count;
    int r = cp_filters_read(&ret, fields, filters, 1, &error);
    ck_assert_msg(r == expect, "%s", error.text);
    ck_assert_int_eq(error.text[0] != '\0', expect < 0);
    return ret;
}
#define FUNCTION(name) FLYTEIDL2__COMMON__FILTER__FUNCTION__##name
#define PHASE(name) SWITCHYARD__V1__PHASE__PHASE_##name

START_TEST(filters_on_phase)
{
    char five[] = "5", six[] = "6";
    char *values[] = {five, six};
    struct cp_filters f = read_one("phase", FUNCTION(VALUE_IN), values, 2, 0);
    ck_assert(matches(&f, "x", "t", PHASE(SUCCEEDED)));
    ck_assert(matches(&f, "x", "t", PHASE(FAILED)));
    ck_assert(!matches(&f, "x", "t", PHASE(RUNNING)));
    f = read_one("phase", FUNCTION(NOT_EQUAL), values, 1, 0);
    ck_assert(!matches(&f, "x", "t", PHASE(SUCCEEDED)));
    ck_assert(matches(&f, "x", "t", PHASE(RUNNING)));
}
END_TEST

START_TEST(filters_on_text)
{
    char value[] = "ab";
    char *values[] = {value};
    struct cp_filters f = read_one("name", FUNCTION(EQUAL), values, 1, 0);
    ck_assert(matches(&f, "ab", "t", PHASE(QUEUED)));
    ck_assert(!matches(&f, "abc", "ab", PHASE(QUEUED)));
    f = read_one("task_name", FUNCTION(CONTAINS), values, 1, 0);
    ck_assert(matches(&f, "x", "1abc", PHASE(QUEUED)));
    ck_assert(!matches(&f, "ab", "1Abc", PHASE(QUEUED)));
    f = read_one("task_name", FUNCTION(CONTAINS_CASE_INSENSITIVE), values, 1, 0);
    ck_assert(matches(&f, "x", "1Abc", PHASE(QUEUED)));
    f = read_one("name", FUNCTION(ENDS_WITH), values, 1, 0);
    ck_assert(matches(&f, "xab", "t", PHASE(QUEUED)));
    ck_assert(!matches(&f, "b", "t", PHASE(QUEUED)));
    f = read_one("name", FUNCTION(NOT_ENDS_WITH), values, 1, 0);
    ck_assert(!matches(&f, "xab", "t", PHASE(QUEUED)));
}
END_TEST

START_TEST(filters_on_time)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"2026-11-20T10:00:00+00:00", 1795168800000000000},
        {"2026-11-20T10:00:00Z", 1795168800000000000},
        {"2026-11-20", 1795132800000000000},
        {"2026-11-20T10:00:00.250001+00:00", 1795168800250001000},
        {"2026-11-20T10:00:00+01:30", 1795163400000000000},
        {"2026-11-20T10:00:00-01:00", 1795172400000000000},
    };
    static const char *const bad[] = {
        "", "5", "2026-13-01", "2026-11-20T10:00:00+1", "2026-11-20T10:00:00Zx", "2026-11-20T10"};
    int64_t ns;
    for (size_t i = 0; i < SY_COUNT_OF(good); i++) {
        ck_assert_int_eq(cp_filter_time(good[i].text, &ns), 0);
        ck_assert_int_eq(ns, good[i].ns);
    }
    for (size_t i = 0; i < SY_COUNT_OF(bad); i++)
        ck_assert_int_eq(cp_filter_time(bad[i], &ns), -EINVAL);
    char text[] = "2026-11-20T10:00:00Z";
    char *values[] = {text};
    struct cp_filter_subject subject = {.created_ns = good[0].ns};
    static const struct {
        Flyteidl2__Common__Filter__Function function;
        bool before, equal, after;
    } functions[] = {
        {FUNCTION(LESS_THAN), true, false, false},
        {FUNCTION(LESS_THAN_OR_EQUAL), true, true, false},
        {FUNCTION(GREATER_THAN), false, false, true},
        {FUNCTION(GREATER_THAN_OR_EQUAL), false, true, true},
    };
    for (size_t i = 0; i < SY_COUNT_OF(functions); i++) {
        struct cp_filters f = read_one("created_at", functions[i].function, values, 1, 0);
        subject.created_ns = good[0].ns - 1;
        ck_assert_int_eq(cp_filters_match(&f, &subject), functions[i].before);
        subject.created_ns = good[0].ns;
        ck_assert_int_eq(cp_filters_match(&f, &subject), functions[i].equal);
        subject.created_ns = good[0].ns + 1;
        ck_assert_int_eq(cp_filters_match(&f, &subject), functions[i].after);
    }
}
END_TEST

static const char *one_label(const void *ctx, const char *key)
{
    (void)ctx;
    return strcmp(key, "team") == 0 ? "ml" : NULL;
}

START_TEST(filters_on_labels)
{
    char ml[] = "ml", empty[] = "";
    char *values[] = {ml}, *nothing[] = {empty};
    struct cp_filter_subject with = {.label = one_label}, without = {0};
    struct cp_filters f = read_one("labels.team", FUNCTION(EQUAL), values, 1, 0);
    ck_assert(cp_filters_match(&f, &with) && !cp_filters_match(&f, &without));
    f = read_one("labels.team", FUNCTION(EQUAL), nothing, 1, 0); /* not the same as no label */
    ck_assert(!cp_filters_match(&f, &with) && !cp_filters_match(&f, &without));
    f = read_one("labels.team", FUNCTION(EXISTS), NULL, 0, 0);
    ck_assert(cp_filters_match(&f, &with) && !cp_filters_match(&f, &without));
    f = read_one("labels.other", FUNCTION(NOT_EXISTS), NULL, 0, 0);
    ck_assert(cp_filters_match(&f, &with) && cp_filters_match(&f, &without));
}
END_TEST

START_TEST(filters_that_are_refused)
{
    char value[] = "5", word[] = "running", large[] = "32";
    char *values[] = {value}, *words[] = {word}, *numbers[] = {large};
    read_one("created_at", FUNCTION(LESS_THAN), values, 1, -EINVAL);
    read_one("updated_at", FUNCTION(EQUAL), values, 1, -EINVAL);
    read_one("labels.x", FUNCTION(GREATER_THAN), values, 1, -EINVAL);
    read_one("labels.", FUNCTION(EQUAL), values, 1, -EINVAL);
    read_one("phase", FUNCTION(CONTAINS), values, 1, -EINVAL);
    read_one("name", FUNCTION(GREATER_THAN), values, 1, -EINVAL);
    read_one("name", FUNCTION(EQUAL), values, 0, -EINVAL);
    read_one("phase", FUNCTION(EQUAL), words, 1, -EINVAL);
    read_one("phase", FUNCTION(EQUAL), numbers, 1, -EINVAL);
}
END_TEST

START_TEST(list_options)
{
    struct cp_list_options options;
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_list_options_read(&options, &rules, NULL, &error), 0);
    ck_assert_uint_eq(options.limit, 100);
    ck_assert_str_eq(options.token, "");
    Flyteidl2__Common__ListRequest request = FLYTEIDL2__COMMON__LIST_REQUEST__INIT;
    Flyteidl2__Common__Sort sort = FLYTEIDL2__COMMON__SORT__INIT;
    request.limit = 5000;
    request.sort_by = &sort;
    char created_at[] = "created_at", other[] = "phase";
    sort.key = created_at;
    sort.direction = FLYTEIDL2__COMMON__SORT__DIRECTION__ASCENDING;
    ck_assert_int_eq(cp_list_options_read(&options, &rules, &request, &error), 0);
    ck_assert_uint_eq(options.limit, 1000);
    ck_assert(options.sorted && options.ascending);
    sort.key = other;
    ck_assert_int_eq(cp_list_options_read(&options, &rules, &request, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "phase"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {names_that_are_allowed,
                                  names_that_are_refused,
                                  texts,
                                  texts_are_cleaned_in_place,
                                  a_request_id_gives_one_name,
                                  made_names_differ,
                                  partitions_share_runs_evenly,
                                  filters_on_phase,
                                  filters_on_text,
                                  filters_on_time,
                                  filters_on_labels,
                                  filters_that_are_refused,
                                  list_options,
                                  NULL};
    return sy_test_run("cp_names", tests);
}
