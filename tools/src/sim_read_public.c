/* Public cluster traces: what of their columns is taken, and how it is read. */
#include "tools/src/sim_read.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GIB 1073741824.0
#define MIB 1048576.0
#define SECONDS_MAX 1e9 /* of time stamps; only differences matter */

/* Cells that publishers write for nothing. */
static bool absent(const char *text)
{
    return !*text || strcmp(text, "nan") == 0 || strcmp(text, "NaN") == 0;
}

static void place(struct sim_row *row, const char *project, const char *domain)
{
    snprintf(row->key.project, sizeof(row->key.project), "%s", project);
    snprintf(row->key.domain, sizeof(row->key.domain), "%s", domain);
    row->count = 1;
}

/* A span of time that ended. */
static bool read_span(const struct sim_rows *rows, size_t start, size_t end, struct sim_row *ret,
                      struct sy_error_text *why)
{
    double start_s, end_s;
    if (absent(rows->fields[start]) || absent(rows->fields[end])) {
        sy_error_text_set(why, "it has no %s: how long it ran is not known",
                          rows->columns[absent(rows->fields[start]) ? start : end].name);
        return false;
    }
    if (!sim_rows_number(rows, start, 0, SECONDS_MAX, 0, &start_s, why) ||
        !sim_rows_number(rows, end, start_s, SECONDS_MAX, 0, &end_s, why))
        return false;
    ret->arrival_ns = llround(start_s * 1e9);
    ret->duration_ns = llround((end_s - start_s) * 1e9);
    return true;
}

/* ---- Alibaba 2020 (PAI): tasks, and optionally their instances ---- */

enum { JOB, TASK, INSTANCES, STATUS, START, END, PLAN_CPU, PLAN_MEM, PLAN_GPU, GPU_TYPE };

static const struct sim_column task_columns[] = {
    [JOB] = {"job_name", true},       [TASK] = {"task_name", true},
    [INSTANCES] = {"inst_num", true}, [STATUS] = {"status", true},
    [START] = {"start_time", true},   [END] = {"end_time", true},
    [PLAN_CPU] = {"plan_cpu", true},  [PLAN_MEM] = {"plan_mem", true},
    [PLAN_GPU] = {"plan_gpu", true},  [GPU_TYPE] = {"gpu_type", true},
};

enum { INST_JOB, INST_TASK, INST_NAME, INST_WORKER, INST_ID, INST_STATUS, INST_START, INST_END };

static const struct sim_column instance_columns[] = {
    [INST_JOB] = {"job_name", true},     [INST_TASK] = {"task_name", true},
    [INST_NAME] = {"inst_name", true},   [INST_WORKER] = {"worker_name", true},
    [INST_ID] = {"inst_id", true},       [INST_STATUS] = {"status", true},
    [INST_START] = {"start_time", true}, [INST_END] = {"end_time", true},
};

/* A row of the task table, until its instances are read. */
struct plan {
    struct sim_row row;
    struct sy_map_link link;
    char key[]; /* job and task */
};

static void join_key(const struct sim_rows *rows, size_t job, size_t task, char *ret, size_t size)
{
    snprintf(ret, size, "%s\t%s", rows->fields[job], rows->fields[task]);
}

/* A part of one, or whole ones: of more than one and a part that many more. */
static void set_gpus(struct sch_resources *request, double gpus)
{
    bool part = gpus < 1 && llround(gpus * SCH_GPU_MILLI) < SCH_GPU_MILLI;
    request->gpu_milli = part ? (uint32_t)llround(gpus * SCH_GPU_MILLI) : 0;
    request->gpus = part ? 0 : (uint32_t)ceil(gpus);
}

/* Percents of a core and of a GPU, GB of memory. */
static bool read_plan(const struct sim_rows *rows, struct sim_row *ret, struct sy_error_text *why)
{
    double cpu, memory, gpu, instances;
    *ret = (struct sim_row){0};
    place(ret, "pai", "production");
    const double cpu_max = SCH_CPU_MILLI_MAX / 10.0, gpu_max = SCH_GPUS_MAX * 100.0;
    if (!sim_rows_number(rows, PLAN_CPU, 0, cpu_max, 0, &cpu, why) ||
        !sim_rows_number(rows, PLAN_MEM, 0, (double)SCH_MEMORY_BYTES_MAX / GIB, 0, &memory, why) ||
        !sim_rows_number(rows, PLAN_GPU, 0, gpu_max, 0, &gpu, why) ||
        !sim_rows_number(rows, INSTANCES, 1, SIM_TASKS_MAX, 1, &instances, why))
        return false;
    ret->request.cpu_milli = (uint32_t)llround(cpu * 10);
    ret->request.memory_bytes = (uint64_t)llround(memory * GIB);
    set_gpus(&ret->request, gpu / 100);
    ret->count = (uint32_t)instances;
    if (!sch_resources_has_gpu(&ret->request) || absent(rows->fields[GPU_TYPE]) ||
        strcmp(rows->fields[GPU_TYPE], "MISC") == 0)
        return true;
    return sch_gpu_model_set(ret->request.gpu_model, rows->fields[GPU_TYPE], why) == 0;
}

