#include "base/sm.h"

#include "base/error.h"

#include <stddef.h>
#include <string.h>

static void check_invariant(const struct sm_table *table, const void *owner, unsigned state)
{
    SY_ASSERT(state < table->count);
    if (table->invariant)
        SY_ASSERT(table->invariant(owner, state));
}

void sm_init(struct sm *sm, const struct sm_table *table, unsigned state)
{
    SY_ASSERT(table->count <= SM_STATES_MAX);
    SY_ASSERT(state < table->count);
    SY_ASSERT(table->states[state].initial);
    sm->state = (uint8_t)state;
}

void sm_move(struct sm *sm, const struct sm_table *table, unsigned to, const void *owner)
{
    SY_ASSERT(sm_may_move(sm, table, to));
    check_invariant(table, owner, sm->state);
    sm->state = (uint8_t)to;
    check_invariant(table, owner, to);
}

bool sm_may_move(const struct sm *sm, const struct sm_table *table, unsigned to)
{
    SY_ASSERT(sm->state < table->count);
    SY_ASSERT(to < table->count);
    return table->states[sm->state].next & SM_BIT(to);
}

bool sm_is_final(const struct sm *sm, const struct sm_table *table)
{
    SY_ASSERT(sm->state < table->count);
    return table->states[sm->state].final;
}

const char *sm_name(const struct sm *sm, const struct sm_table *table)
{
    SY_ASSERT(sm->state < table->count);
    return table->states[sm->state].name;
}

static void check_state(const struct sm_table *table, unsigned i)
{
    const struct sm_state *state = &table->states[i];
    uint32_t known = table->count == 32 ? UINT32_MAX : SM_BIT(table->count) - 1;
    SY_ASSERT(state->name && *state->name);
    SY_ASSERT((state->next & ~known) == 0);
    SY_ASSERT(state->final == (state->next == 0));
    for (unsigned j = 0; j < i; j++)
        SY_ASSERT(strcmp(table->states[j].name, state->name) != 0);
}

static uint32_t reachable(const struct sm_table *table)
{
    uint32_t reached = 0;
    for (unsigned i = 0; i < table->count; i++)
        reached |= table->states[i].initial ? SM_BIT(i) : 0;
    SY_ASSERT(reached != 0); /* an initial state */
    for (unsigned round = 0; round < table->count; round++) {
        for (unsigned i = 0; i < table->count; i++)
            reached |= (reached & SM_BIT(i)) ? table->states[i].next : 0;
    }
    return reached;
}

void sm_table_check(const struct sm_table *table)
{
    SY_ASSERT(table->name && *table->name);
    SY_ASSERT(table->count > 0 && table->count <= SM_STATES_MAX);
    for (unsigned i = 0; i < table->count; i++)
        check_state(table, i);
    uint32_t reached = reachable(table);
    for (unsigned i = 0; i < table->count; i++)
        SY_ASSERT(reached & SM_BIT(i));
}
