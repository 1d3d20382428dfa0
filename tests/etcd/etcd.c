/* Members, who of them leads, and what goes wrong. */
#include "base/mem.h"
#include "tests/etcd/etcd_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long `hasleader` streams outlive the leader: three looks that are an election's time apart.
 */
#define LEADERLESS_NS (3 * ETCD_ELECTION_NS)

static bool linked(const struct etcd_member *member)
{
    return member->server != NULL && !member->cut;
}

bool etcd_member_has_leader(const struct etcd_member *member)
{
    return linked(member) && member->etcd->leader != NULL;
}

bool etcd_member_has_noticed(const struct etcd_member *member)
{
    int64_t now_ns = sy_loop_now_ns(member->etcd->loop);
    return member->leaderless_ns != SY_TIME_NEVER &&
           now_ns - member->leaderless_ns >= ETCD_ELECTION_NS;
}

int64_t etcd_member_delay(struct etcd_member *member)
{
    int64_t spread_ns = member->delay_max_ns - member->delay_min_ns;
    if (spread_ns == 0)
        return member->delay_min_ns;
    return member->delay_min_ns +
           (int64_t)sy_rng_below(&member->etcd->rng, (uint64_t)spread_ns + 1);
}

Etcdserverpb__ResponseHeader *etcd_header(const struct etcd_member *member, struct sy_arena *arena,
                                          int64_t revision)
{
    Etcdserverpb__ResponseHeader *header = sy_arena_alloc(arena, sizeof(*header));
    SY_ASSERT(header != NULL);
    *header = (Etcdserverpb__ResponseHeader)ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header->cluster_id = 0xe7cd;
    header->member_id = member->id;
    header->raft_term = member->etcd->term;
    header->revision = revision;
    return header;
}

void etcd_changed(struct fake_etcd *etcd)
{
    for (size_t i = 0; i < etcd->member_count; i++) {
        struct etcd_member *member = &etcd->members[i];
        if (!linked(member))
            continue;
        member->applied = etcd->kv.revision;
        etcd_watches_pump(member);
    }
}

void etcd_purge(struct fake_etcd *etcd)
{
    for (size_t i = 0; i < etcd->member_count; i++)
        if (etcd->members[i].cut)
            return;
    etcd_kv_purge(&etcd->kv);
}

/* ---- the leader ---- */

static size_t linked_count(const struct fake_etcd *etcd)
{
    size_t count = 0;
    for (size_t i = 0; i < etcd->member_count; i++)
        count += linked(&etcd->members[i]);
    return count;
}

static void lose_leader(struct fake_etcd *etcd)
{
    for (size_t i = 0; i < etcd->member_count; i++)
        etcd_requests_interrupt(&etcd->members[i]);
    etcd->leader = NULL;
    etcd_leases_demote(etcd);
}

static void member_has_leader(struct etcd_member *member)
{
    sy_timer_stop(member->etcd->loop, &member->leaderless);
    member->leaderless_ns = SY_TIME_NEVER;
    member->led = false;
}

/* One of those that hear each other, drawn. */
static void elect(struct fake_etcd *etcd)
{
    size_t chosen = (size_t)sy_rng_below(&etcd->rng, linked_count(etcd));
    size_t i = 0;
    for (; !linked(&etcd->members[i]) || chosen > 0; i++)
        chosen -= linked(&etcd->members[i]);
    etcd->leader = &etcd->members[i];
    etcd->term++;
    etcd_leases_promote(etcd);
    for (i = 0; i < etcd->member_count; i++) {
        struct etcd_member *member = &etcd->members[i];
        if (!linked(member))
            continue;
        member_has_leader(member);
        etcd_requests_resume(member, true);
        etcd_keepalives_resume(member);
    }
}

static void on_election(void *arg)
{
    elect(arg);
}

static void on_leaderless(void *arg)
{
    struct etcd_member *member = arg;
    SY_MAP_EACH(&member->streams, at, next)
    {
        struct etcd_stream *stream = sy_map_entry(at, struct etcd_stream, link);
        if (stream->needs_leader)
            etcd_stream_end(stream, &etcd_no_leader);
    }
}

static int64_t drawn_ns(struct fake_etcd *etcd, int64_t least_ns)
{
    return least_ns + (int64_t)sy_rng_below(&etcd->rng, ETCD_ELECTION_NS);
}

