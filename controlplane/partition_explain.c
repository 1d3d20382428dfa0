/* Why an action waits, and what a submit would do: asked of the core, nothing is written. */
#include "controlplane/partition_impl.h"

/* Children of the root that are looked at. */
#define CHILDREN_MAX 1000

struct sch_explanation *cp_partition_explain(struct cp_partition *p, const struct sch_action *live)
{
    SY_ASSERT(p->core && live);
    return sch_explain(p->core, live);
}

/* ---- the action that waits ---- */

static bool waits(const struct sch_action *action)
{
    switch (action->sm.state) {
    case SCH_ACTION_QUEUED:
    case SCH_ACTION_HELD:
    case SCH_ACTION_BACKOFF:
    case SCH_ACTION_RECOVERING:
    case SCH_ACTION_CACHE_WAIT:
        return true;
    default:
        return false;
    }
}

struct oldest {
    const struct sch_action *action;
    unsigned left;
};

static bool consider(void *ctx, struct sch_action *child)
{
    struct oldest *oldest = ctx;
    if (waits(child) && (!oldest->action || child->queued_at_ns < oldest->action->queued_at_ns))
        oldest->action = child;
    return --oldest->left > 0;
}

const char *cp_partition_waiting(struct cp_run_view *run)
{
    struct sch_action *root = run->live ? run->live->root : NULL;
    struct oldest oldest = {.left = CHILDREN_MAX};
    if (root && !waits(root))
        sch_action_each_child(root, consider, &oldest);
    return oldest.action ? oldest.action->name : SCH_ROOT_NAME;
}

static bool node_is_lost(const struct cp_cluster *cluster, const char *name)
{
    for (size_t i = 0; i < cluster->node_count; i++) {
        if (strcmp(cluster->nodes[i].name, name) == 0)
            return strcmp(cluster->nodes[i].state, "lost") == 0;
    }
    return false;
}

void cp_partition_silence(struct cp_partition *p, const struct cp_action_view *view,
                          struct sy_error_text *ret)
{
    const struct cp_cluster *cluster = cp_cluster_find(p, view->cluster);
    ret->text[0] = '\0';
    if (!view->live || !cluster || view->live->number == view->live->ended)
        return;
    static const char *const follows[] = {
        [SCH_ON_PARTITION_REPLACE] = "it is begun elsewhere when the lease of that is over",
        [SCH_ON_PARTITION_WAIT] = "by its policy (wait) it is begun nowhere else until that is "
                                  "back without it, or fenced",
        [SCH_ON_PARTITION_STOP] = "by its policy (stop-on-agent) its agent stops it if it is not "
                                  "heard either, and it is begun elsewhere when the lease of that "
                                  "is over",
    };
    if (!cluster->stream)
        sy_error_text_set(ret, "nothing is heard of cluster %s", cluster->name);
    else if (node_is_lost(cluster, view->node))
        sy_error_text_set(ret, "nothing is heard of node %s", view->node);
    else
        return;
    SY_ASSERT(view->live->spec);
    sy_error_text_add(ret, "%s", follows[view->live->spec->on_partition]);
}

/* ---- a submit ---- */

/* As create_run would say it. */
static void say_refusal(struct cp_partition *p, const struct sch_explanation *e,
                        struct sy_error_text *ret)
{
    p->rejected = e->why;
    p->rejected_text = e->text;
    (void)cp_explain_rejection(p, ret);
}

enum sy_code cp_partition_dry_run(struct cp_partition *p, const struct cp_dry_run *request,
                                  struct sch_explanation **ret_explanation,
                                  struct sy_error_text *ret_refusal, struct sy_error_text *error)
{
    struct sch_spec spec;
    struct cp_spec_traits traits;
    enum sy_code code = cp_refused(p, error);
    if (code != SY_CODE_OK)
        return code;
    if (cp_spec_parse_all(&spec, &traits, request->task_spec, error) < 0 ||
        cp_check_leases(p, &spec, error) < 0)
        return SY_CODE_INVALID_ARGUMENT;
    if (request->gang != NULL && cp_spec_check_gang(&spec, &traits, error) < 0)
        return SY_CODE_INVALID_ARGUMENT;
    *ret_explanation = NULL;
    *ret_refusal = (struct sy_error_text){0};
    if (spec.group)
        return SY_CODE_OK;
    struct sch_submit submit = {.project = request->project,
                                .domain = request->domain,
                                .queue = request->queue,
                                .request = &spec.request,
                                .gang = request->gang,
                                .priority = request->priority};
    struct sch_explanation *e = sch_explain_submit(p->core, &submit);
    if (e->refused)
        say_refusal(p, e, ret_refusal);
    *ret_explanation = e;
    return SY_CODE_OK;
}
