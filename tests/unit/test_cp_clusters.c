/* links: cp */
/* Registered clusters: tokens, changes of a record, and who is let in. Pure. */
#pragma GCC diagnostic ignored "-Wcast-qual" /* protobuf-c's __INIT macros */

#include "base/mem.h"
#include "controlplane/cluster_health.h"
#include "controlplane/clusters.h"
#include "proto/pb.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#define NOW ((int64_t)1700000000 * SY_NS_PER_S)
#define HOUR (3600 * SY_NS_PER_S)

/* ---- records, kept by an adapter without an etcd ---- */

struct world {
    int64_t now_ns;
    struct sy_clock clock;
    struct sy_loop *loop;
    struct cp_coord *coord;
    const struct cp_roll *roll;
    struct sy_error_text error;
    enum cp_coord_result result;
};

static int64_t clock_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static void on_changed(void *ctx)
{
    (void)ctx;
}

static void refresh(struct world *w)
{
    const struct cp_roll *before = w->roll;
    w->roll = cp_roll_new(w->coord, "eu");
    cp_roll_unref(before);
}

static void open_world(struct world *w)
{
    *w = (struct world){.now_ns = SY_NS_PER_S};
    w->clock = (struct sy_clock){clock_ns, clock_ns, w};
    struct sy_loop_options options = {.clock = &w->clock, .without_epoll = true};
    ck_assert_int_eq(sy_loop_new(&w->loop, &options), 0);
    cp_coord_none_new(&w->coord, w->loop, NULL, &(struct cp_coord_sink){on_changed, w});
    refresh(w);
}

static void close_world(struct world *w)
{
    cp_roll_unref(w->roll);
    cp_coord_free(w->coord);
    sy_loop_free(w->loop);
}

static void on_written(void *ctx, enum cp_coord_result result)
{
    ((struct world *)ctx)->result = result;
}

static void put(struct world *w, const char *name, struct sy_buf *record)
{
    char key[CP_CLUSTER_KEY_SIZE];
    snprintf(key, sizeof(key), CP_CLUSTER_KEYS "%s", name);
    struct cp_coord_op op = {CP_COORD_PUT, key, sy_buf_span(record), CP_COORD_ANY};
    w->result = CP_COORD_UNKNOWN;
    cp_coord_write(w->coord, &op, 1, on_written, w);
    for (int i = 0; i < 3; i++)
        sy_loop_turn(w->loop);
    ck_assert_int_eq(w->result, CP_COORD_DONE);
    sy_buf_deinit(record);
    *record = (struct sy_buf){0};
    refresh(w);
}

static const struct cp_registered *find(struct world *w, const char *name)
{
    return cp_roll_find(w->roll, name);
}

/* Digests that differ by their first byte. */
static struct cp_new_token token(uint8_t byte, const Switchyard__V1__TokenSettings *settings)
{
    struct cp_new_token made = {.settings = settings};
    memset(made.digest, byte, sizeof(made.digest));
    return made;
}

static enum sy_code create(struct world *w, const char *name, uint8_t byte, uint32_t uses,
                           int64_t ttl_ns)
{
    Switchyard__V1__CreateClusterRequest m = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
    Switchyard__V1__TokenSettings settings = SWITCHYARD__V1__TOKEN_SETTINGS__INIT;
    struct sy_buf record = {0};
    settings.uses = uses;
    settings.ttl_ns = ttl_ns;
    m.name = (char *)name;
    m.region = (char *)"eu-west";
    m.labels = (char *)"zone=b,disk=ssd";
    m.core_price_micros = 7;
    struct cp_new_token made = token(byte, &settings);
    enum sy_code code = cp_cluster_create(find(w, name), &m, &made, NOW, &record, &w->error);
    if (code == SY_CODE_OK)
        put(w, name, &record);
    ck_assert_uint_eq(record.len, 0);
    return code;
}

static enum sy_code join(struct world *w, const char *name, uint8_t byte, uint8_t identity,
                         int64_t now_ns)
{
    struct cp_token shown = {0};
    uint8_t digest[SY_SHA256_BYTES];
    struct sy_buf record = {0};
    snprintf(shown.cluster, sizeof(shown.cluster), "%s", name);
    memset(shown.digest, byte, sizeof(shown.digest));
    memset(digest, identity, sizeof(digest));
    enum sy_code code = cp_cluster_join(find(w, name), &shown, digest, now_ns, &record, &w->error);
    if (record.len > 0)
        put(w, name, &record);
    return code;
}