/* Who is there has changed. */
static void settle(struct fake_etcd *etcd)
{
    bool has_quorum = etcd->has_quorum && 2 * linked_count(etcd) > etcd->member_count;
    const struct etcd_member *led = etcd->leader;
    if (led != NULL && (!has_quorum || !linked(led)))
        lose_leader(etcd);
    if (!has_quorum)
        sy_timer_stop(etcd->loop, &etcd->election);
    else if (etcd->leader == NULL && !sy_timer_running(&etcd->election))
        sy_timer_start_in(etcd->loop, &etcd->election, drawn_ns(etcd, ETCD_ELECTION_NS));
    for (size_t i = 0; i < etcd->member_count; i++) {
        struct etcd_member *member = &etcd->members[i];
        if (member->server == NULL || etcd_member_has_leader(member)) {
            member_has_leader(member);
        } else if (member->leaderless_ns == SY_TIME_NEVER) {
            member->leaderless_ns = sy_loop_now_ns(etcd->loop);
            member->led = member == led;
            sy_timer_start_in(etcd->loop, &member->leaderless, drawn_ns(etcd, LEADERLESS_NS));
        }
    }
}

/* ---- members ---- */

static void catch_up(struct etcd_member *member)
{
    member->applied = member->etcd->kv.revision;
    member->compacted = member->etcd->kv.compacted;
}

static void member_start(struct etcd_member *member)
{
    struct fake_etcd *etcd = member->etcd;
    struct sy_error_text error = {{0}};
    const struct sy_server_options options = {.address = member->address};
    int r = sy_server_new(&member->server, etcd->rpc, &options, &error);
    SY_ASSERT(r == 0);
    etcd_requests_add(member);
    etcd_keepalive_add(member);
    etcd_watch_add(member);
    r = sy_server_start(member->server, &error);
    if (r != 0)
        fprintf(stderr, "etcd for tests: %s\n", error.text);
    SY_ASSERT(r == 0);
    if (!member->cut)
        catch_up(member);
}

static void member_stop(struct etcd_member *member)
{
    SY_MAP_EACH(&member->streams, at, next)
    etcd_stream_free(sy_map_entry(at, struct etcd_stream, link));
    etcd_requests_drop(member);
    sy_timer_stop(member->etcd->loop, &member->leaderless);
    sy_server_free(sy_take(member->server));
}

struct fake_etcd *fake_etcd_new(struct sy_rpc *rpc, struct sy_loop *loop, uint64_t seed,
                                const char *const *addresses, size_t count)
{
    SY_ASSERT(count > 0 && count <= FAKE_ETCD_MEMBERS_MAX);
    struct fake_etcd *etcd = sy_new(struct fake_etcd);
    etcd->rpc = rpc;
    etcd->loop = loop;
    etcd->member_count = count;
    etcd->has_quorum = true;
    etcd->term = 2;
    sy_rng_init(&etcd->rng, seed);
    etcd_kv_init(&etcd->kv);
    sy_timer_init(&etcd->election, on_election, etcd);
    for (size_t i = 0; i < count; i++) {
        struct etcd_member *member = &etcd->members[i];
        member->etcd = etcd;
        member->id = i + 1;
        member->address = sy_strdup(addresses[i]);
        member->leaderless_ns = SY_TIME_NEVER;
        sy_timer_init(&member->leaderless, on_leaderless, member);
        member_start(member);
    }
    etcd->leader = &etcd->members[0];
    return etcd;
}

void fake_etcd_free(struct fake_etcd *etcd)
{
    for (size_t i = 0; i < etcd->member_count; i++) {
        struct etcd_member *member = &etcd->members[i];
        if (member->server != NULL)
            member_stop(member);
        sy_map_deinit(&member->requests);
        sy_map_deinit(&member->streams);
        free(member->address);
    }
    sy_timer_stop(etcd->loop, &etcd->election);
    etcd_leases_free(etcd);
    etcd_kv_deinit(&etcd->kv);
    free(etcd);
}

static void on_member_drained(void *arg)
{
    struct fake_etcd *etcd = arg;
    if (--etcd->draining == 0)
        etcd->on_drained(etcd->drained_ctx);
}

void fake_etcd_drain(struct fake_etcd *etcd, sy_fn on_drained, void *ctx)
{
    etcd->on_drained = on_drained;
    etcd->drained_ctx = ctx;
    for (size_t i = 0; i < etcd->member_count; i++) {
        if (etcd->members[i].server == NULL)
            continue;
        etcd->draining++;
        sy_server_drain(etcd->members[i].server, 0, etcd->loop, on_member_drained, etcd);
    }
}

