/*
 * Where the files of runs and uploads lie below the root of a cluster's storage. The operator and
 * its agents share this rule; clients and tasks are told whole URIs and never make one up, but for
 * Flyte's SDK, which writes RUN_BASE/CHILD/inputs.pb and reads RUN_BASE/ACTION/1/error.pb.
 *
 *     ROOT/PROJECT/DOMAIN/RUN                  run base, unless the run names another
 *     RUN_BASE/ACTION/inputs.pb                of a child, written by its parent
 *     RUN_BASE/ACTION/ID/N/                    attempt N: outputs.pb, error.pb, report.html
 *     ROOT/uploads/PROJECT/DOMAIN/DIGEST/FILE  code bundles, files, inputs of roots
 *
 * ID, in hex, tells an action from one that was made again under its name; the outcome says it.
 * No project should be called "uploads".
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <string.h>

#define PB_INPUTS_FILE "inputs.pb"
#define PB_OUTPUTS_FILE "outputs.pb"
#define PB_ERROR_FILE "error.pb"
#define PB_REPORT_FILE "report.html"

/* inputs_hash of a root without inputs: base64 of the SHA-256 of nothing, since the field may not
 * be empty. In the cache key of a child without inputs the SDK has "" in its place. */
#define PB_NO_INPUTS_HASH "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

/* Whether a name may be a part of such a path. */
static inline bool pb_path_part_valid(const char *name)
{
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Appends; no NUL. The names are valid parts. */
static inline void pb_path_upload(struct sy_buf *buf, const char *root, const char *project,
                                  const char *domain, const char *digest, const char *file)
{
    sy_buf_printf(buf, "%s/uploads/%s/%s/%s/%s", root, project, domain, digest, file);
}
