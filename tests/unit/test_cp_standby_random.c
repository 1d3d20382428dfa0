/* links: cp */
/*
 * Owners, followers and the record together, on a virtual clock: messages are lost, late and out of
 * order, writes stay without an answer, shards crash (with their disk, too) and pause, and whoever
 * holds a copy in sync claims the partition while an older owner still acts.
 *
 * The auditor: whatever was released is, at each moment, synced in every copy that the record
 * names and that is on a disk; there always is one; and when the faults end everything is released
 * and a standby is in sync.
 *
 * STANDBY_SEED=n for one seed, STANDBY_SEEDS=n for the first n.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "controlplane/standby.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS SY_NS_PER_MS
#define SHARDS 3u
#define NOBODY SHARDS
#define ENTRIES_MAX 8192
#define MESSAGES_MAX 512
#define TICK_NS (2 * MS)
#define STORM_NS (30 * SY_NS_PER_S)
#define HEAL_NS (20 * SY_NS_PER_S)
#define ENTRIES_WAITING_MAX 40 /* what clients have under way */

struct entry { /* without padding: they are compared whole */
    uint64_t epoch, upto,
        serial; /* the serial tells entries apart that an error gave one position */
};

struct disk {
    uint64_t copy; /* 0: none */
    struct entry entries[ENTRIES_MAX];
    size_t count, synced;
};

struct record {
    int64_t revision;
    uint32_t epoch, owner;
    struct {
        uint32_t shard;
        uint64_t copy;
    } named[2]; /* copy 0: none */
};

enum role { DOWN, FOLLOWER, OWNER };
struct site {
    struct disk disk;
    enum role role;
    int64_t until_ns;       /* DOWN: it starts then; else: it is paused until then */
    int64_t blind_until_ns; /* it does not hear of the record */
    struct record seen;
    struct cp_standby s;
    struct cp_follower f;
    uint32_t chosen; /* the owner's standby */
    bool feeds;
    uint64_t fed;
    int64_t sync_at_ns, wake_ns, meet_at_ns; /* SY_TIME_NEVER: none */
    size_t sync_to;
    unsigned process; /* messages for an earlier one are dropped */
};

enum kind { MEET, HELLO, PIECE, STORED, ORDER, GONE, WROTE, WRITE };
struct message {
    enum kind kind;
    uint32_t from, to;
    unsigned process; /* WROTE */
    int64_t at_ns;
    uint32_t epoch;
    struct cp_standby_hello hello;
    struct cp_standby_piece piece;
    size_t first, count; /* PIECE: which entries; they are in `content` */
    struct entry content[4];
    struct cp_standby_stored stored;
    struct cp_standby_order order;
    struct { /* WRITE */
        int64_t if_revision;
        uint32_t standby;
        uint64_t in_sync;
        bool answered;
    } write;
    bool used;
};

struct world {
    struct sy_rng rng;
    int64_t now_ns;
    bool healed;
    struct site sites[SHARDS];
    struct record record;
    struct message messages[MESSAGES_MAX];
    size_t messages_top; /* from there on none is used */
    struct entry shown[ENTRIES_MAX];
    size_t shown_count;
    uint64_t serials, copies;
    unsigned claims, rivals, joins, leaves, renewals, crashes, disks, pauses;
    uint64_t seed;
};

static bool chance(struct world *w, uint32_t in)
{
    return !w->healed && sy_rng_chance(&w->rng, 1, in);
}

static int64_t up_to(struct world *w, int64_t ns)
{
    return (int64_t)sy_rng_below(&w->rng, (uint64_t)ns) + 1;
}

/* ---- the record ---- */

static uint64_t named(const struct record *record, uint32_t shard)
{
    for (size_t i = 0; i < 2; i++) {
        if (record->named[i].copy != 0 && record->named[i].shard == shard)
            return record->named[i].copy;
    }
    return 0;
}

/* The one beside that of `shard`. */
static uint32_t beside(const struct record *record, uint32_t shard, uint64_t *ret_copy)
{
    for (size_t i = 0; i < 2; i++) {
        if (record->named[i].copy != 0 && record->named[i].shard != shard) {
            *ret_copy = record->named[i].copy;
            return record->named[i].shard;
        }
    }
    *ret_copy = 0;
    return NOBODY;
}

