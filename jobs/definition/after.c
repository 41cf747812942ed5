#include "jobs/definition/after.h"

#include "jobs/base/error.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(entry) ((entry)->hashed = false)
#include "jobs/base/hash_table.h"

/* A name and how far the walk is with it. OPEN ones are on the stack, so meeting one again closes a circle. */
struct node {
    UT_hash_handle hh;
    bool hashed; /* set to false by uthash when it had no memory */
    bool known;  /* there is such a job */
    bool given;  /* among the jobs that are checked: its missing parents have been reported */
    const char *name;
    const struct job *job; /* NULL: nothing is known of its parents */
    enum { UNSEEN, OPEN, DONE } walk;
    size_t next_parent;
    struct node *below; /* on the stack: the one that led here */
};

struct walk {
    const struct after_check *check;
    struct node *nodes;
};

/* NULL: out of memory. */
static struct node *add_node(struct walk *w, const char *name, const struct job *job, bool known)
{
    struct node *node = calloc(1, sizeof(*node));

    if (!node)
        return NULL;
    *node = (struct node){.hashed = true, .known = known, .name = name, .job = job};
    HASH_ADD_KEYPTR(hh, w->nodes, node->name, strlen(node->name), node);
    if (node->hashed)
        return node;
    free(node);
    return NULL;
}

static struct node *find_node(struct walk *w, const char *name)
{
    const struct job *job = NULL;
    struct node *node = NULL;
    bool known;

    HASH_FIND(hh, w->nodes, name, strlen(name), node);
    if (node)
        return node;
    known = w->check->find(w->check->arg, name, &job);
    return add_node(w, name, job, known);
}

static void nodes_free(struct walk *w)
{
    struct node *node, *next;

    HASH_ITER(hh, w->nodes, node, next)
    {
        HASH_DEL(w->nodes, node);
        free(node);
    }
}

/* From top down to `end` is a circle, `parent` the place of `end` in what top comes after. */
static int report_circle(const struct walk *w, struct node *top, const struct node *end, size_t parent)
{
    const struct job **path;
    size_t count = 1;
    int r;

    for (const struct node *n = top; n != end; n = n->below)
        count++;
    path = calloc(count, sizeof(*path));
    if (!path)
        return ERR_NOMEM;
    for (size_t i = count; i-- > 0; top = top->below)
        path[i] = top->job;
    r = w->check->circle(w->check->arg, path, count, parent);
    free(path);
    return r;
}

static int walk_from(struct walk *w, struct node *top)
{
    int r = 0;

    top->walk = OPEN;
    while (top && r == 0) {
        struct node *parent;
        size_t i;

        if (!top->job || top->next_parent == top->job->after.count) {
            top->walk = DONE;
            top = top->below;
            continue;
        }
        i = top->next_parent++;
        parent = find_node(w, top->job->after.items[i]);
        if (!parent) {
            r = ERR_NOMEM;
        } else if (!parent->known) {
            r = top->given ? 0 : w->check->missing(w->check->arg, top->job, i);
        } else if (parent->walk == UNSEEN) {
            parent->walk = OPEN;
            parent->below = top;
            top = parent;
        } else if (parent->walk == OPEN && parent != top) {
            r = report_circle(w, top, parent, i);
        }
    }
    return r;
}

static int check_parents(struct walk *w, const struct job *job)
{
    int r = 0;

    for (size_t i = 0; i < job->after.count && r == 0; i++) {
        const struct node *parent = find_node(w, job->after.items[i]);

        if (!parent)
            r = ERR_NOMEM;
        else if (!parent->known)
            r = w->check->missing(w->check->arg, job, i);
    }
    return r;
}

int after_check(const struct after_check *check, const struct job *const *jobs, size_t count)
{
    struct walk w = {.check = check};
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        struct node *node = add_node(&w, jobs[i]->name, jobs[i], true);

        if (node)
            node->given = true;
        else
            r = ERR_NOMEM;
    }
    for (size_t i = 0; i < count && r == 0; i++)
        r = check_parents(&w, jobs[i]);
    for (size_t i = 0; i < count && r == 0; i++) {
        struct node *node = find_node(&w, jobs[i]->name);

        if (node->walk == UNSEEN)
            r = walk_from(&w, node);
    }
    nodes_free(&w);
    return r;
}

int after_circle_text(const struct job *const *path, size_t count, struct text *text)
{
    struct text names;
    int r = 0;

    text_init(&names, text->max_bytes > 64 ? text->max_bytes - 64 : 0);
    for (size_t i = 0; i < count && !names.failed; i++)
        text_addf(&names, "%s after ", path[i]->name);
    text_add(&names, path[0]->name);
    if (names.failed == ERR_NOMEM)
        r = ERR_NOMEM;
    else if (names.failed)
        r = text_addf(text, "a cycle of %zu jobs: %s...", count, text_str(&names));
    else
        r = text_addf(text, "a cycle: %s", text_str(&names));
    text_release(&names);
    return r;
}