static enum cp_admission admit(struct world *w, bool required, const char *name, int identity)
{
    struct cp_identity shown = {.shown = identity >= 0};
    memset(shown.digest, identity, sizeof(shown.digest));
    w->error.text[0] = '\0';
    return cp_roll_admit(w->roll, required, name, &shown, &w->error);
}

#define SAYS(w, words)                                                                             \
    ck_assert_msg(strstr((w)->error.text, words) != NULL, "'%s' is not in: %s", words,             \
                  (w)->error.text)

/* ---- tokens ---- */

START_TEST(a_token_names_its_region_and_cluster)
{
    uint8_t secret[CP_SECRET_BYTES] = {1, 2, 0xab}, digest[SY_SHA256_BYTES];
    struct cp_token read;
    struct sy_error_text error;
    SY_CLEANUP(sy_buf_deinit) struct sy_buf text = {0};
    sy_sha256((struct sy_span){secret, sizeof(secret)}, digest);
    cp_token_put(&text, "eu", "gpu.east-1", secret);
    sy_buf_append(&text, "", 1);
    ck_assert_int_eq(cp_token_read((const char *)text.data, &read, &error), 0);
    ck_assert_str_eq(read.region, "eu");
    ck_assert_str_eq(read.cluster, "gpu.east-1");
    ck_assert_mem_eq(read.digest, digest, sizeof(digest));
}
END_TEST

START_TEST(what_is_no_token_is_refused_without_being_shown)
{
    static const char hex[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeef";
    static const struct {
        const char *before, *after; /* of 63 digits */
    } wrong[] = {
        {"", "0"},
        {"sy-join:eu:c:", ""},   /* a digit is missing */
        {"sy-join:eu:c:", "00"}, /* one too many */
        {"sy-join:eu:c:", "g"},  /* not hex */
        {"sy-join:eu:c:", "F"},  /* upper case */
        {"sy-join:eu:", "0"},    /* no cluster */
        {"sy-join::c:", "0"},    /* no region */
        {"sy-join:e u:c:", "0"}, /* no name */
        {"join:eu:c:", "0"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(wrong); i++) {
        struct cp_token read;
        struct sy_error_text error = {0};
        char text[256];
        snprintf(text, sizeof(text), "%s%s%s", wrong[i].before, hex, wrong[i].after);
        ck_assert_msg(cp_token_read(text, &read, &error) == -EINVAL, "%s", text);
        ck_assert_ptr_nonnull(strstr(error.text, "this is no token"));
        ck_assert_ptr_null(strstr(error.text, "8899aabb"));
    }
}
END_TEST

/* ---- life of a registration ---- */

START_TEST(a_name_is_registered_once)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(create(&w, "c", 1, 0, 0), SY_CODE_OK);
    const cp_cluster_record *record = find(&w, "c")->record;
    ck_assert_str_eq(record->labels, "disk=ssd,zone=b"); /* in the order of keys */
    ck_assert_str_eq(record->region, "eu-west");
    ck_assert_uint_eq(record->n_tokens, 1);
    ck_assert_uint_eq(record->tokens[0]->uses_max, 1);
    ck_assert_int_eq(record->tokens[0]->expires_ns, NOW + CP_TOKEN_TTL_DEFAULT_NS);
    ck_assert_int_eq(create(&w, "c", 2, 0, 0), SY_CODE_ALREADY_EXISTS);
    SAYS(&w, "cluster c is registered already");
    ck_assert_uint_eq(find(&w, "c")->record->n_tokens, 1);
    ck_assert_ptr_null(find(&w, "d"));
    close_world(&w);
}
END_TEST

START_TEST(a_counted_token_is_used_up)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(create(&w, "c", 1, 2, 0), SY_CODE_OK);
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW), SY_CODE_OK);
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW), SY_CODE_OK); /* its answer was lost */
    ck_assert_uint_eq(find(&w, "c")->record->tokens[0]->uses, 1);
    ck_assert_uint_eq(find(&w, "c")->record->n_operators, 1);
    ck_assert_int_eq(join(&w, "c", 1, 102, NOW), SY_CODE_OK);
    ck_assert_int_eq(join(&w, "c", 1, 103, NOW), SY_CODE_UNAUTHENTICATED);
    SAYS(&w, "token 1 of cluster c is used up: 2 of 2 operators");
    ck_assert_int_eq(join(&w, "c", 1, 102, NOW), SY_CODE_OK); /* whatever became of the token */
    ck_assert_int_eq(join(&w, "c", 9, 101, NOW + 2 * HOUR), SY_CODE_OK);
    close_world(&w);
}
END_TEST

