#include "controlplane/backup_command.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rpc.h"
#include "controlplane/backup_mirror.h"
#include "controlplane/data_dir.h"
#include "controlplane/restore.h"
#include "proto/pb.h"

#include "switchyard/internal/backup.pb-c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES_MAX ((size_t)1 << 20)
#define MIB 1048576.0
#define NOTE_BYTES_MAX 16
#define LIST_BYTES_MAX ((size_t)64 << 20)

struct command {
    const struct cp_backup_options *options;
    const char *shard;         /* whose backups */
    const char *address;       /* where a shard serves */
    uint32_t made, partitions; /* of the region at first; that there may be, after splits */
    int64_t partition;         /* the only one; -1: all */
    uint32_t id;               /* 0: the newest */
    char **paths;              /* restore: where each partition's store lies */
};

static bool is_wanted(const struct command *command, uint32_t partition)
{
    return command->partition < 0 || command->partition == partition;
}

static int dir_of(const struct command *command, uint32_t partition, char ret[PATH_MAX],
                  struct sy_error_text *error)
{
    if (cp_backup_dir(ret, command->options->dir, partition, command->shard))
        return 0;
    sy_error_text_set(error, "the path of backups is too long: %s", command->options->dir);
    return -ENAMETOOLONG;
}

/* ---- backup ---- */

struct asking {
    const char *address; /* of the shard */
    struct sy_loop *loop;
    struct sy_call *call;
    struct sy_error_text *error;
    uint32_t count, failed;
    int result;
};

static void on_message(void *ctx, struct sy_span bytes)
{
    struct asking *asking = ctx;
    struct sy_arena arena;
    sy_arena_init(&arena, MESSAGE_BYTES_MAX);
    const Switchyard__Internal__BackUpResponse *m = pb_unpack(
        &switchyard__internal__back_up_response__descriptor, &arena, bytes);
    asking->count++;
    if (m == NULL) {
        sy_error_text_set(asking->error, "the shard's answer cannot be read");
        asking->result = -EBADMSG;
    } else if (m->failure[0] != '\0') {
        fprintf(stderr, "partition %u: %s\n", m->partition, m->failure);
        asking->failed++;
    } else {
        printf("partition %u: backup %u, %u files, %.1f MiB in all, %.2f s\n", m->partition,
               m->backup, m->files, (double)m->bytes / MIB,
               (double)m->took_ns / (double)SY_NS_PER_S);
        fflush(stdout);
    }
    sy_arena_deinit(&arena);
}

static void on_closed(void *ctx, const struct sy_status *status)
{
    struct asking *asking = ctx;
    sy_call_unref(sy_take(asking->call));
    if (status->code != SY_CODE_OK) {
        sy_error_text_set(asking->error, "backup by the shard at %s: %s (%s)", asking->address,
                          status->message.text, sy_code_name(status->code));
        asking->result = -EIO;
    } else if (asking->failed > 0) {
        sy_error_text_set(asking->error, "%u of %u partitions failed", asking->failed,
                          asking->count);
        asking->result = -EIO;
    } else if (asking->count == 0) {
        sy_error_text_set(asking->error, "the shard serves no partition just now");
        asking->result = -EAGAIN;
    }
    sy_loop_stop(asking->loop);
}

static const struct sy_call_sink sink = {.on_message = on_message, .on_closed = on_closed};

static int ask(struct asking *asking, struct sy_rpc *rpc, const char *address)
{
    static const struct sy_call_options options = {.method = "/switchyard.internal.Backups/BackUp"};
    struct sy_channel *channel = sy_channel_new(rpc, address);
    struct sy_buf request = {0};
    asking->address = address;
    asking->call = sy_channel_open(channel, asking->loop, &options, &sink, asking);
    int r = sy_call_send(asking->call, &request);
    SY_ASSERT(r == 0); /* the first one always has room */
    sy_call_half_close(asking->call);
    r = sy_loop_run(asking->loop);
    sy_channel_free(channel);
    return r < 0 ? r : asking->result;
}

