/* core-sleep: the time to wait lies in inputs.pb, the wait is a timer. */
#include "agent/flyte_impl.h"

#define INPUT_BYTES_MAX ((size_t)64 << 10)

static void on_input(void *ctx, int r, struct sy_span bytes, const struct sy_error_text *error)
{
    struct ag_flyte_attempt *a = ctx;
    struct ag_flyte *f = a->flyte;
    struct sy_error_text text = {0};
    int64_t ns = 0;
    if (ag_flyte_cancelled(a))
        return;
    if (r < 0) {
        ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "InputNotRead", error->text);
        return;
    }
    if (ag_flyte_read_sleep(bytes, &ns, &text) < 0) {
        ag_flyte_end(a, AG_RESULT_FAILED_FINAL, AG_ERROR_USER, "BadInput", text.text);
        return;
    }
    a->timed_out = a->work.timeout_ns > 0 && ns > a->work.timeout_ns;
    ag_flyte_move(a, AG_FLYTE_SLEEPING);
    a->result.started_ns = sy_loop_realtime_ns(f->ports.loop);
    f->events->on_started(f->events_ctx, a->id, a->result.started_ns);
    sy_timer_start_in(f->ports.loop, &a->timer, a->timed_out ? a->work.timeout_ns : ns);
}

void ag_flyte_sleep(struct ag_flyte_attempt *a)
{
    sy_blob_get(a->flyte->ports.blobs, a->work.flyte->input_uri, INPUT_BYTES_MAX, on_input, a);
}
