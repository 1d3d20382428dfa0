/* The queues in a partition: its rows, its core's copy of them, and how the two stay equal. */
#include "controlplane/partition_impl.h"
#include "controlplane/queues.h"
#include "proto/pb.h"

#include "switchyard/internal/queues.pb-c.h"

#define QUEUES_ARENA_MAX ((size_t)256 << 20)

typedef Switchyard__Internal__Store__QueueRow QueueRow;
typedef Switchyard__Internal__QueueCopies QueueCopies;
typedef Switchyard__Internal__QueueCopy QueueCopy;

/* What is told to the core in one go: parents before their children, removals the other way round.
 */
struct change {
    struct sch_queue_key key;
    struct sy_span row; /* empty: it goes */
    const char *parent; /* as it is, or was */
    unsigned depth;     /* so many of those above it change too */
};

struct changes {
    struct cp_partition *p;
    struct sy_arena arena;
    struct change *items;
    size_t count, cap;
    const QueueCopies *copies; /* while what is over is looked for */
    bool damaged;
};

static void changes_init(struct changes *c, struct cp_partition *p)
{
    *c = (struct changes){.p = p};
    sy_arena_init(&c->arena, QUEUES_ARENA_MAX);
}

static void changes_deinit(struct changes *c)
{
    sy_arena_deinit(&c->arena);
    free(c->items);
}

static QueueRow *read_row(struct sy_arena *arena, struct sy_span bytes)
{
    QueueRow *row = CP_UNPACK(QueueRow, switchyard__internal__store__queue_row__descriptor, arena,
                              bytes);
    return row != NULL && row->settings != NULL ? row : NULL;
}

/* `told_by` is a row that has the parent; `row` what becomes of it. */
static void add_change(struct changes *c, struct sy_span key, struct sy_span told_by,
                       struct sy_span row)
{
    struct change change = {.row = row};
    const QueueRow *read = read_row(&c->arena, told_by);
    if (read == NULL || !cp_queue_key_read(key, &change.key)) {
        c->damaged = true;
        return;
    }
    change.parent = read->settings->parent;
    if (c->count == c->cap) {
        c->cap = c->cap > 0 ? c->cap * 2 : 16;
        c->items = sy_realloc(c->items, c->cap * sizeof(*c->items));
    }
    c->items[c->count++] = change;
}

/* ---- order ---- */

static const struct change *find_parent(const struct changes *c, const struct change *of)
{
    struct change wanted = {.key = of->key};
    if (of->parent[0] == '\0' || strlen(of->parent) >= sizeof(wanted.key.name))
        return NULL;
    memcpy(wanted.key.name, of->parent, strlen(of->parent) + 1);
    return bsearch(&wanted, c->items, c->count, sizeof(*c->items), cp_queue_key_compare);
}

static int by_order(const void *a, const void *b)
{
    const struct change *left = a, *right = b;
    bool left_goes = left->row.len == 0, right_goes = right->row.len == 0;
    if (left_goes != right_goes)
        return left_goes ? 1 : -1;
    int deeper = (left->depth > right->depth) - (left->depth < right->depth);
    int order = left_goes ? -deeper : deeper;
    return order != 0 ? order : cp_queue_key_compare(&left->key, &right->key);
}

static void put_in_order(struct changes *c)
{
    if (c->count < 2)
        return;
    qsort(c->items, c->count, sizeof(*c->items), cp_queue_key_compare); /* the key comes first */
    for (size_t i = 0; i < c->count; i++) {
        const struct change *at = &c->items[i];
        while (c->items[i].depth < SCH_QUEUE_DEPTH_MAX && (at = find_parent(c, at)) != NULL)
            c->items[i].depth++;
    }
    qsort(c->items, c->count, sizeof(*c->items), by_order);
}

/* ---- the core ---- */

static void tell_removed(struct cp_partition *p, const struct sch_queue_key *key)
{
    struct sch_event event = {.type = SCH_EVENT_QUEUE_REMOVE};
    event.u.queue_remove.key = key;
    cp_step(p, &event);
}

static int tell_core(struct cp_partition *p, const struct sch_queue_key *key, const QueueRow *row,
                     struct sy_error_text *error)
{
    struct sch_queue_config config;
    int r = cp_queue_config_read(&config, key, row->settings, error);
    if (r < 0)
        return r;
    struct sch_event event = {.type = SCH_EVENT_QUEUE};
    event.u.queue.config = &config;
    cp_step(p, &event);
    return 0;
}

