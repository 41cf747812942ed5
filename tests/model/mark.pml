/* The mark: who may believe and lead a tree that went back, was emptied, or was gone on with by others; and the verb by
 * which a person has the journal go on.
 *
 * A batch is an index and an identity of its own, which stands for the chain of hashes below it: who has batch i by its
 * identity has all before. Batch i fires fire time i, once it is acknowledged. ZooKeeper carries out one request at a
 * time; the tree may go back to a copy at any moment, with its epoch and without its sessions, and an acknowledgement may
 * be on its way then. A replica that is down keeps its mark on disk, and nothing else.
 *
 * The claim: nobody follows or leads a tree that lacks what it knows or contradicts it, nobody leads one that lacks or
 * contradicts what a member knows that was there before its epoch, and so no fire time is fired twice as long as one who
 * knows of it is there. After a recovery none is fired twice that anybody knew of who was there.
 *
 * Not here: the snapshot that takes the place of batches (the list of epochs in its manifest tells the same), the reading
 * of single nodes (tests/sim/elections.c). A leader's token is its own, as the name of its epoch is: a tree that went back
 * counts the versions of its nodes again (VERSION_ALONE).
 *
 * Each naive variant is switched on by its name; model_test.py says what has to become of it.
 */
#ifndef N
#define N 2 /* replicas */
#endif
#ifndef TOP
#define TOP 4 /* indexes are below it */
#endif
#ifndef LEADERS
#define LEADERS 3
#endif
#ifndef BACKS
#define BACKS 1 /* times that the tree goes back */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef RECOVERIES
#define RECOVERIES 1
#endif

mtype = { FOLLOWS, ELECTED, LEADS };

/* the tree, and a copy of it; a length of 0 with no token is an empty one */
byte length = 0, id[TOP], token = 0, base = 0, base_token = 0;
byte copy_length, copy_id[TOP], copy_token, copy_base, copy_base_token;
bit copied = 0;

#ifdef VERSION_ALONE
byte version = 1, copy_version, mine_version[N]; /* of the epoch's node */
#define IN_EPOCH(r) (version == mine_version[r])
#define NEXT_VERSION version++
#else
#define IN_EPOCH(r) (token == mine[r])
#define NEXT_VERSION skip
#endif

bit up[N] = 1, member[N];
byte said[N], said_id[N];  /* the mark that it has published, */
byte since[N];             /* and the last election before that; */
bit there[N];              /* it was registered in this session, whatever became of that */
byte mark[N], mark_id[N], mark_token[N];
byte knew[N], knew_id[N];  /* what it truly knows, or a person gave leave to forget */
mtype is[N] = FOLLOWS;
byte mine[N], seen[N];     /* a leader's token; the length that it left */
byte unacked[N], unacked_id[N]; /* a batch whose acknowledgement is on its way */

byte elections = 0, batches = 0, backs = BACKS, crashes = CRASHES, recoveries = RECOVERIES;
byte fired[TOP];

#ifdef HASH_IGNORED
#define HELD(i, what) ((i) == 0 || (i) <= length)
#else
#define HELD(i, what) ((i) == 0 || ((i) <= length && id[i] == (what)))
#endif
#define TRULY_HELD(i, what) ((i) == 0 || ((i) <= length && id[i] == (what)))
#define TRUSTS(r) (token != 0 && HELD(mark[r], mark_id[r]))

inline knows(r, i, what, by)
{
    knew[r] = i; knew_id[r] = what;
    mark[r] = i; mark_id[r] = what; mark_token[r] = by
}

/* All that it can read is given to its owner. */
inline follow(r)
{
    if
    :: length > mark[r] -> knows(r, length, id[length], token)
    :: else
    fi
}

inline over(r)
{
    is[r] = FOLLOWS;
    mine[r] = 0; seen[r] = 0;
#ifdef MARK_FORGOTTEN
    mark[r] = 0; mark_id[r] = 0; mark_token[r] = 0
#endif
}

/* Every mark that was published before, and its own, is in the tree. */
inline all_held(r, ok)
{
    ok = TRUSTS(r);
    k = 0;
    do
    :: k < N ->
        if
        :: member[k] && !HELD(said[k], said_id[k]) -> ok = 0
        :: else
        fi;
        k++
    :: else -> break
    od;
    k = 0
}

