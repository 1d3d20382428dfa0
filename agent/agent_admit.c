/*
 * Admission: which waiting attempts run.
 *
 * The oldest first, over all classes; a younger one may overtake when the older does not fit. So
 * that an older one does not wait for ever behind a stream of small ones, it waits in phases:
 *
 *     waited for   0 s             1 s      1.25 s      2 s      2.5 s      4 s     5 s      8 s
 * ... | no pipelining | reserved | passed  | reserved | passed | reserved | passed |
 *
 *   - no pipelining: what it lacks is not used for pipelining by younger classes. Its turn comes
 *     when as much as it needs happens to be free at once.
 *   - reserved: younger ones that use what it lacks do not start. From 1 s on, the first quarter of
 *     each span that doubles what it has waited.
 *   - passed: as if it were not there, but that it is asked first.
 *
 * Nobody knows how long tasks run, so nobody knows whether what blocks it are small ones that a
 * reservation would drain, or a long one that stays. If no younger one runs longer than D, the
 * first reservation of D or more drains them: it starts within 9 D (or 1 s + D, when that is
 * later), or when the long one has ended, in the next such reservation. What others lose to one
 * such class is bounded: a quarter of the time, and at a stretch a quarter of what it has waited.
 */
#include "agent/agent_impl.h"

#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <stdio.h>
#include <string.h>

#define STARVED_NS SY_NS_PER_S
#define FLYTE_ARENA_BYTES ((size_t)64 << 20)
#define RESERVED_SHARE 4 /* one part in so many of each span */

void ag_admit_enqueue(struct ag_agent *agent, struct ag_attempt *a)
{
    SY_ASSERT(a->sm.state == AG_ATTEMPT_WAITING);
    ag_list_append(&a->class->waiting, a);
    agent->admit_due = true;
}

void ag_admit_withdraw(struct ag_agent *agent, struct ag_attempt *a)
{
    (void)agent;
    SY_ASSERT(a->sm.state == AG_ATTEMPT_WAITING);
    ag_list_remove(&a->class->waiting, a);
}

/* As CUDA_VISIBLE_DEVICES takes them. */
static void print_devices(const struct ag_agent *agent, const struct ag_attempt *a,
                          struct sy_buf *ret)
{
    const struct sch_resources *request = &a->class->request;
    int slices = request->gpu_partition[0]
                     ? sch_traits_find_slices(&agent->room.devices.traits, request->gpu_partition)
                     : -1;
    for (uint32_t i = 0; a->devices != NULL && i < ag_devices_asked(request); i++) {
        if (i > 0)
            sy_buf_printf(ret, ",");
        if (slices >= 0)
            sy_buf_printf(ret, "%s", agent->slice_names[slices][a->devices[i]]);
        else
            sy_buf_printf(ret, "%u", a->devices[i]);
    }
    sy_buf_append(ret, "", 1);
}

/* Packed by ourselves when it came: it is readable, and the arena large enough. */
static void read_flyte(const struct ag_attempt *a, struct sy_arena *arena,
                       struct ag_flyte_work *ret)
{
    const Switchyard__Internal__FlyteContext *msg = pb_unpack(
        &switchyard__internal__flyte_context__descriptor, arena, sy_buf_span(&a->flyte));
    SY_ASSERT(msg != NULL);
    const char **envs = sy_arena_alloc(arena, (msg->n_envs + 1) * sizeof(*envs));
    for (size_t i = 0; i < msg->n_envs; i++)
        envs[i] = sy_arena_printf(arena, "%s=%s", msg->envs[i]->key, msg->envs[i]->value);
    envs[msg->n_envs] = NULL;
    *ret = (struct ag_flyte_work){
        .action = a->key.action,
        .org = msg->org,
        .input_uri = sy_arena_printf(arena, "%.*s", (int)a->input.len, (const char *)a->input.data),
        .run_output_base = msg->run_output_base,
        .raw_data_prefix = msg->raw_data_prefix,
        .endpoint = msg->endpoint,
        .run_start_ns = msg->run_start_ns,
        .attempt = a->attempt,
        .envs = envs,
        .spec = &a->spec->spec.flyte,
    };
}

