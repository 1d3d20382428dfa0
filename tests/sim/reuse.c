#include "tests/sim/reuse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUCCEEDED SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED

/* A short task is not reported as running: then its last event tells when it began. */
void sim_keyed_event(struct sim_keyed *keyed, const Switchyard__V1__Event *event)
{
    if (event->phase == SWITCHYARD__V1__PHASE__PHASE_RUNNING && keyed->started_ns == 0)
        keyed->started_ns = event->time_ns;
    if (event->phase < SUCCEEDED)
        return;
    keyed->phase = event->phase;
    keyed->ended_ns = event->time_ns;
    if (keyed->started_ns == 0)
        keyed->started_ns = event->started_ns;
}

void sim_keyed_outcome(struct sim_keyed *keyed, const Switchyard__V1__ChildOutcome *child)
{
    snprintf(keyed->output, sizeof(keyed->output), "%.*s", (int)child->output.len,
             (const char *)child->output.data);
}

static int by_key_and_time(const void *left, const void *right)
{
    const struct sim_keyed *a = *(const struct sim_keyed *const *)left;
    const struct sim_keyed *b = *(const struct sim_keyed *const *)right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->started_ns < b->started_ns ? -1 : a->started_ns > b->started_ns;
}

/* Its output is "project/domain/run/action" of the one that made it. */
static bool made_by(const struct sim_keyed *keyed, const struct sim_keyed *producer)
{
    size_t whole = strlen(keyed->output), part = strlen(producer->path);
    return whole > part && keyed->output[whole - part - 1] == '/' &&
           strcmp(keyed->output + whole - part, producer->path) == 0;
}

static void audit_one_key(struct sim_world *world, struct sim_keyed *const *all, size_t count)
{
    const struct sim_keyed *producer = NULL, *ran = NULL;
    for (size_t i = 0; i < count; i++) {
        if (all[i]->started_ns == 0)
            continue;
        if (ran && ran->ended_ns > all[i]->started_ns)
            sim_fail(world, "key %u: %s began at %" PRId64 ", %s ended at %" PRId64, all[i]->key,
                     all[i]->path, all[i]->started_ns, ran->path, ran->ended_ns);
        ran = all[i];
        if (ran->phase == SUCCEEDED && producer)
            sim_fail(world, "key %u: %s made it again after %s", ran->key, ran->path,
                     producer->path);
        if (ran->phase == SUCCEEDED)
            producer = ran;
    }
    for (size_t i = 0; i < count; i++) {
        if (all[i]->phase == SUCCEEDED && (!producer || !made_by(all[i], producer)))
            sim_fail(world, "key %u: %s has '%s', not the output of %s", all[i]->key, all[i]->path,
                     all[i]->output, producer ? producer->path : "anything that ran");
    }
}

void sim_reuse_audit(struct sim_world *world, struct sim_keyed **all, size_t count)
{
    qsort(all, count, sizeof(struct sim_keyed *), by_key_and_time);
    for (size_t first = 0, last; first < count; first = last) {
        for (last = first; last < count && all[last]->key == all[first]->key; last++)
            ;
        audit_one_key(world, all + first, last - first);
    }
}
