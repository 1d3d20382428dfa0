/* Reads, of what is durable. The core adds where a live action is now. */
#include "controlplane/partition_impl.h"

typedef Switchyard__Internal__Store__RunRow RunRow;
typedef Switchyard__Internal__Store__ActionRow ActionRow;
typedef Switchyard__Internal__Store__OutcomeRow OutcomeRow;
typedef Switchyard__Internal__Store__LiveRow LiveRow;

bool cp_can_read(const struct cp_partition *p)
{
    enum cp_partition_state state = cp_state(p);
    return p->store && !cp_lapsed(p) &&
           (state == CP_PARTITION_SERVING || state == CP_PARTITION_WAITING);
}

static int missing(int r)
{
    return r == CP_STORE_E_NOT_FOUND ? CP_PARTITION_E_NOT_FOUND : r;
}

/* ---- runs ---- */

static struct sch_run *live_run(struct cp_partition *p, uint64_t run_id)
{
    return p->core ? sch_partition_find_run_by_id(p->core, run_id) : NULL;
}

int cp_partition_get_run_by_id(struct cp_partition *p, struct sy_arena *arena, uint64_t run_id,
                               struct cp_run_view *ret)
{
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    struct cp_key key = cp_key_run(run_id);
    RunRow *row;
    int r = cp_row_get(p->store, CP_FAMILY_RUNS, &key,
                       &switchyard__internal__store__run_row__descriptor, arena, &p->scratch,
                       (void *)&row);
    if (r != 0)
        return missing(r);
    *ret = (struct cp_run_view){.id = run_id, .row = row, .live = live_run(p, run_id)};
    return 0;
}

int cp_partition_get_run(struct cp_partition *p, struct sy_arena *arena, const char *project,
                         const char *domain, const char *name, struct cp_run_view *ret)
{
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    /* What cannot be a name cannot be a key. */
    if (strlen(project) >= SCH_NAME_MAX || strlen(domain) >= SCH_NAME_MAX ||
        strlen(name) >= SCH_NAME_MAX)
        return CP_PARTITION_E_NOT_FOUND;
    struct cp_key key = cp_key_run_name(project, domain, name);
    int r = cp_store_get(p->store, CP_FAMILY_RUN_NAMES, cp_key_span(&key), &p->scratch);
    if (r == 0 && p->scratch.len != 8)
        r = -EBADMSG;
    if (r != 0)
        return missing(r);
    return cp_partition_get_run_by_id(p, arena, sy_get_be64(p->scratch.data), ret);
}

int cp_partition_list_runs(struct cp_partition *p, struct sy_arena *arena, uint64_t from,
                           bool oldest_first, bool (*fn)(void *ctx, const struct cp_run_view *run),
                           void *ctx)
{
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    struct cp_key key = cp_key_run(oldest_first ? from + 1 : from);
    struct sy_span bound = from ? cp_key_span(&key) : (struct sy_span){0}, none = {0};
    struct cp_iter *iter = cp_iter_new(p->store, CP_FAMILY_RUNS, oldest_first ? bound : none,
                                       oldest_first ? none : bound, !oldest_first);
    int r = 0;
    for (; cp_iter_valid(iter); cp_iter_next(iter)) {
        struct sy_span at = cp_iter_key(iter);
        RunRow *row = CP_UNPACK(RunRow, switchyard__internal__store__run_row__descriptor, arena,
                                cp_iter_value(iter));
        if (!row || at.len != 8) {
            r = -EBADMSG;
            break;
        }
        uint64_t id = sy_get_be64(at.data);
        if (cp_run_is_foreign(p, cp_iter_value(iter)))
            continue;
        struct cp_run_view view = {.id = id, .row = row, .live = live_run(p, id)};
        if (!fn(ctx, &view))
            break;
    }
    if (r == 0)
        r = cp_iter_error(iter);
    cp_iter_free(iter);
    return sy_trace(r);
}

/* ---- actions ---- */

/* How many attempts have ended, as far as that is durable. */
static int attempts_ended(struct cp_partition *p, struct sy_arena *arena,
                          const struct cp_action_view *view, uint32_t *ret)
{
    LiveRow *row = NULL;
    struct cp_key key = cp_key_action(view->run_id, view->name);
    int r = cp_row_get(p->store, CP_FAMILY_LIVE, &key,
                       &switchyard__internal__store__live_row__descriptor, arena, &p->scratch,
                       (void *)&row);
    *ret = r == 0 ? row->attempts : 0;
    return r < 0 ? r : 0;
}

