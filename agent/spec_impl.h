/* What spec.c and spec_flyte.c share. Nobody else includes this header. */
#pragma once

#include "agent/spec.h"
#include "flyteidl2/core/tasks.pb-c.h"

/* What only Flyte's SDK says. False: the arena's cap is reached. */
bool ag_spec_read_flyte(struct ag_spec *ret, const Flyteidl2__Core__TaskTemplate *template);
