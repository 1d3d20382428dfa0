/*
 * switchyard.v1.QueueService. A change is made in the queue's home (queues.h), then copied to the
 * other partitions (queue_sync.c); reads are of any partition's copy, with the status of all.
 */
#include "base/mem.h"
#include "controlplane/queue_status.h"
#include "controlplane/queues.h"
#include "controlplane/shard_impl.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define LIST_DEFAULT 100
#define LIST_MAX 1000

typedef Switchyard__V1__Queue Queue;
typedef Switchyard__V1__QueueId QueueId;
typedef Switchyard__V1__QueueSettings QueueSettings;
typedef Switchyard__Internal__Store__QueueRow QueueRow;

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* generated structs have no const; packing does not write */
}

/* For people: "queue fraud/prod/batch", or "level fraud/prod". */
static struct sy_error_text print_key(const struct sch_queue_key *key)
{
    struct sy_error_text name, ret;
    sch_queue_key_print(key, &name);
    sy_error_text_set(&ret, "%s %s", key->name[0] != '\0' ? "queue" : "level", name.text);
    return ret;
}

/* All requests about one queue have its id in field 1. */
static const QueueId *id_of(const struct cp_request *req)
{
    const Switchyard__V1__GetQueueRequest *m = req->message;
    return m->id;
}

static int check_id(struct cp_request *req, struct sy_error_text *error)
{
    return cp_queue_id_check(id_of(req), error);
}

/* To its home. */
static int address(struct cp_request *req, struct sy_error_text *error)
{
    const QueueId *id = id_of(req);
    if (check_id(req, error) < 0)
        return -EINVAL;
    req->address = (struct cp_address){
        .org = "", .project = id->project, .domain = id->domain, .task = ""};
    return 0;
}

/* ---- messages ---- */

struct shown {
    Queue queue;
    QueueId id;
    Switchyard__V1__QueueStatus status;
    Switchyard__V1__Amounts amounts;
};

static void show(struct shown *s, const struct sch_queue_key *key, const QueueRow *row)
{
    switchyard__v1__queue__init(&s->queue);
    switchyard__v1__queue_id__init(&s->id);
    s->id.project = text(key->project);
    s->id.domain = text(key->domain);
    s->id.name = text(key->name);
    s->queue.id = &s->id;
    s->queue.settings = row->settings;
    s->queue.revision = row->revision;
    s->queue.created_ns = row->created_ns;
    s->queue.updated_ns = row->updated_ns;
}

static void show_numbers(struct shown *s, const struct cp_queue_numbers *n)
{
    switchyard__v1__queue_status__init(&s->status);
    switchyard__v1__amounts__init(&s->amounts);
    s->status.actions = n->actions;
    s->status.out = n->out;
    s->status.share = n->share;
    s->status.out_amounts = &s->amounts;
    s->amounts.cpu_milli = n->cpu_milli;
    s->amounts.memory_bytes = n->memory_bytes;
    s->amounts.gpus = (uint32_t)n->gpus;
    s->queue.status = &s->status;
}

/* ---- changes ---- */

/* One change, in the request's memory. */
struct change {
    struct cp_request *req;
    struct sch_queue_key key;
    struct sy_span row; /* as it is now */
};

static enum sy_code unreadable(struct sy_error_text *error)
{
    sy_error_text_set(error, "reading from the store failed");
    return SY_CODE_UNAVAILABLE;
}

static void keep(struct change *c, const QueueRow *row)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    pb_pack(&row->base, &buf);
    uint8_t *copy = cp_request_alloc(c->req, buf.len);
    memcpy(copy, buf.data, buf.len);
    c->row = (struct sy_span){copy, buf.len};
}

static bool same_settings(const QueueSettings *a, const QueueSettings *b)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) left = {0};
    struct sy_buf SY_CLEANUP(sy_buf_deinit) right = {0};
    pb_pack(&a->base, &left);
    pb_pack(&b->base, &right);
    return left.len == right.len && (left.len == 0 || memcmp(left.data, right.data, left.len) == 0);
}

