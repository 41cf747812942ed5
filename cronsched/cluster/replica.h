/* A replica of a cluster: the replicated journal on ZooKeeper, and what this process exchanges with it.
 * serve.c makes one when `zookeeper` is configured; without, the journal is the embedded one and none of
 * this is there.
 *
 * Ownership: borrows the options and what they point to for its life; the journal is closed by its table
 * (which closes the coordinator), and after that replica_close ends the rest. One thread: the loop's.
 */
#pragma once

#include "cronsched/api/api.h"
#include "cronsched/config/config.h"
#include "jobs/engine/engine.h"
#include "jobs/history/history.h"
#include "jobs/scheduler/scheduler.h"
#include "leader/replicated/replicated.h"

#include <uv.h>

#define REPLICA_LOOK_MS   2000 /* how often a standby looks whether the leader does its work */
#define REPLICA_RETIRE_MS 3000 /* as long may a hand-over take, when ZooKeeper is slow or away */

struct run_log_copies;
struct replica;

struct replica_options {
    const struct config *config;
    struct scheduler *scheduler;
    struct history *history;
    struct run_log_copies *copies; /* that wrap it */
    struct engine *const *engines;
    const size_t *engine_count;
    struct zone_source *zones;
    const char *id;
    char *cluster_uuid; /* 40 bytes, with a new one in it: overwritten once the cluster's is known */
    uv_loop_t *loop;
    /* By how much this machine's wall clock jumped without being believed; 0: it is believed. NULL: it always is. */
    int64_t (*clock_jump_ms)(void *arg);
    void *clock_arg;
};

/* Opens the session; the journal's events go to the scheduler. */
int replica_open(struct replica **ret, const struct replica_options *options, struct error *error);
struct journal *replica_journal(struct replica *replica);
/* The configuration's list of ZooKeeper servers was read again: 1: it is another, and followed from now on, 0: it is the
 * same. Otherwise an error, and nothing has changed. */
int replica_set_zookeeper(struct replica *replica, const char *zookeeper, struct error *error);
/* This process is to end: others learn it from a clean hand-over, while they still see it at its address
 * (done is called once, from the loop, at the latest after REPLICA_RETIRE_MS). */
void replica_retire(struct replica *replica, void (*done)(void *arg), void *arg);
/* Its journal is closed: nothing of it is asked for any more. */
void replica_journal_closed(struct replica *replica);
/* After that, and after the engines are closed; done is called once, from the loop. */
void replica_close(struct replica *replica, void (*done)(void *arg), void *arg);

/* This machine's wall clock jumped at boot time since_ms: more of the other clocks that were heard after that agree with
 * it than disagree. */
bool replica_clock_confirms(struct replica *replica, uint64_t since_ms);

/* The uuid of the cluster that it belongs to, as far as that was known at its start; else "". */
const char *replica_cluster(const struct replica *replica);
/* The host that engines of this replica answer to: it passes on to the scheduler what is the scheduler's. */
struct engine_host *replica_engine_host(struct replica *replica);
/* A process engine that also asks other replicas about their attempts; owns `under`. */
void replica_remote_engine(struct replica *replica, struct engine **ret, struct engine *under,
                           const char *host_id);
/* What the API asks of its cluster; the argument is the replica. */
extern const struct api_cluster_ops replica_api_ops;
/* The API that has to know other replicas. NULL: it is closed. */
/* The users of a zookeeper_auth_file. ERR_IO, ERR_INVALID: it cannot be used. */
struct zookeeper_users; /* leader/zookeeper/zookeeper_access.h */
int replica_read_users(const char *path, struct zookeeper_users *ret, struct error *error);

void replica_set_api(struct replica *replica, struct api *api);
