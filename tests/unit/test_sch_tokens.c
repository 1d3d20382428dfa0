/* links: sch */
#include "base/rng.h"
#include "tests/unit/test_sch_world.h"

/*
 * Limits over several partitions: real cores, and messages between them that are late, lost,
 * doubled, or overtake each other.
 */
#define PARTITIONS 4u
#define HOME 1u
#define MESSAGES 4096u
#define ALL PARTITIONS /* in turns */
#define NOBODY (PARTITIONS + 1)

struct message {
    enum sch_event_type type;
    uint32_t to;
    struct sch_token_report report;
    struct sch_token_allowance allowance;
    uint64_t term; /* of an ask */
};

struct region {
    struct world partitions[PARTITIONS];
    uint32_t epochs[PARTITIONS];
    struct sch_action *out[PARTITIONS][64];
    size_t out_count[PARTITIONS];
    struct message messages[MESSAGES];
    size_t first, count;
    struct message late[64]; /* these come much later */
    size_t late_count;
    uint64_t limits[PARTITIONS]; /* as each has heard */
    uint64_t ceiling; /* the largest of these, or what was out before: nothing more may start */
    uint64_t limit, started, finished, submitted, named, waiting[PARTITIONS];
    unsigned lost_percent, doubled_percent;
    bool disordered;
    struct sy_rng rng;
    int64_t now;
};

static const struct sch_queue_key the_queue = {.project = "p", .domain = "d", .name = "q"};

static void send(struct region *r, struct message message)
{
    if (sy_rng_below(&r->rng, 100) < r->lost_percent)
        return;
    if (r->disordered && r->late_count < 64 && sy_rng_chance(&r->rng, 1, 10)) {
        r->late[r->late_count++] = message;
        return;
    }
    do {
        ck_assert_uint_lt(r->count, MESSAGES);
        r->messages[r->count++] = message;
    } while (sy_rng_below(&r->rng, 100) < r->doubled_percent);
}

static uint64_t used(const struct region *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < PARTITIONS; i++)
        sum += r->out_count[i];
    return sum;
}

static void carry(struct region *r, uint32_t from)
{
    struct world *w = &r->partitions[from];
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct sch_effect *effect = &w->fx.items[i];
        if (effect->type == SCH_EFFECT_ASSIGN) {
            ck_assert_uint_lt(r->out_count[from], 64);
            r->out[from][r->out_count[from]++] = sch_action_ref(effect->u.assign.action);
            r->started++;
            r->waiting[from]--;
        } else if (effect->type == SCH_EFFECT_TOKEN_REPORT) {
            send(r, (struct message){SCH_EVENT_TOKEN_REPORT, HOME,
                                     .report = effect->u.token_report.report});
        } else if (effect->type == SCH_EFFECT_TOKEN_ALLOW) {
            send(r,
                 (struct message){SCH_EVENT_TOKEN_ALLOW, effect->u.token_allow.allowance.partition,
                                  .allowance = effect->u.token_allow.allowance});
        } else if (effect->type == SCH_EFFECT_TOKEN_ASK) {
            send(r, (struct message){SCH_EVENT_TOKEN_ASK, effect->u.token_ask.partition,
                                     .term = effect->u.token_ask.term});
        }
    }
    sch_partition_check(w->p);
    ck_assert_msg(used(r) <= r->ceiling, "%lu out, at most %lu", (unsigned long)used(r),
                  (unsigned long)r->ceiling);
}

static void at(struct region *r, uint32_t i, struct sch_event event)
{
    r->partitions[i].now = r->now;
    r->ceiling = used(r);
    for (uint32_t k = 0; k < PARTITIONS; k++)
        r->ceiling = r->limits[k] > r->ceiling ? r->limits[k] : r->ceiling;
    step(&r->partitions[i], event);
    carry(r, i);
}

static void deliver(struct region *r)
{
    if (r->late_count > 0 && sy_rng_chance(&r->rng, 1, 50)) {
        size_t i = sy_rng_below(&r->rng, r->late_count);
        struct message late = r->late[i];
        r->late[i] = r->late[--r->late_count];
        r->messages[r->count++] = late;
    }
    if (r->first == r->count) {
        r->first = r->count = 0;
        return;
    }
    struct message *m = &r->messages[r->first++], first = *m;
    if (r->disordered) { /* another one comes in its place */
        struct message *other = m + sy_rng_below(&r->rng, r->count - r->first + 1);
        *m = *other;
        *other = first;
    }
    struct sch_event event = {.type = m->type};
    if (m->type == SCH_EVENT_TOKEN_REPORT) {
        event.u.token_report.key = &the_queue;
        event.u.token_report.report = &m->report;
    } else if (m->type == SCH_EVENT_TOKEN_ALLOW) {
        event.u.token_allow.key = &the_queue;
        event.u.token_allow.allowance = &m->allowance;
    } else {
        event.u.token_ask.key = &the_queue;
        event.u.token_ask.term = m->term;
    }
    at(r, m->to, event);
}

