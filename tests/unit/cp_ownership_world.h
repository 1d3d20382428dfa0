/*
 * A region of several shards over one store of records, under random faults: slow, lost and late
 * writes, copies that are behind, sessions that end, clocks that run at different rates, processes
 * that stand still past their lease or die, stores that fail, disks that are slow, people who move
 * and drain.
 *
 * The auditor knows the store's own records, and asks each process that runs what it may do: at no
 * moment may two act on one partition; who may is named by the record as it is then; epochs only
 * grow, each is opened once.
 */
#pragma once

#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/ownership.h"
#include "controlplane/region_plan.h"
#include "tests/unit/cp_records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SHARDS 5
#define PARTITIONS 14
#define TTL_NS (2 * SY_NS_PER_S)
#define TIMEOUT_NS (500 * SY_NS_PER_MS)
#define STORM_NS (40 * SY_NS_PER_S)
#define HEAL_NS (60 * SY_NS_PER_S)
#define CALM_NS (20 * SY_NS_PER_S)

struct change {
    int64_t revision;
    struct record record; /* as it is then */
};

struct session {
    size_t shard;
    uint32_t life; /* of the process that it is of */
    bool over;
    int64_t expires_ns;
};

struct open { /* what a process has open: a store */
    uint32_t epoch;
    bool opened;
};

struct site {
    char name[8];
    uint32_t life; /* of its process; what was meant for an earlier one is dropped */
    struct cp_ownership *o;
    struct records copy;
    size_t seen; /* changes of the history */
    int64_t revision;
    struct cp_map map;
    bool stale; /* the map */
    int64_t session, held_until_ns;
    int64_t offset_ns, rate_ppm;
    int64_t paused_until_ns, cut_until_ns;
    uint64_t wake; /* which of its timers counts */
    struct open open[PARTITIONS];
};

enum happening_type {
    WAKE,
    COPY,        /* number: changes that it sees from now on */
    WRITE,       /* at the store */
    ANSWER,      /* result; number: as COPY */
    ASK,         /* for a session */
    ASK_ARRIVES, /* sent */
    GRANTED,     /* session, sent */
    RENEW,
    RENEW_ARRIVES,
    RENEWED,
    EXPIRE, /* at the store: session */
    LEAVE,  /* at the store: session */
    BURY,   /* its process has ended: the record that names it goes */
    OPENED, /* partition, epoch */
    CLOSED,
    START,
    FAULT,
};

struct happening {
    int64_t at_ns;
    uint64_t order;
    enum happening_type type;
    size_t shard;
    uint32_t life, partition, epoch;
    int64_t session, sent_ns, timeout_ns;
    size_t number;
    enum cp_coord_result result;
    struct cp_ownership_effect write;
};

struct world {
    struct sy_rng rng;
    int64_t now_ns;
    uint64_t order, hash;
    struct happening *queue;
    size_t queued, queue_size;
    struct records records;
    int64_t revision;
    struct change *history;
    size_t changes, history_size;
    struct session *sessions; /* id = index + 1 */
    size_t session_count, sessions_size;
    struct site sites[SHARDS];
    uint32_t disk_epoch[PARTITIONS];
    bool calm;
    uint32_t partitions;
    int64_t closed_ns[PARTITIONS], slowest_ns; /* from one owner to the next, while it is calm */
    unsigned faults;                           /* bits of kinds */
    unsigned claims, handed, lost, unknown, crashes, pauses, stalls;
    bool partitions_pinned, verbose;
};

static int64_t any_ns(struct world *w, int64_t from_ms, int64_t to_ms)
{
    int64_t span = (to_ms - from_ms) * SY_NS_PER_MS;
    return from_ms * SY_NS_PER_MS + (int64_t)sy_rng_below(&w->rng, (uint64_t)span + 1);
}

static void *grown(void *array, size_t *size, size_t count, size_t each)
{
    if (count < *size)
        return array;
    *size = *size ? 2 * *size : 64;
    return sy_realloc(array, *size * each);
}

static void happen(struct world *w, int64_t in_ns, struct happening what)
{
    what.at_ns = w->now_ns + in_ns;
    what.order = ++w->order;
    what.life = w->sites[what.shard].life;
    w->queue = grown(w->queue, &w->queue_size, w->queued, sizeof(*w->queue));
    w->queue[w->queued++] = what;
}

