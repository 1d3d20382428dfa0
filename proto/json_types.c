#include "proto/json_impl.h"

#include "base/mem.h"
#include "flyteidl2/core/interface.pb-c.h"
#include "flyteidl2/core/types.pb-c.h"
#include "flyteidl2/core/values.pb-c.h"
#include "flyteidl2/task/common.pb-c.h"
#include "flyteidl2/task/task_definition.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

#include <ctype.h>
#include <string.h>

#define SPEC &flyteidl2__task__task_spec__descriptor
#define INPUTS &flyteidl2__task__inputs__descriptor
#define OUTPUTS &flyteidl2__task__outputs__descriptor
#define INTERFACE &flyteidl2__core__typed_interface__descriptor
#define PARAMETER &flyteidl2__core__parameter__descriptor
#define LITERAL &flyteidl2__core__literal__descriptor
#define TYPE &flyteidl2__core__literal_type__descriptor
#define STRUCT &google__protobuf__struct__descriptor

/* Fields that are declared as bytes and hold a message (flyteidl2/README.md says why). */
static const struct {
    const char *owner, *field;
    const ProtobufCMessageDescriptor *holds;
} opaque[] = {
    {"flyteidl2.actions.SignalRequest", "value", LITERAL},
    {"flyteidl2.auth.UserInfoResponse", "additional_claims", STRUCT},
    {"flyteidl2.core.TaskTemplate", "interface", INTERFACE},
    {"flyteidl2.core.TaskTemplate", "custom", STRUCT},
    {"flyteidl2.core.K8sPod", "pod_spec", STRUCT},
    {"flyteidl2.dataproxy.UploadInputsRequest", "task_spec", SPEC},
    {"flyteidl2.dataproxy.UploadInputsRequest", "inputs", INPUTS},
    {"flyteidl2.dataproxy.GetActionDataResponse", "inputs", INPUTS},
    {"flyteidl2.dataproxy.GetActionDataResponse", "outputs", OUTPUTS},
    {"flyteidl2.task.NamedParameter", "parameter", PARAMETER},
    {"flyteidl2.task.NamedLiteral", "value", LITERAL},
    {"flyteidl2.task.ProducedArtifact", "type", TYPE},
    {"flyteidl2.task.TraceSpec", "interface", INTERFACE},
    {"flyteidl2.task.TaskDetails", "spec", SPEC},
    {"flyteidl2.task.TaskTriggerSpec", "inputs", INPUTS},
    {"flyteidl2.task.DeployTaskRequest", "spec", SPEC},
    {"flyteidl2.trigger.TriggerDetails", "inputs", INPUTS},
    {"flyteidl2.trigger.TriggerSpec", "inputs", INPUTS},
    {"flyteidl2.workflow.TaskAction", "spec", SPEC},
    {"flyteidl2.workflow.ConditionAction", "type", TYPE},
    {"flyteidl2.workflow.ConditionWebhook", "payload", STRUCT},
    {"flyteidl2.workflow.ConditionActionMetadata", "type", TYPE},
    {"flyteidl2.workflow.SignalInfo", "output", LITERAL},
    {"flyteidl2.workflow.ActionDetails", "task", SPEC},
    {"flyteidl2.workflow.ActionUpdate", "value", LITERAL},
    {"flyteidl2.workflow.CreateRunRequest", "task_spec", SPEC},
    {"flyteidl2.workflow.CreateRunRequest", "inputs", INPUTS},
    {"flyteidl2.workflow.GetActionDataResponse", "inputs", INPUTS},
    {"flyteidl2.workflow.GetActionDataResponse", "outputs", OUTPUTS},
    {"switchyard.v1.EnqueueActionsRequest", "task_spec", SPEC},
};

static const struct {
    const char *name;
    enum pb_json_kind kind;
} well_known[] = {
    {"google.protobuf.Timestamp", PB_JSON_TIMESTAMP},
    {"google.protobuf.Duration", PB_JSON_DURATION},
    {"google.protobuf.Struct", PB_JSON_STRUCT},
    {"google.protobuf.Value", PB_JSON_VALUE},
    {"google.protobuf.ListValue", PB_JSON_LIST},
    {"google.protobuf.StringValue", PB_JSON_WRAPPER},
    {"google.protobuf.BytesValue", PB_JSON_WRAPPER},
    {"google.protobuf.BoolValue", PB_JSON_WRAPPER},
    {"google.protobuf.Int32Value", PB_JSON_WRAPPER},
    {"google.protobuf.Int64Value", PB_JSON_WRAPPER},
    {"google.protobuf.UInt32Value", PB_JSON_WRAPPER},
    {"google.protobuf.UInt64Value", PB_JSON_WRAPPER},
    {"google.protobuf.FloatValue", PB_JSON_WRAPPER},
    {"google.protobuf.DoubleValue", PB_JSON_WRAPPER},
};

enum pb_json_kind pb_json_kind(const ProtobufCMessageDescriptor *type)
{
    if (strcmp(type->package_name, "google.protobuf") != 0)
        return PB_JSON_MESSAGE;
    for (size_t i = 0; i < SY_COUNT_OF(well_known); i++)
        if (strcmp(type->name, well_known[i].name) == 0)
            return well_known[i].kind;
    return PB_JSON_MESSAGE;
}

const ProtobufCMessageDescriptor *pb_json_message_of(const ProtobufCFieldDescriptor *field,
                                                     const ProtobufCMessageDescriptor *owner)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return field->descriptor;
    if (field->type != PROTOBUF_C_TYPE_BYTES)
        return NULL;
    for (size_t i = 0; i < SY_COUNT_OF(opaque); i++)
        if (strcmp(field->name, opaque[i].field) == 0 && strcmp(owner->name, opaque[i].owner) == 0)
            return opaque[i].holds;
    return NULL;
}

void pb_json_name(const char *field_name, char ret[PB_JSON_NAME_MAX])
{
    size_t n = 0;
    for (const char *c = field_name; *c != '\0' && n < PB_JSON_NAME_MAX - 1; c++) {
        if (*c == '_')
            continue;
        bool upper = c > field_name && c[-1] == '_';
        ret[n++] = (char)(upper ? toupper((unsigned char)*c) : *c);
    }
    ret[n] = '\0';
}

/* protoc calls the entries of `a_b` ABEntry, and protobuf-c keeps no mark of a map. */
bool pb_json_is_map(const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    char name[PB_JSON_NAME_MAX];
    pb_json_name(field->name, name);
    name[0] = (char)toupper((unsigned char)name[0]);
    size_t len = strlen(name);
    return entry->n_fields == 2 && strncmp(entry->short_name, name, len) == 0 &&
           strcmp(entry->short_name + len, "Entry") == 0;
}
