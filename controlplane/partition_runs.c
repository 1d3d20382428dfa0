/*
 * Watches of which runs changed. A change is an id, and many changes of one run are one. When more
 * ids wait than we keep for a reader, it gets all runs from the lowest of them on: too many, but
 * none is missed and nothing grows.
 */
#include "controlplane/partition_watch.h"

#define CHANGED_MAX 4096
#define SCAN_ROWS_MAX 4096 /* in one read */

struct cp_watch *cp_watch_runs(struct cp_partition *p, const char *project, const char *domain,
                               void (*on_more)(void *ctx), void *ctx)
{
    struct cp_watch *watch = cp_watch_new(p, CP_WATCH_RUNS, on_more, ctx);
    watch->no_match = strlen(project) >= SCH_NAME_MAX || strlen(domain) >= SCH_NAME_MAX;
    if (!watch->no_match) {
        memcpy(watch->project, project, strlen(project));
        memcpy(watch->domain, domain, strlen(domain));
    }
    return watch;
}

uint64_t cp_partition_run_changes(const struct cp_partition *p)
{
    return p->run_changes;
}

/* ---- the oldest ---- */

static bool see_run(void *ctx, struct sch_run *run)
{
    uint64_t *oldest = ctx;
    *oldest = run->id < *oldest ? run->id : *oldest;
    return true;
}

static void see_group(const struct cp_group *group, uint64_t *oldest)
{
    for (size_t i = 0; group && i < group->chunk_count; i++) {
        if (group->chunks[i].run_id < *oldest)
            *oldest = group->chunks[i].run_id;
    }
}

uint64_t cp_partition_oldest_run(const struct cp_partition *p)
{
    uint64_t oldest = p->durable_id_high + 1; /* what is made later has a greater one */
    if (p->core)
        sch_partition_each_run(p->core, see_run, &oldest);
    see_group(p->open, &oldest); /* those that have ended for the core only */
    see_group(p->sealed, &oldest);
    return oldest;
}

/* ---- changes ---- */

void cp_watch_runs_deinit(struct cp_watch *watch)
{
    free(watch->changed);
}

/* The first place with an id >= `id`. */
static size_t place_of(const struct cp_watch *watch, uint64_t id)
{
    size_t low = 0, high = watch->changed_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (watch->changed[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_changed(struct cp_watch *watch, uint64_t id)
{
    if (watch->scan_from != 0 && id >= watch->scan_from)
        return;
    size_t at = place_of(watch, id);
    if (at < watch->changed_count && watch->changed[at] == id)
        return;
    if (watch->changed_count == CHANGED_MAX) {
        watch->scan_from = id < watch->changed[0] ? id : watch->changed[0];
        watch->changed_count = 0;
        return;
    }
    if (watch->changed_count == watch->changed_cap) {
        watch->changed_cap = watch->changed_cap ? watch->changed_cap * 2 : 16;
        watch->changed = sy_realloc(watch->changed, watch->changed_cap * sizeof(*watch->changed));
    }
    memmove(watch->changed + at + 1, watch->changed + at,
            (watch->changed_count - at) * sizeof(*watch->changed));
    watch->changed[at] = id;
    watch->changed_count++;
}

static bool matches(const struct cp_watch *watch, struct sy_span project, struct sy_span domain)
{
    if (watch->no_match)
        return false;
    size_t project_len = strlen(watch->project), domain_len = strlen(watch->domain);
    if (project_len > 0 &&
        (project.len != project_len || memcmp(project.data, watch->project, project_len) != 0))
        return false;
    return domain_len == 0 ||
           (domain.len == domain_len && memcmp(domain.data, watch->domain, domain_len) == 0);
}

void cp_watch_notify_run(struct cp_partition *p, uint64_t run_id, const struct cp_live_run *live)
{
    struct sy_span project = {(const uint8_t *)live->project, strlen(live->project)};
    struct sy_span domain = {(const uint8_t *)live->domain, strlen(live->domain)};
    p->run_changes++;
    for (struct cp_watch *watch = p->runs_watches; watch; watch = watch->next) {
        if (!matches(watch, project, domain))
            continue;
        add_changed(watch, run_id);
        cp_watch_make_ready(p, watch);
    }
}

/* Goes on with the scan; ends it when the newest run is reached. */
static size_t scan(struct cp_watch *watch, uint64_t *ret_ids, size_t max)
{
    struct cp_partition *p = watch->p;
    struct cp_key from = cp_key_run(watch->scan_from);
    struct cp_iter *iter = cp_iter_new(p->store, CP_FAMILY_RUNS, cp_key_span(&from),
                                       (struct sy_span){0}, false);
    size_t count = 0, scanned = 0;
    for (; cp_iter_valid(iter) && count < max && scanned < SCAN_ROWS_MAX; cp_iter_next(iter)) {
        struct sy_span key = cp_iter_key(iter), row = cp_iter_value(iter);
        uint64_t id = key.len == 8 ? sy_get_be64(key.data) : watch->scan_from;
        if (matches(watch, cp_row_bytes(row, 1), cp_row_bytes(row, 2)) &&
            !cp_run_is_foreign(p, row))
            ret_ids[count++] = id;
        watch->scan_from = id + 1;
        scanned++;
    }
    bool more = cp_iter_valid(iter);
    int r = cp_iter_error(iter);
    cp_iter_free(iter);
    if (r < 0)
        cp_fail_later(p, r);
    if (!more)
        watch->scan_from = 0;
    else
        cp_watch_make_ready(p, watch);
    return count;
}

size_t cp_watch_read_runs(struct cp_watch *watch, uint64_t *ret_ids, size_t max)
{
    SY_ASSERT(watch->kind == CP_WATCH_RUNS);
    if (!cp_watch_can_read(watch))
        return 0;
    size_t count = watch->changed_count < max ? watch->changed_count : max;
    if (count > 0) {
        memcpy(ret_ids, watch->changed, count * sizeof(*ret_ids));
        watch->changed_count -= count;
        memmove(watch->changed, watch->changed + count,
                watch->changed_count * sizeof(*watch->changed));
    }
    if (watch->scan_from != 0 && count < max)
        count += scan(watch, ret_ids + count, max - count);
    return count;
}

bool cp_watch_runs_are_read(const struct cp_watch *watch)
{
    SY_ASSERT(watch->kind == CP_WATCH_RUNS);
    return watch->changed_count == 0 && watch->scan_from == 0;
}
