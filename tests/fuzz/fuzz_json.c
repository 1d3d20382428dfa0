/* Any bytes are a message or are refused; what became JSON once comes back as the same JSON. */
#include "proto/json.h"

#include "flyteidl2/core/values.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"

#include <string.h>

static const ProtobufCMessageDescriptor *const types[] = {
    &flyteidl2__workflow__create_run_request__descriptor,
    &flyteidl2__workflow__watch_actions_response__descriptor,
    &flyteidl2__core__literal__descriptor,
};

static void there_and_back(const ProtobufCMessageDescriptor *type, struct sy_span wire)
{
    struct sy_buf json = {0}, back = {0}, again = {0};
    struct sy_error_text error = {0};
    if (pb_json_from_wire(type, wire, &json) == 0 &&
        pb_json_to_wire(type, sy_buf_span(&json), &back, &error) == 0) {
        int r = pb_json_from_wire(type, sy_buf_span(&back), &again);
        SY_ASSERT(r == 0 && again.len == json.len);
        SY_ASSERT(memcmp(again.data, json.data, json.len) == 0);
    }
    sy_buf_deinit(&json);
    sy_buf_deinit(&back);
    sy_buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % 3];
    struct sy_span rest = {data + 1, size - 1};
    struct sy_buf wire = {0};
    struct sy_error_text error = {0};
    if (pb_json_to_wire(type, rest, &wire, &error) == 0)
        there_and_back(type, sy_buf_span(&wire));
    else
        SY_ASSERT(error.text[0] != '\0');
    there_and_back(type, rest);
    sy_buf_deinit(&wire);
    return 0;
}