static void keep_plan(const struct sim_rows *rows, const struct sim_row *row, struct sy_map *plans)
{
    char key[1024];
    join_key(rows, JOB, TASK, key, sizeof(key));
    size_t size = strlen(key) + 1;
    if (sy_map_find(plans, key, size))
        return; /* the first one counts */
    struct plan *plan = sy_calloc(1, sizeof(*plan) + size);
    plan->row = *row;
    memcpy(plan->key, key, size);
    sy_map_add(plans, &plan->link, plan->key, size);
}

/* Into the trace, or into `plans` when the instances come from a table of their own. */
static int read_tasks(struct sim_trace *trace, const char *path, struct sy_map *plans,
                      struct sim_complaints *complaints, struct sy_error_text *error)
{
    struct sim_rows rows;
    struct sim_row row;
    struct sy_error_text why;
    int r = sim_rows_open(&rows, path, false, false, task_columns, SY_COUNT_OF(task_columns),
                          complaints, error);
    while (r >= 0 && (r = sim_rows_next(&rows, error)) > 0) {
        bool good = read_plan(&rows, &row, &why) &&
                    (plans || read_span(&rows, START, END, &row, &why));
        if (!good)
            r = sim_rows_complain(&rows, &why, error);
        else if (plans)
            keep_plan(&rows, &row, plans);
        else
            r = sim_read_add(&rows, trace, &row, error);
    }
    sim_rows_close(&rows);
    return r;
}

static bool read_instance(const struct sim_rows *rows, const struct sy_map *plans,
                          struct sim_row *ret, struct sy_error_text *why)
{
    char key[1024];
    join_key(rows, INST_JOB, INST_TASK, key, sizeof(key));
    const struct plan *plan = sy_map_entry(sy_map_find(plans, key, strlen(key) + 1), struct plan,
                                           link);
    if (!plan) {
        sy_error_text_set(why, "the task table has no task '%.80s' of job '%.80s'",
                          rows->fields[INST_TASK], rows->fields[INST_JOB]);
        return false;
    }
    *ret = plan->row;
    ret->count = 1;
    return read_span(rows, INST_START, INST_END, ret, why);
}

static int read_instances(struct sim_trace *trace, const char *path, const struct sy_map *plans,
                          struct sim_complaints *complaints, struct sy_error_text *error)
{
    struct sim_rows rows;
    struct sim_row row;
    struct sy_error_text why;
    int r = sim_rows_open(&rows, path, false, false, instance_columns,
                          SY_COUNT_OF(instance_columns), complaints, error);
    while (r >= 0 && (r = sim_rows_next(&rows, error)) > 0) {
        if (read_instance(&rows, plans, &row, &why))
            r = sim_read_add(&rows, trace, &row, error);
        else
            r = sim_rows_complain(&rows, &why, error);
    }
    sim_rows_close(&rows);
    return r;
}

int sim_read_alibaba_2020(struct sim_trace *trace, const char *path, const char *instances,
                          struct sim_complaints *complaints, struct sy_error_text *error)
{
    struct sy_map plans = {0};
    int r = read_tasks(trace, path, instances ? &plans : NULL, complaints, error);
    if (r >= 0 && instances)
        r = read_instances(trace, instances, &plans, complaints, error);
    SY_MAP_EACH(&plans, at, next)
    free(sy_map_entry(at, struct plan, link));
    sy_map_deinit(&plans);
    return r;
}

/* ---- Alibaba 2023 (openb) ---- */

enum {
    POD_CPU,
    POD_MEMORY,
    POD_GPUS,
    POD_GPU_MILLI,
    POD_SPEC,
    POD_QOS,
    POD_CREATED,
    POD_DELETED,
    POD_SCHEDULED
};

static const struct sim_column pod_columns[] = {
    [POD_CPU] = {"cpu_milli", true},
    [POD_MEMORY] = {"memory_mib", true},
    [POD_GPUS] = {"num_gpu", true},
    [POD_GPU_MILLI] = {"gpu_milli", false},
    [POD_SPEC] = {"gpu_spec", false},
    [POD_QOS] = {"qos", true},
    [POD_CREATED] = {"creation_time", true},
    [POD_DELETED] = {"deletion_time", true},
    [POD_SCHEDULED] = {"scheduled_time", true},
};

