/*
 * Protobuf's wire format without a descriptor: for the few recursive messages (literals, structs)
 * of which one leaf is wanted. Unpacking them whole would recurse as deep as the sender likes.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>

struct ag_wire_field {
    uint32_t number;
    uint64_t value;       /* varints and fixed ones */
    struct sy_span bytes; /* length-delimited */
};

/* The next field, which *at is moved beyond; false: none, or what follows is malformed. */
bool ag_wire_next(struct sy_span *at, struct ag_wire_field *ret);
/* The last field of that number; false: there is none. */
bool ag_wire_find(struct sy_span message, uint32_t number, struct ag_wire_field *ret);
