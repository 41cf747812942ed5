/* Moves the journal of a server that stands alone into ZooKeeper, and back, while no server runs: for `cronsched journal
 * migrate`. Jobs, cursors, keys, runs and the numbers of batches and epochs stay as they are, and so does the cluster's
 * id, by which engines know their containers. History, logs and attempts stay in the data folder.
 *
 * At no time two places believe that they hold the living journal. Into ZooKeeper: the tree is written, but for the node
 * that makes it one -> the data folder's mark -> journal.db is sealed (leader/embedded/journal_seal.h) -> the tree lives
 * (leader/replicated/tree_copy.h) -> journal.db is renamed. Out of it: a sealed journal.db is written -> the tree is ended
 * -> the seal is broken.
 *
 * Failures: whatever ends it, calling it again goes on; between the two steps that count nothing lives. ERR_BUSY,
 * ERR_CONFLICT: a server runs, or one of the places is not what it has to be: nothing was changed, but that the cluster's
 * node may have been made in ZooKeeper, empty. Blocks; makes a loop of
 * its own.
 */
#pragma once

#include "cronsched/config/config.h"

enum migration_to { MIGRATION_TO_ZOOKEEPER, MIGRATION_TO_EMBEDDED };

/* do_it false: only says what would happen. What it says goes to stdout. Borrows the configuration. */
int migration_run(const struct config *config, enum migration_to to, bool do_it, struct error *error);
