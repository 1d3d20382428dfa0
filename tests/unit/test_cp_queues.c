/* links: cp */
#include "tests/unit/cp_queue_requests.h"

static const char *list(struct world *w, const char *project, const char *domain, uint32_t limit)
{
    static char text[4096];
    Switchyard__V1__ListQueuesRequest request = SWITCHYARD__V1__LIST_QUEUES_REQUEST__INIT;
    request.project = text_of(project);
    request.domain = text_of(domain);
    request.limit = limit;
    text[0] = '\0';
    for (;;) {
        Switchyard__V1__ListQueuesResponse *page = call_ok(
            w, QUEUES "ListQueues", &request.base,
            &switchyard__v1__list_queues_response__descriptor);
        ck_assert(limit == 0 || page->n_queues <= limit);
        for (size_t i = 0; i < page->n_queues; i++) {
            const Switchyard__V1__QueueId *id = page->queues[i]->id;
            size_t len = strlen(text);
            ck_assert_ptr_nonnull(page->queues[i]->status);
            snprintf(text + len, sizeof(text) - len, "%s/%s/%s ", id->project, id->domain,
                     id->name);
        }
        if (page->token[0] == '\0')
            return text;
        request.token = page->token;
    }
}

static void refused(struct world *w, const char *method, const struct queue_request *q,
                    enum sy_code code, const char *says)
{
    call_fails(w, method, &q->request.base, code, says);
}

START_TEST(queues_are_created_changed_and_deleted)
{
    struct world w;
    world_init_for(&w, _i);
    struct queue_request q;
    queue_init(&q, "p", "d", "batch");
    q.settings.actions_max = 7;
    q.settings.queued_timeout_ns = 5;
    char *clusters[] = {text_of("c1"), text_of("c2")};
    q.settings.clusters = clusters;
    q.settings.n_clusters = 2;
    const Switchyard__V1__Queue *made = queue_call(&w, QUEUES "CreateQueue", &q);
    ck_assert_uint_eq(made->settings->weight, 100); /* the default */
    ck_assert_uint_gt(made->revision, 0);
    ck_assert_int_eq(made->created_ns, made->updated_ns);
    ck_assert_uint_eq(queue_call(&w, QUEUES "CreateQueue", &q)->revision, made->revision);
    q.settings.actions_max = 8;
    call_fails(&w, QUEUES "CreateQueue", &q.request.base, SY_CODE_ALREADY_EXISTS, "p/d/batch");

    char *fields[] = {text_of("weight"), text_of("clusters")};
    queue_init(&q, "p", "d", "batch");
    q.settings.weight = 3;
    q.request.fields = fields;
    q.request.n_fields = 2;
    q.request.revision = made->revision;
    const Switchyard__V1__Queue *changed = queue_call(&w, QUEUES "UpdateQueue", &q);
    ck_assert_uint_gt(changed->revision, made->revision);
    ck_assert_uint_eq(changed->settings->weight, 3);
    ck_assert_uint_eq(changed->settings->n_clusters, 0);
    ck_assert_uint_eq(changed->settings->actions_max, 7);
    ck_assert_int_eq(changed->settings->queued_timeout_ns, 5);
    call_fails(&w, QUEUES "UpdateQueue", &q.request.base, SY_CODE_ABORTED, "changed meanwhile");

    queue_init(&q, "p", "d", "batch");
    ck_assert(queue_call(&w, QUEUES "PauseQueue", &q)->settings->paused);
    const Switchyard__V1__Queue *paused = queue_call(&w, QUEUES "PauseQueue", &q);
    ck_assert_uint_eq(queue_get(&w, "p", "d", "batch")->revision, paused->revision);
    ck_assert_uint_eq(paused->settings->actions_max, 7);
    ck_assert_uint_eq(queues_agree(&w), 1);
    world_restart(&w);
    ck_assert(queue_get(&w, "p", "d", "batch")->settings->paused);
    ck_assert(!queue_call(&w, QUEUES "ResumeQueue", &q)->settings->paused);

    uint64_t last = queue_get(&w, "p", "d", "batch")->revision;
    queue_delete(&w, "p", "d", "batch");
    queue_init(&q, "p", "d", "batch");
    q.request.settings = NULL;
    refused(&w, QUEUES "DeleteQueue", &q, SY_CODE_NOT_FOUND, "p/d/batch");
    call_fails(&w, QUEUES "GetQueue", &q.request.base, SY_CODE_NOT_FOUND, "p/d/batch");
    ck_assert_uint_eq(queues_agree(&w), 0);
    ck_assert_uint_gt(queue_create(&w, "p", "d", "batch")->revision, last);
    world_deinit(&w);
}
END_TEST