/* Before it knows of any action: what it says of limits then is not so. */
static int tell_new_core(struct cp_partition *p, const struct change *change,
                         struct sy_arena *arena, struct sy_error_text *error)
{
    const QueueRow *row = read_row(arena, change->row);
    struct sch_queue_config config;
    if (row == NULL || cp_queue_config_read(&config, &change->key, row->settings, error) < 0)
        return -EBADMSG;
    struct sch_event event = {.type = SCH_EVENT_QUEUE, .now_ns = sy_loop_now_ns(p->loop)};
    event.u.queue.config = &config;
    sch_partition_step(p->core, &event, &p->effects);
    return 0;
}

static bool add_stored(void *ctx, struct sy_span key, struct sy_span value)
{
    struct changes *c = ctx;
    uint8_t *copy = sy_arena_alloc(&c->arena, value.len);
    if (copy == NULL || value.len == 0) {
        c->damaged = true;
        return false;
    }
    memcpy(copy, value.data, value.len);
    add_change(c, key, value, (struct sy_span){copy, value.len});
    return !c->damaged;
}

static int scan_queues(struct cp_partition *p, const struct cp_registry_key *prefix,
                       bool (*fn)(void *ctx, struct sy_span key, struct sy_span value), void *ctx)
{
    struct cp_registry_key to = cp_registry_after(prefix);
    return cp_registry_scan(p, cp_registry_span(prefix), cp_registry_span(&to), fn, ctx);
}

int cp_queues_restore(struct cp_partition *p, struct sy_error_text *error)
{
    struct cp_registry_key all = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, NULL);
    struct changes c;
    changes_init(&c, p);
    int r = scan_queues(p, &all, add_stored, &c);
    if (r == 0 && c.damaged)
        r = -EBADMSG;
    put_in_order(&c);
    for (size_t i = 0; r == 0 && i < c.count; i++)
        r = tell_new_core(p, &c.items[i], &c.arena, error);
    p->queue_count = c.count;
    changes_deinit(&c);
    if (r == -EBADMSG) {
        sy_error_text_set(error, "the store is damaged: the row of a queue");
    } else if (r != 0) {
        sy_error_text_set(error, "%s", cp_store_error(p->store));
        r = r < 0 ? r : -EIO;
    }
    return r;
}

static bool ask_of_limits(void *ctx, struct sy_span key, struct sy_span value)
{
    struct sch_queue_key queue;
    (void)value;
    if (cp_queue_key_read(key, &queue)) {
        struct sch_event event = {.type = SCH_EVENT_TOKEN_ASK, .u.token_ask.key = &queue};
        cp_step(ctx, &event);
    }
    return true;
}

int cp_queues_restored(struct cp_partition *p)
{
    struct cp_registry_key all = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, NULL);
    return scan_queues(p, &all, ask_of_limits, p);
}

void cp_partition_each_queue(struct cp_partition *p,
                             bool (*fn)(void *ctx, const struct sch_queue_view *view), void *ctx)
{
    if (p->core != NULL)
        sch_partition_each_queue(p->core, fn, ctx);
}

/* ---- rows ---- */

int cp_queue_get(struct cp_partition *p, struct sy_arena *arena, const struct sch_queue_key *key,
                 QueueRow **ret)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    struct cp_registry_key row_key = cp_queue_row_key(key);
    int r = cp_partition_registry_get(p, cp_registry_span(&row_key), &buf);
    if (r != 0)
        return r;
    *ret = read_row(arena, sy_buf_span(&buf));
    return *ret != NULL ? 0 : -EBADMSG;
}

size_t cp_queue_count(const struct cp_partition *p)
{
    return p->queue_count;
}

/* Whether it was there before; negative: reading failed, and the partition steps down. */
static int was_there(struct cp_partition *p, const struct cp_registry_key *key)
{
    int r = cp_partition_registry_get(p, cp_registry_span(key), &p->scratch2);
    if (r < 0)
        cp_partition_registry_fail(p, r);
    return r < 0 ? r : r == 0;
}

