/*
 * The shards that the data service may ask: those that the operator knows. It tells of them on its
 * loop; they are taken over on the service's own, where questions under way keep their channels.
 */
#include "dataplane/data_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void free_targets(struct dp_data *data)
{
    for (size_t i = 0; i < data->told_count; i++)
        free(data->told[i]);
    free(data->told);
    data->told = NULL;
    data->told_count = 0;
}

static void free_shards(struct dp_asked_shard *shards, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(shards[i].target);
        sy_channel_free(shards[i].channel);
    }
    free(shards);
}

/* The channel that there is, or a new one. */
static struct sy_channel *channel_to(struct dp_data *data, const char *target)
{
    for (size_t i = 0; i < data->shard_count; i++) {
        struct dp_asked_shard *shard = &data->shards[i];
        if (shard->channel && strcmp(shard->target, target) == 0)
            return sy_take(shard->channel);
    }
    return sy_channel_new(data->rpc, target);
}

static void take_over(void *arg)
{
    struct dp_data *data = arg;
    pthread_mutex_lock(&data->told_lock);
    char **targets = sy_take(data->told);
    size_t count = data->told_count;
    data->told_count = 0;
    pthread_mutex_unlock(&data->told_lock);
    if (!targets)
        return; /* it was told twice, and the last is here */
    const char *last = data->shard_count > 0 ? data->shards[data->shard_next].target : "";
    struct dp_asked_shard *shards = sy_calloc(count + 1, sizeof(*shards));
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        shards[i] = (struct dp_asked_shard){targets[i], channel_to(data, targets[i])};
        if (strcmp(targets[i], last) == 0)
            next = i;
    }
    free(targets);
    free_shards(data->shards, data->shard_count);
    data->shards = shards;
    data->shard_count = count;
    data->shard_next = next;
    SY_ASSERT(count == 0 || next < count);
}

void dp_data_set_shards(struct dp_data *data, const char *const *targets, size_t count)
{
    pthread_mutex_lock(&data->told_lock);
    free_targets(data);
    data->told = sy_calloc(count + 1, sizeof(*data->told));
    for (; data->told_count < count; data->told_count++)
        data->told[data->told_count] = sy_strdup(targets[data->told_count]);
    pthread_mutex_unlock(&data->told_lock);
    sy_loop_post_always(data->loop, take_over, data);
}

void dp_data_shards_init(struct dp_data *data)
{
    pthread_mutex_init(&data->told_lock, NULL);
}

void dp_data_shards_deinit(struct dp_data *data)
{
    sy_loop_forget(data->loop, data);
    free_targets(data);
    free_shards(data->shards, data->shard_count);
    pthread_mutex_destroy(&data->told_lock);
}