static struct etcd_member *member_at(struct fake_etcd *etcd, size_t member)
{
    SY_ASSERT(member < etcd->member_count);
    return &etcd->members[member];
}

int fake_etcd_port(const struct fake_etcd *etcd, size_t member)
{
    SY_ASSERT(member < etcd->member_count);
    return sy_server_port(etcd->members[member].server);
}

/* ---- faults ---- */

void fake_etcd_kill(struct fake_etcd *etcd, size_t member)
{
    if (member_at(etcd, member)->server == NULL)
        return;
    member_stop(&etcd->members[member]);
    etcd_purge(etcd);
    settle(etcd);
}

void fake_etcd_start(struct fake_etcd *etcd, size_t member)
{
    if (member_at(etcd, member)->server != NULL)
        return;
    member_start(&etcd->members[member]);
    settle(etcd);
    if (!etcd_member_has_leader(&etcd->members[member]))
        etcd->members[member].leaderless_ns -= ETCD_ELECTION_NS; /* it never had one */
}

bool fake_etcd_up(const struct fake_etcd *etcd, size_t member)
{
    SY_ASSERT(member < etcd->member_count);
    return etcd->members[member].server != NULL;
}

void fake_etcd_cut(struct fake_etcd *etcd, size_t member)
{
    struct etcd_member *cut = member_at(etcd, member);
    if (cut->cut)
        return;
    if (cut->server == NULL)
        catch_up(cut); /* what it died with may be purged: it has fetched the rest before */
    cut->cut = true;
    settle(etcd);
}

void fake_etcd_mend(struct fake_etcd *etcd, size_t member)
{
    struct etcd_member *mended = member_at(etcd, member);
    if (!mended->cut)
        return;
    mended->cut = false;
    catch_up(mended);
    bool by_copy = sy_rng_chance(&etcd->rng, 1, 2);
    if (by_copy)
        etcd_watches_restore(mended);
    else
        etcd_watches_pump(mended);
    etcd_purge(etcd);
    if (etcd_member_has_leader(mended)) {
        etcd_requests_resume(mended, false);
        etcd_keepalives_resume(mended);
    }
    settle(etcd);
}

void fake_etcd_set_quorum(struct fake_etcd *etcd, bool has_quorum)
{
    etcd->has_quorum = has_quorum;
    settle(etcd);
}

void fake_etcd_change_leader(struct fake_etcd *etcd)
{
    if (etcd->leader == NULL)
        return;
    lose_leader(etcd);
    elect(etcd);
}

void fake_etcd_set_delay(struct fake_etcd *etcd, size_t member, int64_t min_ns, int64_t max_ns)
{
    SY_ASSERT(min_ns >= 0 && min_ns <= max_ns);
    member_at(etcd, member)->delay_min_ns = min_ns;
    member_at(etcd, member)->delay_max_ns = max_ns;
}

void fake_etcd_compact(struct fake_etcd *etcd)
{
    if (etcd->kv.compacted < etcd->kv.revision)
        etcd_compact_at(etcd, etcd->kv.revision);
}

/* ---- what a test may know ---- */

int64_t fake_etcd_revision(const struct fake_etcd *etcd)
{
    return etcd->kv.revision;
}

bool fake_etcd_has_leader(const struct fake_etcd *etcd)
{
    return etcd->leader != NULL;
}

bool fake_etcd_settled(const struct fake_etcd *etcd)
{
    for (size_t i = 0; i < etcd->member_count; i++) {
        if (etcd_requests_left(&etcd->members[i]))
            return false;
    }
    return true;
}

bool fake_etcd_find(const struct fake_etcd *etcd, const char *key, struct sy_span *ret_value)
{
    struct sy_span name = {(const uint8_t *)key, strlen(key)};
    const struct etcd_change *change = etcd_kv_get(&etcd->kv, name, etcd->kv.revision);
    if (change == NULL)
        return false;
    *ret_value = sy_buf_span(&change->value);
    return true;
}

bool fake_etcd_has_lease(const struct fake_etcd *etcd, int64_t id)
{
    return etcd_lease_exists(etcd, id);
}

uint64_t fake_etcd_heard(const struct fake_etcd *etcd)
{
    return etcd->heard;
}
