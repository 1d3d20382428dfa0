/*
 * How a partition becomes two, as controlplane/ownership.h, store_dirs.h and the README of the control
 * plane ("A split") state it: who serves the upper hashes, and with what.
 *
 * That one shard at a time has the right to what a record says is ownership.pml's: here the right
 * ends with the record that grants it. A shard that takes no step is one that is paused. The content
 * of a store is how many acknowledged writes to upper hashes are in it; the newest directory of a
 * partition has all that was written under the right. Forks are named by the epoch that they were
 * made under, and take time: what is in one was read before it has its name.
 *
 * -DWITHOUT_... leaves out one rule each; tests/model/check knows which, and that each is missed.
 */
#ifndef EPOCHS
#define EPOCHS 4
#endif
#ifndef UPPER_EPOCHS
#define UPPER_EPOCHS 2
#endif
#ifndef WRITES
#define WRITES 2
#endif
#define NOBODY 7

typedef Shard {
    bool behind;        /* the records have changed since it read them */
    bool knows;         /* that the partition was split, as far as it has read */
    bool open, upper;   /* the partition; it serves the upper hashes too */
    byte epoch;         /* under which it is, or was, open */
    byte claimed;       /* the epoch of a claim that was not opened yet; 0: none */
    byte splits;        /* 0: no; 1: closed; 2: being forked; 3: forked */
    byte content;       /* 2: what was read */
    bool drops;         /* forks are about to be removed, as was known at the opening: */
    byte before, kept;
    bool half_open;     /* the upper half */
    byte half_epoch, half_claimed;
};
Shard shard[2];

byte epoch, owner = NOBODY;            /* the partition's record, */
bool split;                            /* which has the lower hashes only */
bool half;                             /* there is a record of the upper half: */
byte half_epoch, half_owner = NOBODY, parent_epoch;

byte store, half_store;                /* contents */
bool half_begun;
byte fork[EPOCHS + 1];                 /* content + 1; 0: none is there */
byte acknowledged;

#ifdef WITHOUT_FORKS_EPOCH
#define NAME(e) 0
#else
#define NAME(e) (e)
#endif

#define RIGHT(i) (shard[i].open && owner == i && epoch == shard[i].epoch)
#define SERVES(i) (RIGHT(i) && shard[i].upper)
#define HALF_SERVES(i) \
    (shard[i].half_open && half_owner == i && half_epoch == shard[i].half_epoch)

inline check()
{
    assert(SERVES(0) + SERVES(1) + HALF_SERVES(0) + HALF_SERVES(1) <= 1);
    assert(!(SERVES(0) || SERVES(1)) || store == acknowledged);
    assert(!(HALF_SERVES(0) || HALF_SERVES(1)) || half_store == acknowledged);
    assert(!half || half_begun || fork[NAME(parent_epoch)] > 0)
}

inline revise() { shard[0].behind = true; shard[1].behind = true }

inline look(i)
{
    shard[i].behind = false; shard[i].knows = split;
    if
    :: shard[i].open && !RIGHT(i) -> shard[i].open = false; shard[i].upper = false
    :: else
    fi;
    if
    :: shard[i].half_open && !HALF_SERVES(i) -> shard[i].half_open = false
    :: else
    fi
}

inline crash(i)
{
    shard[i].behind = true; shard[i].knows = false; shard[i].open = false; shard[i].upper = false;
    shard[i].epoch = 0; shard[i].claimed = 0; shard[i].splits = 0; shard[i].content = 0;
    shard[i].drops = false; shard[i].before = 0; shard[i].kept = 0;
    shard[i].half_open = false; shard[i].half_epoch = 0; shard[i].half_claimed = 0
}

/* ---- the partition ---- */

inline claim(i)
{
    epoch++; owner = i; shard[i].claimed = epoch; revise()
}

#ifdef WITHOUT_RANGES
#define HAS_READ(i) true
#else
#define HAS_READ(i) (!shard[i].behind)
#endif
#define MAY_OPEN(i) \
    (!shard[i].open && shard[i].splits == 0 && owner == i && shard[i].claimed == epoch && HAS_READ(i))
inline open_it(i)
{
    shard[i].open = true; shard[i].epoch = epoch; shard[i].claimed = 0;
    shard[i].upper = !shard[i].knows;
    shard[i].drops = true; shard[i].before = epoch; shard[i].kept = (shard[i].knows -> parent_epoch : 0)
}

inline write_upper(i) { store++; acknowledged++ }

/* ---- a split ---- */

