/*
 * Intrusive circular lists. A head is initialized and never holds an item; an item that is in no
 * list has NULL links, so that taking it out twice is found.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct sch_link {
    struct sch_link *prev, *next;
};

static inline void sch_list_init(struct sch_link *head)
{
    head->prev = head->next = head;
}

static inline bool sch_list_empty(const struct sch_link *head)
{
    return head->next == head;
}

static inline bool sch_link_in_list(const struct sch_link *link)
{
    return link->next != NULL;
}

static inline void sch_list_insert_after(struct sch_link *at, struct sch_link *link)
{
    SY_ASSERT(!link->next && at->next);
    link->prev = at;
    link->next = at->next;
    at->next->prev = link;
    at->next = link;
}

static inline void sch_list_push_front(struct sch_link *head, struct sch_link *link)
{
    sch_list_insert_after(head, link);
}

static inline void sch_list_push_back(struct sch_link *head, struct sch_link *link)
{
    sch_list_insert_after(head->prev, link);
}

static inline void sch_list_remove(struct sch_link *link)
{
    SY_ASSERT(link->next && link->next != link);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = NULL;
}

/* Takes the first item out; the list is not empty. */
static inline struct sch_link *sch_list_pop(struct sch_link *head)
{
    struct sch_link *link = head->next;
    SY_ASSERT(link && link != head && link->prev == head);
    head->next = link->next;
    link->next->prev = head;
    link->prev = link->next = NULL;
    return link;
}

/* Moves everything in `from` to the end of `to`. */
static inline void sch_list_splice(struct sch_link *to, struct sch_link *from)
{
    SY_ASSERT(to != from);
    if (sch_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    sch_list_init(from);
}

/* What is looked at one by one, some of it in each step: `todo` is to be looked at in this round,
 * `done` was, or came since. */
struct sch_round {
    struct sch_link todo, done;
};

static inline void sch_round_init(struct sch_round *round)
{
    sch_list_init(&round->todo);
    sch_list_init(&round->done);
}

/* What comes in a round is looked at as the last one of it. */
static inline void sch_round_add(struct sch_round *round, struct sch_link *link)
{
    sch_list_push_back(sch_list_empty(&round->todo) ? &round->done : &round->todo, link);
}

/* Everything is to be looked at, first what an earlier round has left. */
static inline void sch_round_begin(struct sch_round *round)
{
    sch_list_splice(&round->todo, &round->done);
}

/* NULL: the round is over. */
static inline struct sch_link *sch_round_next(struct sch_round *round)
{
    if (sch_list_empty(&round->todo))
        return NULL;
    struct sch_link *link = sch_list_pop(&round->todo);
    sch_list_push_back(&round->done, link);
    return link;
}
