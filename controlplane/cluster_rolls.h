/*
 * Where a shard's registered clusters are: in its region's coordination port, or, without an etcd,
 * in one of its own whose records partition 0 keeps. On the front; each partition is handed the
 * roll whenever it is another.
 */
#pragma once

#include "controlplane/clusters.h"
#include "controlplane/shard_impl.h"

struct cp_cluster_rolls;

/* When the shard has its region, or none. */
void cp_cluster_rolls_new(struct cp_shard *shard, struct sy_loop *loop);
void cp_cluster_rolls_free(struct cp_shard *shard);

/* Now and then, in the lane of partition 0: reads what that keeps, when it has been opened. */
void cp_cluster_rolls_look(struct cp_lane *lane);
/* The records may be others than before. True: they are. */
bool cp_cluster_rolls_refresh(struct cp_shard *shard);

struct cp_coord *cp_cluster_coord(const struct cp_shard *shard);
/* As of the last refresh; NULL: nothing was read yet. */
const struct cp_roll *cp_cluster_roll(const struct cp_shard *shard);
/* In api_clusters.c: for lists; in the request's memory. */
Switchyard__V1__Registration *cp_registration_of(struct cp_request *req,
                                                 const cp_cluster_record *record);
/* In api_leads.c, as that: NULL, nobody has asked. */
Switchyard__V1__Lead *cp_lead_of(struct cp_request *req, const char *cluster);
/* A write to where they are. `done` runs in a later turn, unless it is forgotten. */
struct cp_cluster_write;
struct cp_cluster_write *cp_cluster_write(struct cp_shard *shard, const struct cp_coord_op *ops,
                                          size_t count, cp_coord_done_fn done, void *ctx);
void cp_cluster_write_forget(struct cp_cluster_write *write); /* NULL is nothing */
/* What keeps this shard from changing them, in words; "": nothing does. */
const char *cp_cluster_trouble(const struct cp_shard *shard);
