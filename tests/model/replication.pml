/*
 * A partition with a standby, as docs/replication.md states it: logs, epochs, the record with the
 * copies that are in sync, and what is acknowledged.
 *
 * There are no clocks here. Any shard that holds a copy in sync may claim at any moment, and
 * whoever owned before goes on until it looks at the record, or for ever: that is a shard which
 * was paused, whose session was lost, or whose lease was reckoned wrongly. So what is checked here
 * does not lean on leases (ownership.pml does).
 *
 * An entry is known by its position and the epoch under which it was made. An epoch begins with a
 * marker. A crash loses what is not synced, DISKS of them the disk too. Entries and answers go from
 * one to the other in one step: an old owner that never looks stands for what is late, and what an
 * owner knows of its standby may be old. Orders to begin anew and writes to the record stay under
 * way, whatever has become of who sent them.
 *
 * -DWITHOUT_... leaves out one rule each; tests/model/check knows which, and that each is missed.
 */
#ifndef N
#define N 2 /* shards */
#endif
#ifndef L
#define L 3 /* entries of a log, with markers */
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef DISKS
#define DISKS 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef ASKS
#define ASKS 3 /* changes of who is in sync, by owners */
#endif
#ifndef COPIES
#define COPIES 2 /* of one shard, one after the other */
#endif
#define NOBODY 7

#define LAST(i) (log[(i)].length == 0 -> 0 : log[(i)].entry[log[(i)].length - 1])
#define HOLDS(i) (record.copy[(i)] != 0 && record.copy[(i)] == log[(i)].copy)

/* The disk of a shard. */
typedef Log {
    byte copy;       /* its id; 0: there is none */
    byte copies;     /* ids used up */
    byte length;     /* entries written */
    byte synced;     /* entries that survive a crash */
    byte entry[L];   /* the epoch of each */
};
/* What a shard knows while it runs. */
typedef Shard {
    bool owner;
    byte epoch;    /* as owner */
    bool behind;   /* the record has changed since it looked */
    byte standby;  /* whom it has or tries */
    byte id;       /* of that one's copy, 0: not known */
    byte refused[N]; /* the copy of each that it told to begin anew */
    bool waits;    /* nothing is acknowledged without the standby */
    bool in_sync;  /* the record says so */
    byte stored;   /* of its own log, by that copy */
    byte released; /* acknowledged or shown */
    byte first;    /* entries up to and with the marker of its epoch */
    byte seen;     /* as follower: the greatest epoch that it was told */
    byte matched;  /* as follower: entries that are its owner's too */
};
/* On their way. */
typedef Write { bool open; bool joins; byte standby; byte id; };
typedef Order { byte epoch; byte id; };
typedef Orders { Order to[N]; };
typedef Record { byte epoch; byte copy[N]; };

Log log[N];
Shard shard[N];
Write write[N];
Orders order[N];
Record record;
byte acknowledged[L]; /* the epoch of what was acknowledged there */
byte crashes, disks, asked;

/* What is promised: a copy that the record calls in sync has all that was acknowledged, whoever
 * owns now has, and there is such a copy. */
inline check()
{
    a = 0;
    held = 0;
    do
    :: a < N ->
        if
        :: HOLDS(a) || (shard[a].owner && shard[a].epoch == record.epoch) ->
            held = held + HOLDS(a);
            b = 0;
            do
            :: b < L ->
                assert(acknowledged[b] == 0 ||
                       (b < log[a].synced && log[a].entry[b] == acknowledged[b]));
                b++
            :: else -> break
            od
        :: else
        fi;
        a++
    :: else -> break
    od;
    assert(held > 0);
    a = 0; b = 0; held = 0
}

#if N == 2
#define FORGET_REFUSED(i) shard[i].refused[0] = 0; shard[i].refused[1] = 0
#else
#define FORGET_REFUSED(i) \
    shard[i].refused[0] = 0; shard[i].refused[1] = 0; shard[i].refused[2] = 0
