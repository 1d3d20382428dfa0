/*
 * Which labels of nodes anybody asks for.
 *
 * A kind asks for the labels of its request, and with a gang that needs a domain for a key,
 * whatever its value. Only what is asked for tells nodes apart (operator_index.h). When something
 * comes, or goes, each node is looked at once more: those that were looked at the longest ago
 * first, so many in a step. What is asked for is therefore known of all nodes as soon as it is
 * known of the first of op->labels.nodes. Until then a kind has no room, and no answer: it looks as
 * if it came later.
 *
 * What nobody asks for any more stays asked for, until there is much of that: a class that ends
 * often comes again, and looking at 100,000 nodes takes a while.
 */
#include "scheduler/labels.h"
#include "scheduler/operator_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct label {
    char *text;
    bool key;        /* it is one, and all of its values are told apart */
    uint32_t refs;   /* kinds that ask for it */
    uint64_t serial; /* known of nodes that were seen then */
    struct sch_table_link by_text;
    struct sch_link idle;
};

void sch_labels_init(struct sch_op_labels *labels)
{
    labels->serial = 1;
    sch_list_init(&labels->idle);
    sch_list_init(&labels->nodes);
    sch_list_init(&labels->waiting);
}

/* ---- what is asked for ---- */

static uint32_t hash_of(struct sy_span text, bool key)
{
    return (uint32_t)sch_hash_bytes(text.data, text.len, key);
}

static struct label *find(const struct sch_op_labels *labels, struct sy_span text, bool key)
{
    struct sch_table_link *link = sch_table_first(&labels->asked, hash_of(text, key));
    for (; link; link = sch_table_next(link)) {
        struct label *label = sy_container_of(link, struct label, by_text);
        if (label->key == key && strlen(label->text) == text.len &&
            memcmp(label->text, text.data, text.len) == 0)
            return label;
    }
    return NULL;
}

/* Of a key that is asked for all labels are known already. */
static struct label *label_new(struct sch_op_labels *labels, struct sy_span text, size_t key_len,
                               bool key)
{
    const struct label *all = find(labels, (struct sy_span){text.data, key_len}, true);
    struct label *label = sy_new(struct label);
    label->text = sy_strndup((const char *)text.data, text.len);
    label->key = key;
    label->serial = all ? all->serial : ++labels->serial;
    sch_table_add(&labels->asked, &label->by_text, hash_of(text, key));
    return label;
}

static const struct label *ask(struct sch_op_labels *labels, struct sy_span text, size_t key_len,
                               bool key)
{
    struct label *label = find(labels, text, key);
    if (!label)
        label = label_new(labels, text, key_len, key);
    if (sch_link_in_list(&label->idle)) {
        sch_list_remove(&label->idle);
        labels->idle_count--;
    }
    label->refs++;
    return label;
}

/* The one that nobody has asked for for longest. */
static void drop(struct sch_op_labels *labels)
{
    struct label *label = sy_container_of(sch_list_pop(&labels->idle), struct label, idle);
    SY_ASSERT(label->refs == 0 && labels->idle_count > 0);
    labels->idle_count--;
    sch_table_remove(&labels->asked, &label->by_text);
    free(label->text);
    free(label);
}

static void unask(struct sch_op_labels *labels, struct sy_span text, bool key)
{
    struct label *label = find(labels, text, key);
    SY_ASSERT(label && label->refs > 0);
    if (--label->refs > 0)
        return;
    sch_list_push_back(&labels->idle, &label->idle);
    if (++labels->idle_count <= SCH_OP_LABELS_IDLE_MAX)
        return;
    while (labels->idle_count > SCH_OP_LABELS_IDLE_MAX / 2)
        drop(labels);
    labels->serial++;
}

void sch_labels_deinit(struct sch_op_labels *labels)
{
    while (labels->idle_count > 0)
        drop(labels);
    SY_ASSERT(labels->asked.count == 0 && sch_list_empty(&labels->nodes));
    SY_ASSERT(sch_list_empty(&labels->waiting));
    sch_table_deinit(&labels->asked);
}

void sch_labels_asked(const struct sch_operator *op, const char *labels,
                      char ret[SCH_NODE_LABELS_MAX])
{
    size_t length = 0, key_len;
    struct sy_span text;
    memset(ret, 0, SCH_NODE_LABELS_MAX);
    while (op->labels.asked.count > 0 && (text = sch_labels_next(&labels, &key_len)).data) {
        if (!find(&op->labels, text, false) &&
            !find(&op->labels, (struct sy_span){text.data, key_len}, true))
            continue;
        if (length > 0)
            ret[length++] = ',';
        SY_ASSERT(length + text.len < SCH_NODE_LABELS_MAX);
        memcpy(ret + length, text.data, text.len);
        length += text.len;
    }
}

/* ---- nodes ---- */

/* Looked at the longest ago, and not since something came or went; NULL: all were. */
static struct sch_node *next_node(const struct sch_operator *op)
{
    const struct sch_op_labels *labels = &op->labels;
    if (sch_list_empty(&labels->nodes))
        return NULL;
    struct sch_node *node = sy_container_of(labels->nodes.next, struct sch_node, by_seen);
    SY_ASSERT(node->seen <= labels->serial);
    return node->seen < labels->serial ? node : NULL;
}