static void start(struct ag_agent *agent, struct ag_attempt *a, bool pipelined)
{
    const struct ag_spec *spec = &a->spec->spec;
    struct ag_class *class = a->class;
    ag_list_remove(&class->waiting, a);
    ag_attempt_move(agent, a, AG_ATTEMPT_RUNNING);
    struct sy_buf gpus SY_CLEANUP(sy_buf_deinit) = {0};
    a->pipelined = pipelined;
    if (pipelined) {
        class->pipelined++;
        SY_ASSERT(!sch_resources_has_gpu(&class->request));
    } else {
        class->charged++;
        if (sch_resources_has_gpu(&class->request))
            a->devices = sy_calloc(ag_devices_asked(&class->request), sizeof(*a->devices));
        ag_room_take(&agent->room, &class->request, a->devices);
    }
    print_devices(agent, a, &gpus);
    agent->ports.journal->ops->running(agent->ports.journal, &a->key);
    a->journaled = true;
    struct sy_arena arena; /* of a Flyte action's context */
    struct ag_flyte_work flyte;
    sy_arena_init(&arena, FLYTE_ARENA_BYTES);
    struct ag_work work = {
        .id = a->id,
        .run = a->run,
        .name = a->name,
        .number = a->key.number,
        .epoch = a->key.epoch,
        .attempt = a->attempt,
        .request = class->request,
        .gpus = (const char *)gpus.data,
        .pipelined = pipelined,
        .type = spec->type,
        .args = spec->args,
        .env = spec->env,
        .input = a->input,
        .input_path = a->input_path,
        .timeout_ns = a->timeout_ns,
        .gang = a->gang,
        .suspect = a->suspect,
        .inline_bytes_max = agent->inline_bytes_max,
    };
    if (a->of_flyte) {
        read_flyte(a, &arena, &flyte);
        work.flyte = &flyte;
    }
    agent->ports.executor->ops->start(agent->ports.executor, &work);
    sy_arena_deinit(&arena);
}

static struct ag_class *oldest_class(const struct ag_agent *agent)
{
    struct ag_class *oldest = NULL;
    for (struct ag_class *c = agent->classes; c != NULL; c = c->next) {
        if (c->waiting.first == NULL || c->blocked)
            continue;
        if (oldest == NULL || c->waiting.first->id < oldest->waiting.first->id)
            oldest = c;
    }
    return oldest;
}

/* No room for its first: hand over as many as the executor takes behind those that run. */
static void pipeline(struct ag_agent *agent, struct ag_class *class)
{
    if (class->charged == 0)
        return;
    struct ag_executor *executor = agent->ports.executor;
    uint32_t n = executor->ops->pipeline(executor, &class->request);
    for (; n > 0 && class->waiting.first != NULL; n--)
        start(agent, class->waiting.first, true);
}

enum phase { UNPIPELINED, RESERVED, PASSED };

/* *ret_end_ns: of the phase, as waiting time. */
static enum phase phase_of(int64_t waited_ns, int64_t *ret_end_ns)
{
    int64_t span_ns = STARVED_NS;
    *ret_end_ns = span_ns;
    if (waited_ns < span_ns)
        return UNPIPELINED;
    while (waited_ns - span_ns >= span_ns)
        span_ns *= 2;
    bool reserved = waited_ns - span_ns < span_ns / RESERVED_SHARE;
    *ret_end_ns = reserved ? span_ns + span_ns / RESERVED_SHARE : 2 * span_ns;
    return reserved ? RESERVED : PASSED;
}

void ag_admit_timer(void *arg)
{
    ((struct ag_agent *)arg)->admit_due = true; /* the end of this turn admits */
}

void ag_admit(struct ag_agent *agent)
{
    agent->admit_due = false;
    if (agent->stopping)
        return;
    uint32_t lacking = 0;  /* what older classes lack, unless they are passed */
    uint32_t reserved = 0; /* of that, what is reserved for them */
    int64_t now_ns = sy_loop_now_ns(agent->ports.loop), next_ns = SY_TIME_NEVER;
    for (struct ag_class *c = agent->classes; c != NULL; c = c->next)
        c->blocked = false;
    struct ag_class *class;
    while ((class = oldest_class(agent)) != NULL) {
        uint32_t missing = ag_room_missing(&agent->room, &class->request);
        if (missing == 0 && (class->uses & reserved) == 0) {
            start(agent, class->waiting.first, false);
            continue;
        }
        class->blocked = true;
        if ((class->uses & lacking) == 0)
            pipeline(agent, class);
        if (class->waiting.first == NULL)
            continue;
        int64_t arrived_ns = class->waiting.first->arrived_ns, end_ns;
        enum phase phase = phase_of(now_ns - arrived_ns, &end_ns);
        if (phase != PASSED)
            lacking |= missing;
        if (phase == RESERVED)
            reserved |= missing;
        if (arrived_ns + end_ns < next_ns)
            next_ns = arrived_ns + end_ns;
    }
    if (next_ns != SY_TIME_NEVER)
        sy_timer_start_in(agent->ports.loop, &agent->admit_timer, next_ns - now_ns);
    else
        sy_timer_stop(agent->ports.loop, &agent->admit_timer);
}

void ag_admit_ended(struct ag_agent *agent, struct ag_attempt *a)
{
    struct ag_class *class = a->class;
    agent->admit_due = true;
    if (class->pipelined > 0) {
        class->pipelined--; /* one of them has the room now; see ops->pipeline */
        return;
    }
    SY_ASSERT(class->charged > 0);
    class->charged--;
    ag_room_give(&agent->room, &class->request, a->devices);
}
