#include "controlplane/triggers.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controlplane/rows.h"
#include "controlplane/schedule.h"
#include "proto/pb.h"

#include <string.h>

/* Nothing older is fired, so that a search through what was missed ends. */
#define CATCH_UP_NS (366 * 86400 * SY_NS_PER_S)

typedef Switchyard__Internal__Store__TriggerRow TriggerRow;
typedef Flyteidl2__Task__TriggerAutomationSpec Automation;
typedef Flyteidl2__Trigger__TriggerSpec TriggerSpec;

#define REVISION(name) FLYTEIDL2__TRIGGER__TRIGGER_REVISION_ACTION__TRIGGER_REVISION_ACTION_##name

static struct cp_registry_key trigger_key(enum cp_registry_kind kind,
                                          const struct cp_trigger_id *id)
{
    return CP_REGISTRY_KEY(kind, id->project, id->domain, id->task, id->name, NULL);
}

int cp_trigger_check(const char *name, const Automation *automation, struct sy_error_text *error)
{
    struct cp_schedule schedule;
    if (cp_registry_name_check("trigger name", name, error) < 0)
        return -EINVAL;
    int r = cp_schedule_read(&schedule, automation, 0, error);
    if (r == 0)
        cp_schedule_deinit(&schedule);
    return r;
}

int cp_trigger_row_read(struct sy_arena *arena, struct sy_span bytes, TriggerRow **ret)
{
    *ret = CP_UNPACK(TriggerRow, switchyard__internal__store__trigger_row__descriptor, arena,
                     bytes);
    return *ret != NULL ? 0 : -EBADMSG;
}

int cp_trigger_get(struct cp_partition *p, struct sy_arena *arena, const struct cp_trigger_id *id,
                   TriggerRow **ret)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    struct cp_registry_key key = trigger_key(CP_REGISTRY_TRIGGER, id);
    int r = cp_partition_registry_get(p, cp_registry_span(&key), &buf);
    return r == 0 ? cp_trigger_row_read(arena, sy_buf_span(&buf), ret) : r;
}

/* ---- due times ---- */

/* The row's schedule; NONE when it is damaged, which cannot be: it was checked. */
static void read_schedule(struct cp_schedule *ret, const TriggerRow *row, struct sy_arena *arena)
{
    struct sy_span bytes = {row->automation.data, row->automation.len};
    const Automation *automation = pb_unpack(&flyteidl2__task__trigger_automation_spec__descriptor,
                                             arena, bytes);
    struct sy_error_text error = {0};
    if (automation == NULL || cp_schedule_read(ret, automation, row->since_ns, &error) < 0)
        *ret = (struct cp_schedule){.type = CP_SCHEDULE_NONE};
}

static int64_t next_due(const TriggerRow *row, struct sy_arena *arena, int64_t after_ns)
{
    struct cp_schedule schedule;
    read_schedule(&schedule, row, arena);
    int64_t due_ns = cp_schedule_next(&schedule, after_ns);
    cp_schedule_deinit(&schedule);
    return due_ns;
}

int64_t cp_trigger_catch_up(const TriggerRow *row, struct sy_arena *arena, int64_t now_ns)
{
    struct cp_schedule schedule;
    read_schedule(&schedule, row, arena);
    int64_t latest[CP_TRIGGER_CATCH_UP], due_ns = row->due_ns;
    size_t count = 0;
    if (now_ns - due_ns > CATCH_UP_NS)
        due_ns = cp_schedule_next(&schedule, now_ns - CATCH_UP_NS);
    for (; due_ns != 0 && due_ns <= now_ns; due_ns = cp_schedule_next(&schedule, due_ns))
        latest[count++ % CP_TRIGGER_CATCH_UP] = due_ns;
    cp_schedule_deinit(&schedule);
    if (count == 0)
        return row->due_ns;
    return latest[count > CP_TRIGGER_CATCH_UP ? count % CP_TRIGGER_CATCH_UP : 0];
}

/* ---- writing ---- */

static void put_row(struct cp_partition *p, const struct cp_registry_key *key,
                    const TriggerRow *row)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    pb_pack(&row->base, &buf);
    cp_partition_registry_put(p, key, sy_buf_span(&buf));
}

