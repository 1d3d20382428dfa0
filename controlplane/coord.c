/* The copy of a region's records, which all adapters keep alike. */
#include "base/mem.h"
#include "controlplane/coord_impl.h"

#include <stdlib.h>
#include <string.h>

static void record_free(struct cp_coord_record *record)
{
    free(record->key);
    sy_buf_deinit(&record->value);
    free(record);
}

/* Where `key` is, or would be. */
static size_t position(const struct cp_coord *coord, const char *key, bool *ret_found)
{
    size_t low = 0, high = coord->count;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(coord->records[middle]->key, key);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(struct cp_coord *coord, size_t at, const char *key)
{
    if (coord->count == coord->cap) {
        coord->cap = coord->cap > 0 ? coord->cap * 2 : 64;
        coord->records = sy_realloc(coord->records, coord->cap * sizeof(struct cp_coord_record *));
    }
    memmove(coord->records + at + 1, coord->records + at,
            (coord->count - at) * sizeof(struct cp_coord_record *));
    coord->records[at] = sy_new(struct cp_coord_record);
    coord->records[at]->key = sy_strdup(key);
    coord->count++;
}

void cp_coord_put(struct cp_coord *coord, const char *key, struct sy_span value, int64_t revision,
                  int64_t session)
{
    bool found;
    size_t at = position(coord, key, &found);
    if (!found)
        insert(coord, at, key);
    struct cp_coord_record *record = coord->records[at];
    SY_ASSERT(revision > record->revision);
    sy_buf_clear(&record->value);
    sy_buf_append(&record->value, value.data, value.len);
    record->revision = revision;
    record->session = session;
}

void cp_coord_drop(struct cp_coord *coord, const char *key)
{
    bool found;
    size_t at = position(coord, key, &found);
    if (!found)
        return;
    record_free(coord->records[at]);
    coord->count--;
    memmove(coord->records + at, coord->records + at + 1,
            (coord->count - at) * sizeof(struct cp_coord_record *));
}

void cp_coord_drop_all(struct cp_coord *coord)
{
    for (size_t i = 0; i < coord->count; i++)
        record_free(coord->records[i]);
    coord->count = 0;
}

/* ---- life ---- */

static void on_tell(void *arg)
{
    struct cp_coord *coord = arg;
    coord->sink.on_changed(coord->sink.ctx);
}

void cp_coord_tell(struct cp_coord *coord)
{
    sy_timer_start_in(coord->loop, &coord->tell, 0);
}

void cp_coord_init(struct cp_coord *coord, const struct cp_coord_adapter *adapter,
                   struct sy_loop *loop, const struct cp_coord_sink *sink)
{
    SY_ASSERT(sink->on_changed != NULL);
    coord->adapter = adapter;
    coord->loop = loop;
    coord->sink = *sink;
    sy_timer_init(&coord->tell, on_tell, coord);
}

void cp_coord_deinit(struct cp_coord *coord)
{
    sy_timer_stop(coord->loop, &coord->tell);
    cp_coord_drop_all(coord);
    free(coord->records);
}

/* ---- the port ---- */

int64_t cp_coord_revision(const struct cp_coord *coord)
{
    return coord->revision;
}

const struct cp_coord_record *cp_coord_find(const struct cp_coord *coord, const char *key)
{
    bool found;
    size_t at = position(coord, key, &found);
    return found ? coord->records[at] : NULL;
}

const struct cp_coord_record *cp_coord_next(const struct cp_coord *coord, const char *prefix,
                                            const char *after)
{
    bool found;
    size_t at = position(coord, after != NULL ? after : prefix, &found);
    if (found && after != NULL)
        at++;
    if (at == coord->count || strncmp(coord->records[at]->key, prefix, strlen(prefix)) != 0)
        return NULL;
    return coord->records[at];
}

int64_t cp_coord_session(const struct cp_coord *coord)
{
    return coord->session;
}

int64_t cp_coord_held_until_ns(const struct cp_coord *coord)
{
    return coord->session != 0 ? coord->held_until_ns : 0;
}

void cp_coord_leave(struct cp_coord *coord, sy_fn done, void *ctx)
{
    SY_ASSERT(done != NULL);
    coord->adapter->leave(coord, done, ctx);
}

void cp_coord_write(struct cp_coord *coord, const struct cp_coord_op *ops, size_t count,
                    cp_coord_done_fn done, void *ctx)
{
    SY_ASSERT(count > 0 && count <= CP_COORD_OPS_MAX && done != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(ops[i].key);
        SY_ASSERT(len > 0 && len < CP_COORD_KEY_MAX && ops[i].value.len <= CP_COORD_VALUE_MAX);
        for (size_t k = 0; k < i; k++)
            SY_ASSERT(strcmp(ops[i].key, ops[k].key) != 0);
    }
    coord->adapter->write(coord, ops, count, done, ctx);
}

const char *cp_coord_trouble(const struct cp_coord *coord)
{
    return coord->trouble.text;
}

void cp_coord_free(struct cp_coord *coord)
{
    if (coord != NULL)
        coord->adapter->free(coord);
}