static void configure(struct region *r, uint32_t i)
{
    struct sch_queue_config config = sch_queue_config_default(&the_queue);
    r->limits[i] = r->limit;
    config.actions_max = r->limit;
    config.cpu_milli_max = 1000 * r->limit;
    at(r, i, (struct sch_event){.type = SCH_EVENT_QUEUE, .u.queue.config = &config});
}

static void open_partition(struct region *r, uint32_t i)
{
    struct sch_partition_options options = {.partition = i,
                                            .partitions = PARTITIONS,
                                            .epoch = ++r->epochs[i],
                                            .actions_max = 100000,
                                            .system_retries = 3,
                                            .cluster_lease_ns = LEASE,
                                            .recovery_wait_ns = WAIT};
    struct world *w = &r->partitions[i];
    w->now = r->now;
    w->p = sch_partition_new(&options, r->now);
    configure(r, i);
}

static void connect(struct region *r, uint32_t i)
{
    at(r, i,
       (struct sch_event){.type = SCH_EVENT_CLUSTER_UP,
                          .u.cluster = {.name = "east", .shapes = &shape, .shape_count = 1}});
    at(r, i, (struct sch_event){.type = SCH_EVENT_INVENTORY_COMPLETE, .u.cluster.name = "east"});
}

static void submit(struct region *r, uint32_t i)
{
    char name[24];
    snprintf(name, sizeof(name), "r%lu", (unsigned long)++r->named);
    r->submitted++;
    r->waiting[i]++;
    at(r, i,
       (struct sch_event){.type = SCH_EVENT_CREATE_RUN,
                          .u.create = {.project = "p",
                                       .domain = "d",
                                       .name = name,
                                       .spec = &r->partitions[i].task,
                                       .queue = "q"}});
    struct sch_run *run = sch_partition_find_run(r->partitions[i].p, "p", "d", name);
    uint32_t class_id = sch_action_class_id(
        sch_partition_find_action(r->partitions[i].p, run, "a0"));
    at(r, i,
       (struct sch_event){
           .type = SCH_EVENT_GRANT,
           .u.grant = {.cluster = "east", .class_id = class_id, .granted = 1u << 20}});
}

static void submit_many(struct region *r, uint32_t i, unsigned count)
{
    for (unsigned k = 0; k < count; k++)
        submit(r, i);
}

static void finish(struct region *r, uint32_t i)
{
    if (r->out_count[i] == 0)
        return;
    struct sch_action *a = r->out[i][--r->out_count[i]];
    at(r, i,
       report(SCH_EVENT_OUTCOME, "east", a->id, a->number, a->attempt_epoch,
              SCH_OUTCOME_SUCCEEDED));
    sch_action_unref(a);
    r->finished++;
}

static void tick(struct region *r)
{
    r->now += 5 * SY_NS_PER_MS;
    for (uint32_t i = 0; i < PARTITIONS; i++)
        at(r, i, (struct sch_event){.type = SCH_EVENT_TICK});
}

static struct region *region_new(uint64_t seed, uint64_t limit)
{
    struct region *r = sy_new(struct region);
    sy_rng_init(&r->rng, seed);
    r->limit = limit;
    r->now = SY_NS_PER_S;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        r->partitions[i] = (struct world){.task = {.request = {.cpu_milli = 1000}}};
        open_partition(r, i);
        connect(r, i);
    }
    return r;
}

static void drop_out(struct region *r, uint32_t i)
{
    while (r->out_count[i] > 0)
        sch_action_unref(r->out[i][--r->out_count[i]]);
}

/* What was out and what waited is not known any more. */
static void restart(struct region *r, uint32_t i)
{
    drop_out(r, i);
    sch_partition_free(r->partitions[i].p);
    open_partition(r, i);
}

static void region_free(struct region *r)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        drop_out(r, i);
        world_free(&r->partitions[i]);
    }
    free(r);
}

static void drain(struct region *r)
{
    while (r->first < r->count)
        deliver(r);
    deliver(r);
}

/* Messages arrive, time goes on; `finisher` ends one each time. */
static void turn(struct region *r, unsigned turns, uint32_t finisher)
{
    for (unsigned i = 0; i < turns; i++, tick(r)) {
        drain(r);
        if (finisher != NOBODY)
            finish(r, finisher == ALL ? i % PARTITIONS : finisher);
    }
}

