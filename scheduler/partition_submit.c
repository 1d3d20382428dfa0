/*
 * What comes: runs, children, records of what a client ran itself, conditions; who is let in, and
 * the answer to those who are not.
 */
#include "scheduler/action_impl.h"
#include "scheduler/partition_cache.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"

#include <string.h>

void sch_reject(struct sch_partition *p, enum sch_reject why, struct sch_action_impl *existing,
                void *shell)
{
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_REJECTED);
    effect->u.rejected.why = why;
    effect->u.rejected.action = existing ? &existing->base : NULL;
    bool says = why == SCH_REJECT_INFEASIBLE || why == SCH_REJECT_NO_QUEUE ||
                why == SCH_REJECT_QUEUE_FULL;
    effect->u.rejected.text = says ? p->misses.text : NULL;
    effect->u.rejected.shell = shell;
}

const struct sch_gang_shape sch_no_gang = {.size = 0};

/* What ends in the step that makes it was never queued: it begins as a group does. */
static enum sch_action_state first_state(struct sch_partition *p, const struct sch_run_impl *run,
                                         const struct sch_task *task)
{
    if (task->instant || task->spec->group)
        return SCH_ACTION_GROUP;
    if (task->cache_key && sch_cache_find(p, task->cache_key))
        return SCH_ACTION_CACHE_WAIT;
    return sch_gate_first(run, 1);
}

struct sch_action_impl *sch_begin_action(struct sch_partition *p, const struct sch_action_new *new,
                                         bool ends, void *shell)
{
    struct sch_action_impl *a = sch_action_create(p, new);
    new->run->base.actions_total++;
    struct sch_effect *effect = sch_effect_add(p, SCH_EFFECT_CREATED);
    effect->u.created.action = &a->base;
    effect->u.created.shell = shell;
    effect->u.created.ends = ends;
    if (a->lane)
        sch_class_accepted(p, sch_action_class(a), a->base.id);
    return a;
}

/* An action that needs a spec: the root, or a child. */
static void begin_task(struct sch_partition *p, struct sch_action_new *new,
                       const struct sch_task *task, struct sch_share *tenant)
{
    new->id = sch_partition_new_id(p, new->run->place);
    new->spec = task->spec;
    new->tenant = tenant;
    new->priority = task->priority;
    new->created_ns = p->realtime_ns;
    new->state = first_state(p, new->run, task);
    struct sch_action_impl *a = sch_begin_action(p, new, task->instant, task->shell);
    if (tenant)
        sch_share_unref(p, tenant); /* its lane has one */
    if (task->instant) {
        struct sch_end end = {.state = SCH_ACTION_SUCCEEDED, .shell = task->shell};
        sch_action_end_as(p, a, &end);
        return;
    }
    sch_action_event(p, a, NULL, NULL, NULL);
    SY_ASSERT(!task->cache_key || !task->spec->group);
    if (task->cache_key)
        sch_cache_join(p, a, task->cache_key);
    if (new->state == SCH_ACTION_QUEUED || new->state == SCH_ACTION_HELD)
        sch_action_place(p, a, false);
}

static uint32_t count_of(const struct sch_task *task)
{
    return task->gang->size > 0 ? task->gang->size : 1;
}

/* A queue that takes it, and a cluster that could run it. */
static bool admit_to_queue(struct sch_partition *p, const struct sch_task *task,
                           const struct sch_share *tenant)
{
    enum sch_reject why = SCH_REJECT_NO_QUEUE;
    if (tenant)
        why = sch_share_has_length(p, tenant, count_of(task)) ? SCH_REJECT_INFEASIBLE
                                                              : SCH_REJECT_QUEUE_FULL;
    if (why == SCH_REJECT_INFEASIBLE &&
        sch_feasible(p, &task->spec->request, task->gang, tenant->rule, &p->misses))
        return true;
    sch_reject(p, why, NULL, task->shell);
    return false;
}

bool sch_admit(struct sch_partition *p, const struct sch_task *task, const char *project,
               const char *domain, struct sch_share **ret_tenant)
{
    *ret_tenant = NULL;
    if (task->instant)
        return true;
    if (p->actions_live + count_of(task) > p->options.actions_max) {
        sch_reject(p, SCH_REJECT_FULL, NULL, task->shell);
        return false;
    }
    if (task->spec->group)
        return true;
    struct sch_share *tenant = sch_share_find_tenant(p, project, domain, task->queue, false);
    if (admit_to_queue(p, task, tenant)) {
        *ret_tenant = tenant;
        return true;
    }
    if (tenant)
        sch_share_unref(p, tenant);
    return false;
}

