/*
 * Triggers as rows of the registry. What changes them is called inside a change of the registry,
 * which it must refuse before it puts anything: so checks come first, in cp_trigger_check().
 *
 * A schedule fires once for each due time. The trigger's row names the next one, an index ('d')
 * finds what is due first, and the run, the row and the index are written in one batch: after a
 * crash either all of it happened or nothing. The run's name follows from trigger and due time, and
 * is chosen so that the run lies in the trigger's partition.
 *
 * After an outage the latest CP_TRIGGER_CATCH_UP due times that were missed are fired, oldest
 * first; older ones are dropped.
 */
#pragma once

#include "base/arena.h"
#include "controlplane/registry.h"

#include "flyteidl2/trigger/trigger_service.pb-c.h"
#include "switchyard/internal/store.pb-c.h"

#define CP_TRIGGER_CATCH_UP 10
#define CP_TRIGGERS_OF_TASK_MAX 100

struct cp_trigger_id {
    const char *project, *domain, *task, *name;
};

int cp_trigger_check(const char *name, const Flyteidl2__Task__TriggerAutomationSpec *automation,
                     struct sy_error_text *error) SY_MUST_USE;
/* 0 with the row in the arena, or as cp_partition_registry_get(). */
int cp_trigger_get(struct cp_partition *p, struct sy_arena *arena, const struct cp_trigger_id *id,
                   Switchyard__Internal__Store__TriggerRow **ret) SY_MUST_USE;
int cp_trigger_row_read(struct sy_arena *arena, struct sy_span bytes,
                        Switchyard__Internal__Store__TriggerRow **ret) SY_MUST_USE;

/* ---- inside a change; 0 or an errno; times are of the wall clock ---- */

/* A new revision, unless nothing is new. */
int cp_trigger_deploy(struct cp_partition *p, struct sy_arena *arena,
                      const struct cp_trigger_id *id, Flyteidl2__Trigger__TriggerSpec *spec,
                      const Flyteidl2__Task__TriggerAutomationSpec *automation,
                      int64_t now_ns) SY_MUST_USE;
int cp_trigger_set_active(struct cp_partition *p, struct sy_arena *arena,
                          const struct cp_trigger_id *id, bool active, int64_t now_ns) SY_MUST_USE;
int cp_trigger_delete(struct cp_partition *p, struct sy_arena *arena,
                      const struct cp_trigger_id *id, int64_t now_ns) SY_MUST_USE;
/* Deletes the task's triggers that are not among these. */
int cp_triggers_prune(struct cp_partition *p, struct sy_arena *arena,
                      const struct cp_trigger_id *task, const char *const *names, size_t count,
                      int64_t now_ns) SY_MUST_USE;

/* What is due first, and how to fire it. */
struct cp_trigger_due {
    struct cp_registry_key index, trigger;
    int64_t due_ns; /* INT64_MAX: none */
};
int cp_trigger_first_due(struct cp_partition *p, struct cp_trigger_due *ret) SY_MUST_USE;
/* Writes that `fired_ns` was fired, and what is next. */
void cp_trigger_fired(struct cp_partition *p, const struct cp_trigger_due *due,
                      Switchyard__Internal__Store__TriggerRow *row, int64_t fired_ns);
/* The due time to fire now: that of the row, or a later one when too many were missed. */
int64_t cp_trigger_catch_up(const Switchyard__Internal__Store__TriggerRow *row,
                            struct sy_arena *arena, int64_t now_ns);
