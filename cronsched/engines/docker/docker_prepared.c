/* What this engine has prepared and not seen started: was a container started by somebody else before its release?
 *
 * The stream of events answers that without a request, as long as it is the one that was open at the preparation. A
 * start by somebody else in the very moment of the release cannot be told from ours: the engine then answers 304 to
 * whoever comes second.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/alloc.h"

#include "jobs/base/hash_table.h"
#include <stdio.h>
#include <string.h>

struct docker_prepared {
    char id[DOCKER_ID_MAX];
    uint64_t link_number; /* when it was prepared, with events */
    bool released, started;
    UT_hash_handle by_id;
};

static struct docker_prepared *find(const struct docker *d, const char *id)
{
    struct docker_prepared *p;

    HASH_FIND(by_id, d->prepared, id, strlen(id), p);
    return p;
}

void docker_prepared_add(struct docker *d, const char *id)
{
    struct docker_prepared *p;

    docker_prepared_forget(d, id);
    if (!d->events || strlen(id) >= DOCKER_ID_MAX || HASH_CNT(by_id, d->prepared) >= TASKS_MAX)
        return;
    p = alloc_zero(sizeof(*p));
    snprintf(p->id, sizeof(p->id), "%s", id);
    p->link_number = d->link_number;
    HASH_ADD(by_id, d->prepared, id, strlen(p->id), p);
}

void docker_prepared_released(struct docker *d, const char *id)
{
    struct docker_prepared *p = find(d, id);

    if (p)
        p->released = true;
}

bool docker_prepared_started(struct docker *d, const char *id)
{
    struct docker_prepared *p = find(d, id);

    if (p)
        p->started |= !p->released;
    return p != NULL;
}

bool docker_prepared_is_untouched(const struct docker *d, const char *id)
{
    const struct docker_prepared *p = find(d, id);

    return p && !p->started && d->events && p->link_number == d->link_number;
}

void docker_prepared_forget(struct docker *d, const char *id)
{
    struct docker_prepared *p = find(d, id);

    if (!p)
        return;
    HASH_DELETE(by_id, d->prepared, p);
    free(p);
}

void docker_prepared_forget_all(struct docker *d)
{
    struct docker_prepared *p, *next;

    HASH_ITER(by_id, d->prepared, p, next)
    {
        HASH_DELETE(by_id, d->prepared, p);
        free(p);
    }
}
