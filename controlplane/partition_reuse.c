/*
 * Results that exist already, so that an action ends in the step that makes it:
 *
 *   - its own, when it succeeded below a parent that was then made again;
 *   - that of the action with its name in the run that its run recovers;
 *   - that of another action with its cache key.
 *
 * Everything is read from rows, when it is asked for: what a RunSpec says costs a scan of some
 * hundred bytes, and only for tasks of Flyte programs.
 */
#include "controlplane/partition_impl.h"

/* Field numbers: of RunRow and RunSpec, */
enum { ROW_RUN_SPEC = 5, ROW_INPUTS_HASH = 10 };
enum { SPEC_OVERWRITE = 5, SPEC_CACHE = 9, SPEC_RELATION = 18, SPEC_RECOVER = 19 };
enum { CACHE_OVERWRITE = 1, CACHE_SCOPE = 2, SCOPE_PROJECT_DOMAIN = 2 };
enum { RELATED_TO = 1, RELATION_TYPE = 2, RELATION_RECOVER = 2 };
enum { RUN_PROJECT = 2, RUN_DOMAIN, RUN_NAME };
/* of ActionRow and the flyteidl2.actions.Action in it, */
enum { ROW_FLYTE = 9, ACTION_TASK = 7, TASK_CACHE_KEY = 3 };
/* of CacheRow. */
enum { CACHED_KEY = 1, CACHED_OUTPUT, CACHED_URI, CACHED_CLUSTER, CACHED_SOURCE, CACHED_CREATED };

/* flyteidl2.core.CatalogCacheStatus */
enum { CACHE_DISABLED, CACHE_MISS, CACHE_HIT, CACHE_POPULATED };

typedef Switchyard__Internal__Store__OutcomeRow OutcomeRow;

/* Until the open group is released. */
static const uint8_t *copy_bytes(struct cp_partition *p, struct sy_span bytes)
{
    uint8_t *copy = sy_arena_alloc(&p->open->arena, bytes.len + 1);
    SY_ASSERT(copy);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    copy[bytes.len] = '\0';
    return copy;
}

/* ---- what the run says ---- */

struct sy_span cp_run_spec(struct cp_partition *p, const struct sch_run *run)
{
    const struct cp_live_run *live = run->shell;
    if (live->row.len > 0)
        return cp_row_bytes(sy_buf_span(&live->row), ROW_RUN_SPEC);
    struct cp_key key = cp_key_run(run->id);
    int r = cp_store_get(p->store, CP_FAMILY_RUNS, cp_key_span(&key), &p->scratch);
    if (r != 0) {
        cp_fail_later(p, r < 0 ? r : -EBADMSG);
        return (struct sy_span){0};
    }
    struct sy_span spec = cp_row_bytes(sy_buf_span(&p->scratch), ROW_RUN_SPEC);
    return (struct sy_span){copy_bytes(p, spec), spec.len};
}

static bool overwrites_cache(struct sy_span run_spec)
{
    return cp_row_uint(run_spec, SPEC_OVERWRITE) ||
           cp_row_uint(cp_row_bytes(run_spec, SPEC_CACHE), CACHE_OVERWRITE);
}

/* Among all projects, unless the run says otherwise. */
bool cp_cache_in_project(struct sy_span run_spec)
{
    uint64_t scope = cp_row_uint(cp_row_bytes(run_spec, SPEC_CACHE), CACHE_SCOPE);
    return scope == SCOPE_PROJECT_DOMAIN;
}

/* False: it is no name. */
static bool copy_name(char ret[SCH_NAME_MAX], struct sy_span name)
{
    if (name.len == 0 || name.len >= SCH_NAME_MAX)
        return false;
    memcpy(ret, name.data, name.len);
    ret[name.len] = '\0';
    return true;
}

struct source {
    char project[SCH_NAME_MAX], domain[SCH_NAME_MAX], run[SCH_NAME_MAX];
};

bool cp_is_recovery(struct sy_span run_spec)
{
    return cp_row_uint(cp_row_bytes(run_spec, SPEC_RELATION), RELATION_TYPE) == RELATION_RECOVER;
}

static bool read_source(struct sy_span run_spec, struct source *ret)
{
    struct sy_span run = cp_row_bytes(cp_row_bytes(run_spec, SPEC_RELATION), RELATED_TO);
    return cp_is_recovery(run_spec) && copy_name(ret->project, cp_row_bytes(run, RUN_PROJECT)) &&
           copy_name(ret->domain, cp_row_bytes(run, RUN_DOMAIN)) &&
           copy_name(ret->run, cp_row_bytes(run, RUN_NAME));
}

