/* The cursor of one job: every fire time ends in one run or one skip, whoever leads and whatever was under way.
 *
 * Fire times are 1..T, and so is the clock. One process per epoch: a leader that is paused or dead is one that is not
 * scheduled, one that comes back late is scheduled again. Taking over is one step. An append is one step, with the
 * epoch check, and carries all that one batch does. A reservation that is committed is released at its time without
 * asking the journal: before its FIRE is written, or after, or by a leader that is deposed and does not know it. Clocks
 * of leaders are up to one fire time behind.
 *
 * Not here: whether a start request arrives (launch.pml); overlap, `after` and pools, which only choose between run and
 * skip: the choice is free here.
 *
 * Each naive variant is switched on by its name; model_test.py says what has to become of it.
 */
#ifndef T
#define T 3 /* at most 4 */
#endif
#ifndef LEADERS
#define LEADERS 2
#endif
#ifndef EDITS
#define EDITS 1
#endif
#define GRACE 1 /* late_grace, in fire times */
#define AHEAD 2 /* arm_ahead */

byte clock = 0;
byte epoch = 0;
byte cursor = 0;      /* the journal: all up to it is accounted for, */
byte time = 0;        /* the leader's time of the last batch, */
byte fired[5];    /* FIRE, */
byte skipped[5];  /* SKIPPED, */
byte armed[5];    /* the epoch that committed a reservation; 0: none, or settled, */
bit ahead[5];     /* and fired before the cursor came to it */
byte prepared[5]; /* the engine: whose object waits for its start; 0: none */
byte starts[5];
byte edits = EDITS;

#ifdef NO_EPOCH_CHECK
#define MINE true
#else
#define MINE (epoch == me)
#endif

#define ACCOUNT(t) assert(fired[t] + skipped[t] <= 1)

/* Released, or found to be: it is a run, in order or not. */
inline fire_ahead(t)
{
    if
    :: fired[t] == 0 && skipped[t] == 0 && t > cursor -> fired[t] = 1; ahead[t] = 1
    :: else
    fi
}

/* Of fire time cursor + 1, within a batch: it becomes a run (run), or is passed over. */
inline judge(wanted)
{
    if
    :: ahead[cursor + 1] -> ahead[cursor + 1] = 0 /* PASSED: it has its run */
    :: else ->
        if
#ifdef SKIP_UNSETTLED
        :: wanted -> fired[cursor + 1]++
#else
        :: wanted || (armed[cursor + 1] != 0 && armed[cursor + 1] != me) -> fired[cursor + 1]++ /* the fence will tell */
#endif
        :: else -> skipped[cursor + 1]++;
            if
            :: armed[cursor + 1] == me -> armed[cursor + 1] = 0; prepared[cursor + 1] = 0 /* REVOKED */
            :: else
            fi
        fi
    fi;
    ACCOUNT(cursor + 1);
    cursor++
}

