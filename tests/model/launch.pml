/* The launch protocol of one attempt on a plain Docker engine: at most one start, and a verdict in the end.
 *
 * One process per reign: a leader that is paused, cut off or dead is one that is not scheduled, and a leader
 * that comes back late is one that is scheduled again. Taking over is one step: the epoch is taken, and the tail
 * read is final. An append is one step, with the epoch check. Everything that a leader asks of the engine is a
 * step of its own, and a start request may arrive at any later time; the engine handles it in two steps (look
 * up, then lock). The engine may die at any time, also between exec and its own note of it; its host may die
 * with it, and lose the start witness. The ring of events may forget.
 *
 * Not here: time and the cursor (cursor.pml), the journal itself (log.pml), retries (attempts of their own).
 *
 * Each naive variant is switched on by its name; model_test.py says what has to become of it.
 */
#ifndef REIGNS
#define REIGNS 2
#endif
#ifndef OBJECTS
#define OBJECTS 4
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef EDITS
#define EDITS 1
#endif

/* what the journal says of the run; what the engine says of an object */
mtype = { WAITING, ARMED, COMMITTED, HANDED_OVER, STARTED, ENDED, LOST, FAILED };
mtype = { ABSENT, CREATED, RUNNING, EXITED, GONE };

byte epoch = 0;            /* of ZooKeeper: its version is the fencing token */
mtype journal = WAITING;   /* the fold at the journal's end, */
byte journal_epoch;        /* who armed or committed it, */
byte journal_id;           /* and what */

mtype object[OBJECTS] = ABSENT;
byte objects = 0;          /* made so far: every ARM gives a name of its own */
bit witness[OBJECTS];      /* the mount point that the runtime makes before exec */
bit remembers[OBJECTS];    /* the engine's ring of events holds its creation */
bit saw_start[OBJECTS];    /* and its start */
bit other_boot[OBJECTS];   /* its host has died since it was prepared */
byte requests[OBJECTS];    /* start requests under way */
byte busy = OBJECTS;       /* the object whose start is in progress: locked */
byte crashes = CRASHES, edits = EDITS;

byte ran = 0;              /* how often the job was executed: what it is all about */
bit in_doubt = 0;          /* a start was requested, or an object removed by a fence; */
bit unproved = 0;          /* evidence was lost, or awaited in vain; */
bit exhausted = 0;         /* the bound on objects was met: nothing is said about the end */

#ifdef NO_EPOCH_CHECK
#define MINE true
#else
#define MINE (epoch == me)
#endif

/* A batch: written under the epoch check, or this reign is over. */
#define APPEND(what)                                                                                           \
    if                                                                                                         \
    :: atomic { MINE -> state = what; journal = what; journal_epoch = me; journal_id = id }                    \
    :: atomic { !(MINE) -> goto over }                                                                         \
    fi

/* ---- the engine ---- */

inline dies(host)
{
    d_step {
        crashes > 0 -> crashes--;
        unproved = 1; busy = OBJECTS;
        n = 0;
        do
        :: n < OBJECTS ->
            remembers[n] = 0; saw_start[n] = 0;
            if
            :: object[n] == RUNNING -> object[n] = EXITED
            :: else
            fi;
            if
            :: host && object[n] != ABSENT && object[n] != GONE -> witness[n] = 0; other_boot[n] = 1
            :: else
            fi;
            n++
        :: else -> break
        od;
        n = 0
    }
}

active proctype engine()
{
    byte n = 0, id = 0;

end_idle:
    do
    :: atomic { /* a start arrives: it is looked up */
            if
            :: requests[0] > 0 -> id = 0
            :: requests[1] > 0 -> id = 1
            :: requests[2] > 0 -> id = 2
            :: requests[3] > 0 -> id = 3
            fi;
            requests[id]--;
            if
            :: object[id] == CREATED || object[id] == EXITED
            :: else -> id = 0; goto end_idle
            fi
        };
        if
        :: atomic { object[id] == CREATED || object[id] == EXITED -> /* locked; exec comes before any note of it */
                busy = id;
                witness[id] = 1;
                ran++;
                assert(ran <= 1)
            };
            if
            :: d_step { busy = OBJECTS; object[id] = RUNNING; saw_start[id] = 1 }
            :: dies(false) /* it may run, and only the witness tells */
            :: dies(true)
            fi
        :: atomic { object[id] == GONE -> skip }
        fi;
        id = 0
    :: atomic { object[0] == RUNNING -> object[0] = EXITED }
    :: atomic { object[1] == RUNNING -> object[1] = EXITED }
    :: atomic { object[2] == RUNNING -> object[2] = EXITED }
    :: atomic { object[3] == RUNNING -> object[3] = EXITED }
    :: dies(false)
    :: dies(true)
    od
}

/* DELETE without force: waits for a start in progress, refuses what runs, succeeds on what was never started and
 * on what has exited. */
#define REMOVABLE(id) (object[id] == CREATED || object[id] == EXITED)
#define REMOVE(id)    object[id] = GONE; witness[id] = 0; other_boot[id] = 0

/* The fence's notes are of no use any more. */
#define JUDGED had_create = 0; had_start = 0; deleted = 0; boot_same = 0; deaths = 0

/* ---- a reign ---- */