/* The next one, in order of time. */
static struct happening next_happening(struct world *w)
{
    size_t best = 0;
    MUST(w->queued > 0);
    for (size_t i = 1; i < w->queued; i++) {
        const struct happening *a = &w->queue[i], *b = &w->queue[best];
        if (a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order))
            best = i;
    }
    struct happening next = w->queue[best];
    w->queue[best] = w->queue[--w->queued];
    return next;
}

static int64_t local_ns(const struct world *w, const struct site *site)
{
    return site->offset_ns + w->now_ns + w->now_ns / 1000000 * site->rate_ppm;
}

static uint32_t right(const struct world *w, const struct site *site, uint32_t partition)
{
    struct cp_ownership_view view = {local_ns(w, site), NULL, site->session, site->held_until_ns};
    return cp_ownership_right(site->o, &view, partition);
}

static bool cut(const struct world *w, const struct site *site)
{
    return w->now_ns < site->cut_until_ns;
}

/* ---- the store ---- */

/* Epochs only grow, and a new owner has a new one. */
static void audit_change(struct record *old, struct record *new)
{
    struct cp_map_partition before, after;
    if (old->revision == 0 || !record_partition(new, &after))
        return;
    MUST(record_partition(old, &before));
    bool owned = after.session != 0 &&
                 (after.session != before.session || after.epoch != before.epoch);
    MUST(after.epoch == before.epoch + owned);
    MUST(after.session == 0 || owned || strcmp(before.owner, after.owner) == 0);
}

/* Everybody will see it, sooner or later. */
static void announce(struct world *w)
{
    for (size_t i = 0; i < SHARDS; i++) {
        int64_t in = cut(w, &w->sites[i]) ? w->sites[i].cut_until_ns - w->now_ns : 0;
        bool slow = !w->calm && (w->faults & 1) && sy_rng_chance(&w->rng, 1, 10);
        happen(w, in + any_ns(w, 0, slow ? 800 : 5),
               (struct happening){.type = COPY, .shard = i, .number = w->changes});
    }
}

static void show(struct world *w, struct record *record)
{
    struct cp_map_partition p = {0};
    if (!w->verbose)
        return;
    bool is = record->revision != 0 && record_partition(record, &p);
    fprintf(stderr, "%8.3f %6lld %s", (double)w->now_ns / 1e9, (long long)w->revision, record->key);
    if (is)
        fprintf(stderr, " epoch %u owner %s/%lld wanted %s%s", p.epoch, p.owner,
                (long long)p.session, p.wanted, p.moving ? " moving" : "");
    fprintf(stderr, " session %lld%s\n", (long long)record->session,
            record->revision ? "" : " gone");
}

static void put(struct world *w, const char *key, struct sy_span value, int64_t session, bool gone)
{
    struct record *record = records_find(&w->records, key), old = *record;
    record_set(record, value, gone ? 0 : w->revision, session);
    if (!gone)
        audit_change(&old, record);
    w->history = grown(w->history, &w->history_size, w->changes, sizeof(*w->history));
    w->history[w->changes++] = (struct change){w->revision, *record};
    w->hash = XXH3_64bits_withSeed(record, sizeof(*record), w->hash);
    show(w, record);
}

static void drop_record(struct world *w, int64_t id)
{
    for (size_t i = 0; i < w->records.count; i++) { /* one at most: the shard's */
        if (w->records.items[i].revision == 0 || w->records.items[i].session != id)
            continue;
        w->revision++;
        put(w, w->records.items[i].key, (struct sy_span){0}, 0, true);
        announce(w);
    }
}

static void end_session(struct world *w, int64_t id)
{
    struct session *session = &w->sessions[id - 1];
    if (session->over)
        return;
    session->over = true;
    drop_record(w, id);
}

static void bury(struct world *w, struct happening h)
{
    const struct session *session = &w->sessions[h.session - 1];
    MUST(session->life != w->sites[session->shard].life);
    if (session->over)
        return;
    drop_record(w, h.session);
    happen(w, any_ns(w, 1, 100), h); /* what was on its way may have made it anew */
}