static void settle(struct region *r, unsigned turns)
{
    turn(r, turns, NOBODY);
}

/* When nothing of it is out; what waits there is forgotten. What it said before is on its way. */
static void restart_home(struct region *r)
{
    if (r->out_count[HOME] > 0)
        return;
    r->submitted -= r->waiting[HOME];
    r->waiting[HOME] = 0;
    restart(r, HOME);
    connect(r, HOME);
}

/* Whatever is lost, late or doubled, and however often the home begins anew: never above the limit,
 * and all of it ends. */
static void run_seed(uint64_t seed)
{
    struct region *r = region_new(seed, 1 + seed % 7);
    r->lost_percent = seed % 3 == 0 ? 20 : 0;
    r->doubled_percent = seed % 4 == 0 ? 10 : 0;
    r->disordered = seed % 2 == 0;
    for (unsigned i = 0; i < 3000; i++) {
        uint32_t which = (uint32_t)sy_rng_below(&r->rng, PARTITIONS);
        if (seed % 5 < 2 && sy_rng_chance(&r->rng, 1, 40))
            restart_home(r);
        if (seed % 7 < 4 && sy_rng_chance(&r->rng, 1, 40)) {
            r->limit = 1 + sy_rng_below(&r->rng, 8);
            configure(r, HOME);
        }
        if (r->limits[which] != r->limit && sy_rng_chance(&r->rng, 1, 5))
            configure(r, which);
        switch (sy_rng_below(&r->rng, 10)) {
        case 0:
            submit(r, which);
            break;
        case 1:
        case 2:
            finish(r, which);
            break;
        case 3:
            tick(r);
            break;
        default:
            deliver(r);
            break;
        }
    }
    for (uint32_t k = 0; k < PARTITIONS; k++)
        configure(r, k);
    for (unsigned i = 0; i < 20000 && r->finished < r->submitted; i++) {
        drain(r);
        for (uint32_t k = 0; k < PARTITIONS; k++)
            finish(r, k);
        tick(r);
    }
    ck_assert_msg(r->finished == r->submitted, "seed %lu: %lu of %lu", (unsigned long)seed,
                  (unsigned long)r->finished, (unsigned long)r->submitted);
    region_free(r);
}

START_TEST(a_limit_is_never_exceeded_and_all_ends)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_seed(seed);
}
END_TEST

/* Those that use it hear of the lower limit before the home has said what each is allowed under it,
 * or after: what ends is not replaced while more than the limit is out. */
START_TEST(a_limit_that_is_lowered_lets_nothing_start_above_it)
{
    for (unsigned late = 0; late < 2; late++) {
        struct region *r = region_new(3, 8);
        submit_many(r, 2, 20);
        submit_many(r, 3, 20);
        settle(r, 40);
        ck_assert_uint_eq(used(r), 8);
        r->limit = 4;
        configure(r, HOME);
        if (late)
            settle(r, 5);
        for (uint32_t i = 0; i < PARTITIONS; i++)
            configure(r, i);
        for (uint64_t left = 8; left > 4; left--) {
            finish(r, left % 2 ? 2 : 3);
            ck_assert_uint_eq(used(r), left - 1);
            if (late)
                settle(r, 5);
            ck_assert_uint_eq(used(r), left - 1);
        }
        finish(r, 2);
        settle(r, 20);
        ck_assert_uint_eq(used(r), 4);
        turn(r, 400, ALL);
        ck_assert_uint_eq(r->finished, r->submitted);
        region_free(r);
    }
}
END_TEST

/* One has all of a small limit; what its end leaves is too little for both, and one of them has it.
 */
START_TEST(what_was_over_a_limit_goes_to_one_that_it_is_enough_for)
{
    struct region *r = region_new(3, 5);
    submit_many(r, 2, 3);
    submit_many(r, 3, 2);
    settle(r, 40);
    r->limit = 3;
    for (uint32_t i = 0; i < PARTITIONS; i++)
        configure(r, (HOME + i) % PARTITIONS);
    settle(r, 10);
    submit_many(r, 3, 5);
    finish(r, 3);
    settle(r, 10);
    ck_assert_uint_eq(used(r),
                      4); /* two of it were this one's part, and are not, as long as 2 has three */
    finish(r, 3);
    settle(r, 10);
    ck_assert_uint_eq(used(r), 3);
    finish(r, 2);
    settle(r, 10);
    ck_assert_uint_eq(used(r), 3);
    ck_assert_uint_eq(r->out_count[3], 1);
    region_free(r);
}
END_TEST

