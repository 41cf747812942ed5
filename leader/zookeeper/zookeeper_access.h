/* Who may use the cluster's nodes: the users of zookeeper_auth_file, and what an access list of a node says of others.
 *
 * The file has a user on each line, USER:PASSWORD. The first one's are the nodes that are made; a session shows all of
 * them, so that a password can be changed while the cluster runs: the new line is added behind the old one on every
 * replica, then moved to the front on every replica, then the nodes are given to it ('cronsched cluster secure'), then
 * the old line goes.
 *
 * Pure; any thread.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define ZOOKEEPER_USERS_MAX       4
#define ZOOKEEPER_CREDENTIAL_SIZE 256 /* with its NUL */
#define ZOOKEEPER_USER_ID_SIZE    (ZOOKEEPER_CREDENTIAL_SIZE + 32)
#define ZOOKEEPER_PASSWORD_GOOD   16 /* a shorter one is warned of */
#define ZOOKEEPER_ACCESS_TEXT     256
#define ZOOKEEPER_OTHERS_TEXT     512 /* with the node's path */

struct zookeeper_user {
    char credential[ZOOKEEPER_CREDENTIAL_SIZE]; /* USER:PASSWORD */
    char id[ZOOKEEPER_USER_ID_SIZE];            /* as access lists name it: USER:BASE64(SHA1(credential)) */
};

struct zookeeper_users {
    struct zookeeper_user items[ZOOKEEPER_USERS_MAX];
    size_t count; /* 0: none, nodes are everybody's */
};

/* The file's text. Blank lines are fine; a blank elsewhere is not, since it would be a part of the password. ERR_INVALID,
 * ERR_LIMIT. */
int zookeeper_users_parse(const char *text, struct zookeeper_users *ret, struct error *error);
/* Why the passwords protect little; NULL: they are long enough. */
const char *zookeeper_users_weakness(const struct zookeeper_users *users);
void zookeeper_users_forget(struct zookeeper_users *users); /* overwrites them */

struct ACL_vector; /* libzookeeper's */

/* True: the list lets nobody in but these users. Else `who` names the first of the others, for people. */
bool zookeeper_access_is_ours(const struct ACL_vector *list, const struct zookeeper_users *users,
                              char who[ZOOKEEPER_ACCESS_TEXT]);
/* True: the list lets everybody in. */
bool zookeeper_access_is_open(const struct ACL_vector *list);
