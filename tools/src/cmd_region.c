/* switchyard region: its shards, who has what, and orders about that. */
#include "tools/src/cmd_region.h"

#include "base/mem.h"
#include "tools/src/cl_json.h"
#include "tools/src/cl_table.h"
#include "tools/src/cl_text.h"

#include <stdio.h>
#include <stdlib.h>

#define COLUMNS(array) (sizeof(array) / sizeof((array)[0]))

struct number {
    char text[16];
};

static struct number number(uint32_t n)
{
    struct number number;
    snprintf(number.text, sizeof(number.text), "%u", n);
    return number;
}

static void print_table(struct cl_table *table)
{
    cl_table_print(table, stdout, cl_terminal_width(stdout), 0);
    cl_table_free(table);
    fflush(stdout);
}

/* ---- shards, map ---- */

static const struct cl_column shard_columns[] = {
    {"SHARD", false, 6, 0}, {"STATE", false, 0, 0},   {"PARTITIONS", true, 0, 1},
    {"SINCE", false, 0, 4}, {"VERSION", false, 6, 3}, {"ENDPOINT", false, 8, 2},
};

static void print_shards(const Switchyard__V1__GetRegionMapResponse *map)
{
    struct cl_table *table = cl_table_new(shard_columns, COLUMNS(shard_columns));
    for (size_t i = 0; i < map->n_shards; i++) {
        const Switchyard__V1__Shard *s = map->shards[i];
        struct number partitions = number(s->partitions);
        struct cl_short since = cl_format_time(s->since_ns);
        const char *cells[] = {s->name,    s->state,   partitions.text,
                               since.text, s->version, s->endpoint};
        cl_table_add(table, cells);
    }
    print_table(table);
}

static const struct cl_column place_columns[] = {
    {"PARTITION", true, 0, 0}, {"SHARD", false, 6, 0},   {"STATE", false, 0, 0},
    {"WANTED", false, 6, 1},   {"GOES TO", false, 7, 2},
};

static const struct cl_column copy_columns[] = {
    {"PARTITION", true, 0, 0}, {"SHARD", false, 6, 0},   {"STATE", false, 0, 0},
    {"STANDBY", false, 6, 0},  {"IN SYNC", false, 0, 0}, {"WANTED", false, 6, 1},
    {"GOES TO", false, 7, 2},
};

/* With local storage. */
static void print_copies(const Switchyard__V1__GetRegionMapResponse *map)
{
    struct cl_table *table = cl_table_new(copy_columns, COLUMNS(copy_columns));
    for (size_t i = 0; i < map->n_partitions; i++) {
        const Switchyard__V1__PartitionPlace *p = map->partitions[i];
        struct number partition = number(p->partition);
        struct sy_error_text state = {0}, in_sync = {0};
        sy_error_text_set(&state, "%s", p->opening ? "opening" : *p->shard ? "owned" : "free");
        if (p->n_waits_for > 0)
            sy_error_text_set(&state, "waits for %.80s%s%.80s", p->waits_for[0],
                              p->n_waits_for > 1 ? " or " : "",
                              p->n_waits_for > 1 ? p->waits_for[1] : "");
        if (p->in_sync)
            sy_error_text_set(&in_sync, "yes");
        else if (p->alone_since_ns != 0)
            sy_error_text_set(&in_sync, "no, since %s", cl_format_time(p->alone_since_ns).text);
        else
            sy_error_text_set(&in_sync, "no");
        const char *cells[] = {partition.text, p->shard,  state.text, p->standby,
                               in_sync.text,   p->wanted, p->target};
        cl_table_add(table, cells);
    }
    print_table(table);
}

static void print_places(const Switchyard__V1__GetRegionMapResponse *map)
{
    struct cl_table *table = cl_table_new(place_columns, COLUMNS(place_columns));
    for (size_t i = 0; i < map->n_partitions; i++) {
        const Switchyard__V1__PartitionPlace *p = map->partitions[i];
        struct number partition = number(p->partition);
        const char *state = p->opening ? "opening" : *p->shard ? "owned" : "free";
        const char *cells[] = {partition.text, p->shard, state, p->wanted, p->target};
        cl_table_add(table, cells);
    }
    print_table(table);
}

