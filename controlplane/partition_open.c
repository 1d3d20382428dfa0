/* Open: the store, its format, our epoch (written and synced before anything is served), and then
 * the state (partition_recover.c). */
#include "controlplane/partition_impl.h"

#define BACKOFF_FIRST_NS (100 * SY_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * SY_NS_PER_S)

/* ---- failing ---- */

void cp_wait_and_reopen(struct cp_partition *p, int error, const char *text)
{
    int64_t delay = BACKOFF_FIRST_NS;
    for (unsigned i = 0; i < p->failures && delay < BACKOFF_MAX_NS; i++)
        delay *= 2;
    delay = delay < BACKOFF_MAX_NS ? delay : BACKOFF_MAX_NS;
    delay = delay / 2 + (int64_t)sy_rng_below(p->rng, (uint64_t)delay);
    p->failures++;
    p->reason_code = error;
    sy_error_text_set(&p->reason, "%s", text);
    cp_partition_move(p, CP_PARTITION_WAITING);
    sy_timer_start_in(p->loop, &p->reopen, delay);
}

/* True: it is closed. */
static bool drop_store(struct cp_partition *p)
{
    if (p->open->rows)
        cp_batch_free(sy_take(p->open->rows));
    return cp_close_store(p);
}

/* Nothing that time could mend. */
static void fail_for_good(struct cp_partition *p, int error, const char *text)
{
    p->reason_code = error;
    sy_error_text_set(&p->reason, "partition %u does not serve: %s", p->options.partition, text);
    cp_partition_move(p, CP_PARTITION_FAILED);
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_OPEN_FAILED,
           SY_U64("partition", p->options.partition), SY_STR("reason", p->reason.text));
}

static void open_failed(struct cp_partition *p, int error, const char *why)
{
    struct sy_error_text said = {0}; /* `why` may be the store's own */
    sy_error_text_set(&said, "%s", why);
    const char *text = said.text;
    cp_drop_core(p); /* it may be reading the store */
    (void)drop_store(p);
    bool for_good = error == -EUCLEAN || error == -EBADMSG || error == -EPROTO;
    if (for_good) {
        fail_for_good(p, error, text);
        return;
    }
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_OPEN_FAILED,
           SY_U64("partition", p->options.partition), SY_STR("reason", text));
    struct sy_error_text reason = {0};
    if (error == -ENOSPC)
        sy_error_text_set(&reason, "the disk of partition %u is full (%s)", p->options.partition,
                          text);
    else
        sy_error_text_set(&reason, "partition %u cannot be opened yet: %s", p->options.partition,
                          text);
    cp_wait_and_reopen(p, error, reason.text);
}

/* ---- open ---- */

static void serve(struct cp_partition *p)
{
    p->failures = 0;
    p->reason_code = 0;
    p->reason.text[0] = '\0';
    cp_partition_move(p, CP_PARTITION_SERVING);
    cp_triggers_arm(p);
    cp_descent_begin(p);
    struct sch_partition_counts counts = sch_partition_counts(p->core);
    sy_log(p->log, &cp_partition_events, CP_PARTITION_EV_OPENED,
           SY_U64("partition", p->options.partition), SY_U64("epoch", p->epoch),
           SY_U64("runs", counts.runs_live),
           SY_U64("actions", counts.recovering + counts.groups + counts.queued));
    cp_clusters_purge(p);
    cp_clusters_heed(p);
    cp_touch(p);
}

static void on_claimed(void *ctx, int error)
{
    struct cp_partition *p = ctx;
    if (cp_state(p) == CP_PARTITION_STOPPING)
        return;
    if (cp_lapsed(p)) {
        cp_abandon_lapsed(p);
        return;
    }
    if (error < 0)
        open_failed(p, error, cp_store_error(p->store));
    else if (cp_replica_synced(p))
        cp_open_further(p);
}

void cp_open_further(struct cp_partition *p)
{
    struct sy_error_text text = {0};
    int r = cp_recover(p, &text);
    if (r > 0) {
        sy_timer_start_in(p->loop, &p->reopen, 0);
        return;
    }
    if (r == 0) {
        SY_ASSERT(!p->open->rows);
        p->open->rows = cp_batch_new(p->store);
        r = cp_queues_restored(p);
    }
    if (r < 0)
        open_failed(p, r, text.text[0] ? text.text : cp_store_error(p->store));
    else
        serve(p);
}

