#include "controlplane/task_groups.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controlplane/flyte.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_text(char **text, const char *to)
{
    if (*text != NULL && strcmp(*text, to) == 0)
        return;
    free(*text);
    *text = sy_strdup(to);
}

static void group_free(struct cp_task_group *group)
{
    free(group->task);
    free(group->environment);
    free(group->short_name);
    free(group);
}

void cp_task_groups_clear(struct cp_task_groups *groups)
{
    SY_MAP_EACH(&groups->map, at, next)
    {
        sy_map_remove(&groups->map, at);
        group_free(sy_map_entry(at, struct cp_task_group, link));
    }
    sy_map_deinit(&groups->map);
    *groups = (struct cp_task_groups){0};
}

struct cp_task_group *cp_task_groups_find(const struct cp_task_groups *groups, const char *task)
{
    return sy_map_entry(sy_map_find(&groups->map, task, strlen(task)), struct cp_task_group, link);
}

static struct cp_task_group *find_or_make(struct cp_task_groups *groups, const char *task)
{
    struct cp_task_group *group = cp_task_groups_find(groups, task);
    if (group != NULL)
        return group;
    group = sy_new(struct cp_task_group);
    group->task = sy_strdup(task);
    sy_map_add(&groups->map, &group->link, group->task, strlen(group->task));
    return group;
}

/* The names are those of the newest run. */
static void see_latest(struct cp_task_group *group, int64_t created_ns, const char *environment,
                       const char *short_name)
{
    if (group->environment != NULL && created_ns <= group->latest_run_ns)
        return;
    group->latest_run_ns = created_ns;
    set_text(&group->environment, environment);
    set_text(&group->short_name, short_name);
}

static void see_finished(struct cp_task_group *group, int64_t finished_ns)
{
    if (finished_ns > group->latest_finished_ns)
        group->latest_finished_ns = finished_ns;
}

static bool newer(const struct cp_task_group_recent *a, const struct cp_task_group_recent *b)
{
    if (a->created_ns != b->created_ns)
        return a->created_ns > b->created_ns;
    return strcmp(a->name, b->name) < 0;
}

static void add_recent(struct cp_task_group *group, const struct cp_task_group_recent *run)
{
    size_t at = group->recent_count;
    while (at > 0 && newer(run, &group->recent[at - 1]))
        at--;
    if (at == CP_TASK_GROUP_RECENT)
        return;
    if (group->recent_count < CP_TASK_GROUP_RECENT)
        group->recent_count++;
    memmove(&group->recent[at + 1], &group->recent[at],
            (group->recent_count - 1 - at) * sizeof(group->recent[0]));
    group->recent[at] = *run;
}

static void add_error(struct cp_task_group *group, const Flyteidl2__Core__ExecutionError *error)
{
    group->failed++;
    switch (error->kind) {
    case FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__USER:
        group->user_errors++;
        break;
    case FLYTEIDL2__CORE__EXECUTION_ERROR__ERROR_KIND__SYSTEM:
        group->system_errors++;
        break;
    default:
        group->other_errors++;
        break;
    }
}

void cp_task_groups_add(struct cp_task_groups *groups, const struct cp_task_group_run *run)
{
    struct cp_task_group *group = find_or_make(groups, run->task);
    struct cp_task_group_recent recent = {.phase = run->phase, .created_ns = run->created_ns};
    snprintf(recent.name, sizeof(recent.name), "%s", run->name);
    add_recent(group, &recent);
    see_latest(group, run->created_ns, run->environment, run->short_name);
    group->runs++;
    if ((size_t)run->phase < CP_TASK_GROUP_PHASES)
        group->phases[run->phase]++;
    if (run->started_ns >= run->created_ns) {
        group->started++;
        group->to_running_ms += (run->started_ns - run->created_ns) / SY_NS_PER_MS;
    }
    if (run->error != NULL)
        add_error(group, run->error);
    if (run->finished_ns == 0)
        return;
    see_finished(group, run->finished_ns);
    group->ended++;
    if (run->finished_ns > run->created_ns) /* clocks may be set back */
        group->duration_ms += (run->finished_ns - run->created_ns) / SY_NS_PER_MS;
}

