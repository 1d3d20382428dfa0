/*
 * The loop's timers: a binary heap ordered by (deadline, sequence), so that equal deadlines fire
 * in the order they were started and the simulator's runs are repeatable. Keys lie inline in the
 * heap: sifting touches one array and not the timers' owners, except to note their new places.
 *
 * Internal to base/loop.c. Invariant: entries[t->heap_index].timer == t for each running timer.
 */
#pragma once

#include "base/loop.h"

struct sy_timer_entry {
    int64_t deadline_ns;
    uint64_t sequence;
    struct sy_timer *timer;
};

struct sy_timers {
    struct sy_timer_entry *entries; /* [1..count]; 0 stays free, as heap_index 0 = not running */
    size_t count, cap;
    uint64_t next_sequence;
};

void sy_timers_deinit(struct sy_timers *timers);
/* `key_ns` is where the timer sorts: its deadline, or now when that has passed. */
void sy_timers_insert(struct sy_timers *timers, struct sy_timer *timer, int64_t key_ns);
void sy_timers_remove(struct sy_timers *timers, struct sy_timer *timer);
/* Takes out the first timer that is due and was started before `sequence_end`, else NULL. */
struct sy_timer *sy_timers_pop_due(struct sy_timers *timers, int64_t now_ns, uint64_t sequence_end);
/* SY_TIME_NEVER when there is none. */
int64_t sy_timers_next_ns(const struct sy_timers *timers);