START_TEST(a_token_that_is_over_says_how)
{
    struct world w;
    struct sy_buf record = {0};
    open_world(&w);
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW), SY_CODE_NOT_FOUND);
    SAYS(&w, "cluster c is not registered");
    ck_assert_int_eq(create(&w, "c", 1, 5, HOUR), SY_CODE_OK);
    ck_assert_int_eq(join(&w, "c", 2, 101, NOW), SY_CODE_UNAUTHENTICATED);
    SAYS(&w, "cluster c has no such token");
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW + HOUR), SY_CODE_UNAUTHENTICATED);
    SAYS(&w, "token 1 of cluster c expired at 2023-11-14T23:13:20Z");
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW + HOUR - 1), SY_CODE_OK);
    ck_assert_int_eq(cp_cluster_revoke_token(find(&w, "c"), "c", 1, &record, &w.error), SY_CODE_OK);
    put(&w, "c", &record);
    ck_assert_int_eq(join(&w, "c", 1, 102, NOW), SY_CODE_UNAUTHENTICATED);
    SAYS(&w, "token 1 of cluster c was revoked");
    ck_assert_int_eq(admit(&w, true, "c", 101), CP_ADMITTED); /* who has joined stays */
    ck_assert_int_eq(cp_cluster_revoke_token(find(&w, "c"), "c", 1, &record, &w.error), SY_CODE_OK);
    ck_assert_uint_eq(record.len, 0); /* it is so already */
    ck_assert_int_eq(cp_cluster_revoke_token(find(&w, "c"), "c", 2, &record, &w.error),
                     SY_CODE_NOT_FOUND);
    SAYS(&w, "cluster c has no token 2");
    ck_assert_int_eq(cp_cluster_revoke_token(NULL, "d", 1, &record, &w.error), SY_CODE_NOT_FOUND);
    close_world(&w);
}
END_TEST

static enum sy_code add_token(struct world *w, uint8_t byte, int64_t now_ns)
{
    struct cp_new_token made = token(byte, NULL);
    struct sy_buf record = {0};
    enum sy_code code = cp_cluster_add_token(find(w, "c"), "c", &made, now_ns, &record, &w->error);
    if (code == SY_CODE_OK)
        put(w, "c", &record);
    return code;
}

START_TEST(tokens_are_bounded_and_make_room)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(add_token(&w, 1, NOW), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(create(&w, "c", 1, 0, 0), SY_CODE_OK);
    for (uint8_t i = 2; i <= CP_CLUSTER_TOKENS_MAX; i++)
        ck_assert_int_eq(add_token(&w, i, NOW), SY_CODE_OK);
    ck_assert_int_eq(add_token(&w, 200, NOW), SY_CODE_RESOURCE_EXHAUSTED);
    SAYS(&w, "has 32 tokens that can be used");
    ck_assert_int_eq(join(&w, "c", 5, 101, NOW), SY_CODE_OK); /* it is used up */
    ck_assert_int_eq(add_token(&w, 200, NOW), SY_CODE_OK);
    const cp_cluster_record *record = find(&w, "c")->record;
    ck_assert_uint_eq(record->n_tokens, CP_CLUSTER_TOKENS_MAX);
    ck_assert_uint_eq(record->tokens[4]->number, 6);
    ck_assert_uint_eq(record->tokens[CP_CLUSTER_TOKENS_MAX - 1]->number, CP_CLUSTER_TOKENS_MAX + 1);
    ck_assert_int_eq(add_token(&w, 201, NOW + 2 * HOUR), SY_CODE_OK); /* all have expired */
    close_world(&w);
}
END_TEST

START_TEST(operators_are_bounded)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(create(&w, "c", 1, 1000, 0), SY_CODE_OK);
    for (uint8_t i = 0; i < CP_CLUSTER_OPERATORS_MAX; i++)
        ck_assert_int_eq(join(&w, "c", 1, (uint8_t)(100 + i), NOW), SY_CODE_OK);
    ck_assert_int_eq(join(&w, "c", 1, 99, NOW), SY_CODE_FAILED_PRECONDITION);
    SAYS(&w, "64 operators have joined cluster c");
    close_world(&w);
}
END_TEST

