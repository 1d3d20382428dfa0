#include "controlplane/registry.h"

#include "base/mem.h"

#include <string.h>
#include <xxhash.h>

static void add_bytes(struct cp_registry_key *key, const void *data, size_t len)
{
    SY_ASSERT(len <= sizeof(key->data) - key->len);
    memcpy(key->data + key->len, data, len);
    key->len += len;
}

struct cp_registry_key cp_registry_key(enum cp_registry_kind kind, const char *const names[])
{
    struct cp_registry_key key = {.len = 1, .data = {(uint8_t)kind}};
    for (; *names != NULL; names++)
        add_bytes(&key, *names, strlen(*names) + 1);
    return key;
}

void cp_registry_add_u64(struct cp_registry_key *key, uint64_t v)
{
    v = __builtin_bswap64(v);
    add_bytes(key, &v, sizeof(v));
}

struct cp_registry_key cp_registry_due_key(uint64_t due_ns, const struct cp_registry_key *trigger)
{
    struct cp_registry_key key = CP_REGISTRY_KEY(CP_REGISTRY_DUE, NULL);
    cp_registry_add_u64(&key, due_ns);
    add_bytes(&key, trigger->data, trigger->len);
    return key;
}

struct cp_registry_key cp_registry_after(const struct cp_registry_key *prefix)
{
    struct cp_registry_key key = *prefix;
    SY_ASSERT(key.len > 0 && key.data[key.len - 1] < 0xff); /* a kind, or a NUL */
    key.data[key.len - 1]++;
    return key;
}

int cp_registry_compare(struct sy_span a, struct sy_span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

bool cp_registry_names(struct sy_span key, const char **ret_names, size_t count)
{
    size_t at = 1;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *end = at < key.len ? memchr(key.data + at, 0, key.len - at) : NULL;
        if (end == NULL)
            return false;
        ret_names[i] = (const char *)key.data + at;
        at = (size_t)(end - key.data) + 1;
    }
    return at == key.len;
}

int cp_registry_name_check(const char *what, const char *name, struct sy_error_text *error)
{
    if (name == NULL || name[0] == '\0') {
        sy_error_text_set(error, "%s: missing", what);
        return -EINVAL;
    }
    return cp_text_check(what, name, CP_REGISTRY_NAME_MAX, error);
}

uint64_t cp_registry_hash(const char *project, const char *domain, const char *name)
{
    char digits[17] = {0}; /* a task's name may be longer than a run's */
    uint64_t hash = XXH3_64bits(name, strlen(name));
    for (int i = 0; i < 16; i++, hash >>= 4)
        digits[i] = "0123456789abcdef"[hash & 15];
    return cp_name_hash(project, domain, digits);
}