static enum cp_coord_result write_now(struct world *w, const struct happening *h)
{
    struct cp_coord_op ops[CP_OWNERSHIP_OPS_MAX];
    size_t count = cp_ownership_ops(&h->write, ops);
    for (size_t i = 0; i < count; i++) {
        if (records_find(&w->records, ops[i].key)->revision != ops[i].if_revision)
            return CP_COORD_CONFLICT;
        if (ops[i].kind == CP_COORD_PUT_BOUND &&
            (h->session == 0 || w->sessions[h->session - 1].over))
            return CP_COORD_CONFLICT;
    }
    w->revision++;
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind != CP_COORD_CHECK)
            put(w, ops[i].key, ops[i].value, ops[i].kind == CP_COORD_PUT_BOUND ? h->session : 0,
                false);
    }
    announce(w);
    return CP_COORD_DONE;
}

/* ---- a process ---- */

static void copy_up_to(struct site *site, struct world *w, size_t number)
{
    for (; site->seen < number; site->seen++) {
        const struct change *change = &w->history[site->seen];
        *records_find(&site->copy, change->record.key) = change->record;
        site->revision = change->revision;
        site->stale = true;
    }
}

static void fill_map(struct site *site)
{
    if (!site->stale)
        return;
    site->stale = false;
    records_fill(&site->copy, site->revision, &site->map);
}

static void send_write(struct world *w, size_t shard, struct cp_ownership_effect *e)
{
    struct happening h = {.type = WRITE,
                          .shard = shard,
                          .partition = e->partition,
                          .session = w->sites[shard].session,
                          .timeout_ns = w->now_ns + TIMEOUT_NS,
                          .write = *e};
    e->value = (struct sy_buf){0};
    bool late = !w->calm && (w->faults & 2) && sy_rng_chance(&w->rng, 1, 12);
    happen(w, any_ns(w, 0, 6) + (late ? any_ns(w, 0, 1500) : 0), h);
}

static void carry_out(struct world *w, size_t shard, struct cp_ownership_effect *e)
{
    struct site *site = &w->sites[shard];
    struct open *open = e->type == CP_OWNERSHIP_WRITE ? NULL : &site->open[e->partition];
    struct happening h = {.shard = shard, .partition = e->partition, .epoch = e->epoch};
    switch (e->type) {
    case CP_OWNERSHIP_WRITE:
        send_write(w, shard, e);
        return;
    case CP_OWNERSHIP_OPEN:
        MUST(open->epoch == 0);
        MUST(e->epoch > w->disk_epoch[e->partition]);
        MUST(right(w, site, e->partition) == e->epoch);
        w->disk_epoch[e->partition] = e->epoch;
        if (w->calm && w->closed_ns[e->partition] > 0 &&
            w->now_ns - w->closed_ns[e->partition] > w->slowest_ns)
            w->slowest_ns = w->now_ns - w->closed_ns[e->partition];
        *open = (struct open){.epoch = e->epoch};
        h.type = !w->calm && sy_rng_chance(&w->rng, 1, 20) ? CLOSED : OPENED;
        happen(w, any_ns(w, 1, 400), h);
        w->claims++;
        return;
    case CP_OWNERSHIP_GIVE:
    case CP_OWNERSHIP_LOSE:
        MUST(open->epoch == e->epoch);
        h.type = CLOSED;
        happen(w, any_ns(w, 1, e->type == CP_OWNERSHIP_GIVE ? 150 : w->calm ? 600 : 4000), h);
        w->handed += e->type == CP_OWNERSHIP_GIVE;
        w->lost += e->type == CP_OWNERSHIP_LOSE;
        return;
    case CP_OWNERSHIP_MAKE:
        ck_abort_msg("storage is shared here");
        return;
    case CP_OWNERSHIP_FORK: /* nobody splits here: test_cp_region_split.c */
        MUST(false);
        return;
    case CP_OWNERSHIP_LEAVE:
        for (size_t i = 0; i < PARTITIONS; i++)
            MUST(site->open[i].epoch == 0);
        if (site->session != 0 && !cut(w, site))
            happen(w, any_ns(w, 0, 5),
                   (struct happening){.type = LEAVE, .shard = shard, .session = site->session});
        h.type = START;
        happen(w, any_ns(w, 10, 3000), h);
        return;
    }
}