START_TEST(queues_are_listed_in_pages)
{
    struct world w;
    world_init_for(&w, _i);
    static const char *const ids[][3] = {
        {"", "", "gpu"},   {"a", "", ""},      {"a", "", "all"},   {"a", "dev", "one"},
        {"a", "prod", ""}, {"a", "prod", "x"}, {"b", "prod", "x"}, {"aa", "prod", "x"}};
    for (size_t i = SY_COUNT_OF(ids); i-- > 0;)
        queue_create(&w, ids[i][0], ids[i][1], ids[i][2]);
    for (uint32_t limit = 0; limit < 10; limit++) {
        ck_assert_str_eq(list(&w, "", "", limit), "//gpu a// a//all a/dev/one a/prod/ a/prod/x "
                                                  "aa/prod/x b/prod/x ");
        ck_assert_str_eq(list(&w, "a", "prod", limit), "//gpu a// a//all a/prod/ a/prod/x ");
        ck_assert_str_eq(list(&w, "a", "", limit), "//gpu a// a//all a/dev/one a/prod/ a/prod/x ");
        ck_assert_str_eq(list(&w, "c", "prod", limit), "//gpu ");
    }
    ck_assert_uint_eq(queues_agree(&w), SY_COUNT_OF(ids));
    Switchyard__V1__ListQueuesRequest bad = SWITCHYARD__V1__LIST_QUEUES_REQUEST__INIT;
    bad.token = text_of("nonsense");
    call_fails(&w, QUEUES "ListQueues", &bad.base, SY_CODE_INVALID_ARGUMENT, "token");
    ck_assert_uint_eq(queue_get(&w, "c", "prod", "default")->revision, 0);
    world_deinit(&w);
}
END_TEST

START_TEST(wrong_settings_are_refused)
{
    struct world w;
    world_init_for(&w, _i);
    struct queue_request q;
    const enum sy_code invalid = SY_CODE_INVALID_ARGUMENT;
    queue_init(&q, "", "prod", "x");
    refused(&w, QUEUES "CreateQueue", &q, invalid, "domain");
    queue_init(&q, "", "", "");
    refused(&w, QUEUES "CreateQueue", &q, invalid, "name");
    queue_init(&q, "p", "d", "no/slash");
    refused(&w, QUEUES "CreateQueue", &q, invalid, "id.name");
    queue_init(&q, "p", "d", "x");
    q.request.id = NULL;
    refused(&w, QUEUES "GetQueue", &q, invalid, "id: missing");
    queue_init(&q, "p", "d", "x");
    q.settings.weight = 10001;
    q.settings.priority = -2000;
    refused(&w, QUEUES "CreateQueue", &q, invalid, "weight 10001");
    refused(&w, QUEUES "CreateQueue", &q, invalid, "priority -2000");
    queue_init(&q, "p", "d", "x");
    q.settings.policy = 77;
    refused(&w, QUEUES "CreateQueue", &q, invalid, "policy");
    char *twice[] = {text_of("c1"), text_of("c1")}, *many[17];
    queue_init(&q, "p", "d", "x");
    q.settings.clusters = twice;
    q.settings.n_clusters = 2;
    refused(&w, QUEUES "CreateQueue", &q, invalid, "twice");
    for (size_t i = 0; i < SY_COUNT_OF(many); i++)
        many[i] = text_of("c1");
    q.settings.clusters = many;
    q.settings.n_clusters = SY_COUNT_OF(many);
    refused(&w, QUEUES "CreateQueue", &q, invalid, "at most 16");
    refused(&w, QUEUES "UpdateQueue", &q, SY_CODE_NOT_FOUND, "p/d/x");
    refused(&w, QUEUES "PauseQueue", &q, SY_CODE_NOT_FOUND, "p/d/x");
    ck_assert_uint_eq(queues_agree(&w), 0);

    queue_create(&w, "p", "d", "x");
    char *fields[] = {text_of("colour")}, *weight[] = {text_of("weight")};
    queue_init(&q, "p", "d", "x");
    q.request.n_fields = 1;
    q.request.fields = fields;
    refused(&w, QUEUES "UpdateQueue", &q, invalid, "colour");
    q.request.fields = weight;
    refused(&w, QUEUES "UpdateQueue", &q, invalid, "weight 0");
    world_deinit(&w);
}
END_TEST

