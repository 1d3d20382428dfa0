#include "tools/src/sim_read.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "scheduler/labels.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const format_names[SIM_FORMATS] = {
    [SIM_FORMAT_CSV] = "csv",
    [SIM_FORMAT_JSONL] = "jsonl",
    [SIM_FORMAT_ALIBABA_2020] = "alibaba-2020",
    [SIM_FORMAT_ALIBABA_2023] = "alibaba-2023",
    [SIM_FORMAT_GOOGLE_2019] = "google-2019",
};

int sim_format_parse(const char *name, enum sim_format *ret)
{
    for (unsigned i = 0; i < SIM_FORMATS; i++) {
        if (strcmp(format_names[i], name) == 0) {
            *ret = (enum sim_format)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* ---- what the readers share ---- */

int sim_read_add(struct sim_rows *rows, struct sim_trace *trace, const struct sim_row *row,
                 struct sy_error_text *error)
{
    struct sy_error_text why;
    return sim_trace_add(trace, row, &why) < 0 ? sim_rows_complain(rows, &why, error) : 0;
}

bool sim_read_name(const struct sim_rows *rows, size_t column, char *ret, size_t size,
                   struct sy_error_text *why)
{
    size_t length = strlen(rows->fields[column]);
    if (length >= size) {
        sy_error_text_set(why, "%s '%.80s': at most %zu bytes", rows->columns[column].name,
                          rows->fields[column], size - 1);
        return false;
    }
    memset(ret, 0, size); /* requests and keys are compared byte by byte */
    memcpy(ret, rows->fields[column], length);
    return true;
}

/* ---- our own format ---- */

enum {
    ARRIVAL,
    DURATION,
    CPU,
    MEMORY,
    GPUS,
    MODEL,
    PROJECT,
    DOMAIN_NAME,
    QUEUE,
    PRIORITY,
    COUNT,
    GANG,
    TOPOLOGY,
    SLICE,
    LABELS,
    TOLERATIONS,
};

static const struct sim_column own_columns[] = {
    [ARRIVAL] = {"arrival_s", true},
    [DURATION] = {"duration_s", true},
    [CPU] = {"cpu", true},
    [MEMORY] = {"memory", false},
    [GPUS] = {"gpus", false},
    [MODEL] = {"gpu_model", false},
    [PROJECT] = {"project", false},
    [DOMAIN_NAME] = {"domain", false},
    [QUEUE] = {"queue", false},
    [PRIORITY] = {"priority", false},
    [COUNT] = {"count", false},
    [GANG] = {"gang", false},
    [TOPOLOGY] = {"topology", false},
    [SLICE] = {"gpu_slice", false},
    [LABELS] = {"labels", false},
    [TOLERATIONS] = {"tolerations", false},
};

static bool read_memory(const struct sim_rows *rows, uint64_t *ret, struct sy_error_text *why)
{
    int64_t bytes = 0;
    if (rows->fields[MEMORY][0] && (sy_parse_size(rows->fields[MEMORY], &bytes) < 0 || bytes < 0)) {
        sy_error_text_set(why, "memory '%s': expected a size such as 512MiB or 16GiB",
                          rows->fields[MEMORY]);
        return false;
    }
    *ret = (uint64_t)bytes;
    return true;
}

/* "gang": members, 0 or nothing: no gang; "topology": "prefer:rack", "require:rack". */
static bool read_gang(const struct sim_rows *rows, struct sch_gang_shape *ret,
                      struct sy_error_text *why)
{
    static const struct {
        const char *word;
        uint32_t topology;
    } words[] = {{"prefer:", SCH_TOPOLOGY_PREFER}, {"require:", SCH_TOPOLOGY_REQUIRE}};
    const char *text = rows->fields[TOPOLOGY], *key = "";
    uint32_t topology = SCH_TOPOLOGY_NONE;
    double members;
    if (!sim_rows_number(rows, GANG, 0, SCH_GANG_SIZE_MAX, 0, &members, why))
        return false;
    for (unsigned i = 0; i < SY_COUNT_OF(words); i++) {
        size_t length = strlen(words[i].word);
        if (strncmp(text, words[i].word, length) != 0 || !text[length])
            continue;
        topology = words[i].topology;
        key = text + length;
    }
    if (text[0] && (topology == SCH_TOPOLOGY_NONE || members == 0)) {
        sy_error_text_set(why, "topology '%.80s': expected prefer:LABEL or require:LABEL of a gang",
                          text);
        return false;
    }
    if (members != floor(members)) {
        sy_error_text_set(why, "gang '%s': a whole number of members", rows->fields[GANG]);
        return false;
    }
    return members == 0 || sch_gang_shape_init(ret, (uint64_t)members, topology, key,
                                               SCH_ON_LOSS_RESTART_ALL, why) == 0;
}

/* "gpus": whole ones, or a part of one; with "gpu_slice" slices of that profile. */
static bool read_gpus(const struct sim_rows *rows, struct sch_resources *ret,
                      struct sy_error_text *why)
{
    double gpus;
    if (!sim_rows_number(rows, GPUS, 0, SCH_GPUS_MAX, 0, &gpus, why) ||
        sch_request_set_gpus(ret, (uint64_t)llround(gpus * SCH_GPU_MILLI), why) < 0)
        return false;
    if (gpus > 0 && !sch_resources_has_gpu(ret)) {
        sy_error_text_set(why, "gpus '%s': at least 0.001", rows->fields[GPUS]);
        return false;
    }
    if (sch_resources_has_gpu(ret))
        return sch_request_set_device(ret, rows->fields[MODEL], rows->fields[SLICE], why) == 0;
    if (rows->fields[SLICE][0])
        sy_error_text_set(why, "gpu_slice '%.40s' without gpus", rows->fields[SLICE]);
    return !rows->fields[SLICE][0] &&
           sch_gpu_model_set(ret->gpu_model, rows->fields[MODEL], why) == 0;
}

static bool read_own_row(const struct sim_rows *rows, struct sim_row *ret,
                         struct sy_error_text *why)
{
    const double longest_s = (double)SIM_TIME_MAX_NS / 1e9;
    double arrival_s, duration_s, cpu, priority, count;
    *ret = (struct sim_row){0};
    if (!sim_rows_number(rows, ARRIVAL, 0, longest_s, 0, &arrival_s, why) ||
        !sim_rows_number(rows, DURATION, 0, longest_s, 0, &duration_s, why) ||
        !sim_rows_number(rows, CPU, 0, SCH_CPU_MILLI_MAX / 1e3, 0, &cpu, why) ||
        !sim_rows_number(rows, PRIORITY, -SIM_PRIORITY_MAX, SIM_PRIORITY_MAX, 0, &priority, why) ||
        !sim_rows_number(rows, COUNT, 1, SIM_TASKS_MAX, 1, &count, why) ||
        !read_memory(rows, &ret->request.memory_bytes, why) || !read_gang(rows, &ret->gang, why) ||
        !read_gpus(rows, &ret->request, why) ||
        sch_labels_parse(ret->request.labels, sizeof(ret->request.labels), rows->fields[LABELS],
                         why) < 0 ||
        sch_labels_parse(ret->request.tolerations, sizeof(ret->request.tolerations),
                         rows->fields[TOLERATIONS], why) < 0 ||
        !sim_read_name(rows, PROJECT, ret->key.project, sizeof(ret->key.project), why) ||
        !sim_read_name(rows, DOMAIN_NAME, ret->key.domain, sizeof(ret->key.domain), why) ||
        !sim_read_name(rows, QUEUE, ret->key.name, sizeof(ret->key.name), why))
        return false;
    if (!ret->key.project[0])
        snprintf(ret->key.project, sizeof(ret->key.project), "default");
    if (!ret->key.domain[0])
        snprintf(ret->key.domain, sizeof(ret->key.domain), "development");
    ret->arrival_ns = llround(arrival_s * 1e9);
    ret->duration_ns = llround(duration_s * 1e9);
    ret->request.cpu_milli = (uint32_t)llround(cpu * 1000);
    ret->priority = (int32_t)priority;
    ret->count = (uint32_t)count;
    if (ret->priority != priority || ret->count != count) {
        sy_error_text_set(why, "priority and count are whole numbers");
        return false;
    }
    return true;
}

int sim_read_own(struct sim_trace *trace, const char *path, bool json,
                 struct sim_complaints *complaints, struct sy_error_text *error)
{
    struct sim_rows rows;
    struct sim_row row;
    struct sy_error_text why;
    int r = sim_rows_open(&rows, path, json, true, own_columns, SY_COUNT_OF(own_columns),
                          complaints, error);
    while (r >= 0 && (r = sim_rows_next(&rows, error)) > 0) {
        if (read_own_row(&rows, &row, &why))
            r = sim_read_add(&rows, trace, &row, error);
        else
            r = sim_rows_complain(&rows, &why, error);
    }
    sim_rows_close(&rows);
    return r;
}

/* ---- all formats ---- */

static int read_format(struct sim_trace *trace, const char *path,
                       const struct sim_read_options *options, struct sim_complaints *complaints,
                       struct sy_error_text *error)
{
    switch (options->format) {
    case SIM_FORMAT_ALIBABA_2020:
        return sim_read_alibaba_2020(trace, path, options->instances, complaints, error);
    case SIM_FORMAT_ALIBABA_2023:
        return sim_read_alibaba_2023(trace, path, complaints, error);
    case SIM_FORMAT_GOOGLE_2019:
        return sim_read_google_2019(trace, path, &options->machine, complaints, error);
    case SIM_FORMAT_CSV:
    case SIM_FORMAT_JSONL:
    default:
        return sim_read_own(trace, path, options->format == SIM_FORMAT_JSONL, complaints, error);
    }
}

int sim_read(struct sim_trace *trace, const char *path, const struct sim_read_options *options,
             struct sim_complaints *complaints, struct sy_error_text *error)
{
    int r = read_format(trace, path, options, complaints, error);
    if (complaints->file && complaints->count > SIM_COMPLAINTS_SHOWN)
        fprintf(complaints->file, "%s: and %" PRIu64 " more rows that are not used\n", path,
                complaints->count - SIM_COMPLAINTS_SHOWN);
    if (r == 0 && trace->count == 0) {
        sy_error_text_set(error, "%s: no task in it", path);
        r = -EINVAL;
    }
    sim_trace_sort(trace);
    return r;
}
