/*
 * Who may act on a partition: sessions that are reckoned by two clocks, claims, epochs, as
 * controlplane/ownership.h and coord.h state them.
 *
 * Time goes by ticks, for all alike. A renewal is one step, at the moment that etcd has it or a
 * tick after; what a shard reckons from when it sent it is the same or less. That its clock may
 * miss up to MARGIN ticks from one renewal to the next is the same as so many ticks given on top at
 * once. A shard that takes no step is one that is paused: ticks go by, and what it knew before it
 * acts on after. A write arrives at any time, or never. etcd ends a session when its time is over,
 * or later; another shard may end it sooner, when the process that had it is gone.
 *
 * -DWITHOUT_... leaves out one rule each; tests/model/check knows which, and that each is missed.
 */
#ifndef N
#define N 2 /* shards */
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef SESSIONS
#define SESSIONS 2 /* of one shard, one after the other */
#endif
#define TTL 2
#define MARGIN 1
#define NOBODY 7

typedef Session { /* as etcd has it */
    byte serial;
    bool alive;
    bool renews; /* the process that began it lives */
    byte left;   /* ticks; once 0 it may end */
};
typedef Shard {
    byte held;    /* ticks until it may end, as reckoned here */
    bool open;
    byte epoch, session; /* OPEN, or to be opened: what was claimed, and under which session */
    bool free;    /* the copy shows that nobody has the partition */
    bool behind;  /* the record has changed since */
    bool closed;  /* what the record grants was closed again */
};
typedef Write { bool open; bool gives; byte session; };

Session session[N];
Shard shard[N];
Write write[N];
byte epoch, owner = NOBODY, owner_session; /* the record */
byte opened;   /* a bit for each epoch */
byte message;  /* the epoch of one that was decided on and is not sent yet */
byte accepted; /* by an operator: the greatest epoch */

#ifdef WITHOUT_MARGIN
#define IN_TIME(i) (shard[i].held > 0)
#else
#define IN_TIME(i) (shard[i].held > MARGIN)
#endif
#ifdef WITHOUT_ITS_SESSION
#define RIGHT(i) (shard[i].open && IN_TIME(i))
#else
#define RIGHT(i) (shard[i].open && IN_TIME(i) && shard[i].session == session[i].serial)
#endif
#if N == 2
#define RIGHTS (RIGHT(0) + RIGHT(1))
#else
#define RIGHTS (RIGHT(0) + RIGHT(1) + RIGHT(2))
#endif
#define OVER (owner == NOBODY || owner_session != session[owner].serial || !session[owner].alive)

#ifdef WITHOUT_PROOF
#define PROVED(i) true
#else
#define PROVED(i) (!session[i].renews)
#endif

inline check() { assert(RIGHTS <= 1) }

/* ---- time and sessions ---- */

#define TICK(x) x = (x > 0 -> x - 1 : 0)
#define TICKS(i) TICK(session[i].left); TICK(shard[i].held)

inline begin(i)
{
    session[i].serial++; session[i].alive = true; session[i].renews = true; session[i].left = TTL;
    shard[i].held = 0
}
inline end(i)
{
    session[i].alive = false; session[i].renews = false;
    shard[i].held = (shard[i].open -> shard[i].held : 0)
}
inline renew(i, late, missed)
{
    session[i].left = TTL - late;
#ifdef WITHOUT_SENT_TIME /* reckoned from the answer */
    shard[i].held = TTL + missed
#else
    shard[i].held = TTL - late + missed
#endif
}

/* ---- the record ---- */

#ifdef WITHOUT_REVISION
#define REVISED(i) shard[i].behind = true; shard[i].free = false
#else
#define REVISED(i) \
    shard[i].behind = true; shard[i].free = false; \
    write[i].open = false; write[i].gives = false; write[i].session = 0
#endif
inline revise()
{
    REVISED(0);
    REVISED(1);
#if N == 3
    REVISED(2)
#endif
}

inline close(i)
{
    shard[i].open = false; shard[i].epoch = 0; shard[i].session = 0; shard[i].closed = true;
    shard[i].held = (session[i].alive -> shard[i].held : 0)
}