static void with_parent(struct world *w, const char *method, const char *name, const char *parent,
                        enum sy_code code, const char *says)
{
    struct queue_request q;
    char *fields[] = {text_of("parent")};
    queue_init(&q, "p", "d", name);
    q.settings.parent = text_of(parent);
    if (strcmp(method, QUEUES "UpdateQueue") == 0) {
        q.request.n_fields = 1;
        q.request.fields = fields;
    }
    if (code == SY_CODE_OK)
        queue_call(w, method, &q);
    else
        refused(w, method, &q, code, says);
}

START_TEST(trees_are_checked)
{
    struct world w;
    world_init_for(&w, _i);
    const enum sy_code wrong = SY_CODE_FAILED_PRECONDITION;
    queue_create(&w, "p", "", "b"); /* of the project: no parent for those of a domain */
    with_parent(&w, QUEUES "CreateQueue", "c", "b", wrong, "no such queue");
    with_parent(&w, QUEUES "CreateQueue", "c", "c", SY_CODE_INVALID_ARGUMENT, "itself");
    queue_create(&w, "p", "d", "a");
    with_parent(&w, QUEUES "CreateQueue", "b", "a", SY_CODE_OK, "");
    with_parent(&w, QUEUES "CreateQueue", "c", "b", SY_CODE_OK, "");
    with_parent(&w, QUEUES "CreateQueue", "d", "c", SY_CODE_OK, "");
    with_parent(&w, QUEUES "CreateQueue", "e", "d", wrong, "at most 4");
    with_parent(&w, QUEUES "UpdateQueue", "a", "d", wrong, "circle");
    with_parent(&w, QUEUES "UpdateQueue", "b", "c", wrong, "circle");
    queue_create(&w, "p", "d", "top");
    with_parent(&w, QUEUES "UpdateQueue", "a", "top", wrong, "at most 4");
    with_parent(&w, QUEUES "UpdateQueue", "c", "", SY_CODE_OK, "");
    with_parent(&w, QUEUES "UpdateQueue", "a", "d", SY_CODE_OK, "");
    with_parent(&w, QUEUES "UpdateQueue", "c", "b", wrong, "circle");

    struct queue_request q;
    queue_init(&q, "p", "d", "d");
    q.request.settings = NULL;
    refused(&w, QUEUES "DeleteQueue", &q, wrong, "below it (1)");
    world_restart(&w); /* the core hears of parents first */
    ck_assert_uint_eq(queues_agree(&w), 6);
    with_parent(&w, QUEUES "UpdateQueue", "a", "", SY_CODE_OK, "");
    queue_delete(&w, "p", "d", "top");
    ck_assert_uint_eq(queues_agree(&w), 5);
    world_deinit(&w);
}
END_TEST

