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

const char *membership_advice(const struct replicated_view *v)
{
    switch (v->standing) {
    case REPLICATED_UNFOUNDED:
        return "run 'cronsched cluster init' on one replica";
    case REPLICATED_JOINING:
        return "run 'cronsched cluster join' here, or set cluster_id";
    case REPLICATED_REFUSING:
        return "bring ZooKeeper's data back; or 'cronsched cluster recover' shows what can be kept, and "
               "'cronsched "
               "cluster rejoin' is for a replica whose history differs from the others'";
    case REPLICATED_STOPPED:
        return "resolve this, then restart the replica";
    default:
        return NULL;
    }
}