static void step(struct world *w, size_t shard, struct cp_ownership_event event)
{
    struct site *site = &w->sites[shard];
    struct cp_ownership_effects fx = {0};
    fill_map(site);
    struct cp_ownership_view view = {local_ns(w, site), &site->map, site->session,
                                     site->held_until_ns};
    cp_ownership_step(site->o, &view, &event, &fx);
    for (size_t i = 0; i < fx.count; i++)
        carry_out(w, shard, &fx.items[i]);
    site->wake++;
    if (fx.wake_ns != SY_TIME_NEVER) {
        int64_t in = fx.wake_ns - view.now_ns;
        MUST(in > 0);
        happen(w, in + in / 16 + any_ns(w, 0, 20),
               (struct happening){.type = WAKE, .shard = shard, .number = site->wake});
    }
    cp_ownership_effects_deinit(&fx);
}

static void start(struct world *w, size_t shard)
{
    struct site *site = &w->sites[shard];
    site->life++;
    struct cp_ownership_options options = cp_ownership_options_default(site->name, "e", "v");
    if (shard % 2)
        options.moves_max = 2;
    options.slow_rest_ns = any_ns(w, 100, 8000);
    site->o = cp_ownership_new(&options);
    happen(w, any_ns(w, 0, 50), (struct happening){.type = ASK, .shard = shard});
    happen(w, any_ns(w, 0, 50),
           (struct happening){.type = COPY, .shard = shard, .number = w->changes});
}

/* The process is gone at once; its session is not. */
static void crash(struct world *w, size_t shard)
{
    struct site *site = &w->sites[shard];
    cp_ownership_free(sy_take(site->o));
    cp_map_deinit(&site->map);
    memset(&site->copy, 0, sizeof(site->copy));
    memset(site->open, 0, sizeof(site->open));
    site->seen = 0;
    site->revision = site->session = site->paused_until_ns = 0;
    site->stale = false;
    site->life++;
}

/* ---- sessions ---- */

static void expire_later(struct world *w, int64_t id)
{
    struct session *session = &w->sessions[id - 1];
    session->expires_ns = w->now_ns + TTL_NS;
    happen(w, TTL_NS + any_ns(w, 0, 500),
           (struct happening){.type = EXPIRE, .shard = session->shard, .session = id});
}

static void session_happens(struct world *w, struct happening *h)
{
    struct site *site = &w->sites[h->shard];
    struct happening next = *h;
    next.sent_ns = h->sent_ns;
    switch (h->type) {
    case ASK:
        if (site->session != 0)
            return;
        next.type = ASK_ARRIVES;
        next.sent_ns = local_ns(w, site);
        if (!cut(w, site))
            happen(w, any_ns(w, 0, 5), next);
        happen(w, TIMEOUT_NS, *h);
        return;
    case ASK_ARRIVES:
        w->sessions = grown(w->sessions, &w->sessions_size, w->session_count, sizeof(*w->sessions));
        w->sessions[w->session_count++] = (struct session){.shard = h->shard, .life = h->life};
        next.session = (int64_t)w->session_count;
        expire_later(w, next.session);
        next.type = GRANTED;
        if (!cut(w, site))
            happen(w, any_ns(w, 0, 5), next);
        return;
    case GRANTED:
        if (site->session != 0)
            return;
        site->session = h->session;
        site->held_until_ns = h->sent_ns + TTL_NS;
        next.type = RENEW;
        happen(w, TTL_NS / 3, next);
        step(w, h->shard, (struct cp_ownership_event){.type = CP_OWNERSHIP_LOOK});
        return;
    case RENEW:
        if (site->session != h->session)
            return;
        next.type = RENEW_ARRIVES;
        next.sent_ns = local_ns(w, site);
        if (!cut(w, site))
            happen(w, any_ns(w, 0, 5), next);
        happen(w, TTL_NS / 3, *h);
        return;
    case RENEW_ARRIVES:
        if (!w->sessions[h->session - 1].over)
            expire_later(w, h->session);
        next.type = RENEWED;
        if (!cut(w, site))
            happen(w, any_ns(w, 0, 5), next);
        return;
    default: /* RENEWED */
        if (site->session != h->session)
            return;
        if (w->sessions[h->session - 1].over) {
            site->session = 0;
            next.type = ASK;
            happen(w, any_ns(w, 0, 300), next);
            step(w, h->shard, (struct cp_ownership_event){.type = CP_OWNERSHIP_LOOK});
        } else if (h->sent_ns + TTL_NS > site->held_until_ns) {
            site->held_until_ns = h->sent_ns + TTL_NS;
        }
    }
}

