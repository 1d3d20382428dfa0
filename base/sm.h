/*
 * State machines as const tables (after dqlite's lib/sm): every life cycle (run, action, attempt,
 * cluster, node, worker, partition) has a table of states with the states that may follow, and
 * one function that moves. A forbidden move is our own bug and aborts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SM_STATES_MAX 32
#define SM_BIT(state) (1u << (state))

struct sm_state {
    const char *name;
    uint32_t next; /* SM_BIT of each allowed next state */
    bool initial, final;
};

struct sm_table {
    const char *name;
    const struct sm_state *states;
    unsigned count;
    /* Checked before and after each move when not NULL; `owner` as given to sm_move(). */
    bool (*invariant)(const void *owner, unsigned state);
};

/* Embedded; one byte of state keeps an action small. */
struct sm {
    uint8_t state;
};

void sm_init(struct sm *sm, const struct sm_table *table, unsigned state);
void sm_move(struct sm *sm, const struct sm_table *table, unsigned to, const void *owner);
bool sm_may_move(const struct sm *sm, const struct sm_table *table, unsigned to);
bool sm_is_final(const struct sm *sm, const struct sm_table *table);
const char *sm_name(const struct sm *sm, const struct sm_table *table);
/* Aborts when the table itself is wrong: unknown next states, no initial state, final states with
 * successors, others without, states that cannot be reached, a name used twice. For tests. */
void sm_table_check(const struct sm_table *table);
