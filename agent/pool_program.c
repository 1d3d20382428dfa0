/* Programs in a pool's workers: a command line and an environment, as a cold process gets them. */
#include "agent/pool_impl.h"

#include "base/mem.h"
#include "switchyard/internal/worker.pb-c.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* A child with limits of its own; one that is reused has those of its worker. */
static struct ag_cgroup *take_cgroup(const struct ag_pool *pool, const struct ag_work *work)
{
    struct ag_cgroup_limits limits = {
        .memory_bytes = work->request.memory_bytes,
        .cpu_milli = work->request.cpu_milli,
        .pids = pool->exec->pids_max,
    };
    return pool->forks ? ag_cgroup_take(pool->exec->cgroups, &limits) : NULL;
}

/* Files to join by, ':' between them. */
static void join_files(const struct ag_cgroup *cgroup, struct sy_buf *ret)
{
    const char *const *joins = cgroup != NULL ? ag_cgroup_joins(cgroup) : NULL;
    for (size_t i = 0; joins != NULL && joins[i] != NULL; i++)
        sy_buf_printf(ret, "%s%s", i > 0 ? ":" : "", joins[i]);
    sy_buf_append(ret, "", 1);
}

struct ag_pool_task *ag_pool_program_encode(const struct ag_pool *pool, const struct ag_work *work)
{
    Switchyard__Internal__Worker__Task msg = SWITCHYARD__INTERNAL__WORKER__TASK__INIT;
    Switchyard__Internal__Worker__Program program = SWITCHYARD__INTERNAL__WORKER__PROGRAM__INIT;
    struct sy_buf joins = {0};
    struct ag_env env = {0};
    struct ag_cgroup *cgroup = take_cgroup(pool, work);
    join_files(cgroup, &joins);
    ag_env_add_task(&env, pool->exec, work);
    ag_env_set_all(&env, work->env);
    program.args = (char **)(uintptr_t)work->args;
    while (work->args[program.n_args] != NULL)
        program.n_args++;
    program.env = env.items;
    program.n_env = env.count;
    SY_ASSERT(work->cwd != NULL);
    program.cwd = (char *)(uintptr_t)work->cwd;
    program.cgroup = (char *)joins.data;
    msg.id = work->id;
    msg.run = (char *)(uintptr_t)work->run;
    msg.name = (char *)(uintptr_t)work->name;
    msg.attempt = work->attempt;
    msg.program = &program;
    struct ag_pool_task *task = ag_pool_task_pack(&msg.base);
    task->program = true;
    task->cgroup = cgroup;
    task->memory_limit_bytes = work->request.memory_bytes;
    ag_env_deinit(&env);
    sy_buf_deinit(&joins);
    return task;
}

void ag_pool_program_classify(struct ag_pool_task *task, int exit_code, struct ag_result *ret,
                              char *text, size_t size)
{
    struct ag_exec_end end = {
        .exit.status = exit_code < 0 ? -exit_code & 0x7f : (exit_code & 0xff) << 8,
        .cancelled = task->cancelled,
        .timed_out = task->timed_out,
        .memory_limit_bytes = task->memory_limit_bytes,
    };
    if (task->cgroup != NULL) {
        struct ag_cgroup_usage usage;
        ag_cgroup_usage(task->cgroup, &usage);
        end.out_of_memory = usage.oom_kills > 0;
        ret->memory_peak_bytes = usage.memory_peak_bytes;
    }
    ag_exec_classify(&end, "", ret, text, size);
}

bool ag_pool_program_kill(struct ag_pool_task *task)
{
    if (!task->program || task->killed || task->worker == NULL)
        return false;
    task->killed = true;
    ag_pool_send_cancel(task->worker, task->base.id); /* the second one means SIGKILL */
    if (task->cgroup != NULL)
        ag_cgroup_kill(task->cgroup);
    return true;
}