static int put(struct cp_partition *p, const struct sch_queue_key *key, const QueueRow *row,
               struct sy_span bytes)
{
    struct cp_registry_key row_key = cp_queue_row_key(key);
    struct sy_error_text error = {0};
    int there = was_there(p, &row_key);
    int r = there < 0 ? there : tell_core(p, key, row, &error);
    if (r < 0)
        return r;
    cp_partition_registry_put(p, &row_key, bytes);
    p->queue_count += there == 0;
    return 0;
}

void cp_queue_put(struct cp_partition *p, const struct sch_queue_key *key, const QueueRow *row)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) bytes = {0};
    pb_pack(&row->base, &bytes);
    int r = put(p, key, row, sy_buf_span(&bytes));
    SY_ASSERT(r != -EINVAL); /* it was checked; a store that fails is seen to */
}

void cp_queue_remove(struct cp_partition *p, const struct sch_queue_key *key)
{
    struct cp_registry_key row_key = cp_queue_row_key(key);
    if (was_there(p, &row_key) != 1)
        return;
    SY_ASSERT(p->queue_count > 0);
    p->queue_count--;
    cp_partition_registry_delete(p, &row_key);
    tell_removed(p, key);
}

int cp_queue_next_revision(struct cp_partition *p, uint64_t *ret)
{
    struct cp_registry_key key = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE_REVISION, NULL);
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    uint64_t last = 0;
    int r = cp_partition_registry_get(p, cp_registry_span(&key), &buf);
    if (r == 0 && buf.len == 8)
        last = sy_get_be64(buf.data);
    else if (r != CP_PARTITION_E_NOT_FOUND)
        return r < 0 ? r : -EBADMSG;
    *ret = last + 1;
    sy_buf_clear(&buf);
    sy_buf_put_be64(&buf, *ret);
    cp_partition_registry_put(p, &key, sy_buf_span(&buf));
    return 0;
}

/* ---- trees ---- */

/* The queues of one project and domain, by name. */
struct tree {
    struct sy_arena arena;
    struct branch {
        const char *name, *parent;
    } * items;
    size_t count, cap;
    bool damaged;
};

static bool add_branch(void *ctx, struct sy_span key, struct sy_span value)
{
    struct tree *tree = ctx;
    struct sch_queue_key queue;
    const QueueRow *row = read_row(&tree->arena, value);
    char *name = cp_queue_key_read(key, &queue) ? sy_arena_strdup(&tree->arena, queue.name) : NULL;
    tree->damaged = row == NULL || name == NULL;
    if (tree->damaged)
        return false;
    if (tree->count == tree->cap) {
        tree->cap = tree->cap > 0 ? tree->cap * 2 : 16;
        tree->items = sy_realloc(tree->items, tree->cap * sizeof(*tree->items));
    }
    tree->items[tree->count++] = (struct branch){name, row->settings->parent};
    return true;
}

static int tree_read(struct tree *tree, struct cp_partition *p, const struct sch_queue_key *key)
{
    struct cp_registry_key prefix = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, key->project, key->domain,
                                                    NULL);
    *tree = (struct tree){.count = 0};
    sy_arena_init(&tree->arena, QUEUES_ARENA_MAX);
    int r = scan_queues(p, &prefix, add_branch, tree);
    return r == 0 && tree->damaged ? -EBADMSG : r;
}

static void tree_deinit(struct tree *tree)
{
    sy_arena_deinit(&tree->arena);
    free(tree->items);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct branch *)a)->name, ((const struct branch *)b)->name);
}

static struct branch *find_branch(const struct tree *tree, const char *name)
{
    struct branch wanted = {name, NULL};
    if (tree->count == 0)
        return NULL;
    return bsearch(&wanted, tree->items, tree->count, sizeof(*tree->items), by_name);
}

/* How many stand above each other from here up: more than the limit in a circle, too. */
static unsigned height(const struct tree *tree, const struct branch *from)
{
    unsigned count = 0;
    for (; from != NULL && count <= SCH_QUEUE_DEPTH_MAX; count++)
        from = from->parent[0] != '\0' ? find_branch(tree, from->parent) : NULL;
    return count;
}

static bool is_below(const struct tree *tree, const struct branch *from, const char *name)
{
    for (unsigned i = 0; from != NULL && i <= SCH_QUEUE_DEPTH_MAX; i++) {
        if (strcmp(from->name, name) == 0)
            return true;
        from = from->parent[0] != '\0' ? find_branch(tree, from->parent) : NULL;
    }
    return false;
}