/* One that has everything gives half of it when another one wants some. */
START_TEST(partitions_share_a_limit)
{
    struct region *r = region_new(1, 8);
    submit_many(r, 2, 200);
    settle(r, 10);
    ck_assert_uint_eq(r->out_count[2], 8);
    submit_many(r, 3, 100);
    turn(r, 40, 2);
    ck_assert_uint_ge(r->out_count[3], 3);
    ck_assert_uint_ge(r->out_count[2], 3);
    ck_assert_uint_eq(used(r), 8);
    region_free(r);
}
END_TEST

/* One that asks for more than the limit waits for ever; others of its partition do not. */
START_TEST(one_that_never_fits_stops_no_others)
{
    struct region *r = region_new(7, 4);
    for (uint32_t i = 2; i <= 3; i++) {
        r->partitions[i].task.request.cpu_milli = 5000;
        submit(r, i);
        r->partitions[i].task.request.cpu_milli = 1000;
        submit_many(r, i, 20);
    }
    turn(r, 400, ALL);
    ck_assert_uint_eq(r->finished, 40);
    region_free(r);
}
END_TEST

/* The home begins anew: nobody gets more before all have said what they use. */
START_TEST(a_new_home_asks_first)
{
    struct region *r = region_new(2, 4);
    submit_many(r, 2, 50);
    settle(r, 10);
    ck_assert_uint_eq(used(r), 4);
    restart(r, HOME);
    submit_many(r, 3, 50);
    turn(r, 300, ALL);
    ck_assert_uint_ge(r->finished, 20);
    region_free(r);
}
END_TEST

/* What a home allowed that is no more comes when another one has handed the same out. */
START_TEST(a_home_before_allows_nothing)
{
    struct region *r = region_new(5, 4);
    settle(r, 10);
    submit_many(r, 2, 50);
    while (r->first == r->count || r->messages[r->first].type != SCH_EVENT_TOKEN_ALLOW) {
        deliver(r);
        if (r->first == r->count)
            tick(r);
    }
    struct message late = r->messages[r->first];
    ck_assert_uint_eq(late.to, 2);
    ck_assert_uint_gt(late.allowance.allowed.actions, 0);
    r->first = r->count = 0;
    restart(r, HOME);
    submit_many(r, 3, 50);
    settle(r, 100);
    ck_assert_uint_eq(used(r), 4);
    late.allowance.sequence += 10;
    late.allowance.allowed = (struct sch_use){.actions = 4, .cpu_milli = 4000};
    send(r, late);
    settle(r, 100);
    ck_assert_uint_eq(used(r), 4);
    turn(r, 500, ALL);
    ck_assert_uint_eq(r->finished, 100);
    region_free(r);
}
END_TEST

/* Its last report is lost: the home takes for used what is not, until others are short of it. */
START_TEST(a_lost_report_holds_nothing_back_for_long)
{
    struct region *r = region_new(6, 4);
    submit_many(r, 2, 2);
    settle(r, 10);
    ck_assert_uint_eq(r->out_count[2], 2);
    r->lost_percent = 100;
    finish(r, 2);
    finish(r, 2);
    settle(r, 10);
    r->lost_percent = 0;
    submit_many(r, 3, 50);
    settle(r, 100);
    ck_assert_uint_eq(used(r), 2);
    settle(r, 1500);
    ck_assert_uint_eq(used(r), 4);
    region_free(r);
}
END_TEST

/* A partition that begins anew counts what may be out, and old allowances are not its own. */
START_TEST(a_new_partition_keeps_within_what_it_has)
{
    struct region *r = region_new(3, 4);
    submit_many(r, 2, 6);
    settle(r, 10);
    ck_assert_uint_eq(r->out_count[2], 4);
    struct sch_token_allowance old = {.partition = 2, .epoch = 1, .sequence = 99};
    old.allowed.actions = 100;
    send(r, (struct message){SCH_EVENT_TOKEN_ALLOW, 2, .allowance = old});
    restart(r, 2);
    struct world *w = &r->partitions[2];
    connect(r, 2);
    submit(r, 2);
    ck_assert_uint_eq(count(w, SCH_EFFECT_ASSIGN), 0);
    settle(r, 300);
    ck_assert_uint_eq(r->out_count[2], 1);
    region_free(r);
}
END_TEST

