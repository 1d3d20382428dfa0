#include "proto/json_impl.h"

#include "base/mem.h"
#include "flyteidl2/actions/actions_service.pb-c.h"
#include "flyteidl2/auth/auth_service.pb-c.h"
#include "flyteidl2/auth/identity.pb-c.h"
#include "flyteidl2/cluster/service.pb-c.h"
#include "flyteidl2/dataproxy/dataproxy_service.pb-c.h"
#include "flyteidl2/project/project_service.pb-c.h"
#include "flyteidl2/secret/secret.pb-c.h"
#include "flyteidl2/task/task_service.pb-c.h"
#include "flyteidl2/trigger/trigger_service.pb-c.h"
#include "flyteidl2/workflow/queue_service.pb-c.h"
#include "flyteidl2/workflow/run_service.pb-c.h"
#include "flyteidl2/workflow/state_service.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "switchyard/internal/dataplane.pb-c.h"
#include "switchyard/v1/action_service.pb-c.h"
#include "switchyard/v1/explain_service.pb-c.h"
#include "switchyard/v1/log_service.pb-c.h"
#include "switchyard/v1/queue_service.pb-c.h"
#include "switchyard/v1/region_service.pb-c.h"

#include <errno.h>
#include <string.h>

static const ProtobufCServiceDescriptor *const services[] = {
    &flyteidl2__actions__actions_service__descriptor,
    &flyteidl2__auth__auth_metadata_service__descriptor,
    &flyteidl2__auth__identity_service__descriptor,
    &flyteidl2__cluster__cluster_service__descriptor,
    &flyteidl2__dataproxy__data_proxy_service__descriptor,
    &flyteidl2__project__project_service__descriptor,
    &flyteidl2__secret__secret_service__descriptor,
    &flyteidl2__task__task_service__descriptor,
    &flyteidl2__trigger__trigger_service__descriptor,
    &flyteidl2__workflow__queue_service__descriptor,
    &flyteidl2__workflow__run_service__descriptor,
    &flyteidl2__workflow__state_service__descriptor,
    &grpc__health__v1__health__descriptor,
    &switchyard__internal__control_plane__descriptor,
    &switchyard__internal__object_store__descriptor,
    &switchyard__internal__secret_store__descriptor,
    &switchyard__v1__action_service__descriptor,
    &switchyard__v1__explain_service__descriptor,
    &switchyard__v1__log_service__descriptor,
    &switchyard__v1__queue_service__descriptor,
    &switchyard__v1__region_service__descriptor,
};

/* "/package.Service/Method" */
static const ProtobufCMethodDescriptor *find(const char *path)
{
    const char *name = strrchr(path, '/');
    if (path[0] != '/' || name == path)
        return NULL;
    size_t len = (size_t)(name - path - 1);
    for (size_t i = 0; i < SY_COUNT_OF(services); i++)
        if (strlen(services[i]->name) == len && memcmp(services[i]->name, path + 1, len) == 0)
            return protobuf_c_service_descriptor_get_method_by_name(services[i], name + 1);
    return NULL;
}

static int request_from_json(void *ctx, const char *path, struct sy_span json,
                             struct sy_buf *ret_bytes, struct sy_error_text *error)
{
    (void)ctx;
    const ProtobufCMethodDescriptor *method = find(path);
    if (method == NULL) {
        sy_error_text_set(error, "%s takes no JSON", path);
        return -EINVAL;
    }
    return pb_json_to_wire(method->input, json, ret_bytes, error);
}

static int response_to_json(void *ctx, const char *path, struct sy_span bytes,
                            struct sy_buf *ret_json)
{
    (void)ctx;
    const ProtobufCMethodDescriptor *method = find(path);
    return method != NULL ? pb_json_from_wire(method->output, bytes, ret_json) : -EBADMSG;
}

const struct sy_codec *pb_json_codec(void)
{
    static const struct sy_codec codec = {
        .request_from_json = request_from_json,
        .response_to_json = response_to_json,
    };
    return &codec;
}
