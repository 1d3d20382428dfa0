#include "controlplane/rows.h"

#include "base/mem.h"
#include "proto/pb.h"

#include <string.h>
#include <xxhash.h>

/* ---- keys ---- */

static void add_bytes(struct cp_key *key, const void *data, size_t len)
{
    SY_ASSERT(len <= sizeof(key->data) - key->len);
    memcpy(key->data + key->len, data, len);
    key->len += len;
}

static void add_u64(struct cp_key *key, uint64_t v)
{
    v = __builtin_bswap64(v);
    add_bytes(key, &v, sizeof(v));
}

struct cp_key cp_key_meta(void)
{
    struct cp_key key = {.len = 0};
    add_bytes(&key, "meta", 4);
    return key;
}

struct cp_key cp_key_cluster(const char *name)
{
    struct cp_key key = {.len = 0};
    add_bytes(&key, "cluster/", 8);
    add_bytes(&key, name, strlen(name));
    return key;
}

struct cp_key cp_key_run(uint64_t run_id)
{
    struct cp_key key;
    key.len = 0;
    add_u64(&key, run_id);
    return key;
}

struct cp_key cp_key_run_name(const char *project, const char *domain, const char *name)
{
    struct cp_key key = {.len = 0};
    add_bytes(&key, project, strlen(project) + 1);
    add_bytes(&key, domain, strlen(domain) + 1);
    add_bytes(&key, name, strlen(name));
    return key;
}

struct cp_key cp_key_action(uint64_t run_id, const char *name)
{
    struct cp_key key;
    key.len = 0;
    add_u64(&key, run_id);
    add_bytes(&key, name, strlen(name));
    return key;
}

struct cp_key cp_key_event(uint64_t run_id, uint64_t sequence)
{
    struct cp_key key;
    key.len = 0;
    add_u64(&key, run_id);
    add_u64(&key, sequence);
    return key;
}

static struct cp_key key_of_three(uint64_t first, uint64_t second, uint64_t third)
{
    struct cp_key key;
    key.len = 0;
    add_u64(&key, first);
    add_u64(&key, second);
    add_u64(&key, third);
    return key;
}

struct cp_key cp_key_child(uint64_t run_id, uint64_t parent_id, uint64_t sequence)
{
    return key_of_three(run_id, parent_id, sequence);
}

struct cp_key cp_key_attempt(uint64_t run_id, uint64_t action_id, uint64_t attempt)
{
    return key_of_three(run_id, action_id, attempt);
}

struct cp_key cp_key_cache(const char *project, const char *domain, struct sy_span key)
{
    struct cp_key ret = {.len = 0}, scope = {.len = 0};
    add_bytes(&scope, project, strlen(project) + 1);
    add_bytes(&scope, domain, strlen(domain) + 1);
    XXH64_hash_t seed = XXH3_64bits(scope.data, scope.len);
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_withSeed(key.data, key.len, seed));
    add_bytes(&ret, digest.digest, sizeof(digest.digest));
    return ret;
}

bool cp_key_action_name(struct sy_span key, uint64_t *ret_run_id, char ret_name[SCH_NAME_MAX])
{
    if (key.len < 8 || key.len - 8 >= SCH_NAME_MAX)
        return false;
    *ret_run_id = sy_get_be64(key.data);
    memcpy(ret_name, key.data + 8, key.len - 8);
    ret_name[key.len - 8] = '\0';
    return true;
}

/* ---- rows, written ---- */

/* Cut at the start of a character. */
static size_t cut(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len <= max)
        return len;
    len = max;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static void put_error(struct sy_buf *buf, uint32_t field, const struct cp_error *error)
{
    if (!error->code)
        return;
    size_t begin = cp_put_begin(buf, field);
    cp_put_bytes(buf, 1, error->code, cut(error->code, 128));
    if (error->message)
        cp_put_bytes(buf, 2, error->message, cut(error->message, CP_ERROR_MESSAGE_MAX));
    cp_put_uint(buf, 3, error->system);
    cp_put_end(buf, begin);
}

