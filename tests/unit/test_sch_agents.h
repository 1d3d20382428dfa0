/* The agents of test_sch_random.c: they run what they are given as far as it fits, and end it as
 * they like. Part of test_sch_model.h. */
#pragma once

static bool same_key(const struct sch_attempt_key *a, const struct sch_attempt_key *b)
{
    return a->action == b->action && a->partition == b->partition && a->number == b->number &&
           a->epoch == b->epoch;
}

static struct execution *execution_find(struct agent *agent, const struct sch_attempt_key *key)
{
    for (size_t i = 0; i < agent->count; i++) {
        if (same_key(&agent->items[i].key, key))
            return &agent->items[i];
    }
    return NULL;
}

static void agent_send(struct world *w, size_t c, size_t n, enum sch_op_event_type type,
                       const struct execution *x)
{
    if (!w->node_streams[c][n].open)
        return; /* its hello will say so */
    struct message *message = push(&w->node_streams[c][n].up);
    message->down.type = type;
    message->down.u.report.node = node_names[n];
    message->down.u.report.key = x->key;
    if (type != SCH_OP_OUTCOME)
        return;
    message->down.u.report.blob = payload_new(w, &x->request, x->outcome);
    ((struct payload *)message->down.u.report.blob.data)->death = x->death;
    message->down.u.report.cancelled = x->outcome == SCH_OUTCOME_CANCELLED;
    message->down.u.report.fault = x->outcome == SCH_OUTCOME_LOST ||
                                   x->outcome == SCH_OUTCOME_REFUSED;
}

static uint32_t gpu_milli_of(const struct execution *x)
{
    return x->request.gpus > 0 ? SCH_GPU_MILLI : x->request.gpu_milli;
}

/* Of the GPUs that have room the one that is used most. */
static bool take_room(struct agent *agent, struct execution *x)
{
    uint32_t part = gpu_milli_of(x), best = GPUS;
    for (uint32_t i = 0; i < GPUS; i++) {
        if (agent->gpus_milli[i] + part <= SCH_GPU_MILLI &&
            (best == GPUS || agent->gpus_milli[i] > agent->gpus_milli[best]))
            best = i;
    }
    if (best == GPUS || agent->used_milli + x->request.cpu_milli > CORES * 1000)
        return false;
    x->gpu = best;
    agent->gpus_milli[best] += part;
    agent->used_milli += x->request.cpu_milli;
    return true;
}

static void give_room(struct agent *agent, const struct execution *x)
{
    agent->gpus_milli[x->gpu] -= gpu_milli_of(x);
    agent->used_milli -= x->request.cpu_milli;
}

static void agent_end(struct world *w, size_t c, size_t n, struct execution *x,
                      enum sch_outcome outcome)
{
    struct agent *agent = &w->agents[c][n];
    ck_assert(!x->ended);
    if (x->started)
        give_room(agent, x);
    x->ended = true;
    x->outcome = outcome;
    if (outcome == SCH_OUTCOME_LOST) /* a suspect has its worker for itself */
        x->death = sy_rng_chance(&w->rng, 1, 3) ? SCH_DEATH_NONE
                   : x->suspect                 ? SCH_DEATH_ALONE
                                                : SCH_DEATH_SHARED;
    agent_send(w, c, n, SCH_OP_OUTCOME, x);
}

static void agent_admit(struct world *w, size_t c, size_t n)
{
    struct agent *agent = &w->agents[c][n];
    for (size_t i = 0; i < agent->count; i++) {
        struct execution *x = &agent->items[i];
        if (x->started || x->ended)
            continue;
        if (!take_room(agent, x))
            break;
        x->started = true;
        struct row *row = row_find(&w->sites[x->key.partition], x->key.action);
        ck_assert_ptr_nonnull(row);
        row->executed = true;
        agent_send(w, c, n, SCH_OP_STARTED, x);
    }
}

static void agent_remove(struct agent *agent, struct execution *x)
{
    size_t at = (size_t)(x - agent->items);
    if (x->started && !x->ended)
        give_room(agent, x);
    memmove(x, x + 1, (--agent->count - at) * sizeof(*x));
}

static void agent_give_back(struct world *w, size_t c, size_t n)
{
    struct agent *agent = &w->agents[c][n];
    for (size_t i = agent->count; i-- > 0;) {
        struct execution *x = &agent->items[i];
        if (x->started || x->ended)
            continue;
        agent_send(w, c, n, SCH_OP_NODE_RETURNED, x);
        agent_remove(agent, x);
    }
}

static void agent_receive(struct world *w, size_t c, size_t n, const struct message *message)
{
    struct agent *agent = &w->agents[c][n];
    if (message->order == SCH_OP_SEND_GIVE_BACK) {
        agent_give_back(w, c, n);
        return;
    }
    struct execution *x = execution_find(agent, &message->key);
    if (message->order == SCH_OP_SEND_ASSIGN && !x) {
        ck_assert_uint_lt(agent->count, SY_COUNT_OF(agent->items));
        agent->items[agent->count++] = (struct execution){.key = message->key,
                                                          .request = message->request,
                                                          .suspect = message->suspect,
                                                          .place = message->place,
                                                          .waits = message->waits};
    } else if (message->order == SCH_OP_SEND_CANCEL && x && !x->ended) {
        agent_end(w, c, n, x, SCH_OUTCOME_CANCELLED);
    } else if (message->order == SCH_OP_SEND_ACK && x && x->ended) {
        agent_remove(agent, x);
    }
    agent_admit(w, c, n);
}

/* What has died once is likely to do so again. */
static enum sch_outcome any_outcome(struct world *w, const struct execution *x)
{
    if (!w->healing && (x->suspect ? sy_rng_chance(&w->rng, 9, 10) : sy_rng_chance(&w->rng, 1, 6)))
        return SCH_OUTCOME_LOST;
    if (w->healing || sy_rng_chance(&w->rng, 2, 3))
        return SCH_OUTCOME_SUCCEEDED;
    return (enum sch_outcome)(1 + sy_rng_below(&w->rng, SCH_OUTCOME_REFUSED));
}

/* One of its executions ends, or one that waits is given back. */
static void agent_progress(struct world *w, size_t c, size_t n)
{
    struct agent *agent = &w->agents[c][n];
    if (agent->count == 0)
        return;
    struct execution *x = &agent->items[sy_rng_below(&w->rng, agent->count)];
    if (x->ended)
        return;
    if (x->started) {
        agent_end(w, c, n, x, any_outcome(w, x));
    } else if (!w->healing && w->node_streams[c][n].open && sy_rng_chance(&w->rng, 1, 10)) {
        agent_send(w, c, n, SCH_OP_NODE_RETURNED, x);
        agent_remove(agent, x);
    }
    agent_admit(w, c, n);
}
