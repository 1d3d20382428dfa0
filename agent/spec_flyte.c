#include "agent/spec_impl.h"
#include "agent/wire.h"
#include "agent/worker_page.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define REPLICAS_MAX 64
#define TTL_S_MAX (365 * 86400)

static int64_t duration_ns(const Google__Protobuf__Duration *duration)
{
    if (duration == NULL || duration->seconds < 0 || duration->nanos < 0)
        return 0;
    int64_t seconds = duration->seconds < TTL_S_MAX ? duration->seconds : TTL_S_MAX;
    return seconds * SY_NS_PER_S + duration->nanos;
}

static bool read_secrets(struct ag_spec *ret, const Flyteidl2__Core__SecurityContext *context)
{
    size_t count = context != NULL ? context->n_secrets : 0;
    struct ag_spec_secret *secrets = sy_arena_alloc(&ret->arena, count * sizeof(*secrets) + 1);
    for (size_t i = 0; secrets != NULL && i < count; i++) {
        const Flyteidl2__Core__Secret *secret = context->secrets[i];
        bool file = secret->mount_requirement == FLYTEIDL2__CORE__SECRET__MOUNT_TYPE__FILE;
        secrets[i] = (struct ag_spec_secret){
            .group = secret->group,
            .key = secret->key,
            .env_var = file                         ? ""
                       : secret->env_var[0] != '\0' ? secret->env_var
                                                    : secret->key,
        };
    }
    ret->flyte.secrets = secrets;
    ret->flyte.secret_count = count;
    return secrets != NULL;
}

/* The string `custom.fields["version"]` of an actor: the SDK's own hash of all that its workers
 * have in common. Struct{fields = 1: map<string, Value>}, Value{string_value = 3}. */
static struct sy_span actor_version(struct sy_span custom)
{
    struct ag_wire_field entry, key, value, text;
    while (ag_wire_next(&custom, &entry)) {
        if (entry.number == 1 && ag_wire_find(entry.bytes, 1, &key) && key.bytes.len == 7 &&
            memcmp(key.bytes.data, "version", 7) == 0 && ag_wire_find(entry.bytes, 2, &value) &&
            ag_wire_find(value.bytes, 3, &text))
            return text.bytes;
    }
    return (struct sy_span){0};
}

static uint32_t clamp(int32_t value, uint32_t min, uint32_t max)
{
    return value < (int32_t)min ? min : value > (int32_t)max ? max : (uint32_t)value;
}

static bool read_reuse(struct ag_spec *ret, const Flyteidl2__Core__TaskTemplate *template)
{
    const Flyteidl2__Core__ReusePolicy *policy = template->reuse_policy;
    struct ag_spec_flyte *f = &ret->flyte;
    f->pool_version = "";
    if (policy == NULL)
        return true;
    f->reusable = true;
    f->per_run = policy->scope == FLYTEIDL2__CORE__REUSE_POLICY__SCOPE__RUN;
    f->max = clamp(policy->max_replicas, 1, REPLICAS_MAX);
    f->min = clamp(policy->min_replicas, 0, f->max);
    f->concurrency = clamp(policy->concurrency, 1, AG_WORKER_CONCURRENCY_MAX);
    f->idle_ns = duration_ns(policy->idle_ttl);
    f->scaledown_ns = duration_ns(policy->scaledown_ttl);
    struct sy_span version = actor_version(
        (struct sy_span){template->custom.data, template->custom.len});
    if (version.len == 0) { /* who sends no version shares workers among equal images and code */
        XXH64_hash_t hash = XXH3_64bits(f->image, strlen(f->image));
        for (const char *const *arg = ret->args; *arg != NULL; arg++) {
            if (arg != ret->args && strcmp(arg[-1], "--tgz") == 0)
                hash = XXH3_64bits_withSeed(*arg, strlen(*arg), hash);
        }
        f->pool_version = sy_arena_printf(&ret->arena, "%016llx", (unsigned long long)hash);
    } else {
        f->pool_version = sy_arena_printf(&ret->arena, "%.*s", (int)version.len,
                                          (const char *)version.data);
    }
    return f->pool_version != NULL;
}

bool ag_spec_read_flyte(struct ag_spec *ret, const Flyteidl2__Core__TaskTemplate *template)
{
    ret->flyte.image = template->container->image;
    return read_secrets(ret, template->security_context) && read_reuse(ret, template);
}
