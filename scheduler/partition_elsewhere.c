/*
 * What other partitions have of the region, as operators tell it: for each queue and level of which
 * this partition has something in their cluster, and others too. It counts in the order as what is
 * out of this partition does, so a queue has one share in the region. Each number stands for itself
 * and replaces the one before; it ends with its stream, since it is told anew on the next one.
 */
#include "scheduler/partition_elsewhere.h"
#include "scheduler/partition_queue.h"

#include <stdlib.h>
#include <string.h>

/* From outside: sums over all clusters stay far from 64 bits. */
#define AMOUNT_MAX ((uint64_t)1 << 50)

static uint32_t said_hash(const struct sch_share *share, const struct sch_cluster *cluster)
{
    return sch_hash_u64(((uint64_t)share->id << 32) | cluster->index, cluster->stream);
}

static struct sch_elsewhere *said_find(const struct sch_partition *p, const struct sch_share *share,
                                       const struct sch_cluster *cluster)
{
    struct sch_table_link *link = sch_table_first(&p->elsewheres, said_hash(share, cluster));
    for (; link; link = sch_table_next(link)) {
        struct sch_elsewhere *said = sy_container_of(link, struct sch_elsewhere, by_share);
        if (said->share == share && said->cluster == cluster && said->stream == cluster->stream)
            return said;
    }
    return NULL;
}

static struct sch_elsewhere *said_new(struct sch_partition *p, struct sch_share *share,
                                      struct sch_cluster *cluster)
{
    struct sch_elsewhere *said = sy_new(struct sch_elsewhere);
    said->share = share;
    said->cluster = cluster;
    said->stream = cluster->stream;
    sch_share_ref(share);
    sch_table_add(&p->elsewheres, &said->by_share, said_hash(share, cluster));
    sch_list_push_back(&cluster->elsewhere, &said->link);
    sch_list_push_back(&share->elsewheres, &said->share_link);
    return said;
}

static void said_set(struct sch_partition *p, struct sch_elsewhere *said, struct sch_use use)
{
    sch_use_subtract(&said->share->elsewhere, &said->use);
    said->use = use;
    sch_use_add(&said->share->elsewhere, &said->use);
    sch_share_reweigh(p, said->share);
}

static void said_free(struct sch_partition *p, struct sch_elsewhere *said)
{
    said_set(p, said, (struct sch_use){0});
    sch_table_remove(&p->elsewheres, &said->by_share);
    sch_list_remove(&said->link);
    sch_list_remove(&said->share_link);
    sch_share_unref(p, said->share);
    free(said);
}

static uint64_t capped(uint64_t amount)
{
    return amount < AMOUNT_MAX ? amount : AMOUNT_MAX;
}

void sch_elsewhere_told(struct sch_partition *p, const char *name,
                        const struct sch_share_path *place, const struct sch_use *use)
{
    struct sch_cluster *cluster = sch_cluster_find(p, name);
    struct sch_share *share = sch_share_at(p, place);
    if (!cluster || !sch_cluster_connected(cluster) || !share)
        return; /* it crossed with a disconnect, or nothing of that queue is left here */
    struct sch_use capped_use = {capped(use->actions), capped(use->cpu_milli),
                                 capped(use->memory_bytes), capped(use->gpu_milli)};
    struct sch_elsewhere *said = said_find(p, share, cluster);
    bool nothing = !sch_use_any(&capped_use);
    if (said && nothing) {
        said_free(p, said);
    } else if (!nothing) {
        said = said ? said : said_new(p, share, cluster);
        said_set(p, said, capped_use);
    }
}

void sch_elsewhere_close(struct sch_partition *p, struct sch_cluster *cluster)
{
    sch_list_splice(&p->elsewhere_gone, &cluster->elsewhere);
}

static void free_first(struct sch_partition *p)
{
    struct sch_link *first = p->elsewhere_gone.next;
    said_free(p, sy_container_of(first, struct sch_elsewhere, link));
    SY_ASSERT(p->elsewhere_gone.next != first);
}

void sch_elsewhere_forget(struct sch_partition *p)
{
    while (!sch_list_empty(&p->elsewhere_gone) && sch_may_look(p))
        free_first(p);
}

/* Of the share and those below it, one of which something was said; NULL: there is none. */
static struct sch_elsewhere *said_below(const struct sch_partition *p,
                                        const struct sch_share *share)
{
    for (const struct sch_link *link = p->shares.next; link != &p->shares; link = link->next) {
        SY_ASSERT(link->next);
        const struct sch_share *at = sy_container_of((struct sch_link *)(uintptr_t)link,
                                                     struct sch_share, link);
        const struct sch_share *up = at;
        while (up && up != share)
            up = up->parent;
        if (up && !sch_list_empty(&at->elsewheres))
            return sy_container_of(at->elsewheres.next, struct sch_elsewhere, share_link);
    }
    return NULL;
}

void sch_elsewhere_moves(struct sch_partition *p, const struct sch_share *share)
{
    struct sch_elsewhere *said;
    while ((said = said_below(p, share)))
        said_free(p, said);
}

void sch_elsewhere_free(struct sch_partition *p)
{
    for (size_t i = 0; i < p->cluster_count; i++)
        sch_elsewhere_close(p, p->clusters[i]);
    while (!sch_list_empty(&p->elsewhere_gone))
        free_first(p);
}

void sch_elsewhere_check(const struct sch_share *share)
{
    struct sch_use sum = {0};
    for (struct sch_link *link = share->elsewheres.next; link != &share->elsewheres;
         link = link->next) {
        const struct sch_elsewhere *said = sy_container_of(link, struct sch_elsewhere, share_link);
        SY_ASSERT(said->share == share && sch_use_any(&said->use));
        sch_use_add(&sum, &said->use);
    }
    SY_ASSERT(memcmp(&sum, &share->elsewhere, sizeof(sum)) == 0);
}