START_TEST(a_region_has_so_many_queues)
{
    struct world w;
    world_init_stopped(&w, 3);
    w.options.queues_max = 3;
    world_connect(&w);
    world_for(&w, 10 * SY_NS_PER_MS);
    queue_create(&w, "a", "d", "x");
    queue_create(&w, "b", "d", "x");
    queue_create(&w, "c", "d", "x");
    struct queue_request q;
    queue_init(&q, "d", "d", "x");
    refused(&w, QUEUES "CreateQueue", &q, SY_CODE_RESOURCE_EXHAUSTED, "at most 3");
    queue_create(&w, "a", "d", "x"); /* it is there */
    queue_delete(&w, "b", "d", "x");
    queue_create(&w, "d", "d", "x");
    ck_assert_uint_eq(queues_agree(&w), 3);
    world_deinit(&w);
}
END_TEST

/* ---- crashes ---- */

static void crash(struct world *w, bool keep)
{
    for (uint32_t i = 0; i < w->partitions; i++)
        cp_mem_disk_keep_in_flight(w->disks[i], keep);
    cp_shard_free(w->shard);
    world_start_shard(w);
    world_for(w, SY_NS_PER_S);
}

static uint32_t weight_of(struct world *w)
{
    return queue_get(w, "p", "d", "x")->settings->weight;
}

/* The shard dies at each moment of a change: it is everywhere or nowhere, and everywhere when the
 * caller has heard OK. A commit takes 100 us. */
static void change_through_crash(struct world *w, const char *method, uint32_t weight, int64_t us,
                                 bool keep, struct reply *reply)
{
    struct queue_request q;
    char *fields[] = {text_of("weight")};
    queue_init(&q, "p", "d", "x");
    q.settings.weight = weight;
    if (strcmp(method, QUEUES "UpdateQueue") == 0) {
        q.request.n_fields = 1;
        q.request.fields = fields;
    } else if (strcmp(method, QUEUES "DeleteQueue") == 0) {
        q.request.settings = NULL;
    }
    struct call call = {.method = method, .request = &q.request.base};
    int64_t at_ns = w->now_ns + us * SY_NS_PER_US;
    call_start(w, &call, reply);
    while (w->now_ns < at_ns)
        world_turn(w);
    enum sy_code code = reply->done ? reply->code : SY_CODE_UNAVAILABLE;
    crash(w, keep);
    world_until(w, reply->done);
    reply->code = code; /* as it was heard before the crash */
    sy_buf_deinit(&reply->bytes);
}

START_TEST(changes_are_everywhere_or_nowhere_after_crashes)
{
    struct world w;
    world_init_for(&w, _i);
    unsigned lost = 0, kept = 0;
    for (int64_t us = 0; us < 500; us += 9) {
        for (int keep = 0; keep < 2; keep++) {
            struct reply reply;
            change_through_crash(&w, QUEUES "CreateQueue", 10, us, keep, &reply);
            size_t count = queues_agree(&w);
            ck_assert(count == 1 || reply.code != SY_CODE_OK);
            lost += count == 0;
            if (count == 0)
                queue_create(&w, "p", "d", "x");
            uint32_t before = weight_of(&w);
            change_through_crash(&w, QUEUES "UpdateQueue", 20, us, keep, &reply);
            ck_assert_uint_eq(queues_agree(&w), 1);
            uint32_t after = weight_of(&w);
            ck_assert(after == 20 || (after == before && reply.code != SY_CODE_OK));
            change_through_crash(&w, QUEUES "DeleteQueue", 0, us, keep, &reply);
            count = queues_agree(&w);
            ck_assert(count == 0 || reply.code != SY_CODE_OK);
            kept += count == 1;
            if (count == 1)
                queue_delete(&w, "p", "d", "x");
        }
    }
    ck_assert_uint_gt(lost, 0); /* some died too early, */
    ck_assert_uint_lt(lost, 50);
    ck_assert_uint_gt(kept, 0); /* and of both kinds of change */
    world_deinit(&w);
}
END_TEST

