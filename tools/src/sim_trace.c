#include "tools/src/sim_trace.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void sim_trace_deinit(struct sim_trace *trace)
{
    for (size_t i = 0; i < trace->kind_count; i++)
        free(trace->kinds[i]);
    for (size_t i = 0; i < trace->queue_count; i++)
        free(trace->queues[i]);
    for (size_t i = 0; i < trace->gang_count; i++)
        free(trace->gangs[i]);
    sy_map_deinit(&trace->gangs_by_shape);
    free(trace->gangs);
    sy_map_deinit(&trace->kinds_by_request);
    sy_map_deinit(&trace->queues_by_key);
    free(trace->tasks);
    free(trace->kinds);
    free(trace->queues);
    *trace = (struct sim_trace){0};
}

/* ---- what a row may say ---- */

static int check_time(const char *what, int64_t ns, struct sy_error_text *error)
{
    if (ns >= 0 && ns <= SIM_TIME_MAX_NS)
        return 0;
    sy_error_text_set(error, "%s of %.3f s: 0 to %.0f", what, (double)ns / 1e9,
                      (double)SIM_TIME_MAX_NS / 1e9);
    return -EINVAL;
}

static int check_request(const struct sch_resources *request, struct sy_error_text *error)
{
    if (request->cpu_milli > SCH_CPU_MILLI_MAX)
        sy_error_text_set(error, "cpu %.3f: at most %u", request->cpu_milli / 1e3,
                          SCH_CPU_MILLI_MAX / 1000);
    else if (request->memory_bytes > SCH_MEMORY_BYTES_MAX)
        sy_error_text_set(error, "memory of %" PRIu64 " bytes: at most %llu", request->memory_bytes,
                          (unsigned long long)SCH_MEMORY_BYTES_MAX);
    else if (request->gpus > SCH_GPUS_MAX)
        sy_error_text_set(error, "%" PRIu32 " GPUs: at most %u", request->gpus, SCH_GPUS_MAX);
    else if (request->gpu_model[0] && !sch_resources_has_gpu(request))
        sy_error_text_set(error, "GPU model '%s' without GPUs", request->gpu_model);
    else
        return 0;
    return -EINVAL;
}

static uint32_t members_of(const struct sim_row *row)
{
    return row->gang.size > 0 ? row->gang.size : 1;
}

static int check_row(const struct sim_trace *trace, const struct sim_row *row,
                     struct sy_error_text *error)
{
    struct sch_queue_config config = sch_queue_config_default(&row->key);
    int r = check_time("arrival", row->arrival_ns, error);
    r = r == 0 ? check_time("duration", row->duration_ns, error) : r;
    r = r == 0 ? check_request(&row->request, error) : r;
    if (r < 0)
        return r;
    if (!row->key.project[0] || !row->key.domain[0]) {
        sy_error_text_set(error, "a task has a project and a domain");
        return -EINVAL;
    }
    sy_error_text_set(error, "%s", "");
    if (sch_queue_config_check(&config, error) < 0)
        return -EINVAL;
    if (row->priority < -SIM_PRIORITY_MAX || row->priority > SIM_PRIORITY_MAX) {
        sy_error_text_set(error, "priority %" PRId32 ": -%d to %d", row->priority, SIM_PRIORITY_MAX,
                          SIM_PRIORITY_MAX);
        return -EINVAL;
    }
    if (row->count == 0 || row->count > (SIM_TASKS_MAX - trace->count) / members_of(row)) {
        sy_error_text_set(error, "count %" PRIu32 ": 1 or more, %u tasks in all", row->count,
                          SIM_TASKS_MAX);
        return -EINVAL;
    }
    return 0;
}

/* ---- adding ---- */

static uint32_t find_kind(struct sim_trace *trace, const struct sch_resources *request)
{
    struct sy_map_link *found = sy_map_find(&trace->kinds_by_request, request, sizeof(*request));
    if (found)
        return sy_map_entry(found, struct sim_kind, link)->index;
    struct sim_kind *kind = sy_new(struct sim_kind);
    kind->request = *request;
    sy_map_add(&trace->kinds_by_request, &kind->link, &kind->request, sizeof(kind->request));
    trace->kinds = sy_realloc(trace->kinds, (trace->kind_count + 1) * sizeof(struct sim_kind *));
    trace->kinds[trace->kind_count] = kind;
    kind->index = (uint32_t)trace->kind_count++;
    return kind->index;
}

static uint32_t find_queue(struct sim_trace *trace, const struct sch_queue_key *key)
{
    struct sy_map_link *found = sy_map_find(&trace->queues_by_key, key, sizeof(*key));
    if (found)
        return sy_map_entry(found, struct sim_queue, link)->index;
    struct sim_queue *queue = sy_new(struct sim_queue);
    queue->key = *key;
    sy_map_add(&trace->queues_by_key, &queue->link, &queue->key, sizeof(queue->key));
    trace->queues = sy_realloc(trace->queues,
                               (trace->queue_count + 1) * sizeof(struct sim_queue *));
    trace->queues[trace->queue_count] = queue;
    queue->index = (uint32_t)trace->queue_count++;
    return queue->index;
}