static bool holds(const struct world *w, uint32_t shard)
{
    uint64_t copy = named(&w->record, shard);
    return copy != 0 && copy == w->sites[shard].disk.copy;
}

/* Of what was released: from the one with that index on. */
static void audit_from(const struct world *w, size_t from)
{
    unsigned held = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct disk *disk = &w->sites[i].disk;
        if (!holds(w, i))
            continue;
        held++;
        ck_assert_msg(disk->synced >= w->shown_count, "seed %llu: shard %u lacks what was released",
                      (unsigned long long)w->seed, i);
        size_t bytes = (w->shown_count - from) * sizeof(w->shown[0]);
        ck_assert_msg(memcmp(disk->entries + from, w->shown + from, bytes) == 0,
                      "seed %llu: shard %u has something else than what was released",
                      (unsigned long long)w->seed, i);
    }
    ck_assert_msg(held > 0, "seed %llu: nobody has what was released", (unsigned long long)w->seed);
}

static void audit(const struct world *w)
{
    audit_from(w, 0);
}

/* ---- disks ---- */

static struct cp_log log_of(const struct disk *disk)
{
    struct cp_log log = {0};
    for (size_t i = 0; i < disk->count; i++)
        cp_log_append(&log, (uint32_t)disk->entries[i].epoch, disk->entries[i].upto);
    return log;
}

/* The entry that ends there; disk->count: none. */
static size_t entry_at(const struct disk *disk, uint64_t upto)
{
    size_t low = 0, high = disk->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (disk->entries[mid].upto < upto)
            low = mid + 1;
        else
            high = mid;
    }
    return low < disk->count && disk->entries[low].upto == upto ? low : disk->count;
}

static void append(struct disk *disk, const struct entry *entry)
{
    ck_assert_uint_lt(disk->count, ENTRIES_MAX);
    ck_assert(disk->count == 0 || disk->entries[disk->count - 1].upto < entry->upto);
    disk->entries[disk->count++] = *entry;
}

static void begin_sync(struct world *w, struct site *site)
{
    if (site->sync_at_ns != SY_TIME_NEVER || site->disk.synced == site->disk.count)
        return;
    site->sync_at_ns = w->now_ns + up_to(w, chance(w, 15) ? 500 * MS : 15 * MS);
    site->sync_to = site->disk.count;
}

/* ---- messages ---- */

static struct message *post(struct world *w, enum kind kind, uint32_t from, uint32_t to)
{
    static struct message lost;
    struct message *m = &lost;
    bool drop = (kind <= GONE && chance(w, 30));
    for (size_t i = 0; !drop && i < MESSAGES_MAX; i++) {
        if (!w->messages[i].used) {
            m = &w->messages[i];
            w->messages_top = i < w->messages_top ? w->messages_top : i + 1;
            break;
        }
    }
    int64_t late = chance(w, 40) ? 3 * SY_NS_PER_S : 20 * MS;
    *m = (struct message){.kind = kind,
                          .from = from,
                          .to = to,
                          .at_ns = w->now_ns + up_to(w, late),
                          .used = m != &lost};
    return m;
}

static void say_hello(struct world *w, uint32_t i, uint32_t to, uint32_t epoch)
{
    struct site *site = &w->sites[i];
    struct cp_standby_hello hello;
    if (site->role != FOLLOWER || site->disk.synced < site->disk.count ||
        !cp_follower_meet(&site->f, epoch, &hello))
        return;
    post(w, HELLO, i, to)->hello = hello;
}

/* ---- the owner's shell ---- */

static struct cp_standby_view view_of(const struct world *w, uint32_t i)
{
    const struct site *site = &w->sites[i];
    struct cp_standby_view view = {.now_ns = w->now_ns,
                                   .revision = site->seen.revision,
                                   .epoch = site->seen.epoch,
                                   .present = true};
    (void)beside(&site->seen, i, &view.in_sync);
    if (site->chosen != NOBODY)
        view.present = w->sites[site->chosen].role != DOWN;
    if (site->disk.count > 200)
        view.log_from = site->disk.entries[site->disk.count - 200].upto;
    return view;
}