/* `old` NULL: it is new. Nothing is put when it refuses. */
static enum sy_code write_queue(struct change *c, struct cp_partition *p,
                                const QueueSettings *settings, const QueueRow *old,
                                struct sy_error_text *error)
{
    struct sch_queue_config config;
    if (old != NULL && same_settings(old->settings, settings)) {
        keep(c, old);
        return SY_CODE_OK;
    }
    if (cp_queue_config_read(&config, &c->key, settings, error) < 0)
        return SY_CODE_INVALID_ARGUMENT;
    bool moves = old == NULL || strcmp(old->settings->parent, settings->parent) != 0;
    enum sy_code code = SY_CODE_OK;
    if (moves && settings->parent[0] != '\0')
        code = cp_queue_parent_check(p, &c->key, settings->parent, error);
    if (code != SY_CODE_OK)
        return code;
    QueueRow row = SWITCHYARD__INTERNAL__STORE__QUEUE_ROW__INIT;
    if (cp_queue_next_revision(p, &row.revision) < 0)
        return unreadable(error);
    QueueSettings copy = *settings;
    row.updated_ns = sy_loop_realtime_ns(c->req->lane->loop);
    row.created_ns = old != NULL ? old->created_ns : row.updated_ns;
    row.settings = &copy;
    cp_queue_put(p, &c->key, &row);
    keep(c, &row);
    return SY_CODE_OK;
}

/* OK with *ret NULL: it does not exist. */
static enum sy_code find(const struct change *c, struct cp_partition *p, QueueRow **ret,
                         struct sy_error_text *error)
{
    *ret = NULL;
    int r = cp_queue_get(p, cp_scratch(c->req->lane), &c->key, ret);
    return r == 0 || r == CP_PARTITION_E_NOT_FOUND ? SY_CODE_OK : unreadable(error);
}

/* `revision` 0: any. */
static enum sy_code find_existing(const struct change *c, struct cp_partition *p, uint64_t revision,
                                  QueueRow **ret, struct sy_error_text *error)
{
    enum sy_code code = find(c, p, ret, error);
    if (code != SY_CODE_OK)
        return code;
    if (*ret == NULL) {
        sy_error_text_set(error, "%s does not exist", print_key(&c->key).text);
        return SY_CODE_NOT_FOUND;
    }
    if (revision == 0 || revision == (*ret)->revision)
        return SY_CODE_OK;
    sy_error_text_set(error, "%s has revision %llu, not %llu: it was changed meanwhile",
                      print_key(&c->key).text, (unsigned long long)(*ret)->revision,
                      (unsigned long long)revision);
    return SY_CODE_ABORTED;
}

/* Create, update, pause and resume answer alike: the queue in field 1. */
static void reply_changed(void *arg)
{
    const struct change *c = arg;
    Switchyard__V1__GetQueueResponse response = SWITCHYARD__V1__GET_QUEUE_RESPONSE__INIT;
    struct shown s;
    const QueueRow *row = CP_UNPACK(QueueRow, switchyard__internal__store__queue_row__descriptor,
                                    cp_scratch(c->req->lane), c->row);
    SY_ASSERT(row != NULL); /* we packed it */
    show(&s, &c->key, row);
    response.queue = &s.queue;
    cp_reply_message(c->req, &response.base);
}

static void changed(void *arg, const struct sy_status *status)
{
    struct change *c = arg;
    if (status->code == SY_CODE_OK)
        cp_queue_sync_change(c->req, &c->key, reply_changed, c);
    else
        cp_fail_status(c->req, status);
}

static struct change *change_new(struct cp_request *req)
{
    struct change *c = cp_request_alloc(req, sizeof(*c));
    c->req = req;
    c->key = cp_queue_key(id_of(req));
    return c;
}

static void start_change(struct cp_request *req, cp_change_fn fn)
{
    cp_partition_registry_change(req->lane->partition, fn, changed, change_new(req));
}

/* ---- CreateQueue ---- */