/* It has no outcome. What ended it, or its last attempt, in a batch that is not durable yet (or was
 * not when the partition stepped down) is not told: that attempt "runs". After a restart nobody
 * knows at first whether another one is out: most are. */
static int fill_live(struct cp_partition *p, struct sy_arena *arena, struct cp_action_view *view)
{
    const struct sch_action *live = view->live; /* NULL: it has ended so */
    uint32_t ended = 0;
    int r = live && live->attempts == 0 ? 0 : attempts_ended(p, arena, view, &ended);
    if (r < 0)
        return r;
    if (!live || ended < live->attempts) {
        view->number = ended + 1;
        view->phase = SWITCHYARD__V1__PHASE__PHASE_RUNNING;
        return 0;
    }
    bool recovering = ended > 0 && live->sm.state == SCH_ACTION_RECOVERING;
    view->number = sch_action_attempt(live) + recovering;
    const struct cp_place *place = cp_places_find(&p->places, live->id);
    view->phase = cp_phase_of(live->sm.state, live->number);
    if (place) {
        view->started_ns = place->started_ns;
        view->node = place->node;
        if (place->granted_ns != 0)
            view->granted_ns = sy_loop_realtime_ns(p->loop) -
                               (sy_loop_now_ns(p->loop) - place->granted_ns);
    }
    if (live->cluster)
        view->cluster = sch_cluster_name(live->cluster);
    return 0;
}

static void fill_outcome(struct cp_action_view *view, const OutcomeRow *outcome)
{
    view->phase = outcome->phase;
    view->number = outcome->number;
    view->started_ns = outcome->started_ns;
    view->cluster = outcome->cluster;
    view->node = outcome->node;
}

static int fill_view(struct cp_partition *p, struct sy_arena *arena, struct cp_action_view *view)
{
    const struct sch_run *run = live_run(p, view->run_id);
    view->cluster = view->node = "";
    view->live = run ? sch_partition_find_action(p->core, run, view->name) : NULL;
    if (view->live)
        return fill_live(p, arena, view);
    struct cp_key key = cp_key_action(view->run_id, view->name);
    int r = cp_row_get(p->store, CP_FAMILY_OUTCOMES, &key,
                       &switchyard__internal__store__outcome_row__descriptor, arena, &p->scratch,
                       (void *)&view->outcome);
    if (r < 0)
        return r;
    if (!view->outcome)
        return fill_live(p, arena, view);
    fill_outcome(view, view->outcome);
    return 0;
}

int cp_partition_get_action(struct cp_partition *p, struct sy_arena *arena, uint64_t run_id,
                            const char *name, struct cp_action_view *ret)
{
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    if (strlen(name) >= SCH_NAME_MAX)
        return CP_PARTITION_E_NOT_FOUND;
    struct cp_key key = cp_key_action(run_id, name);
    struct cp_action_view view = {.run_id = run_id, .name = sy_arena_strdup(arena, name)};
    if (!view.name)
        return -ENOMEM;
    int r = cp_row_get(p->store, CP_FAMILY_ACTIONS, &key,
                       &switchyard__internal__store__action_row__descriptor, arena, &p->scratch,
                       (void *)&view.row);
    if (r != 0)
        return missing(r);
    r = fill_view(p, arena, &view);
    if (r == 0)
        *ret = view;
    return sy_trace(r);
}

int cp_partition_get_attempts(struct cp_partition *p, struct sy_arena *arena,
                              struct cp_action_view *view, size_t max)
{
    uint32_t count = view->live || view->number == 0 ? view->number : view->number - 1;
    if (count == 0)
        return 0;
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    max = count < max ? count : max;
    view->earlier = sy_arena_alloc(arena, max * sizeof(OutcomeRow *));
    if (!view->earlier)
        return -ENOMEM;
    struct cp_key first = cp_key_attempt(view->run_id, view->row->id, 1);
    struct cp_key last = cp_key_attempt(view->run_id, view->row->id, (uint64_t)count + 1);
    struct cp_iter *iter = cp_iter_new(p->store, CP_FAMILY_ATTEMPTS, cp_key_span(&first),
                                       cp_key_span(&last), false);
    int r = 0;
    for (; r == 0 && cp_iter_valid(iter) && view->earlier_count < max; cp_iter_next(iter)) {
        OutcomeRow *row = CP_UNPACK(OutcomeRow,
                                    switchyard__internal__store__outcome_row__descriptor, arena,
                                    cp_iter_value(iter));
        if (row)
            view->earlier[view->earlier_count++] = row;
        else
            r = -EBADMSG;
    }
    if (r == 0)
        r = cp_iter_error(iter);
    cp_iter_free(iter);
    return sy_trace(r);
}

