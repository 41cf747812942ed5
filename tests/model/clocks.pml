/* Clocks that are wrong together. Some members' clocks, and ZooKeeper's, jump ahead by the same; nobody fires by a clock that
 * has jumped until a majority of the voices that it knows agrees (cronsched/cluster/clock_voices.h).
 *
 * Of MEMBERS the first WRONG jump, in any order and at any time; ZooKeeper's clock is wrong from the
 * beginning or at some moment. Each hears the others in any order. Before its jump a member has heard all of them lately; a
 * voice that it has not heard since counts against the jump. What a member believes of its own clock is sent with it.
 *
 * The claims, while fewer than half of the voices of another kind are wrong: no jump is believed that is one; whoever is right
 * finds itself right by the median, so it neither resigns nor lets a wrong one go first.
 *
 * Where the wrong ones are the majority nothing can tell (MAJORITY_WRONG reaches that); and who hears nobody for longer than
 * voices are fresh is not here.
 *
 * Each naive variant is switched on by its name; model_test.py says what has to become of it.
 */
#ifdef SET_COUNTS
#define MEMBERS 4 /* where ZooKeeper's is one more voice */
#endif
#ifndef MEMBERS
#define MEMBERS 5
#endif
#ifdef MAJORITY_WRONG
#undef MEMBERS
#define MEMBERS 3 /* and ZooKeeper */
#endif
#ifndef WRONG
#define WRONG 2
#endif

bit ahead[MEMBERS];        /* its clock, as it is set */
bit believed[MEMBERS];     /* and what it goes by */
bit zookeeper;

#ifdef SET_COUNTS
#define SAYS(i) ahead[i]
#else
#define SAYS(i) believed[i]
#endif

#ifdef FIRST_DECIDES
#define UNHEARD 0
#else
#define UNHEARD 1 /* it counted against */
#endif
#ifdef ZOOKEEPER_DECIDES
#define BY_ZOOKEEPER || (heard_zookeeper && zookeeper)
#else
#define BY_ZOOKEEPER
#endif

inline hear(voice)
{
    if
    :: voice -> for_it++; against = against - UNHEARD
    :: else -> against = against + 1 - UNHEARD
    fi
}

/* How many of all clocks, with their own doubts, are ahead: the median is, when it is more than half. */
inline median(ret)
{
    d_step {
        i = 0; n = 0;
        do
        :: i < MEMBERS -> n = n + SAYS(i); i++
        :: else -> break
        od;
        all = MEMBERS;
        if
        :: MEMBERS % 2 == 0 -> n = n + zookeeper; all++
        :: else
        fi;
        ret = (2 * n > all);
        i = 0; n = 0; all = 0
    }
}

proctype member(byte me)
{
    byte i, n, all, for_it, against;
    byte right = MEMBERS - WRONG; /* those whose clocks are right, that it has not heard since */
    bit heard[WRONG], heard_zookeeper, reference;

    if
    :: atomic { me < WRONG -> ahead[me] = 1 } /* it jumps, and is not believed */
    :: me >= WRONG -> goto judge
    fi;
    heard[me] = 1;
#ifndef FIRST_DECIDES
    against = MEMBERS; /* all others, and ZooKeeper, were heard lately, and not since */
#endif
    do
    :: atomic { !heard_zookeeper -> heard_zookeeper = 1; hear(zookeeper) }
    :: atomic { right > 0 -> right--; hear(0) }
    :: atomic { !heard[0] -> heard[0] = 1; hear(ahead[0]) }
#if WRONG > 1
    :: atomic { !heard[1] -> heard[1] = 1; hear(ahead[1]) }
#endif
#if WRONG > 2
    :: atomic { !heard[2] -> heard[2] = 1; hear(ahead[2]) }
#endif
    :: atomic { for_it > against BY_ZOOKEEPER -> believed[me] = 1;
#ifdef MAJORITY_WRONG
            assert(false);
#else
            assert(!ahead[me]); /* else it fires what is still to come */
#endif
            break
        }
    :: break
    od;
judge:
    median(reference);
    assert(ahead[me] || !reference) /* who is right does not think that it is behind */
}

init
{
    byte i;

    atomic {
        if
        :: zookeeper = 0
        :: zookeeper = 1
        fi;
        i = 0;
        do
        :: i <= WRONG -> run member(i); i++ /* of those that are right one is like the other */
        :: else -> break
        od
    }
}
