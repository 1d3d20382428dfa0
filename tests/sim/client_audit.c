/* What the client's books say in the end. */
#include "base/mem.h"
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

void sim_client_audit(struct sim_client *client)
{
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
