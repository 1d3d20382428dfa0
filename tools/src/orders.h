/* Partitions, 16 at most, that all want more room than there is: each has so many classes, no two
 * of them alike, whose first stand in 1,000 queues. What ends somewhere is given to who is first.
 * See decisions.h. */
#pragma once

#include "tools/src/decisions.h"

/* kinds: classes of a partition. place_us: CPU of all steps for a placement; finish_us: of a step.
 */
void orders_contended(uint32_t partitions, uint32_t nodes, uint32_t classes,
                      struct decisions_result *ret);
