/* What members of gangs were told, compared over all nodes. */
#include "tests/sim/gangs.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_gang {
    struct sim_gang *next;
    char run[4 * SCH_NAME_MAX];
    uint64_t id;
    uint32_t number, epoch, size, started;
    char meet[512]; /* host, port and secret */
    bool ranks[SIM_GANG_SIZE_MAX];
};

struct sim_gangs {
    struct sim_gang *first;
    uint64_t complete;
};

struct sim_gangs *sim_gangs_new(void)
{
    return sy_new(struct sim_gangs);
}

void sim_gangs_free(struct sim_gangs *gangs)
{
    while (gangs->first) {
        struct sim_gang *gang = gangs->first;
        gangs->first = gang->next;
        free(gang);
    }
    free(gangs);
}

uint64_t sim_gangs_complete(const struct sim_gangs *gangs)
{
    return gangs->complete;
}

static struct sim_gang *gang_get(struct sim_gangs *gangs, const struct ag_work *work)
{
    for (struct sim_gang *gang = gangs->first; gang; gang = gang->next) {
        if (gang->id == work->gang->id && gang->number == work->number &&
            gang->epoch == work->epoch && strcmp(gang->run, work->run) == 0)
            return gang;
    }
    struct sim_gang *gang = sy_new(struct sim_gang);
    gang->id = work->gang->id;
    gang->number = work->number;
    gang->epoch = work->epoch;
    gang->size = work->gang->size;
    snprintf(gang->run, sizeof(gang->run), "%s", work->run);
    gang->next = gangs->first;
    gangs->first = gang;
    return gang;
}

/* The ports of a host are given in turns, and there are more than gangs here; a new operator begins
 * its turn anywhere. */
static void check_port(struct sim_world *world, const struct sim_gangs *gangs,
                       const struct sim_gang *gang)
{
    size_t len = strcspn(gang->meet, " ") + 1;
    bool restarts = sim_world_options(world)->crash_operator_pct > 0;
    for (const struct sim_gang *other = gangs->first; other && !restarts; other = other->next) {
        if (other != gang && strncmp(other->meet, gang->meet, len) == 0)
            sim_fail(world, "two gangs shall meet at %.*s", (int)len, gang->meet);
    }
}

void sim_gang_started(struct sim_world *world, struct sim_gangs *gangs, const struct ag_work *work)
{
    char meet[512];
    const struct ag_gang *told = work->gang;
    struct sim_gang *gang = gang_get(gangs, work);
    snprintf(meet, sizeof(meet), "%s:%u %s", told->host, told->port, told->secret);
    if (gang->started == 0) {
        memcpy(gang->meet, meet, sizeof(meet));
        check_port(world, gangs, gang);
    }
    if (strcmp(gang->meet, meet) != 0 || told->port == 0 || strlen(told->secret) != 64)
        sim_fail(world, "%s/%s shall meet at %s, others of its gang at %s", work->run, work->name,
                 meet, gang->meet);
    if (told->size != gang->size || told->rank >= gang->size || gang->ranks[told->rank])
        sim_fail(world, "%s/%s is rank %u of %u, which is another one", work->run, work->name,
                 told->rank, told->size);
    gang->ranks[told->rank] = true;
    gangs->complete += ++gang->started == gang->size;
}