static void put_gang(struct sy_buf *buf, uint32_t field, const struct sch_gang_view *gang)
{
    size_t begin = cp_put_begin(buf, field);
    cp_put_uint(buf, 1, gang->id);
    cp_put_uint(buf, 2, gang->rank);
    cp_put_uint(buf, 3, gang->shape->size);
    cp_put_uint(buf, 4, gang->shape->topology);
    cp_put_str(buf, 5, gang->shape->key);
    cp_put_uint(buf, 6, gang->on_loss);
    cp_put_end(buf, begin);
}

void cp_row_put_action(struct sy_buf *buf, const struct cp_action_row *row)
{
    SY_ASSERT(row->id != 0);
    cp_put_uint(buf, 1, row->id);
    cp_put_str(buf, 2, row->parent);
    if (row->spec_digest)
        cp_put_bytes(buf, 3, row->spec_digest, 16);
    cp_put_int(buf, 4, row->created_ns);
    cp_put_int(buf, 5, row->priority);
    cp_put_bytes(buf, 6, row->input.data, row->input.len);
    cp_put_str(buf, 7, row->input_uri);
    cp_put_str(buf, 8, row->group);
    cp_put_bytes(buf, 9, row->flyte.data, row->flyte.len);
    cp_put_str(buf, 10, row->queue);
    if (row->gang)
        put_gang(buf, 11, row->gang);
    cp_put_uint(buf, 12, row->queue_reach);
}

void cp_row_put_outcome(struct sy_buf *buf, const struct cp_outcome_row *row)
{
    SY_ASSERT(cp_phase_final(row->phase));
    cp_put_uint(buf, 1, row->phase);
    cp_put_uint(buf, 2, row->number);
    cp_put_int(buf, 3, row->started_ns);
    cp_put_int(buf, 4, row->finished_ns);
    cp_put_bytes(buf, 5, row->output.data, row->output.len);
    cp_put_str(buf, 6, row->output_uri);
    put_error(buf, 7, &row->error);
    cp_put_str(buf, 8, row->cluster);
    cp_put_str(buf, 9, row->node);
    cp_put_uint(buf, 10, row->memory_peak_bytes);
    cp_put_uint(buf, 11, row->has_logs);
    cp_put_uint(buf, 12, row->epoch);
    cp_put_uint(buf, 13, row->parent_number);
    cp_put_uint(buf, 14, row->cache);
    cp_put_str(buf, 15, row->reused_from);
    cp_put_uint(buf, 16, row->recovered);
    cp_put_uint(buf, 17, row->error_kind);
    cp_put_int(buf, 18, row->granted_ns);
    cp_put_int(buf, 19, row->out_ns);
    cp_put_int(buf, 20, row->held_ns);
    cp_put_int(buf, 21, row->waited_ns);
}

void cp_row_put_live(struct sy_buf *buf, const struct sch_action *action)
{
    cp_put_uint(buf, 1, action->ended);
    cp_put_uint(buf, 2, action->user_failures);
    cp_put_uint(buf, 3, action->system_failures);
    cp_put_uint(buf, 4, action->sealed);
    cp_put_uint(buf, 5, action->child_sequence);
    cp_put_uint(buf, 6, action->children_failed);
    cp_put_uint(buf, 7, action->attempts);
    cp_put_uint(buf, 8, sch_action_memory_bytes(action));
    cp_put_uint(buf, 9, action->deaths);
    cp_put_uint(buf, 10, action->suspect);
    struct sch_out out;
    if (!sch_action_out(action, &out))
        return;
    size_t begin = cp_put_begin(buf, 11);
    cp_put_str(buf, 1, out.cluster);
    cp_put_uint(buf, 2, out.number);
    cp_put_uint(buf, 3, out.epoch);
    cp_put_uint(buf, 4, out.started);
    cp_put_end(buf, begin);
}

