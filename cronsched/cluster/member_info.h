/* The members of a cluster: what its replicas report about themselves, found, ordered and compared. Pure:
 * a view of the journal in, answers out; `self` is the id of the replica that asks.
 */
#pragma once

#include "leader/replicated/replicated.h"

#define MEMBER_INFO_OFFSET_WARN_MS 500  /* of a wall clock against ZooKeeper's */
#define MEMBER_INFO_OFFSET_MAX_MS  5000 /* beyond it a replica does not lead */

/* The data folder that an attempt's id names, if its engine's attempts belong to one; else NULL. */
const char *member_info_host_of(const char *attempt_id);
/* The replica with that data folder; borrowed, NULL: it is away. */
const struct replicated_member *member_info_host(const struct replicated_view *view, const char *host);
const char *member_info_url(const struct replicated_member *member); /* NULL: none known */
/* Another member than `self` that has the same data folder's id and is to keep it: the leader, or else the first by id.
 * One of the two folders is a copy. Borrowed; NULL: there is none. */
const struct replicated_member *member_info_folder_owner(const struct replicated_view *view, const char *self,
                                                         const char *host);

/* Another replica than `self` whose engine of that name has that identity; borrowed, NULL: there is none. */
const struct replicated_member *member_info_engine(const struct replicated_view *view, const char *self,
                                                   const char *engine, const char *identity);
/* An engine of this replica that is not the one which most replicas reach under its name, and when there is no
 * majority, not the leader's. Borrowed; NULL: there is none. */
const char *member_info_odd_engine(const struct replicated_view *view, const char *self);

/* True when the log of this attempt is being written at `self`: by the replica whose process it is, or by the
 * leader. id NULL: it has none yet. */
bool member_info_collects(const struct replicated_view *view, const char *self, const char *attempt_id);
/* The URLs of the other replicas, those first that are likeliest to have that log: the one that collects it,
 * the leader. Each is the caller's to free. attempt_id NULL: the leader first. */
size_t member_info_others(const struct replicated_view *view, const char *self, const char *attempt_id,
                          char *ret[REPLICATED_MEMBERS_MAX]);

/* Whether this replica's configuration (its hash) is not the cluster's: more members have another one in common; or as
 * many, and the leader has it. `leader`: hash of the one that leads or led last, "": unknown. Who has not joined does
 * not count. */
bool member_info_config_outvoted(const struct replicated_view *view, const char *self, const char *hash,
                                 const char *leader);
/* The hash that the current leader publishes; NULL: none. Borrowed. */
const char *member_info_leader_config(const struct replicated_view *view);

json_t *member_info_rows(const struct replicated_view *view); /* the contract's `replicas` */
/* What ought to be alike and is not: [{"what":"tzdata","text":"r1: 2025b, r2: 2026a"}]. `state` and `mark`: two of them
 * know different things under one index, so their histories differ. */
json_t *member_info_differences(const struct replicated_view *view);
