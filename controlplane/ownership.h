/*
 * Which partitions this shard owns: a pure state machine, one for each shard. Nobody leads. All
 * shards see the same records and work out the same plan (region_plan.h); each acts on its own
 * part only: it claims what is free and planned for it, and gives back what is planned for another.
 *
 * The shell steps it whenever the copy, the session or its deadline changes, with each answer, and
 * at wake_ns; then carries the effects out in order: each WRITE is answered by one WROTE, each OPEN
 * by at most one OPENED and by one CLOSED, which also tells of a store that failed by itself.
 *
 * The right. A shard may act on a partition from when the copy shows the record that its claim
 * wrote, until it has closed it; never at or after held_until_ns - margin_ns of the session that
 * the record names. A claim replaces the record that it was decided from (its revision is the
 * condition), and only one that says "given back", or names a session that is over; a session once
 * over never comes back, and is seen to be over only after its held_until_ns, or after the end of
 * the process that had it (witness.h), which has no right any more. So no two shards have the right
 * at one time. What the records cannot know is for how long a process stood still: the shell asks
 * cp_ownership_right() before whatever others see (a commit, an answer, a message).
 *
 * Epochs. Each claim writes one more than the record had (more, when the store has seen more: the
 * records may have been lost), and an epoch is opened at most once: what was closed is claimed anew
 * before it is opened again. So the epoch tells whoever keeps the greatest one he has seen (store,
 * operator, agent) which of two owners is the older.
 *
 * A write whose outcome is unknown is repeated as it was as long as the copy shows the record that
 * it would replace; when the copy shows another one, that says what happened.
 *
 * Copies. Where each shard has a disk of its own (map->local) a shard claims what was begun only if
 * the record names its copy, and that copy lies on its disk; the one that the plan names at once,
 * the others when that one did not within settle_ns. What was never begun is claimed with a copy
 * that was made for it (MAKE). The owner writes who is to be its standby; and gives only to a shard
 * whose copy is in sync.
 *
 * A slow disk. A partition whose disk keeps it waiting (STALLED), be it that its opening hangs, is
 * lost at once, without waiting for its close, and its record written free, if another shard can
 * have it: whoever claims it does not need what is still open here. The shard is slow then: it
 * shows itself as one that drains, so that it gets nothing more and the rest of what it has goes
 * too, until slow_rest_ns after it last heard that its disk is slow, or until nobody else takes
 * partitions.
 *
 * The pace. Free partitions are claimed at once, opening_max at a time; a shard that has just
 * joined waits settle_ns with those that nobody gave back, so that shards that start together share
 * them. Planned hand-overs: one at a time for each shard that gives or takes, and at most moves_max
 * in the region, counting partitions that are free or `moving`. What people asked for by name waits
 * only for its giver.
 */
#pragma once

#include "base/clock.h"
#include "base/sm.h"
#include "controlplane/copies.h"
#include "controlplane/region_map.h"

/* ---- a partition, as this shard has it ----
 *
 *   NOT_OURS --> CLAIMING --> OPENING --> SERVING --> GIVING --> NOT_OURS
 *      ^            |            |           |           |
 *      |            |            +-----------+-----------+--> LOST --> NOT_OURS
 *      +------------+ it became another's, or nothing    our right has ended
 *
 * OPENING goes to GIVING too; OPENING and SERVING to NOT_OURS when the store closes by itself.
 * NOT_OURS with a record that still names us: it is written free, or claimed anew, as planned.
 * SERVING: it was opened, or could not be and its shell goes on trying.
 *
 * A split: GIVING --> SPLITTING, when it is closed --> CLAIMING, with a record for the new half in
 * the same write. Where its store cannot be forked, or somebody comes between: NOT_OURS, and it is
 * claimed as it was. Until that write nothing of the split can be seen.
 */
enum cp_owned_state { /* from OPENING on something is open */
                      CP_OWNED_NOT_OURS,
                      CP_OWNED_CLAIMING, /* its record is being written */
                      CP_OWNED_OPENING,
                      CP_OWNED_SERVING,
                      CP_OWNED_GIVING,    /* finishes what it has begun, then closes */
                      CP_OWNED_LOST,      /* does nothing more; until it is closed */
                      CP_OWNED_SPLITTING, /* closed; its store is being forked */
                      CP_OWNED_STATES,
};
extern const struct sm_table cp_owned_table;

/* ---- the shard: TAKES <--> DRAINS --> STOPS --> GONE ---- */
enum cp_ownership_mode {
    CP_OWNERSHIP_TAKES,
    CP_OWNERSHIP_DRAINS, /* gives all it has to others, at their pace; serves what nobody takes */
    CP_OWNERSHIP_STOPS,  /* closes all at once; then LEAVE */
    CP_OWNERSHIP_GONE,
    CP_OWNERSHIP_MODES,
};
extern const struct sm_table cp_ownership_table;

struct cp_ownership_options {
    const char *shard, *endpoint, *version; /* borrowed */
    const char *process;                    /* the same; NULL: not told */
    int64_t since_ns;                       /* real time */
    int64_t margin_ns; /* for closing, and for clocks that run at different rates; > 0 */
    int64_t settle_ns;
    int64_t backoff_ns, backoff_max_ns; /* after a write or store that failed; doubles */
    uint32_t moves_max, opening_max;    /* > 0 */
    int64_t standby_wait_ns; /* a standby that is not there is waited for, before another is made */
    int64_t slow_rest_ns;    /* > 0 */
    uint32_t partitions_max; /* it has room for these, and takes none above; 0: any */
};
/* 1 s to settle, 50 ms to 5 s, 4 moves, 8 openings; a margin of 250 ms; 30 s for a standby; a
 * minute after a slow disk. */
