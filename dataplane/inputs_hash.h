/*
 * The hash of a task's inputs that is part of its cache key. Clients compute it for the actions
 * that a running task starts (Flyte's SDK, flyte/_internal/runtime/convert.py); for a run's root we
 * do, alike, so that both find the same cached outputs:
 *
 *     base64( SHA-256( for each input that is not ignored: name ":" literal ";" ) )
 *
 * where a literal is its own hash if it has one, of a list or a map what its members are, and else
 * its bytes with all maps sorted, inside of MessagePack too. Pure; reads any bytes.
 */
#pragma once

#include "base/buf.h"

/* `inputs` is a flyteidl2.task.Inputs. Appends the text, without a NUL; PB_NO_INPUTS_HASH when no
 * input is left. -EBADMSG when it is malformed or nested deeper than 100. */
int dp_inputs_hash(struct sy_span inputs, char *const *ignored, size_t ignored_count,
                   struct sy_buf *ret) SY_MUST_USE;
