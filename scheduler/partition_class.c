#include "scheduler/partition_gang.h"
#include "scheduler/partition_infeasible.h"
#include "scheduler/partition_queue.h"
#include "scheduler/partition_route.h"
#include "scheduler/partition_turn.h"

#include <stdlib.h>
#include <string.h>

/* ---- rules ---- */

/* Compared and hashed as bytes. */
_Static_assert(sizeof(struct sch_rule_content) ==
                   sizeof(int64_t) + 8 * sizeof(uint32_t) +
                       (SCH_QUEUE_CLUSTERS_MAX + SCH_QUEUE_PREFERRED_MAX + SCH_QUEUE_REGIONS_MAX) *
                           SCH_QUEUE_NAME_MAX,
               "no padding");

static uint32_t rule_hash(const struct sch_rule_content *content)
{
    return (uint32_t)sch_hash_bytes(content, sizeof(*content), 0);
}

/* `content` has no bytes but its own: it was cleared before it was filled. */
const struct sch_rule *sch_rule_ref(struct sch_partition *p, const struct sch_rule_content *content)
{
    uint32_t hash = rule_hash(content);
    struct sch_table_link *link = sch_table_first(&p->rules, hash);
    for (; link; link = sch_table_next(link)) {
        struct sch_rule *rule = sy_container_of(link, struct sch_rule, by_content);
        if (memcmp(&rule->content, content, sizeof(*content)) == 0) {
            rule->refs++;
            return rule;
        }
    }
    struct sch_rule *rule = sy_new(struct sch_rule);
    rule->refs = 1;
    memcpy(&rule->content, content, sizeof(*content));
    sch_table_add(&p->rules, &rule->by_content, hash);
    return rule;
}

void sch_rule_unref(struct sch_partition *p, const struct sch_rule *const_rule)
{
    struct sch_rule *rule = (struct sch_rule *)(uintptr_t)const_rule;
    SY_ASSERT(rule->refs > 0);
    if (--rule->refs > 0)
        return;
    sch_table_remove(&p->rules, &rule->by_content);
    free(rule);
}

/* ---- classes ---- */

static uint32_t class_hash(const struct sch_resources *request, const struct sch_gang_shape *gang,
                           const struct sch_rule *rule)
{
    uint64_t hash = sch_hash_bytes(gang, sizeof(*gang), sch_resources_hash(request));
    return sch_hash_u64(hash, rule->by_content.hash);
}

static struct sch_class *class_new(struct sch_partition *p, const struct sch_resources *request,
                                   const struct sch_gang_shape *gang, const struct sch_rule *rule)
{
    struct sch_class *class = sy_new(struct sch_class);
    class->id = ++p->last_class_id;
    SY_ASSERT(class->id != 0);
    class->asked = *request;
    class->request = sch_rule_request(rule, request);
    class->gang = *gang;
    class->rule = sch_rule_ref(p, &rule->content);
    class->told_ns = INT64_MIN / 2;
    class->incapable_ns = sch_awake_ns(p);
    class->short_since_ns = SY_TIME_NEVER;
    sch_seat_init_root(p, class);
    sch_list_push_back(&p->classes, &class->link);
    sch_round_add(&p->widening, &class->width);
    sch_round_add(&p->reclaiming, &class->reclaiming);
    sch_round_add(&p->reserving, &class->reserving);
    p->class_count++;
    sch_table_add(&p->classes_by_request, &class->by_request, class_hash(request, gang, rule));
    sch_table_add(&p->classes_by_id, &class->by_id, sch_hash_u64(class->id, 0));
    while (class->pair_count < p->cluster_count)
        sch_class_add_cluster(p, class);
    return class;
}

struct sch_class *sch_class_peek(const struct sch_partition *p, const struct sch_resources *request,
                                 const struct sch_gang_shape *gang, const struct sch_rule *rule)
{
    struct sch_table_link *link = sch_table_first(&p->classes_by_request,
                                                  class_hash(request, gang, rule));
    for (; link; link = sch_table_next(link)) {
        struct sch_class *class = sy_container_of(link, struct sch_class, by_request);
        if (class->rule == rule && sch_resources_equal(&class->asked, request) &&
            memcmp(&class->gang, gang, sizeof(*gang)) == 0)
            return class;
    }
    return NULL;
}

