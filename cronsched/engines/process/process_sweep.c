/* The sweep: removes the folders of attempts that nobody needs any more.
 *
 * While this replica leads, every sweep_ms: on the pool, list the folders and pick those whose time is over;
 * on the loop, ask host->keep about each; on the pool, fence where there is no mark yet, and remove. What
 * runs is never touched. What cannot be read or removed now comes again with the next sweep, and so does what
 * is left when the engine closes: it waits for the folder at hand alone.
 *
 * Whose time is over:
 *   ended, refused, lost, fenced   retention after its end, or after the last change of its folder
 *   waiting                        the same, when its epoch is over or its supervisor is gone
 *   not even ready                 when nobody holds its lock, after PROCESS_ORPHAN_MS
 * and of those only what is of this cluster and of no epoch above the host's.
 */
#include "cronsched/engines/process/process_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SWEEP_MAX 10000 /* folders of one sweep; the rest is for the next */

struct candidate {
    char name[ATTEMPT_DIR_NAME_MAX];
    bool identified, remove;
    struct attempt_dir_identity identity;
};

struct sweep {
    struct object object;
    struct process_engine *engine;
    uv_work_t work;
    uint64_t generation;
    int64_t now_ms, epoch;
    char cluster[64];
    struct candidate *items;
    size_t count, room;
};

static void sweep_free(struct sweep *s)
{
    struct process_engine *e = s->engine;

    free(s->items);
    OBJECT_FREE(struct sweep, s);
    e->sweeping = false;
    process_released(e);
}

/* ---- picking, on the pool ---- */

static bool is_over(const struct sweep *s, const struct attempt_dir_status *st)
{
    const struct process_engine *e = s->engine;
    int64_t since_ms = st->changed_ms;

    if (!st->identified)
        return !st->alive && s->now_ms - since_ms > PROCESS_ORPHAN_MS;
    if (strcmp(st->identity.cluster, s->cluster) != 0 || st->identity.epoch > s->epoch)
        return false;
    if (st->state == ATTEMPT_DIR_RUNNING)
        return false;
    if (st->state == ATTEMPT_DIR_WAITING && st->alive && st->identity.epoch == s->epoch)
        return false;
    if (st->state == ATTEMPT_DIR_ENDED || st->state == ATTEMPT_DIR_REFUSED)
        since_ms = st->end.ended_ms;
    return s->now_ms - since_ms > e->retention_ms;
}

static void add(struct sweep *s, const char *name, const struct attempt_dir_status *st)
{
    struct candidate *c;

    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 64;
        s->items = alloc_resize(s->items, s->room * sizeof(*s->items));
    }
    c = &s->items[s->count++];
    memset(c, 0, sizeof(*c));
    snprintf(c->name, sizeof(c->name), "%s", name);
    c->identified = st->identified;
    c->identity = st->identity;
}

static void look_at(struct sweep *s, const char *name)
{
    struct attempt_dir_status st;
    int folder = -1;

    if (!attempt_dir_name_valid(name) || attempt_dir_open(s->engine->root, name, &folder, NULL) < 0)
        return;
    if (attempt_dir_read(folder, &st, NULL) == 0 && is_over(s, &st))
        add(s, name, &st);
    close(folder);
}

static void pick_run(uv_work_t *work)
{
    struct sweep *s = OBJECT(struct sweep, work->data);
    DIR *dir = attempt_dir_entries(s->engine->root);
    struct dirent *entry;

    if (!dir)
        return;
    attempt_dir_clean(s->engine->root, s->engine->group_base);
    while (s->count < SWEEP_MAX && !atomic_load(&s->engine->leaving) && (entry = readdir(dir)))
        look_at(s, entry->d_name);
    closedir(dir);
}

/* ---- removing, on the pool ---- */

static void remove_run(uv_work_t *work)
{
    struct sweep *s = OBJECT(struct sweep, work->data);

    for (size_t i = 0; i < s->count && !atomic_load(&s->engine->leaving); i++) {
        struct candidate *c = &s->items[i];
        int folder = -1, r;

        if (!c->remove || attempt_dir_open(s->engine->root, c->name, &folder, NULL) < 0)
            continue;
        /* CONFLICT: it was started, and is over. One that waited and was started meanwhile would be running,
         * but its epoch is over, or its supervisor was gone: look again. */
        r = attempt_dir_abolish(folder, "swept: nobody needs it any more", NULL);
        if (r == ERR_CONFLICT) {
            struct attempt_dir_status st;

            r = attempt_dir_read(folder, &st, NULL) == 0 && st.state != ATTEMPT_DIR_RUNNING ? 0 : ERR_BUSY;
        }
        close(folder);
        FAULT_POINT("process-sweep", c->name);
        if (r == 0)
            attempt_dir_remove(s->engine->root, c->name, NULL);
    }
}

static void remove_done(uv_work_t *work, int status)
{
    sweep_free(OBJECT(struct sweep, work->data));
}

/* ---- asking, on the loop ---- */

static bool ask(struct sweep *s, const struct candidate *c)
{
    struct process_engine *e = s->engine;
    char id[PROCESS_ID_MAX];

    if (process_armed_find(e, c->name))
        return false;
    process_id(e, c->name, id);
    return !c->identified ||
           !e->host->keep(e->host, c->identity.run, c->identity.attempt, c->identity.epoch, id);
}

static void pick_done(uv_work_t *work, int status)
{
    struct sweep *s = OBJECT(struct sweep, work->data);
    struct process_engine *e = s->engine;
    size_t removed = 0;

    if (s->generation == e->generation && e->host->epoch(e->host) == s->epoch)
        for (size_t i = 0; i < s->count; i++)
            removed += s->items[i].remove = ask(s, &s->items[i]);
    if (removed == 0)
        sweep_free(s);
    else
        uv_queue_work(e->loop, &s->work, remove_run, remove_done);
}

void process_sweep(struct process_engine *e)
{
    int64_t epoch = e->host->epoch(e->host);
    struct sweep *s;

    if (epoch <= 0 || e->sweeping)
        return;
    s = OBJECT_NEW(struct sweep);
    s->engine = e;
    s->work.data = s;
    s->generation = e->generation;
    s->epoch = epoch;
    s->now_ms = e->host->now_ms(e->host);
    snprintf(s->cluster, sizeof(s->cluster), "%s", e->host->cluster(e->host));
    e->sweeping = true;
    process_held(e);
    uv_queue_work(e->loop, &s->work, pick_run, pick_done);
}