void cp_row_put_event(struct sy_buf *buf, const struct cp_event_row *row)
{
    SY_ASSERT(row->sequence > 0);
    size_t begin = cp_put_begin(buf, 1);
    cp_put_uint(buf, 1, row->sequence);
    cp_put_str(buf, 2, row->action);
    cp_put_uint(buf, 3, row->phase);
    cp_put_int(buf, 4, row->time_ns);
    cp_put_uint(buf, 5, row->attempt);
    cp_put_str(buf, 6, row->cluster);
    cp_put_str(buf, 7, row->node);
    put_error(buf, 8, &row->error);
    cp_put_str(buf, 9, row->parent);
    cp_put_int(buf, 10, row->started_ns);
    cp_put_end(buf, begin);
}

void cp_row_put_event_total(struct sy_buf *buf, uint64_t actions_total)
{
    cp_put_uint(buf, 15, actions_total);
}

void cp_row_put_child(struct sy_buf *buf, const char *name)
{
    cp_put_str(buf, 1, name);
}

/* ---- rows, read ---- */

bool cp_chunk_next(struct sy_span *chunk, struct sy_span *ret_entry)
{
    struct cp_field field;
    while (cp_read_field(chunk, &field)) {
        if (field.number == 1 && field.type == CP_WIRE_BYTES) {
            *ret_entry = field.span;
            return true;
        }
    }
    return false;
}

int cp_chunk_count(struct sy_span chunk, uint64_t *ret_entries, uint64_t *ret_actions_total)
{
    struct cp_field field;
    uint64_t entries = 0, total = 0;
    while (cp_read_field(&chunk, &field)) {
        if (field.number == 1 && field.type == CP_WIRE_BYTES)
            entries++;
        else if (field.number == 15 && field.type == CP_WIRE_VARINT)
            total = field.value;
    }
    if (chunk.len > 0 || entries == 0)
        return -EBADMSG;
    *ret_entries = entries;
    *ret_actions_total = total;
    return 0;
}

int cp_row_input(struct sy_span row, struct sy_span *ret_input, struct sy_span *ret_uri)
{
    struct cp_field field;
    *ret_input = *ret_uri = (struct sy_span){0};
    while (cp_read_field(&row, &field)) {
        if (field.type == CP_WIRE_BYTES && field.number == 6)
            *ret_input = field.span;
        else if (field.type == CP_WIRE_BYTES && field.number == 7)
            *ret_uri = field.span;
    }
    return row.len > 0 ? -EBADMSG : 0;
}

static bool find_field(struct sy_span row, uint32_t number, enum cp_wire_type type,
                       struct cp_field *ret)
{
    while (cp_read_field(&row, ret)) {
        if (ret->number == number && ret->type == type)
            return true;
    }
    return false;
}

struct sy_span cp_row_bytes(struct sy_span row, uint32_t field)
{
    struct cp_field found;
    return find_field(row, field, CP_WIRE_BYTES, &found) ? found.span : (struct sy_span){0};
}

uint64_t cp_row_uint(struct sy_span row, uint32_t field)
{
    struct cp_field found;
    return find_field(row, field, CP_WIRE_VARINT, &found) ? found.value : 0;
}

int cp_row_put_child_outcome(struct sy_buf *buf, struct sy_span name, struct sy_span row)
{
    struct cp_field field;
    struct sy_span output = {0}, uri = {0}, error = {0};
    uint64_t phase = 0;
    bool has_error = false;
    while (cp_read_field(&row, &field)) {
        if (field.number == 1 && field.type == CP_WIRE_VARINT)
            phase = field.value;
        if (field.type != CP_WIRE_BYTES)
            continue;
        if (field.number == 5)
            output = field.span;
        else if (field.number == 6)
            uri = field.span;
        else if (field.number == 7) {
            error = field.span;
            has_error = true;
        }
    }
    if (row.len > 0)
        return -EBADMSG;
    size_t begin = cp_put_begin(buf, 1);
    cp_put_bytes(buf, 1, name.data, name.len);
    cp_put_uint(buf, 2, phase);
    cp_put_bytes(buf, 3, output.data, output.len);
    cp_put_bytes(buf, 4, uri.data, uri.len);
    if (has_error)
        cp_put_bytes_always(buf, 5, error.data, error.len);
    cp_put_end(buf, begin);
    return 0;
}

