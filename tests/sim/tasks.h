/*
 * Packed task specs: the kinds of nodes.h, and what they have beyond the native ones. All append;
 * the arena is reset.
 */
#pragma once

#include "base/arena.h"
#include "tests/sim/nodes.h"

void sim_spec_pack(const struct cl_spec *spec, struct sy_buf *append);
/* With a slice, and more memory when it runs out of it, as the kind says; with a deadline (0: none)
 * it has a back-off too. `stops`: its agent stops it when it cannot show that it is heard of. */
void sim_task_pack(unsigned kind, int64_t deadline_s, bool stops, struct sy_arena *arena,
                   struct sy_buf *append);
/* A Python task whose output is cached, and made by one at a time. */
void sim_task_pack_cached(struct sy_arena *arena, struct sy_buf *append);