static void use_class(struct sch_partition *p, struct sch_class *class, uint32_t refs)
{
    if (class->refs == 0 && refs > 0 && sch_link_in_list(&class->idle)) {
        sch_list_remove(&class->idle);
        SY_ASSERT(p->class_idle_count > 0);
        p->class_idle_count--;
    }
    SY_ASSERT(class->refs <= UINT32_MAX - refs);
    class->refs += refs;
}

static void leave_class(struct sch_partition *p, struct sch_class *class, uint32_t refs)
{
    SY_ASSERT(class->refs >= refs);
    class->refs -= refs;
    if (class->refs > 0)
        return;
    SY_ASSERT(class->waiting == 0);
    sch_list_push_back(&p->classes_idle, &class->idle);
    if (++p->class_idle_count > SCH_CLASSES_IDLE_MAX)
        sch_class_free(p, sy_container_of(p->classes_idle.next, struct sch_class, idle));
}

struct sch_class *sch_class_ref(struct sch_partition *p, const struct sch_resources *request,
                                const struct sch_gang_shape *gang, const struct sch_rule *rule)
{
    struct sch_class *class = sch_class_peek(p, request, gang, rule);
    if (!class)
        class = class_new(p, request, gang, rule);
    use_class(p, class, 1);
    return class;
}

void sch_class_unref(struct sch_partition *p, struct sch_class *class)
{
    leave_class(p, class, 1);
}

void sch_class_move_refs(struct sch_partition *p, struct sch_class *from, struct sch_class *to,
                         uint32_t count)
{
    SY_ASSERT(from != to && count > 0);
    use_class(p, to, count);
    leave_class(p, from, count);
}

void sch_class_free(struct sch_partition *p, struct sch_class *class)
{
    SY_ASSERT(p->class_count > 0);
    sch_class_checked(p, class);
    sch_seat_deinit_root(class);
    if (sch_link_in_list(&class->idle)) {
        sch_list_remove(&class->idle);
        p->class_idle_count--;
    }
    if (sch_link_in_list(&class->touched))
        sch_list_remove(&class->touched);
    if (sch_link_in_list(&class->undecided))
        sch_list_remove(&class->undecided);
    SY_ASSERT(!class->root.turn_lane);
    sch_heap_remove(&p->flushes, &class->flush);
    sch_heap_remove(&p->patience, &class->patience);
    sch_heap_remove(&p->doomed, &class->doom);
    sch_table_remove(&p->classes_by_request, &class->by_request);
    sch_table_remove(&p->classes_by_id, &class->by_id);
    sch_list_remove(&class->link);
    sch_list_remove(&class->width);
    sch_list_remove(&class->reclaiming);
    sch_list_remove(&class->reserving);
    p->class_count--;
    for (size_t i = 0; i < class->pair_count; i++)
        sch_pair_free(p, class->pairs[i]);
    free(class->pairs);
    sch_heap_deinit(&class->open);
    sch_rule_unref(p, class->rule);
    free(class);
}

struct sch_class *sch_class_find(struct sch_partition *p, uint32_t id)
{
    struct sch_table_link *link = sch_table_first(&p->classes_by_id, sch_hash_u64(id, 0));
    for (; link; link = sch_table_next(link)) {
        struct sch_class *class = sy_container_of(link, struct sch_class, by_id);
        if (class->id == id)
            return class;
    }
    return NULL;
}

bool sch_class_is_runnable(const struct sch_class *class)
{
    return class->root.children.count > 0 && class->open.count > 0 &&
           (class->gang.size > 0 ? sch_gang_may_go(class) : !sch_class_is_patient(class));
}

void sch_class_changed(struct sch_partition *p, struct sch_class *class)
{
    bool runnable = sch_class_is_runnable(class);
    if (!runnable)
        sch_turn_clear(&class->root);
    if (runnable && !sch_link_in_list(&class->undecided))
        sch_list_push_back(&p->undecided, &class->undecided);
    else if (!runnable && sch_link_in_list(&class->undecided))
        sch_list_remove(&class->undecided);
}