/* ---- the auditor ---- */

static void audit(struct world *w)
{
    for (uint32_t p = 0; p < w->partitions; p++) {
        unsigned rights = 0;
        for (size_t i = 0; i < SHARDS; i++) {
            struct site *site = &w->sites[i];
            if (!site->o || site->paused_until_ns > w->now_ns || site->open[p].epoch == 0)
                continue;
            uint32_t epoch = right(w, site, p);
            if (epoch == 0)
                continue;
            rights++;
            struct cp_map_partition record;
            MUST(record_partition(records_partition(&w->records, p), &record));
            MUST(epoch == site->open[p].epoch);
            MUST(epoch == record.epoch);
            MUST(epoch == w->disk_epoch[p]);
            MUST(strcmp(record.owner, site->name) == 0);
            MUST(record.session == site->session);
            MUST(!w->sessions[record.session - 1].over);
        }
        MUST(rights <= 1);
    }
}

/* ---- what happens ---- */

/* `region move`: somebody wants it elsewhere, or no more. */
static void people_move(struct world *w, bool none)
{
    char key[CP_MAP_KEY_SIZE];
    struct cp_map_partition row;
    cp_map_partition_key(key, (uint32_t)sy_rng_below(&w->rng, w->partitions));
    MUST(record_partition(records_find(&w->records, key), &row));
    snprintf(row.wanted, sizeof(row.wanted), "%s",
             none ? "" : w->sites[sy_rng_below(&w->rng, SHARDS)].name);
    struct sy_buf value SY_CLEANUP(sy_buf_deinit) = {0};
    cp_map_put_partition(&value, &row);
    w->revision++;
    put(w, key, sy_buf_span(&value), 0, false);
    announce(w);
}

static void set_mode(struct world *w, size_t shard, enum cp_ownership_mode mode)
{
    step(w, shard, (struct cp_ownership_event){.type = CP_OWNERSHIP_MODE, .mode = mode});
}

/* All that it has open waits, or some of it; or it is slow still. */
static void disk_is_slow(struct world *w, size_t shard)
{
    struct site *site = &w->sites[shard];
    if (sy_rng_chance(&w->rng, 1, 3))
        step(w, shard, (struct cp_ownership_event){.type = CP_OWNERSHIP_SLOW});
    for (uint32_t p = 0; p < w->partitions; p++) {
        if (site->open[p].epoch == 0 || sy_rng_chance(&w->rng, 1, 2))
            continue;
        unsigned lost = w->lost;
        step(w, shard,
             (struct cp_ownership_event){
                 .type = CP_OWNERSHIP_STALLED, .partition = p, .epoch = site->open[p].epoch});
        w->stalls += w->lost > lost;
    }
}

