/* What the client's books say in the end. */
#include "base/mem.h"
#include "controlplane/names.h"
#include "controlplane/ranges.h"
#include "tests/sim/client_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sim_client_enqueued(const struct sim_client *client)
{
    for (unsigned i = 0; i < client->run_count; i++)
        if (client->runs[i].state < RUN_SIGNAL)
            return false;
    return true;
}

bool sim_client_done(const struct sim_client *client)
{
    for (unsigned i = 0; i < client->run_count; i++)
        if (client->runs[i].state != RUN_DONE)
            return false;
    return true;
}

/* A signal that was heard ends it, and so does its time; nothing else but an abort of the run. */
static void audit_condition(struct sim_client_run *run)
{
    Switchyard__V1__Phase phase = run->children[run->count].phase;
    bool in_time = run->signals && phase == SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    bool late = run->patience_s > 0 && phase == SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT;
    if (run->condition && !run->abort && !run->some_aborted && !in_time && !late)
        sim_fail(run->client->world, "run %s: its condition ended in phase %d", run->name, phase);
}

static void audit_run(struct sim_client_run *run)
{
    struct sim_world *world = run->client->world;
    bool failed = false;
    bool late = sim_world_options(world)->task_late_pct > 0;
    for (unsigned i = 0; i < sim_nested_index(run, run->nested_count); i++) {
        bool timed = i < run->count ? run->timed : i == run->count && run->patience_s > 0;
        bool nested = sim_is_nested(run, i); /* its outcome is its parent's to collect */
        const struct sim_child *child = &run->children[i];
        if (child->acknowledged && (child->finals != 1 || (!nested && child->results != 1)))
            sim_fail(world, "run %s: c-%06u was acknowledged and ended %u times with %u outcomes",
                     run->name, i, child->finals, child->results);
        failed = failed || (!nested && child->finals > 0 &&
                            child->phase != SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED);
        if (child->phase == SWITCHYARD__V1__PHASE__PHASE_ABORTED && !run->abort &&
            !run->some_aborted && !nested)
            sim_fail(world, "run %s: c-%06u was aborted, but nobody asked", run->name, i);
        if (child->phase == SWITCHYARD__V1__PHASE__PHASE_TIMED_OUT && !timed && !late && !nested)
            sim_fail(world, "run %s: c-%06u was late, but had all the time", run->name, i);
    }
    Switchyard__V1__Phase expected = failed ? SWITCHYARD__V1__PHASE__PHASE_FAILED
                                            : SWITCHYARD__V1__PHASE__PHASE_SUCCEEDED;
    if (run->phase != expected &&
        !(run->abort && run->phase == SWITCHYARD__V1__PHASE__PHASE_ABORTED))
        sim_fail(world, "run %s ended in phase %d, expected %d", run->name, run->phase, expected);
}

struct named { /* an action, by what identifies it for ever: its id, among those of one partition */
    uint32_t partition;
    uint64_t id;
    const struct sim_client_run *run;
};

static int by_id(const void *left, const void *right)
{
    const struct named *a = left, *b = right;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Also of two that lie in different halves of it by now. */
static void audit_ids(struct sim_client *client)
{
    const struct sim_options *options = sim_world_options(client->world);
    size_t count = 0, most = 0;
    for (unsigned i = 0; i < client->run_count; i++)
        most += sim_nested_index(&client->runs[i], NESTED_MAX);
    struct named *all = sy_calloc(most, sizeof(*all));
    for (unsigned i = 0; i < client->run_count; i++) {
        const struct sim_client_run *run = &client->runs[i];
        uint64_t hash = cp_name_hash("sim", "test", run->name);
        for (unsigned c = 0; c < sim_nested_index(run, NESTED_MAX); c++) {
            if (run->children[c].id != 0)
                all[count++] = (struct named){cp_range_even_of(hash, options->partitions),
                                              run->children[c].id, run};
        }
    }
    qsort(all, count, sizeof(*all), by_id);
    for (size_t i = 1; i < count; i++) {
        if (by_id(&all[i - 1], &all[i]) == 0)
            sim_fail(client->world, "an action of %s and one of %s have the same id, %016" PRIx64,
                     all[i - 1].run->name, all[i].run->name, all[i].id);
    }
    free(all);
}

void sim_client_audit(struct sim_client *client)
{
    audit_ids(client);
    struct sim_keyed **keyed = sy_calloc(client->run_count * KEYED_MAX, sizeof(struct sim_keyed *));
    size_t count = 0;
    for (unsigned i = 0; i < client->run_count; i++) {
        struct sim_client_run *run = &client->runs[i];
        audit_run(run);
        audit_condition(run);
        for (unsigned k = 0; k < run->keyed_count; k++)
            keyed[count++] = &run->keyed[k];
    }
    sim_reuse_audit(client->world, keyed, count);
    free(keyed);
}

uint64_t sim_client_actions(const struct sim_client *client)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < client->run_count; i++)
        count += client->runs[i].count + client->runs[i].keyed_count;
    return count;
}

struct sim_child *sim_client_find(struct sim_client *client, const char *run, const char *name)
{
    const char *slash = strrchr(run, '/');
    const char *own = slash ? slash + 1 : run;
    for (unsigned i = 0; i < client->run_count; i++) {
        struct sim_client_run *known = &client->runs[i];
        if (strcmp(known->name, own) != 0)
            continue;
        unsigned child = (unsigned)strtoul(name + 2, NULL, 10);
        return sim_has_child(known, child) ? &known->children[child] : NULL;
    }
    return NULL;
}

void sim_client_describe(const struct sim_client *client)
{
    for (unsigned i = 0; i < client->run_count; i++) {
        const struct sim_client_run *run = &client->runs[i];
        if (run->state == RUN_DONE)
            continue;
        unsigned open = 0, first = run->count;
        for (unsigned c = 0; c < run->count; c++) {
            if (run->children[c].acknowledged && run->children[c].finals == 0) {
                open++;
                first = c < first ? c : first;
            }
        }
        fprintf(stderr, "sim: run %s: state %d, %u of %u enqueued, %u not ended (first c-%06u)\n",
                run->name, run->state, run->enqueued, run->count, open, first);
    }
}