/* Arrives when created, runs from scheduled to deleted. `gpu_milli` is of each of its GPUs: of a
 * single one it may be a part. */
static bool read_pod(const struct sim_rows *rows, struct sim_row *ret, struct sy_error_text *why)
{
    double cpu, memory, gpus, gpu_milli, created_s;
    *ret = (struct sim_row){0};
    place(ret, "openb", "production");
    if (!sim_rows_number(rows, POD_CPU, 0, SCH_CPU_MILLI_MAX, 0, &cpu, why) ||
        !sim_rows_number(rows, POD_MEMORY, 0, (double)SCH_MEMORY_BYTES_MAX / MIB, 0, &memory,
                         why) ||
        !sim_rows_number(rows, POD_GPUS, 0, SCH_GPUS_MAX, 0, &gpus, why) ||
        !sim_rows_number(rows, POD_GPU_MILLI, 0, SCH_GPU_MILLI, SCH_GPU_MILLI, &gpu_milli, why) ||
        !sim_rows_number(rows, POD_CREATED, 0, SECONDS_MAX, 0, &created_s, why) ||
        !read_span(rows, POD_SCHEDULED, POD_DELETED, ret, why) ||
        !sim_read_name(rows, POD_QOS, ret->key.project, sizeof(ret->key.project), why))
        return false;
    ret->arrival_ns = llround(created_s * 1e9);
    ret->request.cpu_milli = (uint32_t)cpu;
    ret->request.memory_bytes = (uint64_t)(memory * MIB);
    set_gpus(&ret->request, gpus == 1 ? gpu_milli / SCH_GPU_MILLI : gpus);
    /* A choice of models is any model: a request names one. */
    if (!sch_resources_has_gpu(&ret->request) || absent(rows->fields[POD_SPEC]) ||
        strchr(rows->fields[POD_SPEC], '|'))
        return true;
    return sch_gpu_model_set(ret->request.gpu_model, rows->fields[POD_SPEC], why) == 0;
}

int sim_read_alibaba_2023(struct sim_trace *trace, const char *path,
                          struct sim_complaints *complaints, struct sy_error_text *error)
{
    struct sim_rows rows;
    struct sim_row row;
    struct sy_error_text why;
    int r = sim_rows_open(&rows, path, false, true, pod_columns, SY_COUNT_OF(pod_columns),
                          complaints, error);
    while (r >= 0 && (r = sim_rows_next(&rows, error)) > 0) {
        if (read_pod(&rows, &row, &why))
            r = sim_read_add(&rows, trace, &row, error);
        else
            r = sim_rows_complain(&rows, &why, error);
    }
    sim_rows_close(&rows);
    return r;
}

/* ---- Google 2019: instance events ---- */

enum {
    TIME,
    TYPE,
    COLLECTION,
    COLLECTION_TYPE,
    INSTANCE,
    GOOGLE_PRIORITY,
    CPUS,
    CPUS_FLAT,
    MEMORY,
    MEMORY_FLAT,
};

static const struct sim_column event_columns[] = {
    [TIME] = {"time", true},
    [TYPE] = {"type", true},
    [COLLECTION] = {"collection_id", true},
    [COLLECTION_TYPE] = {"collection_type", false},
    [INSTANCE] = {"instance_index", true},
    [GOOGLE_PRIORITY] = {"priority", true},
    [CPUS] = {"resource_request.cpus", false},
    [CPUS_FLAT] = {"resource_request_cpus", false},
    [MEMORY] = {"resource_request.memory", false},
    [MEMORY_FLAT] = {"resource_request_memory", false},
};

/* In the order of their numbers. */
static const char *const event_names[] = {"SUBMIT", "QUEUE",          "ENABLE",        "SCHEDULE",
                                          "EVICT",  "FAIL",           "FINISH",        "KILL",
                                          "LOST",   "UPDATE_PENDING", "UPDATE_RUNNING"};
enum { EVENT_SUBMIT = 0, EVENT_SCHEDULE = 3, EVENT_EVICT = 4, EVENT_LOST = 8 };

/* An instance between its submission and its end. */
struct instance {
    struct sim_row row;
    int64_t scheduled_ns; /* 0: it does not run */
    bool submitted;
    struct sy_map_link link;
    char key[];
};

