/* GET /metrics: Prometheus' text format, out of one GetRegionStatus and what the process used. */
#include "controlplane/console_page.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include "switchyard/v1/region_service.pb-c.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define STATM_BYTES_MAX 256

typedef Switchyard__V1__GetRegionStatusResponse status_response;

static void head(struct sy_buf *text, const char *name, const char *type, const char *help)
{
    sy_buf_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value, in its quotes. */
static void put_value(struct sy_buf *text, const char *value)
{
    sy_buf_append_str(text, "\"");
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\n')
            sy_buf_append_str(text, "\\n");
        else if (*at == '"' || *at == '\\')
            sy_buf_printf(text, "\\%c", *at);
        else
            sy_buf_append(text, at, 1);
    }
    sy_buf_append_str(text, "\"");
}

/* ---- partitions ---- */

struct partition_metric {
    const char *name, *type, *help;
    const char *state; /* NULL: without that label */
    uint64_t (*of)(const Switchyard__V1__Partition *partition);
};

static uint64_t serving_of(const Switchyard__V1__Partition *p)
{
    return strcmp(p->state, "serving") == 0 || strcmp(p->state, "recovering") == 0;
}
static uint64_t runs_of(const Switchyard__V1__Partition *p)
{
    return p->runs_live;
}
static uint64_t queued_of(const Switchyard__V1__Partition *p)
{
    return p->actions_queued;
}
static uint64_t running_of(const Switchyard__V1__Partition *p)
{
    return p->actions_running;
}
static uint64_t parents_of(const Switchyard__V1__Partition *p)
{
    return p->actions_waiting_for_children;
}
static uint64_t finished_of(const Switchyard__V1__Partition *p)
{
    return p->actions_finished;
}
static uint64_t commits_of(const Switchyard__V1__Partition *p)
{
    return p->commits;
}

#define ACTIONS "switchyard_actions"
static const struct partition_metric partition_metrics[] = {
    {"switchyard_partition_serving", "gauge", "1 while the partition serves.", NULL, serving_of},
    {"switchyard_runs", "gauge", "Runs that have not ended.", NULL, runs_of},
    {ACTIONS, "gauge", "Actions that have not ended, by state.", "queued", queued_of},
    {ACTIONS, "gauge", NULL, "running", running_of},
    {ACTIONS, "gauge", NULL, "waiting_for_children", parents_of},
    {"switchyard_actions_finished_total", "counter",
     "Actions that ended since the partition was opened.", NULL, finished_of},
    {"switchyard_commits_total", "counter",
     "Batches that were made durable since the shard started.", NULL, commits_of},
};

static void put_partitions(struct sy_buf *text, const status_response *status)
{
    for (size_t i = 0; i < SY_COUNT_OF(partition_metrics); i++) {
        const struct partition_metric *metric = &partition_metrics[i];
        if (metric->help != NULL)
            head(text, metric->name, metric->type, metric->help);
        for (size_t p = 0; p < status->n_partitions; p++) {
            sy_buf_printf(text, "%s{partition=\"%u\"", metric->name, status->partitions[p]->id);
            if (metric->state != NULL)
                sy_buf_printf(text, ",state=\"%s\"", metric->state);
            sy_buf_printf(text, "} %llu\n", (unsigned long long)metric->of(status->partitions[p]));
        }
    }
}

/* ---- clusters ---- */

struct cluster_metric {
    const char *name, *help;
    uint64_t (*of)(const Switchyard__V1__Cluster *cluster);
};

static uint64_t up_of(const Switchyard__V1__Cluster *c)
{
    return strcmp(c->state, "ready") == 0;
}
static uint64_t nodes_of(const Switchyard__V1__Cluster *c)
{
    return c->nodes;
}
static uint64_t cluster_running_of(const Switchyard__V1__Cluster *c)
{
    return c->running;
}
static uint64_t backlog_of(const Switchyard__V1__Cluster *c)
{
    return c->backlog;
}

static const struct cluster_metric cluster_metrics[] = {
    {"switchyard_cluster_up", "1 while the cluster's operator is connected.", up_of},
    {"switchyard_cluster_nodes", "Nodes of the cluster.", nodes_of},
    {"switchyard_cluster_running", "Attempts that run on the cluster's nodes.", cluster_running_of},
    {"switchyard_cluster_backlog", "Attempts that wait on the cluster's nodes.", backlog_of},
};

static void put_clusters(struct sy_buf *text, const status_response *status)
{
    for (size_t i = 0; i < SY_COUNT_OF(cluster_metrics); i++) {
        const struct cluster_metric *metric = &cluster_metrics[i];
        head(text, metric->name, "gauge", metric->help);
        for (size_t c = 0; c < status->n_clusters; c++) {
            sy_buf_printf(text, "%s{cluster=", metric->name);
            put_value(text, status->clusters[c]->name);
            sy_buf_printf(text, "} %llu\n", (unsigned long long)metric->of(status->clusters[c]));
        }
    }
}

/* ---- the process ---- */

/* 0 when it cannot be read. */
static uint64_t resident_bytes(void)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) statm = {0};
    unsigned long long pages = 0;
    if (sy_file_read("/proc/self/statm", STATM_BYTES_MAX, &statm) < 0)
        return 0;
    sy_buf_append(&statm, "", 1);
    if (sscanf((const char *)statm.data, "%*u %llu", &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    int r = getrusage(RUSAGE_SELF, &usage);
    SY_ASSERT(r == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void put_process(struct sy_buf *text, const struct sy_server *server)
{
    head(text, "process_cpu_seconds_total", "counter", "User and system CPU time.");
    sy_buf_printf(text, "process_cpu_seconds_total %.3f\n", cpu_seconds());
    head(text, "process_resident_memory_bytes", "gauge", "Resident memory.");
    sy_buf_printf(text, "process_resident_memory_bytes %llu\n",
                  (unsigned long long)resident_bytes());
    if (server == NULL)
        return;
    head(text, "switchyard_calls_open", "gauge", "Calls and streams that are open.");
    sy_buf_printf(text, "switchyard_calls_open %zu\n", sy_server_calls(server));
}

static void answer(struct cp_page *page)
{
    const status_response *status = page->state;
    struct sy_buf text = {0};
    put_partitions(&text, status);
    put_clusters(&text, status);
    put_process(&text, page->source.server);
    cp_page_reply(page, 200, METRICS_TYPE, &text);
}

void cp_page_metrics(struct cp_page *page)
{
    static const Switchyard__V1__GetRegionStatusRequest request =
        SWITCHYARD__V1__GET_REGION_STATUS_REQUEST__INIT;
    const struct cp_page_question question = {
        .method = "/switchyard.v1.RegionService/GetRegionStatus",
        .request = &request.base,
        .response = &switchyard__v1__get_region_status_response__descriptor,
    };
    page->next = answer;
    cp_page_ask(page, &question, &page->state);
}
