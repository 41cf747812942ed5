/* What doctor looks at beside the state: the disk and ZooKeeper. Each look blocks: on a thread, with a deadline. */
#pragma once

#include "jobs/engine/engine_proof.h"
#include "leader/zookeeper/zookeeper.h"
#include "leader/zookeeper/zookeeper_config.h"
#include "leader/zookeeper/zookeeper_version.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_doctor_findings {
    int write_error, space_error; /* errnos */
    uint64_t free_bytes, free_inodes;
    bool inodes_known;
    int64_t wal_bytes;                  /* of history.db-wal */
    char proofs[ENGINE_PROOF_FILE_MAX]; /* what drills of engines have found, as it is kept; "": nothing */
    struct zookeeper_version_answer zookeeper[ZOOKEEPER_VERSION_SERVERS_MAX];
    size_t zookeeper_count;
    bool servers_known; /* the ensemble says which it has */
    struct zookeeper_config_differences servers;
    char config[ZOOKEEPER_CONFIG_MAX]; /* what the ensemble says of itself; known before the probe */
};

/* `dir` is the data folder. */
void api_doctor_look_at_disk(const char *dir, struct api_doctor_findings *ret);
/* `servers` as in the configuration; found->config is given. */
void api_doctor_look_at_zookeeper(const char *servers, struct api_doctor_findings *found);