struct cp_ownership_options cp_ownership_options_default(const char *shard, const char *endpoint,
                                                         const char *version);

/* What is known now. The map may be behind; from one step to the next it only goes on. */
struct cp_ownership_view {
    int64_t now_ns; /* monotonic */
    const struct cp_map *map;
    int64_t session; /* 0: none */
    int64_t held_until_ns;
    const struct cp_own_copy *copies; /* by partition; with local storage */
    size_t copy_count;
};

#define CP_OWNERSHIP_MEMBER UINT32_MAX /* instead of a partition: the shard's own record */

enum cp_ownership_event_type {
    CP_OWNERSHIP_LOOK,    /* the view changed, or it is time */
    CP_OWNERSHIP_WROTE,   /* partition, result; the map shows what is DONE */
    CP_OWNERSHIP_OPENED,  /* partition, epoch: serving, or tried in vain and goes on trying */
    CP_OWNERSHIP_CLOSED,  /* partition, epoch, seen: nothing of it is left, no write in flight */
    CP_OWNERSHIP_STALLED, /* partition, epoch: it has waited long for its disk; may be repeated */
    CP_OWNERSHIP_SLOW,    /* the disk is slow still: heard only while the shard is slow */
    CP_OWNERSHIP_MODE,    /* mode: TAKES, DRAINS or STOPS. TAKES: nor is it slow any more */
    CP_OWNERSHIP_SPLIT,   /* partition, at: nothing when it does not serve here */
    CP_OWNERSHIP_FORKED,  /* partition, epoch, result DONE: there is a store for the new half; with
                           * local storage, forked */
};
struct cp_ownership_event {
    enum cp_ownership_event_type type;
    uint32_t partition, epoch;
    uint32_t seen; /* the greatest epoch that its store knows, 0: not known; claims write more */
    enum cp_coord_result result;
    enum cp_ownership_mode mode;
    uint64_t at; /* the first hash of the new half */
    struct cp_forked_copies forked;
};

enum cp_ownership_effect_type {
    CP_OWNERSHIP_WRITE, /* cp_ownership_ops() */
    CP_OWNERSHIP_OPEN,  /* partition, epoch */
    CP_OWNERSHIP_GIVE,  /* partition, epoch: finish what has begun, then close */
    CP_OWNERSHIP_LOSE,  /* the same: no write, answer or message more; close. May follow a GIVE */
    CP_OWNERSHIP_MAKE,  /* partition: an empty copy; the view shows it in the next step */
    CP_OWNERSHIP_LEAVE, /* cp_coord_leave(): all is closed */
    CP_OWNERSHIP_FORK,  /* partition, epoch: FORKED is waited for */
};
struct cp_ownership_effect {
    enum cp_ownership_effect_type type;
    uint32_t partition, epoch;
    /* WRITE */
    enum cp_coord_op_kind kind;
    char key[CP_MAP_KEY_SIZE], member_key[CP_MAP_KEY_SIZE];
    struct sy_buf value;
    int64_t if_revision;
    int64_t if_member;               /* the revision of our own record; 0: whatever it is */
    char other_key[CP_MAP_KEY_SIZE]; /* of a record that is not there yet; "": none */
    struct sy_buf other;
};
struct cp_ownership_effects { /* zeroed: empty */
    struct cp_ownership_effect *items;
    size_t count, size;
    int64_t wake_ns; /* step it again then; SY_TIME_NEVER */
};
void cp_ownership_effects_deinit(struct cp_ownership_effects *fx);
void cp_ownership_effects_clear(struct cp_ownership_effects *fx);

/* The operations of a WRITE, and how many; they point into the effect. */
#define CP_OWNERSHIP_OPS_MAX 3
size_t cp_ownership_ops(const struct cp_ownership_effect *effect,
                        struct cp_coord_op ret_ops[CP_OWNERSHIP_OPS_MAX]);

struct cp_ownership;
struct cp_ownership *cp_ownership_new(const struct cp_ownership_options *options);
void cp_ownership_free(struct cp_ownership *o);
/* Adds effects and sets wake_ns. */
void cp_ownership_step(struct cp_ownership *o, const struct cp_ownership_view *view,
                       const struct cp_ownership_event *event, struct cp_ownership_effects *fx);

/* Until when it may act on the partition if nothing else happens; 0: it may not. Looks at the
 * view's session and deadline only. A shell that hands this to other threads does so for each
 * partition, after each step and each renewal: one time for all would, when another session begins,
 * extend what an earlier one gave and those threads have not closed yet. */
int64_t cp_ownership_right_until_ns(const struct cp_ownership *o,
                                    const struct cp_ownership_view *view, uint32_t partition);
/* The epoch under which it may act at this moment; 0: it may not. */
uint32_t cp_ownership_right(const struct cp_ownership *o, const struct cp_ownership_view *view,
                            uint32_t partition);
enum cp_owned_state cp_ownership_state(const struct cp_ownership *o, uint32_t partition);
enum cp_ownership_mode cp_ownership_mode(const struct cp_ownership *o);
bool cp_ownership_slow(const struct cp_ownership *o);