inline look(i)
{
    shard[i].behind = false;
#ifdef WITHOUT_OVER
    shard[i].free = (owner != i);
#else
    shard[i].free = OVER;
#endif
    if
    :: shard[i].open && !(owner == i && owner_session == shard[i].session &&
                          epoch == shard[i].epoch && RIGHT(i)) ->
        close(i)
    :: else
    fi
}

inline claim(i)
{
    write[i].open = true; write[i].gives = false; write[i].session = session[i].serial
}
/* The condition names our own record too, which goes with the session. */
#define MAY_APPLY(i) \
    (write[i].open && \
     (write[i].gives || (session[i].alive && write[i].session == session[i].serial)))
inline apply(i)
{
    if
    :: write[i].gives -> owner = NOBODY; owner_session = 0
    :: else ->
#ifdef WITHOUT_EPOCHS
        epoch = 1;
#else
        epoch++;
#endif
        owner = i; owner_session = write[i].session; shard[i].closed = false
    fi;
    write[i].open = false; write[i].gives = false; write[i].session = 0;
    revise()
}

#ifdef WITHOUT_CLAIM_ANEW
#define NOT_YET(i) true
#else
#define NOT_YET(i) (!shard[i].closed)
#endif
#define MAY_OPEN(i) \
    (!shard[i].open && !shard[i].behind && owner == i && owner_session == session[i].serial && \
     session[i].renews && IN_TIME(i) && NOT_YET(i))
inline open_it(i)
{
    shard[i].open = true; shard[i].epoch = epoch; shard[i].session = owner_session;
    assert(!(opened & (1 << epoch)));
    opened = (opened & (1 << epoch)) | (1 << epoch) /* older ones need not be kept */
}

/* ---- messages: decided under the right, sent whenever ---- */

#ifdef WITHOUT_OPERATORS_EPOCH
#define ACCEPTS(e) true
#else
#define ACCEPTS(e) (e >= accepted)
#endif
inline deliver(number)
{
    if
    :: ACCEPTS(number) -> assert(number >= accepted); accepted = number
    :: else
    fi
}

inline crash(i)
{
    shard[i].held = 0; session[i].renews = false;
    shard[i].open = false; shard[i].epoch = 0; shard[i].session = 0; shard[i].free = false;
    shard[i].behind = true; shard[i].closed = true
}

#define ONE(i) \
    :: d_step { !session[i].alive && session[i].serial < SESSIONS -> begin(i); check() } \
    :: d_step { session[i].alive && (session[i].left == 0 || PROVED(i)) -> end(i) } \
    :: d_step { session[i].renews -> renew(i, 0, 0); check() } \
    :: d_step { session[i].renews -> renew(i, 1, 0); check() } \
    :: d_step { session[i].renews -> renew(i, 0, MARGIN); check() } \
    :: d_step { session[i].renews -> renew(i, 1, MARGIN); check() } \
    :: d_step { look(i); check() } \
    :: d_step { !shard[i].open && !shard[i].behind && shard[i].free && !write[i].open && \
                session[i].renews && IN_TIME(i) && epoch < EPOCHS -> claim(i) } \
    :: d_step { MAY_APPLY(i) && (write[i].gives || epoch < EPOCHS) -> apply(i); check() } \
    :: d_step { MAY_OPEN(i) -> open_it(i); check() } \
    :: d_step { shard[i].open && !write[i].open && !shard[i].behind && owner == i -> \
                close(i); write[i].open = true; write[i].gives = true } \
    :: d_step { RIGHT(i) && message == 0 -> message = shard[i].epoch } \
    :: d_step { RIGHT(i) && accepted != shard[i].epoch -> deliver(shard[i].epoch) } \
    :: d_step { shard[i].open || write[i].open || shard[i].held > 0 -> crash(i) }

init {
    d_step {
        shard[0].behind = true; shard[0].closed = true;
        shard[1].behind = true; shard[1].closed = true;
#if N == 3
        shard[2].behind = true; shard[2].closed = true;
#endif
    }
    do
    ONE(0)
    ONE(1)
#if N == 3
    ONE(2)
#endif
    :: d_step { message > 0 -> deliver(message); message = 0 }
#if N == 3
    :: d_step { true -> TICKS(0); TICKS(1); TICKS(2) }
#else
    :: d_step { true -> TICKS(0); TICKS(1) }
#endif
    od
}