static enum sy_code create_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    struct change *c = ctx;
    const Switchyard__V1__CreateQueueRequest *m = c->req->message;
    QueueSettings settings = SWITCHYARD__V1__QUEUE_SETTINGS__INIT;
    size_t max = c->req->lane->shard->options.queues_max;
    QueueRow *old;
    if (m->settings != NULL)
        settings = *m->settings;
    settings.base.n_unknown_fields = 0;
    if (settings.weight == 0)
        settings.weight = SCH_QUEUE_WEIGHT_DEFAULT;
    enum sy_code code = find(c, p, &old, error);
    if (code != SY_CODE_OK)
        return code;
    if (old != NULL && !same_settings(old->settings, &settings)) {
        sy_error_text_set(error, "%s exists already, with other settings", print_key(&c->key).text);
        return SY_CODE_ALREADY_EXISTS;
    }
    if (old == NULL && cp_queue_count(p) >= max) {
        sy_error_text_set(error, "the region has %zu queues, at most %zu are allowed (queues_max)",
                          cp_queue_count(p), max);
        return SY_CODE_RESOURCE_EXHAUSTED;
    }
    return write_queue(c, p, &settings, old, error);
}

static void create_queue(struct cp_request *req)
{
    start_change(req, create_change);
}

/* ---- UpdateQueue, PauseQueue, ResumeQueue ---- */

static size_t size_of_value(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    default:
        return sizeof(uint32_t);
    }
}

static void copy_field(QueueSettings *to, const QueueSettings *from,
                       const ProtobufCFieldDescriptor *field)
{
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    size_t size = repeated ? sizeof(void *) : size_of_value(field);
    memcpy((char *)to + field->offset, (const char *)from + field->offset, size);
    if (repeated)
        memcpy((char *)to + field->quantifier_offset, (const char *)from + field->quantifier_offset,
               sizeof(size_t));
}

/* `to` as it was, with what the request names; borrowed from both. */
static enum sy_code merge(QueueSettings *to, const Switchyard__V1__UpdateQueueRequest *m,
                          struct sy_error_text *error)
{
    const ProtobufCMessageDescriptor *type = &switchyard__v1__queue_settings__descriptor;
    static const QueueSettings empty = SWITCHYARD__V1__QUEUE_SETTINGS__INIT;
    const QueueSettings *from = m->settings != NULL ? m->settings : &empty;
    for (size_t i = 0; m->n_fields == 0 && i < type->n_fields; i++)
        copy_field(to, from, &type->fields[i]);
    for (size_t i = 0; i < m->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(
            type, m->fields[i]);
        if (field == NULL) {
            sy_error_text_set(error, "fields: '%.64s' is not a setting of queues", m->fields[i]);
            return SY_CODE_INVALID_ARGUMENT;
        }
        copy_field(to, from, field);
    }
    return SY_CODE_OK;
}

static enum sy_code update_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    struct change *c = ctx;
    const Switchyard__V1__UpdateQueueRequest *m = c->req->message;
    QueueRow *old;
    enum sy_code code = find_existing(c, p, m->revision, &old, error);
    if (code != SY_CODE_OK)
        return code;
    QueueSettings settings = *old->settings;
    code = merge(&settings, m, error);
    return code == SY_CODE_OK ? write_queue(c, p, &settings, old, error) : code;
}

static void update_queue(struct cp_request *req)
{
    start_change(req, update_change);
}

static enum sy_code set_paused(struct change *c, struct cp_partition *p, bool paused,
                               struct sy_error_text *error)
{
    QueueRow *old;
    enum sy_code code = find_existing(c, p, 0, &old, error);
    if (code != SY_CODE_OK)
        return code;
    QueueSettings settings = *old->settings;
    settings.paused = paused;
    return write_queue(c, p, &settings, old, error);
}

static enum sy_code pause_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    return set_paused(ctx, p, true, error);
}

static enum sy_code resume_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    return set_paused(ctx, p, false, error);
}

static void pause_queue(struct cp_request *req)
{
    start_change(req, pause_change);
}

static void resume_queue(struct cp_request *req)
{
    start_change(req, resume_change);
}

/* ---- DeleteQueue ---- */

