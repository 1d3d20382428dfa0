/* What an action of a Flyte program needs beside its spec: FlyteContext of dataplane.proto. It is
 * made of the RunSpec, once for each run, and of what Enqueue or CreateRun stored with the action.
 */
#include "controlplane/flyte.h"
#include "controlplane/names.h"
#include "controlplane/partition_impl.h"

#include "flyteidl2/task/run.pb-c.h"

/* Field numbers: of FlyteContext, */
enum { ORG = 1, RUN_OUTPUT_BASE, RUN_START, ENVS, RAW_DATA_PREFIX, QUEUE, ENDPOINT };
/* of ActionRow and the flyteidl2.actions.Action in it, */
enum { ROW_FLYTE = 9, ROW_QUEUE = 10, ACTION_ID = 1, ACTION_BASE = 4, ACTION_CONDITION = 9 };
enum { ACTION_RUN = 1, RUN_ORG = 1, CONDITION_TIMEOUT = 10 };
/* of RunRow and the RunSpec in it. */
enum { RUN_ROW_SPEC = 5, SPEC_QUEUE = 6, SPEC_CONCURRENCY = 13 };

#define RUN_SPEC_ARENA_MAX ((size_t)64 << 20)

uint32_t cp_flyte_concurrency(struct sy_span run_spec)
{
    return (uint32_t)cp_row_uint(run_spec, SPEC_CONCURRENCY);
}

int cp_flyte_queue(struct sy_span run_spec, char ret[SCH_QUEUE_NAME_MAX],
                   struct sy_error_text *error)
{
    struct sy_span name = cp_row_bytes(run_spec, SPEC_QUEUE);
    ret[0] = '\0';
    if (name.len == 0)
        return 0;
    char text[SCH_QUEUE_NAME_MAX + 1] = {0}; /* one more: too long stays too long */
    memcpy(text, name.data, name.len < sizeof(text) ? name.len : sizeof(text) - 1);
    if (cp_name_check("run_spec.queue", text, error) < 0)
        return -EINVAL;
    memcpy(ret, text, strlen(text) + 1);
    return 0;
}

int64_t cp_flyte_condition_timeout(struct sy_span flyte)
{
    struct sy_span timeout = cp_row_bytes(cp_row_bytes(flyte, ACTION_CONDITION), CONDITION_TIMEOUT);
    uint64_t seconds = cp_row_uint(timeout, 1), nanos = cp_row_uint(timeout, 2);
    if (seconds > CP_CONDITION_TIMEOUT_S_MAX || nanos >= SY_NS_PER_S)
        return 0;
    return (int64_t)(seconds * SY_NS_PER_S + nanos);
}

static void put_env(struct sy_buf *out, const char *key, const char *value)
{
    size_t begin = cp_put_begin(out, ENVS);
    cp_put_str(out, 1, key);
    cp_put_str(out, 2, value);
    cp_put_end(out, begin);
}

/* A base directory may be given for many runs: this one's files go into a directory of its own. */
static void put_base(struct sy_buf *out, const char *base, const struct sch_run *run)
{
    size_t len = strlen(base);
    while (len > 1 && base[len - 1] == '/')
        len--;
    if (len == 0)
        return;
    size_t begin = cp_put_begin(out, RUN_OUTPUT_BASE);
    sy_buf_printf(out, "%.*s/%s/%s/%s", (int)len, base, run->project, run->domain, run->name);
    cp_put_end(out, begin);
}

static void put_run_spec(struct sy_buf *out, const struct sch_run *run,
                         const Flyteidl2__Task__RunSpec *spec)
{
    int64_t start_ns = cp_flyte_time_ns(spec->run_start_time);
    put_base(out, spec->run_base_dir, run);
    cp_put_int(out, RUN_START, start_ns > 0 ? start_ns : run->created_ns);
    for (size_t i = 0; spec->envs && i < spec->envs->n_values; i++)
        put_env(out, spec->envs->values[i]->key, spec->envs->values[i]->value);
    if (spec->raw_data_storage)
        cp_put_str(out, RAW_DATA_PREFIX, spec->raw_data_storage->raw_data_prefix);
    cp_put_str(out, QUEUE, spec->queue);
}

/* The encoded RunRow: kept, or read again. */
static int run_row(struct cp_partition *p, const struct cp_live_run *live, struct sy_span *ret)
{
    *ret = sy_buf_span(&live->row);
    if (ret->len > 0)
        return 0;
    struct cp_key key = cp_key_run(live->id);
    int r = cp_store_get(p->store, CP_FAMILY_RUNS, cp_key_span(&key), &p->scratch);
    *ret = sy_buf_span(&p->scratch);
    return r;
}

bool cp_flyte_prepare(struct cp_partition *p, const struct sch_run *run)
{
    struct cp_live_run *live = run->shell;
    if (!live || live->flyte_known) /* NULL: it has ended; the attempt's cancel follows */
        return true;
    struct sy_span row;
    int r = run_row(p, live, &row);
    struct sy_arena arena;
    sy_arena_init(&arena, RUN_SPEC_ARENA_MAX);
    const Flyteidl2__Task__RunSpec *spec = r != 0
                                               ? NULL
                                               : CP_UNPACK(Flyteidl2__Task__RunSpec,
                                                           flyteidl2__task__run_spec__descriptor,
                                                           &arena, cp_row_bytes(row, RUN_ROW_SPEC));
    if (spec)
        put_run_spec(&live->flyte, run, spec);
    else
        cp_fail_later(p, r < 0 ? r : -EBADMSG);
    sy_arena_deinit(&arena);
    live->flyte_known = spec != NULL;
    return live->flyte_known;
}

void cp_flyte_put_context(const struct cp_partition *p, struct sy_buf *out, uint32_t field,
                          const struct sch_action *action, struct sy_span row)
{
    const struct cp_live_run *live = action->run->shell;
    struct sy_span flyte = cp_row_bytes(row, ROW_FLYTE);
    struct sy_span id = cp_row_bytes(flyte, ACTION_ID), queue = cp_row_bytes(row, ROW_QUEUE);
    struct sy_span org = cp_row_bytes(cp_row_bytes(id, ACTION_RUN), RUN_ORG);
    struct sy_span base = cp_row_bytes(flyte, ACTION_BASE);
    size_t begin = cp_put_begin(out, field);
    if (live)
        sy_buf_append(out, live->flyte.data, live->flyte.len);
    /* The action's own fields follow those of the run: for a reader the last ones count. */
    cp_put_bytes(out, ORG, org.data, org.len);
    cp_put_bytes(out, RUN_OUTPUT_BASE, base.data, base.len);
    cp_put_bytes(out, QUEUE, queue.data, queue.len);
    cp_put_str(out, ENDPOINT, p->options.endpoint);
    cp_put_end(out, begin);
}
