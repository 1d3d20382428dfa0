/* Any bytes are either a task spec within its limits or refused with a sentence. */
#include "controlplane/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sch_spec spec = {0};
    struct sy_error_text error = {0};
    if (cp_spec_parse(&spec, (struct sy_span){data, size}, &error) < 0) {
        SY_ASSERT(error.text[0] != '\0');
        return 0;
    }
    SY_ASSERT(spec.request.cpu_milli <= SCH_CPU_MILLI_MAX && spec.request.gpus <= SCH_GPUS_MAX);
    SY_ASSERT(spec.request.memory_bytes <= SCH_MEMORY_BYTES_MAX && spec.timeout_ns >= 0);
    return 0;
}