/* ---- what people say of one ---- */

static bool written; /* by the last order */

static enum sy_code say_until(struct world *w, const char *name, enum cp_cluster_verb verb,
                              int64_t deadline_ns)
{
    struct sy_buf record = {0};
    const struct cp_cluster_order order = {verb, deadline_ns};
    enum sy_code code = cp_cluster_order(find(w, name), name, &order, &record, &w->error);
    ck_assert(code == SY_CODE_OK || record.len == 0);
    written = record.len > 0;
    if (record.len > 0)
        put(w, name, &record);
    return code;
}

static enum sy_code say(struct world *w, const char *name, enum cp_cluster_verb verb)
{
    return say_until(w, name, verb, 0);
}

#define STANDINGS 4
#define VERBS 5

START_TEST(every_verb_of_every_standing)
{
    static const enum cp_cluster_verb verbs[VERBS] = {CP_CLUSTER_CORDON, CP_CLUSTER_UNCORDON,
                                                      CP_CLUSTER_DRAIN, CP_CLUSTER_FENCE,
                                                      CP_CLUSTER_UNFENCE};
    static const enum cp_cluster_verb to[STANDINGS] = {[CP_STANDING(OPEN)] = CP_CLUSTER_UNCORDON,
                                                       [CP_STANDING(CORDONED)] = CP_CLUSTER_CORDON,
                                                       [CP_STANDING(FENCED)] = CP_CLUSTER_FENCE,
                                                       [CP_STANDING(DRAINING)] = CP_CLUSTER_DRAIN};
    enum { O = CP_STANDING(OPEN), C = CP_STANDING(CORDONED), F = CP_STANDING(FENCED) };
    enum { D = CP_STANDING(DRAINING), NO = -1 };
    static const int after[STANDINGS][VERBS] = {[O] = {C, O, D, F, O},
                                                [C] = {C, O, D, F, NO},
                                                [F] = {NO, NO, NO, F, O},
                                                [D] = {C, O, D, F, NO}};
    struct world w;
    open_world(&w);
    ck_assert_int_eq(say(&w, "c", CP_CLUSTER_FENCE), SY_CODE_NOT_FOUND);
    SAYS(&w, "cluster c is not registered");
    ck_assert_int_eq(create(&w, "c", 1, 0, 0), SY_CODE_OK);
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW), SY_CODE_OK);
    for (int from = 0; from < STANDINGS; from++) {
        for (int verb = 0; verb < VERBS; verb++) {
            (void)say(&w, "c", CP_CLUSTER_UNFENCE);
            (void)say(&w, "c", CP_CLUSTER_UNCORDON);
            ck_assert_int_eq(say(&w, "c", to[from]), SY_CODE_OK);
            ck_assert_int_eq(cp_roll_standing(w.roll, "c"), from);
            int then = after[from][verb] == NO ? from : after[from][verb];
            ck_assert_int_eq(say(&w, "c", verbs[verb]),
                             after[from][verb] == NO ? SY_CODE_FAILED_PRECONDITION : SY_CODE_OK);
            ck_assert(written == (then != from));
            ck_assert_int_eq(cp_roll_standing(w.roll, "c"), then);
            ck_assert_int_eq(admit(&w, true, "c", 101),
                             then == F ? CP_ADMISSION_FENCED : CP_ADMITTED);
        }
    }
    ck_assert_int_eq(say(&w, "c", CP_CLUSTER_FENCE), SY_CODE_OK);
    ck_assert_int_eq(admit(&w, false, "c", -1), CP_ADMISSION_FENCED); /* whoever he is */
    SAYS(&w, "cluster c is fenced");
    ck_assert_int_eq(find(&w, "c")->record->n_operators, 1); /* nothing else is changed */
    ck_assert_int_eq(cp_roll_standing(w.roll, "d"), CP_STANDING(OPEN));
    ck_assert_int_eq(cp_roll_standing(NULL, "c"), CP_STANDING(OPEN));
    uint64_t fences = cp_roll_fences(w.roll, "c"); /* each is another one; said twice it is one */
    ck_assert_int_eq(say(&w, "c", CP_CLUSTER_FENCE), SY_CODE_OK);
    ck_assert_uint_eq(cp_roll_fences(w.roll, "c"), fences);
    ck_assert_int_eq(say(&w, "c", CP_CLUSTER_UNFENCE), SY_CODE_OK);
    ck_assert_uint_eq(cp_roll_fences(w.roll, "c"), fences);
    ck_assert_int_eq(say(&w, "c", CP_CLUSTER_FENCE), SY_CODE_OK);
    ck_assert_uint_eq(cp_roll_fences(w.roll, "c"), fences + 1);
    ck_assert_uint_eq(cp_roll_fences(w.roll, "d"), 0);
    close_world(&w);
}
END_TEST

