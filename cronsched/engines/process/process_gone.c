/* Attempts whose folder, or the files in it, somebody has removed: by a cleaner of old files, or with the whole data folder.
 * How such an attempt ends nobody will know. But that it runs can be seen, by its lock, its control group or its mark, and
 * it counts as running as long: nothing is started in its place. A stop kills it.
 *
 * One whose supervisor was told to go, and found its folder gone, has said that it executed nothing: the fence believes
 * that for as long as this server lives.
 */
#include "cronsched/engines/process/process_core.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KILL_WAIT_MS 1000

/* The group of an attempt of another number is not known; its mark is. */
static void work_of(const struct process_call *call, struct attempt_work *ret)
{
    const struct process_engine *e = call->engine;
    bool own = strcmp(call->host, e->host_id) == 0;

    *ret = (struct attempt_work){0};
    snprintf(ret->mark, sizeof(ret->mark), "%s@%s", call->name, call->host);
    if (own && e->group_base[0] &&
        snprintf(ret->group, sizeof(ret->group), "%s/%s", e->group_base, call->name) >=
            (int)sizeof(ret->group))
        ret->group[0] = '\0';
}

bool process_gone_runs(struct process_call *call, bool alive)
{
    struct attempt_work work;

    work_of(call, &work);
    if (!alive && attempt_work_count(&work) <= 0)
        return false;
    call->status = (struct attempt_dir_status){.state = ATTEMPT_DIR_RUNNING, .alive = alive, .work = work};
    call->result = 0;
    return true;
}

void process_gone_kill(struct process_call *call)
{
    struct attempt_work work;

    work_of(call, &work);
    if (attempt_work_count(&work) > 0)
        attempt_work_kill(&work, KILL_WAIT_MS);
}

void process_gone_remember(struct process_engine *e, const char *name)
{
    snprintf(e->never[e->never_next++ % PROCESS_NEVER_MAX], ATTEMPT_DIR_NAME_MAX, "%s", name);
}

bool process_gone_never_ran(const struct process_engine *e, const char *name)
{
    for (size_t i = 0; i < PROCESS_NEVER_MAX; i++)
        if (strcmp(e->never[i], name) == 0)
            return true;
    return false;
}