void sch_submit_run(struct sch_partition *p, const struct sch_event *event)
{
    const char *project = event->u.create.project, *domain = event->u.create.domain;
    struct sch_task task = {.spec = event->u.create.spec,
                            .priority = event->u.create.priority,
                            .queue = event->u.create.queue,
                            .instant = event->u.create.instant,
                            .cache_key = event->u.create.cache_key,
                            .gang = &sch_no_gang,
                            .shell = event->u.create.shell};
    struct sch_run *existing = sch_partition_find_run(p, project, domain, event->u.create.name);
    struct sch_share *tenant;
    SY_ASSERT(task.spec);
    if (existing) {
        sch_reject(p, SCH_REJECT_EXISTS, sch_action_impl(existing->root), task.shell);
    } else if (sch_admit(p, &task, project, domain, &tenant)) {
        struct sch_run_impl *run = sch_run_new(p, sch_partition_new_id(p, event->u.create.place),
                                               project, domain, event->u.create.name);
        run->base.created_ns = event->realtime_ns;
        sch_gate_new(run, event->u.create.concurrency_max);
        sch_effect_add(p, SCH_EFFECT_RUN_CREATED)->u.run = &run->base;
        struct sch_action_new new = {.run = run, .name = SCH_ROOT_NAME};
        begin_task(p, &new, &task, tenant);
        return;
    }
    if (task.spec->refs == 0)
        sch_spec_released(p, task.spec);
}

bool sch_admit_child(struct sch_partition *p, struct sch_action_impl *parent, const char *name,
                     void *shell)
{
    SY_ASSERT(parent && name && strlen(name) < SCH_NAME_MAX);
    struct sch_action_impl *existing = sch_action_find_by_name(p, parent->base.run, name);
    if (existing) {
        bool same = existing->base.parent == &parent->base;
        sch_reject(p, same ? SCH_REJECT_EXISTS : SCH_REJECT_CONFLICT, same ? existing : NULL,
                   shell);
        return false;
    }
    if (parent->base.sealed || sch_action_is_final(&parent->base)) {
        sch_reject(p, SCH_REJECT_SEALED, NULL, shell);
        return false;
    }
    return true;
}

void sch_submit_child(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *parent = sch_action_impl(event->u.enqueue.parent);
    struct sch_task task = {.spec = event->u.enqueue.spec,
                            .priority = event->u.enqueue.priority,
                            .queue = event->u.enqueue.queue,
                            .instant = event->u.enqueue.instant,
                            .cache_key = event->u.enqueue.cache_key,
                            .gang = &sch_no_gang,
                            .shell = event->u.enqueue.shell};
    const struct sch_run *run = parent->base.run;
    struct sch_share *tenant;
    SY_ASSERT(task.spec);
    if (sch_admit_child(p, parent, event->u.enqueue.name, task.shell) &&
        sch_admit(p, &task, run->project, run->domain, &tenant)) {
        struct sch_action_new new = {
            .run = sch_run_impl(parent->base.run), .parent = parent, .name = event->u.enqueue.name};
        begin_task(p, &new, &task, tenant);
        return;
    }
    if (task.spec->refs == 0)
        sch_spec_released(p, task.spec);
}

void sch_submit_record(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *parent = sch_action_impl(event->u.record.parent);
    struct sch_run_impl *run = sch_run_impl(parent->base.run);
    void *shell = event->u.record.shell;
    if (!sch_admit_child(p, parent, event->u.record.name, shell))
        return;
    struct sch_action_new new = {.id = sch_partition_new_id(p, run->place),
                                 .run = run,
                                 .parent = parent,
                                 .name = event->u.record.name,
                                 .created_ns = event->realtime_ns,
                                 .state = SCH_ACTION_GROUP};
    struct sch_action_impl *a = sch_begin_action(p, &new, true, shell);
    struct sch_end end = {
        .state = event->u.record.failed ? SCH_ACTION_FAILED : SCH_ACTION_SUCCEEDED, .shell = shell};
    sch_action_event(p, a, NULL, NULL, NULL);
    sch_action_end_as(p, a, &end);
}

void sch_submit_condition(struct sch_partition *p, const struct sch_event *event)
{
    struct sch_action_impl *parent = sch_action_impl(event->u.condition.parent);
    struct sch_run_impl *run = sch_run_impl(parent->base.run);
    void *shell = event->u.condition.shell;
    if (!sch_admit_child(p, parent, event->u.condition.name, shell))
        return;
    if (p->actions_live >= p->options.actions_max) {
        sch_reject(p, SCH_REJECT_FULL, NULL, shell);
        return;
    }
    struct sch_action_new new = {.id = sch_partition_new_id(p, run->place),
                                 .run = run,
                                 .parent = parent,
                                 .name = event->u.condition.name,
                                 .created_ns = event->realtime_ns,
                                 .timeout_ns = event->u.condition.timeout_ns,
                                 .state = SCH_ACTION_PAUSED};
    sch_action_event(p, sch_begin_action(p, &new, false, shell), NULL, NULL, NULL);
}