START_TEST(a_drain_has_a_deadline_until_it_is_taken_back)
{
    static const enum cp_cluster_verb ends[] = {CP_CLUSTER_UNCORDON, CP_CLUSTER_CORDON,
                                                CP_CLUSTER_FENCE};
    struct world w;
    open_world(&w);
    ck_assert_int_eq(say(&w, "c", CP_CLUSTER_DRAIN), SY_CODE_NOT_FOUND);
    SAYS(&w, "cluster c is not registered");
    ck_assert_int_eq(create(&w, "c", 1, 0, 0), SY_CODE_OK);
    for (size_t i = 0; i < SY_COUNT_OF(ends); i++) {
        ck_assert_int_eq(say_until(&w, "c", CP_CLUSTER_DRAIN, NOW + HOUR), SY_CODE_OK);
        ck_assert_int_eq(cp_roll_drain_deadline_ns(w.roll, "c"), NOW + HOUR);
        int64_t newest = cp_roll_newest(w.roll);
        ck_assert_int_eq(newest, find(&w, "c")->revision);
        ck_assert_int_eq(say_until(&w, "c", CP_CLUSTER_DRAIN, NOW + HOUR), SY_CODE_OK);
        ck_assert(!written);
        ck_assert_int_eq(say_until(&w, "c", CP_CLUSTER_DRAIN, NOW + 2 * HOUR), SY_CODE_OK);
        ck_assert_int_eq(cp_roll_drain_deadline_ns(w.roll, "c"), NOW + 2 * HOUR);
        ck_assert_int_gt(cp_roll_newest(w.roll), newest);
        ck_assert_int_eq(say(&w, "c", CP_CLUSTER_DRAIN), SY_CODE_OK); /* for ever */
        ck_assert(written);
        ck_assert_int_eq(cp_roll_drain_deadline_ns(w.roll, "c"), 0);
        ck_assert_int_eq(say_until(&w, "c", CP_CLUSTER_DRAIN, NOW), SY_CODE_OK);
        ck_assert_int_eq(say(&w, "c", CP_CLUSTER_UNFENCE), SY_CODE_FAILED_PRECONDITION);
        SAYS(&w, "cluster c is drained, not fenced");
        ck_assert_int_eq(say(&w, "c", ends[i]), SY_CODE_OK);
        ck_assert_int_eq(cp_roll_drain_deadline_ns(w.roll, "c"), 0);
    }
    ck_assert_int_eq(say_until(&w, "c", CP_CLUSTER_DRAIN, NOW), SY_CODE_FAILED_PRECONDITION);
    SAYS(&w, "cluster c is fenced: unfence it first");
    ck_assert_int_eq(say(&w, "c", CP_CLUSTER_UNFENCE), SY_CODE_OK);
    ck_assert_int_eq(cp_roll_standing(w.roll, "c"), CP_STANDING(OPEN));
    ck_assert_int_eq(cp_roll_drain_deadline_ns(w.roll, "d"), 0);
    ck_assert_int_eq(cp_roll_drain_deadline_ns(NULL, "c"), 0);
    close_world(&w);
}
END_TEST

START_TEST(how_far_a_drain_is_in_words)
{
    static const struct {
        Switchyard__V1__Drain drain;
        uint64_t stopping;
        const char *words;
    } cases[] = {
        {{}, 0, "nothing is left there"},
        {{.running = 2, .waiting = 3}, 0, "nothing new goes there; 2 still run, 3 wait there"},
        {{.running = 1, .deadline_ns = NOW}, 0, "what runs is stopped at 2023-11-14T22:13:20Z"},
        {{.unknown = 2}, 0, "2 partitions cannot say yet"},
        {{}, 4, "its agents have 4 that are not wanted any more"},
    };
    struct sy_error_text text;
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        cp_cluster_drain_reason(&cases[i].drain, cases[i].stopping, &text);
        ck_assert_msg(strstr(text.text, cases[i].words) != NULL, "%s", text.text);
        ck_assert((strstr(text.text, "stopped at") != NULL) == (cases[i].drain.deadline_ns != 0));
    }
}
END_TEST

