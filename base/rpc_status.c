/* Statuses of calls, and their codes. */
#include "base/mem.h"
#include "base/rpc_impl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *sy_code_name(enum sy_code code)
{
    static const char *const names[] = {
        [SY_CODE_OK] = "OK",
        [SY_CODE_CANCELLED] = "CANCELLED",
        [SY_CODE_UNKNOWN] = "UNKNOWN",
        [SY_CODE_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [SY_CODE_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [SY_CODE_NOT_FOUND] = "NOT_FOUND",
        [SY_CODE_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [SY_CODE_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [SY_CODE_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [SY_CODE_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [SY_CODE_ABORTED] = "ABORTED",
        [SY_CODE_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [SY_CODE_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [SY_CODE_INTERNAL] = "INTERNAL",
        [SY_CODE_UNAVAILABLE] = "UNAVAILABLE",
        [SY_CODE_DATA_LOSS] = "DATA_LOSS",
        [SY_CODE_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };
    return (size_t)code < SY_COUNT_OF(names) ? names[code] : "UNKNOWN";
}

void sy_status_vset(struct sy_status *status, enum sy_code code, const char *format, va_list args)
{
    status->code = code;
    sy_error_text_vset(&status->message, format, args);
    sy_buf_clear(&status->details);
}

void sy_status_set(struct sy_status *status, enum sy_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sy_status_vset(status, code, format, args);
    va_end(args);
}

void sy_status_deinit(struct sy_status *status)
{
    sy_buf_deinit(&status->details);
    *status = (struct sy_status){0};
}

/* By gRPC's own words: it has no other sign. */
bool sy_status_unsent(const struct sy_status *status)
{
    const char *text = status->message.text;
    return status->code == SY_CODE_UNAVAILABLE && (strncmp(text, "failed to connect", 17) == 0 ||
                                                   strncmp(text, "DNS resolution", 14) == 0);
}

struct sy_status *sy_rpc_status_new(enum sy_code code, const char *format, ...)
{
    struct sy_status *status = sy_new(struct sy_status);
    va_list args;
    va_start(args, format);
    sy_status_vset(status, code, format, args);
    va_end(args);
    return status;
}

void sy_rpc_status_free(struct sy_status *status)
{
    if (status == NULL)
        return;
    sy_status_deinit(status);
    free(status);
}

struct sy_status *sy_rpc_status_copy(const struct sy_status *status)
{
    struct sy_status *copy = sy_rpc_status_new(status->code, "%s", status->message.text);
    if (status->details.len > 0 && status->details.len <= SY_RPC_DETAILS_MAX)
        sy_buf_append(&copy->details, status->details.data, status->details.len);
    return copy;
}