proctype reign(byte me)
{
    mtype state;           /* this leader's fold: only its own appends change it */
    byte id;
    bit had_create, had_start, deleted, boot_same; /* of the fence */
    byte deaths;           /* of the engine, when the fence opened its stream */

    /* the multi: check(epoch), create(leader), set(epoch); then the tail is final */
#ifdef READ_BEFORE_EPOCH
    atomic { epoch == me - 1 -> state = journal; id = journal_id };
    atomic { epoch == me - 1 -> epoch = me };
#else
    atomic { epoch == me - 1 -> epoch = me; state = journal; id = journal_id };
#endif

attend:
    atomic {
        if
        :: state == WAITING -> goto arm
        :: state == ARMED -> goto arm /* of another reign, which never committed it: it was never started */
        :: state == COMMITTED -> goto settle
        :: state == HANDED_OVER -> goto settle
        :: state == STARTED -> goto watch
        :: else -> goto over
        fi
    };

arm:
    APPEND(ARMED);
    /* prepare: it exists, and does not run */
    atomic {
        if
        :: objects < OBJECTS -> id = objects; objects++
        :: else -> exhausted = 1; goto over
        fi;
        object[id] = CREATED; remembers[id] = 1
    };
#ifndef NO_COMMIT
    APPEND(COMMITTED);
#endif

committed:
    if
    :: atomic { edits > 0 -> edits--; goto revoke }
#ifndef NO_COMMIT
    :: atomic { me < REIGNS -> goto hand_over }
#endif
    :: goto release /* its time has come, by this leader's clock */
    fi;

revoke: /* never released from here on; removed only when that is in the journal */
#ifndef DISCARD_EARLY
    APPEND(WAITING);
#endif
    if
    :: atomic { REMOVABLE(id) && busy != id -> REMOVE(id) }
    :: object[id] == RUNNING || object[id] == GONE
    fi;
#ifdef DISCARD_EARLY
    APPEND(WAITING);
#endif
    goto attend;

hand_over: /* a clean stop: what this reign has sworn never to release */
    APPEND(HANDED_OVER);
#ifdef HANDED_OVER_RELEASED
    goto release;
#endif
    goto over;

release: /* ONE start request for this id, ever */
    atomic {
        requests[id]++; in_doubt = 1;
#ifdef RESENT_START
        requests[id]++ /* by a library, on a connection that died */
#endif
    };
    if
    :: atomic { object[id] == RUNNING || object[id] == EXITED -> goto started }
    :: atomic { object[id] == GONE && requests[id] == 0 -> goto failed }
#ifdef RELEASED_AGAIN
    :: atomic { requests[id] < 2 -> requests[id]++ }; goto fence
#endif
    :: goto fence /* no answer: this leader is its own successor */
    fi;

settle: /* what an earlier reign has left */
#ifdef OLD_ID_RELEASED
    APPEND(COMMITTED);
    goto release;
#endif
    if
    :: atomic { state == HANDED_OVER -> skip };
        APPEND(COMMITTED); /* anew, by this reign */
        goto committed
    :: atomic { state == COMMITTED -> goto fence }
    fi;

fence: /* opens the stream, with what the engine remembers: all, or too little */
    atomic {
        deaths = CRASHES - crashes; deleted = 0; boot_same = 0;
        had_create = remembers[id]; had_start = 0;
        if
        :: true
        :: had_create -> had_create = 0; had_start = saw_start[id]; unproved = 1
        fi
    };

inspect:
    if
    :: atomic { object[id] == RUNNING || object[id] == EXITED -> JUDGED; goto started }
    :: atomic { object[id] == GONE -> goto gone }
    :: object[id] == CREATED
    fi;
#ifndef NO_WITNESS
    if
    :: atomic { object[id] != CREATED -> goto inspect }
    :: atomic { object[id] == CREATED && witness[id] ->
            if
            :: unproved = 1; JUDGED; goto lost /* the engine died in mid-start, or takes too long */
            :: busy == id -> goto inspect
            fi
        }
    :: object[id] == CREATED && !witness[id]
    fi;
#endif
    atomic {
        boot_same = !other_boot[id];
#ifdef NO_BOOT
        boot_same = 1;
#endif
#ifdef CLOCK_TRUSTED
        if
        :: true
        :: boot_same = 1 /* its time has not come by this leader's clock: surely no start was sent */
        fi
#endif
    };
    if
    :: atomic { REMOVABLE(id) && busy != id -> REMOVE(id); deleted = 1; in_doubt = 1 }
    :: atomic { object[id] == RUNNING || object[id] == GONE -> goto inspect }
    fi;
#ifdef DELETE_PROVES
    goto never_ran;
#endif

gone: /* the events decide, on one unbroken stream */
    atomic {
        if
#ifdef GONE_PROVES
        :: !deleted -> goto never_ran
#endif
        :: deaths != CRASHES - crashes -> goto fence
        :: deaths == CRASHES - crashes ->
            if
            :: saw_start[id] && !had_start -> JUDGED; goto ended
            :: else ->
                if
                :: had_create || (deleted && boot_same) -> JUDGED; goto never_ran
                :: else -> JUDGED; goto lost
                fi
            fi
        fi
    };

never_ran:
    APPEND(WAITING);
    goto attend;

started:
    APPEND(STARTED);
    assert(ran == 1);

watch:
    (object[id] == EXITED || object[id] == GONE);

ended:
    APPEND(ENDED);
    assert(ran == 1);
    goto over;

failed:
    APPEND(FAILED);
    assert(ran == 0);
    goto over;

lost: /* only when a start was sent or a fence cut short, and the evidence is not whole */
    APPEND(LOST);
    assert(in_doubt && unproved);
#ifdef LOST_UNREACHABLE
    assert(false);
#endif

over: /* nothing of it matters any more */
    atomic {
        state = 0; id = 0; JUDGED
    }
}

init
{
    atomic {
        byte i = 1;

        do
        :: i <= REIGNS -> run reign(i); i++
        :: else -> break
        od
    };
    /* Quiet: nobody can move any more. The last reign ran on to its end, so the run has its verdict. */
    timeout -> assert(exhausted || journal == ENDED || journal == LOST || journal == FAILED)
}
