#include "scheduler/fit.h"

#include "base/error.h"
#include "base/mem.h"
#include "scheduler/table.h"

#include <string.h>

struct sch_fit_entry *sch_fit_entry_new(uint32_t dims, uint64_t tie, void *owner)
{
    SY_ASSERT(dims >= 2 && dims <= SCH_FIT_DIMS_MAX);
    struct sch_fit_entry *entry = sy_calloc(1, sizeof(*entry) +
                                                   2 * (size_t)dims * sizeof(entry->values[0]));
    entry->owner = owner;
    entry->tie = tie;
    entry->priority = sch_hash_u64(tie, 0);
    return entry;
}

static bool before(const struct sch_fit_entry *a, const struct sch_fit_entry *b)
{
    if (a->values[0] != b->values[0])
        return a->values[0] < b->values[0];
    if (a->values[1] != b->values[1])
        return a->values[1] < b->values[1];
    SY_ASSERT(a == b || a->tie != b->tie);
    return a->tie < b->tie;
}

static bool above(const struct sch_fit_entry *a, const struct sch_fit_entry *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->tie < b->tie;
}

/* Its count and greatest values, from its children's. */
static void gather(struct sch_fit_entry *entry, uint32_t dims)
{
    uint64_t *greatest = entry->values + dims;
    entry->count = 1;
    memcpy(greatest, entry->values, dims * sizeof(*greatest));
    const struct sch_fit_entry *children[] = {entry->left, entry->right};
    for (unsigned c = 0; c < 2; c++) {
        if (!children[c])
            continue;
        const uint64_t *theirs = children[c]->values + dims;
        entry->count += children[c]->count;
        for (uint32_t d = 0; d < dims; d++)
            greatest[d] = theirs[d] > greatest[d] ? theirs[d] : greatest[d];
    }
}

/* What is before `at`, and the rest. */
static void split(struct sch_fit_entry *root, const struct sch_fit_entry *at, uint32_t dims,
                  struct sch_fit_entry **ret_before, struct sch_fit_entry **ret_after)
{
    if (!root) {
        *ret_before = *ret_after = NULL;
        return;
    }
    if (before(root, at)) {
        split(root->right, at, dims, &root->right, ret_after);
        *ret_before = root;
    } else {
        split(root->left, at, dims, ret_before, &root->left);
        *ret_after = root;
    }
    gather(root, dims);
}

static struct sch_fit_entry *merge(struct sch_fit_entry *left, struct sch_fit_entry *right,
                                   uint32_t dims)
{
    if (!left || !right)
        return left ? left : right;
    struct sch_fit_entry *root = above(left, right) ? left : right;
    if (root == left)
        left->right = merge(left->right, right, dims);
    else
        right->left = merge(left, right->left, dims);
    gather(root, dims);
    return root;
}

static struct sch_fit_entry *insert(struct sch_fit_entry *root, struct sch_fit_entry *entry,
                                    uint32_t dims)
{
    if (!root || above(entry, root)) {
        split(root, entry, dims, &entry->left, &entry->right);
        root = entry;
    } else if (before(entry, root)) {
        root->left = insert(root->left, entry, dims);
    } else {
        root->right = insert(root->right, entry, dims);
    }
    gather(root, dims);
    return root;
}

static struct sch_fit_entry *take_out(struct sch_fit_entry *root, struct sch_fit_entry *entry,
                                      uint32_t dims)
{
    SY_ASSERT(root);
    if (root == entry)
        return merge(entry->left, entry->right, dims);
    if (before(entry, root))
        root->left = take_out(root->left, entry, dims);
    else
        root->right = take_out(root->right, entry, dims);
    gather(root, dims);
    return root;
}

void sch_fit_remove(struct sch_fit *fit, struct sch_fit_entry *entry)
{
    if (entry->count == 0)
        return;
    fit->root = take_out(fit->root, entry, fit->dims);
    entry->left = entry->right = NULL;
    entry->count = 0;
}