static enum sy_code check_tree(struct tree *tree, const struct sch_queue_key *key,
                               const char *parent, struct sy_error_text *error)
{
    const struct branch *above = find_branch(tree, parent);
    struct branch *changed = find_branch(tree, key->name);
    bool circle = above != NULL && is_below(tree, above, key->name);
    if (above == NULL)
        sy_error_text_set(
            error, "parent '%s': there is no such queue in the same project and domain", parent);
    else if (circle)
        sy_error_text_set(error, "parent '%s' is below '%s': parents may not go in a circle",
                          parent, key->name);
    if (above == NULL || circle)
        return SY_CODE_FAILED_PRECONDITION;
    unsigned most = height(tree, above) + 1;
    if (changed != NULL)
        changed->parent = parent;
    for (size_t i = 0; changed != NULL && i < tree->count; i++) {
        unsigned here = height(tree, &tree->items[i]);
        most = here > most ? here : most;
    }
    if (most <= SCH_QUEUE_DEPTH_MAX)
        return SY_CODE_OK;
    sy_error_text_set(error, "parent '%s': at most %u queues stand above each other", parent,
                      SCH_QUEUE_DEPTH_MAX);
    return SY_CODE_FAILED_PRECONDITION;
}

enum sy_code cp_queue_parent_check(struct cp_partition *p, const struct sch_queue_key *key,
                                   const char *parent, struct sy_error_text *error)
{
    struct tree tree;
    enum sy_code code = SY_CODE_UNAVAILABLE;
    SY_ASSERT(parent[0] != '\0');
    if (tree_read(&tree, p, key) == 0)
        code = check_tree(&tree, key, parent, error);
    else
        sy_error_text_set(error, "reading the queues of partition %u failed", p->options.partition);
    tree_deinit(&tree);
    return code;
}

int cp_queue_children(struct cp_partition *p, const struct sch_queue_key *key, size_t *ret)
{
    struct tree tree;
    int r = tree_read(&tree, p, key);
    *ret = 0;
    for (size_t i = 0; r == 0 && key->name[0] != '\0' && i < tree.count; i++)
        *ret += strcmp(tree.items[i].parent, key->name) == 0;
    tree_deinit(&tree);
    return r;
}

/* ---- copies ---- */

struct packing {
    struct cp_partition *p;
    struct sy_buf *buf;
};

static void pack_copy(struct sy_buf *buf, struct sy_span key, struct sy_span row)
{
    QueueCopies copies = SWITCHYARD__INTERNAL__QUEUE_COPIES__INIT;
    QueueCopy copy = SWITCHYARD__INTERNAL__QUEUE_COPY__INIT, *items[] = {&copy};
    copy.key = (ProtobufCBinaryData){key.len, (uint8_t *)(uintptr_t)key.data};
    copy.row = (ProtobufCBinaryData){row.len, (uint8_t *)(uintptr_t)row.data};
    copies.n_copies = 1;
    copies.copies = items;
    pb_pack(&copies.base, buf); /* parts joined are one message with all of them */
}

static bool at_home(const struct cp_partition *p, struct sy_span row_key, uint32_t home)
{
    struct sch_queue_key key;
    return cp_queue_key_read(row_key, &key) &&
           cp_partition_of(p, cp_queue_hash(key.project, key.domain)) == home;
}

static bool pack_own(void *ctx, struct sy_span key, struct sy_span value)
{
    const struct packing *packing = ctx;
    if (at_home(packing->p, key, packing->p->options.partition))
        pack_copy(packing->buf, key, value);
    return true;
}

/* 0: nobody says. */
static uint32_t known_partitions(const struct cp_partition *p)
{
    return p->options.ranges != NULL ? cp_ranges_count(cp_ranges_get(p->options.ranges)) : 0;
}

