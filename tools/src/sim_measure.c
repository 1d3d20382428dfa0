#include "tools/src/sim_measure.h"

#include "base/mem.h"
#include "tools/src/sim_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_MIN 240u
#define SAMPLES_MAX (2 * SAMPLES_MIN)
#define STEP_MIN_NS INT64_C(100000000)

/* Sums over many nodes or tasks. */
struct amount {
    double cpu, memory, gpus;
};

struct queue_state {
    struct amount out, waits; /* requests of what runs, of what waits */
    uint64_t waiting;
    double got, entitled; /* sums over samples */
};

struct cluster_state {
    struct amount used, capacity;
    struct amount seconds; /* used x time, in the window */
    double rate, cost;     /* of the cores in use: an hour; so far */
    double free_sum, stranded_sum;
};

struct sim_measure {
    const struct sim_region *region;
    const struct sim_trace *trace;
    const struct sim_node *nodes;
    uint32_t node_count;
    int64_t now_ns, window_ns;  /* the window: of arrivals; 0: the whole run */
    int64_t step_ns, sample_ns; /* the next sample */
    size_t contended;           /* samples in which queues competed */
    struct sim_shares *shares;
    struct queue_state *queues;
    struct cluster_state *clusters; /* [cluster_count]: the region */
    double *demand, *entitled;      /* by queue; of the sample at hand */
    struct sim_result *result;
};