static void feed(struct world *w, uint32_t i)
{
    struct site *site = &w->sites[i];
    while (site->feeds && site->fed < site->s.log.end) {
        size_t first = site->fed == 0 ? 0 : entry_at(&site->disk, site->fed) + 1;
        ck_assert_uint_lt(first, site->disk.count);
        struct message *m = post(w, PIECE, i, site->chosen);
        m->piece = (struct cp_standby_piece){.owner_epoch = site->s.epoch, .copy = site->s.copy};
        if (first > 0)
            m->piece.after = (struct cp_log_mark){(uint32_t)site->disk.entries[first - 1].epoch,
                                                  site->fed};
        struct cp_log_mark end = cp_log_piece(&site->s.log, site->fed);
        while (m->count < 4 && first + m->count < site->disk.count &&
               site->disk.entries[first + m->count].upto <= end.position)
            m->content[m->count] = site->disk.entries[first + m->count], m->count++;
        ck_assert_uint_eq(m->content[m->count - 1].epoch, end.epoch);
        m->piece.end = (struct cp_log_mark){end.epoch, m->content[m->count - 1].upto};
        site->fed = m->piece.end.position;
    }
}

static void show(struct world *w, const struct disk *disk, uint64_t upto)
{
    size_t at = entry_at(disk, upto);
    ck_assert_uint_lt(at, disk->count);
    /* What an older owner shows is compared whole. */
    size_t from = w->shown_count > 0 && at >= w->shown_count ? w->shown_count - 1 : 0;
    for (size_t k = from; k <= at; k++) {
        if (k < w->shown_count)
            ck_assert_msg(memcmp(&w->shown[k], &disk->entries[k], sizeof(w->shown[k])) == 0,
                          "seed %llu: something else was released there",
                          (unsigned long long)w->seed);
        else
            w->shown[w->shown_count++] = disk->entries[k];
    }
}

static void retire(struct world *w, uint32_t i);

static void step(struct world *w, uint32_t i, struct cp_standby_event event)
{
    struct site *site = &w->sites[i];
    struct cp_standby_view view = view_of(w, i);
    struct cp_standby_effects fx;
    size_t shown = w->shown_count;
    cp_standby_step(&site->s, &view, &event, &fx);
    site->wake_ns = fx.wake_ns;
    if (site->s.fenced) {
        retire(w, i);
        return;
    }
    if (fx.release != 0)
        show(w, &site->disk, fx.release);
    if (fx.feed) {
        site->feeds = true;
        site->fed = fx.from.position;
    }
    if (fx.anew) {
        site->feeds = false;
        post(w, ORDER, i, site->chosen)->order = fx.order;
    }
    if (fx.write) {
        struct message *m = post(w, WRITE, i, i);
        m->process = site->process;
        m->write.if_revision = fx.if_revision;
        m->write.in_sync = fx.in_sync;
        m->write.standby = site->chosen;
    }
    feed(w, i);
    audit_from(w, shown);
}

static void owner_append(struct world *w, uint32_t i)
{
    struct site *site = &w->sites[i];
    struct entry entry = {.epoch = site->s.epoch,
                          .upto = site->s.log.end + 1 + sy_rng_below(&w->rng, 3),
                          .serial = ++w->serials};
    append(&site->disk, &entry);
    begin_sync(w, site);
    step(w, i, (struct cp_standby_event){.type = CP_STANDBY_APPENDED, .upto = entry.upto});
}

/* ---- what happens to a shard ---- */

static void follow(struct site *site)
{
    struct cp_log log = log_of(&site->disk);
    site->role = FOLLOWER;
    site->sync_at_ns = site->wake_ns = SY_TIME_NEVER;
    cp_follower_init(&site->f, site->disk.copy, &log);
}

/* A close waits for the sync. */
static void retire(struct world *w, uint32_t i)
{
    struct site *site = &w->sites[i];
    site->disk.synced = site->disk.count;
    site->process++;
    follow(site);
    audit(w);
}

static void crash(struct world *w, uint32_t i, bool disk)
{
    struct site *site = &w->sites[i];
    if (site->sync_at_ns != SY_TIME_NEVER && chance(w, 2))
        site->disk.synced = site->sync_to;
    site->disk.count = site->disk.synced;
    if (disk)
        site->disk.copy = 0, site->disk.count = site->disk.synced = 0;
    site->role = DOWN;
    site->process++;
    site->until_ns = w->now_ns + up_to(w, 3 * SY_NS_PER_S);
    w->crashes++;
    w->disks += disk;
    audit(w);
}

