#include "dataplane/sleep_input.h"

#include "base/clock.h"
#include "dataplane/wire.h"

#include <string.h>

#define SLEEP_S_MAX (3650LL * 86400)

/* The last field of this number and type, as protobuf has it. */
static bool find(struct sy_span message, uint32_t number, enum dp_wire_type type,
                 struct dp_wire_field *ret)
{
    struct dp_wire_field field;
    bool found = false;
    while (dp_wire_next(&message, &field) == 0) {
        if (field.number == number && field.type == type) {
            *ret = field;
            found = true;
        }
    }
    return found;
}

static int64_t seconds_ns(double seconds)
{
    return seconds >= 0 && seconds <= (double)SLEEP_S_MAX ? (int64_t)(seconds * (double)SY_NS_PER_S)
                                                          : -1;
}

/* Duration{seconds = 1, nanos = 2}; -1: not one that can be waited for. */
static int64_t duration_ns(struct sy_span duration)
{
    struct dp_wire_field seconds = {0}, nanos = {0};
    (void)find(duration, 1, DP_WIRE_VARINT, &seconds);
    (void)find(duration, 2, DP_WIRE_VARINT, &nanos);
    if (seconds.value > SLEEP_S_MAX || nanos.value >= (uint64_t)SY_NS_PER_S)
        return -1;
    return (int64_t)seconds.value * SY_NS_PER_S + (int64_t)nanos.value;
}

/* Literal{scalar = 1}, Scalar{primitive = 1}, Primitive{integer = 1, float_value = 2, duration =
 * 6}; -2: none of these. */
static int64_t literal_ns(struct sy_span literal)
{
    struct dp_wire_field scalar, primitive, value;
    if (!find(literal, 1, DP_WIRE_BYTES, &scalar) ||
        !find(scalar.bytes, 1, DP_WIRE_BYTES, &primitive))
        return -2;
    if (find(primitive.bytes, 6, DP_WIRE_BYTES, &value))
        return duration_ns(value.bytes);
    if (find(primitive.bytes, 1, DP_WIRE_VARINT, &value))
        return seconds_ns((double)(int64_t)value.value);
    if (!find(primitive.bytes, 2, DP_WIRE_FIXED64, &value))
        return -2;
    double seconds;
    memcpy(&seconds, &value.value, sizeof(seconds));
    return seconds_ns(seconds);
}

int dp_sleep_read(struct sy_span inputs, int64_t *ret_ns, struct sy_error_text *error)
{
    struct dp_wire_field input, literal;
    while (dp_wire_next(&inputs, &input) == 0) { /* Inputs{literals = 1: {name = 1, value = 2}} */
        if (input.number != 1 || input.type != DP_WIRE_BYTES ||
            !find(input.bytes, 2, DP_WIRE_BYTES, &literal))
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