uint32_t cp_partition_attempt(const struct cp_partition *p, uint64_t run_id, const char *name)
{
    const struct sch_run *run = p->core ? sch_partition_find_run_by_id(p->core, run_id) : NULL;
    const struct sch_action *action = run ? sch_partition_find_action(p->core, run, name) : NULL;
    bool flyte = action && action->spec && cp_spec_use_of(action->spec)->spec->traits.flyte;
    return flyte ? action->number : 0;
}

uint64_t cp_partition_recovers(struct cp_partition *p, struct sy_span run_spec, const char *name)
{
    bool forced = name && cp_recovery_forces(run_spec, name);
    return cp_can_read(p) && !forced ? cp_recovers(p, run_spec) : 0;
}

int cp_partition_get_spec(struct cp_partition *p, const struct cp_action_view *view,
                          struct sy_buf *ret)
{
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    sy_buf_clear(ret);
    const ProtobufCBinaryData *digest = &view->row->spec_digest;
    if (digest->len == 0)
        return 0;
    int r = cp_store_get(p->store, CP_FAMILY_SPECS, (struct sy_span){digest->data, digest->len},
                         ret);
    return missing(r);
}

/* One row of the listing; both iterators run in the order of names, so outcomes are merged in. */
static int list_row(struct cp_partition *p, struct sy_arena *arena, struct cp_iter *rows,
                    struct cp_iter *outcomes, struct cp_action_view *view)
{
    struct sy_span key = cp_iter_key(rows);
    char name[SCH_NAME_MAX];
    if (!cp_key_action_name(key, &view->run_id, name))
        return -EBADMSG;
    view->name = sy_arena_strdup(arena, name);
    view->row = CP_UNPACK(ActionRow, switchyard__internal__store__action_row__descriptor, arena,
                          cp_iter_value(rows));
    if (!view->name || !view->row)
        return -EBADMSG;
    const struct sch_run *run = live_run(p, view->run_id);
    view->cluster = view->node = "";
    view->live = run ? sch_partition_find_action(p->core, run, name) : NULL;
    if (view->live)
        return fill_live(p, arena, view);
    for (; cp_iter_valid(outcomes); cp_iter_next(outcomes)) {
        struct sy_span at = cp_iter_key(outcomes);
        size_t common = at.len < key.len ? at.len : key.len;
        int order = memcmp(at.data, key.data, common);
        if (order == 0)
            order = (at.len > key.len) - (at.len < key.len);
        if (order > 0)
            break;
        if (order < 0)
            continue;
        view->outcome = CP_UNPACK(OutcomeRow, switchyard__internal__store__outcome_row__descriptor,
                                  arena, cp_iter_value(outcomes));
        if (!view->outcome)
            return -EBADMSG;
        fill_outcome(view, view->outcome);
        return 0;
    }
    return fill_live(p, arena, view);
}

int cp_partition_list_actions(struct cp_partition *p, struct sy_arena *arena, uint64_t run_id,
                              const char *after,
                              bool (*fn)(void *ctx, const struct cp_action_view *action), void *ctx)
{
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    if (strlen(after) >= SCH_NAME_MAX)
        return CP_PARTITION_E_NOT_FOUND;
    struct cp_key from = cp_key_action(run_id, after), to = cp_key_run(run_id + 1);
    if (after[0])
        from.data[from.len++] = '\0'; /* the first key behind it */
    struct cp_iter *rows = cp_iter_new(p->store, CP_FAMILY_ACTIONS, cp_key_span(&from),
                                       cp_key_span(&to), false);
    struct cp_iter *outcomes = cp_iter_new(p->store, CP_FAMILY_OUTCOMES, cp_key_span(&from),
                                           cp_key_span(&to), false);
    int r = 0;
    for (; r == 0 && cp_iter_valid(rows); cp_iter_next(rows)) {
        struct cp_action_view view = {0};
        r = list_row(p, arena, rows, outcomes, &view);
        if (r == 0 && !fn(ctx, &view))
            break;
    }
    if (r == 0)
        r = cp_iter_error(rows);
    if (r == 0)
        r = cp_iter_error(outcomes);
    cp_iter_free(rows);
    cp_iter_free(outcomes);
    return sy_trace(r);
}
