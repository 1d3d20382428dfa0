/* A child's TaskSpec (proto/flyteidl2/task/task_definition.proto), written field by field: the
 * generated code would pull thirty message descriptors, and their relocations, into every worker.
 */
#include "agent/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CPU_MILLI_DEFAULT 100u
#define MEMORY_BYTES_DEFAULT ((uint64_t)64 << 20)

enum { /* field numbers */
       SPEC_TEMPLATE = 1,
       SPEC_SHORT_NAME = 3,
       TEMPLATE_TYPE = 2,
       TEMPLATE_METADATA = 3,
       TEMPLATE_CONTAINER = 6,
       TEMPLATE_EXTENDED = 9,
       METADATA_TIMEOUT = 4,
       METADATA_RETRIES = 5,
       RETRIES_RETRIES = 5,
       DURATION_SECONDS = 1,
       DURATION_NANOS = 2,
       CONTAINER_IMAGE = 1,
       CONTAINER_ARGS = 3,
       CONTAINER_RESOURCES = 4,
       RESOURCES_REQUESTS = 1,
       ENTRY_NAME = 1,
       ENTRY_VALUE = 2,
       RESOURCE_CPU = 1,
       RESOURCE_GPU = 2,
       RESOURCE_MEMORY = 3,
       EXTENDED_GPU = 1,
       GPU_DEVICE = 1,
};

static void put_text(struct sy_buf *buf, unsigned field, const char *text)
{
    ag_worker_put_bytes(buf, field, text, strlen(text));
}

static void put_nested(struct sy_buf *buf, unsigned field, struct sy_buf *message)
{
    ag_worker_put_bytes(buf, field, message->data, message->len);
    sy_buf_deinit(message);
}

static void put_entry(struct sy_buf *resources, unsigned name, uint64_t amount, const char *unit)
{
    char value[32];
    snprintf(value, sizeof(value), "%" PRIu64 "%s", amount, unit);
    struct sy_buf entry = {0};
    ag_worker_put_uint(&entry, ENTRY_NAME, name);
    put_text(&entry, ENTRY_VALUE, value);
    put_nested(resources, RESOURCES_REQUESTS, &entry);
}

static struct sy_buf encode_metadata(const struct sy_child_spec *spec)
{
    struct sy_buf metadata = {0};
    if (spec->timeout_ms > 0) {
        struct sy_buf duration = {0};
        ag_worker_put_uint(&duration, DURATION_SECONDS, (uint64_t)spec->timeout_ms / 1000);
        ag_worker_put_uint(&duration, DURATION_NANOS,
                           (uint64_t)spec->timeout_ms % 1000 * UINT64_C(1000000));
        put_nested(&metadata, METADATA_TIMEOUT, &duration);
    }
    if (spec->retries > 0) {
        struct sy_buf retries = {0};
        ag_worker_put_uint(&retries, RETRIES_RETRIES, spec->retries);
        put_nested(&metadata, METADATA_RETRIES, &retries);
    }
    return metadata;
}

static struct sy_buf encode_container(const struct sy_child_spec *spec, const char *library,
                                      const char *environment)
{
    struct sy_buf container = {0}, resources = {0};
    put_text(&container, CONTAINER_IMAGE, environment);
    put_text(&container, CONTAINER_ARGS, library);
    put_text(&container, CONTAINER_ARGS, spec->function);
    put_entry(&resources, RESOURCE_CPU, spec->cpu_milli ? spec->cpu_milli : CPU_MILLI_DEFAULT, "m");
    put_entry(&resources, RESOURCE_MEMORY,
              spec->memory_bytes ? spec->memory_bytes : MEMORY_BYTES_DEFAULT, "");
    if (spec->gpus > 0)
        put_entry(&resources, RESOURCE_GPU, spec->gpus, "");
    put_nested(&container, CONTAINER_RESOURCES, &resources);
    return container;
}

void ag_worker_spec_encode(struct sy_buf *ret, const struct sy_child_spec *spec,
                           const char *library, const char *environment)
{
    struct sy_buf template = {0};
    put_text(&template, TEMPLATE_TYPE, "switchyard.function");
    struct sy_buf metadata = encode_metadata(spec);
    put_nested(&template, TEMPLATE_METADATA, &metadata);
    struct sy_buf container = encode_container(spec, library, environment);
    put_nested(&template, TEMPLATE_CONTAINER, &container);
    if (spec->gpus > 0 && spec->gpu_model != NULL && spec->gpu_model[0] != '\0') {
        struct sy_buf gpu = {0}, extended = {0};
        put_text(&gpu, GPU_DEVICE, spec->gpu_model);
        put_nested(&extended, EXTENDED_GPU, &gpu);
        put_nested(&template, TEMPLATE_EXTENDED, &extended);
    }
    sy_buf_clear(ret);
    put_nested(ret, SPEC_TEMPLATE, &template);
    put_text(ret, SPEC_SHORT_NAME, spec->function);
}
