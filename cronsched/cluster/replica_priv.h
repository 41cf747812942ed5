/* What replica.c (its life, the events of the core), replica_links.c (what the others say) and replica_api.c (what the API
 * asks of the cluster) share. Only they include this.
 */
#pragma once

#include "cronsched/cluster/clock_voices.h"
#include "cronsched/cluster/known_members.h"
#include "cronsched/cluster/mark_file.h"
#include "cronsched/cluster/name_holder.h"
#include "cronsched/cluster/peer.h"
#include "cronsched/cluster/process_folders.h"
#include "cronsched/cluster/replica.h"
#include "jobs/base/object.h"

struct replica {
    struct object object; /* first */
    struct replica_options o;
    struct coord *coord;
    struct journal *journal;
    struct replicated_env env;
    struct replicated_host host;
    struct heartbeat *heartbeat;
    struct clock_voices voices;
    struct peer peer;
    struct forward *forward;
    struct peer_logs *logs;
    struct history_copy *history_copy;
    struct peer_engine *peer_engine;
    struct process_folders folders;
    struct api *api; /* NULL: not yet, or closed */
    uv_timer_t wake, look, retire;
    struct mark mark; /* as it was at the start */
    struct mark_file *mark_file;
    struct known_members *known;
    struct name_holder name_holder;
    bool mark_closed, known_closed, swept, closing;
    bool told_odd_engine;
    int handles;
    json_t *config_facts;
    char config_hash[33], leader_config[33]; /* of this replica; of the one that leads or led last */
    enum replicated_standing standing;       /* that was logged last */
    bool recovering;
    char recovery[ERROR_TEXT_MAX]; /* how the last recovery from here ended; "": none */
    char servers[1024], root[256];
    const char *users_trouble; /* what is wrong with zookeeper_auth_file; NULL: nothing */
    size_t members_seen;
    uint64_t late_epoch;        /* the epoch whose leader was reported late at the last look */
    void (*retired)(void *arg); /* NULL: nothing waits for it */
    void *retired_arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* The core's; an empty one when the journal is closed. arg: the replica. */
const struct replicated_view *replica_view(void *arg);

/* ---- replica_links.c ---- */
void replica_links_start(struct replica *r);
void replica_links_recall(struct replica *r); /* the core is there */
/* As replicated_host has them. */
bool replica_links_ask_members(void *arg);
bool replica_links_ask_holder(void *arg, const char *url);
