/* Gangs that need a rack, in a cluster that is half empty: each rack has room for all members but
 * one, and the rest of its nodes a core each. A gang waits; somewhere a task ends, and it is placed
 * there. See decisions.h. */
#pragma once

#include "tools/src/decisions.h"

/* kinds: racks. place_us: CPU of all steps for a member; finish_us: of a step. */
void racks_gangs(uint32_t nodes, struct decisions_result *ret);