static void fault(struct world *w)
{
    size_t shard = sy_rng_below(&w->rng, SHARDS);
    struct site *site = &w->sites[shard];
    bool runs = site->o && site->paused_until_ns <= w->now_ns;
    unsigned kind = (unsigned)sy_rng_below(&w->rng, 9);
    if (w->calm)
        return;
    happen(w, any_ns(w, 1, 1000), (struct happening){.type = FAULT});
    if (!(w->faults & 1u << (kind < 8 ? kind : 9))) /* 8 says how a crash ends */
        return;
    if (kind == 2) {
        site->cut_until_ns = w->now_ns + any_ns(w, 10, 4000);
    } else if (kind == 3 && runs) {
        site->paused_until_ns = w->now_ns + any_ns(w, 10, 5000);
        w->pauses++;
    } else if (kind == 4 && site->o) {
        int64_t session = site->session;
        crash(w, shard);
        if (session != 0 && (w->faults & 1u << 8))
            happen(w, any_ns(w, 0, 30), (struct happening){.type = BURY, .session = session});
        happen(w, any_ns(w, 0, 4000), (struct happening){.type = START, .shard = shard});
        w->crashes++;
    } else if (kind == 5 && runs) {
        uint32_t p = (uint32_t)sy_rng_below(&w->rng, w->partitions);
        if (site->open[p].epoch)
            happen(
                w, 0,
                (struct happening){
                    .type = CLOSED, .shard = shard, .partition = p, .epoch = site->open[p].epoch});
    } else if (kind == 8 && runs) {
        disk_is_slow(w, shard);
    } else if (kind == 6) {
        people_move(w, sy_rng_chance(&w->rng, 1, 3));
    } else if (kind == 7 && runs) {
        uint64_t mode = sy_rng_below(&w->rng, 5);
        set_mode(w, shard,
                 mode < 2   ? CP_OWNERSHIP_TAKES
                 : mode < 4 ? CP_OWNERSHIP_DRAINS
                            : CP_OWNERSHIP_STOPS);
    }
}

static void write_arrives(struct world *w, struct happening *h)
{
    struct site *site = &w->sites[h->shard];
    struct happening answer = {.type = ANSWER, .shard = h->shard, .partition = h->partition};
    bool lost = cut(w, site);
    answer.result = lost ? CP_COORD_UNKNOWN : write_now(w, h);
    answer.number = w->changes;
    lost |= w->now_ns >= h->timeout_ns; /* nobody waits for the answer any more */
    lost |= !w->calm && (w->faults & 2) && sy_rng_chance(&w->rng, 1, 20);
    if (lost)
        answer.result = CP_COORD_UNKNOWN;
    int64_t left = h->timeout_ns > w->now_ns ? h->timeout_ns - w->now_ns : 0;
    if (site->life == h->life)
        happen(w, lost ? left : any_ns(w, 0, 5), answer);
    sy_buf_deinit(&h->write.value);
}

static void process_happens(struct world *w, struct happening *h)
{
    struct site *site = &w->sites[h->shard];
    struct cp_ownership_event event = {.partition = h->partition, .epoch = h->epoch};
    bool member = h->partition == CP_OWNERSHIP_MEMBER; /* no partition's, but the shard's own */
    struct open *open = member ? NULL : &site->open[h->partition];
    switch (h->type) {
    case WAKE:
        if (h->number == site->wake)
            step(w, h->shard, event);
        return;
    case ANSWER:
        event.type = CP_OWNERSHIP_WROTE;
        event.result = h->result;
        w->unknown += h->result == CP_COORD_UNKNOWN;
        if (h->result == CP_COORD_DONE)
            copy_up_to(site, w, h->number);
        step(w, h->shard, event);
        return;
    case COPY:
        if (h->number > site->seen) {
            copy_up_to(site, w, h->number);
            step(w, h->shard, event);
        }
        return;
    case OPENED:
    case CLOSED:
        if (open->epoch != h->epoch || (h->type == OPENED && open->opened))
            return;
        event.type = h->type == OPENED ? CP_OWNERSHIP_OPENED : CP_OWNERSHIP_CLOSED;
        *open = (struct open){h->type == OPENED ? h->epoch : 0, true};
        w->closed_ns[h->partition] = h->type == CLOSED ? w->now_ns : 0;
        step(w, h->shard, event);
        return;
    case START: /* it has left */
        crash(w, h->shard);
        start(w, h->shard);
        return;
    default:
        session_happens(w, h);
    }
}

