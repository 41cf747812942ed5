/* An attempt of the process engine whose supervisor may be killed at any moment: nothing of it lives on once the journal
 * calls it ended, lost or never run, so whatever is started next runs alone.
 *
 * The supervisor forks the command's process ahead. That one waits, links the mark when it is told to go, and executes the
 * command, which may fork at any time. It dies with its supervisor; what it has forked does not. The folder's lock is held
 * by the supervisor, and by a process that has not executed yet. The server looks whenever it likes, and in any order with
 * all else; a kill hits those that it has found, and others may have been forked meanwhile.
 *
 * Not here: loss of power (the boot id tells), what hides from /proc where there is no control group
 * (cronsched/engines/process/attempt_work.h), a removed folder.
 *
 * Each naive variant is switched on by its name; model_test.py says what has to become of it.
 */
#ifndef FORKS
#define FORKS 3
#endif

mtype = { PREPARED, FENCED, GOES_ON, ENDED, LOST, NEVER_RAN };

mtype mark = PREPARED;     /* FENCED or GOES_ON: the hard link, made once */
mtype journal = PREPARED;
bit supervisor = 1;
bit waits = 0;             /* the command's process, before its exec; it holds the lock */
bit first = 0;             /* the same one, after it */
byte others = 0;           /* that descend from it */
bit recorded = 0;          /* which processes are its own: pid, control group, mark */
bit end = 0;
byte forks = FORKS, kills = 1;

#define LIVING (first + others)
#ifdef LOCK_OF_ONE
#define LOCKED (supervisor)
#else
#define LOCKED (supervisor || waits)
#endif
#ifdef FIRST_ALONE
#define FOUND (recorded -> first : 0)
#else
#define FOUND (recorded -> LIVING : 0)
#endif

active proctype supervise()
{
    atomic { /* forked ahead */
        if
        :: supervisor -> waits = 1
        :: !supervisor -> goto over
        fi
    };
#ifndef RECORDED_AFTER
    atomic {
        if
        :: supervisor -> recorded = 1
        :: !supervisor -> goto over
        fi
    };
#endif
    if
    :: atomic { supervisor && waits && mark == PREPARED -> mark = GOES_ON }
    :: mark == FENCED || !supervisor -> goto over
    fi;
    atomic { /* exec */
        if
        :: waits -> waits = 0; first = 1
        :: !waits -> goto over
        fi
    };
#ifdef RECORDED_AFTER
    atomic {
        if
        :: supervisor -> recorded = 1
        :: !supervisor -> goto over
        fi
    };
#endif
    if
    :: atomic { supervisor && !first -> others = 0; end = 1; supervisor = 0 } /* it kills what is left, and notes the end */
    :: !supervisor
    fi;
over:
    atomic {
        if
        :: supervisor -> supervisor = 0; waits = 0
        :: else
        fi
    }
}

active proctype command()
{
end_idle:
    do
    :: atomic { LIVING > 0 && forks > 0 -> forks--; others++ }
    :: atomic { first -> first = 0 }
    :: atomic { others > 0 -> others-- }
    od
}

/* By the kernel, short of memory, or a person. The process that waits hears of it at its next step. */
active proctype killer()
{
end_idle:
    do
    :: atomic { supervisor && kills > 0 -> kills--; supervisor = 0; first = 0 }
    :: atomic { !supervisor && waits -> waits = 0 }
    od
}

active proctype server()
{
    byte found = 0, shot = 0;

look:
    if
    :: atomic { mark == PREPARED -> mark = FENCED; journal = NEVER_RAN } /* its fire time has passed, or a new leader looks */
    :: atomic { mark == GOES_ON && end -> journal = ENDED }
    :: atomic { mark == GOES_ON && !end && !LOCKED -> found = FOUND };
        do /* kill, one after the other, those that were found */
        :: atomic { shot < found && LIVING > 0 ->
                shot++;
                if
                :: first -> first = 0
                :: others > 0 -> others--
                fi }
        :: atomic { shot >= found || LIVING == 0 -> break }
        od;
        atomic {
            shot = 0;
            if
#ifndef KILLED_ONCE
            :: found > 0 || FOUND > 0 -> found = 0; goto look
#endif
            :: else -> found = 0; journal = LOST
            fi
        }
    fi;
    assert(LIVING == 0);                       /* what is started next runs alone */
    assert(journal != NEVER_RAN || !end);
    (!supervisor && !waits && (forks == 0 || LIVING == 0));
    assert(LIVING == 0)                        /* and stays alone */
}

init
{
    timeout -> assert(journal == ENDED || journal == LOST || journal == NEVER_RAN)
}