#endif
inline forget(i) /* what a shard knows goes with its process */
{
    shard[i].owner = false; shard[i].epoch = 0; shard[i].behind = false;
    shard[i].standby = NOBODY; shard[i].id = 0; shard[i].waits = false;
    FORGET_REFUSED(i);
    shard[i].in_sync = false;
    shard[i].stored = 0; shard[i].released = 0; shard[i].first = 0;
    shard[i].seen = 0; shard[i].matched = 0
}

inline clear_write(i)
{
    write[i].open = false; write[i].joins = false; write[i].standby = 0; write[i].id = 0
}

/* The record is changed: what was decided by an older one cannot happen any more. So revisions
 * need not be counted. */
#ifdef WITHOUT_REVISION
#define REVISED(i) shard[i].behind = shard[i].owner
#else
#define REVISED(i) shard[i].behind = shard[i].owner; clear_write(i)
#endif
inline revise()
{
    REVISED(0);
    REVISED(1);
#if N == 3
    REVISED(2)
#endif
}

inline cut(i, upto)
{
    log[i].length = upto;
    if
    :: log[i].synced > upto -> log[i].synced = upto
    :: else
    fi;
    a = upto;
    do
    :: a < L -> log[i].entry[a] = 0; a++
    :: else -> break
    od;
    a = 0
}

inline other(i) /* the one that the record has beside i */
{
    shard[i].standby = NOBODY; shard[i].id = 0;
    a = 0;
    do
    :: a < N ->
        if
        :: a != i && record.copy[a] != 0 -> shard[i].standby = a; shard[i].id = record.copy[a]
        :: else
        fi;
        a++
    :: else -> break
    od;
    a = 0;
    shard[i].in_sync = (shard[i].standby != NOBODY);
    shard[i].waits = shard[i].in_sync
}

/* ---- the owner ---- */

inline claim(i)
{
#ifdef WITHOUT_EPOCHS
    record.epoch = 1;
#else
    record.epoch++;
#endif
    revise();
    shard[i].owner = true; shard[i].epoch = record.epoch; shard[i].behind = false;
    shard[i].stored = 0; shard[i].released = 0; shard[i].seen = 0; shard[i].matched = 0;
    log[i].entry[log[i].length] = record.epoch;
    log[i].length++;
    shard[i].first = log[i].length;
    other(i)
}

inline append(i)
{
    log[i].entry[log[i].length] = shard[i].epoch;
    log[i].length++
}

#ifdef WITHOUT_OWN_SYNC
#define SYNCED_HERE(i, n) (log[i].length >= n && (shard[i].waits || log[i].synced >= n))
#else
#define SYNCED_HERE(i, n) (log[i].synced >= n)
#endif
#ifdef WITHOUT_WAITING
#define STORED_THERE(i, n) true
#else
#define STORED_THERE(i, n) (!shard[i].waits || shard[i].stored >= n)
#endif
#define MAY_RELEASE(i, n) (SYNCED_HERE(i, n) && STORED_THERE(i, n))

inline release(i) /* with the first thing all is shown that was there before */
{
    do
    :: shard[i].released < log[i].length ->
        acknowledged[shard[i].released] = log[i].entry[shard[i].released];
        shard[i].released++;
        if
        :: shard[i].released >= shard[i].first -> break
        :: else
        fi
    :: else -> break
    od
}

#ifdef WITHOUT_CAUGHT_UP
#define MAY_JOIN(i) true
#else
#ifdef WITHOUT_MARKER /* what was released is enough */
#define MAY_JOIN(i) (shard[i].stored >= shard[i].released)
#else
#define MAY_JOIN(i) (shard[i].stored >= shard[i].released && shard[i].stored >= shard[i].first)
#endif
#endif

inline ask_join(i)
{
    asked++; write[i].open = true; write[i].joins = true;
    write[i].standby = shard[i].standby; write[i].id = shard[i].id;
#ifndef WITHOUT_WAITING_FOR_JOIN
    shard[i].waits = true
#endif
}

inline ask_leave(i)
{
    asked++; write[i].open = true; write[i].joins = false;
    write[i].standby = shard[i].standby; write[i].id = 0;
#ifdef WITHOUT_WAITING_FOR_LEAVE
    shard[i].waits = false
#endif
}