proctype leader(byte me)
{
    byte now = 0, t = 0; /* this leader's clock, which never goes behind the journal's */
    bit wanted = 0;

    /* the multi, and the EPOCH record: what an earlier leader had committed for a time that has come may run */
    d_step {
        epoch == me - 1 -> epoch = me;
        now = (clock > 0 && me % 2 == 0 -> clock - 1 : clock);
        now = (now < time -> time : now);
        time = now;
        t = 1;
        do
        :: t <= now && t <= T ->
            if
            :: armed[t] != 0 -> fire_ahead(t)
            :: else
            fi;
            t++
        :: else -> break
        od;
        t = 0;
#ifdef CATCH_UP_IGNORES_CURSOR
        cursor = (cursor > 0 -> cursor - 1 : 0)
#endif
    };

loop:
    atomic {
        t = 0; wanted = 0;
        if
        :: now < clock -> now = (me % 2 == 0 && now < clock - 1 -> clock - 1 : clock)
        :: true
        fi;
        if
        :: cursor == T && epoch == me -> goto over /* nothing is left to do */
        :: epoch != me -> goto deposed
        :: else
        fi;
        /* what comes next: any of what can be done */
        if
        :: cursor + 1 <= now && cursor < T && now - (cursor + 1) > GRACE -> goto catch_up
        :: cursor + 1 <= now && cursor < T && now - (cursor + 1) <= GRACE -> t = cursor + 1; goto due
        :: armed[1] != 0 && armed[1] != me -> t = 1; goto settle
        :: armed[2] != 0 && armed[2] != me -> t = 2; goto settle
        :: armed[3] != 0 && armed[3] != me -> t = 3; goto settle
        :: armed[4] != 0 && armed[4] != me -> t = 4; goto settle
        :: cursor < T && cursor + 1 <= now + AHEAD && armed[cursor + 1] == 0 && !ahead[cursor + 1] ->
            t = cursor + 1; goto arm
        :: cursor + 1 < T && cursor + 2 <= now + AHEAD && armed[cursor + 1] != 0 && armed[cursor + 2] == 0 &&
           !ahead[cursor + 2] -> t = cursor + 2; goto arm
        :: edits > 0 && cursor < T -> edits--; goto edit
        :: now < clock || clock < T -> goto wait
        fi
    };

wait:
    if
    :: now < clock -> goto loop
    :: epoch != me -> goto loop
    fi;

deposed: /* it may go on with what it had, and does not know */
    atomic {
        if
        :: prepared[1] == me && now >= 1 -> prepared[1] = 0; starts[1]++
        :: prepared[2] == me && now >= 2 -> prepared[2] = 0; starts[2]++
        :: prepared[3] == me && now >= 3 -> prepared[3] = 0; starts[3]++
        :: prepared[4] == me && now >= 4 -> prepared[4] = 0; starts[4]++
        :: true
        fi;
        goto over
    };

arm: /* reserved and prepared: two batches, of which the second counts */
    atomic {
        if
        :: MINE -> armed[t] = me; prepared[t] = me; time = now
        :: else
        fi
    };
    goto loop;

settle: /* the fence removes what never ran; a start that was sent wins */
    atomic {
        if
        :: prepared[t] == 0 || starts[t] > 0 -> wanted = (starts[t] > 0)
        :: else -> prepared[t] = 0
        fi
    };
    d_step {
        if
        :: MINE && wanted -> fire_ahead(t); armed[t] = 0; time = now /* STARTED */
        :: MINE && !wanted -> armed[t] = 0; time = now /* NEVER_RAN: armed again, when it is still wanted */
        :: else
        fi;
        wanted = 0
    };
    goto loop;

due: /* on time, or late by no more than the grace: overlap and the like decide */
    atomic {
        if
        :: wanted = 1
        :: wanted = 0
        fi
    };
    if
    :: atomic { wanted && armed[t] == me && prepared[t] == me -> prepared[t] = 0; starts[t]++ } /* and then the FIRE */
    :: skip
    fi;
#ifdef CURSOR_AFTER
    atomic {
        if
        :: MINE && t == cursor + 1 && wanted && !ahead[t] -> fired[t]++; ACCOUNT(t); time = now
        :: else -> goto loop
        fi
    };
    d_step {
        if
        :: MINE && t == cursor + 1 -> cursor = t
        :: else
        fi
    };
#else
    d_step {
        if
        :: MINE && t == cursor + 1 -> judge(wanted); time = now
        :: else
        fi
    };
#endif
    atomic { /* the FIRE first, and then the start */
        if
        :: wanted && armed[t] == me && prepared[t] == me -> prepared[t] = 0; starts[t]++
        :: else
        fi
    };
    goto loop;

catch_up: /* all that are too old but the last are passed over, in one batch; the last runs, or not */
    atomic {
        if
        :: wanted = 1
        :: wanted = 0
        fi
    };
    d_step {
        if
        :: MINE ->
            do
            :: cursor + 2 + GRACE < now -> judge(false)
            :: else -> break
            od;
            judge(wanted);
            time = now
        :: else
        fi
    };
    goto loop;

edit: /* accounts for all up to now under the old definition, and takes back what is armed for later */
    atomic {
        if
        :: wanted = 1
        :: wanted = 0
        fi
    };
    d_step {
        if
        :: MINE ->
#ifdef EDIT_WITHOUT_ACCOUNTING
            cursor = (now > cursor -> now : cursor);
#else
            do
            :: cursor < now && cursor < T -> judge(wanted)
            :: else -> break
            od;
#endif
            t = 1;
            do
            :: t <= T ->
                if
                :: t > now && armed[t] == me -> armed[t] = 0; prepared[t] = 0
                :: else
                fi;
                t++
            :: else -> break
            od;
            time = now
        :: else
        fi;
        t = 0; wanted = 0
    };
    goto loop;

over:
    skip
}

active proctype ticks()
{
end_late:
    do
    :: d_step { clock < T + 1 -> clock++ }
    :: clock == T + 1 -> break
    od
}

init
{
    byte t = 1;

    atomic {
        do
        :: t <= LEADERS -> run leader(t); t++
        :: else -> break
        od;
        t = 1
    };
    /* Quiet: the last leader ran on to its end. */
    timeout ->
    d_step {
        do
        :: t <= T ->
            assert(fired[t] + skipped[t] == 1);
            assert(starts[t] <= fired[t]);
            t++
        :: else -> break
        od
    }
}