void *cp_row_unpack(const ProtobufCMessageDescriptor *type, struct sy_arena *arena,
                    struct sy_span row)
{
    return pb_unpack(type, arena, row);
}

void cp_row_pack(struct sy_buf *buf, const ProtobufCMessage *message)
{
    pb_pack(message, buf);
}

int cp_row_get(struct cp_store *store, enum cp_family family, const struct cp_key *key,
               const ProtobufCMessageDescriptor *type, struct sy_arena *arena,
               struct sy_buf *scratch, void *ret_message)
{
    int r = cp_store_get(store, family, cp_key_span(key), scratch);
    if (r != 0)
        return r;
    void *message = cp_row_unpack(type, arena, sy_buf_span(scratch));
    if (!message)
        return sy_trace(-EBADMSG);
    memcpy(ret_message, &message, sizeof(message));
    return 0;
}

/* ---- phases ---- */

bool cp_phase_final(Switchyard__V1__Phase phase)
{
    return phase >= SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED &&
           phase <= SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT;
}

Switchyard__V1__Phase cp_phase_of(enum sch_action_state state, uint32_t number)
{
    switch (state) {
    case SCH_ACTION_QUEUED:
    case SCH_ACTION_BACKOFF:
    case SCH_ACTION_HELD:
    case SCH_ACTION_CACHE_WAIT:
    case SCH_ACTION_GANG_WAIT:
        return SWITCHYARD__V1__PHASE__PHASE_QUEUED;
    case SCH_ACTION_PAUSED:
        return SWITCHYARD__V1__PHASE__PHASE_PAUSED;
    case SCH_ACTION_ASSIGNED:
        return SWITCHYARD__V1__PHASE__PHASE_INITIALIZING;
    case SCH_ACTION_RECOVERING: /* it may run; nobody has said so yet */
        return number > 0 ? SWITCHYARD__V1__PHASE__PHASE_RUNNING
                          : SWITCHYARD__V1__PHASE__PHASE_QUEUED;
    case SCH_ACTION_RUNNING:
    case SCH_ACTION_GROUP:
        return SWITCHYARD__V1__PHASE__PHASE_RUNNING;
    case SCH_ACTION_SUCCEEDED:
        return SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    case SCH_ACTION_FAILED:
        return SWITCHYARD__V1__PHASE__PHASE_FAILED;
    case SCH_ACTION_ABORTED:
        return SWITCHYARD__V1__PHASE__PHASE_ABORTED;
    case SCH_ACTION_TIMED_OUT:
        return SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT;
    case SCH_ACTION_STATES:
        break;
    }
    SY_ASSERT(false);
    return SWITCHYARD__V1__PHASE__PHASE_UNSPECIFIED;
}

/* What is not in order is not known, nor is what was before it. */
void cp_row_history(const Switchyard__Internal__Store__Meta *meta, struct cp_log *log)
{
    for (size_t i = 0; i < meta->n_history; i++) {
        const Switchyard__Internal__Store__LogEpoch *row = meta->history[i];
        const struct cp_log_epoch *last = log->count > 0 ? &log->epochs[log->count - 1] : NULL;
        bool follows = last == NULL || (row->epoch > last->epoch && row->after > last->after);
        if (!follows || log->count == CP_LOG_EPOCHS_MAX)
            log->count = 0;
        if (row->epoch > 0 && row->epoch <= meta->epoch && row->after < log->end)
            log->epochs[log->count++] = (struct cp_log_epoch){row->epoch, row->after};
    }
}