/* ---- who is let in ---- */

START_TEST(whoever_is_not_registered_is_let_in_unless_that_is_required)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(admit(&w, false, "c", -1), CP_ADMITTED);
    ck_assert_int_eq(admit(&w, true, "c", -1), CP_ADMISSION_REFUSED);
    SAYS(&w, "registration is required here; start its operator with --join TOKEN");
    ck_assert_int_eq(admit(&w, false, "c", 101), CP_ADMISSION_REFUSED); /* of elsewhere */
    SAYS(&w, "it is not registered");
    ck_assert_int_eq(create(&w, "c", 1, 0, 0), SY_CODE_OK);
    ck_assert_int_eq(admit(&w, false, "c", -1), CP_ADMITTED); /* until somebody has joined */
    ck_assert_int_eq(admit(&w, false, "c", 101), CP_ADMISSION_REFUSED);
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW), SY_CODE_OK);
    for (int required = 0; required < 2; required++) {
        ck_assert_int_eq(admit(&w, required, "c", 101), CP_ADMITTED);
        ck_assert_int_eq(admit(&w, required, "c", 102), CP_ADMISSION_REFUSED);
        SAYS(&w, "its operator's identity has not joined it");
        ck_assert_int_eq(admit(&w, required, "c", -1), CP_ADMISSION_REFUSED);
        ck_assert_int_eq(admit(&w, required, "d", 101), CP_ADMISSION_REFUSED); /* of c only */
    }
    ck_assert_int_eq(cp_admission_code(CP_ADMISSION_REFUSED), SY_CODE_UNAUTHENTICATED);
    close_world(&w);
}
END_TEST

START_TEST(before_anything_was_read_only_open_regions_let_in)
{
    struct cp_identity none = {0};
    struct sy_error_text error = {0};
    ck_assert_int_eq(cp_roll_admit(NULL, false, "c", &none, &error), CP_ADMITTED);
    ck_assert_int_eq(cp_roll_admit(NULL, true, "c", &none, &error), CP_ADMISSION_UNKNOWN);
    ck_assert_int_eq(cp_admission_code(CP_ADMISSION_UNKNOWN), SY_CODE_UNAVAILABLE);
}
END_TEST

START_TEST(a_damaged_record_lets_nobody_in_and_is_not_overwritten)
{
    struct world w;
    struct sy_buf junk = {0};
    open_world(&w);
    sy_buf_append(&junk, "\xff\xff\xff", 3);
    put(&w, "c", &junk);
    ck_assert_ptr_null(find(&w, "c")->record);
    ck_assert_int_eq(admit(&w, false, "c", -1), CP_ADMISSION_UNKNOWN);
    SAYS(&w, "the record of cluster c is damaged");
    ck_assert_int_eq(create(&w, "c", 1, 0, 0), SY_CODE_ALREADY_EXISTS);
    SAYS(&w, "and its record is damaged");
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW), SY_CODE_INTERNAL);
    cp_cluster_record record = SWITCHYARD__INTERNAL__REGION__CLUSTER_RECORD__INIT;
    ProtobufCBinaryData short_digest = {3, (uint8_t *)"abc"};
    record.former = &short_digest;
    record.n_former = 1;
    pb_pack(&record.base, &junk);
    put(&w, "c", &junk);
    ck_assert_ptr_null(find(&w, "c")->record);
    close_world(&w);
}
END_TEST

START_TEST(a_roll_tells_whether_it_is_still_the_newest)
{
    struct world w;
    open_world(&w);
    ck_assert(cp_roll_is_of(w.roll, w.coord));
    const struct cp_roll *before = cp_roll_ref(w.roll);
    ck_assert_int_eq(create(&w, "b", 1, 0, 0), SY_CODE_OK);
    ck_assert(!cp_roll_is_of(before, w.coord));
    ck_assert(cp_roll_is_of(w.roll, w.coord));
    cp_roll_unref(before);
    before = cp_roll_ref(w.roll);
    ck_assert_int_eq(join(&w, "b", 1, 101, NOW), SY_CODE_OK);
    ck_assert(!cp_roll_is_of(before, w.coord));
    ck_assert_ptr_nonnull(cp_roll_find(before, "b")); /* as it was */
    ck_assert_uint_eq(cp_roll_find(before, "b")->record->n_operators, 0);
    cp_roll_unref(before);
    close_world(&w);
}
END_TEST