inline apply(i) /* etcd does, whatever has become of who asked */
{
    record.copy[write[i].standby] = write[i].id;
    clear_write(i);
    revise()
}

inline look(i) /* the copy of the record goes on */
{
    if
    :: record.epoch != shard[i].epoch || record.copy[i] != log[i].copy -> forget(i)
    :: else ->
        shard[i].behind = false;
        clear_write(i);
        if
        :: shard[i].standby != NOBODY && record.copy[shard[i].standby] != 0 ->
            shard[i].in_sync = true; shard[i].waits = true
        :: else -> shard[i].in_sync = false; shard[i].waits = false
        fi
    fi
}

/* The owner takes up with j; what it knew of another it forgets. */
inline take_up(i, j)
{
    shard[i].standby = j; shard[i].id = 0; shard[i].stored = 0;
#ifdef WITHOUT_REMEMBERING_ORDERS
    FORGET_REFUSED(i)
#endif
}

/* ---- between them ---- */

#ifdef WITHOUT_FENCE
#define FENCED(j, e) false
#else
#define FENCED(j, e) (e < shard[j].seen || e < LAST(j))
#endif
#ifdef WITHOUT_MATCH
#define MATCHES(i, j, k) true
#else
#define MATCHES(i, j, k) (k == 0 || log[i].entry[k - 1] == log[j].entry[k - 1])
#endif
/* The follower j takes the entry at k of i's log: it is no owner, has seen no later epoch, and has
 * what comes before. An entry that is there is not taken again, only matched. */
#define MAY_TAKE(i, j, k) \
    (shard[i].owner && shard[i].standby == j && !shard[j].owner && log[j].copy != 0 && \
     k < log[i].length && !FENCED(j, shard[i].epoch) && MATCHES(i, j, k))

inline meet(i, j)
{
    if
    :: shard[i].epoch != shard[j].seen -> shard[j].seen = shard[i].epoch; shard[j].matched = 0
    :: else
    fi
}
inline take(i, j)
{
    meet(i, j);
    log[j].entry[log[j].length] = log[i].entry[log[j].length];
    log[j].length++;
    shard[j].matched = log[j].length
}
inline match(i, j)
{
    meet(i, j);
    shard[j].matched = log[j].length
}

#ifdef WITHOUT_STANDBY_SYNC
#define TOLD(j) shard[j].matched
#else
#define TOLD(j) (shard[j].matched < log[j].synced -> shard[j].matched : log[j].synced)
#endif
#define MAY_HEAR(i, j) \
    (shard[i].owner && shard[i].standby == j && !shard[j].owner && \
     shard[j].seen == shard[i].epoch && TOLD(j) > shard[i].stored && \
     (shard[i].id == 0 || shard[i].id == log[j].copy) && log[j].copy != shard[i].refused[j])
inline hear(i, j)
{
    shard[i].stored = TOLD(j);
    shard[i].id = log[j].copy
}

/* A copy that does not fit, or is too far behind, begins anew. Only one that is out is told so, and
 * its owner never takes it in again. */
#ifdef WITHOUT_OUT_FIRST
#define MAY_ORDER(i, j) (shard[i].standby == j)
#else
#define MAY_ORDER(i, j) (shard[i].standby == j && !shard[i].waits && !write[i].open)
#endif
inline tell_anew(i, j)
{
    order[i].to[j].epoch = shard[i].epoch;
    order[i].to[j].id = log[j].copy;
    shard[i].refused[j] = log[j].copy; shard[i].id = 0; shard[i].stored = 0
}

#define ORDER(i, j) order[i].to[j]
#ifdef WITHOUT_ORDERS_ID
#define FOR_THIS(i, j) true
#else
#define FOR_THIS(i, j) (ORDER(i, j).id == log[j].copy)
#endif
#define MAY_RENEW(i, j) \
    (ORDER(i, j).epoch != 0 && !shard[j].owner && !FENCED(j, ORDER(i, j).epoch) && \
     FOR_THIS(i, j) && log[j].copies < COPIES)
inline renew(i, j)
{
    log[j].copies++;
    log[j].copy = log[j].copies;
    cut(j, 0);
    shard[j].seen = ORDER(i, j).epoch; shard[j].matched = 0
}

