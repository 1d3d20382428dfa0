#include "tools/src/sim_events.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>

void sim_events_deinit(struct sim_events *events)
{
    free(events->items);
    *events = (struct sim_events){0};
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

void sim_events_add(struct sim_events *events, int64_t at_ns, sim_event_fn fn, void *owner,
                    void *arg)
{
    if (events->count == events->cap) {
        events->cap = events->cap ? events->cap * 2 : 1024;
        events->items = sy_realloc(events->items, events->cap * sizeof(*events->items));
    }
    struct sim_event event = {at_ns, events->sequence++, fn, owner, arg};
    size_t at = events->count++;
    while (at > 0 && before(&event, &events->items[(at - 1) / 2])) {
        events->items[at] = events->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    events->items[at] = event;
}

bool sim_events_pop(struct sim_events *events, struct sim_event *ret)
{
    if (events->count == 0)
        return false;
    *ret = events->items[0];
    struct sim_event last = events->items[--events->count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < events->count) {
        if (child + 1 < events->count && before(&events->items[child + 1], &events->items[child]))
            child++;
        if (!before(&events->items[child], &last))
            break;
        events->items[at] = events->items[child];
        at = child;
    }
    events->items[at] = last;
    SY_ASSERT(events->count == 0 || !before(&events->items[0], ret));
    return true;
}
