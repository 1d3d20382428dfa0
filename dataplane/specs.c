#include "dataplane/specs.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void dp_specs_init(struct dp_specs *specs,
                   void (*on_gone)(void *ctx, uint32_t slot, const struct dp_spec_key *key),
                   void *ctx)
{
    *specs = (struct dp_specs){.on_gone = on_gone, .ctx = ctx};
}

static void spec_free(struct dp_spec *spec)
{
    HASH_DEL(spec->specs->table, spec);
    free(spec->record);
    free(spec->sent);
    free(spec);
}

void dp_specs_deinit(struct dp_specs *specs)
{
    struct dp_spec *spec, *next;
    for (spec = specs->table; spec; spec = next) {
        next = spec->hh.next;
        SY_ASSERT(spec->refs == 0);
        spec_free(spec);
    }
    SY_ASSERT(!specs->table);
}

/* Frees what nobody needs, and tells the agents that have it. */
static void let_go(struct dp_spec *spec)
{
    if (spec->refs > 0 || !spec->dropped)
        return;
    for (uint32_t word = 0; word < spec->sent_words; word++) {
        for (uint64_t bits = spec->sent[word]; bits != 0; bits &= bits - 1)
            spec->specs->on_gone(spec->specs->ctx, word * 64 + (uint32_t)__builtin_ctzll(bits),
                                 &spec->key);
    }
    spec_free(spec);
}

struct dp_spec *dp_specs_find(struct dp_specs *specs, const struct dp_spec_key *key)
{
    struct dp_spec *spec;
    HASH_FIND(hh, specs->table, key, sizeof(*key), spec);
    return spec;
}

int dp_specs_add(struct dp_specs *specs, const struct dp_spec_key *key, struct sy_span record,
                 struct dp_specs_use *use)
{
    struct dp_spec *spec = dp_specs_find(specs, key);
    if (spec && !spec->dropped)
        return 0; /* a repeat */
    if (use->count >= DP_SPECS_MAX || record.len > DP_SPECS_BYTES_MAX - use->bytes)
        return DP_SPECS_E_FULL;
    if (!spec) {
        spec = sy_new(struct dp_spec);
        spec->key = *key;
        spec->specs = specs;
        spec->record = sy_memdup(record.data, record.len);
        spec->record_len = record.len;
        HASH_ADD(hh, specs->table, key, sizeof(spec->key), spec);
    }
    spec->dropped = false;
    use->count++;
    use->bytes += spec->record_len;
    return 0;
}

static void mark_dropped(struct dp_spec *spec, struct dp_specs_use *use)
{
    if (!spec->dropped) {
        SY_ASSERT(use->count > 0 && use->bytes >= spec->record_len);
        use->count--;
        use->bytes -= spec->record_len;
        spec->dropped = true;
    }
    let_go(spec);
}

void dp_specs_drop(struct dp_specs *specs, const struct dp_spec_key *key, struct dp_specs_use *use)
{
    struct dp_spec *spec = dp_specs_find(specs, key);
    if (spec)
        mark_dropped(spec, use);
}

void dp_specs_drop_partition(struct dp_specs *specs, uint32_t partition, struct dp_specs_use *use)
{
    struct dp_spec *spec, *next;
    for (spec = specs->table; spec; spec = next) {
        next = spec->hh.next;
        if (spec->key.partition == partition)
            mark_dropped(spec, use);
    }
    SY_ASSERT(use->count == 0 && use->bytes == 0);
}

void dp_spec_ref(struct dp_spec *spec)
{
    spec->refs++;
    SY_ASSERT(spec->refs > 0);
}

void dp_spec_unref(struct dp_spec *spec)
{
    SY_ASSERT(spec->refs > 0);
    spec->refs--;
    if (spec->refs == 0)
        let_go(spec);
}

bool dp_spec_claim(struct dp_spec *spec, uint32_t slot)
{
    uint32_t word = slot / 64;
    if (word >= spec->sent_words) {
        spec->sent = sy_realloc(spec->sent, (word + 1) * sizeof(*spec->sent));
        memset(spec->sent + spec->sent_words, 0,
               (word + 1 - spec->sent_words) * sizeof(*spec->sent));
        spec->sent_words = word + 1;
    }
    uint64_t bit = 1ull << (slot % 64);
    bool first = (spec->sent[word] & bit) == 0;
    spec->sent[word] |= bit;
    return first;
}

void dp_specs_clear_slot(struct dp_specs *specs, uint32_t slot)
{
    struct dp_spec *spec, *next;
    for (spec = specs->table; spec; spec = next) {
        next = spec->hh.next;
        if (slot / 64 < spec->sent_words)
            spec->sent[slot / 64] &= ~(1ull << (slot % 64));
    }
}
