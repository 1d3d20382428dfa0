/*
 * Secrets of a task: asked of the operator when it starts, handed on in its environment or in files
 * that only it can read; never logged, never written to the storage.
 */
#include "agent/flyte_impl.h"

#include "base/file.h"
#include "base/mem.h"
#include "proto/pb.h"
#include "switchyard/internal/dataplane.pb-c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_TIMEOUT_NS (10 * SY_NS_PER_S)
#define REPLY_ARENA_BYTES ((size_t)16 << 20)

/* Outlives its attempt when the executor goes away first. */
struct ag_flyte_secret_read {
    struct ag_flyte_attempt *attempt;
};

/* ---- what came ---- */

/* As files: <dir>/<group>/<key>; false: they cannot be written. */
static bool write_file(struct ag_flyte_attempt *a, const struct ag_spec_secret *secret,
                       ProtobufCBinaryData value)
{
    char dir[1024], path[2048];
    if (strchr(secret->key, '/') != NULL || strstr(secret->group, "..") != NULL ||
        secret->key[0] == '\0' || secret->key[0] == '.')
        return false;
    snprintf(dir, sizeof(dir), "%s/%s", a->secret_dir, secret->group);
    snprintf(path, sizeof(path), "%s/%s", dir, secret->key);
    if (sy_mkdir_p(dir, 0700) < 0)
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool written = fd >= 0 && write(fd, value.data, value.len) == (ssize_t)value.len;
    if (fd >= 0)
        close(fd);
    return written;
}

static bool take_values(struct ag_flyte_attempt *a,
                        const Switchyard__Internal__ReadSecretsResponse *msg)
{
    const char **list = sy_arena_alloc(&a->arena, (a->spec.secret_count + 2) * sizeof(*list));
    size_t count = 0;
    for (size_t i = 0; i < a->spec.secret_count; i++) {
        const struct ag_spec_secret *secret = &a->spec.secrets[i];
        if (secret->env_var[0] != '\0')
            list[count++] = sy_arena_printf(&a->arena, "%s=%.*s", secret->env_var,
                                            (int)msg->values[i].len,
                                            (const char *)msg->values[i].data);
        else if (!write_file(a, secret, msg->values[i]))
            return false;
    }
    if (a->secret_dir != NULL)
        list[count++] = sy_arena_printf(&a->arena, "FLYTE_SECRETS_DEFAULT_DIR=%s", a->secret_dir);
    list[count] = NULL;
    a->secrets = list;
    return true;
}

static void on_reply(void *ctx, const struct sy_status *status, struct sy_span response)
{
    struct ag_flyte_secret_read *read = ctx;
    struct ag_flyte_attempt *a = read->attempt;
    free(read);
    if (a == NULL)
        return;
    a->secret_read = NULL;
    if (ag_flyte_cancelled(a))
        return;
    if (status->code != SY_CODE_OK) {
        bool missing = status->code == SY_CODE_NOT_FOUND;
        ag_flyte_end(a, missing ? AG_RESULT_FAILED_FINAL : AG_RESULT_REFUSED,
                     missing ? AG_ERROR_USER : AG_ERROR_SYSTEM, "SecretNotRead",
                     status->message.text);
        return;
    }
    struct sy_arena arena;
    sy_arena_init(&arena, REPLY_ARENA_BYTES);
    const Switchyard__Internal__ReadSecretsResponse *msg = pb_unpack(
        &switchyard__internal__read_secrets_response__descriptor, &arena, response);
    bool fine = msg != NULL && msg->n_values == a->spec.secret_count && take_values(a, msg);
    sy_arena_deinit(&arena);
    if (fine)
        ag_flyte_launch(a);
    else
        ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "SecretNotRead",
                     "the task's secrets cannot be handed to it");
}

/* ---- the question ---- */

static void ask(struct ag_flyte_attempt *a)
{
    Switchyard__Internal__ReadSecretsRequest msg = SWITCHYARD__INTERNAL__READ_SECRETS_REQUEST__INIT;
    size_t count = a->spec.secret_count;
    Switchyard__Internal__SecretKey *keys = sy_calloc(count, sizeof(*keys));
    Switchyard__Internal__SecretKey **list = sy_calloc(count,
                                                       sizeof(Switchyard__Internal__SecretKey *));
    for (size_t i = 0; i < count; i++) {
        switchyard__internal__secret_key__init(&keys[i]);
        keys[i].group = (char *)(uintptr_t)a->spec.secrets[i].group;
        keys[i].key = (char *)(uintptr_t)a->spec.secrets[i].key;
        list[i] = &keys[i];
    }
    const char *domain = strchr(a->work.run, '/'), *run = strrchr(a->work.run, '/');
    msg.project = sy_strndup(a->work.run, (size_t)(domain - a->work.run));
    msg.domain = sy_strndup(domain + 1, (size_t)(run - domain - 1));
    msg.keys = list;
    msg.n_keys = count;
    struct sy_buf request = {0};
    pb_pack(&msg.base, &request);
    a->secret_read = sy_new(struct ag_flyte_secret_read);
    a->secret_read->attempt = a;
    struct sy_call_options options = {
        .method = "/switchyard.internal.SecretStore/ReadSecrets",
        .timeout_ns = CALL_TIMEOUT_NS,
        .wait_for_ready = true,
        .metadata = &a->flyte->ports.bearer.metadata,
        .metadata_count = a->flyte->ports.bearer.metadata_count,
    };
    (void)sy_channel_call(*a->flyte->ports.secrets, a->flyte->ports.loop, &options, &request,
                          on_reply, a->secret_read);
    free(msg.project);
    free(msg.domain);
    free(list);
    free(keys);
}

void ag_flyte_read_secrets(struct ag_flyte_attempt *a)
{
    bool files = false;
    for (size_t i = 0; i < a->spec.secret_count; i++)
        files |= a->spec.secrets[i].env_var[0] == '\0';
    if (a->spec.secret_count == 0) {
        ag_flyte_launch(a);
        return;
    }
    if (a->flyte->ports.secrets == NULL) {
        ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "SecretNotRead",
                     "this agent has no operator to ask for secrets");
        return;
    }
    if (files)
        a->secret_dir = sy_arena_printf(&a->arena, "%s/%llu", a->flyte->secrets_dir,
                                        (unsigned long long)a->id);
    ask(a);
}

void ag_flyte_forget_secrets(struct ag_flyte_attempt *a)
{
    if (a->secret_read != NULL)
        a->secret_read->attempt = NULL;
    if (a->secret_dir != NULL)
        sy_remove_tree(a->secret_dir);
}