inline truly_held(r)
{
    assert(TRULY_HELD(knew[r], knew_id[r]));
    k = 0;
    do
    :: k < N ->
        assert(!there[k] || since[k] >= mine[r] || TRULY_HELD(said[k], said_id[k]));
        k++
    :: else -> break
    od;
    k = 0
}

/* Does this one know of another batch than the one in the tree that fired it? */
#define KNOWS_ANOTHER(i, at, what) ((at) >= (i) && !TRULY_HELD(at, what))

/* Nobody who said so before this leader, nor itself, knows that it was fired already. */
inline not_again(r, i)
{
    assert(fired[i] == 0 || !KNOWS_ANOTHER(i, knew[r], knew_id[r]));
    k = 0;
    do
    :: k < N ->
        assert(fired[i] == 0 || !there[k] || since[k] >= mine[r] || !KNOWS_ANOTHER(i, said[k], said_id[k]));
        k++
    :: else -> break
    od;
    k = 0
}

proctype replica(byte r)
{
    byte k = 0;
    bit ok = 0;

end_idle:
    do
    :: atomic { !there[r] && unacked[r] > 0 -> unacked[r] = 0; unacked_id[r] = 0; over(r) } /* the connection was lost with it */
    :: atomic { up[r] && !there[r] && unacked[r] == 0 -> /* registers; who refuses stays a member, and says so */
            there[r] = 1; member[r] = 1; said[r] = mark[r]; said_id[r] = mark_id[r]; since[r] = elections }
#ifdef REFUSING_LEAVES
    :: atomic { up[r] && member[r] && mark[r] > 0 && !TRUSTS(r) -> member[r] = 0 }
    :: atomic { up[r] && there[r] && !member[r] && TRUSTS(r) -> member[r] = 1; said[r] = mark[r]; said_id[r] = mark_id[r] }
#endif
    :: atomic { up[r] && member[r] && said[r] != mark[r] -> /* the heartbeat */
            said[r] = mark[r]; said_id[r] = mark_id[r] }
    :: atomic { up[r] && is[r] == FOLLOWS && TRUSTS(r) && length > mark[r] ->
            assert(TRULY_HELD(knew[r], knew_id[r]));
            follow(r) }
    :: atomic { up[r] && is[r] == FOLLOWS && base > mark[r] && base_token > mark_token[r] && mark[r] > 0 ->
            knows(r, base, id[base], base_token) } /* a person gave leave */
    :: atomic { up[r] && member[r] && is[r] == FOLLOWS && TRUSTS(r) && elections < LEADERS + RECOVERIES - recoveries ->
#ifdef MEMBERS_READ_BEFORE
            all_held(r, ok);
            ok;
            is[r] = ELECTED } ;
            atomic {
            if
            :: up[r] && is[r] == ELECTED && token != 0
            :: else -> goto end_idle
            fi;
#endif
            elections++; token = elections; mine[r] = token; NEXT_VERSION;
#ifdef VERSION_ALONE
            mine_version[r] = version;
#endif
            is[r] = ELECTED; ok = 0 }
    :: atomic { is[r] == ELECTED && mine[r] != 0 && token == mine[r] -> /* the members and the tail are read */
#ifdef MEMBERS_READ_BEFORE
            ok = TRUSTS(r);
#else
            all_held(r, ok);
#endif
            if
            :: ok -> truly_held(r); follow(r); seen[r] = length; is[r] = LEADS;
#ifdef RECOVERED_UNREACHABLE
                assert(base == 0)
#endif
            :: else -> over(r)
            fi;
            ok = 0 }
    :: atomic { is[r] == LEADS && unacked[r] == 0 && length == seen[r] && length + 1 < TOP && IN_EPOCH(r) ->
            assert(token == mine[r]);
            batches++; length++; id[length] = batches; seen[r] = length; unacked[r] = length; unacked_id[r] = batches }
    :: atomic { is[r] == LEADS && unacked[r] > 0 -> /* acknowledged, whatever became of the tree meanwhile */
            if
            :: token == mine[r] && length == unacked[r] -> not_again(r, unacked[r])
            :: else
            fi;
            fired[unacked[r]]++;
            knows(r, unacked[r], unacked_id[r], mine[r]);
            unacked[r] = 0; unacked_id[r] = 0 }
    :: atomic { is[r] != FOLLOWS && unacked[r] == 0 && (token != mine[r] || length != seen[r]) && mine[r] != 0 && is[r] == LEADS ->
            over(r) } /* its heartbeat, or an append, tells it */
    :: atomic { is[r] == ELECTED && token != mine[r] -> over(r) }
    :: atomic { up[r] && member[r] && base > 0 && token == base_token && since[r] < base_token && said[r] == mark[r] &&
            mark_token[r] < base_token && mark[r] >= base && !TRUSTS(r) ->
            assert(false) } /* it had said what it knows, and was given no leave */
    od
}