/* Its index + 1. */
static uint32_t find_gang(struct sim_trace *trace, const struct sch_gang_shape *shape)
{
    if (shape->size == 0)
        return 0;
    struct sy_map_link *found = sy_map_find(&trace->gangs_by_shape, shape, sizeof(*shape));
    if (found)
        return sy_map_entry(found, struct sim_gang, link)->index + 1;
    struct sim_gang *gang = sy_new(struct sim_gang);
    gang->shape = *shape;
    sy_map_add(&trace->gangs_by_shape, &gang->link, &gang->shape, sizeof(gang->shape));
    trace->gangs = sy_realloc(trace->gangs, (trace->gang_count + 1) * sizeof(struct sim_gang *));
    trace->gangs[trace->gang_count] = gang;
    gang->index = (uint32_t)trace->gang_count++;
    return gang->index + 1;
}

const struct sch_gang_shape *sim_trace_gang(const struct sim_trace *trace, uint32_t task)
{
    uint32_t gang = trace->tasks[task].gang;
    SY_ASSERT(task < trace->count && gang <= trace->gang_count);
    return gang > 0 ? &trace->gangs[gang - 1]->shape : NULL;
}

int sim_trace_add(struct sim_trace *trace, const struct sim_row *row, struct sy_error_text *error)
{
    int r = check_row(trace, row, error);
    if (r < 0)
        return r;
    struct sim_task task = {.arrival_ns = row->arrival_ns,
                            .duration_ns = row->duration_ns,
                            .kind = find_kind(trace, &row->request),
                            .queue = find_queue(trace, &row->key),
                            .gang = find_gang(trace, &row->gang),
                            .priority = row->priority};
    uint32_t members = members_of(row), count = row->count * members;
    if (trace->count + count > trace->cap) {
        trace->cap = 2 * (trace->count + count);
        trace->tasks = sy_realloc(trace->tasks, trace->cap * sizeof(*trace->tasks));
    }
    trace->kinds[task.kind]->tasks += count;
    trace->queues[task.queue]->tasks += count;
    for (uint32_t i = 0; i < count; i++) {
        task.rank = i % members;
        task.row = (uint32_t)trace->count;
        trace->tasks[trace->count++] = task;
    }
    return 0;
}

static int by_arrival(const void *a_, const void *b_)
{
    const struct sim_task *a = a_, *b = b_;
    if (a->arrival_ns != b->arrival_ns)
        return a->arrival_ns < b->arrival_ns ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

void sim_trace_sort(struct sim_trace *trace)
{
    if (trace->count == 0)
        return;
    qsort(trace->tasks, trace->count, sizeof(*trace->tasks), by_arrival);
    int64_t first_ns = trace->tasks[0].arrival_ns;
    for (size_t i = 0; i < trace->count; i++)
        trace->tasks[i].arrival_ns -= first_ns;
}

static bool alike(const struct sim_task *a, const struct sim_task *b)
{
    return a->arrival_ns == b->arrival_ns && a->duration_ns == b->duration_ns &&
           a->kind == b->kind && a->queue == b->queue && a->gang == b->gang &&
           a->priority == b->priority;
}

void sim_trace_write(const struct sim_trace *trace, FILE *file)
{
    fprintf(file, "arrival_s,duration_s,cpu,memory,gpus,gpu_model,project,domain,queue,priority,"
                  "count,gang,topology,gpu_slice,labels,tolerations\n");
    size_t next;
    for (size_t i = 0; i < trace->count; i = next) {
        const struct sim_task *task = &trace->tasks[i];
        const struct sch_resources *request = &trace->kinds[task->kind]->request;
        const struct sch_queue_key *key = &trace->queues[task->queue]->key;
        next = i + 1;
        while (next < trace->count && alike(task, &trace->tasks[next]))
            next++;
        static const char *const words[] = {"", "prefer:", "require:"};
        const struct sch_gang_shape *gang = sim_trace_gang(trace, (uint32_t)i);
        uint32_t members = gang ? gang->size : 1;
        const char *quote = strchr(request->labels, ',') ? "\"" : "";
        const char *quoted = strchr(request->tolerations, ',') ? "\"" : "";
        fprintf(file,
                "%.3f,%.3f,%.15g,%" PRIu64 ",%.15g,%s,%s,%s,%s,%" PRId32 ",%zu,%" PRIu32
                ",%s%s,%s,%s%s%s,%s%s%s\n",
                (double)task->arrival_ns / 1e9, (double)task->duration_ns / 1e9,
                request->cpu_milli / 1e3, request->memory_bytes,
                request->gpus + request->gpu_milli / 1e3, request->gpu_model, key->project,
                key->domain, key->name, task->priority, (next - i) / members, gang ? members : 0,
                gang ? words[gang->topology] : "", gang ? gang->key : "", request->gpu_partition,
                quote, request->labels, quote, quoted, request->tolerations, quoted);
    }
}