static void merge_group(struct cp_task_group *to, const struct cp_task_group *from)
{
    see_latest(to, from->latest_run_ns, from->environment, from->short_name);
    see_finished(to, from->latest_finished_ns);
    to->runs += from->runs;
    to->ended += from->ended;
    to->failed += from->failed;
    to->started += from->started;
    to->duration_ms += from->duration_ms;
    to->to_running_ms += from->to_running_ms;
    to->user_errors += from->user_errors;
    to->system_errors += from->system_errors;
    to->other_errors += from->other_errors;
    for (size_t i = 0; i < CP_TASK_GROUP_PHASES; i++)
        to->phases[i] += from->phases[i];
    for (size_t i = 0; i < from->recent_count; i++)
        add_recent(to, &from->recent[i]);
}

void cp_task_groups_merge(struct cp_task_groups *groups, const struct cp_task_groups *from)
{
    SY_MAP_EACH(&from->map, at, next)
    {
        const struct cp_task_group *group = sy_map_entry(at, struct cp_task_group, link);
        merge_group(find_or_make(groups, group->task), group);
    }
}

static int compare_latest(const void *a, const void *b)
{
    const struct cp_task_group *const *left = a, *const *right = b;
    if ((*left)->latest_run_ns != (*right)->latest_run_ns)
        return (*left)->latest_run_ns < (*right)->latest_run_ns ? -1 : 1;
    return strcmp((*left)->task, (*right)->task);
}

void cp_task_groups_sort(const struct cp_task_groups *groups, bool oldest_first,
                         struct cp_task_group **ret)
{
    size_t count = 0;
    SY_MAP_EACH(&groups->map, at, next)
    ret[count++] = sy_map_entry(at, struct cp_task_group, link);
    if (count > 0)
        qsort(ret, count, sizeof(void *), compare_latest);
    for (size_t i = 0; !oldest_first && i < count / 2; i++) {
        struct cp_task_group *group = ret[i];
        ret[i] = ret[count - 1 - i];
        ret[count - 1 - i] = group;
    }
}

/* ---- the message ---- */

/* Small and bounded: the caller's arena is made for it. */
static void *must(void *memory)
{
    SY_ASSERT(memory != NULL);
    return memory;
}

static void *make(struct sy_arena *arena, const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = must(sy_arena_alloc(arena, descriptor->sizeof_message));
    protobuf_c_message_init(descriptor, message);
    return message;
}

static Google__Protobuf__Duration *average(struct sy_arena *arena, int64_t sum_ms, int64_t count)
{
    if (count == 0)
        return NULL;
    Google__Protobuf__Duration *to = make(arena, &google__protobuf__duration__descriptor);
    to->seconds = sum_ms / count / 1000;
    to->nanos = (int32_t)(sum_ms / count % 1000 * SY_NS_PER_MS);
    return to;
}

static void set_phases(struct sy_arena *arena, Flyteidl2__Workflow__TaskGroup *to,
                       const struct cp_task_group *group)
{
    to->phase_counts = must(sy_arena_alloc(arena, CP_TASK_GROUP_PHASES * sizeof(void *)));
    for (size_t i = 0; i < CP_TASK_GROUP_PHASES; i++) {
        if (group->phases[i] == 0)
            continue;
        Flyteidl2__Workflow__TaskGroup__PhaseCounts *phase = make(
            arena, &flyteidl2__workflow__task_group__phase_counts__descriptor);
        phase->phase = (Flyteidl2__Common__ActionPhase)i;
        phase->count = group->phases[i];
        to->phase_counts[to->n_phase_counts++] = phase;
    }
}

static void set_recent(struct sy_arena *arena, Flyteidl2__Workflow__TaskGroup *to,
                       const struct cp_task_group *group)
{
    to->recent_statuses = must(sy_arena_alloc(arena, CP_TASK_GROUP_RECENT * sizeof(void *)));
    for (size_t i = 0; i < group->recent_count; i++) {
        Flyteidl2__Workflow__TaskGroup__RecentStatus *status = make(
            arena, &flyteidl2__workflow__task_group__recent_status__descriptor);
        status->run_name = (char *)(uintptr_t)group->recent[i].name;
        status->phase = group->recent[i].phase;
        to->recent_statuses[to->n_recent_statuses++] = status;
    }
}