inline close(i)
{
    shard[i].splits = 1;
#ifndef WITHOUT_CLOSE
    shard[i].open = false; shard[i].upper = false
#endif
}
inline read_store(i) { shard[i].content = store; shard[i].splits = 2 }
inline name_fork(i)
{
    fork[NAME(shard[i].epoch)] = shard[i].content + 1; shard[i].content = 0; shard[i].splits = 3
}
inline give_up(i) { shard[i].splits = 0; shard[i].content = 0; shard[i].open = false; shard[i].upper = false }

#ifdef WITHOUT_REVISION
#define AS_IT_WAS(i) true
#else
#define AS_IT_WAS(i) (owner == i && epoch == shard[i].epoch)
#endif
inline write_half(i) { half = true; parent_epoch = shard[i].epoch; revise() }
inline write_lower(i)
{
    split = true; shard[i].splits = 0; shard[i].open = false; shard[i].upper = false; claim(i)
}

inline drop_forks(i)
{
    byte e;
    e = 0;
    do
    :: e > EPOCHS -> break
    :: else ->
        if
#ifdef WITHOUT_EARLIER
        :: e == NAME(shard[i].kept) && shard[i].kept > 0 -> skip
#else
#ifdef WITHOUT_NAMED
        :: e >= shard[i].before -> skip
#else
        :: e >= shard[i].before || (e == NAME(shard[i].kept) && shard[i].kept > 0) -> skip
#endif
#endif
        :: else -> fork[e] = 0
        fi;
        e++
    od;
    e = 0;
    shard[i].drops = false; shard[i].before = 0; shard[i].kept = 0
}

/* ---- the upper half ---- */

inline claim_half(i)
{
    half_epoch++; half_owner = i; shard[i].half_claimed = half_epoch; revise()
}
#define MAY_OPEN_HALF(i) \
    (!shard[i].half_open && half_owner == i && shard[i].half_claimed == half_epoch && !shard[i].behind)
inline open_half(i)
{
    shard[i].half_open = true; shard[i].half_epoch = half_epoch; shard[i].half_claimed = 0;
    if
    :: !half_begun ->
        half_store = fork[NAME(parent_epoch)] - 1; fork[NAME(parent_epoch)] = 0; half_begun = true
    :: else
    fi
}
inline write_in_half(i) { half_store++; acknowledged++ }

#ifdef WITHOUT_ONE_WRITE
#define SPLITS(i) \
    :: d_step { shard[i].splits == 3 && !split && !half && AS_IT_WAS(i) -> write_half(i); check() } \
    :: d_step { shard[i].splits == 3 && half && !split && parent_epoch == shard[i].epoch && \
                AS_IT_WAS(i) && epoch < EPOCHS -> write_lower(i); check() }
#else
#define SPLITS(i) \
    :: d_step { shard[i].splits == 3 && !split && AS_IT_WAS(i) && epoch < EPOCHS -> \
                write_half(i); write_lower(i); check() }
#endif

#define ONE(i) \
    :: d_step { shard[i].behind -> look(i); check() } \
    :: d_step { owner == i -> owner = NOBODY; revise(); check() } \
    :: d_step { (owner == NOBODY || (owner == i && !RIGHT(i) && shard[i].claimed != epoch && \
                                     shard[i].splits == 0)) && epoch < EPOCHS -> claim(i); check() } \
    :: d_step { MAY_OPEN(i) -> open_it(i); check() } \
    :: d_step { SERVES(i) && acknowledged < WRITES -> write_upper(i); check() } \
    :: d_step { RIGHT(i) && !split && shard[i].splits == 0 -> close(i); check() } \
    :: d_step { shard[i].splits == 1 -> read_store(i); check() } \
    :: d_step { shard[i].splits == 2 -> name_fork(i); check() } \
    :: d_step { shard[i].splits > 0 -> give_up(i); check() } \
    SPLITS(i) \
    :: d_step { shard[i].drops -> drop_forks(i); check() } \
    :: d_step { half_owner == i -> half_owner = NOBODY; revise(); check() } \
    :: d_step { half && half_owner == NOBODY && half_epoch < UPPER_EPOCHS -> claim_half(i); check() } \
    :: d_step { MAY_OPEN_HALF(i) -> open_half(i); check() } \
    :: d_step { HALF_SERVES(i) && acknowledged < WRITES -> write_in_half(i); check() } \
    :: d_step { true -> crash(i); check() }

init {
    do
    ONE(0)
    ONE(1)
    od
}
