/* Nodes no two of which are alike, since each has its name among its labels: 100 kinds of tasks are
 * placed, which then end and begin in turns. See decisions.h. */
#pragma once

#include "tools/src/decisions.h"

/* What each kind asks: no label; one that a third of the nodes have; the name of a node. */
enum hosts_asked { HOSTS_NO_LABEL, HOSTS_ZONE, HOSTS_NAME };
/* place_us: CPU of the step that places; finish_us: of all steps. */
void hosts_unlike(uint32_t nodes, enum hosts_asked asked, struct decisions_result *ret);
