#include "controlplane/task_names.h"

#include "base/mem.h"
#include "controlplane/names.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

#define FIELDS 8
/* Longer ones are cut: they are shown in lists. */
#define FIELD_BYTES_MAX 255

const struct cp_task_names cp_task_names_none = {"", "", "", "", "", "", "", ""};

static struct cp_task_names_entry *slot(struct cp_task_names_cache *cache,
                                        const uint8_t digest[CP_SPEC_DIGEST_BYTES])
{
    return &cache->entries[digest[0] % CP_TASK_NAMES_CACHED];
}

void cp_task_names_deinit(struct cp_task_names_cache *cache)
{
    for (size_t i = 0; i < SY_COUNT_OF(cache->entries); i++)
        free(cache->entries[i].text);
    memset(cache, 0, sizeof(*cache));
}

const struct cp_task_names *cp_task_names_find(const struct cp_task_names_cache *cache,
                                               const uint8_t digest[CP_SPEC_DIGEST_BYTES])
{
    const struct cp_task_names_entry *entry = &cache->entries[digest[0] % CP_TASK_NAMES_CACHED];
    if (entry->text == NULL || memcmp(entry->digest, digest, CP_SPEC_DIGEST_BYTES) != 0)
        return NULL;
    return &entry->names;
}

static void read_fields(const char *fields[FIELDS], const Flyteidl2__Task__TaskSpec *spec)
{
    for (size_t i = 0; i < FIELDS; i++)
        fields[i] = "";
    if (spec == NULL)
        return;
    const Flyteidl2__Core__TaskTemplate *template = spec->task_template;
    if (template != NULL && template->id != NULL) {
        fields[0] = template->id->org;
        fields[1] = template->id->project;
        fields[2] = template->id->domain;
        fields[3] = template->id->name;
        fields[4] = template->id->version;
    }
    if (template != NULL)
        fields[5] = template->type;
    fields[6] = spec->short_name;
    if (spec->environment != NULL)
        fields[7] = spec->environment->name;
}

const struct cp_task_names *cp_task_names_add(struct cp_task_names_cache *cache,
                                              const uint8_t digest[CP_SPEC_DIGEST_BYTES],
                                              struct sy_span task_spec, struct sy_arena *arena)
{
    const Flyteidl2__Task__TaskSpec *spec = pb_unpack(&flyteidl2__task__task_spec__descriptor,
                                                      arena, task_spec);
    const char *fields[FIELDS];
    read_fields(fields, spec);
    struct cp_task_names_entry *entry = slot(cache, digest);
    free(entry->text);
    size_t lengths[FIELDS], total = 0;
    for (size_t i = 0; i < FIELDS; i++) {
        lengths[i] = strnlen(fields[i], FIELD_BYTES_MAX);
        total += lengths[i] + 1;
    }
    entry->text = sy_malloc(total);
    memcpy(entry->digest, digest, CP_SPEC_DIGEST_BYTES);
    const char *copies[FIELDS];
    char *to = entry->text;
    for (size_t i = 0; i < FIELDS; i++) {
        memcpy(to, fields[i], lengths[i]);
        to[lengths[i]] = '\0';
        cp_text_clean(to);
        copies[i] = to;
        to += lengths[i] + 1;
    }
    SY_ASSERT(to == entry->text + total);
    entry->names = (struct cp_task_names){copies[0], copies[1], copies[2], copies[3],
                                          copies[4], copies[5], copies[6], copies[7]};
    return &entry->names;
}