static enum sy_code delete_change(void *ctx, struct cp_partition *p, struct sy_error_text *error)
{
    struct change *c = ctx;
    const Switchyard__V1__DeleteQueueRequest *m = c->req->message;
    size_t children;
    QueueRow *old;
    enum sy_code code = find_existing(c, p, m->revision, &old, error);
    if (code != SY_CODE_OK)
        return code;
    if (cp_queue_children(p, &c->key, &children) != 0)
        return unreadable(error);
    if (children > 0) {
        sy_error_text_set(error, "%s has queues below it (%zu): delete those, or move them, first",
                          print_key(&c->key).text, children);
        return SY_CODE_FAILED_PRECONDITION;
    }
    uint64_t unused; /* so that the next queue of this name is not taken for this one */
    if (cp_queue_next_revision(p, &unused) < 0)
        return unreadable(error);
    cp_queue_remove(p, &c->key);
    return SY_CODE_OK;
}

static void reply_deleted(void *arg)
{
    struct change *c = arg;
    struct sy_buf empty = {0};
    cp_reply(c->req, &empty);
}

static void reply_gone(void *arg)
{
    struct change *c = arg;
    cp_fail(c->req, SY_CODE_NOT_FOUND, "%s does not exist", print_key(&c->key).text);
}

/* One that is not there an earlier try of this call may have deleted, and then have failed to tell
 * the other partitions: they are told before the repeat hears NOT_FOUND. */
static void deleted(void *arg, const struct sy_status *status)
{
    struct change *c = arg;
    if (status->code == SY_CODE_OK)
        cp_queue_sync_change(c->req, &c->key, reply_deleted, c);
    else if (status->code == SY_CODE_NOT_FOUND)
        cp_queue_sync_change(c->req, &c->key, reply_gone, c);
    else
        cp_fail_status(c->req, status);
}

static bool is_there(const struct change *c)
{
    struct sy_error_text error;
    QueueRow *row;
    enum sy_code code = find(c, c->req->lane->partition, &row, &error);
    return code != SY_CODE_OK || row != NULL;
}

/* An action that comes after this goes on under default settings. So there may be some in a queue
 * that an earlier try has deleted. */
static void delete_unless_used(struct cp_request *req, void *ctx,
                               const struct cp_queue_numbers *sums)
{
    struct change *c = ctx;
    if (sums->actions > 0 && c->key.name[0] != '\0' && is_there(c)) {
        cp_fail(
            req, SY_CODE_FAILED_PRECONDITION,
            "%s has actions that have not ended (%llu): let them end, or abort their runs, first",
            print_key(&c->key).text, (unsigned long long)sums->actions);
        return;
    }
    cp_partition_registry_change(req->lane->partition, delete_change, deleted, c);
}

static void delete_queue(struct cp_request *req)
{
    struct change *c = change_new(req);
    cp_queue_ask(req, &(struct cp_queue_query){&c->key, 1, delete_unless_used, c});
}

/* ---- GetQueue, ListQueues ---- */

struct listing {
    struct cp_request *req;
    struct sch_queue_key *keys;
    struct sy_span *rows;
    size_t count, limit;
    bool more;
};

static bool add_row(void *ctx, struct sy_span key, struct sy_span value)
{
    struct listing *l = ctx;
    if (l->count == l->limit) {
        l->more = true;
        return false;
    }
    if (!cp_queue_key_read(key, &l->keys[l->count]))
        return true;
    uint8_t *copy = cp_request_alloc(l->req, value.len);
    memcpy(copy, value.data, value.len);
    l->rows[l->count++] = (struct sy_span){copy, value.len};
    return true;
}

static struct listing *listing_new(struct cp_request *req, size_t limit)
{
    struct listing *l = cp_request_alloc(req, sizeof(*l));
    l->req = req;
    l->limit = limit;
    l->keys = cp_request_alloc(req, limit * sizeof(*l->keys));
    l->rows = cp_request_alloc(req, limit * sizeof(*l->rows));
    return l;
}

