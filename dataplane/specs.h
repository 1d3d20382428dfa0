/*
 * Task definitions on their way from shards to agents. A shard sends each once a stream and names
 * it by (partition, epoch, id); the operator keeps the packed record unread, and sends it once a
 * stream to each agent that gets an assignment of it.
 *
 * A spec lives while its shard has not dropped it, or an assignment that waits here needs it. When
 * the shard's stream comes back it sends again what it uses, so specs of the old stream count as
 * dropped from then on. When a spec goes, the agents that have it are told.
 *
 * Bounded for each partition in number and bytes: a shard that sends more has forgotten to drop.
 */
#pragma once

#include "base/buf.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stdint.h>

#define DP_SPECS_MAX 65536                     /* for each partition */
#define DP_SPECS_BYTES_MAX ((size_t)256 << 20) /* for each partition */

struct dp_spec_key {
    uint32_t partition, epoch, id;
};

struct dp_spec {
    struct dp_spec_key key;
    struct dp_specs *specs;
    uint8_t *record; /* packed switchyard.internal.Spec */
    size_t record_len;
    uint64_t *sent; /* bit n: the agent in slot n has it */
    uint32_t sent_words;
    uint32_t refs; /* assignments that wait */
    bool dropped;  /* by the shard */
    UT_hash_handle hh;
};

struct dp_specs {
    struct dp_spec *table;
    /* A spec goes, and the agent in this slot had it. */
    void (*on_gone)(void *ctx, uint32_t slot, const struct dp_spec_key *key);
    void *ctx;
};
void dp_specs_init(struct dp_specs *specs,
                   void (*on_gone)(void *ctx, uint32_t slot, const struct dp_spec_key *key),
                   void *ctx);
/* No assignment may wait any more. */
void dp_specs_deinit(struct dp_specs *specs);

struct dp_spec *dp_specs_find(struct dp_specs *specs, const struct dp_spec_key *key);
/* How much a partition's stream has sent and not dropped; kept by its owner. */
struct dp_specs_use {
    size_t count, bytes;
};
/* Adds a spec, or takes back that it was dropped. DP_SPECS_E_FULL when the bounds are reached. */
#define DP_SPECS_E_FULL 1
int dp_specs_add(struct dp_specs *specs, const struct dp_spec_key *key, struct sy_span record,
                 struct dp_specs_use *use) SY_MUST_USE;
void dp_specs_drop(struct dp_specs *specs, const struct dp_spec_key *key, struct dp_specs_use *use);
/* All of a partition count as dropped. */
void dp_specs_drop_partition(struct dp_specs *specs, uint32_t partition, struct dp_specs_use *use);

void dp_spec_ref(struct dp_spec *spec);
void dp_spec_unref(struct dp_spec *spec);

/* True the first time for each slot. */
bool dp_spec_claim(struct dp_spec *spec, uint32_t slot);
/* The agent in this slot is gone; the next one there has nothing. */
void dp_specs_clear_slot(struct dp_specs *specs, uint32_t slot);
