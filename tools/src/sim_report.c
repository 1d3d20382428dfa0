#include "tools/src/sim_report.h"

#include "base/mem.h"
#include "tools/src/cl_json.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"

#include <math.h>
#include <string.h>

static struct cl_short percent(double part)
{
    struct cl_short ret;
    snprintf(ret.text, sizeof(ret.text), "%.1f", part * 100);
    return ret;
}

/* Of what was out while queues competed: nothing to tell when they never did. */
static struct cl_short share(const struct sim_queue_result *queue, double part)
{
    return queue->got > 0 || queue->entitled > 0 ? percent(part) : (struct cl_short){""};
}

static struct cl_short money(double amount)
{
    struct cl_short ret;
    snprintf(ret.text, sizeof(ret.text), "%.2f", amount);
    return ret;
}

static struct cl_short duration(double seconds)
{
    return cl_format_duration(llround(seconds * 1e9));
}

/* ---- tables ---- */

static const struct cl_column queue_columns[] = {
    {"QUEUE", false, 12, 0},    {"RUN", false, 8, 0},      {"TASKS", true, 0, 0},
    {"MEAN WAIT", true, 0, 0},  {"P50", true, 0, 5},       {"P90", true, 0, 4},
    {"P99", true, 0, 0},        {"MAX", true, 0, 3},       {"SHARE %", true, 0, 0},
    {"ENTITLED %", true, 0, 0}, {"PREEMPTED", true, 0, 2}, {"RECLAIMED", true, 0, 1},
    {"REFUSED", true, 0, 1},    {"UNPLACED", true, 0, 0},
};

#define NAMES 2u /* columns that are no figures */

/* A row: two names, then figures. */
static void add_row(struct cl_table *table, const char *name, const char *run,
                    const struct cl_short *figures, size_t count)
{
    const char *cells[SY_COUNT_OF(queue_columns)] = {name, run};
    SY_ASSERT(NAMES + count <= SY_COUNT_OF(cells));
    for (size_t i = 0; i < count; i++)
        cells[NAMES + i] = figures[i].text;
    cl_table_add(table, cells);
}

static void add_queue(struct cl_table *table, const struct sim_queue_result *queue, const char *run)
{
    const struct sim_waits *waits = &queue->waits;
    const struct cl_short figures[] = {cl_format_count(queue->tasks),
                                       duration(waits->mean),
                                       duration(sim_quantile(waits, 0.5)),
                                       duration(sim_quantile(waits, 0.9)),
                                       duration(sim_quantile(waits, 0.99)),
                                       duration(sim_quantile(waits, 1)),
                                       share(queue, queue->got),
                                       share(queue, queue->entitled),
                                       cl_format_count(queue->preempted),
                                       cl_format_count(queue->reclaimed),
                                       cl_format_count(queue->refused),
                                       cl_format_count(queue->gave_up + queue->unplaced)};
    _Static_assert(NAMES + SY_COUNT_OF(figures) == SY_COUNT_OF(queue_columns), "one each");
    add_row(table, queue->name, run, figures, SY_COUNT_OF(figures));
}

static void print_queues(const struct sim_variant *variants, size_t count, FILE *file,
                         unsigned width)
{
    struct cl_table *table = cl_table_new(queue_columns, SY_COUNT_OF(queue_columns));
    size_t queues = variants[0].result->queue_count;
    for (size_t q = 0; queues > 1 && q < queues; q++) {
        for (size_t v = 0; v < count; v++)
            add_queue(table, &variants[v].result->queues[q], variants[v].name);
    }
    for (size_t v = 0; v < count; v++)
        add_queue(table, &variants[v].result->total, variants[v].name);
    for (size_t v = 0; v < count; v++) {
        if (variants[v].result->gangs.tasks > 0)
            add_queue(table, &variants[v].result->gangs, variants[v].name);
    }
    cl_table_print(table, file, width, 0);
    cl_table_free(table);
}

static const struct cl_column cluster_columns[] = {
    {"CLUSTER", false, 12, 0}, {"RUN", false, 8, 0},         {"CORES", true, 0, 2},
    {"GPUS", true, 0, 1},      {"CPU %", true, 0, 0},        {"MEMORY %", true, 0, 0},
    {"GPU %", true, 0, 0},     {"FRAGMENTED %", true, 0, 0}, {"COST", true, 0, 3},
    {"LAST END", true, 0, 0},
};

static void add_cluster(struct cl_table *table, const struct sim_cluster_result *cluster,
                        const struct sim_variant *variant)
{
    const struct cl_short none = {""};
    const struct cl_short figures[] = {cl_format_count((uint64_t)cluster->cores),
                                       cl_format_count((uint64_t)cluster->gpus),
                                       percent(cluster->cpu),
                                       percent(cluster->memory),
                                       cluster->gpus > 0 ? percent(cluster->gpu) : none,
                                       percent(cluster->fragmentation),
                                       cluster->cost > 0 ? money(cluster->cost) : none,
                                       duration(variant->result->last_end_s)};
    _Static_assert(NAMES + SY_COUNT_OF(figures) == SY_COUNT_OF(cluster_columns), "one each");
    add_row(table, cluster->name, variant->name, figures, SY_COUNT_OF(figures));
}

