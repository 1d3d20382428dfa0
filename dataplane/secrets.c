#include "dataplane/secrets.h"

#include "base/file.h"
#include "base/mem.h"
#include "dataplane/seal.h"
#include "dataplane/wire.h"

#include <stdlib.h>
#include <string.h>

#define LABEL "switchyard secrets 1" /* also the file's version */
#define FILE_BYTES_MAX (DP_SECRETS_MAX * (DP_SECRET_BYTES_MAX + 2048))

struct dp_secrets {
    char *path;
    uint8_t key[DP_KEY_BYTES];
    struct dp_secret *first;
    size_t count;
};

static void wipe(struct sy_buf *buf)
{
    if (buf->cap > 0)
        explicit_bzero(buf->data, buf->cap);
    sy_buf_deinit(buf);
}

static void secret_free(struct dp_secret *secret)
{
    wipe(&secret->value);
    free(secret->project);
    free(secret->domain);
    free(secret->name);
    free(secret->org);
    free(secret);
}

/* ---- the list ---- */

static int compare(const struct dp_secret *secret, const struct dp_secret_id *id)
{
    int order = strcmp(secret->project, id->project);
    if (order == 0)
        order = strcmp(secret->domain, id->domain);
    return order != 0 ? order : strcmp(secret->name, id->name);
}

/* The link that leads to it, or where it would be. */
static struct dp_secret **place(struct dp_secret **at, const struct dp_secret_id *id)
{
    while (*at && compare(*at, id) < 0)
        at = &(*at)->next;
    return at;
}

static bool is_there(struct dp_secret *const *at, const struct dp_secret_id *id)
{
    return *at && compare(*at, id) == 0;
}

const struct dp_secret *dp_secrets_find(const struct dp_secrets *secrets,
                                        const struct dp_secret_id *id)
{
    struct dp_secret *first = secrets->first, *const *at = place(&first, id);
    return is_there(at, id) ? *at : NULL;
}

const struct dp_secret *dp_secrets_for(const struct dp_secrets *secrets,
                                       const struct dp_secret_id *id)
{
    const struct dp_secret_id scopes[] = {
        {id->project, id->domain, id->name},
        {id->project, "", id->name},
        {"", id->domain, id->name},
        {"", "", id->name},
    };
    const struct dp_secret *found = NULL;
    for (size_t i = 0; i < SY_COUNT_OF(scopes) && !found; i++)
        found = dp_secrets_find(secrets, &scopes[i]);
    return found;
}

const struct dp_secret *dp_secrets_first(const struct dp_secrets *secrets)
{
    return secrets->first;
}

/* ---- the file ---- */

/* Field 1 of the whole; its fields: project, domain, name, org, type, created, value. */
static void put_secret(const struct dp_secret *secret, struct sy_buf *whole)
{
    struct sy_buf record = {0};
    dp_wire_put_text(&record, 1, secret->project);
    dp_wire_put_text(&record, 2, secret->domain);
    dp_wire_put_text(&record, 3, secret->name);
    dp_wire_put_text(&record, 4, secret->org);
    dp_wire_put_u64(&record, 5, secret->type);
    dp_wire_put_u64(&record, 6, (uint64_t)secret->created_s);
    dp_wire_put_bytes(&record, 7, sy_buf_span(&secret->value));
    dp_wire_put_record(whole, 1, sy_buf_span(&record));
    wipe(&record);
}

static int save(const struct dp_secrets *secrets)
{
    struct sy_buf whole = {0}, sealed = {0};
    size_t size = 0; /* reserved at once: a buffer that grows leaves copies behind */
    for (const struct dp_secret *secret = secrets->first; secret; secret = secret->next)
        size += secret->value.len + 2048;
    sy_buf_reserve(&whole, size);
    for (const struct dp_secret *secret = secrets->first; secret; secret = secret->next)
        put_secret(secret, &whole);
    dp_seal(sy_buf_span(&whole), LABEL, secrets->key, &sealed);
    wipe(&whole);
    int r = sy_file_write_atomic(secrets->path, sealed.data, sealed.len);
    sy_buf_deinit(&sealed);
    return r;
}

static char *text_of(struct sy_span span)
{
    return span.len > 0 ? sy_strndup((const char *)span.data, span.len) : sy_strdup("");
}