/* ---- the end ---- */

static enum sy_code delete (struct world *w, const char *name) {
    struct sy_buf record = {0};
    enum sy_code code = cp_cluster_delete(find(w, name), name, NOW, &record, &w->error);
    if (code == SY_CODE_OK) put(w, name, &record);
    return code;
}

START_TEST(who_had_joined_a_deleted_cluster_is_told_so_for_ever)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(delete (&w, "c"), SY_CODE_NOT_FOUND);
    ck_assert_int_eq(create(&w, "c", 1, 2, 0), SY_CODE_OK);
    ck_assert_int_eq(join(&w, "c", 1, 101, NOW), SY_CODE_OK);
    ck_assert_int_eq(delete (&w, "c"), SY_CODE_OK);
    ck_assert(cp_registered_deleted(find(&w, "c")));
    ck_assert_int_eq(delete (&w, "c"), SY_CODE_NOT_FOUND);
    SAYS(&w, "cluster c is not registered: it was deleted");
    ck_assert_int_eq(admit(&w, false, "c", 101), CP_ADMISSION_DELETED);
    SAYS(&w, "cluster c was deleted from region eu");
    ck_assert_int_eq(admit(&w, false, "c", -1), CP_ADMISSION_DELETED);
    ck_assert_int_eq(cp_admission_code(CP_ADMISSION_DELETED), SY_CODE_PERMISSION_DENIED);
    ck_assert_int_eq(join(&w, "c", 1, 102, NOW), SY_CODE_NOT_FOUND); /* nor by its tokens */
    ck_assert_int_eq(create(&w, "c", 2, 0, 0), SY_CODE_OK);          /* another of its name */
    ck_assert_uint_eq(find(&w, "c")->record->n_operators, 0);
    ck_assert_int_eq(admit(&w, false, "c", 101), CP_ADMISSION_DELETED);
    ck_assert_int_eq(admit(&w, false, "c", 102), CP_ADMISSION_REFUSED);
    ck_assert_int_eq(join(&w, "c", 1, 102, NOW), SY_CODE_UNAUTHENTICATED); /* an old token */
    ck_assert_int_eq(join(&w, "c", 2, 101, NOW), SY_CODE_FAILED_PRECONDITION);
    SAYS(&w, "remove the file identity from its data_dir");
    ck_assert_int_eq(join(&w, "c", 2, 102, NOW), SY_CODE_OK);
    ck_assert_int_eq(admit(&w, true, "c", 102), CP_ADMITTED);
    close_world(&w);
}
END_TEST

START_TEST(what_is_remembered_of_deleted_ones_is_bounded)
{
    struct world w;
    open_world(&w);
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(create(&w, "c", 1, 1000, 0), SY_CODE_OK);
        for (int i = 0; i < 40; i++)
            ck_assert_int_eq(join(&w, "c", 1, (uint8_t)(60 * round + i), NOW), SY_CODE_OK);
        ck_assert_int_eq(delete (&w, "c"), SY_CODE_OK);
    }
    ck_assert_uint_eq(find(&w, "c")->record->n_former, CP_CLUSTER_FORMER_MAX);
    ck_assert_int_eq(create(&w, "c", 1, 0, 0), SY_CODE_OK);
    ck_assert_int_eq(admit(&w, false, "c", 2 * 60 + 39), CP_ADMISSION_DELETED); /* the newest */
    ck_assert_int_eq(admit(&w, false, "c", 0), CP_ADMISSION_REFUSED);
    close_world(&w);
}
END_TEST

/* ---- bad requests ---- */

