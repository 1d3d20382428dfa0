#include "agent/flyte_files.h"

#include "flyteidl2/core/execution.pb-c.h"
#include "proto/pb.h"

bool ag_flyte_read_error(struct sy_arena *arena, struct sy_span bytes, struct ag_result *ret)
{
    const Flyteidl2__Core__ErrorDocument *doc = pb_unpack(
        &flyteidl2__core__error_document__descriptor, arena, bytes);
    if (doc == NULL || doc->error == NULL)
        return false;
    const Flyteidl2__Core__ContainerError *error = doc->error;
    bool recoverable = error->kind == FLYTEIDL2__CORE__CONTAINER_ERROR__KIND__RECOVERABLE;
    ret->kind = recoverable ? AG_RESULT_FAILED : AG_RESULT_FAILED_FINAL;
    ret->error_code = error->code;
    ret->error_message = error->message;
    ret->error_kind = (enum ag_error_kind)error->origin;
    return true;
}
