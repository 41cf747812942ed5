/* Which jobs come after which: the reverse of `after`, so that the end of a run finds the jobs that it causes without a look
 * at all others. By the parent's name, whether there is such a job or not: in a change set children may come first.
 */
#include "jobs/base/alloc.h"
#include "jobs/state/state_priv.h"

#include <assert.h>

static struct state_children *find(struct state *s, const char *parent)
{
    struct state_children *c = NULL;

    HASH_FIND(by_parent, s->children, parent, strlen(parent), c);
    return c;
}

/* Where the child is, or belongs. */
static size_t place_of(const struct state_children *c, const struct job_state *child, bool *ret_there)
{
    size_t low = 0, high = c->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(c->jobs[middle]->name, child->name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_there = low < c->count && c->jobs[low] == child;
    return low;
}

static void add(struct state *s, const char *parent, struct job_state *child)
{
    struct state_children *c = find(s, parent);
    size_t at;
    bool there;

    if (!c) {
        c = alloc_zero(sizeof(*c));
        c->parent = alloc_text(parent);
        HASH_ADD_KEYPTR(by_parent, s->children, c->parent, strlen(c->parent), c);
    }
    at = place_of(c, child, &there);
    if (there)
        return;                           /* named twice */
    if ((c->count & (c->count - 1)) == 0) /* it grows at powers of two */
        c->jobs = alloc_resize(c->jobs, (c->count ? c->count * 2 : 1) * sizeof(struct job_state *));
    memmove(&c->jobs[at + 1], &c->jobs[at], (c->count - at) * sizeof(struct job_state *));
    c->jobs[at] = child;
    c->count++;
}

static void children_free(struct state *s, struct state_children *c)
{
    HASH_DELETE(by_parent, s->children, c);
    free(c->parent);
    free(c->jobs);
    free(c);
}

static void drop(struct state *s, const char *parent, const struct job_state *child)
{
    struct state_children *c = find(s, parent);
    size_t at;
    bool there;

    if (!c)
        return;
    at = place_of(c, child, &there);
    if (!there)
        return;
    c->count--;
    memmove(&c->jobs[at], &c->jobs[at + 1], (c->count - at) * sizeof(struct job_state *));
    if ((c->count & (c->count - 1)) == 0 && c->count) /* as if it had just grown that far */
        c->jobs = alloc_resize(c->jobs, c->count * 2 * sizeof(struct job_state *));
    if (c->count == 0)
        children_free(s, c);
}

void state_after_add(struct state *s, struct job_state *j)
{
    for (size_t i = 0; j->def && i < j->def->after.count; i++)
        add(s, j->def->after.items[i], j);
}

void state_after_drop(struct state *s, const struct job_state *j)
{
    for (size_t i = 0; j->def && i < j->def->after.count; i++)
        drop(s, j->def->after.items[i], j);
}

void state_after_release(struct state *s)
{
    struct state_children *c, *next;

    HASH_ITER(by_parent, s->children, c, next)
    {
        children_free(s, c);
    }
}

const struct state_children *state_after(struct state *s, const char *parent)
{
    return find(s, parent);
}
