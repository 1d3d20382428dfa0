/* Turns inside of the partition core; partition_turn.c says what they are. */
#pragma once

#include "scheduler/partition_impl.h"

/* Of a share whose limits stop something, or once did. */
struct sch_stops {
    struct sch_link seats; /* one of them is next when something of the share ends */
    struct sch_link aside; /* too large for what is free: until more is */
    struct sch_use least;  /* none of them needs less of any amount */
    uint64_t wanted;       /* actions below those that the limits could ever let out */
    bool open;             /* the next one may fit; its turn is in the tree of all classes too */
};

/* The seat's share does not admit the next one below it. */
void sch_seat_stop(struct sch_partition *p, struct sch_seat *seat);
void sch_seat_go(struct sch_partition *p, struct sch_seat *seat);
/* Something below the stopped seat changed. */
void sch_seat_held(struct sch_partition *p, struct sch_seat *seat);
/* The share has more room, or other limits: those that it stops may go on in their turn. */
void sch_stops_open(struct sch_partition *p, struct sch_share *share);
void sch_stops_limits(struct sch_share *share);
void sch_stops_wanted(struct sch_seat *seat, int64_t delta);
/* What the share wants next; false: nothing that its limits could ever let out. */
bool sch_stops_next(const struct sch_share *share, struct sch_use *ret);
void sch_turn_free(struct sch_share *share);
/* Its weighted share changed. */
void sch_turn_weigh(struct sch_share *share);
void sch_turn_clear(struct sch_seat *head);
/* Of all classes that could run something now, the lane that is next, and where it goes; NULL:
 * nobody can run. */
struct sch_lane *sch_turn_next(struct sch_partition *p, struct sch_pair **ret_pair);
/* Somebody may be next: the last step assigned as many as it may. */
bool sch_turn_pending(const struct sch_partition *p);
/* Of those that stand in the tree of all classes, or would by a limit that is open; NULL: none. */
struct sch_seat *sch_turn_first(const struct sch_partition *p);
/* A cluster may have more room. */
void sch_turns_room(struct sch_partition *p);
/* Nobody who stands is asked: no cluster has room for any of them. */
bool sch_turns_closed(const struct sch_partition *p);
