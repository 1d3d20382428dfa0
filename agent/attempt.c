/* Attempts and specs: their tables, their lives. */
#include "agent/agent_impl.h"

#include <stdlib.h>
#include <string.h>

#define TO SM_BIT
#define ENDS (TO(AG_ATTEMPT_DONE))
static const struct sm_state attempt_states[AG_ATTEMPT_STATES] = {
    [AG_ATTEMPT_FETCHING] = {"fetching",
                             TO(AG_ATTEMPT_PROVING) | TO(AG_ATTEMPT_WAITING) |
                                 TO(AG_ATTEMPT_RETURNED) | ENDS,
                             .initial = true},
    [AG_ATTEMPT_PROVING] = {"proving", TO(AG_ATTEMPT_WAITING) | TO(AG_ATTEMPT_RETURNED) | ENDS},
    [AG_ATTEMPT_WAITING] = {"waiting",
                            TO(AG_ATTEMPT_PROVING) | TO(AG_ATTEMPT_RUNNING) |
                                TO(AG_ATTEMPT_RETURNED) | ENDS,
                            .initial = true},
    [AG_ATTEMPT_RUNNING] = {"running", TO(AG_ATTEMPT_UPLOADING) | ENDS},
    [AG_ATTEMPT_UPLOADING] = {"uploading", ENDS},
    [AG_ATTEMPT_DONE] = {"done", 0, .initial = true, .final = true},
    [AG_ATTEMPT_RETURNED] = {"returned", 0, .final = true},
};
#undef ENDS
#undef TO
const struct sm_table ag_attempt_table = {"attempt", attempt_states, AG_ATTEMPT_STATES, NULL};

void ag_list_append(struct ag_attempt_list *list, struct ag_attempt *attempt)
{
    attempt->next = NULL;
    attempt->previous = list->last;
    if (list->last != NULL)
        list->last->next = attempt;
    else
        list->first = attempt;
    list->last = attempt;
}

void ag_list_remove(struct ag_attempt_list *list, struct ag_attempt *attempt)
{
    if (attempt->previous != NULL)
        attempt->previous->next = attempt->next;
    else
        list->first = attempt->next;
    if (attempt->next != NULL)
        attempt->next->previous = attempt->previous;
    else
        list->last = attempt->previous;
    attempt->next = attempt->previous = NULL;
}

/* ---- attempts ---- */

_Static_assert(offsetof(struct ag_attempt_key, epoch) + 4 == AG_ATTEMPT_KEY_BYTES,
               "the key's fields lie without gaps");

struct ag_attempt *ag_attempt_find(struct ag_agent *agent, const struct ag_attempt_key *key)
{
    return sy_map_entry(sy_map_find(&agent->by_key, key, AG_ATTEMPT_KEY_BYTES), struct ag_attempt,
                        by_key);
}

struct ag_attempt *ag_attempt_find_id(struct ag_agent *agent, uint64_t id)
{
    return sy_map_entry(sy_map_find(&agent->by_id, &id, sizeof(id)), struct ag_attempt, by_id);
}

static bool unfinished(enum ag_attempt_state state)
{
    return state < AG_ATTEMPT_DONE;
}

struct ag_attempt *ag_attempt_new(struct ag_agent *agent, const struct ag_attempt_key *key,
                                  enum ag_attempt_state state, const char *run, const char *name,
                                  struct sy_span input)
{
    size_t run_size = strlen(run) + 1, name_size = strlen(name) + 1;
    struct ag_attempt *a = sy_malloc(sizeof(*a) + run_size + name_size + input.len);
    memset(a, 0, sizeof(*a));
    a->agent = agent;
    a->key = *key;
    memcpy(a->text, run, run_size);
    memcpy(a->text + run_size, name, name_size);
    a->run = a->text;
    a->name = a->text + run_size;
    if (input.len > 0)
        memcpy(a->text + run_size + name_size, input.data, input.len);
    a->input = (struct sy_span){(uint8_t *)a->text + run_size + name_size, input.len};
    a->arrived_ns = sy_loop_now_ns(agent->ports.loop);
    sm_init(&a->sm, &ag_attempt_table, state);
    sy_map_add(&agent->by_key, &a->by_key, &a->key, AG_ATTEMPT_KEY_BYTES);
    if (unfinished(state)) {
        agent->unfinished++;
        a->id = ++agent->next_id;
        sy_map_add(&agent->by_id, &a->by_id, &a->id, sizeof(a->id));
    }
    return a;
}

