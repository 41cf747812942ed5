/* A journal on real ZooKeeper servers, with an owner and a loop of its own. It founds its cluster. */
#pragma once

#include "leader/replicated/replicated.h"
#include "leader/zookeeper/zookeeper.h"
#include "tests/support/journal_owner.h"

struct journal_node {
    struct owner owner;
    struct coord *coord;
    uv_timer_t timer;
    struct replicated_env env;
    struct replicated_host host;
};

/* Waits until it leads. `cluster` names its nodes. */
void journal_node_open(struct journal_node *node, const char *servers, const char *cluster);
void journal_node_close(struct journal_node *node);