static int back_up(const struct command *command, struct sy_error_text *error)
{
    struct asking asking = {.error = error};
    struct sy_rpc *rpc;
    int r = sy_loop_new(&asking.loop, NULL);
    if (r < 0)
        return r;
    r = sy_rpc_grpc_new(&rpc, error);
    if (r == 0) {
        r = ask(&asking, rpc, command->address);
        sy_rpc_free(rpc);
    }
    sy_loop_free(asking.loop);
    return r;
}

/* ---- where they are kept ---- */

/* Where backups are kept: a bucket or a directory. One question at a time. */
struct place {
    struct sy_loop *loop;
    struct sy_blobs *blobs;
    struct cp_mirror *mirror;
    char prefix[PATH_MAX];
    char
        note[2 * PATH_MAX]; /* the epoch of the partition's last restore, whoever's backup it was */
    struct sy_error_text *error;
    bool ended;
    int result;
    uint32_t epoch;  /* of the note; 0: there is none */
    int64_t taken_s; /* of the list that was asked for */
};

static int place_init(struct place *place, const struct command *command, uint32_t partition,
                      struct sy_error_text *error)
{
    const struct sy_blob_options directory = {.root = command->options->dir};
    const struct sy_blob_options *storage = command->options->storage;
    *place = (struct place){.error = error};
    int r = sy_loop_new(&place->loop, NULL);
    if (r == 0)
        r = sy_blobs_new(&place->blobs, place->loop, storage != NULL ? storage : &directory, error);
    if (r < 0)
        return r;
    snprintf(place->prefix, sizeof(place->prefix), "partition-%u/%s", partition, command->shard);
    snprintf(place->note, sizeof(place->note), "%s/partition-%u.restored",
             sy_blobs_root(place->blobs), partition);
    return 0;
}

static void place_deinit(struct place *place)
{
    if (place->blobs != NULL)
        sy_blobs_free(place->blobs);
    cp_mirror_free(place->mirror);
    if (place->loop != NULL)
        sy_loop_free(place->loop);
}

static void on_answered(void *ctx, int r, const struct sy_error_text *error)
{
    struct place *place = ctx;
    place->ended = true;
    place->result = r;
    if (r < 0)
        *place->error = *error;
    sy_loop_stop(place->loop);
}

static int wait_for_answer(struct place *place)
{
    int r = 0;
    while (r == 0 && !place->ended) /* a stop may be of an answer that came within its question */
        r = sy_loop_run(place->loop);
    place->ended = false;
    return r < 0 ? r : place->result;
}

/* ---- backups ---- */