static void one(struct world *w)
{
    struct happening h = next_happening(w);
    struct site *site = &w->sites[h.shard];
    MUST(h.at_ns >= w->now_ns);
    w->now_ns = h.at_ns;
    audit(w); /* time has passed: rights may have ended, none may have begun */
    switch (h.type) {
    case FAULT:
        fault(w);
        break;
    case EXPIRE:
        if (w->sessions[h.session - 1].expires_ns <= w->now_ns)
            end_session(w, h.session);
        break;
    case LEAVE:
        end_session(w, h.session);
        break;
    case BURY:
        bury(w, h);
        break;
    case WRITE:
        write_arrives(w, &h);
        break;
    case ASK_ARRIVES:
    case RENEW_ARRIVES:
        session_happens(w, &h);
        break;
    default:
        if (h.type == START && !site->o)
            start(w, h.shard);
        else if (h.life != site->life)
            return;
        else if (site->paused_until_ns > w->now_ns)
            happen(w, site->paused_until_ns - w->now_ns, h);
        else if (site->o)
            process_happens(w, &h);
    }
    audit(w);
}

/* ---- a seed ---- */

/* Calm: without faults, from the start. */
static struct world *world_new(uint64_t seed, bool calm)
{
    struct world *w = sy_new(struct world);
    sy_rng_init(&w->rng, seed);
    w->faults = (unsigned)sy_rng_u64(&w->rng);
    w->calm = calm;
    w->partitions = sy_rng_chance(&w->rng, 3, 4) ? PARTITIONS
                                                 : 1 + (uint32_t)sy_rng_below(&w->rng, PARTITIONS);
    w->revision = 1;
    for (uint32_t p = 0; p < w->partitions; p++) {
        char key[CP_MAP_KEY_SIZE];
        cp_map_partition_key(key, p);
        put(w, key, (struct sy_span){0}, 0, false);
    }
    for (size_t i = 0; i < SHARDS; i++) {
        struct site *site = &w->sites[i];
        snprintf(site->name, sizeof(site->name), "s%zu", i);
        site->rate_ppm = (int64_t)sy_rng_below(&w->rng, 100001) - 50000;
        site->offset_ns = any_ns(w, 1000, 1000000);
        happen(w, any_ns(w, 0, calm ? 500 : 1500), (struct happening){.type = START, .shard = i});
    }
    happen(w, 0, (struct happening){.type = FAULT});
    return w;
}

static void world_free(struct world *w)
{
    for (size_t i = 0; i < SHARDS; i++) {
        if (w->sites[i].o)
            crash(w, i);
    }
    for (size_t i = 0; i < w->queued; i++)
        sy_buf_deinit(&w->queue[i].write.value);
    free(w->queue);
    free(w->history);
    free(w->sessions);
    free(w);
}

static void run_until(struct world *w, int64_t until_ns)
{
    while (w->now_ns < until_ns)
        one(w);
}

/* As the plan has it, and all served. */
static bool in_order(struct world *w)
{
    struct cp_map map = {0};
    uint32_t targets[PARTITIONS];
    size_t counts[SHARDS] = {0}, least = PARTITIONS, most = 0;
    bool fine = true, pinned = false;
    records_fill(&w->records, w->revision, &map);
    cp_plan(&map, targets);
    for (uint32_t p = 0; p < w->partitions && fine; p++) {
        uint32_t owner = cp_map_owner(&map, &map.partitions[p]);
        fine = owner != CP_MAP_NONE && owner == targets[p] && !map.partitions[p].moving &&
               map.shard_count == SHARDS;
        if (!fine)
            break;
        struct site *site = &w->sites[owner]; /* names are in order */
        counts[owner]++;
        pinned |= map.partitions[p].wanted[0] != '\0';
        fine = site->o && cp_ownership_state(site->o, p) == CP_OWNED_SERVING &&
               right(w, site, p) == map.partitions[p].epoch;
    }
    for (size_t i = 0; i < map.shard_count; i++)
        fine = fine && !map.shards[i].draining;
    for (size_t i = 0; i < SHARDS; i++) {
        least = counts[i] < least ? counts[i] : least;
        most = counts[i] > most ? counts[i] : most;
    }
    w->partitions_pinned = pinned;
    cp_map_deinit(&map);
    return fine && (pinned || most - least <= 1);
}

static void heal(struct world *w)
{
    w->calm = true;
    for (size_t i = 0; i < SHARDS; i++) {
        struct site *site = &w->sites[i];
        site->cut_until_ns = 0;
        if (site->paused_until_ns > w->now_ns)
            site->paused_until_ns = w->now_ns;
        if (site->o)
            set_mode(w, i, CP_OWNERSHIP_TAKES);
    }
}
