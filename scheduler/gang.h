/*
 * Gangs: actions that are placed together, all of them or none, in one cluster. Shared by the
 * partition core, which keeps a gang as one unit in its queue, and the operator core, which holds
 * its attempts until all of them have room at the same moment.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define SCH_GANG_SIZE_MIN 2u
#define SCH_GANG_SIZE_MAX 1024u
#define SCH_GANG_KEY_MAX 64 /* with the NUL */

/* Nodes with the same value of a label are a domain: a rack, an NVLink island. */
enum sch_topology {
    SCH_TOPOLOGY_NONE,
    SCH_TOPOLOGY_PREFER,  /* in one domain if one has room for all now, else anywhere */
    SCH_TOPOLOGY_REQUIRE, /* in one domain, or it waits */
};

/* What becomes of the others when a member is lost or fails. */
enum sch_on_loss {
    SCH_ON_LOSS_RESTART_ALL, /* all are queued again, as long as the retries last */
    SCH_ON_LOSS_FAIL_ALL,    /* all end; nothing is retried */
};

/* How a gang is placed. Compared and hashed as bytes: padded with zeros. */
struct sch_gang_shape {
    uint32_t size; /* 0: no gang */
    uint32_t topology;
    char key[SCH_GANG_KEY_MAX]; /* of the label; "" without a topology */
};

/* -EINVAL with a sentence: a size outside of the bounds, a topology without a key, a key without a
 * topology or too long, numbers that are no topology or policy. */
int sch_gang_shape_init(struct sch_gang_shape *ret, uint64_t size, uint32_t topology,
                        const char *key, uint32_t on_loss, struct sy_error_text *error) SY_MUST_USE;