void ag_attempt_move(struct ag_agent *agent, struct ag_attempt *a, enum ag_attempt_state state)
{
    bool was = unfinished((enum ag_attempt_state)a->sm.state);
    ag_proof_moves(a, state);
    sm_move(&a->sm, &ag_attempt_table, state, a);
    if (was && !unfinished(state)) {
        SY_ASSERT(agent->unfinished > 0);
        agent->unfinished--;
    }
}

void ag_attempt_release(struct ag_agent *agent, struct ag_attempt *a)
{
    ag_report_no_start(agent, a);
    ag_proof_release(a);
    if (a->calls > 0)
        ag_relay_forget(agent, a);
    if (a->id != 0)
        sy_map_remove(&agent->by_id, &a->by_id);
    a->id = 0;
    if (a->transfer != NULL)
        ag_objects_cancel(agent->ports.objects, a->transfer);
    a->transfer = NULL;
    if (a->input_path != NULL)
        ag_objects_unpin(agent->ports.objects, a->input_path);
    free(sy_take(a->input_path));
    free(sy_take(a->devices));
    sy_buf_deinit(&a->flyte);
    if (a->log != NULL)
        ag_log_end(sy_take(a->log));
    if (a->class != NULL)
        sy_take(a->class)->users--;
    if (a->spec != NULL)
        ag_spec_unref(sy_take(a->spec));
}

void ag_attempt_free(struct ag_agent *agent, struct ag_attempt *a)
{
    ag_attempt_release(agent, a);
    sy_map_remove(&agent->by_key, &a->by_key);
    sy_buf_deinit(&a->outcome);
    free(a->gang);
    free(a);
}

/* ---- specs ---- */

struct ag_spec_entry *ag_spec_find(struct ag_agent *agent, uint32_t partition, uint32_t epoch,
                                   uint32_t id)
{
    const uint32_t key[] = {partition, epoch, id}; /* as ag_spec_entry.key lies in memory */
    return sy_map_entry(sy_map_find(&agent->specs, key, sizeof(key)), struct ag_spec_entry, link);
}

static struct ag_class *class_get(struct ag_agent *agent, const struct sch_resources *request)
{
    struct ag_class *unused = NULL;
    for (struct ag_class *class = agent->classes; class != NULL; class = class->next) {
        if (sch_resources_equal(&class->request, request))
            return class;
        if (class->users == 0 && class->charged == 0 && class->pipelined == 0)
            unused = class;
    }
    if (unused == NULL) {
        unused = sy_new(struct ag_class);
        unused->next = agent->classes;
        agent->classes = unused;
    }
    SY_ASSERT(unused->waiting.first == NULL); /* who waits is a user */
    unused->request = *request;
    unused->uses = ag_room_uses(&agent->room, request);
    return unused;
}

bool ag_attempt_ask(struct ag_agent *agent, struct ag_attempt *a, uint64_t memory_bytes,
                    struct sy_error_text *ret_why)
{
    SY_ASSERT(a->spec != NULL && a->spec->valid && a->class == NULL);
    struct sch_resources request = a->spec->spec.request;
    if (memory_bytes > 0)
        request.memory_bytes = memory_bytes;
    if (memory_bytes > 0 && !ag_room_could_hold(&agent->room, &request, ret_why))
        return false;
    a->class = class_get(agent, &request);
    a->class->users++;
    return true;
}

void ag_spec_add(struct ag_agent *agent, uint32_t partition, uint32_t epoch, uint32_t id,
                 struct sy_span bytes)
{
    if (ag_spec_find(agent, partition, epoch, id) != NULL)
        return;
    struct ag_spec_entry *entry = sy_new(struct ag_spec_entry);
    entry->key.partition = partition;
    entry->key.epoch = epoch;
    entry->key.id = id;
    entry->refs = 1;
    entry->valid = ag_spec_parse(&entry->spec, bytes, &entry->error) == 0;
    if (entry->valid && !ag_room_could_hold(&agent->room, &entry->spec.request, &entry->error)) {
        ag_spec_deinit(&entry->spec);
        entry->valid = false;
    }
    if (entry->valid) {
        entry->class = class_get(agent, &entry->spec.request);
        entry->class->users++;
    }
    sy_map_add(&agent->specs, &entry->link, &entry->key, sizeof(entry->key));
}

void ag_spec_drop(struct ag_agent *agent, struct ag_spec_entry *entry)
{
    sy_map_remove(&agent->specs, &entry->link);
    ag_spec_unref(entry);
}

void ag_spec_unref(struct ag_spec_entry *entry)
{
    SY_ASSERT(entry->refs > 0);
    if (--entry->refs > 0)
        return;
    if (entry->class != NULL)
        entry->class->users--;
    ag_spec_deinit(&entry->spec);
    free(entry);
}
