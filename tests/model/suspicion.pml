/* The suspicion: a replica's link to its leader is down. Who may be deposed for that, and who is.
 *
 * ZooKeeper carries out one write at a time; a read shows some state that is no older than the reader's own last write. A
 * standby writes a question, and after its deadline, which may come at any time, it writes once more and reads the answer
 * behind that write. A leader may be dead, cut off from ZooKeeper, slow, or well; the link may be down for a reason of its
 * own, for ever or for a while. When the first leader is deposed the second leads, another standby watches it, and the
 * first may still answer questions that it has read.
 *
 * The claims: nobody is deposed unasked; nor with its answer in ZooKeeper when the standby writes for the second time; an
 * answer clears no suspicion of one who was dead when the question was put; one that is dead is deposed in the end; and of
 * two that believe to lead, one appends.
 *
 * Not here: how long a deadline is (leader/replicated/suspicion.h), sessions, elections among several.
 *
 * Each naive variant is switched on by its name; model_test.py says what has to become of it.
 */
#ifndef ASKS
#define ASKS 4 /* questions that may be put while the leader lives */
#endif

mtype = { NONE, ASKED, CLEARED, VERDICT };

byte epoch = 1;            /* in ZooKeeper: leader 1 leads, then leader 2 */
byte ask = 0, answer = 0;  /* versions: of the question, and of that which was answered last; */
byte answer_epoch = 0;     /* by the leader of this epoch */
bit alive[3] = 1, link = 1, up[3] = 1;

#ifdef EPOCH_IGNORED
#define MINE         true
#define IS_MEANT(by) true
#else
#define MINE         (epoch == me)
#define IS_MEANT(by) ((by) == meant)
#endif
#ifdef ANY_ANSWER
#define CLEARS(to, by) ((to) > 0 && IS_MEANT(by))
#else
#define CLEARS(to, by) ((to) >= asked && IS_MEANT(by))
#endif

/* reads the question, then writes its answer; both writes check the epoch */
proctype leader(byte me)
{
    byte read = 0;

end_idle:
    do
    :: atomic { alive[me] && up[me] && epoch >= me && ask > read -> read = ask }
    :: atomic { alive[me] && up[me] && read > answer ->
            if
            :: MINE -> answer = read; answer_epoch = me
            :: !MINE -> break /* another leads */
            fi }
    :: atomic { alive[me] && epoch > me -> /* it believes to lead, and appends */
            if
            :: MINE -> assert(epoch == me)
            :: !MINE -> break
            fi }
    od
}

/* of the leader of epoch `meant` */
proctype standby(byte meant)
{
    mtype state = NONE;
    byte asked = 0, held = 0; /* the question; what ZooKeeper held at the second write */
    bit dead = 0;             /* the leader was, when the question was put */
    bit was_asked = 0;

    epoch == meant;
end_idle:
    do
    :: atomic { !link && state == NONE && epoch == meant && (ask < ASKS || !alive[meant]) ->
#ifdef REFUSAL_IS_DEATH
            state = VERDICT
#else
            ask++; asked = ask; was_asked = 1; dead = !alive[meant]; state = ASKED
#endif
            }
    :: atomic { state == ASKED && CLEARS(answer, answer_epoch) -> state = CLEARED } /* a watch told it */
    :: atomic { state == ASKED -> /* the deadline; it writes, and reads what is there then */
            held = (answer_epoch == meant -> answer : 0);
            if
            :: CLEARS(answer, answer_epoch) -> state = CLEARED
            :: !CLEARS(answer, answer_epoch) -> state = VERDICT
#ifdef NO_SECOND_WRITE
            :: state = VERDICT /* the server that it reads from lags */
#endif
            fi }
    :: atomic { state == CLEARED -> assert(!dead); state = NONE } /* after a pause it may ask again */
    :: atomic { state == VERDICT && epoch == meant ->
            assert(was_asked);
            assert(!alive[meant] || held < asked);
            epoch++; break }
    :: atomic { epoch != meant -> break }
    od
}

active proctype world()
{
    byte more = 3;

    atomic { run leader(1); run leader(2); run standby(1); run standby(2) }
end_idle:
    do
    :: atomic { link && more > 0 -> link = 0; more-- }
    :: atomic { !link && more > 0 && epoch < 3 && alive[epoch] -> link = 1; more-- }
    :: atomic { epoch < 3 && alive[epoch] -> alive[epoch] = 0; link = 0 }
    :: atomic { up[1] && more > 0 -> up[1] = 0; more-- } /* cut off from ZooKeeper */
    :: atomic { !up[1] && more > 0 -> up[1] = 1; more-- }
    :: timeout -> /* nothing moves any more */
        assert(epoch == 3 || alive[epoch]);
        break
    od
}