static void print_time(uint32_t partition, uint32_t id, int64_t taken_s)
{
    char when[32] = "";
    time_t seconds = (time_t)taken_s;
    struct tm parts;
    if (gmtime_r(&seconds, &parts) != NULL)
        (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
    printf("partition %u: backup %u of %s, ", partition, id, when);
}

static void print_backup(uint32_t partition, const struct cp_backup_info *info)
{
    print_time(partition, info->id, info->taken_s);
    printf("%u files, %.1f MiB\n", info->files, (double)info->bytes / MIB);
}

/* RocksDB's list begins with the time. */
static void on_list(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct place *place = ctx;
    char text[32] = "";
    if (r == 0 && bytes.len > 0)
        memcpy(text, bytes.data, bytes.len < sizeof(text) ? bytes.len : sizeof(text) - 1);
    place->taken_s = strtoll(text, NULL, 10);
    on_answered(place, r, error);
}

static int print_found(struct place *place, uint32_t partition, uint32_t after)
{
    char uri[2 * PATH_MAX];
    cp_mirror_find(&place->mirror, place->blobs, place->prefix, on_answered, place);
    int r = wait_for_answer(place);
    uint32_t id = cp_mirror_id(place->mirror);
    if (r < 0 || id <= after)
        return r;
    snprintf(uri, sizeof(uri), "%s/%s/meta/%u", sy_blobs_root(place->blobs), place->prefix, id);
    sy_blob_get(place->blobs, uri, LIST_BYTES_MAX, on_list, place);
    r = wait_for_answer(place);
    if (r < 0)
        return r;
    print_time(partition, id, place->taken_s);
    printf("the newest in %s\n", sy_blobs_root(place->blobs));
    return 1;
}

/* What a bucket has that was made after backup `after`: 1, 0, or an error. */
static int print_newest(const struct command *command, uint32_t partition, uint32_t after,
                        struct sy_error_text *error)
{
    struct place place;
    if (command->options->storage == NULL)
        return 0;
    int r = place_init(&place, command, partition, error);
    if (r == 0)
        r = print_found(&place, partition, after);
    place_deinit(&place);
    return r;
}

/* How many there are, or an error. */
static int print_backups(const struct command *command, uint32_t partition,
                         struct sy_error_text *error)
{
    char dir[PATH_MAX];
    struct cp_backup_info *infos SY_AUTOFREE = NULL;
    size_t count = 0;
    struct sy_error_text why = {0}; /* a partition may have none */
    int r = dir_of(command, partition, dir, &why);
    if (r == 0)
        r = cp_backup_list(dir, &infos, &count, &why);
    for (size_t i = 0; i < count; i++)
        print_backup(partition, &infos[i]);
    if (r < 0 && r != -ENOENT) {
        *error = why;
        return r;
    }
    r = print_newest(command, partition, count > 0 ? infos[count - 1].id : 0, error);
    return r < 0 ? r : (int)count + r;
}

static int list_backups(const struct command *command, struct sy_error_text *error)
{
    int found = 0;
    for (uint32_t i = 0; i < command->partitions; i++) {
        int r = is_wanted(command, i) ? print_backups(command, i, error) : 0;
        if (r < 0)
            return r;
        found += r;
    }
    if (found > 0)
        return 0;
    sy_error_text_set(error, "%s holds no backups of shard %s",
                      command->options->storage != NULL ? command->options->storage->root
                                                        : command->options->dir,
                      command->shard);
    return -ENOENT;
}

/* ---- restore ---- */

static void on_note(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct place *place = ctx;
    char text[NOTE_BYTES_MAX + 1] = "";
    if (r == 0 && bytes.len > 0)
        memcpy(text, bytes.data, bytes.len);
    place->epoch = (uint32_t)strtoul(text, NULL, 10);
    on_answered(place, r == -ENOENT ? 0 : r, error);
}

static int read_note(struct place *place)
{
    sy_blob_get(place->blobs, place->note, NOTE_BYTES_MAX, on_note, place);
    return wait_for_answer(place);
}

static int write_note(struct place *place)
{
    struct sy_buf text = {0};
    sy_buf_printf(&text, "%u\n", place->epoch);
    sy_blob_put(place->blobs, place->note, &text, on_answered, place);
    return wait_for_answer(place);
}

/* From a bucket into `dir`; *ret_id: which backup that is. */
static int fetch(struct place *place, uint32_t id, const char *dir, uint32_t *ret_id)
{
    cp_mirror_down(&place->mirror, place->blobs, place->prefix, id, dir, on_answered, place);
    int r = wait_for_answer(place);
    *ret_id = cp_mirror_id(place->mirror);
    return r;
}

static int restore_from(struct place *place, const struct command *command, uint32_t partition,
                        struct sy_error_text *error)
{
    char dir[PATH_MAX];
    const char *path = command->paths[partition];
    uint32_t id = command->id;
    bool fetched = command->options->storage != NULL;
    int r = read_note(place);
    if (r == 0 && !fetched) {
        r = dir_of(command, partition, dir, error);
    } else if (r == 0) {
        int n = snprintf(dir, sizeof(dir), "%s.fetched", path);
        r = n > 0 && (size_t)n < sizeof(dir) ? 0 : -ENAMETOOLONG;
        if (r == 0) {
            sy_remove_tree(dir); /* of one that was killed */
            r = fetch(place, id, dir, &id);
        }
    }
    if (r == 0)
        r = cp_restore(dir, id, path, partition, &place->epoch, error);
    if (fetched)
        sy_remove_tree(dir);
    return r;
}

static int restore(const struct command *command, uint32_t partition, struct sy_error_text *error)
{
    struct place place;
    int r = place_init(&place, command, partition, error);
    if (r == 0)
        r = restore_from(&place, command, partition, error);
    if (r == 0)
        printf("partition %u: restored to %s\n", partition, command->paths[partition]);
    if (r == 0 && write_note(&place) < 0)
        fprintf(stderr, "partition %u: a restore after this one may be refused by clusters: %s\n",
                partition, error->text);
    place_deinit(&place);
    return r;
}

static int restore_all(const struct command *command, struct sy_error_text *error)
{
    uint32_t count = 0, failed = 0;
    for (uint32_t i = 0; i < command->partitions; i++) {
        if (!is_wanted(command, i))
            continue;
        struct sy_error_text text = {0};
        int r = restore(command, i, &text);
        if (r == -ENOENT && i >= command->made && command->partition < 0)
            continue; /* it was never split off */
        count++;
        if (r == 0)
            continue;
        fprintf(stderr, "partition %u: %s\n", i, text.text[0] != '\0' ? text.text : strerror(-r));
        failed++;
    }
    if (failed == 0)
        return 0;
    sy_error_text_set(error, "%u of %u partitions failed", failed, count);
    return -EIO;
}

/* ---- the whole ---- */

/* Two at once would take each other's scratch away. Where a volume knows no locks there is none. */
static int lock(const char *data_dir, int *ret_fd, struct sy_error_text *error)
{
    *ret_fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0 || flock(*ret_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return 0;
    sy_error_text_set(error, "another restore to %s is under way", data_dir);
    return -EBUSY;
}

static int restore_below(struct command *command, const struct cp_config *config,
                         struct sy_error_text *error)
{
    struct cp_data_dir dir = {0};
    const char *region = cp_config_shares(config) ? config->region : NULL;
    int r = cp_config_local(config)
                ? cp_data_dir_init_local(&dir, config->data_dir, command->partitions,
                                         command->partitions, CP_STORE_MEMORY_MIN, error)
                : cp_data_dir_init_to_restore(&dir, config->data_dir, command->partitions, region,
                                              error);
    int fd = -1;
    command->paths = dir.paths;
    if (r == 0)
        r = lock(config->data_dir, &fd, error);
    if (r == 0)
        r = restore_all(command, error);
    if (fd >= 0)
        close(fd);
    cp_data_dir_deinit(&dir);
    return r;
}

static const char *address_of(const struct cp_arguments *arguments, const struct cp_config *config)
{
    if (arguments->at != NULL)
        return arguments->at;
    return config->endpoint[0] != '\0' ? config->endpoint : config->listen;
}

int cp_backup_command(const struct cp_arguments *arguments, const struct cp_config *config,
                      const struct cp_config_backups *backups, struct sy_error_text *error)
{
    struct command command = {.options = &backups->options,
                              .shard = arguments->from != NULL ? arguments->from : config->name,
                              .address = address_of(arguments, config),
                              .made = (uint32_t)config->partitions,
                              .partitions = (uint32_t)cp_config_lanes(config),
                              .partition = arguments->partition,
                              .id = arguments->backup};
    if (!backups->configured) {
        sy_error_text_set(error, "no place for backups is configured: backup_root is empty");
        return -EINVAL;
    }
    int64_t lanes = (int64_t)cp_config_lanes(config);
    if (arguments->partition >= lanes) {
        sy_error_text_set(error, "partition %lld: the region has %lld",
                          (long long)arguments->partition, (long long)lanes);
        return -EINVAL;
    }
    switch (arguments->command) {
    case CP_COMMAND_BACKUP:
        return back_up(&command, error);
    case CP_COMMAND_BACKUPS:
        return list_backups(&command, error);
    default:
        return restore_below(&command, config, error);
    }
}
