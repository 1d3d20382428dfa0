/* An operator whose nodes have four cores, single tasks of one core and gangs. */
#pragma once

#include "base/mem.h"
#include "scheduler/operator.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD (2 * SY_NS_PER_S)
#define GANG_HOLD (60 * SY_NS_PER_S)
#define SMALL 1u /* class of single actions: one core */
#define GANG 2u  /* class of gangs */

struct world {
    struct sch_operator *op;
    struct sch_op_effects fx;
    int64_t now;
    uint64_t next_action;
    size_t blobs;
    /* of all steps since the last look */
    size_t placed, members, returned;
    char nodes[64][8]; /* where members went, by rank */
    char first_node[8];
    uint64_t room_gpu_milli; /* the last that it was told */
    uint32_t queue;          /* of what is assigned: it may be stopped for others */
};

static inline void blob_release(void *data)
{
    --*(size_t *)data;
}

static inline void look(struct world *w)
{
    size_t members = 0, size = 0;
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct sch_op_effect *effect = &w->fx.items[i];
        w->returned += effect->type == SCH_OP_SEND_RETURNED;
        if (effect->type == SCH_OP_SEND_ROOM)
            w->room_gpu_milli = effect->u.room.gpu_milli;
        if (effect->type != SCH_OP_SEND_ASSIGN)
            continue;
        effect->u.assign.blob.release(effect->u.assign.blob.data);
        w->placed += effect->u.assign.first_node == NULL;
        if (!effect->u.assign.first_node)
            continue;
        snprintf(w->nodes[effect->u.assign.rank], sizeof(w->nodes[0]), "%s", effect->u.assign.node);
        snprintf(w->first_node, sizeof(w->first_node), "%s", effect->u.assign.first_node);
        size = effect->u.assign.size;
        members++;
    }
    ck_assert_uint_eq(members, size); /* all of them, or none */
    w->members += members;
}

static inline void step(struct world *w, struct sch_op_event event)
{
    event.now_ns = w->now;
    sch_operator_step(w->op, &event, &w->fx);
    look(w);
    sch_operator_check(w->op);
}

static inline void run_for(struct world *w, int64_t ns)
{
    int64_t until = w->now + ns, next;
    while ((next = sch_operator_next_ns(w->op)) <= until) {
        w->now = next > w->now ? next : w->now;
        step(w, (struct sch_op_event){.type = SCH_OP_TICK});
    }
    w->now = until;
}

static inline void node_up(struct world *w, const char *name, const char *labels)
{
    struct sch_traits traits = {.slice_count = 0};
    snprintf(traits.labels, sizeof(traits.labels), "%s", labels ? labels : "");
    step(w, (struct sch_op_event){
                .type = SCH_OP_NODE_UP,
                .u.node = {.name = name, .traits = &traits, .capacity = {.cpu_milli = 4000}}});
    step(w, (struct sch_op_event){.type = SCH_OP_NODE_INVENTORY_COMPLETE, .u.node.name = name});
}

static inline struct world *world_new(const char *const *labels, unsigned nodes)
{
    struct world *w = sy_new(struct world);
    struct sch_operator_options options = {
        .hold_ns = HOLD, .gang_hold_ns = GANG_HOLD, .node_lease_ns = 15 * SY_NS_PER_S};
    w->now = SY_NS_PER_S;
    w->op = sch_operator_new(&options, w->now);
    for (unsigned i = 0; i < nodes; i++) {
        char name[8];
        snprintf(name, sizeof(name), "n%u", i);
        node_up(w, name, labels ? labels[i] : NULL);
    }
    step(w, (struct sch_op_event){.type = SCH_OP_PARTITION_UP, .u.partition = {1, 5}});
    return w;
}

static inline void world_free(struct world *w)
{
    sch_operator_free(w->op);
    ck_assert_uint_eq(w->blobs, 0);
    sch_op_effects_deinit(&w->fx);
    free(w);
}

static inline void demand(struct world *w, uint32_t class_id, uint64_t waiting, uint32_t cores,
                          const struct sch_gang_shape *gang)
{
    step(w, (struct sch_op_event){.type = SCH_OP_DEMAND,
                                  .u.demand = {.partition = 1,
                                               .class_id = class_id,
                                               .request = {.cpu_milli = 1000 * cores},
                                               .gang = gang,
                                               .waiting = waiting}});
}

/* The last grant of the class in this step; NULL: none. */
static inline const struct sch_op_effect *grant_of(const struct world *w, uint32_t class_id)
{
    const struct sch_op_effect *last = NULL;
    for (size_t i = 0; i < w->fx.count; i++) {
        if (w->fx.items[i].type == SCH_OP_SEND_GRANT && w->fx.items[i].u.grant.class_id == class_id)
            last = &w->fx.items[i];
    }
    return last;
}

static inline struct sch_attempt_key assign_as(struct world *w, uint32_t class_id, uint64_t gang,
                                               uint32_t rank, int32_t priority)
{
    struct sch_attempt_key key = {
        .action = ++w->next_action, .partition = 1, .number = 1, .epoch = 5};
    w->blobs++;
    step(w, (struct sch_op_event){.type = SCH_OP_ASSIGN,
                                  .u.assign = {.key = key,
                                               .class_id = class_id,
                                               .queue = w->queue,
                                               .blob = {.data = &w->blobs, .release = blob_release},
                                               .gang_id = gang,
                                               .rank = rank,
                                               .priority = priority}});
    return key;
}

static inline struct sch_attempt_key small(struct world *w)
{
    return assign_as(w, SMALL, 0, 0, 0);
}

/* All members of one; *ret_keys may be NULL. */
static inline void gang(struct world *w, uint32_t class_id, uint64_t id, uint32_t size,
                        int32_t priority, struct sch_attempt_key *ret_keys)
{
    for (uint32_t rank = 0; rank < size; rank++) {
        struct sch_attempt_key key = assign_as(w, class_id, id, rank, priority);
        if (ret_keys)
            ret_keys[rank] = key;
    }
}

static inline void ends(struct world *w, const struct sch_attempt_key *key)
{
    const char *node = sch_operator_node_of(w->op, key);
    ck_assert_ptr_nonnull(node);
    w->blobs++;
    step(w,
         (struct sch_op_event){.type = SCH_OP_OUTCOME,
                               .u.report = {.node = node,
                                            .key = *key,
                                            .blob = {.data = &w->blobs, .release = blob_release}}});
    step(w, (struct sch_op_event){.type = SCH_OP_ACK, .u.key = *key});
}

static const struct sch_gang_shape six = {.size = 6}, eight = {.size = 8};