static void read_history(struct cp_partition *p, const Switchyard__Internal__Store__Meta *meta)
{
    p->history = (struct cp_log){.end = cp_store_position(p->store)};
    if (meta != NULL)
        cp_row_history(meta, &p->history);
}

/* Reads Meta and raises the epoch. With a replication only the epoch of the region's record will
 * do: two owners under one epoch would make two logs. */
static int check_meta(struct cp_partition *p, struct sy_error_text *error)
{
    struct cp_key key = cp_key_meta();
    Switchyard__Internal__Store__Meta *meta = NULL;
    sy_arena_reset(&p->message_arena);
    int r = cp_row_get(p->store, CP_FAMILY_META, &key,
                       &switchyard__internal__store__meta__descriptor, &p->message_arena,
                       &p->scratch, (void *)&meta);
    if (r < 0) {
        sy_error_text_set(error, "the store's first row is damaged (%s)", cp_store_error(p->store));
        return r;
    }
    uint32_t epoch = r == 0 ? meta->epoch : 0;
    if (r == 0 && meta->format != CP_FORMAT) {
        sy_error_text_set(error, "its store has format %u, this program reads format %d",
                          meta->format, CP_FORMAT);
        return -EPROTO;
    }
    r = cp_descent_read(p, r == 0 ? meta : NULL, error);
    if (r < 0)
        return r;
    if (epoch < p->epoch)
        epoch = p->epoch; /* the store came back older than what we have served */
    if (p->options.replication && epoch >= p->epoch_min) {
        sy_error_text_set(error, "epoch %u of partition %u was begun before: it is claimed anew",
                          epoch, p->options.partition);
        p->epoch = epoch;
        return CP_STORE_E_NEWER;
    }
    if (epoch + 1 < p->epoch_min)
        epoch = p->epoch_min - 1; /* others have */
    if (epoch + 1 >= 1u << 24) {
        sy_error_text_set(error, "its store was opened 2^24 times");
        return -EPROTO;
    }
    p->epoch = epoch + 1;
    read_history(p, r == 0 ? meta : NULL);
    return 0;
}

static void claim(struct cp_partition *p)
{
    struct cp_key key = cp_key_meta();
    struct cp_batch *batch = cp_batch_new(p->store);
    int r = cp_descent_claim(p, batch);
    if (r < 0) {
        cp_batch_free(batch);
        open_failed(p, r, cp_store_error(p->store));
        return;
    }
    cp_replica_begin(p);
    cp_log_append(&p->history, p->epoch, p->history.end + 1);
    cp_descent_pack(p, &p->scratch);
    cp_batch_put(batch, CP_FAMILY_META, cp_key_span(&key), sy_buf_span(&p->scratch));
    cp_partition_move(p, CP_PARTITION_CLAIMING);
    cp_replica_append(p, batch);
    p->disk_since_ns = sy_loop_now_ns(p->loop);
    cp_store_commit(p->store, batch, on_claimed, p);
}

void cp_open(struct cp_partition *p)
{
    SY_ASSERT(!p->core && !p->sealed);
    if (p->closing || !drop_store(p))
        return;
    struct sy_error_text error = {0};
    uint32_t newer = 0;
    int r = 0;
    if (p->lot.split)
        r = p->opener.adopt(p->opener.ctx, p->lot.parent, p->lot.parent_epoch, &error);
    if (r == 0)
        r = p->opener.open(p->opener.ctx, &p->store, p->epoch_min, p->loop, &newer, &error);
    if (r == 0)
        r = check_meta(p, &error);
    if (r == CP_STORE_E_NEWER) { /* our claim is over, or the region's records were lost */
        p->epoch = newer > p->epoch ? newer : p->epoch;
        (void)cp_partition_abandon(p, error.text, NULL, NULL);
        return;
    }
    if (r < 0) {
        open_failed(p, r, error.text);
        return;
    }
    claim(p);
}