static void restore(struct region *r, uint32_t i, unsigned actions)
{
    struct world *w = &r->partitions[i];
    const char *clusters[] = {"east"};
    for (unsigned k = 1; k <= actions; k++) {
        char name[24];
        uint64_t id = (1ull << 40) | k;
        snprintf(name, sizeof(name), "old%u", k);
        (void)sch_partition_restore_run(w->p, id, "p", "d", name, 0, 1, 1, 0);
        (void)sch_partition_restore_action(w->p, &(struct sch_restore){.run_id = id,
                                                                       .action_id = id,
                                                                       .name = SCH_ROOT_NAME,
                                                                       .parent = "",
                                                                       .spec = &w->task,
                                                                       .queue = "q"});
    }
    sch_partition_restored(w->p, clusters, 1, r->now);
}

/* All that it has may be out, which is more than the limit, while its home goes on. */
START_TEST(a_new_partition_may_have_more_than_the_limit)
{
    struct region *r = region_new(4, 2);
    submit(r, 3);
    settle(r, 10);
    ck_assert_uint_eq(used(r), 1);
    restart(r, 2);
    r->first = r->count = 0; /* what it says before it has read everything goes nowhere */
    restore(r, 2, 6);
    at(r, 2, (struct sch_event){.type = SCH_EVENT_TOKEN_ASK, .u.token_ask.key = &the_queue});
    drain(r);
    settle(r, 10);
    submit(r, 3);
    settle(r, 10);
    ck_assert_uint_eq(used(r), 1); /* nothing new before it is known what is out */
    connect(r, 2);
    settle(r, 100);
    ck_assert_uint_eq(used(r), 2);
    region_free(r);
}
END_TEST

/* ---- the home alone ---- */

static void note(void *ctx, const struct sch_token_allowance *allowance)
{
    struct sch_token_allowance *said = ctx;
    said[allowance->partition] = *allowance;
}

static void hear(struct sch_tokens *tokens, const struct sch_token_allowance *said, uint64_t used,
                 uint64_t wanted)
{
    struct sch_token_report report = {.partition = said->partition,
                                      .epoch = 1,
                                      .term = 7,
                                      .sequence = said->sequence,
                                      .allowed = said->allowed,
                                      .used = {.actions = used > 0, .cpu_milli = used},
                                      .wanted = wanted,
                                      .next = {.actions = 1, .cpu_milli = 500}};
    ck_assert(sch_tokens_report(tokens, &report, 0));
}

static void asked(void *ctx, uint32_t partition, uint64_t term)
{
    (void)ctx;
    (void)partition;
    (void)term;
    ck_abort_msg("both are known");
}

static void hand_out(struct sch_tokens *tokens, struct sch_token_allowance *said)
{
    sch_tokens_settle(tokens, 0, &(struct sch_tokens_sink){note, asked, said});
}

/* Far below what two use: when that ends they may not both fill it up. What each is allowed then is
 * too little for a task, so one of them gets it all. */
START_TEST(a_lowered_limit_is_filled_once)
{
    const struct sch_use large = {.cpu_milli = 10000}, small = {.cpu_milli = 800};
    struct sch_token_allowance said[2] = {{.partition = 0, .allowed = {12, 5200}},
                                          {.partition = 1, .allowed = {7, 2300}}};
    struct sch_tokens *tokens = sch_tokens_new(2, &large, 7);
    hear(tokens, &said[0], 5200, 0);
    hear(tokens, &said[1], 2300, 0);
    hand_out(tokens, said);
    sch_tokens_limit(tokens, &small);
    hand_out(tokens, said);
    ck_assert_uint_le(said[0].allowed.cpu_milli + said[1].allowed.cpu_milli, 800);
    bool enough = false;
    for (unsigned i = 0; i < 10 && !enough; i++) {
        hear(tokens, &said[i % 2], 0, 1);
        hand_out(tokens, said);
        ck_assert_uint_le(said[0].allowed.cpu_milli + said[1].allowed.cpu_milli, 800);
        enough = said[0].allowed.cpu_milli >= 500 || said[1].allowed.cpu_milli >= 500;
    }
    ck_assert(enough);
    sch_tokens_free(tokens);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_limit_is_never_exceeded_and_all_ends,
                                  a_limit_that_is_lowered_lets_nothing_start_above_it,
                                  what_was_over_a_limit_goes_to_one_that_it_is_enough_for,
                                  partitions_share_a_limit,
                                  one_that_never_fits_stops_no_others,
                                  a_new_home_asks_first,
                                  a_home_before_allows_nothing,
                                  a_lost_report_holds_nothing_back_for_long,
                                  a_new_partition_keeps_within_what_it_has,
                                  a_new_partition_may_have_more_than_the_limit,
                                  a_lowered_limit_is_filled_once,
                                  NULL};
    return sy_test_run("sch_tokens", tests);
}