static enum cl_exit show(struct cl_client *client, const struct cl_region_options *options,
                         struct cl_error *error)
{
    Switchyard__V1__GetRegionMapRequest request = SWITCHYARD__V1__GET_REGION_MAP_REQUEST__INIT;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__GetRegionMapResponse *map = cl_call(client, &cl_get_region_map,
                                                              &request.base, &arena, error);
    if (map && options->common.json) {
        cl_json_document(cl_json_message(&map->base), stdout);
    } else if (map) {
        if (options->verb == CL_REGION_SHARDS)
            print_shards(map);
        else if (map->local)
            print_copies(map);
        else
            print_places(map);
        char *shard = cl_text_clean(map->shard), *trouble = cl_text_clean(map->trouble);
        if (*trouble && map->session_left_ns > 0)
            fprintf(stderr, "shard %s: %s\n", shard, trouble);
        else if (*trouble)
            fprintf(stderr, "this is what shard %s knew last: %s\n", shard, trouble);
        free(shard);
        free(trouble);
    }
    sy_arena_deinit(&arena);
    return error->exit;
}

/* ---- orders that are answered once ---- */

static enum cl_exit move(struct cl_client *client, const struct cl_region_options *options,
                         struct cl_error *error)
{
    Switchyard__V1__MovePartitionRequest request = SWITCHYARD__V1__MOVE_PARTITION_REQUEST__INIT;
    request.partition = options->partition;
    if (options->shard)
        request.shard = cl_unconst(options->shard);
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__MovePartitionResponse *response = cl_call(client, &cl_move_partition,
                                                                    &request.base, &arena, error);
    if (response && options->common.json) {
        json_t *document = json_object();
        cl_json_int(document, "partition", options->partition);
        cl_json_str(document, "shard", response->shard);
        cl_json_document(document, stdout);
    } else if (response) {
        char *shard = cl_text_clean(response->shard);
        printf("partition %u is on shard %s\n", options->partition, shard);
        free(shard);
    }
    sy_arena_deinit(&arena);
    return error->exit;
}

static enum cl_exit use_copy(struct cl_client *client, const struct cl_region_options *options,
                             struct cl_error *error)
{
    Switchyard__V1__UseCopyRequest request = SWITCHYARD__V1__USE_COPY_REQUEST__INIT;
    request.partition = options->partition;
    request.shard = cl_unconst(options->shard);
    request.sure = options->sure;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__UseCopyResponse *response = cl_call(client, &cl_use_copy, &request.base,
                                                              &arena, error);
    if (response && options->common.json)
        cl_json_document(cl_json_message(&response->base), stdout);
    else if (response && options->sure)
        printf("partition %u goes on with the copy of shard %s\n", options->partition,
               options->shard);
    else if (response)
        printf("the copy of partition %u on shard %s was last written at %s; what came later is "
               "lost if the partition goes on with it: nothing was changed, repeat with --sure\n",
               options->partition, options->shard, cl_format_time(response->changed_ns).text);
    sy_arena_deinit(&arena);
    return error->exit;
}

static enum cl_exit split(struct cl_client *client, const struct cl_region_options *options,
                          struct cl_error *error)
{
    Switchyard__V1__SplitPartitionRequest request = SWITCHYARD__V1__SPLIT_PARTITION_REQUEST__INIT;
    request.partition = options->partition;
    request.at = options->at;
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    const Switchyard__V1__SplitPartitionResponse *response = cl_call(client, &cl_split_partition,
                                                                     &request.base, &arena, error);
    if (response && options->common.json) {
        json_t *document = json_object();
        cl_json_int(document, "partition", options->partition);
        cl_json_int(document, "new_partition", response->partition);
        cl_json_document(document, stdout);
    } else if (response) {
        printf("partition %u has given its upper half to partition %u\n", options->partition,
               response->partition);
    }
    sy_arena_deinit(&arena);
    return error->exit;
}

static void print_shard_is(const struct cl_region_options *options, const char *state)
{
    if (options->common.json) {
        json_t *document = json_object();
        cl_json_str(document, "shard", options->shard);
        cl_json_str(document, "state", state);
        cl_json_line(document, stdout);
    } else {
        printf("shard %s is %s\n", options->shard, state);
    }
}

static enum cl_exit undrain(struct cl_client *client, const struct cl_region_options *options,
                            struct cl_error *error)
{
    Switchyard__V1__OrderShardRequest request = SWITCHYARD__V1__ORDER_SHARD_REQUEST__INIT;
    request.shard = cl_unconst(options->shard);
    struct sy_arena arena;
    sy_arena_init(&arena, CL_ARENA_BYTES_MAX);
    if (cl_call(client, &cl_undrain_shard, &request.base, &arena, error))
        print_shard_is(options, "ready");
    sy_arena_deinit(&arena);
    return error->exit;
}

