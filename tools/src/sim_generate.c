#include "tools/src/sim_generate.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)
#define CHOICES 4
#define PROJECTS 3
#define DAY_S 86400.0
#define DAY_AMPLITUDE 0.4      /* of arrivals, round their mean */
#define BEGIN_OF_DAY_S 28800.0 /* a trace begins at 08:00 */
#define PEAK_OF_DAY_S 54000.0  /* most arrive at 15:00 */
#define BURSTS_PER_HOUR 2.0
#define BURST_S 60.0 /* mean distance from its begin */
#define DURATION_MAX_S 14400.0
#define DURATION_MIN_S 1.0
#define DRAWS_MAX 1000 /* until a duration is within limits */

struct choice {
    double chance;
    uint32_t cpu_milli, gpus;
    uint64_t memory_gib;
    uint32_t gpu_milli; /* a part of one, where nodes give them in parts */
};

/* A sort of work: who asks for what, for how long, how many at once. */
struct work {
    const char *name;
    double part[SIM_WORKLOADS]; /* of the load of GPUs, or of cpu */
    double median_s, sigma;     /* of the log-normal duration */
    double fan_out;             /* mean tasks at once (geometric) */
    double burst;               /* part of the arrivals that come in bursts */
    double spot;                /* part of it that tolerates spot nodes, in SIM_WORKLOAD_SPOT */
    int32_t priority;
    bool gpu;
    struct choice choices[CHOICES];
    struct {
        const char *name;
        double chance;
    } projects[PROJECTS];
};

static const struct work works[] = {
    {.name = "training",
     .gpu = true,
     .part = {0.7, 0.7, 0.7, 0, 0.4, 0.7},
     .median_s = 1380,
     .sigma = 1.4,
     .fan_out = 1,
     .burst = 0.1,
     .choices =
         {{0.55, 8000, 1, 64}, {0.2, 16000, 2, 128}, {0.15, 32000, 4, 256}, {0.1, 64000, 8, 512}},
     .projects = {{"language", 0.5}, {"vision", 0.3}, {"speech", 0.2}}},
    {.name = "tuning",
     .gpu = true,
     .part = {0.3, 0.3, 0.3, 0, 0.2, 0.3},
     .spot = 0.5,
     .median_s = 300,
     .sigma = 1.0,
     .fan_out = 8,
     .burst = 0.5,
     .choices = {{0.8, 6000, 1, 32}, {0.2, 12000, 1, 96}},
     .projects = {{"vision", 0.6}, {"language", 0.4}}},
    {.name = "serving",
     .gpu = true,
     .part = {[SIM_WORKLOAD_SHARED_GPU] = 0.4},
     .median_s = 1800,
     .sigma = 1.2,
     .fan_out = 4,
     .burst = 0.2,
     .priority = 5,
     .choices = {{.chance = 0.4, .cpu_milli = 1000, .memory_gib = 4, .gpu_milli = 125},
                 {.chance = 0.3, .cpu_milli = 2000, .memory_gib = 8, .gpu_milli = 250},
                 {.chance = 0.2, .cpu_milli = 4000, .memory_gib = 16, .gpu_milli = 500},
                 {.chance = 0.1, .cpu_milli = 6000, .memory_gib = 24, .gpu_milli = 700}},
     .projects = {{"serving", 0.7}, {"vision", 0.3}}},
    {.name = "batch",
     .part = {0.95, 0.95, 0, 1, 0.95, 0.95},
     .spot = 0.7,
     .median_s = 600,
     .sigma = 1.3,
     .fan_out = 20,
     .burst = 0.3,
     .choices = {{0.5, 1000, 0, 4}, {0.3, 2000, 0, 8}, {0.15, 4000, 0, 32}, {0.05, 16000, 0, 64}},
     .projects = {{"etl", 0.6}, {"reports", 0.4}}},
    {.name = "interactive",
     .part = {0.05, 0.05, 0, 0, 0.05, 0.05},
     .median_s = 120,
     .sigma = 1.5,
     .fan_out = 1,
     .priority = 10,
     .choices = {{0.7, 1000, 0, 2}, {0.3, 4000, 0, 16}},
     .projects = {{"notebooks", 1}}},
};

static const char *const workload_names[SIM_WORKLOADS] = {
    [SIM_WORKLOAD_MIXED] = "mixed",
    [SIM_WORKLOAD_BURSTY] = "bursty",
    [SIM_WORKLOAD_GPU_TRAINING] = "gpu-training",
    [SIM_WORKLOAD_FAN_OUT] = "fan-out",
    [SIM_WORKLOAD_SHARED_GPU] = "shared-gpu",
    [SIM_WORKLOAD_SPOT] = "spot",
};

