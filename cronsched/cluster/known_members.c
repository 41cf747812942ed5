/* See known_members.h. */
#include "cronsched/cluster/known_members.h"

#include "cronsched/io/file.h"
#include "cronsched/io/json_text.h"
#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <stdio.h>

#define PATH_BYTES 4096
#define FILE_BYTES (256 * 1024)

struct known_members {
    struct object object;
    uv_loop_t *loop;
    char path[PATH_BYTES + 16], self[128], cluster[MARK_CLUSTER_SIZE];
    json_t *all;
    bool changed;  /* since it was last written */
    char *writing; /* of the pool while `busy` */
    struct error result;
    uv_work_t work;
    uv_timer_t timer;
    uint64_t due_ms; /* of the timer, by the loop's clock; 0: it does not run */
    bool busy, closing, timer_closed, told;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- reading ---- */

static json_t *parse(const struct known_members *k, const char *text, size_t size, struct error *error)
{
    json_t *json = NULL, *all;
    const char *cluster;

    if (json_text_object(text, size, "file", &json, error) < 0)
        return NULL;
    cluster = json_string_value(json_object_get(json, "cluster"));
    all = json_object_get(json, "members");
    if (cluster && json_is_object(all) && strcmp(cluster, k->cluster) == 0)
        json_incref(all);
    else
        all = NULL; /* of another cluster: a file that was copied, or is from before */
    json_decref(json);
    return all;
}

static void read_file(struct known_members *k)
{
    struct error error = {0};
    char *text = NULL;
    size_t size;
    int rc = file_read(k->path, FILE_BYTES, FILE_REGULAR, &text, &size, &error);

    if (rc == 0)
        k->all = parse(k, text, size, &error);
    free(text);
    if (!k->all)
        k->all = json_object();
    if (error.code && rc != ERR_NOT_FOUND)
        log_event(LOG_WARN, "members-file", LOG_TEXT("file", k->path), LOG_TEXT("text", error.text));
}

/* ---- writing ---- */

static void on_pool(uv_work_t *work)
{
    struct known_members *k = OBJECT(struct known_members, work->data);

    k->result = (struct error){0};
    file_replace(k->path, k->writing, strlen(k->writing), &k->result);
}

static void finish(struct known_members *k)
{
    void (*closed)(void *arg) = k->closed;
    void *arg = k->closed_arg;

    if (k->busy || !k->timer_closed)
        return;
    json_decref(k->all);
    OBJECT_FREE(struct known_members, k);
    closed(arg);
}

static void write_after(struct known_members *k, uint64_t ms);

static void on_written(uv_work_t *work, int status)
{
    struct known_members *k = OBJECT(struct known_members, work->data);

    (void)status;
    k->busy = false;
    free(k->writing);
    k->writing = NULL;
    if (k->result.code && !k->told)
        log_event(LOG_ERROR, "members-file", LOG_TEXT("file", k->path), LOG_TEXT("text", k->result.text));
    k->told = k->result.code != 0;
    k->changed |= k->told;
    if (k->closing)
        finish(k);
    else if (k->changed)
        write_after(k, KNOWN_MEMBERS_EVERY_MS);
}

static void write_now(struct known_members *k)
{
    json_t *json;

    if (k->busy || !k->changed || !k->cluster[0])
        return;
    json = json_pack("{s:s, s:O}", "cluster", k->cluster, "members", k->all);
    k->writing = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    k->changed = false;
    k->busy = true;
    uv_queue_work(k->loop, &k->work, on_pool, on_written);
}

static void on_timer(uv_timer_t *timer)
{
    struct known_members *k = OBJECT(struct known_members, timer->data);

    k->due_ms = 0;
    write_now(k);
}

static void write_after(struct known_members *k, uint64_t ms)
{
    uint64_t due_ms = uv_now(k->loop) + ms;

    k->changed = true;
    if (k->closing || (k->due_ms && k->due_ms <= due_ms))
        return;
    k->due_ms = due_ms;
    loop_timer_start(&k->timer, on_timer, ms, 0);
}

/* ---- what is known ---- */

/* Whether anything changed that is worth a write at once. */
static bool note(struct known_members *k, const char *id, const char *url, json_t *mark, int64_t now_ms,
                 bool outside)
{
    json_t *one = json_object_get(k->all, id);
    const char *before = json_string_value(json_object_get(one, "url"));
    bool was_outside = json_is_true(json_object_get(one, "outside")),
         changed = !one || !before || strcmp(before, url) != 0 || was_outside != outside;

    if (!one && json_object_size(k->all) >= REPLICATED_MEMBERS_MAX) {
        json_decref(mark);
        return false;
    }
    if (!one)
        json_object_set_new(k->all, id, one = json_object());
    json_object_set_new(one, "url", json_string(url));
    json_object_set_new(one, "seen_ms", json_integer(now_ms));
    json_object_set_new(one, "mark", mark);
    if (outside)
        json_object_set_new(one, "outside", json_true());
    else
        json_object_del(one, "outside");
    return changed;
}

static bool is_mine(struct known_members *k, const struct replicated_view *v, const char *cluster)
{
    if (v->mark && v->mark->cluster[0] && !k->cluster[0])
        snprintf(k->cluster, sizeof(k->cluster), "%s", v->mark->cluster);
    return cluster && k->cluster[0] && strcmp(cluster, k->cluster) == 0;
}

void known_members_seen(struct known_members *k, const struct replicated_view *v, int64_t now_ms)
{
    bool changed = false;

    for (size_t i = 0; i < v->member_count; i++) {
        json_t *facts = v->members[i].facts, *mark = json_object_get(facts, "mark");
        const char *url = json_string_value(json_object_get(facts, "url"));

        if (strcmp(v->members[i].id, k->self) == 0 || !url || !url[0] ||
            !is_mine(k, v, json_string_value(json_object_get(mark, "cluster"))))
            continue;
        changed |= note(k, v->members[i].id, url, json_incref(mark), now_ms, false);
    }
    if (v->member_count > 1)
        write_after(k, changed ? KNOWN_MEMBERS_SOON_MS : KNOWN_MEMBERS_EVERY_MS);
}

static bool is_member(const struct replicated_view *v, const char *id)
{
    for (size_t i = 0; i < v->member_count; i++)
        if (strcmp(v->members[i].id, id) == 0)
            return true;
    return false;
}

void known_members_heard(struct known_members *k, const struct replicated_view *v,
                         const struct replicated_heard *heard, int64_t now_ms)
{
    bool changed;

    if (is_member(v, heard->id) || !is_mine(k, v, heard->mark.cluster))
        return; /* what members say is in the tree */
    changed = note(k, heard->id, heard->url, mark_json(&heard->mark), now_ms, true);
    write_after(k, changed ? KNOWN_MEMBERS_SOON_MS : KNOWN_MEMBERS_EVERY_MS);
}

bool known_members_forget(struct known_members *k, const char *id)
{
    if (json_object_del(k->all, id) < 0)
        return false;
    write_after(k, KNOWN_MEMBERS_SOON_MS);
    return true;
}

const json_t *known_members_all(const struct known_members *k)
{
    return k->all;
}

/* ---- life ---- */

void known_members_new(struct known_members **ret, uv_loop_t *loop, const char *data_dir, const char *self,
                       const char *cluster)
{
    struct known_members *k = OBJECT_NEW(struct known_members);

    k->loop = loop;
    k->work.data = k->timer.data = k;
    snprintf(k->path, sizeof(k->path), "%s/members", data_dir);
    snprintf(k->self, sizeof(k->self), "%s", self);
    snprintf(k->cluster, sizeof(k->cluster), "%s", cluster);
    uv_timer_init(loop, &k->timer);
    read_file(k);
    json_object_del(k->all, self);
    *ret = k;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct known_members *k = OBJECT(struct known_members, handle->data);

    k->timer_closed = true;
    finish(k);
}

void known_members_close(struct known_members *k, void (*done)(void *arg), void *arg)
{
    k->closing = true;
    k->closed = done;
    k->closed_arg = arg;
    write_now(k);
    uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}