Flyteidl2__Workflow__TaskGroup *cp_task_group_message(struct sy_arena *arena,
                                                      const struct cp_task_group *group)
{
    Flyteidl2__Workflow__TaskGroup *to = make(arena, &flyteidl2__workflow__task_group__descriptor);
    to->task_name = group->task;
    to->environment_name = group->environment;
    to->short_name = group->short_name;
    to->total_runs = group->runs;
    to->latest_run_time = cp_flyte_time(arena, group->latest_run_ns);
    to->latest_finished_time = cp_flyte_time(arena, group->latest_finished_ns);
    if (group->ended > 0)
        to->average_failure_rate = (double)group->failed / (double)group->ended;
    to->average_duration = average(arena, group->duration_ms, group->ended);
    to->average_time_to_running = average(arena, group->to_running_ms, group->started);
    to->error_counts = make(arena, &flyteidl2__workflow__task_group__error_counts__descriptor);
    to->error_counts->user_error = group->user_errors;
    to->error_counts->system_error = group->system_errors;
    to->error_counts->unspecified_error = group->other_errors;
    set_phases(arena, to, group);
    set_recent(arena, to, group);
    return to;
}

/* ---- between shards ---- */

Switchyard__Internal__GroupSums *cp_task_group_sums(struct sy_arena *arena,
                                                    const struct cp_task_group *group)
{
    Switchyard__Internal__GroupSums *to = make(arena,
                                               &switchyard__internal__group_sums__descriptor);
    to->task = group->task;
    to->environment = group->environment;
    to->short_name = group->short_name;
    to->runs = group->runs;
    to->ended = group->ended;
    to->failed = group->failed;
    to->started = group->started;
    to->duration_ms = group->duration_ms;
    to->to_running_ms = group->to_running_ms;
    to->user_errors = group->user_errors;
    to->system_errors = group->system_errors;
    to->other_errors = group->other_errors;
    to->latest_run_ns = group->latest_run_ns;
    to->latest_finished_ns = group->latest_finished_ns;
    to->n_phases = CP_TASK_GROUP_PHASES;
    to->phases = (int64_t *)(uintptr_t)group->phases;
    to->recent = must(sy_arena_alloc(arena, CP_TASK_GROUP_RECENT * sizeof(void *)));
    for (size_t i = 0; i < group->recent_count; i++) {
        Switchyard__Internal__GroupSums__Recent *recent = make(
            arena, &switchyard__internal__group_sums__recent__descriptor);
        recent->name = (char *)(uintptr_t)group->recent[i].name;
        recent->phase = group->recent[i].phase;
        recent->created_ns = group->recent[i].created_ns;
        to->recent[to->n_recent++] = recent;
    }
    return to;
}

void cp_task_groups_add_sums(struct cp_task_groups *groups,
                             const Switchyard__Internal__GroupSums *sums)
{
    struct cp_task_group from = {.environment = sums->environment,
                                 .short_name = sums->short_name,
                                 .runs = sums->runs,
                                 .ended = sums->ended,
                                 .failed = sums->failed,
                                 .started = sums->started,
                                 .duration_ms = sums->duration_ms,
                                 .to_running_ms = sums->to_running_ms,
                                 .user_errors = sums->user_errors,
                                 .system_errors = sums->system_errors,
                                 .other_errors = sums->other_errors,
                                 .latest_run_ns = sums->latest_run_ns,
                                 .latest_finished_ns = sums->latest_finished_ns};
    for (size_t i = 0; i < sums->n_phases && i < CP_TASK_GROUP_PHASES; i++)
        from.phases[i] = sums->phases[i];
    for (size_t i = 0; i < sums->n_recent && i < CP_TASK_GROUP_RECENT; i++) {
        struct cp_task_group_recent *recent = &from.recent[from.recent_count++];
        snprintf(recent->name, sizeof(recent->name), "%s", sums->recent[i]->name);
        recent->phase = (Flyteidl2__Common__ActionPhase)sums->recent[i]->phase;
        recent->created_ns = sums->recent[i]->created_ns;
    }
    merge_group(find_or_make(groups, sums->task), &from);
}