int sim_workload_parse(const char *name, enum sim_workload *ret)
{
    for (unsigned i = 0; i < SIM_WORKLOADS; i++) {
        if (strcmp(workload_names[i], name) == 0) {
            *ret = (enum sim_workload)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* ---- draws ---- */

struct generator {
    struct sim_trace *trace;
    const struct sim_region *region;
    const struct sim_generate_options *options;
    struct sy_rng rng;
    uint64_t burst_count;
};

static double uniform(struct generator *g) /* [0, 1) */
{
    return (double)(sy_rng_u64(&g->rng) >> 11) * 0x1p-53;
}

static double exponential(struct generator *g, double mean)
{
    return -mean * log(1 - uniform(g));
}

/* Box and Muller 1958. */
static double normal(struct generator *g)
{
    double radius = sqrt(-2 * log(1 - uniform(g)));
    return radius * cos(2 * M_PI * uniform(g));
}

static double draw_duration(struct generator *g, const struct work *work)
{
    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        double seconds = work->median_s * exp(work->sigma * normal(g));
        if (seconds >= DURATION_MIN_S && seconds <= DURATION_MAX_S)
            return seconds;
    }
    return work->median_s;
}

/* Round the begin of a burst, or along the day. */
static double draw_arrival(struct generator *g, const struct work *work)
{
    double span_s = g->options->hours * 3600;
    double burst = g->options->workload == SIM_WORKLOAD_BURSTY && work->burst > 0 ? 0.8
                                                                                  : work->burst;
    if (uniform(g) < burst) {
        uint64_t number = sy_rng_below(&g->rng, g->burst_count);
        double begin_s = ((double)number + 0.5) / (double)g->burst_count * span_s;
        double at_s = begin_s + exponential(g, BURST_S);
        return at_s < span_s ? at_s : begin_s;
    }
    for (;;) { /* thinning: Lewis and Shedler 1979 */
        double at_s = uniform(g) * span_s;
        double of_day = (BEGIN_OF_DAY_S + at_s - PEAK_OF_DAY_S) / DAY_S;
        double rate = 1 + DAY_AMPLITUDE * cos(2 * M_PI * of_day);
        if (uniform(g) * (1 + DAY_AMPLITUDE) < rate)
            return at_s;
    }
}

static uint32_t draw_count(struct generator *g, const struct work *work)
{
    double mean = g->options->workload == SIM_WORKLOAD_FAN_OUT ? 200 : work->fan_out;
    if (mean <= 1)
        return 1;
    return 1 + (uint32_t)(log(1 - uniform(g)) / log(1 - 1 / mean));
}

/* On a node that anybody may use. */
static bool could_run(const struct sim_region *region, const struct choice *choice)
{
    for (size_t c = 0; c < region->cluster_count; c++) {
        for (size_t i = 0; i < region->clusters[c].group_count; i++) {
            const struct sim_node_group *group = &region->clusters[c].groups[i];
            const struct sch_resources *node = &group->capacity;
            if (group->traits.taints[0])
                continue;
            bool part = choice->gpu_milli == 0 || (group->traits.gpus_shared && node->gpus > 0);
            if (part && node->cpu_milli >= choice->cpu_milli && node->gpus >= choice->gpus &&
                node->memory_bytes >= choice->memory_gib * GIB)
                return true;
        }
    }
    return false;
}

/* Of those that a node could hold; NULL: there is none. */
static const struct choice *draw_choice(struct generator *g, const struct work *work)
{
    double sum = 0, at = uniform(g);
    const struct choice *chosen = NULL;
    for (unsigned i = 0; i < CHOICES; i++)
        sum += could_run(g->region, &work->choices[i]) ? work->choices[i].chance : 0;
    at *= sum;
    for (unsigned i = 0; i < CHOICES; i++) {
        const struct choice *choice = &work->choices[i];
        if (choice->chance == 0 || !could_run(g->region, choice))
            continue;
        chosen = choice;
        if (at < choice->chance)
            break;
        at -= choice->chance;
    }
    return chosen;
}

static const char *draw_project(struct generator *g, const struct work *work)
{
    double at = uniform(g);
    unsigned i = 0;
    while (i + 1 < PROJECTS && work->projects[i + 1].name && at >= work->projects[i].chance)
        at -= work->projects[i++].chance;
    return work->projects[i].name;
}

/* Of training that takes a whole node some is on several, at once. */
static uint32_t draw_gang(struct generator *g, const struct choice *choice)
{
    static const struct {
        uint32_t members;
        double chance;
    } sizes[] = {{2, 0.20}, {4, 0.10}, {8, 0.05}};
    double at = uniform(g);
    if (g->options->workload != SIM_WORKLOAD_GPU_TRAINING || choice->gpus < 8)
        return 0;
    for (unsigned i = 0; i < SY_COUNT_OF(sizes); i++) {
        if (at < sizes[i].chance)
            return sizes[i].members;
        at -= sizes[i].chance;
    }
    return 0;
}

/* Nothing is drawn for others, whose traces stay as they were. */
static bool tolerates_spot(struct generator *g, const struct work *work)
{
    return g->options->workload == SIM_WORKLOAD_SPOT && work->spot > 0 && uniform(g) < work->spot;
}

/* ---- work until there is enough ---- */

struct offered {
    double cpu_s, gpu_s; /* cores and GPUs x seconds */
};

static int add_rows(struct generator *g, const struct work *work, double target_s,
                    struct offered *offered, struct sy_error_text *error)
{
    double sum_s = 0;
    while (sum_s < target_s) {
        const struct choice *choice = draw_choice(g, work);
        if (!choice)
            return 0; /* nothing of this work fits the region */
        double duration_s = draw_duration(g, work);
        struct sim_row row = {.arrival_ns = llround(draw_arrival(g, work) * 1e3) * 1000000,
                              .duration_ns = llround(duration_s * 1e3) * 1000000,
                              .priority = work->priority,
                              .count = draw_count(g, work)};
        row.gang.size = row.count == 1 ? draw_gang(g, choice) : 0;
        double gpus = choice->gpus + choice->gpu_milli / 1e3;
        double unit = work->gpu ? gpus : choice->cpu_milli / 1e3;
        double most = ceil((target_s - sum_s) / (duration_s * unit));
        if (row.count > most)
            row.count = (uint32_t)most;
        row.request.cpu_milli = choice->cpu_milli;
        row.request.gpus = choice->gpus;
        row.request.gpu_milli = choice->gpu_milli;
        row.request.memory_bytes = choice->memory_gib * GIB;
        if (tolerates_spot(g, work))
            snprintf(row.request.tolerations, sizeof(row.request.tolerations), SCH_LABEL_SPOT);
        snprintf(row.key.project, sizeof(row.key.project), "%s", draw_project(g, work));
        snprintf(row.key.domain, sizeof(row.key.domain), "production");
        int r = sim_trace_add(g->trace, &row, error);
        if (r < 0)
            return r;
        double tasks = row.count * (row.gang.size > 0 ? row.gang.size : 1.0);
        sum_s += duration_s * unit * tasks;
        offered->cpu_s += duration_s * tasks * choice->cpu_milli / 1e3;
        offered->gpu_s += duration_s * tasks * gpus;
    }
    return 0;
}

static void capacity(const struct sim_region *region, double *ret_cores, double *ret_gpus)
{
    *ret_cores = *ret_gpus = 0;
    for (size_t c = 0; c < region->cluster_count; c++) {
        for (size_t i = 0; i < region->clusters[c].group_count; i++) {
            const struct sim_node_group *group = &region->clusters[c].groups[i];
            *ret_cores += group->count * (group->capacity.cpu_milli / 1e3);
            *ret_gpus += (double)group->count * group->capacity.gpus;
        }
    }
}

/* GPU work first: the cpu that it takes is not there for the rest. */
int sim_generate(struct sim_trace *trace, const struct sim_region *region,
                 const struct sim_generate_options *options, struct sy_error_text *error)
{
    struct generator g = {.trace = trace, .region = region, .options = options};
    struct offered offered = {0};
    double cores, gpus, span_s = options->hours * 3600;
    sy_rng_init(&g.rng, options->seed);
    g.burst_count = 1 + (uint64_t)(options->hours * BURSTS_PER_HOUR);
    capacity(region, &cores, &gpus);
    int r = 0;
    for (size_t i = 0; r == 0 && i < SY_COUNT_OF(works); i++) {
        if (works[i].gpu)
            r = add_rows(&g, &works[i],
                         options->load * gpus * span_s * works[i].part[options->workload], &offered,
                         error);
    }
    double cpu_s = options->load * cores * span_s - offered.cpu_s;
    for (size_t i = 0; r == 0 && i < SY_COUNT_OF(works); i++) {
        if (!works[i].gpu)
            r = add_rows(&g, &works[i], cpu_s * works[i].part[options->workload], &offered, error);
    }
    if (r == 0 && trace->count == 0) {
        sy_error_text_set(error, "no node of the region could run any %s work",
                          workload_names[options->workload]);
        r = -EINVAL;
    }
    sim_trace_sort(trace);
    return r;
}