static uint32_t home_of(const struct world *w)
{
    return cp_range_even_of(cp_queue_hash("p", "d"), w->partitions);
}

static enum sy_code set_weight(struct world *w, uint32_t weight, struct sy_error_text *ret_text)
{
    struct queue_request q;
    char *fields[] = {text_of("weight")};
    queue_init(&q, "p", "d", "x");
    q.settings.weight = weight;
    q.request.n_fields = 1;
    q.request.fields = fields;
    struct call call = {.method = QUEUES "UpdateQueue", .request = &q.request.base};
    return call_full(w, &call, NULL, NULL, ret_text);
}

/* One partition's disk fails in the middle: the caller waits until it is back, and knows. */
START_TEST(a_partition_that_was_away_catches_up)
{
    struct world w;
    world_init_for(&w, _i);
    struct sy_error_text text;
    queue_create(&w, "p", "d", "x");
    for (uint32_t victim = 0; victim < w.partitions; victim++) {
        cp_mem_disk_set(w.disks[victim], 100 * SY_NS_PER_US, 0);
        enum sy_code code = set_weight(&w, 50 + victim, &text);
        ck_assert((code == SY_CODE_OK) == (victim != home_of(&w)));
        if (code == SY_CODE_OK)
            ck_assert_uint_eq(queues_agree(&w), 1);
        world_for(&w, 2 * SY_NS_PER_S);
        ck_assert_uint_eq(queues_agree(&w), 1);
        ck_assert_int_eq(set_weight(&w, 50 + victim, &text), SY_CODE_OK); /* the repeat */
        ck_assert_uint_eq(weight_of(&w), 50 + victim);
        ck_assert_uint_eq(queues_agree(&w), 1);
    }
    world_deinit(&w);
}
END_TEST

/* It hears of the change later all the same, and of those that were made meanwhile. */
START_TEST(a_caller_does_not_wait_for_ever)
{
    struct world w;
    world_init_for(&w, _i);
    struct sy_error_text text;
    queue_create(&w, "p", "d", "x");
    for (uint32_t victim = 0; victim < w.partitions; victim++) {
        if (victim == home_of(&w))
            continue;
        cp_mem_disk_set(w.disks[victim], 8 * SY_NS_PER_S, -1);
        int64_t begun_ns = w.now_ns;
        ck_assert_int_eq(set_weight(&w, 50 + victim, &text), SY_CODE_UNAVAILABLE);
        ck_assert_ptr_nonnull(strstr(text.text, "not every partition knows"));
        ck_assert_int_lt(w.now_ns - begun_ns, 6 * SY_NS_PER_S);
        cp_mem_disk_set(w.disks[victim], 100 * SY_NS_PER_US, -1);
        ck_assert_int_eq(set_weight(&w, 70 + victim, &text), SY_CODE_OK);
        ck_assert_uint_eq(queues_agree(&w), 1);
    }
    world_deinit(&w);
}
END_TEST

/* More than one message brings. */
START_TEST(many_changes_wait_for_one_partition)
{
    enum { QUEUES_MANY = 50 };
    struct world w;
    world_init_for(&w, _i);
    static struct reply replies[QUEUES_MANY];
    uint32_t victim = (home_of(&w) + 1) % w.partitions;
    queue_create(&w, "p", "d", "x"); /* all have heard of the home */
    cp_mem_disk_set(w.disks[victim], SY_NS_PER_S, -1);
    for (int i = 0; i < QUEUES_MANY; i++) {
        struct queue_request q;
        char name[16];
        snprintf(name, sizeof(name), "q-%d", i);
        queue_init(&q, "p", "d", name);
        struct call call = {.method = QUEUES "CreateQueue", .request = &q.request.base};
        call_start(&w, &call, &replies[i]);
    }
    for (int i = 0; i < QUEUES_MANY; i++) {
        world_until(&w, replies[i].done);
        ck_assert(replies[i].code == SY_CODE_OK || victim == home_of(&w));
        sy_buf_deinit(&replies[i].bytes);
    }
    ck_assert_uint_ge(queues_agree(&w), victim != home_of(&w) ? QUEUES_MANY + 1 : 1);
    world_deinit(&w);
}
END_TEST