static void move_due(struct cp_partition *p, const struct cp_registry_key *trigger, int64_t from_ns,
                     int64_t to_ns)
{
    if (from_ns == to_ns)
        return;
    if (from_ns != 0) {
        struct cp_registry_key key = cp_registry_due_key((uint64_t)from_ns, trigger);
        cp_partition_registry_delete(p, &key);
    }
    if (to_ns != 0) {
        struct cp_registry_key key = cp_registry_due_key((uint64_t)to_ns, trigger);
        cp_partition_registry_put(p, &key, (struct sy_span){(const uint8_t *)"", 0});
    }
}

/* A new revision; `deleted`: only in the history. */
static void put_revision(struct cp_partition *p, const struct cp_trigger_id *id,
                         const TriggerRow *row, int64_t old_due_ns)
{
    struct cp_registry_key trigger = trigger_key(CP_REGISTRY_TRIGGER, id);
    struct cp_registry_key history = trigger_key(CP_REGISTRY_REVISION, id);
    cp_registry_add_u64(&history, row->revision);
    put_row(p, &history, row);
    if (row->deleted_ns != 0)
        cp_partition_registry_delete(p, &trigger);
    else
        put_row(p, &trigger, row);
    move_due(p, &trigger, old_due_ns, row->due_ns);
}

static bool take_revision(void *ctx, struct sy_span key, struct sy_span value)
{
    (void)value;
    *(uint64_t *)ctx = sy_get_be64(key.data + key.len - 8);
    return true;
}

static int last_revision(struct cp_partition *p, const struct cp_trigger_id *id, uint64_t *ret)
{
    struct cp_registry_key from = trigger_key(CP_REGISTRY_REVISION, id);
    struct cp_registry_key to = cp_registry_after(&from);
    *ret = 0;
    return cp_partition_registry_scan(p, cp_registry_span(&from), cp_registry_span(&to),
                                      take_revision, ret);
}

static bool same_bytes(const ProtobufCBinaryData *old, const struct sy_buf *bytes)
{
    return old->len == bytes->len &&
           (bytes->len == 0 || memcmp(old->data, bytes->data, bytes->len) == 0);
}

int cp_trigger_deploy(struct cp_partition *p, struct sy_arena *arena,
                      const struct cp_trigger_id *id, TriggerSpec *spec,
                      const Automation *automation, int64_t now_ns)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) spec_bytes = {0}, automation_bytes = {0};
    TriggerRow row = SWITCHYARD__INTERNAL__STORE__TRIGGER_ROW__INIT, *old = NULL;
    int r = cp_trigger_get(p, arena, id, &old);
    if (r != 0 && r != CP_PARTITION_E_NOT_FOUND)
        return r;
    pb_pack(&spec->base, &spec_bytes);
    if (automation != NULL)
        pb_pack(&automation->base, &automation_bytes);
    bool same_automation = old != NULL && same_bytes(&old->automation, &automation_bytes);
    if (same_automation && same_bytes(&old->spec, &spec_bytes))
        return 0;
    row.revision = old != NULL ? old->revision : 0;
    if (old == NULL && (r = last_revision(p, id, &row.revision)) != 0)
        return r;
    row.revision++;
    row.action = REVISION(DEPLOY);
    row.spec = (ProtobufCBinaryData){spec_bytes.len, spec_bytes.data};
    row.automation = (ProtobufCBinaryData){automation_bytes.len, automation_bytes.data};
    row.deployed_ns = old != NULL ? old->deployed_ns : now_ns;
    row.updated_ns = row.since_ns = now_ns;
    row.fired_ns = old != NULL ? old->fired_ns : 0;
    if (spec->active && same_automation && old->due_ns != 0) { /* it goes on as it was */
        row.since_ns = old->since_ns;
        row.due_ns = old->due_ns;
    } else if (spec->active) {
        row.due_ns = next_due(&row, arena, now_ns);
    }
    put_revision(p, id, &row, old != NULL ? old->due_ns : 0);
    return 0;
}

