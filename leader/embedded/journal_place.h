/* The place of a data folder: its path, whatever is there. An abstract unix socket that is named after the
 * folder above (device and inode) and the folder's own name, so that a second server finds the first one when the
 * folder was moved away, replaced or mounted over. It ends with the process, and reaches as far as the network
 * namespace does; containers with volumes of their own have places of their own.
 *
 * Somebody else's program may sit on the name: only one of root, of our own user or of the folder's owner counts.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>

struct journal_place;

/* ERR_BUSY: "FOLDER is in use by process 1234 ...". *ret may be NULL without an error: the place cannot be taken. */
int journal_place_take(struct journal_place **ret, const char *folder, struct error *error);
/* Likewise the cluster, so that a copy of a folder is not served beside the original. */
int journal_place_take_cluster(struct journal_place **ret, const char *folder, const char *cluster,
                               struct error *error);
void journal_place_free(struct journal_place *place); /* NULL is fine */

/* Lets go of those who asked who is there; any thread. */
void journal_place_answer(const struct journal_place *place); /* NULL is fine */

/* Whether the folder is on a network file system (or one in user space), and which. */
bool journal_place_network(const char *folder, char ret_kind[24]);