static void add(struct amount *sum, const struct sch_resources *request, double times)
{
    sum->cpu += times * request->cpu_milli / 1e3;
    sum->memory += times * (double)request->memory_bytes;
    sum->gpus += times * (double)sch_resources_gpu_milli(request) / SCH_GPU_MILLI;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Of what the region has, the part of which it has most. */
static double dominant(const struct sim_measure *m, const struct amount *amount)
{
    const struct amount *all = &m->clusters[m->region->cluster_count].capacity;
    return larger(ratio(amount->cpu, all->cpu),
                  larger(ratio(amount->memory, all->memory), ratio(amount->gpus, all->gpus)));
}

/* ---- samples ---- */

size_t sim_sample_of_cluster(const struct sim_result *result, size_t cluster, size_t what)
{
    SY_ASSERT(cluster <= result->cluster_count && what < SIM_SAMPLE_OF_CLUSTER);
    return cluster * SIM_SAMPLE_OF_CLUSTER + what;
}

size_t sim_sample_of_queue(const struct sim_result *result, size_t queue, size_t what)
{
    SY_ASSERT(queue < result->queue_count && what < SIM_SAMPLE_OF_QUEUE);
    return (result->cluster_count + 1) * SIM_SAMPLE_OF_CLUSTER + queue * SIM_SAMPLE_OF_QUEUE + what;
}

/* Half as many, twice as far apart. */
static void thin_out(struct sim_measure *m)
{
    struct sim_result *result = m->result;
    for (size_t i = 1; i < result->sample_count / 2; i++)
        memcpy(&result->samples[i * result->sample_columns],
               &result->samples[2 * i * result->sample_columns],
               result->sample_columns * sizeof(float));
    result->sample_count /= 2;
    m->step_ns *= 2;
    m->sample_ns = SIM_ORIGIN_NS + (int64_t)result->sample_count * m->step_ns;
}

static void count_fragments(struct sim_measure *m, const struct sim_node *node)
{
    struct cluster_state *cluster = &m->clusters[node->cluster],
                         *all = &m->clusters[m->region->cluster_count];
    bool gpus = node->capacity.gpus > 0;
    if (!gpus && cluster->capacity.gpus > 0)
        return; /* a cluster with GPUs is judged by them */
    double unused = gpus ? sim_node_free_gpus(node)
                         : (node->capacity.cpu_milli - node->used.cpu_milli) / 1e3;
    for (size_t k = 0; unused > 0 && k < m->trace->kind_count; k++) {
        const struct sim_kind *kind = m->trace->kinds[k];
        if ((gpus && sch_resources_gpu_milli(&kind->request) == 0) ||
            !sim_node_fits(node, &kind->request, true))
            continue;
        double weight = unused * (double)kind->tasks;
        bool fits = sim_node_fits(node, &kind->request, false);
        cluster->free_sum += weight;
        cluster->stranded_sum += fits ? 0 : weight;
        if (gpus || all->capacity.gpus == 0) {
            all->free_sum += weight;
            all->stranded_sum += fits ? 0 : weight;
        }
    }
}

/* Who has how much of what is out, and who should; counted while something waits and more than one
 * queue wants something. */
static void sample_shares(struct sim_measure *m, float *row)
{
    const struct sim_result *result = m->result;
    double total = 0;
    uint64_t waiting = 0;
    unsigned wanting = 0;
    for (size_t i = 0; i < result->queue_count; i++) {
        struct queue_state *queue = &m->queues[i];
        struct amount wanted = {queue->out.cpu + queue->waits.cpu,
                                queue->out.memory + queue->waits.memory,
                                queue->out.gpus + queue->waits.gpus};
        m->demand[i] = dominant(m, &wanted);
        total += dominant(m, &queue->out);
        waiting += queue->waiting;
        wanting += m->demand[i] > 0;
    }
    sim_shares_entitle(m->shares, m->demand, total, m->entitled);
    bool contended = waiting > 0 && wanting > 1 && total > 0;
    m->contended += contended;
    for (size_t i = 0; i < result->queue_count; i++) {
        struct queue_state *queue = &m->queues[i];
        double got = ratio(dominant(m, &queue->out), total),
               entitled = ratio(m->entitled[i], total);
        queue->got += contended ? got : 0;
        queue->entitled += contended ? entitled : 0;
        row[sim_sample_of_queue(result, i, SIM_SAMPLE_WAITING)] = (float)queue->waiting;
        row[sim_sample_of_queue(result, i, SIM_SAMPLE_SHARE)] = (float)got;
        row[sim_sample_of_queue(result, i, SIM_SAMPLE_ENTITLED)] = (float)entitled;
    }
}

static void take_sample(struct sim_measure *m)
{
    struct sim_result *result = m->result;
    if (result->sample_count == SAMPLES_MAX) {
        thin_out(m);
        return; /* the caller asks again */
    }
    float *row = &result->samples[result->sample_count++ * result->sample_columns];
    for (size_t c = 0; c <= m->region->cluster_count; c++) {
        const struct cluster_state *state = &m->clusters[c];
        const struct amount *used = &state->used, *capacity = &state->capacity;
        float *of_cluster = &row[sim_sample_of_cluster(result, c, 0)];
        of_cluster[SIM_SAMPLE_CPU] = (float)ratio(used->cpu, capacity->cpu);
        of_cluster[SIM_SAMPLE_MEMORY] = (float)ratio(used->memory, capacity->memory);
        of_cluster[SIM_SAMPLE_GPU] = (float)ratio(used->gpus, capacity->gpus);
    }
    bool in_window = m->window_ns == 0 || m->sample_ns <= m->window_ns;
    for (uint32_t i = 0; in_window && i < m->node_count; i++)
        count_fragments(m, &m->nodes[i]);
    sample_shares(m, row);
    m->sample_ns += m->step_ns;
}

/* Brings sums and samples up to now, before something changes. */
static void advance(struct sim_measure *m, int64_t now_ns)
{
    SY_ASSERT(now_ns >= m->now_ns);
    while (m->sample_ns <= now_ns)
        take_sample(m);
    int64_t until_ns = m->window_ns > 0 && now_ns > m->window_ns ? m->window_ns : now_ns;
    double seconds = until_ns > m->now_ns ? (double)(until_ns - m->now_ns) / 1e9 : 0;
    double hours = (double)(now_ns - m->now_ns) / 3600e9;
    for (size_t c = 0; c <= m->region->cluster_count; c++)
        m->clusters[c].cost += m->clusters[c].rate * hours;
    for (size_t c = 0; seconds > 0 && c <= m->region->cluster_count; c++) {
        struct cluster_state *cluster = &m->clusters[c];
        cluster->seconds.cpu += cluster->used.cpu * seconds;
        cluster->seconds.memory += cluster->used.memory * seconds;
        cluster->seconds.gpus += cluster->used.gpus * seconds;
    }
    m->now_ns = now_ns;
}

/* ---- what happens ---- */

static const struct sch_resources *request_of(const struct sim_measure *m, uint32_t task)
{
    return &m->trace->kinds[m->trace->tasks[task].kind]->request;
}

/* Of which the first member is counted. */
static bool is_gang(const struct sim_measure *m, uint32_t task)
{
    return m->trace->tasks[task].gang > 0 && m->trace->tasks[task].rank == 0;
}

static void waits(struct sim_measure *m, uint32_t task, int by)
{
    struct queue_state *queue = &m->queues[m->trace->tasks[task].queue];
    SY_ASSERT(by > 0 || queue->waiting > 0);
    queue->waiting += by > 0 ? 1 : UINT64_MAX;
    add(&queue->waits, request_of(m, task), by);
}

static void uses(struct sim_measure *m, uint32_t task, uint32_t node, int by)
{
    const struct sch_resources *request = request_of(m, task);
    add(&m->queues[m->trace->tasks[task].queue].out, request, by);
    struct cluster_state *both[] = {&m->clusters[m->nodes[node].cluster],
                                    &m->clusters[m->region->cluster_count]};
    for (unsigned i = 0; i < SY_COUNT_OF(both); i++) {
        add(&both[i]->used, request, by);
        both[i]->rate += by * (request->cpu_milli / 1e3) * ((double)m->nodes[node].price / 1e6);
    }
}

void sim_measure_arrive(struct sim_measure *m, int64_t now_ns, uint32_t task)
{
    advance(m, now_ns);
    waits(m, task, 1);
}

void sim_measure_start(struct sim_measure *m, int64_t now_ns, uint32_t task, uint32_t node,
                       bool first)
{
    const struct sim_task *of_trace = &m->trace->tasks[task];
    struct sim_waits *of_queue = &m->result->queues[of_trace->queue].waits;
    advance(m, now_ns);
    waits(m, task, -1);
    uses(m, task, node, 1);
    double waited_s = (double)(now_ns - SIM_ORIGIN_NS - of_trace->arrival_ns) / 1e9;
    if (first)
        of_queue->seconds[of_queue->count++] = waited_s;
    struct sim_waits *of_gangs = &m->result->gangs.waits;
    if (first && is_gang(m, task))
        of_gangs->seconds[of_gangs->count++] = waited_s;
}

void sim_measure_leave(struct sim_measure *m, int64_t now_ns, uint32_t task, uint32_t node)
{
    advance(m, now_ns);
    uses(m, task, node, -1);
}

void sim_measure_reclaimed(struct sim_measure *m, int64_t now_ns, uint32_t task)
{
    advance(m, now_ns);
    waits(m, task, 1);
    m->result->queues[m->trace->tasks[task].queue].reclaimed++;
    m->result->gangs.reclaimed += is_gang(m, task);
}

void sim_measure_preempted(struct sim_measure *m, int64_t now_ns, uint32_t task)
{
    advance(m, now_ns);
    waits(m, task, 1);
    m->result->queues[m->trace->tasks[task].queue].preempted++;
    m->result->gangs.preempted += is_gang(m, task);
}

void sim_measure_refused(struct sim_measure *m, int64_t now_ns, uint32_t task, const char *why)
{
    advance(m, now_ns);
    waits(m, task, -1);
    m->result->queues[m->trace->tasks[task].queue].refused++;
    m->result->gangs.refused += is_gang(m, task);
    if (!m->result->refusal[0])
        snprintf(m->result->refusal, sizeof(m->result->refusal), "%s", why);
}

void sim_measure_gave_up(struct sim_measure *m, int64_t now_ns, uint32_t task)
{
    advance(m, now_ns);
    waits(m, task, -1);
    m->result->queues[m->trace->tasks[task].queue].gave_up++;
    m->result->gangs.gave_up += is_gang(m, task);
}

/* ---- begin and end ---- */

static void make_queues(struct sim_measure *m)
{
    struct sim_result *result = m->result;
    result->queue_count = m->trace->queue_count;
    result->queues = sy_calloc(result->queue_count, sizeof(*result->queues));
    for (size_t i = 0; i < result->queue_count; i++) {
        struct sim_queue_result *queue = &result->queues[i];
        const struct sim_queue *of_trace = m->trace->queues[i];
        const struct sch_queue_key *key = &of_trace->key;
        snprintf(queue->name, sizeof(queue->name), "%s/%s%s%s", key->project, key->domain,
                 key->name[0] ? "/" : "", key->name);
        queue->tasks = of_trace->tasks;
        queue->waits.seconds = sy_calloc(queue->tasks, sizeof(double));
    }
}

static void make_gangs(struct sim_measure *m)
{
    struct sim_queue_result *gangs = &m->result->gangs;
    snprintf(gangs->name, sizeof(gangs->name), "gangs");
    for (uint32_t i = 0; i < m->trace->count; i++)
        gangs->tasks += is_gang(m, i);
    gangs->waits.seconds = sy_calloc(gangs->tasks + 1, sizeof(double));
}

struct sim_measure *sim_measure_new(const struct sim_region *region, const struct sim_trace *trace,
                                    const struct sim_node *nodes, uint32_t node_count)
{
    struct sim_measure *m = sy_new(struct sim_measure);
    struct sim_result *result = sy_new(struct sim_result);
    int64_t last_ns = trace->tasks[trace->count - 1].arrival_ns;
    *m = (struct sim_measure){.region = region,
                              .trace = trace,
                              .nodes = nodes,
                              .node_count = node_count,
                              .now_ns = SIM_ORIGIN_NS,
                              .sample_ns = SIM_ORIGIN_NS,
                              .window_ns = last_ns > 0 ? SIM_ORIGIN_NS + last_ns : 0,
                              .step_ns = last_ns / SAMPLES_MIN,
                              .shares = sim_shares_new(region, trace),
                              .result = result};
    if (m->step_ns < STEP_MIN_NS)
        m->step_ns = STEP_MIN_NS;
    m->queues = sy_calloc(trace->queue_count, sizeof(*m->queues));
    m->demand = sy_calloc(trace->queue_count, sizeof(double));
    m->entitled = sy_calloc(trace->queue_count, sizeof(double));
    m->clusters = sy_calloc(region->cluster_count + 1, sizeof(*m->clusters));
    for (uint32_t i = 0; i < node_count; i++) {
        add(&m->clusters[nodes[i].cluster].capacity, &nodes[i].capacity, 1);
        add(&m->clusters[region->cluster_count].capacity, &nodes[i].capacity, 1);
    }
    make_queues(m);
    make_gangs(m);
    result->cluster_count = region->cluster_count;
    result->clusters = sy_calloc(region->cluster_count, sizeof(*result->clusters));
    result->sample_columns = (region->cluster_count + 1) * SIM_SAMPLE_OF_CLUSTER +
                             trace->queue_count * SIM_SAMPLE_OF_QUEUE;
    result->samples = sy_calloc(SAMPLES_MAX * result->sample_columns, sizeof(float));
    return m;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void finish_waits(struct sim_waits *waits)
{
    double sum = 0;
    if (waits->count == 0)
        return;
    qsort(waits->seconds, waits->count, sizeof(double), by_value);
    for (size_t i = 0; i < waits->count; i++)
        sum += waits->seconds[i];
    waits->mean = sum / (double)waits->count;
}

static void finish_queues(struct sim_measure *m)
{
    struct sim_result *result = m->result;
    struct sim_queue_result *total = &result->total;
    snprintf(total->name, sizeof(total->name), "all");
    total->waits.seconds = sy_calloc(m->trace->count, sizeof(double));
    for (size_t i = 0; i < result->queue_count; i++) {
        struct sim_queue_result *queue = &result->queues[i];
        queue->unplaced = m->queues[i].waiting;
        queue->got = ratio(m->queues[i].got, (double)m->contended);
        queue->entitled = ratio(m->queues[i].entitled, (double)m->contended);
        finish_waits(&queue->waits);
        memcpy(&total->waits.seconds[total->waits.count], queue->waits.seconds,
               queue->waits.count * sizeof(double));
        total->waits.count += queue->waits.count;
        total->tasks += queue->tasks;
        total->refused += queue->refused;
        total->gave_up += queue->gave_up;
        total->unplaced += queue->unplaced;
        total->preempted += queue->preempted;
        total->reclaimed += queue->reclaimed;
        total->got += queue->got;
        total->entitled += queue->entitled;
    }
    finish_waits(&total->waits);
    struct sim_queue_result *gangs = &result->gangs;
    finish_waits(&gangs->waits);
    gangs->unplaced = gangs->tasks - gangs->waits.count - gangs->refused - gangs->gave_up;
}

static void finish_cluster(const struct sim_measure *m, size_t c, struct sim_cluster_result *ret)
{
    const struct cluster_state *state = &m->clusters[c];
    int64_t until_ns = m->window_ns > 0 ? m->window_ns : m->now_ns;
    double seconds = (double)(until_ns - SIM_ORIGIN_NS) / 1e9;
    ret->cores = state->capacity.cpu;
    ret->memory_bytes = state->capacity.memory;
    ret->gpus = state->capacity.gpus;
    ret->cpu = ratio(state->seconds.cpu, seconds * state->capacity.cpu);
    ret->memory = ratio(state->seconds.memory, seconds * state->capacity.memory);
    ret->gpu = ratio(state->seconds.gpus, seconds * state->capacity.gpus);
    ret->cost = state->cost;
    ret->fragmentation = ratio(state->stranded_sum, state->free_sum);
}

struct sim_result *sim_measure_finish(struct sim_measure *m, int64_t now_ns)
{
    struct sim_result *result = m->result;
    advance(m, now_ns > m->now_ns ? now_ns : m->now_ns);
    finish_queues(m);
    for (size_t c = 0; c < result->cluster_count; c++) {
        snprintf(result->clusters[c].name, sizeof(result->clusters[c].name), "%s",
                 m->region->clusters[c].name);
        finish_cluster(m, c, &result->clusters[c]);
    }
    snprintf(result->all.name, sizeof(result->all.name), "all");
    finish_cluster(m, result->cluster_count, &result->all);
    result->arrivals_s = (double)m->trace->tasks[m->trace->count - 1].arrival_ns / 1e9;
    result->last_end_s = (double)(m->now_ns - SIM_ORIGIN_NS) / 1e9;
    result->sample_step_s = (double)m->step_ns / 1e9;
    sim_shares_free(m->shares);
    free(m->queues);
    free(m->clusters);
    free(m->demand);
    free(m->entitled);
    free(m);
    return result;
}

void sim_result_free(struct sim_result *result)
{
    for (size_t i = 0; i < result->queue_count; i++)
        free(result->queues[i].waits.seconds);
    free(result->total.waits.seconds);
    free(result->gangs.waits.seconds);
    free(result->queues);
    free(result->clusters);
    free(result->samples);
    free(result);
}

double sim_quantile(const struct sim_waits *waits, double q)
{
    if (waits->count == 0)
        return 0;
    SY_ASSERT(q >= 0 && q <= 1);
    size_t rank = (size_t)(q * (double)waits->count);
    return waits->seconds[rank < waits->count ? rank : waits->count - 1];
}