static int take_secret(struct dp_secrets *secrets, struct sy_span record)
{
    struct sy_span bytes[8] = {0};
    uint64_t numbers[8] = {0};
    struct dp_wire_field field;
    int r;
    while ((r = dp_wire_next(&record, &field)) == 0) {
        if (field.number < SY_COUNT_OF(bytes) && field.type == DP_WIRE_BYTES)
            bytes[field.number] = field.bytes;
        else if (field.number < SY_COUNT_OF(numbers))
            numbers[field.number] = field.value;
    }
    if (r != DP_WIRE_E_END || secrets->count >= DP_SECRETS_MAX)
        return -EBADMSG;
    struct dp_secret *secret = sy_new(struct dp_secret);
    *secret = (struct dp_secret){
        .project = text_of(bytes[1]),
        .domain = text_of(bytes[2]),
        .name = text_of(bytes[3]),
        .org = text_of(bytes[4]),
        .type = (uint32_t)numbers[5],
        .created_s = (int64_t)numbers[6],
        .value = sy_buf_copy(bytes[7].data, bytes[7].len),
    };
    struct dp_secret_id id = {secret->project, secret->domain, secret->name};
    struct dp_secret **at = place(&secrets->first, &id);
    secret->next = *at;
    *at = secret;
    secrets->count++;
    return 0;
}

static int load(struct dp_secrets *secrets)
{
    struct sy_buf sealed = {0}, whole = {0};
    struct dp_wire_field field;
    int r = sy_file_read(secrets->path, FILE_BYTES_MAX, &sealed);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = dp_unseal(sy_buf_span(&sealed), LABEL, secrets->key, &whole);
    struct sy_span rest = sy_buf_span(&whole);
    while (r == 0 && (r = dp_wire_next(&rest, &field)) == 0) {
        if (field.number == 1 && field.type == DP_WIRE_BYTES)
            r = take_secret(secrets, field.bytes);
    }
    wipe(&whole);
    sy_buf_deinit(&sealed);
    return r == DP_WIRE_E_END ? 0 : r;
}

int dp_secrets_open(struct dp_secrets **ret, const char *path, const uint8_t key[DP_KEY_BYTES],
                    struct sy_error_text *error)
{
    struct dp_secrets *secrets = sy_new(struct dp_secrets);
    secrets->path = sy_strdup(path);
    memcpy(secrets->key, key, DP_KEY_BYTES);
    int r = load(secrets);
    if (r == -EBADMSG)
        sy_error_text_set(
            error,
            "%s: damaged, or sealed with another key; put back a copy of it and of its "
            "key, or move it away to start without secrets",
            path);
    else if (r < 0)
        sy_error_text_set(error, "%s: cannot read secrets: %s", path, strerror(-r));
    if (r < 0) {
        dp_secrets_close(secrets);
        return sy_trace(r);
    }
    *ret = secrets;
    return 0;
}

void dp_secrets_close(struct dp_secrets *secrets)
{
    if (!secrets)
        return;
    while (secrets->first) {
        struct dp_secret *secret = secrets->first;
        secrets->first = secret->next;
        secret_free(secret);
    }
    explicit_bzero(secrets->key, sizeof(secrets->key));
    free(secrets->path);
    free(secrets);
}

/* ---- changes ---- */

int dp_secrets_put(struct dp_secrets *secrets, const struct dp_secret_id *id, const char *org,
                   uint32_t type, int64_t now_s, struct sy_buf *value)
{
    struct dp_secret **at = place(&secrets->first, id);
    struct dp_secret *old = is_there(at, id) ? *at : NULL;
    if (!old && secrets->count >= DP_SECRETS_MAX) {
        wipe(value);
        return -ENOSPC;
    }
    struct dp_secret *secret = sy_new(struct dp_secret);
    *secret = (struct dp_secret){
        .project = sy_strdup(id->project),
        .domain = sy_strdup(id->domain),
        .name = sy_strdup(id->name),
        .org = sy_strdup(org),
        .type = type,
        .created_s = old ? old->created_s : now_s,
        .value = sy_buf_take(value),
        .next = old ? old->next : *at,
    };
    *at = secret;
    int r = save(secrets);
    if (r < 0)
        *at = old ? old : secret->next;
    else
        secrets->count += old ? 0 : 1;
    if (r < 0 || old)
        secret_free(r < 0 ? secret : old);
    return sy_trace(r);
}

int dp_secrets_remove(struct dp_secrets *secrets, const struct dp_secret_id *id)
{
    struct dp_secret **at = place(&secrets->first, id);
    if (!is_there(at, id))
        return -ENOENT;
    struct dp_secret *secret = *at;
    *at = secret->next;
    int r = save(secrets);
    if (r < 0) {
        *at = secret;
        return sy_trace(r);
    }
    secrets->count--;
    secret_free(secret);
    return 0;
}
