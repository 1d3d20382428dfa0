/*
 * An etcd for tests: one or more members that serve the parts of etcd's API which proto/etcd
 * declares, over the RPC port. In the simulator the coordination adapter talks to it in memory;
 * over gRPC it serves like a real one. tests/unit/test_etcd.c holds it against the real etcd 3.4.
 *
 * As etcd does: one store of all members, with a revision for each change and a history that is
 * read, watched and compacted; leases of at least 2 s that end 0 to 0.5 s after their time, never
 * before, never while there is no leader, and that begin anew with each leader; watches that read
 * what is past up to 0.1 s after they were created.
 *
 * Members are numbered from 0. Each shows the store as of what it has heard: one that is cut off
 * stays behind. Without a leader writes, leases and linearizable reads wait, for 7 s at most.
 *
 * Threads: all of it on one loop. Draws come from its own seed: the same calls, the same answers.
 */
#pragma once

#include "base/buf.h"
#include "base/loop.h"
#include "base/rpc.h"

#include <stdbool.h>
#include <stdint.h>

struct fake_etcd;

#define FAKE_ETCD_MEMBERS_MAX 7

/* Started, with member 0 as the leader. In memory the transport's origin should be no other
 * process' name, now and at fake_etcd_start(). */
struct fake_etcd *fake_etcd_new(struct sy_rpc *rpc, struct sy_loop *loop, uint64_t seed,
                                const char *const *addresses, size_t count);
/* In memory at any time; else after fake_etcd_drain() has called back. */
void fake_etcd_free(struct fake_etcd *etcd);
void fake_etcd_drain(struct fake_etcd *etcd, sy_fn on_drained, void *ctx);
int fake_etcd_port(const struct fake_etcd *etcd, size_t member);

/* ---- faults ---- */

/* In memory only: the member's process dies, its streams and requests break. When it led, another
 * one leads 1 to 2 s later, if most members are there. Nothing that was answered is lost. */
void fake_etcd_kill(struct fake_etcd *etcd, size_t member);
void fake_etcd_start(struct fake_etcd *etcd, size_t member);
bool fake_etcd_up(const struct fake_etcd *etcd, size_t member);

/* The member hears no other; clients still reach it. It answers serializable reads, as of then. A
 * leader that is cut off renews leases for one more second, as etcd does; a write that comes in
 * that second is refused after 7 s and may take effect when there is a leader again. */
void fake_etcd_cut(struct fake_etcd *etcd, size_t member);
void fake_etcd_mend(struct fake_etcd *etcd, size_t member);
/* False: no leader can be found, whoever is up. True again: 1 to 2 s until there is one. After 3 to
 * 4 s without a leader streams end that were opened with the metadata "hasleader: true". */
void fake_etcd_set_quorum(struct fake_etcd *etcd, bool has_quorum);
/* Another leader at once. Requests under way end UNAVAILABLE, and have happened or not. */
void fake_etcd_change_leader(struct fake_etcd *etcd);
/* Requests take effect, and answers and events leave, after that long (drawn). */
void fake_etcd_set_delay(struct fake_etcd *etcd, size_t member, int64_t min_ns, int64_t max_ns);
/* Up to now. */
void fake_etcd_compact(struct fake_etcd *etcd);

/* ---- what a test may know ---- */

int64_t fake_etcd_revision(const struct fake_etcd *etcd);
bool fake_etcd_has_leader(const struct fake_etcd *etcd);
/* No write is left that may still take effect though whoever asked has gone, or was refused. */
bool fake_etcd_settled(const struct fake_etcd *etcd);
/* The value of a key as of now, borrowed until the next change; false: there is none. */
bool fake_etcd_find(const struct fake_etcd *etcd, const char *key, struct sy_span *ret_value);
bool fake_etcd_has_lease(const struct fake_etcd *etcd, int64_t id);
/* Requests and messages heard since the start, of all members. */
uint64_t fake_etcd_heard(const struct fake_etcd *etcd);