/* A row of the store, in p->scratch. False: it is not there, or the store has failed. */
static bool get(struct cp_partition *p, enum cp_family family, const struct cp_key *key)
{
    int r = cp_store_get(p->store, family, cp_key_span(key), &p->scratch);
    if (r < 0)
        cp_fail_later(p, r);
    return r == 0;
}

uint64_t cp_recovers(struct cp_partition *p, struct sy_span run_spec)
{
    struct source source;
    if (!read_source(run_spec, &source))
        return 0;
    struct cp_key key = cp_key_run_name(source.project, source.domain, source.run);
    return get(p, CP_FAMILY_RUN_NAMES, &key) && p->scratch.len == 8 ? sy_get_be64(p->scratch.data)
                                                                    : 0;
}

bool cp_recovery_forces(struct sy_span run_spec, const char *name)
{
    struct sy_span recover = cp_row_bytes(run_spec, SPEC_RECOVER), entry;
    while (cp_chunk_next(&recover, &entry)) { /* of repeated field 1 */
        if (entry.len == strlen(name) && memcmp(entry.data, name, entry.len) == 0)
            return true;
    }
    return false;
}

/* ---- results of actions ---- */

/* The stored end of an action, if it is a success. Strings lie in the open group's arena. */
static bool succeeded(struct cp_partition *p, uint64_t run_id, const char *name,
                      struct cp_ending *ret)
{
    struct cp_key key = cp_key_action(run_id, name);
    if (!get(p, CP_FAMILY_OUTCOMES, &key))
        return false;
    const OutcomeRow *row = CP_UNPACK(OutcomeRow,
                                      switchyard__internal__store__outcome_row__descriptor,
                                      &p->open->arena, sy_buf_span(&p->scratch));
    if (!row || row->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED)
        return false;
    *ret = (struct cp_ending){.started_ns = row->started_ns,
                              .finished_ns = row->finished_ns,
                              .output = {row->output.data, row->output.len},
                              .output_uri = row->output_uri,
                              .cluster = row->cluster,
                              .cache = row->cache,
                              .reused_from = row->reused_from,
                              .recovered = row->recovered};
    return true;
}

/* A root is the same only with the same inputs: its name does not tell. */
static bool same_root(struct cp_partition *p, uint64_t source, const char *inputs_hash)
{
    struct cp_key key = cp_key_run(source);
    if (!get(p, CP_FAMILY_RUNS, &key))
        return false;
    struct sy_span theirs = cp_row_bytes(sy_buf_span(&p->scratch), ROW_INPUTS_HASH);
    return inputs_hash && theirs.len > 0 && theirs.len == strlen(inputs_hash) &&
           memcmp(theirs.data, inputs_hash, theirs.len) == 0;
}

static bool recovered(struct cp_partition *p, const struct cp_result_query *query,
                      struct cp_ending *ret)
{
    struct source source;
    if (!read_source(query->run_spec, &source) || cp_recovery_forces(query->run_spec, query->name))
        return false;
    bool root = strcmp(query->name, SCH_ROOT_NAME) == 0;
    uint64_t run_id = cp_recovers(p, query->run_spec);
    if (run_id == 0 || (root && !same_root(p, run_id, query->inputs_hash)) ||
        !succeeded(p, run_id, query->name, ret))
        return false;
    ret->recovered = true;
    ret->started_ns = ret->finished_ns = 0;
    ret->reused_from = sy_arena_printf(&p->open->arena, "%s/%s/%s/%s", source.project,
                                       source.domain, source.run, query->name);
    return true;
}

/* ---- cache ---- */

static struct sy_span cache_key(struct sy_span flyte)
{
    struct sy_span value = cp_row_bytes(cp_row_bytes(flyte, ACTION_TASK), TASK_CACHE_KEY);
    return cp_row_bytes(value, 1); /* a StringValue */
}

static struct cp_key lookup_key(const struct cp_result_query *query)
{
    const char *project = query->in_project ? query->project : "";
    const char *domain = query->in_project ? query->domain : "";
    return cp_key_cache(project, domain, cache_key(query->flyte));
}

static uint64_t digest_id(const struct cp_key *key)
{
    return sy_get_be64(key->data) | 1; /* 0 is no id */
}

static struct sy_span find_cached(const struct cp_group *group, const struct cp_key *key)
{
    const uint32_t *index = group ? cp_id_map_find(&group->cached_by_digest, digest_id(key)) : NULL;
    if (index && memcmp(group->cached[*index].digest, key->data, SCH_CACHE_KEY_BYTES) == 0)
        return group->cached[*index].row;
    return (struct sy_span){0};
}

/* The newest row: of the group that fills, of the one that is being committed, of the store. */
static struct sy_span get_cached(struct cp_partition *p, const struct cp_key *key)
{
    struct sy_span row = find_cached(p->open, key);
    if (row.len == 0)
        row = find_cached(p->sealed, key);
    if (row.len == 0 && get(p, CP_FAMILY_CACHE, key))
        row = sy_buf_span(&p->scratch);
    return row;
}

