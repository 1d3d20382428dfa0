/* Which clusters are let in: the roll, and who must go when it has become another. */
#include "controlplane/partition_impl.h"

enum cp_admission cp_operator_admit(const struct cp_operator *o, const char *cluster,
                                    struct sy_error_text *error)
{
    const struct cp_partition *p = o->p;
    return cp_roll_admit(p->roll, p->options.registered_only, cluster, &o->identity, error);
}

void cp_clusters_purge(struct cp_partition *p)
{
    if (cp_refusal(p) != SY_CODE_OK || p->roll == NULL)
        return;
    struct cp_cluster *next;
    for (struct cp_cluster *cluster = p->clusters; cluster != NULL; cluster = next) {
        const struct cp_registered *registered = cp_roll_find(p->roll, cluster->name);
        next = cluster->next;
        if (registered == NULL || !cp_registered_deleted(registered))
            continue;
        SY_ASSERT(cluster->stream == NULL); /* nobody is let in as it */
        cp_cluster_delete_all(p, cluster);
    }
}

static void heed(struct cp_partition *p, struct cp_cluster *cluster)
{
    cp_standing standing = cp_roll_standing(p->roll, cluster->name);
    if (standing == CP_STANDING(FENCED)) {
        SY_ASSERT(cluster->stream == NULL); /* nobody is let in as it */
        cp_step(p, &(struct sch_event){.type = SCH_EVENT_CLUSTER_FENCED,
                                       .u.cluster.name = cluster->name});
        cp_touch(p);
    } else if (cluster->stream != NULL &&
               (cluster->standing != standing ||
                cluster->drain_deadline_ns != cp_roll_drain_deadline_ns(p->roll, cluster->name))) {
        cp_operator_said(cluster->stream);
        cp_touch(p);
    }
}

void cp_clusters_heed(struct cp_partition *p)
{
    if (cp_refusal(p) != SY_CODE_OK || p->roll == NULL)
        return;
    for (struct cp_cluster *cluster = p->clusters; cluster != NULL; cluster = cluster->next)
        heed(p, cluster);
}

void cp_partition_set_roll(struct cp_partition *p, const struct cp_roll *roll)
{
    const struct cp_roll *before = p->roll;
    p->roll = cp_roll_ref(roll);
    cp_roll_unref(before);
    struct cp_operator *next;
    for (struct cp_operator *o = p->operators; o != NULL; o = next) {
        struct sy_error_text why;
        next = o->next;
        enum cp_admission admission = o->cluster != NULL && !o->closing
                                          ? cp_operator_admit(o, o->cluster->name, &why)
                                          : CP_ADMITTED;
        if (admission != CP_ADMITTED && admission != CP_ADMISSION_UNKNOWN)
            cp_operator_close(o, cp_admission_code(admission), why.text);
    }
    cp_clusters_purge(p);
    cp_clusters_heed(p);
}

int64_t cp_partition_registered_at(const struct cp_partition *p)
{
    return p->roll != NULL ? cp_roll_newest(p->roll) : 0;
}
