/* Reading runs and actions for a request, with the answer that a failed read gets. */
#include "controlplane/shard_impl.h"

#include "flyteidl2/workflow/run_service.pb-c.h"
#include "proto/pb.h"

bool cp_view_run(struct cp_request *req, struct sy_arena *arena, struct cp_run_view *ret)
{
    const struct cp_address *a = &req->address;
    SY_ASSERT(a->run != NULL);
    int r = cp_partition_get_run(req->lane->partition, arena, a->project, a->domain, a->run, ret);
    if (r == 0)
        return true;
    req->address.action = NULL; /* it is the run that is missing */
    cp_fail_read(req, r);
    return false;
}

bool cp_view_action(struct cp_request *req, struct sy_arena *arena, uint64_t run_id,
                    const char *name, struct cp_action_view *ret)
{
    int r = cp_partition_get_action(req->lane->partition, arena, run_id, name, ret);
    if (r == 0)
        return true;
    req->address.action = name;
    cp_fail_read(req, r);
    return false;
}

int cp_view_spec(struct cp_lane *lane, const struct cp_action_view *view, struct sy_buf *spec,
                 const struct cp_task_names **ret_names)
{
    sy_buf_clear(spec);
    *ret_names = &cp_task_names_none;
    const ProtobufCBinaryData *digest = &view->row->spec_digest;
    if (digest->len != CP_SPEC_DIGEST_BYTES)
        return 0;
    int r = cp_partition_get_spec(lane->partition, view, spec);
    if (r != 0)
        return r;
    *ret_names = cp_task_names_find(&lane->names, digest->data);
    if (*ret_names != NULL)
        return 0;
    struct sy_arena arena;
    sy_arena_init(&arena, (size_t)64 << 20);
    *ret_names = cp_task_names_add(&lane->names, digest->data, sy_buf_span(spec), &arena);
    sy_arena_deinit(&arena);
    return 0;
}

int cp_view_names(struct cp_lane *lane, const struct cp_action_view *view,
                  const struct cp_task_names **ret_names)
{
    *ret_names = &cp_task_names_none;
    const ProtobufCBinaryData *digest = &view->row->spec_digest;
    if (digest->len != CP_SPEC_DIGEST_BYTES)
        return 0;
    *ret_names = cp_task_names_find(&lane->names, digest->data);
    if (*ret_names != NULL)
        return 0;
    struct sy_buf SY_CLEANUP(sy_buf_deinit) spec = {0};
    return cp_view_spec(lane, view, &spec, ret_names);
}

struct cp_flyte cp_request_flyte(struct cp_request *req)
{
    const struct cp_address *a = &req->address;
    return (struct cp_flyte){&req->lane->scratch, a->org, a->project, a->domain, a->run};
}

bool cp_details_read(struct cp_request *req, const char *name, struct cp_details *ret)
{
    struct sy_arena *arena = cp_scratch(req->lane);
    if (!cp_view_run(req, arena, &ret->run) ||
        !cp_view_action(req, arena, ret->run.id, name, &ret->action))
        return false;
    int r = cp_partition_get_attempts(req->lane->partition, arena, &ret->action,
                                      CP_FLYTE_ATTEMPTS_MAX);
    if (r == 0)
        r = cp_view_spec(req->lane, &ret->action, &ret->spec, &ret->names);
    if (r != 0)
        cp_fail_read(req, r);
    return r == 0;
}

/* The responses of Get and Watch have the same form: one field, `details`, number 1. */
void cp_details_pack_action(struct cp_request *req, const struct cp_details *details,
                            struct sy_buf *buf)
{
    struct cp_flyte f = cp_request_flyte(req);
    Flyteidl2__Workflow__GetActionDetailsResponse response =
        FLYTEIDL2__WORKFLOW__GET_ACTION_DETAILS_RESPONSE__INIT;
    response.details = cp_flyte_details(&f, &details->action, details->names,
                                        sy_buf_span(&details->spec));
    pb_pack(&response.base, buf);
}

void cp_details_pack_run(struct cp_request *req, const struct cp_details *details,
                         struct sy_buf *buf)
{
    struct cp_flyte f = cp_request_flyte(req);
    Flyteidl2__Workflow__GetRunDetailsResponse response =
        FLYTEIDL2__WORKFLOW__GET_RUN_DETAILS_RESPONSE__INIT;
    response.details = cp_flyte_run_details(&f, &details->action, details->names,
                                            sy_buf_span(&details->spec), details->run.row);
    pb_pack(&response.base, buf);
}