static const char *copy_text(struct cp_partition *p, struct sy_span text)
{
    return (const char *)copy_bytes(p, text);
}

static bool cached(struct cp_partition *p, const struct cp_result_query *query,
                   struct cp_ending *ret)
{
    struct sy_span wanted = cache_key(query->flyte);
    if (!query->spec || !query->spec->traits.cached || wanted.len == 0 ||
        overwrites_cache(query->run_spec))
        return false;
    struct cp_key key = lookup_key(query);
    struct sy_span row = get_cached(p, &key), has = cp_row_bytes(row, CACHED_KEY);
    if (has.len != wanted.len || memcmp(has.data, wanted.data, has.len) != 0)
        return false;
    int64_t age_ns = sy_loop_realtime_ns(p->loop) - (int64_t)cp_row_uint(row, CACHED_CREATED);
    int64_t max_ns = query->spec->traits.cache_max_age_ns;
    if (max_ns > 0 && age_ns > max_ns)
        return false;
    struct sy_span output = cp_row_bytes(row, CACHED_OUTPUT);
    *ret = (struct cp_ending){.output = {copy_bytes(p, output), output.len},
                              .output_uri = copy_text(p, cp_row_bytes(row, CACHED_URI)),
                              .cluster = copy_text(p, cp_row_bytes(row, CACHED_CLUSTER)),
                              .reused_from = copy_text(p, cp_row_bytes(row, CACHED_SOURCE)),
                              .cache = CACHE_HIT};
    return true;
}

bool cp_find_result(struct cp_partition *p, const struct cp_result_query *query,
                    struct cp_ending *ret)
{
    return (query->again_in && succeeded(p, query->again_in, query->name, ret)) ||
           recovered(p, query, ret) || cached(p, query, ret);
}

const uint8_t *cp_serial_key(const struct cp_result_query *query, struct cp_key *buf)
{
    if (!query->spec || !query->spec->traits.serialized || cache_key(query->flyte).len == 0)
        return NULL;
    *buf = lookup_key(query);
    SY_ASSERT(buf->len == SCH_CACHE_KEY_BYTES);
    return buf->data;
}

static void put_cached(struct cp_partition *p, const struct cp_key *key, const struct sy_buf *row)
{
    struct cp_group *group = p->open;
    cp_put(p, CP_FAMILY_CACHE, key, row);
    uint32_t *index = cp_id_map_get(&group->cached_by_digest, digest_id(key));
    if (*index == UINT32_MAX) {
        if (group->cached_count == group->cached_cap) {
            group->cached_cap = group->cached_cap ? group->cached_cap * 2 : 16;
            group->cached = sy_realloc(group->cached, group->cached_cap * sizeof(*group->cached));
        }
        *index = (uint32_t)group->cached_count++;
    }
    struct cp_cached *cached = &group->cached[*index];
    memcpy(cached->digest, key->data, SCH_CACHE_KEY_BYTES);
    cached->row = (struct sy_span){copy_bytes(p, sy_buf_span(row)), row->len};
}

uint32_t cp_cache_put(struct cp_partition *p, const struct sch_action *action,
                      const struct cp_outcome_row *row)
{
    const struct sch_run *run = action->run;
    if (!action->spec || !cp_spec_use_of(action->spec)->spec->traits.cached)
        return CACHE_DISABLED;
    if (row->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED)
        return CACHE_MISS;
    struct cp_key action_key = cp_key_action(run->id, action->name);
    if (!get(p, CP_FAMILY_ACTIONS, &action_key))
        return CACHE_MISS;
    struct sy_span key = cache_key(cp_row_bytes(sy_buf_span(&p->scratch), ROW_FLYTE));
    if (key.len == 0)
        return CACHE_DISABLED;
    struct cp_key mine = cp_key_cache(run->project, run->domain, key);
    struct cp_key any = cp_key_cache("", "", key);
    sy_buf_clear(&p->scratch2);
    struct sy_buf *out = &p->scratch2;
    cp_put_bytes(out, CACHED_KEY, key.data, key.len);
    cp_put_bytes(out, CACHED_OUTPUT, row->output.data, row->output.len);
    cp_put_str(out, CACHED_URI, row->output_uri);
    cp_put_str(out, CACHED_CLUSTER, row->cluster);
    size_t begin = cp_put_begin(out, CACHED_SOURCE);
    sy_buf_printf(out, "%s/%s/%s/%s", run->project, run->domain, run->name, action->name);
    cp_put_end(out, begin);
    cp_put_int(out, CACHED_CREATED, row->finished_ns);
    put_cached(p, &mine, out);
    put_cached(p, &any, out);
    return CACHE_POPULATED;
}