/* ---- orders that say what is left ---- */

static const struct cl_column move_columns[] = {
    {"PARTITION", true, 0, 0},
    {"FROM", false, 6, 0},
    {"TO", false, 6, 0},
    {"STATE", false, 0, 1},
};

struct progress {
    const struct cl_region_options *options;
    struct cl_stream *stream;
    bool begun;
};

static void on_moves(void *ctx, const void *message)
{
    const Switchyard__V1__RegionMoves *m = message;
    struct progress *progress = ctx;
    bool first = !progress->begun;
    progress->begun = true;
    if (progress->options->common.json) {
        cl_json_line(cl_json_message(&m->base), stdout);
    } else if (first && m->n_moves > 0) {
        struct cl_table *table = cl_table_new(move_columns, COLUMNS(move_columns));
        for (size_t i = 0; i < m->n_moves; i++) {
            struct number partition = number(m->moves[i]->partition);
            const char *cells[] = {partition.text, m->moves[i]->from, m->moves[i]->to,
                                   m->moves[i]->state};
            cl_table_add(table, cells);
        }
        print_table(table);
    } else if (first && progress->options->dry_run) {
        printf("nothing would move\n");
    } else if (m->n_moves > 0) {
        fprintf(stderr, "%zu left\n", m->n_moves);
    }
}

static bool has_ended(void *ctx)
{
    const struct progress *progress = ctx;
    return cl_stream_ended(progress->stream);
}

static enum cl_exit follow(struct cl_client *client, const struct cl_region_options *options,
                           const struct cl_method *method, const ProtobufCMessage *request,
                           struct cl_error *error)
{
    struct progress progress = {.options = options};
    progress.stream = cl_stream_open(client, NULL, method, request, on_moves, &progress);
    if (cl_wait(client, has_ended, &progress, 0))
        *error = *cl_stream_error(progress.stream);
    else
        cl_fail(error, CL_INTERRUPTED, "interrupted; what was begun goes on");
    cl_stream_close(progress.stream);
    return error->exit;
}

static enum cl_exit rebalance(struct cl_client *client, const struct cl_region_options *options,
                              struct cl_error *error)
{
    Switchyard__V1__RebalanceRegionRequest request = SWITCHYARD__V1__REBALANCE_REGION_REQUEST__INIT;
    request.dry_run = options->dry_run;
    if (follow(client, options, &cl_rebalance_region, &request.base, error) == CL_OK &&
        !options->common.json && !options->dry_run)
        printf("the region is balanced\n");
    return error->exit;
}

static enum cl_exit drain(struct cl_client *client, const struct cl_region_options *options,
                          struct cl_error *error)
{
    Switchyard__V1__OrderShardRequest request = SWITCHYARD__V1__ORDER_SHARD_REQUEST__INIT;
    request.shard = cl_unconst(options->shard);
    if (follow(client, options, &cl_drain_shard, &request.base, error) == CL_OK)
        print_shard_is(options, "drained");
    return error->exit;
}

enum cl_exit cl_cmd_region(const struct cl_args *defaults, int argc, char **argv)
{
    static enum cl_exit (*const verbs[CL_REGION_VERBS])(
        struct cl_client *, const struct cl_region_options *, struct cl_error *) = {
        [CL_REGION_SHARDS] = show,         [CL_REGION_MAP] = show,
        [CL_REGION_MOVE] = move,           [CL_REGION_SPLIT] = split,
        [CL_REGION_REBALANCE] = rebalance, [CL_REGION_DRAIN] = drain,
        [CL_REGION_UNDRAIN] = undrain,     [CL_REGION_USE_COPY] = use_copy,
    };
    struct cl_region_options options;
    if (cl_region_parse(&options, defaults, argc, argv) != CL_PARSE_OK)
        return cl_args_exit(CL_PROGRAM, &options.common);
    struct cl_error error = {.exit = CL_OK};
    struct cl_client *client SY_CLEANUP(cl_client_freep) = NULL;
    if (cl_client_new(&client, &options.common.client, &error) != CL_OK)
        return cl_report(CL_PROGRAM, &error);
    (void)verbs[options.verb](client, &options, &error);
    return cl_report(CL_PROGRAM, &error);
}
