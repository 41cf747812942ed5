/* The launch protocol of one attempt on a plain Docker engine: at most one start, and a verdict in the end.
 *
 * One process per epoch: a leader that is paused, cut off or dead is one that is not scheduled, and a leader
 * that comes back late is one that is scheduled again. Taking over is one step: the epoch is taken, and the tail
 * read is final. An append is one step, with the epoch check. Everything that a leader asks of the engine is a
 * step of its own, and a start request may arrive at any later time; the engine handles it in two steps (look
 * up, then lock). The engine may die at any time, also between exec and its own note of it; its host may die
 * with it, and lose the start witness. The ring of events may forget. Somebody may remove a container by hand, or start
 * one, which is no start of ours. Another engine may answer under its name, with an empty disk, and the first one again; what
 * is under way on the first goes on there.
 * What has been sealed or removed is taken to stay so: that a host's death undoes it, and that a leader sleeps
 * through all of that with its start request in hand, is left to the lease.
 *
 * Not here: time and the cursor (cursor.pml), the journal itself (log.pml), retries (attempts of their own).
 *
 * Each naive variant is switched on by its name; model_test.py says what has to become of it.
 */
#ifndef LEADERS
#define LEADERS 2
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
#ifdef GONE_PROVES
#define REMOVALS 1
#endif
#ifdef IDENTITY_IGNORED
#define REPLACED 1
#endif
#ifndef REMOVALS
#define REMOVALS 0
#endif

#ifndef STRANGERS
#define STRANGERS 0
#endif

#ifndef REPLACED
#define REPLACED 0 /* so often another engine answers */
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
bit sealed[OBJECTS];       /* a file in its place: no start gets past its mounts */
bit remembers[OBJECTS];    /* the engine's ring of events holds its creation */
bit saw_start[OBJECTS];    /* and its start */
bit other_boot[OBJECTS];   /* its host has died since it was prepared */
bit refused[OBJECTS];      /* a start was answered: no such container, or none that can be started */
bit home[OBJECTS];         /* the engine that has made it, */
bit answers = 0;           /* and the one that answers now */
byte requests[OBJECTS];    /* start requests under way */
byte busy = OBJECTS;       /* the object whose start is in progress: locked */
byte crashes = CRASHES, edits = EDITS, removals = REMOVALS;

byte strangers = STRANGERS, replaced = REPLACED;
byte ran = 0;              /* how often the job was executed by us: what it is all about */
byte by_hand = 0;          /* and by somebody else */
bit in_doubt = 0;          /* a start was requested, or an object sealed, or removed by hand; */
bit unproved = 0;          /* evidence was lost, or awaited in vain; */
bit unreached = 0;         /* another engine answered for too long; */
bit exhausted = 0;         /* the bound on objects was met: nothing is said about the end */

#ifdef NO_EPOCH_CHECK
#define MINE true
#else
#define MINE (epoch == me)
#endif

/* A batch: written under the epoch check, or this leader is deposed. */
#define APPEND(what)                                                                                           \
    if                                                                                                         \
    :: atomic { MINE -> state = what; journal = what; journal_epoch = me; journal_id = id }                    \
    :: atomic { !(MINE) -> goto over }                                                                         \
    fi

#define HERE(id) (home[id] == answers)

/* ---- the engine ---- */

/* DELETE without force: waits for a start in progress, refuses what runs, succeeds on what was never started and
 * on what has exited. */
#define REMOVABLE(id) (object[id] == CREATED || object[id] == EXITED)
#define REMOVE(id)    object[id] = GONE; witness[id] = 0; sealed[id] = 0; other_boot[id] = 0

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

