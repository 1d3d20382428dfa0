#include "tests/sim/tasks.h"

#include "base/mem.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "proto/pb.h"

void sim_spec_pack(const struct cl_spec *spec, struct sy_buf *append)
{
    struct sy_error_text error;
    int r = cl_spec_pack(spec, append, &error);
    SY_ASSERT(r == 0);
}

static void put_variable(Flyteidl2__Core__Container *container,
                         Flyteidl2__Core__KeyValuePair *variable, const char *key,
                         const char *value)
{
    flyteidl2__core__key_value_pair__init(variable);
    variable->key = (char *)(uintptr_t)key;
    variable->value = (char *)(uintptr_t)value;
    container->env[container->n_env++] = variable;
}

void sim_task_pack(unsigned kind_index, int64_t deadline_s, bool stops, struct sy_arena *arena,
                   struct sy_buf *append)
{
    const struct sim_task_kind *kind = sim_task_kind(kind_index);
    struct sy_buf plain SY_CLEANUP(sy_buf_deinit) = {0};
    sim_spec_pack(&kind->spec, &plain);
    Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor, arena,
                                                sy_buf_span(&plain));
    SY_ASSERT(spec != NULL);
    Google__Protobuf__Duration deadline = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Protobuf__Duration base = GOOGLE__PROTOBUF__DURATION__INIT;
    Flyteidl2__Core__TimeoutStrategy timeouts = FLYTEIDL2__CORE__TIMEOUT_STRATEGY__INIT;
    Flyteidl2__Core__Backoff backoff = FLYTEIDL2__CORE__BACKOFF__INIT;
    deadline.seconds = deadline_s;
    timeouts.deadline = &deadline;
    base.nanos = 100000000;
    backoff.base_value = &base;
    backoff._factor_case = FLYTEIDL2__CORE__BACKOFF___FACTOR_FACTOR;
    backoff.factor = 2;
    Flyteidl2__Core__TaskTemplate *task = spec->task_template;
    if (deadline_s > 0) {
        task->metadata->timeouts = &timeouts;
        task->metadata->retries->backoff = &backoff;
    }
    if (kind->slice) {
        Flyteidl2__Core__GPUAccelerator *gpu = task->extended_resources->gpu_accelerator;
        gpu->partition_size_value_case =
            FLYTEIDL2__CORE__GPUACCELERATOR__PARTITION_SIZE_VALUE_PARTITION_SIZE;
        gpu->partition_size = (char *)(uintptr_t)kind->slice;
    }
    Flyteidl2__Core__KeyValuePair variables[2], *env[8];
    SY_ASSERT(task->container->n_env + SY_COUNT_OF(variables) <= SY_COUNT_OF(env));
    for (size_t i = 0; i < task->container->n_env; i++)
        env[i] = task->container->env[i];
    task->container->env = env;
    if (kind->memory_max)
        put_variable(task->container, &variables[0], "SWITCHYARD_OOM_MEMORY_MAX", kind->memory_max);
    if (stops)
        put_variable(task->container, &variables[1], "SWITCHYARD_ON_PARTITION", "stop-on-agent");
    pb_pack(&spec->base, append);
    sy_arena_reset(arena);
}

void sim_task_pack_cached(struct sy_arena *arena, struct sy_buf *append)
{
    struct sy_buf plain SY_CLEANUP(sy_buf_deinit) = {0};
    sim_spec_pack(&sim_task_kind(0)->spec, &plain);
    Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor, arena,
                                                sy_buf_span(&plain));
    SY_ASSERT(spec != NULL);
    spec->task_template->type = (char *)(uintptr_t) "python";
    spec->task_template->container->image = (char *)(uintptr_t) "image";
    spec->task_template->metadata->discoverable = true;
    spec->task_template->metadata->discovery_version = (char *)(uintptr_t) "v1";
    spec->task_template->metadata->cache_serializable = true;
    pb_pack(&spec->base, append);
    sy_arena_reset(arena);
}
