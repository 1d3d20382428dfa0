/* switchyard cluster: its arguments, apart so that tests reach them. */
#pragma once

#include "tools/src/cmd.h"

enum cl_cluster_verb {
    CL_CLUSTER_CREATE,
    CL_CLUSTER_LIST,
    CL_CLUSTER_GET,
    CL_CLUSTER_DELETE,
    CL_CLUSTER_CORDON,
    CL_CLUSTER_UNCORDON,
    CL_CLUSTER_DRAIN,
    CL_CLUSTER_FENCE,
    CL_CLUSTER_UNFENCE,
    CL_CLUSTER_TOKEN_CREATE,
    CL_CLUSTER_TOKEN_REVOKE,
    CL_CLUSTER_VERBS,
};

struct cl_cluster_options {
    struct cl_args common;
    enum cl_cluster_verb verb;
    bool has_verb, has_token, of_token, wait;
    const char *name;
    const char *region, *labels;                                /* NULL: not said */
    int64_t price_micros, uses, expires_ns, token, deadline_ns; /* 0: not said */
};
enum cl_parse cl_cluster_parse(struct cl_cluster_options *options, const struct cl_args *defaults,
                               int argc, char **argv);