inline by_somebody(i)
{
    strangers--; by_hand++;
    witness[i] = 1; object[i] = RUNNING; saw_start[i] = 1
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
            :: REMOVABLE(id)
            :: else -> refused[id] = (object[id] == GONE); id = 0; goto end_idle
            fi
        };
        if
        :: atomic { REMOVABLE(id) && !sealed[id] -> /* locked; exec comes before any note of it */
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
        :: atomic { object[id] == GONE || sealed[id] -> refused[id] = 1 }
        fi;
        id = 0
    :: atomic { object[0] == RUNNING -> object[0] = EXITED }
    :: atomic { object[1] == RUNNING -> object[1] = EXITED }
    :: atomic { object[2] == RUNNING -> object[2] = EXITED }
    :: atomic { object[3] == RUNNING -> object[3] = EXITED }
    :: atomic { removals > 0 && REMOVABLE(0) -> removals--; in_doubt = 1; unproved = 1; REMOVE(0) }
    :: atomic { removals > 0 && REMOVABLE(1) -> removals--; in_doubt = 1; unproved = 1; REMOVE(1) }
    :: atomic { strangers > 0 && REMOVABLE(0) && !sealed[0] -> by_somebody(0) }
    :: atomic { strangers > 0 && REMOVABLE(1) && !sealed[1] -> by_somebody(1) }
    :: atomic { replaced > 0 -> replaced--; answers = 1 - answers }
    :: dies(false)
    :: dies(true)
    od
}

/* The fence's notes are of no use any more. */
#define JUDGED had_create = 0; had_start = 0; boot_same = 0; deaths = 0

/* ---- a leader ---- */

proctype leader(byte me)
{
    mtype state;           /* this leader's fold: only its own appends change it */
    byte id;
    bit had_create, had_start, boot_same; /* of the fence */
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
        :: state == ARMED -> goto arm /* of another leader, which never committed it: it was never started */
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
        object[id] = CREATED; remembers[id] = 1; home[id] = answers
    };
#ifndef NO_COMMIT
    APPEND(COMMITTED);
#endif

committed:
    if
    :: atomic { edits > 0 -> edits--; goto revoke }
#ifndef NO_COMMIT
    :: atomic { me < LEADERS -> goto hand_over }
#endif
    :: goto release /* its time has come, by this leader's clock */
    fi;

revoke: /* never released from here on; removed only when that is in the journal */
#ifndef DISCARD_EARLY
    APPEND(WAITING);
#endif
    if
    :: atomic { HERE(id) && REMOVABLE(id) && busy != id -> REMOVE(id) }
    :: object[id] == RUNNING || object[id] == GONE || !HERE(id)
    fi;
#ifdef DISCARD_EARLY
    APPEND(WAITING);
#endif
    goto attend;

hand_over: /* a clean stop: what this leader has sworn never to release */
    APPEND(HANDED_OVER);
#ifdef HANDED_OVER_RELEASED
    goto release;
#endif
    goto over;

release: /* ONE start request for this id, ever, and none for what somebody has started */
    atomic {
        if
        :: by_hand > 0 && HERE(id) && (object[id] == RUNNING || object[id] == EXITED) -> goto started
        :: !HERE(id) -> goto fence /* "no such container" */
        :: else
        fi;
        requests[id]++; in_doubt = 1;
#ifdef RESENT_START
        requests[id]++ /* by a library, on a connection that died */
#endif
    };
    if
    :: atomic { HERE(id) && (object[id] == RUNNING || object[id] == EXITED) -> goto started }
    :: atomic { refused[id] && requests[id] == 0 -> goto failed }
#ifdef RELEASED_AGAIN
    :: atomic { requests[id] < 2 -> requests[id]++ }; goto fence
#endif
    :: goto fence /* no answer: this leader is its own successor */
    fi;

settle: /* what an earlier leader has left */
#ifdef OLD_ID_RELEASED
    APPEND(COMMITTED);
    goto release;
#endif
    if
    :: atomic { state == HANDED_OVER -> skip };
        APPEND(COMMITTED); /* again, by this leader */
        goto committed
    :: atomic { state == COMMITTED -> goto fence }
    fi;

fence: /* opens the stream, with what the engine remembers: all, or too little */
    atomic {
        deaths = CRASHES - crashes; boot_same = 0;
        had_create = remembers[id]; had_start = 0;
        if
        :: true
        :: had_create -> had_create = 0; had_start = saw_start[id]; unproved = 1
        fi
    };

inspect:
    if
    :: atomic { HERE(id) && (object[id] == RUNNING || object[id] == EXITED) -> JUDGED; goto started }
    :: atomic { HERE(id) && object[id] == GONE -> goto gone }
    :: HERE(id) && object[id] == CREATED
