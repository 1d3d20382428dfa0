/*
 * The store of cp_ownership_world.h: the region's records, the sessions of its shards, and what an
 * auditor holds each change of a record to.
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
#define ROOM 20 /* after splits */
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
    struct open open[ROOM];
    struct cp_own_copy copies[ROOM]; /* on its own disk */
    struct own_fork {                /* the same: of each the last one */
        uint32_t epoch;
        uint64_t id; /* 0: none, or it was taken */
    } forks[ROOM];
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
    FORKED,  /* the same; result */
    MADE,    /* partition: an empty copy */
    FOLLOWS, /* partition, epoch: the owner looks after its standby */
    IN_SYNC, /* at the store: partition, other; number: of changes that it was decided from */
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
    size_t number, other; /* other: the standby in sync; SHARDS: none */
    enum cp_coord_result result;
    struct cp_forked_copies forked;
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
    uint32_t disk_epoch[ROOM], forked[ROOM]; /* forked: the last epoch of which there is a fork */
    bool calm, local;                        /* local: each shard has a disk of its own */
    uint32_t partitions;
    uint64_t copies;                     /* ids */
    int64_t closed_ns[ROOM], slowest_ns; /* from one owner to the next, while it is calm */
    unsigned faults;                     /* bits of kinds */
    unsigned claims, handed, lost, unknown, crashes, pauses, stalls, splits, forks, disks;
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

/* What is split off was forked from the whole, which has a new epoch by now. */
static void audit_half(struct world *w, const struct cp_map_partition *half)
{
    struct cp_map_partition whole;
    MUST(half->number == w->partitions && half->number < ROOM && half->session == 0);
    MUST(record_partition(records_partition(&w->records, half->parent), &whole));
    MUST(whole.epoch > half->parent_epoch && half->epoch > half->parent_epoch);
    MUST(w->forked[half->parent] == half->parent_epoch);
    MUST(whole.range.last < half->range.first);
    MUST(half->in_sync_count == whole.in_sync_count); /* it does not begin with one copy less */
    for (size_t i = 0; i < half->in_sync_count; i++)
        MUST(cp_map_copy_on(&whole, half->in_sync[i].shard) != NULL && half->in_sync[i].id != 0);
    w->partitions++;
    w->splits++;
}

/* Epochs only grow, and a new owner has a new one. */
static void audit_change(struct world *w, const struct record *old, struct record *new)
{
    struct cp_map_partition before, after;
    struct record copy = *old;
    if (!record_partition(new, &after))
        return;
    if (old->revision == 0) {
        audit_half(w, &after);
        return;
    }
    MUST(record_partition(&copy, &before));
    MUST(after.range.first == before.range.first && after.range.last <= before.range.last);
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

static void note_change(struct world *w, struct record *record)
{
    w->history = grown(w->history, &w->history_size, w->changes, sizeof(*w->history));
    w->history[w->changes++] = (struct change){w->revision, *record};
    w->hash = XXH3_64bits_withSeed(record, sizeof(*record), w->hash);
    show(w, record);
}

static void put(struct world *w, const char *key, struct sy_span value, int64_t session, bool gone)
{
    struct record *record = records_find(&w->records, key), old = *record;
    record_set(record, value, gone ? 0 : w->revision, session);
    if (!gone)
        audit_change(w, &old, record);
    note_change(w, record);
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
