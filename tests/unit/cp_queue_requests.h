/* Requests about queues, and what every partition knows of them; after cp_requests.h. */
#pragma once

#include "tests/unit/cp_requests.h"

#include "controlplane/queues.h"

#define QUEUES "/switchyard.v1.QueueService/"

/* Of all methods about one queue: they have the id in field 1. */
struct queue_request {
    Switchyard__V1__UpdateQueueRequest request; /* CreateQueueRequest begins alike */
    Switchyard__V1__QueueId id;
    Switchyard__V1__QueueSettings settings;
};

UNUSED static void queue_init(struct queue_request *q, const char *project, const char *domain,
                              const char *name)
{
    switchyard__v1__update_queue_request__init(&q->request);
    switchyard__v1__queue_id__init(&q->id);
    switchyard__v1__queue_settings__init(&q->settings);
    q->id.project = text_of(project);
    q->id.domain = text_of(domain);
    q->id.name = text_of(name);
    q->request.id = &q->id;
    q->request.settings = &q->settings;
}

/* All methods that answer with a queue do it in field 1. */
UNUSED static Switchyard__V1__Queue *queue_call(struct world *w, const char *method,
                                                const struct queue_request *q)
{
    Switchyard__V1__GetQueueResponse *response = call_ok(
        w, method, &q->request.base, &switchyard__v1__get_queue_response__descriptor);
    ck_assert_ptr_nonnull(response->queue);
    return response->queue;
}

UNUSED static Switchyard__V1__Queue *queue_create(struct world *w, const char *project,
                                                  const char *domain, const char *name)
{
    struct queue_request q;
    queue_init(&q, project, domain, name);
    return queue_call(w, QUEUES "CreateQueue", &q);
}

UNUSED static void queue_delete(struct world *w, const char *project, const char *domain,
                                const char *name)
{
    struct queue_request q;
    queue_init(&q, project, domain, name);
    q.request.settings = NULL; /* another field has its number */
    call_ok(w, QUEUES "DeleteQueue", &q.request.base, NULL);
}

UNUSED static Switchyard__V1__Queue *queue_get(struct world *w, const char *project,
                                               const char *domain, const char *name)
{
    struct queue_request q;
    queue_init(&q, project, domain, name);
    return queue_call(w, QUEUES "GetQueue", &q);
}

/* ---- what a partition knows ---- */

struct known {
    struct sy_buf rows;
    size_t count;
};

UNUSED static bool know_row(void *ctx, struct sy_span key, struct sy_span value)
{
    struct known *known = ctx;
    sy_buf_append(&known->rows, key.data, key.len);
    sy_buf_append(&known->rows, value.data, value.len);
    known->count++;
    return true;
}

UNUSED static void know(struct world *w, uint32_t partition, struct known *known)
{
    struct cp_partition *p = cp_shard_partition(w->shard, partition);
    struct cp_registry_key from = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, NULL);
    struct cp_registry_key to = cp_registry_after(&from);
    *known = (struct known){.count = 0};
    int r = cp_partition_registry_scan(p, cp_registry_span(&from), cp_registry_span(&to), know_row,
                                       known);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(cp_queue_count(p), known->count);
}

/* Every partition has the same rows; how many. */
UNUSED static size_t queues_agree(struct world *w)
{
    struct known first, other;
    know(w, 0, &first);
    for (uint32_t i = 1; i < w->partitions; i++) {
        know(w, i, &other);
        ck_assert_uint_eq(first.rows.len, other.rows.len);
        if (first.rows.len > 0)
            ck_assert_mem_eq(first.rows.data, other.rows.data, first.rows.len);
        sy_buf_deinit(&other.rows);
    }
    sy_buf_deinit(&first.rows);
    return first.count;
}