/* ---- faults ---- */

inline crash(i)
{
    cut(i, log[i].synced);
    forget(i)
}


/* A name is enough, whatever has become of its disk; or not even that is asked for. */
#ifdef WITHOUT_COPY_ID
#define MAY_CLAIM(i) (record.copy[i] != 0)
#else
#ifdef WITHOUT_IN_SYNC_CLAIM
#define MAY_CLAIM(i) (log[i].copy != 0)
#else
#define MAY_CLAIM(i) HOLDS(i)
#endif
#endif

/* A write that is decided by an older record does nothing. */
#ifdef WITHOUT_REVISION
#define MAY_ASK(i) (asked < ASKS)
#else
#define MAY_ASK(i) (!shard[i].behind && asked < ASKS)
#endif
/* It has asked that its standby be out: from then on its disk counts as the only one. */
#define LEAVES(i) (write[i].open && !write[i].joins)

#define ONE(i) \
    :: d_step { !shard[i].owner && MAY_CLAIM(i) && record.epoch < EPOCHS && \
                log[i].length < L -> claim(i); check() } \
    :: d_step { shard[i].owner && log[i].length < L -> append(i) } \
    :: d_step { log[i].synced < log[i].length -> log[i].synced++ } \
    :: d_step { shard[i].owner && shard[i].released < log[i].length && \
                MAY_RELEASE(i, shard[i].released + 1) && MAY_RELEASE(i, shard[i].first) -> \
                release(i); check() } \
    :: d_step { shard[i].owner && !shard[i].in_sync && !write[i].open && shard[i].id != 0 && \
                MAY_ASK(i) && MAY_JOIN(i) -> ask_join(i) } \
    :: d_step { shard[i].owner && shard[i].in_sync && !write[i].open && MAY_ASK(i) -> \
                ask_leave(i) } \
    :: d_step { write[i].open -> apply(i); check() } \
    :: d_step { shard[i].owner && shard[i].behind -> look(i) } \
    :: d_step { crashes < CRASHES && (shard[i].owner || shard[i].seen != 0) -> \
                crashes++; crash(i) } \
    :: d_step { disks < DISKS && log[i].copy != 0 && ANOTHER_HOLDS(i) && !LEAVES(i) -> \
                disks++; crash(i); cut(i, 0); log[i].copy = 0; check() }

#define TWO(i, j) \
    :: d_step { shard[i].owner && !shard[i].waits && !write[i].open && \
                (shard[i].standby != j || shard[i].id != 0) -> take_up(i, j) } \
    :: d_step { MAY_TAKE(i, j, log[j].length) -> take(i, j) } \
    :: d_step { log[j].length > 0 && MAY_TAKE(i, j, log[j].length - 1) && \
                log[i].entry[log[j].length - 1] == log[j].entry[log[j].length - 1] && \
                (shard[j].seen != shard[i].epoch || shard[j].matched < log[j].length) -> \
                match(i, j) } \
    :: d_step { MAY_HEAR(i, j) -> hear(i, j) } \
    :: d_step { shard[i].owner && MAY_ORDER(i, j) && \
                (log[j].copy == 0 || log[j].copy != shard[i].refused[j]) -> \
                tell_anew(i, j) } \
    :: d_step { MAY_RENEW(i, j) -> renew(i, j); check() }

#if N == 2
#define ANOTHER_HOLDS(i) HOLDS(1 - i)
#else
#define ANOTHER_HOLDS(i) (HOLDS((i + 1) % 3) || HOLDS((i + 2) % 3))
#endif

init {
    byte a, b, held;
    d_step {
        forget(0);
        forget(1);
#if N == 3
        forget(2);
#endif
        log[0].copy = 1; log[0].copies = 1;
        record.copy[0] = 1;
        a = 0
    }
    do
    ONE(0)
    ONE(1)
    TWO(0, 1)
    TWO(1, 0)
#if N == 3
    ONE(2)
    TWO(0, 2)
    TWO(1, 2)
    TWO(2, 0)
    TWO(2, 1)
#endif
    :: d_step { !(shard[0].behind && shard[1].behind) -> revise() }
    od
}
