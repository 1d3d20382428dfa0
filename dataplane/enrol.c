#include "dataplane/enrol.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_BYTES_MAX 1024

/* The token of --join; the caller's. */
static int read_token(const char *given, struct sy_buf *ret, struct sy_error_text *error)
{
    int r = 0;
    if (given[0] == '@')
        r = sy_file_read(given + 1, TOKEN_BYTES_MAX, ret);
    else
        sy_buf_append(ret, given, strlen(given));
    if (r < 0) {
        sy_error_text_set(error, "--join: %s: %s", given + 1, strerror(-r));
        return r;
    }
    while (ret->len > 0 && strchr(" \t\r\n", ret->data[ret->len - 1]))
        ret->len--;
    sy_buf_append(ret, "", 1);
    if (strlen((const char *)ret->data) + 1 == ret->len && ret->len > 1)
        return 0;
    sy_error_text_set(error, "--join: no token is given");
    return -EINVAL;
}

static void on_joined(void *ctx, int r, const struct sy_error_text *why)
{
    struct dp_enrolment *enrolment = ctx;
    enrolment->joined = r;
    if (why)
        enrolment->why = *why;
    sy_loop_stop(enrolment->loop);
}

/* Waits for a shard's answer, or for the loop's end. */
static int ask_shards(struct dp_enrolment *enrolment, const struct dp_join_options *options,
                      struct sy_error_text *error)
{
    struct dp_join *join;
    enrolment->loop = options->loop;
    enrolment->joined = -EINTR;
    sy_error_text_set(&enrolment->why, "stopped before it had joined");
    dp_join_new(&join, options, &enrolment->identity, on_joined, enrolment);
    int r = sy_loop_run(options->loop);
    dp_join_free(join);
    *error = enrolment->why;
    return r < 0 ? r : enrolment->joined;
}

/* "sy-join:REGION:CLUSTER:..." */
static bool is_for(const char *token, const char *cluster)
{
    const char *at = strchr(token, ':');
    at = at ? strchr(at + 1, ':') : NULL;
    size_t len = strlen(cluster);
    return at && strncmp(at + 1, cluster, len) == 0 && at[1 + len] == ':';
}

/* With the secret that it has, if there is one: a join whose answer was lost is repeated. */
static int join_by(struct dp_enrolment *enrolment, bool found, const char *data_dir,
                   const struct dp_join_options *options, struct sy_error_text *error)
{
    struct dp_identity *identity = &enrolment->identity;
    uint8_t digest[SY_SHA256_BYTES];
    sy_sha256((struct sy_span){(const uint8_t *)options->token, strlen(options->token)}, digest);
    bool same = found && memcmp(identity->token, digest, sizeof(digest)) == 0;
    if (same && identity->cluster[0])
        return 0; /* at an earlier start */
    if (found && identity->cluster[0] && !is_for(options->token, identity->cluster)) {
        sy_error_text_set(
            error,
            "--join: the token is not for cluster %s, which this operator has joined: "
            "another cluster needs a data_dir of its own",
            identity->cluster);
        return -EINVAL;
    }
    int r = found ? 0 : dp_identity_make(identity, error);
    if (r == 0 && !found) {
        memcpy(identity->token, digest, sizeof(digest));
        r = dp_identity_save(identity, data_dir, error);
    }
    if (r == 0)
        r = ask_shards(enrolment, options, error);
    if (r < 0)
        return r;
    memcpy(identity->token, digest, sizeof(digest));
    return dp_identity_save(identity, data_dir, error);
}

int dp_enrol(struct dp_enrolment *ret, struct sy_rpc *rpc, struct sy_loop *loop, struct sy_log *log,
             const struct dp_config *config, const char *join, struct sy_error_text *error)
{
    SY_CLEANUP(sy_buf_deinit) struct sy_buf token = {0};
    bool found = false;
    *ret = (struct dp_enrolment){0};
    int r = dp_identity_load(&ret->identity, &found, config->data_dir, error);
    if (r < 0 || !join)
        return r;
    r = read_token(join, &token, error);
    if (r < 0)
        return r;
    const char **shards SY_AUTOFREE = sy_calloc(config->shards.count + 1, sizeof(*shards));
    struct sy_rng rng;
    sy_rng_init_from_system(&rng);
    for (size_t i = 0; i < config->shards.count; i++)
        shards[i] = ((char *const *)config->shards.items)[i];
    struct dp_join_options options = {.rpc = rpc,
                                      .loop = loop,
                                      .log = log,
                                      .seed = sy_rng_u64(&rng),
                                      .shards = shards,
                                      .token = (const char *)token.data};
    r = join_by(ret, found, config->data_dir, &options, error);
    explicit_bzero(token.data, token.len);
    return r;
}

const struct dp_identity *dp_enrolment_identity(const struct dp_enrolment *enrolment)
{
    return enrolment->identity.cluster[0] ? &enrolment->identity : NULL;
}

void dp_enrolment_wipe(struct dp_enrolment *enrolment)
{
    explicit_bzero(&enrolment->identity, sizeof(enrolment->identity));
}
