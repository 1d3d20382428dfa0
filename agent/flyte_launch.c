/* How an attempt is run: its command line and environment, and who carries them out. */
#include "agent/flyte_impl.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

/* False: it has ended. */
static bool make_directories(struct ag_flyte_attempt *a, const char *bundle)
{
    char message[SY_ERROR_TEXT_MAX];
    if (a->paths.attempt_dir[0] == '/') {
        int r = sy_mkdir_p(a->paths.attempt_dir, 0755);
        if (r < 0) {
            snprintf(message, sizeof(message), "the attempt's directory %.300s: %s",
                     a->paths.attempt_dir, strerror(-r));
            ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "NotStarted", message);
            return false;
        }
    }
    a->cwd = bundle != NULL ? ag_bundles_take(a->flyte->bundles, bundle) : NULL;
    if (bundle != NULL && a->cwd == NULL) {
        snprintf(message, sizeof(message), "a directory for the code bundle: %s", strerror(errno));
        ag_flyte_end(a, AG_RESULT_REFUSED, AG_ERROR_SYSTEM, "NotStarted", message);
        return false;
    }
    return true;
}

void ag_flyte_launch(struct ag_flyte_attempt *a)
{
    const struct ag_flyte *f = a->flyte;
    const struct ag_flyte_plan_options options = {
        .endpoint = f->endpoint,
        .env = f->env,
        .previous_checkpoint = a->previous_checkpoint,
        .path = f->path,
        .environment = a->environment,
    };
    struct ag_work work = a->work;
    work.args = ag_flyte_args(&a->arena, &a->work, &a->paths, &options);
    work.env = ag_flyte_env(&a->arena, &a->work, &a->paths, &options, a->secrets);
    work.flyte = NULL;
    if (!make_directories(a, ag_flyte_bundle(work.args)))
        return;
    work.cwd = a->cwd;
    ag_flyte_move(a, AG_FLYTE_RUNNING);
    f->ports.inner->ops->start(f->ports.inner, &work);
}