/* Regions that are compared may have other clusters. */
static void print_clusters(const struct sim_variant *variants, size_t count, FILE *file,
                           unsigned width)
{
    struct cl_table *table = cl_table_new(cluster_columns, SY_COUNT_OF(cluster_columns));
    size_t most = 0;
    for (size_t v = 0; v < count; v++)
        most = variants[v].result->cluster_count > most ? variants[v].result->cluster_count : most;
    for (size_t c = 0; most > 1 && c < most; c++) {
        for (size_t v = 0; v < count; v++) {
            if (c < variants[v].result->cluster_count)
                add_cluster(table, &variants[v].result->clusters[c], &variants[v]);
        }
    }
    for (size_t v = 0; v < count; v++)
        add_cluster(table, &variants[v].result->all, &variants[v]);
    cl_table_print(table, file, width, 0);
    cl_table_free(table);
}

void sim_report_tables(const struct sim_variant *variants, size_t count, FILE *file, unsigned width)
{
    print_queues(variants, count, file, width);
    fputc('\n', file);
    print_clusters(variants, count, file, width);
    for (size_t v = 0; v < count; v++) {
        if (variants[v].result->refusal[0])
            fprintf(file, "\n%s refused some, the first because: %s\n", variants[v].name,
                    variants[v].result->refusal);
    }
}

/* ---- JSON ---- */

static json_t *queue_json(const struct sim_queue_result *queue)
{
    json_t *object = json_object();
    cl_json_str(object, "name", queue->name);
    cl_json_int(object, "tasks", (int64_t)queue->tasks);
    cl_json_int(object, "started", (int64_t)queue->waits.count);
    cl_json_int(object, "refused", (int64_t)queue->refused);
    cl_json_int(object, "timed_out", (int64_t)queue->gave_up);
    cl_json_int(object, "unplaced", (int64_t)queue->unplaced);
    cl_json_int(object, "preempted", (int64_t)queue->preempted);
    cl_json_int(object, "reclaimed", (int64_t)queue->reclaimed);
    cl_json_real(object, "wait_mean_s", queue->waits.mean);
    cl_json_real(object, "wait_p50_s", sim_quantile(&queue->waits, 0.5));
    cl_json_real(object, "wait_p90_s", sim_quantile(&queue->waits, 0.9));
    cl_json_real(object, "wait_p99_s", sim_quantile(&queue->waits, 0.99));
    cl_json_real(object, "wait_max_s", sim_quantile(&queue->waits, 1));
    cl_json_real(object, "share", queue->got);
    cl_json_real(object, "entitled", queue->entitled);
    return object;
}

static json_t *cluster_json(const struct sim_cluster_result *cluster)
{
    json_t *object = json_object();
    cl_json_str(object, "name", cluster->name);
    cl_json_real(object, "cores", cluster->cores);
    cl_json_real(object, "memory_bytes", cluster->memory_bytes);
    cl_json_real(object, "gpus", cluster->gpus);
    cl_json_real(object, "cpu", cluster->cpu);
    cl_json_real(object, "memory", cluster->memory);
    cl_json_real(object, "gpu", cluster->gpu);
    cl_json_real(object, "fragmentation", cluster->fragmentation);
    cl_json_real(object, "cost", cluster->cost);
    return object;
}

static json_t *run_json(const struct sim_variant *variant)
{
    const struct sim_result *result = variant->result;
    json_t *object = json_object(), *queues = json_array(), *clusters = json_array();
    for (size_t i = 0; i < result->queue_count; i++)
        json_array_append_new(queues, queue_json(&result->queues[i]));
    for (size_t i = 0; i < result->cluster_count; i++)
        json_array_append_new(clusters, cluster_json(&result->clusters[i]));
    cl_json_str(object, "name", variant->name);
    cl_json_real(object, "last_end_s", result->last_end_s);
    cl_json_str(object, "first_refusal", result->refusal);
    cl_json_set(object, "all", queue_json(&result->total));
    if (result->gangs.tasks > 0)
        cl_json_set(object, "gangs", queue_json(&result->gangs));
    cl_json_set(object, "region", cluster_json(&result->all));
    cl_json_set(object, "queues", queues);
    cl_json_set(object, "clusters", clusters);
    return object;
}

void sim_report_json(const struct sim_variant *variants, size_t count, FILE *file)
{
    json_t *document = json_object(), *runs = json_array();
    for (size_t v = 0; v < count; v++)
        json_array_append_new(runs, run_json(&variants[v]));
    cl_json_set(document, "runs", runs);
    cl_json_document(document, file);
}
