/*
 * Task specs: checked and read once, kept by content. Two actions with equal TaskSpec bytes share
 * one cp_spec in memory and one row on disk.
 *
 * What the scheduler reads of a flyteidl2.task.TaskSpec: task_template.{type, container.resources,
 * container.image, metadata.retries, metadata.timeout, metadata.timeouts,
 * extended_resources.gpu_accelerator}. Native types: "switchyard.function" (container.image =
 * environment, args = [library, function]), "switchyard.process" (args = the command),
 * "switchyard.group" (no worker: ends with its children). Any other type is a Flyte task: a process
 * with the command of its container; but "core-sleep" only waits, which operators do themselves:
 * it asks for the environment of this name and for nothing of a node.
 *
 * Amounts come from the requests; what has no request takes its limit, as in Kubernetes. A process
 * that names no cpu takes one: nothing else would bound how many start on a node. A function's
 * bound is its environment's slots.
 */
#pragma once

#include "base/buf.h"
#include "controlplane/hash.h"
#include "scheduler/partition.h"

#define CP_SPEC_DIGEST_BYTES 16
#define CP_SPEC_BYTES_MAX ((size_t)4 << 20)
#define CP_SPEC_RETRIES_MAX 1000
/* Specs that no live action uses are kept for the next one, so many and so large at most. */
#define CP_SPECS_UNUSED_MAX 256
#define CP_SPECS_UNUSED_BYTES_MAX ((size_t)16 << 20)

/* The same spec as used by actions without, and with, an input on disk: an assignment of the first
 * kind needs no read, and an action has no room for a bit of ours. */
struct cp_spec_use {
    struct sch_spec base; /* first */
    struct cp_spec *spec;
    bool has_input;
};

/* What the core does not read. */
struct cp_spec_traits {
    bool flyte;              /* not one of our native types: its assignments carry a FlyteContext */
    bool cached, serialized; /* by the key that comes with the action; one producer at a time */
    int64_t cache_max_age_ns; /* 0: any age will do */
};

struct cp_spec {
    struct cp_spec_traits traits;
    struct cp_spec_use uses[2];           /* by has_input */
    uint8_t digest[CP_SPEC_DIGEST_BYTES]; /* XXH3-128 of bytes */
    uint32_t id;                          /* on operator streams; within (partition, epoch) */
    uint32_t pins;                        /* assignments that wait to be sent */
    bool stored;                          /* its row is in a committed or open batch */
    bool idle;                            /* in the list of those that may be dropped */
    struct sy_buf bytes;
    struct cp_spec *prev, *next; /* idle ones, oldest first */
    UT_hash_handle hh;
};

static inline struct cp_spec_use *cp_spec_use_of(struct sch_spec *base)
{
    return (struct cp_spec_use *)base;
}

/* Reads `bytes` into *ret (base only). -EINVAL with a sentence: not a TaskSpec, no command,
 * negative or absurd amounts, unknown units ("cpu '2x': expected a quantity such as 500m or 2"). */
int cp_spec_parse(struct sch_spec *ret, struct sy_span bytes,
                  struct sy_error_text *error) SY_MUST_USE;
/* The same, with *ret_traits. */
int cp_spec_parse_all(struct sch_spec *ret, struct cp_spec_traits *ret_traits, struct sy_span bytes,
                      struct sy_error_text *error) SY_MUST_USE;
/* Whether a gang's members may be of it: they are tasks that we run ourselves, and go on whole.
 * -EINVAL with a sentence. */
int cp_spec_check_gang(const struct sch_spec *spec, const struct cp_spec_traits *traits,
                       struct sy_error_text *error) SY_MUST_USE;
/* Kubernetes quantities: "500m", "2", "1.5", "64Mi", "1G", "1e3"; rounded up. Milli-units for cpu,
 * bytes for memory. -EINVAL: not one, or negative; -ERANGE: more than fits. */
int cp_quantity_parse(const char *text, bool milli, uint64_t *ret) SY_MUST_USE;

/* The table of a partition's specs: zeroed is empty. */
struct cp_specs {
    struct cp_spec *by_digest;
    struct cp_spec *idle;
    size_t idle_count, idle_bytes;
    uint32_t last_id;
};

void cp_specs_deinit(struct cp_specs *specs);
/* Finds or makes the spec with this content (bytes are copied). -EINVAL as cp_spec_parse(). */
int cp_specs_intern(struct cp_specs *specs, struct sy_span bytes, struct cp_spec **ret,
                    struct sy_error_text *error) SY_MUST_USE;
struct cp_spec *cp_specs_find(struct cp_specs *specs, const uint8_t digest[CP_SPEC_DIGEST_BYTES]);
/* No live action uses this use of it any more. */
void cp_specs_release(struct cp_specs *specs, struct cp_spec *spec);
/* The oldest one of those that are more than may be kept; NULL: none. The caller frees it with
 * cp_spec_free() when it has told the operators. */
struct cp_spec *cp_specs_pop_excess(struct cp_specs *specs);
void cp_spec_free(struct cp_spec *spec);