/* Its disk is not the only one: the record names another that is there, and it has not asked that
 * this be changed. */
static bool may_lose_disk(const struct world *w, uint32_t i)
{
    uint64_t copy;
    uint32_t other = beside(&w->record, i, &copy);
    if (other == NOBODY || !holds(w, other))
        return false;
    for (size_t k = 0; k < MESSAGES_MAX; k++) {
        const struct message *m = &w->messages[k];
        if (m->used && m->kind == WRITE && m->from == i && m->write.in_sync == 0 &&
            m->write.if_revision == w->record.revision)
            return false;
    }
    return true;
}

static void claim(struct world *w, uint32_t i)
{
    struct site *site = &w->sites[i];
    const struct site *owner = &w->sites[w->record.owner];
    bool rival = w->record.owner != i && owner->role == OWNER;
    w->rivals += rival;
    if (rival && chance(w, 2)) /* who owned it goes on for a while */
        w->sites[w->record.owner].blind_until_ns = w->now_ns + up_to(w, 5 * SY_NS_PER_S);
    w->claims++;
    site->disk.synced = site->disk.count;
    w->record.revision++;
    w->record.epoch++;
    w->record.owner = i;
    site->seen = w->record;
    site->role = OWNER;
    site->process++;
    site->feeds = false;
    site->sync_at_ns = site->wake_ns = SY_TIME_NEVER;
    site->meet_at_ns = w->now_ns;
    uint64_t copy;
    site->chosen = beside(&w->record, i, &copy);
    if (site->chosen == NOBODY)
        site->chosen = (i + 1 + (uint32_t)sy_rng_below(&w->rng, SHARDS - 1)) % SHARDS;
    struct cp_standby_options options = {.patience_ns = 300 * MS,
                                         .retry_ns = 50 * MS,
                                         .backoff_ns = 200 * MS,
                                         .backoff_max_ns = SY_NS_PER_S,
                                         .near = 30};
    struct cp_standby_view view = view_of(w, i);
    struct cp_log log = log_of(&site->disk);
    cp_standby_init(&site->s, &options, &view, &log);
    owner_append(w, i);
}

/* ---- what arrives ---- */

static void arrive_write(struct world *w, struct message m)
{
    bool done = m.write.if_revision == w->record.revision && !(m.write.answered = chance(w, 6));
    if (done) {
        uint64_t own = named(&w->record, m.from);
        w->record.revision++;
        w->record.named[0].shard = m.from;
        w->record.named[0].copy = own;
        w->record.named[1].shard = m.write.standby;
        w->record.named[1].copy = m.write.in_sync;
        w->joins += m.write.in_sync != 0;
        w->leaves += m.write.in_sync == 0;
        audit(w);
    }
    struct message *answer = post(w, WROTE, m.from, m.from);
    answer->process = m.process;
    answer->write.answered = done && !chance(w, 4); /* else it is not known what happened */
}

static void arrive_piece(struct world *w, const struct message *m)
{
    struct site *site = &w->sites[m->to];
    enum cp_follower_verdict verdict = cp_follower_take(&site->f, &m->piece);
    if (verdict == CP_FOLLOWER_UNFIT)
        say_hello(w, m->to, m->from, m->piece.owner_epoch);
    for (size_t k = 0; verdict == CP_FOLLOWER_TAKE && k < m->count; k++)
        append(&site->disk, &m->content[k]);
    begin_sync(w, site);
    if (verdict == CP_FOLLOWER_HAVE)
        post(w, STORED, m->to, m->from)->stored = cp_follower_stored(&site->f);
}

static void arrive_order(struct world *w, const struct message *m)
{
    struct site *site = &w->sites[m->to];
    const struct site *owner = &w->sites[m->from];
    bool is_named = named(&site->seen, m->to) == site->disk.copy && site->disk.copy != 0;
    if (!cp_follower_obeys(&site->f, &m->order, is_named) || owner->role != OWNER ||
        owner->s.epoch != m->order.owner_epoch)
        return;
    site->disk = owner->disk; /* a checkpoint has what was written, too */
    site->disk.synced = site->disk.count;
    site->disk.copy = ++w->copies;
    w->renewals++;
    follow(site);
    audit(w);
    say_hello(w, m->to, m->from, m->order.owner_epoch);
}

