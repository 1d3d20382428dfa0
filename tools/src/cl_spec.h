/*
 * Task specs as the native types of flyteidl2.task.TaskSpec (see controlplane/spec.h): what
 * `switchyard run`, the benchmarks and the demo submit.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cl_spec_type {
    CL_SPEC_FUNCTION, /* environment, library, function */
    CL_SPEC_PROCESS,  /* args */
    CL_SPEC_GROUP,    /* a root that only holds children */
};

struct cl_spec {
    enum cl_spec_type type;
    const char *name; /* shown to people; NULL: the function, or the command */
    const char *environment, *library, *function;
    const char *const *args;
    size_t arg_count;
    const char *cpu, *memory; /* Kubernetes quantities ("500m", "64Mi"); NULL: the defaults below */
    uint32_t gpu_milli;       /* thousandths: whole GPUs, or a part of one */
    const char *node_labels, *tolerations; /* as docs/nodes.md has them; NULL: none */
    const char *on_partition;              /* "replace", "wait"; NULL: as "replace" */
    const char *gpu_model;                 /* NULL: any */
    const char *const *variables;          /* of its environment: "KEY=VALUE" */
    size_t variable_count;
    uint32_t retries;
    int64_t timeout_ns; /* of one attempt; 0 = none */
};
/* The warm pool of a function when nobody names one; deploy/ has a pool of that name. */
#define CL_ENVIRONMENT_DEFAULT "native"
/* SWITCHYARD_ENVIRONMENT, or the default. */
const char *cl_environment(void);
#define CL_SPEC_CPU "100m"
#define CL_SPEC_MEMORY "64Mi"

/* Where a task library is: `given`, or `name` beside the running program. To be freed; NULL with a
 * sentence. */
char *cl_task_library(const char *given, const char *name, struct sy_error_text *error);
/* Appends the packed TaskSpec. -EINVAL with a sentence: nothing to run, a quantity that is none. */
int cl_spec_pack(const struct cl_spec *spec, struct sy_buf *append,
                 struct sy_error_text *error) SY_MUST_USE;

/* "KEY=VALUE", the key a name that a shell could set. -EINVAL. */
int cl_variable_check(const char *text) SY_MUST_USE;
/* A Kubernetes quantity: "0", "2", "0.5", "500m" (only with `milli`), "64Mi", "1G"; in thousandths
 * with `milli`, rounded up. -EINVAL. */
int cl_quantity_parse(const char *text, bool milli, uint64_t *ret) SY_MUST_USE;
/* "0.035" in millionths; at most 6 digits after the point. -EINVAL. */
int cl_price_parse(const char *text, int64_t *ret) SY_MUST_USE;
/* "N", "N:MODEL", or a part of one, "0.25:MODEL"; keeps pointing into `text`. -EINVAL. */
int cl_gpu_parse(const char *text, uint32_t *ret_milli, const char **ret_model) SY_MUST_USE;
/* "LIBRARY:FUNCTION" (the last colon counts). The library becomes absolute when such a file exists.
 * Both are to be freed. -EINVAL. */
int cl_function_parse(const char *text, char **ret_library, char **ret_function) SY_MUST_USE;