/* What came until then is known of each node. */
static uint64_t known(const struct sch_operator *op)
{
    const struct sch_node *node = next_node(op);
    return node ? node->seen : op->labels.serial;
}

static void look_at(struct sch_operator *op, struct sch_node *node)
{
    bool moved = sch_node_regroup(op, node);
    op->labels.looks += moved ? SCH_OP_REGROUP_LOOKS : 1;
    sch_list_remove(&node->by_seen);
    sch_list_push_back(&op->labels.nodes, &node->by_seen);
}

void sch_labels_go_on(struct sch_operator *op)
{
    struct sch_node *node;
    while (op->labels.looks < op->options.looks_max && (node = next_node(op)))
        look_at(op, node);
}

void sch_labels_settle(struct sch_operator *op)
{
    struct sch_node *node;
    while ((node = next_node(op)))
        look_at(op, node);
}

bool sch_labels_due(const struct sch_operator *op)
{
    return next_node(op) || !sch_list_empty(&op->labels.waiting);
}

void sch_labels_end_step(struct sch_operator *op)
{
    sch_labels_go_on(op);
    /* Else all would be carried out at once when somebody asks. */
    if (op->labels.looks > 0 || sch_list_empty(&op->kinds))
        sch_index_sync(op);
    while (!sch_list_empty(&op->labels.waiting)) {
        struct sch_kind *kind = sy_container_of(op->labels.waiting.next, struct sch_kind, unknown);
        if (!sch_kind_is_known(op, kind))
            break;
        sch_list_remove(&kind->unknown);
        sch_kind_look(op, kind);
        sch_kind_dirty(op, kind);
        op->choice_came = op->claims_changed = true;
    }
}

/* ---- kinds ---- */

bool sch_kind_is_known(const struct sch_operator *op, const struct sch_kind *kind)
{
    return kind->asked == 0 || kind->asked <= known(op);
}

void sch_kind_ask(struct sch_operator *op, struct sch_kind *kind)
{
    const char *at = kind->request.labels;
    struct sy_span text;
    size_t key_len;
    while ((text = sch_labels_next(&at, &key_len)).data) {
        uint64_t serial = ask(&op->labels, text, key_len, false)->serial;
        kind->asked = serial > kind->asked ? serial : kind->asked;
    }
    sch_labels_go_on(op);
    if (!sch_kind_is_known(op, kind))
        sch_list_push_back(&op->labels.waiting, &kind->unknown);
}

static struct sy_span domain_key(const struct sch_kind *kind)
{
    return (struct sy_span){(const uint8_t *)kind->domain_key, strlen(kind->domain_key)};
}

void sch_kind_unask(struct sch_operator *op, struct sch_kind *kind)
{
    const char *at = kind->request.labels;
    struct sy_span text;
    size_t key_len;
    while ((text = sch_labels_next(&at, &key_len)).data)
        unask(&op->labels, text, false);
    if (kind->domain_key[0])
        unask(&op->labels, domain_key(kind), true);
    if (sch_link_in_list(&kind->unknown))
        sch_list_remove(&kind->unknown);
}

bool sch_kind_ask_domains(struct sch_operator *op, struct sch_kind *kind, const char *key)
{
    SY_ASSERT(key[0] && strlen(key) < sizeof(kind->domain_key));
    if (strcmp(kind->domain_key, key) != 0) {
        if (kind->domain_key[0])
            unask(&op->labels, domain_key(kind), true);
        snprintf(kind->domain_key, sizeof(kind->domain_key), "%s", key);
        sch_kind_forget_parts(kind);
        (void)ask(&op->labels, domain_key(kind), strlen(key), true);
        sch_labels_go_on(op);
    }
    const struct label *label = find(&op->labels, domain_key(kind), true);
    SY_ASSERT(label && label->refs > 0);
    return label->serial <= known(op);
}

/* ---- checking ---- */

void sch_labels_check(const struct sch_operator *op)
{
    const struct sch_op_labels *labels = &op->labels;
    uint32_t nodes = 0, idle = 0;
    uint64_t seen = 0;
    char asked[SCH_NODE_LABELS_MAX];
    for (struct sch_link *link = labels->nodes.next; link != &labels->nodes; link = link->next) {
        const struct sch_node *node = sy_container_of(link, struct sch_node, by_seen);
        SY_ASSERT(seen <= node->seen && node->seen <= labels->serial);
        seen = node->seen;
        nodes++;
        sch_labels_asked(op, node->shape->shape.traits.labels, asked);
        SY_ASSERT(node->all.group == node->shape->group);
        const struct sch_op_group *told = node->told.group;
        SY_ASSERT(seen < labels->serial || told == node->shape->told);
        SY_ASSERT(seen < labels->serial ||
                  strcmp(asked, told ? told->shape.traits.labels : "") == 0);
    }
    SY_ASSERT(nodes == op->node_count);
    for (struct sch_link *link = labels->idle.next; link != &labels->idle;
         link = link->next, idle++)
        SY_ASSERT(sy_container_of(link, struct label, idle)->refs == 0);
    SY_ASSERT(idle == labels->idle_count && idle <= SCH_OP_LABELS_IDLE_MAX);
    sch_table_check(&labels->asked);
}