static void arrive(struct world *w, struct message m)
{
    struct site *site = &w->sites[m.to];
    bool owner = site->role == OWNER, follower = site->role == FOLLOWER;
    bool from_standby = owner && m.from == site->chosen;
    if (m.kind == WRITE) {
        arrive_write(w, m);
    } else if (m.kind == MEET && follower) {
        say_hello(w, m.to, m.from, m.epoch);
    } else if (m.kind == HELLO && from_standby) {
        step(w, m.to, (struct cp_standby_event){.type = CP_STANDBY_HELLO, .hello = m.hello});
    } else if (m.kind == STORED && from_standby && m.stored.owner_epoch != 0) {
        step(w, m.to, (struct cp_standby_event){.type = CP_STANDBY_STORED, .stored = m.stored});
    } else if (m.kind == GONE && from_standby) {
        site->feeds = false;
        step(w, m.to, (struct cp_standby_event){.type = CP_STANDBY_GONE});
    } else if (m.kind == PIECE && follower) {
        arrive_piece(w, &m);
    } else if (m.kind == ORDER && follower) {
        arrive_order(w, &m);
    } else if (m.kind == WROTE && owner && m.process == site->process) {
        if (m.write.answered)
            site->seen = w->record;
        step(w, m.to, (struct cp_standby_event){.type = CP_STANDBY_WROTE});
    }
}

/* ---- time ---- */

static void turn_owner(struct world *w, uint32_t i)
{
    struct site *site = &w->sites[i];
    uint64_t copy;
    if (site->s.sm.state == CP_STANDBY_OUT && beside(&site->seen, i, &copy) == NOBODY &&
        site->s.its_log != CP_STANDBY_LOG_FITS && sy_rng_chance(&w->rng, 1, 500))
        site->chosen = (i + 1 + (uint32_t)sy_rng_below(&w->rng, SHARDS - 1)) % SHARDS;
    bool waits = site->s.its_log != CP_STANDBY_LOG_FITS || site->s.stored < site->s.log.end;
    if (waits && w->now_ns >= site->meet_at_ns) {
        site->meet_at_ns = w->now_ns + 100 * MS;
        post(w, MEET, i, site->chosen)->epoch = site->s.epoch;
    }
    if (chance(w, 2000))
        arrive(w, (struct message){.kind = GONE, .from = site->chosen, .to = i});
    if (site->role == OWNER && w->now_ns >= site->wake_ns)
        step(w, i, (struct cp_standby_event){.type = CP_STANDBY_LOOK});
    size_t waiting = site->disk.count - w->shown_count;
    if (site->role == OWNER && sy_rng_chance(&w->rng, 1, 8) &&
        (w->shown_count > site->disk.count || waiting < ENTRIES_WAITING_MAX))
        owner_append(w, i);
}

static void synced(struct world *w, uint32_t i)
{
    struct site *site = &w->sites[i];
    site->sync_at_ns = SY_TIME_NEVER;
    site->disk.synced = site->sync_to;
    uint64_t upto = site->disk.entries[site->sync_to - 1].upto;
    if (site->role == OWNER) {
        begin_sync(w, site);
        step(w, i, (struct cp_standby_event){.type = CP_STANDBY_SYNCED, .upto = upto});
        return;
    }
    cp_follower_synced(&site->f, upto);
    begin_sync(w, site);
    for (uint32_t to = 0; to < SHARDS; to++) { /* whoever is the owner that it saw */
        if (to != i)
            post(w, STORED, i, to)->stored = cp_follower_stored(&site->f);
    }
}

static void turn_site(struct world *w, uint32_t i)
{
    struct site *site = &w->sites[i];
    if (w->now_ns < site->until_ns)
        return;
    if (site->role == DOWN)
        follow(site);
    if (site->sync_at_ns <= w->now_ns)
        synced(w, i);
    bool news = site->seen.revision < w->record.revision;
    bool hears = w->now_ns >= site->blind_until_ns && sy_rng_chance(&w->rng, 1, 10);
    if (news && (w->healed || hears)) {
        site->seen = w->record;
        if (site->role == OWNER)
            step(w, i, (struct cp_standby_event){.type = CP_STANDBY_LOOK});
    }
    if (site->role == OWNER)
        turn_owner(w, i);
    if (chance(w, 3000))
        crash(w, i, false);
    else if (chance(w, 2000) && may_lose_disk(w, i))
        crash(w, i, true);
    if (chance(w, 1000))
        site->blind_until_ns = w->now_ns + up_to(w, 5 * SY_NS_PER_S);
    if (chance(w, 2000)) {
        site->until_ns = w->now_ns + up_to(w, 2 * SY_NS_PER_S);
        w->pauses++;
    }
}

