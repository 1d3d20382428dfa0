/* Commands about queues: what their arguments say, and how queues are shown. */
#pragma once

#include "tools/src/cmd.h"

#include <jansson.h>

#define CL_QUEUE_CLUSTERS_MAX 16
#define CL_QUEUE_PREFERRED_MAX 4
#define CL_QUEUE_REGIONS_MAX 4
#define CL_QUEUE_FIELDS_MAX 24
#define CL_QUEUE_PATH_MAX (3 * CL_RUN_NAME_MAX)

struct cl_queue_options {
    struct cl_args common;
    struct cl_queue_target target;
    Switchyard__V1__QueueSettings settings;
    char *clusters[CL_QUEUE_CLUSTERS_MAX], *preferred[CL_QUEUE_PREFERRED_MAX];
    char *regions[CL_QUEUE_REGIONS_MAX];
    char *fields[CL_QUEUE_FIELDS_MAX]; /* names of what was given */
    size_t field_count;
};
enum cl_queue_verb {
    CL_QUEUE_CREATE,
    CL_QUEUE_UPDATE,
    CL_QUEUE_PAUSE,
    CL_QUEUE_RESUME,
    CL_QUEUE_DELETE,
    CL_QUEUE_VERBS,
};
const char *cl_queue_verb_name(enum cl_queue_verb verb); /* "create" */
enum cl_parse cl_queue_parse(struct cl_queue_options *options, enum cl_queue_verb verb,
                             const struct cl_args *defaults, int argc, char **argv);

/* The id that the target means; borrowed from it and from the client's options. */
Switchyard__V1__QueueId cl_queue_id(const struct cl_client *client,
                                    const struct cl_queue_target *target);
/* "fraud/prod/batch", "gpu"; a level as "fraud/prod/ *", without the blank. */
void cl_queue_path(const Switchyard__V1__QueueId *id, char ret[CL_QUEUE_PATH_MAX]);
json_t *cl_queue_json(const Switchyard__V1__Queue *queue);
const char *cl_policy_name(Switchyard__V1__PlacementPolicy policy); /* "spread" */
/* "hold", "fail"; "": as above it. */
const char *cl_infeasible_name(Switchyard__V1__InfeasiblePolicy policy);
/* False: there is none of that name. */
bool cl_policy_parse(const char *name, Switchyard__V1__PlacementPolicy *ret);