/* A person has it go on: from what one holds or from what the tree holds is the same here. */
inline recover(r)
{
    n = (length > mark[r] -> length : mark[r]);
    n = (base > n -> base : n);
    k = 0;
#ifndef OWN_MARK_ALONE
    do
    :: k < N ->
        if
        :: member[k] && said[k] > n -> n = said[k]
        :: else
        fi;
        k++
    :: else -> break
    od;
    k = 0;
#endif
    n++;
    if
    :: n < TOP ->
        recoveries--;
        elections++; token = elections; batches++; NEXT_VERSION;
        k = 1;
        do
        :: k < n -> id[k] = 0; k++ /* in its place there is a snapshot */
        :: else -> break
        od;
        k = 0;
        length = n; id[n] = batches; base = n; base_token = token;
        knows(r, n, batches, token)
    :: else
    fi;
    n = 0
}

/* All that is known was published: the person waits for a heartbeat. */
#define PUBLISHED ((!member[0] || said[0] == mark[0]) && (!member[1] || said[1] == mark[1]))

active proctype world()
{
    byte k = 0, n = 0;

    atomic {
        token = 1; elections = 1; /* it was founded */
        do
        :: k < N -> run replica(k); k++
        :: else -> break
        od;
        k = 0
    };
end_idle:
    do
    :: atomic { !copied && backs > 0 -> /* a backup */
            copied = 1; copy_length = length; copy_token = token; copy_base = base; copy_base_token = base_token;
#ifdef VERSION_ALONE
            copy_version = version;
#endif
            do
            :: k < TOP -> copy_id[k] = id[k]; k++
            :: else -> break
            od;
            k = 0 }
    :: atomic { backs > 0 && (copied || length > 0) -> /* it is restored, or all is gone */
            backs--;
            if
            :: copied -> length = copy_length; token = copy_token; base = copy_base; base_token = copy_base_token
#ifdef VERSION_ALONE
                ; version = copy_version
#endif
            :: length = 0; token = 0; base = 0; base_token = 0
#ifdef VERSION_ALONE
                ; version = 0
#endif
            fi;
            do
            :: k < TOP ->
                id[k] = (copied && k <= length -> copy_id[k] : 0);
                k++
            :: else -> break
            od;
            k = 0;
            do
            :: k < N -> member[k] = 0; there[k] = 0; k++
            :: else -> break
            od;
            k = 0 }
    :: atomic { crashes > 0 -> crashes--;
            if
            :: up[0] -> n = 0
            :: up[1] -> n = 1
            fi;
            up[n] = 0; member[n] = 0; there[n] = 0; unacked[n] = 0; unacked_id[n] = 0; is[n] = FOLLOWS; mine[n] = 0; seen[n] = 0;
            n = 0 }
    :: atomic { !up[0] -> up[0] = 1 }
    :: atomic { !up[1] -> up[1] = 1 }
    :: atomic { recoveries > 0 && up[0] && member[0] && is[0] == FOLLOWS && mark[0] > 0 && !TRUSTS(0) && PUBLISHED -> recover(0) }
    :: atomic { recoveries > 0 && up[1] && member[1] && is[1] == FOLLOWS && mark[1] > 0 && !TRUSTS(1) && PUBLISHED -> recover(1) }
    od
}
