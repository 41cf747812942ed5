/* Whose the command is: a job's `user` resolved, and the few variables that every program expects. Blocking
 * (the user database may be a network away): for the supervisor.
 */
#pragma once

#include "cronsched/engines/process/supervise.h"
#include "jobs/base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct supervise_user {
    uid_t uid;
    gid_t gid;
    bool change;    /* not the server's own */
    char name[256]; /* "": it has no entry */
    char home[1024];
    gid_t *groups; /* all of them, malloc'd; NULL: gid alone */
    size_t group_count;
};

/* "": the server's own. "1000:1000", "1000" (an entry gives the group), "name", "name:group". ERR_DENIED:
 * only a server that runs as root may; ERR_NOT_FOUND: no such user or group; ERR_IO: the user database gives no
 * answer, which is not "no such user". It may take as long as that database does. */
int supervise_user_find(const char *user, struct supervise_user *ret, struct error *error);
/* What supervise_user_find allocated. A supervisor keeps it for its life. */
void supervise_user_release(struct supervise_user *user);

/* Becomes that user, for good. Returns a negative errno. */
int supervise_user_become(const struct supervise_user *user);

/* env and PATH, HOME, USER, LOGNAME where env lacks them, and the attempt's mark (attempt_work.h): a list for execve,
 * whose new texts live in ret_memory, or NULL when out of memory. free() both. */
char **supervise_user_environment(char **env, const struct supervise_user *user, const char *mark,
                                  char **ret_memory);