#ifdef IDENTITY_IGNORED
    :: atomic { !HERE(id) -> JUDGED; goto gone }
#else
    :: !HERE(id) -> goto elsewhere
#endif
    fi;
#ifdef BOOT_BEFORE_SEAL
    boot_same = !other_boot[id];
#endif
    /* the seal: the file system decides between it and the witness */
    if
    :: atomic { object[id] != CREATED || !HERE(id) -> goto inspect }
#ifndef NO_WITNESS
    :: atomic { HERE(id) && object[id] == CREATED && witness[id] ->
            if
            :: unproved = 1; JUDGED; goto lost /* the engine died in mid-start, or takes too long */
            :: busy == id -> goto inspect
            fi
        }
    :: atomic { HERE(id) && object[id] == CREATED && !witness[id] ->
#else
    :: atomic { HERE(id) && object[id] == CREATED ->
#endif
            in_doubt = 1;
#ifndef NO_SEAL
            sealed[id] = 1
#endif
        }
    fi;
    atomic { /* asked for after the seal: a host that died before it may have lost the witness */
#ifndef BOOT_BEFORE_SEAL
        boot_same = !other_boot[id];
#endif
#ifdef NO_BOOT
        boot_same = 1;
#endif
#ifdef CLOCK_TRUSTED
        if
        :: true
        :: boot_same = 1 /* its time has not come by this leader's clock: surely no start was sent */
        fi;
#endif
        if
        :: object[id] != GONE && (boot_same || (had_create && deaths == CRASHES - crashes)) -> JUDGED; goto never_ran
        :: object[id] != GONE && !boot_same && had_create && deaths != CRASHES - crashes -> goto fence
        :: object[id] != GONE && !boot_same && !had_create -> unproved = 1; JUDGED; goto lost
        :: object[id] == GONE -> goto inspect
        fi
    };

elsewhere: /* another engine answers, and knows nothing of it: unresolved, until the right one does, or for too long */
    atomic {
        JUDGED;
        if
        :: HERE(id) -> goto fence
        :: !HERE(id) -> unreached = 1; goto lost
        fi
    };

gone: /* by somebody's hand: the events decide, on one unbroken stream */
    atomic {
        if
#ifdef GONE_PROVES
        :: JUDGED; goto never_ran
#endif
        :: deaths != CRASHES - crashes -> goto fence
        :: deaths == CRASHES - crashes ->
            if
            :: HERE(id) && saw_start[id] && !had_start -> JUDGED; goto ended
            :: else ->
                if
                :: had_create -> JUDGED; goto never_ran
                :: else -> JUDGED; goto lost
                fi
            fi
        fi
    };

never_ran: /* removed only when that is in the journal: until then it is the evidence */
#ifdef DISCARD_EARLY
    if
    :: atomic { HERE(id) && REMOVABLE(id) && busy != id -> REMOVE(id) }
    :: object[id] == RUNNING || object[id] == GONE || !HERE(id)
    fi;
#endif
    APPEND(WAITING);
    if
    :: atomic { HERE(id) && REMOVABLE(id) && busy != id -> REMOVE(id) }
    :: goto attend /* the sweep finds it */
    fi;
    goto attend;

started:
    APPEND(STARTED);
    assert(ran == 1 || by_hand > 0);

watch:
    if
    :: HERE(id) && (object[id] == EXITED || object[id] == GONE)
    :: !HERE(id) -> goto elsewhere
    fi;

ended:
    APPEND(ENDED);
    assert(ran == 1 || by_hand > 0);
    goto over;

failed:
    APPEND(FAILED);
    assert(ran == 0);
    goto over;

lost: /* only when a start was sent or a fence cut short, and the evidence is not whole; or when it cannot be asked for */
    APPEND(LOST);
    assert(in_doubt && unproved || unreached);
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
        :: i <= LEADERS -> run leader(i); i++
        :: else -> break
        od
    };
    /* Quiet: nobody can move any more. The last leader ran on to its end, so the run has its verdict. */
    timeout -> assert(exhausted || journal == ENDED || journal == LOST || journal == FAILED)
}
