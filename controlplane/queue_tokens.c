/*
 * Limits of queues hold over all partitions of the region: what these say to each other about them
 * (scheduler/tokens.h), from lane to lane. What is lost on the way is said again.
 */
#include "base/mem.h"
#include "controlplane/queues.h"
#include "controlplane/shard_impl.h"

#include <stdlib.h>

struct token_post {
    struct cp_post post; /* first */
    struct cp_lane *to;
    struct cp_token_message message;
};

static void drop(struct cp_post *post)
{
    free(post);
}

static void arrive(struct cp_post *post)
{
    struct token_post *token = (struct token_post *)post;
    cp_partition_take_token(token->to->partition, &token->message);
    free(token);
}

static void send_to(struct cp_lane *from, uint32_t to, const struct cp_token_message *message)
{
    SY_ASSERT(to < from->shard->options.partitions);
    struct token_post *token = sy_new(struct token_post);
    token->post.run = arrive;
    token->post.drop = drop;
    token->to = &from->shard->lanes[to];
    token->message = *message;
    cp_lane_post(from, token->to, &token->post);
}

static void send(void *ctx, const struct cp_token_message *message)
{
    struct cp_lane *lane = ctx;
    uint32_t partitions = lane->shard->options.partitions;
    switch (message->type) {
    case CP_TOKEN_REPORT:
        send_to(lane, cp_queue_home(message->key.project, message->key.domain, partitions),
                message);
        break;
    case CP_TOKEN_ALLOW:
        send_to(lane, message->u.allowance.partition, message);
        break;
    case CP_TOKEN_ASK:
        send_to(lane, message->u.ask.partition, message);
        break;
    }
}

void cp_queue_tokens_init(struct cp_lane *lane)
{
    cp_partition_set_token_sink(lane->partition, send, lane);
}
