/* See membership.h. */
#include "cronsched/cluster/membership.h"

#include <stdio.h>

const char *membership_trouble(const struct replicated_view *v, char text[MEMBERSHIP_TEXT_SIZE])
{
    switch (v->standing) {
    case REPLICATED_CONNECTING:
    case REPLICATED_MEMBER:
        return NULL;
    case REPLICATED_UNFOUNDED:
        snprintf(
            text, MEMBERSHIP_TEXT_SIZE,
            "ZooKeeper holds no cluster yet: make a new one with 'cronsched cluster init' on one replica");
        break;
    case REPLICATED_JOINING:
        snprintf(
            text, MEMBERSHIP_TEXT_SIZE,
            "ZooKeeper holds cluster %s, and this replica has not joined it: 'cronsched cluster join' shows "
            "and joins it; a replica with that cluster_id joins by itself",
            v->cluster);
        break;
    case REPLICATED_REFUSING:
    case REPLICATED_STOPPED:
        snprintf(text, MEMBERSHIP_TEXT_SIZE, "%s",
                 v->alarm[0] ? v->alarm : "the journal in ZooKeeper is refused");
        break;
    }
    return text;
}

bool membership_refuses(const struct replicated_view *v)
{
    return v->standing == REPLICATED_REFUSING || v->standing == REPLICATED_STOPPED;
}

/* Of a replica whose history differs from that of the others. */
#define REJOIN "run 'cronsched cluster rejoin --data-dir DIR --yes' there, and start it again"

static void advise_refusing(const struct replicated_view *v, char text[MEMBERSHIP_TEXT_SIZE])
{
    if (v->other_leader[0])
        snprintf(text, MEMBERSHIP_TEXT_SIZE,
                 "set `zookeeper:` here to the ensemble that the other one uses, or stop that one");
    else if (v->against[0] && !v->against_member)
        snprintf(
            text, MEMBERSHIP_TEXT_SIZE,
            "set `zookeeper:` to one ensemble on all replicas; if what %.100s holds may be given up: stop "
            "it, and 'cronsched cluster forget %.100s --yes'",
            v->against, v->against);
    else if (v->against[0])
        snprintf(text, MEMBERSHIP_TEXT_SIZE,
                 "if what %.100s alone holds may be given up: stop it (the others go on), " REJOIN
                 "; to go on from what it holds: 'cronsched cluster recover --from %.100s'",
                 v->against, v->against);
    else
        snprintf(
            text, MEMBERSHIP_TEXT_SIZE,
            "bring ZooKeeper's data back; or 'cronsched cluster recover' shows what can be kept; or, if the "
            "others are right: stop this replica, " REJOIN);
}

const char *membership_advice(const struct replicated_view *v, char text[MEMBERSHIP_TEXT_SIZE])
{
    switch (v->standing) {
    case REPLICATED_UNFOUNDED:
        snprintf(text, MEMBERSHIP_TEXT_SIZE, "run 'cronsched cluster init' on one replica");
        break;
    case REPLICATED_JOINING:
        snprintf(text, MEMBERSHIP_TEXT_SIZE, "run 'cronsched cluster join' here, or set cluster_id");
        break;
    case REPLICATED_REFUSING:
        advise_refusing(v, text);
        break;
    case REPLICATED_STOPPED:
        snprintf(text, MEMBERSHIP_TEXT_SIZE, "resolve this, then restart the replica");
        break;
    default:
        return NULL;
    }
    return text;
}