void sch_fit_set(struct sch_fit *fit, struct sch_fit_entry *entry, const uint64_t *values)
{
    SY_ASSERT(fit->dims >= 2 && fit->dims <= SCH_FIT_DIMS_MAX);
    if (entry->count > 0 && memcmp(entry->values, values, fit->dims * sizeof(*values)) == 0)
        return;
    sch_fit_remove(fit, entry);
    memcpy(entry->values, values, fit->dims * sizeof(*values));
    fit->root = insert(fit->root, entry, fit->dims);
}

/* ---- asking ---- */

bool sch_fit_enough(const uint64_t *values, const uint64_t *least, uint32_t dims)
{
    for (uint32_t d = 0; d < dims; d++) {
        if (values[d] < least[d])
            return false;
    }
    return true;
}

static const struct sch_fit_entry *find(const struct sch_fit_entry *root, const uint64_t *least,
                                        uint32_t dims)
{
    while (root && sch_fit_enough(root->values + dims, least, dims)) {
        const struct sch_fit_entry *found = find(root->left, least, dims);
        if (found)
            return found;
        if (sch_fit_enough(root->values, least, dims))
            return root;
        root = root->right;
    }
    return NULL;
}

const struct sch_fit_entry *sch_fit_find(const struct sch_fit *fit, const uint64_t *least)
{
    SY_ASSERT(fit && least);
    return find(fit->root, least, fit->dims);
}

static bool each_last(const struct sch_fit_entry *root, const uint64_t *least, uint32_t dims,
                      bool (*fn)(void *ctx, void *owner), void *ctx)
{
    while (root && sch_fit_enough(root->values + dims, least, dims)) {
        if (!each_last(root->right, least, dims, fn, ctx))
            return false;
        if (sch_fit_enough(root->values, least, dims) && !fn(ctx, root->owner))
            return false;
        root = root->left;
    }
    return true;
}

bool sch_fit_each_last(const struct sch_fit *fit, const uint64_t *least,
                       bool (*fn)(void *ctx, void *owner), void *ctx)
{
    SY_ASSERT(fit && least && fn);
    return each_last(fit->root, least, fit->dims, fn, ctx);
}

static uint64_t times(const uint64_t *values, const uint64_t *least, uint32_t dims)
{
    uint64_t most = SCH_FIT_ROOM_MAX;
    for (uint32_t d = 0; d < dims && most > 0; d++) {
        if (least[d] > 0 && values[d] / least[d] < most)
            most = values[d] / least[d];
    }
    return most;
}

static uint64_t room(const struct sch_fit_entry *root, const uint64_t *least, uint32_t dims,
                     uint32_t budget)
{
    if (!root || !sch_fit_enough(root->values + dims, least, dims))
        return 0;
    uint64_t here = times(root->values, least, dims);
    if (budget <= 1) /* the roots of subtrees are a random choice of their entries */
        return here > 0 ? here * root->count : 1;
    uint32_t left = root->left ? root->left->count : 0, rest = root->count - 1;
    uint32_t left_budget = rest > 0 ? (uint32_t)((uint64_t)(budget - 1) * left / rest) : 0;
    return here + room(root->left, least, dims, left_budget) +
           room(root->right, least, dims, budget - 1 - left_budget);
}

uint64_t sch_fit_room(const struct sch_fit *fit, const uint64_t *least, uint32_t budget)
{
    SY_ASSERT(fit && least && budget > 0);
    return room(fit->root, least, fit->dims, budget);
}

/* ---- checking ---- */

static void check(const struct sch_fit_entry *root, const struct sch_fit_entry **last,
                  uint32_t dims)
{
    if (!root)
        return;
    uint32_t count = 1;
    const struct sch_fit_entry *children[] = {root->left, root->right};
    for (unsigned c = 0; c < 2; c++) {
        if (!children[c])
            continue;
        count += children[c]->count;
        SY_ASSERT(above(root, children[c]));
        SY_ASSERT(sch_fit_enough(root->values + dims, children[c]->values + dims, dims));
    }
    SY_ASSERT(count == root->count && sch_fit_enough(root->values + dims, root->values, dims));
    check(root->left, last, dims);
    SY_ASSERT(!*last || before(*last, root));
    *last = root;
    check(root->right, last, dims);
}

void sch_fit_check(const struct sch_fit *fit)
{
    const struct sch_fit_entry *last = NULL;
    check(fit->root, &last, fit->dims);
}