int cp_trigger_set_active(struct cp_partition *p, struct sy_arena *arena,
                          const struct cp_trigger_id *id, bool active, int64_t now_ns)
{
    TriggerRow *row = NULL;
    int r = cp_trigger_get(p, arena, id, &row);
    if (r != 0)
        return r;
    TriggerSpec *spec = pb_unpack(&flyteidl2__trigger__trigger_spec__descriptor, arena,
                                  (struct sy_span){row->spec.data, row->spec.len});
    if (spec == NULL)
        return -EBADMSG;
    if (spec->active == active)
        return 0;
    int64_t old_due_ns = row->due_ns;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) bytes = {0};
    spec->active = active;
    pb_pack(&spec->base, &bytes);
    row->spec = (ProtobufCBinaryData){bytes.len, bytes.data};
    row->revision++;
    row->action = active ? REVISION(ACTIVATE) : REVISION(DEACTIVATE);
    row->updated_ns = row->since_ns = now_ns;
    row->due_ns = active ? next_due(row, arena, now_ns) : 0;
    put_revision(p, id, row, old_due_ns);
    return 0;
}

int cp_trigger_delete(struct cp_partition *p, struct sy_arena *arena,
                      const struct cp_trigger_id *id, int64_t now_ns)
{
    TriggerRow *row = NULL;
    int r = cp_trigger_get(p, arena, id, &row);
    if (r != 0)
        return r;
    int64_t old_due_ns = row->due_ns;
    row->revision++;
    row->action = REVISION(DELETE);
    row->updated_ns = row->deleted_ns = now_ns;
    row->due_ns = 0;
    put_revision(p, id, row, old_due_ns);
    return 0;
}

/* ---- of a task ---- */

struct prune {
    struct sy_arena *arena;
    const char *const *names;
    size_t count;
    char *gone[CP_TRIGGERS_OF_TASK_MAX];
    size_t gone_count;
};

static bool take_gone(void *ctx, struct sy_span key, struct sy_span value)
{
    struct prune *prune = ctx;
    const char *names[4];
    (void)value;
    if (!cp_registry_names(key, names, 4))
        return true;
    for (size_t i = 0; i < prune->count; i++) {
        if (strcmp(prune->names[i], names[3]) == 0)
            return true;
    }
    prune->gone[prune->gone_count++] = sy_arena_strdup(prune->arena, names[3]);
    return prune->gone_count < CP_TRIGGERS_OF_TASK_MAX;
}

int cp_triggers_prune(struct cp_partition *p, struct sy_arena *arena,
                      const struct cp_trigger_id *task, const char *const *names, size_t count,
                      int64_t now_ns)
{
    struct cp_registry_key from = CP_REGISTRY_KEY(CP_REGISTRY_TRIGGER, task->project, task->domain,
                                                  task->task, NULL);
    struct cp_registry_key to = cp_registry_after(&from);
    struct prune prune = {.arena = arena, .names = names, .count = count};
    int r = cp_partition_registry_scan(p, cp_registry_span(&from), cp_registry_span(&to), take_gone,
                                       &prune);
    for (size_t i = 0; r == 0 && i < prune.gone_count; i++) {
        struct cp_trigger_id id = *task;
        id.name = prune.gone[i];
        r = id.name != NULL ? cp_trigger_delete(p, arena, &id, now_ns) : -ENOMEM;
    }
    return r;
}

/* ---- firing ---- */

static bool take_due(void *ctx, struct sy_span key, struct sy_span value)
{
    struct cp_trigger_due *ret = ctx;
    (void)value;
    if (key.len <= 9 || key.len > sizeof(ret->index.data))
        return true;
    ret->index.len = key.len;
    memcpy(ret->index.data, key.data, key.len);
    ret->due_ns = (int64_t)sy_get_be64(key.data + 1);
    ret->trigger.len = key.len - 9;
    memcpy(ret->trigger.data, key.data + 9, key.len - 9);
    return false;
}

int cp_trigger_first_due(struct cp_partition *p, struct cp_trigger_due *ret)
{
    struct cp_registry_key from = CP_REGISTRY_KEY(CP_REGISTRY_DUE, NULL);
    struct cp_registry_key to = cp_registry_after(&from);
    ret->due_ns = INT64_MAX;
    return cp_partition_registry_scan(p, cp_registry_span(&from), cp_registry_span(&to), take_due,
                                      ret);
}

void cp_trigger_fired(struct cp_partition *p, const struct cp_trigger_due *due, TriggerRow *row,
                      int64_t fired_ns)
{
    struct sy_arena arena;
    sy_arena_init(&arena, (size_t)16 << 20);
    row->fired_ns = fired_ns;
    row->due_ns = next_due(row, &arena, fired_ns);
    sy_arena_deinit(&arena);
    put_row(p, &due->trigger, row);
    move_due(p, &due->trigger, due->due_ns, row->due_ns);
}
