/* Gives a cluster's nodes to the first user of zookeeper_auth_file alone, for `cronsched cluster secure`: the access
 * lists of the cluster's node and of all below it. A client of its own that blocks: for the command line.
 *
 * Nodes that are made meanwhile by replicas that do not know the users yet stay open: call it again once they do.
 * A node that is closed to all users of the file is counted, and stays as it is.
 */
#pragma once

#include "leader/zookeeper/zookeeper_access.h"

#define ZOOKEEPER_SECURE_MS 10000 /* for each answer of the servers */

struct zookeeper_secure_options {
    const char *servers; /* "HOST:PORT,HOST:PORT" */
    const char *node;    /* the cluster's: "/cronsched/main" */
    const struct zookeeper_users *users;
    bool change; /* false: only looks */
    const char *path,
        *data; /* with change: a node below and what it is to hold, once all is closed; NULL: none */
    /* Each node that others may use: its path below the cluster's, and who. */
    void (*tell)(void *arg, const char *path, const char *who);
    void *arg;
};

struct zookeeper_secure_result {
    size_t nodes;   /* that there are */
    size_t foreign; /* of them, that others may use; with `change`: that others could use until now */
    size_t denied;  /* closed to the users of the file */
};

/* ERR_NOT_FOUND: there is no such cluster; ERR_UNREACHABLE, ERR_IO, ERR_DENIED. */
int zookeeper_secure(const struct zookeeper_secure_options *options, struct zookeeper_secure_result *ret,
                     struct error *error);