static int event_type(const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (end != text && !*end)
        return number >= 0 && number < (long)SY_COUNT_OF(event_names) ? (int)number : -1;
    for (size_t i = 0; i < SY_COUNT_OF(event_names); i++) {
        if (strcmp(event_names[i], text) == 0)
            return (int)i;
    }
    return -1;
}

static struct instance *find_instance(const struct sim_rows *rows, struct sy_map *instances)
{
    char key[256];
    snprintf(key, sizeof(key), "%s %s", rows->fields[COLLECTION], rows->fields[INSTANCE]);
    size_t size = strlen(key) + 1;
    struct sy_map_link *found = sy_map_find(instances, key, size);
    if (found)
        return sy_map_entry(found, struct instance, link);
    struct instance *instance = sy_calloc(1, sizeof(*instance) + size);
    memcpy(instance->key, key, size);
    sy_map_add(instances, &instance->link, instance->key, size);
    return instance;
}

static bool read_request(const struct sim_rows *rows, const struct sch_resources *machine,
                         struct sim_row *ret, struct sy_error_text *why)
{
    double cpus, memory, priority;
    size_t cpus_at = *rows->fields[CPUS] ? CPUS : CPUS_FLAT;
    size_t memory_at = *rows->fields[MEMORY] ? MEMORY : MEMORY_FLAT;
    if (!sim_rows_number(rows, cpus_at, 0, 1, 0, &cpus, why) ||
        !sim_rows_number(rows, memory_at, 0, 1, 0, &memory, why) ||
        !sim_rows_number(rows, GOOGLE_PRIORITY, 0, SIM_PRIORITY_MAX, 0, &priority, why))
        return false;
    *ret = (struct sim_row){.priority = (int32_t)priority};
    place(ret, "borg", "production");
    ret->request.cpu_milli = (uint32_t)llround(cpus * machine->cpu_milli);
    ret->request.memory_bytes = (uint64_t)(memory * (double)machine->memory_bytes);
    return true;
}

/* Arrives when submitted, runs for its last stretch on a machine. */
static int apply_event(struct sim_rows *rows, struct sim_trace *trace, struct sy_map *instances,
                       const struct sch_resources *machine, struct sy_error_text *error)
{
    struct sy_error_text why;
    double time_us;
    int type = event_type(rows->fields[TYPE]);
    if (type < 0) {
        sy_error_text_set(&why, "type '%.40s': expected 0 to 10, or a name such as SCHEDULE",
                          rows->fields[TYPE]);
        return sim_rows_complain(rows, &why, error);
    }
    if (!sim_rows_number(rows, TIME, 0, 9.3e18, 0, &time_us, &why))
        return sim_rows_complain(rows, &why, error);
    const char *collection_type = rows->fields[COLLECTION_TYPE];
    if (strcmp(collection_type, "1") == 0 || strcmp(collection_type, "ALLOC_SET") == 0)
        return 0; /* a reservation, no work */
    if (time_us * 1e3 > (double)SIM_TIME_MAX_NS)
        return 0; /* 2^63 - 1: after the end of the trace */
    struct instance *instance = find_instance(rows, instances);
    int64_t time_ns = (int64_t)(time_us * 1e3);
    if (type == EVENT_SUBMIT) {
        if (!read_request(rows, machine, &instance->row, &why))
            return sim_rows_complain(rows, &why, error);
        instance->row.arrival_ns = time_ns;
        instance->submitted = true;
        instance->scheduled_ns = 0;
    } else if (type == EVENT_SCHEDULE) {
        instance->scheduled_ns = time_ns;
    } else if (type > EVENT_EVICT && type <= EVENT_LOST && instance->submitted &&
               instance->scheduled_ns > 0 && time_ns >= instance->scheduled_ns) {
        instance->row.duration_ns = time_ns - instance->scheduled_ns;
        instance->submitted = false;
        return sim_read_add(rows, trace, &instance->row, error);
    }
    return 0;
}

int sim_read_google_2019(struct sim_trace *trace, const char *path,
                         const struct sch_resources *machine, struct sim_complaints *complaints,
                         struct sy_error_text *error)
{
    struct sy_map instances = {0};
    struct sim_rows rows;
    int r = sim_rows_open(&rows, path, false, true, event_columns, SY_COUNT_OF(event_columns),
                          complaints, error);
    while (r >= 0 && (r = sim_rows_next(&rows, error)) > 0)
        r = apply_event(&rows, trace, &instances, machine, error);
    sim_rows_close(&rows);
    SY_MAP_EACH(&instances, at, next)
    free(sy_map_entry(at, struct instance, link));
    sy_map_deinit(&instances);
    return r;
}