int cp_queue_copies_pack(struct cp_partition *p, const struct cp_queue_packing *what,
                         struct sy_buf *ret)
{
    QueueCopies head = SWITCHYARD__INTERNAL__QUEUE_COPIES__INIT;
    struct packing packing = {p, ret};
    if (!cp_can_read(p))
        return CP_PARTITION_E_NOT_SERVING;
    SY_ASSERT(what->mark.epoch > 0 && what->mark.changes > what->follows);
    head.home = p->options.partition;
    head.whole = what->keys == NULL;
    head.epoch = what->mark.epoch;
    head.changes = what->mark.changes;
    head.follows = what->follows;
    head.first_hash = p->lot.range.first;
    head.last_hash = p->lot.range.last;
    head.partitions = known_partitions(p);
    pb_pack(&head.base, ret);
    if (what->keys == NULL) {
        struct cp_registry_key all = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, NULL);
        return scan_queues(p, &all, pack_own, &packing);
    }
    struct sy_buf SY_CLEANUP(sy_buf_deinit) row = {0};
    for (size_t i = 0; i < what->count; i++) {
        struct cp_registry_key key = cp_queue_row_key(&what->keys[i]);
        int r = cp_partition_registry_get(p, cp_registry_span(&key), &row);
        if (r != 0 && r != CP_PARTITION_E_NOT_FOUND)
            return r;
        pack_copy(ret, cp_registry_span(&key), r == 0 ? sy_buf_span(&row) : (struct sy_span){0});
    }
    return 0;
}

/* ---- what was heard of a home ---- */

static struct cp_registry_key heard_key(uint32_t home)
{
    struct cp_registry_key key = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE_HEARD, NULL);
    cp_registry_add_u64(&key, home);
    return key;
}

static int read_heard(struct cp_partition *p, uint32_t home, struct cp_queue_mark *ret)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    struct cp_registry_key key = heard_key(home);
    int r = cp_partition_registry_get(p, cp_registry_span(&key), &buf);
    *ret = (struct cp_queue_mark){0};
    if (r == CP_PARTITION_E_NOT_FOUND)
        return 0;
    if (r == 0 && buf.len != 12)
        return -EBADMSG;
    if (r == 0)
        *ret = (struct cp_queue_mark){sy_get_be32(buf.data), sy_get_be64(buf.data + 4)};
    return r;
}

static void put_heard(struct cp_partition *p, uint32_t home, const struct cp_queue_mark *mark)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) buf = {0};
    struct cp_registry_key key = heard_key(home);
    sy_buf_put_be32(&buf, mark->epoch);
    sy_buf_put_be64(&buf, mark->changes);
    cp_partition_registry_put(p, &key, sy_buf_span(&buf));
}

/* ---- taking over ---- */

static struct sy_span span_of(const ProtobufCBinaryData *data)
{
    return (struct sy_span){data->data, data->len};
}

static int compare_copy(const void *key, const void *item)
{
    return cp_registry_compare(*(const struct sy_span *)key,
                               span_of(&(*(QueueCopy *const *)item)->key));
}

/* Another process has made it. */
static bool is_sound(struct changes *c, const QueueCopies *copies, uint32_t home)
{
    if (copies->home != home || home == c->p->options.partition || copies->epoch == 0 ||
        copies->changes <= copies->follows || (copies->whole && copies->follows > 0))
        return false;
    for (size_t i = 0; i < copies->n_copies; i++) {
        struct sy_span key = span_of(&copies->copies[i]->key);
        struct sy_span row = span_of(&copies->copies[i]->row);
        struct sch_queue_key queue;
        struct sch_queue_config config;
        if (!cp_queue_key_read(key, &queue) || !at_home(c->p, key, home) ||
            (i > 0 && compare_copy(&key, &copies->copies[i - 1]) <= 0))
            return false;
        const QueueRow *read = row.len > 0 ? read_row(&c->arena, row) : NULL;
        struct sy_error_text unused;
        if (row.len > 0
                ? read == NULL || cp_queue_config_read(&config, &queue, read->settings, &unused) < 0
                : copies->whole)
            return false;
    }
    return true;
}

/* A row of the same home that the whole set has not. */
static bool add_over(void *ctx, struct sy_span key, struct sy_span value)
{
    struct changes *c = ctx;
    const QueueCopies *copies = c->copies;
    if (at_home(c->p, key, copies->home) &&
        (copies->n_copies == 0 ||
         bsearch(&key, copies->copies, copies->n_copies, sizeof(void *), compare_copy) == NULL))
        add_change(c, key, value, (struct sy_span){0});
    return !c->damaged;
}