/* NULL: the row is damaged. */
static Queue *show_row(struct listing *l, size_t i, const struct cp_queue_numbers *sums)
{
    struct shown *s = cp_request_alloc(l->req, sizeof(*s));
    const QueueRow *row = CP_UNPACK(QueueRow, switchyard__internal__store__queue_row__descriptor,
                                    &l->req->lane->scratch, l->rows[i]);
    if (row == NULL)
        return NULL;
    show(s, &l->keys[i], row);
    show_numbers(s, &sums[i]);
    return &s->queue;
}

static void reply_queue(struct cp_request *req, void *ctx, const struct cp_queue_numbers *sums)
{
    Switchyard__V1__GetQueueResponse response = SWITCHYARD__V1__GET_QUEUE_RESPONSE__INIT;
    (void)cp_scratch(req->lane);
    response.queue = show_row(ctx, 0, sums);
    if (response.queue != NULL)
        cp_reply_message(req, &response.base);
    else
        cp_fail_read(req, -EBADMSG);
}

static void get_queue(struct cp_request *req)
{
    struct listing *l = listing_new(req, 1);
    l->keys[0] = cp_queue_key(id_of(req));
    if (req->of_part) { /* it may not have heard of the queue yet */
        cp_queue_ask(req, &(struct cp_queue_query){l->keys, 1, reply_queue, l});
        return;
    }
    struct cp_registry_key key = cp_queue_row_key(&l->keys[0]);
    struct sy_buf *buf = &req->lane->buf;
    QueueSettings settings = SWITCHYARD__V1__QUEUE_SETTINGS__INIT;
    QueueRow row = SWITCHYARD__INTERNAL__STORE__QUEUE_ROW__INIT;
    int r = cp_partition_registry_get(req->lane->partition, cp_registry_span(&key), buf);
    if (r == CP_PARTITION_E_NOT_FOUND && strcmp(l->keys[0].name, SCH_QUEUE_DEFAULT) == 0 &&
        l->keys[0].domain[0] != '\0') {
        settings.weight = SCH_QUEUE_WEIGHT_DEFAULT;
        row.settings = &settings;
        sy_buf_clear(buf);
        pb_pack(&row.base, buf);
        r = 0;
    }
    if (r == CP_PARTITION_E_NOT_FOUND) {
        cp_fail(req, SY_CODE_NOT_FOUND, "%s does not exist", print_key(&l->keys[0]).text);
        return;
    }
    if (r != 0) {
        cp_fail_read(req, r);
        return;
    }
    uint8_t *copy = cp_request_alloc(req, buf->len);
    memcpy(copy, buf->data, buf->len);
    l->rows[0] = (struct sy_span){copy, buf->len};
    cp_queue_ask(req, &(struct cp_queue_query){l->keys, 1, reply_queue, l});
}

static void reply_queues(struct cp_request *req, void *ctx, const struct cp_queue_numbers *sums)
{
    struct listing *l = ctx;
    Switchyard__V1__ListQueuesResponse response = SWITCHYARD__V1__LIST_QUEUES_RESPONSE__INIT;
    char token[3 * SCH_QUEUE_NAME_MAX];
    (void)cp_scratch(req->lane);
    response.queues = cp_request_alloc(req, l->count * sizeof(Queue *));
    for (size_t i = 0; i < l->count; i++) {
        Queue *queue = show_row(l, i, sums);
        if (queue != NULL)
            response.queues[response.n_queues++] = queue;
    }
    if (l->more) {
        const struct sch_queue_key *last = &l->keys[l->count - 1];
        snprintf(token, sizeof(token), "%s/%s/%s", last->project, last->domain, last->name);
        response.token = token;
    }
    cp_reply_message(req, &response.base);
}

/* The token is the last queue of the page before: "project/domain/name". */
static int read_token(struct cp_request *req, const char *token, struct sch_queue_key *ret,
                      struct sy_error_text *error)
{
    QueueId id = SWITCHYARD__V1__QUEUE_ID__INIT;
    char *copy = sy_arena_strdup(&req->arena, token), *rest = copy;
    id.project = rest != NULL ? strsep(&rest, "/") : NULL;
    id.domain = rest != NULL ? strsep(&rest, "/") : NULL;
    id.name = rest;
    if (id.name == NULL || cp_queue_id_check(&id, error) < 0) {
        sy_error_text_set(error, "token: it is none of ListQueues");
        return -EINVAL;
    }
    *ret = cp_queue_key(&id);
    return 0;
}

