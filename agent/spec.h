/*
 * A flyteidl2 TaskSpec, read once for each Spec record of the operator's stream: what an attempt
 * needs to run.
 *
 * Requests are read as the control plane reads them (controlplane/spec_parse.c): requests before
 * limits, a process without cpu counts as one core. Folders of one layer cannot share code, so the
 * two are held together by a test over the same specs.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "scheduler/resources.h"

#include <stdbool.h>

struct ag_spec_secret {
    const char *group, *key;
    const char *env_var; /* "" = as a file */
};

/* What only a task of Flyte's SDK has. */
struct ag_spec_flyte {
    const char *image;
    const struct ag_spec_secret *secrets;
    size_t secret_count;
    bool reusable; /* by warm workers, in pools of this version */
    bool per_run;  /* a pool for each run */
    const char *pool_version;
    uint32_t min, max, concurrency;
    int64_t idle_ns, scaledown_ns; /* 0 = not given */
};

struct ag_spec {
    struct sy_arena arena; /* all below */
    const char *type;
    const char *const *args; /* container.command then container.args; NULL-terminated */
    const char *const *env;  /* "KEY=value"; NULL-terminated */
    struct sch_resources request;
    struct ag_spec_flyte flyte;
};

/* -EINVAL with a sentence; the spec is then empty. */
int ag_spec_parse(struct ag_spec *ret, struct sy_span bytes,
                  struct sy_error_text *error) SY_MUST_USE;
void ag_spec_deinit(struct ag_spec *spec);
/* Kubernetes quantities: "500m", "2", "1.5", "64Mi", "1G"; rounded up. */
int ag_quantity_parse(const char *text, bool milli, uint64_t *ret) SY_MUST_USE;