START_TEST(what_cannot_be_meant_is_refused)
{
    Switchyard__V1__TokenSettings settings = SWITCHYARD__V1__TOKEN_SETTINGS__INIT;
    struct sy_error_text error;
    static const struct {
        const char *name, *region, *labels;
        int64_t price;
        uint32_t uses;
        int64_t ttl_ns;
        const char *word; /* NULL: fine */
    } cases[] = {
        {"c", "", "", 0, 0, 0, NULL},
        {"c", "eu", "a=b", 1, 1000, CP_TOKEN_TTL_MAX_NS, NULL},
        {"", "", "", 0, 0, 0, "name"},
        {"a/b", "", "", 0, 0, 0, "name"},
        {"a:b", "", "", 0, 0, 0, "name"}, /* tokens are split there */
        {"c", "e u", "", 0, 0, 0, "region"},
        {"c", "", "a=b,,", 0, 0, 0, "labels"},
        {"c", "", "a b", 0, 0, 0, "labels"},
        {"c", "", "", -1, 0, 0, "core_price_micros"},
        {"c", "", "", 0, 1001, 0, "token.uses"},
        {"c", "", "", 0, 0, -1, "token.ttl_ns"},
        {"c", "", "", 0, 0, CP_TOKEN_TTL_MAX_NS + 1, "token.ttl_ns"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        Switchyard__V1__CreateClusterRequest m = SWITCHYARD__V1__CREATE_CLUSTER_REQUEST__INIT;
        m.name = (char *)cases[i].name;
        m.region = (char *)cases[i].region;
        m.labels = (char *)cases[i].labels;
        m.core_price_micros = cases[i].price;
        settings.uses = cases[i].uses;
        settings.ttl_ns = cases[i].ttl_ns;
        m.token = &settings;
        error.text[0] = '\0';
        int r = cp_cluster_request_check(&m, &error);
        ck_assert_msg(r == (cases[i].word ? -EINVAL : 0), "case %zu: %s", i, error.text);
        if (cases[i].word)
            ck_assert_msg(strstr(error.text, cases[i].word) != NULL, "case %zu: %s", i, error.text);
    }
}
END_TEST

/* ---- health ---- */

START_TEST(health_is_said_in_words)
{
    static const struct {
        struct cp_cluster_health health;
        const char *word; /* NULL: nothing is said */
    } cases[] = {
        {{.state = "ready", .nodes = 2, .nodes_ready = 2, .partitions = 3, .connected = 3}, NULL},
        {{.state = "ready", .nodes = 2, .nodes_ready = 1, .partitions = 3, .connected = 3},
         "1 of 2 nodes are not ready"},
        {{.state = "ready", .partitions = 1, .connected = 1}, "no agent has attached"},
        {{.state = "ready", .nodes = 1, .nodes_ready = 1, .partitions = 3, .connected = 1},
         "no stream with 2 of 3 partitions"},
        {{.state = "lost", .silent_ns = NOW}, "since 2023-11-14T22:13:20Z: what it runs goes"},
        {{.state = "gone", .silent_ns = NOW}, "what it ran was given to others"},
        {{.state = "registered", .token_valid = true}, "no operator has joined yet"},
        {{.state = "registered"}, "no token of it is valid any more"},
        {{.state = "deleting"}, "a partition has not given up its work yet"},
        {{.state = "registered", .joined = 1}, "has not been seen since"},
    };
    for (size_t i = 0; i < SY_COUNT_OF(cases); i++) {
        struct sy_error_text text;
        cp_cluster_reason(&cases[i].health, &text);
        if (cases[i].word != NULL)
            ck_assert_msg(strstr(text.text, cases[i].word) != NULL, "case %zu: %s", i, text.text);
        else
            ck_assert_str_eq(text.text, "");
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_token_names_its_region_and_cluster,
                                  what_is_no_token_is_refused_without_being_shown,
                                  a_name_is_registered_once,
                                  a_counted_token_is_used_up,
                                  a_token_that_is_over_says_how,
                                  tokens_are_bounded_and_make_room,
                                  operators_are_bounded,
                                  every_verb_of_every_standing,
                                  a_drain_has_a_deadline_until_it_is_taken_back,
                                  how_far_a_drain_is_in_words,
                                  whoever_is_not_registered_is_let_in_unless_that_is_required,
                                  before_anything_was_read_only_open_regions_let_in,
                                  a_damaged_record_lets_nobody_in_and_is_not_overwritten,
                                  a_roll_tells_whether_it_is_still_the_newest,
                                  who_had_joined_a_deleted_cluster_is_told_so_for_ever,
                                  what_is_remembered_of_deleted_ones_is_bounded,
                                  what_cannot_be_meant_is_refused,
                                  health_is_said_in_words,
                                  NULL};
    return sy_test_run("clusters", tests);
}
