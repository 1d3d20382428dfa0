#include "controlplane/loops.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct cp_loops_thread {
    pthread_t thread;
    bool running;
};

int cp_loops_init(struct cp_loops *loops, size_t count)
{
    SY_ASSERT(count > 0);
    *loops = (struct cp_loops){.count = count};
    loops->loops = sy_calloc(count, sizeof(struct sy_loop *));
    loops->threads = sy_calloc(count, sizeof(*loops->threads));
    for (size_t i = 0; i < count; i++) {
        int r = sy_loop_new(&loops->loops[i], NULL);
        if (r < 0)
            return sy_trace(r);
    }
    return 0;
}

static void *run_loop(void *loop)
{
    int r = sy_loop_run(loop);
    SY_ASSERT(r == 0);
    return NULL;
}

int cp_loops_run(struct cp_loops *loops)
{
    int r = 0;
    for (size_t i = 1; i < loops->count && r == 0; i++) {
        r = -pthread_create(&loops->threads[i].thread, NULL, run_loop, loops->loops[i]);
        loops->threads[i].running = r == 0;
    }
    if (r == 0)
        r = sy_loop_run(loops->loops[0]);
    else
        cp_loops_stop(loops);
    for (size_t i = 1; i < loops->count; i++) {
        if (loops->threads[i].running)
            pthread_join(loops->threads[i].thread, NULL);
        loops->threads[i].running = false;
    }
    return sy_trace(r);
}

void cp_loops_stop(void *arg)
{
    struct cp_loops *loops = arg;
    for (size_t i = 0; i < loops->count; i++)
        sy_loop_stop(loops->loops[i]);
}

void cp_loops_settle(struct cp_loops *loops, struct sy_rpc *rpc)
{
    if (rpc != NULL)
        sy_rpc_settle(rpc, loops->loops, loops->count);
}

void cp_loops_deinit(struct cp_loops *loops)
{
    for (size_t i = 0; i < loops->count; i++) {
        if (loops->loops[i] != NULL)
            sy_loop_free(loops->loops[i]);
    }
    free(loops->loops);
    free(loops->threads);
    *loops = (struct cp_loops){0};
}
