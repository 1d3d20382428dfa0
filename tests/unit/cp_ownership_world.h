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

#include "tests/unit/cp_ownership_disks.h"

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
    e->value = e->other = (struct sy_buf){0};
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
        audit_open(w, shard, e->partition);
        MUST(e->epoch > w->disk_epoch[e->partition]);
        MUST(right(w, site, e->partition) == e->epoch);
        w->disk_epoch[e->partition] = e->epoch;
        if (w->calm && w->closed_ns[e->partition] > 0 &&
            w->now_ns - w->closed_ns[e->partition] > w->slowest_ns)
            w->slowest_ns = w->now_ns - w->closed_ns[e->partition];
        *open = (struct open){.epoch = e->epoch};
        if (w->local)
            happen(
                w, any_ns(w, 1, 400),
                (struct happening){
                    .type = FOLLOWS, .shard = shard, .partition = h.partition, .epoch = h.epoch});
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
        MUST(w->local && site->copies[e->partition].id == 0);
        h.type = MADE;
        happen(w, any_ns(w, 0, 20), h);
        return;
    case CP_OWNERSHIP_FORK:
        fork_store(w, shard, e);
        return;
    case CP_OWNERSHIP_LEAVE:
        for (size_t i = 0; i < ROOM; i++)
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
    adopt_forks(site);
    struct cp_ownership_view view = {.now_ns = local_ns(w, site),
                                     .map = &site->map,
                                     .session = site->session,
                                     .held_until_ns = site->held_until_ns,
                                     .copies = site->copies,
                                     .copy_count = w->local ? ROOM : 0};
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
    struct cp_ownership_options options = cp_ownership_options_default(site->name, site->name, "v");
    if (shard % 2)
        options.moves_max = 2;
    options.slow_rest_ns = any_ns(w, 100, 8000);
    options.partitions_max = ROOM;
    options.standby_wait_ns = any_ns(w, 100, 4000);
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

/* `region split`, at the shard that has it. */
static void people_split(struct world *w, size_t shard)
{
    struct site *site = &w->sites[shard];
    struct cp_ownership_event event = {.type = CP_OWNERSHIP_SPLIT};
    uint32_t first = (uint32_t)sy_rng_below(&w->rng, w->partitions);
    fill_map(site);
    for (uint32_t i = 0; i < w->partitions; i++) {
        event.partition = (first + i) % w->partitions;
        if (cp_ownership_state(site->o, event.partition) != CP_OWNED_SERVING)
            continue;
        if (cp_map_split(&site->map, event.partition, NULL, &event.at, NULL) == 0)
            step(w, shard, event);
        return;
    }
}

static void fault(struct world *w)
{
    size_t shard = sy_rng_below(&w->rng, SHARDS);
    struct site *site = &w->sites[shard];
    bool runs = site->o && site->paused_until_ns <= w->now_ns;
    unsigned kind = (unsigned)sy_rng_below(&w->rng, 10);
    if (w->calm)
        return;
    happen(w, any_ns(w, 1, 1000), (struct happening){.type = FAULT});
    if (!(w->faults & 1u << (kind < 8 ? kind : kind + 1))) /* 8 says how a crash ends */
        return;
    if (kind == 2) {
        site->cut_until_ns = w->now_ns + any_ns(w, 10, 4000);
    } else if (kind == 3 && runs) {
        site->paused_until_ns = w->now_ns + any_ns(w, 10, 5000);
        w->pauses++;
    } else if (kind == 4 && site->o) {
        int64_t session = site->session;
        crash(w, shard);
        if (w->local && sy_rng_chance(&w->rng, 1, 2))
            lose_disk(w, shard);
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
    } else if (kind == 9 && runs) {
        people_split(w, shard);
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
    sy_buf_deinit(&h->write.other);
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
    case FORKED:
        event.type = CP_OWNERSHIP_FORKED;
        event.result = h->result;
        event.forked = h->forked;
        step(w, h->shard, event);
        return;
    case MADE:
        if (site->copies[h->partition].id == 0)
            site->copies[h->partition] = (struct cp_own_copy){.id = ++w->copies, .empty = true};
        step(w, h->shard, event);
        return;
    case FOLLOWS:
        if (open->epoch == h->epoch)
            look_after_standby(w, h);
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
    case IN_SYNC:
        in_sync_arrives(w, &h);
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
    w->local = sy_rng_chance(&w->rng, 1, 3);
    for (uint32_t p = 0; p < w->partitions; p++) {
        char key[CP_MAP_KEY_SIZE];
        struct cp_map_partition row = {.number = p, .range = cp_range_even(p, w->partitions)};
        struct sy_buf value SY_CLEANUP(sy_buf_deinit) = {0};
        cp_map_partition_key(key, p);
        cp_map_put_partition(&value, &row);
        record_set(records_find(&w->records, key), sy_buf_span(&value), w->revision, 0);
        note_change(w, records_find(&w->records, key));
    }
    if (w->local)
        put(w, CP_MAP_STORAGE_KEY,
            (struct sy_span){(const uint8_t *)local_text, strlen(local_text)}, 0, false);
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
    for (size_t i = 0; i < w->queued; i++) {
        sy_buf_deinit(&w->queue[i].write.value);
        sy_buf_deinit(&w->queue[i].write.other);
    }
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
    uint32_t targets[ROOM];
    size_t counts[SHARDS] = {0}, least = ROOM, most = 0;
    bool fine = true, pinned = false;
    records_fill(&w->records, w->revision, &map);
    cp_plan(&map, targets);
    for (uint32_t p = 0; p < w->partitions && fine; p++) {
        uint32_t owner = cp_map_owner(&map, &map.partitions[p]);
        fine = owner != CP_MAP_NONE && owner == targets[p] && !map.partitions[p].moving &&
               map.shard_count == SHARDS && map.partitions[p].in_sync_count == (w->local ? 2 : 0);
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