/* Sooner when nobody owns it, but also when somebody does. */
static void turn_claims(struct world *w)
{
    const struct site *owner = &w->sites[w->record.owner];
    bool orphan = owner->role != OWNER || owner->s.epoch != w->record.epoch;
    uint32_t i = (uint32_t)sy_rng_below(&w->rng, SHARDS);
    struct site *site = &w->sites[i];
    if (!(orphan ? sy_rng_chance(&w->rng, 1, 50) : chance(w, 300)))
        return;
    if (site->role == FOLLOWER && w->now_ns >= site->until_ns && holds(w, i))
        claim(w, i);
}

static void run_until(struct world *w, int64_t until_ns)
{
    for (; w->now_ns < until_ns; w->now_ns += TICK_NS) {
        while (w->messages_top > 0 && !w->messages[w->messages_top - 1].used)
            w->messages_top--;
        for (size_t k = 0; k < w->messages_top; k++) {
            struct message *m = &w->messages[k];
            bool paused = m->kind != WRITE && w->now_ns < w->sites[m->to].until_ns &&
                          w->sites[m->to].role != DOWN;
            if (!m->used || m->at_ns > w->now_ns || paused)
                continue;
            struct message taken = *m;
            m->used = false;
            arrive(w, taken);
        }
        for (uint32_t i = 0; i < SHARDS; i++)
            turn_site(w, i);
        turn_claims(w);
        if (chance(w, 1000))
            w->record.revision++; /* somebody else's change */
    }
}

static void run_seed(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->seed = seed;
    w->copies = 1;
    sy_rng_init(&w->rng, seed);
    w->record = (struct record){.revision = 1, .named = {{0, 1}}};
    for (uint32_t i = 0; i < SHARDS; i++) {
        w->sites[i].disk.copy = i == 0 ? 1 : 0;
        w->sites[i].seen = w->record;
        follow(&w->sites[i]);
    }
    run_until(w, STORM_NS);
    w->healed = true;
    run_until(w, STORM_NS + HEAL_NS);
    const struct site *owner = &w->sites[w->record.owner];
    uint64_t copy;
    ck_assert_msg(owner->role == OWNER && owner->s.epoch == w->record.epoch,
                  "seed %llu: nobody owns it", (unsigned long long)seed);
    ck_assert_msg(beside(&w->record, w->record.owner, &copy) != NOBODY,
                  "seed %llu: no standby is in sync", (unsigned long long)seed);
    ck_assert_msg(owner->disk.count - w->shown_count < ENTRIES_WAITING_MAX / 2,
                  "seed %llu: it does not go on", (unsigned long long)seed);
}

START_TEST(nothing_that_was_released_is_lost)
{
    const char *only = getenv("STANDBY_SEED"), *count = getenv("STANDBY_SEEDS");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    uint64_t seeds = only ? 1 : count ? strtoull(count, NULL, 10) : 100;
    struct world *w = sy_new(struct world);
    unsigned claims = 0, rivals = 0, joins = 0, leaves = 0, renewals = 0, crashes = 0, disks = 0;
    size_t shown = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        run_seed(w, seed);
        claims += w->claims, rivals += w->rivals, joins += w->joins, leaves += w->leaves;
        renewals += w->renewals, crashes += w->crashes, disks += w->disks;
        shown += w->shown_count;
    }
    if (only || count)
        fprintf(stderr,
                "released %zu, claims %u (%u with a rival), joins %u, leaves %u, anew %u, "
                "crashes %u, disks %u\n",
                shown, claims, rivals, joins, leaves, renewals, crashes, disks);
    ck_assert(seeds < 100 || (claims > 300 && rivals > 100 && joins > 400 && leaves > 400));
    ck_assert(seeds < 100 || (renewals > 300 && crashes > 800 && disks > 400 && shown > 100000));
    free(w);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nothing_that_was_released_is_lost, NULL};
    return sy_test_run("cp_standby_random", tests);
}