/* Rows below the prefix and after `after`, which may be NULL. */
static int scan(struct listing *l, const struct cp_registry_key *prefix,
                const struct sch_queue_key *after)
{
    struct cp_registry_key from = *prefix, to = cp_registry_after(prefix);
    if (l->more)
        return 0;
    if (after != NULL) {
        struct cp_registry_key next = cp_queue_row_key(after);
        next.data[next.len++] = 0; /* the least one that is greater */
        if (cp_registry_compare(cp_registry_span(&next), cp_registry_span(&from)) > 0)
            from = next;
        if (cp_registry_compare(cp_registry_span(&from), cp_registry_span(&to)) >= 0)
            return 0; /* all of it came before */
    }
    return cp_partition_registry_scan(l->req->lane->partition, cp_registry_span(&from),
                                      cp_registry_span(&to), add_row, l);
}

static void list_queues(struct cp_request *req)
{
    const Switchyard__V1__ListQueuesRequest *m = req->message;
    struct sch_queue_key token = {{0}, {0}, {0}}, *after = m->token[0] != '\0' ? &token : NULL;
    struct sy_error_text error = {0};
    QueueId scope = SWITCHYARD__V1__QUEUE_ID__INIT;
    scope.project = m->project;
    scope.domain = m->domain;
    bool all = m->project[0] == '\0' && m->domain[0] == '\0';
    if ((!all && cp_queue_id_check(&scope, &error) < 0) ||
        (after != NULL && read_token(req, m->token, after, &error) < 0)) {
        cp_fail(req, SY_CODE_INVALID_ARGUMENT, "%s", error.text);
        return;
    }
    size_t limit = m->limit == 0 ? LIST_DEFAULT : m->limit < LIST_MAX ? m->limit : LIST_MAX;
    struct listing *l = listing_new(req, limit);
    const struct cp_registry_key prefixes[] = {
        CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, "", "", NULL),
        CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, m->project, "", NULL),
        CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, m->project, m->domain, NULL),
        CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, m->project, NULL),
        CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, NULL),
    };
    int r = 0;
    if (all) {
        r = scan(l, &prefixes[4], after);
    } else {
        r = scan(l, &prefixes[0], after);
        if (r == 0)
            r = scan(l, &prefixes[m->domain[0] != '\0' ? 1 : 3], after);
        if (r == 0 && m->domain[0] != '\0')
            r = scan(l, &prefixes[2], after);
    }
    if (r == 0)
        cp_queue_ask(req, &(struct cp_queue_query){l->keys, l->count, reply_queues, l});
    else
        cp_fail_read(req, r);
}

#define QUEUE_SERVICE "/switchyard.v1.QueueService/"

const struct cp_method cp_queue_methods[] = {
    {.path = QUEUE_SERVICE "CreateQueue",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__create_queue_request__descriptor,
     .address = address,
     .serve = create_queue},
    {.path = QUEUE_SERVICE "UpdateQueue",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__update_queue_request__descriptor,
     .address = address,
     .serve = update_queue},
    {.path = QUEUE_SERVICE "GetQueue",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__get_queue_request__descriptor,
     .address = check_id,
     .serve = get_queue,
     .anywhere = true,
     .parts = true},
    {.path = QUEUE_SERVICE "ListQueues",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__list_queues_request__descriptor,
     .serve = list_queues,
     .anywhere = true,
     .parts = true},
    {.path = QUEUE_SERVICE "DeleteQueue",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__delete_queue_request__descriptor,
     .address = address,
     .serve = delete_queue,
     .parts = true},
    {.path = QUEUE_SERVICE "PauseQueue",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__pause_queue_request__descriptor,
     .address = address,
     .serve = pause_queue},
    {.path = QUEUE_SERVICE "ResumeQueue",
     .kind = SY_METHOD_UNARY,
     .request = &switchyard__v1__resume_queue_request__descriptor,
     .address = address,
     .serve = resume_queue},
    {0},
};