static int add_copies(struct changes *c, const QueueCopies *copies)
{
    struct sy_buf SY_CLEANUP(sy_buf_deinit) now = {0};
    for (size_t i = 0; i < copies->n_copies; i++) {
        struct sy_span key = span_of(&copies->copies[i]->key);
        struct sy_span row = span_of(&copies->copies[i]->row);
        int r = cp_partition_registry_get(c->p, key, &now);
        if (r != 0 && r != CP_PARTITION_E_NOT_FOUND)
            return r;
        struct sy_span old = r == 0 ? sy_buf_span(&now) : (struct sy_span){0};
        if (cp_registry_compare(old, row) != 0)
            add_change(c, key, row.len > 0 ? row : old, row);
    }
    c->copies = copies;
    struct cp_registry_key all = CP_REGISTRY_KEY(CP_REGISTRY_QUEUE, NULL);
    return copies->whole ? scan_queues(c->p, &all, add_over, c) : 0;
}

static int take(struct changes *c)
{
    int r = 0;
    put_in_order(c);
    for (size_t i = 0; r == 0 && i < c->count; i++) {
        const struct change *change = &c->items[i];
        const QueueRow *row = change->row.len > 0 ? read_row(&c->arena, change->row) : NULL;
        if (row != NULL)
            r = put(c->p, &change->key, row, change->row);
        else
            cp_queue_remove(c->p, &change->key);
    }
    if (r < 0) /* some may have been put: nothing of it is kept */
        cp_partition_registry_fail(c->p, r);
    return r;
}

static enum sy_code take_newer(struct changes *c, const QueueCopies *copies,
                               struct sy_error_text *error)
{
    const struct cp_queue_mark mark = {copies->epoch, copies->changes};
    int r = add_copies(c, copies);
    if (r == 0 && c->damaged)
        r = -EBADMSG;
    if (r == 0)
        r = take(c);
    if (r == 0) {
        put_heard(c->p, copies->home, &mark);
        return SY_CODE_OK;
    }
    sy_error_text_set(error, "partition %u could not take over the change of a queue",
                      c->p->options.partition);
    return SY_CODE_UNAVAILABLE;
}

/* As it was split, or not, where it is. */
static bool knows_home(const struct cp_partition *p, const QueueCopies *copies)
{
    if (p->options.ranges == NULL || copies->last_hash == 0)
        return true;
    const struct cp_ranges *ranges = cp_ranges_get(p->options.ranges);
    if (copies->home >= cp_ranges_count(ranges))
        return false;
    struct cp_range range = cp_ranges_of(ranges, copies->home);
    return range.first == copies->first_hash && range.last == copies->last_hash;
}

static enum sy_code take_copies(struct changes *c, uint32_t home, struct sy_span bytes,
                                bool *ret_behind, struct sy_error_text *error)
{
    struct cp_queue_mark heard;
    const QueueCopies *copies = pb_unpack(&switchyard__internal__queue_copies__descriptor,
                                          &c->arena, bytes);
    if (copies != NULL && !knows_home(c->p, copies)) {
        sy_error_text_set(error, "partition %u was split, and partition %u does not know yet", home,
                          c->p->options.partition);
        return SY_CODE_UNAVAILABLE;
    }
    if (copies != NULL && copies->partitions != 0 && known_partitions(c->p) > copies->partitions) {
        sy_error_text_set(error, "partition %u does not know yet that there are %u partitions",
                          home, known_partitions(c->p));
        return SY_CODE_UNAVAILABLE;
    }
    if (copies == NULL || !is_sound(c, copies, home)) {
        sy_error_text_set(error, "these are no copies of the queues of partition %u", home);
        return SY_CODE_INVALID_ARGUMENT;
    }
    if (read_heard(c->p, home, &heard) != 0) {
        sy_error_text_set(error, "reading from the store failed");
        return SY_CODE_UNAVAILABLE;
    }
    bool same = copies->epoch == heard.epoch;
    if (copies->epoch < heard.epoch) {
        sy_error_text_set(error, "partition %u has been opened again since (epoch %u, not %u)",
                          home, heard.epoch, copies->epoch);
        return SY_CODE_ABORTED;
    }
    if (same && copies->changes <= heard.changes)
        return SY_CODE_OK; /* as much is known */
    *ret_behind = !copies->whole && (!same || heard.changes < copies->follows);
    return *ret_behind ? SY_CODE_OK : take_newer(c, copies, error);
}

enum sy_code cp_queue_copies_take(struct cp_partition *p, uint32_t home, struct sy_span copies,
                                  bool *ret_behind, struct sy_error_text *error)
{
    struct changes c;
    changes_init(&c, p);
    *ret_behind = false;
    enum sy_code code = take_copies(&c, home, copies, ret_behind, error);
    changes_deinit(&c);
    return code;
}
