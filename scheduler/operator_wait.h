/* Attempts that are not given up because their node is silent; operator_wait.c says how. */
#pragma once

#include "scheduler/operator_impl.h"

/* The attempt is on its node from now on; not any more. */
void sch_node_waits(struct sch_operator *op, struct sch_attempt *a, bool begins);
/* Its lease is over. True: attempts are left there, all of which wait. */
bool sch_node_outwaits(struct sch_operator *op, struct sch_node *node);
/* Nothing of it is left that would wait for it. */
void sch_node_waited_out(struct sch_operator *op, struct sch_node *node);
/* It was cancelled, and its node is silent beyond its lease: nobody would tell of it. */
void sch_node_forgo(struct sch_operator *op, const struct sch_attempt_key *key);
void sch_node_owed(struct sch_operator *op, const char *name);
/* It is back and has named what it has, or is fenced. */
void sch_node_paid(struct sch_operator *op, const char *name);
void sch_owed_free(struct sch_operator *op);
/* operator_shard.c: to each partition that is there, once the inventory is complete. */
void sch_op_settled(struct sch_operator *op);