/* The queue went, but one partition could not hear of it: the repeat says that there is no such
 * queue only when that is so everywhere. */
START_TEST(a_repeated_deletion_is_everywhere)
{
    struct world w;
    world_init_for(&w, _i);
    for (uint32_t victim = 0; victim < w.partitions; victim++) {
        queue_create(&w, "p", "d", "x");
        if (victim == home_of(&w))
            cp_mem_disk_set(w.disks[victim], 100 * SY_NS_PER_US, 0);
        else
            cp_mem_disk_set(w.disks[victim], 8 * SY_NS_PER_S, -1);
        struct queue_request q;
        queue_init(&q, "p", "d", "x");
        q.request.settings = NULL;
        struct call call = {.method = QUEUES "DeleteQueue", .request = &q.request.base};
        enum sy_code code = call_full(&w, &call, NULL, NULL, NULL);
        ck_assert_int_ne(code, SY_CODE_OK);
        cp_mem_disk_set(w.disks[victim], 100 * SY_NS_PER_US, -1);
        while (code != SY_CODE_OK && code != SY_CODE_NOT_FOUND) {
            world_for(&w, 10 * SY_NS_PER_MS);
            code = call_full(&w, &call, NULL, NULL, NULL);
        }
        ck_assert_uint_eq(queues_agree(&w), 0);
    }
    world_deinit(&w);
}
END_TEST

/* Of many changes at once all partitions keep the same. */
START_TEST(changes_at_once_stay_in_order)
{
    enum { CHANGES = 60 };
    struct world w;
    world_init_for(&w, _i);
    static struct reply replies[CHANGES];
    for (int round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < CHANGES; i++) {
            struct queue_request q;
            char name[] = {(char)('a' + i % 3), '\0'};
            bool deletes = i % 7 == 6;
            queue_init(&q, "p", i % 2 == 0 ? "d" : "e", name);
            q.settings.weight = 1 + i;
            struct call call = {.method = deletes      ? QUEUES "DeleteQueue"
                                          : i % 3 == 0 ? QUEUES "CreateQueue"
                                                       : QUEUES "UpdateQueue",
                                .request = &q.request.base};
            if (deletes)
                q.request.settings = NULL;
            call_start(&w, &call, &replies[i]);
            if (i % 5 == 0)
                world_turn(&w);
        }
        for (uint32_t i = 0; i < CHANGES; i++) {
            world_until(&w, replies[i].done);
            sy_buf_deinit(&replies[i].bytes);
        }
        size_t count = queues_agree(&w);
        ck_assert_uint_le(count, 6);
        world_restart(&w);
        ck_assert_uint_eq(queues_agree(&w), count);
    }
    world_deinit(&w);
}
END_TEST

int main(void)
{
    const TTest *const each[] = {queues_are_created_changed_and_deleted,
                                 queues_are_listed_in_pages,
                                 wrong_settings_are_refused,
                                 trees_are_checked,
                                 changes_are_everywhere_or_nowhere_after_crashes,
                                 a_partition_that_was_away_catches_up,
                                 a_caller_does_not_wait_for_ever,
                                 many_changes_wait_for_one_partition,
                                 a_repeated_deletion_is_everywhere,
                                 changes_at_once_stay_in_order,
                                 NULL};
    const TTest *const once[] = {a_region_has_so_many_queues, NULL};
    return world_tests("cp_queues", each, once);
}
