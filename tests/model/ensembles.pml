/* Two ensembles with a copy of one cluster's data, a replica at each: which of the two may lead.
 *
 * Each ensemble has an epoch of its own, so its election proves nothing about the other. A replica that is elected says so,
 * then asks the other one over their link, and leads when that one claims nothing. An answer is of the moment in which it is
 * made, and may arrive late. The link may be cut and come back; who does not answer stops nobody. A replica may crash, and
 * start again. Replica 0 leads at the beginning, or nobody does.
 *
 * The claims: as long as the link was never cut, the two do not lead at the same time; and in the end, with the link,
 * exactly one of them leads if one is up.
 *
 * Not here: marks (mark.pml), leases and times, members of one ensemble among one another, what a person decides.
 *
 * Each naive variant is switched on by its name; model_test.py says what has to become of it.
 */
#ifndef ELECTIONS
#define ELECTIONS 4 /* in each ensemble */
#endif

mtype = { DOWN, FOLLOWS, ELECTED, LEADS, REFUSES };

mtype role[2];
byte tree[2] = 1;   /* the epoch in this replica's ensemble, */
byte epoch[2] = 0;  /* and that of its own leadership */
mtype heard[2], said[2]; /* what the other claimed last, over the link; in the answer that is on its way */
byte heard_epoch[2] = 0, said_epoch[2] = 0;
bit asked[2] = 0; /* that answer is on its way, to a question since the election */
bit link = 1, was_cut = 0;

#ifdef ELECTED_UNSAID
#define CLAIM(r) (role[r] == LEADS -> LEADS : FOLLOWS)
#else
#define CLAIM(r) ((role[r] == LEADS || role[r] == ELECTED) -> role[r] : FOLLOWS)
#endif

#ifdef ASKED_BEFORE
#define MAY_ASK(me) (role[me] == ELECTED || role[me] == FOLLOWS)
#else
#define MAY_ASK(me) (role[me] == ELECTED)
#endif

/* It compares as the other one does: who leads before who is elected, then the older, then by name. */
#ifdef NO_ORDER
#define LOSES(me) (role[me] == ELECTED && heard[me] == LEADS)
#else
#define LOSES(me)                                                                                                    \
    (heard[me] != FOLLOWS &&                                                                                        \
     ((heard[me] == LEADS && role[me] != LEADS) ||                                                                  \
      (heard[me] == role[me] &&                                                                                     \
       (heard_epoch[me] < epoch[me] || (heard_epoch[me] == epoch[me] && 1 - (me) < (me))))))
#endif

#define LEAD(me) role[me] = LEADS; assert(was_cut || role[1 - (me)] != LEADS)

proctype replica(byte me)
{
end_idle:
    do
    :: atomic { role[me] == FOLLOWS && heard[me] == FOLLOWS && tree[me] < ELECTIONS ->
            tree[me]++; epoch[me] = tree[me]; role[me] = ELECTED;
#ifndef ASKED_BEFORE
            asked[me] = 0
#endif
            }
    :: atomic { MAY_ASK(me) && !asked[me] && heard[me] == FOLLOWS -> /* it answers, or the link is cut */
            said[me] = (link -> CLAIM(1 - me) : FOLLOWS);
            said_epoch[me] = epoch[1 - me]; asked[me] = 1 }
#ifdef NO_QUESTION
    :: atomic { role[me] == ELECTED && heard[me] == FOLLOWS -> LEAD(me) }
#else
    :: atomic { role[me] == ELECTED && asked[me] -> /* the answer arrives */
            asked[me] = 0; heard[me] = said[me]; heard_epoch[me] = said_epoch[me];
            if
            :: heard[me] == FOLLOWS -> LEAD(me)
            :: heard[me] != FOLLOWS -> skip
            fi }
#endif
    :: atomic { role[me] != DOWN && link && /* a heartbeat that says something new */
            (heard[me] != CLAIM(1 - me) || (heard[me] != FOLLOWS && heard_epoch[me] != epoch[1 - me])) ->
            heard[me] = CLAIM(1 - me); heard_epoch[me] = epoch[1 - me] }
    :: atomic { role[me] != DOWN && !link && heard[me] != FOLLOWS -> heard[me] = FOLLOWS } /* it is down */
#ifndef NO_REFUSAL
    :: atomic { (role[me] == LEADS || role[me] == ELECTED) && LOSES(me) -> role[me] = REFUSES }
#endif
    :: atomic { role[me] == REFUSES && heard[me] == FOLLOWS -> role[me] = FOLLOWS }
    od
}

active proctype world()
{
    byte crashes = 1, cuts = 1;

    atomic {
        heard[0] = FOLLOWS; heard[1] = FOLLOWS; said[0] = FOLLOWS; said[1] = FOLLOWS;
        role[0] = FOLLOWS; role[1] = FOLLOWS;
        if
        :: role[0] = LEADS; epoch[0] = 1
        :: skip
        fi;
        run replica(0); run replica(1)
    }
end_idle:
    do
    :: atomic { link && cuts > 0 -> cuts--; link = 0; was_cut = 1 }
    :: atomic { !link -> link = 1 }
    :: atomic { crashes > 0 && role[0] != DOWN -> crashes--; role[0] = DOWN; asked[0] = 0; heard[0] = FOLLOWS }
    :: atomic { crashes > 0 && role[1] != DOWN -> crashes--; role[1] = DOWN; asked[1] = 0; heard[1] = FOLLOWS }
    :: atomic { role[0] == DOWN -> role[0] = FOLLOWS }
    :: atomic { role[1] == DOWN -> role[1] = FOLLOWS }
    :: timeout -> /* nothing moves any more, the link is there, and both are up */
#ifdef ONE_LEADS_UNREACHABLE
        assert(!(role[0] == LEADS && role[1] != LEADS));
#endif
        assert(tree[0] == ELECTIONS || tree[1] == ELECTIONS || role[0] == LEADS || role[1] == LEADS);
        assert(!(role[0] == LEADS && role[1] == LEADS));
        break
    od
}
