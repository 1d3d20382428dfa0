#include "agent/flyte_files.h"

#include "agent/wire.h"
#include "base/clock.h"
#include "flyteidl2/core/execution.pb-c.h"
#include "proto/pb.h"

#include <string.h>

#define SLEEP_S_MAX (3650LL * 86400)

bool ag_flyte_read_error(struct sy_arena *arena, struct sy_span bytes, struct ag_result *ret)
{
    const Flyteidl2__Core__ErrorDocument *doc = pb_unpack(
        &flyteidl2__core__error_document__descriptor, arena, bytes);
    if (doc == NULL || doc->error == NULL)
        return false;
    const Flyteidl2__Core__ContainerError *error = doc->error;
    bool recoverable = error->kind == FLYTEIDL2__CORE__CONTAINER_ERROR__KIND__RECOVERABLE;
    ret->kind = recoverable ? AG_RESULT_FAILED : AG_RESULT_FAILED_FINAL;
    ret->error_code = error->code;
    ret->error_message = error->message;
    ret->error_kind = (enum ag_error_kind)error->origin;
    return true;
}

/* ---- core-sleep ---- */

static int64_t seconds_ns(double seconds)
{
    return seconds >= 0 && seconds <= (double)SLEEP_S_MAX ? (int64_t)(seconds * (double)SY_NS_PER_S)
                                                          : -1;
}

/* Duration{seconds = 1, nanos = 2}; -1: not one that can be waited for. */
static int64_t duration_ns(struct sy_span duration)
{
    struct ag_wire_field seconds = {0}, nanos = {0};
    (void)ag_wire_find(duration, 1, &seconds);
    (void)ag_wire_find(duration, 2, &nanos);
    if (seconds.value > SLEEP_S_MAX || nanos.value >= (uint64_t)SY_NS_PER_S)
        return -1;
    return (int64_t)seconds.value * SY_NS_PER_S + (int64_t)nanos.value;
}

/* Literal{scalar = 1}, Scalar{primitive = 1}, Primitive{integer = 1, float_value = 2, duration =
 * 6}; -2: none of these. */
static int64_t literal_ns(struct sy_span literal)
{
    struct ag_wire_field scalar, primitive, value;
    if (!ag_wire_find(literal, 1, &scalar) || !ag_wire_find(scalar.bytes, 1, &primitive))
        return -2;
    if (ag_wire_find(primitive.bytes, 6, &value))
        return duration_ns(value.bytes);
    if (ag_wire_find(primitive.bytes, 1, &value))
        return seconds_ns((double)(int64_t)value.value);
    if (!ag_wire_find(primitive.bytes, 2, &value))
        return -2;
    double seconds;
    memcpy(&seconds, &value.value, sizeof(seconds));
    return seconds_ns(seconds);
}

int ag_flyte_read_sleep(struct sy_span inputs, int64_t *ret_ns, struct sy_error_text *error)
{
    struct ag_wire_field input, literal;
    while (ag_wire_next(&inputs, &input)) { /* Inputs{literals = 1: {name = 1, value = 2}} */
        if (input.number != 1 || !ag_wire_find(input.bytes, 2, &literal))
            continue;
        int64_t ns = literal_ns(literal.bytes);
        if (ns == -1) {
            sy_error_text_set(error, "core-sleep: its input is no time from 0 to %lld s",
                              (long long)SLEEP_S_MAX);
            return -EINVAL;
        }
        if (ns >= 0) {
            *ret_ns = ns;
            return 0;
        }
    }
    sy_error_text_set(error, "core-sleep: none of its inputs is a duration or a number of seconds");
    return -EINVAL;
}
